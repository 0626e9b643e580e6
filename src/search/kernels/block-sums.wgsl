// Sums over the real slots of each block, [heads, rows, slots] -> rows `first ...` of [heads, allRows, blocks]. A thread makes one sum.
// Header: BLOCK.
struct Sizes { heads: u32, rows: u32, blocks: u32, allRows: u32, first: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> counts: array<i32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = (group.y * groups.x + group.x) * 256u + thread;
  if (at >= sizes.heads * sizes.rows * sizes.blocks) { return; }
  let block = at % sizes.blocks;
  let row = at / sizes.blocks;
  var sum = 0.0;
  for (var slot = 0u; slot < u32(counts[block]); slot++) { sum += x[at * BLOCK + slot]; }
  sums[(row / sizes.rows * sizes.allRows + sizes.first + row % sizes.rows) * sizes.blocks + block] = sum;
}
