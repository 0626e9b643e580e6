// The video's tokens by label, each label in blocks of its own, and text behind them. A workgroup takes one label; one more takes the blocks that
// stay empty, and text. label-members.wgsl stands behind it.
// Header: BLOCK.
struct Sizes { tokens: u32, labels: u32, blocks: u32, videoBlocks: u32, text: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> labels: array<i32>;
@group(0) @binding(2) var<storage, read> totals: array<i32>; // tokens of each label, [heads, labels]
@group(0) @binding(3) var<storage, read_write> order: array<i32>; // [heads, blocks * BLOCK]
@group(0) @binding(4) var<storage, read_write> slots: array<i32>; // [heads, tokens + text]
@group(0) @binding(5) var<storage, read_write> counts: array<i32>; // [heads, blocks]
@group(0) @binding(6) var<storage, read_write> lnCounts: array<u32>; // bits of f32, since a shader may take infinities for impossible
@group(0) @binding(7) var<storage, read_write> bias: array<f32>; // [heads, blocks * BLOCK]

const WIDTH = u32(BLOCK);

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let head = group.y;
  let label = group.x;
  let ofTotals = head * sizes.labels;
  var firstBlock = 0u;
  for (var other = 0u; other < label; other++) { firstBlock += (u32(totals[ofTotals + other]) + WIDTH - 1u) / WIDTH; }
  if (label == sizes.labels) {
    let text = sizes.videoBlocks * WIDTH;
    for (var slot = firstBlock * WIDTH + thread; slot < text; slot += THREADS) { put(head, slot, -1); }
    for (var at = thread; at < (sizes.blocks - sizes.videoBlocks) * WIDTH; at += THREADS) {
      put(head, text + at, select(-1, i32(sizes.tokens + at), at < sizes.text));
    }
    for (var block = firstBlock + thread; block < sizes.videoBlocks; block += THREADS) { count(head, block, 0u); }
    for (var block = sizes.videoBlocks + thread; block < sizes.blocks; block += THREADS) {
      count(head, block, min(WIDTH, sizes.text - (block - sizes.videoBlocks) * WIDTH));
    }
    return;
  }
  let total = u32(totals[ofTotals + label]);
  let own = (total + WIDTH - 1u) / WIDTH;
  var placed = 0u;
  for (var start = 0u; start < sizes.tokens; start += CHUNK) {
    let more = membersOf(label, head * sizes.tokens, start, sizes.tokens, thread);
    for (var at = thread; at < more; at += THREADS) { put(head, firstBlock * WIDTH + placed + at, i32(members[at])); }
    placed += more;
  }
  for (var slot = total + thread; slot < own * WIDTH; slot += THREADS) { put(head, firstBlock * WIDTH + slot, -1); }
  for (var block = thread; block < own; block += THREADS) { count(head, firstBlock + block, min(WIDTH, total - block * WIDTH)); }
}

/** A slot holds a token, or none. */
fn put(head: u32, slot: u32, token: i32) {
  let to = head * sizes.blocks * WIDTH + slot;
  order[to] = token;
  bias[to] = select(-1e30, 0.0, token >= 0);
  if (token >= 0) { slots[head * (sizes.tokens + sizes.text) + u32(token)] = i32(slot); }
}

fn count(head: u32, block: u32, tokens: u32) {
  counts[head * sizes.blocks + block] = i32(tokens);
  lnCounts[head * sizes.blocks + block] = select(bitcast<u32>(log(f32(max(tokens, 1u)))), 0xff800000u, tokens == 0u);
}
