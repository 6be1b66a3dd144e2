/* test_formats.c - every format against its value formula, every encoder over every f32

   The oracle knows the formulas of >>formats in double and no bit trick. It lists a format's
   values and cuts the f32 magnitudes at the midpoints into runs that share one code; the encoder
   is compared along each run, its two ends included. --exhaustive walks all 2^32 inputs in both
   overflow modes, else a walk takes 2^22 of them, evenly spread over signs and exponents. */
#include <math.h>
#include "../vq.h"
#include "vq_test.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
#define INF_BITS 0x7f800000u
#define SIGN     0x80000000u

/* What stands beyond the largest value under VQ_NONFINITE. */
enum { TO_INF, TO_NAN, TO_LARGEST };

typedef struct {
    vq_dtype t;
    int      bits, mbits;
    int      e_off, e_sub;      /* 2^(e - e_off) * (1 + m) and 2^e_sub * m, as in the manual */
    int      sign, neg_zero;    /* the bit of the sign, 0 if unsigned; the code of -0 */
    int      largest, beyond;   /* code; TO_... */
    int      nan;               /* what a NaN becomes */
} format;

/*     type          bits m   off  sub     sign    -0      largest beyond      NaN */
static const format floats[] = {
    { VQ_F16,        16, 10,  15,  -14,    0x8000, 0x8000, 0x7bff, TO_INF,     0x7e00 },
    { VQ_BF16,       16, 7,   127, -126,   0x8000, 0x8000, 0x7f7f, TO_INF,     0x7fc0 },
    { VQ_E4M3FN,     8,  3,   7,   -6,     0x80,   0x80,   0x7e,   TO_NAN,     0x7f },
    { VQ_E4M3FNUZ,   8,  3,   8,   -7,     0x80,   0,      0x7f,   TO_NAN,     0x80 },
    { VQ_E5M2,       8,  2,   15,  -14,    0x80,   0x80,   0x7b,   TO_INF,     0x7f },
    { VQ_E5M2FNUZ,   8,  2,   16,  -15,    0x80,   0,      0x7f,   TO_NAN,     0x80 },
    { VQ_E8M0,       8,  0,   127, 0,      0,      0,      0xfe,   TO_NAN,     0xff },
    { VQ_UE4M3,      8,  3,   7,   -6,     0,      0,      0x7e,   TO_NAN,     0x7f },
    { VQ_E2M3,       6,  3,   1,   0,      0x20,   0x20,   0x1f,   TO_LARGEST, 0x1f },
    { VQ_E3M2,       6,  2,   3,   -2,     0x20,   0x20,   0x1f,   TO_LARGEST, 0x1f },
    { VQ_E2M1,       4,  1,   1,   0,      0x8,    0x8,    0x7,    TO_LARGEST, 0x7 },
};

typedef struct { vq_dtype t; int bits, lo, hi; } integer;

static const integer integers[] = {
    { VQ_INT8, 8, -128, 127 }, { VQ_UINT8, 8, 0, 255 }, { VQ_INT4, 4, -8, 7 },
    { VQ_UINT4, 4, 0, 15 },
};

static const vq_overflow modes[2] = { VQ_SATURATE, VQ_NONFINITE };

static const uint32_t nans[] = { 0x7fc00000u, 0xffc00000u, 0x7f800001u, 0xff800001u,
                                 0x7fbfffffu, 0xffbfffffu, 0x7fffffffu, 0xffffffffu };

static float float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

static uint32_t bits_of_float(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }

static uint32_t bits_of(double v)              /* v must be an f32 */
{
    CHECKF((double)(float)v == v, "%a is no f32", v);
    return bits_of_float((float)v);
}

/* A non-negative code by formula. Also the code after the largest, which the format gives another
   meaning or lacks: the tie where overflow begins lies half way to it. */
static double magnitude(const format *f, int code)
{
    int steps = 1 << f->mbits, e = code / steps, m = code % steps;
    if (f->t == VQ_E8M0) return ldexp(1, code - 127);
    return e ? ldexp(1 + m / (double)steps, e - f->e_off) : ldexp(m / (double)steps, f->e_sub);
}

static int is_nan_code(const format *f, int code)
{
    switch (f->t) {
    case VQ_F16:      return (code & 0x7fff) > 0x7c00;
    case VQ_BF16:     return (code & 0x7fff) > 0x7f80;
    case VQ_E4M3FN:   return code == 0x7f || code == 0xff;
    case VQ_E4M3FNUZ:
    case VQ_E5M2FNUZ: return code == 0x80;
    case VQ_E5M2:     return (code & 0x7f) > 0x7c;
    case VQ_E8M0:     return code == 0xff;
    case VQ_UE4M3:    return code >= 0x7f;
    default:          return 0;
    }
}

static int is_inf_code(const format *f, int code)
{
    return f->beyond == TO_INF && (code & ~f->sign) == f->largest + 1;
}

static double value(const format *f, int code)             /* of a code that is no NaN */
{
    double v = is_inf_code(f, code) ? INFINITY : magnitude(f, code & ~f->sign);
    return code & f->sign ? -v : v;
}

static int beyond_code(const format *f, vq_overflow o, int sign)
{
    if (o == VQ_SATURATE || f->beyond == TO_LARGEST) return sign | f->largest;
    return f->beyond == TO_INF ? sign | (f->largest + 1) : f->nan;
}

static uint32_t nan_mask(const format *f)      /* a NaN of f16 and bf16 is any quiet one */
{
    return f->bits == 16 ? (uint32_t)f->nan : ~0u;
}

static const format *format_of(vq_dtype t)
{
    int i;
    for (i = 0; i < COUNT(floats); i++)
        if (floats[i].t == t) return floats + i;
    return NULL;
}

static const integer *integer_of(vq_dtype t)
{
    int i;
    for (i = 0; i < COUNT(integers); i++)
        if (integers[i].t == t) return integers + i;
    return NULL;
}

/* --- codes --------------------------------------------------------------- */

static void every_code_decodes_by_the_formula(void)
{
    int i, code;
    for (i = 0; i < COUNT(floats); i++)
        for (code = 0; code < 1 << floats[i].bits; code++) {
            const format *f = floats + i;
            uint32_t u = bits_of_float(vq_decode(f->t, (uint32_t)code));
            if (is_nan_code(f, code))
                CHECKF((u & ~SIGN) > INF_BITS, "type %d, %x: %08x", f->t, code, (unsigned)u);
            else
                CHECKF(u == bits_of(value(f, code)), "type %d, %x: %08x", f->t, code, (unsigned)u);
        }
    for (i = 0; i < COUNT(integers); i++)
        for (code = 0; code < 1 << integers[i].bits; code++) {
            const integer *f = integers + i;
            int v = code > f->hi ? code - (1 << f->bits) : code;
            uint32_t u = bits_of_float(vq_decode(f->t, (uint32_t)code));
            CHECKF(u == bits_of(v), "type %d, %x: %08x", f->t, code, (unsigned)u);
        }
}

static void every_code_comes_back(void)
{
    int i, k, code;
    for (i = 0; i < COUNT(floats); i++)
        for (k = 0; k < 2; k++)
            for (code = 0; code < 1 << floats[i].bits; code++) {
                const format *f = floats + i;
                uint32_t got = vq_encode(f->t, vq_decode(f->t, (uint32_t)code), modes[k]);
                int want = is_nan_code(f, code) ? f->nan :
                           is_inf_code(f, code) ? beyond_code(f, modes[k], code & f->sign) : code;
                uint32_t mask = is_nan_code(f, code) ? nan_mask(f) : ~0u;
                CHECKF(!((got ^ (uint32_t)want) & mask), "type %d, mode %d, %x: %x", f->t, k,
                       code, (unsigned)got);
            }
    for (i = 0; i < COUNT(integers); i++)
        for (k = 0; k < 2; k++)
            for (code = 0; code < 1 << integers[i].bits; code++) {
                vq_dtype t = integers[i].t;
                uint32_t got = vq_encode(t, vq_decode(t, (uint32_t)code), modes[k]);
                CHECKF(got == (uint32_t)code, "type %d, %x: %x", t, code, (unsigned)got);
            }
}

static void bits_above_a_code_are_ignored(void)
{
    int i, code, junk;
    for (i = 0; i < COUNT(floats) + COUNT(integers); i++) {
        int bits = i < COUNT(floats) ? floats[i].bits : integers[i - COUNT(floats)].bits;
        vq_dtype t = i < COUNT(floats) ? floats[i].t : integers[i - COUNT(floats)].t;
        for (code = 0; code < 1 << bits; code++)
            for (junk = bits; junk < 32; junk++) {
                uint32_t a = bits_of_float(vq_decode(t, (uint32_t)code));
                uint32_t b = bits_of_float(vq_decode(t, (uint32_t)code | 1u << junk));
                CHECKF(a == b, "type %d, %x, bit %d", t, code, junk);
            }
    }
}

static void the_extremes_are_those_of_the_manual(void)
{
    static const struct { vq_dtype t; uint32_t code; double v; } known[] = {
        { VQ_F16,  0x7bff, 65504 },         { VQ_F16,  0x0400, 0x1p-14 },
        { VQ_F16,  0x0001, 0x1p-24 },       { VQ_F16,  0xc000, -2 },
        { VQ_BF16, 0x7f7f, 0x1.fep127 },    { VQ_BF16, 0x0080, 0x1p-126 },
        { VQ_BF16, 0x0001, 0x1p-133 },      { VQ_BF16, 0xbf80, -1 },
        { VQ_E4M3FN,   0x7e, 448 },         { VQ_E4M3FN,   0x08, 0x1p-6 },
        { VQ_E4M3FN,   0x01, 0x1p-9 },      { VQ_E4M3FN,   0xfe, -448 },
        { VQ_E4M3FNUZ, 0x7f, 240 },         { VQ_E4M3FNUZ, 0x08, 0x1p-7 },
        { VQ_E4M3FNUZ, 0x01, 0x1p-10 },     { VQ_E4M3FNUZ, 0xff, -240 },
        { VQ_E5M2,     0x7b, 57344 },       { VQ_E5M2,     0x04, 0x1p-14 },
        { VQ_E5M2,     0x01, 0x1p-16 },     { VQ_E5M2,     0xfb, -57344 },
        { VQ_E5M2,     0x7c, INFINITY },    { VQ_E5M2,     0xfc, -INFINITY },
        { VQ_E5M2FNUZ, 0x7f, 57344 },       { VQ_E5M2FNUZ, 0x04, 0x1p-15 },
        { VQ_E5M2FNUZ, 0x01, 0x1p-17 },     { VQ_E5M2FNUZ, 0xff, -57344 },
        { VQ_E8M0,     0xfe, 0x1p127 },     { VQ_E8M0,     0x00, 0x1p-127 },
        { VQ_E8M0,     0x7f, 1 },           { VQ_E8M0,     0x01, 0x1p-126 },
        { VQ_UE4M3,    0x7e, 448 },         { VQ_UE4M3,    0x01, 0x1p-9 },
        { VQ_E2M3,     0x1f, 7.5 },         { VQ_E2M3,     0x01, 0.125 },
        { VQ_E2M3,     0x3f, -7.5 },        { VQ_E2M3,     0x08, 1 },
        { VQ_E3M2,     0x1f, 28 },          { VQ_E3M2,     0x01, 0.0625 },
        { VQ_E3M2,     0x3f, -28 },         { VQ_E3M2,     0x0c, 1 },
        { VQ_E2M1, 0, 0 }, { VQ_E2M1, 1, 0.5 }, { VQ_E2M1, 2, 1 }, { VQ_E2M1, 3, 1.5 },
        { VQ_E2M1, 4, 2 }, { VQ_E2M1, 5, 3 },   { VQ_E2M1, 6, 4 }, { VQ_E2M1, 7, 6 },
        { VQ_E2M1, 8, -0.0 }, { VQ_E2M1, 9, -0.5 }, { VQ_E2M1, 10, -1 }, { VQ_E2M1, 11, -1.5 },
        { VQ_E2M1, 12, -2 },  { VQ_E2M1, 13, -3 },  { VQ_E2M1, 14, -4 }, { VQ_E2M1, 15, -6 },
        { VQ_INT8, 0x80, -128 }, { VQ_INT8, 0x7f, 127 }, { VQ_INT8, 0xff, -1 },
        { VQ_UINT8, 0xff, 255 }, { VQ_UINT4, 0xf, 15 },
        { VQ_INT4, 0x8, -8 }, { VQ_INT4, 0x7, 7 }, { VQ_INT4, 0xf, -1 },
    };
    int i;
    for (i = 0; i < COUNT(known); i++) {
        uint32_t u = bits_of_float(vq_decode(known[i].t, known[i].code));
        CHECKF(u == bits_of(known[i].v), "type %d, %x: %08x", known[i].t,
               (unsigned)known[i].code, (unsigned)u);
        CHECKF(vq_encode(known[i].t, (float)known[i].v, VQ_NONFINITE) == known[i].code,
               "type %d, %x", known[i].t, (unsigned)known[i].code);
    }
}

static void the_named_functions_are_those_of_the_enum(void)
{
    uint32_t c, i;
#define SAME(id, name, end) \
    for (c = 0; c < (end); c++) \
        CHECKF(bits_of_float(vq_f32_from_##name(c)) == bits_of_float(vq_decode(id, c)), \
               #name " %x", (unsigned)c); \
    for (i = 0; i < 0x4000; i++) { \
        uint32_t u = t_rand() & (i & 1 ? ~0u : 0xc7ffffffu); \
        vq_overflow o = modes[i >> 1 & 1]; \
        CHECKF(vq_##name##_from_f32(float_of(u), o) == vq_encode(id, float_of(u), o), \
               #name " %08x", (unsigned)u); \
    }
    SAME(VQ_F16, f16, 0x10000u)
    SAME(VQ_BF16, bf16, 0x10000u)
    SAME(VQ_E4M3FN, e4m3fn, 0x100u)
    SAME(VQ_E4M3FNUZ, e4m3fnuz, 0x100u)
    SAME(VQ_E5M2, e5m2, 0x100u)
    SAME(VQ_E5M2FNUZ, e5m2fnuz, 0x100u)
    SAME(VQ_E8M0, e8m0, 0x100u)
    SAME(VQ_UE4M3, ue4m3, 0x100u)
    SAME(VQ_E2M3, e2m3, 0x100u)
    SAME(VQ_E3M2, e3m2, 0x100u)
    SAME(VQ_E2M1, e2m1, 0x100u)
#undef SAME
}

/* --- rounding ------------------------------------------------------------ */

static void check_encode(vq_dtype t, float x, vq_overflow o, int want)
{
    uint32_t got = vq_encode(t, x, o);
    CHECKF(got == (uint32_t)want, "type %d, %s, %a: %x, not %x", t,
           o == VQ_SATURATE ? "saturate" : "nonfinite", (double)x, (unsigned)got, (unsigned)want);
}

static void every_tie_and_its_neighbours_of_floats(void)
{
    int i, k, s, m;
    for (i = 0; i < COUNT(floats); i++)
        for (k = 0; k <= floats[i].largest; k++)
            for (s = 0; s < (floats[i].sign ? 2 : 1); s++)
                for (m = 0; m < 2; m++) {
                    const format *f = floats + i;
                    vq_overflow o = modes[m];
                    int sign = s ? f->sign : 0, low = sign | k, high = sign | (k + 1);
                    float mid = float_of(bits_of((magnitude(f, k) + magnitude(f, k + 1)) / 2));
                    float under = nextafterf(mid, 0), over = nextafterf(mid, INFINITY);
                    if (s) { mid = -mid; under = -under; over = -over; }
                    if (s && !k) low = f->neg_zero;
                    if (k == f->largest) high = beyond_code(f, o, sign);
                    check_encode(f->t, under, o, low);
                    check_encode(f->t, mid, o, k % 2 || f->t == VQ_E8M0 ? high : low);
                    check_encode(f->t, over, o, high);
                }
}

static void every_tie_and_its_neighbours_of_integers(void)
{
    int i, k, m;
    for (i = 0; i < COUNT(integers); i++)
        for (k = integers[i].lo - 3; k < integers[i].hi + 3; k++)
            for (m = 0; m < 2; m++) {
                const integer *f = integers + i;
                float mid = (float)k + 0.5f;
                int mask = (1 << f->bits) - 1;
                int low = k < f->lo ? f->lo : k > f->hi ? f->hi : k;
                int high = k + 1 < f->lo ? f->lo : k + 1 > f->hi ? f->hi : k + 1;
                check_encode(f->t, nextafterf(mid, -INFINITY), modes[m], low & mask);
                check_encode(f->t, mid, modes[m], (k % 2 ? high : low) & mask);
                check_encode(f->t, nextafterf(mid, INFINITY), modes[m], high & mask);
            }
}

/* By hand, so that a wrong reading of the manual cannot hide in both table and encoder. */
static void known_inputs_give_known_codes(void)
{
    static const struct { vq_dtype t; double x; int saturate, nonfinite; } known[] = {
        { VQ_F16, 65519, 0x7bff, 0x7bff },      { VQ_F16, 65520, 0x7bff, 0x7c00 },
        { VQ_F16, -65520, 0xfbff, 0xfc00 },     { VQ_F16, 0x1p-25, 0, 0 },
        { VQ_F16, 0x1.8p-24, 0x0002, 0x0002 },  { VQ_F16, 0x1.004p0, 0x3c01, 0x3c01 },
        { VQ_F16, 0x1.002p0, 0x3c00, 0x3c00 },  { VQ_F16, 0x1.006p0, 0x3c02, 0x3c02 },
        { VQ_BF16, 0x1.fefffep127, 0x7f7f, 0x7f7f }, { VQ_BF16, 0x1.ffp127, 0x7f7f, 0x7f80 },
        { VQ_BF16, -0x1.fffffep127, 0xff7f, 0xff80 }, { VQ_BF16, 0x1p-134, 0, 0 },
        { VQ_BF16, 0x1.8p-133, 2, 2 },          { VQ_BF16, 0x1.03p0, 0x3f82, 0x3f82 },
        { VQ_E4M3FN, 464, 0x7e, 0x7e },         { VQ_E4M3FN, 464.5, 0x7e, 0x7f },
        { VQ_E4M3FN, -464.5, 0xfe, 0x7f },      { VQ_E4M3FN, 0x1p-10, 0, 0 },
        { VQ_E4M3FN, -0x1p-10, 0x80, 0x80 },    { VQ_E4M3FN, 0x1.8p-9, 2, 2 },
        { VQ_E4M3FN, 17, 0x58, 0x58 },          { VQ_E4M3FN, 19, 0x5a, 0x5a },
        { VQ_E4M3FNUZ, 247, 0x7f, 0x7f },       { VQ_E4M3FNUZ, 248, 0x7f, 0x80 },
        { VQ_E4M3FNUZ, -248, 0xff, 0x80 },      { VQ_E4M3FNUZ, -0x1p-11, 0, 0 },
        { VQ_E4M3FNUZ, -0x1.8p-11, 0x81, 0x81 }, { VQ_E4M3FNUZ, 17, 0x60, 0x60 },
        { VQ_E5M2, 61439, 0x7b, 0x7b },         { VQ_E5M2, 61440, 0x7b, 0x7c },
        { VQ_E5M2, -61440, 0xfb, 0xfc },        { VQ_E5M2, 0x1p-17, 0, 0 },
        { VQ_E5M2, 0x1.8p-16, 2, 2 },           { VQ_E5M2, 1.125, 0x3c, 0x3c },
        { VQ_E5M2FNUZ, 61439, 0x7f, 0x7f },     { VQ_E5M2FNUZ, 61440, 0x7f, 0x80 },
        { VQ_E5M2FNUZ, -61440, 0xff, 0x80 },    { VQ_E5M2FNUZ, -0x1p-18, 0, 0 },
        { VQ_E5M2FNUZ, -0x1.8p-18, 0x81, 0x81 },
        { VQ_E8M0, 1.5, 0x80, 0x80 },           { VQ_E8M0, 1.4375, 0x7f, 0x7f },
        { VQ_E8M0, 3, 0x81, 0x81 },             { VQ_E8M0, 6, 0x82, 0x82 },
        { VQ_E8M0, 0x1p-149, 0x00, 0x00 },      { VQ_E8M0, 0x1.7p-127, 0x00, 0x00 },
        { VQ_E8M0, 0x1.8p-127, 0x01, 0x01 },    { VQ_E8M0, -1, 0xff, 0xff },
        { VQ_E8M0, -0x1p-149, 0xff, 0xff },     { VQ_E8M0, 0x1.7fffp127, 0xfe, 0xfe },
        { VQ_E8M0, 0x1.8p127, 0xfe, 0xff },     { VQ_E8M0, 0x1.fffffep127, 0xfe, 0xff },
        { VQ_UE4M3, 464, 0x7e, 0x7e },          { VQ_UE4M3, 480, 0x7e, 0x7f },
        { VQ_UE4M3, -1, 0x00, 0x7f },           { VQ_UE4M3, -0x1p-149, 0x00, 0x7f },
        { VQ_UE4M3, -1e30f, 0x00, 0x7f },
        { VQ_E2M3, 7.75, 0x1f, 0x1f },          { VQ_E2M3, -8, 0x3f, 0x3f },
        { VQ_E2M3, 0.0625, 0, 0 },              { VQ_E2M3, -0.0625, 0x20, 0x20 },
        { VQ_E2M3, 0.1875, 2, 2 },              { VQ_E2M3, 0.9375, 8, 8 },
        { VQ_E3M2, 30, 0x1f, 0x1f },            { VQ_E3M2, -1e30f, 0x3f, 0x3f },
        { VQ_E3M2, 0x1p-5, 0, 0 },              { VQ_E3M2, 0x1.8p-4, 2, 2 },
        { VQ_E2M1, 0.25, 0, 0 }, { VQ_E2M1, 0.75, 2, 2 }, { VQ_E2M1, 1.25, 2, 2 },
        { VQ_E2M1, 1.75, 4, 4 }, { VQ_E2M1, 2.5, 4, 4 },  { VQ_E2M1, 3.5, 6, 6 },
        { VQ_E2M1, 5, 6, 6 },    { VQ_E2M1, 7, 7, 7 },    { VQ_E2M1, -5, 14, 14 },
        { VQ_E2M1, -0.25, 8, 8 },
        { VQ_INT8, 0.5, 0, 0 },        { VQ_INT8, 1.5, 2, 2 },       { VQ_INT8, 2.5, 2, 2 },
        { VQ_INT8, -0.5, 0, 0 },       { VQ_INT8, -1.5, 0xfe, 0xfe },
        { VQ_INT8, 127.5, 127, 127 },  { VQ_INT8, -128.5, 0x80, 0x80 },
        { VQ_INT8, -1e30f, 0x80, 0x80 }, { VQ_INT8, 0x1p31, 127, 127 },
        { VQ_UINT8, -1, 0, 0 },        { VQ_UINT8, 254.5, 254, 254 }, { VQ_UINT8, 256, 255, 255 },
        { VQ_UINT8, 255.5, 255, 255 }, { VQ_UINT8, -1e30f, 0, 0 },
        { VQ_INT4, 7.5, 7, 7 },        { VQ_INT4, -8.5, 8, 8 },      { VQ_INT4, -9, 8, 8 },
        { VQ_INT4, 6.5, 6, 6 },        { VQ_UINT4, 15.5, 15, 15 },   { VQ_UINT4, -0.5, 0, 0 },
        { VQ_UINT4, 14.5, 14, 14 },    { VQ_UINT4, -3, 0, 0 },
    };
    int i;
    for (i = 0; i < COUNT(known); i++) {
        check_encode(known[i].t, (float)known[i].x, VQ_SATURATE, known[i].saturate);
        check_encode(known[i].t, (float)known[i].x, VQ_NONFINITE, known[i].nonfinite);
    }
}

static void zeros_infinities_and_nan_become_what_the_manual_says(void)
{
    /* each pair: VQ_SATURATE, VQ_NONFINITE */
    static const struct { vq_dtype t; int zero[2], minus_zero[2], inf[2], minus_inf[2], nan; }
    known[] = {
        { VQ_F16, {0, 0}, {0x8000, 0x8000}, {0x7bff, 0x7c00}, {0xfbff, 0xfc00}, -1 },
        { VQ_BF16, {0, 0}, {0x8000, 0x8000}, {0x7f7f, 0x7f80}, {0xff7f, 0xff80}, -1 },
        { VQ_E4M3FN, {0, 0}, {0x80, 0x80}, {0x7e, 0x7f}, {0xfe, 0x7f}, 0x7f },
        { VQ_E4M3FNUZ, {0, 0}, {0, 0}, {0x7f, 0x80}, {0xff, 0x80}, 0x80 },
        { VQ_E5M2, {0, 0}, {0x80, 0x80}, {0x7b, 0x7c}, {0xfb, 0xfc}, 0x7f },
        { VQ_E5M2FNUZ, {0, 0}, {0, 0}, {0x7f, 0x80}, {0xff, 0x80}, 0x80 },
        { VQ_E8M0, {0, 0xff}, {0, 0xff}, {0xfe, 0xff}, {0xff, 0xff}, 0xff },
        { VQ_UE4M3, {0, 0}, {0, 0}, {0x7e, 0x7f}, {0, 0x7f}, 0x7f },
        { VQ_E2M3, {0, 0}, {0x20, 0x20}, {0x1f, 0x1f}, {0x3f, 0x3f}, 0x1f },
        { VQ_E3M2, {0, 0}, {0x20, 0x20}, {0x1f, 0x1f}, {0x3f, 0x3f}, 0x1f },
        { VQ_E2M1, {0, 0}, {8, 8}, {7, 7}, {15, 15}, 7 },
        { VQ_INT8, {0, 0}, {0, 0}, {127, 127}, {0x80, 0x80}, 0 },
        { VQ_UINT8, {0, 0}, {0, 0}, {255, 255}, {0, 0}, 0 },
        { VQ_INT4, {0, 0}, {0, 0}, {7, 7}, {8, 8}, 0 },
        { VQ_UINT4, {0, 0}, {0, 0}, {15, 15}, {0, 0}, 0 },
    };
    int i, m, k;
    for (i = 0; i < COUNT(known); i++)
        for (m = 0; m < 2; m++) {
            vq_dtype t = known[i].t;
            check_encode(t, 0.0f, modes[m], known[i].zero[m]);
            check_encode(t, -0.0f, modes[m], known[i].minus_zero[m]);
            check_encode(t, INFINITY, modes[m], known[i].inf[m]);
            check_encode(t, -INFINITY, modes[m], known[i].minus_inf[m]);
            for (k = 0; k < COUNT(nans); k++) {
                uint32_t got = vq_encode(t, float_of(nans[k]), modes[m]);
                uint32_t quiet = t == VQ_F16 ? 0x7e00u : 0x7fc0u;
                CHECKF(known[i].nan < 0 ? (got & quiet) == quiet : got == (uint32_t)known[i].nan,
                       "type %d, mode %d, NaN %08x: %x", t, m, (unsigned)nans[k], (unsigned)got);
            }
        }
}

/* --- every input --------------------------------------------------------- */

typedef struct { uint32_t first, want, mask; } run;        /* magnitudes from `first` on */

static run runs[0x8000];
static int run_count;

static void add_run(uint32_t first, int want, uint32_t mask)
{
    CHECK(run_count < COUNT(runs) && (!run_count || runs[run_count - 1].first < first));
    runs[run_count].first = first;
    runs[run_count].want = (uint32_t)want;
    runs[run_count++].mask = mask;
}

static void runs_of_float(const format *f, vq_overflow o, int negative)
{
    int k, sign = negative ? f->sign : 0;
    run_count = 0;
    if (f->t == VQ_E8M0) {
        add_run(0, o == VQ_SATURATE ? 0 : f->nan, ~0u);
        add_run(1, negative ? f->nan : 0, ~0u);
    } else {
        add_run(0, negative ? f->neg_zero : 0, ~0u);
        if (negative && !f->sign) add_run(1, o == VQ_SATURATE ? 0 : f->nan, ~0u);
    }
    for (k = 0; k <= f->largest && (f->sign || !negative); k++) {
        int tie_goes_up = k % 2 || f->t == VQ_E8M0;
        uint32_t tie = bits_of((magnitude(f, k) + magnitude(f, k + 1)) / 2);
        add_run(tie + !tie_goes_up, k < f->largest ? sign | (k + 1) : beyond_code(f, o, sign), ~0u);
    }
    add_run(INF_BITS + 1, f->nan, nan_mask(f));
}

static void runs_of_integer(const integer *f, int negative)
{
    int k, end = negative ? -f->lo : f->hi, mask = (1 << f->bits) - 1;
    run_count = 0;
    add_run(0, 0, ~0u);
    for (k = 0; k < end; k++)
        add_run(bits_of(k + 0.5) + !(k % 2), (negative ? -(k + 1) : k + 1) & mask, ~0u);
    add_run(INF_BITS + 1, 0, ~0u);
}

/* Inputs are counted out, not read: a walk costs what the encoder costs. */
#define WALK(name, call) \
    static uint32_t walk_##name(uint32_t u, uint32_t n, uint32_t step, uint32_t want, \
                                vq_overflow o) \
    { \
        uint32_t bad = 0; \
        if (o == VQ_SATURATE) \
            for (; n; n--, u += step) bad |= call(float_of(u), VQ_SATURATE) ^ want; \
        else \
            for (; n; n--, u += step) bad |= call(float_of(u), VQ_NONFINITE) ^ want; \
        return bad; \
    }

typedef uint32_t (*walker)(uint32_t u, uint32_t n, uint32_t step, uint32_t want, vq_overflow o);

static void report(walker walk, const run *r, uint32_t u, uint32_t n, uint32_t step,
                   vq_overflow o)
{
    for (; n && t_failed < 5; n--, u += step)
        CHECKF(!(walk(u, 1, 1, r->want, o) & r->mask), "%s, f32 %08x: not %x",
               o == VQ_SATURATE ? "saturate" : "nonfinite", (unsigned)u, (unsigned)r->want);
    t_failed++;
}

static uint64_t walk_runs(walker walk, vq_overflow o, uint32_t sign, uint32_t u, uint32_t step)
{
    uint64_t inputs = 0;
    int i;
    for (i = 0; i < run_count; i++) {
        const run *r = runs + i;
        uint32_t end = i + 1 < run_count ? r[1].first : SIGN, n;
        uint32_t last = sign | (end - 1);
        if (walk(sign | r->first, 1, 1, r->want, o) & r->mask)
            report(walk, r, sign | r->first, 1, 1, o);
        if (walk(last, 1, 1, r->want, o) & r->mask) report(walk, r, last, 1, 1, o);
        if (u >= end) continue;
        n = (end - u + step - 1) / step;
        if (walk(sign | u, n, step, r->want, o) & r->mask) report(walk, r, sign | u, n, step, o);
        inputs += n;
        u += n * step;
    }
    return inputs;
}

static void walk_type(walker walk, vq_dtype t)
{
    uint32_t step = t_exhaustive ? 1 : 1001 + 2 * (t_rand() % 24);
    uint64_t inputs = 0;
    int m, negative;
    for (m = 0; m < 2; m++)
        for (negative = 0; negative < 2; negative++) {
            if (format_of(t)) runs_of_float(format_of(t), modes[m], negative);
            else runs_of_integer(integer_of(t), negative);
            inputs += walk_runs(walk, modes[m], negative ? SIGN : 0, t_rand() % step, step);
        }
    if (!t_exhaustive) return;
    CHECK(inputs == UINT64_C(2) << 32);
    printf("2 x %llu inputs ", (unsigned long long)inputs / 2);
}

#define ALL_INPUTS(name, id, call) \
    WALK(name, call) \
    static void all_inputs_of_##name(void) { walk_type(walk_##name, id); }

#define INT8_OF(x, o)  vq_encode(VQ_INT8, x, o)
#define UINT8_OF(x, o) vq_encode(VQ_UINT8, x, o)
#define INT4_OF(x, o)  vq_encode(VQ_INT4, x, o)
#define UINT4_OF(x, o) vq_encode(VQ_UINT4, x, o)

ALL_INPUTS(f16,      VQ_F16,      vq_f16_from_f32)
ALL_INPUTS(bf16,     VQ_BF16,     vq_bf16_from_f32)
ALL_INPUTS(e4m3fn,   VQ_E4M3FN,   vq_e4m3fn_from_f32)
ALL_INPUTS(e4m3fnuz, VQ_E4M3FNUZ, vq_e4m3fnuz_from_f32)
ALL_INPUTS(e5m2,     VQ_E5M2,     vq_e5m2_from_f32)
ALL_INPUTS(e5m2fnuz, VQ_E5M2FNUZ, vq_e5m2fnuz_from_f32)
ALL_INPUTS(e8m0,     VQ_E8M0,     vq_e8m0_from_f32)
ALL_INPUTS(ue4m3,    VQ_UE4M3,    vq_ue4m3_from_f32)
ALL_INPUTS(e2m3,     VQ_E2M3,     vq_e2m3_from_f32)
ALL_INPUTS(e3m2,     VQ_E3M2,     vq_e3m2_from_f32)
ALL_INPUTS(e2m1,     VQ_E2M1,     vq_e2m1_from_f32)
ALL_INPUTS(int8,     VQ_INT8,     INT8_OF)
ALL_INPUTS(uint8,    VQ_UINT8,    UINT8_OF)
ALL_INPUTS(int4,     VQ_INT4,     INT4_OF)
ALL_INPUTS(uint4,    VQ_UINT4,    UINT4_OF)

static void all_inputs_of_f32_stay_as_they_are(void)
{
    uint32_t step = t_exhaustive ? 1 : 1001 + 2 * (t_rand() % 24), bad = 0;
    uint64_t u, inputs = 0;
    for (u = 0; u < UINT64_C(1) << 32; u += step, inputs++) {
        uint32_t in = (uint32_t)u, is_nan = (in & ~SIGN) > INF_BITS;
        uint32_t want = is_nan ? in | 0x00400000u : in;                  /* a NaN is made quiet */
        bad |= vq_encode(VQ_F32, float_of(in), VQ_SATURATE) ^ want;
        bad |= vq_encode(VQ_F32, float_of(in), VQ_NONFINITE) ^ want;
        if (!is_nan) bad |= bits_of_float(vq_decode(VQ_F32, in)) ^ in;
    }
    CHECKF(!bad, "some bits of %08x", (unsigned)bad);
    if (t_exhaustive) printf("2 x %llu inputs ", (unsigned long long)inputs);
}

/* --- packing ------------------------------------------------------------- */

enum { LONGEST = 40, ROW_BYTES = LONGEST * 4 };

/* Bit b of byte k is bit 8k + b of the row, bit j of code i bit bits * i + j. */
static int row_bit(const uint8_t *row, int at) { return row[at / 8] >> (at % 8) & 1; }

static uint32_t code_of_bits(const uint8_t *row, int bits, int i)
{
    uint32_t code = 0;
    int j;
    for (j = bits; j-- > 0;) code = code * 2 + (uint32_t)row_bit(row, bits * i + j);
    return code;
}

static void bits_of_code(uint8_t *row, int bits, int i, uint32_t code)
{
    int j;
    for (j = 0; j < bits; j++) {
        int at = bits * i + j;
        row[at / 8] = (uint8_t)(row[at / 8] & ~(1 << (at % 8)));
        row[at / 8] = (uint8_t)(row[at / 8] | (code >> j & 1) << (at % 8));
    }
}

static int whole_code(const uint8_t *row, int bits, int i, uint32_t *code)
{
    uint16_t h;
    if (bits == 16) { memcpy(&h, row + 2 * i, 2); *code = h; return 1; }
    if (bits == 32) { memcpy(code, row + 4 * i, 4); return 1; }
    return 0;
}

static uint32_t model_get(const uint8_t *row, int bits, int i)
{
    uint32_t code;
    return whole_code(row, bits, i, &code) ? code : code_of_bits(row, bits, i);
}

static void model_put(uint8_t *row, int bits, int i, uint32_t code)
{
    uint16_t h = (uint16_t)code;
    if (bits == 16) memcpy(row + 2 * i, &h, 2);
    else if (bits == 32) memcpy(row + 4 * i, &code, 4);
    else bits_of_code(row, bits, i, code);
}

static const int widths[] = { 4, 6, 8, 16, 32 };

static void rows_of_codes_pack_and_unpack(void)
{
    int w, n, off, i;
    for (w = 0; w < COUNT(widths); w++)
        for (n = 0; n <= LONGEST; n++)
            for (off = 0; off < 8; off++) {
                int bits = widths[w];
                uint8_t row[8 + ROW_BYTES + 8], model[sizeof row];
                uint32_t codes[LONGEST];
                for (i = 0; i < (int)sizeof row; i++) model[i] = row[i] = (uint8_t)t_rand();
                for (i = 0; i < n; i++) codes[i] = t_rand() >> (32 - bits);
                for (i = 0; i < n; i++) {
                    vq_code_put(row + off, bits, i, codes[i]);
                    model_put(model + off, bits, i, codes[i]);
                }
                CHECKF(!memcmp(row, model, sizeof row), "%d codes of %d bits at %d", n, bits, off);
                for (i = 0; i < n; i++)
                    CHECKF(vq_code_get(row + off, bits, i) == codes[i] &&
                           model_get(row + off, bits, i) == codes[i], "%d bits, code %d", bits, i);
            }
}

static void a_put_leaves_every_other_bit_alone(void)
{
    int w, i, k;
    for (w = 0; w < COUNT(widths); w++)
        for (i = 0; i < LONGEST; i++)
            for (k = 0; k < 32; k++) {
                int bits = widths[w], off = k % 8, j;
                uint8_t row[8 + ROW_BYTES + 8], model[sizeof row];
                uint32_t code = t_rand() >> (32 - bits);
                for (j = 0; j < (int)sizeof row; j++)
                    model[j] = row[j] = (uint8_t)(k == 0 ? 0 : k == 1 ? 0xff : t_rand());
                model_put(model + off, bits, i, code);
                if (bits < 32) code |= t_rand() << bits;   /* too wide: only its low bits count */
                vq_code_put(row + off, bits, i, code);
                CHECKF(!memcmp(row, model, sizeof row), "%d bits, code %d", bits, i);
            }
}

/* Exact allocations, so that a sanitizer sees a byte read or written past the row. */
static void no_byte_past_a_row_is_touched(void)
{
    int w, n, i;
    for (w = 0; w < COUNT(widths); w++)
        for (n = 1; n <= LONGEST; n++) {
            int bits = widths[w], bytes = (n * bits + 7) / 8;
            uint8_t *row = (uint8_t *)malloc((size_t)bytes);
            if (!row) { CHECK(!"memory"); return; }
            memset(row, 0x5a, (size_t)bytes);
            for (i = 0; i < n; i++)
                vq_code_put(row, bits, i, vq_code_get(row, bits, i));
            for (i = 0; i < bytes; i++) CHECKF(row[i] == 0x5a, "%d codes, %d bits", n, bits);
            free(row);
        }
}

static void the_layout_is_the_one_drawn(void)
{
    static const uint8_t nibbles[] = { 0x21, 0x43 };       /* codes 1 2 3 4 */
    static const uint8_t sixes[] = { 0x81, 0x30, 0x10 };   /* codes 1 2 3 4 */
    uint8_t row[3] = { 0, 0, 0 };
    int i;
    for (i = 0; i < 4; i++) {
        CHECK(vq_code_get(nibbles, 4, i) == (uint32_t)i + 1);
        CHECK(vq_code_get(sixes, 6, i) == (uint32_t)i + 1);
        vq_code_put(row, 6, i, (uint32_t)i + 1);
    }
    CHECK(!memcmp(row, sixes, 3));
    for (i = 0; i < 4; i++) vq_code_put(row, 4, i, (uint32_t)i + 1);
    CHECK(!memcmp(row, nibbles, 2));
}

/* Bit offsets past 2^31 and 2^32; of the buffer only the touched pages are ever real. */
static void a_far_code_is_found(void)
{
    const int64_t far_ones[] = { INT64_C(357913942), INT64_C(715827886), INT64_C(1073741829) };
    size_t bytes = (size_t)900 << 20;
    uint8_t *row = (uint8_t *)calloc(bytes, 1);
    int i;
    if (!row) SKIP("no 900 MiB of address space");
    for (i = 0; i < 3; i++) {
        int64_t at = far_ones[i] * 6 / 8;
        vq_code_put(row, 6, far_ones[i], 0x2d);
        CHECK((row[at] | row[at + 1]) != 0 && vq_code_get(row, 6, far_ones[i]) == 0x2d);
    }
    free(row);
}

/* --- fn <-> fnuz --------------------------------------------------------- */

/* The code of v in f, found by trying them all; -1: none. */
static int search(const format *f, double v)
{
    int code;
    for (code = 0; code < 256; code++)
        if (!is_nan_code(f, code) && value(f, code) == v) return code;
    return -1;
}

static void every_code_has_its_counterpart_in_the_other_bias(void)
{
    static const struct { vq_dtype from, to; double factor; } pairs[] = {
        { VQ_E4M3FN, VQ_E4M3FNUZ, 0.5 }, { VQ_E4M3FNUZ, VQ_E4M3FN, 2 },
        { VQ_E5M2, VQ_E5M2FNUZ, 0.5 },   { VQ_E5M2FNUZ, VQ_E5M2, 2 },
    };
    int i, m, code, beyond[4] = { 0, 0, 0, 0 };
    for (i = 0; i < 4; i++)
        for (m = 0; m < 2; m++)
            for (code = 0; code < 256; code++) {
                const format *from = format_of(pairs[i].from), *to = format_of(pairs[i].to);
                int got = vq_fnuz_code(from->t, (uint8_t)code, modes[m]), want;
                double v;
                if (is_nan_code(from, code)) want = to->nan;
                else if (!(code & 0x7f)) want = code & to->neg_zero;
                else {
                    v = value(from, code) * pairs[i].factor;
                    want = isinf(v) ? -1 : search(to, v);
                    if (want < 0) {
                        want = beyond_code(to, modes[m], code & 0x80);
                        beyond[i]++;
                    } else {
                        CHECKF(want == code, "type %d, %02x: the byte changes", from->t, code);
                    }
                }
                CHECKF(got == want, "type %d, mode %d, %02x: %02x, not %02x", from->t, m, code,
                       got, want);
            }
    /* of both signs in both modes: none; 240; infinity; 0x7c to 0x7f */
    CHECK(beyond[0] == 0 && beyond[1] == 4 && beyond[2] == 4 && beyond[3] == 16);
}

VQ_TEST_MAIN(
    T(every_code_decodes_by_the_formula),
    T(every_code_comes_back),
    T(bits_above_a_code_are_ignored),
    T(the_extremes_are_those_of_the_manual),
    T(the_named_functions_are_those_of_the_enum),
    T(every_tie_and_its_neighbours_of_floats),
    T(every_tie_and_its_neighbours_of_integers),
    T(known_inputs_give_known_codes),
    T(zeros_infinities_and_nan_become_what_the_manual_says),
    T(all_inputs_of_f32_stay_as_they_are),
    T(all_inputs_of_f16),
    T(all_inputs_of_bf16),
    T(all_inputs_of_e4m3fn),
    T(all_inputs_of_e4m3fnuz),
    T(all_inputs_of_e5m2),
    T(all_inputs_of_e5m2fnuz),
    T(all_inputs_of_e8m0),
    T(all_inputs_of_ue4m3),
    T(all_inputs_of_e2m3),
    T(all_inputs_of_e3m2),
    T(all_inputs_of_e2m1),
    T(all_inputs_of_int8),
    T(all_inputs_of_uint8),
    T(all_inputs_of_int4),
    T(all_inputs_of_uint4),
    T(rows_of_codes_pack_and_unpack),
    T(a_put_leaves_every_other_bit_alone),
    T(no_byte_past_a_row_is_touched),
    T(the_layout_is_the_one_drawn),
    T(a_far_code_is_found),
    T(every_code_has_its_counterpart_in_the_other_bias))
