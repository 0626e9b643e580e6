// What every kernel of attention shares, behind its body: the uniform, the bindings, and how a plan is read. See gpu-attend-call.ts.

// Without a plan (DENSE) a head is one block of q and of k, and qBlocks and kBlocks are the rows that hold a token, the first of each head.

struct Level { pool: u32, base: u32, units: u32, spare: u32 }
struct Attend {
  heads: u32, qBlocks: u32, kBlocks: u32, blockQ: u32, blockK: u32, width: u32, rowsQ: u32, rowsK: u32,
  levels: u32, scale: f32, spare: vec2u, level: array<Level, 12>,
}

@group(0) @binding(0) var<uniform> call: Attend;
@group(0) @binding(1) var<storage, read> q: array<Cell>;
@group(0) @binding(2) var<storage, read> k: array<Cell>;
@group(0) @binding(3) var<storage, read> v: array<Cell>;
@group(0) @binding(4) var<storage, read> counts: array<i32>;
@group(0) @binding(5) var<storage, read> blocks: array<i32>;
@group(0) @binding(6) var<storage, read> tokens: array<i32>;
@group(0) @binding(7) var<storage, read_write> out: array<vec4<Scalar>>;
@group(0) @binding(8) var<storage, read_write> lse: array<f32>;

/** Rows first .. first + slots - 1 of q belong to a block (to the head without a plan), `real` of them hold a token; `keys` entries are read. */
struct Tile { first: u32, slots: u32, real: u32, planRow: u32, keys: u32 }

/** The tile of `queries` rows that a workgroup owns; x counts tiles, those of a block follow each other. */
fn tileOf(x: u32, head: u32, queries: u32) -> Tile {
  if (DENSE) {
    let before = x * queries;
    return Tile(head * call.rowsQ + before, call.rowsQ - before, max(call.qBlocks, before) - before, 0, call.kBlocks);
  }
  let tilesPerBlock = (call.blockQ + queries - 1) / queries;
  let block = x / tilesPerBlock;
  let skipped = x % tilesPerBlock * queries;
  let planRow = head * call.qBlocks + block;
  let real = u32(max(tokens[block] - i32(skipped), 0));
  var keys = 0u;
  for (var l = 0u; l < call.levels && real > 0; l++) {
    keys += u32(counts[planRow * call.levels + l]) * call.level[l].units;
  }
  return Tile(head * call.rowsQ + block * call.blockQ + skipped, call.blockQ - skipped, real, planRow, keys);
}

/** A row of a head in k and v, and log2 of the tokens that it stands for, far below everything where there is none. */
struct Key { row: u32, bias: f32 }

/** An entry of a plan row: key blocks in their order, each as many entries as its level has units. */
fn keyAt(entry: u32, planRow: u32) -> Key {
  if (DENSE) {
    return Key(min(entry, call.kBlocks - 1), select(-3e38, 0, entry < call.kBlocks));
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
      let bias = log2(f32(clamp(real, 1, i32(level.pool))));
      return Key(level.base + block * level.units + unit, select(-3e38, bias, real > 0));
    }
    left -= count * level.units;
    listed += count;
  }
  return Key(0, -3e38);
}
