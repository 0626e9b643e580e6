// How many tokens have each label: labels [heads, tokens] to i32 [heads, labels]. A workgroup takes one label. label-members.wgsl stands behind it.
struct Sizes { tokens: u32, labels: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> labels: array<i32>;
@group(0) @binding(2) var<storage, read_write> totals: array<i32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  var count = 0u;
  for (var start = 0u; start < sizes.tokens; start += CHUNK) {
    count += membersOf(group.x, group.y * sizes.tokens, start, sizes.tokens, thread);
  }
  if (thread == 0u) { totals[group.y * sizes.labels + group.x] = i32(count); }
}
