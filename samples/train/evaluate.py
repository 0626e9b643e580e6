"""Judges the trained model: probe accuracy with anchors, sprite tracking, flicker, and the unpicked contact sheets."""
import math, random
import torch
import captions as W, configs as C
import probe as P, track
from common import DEV, RESULT, TINY, amp, sheet
from sampler import sample
from train_dit import encode_text

S, T = (64, 33) if TINY else (256, 33)
OTHER = ['a dragon flying over a castle', 'a zebra walking in a meadow', 'a pizza bouncing on a city street', 'a submarine swimming underwater', 'a rainbow over green hills',
         'a cat riding a bicycle', 'two dogs running in a park', 'an astronaut in space', 'a train driving to the left', 'a happy robot dancing at night']


@torch.no_grad()
def generate(net, vae, captions, seed):
    """Clips [n, 33, 3, S, S] in [0, 1] as float16, in batches."""
    out, batch = [], 2 if TINY else 48
    for i in range(0, len(captions), batch):
        z = sample(net, encode_text(captions[i:i + batch]), T, S, steps=2 if TINY else C.STEPS, seed=seed * 1000 + i)
        for j in range(0, len(z), 16):
            with amp(): out.append(vae.decode(z[j:j + 16]).half())
    return torch.cat(out)


def flicker(x):
    """Mean absolute second difference over time."""
    x = x.float()
    return (x[:, 2:] - 2 * x[:, 1:-1] + x[:, :-2]).abs().mean((1, 2, 3, 4))


def interval(p, n): return 1.96 * math.sqrt(max(p * (1 - p), 1e-9) / n)


def full_caption(rng, n, split):
    """Captions that name subject, motion and scene, in the first wording for half of them."""
    specs, captions = [], []
    while len(specs) < n:
        s = W.draw(rng, split)
        specs.append(s)
        noun, doing, where = (f(rng, s, rng.random() < .5) for f in (W._noun, W._doing, W._where))
        captions.append(f'{noun} {doing} {where}')
    return specs, captions


def judge(run, world, net, vae, nets, split, seeds, n):
    specs, captions = full_caption(random.Random(2024 if split == 'seen' else 2025), n, split)
    views, flick, hits = [], [], [0, 0, 0.]
    for seed in seeds:
        clips = generate(net, vae, captions, seed)
        v = P.view(clips)
        views.append(v); flick.append(torch.cat([flicker(c) for c in clips.split(16)]))
        h = track.directions(world, v, specs)
        hits = [hits[0] + h[0], hits[1] + h[1], hits[2] + h[2] / len(seeds)]
    truth = P.labels(specs * len(seeds))
    got = P.accuracy(nets, torch.cat(views), truth)
    out = dict(n=len(specs) * len(seeds), prompts=n, seeds=list(seeds), probe={k: dict(v, interval95=interval(v['mean'], n * len(seeds))) for k, v in got.items()},
               tracked_direction=dict(accuracy=hits[0] / max(1, hits[1]), n=hits[1], mean_peak=hits[2]), flicker=torch.cat(flick).mean())
    if split == 'seen':
        rolled = {k: v.roll(1) for k, v in truth.items()}
        out['shuffled'] = P.accuracy(nets, torch.cat(views), rolled)
        out['shuffled_chance'] = {k: (v == rolled[k]).float().mean() for k, v in truth.items()}
    run.log(f'{split}: ' + ', '.join(f"{k} {v['mean']:.3f} {v['each']}" for k, v in got.items()) + f', direction {hits[0]}/{hits[1]}')
    return out, specs


@torch.no_grad()
def anchors(run, world, vae, specs):
    """The tracker and the flicker on real renders and on their reconstructions, for the same specs."""
    rng, views, recs, fr, fv = random.Random(5), [], [], [], []
    for i in range(0, len(specs), 8):
        x = world.render([world.row(rng, s) for s in specs[i:i + 8]], T, S)[0]
        with amp(): y = vae.decode(vae.encode(x))
        x = x * .5 + .5
        views.append(P.view(x)); recs.append(P.view(y)); fr.append(flicker(x)); fv.append(flicker(y))
    a, b = track.directions(world, torch.cat(views), specs), track.directions(world, torch.cat(recs), specs)
    run.log(f'tracker on renders {a}, on reconstructions {b}')
    return dict(tracked_direction_renders=a[0] / max(1, a[1]), tracked_direction_reconstructions=b[0] / max(1, b[1]), n=a[1], mean_peak=[a[2], b[2]],
                flicker_renders=torch.cat(fr).mean(), flicker_reconstructions=torch.cat(fv).mean())


def gates(e):
    seen, p = e['seen'], e['probe']
    acc = lambda k: seen['probe'][k]['mean']
    psnr = e['vae_psnr'].get('256x256x33', {}).get('mean', torch.tensor(0.))
    worst = lambda t: min(v['mean'] for v in t.values())
    leak = max(abs(seen['shuffled'][k]['mean'] - float(seen['shuffled_chance'][k])) for k in seen['shuffled'])
    table = [('VAE PSNR on held-out renders, 256 px, dB', psnr, '>=', 29), ('probe on real renders, worst head', worst(p['renders']), '>=', .95),
             ('probe on VAE reconstructions, worst head', worst(p['reconstructions']), '>=', .9), ('scene, seen combinations', acc('scene'), '>=', .8),
             ('subject, seen combinations', acc('subject'), '>=', .5), ('motion, seen combinations', acc('motion'), '>=', .6),
             ('tracked direction, seen combinations', seen['tracked_direction']['accuracy'], '>=', .6), ('shuffled captions, distance from chance', leak, '<=', .05)]
    return [dict(gate=n, value=float(v), needs=f'{o} {t}', result='pass' if (float(v) >= t if o == '>=' else float(v) <= t) else 'miss') for n, v, o, t in table]


def gallery(run, net, vae):
    """Every fixed prompt with two seeds, and prompts from outside the vocabulary; nothing is picked."""
    prompts = W.PROMPTS[:4] if TINY else W.PROMPTS
    for seed in (1, 2):
        clips = generate(net, vae, prompts, seed)
        for part in range(-(-len(prompts) // 10)):
            i = slice(part * 10, part * 10 + 10)
            sheet([(f'{p}   [v0, seed {seed}]', c) for p, c in zip(prompts[i], clips[i])]).save(run.out / f'gallery-{part + 1}-seed{seed}.jpg', quality=80)
    clips = generate(net, vae, OTHER[:2] if TINY else OTHER, 1)
    sheet([(f'{p}   [v0, outside the vocabulary]', c) for p, c in zip(OTHER, clips)]).save(run.out / 'gallery-outside-vocabulary.jpg', quality=80)


def stage(run, world, net, vae, nets):
    n = 4 if TINY else 192
    RESULT['seen'], specs = judge(run, world, net, vae, nets, 'seen', (1, 2), n)
    RESULT['gates'] = gates(RESULT)
    for g in RESULT['gates']: run.log('gate', g)
    run.write('result.json', RESULT)
    RESULT['anchors'] = anchors(run, world, vae, specs)
    run.write('result.json', RESULT)
    if run.left() > 20: RESULT['held_out'] = judge(run, world, net, vae, nets, 'held', (1,), n)[0]
