// Groups of STRIDE slots as one long row each, [heads, slots, dim] -> [heads, groups, STRIDE * dim], their tokens in order or REVERSED. A group with
// padding repeats its tokens; one of nothing but padding is zeros. A thread copies one vector.
// Header: Scalar; DIM, BLOCK, STRIDE, REVERSED.
struct Sizes { slots: u32, heads: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<vec4<Scalar>>;
@group(0) @binding(2) var<storage, read> counts: array<i32>;
@group(0) @binding(3) var<storage, read_write> grouped: array<vec4<Scalar>>;

const VECTORS = u32(DIM / 4);

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = (group.y * groups.x + group.x) * 256u + thread;
  if (at >= sizes.heads * sizes.slots * VECTORS) { return; }
  let to = at / VECTORS;
  let slot = to % sizes.slots;
  let inBlock = slot % BLOCK;
  let begin = inBlock - inBlock % STRIDE;
  let count = min(counts[slot / BLOCK] - i32(begin), STRIDE);
  let place = select(inBlock % STRIDE, STRIDE - 1u - inBlock % STRIDE, REVERSED);
  grouped[at] = vec4<Scalar>();
  if (count > 0) { grouped[at] = x[(to - slot % STRIDE + place % u32(count)) * VECTORS + at % VECTORS]; }
}
