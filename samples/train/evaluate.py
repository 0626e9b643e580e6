"""Judges the trained model at every size: probe accuracy with anchors, sprite tracking, flicker, and the unpicked contact sheets and clips."""
import math, random
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import torch
from PIL import Image
import captions as W, configs as C
import probe as P, track
from common import DEFAULT, DEV, LARGE, PREVIEW, RESULT, amp, chunk, compiled, named, pick, sheet
from dit import Block
from sampler import sample
from train_dit import encode_text

# clips sampled at once; always full batches, so that each size is compiled once
BATCH = {PREVIEW: pick(48, 16, 2), DEFAULT: pick(24, 8, 2), LARGE: pick(8, 4, 2)}
STEPS = pick(C.STEPS, C.STEPS, 5)
OTHER = ['a dragon flying over a castle', 'a zebra walking in a meadow', 'a pizza bouncing on a city street', 'a submarine swimming underwater', 'a rainbow over green hills',
         'a cat riding a bicycle', 'two dogs running in a park', 'an astronaut in space', 'a train driving to the left', 'a happy robot dancing at night',
         'a purple elephant', 'a whale jumping out of the sea', 'a motorcycle on a road', 'a horse running on the beach', 'a duck swimming on the sea',
         'snow falling on a mountain', 'a clown with a red balloon', 'a spider climbing up', 'the moon over the ocean', 'a penguin eating pizza']
fast = compiled(Block.forward)


@torch.no_grad()
def generate(net, vae, captions, size, seed):
    """Yields clips [n, T, 3, S, S] in [0, 1] as float16, a few at a time, in the order of the captions."""
    (S, T), n, batch = size, len(captions), BATCH[size]
    for i in range(0, n, batch):
        part = (captions[i:i + batch] + captions[:1] * batch)[:batch]
        z = sample(net, encode_text(part), T, S, steps=STEPS, seed=seed * 1000 + i, run=fast)[:n - i]
        for some in z.split(chunk(S, T)):
            with amp(): clips = vae.decode(some).half()
            yield clips


def flicker(x):
    """Mean absolute second difference over time."""
    x = x.float()
    return (x[:, 2:] - 2 * x[:, 1:-1] + x[:, :-2]).abs().mean((1, 2, 3, 4))


def interval(p, n, z=1.96):
    """Half-width of Wilson's 95 % interval."""
    return z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)


def full_captions(split, n):
    """n specs of a split and captions that name subject, motion and scene, each part in its first wording half of the time."""
    rng, specs, captions = random.Random(2024 if split == 'seen' else 2025), [], []
    for _ in range(n):
        s = W.draw(rng, 'seen' if split == 'seen' else 'held')
        noun, doing, where = (f(rng, s, rng.random() < .5) for f in (W._noun, W._doing, W._where))
        specs.append(s); captions.append(f'{noun} {doing} {where}')
    return specs, captions


def judge(run, world, net, vae, nets, size, split, seeds, n):
    specs, captions = full_captions(split, n)
    views, flick, hits, found, peak = [], [], 0, 0, 0.
    for seed in seeds:
        own = []
        for clips in generate(net, vae, captions, size, seed): own.append(P.view(clips)); flick.append(flicker(clips))
        views.append(torch.cat(own))
        h = track.directions(world, views[-1], specs)
        hits, found, peak = hits + h[0], found + h[1], peak + h[2] / len(seeds)
    x, truth, total = torch.cat(views), P.labels(specs * len(seeds)), n * len(seeds)
    got, rolled = P.accuracy(nets, x, truth), {k: v.roll(1) for k, v in truth.items()}
    direction = hits / max(1, found)
    out = dict(n=total, prompts=n, seeds=list(seeds), probe={k: dict(v, interval95=interval(v['mean'], total)) for k, v in got.items()},
               tracked_direction=dict(accuracy=direction, n=found, interval95=interval(direction, max(1, found)), mean_peak=peak), flicker=torch.cat(flick).mean(),
               shuffled=P.accuracy(nets, x, rolled), shuffled_chance={k: (v == rolled[k]).float().mean() for k, v in truth.items()})
    run.log(f'{named(size)} {split}: ' + ', '.join(f"{k} {v['mean']:.3f}" for k, v in got.items()) + f', direction {hits}/{found}, flicker {float(out["flicker"]):.5f}')
    return out


@torch.no_grad()
def anchors(run, world, vae, nets, size, split, n):
    """Every figure on real renders and on their reconstructions, for the specs that judge() uses."""
    specs, (rng, step), out = full_captions(split, n)[0], (random.Random(5), chunk(*size)), {}
    views, flick = ([], []), ([], [])
    for i in range(0, n, step):
        x = world.render([world.row(rng, s) for s in specs[i:i + step]], size[1], size[0])[0]
        with amp(): y = vae.decode(vae.encode(x))
        for j, v in enumerate((x * .5 + .5, y)): views[j].append(P.view(v)); flick[j].append(flicker(v))
    for j, name in enumerate(('renders', 'reconstructions')):
        x, hits = torch.cat(views[j]), track.directions(world, torch.cat(views[j]), specs)
        out[name] = dict(n=n, probe=P.accuracy(nets, x, P.labels(specs)), tracked_direction=dict(accuracy=hits[0] / max(1, hits[1]), n=hits[1], mean_peak=hits[2]), flicker=torch.cat(flick[j]).mean())
    run.log(f"{named(size)} {split}: tracker on renders {out['renders']['tracked_direction']['accuracy']:.3f}, on reconstructions {out['reconstructions']['tracked_direction']['accuracy']:.3f}")
    return out


def gates(result):
    """The release gates, at the default size on held-out combinations."""
    size = named(DEFAULT)
    e, real = result['sizes'][size]['held_out'], result['sizes'][size]['anchors_held_out']
    worst = lambda k: min(v['mean'] for v in result['probe'][size][k].values())
    leak = max(abs(v['mean'] - float(e['shuffled_chance'][k])) for k, v in e['shuffled'].items())
    table = [(k, e['probe'][k]['mean'], '>=', least) for k, least in (('subject', .85), ('motion', .85), ('scene', .95))]
    table += [('tracked direction', e['tracked_direction']['accuracy'], '>=', .85), ('flicker over that of reconstructions', e['flicker'] / real['reconstructions']['flicker'], '<=', 1.5),
              ('probe on real renders, worst head', worst('renders'), '>=', .95), ('probe on VAE reconstructions, worst head', worst('reconstructions'), '>=', .9),
              ('shuffled captions, distance from chance', leak, '<=', .05)]
    if 'vae_psnr' in result: table.append(('VAE PSNR on held-out renders, dB', result['vae_psnr'][size]['mean'], '>=', 32))
    return [dict(gate=n, value=float(v), needs=f'{o} {t}', result='pass' if (float(v) >= t if o == '>=' else float(v) <= t) else 'miss') for n, v, o, t in table]


def save_clip(path, clip, pixels=96):
    """A clip [T, 3, S, S] in [0, 1] as an animated webp of every second frame."""
    a = (torch.nn.functional.interpolate(clip[::2].float(), size=pixels, mode='area').clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    frames = [Image.fromarray(np.ascontiguousarray(f)) for f in a]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=1000 // 6, loop=0, quality=20, method=6)


def gallery(run, net, vae):
    """Every fixed prompt with two seeds (with the first also as 24 clips), and prompts from outside the vocabulary; nothing is picked."""
    prompts, others, size = W.PROMPTS[:pick(30, 4, 2)], OTHER[:pick(20, 4, 2)], DEFAULT
    folder = run.out / 'gallery'
    folder.mkdir(exist_ok=True)
    every = lambda captions, seed: [c for part in generate(net, vae, captions, size, seed) for c in part]
    with ThreadPoolExecutor(8) as pool:
        for seed in (1, 2):
            clips = every(prompts, seed)
            for i in range(0, len(prompts), 10):
                sheet([(f'{p}   [{C.VERSION}, seed {seed}]', c) for p, c in zip(prompts[i:i + 10], clips[i:i + 10])]).save(folder / f'gallery-{i // 10 + 1}-seed{seed}.webp', quality=25, method=6)
            if seed == 1: jobs = [pool.submit(save_clip, folder / f'clip-{i + 1:02}.webp', c) for i, c in enumerate(clips[:24])]
        sheet([(f'{p}   [{C.VERSION}, outside the vocabulary]', c) for p, c in zip(others, every(others, 1))]).save(folder / 'gallery-outside-vocabulary.webp', quality=25, method=6)
        failed = [j.exception() for j in jobs if j.exception()]
        if failed: run.log('clips could not be written:', failed[0])
