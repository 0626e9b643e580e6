import { describe, expect, it } from 'vitest';
import { unroll } from '../../src/backend/webgpu/unroll.ts';

const flat = (text: string) => text.replace(/\s+/g, ' ').trim();

describe('unroll', () => {
  it('repeats a marked loop with the counter as a number', () => {
    const body = 'a();\nfor (var i = 0u; i < N; i++) { // unroll\n  x[i] = i * 2; // said once\n}\nb();\n';
    expect(flat(unroll(body, { N: 2 }))).toBe('a(); { x[0u] = 0u * 2; } { x[1u] = 1u * 2; // said once } b();');
  });

  it('keeps the number of lines, also of no turn at all', () => {
    const body = 'a();\nfor (var i = 0u; i < N; i++) { // unroll\n  x[i] = i;\n  y[i] = i;\n}\nhere();\n';
    for (const N of [0, 1, 3]) expect(unroll(body, { N }).split('\n').indexOf('here();')).toBe(5);
  });

  it('unrolls loops in loops and leaves unmarked ones', () => {
    const body =
      'for (var r = 0u; r < R; r++) { // unroll\nfor (var c = 0u; c < 2; c++) { // unroll\nx[r * 2 + c]++;\n}\nfor (var k = 0u; k < R; k++) {\ny[r] += k;\n}\n}';
    const text = flat(unroll(body, { R: 2 }));
    expect(text.match(/x\[\du \* 2 \+ \du\]/g)).toEqual(['x[0u * 2 + 0u]', 'x[0u * 2 + 1u]', 'x[1u * 2 + 0u]', 'x[1u * 2 + 1u]']);
    expect(text.match(/for \(/g)).toHaveLength(2);
  });

  it('names a bound that the header does not give', () => {
    expect(() => unroll('for (var i = 0u; i < MANY; i++) { // unroll\n}', {})).toThrow(/MANY/);
  });
});
