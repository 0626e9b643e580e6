// Stages that choose by a calibration: a window for each layer and head, or a share of the blocks.
import { checkObject } from '../checks.ts';
import type { Call, Decided, Layouts, Scorer, Selector } from '../method.ts';
import { byHead, pattern } from '../search/pattern.ts';
import { offline } from '../search/select-by.ts';
import { slidingTile } from '../search/windows.ts';
import { type Calibration, checkShape, chosenWindows } from './calibration.ts';

/**
 * For each layer and head the window of tiles that a calibration found best at this mean density: what it reads is forced, all else forbidden.
 * @throws RangeError for a density outside (0, 1]; when scoring, for a call of another shape than was calibrated.
 */
export const calibratedWindows = (calibration: Calibration, density: number): Scorer => {
  if (!(density > 0 && density <= 1))
    throw new RangeError(`a density of ${density} cannot be bound to; give a share above 0 and at most 1`);
  const { tile } = calibration.windows;
  const layers = chosenWindows(calibration, density).map((heads) =>
    pattern(byHead(...heads.map((window) => slidingTile({ tile, window })))),
  );
  const score = (call: Call) => {
    checkShape(calibration, call);
    return layers[call.site.layer](call);
  };
  const forced = (layout: Layouts): number => Math.max(...layers.map((own) => own.forced!(layout)));
  const decided = (layout: Layouts): Decided => ({
    forced: layers.reduce((sum, own) => sum + own.decided!(layout).forced, 0) / layers.length,
    open: 0,
  });
  return Object.assign(score, { forced, decided });
};

/** Rank with the share of blocks that a calibration found for each layer and head. @throws RangeError for a call of another shape. */
export const calibratedShares = (calibration: Calibration): Selector => {
  checkObject('the calibration is', calibration?.shares, 'give what calibrate or readCalibration returned');
  const { heads } = calibration.shares;
  const select = offline({ shares: heads });
  const all = heads.flat();
  const mean = all.reduce((sum, share) => sum + share, 0) / all.length;
  const checked: Selector = (call, scores, levels) => {
    checkShape(calibration, call);
    return select(call, scores, levels);
  };
  return Object.assign(checked, { share: ([{ upTo }]: Parameters<Selector>[2]) => Math.min(1, upTo * mean) });
};
