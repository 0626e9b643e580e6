// Adds a table to the scores of every head. Numbers are handled as bits, because a shader may take infinities for impossible: an infinite entry of
// the table replaces a score, and an infinite score stays.
struct Sizes { table: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> scores: array<u32>;
@group(0) @binding(2) var<storage, read> force: array<u32>;
@group(0) @binding(3) var<storage, read_write> forced: array<u32>;

const EXPONENT = 0x7f800000u;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var at = id.x; at < sizes.table; at += groups.x * 256u) {
    let score = scores[id.y * sizes.table + at];
    let by = force[at];
    var result = score;
    if ((by & EXPONENT) == EXPONENT) {
      result = by;
    } else if ((score & EXPONENT) != EXPONENT && (by << 1u) != 0u) {
      result = bitcast<u32>(bitcast<f32>(score) + bitcast<f32>(by));
    }
    forced[id.y * sizes.table + at] = result;
  }
}
