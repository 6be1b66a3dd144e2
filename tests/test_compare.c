/* test_compare.c - what vq_compare finds, against loops of integers and long double

   Values come from ldexp(), codes that a value rounds to from a search in the list of the values of
   a format, steps from places in that list. Differences, quotients and sums are those of double,
   one rounding each, in row-major order. */
#include <fenv.h>
#include <math.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"
#include "cpus.h"

/* --- formats --------------------------------------------------------------- */

/* sign: its bit, 0 of what has none. nan, inf: a code, -1 where there is none. Not of the first
   three, which are IEEE types. */
typedef struct { vq_dtype t; int bits, mbits, bias, sign, nan, inf; } format;

static const format formats[] = {
    { VQ_F32, 32, 23, 127, 1, 0, 0 }, { VQ_F16, 16, 10, 15, 1, 0, 0 }, { VQ_BF16, 16, 7, 127, 1, 0,
        0 },
    { VQ_E4M3FN,   8, 3, 7,   0x80, 0x7f, -1 },   { VQ_E4M3FNUZ, 8, 3, 8,  0x80, 0x80, -1 },
    { VQ_E5M2,     8, 2, 15,  0x80, 0x7d, 0x7c }, { VQ_E5M2FNUZ, 8, 2, 16, 0x80, 0x80, -1 },
    { VQ_E8M0,     8, 0, 127, 0,    0xff, -1 },   { VQ_UE4M3,    8, 3, 7,  0,    0x7f, -1 },
    { VQ_E2M3,     6, 3, 1,   0x20, -1,   -1 },   { VQ_E3M2,     6, 2, 3,  0x20, -1,   -1 },
    { VQ_E2M1,     4, 1, 1,   0x08, -1,   -1 },
    { VQ_INT8,     8, 0, 0,   0x80, -1,   -1 },   { VQ_UINT8,    8, 0, 0,  0,    -1,   -1 },
    { VQ_INT4,     4, 0, 0,   0x08, -1,   -1 },   { VQ_UINT4,    4, 0, 0,  0,    -1,   -1 },
};

static const format *format_of(vq_dtype t)
{
    int i;
    for (i = 0; formats[i].t != t; i++) {}
    return formats + i;
}

static int is_int(vq_dtype t)
{
    return t == VQ_INT8 || t == VQ_UINT8 || t == VQ_INT4 || t == VQ_UINT4;
}

static int is_wide(vq_dtype t) { return t == VQ_F32 || t == VQ_F16 || t == VQ_BF16; }

static double value(vq_dtype t, uint32_t c)
{
    const format *f = format_of(t);
    uint32_t minus = is_wide(t) ? 1u << (f->bits - 1) : (uint32_t)f->sign, mag = c, m;
    int e, one = 1 << f->mbits;
    double v;
    if (is_int(t)) return c & minus ? (double)c - 2.0 * minus : c;
    if ((int)c == f->nan && !is_wide(t)) return NAN;
    if (minus) mag = c & (minus - 1);
    e = (int)(mag >> f->mbits);
    m = mag & (uint32_t)(one - 1);
    if (is_wide(t) && e == 2 * f->bias + 1) v = m ? NAN : INFINITY;
    else if (t == VQ_E5M2 && e == 31) v = m ? NAN : INFINITY;
    else if (t == VQ_E4M3FN && mag == 0x7f) v = NAN;
    else if (t == VQ_UE4M3 && mag > 0x7f) v = NAN;
    else if (t == VQ_E8M0) v = ldexp(1, (int)c - 127);
    else v = e ? ldexp((int)m + one, e - f->bias - f->mbits) : ldexp((int)m,
                                                                     1 - f->bias - f->mbits);
    return c & minus ? -v : v;
}

/* Finite values of a small format, each once, in order; and how many. */
static int sorted_values(vq_dtype t, double *list)
{
    int n = 0, i, c;
    for (c = 0; c < 1 << vq_dtype_bits(t); c++) {
        double v = value(t, (uint32_t)c);
        if (!isfinite(v)) continue;
        for (i = n; i > 0 && list[i - 1] > v; i--) {}
        if (i > 0 && list[i - 1] == v) continue;         /* -0 */
        memmove(list + i + 1, list + i, (size_t)(n - i) * sizeof *list);
        list[i] = v;
        n++;
    }
    return n;
}

static double lists[VQ_DTYPE_COUNT][256];
static int    sizes[VQ_DTYPE_COUNT];

/* Of a small format: the place of the value next to v; of two, that with the even code. Largest and
   smallest take what is beyond. */
static int64_t place_of(vq_dtype t, double v)
{
    const double *list = lists[t];
    int n = sizes[t], i;
    double middle;
    for (i = 0; i < n - 1 && list[i + 1] <= v; i++) {}
    if (i == n - 1 || v <= list[0]) return v <= list[0] ? 0 : i;
    middle = (list[i] + list[i + 1]) / 2;
    if (v != middle) return v > middle ? i + 1 : i;
    if (t == VQ_E8M0) return i + 1;                      /* its one significand is odd */
    if (is_int(t)) return (int64_t)list[i] % 2 ? i + 1 : i;
    for (n = 0; n < 256; n += 2)                         /* the one that an even code has */
        if (value(t, (uint32_t)n & ((1u << vq_dtype_bits(t)) - 1)) == list[i]) return i;
    return i + 1;
}

/* Of f32, f16, bf16: how many values lie between 0 and v, rounded and held to the largest. */
static int64_t wide_steps(vq_dtype t, double v)
{
    const format *f = format_of(t);
    double a = fabs(v), whole, rest;
    int64_t n, most = ((int64_t)(2 * f->bias + 1) << f->mbits) - 1;
    int e;
    if (a == 0) return 0;
    frexp(a, &e);
    if (--e < 1 - f->bias) e = 1 - f->bias;
    a = ldexp(a, f->mbits - e);                          /* in units of the last place */
    whole = floor(a);
    rest = a - whole;
    if (rest > 0.5 || (rest == 0.5 && fmod(whole, 2) == 1)) whole += 1;
    n = (int64_t)whole + ((int64_t)(e + f->bias - 1) << f->mbits);
    if (n > most) n = most;
    return v < 0 ? -n : n;
}

static int64_t steps_between(vq_dtype t, double x, double y)
{
    int64_t n = is_wide(t) ? wide_steps(t, x) - wide_steps(t, y) : place_of(t, x) - place_of(t, y);
    return n < 0 ? -n : n;
}

/* --- contexts and calls ---------------------------------------------------- */

static void start(void)
{
    int i;
    if (cpus[0]) return;
    start_cpus();
    for (i = 0; i < COUNT(formats); i++)
        if (formats[i].bits <= 8) sizes[formats[i].t] = sorted_values(formats[i].t,
                                                                      lists[formats[i].t]);
}

/* One caller in eight rounds another way than to nearest, which is no concern of an op. */
static int compares(vq_compare_args a, vq_comparison *e)
{
    static const int ways[] = { FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };
    int way = t_rand() % 8 ? FE_TONEAREST : MORE(ways), same;
    const vq_ctx *vq = MORE(cpus);
    vq_choice choice;
    vq_status s;
    memset(&why, 0, sizeof why);
    memset(e, 0x5a, sizeof *e);
    a.call.report = &why;
    a.result = e;
    fesetround(way);
    if (t_rand() & 1) s = vq_compare(vq, &a);
    else if ((s = vq_plan(vq, VQ_OP_COMPARE, &a, &choice)) == VQ_OK) s = vq_run(vq, &choice, &a);
    same = fegetround() == way;
    fesetround(FE_TONEAREST);
    CHECK(same);
    CHECKF(s == VQ_OK, "%s", why.text);
    return s == VQ_OK;
}

/* --- tensors --------------------------------------------------------------- */

typedef struct {
    vq_tensor t;
    uint8_t  *mem, *was;
    size_t    size;
} box;

/* Of rank 1 to 4 with gaps, its dimensions in any order where codes are whole bytes. */
static box box_of(vq_dtype t, int rank, const int64_t *shape)
{
    vq_tensor v = vq_tensor_nd(NULL, t, rank, shape, VQ_HOST);
    int order[4] = { 0, 1, 2, 3 }, i, k, bits = vq_dtype_bits(t);
    int64_t step = 1;
    size_t skip = t_rand() % 8, n;
    box b;
    if (bits < 8) {
        step = vq_row_bytes(t, shape[rank - 1]) + t_rand() % 3;
        for (i = rank - 2; i >= 0; i--) {
            v.stride[i] = step;
            step = step * shape[i] + t_rand() % 3;
        }
    } else if (t_rand() & 1) {
        for (i = rank - 1; i > 0; i--) {
            int other = (int)(t_rand() % (uint32_t)(i + 1)), swap = order[i];
            order[i] = order[other];
            order[other] = swap;
        }
        step += t_rand() % 3;
        for (i = rank - 1; i >= 0; i--) {
            k = order[i];
            v.stride[k] = step;
            step = step * shape[k] + t_rand() % 3;
        }
    }
    b.size = 32 + skip + (size_t)vq_tensor_bytes(v) + (skip % 2 ? 0 : 32);
    b.mem = (uint8_t *)malloc(b.size);
    b.was = (uint8_t *)malloc(b.size);
    for (n = 0; n < b.size; n++) b.mem[n] = (uint8_t)(t_rand() >> 24);
    b.t = v;
    b.t.data = b.mem + 32 + skip;
    return b;
}

static void drop(box *b) { free(b->mem); free(b->was); }

/* The indices of element i in row-major order. */
static void index_of(const vq_tensor *t, int64_t i, int64_t at[4])
{
    int d;
    memset(at, 0, 4 * sizeof *at);
    for (d = t->rank - 1; d >= 0; d--) { at[d] = i % t->shape[d]; i /= t->shape[d]; }
}

static uint8_t *place(const vq_tensor *t, int64_t i, int *bit)
{
    int64_t at[4], off = 0, bits = vq_dtype_bits(t->dtype);
    int d, last = t->rank - 1;
    index_of(t, i, at);
    for (d = 0; d < last; d++) off += at[d] * t->stride[d];
    *bit = bits < 8 ? (int)(at[last] * bits % 8) : 0;
    if (bits < 8) return (uint8_t *)t->data + off + at[last] * bits / 8;
    return (uint8_t *)t->data + (off + at[last] * t->stride[last]) * (bits / 8);
}

static uint32_t get(const vq_tensor *t, int64_t i)
{
    int bits = vq_dtype_bits(t->dtype), bit, k;
    const uint8_t *p = place(t, i, &bit);
    uint32_t u = 0;
    uint16_t h;
    if (bits == 32) { memcpy(&u, p, 4); return u; }
    if (bits == 16) { memcpy(&h, p, 2); return h; }
    for (k = 0; k < bits; k++) u |= (uint32_t)(p[(bit + k) / 8] >> (bit + k) % 8 & 1) << k;
    return u;
}

static void set(const vq_tensor *t, int64_t i, uint32_t u)
{
    int bits = vq_dtype_bits(t->dtype), bit, k;
    uint8_t *p = place(t, i, &bit);
    uint16_t h = (uint16_t)u;
    if (bits == 32) { memcpy(p, &u, 4); return; }
    if (bits == 16) { memcpy(p, &h, 2); return; }
    for (k = 0; k < bits; k++) {
        int one = 1 << (bit + k) % 8;
        uint8_t *at = p + (bit + k) / 8;
        *at = (uint8_t)((*at & ~one) | (u >> k & 1 ? one : 0));
    }
}

static int64_t elements(const vq_tensor *t)
{
    int64_t n = 1;
    int d;
    for (d = 0; d < t->rank; d++) n *= t->shape[d];
    return n;
}

static uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static float float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

/* --- the oracle ------------------------------------------------------------ */

static double product(double a, double b)  { volatile double p = a * b; return p; }
static double sum(double a, double b)      { volatile double s = a + b; return s; }
static double quotient(double a, double b) { volatile double q = a / b; return q; }

static vq_comparison oracle(const vq_compare_args *a)
{
    int64_t n = elements(&a->x), i, relative = 0;
    vq_offender *all = (vq_offender *)calloc((size_t)n + 1, sizeof *all);
    double abs_sum = 0, rel_sum = 0, most;
    vq_comparison e;
    int side, seen[2] = { 0, 0 }, k, w;
    memset(&e, 0, sizeof e);
    for (i = 0; i < n; i++) {
        uint32_t c[2];
        double v[2], off = INFINITY;
        int bad;
        c[0] = get(&a->x, i);
        c[1] = get(&a->y, i);
        v[0] = value(a->x.dtype, c[0]);
        v[1] = value(a->y.dtype, c[1]);
        e.count++;
        for (side = 0; side < 2; side++) {
            if (isnan(v[side])) { e.nans[side]++; continue; }
            if (isinf(v[side])) { e.infs[side]++; continue; }
            if (!seen[side] || v[side] < (double)e.least[side]) e.least[side] = (float)v[side];
            if (!seen[side] || v[side] > (double)e.most[side]) e.most[side] = (float)v[side];
            seen[side] = 1;
        }
        if (a->x.dtype == a->y.dtype) e.bits_apart += c[0] != c[1];
        else e.bits_apart += isnan(v[0]) ? !isnan(v[1]) : v[0] != v[1];
        if (isnan(v[0]) || isnan(v[1])) {
            bad = !isnan(v[0]) || !isnan(v[1]);
            e.nan_apart += bad;
        } else if (isinf(v[0]) || isinf(v[1])) {
            bad = v[0] != v[1];
            e.inf_apart += bad;
        } else {
            int64_t steps = steps_between(a->y.dtype, v[0], v[1]);
            off = fabs(sum(v[0], -v[1]));
            most = sum((double)a->atol, product((double)a->rtol, fabs(v[1])));
            bad = off > most;
            e.pairs++;
            abs_sum = sum(abs_sum, off);
            if (off > e.max_abs) e.max_abs = off;
            if (v[1] != 0) {
                double rel = quotient(off, fabs(v[1]));
                relative++;
                rel_sum = sum(rel_sum, rel);
                if (rel > e.max_rel) e.max_rel = rel;
            }
            if (steps > e.max_ulp) e.max_ulp = steps;
            e.ulps[steps < 3 ? steps : 3]++;
        }
        if (!bad) continue;
        index_of(&a->x, i, all[e.mismatches].at);
        all[e.mismatches].x = (float)v[0];
        all[e.mismatches].y = (float)v[1];
        all[e.mismatches].off = off;
        e.mismatches++;
    }
    if (e.pairs) e.mean_abs = quotient(abs_sum, (double)e.pairs);
    if (relative) e.mean_rel = quotient(rel_sum, (double)relative);
    if (n) e.mismatch_percent = quotient(product(100, (double)e.mismatches), (double)n);
    e.passed = (long double)e.mismatches * 100 <= (long double)a->budget * (long double)n;
    e.rank = a->x.rank;
    e.first_count = e.worst_count = e.mismatches < 4 ? (int)e.mismatches : 4;
    for (k = 0; k < e.first_count; k++) e.first[k] = all[k];
    for (w = 0; w < e.worst_count; w++) {                /* the largest, each taken once */
        int64_t best = -1;
        for (i = 0; i < e.mismatches; i++)
            if (all[i].off >= 0 && (best < 0 || all[i].off > all[best].off)) best = i;
        e.worst[w] = all[best];
        all[best].off = -1;
    }
    free(all);
    return e;
}

static int same_value(float a, float b) { return isnan(a) ? isnan(b) : bits_of(a) == bits_of(b); }

static int offenders_are(const char *name, const vq_offender *found, const vq_offender *want, int n,
                         int rank, const char *about)
{
    int i, d, good = 1;
    for (i = 0; i < n; i++) {
        for (d = 0; d < rank; d++) good &= found[i].at[d] == want[i].at[d];
        good &= same_value(found[i].x, want[i].x) && same_value(found[i].y, want[i].y);
        good &= found[i].off == want[i].off;
        CHECKF(good,
               "%s[%d]: at %lld %lld, %.9g %.9g off %.9g; not at %lld %lld, %.9g %.9g off %.9g: %s",
               name, i, (long long)found[i].at[0], (long long)found[i].at[1], (double)found[i].x,
               (double)found[i].y, found[i].off, (long long)want[i].at[0], (long long)want[i].at[1],
               (double)want[i].x, (double)want[i].y, want[i].off, about);
        if (!good) return 0;
    }
    return 1;
}

static int comparison_is(const vq_comparison *found, const vq_compare_args *a)
{
    const vq_comparison want = oracle(a);
    char about[200];
    int before = t_failed, i;
    snprintf(about, sizeof about, "%s, %s, rank %d, atol %.9g, rtol %.9g, budget %.9g",
             vq_dtype_str(a->x.dtype), vq_dtype_str(a->y.dtype), a->x.rank, (double)a->atol,
             (double)a->rtol, (double)a->budget);
#define INT(m) CHECKF(found->m == want.m, #m " %lld, not %lld: %s", (long long)found->m, \
                      (long long)want.m, about)
#define REAL(m) CHECKF(found->m == want.m, #m " %.17g, not %.17g: %s", (double)found->m, \
                       (double)want.m, about)
    INT(count);
    INT(pairs);
    INT(nan_apart);
    INT(inf_apart);
    INT(bits_apart);
    INT(mismatches);
    INT(max_ulp);
    INT(passed);
    INT(rank);
    INT(first_count);
    INT(worst_count);
    REAL(mismatch_percent);
    REAL(max_abs);
    REAL(mean_abs);
    REAL(max_rel);
    REAL(mean_rel);
    for (i = 0; i < 4; i++) INT(ulps[i]);
    for (i = 0; i < 2; i++) {
        INT(nans[i]);
        INT(infs[i]);
        REAL(least[i]);
        REAL(most[i]);
    }
#undef INT
#undef REAL
    if (t_failed == before) offenders_are("first", found->first, want.first, want.first_count,
                                          want.rank,
                                          about);
    if (t_failed == before) offenders_are("worst", found->worst, want.worst, want.worst_count,
                                          want.rank,
                                          about);
    return t_failed == before;
}

/* --- what is compared ------------------------------------------------------ */

enum { ANY_CODES, NEAR, SAME, NUMBERS, SPECIALS, KINDS };

static uint32_t some_code(vq_dtype t)
{
    return vq_dtype_bits(t) == 32 ? t_rand() : t_rand() >> (32 - vq_dtype_bits(t));
}

/* A number of t that is no more than a few apart from v; or v itself as it rounds. */
static uint32_t near_code(vq_dtype t, double v, int units)
{
    uint32_t c = vq_encode(t, (float)v, VQ_SATURATE), moved = c + (uint32_t)units;
    uint32_t mask = vq_dtype_bits(t) == 32 ? ~0u : (1u << vq_dtype_bits(t)) - 1;
    return isfinite(value(t, moved & mask)) ? moved & mask : c;
}

static uint32_t special(vq_dtype t)
{
    static const float some[] = { INFINITY, -INFINITY, NAN, 0, -0.0f, 1, 3e38f, 1e-40f };
    return vq_encode(t, MORE(some), VQ_NONFINITE);
}

static void fill_both(const box *x, const box *y, int kind)
{
    int64_t n = elements(&x->t), i;
    int odd = (int)(t_rand() % 3);
    for (i = 0; i < n; i++) {
        uint32_t u = t_rand(), c = some_code(y->t.dtype), d = some_code(x->t.dtype);
        double v = (double)t_randf(-4, 4);
        if (kind == NUMBERS || kind == NEAR) c = near_code(y->t.dtype, v, 0);
        if (kind == SPECIALS && u % 4) c = special(y->t.dtype);
        if (kind == SPECIALS && u % 4) d = special(x->t.dtype);
        if (kind == NUMBERS) d = near_code(x->t.dtype, v + (u % 8 ? 0 : (double)t_randf(-1, 1)), 0);
        if (kind == NEAR || kind == SAME)
            d = near_code(x->t.dtype, value(y->t.dtype, c),
                          kind == NEAR ? (int)(u >> 8) % 4 * odd : 0);
        if (kind == SAME && x->t.dtype == y->t.dtype) d = c;
        set(&x->t, i, d);
        set(&y->t, i, c);
    }
    memcpy(x->was, x->mem, x->size);
    memcpy(y->was, y->mem, y->size);
}

static float some_tolerance(void)
{
    static const float some[] = { 0, 0, 1e-6f, 0.01f, 0.125f, 1, 1e-45f, 3.4028235e38f, 0.1f,
                                  -0.0f };
    return MORE(some);
}

static float some_budget(void)
{
    static const float some[] = { 0, 0, 1, 50, 99.99f, 100, 1e-45f, 12.5f, -0.0f };
    return t_rand() % 3 ? MORE(some) : t_randf(0, 100);
}

static void is_right(vq_dtype t, vq_dtype u, int rank, const int64_t *shape, int kind)
{
    box x = box_of(t, rank, shape), y = box_of(u, rank, shape);
    vq_compare_args a = VQ_ZERO;
    vq_comparison e;
    fill_both(&x, &y, kind);
    a.x = x.t;
    a.y = y.t;
    a.atol = some_tolerance();
    a.rtol = some_tolerance();
    a.budget = some_budget();
    if (compares(a, &e)) comparison_is(&e, &a);
    CHECK(!memcmp(x.mem, x.was, x.size) && !memcmp(y.mem, y.was, y.size));
    drop(&x);
    drop(&y);
}

static void every_pair_of_formats_is_compared_as_its_values(void)
{
    static const int64_t shapes[][4] = { { 31 }, { 3, 17 }, { 2, 5, 7 }, { 2, 3, 2, 9 }, { 1, 1, 1,
        1 },
        { 200 }, { 1, 64 }, { 40, 1 }, { 3, 1, 8 }, { 2, 2, 1, 5 } };
    static const int ranks[] = { 1, 2, 3, 4, 4, 1, 2, 2, 3, 4 };
    int i, j, kind, n;
    start();
    for (i = 0; i < COUNT(formats); i++)
        for (j = 0; j < COUNT(formats); j++)
            for (kind = 0; kind < KINDS; kind++)
                for (n = 0; n < (t_exhaustive ? 60 : 3); n++) {
                    int s = (int)(t_rand() % COUNT(shapes));
                    /* a negative in e8m0 is no number: how far it is away has no meaning */
                    if (formats[j].t == VQ_E8M0 && formats[i].t != VQ_E8M0) continue;
                    is_right(formats[i].t, formats[j].t, ranks[s], shapes[s], kind);
                }
}

static void every_format_but_the_negatives_is_compared_to_e8m0(void)
{
    int i, n;
    int64_t k, shape = 65;
    start();
    for (i = 0; i < COUNT(formats); i++)
        for (n = 0; n < 40; n++) {
            vq_dtype t = formats[i].t;
            box x = box_of(t, 1, &shape), y = box_of(VQ_E8M0, 1, &shape);
            vq_compare_args a = VQ_ZERO;
            vq_comparison e;
            fill_both(&x, &y, n & 1 ? ANY_CODES : NEAR);
            for (k = 0; k < shape; k++) if (value(t, get(&x.t, k)) < 0) set(&x.t, k, 0);
            a.x = x.t;
            a.y = y.t;
            a.rtol = 0.01f;
            if (compares(a, &e)) comparison_is(&e, &a);
            drop(&x);
            drop(&y);
        }
}

/* All pairs of codes in one comparison, each row a code of x. */
static void every_pair_of_small_codes_is_as_far_apart_as_its_places(void)
{
    int i, r, c;
    start();
    for (i = 0; i < COUNT(formats); i++) {
        vq_dtype t = formats[i].t;
        int n = 1 << (formats[i].bits > 8 ? 0 : formats[i].bits);
        int64_t shape[2], one = 1;
        box x, y;
        vq_compare_args a = VQ_ZERO;
        vq_comparison e;
        if (n == 1) continue;
        shape[0] = shape[1] = n;
        x = box_of(t, 2, shape);
        y = box_of(t, 2, shape);
        for (r = 0; r < n; r++)
            for (c = 0; c < n; c++) {
                set(&x.t, (int64_t)r * n + c, (uint32_t)r);
                set(&y.t, (int64_t)r * n + c, (uint32_t)c);
            }
        a.x = x.t;
        a.y = y.t;
        if (compares(a, &e)) comparison_is(&e, &a);
        drop(&x);
        drop(&y);
        x = box_of(t, 1, &one);
        y = box_of(t, 1, &one);
        for (r = 0; r < n; r++)
            for (c = 0; c < n; c += 1 + (int)(t_rand() % 3)) {
                double v = value(t, (uint32_t)r), w = value(t, (uint32_t)c);
                int64_t want = isfinite(v) && isfinite(w) ? steps_between(t, v, w) : 0;
                set(&x.t, 0, (uint32_t)r);
                set(&y.t, 0, (uint32_t)c);
                a.x = x.t;
                a.y = y.t;
                if (compares(a, &e))
                    CHECKF(e.max_ulp == want, "%s %02x %02x: %lld, not %lld", vq_dtype_str(t), r, c,
                           (long long)e.max_ulp, (long long)want);
            }
        drop(&x);
        drop(&y);
    }
}

/* --- one pair -------------------------------------------------------------- */

static vq_comparison pair_of(vq_dtype t, uint32_t x, vq_dtype u, uint32_t y, float atol, float rtol)
{
    uint32_t data[2];
    vq_compare_args a = VQ_ZERO;
    vq_comparison e;
    data[0] = x;
    data[1] = y;
    if (vq_dtype_bits(t) == 16) { uint16_t h = (uint16_t)x; memcpy(data, &h, 2); }
    if (vq_dtype_bits(u) == 16) { uint16_t h = (uint16_t)y; memcpy(data + 1, &h, 2); }
    if (vq_dtype_bits(t) <= 8) *(uint8_t *)data = (uint8_t)x;
    if (vq_dtype_bits(u) <= 8) *(uint8_t *)(data + 1) = (uint8_t)y;
    a.x = vq_tensor_2d(data, t, 1, 1, VQ_HOST);
    a.y = vq_tensor_2d(data + 1, u, 1, 1, VQ_HOST);
    a.atol = atol;
    a.rtol = rtol;
    compares(a, &e);
    return e;
}

static void steps_cross_zero_and_powers_of_two(void)
{
    static const struct {
        vq_dtype t; uint32_t x; vq_dtype u; uint32_t y; int64_t steps;
    } rows[] = {
        { VQ_F32, 0x3f800000, VQ_F32, 0x3f800001, 1 }, { VQ_F32, 0x3f7fffff, VQ_F32, 0x3f800001,
                                                         2 },
        { VQ_F32, 0x00000000, VQ_F32, 0x80000000, 0 }, { VQ_F32, 0x80000001, VQ_F32, 0x00000001,
                                                         2 },
        { VQ_F32, 0xff7fffff, VQ_F32, 0x7f7fffff, INT64_C(0xfefffffe) },
        { VQ_F16, 0x0001, VQ_F16, 0x8001, 2 }, { VQ_F16, 0xfbff, VQ_F16, 0x7bff, 0xf7fe },
        { VQ_BF16, 0x3f80, VQ_BF16, 0x4000, 128 }, { VQ_BF16, 0x8000, VQ_BF16, 0x0003, 3 },
        { VQ_F32, 0x3f800001, VQ_BF16, 0x3f80, 0 }, { VQ_F32, 0x3f808000, VQ_BF16, 0x3f80, 0 },
        { VQ_F32, 0x3f808001, VQ_BF16, 0x3f80, 1 }, { VQ_F32, 0x3f818000, VQ_BF16, 0x3f80, 2 },
        { VQ_BF16, 0x3f81, VQ_F32, 0x3f800000, 65536 }, { VQ_F32, 0x47c35000, VQ_F16, 0x7bff, 0 },
        { VQ_F32, 0x7f7fffff, VQ_F16, 0x7bfe, 1 }, { VQ_F32, 0x43e10000, VQ_E4M3FN, 0x7e, 0 },
        { VQ_F32, 0x447a0000, VQ_E4M3FN, 0x7d, 1 }, { VQ_F32, 0x3f800000, VQ_E4M3FN, 0x3a, 2 },
        { VQ_F32, 0xbf800000, VQ_E4M3FN, 0x38, 112 }, { VQ_E4M3FN, 0x01, VQ_E4M3FN, 0x81, 2 },
        { VQ_E4M3FNUZ, 0x01, VQ_E4M3FNUZ, 0x81, 2 }, { VQ_E5M2, 0x7b, VQ_E5M2, 0xfb, 246 },
        { VQ_INT8, 0x80, VQ_INT8, 0x7f, 255 }, { VQ_INT8, 0xff, VQ_INT8, 0x01, 2 },
        { VQ_UINT8, 0xff, VQ_UINT8, 0x01, 254 }, { VQ_INT4, 0x8, VQ_INT4, 0x7, 15 },
        { VQ_UINT4, 0x8, VQ_UINT4, 0x7, 1 }, { VQ_F32, 0x42c90000, VQ_INT8, 0x64, 0 },
        { VQ_F32, 0x42cb0000, VQ_INT8, 0x64, 2 }, { VQ_E8M0, 0x00, VQ_E8M0, 0xfe, 254 },
        { VQ_E2M1, 0x7, VQ_E2M1, 0xf, 14 }, { VQ_E2M1, 0x0, VQ_E2M1, 0x8, 0 },
        { VQ_E2M3, 0x1f, VQ_E2M3, 0x3f, 62 }, { VQ_E3M2, 0x01, VQ_E3M2, 0x20, 1 },
        { VQ_UE4M3, 0x00, VQ_UE4M3, 0x7e, 126 }, { VQ_E5M2FNUZ, 0x7f, VQ_E5M2FNUZ, 0xff, 254 },
    };
    int i, k;
    start();
    for (i = 0; i < COUNT(rows); i++) {
        vq_comparison e = pair_of(rows[i].t, rows[i].x, rows[i].u, rows[i].y, 0, 0);
        CHECKF(e.max_ulp == rows[i].steps, "%s %x, %s %x: %lld, not %lld", vq_dtype_str(rows[i].t),
               (unsigned)rows[i].x, vq_dtype_str(rows[i].u), (unsigned)rows[i].y,
                   (long long)e.max_ulp,
               (long long)rows[i].steps);
        CHECK(e.pairs == 1);
        for (k = 0; k < 4; k++) CHECK(e.ulps[k] == (k == (rows[i].steps < 3 ? rows[i].steps : 3)));
    }
}

static int off_by(float x, float y, float atol, float rtol)
{
    vq_comparison e = pair_of(VQ_F32, bits_of(x), VQ_F32, bits_of(y), atol, rtol);
    CHECK(e.mismatches == (e.first_count == 1) && e.first_count == e.worst_count);
    CHECK(e.passed == !e.mismatches && e.mismatch_percent == (e.mismatches ? 100 : 0));
    return (int)e.mismatches;
}

static float up(float x) { return float_of(bits_of(x) + 1); }
static float down(float x) { return float_of(bits_of(x) - 1); }

static void a_difference_at_the_bound_is_no_mismatch(void)
{
    start();
    CHECK(!off_by(1.25f, 1, 0.25f, 0) && off_by(up(1.25f), 1, 0.25f, 0));
    CHECK(off_by(1.25f, 1, down(0.25f), 0) && !off_by(0.75f, 1, 0.25f, 0));
    CHECK(!off_by(-1.25f, -1, 0.25f, 0) && off_by(-1.25f, -1, down(0.25f), 0));
    CHECK(!off_by(2.5f, 2, 0, 0.25f) && off_by(up(2.5f), 2, 0, 0.25f));
    CHECK(off_by(2.5f, 2, 0, down(0.25f)) && !off_by(-2.5f, -2, 0, 0.25f));
    CHECK(!off_by(2.75f, 2, 0.25f, 0.25f) && off_by(up(2.75f), 2, 0.25f, 0.25f));
    CHECK(off_by(2, 2.5f, 0, 0.19999f) && !off_by(2, 2.5f, 0, up(0.2f)));    /* of y, not of x */
    CHECK(!off_by(1e-45f, 0, 1e-45f, 100) && off_by(3e-45f, 0, 1e-45f, 100));
    CHECK(off_by(1e-45f, 0, 0, 3e38f) && off_by(3e38f, -3e38f, 3e38f, 0.9f));
    CHECK(!off_by(3e38f, -3e38f, 3e38f, 1) && !off_by(3e38f, -3e38f, 0, 2));
    CHECK(!off_by(0, -0.0f, 0, 0) && !off_by(1, 1, 0, 0) && off_by(1, up(1), 0, 0));
    CHECK(off_by(0, 1e-45f, 0, 0) && !off_by(0, 1e-45f, 0, 1) && off_by(0, 1e-45f, 0, down(1)));
    CHECK(off_by(1 + 0x1p-23f, 1, 0x1p-24f, 0) && !off_by(1, 1 + 0x1p-23f, 0x1p-23f, 0));
}

static void nan_and_infinity_are_pairs_only_of_their_like(void)
{
    static const struct { uint32_t x, y; int nans[2], infs[2], nan_apart, inf_apart; } rows[] = {
        { 0x7fc00000, 0x7fc00000, { 1, 1 }, { 0, 0 }, 0, 0 },
        { 0x7fc00000, 0xffc01234, { 1, 1 }, { 0, 0 }, 0, 0 },
        { 0x7f800001, 0xffc00000, { 1, 1 }, { 0, 0 }, 0, 0 },
        { 0x7fc00000, 0x3f800000, { 1, 0 }, { 0, 0 }, 1, 0 },
        { 0x3f800000, 0x7fc00000, { 0, 1 }, { 0, 0 }, 1, 0 },
        { 0x7f800000, 0x7f800000, { 0, 0 }, { 1, 1 }, 0, 0 },
        { 0x7f800000, 0xff800000, { 0, 0 }, { 1, 1 }, 0, 1 },
        { 0xff800000, 0xff800000, { 0, 0 }, { 1, 1 }, 0, 0 },
        { 0x7f800000, 0x7f7fffff, { 0, 0 }, { 1, 0 }, 0, 1 },
        { 0x7f7fffff, 0x7f800000, { 0, 0 }, { 0, 1 }, 0, 1 },
        { 0x7f800000, 0x7fc00000, { 0, 1 }, { 1, 0 }, 1, 0 },
        { 0x7fc00000, 0xff800000, { 1, 0 }, { 0, 1 }, 1, 0 },
    };
    int i;
    start();
    for (i = 0; i < COUNT(rows); i++) {
        vq_comparison e = pair_of(VQ_F32, rows[i].x, VQ_F32, rows[i].y, 3e38f, 3e38f);
        int bad = rows[i].nan_apart + rows[i].inf_apart;
        CHECKF(e.nans[0] == rows[i].nans[0] && e.nans[1] == rows[i].nans[1]
               && e.infs[0] == rows[i].infs[0] && e.infs[1] == rows[i].infs[1]
               && e.nan_apart == rows[i].nan_apart && e.inf_apart == rows[i].inf_apart, "row %d",
                   i);
        CHECKF(e.mismatches == bad && e.first_count == bad && e.worst_count == bad, "row %d", i);
        CHECKF(!bad || (isinf(e.first[0].off) && isinf(e.worst[0].off)), "row %d", i);
        CHECKF(e.pairs == 0 && e.max_abs == 0 && e.mean_abs == 0 && e.max_rel == 0
               && e.mean_rel == 0
               && e.max_ulp == 0, "row %d", i);
        CHECKF(e.bits_apart == (rows[i].x != rows[i].y), "row %d", i);
    }
}

static void values_of_different_types_are_apart_by_value(void)
{
    start();
    CHECK(pair_of(VQ_F32, 0x80000000, VQ_BF16, 0, 0, 0).bits_apart == 0);
    CHECK(pair_of(VQ_F32, 0xffc12345, VQ_E4M3FN, 0x7f, 0, 0).bits_apart == 0);
    CHECK(pair_of(VQ_E4M3FN, 0x38, VQ_E4M3FNUZ, 0x40, 0, 0).bits_apart == 0);
    CHECK(pair_of(VQ_E4M3FN, 0x38, VQ_E4M3FNUZ, 0x38, 0, 0).bits_apart == 1);
    CHECK(pair_of(VQ_F32, 0x3f800001, VQ_BF16, 0x3f80, 1, 0).bits_apart == 1);
    CHECK(pair_of(VQ_F32, 0x80000000, VQ_F32, 0, 0, 0).bits_apart == 1);
    CHECK(pair_of(VQ_INT8, 0xff, VQ_UINT8, 0xff, 0, 0).bits_apart == 1);
    CHECK(pair_of(VQ_UINT4, 7, VQ_INT8, 7, 0, 0).bits_apart == 0);
}

/* n elements of which the first `bad` are wrong, under a budget. */
static vq_comparison some_wrong(int64_t n, int64_t bad, float budget)
{
    uint8_t *x = (uint8_t *)calloc((size_t)n, 1), *y = (uint8_t *)calloc((size_t)n, 1);
    vq_compare_args a = VQ_ZERO;
    vq_comparison e;
    memset(x, 1, (size_t)bad);
    a.x = vq_tensor_2d(x, VQ_INT8, 1, n, VQ_HOST);
    a.y = vq_tensor_2d(y, VQ_INT8, 1, n, VQ_HOST);
    a.budget = budget;
    if (compares(a, &e)) comparison_is(&e, &a);
    free(x);
    free(y);
    return e;
}

static void a_budget_is_met_at_its_edge(void)
{
    start();
    CHECK(some_wrong(8, 1, 12.5f).passed && !some_wrong(8, 1, down(12.5f)).passed);
    CHECK(!some_wrong(8, 2, 12.5f).passed && some_wrong(8, 2, 25).passed);
    CHECK(some_wrong(1000, 0, 0).passed && !some_wrong(1000, 1, 0).passed);
    CHECK(some_wrong(1000, 1, up(0.1f)).passed && !some_wrong(1000, 1, down(0.1f)).passed);
    CHECK(some_wrong(5, 5, 100).passed && !some_wrong(5, 5, down(100)).passed);
    CHECK(some_wrong(3, 1, up(33.333332f)).passed && !some_wrong(3, 1, 33.333332f).passed);
    CHECK(some_wrong(200, 1, 0.5f).mismatch_percent == 0.5);
    CHECK(some_wrong(3, 1, 0).mismatch_percent == 100.0 / 3);
}

static void offenders_are_the_first_and_the_largest(void)
{
    static const float off[] = { 0, 1, 3, 3, 0, 2, 3, 5, 3, 1, 0, 5 };
    float x[12], y[12];
    vq_compare_args a = VQ_ZERO;
    vq_comparison e;
    int64_t shape[3] = { 2, 3, 2 };
    int i;
    start();
    for (i = 0; i < 12; i++) {
        y[i] = 8;
        x[i] = i % 2 ? 8 - off[i] : 8 + off[i];
    }
    a.x = vq_tensor_nd(x, VQ_F32, 3, shape, VQ_HOST);
    a.y = vq_tensor_nd(y, VQ_F32, 3, shape, VQ_HOST);
    compares(a, &e);
    comparison_is(&e, &a);
    CHECK(e.mismatches == 9 && e.first_count == 4 && e.worst_count == 4 && e.rank == 3);
    CHECK(e.first[0].at[2] == 1 && e.first[1].at[1] == 1 && e.first[2].at[2] == 1);
    CHECK(e.first[3].at[1] == 2 && e.first[3].at[2] == 1 && e.first[3].x == 6
          && e.first[3].off == 2);
    CHECK(e.worst[0].at[0] == 1 && e.worst[0].at[1] == 0 && e.worst[0].at[2] == 1);     /* 7 */
    CHECK(e.worst[1].at[0] == 1 && e.worst[1].at[1] == 2 && e.worst[1].at[2] == 1);     /* 11 */
    CHECK(e.worst[2].at[0] == 0 && e.worst[2].at[1] == 1 && e.worst[2].at[2] == 0);     /* 2 */
    CHECK(e.worst[3].at[0] == 0 && e.worst[3].at[1] == 1 && e.worst[3].at[2] == 1);     /* 3 */
    x[10] = NAN;
    x[11] = INFINITY;
    compares(a, &e);
    comparison_is(&e, &a);
    CHECK(isinf(e.worst[0].off) && isnan(e.worst[0].x) && isinf(e.worst[1].x)
          && e.worst[2].off == 5);
}

/* Sums in the order of the elements: another order rounds otherwise. */
static void sums_are_those_of_row_major_order(void)
{
    static const int64_t shape[2] = { 300, 700 };
    int i;
    start();
    for (i = 0; i < 3; i++) {
        is_right(VQ_F32, VQ_F32, 2, shape, NUMBERS);
        is_right(VQ_F32, VQ_BF16, 2, shape, ANY_CODES);
    }
}

static void ranges_are_of_the_finite_numbers_of_each_side(void)
{
    static const uint32_t data[] = { 0x7fc00000, 0x7f800000, 0xff800000, 0xc0a00000 };
    vq_comparison e;
    start();
    e = pair_of(VQ_F32, data[0], VQ_F32, data[3], 0, 0);
    CHECK(bits_of(e.least[0]) == 0 && bits_of(e.most[0]) == 0 && e.least[1] == -5
          && e.most[1] == -5);
    e = pair_of(VQ_F32, data[1], VQ_F32, data[2], 0, 0);
    CHECK(e.least[0] == 0 && e.most[0] == 0 && e.least[1] == 0 && e.most[1] == 0);
    e = pair_of(VQ_F32, 0x00000001, VQ_F32, 0xff7fffff, 0, 0);
    CHECK(e.least[0] > 0 && bits_of(e.most[0]) == 1 && bits_of(e.least[1]) == 0xff7fffff);
}

static void nothing_compared_has_passed(void)
{
    vq_compare_args a = VQ_ZERO;
    vq_comparison e, zero;
    int64_t shape[3] = { 3, 0, 4 };
    start();
    memset(&zero, 0, sizeof zero);
    a.x = vq_tensor_nd(NULL, VQ_E2M1, 3, shape, VQ_HOST);
    a.y = vq_tensor_nd(NULL, VQ_F16, 3, shape, VQ_HOST);
    CHECK(compares(a, &e));
    zero.passed = 1;
    zero.rank = 3;
    CHECK(e.count == 0 && e.passed && e.mismatch_percent == 0 && e.mean_abs == 0
          && e.mean_rel == 0);
    CHECK(e.rank == 3 && !e.first_count && !e.worst_count && e.least[0] == 0 && e.most[1] == 0);
    CHECK(!memcmp(&e, &zero, sizeof e));
}

static void a_tensor_equals_itself(void)
{
    float x[6] = { 1, -0.0f, NAN, INFINITY, -3e38f, 1e-45f };
    vq_compare_args a = VQ_ZERO;
    vq_comparison e;
    start();
    a.x = a.y = vq_tensor_2d(x, VQ_F32, 2, 3, VQ_HOST);
    compares(a, &e);
    CHECK(e.passed && !e.mismatches && !e.bits_apart && e.pairs == 4 && e.ulps[0] == 4
          && !e.max_ulp);
    CHECK(e.nans[0] == 1 && e.infs[1] == 1 && e.max_abs == 0 && e.max_rel == 0);
}

/* --- text ------------------------------------------------------------------ */

static vq_comparison a_comparison(void)
{
    static const float x[] = { 1, 2.5f, NAN, INFINITY, 5, 600.5f, 7, 8 };
    static const float y[] = { 1, 2, 3, 4, -5, 6, 7, NAN };
    vq_compare_args a = VQ_ZERO;
    vq_comparison e;
    a.x = vq_tensor_2d(x, VQ_F32, 2, 4, VQ_HOST);
    a.y = vq_tensor_2d(y, VQ_F32, 2, 4, VQ_HOST);
    a.atol = 0.25f;
    compares(a, &e);
    return e;
}

static int says_number(const char *text, const char *number)
{
    const char *p = text;
    size_t n = strlen(number);
    for (; (p = strstr(p, number)) != NULL; p++) {       /* not a part of a longer one */
        char before = p == text ? ' ' : p[-1], after = p[n];
        if (!(before >= '0' && before <= '9') && before != '.' && !(after >= '0' && after <= '9'))
            return 1;
    }
    return 0;
}

static void the_text_has_the_numbers(void)
{
    static const char *const numbers[] = { "6", "8", "75", "2", "1", "594.5", "600.5", "2.5" };
    vq_comparison e = a_comparison();
    char text[4096];
    int n, i;
    start();
    e = a_comparison();
    n = vq_comparison_text(&e, text, sizeof text);
    CHECKF(n > 0 && n == (int)strlen(text) && text[n - 1] == '\n', "%d", n);
    for (i = 0; i < COUNT(numbers); i++) CHECKF(says_number(text, numbers[i]), "no %s in %s",
                                                numbers[i],
                                                text);
    memset(&e, 0, sizeof e);
    e.count = INT64_C(123456789012);
    e.mismatches = INT64_C(123456780001);
    e.nans[0] = 1001;
    e.nans[1] = 1002;
    e.infs[0] = 1003;
    e.infs[1] = 1004;
    e.nan_apart = 1005;
    e.inf_apart = 1006;
    e.bits_apart = 1007;
    e.mismatch_percent = 62.5;
    e.max_abs = 1.125;
    e.mean_abs = 2.125;
    e.max_rel = 3.125;
    e.mean_rel = 4.125;
    e.max_ulp = INT64_C(4278190078);
    for (i = 0; i < 4; i++) {
        static const char *const ulps[] = { "2001", "2002", "2003", "2004" };
        e.ulps[i] = 2001 + i;
        n = vq_comparison_text(&e, text, sizeof text);
        CHECKF(says_number(text, ulps[i]), "no %s in %s", ulps[i], text);
    }
    e.least[0] = -5.25f;
    e.most[0] = 6.25f;
    e.least[1] = -7.25f;
    e.most[1] = 8.25f;
    e.rank = 4;
    e.first_count = 4;
    e.worst_count = 4;
    for (i = 0; i < 4; i++) {
        int d;
        for (d = 0; d < 4; d++) {
            e.first[i].at[d] = 3000 + 10 * i + d;
            e.worst[i].at[d] = 4000 + 10 * i + d;
        }
        e.first[i].x = 100.5f + (float)i;
        e.first[i].y = 200.5f + (float)i;
        e.worst[i].x = 300.5f + (float)i;
        e.worst[i].y = 400.5f + (float)i;
        e.first[i].off = e.worst[i].off = 100;
    }
    n = vq_comparison_text(&e, text, sizeof text);
    CHECK(n == (int)strlen(text));
    {
        static const char *const more[] = { "123456789012", "123456780001", "1001", "1002", "1003",
            "1004", "1005", "1006", "1007", "62.5", "1.125", "2.125", "3.125", "4.125",
                "4278190078",
            "-5.25", "6.25", "-7.25", "8.25", "100.5", "203.5", "300.5", "403.5", "3000", "3033",
            "4000", "4021", "4033", "303.5", "101.5" };
        for (i = 0; i < COUNT(more); i++) CHECKF(says_number(text, more[i]), "no %s in %s",
                                                 more[i], text);
    }
    e.passed = 1;
    CHECK(vq_comparison_text(&e, NULL, 0) > 0);
}

static void the_text_says_whether_it_passed(void)
{
    vq_comparison e;
    char good[4096], bad[4096];
    memset(&e, 0, sizeof e);
    e.passed = 1;
    vq_comparison_text(&e, good, sizeof good);
    e.passed = 0;
    vq_comparison_text(&e, bad, sizeof bad);
    CHECKF(strcmp(good, bad), "%s", good);
}

static void the_text_is_cut_as_snprintf_would(void)
{
    vq_comparison e;
    char whole[4096], text[4096];
    int need, n;
    start();
    e = a_comparison();
    need = vq_comparison_text(&e, whole, sizeof whole);
    CHECK(vq_comparison_text(&e, NULL, 0) == need);
    for (n = 0; n <= need + 2; n++) {
        memset(text, 'z', sizeof text);
        CHECK(vq_comparison_text(&e, text, (size_t)n) == need);
        if (n) CHECK(!strncmp(text, whole, (size_t)n - 1)
                     && text[n - 1 < need ? n - 1 : need] == 0);
        CHECK(text[n] == 'z' && text[n + 1] == 'z');
    }
}

/* --- bad input ------------------------------------------------------------- */

#define FIELD(kind, member) { #member, NULL, VQ_FIELD_##kind, offsetof(vq_compare_args, member) }

static void the_fields_of_compare_are_those_of_its_args(void)
{
    static const vq_field want[] = { FIELD(IN, x), FIELD(IN, y), FIELD(FLOAT, atol),
        FIELD(FLOAT, rtol), FIELD(FLOAT, budget), FIELD(RESULT, result) };
    int n = 0, i;
    const vq_field *f = vq_op_fields(VQ_OP_COMPARE, &n);
    CHECK(f && n == COUNT(want));
    for (i = 0; f && i < n && i < COUNT(want); i++)
        CHECKF(!strcmp(f[i].name, want[i].name) && f[i].kind == want[i].kind && !f[i].twin
               && f[i].offset == want[i].offset, "%s", f[i].name);
}

static float left[64], right[64];

static vq_compare_args good_args(vq_comparison *e)
{
    vq_compare_args a = VQ_ZERO;
    memset(e, 0x5a, sizeof *e);
    a.x = vq_tensor_2d(left, VQ_F32, 4, 6, VQ_HOST);
    a.y = vq_tensor_2d(right, VQ_BF16, 4, 6, VQ_HOST);
    a.result = e;
    return a;
}

static void refused(vq_compare_args a, int planned, vq_guard guard, const char *arg, int64_t found,
                    int64_t needed, const char *edit)
{
    vq_comparison was;
    vq_report r;
    vq_choice choice;
    vq_status s;
    memset(&was, 0x5a, sizeof was);
    memset(&r, 0x5a, sizeof r);
    a.call.report = &r;
    s = vq_compare(cpus[0], &a);
    CHECKF(s == VQ_BAD_ARG && r.status == s && r.guard == guard && r.arg && !strcmp(r.arg, arg)
           && r.op && !strcmp(r.op, "compare") && r.found == found && r.needed == needed
           && strstr(r.text, arg), "%s: %s, found %lld, needed %lld: %s", edit,
               vq_guard_str(r.guard),
           (long long)r.found, (long long)r.needed, r.text);
    CHECKF(!a.result || !memcmp(&was, a.result, sizeof was), "%s: a result", edit);
    s = vq_plan(cpus[0], VQ_OP_COMPARE, &a, &choice);
    CHECKF(s == (planned ? VQ_BAD_ARG : VQ_OK), "%s: planned", edit);
}

#define BAD(edit, guard, arg, found, needed) do { \
    vq_comparison e; \
    vq_compare_args a = good_args(&e); \
    edit; \
    refused(a, 1, VQ_GUARD_##guard, arg, found, needed, #edit); } while (0)

#define ANY   ((1 << VQ_DTYPE_COUNT) - 2)
#define CODES (ANY & ~(1 << VQ_INT32 | 1 << VQ_INT64))

static void bad_arguments_are_named_and_there_is_no_result(void)
{
    static const float below[] = { -1, -1e-45f, -INFINITY }, above[] = { INFINITY, NAN };
    static const char *const names[] = { "atol", "rtol", "budget" };
    vq_comparison e;
    vq_compare_args a;
    int i, k;
    start();
    BAD(a.x.rank = 0, PRESENT, "x", 0, 0);
    BAD(a.y.rank = 0, PRESENT, "y", 0, 0);
    BAD(a.x.dtype = VQ_INT32, TYPE, "x", VQ_INT32, CODES);
    BAD(a.y.dtype = VQ_INT64, TYPE, "y", VQ_INT64, CODES);
    BAD(a.x.dtype = (vq_dtype)77, TYPE, "x", 77, ANY);
    BAD(a.x.rank = 5, RANK, "x", 5, 4);
    BAD(a.y.rank = 1, RANK, "y", 1, 2);
    BAD(a.y.shape[0] = 3, SHAPE, "y", 3, 4);
    BAD(a.y.shape[1] = 5, SHAPE, "y", 5, 6);
    BAD(a.x.shape[0] = -1, SIZE, "x", -1, 0);
    BAD(a.x.stride[1] = 0, STRIDE, "x", 0, 1);
    BAD(a.x.layout = VQ_SWIZZLE_8X4; a.x.dtype = VQ_E8M0; a.x.stride[0] = 8, LAYOUT, "x",
        VQ_SWIZZLE_8X4,
        1 << VQ_STRIDED);
    BAD(a.y.layout = VQ_SWIZZLE_8X4; a.y.dtype = VQ_E8M0; a.y.stride[0] = 8, LAYOUT, "y",
        VQ_SWIZZLE_8X4,
        1 << VQ_STRIDED);
    BAD(a.x.where = (vq_where)9, VALUE, "x", 9, VQ_HOST);
    BAD(a.result = NULL, PRESENT, "result", 0, 0);
    for (i = 0; i < 3; i++) {
        const float most = i < 2 ? 3.4028235e38f : 100;
        for (k = 0; k < COUNT(below); k++) {
            a = good_args(&e);
            *(i == 0 ? &a.atol : i == 1 ? &a.rtol : &a.budget) = below[k];
            refused(a, 1, VQ_GUARD_VALUE, names[i], bits_of(below[k]), 0, names[i]);
        }
        for (k = 0; k < COUNT(above); k++) {
            a = good_args(&e);
            *(i == 0 ? &a.atol : i == 1 ? &a.rtol : &a.budget) = above[k];
            refused(a, 1, VQ_GUARD_VALUE, names[i], bits_of(above[k]), bits_of(most), names[i]);
        }
        a = good_args(&e);
        *(i == 0 ? &a.atol : i == 1 ? &a.rtol : &a.budget) = most;
        CHECK(vq_compare(cpus[0], &a) == VQ_OK);
    }
    BAD(a.budget = up(100), VALUE, "budget", bits_of(up(100)), bits_of(100));
    a = good_args(&e);
    a.x.data = NULL;
    refused(a, 0, VQ_GUARD_PRESENT, "x", 0, 0, "no data");
    a = good_args(&e);
    a.y.data = NULL;
    refused(a, 0, VQ_GUARD_PRESENT, "y", 0, 0, "no data");
    CHECK(vq_compare(cpus[0], NULL) == VQ_BAD_ARG);
    a = good_args(&e);
    CHECK(vq_compare(NULL, &a) == VQ_BAD_ARG);
}

VQ_TEST_MAIN(
    T(every_pair_of_formats_is_compared_as_its_values),
    T(every_format_but_the_negatives_is_compared_to_e8m0),
    T(every_pair_of_small_codes_is_as_far_apart_as_its_places),
    T(steps_cross_zero_and_powers_of_two),
    T(a_difference_at_the_bound_is_no_mismatch),
    T(nan_and_infinity_are_pairs_only_of_their_like),
    T(values_of_different_types_are_apart_by_value),
    T(a_budget_is_met_at_its_edge),
    T(offenders_are_the_first_and_the_largest),
    T(sums_are_those_of_row_major_order),
    T(ranges_are_of_the_finite_numbers_of_each_side),
    T(nothing_compared_has_passed),
    T(a_tensor_equals_itself),
    T(the_text_has_the_numbers),
    T(the_text_says_whether_it_passed),
    T(the_text_is_cut_as_snprintf_would),
    T(the_fields_of_compare_are_those_of_its_args),
    T(bad_arguments_are_named_and_there_is_no_result)
)
