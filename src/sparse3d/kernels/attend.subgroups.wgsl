// Softmax attention by a plan, or of all keys (DENSE), for head dimensions up to 128: more workgroup memory than attend.wgsl, row maxima from
// subgroups, and weights times values in the type of storage, in sums over 64 keys that are added up in f32. Behind it stand
// attend.subgroups.rows.wgsl, subgroup-of.wgsl, attend.rows.wgsl and attend.plan.wgsl. A workgroup owns QUERIES query rows and walks over their
// keys, 128 at a time; a thread keeps ROWS x 8 scores and ROWS x PARTS vectors of the output. 16 threads share a row; where SUBGROUP is 16 or
// more they are lanes of one subgroup. The header gives these, STEP and Staged.
// Weights are at most 1, so a sum overflows f16 only with values beyond 1023: then all is done again with values divided by SMALLER.
alias Vec = vec4<Scalar>;
alias Weights = array<Vec, FOURS>; // of ROWS rows and a key
alias Values = array<Vec, PARTS>;

const THREADS = QUERIES / ROWS * 16;
const KEYS = 128;
const BUFFER = (QUERIES + KEYS) * STEP;
const STRIDE = QUERIES / ROWS + 1; // between the weights of two keys, odd against bank conflicts
const SMALLER = 128.0;

var<workgroup> stage: array<Staged, 2 * BUFFER>; // queries and keys, two buffers in turn
var<workgroup> weights: array<Weights, 16 * STRIDE>;
var<workgroup> values: array<Values, 16 * 16>;
var<workgroup> overflown: u32;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let thread = (subgroupOf(lane) * SUBGROUP + lane) % THREADS;
  let column = thread % 16;
  let top = thread / 16 * ROWS;
  let tile = tileOf(group.x, group.y, QUERIES);
  let head = group.y * call.rowsK;
  var output: array<vec4f, ROWS * PARTS>;
  var mass: array<f32, ROWS>;
  var shift: array<f32, ROWS>;
  var divisor = 1.0;
  loop {
    output = array<vec4f, ROWS * PARTS>();
    mass = array<f32, ROWS>();
    shift = noShift();
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
            let x = vec4f(stage[buffer + swizzled(top + r, p)]);
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
          var weight: Weights;
          for (var f = 0u; f < FOURS; f++) { // unroll
            weight[f] = Vec(vec4f(near[4 * f][c], near[4 * f + 1][c], near[4 * f + 2][c], near[4 * f + 3][c]));
          }
          weights[column * STRIDE + top / ROWS] = weight;
          for (var i = 0u; i < VALUE_LOADS; i++) { // unroll
            values[thread + THREADS * i] = divided(nextValues[i], divisor);
          }
          workgroupBarrier();
          if (round + 16 < KEYS) {
            nextValues = fetchValues(thread, round + 16, head, turn);
          } else {
            nextScores = fetchScores(thread, 0, tile, head, KEYS - turn);
          }
          for (var key = 0u; key < 16; key++) { // unroll
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
    if (divisor == SMALLER || !anyOverflow(output)) {
      break;
    }
    divisor = SMALLER;
  }
  if (SUBGROUP < 16) {
    mass = shareRows(mass, top, column, false);
  } else {
    mass = shuffleRows(mass, false);
  }
  finish(tile, top, column, output, shift, mass, divisor);
}
