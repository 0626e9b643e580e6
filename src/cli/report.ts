// `zoetrope report`: result files and inspections as one HTML page, or as Markdown tables on stdout.
import { rename, rm, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { checkPlace, partialPath } from '../video/place.ts';
import { formatBytes } from './progress.ts';
import type { Terminal } from './terminal.ts';

export interface ReportArguments {
  readonly command: 'report';
  readonly files: readonly string[];
  readonly output: string;
  readonly markdown: boolean;
}

/** Adds `report`; `done` is given what was asked for. */
export function reportCommand(program: Command, done: (args: ReportArguments) => void): void {
  program
    .command('report')
    .description('show results of zoetrope bench and folders of zoetrope inspect in one page that needs no network')
    .argument('[files...]', 'result files (.json), and folders that zoetrope inspect -o wrote')
    .option('-o, --output <file>', 'the page', 'report.html')
    .option('--markdown', 'print Markdown tables on stdout instead', false)
    .action((files: string[], options) => {
      if (files.length === 0) throw new TypeError('There are no results to report; name some, as zoetrope report bench/results/*.json.');
      done({ command: 'report', files, ...options });
    });
}

/** Writes the page, which appears whole or not at all, or prints tables. Throws an Error with one sentence for files that cannot be reported. */
export async function report({ files, output, markdown }: ReportArguments, version: string, terminal: Terminal): Promise<void> {
  if (!markdown) await checkPlace(resolve(output));
  const { readAll } = await import('../report/read.ts');
  const { collect } = await import('../report/collect.ts');
  const data = collect(await readAll(files), version, new Date().toISOString().slice(0, 10));
  if (markdown) {
    const { reportMarkdown } = await import('../report/markdown.ts');
    return terminal.out(reportMarkdown(data));
  }
  const { readTemplate, reportPage } = await import('../report/write.ts');
  const page = reportPage(await readTemplate(), data);
  const partial = partialPath(resolve(output));
  try {
    await writeFile(partial, page);
    await rename(partial, resolve(output));
  } finally {
    await rm(partial, { force: true });
  }
  terminal.err(`${output}: ${formatBytes(Buffer.byteLength(page))}, from ${files.length} ${files.length === 1 ? 'file' : 'files'}\n`);
}
