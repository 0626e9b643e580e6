// The larger score of a block pair's column and diagonal: [heads, qBlocks, kBlocks]. Scores are not negative, so their bits are in their order,
// Infinity too, which a shader may take for impossible. A thread makes one.
struct Sizes { heads: u32, qBlocks: u32, kBlocks: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> columns: array<u32>;
@group(0) @binding(2) var<storage, read> diagonals: array<u32>;
@group(0) @binding(3) var<storage, read_write> scores: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = (group.y * groups.x + group.x) * 256u + thread;
  if (at >= sizes.heads * sizes.qBlocks * sizes.kBlocks) { return; }
  let column = at % sizes.kBlocks;
  let row = at / sizes.kBlocks;
  let diagonal = column + sizes.qBlocks - 1u - row % sizes.qBlocks;
  let head = row / sizes.qBlocks;
  scores[at] = max(columns[head * sizes.kBlocks + column], diagonals[head * (sizes.qBlocks + sizes.kBlocks - 1u) + diagonal]);
}
