// scale * a.b of small f32 tables: [heads, n, depth] x [heads or 1, m, depth] -> [heads, n, m]. A workgroup makes 32 x 32 numbers, a thread
// 2 x 2 of them.
struct Sizes { n: u32, m: u32, depth: u32, bStride: u32, scale: f32 } // bStride: numbers of b from head to head, 0 where all share one

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> product: array<f32>;

const SIDE = 32u;
const DEPTH = 16u;
// One more than the depth, so that neighbours lie on different banks.
const STRIDE = DEPTH + 1u;

var<workgroup> aTile: array<f32, SIDE * STRIDE>;
var<workgroup> bTile: array<f32, SIDE * STRIDE>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let firstRow = group.y * SIDE;
  let firstColumn = group.x * SIDE;
  let tx = thread % 16u;
  let ty = thread / 16u;
  var sums = mat2x2f();
  for (var first = 0u; first < sizes.depth; first += DEPTH) {
    workgroupBarrier();
    for (var at = thread; at < SIDE * DEPTH; at += 256u) {
      let line = at / DEPTH;
      let depth = first + at % DEPTH;
      var numbers = vec2f(0.0);
      if (depth < sizes.depth) {
        let row = firstRow + line;
        let column = firstColumn + line;
        if (row < sizes.n) { numbers.x = a[(group.z * sizes.n + row) * sizes.depth + depth]; }
        if (column < sizes.m) { numbers.y = b[group.z * sizes.bStride + column * sizes.depth + depth]; }
      }
      aTile[line * STRIDE + at % DEPTH] = numbers.x;
      bTile[line * STRIDE + at % DEPTH] = numbers.y;
    }
    workgroupBarrier();
    for (var at = 0u; at < DEPTH; at++) {
      let columns = vec2f(bTile[tx * STRIDE + at], bTile[(tx + 16u) * STRIDE + at]);
      sums[0] += aTile[ty * STRIDE + at] * columns;
      sums[1] += aTile[(ty + 16u) * STRIDE + at] * columns;
    }
  }
  for (var half = 0u; half < 2u; half++) {
    let row = firstRow + ty + 16u * half;
    if (row >= sizes.n) { continue; }
    let to = (group.z * sizes.n + row) * sizes.m;
    let numbers = sums[half] * sizes.scale;
    if (firstColumn + tx < sizes.m) { product[to + firstColumn + tx] = numbers.x; }
    if (firstColumn + tx + 16u < sizes.m) { product[to + firstColumn + tx + 16u] = numbers.y; }
  }
}
