// The product of 64 rows of q and 64 keys by 256 threads, 4 x 4 logits each, for kernels that bind q and k. Header: Scalar, DIM.

const SIDE = 64u;
const VECTORS = u32(DIM / 4);
// Four vectors of a row are staged at a time, and one of padding keeps the threads on different banks.
const STAGED = 4u;
const STRIDE = STAGED + 1u;

var<workgroup> qTile: array<vec4f, SIDE * STRIDE>;
var<workgroup> kTile: array<vec4f, SIDE * STRIDE>;

// Logits of rows 4 (thread / 16) ... and keys 4 (thread % 16) ... of the tile. A thread stages row and key thread / 4 of the tile: `row` of q and
// `key` of k, or zeros where they are negative.
fn product(thread: u32, row: i32, key: i32) -> mat4x4f {
  let tx = thread % 16u;
  let ty = thread / 16u;
  // A tile's row r lies at 16 (r mod 4) + r / 4, so that the four rows of a thread are 16 apart and neighbours read neighbours.
  let column = thread % 4u;
  let place = (thread / 4u % 4u * 16u + thread / 16u) * STRIDE + column;
  var logits = mat4x4f();
  for (var chunk = 0u; chunk < VECTORS; chunk += STAGED) {
    var a = vec4f(0.0);
    var b = vec4f(0.0);
    if (chunk + column < VECTORS) {
      if (row >= 0) { a = vec4f(q[u32(row) * VECTORS + chunk + column]); }
      if (key >= 0) { b = vec4f(k[u32(key) * VECTORS + chunk + column]); }
    }
    workgroupBarrier();
    qTile[place] = a;
    kTile[place] = b;
    workgroupBarrier();
    for (var at = 0u; at < STAGED; at++) {
      let four = mat4x4f(kTile[tx * STRIDE + at], kTile[(16u + tx) * STRIDE + at], kTile[(32u + tx) * STRIDE + at], kTile[(48u + tx) * STRIDE + at]);
      logits[0] += qTile[ty * STRIDE + at] * four;
      logits[1] += qTile[(16u + ty) * STRIDE + at] * four;
      logits[2] += qTile[(32u + ty) * STRIDE + at] * four;
      logits[3] += qTile[(48u + ty) * STRIDE + at] * four;
    }
  }
  return logits;
}
