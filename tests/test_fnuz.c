/* test_fnuz.c - vq_fnuz_normalize: every code and scale in the other bias, and what it refuses

   The oracle goes through values: it decodes by the formula of a format, halves or doubles, and
   searches the other format for a code of exactly that value. */
#include <fenv.h>
#include <math.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
#define IS(t)    (1 << (t))

static vq_ctx *cpu;

static void stop(void) { vq_free(cpu); }

static void start(void)
{
    vq_desc d = VQ_ZERO;
    if (cpu) return;
    d.backend = VQ_CPU;
    CHECK(vq_init(&d, &cpu) == VQ_OK);
    atexit(stop);
}

/* --- the oracle ------------------------------------------------------------ */

typedef struct { vq_dtype t, twin; int mbits, off, sub, fnuz; } fp8;

static const fp8 fp8s[] = {
    { VQ_E4M3FN,   VQ_E4M3FNUZ, 3, 7,  -6,  0 },
    { VQ_E4M3FNUZ, VQ_E4M3FN,   3, 8,  -7,  1 },
    { VQ_E5M2,     VQ_E5M2FNUZ, 2, 15, -14, 0 },
    { VQ_E5M2FNUZ, VQ_E5M2,     2, 16, -15, 1 },
};

static const fp8 *fp8_of(vq_dtype t)
{
    int i;
    for (i = 0; i < COUNT(fp8s) - 1 && fp8s[i].t != t; i++) {}
    return fp8s + i;
}

static double code_value(const fp8 *f, int c)
{
    int steps = 1 << f->mbits, mag = c & 127, e = mag / steps, m = mag % steps;
    double v = e ? ldexp(1 + (double)m / steps, e - f->off) : ldexp((double)m / steps, f->sub);
    if (f->fnuz) return c == 0x80 ? NAN : c & 128 ? -v : v;
    if (f->t == VQ_E4M3FN && mag == 127) return NAN;
    if (f->t == VQ_E5M2 && e == 31) v = m ? NAN : INFINITY;
    return c & 128 ? -v : v;
}

static int other_code(const fp8 *from, int c, vq_overflow o)
{
    const fp8 *to = fp8_of(from->twin);
    double v = code_value(from, c) * (to->fnuz ? 0.5 : 2), most = 0;
    int nan = to->fnuz ? 0x80 : 0x7f, largest = 0, i;
    if (isnan(v)) return nan;
    if (v == 0) return signbit(v) && !to->fnuz ? 0x80 : 0;
    for (i = 0; i < 256; i++) {
        double w = code_value(to, i);
        if (w == v && !isinf(v)) return i;
        if (i < 128 && isfinite(w) && w > most) { most = w; largest = i; }
    }
    CHECK(fabs(v) > most);
    if (o == VQ_SATURATE) return largest | (v < 0 ? 128 : 0);
    return to->t == VQ_E5M2 ? v < 0 ? 0xfc : 0x7c : nan;
}

/* The scale's code times 2, or halved: exact in double, then once to the type. */
static uint32_t other_scale(vq_dtype t, uint32_t c, int to_fnuz)
{
    int mbits = t == VQ_F16 ? 10 : t == VQ_BF16 ? 7 : 23, bits = t == VQ_F32 ? 32 : 16;
    int bias = t == VQ_F16 ? 15 : 127, e, at;
    uint32_t sign = c >> (bits - 1) << (bits - 1), mag = c ^ sign, m;
    double v, step;
    if (t == VQ_E8M0) return c == 255 ? 255 : to_fnuz ? c + 1 : c ? c - 1 : 0;
    e = (int)(mag >> mbits);
    m = mag & ((1u << mbits) - 1);
    if (e == 2 * bias + 1) return c;                         /* infinity, NaN */
    v = e ? ldexp(1 + ldexp(m, -mbits), e - bias) : ldexp(m, 1 - bias - mbits);
    v *= to_fnuz ? 2 : 0.5;
    frexp(v, &at);
    at = v == 0 || at - 1 < 1 - bias ? 1 - bias : at - 1;
    step = ldexp(1, at - mbits);
    mag = ((uint32_t)(at - 1 + bias) << mbits) + (uint32_t)rint(v / step);
    if (mag > (uint32_t)(2 * bias + 1) << mbits) mag = (uint32_t)(2 * bias + 1) << mbits;
    return sign | mag;
}

static int is_nan_scale(vq_dtype t, uint32_t c)
{
    return t == VQ_F32 ? (c & 0x7fffffff) > 0x7f800000 : t == VQ_F16 ? (c & 0x7fff) > 0x7c00
         : t == VQ_BF16 ? (c & 0x7fff) > 0x7f80 : c == 255;
}

static const vq_dtype scale_types[] = { VQ_F32, VQ_F16, VQ_BF16, VQ_E8M0 };

static uint32_t read_code(const void *p, vq_dtype t)
{
    uint32_t u;
    uint16_t h;
    if (vq_dtype_bits(t) == 8) return *(const uint8_t *)p;
    if (vq_dtype_bits(t) == 16) { memcpy(&h, p, 2); return h; }
    memcpy(&u, p, 4);
    return u;
}

static void write_code(void *p, vq_dtype t, uint32_t c)
{
    uint16_t h = (uint16_t)c;
    if (vq_dtype_bits(t) == 8) *(uint8_t *)p = (uint8_t)c;
    else if (vq_dtype_bits(t) == 16) memcpy(p, &h, 2);
    else memcpy(p, &c, 4);
}

/* A NaN of the wide types is any quiet one. */
static int is_scale(vq_dtype t, uint32_t got, uint32_t want)
{
    uint32_t quiet = t == VQ_F32 ? 0x400000 : t == VQ_F16 ? 0x200 : 0x40;
    if (t == VQ_E8M0 || !is_nan_scale(t, want)) return got == want;
    return is_nan_scale(t, got) && (got & quiet);
}

/* --- codes ----------------------------------------------------------------- */

static vq_status normalize(vq_tensor x, vq_tensor y, vq_tensor s, vq_tensor to, vq_overflow o)
{
    vq_fnuz_normalize_args a = VQ_ZERO;
    a.x = x;
    a.y = y;
    a.scale = s;
    a.scale_out = to;
    a.overflow = o;
    return vq_fnuz_normalize(cpu, &a);
}

static void every_code_becomes_the_code_of_its_value(void)
{
    uint8_t x[256], y[258];
    float s = 1.5f, to = 0;
    int i, c, o, place;
    start();
    for (i = 0; i < COUNT(fp8s); i++)
        for (o = 0; o < 2; o++)
            for (place = 0; place < 2; place++) {            /* elsewhere, in place */
                vq_tensor tx = vq_tensor_2d(place ? y + 1 : x, fp8s[i].t, 16, 16, VQ_HOST);
                vq_tensor ty = vq_tensor_2d(y + 1, fp8s[i].twin, 16, 16, VQ_HOST);
                vq_tensor ts = vq_tensor_2d(place ? &to : &s, VQ_F32, 1, 1, VQ_HOST);
                vq_tensor tt = vq_tensor_2d(&to, VQ_F32, 1, 1, VQ_HOST);
                memset(y, 0xee, sizeof y);
                for (c = 0; c < 256; c++) x[c] = (uint8_t)c;
                if (place) memcpy(y + 1, x, 256);
                to = s;
                CHECK(normalize(tx, ty, ts, tt, (vq_overflow)o) == VQ_OK);
                CHECK(to == (fp8s[i].fnuz ? 0.75f : 3.0f) && s == 1.5f);
                CHECK(y[0] == 0xee && y[257] == 0xee);
                for (c = 0; c < 256; c++) {
                    int want = other_code(fp8s + i, c, (vq_overflow)o);
                    CHECKF(y[c + 1] == want, "%s %02x: %02x, not %02x", vq_dtype_str(fp8s[i].t), c,
                           y[c + 1], want);
                    CHECK(x[c] == c);
                }
            }
}

/* What upstream does to e4m3fn, and the answers that are not a matter of course. */
static void known_codes_have_known_answers(void)
{
    static const struct { vq_dtype t; uint8_t c, saturate, nonfinite; } known[] = {
        { VQ_E4M3FN,   0x80, 0x00, 0x00 }, { VQ_E4M3FN,   0x00, 0x00, 0x00 },
        { VQ_E4M3FN,   0x7e, 0x7e, 0x7e }, { VQ_E4M3FN,   0x7f, 0x80, 0x80 },
        { VQ_E4M3FN,   0xff, 0x80, 0x80 }, { VQ_E4M3FN,   0x81, 0x81, 0x81 },
        { VQ_E4M3FNUZ, 0x80, 0x7f, 0x7f }, { VQ_E4M3FNUZ, 0x7f, 0x7e, 0x7f },
        { VQ_E4M3FNUZ, 0xff, 0xfe, 0x7f }, { VQ_E4M3FNUZ, 0xfe, 0xfe, 0xfe },
        { VQ_E5M2,     0x7c, 0x7f, 0x80 }, { VQ_E5M2,     0xfc, 0xff, 0x80 },
        { VQ_E5M2,     0x7d, 0x80, 0x80 }, { VQ_E5M2,     0xff, 0x80, 0x80 },
        { VQ_E5M2,     0x7b, 0x7b, 0x7b }, { VQ_E5M2,     0x80, 0x00, 0x00 },
        { VQ_E5M2FNUZ, 0x7f, 0x7b, 0x7c }, { VQ_E5M2FNUZ, 0xfc, 0xfb, 0xfc },
        { VQ_E5M2FNUZ, 0x7b, 0x7b, 0x7b }, { VQ_E5M2FNUZ, 0x80, 0x7f, 0x7f },
    };
    int i, o;
    start();
    for (i = 0; i < COUNT(known); i++)
        for (o = 0; o < 2; o++) {
            uint8_t x = known[i].c, y = 0x55;
            float s = 1, to;
            CHECK(normalize(vq_tensor_2d(&x, known[i].t, 1, 1, VQ_HOST),
                            vq_tensor_2d(&y, fp8_of(known[i].t)->twin, 1, 1, VQ_HOST),
                            vq_tensor_2d(&s, VQ_F32, 1, 1, VQ_HOST),
                            vq_tensor_2d(&to, VQ_F32, 1, 1, VQ_HOST), (vq_overflow)o) == VQ_OK);
            CHECKF(y == (o ? known[i].nonfinite : known[i].saturate), "%s %02x: %02x",
                   vq_dtype_str(known[i].t), x, y);
        }
}

/* --- scales ---------------------------------------------------------------- */

/* Every f16, bf16 and e8m0 scale, f32 scales of every exponent; in place and not, in three modes
   of the caller's floating-point unit. */
static void every_scale_is_doubled_or_halved_and_rounded_once(void)
{
    enum { N = 0x10000 };
    static uint32_t in[N], out[N];
    uint8_t x = 0x38, y = 0;
    int t, way, place, mode, i;
    fenv_t env;
    start();
    fegetenv(&env);
    for (t = 0; t < COUNT(scale_types); t++)
        for (way = 0; way < 2; way++)
            for (place = 0; place < 2; place++)
                for (mode = 0; mode < 3; mode++) {
                    vq_dtype type = scale_types[t];
                    int n = type == VQ_E8M0 ? 256 : N, unit = vq_dtype_bits(type) / 8;
                    vq_tensor ts = vq_tensor_2d(in, type, n / 16, 16, VQ_HOST), to = ts;
                    vq_tensor tx = vq_tensor_2d(&x, VQ_E4M3FN, 1, 1, VQ_HOST);
                    vq_tensor ty = vq_tensor_2d(&y, VQ_E4M3FNUZ, 1, 1, VQ_HOST);
                    vq_status status;
                    for (i = 0; i < n; i++) {
                        uint32_t c = (uint32_t)i;
                        if (type == VQ_F32) c = c << 16 | (i % 3 == 0 ? 0 : t_rand() >> 16);
                        write_code((char *)in + i * unit, type, c);
                    }
                    memcpy(out, in, sizeof in);
                    if (way) { tx.dtype = VQ_E4M3FNUZ; ty.dtype = VQ_E4M3FN; }
                    if (place) ts.data = out;
                    to.data = out;
                    if (mode == 1) fesetround(FE_UPWARD);
#if defined(__SSE2__)
                    if (mode == 2)                           /* FTZ, DAZ */
                        __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040u);
#endif
                    status = normalize(tx, ty, ts, to, VQ_SATURATE);
                    fesetenv(&env);
                    CHECK(status == VQ_OK && y == 0x38);
                    for (i = 0; i < n; i++) {
                        uint32_t c = read_code((char *)in + i * unit, type);
                        uint32_t got = read_code((char *)out + i * unit, type);
                        uint32_t want = other_scale(type, c, !way);
                        CHECKF(is_scale(type, got, want), "%s %x: %x, not %x", vq_dtype_str(type),
                               (unsigned)c, (unsigned)got, (unsigned)want);
                    }
                }
}

/* --- the promise ----------------------------------------------------------- */

/* Values do not change: dequantized before and after, bit for bit. */
static void what_is_normalized_dequantizes_to_the_same_values(void)
{
    enum { ROWS = 24 };
    static const vq_dtype wide[] = { VQ_F32, VQ_F16, VQ_BF16 };
    static const char *const groups[] = {
        "float8_e4m3fn/f32/1x-1/dyn/amax.div3/x.div.s",
        "float8_e4m3fn/f32/1x7/dyn/amax.div3/x.div.s",
        "float8_e4m3fn/f32/-1x-1/dyn/amax.div3/x.div.s",
        "float8_e4m3fn/f32/5x48/dyn/amax.div3/x.div.s",
    };
    static uint8_t x[ROWS][256], y[ROWS][256];
    static float a[ROWS][256], b[ROWS][256], s[ROWS * 37], to[ROWS * 37];
    int i, g, w, r, c, o;
    start();
    for (i = 0; i < COUNT(fp8s); i++)
        for (g = 0; g < COUNT(groups); g++)
            for (w = 0; w < 3; w++)
                for (o = 0; o < 2; o++) {
                    vq_dequant_args d = VQ_ZERO;
                    vq_tensor ts, tt;
                    int bytes = vq_dtype_bits(wide[w]) / 8;
                    CHECK(vq_key_parse(groups[g], &d.key, NULL) == VQ_OK);
                    for (r = 0; r < ROWS; r++)
                        for (c = 0; c < 256; c++) x[r][c] = (uint8_t)(c * 5 + r);
                    for (r = 0; r < COUNT(s); r++)           /* normal, and so is the double */
                        s[r] = ldexpf(t_randf(1, 2), (int)(t_rand() % 250) - 125)
                             * (t_rand() & 1 ? 1 : -1);
                    d.q = vq_tensor_2d(x, fp8s[i].t, ROWS, 256, VQ_HOST);
                    d.y = vq_tensor_2d(a, wide[w], ROWS, 256, VQ_HOST);
                    d.key.elem = fp8s[i].t;
                    d.scale = ts = vq_scale_for(&d.key, d.q, VQ_ROWS, s);
                    tt = vq_scale_for(&d.key, d.q, VQ_COLUMNS, to);
                    CHECK(vq_dequant(cpu, &d) == VQ_OK);
                    d.y.data = b;
                    CHECK(normalize(d.q, vq_tensor_2d(y, fp8s[i].twin, ROWS, 256, VQ_HOST), ts, tt,
                                    (vq_overflow)o) == VQ_OK);
                    d.key.elem = fp8s[i].twin;
                    d.q = vq_tensor_2d(y, fp8s[i].twin, ROWS, 256, VQ_HOST);
                    d.scale = tt;
                    CHECK(vq_dequant(cpu, &d) == VQ_OK);
                    for (r = 0; r < ROWS; r++)
                        for (c = 0; c < 256; c++) {
                            uint32_t before = read_code((char *)a + (r * 256 + c) * bytes, wide[w]);
                            uint32_t after = read_code((char *)b + (r * 256 + c) * bytes, wide[w]);
                            double v = code_value(fp8s + i, x[r][c]) * (fp8s[i].fnuz ? 2 : 0.5);
                            if (isnan(v)) {
                                CHECK(is_nan_scale(wide[w], before));
                                CHECK(is_nan_scale(wide[w], after));
                                continue;
                            }
                            if (isinf(v) || v != code_value(fp8_of(fp8s[i].twin), y[r][c]))
                                continue;                    /* beyond y's range */
                            if (x[r][c] == 0x80) {           /* -0, which fnuz lacks */
                                CHECK((before ^ after) == 1u << (bytes * 8 - 1));
                                continue;
                            }
                            CHECKF(before == after, "%s %02x: %x, %x", vq_dtype_str(fp8s[i].t),
                                   x[r][c], (unsigned)before, (unsigned)after);
                        }
                }
}

static void there_and_back_is_where_it_was(void)
{
    uint8_t x[256], y[256], z[256];
    uint16_t s[3] = { 0x3c00, 0x0400, 0x7400 }, u[3], v[3];      /* f16 */
    int i, c;
    start();
    for (i = 0; i < COUNT(fp8s); i++) {
        vq_tensor tx = vq_tensor_2d(x, fp8s[i].t, 8, 32, VQ_HOST), tz = tx;
        vq_tensor ty = vq_tensor_2d(y, fp8s[i].twin, 8, 32, VQ_HOST);
        vq_tensor ts = vq_tensor_2d(s, VQ_F16, 1, 3, VQ_HOST), tu = ts, tv = ts;
        for (c = 0; c < 256; c++) x[c] = (uint8_t)c;
        tz.data = z;
        tu.data = u;
        tv.data = v;
        CHECK(normalize(tx, ty, ts, tu, VQ_SATURATE) == VQ_OK);
        CHECK(normalize(ty, tz, tu, tv, VQ_SATURATE) == VQ_OK);
        CHECK(!memcmp(s, v, sizeof s));
        for (c = 0; c < 256; c++) {
            double a = code_value(fp8s + i, c), b = code_value(fp8s + i, z[c]);
            int most = fp8s[i].t == VQ_E4M3FNUZ ? 0x7e : 0x7b;
            int lost = fp8s[i].fnuz && fabs(a) > code_value(fp8s + i, most);
            CHECKF(isnan(a) ? isnan(b) : isinf(a) || lost ? isfinite(b) : a == b, "%s %02x: %02x",
                   vq_dtype_str(fp8s[i].t), c, z[c]);
        }
    }
}

/* --- views ----------------------------------------------------------------- */

/* Rows apart and at odd addresses: what lies between stays. Scales of any strides. */
static void gaps_stay_and_strides_are_followed(void)
{
    enum { R = 5, C = 7, P = 3, Q = 4 };
    uint8_t x[100], y[100], was[100], s[200], to[200], to_was[200];
    int i, t, r, c;
    start();
    for (i = 0; i < COUNT(fp8s); i++)
        for (t = 0; t < COUNT(scale_types); t++) {
            vq_dtype type = scale_types[t];
            int unit = vq_dtype_bits(type) / 8;
            vq_tensor tx = vq_tensor_2d(x + 3, fp8s[i].t, R, C, VQ_HOST);
            vq_tensor ty = vq_tensor_2d(y + 1, fp8s[i].twin, R, C, VQ_HOST);
            vq_tensor ts = vq_tensor_2d(s + 1, type, P, Q, VQ_HOST);
            vq_tensor tt = vq_tensor_2d(to + 3, type, P, Q, VQ_HOST);
            for (c = 0; c < 100; c++) {
                x[c] = (uint8_t)(t_rand() >> 9);
                was[c] = y[c] = (uint8_t)t_rand();
            }
            for (c = 0; c < 200; c++) {
                s[c] = (uint8_t)(t_rand() >> 9);
                to[c] = to_was[c] = (uint8_t)t_rand();
            }
            tx.stride[0] = 11;
            ty.stride[0] = 19;
            ts.stride[0] = 1;                                /* columns */
            ts.stride[1] = 5;
            tt.stride[0] = 11;
            tt.stride[1] = 2;
            CHECK(normalize(tx, ty, ts, tt, VQ_NONFINITE) == VQ_OK);
            for (r = 0; r < R; r++)
                for (c = 0; c < C; c++)
                    was[1 + r * 19 + c] = (uint8_t)other_code(fp8s + i, x[3 + r * 11 + c],
                                                              VQ_NONFINITE);
            CHECK(!memcmp(y, was, sizeof y));
            for (r = 0; r < P; r++)
                for (c = 0; c < Q; c++) {
                    uint8_t *at = to_was + 3 + (r * 11 + c * 2) * unit;
                    uint32_t want = other_scale(type, read_code(s + 1 + (r + c * 5) * unit, type),
                                                !fp8s[i].fnuz);
                    uint32_t got = read_code(to + (at - to_was), type);
                    CHECKF(is_scale(type, got, want), "%s %x, not %x", vq_dtype_str(type),
                           (unsigned)got, (unsigned)want);
                    write_code(at, type, got);
                }
            CHECK(!memcmp(to, to_was, sizeof to));
        }
}

static void nothing_there_is_nothing_done(void)
{
    uint8_t x = 0x7f, y = 0x55;
    float s = 2, to = 7;
    vq_tensor tx = vq_tensor_2d(&x, VQ_E4M3FN, 1, 1, VQ_HOST);
    vq_tensor ty = vq_tensor_2d(&y, VQ_E4M3FNUZ, 1, 1, VQ_HOST);
    vq_tensor ts = vq_tensor_2d(&s, VQ_F32, 1, 1, VQ_HOST);
    vq_tensor tt = vq_tensor_2d(&to, VQ_F32, 1, 1, VQ_HOST);
    vq_tensor none = vq_tensor_2d(NULL, VQ_E4M3FN, 0, 1, VQ_HOST), none_y = none, none_s;
    start();
    none_y.dtype = VQ_E4M3FNUZ;
    none_s = vq_tensor_2d(NULL, VQ_F32, 3, 0, VQ_HOST);
    CHECK(normalize(none, none_y, none_s, none_s, VQ_SATURATE) == VQ_OK);
    CHECK(normalize(none, none_y, ts, tt, VQ_SATURATE) == VQ_OK && to == 4 && y == 0x55);
    to = 7;
    CHECK(normalize(tx, ty, none_s, none_s, VQ_SATURATE) == VQ_OK && to == 7 && y == 0x80);
}

/* --- refusals -------------------------------------------------------------- */

enum { R = 4, C = 64 };

static struct { uint8_t x[2 * R * C], y[2 * R * C]; float s[32], to[32]; } room, before;

static vq_fnuz_normalize_args good(void)
{
    vq_fnuz_normalize_args a = VQ_ZERO;
    a.x = vq_tensor_2d(room.x, VQ_E4M3FN, R, C, VQ_HOST);
    a.y = vq_tensor_2d(room.y, VQ_E4M3FNUZ, R, C, VQ_HOST);
    a.scale = vq_tensor_2d(room.s, VQ_F32, R, 2, VQ_HOST);
    a.scale_out = vq_tensor_2d(room.to, VQ_F32, R, 2, VQ_HOST);
    return a;
}

static void refused(vq_fnuz_normalize_args a, vq_guard guard, const char *arg, int64_t found,
                    int64_t needed, int line, const char *edit)
{
    vq_status want = guard >= VQ_GUARD_PATTERN ? VQ_UNSUPPORTED : VQ_BAD_ARG, got;
    vq_report why = VQ_ZERO;
    a.call.report = &why;
    got = vq_fnuz_normalize(cpu, &a);
    CHECKF(got == want && why.guard == guard, "line %d: %s: %s", line, edit, why.text);
    CHECKF(why.arg && !strcmp(why.arg, arg), "line %d: %s: %s", line, edit, why.text);
    CHECKF(why.found == found && why.needed == needed, "line %d: %s: %s", line, edit, why.text);
    CHECKF(strstr(why.text, arg) && !strncmp(why.text, "fnuz_normalize", 14), "line %d: %s: %s",
           line, edit, why.text);
    CHECKF(!memcmp(&room, &before, sizeof room), "line %d: %s: something was written", line, edit);
}

#define REFUSED(edit, guard, arg, found, needed) do { \
    vq_fnuz_normalize_args a = good(); \
    edit; \
    refused(a, VQ_GUARD_##guard, arg, found, needed, __LINE__, #edit); } while (0)

static void each_bad_argument_is_refused_and_nothing_written(void)
{
    const int64_t all = IS(VQ_DTYPE_COUNT) - 2, here = IS(VQ_HOST) | IS(VQ_MANAGED);
    const int64_t fp8_types = IS(VQ_E4M3FN) | IS(VQ_E4M3FNUZ) | IS(VQ_E5M2) | IS(VQ_E5M2FNUZ);
    const int64_t scales = IS(VQ_F32) | IS(VQ_F16) | IS(VQ_BF16) | IS(VQ_E8M0);
    vq_fnuz_normalize_args ok;
    vq_report why = VQ_ZERO;
    size_t i;
    start();
    for (i = 0; i < sizeof room; i++) ((uint8_t *)&room)[i] = (uint8_t)(t_rand() >> 24);
    memcpy(&before, &room, sizeof room);

    REFUSED(a.x.rank = 0, PRESENT, "x", 0, 0);
    REFUSED(a.y.rank = 0, PRESENT, "y", 0, 0);
    REFUSED(a.scale.rank = 0, PRESENT, "scale", 0, 0);
    REFUSED(a.scale_out.rank = 0, PRESENT, "scale_out", 0, 0);
    REFUSED(a.x.rank = 1, RANK, "x", 1, 2);
    REFUSED(a.y.rank = 6, RANK, "y", 6, 4);
    REFUSED(a.scale.rank = 1, RANK, "scale", 1, 2);
    REFUSED(a.scale_out.rank = 1, RANK, "scale_out", 1, 2);
    REFUSED(a.x.dtype = VQ_NONE, TYPE, "x", VQ_NONE, all);
    REFUSED(a.x.dtype = VQ_INT8, TYPE, "x", VQ_INT8, fp8_types);
    REFUSED(a.x.dtype = VQ_E8M0, TYPE, "x", VQ_E8M0, fp8_types);
    REFUSED(a.y.dtype = VQ_E4M3FN, TYPE, "y", VQ_E4M3FN, IS(VQ_E4M3FNUZ));
    REFUSED(a.y.dtype = VQ_E5M2FNUZ, TYPE, "y", VQ_E5M2FNUZ, IS(VQ_E4M3FNUZ));
    REFUSED(a.x.dtype = VQ_E4M3FNUZ, TYPE, "y", VQ_E4M3FNUZ, IS(VQ_E4M3FN));
    REFUSED(a.x.dtype = VQ_E5M2, TYPE, "y", VQ_E4M3FNUZ, IS(VQ_E5M2FNUZ));
    REFUSED(a.x.dtype = VQ_E5M2FNUZ, TYPE, "y", VQ_E4M3FNUZ, IS(VQ_E5M2));
    REFUSED(a.scale.dtype = VQ_E4M3FN, TYPE, "scale", VQ_E4M3FN, scales);
    REFUSED(a.scale.dtype = VQ_UE4M3, TYPE, "scale", VQ_UE4M3, scales);
    REFUSED(a.scale_out.dtype = VQ_F16, TYPE, "scale_out", VQ_F16, IS(VQ_F32));
    REFUSED(a.scale.dtype = VQ_BF16, TYPE, "scale_out", VQ_F32, IS(VQ_BF16));
    REFUSED(a.x.layout = VQ_SWIZZLE_128X4, LAYOUT, "x", VQ_SWIZZLE_128X4, IS(VQ_STRIDED));
    REFUSED(a.y.layout = VQ_SWIZZLE_8X4, LAYOUT, "y", VQ_SWIZZLE_8X4, IS(VQ_STRIDED));
    REFUSED(a.scale.layout = VQ_SWIZZLE_8X4, LAYOUT, "scale", VQ_SWIZZLE_8X4, IS(VQ_STRIDED));
    REFUSED(a.scale.dtype = a.scale_out.dtype = VQ_E8M0; a.scale.layout = VQ_SWIZZLE_8X4;
            a.scale.stride[0] = 4, LAYOUT, "scale", VQ_SWIZZLE_8X4, IS(VQ_STRIDED));
    REFUSED(a.scale.dtype = a.scale_out.dtype = VQ_E8M0; a.scale_out.layout = VQ_PACKED_UE8M0;
            a.scale_out.stride[0] = 4; a.scale_out.stride[1] = 16, LAYOUT, "scale_out",
            VQ_PACKED_UE8M0, IS(VQ_STRIDED));
    REFUSED(a.x.shape[0] = -1, SIZE, "x", -1, 0);
    REFUSED(a.y.shape[1] = C - 1, SHAPE, "y", C - 1, C);
    REFUSED(a.y.shape[0] = R + 1, SHAPE, "y", R + 1, R);
    REFUSED(a.scale_out.shape[0] = 1, SHAPE, "scale_out", 1, R);
    REFUSED(a.scale_out.shape[1] = 1, SHAPE, "scale_out", 1, 2);
    REFUSED(a.scale.shape[1] = 0, SHAPE, "scale_out", 2, 0);
    REFUSED(a.x.stride[0] = C - 1, STRIDE, "x", C - 1, C);
    REFUSED(a.x.stride[1] = 2, STRIDE, "x", 2, 1);
    REFUSED(a.y.stride[0] = 0, STRIDE, "y", 0, 1);
    REFUSED(a.y.stride[1] = -1, STRIDE, "y", -1, 1);
    REFUSED(a.scale.stride[0] = 0, STRIDE, "scale", 0, 1);
    REFUSED(a.scale_out.stride[0] = 1, STRIDE, "scale_out", 1, R);
    REFUSED(a.overflow = VQ_OVERFLOW_COUNT, VALUE, "overflow", VQ_OVERFLOW_COUNT, VQ_NONFINITE);
    REFUSED(a.overflow = (vq_overflow)100, VALUE, "overflow", 100, VQ_NONFINITE);
    REFUSED(a.x.where = VQ_DEVICE, PLACE, "x", VQ_DEVICE, here);
    REFUSED(a.y.where = VQ_DEVICE, PLACE, "y", VQ_DEVICE, here);
    REFUSED(a.scale.where = VQ_DEVICE, PLACE, "scale", VQ_DEVICE, here);
    REFUSED(a.scale_out.where = VQ_DEVICE, PLACE, "scale_out", VQ_DEVICE, here);
    REFUSED(a.call.policy.forbid = VQ_FORBID_REFERENCE, POLICY, "it", VQ_FORBID_REFERENCE, 0);
    REFUSED(a.call.policy.only = "gpu", KERNEL, "the kernel", 0, 0);

    REFUSED(a.x.data = NULL, PRESENT, "x", 0, 0);
    REFUSED(a.y.data = NULL, PRESENT, "y", 0, 0);
    REFUSED(a.scale.data = NULL, PRESENT, "scale", 0, 0);
    REFUSED(a.scale_out.data = NULL, PRESENT, "scale_out", 0, 0);
    REFUSED(a.y.data = room.x + 1, OVERLAP, "y", 0, 0);              /* x, but not the same view */
    REFUSED(a.y.data = room.x; a.y.stride[0] = C + 1, OVERLAP, "y", 0, 0);
    REFUSED(a.y.data = room.x + R * C - 1, OVERLAP, "y", 0, 0);
    REFUSED(a.y.data = room.s, OVERLAP, "y", 0, 0);
    REFUSED(a.scale_out.data = room.s + 1, OVERLAP, "scale_out", 0, 0);
    REFUSED(a.scale_out.data = room.s; a.scale_out.stride[0] = 1; a.scale_out.stride[1] = R,
            OVERLAP, "scale_out", 0, 0);
    REFUSED(a.scale_out.data = room.x, OVERLAP, "scale_out", 0, 0);
    REFUSED(a.scale_out.data = room.y + 4, OVERLAP, "scale_out", 0, 0);
    REFUSED(a.y.data = room.x; a.scale_out.data = room.x + 8, OVERLAP, "scale_out", 0, 0);

    ok = good();
    ok.call.report = &why;
    CHECK(vq_fnuz_normalize(NULL, &ok) == VQ_BAD_ARG && !strcmp(why.arg, "ctx"));
    CHECK(vq_fnuz_normalize(cpu, NULL) == VQ_BAD_ARG);
    CHECK(!memcmp(&room, &before, sizeof room));
    ok.x.where = ok.scale_out.where = VQ_MANAGED;
    ok.scale.data = room.x;                                          /* inputs may overlap */
    CHECK(vq_fnuz_normalize(cpu, &ok) == VQ_OK && memcmp(room.y, before.y, R * C));
}

VQ_TEST_MAIN(
    T(every_code_becomes_the_code_of_its_value),
    T(known_codes_have_known_answers),
    T(every_scale_is_doubled_or_halved_and_rounded_once),
    T(what_is_normalized_dequantizes_to_the_same_values),
    T(there_and_back_is_where_it_was),
    T(gaps_stay_and_strides_are_followed),
    T(nothing_there_is_nothing_done),
    T(each_bad_argument_is_refused_and_nothing_written))
