// Names as people type them: the case and hyphens do not matter, and a wrong name is answered with the nearest ones.
import { shown } from '../checks.ts';
import { editDistance } from '../edit-distance.ts';

interface Named {
  readonly name: string;
  readonly aliases: readonly string[];
}

/** @throws RangeError with the nearest names when none is `name`. */
export function byName<One extends Named>(name: string, all: readonly One[]): One {
  if (typeof name !== 'string') throw new TypeError(`the name of a method is ${shown(name)}; give a string, such as 'adaSpa'`);
  const asked = plain(name);
  const found = all.find((one) => [one.name, ...one.aliases].some((known) => plain(known) === asked));
  if (found) return found;
  const known = all.flatMap((one) => [one.name, ...one.aliases]);
  const nearest = known.toSorted((a, b) => distance(asked, plain(a)) - distance(asked, plain(b))).slice(0, 3);
  throw new RangeError(`there is no method "${name}"; the nearest are ${nearest.slice(0, -1).join(', ')} and ${nearest.at(-1)}`);
}

const plain = (name: string): string => name.toLowerCase().replace(/[\s_-]/g, '');

/** Edits from one name to the other; a name that starts with what was typed is near. */
const distance = (asked: string, known: string): number => (asked && known.startsWith(asked) ? 0.5 : editDistance(asked, known));
