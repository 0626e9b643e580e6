// What every kernel of a linear layer shares: what is bound, and what becomes of a sum before it is written:
// out = residual + gate * activation(sum + bias). The header gives Cells, how x and weight are bound; Sums, f32 or vec4f; BiasCell, GateCell,
// ResidualCell and OutCell, as many numbers of each; and which parts there are: BIAS, ACTIVATION, GATE, RESIDUAL (2: out is its own residual).
// What there is not is bound to weight. Where out is f16 (HALF), a sum beyond its range is written as its largest number: an infinity would turn
// the next layer's row to NaN.

struct Matmul {
  rows: u32,
  outputs: u32,
  vectors: u32, // cells of a row of x and weight
  across: u32, // cells of a row of out
  gateRows: u32, // rows of x that share a row of gate
}

@group(0) @binding(0) var<uniform> call: Matmul;
@group(0) @binding(1) var<storage, read> x: array<Cells>;
@group(0) @binding(2) var<storage, read> weight: array<Cells>;
@group(0) @binding(3) var<storage, read> bias: array<BiasCell>;
@group(0) @binding(4) var<storage, read> gate: array<GateCell>;
@group(0) @binding(5) var<storage, read> residual: array<ResidualCell>;
@group(0) @binding(6) var<storage, read_write> out: array<OutCell>;

/** Writes one cell of a row. */
fn finish(sum: Sums, row: u32, cell: u32) {
  let at = row * call.across + cell;
  var y = sum;
  if (BIAS) {
    y += Sums(bias[cell]);
  }
  y = activate(y);
  if (GATE) {
    y *= Sums(gate[row / call.gateRows * call.across + cell]);
  }
  if (RESIDUAL == 1) {
    y += Sums(residual[at]);
  } else if (RESIDUAL == 2) {
    y += Sums(out[at]);
  }
  if (HALF) {
    y = clamp(y, Sums(-65504), Sums(65504));
  }
  out[at] = OutCell(y);
}

fn activate(y: Sums) -> Sums {
  switch (ACTIVATION) {
    case 1: { // silu
      return sigmoid(y, y);
    }
    case 2: { // gelu_tanh: 1 + tanh(u) is twice the sigmoid of 2 u
      return sigmoid(y, 1.5957691216057308 * (y + 0.044715 * y * y * y));
    }
    case 3: { // relu
      return max(y, Sums(0));
    }
    case 4: { // tanh
      return tanh(clamp(y, Sums(-15), Sums(15)));
    }
    default: {
      return y;
    }
  }
}

/** y times the sigmoid of u. */
fn sigmoid(y: Sums, u: Sums) -> Sums {
  return y / (1 + exp(min(-u, Sums(80))));
}
