// Mass that a plan keeps of a row, and all mass of the row: [rows, 2]. Only finite scores are mass. One workgroup takes one row.
// Header: LEVELS.
struct Sizes { rows: u32, kBlocks: u32, width: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
// Bits of f32, because a shader may take infinities for impossible.
@group(0) @binding(1) var<storage, read> scores: array<u32>;
@group(0) @binding(2) var<storage, read> counts: array<i32>;
@group(0) @binding(3) var<storage, read> blocks: array<i32>;
@group(0) @binding(4) var<storage, read_write> kept: array<vec2f>;

const THREADS = 128u;
const EXPONENT = 0x7f800000u;

var<workgroup> sums: array<vec2f, THREADS>;

fn massOf(bits: u32) -> f32 {
  if ((bits & EXPONENT) == EXPONENT) { return 0.0; }
  return bitcast<f32>(bits);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= sizes.rows) { return; }
  var sum = vec2f(0.0);
  for (var block = thread; block < sizes.kBlocks; block += THREADS) { sum.y += massOf(scores[row * sizes.kBlocks + block]); }
  if (u32(counts[row * LEVELS]) == sizes.kBlocks) {
    sum.x = sum.y;
  } else {
    var count = 0u;
    for (var level = 0u; level < LEVELS; level++) { count += u32(counts[row * LEVELS + level]); }
    for (var at = thread; at < count; at += THREADS) {
      sum.x += massOf(scores[row * sizes.kBlocks + u32(blocks[row * sizes.width + at])]);
    }
  }
  sums[thread] = sum;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) { sums[thread] += sums[thread + step]; }
  }
  if (thread == 0u) { kept[row] = sums[0]; }
}
