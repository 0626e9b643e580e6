// A linear layer of few rows, which is bound by reading the weight: 32 threads an output, ROWS rows each; matmul.finish.wgsl stands behind it.

const OUTPUTS = 4u;
const LANES = 32u;

var<workgroup> parts: array<f32, ROWS * OUTPUTS * LANES>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first = group.x * OUTPUTS;
  let weights = min(first + thread / LANES, call.outputs - 1) * call.vectors;
  var sums: array<f32, ROWS>;
  for (var at = thread % LANES; at < call.vectors; at += LANES) {
    let w = vec4f(weight[weights + at]);
    for (var r = 0u; r < ROWS; r++) { // unroll
      sums[r] += dot(vec4f(x[min(r, call.rows - 1) * call.vectors + at]), w);
    }
  }
  for (var r = 0u; r < ROWS; r++) { // unroll
    parts[r * OUTPUTS * LANES + thread] = sums[r];
  }
  workgroupBarrier();
  let row = thread / OUTPUTS;
  let output = first + thread % OUTPUTS;
  if (row < call.rows && output < call.outputs) {
    var sum = 0.0;
    for (var lane = 0u; lane < LANES; lane++) {
      sum += parts[thread * LANES + lane];
    }
    finish(sum, row, output);
  }
}
