/* test_tensors.c - views of memory: their builders, what vq_tensor_check() says of bad ones,
   the tensors of scales, and vq_cast() between any two formats over any strides

   The oracle of vq_cast() decodes by the value formulas in double, encodes by search among the
   values of a format, and places codes bit by bit. */
#define _GNU_SOURCE
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"
#include <sys/mman.h>

#define COUNT(a) ((int)(sizeof (a) / sizeof *(a)))
#define TYPE_FIRST VQ_F32              /* VQ_NONE is none */

static vq_ctx *vq;

static int starts(void)
{
    vq_desc d = VQ_ZERO;
    d.backend = VQ_CPU;
    if (!vq) CHECK(vq_init(&d, &vq) == VQ_OK);
    return vq != NULL;
}

/* --- formats, by their formulas ---------------------------------------------------------- */

enum { IEEE, FN, UZ, FINITE, SCALE_E8, SCALE_U, INTEGER };

typedef struct { vq_dtype type; int bits, kind, e, m, bias; } format;   /* integers: m is lowest */

static const format formats[] = {
    { VQ_F32,      32, IEEE,     8, 23, 127 }, { VQ_F16,      16, IEEE,     5, 10, 15 },
    { VQ_BF16,     16, IEEE,     8, 7,  127 }, { VQ_E4M3FN,   8,  FN,       4, 3,  7 },
    { VQ_E4M3FNUZ, 8,  UZ,       4, 3,  8 },   { VQ_E5M2,     8,  IEEE,     5, 2,  15 },
    { VQ_E5M2FNUZ, 8,  UZ,       5, 2,  16 },  { VQ_E8M0,     8,  SCALE_E8, 8, 0,  127 },
    { VQ_UE4M3,    8,  SCALE_U,  4, 3,  7 },   { VQ_E2M3,     6,  FINITE,   2, 3,  1 },
    { VQ_E3M2,     6,  FINITE,   3, 2,  3 },   { VQ_E2M1,     4,  FINITE,   2, 1,  1 },
    { VQ_INT8,     8,  INTEGER,  0, -128, 0 }, { VQ_UINT8,    8,  INTEGER,  0, 0,  0 },
    { VQ_INT4,     4,  INTEGER,  0, -8,  0 },  { VQ_UINT4,    4,  INTEGER,  0, 0,  0 },
    { VQ_INT32,    32, INTEGER,  0, 0,  0 },   { VQ_INT64,    64, INTEGER,  0, 0,  0 },
};

enum { CODED = COUNT(formats) - 2 };   /* the last two are not converted */

static const format *format_of(vq_dtype t)
{
    int i;
    for (i = 0; i < COUNT(formats); i++) if (formats[i].type == t) return &formats[i];
    return NULL;
}

static double two_to(int e)
{
    double x = 1;
    for (; e > 0; e--) x *= 2;
    for (; e < 0; e++) x /= 2;
    return x;
}

static double not_a_number(void) { volatile double zero = 0; return zero / zero; }
static double infinite(void)     { volatile double zero = 0; return 1 / zero; }

static double value_of(const format *f, uint32_t code)
{
    uint32_t sign, e, m, top = (1u << f->e) - 1;
    double x;
    if (f->kind == INTEGER)
        return f->m && code >> (f->bits - 1) ? (double)code - two_to(f->bits) : (double)code;
    if (f->kind == SCALE_E8) return code == 255 ? not_a_number() : two_to((int)code - 127);
    m = code & ((1u << f->m) - 1);
    e = code >> f->m & top;
    sign = code >> (f->e + f->m) & 1;
    if (f->kind == UZ && code == 0x80) return not_a_number();
    if (f->kind == FN && e == top && m == 7) return not_a_number();
    if (f->kind == SCALE_U && (sign || (e == top && m == 7))) return not_a_number();
    if (f->kind == IEEE && e == top) x = m ? not_a_number() : infinite();
    else if (e) x = two_to((int)e - f->bias) * (1 + (double)m / two_to(f->m));
    else        x = two_to(1 - f->bias) * ((double)m / two_to(f->m));
    return sign ? -x : x;
}

static double values[CODED][1 << 15];     /* of the codes 0..largest, ascending */
static int    largest[CODED];

static void make_values(void)
{
    int i, c;
    if (largest[1]) return;
    for (i = 1; i < CODED; i++) {
        const format *f = &formats[i];
        int codes = f->kind == SCALE_E8 || (f->kind == INTEGER && !f->m) ? 1 << f->bits
                                                                         : 1 << (f->bits - 1);
        for (c = 0; c < codes; c++) {
            double x = value_of(f, (uint32_t)c);
            if (x != x || x > 1e300) break;
            values[i][c] = x;
            largest[i] = c;
        }
    }
}

static uint32_t nan_of(const format *f)
{
    switch (f->kind) {
    case IEEE:     return f->bits == 8 ? 0x7f : f->bits == 32 ? 0x7fc00000 : f->m == 10 ? 0x7e00
                                                                                      : 0x7fc0;
    case FN:       return 0x7f;
    case SCALE_U:  return 0x7f;
    case UZ:       return 0x80;
    case SCALE_E8: return 0xff;
    case FINITE:   return (1u << (f->bits - 1)) - 1;
    default:       return 0;
    }
}

static uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }

/* The code of x, which is exact in f32. */
static uint32_t code_of(const format *f, double x, vq_overflow o)
{
    const int i = (int)(f - formats);
    const double *v = values[i], a = x < 0 ? -x : x;
    uint32_t minus = bits_of((float)x) >> 31, sign, code, beyond;
    int lo = 0, hi = largest[i];
    if (x != x) return nan_of(f);
    if (f->bits == 32) return bits_of((float)x);
    sign = minus ? 1u << (f->bits - 1) : 0;
    if (f->kind == INTEGER) {
        double low = f->m, high = f->m ? -low - 1 : two_to(f->bits) - 1, whole, part;
        if (x <= low) return (uint32_t)(int64_t)low & ((1u << f->bits) - 1);
        if (x >= high) return (uint32_t)high;
        whole = (double)(int64_t)(x - low);                 /* floor: what is left is >= 0 */
        part = x - low - whole;
        whole += low;
        if (part > 0.5 || (part == 0.5 && (int64_t)whole % 2)) whole += 1;
        return (uint32_t)(int64_t)whole & ((1u << f->bits) - 1);
    }
    if (f->kind == SCALE_E8) {
        if (x == 0) return o == VQ_SATURATE ? 0 : 0xff;
        if (minus) return 0xff;
        sign = 0;
    }
    if (f->kind == SCALE_U) {
        if (minus && x != 0) return o == VQ_SATURATE ? 0 : 0x7f;
        sign = 0;
    }
    while (lo < hi) {                                       /* the last value <= a */
        int mid = (lo + hi + 1) / 2;
        if (v[mid] <= a) lo = mid; else hi = mid - 1;
    }
    code = (uint32_t)lo;
    if (a > v[lo]) {
        double step = lo < largest[i] ? v[lo + 1] - v[lo]
                    : f->kind == SCALE_E8 ? v[lo] : v[lo] - v[lo - 1];
        double above = a - v[lo];
        if (above > step / 2 || (above == step / 2 && (f->kind == SCALE_E8 || lo % 2))) code++;
    }
    if ((int)code > largest[i]) {
        beyond = f->kind == IEEE ? (uint32_t)largest[i] + 1 : nan_of(f);
        code = o == VQ_SATURATE || f->kind == FINITE ? (uint32_t)largest[i] : beyond;
        if (code == nan_of(f) && f->kind != FINITE) return code;
    }
    if (f->kind == UZ && !code) sign = 0;
    return sign | code;
}

/* --- memory, bit by bit ------------------------------------------------------------------ */

static uint32_t bits_at(const uint8_t *p, int64_t at, int bits)
{
    uint32_t v = 0;
    int i;
    for (i = 0; i < bits; i++) v |= (uint32_t)(p[(at + i) / 8] >> (at + i) % 8 & 1) << i;
    return v;
}

static void put_bits(uint8_t *p, int64_t at, int bits, uint32_t v)
{
    int i;
    for (i = 0; i < bits; i++, at++)
        p[at / 8] = (uint8_t)((p[at / 8] & ~(1 << at % 8)) | (v >> i & 1) << at % 8);
}

/* Bit offset of the element at index[]: strides of packed types count bytes. */
static int64_t bit_of(const vq_tensor *t, const int64_t *index)
{
    int bits = vq_dtype_bits(t->dtype), i;
    int64_t at = 0;
    for (i = 0; i < t->rank; i++)
        at += index[i] * (bits >= 8 ? t->stride[i] * bits : i < t->rank - 1 ? t->stride[i] * 8
                                                                            : bits);
    return at;
}

static int next_index(const vq_tensor *t, int64_t *index)
{
    int i;
    for (i = t->rank - 1; i >= 0; i--) {
        if (++index[i] < t->shape[i]) return 1;
        index[i] = 0;
    }
    return 0;
}

static int is_empty(const vq_tensor *t)
{
    int i;
    for (i = 0; i < t->rank; i++) if (!t->shape[i]) return 1;
    return 0;
}

/* Bytes up to the end of the last element. */
static int64_t end_of(const vq_tensor *t)
{
    int64_t index[4] = { 0 }, end = 0, at;
    if (is_empty(t)) return 0;
    do {
        at = (bit_of(t, index) + vq_dtype_bits(t->dtype) + 7) / 8;
        if (at > end) end = at;
    } while (next_index(t, index));
    return end;
}

/* A tensor whose dimensions lie in any order, with gaps or without. */
static vq_tensor any_view(vq_dtype type, int rank, const int64_t *shape)
{
    vq_tensor t = vq_tensor_nd(NULL, type, rank, shape, VQ_HOST);
    int bits = vq_dtype_bits(type), dims = bits < 8 ? rank - 1 : rank, used = 0, n;
    int64_t span = bits < 8 ? (shape[rank - 1] * bits + 7) / 8 : 1;
    int loose = (int)(t_rand() % 3);
    if (loose == 0) return t;
    if (span < 1) span = 1;
    for (n = 0; n < dims; n++) {
        int i = (int)(t_rand() % (uint32_t)dims);
        while (used >> i & 1) i = (i + 1) % dims;
        if (loose == 1) for (i = dims - 1; used >> i & 1; i--) { }     /* in order, with gaps */
        used |= 1 << i;
        t.stride[i] = span + t_rand() % 3;
        span = t.stride[i] * (shape[i] > 0 ? shape[i] : 1);
    }
    return t;
}

enum { GUARD = 32, ROOM = 1 << 15 };
static uint8_t mem_x[ROOM], mem_y[ROOM], was_x[ROOM], want[ROOM];

static float odd_value(void)
{
    const format *f = &formats[1 + t_rand() % (CODED - 1)];
    const int i = (int)(f - formats), c = (int)(t_rand() % (uint32_t)(largest[i] + 1));
    uint32_t u = t_rand();
    float x;
    if (u % 4 == 0) { u = t_rand(); memcpy(&x, &u, 4); return x; }
    x = (float)values[i][c];
    if (u % 4 == 1 && c < largest[i]) x = (float)((values[i][c] + values[i][c + 1]) / 2);
    memcpy(&u, &x, 4);
    u += t_rand() % 3 - 1;                                 /* a tie, or beside it */
    u ^= t_rand() << 31;
    memcpy(&x, &u, 4);
    return x;
}

/* mem_x filled with codes of x at `data`, and `want` with what the cast to y leaves. */
static void predict(const vq_tensor *x, uint8_t *x_data, const vq_tensor *y, uint8_t *y_want,
                    vq_overflow o)
{
    const format *from = format_of(x->dtype), *to = format_of(y->dtype);
    int64_t index[4] = { 0 };
    if (is_empty(x)) return;
    do {
        uint32_t code = t_rand();
        if (from->bits == 32) { float v = odd_value(); memcpy(&code, &v, 4); }
        put_bits(x_data, bit_of(x, index), from->bits, code);
    } while (next_index(x, index));
    do {
        uint32_t code = bits_at(x_data, bit_of(x, index), from->bits);
        double v = value_of(from, code);
        put_bits(y_want, bit_of(y, index), to->bits, code_of(to, v, o));
        if (to->bits < 8 && index[y->rank - 1] == y->shape[y->rank - 1] - 1) {
            int64_t at = bit_of(y, index) + to->bits;
            for (; at % 8; at++) put_bits(y_want, at, 1, 0);
        }
    } while (next_index(x, index));
}

/* Any quiet NaN stands for the one that was predicted in f32, f16 and bf16. */
static void accept_nans(const vq_tensor *y, const uint8_t *got, uint8_t *y_want)
{
    const format *to = format_of(y->dtype);
    int64_t index[4] = { 0 };
    if (to->bits < 16 || is_empty(y)) return;
    do {
        int64_t at = bit_of(y, index);
        uint32_t w = bits_at(y_want, at, to->bits), g = bits_at(got, at, to->bits);
        double a = value_of(to, w), b = value_of(to, g);
        if (a != a && b != b && g >> (to->m - 1) & 1) put_bits(y_want, at, to->bits, g);
    } while (next_index(y, index));
}

static void cast_once(vq_dtype tx, vq_dtype ty, int rank, const int64_t *shape, int in_place)
{
    vq_cast_args a = VQ_ZERO;
    vq_report r = VQ_ZERO;
    vq_status s;
    int off_x = (int)(t_rand() % 8), off_y = in_place ? off_x : (int)(t_rand() % 8);
    uint8_t *to = in_place ? mem_x : mem_y;
    int64_t end_x, end_y;
    size_t room;
    a.x = any_view(tx, rank, shape);
    a.y = any_view(ty, rank, shape);
    if (in_place) { a.y = a.x; a.y.dtype = ty; }
    a.overflow = (vq_overflow)(t_rand() % 2);
    end_x = end_of(&a.x);
    end_y = end_of(&a.y);
    room = (size_t)(end_x > end_y ? end_x : end_y) + 2 * GUARD + 8;
    if (room > ROOM) { CHECK(!"room"); return; }
    memset(mem_x, 0x5a, room);
    memset(mem_y, 0xa5, room);
    memset(want, 0xa5, room);
    a.x.data = mem_x + GUARD + off_x;
    a.y.data = to + GUARD + off_y;
    a.call.report = &r;
    predict(&a.x, (uint8_t *)a.x.data, &a.y, want + GUARD + off_y, a.overflow);
    memcpy(was_x, mem_x, room);
    if (in_place) {                                        /* the same codes over x's own bytes */
        int64_t index[4] = { 0 };
        uint8_t *w = was_x + GUARD + off_y, *p = want + GUARD + off_y;
        int bits = vq_dtype_bits(ty);
        if (!is_empty(&a.y)) do {
            int64_t at = bit_of(&a.y, index);
            put_bits(w, at, bits, bits_at(p, at, bits));
            if (bits < 8 && index[rank - 1] == shape[rank - 1] - 1)
                for (at += bits; at % 8; at++) put_bits(w, at, 1, 0);
        } while (next_index(&a.y, index));
        memcpy(want, was_x, room);
    }
    s = vq_cast(vq, &a);
    accept_nans(&a.y, (const uint8_t *)a.y.data, want + GUARD + off_y);
    CHECKF(s == VQ_OK, "%s -> %s: %s", vq_dtype_str(tx), vq_dtype_str(ty), r.text);
    CHECKF(!memcmp(to, want, room), "%s -> %s, rank %d [.. %d], %s%s", vq_dtype_str(tx),
           vq_dtype_str(ty), rank, (int)shape[rank - 1], a.overflow ? "nonfinite" : "saturate",
           in_place ? ", in place" : "");
    if (!in_place) CHECKF(!memcmp(mem_x, was_x, room), "%s -> %s: x was written",
                          vq_dtype_str(tx), vq_dtype_str(ty));
    CHECKF(vq_tensor_bytes(a.x) == end_x, "%s: %d bytes, not %d", vq_dtype_str(tx), (int)end_x,
           (int)vq_tensor_bytes(a.x));
    CHECKF(vq_tensor_bytes(a.y) == end_y, "%s: %d bytes, not %d", vq_dtype_str(ty), (int)end_y,
           (int)vq_tensor_bytes(a.y));
}

static int random_shape(int64_t *shape)
{
    int rank = (int)(t_rand() % 4) + 1, i;
    for (i = 0; i < rank; i++) shape[i] = t_rand() % 4 + 1;
    shape[rank - 1] = t_rand() % 13 + 1;
    return rank;
}

/* --- builders ---------------------------------------------------------------------------- */

static void a_row_starts_on_a_byte(void)
{
    int t;
    int64_t n;
    for (t = TYPE_FIRST; t < VQ_DTYPE_COUNT; t++) {
        int bits = format_of((vq_dtype)t)->bits;
        CHECK(vq_dtype_bits((vq_dtype)t) == bits);
        for (n = 0; n < 100; n++)
            CHECKF(vq_row_bytes((vq_dtype)t, n) == (n * bits + 7) / 8, "%s %d",
                   vq_dtype_str((vq_dtype)t), (int)n);
        n = (INT64_C(1) << 61) / bits;                     /* whose bits fit an int64 */
        CHECK(vq_row_bytes((vq_dtype)t, n) == (n * bits + 7) / 8);
    }
    CHECK(vq_row_bytes(VQ_F32, INT64_MAX / 8) == INT64_MAX / 8 * 4);
    CHECK(vq_row_bytes(VQ_E3M2, INT64_C(1) << 59) == INT64_C(3) << 57);
    CHECK(vq_row_bytes(VQ_INT4, INT64_MAX) == INT64_C(1) << 62);
    CHECK(vq_row_bytes(VQ_INT8, INT64_MAX) == INT64_MAX);
    CHECK(vq_row_bytes(VQ_BF16, INT64_C(1) << 62) == -1);
    CHECK(vq_row_bytes(VQ_F32, INT64_MAX) == -1);
    CHECK(vq_row_bytes(VQ_INT4, -1) == -1 && vq_row_bytes(VQ_F32, INT64_MIN) == -1);
}

static void builders_make_packed_row_major_views(void)
{
    static const vq_where places[] = { VQ_HOST, VQ_DEVICE, VQ_MANAGED };
    int i, k;
    for (i = 0; i < 4000; i++) {
        vq_dtype t = formats[t_rand() % CODED].type;
        int64_t shape[4], index[4] = { 0 }, at = 0, step;
        int rank = random_shape(shape), bits = vq_dtype_bits(t);
        vq_where at_home = places[i % 3];
        vq_tensor n = vq_tensor_nd(mem_x, t, rank, shape, at_home);
        vq_report r = VQ_ZERO;
        CHECKF(vq_tensor_check(&n, "n", &r) == VQ_OK, "%s", r.text);
        CHECK(n.data == mem_x && n.dtype == t && n.where == at_home && n.rank == rank);
        CHECK(n.layout == VQ_STRIDED);
        for (k = 0; k < rank; k++) CHECK(n.shape[k] == shape[k]);
        do {                                               /* elements follow one another */
            CHECK(bit_of(&n, index) == at);
            step = index[rank - 1] == shape[rank - 1] - 1;
            at += bits;
            if (step) at = (at + 7) / 8 * 8;
        } while (next_index(&n, index));
        CHECK(vq_tensor_bytes(n) == at / 8);
        if (rank == 2) {
            vq_tensor m = vq_tensor_2d(mem_x, t, shape[0], shape[1], at_home);
            CHECK(m.data == n.data && m.dtype == t && m.where == n.where && m.rank == 2);
            CHECK(m.layout == VQ_STRIDED && m.shape[0] == shape[0] && m.shape[1] == shape[1]);
            CHECK(m.stride[0] == n.stride[0] && m.stride[1] == n.stride[1]);
        }
    }
}

static void an_extent_of_nothing_is_a_tensor(void)
{
    int rank, zeros, t, i;
    for (t = TYPE_FIRST; t < VQ_DTYPE_COUNT; t++)
        for (rank = 1; rank <= 4; rank++)
            for (zeros = 1; zeros < 1 << rank; zeros++) {
                int64_t shape[4];
                vq_tensor n;
                vq_report r = VQ_ZERO;
                for (i = 0; i < rank; i++) shape[i] = zeros >> i & 1 ? 0 : 5;
                n = vq_tensor_nd(NULL, (vq_dtype)t, rank, shape, VQ_HOST);
                CHECKF(vq_tensor_check(&n, "n", &r) == VQ_OK, "%s", r.text);
                CHECK(vq_tensor_bytes(n) == 0);
            }
}

static void what_overflows_is_said_and_not_wrapped(void)
{
    static const int64_t big[][4] = {
        { INT64_MAX, 2, 1, 1 }, { 2, INT64_MAX, 1, 1 },
        { INT64_C(1) << 40, INT64_C(1) << 40, 1, 1 },
        { INT64_C(1) << 32, INT64_C(1) << 32, INT64_C(1) << 32, INT64_C(1) << 32 },
        { INT64_C(1) << 62, INT64_C(1) << 62, INT64_C(1) << 62, INT64_C(1) << 62 },
        { INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX }, { 3, 3, INT64_MAX, INT64_MAX },
    };
    int i, rank, t, o;
    for (i = 0; i < COUNT(big); i++)
        for (rank = 2; rank <= 4; rank++)
            for (t = TYPE_FIRST; t < VQ_DTYPE_COUNT; t++) {
                vq_tensor n = vq_tensor_nd(NULL, (vq_dtype)t, rank, big[i], VQ_HOST);
                vq_report r = VQ_ZERO;
                if (rank == 2 && i == 6) continue;         /* 3 x 3 fits */
                CHECKF(vq_tensor_check(&n, "n", &r) == VQ_BAD_ARG, "%d %d %s", i, rank,
                       vq_dtype_str((vq_dtype)t));
                CHECKF(r.guard == VQ_GUARD_SIZE, "%s", r.text);
                CHECK(vq_tensor_bytes(n) == -1);
            }
    for (i = 0; i < 3; i++)
        for (o = 0; o < VQ_ORDER_COUNT; o++) {
            int64_t rows = i < 2 ? INT64_MAX - 2 : 3, cols = i > 0 ? INT64_MAX - 2 : 3;
            vq_tensor n = vq_tensor_ordered(VQ_E8M0, rows, cols, (vq_order)o, NULL, VQ_HOST);
            CHECKF(vq_tensor_check(&n, "n", NULL) == VQ_BAD_ARG, "%s %d",
                   vq_order_str((vq_order)o), i);
            CHECK(vq_tensor_bytes(n) == -1);
        }
}

static void builders_take_no_rank_but_1_to_4(void)
{
    static const int bad[] = { 0, -1, 5, 6, 1000, -2147483647 };
    int64_t shape[8] = { 2, 2, 2, 2, 2, 2, 2, 2 };
    int i;
    for (i = 0; i < COUNT(bad); i++) {
        vq_report r = VQ_ZERO;
        vq_tensor n = vq_tensor_nd(mem_x, VQ_F32, bad[i], shape, VQ_HOST);
        CHECK(vq_tensor_check(&n, "n", &r) == VQ_BAD_ARG);
        CHECKF(r.guard == (bad[i] ? VQ_GUARD_RANK : VQ_GUARD_PRESENT), "%s", r.text);
        CHECK(!bad[i] || (r.found == bad[i] && r.needed == (bad[i] < 0 ? 1 : 4)));
        CHECK(vq_tensor_bytes(n) == -1);
    }
}

/* --- vq_tensor_check --------------------------------------------------------------------- */

static void what_is_no_tensor_is_refused_by_what_is_wrong(void)
{
    static const struct {
        const char *what;
        vq_dtype type;
        int rank, where, layout;
        int64_t shape[4], stride[4];
        vq_guard guard;
        int64_t found, needed;
    } c[] = {
#define ST VQ_STRIDED
#define PK VQ_PACKED_UE8M0
#define T128 VQ_SWIZZLE_128X4
#define T8 VQ_SWIZZLE_8X4
#define CD VQ_SWIZZLE_CDNA4
#define G(x) VQ_GUARD_##x
        { "rank 0",     VQ_F32,  0, 0, ST, { 0 }, { 0 }, G(PRESENT), 0, 0 },
        { "rank 5",     VQ_F32,  5, 0, ST, { 2, 2, 2, 2 }, { 8, 4, 2, 1 }, G(RANK), 5, 4 },
        { "rank < 0",   VQ_F32, -1, 0, ST, { 2, 2 }, { 2, 1 }, G(RANK), -1, 1 },
        { "no type",    VQ_NONE, 2, 0, ST, { 2, 2 }, { 2, 1 }, G(TYPE), 0, -1 },
        { "type count", VQ_DTYPE_COUNT, 2, 0, ST, { 2, 2 }, { 2, 1 }, G(TYPE), VQ_DTYPE_COUNT,
          -1 },
        { "type 99",    (vq_dtype)99, 2, 0, ST, { 2, 2 }, { 2, 1 }, G(TYPE), 99, -1 },
        { "place",      VQ_F32,  2, VQ_WHERE_COUNT, ST, { 2, 2 }, { 2, 1 }, G(VALUE),
          VQ_WHERE_COUNT, -1 },
        { "layout",     VQ_F32,  2, 0, VQ_LAYOUT_COUNT, { 2, 2 }, { 2, 1 }, G(LAYOUT),
          VQ_LAYOUT_COUNT, -1 },
        { "rows < 0",   VQ_F32,  2, 0, ST, { -1, 2 }, { 2, 1 }, G(SIZE), -1, 0 },
        { "cols < 0",   VQ_F32,  2, 0, ST, { 2, -7 }, { 2, 1 }, G(SIZE), -7, 0 },
        { "0 x < 0",    VQ_F32,  2, 0, ST, { 0, -7 }, { 2, 1 }, G(SIZE), -7, 0 },
        { "lowest",     VQ_F32,  1, 0, ST, { INT64_MIN }, { 1 }, G(SIZE), INT64_MIN, 0 },
        { "rank 4 < 0", VQ_F32,  4, 0, ST, { 2, 2, 2, -3 }, { 8, 4, 2, 1 }, G(SIZE), -3, 0 },
        { "stride 0",   VQ_F32,  2, 0, ST, { 2, 2 }, { 0, 1 }, G(STRIDE), 0, 1 },
        { "column 0",   VQ_F32,  2, 0, ST, { 2, 2 }, { 2, 0 }, G(STRIDE), 0, 1 },
        { "backwards",  VQ_F32,  2, 0, ST, { 2, 2 }, { -2, 1 }, G(STRIDE), -2, 1 },
        { "lowest",     VQ_F32,  2, 0, ST, { 2, 2 }, { 2, INT64_MIN }, G(STRIDE), INT64_MIN, 1 },
        { "rank 4 0",   VQ_BF16, 4, 0, ST, { 2, 2, 2, 2 }, { 8, 0, 2, 1 }, G(STRIDE), 0, 1 },
        { "bytes",      VQ_F32,  1, 0, ST, { INT64_C(1) << 61 }, { 1 }, G(SIZE), -2, -2 },
        { "bytes",      VQ_INT8, 2, 0, ST, { 3, 1 }, { INT64_C(1) << 62, 1 }, G(SIZE), -2, -2 },
        { "bytes",      VQ_INT8, 2, 0, ST, { 2, 2 }, { INT64_MAX, INT64_MAX }, G(SIZE), -2, -2 },
        { "bytes",      VQ_F32,  2, 0, ST, { 2, 2 }, { INT64_C(1) << 61, 1 }, G(SIZE), -2, -2 },
        { "bytes",      VQ_INT4, 2, 0, ST, { 3, 2 }, { INT64_C(1) << 62, 1 }, G(SIZE), -2, -2 },
        { "int4 apart", VQ_INT4, 2, 0, ST, { 2, 4 }, { 8, 2 }, G(STRIDE), 2, 1 },
        { "fp6 apart",  VQ_E2M3, 1, 0, ST, { 4 }, { 3 }, G(STRIDE), 3, 1 },
        { "int4 short", VQ_INT4, 2, 0, ST, { 2, 5 }, { 2, 1 }, G(STRIDE), 2, 3 },
        { "fp6 short",  VQ_E3M2, 3, 0, ST, { 2, 2, 5 }, { 8, 3, 1 }, G(STRIDE), 3, 4 },
        { "fp4 short",  VQ_E2M1, 4, 0, ST, { 1, 1, 2, 33 }, { 64, 32, 16, 1 }, G(STRIDE), 16, 17 },
        { "f32 tiles",  VQ_F32,  2, 0, T128, { 4, 4 }, { 4, 1 }, G(LAYOUT), T128, 1 },
        { "bf16 tiles", VQ_BF16, 2, 0, T8, { 4, 4 }, { 4, 1 }, G(LAYOUT), T8, 1 },
        { "fp4 tiles",  VQ_E2M1, 2, 0, CD, { 4, 4 }, { 8, 1 }, G(LAYOUT), CD, 1 },
        { "f32 words",  VQ_F32,  2, 0, PK, { 4, 4 }, { 4, 16 }, G(TYPE), VQ_F32, 1 << VQ_E8M0 },
        { "u8 words",   VQ_UINT8, 2, 0, PK, { 4, 4 }, { 4, 16 }, G(TYPE), VQ_UINT8,
          1 << VQ_E8M0 },
        { "tiles of 1", VQ_E8M0, 1, 0, T128, { 4 }, { 1 }, G(RANK), 1, 2 },
        { "tiles of 4", VQ_E8M0, 4, 0, CD, { 1, 1, 4, 4 }, { 256, 256, 8, 1 }, G(RANK), 4, 3 },
        { "words of 1", VQ_E8M0, 1, 0, PK, { 4 }, { 1 }, G(RANK), 1, 2 },
        { "128 pitch",  VQ_E8M0, 2, 0, T128, { 5, 5 }, { 5, 1 }, G(STRIDE), 5, 8 },
        { "128 long",   VQ_E8M0, 2, 0, T128, { 5, 5 }, { 12, 1 }, G(STRIDE), 12, 8 },
        { "8x4 pitch",  VQ_E8M0, 2, 0, T8, { 5, 9 }, { 9, 1 }, G(STRIDE), 9, 12 },
        { "cdna pitch", VQ_E8M0, 2, 0, CD, { 5, 9 }, { 12, 1 }, G(STRIDE), 12, 16 },
        { "cdna step",  VQ_E8M0, 2, 0, CD, { 5, 9 }, { 16, 2 }, G(STRIDE), 2, 1 },
        { "word",       VQ_E8M0, 2, 0, PK, { 5, 9 }, { 1, 32 }, G(STRIDE), 1, 4 },
        { "word step",  VQ_E8M0, 2, 0, PK, { 5, 9 }, { 4, 16 }, G(STRIDE), 16, 20 },
        { "word odd",   VQ_E8M0, 2, 0, PK, { 5, 9 }, { 4, 33 }, G(STRIDE), 33, 36 },
        { "tile size",  VQ_E8M0, 2, 0, T128, { INT64_C(1) << 40, INT64_C(1) << 40 },
          { INT64_C(1) << 40, 1 }, G(SIZE), -2, -2 },
        { "tile batch", VQ_E8M0, 3, 0, T8, { 3, 4, 4 }, { INT64_C(1) << 62, 4, 1 }, G(SIZE), -2,
          -2 },
        { "tile back",  VQ_E8M0, 3, 0, T8, { 3, 4, 4 }, { -32, 4, 1 }, G(STRIDE), -32, 1 },
        { "word size",  VQ_E8M0, 2, 0, PK, { 4, 16 }, { 4, INT64_C(1) << 62 }, G(SIZE), -2, -2 },
    };
    int i;
    for (i = 0; i < COUNT(c); i++) {
        vq_tensor t;
        vq_report r = VQ_ZERO;
        memset(&t, 0, sizeof t);
        t.dtype = c[i].type;
        t.rank = c[i].rank;
        t.where = (vq_where)c[i].where;
        t.layout = (vq_layout)c[i].layout;
        memcpy(t.shape, c[i].shape, sizeof t.shape);
        memcpy(t.stride, c[i].stride, sizeof t.stride);
        CHECKF(vq_tensor_check(&t, "some_x", &r) == VQ_BAD_ARG && r.status == VQ_BAD_ARG, "%s",
               c[i].what);
        CHECKF(r.guard == c[i].guard, "%s: %s", c[i].what, r.text);
        CHECKF(r.arg && !strcmp(r.arg, "some_x") && strstr(r.text, "some_x"), "%s: %s", c[i].what,
               r.text);
        CHECKF(c[i].found == -2 || r.found == c[i].found, "%s: %s", c[i].what, r.text);
        CHECKF(c[i].needed == -2 || c[i].needed == -1 || r.needed == c[i].needed, "%s: %s",
               c[i].what, r.text);
        CHECKF(vq_tensor_check(&t, "some_x", NULL) == VQ_BAD_ARG, "%s", c[i].what);
        CHECKF(vq_tensor_bytes(t) == -1, "%s", c[i].what);
    }
    {
        vq_report r = VQ_ZERO;
        CHECK(vq_tensor_check(NULL, "some_x", &r) == VQ_BAD_ARG && r.guard == VQ_GUARD_PRESENT);
        CHECK(vq_tensor_check(NULL, "some_x", NULL) == VQ_BAD_ARG);
    }
}

static void what_is_a_tensor_passes_and_leaves_the_report_alone(void)
{
    int i;
    for (i = 0; i < 3000; i++) {
        int64_t shape[4];
        int rank = random_shape(shape);
        vq_tensor t = any_view(formats[t_rand() % CODED].type, rank, shape);
        vq_report r, was;
        memset(&r, 0xa5, sizeof r);
        was = r;
        t.where = (vq_where)(i % 3);
        CHECK(vq_tensor_check(&t, "t", &r) == VQ_OK && !memcmp(&r, &was, sizeof r));
        CHECK(vq_tensor_bytes(t) == end_of(&t));
    }
    {   /* rows on one another are a view, of inputs; a single row has no neighbour */
        int64_t shape[2] = { 3, 4 };
        vq_tensor t = vq_tensor_nd(NULL, VQ_F32, 2, shape, VQ_HOST);
        t.stride[0] = 1;
        CHECK(vq_tensor_check(&t, "t", NULL) == VQ_OK && vq_tensor_bytes(t) == 24);
        t = vq_tensor_2d(NULL, VQ_INT4, 1, 5, VQ_HOST);
        t.stride[0] = 1;
        CHECK(vq_tensor_check(&t, "t", NULL) == VQ_OK && vq_tensor_bytes(t) == 3);
    }
}

/* --- scales ------------------------------------------------------------------------------ */

static int64_t groups(int64_t extent, int64_t group)       /* counted, not computed */
{
    int64_t n = 0, at;
    if (group < 0) return 1;
    for (at = 0; at < extent; at += group) n++;
    return n;
}

static void a_key_says_how_many_scales_there_are(void)
{
    static const struct { const char *key; int rows, cols; vq_dtype type; } c[] = {
        { "float8_e4m3fn/f32/-1x-1/dyn/amax.div448/x.div.s", -1, -1, VQ_F32 },
        { "float8_e4m3fn/f32/1x-1/dyn/amax.div448/x.div.s", 1, -1, VQ_F32 },
        { "float8_e4m3fn/f32/-1x1/dyn/amax.div448/x.div.s", -1, 1, VQ_F32 },
        { "float8_e4m3fn/f32/1x64/dyn/amax.div448/x.div.s", 1, 64, VQ_F32 },
        { "float8_e4m3fn/f32/1x128/static/max448/x.inv.s", 1, 128, VQ_F32 },
        { "float8_e4m3fnuz/f32/128x128/static/max224/x.inv.s", 128, 128, VQ_F32 },
        { "float8_e4m3fn/f32/3x5/dyn/amax.div448/x.div.s", 3, 5, VQ_F32 },
        { "float8_e4m3fn/f32/7x-1/dyn/amax.div448/x.div.s", 7, -1, VQ_F32 },
        { "float8_e4m3fn/f32/1x1/dyn/amax.div448/x.div.s", 1, 1, VQ_F32 },
        { "mxfp8", 1, 32, VQ_E8M0 }, { "mxfp4", 1, 32, VQ_E8M0 }, { "nvfp4", 1, 16, VQ_UE4M3 },
        { "mxfp6_e3m2", 1, 32, VQ_E8M0 }, { "fp8_block128", 128, 128, VQ_F32 },
        { "kInt4Static32", 1, 32, VQ_F16 }, { "w4a8_group64", 1, 64, VQ_BF16 },
        { "int8_token", 1, -1, VQ_F32 }, { "fp8_channel", -1, 1, VQ_F32 },
    };
    static const int64_t extents[] = { 0, 1, 2, 4, 5, 6, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127,
                                       128, 129, 255, 256, 257, 300 };
    int i, a, b, o;
    for (i = 0; i < COUNT(c); i++) {
        vq_key k;
        vq_report r = VQ_ZERO;
        if (vq_key_parse(c[i].key, &k, &r) != VQ_OK) {
            CHECKF(0, "%s: %s", c[i].key, r.text);
            continue;
        }
        for (a = 0; a < COUNT(extents); a++)
            for (b = 0; b < COUNT(extents); b++) {
                int64_t rows = extents[a], cols = extents[b], group[2] = { -9, -9 }, n[2], count[2];
                vq_tensor q = vq_tensor_2d(NULL, k.elem, rows, cols, (vq_where)(a % 3));
                vq_key_group(&k, rows, cols, group, count);
                n[0] = groups(rows, c[i].rows);
                n[1] = groups(cols, c[i].cols);
                CHECKF(group[0] == (c[i].rows < 0 ? rows : c[i].rows) &&
                       group[1] == (c[i].cols < 0 ? cols : c[i].cols), "%s", c[i].key);
                CHECKF(count[0] == n[0] && count[1] == n[1], "%s [%d, %d]: %dx%d", c[i].key,
                       (int)rows, (int)cols, (int)count[0], (int)count[1]);
                for (o = 0; o < VQ_ORDER_COUNT; o++) {
                    vq_tensor s = vq_scale_for(&k, q, (vq_order)o, mem_x);
                    vq_tensor w = vq_tensor_ordered(c[i].type, n[0], n[1], (vq_order)o, mem_x,
                                                    q.where);
                    CHECKF(s.data == mem_x && s.dtype == c[i].type && s.where == q.where &&
                           s.rank == 2 && s.shape[0] == n[0] && s.shape[1] == n[1], "%s",
                           c[i].key);
                    CHECKF(s.layout == w.layout && s.stride[0] == w.stride[0] &&
                           s.stride[1] == w.stride[1], "%s %s", c[i].key,
                           vq_order_str((vq_order)o));
                }
            }
    }
}

static void groups_of_absurd_extents_do_not_overflow(void)
{
    vq_key k = vq_key_preset(VQ_KEY_FP8_BLOCK128);
    int64_t group[2], count[2];
    vq_key_group(&k, INT64_MAX, INT64_MAX - 127, group, count);
    CHECK(count[0] == INT64_C(1) << 56 && count[1] == (INT64_C(1) << 56) - 1);
    k.group_rows = 2147483647;
    k.group_cols = 1;
    vq_key_group(&k, INT64_MAX, INT64_MAX, group, count);
    CHECK(count[0] == INT64_MAX / 2147483647 + 1 && count[1] == INT64_MAX);
}

/* What vq_key_preset() gives for an id out of range, and what is forgotten. */
static void a_key_of_zeros_is_refused_and_does_not_crash(void)
{
    vq_key k = vq_key_preset(VQ_KEY_COUNT);
    vq_tensor q = vq_tensor_2d(mem_x, VQ_E4M3FN, 4, 4, VQ_HOST), s, one, out;
    int64_t n = 4;
    s = vq_scale_for(&k, q, VQ_ROWS, mem_y);
    CHECK(vq_tensor_check(&s, "scale", NULL) == VQ_BAD_ARG);
    one = vq_tensor_nd(mem_x, VQ_F32, 1, &n, VQ_HOST);
    CHECK(vq_scale_from_1d(&k, &one, 4, 4, &out, NULL) == VQ_BAD_ARG);
}

static void a_scale_of_one_dimension_is_read_as_its_key_says(void)
{
    static const struct {
        const char *key;
        int64_t n, rows, cols, to_rows, to_cols;           /* to_rows 0: refused */
        vq_guard guard;
        int64_t found, needed;
    } c[] = {
        { NULL, 1, 7, 5, 1, 1, G(NONE), 0, 0 },
        { NULL, 1, 1, 1, 1, 1, G(NONE), 0, 0 },
        { NULL, 1, 0, 0, 1, 1, G(NONE), 0, 0 },
        { NULL, 5, 7, 5, 1, 5, G(NONE), 0, 0 },
        { NULL, 7, 7, 5, 7, 1, G(NONE), 0, 0 },
        { NULL, 5, 1, 5, 1, 5, G(NONE), 0, 0 },
        { NULL, 7, 7, 1, 7, 1, G(NONE), 0, 0 },
        { NULL, 6, 6, 6, 0, 0, G(AMBIGUOUS), 6, -1 },
        { NULL, 4, 7, 5, 0, 0, G(SHAPE), 4, -1 },
        { NULL, 35, 7, 5, 0, 0, G(SHAPE), 35, -1 },
        { "fp8_channel", 5, 7, 5, 1, 5, G(NONE), 0, 0 },
        { "fp8_channel", 6, 6, 6, 1, 6, G(NONE), 0, 0 },
        { "fp8_channel", 7, 7, 5, 0, 0, G(SHAPE), 7, 5 },
        { "fp8_channel", 1, 7, 5, 0, 0, G(SHAPE), 1, 5 },
        { "fp8_channel", 1, 7, 1, 1, 1, G(NONE), 0, 0 },
        { "fp8_token", 7, 7, 5, 7, 1, G(NONE), 0, 0 },
        { "fp8_token", 6, 6, 6, 6, 1, G(NONE), 0, 0 },
        { "fp8_token", 5, 7, 5, 0, 0, G(SHAPE), 5, 7 },
        { "fp8_token", 1, 1, 5, 1, 1, G(NONE), 0, 0 },
        { "fp8_tensor", 1, 7, 5, 1, 1, G(NONE), 0, 0 },
        { "fp8_tensor", 1, 6, 6, 1, 1, G(NONE), 0, 0 },
        { "fp8_tensor", 5, 7, 5, 0, 0, G(SHAPE), 5, 1 },
        { "fp8_tensor", 6, 6, 6, 0, 0, G(SHAPE), 6, 1 },
        { "fp8_group128", 2, 1, 256, 1, 2, G(NONE), 0, 0 },
        { "fp8_group128", 3, 1, 257, 1, 3, G(NONE), 0, 0 },
        { "fp8_group128", 9, 9, 128, 9, 1, G(NONE), 0, 0 },
        { "fp8_group128", 9, 9, 100, 9, 1, G(NONE), 0, 0 },
        { "fp8_group128", 2, 1, 257, 0, 0, G(SHAPE), 2, 3 },
        { "fp8_block128", 3, 300, 128, 3, 1, G(NONE), 0, 0 },
        { "fp8_block128", 3, 1, 300, 1, 3, G(NONE), 0, 0 },
        { "fp8_block128", 1, 128, 128, 1, 1, G(NONE), 0, 0 },
        { "fp8_block128", 4, 256, 256, 0, 0, G(COUNT), 0, 0 },
    };
    int i, step;
    for (i = 0; i < COUNT(c); i++)
        for (step = 1; step <= 3; step += 2) {
            vq_key k;
            vq_report r = VQ_ZERO;
            vq_tensor s = vq_tensor_nd(mem_x, VQ_F32, 1, &c[i].n, VQ_MANAGED), out, was;
            vq_status got;
            int64_t j;
            s.stride[0] = step;
            memset(&out, 0xa5, sizeof out);
            was = out;
            if (c[i].key && vq_key_parse(c[i].key, &k, &r)) { CHECKF(0, "%s", r.text); continue; }
            got = vq_scale_from_1d(c[i].key ? &k : NULL, &s, c[i].rows, c[i].cols, &out, &r);
            if (!c[i].to_rows) {
                CHECKF(got == VQ_BAD_ARG && r.text[0], "%d", i);
                CHECKF(c[i].guard == VQ_GUARD_COUNT || (r.guard == c[i].guard &&
                       r.found == c[i].found && (c[i].needed < 0 || r.needed == c[i].needed)),
                       "%d: %s", i, r.text);
                CHECKF(!memcmp(&out, &was, sizeof out), "%d: out was written", i);
                CHECK(vq_scale_from_1d(c[i].key ? &k : NULL, &s, c[i].rows, c[i].cols, &out, NULL)
                      == VQ_BAD_ARG);
                continue;
            }
            CHECKF(got == VQ_OK, "%d: %s", i, r.text);
            CHECKF(out.data == mem_x && out.dtype == VQ_F32 && out.where == VQ_MANAGED &&
                   out.layout == VQ_STRIDED && out.rank == 2, "%d", i);
            CHECKF(out.shape[0] == c[i].to_rows && out.shape[1] == c[i].to_cols, "%d: [%d, %d]", i,
                   (int)out.shape[0], (int)out.shape[1]);
            CHECKF(vq_tensor_check(&out, "out", &r) == VQ_OK, "%d: %s", i, r.text);
            for (j = 0; j < c[i].n; j++)                   /* element j is where it was */
                CHECKF((c[i].to_cols > 1 ? j * out.stride[1] : j * out.stride[0]) == j * step ||
                       c[i].n == 1, "%d", i);
            CHECKF(vq_tensor_bytes(out) == vq_tensor_bytes(s), "%d", i);
        }
}

static void what_is_no_scale_of_one_dimension_is_refused(void)
{
    vq_key k = vq_key_preset(VQ_KEY_FP8_TOKEN);
    int64_t n[4] = { 4, 1, 1, 1 };
    int rank;
    vq_tensor s, out, was;
    vq_report r = VQ_ZERO;
    memset(&out, 0xa5, sizeof out);
    was = out;
    for (rank = 2; rank <= 4; rank++) {
        s = vq_tensor_nd(mem_x, VQ_F32, rank, n, VQ_HOST);
        CHECK(vq_scale_from_1d(&k, &s, 4, 4, &out, &r) == VQ_BAD_ARG);
        CHECK(r.guard == VQ_GUARD_RANK && r.found == rank && r.needed == 1 && r.text[0]);
        CHECK(vq_scale_from_1d(NULL, &s, 4, 9, &out, &r) == VQ_BAD_ARG);
    }
    s = vq_tensor_nd(mem_x, VQ_F32, 1, n, VQ_HOST);
    CHECK(vq_scale_from_1d(&k, NULL, 4, 4, &out, &r) == VQ_BAD_ARG);
    CHECK(r.guard == VQ_GUARD_PRESENT);
    CHECK(vq_scale_from_1d(&k, &s, 4, 4, NULL, &r) == VQ_BAD_ARG);
    CHECK(vq_scale_from_1d(&k, &s, -4, 4, &out, &r) == VQ_BAD_ARG);
    s.dtype = VQ_NONE;
    CHECK(vq_scale_from_1d(&k, &s, 4, 4, &out, &r) == VQ_BAD_ARG && r.guard == VQ_GUARD_TYPE);
    memset(&s, 0, sizeof s);
    CHECK(vq_scale_from_1d(&k, &s, 4, 4, &out, &r) == VQ_BAD_ARG);
    CHECK(!memcmp(&out, &was, sizeof out));
}

/* --- vq_cast ----------------------------------------------------------------------------- */

static void any_format_becomes_any_other_over_any_strides(void)
{
    int i, a, b;
    make_values();
    if (!starts()) return;
    for (a = 0; a < CODED; a++)
        for (b = 0; b < CODED; b++)
            for (i = 0; i < (t_exhaustive ? 400 : 60); i++) {
                int64_t shape[4];
                int rank = random_shape(shape);
                cast_once(formats[a].type, formats[b].type, rank, shape, 0);
            }
}

/* All the codes of 8 bits and fewer, into every format, both ways of overflowing. */
static void every_code_becomes_any_format(void)
{
    static uint8_t x[256], y[1024];
    int a, b, o, c;
    make_values();
    if (!starts()) return;
    for (a = 0; a < CODED; a++) {
        const format *f = &formats[a];
        int codes = 1 << (f->bits < 9 ? f->bits : 0);
        if (codes == 1) continue;
        for (c = 0; c < codes; c++) put_bits(x, (int64_t)c * f->bits, f->bits, (uint32_t)c);
        for (b = 0; b < CODED; b++)
            for (o = 0; o < 2; o++) {
                const format *g = &formats[b];
                vq_cast_args v = VQ_ZERO;
                int64_t n = codes;
                v.x = vq_tensor_nd(x, f->type, 1, &n, VQ_HOST);
                v.y = vq_tensor_nd(y, g->type, 1, &n, VQ_HOST);
                v.overflow = (vq_overflow)o;
                CHECK(vq_cast(vq, &v) == VQ_OK);
                for (c = 0; c < codes; c++) {
                    uint32_t got = bits_at(y, (int64_t)c * g->bits, g->bits);
                    double v1 = value_of(f, (uint32_t)c), v2 = value_of(g, got);
                    uint32_t code = code_of(g, v1, (vq_overflow)o);
                    if (g->bits >= 16 && v1 != v1 && v2 != v2 && got >> (g->m - 1) & 1) continue;
                    CHECKF(got == code, "%s 0x%x -> %s %s: 0x%x, not 0x%x", vq_dtype_str(f->type),
                           c, vq_dtype_str(g->type), o ? "nonfinite" : "saturate", (unsigned)got,
                           (unsigned)code);
                }
            }
    }
}

static void a_cast_may_take_the_place_of_its_input(void)
{
    int i, a, b;
    make_values();
    if (!starts()) return;
    for (a = 0; a < CODED; a++)
        for (b = 0; b < CODED; b++)
            for (i = 0; i < 12 && formats[a].bits == formats[b].bits; i++) {
                int64_t shape[4];
                int rank = random_shape(shape);
                cast_once(formats[a].type, formats[b].type, rank, shape, 1);
            }
}

static void any_other_overlap_is_refused(void)
{
    static const struct { const char *what; vq_dtype x, y; int shift, change; } c[] = {
        { "a byte on",         VQ_E4M3FN, VQ_E5M2, 1,  0 },
        { "a byte before",     VQ_E4M3FN, VQ_E5M2, -1, 0 },
        { "the last byte",     VQ_E4M3FN, VQ_E5M2, 34, 0 },
        { "the first byte",    VQ_E4M3FN, VQ_E5M2, -34, 0 },
        { "other strides",     VQ_E4M3FN, VQ_E5M2, 0,  1 },
        { "wider",             VQ_E4M3FN, VQ_BF16, 0,  0 },
        { "narrower",          VQ_F32, VQ_BF16, 0,  0 },
        { "packed",            VQ_E4M3FN, VQ_E2M1, 0,  0 },
        { "unpacked",          VQ_INT4, VQ_INT8, 0,  0 },
        { "4 and 6 bits",      VQ_INT4, VQ_E2M3, 0,  0 },
        { "half an element",   VQ_BF16, VQ_F16, 1,  0 },
    };
    int i;
    if (!starts()) return;
    for (i = 0; i < COUNT(c); i++) {
        vq_cast_args a = VQ_ZERO;
        vq_report r = VQ_ZERO;
        a.x = vq_tensor_2d(mem_x + 4096, c[i].x, 5, 7, VQ_HOST);
        a.y = vq_tensor_2d(mem_x + 4096 + c[i].shift, c[i].y, 5, 7, VQ_HOST);
        if (c[i].change) { a.y.stride[0] = 1; a.y.stride[1] = 5; }
        a.call.report = &r;
        memset(mem_x, 0x3c, 8192);
        memcpy(was_x, mem_x, 8192);
        CHECKF(vq_cast(vq, &a) == VQ_BAD_ARG && r.guard == VQ_GUARD_OVERLAP, "%s: %s", c[i].what,
               r.text);
        CHECKF(r.arg && !strcmp(r.arg, "y") && strstr(r.text, "y "), "%s: %s", c[i].what, r.text);
        CHECKF(!memcmp(mem_x, was_x, 8192), "%s: written", c[i].what);
    }
    for (i = -1; i <= 1; i += 2) {                         /* next to it is not on it */
        vq_cast_args a = VQ_ZERO;
        a.x = vq_tensor_2d(mem_x + 4096, VQ_E4M3FN, 5, 7, VQ_HOST);
        a.y = vq_tensor_2d(mem_x + 4096 + 35 * i, VQ_E5M2, 5, 7, VQ_HOST);
        CHECK(vq_cast(vq, &a) == VQ_OK);
    }
}

/* Which bytes of mem_x a view touches: `by` is set there. */
static int touches(const vq_tensor *t, uint8_t *map, int by)
{
    int64_t index[4] = { 0 };
    int64_t base = (const uint8_t *)t->data - mem_x;
    int bits = vq_dtype_bits(t->dtype), shared = 0;
    do {
        int64_t at = base + bit_of(t, index) / 8, end = base + (bit_of(t, index) + bits + 7) / 8;
        for (; at < end; at++) {
            shared |= map[at] && map[at] != by;
            map[at] = (uint8_t)by;
        }
    } while (next_index(t, index));
    return shared;
}

/* Views of one buffer: what shares a byte is refused; slices of a matrix, which share none though
   their rows take turns, are not. */
static void slices_of_one_matrix_are_apart(void)
{
    int i, taken = 0, refused = 0;
    make_values();
    if (!starts()) return;
    for (i = 0; i < 20000; i++) {
        const format *f = &formats[t_rand() % CODED];
        const format *g = &formats[t_rand() % CODED];
        int64_t rows = t_rand() % 5 + 1, cols = t_rand() % 6 + 1;
        int64_t pitch = (int64_t)(t_rand() % 16 + 4) * 4, other = t_rand() % 8 ? pitch : pitch + 4;
        int64_t wide_x = (cols * f->bits + 7) / 8, wide_y = (cols * g->bits + 7) / 8;
        int64_t from_x = t_rand() % 120, from_y = t_rand() % 120;
        int64_t apart = (from_y - from_x + 128 * pitch) % pitch;
        static uint8_t map[2048];
        vq_cast_args a = VQ_ZERO;
        vq_report r = VQ_ZERO;
        vq_status s;
        int shared;
        if (wide_x > pitch || wide_y > other) continue;
        a.x = vq_tensor_2d(mem_x + 512 + from_x, f->type, rows, cols, VQ_HOST);
        a.y = vq_tensor_2d(mem_x + 512 + from_y, g->type, rows, cols, VQ_HOST);
        a.x.stride[0] = f->bits < 8 ? pitch : pitch * 8 / f->bits;
        a.y.stride[0] = g->bits < 8 ? other : other * 8 / g->bits;
        if (t_rand() % 3 == 0) {                           /* two such matrices, or one in one */
            vq_tensor *t = &a.x;
            int64_t step = t_rand() % 3 ? pitch * rows : pitch / 2;
            for (; t; t = t == &a.x ? &a.y : NULL) {
                int bits = vq_dtype_bits(t->dtype);
                t->rank = 3;
                memmove(t->shape + 1, t->shape, 2 * sizeof *t->shape);
                memmove(t->stride + 1, t->stride, 2 * sizeof *t->stride);
                t->shape[0] = 2;
                t->stride[0] = bits < 8 ? step : step * 8 / bits;
                if (t->stride[0] < 1) t->stride[0] = 1;
            }
        }
        a.call.report = &r;
        memset(map, 0, sizeof map);
        touches(&a.x, map, 1);
        shared = touches(&a.y, map, 2);
        memset(mem_x, 0x11, 2048);
        memcpy(want, mem_x, 2048);
        predict(&a.x, (uint8_t *)a.x.data, &a.y, want + 512 + from_y, VQ_SATURATE);
        memcpy(was_x, mem_x, 2048);
        s = vq_cast(vq, &a);
        if (s == VQ_OK) {                                  /* whole or in place, as predicted */
            int64_t index[4] = { 0 };
            CHECKF(!shared || (from_x == from_y && f->bits == g->bits), "%d", i);
            accept_nans(&a.y, (const uint8_t *)a.y.data, want + 512 + from_y);
            do {
                int64_t at = (512 + from_y) * 8 + bit_of(&a.y, index);
                put_bits(was_x, at, g->bits, bits_at(want, at, g->bits));
                if (g->bits < 8 && index[a.y.rank - 1] == cols - 1)
                    for (at += g->bits; at % 8; at++) put_bits(was_x, at, 1, 0);
            } while (next_index(&a.y, index));
            taken++;
        } else {
            CHECKF(s == VQ_BAD_ARG && (r.guard == VQ_GUARD_OVERLAP || a.y.rank == 3), "%d: %s", i,
                   r.text);
            CHECKF(a.y.rank == 3 || other != pitch || apart < wide_x || apart + wide_y > pitch,
                   "%d: %s", i, r.text);
            refused++;
        }
        CHECKF(!memcmp(mem_x, was_x, 2048), "%d: %s -> %s [%d, %d] pitch %d at %d and %d", i,
               vq_dtype_str(f->type), vq_dtype_str(g->type), (int)rows, (int)cols, (int)pitch,
               (int)from_x, (int)from_y);
    }
    CHECKF(taken > 1000 && refused > 1000, "%d taken, %d refused", taken, refused);
}

static void an_output_on_itself_is_refused_and_an_input_is_not(void)
{
    static const struct { vq_dtype type; int64_t shape[3], stride[3]; } c[] = {
        { VQ_F32,  { 2, 3, 4 }, { 12, 3, 1 } },  { VQ_F32,  { 2, 3, 4 }, { 4, 4, 1 } },
        { VQ_F32,  { 2, 3, 4 }, { 1, 1, 1 } },   { VQ_INT8, { 2, 3, 4 }, { 11, 4, 1 } },
        { VQ_BF16, { 1, 3, 4 }, { 1, 2, 4 } },   { VQ_BF16, { 1, 3, 4 }, { 1, 4, 2 } },
        { VQ_INT4, { 2, 3, 5 }, { 8, 3, 1 } },   { VQ_E2M3, { 2, 3, 5 }, { 4, 4, 1 } },
    };
    int i;
    if (!starts()) return;
    for (i = 0; i < COUNT(c); i++) {
        vq_cast_args a = VQ_ZERO;
        vq_report r = VQ_ZERO;
        vq_tensor folded = vq_tensor_nd(mem_x, c[i].type, 3, c[i].shape, VQ_HOST);
        vq_tensor flat = vq_tensor_nd(mem_y, VQ_F16, 3, c[i].shape, VQ_HOST);
        memcpy(folded.stride, c[i].stride, sizeof c[i].stride);
        memset(mem_x, 0x3c, 4096);
        memset(mem_y, 0x3c, 4096);
        memcpy(was_x, mem_x, 4096);
        a.x = flat;
        a.y = folded;
        a.call.report = &r;
        CHECKF(vq_cast(vq, &a) == VQ_BAD_ARG, "%d", i);
        CHECKF(r.guard == VQ_GUARD_STRIDE && r.arg && !strcmp(r.arg, "y"), "%d: %s", i, r.text);
        CHECKF(r.found < r.needed, "%d: %s", i, r.text);
        CHECK(!memcmp(mem_x, was_x, 4096));
        a.x = folded;
        a.y = flat;
        CHECKF(vq_cast(vq, &a) == VQ_OK, "%d: %s", i, r.text);
    }
}

static void casting_nothing_writes_nothing(void)
{
    int rank, zeros, i, a, b;
    if (!starts()) return;
    for (a = 0; a < CODED; a += 3)
        for (b = 0; b < CODED; b++)
            for (rank = 1; rank <= 4; rank++)
                for (zeros = 1; zeros < 1 << rank; zeros++) {
                    vq_cast_args v = VQ_ZERO;
                    vq_report r = VQ_ZERO;
                    int64_t shape[4];
                    for (i = 0; i < rank; i++) shape[i] = zeros >> i & 1 ? 0 : 3;
                    v.x = vq_tensor_nd(NULL, formats[a].type, rank, shape, VQ_HOST);
                    v.y = vq_tensor_nd(NULL, formats[b].type, rank, shape, VQ_HOST);
                    v.call.report = &r;
                    CHECKF(vq_cast(vq, &v) == VQ_OK, "%s", r.text);
                    memset(mem_y, 0xa5, 256);
                    memcpy(want, mem_y, 256);
                    v.y.data = mem_y + 64;
                    v.x.data = mem_y + 64;
                    CHECK(vq_cast(vq, &v) == VQ_OK && !memcmp(mem_y, want, 256));
                }
}

static void a_cast_that_cannot_be_is_refused_by_what_is_wrong(void)
{
    static const struct { const char *what, *arg; vq_status status; vq_guard guard; } c[] = {
        { "x missing", "x", VQ_BAD_ARG, G(PRESENT) },
        { "y missing", "y", VQ_BAD_ARG, G(PRESENT) },
        { "x null", "x", VQ_BAD_ARG, G(PRESENT) },
        { "y null", "y", VQ_BAD_ARG, G(PRESENT) },
        { "x type", "x", VQ_BAD_ARG, G(TYPE) },
        { "y type", "y", VQ_BAD_ARG, G(TYPE) },
        { "y rank", "y", VQ_BAD_ARG, G(RANK) },
        { "rank 5", "x", VQ_BAD_ARG, G(RANK) },
        { "y rows", "y", VQ_BAD_ARG, G(SHAPE) },
        { "y cols", "y", VQ_BAD_ARG, G(SHAPE) },
        { "x tiles", "x", VQ_BAD_ARG, G(LAYOUT) },
        { "y tiles", "y", VQ_BAD_ARG, G(LAYOUT) },
        { "overflow", "overflow", VQ_BAD_ARG, G(VALUE) },
        { "x < 0", "x", VQ_BAD_ARG, G(SIZE) },
        { "x stride", "x", VQ_BAD_ARG, G(STRIDE) },
        { "y stride", "y", VQ_BAD_ARG, G(STRIDE) },
        { "x there", "x", VQ_UNSUPPORTED, G(PLACE) },
        { "y there", "y", VQ_UNSUPPORTED, G(PLACE) },
    };
    int i;
    if (!starts()) return;
    for (i = 0; i < COUNT(c); i++) {
        vq_cast_args a = VQ_ZERO;
        vq_report r = VQ_ZERO;
        const char *w = c[i].what;
        vq_status s;
        a.x = vq_tensor_2d(mem_x, VQ_E8M0, 4, 8, VQ_HOST);
        a.y = vq_tensor_2d(mem_y, VQ_UE4M3, 4, 8, VQ_HOST);
        if (!strcmp(w, "x missing")) memset(&a.x, 0, sizeof a.x);
        if (!strcmp(w, "y missing")) memset(&a.y, 0, sizeof a.y);
        if (!strcmp(w, "x null")) a.x.data = NULL;
        if (!strcmp(w, "y null")) a.y.data = NULL;
        if (!strcmp(w, "x type")) a.x.dtype = VQ_NONE;
        if (!strcmp(w, "y type")) a.y.dtype = (vq_dtype)77;
        if (!strcmp(w, "y rank")) a.y.rank = 1;
        if (!strcmp(w, "rank 5")) a.x.rank = a.y.rank = 5;
        if (!strcmp(w, "y rows")) a.y.shape[0] = 5;
        if (!strcmp(w, "y cols")) a.y.shape[1] = 7;
        if (!strcmp(w, "x tiles")) a.x.layout = VQ_SWIZZLE_128X4;
        if (!strcmp(w, "y tiles")) a.y.layout = VQ_SWIZZLE_8X4;
        if (!strcmp(w, "overflow")) a.overflow = (vq_overflow)2;
        if (!strcmp(w, "x < 0")) a.x.shape[0] = a.y.shape[0] = -1;
        if (!strcmp(w, "x stride")) a.x.stride[0] = 0;
        if (!strcmp(w, "y stride")) a.y.stride[1] = -1;
        if (!strcmp(w, "x there")) a.x.where = VQ_DEVICE;
        if (!strcmp(w, "y there")) a.y.where = VQ_DEVICE;
        a.call.report = &r;
        memset(mem_x, 0x3c, 256);
        memset(mem_y, 0xa5, 256);
        memcpy(want, mem_y, 256);
        s = vq_cast(vq, &a);
        CHECKF(s == c[i].status && r.status == s, "%s: %s", w, vq_status_str(s));
        CHECKF(r.guard == c[i].guard && r.arg && !strcmp(r.arg, c[i].arg), "%s: %s: %s", w,
               vq_guard_str(r.guard), r.text);
        CHECKF(r.op && !strcmp(r.op, "cast") && strstr(r.text, c[i].arg), "%s: %s", w, r.text);
        CHECKF(!memcmp(mem_y, want, 256), "%s: y was written", w);
        a.call.report = NULL;
        CHECKF(vq_cast(vq, &a) == c[i].status, "%s", w);
    }
    CHECK(vq_cast(vq, NULL) == VQ_BAD_ARG);
    {
        vq_cast_args a = VQ_ZERO;
        a.x = vq_tensor_2d(mem_x, VQ_E8M0, 4, 8, VQ_MANAGED);
        a.y = vq_tensor_2d(mem_y, VQ_UE4M3, 4, 8, VQ_MANAGED);
        CHECK(vq_cast(NULL, &a) == VQ_BAD_ARG);
        CHECK(vq_cast(vq, &a) == VQ_OK);                   /* the host can read it */
    }
}

/* --- beyond 2^32 ------------------------------------------------------------------------- */

static uint8_t *far_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : (uint8_t *)p;
}

#define GIB (INT64_C(1) << 30)

/* Memory is reserved, not used: a page an element. */
static void elements_far_apart_are_where_they_should_be(void)
{
    static const struct { vq_dtype x, y; int64_t shape[3], sx[3], sy[3]; } c[] = {
        { VQ_E4M3FN, VQ_BF16, { 2, 2, 3 }, { 5 * GIB + 7, 3 * GIB + 1, 1 },
          { 5 * GIB / 2, GIB + 1, 1 } },
        { VQ_F32, VQ_E5M2, { 2, 2, 3 }, { GIB + 3, 3, GIB / 2 + 11 }, { 5, 6 * GIB, 1 } },
        { VQ_INT4, VQ_F32, { 2, 3, 5 }, { 7 * GIB, 2 * GIB + 1, 1 }, { GIB + 5, GIB / 3, 1 } },
        { VQ_F16, VQ_E2M3, { 2, 3, 5 }, { 3 * GIB, GIB / 2, 5 }, { 2 * GIB + 1, 3 * GIB + 9, 1 } },
        { VQ_E2M1, VQ_INT4, { 2, 3, 5 }, { 3 * GIB, 2 * GIB + 1, 1 }, { 1 * GIB, 3 * GIB + 1, 1 } },
    };
    const size_t room = (size_t)(13 * GIB);
    uint8_t *x, *y;
    int i;
    make_values();
    if (!starts()) return;
    x = far_map(room);
    y = far_map(room);
    if (!x || !y) {
        if (x) munmap(x, room);
        if (y) munmap(y, room);
        SKIP("no 26 GiB of addresses");
    }
    for (i = 0; i < COUNT(c); i++) {
        const format *from = format_of(c[i].x), *to = format_of(c[i].y);
        int64_t index[4] = { 0 };
        vq_cast_args a = VQ_ZERO;
        vq_report r = VQ_ZERO;
        a.x = vq_tensor_nd(x + 61, c[i].x, 3, c[i].shape, VQ_HOST);
        a.y = vq_tensor_nd(y + 61, c[i].y, 3, c[i].shape, VQ_HOST);
        memcpy(a.x.stride, c[i].sx, sizeof c[i].sx);
        memcpy(a.y.stride, c[i].sy, sizeof c[i].sy);
        a.call.report = &r;
        CHECK(vq_tensor_bytes(a.x) == end_of(&a.x) && vq_tensor_bytes(a.y) == end_of(&a.y));
        CHECK((size_t)end_of(&a.x) + 128 < room && (size_t)end_of(&a.y) + 128 < room);
        do {
            float v = (float)(int)(t_rand() % 13 - 6) / 2;
            memset(y + 61 + bit_of(&a.y, index) / 8 - 32, 0xa5, 64);
            put_bits(x + 61, bit_of(&a.x, index), from->bits, code_of(from, v, VQ_SATURATE));
        } while (next_index(&a.x, index));
        CHECKF(vq_cast(vq, &a) == VQ_OK, "%s", r.text);
        do {
            uint32_t code = bits_at(x + 61, bit_of(&a.x, index), from->bits);
            uint32_t got = bits_at(y + 61, bit_of(&a.y, index), to->bits);
            CHECKF(got == code_of(to, value_of(from, code), VQ_SATURATE), "%d [%d %d %d]", i,
                   (int)index[0], (int)index[1], (int)index[2]);
            if (!index[2]) CHECK(y[61 + bit_of(&a.y, index) / 8 - 1] == 0xa5);
            if (index[2] == c[i].shape[2] - 1)
                CHECK(y[61 + (bit_of(&a.y, index) + to->bits + 7) / 8] == 0xa5);
        } while (next_index(&a.x, index));
        madvise(x, room, MADV_DONTNEED);
        madvise(y, room, MADV_DONTNEED);
    }
    munmap(x, room);
    munmap(y, room);
}

static void a_code_far_along_a_row_is_found(void)
{
    static const int widths[] = { 4, 6, 8, 16, 32 };
    const int64_t i = (INT64_C(1) << 33) + 5;
    const size_t room = (size_t)(33 * GIB);
    uint8_t *row = far_map(room);
    int k;
    if (!row) SKIP("no 33 GiB of addresses");
    for (k = 0; k < COUNT(widths); k++) {
        uint32_t code = UINT32_C(0xdeadbeef) & (widths[k] == 32 ? UINT32_MAX
                                                                : (1u << widths[k]) - 1);
        if (i / 8 * widths[k] + 64 > (int64_t)room) continue;
        vq_code_put(row + 1, widths[k], i, code);
        CHECK(bits_at(row + 1, i * widths[k], widths[k]) == code);
        CHECK(vq_code_get(row + 1, widths[k], i) == code);
        madvise(row, room, MADV_DONTNEED);
    }
    munmap(row, room);
}

static void scales_far_apart_are_converted(void)
{
    static const vq_order orders[] = { VQ_ROWS, VQ_COLUMNS, VQ_WORDS_UE8M0, VQ_TILES_128X4,
                                       VQ_TILES_8X4, VQ_TILES_CDNA4 };
    const size_t room = (size_t)(13 * GIB);
    uint8_t *y;
    int o, b, i, j;
    if (!starts()) return;
    y = far_map(room);
    if (!y) SKIP("no 13 GiB of addresses");
    for (o = 0; o < COUNT(orders); o++) {
        vq_scale_convert_args a = VQ_ZERO, back = VQ_ZERO;
        vq_report r = VQ_ZERO;
        int64_t shape[3] = { 3, 5, 9 };
        vq_tensor m = vq_tensor_ordered(VQ_E8M0, 5, 9, orders[o], NULL, VQ_HOST);
        if (orders[o] == VQ_COLUMNS) m.stride[1] = GIB / 4 + 1;
        if (orders[o] == VQ_WORDS_UE8M0) m.stride[1] = GIB;
        for (i = 0; i < 135; i++) mem_x[i] = (uint8_t)(i + 1);
        memset(mem_y, 0xa5, 256);
        a.x = vq_tensor_nd(mem_x, VQ_E8M0, 3, shape, VQ_HOST);
        a.y = vq_tensor_nd(y + 61, VQ_E8M0, 3, shape, VQ_HOST);
        a.y.layout = m.layout;
        a.y.stride[0] = 5 * GIB + 3;
        a.y.stride[1] = m.stride[0];
        a.y.stride[2] = m.stride[1];
        a.call.report = back.call.report = &r;
        CHECKF(vq_scale_convert(vq, &a) == VQ_OK, "%s", r.text);
        for (b = 0; b < 3; b++)
            for (i = 0; i < 5; i++)
                for (j = 0; j < 9; j++)
                    CHECKF(y[61 + b * (5 * GIB + 3) +
                             vq_layout_index(m.layout, m.stride[0], m.stride[1], i, j)]
                           == (b * 5 + i) * 9 + j + 1, "%s %d %d %d", vq_order_str(orders[o]), b,
                           i, j);
        back.x = a.y;
        back.y = a.x;
        back.y.data = mem_y;
        CHECKF(vq_scale_convert(vq, &back) == VQ_OK, "%s", r.text);
        CHECK(!memcmp(mem_x, mem_y, 135) && mem_y[135] == 0xa5);
        madvise(y, room, MADV_DONTNEED);
    }
    munmap(y, room);
}

/* More than 2^31 elements, one behind the other: only with --exhaustive, it takes its time. */
static void more_elements_than_an_int_counts_are_cast(void)
{
    const int64_t n = (INT64_C(1) << 31) + 5;
    uint8_t *x;
    vq_cast_args a = VQ_ZERO;
    int64_t i;
    if (!t_exhaustive || !starts()) return;
    x = far_map((size_t)n + 1);
    if (!x) SKIP("no 2 GiB of addresses");
    a.x = vq_tensor_nd(x, VQ_INT8, 1, &n, VQ_HOST);
    a.y = vq_tensor_nd(x, VQ_UINT8, 1, &n, VQ_HOST);
    memset(x, 0xff, 16);
    memset(x + n - 16, 0xff, 17);
    memset(x + n / 2, 7, 16);
    CHECK(vq_cast(vq, &a) == VQ_OK);
    for (i = 0; i < 16; i++) CHECK(x[i] == 0 && x[n - 16 + i] == 0 && x[n / 2 + i] == 7);
    CHECK(x[n] == 0xff);
    munmap(x, (size_t)n + 1);
}

VQ_TEST_MAIN(
    T(a_row_starts_on_a_byte),
    T(builders_make_packed_row_major_views),
    T(an_extent_of_nothing_is_a_tensor),
    T(what_overflows_is_said_and_not_wrapped),
    T(builders_take_no_rank_but_1_to_4),
    T(what_is_no_tensor_is_refused_by_what_is_wrong),
    T(what_is_a_tensor_passes_and_leaves_the_report_alone),
    T(a_key_says_how_many_scales_there_are),
    T(groups_of_absurd_extents_do_not_overflow),
    T(a_key_of_zeros_is_refused_and_does_not_crash),
    T(a_scale_of_one_dimension_is_read_as_its_key_says),
    T(what_is_no_scale_of_one_dimension_is_refused),
    T(any_format_becomes_any_other_over_any_strides),
    T(every_code_becomes_any_format),
    T(a_cast_may_take_the_place_of_its_input),
    T(any_other_overlap_is_refused),
    T(slices_of_one_matrix_are_apart),
    T(an_output_on_itself_is_refused_and_an_input_is_not),
    T(casting_nothing_writes_nothing),
    T(a_cast_that_cannot_be_is_refused_by_what_is_wrong),
    T(elements_far_apart_are_where_they_should_be),
    T(a_code_far_along_a_row_is_found),
    T(scales_far_apart_are_converted),
    T(more_elements_than_an_int_counts_are_cast))
