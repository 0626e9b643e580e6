"""Trains the VAE on rendered clips of 256x256x17 and measures it."""
import copy, math, random, time
import torch
import vae as V
from common import DEFAULT, DEV, LARGE, PREVIEW, RESULT, TINY, amp, chunk, compiled, ema_update, named, pick, psnr, sheet, sync

S, T, BATCH, LR = (64, 9, 2, 1.5e-3) if TINY else (256, 17, 16, 1.5e-3)


def train(run, world, seconds):
    begin, rng = time.time(), random.Random(11)
    vae = V.VAE().to(DEV)
    vae.encoder.start(world.clips(8, T, S, rng)[0] for _ in range(2 if TINY else 40))
    ema = copy.deepcopy(vae).requires_grad_(False)
    ps, es = list(vae.parameters()), list(ema.parameters())
    opt = torch.optim.AdamW(ps, lr=LR, betas=(.9, .99), weight_decay=1e-4)
    step_fn, step, acc, n, mark = compiled(V.loss), 0, torch.zeros(2, device=DEV), 0, time.time()
    run.log(f'vae: encoder {sum(p.numel() for p in vae.encoder.parameters()):,}, decoder {sum(p.numel() for p in vae.decoder.parameters()):,} parameters')
    while time.time() - begin < seconds:
        x, cover, *_ = world.clips(BATCH, T, S, rng)
        sigma, noise = torch.rand(BATCH, device=DEV) * .15, torch.randn(BATCH, 16, (T + 3) // 4, S // 8, S // 8, device=DEV)
        u = (time.time() - begin) / seconds
        for g in opt.param_groups: g['lr'] = LR * min(1, (step + 1) / 200) * (.01 + .99 * .5 * (1 + math.cos(math.pi * min(1, u))))
        with amp(): loss, mse = step_fn(vae, x, cover, sigma, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(ps, 1.)
        opt.step(); opt.zero_grad(set_to_none=True)
        with torch.no_grad(): ema_update(es, ps, min(.999, (1 + step) / (10 + step)))
        acc += torch.stack([loss.detach(), mse.detach()]); n += 1; step += 1
        if step in (1, 20) or time.time() - mark > (5 if TINY else 30):
            a, b = (acc / n).tolist()
            run.log(f'  vae step {step} loss {a:.4f} psnr with noise {-10 * math.log10(b):.2f} dB, {n / (time.time() - mark):.1f} steps/s')
            if not math.isfinite(a): raise RuntimeError('vae loss is not finite')
            acc.zero_(); n, mark = 0, time.time()
        if step % 8 == 0: sync()
    RESULT['vae_training'] = dict(steps=step, seconds=time.time() - begin, batch=BATCH, size=S, frames=T)
    return ema


@torch.no_grad()
def calibrate(run, world, vae, n=192):
    """Sets the mean and standard deviation of the raw latents; returns nothing."""
    total = [0, 0., 0.]
    for _ in range(2 if TINY else n // 8):
        x = world.clips(8, T, S, CAL)[0]
        with amp(): z = vae.encoder(x)
        z = z.double().transpose(0, 1).flatten(1)
        total = [total[0] + z.shape[1], total[1] + z.sum(1), total[2] + z.square().sum(1)]
    mean = total[1] / total[0]
    vae.mean.copy_(mean.float().view(1, -1, 1, 1, 1))
    vae.std.copy_((total[2] / total[0] - mean ** 2).clamp(min=1e-8).sqrt().float().view(1, -1, 1, 1, 1))
    run.log('latents mean', [round(v, 3) for v in vae.mean.flatten().tolist()], 'std', [round(v, 3) for v in vae.std.flatten().tolist()])


CAL = random.Random(5)


@torch.no_grad()
def measure(run, world, vae, name=None):
    """PSNR on clips of held-out pairs at every size; and a sheet of originals and reconstructions."""
    out, rows = {}, []
    for size, n in ((PREVIEW, pick(48, 8, 2)), (DEFAULT, pick(48, 8, 2)), (LARGE, pick(12, 4, 2))):
        values, noisy, rng, step = [], [], random.Random(4321), chunk(*size)
        for i in range(0, n, step):
            x, _, _, caps = world.clips(min(step, n - i), size[1], size[0], rng, 'held')
            with amp():
                z = vae.encode(x)
                y, w = vae.decode(z), vae.decode(z + .1 * torch.randn_like(z))
            values.append(psnr(y, x * .5 + .5)); noisy.append(psnr(w, x * .5 + .5))
            if size == DEFAULT and len(rows) < 8: rows += [r for j in range(len(x)) for r in ((caps[j], x[j] * .5 + .5), ('  reconstruction', y[j]))]
        v, w = torch.cat(values), torch.cat(noisy)
        out[named(size)] = dict(n=len(v), mean=v.mean(), median=v.median(), worst=v.min(), with_latent_noise_0_1=w.mean())
        run.log(f'vae {named(size)}: held-out PSNR {v.mean():.2f} dB (median {v.median():.2f}, worst {v.min():.2f}; latent noise .1: {w.mean():.2f})')
    RESULT['vae_psnr'] = out
    if name: sheet(rows[:8], size=192).save(run.out / name, quality=80)
