"""One command of a training round: python3 run.py --stages vae,probe,dit,eval --seconds 580 --state DIR --out OUT. Stages pass full state through --state."""
import argparse, os, subprocess, sys, traceback
from pathlib import Path
os.environ.setdefault('TORCHINDUCTOR_AUTOGRAD_CACHE', '1')
os.environ.setdefault('TORCHINDUCTOR_FX_GRAPH_CACHE', '1')
import torch
import common as K

ap = argparse.ArgumentParser()
ap.add_argument('--stages', default='vae,probe,dit,eval')
ap.add_argument('--seconds', type=float, default=580, help='of this command, start to end')
ap.add_argument('--vae', type=float, default=390, help='seconds of VAE training')
ap.add_argument('--probe', type=float, default=44, help='seconds of probe training')
ap.add_argument('--dit-total', type=float, default=930, help='seconds of DiT training in all commands together')
ap.add_argument('--tail', type=float, default=14, help='seconds kept free after DiT training')
ap.add_argument('--state', default='state')
ap.add_argument('--out', default='out')
ap.add_argument('--warm', action='store_true', help='internal: fill the compile cache')
ap.add_argument('--no-gallery', action='store_true')
o = ap.parse_args()


def save_state(**parts):
    path = Path(o.state); path.mkdir(parents=True, exist_ok=True)
    for name, value in parts.items():
        torch.save(value, path / f'{name}.tmp'); os.replace(path / f'{name}.tmp', path / f'{name}.pt')


def load_state(name):
    path = Path(o.state) / f'{name}.pt'
    return torch.load(path, map_location=K.DEV, weights_only=False) if path.exists() else None


def load_vae():
    import vae as V
    m = V.VAE().to(K.DEV)
    m.load_state_dict(load_state('vae'))
    return m.eval().requires_grad_(False)


def vae_stage(run, world):
    import train_vae
    child = None
    if K.CUDA: child = subprocess.Popen(['nice', sys.executable, __file__, '--warm'])
    vae = K.round_to_half(train_vae.train(run, world, o.vae))
    train_vae.calibrate(run, world, vae)
    save_state(vae=vae.state_dict())
    export_vae(run, vae)
    train_vae.measure(run, world, vae, 'vae.jpg')
    return child


def export_vae(run, vae):
    import store
    store.save(run.out / 'vae.safetensors', {**K.numpy_state(vae.decoder, prefix='decoder.'), **K.numpy_state(vae.encoder, prefix='encoder.'),
                                             'latents_mean': vae.mean.flatten().cpu().numpy(), 'latents_std': vae.std.flatten().cpu().numpy()})


def export_net(run, net):
    import store
    store.save_sharded(run.out / 'transformer', 'diffusion_pytorch_model', K.numpy_state(net.transformer))
    store.save(run.out / 'text_encoder.safetensors', K.numpy_state(net.text_encoder))


def probe_stage(run, world, vae):
    import probe, store
    nets = probe.stage(run, world, vae, o.probe)
    save_state(probe=[n.state_dict() for n in nets])
    store.save(run.out / 'probe.safetensors', K.numpy_state(nets[0]))


def dit_stage(run, world, vae):
    from train_dit import Trainer
    t = Trainer(run, world, vae, o.dit_total, load_state('dit'))
    t.train(run.left() - o.tail)
    save_state(dit=t.state())
    export_net(run, t.ema)
    t.validate()
    return t


def eval_stage(run, world, vae):
    import attention, captions as W, configs as C, evaluate, parity, probe
    from sampler import sample
    from train_dit import Net, encode_text
    net = Net().to(K.DEV)
    net.load_state_dict(load_state('dit')['ema'])
    net = K.round_to_half(net.eval().requires_grad_(False))
    if not o.no_gallery:
        evaluate.gallery(run, net, vae)
        run.log('gallery done')
    parity.write(run.out / 'parity', *parity.weights(net, vae))
    rec = attention.Recorder(net, evaluate.T, evaluate.S, 4)
    sample(net, encode_text(W.PROMPTS[:4]), evaluate.T, evaluate.S, seed=7, before=rec.before)
    rec.stop()
    found = attention.analyse(rec)
    run.write('attention.json', found); run.log('attention', K.plain(found['mean']))
    nets = []
    for s in load_state('probe'):
        nets.append(probe.Probe().to(K.DEV)); nets[-1].load_state_dict(s); nets[-1].eval()
    evaluate.stage(run, world, net, vae, nets)


def main():
    run = K.Run(o.out, o.seconds)
    run.watch()
    run.log('torch', torch.__version__, torch.cuda.get_device_name() if K.CUDA else 'CPU', o.stages)
    torch.set_float32_matmul_precision('high')
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = 'vae' in o.stages
    saved = load_state('result')
    if saved: K.RESULT.update(saved)
    from render import World
    world, child = World(), None
    run.log('assets loaded')
    stages = o.stages.split(',')
    if 'vae' in stages: child = vae_stage(run, world)
    vae = load_vae()
    for name, fn in (('probe', probe_stage), ('dit', dit_stage), ('eval', eval_stage)):
        if name not in stages: continue
        if child and name == 'dit': child.kill()
        try: fn(run, world, vae)
        except Exception: run.log(f'{name} FAILED: ' + traceback.format_exc()[-2500:])
        if K.CUDA: torch.cuda.empty_cache()
        save_state(result=K.plain(K.RESULT)); run.write('result.json', K.RESULT)
        run.log(f'{name} ends, {run.left():.0f} s left')


if __name__ == '__main__':
    if o.warm:
        import train_dit
        train_dit.warm(); sys.exit()
    main()
    sys.stdout.flush(); os._exit(0)
