"""Checks our tokenizer and text encoder against the `tokenizers` and `transformers` packages: python3 check.py ../wan-mini."""
import random, sys
from pathlib import Path
import torch
import captions as W, parity, store, tokenizer
from text import TextEncoder


def main(folder):
    import tokenizers, transformers
    fast, own, rng, bad = tokenizers.Tokenizer.from_file(f'{folder}/tokenizer/tokenizer.json'), tokenizer.Tokenizer(), random.Random(0), []
    cases = parity.CASES + [W.caption(rng, W.draw(rng)) for _ in range(3000)]
    for c in cases:
        a, b = fast.encode(c).ids, [i for i in own(c) if i]
        if a != b: bad.append((c, a, b))
    print('tokenizer:', len(cases), 'cases,', len(bad), 'differ', bad[:5], flush=True)
    ids = torch.tensor([own(c) for c in W.PROMPTS])
    theirs = transformers.UMT5EncoderModel.from_pretrained(f'{folder}/text_encoder', dtype=torch.float32).eval()
    ours = TextEncoder().eval()
    ours.load_state_dict({k: torch.from_numpy(v.copy()).float() for k, v in store.load_sharded(Path(folder) / 'text_encoder', 'model').items()})
    with torch.no_grad():
        mask = (ids != 0).long()
        x, y = ours(ids), theirs(input_ids=ids, attention_mask=mask).last_hidden_state * mask[..., None]
    print('text encoder: largest difference', (x - y).abs().max().item(), 'of', y.abs().max().item(), flush=True)


if __name__ == '__main__': main(sys.argv[1])
