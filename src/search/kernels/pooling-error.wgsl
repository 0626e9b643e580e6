// How wrong a row is when it reads a block as its mean: from logits [heads, rows, keys] in units of log2 to rows `first ...` of
// [heads, allRows, blocks]. The sum over real tokens j of |s v - w_j v_j|^2 / tokens, where w are the row's weights, s the weight of the mean key
// and v the mean value, is that of (s - w_j)^2 v.v_j + w_j^2 (v_j.v_j - v.v_j). One workgroup takes one row. row-softmax.wgsl stands
// behind it.
// Header: BLOCK; VALUED, or all values count as one and the same.
struct Sizes { rows: u32, blocks: u32, allRows: u32, first: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> counts: array<i32>;
// [heads, keys]: v.v_j and v_j.v_j - v.v_j
@group(0) @binding(3) var<storage, read> moments: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> errors: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let keys = sizes.blocks * BLOCK;
  let head = group.y;
  let begin = (head * sizes.rows + group.x) * keys;
  var most = LOWEST;
  for (var key = thread; key < keys; key += THREADS) { most = max(most, logits[begin + key]); }
  let largest = largestOf(most, thread);
  var sum = 0.0;
  for (var key = thread; key < keys; key += THREADS) { sum += weigh(logits[begin + key], largest); }
  let total = sumOf(sum, thread);
  for (var block = thread; block < sizes.blocks; block += THREADS) {
    let start = block * BLOCK;
    let count = u32(counts[block]);
    var mean = 0.0;
    for (var key = start; key < start + count; key++) { mean += logits[begin + key] / f32(count); }
    let pooled = weigh(mean, largest) / total;
    var error = 0.0;
    for (var key = start; key < start + count; key++) {
      let weight = weigh(logits[begin + key], largest) / total;
      let gap = pooled - weight;
      if (VALUED) {
        let moment = moments[head * keys + key];
        error += gap * gap * moment.x + weight * weight * moment.y;
      } else {
        error += gap * gap;
      }
    }
    errors[(head * sizes.allRows + sizes.first + group.x) * sizes.blocks + block] = max(error, 0.0) / max(f32(count), 1.0);
  }
}
