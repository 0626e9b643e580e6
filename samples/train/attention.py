"""Records self-attention while sampling: is it sparse, is it three-dimensional, do the chosen blocks persist over the steps?"""
import math
import torch, torch.nn.functional as F
import configs as C
from common import DEV
from dit import attend

FRACTIONS = (.1, .2, .6, .9)
KEEP = .2
TIME_WEIGHTS = (.05, .25, .5, 1., 2., 4., 20.)


def cut(v, size, want):
    """Nearly equal pieces of at most `want`."""
    return torch.div(v * -(-size // want), size, rounding_mode='floor')


def tiles(T, h, w):
    """Tokens in 4x4x4 tiles: (block of every token, block centres, tokens per block)."""
    t, y, x = (a.reshape(-1) for a in torch.meshgrid(torch.arange(T), torch.arange(h), torch.arange(w), indexing='ij'))
    b = torch.unique(cut(t, T, 4) * 10000 + cut(y, h, 4) * 100 + cut(x, w, 4), return_inverse=True)[1]
    M = F.one_hot(b).float()
    return b.to(DEV), ((M.T @ torch.stack([t, y, x], 1).float()) / M.sum(0)[:, None]).to(DEV), M.sum(0).to(DEV), M.to(DEV)


def top(A, keep=KEEP):
    k = max(1, round(keep * A.shape[-1]))
    return torch.zeros_like(A, dtype=torch.bool).scatter_(-1, A.topk(k, -1).indices, True)


def window(centre, weight, keep=KEEP):
    """The nearest blocks, time counted `weight` times."""
    d = centre[:, None] - centre[None]
    D = (d[..., 1] ** 2 + d[..., 2] ** 2).sqrt() + weight * d[..., 0].abs()
    return top(-(D + 1e-5 * torch.arange(len(D), device=DEV)[None]), keep)


class Recorder:
    def __init__(self, net, T, S, clips):
        self.net, self.grid = net, ((T + 3) // 4, S // 16, S // 16)
        self.block, self.centre, self.count, self.M = tiles(*self.grid)
        self.steps = {}
        for i, f in enumerate(FRACTIONS): self.steps.setdefault(max(1, round(f * C.STEPS)), i)
        nb = len(self.count)
        self.mass = torch.full((C.LAYERS, len(FRACTIONS), clips * 2, C.HEADS, nb, nb), float('nan'), device=DEV)
        self.entropy = torch.full(self.mass.shape[:4], float('nan'), device=DEV)
    def before(self, i):
        for l, b in enumerate(self.net.transformer.blocks):
            b.attn1.hook = (lambda q, k, v, l=l, f=self.steps[i]: self.capture(q, k, v, l, f)) if i in self.steps else None
    def capture(self, q, k, v, l, f):
        rows = max(64, int(3e8 / (4 * q.shape[1] * q.shape[2])))
        with torch.autocast(DEV.type, enabled=False):
            for b in range(len(q)):
                mass, entropy = 0., 0.
                for i in range(0, q.shape[2], rows):
                    P = torch.softmax(q[b, :, i:i + rows].float() @ k[b].float().mT / q.shape[-1] ** .5, -1)
                    mass = mass + self.M[i:i + rows].T @ (P @ self.M)
                    entropy = entropy - (P * (P + 1e-12).log()).sum((1, 2))
                self.mass[l, f, b], self.entropy[l, f, b] = mass / self.count[:, None], entropy / (q.shape[2] * math.log(q.shape[2]))
        return attend(q, k, v)
    def stop(self):
        for b in self.net.transformer.blocks: b.attn1.hook = None


def per_head(X): return X.float().nanmean((1, 2))


def analyse(rec):
    """Recall = share of a query block's attention mass inside its chosen 20 % of key blocks. Tables are [layer][head]."""
    A, w, n = rec.mass, rec.count / rec.count.sum(), len(rec.count)
    recall = lambda m, X=A: ((X * m).sum(-1) * w).sum(-1)
    ok = lambda X: torch.where(torch.isnan(A[..., 0, 0]), torch.nan, X.float())
    chosen = top(A.nan_to_num())
    oracle = ok(recall(chosen))
    windows = torch.stack([per_head(recall(window(rec.centre, t))) for t in TIME_WEIGHTS])
    early = chosen[:, 1:2]
    overlap = {f: ((chosen[:, i] & early[:, 0]).sum(-1).float() / chosen.shape[-1] / KEEP_SHARE(n)).mean(-1) for i, f in enumerate(FRACTIONS) if i > 1}
    live = ~torch.isnan(A[0, :, :, 0, 0, 0])
    half = A.shape[2] // 2
    curve = {k: dict(oracle=per_head(ok(recall(top(A.nan_to_num(), k)))).mean(), window_per_head=torch.stack([per_head(recall(window(rec.centre, t, k))) for t in TIME_WEIGHTS]).max(0)[0].mean()) for k in (.1, .5)}
    tab = dict(oracle=per_head(oracle), window_per_head=windows.max(0)[0], entropy=per_head(rec.entropy), early_choice=per_head(ok(recall(early))[:, 2:]))
    both = {f: o[:, live[i + 2]].mean(1) for i, (f, o) in enumerate(overlap.items())}
    return dict(grid=rec.grid, tokens=int(rec.count.sum()), blocks=n, kept=KEEP_SHARE(n), clips=half, steps=list(rec.steps),
                mean=dict(oracle=tab['oracle'].mean(), window_per_head=tab['window_per_head'].mean(), window_one=windows.mean((1, 2)).max(), random=KEEP_SHARE(n),
                          early_choice=tab['early_choice'].mean(), entropy_min=tab['entropy'].min(), entropy_max=tab['entropy'].max(),
                          overlap_with_choice_at_20_percent={f: v.mean() for f, v in both.items()}),
                other_shares_kept=curve, oracle_by_step={f: oracle[:, i][:, live[i]].mean() for i, f in enumerate(FRACTIONS)},
                per_layer_and_head={**tab, **{f'overlap_at_{round(f * 100)}_percent': v for f, v in both.items()}})


def KEEP_SHARE(n): return max(1, round(KEEP * n)) / n
