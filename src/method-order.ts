// The token orders of a method: of one call, whether layers that share a plan have the same, and whether a whole forward has one, so that a model
// may keep it from its first layer to its last.
import type { Layouts, Method, Site } from './method.ts';
import { isWorthKeeping } from './sparse3d/order.ts';
import type { Layout } from './sparse3d/plan.ts';

/**
 * The order of a method's forwards, or undefined: where layers, steps or branches of a run differ in it, queries and keys do, no call is ever
 * sparse, or keeping it costs more than it saves. All forwards of a run get the same answer, so a model needs no second set of weights.
 */
export function keptOrder(method: Method): (forward: Omit<Site, 'layer' | 'layout'>) => Layout | undefined {
  const known = new Map<string, Layout | undefined>();
  return ({ steps, layers, branches, grid }) => {
    const key = [steps, layers, branches, grid.frames, grid.height, grid.width, grid.text].join('/');
    if (!known.has(key)) known.set(key, onlyOrder(method, sitesOf({ steps, layers, branches, grid })));
    return known.get(key);
  };
}

/** The order of queries and of keys in one call. */
export function layoutsOf(method: Method, site: Site): Layouts {
  const made = method.layout(site.grid, site);
  return 'q' in made ? made : { q: made, k: made };
}

/** @throws RangeError when a layer follows the plan of another one whose blocks hold other tokens. */
export function checkPlanLayer(method: Method, site: Site, { q, k }: Layouts): void {
  const planLayer = method.schedule.planLayer?.(site) ?? site.layer;
  if (planLayer === site.layer) return;
  const other = layoutsOf(method, { ...site, layer: planLayer });
  if (other.q !== q || other.k !== k)
    throw new RangeError(
      `layer ${site.layer} follows the plan of layer ${planLayer}, whose tokens are in the order ${other.q.name}, not ${q.name}; give all layers one layout, or let each search`,
    );
}

function onlyOrder(method: Method, sites: readonly Site[]): Layout | undefined {
  if (sites.every((site) => method.schedule(site) === 'dense')) return undefined;
  let order: Layout | Layouts | undefined;
  for (const site of sites) {
    const own = method.layout(site.grid, site);
    order ??= own;
    if ('q' in own || own !== order) return undefined;
  }
  return order && !('q' in order) && isWorthKeeping(order) ? order : undefined;
}

/** Every call of a run, branch by branch. */
function sitesOf({ steps, layers, branches, grid }: Omit<Site, 'step' | 'layer' | 'layout'>): Site[] {
  return Array.from({ length: steps * layers }, (_, at) => ({ step: Math.floor(at / layers), layer: at % layers })).flatMap((place) =>
    branches.map((branch) => ({ ...place, steps, layers, branches: [branch], grid })),
  );
}
