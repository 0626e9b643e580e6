// attend.matrix.wgsl for more query rows a workgroup, where memory allows: half as many keys and values are fetched for a row, and there are
// two barriers a tile instead of five. Scores of the next tile and the output of this one are made between the same barriers,
// scores of the first before the loop: one that began with a turn of scores alone took an eighth longer.
// Pairs of subgroups own 32 rows each, ROW_SIDES of them (four on an H100, which then keeps one workgroup a core); the header gives the rest too.

const ROWS = 32 * ROW_SIDES;
const THREADS = 64 * ROW_SIDES;
const WEIGHTS = KEYS / 8 + 1;
var<workgroup> keyRows: array<vec4u, KEYS * STRIDE>;
var<workgroup> valueRows: array<vec4u, KEYS * STRIDE>;
var<workgroup> weightRows: array<vec4u, ROWS * WEIGHTS>;

fn put(row: u32, part: u32, weights: vec4u) {
  weightRows[row * WEIGHTS + part] = weights;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let thread = subgroup * 32 + lane;
  let pair = subgroup / 2; // the rows, and the keys or dimensions, that are this subgroup's
  let side = subgroup % 2;
  let tile = tileOf(group.x, group.y, ROWS);
  let head = group.y * call.rowsK;

  var queries: array<Left, QUERY_TILES * DEPTH>;
  for (var part = 0u; part < ROW_SIDES; part++) {
    for (var at = thread; at < KEYS * VECS; at += THREADS) {
      keyRows[place(at)] = query(tile, part * KEYS + at / VECS, at % VECS);
    }
    workgroupBarrier();
    if (pair == part) {
      for (var r = 0u; r < QUERY_TILES; r++) { // unroll
        for (var d = 0u; d < DEPTH; d++) { // unroll
          queries[r * DEPTH + d] = subgroupMatrixLoad<Left, row_major>(&keyRows, r * M * STRIDE + d * K / 8, STRIDE);
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
    keyRows[place(thread + i * THREADS)] = keyVector(head, 0, thread + i * THREADS);
  }
  workgroupBarrier();
  for (var i = 0u; i < LOADS; i++) { // unroll
    keys[i] = keyVector(head, 1, thread + i * THREADS);
    values[i] = valueVector(head, 0, thread + i * THREADS);
  }
  for (var c = 0u; c < KEY_TILES; c++) { // unroll
    let key = (side * KEY_TILES + c) * N;
    var products: array<Sum, QUERY_TILES>;
    for (var r = 0u; r < QUERY_TILES; r++) { // unroll
      products[r] = Sum(0.0);
    }
    for (var d = 0u; d < DEPTH; d++) { // unroll
      let right = subgroupMatrixLoad<Right, col_major>(&keyRows, key * STRIDE + d * K / 8, STRIDE);
      for (var r = 0u; r < QUERY_TILES; r++) { // unroll
        products[r] = subgroupMatrixMultiplyAccumulate(queries[r * DEPTH + d], right, products[r]);
      }
    }
    for (var r = 0u; r < QUERY_TILES; r++) { // unroll
      subgroupMatrixStore<row_major>(&scores, (pair * QUERY_TILES + r) * M * SCORES + key / 4, products[r], SCORES);
    }
  }
  workgroupBarrier();
  let tiles = (tile.keys + KEYS - 1) / KEYS;
  for (var t = 0u; t < tiles; t++) {
    weigh(t, thread, &state);
    for (var i = 0u; i < LOADS; i++) { // unroll
      valueRows[place(thread + i * THREADS)] = values[i];
      keyRows[place(thread + i * THREADS)] = keys[i];
    }
    if (t % AHEAD == 0 && t > 0 && thread < AHEAD * KEYS) {
      find((t + AHEAD) * KEYS + thread, tile);
    }
    if (workgroupUniformLoad(&grown) != 0) {
      for (var i = 0u; i < OUTPUTS; i++) { // unroll
        subgroupMatrixStore<row_major>(&scores, subgroup * TILE, output[i], ACROSS);
        workgroupBarrier();
        for (var at = lane; at < TILE; at += 32) {
          let row = (pair * QUERY_TILES + i / DIM_TILES) * M + at / ACROSS;
          scores[subgroup * TILE + at] = bitcast<vec4u>(bitcast<vec4f>(scores[subgroup * TILE + at]) * factor[row]);
        }
        workgroupBarrier();
        output[i] = subgroupMatrixLoad<Sum, row_major>(&scores, subgroup * TILE, ACROSS);
        workgroupBarrier();
      }
      grown = 0;
    }
    for (var i = 0u; i < LOADS; i++) { // unroll
      values[i] = valueVector(head, t + 1, thread + i * THREADS);
      keys[i] = keyVector(head, t + 2, thread + i * THREADS);
    }
    if ((t + 1) % AHEAD == 0 && thread < AHEAD) {
      biased[(t + 1 + AHEAD + thread) % RING] = 0;
    }
    for (var z = 0u; z < KEYS_DEEP; z++) { // unroll
      var weights: array<Left, QUERY_TILES>;
      for (var r = 0u; r < QUERY_TILES; r++) { // unroll
        weights[r] = subgroupMatrixLoad<Left, row_major>(&weightRows, (pair * QUERY_TILES + r) * M * WEIGHTS + z * K / 8, WEIGHTS);
      }
      for (var d = 0u; d < DIM_TILES; d++) { // unroll
        let right = subgroupMatrixLoad<Right, row_major>(&valueRows, z * K * STRIDE + (side * DIM_TILES + d) * N / 8, STRIDE);
        for (var r = 0u; r < QUERY_TILES; r++) { // unroll
          output[r * DIM_TILES + d] = subgroupMatrixMultiplyAccumulate(weights[r], right, output[r * DIM_TILES + d]);
        }
      }
    }
    for (var c = 0u; c < KEY_TILES; c++) { // unroll
      let key = (side * KEY_TILES + c) * N;
      var products: array<Sum, QUERY_TILES>;
      for (var r = 0u; r < QUERY_TILES; r++) { // unroll
        products[r] = Sum(0.0);
      }
      for (var d = 0u; d < DEPTH; d++) { // unroll
        let right = subgroupMatrixLoad<Right, col_major>(&keyRows, key * STRIDE + d * K / 8, STRIDE);
        for (var r = 0u; r < QUERY_TILES; r++) { // unroll
          products[r] = subgroupMatrixMultiplyAccumulate(queries[r * DEPTH + d], right, products[r]);
        }
      }
      for (var r = 0u; r < QUERY_TILES; r++) { // unroll
        subgroupMatrixStore<row_major>(&scores, (pair * QUERY_TILES + r) * M * SCORES + key / 4, products[r], SCORES);
      }
    }
    workgroupBarrier();
  }
  settle(tile, thread, state);
  workgroupBarrier();
  for (var i = 0u; i < OUTPUTS; i++) { // unroll
    subgroupMatrixStore<row_major>(&scores, subgroup * TILE, output[i], ACROSS);
    workgroupBarrier();
    for (var at = lane; at < TILE; at += 32) {
      let row = (pair * QUERY_TILES + i / DIM_TILES) * M + at / ACROSS;
      let column = (side * DIM_TILES + i % DIM_TILES) * N + at % ACROSS * 4;
      write(tile, row, column, scores[subgroup * TILE + at]);
    }
    workgroupBarrier();
  }
}
