"""Trains the transformer and the text encoder on a ring of latents of rendered clips."""
import copy, math, random, time
import torch, torch.nn as nn, torch.nn.functional as F
import configs as C, tokenizer
from common import DEV, RESULT, TINY, amp, compiled, ema_update, sync
from dit import Block, DiT
from optim import Optimizer
from text import TextEncoder

# size, frames, batch, end of the phase as a share of all DiT time, flow shift
PHASES = [(64, 9, 8, .15, 2.), (64, 17, 4, .5, 2.5), (96, 17, 2, 1., 2.5)] if TINY else [(128, 17, 384, .15, 1.8), (256, 17, 96, .5, 2.2), (256, 33, 56, 1., 2.5)]
REUSE, IDS = 4, 32
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
    """Latents kept on the device; every clip is used about REUSE times."""
    def __init__(self, world, vae, S, T, B, rng):
        self.world, self.vae, self.S, self.T, self.B, self.rng = world, vae, S, T, B, rng
        grid = (T + 3) // 4, S // 8, S // 8
        self.cap = 64 if TINY else int(min(12288, 5e9 / (17 * grid[0] * grid[1] * grid[2] * 2)))
        self.n = self.at = self.made = 0
        self.z = torch.empty(self.cap, 17, *grid, device=DEV, dtype=torch.bfloat16)
        self.ids = torch.zeros(self.cap, IDS, dtype=torch.long, device=DEV)
    @torch.no_grad()
    def add(self, count):
        chunk = max(1, int(4e7 / (self.T * self.S ** 2)))
        for i in range(0, count, chunk):
            m = min(chunk, count - i)
            x, alpha, _, caps = self.world.clips(m, self.T, self.S, self.rng)
            with amp(): z = self.vae.encode(x)
            at = ((torch.arange(m) + self.at) % self.cap).to(DEV)
            self.z[at], self.ids[at] = torch.cat([z, coverage(alpha)], 1).bfloat16(), encode_text(caps).to(DEV)
            self.at, self.n, self.made = (self.at + m) % self.cap, min(self.cap, self.n + m), self.made + m
    def batch(self):
        new = self.B if self.n < self.B else max(1, self.B // REUSE)
        first = self.at
        self.add(new)
        j = torch.cat([(torch.arange(new) + first) % self.cap, torch.randint(0, self.n, (self.B - new,))]).to(DEV)
        return self.z[j], self.ids[j]


def noise_levels(B, shift):
    s = torch.sigmoid(torch.randn(B, device=DEV))
    s = torch.where(torch.rand(B, device=DEV) < .3, torch.rand(B, device=DEV), s)
    return shift * s / (1 + (shift - 1) * s)


def loss_of(net, x0, ids, s, noise, cover=None, run=None):
    q = s.view(-1, 1, 1, 1, 1)
    with amp(): v = net((1 - q) * x0 + q * noise, s * 1000, ids, run)
    e = (v.float() - (noise - x0)).square()
    if cover is None: return e.mean((1, 2, 3, 4)), e.mean()
    return (e * (1 + cover)).mean((1, 2, 3, 4)), e.mean().detach()


def warm():
    """A child process that compiles the block at all training shapes into the on-disk cache."""
    net, run = Net().to(DEV), compiled(Block.forward)
    for S, T, B, _, shift in PHASES:
        x0 = torch.randn(B, C.ZC, (T + 3) // 4, S // 8, S // 8, device=DEV)
        loss_of(net, x0, torch.ones(B, IDS, dtype=torch.long, device=DEV), noise_levels(B, shift), torch.randn_like(x0), None, run)[0].mean().backward()
        sync()


class Trainer:
    """total: seconds of DiT training in all commands together; phases and learning rate follow the time spent."""
    def __init__(self, run, world, vae, total, state=None):
        self.run, self.world, self.vae, self.total = run, world, vae, total
        self.net = Net().to(DEV)
        self.ema = copy.deepcopy(self.net).requires_grad_(False)
        self.opt, self.step, self.spent, self.history = Optimizer(self.net), 0, 0., []
        if state:
            self.net.load_state_dict(state['net']); self.ema.load_state_dict(state['ema']); self.opt.load(state['opt'])
            self.step, self.spent, self.history = state['step'], state['spent'], state['history']
        self.rng = random.Random(1000 + self.step)
        torch.manual_seed(1000 + self.step)

    def state(self):
        return dict(net=self.net.state_dict(), ema=self.ema.state_dict(), opt=self.opt.state(), step=self.step, spent=self.spent, history=self.history)

    def rate(self, u): return min(1, (self.step + 1) / 200) * max(.04, 1 - .96 * max(0, u - .5) / .5)

    def train(self, seconds):
        block, begin, before = compiled(Block.forward), time.time(), self.spent
        ps, es, phase = list(self.net.parameters()), list(self.ema.parameters()), None
        drop = torch.zeros(IDS, dtype=torch.long, device=DEV); drop[0] = tokenizer.EOS
        while time.time() - begin < seconds:
            self.spent = before + time.time() - begin
            u = min(1, self.spent / self.total)
            now = next(i for i, p in enumerate(PHASES) if u < p[3] or i == len(PHASES) - 1)
            if now != phase:
                if phase is not None: del ring
                phase, (S, T, B, _, shift) = now, PHASES[now]
                ring, acc, n, mark = Ring(self.world, self.vae, S, T, B, self.rng), torch.zeros((), device=DEV), 0, None
            x, ids = ring.batch()
            x0, cover = x[:, :16].float(), x[:, 16:].float()
            ids = torch.where(torch.rand(B, 1, device=DEV) < .1, drop, ids)
            loss, mse = loss_of(self.net, x0, ids, noise_levels(B, shift), torch.randn_like(x0), cover, block)
            loss.mean().backward()
            self.opt.step(self.rate(u))
            with torch.no_grad(): ema_update(es, ps, min(.999, (1 + self.step) / (10 + self.step)))
            acc += mse.detach(); n += 1; self.step += 1
            if self.step % 8 == 0: sync()
            if mark is None:
                sync(); mark = time.time(); acc.zero_(); n = 0
                self.run.log(f'dit phase {phase + 1}: {S}x{S}x{T} batch {B}, first step done')
            elif time.time() - mark > (4 if TINY else 25):
                sync()
                m, rate = (acc / n).item(), n * B / (time.time() - mark)
                self.history.append([self.spent, phase, self.step, m, rate])
                self.run.log(f'  dit step {self.step} loss {m:.4f} lr x{self.rate(u):.2f} {rate:.0f} samples/s, {ring.made} clips')
                if not math.isfinite(m): raise RuntimeError('dit loss is not finite')
                acc.zero_(); n, mark = 0, time.time()
        self.spent = before + time.time() - begin
        RESULT['dit_training'] = dict(steps=self.step, seconds=self.spent, phases=[p[:3] for p in PHASES], log=self.history)

    @torch.no_grad()
    def validate(self, n=64):
        """EMA loss by noise level, with the right captions and with captions of other clips."""
        S, T, *_ = PHASES[-1]
        n = 4 if TINY else n
        ring = Ring(self.world, self.vae, S, T, n, random.Random(99))
        x, ids = ring.batch()
        z, out = x[:, :16].float(), {}
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(5)).to(DEV)
        for s in (.1, .3, .5, .7, .9):
            out[s] = [loss_of(self.ema, z, i, torch.full((n,), s, device=DEV), noise)[1].item() for i in (ids, ids.roll(1, 0))]
        RESULT['dit_validation'] = out
        self.run.log('EMA loss, right / other captions: ' + '  '.join(f'{k}: {a:.3f}/{b:.3f}' for k, (a, b) in out.items()))
