// What the matrix kernels do outside of their products: fetch rows, find which rows are read, turn scores into weights, and write results.
// A kernel says with `put` where weights go.

alias Left = subgroup_matrix_left<f16, K, M>;
alias Right = subgroup_matrix_right<f16, N, K>;
alias Sum = subgroup_matrix_result<f32, N, M>;
alias Fetched = array<vec4u, LOADS>;

const KEYS = 32;
const VECS = DIMS / 8;
const STRIDE = VECS + 1; // odd against bank conflicts
const SCORES = KEYS / 4 + 1;
const RING = 8u; // tiles whose keys are known ahead
const AHEAD = 4u; // of which so many are found at once
const GROWTH = 12.0; // f16 holds weights up to 2^16
const TILE = M * N / 4; // vectors of one sum
const ACROSS = N / 4;

var<workgroup> scores: array<vec4u, ROWS * SCORES>;
var<workgroup> rowOf: array<u32, RING * KEYS>;
var<workgroup> biasOf: array<f32, RING * KEYS>;
var<workgroup> biased: array<u32, RING>;
var<workgroup> factor: array<f32, ROWS>;
var<workgroup> grown: u32;

/** What a lane keeps of its row: the shift of the exponent (log2), and the mass of the keys it has weighed. */
struct Row { shift: f32, mass: f32 }

/** Eight numbers of a query row; zero where there is none. */
fn query(tile: Tile, row: u32, part: u32) -> vec4u {
  if (row >= tile.slots || part * 8 >= DIM) {
    return vec4u();
  }
  return q[(tile.first + row) * (DIM / 8) + part];
}

/** Vector `at` of the keys of a tile. */
fn keyVector(head: u32, tile: u32, at: u32) -> vec4u {
  if (DIMS != DIM && at % VECS * 8 >= DIM) {
    return vec4u();
  }
  return k[(head + rowOf[tile % RING * KEYS + at / VECS]) * (DIM / 8) + at % VECS];
}

/** Vector `at` of the values of a tile. */
fn valueVector(head: u32, tile: u32, at: u32) -> vec4u {
  if (DIMS != DIM && at % VECS * 8 >= DIM) {
    return vec4u();
  }
  return v[(head + rowOf[tile % RING * KEYS + at / VECS]) * (DIM / 8) + at % VECS];
}

/** Where vector `at` of staged rows lies. */
fn place(at: u32) -> u32 {
  return at / VECS * STRIDE + at % VECS;
}

/** Finds the row and the bias of an entry that the tile reads, and notes them in the ring. */
fn find(entry: u32, tile: Tile) {
  let key = keyAt(entry, tile.planRow);
  var bias = key.bias;
  if (entry >= tile.keys) {
    bias = -3e38;
  }
  rowOf[entry % (RING * KEYS)] = key.row;
  biasOf[entry % (RING * KEYS)] = bias;
  if (bias != 0) {
    biased[entry / KEYS % RING] = 1;
  }
}

/** Softmax of tile t: two lanes a row turn 16 scores each into weights. */
fn weigh(t: u32, thread: u32, state: ptr<function, Row>) {
  let row = thread / 2;
  let side = thread % 2;
  var s: array<vec4f, 4>;
  for (var i = 0u; i < 4; i++) {
    s[i] = bitcast<vec4f>(scores[row * SCORES + side * 4 + i]);
  }
  var scale = call.scale;
  if (biased[t % RING] != 0) {
    scale = 1;
    for (var i = 0u; i < 4; i++) {
      let at = t % RING * KEYS + side * 16 + i * 4;
      s[i] = s[i] * call.scale + vec4f(biasOf[at], biasOf[at + 1], biasOf[at + 2], biasOf[at + 3]);
    }
  }
  let most = max(max(s[0], s[1]), max(s[2], s[3]));
  let mine = max(max(most.x, most.y), max(most.z, most.w)) * scale;
  let largest = max(mine, subgroupShuffleXor(mine, 1));
  var rescaled = 1.0;
  if (t == 0) {
    (*state).shift = largest;
  } else if (largest > (*state).shift + GROWTH) {
    rescaled = exp2((*state).shift - largest);
    (*state).shift = largest;
    (*state).mass *= rescaled;
    grown = 1;
  }
  if (side == 0) {
    factor[row] = rescaled;
  }
  for (var i = 0u; i < 2; i++) {
    let a = exp2(fma(s[2 * i], vec4f(scale), vec4f(-(*state).shift)));
    let b = exp2(fma(s[2 * i + 1], vec4f(scale), vec4f(-(*state).shift)));
    (*state).mass += dot(a + b, vec4f(1));
    put(row, side * 2 + i, vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw)));
  }
}

/** Writes a row's log-sum-exp, and what its sums are divided by to `factor`. */
fn settle(tile: Tile, thread: u32, state: Row) {
  let row = thread / 2;
  let all = state.mass + subgroupShuffleXor(state.mass, 1);
  if (thread % 2 == 0) {
    factor[row] = select(0, 1 / all, row < tile.real);
    if (row < tile.slots) {
      lse[tile.first + row] = select(0, (state.shift + log2(all)) * 0.6931471805599453, row < tile.real);
    }
  }
}

/** Writes four numbers of a row of the output. */
fn write(tile: Tile, row: u32, column: u32, sums: vec4u) {
  if (row < tile.slots && column < DIM) {
    out[((tile.first + row) * DIM + column) / 4] = vec4h(bitcast<vec4f>(sums) * factor[row]);
  }
}
