// Copies the drawn tokens of every block: [heads, slots, dim] -> [heads, blocks * DRAWN, dim]. One workgroup copies those of one block.
// Header: Scalar; DIM, BLOCK, DRAWN.
struct Sizes { blocks: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<vec4<Scalar>>;
// [heads, DRAWN]: slots, taken modulo the real tokens of a block.
@group(0) @binding(2) var<storage, read> draws: array<i32>;
@group(0) @binding(3) var<storage, read> counts: array<i32>;
@group(0) @binding(4) var<storage, read_write> drawn: array<vec4<Scalar>>;

const VECTORS = u32(DIM / 4);

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let block = group.y * sizes.blocks + group.x;
  for (var at = thread; at < DRAWN * VECTORS; at += 128u) {
    let slot = u32(draws[group.y * DRAWN + at / VECTORS] % counts[group.x]);
    drawn[block * DRAWN * VECTORS + at] = x[(block * BLOCK + slot) * VECTORS + at % VECTORS];
  }
}
