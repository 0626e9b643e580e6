// config.json of AutoencoderKLWan.
import { boolean, type Config, integer, number, numbers } from '../dit/config.ts';
import { UnsupportedError } from '../errors.ts';

/** Fields of config.json that shape the decoder. */
export interface WanVaeConfig {
  readonly base: number;
  readonly channels: number;
  readonly multipliers: readonly number[];
  readonly blocks: number;
  /** For each up block but the last: does it double the frames? */
  readonly temporal: readonly boolean[];
  /** Wan 2.2: up blocks with a shortcut around them. */
  readonly residual: boolean;
  readonly outChannels: number;
  readonly patch: number;
  readonly spatial: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

const MEAN = [
  -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
];
const STD = [2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.916];

/**
 * Reads config.json of an AutoencoderKLWan; missing fields are those of Wan 2.1.
 * @throws UnsupportedError for attention inside the scales, which no published checkpoint has.
 */
export function readWanVaeConfig(json: Config): WanVaeConfig {
  const scales = numbers(json, 'attn_scales', []);
  if (scales.length > 0) throw new UnsupportedError(`attn_scales [${scales}] of AutoencoderKLWan is not supported; it must be empty`);
  const multipliers = numbers(json, 'dim_mult', [1, 2, 4, 4]);
  const channels = integer(json, 'z_dim', 16);
  const down = json.temperal_downsample ?? [false, true, true];
  if (!Array.isArray(down) || down.length !== multipliers.length - 1)
    throw new RangeError(
      `temperal_downsample needs ${multipliers.length - 1} entries for dim_mult [${multipliers}], got ${JSON.stringify(down)}`,
    );
  const patch = integer(json, 'patch_size', 1);
  return {
    base: number(json, 'decoder_base_dim', number(json, 'base_dim', 96)),
    channels,
    multipliers,
    blocks: integer(json, 'num_res_blocks', 2),
    temporal: down.map(Boolean).reverse(),
    residual: boolean(json, 'is_residual', false),
    outChannels: integer(json, 'out_channels', 3),
    patch,
    spatial: 2 ** (multipliers.length - 1) * patch,
    mean: numbers(json, 'latents_mean', MEAN, channels),
    std: numbers(json, 'latents_std', STD, channels),
  };
}
