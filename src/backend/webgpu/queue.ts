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
  /** Submits what `body` launches and waits for the time of each launch. */
  profile(body: () => void): Promise<Timed[]>;
}

const SLOT = 256;
// When they are used up, launches are submitted: the GPU starts while more is recorded.
const SLOTS = 128;
const LAUNCHES_PROFILED = 2048;

interface Stamps {
  readonly set: GPUQuerySet;
  readonly names: string[];
}

export function commandQueue(device: GPUDevice): CommandQueue {
  const uniforms = uniformSlots(device);
  let encoder: GPUCommandEncoder | undefined;
  let pass: GPUComputePassEncoder | undefined;
  let stamps: Stamps | undefined;

  const betweenPasses = () => {
    pass?.end();
    pass = undefined;
    encoder ??= device.createCommandEncoder();
    return encoder;
  };
  const flush = () => {
    if (!encoder) return;
    const commands = betweenPasses().finish();
    encoder = undefined;
    uniforms.write();
    device.queue.submit([commands]);
  };
  return {
    flush,
    encoder: betweenPasses,
    uniform(data) {
      if (uniforms.full()) flush();
      return uniforms.put(data);
    },
    dispatch(name, pipeline, bindings, workgroups) {
      if (stamps) pass = betweenPasses().beginComputePass({ timestampWrites: stampPair(stamps, name) });
      pass ??= betweenPasses().beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindings);
      pass.dispatchWorkgroups(...workgroups);
    },
    async profile(body) {
      flush();
      const own: Stamps = { set: device.createQuerySet({ type: 'timestamp', count: 2 * LAUNCHES_PROFILED }), names: [] };
      stamps = own;
      try {
        body();
      } finally {
        stamps = undefined;
      }
      return readStamps(device, own, betweenPasses(), flush);
    },
  };
}

/** Slots of one uniform buffer: filled on the host, written at once. */
function uniformSlots(device: GPUDevice) {
  const buffer = device.createBuffer({ size: SLOT * SLOTS, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  const host = new Uint8Array(SLOT * SLOTS);
  let used = 0;
  return {
    full: () => used === SLOTS,
    put(data: Uint32Array | Float32Array | Int32Array): GPUBufferBinding {
      if (data.byteLength > SLOT) throw new RangeError(`a uniform of ${data.byteLength} bytes is larger than ${SLOT}`);
      host.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), used * SLOT);
      return { buffer, offset: SLOT * used++, size: Math.ceil(data.byteLength / 16) * 16 };
    },
    /** Writes what was put and starts again: for use just before the launches that read it are submitted. */
    write() {
      if (used > 0) device.queue.writeBuffer(buffer, 0, host, 0, used * SLOT);
      used = 0;
    },
  };
}

function stampPair({ set, names }: Stamps, name: string): GPUComputePassTimestampWrites {
  if (names.length === LAUNCHES_PROFILED) throw new RangeError(`a profile holds at most ${LAUNCHES_PROFILED} launches`);
  const at = 2 * names.push(name) - 2;
  return { querySet: set, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 };
}

async function readStamps(device: GPUDevice, { set, names }: Stamps, encoder: GPUCommandEncoder, flush: () => void): Promise<Timed[]> {
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
