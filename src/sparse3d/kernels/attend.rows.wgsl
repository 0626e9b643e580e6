// What the kernels without matrices share, between their body and attend.plan.wgsl: THREADS threads, 16 of them for each ROWS query rows, the
// keys of a tile, and the running softmax of a row: `mass` and `output` are sums under `shift` (log2), which is no less than the largest score
// minus SLACK. The header gives ROWS, FOURS = ROWS / 4, PARTS = DIM / 64, rounded up, and SCORE_LOADS and VALUE_LOADS, the vectors that a thread
// stages at a time. STEP vectors of a row of q or k are staged at a time, as Staged, LINE of them in 128 bytes. Loops marked "unroll" hold arrays
// that must stay in registers. A thread's vectors of the output are column, column + 16, .. of a row.

const VECS = DIM / 4;

var<workgroup> keyRow: array<u32, 2 * KEYS>; // of this tile and the next, in turn
var<workgroup> keyBias: array<f32, 2 * KEYS>;

/** Notes the keys from entry `start` on. */
fn findKeys(thread: u32, turn: u32, start: u32, tile: Tile) {
  if (thread < KEYS) {
    let found = keyAt(start + thread, tile.planRow);
    keyRow[turn + thread] = found.row;
    keyBias[turn + thread] = found.bias;
  }
}

/** The biases of a thread's keys slot, slot + 16, slot + 32 and slot + 48. */
fn biasAt(slot: u32) -> vec4f {
  return vec4f(keyBias[slot], keyBias[slot + 16], keyBias[slot + 32], keyBias[slot + 48]);
}

/** Where a part of a staged row lies, so that rows that are read together, next to each other or ROWS apart, hit different banks. */
fn swizzled(row: u32, part: u32) -> u32 {
  let line = row * STEP / LINE;
  return row * STEP + (part ^ ((line ^ (line / 2)) % STEP));
}

/** Vectors part .. part + STEP - 1 of the tile's queries and keys: a thread's share. */
fn fetchScores(thread: u32, part: u32, tile: Tile, head: u32, turn: u32) -> array<vec4<Scalar>, SCORE_LOADS> {
  var fetched: array<vec4<Scalar>, SCORE_LOADS>;
  let vec = part + thread % STEP;
  let inside = VECS % STEP == 0 || vec < VECS;
  for (var i = 0u; i < SCORE_LOADS; i++) { // unroll
    let row = thread / STEP + THREADS / STEP * i;
    if (row < QUERIES) {
      fetched[i] = select(vec4<Scalar>(), q[(tile.first + min(row, tile.slots - 1)) * VECS + vec], inside);
    } else if (row < QUERIES + KEYS) {
      fetched[i] = select(vec4<Scalar>(), k[(head + keyRow[turn + row - QUERIES]) * VECS + vec], inside);
    }
  }
  return fetched;
}

/** Puts them where `keysAt` and scores read them. */
fn stageScores(thread: u32, buffer: u32, fetched: array<vec4<Scalar>, SCORE_LOADS>) {
  for (var i = 0u; i < SCORE_LOADS; i++) { // unroll
    let row = thread / STEP + THREADS / STEP * i;
    if (row < QUERIES + KEYS) {
      stage[buffer + swizzled(row, thread % STEP)] = Staged(fetched[i]);
    }
  }
}

/** Four dimensions of the staged keys row, row + 16, row + 32 and row + 48: a column for each dimension. */
fn keysAt(buffer: u32, row: u32, part: u32) -> mat4x4f {
  let rows = mat4x4f(
    vec4f(stage[buffer + swizzled(row, part)]),
    vec4f(stage[buffer + swizzled(row + 16, part)]),
    vec4f(stage[buffer + swizzled(row + 32, part)]),
    vec4f(stage[buffer + swizzled(row + 48, part)]),
  );
  return transpose(rows);
}

/** Scores of a row and four keys with the products of four dimensions added. */
fn addProducts(query: vec4f, keys: mat4x4f, scores: vec4f) -> vec4f {
  return fma(vec4f(query.x), keys[0], fma(vec4f(query.y), keys[1], fma(vec4f(query.z), keys[2], fma(vec4f(query.w), keys[3], scores))));
}

/** The largest, or the sum, of each row over its 16 threads, through memory. */
fn shareRows(x: array<f32, ROWS>, top: u32, column: u32, largest: bool) -> array<f32, ROWS> {
  workgroupBarrier();
  for (var f = 0u; f < FOURS; f++) { // unroll
    stage[top * 4 + 16 * f + column] = Staged(vec4f(x[4 * f], x[4 * f + 1], x[4 * f + 2], x[4 * f + 3]));
  }
  workgroupBarrier();
  var reduced: array<f32, ROWS>;
  for (var f = 0u; f < FOURS; f++) { // unroll
    var all = vec4f(stage[top * 4 + 16 * f]);
    for (var i = 1u; i < 16; i++) {
      let other = vec4f(stage[top * 4 + 16 * f + i]);
      all = select(all + other, max(all, other), largest);
    }
    reduced[4 * f] = all.x;
    reduced[4 * f + 1] = all.y;
    reduced[4 * f + 2] = all.z;
    reduced[4 * f + 3] = all.w;
  }
  workgroupBarrier();
  return reduced;
}

/** Raises the shifts to the largest scores. */
fn raise(
  largest: array<f32, ROWS>,
  shift: ptr<function, array<f32, ROWS>>,
  mass: ptr<function, array<f32, ROWS>>,
  output: ptr<function, array<vec4f, ROWS * PARTS>>,
) {
  for (var r = 0u; r < ROWS; r++) { // unroll
    let next = max((*shift)[r], largest[r]);
    let factor = exp2((*shift)[r] - next);
    (*shift)[r] = next;
    (*mass)[r] *= factor;
    for (var n = 0u; n < PARTS; n++) { // unroll
      (*output)[r * PARTS + n] *= factor;
    }
  }
}

/** Shifts of rows that have seen no key. */
fn noShift() -> array<f32, ROWS> {
  var shift: array<f32, ROWS>;
  for (var r = 0u; r < ROWS; r++) { // unroll
    shift[r] = -1e30;
  }
  return shift;
}

/** Whether a shift is less than it has to be. */
fn outgrown(shift: array<f32, ROWS>, largest: array<f32, ROWS>) -> bool {
  var any = false;
  for (var r = 0u; r < ROWS; r++) { // unroll
    any = any || largest[r] > shift[r] + SLACK;
  }
  return any;
}

/** Writes the rows, given the mass of all their threads and what their values were divided by; zero where a row holds no token. */
fn finish(tile: Tile, top: u32, column: u32, output: array<vec4f, ROWS * PARTS>, shift: array<f32, ROWS>, mass: array<f32, ROWS>, divisor: f32) {
  for (var r = 0u; r < ROWS; r++) { // unroll
    let row = top + r;
    let isReal = row < tile.real;
    for (var n = 0u; n < PARTS; n++) { // unroll
      let vec = column + 16 * n;
      if (row < tile.slots && vec < VECS) {
        out[(tile.first + row) * VECS + vec] = select(vec4<Scalar>(), vec4<Scalar>(output[r * PARTS + n] / mass[r] * divisor), isReal);
      }
    }
    if (row < tile.slots && column == 0) {
      lse[tile.first + row] = select(0.0, (shift[r] + log2(mass[r])) * 0.6931471805599453, isReal);
    }
  }
}
