// What the matrix kernel does outside of its products: fetch rows, find which rows are read, and turn scores into weights.

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

/** Softmax of tile t: two lanes a row turn 16 scores each into weights, over their own scores. */
fn weigh(t: u32, thread: u32, state: ptr<function, Row>) {
  let row = thread / 2;
  let own = row * SCORES + thread % 2 * 4;
  var s: array<vec4f, 4>;
  for (var i = 0u; i < 4; i++) {
    s[i] = bitcast<vec4f>(scores[own + i]) * call.scale;
  }
  if (biased[t % RING] != 0) {
    for (var i = 0u; i < 4; i++) {
      let at = t % RING * KEYS + thread % 2 * 16 + i * 4;
      s[i] += vec4f(biasOf[at], biasOf[at + 1], biasOf[at + 2], biasOf[at + 3]);
    }
  }
  let most = max(max(s[0], s[1]), max(s[2], s[3]));
  let mine = max(max(most.x, most.y), max(most.z, most.w));
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
  if (thread % 2 == 0) {
    factor[row] = rescaled;
  }
  for (var i = 0u; i < 2; i++) {
    let a = exp2(s[2 * i] - (*state).shift);
    let b = exp2(s[2 * i + 1] - (*state).shift);
    (*state).mass += dot(a + b, vec4f(1));
    scores[own + i] = vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
  }
}
