// The coarsest pool factor whose mean cosine is above its bound, for each key block. One workgroup takes one block, a thread a group of tokens.
// Header: Scalar; DIM, BLOCK, POOLS.
struct Sizes { blocks: u32, pools: array<vec4f, POOLS> } // pool factor and bound

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> k: array<vec4<Scalar>>;
@group(0) @binding(2) var<storage, read> counts: array<i32>;
@group(0) @binding(3) var<storage, read_write> caps: array<i32>;

const THREADS = 64u;
const VECTORS = u32(DIM / 4);

var<workgroup> sums: array<f32, THREADS>;

fn cosine(a: u32, b: u32) -> f32 {
  var product = 0.0;
  var squares = vec2f(0.0);
  for (var at = 0u; at < VECTORS; at++) {
    let x = vec4f(k[a * VECTORS + at]);
    let y = vec4f(k[b * VECTORS + at]);
    product += dot(x, y);
    squares += vec2f(dot(x, x), dot(y, y));
  }
  if (squares.x <= 0.0 || squares.y <= 0.0) { return 0.0; }
  return clamp(product / (sqrt(squares.x) * sqrt(squares.y)), -1.0, 1.0);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let block = group.y * sizes.blocks + group.x;
  let count = u32(counts[group.x]);
  var cap = 1;
  for (var at = 0u; at < POOLS; at++) {
    let pool = u32(sizes.pools[at].x);
    // A last group of one token is alike to itself and does not count.
    let groups = (count + pool - 2u) / pool;
    var sum = 0.0;
    for (var one = thread; one < groups; one += THREADS) {
      sum += cosine(block * BLOCK + one * pool, block * BLOCK + min((one + 1u) * pool, count) - 1u);
    }
    workgroupBarrier();
    sums[thread] = sum;
    for (var step = THREADS / 2u; step > 0u; step /= 2u) {
      workgroupBarrier();
      if (thread < step) { sums[thread] += sums[thread + step]; }
    }
    if (thread == 0u) {
      let mean = select(sums[0] / f32(max(groups, 1u)), 1.0, groups == 0u);
      if (i32(pool) > cap && mean > sizes.pools[at].y) { cap = i32(pool); }
    }
  }
  if (thread == 0u) { caps[block] = cap; }
}
