// Cuts over many rows to what each row takes of them: how many of its open blocks lie before the key at a cut, and of those that have it as many as
// are allowed, those of earlier rows first. One workgroup a set of rows; select-below.wgsl has counted. select-bounds.wgsl and select-shared.wgsl
// stand behind it.
// Header: LEVELS; CHUNKS; MASS; BUDGETED.

@group(0) @binding(0) var<uniform> sizes: Selection; // rows are those of a set
@group(0) @binding(1) var<storage, read> budgets: array<f32>;
@group(0) @binding(2) var<storage, read> surveys: array<vec4u>;
@group(0) @binding(3) var<storage, read> bounds: array<Bound>;
// [all rows, LEVELS]: open blocks before the key at a cut, and with it
@group(0) @binding(4) var<storage, read> counted: array<vec2u>;
@group(0) @binding(5) var<storage, read_write> reached: array<i32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let rowSet = group.x;
  let survey = surveyOf(thread, rowSet);
  for (var level = 0u; level < LEVELS; level++) {
    let bound = bounds[rowSet * LEVELS + level];
    let wanted = wantedOf(rowSet, level, bound.total, survey);
    var allowed = wanted - bound.under;
    if (MASS) { allowed = max(1.0, ceil(allowed / max(1e-30, weightOf(bound.low + 1u, survey.unit)))); }
    if (wanted <= 0.0) { allowed = 0.0; }
    var taken = 0.0;
    for (var chunk = 0u; chunk < sizes.rows; chunk += THREADS) {
      let row = chunk + thread;
      let at = (rowSet * sizes.rows + row) * LEVELS + level;
      var own = vec2u(0u);
      if (row < sizes.rows) { own = counted[at]; }
      let equal = f32(own.y);
      let upTo = taken + scan(thread, equal);
      if (row < sizes.rows) { reached[at] = i32(f32(own.x) + clamp(allowed - upTo + equal, 0.0, equal)); }
      taken += sums[THREADS - 1u];
      workgroupBarrier();
    }
  }
}
