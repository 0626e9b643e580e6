// Each vector along one axis divided by its Euclidean length: x and y [outer, size, inner], a thread for each vector.

struct Normalize { vectors: u32, size: u32, inner: u32, spare: u32 }

@group(0) @binding(0) var<uniform> call: Normalize;
@group(0) @binding(1) var<storage, read> x: array<Scalar>;
@group(0) @binding(2) var<storage, read_write> y: array<Scalar>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let vector = (group.y * groups.x + group.x) * 256 + lane;
  if (vector >= call.vectors) {
    return;
  }
  let start = vector / call.inner * call.size * call.inner + vector % call.inner;
  var squares = 0.0;
  for (var i = 0u; i < call.size; i++) {
    let value = f32(x[start + i * call.inner]);
    squares += value * value;
  }
  let factor = 1.0 / max(sqrt(squares), 1e-12);
  for (var i = 0u; i < call.size; i++) {
    y[start + i * call.inner] = Scalar(f32(x[start + i * call.inner]) * factor);
  }
}
