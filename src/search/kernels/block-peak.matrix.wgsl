// The largest logit of each row and key block, in units of log2, with subgroup matrices, f16 into f32: peaks [heads, kBlocks, rows] of rows
// `first ...` of all rows. A workgroup takes 128 rows, 32 for each of its four subgroups, and CHUNK tiles of 16 keys; a subgroup multiplies, stores
// the logits in its own scratch, and each lane looks through one row. Up to 16 KiB of workgroup memory an H100 keeps three workgroups a core.
// Loops marked "unroll" hold matrices, which must stay in registers.
// Header: M, N, K of one product; ROW_TILES, KEY_TILES and DEPTH, so many of them make 32 rows, 16 keys, DIM; LOADS, vectors of 16 keys a thread;
// DIM; K_DRAWN, a power of two from 4 up; SCALE, log2(e) / sqrt(dim); CHUNK, a multiple of the tiles of a block.
struct Sizes { allRows: u32, first: u32, rows: u32, kBlocks: u32 }

alias Left = subgroup_matrix_left<f16, K, M>;
alias Right = subgroup_matrix_right<f16, N, K>;
alias Sum = subgroup_matrix_result<f32, N, M>;

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> q: array<f16>;
@group(0) @binding(2) var<storage, read> k: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> peaks: array<f32>;

const LOWEST = -3.4e38;
const THREADS = 128u;
const ROWS = 32u;
const KEYS = 16u;
// Elements of 16 bytes: a key, and with one of padding against bank conflicts a key and a row of scratch.
const KEY = u32(DIM / 8);
const KEY_STRIDE = KEY + 1u;
const ROW_STRIDE = KEYS / 4u + 1u;
// Key blocks in a tile and tiles in a key block, of which one is 1; columns of scratch, 4 keys each, of a block in a tile.
const BLOCKS = max(1u, KEYS / K_DRAWN);
const TILES = max(1u, K_DRAWN / KEYS);
const FOURS = KEYS / BLOCKS / 4u;

var<workgroup> keys: array<vec4u, KEYS * KEY_STRIDE>;
var<workgroup> scratch: array<vec4f, 4u * ROWS * ROW_STRIDE>;

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) part: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  // Rows beyond the last are computed again and not written.
  let wanted = sizes.first + group.x * THREADS + part * ROWS;
  let first = min(wanted, sizes.allRows - ROWS);
  let top = group.z * sizes.allRows + first;
  var left: array<Left, ROW_TILES * DEPTH>;
  for (var r = 0u; r < ROW_TILES; r++) { // unroll
    for (var d = 0u; d < DEPTH; d++) { // unroll
      left[r * DEPTH + d] = subgroupMatrixLoad<Left, row_major>(&q, (top + r * M) * DIM + d * K, DIM);
    }
  }
  let row = first + lane - sizes.first;
  let written = first + lane >= wanted && row < sizes.rows;

  // A last tile may reach past the last key: what it reads there belongs to no block.
  let last = (group.z + 1u) * sizes.kBlocks * K_DRAWN * KEY - 1u;
  let firstTile = group.y * CHUNK;
  let tiles = min(CHUNK, (sizes.kBlocks * K_DRAWN + KEYS - 1u) / KEYS - firstTile);
  let begin = (group.z * sizes.kBlocks * K_DRAWN + firstTile * KEYS) * KEY;
  var next: array<vec4u, LOADS>;
  for (var i = 0u; i < LOADS; i++) { // unroll
    next[i] = k[min(begin + i * THREADS + thread, last)];
  }
  var peak = LOWEST;
  for (var tile = 0u; tile < tiles; tile++) {
    for (var i = 0u; i < LOADS; i++) { // unroll
      let index = i * THREADS + thread;
      if (index < KEYS * KEY) { keys[index / KEY * KEY_STRIDE + index % KEY] = next[i]; }
    }
    workgroupBarrier();
    for (var i = 0u; i < LOADS; i++) { // unroll
      next[i] = k[min(begin + (tile + 1u) * KEYS * KEY + i * THREADS + thread, last)];
    }
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
        subgroupMatrixStore<row_major>(&scratch, (part * ROWS + r * M) * ROW_STRIDE + c * N / 4, logits[r], ROW_STRIDE);
      }
    }
    workgroupBarrier();
    for (var one = 0u; one < BLOCKS; one++) {
      for (var four = 0u; four < FOURS; four++) {
        let logits = scratch[(part * ROWS + lane) * ROW_STRIDE + one * FOURS + four];
        peak = max(peak, max(max(logits.x, logits.y), max(logits.z, logits.w)));
      }
      if ((tile + 1u) % TILES == 0u) {
        let block = (firstTile + tile) / TILES * BLOCKS + one;
        if (written && block < sizes.kBlocks) { peaks[(group.z * sizes.kBlocks + block) * sizes.rows + row] = peak * SCALE; }
        peak = LOWEST;
      }
    }
  }
}
