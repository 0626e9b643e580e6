// How far a result is from what it should be.

/** Length of the difference over the length of what is expected (Euclidean): 0 for equal numbers. @throws RangeError for unlike lengths. */
export function relativeError(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) throw new RangeError(`${found.length} numbers are compared with ${expected.length}; give as many`);
  let [difference, length] = [0, 0];
  for (let at = 0; at < expected.length; at++) {
    difference += (found[at] - expected[at]) ** 2;
    length += expected[at] ** 2;
  }
  return length === 0 ? Math.sqrt(difference) : Math.sqrt(difference / length);
}
