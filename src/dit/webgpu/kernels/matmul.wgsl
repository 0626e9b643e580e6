// A linear layer on any WebGPU: under 16 KiB of workgroup memory and no features, f32 sums; matmul.finish.wgsl stands behind it.
// A workgroup owns 16 * SIDE rows and as many outputs, a thread every 16th of both. 16 inputs at a time are staged as f32, and the next are
// fetched while the sums grow. Loops marked "unroll" hold arrays that must stay in registers; LOADS = SIDE / 2.

alias Fetched = array<Cells, LOADS>;

const TILE = 16 * SIDE;
const STEP = 4; // vectors of a row staged at a time

var<workgroup> stage: array<vec4f, 2 * TILE * STEP>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let top = group.y * TILE;
  let left = group.x * TILE;
  let column = thread % 16;
  let line = thread / 16;
  var sums: array<f32, SIDE * SIDE>;
  var next = fetch(thread, top, left, 0);
  for (var part = 0u; part < call.vectors; part += STEP) {
    workgroupBarrier();
    for (var i = 0u; i < LOADS; i++) { // unroll
      stage[swizzled(thread / STEP + 64 * i, thread % STEP)] = vec4f(next[i]);
    }
    workgroupBarrier();
    next = fetch(thread, top, left, part + STEP);
    for (var p = 0u; p < STEP; p++) {
      var w: array<vec4f, SIDE>;
      for (var c = 0u; c < SIDE; c++) { // unroll
        w[c] = stage[swizzled(TILE + 16 * c + column, p)];
      }
      for (var r = 0u; r < SIDE; r++) { // unroll
        let a = stage[swizzled(16 * r + line, p)];
        for (var c = 0u; c < SIDE; c++) { // unroll
          sums[r * SIDE + c] = addProducts(a, w[c], sums[r * SIDE + c]);
        }
      }
    }
  }
  for (var r = 0u; r < SIDE; r++) { // unroll
    let row = top + 16 * r + line;
    for (var c = 0u; c < SIDE; c++) { // unroll
      let output = left + 16 * c + column;
      if (row < call.rows && output < call.outputs) {
        finish(sums[r * SIDE + c], row, output);
      }
    }
  }
}

/** Where a part of a staged row lies, so that neighbours that read the same part of their rows hit different banks. */
fn swizzled(row: u32, part: u32) -> u32 {
  return row * STEP + (part ^ (row / 2 % STEP));
}

/** Vectors part .. part + STEP - 1 of the tile's rows, then of its outputs: a thread's share. */
fn fetch(thread: u32, top: u32, left: u32, part: u32) -> Fetched {
  var fetched: Fetched;
  let at = part + thread % STEP;
  if (at < call.vectors) {
    for (var i = 0u; i < LOADS; i++) { // unroll
      let row = thread / STEP + 64 * i;
      if (i < LOADS / 2) {
        fetched[i] = x[min(top + row, call.rows - 1) * call.vectors + at];
      } else {
        fetched[i] = weight[min(left + row - TILE, call.outputs - 1) * call.vectors + at];
      }
    }
  }
  return fetched;
}

/** A sum with four products added. */
fn addProducts(a: vec4f, b: vec4f, sum: f32) -> f32 {
  return fma(a.x, b.x, fma(a.y, b.y, fma(a.z, b.z, fma(a.w, b.w, sum))));
}
