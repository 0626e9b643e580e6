// Rotary embedding of interleaved pairs: a view [batch, heads, tokens, pairs] in, packed out; cosines and sines [tokens, pairs].

struct Rope {
  count: u32, heads: u32, tokens: u32, pairs: u32,
  batch: u32, head: u32, token: u32, start: u32,
}

@group(0) @binding(0) var<uniform> call: Rope;
@group(0) @binding(1) var<storage, read> x: array<vec2<Scalar>>;
@group(0) @binding(2) var<storage, read> cosines: array<f32>;
@group(0) @binding(3) var<storage, read> sines: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<vec2<Scalar>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let at = (group.y * groups.x + group.x) * 256 + lane;
  if (at >= call.count) {
    return;
  }
  let pair = at % call.pairs;
  let token = at / call.pairs % call.tokens;
  let head = at / call.pairs / call.tokens;
  let source = call.start + head / call.heads * call.batch + head % call.heads * call.head + token * call.token + pair;
  let value = vec2f(x[source]);
  let c = cosines[token * call.pairs + pair];
  let s = sines[token * call.pairs + pair];
  y[at] = vec2<Scalar>(vec2f(value.x * c - value.y * s, value.x * s + value.y * c));
}
