// Rows in another order: row r of y is row order[r] of x, zero where that is negative. Item is a part of a row.

struct Permute { heads: u32, rowsX: u32, rowsY: u32, items: u32 }

@group(0) @binding(0) var<uniform> call: Permute;
@group(0) @binding(1) var<storage, read> x: array<Item>;
@group(0) @binding(2) var<storage, read> order: array<i32>;
@group(0) @binding(3) var<storage, read_write> y: array<Item>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let at = (group.y * groups.x + group.x) * 256 + lane;
  if (at >= call.heads * call.rowsY * call.items) {
    return;
  }
  let row = at / call.items;
  let head = row / call.rowsY;
  let source = order[row % call.rowsY];
  var item = Item(0);
  if (source >= 0) {
    item = x[(head * call.rowsX + u32(source)) * call.items + at % call.items];
  }
  y[at] = item;
}
