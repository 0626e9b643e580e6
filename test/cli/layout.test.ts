// Text on a screen: folded lines, and Markdown tables as columns that fit.
import { expect, test } from 'vitest';
import { folded, onScreen } from '../../src/cli/layout.ts';

test('text is folded beside its head, and a word is never cut', () => {
  expect(folded('Scenes: ', 'night sky, space, blue sky, sunset', 32)).toEqual(['Scenes: night sky, space, blue', '        sky, sunset']);
  expect(folded('', `${'x'.repeat(30)} y`, 20)).toEqual(['x'.repeat(30), 'y']);
});

test('Markdown stays as it is off a screen; on one its tables are columns, parted where they are too wide', () => {
  const table = ['| method | density | error |', '| --- | --- | --- |', '| adaSpa | 0.301 | 0.0412 |', '| b | | a\\|b |'].join('\n');
  const markdown = `## Title\n\n${table}\n\nLong words to\nbe folded.\n`;
  expect(onScreen(markdown)).toBe(markdown);
  expect(onScreen(markdown, 80)).toBe(
    [
      '## Title',
      '',
      'method  density   error',
      'adaSpa    0.301  0.0412',
      'b                   a|b',
      '',
      'Long words to be folded.',
      '',
    ].join('\n'),
  );
  const narrow = onScreen(markdown, 20);
  expect(narrow).toContain('method  density\nadaSpa    0.301\nb\n\nmethod   error\nadaSpa  0.0412\nb          a|b\n');
  for (const line of narrow.split('\n')) expect(line.length).toBeLessThanOrEqual(20);
});
