// Sorts rows of scores: forced blocks first, then falling score, equal scores by index, then forbidden ones. One workgroup sorts one row, in
// workgroup memory or, when it is too long for that, in place. select-shared.wgsl stands behind it.
// Header: CAPACITY, a power of two from kBlocks up; HELD, sort in workgroup memory.
@group(0) @binding(0) var<uniform> sizes: Selection;
@group(0) @binding(1) var<storage, read> scores: array<u32>;
// [rows, CAPACITY]: sort key and block.
@group(0) @binding(2) var<storage, read_write> sorted: array<vec2u>;


var<workgroup> held: array<vec2u, select(1, CAPACITY, HELD)>;
var<private> base: u32;

fn at(index: u32) -> vec2u {
  if (HELD) { return held[index]; }
  return sorted[base + index];
}

fn put(index: u32, pair: vec2u) {
  if (HELD) { held[index] = pair; } else { sorted[base + index] = pair; }
}

fn sync() {
  workgroupBarrier();
  if (!HELD) { storageBarrier(); }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= sizes.rows) { return; }
  base = row * CAPACITY;
  for (var block = thread; block < CAPACITY; block += THREADS) {
    var key = FORBIDDEN;
    if (block < sizes.kBlocks) { key = keyOf(scores[(sizes.first + row) * sizes.kBlocks + block]); }
    put(block, vec2u(key, block));
  }
  // Bitonic: runs of `size` rise and fall in turn.
  for (var size = 2u; size <= CAPACITY; size *= 2u) {
    for (var step = size / 2u; step > 0u; step /= 2u) {
      sync();
      for (var pair = thread; pair < CAPACITY / 2u; pair += THREADS) {
        let low = (pair / step) * 2u * step + pair % step;
        let a = at(low);
        let b = at(low + step);
        let falls = b.x < a.x || (b.x == a.x && b.y < a.y);
        if (falls == ((low & size) == 0u)) {
          put(low, b);
          put(low + step, a);
        }
      }
    }
  }
  sync();
  if (HELD) {
    for (var index = thread; index < CAPACITY; index += THREADS) { sorted[base + index] = held[index]; }
  }
}
