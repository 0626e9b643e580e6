// Where cuts over many rows of scores fall in each of them, one workgroup for the rows of a head or of all heads: how many open blocks of a row lie
// before each cut. The key at a cut is searched among all keys, an eighth of what is left at a time, so nothing is sorted (Twilight,
// arXiv 2502.02770, searches a row so, by halves). Of equal scores at a cut, those of earlier rows come first. select-shared.wgsl stands behind it.
// Header: LEVELS; MASS, cuts are shares of mass, else of blocks; BUDGETED.

@group(0) @binding(0) var<uniform> sizes: Selection; // first is not used; rows are those of a workgroup
@group(0) @binding(1) var<storage, read> scores: array<u32>;
@group(0) @binding(2) var<storage, read> budgets: array<f32>;
// [all rows, LEVELS]
@group(0) @binding(3) var<storage, read_write> reached: array<i32>;

const PARTS = 8u;
const TURNS = 11u; // 8 ** 11 keys and more
var<workgroup> parts: array<f32, PARTS * THREADS>;
var<workgroup> best: atomic<u32>;
var<workgroup> open: atomic<u32>;
var<workgroup> forced: atomic<u32>;

// What a block counts: itself, or its mass in units of the best score, so that sums fit f32.
fn weightOf(key: u32, unit: f32) -> f32 {
  if (MASS) { return scoreOf(key) / unit; }
  return 1.0;
}

fn isOpen(key: u32) -> bool { return key != FORCED && key != FORBIDDEN; }

// Weight of the open blocks up to each of PARTS keys, `step` apart after `low`; parts[part * THREADS] then holds it.
fn weigh(thread: u32, base: u32, low: u32, step: u32, unit: f32) {
  var own: array<f32, PARTS>;
  for (var at = thread; at < sizes.rows * sizes.kBlocks; at += THREADS) {
    let key = keyOf(scores[base + at]);
    if (!isOpen(key) || key <= low) { continue; }
    let weight = weightOf(key, unit);
    for (var part = 0u; part < PARTS; part++) { own[part] += select(0.0, weight, (key - low - 1u) / step <= part); }
  }
  workgroupBarrier();
  for (var part = 0u; part < PARTS; part++) { parts[part * THREADS + thread] = own[part]; }
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      for (var part = 0u; part < PARTS; part++) { parts[part * THREADS + thread] += parts[part * THREADS + thread + half]; }
    }
  }
  workgroupBarrier();
}

// Open blocks of each row before a key, and of those that have it as many as are allowed, row by row.
fn write(thread: u32, base: u32, firstRow: u32, level: u32, bound: u32, allowed: f32) {
  var taken = 0.0;
  for (var chunk = 0u; chunk < sizes.rows; chunk += THREADS) {
    let row = chunk + thread;
    var before = 0.0;
    var equal = 0.0;
    for (var block = 0u; row < sizes.rows && block < sizes.kBlocks; block++) {
      let key = keyOf(scores[base + row * sizes.kBlocks + block]);
      if (!isOpen(key)) { continue; }
      before += select(0.0, 1.0, key < bound);
      equal += select(0.0, 1.0, key == bound);
    }
    let upTo = taken + scan(thread, equal);
    if (row < sizes.rows) { reached[(firstRow + row) * LEVELS + level] = i32(before + clamp(allowed - upTo + equal, 0.0, equal)); }
    taken += sums[THREADS - 1u];
    workgroupBarrier();
  }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let firstRow = group.x * sizes.rows;
  let base = firstRow * sizes.kBlocks;
  if (thread == 0u) { atomicStore(&best, FORBIDDEN); }
  workgroupBarrier();
  for (var at = thread; at < sizes.rows * sizes.kBlocks; at += THREADS) {
    let key = keyOf(scores[base + at]);
    if (isOpen(key)) {
      atomicMin(&best, key);
      atomicAdd(&open, 1u);
    } else if (key == FORCED) { atomicAdd(&forced, 1u); }
  }
  workgroupBarrier();
  let opened = f32(atomicLoad(&open));
  let first = atomicLoad(&best) - 1u;
  let largest = scoreOf(first + 1u);
  let unit = select(1.0, largest, opened > 0.0 && largest > 1e-37);
  var budget = 1.0;
  if (BUDGETED) { budget = budgets[firstRow / sizes.qBlocks]; }
  weigh(thread, base, first, 0x20000000u, unit);
  let total = parts[(PARTS - 1u) * THREADS];
  for (var level = 0u; level < LEVELS; level++) {
    let cut = sizes.levels[level].x * budget;
    var wanted = cut * total;
    if (!MASS) { wanted = f32(ceilShare(cut, sizes.rows * sizes.kBlocks - atomicLoad(&forced))); }
    // Weight up to `low` is `under`, less than wanted; up to low + span it is enough.
    var low = first;
    var span = FORBIDDEN - 1u - first;
    var under = 0.0;
    for (var turn = 0u; turn < TURNS; turn++) {
      let step = max(1u, (span + PARTS - 1u) / PARTS);
      weigh(thread, base, low, step, unit);
      if (span > 1u) {
        var part = 0u;
        while (part + 1u < PARTS && (part + 1u) * step < span && under + parts[part * THREADS] < wanted) { part++; }
        if (part > 0u) { under += parts[(part - 1u) * THREADS]; }
        low += part * step;
        span = min(step, span - part * step);
      }
    }
    let every = (MASS && cut >= 1.0) || (!MASS && wanted >= opened);
    var allowed = wanted - under;
    if (MASS) { allowed = max(1.0, ceil(allowed / max(1e-30, weightOf(low + 1u, unit)))); }
    let bound = select(low + 1u, FORBIDDEN, every);
    write(thread, base, firstRow, level, bound, select(allowed, 0.0, wanted <= 0.0));
  }
}
