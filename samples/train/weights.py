"""Reads a model folder, and the VAE's encoder beside this file, into the networks."""
import json
from pathlib import Path
import numpy as np
import torch
import store
from common import DEV
from train_dit import Net
from vae import VAE

HERE = Path(__file__).resolve().parent


def tensors(arrays): return {k: torch.from_numpy(v.astype(np.float32)) for k, v in arrays.items()}


def read_net(folder):
    net, folder = Net(), Path(folder)
    net.transformer.load_state_dict(tensors(store.load_sharded(folder / 'transformer', 'diffusion_pytorch_model')))
    net.text_encoder.load_state_dict(tensors(store.load_sharded(folder / 'text_encoder', 'model')))
    return net.to(DEV)


def read_vae(folder):
    vae, config = VAE(), json.loads((Path(folder) / 'vae' / 'config.json').read_text())
    parts = {**store.load_sharded(Path(folder) / 'vae', 'diffusion_pytorch_model'), **store.load_int8(HERE / 'vae_encoder.safetensors.xz')}
    for name in ('mean', 'std'): parts[name] = np.array(config[f'latents_{name}'], np.float32).reshape(1, -1, 1, 1, 1)
    vae.load_state_dict(tensors(parts))
    return vae.to(DEV).eval().requires_grad_(False)
