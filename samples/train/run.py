"""Trains and judges the model: python3 run.py --seconds 1400 --state DIR --out OUT. What a stage has finished or saved is taken up again from --state."""
import argparse, os, sys, time, traceback
from pathlib import Path
os.environ.setdefault('TORCHINDUCTOR_AUTOGRAD_CACHE', '1')
os.environ.setdefault('TORCHINDUCTOR_FX_GRAPH_CACHE', '1')
os.environ.setdefault('PYTORCH_CUDA_ALLOC_CONF', 'expandable_segments:True')
HERE = Path(__file__).resolve().parent

ap = argparse.ArgumentParser()
ap.add_argument('--seconds', type=float, default=1400, help='until everything must be written')
ap.add_argument('--until', type=float, help='the same as a wall-clock time, in seconds since 1970')
ap.add_argument('--start', default=str(HERE.parent / 'wan-mini'), help='model folder to go on from; "none" trains all parts from nothing')
ap.add_argument('--vae', type=float, default=390, help='seconds of VAE training, with --start none')
ap.add_argument('--probe', type=float, default=30, help='seconds of probe training')
ap.add_argument('--peak', type=float, help='highest factor on the learning rates; 1 with --start none, else .6')
ap.add_argument('--eval', type=float, default=210, help='seconds kept for judging')
ap.add_argument('--attention', default='auto', choices=['auto', 'flash', 'cudnn'])
ap.add_argument('--state', default='state')
ap.add_argument('--out', default='out')
ap.add_argument('--smoke', action='store_true', help='every stage at its real shapes, with little of each')
ap.add_argument('--warm', nargs=3, metavar=('KIND', 'PIXELS', 'FRAMES'), help='internal: fill the compile cache')
o = ap.parse_args()
if o.smoke: os.environ['SMOKE'] = '1'
import torch
import common as K


def save_state(**parts):
    path = Path(o.state); path.mkdir(parents=True, exist_ok=True)
    for name, value in parts.items():
        torch.save(value, path / f'{name}.tmp'); os.replace(path / f'{name}.tmp', path / f'{name}.pt')


def load_state(name):
    path = Path(o.state) / f'{name}.pt'
    return torch.load(path, map_location=K.DEV, **({} if torch.__version__ < '2' else dict(weights_only=False))) if path.exists() else None


def save_result(run): save_state(result=K.plain(K.RESULT)); run.write('eval.json', K.RESULT)


def vae_stage(run, world):
    """The VAE of the model folder, or a new one."""
    import store, train_vae, vae as V, weights
    if o.start != 'none': return weights.read_vae(o.start)
    saved = load_state('vae')
    if saved:
        m = V.VAE().to(K.DEV); m.load_state_dict(saved)
        return m.eval().requires_grad_(False)
    torch.backends.cudnn.benchmark = True
    m = K.round_to_half(train_vae.train(run, world, o.vae))
    torch.backends.cudnn.benchmark = False
    train_vae.calibrate(run, world, m)
    save_state(vae=m.state_dict())
    store.save(run.out / 'vae.safetensors', {**K.numpy_state(m.decoder, prefix='decoder.'), **K.numpy_state(m.encoder, prefix='encoder.'),
                                             'latents_mean': m.mean.flatten().cpu().numpy(), 'latents_std': m.std.flatten().cpu().numpy()})
    return m.eval()


def probe_stage(run, world, vae):
    import probe, store
    saved = load_state('probe')
    if not saved:
        nets = probe.stage(run, world, vae, o.probe)
        save_state(probe=[n.state_dict() for n in nets])
        store.save(run.out / 'probe.safetensors', K.numpy_state(nets[0]))
        return nets
    nets = [probe.Probe().to(K.DEV) for _ in saved]
    for n, s in zip(nets, saved): n.load_state_dict(s)
    return [n.eval().requires_grad_(False) for n in nets]


def export_net(run, net):
    """Written aside first, so that a copy taken meanwhile is whole."""
    import store
    aside = run.out / 'aside'
    store.save_sharded(aside / 'transformer', 'diffusion_pytorch_model', K.numpy_state(net.transformer))
    store.save(aside / 'text_encoder.safetensors', K.numpy_state(net.text_encoder))
    (run.out / 'transformer').mkdir(exist_ok=True)
    for f in (*(aside / 'transformer').iterdir(), aside / 'text_encoder.safetensors'): os.replace(f, run.out / f.relative_to(aside))


def dit_stage(run, world, vae):
    import weights
    from train_dit import Trainer
    net = weights.read_net(o.start) if o.start != 'none' else None
    t = Trainer(run, world, vae, net, load_state('dit'), o.peak)
    def save():
        if t.finite(): save_state(dit=t.state()); export_net(run, t.ema); save_result(run)
    if t.step == 0:
        K.RESULT['loss_before'] = {K.named(s): t.validate(s) for s in (K.PREVIEW, K.DEFAULT)}
        save()
    for _ in range(3):
        try: t.train(o.eval, save); break
        except FloatingPointError as e:
            t.load(load_state('dit')); t.peak *= .5
            run.log(f'{e}: back to step {t.step}, peak of the learning rate x{t.peak:.2f}')
    save()
    t.rings.clear()
    K.RESULT['loss_after'] = {K.named(s): t.validate(s) for s in (K.PREVIEW, K.DEFAULT, K.LARGE)}
    return t.ema


def attention_part(run, net, size, clips):
    import attention, captions as W
    from sampler import sample
    from train_dit import encode_text
    rec = attention.Recorder(net, size[1], size[0], clips)
    sample(net, encode_text(W.PROMPTS[:clips]), size[1], size[0], seed=7, before=rec.before)
    rec.stop()
    found = K.plain(attention.analyse(rec))
    run.log(f'attention {K.named(size)}:', {k: v for k, v in found['mean'].items()})
    return found


def eval_stage(run, world, vae, nets, net):
    import configs as C, evaluate as E, parity, train_vae, weights
    R, d, n = K.RESULT, K.DEFAULT, K.pick(192, 16, 4)
    seeds = K.pick((1, 2), (1,), (1, 2))
    R.update(version=C.VERSION, about='seen: combinations that training could draw; held_out: (subject, motion) or (subject, scene) pairs that training never drew. '
             'shuffled: the same clips judged against the captions of other clips; anchors: real renders of the same specs and their VAE reconstructions.',
             sampling=f'UniPC, {E.STEPS} steps, guidance {C.CFG} on the first {C.CFG_PART * 100:.0f} % of the steps, float16-rounded weights, bfloat16 arithmetic')
    sizes, attn = R.setdefault('sizes', {}), {}
    def judge(size, split, seeds, n, net=net): sizes.setdefault(K.named(size), {})[split] = E.judge(run, world, net, vae, nets, size, split, seeds, n)
    def anchor(size, split, n): sizes.setdefault(K.named(size), {})[f'anchors_{split}'] = E.anchors(run, world, vae, nets, size, split, n)
    def gates():
        R['gates'] = E.gates(R)
        for g in R['gates']: run.log('gate', g)
    def attend(size, clips): attn[K.named(size)] = attention_part(run, net, size, clips); run.write('attention.json', attn)
    def before():
        old = K.round_to_half(weights.read_net(o.start).eval().requires_grad_(False))
        R['start_weights'] = {K.named(d): E.judge(run, world, old, vae, nets, d, 'held_out', (1,), n // 2)}
    half, few = n // 2, K.pick(24, 4, 2)
    parts = [(40, judge, d, 'held_out', seeds, n), (6, anchor, d, 'held_out', n), (5, gates), (8, lambda: parity.write(run.out / 'parity', *parity.weights(net, vae))),
             (8, attend, d, K.pick(4, 2, 2)), (12, attend, K.LARGE, K.pick(2, 1, 1)), (40, judge, d, 'seen', seeds, n), (20, E.gallery, run, net, vae), (6, anchor, d, 'seen', n),
             (8, lambda: train_vae.measure(run, world, vae, 'gallery/vae-reconstruction.webp')), (2, gates)]
    for s, m in ((K.PREVIEW, half), (K.LARGE, few)): parts += [(12, judge, s, p, (1,), m) for p in ('held_out', 'seen')] + [(5, anchor, s, 'held_out', m)]
    if o.start != 'none': parts.append((12, before))
    (run.out / 'gallery').mkdir(exist_ok=True)
    for seconds, part, *a in parts:
        name = ' '.join([getattr(part, '__name__', ''), *(str(v) for v in a if isinstance(v, (tuple, str, int)))])
        if run.left() < K.pick(seconds, 3, 1): run.log('no time for', name); continue
        begin = time.time()
        try: part(*a)
        except Exception: run.log(f'{name} FAILED: ' + traceback.format_exc()[-2500:])
        run.log(f'  {name}: {time.time() - begin:.1f} s, {run.left():.0f} s left')
        save_result(run)


def main():
    import speed
    from train_dit import FRESH, ONWARD, SHAPES
    run = K.Run(o.out, o.until or K.START + o.seconds)
    run.watch()
    run.log('torch', torch.__version__, torch.cuda.get_device_name() if K.CUDA else 'CPU', f'{run.left():.0f} s')
    torch.set_float32_matmul_precision('high')
    torch.manual_seed(0)
    saved = load_state('result')
    if saved: K.RESULT.update(saved)
    used = {s for _, shares in (FRESH if o.start == 'none' else ONWARD) for s in shares}
    speed.use(speed.choose(run, {s: SHAPES[s] for s in sorted(used)}) if o.attention == 'auto' else o.attention)
    run.log('attention kernel:', os.environ['ATTENTION'])
    training = speed.children('train', sorted(used))
    from render import World
    world = World()
    run.log('assets loaded')
    vae = vae_stage(run, world)
    nets = probe_stage(run, world, vae)
    save_result(run); run.log(f'probe ends, {run.left():.0f} s left')
    if speed.wait(training, K.START + 60): speed.distrust(run)
    sampling = speed.children('sample', [K.DEFAULT, K.PREVIEW, K.LARGE])
    net = K.round_to_half(dit_stage(run, world, vae).eval())
    save_result(run); run.log(f'dit ends, {run.left():.0f} s left')
    speed.wait(sampling, 0)
    if K.CUDA: torch.cuda.empty_cache()
    eval_stage(run, world, vae, nets, net)
    run.log('done'); (run.out / 'done').write_text('')


if __name__ == '__main__':
    if o.warm:
        import speed
        speed.use(os.environ.get('ATTENTION', 'flash'))
        torch.set_float32_matmul_precision('high')
        speed.warm(o.warm[0], int(o.warm[1]), int(o.warm[2])); sys.exit()
    try: main()
    except Exception: traceback.print_exc(); sys.stdout.flush(); os._exit(1)
    sys.stdout.flush(); os._exit(0)
