/* test_fused.c - every fused op beside the ops it stands for, byte for byte

   The registry says which there are: act_mul_quant is act_mul and then quant; a masked op is its
   namesake on the first rows of each expert. vq_op_fields() says what their args hold, vq_plan()
   which options, types and shapes may stand there together. So a new fused op, option, key, layout
   or implementation is tried here without a line more.

   Every tensor lies in a block of random bytes, once for each side; whole blocks are compared:
   gaps, padding and inputs too. */
#define _POSIX_C_SOURCE 200112L                              /* pthread_attr_setstack() */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long allocations;                                     /* of vq.h, by whatever name */
static void *counted(void *p) { allocations++; return p; }
#define VQ_MALLOC(n) counted((malloc)(n))
#define VQ_FREE(p)   (free)(p)
#define malloc(n)     counted((malloc)(n))
#define calloc(n, s)  counted((calloc)(n, s))
#define realloc(p, n) counted((realloc)(p, n))
#define VQ_IMPLEMENTATION
#include "../vq.h"
#undef malloc
#undef calloc
#undef realloc
#include "vq_test.h"
#include "activations.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
#define MORE(a)  ((a)[t_rand() % (uint32_t)COUNT(a)])

enum { MOST = 24 };                                          /* fields of an op */

/* The args of any op; all begin with the call. */
typedef union { vq_call call; void *align; uint8_t byte[4096]; } any_args;

/* A fused op and its first part. wide: x has so many times the columns of q. */
typedef struct {
    vq_op           op, part;
    const vq_field *f;
    int             n, wide, masked;
} fused;

typedef struct {
    vq_tensor t;                         /* data is set by on() */
    uint8_t  *mine, *theirs, *was;       /* after the fused op, after its parts, before */
    size_t    size, from;
} box;

typedef struct {
    const fused *op;
    vq_key       key;
    vq_dtype     type, mid;
    int64_t      rows, cols;
    int          order;
    uint32_t     number[MOST];           /* of fields that are no tensors: an int or a float */
    box          b[MOST], y;
} job;

static fused    all[MOST];
static int      count;
static vq_ctx  *ctx[VQ_CAP_COUNT + 3];   /* [0] the CPU's best loops */
static int      ctxs;
static vq_key   keys[1024];
static int      key_count;

/* --- the registry ------------------------------------------------------------- */

static const vq_field *field_of(vq_op op, const char *name)
{
    int n, i;
    const vq_field *f = vq_op_fields(op, &n);
    for (i = 0; i < n; i++) if (!strcmp(f[i].name, name)) return f + i;
    return NULL;
}

/* What the first part writes and the fused op has not: the value in between. */
static const vq_field *between(const fused *o)
{
    int n, i;
    const vq_field *f = vq_op_fields(o->part, &n);
    for (i = 0; i < n; i++)
        if (f[i].kind == VQ_FIELD_OUT && !field_of(o->op, f[i].name)) return f + i;
    return NULL;
}

static int is_tensor(const vq_field *f) { return f->kind <= VQ_FIELD_BOTH; }
static int is_written(const vq_field *f, const vq_key *k)
{
    return f->kind == VQ_FIELD_OUT || f->kind == VQ_FIELD_BOTH || f->kind == VQ_FIELD_INOUT
        || (f->kind == VQ_FIELD_MADE && !(k->flags & VQ_KEY_STATIC));
}

/* Does the quantizing part own this field? x is the first part's. */
static int is_quants(const vq_field *f)
{
    return strcmp(f->name, "x") && field_of(VQ_OP_QUANT, f->name);
}

static void put(any_args *a, vq_op op, const char *name, const void *value, size_t size)
{
    const vq_field *f = field_of(op, name);
    if (f && f->offset + size <= sizeof a->byte) memcpy(a->byte + f->offset, value, size);
}

static void stop(void)
{
    while (ctxs) vq_free(ctx[--ctxs]);
}

static int ends(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n > m && !strcmp(s + n - m, tail);
}

static void add_key(vq_key k)
{
    int i;
    if (vq_key_check(&k, NULL)) return;
    for (i = 0; i < key_count; i++) if (vq_key_equal(&k, keys + i)) return;
    if (key_count < COUNT(keys)) keys[key_count++] = k;
}

/* Presets, and each with what presets lack: a bound, a second scale, the other fp8, ... */
static void add_keys(void)
{
    int i, n;
    for (i = 0; i < VQ_KEY_COUNT; i++) add_key(vq_key_preset((vq_key_id)i));
    n = key_count;
    for (i = 0; i < n; i++) {
        vq_key k = keys[i];
        k.bound_kind = VQ_BOUND_AMAX;                       add_key(k);
        k.bound_kind = VQ_BOUND_SCALE;                      add_key(k);
        k = keys[i]; k.scale2_kind = VQ_SCALE2_DIV;         add_key(k);
        k = keys[i]; k.scale2_kind = VQ_SCALE2_MUL;         add_key(k);
        k = keys[i]; k.flags &= ~VQ_KEY_NO_TAIL;            add_key(k);
        k = keys[i]; k.arith = VQ_BF16;                     add_key(k);
        k = vq_key_as(keys[i], VQ_E4M3FNUZ, 224);           if (i % 3 == 0) add_key(k);
        k = vq_key_as(keys[i], VQ_E5M2, 57344);             if (i % 5 == 0) add_key(k);
        k = vq_key_static(keys[i]);                         add_key(k);
    }
}

static void start(void)
{
    vq_desc d = VQ_ZERO;
    vq_platform p;
    int i;
    if (ctxs) return;
    atexit(stop);
    add_keys();
    d.backend = VQ_CPU;
    CHECK(vq_init(&d, &ctx[0]) == VQ_OK);
    ctxs = 1;
    p = vq_platform_in(ctx[0]);
    for (i = -1; i < VQ_CAP_COUNT; i++) {                    /* nothing, and one thing less */
        d.without = i < 0 ? p.caps : 1u << i;
        if (!(p.caps & d.without)) continue;
        CHECK(vq_init(&d, &ctx[ctxs]) == VQ_OK);
        ctxs++;
    }
    memset(&d, 0, sizeof d);
    if (vq_init(&d, &ctx[ctxs]) == VQ_OK) {                  /* a GPU, or what stands in for it */
        if (vq_mem_where(ctx[ctxs]) == VQ_HOST) vq_free(ctx[ctxs]);
        else ctxs++;
    }
    for (i = 1; i < VQ_OP_COUNT; i++) {
        const char *name = vq_op_str((vq_op)i);
        fused *p_op = &all[count];
        char part[64];
        if (!ends(name, "_quant") || count == COUNT(all)) continue;
        p_op->op = (vq_op)i;
        p_op->masked = !strncmp(name, "masked_", 7);
        snprintf(part, sizeof part, "%.*s", (int)strlen(name) - (p_op->masked ? 0 : 6), name);
        p_op->part = vq_op_of(part + (p_op->masked ? 7 : 0));
        p_op->f = vq_op_fields(p_op->op, &p_op->n);
        count++;
    }
}

/* Each fused op is made of ops that are there, and has all their options under their names. */
static void every_fused_op_has_its_parts(void)
{
    int i, k, n;
    start();
    CHECK(count >= 3);
    for (i = 0; i < count; i++) {
        const fused *o = all + i;
        const char *name = vq_op_str(o->op);
        const vq_field *f = vq_op_fields(o->part, &n);
        CHECKF(o->part != VQ_OP_NONE, "%s is made of nothing known", name);
        CHECK(o->n <= MOST);
        CHECK(o->masked || between(o));
        for (k = 0; k < n; k++) {
            const vq_field *same = field_of(o->op, f[k].name);
            if (!o->masked && f + k == between(o)) continue;
            if (o->masked && (f[k].kind == VQ_FIELD_MADE || is_quants(f + k))) continue;
            CHECKF(same && same->kind == f[k].kind, "%s has not %s", name, f[k].name);
        }
        f = vq_op_fields(VQ_OP_QUANT, &n);
        for (k = 0; k < n && !o->masked; k++)
            CHECKF(field_of(o->op, f[k].name), "%s has not %s", name, f[k].name);
    }
}

/* --- tensors -------------------------------------------------------------------- */

static vq_tensor matrix(vq_dtype t, int64_t rows, int64_t cols, int gap)
{
    vq_tensor m = vq_tensor_2d(NULL, t, rows, cols, VQ_HOST);
    m.stride[0] += gap;
    return m;
}

static void make_box(box *b, vq_tensor t)
{
    size_t i;
    unsigned skip = t_rand() % 3 ? 0 : t_rand() % 8;
    int64_t bytes = t.rank ? vq_tensor_bytes(t) : 0;
    memset(b, 0, sizeof *b);
    b->t = t;
    if (!t.rank) return;
    b->from = 32 + skip;
    b->size = b->from + (size_t)bytes + (skip % 2 ? 0 : 32);           /* to the very end */
    b->was = (uint8_t *)malloc(3 * b->size);
    b->mine = b->was + b->size;
    b->theirs = b->mine + b->size;
    for (i = 0; i < b->size; i++) b->was[i] = (uint8_t)(t_rand() >> 24);
}

static void settle(box *b)
{
    if (!b->t.rank) return;
    memcpy(b->mine, b->was, b->size);
    memcpy(b->theirs, b->was, b->size);
}

static vq_tensor on(const box *b, uint8_t *side)
{
    vq_tensor t = b->t;
    if (t.rank) t.data = side + b->from;
    return t;
}

static void drop_job(job *j)
{
    int i;
    for (i = 0; i < j->op->n; i++) free(j->b[i].was);
    free(j->y.was);
}

/* The address of row r, column c; of a strided tensor whose codes fill bytes. */
static uint8_t *cell(const vq_tensor *t, int64_t r, int64_t c)
{
    int64_t unit = vq_dtype_bits(t->dtype) / 8;
    int last = t->rank - 1;
    return (uint8_t *)t->data
         + ((last ? r * t->stride[last - 1] : 0) + c * t->stride[last]) * unit;
}

static int64_t row_count(const vq_tensor *t) { return t->rank == 1 ? 1 : t->shape[t->rank - 2]; }

static void set(const vq_tensor *t, int64_t r, int64_t c, uint32_t code)
{
    if (c < t->shape[t->rank - 1])
        vq_code_put(cell(t, r, c), vq_dtype_bits(t->dtype), 0, code);
}

static uint32_t infinity_of(vq_dtype t)
{
    return t == VQ_F32 ? 0x7f800000u : t == VQ_F16 ? 0x7c00u : 0x7f80u;
}

/* --- what tensors hold ------------------------------------------------------------ */

enum { PLAIN, SMALL, LARGE, ANY_BITS, ZERO_ROW, ZERO_GROUP, MINUS_ZERO, SUBNORMAL, INFINITE,
       ONE_NAN, GROUP_NAN, ROW_NAN, HUGE_ONE, EQUAL, RECORDED, KINDS };

static uint32_t special(vq_dtype t, int kind, uint32_t same)
{
    const uint32_t u = t_rand(), inf = infinity_of(t), minus = u & 1 ? t == VQ_F32 ? 0x80000000u
                                                                           : 0x8000u : 0;
    switch (kind) {
    case ANY_BITS:  return t == VQ_F32 ? t_rand() : t_rand() >> 16;
    case ZERO_ROW:
    case ZERO_GROUP: return 0;
    case MINUS_ZERO: return minus;
    case SUBNORMAL: return minus | (u >> 8) % (t == VQ_F32 ? 0xc00000 : t == VQ_F16 ? 0x600 : 0xc0);
    case INFINITE:  return minus | inf;
    case ONE_NAN:
    case GROUP_NAN:
    case ROW_NAN:   return minus | inf | 1u << (t == VQ_F32 ? 22 : t == VQ_F16 ? 9 : 6);
    case HUGE_ONE:  return minus | (inf - 1 - (u >> 8) % 3);
    default:        return same;
    }
}

static float plain(void)
{
    return t_randf(-2, 2) + t_randf(-2, 2) + t_randf(-1, 1);
}

static const struct { const uint16_t *row; uint64_t rows, cols; } recorded[] = {
    { recorded_norm_in[0],       12, 384 },
    { recorded_attention_out[0],  6, 384 },
    { recorded_forward_pre[0],    4, 1536 },
};

/* A row of any kind; `group` columns of the result are a group, where it has one. */
static void fill_row(const vq_tensor *t, int64_t r, int kind, int64_t cols, int64_t group)
{
    const float by = kind == SMALL ? 0x1p-12f : kind == LARGE ? 300.0f : 1.0f;
    const uint32_t same = vq_encode(t->dtype, plain(), VQ_NONFINITE);
    int64_t c, from, to, wide = t->shape[t->rank - 1];
    const uint32_t at = t_rand() % (uint32_t)COUNT(recorded), from_row = t_rand();
    for (c = 0; c < wide; c++) {
        float v = plain() * by;
        if (kind == RECORDED)
            v = vq_f32_from_bf16(recorded[at].row[(from_row % recorded[at].rows * recorded[at].cols
                                                   + (uint64_t)c) % (recorded[at].rows
                                                                     * recorded[at].cols)]);
        set(t, r, c, vq_encode(t->dtype, v, VQ_NONFINITE));
    }
    if (kind <= LARGE || kind == RECORDED) return;
    if (group <= 0 || group > cols) group = cols;
    from = kind == ANY_BITS || kind == ZERO_ROW || kind == MINUS_ZERO || kind == ROW_NAN
        || kind == EQUAL ? 0 : (int64_t)(t_rand() % (uint32_t)cols) / group * group;
    to = from ? from + group : kind == ZERO_GROUP || kind == SUBNORMAL || kind == GROUP_NAN ? group
                                                                                            : cols;
    if (kind == INFINITE || kind == ONE_NAN || kind == HUGE_ONE) {
        from += (int64_t)(t_rand() % (uint32_t)group);
        to = from + 1;
    }
    for (c = from; c < to && c < cols; c++) {                /* gate and up, however they lie */
        const int both = t_rand() % 3 || (kind != INFINITE && kind != ONE_NAN && kind != HUGE_ONE);
        set(t, r, c, special(t->dtype, kind, same));
        if (wide == cols || !both) continue;
        set(t, r, cols + c, special(t->dtype, kind, same));
        set(t, r, 2 * c, special(t->dtype, kind, same));
        set(t, r, 2 * c + 1, special(t->dtype, kind, same));
        if (kind == SUBNORMAL) {                             /* a plain gate, so that up decides */
            set(t, r, c, vq_encode(t->dtype, 3.0f, VQ_NONFINITE));
            set(t, r, 2 * c, vq_encode(t->dtype, 3.0f, VQ_NONFINITE));
        }
    }
}

static void fill_floats(const vq_tensor *t, int kind, int64_t cols, int64_t group)
{
    int64_t r, p, planes = t->rank > 2 ? t->shape[0] : 1;
    for (p = 0; p < planes; p++) {
        vq_tensor m = *t;
        if (t->rank > 2)
            m.data = (uint8_t *)t->data + p * t->stride[0] * (vq_dtype_bits(t->dtype) / 8);
        for (r = 0; r < row_count(t); r++)
            fill_row(&m, r, kind >= 0 ? kind : (int)(t_rand() % KINDS), cols, group);
    }
}

/* Scales and zero points that a static key is given, in every byte of the tensor. */
static void fill_codes(box *b, const vq_key *k, int zero)
{
    const vq_tensor t = on(b, b->was);
    const int bits = vq_dtype_bits(t.dtype);
    int64_t i, n = vq_tensor_bytes(t) * 8 / bits;
    for (i = 0; i < n; i++) {
        uint32_t u = t_rand();
        float v = ldexpf(t_randf(1, 2), -(int)(u % 9) - 1);
        if (u % 31 == 0) v = u & 64 ? 0.0f : u & 128 ? INFINITY : NAN;
        u = t.dtype == VQ_E8M0 ? 118 + u % 12 : vq_encode(t.dtype, v, VQ_NONFINITE);
        if (zero) u = vq_encode(k->elem, t_randf(-20, 20), VQ_SATURATE);
        vq_code_put(t.data, bits, i, u);
    }
}

/* --- jobs --------------------------------------------------------------------------- */

static const char *about(const job *j)
{
    static char text[600];
    char key[256];
    int i, n;
    vq_key_print(&j->key, key, sizeof key);
    n = snprintf(text, sizeof text, "%s, %s, x %s, %dx%d, order %d", vq_op_str(j->op->op), key,
                 vq_dtype_str(j->type), (int)j->rows, (int)j->cols, j->order);
    for (i = 0; i < j->op->n; i++) {
        const vq_field *f = j->op->f + i;
        float v;
        memcpy(&v, &j->number[i], 4);
        if (is_tensor(f) ? !j->b[i].t.rank : f->kind == VQ_FIELD_KEY) continue;
        if (is_tensor(f)) n += snprintf(text + n, sizeof text - (size_t)n, ", %s", f->name);
        else if (f->kind == VQ_FIELD_FLOAT)
            n += snprintf(text + n, sizeof text - (size_t)n, ", %s %g", f->name, (double)v);
        else n += snprintf(text + n, sizeof text - (size_t)n, ", %s %d", f->name,
                           (int)j->number[i]);
        if (n >= (int)sizeof text) break;
    }
    return text;
}

/* The args of op from what it shares with the job's own. side: 0 mine, 1 theirs, -1 no data. */
static any_args args_of(const job *j, vq_op op, int side)
{
    any_args a;
    int i;
    memset(&a, 0, sizeof a);
    for (i = 0; i < j->op->n; i++) {
        const vq_field *f = j->op->f + i;
        vq_tensor t = j->b[i].t;
        if (op == VQ_OP_QUANT && !is_quants(f)) continue;
        if (f->kind == VQ_FIELD_KEY) put(&a, op, f->name, &j->key, sizeof j->key);
        else if (!is_tensor(f)) put(&a, op, f->name, &j->number[i], 4);
        else {
            if (side >= 0) t = on(&j->b[i], side ? j->b[i].theirs : j->b[i].mine);
            put(&a, op, f->name, &t, sizeof t);
        }
    }
    if (op != j->op->op && j->y.t.rank) {
        vq_tensor y = j->y.t;
        if (side >= 0) y = on(&j->y, j->y.theirs);
        put(&a, op, op == VQ_OP_QUANT ? "x" : between(j->op)->name, &y, sizeof y);
    }
    return a;
}

static int plans(const job *j, vq_op op)
{
    any_args a = args_of(j, op, -1);
    vq_choice c;
    return vq_plan(ctx[0], op, &a, &c) == VQ_OK;
}

/* Scales in an order; the last two orders are rows and columns with gaps. */
static vq_tensor scales(const vq_key *k, vq_dtype type, vq_tensor q, int order)
{
    vq_tensor s = vq_scale_for(k, q, (vq_order)(order < VQ_ORDER_COUNT ? order :
                                                order - VQ_ORDER_COUNT), NULL);
    if (s.rank && type != k->scale_type)
        s = vq_tensor_ordered(type, s.shape[0], s.shape[1], (vq_order)(order % VQ_ORDER_COUNT),
                              NULL, VQ_HOST);
    if (order == VQ_ORDER_COUNT) s.stride[0] += 3;
    if (order == VQ_ORDER_COUNT + 1) s.stride[1] += 5;
    return s;
}

static const float pool[] = { 0, 0, 0, 0, 7, 1.702f, 0.5f, 1, 1e-6f, 1e-5f };

/* Options and tensors of one random choice, right or wrong. */
static void choose(job *j, int act, int gate)
{
    int i;
    for (i = 0; i < j->op->n; i++) {
        const vq_field *f = j->op->f + i;
        const uint32_t u = t_rand();
        const int gap = u & 1 ? (int)(u >> 4) % 7 : 0;
        vq_tensor t = VQ_ZERO;
        float v = MORE(pool);
        int64_t n = j->cols;
        j->number[i] = f->kind == VQ_FIELD_ACT ? (uint32_t)act
                     : f->kind == VQ_FIELD_GATE ? (uint32_t)gate
                     : f->kind == VQ_FIELD_TYPE ? (uint32_t)j->mid : u >> 8 & 1;
        if (f->kind == VQ_FIELD_FLOAT) memcpy(&j->number[i], &v, 4);
        if (!is_tensor(f)) continue;
        if (!strcmp(f->name, "x")) t = matrix(j->type, j->rows, j->op->wide * n, gap);
        else if (!strcmp(f->name, "q")) t = matrix(j->key.elem, j->rows, n, gap);
        else if (!strcmp(f->name, "scale") || !strcmp(f->name, "zero")) continue;
        else if (!strcmp(f->name, "bound") || !strcmp(f->name, "scale2")) {
            if (f->name[0] == 'b' ? j->key.bound_kind : j->key.scale2_kind)
                t = matrix(VQ_F32, 1, 1, 0);
        } else switch (u >> 12 & 7) {
            case 0: case 1: t = matrix(j->type, j->rows, n, gap); break;
            case 2: case 3: t = vq_tensor_nd(NULL, j->type, 1, &n, VQ_HOST); break;
            case 4:         t = vq_tensor_nd(NULL, VQ_F32, 1, &n, VQ_HOST); break;
            default:        break;                           /* absent */
        }
        j->b[i].t = t;
    }
    for (i = 0; i < j->op->n; i++) {
        const vq_field *f = j->op->f + i;
        vq_tensor q = matrix(j->key.elem, j->rows, j->cols, 0), none = VQ_ZERO;
        if (!strcmp(f->name, "scale")) j->b[i].t = scales(&j->key, j->key.scale_type, q, j->order);
        if (!strcmp(f->name, "zero"))
            j->b[i].t = j->key.flags & VQ_KEY_ASYMMETRIC ? scales(&j->key, j->key.elem, q, j->order)
                                                         : none;
    }
    j->y.t = matrix(j->mid ? j->mid : j->type, j->rows, j->cols, (int)(t_rand() % 3));
}

/* A choice that the fused op takes; the parts must take what it takes, and refuse what it
   refuses. 0: it takes none. */
static int settle_on(job *j, int act, int gate)
{
    int tries;
    for (tries = 0; tries < 400; tries++) {
        int whole, parts;
        choose(j, act, gate);
        whole = plans(j, j->op->op);
        parts = plans(j, j->op->part) && plans(j, VQ_OP_QUANT);
        CHECKF(whole == parts, "taken %d, its parts %d: %s", whole, parts, about(j));
        if (whole && parts) return 1;
    }
    return 0;
}

static void fill_job(job *j, int kind)
{
    int64_t group = j->key.group_cols;
    int i;
    for (i = 0; i < j->op->n; i++) {
        const vq_field *f = j->op->f + i;
        vq_tensor t;
        if (!is_tensor(f) || !j->b[i].t.rank) continue;
        make_box(&j->b[i], j->b[i].t);
        t = on(&j->b[i], j->b[i].was);
        if (!strcmp(f->name, "bound")) set(&t, 0, 0, vq_encode(VQ_F32, ldexpf(t_randf(0.5f, 2),
                                               (int)(t_rand() % 6) - 3), VQ_NONFINITE));
        else if (!strcmp(f->name, "scale2")) set(&t, 0, 0, vq_encode(VQ_F32, t_randf(0.01f, 900),
                                                                      VQ_NONFINITE));
        else if (f->kind == VQ_FIELD_MADE) {
            if (j->key.flags & VQ_KEY_STATIC) fill_codes(&j->b[i], &j->key, f->name[0] == 'z');
        } else if (f->kind != VQ_FIELD_OUT)
            fill_floats(&t, t.rank == 1 ? (t_rand() % 3 ? PLAIN : -1) : kind, j->cols, group);
        settle(&j->b[i]);
    }
    make_box(&j->y, j->y.t);
    settle(&j->y);
}

/* --- running ------------------------------------------------------------------------- */

/* The fused op by one implementation; on a device in copies of the blocks. */
static vq_status run_by(vq_ctx *c, const job *j, const any_args *args, const char *impl)
{
    any_args a = *args;
    void *copy[MOST] = { NULL };
    vq_report why = VQ_ZERO;
    vq_status s;
    int i, far = vq_mem_where(c) != VQ_HOST;
    a.call.policy.only = impl;
    a.call.report = &why;
    for (i = 0; far && i < j->op->n; i++) {
        const box *b = &j->b[i];
        vq_tensor t = b->t;
        if (!is_tensor(j->op->f + i) || !t.rank) continue;
        copy[i] = vq_mem_alloc(c, b->size);
        CHECK(copy[i] && vq_mem_copy(c, copy[i], b->mine, b->size) == VQ_OK);
        t.data = (uint8_t *)copy[i] + b->from;
        t.where = vq_mem_where(c);
        put(&a, j->op->op, j->op->f[i].name, &t, sizeof t);
    }
    {
        vq_choice pick;
        s = vq_plan(c, j->op->op, &a, &pick);
        if (!s) {
            CHECKF(pick.workspace_bytes == 0, "%d bytes of workspace", (int)pick.workspace_bytes);
            CHECK(!strcmp(vq_impl_str(&pick), impl));
            s = vq_run(c, &pick, &a);
        }
    }
    CHECKF(s == VQ_OK, "%s: %s: %s", impl, why.text, about(j));
    for (i = 0; i < MOST; i++)
        if (copy[i]) {
            CHECK(vq_mem_copy(c, j->b[i].mine, copy[i], j->b[i].size) == VQ_OK);
            vq_mem_free(c, copy[i]);
        }
    return s;
}

/* In f32, f16 and bf16 a NaN is any quiet one: where both sides have one, theirs is taken. */
static void same_nan(const box *b)
{
    const vq_tensor a = on(b, b->mine), o = on(b, b->theirs);
    const int bits = vq_dtype_bits(a.dtype);
    const uint32_t inf = infinity_of(a.dtype), number = bits == 32 ? 0x7fffffffu : 0x7fffu;
    const uint32_t quiet = a.dtype == VQ_F32 ? 0x400000u : a.dtype == VQ_F16 ? 0x200u : 0x40u;
    int64_t r, c;
    if (a.layout != VQ_STRIDED || (a.dtype != VQ_F32 && a.dtype != VQ_F16 && a.dtype != VQ_BF16))
        return;
    for (r = 0; r < row_count(&a); r++)
        for (c = 0; c < a.shape[a.rank - 1]; c++) {
            uint32_t u = vq_code_get(cell(&a, r, c), bits, 0);
            uint32_t v = vq_code_get(cell(&o, r, c), bits, 0);
            if ((u & number) > inf && (v & number) > inf && (u & v & quiet))
                vq_code_put(cell(&a, r, c), bits, 0, v);
        }
}

static int compare(const job *j, const char *impl)
{
    int i;
    for (i = 0; i < j->op->n; i++) {
        const vq_field *f = j->op->f + i;
        const box *b = &j->b[i];
        size_t at = 0;
        if (!is_tensor(f) || !b->t.rank) continue;
        if (!is_written(f, &j->key)) {
            CHECKF(!memcmp(b->mine, b->was, b->size), "%s of an input changed: %s", f->name,
                   about(j));
            continue;
        }
        if (!memcmp(b->mine, b->theirs, b->size)) continue;
        same_nan(b);
        while (at < b->size && b->mine[at] == b->theirs[at]) at++;
        if (at == b->size) continue;
        CHECKF(b->mine[at] == b->theirs[at], "%s by %s: byte %d is %02x, its parts give %02x: %s",
               f->name, impl, (int)at - (int)b->from, b->mine[at], b->theirs[at], about(j));
        return 0;
    }
    return 1;
}

static int parts_run(const job *j)
{
    any_args a = args_of(j, j->op->part, 1), q = args_of(j, VQ_OP_QUANT, 1);
    vq_choice c;
    vq_report why = VQ_ZERO;
    a.call.report = q.call.report = &why;
    if (vq_plan(ctx[0], j->op->part, &a, &c) || vq_run(ctx[0], &c, &a)
        || vq_plan(ctx[0], VQ_OP_QUANT, &q, &c) || vq_run(ctx[0], &c, &q)) {
        CHECKF(0, "%s: %s", why.text, about(j));
        return 0;
    }
    return 1;
}

/* Every implementation in context c that says it can. */
static int fused_runs(const job *j, vq_ctx *c)
{
    any_args a = args_of(j, j->op->op, 0);
    vq_report row[8];
    int i, k, n = 0, good = 1;
    if (vq_mem_where(c) != VQ_HOST) {
        for (i = 0; i < j->op->n; i++) {
            const vq_field *f = j->op->f + i;
            vq_tensor t = on(&j->b[i], j->b[i].mine);
            t.where = vq_mem_where(c);
            if (is_tensor(f) && t.rank) put(&a, j->op->op, f->name, &t, sizeof t);
        }
    }
    CHECK(vq_explain(c, j->op->op, &a, row, COUNT(row), &n) == VQ_OK);
    CHECK(n > 0 && n <= COUNT(row));
    a = args_of(j, j->op->op, 0);
    for (k = 0; k < n && k < COUNT(row); k++) {
        if (row[k].guard != VQ_GUARD_NONE) continue;
        CHECKF(row[k].workspace_bytes == 0, "%d bytes", (int)row[k].workspace_bytes);
        for (i = 0; i < j->op->n; i++)
            if (j->b[i].t.rank) memcpy(j->b[i].mine, j->b[i].was, j->b[i].size);
        if (run_by(c, j, &a, row[k].impl) || !compare(j, row[k].impl)) good = 0;
    }
    return good;
}

/* Rows and columns that the key can be asked for; few elements, but all the ways to be cut. */
static void pick_size(job *j, int big)
{
    static const int64_t rows[] = { 1, 2, 3, 4, 5, 7 };
    static const int64_t cols[] = { 1, 2, 3, 8, 15, 16, 31, 32, 33, 64, 65, 127, 128, 129, 160, 255,
                                    256, 257, 300 };
    int64_t group = j->key.group_cols;
    j->rows = MORE(rows);
    j->cols = MORE(cols);
    if (j->key.group_rows > 1 && t_rand() % 3 == 0) {
        j->rows = j->key.group_rows + (int64_t)(t_rand() % 3) - 1;
        j->cols = 1 + (int64_t)(t_rand() % 40);
    }
    if (big) {
        j->rows = 1 + (int64_t)(t_rand() % 2);
        j->cols = 8192 + (int64_t)(t_rand() % 1200) - 30;
    }
    if ((j->key.flags & VQ_KEY_NO_TAIL) && group > 0) {
        if (group > 0 && !big && t_rand() % 2) j->cols = group;
        while (j->cols % group) j->cols++;
    }
    if ((j->key.flags & VQ_KEY_NO_TAIL) && j->key.group_rows > 0)
        while (j->rows % j->key.group_rows) j->rows++;
}

static void find_width(fused *o)
{
    job j;
    int tries;
    for (o->wide = 1; o->wide < 4; o->wide++)
        for (tries = 0; tries < 3000; tries++) {
            memset(&j, 0, sizeof j);
            j.op = o;
            j.key = vq_key_preset(VQ_KEY_FP8_TOKEN);
            j.type = VQ_F32;
            j.rows = 3;
            j.cols = 8;
            choose(&j, (int)(t_rand() % VQ_ACT_COUNT), 0);
            if (plans(&j, o->op)) return;
        }
    CHECKF(0, "%s: no args found that it takes", vq_op_str(o->op));
    o->wide = 1;
}

typedef struct { uint32_t acts, gates, orders, present[MOST], zero[MOST], nonzero[MOST]; } seen;

static void note(seen *s, const job *j, int act, int gate)
{
    int i;
    s->acts |= 1u << act;
    s->gates |= 1u << gate;
    s->orders |= 1u << j->order;
    for (i = 0; i < j->op->n; i++) {
        if (j->b[i].t.rank) s->present[i]++;
        if (j->number[i]) s->nonzero[i]++;
        else s->zero[i]++;
    }
}

/* One job of an op under a key; 0 if the two sides differ. */
static int one_job(const fused *o, const vq_key *k, vq_dtype type, vq_dtype mid, int i, int kind,
                   int big, seen *s)
{
    job j;
    int good, act = i % VQ_ACT_COUNT, gate = i / VQ_ACT_COUNT % VQ_GATE_COUNT;
    memset(&j, 0, sizeof j);
    j.op = o;
    j.key = *k;
    j.type = type;
    j.mid = mid;
    j.order = (int)(t_rand() % (VQ_ORDER_COUNT + 2));
    pick_size(&j, big);
    if (k->scale_type != VQ_E8M0 && k->scale_type != VQ_UE4M3 && j.order > VQ_COLUMNS_TMA
        && j.order < VQ_ORDER_COUNT) j.order = (int)(t_rand() % 3);
    if (!settle_on(&j, act, gate)) {
        j.order = VQ_ROWS;                                   /* of layouts few hold */
        if (!settle_on(&j, act, gate)) {
            CHECKF(0, "nothing is taken: %s", about(&j));
            return 0;
        }
    }
    fill_job(&j, kind);
    note(s, &j, act, gate);
    good = parts_run(&j) && fused_runs(&j, ctx[0])
        && (ctxs < 2 || fused_runs(&j, ctx[1 + i % (ctxs - 1)]));
    drop_job(&j);
    return good;
}

static const vq_dtype types[] = { VQ_F32, VQ_F16, VQ_BF16 };

/* Did the random choices reach all that there is? */
static void all_seen(const fused *o, const seen *s)
{
    int i;
    CHECKF(s->acts == (1u << VQ_ACT_COUNT) - 1 && s->gates == (1u << VQ_GATE_COUNT) - 1,
           "%x %x", s->acts, s->gates);
    CHECKF(s->orders == (1u << (VQ_ORDER_COUNT + 2)) - 1, "orders %x", s->orders);
    for (i = 0; i < o->n; i++) {
        const vq_field *f = o->f + i;
        if (is_tensor(f)) CHECKF(s->present[i], "%s never had %s", vq_op_str(o->op), f->name);
        else if (f->kind != VQ_FIELD_KEY)
            CHECKF(s->zero[i] && s->nonzero[i], "%s never had %s", vq_op_str(o->op), f->name);
    }
}

static void fused_is_unfused_under_every_key_type_and_option(void)
{
    int i, k, t, mid, n = 0;
    start();
    for (i = 0; i < count; i++) {
        seen s;
        memset(&s, 0, sizeof s);
        if (all[i].masked) continue;
        find_width(&all[i]);
        for (k = 0; k < key_count; k++)
            for (t = 0; t < COUNT(types); t++)
                for (mid = 0; mid < 2; mid++, n++) {
                    const vq_dtype between = mid ? VQ_F32 : t_rand() % 2 ? VQ_NONE : types[t];
                    if (!one_job(&all[i], keys + k, types[t], between, n, PLAIN, 0, &s)
                        && t_failed > 4) return;
                }
        all_seen(&all[i], &s);
    }
}


static void every_special_value_in_its_place(void)
{
    int i, k, t, kind, n = 0;
    start();
    for (i = 0; i < count; i++) {
        seen s;
        memset(&s, 0, sizeof s);
        if (all[i].masked) continue;
        find_width(&all[i]);
        for (kind = -1; kind < KINDS; kind++)                /* -1: each row another */
            for (t = 0; t < COUNT(types); t++)
                for (k = 0; k < (kind < 0 ? 400 : 40); k++, n++)
                    if (!one_job(&all[i], keys + t_rand() % (uint32_t)key_count, types[t],
                                 k % 2 ? VQ_F32 : VQ_NONE, n, kind, 0, &s) && t_failed > 4) return;
    }
}

static void rows_longer_than_any_piece(void)
{
    int i, k, n = 0;
    start();
    for (i = 0; i < count; i++) {
        seen s;
        memset(&s, 0, sizeof s);
        if (all[i].masked) continue;
        find_width(&all[i]);
        for (k = 0; k < 60; k++, n++)
            if (!one_job(&all[i], keys + t_rand() % (uint32_t)key_count, MORE(types),
                         k % 2 ? VQ_F32 : VQ_NONE, n, k % 3 ? PLAIN : -1, 1, &s)
                && t_failed > 4) return;
    }
}

/* --- a row depends on itself alone ------------------------------------------------------- */

/* Which tensors have a row for each row of x? */
static int by_rows(const job *j, int i)
{
    const vq_tensor *t = &j->b[i].t;
    const char *name = j->op->f[i].name;
    return is_tensor(j->op->f + i) && t->rank == 2 && t->shape[0] == j->rows
        && strcmp(name, "bound") && strcmp(name, "scale2");
}

static int64_t pitch(const vq_tensor *t)
{
    const int bits = vq_dtype_bits(t->dtype);
    return t->stride[0] * (bits < 8 ? 1 : bits / 8);
}

/* Rows from first on, n of them, of their side. */
static void run_slice(const job *j, int64_t first, int64_t n)
{
    any_args a = args_of(j, j->op->op, 1);
    vq_report why = VQ_ZERO;
    vq_choice c;
    int i;
    for (i = 0; i < j->op->n; i++) {
        vq_tensor t = on(&j->b[i], j->b[i].theirs);
        if (!by_rows(j, i)) continue;
        t.data = (uint8_t *)t.data + first * pitch(&t);
        t.shape[0] = n;
        put(&a, j->op->op, j->op->f[i].name, &t, sizeof t);
    }
    a.call.report = &why;
    CHECKF(!vq_plan(ctx[0], j->op->op, &a, &c) && !vq_run(ctx[0], &c, &a), "%s: %s", why.text,
           about(j));
}

/* Row r of `from` into row order[r] of `to`, or back, of all that has rows. */
static void permute(const job *j, const int *order, int back)
{
    int i, r;
    for (i = 0; i < j->op->n; i++) {
        const vq_tensor t = j->b[i].t;
        const size_t bytes = by_rows(j, i) ? (size_t)vq_row_bytes(t.dtype, t.shape[1]) : 0;
        uint8_t *old;
        if (!bytes) continue;
        old = (uint8_t *)malloc(j->b[i].size);
        memcpy(old, j->b[i].theirs, j->b[i].size);
        for (r = 0; r < (int)j->rows; r++) {
            size_t here = j->b[i].from + (size_t)(pitch(&t) * r);
            size_t there = j->b[i].from + (size_t)(pitch(&t) * order[r]);
            memcpy(j->b[i].theirs + (back ? here : there), old + (back ? there : here), bytes);
        }
        free(old);
    }
}

static void a_row_depends_on_itself_alone(void)
{
    int i, k, n = 0, most = 0;
    start();
    for (i = 0; i < count; i++) {
        if (all[i].masked) continue;
        find_width(&all[i]);
        for (k = 0; k < key_count; k++, n++) {
            const vq_key *key = keys + k;
            const int fixed = (key->flags & VQ_KEY_STATIC) != 0;
            int order[8], r, to;
            int64_t first, take;
            job j;
            if (key->group_rows != 1 && !(fixed && key->group_rows < 0)) continue;
            memset(&j, 0, sizeof j);
            j.op = &all[i];
            j.key = *key;
            j.type = MORE(types);
            j.mid = t_rand() % 2 ? VQ_F32 : VQ_NONE;
            pick_size(&j, 0);
            j.rows = 6;
            if (!settle_on(&j, n % VQ_ACT_COUNT, n / VQ_ACT_COUNT % VQ_GATE_COUNT)) {
                CHECKF(0, "nothing is taken: %s", about(&j));
                return;
            }
            fill_job(&j, -1);
            {
                any_args a = args_of(&j, j.op->op, 0);
                CHECK(!run_by(ctx[0], &j, &a, "reference"));
            }
            for (first = 0; first < j.rows; first += take) {
                take = 1 + (int64_t)(t_rand() % 3);
                if (take > j.rows - first) take = j.rows - first;
                run_slice(&j, first, take);
            }
            if (!compare(&j, "one call, by slices,")) most++;
            for (r = 0; r < 6; r++) order[r] = r;
            for (r = 5; r > 0; r--) {
                to = (int)(t_rand() % (uint32_t)(r + 1));
                take = order[r]; order[r] = order[to]; order[to] = (int)take;
            }
            for (r = 0; r < j.op->n; r++)
                if (j.b[r].t.rank) memcpy(j.b[r].theirs, j.b[r].was, j.b[r].size);
            permute(&j, order, 0);
            run_slice(&j, 0, j.rows);
            permute(&j, order, 1);
            if (!compare(&j, "rows in order, by others,")) most++;
            drop_job(&j);
            if (most > 4) return;
        }
    }
    CHECK(n > 0);
}

/* --- nothing in between is stored --------------------------------------------------------- */

enum { STACK = 1 << 20, FEW = 160 << 10 };

typedef struct { const job *j; vq_ctx *c; vq_status s; long made; } errand;

static void *go(void *p)
{
    errand *e = (errand *)p;
    any_args a = args_of(e->j, e->j->op->op, 0);
    vq_choice c;
    long before = allocations;
    e->s = vq_plan(e->c, e->j->op->op, &a, &c);
    if (!e->s) e->s = vq_run(e->c, &c, &a);
    e->made = allocations - before;
    return NULL;
}

/* The most stack that the errand used: what it left of a pattern. */
static size_t stack_of(errand *e)
{
    uint8_t *block = (uint8_t *)malloc(STACK + 4096), *stack;
    pthread_attr_t how;
    pthread_t thread;
    size_t clean = 0;
    stack = block + (4096 - (uintptr_t)block % 4096);
    memset(stack, 0xa5, STACK);
    CHECK(!pthread_attr_init(&how) && !pthread_attr_setstack(&how, stack, STACK));
    CHECK(!pthread_create(&thread, &how, go, e));
    pthread_join(thread, NULL);
    pthread_attr_destroy(&how);
    while (clean < STACK && stack[clean] == 0xa5) clean++;
    free(block);
    return STACK - clean;
}

/* 1 MiB and more in between, next to a stack and a heap that it would show in. */
static void nothing_in_between_is_stored(void)
{
    static const vq_key_id some[] = { VQ_KEY_FP8_TOKEN, VQ_KEY_FP8_GROUP128, VQ_KEY_FP8_TENSOR,
        VQ_KEY_FP8_BLOCK128, VQ_KEY_FP8_STATIC, VQ_KEY_MXFP4, VQ_KEY_NVFP4, VQ_KEY_INT8_TOKEN_AZP,
        VQ_KEY_FP8_CHANNEL };
    static const int64_t shape[][2] = { { 16, 16384 }, { 1, 262144 } };
    int i, k, w, c;
    start();
    for (i = 0; i < count; i++) {
        if (all[i].masked) continue;
        find_width(&all[i]);
        for (k = 0; k < COUNT(some); k++)
            for (w = 0; w < COUNT(shape); w++) {
                errand e;
                size_t used;
                job j;
                memset(&j, 0, sizeof j);
                j.op = &all[i];
                j.key = vq_key_preset(some[k]);
                j.type = k % 2 ? VQ_BF16 : VQ_F32;
                j.rows = shape[w][0];
                j.cols = shape[w][1];
                if (some[k] == VQ_KEY_FP8_CHANNEL) { j.rows = 64; j.cols = 4096; }
                if (!settle_on(&j, VQ_ACT_SILU, (int)(t_rand() % 3))) { CHECK(0); return; }
                fill_job(&j, PLAIN);
                c = (k + w) % ctxs;
                e.j = &j;
                e.c = vq_mem_where(ctx[c]) == VQ_HOST ? ctx[c] : ctx[0];
                used = stack_of(&e);
                CHECKF(e.s == VQ_OK, "%s", about(&j));
                CHECKF(e.made == 0, "%ld allocations: %s", e.made, about(&j));
#if !defined(__SANITIZE_ADDRESS__)
                CHECKF(used <= FEW, "%d KiB of stack: %s", (int)(used >> 10), about(&j));
#endif
                (void)used;
                drop_job(&j);
            }
    }
}

/* --- masked ops ------------------------------------------------------------------------------ */

static vq_tensor cube(vq_dtype t, int64_t planes, int64_t rows, int64_t cols, int gap, int more)
{
    int64_t shape[3];
    vq_tensor c;
    shape[0] = planes;
    shape[1] = rows;
    shape[2] = cols;
    c = vq_tensor_nd(NULL, t, 3, shape, VQ_HOST);
    c.stride[1] += gap;
    c.stride[0] = c.stride[1] * rows + more;
    return c;
}

/* [E, T, G] of scales: rows, columns, with gaps, or packed words. */
static vq_tensor cube_of_scales(vq_dtype t, int64_t E, int64_t T, int64_t G, int order)
{
    vq_tensor s = cube(t, E, T, G, order == 1 ? 2 : 0, order == 1 ? 5 : 0);
    const int64_t words = (G + 3) / 4;
    if (order == 2 || order == 3) {
        s.stride[1] = 1;
        s.stride[2] = T + (order == 3 ? 3 : 0);
        s.stride[0] = s.stride[2] * G + (order == 3 ? 1 : 0);
    }
    if (order >= 4) {
        s.layout = VQ_PACKED_UE8M0;
        s.stride[1] = 4;
        s.stride[2] = 4 * (order == 4 ? T : (T + 3) / 4 * 4 + 4 * (order - 5));
        s.stride[0] = s.stride[2] * words + (order == 6 ? 8 : 0);
    }
    return s;
}

static vq_tensor plane_of(const vq_tensor *t, uint8_t *side, size_t from, int64_t e)
{
    const int bits = vq_dtype_bits(t->dtype);
    const int64_t unit = bits < 8 || t->layout != VQ_STRIDED ? 1 : bits / 8;
    vq_tensor m = *t;
    m.data = side + from + e * t->stride[0] * unit;
    m.rank = 2;
    m.shape[0] = t->shape[1];
    m.shape[1] = t->shape[2];
    m.stride[0] = t->stride[1];
    m.stride[1] = t->stride[2];
    return m;
}

static box *box_named(job *j, const char *name)
{
    int i;
    for (i = 0; i < j->op->n; i++) if (!strcmp(j->op->f[i].name, name)) return &j->b[i];
    CHECKF(0, "no %s", name);
    return &j->y;
}

/* What the op must leave: each expert by its namesake, into tensors of its own. */
static void expect_masked(job *j)
{
    const fused *o = j->op;
    const box *bx = box_named(j, "x"), *bq = box_named(j, "q"), *bs = box_named(j, "scale");
    const box *counts = box_named(j, "counts"), *told = box_named(j, "status");
    int32_t status = 0, n;
    int64_t e, r, c;
    for (e = 0; e < bx->t.shape[0]; e++) {
        vq_tensor x = plane_of(&bx->t, bx->theirs, bx->from, e);
        const vq_tensor q = plane_of(&bq->t, bq->theirs, bq->from, e);
        const vq_tensor s = plane_of(&bs->t, bs->theirs, bs->from, e);
        const size_t row = (size_t)vq_row_bytes(q.dtype, q.shape[1]);
        const int bits = vq_dtype_bits(s.dtype);
        any_args a = args_of(j, o->part, -1);
        vq_tensor codes, made;
        vq_report why = VQ_ZERO;
        vq_choice pick;
        memcpy(&n, counts->theirs + counts->from + 4 * e, 4);
        if (n < 0) { status |= 1; n = 0; }
        if (n > x.shape[0]) { status |= 2; n = (int32_t)x.shape[0]; }
        if (!n) continue;
        x.shape[0] = n;
        codes = vq_tensor_2d(NULL, q.dtype, n, q.shape[1], VQ_HOST);
        codes.data = malloc((size_t)n * row);
        made = vq_tensor_2d(NULL, s.dtype, n, s.shape[1], VQ_HOST);
        made.data = malloc((size_t)vq_tensor_bytes(made));
        a.call.report = &why;
        put(&a, o->part, "x", &x, sizeof x);
        put(&a, o->part, "q", &codes, sizeof codes);
        put(&a, o->part, "scale", &made, sizeof made);
        CHECKF(!vq_plan(ctx[0], o->part, &a, &pick) && !vq_run(ctx[0], &pick, &a), "%s", why.text);
        for (r = 0; r < n; r++) {
            memcpy((uint8_t *)q.data + pitch(&q) * r, (uint8_t *)codes.data + row * (size_t)r, row);
            for (c = 0; c < s.shape[1]; c++) {
                int64_t at = vq_layout_index(s.layout, s.stride[0], s.stride[1], r, c);
                vq_code_put((uint8_t *)s.data + at * bits / 8, bits, 0,
                            vq_code_get(cell(&made, r, c), bits, 0));
            }
            for (; s.layout == VQ_PACKED_UE8M0 && c % 4; c++)
                ((uint8_t *)s.data)[vq_layout_index(s.layout, s.stride[0], s.stride[1], r, c)] = 0;
        }
        free(codes.data);
        free(made.data);
    }
    if (told->t.rank) memcpy(told->theirs + told->from, &status, 4);
}

/* Random args of a masked op; 0 if it refuses them. */
static int choose_masked(job *j, int act)
{
    const int64_t E = 1 + (int64_t)(t_rand() % 4), T = 1 + (int64_t)(t_rand() % 7);
    int64_t group[2], groups[2];
    int i;
    vq_key_group(&j->key, T, j->cols, group, groups);
    for (i = 0; i < j->op->n; i++) {
        const vq_field *f = j->op->f + i;
        const int gap = (int)(t_rand() % 3), more = (int)(t_rand() % 5);
        float v = act == VQ_ACT_SWIGLU_OAI ? 1.702f : 0;
        if (!strcmp(f->name, "limit")) v = t_rand() % 2 ? 0 : 1.7f;
        j->number[i] = f->kind == VQ_FIELD_ACT ? (uint32_t)act
                     : f->kind == VQ_FIELD_GATE ? t_rand() % VQ_GATE_COUNT
                     : f->kind == VQ_FIELD_TYPE ? (uint32_t)j->mid : 0;
        if (f->kind == VQ_FIELD_FLOAT) memcpy(&j->number[i], &v, 4);
        if (!strcmp(f->name, "x")) j->b[i].t = cube(j->type, E, T, 2 * j->cols, gap, more);
        if (!strcmp(f->name, "q")) j->b[i].t = cube(j->key.elem, E, T, j->cols, gap, more);
        if (!strcmp(f->name, "counts")) j->b[i].t = vq_tensor_nd(NULL, VQ_INT32, 1, &E, VQ_HOST);
        if (!strcmp(f->name, "status") && t_rand() % 2)
            j->b[i].t = vq_tensor_2d(NULL, VQ_INT32, 1, 1, VQ_HOST);
        if (!strcmp(f->name, "scale"))
            j->b[i].t = cube_of_scales(j->key.scale_type, E, T, groups[1], j->order);
    }
    return plans(j, j->op->op);
}

static void fill_masked(job *j)
{
    static const int32_t odd[] = { -1, INT32_MIN, INT32_MAX, 1 << 20 };
    const int strange = t_rand() % 4 == 0;
    int i;
    int64_t e;
    for (i = 0; i < j->op->n; i++) {
        box *b = &j->b[i];
        vq_tensor t;
        if (!b->t.rank) continue;
        make_box(b, b->t);
        t = on(b, b->was);
        if (!strcmp(j->op->f[i].name, "x")) fill_floats(&t, -1, j->cols, j->key.group_cols);
        for (e = 0; !strcmp(j->op->f[i].name, "counts") && e < t.shape[0]; e++) {
            const uint32_t rows = (uint32_t)box_named(j, "x")->t.shape[1];
            int32_t v = strange && t_rand() % 2 ? MORE(odd) : (int32_t)(t_rand() % (rows + 1));
            memcpy((uint8_t *)t.data + 4 * e, &v, 4);
        }
        settle(b);
    }
}

static void a_masked_op_is_its_namesake_on_the_first_rows(void)
{
    int i, k, round, c, taken = 0;
    start();
    for (i = 0; i < count; i++) {
        for (k = 0; all[i].masked && k < key_count; k++)
            for (round = 0; round < 6; round++) {
                int good = 1;
                job j;
                memset(&j, 0, sizeof j);
                j.op = &all[i];
                j.key = keys[k];
                j.type = MORE(types);
                j.mid = t_rand() % 2 ? VQ_F32 : VQ_NONE;
                j.order = (int)(t_rand() % 7);
                pick_size(&j, t_rand() % 300 == 0);
                if (!choose_masked(&j, (int)(t_rand() % VQ_ACT_COUNT))) continue;
                taken++;
                fill_masked(&j);
                expect_masked(&j);
                for (c = 0; c < ctxs; c++) good = fused_runs(&j, ctx[c]) && good;
                drop_job(&j);
                if (!good && t_failed > 4) return;
            }
    }
    CHECKF(taken > 100, "%d", taken);
}

VQ_TEST_MAIN(T(every_fused_op_has_its_parts),
             T(fused_is_unfused_under_every_key_type_and_option),
             T(every_special_value_in_its_place),
             T(rows_longer_than_any_piece),
             T(a_row_depends_on_itself_alone),
             T(nothing_in_between_is_stored),
             T(a_masked_op_is_its_namesake_on_the_first_rows))
