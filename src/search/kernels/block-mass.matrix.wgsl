// Mass of block pairs with subgroup matrices, 16 x 16 x 16, f16 into f32. A workgroup takes 128 rows, 32 for each of its four subgroups, and
// CHUNK key blocks, 32 keys at a time: a subgroup multiplies, stores the logits in its own scratch, and each lane sums the exponentials of one row.
// Header: DIM, a multiple of 16; Q_BLOCK 32, 64 or 128; K_BLOCK, a multiple of 32; SCALE, log2(e) / sqrt(dim); CHUNK.
struct Sizes { qBlocks: u32, kBlocks: u32 }

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> q: array<f16>;
@group(0) @binding(2) var<storage, read> k: array<vec4u>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> qCounts: array<i32>;
@group(0) @binding(5) var<storage, read> kCounts: array<i32>;
@group(0) @binding(6) var<storage, read_write> mass: array<f32>;

const LOG2E = 1.4426950408889634;
// A shift that no logit survives; rows of padding are zero.
const NEVER = -1000.0;
const THREADS = 128u;
const ROWS = 32u;
const KEYS = 32u;
const STEPS = u32(DIM / 16);
// Elements of 16 bytes: a key, a row of scratch, each padded against bank conflicts (lanes also start at different columns of a row); and those
// of 32 keys that a thread moves.
const KEY = u32(DIM / 8);
const KEY_STRIDE = KEY + 1u;
const ROW_STRIDE = KEYS / 4u + 2u;
const MOVED = (KEYS * KEY + THREADS - 1u) / THREADS;

var<workgroup> keys: array<vec4u, KEYS * KEY_STRIDE>;
var<workgroup> scratch: array<vec4f, 4u * ROWS * ROW_STRIDE>;
var<workgroup> sums: array<f32, 4u * CHUNK>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let part = thread / ROWS;
  let slots = sizes.qBlocks * Q_BLOCK;
  // Rows beyond the head are computed again and not written.
  let first = min(group.x * THREADS + part * ROWS, slots - ROWS);
  let top = group.z * slots + first;
  var left: array<Left, 2u * STEPS>;
  for (var at = 0u; at < STEPS; at++) {
    left[at] = subgroupMatrixLoad<Left, row_major>(&q, top * DIM + 16u * at, DIM);
    left[STEPS + at] = subgroupMatrixLoad<Left, row_major>(&q, (top + 16u) * DIM + 16u * at, DIM);
  }
  let row = first + lane;
  let shift = select(NEVER, -LOG2E * lse[group.z * slots + row], i32(row % Q_BLOCK) < qCounts[row / Q_BLOCK]);

  let firstBlock = group.y * CHUNK;
  let blocks = min(CHUNK, sizes.kBlocks - firstBlock);
  let tiles = blocks * (K_BLOCK / KEYS);
  var begin = (group.z * sizes.kBlocks + firstBlock) * K_BLOCK * KEY;
  var next: array<vec4u, MOVED>;
  for (var at = 0u; at < MOVED; at++) {
    let index = at * THREADS + thread;
    if (index < KEYS * KEY) { next[at] = k[begin + index]; }
  }
  var sum = 0.0;
  for (var tile = 0u; tile < tiles; tile++) {
    for (var at = 0u; at < MOVED; at++) {
      let index = at * THREADS + thread;
      if (index < KEYS * KEY) { keys[index / KEY * KEY_STRIDE + index % KEY] = next[at]; }
    }
    workgroupBarrier();
    if (tile + 1u < tiles) {
      begin += KEYS * KEY;
      for (var at = 0u; at < MOVED; at++) {
        let index = at * THREADS + thread;
        if (index < KEYS * KEY) { next[at] = k[begin + index]; }
      }
    }
    let block = tile / (K_BLOCK / KEYS);
    let within = tile % (K_BLOCK / KEYS);
    let real = kCounts[firstBlock + block] - i32(within * KEYS);
    for (var half = 0u; half < 2u; half++) {
      var upper = Result(0.0);
      var lower = Result(0.0);
      for (var at = 0u; at < STEPS; at++) {
        let right = subgroupMatrixLoad<Right, col_major>(&keys, 16u * half * KEY_STRIDE + 2u * at, KEY_STRIDE);
        upper = subgroupMatrixMultiplyAccumulate(left[at], right, upper);
        lower = subgroupMatrixMultiplyAccumulate(left[STEPS + at], right, lower);
      }
      let corner = part * ROWS * ROW_STRIDE + 4u * half;
      subgroupMatrixStore<row_major>(&scratch, corner, upper, ROW_STRIDE);
      subgroupMatrixStore<row_major>(&scratch, corner + 16u * ROW_STRIDE, lower, ROW_STRIDE);
    }
    workgroupBarrier();
    let at = (part * ROWS + lane) * ROW_STRIDE;
    // Bounded, so that a stale log-sum-exp makes no infinity.
    var weights = vec4f(0.0);
    if (real >= i32(KEYS)) {
      for (var four = 0u; four < KEYS / 4u; four++) {
        weights += exp2(min(scratch[at + (four + lane / 4u) % (KEYS / 4u)] * SCALE + shift, vec4f(100.0)));
      }
    } else {
      for (var four = 0u; four < KEYS / 4u; four++) {
        let weight = exp2(min(scratch[at + four] * SCALE + shift, vec4f(100.0)));
        weights += select(vec4f(0.0), weight, vec4i(0, 1, 2, 3) + i32(4u * four) < vec4i(real));
      }
    }
    sum += weights.x + weights.y + weights.z + weights.w;
    if (within + 1u == K_BLOCK / KEYS) {
      let total = subgroupAdd(sum);
      if (lane == 0u) { sums[part * CHUNK + block] = total; }
      sum = 0.0;
    }
  }
  workgroupBarrier();
  // The subgroups of a query block add up.
  const PARTS = Q_BLOCK / ROWS;
  for (var at = thread; at < 4u / PARTS * blocks; at += THREADS) {
    let block = at % blocks;
    let pairQ = group.x * (THREADS / Q_BLOCK) + at / blocks;
    var total = 0.0;
    for (var one = 0u; one < PARTS; one++) { total += sums[(at / blocks * PARTS + one) * CHUNK + block]; }
    if (pairQ < sizes.qBlocks) { mass[(group.z * sizes.qBlocks + pairQ) * sizes.kBlocks + firstBlock + block] = total; }
  }
}
