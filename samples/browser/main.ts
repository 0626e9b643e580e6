// A page that times attention on this browser's WebGPU, every variant, and checks everything there is against f64.
//   npm run browser          serves it at http://localhost:5173
//   npm run browser:build    builds it into dist/browser, for any server of static files
// `?quick` after its address runs the quick checks alone. video.html beside it makes videos.
import { type GpuDevice, openWebgpu } from '../../src/backend/webgpu/device.ts';
import { kernelReports } from '../../src/doctor/gpu.ts';
import { showChecks } from './checks.ts';
import { onWebgpu } from './gpu.ts';
import { element, find, row, say, shown } from './page.ts';
import { sizeFor, timings } from './timing.ts';

function showAdapter({ adapter }: GpuDevice): void {
  const name = [adapter.vendor, adapter.architecture, adapter.description].filter(Boolean).join(' ') || 'not named by this browser';
  const list = shown('#adapter', 'dl');
  const say = (term: string, what: string, reasons: readonly string[] = []) => {
    const said = element('dd', what);
    said.append(...reasons.map((reason) => element('small', reason)));
    list.append(element('dt', term), said);
  };
  say('adapter', adapter.software ? `${name}, a software adapter: right, but slow` : name);
  say('features', [...adapter.features].sort().join(', '));
  for (const { kernel, call, variant, rejected } of kernelReports(adapter))
    if (kernel === 'attend') {
      const reasons = rejected.map((other) => `not ${other.name}: ${other.reason}`);
      say(`attention of ${call}`, variant ?? 'cannot run here', reasons);
    }
}

async function showTimings(gpu: GpuDevice): Promise<void> {
  const clock = gpu.adapter.features.has('timestamp-query') ? 'GPU timestamps' : 'wall time';
  const { heads, dim, tokens } = sizeFor(gpu);
  const body = shown('#timing', 'tbody');
  find('#clock').textContent =
    `${tokens.toLocaleString('en')} tokens, ${heads} heads of ${dim}; dense, and sparse by a plan of a quarter of the blocks; median ${clock}.`;
  for await (const { variant, stored, lacking, milliseconds, done } of timings(gpu)) {
    say(`Timing attention, ${variant} of ${stored}…`, { done });
    if (milliseconds) {
      const [dense, sparse] = milliseconds;
      body.append(row(variant, stored, text(dense), text(sparse), `${(dense / sparse).toFixed(1)}x`));
    } else if (lacking) {
      const reason = element('td', lacking, 'quiet') as HTMLTableCellElement;
      reason.colSpan = 3;
      body.append(row(variant, stored, reason));
    }
  }
}

const text = (milliseconds: number): string => `${milliseconds < 10 ? milliseconds.toFixed(2) : Math.round(milliseconds)} ms`;

async function main(): Promise<void> {
  const gpu = await openWebgpu();
  showAdapter(gpu);
  await showTimings(gpu);
  const { passed, failed, skipped } = await showChecks(gpu, location.search === '?quick' ? ['quick'] : ['quick', 'small']);
  say(`Finished: ${passed} checks passed, ${failed} failed, ${skipped} cannot run here.`, { kind: failed ? 'failed' : 'passed' });
  gpu.dispose();
}

onWebgpu(main);
