/* test_observe.c - statistics of activations, and the scales that static keys take from them

   What vq_quant() makes under a dynamic key is the answer that calibration must come to. The
   statistics have oracles: values from ldexp(), percentiles from a sorted list, bins from double
   arithmetic, which holds the product and the quotient of two floats in more than twice their
   digits and two, so that one rounding to float after it is right.

   Every tensor lies in a block of random bytes that is compared whole after each call. */
#include <fenv.h>
#include <math.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"
#include "boxes.h"
#include "cpus.h"

static const vq_dtype wides[] = { VQ_F32, VQ_F16, VQ_BF16 };
static vq_status call_on(const vq_ctx *vq, vq_op op, const void *args)
{
    switch (op) {
    case VQ_OP_QUANT:      return vq_quant(vq, (const vq_quant_args *)args);
    case VQ_OP_AMAX:       return vq_amax(vq, (const vq_amax_args *)args);
    case VQ_OP_MINMAX:     return vq_minmax(vq, (const vq_minmax_args *)args);
    case VQ_OP_HISTOGRAM:  return vq_histogram(vq, (const vq_histogram_args *)args);
    case VQ_OP_PERCENTILE: return vq_percentile(vq, (const vq_percentile_args *)args);
    default:               return vq_calibrate(vq, (const vq_calibrate_args *)args);
    }
}

static vq_status by_plan(const vq_ctx *vq, vq_op op, const void *args)
{
    vq_choice choice;
    vq_status s = vq_plan(vq, op, args, &choice);
    return s ? s : vq_run(vq, &choice, args);
}

/* On any of the contexts, at once or by a plan; one caller in eight rounds another way than to
   nearest, which is no concern of an op. */
static int runs(vq_op op, void *args)
{
    static const int ways[] = { FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };
    int way = t_rand() % 8 ? FE_TONEAREST : MORE(ways), same;
    const vq_ctx *vq = MORE(cpus);
    vq_status s;
    memset(&why, 0, sizeof why);
    ((vq_call *)args)->report = &why;
    fesetround(way);
    s = t_rand() & 1 ? call_on(vq, op, args) : by_plan(vq, op, args);
    same = fegetround() == way;
    fesetround(FE_TONEAREST);
    CHECK(same);
    CHECKF(s == VQ_OK, "%s", why.text);
    return s == VQ_OK;
}

/* --- tensors in memory ----------------------------------------------------- */

static vq_tensor strided(vq_dtype t, int64_t rows, int64_t cols, int64_t row, int64_t col)
{
    vq_tensor v = vq_tensor_2d(NULL, t, rows, cols, VQ_HOST);
    v.stride[0] = row;
    v.stride[1] = col;
    return v;
}

static box rows_box(vq_dtype t, int64_t rows, int64_t cols)      /* rows apart, or not */
{
    int64_t least = vq_row_bytes(t, cols) / (vq_dtype_bits(t) < 8 ? 1 : vq_dtype_bits(t) / 8);
    return box_of(strided(t, rows, cols, (least ? least : 1) + (t_rand() & 1) * (t_rand() % 7), 1));
}

static box stats_box(int64_t g, int64_t h)                       /* f32, any strides */
{
    switch (t_rand() % 5) {
    case 1:  return box_of(strided(VQ_F32, g, h, 1, g));
    case 2:  return box_of(strided(VQ_F32, g, h, 3 * h + 5, 3));
    case 3:  return box_of(strided(VQ_F32, g, h, 2, 2 * g + 1));
    case 4:  return box_of(strided(VQ_F32, g, h, h + 3, 1));
    default: return box_of(strided(VQ_F32, g, h, h, 1));
    }
}

static box scales_box(vq_dtype t, int64_t g, int64_t h)          /* any order that holds t */
{
    unsigned o = t_rand() % (vq_dtype_bits(t) == 8 ? VQ_ORDER_COUNT : VQ_WORDS_UE8M0);
    if (vq_dtype_bits(t) < 8) return rows_box(t, g, h);
    if (o == VQ_WORDS_UE8M0 && t != VQ_E8M0) o = VQ_TILES_128X4;
    return box_of(vq_tensor_ordered(t, g, h, (vq_order)o, NULL, VQ_HOST));
}

static uint32_t get(const vq_tensor *t, int64_t r, int64_t c)    /* strided, 8 bits and more */
{
    int bytes = vq_dtype_bits(t->dtype) / 8;
    const uint8_t *p = (const uint8_t *)t->data + (r * t->stride[0] + c * t->stride[1]) * bytes;
    uint32_t u;
    uint16_t h;
    if (bytes == 1) return *p;
    if (bytes == 2) { memcpy(&h, p, 2); return h; }
    memcpy(&u, p, 4);
    return u;
}

static void set(const vq_tensor *t, int64_t r, int64_t c, uint32_t u)
{
    int bytes = vq_dtype_bits(t->dtype) / 8;
    uint8_t *p = (uint8_t *)t->data + (r * t->stride[0] + c * t->stride[1]) * bytes;
    uint16_t h = (uint16_t)u;
    if (bytes == 1) *p = (uint8_t)u;
    else if (bytes == 2) memcpy(p, &h, 2);
    else memcpy(p, &u, 4);
}

static uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static float float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }
static int is_nan(uint32_t u)   { return (u & 0x7fffffff) > 0x7f800000; }
static int is_quiet(uint32_t u) { return is_nan(u) && (u & 0x400000); }

static double value(vq_dtype t, uint32_t c)                      /* f32, f16, bf16 */
{
    int mbits = t == VQ_F32 ? 23 : t == VQ_F16 ? 10 : 7, bias = t == VQ_F16 ? 15 : 127;
    uint32_t minus = t == VQ_F32 ? 0x80000000u : 0x8000u, mag = c & (minus - 1);
    int e = (int)(mag >> mbits), m = (int)(mag & ((1u << mbits) - 1)), one = 1 << mbits;
    double v = e == 2 * bias + 1 ? m ? NAN : INFINITY
             : e ? ldexp(m + one, e - bias - mbits) : ldexp(m, 1 - bias - mbits);
    return c & minus ? -v : v;
}

static double at(const box *b, int64_t r, int64_t c) { return value(b->t.dtype, get(&b->t, r, c)); }

/* What was written becomes what has to be. */
static void settle(box *b) { if (b->mem) memcpy(b->was, b->mem, b->size); }

static int untouched(const box *b, const char *name)
{
    int same = !b->mem || !memcmp(b->mem, b->was, b->size);
    CHECKF(same, "%s was written", name);
    return same;
}

/* Nothing but the elements of an output may have changed. */
static int gaps_kept(const box *b, const char *name)
{
    vq_tensor was = b->t;
    int64_t r, c;
    was.data = b->was + ((uint8_t *)b->t.data - b->mem);
    for (r = 0; r < b->t.shape[0]; r++)
        for (c = 0; c < b->t.shape[1]; c++) set(&was, r, c, get(&b->t, r, c));
    return untouched(b, name);
}

/* --- keys ------------------------------------------------------------------ */

static vq_key key_of(const char *text)
{
    vq_key k = VQ_ZERO;
    CHECKF(vq_key_parse(text, &k, &why) == VQ_OK, "%s: %s", text, why.text);
    return k;
}

static const char *text_of(const vq_key *k)
{
    static char text[256];
    vq_key_print(k, text, sizeof text);
    return text;
}

static int is_int(vq_dtype t)
{
    return t == VQ_INT8 || t == VQ_UINT8 || t == VQ_INT4 || t == VQ_UINT4;
}

static int lacks_nan(vq_dtype t)
{
    return is_int(t) || t == VQ_E2M1 || t == VQ_E2M3 || t == VQ_E3M2;
}

/* What no preset does. */
static const char *const others[] = {
    "float8_e4m3fn/float8_e8m0fnu/1x32/dyn/amax.trunc448/x.div.s/floor=raw:1e-10",
    "float8_e5m2fnuz/float8_e8m0fnu/1x32/dyn/amax.ceil57344/x.inv0.s",
    "float4_e2m1fn/float8_e8m0fnu/2x16/dyn/amax.trunc6/x.inv.amax/arith=bf16/bound=amax",
    "float6_e2m3fn/bf16/1x32/dyn/amax.ceil7.5/x.div.s/bound=scale/floor=scale:1e-4",
    "float6_e3m2fn/f32/3x-1/dyn/amax.even0.75/x.inv.s/scale2=mul",
    "float8_e4m3fn/f32/1x8/dyn/amax.div3/x.inv0.s/arith=bf16/bound=scale/floor=amax:2/scale2=div",
    "float8_e4m3fnuz/ue4m3/1x16/dyn/amax.div224/x.ratio/bound=amax/floor=amax:1e-4/scale2=div",
    "float8_e5m2/f16/-1x8/dyn/amax.recip57344/x.div.s/arith=bf16/nan=max/overflow=nonfinite",
    "int4/f32/1x32/dyn/amax.div7/x.inv.amax.away/arith=bf16/bound=amax",
    "int8/bf16/1x32/dyn/amax.exp100/x.div.s.trunc/scale2=mul",
    "int8/f16/5x-1/dyn/range.div201/x.div.s/asym/arith=bf16/nan=max",
    "uint8/f32/1x64/dyn/range.div255/x.inv0.s/asym/bound=scale/floor=scale:0.01",
    "int8/f32/1x32/dyn/amax.inv127/x.inv.amax.away/bound=amax/floor=amax:5",
    "float8_e4m3fn/f32/1x8/dyn/amax.div448/x.inv.s/bound=scale/floor=scale:5/scale2=mul",
    "float8_e4m3fn/f32/1x16/dyn/amax.trunc448/x.inv.s/arith=bf16/floor=raw:1e-10/scale2=mul",
    "float4_e2m1fn/f32/1x1/dyn/amax.even6/x.ratio/scale2=div",
    "uint4/float8_e8m0fnu/1x32/dyn/range.div15/x.div.s.trunc/asym",
    "int4/f32/1x1/dyn/range.div15/x.inv.s/asym/nan=max",
    "int4/bf16/2x5/dyn/range.div15/x.inv.s/asym",
    "uint8/ue4m3/-1x3/dyn/range.div200/x.inv.s/asym",
    "float4_e2m1fn/f32/1x7/dyn/amax.rceil5/x.div.s/nan=max",
    "int8/f32/-1x1/dyn/amax.div127/x.div.s", "int8/f32/-1x-1/dyn/range.div255/x.div.s/asym",
};

/* A key that means something. */
static vq_key random_key(void)
{
    static const vq_dtype elems[] = { VQ_E4M3FN, VQ_E4M3FNUZ, VQ_E5M2, VQ_E5M2FNUZ, VQ_E2M3,
                                      VQ_E3M2, VQ_E2M1, VQ_INT8, VQ_UINT8, VQ_INT4, VQ_UINT4 };
    static const vq_dtype scales[] = { VQ_F32, VQ_F32, VQ_F16, VQ_BF16, VQ_E8M0, VQ_UE4M3 };
    static const int32_t sizes[] = { -1, 1, 2, 3, 5, 7, 16, 32, 128 };
    static const float floors[] = { 1e-10f, 4.359654e-6f, 1e-4f, 1, 1e-30f, 1.4e-45f, 300 };
    for (;;) {
        vq_key k = VQ_ZERO;
        k.elem = MORE(elems);
        k.scale_type = MORE(scales);
        k.code_max = vq_dtype_max(k.elem);
        if (t_rand() % 4 == 0) k.code_max = is_int(k.elem) ? floorf(k.code_max * 0.8f) : 0.37f;
        k.group_rows = MORE(sizes);
        k.group_cols = MORE(sizes);
        if (k.group_rows > 7) k.group_rows = 1;
        k.flags = (t_rand() % 4 ? 0 : VQ_KEY_NO_TAIL) | (t_rand() % 4 ? 0 : VQ_KEY_ASYMMETRIC);
        k.scale_rule = (vq_scale_rule)(1 + t_rand() % (VQ_SCALE_RULE_COUNT - 1));
        k.code_rule = (vq_code_rule)(t_rand() % VQ_CODE_RULE_COUNT);
        k.arith = t_rand() % 4 ? VQ_F32 : VQ_BF16;
        k.bound_kind = t_rand() % 3 ? VQ_BOUND_NONE : (vq_bound_kind)(1 + t_rand() % 2);
        k.floor_kind = t_rand() % 2 ? VQ_FLOOR_NONE : (vq_floor_kind)(1 + t_rand() % 3);
        k.floor_value = k.floor_kind ? MORE(floors) : 0;
        k.scale2_kind = t_rand() % 3 ? VQ_SCALE2_NONE : (vq_scale2_kind)(1 + t_rand() % 2);
        k.nan_rule = t_rand() % 3 ? VQ_NAN_KEEP : VQ_NAN_MAX;
        k.overflow = t_rand() % 4 ? VQ_SATURATE : VQ_NONFINITE;
        if (k.flags & VQ_KEY_ASYMMETRIC) k.scale_rule = VQ_SCALE_RANGE;
        if (!vq_key_check(&k, NULL)) return k;
    }
}

static int64_t size_in(int64_t extent, int32_t group) { return group < 0 ? extent : group; }

static int64_t count_in(int64_t extent, int32_t group)
{
    int64_t n = 0, i;
    if (group < 0) return 1;
    for (i = 0; i < extent; i += group) n++;
    return n;
}

/* Whole groups where the key wants them. */
static int64_t whole(const vq_key *k, int32_t group, int64_t n)
{
    while (k->flags & VQ_KEY_NO_TAIL && group > 1 && n % group) n++;
    return n;
}

/* --- what x holds ---------------------------------------------------------- */

enum { ANY_BITS, PLAIN, OUTLIERS, ZEROS, SUBNORMALS, INFINITIES, ONE_NAN, ALL_NAN, LARGEST,
       AT_FLOOR,
       AT_POWER, CONSTANT, ONE_SIDED, HALVES, KINDS };

static uint32_t wide(vq_dtype t, double v) { return vq_encode(t, (float)v, VQ_SATURATE); }

static uint32_t largest_code(vq_dtype t)
{
    return t == VQ_F32 ? 0x7f7fffff : t == VQ_F16 ? 0x7bff : 0x7f7f;
}

/* one: the first of its group. any: random, the same in all of a group. */
static uint32_t element(const vq_key *k, vq_dtype t, int kind, int one, uint32_t any)
{
    const uint32_t minus = t == VQ_F32 ? 0x80000000u : 0x8000u, inf = largest_code(t) + 1;
    uint32_t u = t_rand(), sign = u & 1 ? minus : 0;
    double v = t_randf(-1, 1) + t_randf(-1, 1) + t_randf(-1, 1), s = u & 1 ? -1 : 1;
    int e = t == VQ_F16 ? (int)(any >> 8) % 20 - 12 : (int)(any >> 8) % 60 - 40;
    switch (kind) {
    case ANY_BITS:   return t == VQ_F32 ? t_rand() : t_rand() >> 16;
    case OUTLIERS:   return wide(t, u % 50 ? v * 0.1 : v * 40);
    case ZEROS:      return u & 2 ? 0 : sign;
    case SUBNORMALS: return sign | t_rand() % (t == VQ_F32 ? 0x900000 : t == VQ_F16 ? 0x480 : 0x90);
    case INFINITIES: return u % 8 < 3 ? sign | inf : wide(t, v);
    case ONE_NAN:    return one ? sign | (inf + 1 + (u >> 8) % 9) : wide(t, v);
    case ALL_NAN:    return sign | (inf + 1 + (u >> 8) % 60);
    case LARGEST:    return sign | (u & 2 ? inf - 1 : (u >> 8) % (inf - 1));
    case AT_FLOOR:
        v = k->floor_kind ? (double)k->floor_value : 1e-30;
        if (k->floor_kind != VQ_FLOOR_AMAX) v *= (double)k->code_max;
        return wide(t, s * v * (one ? 1 + ldexp((double)(any % 5) - 2, -23) : t_randf(0, 1)));
    case AT_POWER:
        v = one ? (any & 1 ? (double)k->code_max : 1) : (double)t_randf(0, 0.9f);
        v = ldexp(v, e);
        return sign | (wide(t, v) + (one && any & 2 && v > 0 ? (any & 4 ? 1 : (uint32_t)-1) : 0));
    case CONSTANT:   return wide(t, ldexp((double)(int)any, -24));
    case ONE_SIDED:  return wide(t, (any & 1 ? -1 : 1) * (fabs(v) + (any & 2 ? 100 : 0)));
    case HALVES:     return wide(t, ldexp(floor(v * 20) / 2, (int)(any % 5)));
    default:         return wide(t, v);
    }
}

/* kind: of all groups; KINDS: each its own */
static void fill(box *x, const vq_key *k, int kind)
{
    int64_t rows = x->t.shape[0], cols = x->t.shape[1], r, c, r0, c0;
    int64_t R = size_in(rows, k->group_rows), C = size_in(cols, k->group_cols);
    for (r0 = 0; r0 < rows; r0 += R)
        for (c0 = 0; c0 < cols; c0 += C) {
            int of = kind == KINDS ? (int)(t_rand() % KINDS) : kind;
            uint32_t any = t_rand();
            for (r = r0; r < rows && r < r0 + R; r++)
                for (c = c0; c < cols && c < c0 + C; c++)
                    set(&x->t, r, c, element(k, x->t.dtype, of, r == r0 && c == c0, any));
        }
    settle(x);
}

/* --- the oracle of statistics ---------------------------------------------- */

typedef struct { double amax, lo, hi; int nan; } stats;

static double largest(vq_dtype t)
{
    return t == VQ_F32 ? 0x1.fffffep127 : t == VQ_F16 ? 65504 : 0x1.fep127;
}

static void see(stats *s, double x, vq_dtype t)
{
    if (isnan(x)) { s->nan = 1; return; }
    if (x > largest(t)) x = largest(t);
    if (x < -largest(t)) x = -largest(t);
    if (fabs(x) > s->amax) s->amax = fabs(x);
    if (x < s->lo) s->lo = x;
    if (x > s->hi) s->hi = x;
}

static stats stats_of(const box *x, const vq_key *k, int64_t g, int64_t h)
{
    stats s = { 0, INFINITY, -INFINITY, 0 };
    int64_t R = size_in(x->t.shape[0], k->group_rows), C = size_in(x->t.shape[1], k->group_cols),
        r, c;
    for (r = g * R; r < (g + 1) * R && r < x->t.shape[0]; r++)
        for (c = h * C; c < (h + 1) * C && c < x->t.shape[1]; c++) see(&s, at(x, r, c), x->t.dtype);
    return s;
}

/* found: what was written for v. nan: it has to be one. */
static int is_exactly(const char *name, uint32_t found, double v, int nan, const vq_key *k,
                      vq_dtype t)
{
    int good = nan ? is_quiet(found) : found == (v == 0 ? 0 : bits_of((float)v));
    CHECKF(good, "%s: %.9g (%08x), not %.9g: %s of %s", name, (double)float_of(found),
           (unsigned)found,
           nan ? (double)NAN : v, vq_dtype_str(t), text_of(k));
    return good;
}

static int amax_is(const box *amax, const box *x, const vq_key *k)
{
    int64_t g, h;
    for (g = 0; g < amax->t.shape[0]; g++)
        for (h = 0; h < amax->t.shape[1]; h++) {
            stats s = stats_of(x, k, g, h);
            if (!is_exactly("amax", get(&amax->t, g, h), s.amax, s.nan && lacks_nan(k->elem), k,
                            x->t.dtype)) return 0;
        }
    return gaps_kept(amax, "amax's gaps") && untouched(x, "x");
}

static int range_is(const box *lo, const box *hi, const box *x, const vq_key *k)
{
    int64_t g, h;
    for (g = 0; g < lo->t.shape[0]; g++)
        for (h = 0; h < lo->t.shape[1]; h++) {
            stats s = stats_of(x, k, g, h);
            int nan = s.nan && lacks_nan(k->elem);
            if (!is_exactly("lo", get(&lo->t, g, h), s.lo, nan, k, x->t.dtype)) return 0;
            if (!is_exactly("hi", get(&hi->t, g, h), s.hi, nan, k, x->t.dtype)) return 0;
        }
    return gaps_kept(lo, "lo's gaps") && gaps_kept(hi, "hi's gaps") && untouched(x, "x");
}

static int take_amax(const vq_key *k, const box *x, const box *amax, int running)
{
    vq_amax_args a = VQ_ZERO;
    a.key = *k;
    a.x = x->t;
    a.amax = amax->t;
    a.running = running;
    return runs(VQ_OP_AMAX, &a);
}

static int take_minmax(const vq_key *k, const box *x, const box *lo, const box *hi, int running)
{
    vq_minmax_args a = VQ_ZERO;
    a.key = *k;
    a.x = x->t;
    a.lo = lo->t;
    a.hi = hi->t;
    a.running = running;
    return runs(VQ_OP_MINMAX, &a);
}

/* --- amax and minmax ------------------------------------------------------- */

static void statistics_are_right(const vq_key *k, vq_dtype t, int64_t rows, int64_t cols, int kind)
{
    int64_t g = count_in(rows, k->group_rows), h = count_in(cols, k->group_cols);
    box x = rows_box(t, rows, cols), amax = stats_box(g, h), lo = stats_box(g, h),
        hi = stats_box(g, h);
    fill(&x, k, kind);
    if (take_amax(k, &x, &amax, 0)) amax_is(&amax, &x, k);
    if (take_minmax(k, &x, &lo, &hi, 0)) range_is(&lo, &hi, &x, k);
    drop(&x);
    drop(&amax);
    drop(&lo);
    drop(&hi);
}

static const int64_t some_rows[] = { 1, 2, 3, 5, 1, 4 };
static const int64_t some_cols[] = { 1, 5, 7, 16, 33, 31, 64, 129, 100, 3, 47, 200 };

static void amax_and_minmax_are_those_of_each_group(void)
{
    int id, i;
    start_cpus();
    for (id = 0; id < VQ_KEY_COUNT; id++)
        for (i = 0; i < 2 * KINDS; i++) {
            vq_key k = vq_key_preset((vq_key_id)id);
            statistics_are_right(&k, wides[i % 3], whole(&k, k.group_rows, MORE(some_rows)),
                                 whole(&k, k.group_cols, MORE(some_cols)), i % (KINDS + 1));
        }
    for (i = 0; i < (t_exhaustive ? 100000 : 3000); i++) {
        vq_key k = random_key();
        statistics_are_right(&k, MORE(wides), whole(&k, k.group_rows, MORE(some_rows)),
                             whole(&k, k.group_cols, MORE(some_cols)), KINDS);
    }
}

static void wide_and_tall_matrices_have_the_statistics_of_small_ones(void)
{
    static const struct { const char *key; int rows, cols; } cases[] = {
        { "fp8_token", 2, 40009 }, { "fp8_tensor", 3, 16385 }, { "fp8_channel", 5, 9001 },
        { "int8/f32/1x1/dyn/amax.div127/x.div.s", 2, 5001 },
        { "int8/f32/2x3/dyn/range.div255/x.div.s/asym", 5, 20001 },
        { "float8_e4m3fn/f32/2x5000/dyn/amax.div448/x.div.s", 3, 12001 },
        { "float8_e4m3fn/f32/3x9000/dyn/amax.div448/x.div.s", 4, 20000 },
        { "mxfp4", 1, 33000 }, { "fp8_block128", 300, 257 }, { "fp8_tensor", 4001, 3 },
        { "int8/f32/-1x1/dyn/amax.div127/x.div.s", 4001, 3 },
    };
    int i, j;
    start_cpus();
    for (i = 0; i < COUNT(cases); i++)
        for (j = 0; j < 3; j++) {
            vq_key k = key_of(cases[i].key);
            statistics_are_right(&k, wides[j], cases[i].rows, cases[i].cols, KINDS);
            statistics_are_right(&k, wides[j], cases[i].rows, cases[i].cols, PLAIN);
        }
}

/* One row of f32 codes; amax, lo and hi of it. */
static void row_has(const char *key, vq_dtype t, const uint32_t *code, int n, uint32_t amax,
                    uint32_t lo, uint32_t hi)
{
    vq_key k = key_of(key);
    box x = rows_box(t, 1, n), out[3];
    uint32_t want[3];
    int i;
    want[0] = amax;
    want[1] = lo;
    want[2] = hi;
    for (i = 0; i < n; i++) set(&x.t, 0, i, code[i]);
    for (i = 0; i < 3; i++) out[i] = stats_box(1, 1);
    take_amax(&k, &x, &out[0], 0);
    take_minmax(&k, &x, &out[1], &out[2], 0);
    for (i = 0; i < 3; i++) {
        uint32_t found = get(&out[i].t, 0, 0);
        CHECKF(is_nan(want[i]) ? is_quiet(found) : found == want[i],
               "%s, %d of %s: %08x, not %08x", key,
               i, vq_dtype_str(t), (unsigned)found, (unsigned)want[i]);
        drop(&out[i]);
    }
    drop(&x);
}

static void nan_infinity_and_minus_zero_are_as_said(void)
{
    static const uint32_t zeros[] = { 0x80000000, 0x80000000 }, nans[] = { 0x7f800001, 0xffc00000 },
        inf[] = { 0x3f800000, 0x7f800000 }, minus[] = { 0xff800000, 0xbf800000 },
        mixed[] = { 0x40000000, 0x7fc00000, 0xbf800000 }, both[] = { 0x7f800000, 0x7fc00000 };
    static const uint32_t half_inf[] = { 0x3c00, 0xfc00 }, brain_inf[] = { 0x7f80, 0xff80 };
    static const uint32_t half_tiny[] = { 0x0001, 0x8001 };
    const uint32_t none_lo = 0x7f800000, none_hi = 0xff800000, nan = 0x7fc00000;
    start_cpus();
    row_has("fp8_token", VQ_F32, zeros, 2, 0, 0, 0);
    row_has("int8_token", VQ_F32, zeros, 2, 0, 0, 0);
    row_has("fp8_token", VQ_F32, nans, 2, 0, none_lo, none_hi);
    row_has("int8_token", VQ_F32, nans, 2, nan, nan, nan);
    row_has("mxfp4", VQ_F32, nans, 2, nan, nan, nan);
    row_has("mxfp6_e2m3", VQ_F32, mixed, 3, nan, nan, nan);
    row_has("mxfp6_e3m2", VQ_F32, mixed, 3, nan, nan, nan);
    row_has("int4_static", VQ_F32, mixed, 3, nan, nan, nan);
    row_has("int4_static_asym", VQ_F32, mixed, 3, nan, nan, nan);
    row_has("fp8_token", VQ_F32, mixed, 3, 0x40000000, 0xbf800000, 0x40000000);
    row_has("ocp_mxfp8_e5m2", VQ_F32, mixed, 3, 0x40000000, 0xbf800000, 0x40000000);
    row_has("aiter_token_fnuz", VQ_F32, mixed, 3, 0x40000000, 0xbf800000, 0x40000000);
    row_has("fp8_token", VQ_F32, inf, 2, 0x7f7fffff, 0x3f800000, 0x7f7fffff);
    row_has("int8_token", VQ_F32, minus, 2, 0x7f7fffff, 0xff7fffff, 0xbf800000);
    row_has("fp8_token", VQ_F32, both, 2, 0x7f7fffff, 0x7f7fffff, 0x7f7fffff);
    row_has("int8_token", VQ_F32, both, 2, nan, nan, nan);
    row_has("fp8_token", VQ_F16, half_inf, 2, 0x477fe000, 0xc77fe000, 0x3f800000);
    row_has("mxfp8", VQ_BF16, brain_inf, 2, 0x7f7f0000, 0xff7f0000, 0x7f7f0000);
    row_has("fp8_token", VQ_F16, half_tiny, 2, 0x33800000, 0xb3800000, 0x33800000);
}

static void start_stats(const box *b, float v)
{
    int64_t g, h;
    for (g = 0; g < b->t.shape[0]; g++)
        for (h = 0; h < b->t.shape[1]; h++) set(&b->t, g, h, bits_of(v));
}

/* Slices of one tensor: rows r0.., columns c0.. */
static box slice(const box *x, int64_t r0, int64_t rows, int64_t c0, int64_t cols)
{
    box b = *x;
    int64_t bytes = vq_dtype_bits(x->t.dtype) / 8;
    b.t.data = (uint8_t *)x->t.data + (r0 * x->t.stride[0] + c0) * bytes;
    b.t.shape[0] = rows;
    b.t.shape[1] = cols;
    return b;
}

/* A key of one group along an extent may see it in batches. */
static void running_over_batches_is_one_call_on_all(void)
{
    int i;
    start_cpus();
    for (i = 0; i < 2000; i++) {
        vq_key k = random_key();
        int64_t rows, cols, r, c, nr, nc, gr, gc;
        box x, amax, lo, hi;
        k.flags &= ~(uint32_t)VQ_KEY_NO_TAIL;
        if (k.group_rows > 0 && k.group_cols > 0) {
            if (t_rand() & 1) k.group_rows = -1; else k.group_cols = -1;
        }
        rows = 1 + t_rand() % 9;
        cols = 1 + t_rand() % 70;
        gr = count_in(rows, k.group_rows);
        gc = count_in(cols, k.group_cols);
        x = rows_box(MORE(wides), rows, cols);
        amax = stats_box(gr, gc);
        lo = stats_box(gr, gc);
        hi = stats_box(gr, gc);
        fill(&x, &k, KINDS);
        start_stats(&amax, 0);
        start_stats(&lo, INFINITY);
        start_stats(&hi, -INFINITY);
        for (r = 0; r < rows; r += nr) {
            nr = k.group_rows < 0 ? 1 + t_rand() % (uint32_t)(rows - r) : rows;
            for (c = 0; c < cols; c += nc) {
                box part;
                nc = k.group_cols < 0 ? 1 + t_rand() % (uint32_t)(cols - c) : cols;
                part = slice(&x, r, nr, c, nc);
                take_amax(&k, &part, &amax, 1 + (int)(t_rand() % 3));
                take_minmax(&k, &part, &lo, &hi, -1);
            }
        }
        amax_is(&amax, &x, &k);
        range_is(&lo, &hi, &x, &k);
        drop(&x);
        drop(&amax);
        drop(&lo);
        drop(&hi);
    }
}

/* Batches of one shape, of any type: the largest of all; what was there before counts. */
static void running_takes_what_it_finds(void)
{
    int i, n;
    start_cpus();
    for (i = 0; i < 600; i++) {
        vq_key k = i < VQ_KEY_COUNT ? vq_key_preset((vq_key_id)i) : random_key();
        int64_t rows = whole(&k, k.group_rows, MORE(some_rows)), g, h;
        int64_t cols = whole(&k, k.group_cols, MORE(some_cols));
        int64_t gr = count_in(rows, k.group_rows), gc = count_in(cols, k.group_cols);
        float from = t_rand() % 2 ? 0 : t_randf(0, 3), nan = is_int(k.elem) && t_rand() % 8 == 0;
        box x[3], amax = stats_box(gr, gc), lo = stats_box(gr, gc), hi = stats_box(gr, gc);
        start_stats(&amax, nan ? NAN : from);
        start_stats(&lo, nan ? NAN : -from);
        start_stats(&hi, nan ? NAN : from);
        for (n = 0; n < 3; n++) {
            x[n] = rows_box(MORE(wides), rows, cols);
            fill(&x[n], &k, KINDS);
            take_amax(&k, &x[n], &amax, 1);
            take_minmax(&k, &x[n], &lo, &hi, 1);
            untouched(&x[n], "x");
        }
        for (g = 0; g < gr; g++)
            for (h = 0; h < gc; h++) {
                stats all = { 0, 0, 0, 0 };
                int bad = nan != 0;
                all.amax = all.hi = from;
                all.lo = -from;
                for (n = 0; n < 3; n++) {
                    stats s = stats_of(&x[n], &k, g, h);
                    if (s.amax > all.amax) all.amax = s.amax;
                    if (s.lo < all.lo) all.lo = s.lo;
                    if (s.hi > all.hi) all.hi = s.hi;
                    bad |= s.nan && lacks_nan(k.elem);
                }
                is_exactly("running amax", get(&amax.t, g, h), all.amax, bad, &k, x[0].t.dtype);
                is_exactly("running lo", get(&lo.t, g, h), all.lo, bad, &k, x[0].t.dtype);
                is_exactly("running hi", get(&hi.t, g, h), all.hi, bad, &k, x[0].t.dtype);
            }
        gaps_kept(&amax, "amax's gaps");
        gaps_kept(&lo, "lo's gaps");
        gaps_kept(&hi, "hi's gaps");
        for (n = 0; n < 3; n++) drop(&x[n]);
        drop(&amax);
        drop(&lo);
        drop(&hi);
    }
}

/* --- calibration ----------------------------------------------------------- */

static box scalar_box(double v)
{
    box b = box_of(strided(VQ_F32, 1, 1, 1 + t_rand() % 3, 1 + t_rand() % 3));
    set(&b.t, 0, 0, bits_of((float)v));
    settle(&b);
    return b;
}

static double some_bound(void)
{
    static const double bounds[] = { 0, 0.001, 1, 3.5, 100, 448, 1e30, INFINITY, 1e-12, 0x1p-140,
                                     NAN };
    return t_rand() % 3 ? MORE(bounds) : (double)t_randf(0.01f, 30);
}

static double some_scale2(void)
{
    static const double scales[] = { 1, 1, 0.5, 2688, 0.25, 413.5, 1e-3, 1e20, 1e-30, 0, INFINITY,
                                     NAN, 0x1p-149, 0x1.fffffep127, -1, 37.125 };
    return t_rand() % 3 ? MORE(scales) : (double)t_randf(0.01f, 30);
}

static int calibrates(const vq_key *k, const box *amax, const box *lo, const box *hi,
                      const box *bound,
                      const box *scale2, const box *scale, const box *zero)
{
    vq_calibrate_args a = VQ_ZERO;
    a.key = *k;
    if (k->flags & VQ_KEY_ASYMMETRIC) {
        a.lo = lo->t;
        a.hi = hi->t;
        a.zero = zero->t;
    } else a.amax = amax->t;
    if (k->bound_kind) a.bound = bound->t;
    if (k->scale2_kind) a.scale2 = scale2->t;
    a.scale = scale->t;
    return runs(VQ_OP_CALIBRATE, &a);
}

static int quantizes(const vq_key *k, const box *x, const box *bound, const box *scale2,
                     const box *q,
                     const box *scale, const box *zero)
{
    vq_quant_args a = VQ_ZERO;
    a.key = *k;
    a.x = x->t;
    a.q = q->t;
    a.scale = scale->t;
    if (k->flags & VQ_KEY_ASYMMETRIC) a.zero = zero->t;
    if (k->bound_kind) a.bound = bound->t;
    if (k->scale2_kind) a.scale2 = scale2->t;
    return runs(VQ_OP_QUANT, &a);
}

/* Both began as the same bytes. A NaN of f32, f16 and bf16 may be any quiet one. */
static int alike(const box *a, const box *b, const char *name, const vq_key *k, int kind)
{
    vq_tensor t = a->t;
    int64_t r, c;
    size_t i = 0;
    int free_nan = t.dtype == VQ_F32 || t.dtype == VQ_F16 || t.dtype == VQ_BF16;
    if (!a->mem || !memcmp(a->mem, b->mem, a->size)) return 1;
    for (r = 0; free_nan && r < t.shape[0]; r++)
        for (c = 0; c < t.shape[1]; c++)
            if (isnan(at(a, r, c)) && isnan(at(b, r, c))) set(&b->t, r, c, get(&t, r, c));
    if (!memcmp(a->mem, b->mem, a->size)) return 1;
    while (a->mem[i] == b->mem[i]) i++;
    CHECKF(a->mem[i] == b->mem[i], "%s, byte %d: %02x, not %02x: %s, kind %d", name,
           (int)(a->mem + i - (uint8_t *)t.data), b->mem[i], a->mem[i], text_of(k), kind);
    return 0;
}

/* Dynamic into one copy, statistics and a static key into the other. */
static int static_is_dynamic(const vq_key *key, vq_dtype t, int64_t rows, int64_t cols, int kind)
{
    vq_key k = *key, fixed = vq_key_static(k);
    int64_t g = count_in(rows, k.group_rows), h = count_in(cols, k.group_cols);
    int asym = (k.flags & VQ_KEY_ASYMMETRIC) != 0, good;
    box x = rows_box(t, rows, cols), q = rows_box(k.elem, rows, cols), q2 = copy_of(&q);
    box scale = scales_box(k.scale_type, g, h), scale2 = copy_of(&scale), zero = VQ_ZERO, zero2;
    box amax = stats_box(g, h), lo = stats_box(g, h), hi = stats_box(g, h);
    box bound = scalar_box(some_bound()), second = scalar_box(some_scale2());
    if (k.code_rule == VQ_CODE_AMAX || k.code_rule == VQ_CODE_AMAX_AWAY) k.code_rule = VQ_CODE_DIV;
    if (asym) zero = scales_box(k.elem, g, h);
    zero2 = copy_of(&zero);
    fill(&x, &k, kind);
    good = quantizes(&k, &x, &bound, &second, &q, &scale, &zero)
        && (asym ? take_minmax(&k, &x, &lo, &hi, 0) : take_amax(&k, &x, &amax, 0));
    settle(&amax);
    settle(&lo);
    settle(&hi);
    good = good && calibrates(key, &amax, &lo, &hi, &bound, &second, &scale2, &zero2)
        && alike(&scale, &scale2, "scale", key, kind) && alike(&zero, &zero2, "zero", key, kind);
    settle(&scale2);
    settle(&zero2);
    good = good && quantizes(&fixed, &x, &bound, &second, &q2, &scale2, &zero2)
        && alike(&q, &q2, "q", key, kind);
    good = good && untouched(&x, "x") && untouched(&amax, "amax") && untouched(&lo, "lo")
        && untouched(&hi, "hi") && untouched(&bound, "bound") && untouched(&second, "scale2")
        && untouched(&scale2, "a given scale") && untouched(&zero2, "a given zero");
    drop(&x); drop(&q); drop(&q2); drop(&scale); drop(&scale2); drop(&zero); drop(&zero2);
    drop(&amax); drop(&lo); drop(&hi); drop(&bound); drop(&second);
    return good;
}

static void static_after_calibration_is_dynamic_under_every_preset(void)
{
    int id, kind, i, seen = 0;
    start_cpus();
    for (id = 0; id < VQ_KEY_COUNT; id++) {
        vq_key k = vq_key_preset((vq_key_id)id);
        if (k.flags & VQ_KEY_STATIC) continue;
        seen++;
        for (kind = 0; kind <= KINDS; kind++)
            for (i = 0; i < 3; i++) {
                int64_t r = MORE(some_rows), c = MORE(some_cols);
                if (k.group_rows == 128 && t_rand() % 8 == 0) { r = 130; c = 131; }
                if (!static_is_dynamic(&k, wides[i], whole(&k, k.group_rows, r),
                                       whole(&k, k.group_cols, c), kind)) break;
            }
    }
    CHECKF(seen > 30, "%d", seen);
}

static void static_after_calibration_is_dynamic_under_other_keys(void)
{
    int i, n, rules[VQ_SCALE_RULE_COUNT] = { 0 };
    start_cpus();
    for (i = 0; i < COUNT(others); i++)
        for (n = 0; n < 60; n++) {
            vq_key k = key_of(others[i]);
            if (!k.elem || !static_is_dynamic(&k, MORE(wides), MORE(some_rows), MORE(some_cols),
                                              n % (KINDS + 1)))
                break;
        }
    for (i = 0; i < (t_exhaustive ? 200000 : 4000); i++) {
        vq_key k = random_key();
        rules[k.scale_rule]++;
        static_is_dynamic(&k, MORE(wides), whole(&k, k.group_rows, MORE(some_rows)),
                          whole(&k, k.group_cols, MORE(some_cols)), KINDS);
    }
    for (i = 1; i < VQ_SCALE_RULE_COUNT; i++) CHECKF(rules[i] > 20, "rule %d: %d", i, rules[i]);
}

static void wide_and_tall_matrices_calibrate(void)
{
    static const char *const keys[] = { "mxfp4", "int8_token_azp", "fp8_tensor", "nvfp4",
        "deepseek_block128_ue8m0", "int8/f16/1x1/dyn/range.div255/x.inv.s/asym",
        "float8_e4m3fn/ue4m3/1x2/dyn/amax.inv448/x.div.s" };
    int i;
    start_cpus();
    for (i = 0; i < COUNT(keys); i++) {
        vq_key k = key_of(keys[i]);
        static_is_dynamic(&k, VQ_BF16, 2, 16384 + 32, KINDS);
        static_is_dynamic(&k, VQ_F32, 2051, 16, KINDS);
    }
}

/* Scales of other statistics than a whole run has: no number at all, a range beside 0. */
static void a_range_without_zero_is_stretched_to_it(void)
{
    static const float ranges[][2] = { { 2, 5 }, { -7, -3 }, { INFINITY, -INFINITY }, { 0, 0 },
        { -1, 3 }, { 0, 4 }, { -4, 0 }, { 1e-30f, 1e30f }, { -0.0f, -0.0f } };
    static const char *const keys[] = { "int8_token_azp", "vllm_int8_token_azp",
        "uint4/f16/1x-1/dyn/range.div15/x.div.s/asym",
            "uint8/bf16/1x-1/dyn/range.div200/x.inv.s/asym" };
    int i, j;
    start_cpus();
    for (i = 0; i < COUNT(keys); i++)
        for (j = 0; j < COUNT(ranges); j++) {
            vq_key k = key_of(keys[i]);
            box x = rows_box(VQ_F32, 1, 2), q = rows_box(k.elem, 1, 2), none = VQ_ZERO;
            box scale = scales_box(k.scale_type, 1, 1), scale2 = copy_of(&scale);
            box zero = scales_box(k.elem, 1, 1), zero2 = copy_of(&zero);
            box lo = scalar_box((double)ranges[j][0]), hi = scalar_box((double)ranges[j][1]);
            int no = ranges[j][0] > ranges[j][1];
            set(&x.t, 0, 0, bits_of(no ? 0 : ranges[j][0]));
            set(&x.t, 0, 1, bits_of(no ? 0 : ranges[j][1]));
            if (quantizes(&k, &x, &none, &none, &q, &scale, &zero)
                && calibrates(&k, NULL, &lo, &hi, &none, &none, &scale2, &zero2)) {
                alike(&scale, &scale2, "scale", &k, j);
                alike(&zero, &zero2, "zero", &k, j);
            }
            drop(&x); drop(&q); drop(&scale); drop(&scale2); drop(&zero); drop(&zero2);
            drop(&lo); drop(&hi);
        }
}

/* Either one is enough. */
static void a_range_with_a_nan_makes_the_scale_nan(void)
{
    static const float ranges[][2] = { { NAN, 1 }, { -1, NAN }, { NAN, NAN } };
    int i;
    start_cpus();
    for (i = 0; i < COUNT(ranges); i++) {
        vq_key k = key_of(i & 1 ? "uint4/float8_e8m0fnu/1x32/dyn/range.div15/x.div.s/asym"
                                : "int8_token_azp");
        box scale = box_of(strided(k.scale_type, 1, 1, 1, 1)), zero = scales_box(k.elem, 1, 1);
        box lo = scalar_box((double)ranges[i][0]), hi = scalar_box((double)ranges[i][1]);
        if (calibrates(&k, NULL, &lo, &hi, NULL, NULL, &scale, &zero)) {
            uint32_t found = get(&scale.t, 0, 0);
            CHECKF(i & 1 ? found == 0xff : is_quiet(found), "%d: %x", i, (unsigned)found);
        }
        drop(&scale);
        drop(&zero);
        drop(&lo);
        drop(&hi);
    }
}

static void scale_of_amax(const char *key, float amax, double g, uint32_t want)
{
    vq_key k = key_of(key);
    box a = scalar_box((double)amax), scale = box_of(strided(k.scale_type, 1, 1, 1, 1));
    box g2 = scalar_box(g);
    if (calibrates(&k, &a, NULL, NULL, &g2, &g2, &scale, NULL)) {
        uint32_t found = get(&scale.t, 0, 0);
        int good = is_nan(want) && k.scale_type == VQ_F32 ? is_quiet(found) : found == want;
        CHECKF(good, "%s of %g: %x, not %x", key, (double)amax, (unsigned)found, (unsigned)want);
        gaps_kept(&scale, "scale");
    }
    drop(&a);
    drop(&scale);
    drop(&g2);
}

static void worked_amaxes_have_their_scales(void)
{
    static const char *const floats[] = { "fp8_token", "int8_token", "fp8_group128", "aiter_token",
        "float4_e2m1fn/f32/1x7/dyn/amax.rceil5/x.div.s", "deepseek_block128_ue8m0" };
    int i;
    start_cpus();
    scale_of_amax("fp8_token", 7.6875f, 1, 0x3c8c9249);
    scale_of_amax("vllm_triton_group128", 7.6875f, 1, 0x3c8c924a);
    scale_of_amax("fp8_token", 0, 1, bits_of(4.359654e-6f));
    scale_of_amax("int8_token", 0, 1, 0);
    scale_of_amax("int8_token", 127, 1, 0x3f800000);
    scale_of_amax("mxfp4", 6.5f, 1, 127);
    scale_of_amax("mxfp4", 7, 1, 128);
    scale_of_amax("mxfp4", 0.3f, 1, 123);
    scale_of_amax("mxfp4", 0, 1, 0);
    scale_of_amax("mxfp8", 448, 1, 127);
    scale_of_amax("nvfp4", 6.5f, 1, 0x39);
    scale_of_amax("nvfp4", 6.5f, 2, 0x41);
    scale_of_amax("float8_e4m3fn/f32/1x1/dyn/amax.div448/x.div.s/bound=amax", 896, 448, 0x3f800000);
    for (i = 0; i < COUNT(floats); i++) scale_of_amax(floats[i], NAN, 1, 0x7fc00000);
    scale_of_amax("fp8_token", INFINITY, 1, bits_of(3.4028235e38f / 448));
    scale_of_amax("fp8_token", 3.4028235e38f, 1, bits_of(3.4028235e38f / 448));
    scale_of_amax("mxfp4", NAN, 1, 0xff);
    scale_of_amax("mxfp8", NAN, 1, 0xff);
    scale_of_amax("mxfp8_dynamic", NAN, 1, 0xff);
    scale_of_amax("nvfp4", NAN, 1, 0x7f);
    scale_of_amax("float8_e4m3fn/ue4m3/1x2/dyn/amax.inv448/x.div.s", NAN, 1, 0x7f);
}

static void a_static_key_is_the_same_but_for_what_makes_scales(void)
{
    int i;
    start_cpus();
    for (i = 0; i < 2000; i++) {
        vq_key k = i < VQ_KEY_COUNT ? vq_key_preset((vq_key_id)i) : random_key(),
            s = vq_key_static(k);
        int of_amax = k.code_rule == VQ_CODE_AMAX || k.code_rule == VQ_CODE_AMAX_AWAY;
        vq_key twice = vq_key_static(s);
        CHECKF(vq_key_check(&s, &why) == VQ_OK, "%s: %s", text_of(&k), why.text);
        CHECK(vq_key_equal(&s, &twice) && s.flags == (k.flags | VQ_KEY_STATIC));
        if (k.flags & VQ_KEY_STATIC) { CHECK(vq_key_equal(&s, &k)); continue; }
        CHECKF(s.code_rule == (of_amax ? VQ_CODE_DIV : k.code_rule), "%s", text_of(&k));
        CHECKF(s.elem == k.elem && s.scale_type == k.scale_type && s.code_max == k.code_max
               && s.group_rows == k.group_rows && s.group_cols == k.group_cols && s.arith == k.arith
               && s.scale2_kind == k.scale2_kind && s.nan_rule == k.nan_rule
               && s.overflow == k.overflow && s.scale_rule == VQ_SCALE_GIVEN
               && s.bound_kind == VQ_BOUND_NONE && s.floor_kind == VQ_FLOOR_NONE, "%s",
                   text_of(&k));
    }
}

/* --- histograms ------------------------------------------------------------ */

static box counts_box(int64_t bins)
{
    return box_of(strided(VQ_INT64, 1, bins, bins + t_rand() % 3, 1));
}

static int64_t count_at(const box *b, int64_t i)
{
    int64_t n;
    memcpy(&n, (uint8_t *)b->t.data + 8 * i, 8);
    return n;
}

static void set_count(const box *b, int64_t i, int64_t n)
{
    memcpy((uint8_t *)b->t.data + 8 * i, &n, 8);
}

static int tallies(const box *x, const box *counts, float limit, int running)
{
    vq_histogram_args a = VQ_ZERO;
    a.x = x->t;
    a.counts = counts->t;
    a.limit = limit;
    a.running = running;
    return runs(VQ_OP_HISTOGRAM, &a);
}

static float rounded(double v) { volatile float f = (float)v; return f; }

/* The bin of |x|; -1: none. */
static int64_t bin_of(double x, int64_t bins, float limit)
{
    double at;
    if (isnan(x)) return -1;
    if (isinf(x)) return bins - 1;
    if (x == 0) return 0;                /* also where bins / limit is infinite */
    at = floor((double)rounded(fabs(x) * (double)rounded((double)bins / (double)limit)));
    return at < (double)bins ? (int64_t)at : bins - 1;
}

static void expect_tally(int64_t *want, const box *x, int64_t bins, float limit)
{
    int64_t r, c, b;
    for (r = 0; r < x->t.shape[0]; r++)
        for (c = 0; c < x->t.shape[1]; c++) {
            b = bin_of(at(x, r, c), bins, limit);
            if (b >= 0) want[b]++;
        }
}

/* The counts are those; the bytes around them as before. */
static int tally_is(const box *counts, const int64_t *want, float limit)
{
    int64_t bins = counts->t.shape[1], i, d = (uint8_t *)counts->t.data - counts->mem;
    for (i = 0; i < bins; i++) {
        CHECKF(count_at(counts, i) == want[i], "bin %d of %d, limit %.9g: %lld, not %lld", (int)i,
               (int)bins, (double)limit, (long long)count_at(counts, i), (long long)want[i]);
        if (count_at(counts, i) != want[i]) return 0;
    }
    memcpy(counts->was + d, counts->t.data, (size_t)bins * 8);
    return untouched(counts, "counts' gaps");
}

static const float limits[] = { 1, 0.1f, 448, 6.1f, 1e-30f, 1e30f, 3.4e38f, 1e-37f, 2, 0.7f,
                                1e-44f };
static const int64_t bin_counts[] = { 1, 2, 3, 7, 100, 128, 1000, 2048, 65537 };

/* An edge of a bin and what is next to it. */
static void fill_edges(box *x, int64_t bins, float limit)
{
    int64_t r, c;
    vq_dtype t = x->t.dtype;
    for (r = 0; r < x->t.shape[0]; r++)
        for (c = 0; c < x->t.shape[1]; c++) {
            uint32_t u = t_rand(), near;
            double v = (double)(t_rand() % (uint32_t)(bins + 2)) * ((double)limit / (double)bins);
            near = v > 0 && v < largest(t) ? wide(t, v) + u % 5 - 2 : wide(t, v);
            if (near > largest_code(t)) near = 0;
            set(&x->t, r, c, u & 8 ? near | (t == VQ_F32 ? 0x80000000u : 0x8000u) : near);
        }
    settle(x);
}

static void a_histogram_counts_each_magnitude_in_its_bin(void)
{
    static const vq_key any = VQ_ZERO;
    vq_key k = any;
    int i;
    start_cpus();
    k.group_rows = 1;
    k.group_cols = 8;
    k.code_max = 1;
    for (i = 0; i < 1500; i++) {
        int64_t bins = MORE(bin_counts);
        float limit = i % 4 ? MORE(limits) : t_randf(0.001f, 50);
        box x, counts;
        int64_t *want;
        x = rows_box(MORE(wides), MORE(some_rows), i % 100 ? MORE(some_cols) : 20001);
        if (i % 40) while (bins > 1000) bins = MORE(bin_counts);
        want = (int64_t *)calloc((size_t)bins, sizeof *want);
        counts = counts_box(bins);
        if (i & 1) fill_edges(&x, bins, limit); else fill(&x, &k, KINDS);
        expect_tally(want, &x, bins, limit);
        if (tallies(&x, &counts, limit, 0)) tally_is(&counts, want, limit);
        untouched(&x, "x");
        free(want);
        drop(&x);
        drop(&counts);
    }
}

static void histograms_of_batches_add_up_in_any_order(void)
{
    static const vq_key any = VQ_ZERO;
    vq_key k = any;
    int i, n;
    start_cpus();
    k.group_rows = 1;
    k.group_cols = 8;
    k.code_max = 1;
    for (i = 0; i < 200; i++) {
        int64_t bins = 1 + t_rand() % 300, b;
        float limit = MORE(limits);
        box counts = counts_box(bins), other = counts_box(bins), x[4];
        int64_t *want = (int64_t *)calloc((size_t)bins, sizeof *want);
        for (b = 0; b < bins; b++) {                     /* past what 32 bits, and 53, can count */
            want[b] = t_rand() & 1 ? 0 : INT64_C(1) << (30 + t_rand() % 32);
            if (want[b]) want[b] -= t_rand() % 4;
            set_count(&counts, b, want[b]);
            set_count(&other, b, want[b]);
        }
        settle(&counts);
        settle(&other);
        for (n = 0; n < 4; n++) {
            x[n] = rows_box(MORE(wides), MORE(some_rows), MORE(some_cols));
            fill(&x[n], &k, KINDS);
            expect_tally(want, &x[n], bins, limit);
            tallies(&x[n], &counts, limit, 1 + n);
        }
        for (n = 3; n >= 0; n--) tallies(&x[n], &other, limit, -1);
        tally_is(&counts, want, limit);
        tally_is(&other, want, limit);
        for (n = 0; n < 4; n++) drop(&x[n]);
        drop(&counts);
        drop(&other);
        free(want);
    }
}

static void a_bin_counts_past_thirty_two_bits(void)
{
    box x = VQ_ZERO, counts;
    int64_t want[2] = { 0, 0 };
    int i;
    start_cpus();
    x = rows_box(VQ_BF16, 64, 512);
    counts = counts_box(2);
    for (i = 0; i < 64 * 512; i++) set(&x.t, i / 512, i % 512, i % 8 ? 0x3f80 : 0x3f40);
    settle(&x);
    set_count(&counts, 0, 0x7fffffff);
    set_count(&counts, 1, 0xffffffff);
    settle(&counts);
    want[0] = 0x7fffffff + INT64_C(3) * 4096;
    want[1] = INT64_C(0xffffffff) + INT64_C(3) * 7 * 4096;
    for (i = 0; i < 3; i++) tallies(&x, &counts, 1.75f, 1);         /* 0.75 and 1 */
    tally_is(&counts, want, 1.75f);
    drop(&x);
    drop(&counts);
}

static void worked_values_are_in_their_bins(void)
{
    static const struct { float x, limit; int bins, bin; } rows[] = {
        { 0, 4, 4, 0 }, { 0.99f, 4, 4, 0 }, { 1, 4, 4, 1 }, { -1, 4, 4, 1 }, { 3.999f, 4, 4, 3 },
        { 4, 4, 4, 3 }, { 5, 4, 4, 3 }, { INFINITY, 4, 4, 3 }, { -INFINITY, 4, 4, 3 },
        { 3.4e38f, 4, 4, 3 }, { -0.0f, 4, 4, 0 }, { NAN, 4, 4, -1 }, { 1e-45f, 1, 2048, 0 },
        { 2.9999998f, 4, 4, 2 }, { 7, 7, 1, 0 }, { 1e30f, 1, 1, 0 },
        { 1e-45f, 1e-45f, 1, 0 }, { 1.5e-38f, 2e-38f, 2, 1 }, { 0, 1e-45f, 8, 0 }, { 1e-45f,
            1e-45f, 8, 7 }, { 0.9999999f, 2, 2, 0 },
    };
    int i, b;
    start_cpus();
    for (i = 0; i < COUNT(rows); i++) {
        box x = rows_box(VQ_F32, 1, 1), counts = counts_box(rows[i].bins);
        set(&x.t, 0, 0, bits_of(rows[i].x));
        tallies(&x, &counts, rows[i].limit, 0);
        for (b = 0; b < rows[i].bins; b++)
            CHECKF(count_at(&counts, b) == (b == rows[i].bin), "%g: %lld in bin %d",
                   (double)rows[i].x,
                   (long long)count_at(&counts, b), b);
        drop(&x);
        drop(&counts);
    }
}

/* The upper edge of the first bin at which so many have been counted. */
static float edge_of(const int64_t *counts, int64_t bins, float limit, float percent)
{
    long double all = 0, seen = 0;
    int64_t b;
    for (b = 0; b < bins; b++) all += (long double)counts[b];
    if (all == 0) return 0;
    for (b = 0; b < bins; b++) {
        seen += (long double)counts[b];
        if (seen >= 1 && seen * 100 >= (long double)percent * all) break;
    }
    return rounded((double)rounded((double)(b + 1))
                   * (double)rounded((double)limit / (double)bins));
}

static const float percents[] = { 50, 99.9f, 100, 1, 99, 99.99f, 1e-30f, 1e-45f, 33.3333f,
                                  66.66667f,
                                  25, 75, 12.5f, 99.99999f, 0.1f, 90, 10 };

static void a_percentile_of_a_histogram_is_the_edge_of_its_bin(void)
{
    static const int64_t one[] = { 1 }, none[] = { 0, 0, 0 }, gap[] = { 0, 5, 0, 0, 5, 0 };
    static const int64_t four[] = { 1, 1, 1, 1 };
    int i, j;
    start_cpus();
    CHECK(bits_of(vq_histogram_percentile(none, 3, 7, 50)) == 0);
    CHECK(bits_of(vq_histogram_percentile(none, 3, 7, 100)) == 0);
    CHECK(vq_histogram_percentile(one, 1, 7, 1e-30f) == 7);
    CHECK(vq_histogram_percentile(one, 1, 7, 100) == 7);
    CHECK(vq_histogram_percentile(gap, 6, 12, 50) == 4);
    CHECK(vq_histogram_percentile(gap, 6, 12, 50.000004f) == 10);
    CHECK(vq_histogram_percentile(gap, 6, 12, 100) == 10);
    CHECK(vq_histogram_percentile(gap, 6, 12, 1e-45f) == 4);
    for (i = 0; i < 4; i++)
        CHECK(vq_histogram_percentile(four, 4, 4, 25.0f * (float)(i + 1)) == (float)(i + 1));
    for (i = 0; i < 4000; i++) {
        int64_t counts[300], bins = 1 + t_rand() % 300;
        float limit = t_rand() & 1 ? MORE(limits) : t_randf(0.001f, 50), percent, found, want;
        int large = t_rand() % 4 == 0;
        for (j = 0; j < bins; j++)
            counts[j] = t_rand() % 3 == 0 ? 0 : large ? (int64_t)t_rand() : (int64_t)(t_rand() % 9);
        percent = t_rand() & 1 ? MORE(percents) : t_randf(0.001f, 100);
        found = vq_histogram_percentile(counts, bins, limit, percent);
        want = edge_of(counts, bins, limit, percent);
        CHECKF(bits_of(found) == bits_of(want), "%.9g %% of %d bins to %.9g: %.9g, not %.9g",
               (double)percent, (int)bins, (double)limit, (double)found, (double)want);
    }
}

/* --- percentiles ----------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* The first of the sorted magnitudes at which so many have been passed. */
static double sorted_percentile(const box *x, const vq_key *k, int64_t g, int64_t h, float percent,
                                int *nan)
{
    int64_t rows = x->t.shape[0], cols = x->t.shape[1], r, c, n = 0, i;
    int64_t R = size_in(rows, k->group_rows), C = size_in(cols, k->group_cols);
    double *list = (double *)malloc((size_t)(rows * cols) * sizeof *list), v;
    *nan = 0;
    for (r = g * R; r < (g + 1) * R && r < rows; r++)
        for (c = h * C; c < (h + 1) * C && c < cols; c++) {
            v = fabs(at(x, r, c));
            if (isnan(v)) *nan = 1;
            else list[n++] = isinf(v) ? largest(x->t.dtype) : v;
        }
    qsort(list, (size_t)n, sizeof *list, by_size);
    for (i = 0; i < n - 1
         && (long double)(i + 1) * 100 < (long double)percent * (long double)n; i++) {}
    v = n ? list[i] : 0;
    free(list);
    return v;
}

static int take_percentile(const vq_key *k, const box *x, const box *amax, float percent)
{
    vq_percentile_args a = VQ_ZERO;
    a.key = *k;
    a.x = x->t;
    a.amax = amax->t;
    a.percent = percent;
    return runs(VQ_OP_PERCENTILE, &a);
}

static void percentile_is_right(const vq_key *k, vq_dtype t, int64_t rows, int64_t cols, int kind,
                                float percent)
{
    int64_t gr = count_in(rows, k->group_rows), gc = count_in(cols, k->group_cols), g, h;
    box x = rows_box(t, rows, cols), amax = stats_box(gr, gc);
    fill(&x, k, kind);
    if (t_rand() % 4 == 0)                               /* many alike */
        for (g = 0; g < rows; g++)
            for (h = 0; h < cols; h++) set(&x.t, g, h, wide(t, (double)(t_rand() % 5) - 2));
    settle(&x);
    if (take_percentile(k, &x, &amax, percent)) {
        for (g = 0; g < gr; g++)
            for (h = 0; h < gc; h++) {
                int nan;
                double want = sorted_percentile(&x, k, g, h, percent, &nan);
                if (!is_exactly("percentile", get(&amax.t, g, h), want, nan && lacks_nan(k->elem),
                                k, t))
                    CHECKF(0, "%.9g %%, %dx%d, kind %d", (double)percent, (int)rows, (int)cols,
                           kind);
            }
        gaps_kept(&amax, "amax's gaps");
        untouched(&x, "x");
    }
    drop(&x);
    drop(&amax);
}

static void a_percentile_is_that_of_the_sorted_magnitudes(void)
{
    int id, i;
    start_cpus();
    for (id = 0; id < VQ_KEY_COUNT; id++)
        for (i = 0; i < KINDS; i++) {
            vq_key k = vq_key_preset((vq_key_id)id);
            percentile_is_right(&k, MORE(wides), whole(&k, k.group_rows, MORE(some_rows)),
                                whole(&k, k.group_cols, MORE(some_cols)), i, MORE(percents));
        }
    for (i = 0; i < 4000; i++) {
        vq_key k = random_key();
        percentile_is_right(&k, MORE(wides), whole(&k, k.group_rows, MORE(some_rows)),
                            whole(&k, k.group_cols, MORE(some_cols)), KINDS,
                            t_rand() & 1 ? MORE(percents) : t_randf(0.001f, 100));
    }
}

/* Every share k / n of groups of n, and the floats next to it. */
static void every_edge_of_a_percentile_is_met(void)
{
    int n, i, step;
    start_cpus();
    for (n = 1; n <= 40; n++)
        for (i = 0; i <= n; i++)
            for (step = -1; step <= 1; step++) {
                vq_key k = key_of("int8_token");
                uint32_t edge = bits_of((float)(100.0 * i / n));
                float percent = float_of(edge + (uint32_t)(i ? step : 1));
                if (percent <= 100) percentile_is_right(&k, MORE(wides), 1, n, PLAIN, percent);
            }
    for (n = 25; n <= 100; n += 25)                      /* percent / 100 * n is another number */
        for (i = 1; i <= 100; i++) {
            vq_key k = key_of("int8_token");
            percentile_is_right(&k, VQ_F32, 1, n, PLAIN, (float)i);
        }
    for (i = 0; i < 30; i++) {
        vq_key k = key_of(i & 1 ? "fp8_tensor" : "fp8_token");
        percentile_is_right(&k, MORE(wides), 1 + i % 3, 9000 + i, i % 3 ? PLAIN : KINDS,
                            MORE(percents));
    }
}

static void a_percentile_of_100_is_the_amax(void)
{
    int i;
    start_cpus();
    for (i = 0; i < 1500; i++) {
        vq_key k = i < VQ_KEY_COUNT ? vq_key_preset((vq_key_id)i) : random_key();
        int64_t rows = whole(&k, k.group_rows, MORE(some_rows));
        int64_t cols = whole(&k, k.group_cols, MORE(some_cols));
        box x = rows_box(MORE(wides), rows, cols);
        box a = stats_box(count_in(rows, k.group_rows), count_in(cols, k.group_cols)),
            b = copy_of(&a);
        fill(&x, &k, KINDS);
        if (take_amax(&k, &x, &a, 0) && take_percentile(&k, &x, &b, 100))
            alike(&a, &b, "percentile", &k, KINDS);
        drop(&x);
        drop(&a);
        drop(&b);
    }
}

/* --- the rest of the contract ---------------------------------------------- */

static void an_extent_of_zero_writes_nothing(void)
{
    static const int shapes[][2] = { { 0, 1 }, { 5, 0 }, { 0, 0 }, { 0, 128 } };
    int i, n, running;
    start_cpus();
    for (i = 0; i < VQ_KEY_COUNT; i++)
        for (n = 0; n < COUNT(shapes); n++)
            for (running = 0; running < 2; running++) {
                vq_key k = vq_key_preset((vq_key_id)i);
                int64_t rows = whole(&k, k.group_rows, shapes[n][0]), cols = shapes[n][1], gr, gc;
                box x, amax, lo, hi, counts;
                cols = whole(&k, k.group_cols, cols);
                gr = count_in(rows, k.group_rows);
                gc = count_in(cols, k.group_cols);
                x = rows_box(MORE(wides), rows, cols);
                amax = stats_box(gr ? gr : 1, gc ? gc : 1);
                amax.t.shape[0] = gr;
                amax.t.shape[1] = gc;
                lo = copy_of(&amax);
                hi = copy_of(&amax);
                take_amax(&k, &x, &amax, running);
                take_minmax(&k, &x, &lo, &hi, running);
                take_percentile(&k, &x, &amax, 50);
                if (!(k.flags & VQ_KEY_STATIC) && (gr == 0 || gc == 0)) {
                    box scale = scales_box(k.scale_type, gr ? gr : 1, gc ? gc : 1),
                        g2 = scalar_box(1);
                    box zero = scales_box(k.elem, gr ? gr : 1, gc ? gc : 1);
                    scale.t.shape[0] = zero.t.shape[0] = gr;
                    scale.t.shape[1] = zero.t.shape[1] = gc;
                    if (scale.t.layout == VQ_STRIDED && zero.t.layout == VQ_STRIDED)
                        calibrates(&k, &amax, &lo, &hi, &g2, &g2, &scale, &zero);
                    untouched(&scale, "scale");
                    untouched(&zero, "zero");
                    drop(&scale);
                    drop(&zero);
                    drop(&g2);
                }
                counts = counts_box(9);
                tallies(&x, &counts, 3, running);
                untouched(&counts, "counts");
                untouched(&x, "x");
                untouched(&amax, "amax");
                untouched(&lo, "lo");
                untouched(&hi, "hi");
                drop(&counts);
                drop(&x);
                drop(&amax);
                drop(&lo);
                drop(&hi);
            }
}

static void fields_are(vq_op op, const vq_field *want, int n)
{
    int count = -1, i;
    const vq_field *f = vq_op_fields(op, &count);
    CHECKF(f && count == n, "%s has %d", vq_op_str(op), count);
    for (i = 0; f && i < count && i < n; i++)
        CHECKF(!strcmp(f[i].name, want[i].name) && f[i].kind == want[i].kind && !f[i].twin
               && f[i].offset == want[i].offset, "%s: %s, kind %d, at %d", vq_op_str(op), f[i].name,
               (int)f[i].kind, (int)f[i].offset);
}

#define FIELD(op, kind, member) { #member, NULL, VQ_FIELD_##kind, offsetof(vq_##op##_args, member) }

static void the_fields_of_an_op_are_those_of_its_args(void)
{
    static const vq_field amax[] = { FIELD(amax, KEY, key), FIELD(amax, IN, x),
        FIELD(amax, INOUT, amax), FIELD(amax, INT, running) };
    static const vq_field minmax[] = { FIELD(minmax, KEY, key), FIELD(minmax, IN, x),
        FIELD(minmax, INOUT, lo), FIELD(minmax, INOUT, hi), FIELD(minmax, INT, running) };
    static const vq_field histogram[] = { FIELD(histogram, IN, x), FIELD(histogram, INOUT, counts),
        FIELD(histogram, FLOAT, limit), FIELD(histogram, INT, running) };
    static const vq_field percentile[] = { FIELD(percentile, KEY, key), FIELD(percentile, IN, x),
        FIELD(percentile, OUT, amax), FIELD(percentile, FLOAT, percent) };
    static const vq_field calibrate[] = { FIELD(calibrate, KEY, key), FIELD(calibrate, IN, amax),
        FIELD(calibrate, IN, lo), FIELD(calibrate, IN, hi), FIELD(calibrate, IN, bound),
        FIELD(calibrate, IN, scale2), FIELD(calibrate, OUT, scale), FIELD(calibrate, OUT, zero) };
    int n = 77;
    start_cpus();
    fields_are(VQ_OP_AMAX, amax, COUNT(amax));
    fields_are(VQ_OP_MINMAX, minmax, COUNT(minmax));
    fields_are(VQ_OP_HISTOGRAM, histogram, COUNT(histogram));
    fields_are(VQ_OP_PERCENTILE, percentile, COUNT(percentile));
    fields_are(VQ_OP_CALIBRATE, calibrate, COUNT(calibrate));
    CHECK(!vq_op_fields((vq_op)99, &n) && n == 0);
    n = 77;
    CHECK(!vq_op_fields(VQ_OP_NONE, &n) && n == 0);
}

/* --- bad input ------------------------------------------------------------- */

enum { ROOM = 8192 };
static uint8_t room[6 * ROOM], before[6 * ROOM];
#define SPOT(i) (room + (i) * ROOM + 1024)

typedef union {
    vq_call            call;
    vq_amax_args       amax;
    vq_minmax_args     minmax;
    vq_histogram_args  histogram;
    vq_percentile_args percentile;
    vq_calibrate_args  calibrate;
} any_args;

static any_args good_args(vq_op op)                      /* x is 4x300, groups of 1x128 */
{
    vq_key k = vq_key_preset(VQ_KEY_FP8_GROUP128);
    vq_tensor x = vq_tensor_2d(SPOT(0), VQ_BF16, 4, 300, VQ_HOST), s[3];
    any_args a;
    int i;
    memset(&a, 0, sizeof a);
    for (i = 0; i < 3; i++) s[i] = vq_tensor_2d(SPOT(1 + i), VQ_F32, 4, 3, VQ_HOST);
    switch (op) {
    case VQ_OP_AMAX:
        a.amax.key = k;
        a.amax.x = x;
        a.amax.amax = s[0];
        break;
    case VQ_OP_MINMAX:
        a.minmax.key = k;
        a.minmax.x = x;
        a.minmax.lo = s[0];
        a.minmax.hi = s[1];
        break;
    case VQ_OP_HISTOGRAM:
        a.histogram.x = x;
        a.histogram.counts = vq_tensor_2d(SPOT(1), VQ_INT64, 1, 100, VQ_HOST);
        a.histogram.limit = 8;
        break;
    case VQ_OP_PERCENTILE:
        a.percentile.key = k;
        a.percentile.x = x;
        a.percentile.amax = s[0];
        a.percentile.percent = 99;
        break;
    default:
        a.calibrate.key = k;
        a.calibrate.amax = s[0];
        a.calibrate.scale = s[1];
    }
    return a;
}

static any_args good_asym(void)
{
    any_args a;
    memset(&a, 0, sizeof a);
    a.calibrate.key = key_of("int8/f32/1x64/dyn/range.div255/x.div.s/asym");
    a.calibrate.lo = vq_tensor_2d(SPOT(1), VQ_F32, 4, 3, VQ_HOST);
    a.calibrate.hi = vq_tensor_2d(SPOT(2), VQ_F32, 4, 3, VQ_HOST);
    a.calibrate.scale = vq_tensor_2d(SPOT(3), VQ_F32, 4, 3, VQ_HOST);
    a.calibrate.zero = vq_tensor_2d(SPOT(4), VQ_INT8, 4, 3, VQ_HOST);
    return a;
}

/* planned: to be seen without looking at a pointer. name: of the other argument, or "". */
static void refused(vq_op op, any_args a, int planned, vq_guard guard, const char *arg,
                    int64_t found,
                    int64_t needed, const char *name, const char *edit)
{
    vq_report r;
    vq_choice choice;
    vq_status s;
    int n = 0;
    memset(&r, 0x5a, sizeof r);
    a.call.report = &r;
    s = call_on(cpus[0], op, &a);
    CHECKF(s == VQ_BAD_ARG && r.status == s && r.guard == guard && r.arg && !strcmp(r.arg, arg)
           && r.op && !strcmp(r.op, vq_op_str(op)) && r.found == found && r.needed == needed
           && !strcmp(r.name, name) && strstr(r.text, arg),
               "%s, %s: %s, found %lld, needed %lld: %s",
           vq_op_str(op), edit, vq_guard_str(r.guard), (long long)r.found, (long long)r.needed,
               r.text);
    CHECKF(!memcmp(room, before, sizeof room), "%s, %s: written", vq_op_str(op), edit);
    memcpy(room, before, sizeof room);
    s = vq_plan(cpus[0], op, &a, &choice);
    CHECKF(s == (planned ? VQ_BAD_ARG : VQ_OK), "%s, %s: planned", vq_op_str(op), edit);
    if (planned) CHECK(vq_explain(cpus[0], op, &a, NULL, 0, &n) == VQ_BAD_ARG && n == 0);
    a.call.report = NULL;
    CHECK(call_on(cpus[0], op, &a) == VQ_BAD_ARG);
    CHECK(!memcmp(room, before, sizeof room));
}

#define BAD(op, of, edit, guard, arg, found, needed) do { \
    any_args a = of; \
    edit; \
    refused(VQ_OP_##op, a, 1, VQ_GUARD_##guard, arg, found, needed, "", #edit); } while (0)
#define BAD_DATA(op, of, edit, guard, arg, name) do { \
    any_args a = of; \
    edit; \
    refused(VQ_OP_##op, a, 0, VQ_GUARD_##guard, arg, 0, 0, name, #edit); } while (0)

static void start_room(void)
{
    size_t i;
    start_cpus();
    for (i = 0; i < sizeof room; i++) room[i] = (uint8_t)(t_rand() >> 24);
    memcpy(before, room, sizeof room);
}

#define IS(t)  (1 << (t))
#define WIDES  (IS(VQ_F32) | IS(VQ_F16) | IS(VQ_BF16))
#define ANY    (IS(VQ_DTYPE_COUNT) - 2)
#define GOOD(OP) good_args(VQ_OP_##OP)

/* x of every op that has one. */
#define BAD_X(OP, op) do { \
    BAD(OP, GOOD(OP), memset(&a.op.x, 0, sizeof a.op.x), PRESENT, "x", 0, 0); \
    BAD(OP, GOOD(OP), a.op.x.dtype = VQ_E4M3FN, TYPE, "x", VQ_E4M3FN, WIDES); \
    BAD(OP, GOOD(OP), a.op.x.dtype = VQ_INT32, TYPE, "x", VQ_INT32, WIDES); \
    BAD(OP, GOOD(OP), a.op.x.dtype = (vq_dtype)99, TYPE, "x", 99, ANY); \
    BAD(OP, GOOD(OP), a.op.x.rank = 1, RANK, "x", 1, 2); \
    BAD(OP, GOOD(OP), a.op.x.rank = 3; a.op.x.shape[2] = a.op.x.stride[2] = 1, RANK, "x", 3, 2); \
    BAD(OP, GOOD(OP), a.op.x.rank = 5, RANK, "x", 5, 4); \
    BAD(OP, GOOD(OP), a.op.x.shape[0] = -1, SIZE, "x", -1, 0); \
    BAD(OP, GOOD(OP), a.op.x.stride[1] = 2; a.op.x.stride[0] = 600, STRIDE, "x", 2, 1); \
    BAD(OP, GOOD(OP), a.op.x.stride[0] = 299, STRIDE, "x", 299, 300); \
    BAD(OP, GOOD(OP), a.op.x.stride[0] = 0, STRIDE, "x", 0, 1); \
    BAD(OP, GOOD(OP), a.op.x.where = (vq_where)7, VALUE, "x", 7, VQ_HOST); \
    BAD(OP, GOOD(OP), a.op.x.layout = VQ_SWIZZLE_8X4, LAYOUT, "x", VQ_SWIZZLE_8X4, \
        IS(VQ_STRIDED)); \
    BAD_DATA(OP, GOOD(OP), a.op.x.data = NULL, PRESENT, "x", ""); } while (0)

/* A statistic: f32, one for each group. */
#define BAD_STAT(OP, op, s) do { \
    BAD(OP, GOOD(OP), memset(&a.op.s, 0, sizeof a.op.s), PRESENT, #s, 0, 0); \
    BAD(OP, GOOD(OP), a.op.s.dtype = VQ_BF16, TYPE, #s, VQ_BF16, IS(VQ_F32)); \
    BAD(OP, GOOD(OP), a.op.s.dtype = VQ_INT32, TYPE, #s, VQ_INT32, IS(VQ_F32)); \
    BAD(OP, GOOD(OP), a.op.s.rank = 1, RANK, #s, 1, 2); \
    BAD(OP, GOOD(OP), a.op.s.shape[0] = 3, SHAPE, #s, 3, 4); \
    BAD(OP, GOOD(OP), a.op.s.shape[1] = 2, SHAPE, #s, 2, 3); \
    BAD(OP, GOOD(OP), a.op.s.shape[1] = 4; a.op.s.stride[0] = 4, SHAPE, #s, 4, 3); \
    BAD(OP, GOOD(OP), a.op.s.stride[1] = 0, STRIDE, #s, 0, 1); \
    BAD(OP, GOOD(OP), a.op.s.layout = VQ_SWIZZLE_8X4, LAYOUT, #s, VQ_SWIZZLE_8X4, IS(VQ_STRIDED)); \
    BAD_DATA(OP, GOOD(OP), a.op.s.data = NULL, PRESENT, #s, ""); } while (0)

#define BAD_KEY(OP, op) do { \
    BAD(OP, GOOD(OP), a.op.key.elem = VQ_NONE, KEY, "key.elem", 0, \
        ANY & ~(WIDES | IS(VQ_E8M0) | IS(VQ_UE4M3) | IS(VQ_INT32) | IS(VQ_INT64))); \
    BAD(OP, GOOD(OP), a.op.key.group_cols = 0, KEY, "key.group_cols", 0, 1); \
    BAD(OP, GOOD(OP), a.op.key.group_rows = -2, KEY, "key.group_rows", -2, 1); \
    BAD(OP, GOOD(OP), a.op.key.reserved = 1, KEY, "key.reserved", 1, 0); } while (0)

static void bad_arguments_of_statistics_are_named(void)
{
    start_room();
    BAD_X(AMAX, amax);
    BAD_X(MINMAX, minmax);
    BAD_X(HISTOGRAM, histogram);
    BAD_X(PERCENTILE, percentile);
    BAD_KEY(AMAX, amax);
    BAD_KEY(MINMAX, minmax);
    BAD_KEY(PERCENTILE, percentile);
    BAD_KEY(CALIBRATE, calibrate);
    BAD_STAT(AMAX, amax, amax);
    BAD_STAT(MINMAX, minmax, lo);
    BAD_STAT(MINMAX, minmax, hi);
    BAD_STAT(PERCENTILE, percentile, amax);
    BAD(AMAX, GOOD(AMAX), a.amax.amax.stride[0] = 2, STRIDE, "amax", 2, 3);
    BAD(MINMAX, GOOD(MINMAX), a.minmax.hi.stride[0] = 2, STRIDE, "hi", 2, 3);
    BAD(PERCENTILE, GOOD(PERCENTILE), a.percentile.amax.stride[0] = 2, STRIDE, "amax", 2, 3);
    BAD(AMAX, GOOD(AMAX), a.amax.key.flags = VQ_KEY_NO_TAIL, SHAPE, "x", 300, 384);
    BAD(MINMAX, GOOD(MINMAX), a.minmax.key.flags = VQ_KEY_NO_TAIL, SHAPE, "x", 300, 384);
    BAD(PERCENTILE, GOOD(PERCENTILE), a.percentile.key.flags = VQ_KEY_NO_TAIL, SHAPE, "x", 300,
        384);
    BAD_DATA(AMAX, GOOD(AMAX), a.amax.amax.data = a.amax.x.data, OVERLAP, "amax", "x");
    BAD_DATA(MINMAX, GOOD(MINMAX), a.minmax.hi.data = a.minmax.lo.data, OVERLAP, "hi", "lo");
    BAD_DATA(MINMAX, GOOD(MINMAX), a.minmax.lo.data = SPOT(0) + 2396, OVERLAP, "lo", "x");
    BAD_DATA(HISTOGRAM, GOOD(HISTOGRAM), a.histogram.counts.data = SPOT(0) - 792, OVERLAP, "counts",
             "x");
    BAD_DATA(PERCENTILE, GOOD(PERCENTILE), a.percentile.amax.data = SPOT(0) + 8, OVERLAP, "amax",
             "x");
}

static void bad_numbers_and_counts_are_named(void)
{
    static const float no_limits[] = { 0, -0.0f, -1, INFINITY, -INFINITY, NAN, -1e-45f };
    static const float no_percents[] = { 0, -0.0f, -1, INFINITY, NAN, 100.00001f, 101, -50 };
    static const float limits_that_do[] = { 1e-45f, 3.4028235e38f, 1 };
    static const float percents_that_do[] = { 1e-45f, 100, 99.99999f };
    int i;
    start_room();
    for (i = 0; i < COUNT(no_limits); i++) {
        any_args a = GOOD(HISTOGRAM);
        a.histogram.limit = no_limits[i];
        refused(VQ_OP_HISTOGRAM, a, 1, VQ_GUARD_VALUE, "limit", bits_of(no_limits[i]), bits_of(1),
                "",
                "limit");
    }
    for (i = 0; i < COUNT(no_percents); i++) {
        any_args a = GOOD(PERCENTILE);
        a.percentile.percent = no_percents[i];
        refused(VQ_OP_PERCENTILE, a, 1, VQ_GUARD_VALUE, "percent", bits_of(no_percents[i]),
                bits_of(100),
                "", "percent");
    }
    BAD(HISTOGRAM, GOOD(HISTOGRAM), a.histogram.counts.dtype = VQ_INT32, TYPE, "counts", VQ_INT32,
        IS(VQ_INT64));
    BAD(HISTOGRAM, GOOD(HISTOGRAM), a.histogram.counts.dtype = VQ_F32, TYPE, "counts", VQ_F32,
        IS(VQ_INT64));
    BAD(HISTOGRAM, GOOD(HISTOGRAM), a.histogram.counts.rank = 1, RANK, "counts", 1, 2);
    BAD(HISTOGRAM, GOOD(HISTOGRAM), a.histogram.counts.rank = 0, PRESENT, "counts", 0, 0);
    BAD(HISTOGRAM, GOOD(HISTOGRAM), a.histogram.counts.shape[0] = 2, SHAPE, "counts", 2, 1);
    BAD(HISTOGRAM, GOOD(HISTOGRAM), a.histogram.counts.shape[0] = 0, SHAPE, "counts", 0, 1);
    BAD(HISTOGRAM, GOOD(HISTOGRAM), a.histogram.counts.shape[1] = 0, SHAPE, "counts", 0, 1);
    BAD(HISTOGRAM, GOOD(HISTOGRAM),
        a.histogram.counts.stride[1] = 2; a.histogram.counts.stride[0] = 200,
        STRIDE, "counts", 2, 1);
    BAD_DATA(HISTOGRAM, GOOD(HISTOGRAM), a.histogram.counts.data = NULL, PRESENT, "counts", "");
    for (i = 0; i < 3; i++) {
        any_args a = GOOD(HISTOGRAM), b = GOOD(PERCENTILE);
        a.histogram.limit = limits_that_do[i];
        b.percentile.percent = percents_that_do[i];
        CHECK(runs(VQ_OP_HISTOGRAM, &a) && runs(VQ_OP_PERCENTILE, &b));
    }
}

static void bad_arguments_of_calibration_are_named(void)
{
    const vq_tensor one = vq_tensor_2d(SPOT(5), VQ_F32, 1, 1, VQ_HOST);
    start_room();
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.amax.rank = 0, PRESENT, "amax", 0, 0);
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.amax.dtype = VQ_F16, TYPE, "amax", VQ_F16,
        IS(VQ_F32));
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.amax.rank = 1, RANK, "amax", 1, 2);
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.amax.layout = VQ_SWIZZLE_8X4, LAYOUT, "amax",
        VQ_SWIZZLE_8X4, IS(VQ_STRIDED));
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.scale.rank = 0, PRESENT, "scale", 0, 0);
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.scale.dtype = VQ_BF16, TYPE, "scale", VQ_BF16,
        IS(VQ_F32));
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.scale.shape[1] = 2, SHAPE, "scale", 2, 3);
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.scale.shape[0] = 5, SHAPE, "scale", 5, 4);
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.scale.stride[0] = 2, STRIDE, "scale", 2, 3);
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.lo = a.calibrate.amax, UNUSED, "lo", 0, 0);
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.hi = a.calibrate.amax, UNUSED, "hi", 0, 0);
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.zero = a.calibrate.amax, UNUSED, "zero", 0, 0);
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.bound = one, UNUSED, "bound", 0, 0);
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.scale2 = one, UNUSED, "scale2", 0, 0);
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.key.bound_kind = VQ_BOUND_AMAX, PRESENT, "bound",
        0, 0);
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.key.scale2_kind = VQ_SCALE2_DIV, PRESENT, "scale2",
        0, 0);
    BAD(CALIBRATE, GOOD(CALIBRATE),
        a.calibrate.key.bound_kind = VQ_BOUND_AMAX; a.calibrate.bound = one;
        a.calibrate.bound.dtype = VQ_BF16, TYPE, "bound", VQ_BF16, IS(VQ_F32));
    BAD(CALIBRATE, GOOD(CALIBRATE),
        a.calibrate.key.scale2_kind = VQ_SCALE2_MUL; a.calibrate.scale2 = one;
        a.calibrate.scale2.shape[1] = 2, SHAPE, "scale2", 2, 1);
    BAD_DATA(CALIBRATE, GOOD(CALIBRATE), a.calibrate.scale.data = a.calibrate.amax.data, OVERLAP,
             "scale", "amax");
    BAD_DATA(CALIBRATE, GOOD(CALIBRATE), a.calibrate.scale.data = NULL, PRESENT, "scale", "");
    BAD_DATA(CALIBRATE, GOOD(CALIBRATE), a.calibrate.amax.data = NULL, PRESENT, "amax", "");
    BAD(CALIBRATE, good_asym(), a.calibrate.amax = a.calibrate.lo, UNUSED, "amax", 0, 0);
    BAD(CALIBRATE, good_asym(), a.calibrate.lo.rank = 0, PRESENT, "lo", 0, 0);
    BAD(CALIBRATE, good_asym(), a.calibrate.hi.rank = 0, PRESENT, "hi", 0, 0);
    BAD(CALIBRATE, good_asym(), a.calibrate.zero.rank = 0, PRESENT, "zero", 0, 0);
    BAD(CALIBRATE, good_asym(), a.calibrate.zero.dtype = VQ_UINT8, TYPE, "zero", VQ_UINT8,
        IS(VQ_INT8));
    BAD(CALIBRATE, good_asym(), a.calibrate.hi.shape[0] = 3, SHAPE, "hi", 3, 4);
    BAD(CALIBRATE, good_asym(), a.calibrate.zero.shape[1] = 1, SHAPE, "zero", 1, 3);
    BAD(CALIBRATE, good_asym(), a.calibrate.zero.stride[0] = 2, STRIDE, "zero", 2, 3);
    BAD(CALIBRATE, good_asym(), a.calibrate.hi.layout = VQ_SWIZZLE_8X4, LAYOUT, "hi",
        VQ_SWIZZLE_8X4,
        IS(VQ_STRIDED));
    BAD_DATA(CALIBRATE, good_asym(), a.calibrate.zero.data = SPOT(3) + 47, OVERLAP, "zero",
             "scale");
    BAD_DATA(CALIBRATE, good_asym(), a.calibrate.scale.data = SPOT(2) - 4, OVERLAP, "scale", "hi");
    BAD_DATA(CALIBRATE, good_asym(), a.calibrate.hi.data = NULL, PRESENT, "hi", "");
    BAD(CALIBRATE, GOOD(CALIBRATE), a.calibrate.key = vq_key_static(a.calibrate.key), KEY,
        "key.flags",
        VQ_KEY_STATIC, 0);
}

static void the_same_inputs_in_one_place_are_no_overlap(void)
{
    any_args a;
    start_room();
    a = good_asym();
    a.calibrate.hi.data = a.calibrate.lo.data;
    CHECK(runs(VQ_OP_CALIBRATE, &a));
}

static void no_args_and_no_context_are_refused(void)
{
    static const vq_op ops[] = { VQ_OP_AMAX, VQ_OP_MINMAX, VQ_OP_HISTOGRAM, VQ_OP_PERCENTILE,
                                 VQ_OP_CALIBRATE };
    int i;
    start_room();
    for (i = 0; i < COUNT(ops); i++) {
        any_args a = good_args(ops[i]);
        CHECK(call_on(cpus[0], ops[i], NULL) == VQ_BAD_ARG);
        CHECK(call_on(NULL, ops[i], &a) == VQ_BAD_ARG);
        CHECK(!memcmp(room, before, sizeof room));
    }
}

VQ_TEST_MAIN(
    T(amax_and_minmax_are_those_of_each_group),
    T(wide_and_tall_matrices_have_the_statistics_of_small_ones),
    T(nan_infinity_and_minus_zero_are_as_said),
    T(running_over_batches_is_one_call_on_all),
    T(running_takes_what_it_finds),
    T(static_after_calibration_is_dynamic_under_every_preset),
    T(static_after_calibration_is_dynamic_under_other_keys),
    T(wide_and_tall_matrices_calibrate),
    T(a_range_without_zero_is_stretched_to_it),
    T(a_range_with_a_nan_makes_the_scale_nan),
    T(worked_amaxes_have_their_scales),
    T(a_static_key_is_the_same_but_for_what_makes_scales),
    T(a_histogram_counts_each_magnitude_in_its_bin),
    T(histograms_of_batches_add_up_in_any_order),
    T(a_bin_counts_past_thirty_two_bits),
    T(worked_values_are_in_their_bins),
    T(a_percentile_of_a_histogram_is_the_edge_of_its_bin),
    T(a_percentile_is_that_of_the_sorted_magnitudes),
    T(every_edge_of_a_percentile_is_met),
    T(a_percentile_of_100_is_the_amax),
    T(an_extent_of_zero_writes_nothing),
    T(the_fields_of_an_op_are_those_of_its_args),
    T(bad_arguments_of_statistics_are_named),
    T(bad_numbers_and_counts_are_named),
    T(bad_arguments_of_calibration_are_named),
    T(the_same_inputs_in_one_place_are_no_overlap),
    T(no_args_and_no_context_are_refused)
)
