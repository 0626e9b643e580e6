// Pipelines, compiled once for each header and body.
import type { ErrorLog } from './errors.ts';
import { type Header, headerText, type Kernel } from './wgsl.ts';

/** A pipeline, and the layout of its group 0. */
export interface Compiled {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** The pipeline of a kernel under a header. A source that does not compile becomes the error of the next wait, with file and line. */
export function pipelineCache(device: GPUDevice, errors: ErrorLog): (kernel: Kernel, header: Header) => Compiled {
  const known = new Map<string, Compiled>();
  return (kernel, header) => {
    const head = headerText(header);
    const key = `${kernel.name}\n${head}`;
    let compiled = known.get(key);
    if (!compiled) {
      device.pushErrorScope('validation');
      const module = device.createShaderModule({
        label: kernel.name,
        code:
          head +
          filesOf(kernel)
            .map(({ body }) => body)
            .join(''),
      });
      const pipeline = device.createComputePipeline({ label: kernel.name, layout: 'auto', compute: { module } });
      compiled = { pipeline, layout: pipeline.getBindGroupLayout(0) };
      errors.watch(({ message }) => {
        known.delete(key);
        return whereIn(kernel, head, module, message);
      });
      known.set(key, compiled);
    }
    return compiled;
  };
}

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
