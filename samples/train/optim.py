"""Muon for the matrices (in batches of equal shape), AdamW for the rest."""
import torch
from common import CUDA, DEV


def orthogonal(G):
    """Newton-Schulz iteration: pushes all singular values of a stack of matrices towards 1."""
    X = G.bfloat16() if CUDA else G
    tall = X.shape[-2] > X.shape[-1]
    if tall: X = X.mT
    X = X / (X.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(5):
        A = X @ X.mT
        X = 3.4445 * X + (-4.775 * A + 2.0315 * A @ A) @ X
    return (X.mT if tall else X).float()


def is_matrix(name, p):
    return p.dim() == 2 and not any(s in name for s in ('shared', 'relative_attention_bias', 'proj_out', 'patch_embedding'))


class Optimizer:
    """UMT5 folds the 1/sqrt(64) of attention into q, so its q takes an eighth of the step."""
    def __init__(self, net, lr=.02, adam_lr=1e-3):
        self.lr, self.adam_lr, groups, rest = lr, adam_lr, {}, []
        for n, p in net.named_parameters():
            if is_matrix(n, p): groups.setdefault((tuple(p.shape), .125 if 'SelfAttention.q' in n else 1.), []).append(p)
            else: rest.append(p)
        self.groups = [(ps, scale, torch.zeros(len(ps), *shape, device=DEV)) for (shape, scale), ps in groups.items()]
        self.adam = torch.optim.AdamW(rest, lr=adam_lr, betas=(.9, .98), weight_decay=0., **(dict(fused=True) if CUDA else {}))
        self.params = list(net.parameters())

    @torch.no_grad()
    def step(self, f):
        """f: factor on both learning rates."""
        torch.nn.utils.clip_grad_norm_(self.params, 1.)
        for ps, scale, buf in self.groups:
            g = torch.stack([p.grad for p in ps])
            buf.mul_(.95).add_(g, alpha=.05)
            u = orthogonal(g * .05 + buf * .95)
            k = self.lr * f * scale * max(1, ps[0].shape[0] / ps[0].shape[1]) ** .5
            torch._foreach_mul_(ps, 1 - .01 * self.lr * f)
            torch._foreach_add_(ps, list(u.unbind(0)), alpha=-k)
        for q in self.adam.param_groups: q['lr'] = self.adam_lr * f
        self.adam.step()
        for p in self.params: p.grad = None

    def state(self): return dict(muon=[b for *_, b in self.groups], adam=self.adam.state_dict())
    def load(self, s):
        for (*_, b), v in zip(self.groups, s['muon']): b.copy_(v)
        self.adam.load_state_dict(s['adam'])
