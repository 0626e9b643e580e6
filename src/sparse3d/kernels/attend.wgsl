// Softmax attention by a plan, or of all keys (DENSE), on any WebGPU: under 16 KiB of workgroup memory and no features. Uniform and bindings
// are those of gpu-attend-call.ts. A workgroup owns 8 * ROWS query rows and walks over their keys, 64 at a time: scores from 16 dimensions
// at a time, then weights times values 16 keys at a time, all staged as f32. A thread keeps ROWS x 4 scores and ROWS x PARTS vectors of the
// output. A row's shift follows its largest score only when that has grown by more than SLACK (log2), so most tiles rescale nothing.

struct Level { pool: u32, base: u32, units: u32, spare: u32 }
struct Attend {
  heads: u32, qBlocks: u32, kBlocks: u32, blockQ: u32, blockK: u32, width: u32, rowsQ: u32, rowsK: u32,
  levels: u32, scale: f32, spare: vec2u, level: array<Level, 8>,
}

@group(0) @binding(0) var<uniform> call: Attend;
@group(0) @binding(1) var<storage, read> q: array<vec4<Scalar>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<Scalar>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<Scalar>>;
@group(0) @binding(4) var<storage, read> counts: array<i32>;
@group(0) @binding(5) var<storage, read> blocks: array<i32>;
@group(0) @binding(6) var<storage, read> tokens: array<i32>;
@group(0) @binding(7) var<storage, read_write> out: array<vec4<Scalar>>;
@group(0) @binding(8) var<storage, read_write> lse: array<f32>;

const VECS = DIM / 4;
const PARTS = (VECS + 15) / 16;
const QUERIES = 8 * ROWS;
const KEYS = 64;
const STRIDE = QUERIES / 4 + 1; // between the weights of two keys, odd against bank conflicts
const VALUE_KEYS = select(16, 8, DIM > 128);
const VALUES = 16 * STRIDE; // values lie behind weights
const MASKED = -3e38;

var<workgroup> stage: array<vec4f, max(4 * (QUERIES + KEYS), VALUES + VALUE_KEYS * VECS)>;
var<workgroup> keyRow: array<u32, KEYS>;
var<workgroup> keyBias: array<f32, KEYS>;
var<workgroup> grown: u32;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let column = thread % 16;
  let top = thread / 16 * ROWS;
  // Rows first .. first + slots - 1 of q are the tile's; `real` of them hold a token.
  let tilesPerBlock = (call.blockQ + QUERIES - 1) / QUERIES;
  let block = group.x / tilesPerBlock;
  let skipped = select(group.x % tilesPerBlock, group.x, DENSE) * QUERIES;
  let planRow = group.y * call.qBlocks + block;
  let slots = select(call.blockQ, call.rowsQ, DENSE) - skipped;
  let first = group.y * call.rowsQ + select(block * call.blockQ, 0, DENSE) + skipped;
  var real = slots;
  var keys = call.rowsK;
  if (!DENSE) {
    real = u32(max(tokens[block] - i32(skipped), 0));
    keys = 0;
    for (var l = 0u; l < call.levels; l++) {
      keys += u32(counts[planRow * call.levels + l]) * call.level[l].units;
    }
  }
  keys = select(keys, 0, real == 0);

  var output = array<vec4f, ROWS * PARTS>();
  var shift: array<f32, ROWS>;
  var mass = array<f32, ROWS>();
  for (var r = 0u; r < ROWS; r++) {
    shift[r] = -1e30;
  }
  for (var start = 0u; start < keys; start += KEYS) {
    if (thread < KEYS) {
      findKey(thread, start + thread, planRow);
    }
    var scores = array<vec4f, ROWS>();
    for (var part = 0u; part < VECS; part += 4) {
      workgroupBarrier();
      for (var at = thread; at < 4 * (QUERIES + KEYS); at += 128) {
        let row = at / 4;
        let vec = part + at % 4;
        var x = vec4<Scalar>();
        if (vec < VECS && row < QUERIES) {
          x = q[(first + min(row, slots - 1)) * VECS + vec];
        } else if (vec < VECS) {
          x = k[(group.y * call.rowsK + keyRow[row - QUERIES]) * VECS + vec];
        }
        stage[swizzled(row, at % 4)] = vec4f(x);
      }
      workgroupBarrier();
      for (var p = 0u; p < 4; p++) {
        let a = stage[swizzled(QUERIES + column, p)];
        let b = stage[swizzled(QUERIES + column + 16, p)];
        let c = stage[swizzled(QUERIES + column + 32, p)];
        let d = stage[swizzled(QUERIES + column + 48, p)];
        let x = vec4f(a.x, b.x, c.x, d.x);
        let y = vec4f(a.y, b.y, c.y, d.y);
        let z = vec4f(a.z, b.z, c.z, d.z);
        let w = vec4f(a.w, b.w, c.w, d.w);
        for (var r = 0u; r < ROWS; r++) {
          let query = stage[swizzled(top + r, p)];
          scores[r] = fma(vec4f(query.x), x, fma(vec4f(query.y), y, fma(vec4f(query.z), z, fma(vec4f(query.w), w, scores[r]))));
        }
      }
    }
    let bias = vec4f(keyBias[column], keyBias[column + 16], keyBias[column + 32], keyBias[column + 48]);
    var largest: array<f32, ROWS>;
    var grows = false;
    for (var r = 0u; r < ROWS; r++) {
      scores[r] = fma(scores[r], vec4f(call.scale), bias);
      let pair = max(scores[r].xy, scores[r].zw);
      largest[r] = max(pair.x, pair.y);
      grows = grows || largest[r] > shift[r] + SLACK;
    }
    if (grows) {
      grown = 1;
    }
    if (workgroupUniformLoad(&grown) != 0) {
      grown = 0;
      reduceRows(&largest, top, column, true);
      for (var r = 0u; r < ROWS; r++) {
        let next = max(shift[r], largest[r]);
        let factor = exp2(shift[r] - next);
        shift[r] = next;
        mass[r] *= factor;
        for (var n = 0u; n < PARTS; n++) {
          output[r * PARTS + n] *= factor;
        }
      }
    }
    for (var round = 0u; round < KEYS; round += VALUE_KEYS) {
      workgroupBarrier();
      if (column / VALUE_KEYS == round / VALUE_KEYS % (16 / VALUE_KEYS)) {
        for (var r = 0u; r < ROWS; r += 4) {
          let score = vec4f(scores[r].x, scores[r + 1].x, scores[r + 2].x, scores[r + 3].x);
          let weight = exp2(score - vec4f(shift[r], shift[r + 1], shift[r + 2], shift[r + 3]));
          stage[column % VALUE_KEYS * STRIDE + (top + r) / 4] = weight;
          for (var i = 0u; i < 4; i++) {
            mass[r + i] += weight[i];
            scores[r + i] = scores[r + i].yzwx;
          }
        }
      }
      for (var at = thread; at < VALUE_KEYS * VECS; at += 128) {
        stage[VALUES + at] = vec4f(v[(group.y * call.rowsK + keyRow[round + at / VECS]) * VECS + at % VECS]);
      }
      workgroupBarrier();
      for (var key = 0u; key < VALUE_KEYS; key++) {
        var weight: array<vec4f, ROWS / 4>;
        for (var r = 0u; r < ROWS; r += 4) {
          weight[r / 4] = stage[key * STRIDE + (top + r) / 4];
        }
        for (var n = 0u; n < PARTS; n++) {
          let value = stage[VALUES + key * VECS + min(column + 16 * n, VECS - 1)];
          for (var r = 0u; r < ROWS; r++) {
            output[r * PARTS + n] = fma(vec4f(weight[r / 4][r % 4]), value, output[r * PARTS + n]);
          }
        }
      }
    }
  }
  reduceRows(&mass, top, column, false);
  for (var r = 0u; r < ROWS; r++) {
    let row = first + top + r;
    let isReal = top + r < real;
    for (var n = 0u; n < PARTS; n++) {
      let vec = column + 16 * n;
      if (vec < VECS && top + r < slots) {
        out[row * VECS + vec] = select(vec4<Scalar>(), vec4<Scalar>(output[r * PARTS + n] / mass[r]), isReal);
      }
    }
    if (column == 0 && top + r < slots) {
      lse[row] = select(0.0, (shift[r] + log2(mass[r])) * 0.6931471805599453, isReal);
    }
  }
}

fn swizzled(row: u32, part: u32) -> u32 {
  return row * 4 + (part ^ (row / 2 % 4));
}

/** The row in k of an entry of a plan row, and log2 of the tokens that it stands for. */
fn findKey(lane: u32, entry: u32, planRow: u32) {
  keyRow[lane] = select(0, entry, DENSE && entry < call.rowsK);
  keyBias[lane] = select(MASKED, 0, DENSE && entry < call.rowsK);
  if (DENSE) {
    return;
  }
  var left = entry;
  var listed = planRow * call.width;
  let whole = u32(counts[planRow * call.levels]) == call.kBlocks;
  for (var l = 0u; l < call.levels; l++) {
    let level = call.level[l];
    let count = u32(counts[planRow * call.levels + l]);
    if (left < count * level.units) {
      var block = left / level.units;
      if (!whole) {
        block = u32(blocks[listed + block]);
      }
      let unit = left % level.units;
      let real = tokens[call.qBlocks + block] - i32(unit * level.pool);
      keyRow[lane] = level.base + block * level.units + unit;
      keyBias[lane] = select(MASKED, log2(f32(clamp(real, 1, i32(level.pool)))), real > 0);
      return;
    }
    left -= count * level.units;
    listed += count;
  }
}

/** The largest, or the sum, of each row over the 16 threads that hold it. */
fn reduceRows(x: ptr<function, array<f32, ROWS>>, top: u32, column: u32, largest: bool) {
  workgroupBarrier();
  for (var r = 0u; r < ROWS; r += 4) {
    stage[(top + r) * 4 + column] = vec4f((*x)[r], (*x)[r + 1], (*x)[r + 2], (*x)[r + 3]);
  }
  workgroupBarrier();
  for (var r = 0u; r < ROWS; r += 4) {
    var all = stage[(top + r) * 4];
    for (var i = 1u; i < 16; i++) {
      let other = stage[(top + r) * 4 + i];
      all = select(all + other, max(all, other), largest);
    }
    for (var i = 0u; i < 4; i++) {
      (*x)[r + i] = all[i];
    }
  }
}
