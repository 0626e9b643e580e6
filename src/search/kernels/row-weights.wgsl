// Logits [rows, keys], in units of log2, become shares of their row's exp2, in place. One workgroup takes one row.
// row-softmax.wgsl stands behind it.
struct Sizes { rows: u32, keys: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read_write> weights: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= sizes.rows) { return; }
  let begin = row * sizes.keys;
  var most = LOWEST;
  for (var key = thread; key < sizes.keys; key += THREADS) { most = max(most, weights[begin + key]); }
  let largest = largestOf(most, thread);
  var sum = 0.0;
  for (var key = thread; key < sizes.keys; key += THREADS) { sum += weigh(weights[begin + key], largest); }
  let total = sumOf(sum, thread);
  for (var key = thread; key < sizes.keys; key += THREADS) { weights[begin + key] = weigh(weights[begin + key], largest) / total; }
}
