// A linear layer with subgroup matrices: f16 numbers, f32 sums; matmul.finish.wgsl stands behind it.
// A workgroup owns TILE_ROWS rows and TILE_OUTPUTS outputs, each of its ROW_SIDES x OUTPUT_SIDES subgroups of 32 lanes an equal part of them.
// STEP inputs at a time are staged in workgroup memory, and the next are fetched into registers while the products run. With two BUFFERS a
// step has one barrier instead of two. The staged rows of x and then of weight are cut in FOLD parts that lie side by side: what keeps
// neighbours on different banks, one vector a row of memory, is shared by FOLD of them. Workgroups that run at the same time own BAND tiles of
// rows, so that they read the same weights. Loops marked "unroll" hold matrices, which must stay in registers.
// The header gives all these, M, N, K (one product), and how many of each a subgroup has; SPREAD sums side by side are written at a time.

alias Left = subgroup_matrix_left<f16, K, M>;
alias Right = subgroup_matrix_right<f16, N, K>;
alias Sum = subgroup_matrix_result<f32, N, M>;
alias Fetched = array<vec4u, LOADS>;

const THREADS = 32 * ROW_SIDES * OUTPUT_SIDES;
const PARTS = STEP / 8; // vectors of a staged row
const LEAP = THREADS / PARTS; // rows that all threads stage at once
const APART = 8 / PARTS; // rows that eight lanes stage together
const LINES = (TILE_ROWS + TILE_OUTPUTS) / FOLD;
const STRIDE = FOLD * PARTS + 1;
const BUFFER = LINES * STRIDE;
const ACROSS = SPREAD * N / 4; // vectors of a row of sums
const SCRATCH = M * (ACROSS + 1);

var<workgroup> pairs: array<vec4u, max(BUFFERS * BUFFER, ROW_SIDES * OUTPUT_SIDES * SCRATCH)>; // in the end sums

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let thread = subgroup * 32 + lane;
  let tile = tileOf(group.y * groups.x + group.x, groups);
  let ownRow = subgroup / OUTPUT_SIDES * (ROW_TILES * M);
  let ownOutput = subgroup % OUTPUT_SIDES * (OUTPUT_TILES * N);
  let rowsAt = place(ownRow, 0);
  let outputsAt = place(TILE_ROWS + ownOutput, 0);
  // Eight lanes write at the same time: to different banks when their rows are PARTS apart.
  let order = thread / PARTS;
  let line = order / 8 * 8 + order % 8 / APART + order % APART * PARTS;
  let own = thread % PARTS;
  let stored = place(line, own);
  let steps = (call.vectors + PARTS - 1) / PARTS;

  var sums: array<Sum, SUMS>;
  for (var i = 0u; i < SUMS; i++) { // unroll
    sums[i] = Sum(0.0);
  }
  var next = fetch(tile, line, own);
  if (BUFFERS == 2) {
    store(stored, next);
    next = fetch(tile, line, min(1, steps - 1) * PARTS + own);
    workgroupBarrier();
  }
  for (var step = 0u; step < steps; step++) {
    store(stored + (step + BUFFERS - 1) % BUFFERS * BUFFER, next);
    if (BUFFERS == 1) {
      workgroupBarrier();
    }
    next = fetch(tile, line, min(step + BUFFERS, steps - 1) * PARTS + own);
    let ready = step % BUFFERS * BUFFER;
    for (var d = 0u; d < DEPTH; d++) { // unroll
      var left: array<Left, ROW_TILES>;
      for (var r = 0u; r < ROW_TILES; r++) { // unroll
        left[r] = subgroupMatrixLoad<Left, row_major>(&pairs, ready + rowsAt + r * M * STRIDE + d * K / 8, STRIDE);
      }
      for (var c = 0u; c < OUTPUT_TILES; c++) { // unroll
        let right = subgroupMatrixLoad<Right, col_major>(&pairs, ready + outputsAt + c * N * STRIDE + d * K / 8, STRIDE);
        for (var r = 0u; r < ROW_TILES; r++) { // unroll
          sums[r * OUTPUT_TILES + c] = subgroupMatrixMultiplyAccumulate(left[r], right, sums[r * OUTPUT_TILES + c]);
        }
      }
    }
    workgroupBarrier();
  }

  let scratch = subgroup * SCRATCH;
  for (var r = 0u; r < ROW_TILES; r++) { // unroll
    for (var s = 0u; s < SPREADS; s++) { // unroll
      for (var c = 0u; c < SPREAD; c++) { // unroll
        subgroupMatrixStore<row_major>(&pairs, scratch + c * N / 4, sums[r * OUTPUT_TILES + s * SPREAD + c], ACROSS + 1);
      }
      workgroupBarrier();
      for (var at = lane; at < M * ACROSS; at += 32) {
        let row = tile.x + ownRow + r * M + at / ACROSS;
        let cell = (tile.y + ownOutput) / 4 + s * ACROSS + at % ACROSS;
        if (row < call.rows && cell < call.across) {
          finish(bitcast<vec4f>(pairs[scratch + at / ACROSS * (ACROSS + 1) + at % ACROSS]), row, cell);
        }
      }
      workgroupBarrier();
    }
  }
}

/** First row and first output of a workgroup's tile: BAND tiles of rows go through the outputs together. */
fn tileOf(at: u32, groups: vec3u) -> vec2u {
  let first = at / (BAND * groups.x) * BAND;
  let high = min(BAND, groups.y - first);
  let within = at % (BAND * groups.x);
  return vec2u((first + within % high) * TILE_ROWS, within / high * TILE_OUTPUTS);
}

/** Where a vector of a staged row lies. Of a row and a multiple of LEAP it is the sum of both places. */
fn place(row: u32, part: u32) -> u32 {
  if (FOLD == 1) {
    return row * STRIDE + part;
  }
  return row % LINES * STRIDE + row / LINES * PARTS + part;
}

/** A thread's share of the tile's rows and weights, from vector `part` of a row on; zero behind the last input. */
fn fetch(tile: vec2u, line: u32, part: u32) -> Fetched {
  var fetched: Fetched;
  if (RAGGED && part >= call.vectors) {
    return fetched;
  }
  for (var i = 0u; i < LOADS; i++) { // unroll
    if (i < ROW_LOADS) {
      fetched[i] = x[min(tile.x + line + i * LEAP, call.rows - 1) * call.vectors + part];
    } else {
      fetched[i] = weight[min(tile.y + line + i * LEAP - TILE_ROWS, call.outputs - 1) * call.vectors + part];
    }
  }
  return fetched;
}

fn store(at: u32, fetched: Fetched) {
  for (var i = 0u; i < LOADS; i++) { // unroll
    pairs[at + place(i * LEAP, 0)] = fetched[i];
  }
}
