"""The judge: a small network that names subject, scene and motion of a clip, trained on renders and on VAE reconstructions."""
import random, time
import torch, torch.nn as nn, torch.nn.functional as F
import captions as W
from common import DEV, RESULT, TINY, amp

SIZE, FRAMES = 128, [0, 4, 9, 13, 18, 23, 27, 32]
HEADS = dict(subject=list(W.SUBJECTS), scene=W.SCENES, motion=W.MOTIONS)


class Probe(nn.Module):
    """[B, 8, 3, 128, 128] in [0, 1] -> logits of the three heads."""
    def __init__(self):
        super().__init__()
        layers, widths = [], [3, 32, 64, 96, 128]
        for a, b in zip(widths, widths[1:]): layers += [nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.frames = nn.Sequential(*layers)
        self.clip = nn.Sequential(nn.Conv3d(128, 64, 3, 1, 1, bias=False), nn.BatchNorm3d(64), nn.ReLU(), nn.Conv3d(64, 24, 3, 2, 1, bias=False), nn.BatchNorm3d(24), nn.ReLU(), nn.Flatten(),
                                  nn.Linear(24 * 64, 192), nn.ReLU())
        self.heads = nn.ModuleDict({k: nn.Linear(128 * 2 + 192, len(v)) for k, v in HEADS.items()})
    def forward(self, x):
        b = x.shape[0]
        f = self.frames((x.flatten(0, 1) * 2 - 1).contiguous(memory_format=torch.channels_last)).unflatten(0, (b, -1))
        features = torch.cat([f.amax((3, 4)).mean(1), f.mean((1, 3, 4)), self.clip(f.transpose(1, 2))], 1)
        return {k: h(features) for k, h in self.heads.items()}


def view(clips):
    """[B, 33, 3, 256, 256] in [0, 1] -> what the probe sees."""
    x = clips[:, FRAMES]
    return F.interpolate(x.flatten(0, 1), size=SIZE, mode='area').unflatten(0, x.shape[:2])


def labels(specs): return {k: torch.tensor([v.index(s[k]) for s in specs], device=DEV) for k, v in HEADS.items()}


@torch.no_grad()
def reconstructions(world, vae, n, rng, noise=.25):
    """Clips through the VAE, with noise on the latents, as bytes."""
    xs, specs = [], []
    for _ in range(0, n, 8):
        x, _, s, _ = world.clips(8, 33, 64 if TINY else 256, rng, 'any')
        with amp():
            z = vae.encode(x)
            y = vae.decode(z + noise * torch.rand(8, 1, 1, 1, 1, device=DEV) * torch.randn_like(z))
        xs.append((view(y) * 255).round().byte()); specs += s
    return torch.cat(xs), labels(specs)


def disturb(x):
    """Blur for some clips, noise and brightness for all."""
    b = len(x)
    soft = F.avg_pool2d(x.flatten(0, 1), 3, 1, 1, count_include_pad=False).unflatten(0, x.shape[:2])
    x = torch.where(torch.rand(b, 1, 1, 1, 1, device=x.device) < .4, soft, x)
    return x * (.9 + .2 * torch.rand(b, 1, 1, 1, 1, device=x.device)) + .05 * torch.rand(b, 1, 1, 1, 1, device=x.device) * torch.randn_like(x)


def train(run, world, pool, seconds, seed):
    torch.manual_seed(seed)
    rng, begin, step = random.Random(700 + seed), time.time(), 0
    net = Probe().to(DEV)
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=.02)
    half = 8 if TINY else 112
    while time.time() - begin < seconds:
        specs = [W.draw(rng, 'any') for _ in range(half)]
        x, _, _ = world.render([world.row(rng, s) for s in specs], 33, SIZE, FRAMES)
        j = torch.randint(0, len(pool[0]), (half,), device=DEV)
        a, b = labels(specs), {k: v[j] for k, v in pool[1].items()}
        inputs = disturb(torch.cat([x * .5 + .5, pool[0][j].float() / 255]))
        u = (time.time() - begin) / seconds
        for g in opt.param_groups: g['lr'] = 2e-3 * min(1, (step + 1) / 50) * max(.02, 1 - u)
        with amp(): out = net(inputs)
        loss = sum(F.cross_entropy(out[k].float(), torch.cat([a[k], b[k]])) for k in HEADS)
        opt.zero_grad(set_to_none=True); loss.backward(); opt.step()
        step += 1
        if step % 100 == 0: run.log(f'  probe {seed} step {step} loss {loss.item():.3f}')
    return net.eval().requires_grad_(False)


@torch.no_grad()
def predict(net, x):
    out = [net(x[i:i + 64].float()) for i in range(0, len(x), 64)]
    return {k: torch.cat([o[k] for o in out]).argmax(1) for k in HEADS}


def accuracy(nets, x, truth):
    """Mean over the probes, and each one's own."""
    each = [{k: (v == truth[k]).float().mean().item() for k, v in predict(n, x).items()} for n in nets]
    return {k: dict(mean=sum(e[k] for e in each) / len(each), each=[e[k] for e in each]) for k in HEADS}


def stage(run, world, vae, seconds, seeds=2):
    """Trains the probes and tests them on fresh renders and reconstructions."""
    pool = reconstructions(world, vae, 16 if TINY else 2400, random.Random(31))
    nets = [train(run, world, pool, seconds / seeds, s) for s in range(seeds)]
    test = reconstructions(world, vae, 16 if TINY else 240, random.Random(32), 0.)
    rng = random.Random(33)
    specs = [W.draw(rng, 'any') for _ in range(16 if TINY else 480)]
    rows = [world.row(rng, s) for s in specs]
    real = torch.cat([view(world.render(rows[i:i + 16], 33, 64 if TINY else 256)[0] * .5 + .5) for i in range(0, len(rows), 16)])
    RESULT['probe'] = dict(renders=accuracy(nets, real, labels(specs)), reconstructions=accuracy(nets, test[0].float() / 255, test[1]), n=[len(specs), len(test[0])])
    for k in ('renders', 'reconstructions'): run.log(f'probe on {k}: ' + ', '.join(f"{h} {v['mean']:.3f} {v['each']}" for h, v in RESULT['probe'][k].items()))
    return nets
