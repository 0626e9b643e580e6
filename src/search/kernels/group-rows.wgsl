// Sums over the groups of each query block, every group weighed by its real tokens: [heads, blocks * GROUPS, kBlocks] -> blocks `first ...` of
// [heads, qBlocks, kBlocks]. A thread makes one sum.
// Header: GROUPS, of a block.
struct Sizes { heads: u32, blocks: u32, kBlocks: u32, qBlocks: u32, first: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<f32>;
// [qBlocks * GROUPS]
@group(0) @binding(2) var<storage, read> shares: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = (group.y * groups.x + group.x) * 256u + thread;
  if (at >= sizes.heads * sizes.blocks * sizes.kBlocks) { return; }
  let column = at % sizes.kBlocks;
  let row = at / sizes.kBlocks;
  let block = sizes.first + row % sizes.blocks;
  var sum = 0.0;
  for (var one = 0u; one < GROUPS; one++) { sum += shares[block * GROUPS + one] * x[(row * GROUPS + one) * sizes.kBlocks + column]; }
  sums[(row / sizes.blocks * sizes.qBlocks + block) * sizes.kBlocks + column] = sum;
}
