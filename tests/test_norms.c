/* test_norms.c - vq_rms_norm and vq_layer_norm beside their formulas

   Every operation in double, rounded to f32 once; the sums in the canonical order, by the C
   library's fmaf() and as 1,024 lanes that exchange. silu of a gate is taken from vq_act().

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

/* --- one case: [planes, rows, H], of rank 2 where planes is 0 --------------------------------- */

typedef struct {
    vq_dtype type, mid, to;
    int      layer, plus_one;
    float    eps;
    int64_t  planes, rows, H;
    box      x, residual, weight, gate, y;                   /* mem == NULL: absent */
} job;

static const char *about(const job *j)
{
    static char text[240];
    snprintf(text, sizeof text, "%s of %s to %s, mid %s, %dx%dx%d, eps %g%s%s%s%s",
             j->layer ? "layer" : "rms", vq_dtype_str(j->type), vq_dtype_str(j->to),
             vq_dtype_str(j->mid), (int)j->planes, (int)j->rows, (int)j->H, (double)j->eps,
             j->residual.mem ? ", residual" : "", j->weight.mem ? ", weight" : "",
             j->gate.mem ? ", gate" : "", j->plus_one ? ", plus one" : "");
    return text;
}

static box tensor(const job *j, vq_dtype t)
{
    int64_t shape[3];
    vq_tensor m;
    shape[0] = j->planes ? j->planes : j->rows;
    shape[1] = j->planes ? j->rows : j->H;
    shape[2] = j->H;
    m = vq_tensor_nd(NULL, t, j->planes ? 3 : 2, shape, VQ_HOST);
    if (t_rand() % 2) {                                      /* heads of wider rows, too */
        m.stride[m.rank - 2] += t_rand() % 4;
        if (m.rank == 3) m.stride[0] = m.stride[1] * shape[1] + t_rand() % 70;
    }
    if (m.rank == 3 && t_rand() % 4 == 0) {                  /* planes within rows */
        m.stride[0] = j->H + t_rand() % 3;
        m.stride[1] = m.stride[0] * j->planes + t_rand() % 3;
    }
    return box_of(m);
}

/* Row r of plane e as a row of a matrix. */
static box plane(const box *b, int64_t e)
{
    box p = *b;
    if (b->t.rank < 3) return p;
    p.t.rank = 2;
    p.t.shape[0] = b->t.shape[1];
    p.t.shape[1] = b->t.shape[2];
    p.t.stride[0] = b->t.stride[1];
    p.t.stride[1] = b->t.stride[2];
    p.from = b->from + (size_t)(e * b->t.stride[0] * bytes_of(b->t.dtype));
    p.t.data = b->mem + p.from;
    return p;
}

/* 1,024 lanes; after each exchange every lane holds what it had and what its partner had. */
static double butterfly(float *p)
{
    float q[1024];
    int d, i;
    for (d = 1; d < 1024; d <<= 1) {
        for (i = 0; i < 1024; i++) { volatile float s = p[i] + p[i ^ d]; q[i] = s; }
        memcpy(p, q, sizeof q);
    }
    return p[0];
}

static double sum_of(const double *v, int64_t n, int squares)
{
    float p[1024];
    int64_t i;
    memset(p, 0, sizeof p);
    for (i = 0; i < n; i++) {
        volatile float s = squares ? fmaf((float)v[i], (float)v[i], p[i % 1024])
                                   : p[i % 1024] + (float)v[i];
        p[i % 1024] = s;
    }
    return butterfly(p);
}

enum { LONGEST = 20000 };

/* silu of a row of the gate, in mid's type */
static void silu_of(const box *g, int64_t r, vq_dtype mid, double *out)
{
    static uint8_t to[4 * LONGEST];
    vq_act_args a = VQ_ZERO;
    int64_t n = g->t.shape[1], i;
    a.act = VQ_ACT_SILU;
    a.x = vq_tensor_2d(g->mem + place(g, r, 0), g->t.dtype, 1, n, VQ_HOST);
    a.y = vq_tensor_2d(to, mid, 1, n, VQ_HOST);
    CHECK(vq_act(any_cpu(), &a) == VQ_OK);
    for (i = 0; i < n; i++) out[i] = value(mid, read_at(to + i * bytes_of(mid), mid));
}

/* What the call must leave in y, which may be x, and in the residual. */
static void expect_norm(job *j, box *y)
{
    static double z[LONGEST], silu[LONGEST];
    const vq_dtype mid = j->mid ? j->mid : j->type;
    int64_t e, r, i;
    for (e = 0; e < (j->planes ? j->planes : 1); e++)
        for (r = 0; r < j->rows; r++) {
            box px = plane(&j->x, e), py = plane(y, e), pr, pg;
            double s, mean = 0, scale;
            if (j->residual.mem) pr = plane(&j->residual, e);
            if (j->gate.mem) { pg = plane(&j->gate, e); silu_of(&pg, r, mid, silu); }
            for (i = 0; i < j->H; i++) {
                z[i] = value(j->type, read_at(px.want + place(&px, r, i), j->type));
                if (!j->residual.mem) continue;
                z[i] = in_type(mid, rn(z[i] + value(j->type, read_at(pr.want + place(&pr, r, i),
                                                                    j->type))));
            }
            for (i = 0; j->residual.mem && i < j->H; i++) expect(&pr, r, i, z[i]);
            if (j->layer) {
                mean = rn(sum_of(z, j->H, 0) / (double)j->H);
                for (i = 0; i < j->H; i++) z[i] = rn(z[i] - mean);
            }
            s = rn(sum_of(z, j->H, 1) / (double)j->H);
            scale = rn(1 / rn(sqrt(rn(s + (double)j->eps))));
            for (i = 0; i < j->H; i++) {
                double v = in_type(mid, rn(z[i] * scale));
                if (j->weight.mem) {
                    double w = value(j->weight.t.dtype, read_at(j->weight.mem + j->weight.from
                                     + i * bytes_of(j->weight.t.dtype), j->weight.t.dtype));
                    if (j->plus_one) w = rn(w + 1);
                    v = in_type(mid, rn(v * w));
                }
                if (j->gate.mem) v = in_type(mid, rn(v * silu[i]));
                expect(&py, r, i, v);
            }
        }
}

static vq_status run(const job *j, const vq_tensor *y, vq_report *why)
{
    static const vq_tensor absent = VQ_ZERO;
    vq_rms_norm_args a = VQ_ZERO;
    vq_layer_norm_args l = VQ_ZERO;
    if (j->layer) {
        l.x = j->x.t;
        l.weight = j->weight.mem ? j->weight.t : absent;
        l.y = *y;
        l.eps = j->eps;
        l.plus_one = j->plus_one;
        l.mid = j->mid;
        l.call.report = why;
        return vq_layer_norm(any_cpu(), &l);
    }
    a.x = j->x.t;
    a.residual = j->residual.mem ? j->residual.t : absent;
    a.weight = j->weight.mem ? j->weight.t : absent;
    a.gate = j->gate.mem ? j->gate.t : absent;
    a.y = *y;
    a.eps = j->eps;
    a.plus_one = j->plus_one;
    a.mid = j->mid;
    a.call.report = why;
    return vq_rms_norm(any_cpu(), &a);
}

enum { PLAIN, ANY, ZERO, LARGE, TINY, INFINITE, ONE_NAN, CONSTANT, KINDS };

static uint32_t norm_code(vq_dtype t, int kind, uint32_t same)
{
    const uint32_t u = t_rand();
    switch (kind) {
    case ANY:      return any_code(t);
    case ZERO:     return u & 1 ? minus(t) : 0;
    case LARGE:    return (u & 1 ? minus(t) : 0) | (most(t) - (u >> 8) % (most(t) / 40));
    case TINY:     return (u & 1 ? minus(t) : 0) | (u >> 8) % (most(t) / 60);
    case CONSTANT: return same;
    default:       return code(t, any_float());
    }
}

static void fill_rows(box *b, int kind)
{
    int64_t e, r, c, planes = b->t.rank == 3 ? b->t.shape[0] : 1;
    for (e = 0; e < planes; e++) {
        box p = plane(b, e);
        for (r = 0; r < p.t.shape[0]; r++) {
            const uint32_t same = code(b->t.dtype, any_float()), at = t_rand();
            const int64_t one = (int64_t)(at % (uint32_t)p.t.shape[1]);
            for (c = 0; c < p.t.shape[1]; c++) set(&p, r, c, norm_code(b->t.dtype, kind, same));
            if (kind == INFINITE) set(&p, r, one, most(b->t.dtype) + 1);
            if (kind == ONE_NAN) set(&p, r, one, code(b->t.dtype, NAN));
        }
    }
}

static void drop_job(job *j)
{
    free(j->x.mem);
    free(j->residual.mem);
    free(j->weight.mem);
    free(j->gate.mem);
    free(j->y.mem);
}

/* One call with random options; 0 if it was wrong. */
static int one(int layer, vq_dtype type, int64_t planes, int64_t rows, int64_t H, int kind)
{
    static const float epsilons[] = { 1e-6f, 1e-5f, 1e-12f, 0, 0.1f, 1e30f, 1e-45f };
    const uint32_t u = t_rand();
    vq_report why = VQ_ZERO;
    int good, in_place;
    job j;
    box *y = &j.y;
    memset(&j, 0, sizeof j);
    j.layer = layer;
    j.type = type;
    j.mid = u & 1 ? VQ_F32 : u & 2 ? VQ_NONE : type;
    j.to = u & 4 ? VQ_F32 : type;
    j.eps = u >> 4 & 1 ? 1e-6f : MORE(epsilons);
    j.plus_one = u >> 5 & 1;
    j.planes = planes;
    j.rows = rows;
    j.H = H;
    in_place = j.to == type && (u >> 6 & 3) == 0;
    j.x = tensor(&j, type);
    j.y = tensor(&j, j.to);
    fill_rows(&j.x, kind);
    if (u >> 8 & 3) {
        j.weight = box_of(vq_tensor_nd(NULL, u >> 10 & 1 ? VQ_F32 : type, 1, &H, VQ_HOST));
        j.weight.t.rank = 2;                                 /* while it is filled */
        j.weight.t.shape[1] = H;
        j.weight.t.shape[0] = 1;
        j.weight.t.stride[1] = 1;
        fill_rows(&j.weight, u >> 11 & 7 ? PLAIN : ANY);
        j.weight.t.rank = 1;
        j.weight.t.shape[0] = H;
        j.weight.t.stride[0] = 1;
    }
    if (!layer && (u >> 14 & 1)) {
        j.residual = tensor(&j, type);
        fill_rows(&j.residual, u >> 15 & 1 ? kind : PLAIN);
    }
    if (!layer && (u >> 16 & 3) == 0) {
        j.gate = tensor(&j, type);
        fill_rows(&j.gate, u >> 18 & 3 ? PLAIN : ANY);
    }
    if (in_place) y = &j.x;
    CHECKF(run(&j, &y->t, &why) == VQ_OK, "%s: %s", why.text, about(&j));
    expect_norm(&j, y);
    good = same(&j.x, about(&j)) && same(&j.y, about(&j));
    if (j.residual.mem) good = same(&j.residual, about(&j)) && good;
    if (j.weight.mem) good = same(&j.weight, about(&j)) && good;
    if (j.gate.mem) good = same(&j.gate, about(&j)) && good;
    drop_job(&j);
    return good;
}

/* --- tests --------------------------------------------------------------------------- */

static void norms_of_every_length_are_the_formula(void)
{
    static const int64_t longer[] = { 1023, 1024, 1025, 2047, 2048, 2049, 4096, 7168, 8193, 14336 };
    int i, n, layer, round;
    int64_t H;
    start();
    for (layer = 0; layer < 2; layer++)
        for (i = 0; i < COUNT(types); i++) {
            for (H = 1; H <= 70; H++)
                for (round = 0; round < 12; round++)
                    if (!one(layer, types[i], 0, 1 + t_rand() % 3, H, PLAIN)) return;
            for (n = 0; n < COUNT(longer); n++)
                for (round = 0; round < 3; round++)
                    if (!one(layer, types[i], 0, 1 + t_rand() % 2, longer[n], PLAIN)) return;
        }
}

static void norms_of_heads_are_the_formula(void)
{
    static const int64_t heads[] = { 64, 80, 96, 112, 128, 192, 255, 256 };
    int i, n, layer, round;
    start();
    for (layer = 0; layer < 2; layer++)
        for (i = 0; i < COUNT(types); i++)
            for (n = 0; n < COUNT(heads); n++)
                for (round = 0; round < 12; round++)
                    if (!one(layer, types[i], 1 + t_rand() % 3, 1 + t_rand() % 5, heads[n],
                             round % 3 ? PLAIN : (int)(t_rand() % KINDS))) return;
}

static void norms_of_special_values_are_the_formula(void)
{
    static const int64_t lengths[] = { 1, 2, 7, 64, 65, 300, 1024, 1500, 2100 };
    int i, n, layer, kind, round;
    start();
    for (layer = 0; layer < 2; layer++)
        for (i = 0; i < COUNT(types); i++)
            for (kind = ANY; kind < KINDS; kind++)
                for (n = 0; n < COUNT(lengths); n++)
                    for (round = 0; round < 8; round++)
                        if (!one(layer, types[i], t_rand() % 3, 1 + t_rand() % 3, lengths[n], kind))
                            return;
}

/* Near the real norm: the sum has H / 1024 + 10 roundings, the rest a handful. */
static void norms_are_near_the_real_ones(void)
{
    static const int64_t lengths[] = { 3, 64, 1000, 5000, 16384 };
    int n, layer;
    int64_t i, H;
    start();
    for (n = 0; n < COUNT(lengths); n++)
        for (layer = 0; layer < 2; layer++) {
            long double sum = 0, mean = 0, scale;
            vq_report why = VQ_ZERO;
            double bound;
            job j;
            memset(&j, 0, sizeof j);
            j.layer = layer;
            j.type = j.to = VQ_F32;
            j.eps = 1e-5f;
            j.rows = 1;
            j.H = H = lengths[n];
            j.x = make_box(VQ_F32, 1, H, 0);
            j.y = make_box(VQ_F32, 1, H, 0);
            fill_rows(&j.x, PLAIN);
            CHECKF(run(&j, &j.y.t, &why) == VQ_OK, "%s", why.text);
            for (i = 0; i < H; i++) mean += (long double)get_value(&j.x, 0, i);
            mean = layer ? mean / H : 0;
            for (i = 0; i < H; i++) {
                long double d = (long double)get_value(&j.x, 0, i) - mean;
                sum += d * d;
            }
            scale = 1 / sqrtl(sum / H + (long double)j.eps);
            bound = ldexp((double)H / 1024 + 20, -24);
            for (i = 0; i < H; i++) {
                long double want = ((long double)get_value(&j.x, 0, i) - mean) * scale;
                double got = get_value(&j.y, 0, i);
                CHECKF(fabsl(want - (long double)got) <= bound * (1 + (double)fabsl(want)),
                       "%s[%d] is %.9g, not %.9Lg", about(&j), (int)i, got, want);
            }
            drop_job(&j);
        }
}

/* A norm of n values of a type and eps 0 by default; into out. */
static void norm_of(int layer, vq_dtype t, const double *x, int n, float eps, double *out)
{
    vq_report why = VQ_ZERO;
    job j;
    int i;
    memset(&j, 0, sizeof j);
    j.layer = layer;
    j.type = j.to = t;
    j.eps = eps;
    j.rows = 1;
    j.H = n;
    j.x = make_box(t, 1, n, 0);
    j.y = make_box(t, 1, n, 0);
    for (i = 0; i < n; i++) set(&j.x, 0, i, code(t, x[i]));
    CHECKF(run(&j, &j.y.t, &why) == VQ_OK, "%s", why.text);
    for (i = 0; i < n; i++) out[i] = get_value(&j.y, 0, i);
    drop_job(&j);
}

static int same_value(double a, double b)
{
    return isnan(a) ? isnan(b) : a == b && signbit(a) == signbit(b);
}

/* eps 0 under a row of zeros is 0 * infinity; a sum that overflows makes 0 of what is finite. */
static void rows_without_a_norm(void)
{
    static const double zeros[4] = { 0, -0.0, 0, 0 }, same[4] = { 3, 3, 3, 3 };
    static const double large[4] = { 0x1p100, -0x1p100, 1, -0.0 };
    static const double inf[4] = { INFINITY, 5, -5, 0 }, nan[4] = { 1, NAN, 2, 0 };
    static const double tiny[4] = { 0x1p-100, -0x1p-100, 0, 0x1p-100 };
    double y[4];
    int i, k;
    start();
    for (k = 0; k < COUNT(types); k++) {
        const vq_dtype t = types[k];
        norm_of(0, t, zeros, 4, 0, y);
        for (i = 0; i < 4; i++) CHECKF(isnan(y[i]), "%g", y[i]);
        norm_of(0, t, zeros, 4, 1e-6f, y);
        for (i = 0; i < 4; i++) CHECKF(same_value(y[i], zeros[i]), "%g", y[i]);
        norm_of(1, t, same, 4, 0, y);                        /* no variance */
        for (i = 0; i < 4; i++) CHECKF(isnan(y[i]), "%g", y[i]);
        norm_of(1, t, same, 4, 1e-6f, y);
        for (i = 0; i < 4; i++) CHECKF(same_value(y[i], 0.0), "%g", y[i]);
        norm_of(0, t, inf, 4, 1e-6f, y);
        CHECKF(isnan(y[0]) && same_value(y[1], 0.0) && same_value(y[2], -0.0)
               && same_value(y[3], 0.0), "%g %g %g %g", y[0], y[1], y[2], y[3]);
        norm_of(1, t, inf, 4, 1e-6f, y);                     /* the mean is infinite */
        for (i = 0; i < 4; i++) CHECKF(isnan(y[i]), "%g", y[i]);
        for (i = 0; i < 2; i++) {
            norm_of(i, t, nan, 4, 1e-6f, y);
            CHECKF(isnan(y[0]) && isnan(y[1]) && isnan(y[2]) && isnan(y[3]), "%g", y[0]);
        }
        if (t == VQ_F16) continue;
        norm_of(0, t, large, 4, 1e-6f, y);
        for (i = 0; i < 4; i++)
            CHECKF(same_value(y[i], signbit(large[i]) ? -0.0 : 0.0), "%g", y[i]);
        norm_of(0, t, tiny, 4, 0, y);                        /* squares below the smallest */
        CHECKF(y[0] == INFINITY && y[1] == -INFINITY && isnan(y[2]), "%g %g %g", y[0], y[1], y[2]);
    }
}

/* mid decides what the sum is made of, and T what is kept of it. */
static void the_residual_is_rounded_before_the_statistics_or_not(void)
{
    static const double x[2] = { 1, 256 }, add[2] = { 0x1p-9, 1 };
    int mid, i;
    start();
    for (mid = 0; mid < 2; mid++) {
        const double z0 = mid ? 1 + 0x1p-9 : 1, z1 = mid ? 257 : 256;
        const double scale = rn(1 / rn(sqrt(rn(rn(rn(z0 * z0 + z1 * z1) / 2) + 1e-6))));
        vq_report why = VQ_ZERO;
        job j;
        memset(&j, 0, sizeof j);
        j.type = VQ_BF16;
        j.to = VQ_F32;
        j.mid = mid ? VQ_F32 : VQ_NONE;
        j.eps = 1e-6f;
        j.rows = 1;
        j.H = 2;
        j.x = make_box(VQ_BF16, 1, 2, 0);
        j.residual = make_box(VQ_BF16, 1, 2, 0);
        j.y = make_box(VQ_F32, 1, 2, 0);
        for (i = 0; i < 2; i++) {
            set(&j.x, 0, i, code(VQ_BF16, x[i]));
            set(&j.residual, 0, i, code(VQ_BF16, add[i]));
        }
        CHECKF(run(&j, &j.y.t, &why) == VQ_OK, "%s", why.text);
        CHECKF(get_value(&j.residual, 0, 0) == 1 && get_value(&j.residual, 0, 1) == 256, "%g %g",
               get_value(&j.residual, 0, 0), get_value(&j.residual, 0, 1));
        CHECKF(get_value(&j.y, 0, 1) == (mid ? rn(257 * scale) : in_type(VQ_BF16, rn(256 * scale))),
               "%.9g", get_value(&j.y, 0, 1));
        drop_job(&j);
    }
}

/* --- what the Differs lines say, counted --------------------------------------------------- */

enum { ROWS = 64, COLS = 1024, CODES = ROWS * COLS };
static uint16_t data_x[ROWS][COLS], data_add[ROWS][COLS], data_w[COLS], kept[ROWS][COLS];
static uint16_t half_y[ROWS][COLS];                          /* what upstream has in between */
static float    full_y[ROWS][COLS];
static uint8_t  ours[CODES], theirs[CODES];
static float    our_scale[ROWS], their_scale[ROWS];

/* The same whatever the seed is. */
static void make_data(void)
{
    const uint64_t was = t_state;
    int r, c;
    t_state = 20240517;
    for (c = 0; c < COLS; c++) data_w[c] = (uint16_t)code(VQ_BF16, (double)t_randf(0.2f, 2));
    for (r = 0; r < ROWS; r++)
        for (c = 0; c < COLS; c++) {
            data_x[r][c] = (uint16_t)code(VQ_BF16, (double)(t_randf(-2, 2) + t_randf(-1, 1)));
            data_add[r][c] = (uint16_t)code(VQ_BF16, (double)(t_randf(-2, 2) + t_randf(-3, 3)));
        }
    t_state = was;
}

static double bf16(double v) { return in_type(VQ_BF16, v); }

/* A row of x + residual: rounded to bf16 or not. The root and the sum as exact as can be: what
   remains is what upstream rounds elsewhere. */
static double z_of(int r, int c, int rounded)
{
    double z = rn(value(VQ_BF16, data_x[r][c]) + value(VQ_BF16, data_add[r][c]));
    return rounded ? bf16(z) : z;
}

static double scale_of(int r, int rounded)
{
    double sum = 0;
    int c;
    for (c = 0; c < COLS; c++) sum += z_of(r, c, rounded) * z_of(r, c, rounded);
    return rn(1 / sqrt(sum / COLS + 1e-6));
}

static void quantize_ours(const vq_key *k, vq_dtype mid, float given)
{
    const int64_t H = COLS;
    vq_rms_norm_quant_args a = VQ_ZERO;
    vq_report why = VQ_ZERO;
    memcpy(kept, data_add, sizeof kept);
    a.call.report = &why;
    a.key = *k;
    a.mid = mid;
    a.eps = 1e-6f;
    a.x = vq_tensor_2d(data_x, VQ_BF16, ROWS, COLS, VQ_HOST);
    a.residual = vq_tensor_2d(kept, VQ_BF16, ROWS, COLS, VQ_HOST);
    a.weight = vq_tensor_nd(data_w, VQ_BF16, 1, &H, VQ_HOST);
    a.q = vq_tensor_2d(ours, k->elem, ROWS, COLS, VQ_HOST);
    a.scale = vq_scale_for(k, a.q, VQ_ROWS, our_scale);
    if (k->flags & VQ_KEY_STATIC) our_scale[0] = given;
    if (k->bound_kind) a.bound = vq_tensor_2d(&given, VQ_F32, 1, 1, VQ_HOST);
    CHECKF(vq_rms_norm_quant(any_cpu(), &a) == VQ_OK, "%s", why.text);
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
    CHECKF(vq_quant(cpu, &a) == VQ_OK, "%s", why.text);
}

static int unequal(const uint8_t *a, const uint8_t *b, int n)
{
    int i, count = 0;
    for (i = 0; i < n; i++) count += a[i] != b[i];
    return count;
}

#define COUNTED(what, want) do { \
    const int counted = (what); \
    CHECKF(counted == (want), "%d, not %d", counted, want); } while (0)

/* Statistics of the rounded sum, the norm to T, the product to T: mid = x's type. */
static void upstreams_static_kernel_rounds_to_the_input_type(void)
{
    const vq_key k = vq_key_preset(VQ_KEY_FP8_STATIC);
    int r, c;
    start();
    make_data();
    for (r = 0; r < ROWS; r++) {
        const double scale = scale_of(r, 1);
        for (c = 0; c < COLS; c++)
            half_y[r][c] = (uint16_t)code(VQ_BF16, rn(bf16(rn(z_of(r, c, 1) * scale))
                                                      * value(VQ_BF16, data_w[c])));
    }
    quantize_theirs(&k, VQ_BF16, 0.02f);
    quantize_ours(&k, VQ_NONE, 0.02f);
    COUNTED(unequal(ours, theirs, CODES), 0);
    quantize_ours(&k, VQ_F32, 0.02f);
    COUNTED(unequal(ours, theirs, CODES), 1766);
}

/* Statistics of the sum before it is rounded, and the norm and the product to T: neither mid;
   the residual that is kept is rounded all the same. A bound is on the amax. */
static void upstreams_dynamic_kernel_is_neither_mid(void)
{
    vq_key k = vq_key_preset(VQ_KEY_FP8_TOKEN);
    int r, c;
    start();
    make_data();
    for (r = 0; r < ROWS; r++) {
        const double scale = scale_of(r, 0);
        for (c = 0; c < COLS; c++)
            half_y[r][c] = (uint16_t)code(VQ_BF16, rn(bf16(rn(z_of(r, c, 0) * scale))
                                                      * value(VQ_BF16, data_w[c])));
    }
    quantize_theirs(&k, VQ_BF16, 0);
    quantize_ours(&k, VQ_NONE, 0);
    COUNTED(unequal(ours, theirs, CODES), 1863);
    for (r = 0; r < ROWS; r++)
        for (c = 0; c < COLS; c++)
            CHECK(kept[r][c] == code(VQ_BF16, z_of(r, c, 1)));
    quantize_ours(&k, VQ_F32, 0);
    COUNTED(unequal(ours, theirs, CODES), 2057);
    k.bound_kind = VQ_BOUND_AMAX;
    quantize_theirs(&k, VQ_BF16, 3);
    quantize_ours(&k, VQ_NONE, 3);
    COUNTED(unequal(ours, theirs, CODES), 821);
}

/* There is nothing to round then. */
static void without_a_residual_it_is_mid_of_the_input_type(void)
{
    vq_key k = vq_key_preset(VQ_KEY_FP8_TOKEN);
    int r, c;
    start();
    make_data();
    memset(data_add, 0, sizeof data_add);
    for (r = 0; r < ROWS; r++) {
        const double scale = scale_of(r, 0);
        for (c = 0; c < COLS; c++)
            half_y[r][c] = (uint16_t)code(VQ_BF16, rn(bf16(rn(z_of(r, c, 0) * scale))
                                                      * value(VQ_BF16, data_w[c])));
    }
    quantize_theirs(&k, VQ_BF16, 0);
    quantize_ours(&k, VQ_NONE, 0);
    COUNTED(unequal(ours, theirs, CODES), 0);
}

/* No rounding but f32's: mid = f32, where the statistics are of the unrounded sum as well. */
static void aiters_kernel_is_mid_f32(void)
{
    const vq_key k = vq_key_preset(VQ_KEY_AITER_TOKEN);
    int r, c;
    start();
    make_data();
    for (r = 0; r < ROWS; r++) {
        const double scale = scale_of(r, 0);
        for (c = 0; c < COLS; c++)
            full_y[r][c] = (float)rn(rn(z_of(r, c, 0) * scale) * value(VQ_BF16, data_w[c]));
    }
    quantize_theirs(&k, VQ_F32, 0);
    quantize_ours(&k, VQ_F32, 0);
    COUNTED(unequal(ours, theirs, CODES), 0);
    quantize_ours(&k, VQ_NONE, 0);
    COUNTED(unequal(ours, theirs, CODES), 2624);
}

/* What another order of the sum changes: the values of a norm in f32 beside those of a sum in
   double. */
static void another_order_of_the_sum_changes_last_bits(void)
{
    vq_rms_norm_args a = VQ_ZERO;
    int r, c, count = 0;
    static float x[ROWS][COLS];
    start();
    make_data();
    memset(data_add, 0, sizeof data_add);
    for (r = 0; r < ROWS; r++)
        for (c = 0; c < COLS; c++) x[r][c] = (float)value(VQ_BF16, data_x[r][c]);
    a.x = vq_tensor_2d(x, VQ_F32, ROWS, COLS, VQ_HOST);
    a.y = vq_tensor_2d(full_y, VQ_F32, ROWS, COLS, VQ_HOST);
    a.eps = 1e-6f;
    CHECK(vq_rms_norm(cpu, &a) == VQ_OK);
    for (r = 0; r < ROWS; r++) {
        const double scale = scale_of(r, 0);
        for (c = 0; c < COLS; c++) {
            const double want = rn((double)x[r][c] * scale), got = (double)full_y[r][c];
            count += got != want;
            CHECKF(fabs(got - want) <= fabs(want) * 0x1p-21, "%.9g, not %.9g", got, want);
        }
    }
    COUNTED(count, 27078);
}

/* --- what is refused ------------------------------------------------------------------ */

#include "refused.h"

static any_args good_rms_norm(int rank)
{
    static const int64_t shape[] = { 2, 3, 40 }, H[] = { 40 };
    any_args any;
    vq_rms_norm_args *a = &any.rms_norm;
    memset(&any, 0, sizeof any);
    a->x = vq_tensor_nd(at(0), VQ_BF16, rank, shape + 3 - rank, VQ_HOST);
    a->residual = vq_tensor_nd(at(1), VQ_BF16, rank, shape + 3 - rank, VQ_HOST);
    a->weight = vq_tensor_nd(at(2), VQ_BF16, 1, H, VQ_HOST);
    a->gate = vq_tensor_nd(at(3), VQ_BF16, rank, shape + 3 - rank, VQ_HOST);
    a->y = vq_tensor_nd(at(4), VQ_BF16, rank, shape + 3 - rank, VQ_HOST);
    return any;
}

static any_args good_layer_norm(int rank)
{
    const any_args rms = good_rms_norm(rank);
    any_args any;
    memset(&any, 0, sizeof any);
    any.layer_norm.x = rms.rms_norm.x;
    any.layer_norm.weight = rms.rms_norm.weight;
    any.layer_norm.y = rms.rms_norm.y;
    return any;
}

static any_args good_rms_norm_quant(void)
{
    const any_args rms = good_rms_norm(2);
    any_args any;
    vq_rms_norm_quant_args *a = &any.rms_norm_quant;
    memset(&any, 0, sizeof any);
    a->key = vq_key_preset(VQ_KEY_FP8_TOKEN);
    a->key.group_cols = 16;
    a->x = rms.rms_norm.x;
    a->residual = rms.rms_norm.residual;
    a->weight = rms.rms_norm.weight;
    a->gate = rms.rms_norm.gate;
    a->q = vq_tensor_2d(at(5), VQ_E4M3FN, 3, 40, VQ_HOST);
    a->scale = vq_scale_for(&a->key, a->q, VQ_ROWS, at(6));
    return any;
}

static void what_is_wrong_with_a_tensor_is_said(void)
{
    static const part two[] = {
        { "x", WIDES, 2, 0, 1 }, { "residual", IS(VQ_BF16), 2, 1, 1 },
        { "weight", IS(VQ_BF16) | IS(VQ_F32), 1, 1, 1 }, { "gate", IS(VQ_BF16), 2, 1, 1 },
        { "y", IS(VQ_BF16) | IS(VQ_F32), 2, 0, 1 }
    };
    static const part quant[] = {
        { "x", WIDES, 2, 0, 1 }, { "residual", IS(VQ_BF16), 2, 1, 1 },
        { "weight", IS(VQ_BF16) | IS(VQ_F32), 1, 1, 1 }, { "gate", IS(VQ_BF16), 2, 1, 1 },
        { "q", IS(VQ_E4M3FN), 2, 0, 1 }, { "scale", IS(VQ_F32), 2, 0, 0 }
    };
    part three[5], layer[3];
    any_args good;
    int i;
    start();
    good = good_rms_norm(2);
    refuses_tensors(VQ_OP_RMS_NORM, &good, two, 5, 2 | 16);
    memcpy(three, two, sizeof three);
    for (i = 0; i < 5; i++) if (three[i].rank == 2) three[i].rank = 3;
    good = good_rms_norm(3);
    good.rms_norm.x.stride[0] = good.rms_norm.y.stride[0] = 128;
    /* of x ranks 2 and 3 are right: the others then have the wrong one */
    refuses_tensors(VQ_OP_RMS_NORM, &good, three + 1, 4, 1 | 8);
    good = good_layer_norm(2);
    layer[0] = two[0];
    layer[1] = two[2];
    layer[2] = two[4];
    refuses_tensors(VQ_OP_LAYER_NORM, &good, layer, 3, 4);
    good = good_rms_norm_quant();
    refuses_tensors(VQ_OP_RMS_NORM_QUANT, &good, quant, 6, 2 | 16 | 32);
}

#define BAD_NORMS(op) do { \
    BAD(op, a->eps = -1e-6f, VALUE, "eps", bits_of(-1e-6f), bits_of(1e-6f)); \
    BAD(op, a->eps = NAN, VALUE, "eps", bits_of(NAN), bits_of(1e-6f)); \
    BAD(op, a->eps = INFINITY, VALUE, "eps", bits_of(INFINITY), bits_of(1e-6f)); \
    BAD(op, a->mid = VQ_F16, VALUE, "mid", VQ_F16, IS(VQ_F32) | IS(VQ_BF16)); \
    BAD(op, a->mid = VQ_INT8, VALUE, "mid", VQ_INT8, IS(VQ_F32) | IS(VQ_BF16)); \
    BAD(op, a->weight.dtype = VQ_F16, TYPE, "weight", VQ_F16, IS(VQ_F32) | IS(VQ_BF16)); \
    BAD(op, a->weight.shape[0] = 39, SHAPE, "weight", 39, 40); \
    BAD(op, a->weight.shape[0] = 1, SHAPE, "weight", 1, 40); } while (0)

#define BAD_EXTENTS(op, name) do { \
    int k; \
    for (k = 0; k < 2; k++) { \
        BAD(op, a->name.shape[k] += 1; a->name.stride[0] = 99, SHAPE, #name, (k ? 40 : 3) + 1, \
            k ? 40 : 3); \
        BAD(op, a->name.shape[k] -= 1; a->name.stride[0] = 99, SHAPE, #name, (k ? 40 : 3) - 1, \
            k ? 40 : 3); } } while (0)

static void what_is_wrong_with_an_option_or_an_extent_is_said(void)
{
    any_args good;
    start();
    fill_room();
    good = good_rms_norm(2);
    BAD_NORMS(rms_norm);
    BAD_EXTENTS(rms_norm, residual);
    BAD_EXTENTS(rms_norm, gate);
    BAD_EXTENTS(rms_norm, y);
    BAD(rms_norm, a->x.shape[0] = 4, SHAPE, "residual", 3, 4);
    good = good_rms_norm(3);
    BAD_NORMS(rms_norm);
    BAD(rms_norm, a->y.shape[0] = 3, SHAPE, "y", 3, 2);
    BAD(rms_norm, a->y.stride[0] = 119, STRIDE, "y", 119, 120);
    BAD(rms_norm, a->residual.stride[0] = 119, STRIDE, "residual", 119, 120);
    good = good_layer_norm(2);
    BAD_NORMS(layer_norm);
    BAD_EXTENTS(layer_norm, y);
    good = good_layer_norm(3);
    BAD_NORMS(layer_norm);
    good = good_rms_norm_quant();
    BAD_NORMS(rms_norm_quant);
    BAD_EXTENTS(rms_norm_quant, residual);
    BAD_EXTENTS(rms_norm_quant, gate);
    BAD_EXTENTS(rms_norm_quant, q);
    BAD(rms_norm_quant, a->x.rank = 3; a->x.shape[2] = a->x.stride[2] = 1, RANK, "x", 3, 2);
    BAD(rms_norm_quant, a->scale.shape[0] = 2, SHAPE, "scale", 2, 3);
    BAD(rms_norm_quant, a->scale.shape[1] = 2, SHAPE, "scale", 2, 3);
    BAD(rms_norm_quant, a->zero = a->scale, UNUSED, "zero", 0, 0);
    BAD(rms_norm_quant, a->bound = a->scale, UNUSED, "bound", 0, 0);
    BAD(rms_norm_quant, a->scale2 = a->scale, UNUSED, "scale2", 0, 0);
    BAD(rms_norm_quant, a->key.bound_kind = VQ_BOUND_AMAX, PRESENT, "bound", 0, 0);
    BAD(rms_norm_quant, a->key.scale2_kind = VQ_SCALE2_MUL, PRESENT, "scale2", 0, 0);
    BAD(rms_norm_quant, a->key.group_cols = 0, KEY, "key.group_cols", 0, 1);
    BAD(rms_norm_quant, a->key.flags = VQ_KEY_NO_TAIL, SHAPE, "x", 40, 48);
}

/* An extent of 0: nothing is done and nothing is written. */
static void nothing_of_nothing(void)
{
    any_args any;
    int k;
    start();
    fill_room();
    for (k = 0; k < 3; k++) {
        any = good_rms_norm(3);
        any.rms_norm.x.shape[k] = any.rms_norm.residual.shape[k] = any.rms_norm.gate.shape[k] = 0;
        any.rms_norm.y.shape[k] = 0;
        if (k == 2) any.rms_norm.weight.shape[0] = 0;
        any.rms_norm.x.data = NULL;
        CHECK(vq_rms_norm(cpu, &any.rms_norm) == VQ_OK);
        any = good_layer_norm(3);
        any.layer_norm.x.shape[k] = any.layer_norm.y.shape[k] = 0;
        if (k == 2) any.layer_norm.weight.shape[0] = 0;
        CHECK(vq_layer_norm(cpu, &any.layer_norm) == VQ_OK);
    }
    any = good_rms_norm_quant();
    any.rms_norm_quant.x.shape[0] = any.rms_norm_quant.residual.shape[0] = 0;
    any.rms_norm_quant.gate.shape[0] = any.rms_norm_quant.q.shape[0] = 0;
    any.rms_norm_quant.scale.shape[0] = 0;
    CHECK(vq_rms_norm_quant(cpu, &any.rms_norm_quant) == VQ_OK);
    CHECK(!memcmp(room, room_before, sizeof room));
}

VQ_TEST_MAIN(T(norms_of_every_length_are_the_formula),
             T(norms_of_heads_are_the_formula),
             T(norms_of_special_values_are_the_formula),
             T(norms_are_near_the_real_ones),
             T(rows_without_a_norm),
             T(the_residual_is_rounded_before_the_statistics_or_not),
             T(what_is_wrong_with_a_tensor_is_said),
             T(what_is_wrong_with_an_option_or_an_extent_is_said),
             T(nothing_of_nothing),
             T(upstreams_static_kernel_rounds_to_the_input_type),
             T(upstreams_dynamic_kernel_is_neither_mid),
             T(without_a_residual_it_is_mid_of_the_input_type),
             T(aiters_kernel_is_mid_f32),
             T(another_order_of_the_sum_changes_last_bits))
