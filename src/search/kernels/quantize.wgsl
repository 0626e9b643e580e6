// Rows of DIM numbers rounded to whole multiples of their largest over STEPS. A thread takes a row.
// Header: Scalar; DIM, STEPS.
struct Sizes { rows: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<Scalar>;
@group(0) @binding(2) var<storage, read_write> coarse: array<Scalar>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = (group.y * groups.x + group.x) * 256u + thread;
  if (row >= sizes.rows) { return; }
  let begin = row * DIM;
  var largest = 0.0;
  for (var at = begin; at < begin + DIM; at++) { largest = max(largest, abs(f32(x[at]))); }
  for (var at = begin; at < begin + DIM; at++) {
    var value = 0.0;
    if (largest > 0.0) { value = round(f32(x[at]) / largest * f32(STEPS)) * largest / f32(STEPS); }
    coarse[at] = Scalar(value);
  }
}
