// A headless Chromium for pages, driven over the DevTools pipe: what a page said, what it holds, and how it looks.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

const ARGUMENTS =
  '--headless=shell --no-sandbox --no-zygote --single-process --disable-setuid-sandbox --disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe';
const NO_GPU = '--disable-gpu';
/** SwiftShader; how workgroup memory is zeroed there is told in `test/gpu/loops.ts`. */
const SOFTWARE_GPU =
  '--enable-unsafe-webgpu --use-webgpu-adapter=swiftshader --enable-unsafe-swiftshader --ignore-gpu-blocklist --in-process-gpu --disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension';

type Json = Readonly<Record<string, unknown>>;
interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Json;
  readonly result?: Json;
  readonly error?: { readonly message: string };
}

export interface Page {
  /** Errors and warnings of the page's console, and what it failed to load. */
  readonly complaints: readonly string[];
  /** The value of an expression, as JSON. */
  evaluate(expression: string): Promise<unknown>;
  /** A png of the whole page. */
  screenshot(): Promise<Buffer>;
  close(): Promise<void>;
}

/** Opens a page and waits until it has loaded; with `gpu` it has WebGPU, on a software GPU. */
export async function openPage(url: string, { width = 1280, height = 900, dark = false, gpu = false } = {}): Promise<Page> {
  // The package unpacks itself once.
  const { default: chromium } = await import('@sparticuz/chromium');
  const profile = mkdtempSync(join(tmpdir(), 'chromium-'));
  const child = spawn(
    await chromium.executablePath(),
    [...`${ARGUMENTS} ${gpu ? SOFTWARE_GPU : NO_GPU}`.split(' '), `--user-data-dir=${profile}`],
    {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    },
  );
  const [complaints, events] = [[] as string[], new Map<string, () => void>()];
  const send = messages(child.stdio[3] as Writable, child.stdio[4] as Readable, ({ method = '', params = {} }) => {
    complaints.push(...complaintsIn(method, params));
    events.get(method)?.();
  });
  const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
  const inPage = (method: string, params: Json = {}) => send(method, params, sessionId as string);
  for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await inPage(`${domain}.enable`);
  await inPage('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false });
  await inPage('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] });
  const loaded = new Promise<void>((resolve) => events.set('Page.loadEventFired', resolve));
  await inPage('Page.navigate', { url });
  await loaded;
  return {
    complaints,
    async evaluate(expression) {
      const { result, exceptionDetails } = await inPage('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
      if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
      return (result as Json).value;
    },
    async screenshot() {
      const { data } = await inPage('Page.captureScreenshot', { captureBeyondViewport: true });
      return Buffer.from(data as string, 'base64');
    },
    async close() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

/** Sends commands and hands events on; messages end with a zero byte. */
function messages(input: Writable, output: Readable, onEvent: (message: Message) => void) {
  const waiting = new Map<number, (message: Message) => void>();
  let [count, rest] = [0, ''];
  output.setEncoding('utf8').on('data', (part: string) => {
    const parts = `${rest}${part}`.split('\0');
    rest = parts.pop()!;
    for (const message of parts.map((text): Message => JSON.parse(text))) {
      if (message.id === undefined) onEvent(message);
      else waiting.get(message.id)?.(message);
    }
  });
  return (method: string, params: Json = {}, sessionId?: string): Promise<Json> =>
    new Promise((resolve, reject) => {
      const id = ++count;
      waiting.set(id, ({ result, error }) => (error ? reject(new Error(`${method}: ${error.message}`)) : resolve(result ?? {})));
      input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
}

function complaintsIn(method: string, params: Json): string[] {
  if (method === 'Runtime.exceptionThrown') return [JSON.stringify(params.exceptionDetails)];
  if (method === 'Runtime.consoleAPICalled') return ['error', 'warning'].includes(String(params.type)) ? [JSON.stringify(params.args)] : [];
  if (method === 'Log.entryAdded') return [JSON.stringify(params.entry)];
  if (method === 'Network.loadingFailed') return [`not loaded: ${String(params.errorText)}`];
  return [];
}
