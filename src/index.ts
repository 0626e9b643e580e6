// The public names of zoetrope, nothing else: those of `browser.ts`, and what needs a disk or other programs.
/// <reference types="@webgpu/types" preserve="true" />
export * from './browser.ts';
export { type CalibrateOptions, calibrate } from './calibration/calibrate.ts';
export { readCalibration } from './calibration/file.ts';
export { type InspectionFigures, type SavedHead, type SaveInspectionOptions, saveInspection } from './inspect/save.ts';
export { formatListing, type ListedAttention, listAttention, type OnnxListing } from './onnx/list.ts';
export { checkOutput, type Output, type OutputOptions, type SavedVideo, type SaveOptions, saveVideo } from './video/file.ts';
export { contactSheet, saveStill } from './video/frames.ts';
