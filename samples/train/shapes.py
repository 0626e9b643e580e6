"""Tensor names and shapes of every part of wan-mini, and random weights of those shapes: python3 shapes.py OUT."""
import sys
import numpy as np
import configs as C, store, tokenizer


def transformer():
    D, s = C.DIM, {'patch_embedding.weight': (C.DIM, C.ZC, 1, 2, 2), 'patch_embedding.bias': (C.DIM,)}
    def linear(name, cin, cout): s.update({f'{name}.weight': (cout, cin), f'{name}.bias': (cout,)})
    e = 'condition_embedder.'
    for n, i, o in (('time_embedder.linear_1', 256, D), ('time_embedder.linear_2', D, D), ('time_proj', D, 6 * D), ('text_embedder.linear_1', C.TEXT, D), ('text_embedder.linear_2', D, D)): linear(e + n, i, o)
    for b in range(C.LAYERS):
        p = f'blocks.{b}.'
        s[p + 'scale_shift_table'] = (1, 6, D)
        for a in ('attn1.', 'attn2.'):
            for n in ('to_q', 'to_k', 'to_v', 'to_out.0'): linear(p + a + n, D, D)
            for n in ('norm_q', 'norm_k'): s[f'{p}{a}{n}.weight'] = (D,)
        s[p + 'norm2.weight'] = s[p + 'norm2.bias'] = (D,)
        linear(p + 'ffn.net.0.proj', D, C.FFN); linear(p + 'ffn.net.2', C.FFN, D)
    s['scale_shift_table'] = (1, 2, D)
    linear('proj_out', D, C.ZC * 4)
    return s


def text_encoder():
    D, s = C.TEXT, {'shared.weight': (tokenizer.SIZE, C.TEXT)}
    for b in range(C.TEXT_LAYERS):
        a, f = f'encoder.block.{b}.layer.0.', f'encoder.block.{b}.layer.1.'
        for n in 'qkvo': s[f'{a}SelfAttention.{n}.weight'] = (D, D)
        s[a + 'SelfAttention.relative_attention_bias.weight'] = (32, 4)
        s[a + 'layer_norm.weight'] = s[f + 'layer_norm.weight'] = (D,)
        for n in ('wi_0', 'wi_1'): s[f'{f}DenseReluDense.{n}.weight'] = (C.TEXT_FF, D)
        s[f + 'DenseReluDense.wo.weight'] = (D, C.TEXT_FF)
    s['encoder.final_layer_norm.weight'] = (D,)
    return s


def decoder():
    s = {}
    for i, (kind, a) in enumerate(C.decoder_layers()):
        p = f'decoder.{i}.'
        if kind == 'Conv2d':
            s[p + 'weight'] = (a['cout'], a['cin'], 3, 3)
            if a['bias']: s[p + 'bias'] = (a['cout'],)
        if kind == 'TGrow': s[p + 'conv.weight'] = (a['n'] * a['stride'], a['n'], 1, 1)
        if kind == 'MemBlock':
            for j, cin in ((0, 2 * a['n']), (2, a['n']), (4, a['n'])): s.update({f'{p}conv.{j}.weight': (a['n'], cin, 3, 3), f'{p}conv.{j}.bias': (a['n'],)})
    return s


def random(shapes, rng):
    out = {}
    for k, shape in shapes.items():
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        a = rng.standard_normal(shape) * (fan ** -.5 if len(shape) > 1 else .02)
        if 'norm' in k and k.endswith('weight'): a = np.ones(shape)
        if k == 'shared.weight': a = rng.standard_normal(shape)
        out[k] = a.astype(np.float16)
    return out


def main(folder):
    rng = np.random.default_rng(0)
    C.write(folder, version=f'{C.VERSION}-random')
    store.save_sharded(f'{folder}/transformer', 'diffusion_pytorch_model', random(transformer(), rng))
    store.save_sharded(f'{folder}/text_encoder', 'model', random(text_encoder(), rng))
    store.save_sharded(f'{folder}/vae', 'diffusion_pytorch_model', random(decoder(), rng))
    for name, s in (('transformer', transformer()), ('text_encoder', text_encoder()), ('decoder', decoder())): print(name, sum(int(np.prod(v)) for v in s.values()))


if __name__ == '__main__': main(sys.argv[1])
