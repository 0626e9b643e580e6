// The finite numbers of each row brought to 0..1, least to largest; 1 where all are equal. One workgroup takes one row. Numbers are handled as
// bits, because a shader may take infinities for impossible.
struct Sizes { rows: u32, size: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> scaled: array<u32>;

const THREADS = 256u;
const EXPONENT = 0x7f800000u;
const LOWEST = -3.4028234e38;

// The largest number, and the largest of the numbers' opposites.
var<workgroup> bounds: array<vec2f, THREADS>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= sizes.rows) { return; }
  let begin = row * sizes.size;
  var own = vec2f(LOWEST);
  for (var at = thread; at < sizes.size; at += THREADS) {
    let bits = x[begin + at];
    if ((bits & EXPONENT) != EXPONENT) { own = max(own, vec2f(bitcast<f32>(bits), -bitcast<f32>(bits))); }
  }
  bounds[thread] = own;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) { bounds[thread] = max(bounds[thread], bounds[thread + step]); }
  }
  workgroupBarrier();
  let least = -bounds[0].y;
  let range = bounds[0].x - least;
  for (var at = thread; at < sizes.size; at += THREADS) {
    var bits = x[begin + at];
    if ((bits & EXPONENT) != EXPONENT) {
      var number = 1.0;
      if (range > 0.0) { number = (bitcast<f32>(bits) - least) / range; }
      bits = bitcast<u32>(number);
    }
    scaled[begin + at] = bits;
  }
}
