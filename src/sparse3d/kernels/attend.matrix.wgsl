// Softmax attention by a plan, or of all keys (DENSE), with subgroup matrices: f16 numbers, f32 sums. attend.matrix.rows.wgsl and
// attend.plan.wgsl stand behind it; attend.matrix.wide.wgsl is its sibling for more rows.
// Four subgroups of 32 lanes own 64 query rows and walk over their keys, 32 at a time: scores to workgroup memory, softmax there, then
// weights times values into registers. Keys and values take turns in one buffer, and what comes next is fetched while the products run:
// above 24 KiB of workgroup memory an H100 keeps one workgroup a core instead of two. A row's shift follows its largest score only when that
// has grown by more than GROWTH (log2), so most tiles rescale nothing. Loops marked "unroll" hold matrices, which must stay in registers.
// The header gives M, N, K (one product), DIMS (DIM up to a multiple of 32) and how many of each a subgroup has.

const ROWS = 64;
const THREADS = 128;

var<workgroup> pairs: array<vec4u, max(KEYS * STRIDE, 4 * TILE)>; // keys or values, in the end sums
var<workgroup> scratch: array<vec4f, TILE>;

/** Weights lie over a lane's own part of the scores. */
fn put(row: u32, part: u32, weights: vec4u) {
  scores[row * SCORES + part / 2 * 4 + part % 2] = weights;
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let thread = subgroup * 32 + lane;
  let half = subgroup / 2; // the rows, and the keys or dimensions, that are this subgroup's
  let side = subgroup % 2;
  let tile = tileOf(group.x, group.y, ROWS);
  let head = group.y * call.rowsK;

  var queries: array<Left, QUERY_TILES * DEPTH>;
  for (var part = 0u; part < 2; part++) {
    for (var at = thread; at < KEYS * VECS; at += THREADS) {
      pairs[place(at)] = query(tile, part * KEYS + at / VECS, at % VECS);
    }
    workgroupBarrier();
    if (half == part) {
      for (var r = 0u; r < QUERY_TILES; r++) { // unroll
        for (var d = 0u; d < DEPTH; d++) { // unroll
          queries[r * DEPTH + d] = subgroupMatrixLoad<Left, row_major>(&pairs, r * M * STRIDE + d * K / 8, STRIDE);
        }
      }
    }
    workgroupBarrier();
  }
  for (var at = thread; at < RING * KEYS; at += THREADS) {
    find(at, tile);
  }
  var output: array<Sum, QUERY_TILES * DIM_TILES>;
  for (var i = 0u; i < OUTPUTS; i++) { // unroll
    output[i] = Sum(0.0);
  }
  workgroupBarrier();

  var state: Row;
  var keys: Fetched;
  var values: Fetched;
  for (var i = 0u; i < LOADS; i++) { // unroll
    keys[i] = keyVector(head, 0, thread + i * THREADS);
  }
  let tiles = (tile.keys + KEYS - 1) / KEYS;
  for (var t = 0u; t < tiles; t++) {
    for (var i = 0u; i < LOADS; i++) { // unroll
      pairs[place(thread + i * THREADS)] = keys[i];
    }
    if (t % AHEAD == 0 && t > 0 && thread < AHEAD) {
      biased[(t + AHEAD + thread) % RING] = 0;
    }
    workgroupBarrier();
    for (var i = 0u; i < LOADS; i++) { // unroll
      values[i] = valueVector(head, t, thread + i * THREADS);
    }
    for (var c = 0u; c < KEY_TILES; c++) { // unroll
      let key = (side * KEY_TILES + c) * N;
      var products: array<Sum, QUERY_TILES>;
      for (var r = 0u; r < QUERY_TILES; r++) { // unroll
        products[r] = Sum(0.0);
      }
      for (var d = 0u; d < DEPTH; d++) { // unroll
        let right = subgroupMatrixLoad<Right, col_major>(&pairs, key * STRIDE + d * K / 8, STRIDE);
        for (var r = 0u; r < QUERY_TILES; r++) { // unroll
          products[r] = subgroupMatrixMultiplyAccumulate(queries[r * DEPTH + d], right, products[r]);
        }
      }
      for (var r = 0u; r < QUERY_TILES; r++) { // unroll
        subgroupMatrixStore<row_major>(&scores, (half * QUERY_TILES + r) * M * SCORES + key / 4, products[r], SCORES);
      }
    }
    workgroupBarrier();
    for (var i = 0u; i < LOADS; i++) { // unroll
      keys[i] = keyVector(head, t + 1, thread + i * THREADS);
    }

    weigh(t, thread, &state);
    for (var i = 0u; i < LOADS; i++) { // unroll
      pairs[place(thread + i * THREADS)] = values[i];
    }
    if (t % AHEAD == 0 && t > 0) {
      find((t + AHEAD) * KEYS + thread, tile);
    }

    if (workgroupUniformLoad(&grown) != 0) {
      for (var turn = 0u; turn < 4; turn++) {
        for (var i = 0u; i < OUTPUTS; i++) { // unroll
          if (subgroup == turn) {
            subgroupMatrixStore<row_major>(&scratch, 0, output[i], ACROSS);
          }
          workgroupBarrier();
          for (var at = lane; at < TILE && subgroup == turn; at += 32) {
            scratch[at] *= factor[(half * QUERY_TILES + i / DIM_TILES) * M + at / ACROSS];
          }
          workgroupBarrier();
          if (subgroup == turn) {
            output[i] = subgroupMatrixLoad<Sum, row_major>(&scratch, 0, ACROSS);
          }
          workgroupBarrier();
        }
      }
      grown = 0;
    }
    for (var z = 0u; z < KEYS_DEEP; z++) { // unroll
      let at = z * K / 16 * 4 + z * K % 16 / 8;
      var weights: array<Left, QUERY_TILES>;
      for (var r = 0u; r < QUERY_TILES; r++) { // unroll
        weights[r] = subgroupMatrixLoad<Left, row_major>(&scores, (half * QUERY_TILES + r) * M * SCORES + at, SCORES);
      }
      for (var d = 0u; d < DIM_TILES; d++) { // unroll
        let right = subgroupMatrixLoad<Right, row_major>(&pairs, z * K * STRIDE + (side * DIM_TILES + d) * N / 8, STRIDE);
        for (var r = 0u; r < QUERY_TILES; r++) { // unroll
          output[r * DIM_TILES + d] = subgroupMatrixMultiplyAccumulate(weights[r], right, output[r * DIM_TILES + d]);
        }
      }
    }
    workgroupBarrier();
  }

  settle(tile, thread, state);
  workgroupBarrier();
  for (var i = 0u; i < OUTPUTS; i++) { // unroll
    subgroupMatrixStore<row_major>(&pairs, subgroup * TILE, output[i], ACROSS);
    workgroupBarrier();
    for (var at = lane; at < TILE; at += 32) {
      let r = (half * QUERY_TILES + i / DIM_TILES) * M + at / ACROSS;
      let column = (side * DIM_TILES + i % DIM_TILES) * N + at % ACROSS * 4;
      write(tile, r, column, pairs[subgroup * TILE + at]);
    }
    workgroupBarrier();
  }
}
