// Headers of kernels, and the choice between variants.
import { describe, expect, test } from 'vitest';
import { type Capabilities, chooseVariant, headerText, loadKernels, type Variant } from '../../src/backend/webgpu/wgsl.ts';
import { UnsupportedError } from '../../src/errors.ts';

test('a header is enables, then diagnostics, aliases and constants, a line each', () => {
  const header = {
    enable: ['f16'],
    off: ['subgroup_uniformity'],
    alias: { Scalar: 'f16' },
    constants: { WIDTH: 64, FAST: true, HALF: '0.5' },
  };
  expect(headerText(header).split('\n')).toEqual([
    'enable f16;',
    'diagnostic(off, subgroup_uniformity);',
    'alias Scalar = f16;',
    'const WIDTH = 64;',
    'const FAST = true;',
    'const HALF = 0.5;',
    '',
  ]);
  expect(headerText({})).toBe('');
});

test('kernels are read by name, from files and from what a bundler made of them', async () => {
  const kernels = await loadKernels({
    here: new URL('wgsl.test.ts', import.meta.url),
    bundled: new URL('data:text/plain,fn%20f()%20%7B%7D'),
  });
  expect(kernels.here.name).toBe('wgsl.test.ts');
  expect(kernels.here.body).toContain('kernels are read by name');
  expect(kernels.bundled).toEqual({ name: 'bundled.wgsl', body: 'fn f() {}' });
  await expect(loadKernels({ gone: new URL('gone.wgsl', import.meta.url) })).rejects.toThrow('gone.wgsl');
});

describe('the choice of a variant', () => {
  const needs = (name: string, feature?: string): Variant<{ dim: number }> => ({
    name,
    lacking({ features }, { dim }) {
      if (feature && !features.has(feature)) return `no ${feature}`;
      return dim > 256 ? `dim ${dim} is above 256` : undefined;
    },
  });
  const variants = [needs('matrix', 'chromium-experimental-subgroup-matrix'), needs('subgroups', 'subgroups'), needs('portable')];
  const capabilities = (...features: string[]): Capabilities => ({ features: new Set(features), limits: {}, matrices: [] });

  test('is the first that fits, with the reasons why better ones do not', () => {
    const { variant, rejected } = chooseVariant(variants, capabilities('subgroups'), { dim: 64 });
    expect(variant.name).toBe('subgroups');
    expect(rejected).toEqual([{ name: 'matrix', reason: 'no chromium-experimental-subgroup-matrix' }]);
    expect(chooseVariant(variants, capabilities(), { dim: 64 }).rejected.length).toBe(2);
  });

  test('is never another than the one asked for', () => {
    expect(chooseVariant(variants, capabilities('subgroups'), { dim: 64 }, 'portable').variant.name).toBe('portable');
    const asked = () => chooseVariant(variants, capabilities('subgroups'), { dim: 64 }, 'matrix');
    expect(asked).toThrow(UnsupportedError);
    expect(asked).toThrow('no variant can run here: matrix (no chromium-experimental-subgroup-matrix)');
    expect(() => chooseVariant(variants, capabilities(), { dim: 64 }, 'fast')).toThrow(
      'there is no variant fast; choose matrix, subgroups, portable',
    );
    expect(() => chooseVariant(variants, capabilities(), { dim: 512 })).toThrow(
      'matrix (no chromium-experimental-subgroup-matrix), subgroups (no subgroups), portable (dim 512 is above 256)',
    );
  });
});
