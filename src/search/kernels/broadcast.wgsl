// The sum or the product of two tables, where a size of 1 is repeated. Numbers are handled as bits, because a shader may take infinities for
// impossible: an infinite entry of b replaces a, and an infinite a stays. Header: PRODUCT.
struct Sizes { shape: vec4u, a: vec4u, b: vec4u } // result, and how far a step along each axis moves in a and in b

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<u32>;

const EXPONENT = 0x7f800000u;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let index = id.y * groups.x * 256u + id.x;
  let shape = sizes.shape;
  if (index >= shape.x * shape.y * shape.z * shape.w) { return; }
  let line = index / shape.w;
  let table = line / shape.z;
  let place = vec4u(table / shape.y, table % shape.y, line % shape.z, index % shape.w);
  let x = a[dot(place, sizes.a)];
  let y = b[dot(place, sizes.b)];
  var bits = x;
  if ((y & EXPONENT) == EXPONENT) {
    bits = y;
  } else if ((x & EXPONENT) != EXPONENT) {
    bits = bitcast<u32>(select(bitcast<f32>(x) + bitcast<f32>(y), bitcast<f32>(x) * bitcast<f32>(y), PRODUCT));
  }
  result[index] = bits;
}
