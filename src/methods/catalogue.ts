// Every method by name: what it is, where it comes from, and its stages in words. Data for tables, benches and the command line.
import type { Method } from '../method.ts';
import { byName } from './names.ts';
import { dense, exactPyramid } from './own.ts';
import { powerAttention, sparseD } from './ported.ts';
import { adaSpa, pyramidSparse } from './published.ts';
import { neighborhood, radial, slidingTile } from './published-patterns.ts';
import type { SparsityOptions } from './sparsity.ts';
import { s2 } from './trained.ts';

/**
 * `published`: training-free on video, by its authors. `ported`: an idea of other work, on video unproven. `trained`: the untrained form of a
 * method that needs training. `own`: this project's.
 */
export type Mark = 'published' | 'ported' | 'trained' | 'own';

export interface Listed {
  readonly name: string;
  /** Title and number; empty for our own. */
  readonly paper: string;
  readonly mark: Mark;
  /** Parts of the recipe are ours, because the authors' are not known or do not fit blocks of one layout: no verdict on the paper. */
  readonly reconstruction: boolean;
  /** Layout, score, selection with its levels, correction if any, schedule: in words. */
  readonly stages: readonly string[];
  /** Other names that mean this same method. */
  readonly aliases: readonly string[];
  /** Whether it takes `{ sparsity }`. */
  readonly sparsity: boolean;
  readonly preset: (options?: SparsityOptions) => Method;
}

interface Details {
  readonly paper?: string;
  readonly reconstruction?: boolean;
  readonly aliases?: readonly string[];
  readonly sparsity?: boolean;
}

const listed =
  (mark: Mark) =>
  (
    preset: Listed['preset'],
    stages: readonly string[],
    { paper = '', reconstruction = false, aliases = [], sparsity = false }: Details = {},
  ): Listed => ({ name: preset().name, paper, mark, reconstruction, stages, aliases, sparsity, preset });

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
    ...{ paper: 'Sliding Tile Attention, arXiv 2502.04507', reconstruction: true, aliases: ['sta'] },
  }),
  published(neighborhood, ['tiles 4x4x4', 'window of 12x12x12 tokens shared by 4x4x4 queries', 'forced', 'dense .24, one plan'], {
    ...{ paper: 'Generalized Neighborhood Attention, arXiv 2504.16922', reconstruction: true, aliases: ['gna', 'natten'] },
  }),
  ported(sparseD, ['raster', 'exact mass', 'rank per row', 'search once, at .2'], { paper: 'SparseD, ICLR 2026', sparsity: true }),
  ported(powerAttention, ['raster', 'blocks at distances 1, 2, 4, ..., first frame', 'forced', 'dense .2, one plan'], {
    ...{ paper: 'PowerAttention, arXiv 2503.03588', reconstruction: true },
  }),
  trained(s2, ['tiles 4x4x4', 'every fourth block, another quarter for each head', 'forced', 'dense .2, one plan'], {
    ...{ paper: 'S2-Attention, arXiv 2407.17678', reconstruction: true },
  }),
  own(exactPyramid, ['curve', 'exact mass', 'rank per row, pooled by 2, 4', 'search at .2 and .6'], { sparsity: true }),
];

/** The method of that name or alias, whatever the case. @throws RangeError with the nearest names when there is none. */
export const methodNamed = (name: string): Listed => byName(name, catalogue);

/** Known methods that are not here, and why. */
export const unported: readonly { readonly name: string; readonly paper: string; readonly reason: string }[] = [
  {
    ...{ name: 'BLASST', paper: 'arXiv 2512.12087' },
    reason: 'its test of a block against the running maximum is an option of a kernel, not a way to make a plan',
  },
  {
    ...{ name: 'SageAttention', paper: 'arXiv 2410.02367' },
    reason: 'quantised dense attention: no plan',
  },
];
