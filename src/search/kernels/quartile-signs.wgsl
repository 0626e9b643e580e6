// For each number three signs: whether it lies above the first, second and third quartile of its head, [heads, size] -> [heads, size, 3]. A
// workgroup takes a head and finds the quartiles bit by bit.
struct Sizes { size: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> signs: array<f32>;

const THREADS = 256u;

var<workgroup> below: array<atomic<u32>, 3>;
var<workgroup> counted: array<u32, 3>;

// Bits in the order of the numbers.
fn keyOf(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

// How many numbers have keys up to each of three.
fn countUpTo(begin: u32, keys: vec3u, thread: u32) -> vec3u {
  if (thread < 3u) { atomicStore(&below[thread], 0u); }
  workgroupBarrier();
  var own = vec3u(0u);
  for (var at = thread; at < sizes.size; at += THREADS) { own += select(vec3u(0u), vec3u(1u), vec3u(keyOf(x[begin + at])) <= keys); }
  for (var edge = 0u; edge < 3u; edge++) { atomicAdd(&below[edge], own[edge]); }
  workgroupBarrier();
  if (thread < 3u) { counted[thread] = atomicLoad(&below[thread]); }
  workgroupBarrier();
  return vec3u(counted[0], counted[1], counted[2]);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let begin = group.x * sizes.size;
  let wanted = (vec3u(1u, 2u, 3u) * sizes.size + 3u) / 4u;
  // The least keys up to which there are enough numbers: a bit stays 0 where those up to all ones behind it suffice.
  var edges = vec3u(0u);
  for (var bit = 32u; bit > 0u; bit--) {
    let one = 1u << (bit - 1u);
    edges |= select(vec3u(0u), vec3u(one), countUpTo(begin, edges | vec3u(one - 1u), thread) < wanted);
  }
  for (var at = thread; at < sizes.size; at += THREADS) {
    let above = vec3u(keyOf(x[begin + at])) > edges;
    for (var edge = 0u; edge < 3u; edge++) { signs[3u * (begin + at) + edge] = select(-1.0, 1.0, above[edge]); }
  }
}
