// The largest logit of each row and key block, in units of log2: peaks [heads, kBlocks, rows] of rows `first ...` of all rows. A workgroup takes
// 64 rows and as many whole blocks as fit in 64 keys, or one larger block; a thread takes 4 x 4 logits. block-tile.wgsl stands behind it.
// Header: Scalar; DIM; K_DRAWN, a power of two from 4 up; SCALE, log2(e) / sqrt(dim).
struct Sizes { allRows: u32, first: u32, rows: u32, kBlocks: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> q: array<vec4<Scalar>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<Scalar>>;
@group(0) @binding(3) var<storage, read_write> peaks: array<f32>;

const LOWEST = -3.4e38;
const K_TOGETHER = max(1u, SIDE / K_DRAWN);
const K_SPAN = K_TOGETHER * K_DRAWN;

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
  let staged = thread / 4u;
  var best = vec4f(LOWEST);
  for (var begin = 0u; begin < K_SPAN; begin += SIDE) {
    let row = min(firstRow + staged, sizes.rows - 1u) + sizes.first;
    let key = min(firstK * K_DRAWN + begin + staged, keys - 1u);
    let logits = product(thread, i32(head * sizes.allRows + row), i32(head * keys + key));
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
