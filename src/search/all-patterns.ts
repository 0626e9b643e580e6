// Every static pattern by one name, for those who write methods: `pattern(patterns.slidingTile(), patterns.firstFrame())`.
export { type BandOptions, frameBand, placeBand, type RadialOptions, radial } from './bands.ts';
export { byHead, type Mask, type Pattern, union } from './pattern.ts';
export { checkerboard, type FirstFrameOptions, firstFrame, ownBlock, powerDistances, shards, text } from './patterns.ts';
export {
  type NeighborhoodOptions,
  neighborhood,
  type SlidingTileOptions,
  slidingTile,
  type WindowOptions,
  window,
} from './windows.ts';
