"""Finds the captioned sprite in a clip by normalised cross-correlation, without learning, and names the direction it moves in."""
import torch, torch.nn.functional as F
import captions as W
from common import DEV, TINY
from probe import SIZE

DIRECTIONS = ['left', 'right', 'up', 'down']


def templates(world, spec):
    """The sprite as it looks when it moves in each direction at four phases of its loop: colours [16, 3, b, b] and mask [16, 1, b, b]."""
    rows = []
    for m in DIRECTIONS:
        for phase in range(4):
            rows.append([world.index[spec['subject']], 0, W.MOTIONS.index(m), W.SIZES[spec['size']], 1, 0., phase / 4, 0., 0., 0., 0., 0., 0, 0, 0, 0])
    r = torch.tensor(rows, dtype=torch.float32, device=DEV)
    p = world._place(r, torch.tensor([16.], device=DEV), 33)
    p['x'], p['y'] = torch.full_like(p['x'], .5), torch.full_like(p['y'], .5)
    q = world._sprite(p, SIZE)[:, 0]
    half = int(W.SIZES[spec['size']] * SIZE * .5) + 2
    q = q[:, :, SIZE // 2 - half:SIZE // 2 + half, SIZE // 2 - half:SIZE // 2 + half]
    return q[:, :3], (q[:, 3:] > .5).float()


def best_places(x, colour, mask):
    """Peak of the correlation in every frame: (x, y) in frame widths [T, 2] and the score [T]."""
    m3 = mask.expand(-1, 3, -1, -1)
    n = m3.sum((1, 2, 3)).view(1, -1, 1, 1)
    mean = (colour * m3).sum((1, 2, 3), keepdim=True) / n.view(-1, 1, 1, 1)
    t = (colour - mean) * m3
    pad = colour.shape[-1] // 2
    conv = lambda a, w: F.conv2d(a, w, padding=pad)[:, :, :SIZE, :SIZE]
    var = conv(x * x, m3) - conv(x, m3).square() / n
    score = conv(x, t) / (var.clamp(min=1e-2) * t.square().sum((1, 2, 3)).view(1, -1, 1, 1)).sqrt()
    best, at = score.amax(1).flatten(1).max(1)
    return torch.stack([at % SIZE, torch.div(at, SIZE, rounding_mode='floor')], 1).float() / SIZE, best


@torch.no_grad()
def directions(world, clips, specs):
    """Share of clips whose found path goes the captioned way; only for left, right, up and down. -> (hits, n, mean peak score)"""
    hits, scores = [], []
    for x, s in zip(clips, specs):
        if s['motion'] not in DIRECTIONS or TINY and (hits or s['size'] != 'small'): continue
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False): p, score = best_places(x.float(), *templates(world, s))
        dx, dy = (p[-3:].median(0)[0] - p[:3].median(0)[0]).tolist()
        found = None if max(abs(dx), abs(dy)) < .06 else ('right' if dx > 0 else 'left') if abs(dx) > abs(dy) else ('down' if dy > 0 else 'up')
        hits.append(found == s['motion']); scores.append(score.mean().item())
    return sum(hits), len(hits), sum(scores) / max(1, len(scores))
