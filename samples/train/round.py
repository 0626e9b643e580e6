"""One call of a training round: starts run.py in the background unless it runs, waits, and copies what there is so far into a folder.
python3 round.py --minutes 24 --wait 560 --out OUT [-- options of run.py]; call it again until it prints "round finished"."""
import argparse, json, os, shutil, subprocess, sys, tarfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SINGLE = ['eval.json', 'log.txt', 'text_encoder.safetensors', 'probe.safetensors', 'vae.safetensors']
PACKED = ['attention.json', 'gallery', 'parity']


def arguments():
    ap = argparse.ArgumentParser()
    ap.add_argument('--minutes', type=float, default=24, help='of the whole round, from its first call')
    ap.add_argument('--wait', type=float, default=560, help='seconds that this call may take')
    ap.add_argument('--base', default='/tmp/training-round', help='folder of the round on a local disk')
    ap.add_argument('--out', default=os.environ.get('OUT', 'out'))
    ap.add_argument('rest', nargs='*', help='options of run.py, after --')
    return ap.parse_args()


def begin(base, minutes, rest):
    """Copies the code, so that later changes of the working tree do not reach the round, and fixes its end."""
    if (base / 'round.json').exists(): return json.loads((base / 'round.json').read_text())
    base.mkdir(parents=True, exist_ok=True)
    for name in ('train', 'wan-mini'): shutil.copytree(HERE.parent / name, base / 'code' / name, dirs_exist_ok=True)
    plan = dict(until=time.time() + minutes * 60, rest=rest, starts=0, process=None)
    (base / 'round.json').write_text(json.dumps(plan))
    return plan


def alive(process):
    try: return process is not None and open(f'/proc/{process}/stat').read().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError: return False


def start(base, plan):
    """A new process session, which outlives this call."""
    plan['starts'] += 1
    command = [sys.executable, '-u', str(base / 'code/train/run.py'), '--until', str(plan['until']), '--state', str(base / 'state'), '--out', str(base / 'out'), *plan['rest']]
    with open(base / 'console.txt', 'a') as f: plan['process'] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=f, stderr=f, start_new_session=True, cwd=base / 'code/train').pid
    (base / 'round.json').write_text(json.dumps(plan))
    print(f"round: process {plan['process']} (start {plan['starts']}), {plan['until'] - time.time():.0f} s to the end", flush=True)


def collect(base, out):
    """At most eight files: weights, figures, log, and a tar of the rest."""
    made = base / 'out'
    out.mkdir(parents=True, exist_ok=True)
    for name in SINGLE:
        if (made / name).exists(): shutil.copy(made / name, out / name)
    if (made / 'transformer').exists(): shutil.copytree(made / 'transformer', out / 'transformer', dirs_exist_ok=True, ignore=shutil.ignore_patterns('*.json'))
    with tarfile.open(out / 'rest.tar', 'w') as tar:
        for name in PACKED:
            if (made / name).exists(): tar.add(made / name, name)
        if (base / 'console.txt').exists(): tar.add(base / 'console.txt', 'console.txt')


def main():
    o, called = arguments(), time.time()
    base, done, shown = Path(o.base), Path(o.base) / 'out/done', 0
    plan = begin(base, o.minutes, o.rest)
    while not done.exists() and time.time() - called < o.wait:
        if not alive(plan['process']):
            if plan['starts'] >= 4 or plan['until'] - time.time() < 30: break
            start(base, plan)
        time.sleep(1)
        if (base / 'console.txt').exists():
            text = (base / 'console.txt').read_text(errors='replace')
            print(text[shown:], end='', flush=True); shown = len(text)
    collect(base, Path(o.out))
    print('round finished' if done.exists() else 'round ended before everything was done' if not alive(plan['process']) else 'round goes on: call again', flush=True)


if __name__ == '__main__': main()
