// What the kernels of selection share: sort keys of scores, shares of a count, sums over threads. Scores are handled as bits, because a shader may
// take infinities for impossible.
struct Selection {
  first: u32, rows: u32, qBlocks: u32, kBlocks: u32, width: u32, floor: f32, ceiling: f32,
  levels: array<vec4f, LEVELS>, // cut, pool factor, margin
}

const THREADS = 256u;
const FORCED = 0u;
const FORBIDDEN = 0xffffffffu;

var<workgroup> sums: array<f32, THREADS>;

// Rises as the score falls.
fn keyOf(bits: u32) -> u32 {
  if (bits == 0x7f800000u) { return FORCED; }
  if ((bits & 0x7f800000u) == 0x7f800000u) { return FORBIDDEN; }
  if ((bits << 1u) == 0u) { return 0x7fffffffu; }
  return select(0x7fffffffu - bits, bits, (bits & 0x80000000u) != 0u);
}

// The score of an open block's key.
fn scoreOf(key: u32) -> f32 { return bitcast<f32>(select(0x7fffffffu - key, key, (key & 0x80000000u) != 0u)); }

// Sum over the threads up to this one; `sums` then holds those of all of them.
fn scan(thread: u32, value: f32) -> f32 {
  workgroupBarrier();
  sums[thread] = value;
  for (var step = 1u; step < THREADS; step *= 2u) {
    workgroupBarrier();
    var left = 0.0;
    if (thread >= step) { left = sums[thread - step]; }
    workgroupBarrier();
    sums[thread] += left;
  }
  workgroupBarrier();
  return sums[thread];
}

// ceil(share * count), forgiving the rounding of shares such as 1 - 0.7.
fn ceilShare(share: f32, count: u32) -> u32 { return u32(ceil(max(0.0, share * f32(count) * (1.0 - 1e-6)))); }
