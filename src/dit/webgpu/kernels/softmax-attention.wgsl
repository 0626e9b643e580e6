// Softmax attention with any scale and an optional bias on the scores, for short sequences such as those of text encoders: q [heads, rows, DIM],
// k [heads, keys, DIM], v [heads, keys, VALUE_DIM]. A workgroup owns a query and walks over its keys, 64 at a time.

struct Attend {
  rows: u32, keys: u32, heads: u32, scale: f32,
  start: u32, biasBatch: u32, biasHead: u32, biasRow: u32,
  biasKey: u32, queries: u32,
}

@group(0) @binding(0) var<uniform> call: Attend;
@group(0) @binding(1) var<storage, read> q: array<Scalar>;
@group(0) @binding(2) var<storage, read> k: array<Scalar>;
@group(0) @binding(3) var<storage, read> v: array<Scalar>;
@group(0) @binding(4) var<storage, read> bias: array<Bias>;
@group(0) @binding(5) var<storage, read_write> y: array<Scalar>;

const KEYS = 64;

var<workgroup> query: array<f32, DIM>;
var<workgroup> scores: array<f32, KEYS>;

@compute @workgroup_size(KEYS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let at = group.y * groups.x + group.x;
  if (at >= call.queries) {
    return;
  }
  let row = at % call.rows;
  let head = at / call.rows;
  for (var d = lane; d < DIM; d += KEYS) {
    query[d] = f32(q[at * DIM + d]) * call.scale;
  }
  var output: array<f32, PARTS>;
  var largest = -3.4e38;
  var mass = 0.0;
  for (var first = 0u; first < call.keys; first += KEYS) {
    workgroupBarrier();
    scores[lane] = -3.4e38;
    if (first + lane < call.keys) {
      scores[lane] = score(head, row, first + lane);
    }
    workgroupBarrier();
    let count = min(u32(KEYS), call.keys - first);
    var top = largest;
    for (var i = 0u; i < count; i++) {
      top = max(top, scores[i]);
    }
    let fade = exp(largest - top);
    largest = top;
    mass *= fade;
    for (var part = 0u; part < PARTS; part++) {
      output[part] *= fade;
    }
    for (var i = 0u; i < count; i++) {
      let weight = exp(scores[i] - top);
      mass += weight;
      for (var part = 0u; part < PARTS; part++) {
        let d = min(part * KEYS + lane, u32(VALUE_DIM) - 1);
        output[part] = fma(weight, f32(v[(head * call.keys + first + i) * VALUE_DIM + d]), output[part]);
      }
    }
  }
  for (var part = 0u; part < PARTS; part++) {
    let d = part * KEYS + lane;
    if (d < VALUE_DIM) {
      y[at * VALUE_DIM + d] = Scalar(output[part] / mass);
    }
  }
}

fn score(head: u32, row: u32, key: u32) -> f32 {
  var sum = 0.0;
  for (var d = 0u; d < DIM; d++) {
    sum = fma(query[d], f32(k[(head * call.keys + key) * DIM + d]), sum);
  }
  if (BIASED) {
    let place = call.start + head / call.heads * call.biasBatch + head % call.heads * call.biasHead + row * call.biasRow + key * call.biasKey;
    sum = max(sum + f32(bias[place]), -3.4e38); // a masked score plus a bias may leave the range
  }
  return sum;
}
