// A weighted sum of up to 6 tensors. Item is f32, or a vector of 4 where the count allows; parts beyond PARTS are bound, but not read.

@group(0) @binding(0) var<uniform> weights: array<vec4f, 2>;
@group(0) @binding(1) var<storage, read> a: array<Item>;
@group(0) @binding(2) var<storage, read> b: array<Item>;
@group(0) @binding(3) var<storage, read> c: array<Item>;
@group(0) @binding(4) var<storage, read> d: array<Item>;
@group(0) @binding(5) var<storage, read> e: array<Item>;
@group(0) @binding(6) var<storage, read> f: array<Item>;
@group(0) @binding(7) var<storage, read_write> y: array<Item>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let at = (group.y * groups.x + group.x) * 256 + lane;
  if (at >= arrayLength(&y)) {
    return;
  }
  var sum = weights[0].x * a[at];
  if (PARTS > 1) {
    sum = fma(Item(weights[0].y), b[at], sum);
  }
  if (PARTS > 2) {
    sum = fma(Item(weights[0].z), c[at], sum);
  }
  if (PARTS > 3) {
    sum = fma(Item(weights[0].w), d[at], sum);
  }
  if (PARTS > 4) {
    sum = fma(Item(weights[1].x), e[at], sum);
  }
  if (PARTS > 5) {
    sum = fma(Item(weights[1].y), f[at], sum);
  }
  y[at] = sum;
}
