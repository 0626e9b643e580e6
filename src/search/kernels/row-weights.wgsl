// Logits [rows, keys], in units of log2, become shares of their row's exp2, in place. One workgroup takes one row.
struct Sizes { rows: u32, keys: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read_write> weights: array<f32>;

const THREADS = 256u;
const LOWEST = -3.4e38;

var<workgroup> reduced: array<f32, THREADS>;

// Bounded, so that padding makes no denormal.
fn weigh(logit: f32, largest: f32) -> f32 { return select(0.0, exp2(logit - largest), logit - largest > -126.0); }

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= sizes.rows) { return; }
  let begin = row * sizes.keys;
  var largest = LOWEST;
  for (var key = thread; key < sizes.keys; key += THREADS) { largest = max(largest, weights[begin + key]); }
  reduced[thread] = largest;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) { reduced[thread] = max(reduced[thread], reduced[thread + step]); }
  }
  workgroupBarrier();
  largest = reduced[0];
  workgroupBarrier();
  var sum = 0.0;
  for (var key = thread; key < sizes.keys; key += THREADS) { sum += weigh(weights[begin + key], largest); }
  reduced[thread] = sum;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) { reduced[thread] += reduced[thread + step]; }
  }
  workgroupBarrier();
  let total = reduced[0];
  for (var key = thread; key < sizes.keys; key += THREADS) { weights[begin + key] = weigh(weights[begin + key], largest) / total; }
}
