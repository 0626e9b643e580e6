// What a report shows, as JSON: made from result files by `collect`, drawn by the page under `page/`. Nothing here touches files or the DOM.
import type { ContenderFacts } from '../bench/video/result.ts';
import type { VideoSummary } from '../bench/video/summary.ts';
import type { InspectionFigures } from '../inspect/save.ts';

export interface ReportData {
  readonly version: string;
  readonly date: string;
  readonly sources: readonly Source[];
  readonly videos: readonly VideoSection[];
  readonly runs: readonly RunsSection[];
  readonly rooflines: readonly Roofline[];
  readonly times: readonly TimesSection[];
  readonly plans: readonly PlansSection[];
}

/** A file that was read. */
export interface Source {
  readonly file: string;
  readonly what: string;
  readonly date: string;
  readonly version: string;
  readonly machine: string;
  readonly cases: number;
}

/** One `bench video`: one machine and one setting, so that its figures belong together. */
export interface VideoSection {
  readonly machine: string;
  readonly setting: string;
  /** The small model that comes along is no evidence for others. */
  readonly embedded: boolean;
  readonly contenders: readonly VideoRow[];
  readonly clips: readonly Clips[];
}

export interface VideoRow extends VideoSummary {
  readonly role: ContenderFacts['role'];
}

/** Videos of one prompt and seed, by contender: small frames as data URLs. */
export interface Clips {
  readonly prompt: string;
  readonly seed: number;
  readonly frames: readonly { readonly contender: string; readonly pictures: readonly string[] }[];
}

/** Whole denoising runs of one model on one machine, step by step. */
export interface RunsSection {
  readonly machine: string;
  readonly model: string;
  readonly runs: readonly { readonly label: string; readonly seconds: readonly number[] }[];
}

/** Attention on one machine and shape. */
export interface Roofline {
  readonly machine: string;
  readonly shape: string;
  /** The highest rate that was measured on the machine, at any shape, and by what. */
  readonly ceiling: { readonly teraflops: number; readonly by: string };
  readonly series: readonly { readonly label: string; readonly points: readonly RooflinePoint[] }[];
}

export interface RooflinePoint {
  readonly work: string;
  /** FLOP-equivalent share of full attention. */
  readonly density: number;
  /** Of the work that is left. */
  readonly teraflops: number;
  readonly milliseconds: number;
}

/** Timed cases of one kind of bench on one machine. */
export interface TimesSection {
  readonly machine: string;
  readonly what: string;
  readonly groups: readonly { readonly title: string; readonly bars: readonly TimeBar[] }[];
}

export interface TimeBar {
  readonly label: string;
  readonly milliseconds: number;
  /** The middle half, and of how many runs; absent where that was not kept. */
  readonly low?: number;
  readonly high?: number;
  readonly runs?: number;
  readonly density?: number;
  /** Where it was read: several files may hold the same case. */
  readonly file: string;
}

/** An inspection with its pictures in it as data URLs, where they were at hand. */
export type PlansSection = InspectionFigures;
