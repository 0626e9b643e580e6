// Runs `zoetrope bench attention` and prints its cases, a table for each shape, type and device.
import { type AttentionCase, benchAttention } from '../bench/attention/bench.ts';
import type { ResultLog } from '../bench/log.ts';
import { type BenchAttentionArguments, methodOfEntrant } from './bench-attention-arguments.ts';
import { columns, milliseconds } from './bench-tables.ts';
import type { Lines } from './terminal.ts';

/** Measures what the log wants. */
export async function attention(
  args: BenchAttentionArguments,
  log: ResultLog<AttentionCase>,
  lines: Lines,
  signal: AbortSignal,
): Promise<void> {
  const { device, runtime, shapes, readings, dtype, variants, runs, checks, stock } = args;
  await benchAttention({
    ...{ device, runtime, shapes, readings, variants, runs, checked: checks, experimental: !stock, log, signal },
    ...(dtype && { dtypes: [dtype] }),
    methods: args.methods.map((entrant) => ({ label: entrant.label, method: () => methodOfEntrant(entrant) })),
    onTurn: ({ group, work, turn, runs: all }) =>
      lines.show(turn === 0 ? `${group}: checking ${work}` : `${group}: ${work}, ${turn}/${all}`),
  });
}

/** Cases as text. */
export function formatAttention(cases: readonly AttentionCase[]): string {
  const groups = [...new Set(cases.map(groupOf))];
  return groups.map((group) => table(cases.filter((one) => groupOf(one) === group))).join('\n');
}

const groupOf = ({ shape, device, dtype }: AttentionCase): string => `${shape}/${device} ${dtype}`;

function table(cases: readonly AttentionCase[]): string {
  const [{ shape, tokens, heads, dim, dtype, software }] = cases;
  const timed = cases.filter((one) => one.milliseconds);
  const than = timed
    .find(({ faster }) => faster)
    ?.faster?.than.split('/')
    .slice(2)
    .join(' ');
  const head = ['', 'density', 'ms', 'from', 'to', 'TFLOP/s', 'error', ...(than ? ['times as fast'] : [])];
  const rows = timed.map((one) => [
    `${one.contender} ${one.work}`,
    ...[one.density!.toFixed(2), milliseconds(one.milliseconds!.median), milliseconds(one.milliseconds!.low)],
    ...[milliseconds(one.milliseconds!.high), one.teraflops!.toPrecision(3), one.check!.error.toExponential(0)],
    ...(than ? [one.faster?.times.toFixed(2) ?? ''] : []),
  ]);
  return [
    `${shape}: ${tokens.toLocaleString('en')} tokens, ${heads} heads x ${dim}, ${dtype}; ${software}`,
    ...(rows.length > 0 ? ['', ...columns([head, ...rows]), ''] : []),
    ...(than ? [`Times as fast as ${than}, the median over turns.`] : []),
    ...cases.filter(({ failed }) => failed).map(({ contender, work, failed }) => `FAILED ${contender} ${work}: ${failed}`),
    ...cases.filter(({ skipped }) => skipped).map(({ contender, work, skipped }) => `skipped ${contender} ${work}: ${skipped}`),
    '',
  ].join('\n');
}
