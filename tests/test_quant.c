/* test_quant.c - vq_quant and vq_dequant against the formulas of their keys

   The oracle knows an fp8 format as the list of its values and finds a code by search in it. Its
   products and quotients of two f32 are rounded to double and from there to f32, which is the
   same as rounding once: a product of 24 by 24 bits is exact in double, and a quotient of such
   numbers is half way between two f32, subnormal ones too, or 2^-49 of its size away from there,
   where double still sees a difference of 2^-53. No sum follows, so nothing can be contracted.

   Every tensor lies in a block of memory of its own that is compared whole after each call:
   gaps, the bytes around it and inputs hold random bytes that may not change. */
#include <fenv.h>
#include <math.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
#define IS(t)    (1 << (t))

/* --- the oracle ------------------------------------------------------------ */

/* 2^(e - off) * (1 + m) and 2^sub * m; the code of -0, of NaN; is there an infinity */
typedef struct {
    vq_dtype t;
    int      mbits, off, sub, largest, minus_zero, nan, infinite;
    double   value[128];
} fp8;

static fp8 fp8s[] = {
    { VQ_E4M3FN,   3, 7,  -6,  0x7e, 0x80, 0x7f, 0, {0} },
    { VQ_E4M3FNUZ, 3, 8,  -7,  0x7f, 0x00, 0x80, 0, {0} },
    { VQ_E5M2,     2, 15, -14, 0x7b, 0x80, 0x7f, 1, {0} },
    { VQ_E5M2FNUZ, 2, 16, -15, 0x7f, 0x00, 0x80, 0, {0} },
};

static const vq_dtype wides[] = { VQ_F32, VQ_F16, VQ_BF16 };
static float   f16_values[0x10000], bf16_values[0x10000];
static vq_ctx *cpu;

static uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }

static float float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

static void stop(void) { vq_free(cpu); }

static void start(void)
{
    vq_desc d = VQ_ZERO;
    int i, c;
    if (cpu) return;
    atexit(stop);
    for (i = 0; i < COUNT(fp8s); i++)
        for (c = 0; c < 128; c++) {
            fp8 *f = fp8s + i;
            int steps = 1 << f->mbits, e = c / steps;
            double m = (double)(c % steps) / steps;
            f->value[c] = e ? ldexp(1 + m, e - f->off) : ldexp(m, f->sub);
        }
    for (c = 0; c < 0x8000; c++) {
        double m = (c & 0x3ff) / 1024.0;
        int e = c >> 10;
        double v = e == 31 ? m ? NAN : INFINITY : e ? ldexp(1 + m, e - 15) : ldexp(m, -14);
        f16_values[c] = (float)v;
        f16_values[c | 0x8000] = (float)-v;
        m = (c & 0x7f) / 128.0;
        e = c >> 7;
        v = e == 255 ? m ? NAN : INFINITY : e ? ldexp(1 + m, e - 127) : ldexp(m, -126);
        bf16_values[c] = (float)v;
        bf16_values[c | 0x8000] = (float)-v;
    }
    d.backend = VQ_CPU;
    CHECK(vq_init(&d, &cpu) == VQ_OK);
}

static const fp8 *fp8_of(vq_dtype t)
{
    int i;
    for (i = 0; i < COUNT(fp8s) - 1 && fp8s[i].t != t; i++) {}
    return fp8s + i;
}

/* The code nearest to v; of two, the even one. v is no NaN and within the format. */
static uint32_t fp8_code(const fp8 *f, double v)
{
    double a = fabs(v), middle;
    int lo = 0, hi = f->largest, at;
    while (lo < hi) {                                    /* the last value that is not above a */
        int mid = (lo + hi + 1) / 2;
        if (f->value[mid] <= a) lo = mid;
        else hi = mid - 1;
    }
    at = lo;
    if (lo < f->largest) {
        middle = (f->value[lo] + f->value[lo + 1]) / 2;
        if (a > middle || (a == middle && lo % 2)) at = lo + 1;
    }
    if (at == 0) return signbit(v) ? (uint32_t)f->minus_zero : 0;
    return (uint32_t)(signbit(v) ? at + 128 : at);
}

static double fp8_value(const fp8 *f, uint32_t c)
{
    int m = (int)(c & 127);
    if (f->minus_zero == 0 && c == 128) return NAN;
    if (m > f->largest) return !f->infinite || m > f->largest + 1 ? NAN
                             : c & 128 ? -INFINITY : INFINITY;
    return c & 128 ? -f->value[m] : f->value[m];
}

static float wide_value(vq_dtype t, uint32_t c)
{
    return t == VQ_F32 ? float_of(c) : t == VQ_F16 ? f16_values[c] : bf16_values[c];
}

/* The code of v in f32, f16 or bf16: |v| in steps of its binade, rounded to a whole number of
   them, ties to even. */
static uint32_t wide_code(vq_dtype t, double v)
{
    int mbits = t == VQ_F16 ? 10 : 7, least = t == VQ_F16 ? -14 : -126, e;
    uint32_t sign = signbit(v) ? 0x8000u : 0, inf = t == VQ_F16 ? 0x7c00 : 0x7f80, c;
    if (t == VQ_F32) return bits_of((float)v);
    if (isnan(v)) return inf | 0x200u >> (10 - mbits);
    if (isinf(v)) return sign | inf;
    if (v == 0) return sign;
    frexp(v, &e);
    e = e - 1 < least ? least : e - 1;
    if (e > 127) return sign | inf;
    c = (uint32_t)((e - least) * (1 << mbits)) + (uint32_t)rint(ldexp(fabs(v), mbits - e));
    return sign | (c > inf ? inf : c);
}

static uint32_t largest_code(vq_dtype t)
{
    return t == VQ_F32 ? 0x7f7fffff : t == VQ_F16 ? 0x7bff : 0x7f7f;
}

static float div32(float a, float b)
{
    volatile double q = (double)a / (double)b;
    return (float)q;
}

static float mul32(float a, float b)
{
    volatile double p = (double)a * (double)b;
    return (float)p;
}

static float scale_of(const vq_key *k, float amax)
{
    float s;
    if (k->floor_kind == VQ_FLOOR_AMAX) amax = fmaxf(amax, k->floor_value);
    s = k->scale_rule == VQ_SCALE_INV ? mul32(amax, div32(1, k->code_max))
                                      : div32(amax, k->code_max);
    return k->floor_kind == VQ_FLOOR_SCALE ? fmaxf(s, k->floor_value) : s;
}

static uint32_t code_of(const vq_key *k, const fp8 *f, float x, float s, float inv)
{
    float v = k->code_rule == VQ_CODE_INV ? mul32(x, inv) : div32(x, s);
    if (isnan(x)) return (uint32_t)f->nan;
    if (isnan(v)) return k->nan_rule == VQ_NAN_MAX ? fp8_code(f, k->code_max) : (uint32_t)f->nan;
    return fp8_code(f, fabsf(v) > k->code_max ? copysignf(k->code_max, v) : v);
}

/* --- tensors in memory ----------------------------------------------------- */

typedef struct {
    vq_tensor t;
    uint8_t  *mem, *want;                /* the block, and what it has to be after the call */
    size_t    size, from;
} box;

static box make_box(vq_dtype t, int64_t rows, int64_t cols, int64_t row, int64_t col, unsigned skip)
{
    box b;
    size_t i, unit = (size_t)vq_dtype_bits(t) / 8, n = 0;
    if (rows && cols) n = (size_t)((rows - 1) * row + (cols - 1) * col + 1) * unit;
    b.from = 32 + skip;
    b.size = b.from + n + (skip % 2 ? 0 : 32);           /* to the very end: a sanitizer sees */
    b.mem = malloc(b.size);
    b.want = malloc(b.size);
    for (i = 0; i < b.size; i++) b.mem[i] = (uint8_t)(t_rand() >> 24);
    memcpy(b.want, b.mem, b.size);
    b.t = vq_tensor_2d(b.mem + b.from, t, rows, cols, VQ_HOST);
    b.t.stride[0] = row;
    b.t.stride[1] = col;
    return b;
}

static void drop_box(box *b) { free(b->mem); free(b->want); }

static size_t offset(const box *b, int64_t r, int64_t c)
{
    int64_t i = r * b->t.stride[0] + c * b->t.stride[1];
    return b->from + (size_t)i * ((size_t)vq_dtype_bits(b->t.dtype) / 8);
}

static uint32_t read_code(const box *b, const uint8_t *mem, int64_t r, int64_t c)
{
    const uint8_t *p = mem + offset(b, r, c);
    uint32_t u;
    uint16_t h;
    switch (vq_dtype_bits(b->t.dtype)) {
    case 8:  return *p;
    case 16: memcpy(&h, p, 2); return h;
    default: memcpy(&u, p, 4); return u;
    }
}

static uint32_t get(const box *b, int64_t r, int64_t c) { return read_code(b, b->mem, r, c); }

static float get_value(const box *b, int64_t r, int64_t c)
{
    return wide_value(b->t.dtype, get(b, r, c));
}

static void expect(box *b, int64_t r, int64_t c, uint32_t code)
{
    uint8_t *p = b->want + offset(b, r, c);
    uint16_t h = (uint16_t)code;
    switch (vq_dtype_bits(b->t.dtype)) {
    case 8:  *p = (uint8_t)code; break;
    case 16: memcpy(p, &h, 2); break;
    default: memcpy(p, &code, 4);
    }
}

static void set(box *b, int64_t r, int64_t c, uint32_t code)     /* of an input */
{
    expect(b, r, c, code);
    memcpy(b->mem + offset(b, r, c), b->want + offset(b, r, c),
           (size_t)vq_dtype_bits(b->t.dtype) / 8);
}

/* A NaN in f32, f16 and bf16 is any quiet NaN: takes the one found for the one expected. */
static void allow_any_quiet_nan(box *b)
{
    uint32_t quiet = b->t.dtype == VQ_F32 ? 0x00400000 : b->t.dtype == VQ_F16 ? 0x200 : 0x40;
    int64_t r, c;
    for (r = 0; r < b->t.shape[0]; r++)
        for (c = 0; c < b->t.shape[1]; c++) {
            uint32_t want = read_code(b, b->want, r, c), got = get(b, r, c);
            if (isnan(wide_value(b->t.dtype, want)) && isnan(wide_value(b->t.dtype, got))
                && (got & quiet)) expect(b, r, c, got);
        }
}

static int same(const box *b, const char *name, const char *about)
{
    size_t i = 0;
    int64_t r, c;
    if (!memcmp(b->mem, b->want, b->size)) return 1;
    for (r = 0; r < b->t.shape[0]; r++)
        for (c = 0; c < b->t.shape[1]; c++) {
            uint32_t got = get(b, r, c), want = read_code(b, b->want, r, c);
            if (got == want) continue;
            CHECKF(got == want, "%s[%d][%d]: %x, not %x: %s", name, (int)r, (int)c,
                   (unsigned)got, (unsigned)want, about);
            return 0;
        }
    while (b->mem[i] == b->want[i]) i++;
    CHECKF(b->mem[i] == b->want[i], "%s: byte %d, outside its elements: %s", name, (int)i, about);
    return 0;
}

/* Scales in one of five orders. */
static box make_scale(const vq_key *k, int64_t rows, int64_t cols, unsigned order, unsigned skip)
{
    int64_t g = k->group_rows < 0 ? 1 : (rows + k->group_rows - 1) / k->group_rows;
    int64_t h = k->group_cols < 0 ? 1 : (cols + k->group_cols - 1) / k->group_cols;
    int64_t row[5], col[5];
    row[0] = h;       col[0] = 1;
    row[1] = 1;       col[1] = g;
    row[2] = 1;       col[2] = (g + 3) / 4 * 4;          /* 16 bytes: TMA */
    row[3] = 3*h + 5; col[3] = 3;
    row[4] = 2;       col[4] = 2*g + 1;
    order %= 5;
    return make_box(k->scale_type, g, h, row[order] ? row[order] : 1, col[order] ? col[order] : 1,
                    skip);
}

/* --- what x holds ---------------------------------------------------------- */

enum { ANY_BITS, PLAIN, ZEROS, SIGNED_ZEROS, SUBNORMALS, POWERS, INFINITIES, ONE_NAN, ALL_NAN,
       HUGE_ONE, AT_FLOOR, BOUNDARIES, FILLS };

static const char *const fill_names[] = { "any bits", "plain", "zeros", "signed zeros",
    "subnormals", "powers", "infinities", "one NaN", "all NaN", "a huge one", "at the floor",
    "boundaries" };

/* The code of v in x's type, moved by some units in the last place. */
static uint32_t near_code(vq_dtype t, double v, int units)
{
    uint32_t c = wide_code(t, v), mag = c & (t == VQ_F32 ? 0x7fffffff : 0x7fff);
    if (units < 0 && mag < (uint32_t)-units) return c;
    return c + (uint32_t)units;
}

/* Codes whose quotients lie half way between two codes of the format, or next to there. The
   first element is the amax of any group of a dynamic key that has it; scales repeat per row. */
static uint32_t boundary(const vq_key *k, const fp8 *f, vq_dtype t, float s, int first)
{
    int c = (int)(t_rand() % (uint32_t)f->largest), units = (int)(t_rand() % 5) - 2;
    double v = (f->value[c] + f->value[c + 1]) / 2 * (double)s;
    if (first) { v = (double)k->code_max * (double)s; units = 0; }
    return near_code(t, t_rand() & 1 ? v : -v, units);
}

static float random_scale(const fp8 *f, vq_dtype t)
{
    int most = t == VQ_F16 ? f->value[f->largest] > 1000 ? -1 : 6 : 100;
    int least = t == VQ_F16 ? f->value[f->largest] > 1000 ? -16 : -8 : -90;
    float m = 1.0f + (float)(t_rand() >> 8) * 0x1p-24f;
    if (t_rand() % 4 == 0) m = 1.0f;
    return ldexpf(m, least + (int)(t_rand() % (uint32_t)(most - least)));
}

static uint32_t fill_code(const vq_key *k, vq_dtype t, int kind, int first)
{
    const double top = wide_value(t, largest_code(t)), max = k->code_max;
    const uint32_t sign = t == VQ_F32 ? 0x80000000u : 0x8000u;
    uint32_t u = t_rand(), minus = u & 1 ? sign : 0;
    double v = ldexp((double)t_rand(), -28) - 8;                     /* -8 .. 8 */
    switch (kind) {
    case ANY_BITS:     return t == VQ_F32 ? t_rand() : t_rand() >> 16;
    case ZEROS:        return 0;
    case SIGNED_ZEROS: return minus;
    case SUBNORMALS:   return minus | t_rand() % (t == VQ_F32 ? 0x900000
                                                  : t == VQ_F16 ? 0x480 : 0x90);
    case POWERS:       return wide_code(t, ldexp(max, -(int)(u >> 8) % 24) * (minus ? -1 : 1));
    case INFINITIES:   return u % 8 < 2 ? minus | (largest_code(t) + 1) : wide_code(t, v);
    case ONE_NAN:      return first ? minus | (largest_code(t) + 2 + (u >> 8) % 9)
                                    : wide_code(t, v);
    case ALL_NAN:      return minus | (largest_code(t) + 2 + (u >> 8) % 60);
    case HUGE_ONE:     return wide_code(t, first ? minus ? -top : top * 0.75 : ldexp(v, -12));
    case AT_FLOOR:
        v = k->floor_kind ? k->floor_value : 1e-30;
        if (k->floor_kind == VQ_FLOOR_SCALE) v *= max;
        return near_code(t, (minus ? -v : v) * (u & 2 ? 1 : ldexp((double)(u >> 8), -24)),
                         (int)(u >> 8) % 3 - 1);
    default:           return wide_code(t, v);
    }
}

static void fill(box *x, const vq_key *k, int kind, float s)
{
    const fp8 *f = fp8_of(k->elem);
    int64_t r, c;
    for (r = 0; r < x->t.shape[0]; r++)
        for (c = 0; c < x->t.shape[1]; c++) {
            int first = c % (k->group_cols > 0 ? k->group_cols : 1 << 30) == 0
                     && r % (k->group_rows > 0 ? k->group_rows : 1 << 30) == 0;
            set(x, r, c, kind == BOUNDARIES ? boundary(k, f, x->t.dtype, s, first)
                                            : fill_code(k, x->t.dtype, kind, first));
        }
}

static uint32_t given_scale(void)
{
    static const uint32_t odd[] = {
        0, 0x80000000, 1, 0x007fffff, 0x00400000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000,
        0x7f800001, 0xbf800000, 0x3f800000
    };
    uint32_t u = t_rand();
    return u % 3 == 0 ? odd[(u >> 8) % (uint32_t)COUNT(odd)]
         : u % 3 == 1 ? t_rand() & 0x7fffffff : bits_of(ldexpf((float)(u >> 8), -28));
}

/* --- one call, whole ------------------------------------------------------- */

static void oracle_quant(const vq_key *k, const box *x, box *q, box *s)
{
    const fp8 *f = fp8_of(k->elem);
    int64_t rows = x->t.shape[0], cols = x->t.shape[1], g, h, r, c;
    int64_t R = k->group_rows < 0 ? rows : k->group_rows;
    int64_t C = k->group_cols < 0 ? cols : k->group_cols;
    if (!rows || !cols) return;
    for (g = 0; g * R < rows; g++)
        for (h = 0; h * C < cols; h++) {
            float amax = 0, scale, inv;
            for (r = g * R; r < rows && r < (g + 1) * R; r++)
                for (c = h * C; c < cols && c < (h + 1) * C; c++) {
                    float v = get_value(x, r, c);
                    if (isinf(v)) v = wide_value(x->t.dtype, largest_code(x->t.dtype));
                    if (fabsf(v) > amax) amax = fabsf(v);
                }
            if (k->flags & VQ_KEY_STATIC) scale = get_value(s, g, h);
            else {
                scale = scale_of(k, amax);
                expect(s, g, h, bits_of(scale));
            }
            inv = div32(1, scale);
            for (r = g * R; r < rows && r < (g + 1) * R; r++)
                for (c = h * C; c < cols && c < (h + 1) * C; c++)
                    expect(q, r, c, code_of(k, f, get_value(x, r, c), scale, inv));
        }
}

static void oracle_dequant(const vq_key *k, const box *q, const box *s, box *y)
{
    const fp8 *f = fp8_of(k->elem);
    int64_t r, c;
    for (r = 0; r < q->t.shape[0]; r++)
        for (c = 0; c < q->t.shape[1]; c++) {
            float scale = get_value(s, k->group_rows < 0 ? 0 : r / k->group_rows,
                                    k->group_cols < 0 ? 0 : c / k->group_cols);
            float v = (float)fp8_value(f, get(q, r, c));
            expect(y, r, c, wide_code(y->t.dtype, mul32(v, scale)));
        }
}

static vq_status call_quant(const vq_key *k, const box *x, const box *q, const box *s,
                            vq_report *why)
{
    vq_quant_args a = VQ_ZERO;
    a.call.report = why;
    a.key = *k;
    a.x = x->t;
    a.q = q->t;
    a.scale = s->t;
    return vq_quant(cpu, &a);
}

static vq_status call_dequant(const vq_key *k, const box *q, const box *s, const box *y,
                              vq_report *why)
{
    vq_dequant_args a = VQ_ZERO;
    a.call.report = why;
    a.key = *k;
    a.q = q->t;
    a.scale = s->t;
    a.y = y->t;
    return vq_dequant(cpu, &a);
}

static void about_call(char *out, size_t size, const vq_key *k, const box *x, int kind)
{
    char key[256];
    vq_key_print(k, key, sizeof key);
    snprintf(out, size, "%s, %s %dx%d, %s", key, vq_dtype_str(x->t.dtype), (int)x->t.shape[0],
             (int)x->t.shape[1], fill_names[kind]);
}

/* Quantizes and dequantizes. `way` picks strides, orders, alignment and y's type. */
static void run_both(vq_key k, vq_dtype t, int64_t rows, int64_t cols, int kind, unsigned way)
{
    box x = make_box(t, rows, cols, cols + way % 3 * 5 + !cols, 1, way % 8);
    box q = make_box(k.elem, rows, cols, cols + way / 3 % 2 * 3 + !cols, 1, way / 5 % 4);
    box s = make_scale(&k, rows, cols, way, way / 7 % 8);
    box y = make_box(wides[way / 2 % 3], rows, cols, cols + way / 2 % 2 * 7 + !cols, 1,
                     way / 3 % 8);
    float scale = random_scale(fp8_of(k.elem), t);
    vq_report why = VQ_ZERO;
    char about[400];
    int64_t g, h;

    about_call(about, sizeof about, &k, &x, kind);
    if (kind == BOUNDARIES && !(k.flags & VQ_KEY_STATIC)) {
        uint32_t c = wide_code(t, (double)k.code_max * (double)scale);
        scale = scale_of(&k, wide_value(t, c));
    }
    fill(&x, &k, kind, scale);
    if (k.flags & VQ_KEY_STATIC)
        for (g = 0; g < s.t.shape[0]; g++)
            for (h = 0; h < s.t.shape[1]; h++)
                set(&s, g, h, kind == BOUNDARIES ? bits_of(scale) : given_scale());

    oracle_quant(&k, &x, &q, &s);
    CHECKF(call_quant(&k, &x, &q, &s, &why) == VQ_OK, "%s: %s", about, why.text);
    if (same(&x, "x", about) && same(&q, "q", about) && same(&s, "scale", about)) {
        oracle_dequant(&k, &q, &s, &y);
        CHECKF(call_dequant(&k, &q, &s, &y, &why) == VQ_OK, "%s: %s", about, why.text);
        allow_any_quiet_nan(&y);
        (void)(same(&y, "y", about) && same(&q, "q", about) && same(&s, "scale", about));
    }
    drop_box(&x);
    drop_box(&q);
    drop_box(&s);
    drop_box(&y);
}

static vq_key key_of(const char *text)
{
    vq_key k = VQ_ZERO;
    vq_report why = VQ_ZERO;
    CHECKF(vq_key_parse(text, &k, &why) == VQ_OK, "%s: %s", text, why.text);
    return k;
}

/* --- every key ------------------------------------------------------------- */

static const struct { vq_dtype t; float max; } elems[] = {
    { VQ_E4M3FN, 448 }, { VQ_E4M3FNUZ, 224 }, { VQ_E4M3FNUZ, 240 }, { VQ_E5M2, 57344 },
    { VQ_E5M2FNUZ, 57344 }, { VQ_E4M3FN, 446.7f }, { VQ_E5M2, 3 },
};

static const struct { int32_t rows, cols; } groups[] = {
    { -1, -1 }, { 1, -1 }, { -1, 1 }, { 1, 16 }, { 1, 32 }, { 1, 64 }, { 1, 128 }, { 1, 7 },
    { 3, 5 }, { 128, 128 }, { 1, 1 }, { 2, -1 }, { -1, 4 },
};

typedef void (*visitor)(vq_key k, unsigned n);

static void each_key_served(visitor visit)
{
    static const float floors[] = { 0, 1e-10f, 4.3596542e-6f };
    unsigned e, g, rule, code, least, nan, n = 0;
    for (e = 0; e < (unsigned)COUNT(elems); e++)
        for (g = 0; g < (unsigned)COUNT(groups); g++)
            for (rule = 0; rule < 3; rule++)
                for (code = 0; code < 2; code++)
                    for (least = 0; least < (rule ? 3u : 1u); least++)
                        for (nan = 0; nan < 2; nan++) {
                            vq_key k = key_of("float8_e4m3fn/f32/-1x-1/static/max448/x.div.s");
                            k.elem = elems[e].t;
                            k.code_max = elems[e].max;
                            k.group_rows = groups[g].rows;
                            k.group_cols = groups[g].cols;
                            k.flags = rule ? 0 : VQ_KEY_STATIC;
                            k.scale_rule = rule == 2 ? VQ_SCALE_INV : rule ? VQ_SCALE_DIV
                                                                           : VQ_SCALE_GIVEN;
                            k.code_rule = code ? VQ_CODE_INV : VQ_CODE_DIV;
                            k.floor_kind = least == 2 ? VQ_FLOOR_SCALE : least ? VQ_FLOOR_AMAX
                                                                               : VQ_FLOOR_NONE;
                            k.floor_value = floors[least];
                            k.nan_rule = nan ? VQ_NAN_MAX : VQ_NAN_KEEP;
                            visit(k, n++);
                        }
}

/* Each key meets half of the fillings, any half, or with --exhaustive all, in turn with types,
   shapes and strides. Extents of one more and one less than groups are among the shapes. */
static void every_filling(vq_key k, unsigned n)
{
    static const int64_t cols[] = { 1, 5, 127, 16, 129, 200, 33, 128, 3 };
    static const int64_t rows[] = { 1, 3, 2, 5, 4 };
    unsigned i;
    for (i = 0; i < FILLS; i++) {
        unsigned at = n * 7 + i;
        int64_t r = rows[at % 5], c = cols[at % 9];
        if (t_rand() & 1 && !t_exhaustive) continue;
        if (k.group_rows == 128 && i % 4 == 1) { r = 130; c = 131; }
        if (c % (k.group_cols > 0 ? k.group_cols : 1) == 0
            && r % (k.group_rows > 0 ? k.group_rows : 1) == 0) k.flags |= VQ_KEY_NO_TAIL;
        run_both(k, wides[(n + i) % 3], r, c, (int)i, at);
        k.flags &= ~VQ_KEY_NO_TAIL;
    }
}

static void every_key_served_is_its_formula(void)
{
    start();
    each_key_served(every_filling);
}

static void empty_and_single(vq_key k, unsigned n)
{
    static const struct { int64_t rows, cols; } shapes[] = {
        { 0, 5 }, { 5, 0 }, { 0, 0 }, { 1, 1 }
    };
    int i;
    if (n % 3) return;
    for (i = 0; i < COUNT(shapes); i++)
        run_both(k, wides[(n / 3 + (unsigned)i) % 3], shapes[i].rows, shapes[i].cols,
                 (int)(n / 3 % FILLS), n / 3 + (unsigned)i);
}

static void an_extent_of_zero_writes_nothing_and_one_element_works(void)
{
    start();
    each_key_served(empty_and_single);
}

static void many_rows_work(void)
{
    start();
    run_both(key_of("fp8_token"), VQ_F32, 65537, 3, PLAIN, 1);
    run_both(key_of("float8_e4m3fnuz/f32/1x2/dyn/amax.inv240/x.inv.s"), VQ_BF16, 65537, 3,
             INFINITIES, 0);
    run_both(key_of("float8_e5m2/f32/-1x-1/dyn/amax.div57344/x.div.s"), VQ_F16, 65537, 3,
             ANY_BITS, 5);
    run_both(key_of("fp8_block128"), VQ_F32, 65537, 3, HUGE_ONE, 3);
}

static void wide_rows_work(void)
{
    start();
    run_both(key_of("fp8_token"), VQ_BF16, 2, 70001, PLAIN, 1);
    run_both(key_of("fp8_group128"), VQ_F16, 3, 16384 + 77, BOUNDARIES, 4);
    run_both(key_of("fp8_channel"), VQ_F32, 5, 16385, ANY_BITS, 2);
    run_both(key_of("float8_e4m3fn/f32/3x5/static/max448/x.inv.s"), VQ_BF16, 7, 8191, PLAIN, 3);
}

/* Codes at ties and next to them, in quantity: the quotient decides, not its neighbourhood. */
static void codes_at_rounding_boundaries_are_right(void)
{
    unsigned i;
    start();
    for (i = 0; i < 240; i++) {
        vq_key k = key_of("float8_e4m3fn/f32/1x128/dyn/amax.div448/x.div.s");
        k.elem = elems[i % 5].t;
        k.code_max = elems[i % 5].max;
        if (i & 1) k.code_rule = VQ_CODE_INV;
        if (i & 2) k.scale_rule = VQ_SCALE_INV;
        if (i & 4) { k.flags = VQ_KEY_STATIC; k.scale_rule = VQ_SCALE_GIVEN; }
        if (i & 8) k.group_cols = -1;
        run_both(k, wides[i / 16 % 3], 8, 256, BOUNDARIES, i);
    }
}

/* --- known answers --------------------------------------------------------- */

/* One row of numbers under a key in a type; the codes and the bits of the only scale. */
static void row_is(vq_key k, vq_dtype t, const double *x, int n, uint32_t scale,
                   const uint8_t *codes)
{
    box bx = make_box(t, 1, n, n, 1, 0), q = make_box(k.elem, 1, n, n, 1, 0);
    box s = make_box(VQ_F32, 1, 1, 1, 1, 0);
    vq_report why = VQ_ZERO;
    char key[256];
    int i;
    vq_key_print(&k, key, sizeof key);
    for (i = 0; i < n; i++) {
        set(&bx, 0, i, wide_code(t, x[i]));
        expect(&q, 0, i, codes[i]);
    }
    if (k.flags & VQ_KEY_STATIC) set(&s, 0, 0, scale);
    else expect(&s, 0, 0, scale);
    CHECKF(call_quant(&k, &bx, &q, &s, &why) == VQ_OK, "%s: %s", key, why.text);
    (void)(same(&bx, "x", key) && same(&s, "scale", key) && same(&q, "q", key));
    drop_box(&bx);
    drop_box(&q);
    drop_box(&s);
}

static vq_key fnuz(vq_key k) { return vq_key_as(k, VQ_E4M3FNUZ, 224); }

/* Rows as vLLM's per-token kernel quantizes them: e4m3fn over 448 and fnuz over 224 give the same
   bytes, the scale twice as large. */
static void a_worked_row_has_the_bytes_of_vllm(void)
{
    static const double x[] = { 1, -2.5, 0.30078125, 7.6875, -0.00099945068359375, 0 };
    static const uint8_t codes[] = { 0x67, 0xf1, 0x59, 0x7e, 0x97, 0x00 };
    static const double negative_zero[] = { 7.6875, -0.0 };
    static const uint8_t fn[] = { 0x7e, 0x80 }, uz[] = { 0x7e, 0x00 };
    vq_key k = key_of("fp8_token");
    start();
    row_is(k, VQ_BF16, x, 6, 0x3c8c9249, codes);
    row_is(fnuz(k), VQ_BF16, x, 6, 0x3d0c9249, codes);
    row_is(k, VQ_BF16, negative_zero, 2, 0x3c8c9249, fn);
    row_is(fnuz(k), VQ_BF16, negative_zero, 2, 0x3d0c9249, uz);
}

static void dividing_and_multiplying_give_scales_one_ulp_apart(void)
{
    static const double x[] = { 7.6875 };
    static const uint8_t codes[] = { 0x7e };
    start();
    CHECK((double)float_of(0x3c8c9249) == 0.01715959794819355);
    CHECK((double)float_of(0x3c8c924a) == 0.0171595998108387);
    row_is(key_of("float8_e4m3fn/f32/1x128/dyn/amax.div448/x.div.s"), VQ_BF16, x, 1, 0x3c8c9249,
           codes);
    row_is(key_of("vllm_triton_group128"), VQ_BF16, x, 1, 0x3c8c924a, codes);
}

static void one_ulp_of_scale_flips_codes_on_ties(void)
{
    /* amax, x, then the code where the scale is divided and where it is multiplied */
    static const struct { double amax, x; uint8_t div, mul; } flips[] = {
        { 6.125, 4.15625,  0x7a, 0x79 },         /* 320, 288 */
        { 5.25,  4.3125,   0x7c, 0x7b },         /* 384, 352 */
        { 3.875, 1.453125, 0x73, 0x72 },         /* 176, 160 */
    };
    int i;
    start();
    for (i = 0; i < COUNT(flips); i++) {
        double x[2];
        uint8_t codes[2] = { 0x7e, 0 };
        vq_key k = key_of("float8_e4m3fn/f32/1x128/dyn/amax.div448/x.div.s/floor=amax:1e-10");
        x[0] = flips[i].amax;
        x[1] = flips[i].x;
        codes[1] = flips[i].div;
        row_is(k, VQ_BF16, x, 2, bits_of((float)(flips[i].amax / 448)), codes);
        codes[1] = flips[i].mul;
        row_is(key_of("vllm_triton_group128"), VQ_BF16, x, 2,
               bits_of((float)(flips[i].amax * (double)float_of(0x3b124925))), codes);
    }
}

static void dividing_and_multiplying_by_a_reciprocal_give_other_codes(void)
{
    static const double x[] = { 8.625, 6.46875 };
    static const uint8_t div[] = { 0x7e, 0x7a }, mul[] = { 0x7e, 0x7b };       /* 320, 352 */
    vq_key k = key_of("float8_e4m3fn/f32/1x-1/dyn/amax.div448/x.div.s");
    uint32_t s = bits_of((float)(8.625 / 448));
    start();
    row_is(k, VQ_BF16, x, 2, s, div);
    k.code_rule = VQ_CODE_INV;
    row_is(k, VQ_BF16, x, 2, s, mul);
    row_is(key_of("float8_e4m3fn/f32/1x-1/static/max448/x.inv.s"), VQ_BF16, x, 2, s, mul);
}

static void a_row_of_zeros_has_the_scale_of_its_floor(void)
{
    static const double x[] = { 0, -0.0, 0 };
    static const uint8_t codes[] = { 0, 0x80, 0 }, uz[] = { 0, 0, 0 },
                         most[] = { 0x7e, 0x7e, 0x7e }, nans[] = { 0x7f, 0x7f, 0x7f };
    start();
    row_is(key_of("fp8_dynamic_tensor"), VQ_F32, x, 3, 0, most);
    row_is(fnuz(key_of("fp8_dynamic_tensor")), VQ_F32, x, 3, 0, most);
    row_is(key_of("fp8_tensor"), VQ_F32, x, 3, 0x36924925, codes);
    row_is(fnuz(key_of("fp8_tensor")), VQ_F32, x, 3, 0x37124925, uz);
    row_is(key_of("kFp8DynamicTokenSym"), VQ_BF16, x, 3, 0x36924925, codes);
    row_is(fnuz(key_of("kFp8DynamicTokenSym")), VQ_BF16, x, 3, 0x37124925, uz);
    row_is(key_of("float8_e4m3fn/f32/1x3/dyn/amax.div448/x.div.s/notail/floor=amax:1e-10"), VQ_F16,
           x, 3, bits_of((float)(1e-10f / 448.0)), codes);
    row_is(key_of("vllm_triton_group128"), VQ_F16, x, 3,
           bits_of((float)(1e-10f * (double)float_of(0x3b124925))), codes);
    row_is(key_of("aiter_token"), VQ_F32, x, 3, 0, nans);
    row_is(key_of("float8_e4m3fn/f32/1x-1/dyn/amax.div448/x.div.s"), VQ_F32, x, 3, 0, nans);
    row_is(key_of("float8_e4m3fn/f32/1x-1/dyn/amax.div448/x.div.s/nan=max"), VQ_F32, x, 3, 0, most);
}

static void a_tiny_amax_is_scaled_or_lost_as_its_floor_says(void)
{
    static const double x[] = { 1e-30, -5e-31 };
    static const uint8_t full[] = { 0x7e, 0xf6 }, none[] = { 0, 0x80 };
    static const double less[] = { 0x1p-140, 0 };        /* 1/s is infinite */
    static const uint8_t most[] = { 0x7e, 0x7e }, nan[] = { 0x7e, 0x7f };
    vq_key k = key_of("fp8_dynamic_tensor");
    start();
    row_is(k, VQ_F32, x, 2, bits_of(div32(1e-30f, 448)), full);
    row_is(key_of("fp8_token"), VQ_F32, x, 2, 0x36924925, none);
    row_is(key_of("fp8_tensor"), VQ_F32, x, 2, 0x36924925, none);
    row_is(key_of("fp8_group128"), VQ_F32, x, 2, bits_of(mul32(1e-10f, float_of(0x3b124925))),
           none);
    row_is(k, VQ_F32, less, 2, bits_of(div32(0x1p-140f, 448)), most);
    k.nan_rule = VQ_NAN_KEEP;
    row_is(k, VQ_F32, less, 2, bits_of(div32(0x1p-140f, 448)), nan);
}

/* Infinity counts as the largest finite value of x's type; NaN does not count. Both have codes. */
static void infinity_and_nan_have_a_scale_and_codes(void)
{
    static const double one_inf[] = { INFINITY, -INFINITY, 1, -0.0 }, one_nan[] = { NAN, 1, -2, 0 },
                        all_nan[] = { NAN, NAN, NAN, NAN };
    static const uint8_t inf_f32[] = { 0x7e, 0xfe, 0, 0x80 },
                         inf_f16[] = { 0x7e, 0xfe, 0x04, 0x80 },
                         inf_uz[] = { 0x7e, 0xfe, 0x04, 0 }, nan[] = { 0x7f, 0x76, 0xfe, 0 },
                         nan_uz[] = { 0x80, 0x76, 0xfe, 0 }, nans[] = { 0x7f, 0x7f, 0x7f, 0x7f },
                         nans_uz[] = { 0x80, 0x80, 0x80, 0x80 };
    static const char *const keys[] = { "fp8_tensor", "fp8_token", "fp8_dynamic_tensor",
                                        "vllm_native_token" };
    int i;
    start();
    for (i = 0; i < COUNT(keys); i++) {
        vq_key k = key_of(keys[i]);
        int inv = k.scale_rule == VQ_SCALE_INV, least = k.floor_kind != VQ_FLOOR_NONE;
#define SCALE(key, amax) bits_of(inv ? mul32(amax, div32(1, (key).code_max)) \
                                     : div32(amax, (key).code_max))
        row_is(k, VQ_F32, one_inf, 4, SCALE(k, 0x1.fffffep127f), inf_f32);
        row_is(k, VQ_BF16, one_inf, 4, SCALE(k, 0x1.fep127f), inf_f32);
        row_is(k, VQ_F16, one_inf, 4, SCALE(k, 65504), inf_f16);
        row_is(fnuz(k), VQ_F16, one_inf, 4, SCALE(fnuz(k), 65504), inf_uz);
        row_is(k, VQ_BF16, one_nan, 4, SCALE(k, 2), nan);
        row_is(fnuz(k), VQ_BF16, one_nan, 4, SCALE(fnuz(k), 2), nan_uz);
        row_is(k, VQ_F32, all_nan, 4, least ? 0x36924925 : 0, nans);
        row_is(fnuz(k), VQ_F32, all_nan, 4, least ? 0x37124925 : 0, nans_uz);
#undef SCALE
    }
}

static void a_given_scale_is_used_as_it_is(void)
{
    static const double x[] = { 0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 0x1p-149 };
    static const struct { uint32_t scale; uint8_t keep[8], most[8]; } known[] = {
        { 0x3f800000, { 0, 0x80, 0x38, 0xb8, 0x7e, 0xfe, 0x7f, 0 },
                      { 0, 0x80, 0x38, 0xb8, 0x7e, 0xfe, 0x7f, 0 } },
        { 0xbf800000, { 0x80, 0, 0xb8, 0x38, 0xfe, 0x7e, 0x7f, 0x80 },
                      { 0x80, 0, 0xb8, 0x38, 0xfe, 0x7e, 0x7f, 0x80 } },
        { 0x00000000, { 0x7f, 0x7f, 0x7e, 0xfe, 0x7e, 0xfe, 0x7f, 0x7e },
                      { 0x7e, 0x7e, 0x7e, 0xfe, 0x7e, 0xfe, 0x7f, 0x7e } },
        { 0x80000000, { 0x7f, 0x7f, 0xfe, 0x7e, 0xfe, 0x7e, 0x7f, 0xfe },
                      { 0x7e, 0x7e, 0xfe, 0x7e, 0xfe, 0x7e, 0x7f, 0xfe } },
        { 0x7f800000, { 0, 0x80, 0, 0x80, 0x7f, 0x7f, 0x7f, 0 },
                      { 0, 0x80, 0, 0x80, 0x7e, 0x7e, 0x7f, 0 } },
        { 0x7fc00000, { 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f },
                      { 0x7e, 0x7e, 0x7e, 0x7e, 0x7e, 0x7e, 0x7f, 0x7e } },
    };
    int i, rule;
    start();
    for (i = 0; i < COUNT(known); i++)
        for (rule = 0; rule < 2; rule++) {
            vq_key k = key_of("float8_e4m3fn/f32/-1x-1/static/max448/x.inv.s");
            if (rule) k.code_rule = VQ_CODE_DIV;
            row_is(k, VQ_F32, x, 8, known[i].scale, known[i].keep);
            k.nan_rule = VQ_NAN_MAX;
            row_is(k, VQ_F32, x, 8, known[i].scale, known[i].most);
        }
}

/* --- rows, views, alignment ------------------------------------------------ */

/* Under a key whose groups are within a row, rows in another order are the same rows. */
static void a_row_depends_on_itself_alone(void)
{
    enum { ROWS = 37, COLS = 200 };
    static const char *const keys[] = { "fp8_token", "fp8_group128", "fp8_static_token",
        "float8_e5m2/f32/1x7/dyn/amax.inv57344/x.inv.s/floor=amax:1e-10", "aiter_token_fnuz" };
    int i, r, c;
    start();
    for (i = 0; i < COUNT(keys); i++) {
        vq_key k = key_of(keys[i]);
        vq_dtype t = wides[i % 3];
        box x = make_box(t, ROWS, COLS, COLS, 1, 0), x2 = make_box(t, ROWS, COLS, COLS, 1, 0);
        box q = make_box(k.elem, ROWS, COLS, COLS, 1, 0);
        box q2 = make_box(k.elem, ROWS, COLS, COLS, 1, 0);
        box s = make_scale(&k, ROWS, COLS, 0, 0), s2 = make_scale(&k, ROWS, COLS, 1, 0), part;
        int64_t n = s.t.shape[1];
        fill(&x, &k, INFINITIES, 1);
        for (r = 0; r < ROWS; r++)
            for (c = 0; c < COLS; c++) set(&x2, r, c, get(&x, r * 11 % ROWS, c));
        for (r = 0; r < ROWS && k.flags & VQ_KEY_STATIC; r++) {
            set(&s, r, 0, 0x3c000000u + ((uint32_t)r << 16));
            set(&s2, r, 0, 0x3c000000u + ((uint32_t)(r * 11 % ROWS) << 16));
        }
        CHECK(!call_quant(&k, &x, &q, &s, NULL) && !call_quant(&k, &x2, &q2, &s2, NULL));
        for (r = 0; r < ROWS; r++) {
            for (c = 0; c < COLS; c++) expect(&q2, r, c, get(&q, r * 11 % ROWS, c));
            for (c = 0; c < n; c++) expect(&s2, r, c, get(&s, r * 11 % ROWS, c));
        }
        (void)(same(&q2, "q", keys[i]) && same(&s2, "scale", keys[i]));

        /* A slice of rows, in place in a fresh block: the other rows stay as they are. */
        part = make_box(k.elem, ROWS, COLS, COLS, 1, 3);
        for (r = 5; r < 18; r++) for (c = 0; c < COLS; c++) expect(&part, r, c, get(&q, r, c));
        x2.t = x.t;
        q2.t = part.t;
        s2.t = s.t;
        x2.t.data = x.mem + offset(&x, 5, 0);
        q2.t.data = part.mem + offset(&part, 5, 0);
        s2.t.data = s.mem + offset(&s, 5, 0);
        x2.t.shape[0] = q2.t.shape[0] = s2.t.shape[0] = 13;
        memcpy(s.want, s.mem, s.size);
        CHECK(!call_quant(&k, &x2, &q2, &s2, NULL));
        (void)(same(&part, "q", keys[i]) && same(&s, "scale", keys[i]));
        drop_box(&part);
        drop_box(&x);
        drop_box(&q);
        drop_box(&s);
        drop_box(&x2);
        drop_box(&q2);
        drop_box(&s2);
    }
}

static void no_alignment_changes_a_byte(void)
{
    static const char *const keys[] = { "fp8_token", "fp8_group128", "fp8_block128", "fp8_tensor",
                                        "fp8_static_channel" };
    unsigned skip, i;
    start();
    for (i = 0; i < (unsigned)COUNT(keys); i++)
        for (skip = 0; skip < 18; skip++) {
            vq_key k = key_of(keys[i]);
            vq_dtype t = wides[skip % 3];
            box x, q, s, y;
            t_state = t_seed + i;                            /* the same x each time */
            x = make_box(t, 5, 261, 263, 1, skip);
            fill(&x, &k, PLAIN, 1);
            q = make_box(k.elem, 5, 261, 261, 1, skip + 1);
            s = make_scale(&k, 5, 261, 3, skip + 1);
            y = make_box(VQ_BF16, 5, 261, 261, 1, skip | 1);
            if (k.flags & VQ_KEY_STATIC) {
                int c;
                for (c = 0; c < 261; c++) set(&s, 0, c, 0x3c000001u + (uint32_t)c);
            }
            oracle_quant(&k, &x, &q, &s);
            CHECK(!call_quant(&k, &x, &q, &s, NULL));
            oracle_dequant(&k, &q, &s, &y);
            CHECK(!call_dequant(&k, &q, &s, &y, NULL));
            (void)(same(&x, "x", keys[i]) && same(&q, "q", keys[i]) && same(&s, "scale", keys[i])
                   && same(&y, "y", keys[i]));
            drop_box(&x);
            drop_box(&q);
            drop_box(&s);
            drop_box(&y);
        }
}

/* What vq_scale_for() builds is what vq_quant() takes, in each order of strides. */
static void scales_lie_where_their_order_says(void)
{
    enum { ROWS = 5, COLS = 300 };
    static const int64_t strides[3][2] = { { 3, 1 }, { 1, 5 }, { 1, 8 } };
    vq_key k = key_of("fp8_group128");
    int o, r, g;
    start();
    for (o = VQ_ROWS; o <= VQ_COLUMNS_TMA; o++) {
        box x = make_box(VQ_BF16, ROWS, COLS, COLS, 1, 0);
        box q = make_box(k.elem, ROWS, COLS, COLS, 1, 0);
        box s = make_box(VQ_F32, ROWS, 3, strides[o][0], strides[o][1], 0);
        fill(&x, &k, PLAIN, 1);
        s.t = vq_scale_for(&k, q.t, (vq_order)o, s.t.data);
        CHECK(s.t.dtype == VQ_F32 && s.t.rank == 2 && s.t.shape[0] == ROWS && s.t.shape[1] == 3);
        CHECK(s.t.stride[0] == strides[o][0] && s.t.stride[1] == strides[o][1]);
        oracle_quant(&k, &x, &q, &s);
        CHECK(!call_quant(&k, &x, &q, &s, NULL));
        (void)(same(&q, "q", vq_order_str((vq_order)o)) && same(&s, "scale", "its order"));
        for (r = 0; r < ROWS; r++)
            for (g = 0; g < 3; g++) {
                uint32_t u;
                memcpy(&u, s.mem + s.from + (r * strides[o][0] + g * strides[o][1]) * 4, 4);
                CHECK(u == get(&s, r, g));
            }
        drop_box(&x);
        drop_box(&q);
        drop_box(&s);
    }
}

/* --- dequant --------------------------------------------------------------- */

static void every_code_times_every_kind_of_scale(void)
{
    static const vq_dtype fp8_types[] = { VQ_E4M3FN, VQ_E4M3FNUZ, VQ_E5M2, VQ_E5M2FNUZ };
    int e, t, way, r, c;
    start();
    for (e = 0; e < 4; e++)
        for (t = 0; t < 3; t++)
            for (way = 0; way < 5; way++) {
                vq_key k = key_of("float8_e5m2/f32/1x-1/dyn/amax.div240/x.div.s");
                box q, s, y;
                char about[64];
                k.elem = fp8_types[e];
                q = make_box(k.elem, 40, 256, 256 + way, 1, (unsigned)way);
                s = make_scale(&k, 40, 256, (unsigned)way, (unsigned)way);
                y = make_box(wides[t], 40, 256, 256 + 3 * way, 1, (unsigned)(way + t));
                for (r = 0; r < 40; r++) {
                    for (c = 0; c < 256; c++) set(&q, r, c, (uint32_t)c);
                    set(&s, r, 0, given_scale());
                }
                snprintf(about, sizeof about, "%s to %s", vq_dtype_str(k.elem),
                         vq_dtype_str(wides[t]));
                oracle_dequant(&k, &q, &s, &y);
                CHECK(call_dequant(&k, &q, &s, &y, NULL) == VQ_OK);
                allow_any_quiet_nan(&y);
                (void)(same(&y, "y", about) && same(&q, "q", about) && same(&s, "scale", about));
                drop_box(&q);
                drop_box(&s);
                drop_box(&y);
            }
}

/* y's own step is known here, not computed: the largest that stays and the least that goes. */
static void what_is_too_large_for_y_becomes_infinity(void)
{
    static const struct { vq_dtype t; uint32_t scale; uint8_t code; uint32_t want; } known[] = {
        { VQ_F16,  0x43123492, 0x7e, 0x7bff },           /* 448 * 146.20535: just under 65520 */
        { VQ_F16,  0x43124925, 0x7e, 0x7c00 },           /* 448 * 146.28572: 65536 */
        { VQ_F16,  0x43124925, 0xfe, 0xfc00 },
        { VQ_BF16, 0x7b124925, 0x7e, 0x7f80 },           /* an infinity of the f32 product */
        { VQ_F32,  0x7b124925, 0x7e, 0x7f800000 },
        { VQ_F32,  0x7b124924, 0xfe, 0xff7fffff },
        { VQ_BF16, 0x7b124924, 0xfe, 0xff80 },           /* finite in f32, not in bf16 */
        { VQ_F32,  0x00000001, 0x01, 0x00000000 },       /* 2^-158 */
        { VQ_F32,  0x00000001, 0x38, 0x00000001 },
        { VQ_F32,  0x00800000, 0x30, 0x00400000 },       /* a subnormal is kept */
        { VQ_BF16, 0x00800000, 0x30, 0x0040 },
        { VQ_F32,  0x00000000, 0xfe, 0x80000000 },
    };
    vq_key k = key_of("fp8_tensor");
    int i;
    start();
    for (i = 0; i < COUNT(known); i++) {
        box q = make_box(VQ_E4M3FN, 1, 1, 1, 1, 0), s = make_box(VQ_F32, 1, 1, 1, 1, 0);
        box y = make_box(known[i].t, 1, 1, 1, 1, 0);
        set(&q, 0, 0, known[i].code);
        set(&s, 0, 0, known[i].scale);
        expect(&y, 0, 0, known[i].want);
        CHECK(call_dequant(&k, &q, &s, &y, NULL) == VQ_OK);
        (void)same(&y, "y", vq_dtype_str(known[i].t));
        drop_box(&q);
        drop_box(&s);
        drop_box(&y);
    }
}

/* --- the caller's floating-point mode -------------------------------------- */

static const int rounding[] = { FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO,
                                FE_TONEAREST };

static void set_mode(int m)
{
    fesetround(rounding[m]);
#if defined(__SSE2__)
    if (m == 4) __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040u);   /* FTZ, DAZ */
#endif
}

static void no_rounding_mode_changes_a_byte_and_each_is_given_back(void)
{
    static const char *const keys[] = { "fp8_token", "fp8_group128", "fp8_static_token",
                                        "float8_e5m2/f32/1x7/dyn/amax.inv57344/x.inv.s" };
    static const int kinds[] = { PLAIN, SUBNORMALS, BOUNDARIES, ANY_BITS };
    fenv_t was;
    int i, m, g, h, bad;
    start();
    fegetenv(&was);
    for (i = 0; i < 4 * COUNT(keys); i++)
        for (m = 0; m < 5; m++) {
            vq_key k = key_of(keys[i / 4]);
            box x = make_box(VQ_F32, 4, 100, 100, 1, 0), q = make_box(k.elem, 4, 100, 100, 1, 0);
            box s = make_scale(&k, 4, 100, 0, 0), y = make_box(VQ_F16, 4, 100, 100, 1, 0);
            fill(&x, &k, kinds[i % 4], 0x1p-130f);
            if (k.flags & VQ_KEY_STATIC)
                for (g = 0; g < s.t.shape[0]; g++)
                    for (h = 0; h < s.t.shape[1]; h++) set(&s, g, h, given_scale());
            oracle_quant(&k, &x, &q, &s);
            set_mode(m);
#if defined(__SSE2__)
            g = (int)(__builtin_ia32_stmxcsr() & ~0x3fu);
#endif
            bad = call_quant(&k, &x, &q, &s, NULL) != VQ_OK || fegetround() != rounding[m];
            bad |= call_dequant(&k, &q, &s, &y, NULL) != VQ_OK;
#if defined(__SSE2__)
            bad |= g != (int)(__builtin_ia32_stmxcsr() & ~0x3fu);
#endif
            fesetenv(&was);
            oracle_dequant(&k, &q, &s, &y);
            CHECKF(!bad, "mode %d", m);
            allow_any_quiet_nan(&y);
            (void)(same(&q, "q", keys[i / 4]) && same(&s, "scale", keys[i / 4])
                   && same(&y, "y", keys[i / 4]));
            drop_box(&x);
            drop_box(&q);
            drop_box(&s);
            drop_box(&y);
        }
}

/* --- refusals -------------------------------------------------------------- */

enum { T = 4, H = 256, FLOATS = IS(VQ_F32) | IS(VQ_F16) | IS(VQ_BF16) };

static struct { uint16_t x[2 * T * H]; uint8_t q[T * H]; float s[4 * 64]; } room, before;

static vq_quant_args good_quant(void)
{
    vq_quant_args a = VQ_ZERO;
    a.key = vq_key_preset(VQ_KEY_FP8_GROUP128);
    a.x = vq_tensor_2d(room.x, VQ_BF16, T, H, VQ_HOST);
    a.q = vq_tensor_2d(room.q, VQ_E4M3FN, T, H, VQ_HOST);
    a.scale = vq_scale_for(&a.key, a.q, VQ_ROWS, room.s);
    return a;
}

static vq_dequant_args good_dequant(void)
{
    vq_quant_args b = good_quant();
    vq_dequant_args a = VQ_ZERO;
    a.key = b.key;
    a.q = b.q;
    a.scale = b.scale;
    a.y = b.x;
    return a;
}

static void make_room(void)
{
    uint8_t *p = (uint8_t *)&room;
    size_t i;
    for (i = 0; i < sizeof room; i++) p[i] = (uint8_t)(t_rand() >> 24);
    memcpy(&before, &room, sizeof room);
}

static void refused(vq_status got, const vq_report *why, const char *op, vq_guard guard,
                    const char *arg, int64_t found, int64_t needed, int line, const char *edit)
{
    vq_status want = guard >= VQ_GUARD_PATTERN ? VQ_UNSUPPORTED : VQ_BAD_ARG;
    CHECKF(got == want && why->status == want, "line %d: %s: %s %s", line, edit, vq_status_str(got),
           why->text);
    CHECKF(why->guard == guard, "line %d: %s: %s %s", line, edit, vq_guard_str(why->guard),
           why->text);
    CHECKF(why->arg && !strcmp(why->arg, arg), "line %d: %s: %s", line, edit, why->text);
    CHECKF(why->found == found, "line %d: %s: found %lld: %s", line, edit, (long long)why->found,
           why->text);
    CHECKF(why->needed == needed, "line %d: %s: needed %lld: %s", line, edit,
           (long long)why->needed, why->text);
    CHECKF(strstr(why->text, arg) && !strncmp(why->text, op, strlen(op)), "line %d: %s: %s", line,
           edit, why->text);
    CHECKF(!memcmp(&room, &before, sizeof room), "line %d: %s: something was written", line, edit);
}

/* plan: it is refused before pointers are looked at, so no policy changes the reason. */
static void refuses_quant(vq_quant_args a, int plan, vq_guard guard, const char *arg,
                          int64_t found, int64_t needed, int line, const char *edit)
{
    vq_report why = VQ_ZERO;
    a.call.report = &why;
    refused(vq_quant(cpu, &a), &why, "quant", guard, arg, found, needed, line, edit);
    a.call.policy.forbid = VQ_FORBID_REFERENCE;
    memset(&why, 0, sizeof why);
    if (plan) refused(vq_quant(cpu, &a), &why, "quant", guard, arg, found, needed, line, edit);
    else refused(vq_quant(cpu, &a), &why, "quant", VQ_GUARD_POLICY, "it", VQ_FORBID_REFERENCE, 0,
                 line, edit);
    a.call.report = NULL;
    CHECK(vq_quant(cpu, &a) != VQ_OK);
}

static void refuses_dequant(vq_dequant_args a, int plan, vq_guard guard, const char *arg,
                            int64_t found, int64_t needed, int line, const char *edit)
{
    vq_report why = VQ_ZERO;
    a.call.report = &why;
    refused(vq_dequant(cpu, &a), &why, "dequant", guard, arg, found, needed, line, edit);
    a.call.policy.forbid = VQ_FORBID_REFERENCE;
    memset(&why, 0, sizeof why);
    if (plan) refused(vq_dequant(cpu, &a), &why, "dequant", guard, arg, found, needed, line, edit);
    else refused(vq_dequant(cpu, &a), &why, "dequant", VQ_GUARD_POLICY, "it", VQ_FORBID_REFERENCE,
                 0, line, edit);
    a.call.report = NULL;
    CHECK(vq_dequant(cpu, &a) != VQ_OK);
}

#define REFUSED(op, edit, guard, arg, found, needed) do { \
    vq_##op##_args a = good_##op(); \
    edit; \
    refuses_##op(a, 1, VQ_GUARD_##guard, arg, found, needed, __LINE__, #edit); } while (0)
#define REFUSED_TO_RUN(op, edit, guard, arg) do { \
    vq_##op##_args a = good_##op(); \
    edit; \
    refuses_##op(a, 0, VQ_GUARD_##guard, arg, 0, 0, __LINE__, #edit); } while (0)

/* What is refused in any tensor of rows: x, q and y alike. cols: its extent. */
#define BITS(v) ((int64_t)vq__f32_bits((float)(v)))
#define REFUSED_ROWS(op, t, name, types) do { \
    REFUSED(op, a.t.rank = 0, PRESENT, name, 0, 0); \
    REFUSED(op, memset(&a.t, 0, sizeof a.t), PRESENT, name, 0, 0); \
    REFUSED(op, a.t.rank = -1, RANK, name, -1, 1); \
    REFUSED(op, a.t.rank = 5, RANK, name, 5, 4); \
    REFUSED(op, a.t.rank = 1, RANK, name, 1, 2); \
    REFUSED(op, a.t.rank = 3; a.t.shape[2] = a.t.stride[2] = 1, RANK, name, 3, 2); \
    REFUSED(op, a.t.dtype = VQ_NONE, TYPE, name, 0, IS(VQ_DTYPE_COUNT) - 2); \
    REFUSED(op, a.t.dtype = (vq_dtype)99, TYPE, name, 99, IS(VQ_DTYPE_COUNT) - 2); \
    REFUSED(op, a.t.dtype = VQ_E8M0, TYPE, name, VQ_E8M0, types); \
    REFUSED(op, a.t.dtype = VQ_INT8, TYPE, name, VQ_INT8, types); \
    REFUSED(op, a.t.dtype = VQ_E2M1, TYPE, name, VQ_E2M1, types); \
    REFUSED(op, a.t.where = (vq_where)7, VALUE, name, 7, VQ_HOST); \
    REFUSED(op, a.t.layout = (vq_layout)9, LAYOUT, name, 9, IS(VQ_LAYOUT_COUNT) - 1); \
    REFUSED(op, a.t.shape[0] = -1, SIZE, name, -1, 0); \
    REFUSED(op, a.t.shape[1] = INT64_MIN, SIZE, name, INT64_MIN, 0); \
    REFUSED(op, a.t.shape[0] = INT64_MAX, SIZE, name, INT64_MAX, INT64_MAX / 8); \
    REFUSED(op, a.t.stride[0] = INT64_MAX / 2, SIZE, name, 0, 0); \
    REFUSED(op, a.t.stride[0] = 0, STRIDE, name, 0, 1); \
    REFUSED(op, a.t.stride[0] = -H, STRIDE, name, -H, 1); \
    REFUSED(op, a.t.stride[1] = 0, STRIDE, name, 0, 1); \
    REFUSED(op, a.t.stride[1] = -1, STRIDE, name, -1, 1); \
    REFUSED(op, a.t.stride[1] = 2, STRIDE, name, 2, 1); \
    REFUSED(op, a.t.stride[0] = H - 1, STRIDE, name, H - 1, H); \
    REFUSED(op, a.t.stride[0] = 1; a.t.stride[1] = T, STRIDE, name, T, 1); } while (0)

#define REFUSED_SCALE(op) do { \
    REFUSED(op, a.scale.rank = 0, PRESENT, "scale", 0, 0); \
    REFUSED(op, a.scale.rank = 1, RANK, "scale", 1, 2); \
    REFUSED(op, a.scale.rank = 9, RANK, "scale", 9, 4); \
    REFUSED(op, a.scale.dtype = VQ_NONE, TYPE, "scale", 0, IS(VQ_DTYPE_COUNT) - 2); \
    REFUSED(op, a.scale.dtype = VQ_F16, TYPE, "scale", VQ_F16, IS(VQ_F32)); \
    REFUSED(op, a.scale.dtype = VQ_E8M0, TYPE, "scale", VQ_E8M0, IS(VQ_F32)); \
    REFUSED(op, a.scale.where = (vq_where)3, VALUE, "scale", 3, VQ_HOST); \
    REFUSED(op, a.scale.layout = VQ_SWIZZLE_128X4, LAYOUT, "scale", VQ_SWIZZLE_128X4, \
            IS(VQ_STRIDED)); \
    REFUSED(op, a.scale.layout = VQ_PACKED_UE8M0, TYPE, "scale", VQ_F32, IS(VQ_E8M0)); \
    REFUSED(op, a.scale.layout = VQ_LAYOUT_COUNT, LAYOUT, "scale", VQ_LAYOUT_COUNT, \
            IS(VQ_LAYOUT_COUNT) - 1); \
    REFUSED(op, a.scale.shape[0] = T + 1, SHAPE, "scale", T + 1, T); \
    REFUSED(op, a.scale.shape[0] = 1, SHAPE, "scale", 1, T); \
    REFUSED(op, a.scale.shape[1] = 3, SHAPE, "scale", 3, 2); \
    REFUSED(op, a.scale.shape[1] = 0, SHAPE, "scale", 0, 2); \
    REFUSED(op, a.scale.shape[1] = -2, SIZE, "scale", -2, 0); \
    REFUSED(op, a.scale.stride[0] = 0, STRIDE, "scale", 0, 1); \
    REFUSED(op, a.scale.stride[1] = 0, STRIDE, "scale", 0, 1); \
    REFUSED(op, a.scale.stride[0] = -2, STRIDE, "scale", -2, 1); \
    REFUSED(op, a.scale.stride[0] = INT64_MAX / 4, SIZE, "scale", 0, 0); } while (0)

/* A key that means nothing is no key to kernels either; of one that does, only they are missing. */
#define GPU a.call.policy.only = "gpu";
#define REFUSED_KEYS(op) do { \
    REFUSED(op, memset(&a.key, 0, sizeof a.key), KEY, "key.elem", VQ_NONE, elem_types); \
    REFUSED(op, a.key.elem = VQ_F32, KEY, "key.elem", VQ_F32, elem_types); \
    REFUSED(op, a.key.scale_type = VQ_INT8, KEY, "key.scale_type", VQ_INT8, \
            FLOATS | IS(VQ_E8M0) | IS(VQ_UE4M3)); \
    REFUSED(op, a.key.code_max = 0, KEY, "key.code_max", BITS(0), BITS(448)); \
    REFUSED(op, a.key.code_max = -448, KEY, "key.code_max", BITS(-448), BITS(448)); \
    REFUSED(op, a.key.code_max = NAN, KEY, "key.code_max", BITS(NAN), BITS(448)); \
    REFUSED(op, a.key.code_max = 449, KEY, "key.code_max", BITS(449), BITS(448)); \
    REFUSED(op, a.key.group_rows = 0, KEY, "key.group_rows", 0, 1); \
    REFUSED(op, a.key.group_cols = -2, KEY, "key.group_cols", -2, 1); \
    REFUSED(op, a.key.flags = VQ_KEY_STATIC, KEY, "key.scale_rule", VQ_SCALE_INV, \
            IS(VQ_SCALE_GIVEN)); \
    REFUSED(op, a.key.flags = 8, KEY, "key.flags", 8, 0); \
    REFUSED(op, a.key.floor_kind = VQ_FLOOR_NONE, KEY, "key.floor_value", BITS(1e-10f), 0); \
    REFUSED(op, a.key.floor_value = 0, KEY, "key.floor_value", 0, 1); \
    REFUSED(op, a.key.reserved = 1, KEY, "key.reserved", 1, 0); \
    \
    REFUSED(op, GPU a.key.scale_type = VQ_INT8, KEY, "key.scale_type", VQ_INT8, \
            FLOATS | IS(VQ_E8M0) | IS(VQ_UE4M3)); \
    REFUSED(op, GPU a.key.code_rule = VQ_CODE_INV0, KERNEL, "the kernel", 0, 0); \
    REFUSED(op, GPU a.key.code_rule = VQ_CODE_AMAX, KERNEL, "the kernel", 0, 0); \
    REFUSED(op, GPU a.key.scale_rule = VQ_SCALE_RECIP, KERNEL, "the kernel", 0, 0); \
    REFUSED(op, GPU a.key.scale_rule = VQ_SCALE_RCEIL, KERNEL, "the kernel", 0, 0); \
    REFUSED(op, GPU a.key.arith = VQ_BF16, KERNEL, "the kernel", 0, 0); \
    REFUSED(op, GPU a.key.overflow = VQ_NONFINITE, KERNEL, "the kernel", 0, 0); \
    } while (0)

static const int64_t elem_types = IS(VQ_E4M3FN) | IS(VQ_E4M3FNUZ) | IS(VQ_E5M2)
    | IS(VQ_E5M2FNUZ) | IS(VQ_E2M3) | IS(VQ_E3M2) | IS(VQ_E2M1) | IS(VQ_INT8) | IS(VQ_UINT8)
    | IS(VQ_INT4) | IS(VQ_UINT4);
static const int64_t here = IS(VQ_HOST) | IS(VQ_MANAGED);

static void quant_refuses_each_bad_argument_and_writes_nothing(void)
{
    int i;
    start();
    make_room();
    REFUSED_ROWS(quant, x, "x", FLOATS);
    REFUSED_ROWS(quant, q, "q", IS(VQ_E4M3FN));
    REFUSED_SCALE(quant);
    REFUSED_KEYS(quant);
    REFUSED(quant, a.x.dtype = VQ_E4M3FN, TYPE, "x", VQ_E4M3FN, FLOATS);
    REFUSED(quant, a.x.layout = VQ_SWIZZLE_8X4, LAYOUT, "x", VQ_SWIZZLE_8X4, IS(VQ_STRIDED));
    REFUSED(quant, a.q.dtype = VQ_E4M3FNUZ, TYPE, "q", VQ_E4M3FNUZ, IS(VQ_E4M3FN));
    REFUSED(quant, a.q.layout = VQ_SWIZZLE_128X4, LAYOUT, "q", VQ_SWIZZLE_128X4, IS(VQ_STRIDED));
    REFUSED(quant, a.q.shape[0] = T - 1, SHAPE, "q", T - 1, T);
    REFUSED(quant, a.q.shape[1] = H - 1, SHAPE, "q", H - 1, H);
    REFUSED(quant, a.q.shape[0] = 0, SHAPE, "q", 0, T);
    REFUSED(quant, a.x.shape[0] = T + 1, SHAPE, "q", T, T + 1);
    REFUSED(quant, a.scale.stride[0] = 1, STRIDE, "scale", 1, T);    /* two scales in one place */
    REFUSED(quant, a.scale.stride[0] = a.scale.stride[1] = 2, STRIDE, "scale", 2, 2 * T - 1);
    REFUSED(quant, a.key.elem = VQ_E5M2, TYPE, "q", VQ_E4M3FN, IS(VQ_E5M2));
    REFUSED(quant, a.key.group_cols = 64, SHAPE, "scale", 2, 4);
    REFUSED(quant, a.key.group_rows = -1, SHAPE, "scale", T, 1);

    REFUSED(quant, a.x.where = VQ_DEVICE, PLACE, "x", VQ_DEVICE, here);
    REFUSED(quant, a.q.where = VQ_DEVICE, PLACE, "q", VQ_DEVICE, here);
    REFUSED(quant, a.scale.where = VQ_DEVICE, PLACE, "scale", VQ_DEVICE, here);

    REFUSED_TO_RUN(quant, a.x.data = NULL, PRESENT, "x");
    REFUSED_TO_RUN(quant, a.q.data = NULL, PRESENT, "q");
    REFUSED_TO_RUN(quant, a.scale.data = NULL, PRESENT, "scale");
    REFUSED_TO_RUN(quant, a.q.data = a.x.data, OVERLAP, "q");
    REFUSED_TO_RUN(quant, a.q.data = (char *)a.x.data + 2 * T * H - 1, OVERLAP, "q");
    REFUSED_TO_RUN(quant, a.x.data = (char *)a.q.data + T * H - 1, OVERLAP, "q");
    REFUSED_TO_RUN(quant, a.scale.data = (char *)a.x.data + 100, OVERLAP, "scale");
    REFUSED_TO_RUN(quant, a.scale.data = (char *)a.q.data + T * H - 1, OVERLAP, "scale");
    REFUSED_TO_RUN(quant, a.key = vq_key_preset(VQ_KEY_FP8_STATIC_TOKEN); a.scale.shape[1] = 1;
                   a.scale.data = a.q.data, OVERLAP, "q");

    /* No key is one that kernels would not serve, were they here. */
    for (i = 0; i < VQ_KEY_COUNT; i++) {
        vq_quant_args a = good_quant();
        a.key = vq_key_preset((vq_key_id)i);
        a.q = vq_tensor_2d(room.q, a.key.elem, T, H, VQ_HOST);
        a.scale = vq_scale_for(&a.key, a.q, VQ_ROWS, room.s);
        a.call.policy.only = "gpu";
        if (a.key.flags & VQ_KEY_ASYMMETRIC) {
            a.zero = a.scale;
            a.zero.dtype = a.key.elem;
        }
        if (a.key.scale2_kind) a.scale2 = vq_tensor_2d(room.s, VQ_F32, 1, 1, VQ_HOST);
        if (a.key.bound_kind) a.bound = vq_tensor_2d(room.s, VQ_F32, 1, 1, VQ_HOST);
        if (a.key.flags & VQ_KEY_NO_TAIL && a.key.group_rows > T) continue;      /* not whole */
        refuses_quant(a, 1, VQ_GUARD_KERNEL, "the kernel", 0, 0, __LINE__, vq_key_name((vq_key_id)i));
    }
}

static void dequant_refuses_each_bad_argument_and_writes_nothing(void)
{
    start();
    make_room();
    REFUSED_ROWS(dequant, y, "y", FLOATS);
    REFUSED_ROWS(dequant, q, "q", IS(VQ_E4M3FN));
    REFUSED_SCALE(dequant);
    REFUSED_KEYS(dequant);
    REFUSED(dequant, a.y.dtype = VQ_E4M3FN, TYPE, "y", VQ_E4M3FN, FLOATS);
    REFUSED(dequant, a.y.layout = VQ_SWIZZLE_8X4, LAYOUT, "y", VQ_SWIZZLE_8X4, IS(VQ_STRIDED));
    REFUSED(dequant, a.q.dtype = VQ_E5M2FNUZ, TYPE, "q", VQ_E5M2FNUZ, IS(VQ_E4M3FN));
    REFUSED(dequant, a.q.layout = VQ_SWIZZLE_128X4, LAYOUT, "q", VQ_SWIZZLE_128X4, IS(VQ_STRIDED));
    REFUSED(dequant, a.y.shape[0] = T - 1, SHAPE, "y", T - 1, T);
    REFUSED(dequant, a.y.shape[1] = H - 1, SHAPE, "y", H - 1, H);
    REFUSED(dequant, a.key.elem = VQ_E5M2, TYPE, "q", VQ_E4M3FN, IS(VQ_E5M2));
    REFUSED(dequant, a.key.group_cols = 64, SHAPE, "scale", 2, 4);

    REFUSED(dequant, a.y.where = VQ_DEVICE, PLACE, "y", VQ_DEVICE, here);
    REFUSED(dequant, a.q.where = VQ_DEVICE, PLACE, "q", VQ_DEVICE, here);
    REFUSED(dequant, a.scale.where = VQ_DEVICE, PLACE, "scale", VQ_DEVICE, here);

    REFUSED_TO_RUN(dequant, a.y.data = NULL, PRESENT, "y");
    REFUSED_TO_RUN(dequant, a.q.data = NULL, PRESENT, "q");
    REFUSED_TO_RUN(dequant, a.scale.data = NULL, PRESENT, "scale");
    REFUSED_TO_RUN(dequant, a.y.data = a.q.data, OVERLAP, "y");
    REFUSED_TO_RUN(dequant, a.q.data = (char *)a.y.data + 2 * T * H - 1, OVERLAP, "y");
    REFUSED_TO_RUN(dequant, a.scale.data = a.y.data, OVERLAP, "y");
}

static void whole_groups_are_asked_for_where_the_key_says_so(void)
{
    static const struct { int32_t gr, gc; int64_t rows, cols, found, needed, nearest; } known[] = {
        { 1, 128, 4, 250, 250, 256, 256 }, { 1, 128, 4, 130, 130, 256, 128 },
        { 1, 128, 4, 100, 100, 128, 128 }, { 1, 128, 4, 1, 1, 128, 128 },
        { 1, 128, 4, 192, 192, 256, 256 }, { 1, 128, 4, 191, 191, 256, 128 },
        { 3, 5, 4, 255, 4, 6, 3 }, { 3, 5, 3, 254, 254, 255, 255 }, { 3, 5, 3, 251, 251, 255, 250 },
        { 2, -1, 3, 77, 3, 4, 4 }, { -1, 7, 3, 20, 20, 21, 21 },
    };
    int i;
    start();
    make_room();
    for (i = 0; i < COUNT(known); i++) {
        vq_quant_args a = good_quant();
        vq_dequant_args d = good_dequant();
        vq_report why = VQ_ZERO;
        a.key.flags |= VQ_KEY_NO_TAIL;
        a.key.group_rows = known[i].gr;
        a.key.group_cols = known[i].gc;
        a.x.shape[0] = a.q.shape[0] = known[i].rows;
        a.x.shape[1] = a.q.shape[1] = known[i].cols;
        a.scale = vq_scale_for(&a.key, a.q, VQ_ROWS, room.s);
        refuses_quant(a, 1, VQ_GUARD_SHAPE, "x", known[i].found, known[i].needed, __LINE__, "tail");
        d.key = a.key;
        d.q = a.q;
        d.y = a.x;
        d.scale = a.scale;
        refuses_dequant(d, 1, VQ_GUARD_SHAPE, "q", known[i].found, known[i].needed, __LINE__,
                        "tail");
        a.call.report = &why;
        CHECK(vq_quant(cpu, &a) == VQ_BAD_ARG);
        CHECKF(why.nearest == known[i].nearest, "%d: nearest %d", i, (int)why.nearest);
        a.key.flags = 0;
        CHECK(vq_quant(cpu, &a) == VQ_OK);
        memcpy(&room, &before, sizeof room);
    }
}

static void missing_args_and_context_are_refused(void)
{
    vq_quant_args a = good_quant();
    vq_dequant_args d = good_dequant();
    vq_report why = VQ_ZERO;
    start();
    make_room();
    a.call.report = d.call.report = &why;
    CHECK(vq_quant(cpu, NULL) == VQ_BAD_ARG && vq_dequant(cpu, NULL) == VQ_BAD_ARG);
    CHECK(vq_quant(NULL, NULL) == VQ_BAD_ARG && vq_dequant(NULL, NULL) == VQ_BAD_ARG);
    CHECK(vq_quant(NULL, &a) == VQ_BAD_ARG && why.guard == VQ_GUARD_PRESENT
          && !strcmp(why.arg, "ctx"));
    memset(&why, 0, sizeof why);
    CHECK(vq_dequant(NULL, &d) == VQ_BAD_ARG && why.guard == VQ_GUARD_PRESENT
          && !strcmp(why.arg, "ctx"));
    CHECK(!memcmp(&room, &before, sizeof room));
}

static void a_policy_is_obeyed_and_the_words_say_what_is_wrong(void)
{
    vq_quant_args a = good_quant();
    vq_report why = VQ_ZERO;
    start();
    make_room();
    a.call.report = &why;
    a.call.policy.only = "gpu";
    refused(vq_quant(cpu, &a), &why, "quant", VQ_GUARD_KERNEL, "the kernel", 0, 0, __LINE__,
            "only gpu");
    a.call.policy.only = NULL;
    a.x.where = VQ_DEVICE;
    CHECK(vq_quant(cpu, &a) == VQ_UNSUPPORTED);
    CHECKF(strstr(why.text, "found device, needed host or managed"), "%s", why.text);
    a.x.where = VQ_HOST;
    a.q.dtype = VQ_E5M2;
    CHECK(vq_quant(cpu, &a) == VQ_BAD_ARG);
    CHECKF(strstr(why.text, "found float8_e5m2, needed float8_e4m3fn"), "%s", why.text);
    a.q.dtype = VQ_E4M3FN;
    CHECK(!memcmp(&room, &before, sizeof room));

    a.call.policy.only = "reference";
    a.call.policy.forbid = VQ_FORBID_INEXACT | VQ_FORBID_EMULATED | VQ_FORBID_UNPROVEN;
    a.x.where = a.q.where = a.scale.where = VQ_MANAGED;
    CHECK(vq_quant(cpu, &a) == VQ_OK && memcmp(&room, &before, sizeof room));
}

/* Extents of 0 need no memory; strides of extents of 1 are not looked at. */
static void what_need_not_be_there_is_not_asked_for(void)
{
    vq_quant_args a = good_quant();
    vq_dequant_args d = good_dequant();
    int i;
    start();
    make_room();
    a.x = vq_tensor_2d(NULL, VQ_BF16, 0, H, VQ_HOST);
    a.q = vq_tensor_2d(NULL, VQ_E4M3FN, 0, H, VQ_HOST);
    a.scale = vq_scale_for(&a.key, a.q, VQ_ROWS, NULL);
    CHECK(vq_quant(cpu, &a) == VQ_OK);
    d.q = a.q;
    d.y = a.x;
    d.scale = a.scale;
    CHECK(vq_dequant(cpu, &d) == VQ_OK);
    CHECK(!memcmp(&room, &before, sizeof room));

    a = good_quant();
    a.x.shape[0] = a.q.shape[0] = a.scale.shape[0] = 1;
    a.x.stride[0] = a.q.stride[0] = a.scale.stride[0] = 0;
    CHECK(vq_quant(cpu, &a) == VQ_OK);
    a = good_quant();
    a.x.shape[1] = a.q.shape[1] = a.scale.shape[1] = 1;
    a.x.stride[1] = a.q.stride[1] = a.scale.stride[1] = -9;
    CHECK(vq_quant(cpu, &a) == VQ_OK);
    memcpy(&room, &before, sizeof room);

    a = good_quant();                                        /* columns of one matrix */
    a.x.shape[1] = a.q.shape[1] = H / 2;
    a.x.stride[0] = H;
    a.q.stride[0] = 2 * H;
    a.q.data = (uint8_t *)a.x.data + H;
    a.scale = vq_scale_for(&a.key, a.q, VQ_ROWS, room.s);
    CHECK(vq_quant(cpu, &a) == VQ_OK);
    for (i = 0; i < T; i++) {
        const uint8_t *is = (uint8_t *)(room.x + i * H), *was = (uint8_t *)(before.x + i * H);
        CHECK(!memcmp(is, was, H) && !memcmp(is + H / 2 * 3, was + H / 2 * 3, H / 2));
        CHECK(memcmp(is + H, was + H, H / 2));
    }
    memcpy(&room, &before, sizeof room);

    a = good_quant();                                        /* inputs may share memory */
    a.key = vq_key_preset(VQ_KEY_FP8_STATIC);
    a.scale = vq_scale_for(&a.key, a.q, VQ_ROWS, room.x);
    CHECK(vq_quant(cpu, &a) == VQ_OK);
    CHECK(!memcmp(room.x, before.x, sizeof room.x));
}

VQ_TEST_MAIN(
    T(every_key_served_is_its_formula),
    T(an_extent_of_zero_writes_nothing_and_one_element_works),
    T(many_rows_work),
    T(wide_rows_work),
    T(codes_at_rounding_boundaries_are_right),
    T(a_worked_row_has_the_bytes_of_vllm),
    T(dividing_and_multiplying_give_scales_one_ulp_apart),
    T(one_ulp_of_scale_flips_codes_on_ties),
    T(dividing_and_multiplying_by_a_reciprocal_give_other_codes),
    T(a_row_of_zeros_has_the_scale_of_its_floor),
    T(a_tiny_amax_is_scaled_or_lost_as_its_floor_says),
    T(infinity_and_nan_have_a_scale_and_codes),
    T(a_given_scale_is_used_as_it_is),
    T(a_row_depends_on_itself_alone),
    T(no_alignment_changes_a_byte),
    T(scales_lie_where_their_order_says),
    T(every_code_times_every_kind_of_scale),
    T(what_is_too_large_for_y_becomes_infinity),
    T(no_rounding_mode_changes_a_byte_and_each_is_given_back),
    T(quant_refuses_each_bad_argument_and_writes_nothing),
    T(dequant_refuses_each_bad_argument_and_writes_nothing),
    T(whole_groups_are_asked_for_where_the_key_says_so),
    T(missing_args_and_context_are_refused),
    T(a_policy_is_obeyed_and_the_words_say_what_is_wrong),
    T(what_need_not_be_there_is_not_asked_for))
