// Writes the tables of README's section "Measured" anew from bench/results: npm run bench:readme
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './machine.ts';
import { MISSING, withTables } from './readme-tables.ts';

const file = join(root, 'README.md');
const before = readFileSync(file, 'utf8');
try {
  const after = await withTables(before, join(root, 'bench', 'results'));
  if (after !== before) writeFileSync(file, after);
  const missing = after.split(`| ${MISSING} `).length - 1;
  console.log(
    `${after === before ? 'README.md is as the results say' : 'README.md was written'}${missing ? `; ${missing} figures are not measured` : ''}`,
  );
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
