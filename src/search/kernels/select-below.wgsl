// For each row and level, how many open blocks lie before the key at a cut over many rows, and how many have it. One workgroup a row.
// select-bounds.wgsl and select-shared.wgsl stand behind it.
// Header: LEVELS; CHUNKS; MASS; BUDGETED.

@group(0) @binding(0) var<uniform> sizes: Selection; // rows are those of a set, `first` is how many there are in all
@group(0) @binding(1) var<storage, read> scores: array<u32>;
@group(0) @binding(2) var<storage, read> budgets: array<f32>;
@group(0) @binding(3) var<storage, read> surveys: array<vec4u>;
@group(0) @binding(4) var<storage, read> bounds: array<Bound>;
// [all rows, LEVELS]
@group(0) @binding(5) var<storage, read_write> counted: array<vec2u>;

var<workgroup> tallies: array<atomic<u32>, 2 * LEVELS>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= sizes.first) { return; }
  let rowSet = row / sizes.rows;
  let survey = surveyOf(thread, rowSet);
  var last: array<u32, LEVELS>;
  for (var level = 0u; level < LEVELS; level++) {
    let bound = bounds[rowSet * LEVELS + level];
    let every = (MASS && cutOf(rowSet, level) >= 1.0) || (!MASS && wantedOf(rowSet, level, bound.total, survey) >= f32(survey.open));
    last[level] = select(bound.low + 1u, FORBIDDEN, every);
  }
  for (var block = thread; block < sizes.kBlocks; block += THREADS) {
    let key = keyOf(scores[row * sizes.kBlocks + block]);
    if (!isOpen(key)) { continue; }
    for (var level = 0u; level < LEVELS; level++) {
      if (key < last[level]) { atomicAdd(&tallies[2u * level], 1u); }
      if (key == last[level]) { atomicAdd(&tallies[2u * level + 1u], 1u); }
    }
  }
  workgroupBarrier();
  if (thread < LEVELS) { counted[row * LEVELS + thread] = vec2u(atomicLoad(&tallies[2u * thread]), atomicLoad(&tallies[2u * thread + 1u])); }
}
