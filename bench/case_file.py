"""Results of Python contenders in the form of src/bench/results.ts."""
import os
import platform
from datetime import date

import torch


def spread(times):
    """As src/bench/spread.ts."""
    times = sorted(times)

    def quantile(share):
        at = share * (len(times) - 1)
        below = int(at)
        above = min(below + 1, len(times) - 1)
        return times[below] + (times[above] - times[below]) * (at - below)

    return {"median": quantile(0.5), "best": times[0], "low": quantile(0.25), "high": quantile(0.75), "runs": len(times)}


def result_file(bench, options, cases):
    """One result file."""
    gpu = torch.cuda.get_device_name().lower().replace(" ", "-")  # as WebGPU names it
    machine = {"processor": platform.processor() or "unknown", "cores": os.cpu_count() or 0, "gpu": gpu}
    version = f"PyTorch {torch.__version__}"
    return {"bench": bench, "date": date.today().isoformat(), "version": version, "machine": machine, "options": options, "cases": cases}
