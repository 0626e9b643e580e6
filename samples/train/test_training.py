"""Tests of the training code that need neither a GPU nor minutes: python3 test_training.py."""
import math, random, sys, time, types
from pathlib import Path
import torch
import attention, captions as W, common as K, configs as C, shapes, store, train_dit as D, weights
from render import World

MODEL = Path(__file__).resolve().parent.parent / 'wan-mini'


def test_split_is_fixed():
    pairs = [(s, o) for s in W.SUBJECTS for o in [*W.MOTIONS, *W.SCENES]]
    held = sum(W.held_out(*p) for p in pairs)
    assert (len(pairs), held) == (408, 40)
    rng = random.Random(0)
    for _ in range(200): assert not W.is_held_out(W.draw(rng)) and W.is_held_out(W.draw(rng, 'held'))


def test_every_motion_renders_at_every_length(world):
    rng = random.Random(1)
    for T in (33, 49, 65):
        specs = [W.draw(rng, 'any', motion=m) for m in W.MOTIONS]
        x, alpha, p = world.render([world.row(rng, s) for s in specs], T, 32, [0, T // 2, T - 1])
        assert torch.isfinite(x).all() and x.shape == (8, 3, 3, 32, 32) and alpha.amax((2, 3)).min() >= 0
        assert (alpha.mean((2, 3)) > 0).float().mean() > .9


def test_model_folder_round_trip(folder='/tmp/training-test'):
    net, vae = weights.read_net(MODEL), weights.read_vae(MODEL)
    store.save_sharded(f'{folder}/transformer', 'diffusion_pytorch_model', K.numpy_state(net.transformer))
    again = weights.tensors(store.load_sharded(f'{folder}/transformer', 'diffusion_pytorch_model'))
    assert all(torch.equal(v, again[k]) for k, v in net.transformer.state_dict().items())
    assert {k: tuple(v.shape) for k, v in again.items()} == shapes.transformer()
    assert vae.std.min() > 0 and not vae.training
    return net, vae


def test_latents_are_what_the_transformer_was_trained_on(world, vae):
    x = world.clips(4, 9, 64, random.Random(2))[0]
    z = vae.encode(x)
    assert abs(z.mean()) < .5 and .5 < z.std() < 1.5
    assert K.psnr(vae.decode(z), x * .5 + .5).mean() > 22


def test_sizes_get_their_share_of_the_time():
    t = types.SimpleNamespace(fresh=False, used={}, rings={})
    cost = {s: 1. + s[1] / 10 for s in D.SHAPES}
    for _ in range(400):
        size = D.Trainer.next_size(t, .9)
        t.used[size] += cost[size]
    shares = D.ONWARD[-1][1]
    assert all(abs(t.used[s] / sum(t.used.values()) - shares[s]) < .02 for s in shares)
    for phases in (D.FRESH, D.ONWARD): assert phases[-1][0] == 1. and all(abs(sum(p.values()) - 1) < 1e-9 for _, p in phases)


def test_recorded_attention_equals_the_plain_computation(net):
    rec = attention.Recorder(net, 17, 64, 1)
    n = int(rec.count.sum())
    q, k, v = (torch.randn(2, C.HEADS, n, C.HEAD) for _ in range(3))
    rec.capture(q, k, v, 0, 0)
    P = torch.softmax(q @ k.mT / C.HEAD ** .5, -1)
    for b in range(2):
        assert torch.allclose(rec.mass[0, 0, b], rec.M.T @ P[b] @ rec.M / rec.count[:, None], atol=1e-5)
        assert torch.allclose(rec.entropy[0, 0, b], -(P[b] * P[b].log()).sum(-1).mean(-1) / math.log(n), atol=1e-4)


def main():
    begin, world = time.time(), World()
    test_split_is_fixed(); test_every_motion_renders_at_every_length(world)
    net, vae = test_model_folder_round_trip()
    with torch.no_grad(): test_latents_are_what_the_transformer_was_trained_on(world, vae)
    test_sizes_get_their_share_of_the_time(); test_recorded_attention_equals_the_plain_computation(net)
    print(f'6 tests passed in {time.time() - begin:.0f} s')


if __name__ == '__main__': main()
