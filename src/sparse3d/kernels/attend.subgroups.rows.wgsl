// What the subgroups kernel does beside its walk over the keys: fetch values, reduce rows, notice an overflow.

/** Whether any number of the workgroup is infinite or none; asked of their bits, since compilers may take floats for finite. */
fn anyOverflow(output: array<vec4f, ROWS * PARTS>) -> bool {
  var largest = vec4u();
  for (var r = 0u; r < ROWS; r++) { // unroll
    for (var n = 0u; n < PARTS; n++) { // unroll
      largest = max(largest, bitcast<vec4u>(output[r * PARTS + n]) & vec4u(0x7f800000));
    }
  }
  if (any(largest == vec4u(0x7f800000))) {
    overflown = 1;
  }
  return workgroupUniformLoad(&overflown) != 0;
}

fn divided(x: Values, divisor: f32) -> Values {
  var result: Values;
  for (var n = 0u; n < PARTS; n++) { // unroll
    result[n] = x[n] * Scalar(1 / divisor);
  }
  return result;
}

/** Values of the keys from `round` on: a thread's share. */
fn fetchValues(thread: u32, round: u32, head: u32, turn: u32) -> array<Values, VALUE_LOADS> {
  var fetched: array<Values, VALUE_LOADS>;
  for (var i = 0u; i < VALUE_LOADS; i++) { // unroll
    let row = (head + keyRow[turn + round + thread / 16 + THREADS / 16 * i]) * VECS;
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
