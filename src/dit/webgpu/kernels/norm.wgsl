// Layer or RMS norm of rows, times weight, plus bias; then times scale, plus shift, which may differ by token or batch item; then rotary embedding
// with cosines and sines [tokens, head] of which each stands for both of a pair. Rows come out cut in heads [batch, heads, tokens, head]. A
// workgroup owns a row and keeps it in registers. ONES adds the lanes of a cell, TURN turns its pairs by a quarter. Loops
// marked "unroll" hold an array that must stay in registers.

struct Norm {
  rows: u32, cells: u32, tokens: u32, epsilon: f32,
  startScale: u32, scaleBatch: u32, scaleToken: u32, width: f32,
  startShift: u32, shiftBatch: u32, shiftToken: u32, headCells: u32,
}

@group(0) @binding(0) var<uniform> call: Norm;
@group(0) @binding(1) var<storage, read> x: array<CellX>;
@group(0) @binding(2) var<storage, read> weight: array<CellW>;
@group(0) @binding(3) var<storage, read> bias: array<CellB>;
@group(0) @binding(4) var<storage, read> scale: array<CellM>;
@group(0) @binding(5) var<storage, read> shift: array<CellS>;
@group(0) @binding(6) var<storage, read> cosines: array<CellC>;
@group(0) @binding(7) var<storage, read> sines: array<CellC>;
@group(0) @binding(8) var<storage, read_write> y: array<CellY>;

var<workgroup> sums: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= call.rows) {
    return;
  }
  var own: array<Wide, PARTS>;
  var sum = Wide(0.0);
  for (var part = 0u; part < PARTS; part++) { // unroll
    let cell = part * THREADS + lane;
    if (cell < call.cells) {
      own[part] = Wide(x[row * call.cells + cell]);
      sum += own[part];
    }
  }
  if (LAYER) {
    let mean = total(sum, lane) / call.width;
    for (var part = 0u; part < PARTS; part++) { // unroll
      own[part] -= Wide(mean);
    }
  }
  sum = Wide(0.0);
  for (var part = 0u; part < PARTS; part++) { // unroll
    if (part * THREADS + lane < call.cells) {
      sum += own[part] * own[part];
    }
  }
  let factor = inverseSqrt(total(sum, lane) / call.width + call.epsilon);
  let batch = row / call.tokens;
  let token = row % call.tokens;
  let scaleAt = call.startScale + batch * call.scaleBatch + token * call.scaleToken;
  let shiftAt = call.startShift + batch * call.shiftBatch + token * call.shiftToken;
  for (var part = 0u; part < PARTS; part++) { // unroll
    let cell = part * THREADS + lane;
    if (cell < call.cells) {
      var value = own[part] * factor;
      if (WEIGHT) {
        value *= Wide(weight[cell]);
      }
      if (BIAS) {
        value += Wide(bias[cell]);
      }
      if (MODULATED) {
        value = value * Wide(scale[scaleAt + cell]) + Wide(shift[shiftAt + cell]);
      }
      let head = (batch * (call.cells / call.headCells) + cell / call.headCells) * call.tokens;
      let place = cell % call.headCells;
      if (ROPE) {
        let angle = token * call.headCells + place;
        value = value * Wide(cosines[angle]) + value * TURN * Wide(sines[angle]);
      }
      y[(head + token) * call.headCells + place] = CellY(value);
    }
  }
}

/** The sum over the row. */
fn total(part: Wide, lane: u32) -> f32 {
  workgroupBarrier();
  sums[lane] = dot(vec4f(part), ONES);
  for (var half = u32(THREADS) / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) {
      sums[lane] += sums[lane + half];
    }
  }
  return workgroupUniformLoad(&sums[0]);
}
