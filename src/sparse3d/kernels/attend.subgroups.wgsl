// Softmax attention by a plan, or of all keys (DENSE), for head dimensions up to 128: more workgroup memory than attend.wgsl, row maxima from
// subgroups, and weights times values in the type of storage, in sums over 64 keys that are added up in f32. Behind it stand
// attend.rows.wgsl and attend.plan.wgsl. A workgroup owns 64 query rows and walks over their keys, 128 at a time; a thread keeps 8 x 8 scores
// and 8 x PARTS vectors of the output. 16 threads share a row; where SUBGROUP is 16 or more they are lanes of one subgroup.
alias Vec = vec4<Scalar>;
alias Weights = array<Vec, 2>; // of 8 rows and a key
alias Values = array<Vec, PARTS>;

const QUERIES = 64;
const KEYS = 128;
const STEP = 2; // vectors of a row staged at a time
const BUFFER = (QUERIES + KEYS) * STEP;
const STRIDE = 9; // between the weights of two keys, odd against bank conflicts

var<workgroup> stage: array<vec4f, 2 * BUFFER>; // queries and keys, two buffers in turn
var<workgroup> weights: array<Weights, 16 * STRIDE>;
var<workgroup> values: array<Values, 16 * 16>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let column = thread % 16;
  let top = thread / 16 * ROWS;
  let tile = tileOf(group.x, group.y, QUERIES);
  let head = group.y * call.rowsK;
  var output = array<vec4f, ROWS * PARTS>();
  var mass = array<f32, ROWS>();
  var shift = noShift();
  findKeys(thread, 0, 0, tile);
  workgroupBarrier();
  var nextScores = fetchScores(thread, 0, tile, head, 0);
  var turn = 0u;
  var buffer = 0u;
  for (var start = 0u; start < tile.keys; start += KEYS) {
    var near = array<vec4f, ROWS>(); // scores of keys column, column + 16, ..
    var far = array<vec4f, ROWS>(); // and from column + 64 on
    var nextValues: array<Values, VALUE_LOADS>;
    for (var part = 0u; part < VECS; part += STEP) {
      stageScores(thread, buffer, nextScores);
      workgroupBarrier();
      if (part + STEP < VECS) {
        nextScores = fetchScores(thread, part + STEP, tile, head, turn);
      } else {
        nextValues = fetchValues(thread, 0, head, turn);
      }
      for (var p = 0u; p < STEP; p++) {
        let n = keysAt(buffer, QUERIES + column, p);
        let f = keysAt(buffer, QUERIES + column + 64, p);
        for (var r = 0u; r < ROWS; r++) { // unroll
          let x = stage[buffer + swizzled(top + r, p)];
          near[r] = addProducts(x, n, near[r]);
          far[r] = addProducts(x, f, far[r]);
        }
      }
      buffer = BUFFER - buffer;
    }
    findKeys(thread, KEYS - turn, start + KEYS, tile);
    let nearBias = biasAt(turn + column);
    let farBias = biasAt(turn + column + 64);
    var largest: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) { // unroll
      near[r] = fma(near[r], vec4f(call.scale), nearBias);
      far[r] = fma(far[r], vec4f(call.scale), farBias);
      let four = max(near[r], far[r]);
      let two = max(four.xy, four.zw);
      largest[r] = max(two.x, two.y);
    }
    if (SUBGROUP < 16) {
      largest = shareRows(largest, top, column, true);
    }
    if (subgroupAny(outgrown(shift, largest))) {
      largest = shuffleRows(largest, true);
      raise(largest, &shift, &mass, &output);
    }
    for (var r = 0u; r < ROWS; r++) { // unroll
      near[r] = exp2(near[r] - shift[r]);
      far[r] = exp2(far[r] - shift[r]);
      let four = near[r] + far[r];
      let two = four.xy + four.zw;
      mass[r] += two.x + two.y;
    }
    for (var side = 0u; side < KEYS; side += 64) {
      var sum = array<Vec, ROWS * PARTS>();
      for (var c = 0u; c < 4; c++) { // unroll
        let round = side + 16 * c;
        if (round > 0) {
          workgroupBarrier();
        }
        weights[column * STRIDE + top / ROWS] =
          Weights(Vec(vec4f(near[0][c], near[1][c], near[2][c], near[3][c])), Vec(vec4f(near[4][c], near[5][c], near[6][c], near[7][c])));
        for (var i = 0u; i < VALUE_LOADS; i++) { // unroll
          values[thread + 128 * i] = nextValues[i];
        }
        workgroupBarrier();
        if (round + 16 < KEYS) {
          nextValues = fetchValues(thread, round + 16, head, turn);
        } else {
          nextScores = fetchScores(thread, 0, tile, head, KEYS - turn);
        }
        for (var key = 0u; key < 16; key++) {
          let weight = weights[key * STRIDE + top / ROWS];
          let value = values[key * 16 + column];
          for (var r = 0u; r < ROWS; r++) { // unroll
            for (var n = 0u; n < PARTS; n++) { // unroll
              sum[r * PARTS + n] = fma(Vec(weight[r / 4][r % 4]), value[n], sum[r * PARTS + n]);
            }
          }
        }
      }
      for (var r = 0u; r < ROWS; r++) { // unroll
        near[r] = far[r];
        for (var n = 0u; n < PARTS; n++) { // unroll
          output[r * PARTS + n] += vec4f(sum[r * PARTS + n]);
        }
      }
    }
    turn = KEYS - turn;
  }
  if (SUBGROUP < 16) {
    mass = shareRows(mass, top, column, false);
  } else {
    mass = shuffleRows(mass, false);
  }
  finish(tile, top, column, output, shift, mass);
}

/** Values of the keys from `round` on: a thread's share. */
fn fetchValues(thread: u32, round: u32, head: u32, turn: u32) -> array<Values, VALUE_LOADS> {
  var fetched: array<Values, VALUE_LOADS>;
  for (var i = 0u; i < VALUE_LOADS; i++) { // unroll
    let row = (head + keyRow[turn + round + thread / 16 + 8 * i]) * VECS;
    for (var n = 0u; n < PARTS; n++) { // unroll
      fetched[i][n] = v[row + min(thread % 16 + 16 * n, VECS - 1)];
    }
  }
  return fetched;
}

/** The largest, or the sum, of each row over as many of its threads as are in a subgroup. */
fn shuffleRows(x: array<f32, ROWS>, largest: bool) -> array<f32, ROWS> {
  var reduced = x;
  for (var r = 0u; r < ROWS; r++) { // unroll
    for (var lanes = 1u; lanes < min(16, SUBGROUP); lanes *= 2) {
      let other = subgroupShuffleXor(reduced[r], lanes);
      reduced[r] = select(reduced[r] + other, max(reduced[r], other), largest);
    }
  }
  return reduced;
}
