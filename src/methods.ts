// The methods by name: presets over shared stages, in files by their mark. `catalogue` lists them with paper, mark and stages.
export { catalogue, type Listed, type Mark, methodNamed, unported } from './methods/catalogue.ts';
export { dense, exactRest } from './methods/own.ts';
export {
  adamas,
  anchor,
  deltaAttention,
  flexPrefill,
  hip,
  minference,
  pbs,
  powerAttention,
  sale,
  sampleAttention,
  sparseD,
  tca,
  tidal,
  twilight,
} from './methods/ported.ts';
export { type AdaSpaOptions, adaSpa, type PyramidSparseOptions, pyramidSparse } from './methods/published.ts';
export { type Svg2Options, svg2, svgEar } from './methods/published-clusters.ts';
export { type CalibratedTileOptions, neighborhood, radial, rainFusion, slidingTile, svg } from './methods/published-patterns.ts';
export { draft, rainFusion2, type SpargeOptions, sparge, vmoba } from './methods/published-pooled.ts';
export { liteAttention, xAttention } from './methods/published-probed.ts';
export { asa, nsaLike, s2, seer, vsa } from './methods/trained.ts';
