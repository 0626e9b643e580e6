// What there is among rows of scores that are cut together: one workgroup for each of CHUNKS pieces of a set of rows finds its best open key and
// counts open and forced blocks. select-shared.wgsl stands behind it.
// Header: LEVELS; CHUNKS.

@group(0) @binding(0) var<uniform> sizes: Selection; // rows are those of a set
@group(0) @binding(1) var<storage, read> scores: array<u32>;
// [sets, CHUNKS]: best key, open and forced blocks
@group(0) @binding(2) var<storage, read_write> surveys: array<vec4u>;

var<workgroup> best: atomic<u32>;
var<workgroup> open: atomic<u32>;
var<workgroup> forced: atomic<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let all = sizes.rows * sizes.kBlocks;
  let size = (all + CHUNKS - 1u) / CHUNKS;
  let base = group.y * all;
  if (thread == 0u) { atomicStore(&best, FORBIDDEN); }
  workgroupBarrier();
  for (var at = group.x * size + thread; at < min(all, (group.x + 1u) * size); at += THREADS) {
    let key = keyOf(scores[base + at]);
    if (key == FORCED) {
      atomicAdd(&forced, 1u);
    } else if (key != FORBIDDEN) {
      atomicMin(&best, key);
      atomicAdd(&open, 1u);
    }
  }
  workgroupBarrier();
  if (thread == 0u) {
    surveys[group.y * CHUNKS + group.x] = vec4u(atomicLoad(&best), atomicLoad(&open), atomicLoad(&forced), 0u);
  }
}
