// The public names that a web page can use too: what package.json gives to bundlers for browsers.
/// <reference types="@webgpu/types" preserve="true" />
export { type AccelerateOptions, type Acceleration, type AutoOptions, accelerate, type ChosenAcceleration } from './accelerate.ts';
export { type AttentionOptions, type BoundAttention, createAttention, type StepStatistics } from './attention.ts';
export type { Reduction } from './backend/algebra.ts';
export type { Attended, Backend, Sampling, Selection } from './backend/backend.ts';
export { type CpuDevice, openCpu } from './backend/cpu.ts';
export { cpuBackend } from './backend/cpu-backend.ts';
export { loadRuntime, type Runtime, type RuntimeChoice, type RuntimeName } from './backend/runtime.ts';
export type { AdapterReport, GpuOptions } from './backend/webgpu/adapter.ts';
export { type GpuVariants, webgpuBackend } from './backend/webgpu/backend.ts';
export { type GpuDevice, openWebgpu } from './backend/webgpu/device.ts';
export type { MatrixShape } from './backend/webgpu/wgsl.ts';
export type { Calibration, CalibrationOptions, StoredWindow } from './calibration/calibration.ts';
export { calibratedShares, calibratedWindows } from './calibration/stages.ts';
export type { GridSizes } from './checks.ts';
export { type Choice, type ChooseOptions, chooseMethod, type Preset, type Trial } from './choose.ts';
export type { DeviceReport } from './device.ts';
export type { GenerationDefaults } from './dit/config.ts';
export { type StepCache, type StepCacheOptions, stepCache } from './dit/step-cache.ts';
export { UnsupportedError } from './errors.ts';
export type { Estimate } from './estimate.ts';
export {
  type InspectedCall,
  type InspectedHead,
  type InspectedPlan,
  type InspectedStep,
  type Inspection,
  type InspectOptions,
  inspectRun,
} from './inspect/run.ts';
export { inspectionText } from './inspect/text.ts';
export type {
  Attention,
  Call,
  Correction,
  Decided,
  LayoutStage,
  Layouts,
  Memory,
  Method,
  Phase,
  Schedule,
  Scorer,
  Selector,
  Site,
  Tokens,
} from './method.ts';
export { withQueryBlocks } from './method-queries.ts';
export type { SparsityOptions } from './methods/sparsity.ts';
export {
  type AdaSpaOptions,
  adamas,
  adaSpa,
  anchor,
  asa,
  type CalibratedTileOptions,
  catalogue,
  deltaAttention,
  dense,
  draft,
  exactRest,
  flexPrefill,
  hip,
  type Listed,
  liteAttention,
  type Mark,
  methodNamed,
  minference,
  neighborhood,
  nsaLike,
  type PyramidSparseOptions,
  pbs,
  powerAttention,
  pyramidSparse,
  radial,
  rainFusion,
  rainFusion2,
  type SpargeOptions,
  type Svg2Options,
  s2,
  sale,
  sampleAttention,
  seer,
  slidingTile,
  sparge,
  sparseD,
  svg,
  svg2,
  svgEar,
  tca,
  tidal,
  twilight,
  unported,
  vmoba,
  vsa,
  xAttention,
} from './methods.ts';
export type { OnnxOptions } from './onnx/accelerate.ts';
export type { Feeds, GridOption } from './onnx/grid.ts';
export type { OnnxSession } from './onnx/session.ts';
export type { StepOptions } from './onnx/steps.ts';
export type { GenerateOptions, Settings, StepReport } from './options.ts';
export { type Attend, attention, type OwnLoop, type OwnLoopOptions, type Place } from './own-loop.ts';
export { type GeneratedVideo, type PipelineOptions, type RunReport, TextToVideoPipeline, type Vocabulary } from './pipeline.ts';
export { psnr, ssim } from './quality/frames.ts';
export type { Recall } from './quality/recall.ts';
/** Static patterns, for `pattern` and `withPattern`: which block pairs are read whatever q and k are. */
export * as patterns from './search/all-patterns.ts';
export { antidiagonal } from './search/antidiagonal.ts';
export { type BestOfOptions, bestOf } from './search/best-of.ts';
export type { Axes } from './search/boxes.ts';
export { type ClusterOptions, clusters } from './search/clusters.ts';
export { type DeltaOptions, delta, keptResidual } from './search/correct.ts';
export { poolingError } from './search/error.ts';
export { type HeavyKeysOptions, heavyKeys } from './search/heavy-keys.ts';
export { pyramid, restAt, upTo, within } from './search/levels.ts';
export { hadamardCodes, type MarginsOptions, margins } from './search/low-bit.ts';
export { forced, lessAnchor, pattern, withPattern } from './search/pattern.ts';
export { type HierarchicalOptions, hierarchical, type PooledOptions, pooled } from './search/pooled.ts';
export {
  type BlocksOrLinesOptions,
  blocksOrLines,
  sampledRows,
  type VerticalSlashOptions,
  verticalSlash,
} from './search/probes.ts';
export {
  alwaysDense,
  type DenseOverrides,
  type DenseStart,
  type SearchEveryOptions,
  type SearchLayersOptions,
  searchAt,
  searchEvery,
  searchLayers,
  searchOnce,
  type Which,
  withDense,
} from './search/schedule.ts';
export { exact, sampled, withText } from './search/score.ts';
export {
  type CutOptions,
  type HeadAdaptiveOptions,
  headAdaptive,
  type MarginOptions,
  type MassOptions,
  margin,
  mass,
  rank,
  type SimilarityCap,
  similarityCap,
} from './search/select.ts';
export { covering, type HeadShares, offline, ofTokens, type RefineOptions, refine, shrinking, union } from './search/select-by.ts';
export { columns, curve, cyclic, places, raster, tiles } from './sparse3d/layout.ts';
export { type Grid, type Layout, type Level, PAD, type Plan, tokensOf } from './sparse3d/plan.ts';
export type { AttentionStatistics, CallStatistics, NotedCall } from './statistics.ts';
export type { DType, Numbers, Tensor } from './tensor.ts';
export type { Frame, Video } from './video/frame.ts';
