// How the memory of attention on the CPU grows with the tokens, full and by a plan: each size in a process of its own.
//   node dist/bench/attend-memory.js [--quick]      writes bench/results/attend-memory.json
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { openCpu } from '../src/backend/cpu.ts';
import { cpuBackend } from '../src/backend/cpu-backend.ts';
import { blocksOf, inputsOf, numbersOf, planOf, type Shape } from '../src/bench/attention/shapes.ts';
import { writeResult } from '../src/bench/results.ts';
import { raster } from '../src/sparse3d/layout.ts';
import { resultFile, resultPath } from './machine.ts';

const KINDS = ['dense', 'blocks 0.25'] as const;
const BLOCK = 64;

/** So many tokens, a multiple of the block. */
const shapeOf = (tokens: number): Shape => ({
  ...{ name: `${tokens} tokens`, heads: 4, dim: 64, grid: { frames: tokens / BLOCK, height: 8, width: 8, text: 0 } },
});

/** By how many MiB attention raises this process's memory above that of its inputs, sampled every millisecond. */
async function growth(kind: string, tokens: number): Promise<number> {
  const ops = cpuBackend(await openCpu('onnxruntime-node'));
  const attention = (shape: Shape) => {
    const { q, k, v } = inputsOf(ops, undefined, shape, numbersOf(shape), 'f32');
    const layout = raster(BLOCK)(shape.grid);
    const plan = planOf(ops, shape.heads, { q: layout, k: layout }, blocksOf(0.25));
    return () => ops.read((kind === 'dense' ? ops.attendAll(q, k, v) : ops.attend(q, k, v, plan, { q: layout, k: layout })).out);
  };
  await attention(shapeOf(BLOCK))();
  const run = attention(shapeOf(tokens));
  const before = process.memoryUsage.rss();
  let peak = before;
  const sample = () => {
    peak = Math.max(peak, process.memoryUsage.rss());
  };
  const timer = setInterval(sample, 1);
  await run();
  clearInterval(timer);
  sample();
  return (peak - before) / 2 ** 20;
}

async function table(quick: boolean): Promise<void> {
  const tokens = quick ? [2304, 5184] : [2304, 5184, 9216, 17408];
  const self = fileURLToPath(import.meta.url);
  const cases = KINDS.map((kind) => {
    const mebibytes = tokens.map((count) => Number(execFileSync(process.execPath, [self, '--memory', kind, `${count}`])));
    const exponentOfTokens = Math.log(mebibytes.at(-1)! / mebibytes[0]) / Math.log(tokens.at(-1)! / tokens[0]);
    const sizes = tokens.map((count, at) => `${count} tokens ${mebibytes[at].toFixed(0)} MiB`);
    console.log(`${kind}: ${sizes.join(', ')}; tokens^${exponentOfTokens.toFixed(2)}`);
    return { id: `onnxruntime-node f32/zoetrope/${kind}`, tokens, mebibytes, exponentOfTokens };
  });
  if (!quick) await writeResult(resultPath('attend-memory'), resultFile('memory', { heads: 4, dim: 64 }, cases));
}

const [option, kind, tokens] = process.argv.slice(2);
if (option === '--memory') console.log(await growth(kind, Number(tokens)));
else await table(option === '--quick');
