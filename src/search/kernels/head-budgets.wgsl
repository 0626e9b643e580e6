// Head budgets of AdaSpa: as many of the best heads as recall more than the threshold, at most half of all, give `shift` of their share to as
// many of the worst. A thread takes one head and counts those before it.
struct Sizes { heads: u32, threshold: f32, shift: f32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> recall: array<f32>;
@group(0) @binding(2) var<storage, read_write> budgets: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let head = id.x;
  if (head >= sizes.heads) { return; }
  let own = recall[head];
  var above = 0u;
  var before = 0u;
  for (var other = 0u; other < sizes.heads; other++) {
    let share = recall[other];
    above += u32(share > sizes.threshold);
    before += u32(share > own || (share == own && other < head));
  }
  let moved = min(above, sizes.heads / 2u);
  var budget = 1.0;
  if (before < moved) { budget = 1.0 - sizes.shift; }
  if (before + moved >= sizes.heads) { budget = 1.0 + sizes.shift; }
  budgets[head] = budget;
}
