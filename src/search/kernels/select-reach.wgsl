// Where sorted rows of scores reach the cuts of the levels, one workgroup a row: how many open blocks lie before each. select-shared.wgsl stands
// behind it.
// Header: LEVELS; CAPACITY, of the sorted rows; MARGIN, cuts are distances from an anchor, else shares of mass; ZERO, the anchor is zero; BUDGETED.

@group(0) @binding(0) var<uniform> sizes: Selection;
// [rows, CAPACITY]: sort key and block.
@group(0) @binding(1) var<storage, read> sorted: array<vec2u>;
@group(0) @binding(2) var<storage, read> budgets: array<f32>;
// [all rows, LEVELS]
@group(0) @binding(3) var<storage, read_write> reachedOf: array<i32>;

var<workgroup> forced: atomic<u32>;
var<workgroup> open: atomic<u32>;
var<workgroup> reached: array<atomic<u32>, LEVELS>;
var<private> base: u32;

fn scoreAt(index: u32) -> f32 { return scoreOf(sorted[base + min(index, CAPACITY - 1u)].x); }

// Where the sorted open blocks of this thread reach each cut of the row's mass: the block that crosses a cut is in.
fn reachMass(thread: u32, start: u32, opened: u32, budget: f32) {
  let share = (opened + THREADS - 1u) / THREADS;
  let begin = min(opened, thread * share);
  let to = min(opened, begin + share);
  // Sums are in units of the best score, so that they fit f32 whatever the scores are.
  let best = scoreAt(start);
  let unit = select(1.0, best, opened > 0u && best > 1e-37);
  var sum = 0.0;
  for (var index = begin; index < to; index++) { sum += scoreAt(start + index) / unit; }
  if (thread < LEVELS) { atomicStore(&reached[thread], opened); }
  let upTo = scan(thread, sum);
  var before = 0.0;
  if (thread > 0u) { before = sums[thread - 1u]; }
  for (var level = 0u; level < LEVELS; level++) {
    let cut = sizes.levels[level].x * budget;
    let wanted = cut * sums[THREADS - 1u];
    if (cut >= 1.0) { continue; }
    if (wanted <= 0.0) { atomicMin(&reached[level], 0u); }
    sum = before;
    for (var index = begin; index < to; index++) {
      sum += scoreAt(start + index) / unit;
      if (sum >= wanted || (index + 1u == to && upTo >= wanted)) {
        atomicMin(&reached[level], index + 1u);
        break;
      }
    }
  }
  workgroupBarrier();
}

// How many sorted open blocks score no less than their anchor less each margin.
fn reachMargin(thread: u32, start: u32, opened: u32) {
  let anchor = select(scoreAt(start), 0.0, ZERO);
  for (var index = thread; index < opened; index += THREADS) {
    let score = scoreAt(start + index);
    for (var level = 0u; level < LEVELS; level++) {
      let margin = sizes.levels[level].z;
      if (margin >= 1e30 || score >= anchor - margin) { atomicAdd(&reached[level], 1u); }
    }
  }
  workgroupBarrier();
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let local = group.y * groups.x + group.x;
  if (local >= sizes.rows) { return; }
  let row = sizes.first + local;
  base = local * CAPACITY;
  for (var index = thread; index < sizes.kBlocks; index += THREADS) {
    let key = sorted[base + index].x;
    if (key == FORCED) { atomicAdd(&forced, 1u); } else if (key != FORBIDDEN) { atomicAdd(&open, 1u); }
  }
  workgroupBarrier();
  let start = atomicLoad(&forced);
  let opened = atomicLoad(&open);
  if (MARGIN) {
    reachMargin(thread, start, opened);
  } else {
    var budget = 1.0;
    if (BUDGETED) { budget = budgets[row / sizes.qBlocks]; }
    reachMass(thread, start, opened, budget);
  }
  if (thread < LEVELS) { reachedOf[row * LEVELS + thread] = i32(atomicLoad(&reached[thread])); }
}
