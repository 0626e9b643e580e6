// The page of a report: reads the data that is in it and shows each section that has some.
import type { ReportData, Roofline, Source } from '../data.ts';
import { h, table } from './dom.ts';
import { rooflineSection, runsSection, timesSection } from './measured.ts';
import { plansSection } from './plans.ts';
import './style.css';
import './figures.css';
import { videoSection } from './video.ts';

const data = JSON.parse(document.getElementById('report-data')!.textContent!) as ReportData | null;
const page = document.getElementById('page')!;
if (data === null) page.append(h('p', {}, 'This page has no data; make a report with zoetrope report.'));
else {
  const articles = sections(data);
  page.append(header(data), ...(articles.length > 2 ? [contents(articles)] : []), ...articles, sourcesPart(data.sources));
}

function sections({ videos, runs, rooflines, times, plans }: ReportData): HTMLElement[] {
  return [
    ...videos.map(videoSection),
    ...plans.map(plansSection),
    ...runs.map(runsSection),
    ...byMachine(rooflines).map(rooflineSection),
    ...times.map(timesSection),
  ];
}

/** Links to the sections, by their headings and where they were measured. */
function contents(articles: readonly HTMLElement[]): HTMLElement {
  const link = (article: HTMLElement, at: number): HTMLElement => {
    article.id = `section-${at}`;
    const text = (selector: string) => article.querySelector(selector)?.textContent ?? '';
    return h('li', {}, h('a', { href: `#${article.id}` }, text('h2')), ' ', h('small', {}, text('.where')));
  };
  return h('nav', { 'aria-label': 'Sections' }, h('ul', {}, ...articles.map(link)));
}

/** Rooflines of one machine belong together. */
function byMachine(rooflines: readonly Roofline[]): Roofline[][] {
  const machines = [...new Set(rooflines.map(({ machine }) => machine))];
  return machines.map((machine) => rooflines.filter((one) => one.machine === machine));
}

function header({ date, version, sources }: ReportData): HTMLElement {
  const machines = [...new Set(sources.map(({ machine }) => machine).filter(Boolean))];
  return h(
    'header',
    {},
    h('h1', {}, 'zoetrope', h('span', {}, ' report')),
    h(
      'p',
      {},
      `${date} · version ${version} · ${sources.length} ${sources.length === 1 ? 'file' : 'files'}${machines.length > 0 ? ` · ${machines.join(' · ')}` : ''}`,
    ),
    machines.length > 1 &&
      h(
        'p',
        { class: 'warning' },
        `These results are of ${machines.length} machines. Each chart is of one; do not compare times between them.`,
      ),
  );
}

function sourcesPart(sources: readonly Source[]): HTMLElement {
  const rows = sources.map(({ file, what, date, version, machine, cases }) => [file, what, machine, date, version, String(cases)]);
  return h(
    'details',
    { class: 'sources' },
    h('summary', {}, 'Files of this report'),
    table(['file', 'bench', 'machine', 'date', 'version', 'cases'], rows),
  );
}
