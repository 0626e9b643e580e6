// What to do where a browser has no GPU for a page.
import { UnsupportedError } from '../../src/errors.ts';
import { say } from './page.ts';

const NO_WEBGPU = globalThis.isSecureContext
  ? 'This browser has no WebGPU. Chrome and Edge have it from version 113 on, Safari from 26, Firefox from 141; on Linux it may have to be turned on.'
  : 'Browsers offer WebGPU only to secure pages: open this one by https or from localhost.';
const NO_ADAPTER =
  'This browser has WebGPU, but found no GPU for it: turn hardware acceleration on in its settings, or install a newer graphics driver.';

/** Says why a page stopped. */
export function stopped(error: Error): void {
  const withoutAdapter = error instanceof UnsupportedError && error.message.startsWith('no GPU adapter');
  say(withoutAdapter ? NO_ADAPTER : `Stopped: ${error.message.split('\n')[0]}.`, { kind: 'failed' });
}

/** Runs a page that needs WebGPU, and says what keeps it from running. */
export function onWebgpu(main: () => Promise<void>): void {
  addEventListener('error', ({ error, message }) => stopped(error ?? new Error(message)));
  addEventListener('unhandledrejection', ({ reason }) => stopped(reason));
  if (navigator.gpu) main().catch(stopped);
  else say(NO_WEBGPU, { kind: 'failed' });
}
