/* test_rules.c - vq_quant and vq_dequant under every rule and option that a key can name

   The oracle computes in double and rounds to float after each operation, which is rounding once:
   53 bits are more than twice 24 and two. A power of two comes from frexp(), a code from a search
   in the list of the values of its format, packed codes are read and written bit by bit.

   Every tensor lies in a block of random bytes that is compared whole after each call: gaps, what
   lies around it, and inputs may not change; padding must have become 0. */
#include <fenv.h>
#include <math.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
#define MORE(a)  ((a)[t_rand() % (uint32_t)COUNT(a)])

/* --- formats ---------------------------------------------------------------- */

/* Codes 0..largest are the values >= 0. inf: -1 where there is none; lowest and highest of ints */
typedef struct {
    vq_dtype t;
    int      bits, mbits, bias, largest, sign, nan, inf;
    int      lowest, highest;
    double   value[256];
} format;

static format formats[] = {
    { VQ_E4M3FN,   8, 3, 7,   0x7e, 0x80, 0x7f, -1,   0, 0, {0} },
    { VQ_E4M3FNUZ, 8, 3, 8,   0x7f, 0x80, 0x80, -1,   0, 0, {0} },
    { VQ_E5M2,     8, 2, 15,  0x7b, 0x80, 0x7f, 0x7c, 0, 0, {0} },
    { VQ_E5M2FNUZ, 8, 2, 16,  0x7f, 0x80, 0x80, -1,   0, 0, {0} },
    { VQ_E2M3,     6, 3, 1,   0x1f, 0x20, 0x1f, -1,   0, 0, {0} },
    { VQ_E3M2,     6, 2, 3,   0x1f, 0x20, 0x1f, -1,   0, 0, {0} },
    { VQ_E2M1,     4, 1, 1,   0x07, 0x08, 0x07, -1,   0, 0, {0} },
    { VQ_INT8,     8, 0, 0,   127,  0,    0,    -1,   -128, 127, {0} },
    { VQ_UINT8,    8, 0, 0,   255,  0,    0,    -1,   0, 255, {0} },
    { VQ_INT4,     4, 0, 0,   7,    0,    0,    -1,   -8, 7, {0} },
    { VQ_UINT4,    4, 0, 0,   15,   0,    0,    -1,   0, 15, {0} },
    { VQ_E8M0,     8, 0, 127, 0xfe, 0,    0xff, -1,   0, 0, {0} },
    { VQ_UE4M3,    8, 3, 7,   0x7e, 0,    0x7f, -1,   0, 0, {0} },
    { VQ_F32,     32, 23, 127, 0,   0,    0,    0,    0, 0, {0} },
    { VQ_F16,     16, 10, 15, 0,    0,    0,    0,    0, 0, {0} },
    { VQ_BF16,    16, 7, 127, 0,    0,    0,    0,    0, 0, {0} },
};
#define ELEMS 11                                             /* the first ones can be codes */

static const vq_dtype wides[] = { VQ_F32, VQ_F16, VQ_BF16 };
static const vq_dtype scale_types[] = { VQ_F32, VQ_F16, VQ_BF16, VQ_E8M0, VQ_UE4M3 };
static const format  *format_at[VQ_DTYPE_COUNT];
static vq_ctx        *cpu;

static void stop(void) { vq_free(cpu); }

static void start(void)
{
    vq_desc d = VQ_ZERO;
    int i, c;
    if (cpu) return;
    atexit(stop);
    for (i = 0; i < COUNT(formats); i++) {
        format *f = formats + i;
        int steps = 1 << f->mbits;
        format_at[f->t] = f;
        for (c = 0; c < 256 && f->bits <= 8; c++) {
            int e = c / steps;
            double m = (double)(c % steps) / steps;
            f->value[c] = f->t == VQ_E8M0 ? ldexp(1, c - f->bias) : f->highest ? c
                        : e ? ldexp(1 + m, e - f->bias) : ldexp(m, 1 - f->bias);
        }
    }
    d.backend = VQ_CPU;
    CHECK(vq_init(&d, &cpu) == VQ_OK);
}

static uint32_t mask_of(vq_dtype t) { return (1u << format_at[t]->bits) - 1; }   /* under 32 bits */
static int is_int(vq_dtype t)  { return format_at[t]->highest != 0; }
static int is_wide(vq_dtype t) { return t == VQ_F32 || t == VQ_F16 || t == VQ_BF16; }

static uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static float float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

/* f16, bf16: exponent and mantissa apart. */
static double wide_value(vq_dtype t, uint32_t c)
{
    const format *f = format_at[t];
    int steps = 1 << f->mbits, e, top = 2 * f->bias + 1;
    double m, v;
    if (t == VQ_F32) return float_of(c);
    e = (int)((c & 0x7fff) >> f->mbits);
    m = (double)(c & (uint32_t)(steps - 1)) / steps;
    v = e == top ? m > 0 ? NAN : INFINITY : e ? ldexp(1 + m, e - f->bias) : ldexp(m, 1 - f->bias);
    return c & 0x8000 ? -v : v;
}

static double value(vq_dtype t, uint32_t c)
{
    const format *f = format_at[t];
    int m;
    if (is_wide(t)) return wide_value(t, c);
    if (is_int(t)) return f->lowest < 0 && (int)c > f->highest ? (double)c - (1 << f->bits) : c;
    m = (int)c & (f->sign ? f->sign - 1 : 0xff);
    if ((int)c == f->nan && f->bits == 8) return NAN;
    if (m > f->largest) return m == f->inf ? (int)c & f->sign ? -INFINITY : INFINITY : NAN;
    return (int)c & f->sign ? -f->value[m] : f->value[m];
}

/* To the nearest of what mbits of mantissa can say from exponent `least` on; ties to even. */
static double nearest_of(double v, int mbits, int least)
{
    double a = fabs(v), whole, rest;
    int e;
    if (a == 0 || !(a < INFINITY)) return v;
    frexp(a, &e);
    if (--e < least) e = least;
    a = ldexp(a, mbits - e);
    whole = floor(a);
    rest = a - whole;
    if (rest > 0.5 || (rest == 0.5 && fmod(whole, 2) == 1)) whole += 1;
    return copysign(ldexp(whole, e - mbits), v);
}

/* The code of v, which is f32. Too large: infinity, or, saturating, the largest. */
static uint32_t wide_code(vq_dtype t, double v, int saturate)
{
    const format *f = format_at[t];
    uint32_t sign = signbit(v) ? 0x8000u : 0, inf = (uint32_t)(2 * f->bias + 1) << f->mbits;
    double a;
    int e;
    if (t == VQ_F32) return bits_of((float)v);
    if (isnan(v)) return inf | 1u << (f->mbits - 1);
    a = fabs(nearest_of(v, f->mbits, 1 - f->bias));
    if (a >= ldexp(1, f->bias + 1)) return sign | (saturate ? inf - 1 : inf);
    if (a == 0) return sign;
    frexp(a, &e);
    if (--e < 1 - f->bias) return sign | (uint32_t)ldexp(a, f->mbits + f->bias - 1);
    return sign | (uint32_t)(e + f->bias) << f->mbits
         | (uint32_t)ldexp(a - ldexp(1, e), f->mbits - e);
}

/* The code nearest to a >= 0 among 0..largest, or largest + 1; even, or up, of two. */
static int nearest_code(const format *f, double a, int ties_up)
{
    int lo = 0, hi = f->largest;
    double next, middle;
    if (a > 1e300) return f->largest + 1;
    while (lo < hi) {                                        /* the last value not above a */
        int mid = (lo + hi + 1) / 2;
        if (f->value[mid] <= a) lo = mid;
        else hi = mid - 1;
    }
    if (a < f->value[lo]) return lo;
    next = lo < f->largest ? f->value[lo + 1]
         : ties_up ? 2 * f->value[lo] : 2 * f->value[lo] - f->value[lo - 1];
    middle = (f->value[lo] + next) / 2;
    return a > middle || (a == middle && (ties_up || lo % 2)) ? lo + 1 : lo;
}

static double whole_of(double v) { return nearest_of(v, 60, 60); }

static uint32_t encode(vq_dtype t, double v, int saturate)
{
    const format *f = format_at[t];
    int m, minus = signbit(v) != 0;
    if (is_wide(t)) return wide_code(t, v, saturate);
    if (is_int(t)) {
        if (isnan(v)) return 0;
        v = v < f->lowest ? f->lowest : v > f->highest ? f->highest : whole_of(v);
        return (uint32_t)((int)v & ((1 << f->bits) - 1));
    }
    if (isnan(v)) return (uint32_t)f->nan;
    if (t == VQ_E8M0 && v < 0) return 0xff;
    if (t == VQ_E8M0 && v == 0) return saturate ? 0 : 0xff;
    if (t == VQ_UE4M3 && v < 0) return saturate ? 0 : 0x7f;
    m = nearest_code(f, fabs(v), t == VQ_E8M0);
    if (m > f->largest) {
        if (!saturate && f->inf < 0 && f->bits == 8) return (uint32_t)f->nan;
        m = saturate || f->inf < 0 ? f->largest : f->inf;
    }
    if (m == 0 && f->sign && f->nan == f->sign) return 0;    /* fnuz: no -0 */
    return (uint32_t)(minus ? m | f->sign : m);
}

/* --- tensors in memory ------------------------------------------------------- */

typedef struct {
    vq_tensor t;
    uint8_t  *mem, *want;                /* the block, and what it has to be after the call */
    size_t    size, from;
} box;

static int64_t up(int64_t n, int64_t to)
{
    while (n % to) n++;
    return n;
}

/* The rows and columns of a layout, its padding among them. */
static void whole_extents(const vq_tensor *t, int64_t *rows, int64_t *cols)
{
    *rows = t->shape[0];
    *cols = t->shape[1];
    switch (t->layout) {
    case VQ_PACKED_UE8M0:
        if (t->stride[1] >= 4 * up(*rows, 4)) *rows = up(*rows, 4);
        *cols = up(*cols, 4);
        break;
    case VQ_SWIZZLE_128X4: *rows = up(*rows, 128); *cols = up(*cols, 4); break;
    case VQ_SWIZZLE_8X4:   *rows = up(*rows, 8);   *cols = up(*cols, 4); break;
    case VQ_SWIZZLE_CDNA4: *rows = up(*rows, 32);  *cols = up(*cols, 8); break;
    default: break;
    }
}

/* The byte at which (r, c) lies, or the row of packed codes. */
static int64_t place(const vq_tensor *t, int64_t r, int64_t c)
{
    int64_t rows, cols, unit = vq_dtype_bits(t->dtype) / 8;
    whole_extents(t, &rows, &cols);
    switch (t->layout) {
    case VQ_PACKED_UE8M0:  return c / 4 * t->stride[1] + 4 * r + c % 4;
    case VQ_SWIZZLE_128X4:
        return r / 128 * (cols * 128) + c / 4 * 512 + r % 32 * 16 + r / 32 % 4 * 4 + c % 4;
    case VQ_SWIZZLE_8X4:
        return r / 8 * (cols * 8) + c / 4 * 32 + r % 8 * 4 + c % 4;
    case VQ_SWIZZLE_CDNA4:
        return r / 32 * (cols * 32) + c / 8 * 256 + c % 4 * 64 + r % 16 * 4 + c / 4 % 2 * 2
             + r / 16 % 2;
    default: return unit ? (r * t->stride[0] + c * t->stride[1]) * unit : r * t->stride[0];
    }
}

static int64_t row_bytes(vq_dtype t, int64_t cols) { return (cols * vq_dtype_bits(t) + 7) / 8; }

/* row, col: strides; 0 is the least that will do. A row stride of a layout is the layout's. */
static box make_box(vq_dtype t, vq_layout l, int64_t rows, int64_t cols, int64_t row, int64_t col,
                    unsigned skip)
{
    box b;
    int64_t full_rows, full_cols, n = 0;
    size_t i;
    int bits = vq_dtype_bits(t);
    memset(&b, 0, sizeof b);
    b.t.dtype = t;
    b.t.where = VQ_HOST;
    b.t.layout = l;
    b.t.rank = 2;
    b.t.shape[0] = rows;
    b.t.shape[1] = cols;
    b.t.stride[1] = col ? col : l == VQ_PACKED_UE8M0 ? 4 * up(rows ? rows : 1, 4) : 1;
    b.t.stride[0] = row;
    whole_extents(&b.t, &full_rows, &full_cols);
    if (l != VQ_STRIDED) b.t.stride[0] = l == VQ_PACKED_UE8M0 ? 4 : full_cols ? full_cols : 1;
    else if (!row) b.t.stride[0] = bits < 8 ? row_bytes(t, cols) : cols;
    if (!b.t.stride[0]) b.t.stride[0] = 1;
    if (rows && cols) {
        if (l == VQ_PACKED_UE8M0) n = (full_cols / 4 - 1) * b.t.stride[1] + 4 * full_rows;
        else if (l != VQ_STRIDED) n = full_rows * full_cols;
        else if (bits < 8) n = (rows - 1) * b.t.stride[0] + row_bytes(t, cols);
        else n = place(&b.t, rows - 1, cols - 1) + bits / 8;
    }
    b.from = 32 + skip;
    b.size = b.from + (size_t)n + (skip % 2 ? 0 : 32);       /* to the very end: a sanitizer sees */
    b.mem = (uint8_t *)malloc(b.size);
    b.want = (uint8_t *)malloc(b.size);
    for (i = 0; i + 4 <= b.size; i += 4) { uint32_t u = t_rand(); memcpy(b.mem + i, &u, 4); }
    for (; i < b.size; i++) b.mem[i] = (uint8_t)(t_rand() >> 24);
    memcpy(b.want, b.mem, b.size);
    b.t.data = b.mem + b.from;
    return b;
}

static void drop_box(box *b) { free(b->mem); free(b->want); }

static uint32_t read_code(const box *b, const uint8_t *mem, int64_t r, int64_t c)
{
    const uint8_t *p = mem + b->from + place(&b->t, r, c);
    int64_t bits = vq_dtype_bits(b->t.dtype), i;
    uint32_t u = 0;
    uint16_t h;
    if (bits == 32) { memcpy(&u, p, 4); return u; }
    if (bits == 16) { memcpy(&h, p, 2); return h; }
    if (bits == 8) return *p;
    for (i = c * bits; i < (c + 1) * bits; i++)
        u |= (uint32_t)(p[i / 8] >> i % 8 & 1) << (i - c * bits);
    return u;
}

static void write_code(const box *b, uint8_t *mem, int64_t r, int64_t c, uint32_t code)
{
    uint8_t *p = mem + b->from + place(&b->t, r, c);
    int64_t bits = vq_dtype_bits(b->t.dtype), i;
    uint16_t h = (uint16_t)code;
    if (bits == 32) memcpy(p, &code, 4);
    else if (bits == 16) memcpy(p, &h, 2);
    else if (bits == 8) *p = (uint8_t)code;
    else for (i = c * bits; i < (c + 1) * bits; i++) {
        int bit = 1 << i % 8;
        p[i / 8] = (uint8_t)((p[i / 8] & ~bit) | (code >> (i - c * bits) & 1 ? bit : 0));
    }
}

static uint32_t get(const box *b, int64_t r, int64_t c) { return read_code(b, b->mem, r, c); }
static void expect(box *b, int64_t r, int64_t c, uint32_t u) { write_code(b, b->want, r, c, u); }

static double get_value(const box *b, int64_t r, int64_t c)
{
    return value(b->t.dtype, get(b, r, c));
}

static void set(box *b, int64_t r, int64_t c, uint32_t code)     /* of an input */
{
    write_code(b, b->mem, r, c, code);
    write_code(b, b->want, r, c, code);
}

/* Padding that an output must have made 0; before its elements are expected. */
static void expect_padding(box *b)
{
    int64_t rows, cols, r, c;
    int bits = vq_dtype_bits(b->t.dtype);
    if (!b->t.shape[0] || !b->t.shape[1]) return;
    whole_extents(&b->t, &rows, &cols);
    if (b->t.layout != VQ_STRIDED)
        for (r = 0; r < rows; r++) for (c = 0; c < cols; c++) expect(b, r, c, 0);
    else if (bits < 8)
        for (r = 0; r < rows; r++)
            b->want[b->from + (size_t)(r * b->t.stride[0] + row_bytes(b->t.dtype, cols) - 1)] = 0;
}

/* --- one case ---------------------------------------------------------------- */

typedef struct {
    vq_key k;
    box    x, q, scale, zero, bound, scale2, y;
    int    asym, fixed, kind;            /* kind: what the last group holds */
} job;

static const char *about(const job *j)
{
    static char text[400];
    char key[256];
    vq_key_print(&j->k, key, sizeof key);
    snprintf(text, sizeof text, "%s, x %s, %dx%d, kind %d, bound %g, scale2 %g, scale %s", key,
             vq_dtype_str(j->x.t.dtype), (int)j->q.t.shape[0], (int)j->q.t.shape[1], j->kind,
             j->bound.mem ? get_value(&j->bound, 0, 0) : 0.0,
             j->scale2.mem ? get_value(&j->scale2, 0, 0) : 0.0,
             vq_layout_str(j->scale.t.layout));
    return text;
}

/* A NaN in f32, f16 and bf16 is any quiet NaN: takes the one found for the one expected. */
static void allow_any_quiet_nan(box *b)
{
    uint32_t quiet = b->t.dtype == VQ_F32 ? 0x00400000 : b->t.dtype == VQ_F16 ? 0x200 : 0x40;
    int64_t r, c;
    if (!is_wide(b->t.dtype)) return;
    for (r = 0; r < b->t.shape[0]; r++)
        for (c = 0; c < b->t.shape[1]; c++) {
            uint32_t want = read_code(b, b->want, r, c), got = get(b, r, c);
            if (want != got && isnan(wide_value(b->t.dtype, want))
                && isnan(wide_value(b->t.dtype, got)) && (got & quiet)) expect(b, r, c, got);
        }
}

static int same(const job *j, const box *b, const char *name)
{
    size_t i = 0;
    int64_t r, c;
    if (!b->mem || !memcmp(b->mem, b->want, b->size)) return 1;
    for (r = 0; r < b->t.shape[0]; r++)
        for (c = 0; c < b->t.shape[1]; c++) {
            uint32_t got = get(b, r, c), want = read_code(b, b->want, r, c);
            if (got == want) continue;
            CHECKF(got == want, "%s[%d][%d]: %x, not %x: %s", name, (int)r, (int)c,
                   (unsigned)got, (unsigned)want, about(j));
            return 0;
        }
    while (b->mem[i] == b->want[i]) i++;
    CHECKF(b->mem[i] == b->want[i], "%s: byte %d, outside its elements: %s", name,
           (int)i - (int)b->from, about(j));
    return 0;
}

static int all_same(job *j)
{
    allow_any_quiet_nan(&j->scale);
    return same(j, &j->x, "x") && same(j, &j->scale, "scale") && same(j, &j->zero, "zero")
        && same(j, &j->q, "q") && same(j, &j->bound, "bound") && same(j, &j->scale2, "scale2");
}

static vq_quant_args quant_args(const job *j)
{
    vq_quant_args a = VQ_ZERO;
    a.key = j->k;
    a.x = j->x.t;
    a.q = j->q.t;
    a.scale = j->scale.t;
    a.zero = j->zero.t;
    a.bound = j->bound.t;
    a.scale2 = j->scale2.t;
    return a;
}

static vq_dequant_args dequant_args(const job *j)
{
    vq_dequant_args a = VQ_ZERO;
    a.key = j->k;
    a.q = j->q.t;
    a.scale = j->scale.t;
    a.zero = j->zero.t;
    a.scale2 = j->scale2.t;
    a.y = j->y.t;
    return a;
}

static vq_key key_of(const char *text)
{
    vq_key k = VQ_ZERO;
    vq_report why = VQ_ZERO;
    CHECKF(vq_key_parse(text, &k, &why) == VQ_OK, "%s: %s", text, why.text);
    return k;
}

/* Groups of rows or columns of an extent. */
static int64_t groups_in(int64_t extent, int64_t group)
{
    int64_t n = 0, at;
    if (group < 0) return 1;
    for (at = 0; at < extent; at += group) n++;
    return n;
}

/* --- the oracle --------------------------------------------------------------- */

static double rn(const vq_key *k, double v)
{
    volatile float f = (float)v;
    double d = f;
    if (k->arith != VQ_BF16 || isnan(d)) return d;
    d = nearest_of(d, 7, -126);
    return fabs(d) >= 0x1p128 ? copysign(INFINITY, d) : d;
}

typedef struct { double amax, lo, hi; int nan; } stats;

static void see(stats *s, double x, vq_dtype t)
{
    double most = t == VQ_F32 ? 0x1.fffffep127 : t == VQ_F16 ? 65504 : 0x1.fep127;
    if (isnan(x)) { s->nan = 1; return; }
    if (x > most) x = most;
    if (x < -most) x = -most;
    if (fabs(x) > s->amax) s->amax = fabs(x);
    if (x < s->lo) s->lo = x;
    if (x > s->hi) s->hi = x;
}

static int floor_log2(double v) { int e; frexp(v, &e); return isinf(v) ? 9999 : e - 1; }
static int ceil_log2(double v)  { int e; return frexp(v, &e) == 0.5 ? e - 1 : isinf(v) ? 9999 : e; }

/* 2^e for an f32: held to what it can say, never 0 and never infinite. */
static double two_to(int e) { return ldexp(1, e > 127 ? 127 : e < -149 ? -149 : e); }

static double amax_used(const vq_key *k, const stats *s, double bound)
{
    double a = s->amax;
    if (k->bound_kind == VQ_BOUND_AMAX && a > bound) a = bound;
    if (k->floor_kind == VQ_FLOOR_AMAX && a < k->floor_value) a = k->floor_value;
    a = rn(k, a);
    return isinf(a) ? 0x1.fep127 : a;                        /* saturates, as an infinity does */
}

static double codes_from(const vq_key *k)                    /* the lowest code */
{
    const format *f = format_at[k->elem];
    if (!is_int(k->elem)) return -(double)k->code_max;
    return f->lowest == 0 ? 0 : k->code_max == f->highest ? f->lowest : -(double)k->code_max;
}

static double power_scale(const vq_key *k, double a)
{
    const double max = k->code_max;
    int emax = floor_log2(max);
    double raw;
    if (k->scale_rule == VQ_SCALE_RCEIL || k->scale_rule == VQ_SCALE_TRUNC) {
        raw = rn(k, a / max);
        if (k->floor_kind == VQ_FLOOR_RAW && raw < k->floor_value) raw = k->floor_value;
        if (raw == 0) return 0;
        return two_to(k->scale_rule == VQ_SCALE_RCEIL ? ceil_log2(raw) : floor_log2(raw));
    }
    if (a == 0) return 0;
    switch (k->scale_rule) {
    case VQ_SCALE_EXP:   return two_to(floor_log2(a));
    case VQ_SCALE_FLOOR: return two_to(floor_log2(a) - emax);
    case VQ_SCALE_CEIL:  return two_to(ceil_log2(a) - emax);
    default:
        a = nearest_of(a, format_at[k->elem]->mbits, -126);
        return two_to((a < 0x1p-126 ? -127 : floor_log2(a)) - emax);
    }
}

static uint32_t scale_code(const vq_key *k, const stats *st, double a, double bound, double g2)
{
    const double max = k->code_max;
    double s, n;
    switch (k->scale_rule) {
    case VQ_SCALE_DIV:   s = rn(k, a / max); break;
    case VQ_SCALE_INV:   s = rn(k, a * rn(k, 1 / max)); break;
    case VQ_SCALE_RECIP: s = rn(k, 1 / rn(k, max / a)); break;
    case VQ_SCALE_RANGE:
        n = format_at[k->elem]->lowest < 0 ? 2 * max + 1 : max;
        s = rn(k, rn(k, st->hi - st->lo) / n);
        break;
    default:             s = rn(k, power_scale(k, a));
    }
    if (k->scale2_kind == VQ_SCALE2_DIV) s = rn(k, s * g2);
    if (k->scale2_kind == VQ_SCALE2_MUL) s = rn(k, s / g2);
    if (k->bound_kind == VQ_BOUND_SCALE && s > bound) s = bound;
    if (k->floor_kind == VQ_FLOOR_SCALE && s < k->floor_value) s = k->floor_value;
    if (st->nan && (is_int(k->elem) || format_at[k->elem]->bits < 8)) s = NAN;
    return encode(k->scale_type, s, 1);
}

typedef struct { double by; int divide, zero; } step;

/* s: the stored scale; a: what amax.* made it of */
static step step_of(const vq_key *k, double s, double a, double g2)
{
    step t = { 0, 0, 0 };
    double all = s;
    if (k->scale2_kind == VQ_SCALE2_DIV) all = rn(k, s * rn(k, 1 / g2));
    if (k->scale2_kind == VQ_SCALE2_MUL) all = rn(k, s * g2);
    switch (k->code_rule) {
    case VQ_CODE_INV:   t.by = rn(k, 1 / all); break;
    case VQ_CODE_INV0:  t.by = all == 0 ? 0 : rn(k, 1 / all); break;
    case VQ_CODE_RATIO: t.by = s == 0 ? 0 : rn(k, g2 / s); break;
    case VQ_CODE_AMAX:
    case VQ_CODE_AMAX_AWAY: t.by = a == 0 ? 0 : rn(k, (double)k->code_max / a); break;
    default:            t.by = all; t.divide = 1;
    }
    return t;
}

static uint32_t zero_code(const vq_key *k, const stats *st, double s)
{
    double lowest = codes_from(k), z = rn(k, lowest - rn(k, st->lo / s));
    if (isnan(z)) z = 0;
    z = z < lowest ? lowest : z > k->code_max ? (double)k->code_max : z;
    return encode(k->elem, z, 1);
}

static uint32_t code_of(const vq_key *k, double x, step t)
{
    const double max = k->code_max, lowest = codes_from(k);
    double v = rn(k, t.divide ? x / t.by : x * t.by);
    if (isnan(v) && !isnan(x) && k->nan_rule == VQ_NAN_MAX) return encode(k->elem, max, 1);
    if (k->code_rule == VQ_CODE_DIV_TRUNC) v = trunc(v);
    if (k->code_rule == VQ_CODE_AMAX_AWAY) v = copysign(floor(fabs(v) + 0.5), v);
    if (k->flags & VQ_KEY_ASYMMETRIC) v = (isnan(v) ? 0 : whole_of(v)) + t.zero;
    if (isnan(v)) return encode(k->elem, v, 1);
    if (k->overflow == VQ_NONFINITE && !is_int(k->elem)) return encode(k->elem, v, 0);
    return encode(k->elem, v < lowest ? lowest : v > max ? max : v, 1);
}

typedef struct { int64_t r0, r1, c0, c1; } span;

static span span_of(const job *j, int64_t g, int64_t h)
{
    int64_t rows = j->q.t.shape[0], cols = j->q.t.shape[1];
    int64_t R = j->k.group_rows < 0 ? rows : j->k.group_rows;
    int64_t C = j->k.group_cols < 0 ? cols : j->k.group_cols;
    span s;
    s.r0 = g * R;
    s.c0 = h * C;
    s.r1 = s.r0 + R < rows ? s.r0 + R : rows;
    s.c1 = s.c0 + C < cols ? s.c0 + C : cols;
    return s;
}

/* What the quantization of x must leave in q, scale and zero. */
static void oracle_quant(job *j)
{
    const vq_key *k = &j->k;
    double bound = j->bound.mem ? get_value(&j->bound, 0, 0) : 0;
    double g2 = j->scale2.mem ? get_value(&j->scale2, 0, 0) : 1, a;
    int64_t g, h, r, c;
    if (!j->x.t.shape[0] || !j->x.t.shape[1]) return;
    expect_padding(&j->q);
    if (!j->fixed) expect_padding(&j->scale);
    if (!j->fixed && j->asym) expect_padding(&j->zero);
    for (g = 0; g < j->scale.t.shape[0]; g++)
        for (h = 0; h < j->scale.t.shape[1]; h++) {
            span s = span_of(j, g, h);
            stats st = { 0, 0, 0, 0 };
            step t;
            for (r = s.r0; r < s.r1; r++)
                for (c = s.c0; c < s.c1; c++) see(&st, get_value(&j->x, r, c), j->x.t.dtype);
            a = amax_used(k, &st, bound);
            if (!j->fixed) expect(&j->scale, g, h, scale_code(k, &st, a, bound, g2));
            t = step_of(k, value(k->scale_type, read_code(&j->scale, j->scale.want, g, h)), a, g2);
            if (j->asym && !j->fixed)
                expect(&j->zero, g, h, zero_code(k, &st, value(k->scale_type,
                                               read_code(&j->scale, j->scale.want, g, h))));
            if (j->asym) t.zero = (int)value(k->elem, read_code(&j->zero, j->zero.want, g, h));
            for (r = s.r0; r < s.r1; r++)
                for (c = s.c0; c < s.c1; c++)
                    expect(&j->q, r, c, code_of(k, get_value(&j->x, r, c), t));
        }
}

static void oracle_dequant(job *j)
{
    static const vq_key f32 = VQ_ZERO;
    const vq_key *k = &j->k;
    double g2 = j->scale2.mem ? get_value(&j->scale2, 0, 0) : 1, s;
    int64_t g, h, r, c;
    for (g = 0; g < j->scale.t.shape[0]; g++)
        for (h = 0; h < j->scale.t.shape[1]; h++) {
            span at = span_of(j, g, h);
            double zero = j->asym ? get_value(&j->zero, g, h) : 0;
            s = get_value(&j->scale, g, h);
            if (k->scale2_kind == VQ_SCALE2_MUL) s = rn(&f32, s * g2);
            if (k->scale2_kind == VQ_SCALE2_DIV) s = rn(&f32, s / g2);
            for (r = at.r0; r < at.r1; r++)
                for (c = at.c0; c < at.c1; c++) {
                    double v = get_value(&j->q, r, c);
                    if (j->asym) v -= zero;
                    expect(&j->y, r, c, wide_code(j->y.t.dtype, rn(&f32, v * s), 0));
                }
        }
}

/* --- what x holds -------------------------------------------------------------- */

enum { ANY_BITS, PLAIN, ZEROS, SUBNORMALS, AT_MAX, AT_THRESHOLD, INFINITIES, ONE_NAN, ALL_NAN,
       HUGE_ONE, AT_FLOOR, BOUNDARIES, LARGEST, TINY, ONE_SIDED, CONSTANT, FILLS, MIXED };

static uint32_t largest_code(vq_dtype t)
{
    return t == VQ_F32 ? 0x7f7fffff : t == VQ_F16 ? 0x7bff : 0x7f7f;
}

/* The code of v in x's type, moved by some units in the last place; never beyond the largest. */
static uint32_t near_code(vq_dtype t, double v, int units)
{
    uint32_t minus = t == VQ_F32 ? 0x80000000u : 0x8000u, c = wide_code(t, (float)v, 0);
    uint32_t sign = c & minus;
    int64_t mag = (int64_t)(c ^ sign) + units;
    if (mag < 0) mag = 0;
    if (mag > (int64_t)largest_code(t)) mag = largest_code(t);
    return sign | (uint32_t)mag;
}

static double sign_of(uint32_t u) { return u & 1 ? -1 : 1; }

static uint32_t fill_code(const vq_key *k, vq_dtype t, int kind, int first, uint32_t any)
{
    const uint32_t minus = t == VQ_F32 ? 0x80000000u : 0x8000u;
    static const double edges[] = { 1, 1.5, 1.75, 1.875, 1.9375, 1.96875 };
    uint32_t u = t_rand(), sign = u & 1 ? minus : 0;
    double v = ldexp((double)t_rand(), -28) - 8;                     /* -8 .. 8 */
    int e = t == VQ_F16 ? (int)(any >> 8) % 20 - 12 : (int)(any >> 8) % 60 - 40;
    switch (kind) {
    case ANY_BITS:   return t == VQ_F32 ? t_rand() : t_rand() >> 16;
    case ZEROS:      return u & 2 ? 0 : sign;
    case SUBNORMALS: return sign | t_rand() % (t == VQ_F32 ? 0x900000 : t == VQ_F16 ? 0x480
                                                                                     : 0x90);
    case AT_MAX:
        v = first ? (double)k->code_max : v * (double)k->code_max / 9;
        return near_code(t, ldexp(v * sign_of(u), e), first ? (int)(any >> 4) % 3 - 1 : 0);
    case AT_THRESHOLD:
        v = first ? edges[any % 6] : v / 9;
        return near_code(t, ldexp(v * sign_of(u), e), first ? (int)(any >> 4) % 3 - 1 : 0);
    case INFINITIES: return u % 8 < 3 ? sign | (largest_code(t) + 1) : wide_code(t, v, 0);
    case ONE_NAN:    return first ? sign | (largest_code(t) + 2 + (u >> 8) % 9)
                                  : wide_code(t, v, 0);
    case ALL_NAN:    return sign | (largest_code(t) + 2 + (u >> 8) % 60);
    case HUGE_ONE:   return first ? sign | (largest_code(t) - (u >> 8) % 3)
                                  : wide_code(t, ldexp(v, -12), 0);
    case AT_FLOOR:
        v = k->floor_kind ? k->floor_value : 1e-30;
        if (k->floor_kind != VQ_FLOOR_AMAX) v *= (double)k->code_max;
        v *= sign_of(u) * (u & 2 || first ? 1 : ldexp((double)(u >> 8), -24));
        return near_code(t, v, first ? (int)(any >> 8) % 3 - 1 : -1);
    case LARGEST:    return sign | (u & 2 ? largest_code(t) : (u >> 8) % largest_code(t));
    case TINY:       return near_code(t, sign_of(u) * ldexp(1e-30, (int)(u >> 8) % 8), 0);
    case ONE_SIDED:  return near_code(t, sign_of(any) * (fabs(v) + (any & 2 ? 100 : 0)), 0);
    case CONSTANT:   return wide_code(t, sign_of(any) * ldexp((double)(any >> 8), -20), 0);
    default:         return wide_code(t, v, 0);
    }
}

/* x at the middle of two codes, or at a whole code, times the scale, and next to there; never
   beyond the amax. */
static void fill_boundaries(job *j, const span *s, int64_t g, int64_t h)
{
    const vq_key *k = &j->k;
    const format *f = format_at[k->elem];
    vq_dtype t = j->x.t.dtype;
    double bound = j->bound.mem ? get_value(&j->bound, 0, 0) : 0, a, by;
    double g2 = j->scale2.mem ? get_value(&j->scale2, 0, 0) : 1, stored;
    uint32_t top = wide_code(t, (float)ldexp(1 + ldexp((double)t_rand(), -32),
                                             (int)(t_rand() % 12) - 4), 0);
    stats st = { 0, 0, 0, 0 };
    int64_t r, c;
    step p;
    see(&st, value(t, top), t);
    see(&st, -value(t, top), t);
    a = amax_used(k, &st, bound);
    stored = j->fixed ? get_value(&j->scale, g, h)
                      : value(k->scale_type, scale_code(k, &st, a, bound, g2));
    p = step_of(k, stored, a, g2);
    by = p.divide ? p.by : 1 / p.by;
    for (r = s->r0; r < s->r1; r++)
        for (c = s->c0; c < s->c1; c++) {
            uint32_t u = t_rand();
            int at = (int)((u >> 8) % (uint32_t)f->largest), units = (int)(u % 5) - 2;
            double v = is_int(k->elem) ? at % 128 + (u & 64 ? 0.5 : 0)
                                       : (f->value[at] + f->value[at + 1]) / 2;
            v *= by;
            if (!(fabs(v) <= st.amax) && !j->fixed) v = st.amax * ldexp((double)(u >> 8), -24);
            set(&j->x, r, c, near_code(t, u & 128 ? -v : v, units));
        }
    if (j->fixed) return;
    set(&j->x, s->r0, s->c0, top);
    if (j->asym && s->c1 - s->c0 > 1)
        set(&j->x, s->r0, s->c0 + 1, top ^ (t == VQ_F32 ? 0x80000000u : 0x8000u));
}

static uint32_t random_scale(vq_dtype t)
{
    static const double wide[] = { 0, -0.0, 1, 0.5, 0x1p-149, 0x1p-127, 0x1p-126, 0x1.fffffep127,
                                   INFINITY, NAN, 1e-7, 0x1p-20, -1, 0.0625 };
    uint32_t u = t_rand();
    if (t == VQ_E8M0) return u % 3 ? 127 - 12 + (u >> 8) % 20 : u % 2 ? u >> 8 & 0xff : 0;
    if (t == VQ_UE4M3) return u % 8 ? 0x20 + (u >> 8) % 0x40 : u >> 8 & 0xff;
    if (u % 3 == 0) return wide_code(t, (float)MORE(wide), 0);
    if (u % 12 == 1) return t == VQ_F32 ? t_rand() : t_rand() >> 16;
    return wide_code(t, (float)ldexp((double)t_rand(), -34 - (int)(u % 6)), 0);
}

static float random_scalar(int of_scale)                     /* bound; with 1, G */
{
    static const double bounds[] = { 0, 0.001, 1, 3.5, 100, 448, 1e30, INFINITY, 1e-12, 0x1p-140,
                                     NAN };
    static const double scales[] = { 1, 1, 0.5, 2688, 0.25, 413.5, 1e-3, 1e20, 1e-30, 0, INFINITY,
                                     NAN, 0x1p-149, 0x1.fffffep127, -1, 37.125 };
    if (t_rand() % 3 == 0) return t_randf(0.01f, 30);
    return (float)(of_scale ? MORE(scales) : MORE(bounds));
}

/* --- random cases --------------------------------------------------------------- */

static vq_layout random_layout(vq_dtype t)                   /* one that can hold t */
{
    unsigned u = t_rand() % 12;
    if (vq_dtype_bits(t) != 8 || u < 5) return VQ_STRIDED;
    if (u == 5) return t == VQ_E8M0 ? VQ_PACKED_UE8M0 : VQ_STRIDED;
    return u < 8 ? VQ_SWIZZLE_128X4 : u < 10 ? VQ_SWIZZLE_8X4 : VQ_SWIZZLE_CDNA4;
}

static box groups_box(const vq_key *k, vq_dtype t, int64_t rows, int64_t cols)
{
    int64_t g = groups_in(rows, k->group_rows), h = groups_in(cols, k->group_cols);
    vq_layout l = random_layout(t);
    unsigned way = t_rand() % 5, skip = t_rand() % 8;
    if (l == VQ_PACKED_UE8M0 && way == 1 && g) return make_box(t, l, g, h, 0, 4 * g, skip);
    if (l == VQ_PACKED_UE8M0 && way == 2) return make_box(t, l, g, h, 0, 4 * up(g, 4) + 8, skip);
    if (l != VQ_STRIDED) return make_box(t, l, g, h, 0, 0, skip);
    if (vq_dtype_bits(t) < 8)
        return make_box(t, l, g, h, way < 2 ? 0 : row_bytes(t, h) + (int64_t)way, 1, skip);
    if (way == 1) return make_box(t, l, g, h, 1, g ? g : 1, skip);
    if (way == 2) return make_box(t, l, g, h, 1, up(g ? g : 1, 4), skip);
    if (way == 3) return make_box(t, l, g, h, 3 * h + 5, 3, skip);
    if (way == 4) return make_box(t, l, g, h, 2, 2 * g + 1, skip);
    return make_box(t, l, g, h, 0, 0, skip);
}

static box rows_box(vq_dtype t, int64_t rows, int64_t cols)
{
    unsigned way = t_rand();
    int64_t least = vq_dtype_bits(t) < 8 ? row_bytes(t, cols) : cols;
    return make_box(t, VQ_STRIDED, rows, cols, way & 1 ? 0 : least + way / 2 % 7, 0, way / 16 % 8);
}

static job make_job(const vq_key *k, vq_dtype t, int64_t rows, int64_t cols)
{
    job j;
    memset(&j, 0, sizeof j);
    j.k = *k;
    j.fixed = (k->flags & VQ_KEY_STATIC) != 0;
    j.asym = (k->flags & VQ_KEY_ASYMMETRIC) != 0;
    j.x = rows_box(t, rows, cols);
    j.q = rows_box(k->elem, rows, cols);
    j.y = rows_box(MORE(wides), rows, cols);
    j.scale = groups_box(&j.k, k->scale_type, rows, cols);
    if (j.asym) j.zero = groups_box(&j.k, k->elem, rows, cols);
    if (k->bound_kind) {
        j.bound = make_box(VQ_F32, VQ_STRIDED, 1, 1, 0, 0, t_rand() % 8);
        set(&j.bound, 0, 0, bits_of(random_scalar(0)));
    }
    if (k->scale2_kind) {
        j.scale2 = make_box(VQ_F32, VQ_STRIDED, 1, 1, 0, 0, t_rand() % 8);
        set(&j.scale2, 0, 0, bits_of(random_scalar(1)));
    }
    return j;
}

static void drop_job(job *j)
{
    drop_box(&j->x);
    drop_box(&j->q);
    drop_box(&j->y);
    drop_box(&j->scale);
    drop_box(&j->zero);
    drop_box(&j->bound);
    drop_box(&j->scale2);
}

static void random_groups(job *j)                            /* scales and zero points as inputs */
{
    int64_t g, h;
    for (g = 0; g < j->scale.t.shape[0]; g++)
        for (h = 0; h < j->scale.t.shape[1]; h++) {
            set(&j->scale, g, h, random_scale(j->k.scale_type));
            if (j->asym) {
                double lowest = codes_from(&j->k), n = (double)j->k.code_max - lowest + 1;
                set(&j->zero, g, h, encode(j->k.elem, lowest + t_rand() % (uint32_t)n, 1));
            }
        }
}

/* kind: of every group; MIXED: each group its own */
static void fill(job *j, int kind)
{
    int64_t g, h, r, c;
    for (g = 0; g < j->scale.t.shape[0]; g++)
        for (h = 0; h < j->scale.t.shape[1]; h++) {
            span s = span_of(j, g, h);
            uint32_t any = t_rand();
            j->kind = kind == MIXED ? (int)(t_rand() % FILLS) : kind;
            if (s.r1 <= s.r0 || s.c1 <= s.c0) continue;
            if (j->kind == BOUNDARIES) fill_boundaries(j, &s, g, h);
            else for (r = s.r0; r < s.r1; r++)
                for (c = s.c0; c < s.c1; c++)
                    set(&j->x, r, c, fill_code(&j->k, j->x.t.dtype, j->kind,
                                               r == s.r0 && c == s.c0, any));
        }
}

/* Everything that was written becomes an input. */
static void settle(box *b) { if (b->mem) memcpy(b->want, b->mem, b->size); }

/* One caller in eight rounds another way than to nearest, which is no concern of an op. */
static int other_rounding(void)
{
    static const int ways[] = { FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };
    int way = t_rand() % 8 ? FE_TONEAREST : MORE(ways);
    fesetround(way);
    return way;
}

static int check_quant(job *j)
{
    vq_quant_args a = quant_args(j);
    vq_report why = VQ_ZERO;
    vq_status s;
    int way;
    a.call.report = &why;
    oracle_quant(j);
    way = other_rounding();
    s = vq_quant(cpu, &a);
    way = way == fegetround();
    fesetround(FE_TONEAREST);
    CHECK(way);
    CHECKF(s == VQ_OK, "%s: %s", why.text, about(j));
    return s == VQ_OK && all_same(j);
}

static int check_dequant(job *j)
{
    vq_dequant_args a = dequant_args(j);
    vq_report why = VQ_ZERO;
    vq_status s;
    int way;
    a.call.report = &why;
    oracle_dequant(j);
    way = other_rounding();
    s = vq_dequant(cpu, &a);
    way = way == fegetround();
    fesetround(FE_TONEAREST);
    CHECK(way);
    CHECKF(s == VQ_OK, "%s: %s", why.text, about(j));
    allow_any_quiet_nan(&j->y);
    return s == VQ_OK && same(j, &j->y, "y") && all_same(j);
}

/* Quantizes x, then takes it back; then takes back any codes, scales and zero points. */
static int run_all(const vq_key *k, vq_dtype t, int64_t rows, int64_t cols, int kind)
{
    job j = make_job(k, t, rows, cols);
    int64_t r, c;
    int good;
    if (j.fixed) random_groups(&j);
    fill(&j, kind);
    good = check_quant(&j);
    settle(&j.q);
    settle(&j.scale);
    settle(&j.zero);
    if (good) good = check_dequant(&j);
    if (good && t_rand() % 4 == 0) {
        random_groups(&j);
        for (r = 0; r < rows; r++)
            for (c = 0; c < cols; c++) set(&j.q, r, c, t_rand() & mask_of(k->elem));
        good = check_dequant(&j);
    }
    drop_job(&j);
    return good;
}

/* --- every key -------------------------------------------------------------------- */

static const struct { int32_t rows, cols; } groups[] = {
    { -1, -1 }, { 1, -1 }, { -1, 1 }, { 1, 16 }, { 1, 32 }, { 1, 64 }, { 1, 128 }, { 1, 7 },
    { 3, 5 }, { 1, 16 }, { 1, 32 }, { 128, 128 }, { 2, -1 }, { -1, 4 }, { 1, 1 },
};

/* An extent: whole groups where the key wants them. */
static int64_t extent(const vq_key *k, int32_t group, int rows)
{
    static const int64_t some_rows[] = { 1, 2, 3, 5, 1, 4 };
    static const int64_t some_cols[] = { 1, 5, 7, 16, 33, 31, 64, 129, 100, 3, 47 };
    int64_t n = rows ? MORE(some_rows) : MORE(some_cols);
    if (group == 128 && rows) n = t_rand() % 16 ? 3 : 130;
    if (k->flags & VQ_KEY_NO_TAIL && group > 1) n = up(n, group);
    return n;
}

static float code_max_of(vq_dtype elem)
{
    float most = vq_dtype_max(elem);
    switch (t_rand() % 8) {
    case 0:  return elem == VQ_E4M3FNUZ ? 224 : most;
    case 1:  return is_int(elem) ? floorf(most * 0.8f) : most * 0.7f;
    case 2:  return is_int(elem) ? 1 : t_rand() & 1 ? 1.0f : 0.37f;
    default: return most;
    }
}

static void random_options(vq_key *k)
{
    static const float floors[] = { 1e-10f, 4.359654e-6f, 1e-4f, 1, 1e-30f, 1.1754944e-38f,
                                    1.4e-45f, 1.0004442e-10f, 300, 0.0314f };
    int i = (int)(t_rand() % (uint32_t)COUNT(groups));
    k->group_rows = groups[i].rows;
    k->group_cols = groups[i].cols;
    k->code_max = code_max_of(k->elem);
    if (t_rand() % 2) k->flags |= VQ_KEY_NO_TAIL;
    k->arith = t_rand() % 4 ? VQ_F32 : VQ_BF16;
    k->bound_kind = t_rand() % 3 ? VQ_BOUND_NONE : (vq_bound_kind)(1 + t_rand() % 2);
    k->floor_kind = t_rand() % 2 ? VQ_FLOOR_NONE : (vq_floor_kind)(1 + t_rand() % 3);
    k->floor_value = k->floor_kind ? MORE(floors) : 0;
    if (k->code_rule == VQ_CODE_RATIO) k->scale2_kind = VQ_SCALE2_DIV;
    else k->scale2_kind = t_rand() % 3 ? VQ_SCALE2_NONE : (vq_scale2_kind)(1 + t_rand() % 2);
    k->nan_rule = t_rand() % 3 ? VQ_NAN_KEEP : VQ_NAN_MAX;
    k->overflow = t_rand() % 4 ? VQ_SATURATE : VQ_NONFINITE;
}

static vq_key plain_key(vq_dtype elem, vq_dtype scale, int rule, int code, int asym)
{
    vq_key k = VQ_ZERO;
    k.elem = elem;
    k.scale_type = scale;
    k.code_max = vq_dtype_max(elem);
    k.group_rows = 1;
    k.group_cols = -1;
    k.arith = VQ_F32;
    k.scale_rule = (vq_scale_rule)rule;
    k.code_rule = (vq_code_rule)code;
    k.flags = (rule == VQ_SCALE_GIVEN ? VQ_KEY_STATIC : 0) | (asym ? VQ_KEY_ASYMMETRIC : 0);
    if (code == VQ_CODE_RATIO) k.scale2_kind = VQ_SCALE2_DIV;
    return k;
}

static int seen[VQ_SCALE_RULE_COUNT][VQ_CODE_RULE_COUNT], keys_seen;

/* A key that means something, under random options: as many times. */
static void under_options(const vq_key *base, int times)
{
    int i, tries;
    if (vq_key_check(base, NULL)) return;
    keys_seen++;
    seen[base->scale_rule][base->code_rule]++;
    for (i = 0; i < times; i++) {
        vq_key k = *base;
        for (tries = 0; tries < 999; tries++) {
            k = *base;
            random_options(&k);
            if (!vq_key_check(&k, NULL)) break;
        }
        CHECK(tries < 999);
        run_all(&k, MORE(wides), extent(&k, k.group_rows, 1), extent(&k, k.group_cols, 0), MIXED);
    }
}

/* Has every pair been there but those that cannot be? */
static void pairs_are_complete(void)
{
    int rule, code;
    for (rule = 0; rule < VQ_SCALE_RULE_COUNT; rule++)
        for (code = 0; code < VQ_CODE_RULE_COUNT; code++) {
            int range = rule == VQ_SCALE_RANGE, given = rule == VQ_SCALE_GIVEN || range;
            int never = (given && (code == VQ_CODE_AMAX || code == VQ_CODE_AMAX_AWAY))
                     || (range && code == VQ_CODE_RATIO)
                     || (rule == VQ_SCALE_EVEN                   /* no integers, they alone: */
                         && (code == VQ_CODE_AMAX_AWAY || code == VQ_CODE_DIV_TRUNC));
            CHECKF(never ? !seen[rule][code] : seen[rule][code] > 1, "rule %d, code %d: %d", rule,
                   code, seen[rule][code]);
        }
    CHECKF(keys_seen > 2000, "%d", keys_seen);
}

static void every_scale_rule_under_every_code_rule_is_its_formula(void)
{
    int elem, scale, rule, code, asym;
    start();
    for (elem = 0; elem < ELEMS; elem++)
        for (scale = 0; scale < COUNT(scale_types); scale++)
            for (rule = 0; rule < VQ_SCALE_RULE_COUNT; rule++)
                for (code = 0; code < VQ_CODE_RULE_COUNT; code++)
                    for (asym = 0; asym < 2; asym++) {
                        vq_key k = plain_key(formats[elem].t, scale_types[scale], rule, code, asym);
                        under_options(&k, t_exhaustive ? 200 : 5);
                    }
    pairs_are_complete();
}

static void every_preset_is_its_formula(void)
{
    static const int64_t rows[] = { 1, 3, 2, 5, 4 }, cols[] = { 1, 128, 33, 200, 64, 16, 256, 5 };
    int id, kind, i;
    start();
    for (id = 0; id < VQ_KEY_COUNT; id++)
        for (kind = 0; kind <= MIXED; kind++)
            for (i = 0; i < 3; i++) {
                vq_key k = vq_key_preset((vq_key_id)id);
                int64_t r = MORE(rows), c = MORE(cols);
                if (kind == FILLS) continue;
                if (k.group_rows == 128 && t_rand() % 8 == 0) { r = 130; c = 131; }
                if (k.flags & VQ_KEY_NO_TAIL && k.group_rows > 1) r = up(r, k.group_rows);
                if (k.flags & VQ_KEY_NO_TAIL && k.group_cols > 1) c = up(c, k.group_cols);
                run_all(&k, wides[i], r, c, kind);
            }
}

static void presets_in_the_other_fp8_formats_are_their_formulas(void)
{
    static const vq_dtype to[] = { VQ_E4M3FNUZ, VQ_E5M2, VQ_E5M2FNUZ };
    int id, i;
    start();
    for (id = 0; id < VQ_KEY_COUNT; id++)
        for (i = 0; i < 3; i++) {
            vq_key k = vq_key_preset((vq_key_id)id);
            if (k.elem != VQ_E4M3FN || k.group_rows == 128) continue;
            k = vq_key_as(k, to[i], vq_fp8_max(to[i], 1));
            run_all(&k, MORE(wides), 3, k.group_cols > 0 ? 2 * k.group_cols : 77, MIXED);
        }
}

/* --- shapes, orders, padding --------------------------------------------------------- */

static void an_extent_of_zero_writes_nothing_and_one_element_works(void)
{
    static const struct { int rows, cols; } shapes[] = { { 0, 1 }, { 1, 0 }, { 0, 0 }, { 1, 1 } };
    int id, i;
    start();
    for (id = 0; id < VQ_KEY_COUNT; id++)
        for (i = 0; i < COUNT(shapes); i++) {
            vq_key k = vq_key_preset((vq_key_id)id);
            int64_t r = shapes[i].rows, c = shapes[i].cols;
            if (k.flags & VQ_KEY_NO_TAIL && k.group_cols > 1) c *= k.group_cols;
            if (k.flags & VQ_KEY_NO_TAIL && k.group_rows > 1) r *= k.group_rows;
            run_all(&k, MORE(wides), r, c, MIXED);
        }
}

static void odd_rows_of_packed_codes_end_in_zeros(void)
{
    static const char *const keys[] = {
        "float4_e2m1fn/float8_e8m0fnu/1x4/dyn/amax.even6/x.div.s",
        "float6_e3m2fn/float8_e8m0fnu/1x32/dyn/amax.even28/x.div.s",
        "float6_e2m3fn/f32/-1x3/dyn/amax.div7.5/x.inv.s",
        "int4/f16/1x-1/static/max7/x.div.s",
        "uint4/f32/1x3/dyn/range.div15/x.div.s/asym",
        "int4/bf16/2x5/dyn/range.div15/x.inv.s/asym",
        "int4/f32/1x1/dyn/range.div15/x.inv.s/asym",
    };
    int i, cols;
    start();
    for (i = 0; i < COUNT(keys); i++)
        for (cols = 1; cols <= 17; cols++) {
            vq_key k = key_of(keys[i]);
            run_all(&k, MORE(wides), 1 + cols % 4, cols, MIXED);
            run_all(&k, MORE(wides), 3, cols, ONE_SIDED);
        }
}

/* Scales where vq_scale_for() says, in buffers of rubbish; the padding becomes 0, no more. */
static void scales_lie_where_every_order_says_and_padding_is_zero(void)
{
    static const vq_layout layouts[] = { VQ_STRIDED, VQ_STRIDED, VQ_STRIDED, VQ_PACKED_UE8M0,
                                         VQ_SWIZZLE_128X4, VQ_SWIZZLE_8X4, VQ_SWIZZLE_CDNA4 };
    static const char *const keys[] = {
        "float8_e4m3fn/float8_e8m0fnu/1x2/dyn/amax.rceil448/x.div.s",
        "float4_e2m1fn/float8_e8m0fnu/2x1/dyn/amax.even6/x.div.s",
        "float4_e2m1fn/ue4m3/1x2/dyn/amax.inv6/x.inv0.s/scale2=div",
        "float8_e4m3fn/f32/1x2/dyn/amax.div448/x.div.s/floor=amax:1e-10",
        "int8/f16/1x2/dyn/range.div255/x.inv.s/asym",
        "float8_e4m3fn/float8_e8m0fnu/1x2/static/max448/x.div.s",
        "float4_e2m1fn/ue4m3/1x2/static/max6/x.inv0.s/scale2=mul",
    };
    static const int rows[] = { 1, 5, 33, 130, 8, 3 }, cols[] = { 1, 9, 17, 8, 16, 25 };
    int i, o, at;
    start();
    for (i = 0; i < COUNT(keys); i++)
        for (o = 0; o < VQ_ORDER_COUNT; o++)
            for (at = 0; at < COUNT(rows); at++) {
                vq_key k = key_of(keys[i]);
                job j = make_job(&k, MORE(wides), rows[at], cols[at]);
                int64_t g = groups_in(rows[at], k.group_rows);
                int64_t h = groups_in(cols[at], k.group_cols);
                int64_t row = 0, col = 0;
                vq_tensor t = vq_scale_for(&k, j.q.t, (vq_order)o, NULL);
                if ((o >= VQ_WORDS_UE8M0 && vq_dtype_bits(k.scale_type) != 8)
                    || (o == VQ_WORDS_UE8M0 && k.scale_type != VQ_E8M0)) {
                    drop_job(&j);
                    continue;
                }
                if (o == VQ_COLUMNS || o == VQ_COLUMNS_TMA) row = 1;
                if (o == VQ_COLUMNS) col = g;
                if (o == VQ_COLUMNS_TMA) col = up(g, 16 / (vq_dtype_bits(k.scale_type) / 8));
                drop_box(&j.scale);
                j.scale = make_box(k.scale_type, layouts[o], g, h, row, col, t_rand() % 8);
                CHECKF(t.layout == j.scale.t.layout && t.stride[0] == j.scale.t.stride[0]
                       && t.stride[1] == j.scale.t.stride[1] && t.shape[0] == g && t.shape[1] == h,
                       "order %d: %s", o, about(&j));
                CHECKF((size_t)vq_tensor_bytes(t) == j.scale.size - j.scale.from
                       - (j.scale.from & 1 ? 0 : 32), "order %d: %s", o, about(&j));
                if (j.fixed) random_groups(&j);
                fill(&j, MIXED);
                if (check_quant(&j)) {
                    settle(&j.q);
                    settle(&j.scale);
                    settle(&j.zero);
                    check_dequant(&j);
                }
                drop_job(&j);
            }
}

static void wide_and_tall_matrices_work(void)
{
    static const char *const keys[] = { "mxfp4", "int8_token_azp", "fp8_dynamic_tensor", "nvfp4",
                                        "deepseek_block128_ue8m0" };
    int i;
    start();
    for (i = 0; i < COUNT(keys); i++) {
        vq_key k = key_of(keys[i]);
        run_all(&k, VQ_BF16, 2, 16384 + 32, MIXED);
        run_all(&k, VQ_F32, 2051, 16, PLAIN);
    }
}

/* --- known answers -------------------------------------------------------------------- */

/* One row, filled up with zeros to whole groups, quantized. given: the scale of a static key;
   g2: the second scale. */
static job quantized(vq_key k, vq_dtype t, const double *x, int n, double given, double g2)
{
    int64_t cols = k.flags & VQ_KEY_NO_TAIL && k.group_cols > 0 ? up(n, k.group_cols) : n;
    int64_t rows = k.flags & VQ_KEY_NO_TAIL && k.group_rows > 0 ? k.group_rows : 1, r, c;
    job j = make_job(&k, t, rows, cols);
    vq_quant_args a;
    vq_report why = VQ_ZERO;
    for (r = 0; r < rows; r++)
        for (c = 0; c < cols; c++)
            set(&j.x, r, c, wide_code(t, (float)(!r && c < n ? x[c] : 0), 0));
    if (j.fixed) set(&j.scale, 0, 0, encode(k.scale_type, given, 0));
    if (k.scale2_kind) set(&j.scale2, 0, 0, bits_of((float)g2));
    if (k.bound_kind) set(&j.bound, 0, 0, bits_of((float)g2));
    a = quant_args(&j);
    a.call.report = &why;
    CHECKF(vq_quant(cpu, &a) == VQ_OK, "%s: %s", why.text, about(&j));
    settle(&j.q);
    settle(&j.scale);
    settle(&j.zero);
    return j;
}

static void codes_are(vq_key k, vq_dtype t, const double *x, int n, double given, double g2,
                      uint32_t scale, const int *codes)
{
    job j = quantized(k, t, x, n, given, g2);
    uint32_t got = get(&j.scale, 0, 0);
    int i;
    CHECKF(j.fixed || got == scale, "scale %x, not %x: %s", (unsigned)got, (unsigned)scale,
           about(&j));
    for (i = 0; i < n; i++) {
        got = get(&j.q, 0, i);
        CHECKF(got == ((uint32_t)codes[i] & mask_of(k.elem)), "q[%d]: %x, not %x: %s", i,
               (unsigned)got, (unsigned)codes[i], about(&j));
    }
    drop_job(&j);
}

static vq_key fnuz(vq_key k) { return vq_key_as(k, VQ_E4M3FNUZ, 224); }

static void a_worked_row_of_fp8_is_the_same_in_both_biases(void)
{
    static const double x[] = { 1, -2.5, 0.30078125, 7.6875, -0.00099945068359375, 0 };
    static const int codes[] = { 0x67, 0xf1, 0x59, 0x7e, 0x97, 0x00 };
    static const double back[] = { 1.0295759, -2.4709821, 0.3088728, 7.6874999, -0.0010054452, 0 };
    vq_key k = key_of("fp8_token");
    int i, way;
    start();
    codes_are(k, VQ_BF16, x, 6, 0, 0, 0x3c8c9249, codes);
    codes_are(fnuz(k), VQ_BF16, x, 6, 0, 0, 0x3d0c9249, codes);
    for (way = 0; way < 2; way++) {
        job j = quantized(way ? fnuz(k) : k, VQ_BF16, x, 6, 0, 0);
        drop_box(&j.y);
        j.y = make_box(VQ_F32, VQ_STRIDED, 1, 6, 0, 0, 0);
        check_dequant(&j);
        for (i = 0; i < 6; i++)
            CHECKF(fabs(get_value(&j.y, 0, i) - back[i]) <= 1.5e-7 * fabs(back[i]), "%d: %.9g", i,
                   get_value(&j.y, 0, i));
        drop_job(&j);
    }
}

/* amax, x; scale and code of x where amax is divided by 448, and where it is multiplied. */
static void a_scale_one_ulp_apart_flips_codes_at_ties(void)
{
    static const struct { double amax, x; uint32_t div, mul; int code_div, code_mul; } rows[] = {
        { 7.6875, 0,        0x3c8c9249, 0x3c8c924a, 0x00, 0x00 },
        { 6.125,  4.15625,  0x3c600000, 0x3c600001, 0x7a, 0x79 },        /* 320, 288 */
        { 5.25,   4.3125,   0x3c400000, 0x3c400001, 0x7c, 0x7b },        /* 384, 352 */
        { 3.875,  1.453125, 0x3c0db6db, 0x3c0db6dc, 0x73, 0x72 },        /* 176, 160 */
    };
    int i;
    start();
    for (i = 0; i < COUNT(rows); i++) {
        double x[2];
        int codes[2] = { 0x7e, 0 };
        x[0] = rows[i].amax;
        x[1] = rows[i].x;
        codes[1] = rows[i].code_div;
        codes_are(key_of("vllm_cpp_group128"), VQ_BF16, x, 2, 0, 0, rows[i].div, codes);
        codes[1] = rows[i].code_mul;
        codes_are(key_of("vllm_triton_group128"), VQ_BF16, x, 2, 0, 0, rows[i].mul, codes);
    }
}

static void dividing_and_multiplying_by_a_reciprocal_give_other_codes(void)
{
    static const double x[] = { 8.625, 6.46875 };
    static const int div[] = { 0x7e, 0x7a }, mul[] = { 0x7e, 0x7b };       /* 320, 352 */
    const float s = (float)(8.625 / 448);
    start();
    codes_are(key_of("fp8_token"), VQ_BF16, x, 2, 0, 0, bits_of(s), div);
    codes_are(key_of("float8_e4m3fn/f32/1x-1/dyn/amax.div448/x.inv.s"), VQ_BF16, x, 2, 0, 0,
              bits_of(s), mul);
    codes_are(key_of("fp8_dynamic_tensor"), VQ_BF16, x, 2, 0, 0, bits_of(s), mul);
    codes_are(key_of("fp8_static"), VQ_BF16, x, 2, s, 0, 0, mul);
}

static void a_worked_block_of_nvfp4_has_the_bytes_of_vllm(void)
{
    static const double x[] = { 0.1, -0.2, 0.3, 1, -6.5, 2.2, 3.3, -0.7,
                                0, 0, 0.05, 5, 4, -4.4, 1.9, 0.6 };
    static const int codes[] = { 0, 8, 1, 2, 15, 4, 5, 9, 0, 0, 0, 6, 6, 14, 3, 1 };
    static const uint8_t bytes[] = { 0x80, 0x21, 0x4f, 0x95, 0x00, 0x60, 0xe6, 0x13 };
    static const double lost[] = { 0x1p-9, -0x1p-9, 0, 0x1p-8 };
    static const int none[] = { 0, 8, 0, 0 };
    job j;
    start();
    codes_are(key_of("nvfp4"), VQ_BF16, x, 16, 0, 1, 0x39, codes);
    j = quantized(key_of("nvfp4"), VQ_BF16, x, 16, 0, 1);
    CHECK(!memcmp(j.q.t.data, bytes, 8));
    drop_job(&j);
    codes_are(key_of("nvfp4"), VQ_BF16, lost, 4, 0, 1, 0, none);             /* 2^-8/6 < 2^-10 */
}

static void worked_amaxes_of_mx_have_their_bytes(void)
{
    static const struct { const char *key; double x; uint32_t scale; int code; } rows[] = {
        { "mxfp4", 6.5, 127, 7 }, { "mxfp4", 7, 128, 6 }, { "mxfp4", 0.3, 123, 6 },
        { "mxfp4", 1, 125, 6 }, { "mxfp6_e2m3", 1, 125, 0x18 }, { "mxfp6_e3m2", 1, 123, 0x1c },
        { "quark_mxfp8", 1, 119, 0x78 },
        { "vllm_torch_mxfp8", 1, 127, 0x38 }, { "vllm_torch_mxfp8", 3.9, 128, 0x40 },
        { "vllm_torch_mxfp8", 100, 133, 0x3c },
        { "vllm_cuda_mxfp8_experts", 1, 119, 0x78 }, { "vllm_cuda_mxfp8_experts", 3.9, 121, 0x78 },
        { "vllm_cuda_mxfp8_experts", 100, 125, 0x7c },
    };
    /* amax, and the exponent of float4 under floor, even, rceil, ceil */
    static const struct { double amax; int e[4]; } four[] = {
        { 4, { 0, 0, 0, 0 } }, { 5, { 0, 0, 0, 1 } }, { 6, { 0, 0, 0, 1 } },
        { 6.5, { 0, 0, 1, 1 } }, { 7, { 0, 1, 1, 1 } }, { 8, { 1, 1, 1, 1 } },
    };
    static const char *const keys[] = {
        "ocp_mxfp4", "mxfp4", "nvidia_mxfp4",
        "float4_e2m1fn/float8_e8m0fnu/1x32/dyn/amax.ceil6/x.div.s",
    };
    int i, k;
    start();
    for (i = 0; i < COUNT(rows); i++)
        codes_are(key_of(rows[i].key), VQ_F32, &rows[i].x, 1, 0, 0, rows[i].scale, &rows[i].code);
    for (i = 0; i < COUNT(four); i++)
        for (k = 0; k < 4; k++) {
            double v = ldexp(four[i].amax, -four[i].e[k]);
            int code = v <= 2.5 ? 4 : v < 3.5 ? 5 : v <= 5 ? 6 : 7;
            codes_are(key_of(keys[k]), VQ_F32, &four[i].amax, 1, 0, 0,
                      (uint32_t)(127 + four[i].e[k]), &code);
        }
}

/* The mantissa from which the even rule takes the next power of two. */
static void the_even_rule_bumps_at_its_threshold(void)
{
    static const struct { const char *key; double from; int emax; } rows[] = {
        { "mxfp4", 1.75, 2 }, { "mxfp6_e3m2", 1.875, 4 }, { "mxfp6_e2m3", 1.9375, 2 },
        { "quark_mxfp8", 1.9375, 8 },
        { "float8_e5m2/float8_e8m0fnu/1x32/dyn/amax.even57344/x.div.s", 1.875, 15 },
    };
    int i, e, units;
    start();
    for (i = 0; i < COUNT(rows); i++)
        for (e = -100; e <= 120; e += 11)
            for (units = -1; units <= 1; units++) {
                double x = value(VQ_F32, near_code(VQ_F32, ldexp(rows[i].from, e), units));
                int at = 127 + e - rows[i].emax + (units >= 0);
                job j = quantized(key_of(rows[i].key), VQ_F32, &x, 1, 0, 0);
                CHECKF(get(&j.scale, 0, 0) == (uint32_t)at, "%d, not %d: %s, amax %a",
                       (int)get(&j.scale, 0, 0), at, rows[i].key, x);
                drop_job(&j);
            }
}

/* An amax of code_max * 2^k, and one ulp to each side, under the rules that round up and down. */
static void a_power_of_two_is_met_exactly(void)
{
    static const struct { const char *key; double max; int below, at, above; } rows[] = {
        { "mxfp8", 448, 0, 0, 1 }, { "nvidia_mxfp4", 6, 0, 0, 1 },
        { "float8_e4m3fn/float8_e8m0fnu/1x32/dyn/amax.trunc448/x.div.s", 448, -1, 0, 0 },
        { "float8_e4m3fn/float8_e8m0fnu/1x32/dyn/amax.ceil448/x.div.s", 256, 0, 0, 1 },
        { "ocp_mxfp8", 256, -1, 0, 0 }, { "ocp_mxfp4", 4, -1, 0, 0 },
        { "mxfp8_dynamic", 1, -1, 0, 0 },
    };
    int i, e, units;
    start();
    for (i = 0; i < COUNT(rows); i++)
        for (e = -90; e <= 100; e += 19)
            for (units = -1; units <= 1; units++) {
                double x = value(VQ_F32, near_code(VQ_F32, ldexp(rows[i].max, e), units));
                int at = 127 + e + (units < 0 ? rows[i].below : units ? rows[i].above : rows[i].at);
                job j = quantized(key_of(rows[i].key), VQ_F32, &x, 1, 0, 0);
                CHECKF(get(&j.scale, 0, 0) == (uint32_t)at, "%d, not %d: %s, amax %a",
                       (int)get(&j.scale, 0, 0), at, rows[i].key, x);
                drop_job(&j);
            }
}

static void a_worked_row_of_int8_rounds_or_truncates(void)
{
    static const double x[] = { 1, -2.5, 0.3, 7.7 }, half[] = { 127, 0.5, -0.5, 1.5, 2.5, -2.5 };
    static const int round[] = { 16, -41, 5, 127 }, down[] = { 16, -41, 4, 127 };
    static const int even[] = { 127, 0, 0, 2, 2, -2 }, away[] = { 127, 1, -1, 2, 3, -3 };
    uint32_t s = bits_of(float_of(0x40f66666) / 127);
    start();
    CHECK(fabs((double)float_of(s) - 0.06062992) < 1e-8);
    codes_are(key_of("int8_token"), VQ_F32, x, 4, 0, 0, s, round);
    codes_are(key_of("vllm_int8_token_triton"), VQ_F32, x, 4, 0, 0, s, round);
    codes_are(key_of("vllm_int8_group128"), VQ_F32, x, 4, 0, 0, s, down);
    codes_are(key_of("int8_token"), VQ_F32, half, 6, 0, 0, bits_of(1), even);
    codes_are(key_of("vllm_int8_token_triton"), VQ_F32, half, 6, 0, 0, bits_of(1), away);
}

/* The largest number under a half, of either sign, is no half. */
static void just_under_a_half_rounds_to_zero(void)
{
    static const double x[] = { 127, 0.49999997, -0.49999997, 126.49999, 8388607 };
    static const int codes[] = { 127, 0, 0, 126, 127 };
    vq_key k = key_of("vllm_int8_token_triton");
    start();
    codes_are(k, VQ_F32, x, 4, 0, 0, bits_of(1), codes);
    k = key_of("int8_token");
    codes_are(k, VQ_F32, x, 4, 0, 0, bits_of(1), codes);
}

static void zero_points_are_the_codes_of_zero(void)
{
    /* a row of min, max, 0; scale 1 or 2; zero point; codes */
    static const struct {
        const char *key;
        double x[3], s;
        int zero, codes[3];
    } rows[] = {
        { "int8_token_azp",  { 0, 255, 0 },     1, -128, { -128, 127, -128 } },
        { "int8_token_azp",  { -255, 0, 0 },    1, 127,  { -128, 127, 127 } },
        { "int8_token_azp",  { -100, 155, 0 },  1, -28,  { -128, 127, -28 } },
        { "int8_token_azp",  { 10, 510, 0 },    2, -128, { -123, 127, -128 } },
        { "int8_token_azp",  { -101, 409, 0 },  2, -78,  { -128, 126, -78 } },
        { "vllm_int8_token_azp", { -51, 204, 0 }, 1, -77, { -128, 127, -77 } },
        { "uint8/f32/1x-1/dyn/range.div255/x.inv.s/asym", { -5, 250, 0 }, 1, 5, { 0, 255, 5 } },
        { "uint4/f32/1x-1/dyn/range.div15/x.div.s/asym", { -7, 8, 0 }, 1, 7, { 0, 15, 7 } },
        { "int4/f32/1x-1/dyn/range.div15/x.div.s/asym", { -15, 15, 0 }, 2, 0, { -8, 8 - 1, 0 } },
        { "int8/f32/1x-1/dyn/range.div201/x.div.s/asym", { -1, 200, 0 }, 1, -99,
          { -100, 100, -99 } },
    };
    int i;
    start();
    for (i = 0; i < COUNT(rows); i++) {
        vq_key k = key_of(rows[i].key);
        job j = quantized(k, VQ_F32, rows[i].x, 3, 0, 0);
        CHECKF((int)get_value(&j.zero, 0, 0) == rows[i].zero, "%d: zero %g, not %d", i,
               get_value(&j.zero, 0, 0), rows[i].zero);
        drop_job(&j);
        codes_are(k, VQ_F32, rows[i].x, 3, 0, 0, bits_of((float)rows[i].s), rows[i].codes);
    }
}

static void a_power_of_two_scale_has_the_floor_of_its_implementation(void)
{
    static const double x[] = { 0, 1e-30, -1e-30 };
    static const int codes[] = { 0, 0, 0x80 };
    start();
    codes_are(key_of("vllm_cpp_group128_ue8m0"), VQ_F32, x, 3, 0, 0, bits_of(0x1p-33f), codes);
    codes_are(key_of("vllm_triton_group128_ue8m0"), VQ_F32, x, 3, 0, 0, bits_of(0x1p-42f), codes);
    codes_are(key_of("vllm_packed_ue8m0"), VQ_F32, x, 3, 0, 0, 94, codes);
    codes_are(key_of("float8_e4m3fn/f32/1x128/dyn/amax.rceil448/x.div.s/floor=scale:4.359654e-6"),
              VQ_F32, x, 3, 0, 0, 0x36924925, codes);
    codes_are(key_of("float8_e4m3fn/float8_e8m0fnu/1x128/dyn/amax.rceil448/x.div.s"
                     "/floor=amax:1e-10"), VQ_F32, x, 3, 0, 0, 85, codes);
}

/* --- edges ----------------------------------------------------------------------------- */

typedef struct { const char *key; uint32_t scale; int codes[4]; } edge;

static void each_edge(const edge *e, int n, vq_dtype t, const double *x, int count)
{
    int i;
    start();
    for (i = 0; i < n; i++)
        codes_are(key_of(e[i].key), t, x, count, 1, 1, e[i].scale, e[i].codes);
}

static void a_group_of_zeros_is_as_in_the_op_of_its_preset(void)
{
    static const double x[] = { 0, 0, 0 };
    static const edge edges[] = {
        { "fp8_static", 0, { 0, 0, 0, 0 } },
        { "fp8_dynamic_tensor", 0, { 0x7e, 0x7e, 0x7e, 0 } },
        { "fp8_token", 0x36924925, { 0, 0, 0, 0 } },
        { "vllm_native_token", 0x36924925, { 0, 0, 0, 0 } },
        { "vllm_native_group128", 0x36924925, { 0, 0, 0, 0 } },
        { "fp8_tensor", 0x36924925, { 0, 0, 0, 0 } },
        { "fp8_dynamic_group128", 0x2a7b5123, { 0, 0, 0, 0 } },          /* 1e-10 / 448 */
        { "fp8_group128", 0x2a7b5124, { 0, 0, 0, 0 } },
        { "vllm_cpp_group128_ue8m0", 0x2f000000, { 0, 0, 0, 0 } },        /* 2^-33 */
        { "vllm_triton_group128_ue8m0", 0x2a800000, { 0, 0, 0, 0 } },     /* 2^-42 */
        { "vllm_packed_ue8m0", 94, { 0, 0, 0, 0 } },
        { "vllm_int8_group128", 0x2b5da244, { 0, 0, 0, 0 } },             /* 1e-10 / 127 */
        { "vllm_silu_block128", 0x36924925, { 0, 0, 0, 0 } },
        { "vllm_masked_silu_cuda", 0x2a7b0000, { 0, 0, 0, 0 } },
        { "nvfp4", 0, { 0, 0, 0, 0 } },
        { "vllm_nvfp4_emulated", 0, { 0, 0, 0, 0 } },
        { "mxfp4", 0, { 0, 0, 0, 0 } }, { "mxfp6_e3m2", 0, { 0, 0, 0, 0 } },
        { "mxfp6_e2m3", 0, { 0, 0, 0, 0 } }, { "quark_mxfp8", 0, { 0, 0, 0, 0 } },
        { "mxfp8", 0, { 0, 0, 0, 0 } }, { "ocp_mxfp4", 0, { 0, 0, 0, 0 } },
        { "aiter_mxfp4", 92, { 0, 0, 0, 0 } },
        { "mxfp8_dynamic", 1, { 0, 0, 0, 0 } },
        { "int8_token", 0, { 0, 0, 0, 0 } },
        { "vllm_int8_token_azp", 0, { 0, 0, 0, 0 } },
        { "int8_token_azp", 0x34000000, { -128, -128, -128, 0 } },
        { "vllm_int8_token_triton", 0x2b5da244, { 0, 0, 0, 0 } },
        { "aiter_group128", 0x2a7b5124, { 0, 0, 0, 0 } },
        { "aiter_token", 0, { 0x7f, 0x7f, 0x7f, 0 } },
        { "deepseek_block128", 0x346facad, { 0, 0, 0, 0 } },              /* 1e-4 / 448 */
        { "deepseek_block128_ue8m0", 0x34800000, { 0, 0, 0, 0 } },        /* 2^-22 */
    };
    CHECK(bits_of(1e-10f / 448) == 0x2a7b5123);
    CHECK(bits_of(1e-10f * (1.0f / 448)) == 0x2a7b5124);
    CHECK(bits_of(1e-10f / 127) == 0x2b5da244);
    CHECK(bits_of(1e-4f / 448) == 0x346facad);
    CHECK(fabsf(float_of(0x2a7b0000) - 2.2293e-13f) < 1e-17f);
    each_edge(edges, COUNT(edges), VQ_F32, x, 3);
    each_edge(edges, COUNT(edges), VQ_BF16, x, 3);
}

static void a_tiny_amax_is_as_in_the_op_of_its_preset(void)
{
    static const double x[] = { 1e-30, -1e-30, 0 }, less[] = { 1e-36, -2.5e-37, 0 };
    static const double least[] = { 1e-37, -1e-37, 0 }, subnormal[] = { 1e-39, -1e-39, 0 };
    static const edge edges[] = {
        { "fp8_static", 0, { 0, 0x80, 0, 0 } },
        { "fp8_dynamic_tensor", 0x0939706e, { 0x7e, 0xfe, 0, 0 } },
        { "fp8_token", 0x36924925, { 0, 0x80, 0, 0 } },
        { "vllm_native_token", 0x36924925, { 0, 0x80, 0, 0 } },
        { "fp8_dynamic_group128", 0x2a7b5123, { 0, 0x80, 0, 0 } },
        { "vllm_cpp_group128_ue8m0", 0x2f000000, { 0, 0x80, 0, 0 } },
        { "vllm_triton_group128_ue8m0", 0x2a800000, { 0, 0x80, 0, 0 } },
        { "vllm_packed_ue8m0", 94, { 0, 0x80, 0, 0 } },
        { "vllm_int8_group128", 0x2b5da244, { 0, 0, 0, 0 } },
        { "vllm_silu_block128", 0x36924925, { 0, 0x80, 0, 0 } },
        { "vllm_masked_silu_cuda", 0x2a7b0000, { 0, 0x80, 0, 0 } },
        { "nvfp4", 0, { 0, 8, 0, 0 } },
        { "mxfp4", 25, { 7, 15, 0, 0 } },                            /* 5.07 * 2^-102 */
        { "mxfp8_dynamic", 27, { 0x3a, 0xba, 0, 0 } },
        { "aiter_mxfp4", 92, { 0, 8, 0, 0 } },
    };
    static const edge inverses[] = {          /* 1 / s is infinite; 127 / amax is not */
        { "fp8_dynamic_tensor", 0, { 0x7e, 0xfe, 0x7e, 0 } },
        { "int8_token", 0, { 127, -32, 0, 0 } },
    };
    static const edge saturating[] = {        /* 127 / amax is infinite */
        { "int8_token", 0, { 127, -128, 0, 0 } },
    };
    static const edge clamped[] = {
        { "mxfp4", 0, { 0, 8, 0, 0 } }, { "mxfp8_dynamic", 1, { 0x1b, 0x9b, 0, 0 } },
        { "mxfp6_e3m2", 0, { 3, 0x23, 0, 0 } },
    };
    edge e;
    int i;
    each_edge(edges, COUNT(edges), VQ_F32, x, 3);
    for (i = 0; i < 2; i++) {
        e = inverses[i];
        e.scale = bits_of(1e-36f / (i ? 127 : 448));
        each_edge(&e, 1, VQ_F32, less, 3);
    }
    e = saturating[0];
    e.scale = bits_of(1e-37f / 127);
    each_edge(&e, 1, VQ_F32, least, 3);
    each_edge(clamped, COUNT(clamped), VQ_F32, subnormal, 3);
}

static void infinity_counts_as_the_largest_and_saturates(void)
{
    static const double x[] = { INFINITY, -INFINITY, 1 };
    static const edge f32[] = {
        { "fp8_static", 0, { 0x7e, 0xfe, 0x38, 0 } },
        { "fp8_token", 0x7b124924, { 0x7e, 0xfe, 0, 0 } },
        { "fp8_dynamic_tensor", 0x7b124924, { 0x7e, 0xfe, 0, 0 } },
        { "nvfp4", 0x7e, { 7, 15, 0, 0 } },
        { "mxfp4", 253, { 7, 15, 0, 0 } }, { "ocp_mxfp4", 252, { 7, 15, 0, 0 } },
        { "mxfp8", 247, { 0x7e, 0xfe, 0, 0 } }, { "mxfp8_dynamic", 254, { 0x7e, 0xfe, 0, 0 } },
        { "int8_token", 0x7c010204, { 127, -128, 0, 0 } },
        { "vllm_int8_group128", 0x7c010204, { 127, -128, 0, 0 } },
    };
    static const edge f16[] = {
        { "fp8_token", 0, { 0x7e, 0xfe, 0x04, 0 } },
        { "mxfp4", 127 + 14, { 7, 15, 0, 0 } },
        { "int8_token", 0x4400f1e4, { 127, -128, 0, 0 } },
    };
    edge e[COUNT(f32)];
    start();
    memcpy(e, f32, sizeof e);
    e[1].scale = e[2].scale = bits_of(float_of(0x7f7fffff) / 448);
    e[8].scale = e[9].scale = bits_of(float_of(0x7f7fffff) / 127);
    each_edge(e, COUNT(f32), VQ_F32, x, 3);
    memcpy(e, f16, sizeof f16);
    e[0].scale = bits_of(65504.0f / 448);
    e[2].scale = bits_of(65504.0f / 127);
    each_edge(e, COUNT(f16), VQ_F16, x, 3);
}

/* The scale becomes NaN where the codes have none; else the rest of the group goes on. */
static void nan_stays_nan(void)
{
    static const double x[] = { NAN, 6, -3 };
    static const struct { const char *key; int scale_is_nan; int codes[3]; } rows[] = {
        { "fp8_token", 0, { 0x7f, 0x7e, 0xf6 } }, { "fp8_static", 0, { 0x7f, 0x4c, 0xc4 } },
        { "fp8_dynamic_tensor", 0, { 0x7f, 0x7e, 0xf6 } },
        { "fp8_dynamic_group128", 0, { 0x7f, 0x7e, 0xf6 } },
        { "mxfp8", 0, { 0x7f, 0x7c, 0xf4 } }, { "ocp_mxfp8_e5m2", 0, { 0x7f, 0x7a, 0xf6 } },
        { "mxfp4", 1, { 7, 7, 7 } }, { "nvfp4", 1, { 7, 7, 7 } },
        { "mxfp6_e3m2", 1, { 31, 31, 31 } }, { "mxfp6_e2m3", 1, { 31, 31, 31 } },
        { "int8_token", 1, { 0, 127, -64 } }, { "int8_tensor", 1, { 0, 0, 0 } },
        { "int8_token_azp", 1, { 0, 0, 0 } }, { "vllm_int8_group128", 1, { 0, 0, 0 } },
    };
    int i, c;
    start();
    for (i = 0; i < COUNT(rows); i++) {
        job j = quantized(key_of(rows[i].key), VQ_F32, x, 3, 1, 1);
        double s = get_value(&j.scale, 0, 0);
        CHECKF((isnan(s) != 0) == rows[i].scale_is_nan, "%s: scale %g", rows[i].key, s);
        for (c = 0; c < 3; c++)
            CHECKF(get(&j.q, 0, c) == ((uint32_t)rows[i].codes[c] & mask_of(j.k.elem)),
                   "%s: q[%d] %x", rows[i].key, c, (unsigned)get(&j.q, 0, c));
        drop_job(&j);
    }
}

/* A given scale is used as it is. x: 2, -2, 0, infinity, -infinity, NaN */
static void a_given_scale_may_be_anything(void)
{
    static const double x[] = { 2, -2, 0, INFINITY, -INFINITY, NAN };
    static const struct { const char *key; double s; int codes[6]; } rows[] = {
        { "fp8_static", 0, { 0x7e, 0xfe, 0x7e, 0x7e, 0xfe, 0x7f } },
        { "fp8_static", INFINITY, { 0, 0x80, 0, 0x7e, 0x7e, 0x7f } },
        { "fp8_static", NAN, { 0x7e, 0x7e, 0x7e, 0x7e, 0x7e, 0x7f } },
        { "fp8_static", 0x1p-149, { 0x7e, 0xfe, 0x7e, 0x7e, 0xfe, 0x7f } },
        { "fp8_static", -1, { 0xc0, 0x40, 0x80, 0xfe, 0x7e, 0x7f } },
        { "int8_static", 0, { 127, -128, 0, 127, -128, 0 } },
        { "int8_static", INFINITY, { 0, 0, 0, 0, 0, 0 } },
        { "int8_static", NAN, { 0, 0, 0, 0, 0, 0 } },
        { "int8_static", 0x1p-24, { 127, -128, 0, 127, -128, 0 } },
        { "int4_static", 0, { 7, -8, 0, 7, -8, 0 } }, { "int4_static", 1, { 2, -2, 0, 7, -8, 0 } },
        { "mxfp4_static", 0x1p-127, { 7, 15, 0, 7, 15, 7 } },
        { "mxfp4_static", NAN, { 7, 7, 7, 7, 7, 7 } },
        { "mxfp4_static", 1, { 4, 12, 0, 7, 15, 7 } },
        { "mxfp8_static", NAN, { 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f } },
        { "nvfp4_static", 0, { 0, 8, 0, 7, 7, 7 } }, { "nvfp4_static", 1, { 4, 12, 0, 7, 15, 7 } },
        { "float4_e2m1fn/ue4m3/1x16/static/max6/x.inv.s/scale2=mul", 0, { 7, 15, 7, 7, 15, 7 } },
    };
    int i;
    start();
    for (i = 0; i < COUNT(rows); i++)
        codes_are(key_of(rows[i].key), VQ_F32, x, 6, rows[i].s, 1, 0, rows[i].codes);
}

/* Bound, then floor; and a second scale on either side. */
static void bounds_floors_and_second_scales_come_in_their_order(void)
{
    static const double x[] = { 896, -100 };
#define DIV "float8_e4m3fn/f32/1x-1/dyn/amax.div448/x.div.s"
    static const struct { const char *key; double g; uint32_t scale; } rows[] = {
        { DIV "/bound=amax", 448, 0x3f800000 },
        { DIV "/bound=amax", 1000, 0x40000000 },
        { DIV "/bound=amax", NAN, 0x40000000 },
        { DIV "/bound=amax/floor=amax:1792", 448, 0x40800000 },
        { DIV "/bound=amax/floor=scale:8", 448, 0x41000000 },
        { DIV "/bound=scale", 0.5, 0x3f000000 },
        { DIV "/bound=scale", NAN, 0x40000000 },
        { DIV "/bound=scale/floor=scale:1.5", 0.5, 0x3fc00000 },
        { DIV "/bound=scale/floor=amax:3584", 4, 0x40800000 },
        { DIV "/scale2=div", 4, 0x41000000 },
        { DIV "/scale2=mul", 4, 0x3f000000 },
        { DIV "/floor=scale:3/scale2=mul", 4, 0x40400000 },
        { DIV "/floor=amax:1792/scale2=div", 0.5, 0x40000000 },
        { DIV "/bound=scale/scale2=div", 4, 0x40800000 },
        { "float8_e4m3fn/ue4m3/1x-1/dyn/amax.div448/x.inv0.s/scale2=div", 448, 0x7e },
        { "float8_e4m3fn/f32/1x-1/dyn/amax.rceil448/x.div.s/floor=raw:3", 1, 0x40800000 },
        { "float8_e4m3fn/f32/1x-1/dyn/amax.trunc448/x.div.s/floor=raw:3", 1, 0x40000000 },
        { "float8_e4m3fn/f32/1x-1/dyn/amax.rceil448/x.div.s/floor=scale:3", 1, 0x40400000 },
    };
#undef DIV
    int i;
    start();
    for (i = 0; i < COUNT(rows); i++) {
        job j = quantized(key_of(rows[i].key), VQ_F32, x, 2, 0, rows[i].g);
        uint32_t s = get(&j.scale, 0, 0);
        CHECKF(s == rows[i].scale, "%x, not %x: %s", (unsigned)s, (unsigned)rows[i].scale,
               about(&j));
        drop_job(&j);
    }
}

/* --- refusals -------------------------------------------------------------------------- */

static vq_quant_args   qa;                                   /* what a mistake is made in */
static vq_dequant_args da;
static job             host;

#define MISTAKES(X) \
    X(zero_absent,    A, 3, "zero",   PRESENT, T.zero.rank = 0) \
    X(zero_null,      A, 3, "zero",   PRESENT, T.zero.data = NULL) \
    X(zero_type,      A, 3, "zero",   TYPE,    T.zero.dtype = VQ_UINT8) \
    X(zero_wide,      A, 3, "zero",   TYPE,    T.zero.dtype = VQ_F32) \
    X(zero_rank,      A, 3, "zero",   RANK,    T.zero.rank = 1) \
    X(zero_rows,      A, 3, "zero",   SHAPE,   T.zero.shape[0]++) \
    X(zero_cols,      A, 3, "zero",   SHAPE,   T.zero.shape[1]--) \
    X(zero_stride,    A, 3, "zero",   STRIDE,  T.zero.stride[1] = 0) \
    X(zero_layout,    A, 3, "zero",   LAYOUT,  T.zero.layout = (vq_layout)99) \
    X(zero_words,     A, 3, "zero",   TYPE,    T.zero.layout = VQ_PACKED_UE8M0) \
    X(zero_rank5,     A, 3, "zero",   RANK,    T.zero.rank = 5) \
    X(zero_unused,    B, 3, "zero",   UNUSED,  T.zero = T.scale) \
    X(bound_absent,   A, 1, "bound",  PRESENT, qa.bound.rank = 0) \
    X(bound_null,     A, 1, "bound",  PRESENT, qa.bound.data = NULL) \
    X(bound_type,     A, 1, "bound",  TYPE,    qa.bound.dtype = VQ_F16) \
    X(bound_rank,     A, 1, "bound",  RANK,    qa.bound.rank = 1) \
    X(bound_shape,    A, 1, "bound",  SHAPE,   qa.bound.shape[1] = 2) \
    X(bound_empty,    A, 1, "bound",  SHAPE,   qa.bound.shape[0] = 0) \
    X(bound_unused,   B, 1, "bound",  UNUSED,  qa.bound = qa.scale2) \
    X(scale2_absent,  B, 3, "scale2", PRESENT, T.scale2.rank = 0) \
    X(scale2_null,    B, 3, "scale2", PRESENT, T.scale2.data = NULL) \
    X(scale2_type,    B, 3, "scale2", TYPE,    T.scale2.dtype = VQ_BF16) \
    X(scale2_rank,    B, 3, "scale2", RANK,    T.scale2.rank = 3) \
    X(scale2_shape,   B, 3, "scale2", SHAPE,   T.scale2.shape[0] = 2) \
    X(scale2_unused,  A, 3, "scale2", UNUSED,  T.scale2 = host.bound.t) \
    X(scale_type,     B, 3, "scale",  TYPE,    T.scale.dtype = VQ_E8M0) \
    X(scale_layout,   A, 3, "scale",  LAYOUT,  T.scale.layout = VQ_SWIZZLE_128X4) \
    X(scale_words,    B, 3, "scale",  TYPE,    T.scale.layout = VQ_PACKED_UE8M0) \
    X(scale_tiles,    B, 3, "scale",  STRIDE, \
      (T.scale.layout = VQ_SWIZZLE_8X4, T.scale.stride[0] = 8)) \
    X(scale_shape,    A, 3, "scale",  SHAPE,   T.scale.shape[1]++) \
    X(scale_itself,   A, 1, "scale",  STRIDE,  (qa.scale.stride[0] = 1, qa.scale.stride[1] = 1)) \
    X(zero_itself,    A, 1, "zero",   STRIDE,  (qa.zero.stride[0] = 1, qa.zero.stride[1] = 1)) \
    X(tail,           B, 1, "x",      SHAPE,   (qa.x.shape[1]--, qa.q.shape[1]--)) \
    X(tail_back,      B, 2, "q",      SHAPE,   (da.q.shape[1]--, da.y.shape[1]--)) \
    X(q_type,         A, 3, "q",      TYPE,    T.q.dtype = VQ_UINT8) \
    X(x_type,         A, 1, "x",      TYPE,    qa.x.dtype = VQ_INT8) \
    X(zero_in_q,      A, 1, "zero",   OVERLAP, qa.zero.data = (char *)qa.q.data + 1) \
    X(zero_in_scale,  A, 1, "zero",   OVERLAP, qa.zero.data = qa.scale.data) \
    X(zero_in_x,      A, 1, "zero",   OVERLAP, qa.zero.data = (char *)qa.x.data + 3) \
    X(bound_in_q,     A, 1, "q",      OVERLAP, qa.bound.data = qa.q.data) \
    X(bound_in_zero,  A, 1, "zero",   OVERLAP, qa.bound.data = qa.zero.data) \
    X(bound_in_scale, A, 1, "scale",  OVERLAP, qa.bound.data = qa.scale.data) \
    X(scale2_in_q,    B, 1, "q",      OVERLAP, qa.scale2.data = qa.q.data) \
    X(scale2_in_scale, B, 1, "scale",  OVERLAP, qa.scale2.data = qa.scale.data) \
    X(scale_in_q,     B, 1, "scale",  OVERLAP, qa.scale.data = qa.q.data) \
    X(zero_in_y,      A, 2, "y",      OVERLAP, da.zero.data = da.y.data) \
    X(scale2_in_y,    B, 2, "y",      OVERLAP, da.scale2.data = da.y.data) \
    X(y_in_scale,     B, 2, "y",      OVERLAP, da.y.data = da.scale.data) \
    X(y_type,         B, 2, "y",      TYPE,    da.y.dtype = VQ_E4M3FN) \
    X(y_shape,        A, 2, "y",      SHAPE,   da.y.shape[0]++)

#define A 0
#define B 1
#undef T
#define T qa
#define X(name, key, ops, arg, guard, mistake) static void q_##name(void) { (void)(mistake); }
MISTAKES(X)
#undef X
#undef T
#define T da
#define X(name, key, ops, arg, guard, mistake) static void d_##name(void) { (void)(mistake); }
MISTAKES(X)
#undef X
#undef T

/* ops: 1 quant, 2 dequant, 3 both. For x, q and y that overlap, the later one is named. */
static const struct {
    void (*quant)(void), (*dequant)(void);
    const char *name, *arg;
    int key, ops;
    vq_guard guard;
} mistakes[] = {
#define X(name, key, ops, arg, guard, mistake) \
    { q_##name, d_##name, #name, arg, key, ops, VQ_GUARD_##guard },
    MISTAKES(X)
#undef X
};
#undef A
#undef B
#undef T
#define T(name) {#name, name}

/* Two keys that together have every part. Each mistake alone, and nothing is written. */
static void each_bad_part_is_named_and_nothing_is_written(void)
{
    static const char *const keys[] = {
        "int8/f32/1x4/dyn/range.div255/x.inv.s/asym/bound=scale",
        "float4_e2m1fn/ue4m3/1x16/dyn/amax.inv6/x.inv0.s/notail/scale2=div",
    };
    int i, op;
    start();
    for (i = 0; i < COUNT(mistakes); i++)
        for (op = 1; op <= 2; op++) {
            vq_key k = key_of(keys[mistakes[i].key]);
            vq_report why = VQ_ZERO;
            vq_status s;
            if (!(mistakes[i].ops & op)) continue;
            host = make_job(&k, VQ_F32, 5, 32);
            drop_box(&host.scale);
            host.scale = make_box(k.scale_type, VQ_STRIDED, 5, 32 / k.group_cols, 0, 0, 1);
            if (host.asym) {
                drop_box(&host.zero);
                host.zero = make_box(k.elem, VQ_STRIDED, 5, 32 / k.group_cols, 0, 0, 3);
            }
            qa = quant_args(&host);
            da = dequant_args(&host);
            qa.call.report = da.call.report = &why;
            if (op == 1) mistakes[i].quant();
            else mistakes[i].dequant();
            s = op == 1 ? vq_quant(cpu, &qa) : vq_dequant(cpu, &da);
            CHECKF(s == VQ_BAD_ARG && why.status == s, "%s, op %d: %s", mistakes[i].name, op,
                   vq_status_str(s));
            CHECKF(why.guard == mistakes[i].guard && why.arg && !strcmp(why.arg, mistakes[i].arg),
                   "%s, op %d: %s", mistakes[i].name, op, why.text);
            same(&host, &host.y, "y");
            all_same(&host);
            drop_job(&host);
        }
}

/* The ops that refuse a last group that is not whole, and those that need not here. */
static void a_short_last_group_is_refused_where_the_key_says_so(void)
{
    static const struct { const char *key; int cols, refused, nearest; } rows[] = {
        { "fp8_dynamic_group128", 200, 1, 256 }, { "fp8_dynamic_group64", 130, 1, 128 },
        { "vllm_cpp_group128_ue8m0", 100, 1, 128 }, { "vllm_triton_group128_ue8m0", 129, 1, 128 },
        { "vllm_packed_ue8m0", 200, 1, 256 }, { "vllm_int8_group128", 1, 1, 128 },
        { "vllm_silu_block128", 140, 1, 128 }, { "vllm_masked_silu_cuda", 200, 1, 256 },
        { "nvfp4", 33, 1, 32 }, { "nvfp4_static", 15, 1, 16 }, { "mxfp8_dynamic", 40, 1, 32 },
        { "mxfp4_static", 63, 1, 64 }, { "int4_static_group32_asym", 65, 1, 64 },
        { "w4a8_group64", 70, 1, 64 },
        { "fp8_group128", 200, 0, 0 }, { "aiter_group128", 129, 0, 0 }, { "mxfp4", 33, 0, 0 },
        { "mxfp6_e2m3", 65, 0, 0 }, { "mxfp8", 40, 0, 0 }, { "vllm_native_group128", 1, 0, 0 },
        { "deepseek_block128", 129, 0, 0 },
    };
    int i;
    start();
    for (i = 0; i < COUNT(rows); i++) {
        vq_key k = key_of(rows[i].key);
        job j = make_job(&k, MORE(wides), 2, rows[i].cols);
        vq_quant_args a = quant_args(&j);
        vq_report why = VQ_ZERO;
        a.call.report = &why;
        if (rows[i].refused) {
            CHECKF(vq_quant(cpu, &a) == VQ_BAD_ARG && why.guard == VQ_GUARD_SHAPE
                   && !strcmp(why.arg, "x") && why.found == rows[i].cols
                   && why.nearest == rows[i].nearest, "%s: %s", rows[i].key, why.text);
            all_same(&j);
        } else {
            fill(&j, MIXED);
            check_quant(&j);
        }
        drop_job(&j);
    }
}

/* A plan and its choice do what the op does; and an explanation finds who serves it. */
static void a_plan_serves_every_key(void)
{
    int id;
    start();
    for (id = 0; id < VQ_KEY_COUNT; id++) {
        vq_key k = vq_key_preset((vq_key_id)id);
        job j = make_job(&k, VQ_BF16, k.group_rows == 128 ? 128 : 3, 256);
        vq_choice how;
        vq_report row[8];
        int n = 0, i, found = 0;
        if (j.fixed) random_groups(&j);
        fill(&j, MIXED);
        oracle_quant(&j);
        qa = quant_args(&j);
        CHECKF(vq_plan(cpu, VQ_OP_QUANT, &qa, &how) == VQ_OK, "%s", about(&j));
        CHECKF(vq_run(cpu, &how, &qa) == VQ_OK, "%s", about(&j));
        all_same(&j);
        CHECK(vq_explain(cpu, VQ_OP_QUANT, &qa, row, 8, &n) == VQ_OK && n > 0 && n <= 8);
        for (i = 0; i < n && i < 8; i++) found |= row[i].guard == VQ_GUARD_NONE;
        CHECKF(found, "%s", about(&j));
        drop_job(&j);
    }
}

VQ_TEST_MAIN(
    T(every_scale_rule_under_every_code_rule_is_its_formula),
    T(every_preset_is_its_formula),
    T(presets_in_the_other_fp8_formats_are_their_formulas),
    T(an_extent_of_zero_writes_nothing_and_one_element_works),
    T(odd_rows_of_packed_codes_end_in_zeros),
    T(scales_lie_where_every_order_says_and_padding_is_zero),
    T(wide_and_tall_matrices_work),
    T(a_worked_row_of_fp8_is_the_same_in_both_biases),
    T(a_scale_one_ulp_apart_flips_codes_at_ties),
    T(dividing_and_multiplying_by_a_reciprocal_give_other_codes),
    T(a_worked_block_of_nvfp4_has_the_bytes_of_vllm),
    T(worked_amaxes_of_mx_have_their_bytes),
    T(the_even_rule_bumps_at_its_threshold),
    T(a_power_of_two_is_met_exactly),
    T(a_worked_row_of_int8_rounds_or_truncates),
    T(just_under_a_half_rounds_to_zero),
    T(zero_points_are_the_codes_of_zero),
    T(a_power_of_two_scale_has_the_floor_of_its_implementation),
    T(a_group_of_zeros_is_as_in_the_op_of_its_preset),
    T(a_tiny_amax_is_as_in_the_op_of_its_preset),
    T(infinity_counts_as_the_largest_and_saturates),
    T(nan_stays_nan),
    T(a_given_scale_may_be_anything),
    T(bounds_floors_and_second_scales_come_in_their_order),
    T(each_bad_part_is_named_and_nothing_is_written),
    T(a_short_last_group_is_refused_where_the_key_says_so),
    T(a_plan_serves_every_key)
)
