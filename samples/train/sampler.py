"""Samples latents: UniPC of order 2 on flow sigmas (as Wan's scheduler) with guidance on the noisiest part of the steps."""
import math
import numpy as np
import torch
import configs as C
from common import amp


def ladder(steps, shift=C.SHIFT):
    """sigmas (float32, a zero at the end) and integer timesteps of diffusers' UniPCMultistepScheduler with use_flow_sigmas."""
    s = np.linspace(1, 1 / 1000, steps + 1)[:-1]
    s = shift * s / (1 + (shift - 1) * s)
    if abs(s[0] - 1) < 1e-6: s[0] -= 1e-6
    return np.append(s, 0).astype(np.float32), (s * 1000).astype(np.int64)


def lam(s): return math.log(float(np.float32(1) - np.float32(s))) - math.log(float(s))


def coefficients(order, h, rk):
    """(expm1(-h), rho of the corrector)"""
    hh = -h
    phi1 = math.expm1(hh)
    if order == 1: return phi1, [.5]
    p1 = phi1 / hh - 1
    p2 = p1 / hh - .5
    rho = np.linalg.solve(np.array([[1, 1], [rk, 1]]), np.array([p1 / phi1, p2 * 2 / phi1]))
    return phi1, rho.tolist()


def unipc(velocity, x, steps):
    """velocity(x, timestep, step number) -> v; returns the clean latents."""
    sig, ts = ladder(steps)
    prev_m = prev2_m = last = None
    prev_order, prev_rk = 0, None
    for i in range(steps):
        m = x - float(sig[i]) * velocity(x, int(ts[i]), i)
        if i == steps - 1: return m
        if i > 0:
            h = lam(sig[i]) - lam(sig[i - 1])
            phi1, rho = coefficients(prev_order, h, prev_rk)
            alpha = 1 - float(sig[i])
            fix = rho[-1] * (m - prev_m)
            if prev_order == 2: fix = fix + rho[0] * (prev2_m - prev_m) / prev_rk
            x = float(sig[i]) / float(sig[i - 1]) * last - alpha * phi1 * prev_m - alpha * phi1 * fix
        order = min(2, steps - i, i + 1)
        h, alpha, last = lam(sig[i + 1]) - lam(sig[i]), 1 - float(sig[i + 1]), x
        phi1, rk = math.expm1(-h), None
        x = float(sig[i + 1]) / float(sig[i]) * x - alpha * phi1 * m
        if order == 2:
            rk = (lam(sig[i - 1]) - lam(sig[i])) / h
            x = x - alpha * phi1 * .5 * (prev_m - m) / rk
        prev2_m, prev_m, prev_order, prev_rk = prev_m, m, order, rk


@torch.no_grad()
def sample(net, ids, T, S, steps=C.STEPS, cfg=C.CFG, part=C.CFG_PART, seed=7, before=None, noise=None, half=True, run=None):
    """ids [B, n] -> latents [B, 16, k, S/8, S/8]; before(step) is called ahead of every step; run: a compiled Block.forward."""
    B, dev = len(ids), next(net.parameters()).device
    shape = B, C.ZC, (T + 3) // 4, S // 8, S // 8
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) if noise is None else noise).to(dev)
    empty = torch.zeros_like(ids); empty[:, 0] = 1
    with (amp() if half else torch.no_grad()):
        text = net.text_encoder(ids.to(dev)).float()
        both = torch.cat([text, net.text_encoder(empty.to(dev)).float()])
    def velocity(x, t, i):
        if before: before(i)
        guided = i / steps < part
        n = 2 * B if guided else B
        time = torch.full((n,), float(t), device=dev)
        with (amp() if half else torch.no_grad()):
            v = net.transformer(torch.cat([x, x]) if guided else x, time, both if guided else text, run).float()
        if not guided: return v
        c, u = v.chunk(2)
        return u + cfg * (c - u)
    return unipc(velocity, x, steps)
