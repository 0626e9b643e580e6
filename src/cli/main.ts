// From words to an exit code: reads the command line, runs the command, and turns whatever goes wrong into one sentence.
// Commands are imported when they run: help and mistakes answer at once.
import { createRequire } from 'node:module';
import { parseArguments } from './arguments.ts';
import type { Terminal } from './terminal.ts';

/**
 * Runs `zoetrope <words>` and resolves to its exit code: 0, or 1 after one sentence on stderr (with ZOETROPE_DEBUG=1 the stack too). An aborted
 * `signal` says "Stopped" and gives 1; the caller knows the signal's own code. With --json a failure is an object too: `{"error": "..."}`.
 */
export async function main(words: readonly string[], terminal: Terminal, signal: AbortSignal): Promise<number> {
  try {
    const { version } = createRequire(import.meta.url)('zoetrope/package.json') as { version: string };
    const args = parseArguments(words, version, terminal.outColumns);
    if (args.command === 'help') terminal.out(args.text);
    else if (args.command === 'vocab') await (await import('./vocabulary.ts')).showVocabulary(args, terminal);
    else if (args.command === 'methods') (await import('./methods.ts')).showMethods(args, terminal);
    else if (args.command === 'calibrate') await (await import('./calibrate.ts')).calibrateModel(args, terminal, signal);
    else if (args.command === 'doctor') return await (await import('./doctor.ts')).doctor(args, version, terminal);
    else if (args.command === 'generate') await (await import('./generate.ts')).generate(args, terminal, signal);
    else if (args.command === 'report') await (await import('./report.ts')).report(args, version, terminal);
    else if (args.command === 'inspect') await (await import('./inspect.ts')).inspect(args, terminal, signal);
    else if (args.command === 'inspect onnx') await (await import('./inspect-onnx.ts')).inspectOnnx(args, terminal);
    else if (args.command === 'bench video') await (await import('./bench-video.ts')).videoBench(args, version, terminal, signal);
    else await (await import('./bench.ts')).bench(args, version, terminal, signal);
    return 0;
  } catch (error) {
    const message = signal.aborted ? 'Stopped; nothing was written.' : sentenceOf(error);
    terminal.err(signal.aborted ? `${message}\n` : `Error: ${message}\n`);
    if (process.env.ZOETROPE_DEBUG === '1' && error instanceof Error) terminal.err(`${error.stack}\n`);
    if (words.includes('--json')) terminal.out(`${JSON.stringify({ error: message })}\n`);
    return 1;
  }
}

/** The message alone, on one line and with a full stop; errors of the system and of libraries may have several lines. */
function sentenceOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const lacking = /^Cannot find package '([^']+)'/.exec(message)?.[1];
  if (lacking) return `The package ${lacking} is not installed; install it with "npm install ${lacking}".`;
  const line = message.replace(/\s*\n\s*/g, ' ').trim();
  return line.replace(/[^.!?]$/, '$&.') || 'No reason was given; run it again with ZOETROPE_DEBUG=1.';
}
