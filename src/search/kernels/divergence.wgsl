// The square root of the Jensen-Shannon divergence of two rows of shares, in nats: [rows, size] twice -> [rows]. One workgroup takes one row.
struct Sizes { rows: u32, size: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> far: array<f32>;

const THREADS = 128u;

var<workgroup> sums: array<f32, THREADS>;

fn part(share: f32, middle: f32) -> f32 { return select(0.0, share * log(share / middle), share > 0.0 && middle > 0.0); }

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= sizes.rows) { return; }
  var sum = 0.0;
  for (var at = thread; at < sizes.size; at += THREADS) {
    let x = a[row * sizes.size + at];
    let y = b[row * sizes.size + at];
    let middle = (x + y) / 2.0;
    sum += part(x, middle) + part(y, middle);
  }
  sums[thread] = sum;
  for (var step = THREADS / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) { sums[thread] += sums[thread + step]; }
  }
  if (thread == 0u) { far[row] = sqrt(max(sums[0], 0.0) / 2.0); }
}
