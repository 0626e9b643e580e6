// f16 played on a GPU that has none: an f16 tensor lies in memory as f32, and after each launch its numbers are rounded as f16 would have stored
// them, infinity included. So which numbers are stored in which type, and what that costs, is tested on any GPU; the types themselves are not.
import { bytesOf, type Dispatch, type GpuDevice, type GpuTensor } from '../../src/backend/webgpu/device.ts';
import type { Header } from '../../src/backend/webgpu/wgsl.ts';
import { gridOf } from '../../src/sparse3d/gpu-memory.ts';
import { elements } from '../../src/tensor.ts';

const ROUND = {
  name: 'round.wgsl',
  body: `
@group(0) @binding(0) var<uniform> count: vec4u;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let at = (group.y * groups.x + group.x) * 256 + lane;
  if (at < count.x) {
    x[at] = rounded(x[at]);
  }
}
fn rounded(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let size = bits & 0x7fffffffu;
  if (size < 0x38800000u) { // below 2^-14: multiples of 2^-24
    return round(x * 16777216.0) / 16777216.0;
  }
  if (size >= 0x477ff000u && size < 0x7f800000u) {
    return bitcast<f32>((bits & 0x80000000u) | 0x7f800000u);
  }
  return select(bitcast<f32>((bits + 0xfffu + ((bits >> 13) & 1u)) & ~0x1fffu), x, size >= 0x7f800000u);
}`,
};

const UNPACK = {
  name: 'unpack.wgsl',
  body: `
@group(0) @binding(0) var<uniform> count: vec4u;
@group(0) @binding(1) var<storage, read> halves: array<u32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let at = (group.y * groups.x + group.x) * 256 + lane;
  if (at < count.x) {
    x[at] = unpack2x16float(halves[at / 2])[at % 2];
  }
}`,
};

const asF32 = ({ enable, alias = {}, ...rest }: Header): Header => ({
  ...rest,
  enable: enable?.filter((name) => name !== 'f16'),
  alias: Object.fromEntries(Object.entries(alias).map(([name, type]) => [name, type.replace('f16', 'f32')])),
});

/** Lets a device play f16, for good; one that has it needs no playing. */
export function playF16(gpu: GpuDevice): GpuDevice {
  if (gpu.adapter.features.has('shader-f16')) return gpu;
  const { tensor, dispatch, copy, adapter } = gpu;
  const isPlayed = ({ dtype }: GpuTensor) => dtype === 'f16';
  const launch = (kernel: Dispatch['kernel'], tensors: readonly GpuTensor[], count: number) =>
    dispatch({ kernel, header: {}, tensors, uniform: new Uint32Array([count, 0, 0, 0]), workgroups: gridOf(count) });
  return Object.assign(gpu, {
    // What is staged as f16 takes twice its room here: more than the subgroups kernel leaves.
    adapter: { ...adapter, features: new Set([...adapter.features].filter((name) => name !== 'subgroups').concat('shader-f16')) },
    tensor: (shape, dtype) => (dtype === 'f16' ? Object.assign(tensor(shape, 'f32'), { dtype }) : tensor(shape, dtype)),
    dispatch(one) {
      dispatch({ ...one, header: asF32(one.header) });
      for (const own of new Set(one.tensors.filter(isPlayed))) launch(ROUND, [own], elements(own.shape));
    },
    copy(from, fromByte, to, toByte, bytes) {
      if (isPlayed(from) && isPlayed(to)) copy(from, 2 * fromByte, to, 2 * toByte, 2 * bytes);
      else if (isPlayed(to) && fromByte === 0 && toByte === 0 && bytes >= bytesOf(to)) launch(UNPACK, [from, to], elements(to.shape));
      else copy(from, fromByte, to, toByte, bytes);
    },
  } satisfies Partial<GpuDevice>);
}
