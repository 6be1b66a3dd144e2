#!/usr/bin/env python3
"""activations.py - silu, gelu, gelu_tanh and gelu_quick of every bf16 and f16, against mpmath

usage: activations.py [--bits N]

The definition: the real function's value, rounded once to the input's type, to nearest even. Here
it is computed with 320 bits, far more than it takes to tell on which side of a tie a value lies;
that it did is checked. A bf16 below 2^-60 in magnitude gives x/2, ties to even. f(-infinity) is
-0, f(infinity) infinity, f of a NaN a NaN. Two builds are compared: without the fma instruction,
and with all that this machine has. Needs a C compiler: $CC, else cc.
"""
import argparse
import ctypes
import os
import shlex
import subprocess
import sys
import tempfile

import mpmath
from mpmath import mpf

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

SNIPPET = """
#define VQ_IMPLEMENTATION
#include "vq.h"

void codes(int f, int is_f16, uint16_t *out)
{
    vq_dtype t = is_f16 ? VQ_F16 : VQ_BF16;
    for (uint32_t c = 0; c < 65536u; c++) {
        float x = vq_decode(t, c);
        float y = f == 0 ? vq__silu16(x, t) : f == 1 ? vq__gelu16(x, t) :
                  f == 2 ? vq__gelu_tanh16(x, t) : vq__gelu_quick16(x, t);
        out[c] = (uint16_t)vq_encode(t, y, VQ_NONFINITE);
    }
}
"""

BUILDS = [
    ("plain", ["-std=c99", "-O2"]),
    ("native", ["-std=gnu99", "-O3", "-march=native", "-ffp-contract=fast"]),
]

# a type's name: bits of its mantissa, its bias
TYPES = {"bf16": (7, 127), "f16": (10, 15)}


def silu(x):
    return x / (1 + mpmath.exp(-x))


def gelu(x):
    return x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def gelu_tanh(x):
    u = mpmath.sqrt(2 / mpmath.pi) * (x + x ** 3 * 44715 / 1000000)
    return x / (1 + mpmath.exp(-2 * u))                 # tanh(u) = 2 / (1 + e^-2u) - 1


def gelu_quick(x):
    return x / (1 + mpmath.exp(-x * 1702 / 1000))


FUNCTIONS = [silu, gelu, gelu_tanh, gelu_quick]         # numbered as in the snippet


def decode(code, mbits, bias):
    """The magnitude of a finite code, as m * 2^e in whole numbers."""
    exponent, m = (code & 0x7fff) >> mbits, code & ((1 << mbits) - 1)
    return (m | 1 << mbits, exponent - bias - mbits) if exponent else (m, 1 - bias - mbits)


def encode(m, e, mbits, bias, exact):
    """m * 2^e >= 0 to the nearest code, ties to even. exact: a tie is one; else it is a value
    whose side of the tie is in doubt."""
    if m == 0:
        return 0
    step = max(e + m.bit_length() - 1, 1 - bias) - mbits             # the last bit's weight
    if step <= e:
        code = m << (e - step)
    else:
        drop = step - e
        code, rest = m >> drop, m & ((1 << drop) - 1)
        away = abs(2 * rest - (1 << drop))
        if not exact and away << (mpmath.mp.prec - 40) < m:
            raise ArithmeticError("the precision does not tell the side of a tie: more --bits")
        if 2 * rest > 1 << drop or (2 * rest == 1 << drop and code & 1):
            code += 1
    return min(code + ((step + mbits + bias - 1) << mbits), ((1 << 15) - (1 << mbits)))


def answer(f, code, mbits, bias):
    """What f makes of a code; None is a NaN."""
    sign, infinity = code & 0x8000, (1 << 15) - (1 << mbits)
    mag = code & 0x7fff
    if mag >= infinity:
        return None if mag > infinity else 0x8000 if sign else infinity
    m, e = decode(code, mbits, bias)
    if m == 0:
        return code
    if mbits == 7 and m.bit_length() + e <= -60:        # bf16 below 2^-60
        return sign | encode(m, e - 1, mbits, bias, True)
    x = mpf(m) * mpf(2) ** e
    if x > 300:                                         # 0 < |x| e^-300 < a hair: no rounding
        return 0x8000 if sign else code                 # sees it, from below x or beside 0
    y = f(-x if sign else x)
    return sign | encode(int(y.man), int(y.exp), mbits, bias, False)


def load(flags):
    """The codes by one build of vq.h: a function of f's number and the type's name."""
    with tempfile.TemporaryDirectory() as place:
        source, library = os.path.join(place, "act.c"), os.path.join(place, "act.so")
        with open(source, "w", encoding="ascii") as f:
            f.write(SNIPPET)
        subprocess.run(shlex.split(os.environ.get("CC", "cc")) + flags +
                       ["-fPIC", "-shared", "-I", ROOT, source, "-o", library, "-ldl"], check=True)
        lib = ctypes.CDLL(library)

    def codes(number, name):
        out = (ctypes.c_uint16 * 65536)()
        lib.codes(number, int(name == "f16"), out)
        return list(out)

    return codes


def same(got, want, mbits):
    if want is not None:
        return got == want
    nan = got & 0x7fff > (1 << 15) - (1 << mbits)
    return nan and bool(got & 1 << (mbits - 1))         # a quiet one


def main():
    parser = argparse.ArgumentParser(description="activations of 16-bit inputs against mpmath")
    parser.add_argument("--bits", type=int, default=320)
    mpmath.mp.prec = parser.parse_args().bits
    builds = [(name, load(flags)) for name, flags in BUILDS]
    passed = failed = 0
    for name, (mbits, bias) in TYPES.items():
        for number, f in enumerate(FUNCTIONS):
            want = [answer(f, code, mbits, bias) for code in range(65536)]
            text, good = [], True
            for build, codes in builds:
                got = codes(number, name)
                wrong = [c for c in range(65536) if not same(got[c], want[c], mbits)]
                for c in wrong[:5]:
                    print(f"    {build}: {f.__name__} of {name} {c:#06x}: {got[c]:#06x}, "
                          f"not {'a NaN' if want[c] is None else format(want[c], '#06x')}")
                text.append(f"{build} {len(wrong)} differ")
                good &= not wrong
            print(f"  {name:4} {f.__name__:10} 65536 inputs: {', '.join(text)}"
                  f"  {'ok' if good else 'FAILED'}", flush=True)
            passed += good
            failed += not good
    print(f"activations.py: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
