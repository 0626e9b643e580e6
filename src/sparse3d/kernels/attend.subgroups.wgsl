// Softmax attention by a plan, or of all keys (DENSE), for head dimensions up to 128: more workgroup memory than attend.wgsl, row maxima from
// subgroups, and weights times values in the type of storage, in sums over VALUE_KEYS keys that are added up in f32. Behind it stand
// attend.rows.wgsl and attend.plan.wgsl. A workgroup owns 64 query rows and walks over their keys, 128 at a time; a thread keeps 8 x 8 scores
// and 8 x PARTS vectors of the output. 16 threads share a row; where SUBGROUP is 16 or more they are lanes of one subgroup.
alias Vec = vec4<Scalar>;
alias Weights = array<Vec, 2>; // of 8 rows and a key
alias Values = array<Vec, PARTS>;

const ROWS = 8;
const QUERIES = 64;
const KEYS = 128;
const BUFFER = (QUERIES + KEYS) * STEP; // STEP: vectors of a row staged at a time
const VALUE_LOADS = VALUE_KEYS / 8;
const STRIDE = 9; // between the weights of two keys, odd against bank conflicts

var<workgroup> stage: array<vec4f, 2 * BUFFER>; // queries and keys, two buffers in turn
var<workgroup> weights: array<Weights, VALUE_KEYS * STRIDE>;
var<workgroup> values: array<Values, VALUE_KEYS * 16>;

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
        for (var r = 0u; r < ROWS; r++) {
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
    for (var r = 0u; r < ROWS; r++) {
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
    for (var r = 0u; r < ROWS; r++) {
      near[r] = exp2(near[r] - shift[r]);
      far[r] = exp2(far[r] - shift[r]);
      let four = near[r] + far[r];
      let two = four.xy + four.zw;
      mass[r] += two.x + two.y;
    }
    for (var round = 0u; round < KEYS; round += VALUE_KEYS) {
      if (round > 0) {
        workgroupBarrier();
      }
      for (var i = 0u; i < VALUE_KEYS; i += 16) {
        weights[(column + i) * STRIDE + top / ROWS] =
          Weights(Vec(vec4f(near[0].x, near[1].x, near[2].x, near[3].x)), Vec(vec4f(near[4].x, near[5].x, near[6].x, near[7].x)));
        for (var r = 0u; r < ROWS; r++) {
          let first = near[r].x;
          near[r] = vec4f(near[r].yzw, far[r].x);
          far[r] = vec4f(far[r].yzw, first);
        }
      }
      for (var i = 0u; i < VALUE_LOADS; i++) {
        values[thread + 128 * i] = nextValues[i];
      }
      workgroupBarrier();
      if (round + VALUE_KEYS < KEYS) {
        nextValues = fetchValues(thread, round + VALUE_KEYS, head, turn);
      } else {
        nextScores = fetchScores(thread, 0, tile, head, KEYS - turn);
      }
      var sum = array<Vec, ROWS * PARTS>();
      for (var key = 0u; key < VALUE_KEYS; key++) {
        let weight = weights[key * STRIDE + top / ROWS];
        let value = values[key * 16 + column];
        for (var r = 0u; r < ROWS; r++) {
          for (var n = 0u; n < PARTS; n++) {
            sum[r * PARTS + n] = fma(Vec(weight[r / 4][r % 4]), value[n], sum[r * PARTS + n]);
          }
        }
      }
      for (var i = 0u; i < ROWS * PARTS; i++) {
        output[i] += vec4f(sum[i]);
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
  for (var i = 0u; i < VALUE_LOADS; i++) {
    let row = (head + keyRow[turn + round + thread / 16 + 8 * i]) * VECS;
    for (var n = 0u; n < PARTS; n++) {
      fetched[i][n] = v[row + min(thread % 16 + 16 * n, VECS - 1)];
    }
  }
  return fetched;
}

/** The largest, or the sum, of each row over as many of its threads as are in a subgroup. */
fn shuffleRows(x: array<f32, ROWS>, largest: bool) -> array<f32, ROWS> {
  var reduced = x;
  for (var r = 0u; r < ROWS; r++) {
    for (var lanes = 1u; lanes < min(16, SUBGROUP); lanes *= 2) {
      let other = subgroupShuffleXor(reduced[r], lanes);
      reduced[r] = select(reduced[r] + other, max(reduced[r], other), largest);
    }
  }
  return reduced;
}
