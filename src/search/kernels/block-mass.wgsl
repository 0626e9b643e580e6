// Mass of block pairs: the sum over real rows and keys of exp(scale q.k - lse[row]). A workgroup takes as many whole blocks as fit in
// 64 x 64 slots, or 64 x 64 slots of one larger pair at a time; a thread takes 4 x 4 of them. block-tile.wgsl stands behind it.
// Header: Scalar; DIM, Q_BLOCK, K_BLOCK; SCALE, log2(e) / sqrt(dim).
struct Sizes { qBlocks: u32, kBlocks: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> q: array<vec4<Scalar>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<Scalar>>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> qCounts: array<i32>;
@group(0) @binding(5) var<storage, read> kCounts: array<i32>;
@group(0) @binding(6) var<storage, read_write> mass: array<f32>;

const LOG2E = 1.4426950408889634;
const NEVER = -1e30;
// Blocks that a tile takes together, and their slots.
const Q_TOGETHER = max(1u, SIDE / Q_BLOCK);
const K_TOGETHER = max(1u, SIDE / K_BLOCK);
const Q_SPAN = Q_TOGETHER * Q_BLOCK;
const K_SPAN = K_TOGETHER * K_BLOCK;

var<workgroup> rowShift: array<f32, SIDE>;
var<workgroup> keyShift: array<f32, SIDE>;
var<workgroup> sums: array<f32, 256>;

// exp2 of logits; bounded so that a stale log-sum-exp makes neither infinity nor a denormal.
fn weigh(logits: vec4f, row: u32, keys: vec4f) -> f32 {
  return dot(exp2(clamp(logits * SCALE + rowShift[row] + keys, vec4f(-160.0), vec4f(100.0))), vec4f(1.0));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let head = group.z;
  let firstQ = group.y * Q_TOGETHER;
  let firstK = group.x * K_TOGETHER;
  let tx = thread % 16u;
  let ty = thread / 16u;
  let staged = thread / 4u;
  var sum = 0.0;
  for (var fromQ = 0u; fromQ < Q_SPAN; fromQ += SIDE) {
    for (var fromK = 0u; fromK < K_SPAN; fromK += SIDE) {
      let rowAt = fromQ + staged;
      let keyAt = fromK + staged;
      let rowBlock = firstQ + rowAt / Q_BLOCK;
      let keyBlock = firstK + keyAt / K_BLOCK;
      let row = head * sizes.qBlocks * Q_BLOCK + firstQ * Q_BLOCK + rowAt;
      let key = head * sizes.kBlocks * K_BLOCK + firstK * K_BLOCK + keyAt;
      let rowReal = rowAt < Q_SPAN && rowBlock < sizes.qBlocks && i32(rowAt % Q_BLOCK) < qCounts[min(rowBlock, sizes.qBlocks - 1u)];
      let keyReal = keyAt < K_SPAN && keyBlock < sizes.kBlocks && i32(keyAt % K_BLOCK) < kCounts[min(keyBlock, sizes.kBlocks - 1u)];
      workgroupBarrier();
      if (thread % 4u == 0u) {
        rowShift[staged] = NEVER;
        if (rowReal) { rowShift[staged] = -LOG2E * lse[row]; }
        keyShift[staged] = select(NEVER, 0.0, keyReal);
      }
      let logits = product(thread, select(-1, i32(row), rowReal), select(-1, i32(key), keyReal));
      let keys = vec4f(keyShift[4u * tx], keyShift[4u * tx + 1u], keyShift[4u * tx + 2u], keyShift[4u * tx + 3u]);
      sum += weigh(logits[0], 4u * ty, keys) + weigh(logits[1], 4u * ty + 1u, keys)
        + weigh(logits[2], 4u * ty + 2u, keys) + weigh(logits[3], 4u * ty + 3u, keys);
    }
  }
  sums[thread] = sum;
  workgroupBarrier();
  // Along the keys of each block, then along the rows of each block.
  var along = 0.0;
  if (tx < K_TOGETHER) {
    for (var at = tx * K_BLOCK / 4u; at < min(16u, (tx + 1u) * K_BLOCK / 4u); at++) { along += sums[ty * 16u + at]; }
  }
  workgroupBarrier();
  sums[thread] = along;
  workgroupBarrier();
  let pairQ = firstQ + ty;
  let pairK = firstK + tx;
  if (ty < Q_TOGETHER && tx < K_TOGETHER && pairQ < sizes.qBlocks && pairK < sizes.kBlocks) {
    var total = 0.0;
    for (var at = ty * Q_BLOCK / 4u; at < min(16u, (ty + 1u) * Q_BLOCK / 4u); at++) { total += sums[at * 16u + tx]; }
    mass[(head * sizes.qBlocks + pairQ) * sizes.kBlocks + pairK] = total;
  }
}
