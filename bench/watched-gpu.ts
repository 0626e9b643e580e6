// What the first run of a size waits for on a GPU, seen from outside: the kernels that Dawn compiles and the bytes that are written.

/** What was asked of the GPU since a watch began; times are seconds since then. */
export interface Asked {
  /** Pipelines compiled beside the host. */
  ahead: number;
  /** Pipelines compiled while the host waited. */
  atLaunch: number;
  /** What all of them took, one by one. */
  compileSeconds: number;
  /** When the last one was there. */
  compiledAt: number;
  /** Bytes written from the host. */
  bytes: number;
  /** When the last large piece of them was written. */
  writtenAt: number;
}

const LARGE = 2 ** 14;

/** Watches every device from here on; each call of the result begins anew. With `atLaunch` no pipeline can be compiled beside the host. */
export function watchGpus(atLaunch: boolean): () => Asked {
  let start = 0;
  let asked: Asked;
  const begin = (): Asked => {
    start = performance.now();
    asked = { ahead: 0, atLaunch: 0, compileSeconds: 0, compiledAt: 0, bytes: 0, writtenAt: 0 };
    return asked;
  };
  begin();
  const since = (from: number) => (performance.now() - from) / 1000;
  const made = (how: 'ahead' | 'atLaunch', from: number) => {
    asked[how]++;
    asked.compileSeconds += since(from);
    asked.compiledAt = since(start);
  };
  const [device, queue] = [GPUDevice.prototype, GPUQueue.prototype];
  const { createComputePipeline, createComputePipelineAsync } = device;
  device.createComputePipeline = function (wanted) {
    const from = performance.now();
    const pipeline = createComputePipeline.call(this, wanted);
    made('atLaunch', from);
    return pipeline;
  };
  device.createComputePipelineAsync = async function (wanted) {
    if (atLaunch) throw new Error('nothing is compiled beside the host');
    const from = performance.now();
    const pipeline = await createComputePipelineAsync.call(this, wanted);
    made('ahead', from);
    return pipeline;
  };
  const { writeBuffer } = queue;
  queue.writeBuffer = function (...given: Parameters<typeof writeBuffer>) {
    const bytes = given[4] ?? given[2].byteLength;
    asked.bytes += bytes;
    if (bytes >= LARGE) asked.writtenAt = since(start);
    return writeBuffer.apply(this, given);
  };
  return begin;
}
