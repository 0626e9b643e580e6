// Weights of probed rows [heads, rows, kBlocks] summed along lines: columns [heads, 1, kBlocks] and diagonals [heads, 1, qBlocks + kBlocks - 1].
// A thread makes one sum.
struct Sizes { rows: u32, qBlocks: u32, kBlocks: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<f32>;
// [rows]: the query block of each row.
@group(0) @binding(2) var<storage, read> blockOf: array<i32>;
@group(0) @binding(3) var<storage, read_write> columns: array<f32>;
@group(0) @binding(4) var<storage, read_write> diagonals: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let line = group.x * 256u + thread;
  let head = group.y;
  let diagonalCount = sizes.qBlocks + sizes.kBlocks - 1u;
  var sum = 0.0;
  if (line < sizes.kBlocks) {
    for (var row = 0u; row < sizes.rows; row++) { sum += x[(head * sizes.rows + row) * sizes.kBlocks + line]; }
    columns[head * sizes.kBlocks + line] = sum;
  } else if (line - sizes.kBlocks < diagonalCount) {
    let diagonal = line - sizes.kBlocks;
    for (var row = 0u; row < sizes.rows; row++) {
      let column = i32(diagonal) - i32(sizes.qBlocks - 1u) + blockOf[row];
      if (column >= 0 && column < i32(sizes.kBlocks)) { sum += x[(head * sizes.rows + row) * sizes.kBlocks + u32(column)]; }
    }
    diagonals[head * diagonalCount + diagonal] = sum;
  }
}
