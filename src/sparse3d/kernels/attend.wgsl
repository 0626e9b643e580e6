// Softmax attention by a plan, or of all keys (DENSE), on any WebGPU: under 16 KiB of workgroup memory and no features; attend.rows.wgsl and
// attend.plan.wgsl stand behind it. A workgroup owns 8 * ROWS query rows and walks over their keys, 64 at a time: scores from 16 dimensions
// at a time, then weights times values 16 keys at a time, staged as f32; what is staged next is fetched while a step computes. A thread keeps
// ROWS x 4 scores and ROWS x PARTS vectors of the output. A row's shift follows its largest score only when that has grown by more than
// SLACK (log2), so most tiles rescale nothing.

alias Staged = vec4f;
alias Values = array<vec4<Scalar>, VALUE_LOADS>;

const THREADS = 128;
const QUERIES = 8 * ROWS;
const KEYS = 64;
const STEP = 4; // vectors of a row staged at a time
const LINE = 8;
const STRIDE = QUERIES / 4 + 1; // between the weights of two keys, odd against bank conflicts
const VALUE_KEYS = select(16, 8, DIM > 128);
const VALUES = 16 * STRIDE; // values lie behind weights

var<workgroup> stage: array<Staged, max(4 * (QUERIES + KEYS), VALUES + THREADS * VALUE_LOADS)>;
var<workgroup> grown: u32;

@compute @workgroup_size(THREADS)
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
  for (var start = 0u; start < tile.keys; start += KEYS) {
    var scores = array<vec4f, ROWS>();
    var nextValues: Values;
    for (var part = 0u; part < VECS; part += STEP) {
      workgroupBarrier();
      stageScores(thread, 0, nextScores);
      workgroupBarrier();
      if (part + STEP < VECS) {
        nextScores = fetchScores(thread, part + STEP, tile, head, turn);
      } else {
        nextValues = fetchValues(thread, 0, head, turn);
      }
      for (var p = 0u; p < STEP; p++) {
        let keys = keysAt(0, QUERIES + column, p);
        for (var r = 0u; r < ROWS; r++) { // unroll
          scores[r] = addProducts(stage[swizzled(top + r, p)], keys, scores[r]);
        }
      }
    }
    findKeys(thread, KEYS - turn, start + KEYS, tile);
    let bias = biasAt(turn + column);
    var largest: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) { // unroll
      scores[r] = fma(scores[r], vec4f(call.scale), bias);
      let pair = max(scores[r].xy, scores[r].zw);
      largest[r] = max(pair.x, pair.y);
    }
    if (outgrown(shift, largest)) {
      grown = 1;
    }
    if (workgroupUniformLoad(&grown) != 0) {
      grown = 0;
      largest = shareRows(largest, top, column, true);
      raise(largest, &shift, &mass, &output);
    }
    for (var round = 0u; round < KEYS; round += VALUE_KEYS) {
      workgroupBarrier();
      for (var i = 0u; i < VALUE_LOADS; i++) { // unroll
        stage[VALUES + thread + THREADS * i] = vec4f(nextValues[i]);
      }
      if (column / VALUE_KEYS == round / VALUE_KEYS % (16 / VALUE_KEYS)) {
        for (var f = 0u; f < FOURS; f++) { // unroll
          let score = vec4f(scores[4 * f].x, scores[4 * f + 1].x, scores[4 * f + 2].x, scores[4 * f + 3].x);
          let weight = exp2(score - vec4f(shift[4 * f], shift[4 * f + 1], shift[4 * f + 2], shift[4 * f + 3]));
          stage[column % VALUE_KEYS * STRIDE + top / 4 + f] = weight;
          mass[4 * f] += weight.x;
          mass[4 * f + 1] += weight.y;
          mass[4 * f + 2] += weight.z;
          mass[4 * f + 3] += weight.w;
        }
        for (var r = 0u; r < ROWS; r++) { // unroll
          scores[r] = scores[r].yzwx;
        }
      }
      workgroupBarrier();
      if (round + VALUE_KEYS < KEYS) {
        nextValues = fetchValues(thread, round + VALUE_KEYS, head, turn);
      } else {
        nextScores = fetchScores(thread, 0, tile, head, KEYS - turn);
      }
      for (var key = 0u; key < VALUE_KEYS; key++) {
        var weight: array<vec4f, FOURS>;
        for (var f = 0u; f < FOURS; f++) { // unroll
          weight[f] = stage[key * STRIDE + top / 4 + f];
        }
        for (var n = 0u; n < PARTS; n++) { // unroll
          let value = stage[VALUES + key * VECS + min(column + 16 * n, VECS - 1)];
          for (var r = 0u; r < ROWS; r++) { // unroll
            output[r * PARTS + n] = fma(vec4f(weight[r / 4][r % 4]), value, output[r * PARTS + n]);
          }
        }
      }
    }
    turn = KEYS - turn;
  }
  mass = shareRows(mass, top, column, false);
  finish(tile, top, column, output, shift, mass, 1);
}

/** Values of the keys from `round` on: a thread's share. */
fn fetchValues(thread: u32, round: u32, head: u32, turn: u32) -> Values {
  var fetched: Values;
  for (var i = 0u; i < VALUE_LOADS; i++) { // unroll
    let at = thread + THREADS * i;
    fetched[i] = v[(head + keyRow[turn + round + min(at / VECS, VALUE_KEYS - 1)]) * VECS + at % VECS];
  }
  return fetched;
}
