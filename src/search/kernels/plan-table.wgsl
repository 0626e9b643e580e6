// A plan as a table of two numbers, one for the key blocks that a row reads and one for those that it leaves out. One workgroup takes one row.
// Numbers are handled as bits, because a shader may take infinities for impossible. Header: LEVELS.
struct Sizes { rows: u32, kBlocks: u32, width: u32, read: u32, left: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> counts: array<i32>;
@group(0) @binding(2) var<storage, read> blocks: array<i32>;
@group(0) @binding(3) var<storage, read_write> table: array<u32>;

const THREADS = 64u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= sizes.rows) { return; }
  // A row that reads all in full has no list.
  let whole = u32(counts[row * LEVELS]) == sizes.kBlocks;
  for (var block = thread; block < sizes.kBlocks; block += THREADS) {
    table[row * sizes.kBlocks + block] = select(sizes.left, sizes.read, whole);
  }
  storageBarrier();
  var count = 0u;
  for (var level = 0u; level < LEVELS; level++) { count += u32(counts[row * LEVELS + level]); }
  for (var at = thread; at < select(count, 0u, whole); at += THREADS) {
    table[row * sizes.kBlocks + u32(blocks[row * sizes.width + at])] = sizes.read;
  }
}
