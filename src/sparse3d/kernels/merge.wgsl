// Two attentions over different keys as the one over all of them: rows weighed by their log-sum-exps. A workgroup takes four rows, 64 threads each.
struct Merge { rows: u32, dim: u32 }

@group(0) @binding(0) var<uniform> sizes: Merge;
@group(0) @binding(1) var<storage, read> a: array<Scalar>;
@group(0) @binding(2) var<storage, read> lseA: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<Scalar>;
@group(0) @binding(4) var<storage, read> lseB: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<Scalar>;
@group(0) @binding(6) var<storage, read_write> lse: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = (group.y * groups.x + group.x) * 4u + thread / 64u;
  if (row >= sizes.rows) { return; }
  // How far b is above a; beyond what f32 tells apart one has it all.
  let gap = clamp(lseB[row] - lseA[row], -80.0, 80.0);
  let share = 1.0 / (1.0 + exp(gap));
  for (var at = row * sizes.dim + thread % 64u; at < (row + 1u) * sizes.dim; at += 64u) {
    out[at] = Scalar(f32(b[at]) + share * (f32(a[at]) - f32(b[at])));
  }
  if (thread % 64u == 0u) { lse[row] = max(lseA[row], lseB[row]) + log(1.0 + exp(-abs(gap))); }
}
