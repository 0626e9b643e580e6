// The center at the least distance from each token, the first of equal ones: of x [heads, rows, DIM] and centers [heads, centers, DIM] to labels
// [heads, tokens]. A thread takes one token, centers are staged TOGETHER at a time.
// Header: Scalar; DIM; TOGETHER.
struct Sizes { tokens: u32, rows: u32, centers: u32, spare: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<vec4<Scalar>>;
@group(0) @binding(2) var<storage, read> centers: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> labels: array<i32>;

const THREADS = 64u;
const VECTORS = u32(DIM) / 4u;

var<workgroup> staged: array<vec4f, u32(TOGETHER) * VECTORS>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let head = group.y;
  let token = group.x * THREADS + thread;
  let begin = (head * sizes.rows + min(token, sizes.tokens - 1u)) * VECTORS;
  var own: array<vec4f, VECTORS>;
  for (var at = 0u; at < VECTORS; at++) { own[at] = vec4f(x[begin + at]); }
  var best = 0u;
  var most = -3.4e38;
  for (var first = 0u; first < sizes.centers; first += u32(TOGETHER)) {
    let count = min(u32(TOGETHER), sizes.centers - first);
    workgroupBarrier();
    for (var at = thread; at < count * VECTORS; at += THREADS) { staged[at] = centers[(head * sizes.centers + first) * VECTORS + at]; }
    workgroupBarrier();
    for (var center = 0u; center < count; center++) {
      // x.c - c.c / 2 is largest where |x - c| is least.
      var near = 0.0;
      for (var at = 0u; at < VECTORS; at++) {
        let part = staged[center * VECTORS + at];
        near += dot(part, own[at] - 0.5 * part);
      }
      if (near > most) {
        most = near;
        best = first + center;
      }
    }
  }
  if (token < sizes.tokens) { labels[head * sizes.tokens + token] = i32(best); }
}
