/* runtime.c - the C half of ../emulate.py: a HIP runtime whose device is an emulator, and the tests

   Linked with the host and device code of vq_kernels.hip into one library, which emulate.py loads.
   Kernels are launched as on a device; what runs is the AMD machine code. The Python half decodes
   an instruction when it is first met, and compiles it through tinygrad, or names one of the
   functions below; then waves run here. Device memory is host memory, and every access to it is
   held against the allocations.

     >>state         registers and memory, as tinygrad's compiled instructions want them
     >>instructions  those that tinygrad lacks, approximates, or does not bound
     >>waves
     >>runtime       the calls of HIP that a kernel library makes
     >>cases

   v_rcp, v_rsq and v_sqrt are within a unit in the last place on the hardware, and no manual says
   more. Here they give the f32 below, the nearest or the one above, as operand and lane go; but
   v_rcp the nearest where all bits of the mantissa are set: the division that is compiled around
   it is not exact otherwise, which is Markstein's exception. */
#define _DEFAULT_SOURCE
#include <hip/hip_runtime_api.h>
#include <float.h>
#include <math.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#define VQ_IMPLEMENTATION
#include "../../vq.h"
#include "../standin/differ.h"

#define EXPORT __attribute__((visibility("default")))

/* ===========================================================================
   >>state
   =========================================================================== */

/* Indices into the scalar file: 128 to 255 are the inline constants. */
enum { VCC = 106, EXEC = 126, CONSTANTS = 128, LITERAL = 255, PC = 256, SCC = 258,
       SCRATCH_STRIDE = 259, SCALARS = 320, VECTORS = 256, KERNELS = 256, REGIONS = 256,
       WAVES = 32 };

typedef struct wave {
    uint32_t sg[SCALARS], *vg, *acc;
    uint8_t *lds, *scratch;
    int      lanes, number, done;
} wave;

/* An operation of >>instructions; see emulate.py for who sets what. */
typedef struct emu_op {
    int32_t  size, kind, from, to, scaled, s0, s1, s2, vdst, sel, abs, neg, scalar0, space, store,
             bytes, count, sign, half, acc, returns, beside, offset[2];
    uint32_t literal, shadow[4];
    uint8_t  order[8];
    void    *plain;
} emu_op;

/* What stands at an address of the code. `plain` has tinygrad's parameters, in order[]. */
typedef struct emu_entry {
    void (*own)(wave *w, const emu_op *o);
    void (*plain)(void *, void *, void *, void *, void *, void *);
    const emu_op *op;
    uint8_t order[6], barrier, pad;
} emu_entry;

typedef struct emu_launch {
    uint64_t entry, kernarg;
    uint32_t grid[3], block[3], lds, scratch, user[32], users, id_at[3], id_shift[3], id_mask[3];
    int32_t  reversed;
} emu_launch;

typedef struct region { char *at; size_t n; char *map; size_t mapped; int writable; } region;

static struct {
    uint64_t   base;
    size_t     count;
    emu_entry *entry;
    int        width;                               /* lanes of a wave */
    int      (*decode)(uint64_t pc);
    int      (*launch)(const char *kernel, const uint32_t *grid, const uint32_t *block,
                       void **args, uint32_t shared);
    char       arch[32];
    const void *bundle;
    region     region[REGIONS];
    int        regions;
    struct { const void *stub; const char *name; long launches; } kernel[KERNELS];
    int        kernels;
    const char *running;
    uint32_t   block[3];
    wave      *wave;
    long       executed, skew;
    void     (*hear)(const char *text);
    standin_counts counts;
    void      *stream;
    hipError_t error, fail_next;
    standin_order order;
    unsigned   most_blocks;
} emu = { .skew = 1 };

/* A kernel did what it may not, or the emulator cannot do what it did: the end. */
EXPORT void emulate_fault(const char *text)
{
    char line[1024];
    const wave *w = emu.wave;
    int n = snprintf(line, sizeof line, "%s: %s", emu.running ? emu.running : "no kernel", text);
    if (w && n > 0 && n < (int)sizeof line)
        snprintf(line + n, sizeof line - (size_t)n, "; block %u %u %u, wave %d, code + 0x%llx",
                 emu.block[0], emu.block[1], emu.block[2], w->number,
                 (unsigned long long)((w->sg[PC] | (uint64_t)w->sg[PC + 1] << 32) - emu.base));
    if (emu.hear) emu.hear(line);
    else puts(line);
    fflush(stdout);
    _exit(1);
}

static void fault(const char *fmt, ...)
{
    char text[512];
    va_list list;
    va_start(list, fmt);
    vsnprintf(text, sizeof text, fmt, list);
    va_end(list);
    emulate_fault(text);
}

EXPORT void emulate_region(void *at, size_t n, int writable)
{
    region *r = &emu.region[emu.regions];
    if (emu.regions == REGIONS) fault("too many allocations");
    memset(r, 0, sizeof *r);
    r->at = (char *)at;
    r->n = n;
    r->writable = writable;
    emu.regions++;
}

static void *device(uint64_t address, size_t n, int write)
{
    char *p = (char *)(uintptr_t)address;
    int i;
    static int last;
    if (last < emu.regions && emu.region[last].writable && p >= emu.region[last].at
        && p + n <= emu.region[last].at + emu.region[last].n) return p;
    for (i = 0; i < emu.regions; i++) {
        const region *r = &emu.region[i];
        if (p < r->at || p + n > r->at + r->n) continue;
        if (write && !r->writable) fault("writes what it may only read");
        last = i;
        return p;
    }
    for (i = 0; i < emu.regions; i++) {
        const region *r = &emu.region[i];
        if (p + n > r->at - 4096 && p < r->at + r->n + 4096)
            fault("%s %d bytes at %ld of an allocation of %ld", write ? "writes" : "reads", (int)n,
                  (long)(p - r->at), (long)r->n);
    }
    fault("%s %d bytes at %llx, which is no device memory", write ? "writes" : "reads", (int)n,
          (unsigned long long)address);
    return NULL;
}

/* ===========================================================================
   >>instructions
   =========================================================================== */

static uint64_t pc_of(const wave *w) { return w->sg[PC] | (uint64_t)w->sg[PC + 1] << 32; }
static void set_pc(wave *w, uint64_t pc) { w->sg[PC] = (uint32_t)pc; w->sg[PC + 1] = (uint32_t)(pc >> 32); }
static void next(wave *w, const emu_op *o) { set_pc(w, pc_of(w) + (uint64_t)o->size); }
static int on(const wave *w, int lane) { return w->sg[EXEC + lane / 32] >> lane % 32 & 1; }
static uint32_t *vector(const wave *w, int reg) { return w->vg + reg * emu.width; }

/* A source operand by its encoding. */
static uint32_t source(const wave *w, const emu_op *o, int at, int lane)
{
    return at == LITERAL ? o->literal : at < 256 ? w->sg[at] : vector(w, at - 256)[lane];
}

static double modified(const emu_op *o, double v, int i)
{
    if (o->abs >> i & 1) v = fabs(v);
    return o->neg >> i & 1 ? -v : v;
}

static float as_float(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
static uint32_t as_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }

EXPORT void op_nothing(wave *w, const emu_op *o) { next(w, o); }

/* s_getpc, s_setpc, s_swappc, s_call */
EXPORT void op_pc(wave *w, const emu_op *o)
{
    const uint64_t after = pc_of(w) + (uint64_t)o->size;
    const uint64_t to = o->kind == 3 ? after + 4 * (uint64_t)(int64_t)o->sel
                      : o->kind == 0 ? after : w->sg[o->s0] | (uint64_t)w->sg[o->s0 + 1] << 32;
    if (o->kind != 1) {
        w->sg[o->vdst] = (uint32_t)after;
        w->sg[o->vdst + 1] = (uint32_t)(after >> 32);
    }
    set_pc(w, to);
}

/* s_load_*: `bytes` to scalars */
EXPORT void op_scalar_load(wave *w, const emu_op *o)
{
    uint64_t at = (w->sg[o->s0] | (uint64_t)w->sg[o->s0 + 1] << 32) + (uint64_t)(int64_t)o->offset[0];
    uint32_t v[16];
    if (o->s1 >= 0) at += w->sg[o->s1];
    if (o->bytes >= 4) {
        memcpy(v, device(at & ~(uint64_t)3, (size_t)o->bytes, 0), (size_t)o->bytes);
        memcpy(w->sg + o->vdst, v, (size_t)o->bytes);
    } else {
        v[0] = 0;
        memcpy(v, device(at, (size_t)o->bytes, 0), (size_t)o->bytes);
        if (o->sign) v[0] = o->bytes == 1 ? (uint32_t)(int8_t)v[0] : (uint32_t)(int16_t)v[0];
        w->sg[o->vdst] = v[0];
    }
    next(w, o);
}

enum { GLOBAL, SHARED, SCRATCH };

static uint64_t address(const wave *w, const emu_op *o, int lane)
{
    uint64_t at = o->s0 >= 0 ? vector(w, o->s0)[lane] : 0;
    if (o->space == GLOBAL) {
        if (o->s1 >= 0) at += w->sg[o->s1] | (uint64_t)w->sg[o->s1 + 1] << 32;
        else at |= (uint64_t)vector(w, o->s0 + 1)[lane] << 32;
    } else if (o->s1 >= 0) at += w->sg[o->s1];
    return o->space == SHARED ? at : at + (uint64_t)(int64_t)o->offset[0];
}

static void *memory(wave *w, const emu_op *o, uint64_t at, int lane)
{
    const size_t n = (size_t)o->bytes;
    if (o->space == GLOBAL) return device(at, n, o->store);
    if (o->space == SHARED) {
        const uint32_t size = w->sg[SCRATCH_STRIDE + 1];
        if (at + n > size)
            fault("%d bytes at %lld of %u bytes of shared memory", (int)n, (long long)at, size);
        return w->lds + at;
    }
    if (at + n > w->sg[SCRATCH_STRIDE])
        fault("%d bytes at %lld of %u of a thread's own memory", (int)n, (long long)at,
              w->sg[SCRATCH_STRIDE]);
    return w->scratch + (size_t)lane * w->sg[SCRATCH_STRIDE] + at;
}

/* Loads and stores of all address spaces: of all lanes first, then a register is written. */
EXPORT void op_memory(wave *w, const emu_op *o)
{
    static uint32_t v[64][8];
    const int words = (o->bytes + 3) / 4;
    int lane, i, k;
    for (lane = 0; lane < emu.width; lane++) {
        uint64_t at;
        if (!on(w, lane)) continue;
        at = address(w, o, lane);
        for (k = 0; k < o->count; k++) {
            void *p = memory(w, o, at + (o->space == SHARED ? (uint64_t)o->offset[k] : 0), lane);
            const int from = k ? o->s2 : o->vdst;
            uint32_t *u = v[lane] + k * words;
            if (!o->store) { u[0] = 0; memcpy(u, p, (size_t)o->bytes); continue; }
            for (i = 0; i < words; i++)
                u[i] = (o->acc ? w->acc : w->vg)[(from + i) * emu.width + lane];
            if (o->half == 2) u[0] >>= 16;
            memcpy(p, u, (size_t)o->bytes);
        }
    }
    for (lane = 0; !o->store && lane < emu.width; lane++) {
        uint32_t *d = (o->acc ? w->acc : w->vg) + o->vdst * emu.width + lane, u = v[lane][0];
        if (!on(w, lane)) continue;
        if (o->sign) u = o->bytes == 1 ? (uint32_t)(int8_t)u : (uint32_t)(int16_t)u;
        if (o->half == 1) u = (*d & 0xffff0000u) | (u & 0xffffu);
        if (o->half == 2) u = (*d & 0xffffu) | u << 16;
        d[0] = u;
        for (i = 1; i < words * o->count; i++) d[i * emu.width] = v[lane][i];
    }
    next(w, o);
}

enum { SWAP, CMPSWAP, ADD, SUB, SMIN, UMIN, SMAX, UMAX, AND, OR, XOR, INC, DEC, ADD_F, MIN_F, MAX_F };

/* Atomics on device and shared memory, a lane after the other. `beside` holds what a compare and
   swap compares with. */
EXPORT void op_atomic(wave *w, const emu_op *o)
{
    const int n = o->bytes;
    int lane;
    for (lane = 0; lane < emu.width; lane++) {
        uint64_t m = 0, d, c, r = 0;
        double fm, fd, f;
        void *p;
        if (!on(w, lane)) continue;
        p = memory(w, o, address(w, o, lane) + (o->space == SHARED ? (uint64_t)o->offset[0] : 0), lane);
        memcpy(&m, p, (size_t)n);
        d = vector(w, o->s2)[lane];
        c = vector(w, o->beside)[lane];
        if (n == 8) {
            d |= (uint64_t)vector(w, o->s2 + 1)[lane] << 32;
            c |= (uint64_t)vector(w, o->beside + 1)[lane] << 32;
        }
        fm = n == 8 ? 0 : (double)as_float((uint32_t)m);
        fd = n == 8 ? 0 : (double)as_float((uint32_t)d);
        if (n == 8) { memcpy(&fm, &m, 8); memcpy(&fd, &d, 8); }
        switch (o->kind) {
#define SIGNED(x) (n == 8 ? (int64_t)(x) : (int64_t)(int32_t)(x))
        case SWAP:    r = d; break;
        case CMPSWAP: r = m == c ? d : m; break;
        case ADD:     r = m + d; break;
        case SUB:     r = m - d; break;
        case SMIN:    r = SIGNED(d) < SIGNED(m) ? d : m; break;
        case UMIN:    r = d < m ? d : m; break;
        case SMAX:    r = SIGNED(d) > SIGNED(m) ? d : m; break;
        case UMAX:    r = d > m ? d : m; break;
        case AND:     r = m & d; break;
        case OR:      r = m | d; break;
        case XOR:     r = m ^ d; break;
        case INC:     r = m >= d ? 0 : m + 1; break;
        case DEC:     r = m == 0 || m > d ? d : m - 1; break;
        default:
            f = o->kind == MIN_F ? fmin(fm, fd) : o->kind == MAX_F ? fmax(fm, fd)
              : n == 8 ? fm + fd : (double)((float)fm + (float)fd);
            if (n == 8) memcpy(&r, &f, 8);
            else r = as_bits((float)f);
#undef SIGNED
        }
        memcpy(p, &r, (size_t)n);
        if (o->returns) {
            vector(w, o->vdst)[lane] = (uint32_t)m;
            if (n == 8) vector(w, o->vdst + 1)[lane] = (uint32_t)(m >> 32);
        }
    }
    next(w, o);
}

/* --- small floats: written from the formats' definitions, sharing nothing with vq.h -- */

enum { FP8, BF8, FP4, FP6, BF6, FP8Z, BF8Z, F32, F16, BF16 };

/* Mantissa bits, bias, bits, the largest finite code, what overflow gives (-1: the largest), the
   code of NaN, no negative zero. */
static const struct { int man, bias, bits, max, over, nan, unsigned_zero; } small[] = {
    /* FP8  */ {3, 7, 8, 0x7e, 0x7f, 0x7f, 0}, /* BF8  */ {2, 15, 8, 0x7b, 0x7c, 0x7f, 0},
    /* FP4  */ {1, 1, 4, 7, -1, 7, 0},         /* FP6  */ {3, 1, 6, 0x1f, -1, 0x1f, 0},
    /* BF6  */ {2, 3, 6, 0x1f, -1, 0x1f, 0},   /* FP8Z */ {3, 8, 8, 0x7f, 0x80, 0x80, 1},
    /* BF8Z */ {2, 16, 8, 0x7f, 0x80, 0x80, 1},
};

static unsigned encode(double v, int f)
{
    const int man = small[f].man, low = 1 - small[f].bias;
    unsigned sign = signbit(v) ? 1u << (small[f].bits - 1) : 0, c = 1u << 30;
    if (isnan(v)) return (unsigned)small[f].nan | (small[f].unsigned_zero ? 0 : sign);
    v = fabs(v);
    if (!isinf(v)) {
        const int e = v > 0 && ilogb(v) > low ? ilogb(v) : low;
        const double units = rint(ldexp(v, man - e));
        c = units > 64 ? 1u << 30 : (unsigned)units + ((unsigned)(e - low) << man);
    }
    if (c > (unsigned)small[f].max) {
        if (small[f].unsigned_zero) return 0x80;
        c = small[f].over < 0 ? (unsigned)small[f].max : (unsigned)small[f].over;
    }
    return small[f].unsigned_zero && !c ? 0 : c | sign;
}

static double decode(unsigned c, int f)
{
    const int man = small[f].man, top = small[f].bits - 1;
    const unsigned a = c & ((1u << top) - 1), e = a >> man, m = a & ((1u << man) - 1);
    const int negative = (int)(c >> top & 1);
    double v;
    if (small[f].unsigned_zero && (c & 0xff) == 0x80) return (double)NAN;
    if (f == FP8 && a == 0x7f) return (double)NAN;
    if (f == BF8 && e == 31) return m ? (double)NAN : negative ? -(double)INFINITY : (double)INFINITY;
    v = e ? ldexp((double)((1u << man) + m), (int)e - small[f].bias - man)
          : ldexp((double)m, 1 - small[f].bias - man);
    return negative ? -v : v;
}

static double wide(uint32_t word, int high, int f)
{
    const uint32_t h = high ? word >> 16 : word & 0xffff;
    if (f == F32) return (double)as_float(word);
    if (f == BF16) return (double)as_float(h << 16);
    {
        const int e = (int)(h >> 10 & 31), m = (int)(h & 1023);
        const double v = e == 31 ? m ? (double)NAN : (double)INFINITY
                       : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
        return h & 0x8000 ? -v : v;
    }
}

/* To f32, f16 or bf16, to nearest even; all that comes is exact in f32, or is rounded once. */
static uint32_t narrow(double v, int f)
{
    const uint32_t sign = signbit(v) ? 0x8000u : 0;
    const double a = fabs(v);
    int e;
    if (f == F32) return as_bits((float)v);
    if (f == BF16) {
        const uint32_t u = as_bits((float)v);
        return isnan(v) ? u >> 16 | 0x40 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
    }
    if (isnan(v)) return 0x7e00;
    if (a >= 65520) return sign | 0x7c00;
    e = a > 0 && ilogb(a) > -14 ? ilogb(a) : -14;
    return sign | ((uint32_t)rint(ldexp(a, 10 - e)) + ((uint32_t)(e + 14) << 10));
}

static double scale(uint32_t bits)
{
    const int e = (int)(bits >> 23 & 255);
    return e == 255 ? (double)NAN : ldexp(1.0, e - 127);
}

enum { PACK, UNPACK_TWO, UNPACK_ONE };

/* v_cvt_* between small floats and f32, f16, bf16, scaled or not; sel: which byte or half */
EXPORT void op_convert(wave *w, const emu_op *o)
{
    int lane;
    for (lane = 0; lane < emu.width; lane++) {
        uint32_t *d = vector(w, o->vdst) + lane, a;
        double by = 1, x, y;
        if (!on(w, lane)) continue;
        a = o->scalar0 ? w->sg[o->s0] : source(w, o, o->s0, lane);
        if (o->kind == PACK) {
            const int bits = small[o->to].bits, at = o->sel * 2 * bits;
            const uint32_t mask = ((1u << 2 * bits) - 1) << at;
            if (o->scaled) by = scale(source(w, o, o->from == F32 ? o->s2 : o->s1, lane));
            x = wide(a, 0, o->from);
            y = o->from == F32 ? wide(source(w, o, o->s1, lane), 0, F32) : wide(a, 1, o->from);
            *d = (*d & ~mask) | (encode(modified(o, x, 0) / by, o->to)
                                 | encode(modified(o, y, 1) / by, o->to) << bits) << at;
            continue;
        }
        if (o->scaled) by = scale(source(w, o, o->s1, lane));
        a >>= o->sel * small[o->from].bits * (o->kind == UNPACK_TWO ? 2 : 1);
        x = decode(a, o->from) * by;
        y = decode(a >> small[o->from].bits, o->from) * by;
        if (o->kind == UNPACK_ONE) *d = narrow(x, o->to);
        else if (o->to != F32) *d = narrow(x, o->to) | narrow(y, o->to) << 16;
        else { d[0] = as_bits((float)x); d[emu.width] = as_bits((float)y); }
    }
    next(w, o);
}

/* v_cvt_u32_f32, v_cvt_i32_f32: towards zero, to the nearest there is, NaN to 0 */
EXPORT void op_integer(wave *w, const emu_op *o)
{
    int lane;
    for (lane = 0; lane < emu.width; lane++) {
        double v;
        if (!on(w, lane)) continue;
        v = trunc(modified(o, (double)as_float(source(w, o, o->s0, lane)), 0));
        vector(w, o->vdst)[lane] = isnan(v) ? 0
            : o->sign ? v <= -2147483648.0 ? 0x80000000u : v >= 2147483647.0 ? 0x7fffffffu
                                           : (uint32_t)(int32_t)v
            : v <= 0 ? 0 : v >= 4294967295.0 ? 0xffffffffu : (uint32_t)v;
    }
    next(w, o);
}

/* v_rcp_f32, v_rsq_f32, v_sqrt_f32, and v_s_* of a scalar: as far off as the manuals allow */
EXPORT void op_approximate(wave *w, const emu_op *o)
{
    int lane;
    for (lane = 0; lane < emu.width; lane++) {
        const uint32_t from = source(w, o, o->s0, lane);
        const int way = ~from & 0x7fffff || o->kind ? (int)((from + (uint32_t)lane) % 3) : 0;
        double v;
        float f;
        if (o->scalar0 ? lane : !on(w, lane)) continue;
        v = modified(o, (double)as_float(from), 0);
        v = o->kind == 0 ? 1 / v : o->kind == 1 ? 1 / sqrt(v) : sqrt(v);
        f = (float)v;
        if (emu.skew && fabs(v) > 2 * (double)FLT_MIN && fabs(v) < (double)FLT_MAX / 2) {
            if (way == 1 && (double)f > v) f = nextafterf(f, -INFINITY);
            if (way == 2 && (double)f < v) f = nextafterf(f, INFINITY);
        }
        if (o->scalar0) w->sg[o->vdst] = as_bits(f);
        else vector(w, o->vdst)[lane] = as_bits(f);
    }
    next(w, o);
}

/* --- division ---------------------------------------------------------------------- */

static int denormal(float f) { return f != 0 && fabsf(f) < FLT_MIN; }
static int exponent(float f) { return (int)(as_bits(f) >> 23 & 255); }

/* v_div_scale_f32: makes the quotient s2 / s1 one that the steps after it do not leave the range
   with, and says in a mask whether v_div_fmas has to undo it. The manuals' text scales the wrong
   way where both 1 / s1 and s2 / s1 are subnormal; a compiled division is right, so it is this. */
EXPORT void op_div_scale(wave *w, const emu_op *o)
{
    int lane;
    for (lane = 0; lane < emu.width; lane++) {
        const uint32_t bit = 1u << lane % 32;
        uint32_t *mask = &w->sg[o->sel + lane / 32];
        float a, d, n, r;
        int undo = 0, by = 0, inverse, quotient;
        if (!on(w, lane)) { *mask &= ~bit; continue; }
        a = (float)modified(o, (double)as_float(source(w, o, o->s0, lane)), 0);
        d = (float)modified(o, (double)as_float(source(w, o, o->s1, lane)), 1);
        n = (float)modified(o, (double)as_float(source(w, o, o->s2, lane)), 2);
        inverse = denormal((float)(1 / (double)d));
        quotient = denormal((float)((double)n / (double)d));
        if (n == 0 || d == 0) by = -1000;
        else if (exponent(n) - exponent(d) >= 96) { undo = 1; by = a == d ? 64 : 0; }
        else if (denormal(d)) by = 64;
        else if (inverse && quotient) { undo = 1; by = a == d ? -64 : 0; }
        else if (inverse) by = -64;
        else if (quotient) { undo = 1; by = a == n ? 64 : 0; }
        else if (exponent(n) <= 23) by = 64;
        r = by == -1000 ? NAN : ldexpf(a, by);
        vector(w, o->vdst)[lane] = as_bits(r);
        *mask = undo ? *mask | bit : *mask & ~bit;
    }
    next(w, o);
}

/* v_div_fmas_f32: fma, and back to the scale of the quotient with no rounding between */
EXPORT void op_div_fmas(wave *w, const emu_op *o)
{
    int lane;
    for (lane = 0; lane < emu.width; lane++) {
        __float128 v[3];                               /* holds all bits of the sum */
        double c = 0;
        const int *s = &o->s0;
        int i;
        if (!on(w, lane)) continue;
        for (i = 0; i < 3; i++) {
            c = modified(o, (double)as_float(source(w, o, s[i], lane)), i);
            v[i] = (__float128)c;
        }
        v[0] = v[0] * v[1] + v[2];
        if (w->sg[VCC + lane / 32] >> lane % 32 & 1)
            v[0] = v[0] * (__float128)(exponent((float)c) > 127 ? 0x1p64 : 0x1p-64);
        vector(w, o->vdst)[lane] = as_bits((float)v[0]);
    }
    next(w, o);
}

/* v_div_fixup_f32: the quotient s0 of s2 / s1, but for what has none */
EXPORT void op_div_fixup(wave *w, const emu_op *o)
{
    int lane;
    for (lane = 0; lane < emu.width; lane++) {
        double q, d, n, r;
        if (!on(w, lane)) continue;
        q = modified(o, (double)as_float(source(w, o, o->s0, lane)), 0);
        d = modified(o, (double)as_float(source(w, o, o->s1, lane)), 1);
        n = modified(o, (double)as_float(source(w, o, o->s2, lane)), 2);
        r = isnan(n) || isnan(d) || (n == 0 && d == 0) || (isinf(n) && isinf(d)) ? (double)NAN
          : d == 0 || isinf(n) ? (double)INFINITY : isinf(d) || n == 0 ? 0
          : exponent((float)n) - exponent((float)d) < -150 ? 0
          : isnan(q) ? (double)INFINITY : fabs(q);           /* beyond f32 on the way */
        if (!signbit(n) != !signbit(d)) r = -r;
        vector(w, o->vdst)[lane] = as_bits((float)r);
    }
    next(w, o);
}

/* --- lanes ------------------------------------------------------------------------- */

/* Executes what stands in shadow[] instead: tinygrad reads operands where the counter points to. */
static void run_shadow(wave *w, const emu_op *o)
{
    const uint64_t pc = pc_of(w);
    const uint8_t *k = o->order;
    void *all[6] = { w->sg, w->vg, NULL, w->lds, w->scratch, w->acc };
    void (*plain)(void *, void *, void *, void *, void *, void *);
    memcpy(&plain, &o->plain, sizeof plain);
    set_pc(w, (uint64_t)(uintptr_t)o->shadow);
    plain(all[k[0]], all[k[1]], all[k[2]], all[k[3]], all[k[4]], all[k[5]]);
    set_pc(w, pc + (uint64_t)o->size);
}

/* The same instruction in its long form, a literal in the last register. */
EXPORT void op_long(wave *w, const emu_op *o)
{
    int lane;
    for (lane = 0; lane < emu.width; lane++) vector(w, VECTORS - 1)[lane] = o->literal;
    run_shadow(w, o);
}

/* The same instruction without DPP, with the last register for its source. */
EXPORT void op_dpp(wave *w, const emu_op *o)
{
    const uint32_t *r = vector(w, o->s0);
    uint32_t *snap = vector(w, VECTORS - 1), was[2] = { w->sg[EXEC], w->sg[EXEC + 1] }, now[2] = {0, 0};
    const int c = o->sel, gfx9 = o->kind & 4;
    int l;
    for (l = 0; l < emu.width; l++) {
        const int row = l & ~15, j = l & 15, n = c & 15;
        int s = l, ok = 1;
        if (o->kind & 8) s = (l & ~7) + (c >> 3 * (l & 7) & 7);                   /* DPP8 */
        else if (c < 0x100) s = (l & ~3) + (c >> 2 * (l & 3) & 3);                /* quad_perm */
        else if (c > 0x100 && c < 0x110) { s = l + n; ok = j + n < 16; }          /* row_shl */
        else if (c > 0x110 && c < 0x120) { s = l - n; ok = j >= n; }              /* row_shr */
        else if (c > 0x120 && c < 0x130) s = row + ((j - n) & 15);                /* row_ror */
        else if (c == 0x140) s = row + 15 - j;                                    /* row_mirror */
        else if (c == 0x141) s = (l & ~7) + 7 - (l & 7);                          /* row_half_mirror */
        else if (c >= 0x150 && c < 0x160) s = row + n;                            /* row_newbcast, _share */
        else if (!gfx9 && c >= 0x160 && c < 0x170) s = row + (j ^ n);             /* row_xmask */
        else if (gfx9 && c == 0x142) { s = row - 1; ok = row > 0; }               /* row_bcast:15 */
        else if (gfx9 && c == 0x143) { s = 31; ok = l >= 32; }                    /* row_bcast:31 */
        else if (gfx9 && c == 0x130) { s = l + 1; ok = l + 1 < emu.width; }       /* wave_shl */
        else if (gfx9 && c == 0x138) { s = l - 1; ok = l > 0; }                   /* wave_shr */
        else if (gfx9 && c == 0x134) s = (l + 1) % emu.width;                     /* wave_rol */
        else if (gfx9 && c == 0x13c) s = (l + emu.width - 1) % emu.width;         /* wave_ror */
        else fault("DPP control 0x%x", c);
        if (ok && !(o->kind & 2) && !on(w, s)) ok = 0;
        if (on(w, l) && o->s1 >> (l >> 4) & 1 && o->s2 >> (j >> 2) & 1 && (ok || o->kind & 1))
            now[l >> 5] |= 1u << (l & 31);
        snap[l] = ok ? r[s] : 0;
        if (o->abs) snap[l] &= 0x7fffffffu;
        if (o->neg) snap[l] ^= 0x80000000u;
    }
    w->sg[EXEC] = now[0];
    w->sg[EXEC + 1] = now[1];
    run_shadow(w, o);
    w->sg[EXEC] = was[0];
    w->sg[EXEC + 1] = was[1];
}

enum { PERMLANE16, PERMLANEX16, PERMLANE64, PERMLANE16_SWAP, PERMLANE32_SWAP, SWIZZLE };

EXPORT void op_lanes(wave *w, const emu_op *o)
{
    uint32_t *d = vector(w, o->vdst), *s = vector(w, o->s0), t[64], u[64];
    const int W = emu.width;
    int l;
    memcpy(t, s, 4 * (size_t)W);
    memcpy(u, d, 4 * (size_t)W);
    for (l = 0; l < W; l++) {
        const int far = o->kind == PERMLANE16_SWAP ? 16 : 32, m = o->sel;
        int from;
        if (o->kind == PERMLANE16_SWAP || o->kind == PERMLANE32_SWAP) {
            if (l & far) continue;
            if (on(w, l)) s[l] = u[l + far];
            if (on(w, l + far)) d[l + far] = t[l];
            continue;
        }
        if (!on(w, l)) continue;
        if (o->kind == SWIZZLE) {
            from = m & 0x8000 ? (l & ~3) + (m >> 2 * (l & 3) & 3)
                 : (l & 32) + ((((l & 31) & (m & 31)) | (m >> 5 & 31)) ^ (m >> 10 & 31));
            d[l] = on(w, from) ? t[from] : 0;
        } else if (o->kind == PERMLANE64) d[l] = W == 64 ? t[l ^ 32] : t[l];
        else {
            const uint32_t four = source(w, o, (l & 15) < 8 ? o->s1 : o->s2, l) >> 4 * (l & 7);
            from = ((l & ~15) ^ (o->kind == PERMLANEX16 ? 16 : 0)) + (int)(four & 15);
            if (on(w, from) || o->sel & 1) d[l] = t[from];
            else if (o->sel & 2) d[l] = 0;
        }
    }
    next(w, o);
}

/* ===========================================================================
   >>waves
   =========================================================================== */

EXPORT int emulate_sizes(int what)
{
    const int sizes[] = { (int)sizeof(emu_op), (int)sizeof(emu_entry), (int)sizeof(emu_launch) };
    return sizes[what];
}

static void on_signal(int n) { fault("signal %d in an instruction, or on the host", n); }

EXPORT void emulate_setup(const char *arch, uint64_t base, size_t bytes, int width, int skew,
                          int (*decode)(uint64_t), int (*launch)(const char *, const uint32_t *,
                                                     const uint32_t *, void **, uint32_t))
{
    snprintf(emu.arch, sizeof emu.arch, "%s", arch);
    signal(SIGSEGV, on_signal);
    emu.base = base;
    emu.count = bytes / 4;
    emu.entry = (emu_entry *)calloc(emu.count, sizeof *emu.entry);
    emu.width = width;
    emu.skew = skew;
    emu.decode = decode;
    emu.launch = launch;
}

EXPORT void emulate_entry(uint64_t pc, const emu_entry *e) { emu.entry[(pc - emu.base) / 4] = *e; }

/* Until a barrier, or the end. */
static void run_wave(wave *w)
{
    void *all[6] = { w->sg, w->vg, NULL, w->lds, w->scratch, w->acc };
    long steps;
    emu.wave = w;
    for (steps = 0; ; steps++, emu.executed++) {
        const uint64_t pc = pc_of(w);
        const emu_entry *e;
        if (pc == UINT64_MAX) { w->done = 1; return; }
        if (pc < emu.base || (pc - emu.base) / 4 >= emu.count) fault("runs outside its code");
        if (steps > 100000000) fault("does not end");
        e = &emu.entry[(pc - emu.base) / 4];
        if (!e->own && !e->plain && emu.decode(pc)) fault("cannot be emulated");
        if (e->own) e->own(w, e->op);
        else e->plain(all[e->order[0]], all[e->order[1]], all[e->order[2]], all[e->order[3]],
                      all[e->order[4]], all[e->order[5]]);
        if (e->barrier) { emu.executed++; return; }
    }
}

static void start_wave(wave *w, const emu_launch *l, int threads, const uint32_t *at)
{
    static const uint32_t floats[] = { 0x3f000000, 0xbf000000, 0x3f800000, 0xbf800000, 0x40000000,
                                       0xc0000000, 0x40800000, 0xc0800000, 0x3e22f983 };
    const size_t file = (size_t)VECTORS * (size_t)emu.width * 4;
    int i, first = w->number * emu.width;
    memset(w->sg, 0, sizeof w->sg);
    memset(w->vg, 0xcb, file);
    memset(w->acc, 0xcb, file);
    memset(w->scratch, 0xcb, (size_t)l->scratch * (size_t)emu.width);
    for (i = 0; i <= 64; i++) w->sg[CONSTANTS + i] = (uint32_t)i;
    for (i = 1; i <= 16; i++) w->sg[CONSTANTS + 64 + i] = 0u - (uint32_t)i;
    for (i = 0; i < 9; i++) w->sg[240 + i] = floats[i];
    for (i = 0; i < (int)l->users; i++) w->sg[i] = l->user[i];
    for (i = 0; i < 3; i++)
        if (l->id_at[i]) w->sg[l->id_at[i] - 1] |= (at[i] & l->id_mask[i]) << l->id_shift[i];
    w->sg[SCRATCH_STRIDE] = l->scratch;
    w->sg[SCRATCH_STRIDE + 1] = l->lds;
    w->lanes = threads - first < emu.width ? threads - first : emu.width;
    for (i = 0; i < w->lanes; i++) {
        const uint32_t t = (uint32_t)(first + i), x = l->block[0], y = l->block[1];
        w->sg[EXEC + i / 32] |= 1u << i % 32;
        w->vg[i] = t / (x * y) << 20 | t / x % y << 10 | t % x;
    }
    set_pc(w, l->entry);
    w->done = 0;
}

/* All blocks, one after the other. */
EXPORT long emulate_grid(const emu_launch *l)
{
    const int threads = (int)(l->block[0] * l->block[1] * l->block[2]);
    const int waves = (threads + emu.width - 1) / emu.width;
    const uint64_t blocks = (uint64_t)l->grid[0] * l->grid[1] * l->grid[2];
    const size_t file = (size_t)VECTORS * (size_t)emu.width * 4;
    static wave w[WAVES];
    uint8_t *lds = (uint8_t *)malloc(l->lds + 16);
    uint64_t b;
    int i, left;
    if (waves > WAVES) fault("%d threads in a block", threads);
    for (i = 0; i < waves; i++) {
        w[i].vg = (uint32_t *)malloc(file);
        w[i].acc = emu.width == 64 ? (uint32_t *)malloc(file) : w[i].vg;
        w[i].scratch = (uint8_t *)malloc((size_t)l->scratch * (size_t)emu.width + 16);
        w[i].lds = lds;
        w[i].number = i;
    }
    for (b = 0; b < blocks; b++) {
        const uint64_t n = l->reversed ? blocks - 1 - b : b;
        emu.block[0] = (uint32_t)(n % l->grid[0]);
        emu.block[1] = (uint32_t)(n / l->grid[0] % l->grid[1]);
        emu.block[2] = (uint32_t)(n / l->grid[0] / l->grid[1]);
        memset(lds, 0xcb, l->lds + 16);
        for (i = 0; i < waves; i++) start_wave(&w[i], l, threads, emu.block);
        do {
            for (left = 0, i = 0; i < waves; i++) {
                wave *next_one = &w[l->reversed ? waves - 1 - i : i];
                if (!next_one->done) run_wave(next_one);
                left += !next_one->done;
            }
        } while (left);
    }
    for (i = 0; i < waves; i++) {
        if (w[i].acc != w[i].vg) free(w[i].acc);
        free(w[i].vg);
        free(w[i].scratch);
    }
    free(lds);
    emu.wave = NULL;
    return emu.executed;
}

/* ===========================================================================
   >>runtime
   =========================================================================== */

enum { CANARY = 0xa5, AROUND = 64 };

static hipError_t keep(hipError_t e) { if (e) emu.error = e; return e; }

/* Ends at a page that may not be touched, 16-byte aligned, known bytes on both sides: the host's
   copies are held to it as well. */
EXPORT hipError_t hipMalloc(void **p, size_t n)
{
    const size_t page = 4096, room = (n + 2 * AROUND + 16 + page - 1) / page * page;
    char *map = (char *)mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                             -1, 0);
    char *at = map + (room - n - AROUND) / 16 * 16;
    emu.counts.allocs++;
    *p = NULL;
    if (map == (char *)MAP_FAILED) return keep(hipErrorOutOfMemory);
    mprotect(map + room, page, PROT_NONE);
    memset(map, CANARY, room);
    emulate_region(at, n, 1);
    emu.region[emu.regions - 1].map = map;
    emu.region[emu.regions - 1].mapped = room;
    *p = at;
    return hipSuccess;
}

EXPORT hipError_t hipFree(void *p)
{
    int i;
    size_t k;
    emu.counts.frees++;
    if (!p) return hipSuccess;
    for (i = 0; i < emu.regions; i++) {
        region *r = &emu.region[i];
        if (!r->map || r->at != (char *)p) continue;
        for (k = 0; k < r->mapped; k++)
            if ((r->map + k < r->at || r->map + k >= r->at + r->n) && (uint8_t)r->map[k] != CANARY)
                fault("something wrote at %ld of an allocation of %ld bytes",
                      (long)(r->map + k - r->at), (long)r->n);
        munmap(r->map, r->mapped + 4096);
        *r = emu.region[--emu.regions];
        return hipSuccess;
    }
    return keep(hipErrorInvalidDevicePointer);
}

EXPORT hipError_t hipMemcpyAsync(void *to, const void *from, size_t n, hipMemcpyKind kind,
                                 hipStream_t s)
{
    (void)kind;
    (void)s;
    emu.counts.copies++;
    memcpy(to, from, n);
    return hipSuccess;
}

EXPORT hipError_t hipMemcpy(void *to, const void *from, size_t n, hipMemcpyKind kind)
{
    return hipMemcpyAsync(to, from, n, kind, NULL);
}

EXPORT hipError_t hipMemsetAsync(void *p, int value, size_t n, hipStream_t s)
{
    (void)s;
    memset(device((uint64_t)(uintptr_t)p, n, 1), value, n);
    return hipSuccess;
}

EXPORT hipError_t hipMemset(void *p, int value, size_t n) { return hipMemsetAsync(p, value, n, NULL); }
EXPORT hipError_t hipGetDeviceCount(int *n)           { *n = 1; return hipSuccess; }
EXPORT hipError_t hipGetDevice(int *n)                    { *n = 0; return hipSuccess; }
EXPORT hipError_t hipSetDevice(int n)     { return keep(n ? hipErrorInvalidDevice : hipSuccess); }
EXPORT hipError_t hipPeekAtLastError(void)                { return emu.error; }
EXPORT const char *hipGetErrorString(hipError_t e)        { return e ? "an error" : "no error"; }
EXPORT const char *hipGetErrorName(hipError_t e)          { return e ? "an error" : "hipSuccess"; }
EXPORT hipError_t hipStreamSynchronize(hipStream_t s)     { (void)s; emu.counts.waits++; return hipSuccess; }
EXPORT hipError_t hipDeviceSynchronize(void)              { emu.counts.waits++; return hipSuccess; }

EXPORT hipError_t hipFuncSetAttribute(const void *f, hipFuncAttribute a, int v)
{
    (void)f;
    (void)a;
    (void)v;
    return hipSuccess;
}

EXPORT hipError_t hipGetLastError(void)
{
    const hipError_t e = emu.error;
    emu.error = hipSuccess;
    return e;
}

EXPORT hipError_t hipGetDeviceProperties(hipDeviceProp_t *p, int device)
{
    if (device) return keep(hipErrorInvalidDevice);
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "emulated");
    snprintf(p->gcnArchName, sizeof p->gcnArchName, "%s", emu.arch);
    p->totalGlobalMem = (size_t)1 << 36;
    p->sharedMemPerBlock = 64 << 10;
    p->regsPerBlock = 65536;
    p->warpSize = emu.width;
    p->maxThreadsPerBlock = 1024;
    p->multiProcessorCount = 4;
    return hipSuccess;
}

EXPORT hipError_t hipDeviceGetAttribute(int *value, hipDeviceAttribute_t a, int device)
{
    if (device) return keep(hipErrorInvalidDevice);
    *value = a == hipDeviceAttributeMultiprocessorCount ? 4
           : a == hipDeviceAttributeWarpSize ? emu.width
           : a == hipDeviceAttributeMaxThreadsPerBlock ? 1024
           : a == hipDeviceAttributeMaxSharedMemoryPerBlock ? 64 << 10 : 0x7fffffff;
    return hipSuccess;
}

/* --- what the compiler calls for kernels and <<<>>> ---------------------------------- */

EXPORT void **__hipRegisterFatBinary(const void *wrapper)
{
    memcpy(&emu.bundle, (const char *)wrapper + 8, sizeof emu.bundle);
    return (void **)&emu.bundle;
}

EXPORT void __hipUnregisterFatBinary(void **handle) { (void)handle; }

EXPORT void __hipRegisterFunction(void **handle, const void *stub, char *host, const char *name, ...)
{
    (void)handle;
    (void)host;
    if (emu.kernels == KERNELS) fault("too many kernels");
    emu.kernel[emu.kernels].stub = stub;
    emu.kernel[emu.kernels++].name = name;
}

EXPORT void __hipRegisterVar(void) {}
EXPORT void __hipRegisterManagedVar(void) {}

static struct { dim3 grid, block; size_t shared; hipStream_t stream; } pushed;

EXPORT hipError_t __hipPushCallConfiguration(dim3 grid, dim3 block, size_t shared, hipStream_t s)
{
    pushed.grid = grid;
    pushed.block = block;
    pushed.shared = shared;
    pushed.stream = s;
    return hipSuccess;
}

EXPORT hipError_t __hipPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, hipStream_t *s)
{
    *grid = pushed.grid;
    *block = pushed.block;
    *shared = pushed.shared;
    *s = pushed.stream;
    return hipSuccess;
}

EXPORT hipError_t hipLaunchKernel(const void *stub, dim3 grid, dim3 block, void **arguments,
                                  size_t shared, hipStream_t s)
{
    uint32_t g[3] = { grid.x, grid.y, grid.z }, b[3] = { block.x, block.y, block.z };
    const uint64_t threads = (uint64_t)b[0] * b[1] * b[2];
    int i;
    emu.counts.launches++;
    emu.stream = s;
    if (emu.fail_next) {
        const hipError_t e = emu.fail_next;
        emu.fail_next = hipSuccess;
        return keep(e);
    }
    for (i = 0; i < emu.kernels && emu.kernel[i].stub != stub; i++) {}
    if (i == emu.kernels) return keep(hipErrorInvalidDeviceFunction);
    if (!g[0] || !g[1] || !g[2] || g[1] > 65535 || g[2] > 65535 || !threads || threads > 1024)
        return keep(hipErrorInvalidConfiguration);
    if (emu.most_blocks && g[0] > emu.most_blocks) g[0] = emu.most_blocks;
    emu.kernel[i].launches++;
    emu.running = emu.kernel[i].name;
    if (emu.launch(emu.kernel[i].name, g, b, arguments, (uint32_t)shared)) fault("cannot be launched");
    emu.running = NULL;
    return hipSuccess;
}

EXPORT const void *emulate_bundle(void)      { return emu.bundle; }
EXPORT int emulate_reversed(void)            { return emu.order != STANDIN_FORWARD; }
EXPORT const char *emulate_kernel(int i)     { return i < emu.kernels ? emu.kernel[i].name : NULL; }
EXPORT long emulate_launches(int i)          { return emu.kernel[i].launches; }
EXPORT long emulate_executed(void)           { return emu.executed; }

/* What differ.h asks of a machine. */
static void set_order(standin_order o, uint32_t seed) { (void)seed; emu.order = o; }
static void set_most_blocks(unsigned n)               { emu.most_blocks = n; }
static void set_fail(int e)                           { emu.fail_next = (hipError_t)e; }
static void set_hear(void (*fault)(const char *))     { emu.hear = fault; }
static void forget(void)                              {}
static int  watched(void)                             { return 0; }
static void touched(const void *p, size_t n, uint8_t *flags) { (void)p; memset(flags, 0, n); }

EXPORT const standin *standin_control(void)
{
    static standin s;
    static char stream;
    s.wave = emu.width;
    s.stream = &stream;
    s.order = set_order;
    s.most_blocks = set_most_blocks;
    s.fail_launch = set_fail;
    s.hear = set_hear;
    s.forget = forget;
    s.touched = touched;
    s.watched = watched;
    s.counts = &emu.counts;
    s.launched_on = &emu.stream;
    return &s;
}

/* ===========================================================================
   >>cases
   =========================================================================== */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Turns of an op that go through every preset, or through every pair of types. */
enum { PAIRS = (VQ_INT32 - 1) * (VQ_INT32 - 1), TURNS = PAIRS > 3 * VQ_KEY_COUNT ? PAIRS : 3 * VQ_KEY_COUNT };

static int has_key(void)
{
    int i;
    for (i = 0; i < field_count; i++) if (fields[i].kind == VQ_FIELD_KEY) return 1;
    return 0;
}

/* Case i: of an op in turn. Most are as kernels like them, a few rows, aligned, without gaps; all
   implementations of the op come round. */
static int try_number(const int *ops, int count, uint64_t seed, uint64_t i)
{
    static const int64_t cols[] = { 8, 16, 64, 128, 129, 200, 256, 384, 512, 1024 };
    const uint64_t turn = i / (uint64_t)count;
    int n, k;
    for (k = 0; k < 40; k++) {
        wish w = anything();
        t_seed = seed;
        t_state = seed + i * 64 + (uint64_t)k;
        t_rand();
        w.op = ops[i % (uint64_t)count];
        become((vq_op)w.op);
        w.impl = (int)below(4);
        w.rows = 1 + below(3);
        w.cols = one_in(2) ? cols[below(COUNT(cols))] : 1 + below(140);
        if (!one_in(3)) { w.aligned = 1; w.gaps = 0; w.type = (int)(VQ_F32 + below(3)); }
        if (has_key()) w.key = turn < 3 * VQ_KEY_COUNT ? (int)(turn % VQ_KEY_COUNT)
                             : one_in(3) ? ANY : (int)below(VQ_KEY_COUNT);
        else if (turn < PAIRS) {
            if (k == 8) return 0;                            /* no such pair */
            w.in = 1 + (int)(turn % (VQ_INT32 - 1));
            w.out = 1 + (int)(turn / (VQ_INT32 - 1));
        }
        for (n = w.impl; n >= 0; n--) {
            w.impl = n;
            if (try_case(&w)) return 1;
        }
    }
    return 0;
}

/* Until every op had its turns, every kernel was launched `least` times and `seconds` are over.
   0: all is well. */
EXPORT int emulate_run(const char *library, double seconds, int least, uint64_t seed, uint64_t from,
                       uint64_t runs, const char *only)
{
    int ops[VQ_OP_COUNT], once[KERNELS], count = 0, k, missing = 0, bad = 0;
    long cases = 0;
    double start = now();
    uint64_t i;
    (void)t_main;
    if (!start_machines(library, NULL)) return 1;
    for (k = 1; k < VQ_OP_COUNT; k++)
        if (has_kernel((vq_op)k) && (!*only || !strcmp(only, vq_op_str((vq_op)k)))) ops[count++] = k;
    if (!count) { puts("    no op has a kernel"); return 1; }
    for (k = 0; k < emu.kernels; k++) once[k] = emu.kernel[k].launches > 0;        /* the self-test */
    for (i = from; ; i++) {
        int few = 0;
        const double spent = now() - start;
        for (k = 0; k < emu.kernels && !*only; k++) few += !once[k] && emu.kernel[k].launches < least;
        if (runs ? i >= from + runs
            : i >= (uint64_t)TURNS * (uint64_t)count && spent > seconds
              && (!few || spent > 4 * seconds + 60)) break;
        if (!try_number(ops, count, seed, i)) continue;
        cases++;
        if (!wrong) continue;
        printf("    repeat with --seed %llu --from %llu --runs 1\n", (unsigned long long)seed,
               (unsigned long long)i);
        if (++bad >= 5) break;
    }
    printf("  %ld cases, %ld bytes compared, %ld wave instructions, %.0f s\n", cases, compared,
           emu.executed, now() - start);
    for (k = 0; k < emu.kernels; k++) missing += !emu.kernel[k].launches;
    stop_machines();
    return bad || (missing && !runs && !*only);
}
