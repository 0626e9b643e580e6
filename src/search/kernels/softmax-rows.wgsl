// Softmax of rows. One workgroup takes one row; infinite numbers have no share, +Infinity stays. Numbers are handled as bits, because a shader
// may take infinities for impossible.
struct Sizes { rows: u32, size: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> shares: array<u32>;

const THREADS = 128u;
const EXPONENT = 0x7f800000u;
const LOWEST = -3.4028234e38;

var<workgroup> reduced: array<f32, THREADS>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= sizes.rows) { return; }
  let begin = row * sizes.size;
  var largest = LOWEST;
  for (var at = thread; at < sizes.size; at += THREADS) {
    let bits = x[begin + at];
    if ((bits & EXPONENT) != EXPONENT) { largest = max(largest, bitcast<f32>(bits)); }
  }
  reduced[thread] = largest;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) { reduced[thread] = max(reduced[thread], reduced[thread + step]); }
  }
  workgroupBarrier();
  largest = reduced[0];
  workgroupBarrier();
  var sum = 0.0;
  for (var at = thread; at < sizes.size; at += THREADS) {
    let bits = x[begin + at];
    if ((bits & EXPONENT) != EXPONENT) { sum += exp(bitcast<f32>(bits) - largest); }
  }
  reduced[thread] = sum;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) { reduced[thread] += reduced[thread + step]; }
  }
  workgroupBarrier();
  for (var at = thread; at < sizes.size; at += THREADS) {
    let bits = x[begin + at];
    var share = 0u;
    if (bits == EXPONENT) {
      share = bits;
    } else if ((bits & EXPONENT) != EXPONENT) {
      share = bitcast<u32>(exp(bitcast<f32>(bits) - largest) / reduced[0]);
    }
    shares[begin + at] = share;
  }
}
