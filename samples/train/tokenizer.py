"""Builds wan-mini's tokenizer: a T5-style Unigram vocabulary of 1,536 pieces, written by rule from caption words and common words."""
import itertools, json, math, string, unicodedata
from pathlib import Path
import captions

HERE = Path(__file__).resolve().parent
SIZE, PAD, EOS, UNK = 1536, 0, 1, 2
SUFFIXES = 'ing ed er ers est ly tion ness ment ful less able ies ous ive ight ound ish ward wards side land man men boat ship ball fly bird fish'.split()


def pieces():
    """[[piece, score]]: whole words first, then endings, two-letter pieces and single characters; a word always beats its parts."""
    own = captions.all_words()
    common = [w for w in (HERE / 'common_words.txt').read_text().split() if w not in own]
    letters = string.ascii_lowercase + string.digits + string.punctuation
    single = ['▁', *letters, *('▁' + c for c in string.ascii_lowercase + string.digits), '’', '“', '”', '–', '…']
    words = ['▁' + w for w in dict.fromkeys([*own, *common])]
    fixed = list(dict.fromkeys([*words, *SUFFIXES, *single]))
    vowels = 'aeiouy'
    pairs = [a + b for a, b in itertools.product(string.ascii_lowercase, repeat=2) if a in vowels or b in vowels or a + b in 'th sh ch st nd rt nt ck ll ss tt pp ff rr nn mm pl bl cl fl gl sl tr dr br cr fr gr pr sp sk sc sm sn sw tw ng nk mp lt ld rd rk rm rn'.split()]
    pairs += ['▁' + p for p in pairs]
    pairs = [p for p in pairs if p not in fixed][:SIZE - 3 - len(fixed)]
    table = [['<pad>', 0.], ['</s>', 0.], ['<unk>', 0.]]
    for i, p in enumerate(words): table.append([p, round(-5 - math.log(1 + i) / 2, 4)])
    for p in fixed[len(words):]: table.append([p, -13.5 if len(p.lstrip('▁')) <= 1 else -11.])
    table += [[p, -12.] for p in pairs]
    assert len(table) <= SIZE and len({p for p, _ in table}) == len(table), len(table)
    return table + [[f'<extra_{i}>', -30.] for i in range(SIZE - len(table))]


def tokenizer_json():
    special = [dict(id=i, content=c, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True) for i, c in enumerate(('<pad>', '</s>', '<unk>'))]
    eos = dict(SpecialToken=dict(id='</s>', type_id=0))
    part = lambda name: dict(Sequence=dict(id=name, type_id=0))
    meta = dict(type='Metaspace', replacement='▁', prepend_scheme='always', split=True)
    spaces = dict(type='Replace', pattern=dict(Regex=r'\s+'), content=' ')
    return dict(version='1.0', truncation=None, padding=None, added_tokens=special,
                normalizer=dict(type='Sequence', normalizers=[dict(type='NFKC'), dict(type='Lowercase'), spaces, dict(type='Strip', strip_left=True, strip_right=True)]),
                pre_tokenizer=meta, decoder=meta,
                post_processor=dict(type='TemplateProcessing', single=[part('A'), eos], pair=[part('A'), eos, part('B'), eos],
                                    special_tokens={'</s>': dict(id='</s>', ids=[EOS], tokens=['</s>'])}),
                model=dict(type='Unigram', unk_id=UNK, vocab=pieces(), byte_fallback=False))


CONFIG = dict(tokenizer_class='T5TokenizerFast', pad_token='<pad>', eos_token='</s>', unk_token='<unk>', extra_ids=0, additional_special_tokens=[],
              model_max_length=64, clean_up_tokenization_spaces=False, legacy=False)


class Tokenizer:
    """The same segmentation in plain Python: best-scoring split of each word, </s> at the end."""
    def __init__(self):
        self.ids = {p: (i, s) for i, (p, s) in enumerate(pieces()) if i > 2}
        self.longest, self.seen = max(map(len, self.ids)), {}
    def word(self, w):
        if w in self.seen: return self.seen[w]
        best = [(0., [])] + [None] * len(w)
        for end in range(1, len(w) + 1):
            for start in range(max(0, end - self.longest), end):
                hit = self.ids.get(w[start:end]) or ((UNK, -40.) if end - start == 1 else None)
                if hit and best[start] and (best[end] is None or best[start][0] + hit[1] > best[end][0]):
                    best[end] = (best[start][0] + hit[1], best[start][1] + [hit[0]])
        out = best[-1][1]
        self.seen[w] = [t for i, t in enumerate(out) if t != UNK or i == 0 or out[i - 1] != UNK]
        return self.seen[w]
    def __call__(self, text, length=64):
        ids = [t for w in unicodedata.normalize('NFKC', text).lower().split() for t in self.word('▁' + w)][:length - 1] + [EOS]
        return ids + [PAD] * (length - len(ids))


def write(folder):
    folder = Path(folder); folder.mkdir(parents=True, exist_ok=True)
    (folder / 'tokenizer.json').write_text(json.dumps(tokenizer_json(), ensure_ascii=False))
    (folder / 'tokenizer_config.json').write_text(json.dumps(CONFIG, indent=1))
    (folder / 'special_tokens_map.json').write_text(json.dumps(dict(eos_token='</s>', pad_token='<pad>', unk_token='<unk>'), indent=1))
