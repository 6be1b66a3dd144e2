#!/usr/bin/env python3
"""hip_report.py - what the compiler made of the kernels for AMD: registers, memory, instructions

   HIPCC=hipcc tests/hip_report.py [--archs "gfx90a gfx942 gfx950 gfx1100 gfx1201"] [--kernels FILE]
       [--flags FLAGS]

Compiles vq_kernels.hip to assembly, as `make hip` does, and reads it: no GPU. Exits 1 when a kernel
spills a register or needs scratch memory, and 77 without a HIP compiler.

  vgpr agpr sgpr  registers of a lane, of a wave
  lds             bytes of shared memory a block, without what a launch adds
  scratch         bytes of memory a lane: fails
  spills          registers of lanes + of waves (these go to lanes of a vgpr): fail
  load store      of the hot path, bytes a lane: "16x2 1" is two of 16 bytes and one of 1
  valu            vector instructions in the hot path, and of them those at a quarter of the rate
  valu/el         of them, those an element costs
  MI300X MI355X   predicted microseconds for 2^20 elements, and what bounds them

The hot path is the outermost loop that touches device memory most, else the kernel; instructions of
a branch or a loop in it count once, and then `valu` has a "+". How many elements a lane handles each
time round is in the comment above the kernel, as "report 16 elements"; without that line the last
columns are "-".

The prediction is the larger of bytes / bandwidth and vector instructions / their rate, a quarter-rate
one counting as four; nothing was measured. It knows no latency, no cache, no launch. A CU starts 64
lanes a cycle."""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ARCHS = "gfx90a gfx942 gfx950 gfx1100 gfx1201"
MISSING = 77

# The machine that an architecture's code is for: name, CUs, bytes a second, cycles a second.
MACHINES = {"gfx942": ("MI300X", 304, 5.3e12, 2.1e9), "gfx950": ("MI355X", 256, 8.0e12, 2.4e9)}
LANES = 64

SLOW = re.compile(r"v_(rcp|rsq|sqrt|exp|log|sin|cos|mul_lo_u32|mul_hi_|mad_u64_u32|mad_i64_i32|div_f64)"
                  r"(?!.*legacy)")
ACCESS = re.compile(r"(?:global|flat)_(load|store)_(?:d16_)?(?:hi_)?"
                    r"(dwordx[234]|dword|[ui]?s?byte|[us]?short|[bui](?:8|16|32|64|96|128))")


def width(text):
    if text.startswith("dword"): return 4 * int(text[6:] or 1)
    if "byte" in text: return 1
    if "short" in text: return 2
    return int(text[1:]) // 8


def elements_of(source):
    """The "report N elements" of each kernel, by its name without template arguments."""
    found = {}
    for m in re.finditer(r"/\*((?:(?!\*/).)*)\*/\s*(?:template\s*<[^>]*>\s*)?static\s+__global__"
                         r"[^{;]*?\b(k_\w+)\s*\(", source, re.S):
        n = re.search(r"\breport\s+(\d+)\s+elements?\b", m[1])
        if n: found[m[2]] = int(n[1])
    return found


def metadata(text):
    """The kernels of the assembly's amdhsa metadata: name -> key -> number."""
    kernels, one = {}, {}
    for line in text[text.index("amdhsa.kernels:"):].splitlines():
        m = re.match(r"(  - |    )\.(\w+):\s*(\S*)", line)
        if not m: continue
        if m[1] == "  - ": one = {}
        one[m[2]] = int(m[3]) if m[3].isdigit() else m[3].strip("'\"")
        if m[2] == "name": kernels[one["name"]] = one
    return kernels


def demangled(names):
    tool = shutil.which("llvm-cxxfilt") or shutil.which("c++filt")
    shown = {n: n for n in names}
    if tool and names:
        out = subprocess.run([tool], input="\n".join(names), capture_output=True, text=True).stdout
        shown = dict(zip(names, out.splitlines()))
    for n, text in shown.items():
        m = re.search(r"\bk_\w+", text)
        if not m: continue
        end, depth = m.end(), 0
        while end < len(text) and (depth or text[end] == "<"):       # its template arguments
            depth += {"<": 1, ">": -1}.get(text[end], 0)
            end += 1
        shown[n] = re.sub(r"\((\w+)\)(\d+)", r"\2", text[m.start():end])
        if shown[n] == n[m.start():] and re.match(r"_ZL?\d", n):    # nothing here can demangle
            m = re.match(r"_ZL?(\d+)", n)
            shown[n] = n[m.end():m.end() + int(m[1])]
    return shown


def loops(follows):
    """The outermost loops: sets of blocks each of which can be reached from each."""
    reach = []
    for i in range(len(follows)):
        seen, todo = set(), list(follows[i])
        while todo:
            n = todo.pop()
            if n not in seen:
                seen.add(n)
                todo += follows[n]
        reach.append(seen)
    return {frozenset(j for j in reach[i] if i in reach[j]) for i in range(len(follows)) if i in reach[i]}


class Body:
    """The instructions of a kernel, and which of them are its hot path."""

    def __init__(self, text, name):
        start = text.index(f"\n{name}:")
        blocks, at, labels = [[]], 0, {}
        for line in text[start:text.index(".Lfunc_end", start)].splitlines():
            line = line.split(";")[0].strip()
            label = re.match(r"(\.LBB\w+):", line)
            if label or (blocks[at] and re.match(r"s_(c?branch|endpgm|setpc)", blocks[at][-1])):
                blocks.append([])
                at += 1
            if label: labels[label[1]] = at
            elif re.match(r"[a-z]+_", line): blocks[at].append(line)
        follows = []
        for i, block in enumerate(blocks):
            last = block[-1] if block else ""
            to = [i + 1] if i + 1 < len(blocks) and not re.match(r"s_(branch|endpgm|setpc)", last) else []
            m = re.match(r"s_c?branch\w*\s+(\S+)", last)
            follows.append(to + ([labels[m[1]]] if m and m[1] in labels else []))
        everything = range(len(blocks))
        hot = max(loops(follows), key=lambda l: self.touches(blocks, l), default=everything)
        if not self.touches(blocks, hot): hot = everything
        self.hot = [x for i in sorted(hot) for x in blocks[i]]
        self.calls = any(x.startswith("s_swappc") for block in blocks for x in block)
        self.upper = self.calls or sum(x.startswith("s_cbranch") for x in self.hot) > 1

    @staticmethod
    def touches(blocks, which):
        return sum(bool(ACCESS.match(x)) for i in which for x in blocks[i])

    def accesses(self, what):
        found = [ACCESS.match(x) for x in self.hot]
        return [width(m[2]) for m in found if m and m[1] == what]

    def valu(self):
        v = [x for x in self.hot if x.startswith("v_") and not re.match(r"v_(s?mfma|wmma|nop)", x)]
        return len(v), sum(bool(SLOW.match(x)) for x in v)


def listed(widths):
    counts = {w: widths.count(w) for w in sorted(set(widths), reverse=True)}
    return " ".join(f"{w}x{n}" if n > 1 else str(w) for w, n in counts.items()) or "-"


def report(arch, text, elements):
    kernels, bad = metadata(text), 0
    shown = demangled(list(kernels))
    machine = MACHINES.get(arch)
    head = ["kernel", "vgpr", "agpr", "sgpr", "lds", "scratch", "spills", "load", "store", "valu", "slow",
            "valu/el"] + ([machine[0]] if machine else [])
    rows = []
    for name, k in kernels.items():
        body = Body(text, name)
        spills = [k.get("vgpr_spill_count", 0), k.get("sgpr_spill_count", 0)]
        scratch = k.get("private_segment_fixed_size", 0)
        fails = any(spills) or scratch > 0 or k.get("uses_dynamic_stack") == "true"
        bad += fails
        valu, slow = body.valu()
        n = elements.get(shown[name].split("<")[0])
        load, store = body.accesses("load"), body.accesses("store")
        row = [shown[name], k["vgpr_count"], k.get("agpr_count", 0), k["sgpr_count"],
               k["group_segment_fixed_size"], scratch, f"{spills[0]}+{spills[1]}",
               listed(load), listed(store),
               f"{valu}{'+' if body.upper else ''}", slow, f"{valu / n:.1f}" if n else "-"]
        if machine:
            memory = n and (sum(load) + sum(store)) / n / machine[2]
            issue = n and (valu + 3 * slow) / n / (machine[1] * LANES * machine[3])
            row.append(f"{max(memory, issue) * 2**20 * 1e6:.2f} {'valu' if issue > memory else 'memory'}"
                       if n else "-")
        rows.append([*map(str, row), "    FAILS" if fails else ""])
    wide = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    print(f"\n{arch}" + (f": {machine[0]}, {machine[1]} CUs of {LANES} lanes, {machine[2] / 1e12:g} TB/s, "
                         f"{machine[3] / 1e9:g} GHz; predicted, not measured" if machine else ""))
    for r in [head + [""], *rows]:
        cells = [c.ljust(w) if i in (0, 7, 8) else c.rjust(w) for i, (c, w) in enumerate(zip(r, wide))]
        print(("  " + "  ".join(cells) + r[-1]).rstrip())
    return bad, len(kernels)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--archs", default=ARCHS)
    p.add_argument("--kernels", default=os.path.join(ROOT, "vq_kernels.hip"))
    p.add_argument("--flags", default="", type=str.split)
    a = p.parse_args()
    hipcc = os.environ.get("HIPCC", "hipcc")
    if not shutil.which(hipcc):
        print(f"hip_report.py: not run, it needs a HIP compiler: {hipcc} is not installed (HIPCC names one)")
        return MISSING
    with open(a.kernels) as f: elements = elements_of(f.read())
    bad = total = 0
    with tempfile.TemporaryDirectory() as scratch:
        for arch in a.archs.split():
            out = os.path.join(scratch, f"{arch}.s")
            subprocess.check_call([hipcc, "-O3", "-std=c++17", f"--offload-arch={arch}", "-ffp-contract=off",
                                   f'-DVQ_KERNEL_ARCHS="{arch}"', "-I", ROOT, "--cuda-device-only",
                                   "--no-gpu-bundle-output", "-S", *a.flags, a.kernels, "-o", out])
            with open(out) as f: fails, n = report(arch, f.read(), elements)
            bad, total = bad + fails, total + n
    print(f"\nhip_report: {total - bad} passed, {bad} failed" + (": spills or scratch memory" if bad else ""))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
