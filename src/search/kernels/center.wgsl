// Blocked x less the mean of its head; PAD stays zero. One workgroup takes one block. Header: Scalar; DIM, BLOCK.
struct Sizes { blocks: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<Scalar>;
@group(0) @binding(2) var<storage, read> means: array<f32>;
@group(0) @binding(3) var<storage, read> counts: array<i32>;
@group(0) @binding(4) var<storage, read_write> centered: array<Scalar>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let begin = (group.y * sizes.blocks + group.x) * BLOCK * DIM;
  let real = u32(counts[group.x]) * DIM;
  for (var at = thread; at < BLOCK * DIM; at += 128u) {
    var number = 0.0;
    if (at < real) { number = f32(x[begin + at]) - means[group.y * DIM + at % DIM]; }
    centered[begin + at] = Scalar(number);
  }
}
