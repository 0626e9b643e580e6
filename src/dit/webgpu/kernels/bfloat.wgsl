// Stored bf16 numbers, two in a word, as f32 or rounded to f16 (Number), written from index `start` on.

struct Part {
  count: u32,
  start: u32,
}

@group(0) @binding(0) var<uniform> part: Part;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read_write> numbers: array<Number>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let at = (group.y * groups.x + group.x) * 256 + lane;
  if (at < part.count) {
    let word = words[at / 2];
    numbers[part.start + at] = Number(bitcast<f32>(select(word << 16, word & 0xffff0000u, at % 2 == 1)));
  }
}
