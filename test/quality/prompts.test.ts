// Prompts and their truth: against cases that samples/train/captions.py made, against Python itself where it is installed, and read back.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { drawPrompts, galleryPrompts, isPairHeldOut, OUTSIDE_PROMPTS, splitOf, truthOf, withTruth } from '../../src/quality/prompts.ts';
import { loadWorld } from '../../src/quality/world.ts';
import cases from './captions.json' with { type: 'json' };

const world = await loadWorld();

it('holds out the pairs that training held out, and no others', () => {
  const pairs = cases.subjects.flatMap((subject) => cases.others.map((other) => ({ subject, other })));
  const held = pairs.filter(({ subject, other }) => isPairHeldOut(world, subject, other));
  expect(held.map(({ subject, other }) => `${subject}|${other}`)).toEqual(cases.held);
});

it.each(cases.captions)('reads the truth of "%s"', (text, subject, scene, motion, size, split) => {
  expect(withTruth(world, text)).toEqual({ text, truth: { subject, scene, motion, size }, split });
});

it('reads back the truth of what it draws, in each split', () => {
  for (const split of ['seen', 'held-out'] as const) {
    const drawn = drawPrompts(world, split, 300, 5);
    for (const { text, truth } of drawn) {
      const { subject, scene, motion, size } = truth;
      expect({ text, ...truthOf(world, text) }).toEqual({ text, subject, scene, motion, size });
      expect(splitOf(world, truth)).toBe(split);
    }
    expect(new Set(drawn.map(({ truth }) => truth.subject)).size).toBeGreaterThan(world.subjects.length / 2);
    expect(new Set(drawn.map(({ text }) => text)).size).toBeGreaterThan(150);
  }
});

it('draws the same prompts for a seed, fewer as the first of more', () => {
  expect(drawPrompts(world, 'seen', 5, 1)).toEqual(drawPrompts(world, 'seen', 20, 1).slice(0, 5));
  expect(drawPrompts(world, 'seen', 5, 1)).not.toEqual(drawPrompts(world, 'seen', 5, 2));
  expect(() => drawPrompts(world, 'seen', 1, 0.5)).toThrow('seed is 0.5; give a whole number of 0..2^53 - 1.');
});

it('knows the truth of all gallery prompts', () => {
  const gallery = galleryPrompts(world);
  expect(gallery).toHaveLength(24);
  const of = (text: string) => gallery.find((one) => one.text === text);
  expect(of('a rocket flying up over a night sky')).toEqual({
    text: 'a rocket flying up over a night sky',
    truth: { subject: 'rocket', scene: 'night sky', motion: 'up', size: '' },
    split: 'seen',
  });
  expect(of('a big robot coming closer on a plain pink background')?.truth).toEqual({
    ...{ subject: 'robot', scene: 'plain', motion: 'grow', size: 'big' },
  });
  expect(of('a teddy bear jumping up and down on a city street')?.truth.motion).toBe('bounce');
});

it('says what a prompt does not name, and does not judge it', () => {
  expect(() => withTruth(world, 'the moon over the ocean')).toThrow(
    '"the moon over the ocean" names no subject and no scene and no motion of the model\'s world',
  );
  expect(truthOf(world, 'A BIG t-rex, at dusk')).toEqual({ subject: 'dinosaur', scene: 'sunset', size: 'big' });
  expect(truthOf(world, 'a whaleboat')).toEqual({ size: '' });
});

it('the prompts from outside are those that training shows', () => {
  const evaluate = readFileSync(join(world.folder, 'evaluate.py'), 'utf8');
  const list = /OTHER = \[(.*?)\]/s.exec(evaluate)![1];
  expect([...list.matchAll(/'([^']+)'/g)].map(([, text]) => text)).toEqual(OUTSIDE_PROMPTS);
});

it('grammar.json is what captions.py writes today', ({ skip }) => {
  let written: string;
  try {
    const script = 'import json, captions; print(json.dumps(captions.grammar()))';
    written = execFileSync('python3', ['-B', '-c', script], { cwd: world.folder, encoding: 'utf8' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return skip('there is no python3 to ask');
    throw error;
  }
  const { folder, ...grammar } = world;
  expect(grammar).toEqual(JSON.parse(written));
});

it('a missing or damaged grammar is one sentence', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'zoetrope-world-'));
  await expect(loadWorld(folder)).rejects.toThrow('is missing: it says what captions are made of');
  for (const damaged of ['{', '{}', '{"subjects": []}']) {
    writeFileSync(join(folder, 'grammar.json'), damaged);
    await expect(loadWorld(folder)).rejects.toThrow('grammar.json" is damaged (');
  }
  rmSync(folder, { recursive: true });
});
