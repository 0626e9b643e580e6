// The command queue: launches are recorded in one pass until somebody reads or writes, their uniforms in one buffer that is written just
// before they are submitted.

/** What one launch took on the GPU. */
export interface Timed {
  readonly kernel: string;
  readonly milliseconds: number;
}

export interface CommandQueue {
  /** An encoder between passes, for copies. */
  encoder(): GPUCommandEncoder;
  /** Room for a uniform of at most 256 bytes, valid for the launch that comes next. */
  uniform(data: Uint32Array | Float32Array | Int32Array): GPUBufferBinding;
  dispatch(
    name: string,
    pipeline: GPUComputePipeline,
    bindings: GPUBindGroup,
    workgroups: readonly [x: number, y?: number, z?: number],
  ): void;
  /** Submits what was recorded. */
  flush(): void;
  /** Times every launch from here on; the function that it returns ends this, submits and waits for the times. */
  profile(): () => Promise<Timed[]>;
}

const SLOT = 256;
const SLOTS = 1024;
const LAUNCHES_PROFILED = 2048;

interface Stamps {
  readonly set: GPUQuerySet;
  readonly names: string[];
}

export function commandQueue(device: GPUDevice): CommandQueue {
  const uniforms = device.createBuffer({ size: SLOT * SLOTS, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  const host = new Uint8Array(SLOT * SLOTS);
  let slots = 0;
  let encoder: GPUCommandEncoder | undefined;
  let pass: GPUComputePassEncoder | undefined;
  let stamps: Stamps | undefined;

  const endPass = () => {
    pass?.end();
    pass = undefined;
  };
  const open = () => {
    encoder ??= device.createCommandEncoder();
    return encoder;
  };
  const flush = () => {
    endPass();
    if (!encoder) return;
    if (slots > 0) device.queue.writeBuffer(uniforms, 0, host, 0, slots * SLOT);
    device.queue.submit([encoder.finish()]);
    encoder = undefined;
    slots = 0;
  };
  const nextPass = (name: string): GPUComputePassEncoder => {
    if (!stamps) {
      pass ??= open().beginComputePass();
      return pass;
    }
    if (stamps.names.length === LAUNCHES_PROFILED) throw new RangeError(`a profile holds at most ${LAUNCHES_PROFILED} launches`);
    endPass();
    const at = 2 * stamps.names.push(name) - 2;
    pass = open().beginComputePass({
      timestampWrites: { querySet: stamps.set, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 },
    });
    return pass;
  };
  return {
    flush,
    encoder() {
      endPass();
      return open();
    },
    uniform(data) {
      if (data.byteLength > SLOT) throw new RangeError(`a uniform of ${data.byteLength} bytes is larger than ${SLOT}`);
      if (slots === SLOTS) flush();
      open();
      host.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), slots * SLOT);
      return { buffer: uniforms, offset: SLOT * slots++, size: Math.ceil(data.byteLength / 16) * 16 };
    },
    dispatch(name, pipeline, bindings, workgroups) {
      const current = nextPass(name);
      current.setPipeline(pipeline);
      current.setBindGroup(0, bindings);
      current.dispatchWorkgroups(...workgroups);
    },
    profile() {
      flush();
      stamps = { set: device.createQuerySet({ type: 'timestamp', count: 2 * LAUNCHES_PROFILED }), names: [] };
      return () => {
        const { set, names } = stamps!;
        stamps = undefined;
        endPass();
        return readStamps(device, set, names, open(), flush);
      };
    },
  };
}

async function readStamps(
  device: GPUDevice,
  set: GPUQuerySet,
  names: readonly string[],
  encoder: GPUCommandEncoder,
  flush: () => void,
): Promise<Timed[]> {
  const size = Math.max(16, 16 * names.length);
  const resolved = device.createBuffer({ size, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
  const staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  if (names.length > 0) encoder.resolveQuerySet(set, 0, 2 * names.length, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
  flush();
  await staging.mapAsync(GPUMapMode.READ);
  const ticks = new BigInt64Array(staging.getMappedRange().slice(0));
  for (const part of [staging, resolved, set]) part.destroy();
  return names.map((kernel, at) => ({ kernel, milliseconds: Number(ticks[2 * at + 1] - ticks[2 * at]) / 1e6 }));
}
