"""Reads and writes safetensors files with numpy alone."""
import json, lzma
from pathlib import Path
import numpy as np

TYPES = {'I8': np.int8, 'F16': np.float16, 'F32': np.float32, 'I64': np.int64, 'I32': np.int32}
NAMES = {np.dtype(v): k for k, v in TYPES.items()}


def opened(path, mode):
    """A file, packed by lzma where its name ends in .xz."""
    return lzma.open(path, mode) if Path(path).suffix == '.xz' else open(path, mode)


def save(path, tensors):
    """tensors: name -> numpy array (f16, f32, i32 or i64)."""
    head, at = dict(__metadata__=dict(format='pt')), 0
    for name, a in tensors.items():
        head[name] = dict(dtype=NAMES[a.dtype], shape=list(a.shape), data_offsets=[at, at + a.nbytes])
        at += a.nbytes
    text = json.dumps(head, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with opened(path, 'wb') as f:
        f.write(len(text).to_bytes(8, 'little') + text)
        for a in tensors.values(): f.write(np.ascontiguousarray(a).tobytes())


def load(path):
    with opened(path, 'rb') as f: raw = f.read()
    n = int.from_bytes(raw[:8], 'little')
    head = json.loads(raw[8:8 + n])
    head.pop('__metadata__', None)
    return {k: np.frombuffer(raw, TYPES[v['dtype']], offset=8 + n + v['data_offsets'][0], count=int(np.prod(v['shape'], dtype=int))).reshape(v['shape']) for k, v in head.items()}


def save_int8(path, tensors):
    """Matrices and kernels as int8 with one float16 scale an output row; the rest as float16. For files that only training reads."""
    out = {}
    for k, a in tensors.items():
        rows = a.astype(np.float32).reshape(a.shape[0], -1) if a.ndim > 1 else None
        if rows is None: out[k] = a.astype(np.float16); continue
        scale = np.maximum(np.abs(rows).max(1), 1e-6) / 127
        out[k], out[k + ':scale'] = np.rint(rows / scale[:, None]).astype(np.int8).reshape(a.shape), scale.astype(np.float16)
    save(path, out)


def load_int8(path):
    raw, out = load(path), {}
    for k, a in raw.items():
        if k.endswith(':scale'): continue
        out[k] = a.astype(np.float32) * (raw[k + ':scale'].astype(np.float32).reshape(-1, *[1] * (a.ndim - 1)) if a.dtype == np.int8 else 1)
    return out


def save_sharded(folder, stem, tensors, limit=15 << 20):
    """One file when it is under the limit, else shards of about equal size and an index."""
    folder = Path(folder); folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f'{stem}*'): old.unlink()
    total = sum(a.nbytes for a in tensors.values())
    count = -(-total // limit)
    if count == 1: return save(folder / f'{stem}.safetensors', tensors)
    shards, used = [{} for _ in range(count)], 0
    for k, a in tensors.items():
        shards[min(count - 1, used * count // total)][k] = a
        used += a.nbytes
    names = [f'{stem}-{i + 1:05d}-of-{count:05d}.safetensors' for i in range(count)]
    for name, shard in zip(names, shards): save(folder / name, shard)
    index = dict(metadata=dict(total_size=total), weight_map={k: n for n, s in zip(names, shards) for k in s})
    (folder / f'{stem}.safetensors.index.json').write_text(json.dumps(index, indent=1))


def load_sharded(folder, stem):
    out = {}
    for f in sorted(Path(folder).glob(f'{stem}*.safetensors')): out.update(load(f))
    return out
