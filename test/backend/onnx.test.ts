import { expect, test } from 'vitest';
import { OnnxGraph } from '../../src/backend/onnx.ts';
import { loadRuntime } from '../../src/backend/runtime.ts';

for (const name of ['onnxruntime-node', 'onnxruntime-web'] as const)
  test(name, async () => {
    const r = await loadRuntime(name);
    console.log(r.name, r.version, r.threads);
    const g = new OnnxGraph();
    const x = g.input('x', 'f32', ['n', 2]);
    const w = g.external('w', 'bf16', [2, 3], { location: 'w', offset: 0, length: 12 });
    const y = g.node('MatMul', [x, g.node('Cast', [w], { to: 1 })], {}, '', 'y');
    g.output(y, 'f32', ['n', 3]);
    const u = new Uint16Array(
      [1, 2, 3, 4, 5, 6].map((v) => {
        const f = new Float32Array([v]);
        return new Uint32Array(f.buffer)[0] >>> 16;
      }),
    );
    const s = await r.session(g.build(), { externalData: [{ path: 'w', data: new Uint8Array(u.buffer) }] });
    const o = await s.run({ x: new r.Tensor('float32', new Float32Array([1, 1, 2, 0]), [2, 2]) });
    console.log(o.y.data);
    expect([...(o.y.data as Float32Array)]).toEqual([5, 7, 9, 2, 4, 6]);
  });
