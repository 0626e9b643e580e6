// Convolution in three dimensions, a thread for each output: x [batch, inputs, t, h, w], weight [outputs, inputs, kt, kh, kw], zeros around x.

struct Conv {
  count: u32, inputs: u32, outputs: u32, spare: u32,
  size: vec3u, kernel: vec3u, out: vec3u, stride: vec3u, pad: vec3u,
}

@group(0) @binding(0) var<uniform> call: Conv;
@group(0) @binding(1) var<storage, read> x: array<Scalar>;
@group(0) @binding(2) var<storage, read> weight: array<Weight>;
@group(0) @binding(3) var<storage, read> bias: array<Bias>;
@group(0) @binding(4) var<storage, read_write> y: array<Scalar>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let at = (group.y * groups.x + group.x) * 256 + lane;
  if (at >= call.count) {
    return;
  }
  let plane = call.out.x * call.out.y * call.out.z;
  let channel = at / plane % call.outputs;
  let batch = at / plane / call.outputs;
  let place = vec3u(at / (call.out.y * call.out.z) % call.out.x, at / call.out.z % call.out.y, at % call.out.z);
  let corner = vec3i(place * call.stride) - vec3i(call.pad);
  var sum = 0.0;
  if (BIAS) {
    sum = f32(bias[channel]);
  }
  for (var input = 0u; input < call.inputs; input++) {
    let image = (batch * call.inputs + input) * call.size.x;
    let taps = (channel * call.inputs + input) * call.kernel.x;
    for (var t = 0u; t < call.kernel.x; t++) {
      for (var h = 0u; h < call.kernel.y; h++) {
        for (var w = 0u; w < call.kernel.z; w++) {
          let source = vec3u(corner + vec3i(vec3u(t, h, w))); // negative places become large
          if (all(source < call.size)) {
            let value = f32(x[((image + source.x) * call.size.y + source.y) * call.size.z + source.z]);
            sum = fma(value, f32(weight[((taps + t) * call.kernel.y + h) * call.kernel.z + w]), sum);
          }
        }
      }
    }
  }
  y[at] = Scalar(sum);
}
