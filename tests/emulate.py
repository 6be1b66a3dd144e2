#!/usr/bin/env python3
"""emulate.py - the kernels' AMD machine code, executed without an AMD GPU: the reference's bytes

   VQ_TINYGRAD=PATH tests/emulate.py [--archs "gfx942 gfx950 gfx1100 gfx1201"] [--seconds S]
       [--least N] [--seed N] [--from N] [--runs N] [--only OP] [--kernels FILE] [--exact]
       [--flags FLAGS]

Not part of `make test`. It needs
  * a checkout of tinygrad, whose emulator of AMD instructions this drives: VQ_TINYGRAD is its
    folder. Commit a9069c17 is known to work. Nothing in it is changed or installed.
  * python 3.11, and clang on the path, which tinygrad compiles each instruction with
  * a HIP compiler that knows the architectures: HIPCC, or hipcc on the path
and exits with 77 when one of them is not there.

Per architecture vq_kernels.hip is compiled as `make hip` does, host side and device side. The host
side runs against the HIP runtime of emulate/runtime.c; what it launches is executed, instruction by
instruction, and every op that has kernels is run by tests/standin/differ.h, which makes arguments
up and compares all bytes with the reference's. It passes when no byte differs, no access left its
allocation, and every kernel in the code object was launched. An instruction that is not known
ends the run and is named.

--exact: v_rcp, v_rsq and v_sqrt are correctly rounded; else they are off by a unit now and then, as
on the hardware. --flags adds to the compiler's, for the portable twins of what is AMD's alone.

What this does not show: time, races between waves (they run one after the other; tests/standin is
for that), how the hardware rounds v_exp and v_log (named when a kernel has them), matrix
instructions, and gfx90a."""
import argparse
import ctypes
import os
import re
import shutil
import struct
import subprocess
import sys

from hip_report import demangled

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
ARCHS = "gfx942 gfx950 gfx1100 gfx1201"
MISSING = 77


class Unknown(Exception):
    pass


# --- what it needs ---------------------------------------------------------------------------

def missing():
    tinygrad = os.environ.get("VQ_TINYGRAD")
    if not tinygrad:
        return "a checkout of tinygrad, which VQ_TINYGRAD names (on GitHub: tinygrad/tinygrad)"
    if not os.path.exists(os.path.join(tinygrad, "test/mockgpu/amd/emu.py")):
        return f"a checkout of tinygrad: {tinygrad} has no test/mockgpu/amd/emu.py"
    if sys.version_info < (3, 11):
        return "python 3.11"
    for tool in ("clang", os.environ.get("HIPCC", "hipcc")):
        if not shutil.which(tool):
            return f"{tool}, which is not installed" + ("" if tool == "clang" else " (HIPCC names another)")
    return None


def build(arch, kernels, flags):
    """One library: emulate/runtime.c, and the kernels with their host side."""
    hipcc = os.environ.get("HIPCC", "hipcc")
    where = os.path.join(ROOT, "build", "emulate")
    os.makedirs(where, exist_ok=True)
    runtime, code = os.path.join(where, "runtime.o"), os.path.join(where, f"kernels_{arch}.o")
    library = os.path.join(where, f"libvq_{arch}.so")
    common = ["-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-Wall", "-Wextra", "-I", ROOT]
    subprocess.check_call([hipcc, "-x", "c", "-std=gnu99", "-D__HIP_PLATFORM_AMD__", "-O2", "-g", *common,
                           "-c", os.path.join(HERE, "emulate", "runtime.c"), "-o", runtime])
    subprocess.check_call([hipcc, "-O3", "-std=c++17", f"--offload-arch={arch}",
                           f'-DVQ_KERNEL_ARCHS="{arch}"', *common, *flags, "-c", kernels, "-o", code])
    subprocess.check_call([os.environ.get("CXX", "c++"), "-shared", runtime, code, "-o", library,
                           "-ldl", "-lm", "-lpthread"])
    return library


# --- the code object -------------------------------------------------------------------------

def unpack(b, i=0):
    """msgpack: a value, and where it ends."""
    c, i = b[i], i + 1

    def many(n, i):
        out = []
        for _ in range(n):
            v, i = unpack(b, i)
            out.append(v)
        return out, i

    def table(n, i):
        flat, i = many(2 * n, i)
        return dict(zip(flat[::2], flat[1::2])), i

    def number(width, i, signed=False):
        return int.from_bytes(b[i:i + width], "big", signed=signed), i + width

    if c < 0x80: return c, i
    if c < 0x90: return table(c & 15, i)
    if c < 0xa0: return many(c & 15, i)
    if c < 0xc0: return b[i:i + (c & 31)].decode(), i + (c & 31)
    if c in (0xc0, 0xc2, 0xc3): return {0xc0: None, 0xc2: False, 0xc3: True}[c], i
    if 0xcc <= c <= 0xcf: return number(1 << c - 0xcc, i)
    if 0xd0 <= c <= 0xd3: return number(1 << c - 0xd0, i, True)
    if c >= 0xe0: return c - 256, i
    width = {0xd9: 1, 0xda: 2, 0xdb: 4, 0xdc: 2, 0xdd: 4, 0xde: 2, 0xdf: 4}[c]
    n, i = number(width, i)
    if c <= 0xdb: return b[i:i + n].decode(), i + n
    return many(n, i) if c <= 0xdd else table(n, i)


def device_code(at, arch):
    """Of the offload bundle at this address, the ELF file of the architecture."""
    head = ctypes.string_at(at, 32)
    if head[:24] != b"__CLANG_OFFLOAD_BUNDLE__":
        raise Unknown("the kernels are not in an offload bundle that is uncompressed")
    where = at + 32
    for _ in range(struct.unpack_from("<Q", head, 24)[0]):
        offset, size, length = struct.unpack("<QQQ", ctypes.string_at(where, 24))
        triple = ctypes.string_at(where + 24, length).decode()
        where += 24 + length
        if triple.startswith("hip") and re.search(arch + r"(:|$)", triple):
            return ctypes.string_at(at + offset, size)
    raise Unknown(f"the kernels were not compiled for {arch}")


class Code:
    """An ELF file, loaded: its kernels, and where they lie."""

    def __init__(self, b):
        programs, sections = struct.unpack_from("<QQ", b, 32)
        n, = struct.unpack_from("<H", b, 56)
        ph = [struct.unpack_from("<IIQQQQQQ", b, programs + 56 * i) for i in range(n)]
        self.size = max(p[3] + p[6] for p in ph if p[0] == 1) + 4096
        self.memory = ctypes.create_string_buffer(self.size + 4096)
        self.base = (ctypes.addressof(self.memory) + 4095) & ~4095
        for p in ph:
            if p[0] == 1: ctypes.memmove(self.base + p[3], b[p[2]:p[2] + p[5]], p[5])
        meta = {}
        for p in ph:
            if p[0] != 4: continue
            i = p[2]
            while i + 12 <= p[2] + p[5]:
                name, desc, kind = struct.unpack_from("<III", b, i)
                i += 12 + (name + 3 & ~3)
                if kind == 32: meta = unpack(b[i:i + desc])[0]
                i += desc + 3 & ~3
        self.kernels = {k[".name"]: k for k in meta["amdhsa.kernels"]}
        n, = struct.unpack_from("<H", b, 60)
        sh = [struct.unpack_from("<IIQQQQIIQQ", b, sections + 64 * i) for i in range(n)]
        symbols = []
        self.symbol = {}
        for s in sh:
            if s[1] != 11: continue
            for i in range(s[5] // 24):
                name, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", b, s[4] + 24 * i)
                start = sh[s[6]][4] + name
                symbols.append(value)
                self.symbol[b[start:b.index(b"\0", start)].decode()] = value
        for s in sh:
            if s[1] != 4: continue
            for i in range(s[5] // 24):
                at, info, add = struct.unpack_from("<QQq", b, s[4] + 24 * i)
                if info & 0xffffffff not in (3, 13): raise Unknown(f"a relocation {info & 0xffffffff}")
                add += symbols[info >> 32] if info & 0xffffffff == 3 else 0
                ctypes.memmove(self.base + at, struct.pack("<Q", self.base + add), 8)


# --- instructions ------------------------------------------------------------------------------

INTS = """size kind from_ to scaled s0 s1 s2 vdst sel abs neg scalar0 space store bytes count sign half
          acc returns beside offset0 offset1""".split()


class Op(ctypes.Structure):
    _fields_ = ([(n, ctypes.c_int32) for n in INTS]
                + [("literal", ctypes.c_uint32), ("shadow", ctypes.c_uint32 * 4),
                   ("order", ctypes.c_uint8 * 8), ("plain", ctypes.c_void_p)])


class Entry(ctypes.Structure):
    _fields_ = [("own", ctypes.c_void_p), ("plain", ctypes.c_void_p), ("op", ctypes.c_void_p),
                ("order", ctypes.c_uint8 * 6), ("barrier", ctypes.c_uint8), ("pad", ctypes.c_uint8)]


class Launch(ctypes.Structure):
    _fields_ = [("entry", ctypes.c_uint64), ("kernarg", ctypes.c_uint64), ("grid", ctypes.c_uint32 * 3),
                ("block", ctypes.c_uint32 * 3), ("lds", ctypes.c_uint32), ("scratch", ctypes.c_uint32),
                ("user", ctypes.c_uint32 * 32), ("users", ctypes.c_uint32),
                ("id_at", ctypes.c_uint32 * 3), ("id_shift", ctypes.c_uint32 * 3),
                ("id_mask", ctypes.c_uint32 * 3), ("reversed", ctypes.c_int32)]


# The suffix of a load or store: bytes, signed, and which half of the register (0: all of it).
WIDTHS = {"U8": (1, 0), "I8": (1, 1), "B8": (1, 0), "U16": (2, 0), "I16": (2, 1), "B16": (2, 0),
          "B32": (4, 0), "B64": (8, 0), "B96": (12, 0), "B128": (16, 0), "UBYTE": (1, 0), "SBYTE": (1, 1),
          "BYTE": (1, 0), "USHORT": (2, 0), "SSHORT": (2, 1), "SHORT": (2, 0), "DWORD": (4, 0),
          "DWORDX2": (8, 0), "DWORDX3": (12, 0), "DWORDX4": (16, 0)}
ATOMICS = "SWAP CMPSWAP ADD SUB SMIN UMIN SMAX UMAX AND OR XOR INC DEC".split()
FORMATS = {n: i for i, n in enumerate("FP8 BF8 FP4 FP6 BF6 FP8Z BF8Z F32 F16 BF16".split())}
LANES = "V_PERMLANE16_B32 V_PERMLANEX16_B32 V_PERMLANE64_B32 V_PERMLANE16_SWAP_B32 " \
        "V_PERMLANE32_SWAP_B32 DS_SWIZZLE_B32".split()


def width_of(text):
    half = 2 if "_HI" in text else 1 if "D16" in text else 0
    text = re.sub(r"^D16_|_D16|_HI|HI_", "", text)
    return (*WIDTHS[text], half) if text in WIDTHS else None


def signed(value, bits):
    return value - (1 << bits) if value >> bits - 1 else value


class Machine:
    """Decodes what the C half meets."""

    def __init__(self, library, arch):
        sys.path.insert(0, os.environ["VQ_TINYGRAD"])
        os.environ.setdefault("DEV", "CPU")
        import test.mockgpu.amd.emu as emu
        import test.mockgpu.amd.pcode as pcode
        from tinygrad.dtype import dtypes
        from tinygrad.uop.ops import Ops, UOp
        self.emu, self.lib, self.arch = emu, library, arch
        self.family = "cdna" if arch.startswith("gfx9") else "rdna4" if arch.startswith("gfx12") else "rdna3"
        self.width = 64 if self.family == "cdna" else 32
        self.kept, self.decoded, self.hardware, self.failed = [], {}, set(), None

        # One rounding, whatever the compiler of the host would make of a * b + c.
        def fma(a, b, c, before=pcode._FUNCS["fma"]):
            call = {dtypes.float32: "__builtin_fmaf", dtypes.float64: "__builtin_fma"}.get(a.dtype)
            if not call or b.dtype != a.dtype or c.dtype != a.dtype: return before(a, b, c)
            return UOp(Ops.CUSTOMI, a.dtype, (a, b, c), call + "({0},{1},{2})")
        pcode._FUNCS["fma"] = fma

    def function(self, name):
        return ctypes.cast(getattr(self.lib, name), ctypes.c_void_p).value

    def decode(self, pc):
        """The callback of run_wave(): 0, or 1 and `failed` says why."""
        try:
            raw = ctypes.string_at(pc, 16)
            entry = self.decoded.get(raw)
            if entry is None: entry = self.decoded[raw] = self.entry_of(raw)
            self.lib.emulate_entry(ctypes.c_uint64(pc), ctypes.byref(entry))
            return 0
        except Exception as e:
            self.lib.emulate_fault(f"{type(e).__name__}: {e}".encode())
            return 1

    def own(self, function, o):
        self.kept.append(o)
        return Entry(own=self.function(function), op=ctypes.addressof(o))

    def plain(self, raw):
        program, runtime = self.emu._get_runner(raw, self.family)
        order = list(program.arg.globals)
        return ctypes.cast(runtime.fxn, ctypes.c_void_p).value, order + [0] * (6 - len(order))

    def entry_of(self, raw):
        words = struct.unpack("<4I", raw)
        flush = self.cache_control(words)
        if flush: return self.own("op_nothing", Op(size=flush))
        moved = self.dpp(words)
        if moved: return moved
        inst = self.emu.decode_inst(raw, self.family)
        name = self.emu._op_name(inst)
        e = self.known(inst, name) or self.lengthened(inst, name, words)
        if not e:
            if re.match(r"V_MFMA|V_SMFMA|V_WMMA|S_GETREG|S_SETREG|DS_ADD_GS|S_SENDMSG|S_BUFFER|BUFFER_|"
                        r".*_ATOMIC|GLOBAL_LOAD_(LDS|TR)|DS_READ.*_TR_|S_TRAP|.*_CVT_.*(FP8|BF8|FP4|FP6|BF6)",
                        name) and name != "S_SENDMSG_DEALLOC":
                if not (name == "S_SENDMSG" and words[0] & 0xffff == 3):      # dealloc_vgprs
                    raise Unknown(f"{name} is not emulated")
            if re.match(r"V_(S_)?(EXP|LOG|SIN|COS|RCP|RSQ|SQRT)_F(16|32|64)", name):
                self.hardware.add(name.lower())
            fxn, order = self.plain(raw[:inst.size() + 4])
            e = Entry(plain=fxn, order=(ctypes.c_uint8 * 6)(*order))
        e.barrier = name in ("S_BARRIER", "S_BARRIER_WAIT")
        return e

    def cache_control(self, words):
        """Sizes of the instructions that order memory, where waves run one after the other."""
        w = words[0]
        if self.family == "rdna3" and w >> 26 == 0x38 and w >> 18 & 0xff in (0x2b, 0x2c): return 8
        if self.family == "rdna4" and w >> 24 == 0xee and w >> 14 & 0xff in (0x2b, 0x2c, 0x4f): return 12
        if self.family == "cdna" and w >> 26 == 0x38 and w >> 18 & 0x7f in (0x28, 0x29): return 8
        return 0

    def dpp(self, words):
        """An instruction whose source comes from other lanes: itself, with a register instead."""
        w, at = words[0], None
        if w >> 31 == 0 or w >> 25 in (0x3e, 0x3f): at = 0
        elif self.family != "cdna" and (w >> 26 == 0x35 or w >> 24 == 0xcc): at = 1
        if at is None: return None
        form = words[at] & 0x1ff
        if form not in ((0xfa,) if self.family == "cdna" else (0xfa, 0xe9, 0xea)): return None
        c = words[at + 1]
        shadow = [*words[:at], words[at] & ~0x1ff | 0x1ff]
        o = Op(size=4 * (at + 2), s0=c & 255)
        if form == 0xfa:
            if c >> 22 & 3: raise Unknown("DPP with a modifier of the second source")
            o.sel, o.s1, o.s2, o.neg, o.abs = c >> 8 & 0x1ff, c >> 28, c >> 24 & 15, c >> 20 & 1, c >> 21 & 1
            o.kind = (c >> 19 & 1) | (c >> 18 & 1) << 1 | (4 if self.family == "cdna" else 0)
        else:
            o.sel, o.s1, o.s2, o.kind = c >> 8, 15, 15, 8 | 1 | (2 if form == 0xea else 0)
        return self.shadowed("op_dpp", o, shadow)

    def shadowed(self, function, o, shadow):
        o.shadow = (ctypes.c_uint32 * 4)(*shadow)
        o.plain, order = self.plain(struct.pack(f"<{len(shadow) + 1}I", *shadow, 0))
        o.order = (ctypes.c_uint8 * 8)(*order)
        return self.own(function, o)

    def lengthened(self, inst, name, words):
        """gfx9, 16 bits, a register from v128 on: tinygrad takes it for the upper half of another, as
        it is on gfx11, but not in the long form of the instruction."""
        kind, w = type(inst).__name__, words[0]
        if "SDWA" in kind:
            c = words[1]
            into = "VOPC" not in kind and (c >> 13 & 7 or c >> 8 & 7 != 6 and c >> 11 & 3 == 1)
            if c >> 20 & 3 or c >> 28 & 3 or into: raise Unknown(f"{name} with modifiers")
        if self.family != "cdna" or not re.match(r"VOP(1|2|C)$|VOP[12]_LIT$", kind): return None
        if 16 not in (inst.canonical_op_bits.get("d"), inst.canonical_op_bits.get("s0")): return None
        one, compare = kind.startswith("VOP1"), kind == "VOPC"
        source, dest, second = w & 0x1ff, 106 if compare else w >> 17 & 255, 0 if one else w >> 9 & 255
        if source < 384 and (compare or dest < 128) and second < 128: return None
        if re.search("FMAA|FMAM|MADA|MADM", name): raise Unknown(f"{name} with registers from v128 on")
        o = Op(size=inst.size(), literal=words[1])
        code = w >> 9 & 255 | 0x140 if one else w >> 17 & 255 if compare else w >> 25 & 63 | 0x100
        long = [0x34 << 26 | code << 16 | dest, (0x1ff if source == 255 else source)
                | (0 if one else 256 + second << 9)]
        return self.shadowed("op_long", o, long)

    def known(self, inst, name):
        """The entry of an instruction that emulate/runtime.c has, or None."""
        kind = type(inst)
        bits = int.from_bytes(inst.to_bytes(), "little")

        def field(f, otherwise=0):
            d = getattr(kind, f, None)
            return otherwise if d is None else bits >> d.lo & (1 << d.hi - d.lo + 1) - 1

        def wide(f):
            d = getattr(kind, f)
            return d.hi - d.lo + 1

        o = Op(size=inst.size(), literal=field("literal"))
        base = re.sub(r"_E(32|64)$", "", name)
        jumps = ("S_GETPC_B64", "S_SETPC_B64", "S_SWAPPC_B64", "S_CALL_B64")
        if name in jumps:
            o.kind, o.vdst, o.s0 = jumps.index(name), field("sdst"), field("ssrc0")
            if o.kind == 3: o.sel = signed(field("simm16"), 16)
            return self.own("op_pc", o)
        m = re.match(r"S_LOAD_(U8|I8|U16|I16|B32|B64|B96|B128|B256|B512|DWORD|DWORDX(\d+))$", name)
        if m:
            o.bytes = (4 * int(m[2]) if m[2] else 4 if m[1] == "DWORD" else int(m[1][1:]) // 8)
            o.sign, o.s0, o.vdst, o.s1 = m[1][0] == "I", 2 * field("sbase"), field("sdata"), -1
            f = "ioffset" if hasattr(kind, "ioffset") else "offset"
            o.offset0 = signed(field(f), wide(f))
            if self.family == "cdna":
                if not field("imm"): o.offset0 = 0
                if field("soffset_en"): o.s1 = field("soffset")
                elif not field("imm"): raise Unknown(f"{name} with an offset in a register")
            elif field("soffset") < 124: o.s1 = field("soffset")
            return self.own("op_scalar_load", o)
        m = re.match(r"(GLOBAL|FLAT|SCRATCH)_(LOAD|STORE|ATOMIC)_(\w+)$", name)
        if m: return self.memory(o, m, field, wide, kind)
        m = re.match(r"DS_(READ|LOAD|WRITE|STORE)(2ST64|2|_2ADDR_STRIDE64|_2ADDR)?_(\w+)$", name)
        if m and width_of(m[3]):
            o.space, o.store, o.count = 1, m[1] in ("WRITE", "STORE"), 2 if m[2] else 1
            o.bytes, o.sign, o.half = width_of(m[3])
            by = o.bytes * (64 if "64" in (m[2] or "") else 1)
            o.offset0 = field("offset0") * by if m[2] else field("offset1") << 8 | field("offset0")
            o.offset1 = field("offset1") * by
            o.s0, o.s1, o.acc = field("addr"), -1, field("acc")
            o.vdst = field("data0") if o.store else field("vdst")
            o.s2 = field("data1")
            return self.own("op_memory", o)
        m = re.match(r"DS_(ADD|SUB|MIN|MAX|AND|OR|XOR|INC|DEC|WRXCHG|STOREXCHG|CMPST|CMPSTORE)(_NUM)?(_RTN)?"
                     r"_([BUIF](?:32|64))$", name)
        if m:
            o.space, o.store, o.bytes, o.returns = 1, 1, int(m[4][1:]) // 8, bool(m[3])
            o.offset0, o.s0, o.s1 = field("offset1") << 8 | field("offset0"), field("addr"), -1
            o.s2, o.beside, o.vdst = field("data0"), field("data1"), field("vdst")
            if m[1] == "CMPST": o.s2, o.beside = o.beside, o.s2
            what = {"WRXCHG": "SWAP", "STOREXCHG": "SWAP", "CMPST": "CMPSWAP", "CMPSTORE": "CMPSWAP"}
            return self.atomic(o, what.get(m[1], m[1]) + "_" + m[4])
        if base in LANES:
            o.kind, o.vdst, o.s1, o.s2 = LANES.index(base), field("vdst"), field("src1"), field("src2")
            o.s0, o.sel = field("src0") - 256, field("opsel")
            if o.kind == 5: o.s0, o.sel = field("addr"), field("offset1") << 8 | field("offset0")
            return self.own("op_lanes", o)
        m = re.match(r"V_(S_)?(?:(RCP|RSQ|SQRT)(?:_IFLAG)?|CVT_(U32|I32))_F32$", base)
        if m and "SDWA" not in kind.__name__:
            if field("omod") or field("clmp") or field("clamp"): raise Unknown(f"{name} with modifiers")
            o.vdst, o.s0, o.sign, o.scalar0 = field("vdst"), field("src0"), m[3] == "I32", bool(m[1])
            if kind.__name__.startswith("VOP3"): o.abs, o.neg = field("abs"), field("neg")
            if m[3]: return self.own("op_integer", o)
            o.kind = ("RCP", "RSQ", "SQRT").index(m[2])
            return self.own("op_approximate", o)
        m = re.match(r"V_DIV_(SCALE|FMAS|FIXUP)_F32$", base)
        if m:
            if field("omod") or field("clmp") or field("clamp"): raise Unknown(f"{name} with modifiers")
            o.vdst, o.s0, o.s1, o.s2 = field("vdst"), field("src0"), field("src1"), field("src2")
            o.sel, o.abs, o.neg = field("sdst"), field("abs"), field("neg")
            return self.own("op_div_" + m[1].lower(), o)
        if re.match(r"V_CVT_.*(FP8|BF8|FP4)", base) and not re.search(r"_SR_|PK8|PK32|PK16", base):
            return self.convert(o, base, field, kind)
        return None

    def memory(self, o, m, field, wide, kind):
        space, what, text = m.groups()
        f = "ioffset" if hasattr(kind, "ioffset") else "offset"
        o.offset0 = signed(field(f), wide(f))
        if self.family == "cdna" and space == "FLAT": o.offset0 = field(f) & 0xfff
        o.space, o.count, o.acc = {"GLOBAL": 0, "FLAT": 0, "SCRATCH": 2}[space], 1, field("acc")
        o.s0 = field("vaddr") if hasattr(kind, "vaddr") else field("addr")
        o.s1 = field("saddr") if space != "FLAT" and field("saddr", 127) < 124 else -1
        o.vdst = field("vdst")
        o.s2 = field("vsrc") if hasattr(kind, "vsrc") else field("data")
        if space == "SCRATCH" and not field("sve"): o.s0 = -1
        if what != "ATOMIC":
            if not width_of(text): return None
            o.bytes, o.sign, o.half = width_of(text)
            o.store = what == "STORE"
            if o.store: o.vdst = o.s2
            return self.own("op_memory", o)
        if space == "SCRATCH" or o.acc: return None
        o.store, o.bytes = 1, 8 if text.endswith(("_X2", "64")) else 4
        o.returns = field("sc0") | field("glc") | field("th") & 1
        o.beside = o.s2 + o.bytes // 4
        return self.atomic(o, text)

    def atomic(self, o, text):
        if re.search(r"_F(32|64)$", text):
            o.kind = {"ADD": 13, "MIN": 14, "MAX": 15}.get(re.sub(r"_(NUM_)?F(32|64)$", "", text), -1)
        else:
            short = re.sub(r"_(X2|[BUI](32|64))$", "", text)
            if short in ("MIN", "MAX"): short = ("U" if "_U" in text else "S") + short
            o.kind = ATOMICS.index(short) if short in ATOMICS else -1
        return self.own("op_atomic", o) if o.kind >= 0 else None

    def convert(self, o, base, field, kind):
        """v_cvt_[scalef32_][pk_]TO_FROM"""
        def of(n):
            return FORMATS[n + "Z"] if self.arch == "gfx942" and n in ("FP8", "BF8") else FORMATS[n]

        sdwa = "SDWA" in kind.__name__
        o.scaled = "SCALEF32" in base
        body = base.replace("V_CVT_", "").replace("SCALEF32_", "")
        pair = body.startswith("PK_")
        to, source = body.removeprefix("PK_").split("_")
        opsel = field("opsel")
        if kind.__name__.startswith("VOP3"): o.abs, o.neg = field("abs"), field("neg")
        o.vdst, o.s1, o.s2 = field("vdst"), field("src1"), field("src2")
        o.s0 = field("vsrc0") if sdwa else field("src0")
        if sdwa:
            o.scalar0 = field("s0")
            if not o.scalar0: o.s0 += 256
        if source in ("F32", "F16", "BF16"):
            if not pair: return None
            o.kind, o.from_, o.to = 0, FORMATS[source], of(to)
            o.sel = opsel >> 2 & 3 if to == "FP4" else opsel >> 3 & 1
            return self.own("op_convert", o)
        turned = (opsel & 1) << 1 | opsel >> 1 & 1                 # the two bits of a byte's number
        which = field("src0_sel") if sdwa else 0
        o.kind, o.from_, o.to = 1 if pair else 2, of(source), FORMATS[to]
        if sdwa: o.sel = int(which == 5) if pair else which & 3
        else: o.sel = (turned if source == "FP4" else opsel & 1) if pair else turned
        return self.own("op_convert", o)

    # --- a launch --------------------------------------------------------------------------

    def load(self, code):
        self.code = code
        self.argument = ctypes.create_string_buffer(1 << 16)
        self.packet = ctypes.create_string_buffer(64)
        self.lib.emulate_region(ctypes.c_void_p(code.base), ctypes.c_size_t(code.size), 0)
        self.lib.emulate_region(self.argument, ctypes.c_size_t(1 << 16), 0)
        self.lib.emulate_region(self.packet, ctypes.c_size_t(64), 0)

    def launch(self, name, grid, block, arguments, shared):
        """The callback of hipLaunchKernel()."""
        try:
            self.start(self.code.kernels[name.decode()], grid[:3], block[:3], arguments, shared)
            return 0
        except Exception as e:
            self.lib.emulate_fault(f"{type(e).__name__}: {e}".encode())
            return 1

    def start(self, k, grid, block, arguments, shared):
        at = self.code.base + self.code.symbol[k[".symbol"]]
        d = ctypes.string_at(at, 64)
        lds, scratch, size = struct.unpack_from("<III", d)
        entry, = struct.unpack_from("<q", d, 16)
        rsrc1, rsrc2 = struct.unpack_from("<II", d, 48)
        wants, preload = struct.unpack_from("<HH", d, 56)
        if k[".wavefront_size"] != self.width: raise Unknown(f"waves of {k['.wavefront_size']}")
        if rsrc1 >> 12 & 0xff != 0xf0: raise Unknown("rounding or denormals that are not the default")
        if k[".vgpr_count"] - k.get(".agpr_count", 0) > 255: raise Unknown("more than 255 registers")
        kernarg = ctypes.addressof(self.argument)
        given = 0
        for a in k.get(".args", []):
            what, offset, n = a[".value_kind"], a[".offset"], a[".size"]
            if not what.startswith("hidden_"):
                data = ctypes.string_at(arguments[given], n)
                given += 1
            else:
                axis = {"x": 0, "y": 1, "z": 2}.get(what[-1], 0)
                value = (grid[axis] if what.startswith("hidden_block_count_")
                         else block[axis] if what.startswith("hidden_group_size_")
                         else shared if what == "hidden_dynamic_lds_size"
                         else 1 + (grid[1] * block[1] > 1) + (grid[2] * block[2] > 1)
                         if what == "hidden_grid_dims" else 0)
                data = int(value).to_bytes(n, "little")
            ctypes.memmove(kernarg + offset, data, n)
        ctypes.memmove(self.packet, struct.pack(
            "<HHHHHHIIIIIQQQQ", 0, 3, *block, 0, *(g * b for g, b in zip(grid, block)), scratch,
            lds + shared, at, kernarg, 0, 0), 64)
        l = Launch(entry=at + entry, kernarg=kernarg, lds=lds + shared, scratch=scratch)
        user = []
        for bit, value in ((1, None), (2, ctypes.addressof(self.packet)), (4, 0), (8, kernarg), (16, 0),
                           (32, 0)):
            if not wants & bit: continue
            if value is None: raise Unknown("a buffer descriptor of scratch memory: gfx90a")
            user += [value & 0xffffffff, value >> 32]
        if wants & 64: user.append(scratch)
        if preload & 0x7f:                               # arguments in registers; a block is skipped
            first = kernarg + 4 * (preload >> 7)
            user += struct.unpack(f"<{preload & 0x7f}I", ctypes.string_at(first, 4 * (preload & 0x7f)))
            l.entry += 256
        l.users = len(user)
        for i, v in enumerate(user): l.user[i] = v
        after = rsrc2 >> 1 & 31
        for i in range(3):
            l.grid[i], l.block[i], l.id_mask[i] = grid[i], block[i], 0xffffffff
            if self.family == "rdna4":
                l.id_at[i], l.id_shift[i] = (self.emu.ttmp[9 if i == 0 else 7].offset + 1, 16 * (i == 2))
                if i: l.id_mask[i] = 0xffff
            elif rsrc2 >> 7 + i & 1:
                l.id_at[i] = after + 1
                after += 1
        l.reversed = self.lib.emulate_reversed()
        self.lib.emulate_grid(ctypes.byref(l))


# --- one architecture --------------------------------------------------------------------------

def emulate(a, arch):
    path = build(arch, a.kernels, a.flags)
    lib = ctypes.CDLL(path)
    for f in ("emulate_bundle", "emulate_kernel"):
        getattr(lib, f).restype = ctypes.c_void_p if f == "emulate_bundle" else ctypes.c_char_p
    for f in ("emulate_launches", "emulate_executed"): getattr(lib, f).restype = ctypes.c_long
    for i, s in enumerate((Op, Entry, Launch)): assert lib.emulate_sizes(i) == ctypes.sizeof(s), s
    machine = Machine(lib, arch)
    code = Code(device_code(lib.emulate_bundle(), arch))
    decode = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64)(machine.decode)
    launch = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_uint32),
                              ctypes.POINTER(ctypes.c_uint32), ctypes.POINTER(ctypes.c_void_p),
                              ctypes.c_uint32)(machine.launch)
    lib.emulate_setup(arch.encode(), ctypes.c_uint64(code.base), ctypes.c_size_t(code.size), machine.width,
                      0 if a.exact else 1, decode, launch)
    machine.load(code)
    failed = lib.emulate_run(path.encode(), ctypes.c_double(a.seconds), a.least, ctypes.c_uint64(a.seed),
                             ctypes.c_uint64(getattr(a, "from")), ctypes.c_uint64(a.runs), a.only.encode())
    launches = {}
    for i in range(1 << 16):
        name = lib.emulate_kernel(i)
        if name is None: break
        launches[name.decode()] = lib.emulate_launches(i)
    shown = demangled(list(code.kernels))
    for name in code.kernels:
        n = launches.get(name, 0)
        idle = not n and not a.only and not a.runs
        print(f"  {shown[name]:44} {n:8} launched" + ("    that is too few" if idle else ""))
        failed |= idle
    if machine.hardware: print("  rounded by the hardware, not shown here:", *sorted(machine.hardware))
    print(f"emulate {arch}: {int(not failed)} passed, {int(bool(failed))} failed", flush=True)
    return 1 if failed else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--archs", default=ARCHS)
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--least", type=int, default=5, help="launches of every kernel")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--from", type=int, default=0)
    p.add_argument("--runs", type=int, default=0)
    p.add_argument("--only", default="")
    p.add_argument("--kernels", default=os.path.join(ROOT, "vq_kernels.hip"))
    p.add_argument("--exact", action="store_true")
    p.add_argument("--flags", default="", type=str.split)
    a = p.parse_args()
    lacks = missing()
    if lacks:
        print(f"emulate.py: not run, it needs {lacks}; --help says what else")
        return MISSING
    archs = a.archs.split()
    if len(archs) == 1: return emulate(a, archs[0])
    bad = 0                                    # an architecture a process: tinygrad keeps what it compiled
    for arch in archs:
        rest = [x for x in sys.argv[1:] if not x.startswith("--archs")]
        if a.archs in rest: rest.remove(a.archs)
        bad |= subprocess.call([sys.executable, os.path.abspath(__file__), *rest, "--archs", arch]) != 0
    return bad


if __name__ == "__main__":
    sys.exit(main())
