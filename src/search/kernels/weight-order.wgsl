// Sorted weights as an order: the tokens of the video by falling weight, and text behind them in its own order.
struct Sizes { heads: u32, capacity: u32, video: u32, tokens: u32, slots: u32, text: u32 } // `text`, the first slot of it

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> sorted: array<vec2u>; // [heads, capacity]: sort key and token
@group(0) @binding(2) var<storage, read_write> order: array<i32>; // [heads, slots]
@group(0) @binding(3) var<storage, read_write> slotOf: array<i32>; // [heads, tokens]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = (group.y * groups.x + group.x) * 256u + thread;
  if (at >= sizes.heads * sizes.slots) { return; }
  let head = at / sizes.slots;
  let slot = at % sizes.slots;
  var token = -1;
  if (slot < sizes.video) {
    token = i32(sorted[head * sizes.capacity + slot].y);
  } else if (slot >= sizes.text && slot - sizes.text < sizes.tokens - sizes.video) {
    token = i32(sizes.video + slot - sizes.text);
  }
  order[at] = token;
  if (token >= 0) { slotOf[head * sizes.tokens + u32(token)] = i32(slot); }
}
