// Pipelines, compiled once for each header and body: at their first launch, or ahead of it beside the host and each other.
import type { ErrorLog } from './errors.ts';
import { type Header, headerText, type Kernel } from './wgsl.ts';

/** A pipeline, and the layout of its group 0. */
export interface Compiled {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Pipelines by kernel and header. */
export interface Pipelines {
  /** The pipeline, compiled now where it is not there. A source that does not compile becomes the error of the next wait, with file and line. */
  of(kernel: Kernel, header: Header): Compiled;
  /**
   * Compiles a pipeline that is not there and not in the making, and waits for it without holding up the host. What fails is not there either:
   * `of` tries again and says why.
   */
  ahead(kernel: Kernel, header: Header): Promise<void>;
}

export function pipelineCache(device: GPUDevice, errors: ErrorLog): Pipelines {
  const known = new Map<string, Compiled>();
  const coming = new Map<string, Promise<void>>();
  return {
    of(kernel, header) {
      const source = sourceOf(kernel, header);
      let compiled = known.get(source.key);
      if (!compiled) {
        device.pushErrorScope('validation');
        const module = moduleOf(device, kernel, source);
        compiled = withLayout(device.createComputePipeline(descriptor(kernel, module)));
        errors.watch(({ message }) => {
          known.delete(source.key);
          return whereIn(kernel, source.head, module, message);
        });
        known.set(source.key, compiled);
      }
      return compiled;
    },
    async ahead(kernel, header) {
      const source = sourceOf(kernel, header);
      const { key } = source;
      if (known.has(key)) return;
      if (!coming.has(key)) {
        const made = compile(device, kernel, source).then(
          (compiled) => known.has(key) || known.set(key, compiled),
          () => undefined,
        );
        coming.set(
          key,
          Promise.race([made, device.lost]).then(() => void coming.delete(key)),
        );
      }
      await coming.get(key);
    },
  };
}

interface Source {
  readonly key: string;
  readonly head: string;
}

function sourceOf({ name }: Kernel, header: Header): Source {
  const head = headerText(header);
  return { key: `${name}\n${head}`, head };
}

async function compile(device: GPUDevice, kernel: Kernel, source: Source): Promise<Compiled> {
  device.pushErrorScope('validation');
  const module = moduleOf(device, kernel, source);
  // What is wrong with the text makes no pipeline either.
  device.popErrorScope().catch(() => undefined);
  return withLayout(await device.createComputePipelineAsync(descriptor(kernel, module)));
}

function moduleOf(device: GPUDevice, kernel: Kernel, { head }: Source): GPUShaderModule {
  const bodies = filesOf(kernel).map(({ body }) => body);
  return device.createShaderModule({ label: kernel.name, code: head + bodies.join('') });
}

const descriptor = ({ name }: Kernel, module: GPUShaderModule): GPUComputePipelineDescriptor => ({
  label: name,
  layout: 'auto',
  compute: { module },
});

const withLayout = (pipeline: GPUComputePipeline): Compiled => ({ pipeline, layout: pipeline.getBindGroupLayout(0) });

const filesOf = (kernel: Kernel): readonly Kernel[] => [kernel, ...(kernel.shared ?? [])];

/** "file:line:column: message" of the first error in a kernel's files. */
async function whereIn(kernel: Kernel, head: string, module: GPUShaderModule, otherwise: string): Promise<string> {
  const { messages } = await module.getCompilationInfo();
  const error = messages.find(({ type }) => type === 'error');
  if (!error) return `${kernel.name} makes no pipeline: ${otherwise}`;
  let line = error.lineNum - linesIn(head);
  if (line <= 0) return `the header of ${kernel.name}, line ${error.lineNum}: ${error.message}`;
  const files = filesOf(kernel);
  let at = 0;
  for (; at < files.length - 1 && line > linesIn(files[at].body); at++) line -= linesIn(files[at].body);
  return `${files[at].name}:${line}:${error.linePos}: ${error.message}`;
}

/** Lines up to the last line break. */
const linesIn = (text: string): number => text.split('\n').length - 1;
