"""Renders captioned clips on the GPU: a background with three parallax planes, one animated sprite, its shadow and a front wave."""
import json, math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
import torch, torch.nn.functional as F
from PIL import Image
import captions as W

ASSETS = Path(__file__).resolve().parent / 'assets'
DEV = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
TAU, PI = 2 * math.pi, math.pi


def read(path):
    """RGBA of a webp file; OpenCV where Pillow was built without webp."""
    try: return np.array(Image.open(path).convert('RGBA'))
    except Exception:
        import cv2
        a = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if a.shape[2] == 3: a = np.concatenate([a, np.full_like(a[..., :1], 255)], -1)
        return np.array(a[..., [2, 1, 0, 3]])


def premultiply(a): return torch.cat([a[:, :3] * a[:, 3:], a[:, 3:]], 1)


def window(texture, x0, S, T):
    """A square window of a 2:1 panorama for every frame; x0 [n, T] is its left edge in window widths. -> [n, T, c, S, S]"""
    n = texture.shape[0]
    th = torch.zeros(n * T, 2, 3, device=DEV)
    th[:, 0, 0], th[:, 1, 1], th[:, 0, 2] = .5, 1, (x0.clamp(0, 1) - .5).reshape(-1)
    g = F.affine_grid(th, (n * T, 1, S, S), align_corners=False).view(n, T * S, S, 2)
    q = F.grid_sample(texture, g, mode='bilinear', padding_mode='border', align_corners=False)
    return q.view(n, -1, T, S, S).transpose(1, 2)


class World:
    def __init__(self):
        ix = json.loads((ASSETS / 'index.json').read_text())
        self.subjects = ix['subjects']
        self.index = {s['name']: i for i, s in enumerate(self.subjects)}
        tags = [f'{s}_{k}' for s in range(len(W.SCENES)) for k in range(16)]
        sea = W.SCENES.index('sea')
        with ThreadPoolExecutor(8) as pool:
            def texture(kind, tag):
                path = ASSETS / f'{kind}_{tag}.webp'
                return torch.from_numpy(read(path)).permute(2, 0, 1) if path.exists() else torch.zeros(4, *ix['size'], dtype=torch.uint8)
            load = lambda kind, names: torch.stack(list(pool.map(lambda t: texture(kind, t), names))).to(DEV).float() / 255
            self.far = load('far', tags)[:, :3].contiguous()
            self.near = premultiply(load('near', tags))
            self.front = premultiply(load('front', [f'{sea}_{k}' for k in range(16)]))
            sheets = list(pool.map(lambda s: read(ASSETS / f"sprite_{s['code']}.webp"), self.subjects))
        self._sprites(sheets)

    def _sprites(self, sheets):
        frames, first = [], []
        for s, im in zip(self.subjects, sheets):
            first.append(len(frames))
            cells = ((i // s['cols'] * 128, i % s['cols'] * 128) for i in range(s['n']))
            frames += [torch.from_numpy(im[y:y + 128, x:x + 128].copy()).permute(2, 0, 1) for y, x in cells]
        base = premultiply(torch.stack(frames).to(DEV).float() / 255)
        smaller = lambda k: F.interpolate(F.avg_pool2d(base, k), size=128, mode='bilinear', align_corners=False)
        self.frames, self.sprites = len(frames), torch.cat([base, smaller(2), smaller(4)])
        t = lambda v: torch.tensor(v, device=DEV, dtype=torch.float32)
        self.bottom, self.face = t([s['bottom'] for s in self.subjects]), t([s['face'] or 0 for s in self.subjects])
        self.count, self.first = t([s['n'] for s in self.subjects]), t(first)

    def row(self, rng, spec):
        """The 16 numbers that fix a clip of this spec."""
        scene, motion = spec['scene'], spec['motion']
        habitat, sc = W.SUBJECTS[spec['subject']][0], W.SCENES.index(scene)
        ground = scene in W.GROUND
        onground = ground and habitat not in ('air', 'water')
        camera = {'left': -.3, 'right': .3}.get(motion, 0.) if ground else rng.choice([-.06, .06])
        boat = habitat == 'sea' and scene == 'sea'
        return [self.index[spec['subject']], sc * 16 + spec['pano'], W.MOTIONS.index(motion), W.SIZES[spec['size']], rng.choice([-1, 1]), rng.random(), rng.randrange(4) / 4,
                rng.uniform(-.05, .05), rng.uniform(-.05, .05), camera, rng.uniform(-.1, .1), W.GROUND.get(scene, 0.) if onground else 0., onground and scene != 'sea', boat,
                scene == 'sea', spec['pano']]

    def _path(self, r, k, T):
        """Centre x, y, heading and loop position u of every frame, by motion."""
        b = len(r)
        c = lambda j: r[:, j, None]
        t = (.5 + (k - (T - 1) / 2) / 48)[None].expand(b, len(k))
        A, z = .8, torch.zeros_like(t)
        half, sign, phase = z + .5, c(4), c(5)
        u = (t * 2.5 * A + .5) % 1
        a = TAU * (t * A + phase)
        sway = .5 + .03 * torch.sin(TAU * t)
        X = torch.stack([.5 + .36 * A * (1 - 2 * t), .5 - .36 * A * (1 - 2 * t), sway, sway, .5 + .24 * (2 * t - 1) * sign, half, .5 + .26 * torch.cos(a), half])
        Y = torch.stack([half, half, .5 + .34 * A * (1 - 2 * t), .5 - .34 * A * (1 - 2 * t), .62 - 1.36 * u * (1 - u), half, .5 - .24 * torch.sin(a), half])
        H = torch.stack([z + PI, z, z + PI / 2, z - PI / 2, z, z, (a + PI / 2 + PI) % TAU - PI, z])
        pick = lambda M: M.gather(0, r[:, 2].long()[None, :, None].expand(1, b, len(k)))[0]
        return t, u, pick(X), pick(Y), pick(H)

    def _place(self, r, k, T):
        """Everything about the sprite in every frame."""
        c = lambda j: r[:, j, None]
        t, u, x, y, heading = self._path(r, k, T)
        sub, mot = r[:, 0].long(), c(2)
        z, one = torch.zeros_like(t), torch.ones_like(t)
        known, bounce, grow = (mot < 4) | (mot == 6), mot == 4, mot == 5
        size = c(3) * torch.where(grow, .35 + 1.05 * t.clamp(min=0) ** 1.1, one)
        squash = torch.where(bounce, 1 - .18 * (1 - 8 * torch.minimum(u, 1 - u)).clamp(min=0), one)
        face, bottom, ground, boat = self.face[sub][:, None], self.bottom[sub][:, None], c(11), c(13) > 0
        grounded = ground > 0
        flat = grounded & ((mot < 2) | (mot == 5) | (mot == 7))
        free = y + torch.where(grounded, z, z + c(8))
        y = torch.where(flat, ground - bottom * size + torch.where(boat, .22 * size, z), torch.where(grounded & bounce, y + ground - .62 - bottom * size, free))
        x = x + c(7)
        tilted = (face == 45) & known
        flip45 = tilted & (heading.abs() > PI / 2 + 1e-5)
        rotation = torch.where(tilted, -(heading - torch.where(flip45, z + 3 * PI / 4, z + PI / 4)), z) + torch.where(boat, .05 * torch.sin(TAU * (t * 1.3 + c(5))), z)
        across = torch.where(known, torch.cos(heading), z)
        flip = flip45 | ((face == 180) & torch.where(across.abs() > .01, across > 0, (c(4) > 0).expand_as(t)))
        loop = (k[None] + torch.floor(c(6) * self.count[sub][:, None])) % self.count[sub][:, None] + self.first[sub][:, None]
        return dict(t=t, x=x, y=y, size=size, squash=squash, rotation=rotation, sign=torch.where(flip, -one, one), loop=loop.long(), bottom=bottom, ground=ground)

    def _shadow(self, img, p, host, S):
        chosen = [i for i in range(len(host)) if host[i][12]]
        if not chosen: return
        j = torch.tensor(chosen).to(DEV)
        xs = (torch.arange(S, device=DEV).float() + .5) / S
        ground, x, size = p['ground'][j], p['x'][j], p['size'][j]
        drop = (ground - (p['y'][j] + p['bottom'][j] * size)).clamp(min=0)
        wide = (size * (.8 - .6 * (drop * 1.6).clamp(max=1))).clamp(min=.02) / 2
        ex = torch.exp(-((xs[None, None] - x[..., None]) / wide[..., None]) ** 2)
        ey = torch.exp(-((xs[None, None] - ground[..., None]) / .02) ** 2).expand(-1, x.shape[1], -1)
        alpha = (.4 * (1 - (drop * 1.5).clamp(max=1)))[..., None, None] * ey[..., None] * ex[..., None, :]
        img[j] = img[j] * (1 - alpha[:, :, None])

    def _sprite(self, p, S):
        size, rot, sq, sign, x, y = (p[n] for n in ('size', 'rotation', 'squash', 'sign', 'x', 'y'))
        b, T = x.shape
        px = 128 / (size * S)
        level = (px > 1.35).long() + (px > 2.7).long()
        a, bb = 2 * sign * torch.cos(rot) / size * sq.clamp(min=.7), 2 * sign * torch.sin(rot) / size * sq.clamp(min=.7)
        d, e = -2 * torch.sin(rot) / size / sq, 2 * torch.cos(rot) / size / sq
        th = torch.stack([a / 2, bb / 2, a * (.5 - x) + bb * (.5 - y), d / 2, e / 2, d * (.5 - x) + e * (.5 - y)], -1).view(b * T, 2, 3)
        g = F.affine_grid(th, (b * T, 1, S, S), align_corners=False)
        q = F.grid_sample(self.sprites[(level * self.frames + p['loop']).view(-1)], g, mode='bilinear', padding_mode='zeros', align_corners=False)
        return q.view(b, T, 4, S, S)

    @torch.no_grad()
    def render(self, rows, T, S, frames=None):
        """rows -> (clips [b, T, 3, S, S] in [-1, 1], alpha of the sprite [b, T, S, S], {x, y} of its centre). frames: only these frame numbers."""
        r = torch.tensor(rows, dtype=torch.float32).to(DEV, non_blocking=True)
        k = torch.arange(T, device=DEV).float() if frames is None else torch.tensor(frames, device=DEV).float()
        n, pan, c = len(k), r[:, 1].long(), lambda j: r[:, j, None]
        p = self._place(r, k, T)
        cam, base = c(9) * (p['t'] - .5), c(10) + .5
        img = window(self.far[pan], base + .3 * cam, S, n).contiguous()
        q = window(self.near[pan], base + cam + .25 * c(14) * (p['t'] - .5), S, n)
        img.mul_(1 - q[:, :, 3:]).add_(q[:, :, :3])
        self._shadow(img, p, rows, S)
        q = self._sprite(p, S)
        img.mul_(1 - q[:, :, 3:]).add_(q[:, :, :3])
        alpha = q[:, :, 3]
        sea = [i for i in range(len(rows)) if rows[i][14]]
        if sea:
            j = torch.tensor(sea).to(DEV)
            w = window(self.front[r[j, 15].long()], (base + 1.5 * cam + .4 * (p['t'] - .5))[j], S, n)
            img[j] = img[j] * (1 - w[:, :, 3:]) + w[:, :, :3]
            alpha[j] = alpha[j] * (1 - w[:, :, 3])
        return img.clamp_(0, 1).mul_(2).sub_(1), alpha, p

    def clips(self, n, T, S, rng, split='seen', plain=False, **want):
        """n random clips: (clips, alpha, specs, captions)."""
        specs = [W.draw(rng, split, **want) for _ in range(n)]
        img, alpha, _ = self.render([self.row(rng, s) for s in specs], T, S)
        return img, alpha, specs, [W.caption(rng, s, plain) for s in specs]
