"""A plain PyTorch transformer of Wan 2.1 T2V-1.3B's shape with random weights: the anchor of src/bench/step.ts.

python3 bench/step_gpu.py [--frames 81 --height 480 --width 832] [--out FILE]
Eager with FlashAttention-2, eager with cuDNN, and compiled; bfloat16, batch 1; 5 forwards after two. Writes cases as the other benches do.
"""
import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from case_file import result_file, spread

DIM, HEADS, FFN, LAYERS, TEXT, TEXT_TOKENS = 1536, 12, 8960, 30, 4096, 512
ALLOWED = 0.1  # relative difference of two attentions after 30 layers in bfloat16


def rms(x, weight):
    return F.rms_norm(x.float(), (x.shape[-1],), weight.float(), 1e-6).to(x.dtype)


def rotate(x, cos, sin):
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(DIM, DIM) for _ in range(4))
        self.norm_q, self.norm_k = (nn.Parameter(torch.ones(DIM)) for _ in range(2))

    def forward(self, x, context, rope=None):
        q, k, v = rms(self.q(x), self.norm_q), rms(self.k(context), self.norm_k), self.v(context)
        q, k, v = (y.unflatten(-1, (HEADS, -1)).transpose(1, 2) for y in (q, k, v))
        if rope is not None:
            q, k = rotate(q, *rope), rotate(k, *rope)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.cross = Attention(), Attention()
        self.norm = nn.LayerNorm(DIM)
        self.up, self.down = nn.Linear(DIM, FFN), nn.Linear(FFN, DIM)
        self.modulation = nn.Parameter(torch.randn(6, DIM) / DIM**0.5)

    def forward(self, x, text, time, rope):
        shift, scale, gate, shift2, scale2, gate2 = (self.modulation + time).unbind(0)
        y = F.layer_norm(x.float(), (DIM,), eps=1e-6) * (1 + scale) + shift
        y = y.to(self.up.weight.dtype)
        x = x + gate * self.attention(y, y, rope)
        x = x + self.cross(self.norm(x.to(y.dtype)), text)
        y = (F.layer_norm(x.float(), (DIM,), eps=1e-6) * (1 + scale2) + shift2).to(y.dtype)
        return x + gate2 * self.down(F.gelu(self.up(y), approximate="tanh"))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.head = nn.Linear(16 * 4, DIM), nn.Linear(DIM, 16 * 4)
        self.text = nn.Sequential(nn.Linear(TEXT, DIM), nn.GELU("tanh"), nn.Linear(DIM, DIM))
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))

    def forward(self, patches, text, time, rope):
        x, text = self.patch(patches), self.text(text)
        for block in self.blocks:
            x = block(x, text, time, rope)
        return self.head(F.layer_norm(x.float(), (DIM,)).to(patches.dtype))


def times_of(run, inputs):
    """Milliseconds of five forwards, after two."""
    times = []
    for _ in range(7):
        torch.cuda.synchronize()
        start = time.time()
        run(*inputs)
        torch.cuda.synchronize()
        times.append(1000 * (time.time() - start))
    return times[2:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=832)
    parser.add_argument("--out")
    options = parser.parse_args()
    tokens = ((options.frames - 1) // 4 + 1) * (options.height // 16) * (options.width // 16)
    torch.set_default_device("cuda")
    model = Transformer().to(torch.bfloat16).eval().requires_grad_(False)
    patches = torch.randn(1, tokens, 64, dtype=torch.bfloat16)
    text = torch.randn(1, TEXT_TOKENS, TEXT, dtype=torch.bfloat16)
    angles = torch.rand(tokens, DIM // HEADS // 2) * 6
    inputs = (patches, text, torch.randn(6, DIM, dtype=torch.bfloat16), (angles.cos(), angles.sin()))
    model_name = f"wan-2.1-1.3b {options.width}x{options.height}x{options.frames} {LAYERS} layers"
    cases = []
    with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION):
        expected = model(*inputs).float()

    def note(name, run):
        case = {"id": f"{model_name}/cuda bf16/pytorch {name}/dense", "contender": f"pytorch {name}", "tokens": tokens, "density": 1}
        case["software"] = f"PyTorch {torch.__version__}"
        try:
            error = float((run(*inputs).float() - expected).norm() / expected.norm())
            case["check"] = {"against": "eager, memory-efficient attention", "error": error, "allowed": ALLOWED}
            if error <= ALLOWED:
                case |= {"milliseconds": spread(times_of(run, inputs)), "clock": "wall"}
            else:
                case["failed"] = f"it is off by {error:.3g} where {ALLOWED} is allowed, so it was not timed"
        except Exception as error:  # a backend that cannot run here is part of the result
            case["failed"] = str(error).split("\n")[0][:200]
        print(case["id"], case.get("milliseconds", case.get("failed")), flush=True)
        cases.append(case)

    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        with sdpa_kernel(backend):
            note(f"eager, {backend.name.lower()}", model)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        note("compiled, flash_attention", torch.compile(model))
    asked = {"frames": options.frames, "height": options.height, "width": options.width}
    if options.out:
        with open(options.out, "w") as file:
            json.dump(result_file("step", asked, cases), file, indent=1)


main()
