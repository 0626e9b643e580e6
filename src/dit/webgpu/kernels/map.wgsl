// y = f(a, b) for each element, over views of up to 8 axes: element `index` of a view lies at start + sum(index * stride). A cell is one number
// or four of the last axis; a view that does not change along that axis has single numbers. OP is one of the operations below.

const COPY = 0;
const ADD = 1;
const SUB = 2;
const MUL = 3;
const SILU = 4;
const GELU_TANH = 5;
const RELU = 6;
const TANH = 7;
const CLIP = 8;

struct Map {
  count: u32, rank: u32, startA: u32, startB: u32,
  startY: u32, low: f32, high: f32, spare: u32,
  sizes: array<vec4u, 2>, a: array<vec4u, 2>, b: array<vec4u, 2>, y: array<vec4u, 2>,
}

@group(0) @binding(0) var<uniform> call: Map;
@group(0) @binding(1) var<storage, read> a: array<CellA>;
@group(0) @binding(2) var<storage, read> b: array<CellB>;
@group(0) @binding(3) var<storage, read_write> y: array<CellY>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let cell = (group.y * groups.x + group.x) * 256 + lane;
  if (cell >= call.count) {
    return;
  }
  var rest = cell;
  var at = vec3u(call.startA, call.startB, call.startY);
  for (var axis = call.rank; axis > 0; axis--) {
    let four = (axis - 1) / 4;
    let part = (axis - 1) % 4;
    let size = call.sizes[four][part];
    at += rest % size * vec3u(call.a[four][part], call.b[four][part], call.y[four][part]);
    rest /= size;
  }
  y[at.z] = CellY(apply(Wide(WideA(a[at.x])), Wide(WideB(b[at.y]))));
}

fn apply(a: Wide, b: Wide) -> Wide {
  switch (OP) {
    case ADD: { return a + b; }
    case SUB: { return a - b; }
    case MUL: { return a * b; }
    case SILU: { return a / (1.0 + exp(min(-a, Wide(80.0)))); }
    case GELU_TANH: { return 0.5 * a * (1.0 + bounded(0.7978845608 * (a + 0.044715 * a * a * a))); }
    case RELU: { return max(a, Wide(0.0)); }
    case TANH: { return bounded(a); }
    case CLIP: { return clamp(a, Wide(call.low), Wide(call.high)); }
    default: { return a; }
  }
}

/** tanh, whose exponentials some GPUs let overflow. */
fn bounded(x: Wide) -> Wide {
  return tanh(clamp(x, Wide(-15.0), Wide(15.0)));
}
