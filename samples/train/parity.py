"""Writes reference inputs and float32 outputs of every part, computed on the CPU from the exported float16 weights."""
import json
from pathlib import Path
import torch
import captions as W, configs as C, store
from sampler import sample, unipc
from train_dit import Net, encode_text
from vae import VAE

CASES = W.PROMPTS[:8] + ['', 'A  Rocket,   Flying!', 'rocket, night sky, up', 'an astronaut riding a zebra', 'café ½ 火箭', "the dog's ball; 3 of them?"]


def weights(net, vae):
    """Fresh CPU copies whose weights are what the float16 files hold."""
    a, b = Net(), VAE()
    a.load_state_dict({k: v.half().float().cpu() for k, v in net.state_dict().items()})
    b.load_state_dict({k: (v if k in ('mean', 'std') else v.half()).float().cpu() for k, v in vae.state_dict().items()})
    return a.eval(), b.eval()


@torch.no_grad()
def write(folder, net, vae):
    folder = Path(folder); folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    ids = encode_text(W.PROMPTS[:2], C.TOKENS)
    text = net.text_encoder(ids)
    z, t = torch.randn(1, 16, 3, 8, 8), torch.tensor([643.])
    tensors = dict(text_ids=ids, text_mask=(ids != 0).long(), text_embeddings=text, transformer_latents=z, transformer_timestep=t, transformer_text=text[:1],
                   transformer_output=net.transformer(z, t, text[:1]))
    raw = z * .8
    tensors |= dict(vae_latents=raw, vae_latents_raw=raw * vae.std + vae.mean, vae_video=vae.decode(raw), latents_mean=vae.mean.flatten(), latents_std=vae.std.flatten())
    noise = torch.randn(1, 16, 3, 8, 8)
    x = sample(net, ids[:1], 9, 64, steps=6, noise=noise, half=False)
    tensors |= dict(pipeline_noise=noise, pipeline_latents_6_steps=x, pipeline_video=vae.decode(x))
    # Every second picture is stored, as float16: a quarter of the bytes, and 2e-4 off.
    tensors |= {k: tensors[k][:, ::2].half() for k in ('vae_video', 'pipeline_video')}
    store.save(folder / 'parity.safetensors', {k: v.cpu().contiguous().numpy() for k, v in tensors.items()})
    about = dict(text='ids and mask -> text_embeddings (rows beyond the mask are zero)', transformer='transformer_latents, transformer_timestep, transformer_text -> transformer_output',
                 vae='vae_latents are normalised; vae_latents_raw = vae_latents * std + mean is what the decoder reads; vae_video [1, 5, 3, 64, 64] in [0, 1]: first 3 frames dropped, then every second of 9',
                 pipeline=f'text_ids[0], pipeline_noise, 6 UniPC steps, guidance {C.CFG} while step/steps < {C.CFG_PART}, negative prompt "" -> pipeline_latents_6_steps -> pipeline_video',
                 tokenizer={c: [i for i in encode_text([c], C.TOKENS)[0].tolist() if i] for c in CASES})
    (folder / 'cases.json').write_text(json.dumps(about, indent=1, ensure_ascii=False) + '\n')
