// One of two numbers, given as bits, by whether x is below a threshold; both may be infinite, and so may x.
struct Sizes { size: u32, threshold: f32, below: u32, otherwise: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> result: array<u32>;

const EXPONENT = 0x7f800000u;
const FORBIDDEN = 0xff800000u;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let at = id.y * groups.x * 256u + id.x;
  if (at >= sizes.size) { return; }
  let bits = x[at];
  var isBelow = bits == FORBIDDEN;
  if ((bits & EXPONENT) != EXPONENT) { isBelow = bitcast<f32>(bits) < sizes.threshold; }
  result[at] = select(sizes.otherwise, sizes.below, isBelow);
}
