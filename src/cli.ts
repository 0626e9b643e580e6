#!/usr/bin/env node
// The command line's outer edge: streams, signals, the exit code. The first Ctrl-C stops the run and removes the unfinished file, the second ends at once.
import { main } from './cli/main.ts';

const controller = new AbortController();
let stopCode = 0;

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.on(signal, () => {
    if (stopCode !== 0) process.exit(stopCode);
    stopCode = code;
    process.stderr.write('\nStopping after this step; once more ends at once.\n');
    controller.abort();
  });
}
// The reader of a pipe may leave before we are done.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

const terminal = {
  out: (text: string) => void process.stdout.write(text),
  err: (text: string) => void process.stderr.write(text),
  isScreen: process.stderr.isTTY === true,
  columns: process.stderr.columns ?? 80,
  ...(process.stdout.isTTY && { outColumns: process.stdout.columns }),
};
const code = await main(process.argv.slice(2), terminal, controller.signal);
process.exitCode = stopCode !== 0 ? stopCode : code;
