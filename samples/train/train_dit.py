"""Trains the transformer and the text encoder on rings of latents of rendered clips; sizes take turns by their share of the time."""
import copy, math, random, time
import torch, torch.nn as nn, torch.nn.functional as F
import configs as C, tokenizer
from common import DEFAULT, DEV, LARGE, PREVIEW, RESULT, TINY, amp, chunk, compiled, ema_update, named, pick, sync
from dit import Block, DiT
from optim import Optimizer
from text import TextEncoder

SMALL, SHORT, BRIEF = ((16, 9), (32, 5), (48, 5)) if TINY else ((128, 17), (256, 17), (320, 17))
# size -> (clips a batch, flow shift); a batch is 123,000 to 139,000 tokens
SHAPES = {s: (2, 2.5) for s in (SMALL, SHORT, BRIEF, PREVIEW, DEFAULT, LARGE)} if TINY else {SMALL: (384, 1.8), SHORT: (96, 2.2), BRIEF: (64, 2.4), PREVIEW: (56, 2.5), DEFAULT: (24, 2.8), LARGE: (8, 3.2)}
# phases: (end as a share of the training time, {size: share of the phase's time}); short clips show many more subjects a second than long ones
FRESH = [(.12, {SMALL: 1.}), (.4, {SHORT: 1.}), (.6, {PREVIEW: 1.}), (1., {PREVIEW: .15, BRIEF: .15, DEFAULT: .55, LARGE: .15})]
ONWARD = [(.45, {PREVIEW: .25, BRIEF: .35, DEFAULT: .32, LARGE: .08}), (1., {PREVIEW: .12, BRIEF: .13, DEFAULT: .6, LARGE: .15})]
GROUP, IDS = pick(8, 8, 2), 32
SUBJECT = 2.   # extra weight of the loss where the subject is
tokens = tokenizer.Tokenizer()


class Net(nn.Module):
    def __init__(self): super().__init__(); self.transformer, self.text_encoder = DiT(), TextEncoder()
    def forward(self, z, t, ids, run=None): return self.transformer(z, t, self.text_encoder(ids), run)


def encode_text(captions, length=IDS): return torch.tensor([tokens(c, length) for c in captions])


def coverage(alpha):
    """Share of each latent cell that the subject covers: [b, T, S, S] -> [b, 1, k, S/8, S/8]."""
    a = torch.cat([alpha[:, :1].expand(-1, 3, -1, -1), alpha], 1)[:, None]
    return F.avg_pool3d(a, (4, 8, 8))


class Ring:
    """Latents kept on the device. Each group of GROUP batches renders one batch of new clips, so a clip is used about GROUP times, each time with other noise."""
    def __init__(self, world, vae, size, B, rng, cap=None):
        (S, T), self.world, self.vae, self.B, self.rng = size, world, vae, B, rng
        grid = (T + 3) // 4, S // 8, S // 8
        self.S, self.T = S, T
        self.cap = cap or max(2 * B, int(min(16384, pick(9e9, 2e9, 1e6) / (17 * grid[0] * grid[1] * grid[2] * 2))))
        self.n = self.at = self.made = self.seconds = 0
        self.z = torch.empty(self.cap, 17, *grid, device=DEV, dtype=torch.bfloat16)
        self.ids = torch.zeros(self.cap, IDS, dtype=torch.long, device=DEV)
    @torch.no_grad()
    def add(self, count):
        """Renders and encodes new clips; returns their places."""
        step, places = chunk(self.S, self.T), []
        for i in range(0, count, step):
            m = min(step, count - i)
            x, alpha, _, caps = self.world.clips(m, self.T, self.S, self.rng)
            with amp(): z = self.vae.encode(x)
            at = ((torch.arange(m) + self.at) % self.cap).to(DEV)
            self.z[at], self.ids[at] = torch.cat([z, coverage(alpha)], 1).bfloat16(), encode_text(caps).to(DEV)
            self.at, self.n, self.made = (self.at + m) % self.cap, min(self.cap, self.n + m), self.made + m
            places.append(at)
        return torch.cat(places)
    def batches(self):
        """GROUP batches (latents, coverage, ids); each new clip is in at least one."""
        if self.n == 0: self.add(self.B * pick(7, 1, 1))
        begin, fresh = time.time(), self.add(self.B)
        sync(); self.seconds = time.time() - begin
        for new in fresh.tensor_split(GROUP):
            j = torch.cat([new, torch.randint(0, self.n, (self.B - len(new),), device=DEV)])
            z = self.z[j]
            yield z[:, :16].float(), z[:, 16:].float(), self.ids[j]


def noise_levels(B, shift):
    s = torch.sigmoid(torch.randn(B, device=DEV))
    s = torch.where(torch.rand(B, device=DEV) < .3, torch.rand(B, device=DEV), s)
    return shift * s / (1 + (shift - 1) * s)


def loss_of(net, x0, ids, s, noise, cover=None, run=None):
    """(weighted loss of each clip, plain mean squared error)"""
    q = s.view(-1, 1, 1, 1, 1)
    with amp(): v = net((1 - q) * x0 + q * noise, s * 1000, ids, run)
    e = (v.float() - (noise - x0)).square()
    if cover is None: return e.mean((1, 2, 3, 4)), e.mean()
    w = 1 + SUBJECT * cover
    return (e * w).mean((1, 2, 3, 4)) / w.mean(), e.mean().detach()


def work(size):
    """Floating-point operations of one training sample: three forwards for the linear layers, 3.5 for self-attention."""
    n = (size[1] + 3) // 4 * (size[0] // 16) ** 2
    return n * C.LAYERS * C.DIM * (3 * 28 * C.DIM + 3.5 * 4 * n)


class Trainer:
    """net: where to start, or None for fresh weights; peak: highest factor on the learning rates. Phases and learning rate follow the share of the time spent, so a slower machine only sees fewer clips."""
    def __init__(self, run, world, vae, net=None, state=None, peak=None):
        self.run, self.world, self.vae, self.fresh = run, world, vae, net is None
        self.net = net or Net().to(DEV)
        self.ema = copy.deepcopy(self.net).requires_grad_(False)
        self.peak, self.opt, self.step, self.spent, self.history = peak or (1. if net is None else .6), Optimizer(self.net), 0, 0., []
        if state: self.load(state)
        self.rings, self.batch, self.used, self.sums = {}, {s: b for s, (b, _) in SHAPES.items()}, {}, {}
        self.rng = random.Random(1000 + self.step)
        torch.manual_seed(1000 + self.step)
        self.block = compiled(Block.forward)
        self.drop = torch.zeros(IDS, dtype=torch.long, device=DEV); self.drop[0] = tokenizer.EOS

    def state(self):
        return dict(net=self.net.state_dict(), ema=self.ema.state_dict(), opt=self.opt.state(), step=self.step, spent=self.spent, history=self.history, peak=self.peak)

    def load(self, s):
        self.net.load_state_dict(s['net']); self.ema.load_state_dict(s['ema']); self.opt.load(s['opt'])
        self.step, self.spent, self.history, self.peak = s['step'], s['spent'], s['history'], s['peak']

    def finite(self): return all(torch.isfinite(p).all() for p in self.ema.parameters())

    def rate(self, u): return self.peak * min(1, (self.step + 1) / 200) * max(.02, 1 - .98 * max(0, u - .4) / .6)

    def next_size(self, u):
        """The size that is furthest behind its share of the phase."""
        shares = next(p for end, p in (FRESH if self.fresh else ONWARD) if u < end or end == 1.)
        if set(shares) != set(self.used): self.used = dict.fromkeys(shares, 0.)
        for size in set(self.rings) - set(shares): del self.rings[size]
        return min(shares, key=lambda s: self.used[s] / shares[s])

    def group(self, size, u):
        """GROUP steps at one size. -> sum of the losses (a tensor)"""
        B, shift, total = self.batch[size], SHAPES[size][1], torch.zeros((), device=DEV)
        if size not in self.rings: self.rings[size] = Ring(self.world, self.vae, size, B, self.rng)
        ps, es = list(self.net.parameters()), list(self.ema.parameters())
        for x0, cover, ids in self.rings[size].batches():
            ids = torch.where(torch.rand(B, 1, device=DEV) < .1, self.drop, ids)
            loss, mse = loss_of(self.net, x0, ids, noise_levels(B, shift), torch.randn_like(x0), cover, self.block)
            loss.mean().backward()
            self.opt.step(self.rate(u))
            with torch.no_grad(): ema_update(es, ps, min(.999, (100 + self.step) / (110 + self.step)))
            total += mse; self.step += 1
        return total

    def train(self, tail, save):
        """Until `tail` seconds are left of the run; save() every two minutes."""
        logged = saved = time.time()
        while self.run.left() > tail:
            u, begin = self.spent / (self.spent + self.run.left() - tail), time.time()
            size = self.next_size(u)
            first = size not in self.rings
            try: loss = self.group(size, u).item() / GROUP
            except RuntimeError as e:
                if 'out of memory' not in str(e).lower(): raise
                self.batch[size] = max(1, self.batch[size] // 2); self.rings.pop(size, None)
                for p in self.net.parameters(): p.grad = None
                torch.cuda.empty_cache(); self.run.log(f'out of memory at {named(size)}: batch {self.batch[size]} from now on'); continue
            took = time.time() - begin
            self.spent += took; self.used[size] += took
            if not math.isfinite(loss): raise FloatingPointError('loss is not finite')
            if first: self.run.log(f'dit {named(size)} batch {self.batch[size]}: first group took {took:.1f} s, loss {loss:.4f}')
            else: self.sums[size] = [a + b for a, b in zip(self.sums.get(size, [0, 0., 0., 0.]), (1, took, loss, self.rings[size].seconds))]
            if time.time() - logged > pick(25, 4, 4): self.report(u); logged = time.time()
            if time.time() - saved > 120: save(); saved = time.time()
        self.report(1.)
        RESULT['dit_training'] = dict(steps=self.step, seconds=self.spent, sizes={named(s): self.batch[s] for s in SHAPES}, clips_rendered={named(s): r.made for s, r in self.rings.items()},
                                      log_columns=['seconds', 'step', 'size', 'loss', 'samples per second', 'TFLOP/s', 'share of rendering'], log=self.history)

    def report(self, u):
        for size, (n, took, loss, data) in self.sums.items():
            rate = n * GROUP * self.batch[size] / took
            self.history.append([self.spent, self.step, named(size), loss / n, rate, rate * work(size) / 1e12, data / took])
            self.run.log(f'  dit step {self.step} {named(size)} loss {loss / n:.4f} lr x{self.rate(u):.3f} {rate:.0f} samples/s {rate * work(size) / 1e12:.0f} TFLOP/s, '
                         f'{data / took * 100:.0f} % of it rendering')
        self.sums = {}
        if DEV.type == 'cuda': self.run.log(f'  memory {torch.cuda.max_memory_allocated() / 2 ** 30:.1f} GiB')

    @torch.no_grad()
    def validate(self, size, n=48):
        """EMA loss by noise level, with the right captions and with captions of other clips."""
        n = pick(n, 8, 4)
        ring = Ring(self.world, self.vae, size, n, random.Random(99), n)
        ring.add(n)
        z, ids = ring.z[:, :16].float(), ring.ids
        noise, out = torch.randn(z.shape, generator=torch.Generator().manual_seed(5)).to(DEV), {}
        for s in (.1, .3, .5, .7, .9):
            pairs = [[loss_of(self.ema, z[i:i + 8], c[i:i + 8], torch.full((len(z[i:i + 8]),), s, device=DEV), noise[i:i + 8])[1].item() for i in range(0, n, 8)] for c in (ids, ids.roll(1, 0))]
            out[s] = [sum(p) / len(p) for p in pairs]
        self.run.log(f'EMA loss at {named(size)}, right / other captions: ' + '  '.join(f'{k}: {a:.3f}/{b:.3f}' for k, (a, b) in out.items()))
        return out
