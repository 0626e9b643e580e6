"""Writes what a round brought back into a model folder: python3 install.py OUT ../wan-mini. A VAE that the round did not train stays as it is."""
import json, shutil, sys, tarfile, tempfile
from pathlib import Path
import numpy as np
import captions, configs, shapes, store

HERE = Path(__file__).resolve().parent


def checked(tensors, expected):
    assert {k: tuple(v.shape) for k, v in tensors.items()} == {k: tuple(v) for k, v in expected.items()}, 'names or shapes differ'
    assert all(np.isfinite(v).all() and v.dtype == np.float16 for v in tensors.values()), 'not finite float16'
    return {k: tensors[k] for k in expected}


def install_vae(out, model):
    """Returns mean and standard deviation of the latents."""
    if not (out / 'vae.safetensors').exists():
        old = json.loads((model / 'vae/config.json').read_text())
        return old['latents_mean'], old['latents_std']
    vae = store.load(out / 'vae.safetensors')
    numbers = [[round(float(v), 6) for v in vae.pop(k)] for k in ('latents_mean', 'latents_std')]
    part = lambda prefix: {k: v for k, v in vae.items() if k.startswith(prefix)}
    store.save_sharded(model / 'vae', 'diffusion_pytorch_model', checked(part('decoder.'), shapes.decoder()))
    store.save_int8(HERE / 'vae_encoder.safetensors.xz', part('encoder.'))
    return numbers


def install_rest(out, model):
    """Figures, pictures, clips and parity files: packed by round.py, or as run.py leaves them."""
    with tempfile.TemporaryDirectory() as folder:
        packed = out / 'rest.tar'
        if packed.exists():
            with tarfile.open(packed) as tar: tar.extractall(folder, **(dict(filter='data') if hasattr(tarfile, 'data_filter') else {}))
        folder = Path(folder) if packed.exists() else out
        for source, target in ((folder / 'gallery', model / 'gallery'), (folder / 'parity', HERE / 'parity')):
            if source.exists(): shutil.copytree(source, target, dirs_exist_ok=True)
        if (folder / 'attention.json').exists(): shutil.copy(folder / 'attention.json', model / 'attention.json')
    shutil.copy(out / 'eval.json', model / 'eval.json')


def main(out, model):
    out, model = Path(out), Path(model)
    net = checked(store.load_sharded(out / 'transformer', 'diffusion_pytorch_model'), shapes.transformer())
    text = checked(store.load(out / 'text_encoder.safetensors'), shapes.text_encoder())
    configs.write(model, *install_vae(out, model))
    store.save_sharded(model / 'transformer', 'diffusion_pytorch_model', net)
    store.save_sharded(model / 'text_encoder', 'model', text)
    store.save_int8(HERE / 'probe.safetensors', store.load(out / 'probe.safetensors'))
    captions.write(HERE / 'grammar.json')
    install_rest(out, model)
    size = lambda folder: sum(f.stat().st_size for f in folder.rglob('*') if f.is_file())
    print('installed in', model, ':', ', '.join(f'{f.name} {size(f):,}' if f.is_dir() else f'{f.name} {f.stat().st_size:,}' for f in sorted(model.iterdir())), 'bytes; all', f'{size(model):,}')


if __name__ == '__main__': main(sys.argv[1], sys.argv[2])
