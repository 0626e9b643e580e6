// A report as Markdown tables, for a README.
import { videoMarkdown } from '../bench/video/table.ts';
import type { ReportData, TimesSection, VideoSection } from './data.ts';

/** Tables of videos and of times, each under its machine. */
export function reportMarkdown({ videos, times }: ReportData): string {
  return `${[...videos.map(videoPart), ...times.map(timesPart)].join('\n\n')}\n`;
}

const videoPart = ({ machine, setting, contenders, embedded }: VideoSection): string =>
  `# ${machine}: ${setting}\n\n${videoMarkdown(contenders, { embedded }).trim()}`;

function timesPart({ machine, what, groups }: TimesSection): string {
  const tables = groups.map(({ title, bars }) =>
    [
      `| ${cell(title)} | milliseconds | runs | density |`,
      '| --- | --- | --- | --- |',
      ...bars.map(
        ({ label, milliseconds, runs, density }) =>
          `| ${cell(label)} | ${shown(milliseconds)} | ${runs ?? ''} | ${density?.toFixed(2) ?? ''} |`,
      ),
    ].join('\n'),
  );
  return [`# ${what} on ${machine}`, ...tables].join('\n\n');
}

const cell = (text: string): string => text.replaceAll('|', '\\|');
const shown = (milliseconds: number): string => milliseconds.toFixed(milliseconds < 9.995 ? 2 : milliseconds < 99.95 ? 1 : 0);
