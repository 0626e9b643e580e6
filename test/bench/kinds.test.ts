// Every kernel is of one kind of work, and launches add up.
import { expect, test } from 'vitest';
import { byKind, kindOf } from '../../src/bench/kinds.ts';
import { ditKernels } from '../../src/dit/webgpu/kernels/index.ts';
import { searchKernels } from '../../src/search/kernels/index.ts';
import { sparse3dKernels } from '../../src/sparse3d/kernels/index.ts';

const kinds = (kernels: Readonly<Record<string, URL>>) =>
  Object.fromEntries(Object.values(kernels).map(({ pathname }) => [pathname.split('/').pop()!, kindOf(pathname.split('/').pop()!)]));

test('what a method searches with is a search, what a transformer computes with is not', () => {
  const search = kinds(searchKernels);
  expect(new Set(Object.values(search))).toEqual(new Set(['search']));
  const dit = kinds(ditKernels);
  expect(Object.values(dit)).not.toContain('search');
  expect(dit).toMatchObject({
    'matmul.matrix.wgsl': 'linear',
    'matmul.few.wgsl': 'linear',
    'softmax-attention.wgsl': 'attention',
    'norm.wgsl': 'norm',
    'rope.wgsl': 'norm',
    'map.wgsl': 'other',
  });
  expect(kinds(sparse3dKernels)).toMatchObject({ 'attend.matrix.wgsl': 'attention', 'permute.wgsl': 'layout', 'combine.wgsl': 'other' });
});

test('launches are added up by kind, kernels longest first', () => {
  const times = [
    { kernel: 'norm.wgsl', milliseconds: 1 },
    { kernel: 'matmul.few.wgsl', milliseconds: 2 },
    { kernel: 'matmul.wgsl', milliseconds: 3 },
    { kernel: 'matmul.wgsl', milliseconds: 4 },
    { kernel: 'never-heard-of.wgsl', milliseconds: 5 },
  ];
  expect(byKind(times)).toEqual([
    {
      kind: 'linear',
      launches: 3,
      milliseconds: 9,
      kernels: [
        { kernel: 'matmul.wgsl', launches: 2, milliseconds: 7 },
        { kernel: 'matmul.few.wgsl', launches: 1, milliseconds: 2 },
      ],
    },
    { kind: 'norm', launches: 1, milliseconds: 1, kernels: [{ kernel: 'norm.wgsl', launches: 1, milliseconds: 1 }] },
    { kind: 'other', launches: 1, milliseconds: 5, kernels: [{ kernel: 'never-heard-of.wgsl', launches: 1, milliseconds: 5 }] },
  ]);
});
