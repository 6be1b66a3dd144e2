#!/usr/bin/env python3
"""bench_torch.py - eager PyTorch on one CPU thread, beside what build/bench says in the same run

usage: bench_torch.py [--bench build/bench] [--mib N] [--seconds S] [SUBSTRING...]

The jobs of build/bench that a model has between two products, in bf16 to float8_e4m3fn: an op
after another, as they are written without a fused kernel. N MiB of input (64) in rows of 4,096
outputs; the median over nine turns and over S seconds (0.5) at least; GB/s are bytes of the input
in a second. With substrings only the jobs that have each of them in their name. Needs torch.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time

COLS, TOP = 4096, 448.0


def quant_group128(torch, x):
    g = x.float().view(x.shape[0], -1, 128)
    s = g.abs().amax(-1, keepdim=True).clamp(min=1e-10) / TOP
    return (g / s).clamp(-TOP, TOP).to(torch.float8_e4m3fn), s


def quant_token(torch, x):
    v = x.float()
    s = (v.abs().amax(-1, keepdim=True) / TOP).clamp(min=1 / (512 * TOP))
    return (v / s).clamp(-TOP, TOP).to(torch.float8_e4m3fn), s


def silu_mul(torch, x):
    return torch.nn.functional.silu(x[:, :COLS]) * x[:, COLS:]


def rms_norm(torch, x, weight):
    v = x.float()
    r = torch.rsqrt(v.square().mean(-1, keepdim=True) + 1e-6)
    return (v * r).to(x.dtype) * weight


# The op and the key of build/bench, columns of x a column of the result, what torch does.
JOBS = (
    ("quant", "fp8_group128", 1, lambda t, x, w: quant_group128(t, x)),
    ("quant", "fp8_token", 1, lambda t, x, w: quant_token(t, x)),
    ("act_mul_quant", "fp8_group128", 2, lambda t, x, w: quant_group128(t, silu_mul(t, x))),
    ("rms_norm_quant", "fp8_token", 1, lambda t, x, w: quant_token(t, rms_norm(t, x, w))),
)


def measure(job, torch, x, weight, seconds):
    took, begin = [], time.perf_counter()
    job(torch, x, weight)
    while len(took) < 9 or time.perf_counter() - begin < seconds:
        t = time.perf_counter()
        job(torch, x, weight)
        took.append(time.perf_counter() - t)
    return x.numel() * x.element_size() / statistics.median(took) * 1e-9


def bench(path, o, op, key):
    """Lines of build/bench: (loops, GB/s), of bf16 to float8_e4m3fn."""
    if not os.access(path, os.X_OK):
        return []
    done = subprocess.run([path, "--mib", str(o.mib), "--seconds", str(o.seconds), op, key, "bf16"],
                          capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [(r[4], float(r[5])) for r in rows
            if r[:4] == [op, key, "bf16", "float8_e4m3fn"] and len(r) == 9]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bench", default="build/bench")
    p.add_argument("--mib", type=int, default=64)
    p.add_argument("--seconds", type=float, default=0.5)
    p.add_argument("words", nargs="*")
    o = p.parse_args()
    try:
        import torch
    except ImportError:
        print("bench_torch.py: needs torch (skipped)")
        return 0
    torch.set_num_threads(1)
    torch.manual_seed(1)
    print("PyTorch %s, one thread, %d MiB of input" % (torch.__version__, o.mib))
    print("%-16s %-14s %-8s %9s %9s" % ("op", "key", "by", "GB/s", "/ torch"))
    weight = 1 + 0.1 * torch.randn(COLS, dtype=torch.bfloat16)
    for op, key, wide, job in JOBS:
        if not all(w in op + " " + key for w in o.words):
            continue
        x = torch.randn((o.mib << 20) // (2 * COLS * wide), COLS * wide, dtype=torch.bfloat16)
        with torch.inference_mode():
            base = measure(job, torch, x, weight, o.seconds)
        print("%-16s %-14s %-8s %9.3f %9.2f" % (op, key, "torch", base, 1))
        rows = bench(o.bench, o, op, key)
        for loops, speed in rows:
            print("%-16s %-14s %-8s %9.3f %9.2f" % (op, key, loops, speed, speed / base))
        if not rows:
            print("%-16s %-14s %-8s %9s" % (op, key, "vq", "no row of " + o.bench))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
