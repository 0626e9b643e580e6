// Every method by name: what it is, where it comes from, and its stages in words. Data for tables, benches and the command line.
import type { CalibrationOptions } from '../calibration/calibration.ts';
import { preset } from '../checks.ts';
import type { Method } from '../method.ts';
import { byName } from './names.ts';
import { dense, exactRest } from './own.ts';
import {
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
} from './ported.ts';
import { adaSpa, pyramidSparse } from './published.ts';
import { svg2, svgEar } from './published-clusters.ts';
import { neighborhood, radial, rainFusion, slidingTile, svg } from './published-patterns.ts';
import { draft, rainFusion2, sparge, vmoba } from './published-pooled.ts';
import { liteAttention, xAttention } from './published-probed.ts';
import type { SparsityOptions } from './sparsity.ts';
import { asa, nsaLike, s2, seer, vsa } from './trained.ts';

/**
 * `published`: training-free on video, by its authors. `ported`: an idea of other work, on video unproven. `trained`: the untrained form of a
 * method that needs training. `own`: this project's.
 */
export type Mark = 'published' | 'ported' | 'trained' | 'own';

/** A method as tables show it. */
export interface Listed {
  /** Its own name. */
  readonly name: string;
  /** Title and number; empty for our own. */
  readonly paper: string;
  /** Where it comes from. */
  readonly mark: Mark;
  /** Parts of the recipe are ours, because the authors' are not known or do not fit blocks of one layout: no verdict on the paper. */
  readonly reconstruction: boolean;
  /** Layout, score, selection with its levels, correction if any, schedule: in words. */
  readonly stages: readonly string[];
  /** Other names that mean this same method. */
  readonly aliases: readonly string[];
  /** Whether it takes `{ sparsity }`. */
  readonly sparsity: boolean;
  /** Whether it takes `{ calibration }`. */
  readonly calibration: boolean;
  /** Makes the method. @throws RangeError for a sparsity outside [0, 1), TypeError for an option that it does not take. */
  readonly preset: (options?: SparsityOptions & CalibrationOptions) => Method;
}

interface Details {
  readonly paper?: string;
  readonly reconstruction?: boolean;
  readonly aliases?: readonly string[];
  readonly sparsity?: boolean;
  readonly calibration?: boolean;
}

type Preset = Listed['preset'];

/** An entry; other options than `sparsity` and `calibration` are for those who call the preset itself. */
const listed =
  (mark: Mark) =>
  (make: Preset | (() => Method), stages: readonly string[], details: Details = {}): Listed => {
    const { paper = '', reconstruction = false, aliases = [], sparsity = false, calibration = false } = details;
    const own = sparsity || calibration ? (make as Preset) : preset(() => (make as () => Method)());
    return { name: own().name, paper, mark, reconstruction, stages, aliases, sparsity, calibration, preset: own };
  };

const [published, ported, trained, own] = (['published', 'ported', 'trained', 'own'] as const).map(listed);

/** All methods, in the order of tables. */
export const catalogue: readonly Listed[] = [
  own(dense, ['raster', 'full attention', 'at every step']),
  published(adaSpa, ['raster', 'exact mass', 'rank per row, three head budgets', 'search at .2 and .6'], {
    ...{ paper: 'AdaSpa, arXiv 2502.21079', sparsity: true },
  }),
  published(pyramidSparse, ['curve', 'sampled maxima', 'mass per row, pooled by 2, 4, 8, similarity cap', 'dense .3, search every step'], {
    ...{ paper: 'Pyramid Sparse Attention, arXiv 2512.04025', aliases: ['psa'], sparsity: true },
  }),
  published(
    radial,
    ['raster', 'windows that halve with the distance of frames, first frame', 'forced', 'dense .24 and layer 0, one plan'],
    {
      paper: 'Radial Attention, arXiv 2506.19852',
    },
  ),
  published(slidingTile, ['tiles 4x4x4', 'window of 3x3x3 tiles, moved inside at borders', 'forced', 'dense .24, one plan'], {
    ...{ paper: 'Sliding Tile Attention, arXiv 2502.04507', reconstruction: true, aliases: ['sta'], calibration: true },
  }),
  published(neighborhood, ['tiles 4x4x4', 'window of 8x12x12 tokens shared by 8x4x4 queries', 'forced', 'dense .24, one plan'], {
    ...{ paper: 'Generalized Neighborhood Attention, arXiv 2504.16922', reconstruction: true, aliases: ['gna', 'natten'] },
  }),
  published(svg, ['tiles 4x4x4', 'band of frames or of places by error on 64 rows, first frame', 'forced', 'dense .2, judged every step'], {
    ...{ paper: 'Sparse VideoGen, arXiv 2502.01776', reconstruction: true, aliases: ['sparseVideoGen'] },
  }),
  published(rainFusion, ['tiles 4x4x4', 'near places, near frames or a checkerboard by recall', 'forced', 'dense .1, judged every 5'], {
    ...{ paper: 'RainFusion, arXiv 2505.21036', reconstruction: true },
  }),
  published(sparge, ['raster', 'smoothed block means', 'mass per row .98, guard .6', 'search every step'], {
    ...{ paper: 'SpargeAttn, arXiv 2502.18137', aliases: ['spargeAttn'], sparsity: true },
  }),
  published(draft, ['tiles 1x8x8', 'block means, own block', 'rank per head', 'search every step'], {
    ...{ paper: 'DraftAttention, arXiv 2505.14708', sparsity: true },
  }),
  published(
    vmoba,
    ['slabs, columns, boxes by layer', 'block means from 0 to 1, own block', 'mass per head .25', 'dense .25, search every step'],
    {
      ...{ paper: 'VMoBA, arXiv 2506.23858', reconstruction: true },
    },
  ),
  published(rainFusion2, ['tiles 4x4x4', 'block means, first frame both ways', 'rank per row', 'dense .1, search every 5'], {
    ...{ paper: 'RainFusion 2.0, arXiv 2512.24086', reconstruction: true, sparsity: true },
  }),
  published(xAttention, ['raster', 'antidiagonals', 'mass per row .9', 'dense .1, search every step'], {
    paper: 'XAttention, arXiv 2503.16428',
  }),
  published(
    liteAttention,
    ['raster', 'margin to the row maximum', 'what lies 10 below is dropped for good', 'dense step 0, search every step'],
    {
      ...{ paper: 'LiteAttention, arXiv 2511.11062', reconstruction: true },
    },
  ),
  published(svg2, ['clusters of each head', 'block means', 'mass per row .9, at least .1 of the blocks', 'dense .2, search every step'], {
    ...{ paper: 'Sparse VideoGen 2, arXiv 2505.18875', reconstruction: true, aliases: ['sparseVideoGen2'] },
  }),
  published(svgEar, ['clusters of each head', 'error of block means', 'rank per row, rest at its means', 'dense .2, search every step'], {
    ...{ paper: 'SVG-EAR, arXiv 2603.08982', reconstruction: true, sparsity: true },
  }),
  ported(sparseD, ['raster', 'exact mass', 'rank per row', 'search once, at .2'], { paper: 'SparseD, ICLR 2026', sparsity: true }),
  ported(powerAttention, ['raster', 'blocks at distances 1, 2, 4, ..., first frame', 'forced', 'dense .2, one plan'], {
    ...{ paper: 'PowerAttention, arXiv 2503.03588', reconstruction: true },
  }),
  ported(hip, ['tiles 4x4x4', 'means of groups of 8 blocks, then of blocks', 'rank per row', 'dense .2, search every step'], {
    ...{ paper: 'HiP Attention, arXiv 2406.09827', reconstruction: true, sparsity: true },
  }),
  ported(minference, ['raster', 'columns and diagonals of 64 rows', 'forced', 'dense .2, search every step'], {
    ...{ paper: 'MInference, arXiv 2407.02490', reconstruction: true },
  }),
  ported(flexPrefill, ['raster', 'block means, or lines of 128 rows, by head', 'mass per head .9', 'dense .2, search every step'], {
    ...{ paper: 'FlexPrefill, arXiv 2502.20766', reconstruction: true },
  }),
  ported(pbs, ['keys of each head by their weight on 64 rows', 'block means', 'mass per row .9', 'dense .2, search every 5'], {
    ...{ paper: 'PBS-Attn, arXiv 2510.21270', reconstruction: true, aliases: ['pbsAttn'] },
  }),
  ported(
    sampleAttention,
    ['tiles 4x4x4', 'some rows for all, own and adjacent blocks', 'mass per row .95', 'dense .2, search every step'],
    {
      ...{ paper: 'SampleAttention, arXiv 2406.15486', reconstruction: true },
    },
  ),
  ported(
    anchor,
    ['tiles 4x4x4', 'logits of block means; own block, first frame and text', '4 nats below their largest', 'dense .2, search every step'],
    {
      ...{ paper: 'AnchorAttention, arXiv 2505.23520', reconstruction: true, aliases: ['anchorAttention'] },
    },
  ),
  ported(
    twilight,
    ['tiles 4x4x4', 'block means, then 4-bit logits', 'rank per row .5, then mass .85', 'dense .2 and 2 layers, search every step'],
    {
      ...{ paper: 'Twilight, arXiv 2502.02770', reconstruction: true },
    },
  ),
  ported(sale, ['tiles 4x4x4', '4-bit logits', '4 nats below the row maximum', 'search at .2 and .6'], {
    ...{ paper: 'SALE, arXiv 2505.24179', reconstruction: true },
  }),
  ported(adamas, ['tiles 4x4x4', '2-bit codes of Hadamard-turned means', 'rank per row', 'dense .2, search every step'], {
    ...{ paper: 'Adamas, arXiv 2510.18413', reconstruction: true, sparsity: true },
  }),
  ported(tidal, ['tiles 4x4x4', 'block means', 'rank per row', 'dense .2, two layers search for all'], {
    ...{ paper: 'TidalDecode, arXiv 2410.05076', reconstruction: true, aliases: ['tidalDecode'], sparsity: true },
  }),
  ported(tca, ['tiles 4x4x4', 'block means', 'rank per row, heads by what covers .9 of their mass', 'dense .2, search every step'], {
    ...{ paper: 'TCA, training-free context-adaptive attention', reconstruction: true, aliases: ['tcaAttention'], calibration: true },
  }),
  ported(
    deltaAttention,
    ['tiles 4x4x4', 'block means, own block', 'rank per head', 'one dense row a block added', 'dense .2, search every step'],
    { paper: 'Delta Attention, arXiv 2505.11254', sparsity: true, aliases: ['delta'] },
  ),
  trained(asa, ['curve', 'sampled maxima', 'mass per row .95 in 5 to 17 %, rest pooled by 32', 'dense .24, search every step'], {
    paper: 'ASA of BLADE, arXiv 2508.10774',
  }),
  trained(vsa, ['tiles 4x4x4', 'block means', 'rank per row', 'dense .2, search every step'], {
    ...{ paper: 'VSA, arXiv 2505.13389; SLA, arXiv 2509.24006', aliases: ['sla'], sparsity: true },
  }),
  trained(
    nsaLike,
    ['tiles 4x4x4', 'block means, window of 3x3x3 tiles', 'rank per row, rest at its means', 'dense .2, search every step'],
    {
      ...{ paper: 'NSA, arXiv 2502.11089', reconstruction: true, aliases: ['nsa', 'videoNSA'], sparsity: true },
    },
  ),
  trained(seer, ['tiles 4x4x4', 'block means by the root of their tokens', 'rank per row', 'dense .2, search every step'], {
    ...{ paper: 'SeerAttention, arXiv 2410.13276; DHSA', reconstruction: true, aliases: ['dhsa'], sparsity: true },
  }),
  trained(s2, ['tiles 4x4x4', 'every fourth block, another quarter for each head', 'forced', 'dense .2, one plan'], {
    ...{ paper: 'S2-Attention, arXiv 2407.17678', reconstruction: true },
  }),
  own(exactRest, ['columns 2x4 through time', 'exact mass', 'rank per row, rest at its means', 'search at .2 and .6'], { sparsity: true }),
];

/** The method of that name or alias, whatever the case. @throws RangeError with the nearest names when there is none. */
export const methodNamed = (name: string): Listed => byName(name, catalogue);

/** Known methods that are not here, and why. */
export const unported: readonly {
  /** What its authors call it. */
  readonly name: string;
  /** Title, number or both. */
  readonly paper: string;
  /** Why it is not here, and what is nearest. */
  readonly reason: string;
}[] = [
  {
    name: 'MoA',
    paper: 'arXiv 2406.14909',
    reason: 'slidingTile with a calibration: windows by layer and head under a bound of density, by error where it has gradients',
  },
  {
    name: 'DAM',
    paper: 'Dynamic Attention Mask',
    reason: 'masks by layer and head over single tokens, from runs on short inputs; slidingTile with a calibration is the nearest',
  },
  {
    name: 'Loki',
    paper: 'arXiv 2406.02542',
    reason: 'needs the principal axes of keys, for which there is no operation; hadamardCodes are the nearest',
  },
  {
    name: 'BLASST',
    paper: 'arXiv 2512.12087',
    reason: 'skips work inside a kernel by the running maximum; liteAttention makes plans by the like',
  },
  { name: 'SageAttention', paper: 'arXiv 2410.02367', reason: 'dense attention in few bits; there is no plan' },
];
