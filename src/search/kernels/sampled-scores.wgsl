// Scores of the query blocks `first ...` from peaks, in units of log2, of their drawn rows: the most of a block's rows of a key block's peak, less the
// row's largest if RELATIVE; then SHARES of the sum of its exp2, or the natural logit. One workgroup makes one query block's scores; peaks are [heads, kBlocks, query blocks * Q_DRAWN].
// Header: RELATIVE, SHARES; Q_DRAWN; LANES, a power of two up to 256, that look at the rows.
struct Sizes { qBlocks: u32, first: u32, blocks: u32, kBlocks: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> peaks: array<f32>;
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;

const THREADS = 256u;
const LOWEST = -3.4e38;
const LN2 = 0.6931471805599453;

var<workgroup> reduced: array<f32, THREADS>;
var<workgroup> rowPeaks: array<f32, Q_DRAWN>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let rows = sizes.blocks * Q_DRAWN;
  let begin = group.y * sizes.kBlocks * rows + group.x * Q_DRAWN;
  for (var first = 0u; first < Q_DRAWN; first += LANES) {
    let row = first + thread % LANES;
    var largest = LOWEST;
    if (row < Q_DRAWN) {
      for (var block = thread / LANES; block < sizes.kBlocks; block += THREADS / LANES) { largest = max(largest, peaks[begin + block * rows + row]); }
    }
    reduced[thread] = largest;
    for (var step = THREADS / 2u; step >= LANES; step /= 2u) {
      workgroupBarrier();
      if (thread < step) { reduced[thread] = max(reduced[thread], reduced[thread + step]); }
    }
    if (thread < LANES && row < Q_DRAWN) { rowPeaks[row] = reduced[thread]; }
    workgroupBarrier();
  }
  let to = (group.y * sizes.qBlocks + sizes.first + group.x) * sizes.kBlocks;
  var sum = 0.0;
  for (var block = thread; block < sizes.kBlocks; block += THREADS) {
    var best = LOWEST;
    for (var row = 0u; row < Q_DRAWN; row++) { best = max(best, peaks[begin + block * rows + row] - select(0.0, rowPeaks[row], RELATIVE)); }
    let score = select(best * LN2, exp2(max(best, -160.0)), SHARES);
    scores[to + block] = score;
    sum += score;
  }
  if (!SHARES) { return; }
  reduced[thread] = sum;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) { reduced[thread] += reduced[thread + step]; }
  }
  workgroupBarrier();
  let total = reduced[0];
  for (var block = thread; block < sizes.kBlocks; block += THREADS) { scores[to + block] /= total; }
}
