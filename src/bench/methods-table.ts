// Results of the bench of methods as Markdown.
import type { Listed } from '../methods/catalogue.ts';
import type { MethodResult } from './methods.ts';

/** A result with what the catalogue says of its method, and the sparsity that was asked of it if it was not its own. */
export type ListedResult = MethodResult & Pick<Listed, 'name' | 'mark' | 'reconstruction'> & { readonly sparsity?: number };

const HEAD = 'method, mark, density, error, recall, read in full, search / time, time / dense, run density, run time / dense'.split(', ');

const LEGEND = `Density is the FLOP-equivalent share of full attention, what a correction computes beside the plan and the padding of short
blocks included, so that layouts compare at equal work, error the relative Euclidean error of the attention output, recall the share of the exact softmax mass that lies in blocks that are read, however finely, and "read in full" in
those read token by token: means over the calls whose output came from a plan. Times are counted from the first search on, search is scoring and
selecting; "run" counts the dense steps too.`;

/** What a paper can be judged by, and apart from it what it cannot; of each part methods as their presets have them, then at sparsities asked of them. */
export function methodsMarkdown(results: readonly ListedResult[]): string {
  const isApart = ({ mark, reconstruction }: ListedResult) => reconstruction || mark === 'ported' || mark === 'trained';
  const sections = [
    ...section(
      'Published on video, and our own',
      '',
      results.filter((result) => !isApart(result)),
    ),
    ...section(
      'Ports, untrained forms and reconstructions',
      'Parts of these are ours, or unproven on video: no verdict on a paper.\n\n',
      results.filter(isApart),
    ),
  ];
  return `${[...sections, LEGEND].join('\n\n')}\n`;
}

function section(title: string, note: string, results: readonly ListedResult[]): string[] {
  const own = results.filter(({ sparsity }) => sparsity === undefined);
  const asked = results.filter(({ sparsity }) => sparsity !== undefined);
  return [
    ...(own.length > 0 ? [`## ${title}\n\n${note}${table(HEAD, own.map(cells))}`] : []),
    ...(asked.length > 0 ? [`## ${title}: error (density) by sparsity\n\n${note}${bySparsity(asked)}`] : []),
  ];
}

function cells(result: ListedResult): string[] {
  if ('failed' in result) return [result.label, markOf(result), failure(result.failed), ...Array(HEAD.length - 3).fill('')];
  const { quality, sparse, run } = result;
  return [
    ...[result.label, markOf(result)],
    ...[shown(quality?.density, 3), shown(quality?.error, 4), shown(quality?.recall, 3), shown(quality?.fullRecall, 3)],
    ...[shown(sparse?.searchShare, 2), shown(sparse?.timeOverDense, 2), shown(run.density, 2), shown(run.timeOverDense, 2)],
  ];
}

/** A row for each method, a column for each sparsity. */
function bySparsity(results: readonly ListedResult[]): string {
  const sparsities = [...new Set(results.map(({ sparsity }) => sparsity!))];
  const names = [...new Set(results.map(({ name }) => name))];
  const rows = names.map((name) => {
    const own = results.filter((result) => result.name === name);
    return [name, markOf(own[0]), ...sparsities.map((sparsity) => errorOf(own.find((result) => result.sparsity === sparsity)))];
  });
  return table(['method', 'mark', ...sparsities.map(String)], rows);
}

function errorOf(result: ListedResult | undefined): string {
  if (!result) return '';
  if ('failed' in result) return failure(result.failed);
  const { quality } = result;
  return quality ? `${shown(quality.error, 4)} (${shown(quality.density, 3)})` : '';
}

const markOf = ({ mark, reconstruction }: ListedResult): string => (reconstruction ? `${mark}, reconstruction` : mark);
const failure = (reason: string): string => `failed: ${reason.replaceAll('|', '\\|')}`;
const shown = (value: number | undefined, digits: number): string => value?.toFixed(digits) ?? '';
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
