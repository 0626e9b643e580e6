// Keys or values pooled by several factors: for each head the rows of the first level, then of the next. A row is the mean of the real tokens
// of `pool` slots (PSA, arXiv 2512.04025, section 3, with true counts); zero where there is none.

struct Level { pool: u32, base: u32, units: u32, spare: u32 }
struct Pyramid { heads: u32, slots: u32, rows: u32, items: u32, levels: u32, spare: u32, spares: vec2u, level: array<Level, 12> }

@group(0) @binding(0) var<uniform> call: Pyramid;
@group(0) @binding(1) var<storage, read> x: array<vec4<Scalar>>;
@group(0) @binding(2) var<storage, read> tokens: array<i32>; // real tokens of each block
@group(0) @binding(3) var<storage, read_write> y: array<vec4<Scalar>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let at = (group.y * groups.x + group.x) * 256 + lane;
  if (at >= call.heads * call.rows * call.items) {
    return;
  }
  let row = (at / call.items) % call.rows;
  let head = at / call.items / call.rows;
  var found = call.level[0];
  for (var l = 1u; l < call.levels; l++) {
    if (row >= call.level[l].base) {
      found = call.level[l];
    }
  }
  let unit = row - found.base;
  let real = tokens[unit / found.units] - i32(unit % found.units * found.pool);
  let count = u32(clamp(real, 0, i32(found.pool)));
  let first = (head * call.slots + unit * found.pool) * call.items + at % call.items;
  var sum = vec4f(0);
  for (var token = 0u; token < count; token++) {
    sum += vec4f(x[first + token * call.items]);
  }
  y[at] = vec4<Scalar>(sum / f32(max(count, 1u)));
}
