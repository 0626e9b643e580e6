// What a GPU gives to kernels, measured: how many workgroups a core holds by workgroup memory, what caches deliver, what loading subgroup
// matrices costs.
//   node dist/bench/probe-gpu.js [--cores 132] [--out FILE]        cores: streaming multiprocessors or compute units of the GPU
import { parseArgs } from 'node:util';
import { type GpuDevice, openWebgpu } from '../src/backend/webgpu/device.ts';
import { MATRIX_HEADER } from '../src/backend/webgpu/matrices.ts';
import type { Header } from '../src/backend/webgpu/wgsl.ts';
import { type Case, writeResult } from '../src/bench/results.ts';
import { gpuName, resultFile } from './machine.ts';

const { values } = parseArgs({ options: { cores: { type: 'string', default: '132' }, out: { type: 'string' } } });
const cores = Number(values.cores);
const gpu = await openWebgpu({ checked: false });
const source = gpu.tensor([8 * 2 ** 20], 'f32');
const sink = gpu.tensor([2 ** 14], 'f32');
const BINDINGS = `
@group(0) @binding(1) var<storage, read> source: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> sink: array<u32>;
`;

/** Best of 6 launches, in milliseconds. */
async function best(device: GpuDevice, name: string, body: string, workgroups: number, header: Header = {}): Promise<number> {
  const launch = () =>
    device.dispatch({ kernel: { name, body: BINDINGS + body }, header, tensors: [source, sink], workgroups: [workgroups] });
  launch();
  await device.idle();
  const times = await device.profile(() => {
    for (let run = 0; run < 6; run++) launch();
  });
  return Math.min(...times.map(({ milliseconds }) => milliseconds));
}

/** Arithmetic of a fixed length behind so much workgroup memory: the time steps up where a core holds no more workgroups. */
const occupied = (bytes: number) => `
var<workgroup> memory: array<u32, ${bytes / 4}>;
@compute @workgroup_size(128) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  for (var at = lane; at < ${bytes / 4}; at += 128) { memory[at] = at + source[0].x; }
  workgroupBarrier();
  var x = f32(lane);
  for (var turn = 0; turn < 20000; turn++) { x = fma(x, 1.0001, 0.5); }
  sink[(group.x * 128 + lane) % 16384] = u32(x) + memory[(lane * 7 + u32(x)) % ${bytes / 4}];
}`;

const streamed = (mebibytes: number) => `
@compute @workgroup_size(128) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  var all = vec4u();
  var at = group.x * 524672 + lane;
  for (var turn = 0; turn < 256; turn++) {
    for (var part = 0u; part < 8; part++) { all ^= source[(at + part * 128) & ${mebibytes * 65536 - 1}]; }
    at += 1024;
  }
  sink[(group.x * 128 + lane) % 16384] = all.x ^ all.y ^ all.z ^ all.w;
}`;

/** Eight products a turn, whose right matrices are not loaded, or loaded from where the turn says, so that nothing can be hoisted. */
const products = (load: string) => `
alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sum = subgroup_matrix_result<f32, 16, 16>;
var<workgroup> rows: array<vec4u, 64 * 17>;
var<workgroup> sums: array<vec4f, 4 * 64>;
@compute @workgroup_size(128) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  for (var at = lane; at < 64 * 17; at += 128) { rows[at] = source[at]; }
  workgroupBarrier();
  let left = subgroupMatrixLoad<Left, row_major>(&rows, 0, 17);
  let right = subgroupMatrixLoad<Right, row_major>(&rows, 0, 17);
  ${[0, 1, 2, 3, 4, 5, 6, 7].map((at) => `var sum${at} = Sum(0.0);`).join(' ')}
  var state = source[lane / 32].x;
  for (var turn = 0u; turn < 2000; turn++) {
    state = state * 1664525 + 1013904223;
    let start = (state >> 24) % 48 * 17;
    ${[0, 1, 2, 3, 4, 5, 6, 7].map((at) => `sum${at} = subgroupMatrixMultiplyAccumulate(left, ${load.replace('AT', `start + ${2 * at}`)}, sum${at});`).join('\n    ')}
  }
  ${[0, 1, 2, 3, 4, 5, 6, 7].map((at) => `subgroupMatrixStore<row_major>(&sums, lane / 32 * 64, sum${at}, 4); workgroupBarrier(); sink[(group.x * 128 + lane) % 16384] += bitcast<u32>(sums[lane].x); workgroupBarrier();`).join('\n  ')}
}`;

const LOADS = {
  'no load': 'right',
  'keys (columns lie in rows)': 'subgroupMatrixLoad<Right, col_major>(&rows, AT, 17)',
  'values (rows)': 'subgroupMatrixLoad<Right, row_major>(&rows, AT, 17)',
};

const counts = [1, 2, 3, 4, 6, 8];
const cases: (Case & Readonly<Record<string, unknown>>)[] = [];
for (const kibibytes of [4, 8, 12, 14, 15, 16, 17, 18, 20, 24, 25, 26, 28, 32, 40, 48]) {
  if (kibibytes * 1024 > gpu.adapter.limits.maxComputeWorkgroupStorageSize) continue;
  const milliseconds: number[] = [];
  for (const count of counts) milliseconds.push(await best(gpu, `occupied-${kibibytes}.wgsl`, occupied(kibibytes * 1024), count * cores));
  cases.push({ id: `webgpu/${kibibytes} KiB of workgroup memory`, kibibytes, workgroupsACore: counts, bestMilliseconds: milliseconds });
  console.log(`${kibibytes} KiB of workgroup memory, ${counts} workgroups a core: ${milliseconds.map((x) => x.toFixed(3)).join(' ')} ms`);
}
for (const mebibytes of [1, 8, 16, 32]) {
  const milliseconds = await best(gpu, `streamed-${mebibytes}.wgsl`, streamed(mebibytes), 8 * cores);
  const terabytesASecond = (8 * cores * 128 * 256 * 8 * 16) / milliseconds / 1e9;
  cases.push({ id: `webgpu/stream over ${mebibytes} MiB`, mebibytes, terabytesASecond });
  console.log(`a stream over ${mebibytes} MiB: ${terabytesASecond.toFixed(2)} TB/s`);
}
if (gpu.adapter.matrices.some(({ M, N, K, resultComponentType }) => M === 16 && N === 16 && K === 16 && resultComponentType === 'f32'))
  for (const [name, load] of Object.entries(LOADS))
    for (const count of [1, 2, 4]) {
      const milliseconds = await best(gpu, `products ${name}.wgsl`, products(load), count * cores, MATRIX_HEADER);
      const teraflops = (count * cores * 4 * 2000 * 8 * 8192) / milliseconds / 1e9;
      cases.push({ id: `webgpu f16/products, ${name}, ${count} workgroups a core`, workgroupsACore: count, teraflops });
      console.log(`products, ${name}, ${count} workgroups a core: ${teraflops.toFixed(0)} TFLOP/s`);
    }
const { vendor, architecture, description } = gpu.adapter;
const options = { cores, adapter: { vendor, architecture, description } };
if (values.out) await writeResult(values.out, resultFile('probe', options, cases, gpuName(gpu.adapter)));
gpu.dispose();
process.exit(0);
