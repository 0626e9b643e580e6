// The mean of the tokens of each label: x [heads, rows, DIM] to f32 [heads, labels, DIM]; a label without tokens keeps its center. A workgroup takes
// one label, a thread one number of the mean. label-members.wgsl stands behind it.
// Header: Scalar; DIM, at most 256.
struct Sizes { tokens: u32, rows: u32, labels: u32, spare: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<Scalar>;
@group(0) @binding(2) var<storage, read> labels: array<i32>;
@group(0) @binding(3) var<storage, read> centers: array<f32>;
@group(0) @binding(4) var<storage, read_write> means: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let head = group.y;
  var sum = 0.0;
  var count = 0u;
  for (var start = 0u; start < sizes.tokens; start += CHUNK) {
    let more = membersOf(group.x, head * sizes.tokens, start, sizes.tokens, thread);
    count += more;
    if (thread < u32(DIM)) {
      for (var at = 0u; at < more; at++) { sum += f32(x[(head * sizes.rows + members[at]) * u32(DIM) + thread]); }
    }
  }
  if (thread < u32(DIM)) {
    let to = (head * sizes.labels + group.x) * u32(DIM) + thread;
    means[to] = select(sum / f32(max(count, 1u)), centers[to], count == 0u);
  }
}
