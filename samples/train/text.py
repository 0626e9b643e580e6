"""The text encoder: UMT5EncoderModel's form and names, written out; rows beyond the true length come out as zeros, as Wan pads."""
import math
import torch, torch.nn as nn, torch.nn.functional as F
import configs as C, tokenizer
from dit import RMS

DIM, HEADS = C.TEXT, 4


def buckets(n):
    """T5's bucket of every (query, key) offset: 16 for each direction, exact up to 7, then logarithmic up to 128."""
    rel = torch.arange(n)[None] - torch.arange(n)[:, None]
    a = rel.abs()
    far = 8 + (torch.log(a.float().clamp(min=1) / 8) / math.log(128 / 8) * 8).long()
    return (rel > 0).long() * 16 + torch.where(a < 8, a, far.clamp(max=15))


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(DIM, DIM, bias=False) for _ in range(4))
        self.relative_attention_bias = nn.Embedding(32, HEADS)
        nn.init.normal_(self.q.weight, std=(DIM * 64) ** -.5); nn.init.normal_(self.relative_attention_bias.weight, std=.1)
        for m in (self.k, self.v, self.o): nn.init.normal_(m.weight, std=DIM ** -.5)
    def forward(self, x, mask, table):
        q, k, v = (m(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for m in (self.q, self.k, self.v))
        scores = (q @ k.transpose(-1, -2)).float() + self.relative_attention_bias(table).permute(2, 0, 1)[None] + mask
        return self.o((torch.softmax(scores, -1).to(v.dtype) @ v).transpose(1, 2).flatten(2))


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.wi_0, self.wi_1, self.wo = nn.Linear(DIM, C.TEXT_FF, bias=False), nn.Linear(DIM, C.TEXT_FF, bias=False), nn.Linear(C.TEXT_FF, DIM, bias=False)
    def forward(self, x): return self.wo(F.gelu(self.wi_0(x), approximate='tanh') * self.wi_1(x))


class Layer(nn.Module):
    def __init__(self, name, part):
        super().__init__()
        setattr(self, name, part)
        self.layer_norm, self.part = RMS(DIM), name
    def forward(self, x, *a): return x + getattr(self, self.part)(self.layer_norm(x), *a)


class TextBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.ModuleList([Layer('SelfAttention', SelfAttention()), Layer('DenseReluDense', Gated())])
    def forward(self, x, mask, table): return self.layer[1](self.layer[0](x, mask, table))


class TextEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared, self.encoder = nn.Embedding(tokenizer.SIZE, DIM), nn.Module()
        self.encoder.block = nn.ModuleList(TextBlock() for _ in range(C.TEXT_LAYERS))
        self.encoder.final_layer_norm = RMS(DIM)
        nn.init.normal_(self.shared.weight, std=.5)
    def forward(self, ids, length=C.TOKENS):
        """ids [B, n], 0 = pad -> [B, length, 256]; n may be cut to the longest true length, the result is the same."""
        keep = ids != 0
        mask = torch.zeros(keep.shape, device=ids.device).masked_fill(~keep, -1e9)[:, None, None]
        x, table = self.shared(ids), buckets(ids.shape[1]).to(ids.device)
        for b in self.encoder.block: x = b(x, mask, table)
        x = self.encoder.final_layer_norm(x) * keep[..., None]
        return F.pad(x, (0, 0, 0, length - ids.shape[1]))
