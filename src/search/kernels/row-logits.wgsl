// Logits of chosen rows, from `first` of the list on, and all keys, in units of log2: [heads, rows, keys]. A workgroup takes 64 rows and 64 keys, a
// thread 4 x 4 of them. block-tile.wgsl stands behind it.
// Header: Rows and Scalar, the types of q and k; DIM; SCALE, log2(e) * scale.
struct Sizes { allRows: u32, first: u32, rows: u32, keys: u32 }

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> q: array<vec4<Rows>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<Scalar>>;
// Which row of q each row is.
@group(0) @binding(3) var<storage, read> chosen: array<i32>;
// [keys]: what is added to the logit of a key.
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> logits: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let head = group.z;
  let firstRow = group.y * SIDE;
  let firstKey = group.x * SIDE;
  let staged = thread / 4u;
  let row = head * sizes.allRows + u32(chosen[sizes.first + min(firstRow + staged, sizes.rows - 1u)]);
  let products = product(thread, i32(row), i32(head * sizes.keys + min(firstKey + staged, sizes.keys - 1u)));
  for (var down = 0u; down < 4u; down++) {
    let to = firstRow + thread / 16u * 4u + down;
    for (var along = 0u; along < 4u; along++) {
      let key = firstKey + thread % 16u * 4u + along;
      if (to < sizes.rows && key < sizes.keys) {
        logits[(head * sizes.rows + to) * sizes.keys + key] = products[down][along] * SCALE + bias[key];
      }
    }
  }
}
