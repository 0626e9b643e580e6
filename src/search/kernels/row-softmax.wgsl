// What kernels share in which a workgroup takes the softmax of one row of logits, in units of log2.
const THREADS = 256u;
const LOWEST = -3.4e38;

var<workgroup> reduced: array<f32, THREADS>;

/** The weight of a logit before it is divided by the row's sum; bounded, so that padding makes no denormal. */
fn weigh(logit: f32, largest: f32) -> f32 { return select(0.0, exp2(logit - largest), logit - largest > -126.0); }

/** The largest of what the threads bring. */
fn largestOf(own: f32, thread: u32) -> f32 {
  reduced[thread] = own;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) { reduced[thread] = max(reduced[thread], reduced[thread + step]); }
  }
  workgroupBarrier();
  let largest = reduced[0];
  workgroupBarrier();
  return largest;
}

/** The sum of what the threads bring. */
fn sumOf(own: f32, thread: u32) -> f32 {
  reduced[thread] = own;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) { reduced[thread] += reduced[thread + step]; }
  }
  workgroupBarrier();
  return reduced[0];
}
