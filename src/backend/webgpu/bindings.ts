// What is bound for a launch: its uniform and its tensors, and what is kept of both where the launch is repeated.
import type { Dispatch, LaunchMemory } from './device.ts';
import type { Compiled } from './pipelines.ts';

/** The tensors of a launch, behind its uniform. */
export function bind(device: GPUDevice, { layout }: Compiled, { kernel, tensors }: Dispatch, uniform?: GPUBufferBinding): GPUBindGroup {
  const entries: GPUBindGroupEntry[] = uniform ? [{ binding: 0, resource: uniform }] : [];
  for (const [index, { lent }] of tensors.entries())
    entries.push({ binding: index + 1, resource: { buffer: lent.buffer, size: lent.bytes } });
  return device.createBindGroup({ label: kernel.name, layout, entries });
}

/** The uniform of a repeated launch, written once. */
export function keptUniform(device: GPUDevice, memory: LaunchMemory, data: Uint32Array | Float32Array | Int32Array): GPUBufferBinding {
  if (!memory.uniform) {
    const size = Math.ceil(data.byteLength / 16) * 16;
    memory.uniform = device.createBuffer({ size, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    device.queue.writeBuffer(memory.uniform, 0, data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  }
  return { buffer: memory.uniform };
}

const KEPT_BINDINGS = 4;

/** The bindings of a repeated launch, made anew where its tensors came in other buffers. */
export function keptBindings(
  device: GPUDevice,
  compiled: Compiled,
  launch: Dispatch,
  memory: LaunchMemory,
  uniform?: GPUBufferBinding,
): GPUBindGroup {
  const { tensors } = launch;
  const known = memory.bindings?.find(({ buffers }) => buffers.every((buffer, index) => buffer === tensors[index].lent.buffer));
  if (known) return known.group;
  const made = { buffers: tensors.map(({ lent }) => lent.buffer), group: bind(device, compiled, launch, uniform) };
  memory.bindings = [made, ...(memory.bindings ?? [])].slice(0, KEPT_BINDINGS);
  return made.group;
}
