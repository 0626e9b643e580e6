// Which subgroup of its workgroup an invocation is in. WGSL does not say how invocations are spread over subgroups, so subgroups draw numbers.

var<workgroup> drawnNumbers: atomic<u32>;

/** A number from 0 on, the same for all lanes of a subgroup and for no others. To be asked once, by all invocations. */
fn subgroupOf(lane: u32) -> u32 {
  var number = 0u;
  if (lane == 0) {
    number = atomicAdd(&drawnNumbers, 1);
  }
  return subgroupBroadcastFirst(number);
}
