// Distances of clips: by hand on flat frames, and against scikit-image 0.19.3 and NumPy on a fixed pattern.
import { describe, expect, it } from 'vitest';
import { changeDifference, flicker, psnr, ssim } from '../../src/quality/frames.ts';
import { gmsd } from '../../src/quality/gmsd.ts';
import { flat, pattern } from './clips.ts';

const [a, b] = [pattern(3, 24, 32, 31), pattern(3, 24, 32, 37)];

describe('on a fixed pattern', () => {
  it('PSNR is that of skimage.metrics.peak_signal_noise_ratio over the whole clip', () => {
    expect(psnr(a, b)).toBeCloseTo(13.838463682437471, 9);
  });

  it('SSIM is that of skimage.metrics.structural_similarity(gaussian_weights, sigma 1.5, use_sample_covariance=False) on the luma', () => {
    expect(ssim(a.slice(0, 1), b.slice(0, 1))).toBeCloseTo(0.7032948132980968, 6);
    expect(ssim(a, b)).toBeCloseTo(0.6954771001266612, 6);
  });

  it('flicker is that of numpy.abs(numpy.diff(clip / 255, 2, axis=0)).mean()', () => {
    expect(flicker(a)).toBeCloseTo(0.13507625272331156, 10);
    expect(flicker(b)).toBeCloseTo(0.1363834422657952, 10);
  });

  it('the difference of changes is that of numpy.abs(numpy.diff(a / 255, axis=0) - numpy.diff(b / 255, axis=0)).mean()', () => {
    expect(changeDifference(a, b)).toBeCloseTo(0.07603485838779957, 10);
  });

  it("GMSD is that of the authors' steps, worked with scipy.signal.convolve2d", () => {
    const each = [0.0984366724087943, 0.07460242594809759, 0.07837128873872988];
    for (const [t, value] of each.entries()) expect(gmsd(a.slice(t, t + 1), b.slice(t, t + 1))).toBeCloseTo(value, 9);
    expect(gmsd(a, b)).toBeCloseTo(0.08380346236520726, 9);
  });
});

describe('on flat frames', () => {
  it('PSNR by hand: a difference of 51 is a fifth of the peak, 20 log10(5) dB; all frames share one mean', () => {
    expect(psnr(flat([100]), flat([151]))).toBeCloseTo(20 * Math.log10(5), 12);
    expect(psnr(flat([100, 100]), flat([151, 100]))).toBeCloseTo(10 * Math.log10(50), 12);
  });

  it('SSIM by hand: the variances are 0, so the means alone count', () => {
    const c1 = 2.55 ** 2;
    expect(ssim(flat([100]), flat([150]))).toBeCloseTo((2 * 100 * 150 + c1) / (100 ** 2 + 150 ** 2 + c1), 9);
  });

  it('flicker by hand: 0 for a steady fade, and 2 x 51 / 255 for one frame that jumps', () => {
    expect(flicker(flat([0, 10, 20, 30]))).toBe(0);
    expect(flicker(flat([100, 151, 100]))).toBeCloseTo(0.4, 12);
  });

  it('clips that move alike have equal changes whatever their brightness', () => {
    expect(changeDifference(flat([0, 10, 40]), flat([50, 60, 90]))).toBe(0);
    expect(changeDifference(flat([0, 51]), flat([0, 0]))).toBeCloseTo(0.2, 12);
  });
});

it('equal clips are at no distance', () => {
  expect([psnr(a, a), ssim(a, a), gmsd(a, a), changeDifference(a, a)]).toEqual([Number.POSITIVE_INFINITY, 1, 0, 0]);
});

it('an odd size is compared up to its last row and column', () => {
  const [odd, other] = [pattern(1, 13, 15, 31), pattern(1, 13, 15, 31)];
  other[0].data[other[0].data.length - 1] ^= 128;
  for (const distance of [gmsd(odd, other), 1 - ssim(odd, other)]) expect(distance).toBeGreaterThan(0);
});

it('refuses clips that cannot be compared, in one sentence', () => {
  expect(() => psnr(a, b.slice(1))).toThrow('A clip of 3 frames is compared with one of 2; give as many.');
  expect(() => ssim(a, pattern(3, 24, 30, 31))).toThrow('Frame 0 is 30x24 but the video is 32x24');
  expect(() => psnr([], [])).toThrow('The clip has no frames; give at least 1.');
  expect(() => flicker(a.slice(1))).toThrow('The clip has 2 frames; flicker needs at least 3.');
  expect(() => changeDifference(a.slice(2), b.slice(2))).toThrow('The clip has 1 frame; its change needs at least 2.');
  expect(() => ssim(pattern(1, 8, 32, 31), pattern(1, 8, 32, 31))).toThrow('Frames are 32x8; SSIM needs at least 11 pixels a side.');
  expect(() => gmsd(pattern(1, 3, 32, 31), pattern(1, 3, 32, 31))).toThrow('Frames are 32x3; GMSD needs at least 4 pixels a side.');
});
