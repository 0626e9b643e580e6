// 1 for the largest numbers of each row, 0 for the others: a number is among them when few enough are ahead of it, larger or equal and before.
// A thread takes one number; the work grows with the square of a row, so rows are to be short. Numbers are handled as bits.
struct Sizes { rows: u32, size: u32, count: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> chosen: array<f32>;

const FORBIDDEN = 0x007fffffu;

// Rises with the number; that of -Infinity, and 0 for what is no number, are never chosen.
fn keyOf(bits: u32) -> u32 {
  if ((bits & 0x7f800000u) == 0x7f800000u && (bits << 9u) != 0u) { return 0u; }
  if ((bits << 1u) == 0u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let index = id.y * groups.x * 256u + id.x;
  if (index >= sizes.rows * sizes.size) { return; }
  let place = index % sizes.size;
  let begin = index - place;
  let own = keyOf(x[index]);
  var ahead = 0u;
  for (var at = 0u; at < sizes.size; at++) {
    let other = keyOf(x[begin + at]);
    if (other > own || (other == own && at < place)) { ahead++; }
  }
  chosen[index] = select(0.0, 1.0, own > FORBIDDEN && ahead < sizes.count);
}
