// A run of a pipeline for what its steps show: it ends when the last one is done, and nothing is decoded.
import type { GenerateOptions } from './options.ts';
import type { TextToVideoPipeline } from './pipeline.ts';

/** @throws as the pipeline does, and the signal's reason when it is aborted. */
export async function denoiseOnly(pipe: TextToVideoPipeline, prompt: string, options: GenerateOptions): Promise<void> {
  const { signal, onStep } = options;
  const done = new AbortController();
  const video = pipe(prompt, {
    ...options,
    signal: signal ? AbortSignal.any([signal, done.signal]) : done.signal,
    onStep: async (report) => {
      await onStep?.(report);
      if (report.step === report.steps - 1) done.abort();
    },
  });
  try {
    for await (const _ of video);
  } catch (error) {
    if (error !== done.signal.reason) throw error;
  }
}
