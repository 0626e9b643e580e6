// The largest logit of each row and key block, in units of log2, with subgroup matrices 16 x 16 x 16, f16 into f32: peaks [heads, kBlocks, rows]
// of rows `first ...` of all rows. A workgroup takes 128 rows, 32 for each of its four subgroups, and CHUNK tiles of 32 keys; a subgroup
// multiplies, stores the logits in its own scratch, and each lane looks through one row.
// Header: DIM, a multiple of 16; K_DRAWN, a power of two from 4 up; SCALE, log2(e) / sqrt(dim); CHUNK, a multiple of the tiles of a block.
struct Sizes { allRows: u32, first: u32, rows: u32, kBlocks: u32 }

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> q: array<f16>;
@group(0) @binding(2) var<storage, read> k: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> peaks: array<f32>;

const LOWEST = -3.4e38;
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
// Key blocks in a tile and tiles in a key block; one of them is 1.
const BLOCKS = max(1u, KEYS / K_DRAWN);
const TILES = max(1u, K_DRAWN / KEYS);
// Columns of scratch, 4 keys each, of a block in a tile.
const FOURS = KEYS / BLOCKS / 4u;

var<workgroup> keys: array<vec4u, KEYS * KEY_STRIDE>;
var<workgroup> scratch: array<vec4f, 4u * ROWS * ROW_STRIDE>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let part = thread / ROWS;
  // Rows beyond the last are computed again and not written.
  let wanted = sizes.first + group.x * THREADS + part * ROWS;
  let first = min(wanted, sizes.allRows - ROWS);
  let top = group.z * sizes.allRows + first;
  var left: array<Left, 2u * STEPS>;
  for (var at = 0u; at < STEPS; at++) {
    left[at] = subgroupMatrixLoad<Left, row_major>(&q, top * DIM + 16u * at, DIM);
    left[STEPS + at] = subgroupMatrixLoad<Left, row_major>(&q, (top + 16u) * DIM + 16u * at, DIM);
  }
  let row = first + lane - sizes.first;
  let written = first + lane >= wanted && row < sizes.rows;

  let elements = sizes.kBlocks * K_DRAWN * KEY;
  let head = group.z * elements;
  let firstTile = group.y * CHUNK;
  let tiles = min(CHUNK, (sizes.kBlocks * K_DRAWN + KEYS - 1u) / KEYS - firstTile);
  var begin = firstTile * KEYS * KEY;
  var next: array<vec4u, MOVED>;
  for (var at = 0u; at < MOVED; at++) {
    let index = at * THREADS + thread;
    if (index < KEYS * KEY && begin + index < elements) { next[at] = k[head + begin + index]; }
  }
  var peak = LOWEST;
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
        if (index < KEYS * KEY && begin + index < elements) { next[at] = k[head + begin + index]; }
      }
    }
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
    for (var one = 0u; one < BLOCKS; one++) {
      for (var four = 0u; four < FOURS; four++) {
        let logits = scratch[at + one * FOURS + (four + lane / 4u) % FOURS];
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
