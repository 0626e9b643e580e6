"""The small video VAE: a decoder with TAEHV's layers and names, and an encoder that reads four frames at once."""
import torch, torch.nn as nn, torch.nn.functional as F
import configs as C

CL = torch.channels_last


def conv(cin, cout, bias=True, stride=1): return nn.Conv2d(cin, cout, 3, stride, 1, bias=bias)


def past(x, n):
    """The frame before, zeros before the first; x is [T * n, C, H, W], time slowest."""
    return torch.cat([torch.zeros_like(x[:n]), x[:-n]])


class MemBlock(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.conv = nn.Sequential(conv(2 * n, n), nn.ReLU(), conv(n, n), nn.ReLU(), conv(n, n))
        with torch.no_grad(): self.conv[4].weight.mul_(.1)
    def forward(self, x, n): return F.relu(self.conv(torch.cat([x, past(x, n)], 1)) + x)


class TGrow(nn.Module):
    def __init__(self, n, stride):
        super().__init__()
        self.stride, self.conv = stride, nn.Conv2d(n, n * stride, 1, bias=False)
        with torch.no_grad(): self.conv.weight.copy_(torch.eye(n).repeat(stride, 1)[..., None, None] + .02 * torch.randn_like(self.conv.weight))
    def forward(self, x, n):
        x = self.conv(x)
        if self.stride == 1: return x
        parts = [a.unflatten(0, (-1, n)) for a in x.chunk(self.stride, 1)]
        return torch.stack(parts, 1).flatten(0, 2).contiguous(memory_format=CL)


class Clamp(nn.Module):
    def forward(self, x): return torch.tanh(x / 3) * 3


class Decoder(nn.Sequential):
    """Latents [N, 16, k, h, w] -> frames in [0, 1] (unclamped) [N, 4k - 3, 3, 8h, 8w]."""
    def __init__(self):
        make = dict(Clamp=lambda: Clamp(), Conv2d=lambda cin, cout, bias: conv(cin, cout, bias), ReLU=lambda: nn.ReLU(), MemBlock=MemBlock, TGrow=TGrow,
                    Upsample=lambda: nn.Upsample(scale_factor=2), PixelShuffle=lambda factor: nn.PixelShuffle(factor))
        super().__init__(*[make[kind](**a) for kind, a in C.decoder_layers()])
        with torch.no_grad(): self[-2].weight.mul_(.3); self[-2].bias.fill_(.5)
    def forward(self, z):
        n = z.shape[0]
        x = z.permute(2, 0, 1, 3, 4).flatten(0, 1).contiguous(memory_format=CL)
        for layer in self: x = layer(x, n) if isinstance(layer, (MemBlock, TGrow)) else layer(x)
        return x.unflatten(0, (-1, n))[3:].transpose(0, 1)


class Res(nn.Module):
    def __init__(self, n, memory=False):
        super().__init__()
        self.memory, self.a, self.b = memory, conv(n * (1 + memory), n), conv(n, n)
        with torch.no_grad(): self.b.weight.mul_(.1)
    def forward(self, x, n):
        return x + self.b(F.silu(self.a(F.silu(torch.cat([x, past(x, n)], 1) if self.memory else x))))


class Encoder(nn.Module):
    """Frames in [-1, 1] [N, 4k - 3, 3, H, W] -> [N, 16, k, H/8, W/8]: a linear map of 8x8x4 blocks (the first frame repeated) plus a convolutional correction."""
    def __init__(self, widths=(64, 96, 160), blocks=(1, 2, 3)):
        super().__init__()
        self.linear, self.stem = nn.Conv2d(12, C.ZC, 8, 8), conv(48, widths[0])
        self.levels = nn.ModuleList(nn.ModuleList(Res(w, i == 2) for _ in range(b)) for i, (w, b) in enumerate(zip(widths, blocks)))
        self.down = nn.ModuleList(conv(widths[i], widths[i + 1], stride=2) for i in range(2))
        self.head = conv(widths[2], C.ZC)
        nn.init.zeros_(self.head.weight); nn.init.zeros_(self.head.bias)
    def fold(self, x):
        x = torch.cat([x[:, :1].expand(-1, 3, -1, -1, -1), x], 1)
        return x.unflatten(1, (-1, 4)).transpose(0, 1).flatten(2, 3).flatten(0, 1).contiguous(memory_format=CL)
    def forward(self, x):
        n, x = x.shape[0], self.fold(x)
        h = self.stem(F.pixel_unshuffle(x, 2))
        for i, level in enumerate(self.levels):
            if i: h = self.down[i - 1](F.silu(h))
            for block in level: h = block(h, n)
        z = self.linear(x) + self.head(F.silu(h))
        return z.unflatten(0, (-1, n)).permute(1, 2, 0, 3, 4)
    @torch.no_grad()
    def start(self, sample):
        """Sets the linear part to whitened principal components of the clips that sample yields."""
        D, n = 768, 0
        cov, mean = torch.zeros(D, D, device=self.linear.weight.device, dtype=torch.float64), 0.
        for x in sample:
            v = F.unfold(self.fold(x), 8, stride=8).transpose(1, 2).reshape(-1, D)
            v = v[torch.randint(0, len(v), (min(len(v), 60000),), device=v.device)].double()
            cov += v.T @ v; mean = mean + v.sum(0); n += len(v)
        mean = mean / n
        w, V = torch.linalg.eigh((cov / n - mean[:, None] * mean[None]).cpu())
        B = (V.flip(1)[:, :C.ZC] / w.flip(0)[:C.ZC].clamp(min=1e-8).sqrt()).T.to(cov.device)
        self.linear.weight.copy_(B.view(C.ZC, 12, 8, 8)); self.linear.bias.copy_(-(B @ mean))


class VAE(nn.Module):
    """mean and std are those of the raw latents; encode() and decode() work on normalised ones."""
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder().to(memory_format=CL), Decoder().to(memory_format=CL)
        self.register_buffer('mean', torch.zeros(1, C.ZC, 1, 1, 1)); self.register_buffer('std', torch.ones(1, C.ZC, 1, 1, 1))
    def encode(self, x): return (self.encoder(x).float() - self.mean) / self.std
    def decode(self, z): return self.decoder(z * self.std + self.mean).float().clamp(0, 1)


def loss(vae, x, cover, sigma, noise):
    """x in [-1, 1], cover = alpha of the subject; sigma [N] scales the noise on the latents. -> (loss, squared error in [0, 1])"""
    z = vae.encoder(x)
    zf = z.float()
    y = vae.decoder(z + sigma.view(-1, 1, 1, 1, 1) * noise).float()
    t, weight = x * .5 + .5, 1 + cover[:, :, None]
    d = y - t
    rough = (weight * d.abs()).mean() + 4 * (weight * d * d).mean()
    edges = (weight[..., 1:] * (d[..., 1:] - d[..., :-1]).abs()).mean() + (weight[..., 1:, :] * (d[..., 1:, :] - d[..., :-1, :]).abs()).mean()
    time = (d[:, 1:] - d[:, :-1]).abs().mean()
    var, mean = torch.var_mean(zf, (0, 2, 3, 4))
    unit = mean.square().mean() + var.clamp(min=1e-4).log().square().mean()
    return rough + .7 * edges + .3 * time + .02 * unit, (d * d).mean()
