// `zoetrope report`: result files and inspections as one HTML page, or as Markdown tables on stdout.
import type { Command } from 'commander';
import { checkPlace, writeWhole } from '../video/place.ts';
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
      // A list of results with the last one after -o would else be the end of that one.
      if (!/\.html?$/i.test(options.output))
        throw new TypeError(`The page is HTML, not "${options.output}"; give --output a name that ends in .html.`);
      done({ command: 'report', files, ...options });
    });
}

/** Writes the page, which appears whole or not at all, or prints tables. Throws an Error with one sentence for files that cannot be reported. */
export async function report({ files, output, markdown }: ReportArguments, version: string, terminal: Terminal): Promise<void> {
  if (!markdown) await checkPlace(output);
  const { readAll } = await import('../report/read.ts');
  const { collect } = await import('../report/collect.ts');
  const data = collect(await readAll(files), version, new Date().toISOString().slice(0, 10));
  if (markdown) {
    const { reportMarkdown } = await import('../report/markdown.ts');
    return terminal.out(reportMarkdown(data));
  }
  const { readTemplate, reportPage } = await import('../report/write.ts');
  const page = reportPage(await readTemplate(), data);
  await writeWhole(output, page);
  terminal.err(`${output}: ${formatBytes(Buffer.byteLength(page))}, from ${files.length} ${files.length === 1 ? 'file' : 'files'}\n`);
}
