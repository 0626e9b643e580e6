// A page that checks this browser's WebGPU against f64 and times attention on it. `?quick` runs the quick checks alone.
import { type GpuDevice, openWebgpu } from '../../src/backend/webgpu/device.ts';
import { type Outcome, passes, runChecks, type Size } from '../../src/conformance/index.ts';
import { gpuSuites } from '../../src/conformance/suites.ts';
import { kernelReports } from '../../src/doctor/gpu.ts';
import { timings } from './timing.ts';

const find = <E extends HTMLElement = HTMLElement>(selector: string): E => document.querySelector<E>(selector)!;
const bar = find<HTMLProgressElement>('#progress');

function say(sentence: string, kind = ''): void {
  find('#state').textContent = sentence;
  find('#state').className = kind;
}

function element(tag: string, text: string, kind = ''): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = kind;
  return made;
}

/** Shows a section, and gives its part to fill. */
function shown(section: string, part: string): HTMLElement {
  find(section).hidden = false;
  return find(`${section} ${part}`);
}

function showAdapter({ adapter }: GpuDevice): void {
  const name = [adapter.vendor, adapter.architecture, adapter.description].filter(Boolean).join(' ') || 'not named by this browser';
  const kernels = kernelReports(adapter)
    .filter(({ kernel }) => kernel === 'attend')
    .map(({ call, variant, rejected }) => {
      const better = rejected.map((other) => `${other.name}: ${other.reason}`).join('; ');
      return [`attend, ${call}`, `${variant ?? 'none'}${better && ` (${better})`}`];
    });
  const rows = [
    ['adapter', adapter.software ? `${name} (software)` : name],
    ['features', [...adapter.features].sort().join(', ')],
    ...kernels,
  ];
  shown('#adapter', 'dl').append(...rows.flatMap(([term, what]) => [element('dt', term), element('dd', what)]));
}

async function showTimings(gpu: GpuDevice): Promise<void> {
  const clock = gpu.adapter.features.has('timestamp-query') ? 'GPU timestamps' : 'wall time';
  const body = shown('#timing', 'tbody');
  find('#clock').textContent = `4 heads of 64, 512 tokens; median ${clock}.`;
  for await (const { variant, stored, results, done } of timings(gpu)) {
    const row = document.createElement('tr');
    row.append(element('td', variant), element('td', stored), ...results.map((result) => element('td', result)));
    if (results.length === 1) (row.lastElementChild as HTMLTableCellElement).colSpan = 2;
    body.append(row);
    bar.value = done;
  }
}

function detail(outcome: Outcome): string {
  if ('skipped' in outcome) return outcome.skipped;
  if ('failed' in outcome) return outcome.failed;
  return `${outcome.what} ${outcome.error.toExponential(1)} of at most ${outcome.tolerance}, ${Math.round(outcome.milliseconds)} ms`;
}

async function showChecks(gpu: GpuDevice): Promise<string> {
  const sizes: Size[] = location.search === '?quick' ? ['quick'] : ['quick', 'small'];
  const suites = await gpuSuites(gpu, sizes);
  const total = suites.reduce((sum, { checks }) => sum + checks.length, 0);
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const body = shown('#checks', 'tbody');
  let line = '';
  for (const { name, ops, checks } of suites)
    for await (const outcome of runChecks(checks, ops)) {
      const verdict = 'skipped' in outcome ? 'skipped' : passes(outcome) ? 'passed' : 'failed';
      counts[verdict]++;
      line = `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`;
      const [row, what] = [document.createElement('tr'), element('td', `${name}: ${outcome.name}`)];
      what.append(element('small', detail(outcome)));
      row.append(element('td', verdict, verdict), what);
      if (verdict === 'failed') body.prepend(row);
      else body.append(row);
      find('#counts').textContent = line;
      bar.value = (counts.passed + counts.failed + counts.skipped) / total;
      await new Promise((resolve) => setTimeout(resolve));
    }
  return line;
}

async function main(): Promise<void> {
  if (!navigator.gpu)
    return say('This browser offers no WebGPU here: use a current Chrome, Edge, Safari or Firefox, over https or localhost.', 'error');
  const gpu = await openWebgpu();
  bar.hidden = false;
  showAdapter(gpu);
  say('Compiling and timing attention…');
  await showTimings(gpu);
  say('Checking every operation against f64…');
  const line = await showChecks(gpu);
  bar.hidden = true;
  say(`Finished: ${line}.`);
  gpu.dispose();
}

const failed = (error: Error): void => say(`Stopped: ${error.message.split('\n')[0]}.`, 'error');
addEventListener('error', ({ error, message }) => failed(error ?? new Error(message)));
addEventListener('unhandledrejection', ({ reason }) => failed(reason));
main().catch(failed);
