/* test_activations.c - silu, gelu, gelu_tanh, gelu_quick, relu2: every bf16 and f16; in f32

   The oracle is libm's exp and erfc in double. Their error is under 2^-42 of a result; no 16-bit
   input lies that close to a tie (2^-37.6 is the closest), and where one did the test would fail.
   tests/oracle/activations.py has the same answers from 320 bits. */
#include <math.h>

/* Every a*b + c and every quotient of the bf16 forms comes through here. */
static float mad(float a, float b, float c);
static float quotient(float d);
#define VQ__MAD(a, b, c) mad(a, b, c)
#define VQ__QUOTIENT(d)  quotient(d)
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"

static int      t_mixing, t_mads;                          /* mads counted since it was zeroed */
static uint32_t t_mix;                                     /* bit i: mad i rounds twice */

static float mad(float a, float b, float c)
{
    volatile float product;
    if (!t_mixing) {
#if defined(__FMA__) || defined(__aarch64__)
        return __builtin_fmaf(a, b, c);
#else
        return a * b + c;
#endif
    }
    if (!(t_mix >> t_mads++ & 1u)) return vq__fma(a, b, c);
    product = a * b;
    return product + c;
}

static int t_seeding, t_off;                               /* the seed of a quotient: ulp off */

static float quotient(float d)                             /* 2^-24 / d, as on the CPU or devices */
{
    float r = 1.0f / d;
    if (!t_seeding) return vq__div(0x1p-24f, d);
    if (d > 0x1p126f && t_off > 0) r = 0;                  /* flushed */
    else r = vq__f32_make(vq__f32_bits(r) + (uint32_t)t_off);
    return vq__bf16_ratio(d, r);
}

static uint32_t bits_of(float x)     { return vq__f32_bits(x); }
static float    float_of(uint32_t u) { return vq__f32_make(u); }
static int      is_nan(uint32_t u)   { return (u & 0x7fffffffu) > 0x7f800000u; }
static int      is_quiet(uint32_t u) { return is_nan(u) && (u & 0x400000u); }

/* >>truth */

static double logistic(double x, double z) { return x / (1 + exp(-z)); }
static double true_silu(double x)       { return logistic(x, x); }
static double true_gelu(double x)       { return x * erfc(x * -0.70710678118654752440) / 2; }
static double true_gelu_quick(double x) { return logistic(x, 1.702 * x); }
static double true_gelu_tanh(double x)
{
    return logistic(x, 1.59576912160573071176 * (x + 0.044715 * x * x * x));   /* 2 sqrt(2/pi) */
}

typedef struct {
    const char *name;
    double    (*truth)(double);
    float     (*f32)(float);
    float     (*f16)(float, vq_dtype);
    float     (*bf16)(float);
    float     (*by)(int, float);
    double      bound;                                     /* ulp of an f32 */
} subject;

/* by: with the machine's own fma. */
#define FORMS(f) \
    static float f_##f(float x)                 { return vq__##f(x); } \
    static float f_##f##_16(float x, vq_dtype t) { return vq__##f##16(x, t); } \
    static float f_##f##_bf16(float x)          { return vq__##f##_bf16(x); } \
    static float f_##f##_by(int f16, float x) \
    { \
        return f16 ? vq__##f##_f32(VQ__FMA_HERE | VQ__FOR_F16, x) \
                   : vq__##f##_f32(VQ__FMA_HERE, x); \
    }
FORMS(silu)
FORMS(gelu)
FORMS(gelu_tanh)
FORMS(gelu_quick)

#define SUBJECT(f, bound) { #f, true_##f, f_##f, f_##f##_16, f_##f##_bf16, f_##f##_by, bound }
static const subject subjects[] = {
    SUBJECT(silu, 0.8262),
    SUBJECT(gelu, 1.8628),
    SUBJECT(gelu_tanh, 0.7997),
    SUBJECT(gelu_quick, 0.7860)
};
#define SUBJECTS 4
static const subject relu2 = { "relu2", NULL, NULL, NULL, NULL, NULL, 0 };

/* The code nearest to y, ties to even, counted up from 0 in steps that double: of y's magnitude.
   certain: y is exact; else it is some way from the nearest tie, or the test has no answer. */
static uint32_t code_of(double y, int mbits, int least, int certain)
{
    double a = fabs(y), step = ldexp(1.0, least - mbits), edge = ldexp(1.0, least + 1), whole, off;
    uint32_t up = 0, code;
    while (a >= edge && edge < 1e300) {
        edge *= 2;
        step *= 2;
        up++;
    }
    whole = floor(a / step);
    off = a / step - whole - 0.5;
    CHECKF(certain || fabs(off) * step > a * 0x1p-42, "%a is too close to a tie", y);
    code = (uint32_t)whole;
    if (off > 0 || (off == 0 && (code & 1u))) code++;
    return code + (up << mbits);
}

/* What f makes of a code, by the definition; 0xffffffff is any quiet NaN. */
static uint32_t truth16(const subject *s, vq_dtype t, uint32_t code)
{
    int mbits = t == VQ_BF16 ? 7 : 10, least = t == VQ_BF16 ? -126 : -14;
    uint32_t sign = code & 0x8000u, inf = 0x8000u - (1u << mbits);
    double x = (double)vq_decode(t, code), y;
    if ((code & 0x7fffu) > inf) return 0xffffffffu;
    if ((code & 0x7fffu) == inf) return sign ? 0x8000u : inf;
    if (t == VQ_BF16 && fabs(x) < 0x1p-60) return sign | code_of(x / 2, mbits, least, 1);
    if (x == 0) return code;
    if (x > 300) return code;                              /* x - e^-300 */
    y = s->truth(x);
    return sign | code_of(y, mbits, least, y == 0);
}

static void check16(const subject *s, vq_dtype t, uint32_t code, float y, uint32_t want)
{
    uint32_t got = vq_encode(t, y, VQ_NONFINITE);
    if (want == 0xffffffffu) {
        CHECKF(is_quiet(bits_of(vq_decode(t, got))), "%s %04x: %04x", s->name, code, got);
        return;
    }
    CHECKF(got == want, "%s of %s %04x: %04x, not %04x", s->name, t == VQ_F16 ? "f16" : "bf16",
           code, got, want);
}

static uint32_t truths[SUBJECTS][65536];                   /* of bf16 */

static void find_truths(void)
{
    uint32_t c;
    int i;
    for (i = 0; i < SUBJECTS; i++)
        for (c = 0; c < 65536u; c++) truths[i][c] = truth16(&subjects[i], VQ_BF16, c);
}

static void every_answer(vq_dtype t)
{
    uint32_t c;
    int i;
    for (i = 0; i < SUBJECTS; i++)
        for (c = 0; c < 65536u; c++)
            check16(&subjects[i], t, c, subjects[i].f16(vq_decode(t, c), t),
                    truth16(&subjects[i], t, c));
}

static void every_bf16_gives_the_real_function_rounded_once(void) { every_answer(VQ_BF16); }
static void every_f16_gives_the_real_function_rounded_once(void)  { every_answer(VQ_F16); }

/* All bf16 where something is computed, and some beside. */
static int of_interest(uint32_t code)
{
    uint32_t mag = code & 0x7fffu;
    return (mag >= 0x3080u && mag <= 0x4300u) || mag % 61u == 0;         /* 2^-30 to 128 */
}

static void whatever_rounds_twice_gives_the_same_bf16(void)
{
    static const int count[SUBJECTS] = { 6, 16, 7, 7 };
    uint32_t c, n, k;
    int i;
    find_truths();
    t_mixing = 1;
    for (i = 0; i < SUBJECTS; i++) {
        const subject *s = &subjects[i];
        uint32_t all = (1u << count[i]) - 1u;
        n = t_exhaustive || all < 200u ? all + 1u : 100u;
        t_mads = 0;
        s->bf16(1.0f);
        CHECKF(t_mads == count[i], "%s: %d", s->name, t_mads);
        for (k = 0; k < n; k++) {
            t_mix = n == all + 1u ? k : k == 0 ? 0 : k == 1 ? all : t_rand() & all;
            for (c = 0; c < 65536u; c++) {
                if (!of_interest(c)) continue;
                t_mads = 0;
                check16(s, VQ_BF16, c, s->bf16(vq_decode(VQ_BF16, c)), truths[i][c]);
            }
        }
    }
    t_mixing = 0;
}

static void a_reciprocal_that_is_off_gives_the_same_bf16(void)
{
    uint32_t c;
    int i;
    find_truths();
    t_seeding = 1;
    for (i = 0; i < SUBJECTS; i++)
        for (t_off = -3; t_off <= 3; t_off++)
            for (c = 0; c < 65536u; c++)
                check16(&subjects[i], VQ_BF16, c, subjects[i].bf16(vq_decode(VQ_BF16, c)),
                        truths[i][c]);
    t_seeding = 0;
}

/* >>f32 */

static double ulps_in_one(double t)                        /* 1 / ulp of t as an f32 */
{
    int e;
    frexp(t, &e);
    return ldexp(1.0, e < -125 ? 149 : 24 - e);
}

static double worst;
static float  worst_at;

static void check_f32(const subject *s, uint32_t u)
{
    float x = float_of(u), y = s->f32(x);
    double t, off;
    if (is_nan(u)) { CHECKF(is_quiet(bits_of(y)), "%s %08x", s->name, u); return; }
    CHECKF(bits_of(y) >> 31 == u >> 31, "%s %08x: %08x", s->name, u, bits_of(y));
    if ((u & 0x7fffffffu) == 0x7f800000u) {
        CHECKF(bits_of(y) == (u >> 31 ? 0x80000000u : u), "%s %08x: %08x", s->name, u, bits_of(y));
        return;
    }
    t = s->truth((double)x);
    off = fabs((double)y - t) * ulps_in_one(t);
    if (off > worst) { worst = off; worst_at = x; }
    CHECKF(off <= s->bound, "%s %a: %a, not %a, %.3f ulp", s->name, (double)x, (double)y, t, off);
}

static void check_form(const subject *s)
{
    static const float edge[] = { 0.0f, 0x1p-126f, 0x1p-24f, 0x1p-12f, 0.25f, 1.0f, 2.0f, 8.0f,
                                  11.0f, 14.36f, 14.6f, 16.0f, 17.5f, 23.5f, 25.06f, 40.0f, 41.6f,
                                  52.2f, 60.0f, 66.0f, 87.3f, 88.7f, 104.0f, 108.6f, 110.0f };
    uint32_t u;
    int k, d;
    worst = 0;
    if (t_exhaustive) {
        u = 0;
        do check_f32(s, u); while (++u);
    } else {
        for (u = 0; u < 1u << 18; u++) check_f32(s, u << 14 | (t_rand() >> 18));
        for (u = 0; u < 1u << 17; u++)                     /* 2^-12 to 2^8, of either sign */
            check_f32(s, (u & 1u) << 31 | (0x39800000u + (u >> 1) * 2560u + t_rand() % 2560u));
        for (k = 0; k < VQ__COUNT(edge); k++)
            for (d = -64; d <= 64; d++) {
                u = bits_of(edge[k]) + (uint32_t)d;
                check_f32(s, u & 0x7fffffffu);
                check_f32(s, u | 0x80000000u);
            }
    }
    printf("%.4f ulp at %a ", worst, (double)worst_at);
}

static void silu_is_within_one_ulp(void)       { check_form(&subjects[0]); }
static void gelu_is_within_two_ulp(void)       { check_form(&subjects[1]); }
static void gelu_tanh_is_within_one_ulp(void)  { check_form(&subjects[2]); }
static void gelu_quick_is_within_one_ulp(void) { check_form(&subjects[3]); }

/* f(x) - f(-x) = x of all four: the two sides of zero are computed in different ways. */
static void both_sides_of_zero_differ_by_x(void)
{
    uint32_t u;
    int i;
    for (i = 0; i < SUBJECTS; i++)
        for (u = 0; u < 0x7f800000u; u += 8191u) {
            float x = float_of(u);
            double d = (double)subjects[i].f32(x) - (double)subjects[i].f32(-x);
            CHECKF(fabs(d - (double)x) * ulps_in_one((double)x) <= 2 * subjects[i].bound,
                   "%s %a: %a", subjects[i].name, (double)x, d);
        }
}

static void special_values(void)
{
    static const struct { uint32_t x, y; } known[] = {     /* the same for all four */
        { 0x00000000u, 0x00000000u }, { 0x80000000u, 0x80000000u },
        { 0x7f800000u, 0x7f800000u }, { 0xff800000u, 0x80000000u },
        { 0x7f7fffffu, 0x7f7fffffu }, { 0xff7fffffu, 0x80000000u },
        { 0x42480000u, 0x42480000u }, { 0x4e6e6b28u, 0x4e6e6b28u },              /* 50, 1e9 */
        { 0xc3480000u, 0x80000000u }, { 0xc2dc0001u, 0x80000000u },              /* -200 */
        { 0x00000002u, 0x00000001u }, { 0x80000002u, 0x80000001u },              /* x / 2 */
        { 0x00000010u, 0x00000008u }, { 0x80800000u, 0x80400000u }
    };
    static const uint32_t nan[] = { 0x7fc00000u, 0xffc00000u, 0x7f800001u, 0xff800001u,
                                    0x7fffffffu, 0xffffffffu };
    int i, k;
    for (i = 0; i < SUBJECTS; i++) {
        const subject *s = &subjects[i];
        for (k = 0; k < VQ__COUNT(known); k++)
            CHECKF(bits_of(s->f32(float_of(known[k].x))) == known[k].y, "%s %08x: %08x", s->name,
                   known[k].x, bits_of(s->f32(float_of(known[k].x))));
        for (k = 0; k < VQ__COUNT(nan); k++)
            CHECKF(is_quiet(bits_of(s->f32(float_of(nan[k])))), "%s %08x", s->name, nan[k]);
    }
}

static void relu2_rounds_once(void)
{
    static const uint32_t nan[] = { 0x7f800001u, 0xff800001u, 0x7fc00000u, 0xffffffffu };
    uint32_t c;
    int i;
    for (c = 0; c < 65536u; c++)
        for (i = 0; i < 2; i++) {
            vq_dtype t = i ? VQ_F16 : VQ_BF16;
            int mbits = i ? 10 : 7, least = i ? -14 : -126;
            uint32_t inf = 0x8000u - (1u << mbits), mag = c & 0x7fffu, want;
            float x = vq_decode(t, c);
            want = mag > inf ? 0xffffffffu : c >> 15 ? 0 : mag == inf ? inf :
                   code_of((double)x * (double)x, mbits, least, 1);
            check16(&relu2, t, c, vq__relu2(x, t), want < inf || want > 0xffffu ? want : inf);
        }
    for (c = 0; c < 0x7f800000u; c += 8191u) {
        volatile float once = float_of(c) * float_of(c);
        CHECKF(bits_of(vq__relu2(float_of(c), VQ_F32)) == bits_of(once), "%08x", c);
        CHECKF(bits_of(vq__relu2(float_of(c | 0x80000000u), VQ_F32)) == 0, "-%08x", c);
    }
    for (i = 0; i < VQ__COUNT(nan); i++)
        CHECKF(is_quiet(bits_of(vq__relu2(float_of(nan[i]), VQ_F32))), "%08x", nan[i]);
}

/* Loops compiled for a machine with fma, and references that imitate it, meet in the same bytes. */
static void the_fma_of_the_machine_changes_nothing(void)
{
    uint32_t u;
    int i;
    for (i = 0; i < SUBJECTS; i++) {
        const subject *s = &subjects[i];
        for (u = 0; u < 65536u; u++) {
            float x = vq_decode(VQ_F16, u), y = s->f16(x, VQ_F16), z = s->by(1, x);
            CHECKF(bits_of(y) == bits_of(z) || is_nan(bits_of(x)), "%s f16 %04x", s->name, u);
        }
        for (u = 0; u < 1u << 17; u++) {
            float x = float_of(u << 15 | (t_rand() & 0x7fffu)), y = s->f32(x), z = s->by(0, x);
            CHECKF(bits_of(y) == bits_of(z) || is_nan(bits_of(x)), "%s %a", s->name, (double)x);
        }
    }
}

/* Every compiler and every device has to give these. */
static void a_million_results_have_their_recorded_bits(void)
{
    static const uint32_t want[SUBJECTS] = {
        0x7387b8dbu, 0xa6c92444u, 0xc61b24b4u, 0xf08266bbu
    };
    uint32_t h, k, u;
    int i;
    for (i = 0; i < SUBJECTS; i++) {
        h = 2166136261u;
        for (k = 0; k < 1u << 18; k++) {
            u = k % 4u ? (k & 0x8000u) << 16 | (0x38000000u + k * 2654435761u % 0x0b000000u)
                       : k * 2654435761u;
            u = bits_of(subjects[i].f32(float_of(u)));
            h = (h ^ (is_nan(u) ? 0x7fc00000u : u)) * 16777619u;
        }
        CHECKF(h == want[i], "%s: %08x", subjects[i].name, h);
    }
}

VQ_TEST_MAIN(
    T(every_bf16_gives_the_real_function_rounded_once),
    T(every_f16_gives_the_real_function_rounded_once),
    T(whatever_rounds_twice_gives_the_same_bf16),
    T(a_reciprocal_that_is_off_gives_the_same_bf16),
    T(silu_is_within_one_ulp),
    T(gelu_is_within_two_ulp),
    T(gelu_tanh_is_within_one_ulp),
    T(gelu_quick_is_within_one_ulp),
    T(both_sides_of_zero_differ_by_x),
    T(special_values),
    T(relu2_rounds_once),
    T(the_fma_of_the_machine_changes_nothing),
    T(a_million_results_have_their_recorded_bits))
