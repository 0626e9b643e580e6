// The largest logit of each row and key block, in units of log2: peaks [heads, kBlocks, rows] of rows `first ...` of all rows. A workgroup takes
// 64 rows and as many whole blocks as fit in 64 keys, or one larger block; a thread takes 4 x 4 logits.
// Header: Scalar; DIM; K_DRAWN, a power of two from 4 up; SCALE, log2(e) / sqrt(dim).
struct Sizes { allRows: u32, first: u32, rows: u32, kBlocks: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> q: array<vec4<Scalar>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<Scalar>>;
@group(0) @binding(3) var<storage, read_write> peaks: array<f32>;

const SIDE = 64u;
const LOWEST = -3.4e38;
const K_TOGETHER = max(1u, SIDE / K_DRAWN);
const K_SPAN = K_TOGETHER * K_DRAWN;
const VECTORS = u32(DIM / 4);
// Four vectors of a row are staged at a time, and one of padding keeps the threads on different banks.
const STAGED = 4u;
const STRIDE = STAGED + 1u;

var<workgroup> qTile: array<vec4f, SIDE * STRIDE>;
var<workgroup> kTile: array<vec4f, SIDE * STRIDE>;
// [16 groups of 4 keys, SIDE rows]
var<workgroup> largest: array<f32, 16u * SIDE>;

fn most(x: vec4f) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let head = group.z;
  let firstRow = group.y * SIDE;
  let firstK = group.x * K_TOGETHER;
  let keys = sizes.kBlocks * K_DRAWN;
  let tx = thread % 16u;
  let ty = thread / 16u;
  // A tile's row r lies at 16 (r mod 4) + r / 4, so that the four rows of a thread are 16 apart and neighbours read neighbours.
  let staged = thread / 4u;
  let column = thread % 4u;
  let place = ((staged % 4u) * 16u + staged / 4u) * STRIDE + column;
  var best = vec4f(LOWEST);
  for (var begin = 0u; begin < K_SPAN; begin += SIDE) {
    let row = min(firstRow + staged, sizes.rows - 1u) + sizes.first;
    let key = min(firstK * K_DRAWN + begin + staged, keys - 1u);
    var logits = mat4x4f();
    for (var chunk = 0u; chunk < VECTORS; chunk += STAGED) {
      workgroupBarrier();
      var a = vec4f(0.0);
      var b = vec4f(0.0);
      if (chunk + column < VECTORS) {
        a = vec4f(q[(head * sizes.allRows + row) * VECTORS + chunk + column]);
        b = vec4f(k[(head * keys + key) * VECTORS + chunk + column]);
      }
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
    best = max(best, vec4f(most(logits[0]), most(logits[1]), most(logits[2]), most(logits[3])));
  }
  for (var at = 0u; at < 4u; at++) { largest[tx * SIDE + 4u * ty + at] = best[at]; }
  workgroupBarrier();
  for (var at = thread; at < K_TOGETHER * SIDE; at += 256u) {
    let row = firstRow + at % SIDE;
    let block = firstK + at / SIDE;
    if (row < sizes.rows && block < sizes.kBlocks) {
      var peak = LOWEST;
      for (var part = at / SIDE * K_DRAWN / 4u; part < min(16u, (at / SIDE + 1u) * K_DRAWN / 4u); part++) {
        peak = max(peak, largest[part * SIDE + at % SIDE]);
      }
      peaks[(head * sizes.kBlocks + block) * sizes.rows + row] = peak * SCALE;
    }
  }
}
