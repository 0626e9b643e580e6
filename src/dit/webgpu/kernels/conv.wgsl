// Convolution of up to three axes on any WebGPU, under 16 KiB of workgroup memory: x [batch, inputs, t, h, w] with zeros around it,
// weight [outputs, inputs, TIME, HIGH, WIDE], f32 sums, to which a tensor of the result's shape may be added. A workgroup owns OUTPUTS channels
// of PLACES = 8192 / OUTPUTS places, a thread eight channels of every (PLACES / 4)th place. A place is a column of `depth` numbers, one for each
// input and tap; STEP = OUTPUTS / 4 of them are staged at a time, and the next are fetched while the sums grow. Loops marked "unroll" hold
// arrays that must stay in registers.

struct Conv {
  inputs: u32, outputs: u32, depth: u32, places: u32,
  size: vec3u, out: vec3u, stride: vec3u, pad: vec3u,
}

@group(0) @binding(0) var<uniform> call: Conv;
@group(0) @binding(1) var<storage, read> x: array<Scalar>;
@group(0) @binding(2) var<storage, read> weight: array<Weight>;
@group(0) @binding(3) var<storage, read> bias: array<Bias>;
@group(0) @binding(4) var<storage, read> added: array<Scalar>;
@group(0) @binding(5) var<storage, read_write> y: array<Scalar>;

const THREADS = 256;
const TAPS = TIME * HIGH * WIDE;
const ACROSS = PLACES / 4; // threads beside each other

var<workgroup> columns: array<f32, STEP * PLACES>;
var<workgroup> taps: array<vec4f, STEP * OUTPUTS / 4>; // [step, four outputs]

alias Fetched = array<f32, 8>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first = group.x * PLACES;
  let left = group.y * OUTPUTS;
  // With 512 places a thread fetches for two of them.
  let corners = array(cornerOf(first + thread % PLACES), cornerOf(first + (thread + THREADS) % PLACES));
  var sums: array<vec4f, 8>;
  var next = fetch(thread, group.z, corners, 0);
  var nextTaps = fetchTaps(thread, left, 0);
  for (var part = 0u; part < call.depth; part += STEP) {
    workgroupBarrier();
    for (var i = 0u; i < 8; i++) { // unroll
      columns[thread + THREADS * i] = next[i];
    }
    if (thread < STEP * OUTPUTS / 4) {
      taps[thread % STEP * (OUTPUTS / 4) + thread / STEP] = nextTaps;
    }
    workgroupBarrier();
    next = fetch(thread, group.z, corners, part + STEP);
    nextTaps = fetchTaps(thread, left, part + STEP);
    for (var k = 0u; k < STEP; k++) {
      let at = k * PLACES + thread % ACROSS;
      let column = vec4f(columns[at], columns[at + ACROSS], columns[at + 2 * ACROSS], columns[at + 3 * ACROSS]);
      let w = k * (OUTPUTS / 4) + thread / ACROSS * 2;
      for (var c = 0u; c < 2; c++) { // unroll
        let four = taps[w + c];
        sums[4 * c] = fma(vec4f(four.x), column, sums[4 * c]);
        sums[4 * c + 1] = fma(vec4f(four.y), column, sums[4 * c + 1]);
        sums[4 * c + 2] = fma(vec4f(four.z), column, sums[4 * c + 2]);
        sums[4 * c + 3] = fma(vec4f(four.w), column, sums[4 * c + 3]);
      }
    }
  }
  for (var c = 0u; c < 8; c++) { // unroll
    finish(group.z, left + thread / ACROSS * 8 + c, first + thread % ACROSS, sums[c]);
  }
}

/** Writes four places of an output channel. */
fn finish(batch: u32, output: u32, place: u32, sums: vec4f) {
  if (output >= call.outputs) {
    return;
  }
  var sum = sums;
  if (BIAS) {
    sum += f32(bias[output]);
  }
  let row = (batch * call.outputs + output) * call.places;
  for (var i = 0u; i < 4; i++) {
    let at = place + ACROSS * i;
    if (at < call.places) {
      var total = sum[i];
      if (ADDED) {
        total += f32(added[row + at]);
      }
      y[row + at] = Scalar(select(total, max(total, 0.0), RELU));
    }
  }
}

/** Where in x the first tap of a place lies; a place behind the last one has the last one's. */
fn cornerOf(place: u32) -> vec3i {
  let p = min(place, call.places - 1);
  let at = vec3u(p / (call.out.y * call.out.z), p / call.out.z % call.out.y, p % call.out.z);
  return vec3i(at * call.stride) - vec3i(call.pad);
}

/** A thread's share of the columns from `part` on. */
fn fetch(thread: u32, batch: u32, corners: array<vec3i, 2>, part: u32) -> Fetched {
  var fetched: Fetched;
  for (var i = 0u; i < 8; i++) { // unroll
    let k = part + (thread + THREADS * i) / PLACES;
    let tap = k % TAPS;
    let at = vec3u(corners[i % 2] + vec3i(vec3u(tap / (HIGH * WIDE), tap / WIDE % HIGH, tap % WIDE))); // negative places become large
    if (k < call.depth && all(at < call.size)) {
      let plane = (batch * call.inputs + k / TAPS) * call.size.x + at.x;
      fetched[i] = f32(x[(plane * call.size.y + at.y) * call.size.z + at.z]);
    }
  }
  return fetched;
}

/** A thread's share of the weights from `part` on: one tap of four outputs. */
fn fetchTaps(thread: u32, left: u32, part: u32) -> vec4f {
  let k = part + thread % STEP;
  let output = left + thread / STEP * 4;
  var four = vec4f();
  if (thread < STEP * OUTPUTS / 4 && k < call.depth) {
    for (var i = 0u; i < 4; i++) { // unroll
      four[i] = f32(weight[min(output + i, call.outputs - 1) * call.depth + k]);
    }
  }
  return four;
}
