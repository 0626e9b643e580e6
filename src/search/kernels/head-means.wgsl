// Mean of each head's real tokens from the means of its blocks: f32 [heads, blocks, DIM] -> [heads, DIM]. A thread takes one number.
// Header: DIM.
struct Sizes { blocks: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> means: array<f32>;
@group(0) @binding(2) var<storage, read> counts: array<i32>;
@group(0) @binding(3) var<storage, read_write> whole: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= u32(DIM)) { return; }
  var sum = 0.0;
  var tokens = 0.0;
  for (var block = 0u; block < sizes.blocks; block++) {
    let count = f32(counts[block]);
    sum += count * means[(id.y * sizes.blocks + block) * u32(DIM) + id.x];
    tokens += count;
  }
  whole[id.y * u32(DIM) + id.x] = sum / tokens;
}
