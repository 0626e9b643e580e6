"""Exports three tiny video transformers with random weights to ONNX, by both of PyTorch's exporters, with their inputs and outputs.

    python3 test/onnx/export.py --out DIR

writes DIR/exports.tar.gz: NAME.onnx for each export, MODEL.safetensors with `input.*` and `output` in PyTorch for each model, and log.txt.
Needs torch; onnx and onnxscript for dynamo=True, onnxruntime to compare (said in the log where they are missing). Weights have few
different values, so that the files pack well.
"""
import argparse
import io
import json
import math
import os
import struct
import sys
import tarfile
import tempfile
import traceback

import torch
import torch.nn as nn
import torch.nn.functional as F

DIM, HEADS, LAYERS, TEXT_DIM, TEXT = 16, 2, 2, 12, 5
FRAMES, HEIGHT, WIDTH, CHANNELS = 3, 4, 6, 4
TOKENS = FRAMES * HEIGHT * WIDTH
LINES = []


def say(line):
    LINES.append(line)
    print(line, flush=True)


# ---- attention in the forms that models write it in: q, k, v are [batch, heads, tokens, dim] ----


def sdpa(q, k, v, bias=None):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def scaled(q, k, v, bias=None):
    scores = torch.matmul(q, k.transpose(-1, -2)) * (q.shape[-1] ** -0.5)
    if bias is not None:
        scores = scores + bias
    return torch.matmul(scores.float().softmax(dim=-1).to(v.dtype), v)


def divided(q, k, v, bias=None):
    """Scores divided, a mask of ones put through `where`, half of the scale on the queries."""
    half = q.shape[-1] ** 0.25
    scores = torch.matmul(q / half, k.transpose(-1, -2)) / half
    if bias is None:
        scores = torch.where(torch.ones(1, 1, 1, k.shape[2], dtype=torch.bool), scores, torch.tensor(float("-inf")))
    else:
        scores = scores + bias
    return torch.matmul(torch.softmax(scores, dim=-1), v)


def baddbmm(q, k, v, bias=None):
    """Heads folded into the batch, as in the older attention of diffusers."""
    batch, heads, rows, dim = q.shape
    q, k, v = (x.reshape(batch * heads, x.shape[2], dim) for x in (q, k, v))
    if bias is None:
        empty, beta = torch.zeros(batch * heads, rows, k.shape[1]), 0
    else:
        empty, beta = bias.expand(batch, heads, rows, k.shape[1]).reshape(batch * heads, rows, k.shape[1]), 1
    scores = torch.baddbmm(empty, q, k.transpose(-1, -2), beta=beta, alpha=dim**-0.5)
    return torch.bmm(scores.softmax(dim=-1), v).reshape(batch, heads, rows, dim)


def einsum(q, k, v, bias=None):
    scores = torch.einsum("bhid,bhjd->bhij", q, k) * (q.shape[-1] ** -0.5)
    if bias is not None:
        scores = scores + bias
    return torch.einsum("bhij,bhjd->bhid", scores.softmax(dim=-1), v)


FORMS = {"sdpa": sdpa, "scaled": scaled, "divided": divided, "baddbmm": baddbmm, "einsum": einsum}


# ---- pieces ----


class RMSNorm(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        variance = x.float().pow(2).mean(-1, keepdim=True)
        return (x.float() * torch.rsqrt(variance + self.eps)).to(x.dtype) * self.weight


def split_heads(x):
    return x.reshape(x.shape[0], x.shape[1], HEADS, DIM // HEADS).transpose(1, 2)


def merge_heads(x):
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], DIM)


def sinusoid(t, width):
    half = width // 2
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(half, dtype=torch.float32) / half)
    angles = t[:, None].float() * frequencies[None]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def rotate(x, cos, sin):
    """Interleaved pairs; cos and sin repeat each value twice."""
    real, imaginary = x.reshape(x.shape[0], x.shape[1], x.shape[2], -1, 2).unbind(-1)
    turned = torch.stack([-imaginary, real], dim=-1).flatten(3)
    return x * cos + turned * sin


class TimeEmbedding(nn.Module):
    def __init__(self, chunks):
        super().__init__()
        self.linear_1, self.linear_2, self.project = nn.Linear(8, DIM), nn.Linear(DIM, DIM), nn.Linear(DIM, chunks * DIM)
        self.chunks = chunks

    def forward(self, t):
        e = self.linear_2(F.silu(self.linear_1(sinusoid(t, 8))))
        return e, self.project(F.silu(e)).reshape(-1, self.chunks, DIM)


class Feed(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(DIM, 2 * DIM), nn.Linear(2 * DIM, DIM)

    def forward(self, x):
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class Attention(nn.Module):
    """Self-attention, or cross-attention when `text` is given; q and k are normalized over all heads."""

    def __init__(self, attend, eps=1e-6):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(DIM, DIM) for _ in range(4))
        self.norm_q, self.norm_k, self.attend = RMSNorm(DIM, eps), RMSNorm(DIM, eps), attend

    def forward(self, x, text=None, rope=None, bias=None, whole=False):
        source = x if text is None else text
        q, k, v = self.norm_q(self.q(x)), self.norm_k(self.k(source)), self.v(source)
        if rope is not None and whole:
            q, k = (rotate(y[:, None], *rope)[:, 0] for y in (q, k))
        q, k, v = split_heads(q), split_heads(k), split_heads(v)
        if rope is not None and not whole:
            q, k = rotate(q, *rope), rotate(k, *rope)
        return self.o(merge_heads(self.attend(q, k, v, bias)))


# ---- Wan-like: patches by a convolution, rope per head, modulation by the time, cross-attention to the text ----


class WanBlock(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.norm2, self.self_attn, self.cross_attn, self.ffn = nn.LayerNorm(DIM), Attention(attend), Attention(attend), Feed()
        self.table = nn.Parameter(torch.randn(1, 6, DIM))

    def forward(self, x, text, e, rope):
        shift, scale, gate, shift2, scale2, gate2 = (self.table + e).chunk(6, dim=1)
        n = F.layer_norm(x.float(), (DIM,), eps=1e-6) * (1 + scale) + shift
        x = x + self.self_attn(n, rope=rope) * gate
        x = x + self.cross_attn(self.norm2(x), text)
        return x + self.ffn(F.layer_norm(x.float(), (DIM,), eps=1e-6) * (1 + scale2) + shift2) * gate2


def rope_table():
    """cos and sin [1, 1, tokens, head dim]: pairs 2 | 1 | 1 for frame, row and column."""
    f, h, w = torch.meshgrid(torch.arange(FRAMES), torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    angles = torch.stack([f, f * 0.1, h, w], dim=-1).reshape(TOKENS, 4).float().repeat_interleave(2, dim=-1)
    return angles.cos()[None, None], angles.sin()[None, None]


class Wan(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.patch, self.time, self.text = nn.Conv3d(CHANNELS, DIM, (1, 2, 2), (1, 2, 2)), TimeEmbedding(6), nn.Linear(TEXT_DIM, DIM)
        self.blocks = nn.ModuleList(WanBlock(attend) for _ in range(LAYERS))
        self.table, self.head = nn.Parameter(torch.randn(1, 2, DIM)), nn.Linear(DIM, CHANNELS * 4)
        for name, value in zip(("cos", "sin"), rope_table()):
            self.register_buffer(name, value)

    def forward(self, hidden_states, timestep, encoder_hidden_states):
        x = self.patch(hidden_states).flatten(2).transpose(1, 2)
        e, modulation = self.time(timestep)
        text = F.gelu(self.text(encoder_hidden_states), approximate="tanh")
        for block in self.blocks:
            x = block(x, text, modulation, (self.cos, self.sin))
        shift, scale = (self.table + e[:, None]).chunk(2, dim=1)
        x = self.head(F.layer_norm(x, (DIM,), eps=1e-6) * (1 + scale) + shift)
        x = x.reshape(x.shape[0], FRAMES, HEIGHT, WIDTH, 1, 2, 2, CHANNELS).permute(0, 7, 1, 4, 2, 5, 3, 6)
        return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)


# ---- LTX-like: packed latents, rope over the whole width given as inputs, masked cross-attention ----


class LtxBlock(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.attn1, self.attn2, self.ff = Attention(attend, 1e-5), Attention(attend, 1e-5), Feed()
        self.table = nn.Parameter(torch.randn(6, DIM))

    def forward(self, x, text, bias, e, rope):
        shift, scale, gate, shift2, scale2, gate2 = (self.table[None, None] + e[:, None]).unbind(dim=2)
        n = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        x = x + self.attn1(n * (1 + scale) + shift, rope=rope, whole=True) * gate
        x = x + self.attn2(x, text, bias=bias)
        n = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return x + self.ff(n * (1 + scale2) + shift2) * gate2


class Ltx(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.proj_in, self.time, self.text = nn.Linear(8, DIM), TimeEmbedding(6), nn.Linear(TEXT_DIM, DIM)
        self.blocks = nn.ModuleList(LtxBlock(attend) for _ in range(LAYERS))
        self.table, self.proj_out = nn.Parameter(torch.randn(2, DIM)), nn.Linear(DIM, 8)

    def forward(self, hidden_states, encoder_hidden_states, timestep, encoder_attention_mask, cos, sin):
        x, (e, modulation) = self.proj_in(hidden_states), self.time(timestep)
        text = F.gelu(self.text(encoder_hidden_states), approximate="tanh")
        bias = ((1 - encoder_attention_mask) * -10000.0)[:, None, None]
        for block in self.blocks:
            x = block(x, text, bias, modulation, (cos[:, None], sin[:, None]))
        shift, scale = (self.table[None, None] + e[:, None, None]).unbind(dim=2)
        return self.proj_out(F.layer_norm(x, (DIM,), eps=1e-6) * (1 + scale) + shift)


# ---- joint: text tokens before the video's in one sequence, one product for q, k and v, learned positions ----


class JointBlock(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.modulate, self.norm1, self.norm2 = nn.Linear(DIM, 6 * DIM), nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.qkv, self.o, self.ff, self.attend = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM), Feed(), attend
        self.norm_q, self.norm_k = nn.LayerNorm(DIM // HEADS), nn.LayerNorm(DIM // HEADS)

    def forward(self, x, e):
        shift, scale, gate, shift2, scale2, gate2 = self.modulate(F.silu(e))[:, None].chunk(6, dim=-1)
        q, k, v = self.qkv(self.norm1(x) * (1 + scale) + shift).chunk(3, dim=-1)
        q, k = self.norm_q(split_heads(q)), self.norm_k(split_heads(k))
        x = x + gate * self.o(merge_heads(self.attend(q, k, split_heads(v))))
        return x + gate2 * self.ff(self.norm2(x) * (1 + scale2) + shift2)


class Joint(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.proj_in, self.time, self.text = nn.Linear(CHANNELS, DIM), TimeEmbedding(1), nn.Linear(TEXT_DIM, DIM)
        self.blocks = nn.ModuleList(JointBlock(attend) for _ in range(LAYERS))
        self.positions, self.norm, self.proj_out = nn.Parameter(torch.randn(1, TOKENS, DIM)), nn.LayerNorm(DIM), nn.Linear(DIM, CHANNELS)

    def forward(self, latents, text, t):
        """latents [batch, frames, channels, height, width]"""
        x = self.proj_in(latents.permute(0, 1, 3, 4, 2).flatten(1, 3)) + self.positions
        x, (e, _) = torch.cat([self.text(text), x], dim=1), self.time(t)
        for block in self.blocks:
            x = block(x, e)
        x = self.proj_out(self.norm(x[:, TEXT:]))
        return x.reshape(x.shape[0], FRAMES, HEIGHT, WIDTH, CHANNELS).permute(0, 1, 4, 2, 3)


# ---- inputs, weights and files ----


def coarse(generator, *shape, steps=16, scale=1.0):
    """Random multiples of scale / steps."""
    return (torch.randn(*shape, generator=generator) * steps / 2).round().clamp(-2 * steps, 2 * steps) * (scale * 2 / steps)


def give_weights(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        one = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        scale = 1.0 if parameter.dim() == 3 and "positions" in name else 0.25
        parameter.data = one + coarse(generator, *parameter.shape, scale=scale)


def wan_inputs(generator):
    latents = coarse(generator, 1, CHANNELS, FRAMES, 2 * HEIGHT, 2 * WIDTH)
    return {"hidden_states": latents, "timestep": torch.tensor([500.0]), "encoder_hidden_states": coarse(generator, 1, TEXT, TEXT_DIM)}


def ltx_inputs(generator):
    angles = coarse(generator, 1, TOKENS, DIM // 2).repeat_interleave(2, dim=-1).expand(2, TOKENS, DIM)
    mask = torch.ones(2, TEXT)
    mask[1, 3:] = 0
    return {
        "hidden_states": coarse(generator, 2, TOKENS, 8),
        "encoder_hidden_states": coarse(generator, 2, TEXT, TEXT_DIM),
        "timestep": torch.tensor([800.0, 800.0]),
        "encoder_attention_mask": mask,
        "cos": angles.cos().contiguous(),
        "sin": angles.sin().contiguous(),
    }


def joint_inputs(generator):
    latents = coarse(generator, 1, FRAMES, CHANNELS, HEIGHT, WIDTH)
    return {"latents": latents, "text": coarse(generator, 1, TEXT, TEXT_DIM), "t": torch.tensor([250.0])}


MODELS = {"wan": (Wan, wan_inputs), "ltx": (Ltx, ltx_inputs), "joint": (Joint, joint_inputs)}

# name: model, form of attention, exporter, opset, sizes that stay open
CASES = {
    "wan-sdpa-script-17": ("wan", "sdpa", "script", 17, False),
    "wan-scaled-script-20": ("wan", "scaled", "script", 20, False),
    "wan-sdpa-dynamo-18": ("wan", "sdpa", "dynamo", 18, False),
    "wan-sdpa-dynamo-23": ("wan", "sdpa", "dynamo", 23, False),
    "ltx-sdpa-script-17": ("ltx", "sdpa", "script", 17, True),
    "ltx-baddbmm-script-17": ("ltx", "baddbmm", "script", 17, False),
    "ltx-divided-dynamo-18": ("ltx", "divided", "dynamo", 18, False),
    "joint-einsum-script-17": ("joint", "einsum", "script", 17, False),
    "joint-divided-script-19": ("joint", "divided", "script", 19, False),
    "joint-sdpa-dynamo-20": ("joint", "sdpa", "dynamo", 20, False),
    "joint-scaled-dynamo-21": ("joint", "scaled", "dynamo", 21, False),
}
OPEN = {"hidden_states": {0: "batch", 1: "tokens"}, "encoder_hidden_states": {0: "batch"}, "timestep": {0: "batch"}}
OPEN |= {"encoder_attention_mask": {0: "batch"}, "cos": {0: "batch", 1: "tokens"}, "sin": {0: "batch", 1: "tokens"}}


def build(model, form):
    make, make_inputs = MODELS[model]
    built = make(FORMS[form]).eval()
    give_weights(built, 7)
    return built, make_inputs(torch.Generator().manual_seed(3))


def export_script(model, inputs, path, opset, is_open):
    extra = {"dynamo": False} if "dynamo" in torch.onnx.export.__code__.co_varnames else {}
    if is_open:
        extra["dynamic_axes"] = {name: axes for name, axes in OPEN.items() if name in inputs}
    torch.onnx.export(
        model, tuple(inputs.values()), path, opset_version=opset, input_names=list(inputs), output_names=["output"],
        do_constant_folding=True, **extra,
    )


def export_dynamo(model, inputs, path, opset, is_open):
    import onnx  # noqa: F401
    import onnxscript

    extra = {}
    if is_open:
        extra["dynamic_shapes"] = {name: {axis: torch.export.Dim.AUTO for axis in OPEN[name]} for name in inputs}
    say(f"  onnxscript {onnxscript.__version__}")
    torch.onnx.export(
        model, (), path, kwargs=dict(inputs), opset_version=opset, input_names=list(inputs), output_names=["output"],
        dynamo=True, external_data=False, **extra,
    )


def strip(path):
    """Leaves out what does not change what the model computes: where in the source a node came from."""
    try:
        import onnx
    except ImportError:
        say("  onnx is not installed: stack traces stay in the file")
        return
    model = onnx.load(path)
    graph = model.graph
    for part in [model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info]:
        part.ClearField("doc_string")
        if "metadata_props" in part.DESCRIPTOR.fields_by_name:
            part.ClearField("metadata_props")
    if len(model.functions):
        say(f"  functions: {[function.name for function in model.functions]}")
    onnx.save(model, path)
    counts = {}
    for node in graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    say(f"  opset {[(o.domain, o.version) for o in model.opset_import]} nodes {json.dumps(counts)}")


def compare(path, inputs, expected):
    try:
        import onnxruntime
    except ImportError:
        say("  onnxruntime is not installed: not compared")
        return
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [entry.name for entry in session.get_inputs()]
        (output,) = session.run(None, {name: inputs[name].numpy() for name in names})
    except Exception as error:  # noqa: BLE001 - ONNX Runtime 1.30 does not take all that PyTorch writes
        say(f"  ONNX Runtime {onnxruntime.__version__} refuses it: {str(error).splitlines()[0][:200]}")
        return
    error = abs(output - expected.numpy()).max() / abs(expected.numpy()).max()
    say(f"  inputs {names}, differs from PyTorch by {error:.2e} of the largest value")


def write_tensors(path, tensors):
    header, chunks, at = {}, [], 0
    for name, tensor in tensors.items():
        data = tensor.detach().contiguous().float().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + len(data)]}
        chunks.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(chunks))


def export_all(folder, only):
    say(f"torch {torch.__version__}, python {sys.version.split()[0]}")
    failed = []
    for name, (model, form, exporter, opset, is_open) in CASES.items():
        if only and only not in name:
            continue
        path = os.path.join(folder, f"{name}.onnx")
        say(name)
        try:
            built, inputs = build(model, form)
            with torch.no_grad():
                expected = built(*inputs.values())
                (export_script if exporter == "script" else export_dynamo)(built, inputs, path, opset, is_open)
            write_tensors(os.path.join(folder, f"{model}.safetensors"), {**{f"input.{k}": v for k, v in inputs.items()}, "output": expected})
            strip(path)
            say(f"  {os.path.getsize(path)} bytes, output {list(expected.shape)}, largest {expected.abs().max():.4f}")
            compare(path, inputs, expected)
        except Exception:  # noqa: BLE001 - the other exports go on
            failed.append(name)
            say("  FAILED " + traceback.format_exc(limit=6))
    say(f"failed: {failed or 'none'}")
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", default="", help="exports whose name contains this")
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        failed = export_all(folder, options.only)
        with tarfile.open(os.path.join(options.out, "exports.tar.gz"), "w:gz") as tar:
            for name in sorted(os.listdir(folder)):
                tar.add(os.path.join(folder, name), name)
            text = "\n".join(LINES).encode()
            entry = tarfile.TarInfo("log.txt")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
