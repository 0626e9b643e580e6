// What the kernels of cuts over many rows share: what a survey found, and where a cut lies. It needs `sizes`, `surveys` and `budgets`.

// The open blocks up to key `low` weigh `under`, less than is wanted; those up to low + span enough. `total` is negative until it is known.
struct Bound { low: u32, span: u32, under: f32, total: f32 }

// Keys start behind `first`; `unit` is the best score, so that sums fit f32.
struct Survey { first: u32, open: u32, forced: u32, unit: f32 }

var<workgroup> surveyed: array<atomic<u32>, 3>;

fn surveyOf(thread: u32, rowSet: u32) -> Survey {
  if (thread == 0u) { atomicStore(&surveyed[0], FORBIDDEN); }
  workgroupBarrier();
  if (thread < CHUNKS) {
    let own = surveys[rowSet * CHUNKS + thread];
    atomicMin(&surveyed[0], own.x);
    atomicAdd(&surveyed[1], own.y);
    atomicAdd(&surveyed[2], own.z);
  }
  workgroupBarrier();
  let best = atomicLoad(&surveyed[0]);
  let open = atomicLoad(&surveyed[1]);
  let largest = scoreOf(best);
  return Survey(best - 1u, open, atomicLoad(&surveyed[2]), select(1.0, largest, MASS && open > 0u && largest > 1e-37));
}

fn isOpen(key: u32) -> bool { return key != FORCED && key != FORBIDDEN; }

// What a block counts: itself, or its mass.
fn weightOf(key: u32, unit: f32) -> f32 {
  if (MASS) { return scoreOf(key) / unit; }
  return 1.0;
}

fn cutOf(rowSet: u32, level: u32) -> f32 {
  var budget = 1.0;
  if (BUDGETED) { budget = budgets[rowSet * sizes.rows / sizes.qBlocks]; }
  return sizes.levels[level].x * budget;
}

fn wantedOf(rowSet: u32, level: u32, total: f32, survey: Survey) -> f32 {
  if (MASS) { return cutOf(rowSet, level) * total; }
  return f32(ceilShare(cutOf(rowSet, level), sizes.rows * sizes.kBlocks - survey.forced));
}
