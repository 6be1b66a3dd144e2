/* test_numerics.c - f32 arithmetic, exp, erf, log1p, the canonical sum, and what a caller's
   floating-point control word may do to an op: nothing

   The oracle of one rounding adds in 576-bit integers. That of exp, erf and log1p is libm's
   double function, whose error is some 10^-9 of what is measured here. */
#include <fenv.h>
#include <math.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"

/* >>exact          a*b + c of any finite f32 is a whole number of 2^-298, of 556 bits at most */

#define WORDS 18

typedef struct { uint32_t w[WORDS]; } wide;                /* w[0] is the lowest */

static wide wide_of(uint64_t m, int shift)                 /* m * 2^shift */
{
    wide r;
    int i;
    memset(&r, 0, sizeof r);
    for (i = 0; i < 64; i++)
        if (m >> i & 1u) r.w[(i + shift) / 32] |= (uint32_t)1 << (i + shift) % 32;
    return r;
}

static int wide_less(const wide *a, const wide *b)
{
    int i = WORDS - 1;
    while (i > 0 && a->w[i] == b->w[i]) i--;
    return a->w[i] < b->w[i];
}

static wide wide_sum(const wide *a, const wide *b, int minus)      /* minus: of a >= b */
{
    uint64_t carry = minus ? 1 : 0;
    wide r;
    int i;
    for (i = 0; i < WORDS; i++) {
        carry += (uint64_t)a->w[i] + (minus ? ~b->w[i] : b->w[i]);
        r.w[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return r;
}

static int wide_bit(const wide *a, int i) { return (int)(a->w[i / 32] >> i % 32 & 1u); }

/* The bits of the f32 nearest to a * 2^-298, ties to even. */
static uint32_t wide_round(const wide *a)
{
    int top = WORDS * 32 - 1, low, i, rest = 0;
    uint32_t m = 0;
    while (top >= 0 && !wide_bit(a, top)) top--;
    if (top < 0) return 0;
    low = top - 23 > 149 ? top - 23 : 149;                 /* the place of the last bit kept */
    for (i = top; i >= low; i--) m = m << 1 | (uint32_t)wide_bit(a, i);
    for (i = 0; i < low - 1; i++) rest |= wide_bit(a, i);
    if (wide_bit(a, low - 1) && (rest || (m & 1u))) m++;
    m += (uint32_t)(low - 149) << 23;                      /* an m of 2^23 raises the exponent */
    return m > 0x7f800000u ? 0x7f800000u : m;
}

static uint32_t whole(uint32_t u)   { return (u & 0x7fffffu) | (u << 1 >> 24 ? 0x800000u : 0u); }
static int      place(uint32_t u)   { int e = (int)(u << 1 >> 24); return e ? e - 1 : 0; }
static int      is_nan(uint32_t u)  { return (u & 0x7fffffffu) > 0x7f800000u; }
static int      is_inf(uint32_t u)  { return (u & 0x7fffffffu) == 0x7f800000u; }
static int      is_zero(uint32_t u) { return !(u & 0x7fffffffu); }

#define NAN_BITS 0x7fc00000u

static uint32_t exact_fma(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t sp = (a ^ b) & 0x80000000u, sc = c & 0x80000000u;
    wide p, d, s;
    if (is_nan(a) || is_nan(b) || is_nan(c)) return NAN_BITS;
    if (is_inf(a) || is_inf(b)) {
        if (is_zero(a) || is_zero(b) || (is_inf(c) && sc != sp)) return NAN_BITS;
        return sp | 0x7f800000u;
    }
    if (is_inf(c)) return c;
    if (is_zero(a) || is_zero(b)) return !is_zero(c) || sc == sp ? c : 0;
    p = wide_of((uint64_t)whole(a) * whole(b), place(a) + place(b));
    d = wide_of(whole(c), place(c) + 149);
    if (sp == sc) { s = wide_sum(&p, &d, 0); return sp | wide_round(&s); }
    if (wide_less(&p, &d)) { s = wide_sum(&d, &p, 1); return sc | wide_round(&s); }
    s = wide_sum(&p, &d, 1);
    return wide_less(&d, &p) ? sp | wide_round(&s) : 0;    /* x - x is +0 */
}

static int same(uint32_t got, uint32_t want)               /* any quiet NaN is one */
{
    return got == want || (is_nan(got) && is_nan(want) && (got & 0x400000u));
}

/* Bit patterns of every kind: half of them random, the others near the edges of the format. */
static uint32_t nasty(void)
{
    static const uint32_t edge[] = {
        0, 1, 0x007fffff, 0x00800000, 0x00800001, 0x33800000, 0x3f7fffff, 0x3f800000, 0x3f800001,
        0x4b000000, 0x4b800000, 0x7effffff, 0x7f000000, 0x7f7fffff, 0x7f800000, 0x7fc00000
    };
    uint32_t r = t_rand(), u = t_rand();
    switch (r & 7u) {
    case 0:  return edge[r >> 8 & 15u] ^ (r & 0x80000000u);
    case 1:  return (edge[r >> 8 & 15u] ^ (r & 0x80000000u)) + (u & 15u) - 8u;
    case 2:  return u & 0x807fffffu;                        /* subnormal */
    case 3:  return (u & 0x80ffffffu) | 0x3f000000u;        /* 0.5 to 2 */
    default: return u;
    }
}

static void check_fma(uint32_t a, uint32_t b, uint32_t c)
{
    float x = vq__f32_make(a), y = vq__f32_make(b), z = vq__f32_make(c);
    uint32_t got = vq__f32_bits(vq__fma(x, y, z)), want = exact_fma(a, b, c);
    CHECKF(same(got, want), "fma(%08x, %08x, %08x): %08x, not %08x", a, b, c, got, want);
    CHECKF(same(vq__f32_bits(fmaf(x, y, z)), want), "libm: %08x %08x %08x", a, b, c);
}

static void fma_rounds_once(void)
{
    int i, n = t_exhaustive ? 20000000 : 500000;
    for (i = 0; i < n; i++) {
        uint32_t a = nasty(), b = nasty(), c = nasty(), m;
        float x = vq__f32_make(a), y = vq__f32_make(b);
        switch (i % 4) {
        case 1:                                             /* c cancels all but the tail of a*b */
            m = vq__f32_bits((float)((double)x * y));
            c = is_nan(m) ? c : (m ^ 0x80000000u) + t_rand() % 5u - 2u;
            break;
        case 2:                                             /* the result is subnormal, or nearly */
            a = (a & 0x807fffffu) | (20u + t_rand() % 60u) << 23;
            b = (b & 0x807fffffu) | (127u - (a << 1 >> 24) + t_rand() % 26u) << 23;
            c &= 0x81ffffffu;
            break;
        case 3:                                             /* a*b is about half a bit of c */
            a = (a & 0x80000000u) | (90u + t_rand() % 60u) << 23;
            b = (t_rand() & 3u) ? (uint32_t)(t_rand() % 120u + 40u) << 23 | (t_rand() % 3u)
                                : 0x3f800000u;
            m = (a << 1 >> 24) + (b << 1 >> 24) - 127u + 24u;
            if (m < 254u) c = (c & 0x807fffffu) | m << 23;
            break;
        }
        check_fma(a, b, c);
    }
}

static void add_sub_and_mul_round_once(void)
{
    int i, n = t_exhaustive ? 20000000 : 500000;
    for (i = 0; i < n; i++) {
        uint32_t a = nasty(), b = nasty();
        volatile float x, y, plain;
        uint32_t got;
        if (i % 4 == 1) b = (a ^ (t_rand() & 0x80000000u)) + t_rand() % 9u;     /* cancel */
        if (i % 4 == 2) b = (b & 0x807fffffu) | ((a >> 23 & 0xffu) ^ (t_rand() & 31u)) << 23;
        if (i % 4 == 3)                                     /* a subnormal product, or nearly */
            b = (b & 0x807fffffu) | (uint32_t)(127u - (a << 1 >> 24) + t_rand() % 26u) << 24 >> 1;
        x = vq__f32_make(a);
        y = vq__f32_make(b);
        plain = x * y;
        got = vq__f32_bits(vq__mul(x, y));
        CHECKF(same(got, vq__f32_bits(plain)), "%08x * %08x", a, b);
        CHECKF(same(got, exact_fma(a, b, (a ^ b) & 0x80000000u)), "%08x * %08x: %08x", a, b, got);
        plain = x + y;
        got = vq__f32_bits(vq__add(x, y));
        CHECKF(same(got, vq__f32_bits(plain)), "%08x + %08x", a, b);
        CHECKF(same(got, exact_fma(a, 0x3f800000u, b)), "%08x + %08x: %08x", a, b, got);
        plain = x - y;
        got = vq__f32_bits(vq__sub(x, y));
        CHECKF(same(got, vq__f32_bits(plain)), "%08x - %08x", a, b);
        CHECKF(same(got, exact_fma(a, 0x3f800000u, b ^ 0x80000000u)), "%08x - %08x", a, b);
    }
}

/* A quotient or root of 24-bit numbers that is rounded to 53 bits first rounds to the same 24. */
static void check_sqrt(uint32_t a)
{
    volatile double root = sqrt((double)vq__f32_make(a));
    uint32_t got = vq__f32_bits(vq__sqrt(vq__f32_make(a))), want = vq__f32_bits((float)root);
    CHECKF(same(got, want), "sqrt %08x: %08x, not %08x", a, got, want);
}

static void div_and_sqrt_round_once(void)
{
    int i, n = t_exhaustive ? 20000000 : 500000;
    uint32_t u;
    for (i = 0; i < n; i++) {
        uint32_t a = nasty(), b = nasty(), got;
        volatile float x = vq__f32_make(a), y, plain;
        volatile double wider;
        if (i & 1)                                          /* a subnormal quotient, or nearly */
            b = (b & 0x807fffffu) | (uint32_t)((a << 1 >> 24) + 127u - t_rand() % 26u) << 24 >> 1;
        y = vq__f32_make(b);
        plain = x / y;
        wider = (double)x / (double)y;
        got = vq__f32_bits(vq__div(x, y));
        CHECKF(same(got, vq__f32_bits(plain)), "%08x / %08x: %08x", a, b, got);
        CHECKF(same(got, vq__f32_bits((float)wider)), "%08x / %08x: %08x", a, b, got);
        check_sqrt(a);
    }
    for (u = 0x3f800000u; u < 0x40800000u; u += t_exhaustive ? 1u : 61u) check_sqrt(u);
    for (u = 0; u < 0x00800000u; u += t_exhaustive ? 1u : 127u) check_sqrt(u);
    check_sqrt(0x80000000u);
    check_sqrt(0x7f800000u);
    check_sqrt(0xff800000u);
    check_sqrt(0x80000001u);
}

/* >>functions      exp, erf, log1p against libm's double functions */

typedef struct {
    float    (*f)(float);
    double   (*truth)(double);
    double     bound, worst;                               /* ulp: of the true result */
    uint32_t   at;
} subject;

static float f_exp(float x)   { return vq__exp(x); }
static float f_erf(float x)   { return vq__erf(x); }
static float f_log1p(float x) { return vq__log1p(x); }

static double ulps_in_one(double t)                        /* 1 / ulp of t as an f32 */
{
    uint64_t u;
    int e;
    memcpy(&u, &t, 8);
    e = (int)(u >> 52 & 2047u) - 1023;
    u = (uint64_t)(1023 + (e < -126 ? 149 : 23 - e)) << 52;
    memcpy(&t, &u, 8);
    return t;
}

/* Gives the result, whose order among others is looked at elsewhere. */
static float check_function(subject *s, uint32_t u)
{
    float x = vq__f32_make(u), y = s->f(x), want;
    uint32_t got = vq__f32_bits(y);
    volatile double t, off;
    if (is_nan(u)) { CHECKF(is_nan(got) && (got & 0x400000u), "%08x: %08x", u, got); return y; }
    t = s->truth((double)x);
    want = (float)t;
    if (!(fabsf(want) < INFINITY) || t == 0.0) {            /* NaN, infinity, zero: as they are */
        CHECKF(same(got, vq__f32_bits(want)), "%08x: %08x", u, got);
        return y;
    }
    CHECKF(got << 1 < 0xff000000u && got >> 31 == (uint32_t)!!signbit(t), "%08x: %08x", u, got);
    off = fabs((double)y - t);
    off = off * ulps_in_one(t);
    if (off > s->worst) { s->worst = off; s->at = u; }
    CHECKF(off <= s->bound, "%08x: %a, not %a, %.3f ulp", u, (double)y, (double)t, off);
    return y;
}

/* Every input, and that the results keep their order; or one of each 1,024 in a row, and 64 on
   both sides of where something changes. */
static void check_all(subject *s, const uint32_t *edge, int edges)
{
    uint32_t i;
    int k, d;
    if (t_exhaustive) {
        float last = 0, y;
        i = 0;
        do {
            y = check_function(s, i);
            CHECKF(!(i & 0x7fffffffu) || is_nan(i) || !(i >> 31 ? y > last : y < last),
                   "%08x: not monotone", i);
            last = y;
        } while (++i);
    } else {
        for (i = 0; i < 1u << 22; i++) check_function(s, i << 10 | (t_rand() & 1023u));
        for (k = 0; k < edges; k++)
            for (d = -64; d <= 64; d++) check_function(s, edge[k] + (uint32_t)d);
    }
    printf("%.4f ulp at %a ", s->worst, (double)vq__f32_make(s->at));
}

/* Zeros, infinities, ends of the subnormals, ones, NaNs. */
#define ENDS 0x00000000u, 0x80000000u, 0x00800000u, 0x80800000u, 0x33000000u, 0xb3000000u, \
             0x3f800000u, 0xbf800000u, 0x7f800000u, 0xff800000u

static void exp_is_within_one_ulp(void)
{
    static const uint32_t edge[] = { ENDS, 0x42b17218u, 0xc2aeac50u, 0xc2ce8ed0u, 0xc2cff1b5u,
                                     0xc2af6e5au, 0x42b20000u, 0xc2d20000u };
    subject s = { f_exp, exp, 0.7645, 0, 0 };
    check_all(&s, edge, VQ__COUNT(edge));
}

static void erf_is_within_one_ulp(void)
{
    static const uint32_t edge[] = { ENDS, 0x3f520000u, 0xbf520000u, 0x407cccccu, 0x407ad447u,
                                     0xc07ad447u, 0x3f50fdd3u };
    subject s = { f_erf, erf, 0.7781, 0, 0 };
    check_all(&s, edge, VQ__COUNT(edge));
}

static void log1p_is_within_one_ulp(void)
{
    static const uint32_t edge[] = { ENDS, 0xbe800000u, 0x3f000000u, 0xbf200000u, 0x40000000u,
                                     0x4b000000u, 0x4b800000u, 0x7ec00000u, 0x7f400000u,
                                     0xbe8267dfu };
    subject s = { f_log1p, log1p, 0.8636, 0, 0 };
    check_all(&s, edge, VQ__COUNT(edge));
}

static void special_values(void)
{
    static const struct { int f; uint32_t x, y; } known[] = {
        { 'e', 0x00000000u, 0x3f800000u }, { 'e', 0x80000000u, 0x3f800000u },    /* e^-0 = 1 */
        { 'e', 0xff800000u, 0x00000000u }, { 'e', 0x7f800000u, 0x7f800000u },
        { 'e', 0x00000001u, 0x3f800000u }, { 'e', 0x80000001u, 0x3f800000u },
        { 'e', 0x42b17217u, 0x7f7fff84u }, { 'e', 0x42b17218u, 0x7f800000u },    /* too large */
        { 'e', 0xc2cff1b4u, 0x00000001u }, { 'e', 0xc2cff1b5u, 0x00000000u },    /* too small */
        { 'e', 0x7f7fffffu, 0x7f800000u }, { 'e', 0xff7fffffu, 0x00000000u },
        { 'e', 0x7fc00000u, NAN_BITS },    { 'e', 0xff800001u, NAN_BITS },
        { 'f', 0x00000000u, 0x00000000u }, { 'f', 0x80000000u, 0x80000000u },
        { 'f', 0x7f800000u, 0x3f800000u }, { 'f', 0xff800000u, 0xbf800000u },
        { 'f', 0x00000001u, 0x00000001u }, { 'f', 0x80000001u, 0x80000001u },
        { 'f', 0x00000004u, 0x00000005u }, { 'f', 0x80000008u, 0x80000009u },    /* 2/sqrt(pi) x */
        { 'f', 0x7f7fffffu, 0x3f800000u }, { 'f', 0xc0800000u, 0xbf800000u },
        { 'f', 0x7f800001u, NAN_BITS },    { 'f', 0xffc00000u, NAN_BITS },
        { 'l', 0x00000000u, 0x00000000u }, { 'l', 0x80000000u, 0x80000000u },
        { 'l', 0x7f800000u, 0x7f800000u }, { 'l', 0xff800000u, NAN_BITS },
        { 'l', 0xbf800000u, 0xff800000u }, { 'l', 0xbf800001u, NAN_BITS },       /* at -1, below */
        { 'l', 0x00000001u, 0x00000001u }, { 'l', 0x80000001u, 0x80000001u },
        { 'l', 0x807fffffu, 0x807fffffu }, { 'l', 0xbf7fffffu, 0xc1851592u },    /* -24 ln 2 */
        { 'l', 0x7f7fffffu, 0x42b17218u }, { 'l', 0xff7fffffu, NAN_BITS },
        { 'l', 0x7fc00000u, NAN_BITS },    { 'l', 0xff800001u, NAN_BITS }
    };
    int i;
    for (i = 0; i < VQ__COUNT(known); i++) {
        float x = vq__f32_make(known[i].x);
        float y = known[i].f == 'e' ? vq__exp(x) : known[i].f == 'f' ? vq__erf(x) : vq__log1p(x);
        CHECKF(same(vq__f32_bits(y), known[i].y), "%c(%08x): %08x, not %08x", known[i].f,
               known[i].x, vq__f32_bits(y), known[i].y);
    }
    for (i = 0; i < 100000; i++) {
        uint32_t u = nasty();
        if (!is_nan(u))
            CHECKF(vq__f32_bits(vq__erf(vq__f32_make(u ^ 0x80000000u))) ==
                   (vq__f32_bits(vq__erf(vq__f32_make(u))) ^ 0x80000000u), "erf %08x: not odd", u);
    }
}

/* Every compiler and every device has to give these: a result that moves by one bit moves all the
   recorded outputs of the ops that use it. */
static uint64_t digest(float (*f)(float))
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);              /* FNV-1a, a word at a time */
    uint32_t i, u;
    for (i = 0; i < 1u << 20; i++) {
        u = vq__f32_bits(f(vq__f32_make(i << 12 | (i * 2654435761u >> 20))));
        h = (h ^ (is_nan(u) ? NAN_BITS : u)) * UINT64_C(0x100000001b3);
    }
    return h;
}

static void a_million_results_have_their_recorded_bits(void)
{
    static const struct { float (*f)(float); uint64_t want; } known[] = {
        { f_exp,   UINT64_C(0x0a1e21a1885fbcfd) },
        { f_erf,   UINT64_C(0x31580c2a8b9644fc) },
        { f_log1p, UINT64_C(0x82d6d075bf70cd3b) }
    };
    int i;
    for (i = 0; i < VQ__COUNT(known); i++) {
        uint64_t got = digest(known[i].f);
        CHECKF(got == known[i].want, "%d: %08x%08x", i, (unsigned)(got >> 32), (unsigned)got);
    }
}

/* >>sums           the one order of a row's sum */

static float plain_add(float a, float b) { volatile float s = a + b; return s; }

static float tree(const float *p, int n)                   /* neighbours first */
{
    return n == 1 ? p[0] : plain_add(tree(p, n / 2), tree(p + n / 2, n / 2));
}

/* As a block of `lanes` lanes does it: lane t owns partials t, t + lanes, ...; then each adds what
   the one at distance d has. Every one ends with the sum. */
static float block_sum(const float *x, int n, int lanes, int squares, const float *partials)
{
    static float p[1024], q[1024];
    int i, t, d;
    for (t = 0; t < 1024; t++) p[t] = 0.0f;
    for (t = lanes - 1; t >= 0; t--)
        for (i = t; i < n; i += lanes) {
            uint32_t u = vq__f32_bits(x[i]);
            p[i % 1024] = squares ? vq__f32_make(exact_fma(u, u, vq__f32_bits(p[i % 1024])))
                                  : plain_add(p[i % 1024], x[i]);
        }
    CHECKF(!memcmp(p, partials, sizeof p), "partials of %d elements, squares %d", n, squares);
    for (d = 1; d < 1024; d *= 2) {
        for (t = 0; t < 1024; t++) q[t] = plain_add(p[t], p[t ^ d]);
        memcpy(p, q, sizeof p);
    }
    for (t = 1; t < 1024; t++) CHECKF(vq__f32_bits(p[t]) == vq__f32_bits(p[0]), "lane %d", t);
    return p[0];
}

static void a_sum_has_one_order_whatever_the_block(void)
{
    static const int lengths[] = { 0, 1, 7, 1023, 1024, 1025, 5000 };
    static float x[5000], p[1024], copy[1024];
    int k, i, lanes, squares, kind;
    for (kind = 0; kind < 3; kind++)
        for (squares = 0; squares < 2; squares++)
            for (k = 0; k < VQ__COUNT(lengths); k++) {
                int n = lengths[k];
                float got;
                for (i = 0; i < n; i++)
                    x[i] = kind == 0 ? t_randf(-1, 1) :
                           kind == 1 ? vq__f32_make((t_rand() & 0x80ffffffu) | 0x20000000u) :
                           ldexpf(t_randf(-1, 1), (int)(t_rand() % 80u) - 40);
                if (n && kind == 1) x[n - 1] = -0.0f;
                for (i = 0; i < 1024; i++) p[i] = 0.0f;
                for (i = 0; i < n; i++)
                    p[i % 1024] = squares ? vq__partial_square(p[i % 1024], x[i])
                                          : vq__partial_sum(p[i % 1024], x[i]);
                memcpy(copy, p, sizeof copy);
                got = vq__combine1024(p);
                CHECKF(vq__f32_bits(got) == vq__f32_bits(tree(copy, 1024)), "%d elements", n);
                for (lanes = 32; lanes <= 1024; lanes *= 2)
                    CHECKF(vq__f32_bits(got) ==
                           vq__f32_bits(block_sum(x, n, lanes, squares, copy)),
                           "%d elements, %d lanes, squares %d, kind %d", n, lanes, squares, kind);
            }
    for (i = 0; i < 1024; i++) p[i] = 0.0f;
    for (i = 0; i < 1024; i++) p[i] = vq__partial_sum(p[i], -0.0f);
    CHECK(vq__f32_bits(vq__combine1024(p)) == 0);           /* partials start at +0 */
}

/* >>modes          ops under a control word that the caller has changed */

enum { ROWS = 4, COLS = 384, LOG = 1 << 22 };

typedef struct { uint8_t byte[LOG]; size_t n; int quants; } output;

static void put(output *o, const void *p, size_t n)
{
    CHECK(o->n + n <= LOG);
    if (o->n + n > LOG) return;
    memcpy(o->byte + o->n, p, n);
    o->n += n;
}

/* Bytes of every cast, of every key that is served, of dequant and of fnuz_normalize, on numbers,
   ties, subnormals, any bits. */
static void run_ops(const vq_ctx *vq, output *o)
{
    static uint32_t x[ROWS * COLS];
    static uint8_t y[ROWS * COLS * 4], h[ROWS * COLS * 4], z[ROWS * COLS * 4], s[ROWS * COLS * 4];
    static const vq_dtype wide_type[] = { VQ_F32, VQ_F16, VQ_BF16 };
    vq_tensor in = vq_tensor_2d(x, VQ_F32, ROWS, COLS, VQ_HOST);
    uint64_t state = t_state;
    int t, i, k;
    o->n = 0;
    o->quants = 0;
    t_state = 1;
    for (i = 0; i < ROWS * COLS; i++) {
        uint32_t u = t_rand();
        x[i] = i < COLS ? (u & 0x80ffffffu) | 0x3f000000u :
               i < 2 * COLS ? (u & 0x81ff0000u) | 0x3f000000u | (t_rand() % 3u * 0x8000u) :
               i < 3 * COLS ? u & 0x807fffffu : u;
    }
    for (t = 1; t < VQ_INT32; t++)
        for (k = 0; k < VQ_OVERFLOW_COUNT; k++) {
            vq_cast_args a = VQ_ZERO;
            a.x = in;
            a.y = vq_tensor_2d(y, (vq_dtype)t, ROWS, COLS, VQ_HOST);
            a.overflow = (vq_overflow)k;
            CHECK(vq_cast(vq, &a) == VQ_OK);
            put(o, y, (size_t)vq_tensor_bytes(a.y));
            a.x = a.y;
            a.y = vq_tensor_2d(z, VQ_F32, ROWS, COLS, VQ_HOST);
            CHECK(vq_cast(vq, &a) == VQ_OK);
            put(o, z, 4 * COLS);
        }
    for (i = 0; i < VQ_KEY_COUNT; i++)
        for (k = 0; k < 3; k++) {
            vq_key key = vq_key_preset((vq_key_id)i);
            vq_cast_args c = VQ_ZERO;
            vq_quant_args a = VQ_ZERO;
            vq_dequant_args d = VQ_ZERO;
            put(o, &key, sizeof key);
            c.x = in;
            c.y = vq_tensor_2d(h, wide_type[k], ROWS, COLS, VQ_HOST);
            CHECK(vq_cast(vq, &c) == VQ_OK);
            memset(y, 0, sizeof y);
            a.key = d.key = key;
            a.x = c.y;
            a.q = vq_tensor_2d(y, key.elem, ROWS, COLS, VQ_HOST);
            a.scale = vq_scale_for(&key, a.q, VQ_ROWS, s);
            for (t = 0; t < ROWS * COLS; t++) {             /* scales about 0.1, where given */
                uint32_t u = 0x3dcccccdu + (uint32_t)t;
                memcpy(s + 4 * t, &u, 4);
            }
            if (vq_quant(vq, &a) != VQ_OK) continue;        /* a key that is not served */
            o->quants++;
            put(o, y, (size_t)vq_tensor_bytes(a.q));
            put(o, s, (size_t)vq_tensor_bytes(a.scale));
            d.q = a.q;
            d.scale = a.scale;
            d.y = vq_tensor_2d(z, wide_type[k], ROWS, COLS, VQ_HOST);
            if (vq_dequant(vq, &d) == VQ_OK) put(o, z, (size_t)vq_tensor_bytes(d.y));
        }
    {
        vq_fnuz_normalize_args f = VQ_ZERO;
        f.x = vq_tensor_2d(x, VQ_E4M3FN, ROWS, COLS, VQ_HOST);
        f.y = vq_tensor_2d(y, VQ_E4M3FNUZ, ROWS, COLS, VQ_HOST);
        f.scale = vq_tensor_2d(x, VQ_F32, ROWS, COLS, VQ_HOST);
        f.scale_out = vq_tensor_2d(z, VQ_F32, ROWS, COLS, VQ_HOST);
        CHECK(vq_fnuz_normalize(vq, &f) == VQ_OK);
        put(o, y, ROWS * COLS);
        put(o, z, sizeof x);
        f.x.dtype = VQ_E5M2FNUZ;
        f.y.dtype = VQ_E5M2;
        CHECK(vq_fnuz_normalize(vq, &f) == VQ_OK);
        put(o, y, ROWS * COLS);
        put(o, z, sizeof x);
    }
    t_state = state;
}

static output before, after;

static void check_same_bytes(const char *when)
{
    size_t i = 0;
    while (i < before.n && i < after.n && before.byte[i] == after.byte[i]) i++;
    CHECKF(before.n == after.n && i == before.n, "%s: byte %d of %d", when, (int)i, (int)before.n);
}

static vq_ctx *cpu(void)
{
    vq_desc d = VQ_ZERO;
    vq_ctx *vq = NULL;
    d.backend = VQ_CPU;
    CHECK(vq_init(&d, &vq) == VQ_OK);
    return vq;
}

#if defined(__x86_64__) && defined(__GNUC__)
#define FTZ_DAZ 0x8040u
static void     csr_set(uint32_t v) { __asm__ volatile("ldmxcsr %0" : : "m"(v) : "memory"); }
static uint32_t csr_get(void)
{
    uint32_t v;
    __asm__ volatile("stmxcsr %0" : "=m"(v) : : "memory");
    return v;
}
#endif

static void every_rounding_mode_gives_the_same_bits(void)
{
    static const int mode[] = { FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };
    vq_ctx *vq = cpu();
    int i;
    if (!vq) return;
    run_ops(vq, &before);
    CHECK(before.quants >= 9);
    for (i = 0; i < VQ__COUNT(mode); i++) {
        vq_ctx *own;
        CHECK(fesetround(mode[i]) == 0);
        run_ops(vq, &after);
        CHECK(fegetround() == mode[i]);
        own = cpu();                                        /* its self-test too */
        CHECK(own != NULL && fegetround() == mode[i]);
        vq_free(own);
        fesetround(FE_TONEAREST);
        check_same_bytes(mode[i] == FE_UPWARD ? "upward" : mode[i] == FE_DOWNWARD ? "downward" :
                         mode[i] == FE_TONEAREST ? "to nearest" : "toward zero");
    }
#ifdef FTZ_DAZ
    for (i = 0; i < 4; i++) {                               /* with each mode of rounding */
        uint32_t was = csr_get(), mine = (was & ~0x603fu) | FTZ_DAZ | (uint32_t)i << 13;
        vq_ctx *own;
        csr_set(mine);
        run_ops(vq, &after);
        CHECKF((csr_get() & ~0x3fu) == mine, "%04x", csr_get());
        own = cpu();
        CHECK(own != NULL && (csr_get() & ~0x3fu) == mine);
        vq_free(own);
        csr_set(was);
        check_same_bytes("flush to zero");
    }
#endif
    vq_free(vq);
}

static void an_object_built_with_Ofast_changes_nothing(void)
{
#if !defined(FTZ_DAZ) || defined(VQ_NO_DLOPEN)
    SKIP("the control word is looked at on x86-64 alone");
#else
    const char *dir = getenv("VQ_TEST_DIR");
    vq_ctx *vq = cpu();
    char path[1024];
    uint32_t was = csr_get(), set;
    void *lib;
    if (!vq) return;
    snprintf(path, sizeof path, "%s/libfast.so", dir ? dir : "build");
    run_ops(vq, &before);
    lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    set = csr_get();
    if (lib) {
        run_ops(vq, &after);
        CHECKF(!((csr_get() ^ set) & ~0x3fu), "%04x, not %04x", csr_get(), set);
        vq_free(cpu());
    }
    csr_set(was);
    vq_free(vq);
    CHECKF(lib != NULL, "%s: build it, or set VQ_TEST_DIR to where it is", path);
    if (!lib) return;
    check_same_bytes("after the load");
    if (!((set ^ was) & FTZ_DAZ)) SKIP("this toolchain's -Ofast leaves shared objects alone");
#endif
}

/* Every mantissa that 16 bits have, by every 2048th divisor or by all of them; and what lies at the
   ends: other exponents, zeros with their sign, infinities, NaN. */
static void a_quotient_by_the_reciprocal_is_the_quotient(void)
{
    static const float ends[] = { 0.0f, -0.0f, 1e-45f, -1e-38f, 1e-30f, 3e38f, -3e38f };
    uint32_t m, x;
    int64_t wrong = 0;
    int i, e;
    for (m = 0; m < 0x00800000u; m += t_exhaustive ? 1u : 2047u) {
        const float s = vq__f32_make(0x3f800000u | m), r = vq__div(1.0f, s);
        for (x = 0; x < 1024u; x++) {
            const float v = vq__f32_make(0x3f800000u | x << 13);
            wrong += vq__f32_bits(vq__quotient(v, s, r)) != vq__f32_bits(vq__div(v, s));
        }
    }
    CHECKF(!wrong, "%lld wrong", (long long)wrong);
    for (e = -80; e <= 100; e += 4)
        for (i = 0; i < VQ__COUNT(ends); i++) {
            const float s = ldexpf(1.3f, e == 100 ? 99 : e), r = vq__div(1.0f, s);
            const float v = ends[i], want = vq__div(v, s);
            const float near = vq__quotient(v, s, r), far = vq__far_quotient(v, s, r);
            const int tiny = fabsf(want) < 0x1p-20f, huge = fabsf(want) >= 0x1p20f;
            if (!huge)
                CHECKF(tiny ? fabsf(near) < 0x1p-19f && signbit(near) == signbit(want) : near == want,
                       "%a / %a: %a, not %a", (double)v, (double)s, (double)near, (double)want);
            CHECKF(huge ? fabsf(far) >= 0x1p20f && signbit(far) == signbit(want)
                   : tiny ? fabsf(far) < 0x1p-19f && signbit(far) == signbit(want) : far == want,
                   "%a / %a: %a, not %a", (double)v, (double)s, (double)far, (double)want);
        }
    CHECK(vq__far_quotient(INFINITY, 3.0f, 0.333333343f) > 0x1p20f);
    CHECK(vq__far_quotient(-INFINITY, 3.0f, 0.333333343f) < -0x1p20f);
    CHECK(isnan(vq__far_quotient(NAN, 3.0f, 0.333333343f)) && isnan(vq__quotient(NAN, 3.0f, 0.333333343f)));
}

static void this_build_passes_its_self_test(void)
{
    static const volatile uint32_t operand[] = VQ__SELF_TEST_IN;
    uint32_t in[VQ__COUNT(operand)];
    int i;
    for (i = 0; i < VQ__COUNT(operand); i++) in[i] = operand[i];
    CHECKF(vq__self_test_of(in) == 0, "part %d", vq__self_test_of(in));
    for (i = 0; i < VQ__COUNT(operand); i++) {              /* each operand counts */
        in[i] ^= 0x00400000u;
        CHECKF(vq__self_test_of(in) != 0, "operand %d", i);
        in[i] ^= 0x00400000u;
    }
}

VQ_TEST_MAIN(
    T(fma_rounds_once),
    T(add_sub_and_mul_round_once),
    T(div_and_sqrt_round_once),
    T(a_quotient_by_the_reciprocal_is_the_quotient),
    T(exp_is_within_one_ulp),
    T(erf_is_within_one_ulp),
    T(log1p_is_within_one_ulp),
    T(special_values),
    T(a_million_results_have_their_recorded_bits),
    T(a_sum_has_one_order_whatever_the_block),
    T(every_rounding_mode_gives_the_same_bits),
    T(an_object_built_with_Ofast_changes_nothing),
    T(this_build_passes_its_self_test))
