// What kernels share in which a workgroup takes the tokens of one label: these, in rising order, CHUNK tokens at a time. The body before it binds
// `labels`.
const THREADS = 256u;
const EACH = 8u;
const CHUNK = THREADS * EACH;

var<workgroup> members: array<u32, CHUNK>;
var<workgroup> found: array<u32, THREADS>;

/** Lists in `members` which of CHUNK tokens from `start` on have the label, of a head whose labels are from `base` on; how many. */
fn membersOf(label: u32, base: u32, start: u32, tokens: u32, thread: u32) -> u32 {
  var mask = 0u;
  let first = start + thread * EACH;
  for (var at = 0u; at < EACH; at++) {
    if (first + at < tokens && u32(labels[base + first + at]) == label) { mask |= 1u << at; }
  }
  let own = countOneBits(mask);
  workgroupBarrier();
  found[thread] = own;
  for (var step = 1u; step < THREADS; step *= 2u) {
    workgroupBarrier();
    var left = 0u;
    if (thread >= step) { left = found[thread - step]; }
    workgroupBarrier();
    found[thread] += left;
  }
  workgroupBarrier();
  var to = found[thread] - own;
  for (var at = 0u; at < EACH; at++) {
    if (((mask >> at) & 1u) == 1u) {
      members[to] = first + at;
      to++;
    }
  }
  workgroupBarrier();
  return found[THREADS - 1u];
}
