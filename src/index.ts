// The public names of zoetrope, nothing else.
export { type Acceleration, accelerate } from './accelerate.ts';
export { type BoundAttention, createAttention, type StepStatistics } from './attention.ts';
export type { Attended, Backend, Sampling, Selection } from './backend/backend.ts';
export { type CpuDevice, type CpuTensor, openCpu } from './backend/cpu.ts';
export { cpuBackend } from './backend/cpu-backend.ts';
export { loadRuntime, type Runtime, type RuntimeChoice, type RuntimeName } from './backend/runtime.ts';
export { UnsupportedError } from './errors.ts';
export type { Estimate } from './estimate.ts';
export type { Attention, Call, Correction, LayoutStage, Memory, Method, Phase, Schedule, Scorer, Selector, Site } from './method.ts';
export { adaSpa, dense, pyramidSparse } from './methods.ts';
export type { GenerateOptions, Settings, StepReport } from './options.ts';
export { type GeneratedVideo, type PipelineOptions, type RunReport, TextToVideoPipeline, type Vocabulary } from './pipeline.ts';
export { type Grid, type Layout, type Level, PAD, type Plan, tokensOf } from './sparse3d/plan.ts';
export type { DType, Numbers, Tensor } from './tensor.ts';
export { type SavedVideo, saveVideo } from './video/file.ts';
export type { Frame, Video } from './video/frame.ts';
export { contactSheet, saveStill } from './video/frames.ts';
