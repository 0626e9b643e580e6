"""PyTorch's attention on the shapes and plans of attend-gpu.ts: scaled_dot_product_attention and block-sparse FlexAttention.

python3 bench/attend_gpu.py [--shape wan-480p] [--out FILE]
Median of 20 runs by CUDA events, after a second of the same; float16 inputs.
"""
import argparse
import json
import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import BlockMask, flex_attention

SHAPES = {
    "wan-480p": (12, 128, 21 * 30 * 52),
    "wan-720p": (12, 128, 21 * 45 * 80),
    "hunyuan-720p": (24, 128, 33 * 45 * 80 + 256),
    "mini": (4, 64, 13 * 20 * 20),
}
DENSITIES = [0.5, 0.3, 0.2, 0.1]


def median_milliseconds(run, seconds=0.5, runs=20):
    until = time.time() + seconds
    while time.time() < until:
        run()
        torch.cuda.synchronize()
    times = []
    for _ in range(runs):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def block_mask(heads, blocks, density, block, tokens):
    """The plan of attend-gpu.ts: a share of the key blocks, spread evenly from a start of each row's own."""
    kept = max(1, round(density * blocks))
    row = torch.arange(blocks).view(1, blocks, 1)
    head = torch.arange(heads).view(heads, 1, 1)
    at = torch.arange(kept).view(1, 1, kept)
    indices = (row * 37 + head * 101 + at * blocks // kept) % blocks
    indices = torch.nn.functional.pad(indices, (0, blocks - kept)).unsqueeze(0).to("cuda", torch.int32)
    counts = torch.full((1, heads, blocks), kept, dtype=torch.int32, device="cuda")
    none = torch.zeros_like(counts)
    return BlockMask.from_kv_blocks(none, torch.zeros_like(indices), counts, indices, BLOCK_SIZE=block, seq_lengths=(tokens, tokens)), kept / blocks


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", default="wan-480p")
    parser.add_argument("--out")
    options = parser.parse_args()
    compiled = torch.compile(flex_attention)
    shapes = []
    for name in options.shape.split(","):
        heads, dim, tokens = SHAPES[name]
        q, k, v = (torch.randn(1, heads, tokens, dim, device="cuda", dtype=torch.float16) for _ in range(3))
        flop = 4 * heads * tokens**2 * dim
        lines = []

        def note(contender, run, density=1.0):
            try:
                milliseconds = median_milliseconds(run)
                line = {"contender": contender, "density": round(density, 4), "milliseconds": round(milliseconds, 3), "teraflops": round(density * flop / milliseconds / 1e9, 1)}
            except Exception as error:  # a backend that cannot run here is part of the result
                line = {"contender": contender, "density": density, "failed": str(error).split("\n")[0][:200]}
            print(name, line, flush=True)
            lines.append(line)

        for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION):
            with sdpa_kernel(backend):
                note(f"sdpa {backend.name.lower()}", lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v))
        for block in (64, 128):
            for density in DENSITIES:
                mask, share = block_mask(heads, -(-tokens // block), density, block, tokens)
                tile = {"BLOCK_M": block, "BLOCK_N": 64} if block == 64 else {}
                note(f"flex_attention, blocks of {block}", lambda: compiled(q, k, v, block_mask=mask, kernel_options=tile), share)
        shapes.append({"name": name, "heads": heads, "dim": dim, "tokens": tokens, "lines": lines})
    result = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "shapes": shapes}
    if options.out:
        with open(options.out, "w") as file:
            json.dump(result, file, indent=1)


main()
