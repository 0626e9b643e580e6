// Sorted rows of scores to plan rows, one workgroup a row: forced blocks, then what lies before the cuts of the levels, written level by level.
// select-shared.wgsl stands behind it.
// Header: LEVELS; CAPACITY, of the sorted rows; REACHED, where cuts fall is given, else they are shares of the row's blocks; CAPPED; BUDGETED.

@group(0) @binding(0) var<uniform> sizes: Selection;
// [rows, CAPACITY]: sort key and block.
@group(0) @binding(1) var<storage, read> sorted: array<vec2u>;
@group(0) @binding(2) var<storage, read> caps: array<i32>;
@group(0) @binding(3) var<storage, read> budgets: array<f32>;
// [all rows, LEVELS]: open blocks before each cut.
@group(0) @binding(4) var<storage, read> reached: array<i32>;
@group(0) @binding(5) var<storage, read_write> counts: array<i32>;
@group(0) @binding(6) var<storage, read_write> blocks: array<i32>;

var<workgroup> forced: atomic<u32>;
var<workgroup> open: atomic<u32>;
var<private> base: u32;
// For each level, how many sorted open blocks lie before its cut.
var<private> ends: array<u32, LEVELS>;

fn capOf(head: u32, index: u32) -> i32 {
  if (CAPPED) { return caps[head * sizes.kBlocks + sorted[base + index].y]; }
  return 0;
}

// The level of a sorted open block, finer than its cut where it may not be pooled so far.
fn levelOf(index: u32, cap: i32) -> u32 {
  var level = 0u;
  while (index >= ends[level]) { level++; }
  while (CAPPED && level > 0u && i32(sizes.levels[level].y) > cap) { level--; }
  return level;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let local = group.y * groups.x + group.x;
  if (local >= sizes.rows) { return; }
  let row = sizes.first + local;
  let head = row / sizes.qBlocks;
  base = local * CAPACITY;
  for (var index = thread; index < sizes.kBlocks; index += THREADS) {
    let key = sorted[base + index].x;
    if (key == FORCED) { atomicAdd(&forced, 1u); } else if (key != FORBIDDEN) { atomicAdd(&open, 1u); }
  }
  workgroupBarrier();
  let start = atomicLoad(&forced);
  let opened = atomicLoad(&open);
  var budget = 1.0;
  if (BUDGETED) { budget = budgets[head]; }
  let competing = sizes.kBlocks - start;
  var end = min(opened, ceilShare(sizes.floor, competing));
  let most = max(end, ceilShare(sizes.ceiling, competing));
  for (var level = 0u; level < LEVELS; level++) {
    var cut = ceilShare(sizes.levels[level].x * budget, competing);
    if (REACHED) { cut = u32(reached[row * LEVELS + level]); }
    if (level == 0u) { cut = min(cut, most); }
    end = max(end, min(opened, cut));
    ends[level] = end;
  }
  // A row is never empty: its best block, or block 0 when all are forbidden, is read at the finest level.
  if (start == 0u && end == 0u) {
    end = 1u;
    for (var level = 0u; level < LEVELS; level++) { ends[level] = 1u; }
  }

  let share = (end + THREADS - 1u) / THREADS;
  let begin = min(end, thread * share);
  let to = min(end, begin + share);
  var tallies: array<u32, LEVELS>;
  for (var index = begin; index < to; index++) { tallies[levelOf(index, capOf(head, start + index))]++; }
  var totals: array<u32, LEVELS>;
  var places: array<u32, LEVELS>;
  var filled = start;
  for (var level = 0u; level < LEVELS; level++) {
    places[level] = filled + u32(scan(thread, f32(tallies[level]))) - tallies[level];
    totals[level] = u32(sums[THREADS - 1u]);
    filled += totals[level];
  }
  totals[0] += start;
  // A row that reads all in full has no list; one that does not fit is read so.
  let whole = totals[0] == sizes.kBlocks || filled > sizes.width;
  if (thread < LEVELS) {
    counts[row * LEVELS + thread] = i32(select(totals[thread], select(0u, sizes.kBlocks, thread == 0u), whole));
  }
  if (!whole) {
    for (var index = thread; index < start; index += THREADS) { blocks[row * sizes.width + index] = i32(sorted[base + index].y); }
    for (var index = begin; index < to; index++) {
      let level = levelOf(index, capOf(head, start + index));
      blocks[row * sizes.width + places[level]] = i32(sorted[base + start + index].y);
      places[level]++;
    }
  }
  for (var index = thread + select(filled, 0u, whole); index < sizes.width; index += THREADS) { blocks[row * sizes.width + index] = -1; }
}
