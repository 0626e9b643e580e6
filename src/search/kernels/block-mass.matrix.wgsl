// Mass of block pairs with subgroup matrices, f16 into f32. A workgroup of four subgroups takes 128 rows for each row that a lane sums, and CHUNK
// key blocks, 16 keys at a time: a subgroup multiplies, stores the logits in its own scratch, and its lanes sum the exponentials of their rows.
// More rows a subgroup read keys from workgroup memory less often; beyond 16 KiB of that an H100 keeps two workgroups a core, beyond 24 KiB one.
// Loops marked "unroll" hold matrices, which must stay in registers.
// Header: M, N, K of one product; ROW_TILES, KEY_TILES and DEPTH, so many of them make ROWS, 16 keys, DIM; LOADS, vectors of 16 keys a thread; DIM;
// LANE_ROWS 1 or 2; Q_BLOCK, ROWS to 4 ROWS; K_BLOCK, a multiple of 16; SCALE, log2(e) / sqrt(dim); CHUNK.
struct Sizes { qBlocks: u32, kBlocks: u32 }

alias Left = subgroup_matrix_left<f16, K, M>;
alias Right = subgroup_matrix_right<f16, N, K>;
alias Sum = subgroup_matrix_result<f32, N, M>;

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
const LANES = 32u;
const ROWS = LANES * LANE_ROWS;
const KEYS = 16u;
// Elements of 16 bytes: a key, with one of padding against bank conflicts, and a row of scratch, which lanes begin to read at different columns.
const KEY = u32(DIM / 8);
const KEY_STRIDE = KEY + 1u;
const ROW = KEYS / 4u;
const TILES = K_BLOCK / KEYS;

var<workgroup> keys: array<vec4u, KEYS * KEY_STRIDE>;
var<workgroup> scratch: array<vec4f, 4u * ROWS * ROW>;
var<workgroup> sums: array<f32, 4u * CHUNK>;

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) part: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let slots = sizes.qBlocks * Q_BLOCK;
  // Rows beyond the head are computed again and not written.
  let first = min((group.x * 4u + part) * ROWS, slots - ROWS);
  let top = group.z * slots + first;
  var left: array<Left, ROW_TILES * DEPTH>;
  for (var r = 0u; r < ROW_TILES; r++) { // unroll
    for (var d = 0u; d < DEPTH; d++) { // unroll
      left[r * DEPTH + d] = subgroupMatrixLoad<Left, row_major>(&q, (top + r * M) * DIM + d * K, DIM);
    }
  }
  var shifts: array<f32, LANE_ROWS>;
  for (var e = 0u; e < LANE_ROWS; e++) { // unroll
    let row = first + e * LANES + lane;
    shifts[e] = select(NEVER, -LOG2E * lse[group.z * slots + row], i32(row % Q_BLOCK) < qCounts[row / Q_BLOCK]);
  }

  let firstBlock = group.y * CHUNK;
  let blocks = min(CHUNK, sizes.kBlocks - firstBlock);
  let begin = (group.z * sizes.kBlocks + firstBlock) * K_BLOCK * KEY;
  var next: array<vec4u, LOADS>;
  for (var i = 0u; i < LOADS; i++) { // unroll
    next[i] = k[begin + min(i * THREADS + thread, KEYS * KEY - 1u)];
  }
  // One tile more than there are: the logits of the tile before are weighed while the products of the next one run.
  let own = (part * ROWS + lane) * ROW;
  var sum = 0.0;
  for (var tile = 0u; tile <= blocks * TILES; tile++) {
    var before: array<vec4f, ROW * LANE_ROWS>;
    for (var e = 0u; e < LANE_ROWS; e++) { // unroll
      for (var four = 0u; four < 4; four++) { // unroll
        before[e * ROW + four] = scratch[own + e * LANES * ROW + (four + lane / 2u) % ROW];
      }
    }
    for (var i = 0u; i < LOADS; i++) { // unroll
      let index = i * THREADS + thread;
      if (index < KEYS * KEY) { keys[index / KEY * KEY_STRIDE + index % KEY] = next[i]; }
    }
    workgroupBarrier();
    let following = begin + min(tile + 1u, blocks * TILES - 1u) * KEYS * KEY;
    for (var i = 0u; i < LOADS; i++) { // unroll
      next[i] = k[following + min(i * THREADS + thread, KEYS * KEY - 1u)];
    }
    let done = max(tile, 1u) - 1u;
    let real = select(kCounts[firstBlock + done / TILES] - i32(done % TILES * KEYS), 0, tile == 0u);
    for (var c = 0u; c < KEY_TILES; c++) { // unroll
      var logits: array<Sum, ROW_TILES>;
      for (var r = 0u; r < ROW_TILES; r++) { // unroll
        logits[r] = Sum(0.0);
      }
      for (var d = 0u; d < DEPTH; d++) { // unroll
        let right = subgroupMatrixLoad<Right, col_major>(&keys, c * N * KEY_STRIDE + d * K / 8, KEY_STRIDE);
        for (var r = 0u; r < ROW_TILES; r++) { // unroll
          logits[r] = subgroupMatrixMultiplyAccumulate(left[r * DEPTH + d], right, logits[r]);
        }
      }
      for (var r = 0u; r < ROW_TILES; r++) { // unroll
        subgroupMatrixStore<row_major>(&scratch, (part * ROWS + r * M) * ROW + c * N / 4, logits[r], ROW);
      }
    }
    // Bounded, so that a stale log-sum-exp makes no infinity.
    var weights = vec4f(0.0);
    for (var four = 0u; four < 4; four++) { // unroll
      let counted = vec4i(0, 1, 2, 3) + i32((four + lane / 2u) % ROW * 4u) < vec4i(real);
      for (var e = 0u; e < LANE_ROWS; e++) { // unroll
        weights += select(vec4f(0.0), exp2(min(before[e * ROW + four] * SCALE + shifts[e], vec4f(100.0))), counted);
      }
    }
    sum += weights.x + weights.y + weights.z + weights.w;
    if (tile > 0u && tile % TILES == 0u) {
      let total = subgroupAdd(sum);
      if (lane == 0u) { sums[part * CHUNK + done / TILES] = total; }
      sum = 0.0;
    }
    workgroupBarrier();
  }
  // The subgroups of a query block add up.
  const PARTS = Q_BLOCK / ROWS;
  for (var at = thread; at < 4u / PARTS * blocks; at += THREADS) {
    let block = at % blocks;
    let pairQ = group.x * (4u / PARTS) + at / blocks;
    var total = 0.0;
    for (var one = 0u; one < PARTS; one++) { total += sums[(at / blocks * PARTS + one) * CHUNK + block]; }
    if (pairQ < sizes.qBlocks) { mass[(group.z * sizes.qBlocks + pairQ) * sizes.kBlocks + firstBlock + block] = total; }
  }
}
