// Mean of each block's real tokens, or of their directions: [heads, slots, DIM] -> f32 [heads, blocks, DIM]. One workgroup takes one block.
// Header: Scalar; DIM, BLOCK; NORMALIZED.
struct Sizes { blocks: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<Scalar>;
@group(0) @binding(2) var<storage, read> counts: array<i32>;
@group(0) @binding(3) var<storage, read_write> means: array<f32>;

const THREADS = 64u;
const WIDTH = u32(DIM);

var<workgroup> weights: array<f32, select(1, BLOCK, NORMALIZED)>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let block = group.y * sizes.blocks + group.x;
  let count = u32(counts[group.x]);
  let begin = block * BLOCK * WIDTH;
  if (NORMALIZED) {
    for (var slot = thread; slot < count; slot += THREADS) {
      var square = 0.0;
      for (var at = 0u; at < WIDTH; at++) {
        let number = f32(x[begin + slot * WIDTH + at]);
        square += number * number;
      }
      var weight = 0.0;
      if (square > 0.0) { weight = 1.0 / sqrt(square); }
      weights[slot] = weight;
    }
    workgroupBarrier();
  }
  for (var at = thread; at < WIDTH; at += THREADS) {
    var sum = 0.0;
    for (var slot = 0u; slot < count; slot++) {
      var weight = 1.0;
      if (NORMALIZED) { weight = weights[slot]; }
      sum += weight * f32(x[begin + slot * WIDTH + at]);
    }
    means[block * WIDTH + at] = sum / max(f32(count), 1.0);
  }
}
