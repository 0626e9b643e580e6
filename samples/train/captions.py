"""The world of wan-mini: its subjects, scenes, motions and sizes, the caption grammar, and the held-out split."""
import hashlib, json, os

MOTIONS = ['left', 'right', 'up', 'down', 'bounce', 'grow', 'circle', 'still']
SCENES = ['night sky', 'space', 'blue sky', 'sunset', 'meadow', 'city street', 'sea', 'underwater', 'plain']
PLAIN = ['pink', 'mint', 'yellow', 'lavender']
SIZES = {'small': .24, '': .36, 'big': .5}
SIZE_WORDS = {'small': ['small', 'little', 'tiny'], '': [''], 'big': ['big', 'large', 'huge']}

# name -> (habitat, other names, verbs of its own or None)
SUBJECTS = {
    'rocket': ('air', ['rocket ship', 'space rocket'], ['flying', 'soaring', 'zooming', 'shooting']),
    'airplane': ('air', ['plane', 'aeroplane', 'jet'], None),
    'helicopter': ('air', ['chopper'], None),
    'flying saucer': ('air', ['ufo', 'alien spaceship'], ['flying', 'hovering', 'floating']),
    'red balloon': ('air', ['balloon'], ['floating', 'drifting', 'flying']),
    'eagle': ('air', ['bird', 'hawk'], None),
    'bee': ('air', ['bumblebee', 'honey bee'], ['flying', 'buzzing']),
    'butterfly': ('air', ['butterfly'], ['flying', 'fluttering']),
    'ghost': ('air', ['white ghost', 'spooky ghost'], ['floating', 'flying', 'hovering']),
    'red car': ('road', ['car', 'automobile'], None),
    'fire truck': ('road', ['fire engine', 'firetruck'], None),
    'tractor': ('road', ['farm tractor'], None),
    'sailboat': ('sea', ['sailing boat', 'boat', 'yacht'], None),
    'black cat': ('land', ['cat', 'kitty'], None),
    'dog': ('land', ['puppy', 'dog in a red vest'], None),
    'elephant': ('land', ['grey elephant'], None),
    'dinosaur': ('land', ['t-rex', 'green dinosaur'], None),
    'penguin': ('land', ['baby penguin'], ['walking', 'waddling']),
    'snowman': ('land', ['snow man'], ['moving', 'sliding', 'walking']),
    'teddy bear': ('land', ['teddy', 'toy bear'], None),
    'blue fish': ('water', ['fish'], None),
    'octopus': ('water', ['red octopus'], None),
    'robot': ('any', ['toy robot', 'robot head'], ['moving', 'floating', 'rolling']),
    'soccer ball': ('any', ['football', 'ball'], ['rolling', 'moving', 'flying']),
}
VERBS = {'air': ['flying', 'soaring', 'gliding'], 'road': ['driving', 'racing', 'rolling'], 'sea': ['sailing', 'drifting'],
         'land': ['walking', 'running', 'strolling'], 'water': ['swimming', 'gliding'], 'any': ['moving', 'floating']}
PLACES = {'air': ['night sky', 'space', 'blue sky', 'sunset', 'meadow'], 'road': ['city street', 'city street', 'meadow', 'sunset'],
          'sea': ['sea', 'sea', 'sunset'], 'land': ['meadow', 'city street', 'sunset'], 'water': ['underwater', 'underwater', 'sea'], 'any': SCENES[:8]}
HOW = {'left': ['{v} to the left', '{v} left', '{v} from right to left'], 'right': ['{v} to the right', '{v} right', '{v} from left to right'],
       'up': ['{v} up', '{v} upwards', 'rising'], 'down': ['{v} down', '{v} downwards', 'falling'],
       'bounce': ['bouncing', 'bouncing up and down', 'jumping up and down', 'jumping'],
       'grow': ['coming closer', '{v} towards the camera', 'getting bigger', 'approaching'],
       'circle': ['{v} in a circle', '{v} in circles', '{v} around', 'circling around'],
       'still': ['staying still', 'standing still', 'staying in place', 'waiting']}
WHERE = {'night sky': ['over a night sky', 'at night', 'under the stars', 'in a starry night sky', 'in the night sky'],
         'space': ['in space', 'in outer space', 'among the planets', 'through space'],
         'blue sky': ['in the blue sky', 'across a blue sky', 'in a cloudy sky', 'among the clouds', 'in the sky'],
         'sunset': ['at sunset', 'in front of a sunset', 'at dusk', 'in the evening sun'],
         'meadow': ['in a meadow', 'on green grass', 'in a park', 'through a field', 'over green hills'],
         'city street': ['on a city street', 'down the street', 'in the city', 'on a road', 'in a town'],
         'sea': ['on the sea', 'on the ocean', 'over the waves', 'at sea'],
         'underwater': ['underwater', 'under the sea', 'under water', 'in the deep ocean'],
         'plain': ['on a plain {c} background', 'on a {c} background', 'in front of a {c} wall']}
STYLES = ['a cartoon of', 'a video of', 'a short clip of', 'a 3d animation of']
GROUND = {'meadow': .86, 'city street': .86, 'sea': .72}
KEEP = {('rocket', 'up'), ('rocket', 'night sky'), ('red car', 'left'), ('red car', 'city street'), ('black cat', 'right'), ('black cat', 'meadow')}


def held_out(subject, other):
    """True for the 10 % of (subject, motion) and (subject, scene) pairs that training never sees."""
    digest = hashlib.md5(f'{subject}|{other}'.encode()).digest()
    return (subject, other) not in KEEP and digest[0] * 256 + digest[1] < 6554


def is_held_out(spec):
    return held_out(spec['subject'], spec['motion']) or held_out(spec['subject'], spec['scene'])


def _natural(rng, subject):
    habitat = SUBJECTS[subject][0]
    scene = rng.choice(PLACES[habitat] + ['plain']) if rng.random() < .8 else rng.choice(SCENES)
    free = habitat in ('air', 'water') or scene not in GROUND
    usual = ['left', 'right', 'still', 'grow'] + (['up', 'down', 'circle'] if free else []) + (['bounce'] if habitat in ('land', 'any') or not free else [])
    motion = rng.choice(usual) if rng.random() < .85 else rng.choice(MOTIONS)
    return scene, motion


def draw(rng, split='seen', **want):
    """A random spec: subject, scene, motion, size, pano (background number). split: 'seen', 'held' or 'any'."""
    while True:
        subject = want.get('subject') or rng.choice(list(SUBJECTS))
        scene, motion = _natural(rng, subject)
        spec = dict(subject=subject, scene=want.get('scene') or scene, motion=want.get('motion') or motion,
                    size=want.get('size') if want.get('size') is not None else rng.choice(list(SIZES)), pano=rng.randrange(16))
        if split == 'any' or len(want) > 2 or is_held_out(spec) == (split == 'held'): return spec


def _noun(rng, spec, plain):
    name, size = spec['subject'], spec['size']
    if not plain and rng.random() < .3: name = rng.choice(SUBJECTS[name][1])
    adjective = size if plain else rng.choice(SIZE_WORDS[size])
    words = f'{adjective} {name}'.strip()
    if not plain and rng.random() < .15: return f'the {words}'
    return f"{'an' if words[0] in 'aeiou' and words[:2] != 'uf' else 'a'} {words}"


def _doing(rng, spec, plain):
    habitat, _, own = SUBJECTS[spec['subject']]
    verbs = own or VERBS[habitat]
    verb = verbs[0] if plain else rng.choice(verbs) if rng.random() < .85 else 'moving'
    return (HOW[spec['motion']][0] if plain else rng.choice(HOW[spec['motion']])).format(v=verb)


def _where(rng, spec, plain):
    return (WHERE[spec['scene']][0] if plain else rng.choice(WHERE[spec['scene']])).format(c=PLAIN[spec['pano'] % 4])


def caption(rng, spec, plain=False):
    """A sentence for a spec. plain=True gives the first wording of everything; otherwise order and words vary and parts may be left out."""
    noun, doing, where = _noun(rng, spec, plain), _doing(rng, spec, plain), _where(rng, spec, plain)
    if plain: return f'{noun} {doing} {where}'
    if rng.random() < .1: where = ''
    elif rng.random() < .1: doing = ''
    r = rng.random()
    if r < .1:
        key = noun.split(' ', 1)[1]
        scene = spec['scene'] if spec['scene'] != 'plain' else f"{PLAIN[spec['pano'] % 4]} background"
        parts = [key, scene if where else '', doing if rng.random() < .5 else spec['motion'] if doing else '']
        return ', '.join(p for p in parts if p)
    if r < .22 and where: text = f'{where}, {noun} {doing}'
    elif r < .32 and where: text = f'{noun} {where} {doing}' if rng.random() < .5 else f'{noun} {where}, {doing}'
    else: text = f'{noun} {doing} {where}'
    if rng.random() < .12: text = f'{rng.choice(STYLES)} {text}'
    return ' '.join(text.split())


def all_words():
    """Every word that a caption can hold."""
    text = [*SUBJECTS, *SCENES, *PLAIN, *MOTIONS, *STYLES, 'background wall moving a an the plain']
    for _, names, verbs in SUBJECTS.values(): text += names + (verbs or [])
    for table in (VERBS, HOW, WHERE, SIZE_WORDS): text += [w for words in table.values() for w in words]
    return sorted({w for t in text for w in t.replace('{v}', ' ').replace('{c}', ' ').split()})


PROMPTS = [
    'a rocket flying up over a night sky', 'a red car driving to the left on a city street', 'a black cat walking to the right in a meadow',
    'a blue fish swimming to the right underwater', 'a big dinosaur walking to the right in a meadow', 'a sailboat sailing to the left on the sea',
    'a flying saucer flying in a circle in space', 'a soccer ball bouncing in a meadow', 'a big robot coming closer on a plain pink background',
    'a rocket flying to the right in space', 'an airplane flying to the left in the blue sky', 'a helicopter flying up at sunset',
    'a red balloon floating up in the blue sky', 'an eagle soaring to the right at sunset', 'a bee flying in a circle in a meadow',
    'a butterfly flying to the left in a meadow', 'a ghost floating to the right at night', 'a fire truck driving to the right on a city street',
    'a tractor driving to the left in a meadow', 'a dog running to the right in a park', 'a big elephant walking to the left in a meadow',
    'a penguin standing still on a plain yellow background', 'a snowman bouncing in a meadow', 'a teddy bear jumping up and down on a city street',
    'an octopus swimming up underwater', 'a small blue fish swimming down in the deep ocean', 'a flying saucer hovering at night',
    'a robot floating up in space', 'a large airplane coming closer at sunset', 'a black cat jumping on a plain lavender background',
]


def vocabulary():
    """The block that model_index.json shows to users."""
    say = lambda words: sorted({w.replace('{v} ', '').replace('{v}', '').strip() for w in words} - {''})
    return dict(subjects=[dict(name=n, synonyms=[n, *other], verbs=own or VERBS[h]) for n, (h, other, own) in SUBJECTS.items()],
                scenes=[dict(name=s, wordings=WHERE[s] if s != 'plain' else [w.replace('{c}', c) for w in WHERE[s] for c in PLAIN]) for s in SCENES],
                motions=[dict(name=m, wordings=say([*HOW[m], m])) for m in MOTIONS],
                sizes=[dict(name=s or 'normal', wordings=[w for w in SIZE_WORDS[s] if w]) for s in SIZES], prompts=PROMPTS)


def grammar():
    """Everything that captions and the held-out split are made of; the order of names is that of the judge's heads."""
    return dict(subjects=[dict(name=n, habitat=h, synonyms=other, verbs=own or VERBS[h]) for n, (h, other, own) in SUBJECTS.items()],
                scenes=[dict(name=s, ground=s in GROUND, wordings=WHERE[s]) for s in SCENES], colours=PLAIN, motions=[dict(name=m, wordings=HOW[m]) for m in MOTIONS],
                sizes=[dict(name=s, height=SIZES[s], words=SIZE_WORDS[s]) for s in SIZES], places=PLACES, neverHeldOut=sorted(KEEP), prompts=PROMPTS)


def write(path):
    """The grammar as a file for those who judge without Python."""
    with open(path, 'w') as f: f.write(json.dumps(grammar(), indent=1) + '\n')


if __name__ == '__main__': write(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'grammar.json'))
