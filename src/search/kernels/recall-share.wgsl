// Kept share of each head's mass, from the kept and all mass of its rows; 1 for a head without mass. One workgroup takes one head.
struct Sizes { rows: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> kept: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> shares: array<f32>;

const THREADS = 256u;

var<workgroup> sums: array<vec2f, THREADS>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  var sum = vec2f(0.0);
  for (var row = thread; row < sizes.rows; row += THREADS) { sum += kept[group.x * sizes.rows + row]; }
  sums[thread] = sum;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) { sums[thread] += sums[thread + step]; }
  }
  if (thread == 0u) {
    shares[group.x] = 1.0;
    if (sums[0].y > 0.0) { shares[group.x] = sums[0].x / sums[0].y; }
  }
}
