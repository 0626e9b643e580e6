// Each row as one number: the sum or mean of its finite numbers, its largest number, or where that is. One workgroup takes one row. Numbers are
// handled as bits, because a shader may take infinities for impossible. Header: LARGEST; PLACE, with it; MEAN.
struct Sizes { rows: u32, size: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> reduced: array<u32>;

const THREADS = 128u;
const EXPONENT = 0x7f800000u;
const FORBIDDEN = 0xff800000u;

var<workgroup> best: array<vec2u, THREADS>;
var<workgroup> sums: array<vec2f, THREADS>;

// Rises with the number; one that is none is last.
fn keyOf(bits: u32) -> u32 {
  if ((bits & EXPONENT) == EXPONENT && (bits << 9u) != 0u) { return 0u; }
  if ((bits << 1u) == 0u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn better(a: vec2u, b: vec2u) -> vec2u {
  if (b.x > a.x || (b.x == a.x && b.y < a.y)) { return b; }
  return a;
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= sizes.rows) { return; }
  let begin = row * sizes.size;
  var own = vec2u(0u, sizes.size);
  var sum = vec2f(0.0);
  for (var at = thread; at < sizes.size; at += THREADS) {
    let bits = x[begin + at];
    if (LARGEST) {
      own = better(own, vec2u(keyOf(bits), at));
    } else if ((bits & EXPONENT) != EXPONENT) {
      sum += vec2f(bitcast<f32>(bits), 1.0);
    }
  }
  best[thread] = own;
  sums[thread] = sum;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      best[thread] = better(best[thread], best[thread + step]);
      sums[thread] += sums[thread + step];
    }
  }
  if (thread > 0u) { return; }
  if (LARGEST) {
    let bits = select(x[begin + best[0].y], FORBIDDEN, best[0].x == 0u);
    reduced[row] = select(bits, best[0].y, PLACE);
  } else {
    reduced[row] = bitcast<u32>(sums[0].x / select(1.0, max(1.0, sums[0].y), MEAN));
  }
}
