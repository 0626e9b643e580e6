"""PyTorch's attention on the shapes and plans of `zoetrope bench attention`: scaled_dot_product_attention and block-sparse FlexAttention.

python3 bench/attend_gpu.py [--shape wan-480p] [--out FILE]
20 runs by CUDA events, after half a second of the same; float16 inputs; each is held against float64 rows first. Writes cases as the other benches do.
"""
import argparse
import json
import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from case_file import result_file, spread

SHAPES = {
    "wan-480p": (12, 128, 21 * 30 * 52),
    "wan-720p": (12, 128, 21 * 45 * 80),
    "hunyuan-720p": (24, 128, 33 * 45 * 80 + 256),
    "mini": (4, 64, 13 * 20 * 20),
}
DENSITIES = [0.5, 0.25, 0.2, 0.125, 0.1]
ALLOWED = 5e-3  # relative error of some rows, as for f16 in src/bench/attention/bench.ts


def milliseconds(run, seconds=0.5, runs=20):
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
    return times


def block_mask(heads, blocks, density, block, tokens):
    """The plan of `zoetrope bench attention`: a share of the key blocks, spread evenly from a start of each row's own."""
    kept = max(1, round(density * blocks))
    row = torch.arange(blocks).view(1, blocks, 1)
    head = torch.arange(heads).view(heads, 1, 1)
    at = torch.arange(kept).view(1, 1, kept)
    indices = (row * 37 + head * 101 + at * blocks // kept) % blocks
    indices = torch.nn.functional.pad(indices, (0, blocks - kept)).unsqueeze(0).to("cuda", torch.int32)
    counts = torch.full((1, heads, blocks), kept, dtype=torch.int32, device="cuda")
    none = torch.zeros_like(counts)
    return BlockMask.from_kv_blocks(none, torch.zeros_like(indices), counts, indices, BLOCK_SIZE=block, seq_lengths=(tokens, tokens)), kept / blocks


def exact_rows(q, k, v, mask=None):
    """Full attention of the first, middle and last row of the first and last head in float64; `mask` [heads, tokens] of the keys each may read."""
    heads, tokens = [0, q.shape[1] - 1], [0, q.shape[2] // 2, q.shape[2] - 1]
    rows = []
    for head in heads:
        keys, values = k[0, head].double(), v[0, head].double()
        for token in tokens:
            logits = keys @ q[0, head, token].double() / q.shape[3] ** 0.5
            if mask is not None:
                logits = logits.masked_fill(~mask(head, token), -float("inf"))
            rows.append(torch.softmax(logits, 0) @ values)
    return torch.stack(rows)


def row_error(out, exact):
    heads, tokens = [0, out.shape[1] - 1], [0, out.shape[2] // 2, out.shape[2] - 1]
    found = torch.stack([out[0, head, token].double() for head in heads for token in tokens])
    return float((found - exact).norm() / exact.norm())


def reads(heads, blocks, density, block, tokens):
    """Which keys a row reads by `block_mask`."""
    kept = max(1, round(density * blocks))

    def mask(head, token):
        row = token // block
        chosen = (row * 37 + head * 101 + torch.arange(kept) * blocks // kept) % blocks
        whole = torch.zeros(blocks, dtype=torch.bool)
        whole[chosen] = True
        return whole.repeat_interleave(block)[:tokens].to("cuda")

    return mask


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", default="wan-480p")
    parser.add_argument("--out")
    options = parser.parse_args()
    compiled = torch.compile(flex_attention)
    cases = []
    for name in options.shape.split(","):
        heads, dim, tokens = SHAPES[name]
        q, k, v = (torch.randn(1, heads, tokens, dim, device="cuda", dtype=torch.float16) for _ in range(3))
        flop = 4 * heads * tokens**2 * dim
        about = {"shape": name, "tokens": tokens, "heads": heads, "dim": dim, "device": "cuda", "dtype": "f16"}
        full = exact_rows(q, k, v)

        def note(contender, work, run, exact, against, density=1.0):
            case = {"id": f"{name}/cuda f16/pytorch {contender}/{work}", **about, "contender": f"pytorch {contender}", "work": work}
            case |= {"software": f"PyTorch {torch.__version__}", "density": round(density, 4)}
            try:
                error = row_error(run(), exact)
                case["check"] = {"against": against, "rows": 6, "error": error, "allowed": ALLOWED}
                if error <= ALLOWED:
                    times = spread(milliseconds(run))
                    case |= {"milliseconds": times, "clock": "CUDA events", "teraflops": density * flop / times["median"] / 1e9}
                else:
                    case["failed"] = f"it is off by {error:.3g} where {ALLOWED} is allowed, so it was not timed"
            except Exception as error:  # a backend that cannot run here is part of the result
                case["failed"] = str(error).split("\n")[0][:200]
            print(case["id"], case.get("milliseconds", case.get("failed")), flush=True)
            cases.append(case)

        for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION):
            with sdpa_kernel(backend):
                attend = lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v)
                note(f"sdpa {backend.name.lower()}", "dense", attend, full, "full attention in f64")
        for block in (64, 128):
            blocks = -(-tokens // block)
            for density in DENSITIES:
                mask, share = block_mask(heads, blocks, density, block, tokens)
                tile = {"BLOCK_M": block, "BLOCK_N": 64} if block == 64 else {}
                attend = lambda: compiled(q, k, v, block_mask=mask, kernel_options=tile)
                exact = exact_rows(q, k, v, reads(heads, blocks, density, block, tokens))
                note(f"flex_attention, blocks of {block}", f"blocks {density}", attend, exact, "its plan in f64", share)
    if options.out:
        with open(options.out, "w") as file:
            json.dump(result_file("attention", {"shape": options.shape}, cases), file, indent=1)


main()
