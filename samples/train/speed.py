"""Chooses the attention kernel, fills the compile cache in child processes, and compares the compiled block with the plain one."""
import os, subprocess, sys, time
import torch, torch.nn.functional as F
import configs as C
from common import CUDA, DEV, amp, compiled, named, sync

DIFFERS = 9


def time_attention(backend, B, N):
    """Milliseconds of forward and backward in the layout that the block uses, and the results."""
    from torch.nn.attention import sdpa_kernel
    torch.manual_seed(0)
    q, k, v = (torch.randn(B, N, C.HEADS, C.HEAD, device=DEV, dtype=torch.bfloat16).transpose(1, 2).requires_grad_() for _ in range(3))
    w = torch.randn(B, N, C.HEADS, C.HEAD, device=DEV, dtype=torch.bfloat16).transpose(1, 2)
    with sdpa_kernel(backend):
        def once():
            y = F.scaled_dot_product_attention(q, k, v)
            return [y, *torch.autograd.grad(y, (q, k, v), w)]
        for _ in range(2): out = once()
        a, b = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        a.record()
        for _ in range(4): once()
        b.record(); sync()
    return a.elapsed_time(b) / 4, out


def difference(a, b): return max(((x.float() - y.float()).norm() / (y.float().norm() + 1e-12)).item() for x, y in zip(a, b))


def choose(run, shapes):
    """'cudnn' where cuDNN's attention agrees with the flash kernel at every size and is at least 5 % faster over all, else 'flash'."""
    if not CUDA: return 'flash'
    from torch.nn.attention import SDPBackend
    agree, total = True, [0., 0.]
    for (S, T), (B, _) in shapes.items():
        n = (T + 3) // 4 * (S // 16) ** 2
        try:
            flash, want = time_attention(SDPBackend.FLASH_ATTENTION, B, n)
            cudnn, got = time_attention(SDPBackend.CUDNN_ATTENTION, B, n)
        except Exception as e:
            run.log('cuDNN attention cannot be used:', repr(e)[:200]); return 'flash'
        off, work = difference(got, want), 3.5 * 4 * n * n * C.DIM * B / 1e9
        run.log(f'attention {named((S, T))}: flash {flash:.1f} ms ({work / flash:.0f} TFLOP/s), cuDNN {cudnn:.1f} ms ({work / cudnn:.0f}), relative difference {off:.1e}')
        agree &= off < .02
        total = [total[0] + flash, total[1] + cudnn]
    return 'cudnn' if agree and total[1] < .95 * total[0] else 'flash'


def use(name):
    """Makes it the only fused kernel, here and in child processes."""
    os.environ['ATTENTION'] = name
    if not CUDA: return
    b = torch.backends.cuda
    b.enable_cudnn_sdp(name == 'cudnn'); b.enable_flash_sdp(name != 'cudnn'); b.enable_mem_efficient_sdp(name != 'cudnn')


def children(kind, sizes):
    """One process a size that compiles the block for training ('train') or sampling ('sample') into the on-disk cache."""
    if not CUDA: return []
    few = dict(os.environ, TORCHINDUCTOR_COMPILE_THREADS='4')
    return [subprocess.Popen(['nice', sys.executable, os.path.abspath(sys.argv[0]), '--warm', kind, str(S), str(T)], env=few) for S, T in sizes]


def wait(processes, until):
    """Ends what has not ended at that time. -> True if a compiled block was found to differ from the plain one"""
    for p in processes:
        try: p.wait(max(.1, until - time.time()))
        except subprocess.TimeoutExpired: p.kill()
    return any(p.returncode == DIFFERS for p in processes)


def distrust(run):
    """Back to the flash kernel, compiled without what the child processes left."""
    run.log('the compiled block differs from the plain one: flash attention, compiled anew')
    use('flash')
    import torch._functorch.config as f
    f.enable_autograd_cache = False


def small_net():
    """The network with one block: the eight are alike, so compiling one serves all."""
    from train_dit import Net
    net = Net().to(DEV)
    net.transformer.blocks = net.transformer.blocks[:1]
    return net


def warm(kind, S, T):
    import evaluate, sampler, train_dit as D
    from dit import Block
    net, fast, seen = small_net(), compiled(Block.forward), []
    if kind == 'sample':
        net.eval().requires_grad_(False)
        with torch.no_grad(): sampler.sample(net, torch.ones(evaluate.BATCH[S, T], D.IDS, dtype=torch.long), T, S, steps=3, run=fast)
        return
    def catch(block, *a):
        if not seen: seen.append((block, [v.detach().clone() for v in a]))
        return fast(block, *a)
    B, shift = D.SHAPES[S, T]
    x0 = torch.randn(B, C.ZC, (T + 3) // 4, S // 8, S // 8, device=DEV)
    D.loss_of(net, x0, torch.ones(B, D.IDS, dtype=torch.long, device=DEV), D.noise_levels(B, shift), torch.randn_like(x0), None, catch)[0].mean().backward()
    sync()
    block, inputs = seen[0]
    def results(fn):
        block.zero_grad(set_to_none=True)
        a = [v.clone().requires_grad_(i < 3) for i, v in enumerate(inputs)]
        with amp(): y = fn(block, *a)
        y.float().mul(torch.sin(torch.arange(y.shape[-1], device=DEV) * 1.)).mean().mul(1e3).backward()
        return [y.detach(), a[0].grad, torch.cat([p.grad.flatten() for p in block.parameters()])]
    off = [difference([x], [y]) for x, y in zip(results(fast), results(Block.forward))]
    print(f'compiled block at {named((S, T))} against the plain one: relative difference of output {off[0]:.1e}, of its gradient for the input {off[1]:.1e}, for the weights {off[2]:.1e}', flush=True)
    if not max(off) < .05: sys.exit(DIFFERS)
