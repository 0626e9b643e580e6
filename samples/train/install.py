"""Writes the trained weights and their configuration into a model folder: python3 install.py OUT ../wan-mini."""
import sys
from pathlib import Path
import numpy as np
import configs, shapes, store

HERE = Path(__file__).resolve().parent


def checked(tensors, expected):
    assert {k: tuple(v.shape) for k, v in tensors.items()} == {k: tuple(v) for k, v in expected.items()}, 'names or shapes differ'
    assert all(np.isfinite(v).all() and v.dtype == np.float16 for v in tensors.values()), 'not finite float16'
    return {k: tensors[k] for k in expected}


def main(out, model):
    out, model = Path(out), Path(model)
    vae = store.load(out / 'vae.safetensors')
    mean, std = vae.pop('latents_mean'), vae.pop('latents_std')
    configs.write(model, [round(float(v), 6) for v in mean], [round(float(v), 6) for v in std])
    part = lambda prefix: {k: v for k, v in vae.items() if k.startswith(prefix)}
    store.save_sharded(model / 'transformer', 'diffusion_pytorch_model', checked(store.load_sharded(out / 'transformer', 'diffusion_pytorch_model'), shapes.transformer()))
    store.save_sharded(model / 'text_encoder', 'model', checked(store.load(out / 'text_encoder.safetensors'), shapes.text_encoder()))
    store.save_sharded(model / 'vae', 'diffusion_pytorch_model', checked(part('decoder.'), shapes.decoder()))
    store.save_int8(HERE / 'vae_encoder.safetensors', part('encoder.'))
    store.save_int8(HERE / 'probe.safetensors', store.load(out / 'probe.safetensors'))
    print('installed', sum(f.stat().st_size for f in model.rglob('*') if f.is_file()), 'bytes in', model)


if __name__ == '__main__': main(sys.argv[1], sys.argv[2])
