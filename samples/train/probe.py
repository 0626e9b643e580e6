"""The judge: a small network that names subject, scene and motion of a clip of any size, trained on renders and on VAE reconstructions."""
import random, time
import torch, torch.nn as nn, torch.nn.functional as F
import captions as W
from common import DEFAULT, DEV, LARGE, PREVIEW, RESULT, amp, chunk, named, pick

SIZE = 128
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


def frames(T):
    """The eight frames, evenly spread over the clip, that the probe sees."""
    return [round(i * (T - 1) / 7) for i in range(8)]


def view(clips):
    """[B, T, 3, S, S] in [0, 1] -> what the probe sees."""
    x = clips[:, frames(clips.shape[1])].float()
    return F.interpolate(x.flatten(0, 1), size=SIZE, mode='area').unflatten(0, x.shape[:2])


def labels(specs): return {k: torch.tensor([v.index(s[k]) for s in specs], device=DEV) for k, v in HEADS.items()}


@torch.no_grad()
def reconstructions(world, vae, size, n, rng, noise=.25):
    """Clips through the VAE, with noise on the latents, as bytes."""
    xs, specs, step = [], [], chunk(*size)
    for i in range(0, n, step):
        x, _, s, _ = world.clips(min(step, n - i), size[1], size[0], rng, 'any')
        with amp():
            z = vae.encode(x)
            y = vae.decode(z + noise * torch.rand(len(z), 1, 1, 1, 1, device=DEV) * torch.randn_like(z))
        xs.append((view(y) * 255).round().byte()); specs += s
    return torch.cat(xs), labels(specs)


@torch.no_grad()
def renders(world, size, n, rng):
    """Clips as they are rendered, as bytes."""
    xs, specs, step = [], [], chunk(*size)
    for i in range(0, n, step):
        x, _, s, _ = world.clips(min(step, n - i), size[1], size[0], rng, 'any')
        xs.append(((view(x) * .5 + .5) * 255).round().byte()); specs += s
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
    half = pick(112, 112, 8)
    while time.time() - begin < seconds:
        specs = [W.draw(rng, 'any') for _ in range(half)]
        T = rng.choice((PREVIEW, DEFAULT, LARGE))[1]
        x, _, _ = world.render([world.row(rng, s) for s in specs], T, SIZE, frames(T))
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
    """Trains the probes and tests them on fresh renders and reconstructions of every size."""
    counts = {PREVIEW: pick(500, 32, 8), DEFAULT: pick(700, 32, 8), LARGE: pick(100, 8, 4)}
    parts = [reconstructions(world, vae, size, n, random.Random(31)) for size, n in counts.items()]
    pool = torch.cat([p[0] for p in parts]), {k: torch.cat([p[1][k] for p in parts]) for k in HEADS}
    run.log(f'probe: {len(pool[0])} reconstructions')
    nets, found = [train(run, world, pool, seconds / seeds, s) for s in range(seeds)], {}
    for size, n in ((DEFAULT, pick(240, 16, 8)), (PREVIEW, pick(120, 16, 8)), (LARGE, pick(40, 8, 4))):
        real, made = renders(world, size, n, random.Random(33)), reconstructions(world, vae, size, n, random.Random(32), 0.)
        found[named(size)] = dict(n=n, renders=accuracy(nets, real[0].float() / 255, real[1]), reconstructions=accuracy(nets, made[0].float() / 255, made[1]))
        for k in ('renders', 'reconstructions'): run.log(f'probe on {named(size)} {k}: ' + ', '.join(f"{h} {v['mean']:.3f}" for h, v in found[named(size)][k].items()))
    RESULT['probe'] = found
    return nets
