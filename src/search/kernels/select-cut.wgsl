// Sorted rows of scores to plan rows, one workgroup a row: forced blocks, then what lies before the cuts of the levels, written level by level.
// Header: LEVELS; CAPACITY, of the sorted rows; MASS, cuts are shares of mass; CAPPED; BUDGETED.
struct Rows { first: u32, rows: u32, qBlocks: u32, kBlocks: u32, width: u32, least: f32, levels: array<vec4f, LEVELS> } // cut and pool factor

@group(0) @binding(0) var<uniform> sizes: Rows;
// [rows, CAPACITY]: sort key and block.
@group(0) @binding(1) var<storage, read> sorted: array<vec2u>;
@group(0) @binding(2) var<storage, read> caps: array<i32>;
@group(0) @binding(3) var<storage, read> budgets: array<f32>;
@group(0) @binding(4) var<storage, read_write> counts: array<i32>;
@group(0) @binding(5) var<storage, read_write> blocks: array<i32>;

const THREADS = 256u;
const FORCED = 0u;
const FORBIDDEN = 0xffffffffu;

var<workgroup> forced: atomic<u32>;
var<workgroup> open: atomic<u32>;
var<workgroup> reached: array<atomic<u32>, LEVELS>;
var<workgroup> sums: array<f32, THREADS>;
var<private> base: u32;
// For each level, how many sorted open blocks lie before its cut.
var<private> ends: array<u32, LEVELS>;

fn scoreAt(index: u32) -> f32 {
  let key = sorted[base + min(index, CAPACITY - 1u)].x;
  return bitcast<f32>(select(0x7fffffffu - key, key, (key & 0x80000000u) != 0u));
}

// Sum over the threads up to this one; `sums` then holds those of all of them.
fn scan(thread: u32, value: f32) -> f32 {
  workgroupBarrier();
  sums[thread] = value;
  for (var step = 1u; step < THREADS; step *= 2u) {
    workgroupBarrier();
    var left = 0.0;
    if (thread >= step) { left = sums[thread - step]; }
    workgroupBarrier();
    sums[thread] += left;
  }
  workgroupBarrier();
  return sums[thread];
}

// ceil(share * count), forgiving the rounding of shares such as 1 - 0.7.
fn ceilShare(share: f32, count: u32) -> u32 { return u32(ceil(max(0.0, share * f32(count) * (1.0 - 1e-6)))); }

// Where the sorted open blocks `from .. to` of this thread reach each cut of the row's mass: the block that crosses a cut is in.
fn reach(thread: u32, start: u32, opened: u32, budget: f32) {
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
  if (MASS) { reach(thread, start, opened, budget); }
  var end = min(opened, ceilShare(sizes.least, sizes.kBlocks - start));
  for (var level = 0u; level < LEVELS; level++) {
    var cut = ceilShare(sizes.levels[level].x * budget, sizes.kBlocks - start);
    if (MASS) { cut = atomicLoad(&reached[level]); }
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
