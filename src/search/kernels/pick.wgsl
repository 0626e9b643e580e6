// For each head one table of several. Tables are copied as bits. A thread takes one number.
struct Sizes { heads: u32, choices: u32, size: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> choice: array<i32>;
@group(0) @binding(3) var<storage, read_write> picked: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let index = id.y * groups.x * 256u + id.x;
  if (index >= sizes.heads * sizes.size) { return; }
  let chosen = clamp(choice[index / sizes.size], 0, i32(sizes.choices) - 1);
  picked[index] = tables[u32(chosen) * sizes.size + index % sizes.size];
}
