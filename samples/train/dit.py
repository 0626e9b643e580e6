"""The video transformer: WanTransformer3DModel's form and names, written out."""
import math
import torch, torch.nn as nn, torch.nn.functional as F
import configs as C

DIM, HEADS = C.DIM, C.HEADS


class RMS(nn.Module):
    def __init__(self, d): super().__init__(); self.weight = nn.Parameter(torch.ones(d))
    def forward(self, x):
        f = x.float()
        return (f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight).to(x.dtype)


FUSED = hasattr(F, 'scaled_dot_product_attention')


def attend(q, k, v):
    if FUSED: return F.scaled_dot_product_attention(q, k, v)
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** .5, -1) @ v


def turn(a, cos, sin, dtype):
    a1, a2 = a.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a1 * cos - a2 * sin, a1 * sin + a2 * cos], -1).flatten(-2).to(dtype)


class Attn(nn.Module):
    """hook, when set, replaces the attention product (used to record it)."""
    def __init__(self):
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(DIM, DIM) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(DIM, DIM), nn.Identity()])
        self.norm_q, self.norm_k, self.hook = RMS(DIM), RMS(DIM), None
    def forward(self, x, ctx, rope):
        c = x if ctx is None else ctx
        q, k, v = self.norm_q(self.to_q(x)), self.norm_k(self.to_k(c)), self.to_v(c)
        q, k, v = (a.unflatten(-1, (HEADS, C.HEAD)) for a in (q, k, v))
        if rope is not None: q, k = turn(q, *rope, v.dtype), turn(k, *rope, v.dtype)
        q, k, v = (a.to(v.dtype).transpose(1, 2) for a in (q, k, v))
        y = attend(q, k, v) if self.hook is None else self.hook(q, k, v)
        return self.to_out[0](y.transpose(1, 2).flatten(2))


class FF(nn.Module):
    def __init__(self):
        super().__init__()
        up = nn.Module(); up.proj = nn.Linear(DIM, C.FFN)
        self.net = nn.ModuleList([up, nn.Identity(), nn.Linear(C.FFN, DIM)])
    def forward(self, x): return self.net[2](F.gelu(self.net[0].proj(x), approximate='tanh'))


def ln(x, w=None, b=None): return F.layer_norm(x.float(), (DIM,), w, b, 1e-6)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn1, self.attn2, self.ffn, self.norm2 = Attn(), Attn(), FF(), nn.LayerNorm(DIM, eps=1e-6)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, DIM) / DIM ** .5)
    def forward(self, x, ctx, temb, cos, sin):
        s1, c1, g1, s2, c2, g2 = (self.scale_shift_table + temb.float()).chunk(6, 1)
        x = (x.float() + self.attn1((ln(x) * (1 + c1) + s1).type_as(x), None, (cos, sin)) * g1).type_as(x)
        x = x + self.attn2(ln(x, self.norm2.weight, self.norm2.bias).type_as(x), ctx, None)
        return (x.float() + self.ffn((ln(x) * (1 + c2) + s2).type_as(x)).float() * g2).type_as(x)


class Embed(nn.Module):
    def __init__(self):
        super().__init__()
        self.time_embedder, self.text_embedder = nn.Module(), nn.Module()
        for m, d in ((self.time_embedder, 256), (self.text_embedder, C.TEXT)): m.linear_1, m.linear_2 = nn.Linear(d, DIM), nn.Linear(DIM, DIM)
        self.time_proj = nn.Linear(DIM, 6 * DIM)
        nn.init.normal_(self.time_proj.weight, std=.02); nn.init.zeros_(self.time_proj.bias)
    def forward(self, t, text):
        a = t.float()[:, None] * torch.exp(-math.log(10000) * torch.arange(128, device=t.device) / 128)
        e, c = self.time_embedder, self.text_embedder
        temb = e.linear_2(F.silu(e.linear_1(torch.cat([a.cos(), a.sin()], -1))))
        return temb, self.time_proj(F.silu(temb)).unflatten(1, (6, DIM)), c.linear_2(F.gelu(c.linear_1(text), approximate='tanh'))


ROPES = {}


def rope(t, h, w, device):
    """cos and sin [1, t*h*w, 1, 32]: 24 channels turn with time, 20 with height, 20 with width, as Wan splits a head of 64."""
    key = t, h, w, device
    if key not in ROPES:
        axes = [(24, torch.arange(t).view(t, 1, 1)), (20, torch.arange(h).view(1, h, 1)), (20, torch.arange(w).view(1, 1, w))]
        angles = [(p[..., None].double() / 10000 ** (torch.arange(0, d, 2).double() / d)).expand(t, h, w, d // 2) for d, p in axes]
        a = torch.cat(angles, -1).reshape(1, t * h * w, 1, 32).float().to(device)
        ROPES[key] = a.cos(), a.sin()
    return ROPES[key]


class DiT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embedding = nn.Conv3d(C.ZC, DIM, (1, 2, 2), (1, 2, 2))
        self.condition_embedder = Embed()
        self.blocks = nn.ModuleList(Block() for _ in range(C.LAYERS))
        self.proj_out = nn.Linear(DIM, C.ZC * 4)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, DIM) / DIM ** .5)
        nn.init.zeros_(self.proj_out.weight); nn.init.zeros_(self.proj_out.bias)
    def forward(self, z, t, text, run=None):
        """z [B, 16, T, h, w], t = 1000 * noise level [B], text [B, 64, 256] -> velocity; run: a compiled Block.forward."""
        B, _, T, h, w = z.shape
        x = z.view(B, C.ZC, T, h // 2, 2, w // 2, 2).permute(0, 2, 3, 5, 1, 4, 6).reshape(B, -1, C.ZC * 4)
        x = F.linear(x, self.patch_embedding.weight.view(DIM, -1), self.patch_embedding.bias)
        temb, mod, ctx = self.condition_embedder(t, text)
        cos, sin = rope(T, h // 2, w // 2, z.device)
        for b in self.blocks: x = (run or Block.forward)(b, x, ctx, mod, cos, sin)
        sh, sc = (self.scale_shift_table + temb.float()[:, None]).chunk(2, 1)
        x = self.proj_out((ln(x) * (1 + sc) + sh).type_as(x))
        return x.view(B, T, h // 2, w // 2, 2, 2, C.ZC).permute(0, 6, 1, 2, 4, 3, 5).reshape(B, C.ZC, T, h, w)
