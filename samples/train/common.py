"""The clock, the log and the small helpers that every stage shares."""
import json, os, re, threading, time
from pathlib import Path
import numpy as np
import torch
from PIL import Image, ImageDraw

START = time.time()
CUDA = torch.cuda.is_available()
TINY = not CUDA
MODE = 2 if TINY else 1 if os.environ.get('SMOKE') else 0
DEV = torch.device('cuda' if CUDA else 'cpu')
RESULT = {}


def pick(full, smoke, tiny):
    """A number for a real run, for a smoke run on a GPU, or for a test on a CPU."""
    return (full, smoke, tiny)[MODE]


# (pixels, frames) of the three sizes that the model is made for
PREVIEW, DEFAULT, LARGE = pick([(256, 33), (320, 49), (512, 65)], [(256, 33), (320, 49), (512, 65)], [(32, 9), (48, 13), (64, 17)])


def named(size): return f'{size[0]}x{size[0]}x{size[1]}'


def chunk(S, T, pixels=3.4e7):
    """Clips of this size that the renderer and the VAE take at once."""
    return max(1, int(pixels / (T * S * S)))


class Run:
    """One run: its wall-clock end, output folder and log file."""
    def __init__(self, out, until):
        self.out, self.end = Path(out), until
        self.out.mkdir(parents=True, exist_ok=True)
        self.file = open(self.out / 'log.txt', 'a')
    def left(self): return self.end - time.time()
    def log(self, *a):
        s = f'[{time.time() - START:6.1f}] ' + ' '.join(map(str, a))
        print(s, flush=True); self.file.write(s + '\n'); self.file.flush()
    def write(self, name, value):
        """JSON with each list of numbers on one line."""
        text = re.sub(r'\[\s+([^][{}]*?)\s+\]', lambda m: '[' + re.sub(r',\s+', ', ', m[1]) + ']', json.dumps(plain(value), indent=1))
        (self.out / name).write_text(text + '\n')
    def watch(self):
        """Ends the process at the deadline, whatever hangs."""
        def wait():
            while self.left() > 0: time.sleep(.5)
            self.log('deadline'); os._exit(3)
        threading.Thread(target=wait, daemon=True).start()


def sync():
    if CUDA: torch.cuda.synchronize()


def amp(): return torch.autocast('cuda' if CUDA else 'cpu', torch.bfloat16, enabled=CUDA)


def plain(x):
    """Tensors and numbers as short JSON values."""
    if isinstance(x, (torch.Tensor, np.ndarray, np.generic)): x = x.tolist()
    if isinstance(x, dict): return {str(k): plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)): return [plain(v) for v in x]
    return round(x, 5) if isinstance(x, float) else x


def numpy_state(module, dtype=torch.float16, prefix=''):
    return {prefix + k: v.detach().to(dtype).cpu().numpy() for k, v in module.state_dict().items()}


def round_to_half(module):
    """Rounds all weights to what a float16 file holds."""
    with torch.no_grad():
        for p in module.parameters(): p.copy_(p.half().float())
    return module


def compiled(fn):
    """torch.compile with one graph a shape; the plain function where there is no GPU or compilation fails."""
    if not CUDA: return fn
    import torch._dynamo as d
    for k in ('cache_size_limit', 'recompile_limit'):
        try: setattr(d.config, k, 64)
        except Exception: pass
    fast, broken = torch.compile(fn, dynamic=False), []
    def call(*a):
        if broken: return fn(*a)
        try: return fast(*a)
        except torch.cuda.OutOfMemoryError: raise
        except Exception as e:
            broken.append(e); print('compilation failed, going on without:', repr(e)[:300], flush=True)
            return fn(*a)
    return call


def psnr(a, b): return -10 * torch.log10((a.float() - b.float()).square().flatten(1).mean(1).clamp(min=1e-12))


def ema_update(es, ps, d):
    torch._foreach_mul_(es, d)
    torch._foreach_add_(es, ps, alpha=1 - d)


def sheet(rows, cols=6, size=128):
    """rows of (caption, clip [T, 3, S, S] in [0, 1]) -> a picture with `cols` frames of each."""
    im = Image.new('RGB', ((size + 2) * cols - 2, (size + 16) * len(rows)), (255, 255, 255))
    d = ImageDraw.Draw(im)
    for j, (caption, v) in enumerate(rows):
        d.text((4, j * (size + 16) + 2), caption, fill=(0, 0, 0))
        a = (v.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        for k in range(cols):
            frame = Image.fromarray(a[round(k * (len(a) - 1) / (cols - 1))]).resize((size, size), Image.BOX)
            im.paste(frame, (k * (size + 2), j * (size + 16) + 16))
    return im
