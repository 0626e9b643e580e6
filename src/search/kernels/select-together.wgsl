// One turn of the search for the keys at which cuts over many rows of scores fall: an eighth of the keys that are left at a time, so nothing is
// sorted (Twilight, arXiv 2502.02770, searches a row so, by halves). Every workgroup first adds up what all weighed in the turn before and
// takes the eighth in which the cut lies, then weighs its own piece of the rows. select-bounds.wgsl and select-shared.wgsl stand behind it.
// Header: LEVELS; CHUNKS, pieces of a set of rows; MASS, cuts are shares of mass, else of blocks; BUDGETED; FIRST, there was no turn before.

@group(0) @binding(0) var<uniform> sizes: Selection; // rows are those of a set
@group(0) @binding(1) var<storage, read> scores: array<u32>;
@group(0) @binding(2) var<storage, read> budgets: array<f32>;
@group(0) @binding(3) var<storage, read> surveys: array<vec4u>;
// [sets, LEVELS]
@group(0) @binding(4) var<storage, read> before: array<Bound>;
// [sets, LEVELS, PARTS, CHUNKS]: weight of the open blocks of a piece in an eighth of the keys
@group(0) @binding(5) var<storage, read> weighed: array<f32>;
@group(0) @binding(6) var<storage, read_write> bounds: array<Bound>;
@group(0) @binding(7) var<storage, read_write> weights: array<f32>;

const PARTS = 8u;
var<workgroup> parts: array<f32, PARTS * THREADS>;

fn stepOf(span: u32) -> u32 { return max(1u, (span + PARTS - 1u) / PARTS); }

// The bound of a level after the turn before: the eighth of its keys in which the weight reaches what is wanted.
fn narrowed(thread: u32, rowSet: u32, level: u32, survey: Survey) -> Bound {
  let at = rowSet * LEVELS + level;
  var bound = before[at];
  if (thread < PARTS) {
    var sum = 0.0;
    for (var piece = 0u; piece < CHUNKS; piece++) { sum += weighed[(at * PARTS + thread) * CHUNKS + piece]; }
    parts[thread * THREADS] = sum;
  }
  workgroupBarrier();
  if (bound.total < 0.0) {
    bound.total = 0.0;
    for (var part = 0u; part < PARTS; part++) { bound.total += parts[part * THREADS]; }
  }
  if (bound.span > 1u) {
    let step = stepOf(bound.span);
    let wanted = wantedOf(rowSet, level, bound.total, survey);
    var part = 0u;
    while (part + 1u < PARTS && (part + 1u) * step < bound.span && bound.under + parts[part * THREADS] < wanted) {
      bound.under += parts[part * THREADS];
      part++;
    }
    bound.low += part * step;
    bound.span = min(step, bound.span - part * step);
  }
  workgroupBarrier();
  return bound;
}

// Weight of the open blocks of a piece in each eighth of the keys that are left: in parts[part * THREADS].
fn weigh(thread: u32, piece: u32, base: u32, bound: Bound, unit: f32) {
  let all = sizes.rows * sizes.kBlocks;
  let size = (all + CHUNKS - 1u) / CHUNKS;
  let step = stepOf(bound.span);
  var own: array<f32, PARTS>;
  for (var at = piece * size + thread; at < min(all, (piece + 1u) * size); at += THREADS) {
    let key = keyOf(scores[base + at]);
    if (!isOpen(key) || key <= bound.low) { continue; }
    let eighth = (key - bound.low - 1u) / step;
    let weight = weightOf(key, unit);
    for (var part = 0u; part < PARTS; part++) { own[part] += select(0.0, weight, eighth == part); }
  }
  for (var part = 0u; part < PARTS; part++) { parts[part * THREADS + thread] = own[part]; }
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      for (var part = 0u; part < PARTS; part++) { parts[part * THREADS + thread] += parts[part * THREADS + thread + half]; }
    }
  }
  workgroupBarrier();
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let rowSet = group.y;
  let survey = surveyOf(thread, rowSet);
  for (var level = 0u; level < LEVELS; level++) {
    let at = rowSet * LEVELS + level;
    var bound = Bound(survey.first, FORBIDDEN - 1u - survey.first, 0.0, -1.0);
    if (!FIRST) { bound = narrowed(thread, rowSet, level, survey); }
    if (group.x == 0u && thread == 0u) { bounds[at] = bound; }
    weigh(thread, group.x, rowSet * sizes.rows * sizes.kBlocks, bound, survey.unit);
    if (thread < PARTS) { weights[(at * PARTS + thread) * CHUNKS + group.x] = parts[thread * THREADS]; }
    workgroupBarrier();
  }
}
