#!/usr/bin/env python3
"""formats.py - the conversions of vq.h against numpy and ml_dtypes

usage: formats.py [--seed N]

Every code is decoded by both. Every value, every midpoint of two neighbours, where overflow
begins, and what lies next to each of these in f32 is encoded by both, and so are 2^24 floats
spread evenly over signs and exponents. VQ_NONFINITE is compared with astype(), VQ_SATURATE with
astype() of the clipped input. Where the two are known to differ (differing, below) they must do
so, each in its own way, and nowhere else. Needs a C compiler: $CC, else cc.
"""
import argparse
import ctypes
import os
import shlex
import subprocess
import sys
import tempfile

import ml_dtypes as ml
import numpy as np

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

SNIPPET = """
#include "vq.h"

void encode(int t, int overflow, const uint32_t *x, uint32_t *code, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float f;
        memcpy(&f, x + i, 4);
        code[i] = vq_encode((vq_dtype)t, f, (vq_overflow)overflow);
    }
}

void decode(int t, const uint32_t *code, uint32_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float f = vq_decode((vq_dtype)t, code[i]);
        memcpy(x + i, &f, 4);
    }
}

int constant(int i)
{
    static const int value[] = { %s };
    return value[i];
}
"""

# vq's enum value, ml_dtypes' or numpy's type, bits of a code
FLOATS = [
    ("VQ_F16", np.float16, 16),
    ("VQ_BF16", ml.bfloat16, 16),
    ("VQ_E4M3FN", ml.float8_e4m3fn, 8),
    ("VQ_E4M3FNUZ", ml.float8_e4m3fnuz, 8),
    ("VQ_E5M2", ml.float8_e5m2, 8),
    ("VQ_E5M2FNUZ", ml.float8_e5m2fnuz, 8),
    ("VQ_E8M0", ml.float8_e8m0fnu, 8),
    ("VQ_UE4M3", ml.float8_e4m3fn, 8),
    ("VQ_E2M3", ml.float6_e2m3fn, 6),
    ("VQ_E3M2", ml.float6_e3m2fn, 6),
    ("VQ_E2M1", ml.float4_e2m1fn, 4),
]
INTEGERS = [
    ("VQ_INT8", np.int8, 8),
    ("VQ_UINT8", np.uint8, 8),
    ("VQ_INT4", ml.int4, 4),
    ("VQ_UINT4", ml.uint4, 4),
]
MODES = ["VQ_SATURATE", "VQ_NONFINITE"]

STRATA = 1 << 15                              # mantissas a sign and exponent: 2^24 in all
CHUNK = 1 << 21


def load():
    """vq.h as a dictionary of its constants and two functions over arrays."""
    names = [row[0] for row in FLOATS + INTEGERS] + MODES
    with tempfile.TemporaryDirectory() as place:
        source, library = os.path.join(place, "formats.c"), os.path.join(place, "formats.so")
        with open(source, "w", encoding="ascii") as f:
            f.write(SNIPPET % ", ".join(names))
        subprocess.run(shlex.split(os.environ.get("CC", "cc")) +
                       ["-std=c99", "-O2", "-fPIC", "-shared", "-I", ROOT, source, "-o", library],
                       check=True)
        lib = ctypes.CDLL(library)
    number = {name: lib.constant(i) for i, name in enumerate(names)}

    def pointer(a):
        return a.ctypes.data_as(ctypes.c_void_p)

    def encode(name, mode, x):
        code = np.empty(x.size, np.uint32)
        lib.encode(number[name], number[mode], pointer(x), pointer(code), ctypes.c_int64(x.size))
        return code

    def decode(name, code):
        x = np.empty(code.size, np.float32)
        lib.decode(number[name], pointer(code), pointer(x), ctypes.c_int64(code.size))
        return x

    return encode, decode


def type_bits(a):
    """An array of some type -> its codes."""
    return a.view(np.uint16 if a.dtype.itemsize == 2 else np.uint8).astype(np.uint32)


def reference_values(kind, bits):
    """Every code's value as f32, by the reference."""
    codes = np.arange(1 << bits)
    if np.dtype(kind).itemsize == 2:
        return codes.astype(np.uint16).view(kind).astype(np.float32)
    if kind in (ml.int4, np.int8):            # the reference stores a sign-extended byte
        codes = np.where(codes >> (bits - 1), codes - (1 << bits), codes)
        return codes.astype(np.int8).astype(kind).astype(np.float32)
    return codes.astype(np.uint8).view(kind).astype(np.float32)


def boundaries(name, values):
    """Values, midpoints, the tie where overflow begins, and their neighbours; both signs."""
    v = np.unique(np.abs(values[np.isfinite(values)].astype(np.float64)))
    beyond = 2 * v[-1] if name == "VQ_E8M0" else 2 * v[-1] - v[-2]
    v = np.append(v, beyond)
    mid = (v[1:] + v[:-1]) / 2
    b = np.concatenate([v[:-1], mid]).astype(np.float32)
    assert np.array_equal(b[v.size - 1:].astype(np.float64), mid)
    b = np.concatenate([b, np.nextafter(b, np.float32(np.inf)),
                        np.nextafter(b, np.float32(-np.inf))])
    return np.concatenate([b, -b])


def specials():
    bits = [0x00000000, 0x00000001, 0x003fffff, 0x00400000, 0x00400001, 0x005fffff, 0x00600000,
            0x00600001, 0x007fffff, 0x00800000, 0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fbfffff,
            0x7fc00000, 0x7fffffff]
    return np.array(bits + [b | 0x80000000 for b in bits], np.uint32).view(np.float32)


def spread(rng):
    """One random float from each of STRATA equal parts of every sign and exponent."""
    width = (1 << 23) // STRATA
    for sign_exponent in range(0, 512, CHUNK // STRATA):
        top = np.arange(sign_exponent, sign_exponent + CHUNK // STRATA, dtype=np.uint32) << 23
        part = np.arange(STRATA, dtype=np.uint32) * width
        u = (top[:, None] | part[None, :]).reshape(-1)
        u |= rng.integers(0, width, u.size, dtype=np.uint32)
        yield u.view(np.float32)


def reference_codes(name, kind, bits, largest, mode, x):
    """The codes by numpy or ml_dtypes, after what vq's manual says of the mode."""
    if name in ("VQ_INT8", "VQ_UINT8", "VQ_INT4", "VQ_UINT4"):
        low = -largest - 1 if kind in (np.int8, ml.int4) else np.float32(0)
        whole = np.clip(np.rint(np.where(np.isnan(x), np.float32(0), x)), low, largest)
        return type_bits(whole.astype(np.int32).astype(kind)) & ((1 << bits) - 1)
    if name == "VQ_UE4M3":                    # e4m3fn of what is not negative
        below = np.float32(0 if mode == "VQ_SATURATE" else np.nan)
        x = np.abs(np.where(x < 0, below, x))
    if mode == "VQ_SATURATE":
        low = -largest
        if name == "VQ_E8M0":                 # a zero becomes the smallest, a negative is NaN
            x = np.where(x == 0, np.float32(2.0 ** -127), x)
            low = np.float32(-np.inf)
        x = np.clip(x, low, largest)
    return type_bits(x.astype(kind))


def differing(name, x, want, largest_code):
    """The inputs for which vq and ml_dtypes are known to differ; vq's code for them; whether
    ml_dtypes' is the known one."""
    if name == "VQ_E8M0":                     # vq takes the nearest
        mask = (x > np.float32(2.0 ** -127)) & (x < np.float32(1.5 * 2.0 ** -127))
        return mask, 0, want == 1
    if name in ("VQ_E2M3", "VQ_E3M2", "VQ_E2M1"):      # a NaN: a zero of either sign there
        return np.isnan(x), largest_code, (want == 0) | (want == largest_code + 1)
    return np.zeros(x.size, bool), 0, np.zeros(x.size, bool)


def check_decode(name, kind, bits, decode):
    code = np.arange(1 << bits, dtype=np.uint32)
    want, got = reference_values(kind, bits), decode(name, code)
    if name == "VQ_UE4M3":
        want[0x80:] = np.nan
    same = (want.view(np.uint32) == got.view(np.uint32)) | (np.isnan(want) & np.isnan(got))
    for c in code[~same][:5]:
        print(f"    {name} {c:#x}: {got[c]!r}, not {want[c]!r}")
    return bool(same.all())


def check_encode(name, kind, bits, mode, x, nan_codes, largest, largest_code, encode):
    got, want = encode(name, mode, x), reference_codes(name, kind, bits, largest, mode, x)
    same = (got == want) | (nan_codes[got] & nan_codes[want])
    mask, ours, theirs = differing(name, x, want, largest_code)
    good = np.where(mask, (got == ours) & theirs, same)
    for i in np.flatnonzero(~good)[:5]:
        print(f"    {name} {mode} {x[i].item().hex()}: {got[i]:#x}, not {want[i]:#x}")
    return bool(good.all()), int(mask.sum())


def main():
    parser = argparse.ArgumentParser(description="the conversions of vq.h against ml_dtypes")
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    encode, decode = load()
    passed = failed = 0
    old = np.seterr(all="ignore")
    for name, kind, bits in FLOATS + INTEGERS:
        values = reference_values(kind, bits)
        finite = np.where(np.isfinite(values), values, -np.inf)
        largest, largest_code = finite.max(), int(finite.argmax())
        nan_codes = np.isnan(values)
        if name == "VQ_UE4M3":
            nan_codes[0x80:] = True
        edge = np.concatenate([boundaries(name, values), specials()])
        good = check_decode(name, kind, bits, decode)
        inputs, differ = 0, 0
        rng = np.random.default_rng(seed)
        for x in [edge, *spread(rng)]:
            inputs += x.size
            for mode in MODES:
                ok, n = check_encode(name, kind, bits, mode, x, nan_codes, largest, largest_code,
                                     encode)
                good &= ok
                differ += n
        known = f", {differ} differ as documented" if differ else ""
        print(f"  {name:12} {1 << bits:5} codes, {inputs} floats ({edge.size} edges) x 2{known}"
              f"  {'ok' if good else 'FAILED'}", flush=True)
        passed += good
        failed += not good
    np.seterr(**old)
    print(f"formats.py: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
