/* test_gated.c - vq_act, vq_act_mul and vq_masked_act_mul_quant beside their formulas

   What an activation gives for one value is taken from vq_act() (test_activations.c has the
   truth); all around it, limits, gates, roundings, counts, is computed here in double and rounded
   once an operation: 53 bits are more than twice 24 and two.

   Every tensor lies in a block of random bytes that is compared whole after each call. */
#include <math.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
#define MORE(a)  ((a)[t_rand() % (uint32_t)COUNT(a)])

static vq_ctx *cpu, *ctx[VQ_CAP_COUNT + 2];                  /* with all loops; with fewer */
static int     ctxs;

static void stop(void) { while (ctxs) vq_free(ctx[--ctxs]); }

/* All that this machine has, nothing of it, and one thing less. */
static void start(void)
{
    vq_desc d = VQ_ZERO;
    uint32_t caps;
    int i;
    if (cpu) return;
    atexit(stop);
    d.backend = VQ_CPU;
    CHECK(vq_init(&d, &cpu) == VQ_OK);
    ctx[ctxs++] = cpu;
    caps = vq_platform_in(cpu).caps;
    for (i = -1; i < VQ_CAP_COUNT; i++) {
        d.without = i < 0 ? caps : 1u << i;
        if (!(caps & d.without)) continue;
        CHECK(vq_init(&d, &ctx[ctxs]) == VQ_OK);
        ctxs++;
    }
}

/* Every one of them gives the same. */
static vq_ctx *any_cpu(void) { return ctx[t_rand() % (uint32_t)ctxs]; }

static const vq_dtype types[] = { VQ_F32, VQ_F16, VQ_BF16 };

/* --- numbers ------------------------------------------------------------------- */

static uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static float float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }
static double rn(double v) { volatile float f = (float)v; return f; }      /* one rounding to f32 */

static int mantissa(vq_dtype t) { return t == VQ_F16 ? 10 : 7; }
static int bias(vq_dtype t)     { return t == VQ_F16 ? 15 : 127; }

static double value(vq_dtype t, uint32_t c)
{
    int m = mantissa(t), e;
    double frac, v;
    if (t == VQ_F32) return float_of(c);
    e = (int)((c & 0x7fff) >> m);
    frac = (double)(c & ((1u << m) - 1)) / (1 << m);
    v = e == 2 * bias(t) + 1 ? frac > 0 ? NAN : INFINITY
      : e ? ldexp(1 + frac, e - bias(t)) : ldexp(frac, 1 - bias(t));
    return c & 0x8000 ? -v : v;
}

/* The code of v, to nearest, ties to even; too large is infinity. */
static uint32_t code(vq_dtype t, double v)
{
    const int m = mantissa(t);
    const uint32_t sign = signbit(v) ? 0x8000u : 0, inf = (uint32_t)(2 * bias(t) + 1) << m;
    double a = fabs(v), whole, rest;
    int e;
    if (t == VQ_F32) return bits_of((float)v);
    if (isnan(v)) return inf | 1u << (m - 1);
    if (isinf(v)) return sign | inf;
    if (a == 0) return sign;
    frexp(a, &e);
    if (--e < 1 - bias(t)) e = 1 - bias(t);
    a = ldexp(a, m - e);                                     /* in units of the last place */
    whole = floor(a);
    rest = a - whole;
    if (rest > 0.5 || (rest == 0.5 && fmod(whole, 2) == 1)) whole += 1;
    if (ldexp(whole, e - m) >= ldexp(1, bias(t) + 1)) return sign | inf;
    if (whole >= ldexp(1, m + 1)) { whole /= 2; e++; }
    if (whole < ldexp(1, m)) return sign | (uint32_t)whole;            /* subnormal */
    return sign | (((uint32_t)(e + bias(t)) << m) + ((uint32_t)whole - (1u << m)));
}

static double in_type(vq_dtype t, double v) { return value(t, code(t, v)); }
static uint32_t most(vq_dtype t)                             /* the largest code */
{
    return t == VQ_F32 ? 0x7f7fffffu : t == VQ_F16 ? 0x7bffu : 0x7f7fu;
}

static uint32_t quiet(vq_dtype t) { return t == VQ_F32 ? 0x400000u : t == VQ_F16 ? 0x200u : 0x40u; }
static uint32_t minus(vq_dtype t) { return t == VQ_F32 ? 0x80000000u : 0x8000u; }
static int bytes_of(vq_dtype t) { return vq_dtype_bits(t) / 8; }

/* --- tensors of rank 1 to 3 in blocks of random bytes ------------------------------ */

typedef struct { vq_tensor t; uint8_t *mem, *want; size_t size, from; } box;

static box box_of(vq_tensor t)
{
    box b;
    size_t i;
    memset(&b, 0, sizeof b);
    b.t = t;
    b.from = 32 + (t_rand() % 4 ? 0 : t_rand() % 8);
    b.size = b.from + (size_t)vq_tensor_bytes(t) + (b.from % 2 ? 0 : 32);
    b.mem = (uint8_t *)malloc(2 * b.size);
    b.want = b.mem + b.size;
    for (i = 0; i < b.size; i++) b.mem[i] = (uint8_t)(t_rand() >> 24);
    memcpy(b.want, b.mem, b.size);
    b.t.data = b.mem + b.from;
    return b;
}

static box make_box(vq_dtype t, int64_t rows, int64_t cols, int gap)
{
    vq_tensor m = vq_tensor_2d(NULL, t, rows, cols, VQ_HOST);
    m.stride[0] += gap;
    return box_of(m);
}

static void drop(box *b) { free(b->mem); }

static size_t place(const box *b, int64_t r, int64_t c)
{
    return b->from + (size_t)((r * b->t.stride[0] + c * b->t.stride[1]) * bytes_of(b->t.dtype));
}

static uint32_t read_at(const uint8_t *p, vq_dtype t)
{
    uint32_t u = 0;
    uint16_t h;
    if (bytes_of(t) == 4) { memcpy(&u, p, 4); return u; }
    if (bytes_of(t) == 1) return *p;
    memcpy(&h, p, 2);
    return h;
}

static void write_at(uint8_t *p, vq_dtype t, uint32_t u)
{
    uint16_t h = (uint16_t)u;
    if (bytes_of(t) == 4) memcpy(p, &u, 4);
    else if (bytes_of(t) == 1) *p = (uint8_t)u;
    else memcpy(p, &h, 2);
}

static uint32_t get(const box *b, int64_t r, int64_t c)
{
    return read_at(b->mem + place(b, r, c), b->t.dtype);
}

static double get_value(const box *b, int64_t r, int64_t c)
{
    return value(b->t.dtype, get(b, r, c));
}

static void set(box *b, int64_t r, int64_t c, uint32_t u)    /* of an input */
{
    write_at(b->mem + place(b, r, c), b->t.dtype, u);
    write_at(b->want + place(b, r, c), b->t.dtype, u);
}

/* A NaN is any quiet one: the one found is taken for it. */
static void expect(box *b, int64_t r, int64_t c, double v)
{
    const vq_dtype t = b->t.dtype;
    uint32_t got = get(b, r, c), want = code(t, v);
    if (isnan(v) && isnan(value(t, got)) && (got & quiet(t))) want = got;
    write_at(b->want + place(b, r, c), t, want);
}

static int same(const box *b, const char *what)
{
    size_t i = 0;
    while (i < b->size && b->mem[i] == b->want[i]) i++;
    CHECKF(i == b->size, "%s: byte %d is %02x, not %02x", what, (int)i - (int)b->from,
           b->mem[i], b->want[i]);
    return i == b->size;
}

static float any_float(void)
{
    return ldexpf(t_randf(-4, 4) + t_randf(-2, 2), (int)(t_rand() % 4) - 2);
}

/* Mostly plain, some of every kind. */
static uint32_t any_code(vq_dtype t)
{
    const uint32_t u = t_rand(), sign = u & 64 ? minus(t) : 0;
    switch (u % 16) {
    case 0: return sign;
    case 1: return sign | (most(t) + 1);                     /* infinity */
    case 2: return sign | (most(t) + 1) | quiet(t);
    case 3: return sign | most(t);
    case 4: return sign | (u >> 8) % (t == VQ_F32 ? 0xc00000 : t == VQ_F16 ? 0x600 : 0xc0);
    case 5: return t == VQ_F32 ? t_rand() : t_rand() >> 16;
    case 6: return code(t, any_float() * 300);
    default: return code(t, any_float());
    }
}

static void fill(box *b)
{
    int64_t r, c;
    for (r = 0; r < b->t.shape[0]; r++)
        for (c = 0; c < b->t.shape[1]; c++) set(b, r, c, any_code(b->t.dtype));
}

/* --- vq_act ------------------------------------------------------------------------ */

static vq_status act(vq_act_kind kind, const vq_tensor *x, const vq_tensor *y, vq_report *why)
{
    vq_act_args a = VQ_ZERO;
    a.act = kind;
    a.x = *x;
    a.y = *y;
    a.call.report = why;
    return vq_act(any_cpu(), &a);
}

/* f of n values of type t, as type y. */
static void f_of(vq_act_kind kind, vq_dtype t, const uint32_t *x, vq_dtype y, double *out, int n)
{
    static uint8_t in[4 << 16], to[4 << 16];
    vq_tensor tx = vq_tensor_2d(in, t, 1, n, VQ_HOST), ty = vq_tensor_2d(to, y, 1, n, VQ_HOST);
    vq_report why = VQ_ZERO;
    int i;
    for (i = 0; i < n; i++) write_at(in + i * bytes_of(t), t, x[i]);
    CHECKF(act(kind, &tx, &ty, &why) == VQ_OK, "%s", why.text);
    for (i = 0; i < n; i++) out[i] = value(y, read_at(to + i * bytes_of(y), y));
}

static int same_value(double a, double b)
{
    return isnan(a) ? isnan(b) : a == b && signbit(a) == signbit(b);
}

static void activations_of_0_infinity_and_nan(void)
{
    int k, i, to;
    start();
    for (k = 0; k < VQ_ACT_SWIGLU_OAI; k++)
        for (i = 0; i < COUNT(types); i++)
            for (to = 0; to < (types[i] == VQ_F32 ? 1 : 2); to++) {
                const vq_dtype t = types[i], y = to ? VQ_F32 : t;
                const char *name = vq_act_str((vq_act_kind)k);
                const uint32_t inf = most(t) + 1;
                uint32_t x[12];
                double f[12];
                x[0] = 0;
                x[1] = minus(t);
                x[2] = inf;
                x[3] = inf | minus(t);
                x[4] = inf | quiet(t);
                x[5] = inf | quiet(t) | minus(t) | 3;
                x[6] = most(t);
                x[7] = most(t) | minus(t);
                x[8] = code(t, -1000);
                x[9] = code(t, 1000);
                x[10] = inf | 1;                             /* a signalling NaN */
                x[11] = code(t, -2);
                f_of((vq_act_kind)k, t, x, y, f, 12);
                CHECKF(same_value(f[0], 0.0), "%s(0) is %g", name, f[0]);
                CHECKF(f[2] == INFINITY, "%s(inf) is %g", name, f[2]);
                CHECKF(isnan(f[4]) && isnan(f[5]) && isnan(f[10]), "%s(nan) is %g %g %g", name,
                       f[4], f[5], f[10]);
                if (k == VQ_ACT_RELU2) {
                    CHECKF(same_value(f[3], 0.0) && same_value(f[7], 0.0) && same_value(f[8], 0.0)
                           && same_value(f[11], 0.0), "relu2 of negatives: %g %g %g %g", f[3], f[7],
                           f[8], f[11]);
                    CHECKF(f[6] == (t == VQ_F16 && to ? 65504.0 * 65504 : INFINITY),
                           "relu2 of the largest is %g", f[6]);
                    CHECK(f[9] == in_type(y, value(t, x[9]) * value(t, x[9])));
                    CHECKF(same_value(f[1], 0.0), "relu2(-0) is %g", f[1]);
                } else {
                    CHECKF(same_value(f[1], -0.0), "%s(-0) is %g", name, f[1]);
                    CHECKF(same_value(f[3], -0.0), "%s(-inf) is %g", name, f[3]);
                    CHECKF(same_value(f[7], -0.0), "%s(-largest) is %g", name, f[7]);
                    CHECKF(same_value(f[8], -0.0), "%s(-1000) is %g", name, f[8]);
                    CHECKF(f[6] == value(t, most(t)), "%s(largest) is %g", name, f[6]);
                    CHECKF(f[9] == value(t, x[9]), "%s(1000) is %g", name, f[9]);
                    CHECKF(f[11] < 0 && f[11] > -0.3, "%s(-2) is %g", name, f[11]);
                }
            }
}

/* Near the real functions; their last bits are test_activations.c's. */
static void activations_are_near_the_real_functions(void)
{
    int k, i, n;
    start();
    for (k = 0; k < VQ_ACT_RELU2; k++)
        for (i = 0; i < COUNT(types); i++) {
            const vq_dtype t = types[i];
            const double ulp = t == VQ_F32 ? 0x1p-20 : t == VQ_F16 ? 0x1p-10 : 0x1p-7;
            static uint32_t x[4000];
            static double f[4000];
            for (n = 0; n < 4000; n++) x[n] = code(t, t_randf(-9, 9));
            f_of((vq_act_kind)k, t, x, t, f, 4000);
            for (n = 0; n < 4000; n++) {
                const long double v = value(t, x[n]);
                const long double truth =
                    k == VQ_ACT_SILU ? v / (1 + expl(-v)) :
                    k == VQ_ACT_GELU ? v / 2 * erfcl(-v / sqrtl(2)) :
                    k == VQ_ACT_GELU_TANH ? v / (1 + expl(-2 * sqrtl(2 / 3.14159265358979323846L)
                                                          * (v + 0.044715L * v * v * v)))
                                          : v / (1 + expl(-1.702L * v));
                CHECKF(fabsl(truth - (long double)f[n]) <= ulp * (double)fabsl(truth) + 0x1p-24,
                       "%s(%.9g) of %s is %.9g, not %.9Lg", vq_act_str((vq_act_kind)k), (double)v,
                       vq_dtype_str(t), f[n], truth);
            }
        }
}

static void relu2_rounds_the_square_once(void)
{
    static uint32_t x[1 << 16];
    static double f[1 << 16];
    int i, to, n;
    start();
    for (i = 0; i < COUNT(types); i++)
        for (to = 0; to < (types[i] == VQ_F32 ? 1 : 2); to++) {
            const vq_dtype t = types[i], y = to ? VQ_F32 : t;
            for (n = 0; n < 1 << 16; n++) x[n] = t == VQ_F32 ? t_rand() : (uint32_t)n;
            f_of(VQ_ACT_RELU2, t, x, y, f, 1 << 16);
            for (n = 0; n < 1 << 16; n++) {
                const double v = value(t, x[n]);
                const double want = isnan(v) ? v : v > 0 ? in_type(y, v * v) : 0;
                CHECKF(isnan(want) ? isnan(f[n]) : f[n] == want, "%s %08x: %g, not %g",
                       vq_dtype_str(t), (unsigned)x[n], f[n], want);
            }
        }
}

/* One element gives what it gives alone, wherever it lies; gaps stay; x may become y. */
static void an_element_is_activated_by_itself(void)
{
    static uint32_t x[5000];
    static double f[5000];
    int k, i, to, in_place, round;
    start();
    for (k = 0; k < VQ_ACT_SWIGLU_OAI; k++)
        for (i = 0; i < COUNT(types); i++)
            for (to = 0; to < (types[i] == VQ_F32 ? 1 : 2); to++)
                for (in_place = 0; in_place < (to ? 1 : 2); in_place++)
                    for (round = 0; round < 4; round++) {
                        const vq_dtype t = types[i], y = to ? VQ_F32 : t;
                        const int64_t rows = 1 + t_rand() % 3;
                        const int64_t cols = round ? 1 + t_rand() % 100 : 1020 + t_rand() % 1200;
                        box bx = make_box(t, rows, cols, (int)(t_rand() % 3));
                        box by = make_box(y, rows, cols, (int)(t_rand() % 3)), *out = &by;
                        vq_report why = VQ_ZERO;
                        int64_t r, c;
                        int n;
                        fill(&bx);
                        for (n = 0, r = 0; r < rows; r++)
                            for (c = cols; c-- > 0; n++) x[n % 5000] = get(&bx, r, c);
                        if (n > 5000) n = 5000;
                        CHECK(rows * cols <= 5000 || round == 0);
                        if (in_place) out = &bx;
                        CHECKF(act((vq_act_kind)k, &bx.t, &out->t, &why) == VQ_OK, "%s", why.text);
                        if (rows * cols <= 5000) {
                            f_of((vq_act_kind)k, t, x, y, f, n);
                            for (n = 0, r = 0; r < rows; r++)
                                for (c = cols; c-- > 0; n++) expect(out, r, c, f[n]);
                            same(&bx, "x");
                            same(&by, "y");
                        }
                        drop(&bx);
                        drop(&by);
                    }
}

/* --- vq_act_mul ---------------------------------------------------------------------- */

typedef struct {
    vq_act_kind act;
    vq_gate     gate;
    vq_dtype    mid;
    float       alpha, limit, plus;
} gating;

static const char *about(const gating *g, vq_dtype x, vq_dtype y)
{
    static char text[200];
    snprintf(text, sizeof text, "%s %s mid %s alpha %g limit %g plus %g, %s to %s",
             vq_act_str(g->act), vq_gate_str(g->gate), vq_dtype_str(g->mid), (double)g->alpha,
             (double)g->limit, (double)g->plus, vq_dtype_str(x), vq_dtype_str(y));
    return text;
}

static vq_act_mul_args act_mul_args(const gating *g, const vq_tensor *x, const vq_tensor *y)
{
    vq_act_mul_args a = VQ_ZERO;
    a.act = g->act;
    a.gate = g->gate;
    a.mid = g->mid;
    a.alpha = g->alpha;
    a.limit = g->limit;
    a.plus = g->plus;
    a.x = *x;
    a.y = *y;
    return a;
}

static int64_t gate_at(vq_gate g, int64_t c, int64_t H)
{
    return g == VQ_GATE_FIRST ? c : g == VQ_GATE_SECOND ? H + c : 2 * c;
}

static int64_t up_at(vq_gate g, int64_t c, int64_t H)
{
    return g == VQ_GATE_FIRST ? H + c : g == VQ_GATE_SECOND ? c : 2 * c + 1;
}

/* f of SWIGLU_OAI in f32, each operation rounded; e^ is that of >>numerics. */
static double oai(double v, float alpha)
{
    const double e = vq__exp((float)rn(-(double)alpha * v));
    return isinf(e) ? -0.0 : rn(v / rn(1 + e));
}

static uint32_t held(vq_dtype t, uint32_t c, float limit, int both)
{
    const double v = value(t, c), to = in_type(t, limit);
    if (limit == 0 || isnan(v)) return c;
    if (v > to) return code(t, to);
    return both && v < -to ? code(t, -to) : c;
}

/* Row r of x into out[H], in the type mid, as the formula of the block says. */
static void gate_row(const gating *g, const box *x, int64_t r, double *out)
{
    static uint32_t gates[1 << 13];
    static double f[1 << 13];
    const vq_dtype t = x->t.dtype, mid = g->mid ? g->mid : t;
    const int64_t H = x->t.shape[1] / 2;
    int64_t c;
    for (c = 0; c < H; c++) {
        gates[c] = held(t, get(x, r, gate_at(g->gate, c, H)), g->limit, 0);
        f[c] = oai(value(t, gates[c]), g->alpha);
    }
    if (g->act != VQ_ACT_SWIGLU_OAI) f_of(g->act, t, gates, mid, f, (int)H);
    for (c = 0; c < H; c++) {
        double u = value(t, held(t, get(x, r, up_at(g->gate, c, H)), g->limit, 1));
        if (g->act == VQ_ACT_SWIGLU_OAI) u = rn(u + (double)g->plus);
        out[c] = in_type(mid, rn(f[c] * u));
    }
}

static gating any_gating(int n)
{
    static const float limits[] = { 0, 0, 7, 1, 0.3f, 6.9f, 1e-9f, 70000, 1e30f, 3e-41f };
    gating g;
    g.act = (vq_act_kind)(n % VQ_ACT_COUNT);
    g.gate = (vq_gate)(n / VQ_ACT_COUNT % VQ_GATE_COUNT);
    g.mid = n / VQ_ACT_COUNT / VQ_GATE_COUNT % 2 ? VQ_F32 : VQ_NONE;
    g.limit = MORE(limits);
    g.alpha = g.act != VQ_ACT_SWIGLU_OAI ? 0 : t_rand() % 2 ? 1.702f : t_randf(0.1f, 4);
    g.plus = g.act != VQ_ACT_SWIGLU_OAI ? 0 : t_rand() % 2 ? 1.0f : t_randf(-3, 3);
    return g;
}

static void gated_products_are_the_formula(void)
{
    static double want[1 << 13];
    int n, i;
    start();
    for (n = 0; n < 36 * 20; n++)
        for (i = 0; i < 5; i++) {
            static const vq_dtype pairs[5][2] = { { VQ_F32, VQ_F32 }, { VQ_F16, VQ_F16 },
                { VQ_F16, VQ_F32 }, { VQ_BF16, VQ_BF16 }, { VQ_BF16, VQ_F32 } };
            const vq_dtype t = pairs[i][0], y = pairs[i][1];
            gating g = any_gating(n);
            const int64_t rows = 1 + t_rand() % 3;
            const int64_t H = t_rand() % 20 ? 1 + t_rand() % 60 : 1000 + t_rand() % 1200;
            box bx = make_box(t, rows, 2 * H, (int)(t_rand() % 3));
            box by = make_box(y, rows, H, (int)(t_rand() % 3));
            vq_act_mul_args a = act_mul_args(&g, &bx.t, &by.t);
            vq_report why = VQ_ZERO;
            int64_t r, c;
            fill(&bx);
            a.call.report = &why;
            if (t_rand() % 4 == 0 && g.mid == VQ_NONE) a.mid = t;      /* says the same */
            CHECKF(vq_act_mul(any_cpu(), &a) == VQ_OK, "%s", why.text);
            for (r = 0; r < rows; r++) {
                gate_row(&g, &bx, r, want);
                for (c = 0; c < H; c++) expect(&by, r, c, want[c]);
            }
            if (!same(&bx, "x") || !same(&by, about(&g, t, y))) n = 1 << 20;
            drop(&bx);
            drop(&by);
        }
}

/* swiglu_oai has no vq_act() to lean on: its f, where up is 0 and plus 1, beside the real one. */
static void swiglu_oai_is_near_the_real_function(void)
{
    static const float alphas[] = { 1.702f, 1, 0.25f, 3, 1e-30f, 1e30f };
    enum { N = 4096 };
    int i, n;
    start();
    for (i = 0; i < COUNT(alphas); i++) {
        const gating g = { VQ_ACT_SWIGLU_OAI, VQ_GATE_FIRST, VQ_NONE, alphas[i], 0, 1 };
        box x = make_box(VQ_F32, 1, 2 * N, 0), y = make_box(VQ_F32, 1, N, 0);
        vq_act_mul_args a = act_mul_args(&g, &x.t, &y.t);
        const uint32_t inf = 0x7f800000u;
        for (n = 0; n < N; n++) {
            set(&x, 0, n, bits_of(t_randf(-12, 12)));
            set(&x, 0, N + n, 0);
        }
        set(&x, 0, 0, 0);
        set(&x, 0, 1, 0x80000000u);
        set(&x, 0, 2, inf);
        set(&x, 0, 3, inf | 0x80000000u);
        set(&x, 0, 4, inf | 0x400000);
        CHECK(vq_act_mul(any_cpu(), &a) == VQ_OK);
        CHECKF(same_value(get_value(&y, 0, 0), 0.0) && same_value(get_value(&y, 0, 1), -0.0)
               && get_value(&y, 0, 2) == INFINITY && same_value(get_value(&y, 0, 3), -0.0)
               && isnan(get_value(&y, 0, 4)), "alpha %g: %g %g", (double)alphas[i],
               get_value(&y, 0, 2), get_value(&y, 0, 3));
        for (n = 5; n < N; n++) {
            const long double v = get_value(&x, 0, n);
            const long double truth = v / (1 + expl(-(long double)alphas[i] * v));
            const double got = get_value(&y, 0, n);
            CHECKF(fabsl(truth - (long double)got) <= 0x1p-18 * (double)fabsl(truth) + 0x1p-30,
                   "alpha %g: f(%.9g) is %.9g, not %.9Lg", (double)alphas[i], (double)v, got,
                   truth);
        }
        drop(&x);
        drop(&y);
    }
}

/* A NaN passes the limit, in gate and in up; an infinity does not. */
static void the_limit_holds_all_but_nan(void)
{
    int k, i;
    start();
    for (k = 0; k < VQ_ACT_COUNT; k++)
        for (i = 0; i < COUNT(types); i++) {
            const vq_dtype t = types[i];
            const uint32_t inf = most(t) + 1, nan = inf | quiet(t);
            gating g = { VQ_ACT_SILU, VQ_GATE_FIRST, VQ_NONE, 0, 2, 0 };
            box x = make_box(t, 4, 2, 0), y = make_box(t, 4, 1, 0);
            vq_act_mul_args a;
            g.act = (vq_act_kind)k;
            if (k == VQ_ACT_SWIGLU_OAI) { g.alpha = 1; g.plus = 1; }
            set(&x, 0, 0, nan);             set(&x, 0, 1, code(t, 1));
            set(&x, 1, 0, code(t, 1));      set(&x, 1, 1, nan);
            set(&x, 2, 0, inf);             set(&x, 2, 1, inf);
            set(&x, 3, 0, code(t, 2));      set(&x, 3, 1, code(t, 2));
            a = act_mul_args(&g, &x.t, &y.t);
            CHECK(vq_act_mul(any_cpu(), &a) == VQ_OK);
            CHECKF(isnan(get_value(&y, 0, 0)) && isnan(get_value(&y, 1, 0)), "%s: %g %g",
                   about(&g, t, t), get_value(&y, 0, 0), get_value(&y, 1, 0));
            CHECKF(get(&y, 2, 0) == get(&y, 3, 0), "%s: %g %g", about(&g, t, t),
                   get_value(&y, 2, 0), get_value(&y, 3, 0));
            set(&x, 2, 1, inf | minus(t));
            set(&x, 3, 1, code(t, -2));
            CHECK(vq_act_mul(any_cpu(), &a) == VQ_OK);
            CHECK(get(&y, 2, 0) == get(&y, 3, 0));
            set(&x, 2, 0, inf | minus(t));                   /* no limit below, of the gate */
            CHECK(vq_act_mul(any_cpu(), &a) == VQ_OK);
            CHECKF(get_value(&y, 2, 0) == 0, "%s: %g", about(&g, t, t), get_value(&y, 2, 0));
            drop(&x);
            drop(&y);
        }
}

/* --- masked ------------------------------------------------------------------------------- */

/* The code of e4m3fn nearest to v, which is held to 448; NaN keeps. A search among all codes. */
static uint32_t e4m3(double v)
{
    static double of[127];
    const uint32_t sign = signbit(v) ? 0x80 : 0;
    double a = fabs(v) > 448 ? 448 : fabs(v);
    int lo = 0, hi = 126, m;
    if (isnan(v)) return 0x7f;
    if (of[126] == 0)
        for (m = 0; m < 127; m++)
            of[m] = m < 8 ? ldexp(m, -9) : ldexp(8 + m % 8, m / 8 - 10);
    while (hi - lo > 1) {
        m = (lo + hi) / 2;
        if (of[m] <= a) lo = m;
        else hi = m;
    }
    if (a - of[lo] > of[hi] - a || (a - of[lo] == of[hi] - a && hi % 2 == 0)) lo = hi;
    return sign | (uint32_t)lo;
}

/* Codes and the scale of a group of n values of type mid: amax.div448, floor=scale, x.div.s; or
   amax.rceil448, floor=raw. */
static double group(const double *v, int64_t n, vq_dtype mid, int power, uint32_t *q)
{
    const double largest = value(mid, most(mid));
    double amax = 0, s;
    int64_t i;
    int e;
    for (i = 0; i < n; i++) {
        double a = fabs(v[i]);
        if (a > largest) a = largest;
        if (a > amax) amax = a;                              /* a NaN is not */
    }
    s = rn(amax / 448);
    if (power) {
        if (s < (double)1e-10f) s = (double)1e-10f;
        s = frexp(s, &e) == 0.5 ? s : ldexp(1, e);
    } else if (s < (double)4.359654e-6f) s = (double)4.359654e-6f;
    for (i = 0; i < n; i++) q[i] = e4m3(rn(v[i] / s));
    return s;
}

static box cube(vq_dtype t, int64_t E, int64_t T, int64_t H, int gap, int more)
{
    int64_t shape[3];
    vq_tensor c;
    shape[0] = E;
    shape[1] = T;
    shape[2] = H;
    c = vq_tensor_nd(NULL, t, 3, shape, VQ_HOST);
    c.stride[1] += gap;
    c.stride[0] = c.stride[1] * T + more;
    return box_of(c);
}

/* Plane e as a matrix on the same bytes. */
static box plane(const box *b, int64_t e)
{
    box p = *b;
    p.t.rank = 2;
    p.t.shape[0] = b->t.shape[1];
    p.t.shape[1] = b->t.shape[2];
    p.t.stride[0] = b->t.stride[1];
    p.t.stride[1] = b->t.stride[2];
    p.from = b->from + (size_t)(e * b->t.stride[0] * (b->t.layout ? 1 : bytes_of(b->t.dtype)));
    p.t.data = b->mem + p.from;
    return p;
}

enum { TOKEN, GROUP, WORDS };

static vq_key masked_key(int kind)
{
    vq_key k = vq_key_preset(kind == WORDS ? VQ_KEY_VLLM_PACKED_UE8M0 : VQ_KEY_FP8_TOKEN);
    if (kind == GROUP) k.group_cols = 32;
    return k;
}

static void experts_rows_past_their_count_are_not_touched(void)
{
    static const int32_t odd[] = { -1, -2147483647 - 1, 2147483647, 100000 };
    static double want[1 << 13];
    static uint32_t q_want[1 << 13];
    int n;
    start();
    for (n = 0; n < 600; n++) {
        const int kind = n % 3, with_status = n / 3 % 2, strange = n / 6 % 3 == 0;
        const gating g = any_gating(n / 2);
        const vq_dtype t = types[n / 5 % 3], mid = g.mid ? g.mid : t;
        const int64_t E = 1 + t_rand() % 4, T = 1 + t_rand() % 6;
        const int64_t H = kind == WORDS ? 128 * (1 + t_rand() % 6) : 1 + t_rand() % 100;
        const int64_t wide = kind == TOKEN ? H : kind == GROUP ? 32 : 128;
        const int64_t G = (H + wide - 1) / wide;
        box x = cube(t, E, T, 2 * H, t_rand() % 3, t_rand() % 5);
        box q = cube(VQ_E4M3FN, E, T, H, t_rand() % 3, t_rand() % 5);
        box counts = box_of(vq_tensor_nd(NULL, VQ_INT32, 1, &E, VQ_HOST));
        box status = make_box(VQ_INT32, 1, 1, 0), s;
        vq_masked_act_mul_quant_args a = VQ_ZERO;
        vq_report why = VQ_ZERO;
        int32_t c, found = 0;
        int64_t e, r, h, i;
        {
            const int down = t_rand() % 2, words = kind == WORDS;
            vq_tensor m = VQ_ZERO;
            m.dtype = words ? VQ_E8M0 : VQ_F32;
            m.layout = words ? VQ_PACKED_UE8M0 : VQ_STRIDED;
            m.where = VQ_HOST;
            m.rank = 3;
            m.shape[0] = E;
            m.shape[1] = T;
            m.shape[2] = G;
            m.stride[1] = words ? 4 : down ? 1 : G + t_rand() % 3;
            m.stride[2] = words ? 4 * (down ? T : (T + 3) / 4 * 4 + t_rand() % 2 * 4)
                        : down ? T + t_rand() % 3 : 1;
            m.stride[0] = words ? (G + 3) / 4 * m.stride[2] + t_rand() % 2 * 12
                        : down ? m.stride[2] * G + t_rand() % 2 : m.stride[1] * T;
            s = box_of(m);
        }
        for (e = 0; e < E; e++) {
            box p = plane(&x, e);
            p.t.shape[1] = 2 * H;
            fill(&p);
            c = strange && t_rand() % 2 ? MORE(odd) : (int32_t)(t_rand() % (uint32_t)(T + 1));
            memcpy(counts.mem + counts.from + 4 * e, &c, 4);
            memcpy(counts.want + counts.from + 4 * e, &c, 4);
        }
        a.call.report = &why;
        a.key = masked_key(kind);
        a.act = g.act;
        a.gate = g.gate;
        a.mid = g.mid;
        a.alpha = g.alpha;
        a.limit = g.limit;
        a.plus = g.plus;
        a.x = x.t;
        a.counts = counts.t;
        a.q = q.t;
        a.scale = s.t;
        if (with_status) a.status = status.t;
        CHECKF(vq_masked_act_mul_quant(any_cpu(), &a) == VQ_OK, "%s", why.text);
        for (e = 0; e < E; e++) {
            box px = plane(&x, e), pq = plane(&q, e), ps = plane(&s, e);
            memcpy(&c, counts.mem + counts.from + 4 * e, 4);
            found |= c < 0 ? 1 : c > T ? 2 : 0;
            c = c < 0 ? 0 : c > T ? (int32_t)T : c;
            for (r = 0; r < c; r++) {
                gate_row(&g, &px, r, want);
                for (h = 0; h < G; h++) {
                    const int64_t n_of = h * wide + wide < H ? wide : H - h * wide;
                    double scale = group(want + h * wide, n_of, mid, kind == WORDS,
                                         q_want + h * wide);
                    if (kind == WORDS) {
                        int two;
                        frexp(scale, &two);
                        ps.want[ps.from + (size_t)(h / 4 * s.t.stride[2] + 4 * r + h % 4)]
                            = (uint8_t)(two - 1 + 127);
                    } else expect(&ps, r, h, scale);
                }
                for (h = G; kind == WORDS && h % 4; h++)
                    ps.want[ps.from + (size_t)(h / 4 * s.t.stride[2] + 4 * r + h % 4)] = 0;
                for (i = 0; i < H; i++)
                    write_at(pq.want + place(&pq, r, i), VQ_E4M3FN, q_want[i]);
            }
        }
        if (with_status) memcpy(status.want + status.from, &found, 4);
        if (!same(&x, "x") || !same(&counts, "counts") || !same(&q, about(&g, t, VQ_E4M3FN))
            || !same(&s, kind == WORDS ? "words" : "scales") || !same(&status, "status"))
            n = 1 << 20;
        drop(&x);
        drop(&q);
        drop(&s);
        drop(&counts);
        drop(&status);
    }
}

/* --- what the Differs lines say, counted --------------------------------------------------- */

enum { ROWS = 64, COLS = 1024, CODES = ROWS * COLS };
static uint16_t data_x[ROWS][2 * COLS];                      /* gate | up, bf16 */
static uint16_t half_y[ROWS][COLS];                          /* what upstream has in between */
static float    full_y[ROWS][COLS];
static uint8_t  ours[CODES], theirs[CODES];
static float    our_scale[CODES / 16], their_scale[CODES / 16];

/* The same whatever the seed is. */
static void make_data(void)
{
    const uint64_t was = t_state;
    int r, c;
    t_state = 20240517;
    for (r = 0; r < ROWS; r++)
        for (c = 0; c < 2 * COLS; c++)
            data_x[r][c] = (uint16_t)code(VQ_BF16, (double)(t_randf(-2, 2) + t_randf(-2, 2)
                                                           + t_randf(-1, 1)));
    t_state = was;
}

static double bf16(double v) { return in_type(VQ_BF16, v); }
static double gate_value(int r, int c) { return value(VQ_BF16, data_x[r][c]); }
static double up_value(int r, int c)   { return value(VQ_BF16, data_x[r][COLS + c]); }

/* The steps of upstream, each rounded to f32; its exponential taken as correctly rounded. */
static double silu_quotient(double v) { return rn(v / rn(1 + rn(exp(-v)))); }
static double silu_product(double v)  { return rn(v * rn(1 / rn(1 + rn(exp(-v))))); }
static double silu_exp2(double v)
{
    return rn(v / rn(1 + rn(exp2(-rn(v * (double)1.44269504089f)))));
}

static int unequal(const void *a, const void *b, size_t n, size_t size)
{
    size_t i;
    int count = 0;
    for (i = 0; i < n; i++)
        count += memcmp((const char *)a + i * size, (const char *)b + i * size, size) != 0;
    return count;
}

/* Codes of the fused op in `ours`; of what upstream has in between, under the same key, in
   `theirs`. */
static void quantize_ours(const vq_key *k, vq_dtype mid, float given)
{
    vq_act_mul_quant_args a = VQ_ZERO;
    vq_report why = VQ_ZERO;
    a.call.report = &why;
    a.key = *k;
    a.mid = mid;
    a.x = vq_tensor_2d(data_x, VQ_BF16, ROWS, 2 * COLS, VQ_HOST);
    a.q = vq_tensor_2d(ours, k->elem, ROWS, COLS, VQ_HOST);
    a.scale = vq_scale_for(k, a.q, VQ_ROWS, our_scale);
    if (k->flags & VQ_KEY_STATIC) our_scale[0] = given;
    if (k->bound_kind) a.bound = vq_tensor_2d(&given, VQ_F32, 1, 1, VQ_HOST);
    if (k->scale2_kind) a.scale2 = vq_tensor_2d(&given, VQ_F32, 1, 1, VQ_HOST);
    CHECKF(vq_act_mul_quant(any_cpu(), &a) == VQ_OK, "%s", why.text);
}

static void quantize_theirs(const vq_key *k, vq_dtype mid, float given)
{
    vq_quant_args a = VQ_ZERO;
    vq_report why = VQ_ZERO;
    a.call.report = &why;
    a.key = *k;
    a.x = mid == VQ_F32 ? vq_tensor_2d(full_y, VQ_F32, ROWS, COLS, VQ_HOST)
                        : vq_tensor_2d(half_y, VQ_BF16, ROWS, COLS, VQ_HOST);
    a.q = vq_tensor_2d(theirs, k->elem, ROWS, COLS, VQ_HOST);
    a.scale = vq_scale_for(k, a.q, VQ_ROWS, their_scale);
    if (k->flags & VQ_KEY_STATIC) their_scale[0] = given;
    if (k->bound_kind) a.bound = vq_tensor_2d(&given, VQ_F32, 1, 1, VQ_HOST);
    if (k->scale2_kind) a.scale2 = vq_tensor_2d(&given, VQ_F32, 1, 1, VQ_HOST);
    CHECKF(vq_quant(cpu, &a) == VQ_OK, "%s", why.text);
}

#define COUNTED(what, want) do { \
    const int counted = (what); \
    CHECKF(counted == (want), "%d, not %d", counted, want); } while (0)

/* silu to T, the product to T: mid = x's type. A NaN is 448 there. */
static void upstreams_static_kernel_rounds_to_the_input_type(void)
{
    const vq_key k = vq_key_preset(VQ_KEY_FP8_STATIC);
    int r, c;
    start();
    make_data();
    for (r = 0; r < ROWS; r++)
        for (c = 0; c < COLS; c++)
            half_y[r][c] = (uint16_t)code(VQ_BF16, rn(bf16(silu_quotient(gate_value(r, c)))
                                                      * up_value(r, c)));
    quantize_theirs(&k, VQ_BF16, 0.02f);
    quantize_ours(&k, VQ_NONE, 0.02f);
    COUNTED(unequal(ours, theirs, CODES, 1), 0);
    quantize_ours(&k, VQ_F32, 0.02f);
    COUNTED(unequal(ours, theirs, CODES, 1), 1593);
    data_x[0][0] = 0x7fc0;                                   /* conv() there makes it 0x7e */
    data_x[0][1] = 0xff80;                                   /* silu there: -infinity / infinity */
    quantize_ours(&k, VQ_NONE, 0.02f);
    CHECKF(ours[0] == 0x7f, "%02x", ours[0]);
    CHECKF((ours[1] & 0x7f) == 0, "%02x", ours[1]);
    CHECK(isnan(silu_quotient(-INFINITY)));
}

/* f32 up to the codes, and a bound on the scale: mid = f32, bound=scale. */
static void upstreams_per_block_kernel_is_mid_f32(void)
{
    vq_key k = vq_key_preset(VQ_KEY_VLLM_SILU_BLOCK128);
    int r, c;
    start();
    make_data();
    for (r = 0; r < ROWS; r++)
        for (c = 0; c < COLS; c++)
            full_y[r][c] = (float)rn(silu_product(gate_value(r, c)) * up_value(r, c));
    quantize_theirs(&k, VQ_F32, 0);
    quantize_ours(&k, VQ_F32, 0);
    COUNTED(unequal(ours, theirs, CODES, 1), 0);
    quantize_ours(&k, VQ_NONE, 0);
    COUNTED(unequal(ours, theirs, CODES, 1), 2058);
    k.bound_kind = VQ_BOUND_SCALE;
    quantize_theirs(&k, VQ_F32, 0.02f);
    quantize_ours(&k, VQ_F32, 0.02f);
    COUNTED(unequal(ours, theirs, CODES, 1), 0);
    k.bound_kind = VQ_BOUND_AMAX;                            /* where the per-token kernel has it */
    quantize_ours(&k, VQ_F32, 0.02f);
    COUNTED(unequal(ours, theirs, CODES, 1), 64772);
}

/* silu and product in f32, then one rounding to T: neither mid. */
static void upstreams_nvfp4_kernel_is_neither_mid(void)
{
    const vq_key k = vq_key_preset(VQ_KEY_NVFP4);
    int r, c;
    start();
    make_data();
    for (r = 0; r < ROWS; r++)
        for (c = 0; c < COLS; c++)
            half_y[r][c] = (uint16_t)code(VQ_BF16, rn(silu_quotient(gate_value(r, c))
                                                      * up_value(r, c)));
    quantize_theirs(&k, VQ_BF16, 200);
    quantize_ours(&k, VQ_NONE, 200);
    COUNTED(unequal(ours, theirs, CODES / 2, 1), 219);
    quantize_ours(&k, VQ_F32, 200);
    COUNTED(unequal(ours, theirs, CODES / 2, 1), 191);
}

/* The CUDA kernel: bf16 all the way, here step by step; the Triton one: f32 all the way. */
static void upstreams_masked_kernels_are_a_key_and_a_mid(void)
{
    vq_key k = vq_key_preset(VQ_KEY_VLLM_MASKED_SILU_CUDA);
    const double inv448 = bf16(rn(1.0 / 448));
    int r, c, g, n;
    start();
    make_data();
    CHECK(code(VQ_BF16, inv448) == 0x3b12);
    for (r = 0; r < ROWS; r++)
        for (g = 0; g < COLS / 128; g++) {
            double v[128], amax = value(VQ_BF16, 0x2edc), s, inv;
            for (n = 0; n < 128; n++) {
                c = g * 128 + n;
                v[n] = bf16(rn(bf16(silu_quotient(gate_value(r, c))) * up_value(r, c)));
                if (fabs(v[n]) > amax) amax = fabs(v[n]);
            }
            s = bf16(rn(amax * inv448));
            inv = bf16(rn(1 / s));
            their_scale[r * (COLS / 128) + g] = (float)s;
            for (n = 0; n < 128; n++)
                theirs[r * COLS + g * 128 + n] = (uint8_t)e4m3(bf16(rn(v[n] * inv)));
        }
    quantize_ours(&k, VQ_NONE, 0);
    COUNTED(unequal(ours, theirs, CODES, 1), 0);
    COUNTED(unequal(our_scale, their_scale, CODES / 128, 4), 0);

    k = vq_key_preset(VQ_KEY_FP8_GROUP128);                  /* amax * (1/448), x / s */
    for (r = 0; r < ROWS; r++)
        for (c = 0; c < COLS; c++)
            full_y[r][c] = (float)rn(silu_product(gate_value(r, c)) * up_value(r, c));
    quantize_theirs(&k, VQ_F32, 0);
    quantize_ours(&k, VQ_F32, 0);
    COUNTED(unequal(ours, theirs, CODES, 1), 0);
    quantize_ours(&k, VQ_NONE, 0);
    COUNTED(unequal(ours, theirs, CODES, 1), 2055);
}

/* x / (1 + 2^-(x log2 e)), all in f32. */
static void aiters_kernel_is_mid_f32(void)
{
    const vq_key k = vq_key_preset(VQ_KEY_AITER_GROUP128);
    int r, c;
    start();
    make_data();
    for (r = 0; r < ROWS; r++)
        for (c = 0; c < COLS; c++)
            full_y[r][c] = (float)rn(silu_exp2(gate_value(r, c)) * up_value(r, c));
    quantize_theirs(&k, VQ_F32, 0);
    quantize_ours(&k, VQ_F32, 0);
    COUNTED(unequal(ours, theirs, CODES, 1), 0);
    quantize_ours(&k, VQ_NONE, 0);
    COUNTED(unequal(ours, theirs, CODES, 1), 2055);
}

/* --- what is refused ------------------------------------------------------------------ */

#include "refused.h"

static any_args good_act(void)
{
    any_args any;
    vq_act_args *a = &any.act;
    memset(&any, 0, sizeof any);
    a->x = vq_tensor_2d(at(0), VQ_BF16, 4, 24, VQ_HOST);
    a->y = vq_tensor_2d(at(1), VQ_BF16, 4, 24, VQ_HOST);
    return any;
}

static any_args good_act_mul(void)
{
    any_args any;
    vq_act_mul_args *a = &any.act_mul;
    memset(&any, 0, sizeof any);
    a->x = vq_tensor_2d(at(0), VQ_BF16, 4, 48, VQ_HOST);
    a->y = vq_tensor_2d(at(1), VQ_BF16, 4, 24, VQ_HOST);
    return any;
}

static any_args good_act_mul_quant(void)
{
    any_args any;
    vq_act_mul_quant_args *a = &any.act_mul_quant;
    memset(&any, 0, sizeof any);
    a->key = vq_key_preset(VQ_KEY_FP8_GROUP128);
    a->x = vq_tensor_2d(at(0), VQ_BF16, 4, 512, VQ_HOST);
    a->q = vq_tensor_2d(at(1), VQ_E4M3FN, 4, 256, VQ_HOST);
    a->scale = vq_scale_for(&a->key, a->q, VQ_ROWS, at(2));
    return any;
}

static any_args good_masked(void)
{
    static const int64_t x[] = { 2, 3, 512 }, q[] = { 2, 3, 256 }, s[] = { 2, 3, 2 }, e[] = { 2 };
    any_args any;
    vq_masked_act_mul_quant_args *a = &any.masked_act_mul_quant;
    memset(&any, 0, sizeof any);
    a->key = vq_key_preset(VQ_KEY_FP8_GROUP128);
    a->x = vq_tensor_nd(at(0), VQ_BF16, 3, x, VQ_HOST);
    a->counts = vq_tensor_nd(at(1), VQ_INT32, 1, e, VQ_HOST);
    a->q = vq_tensor_nd(at(2), VQ_E4M3FN, 3, q, VQ_HOST);
    a->scale = vq_tensor_nd(at(3), VQ_F32, 3, s, VQ_HOST);
    a->status = vq_tensor_2d(at(4), VQ_INT32, 1, 1, VQ_HOST);
    return any;
}

static void what_is_wrong_with_a_tensor_is_said(void)
{
    static const part act_parts[] = { { "x", WIDES, 2, 0, 1 },
                                      { "y", IS(VQ_BF16) | IS(VQ_F32), 2, 0, 1 } };
    static const part quant_parts[] = { { "x", WIDES, 2, 0, 1 }, { "q", IS(VQ_E4M3FN), 2, 0, 1 },
                                        { "scale", IS(VQ_F32), 2, 0, 0 } };
    static const part masked_parts[] = { { "x", WIDES, 3, 0, 1 },
        { "counts", IS(VQ_INT32), 1, 0, 1 }, { "q", IS(VQ_E4M3FN), 3, 0, 1 },
        { "scale", IS(VQ_F32), 3, 0, 0 }, { "status", IS(VQ_INT32), 2, 1, 1 } };
    any_args good;
    start();
    good = good_act();
    refuses_tensors(VQ_OP_ACT, &good, act_parts, 2, 2);
    good = good_act_mul();
    refuses_tensors(VQ_OP_ACT_MUL, &good, act_parts, 2, 2);
    good = good_act_mul_quant();
    refuses_tensors(VQ_OP_ACT_MUL_QUANT, &good, quant_parts, 3, 6);
    good = good_masked();
    refuses_tensors(VQ_OP_MASKED_ACT_MUL_QUANT, &good, masked_parts, 5, 28);
}

/* The same for each op with a gate. */
#define BAD_GATINGS(op) do { \
    BAD(op, a->act = (vq_act_kind)-1, VALUE, "act", -1, VQ_ACT_COUNT - 1); \
    BAD(op, a->act = VQ_ACT_COUNT, VALUE, "act", VQ_ACT_COUNT, VQ_ACT_COUNT - 1); \
    BAD(op, a->gate = (vq_gate)-1, VALUE, "gate", -1, VQ_GATE_COUNT - 1); \
    BAD(op, a->gate = VQ_GATE_COUNT, VALUE, "gate", VQ_GATE_COUNT, VQ_GATE_COUNT - 1); \
    BAD(op, a->mid = VQ_F16, VALUE, "mid", VQ_F16, IS(VQ_F32) | IS(VQ_BF16)); \
    BAD(op, a->mid = VQ_E4M3FN, VALUE, "mid", VQ_E4M3FN, IS(VQ_F32) | IS(VQ_BF16)); \
    BAD(op, a->mid = (vq_dtype)99, VALUE, "mid", 99, IS(VQ_F32) | IS(VQ_BF16)); \
    BAD(op, a->limit = -1, VALUE, "limit", bits_of(-1), 0); \
    BAD(op, a->limit = NAN, VALUE, "limit", bits_of(NAN), 0); \
    BAD(op, a->limit = INFINITY, VALUE, "limit", bits_of(INFINITY), 0); \
    BAD(op, a->alpha = 1.702f, VALUE, "alpha", bits_of(1.702f), 0); \
    BAD(op, a->alpha = NAN, VALUE, "alpha", bits_of(NAN), 0); \
    BAD(op, a->plus = 1, VALUE, "plus", bits_of(1), 0); \
    BAD(op, a->act = VQ_ACT_SWIGLU_OAI, VALUE, "alpha", 0, bits_of(1.702f)); \
    BAD(op, a->act = VQ_ACT_SWIGLU_OAI; a->alpha = -1, VALUE, "alpha", bits_of(-1), \
        bits_of(1.702f)); \
    BAD(op, a->act = VQ_ACT_SWIGLU_OAI; a->alpha = INFINITY, VALUE, "alpha", \
        bits_of(INFINITY), bits_of(1.702f)); \
    BAD(op, a->act = VQ_ACT_SWIGLU_OAI; a->alpha = 1; a->plus = NAN, VALUE, "plus", \
        bits_of(NAN), bits_of(1)); \
    BAD(op, a->act = VQ_ACT_SWIGLU_OAI; a->alpha = 1; a->plus = -INFINITY, VALUE, "plus", \
        bits_of(-INFINITY), bits_of(1)); } while (0)

static void what_is_wrong_with_an_option_or_an_extent_is_said(void)
{
    any_args good;
    int d;
    start();
    fill_room();
    good = good_act();
    BAD(act, a->act = (vq_act_kind)-1, VALUE, "act", -1, VQ_ACT_SWIGLU_OAI - 1);
    BAD(act, a->act = VQ_ACT_SWIGLU_OAI, VALUE, "act", VQ_ACT_SWIGLU_OAI,
        VQ_ACT_SWIGLU_OAI - 1);
    BAD(act, a->y.dtype = VQ_F16, TYPE, "y", VQ_F16, IS(VQ_F32) | IS(VQ_BF16));
    for (d = -1; d <= 1; d += 2) {
        BAD(act, a->y.shape[0] += d, SHAPE, "y", 4 + d, 4);
        BAD(act, a->y.shape[1] += d; a->y.stride[0] = 99, SHAPE, "y", 24 + d, 24);
        BAD(act, a->x.shape[0] += d, SHAPE, "y", 4, 4 + d);
    }
    good = good_act_mul();
    BAD_GATINGS(act_mul);
    for (d = -1; d <= 1; d += 2) {
        BAD(act_mul, a->y.shape[0] += d, SHAPE, "y", 4 + d, 4);
        BAD(act_mul, a->y.shape[1] += d; a->y.stride[0] = 99, SHAPE, "y",
            24 + d, 24);
        BAD(act_mul, a->x.shape[1] += d; a->x.stride[0] = 99, SHAPE, "x",
            48 + d, 48 + d + 1);
        BAD(act_mul, a->x.shape[1] += 2 * d; a->x.stride[0] = 99, SHAPE, "y",
            24, 24 + d);
    }
    good = good_act_mul_quant();
    BAD_GATINGS(act_mul_quant);
    for (d = -1; d <= 1; d += 2) {
        BAD(act_mul_quant, a->x.shape[1] += d; a->x.stride[0] = 999,
            SHAPE, "x", 512 + d, 512 + d + 1);
        BAD(act_mul_quant, a->q.shape[0] += d, SHAPE, "q", 4 + d, 4);
        BAD(act_mul_quant, a->scale.shape[0] += d, SHAPE, "scale",
            4 + d, 4);
        BAD(act_mul_quant, a->scale.shape[1] += d, SHAPE, "scale",
            2 + d, 2);
    }
    BAD(act_mul_quant, a->zero = a->scale, UNUSED, "zero", 0, 0);
    BAD(act_mul_quant, a->bound = a->scale, UNUSED, "bound", 0, 0);
    BAD(act_mul_quant, a->scale2 = a->scale, UNUSED, "scale2", 0, 0);
    BAD(act_mul_quant, a->key.bound_kind = VQ_BOUND_AMAX, PRESENT,
        "bound", 0, 0);
    BAD(act_mul_quant, a->key.scale2_kind = VQ_SCALE2_MUL, PRESENT,
        "scale2", 0, 0);
    BAD(act_mul_quant, a->key.group_cols = 0, KEY, "key.group_cols", 0,
        1);
    BAD(act_mul_quant, a->key.group_cols = 96;
        a->key.flags = VQ_KEY_NO_TAIL, SHAPE, "x", 256, 288);
    good = good_masked();
    BAD_GATINGS(masked_act_mul_quant);
#define MASKED(change, guard, arg, found, needed) \
    BAD(masked_act_mul_quant, change, guard, arg, found, needed)
    MASKED(a->key = vq_key_preset(VQ_KEY_FP8_STATIC_TOKEN), KEY, "key.flags", VQ_KEY_STATIC, 0);
    MASKED(a->key = vq_key_preset(VQ_KEY_INT8_TOKEN_AZP), KEY, "key.flags", VQ_KEY_ASYMMETRIC, 0);
    MASKED(a->key = vq_key_preset(VQ_KEY_FP8_TENSOR), KEY, "key.group_rows", -1, 1);
    MASKED(a->key = vq_key_preset(VQ_KEY_FP8_BLOCK128), KEY, "key.group_rows", 128, 1);
    MASKED(a->key = vq_key_preset(VQ_KEY_NVFP4), KEY, "key.scale2_kind", VQ_SCALE2_DIV, 0);
    MASKED(a->key.bound_kind = VQ_BOUND_SCALE, KEY, "key.bound_kind", VQ_BOUND_SCALE, 0);
    MASKED(a->key.group_cols = 96; a->key.flags = VQ_KEY_NO_TAIL, SHAPE, "x", 256, 288);
    for (d = -1; d <= 1; d += 2) {
        MASKED(a->counts.shape[0] += d, SHAPE, "counts", 2 + d, 2);
        MASKED(a->x.shape[0] += d, SHAPE, "counts", 2, 2 + d);
        MASKED(a->x.shape[1] += d; a->x.stride[0] = 9999, SHAPE, "q", 3, 3 + d);
        MASKED(a->q.shape[0] += d, SHAPE, "q", 2 + d, 2);
        MASKED(a->q.shape[1] += d; a->q.stride[0] = 9999, SHAPE, "q", 3 + d, 3);
        MASKED(a->q.shape[2] += d; a->q.stride[1] = 999; a->q.stride[0] = 9999, SHAPE, "q", 256 + d,
               256);
        MASKED(a->scale.shape[0] += d, SHAPE, "scale", 2 + d, 2);
        MASKED(a->scale.shape[1] += d; a->scale.stride[0] = 99, SHAPE, "scale", 3 + d, 3);
        MASKED(a->scale.shape[2] += d; a->scale.stride[1] = 9; a->scale.stride[0] = 99, SHAPE,
               "scale", 2 + d, 2);
    }
    MASKED(a->status.shape[0] = 2, SHAPE, "status", 2, 1);
    MASKED(a->status.shape[1] = 2; a->status.stride[0] = 2, SHAPE, "status", 2, 1);
    MASKED(a->scale.stride[0] = 5, STRIDE, "scale", 5, 6);
    MASKED(a->q.stride[0] = 767, STRIDE, "q", 767, 768);
    {
        any_args packed = good;
        vq_masked_act_mul_quant_args *a = &packed.masked_act_mul_quant;
        vq_choice c;
        a->key.scale_type = VQ_E8M0;
        a->key.scale_rule = VQ_SCALE_RCEIL;
        a->scale.dtype = VQ_E8M0;
        CHECK(vq_plan(cpu, VQ_OP_MASKED_ACT_MUL_QUANT, &packed, &c) == VQ_OK);
        a->scale.layout = VQ_PACKED_UE8M0;
        a->scale.stride[1] = 4;
        a->scale.stride[2] = 12;
        a->scale.stride[0] = 12;
        CHECK(vq_plan(cpu, VQ_OP_MASKED_ACT_MUL_QUANT, &packed, &c) == VQ_OK);
        good = packed;
        MASKED(a->scale.stride[0] = 11, STRIDE, "scale", 11, 12);
        MASKED(a->scale.layout = VQ_SWIZZLE_8X4; a->scale.stride[2] = 1; a->scale.stride[1] = 4;
               a->scale.stride[0] = 32, LAYOUT, "scale", VQ_SWIZZLE_8X4,
               IS(VQ_STRIDED) | IS(VQ_PACKED_UE8M0));
    }
}

/* An extent of 0: nothing is done, nothing is asked of pointers, nothing is written. */
static void nothing_of_nothing(void)
{
    any_args any;
    start();
    fill_room();
#define NOTHING(maker, name, change) do { \
    any = maker(); \
    { vq_##name##_args *a = &any.name; change; CHECK(vq_##name(cpu, a) == VQ_OK); } \
    CHECKF(!memcmp(room, room_before, sizeof room), "%s: written", #name); } while (0)
    NOTHING(good_act, act, a->x.shape[0] = a->y.shape[0] = 0;
            a->x.data = a->y.data = NULL);
    NOTHING(good_act, act, a->x.shape[1] = a->y.shape[1] = 0);
    NOTHING(good_act_mul, act_mul, a->x.shape[0] = a->y.shape[0] = 0);
    NOTHING(good_act_mul, act_mul, a->x.shape[1] = a->y.shape[1] = 0);
    NOTHING(good_act_mul_quant, act_mul_quant,
            a->x.shape[0] = a->q.shape[0] = a->scale.shape[0] = 0);
    NOTHING(good_masked, masked_act_mul_quant,
            a->x.shape[0] = a->q.shape[0] = a->scale.shape[0] = a->counts.shape[0] = 0);
    NOTHING(good_masked, masked_act_mul_quant,
            a->x.shape[1] = a->q.shape[1] = a->scale.shape[1] = 0);
}

VQ_TEST_MAIN(T(activations_of_0_infinity_and_nan),
             T(activations_are_near_the_real_functions),
             T(relu2_rounds_the_square_once),
             T(an_element_is_activated_by_itself),
             T(gated_products_are_the_formula),
             T(swiglu_oai_is_near_the_real_function),
             T(the_limit_holds_all_but_nan),
             T(experts_rows_past_their_count_are_not_touched),
             T(what_is_wrong_with_a_tensor_is_said),
             T(what_is_wrong_with_an_option_or_an_extent_is_said),
             T(nothing_of_nothing),
             T(upstreams_static_kernel_rounds_to_the_input_type),
             T(upstreams_per_block_kernel_is_mid_f32),
             T(upstreams_nvfp4_kernel_is_neither_mid),
             T(upstreams_masked_kernels_are_a_key_and_a_mid),
             T(aiters_kernel_is_mid_f32))
