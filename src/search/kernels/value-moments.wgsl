// For each token of a block v.v_j and v_j.v_j - v.v_j, where v is the mean value of the block: [heads, slots]. One workgroup takes one block.
// Header: Scalar; DIM, BLOCK.
struct Sizes { blocks: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> values: array<vec4<Scalar>>;
@group(0) @binding(2) var<storage, read> counts: array<i32>;
@group(0) @binding(3) var<storage, read_write> moments: array<vec2f>;

const VECTORS = u32(DIM / 4);
const THREADS = 64u;

var<workgroup> means: array<vec4f, VECTORS>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let begin = (group.y * sizes.blocks + group.x) * BLOCK;
  let count = u32(counts[group.x]);
  for (var at = thread; at < VECTORS; at += THREADS) {
    var sum = vec4f(0.0);
    for (var slot = 0u; slot < count; slot++) { sum += vec4f(values[(begin + slot) * VECTORS + at]); }
    means[at] = sum / f32(count);
  }
  workgroupBarrier();
  for (var slot = thread; slot < count; slot += THREADS) {
    var moment = vec2f(0.0);
    for (var at = 0u; at < VECTORS; at++) {
      let value = vec4f(values[(begin + slot) * VECTORS + at]);
      moment += vec2f(dot(means[at], value), dot(value - means[at], value));
    }
    moments[begin + slot] = moment;
  }
}
