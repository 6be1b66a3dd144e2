/* test_requant.c - vq_requant is vq_dequant to f32 and vq_quant after it, and counts what changed

   Both ways start from the same bytes, gaps and surroundings among them, and have to end as the
   same bytes. The numbers of the result are computed again from the values that vq_dequant() gives
   of both: sums and products in double, one rounding each. */
#include <fenv.h>
#include <math.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"
#include "boxes.h"
#include "cpus.h"

/* --- tensors in memory ----------------------------------------------------- */

static box rows_box(vq_dtype t, int64_t rows, int64_t cols)      /* rows apart, or not */
{
    vq_tensor v = vq_tensor_2d(NULL, t, rows, cols, VQ_HOST);
    if (t_rand() & 1) v.stride[0] += t_rand() % 7;
    return box_of(v);
}

static box scales_box(vq_dtype t, int64_t g, int64_t h)          /* any order that holds t */
{
    unsigned o = t_rand() % (vq_dtype_bits(t) == 8 ? VQ_ORDER_COUNT : VQ_WORDS_UE8M0);
    if (vq_dtype_bits(t) < 8) return rows_box(t, g, h);
    if (o == VQ_WORDS_UE8M0 && t != VQ_E8M0) o = VQ_TILES_128X4;
    return box_of(vq_tensor_ordered(t, g, h, (vq_order)o, NULL, VQ_HOST));
}

/* Where code (r, c) lies: its byte, and from which bit on. */
static uint8_t *place(const vq_tensor *t, int64_t r, int64_t c, int *bit)
{
    int64_t bits = vq_dtype_bits(t->dtype);
    *bit = bits < 8 ? (int)(c * bits % 8) : 0;
    if (bits < 8) return (uint8_t *)t->data + r * t->stride[0] + c * bits / 8;
    return (uint8_t *)t->data
         + vq_layout_index(t->layout, t->stride[0], t->stride[1], r, c) * (bits / 8);
}

static uint32_t get(const vq_tensor *t, int64_t r, int64_t c)
{
    int bits = vq_dtype_bits(t->dtype), bit, i;
    const uint8_t *p = place(t, r, c, &bit);
    uint32_t u = 0;
    uint16_t h;
    if (bits == 32) { memcpy(&u, p, 4); return u; }
    if (bits == 16) { memcpy(&h, p, 2); return h; }
    for (i = 0; i < bits; i++) u |= (uint32_t)(p[(bit + i) / 8] >> (bit + i) % 8 & 1) << i;
    return u;
}

static void set(const vq_tensor *t, int64_t r, int64_t c, uint32_t u)
{
    int bits = vq_dtype_bits(t->dtype), bit, i;
    uint8_t *p = place(t, r, c, &bit);
    uint16_t h = (uint16_t)u;
    if (bits == 32) { memcpy(p, &u, 4); return; }
    if (bits == 16) { memcpy(p, &h, 2); return; }
    for (i = 0; i < bits; i++) {
        int one = 1 << (bit + i) % 8;
        uint8_t *at = p + (bit + i) / 8;
        *at = (uint8_t)((*at & ~one) | (u >> i & 1 ? one : 0));
    }
}

static uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static float float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

static void settle(box *b) { if (b->mem) memcpy(b->was, b->mem, b->size); }

static int untouched(const box *b, const char *name)
{
    int same = !b->mem || !memcmp(b->mem, b->was, b->size);
    CHECKF(same, "%s was written", name);
    return same;
}

/* --- keys, codes and scales ------------------------------------------------ */

static vq_key key_of(const char *text)
{
    vq_key k = VQ_ZERO;
    CHECKF(vq_key_parse(text, &k, &why) == VQ_OK, "%s: %s", text, why.text);
    return k;
}

static const char *const keys[] = {
    "fp8_token", "fp8_group64", "fp8_static", "fp8_block128", "fp8_channel", "mxfp8", "mxfp4",
    "mxfp6_e3m2", "mxfp6_e2m3", "nvfp4", "nvfp4_static", "int8_token", "int8_token_azp",
    "int8_tensor", "int4_static_group32_asym", "int4_static", "aiter_token_fnuz",
    "ocp_mxfp8_e5m2", "mxfp8_static", "fp8_static_channel",
    "float8_e5m2fnuz/f32/2x24/dyn/amax.inv57344/x.inv.s/bound=amax/overflow=nonfinite",
    "uint8/bf16/-1x16/dyn/range.div255/x.inv0.s/asym/bound=scale/floor=scale:0.01",
    "float8_e4m3fn/ue4m3/1x16/dyn/amax.div448/x.ratio/arith=bf16/scale2=div",
    "int4/f16/3x-1/dyn/amax.div7/x.inv.amax.away/scale2=mul",
};

static int64_t count_in(int64_t extent, int32_t group)
{
    int64_t n = 0, i;
    if (group < 0) return 1;
    for (i = 0; i < extent; i += group) n++;
    return n;
}

static uint32_t some_scale(vq_dtype t)
{
    static const float nasty[] = { 0, -0.0f, 1, 0x1p-149f, 0x1p-127f, 3e38f, INFINITY, NAN, -1 };
    uint32_t u = t_rand();
    float v = u % 16 == 0 ? MORE(nasty) : ldexpf((float)(1 + (u >> 8)), -30 - (int)(u % 6));
    return u % 64 == 1 && vq_dtype_bits(t) == 8 ? u >> 8 & 0xff : vq_encode(t, v, VQ_NONFINITE);
}

static float some_scalar(void)
{
    static const float scalars[] = { 1, 1, 0.5f, 2688, 0.25f, 1e-3f, 1e20f, 0, INFINITY, NAN, -1 };
    return t_rand() % 3 ? t_randf(0.01f, 30) : MORE(scalars);
}

static box scalar_box(float v)
{
    box b = box_of(vq_tensor_2d(NULL, VQ_F32, 1, 1, VQ_HOST));
    set(&b.t, 0, 0, bits_of(v));
    settle(&b);
    return b;
}

/* Codes and what belongs to them. */
typedef struct { vq_key k; box q, scale, zero, scale2, bound; int asym, fixed; } coded;

static coded coded_of(vq_key k, int64_t rows, int64_t cols)
{
    int64_t g = count_in(rows, k.group_rows), h = count_in(cols, k.group_cols);
    coded c;
    memset(&c, 0, sizeof c);
    c.k = k;
    c.asym = (k.flags & VQ_KEY_ASYMMETRIC) != 0;
    c.fixed = (k.flags & VQ_KEY_STATIC) != 0;
    c.q = rows_box(k.elem, rows, cols);
    c.scale = scales_box(k.scale_type, g, h);
    if (c.asym) c.zero = scales_box(k.elem, g, h);
    if (k.scale2_kind) c.scale2 = scalar_box(some_scalar());
    if (k.bound_kind) c.bound = scalar_box(some_scalar());
    return c;
}

static void fill_groups(coded *c)
{
    int64_t g, h;
    for (g = 0; g < c->scale.t.shape[0]; g++)
        for (h = 0; h < c->scale.t.shape[1]; h++) {
            set(&c->scale.t, g, h, some_scale(c->k.scale_type));
            if (c->asym) set(&c->zero.t, g, h, t_rand());
        }
    settle(&c->scale);
    settle(&c->zero);
}

static void fill_codes(coded *c)
{
    int64_t r, j;
    int small = t_rand() & 1, odd = t_rand() % 4 == 0;
    for (r = 0; r < c->q.t.shape[0]; r++)
        for (j = 0; j < c->q.t.shape[1]; j++) {
            uint32_t u = t_rand();
            uint32_t code = u >> 8;
            if (!odd && vq_decode(c->k.elem, code) != vq_decode(c->k.elem, code)) code &= 0x9f;
            if (small && u % 16) code &= 0x8f;
            set(&c->q.t, r, j, code);
        }
    settle(&c->q);
}

static coded copy_coded(const coded *of)
{
    coded c = *of;
    c.q = copy_of(&of->q);
    c.scale = copy_of(&of->scale);
    c.zero = copy_of(&of->zero);
    c.scale2 = copy_of(&of->scale2);
    c.bound = copy_of(&of->bound);
    return c;
}

static void drop_coded(coded *c)
{
    drop(&c->q);
    drop(&c->scale);
    drop(&c->zero);
    drop(&c->scale2);
    drop(&c->bound);
}

static int kept(const coded *c, const char *name)
{
    return untouched(&c->q, name) && untouched(&c->scale, name) && untouched(&c->zero, name)
        && untouched(&c->scale2, name) && untouched(&c->bound, name);
}

static const char *about(const coded *a, const coded *b)
{
    static char text[600];
    char from[256], to[256];
    vq_key_print(&a->k, from, sizeof from);
    vq_key_print(&b->k, to, sizeof to);
    snprintf(text, sizeof text, "%s to %s, %dx%d", from, to, (int)a->q.t.shape[0],
             (int)a->q.t.shape[1]);
    return text;
}

/* --- the three ops --------------------------------------------------------- */

static int dequantizes(const coded *c, const box *y)
{
    vq_dequant_args a = VQ_ZERO;
    a.call.report = &why;
    a.key = c->k;
    a.q = c->q.t;
    a.scale = c->scale.t;
    a.zero = c->zero.t;
    a.scale2 = c->scale2.t;
    a.y = y->t;
    CHECKF(vq_dequant(cpus[2], &a) == VQ_OK, "%s", why.text);
    return 1;
}

static int quantizes(const box *x, const coded *c)
{
    vq_quant_args a = VQ_ZERO;
    vq_status s;
    a.call.report = &why;
    a.key = c->k;
    a.x = x->t;
    a.q = c->q.t;
    a.scale = c->scale.t;
    a.zero = c->zero.t;
    a.bound = c->bound.t;
    a.scale2 = c->scale2.t;
    s = vq_quant(cpus[2], &a);
    CHECKF(s == VQ_OK, "%s", why.text);
    return s == VQ_OK;
}

static vq_requant_args requant_args(const coded *from, const coded *to, vq_requant_result *result)
{
    vq_requant_args a = VQ_ZERO;
    a.from = from->k;
    a.key = to->k;
    a.q = from->q.t;
    a.scale = from->scale.t;
    a.zero = from->zero.t;
    a.scale2 = from->scale2.t;
    a.q_out = to->q.t;
    a.scale_out = to->scale.t;
    a.zero_out = to->zero.t;
    a.bound = to->bound.t;
    a.scale2_out = to->scale2.t;
    a.result = result;
    return a;
}

/* On any of the contexts, at once or by a plan; one caller in eight rounds in another way than to
   nearest, which is no concern of an op. */
static int requantizes(const coded *from, const coded *to, vq_requant_result *result)
{
    static const int ways[] = { FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };
    int way = t_rand() % 8 ? FE_TONEAREST : MORE(ways), same;
    const vq_ctx *vq = MORE(cpus);
    vq_requant_args a = requant_args(from, to, result);
    vq_choice choice;
    vq_status s;
    memset(&why, 0, sizeof why);
    a.call.report = &why;
    fesetround(way);
    if (t_rand() & 1) s = vq_requant(vq, &a);
    else if ((s = vq_plan(vq, VQ_OP_REQUANT, &a, &choice)) == VQ_OK) s = vq_run(vq, &choice, &a);
    same = fegetround() == way;
    fesetround(FE_TONEAREST);
    CHECK(same);
    CHECKF(s == VQ_OK, "%s: %s", why.text, about(from, to));
    return s == VQ_OK;
}

/* --- the oracle ------------------------------------------------------------ */

static double product(double a, double b) { volatile double p = a * b; return p; }

static vq_requant_result result_of(const coded *from, const coded *to)
{
    int64_t rows = from->q.t.shape[0], cols = from->q.t.shape[1], r, c;
    box v = rows_box(VQ_F32, rows, cols), w = rows_box(VQ_F32, rows, cols);
    vq_requant_result e = VQ_ZERO;
    volatile double signal = 0, noise = 0;
    volatile float size;
    dequantizes(from, &v);
    dequantizes(to, &w);
    for (r = 0; r < rows; r++)
        for (c = 0; c < cols; c++) {
            float x = float_of(get(&v.t, r, c)), y = float_of(get(&w.t, r, c));
            volatile double off = (double)y - (double)x;
            e.count++;
            if (get(&from->q.t, r, c) != get(&to->q.t, r, c)) e.changed++;
            if (isnan(x) ? !isnan(y) : x != y) e.moved++;
            if (!isfinite(x) || !isfinite(y)) { e.skipped++; continue; }
            size = (float)fabs(off);
            if (size > e.max_error) {
                e.max_error = size;
                e.at[0] = r;
                e.at[1] = c;
            }
            signal = signal + product((double)x, (double)x);
            noise = noise + product(off, off);
        }
    if (from->k.elem != to->k.elem) e.changed = -1;
    e.signal = signal;
    e.noise = noise;
    drop(&v);
    drop(&w);
    return e;
}

static int decibels_are(double found, double signal, double noise)
{
    long double s = log10l((long double)signal), n = log10l((long double)noise);
    double want = signal == 0 && noise == 0 ? NAN : (double)(10 * (s - n));
    double most = fabsl(s) + fabsl(n) > 100 ? 3e-12 : 1e-12;
    if (isnan(want) || isnan(found)) return isnan(want) && isnan(found);
    return found == want || fabs(found - want) <= most;
}

static void result_is(const vq_requant_result *found, const coded *from, const coded *to)
{
    vq_requant_result want = result_of(from, to);
#define IS(field, fmt, type) CHECKF(found->field == want.field, \
                                    #field " " fmt ", not " fmt ": %s", \
                                    (type)found->field, (type)want.field, about(from, to))
    IS(count, "%lld", long long);
    IS(changed, "%lld", long long);
    IS(moved, "%lld", long long);
    IS(skipped, "%lld", long long);
    IS(max_error, "%.9g", double);
    IS(at[0], "%lld", long long);
    IS(at[1], "%lld", long long);
    IS(signal, "%.17g", double);
    IS(noise, "%.17g", double);
    IS(reserved, "%d", int);
#undef IS
    CHECKF(decibels_are(found->sqnr_db, want.signal, want.noise), "%.17g dB of %.17g, %.17g: %s",
           found->sqnr_db, want.signal, want.noise, about(from, to));
}

/* Both began as the same bytes. A NaN of f32, f16 and bf16 may be any quiet one. */
static int alike(const box *a, const box *b, const char *name, const coded *from, const coded *to)
{
    vq_dtype t = a->t.dtype;
    int64_t r, c;
    size_t i = 0;
    if (!a->mem || !memcmp(a->mem, b->mem, a->size)) return 1;
    for (r = 0; vq_dtype_bits(t) > 8 && r < a->t.shape[0]; r++)
        for (c = 0; c < a->t.shape[1]; c++) {
            float x = vq_decode(t, get(&a->t, r, c)), y = vq_decode(t, get(&b->t, r, c));
            if (isnan(x) && isnan(y)) set(&b->t, r, c, get(&a->t, r, c));
        }
    if (!memcmp(a->mem, b->mem, a->size)) return 1;
    while (a->mem[i] == b->mem[i]) i++;
    CHECKF(a->mem[i] == b->mem[i], "%s, byte %d: %02x, not %02x: %s", name,
           (int)(a->mem + i - (uint8_t *)a->t.data), b->mem[i], a->mem[i], about(from, to));
    return 0;
}

/* Whole groups where either key wants them. */
static int64_t whole(const vq_key *a, const vq_key *b, int rows, int64_t n)
{
    int64_t g = rows ? a->group_rows : a->group_cols, h = rows ? b->group_rows : b->group_cols;
    while ((a->flags & VQ_KEY_NO_TAIL && g > 1 && n % g)
           || (b->flags & VQ_KEY_NO_TAIL && h > 1 && n % h)) n++;
    return n;
}

/* Dequantizes and quantizes into one copy, requantizes into the other. */
static int is_two_ops(vq_key from, vq_key to, int64_t rows, int64_t cols)
{
    coded a, b, want;
    box x;
    vq_requant_result result;
    int good;
    rows = whole(&from, &to, 1, rows);
    cols = whole(&from, &to, 0, cols);
    a = coded_of(from, rows, cols);
    b = coded_of(to, rows, cols);
    x = rows_box(VQ_F32, rows, cols);
    fill_codes(&a);
    fill_groups(&a);
    if (b.fixed) fill_groups(&b);
    want = copy_coded(&b);
    memset(&result, 0x5a, sizeof result);
    good = dequantizes(&a, &x) && quantizes(&x, &want)
        && requantizes(&a, &b, t_rand() % 4 ? &result : NULL)
        && alike(&want.q, &b.q, "q_out", &a, &b) && alike(&want.scale, &b.scale, "scale_out", &a,
                                                          &b)
        && alike(&want.zero, &b.zero, "zero_out", &a, &b) && kept(&a, "an input")
        && untouched(&b.bound, "bound") && untouched(&b.scale2, "scale2_out")
        && (!b.fixed || (untouched(&b.scale, "a given scale") && untouched(&b.zero,
                                                                           "a given zero")));
    if (good && result.reserved != 0x5a5a5a5a) result_is(&result, &a, &b);
    drop_coded(&a);
    drop_coded(&b);
    drop_coded(&want);
    drop(&x);
    return good;
}

/* --- tests ----------------------------------------------------------------- */

static void requant_is_dequant_and_quant_for_every_pair_of_keys(void)
{
    static const int rows[] = { 1, 3, 5, 2 }, cols[] = { 1, 7, 16, 33, 64, 130, 47 };
    int i, j, n;
    start_cpus();
    for (i = 0; i < COUNT(keys); i++)
        for (j = 0; j < COUNT(keys); j++)
            for (n = 0; n < (t_exhaustive ? 50 : 5); n++)
                if (!is_two_ops(key_of(keys[i]), key_of(keys[j]), MORE(rows), MORE(cols))) break;
}

static void every_preset_is_requantized_to_and_from(void)
{
    int id;
    start_cpus();
    for (id = 0; id < VQ_KEY_COUNT; id++) {
        vq_key k = vq_key_preset((vq_key_id)id);
        is_two_ops(k, key_of("mxfp4"), 3, 70);
        is_two_ops(key_of("int8_static_tensor"), k, 3, 70);
        is_two_ops(k, k, 2, 100);
    }
}

static void wide_and_tall_matrices_are_requantized(void)
{
    static const char *const pairs[][2] = {
        { "mxfp4", "fp8_token" }, { "fp8_token", "mxfp4" }, { "fp8_block128", "int8_token_azp" },
        { "float8_e4m3fn/f32/1x1/static/max448/x.div.s", "int8/f16/1x3/dyn/amax.div127/x.div.s" },
        { "int8/f32/2x9000/static/max127/x.div.s", "fp8_channel" }, { "nvfp4", "fp8_tensor" },
        { "int4_static_group32_asym", "nvfp4" }, { "fp8_static", "fp8_group64" },
    };
    int i;
    start_cpus();
    for (i = 0; i < COUNT(pairs); i++) {
        is_two_ops(key_of(pairs[i][0]), key_of(pairs[i][1]), 2, 20000);
        is_two_ops(key_of(pairs[i][0]), key_of(pairs[i][1]), 1500, 5);
    }
}

/* One row of codes under from; codes in steps of `scale`. */
static vq_requant_result of_row(const char *from, float scale, const char *to, const int *code,
                                int n,
                                float given)
{
    coded a = coded_of(key_of(from), 1, n), b = coded_of(key_of(to), 1, n);
    vq_requant_result e;
    int i;
    memset(&e, 0x5a, sizeof e);
    for (i = 0; i < n; i++) set(&a.q.t, 0, i, (uint32_t)code[i]);
    set(&a.scale.t, 0, 0, bits_of(scale));
    if (b.fixed) set(&b.scale.t, 0, 0, bits_of(given));
    settle(&a.q);
    settle(&a.scale);
    requantizes(&a, &b, &e);
    drop_coded(&a);
    drop_coded(&b);
    return e;
}

static void the_numbers_of_worked_rows_are_right(void)
{
    static const char *const int8 = "int8/f32/1x-1/static/max127/x.div.s";
    static const char *const fp8 = "float8_e4m3fn/f32/1x-1/static/max448/x.div.s";
    static const int some[] = { 1, 2, -3, 10, 100 }, zeros[] = { 0, 0, 0 };
    static const int nans[] = { 0x7f, 0x38, 0xff, 0x38 };
    vq_requant_result e;
    start_cpus();
    e = of_row(int8, 1, int8, some, 5, 1);
    CHECK(e.count == 5 && !e.changed && !e.moved && !e.skipped && e.max_error == 0);
    CHECK(e.at[0] == 0 && e.at[1] == 0 && e.signal == 10114 && e.noise == 0 && isinf(e.sqnr_db));
    CHECK(e.sqnr_db > 0);
    e = of_row(int8, 1, int8, some, 5, 2);               /* 0 1 -2 5 50: 1/2 and 3/2 to even */
    CHECK(e.count == 5 && e.changed == 5 && e.moved == 2 && e.max_error == 1 && e.at[1] == 0);
    CHECK(e.signal == 10114 && e.noise == 2 && decibels_are(e.sqnr_db, 10114, 2));
    e = of_row(int8, 1, fp8, some, 5, 1);                /* 100: between 96 and 104 */
    CHECK(e.changed == -1 && e.moved == 1 && e.max_error == 4 && e.at[1] == 4 && e.noise == 16);
    e = of_row(int8, 1, int8, zeros, 3, 1);
    CHECK(e.moved == 0 && e.signal == 0 && e.noise == 0 && isnan(e.sqnr_db));
    e = of_row(fp8, 1, fp8, nans, 4, 1);
    CHECK(e.moved == 0 && e.skipped == 2 && e.changed == 1 && e.signal == 2 && e.noise == 0);
    e = of_row(fp8, 1, int8, nans, 4, 1);                /* NaN is 0 there */
    CHECK(e.moved == 2 && e.skipped == 2 && e.changed == -1 && e.signal == 2 && e.noise == 0);
    e = of_row(fp8, INFINITY, int8, nans, 4, 1);
    CHECK(e.moved == 4 && e.skipped == 4 && e.signal == 0 && isnan(e.sqnr_db));
    e = of_row(int8, 3e36f, int8, some, 5, 3e-36f);      /* 127 of those at most */
    CHECK(e.moved == 5 && e.skipped == 0 && e.max_error == 3e38f && e.at[1] == 4);
    CHECK(decibels_are(e.sqnr_db, 1, 1) && e.signal > 9e76);
}

static void decibels_are_those_of_the_math_library(void)
{
    const double tiny = 5e-324, huge = 1.7976931348623157e308;
    int i;
    CHECK(vq_sqnr_db(1, 1) == 0 && vq_sqnr_db(tiny, tiny) == 0 && vq_sqnr_db(huge, huge) == 0);
    CHECK(isinf(vq_sqnr_db(1, 0)) && vq_sqnr_db(1, 0) > 0 && vq_sqnr_db(tiny, 0) > huge);
    CHECK(isinf(vq_sqnr_db(0, 1)) && vq_sqnr_db(0, 1) < 0 && vq_sqnr_db(0, tiny) < -huge);
    CHECK(isnan(vq_sqnr_db(0, 0)) && isnan(vq_sqnr_db(NAN, 1)) && isnan(vq_sqnr_db(1, NAN)));
    CHECK(isnan(vq_sqnr_db(NAN, 0)) && isnan(vq_sqnr_db(0, NAN)) && isnan(vq_sqnr_db(NAN, NAN)));
    CHECK(vq_sqnr_db(INFINITY, 1) > huge && vq_sqnr_db(1, INFINITY) < -huge);
    CHECK(vq_sqnr_db(INFINITY, 0) > huge && vq_sqnr_db(0, INFINITY) < -huge);
    CHECK(vq_sqnr_db(-0.0, 1) < -huge && vq_sqnr_db(1, -0.0) > huge && isnan(vq_sqnr_db(0, -0.0)));
    CHECK(fabs(vq_sqnr_db(10, 1) - 10) <= 1e-12 && fabs(vq_sqnr_db(1, 1000) + 30) <= 1e-12);
    CHECK(fabs(vq_sqnr_db(2, 1) - 3.0102999566398119521) <= 1e-12);
    for (i = 0; i < (t_exhaustive ? 3000000 : 300000); i++) {
        double s = 1 + ldexp((double)t_rand(), -32) + ldexp((double)t_rand(), -64), n, found;
        int wide = i % 3 == 0;
        n = 1 + ldexp((double)t_rand(), -32);
        if (i % 7 == 0) n = s * (1 + ldexp((double)(t_rand() % 64), -48));
        s = ldexp(s, (int)(t_rand() % (wide ? 2098u : 120u)) - (wide ? 1074 : 60));
        n = ldexp(n, (int)(t_rand() % (wide ? 2098u : 120u)) - (wide ? 1074 : 60));
        found = vq_sqnr_db(s, n);
        CHECKF(decibels_are(found, s, n), "%.17g of %.17g and %.17g", found, s, n);
    }
}

static void an_extent_of_zero_writes_no_tensor(void)
{
    static const int shapes[][2] = { { 0, 5 }, { 5, 0 }, { 0, 0 } };
    int i, j;
    start_cpus();
    for (i = 0; i < COUNT(keys); i++)
        for (j = 0; j < COUNT(shapes); j++) {
            vq_key k = key_of(keys[i]), from = key_of("int8_static_tensor");
            int64_t rows = whole(&k, &k, 1, shapes[j][0]), cols = whole(&k, &k, 0, shapes[j][1]);
            coded a = coded_of(from, rows ? rows : 1, cols ? cols : 1), b;
            b = coded_of(k, rows ? rows : 1, cols ? cols : 1);
            a.q.t.shape[0] = b.q.t.shape[0] = rows;
            a.q.t.shape[1] = b.q.t.shape[1] = cols;
            b.scale.t.shape[0] = b.zero.t.shape[0] = count_in(rows, k.group_rows);
            b.scale.t.shape[1] = b.zero.t.shape[1] = count_in(cols, k.group_cols);
            if (b.scale.t.layout == VQ_STRIDED && (!b.asym || b.zero.t.layout == VQ_STRIDED)) {
                requantizes(&a, &b, NULL);
                kept(&a, "an input");
                kept(&b, "an output");
            }
            drop_coded(&a);
            drop_coded(&b);
        }
}

#define FIELD(kind, member) { #member, NULL, VQ_FIELD_##kind, offsetof(vq_requant_args, member) }

static void the_fields_of_requant_are_those_of_its_args(void)
{
    static const vq_field want[] = { FIELD(KEY, from), FIELD(KEY, key), FIELD(IN, q), FIELD(IN,
                                                                                            scale),
        FIELD(IN, zero), FIELD(IN, scale2), FIELD(OUT, q_out), FIELD(MADE, scale_out),
        FIELD(MADE, zero_out), FIELD(IN, bound), FIELD(IN, scale2_out), FIELD(RESULT, result) };
    int n = 0, i;
    const vq_field *f = vq_op_fields(VQ_OP_REQUANT, &n);
    CHECK(f && n == COUNT(want));
    for (i = 0; f && i < n && i < COUNT(want); i++)
        CHECKF(!strcmp(f[i].name, want[i].name) && f[i].kind == want[i].kind && !f[i].twin
               && f[i].offset == want[i].offset, "%s", f[i].name);
}

/* --- bad input ------------------------------------------------------------- */

enum { ROOM = 4096 };
static uint8_t room[9 * ROOM], before[9 * ROOM];
#define SPOT(i) (room + (i) * ROOM + 1024)

static vq_tensor spot(int i, vq_dtype t, int64_t rows, int64_t cols)
{
    return vq_tensor_2d(SPOT(i), t, rows, cols, VQ_HOST);
}

enum { PLAIN, ASYMMETRIC, SECOND };     /* with zero points and a bound; with second scales */

static vq_requant_args good_args(int kind)
{
    static const char *const from[] = { "fp8_group64", "uint8/f16/1x64/static/max255/x.div.s/asym",
                                        "float8_e5m2/f32/1x64/static/max448/x.div.s/scale2=mul" };
    static const char *const to[] = { "fp8_token",
        "int8/bf16/1x64/dyn/range.div255/x.div.s/asym/bound=scale",
        "float8_e4m3fn/bf16/1x64/dyn/amax.div448/x.div.s/scale2=div" };
    vq_requant_args a = VQ_ZERO;
    a.from = key_of(from[kind]);
    a.key = key_of(to[kind]);
    a.q = spot(0, a.from.elem, 4, 130);
    a.scale = spot(1, a.from.scale_type, 4, 3);
    a.q_out = spot(2, a.key.elem, 4, 130);
    a.scale_out = spot(3, a.key.scale_type, 4, kind ? 3 : 1);
    if (kind == ASYMMETRIC) {
        a.zero = spot(4, VQ_UINT8, 4, 3);
        a.zero_out = spot(5, VQ_INT8, 4, 3);
        a.bound = spot(6, VQ_F32, 1, 1);
    }
    if (kind == SECOND) {
        a.scale2 = spot(7, VQ_F32, 1, 1);
        a.scale2_out = spot(8, VQ_F32, 1, 1);
    }
    return a;
}

static void refused(vq_requant_args a, int planned, vq_guard guard, const char *arg, int64_t found,
                    int64_t needed, const char *name, const char *edit)
{
    vq_report r;
    vq_requant_result result, as_it_was;
    vq_choice choice;
    vq_status s;
    memset(&r, 0x5a, sizeof r);
    memset(&result, 0x5a, sizeof result);
    as_it_was = result;
    a.call.report = &r;
    a.result = &result;
    s = vq_requant(cpus[0], &a);
    CHECKF(s == VQ_BAD_ARG && r.status == s && r.guard == guard && r.arg && !strcmp(r.arg, arg)
           && r.op && !strcmp(r.op, "requant") && r.found == found && r.needed == needed
           && !strcmp(r.name, name) && strstr(r.text, arg), "%s: %s, found %lld, needed %lld: %s",
           edit, vq_guard_str(r.guard), (long long)r.found, (long long)r.needed, r.text);
    CHECKF(!memcmp(room, before, sizeof room), "%s: written", edit);
    CHECKF(!memcmp(&result, &as_it_was, sizeof result), "%s: a result", edit);
    memcpy(room, before, sizeof room);
    s = vq_plan(cpus[0], VQ_OP_REQUANT, &a, &choice);
    CHECKF(s == (planned ? VQ_BAD_ARG : VQ_OK), "%s: planned", edit);
}

#define BAD(kind, edit, guard, arg, found, needed) do { \
    vq_requant_args a = good_args(kind); \
    edit; \
    refused(a, 1, VQ_GUARD_##guard, arg, found, needed, "", #edit); } while (0)
#define BAD_DATA(kind, edit, guard, arg, name) do { \
    vq_requant_args a = good_args(kind); \
    edit; \
    refused(a, 0, VQ_GUARD_##guard, arg, 0, 0, name, #edit); } while (0)

static void start_room(void)
{
    size_t i;
    start_cpus();
    for (i = 0; i < sizeof room; i++) room[i] = (uint8_t)(t_rand() >> 24);
    memcpy(before, room, sizeof room);
}

#define BIT(t) (1 << (t))

static void bad_tensors_are_named_and_nothing_is_written(void)
{
    start_room();
    BAD(PLAIN, a.q.rank = 0, PRESENT, "q", 0, 0);
    BAD(PLAIN, a.q.dtype = VQ_E5M2, TYPE, "q", VQ_E5M2, BIT(VQ_E4M3FN));
    BAD(PLAIN, a.q.rank = 1, RANK, "q", 1, 2);
    BAD(PLAIN, a.q.stride[0] = 129, STRIDE, "q", 129, 130);
    BAD(PLAIN, a.q.layout = VQ_SWIZZLE_8X4; a.q.stride[0] = 132, LAYOUT, "q", VQ_SWIZZLE_8X4,
        BIT(VQ_STRIDED));
    BAD(PLAIN, a.scale.rank = 0, PRESENT, "scale", 0, 0);
    BAD(PLAIN, a.scale.dtype = VQ_BF16, TYPE, "scale", VQ_BF16, BIT(VQ_F32));
    BAD(PLAIN, a.scale.shape[1] = 2, SHAPE, "scale", 2, 3);
    BAD(PLAIN, a.q_out.rank = 0, PRESENT, "q_out", 0, 0);
    BAD(PLAIN, a.q_out.dtype = VQ_INT8, TYPE, "q_out", VQ_INT8, BIT(VQ_E4M3FN));
    BAD(PLAIN, a.q_out.shape[0] = 3, SHAPE, "q_out", 3, 4);
    BAD(PLAIN, a.q_out.shape[1] = 129, SHAPE, "q_out", 129, 130);
    BAD(PLAIN, a.q_out.stride[0] = 5, STRIDE, "q_out", 5, 130);
    BAD(PLAIN, a.q_out.stride[1] = 2; a.q_out.stride[0] = 260, STRIDE, "q_out", 2, 1);
    BAD(PLAIN, a.scale_out.rank = 0, PRESENT, "scale_out", 0, 0);
    BAD(PLAIN, a.scale_out.dtype = VQ_E8M0, TYPE, "scale_out", VQ_E8M0, BIT(VQ_F32));
    BAD(PLAIN, a.scale_out.shape[0] = 5, SHAPE, "scale_out", 5, 4);
    BAD(PLAIN, a.scale_out.shape[1] = 3; a.scale_out.stride[0] = 3, SHAPE, "scale_out", 3, 1);
    BAD(ASYMMETRIC, a.scale_out.stride[0] = 2, STRIDE, "scale_out", 2, 3);
    BAD(ASYMMETRIC, a.zero.rank = 0, PRESENT, "zero", 0, 0);
    BAD(ASYMMETRIC, a.zero.dtype = VQ_INT8, TYPE, "zero", VQ_INT8, BIT(VQ_UINT8));
    BAD(ASYMMETRIC, a.zero.shape[0] = 1, SHAPE, "zero", 1, 4);
    BAD(ASYMMETRIC, a.zero_out.rank = 0, PRESENT, "zero_out", 0, 0);
    BAD(ASYMMETRIC, a.zero_out.dtype = VQ_UINT8, TYPE, "zero_out", VQ_UINT8, BIT(VQ_INT8));
    BAD(ASYMMETRIC, a.zero_out.shape[1] = 2, SHAPE, "zero_out", 2, 3);
    BAD(ASYMMETRIC, a.zero_out.stride[0] = 2, STRIDE, "zero_out", 2, 3);
    BAD(ASYMMETRIC, a.bound.rank = 0, PRESENT, "bound", 0, 0);
    BAD(ASYMMETRIC, a.bound.dtype = VQ_BF16, TYPE, "bound", VQ_BF16, BIT(VQ_F32));
    BAD(ASYMMETRIC, a.bound.shape[1] = 2, SHAPE, "bound", 2, 1);
    BAD(SECOND, a.scale2.rank = 0, PRESENT, "scale2", 0, 0);
    BAD(SECOND, a.scale2.shape[0] = 2, SHAPE, "scale2", 2, 1);
    BAD(SECOND, a.scale2_out.rank = 0, PRESENT, "scale2_out", 0, 0);
    BAD(SECOND, a.scale2_out.dtype = VQ_F16, TYPE, "scale2_out", VQ_F16, BIT(VQ_F32));
    BAD(PLAIN, a.zero = a.scale, UNUSED, "zero", 0, 0);
    BAD(PLAIN, a.zero_out = a.scale, UNUSED, "zero_out", 0, 0);
    BAD(PLAIN, a.bound = a.scale, UNUSED, "bound", 0, 0);
    BAD(PLAIN, a.scale2 = a.scale, UNUSED, "scale2", 0, 0);
    BAD(PLAIN, a.scale2_out = a.scale, UNUSED, "scale2_out", 0, 0);
    BAD(PLAIN, a.from.flags |= VQ_KEY_NO_TAIL, SHAPE, "q", 130, 192);
    BAD(PLAIN, a.key.flags |= VQ_KEY_NO_TAIL; a.key.group_cols = 128, SHAPE, "q", 130, 256);
}

static void bad_keys_say_which_of_the_two(void)
{
    vq_report r = VQ_ZERO;
    vq_requant_args a;
    start_room();
    BAD(PLAIN, a.key.group_cols = 0, KEY, "key.group_cols", 0, 1);
    BAD(PLAIN, a.key.reserved = 7, KEY, "key.reserved", 7, 0);
    a = good_args(PLAIN);
    a.call.report = &r;
    a.from.reserved = 7;
    CHECK(vq_requant(cpus[0], &a) == VQ_BAD_ARG && r.guard == VQ_GUARD_KEY && r.found == 7);
    CHECKF(strstr(r.text, "from") && strstr(r.text, "reserved"), "%s", r.text);
    CHECK(!memcmp(room, before, sizeof room));
}

static void outputs_may_not_lie_in_inputs(void)
{
    vq_requant_args a;
    start_room();
    BAD_DATA(PLAIN, a.q.data = NULL, PRESENT, "q", "");
    BAD_DATA(PLAIN, a.scale.data = NULL, PRESENT, "scale", "");
    BAD_DATA(PLAIN, a.q_out.data = NULL, PRESENT, "q_out", "");
    BAD_DATA(ASYMMETRIC, a.zero_out.data = NULL, PRESENT, "zero_out", "");
    BAD_DATA(ASYMMETRIC, a.bound.data = NULL, PRESENT, "bound", "");
    BAD_DATA(PLAIN, a.q_out.data = a.q.data, OVERLAP, "q_out", "q");
    BAD_DATA(PLAIN, a.scale_out.data = a.scale.data, OVERLAP, "scale_out", "scale");
    BAD_DATA(ASYMMETRIC, a.zero_out.data = a.q_out.data, OVERLAP, "zero_out", "q_out");
    BAD_DATA(SECOND, a.scale2_out.data = (uint8_t *)a.q_out.data + 519, OVERLAP, "q_out",
             "scale2_out");
    a = good_args(PLAIN);                    /* under a static key the scale is one more input */
    a.key = key_of("float8_e4m3fn/f32/1x64/static/max448/x.div.s");
    a.scale_out = a.scale;
    CHECK(vq_requant(cpus[0], &a) == VQ_OK);
    memcpy(before, room, sizeof room);
    a = good_args(SECOND);
    a.scale2_out.data = a.scale2.data;
    CHECK(vq_requant(cpus[0], &a) == VQ_OK);
    CHECK(vq_requant(cpus[0], NULL) == VQ_BAD_ARG && vq_requant(NULL, &a) == VQ_BAD_ARG);
}

VQ_TEST_MAIN(
    T(requant_is_dequant_and_quant_for_every_pair_of_keys),
    T(every_preset_is_requantized_to_and_from),
    T(wide_and_tall_matrices_are_requantized),
    T(the_numbers_of_worked_rows_are_right),
    T(decibels_are_those_of_the_math_library),
    T(an_extent_of_zero_writes_no_tensor),
    T(the_fields_of_requant_are_those_of_its_args),
    T(bad_tensors_are_named_and_nothing_is_written),
    T(bad_keys_say_which_of_the_two),
    T(outputs_may_not_lie_in_inputs)
)
