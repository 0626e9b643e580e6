// A report as one HTML page: the page that was bundled when zoetrope was built, with the data in it.
import { readFile } from 'node:fs/promises';
import type { ReportData } from './data.ts';

const PLACE = /(<script type="application\/json" id="report-data">)[\s\S]*?(<\/script>)/;

/** The bundled page without data. @throws Error where zoetrope was not built. */
export async function readTemplate(url: URL = new URL('./index.html', import.meta.url)): Promise<string> {
  return readFile(url, 'utf8').catch(() => {
    throw new Error('The page of reports is missing from this installation; install zoetrope again, or run npm run build.');
  });
}

/** The page with its data. Text of the data cannot end its element. @throws Error for a template that has no place for it. */
export function reportPage(template: string, data: ReportData): string {
  if (!PLACE.test(template)) throw new Error('The page of reports has no place for data; run npm run build.');
  const json = JSON.stringify(data).replaceAll('<', '\\u003c');
  return template.replace(PLACE, (_, open: string, close: string) => `${open}${json}${close}`);
}
