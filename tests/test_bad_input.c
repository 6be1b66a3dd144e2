/* test_bad_input.c - what each op refuses, argument by argument, and that it then writes nothing

   One table of ops, one list of edits: every edit is tried on every tensor of every op. Tensors
   lie far apart in one block that is compared whole after each refusal. */
#include <limits.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
#define IS(t)    (1 << (t))
#define ANY      (IS(VQ_DTYPE_COUNT) - 2)
#define COUNTS   (IS(VQ_INT32) | IS(VQ_INT64))
#define CODES    (ANY & ~COUNTS)
#define WIDES    (IS(VQ_F32) | IS(VQ_F16) | IS(VQ_BF16))
#define FP8S     (IS(VQ_E4M3FN) | IS(VQ_E4M3FNUZ) | IS(VQ_E5M2) | IS(VQ_E5M2FNUZ))
#define PACKED   (IS(VQ_E2M3) | IS(VQ_E3M2) | IS(VQ_E2M1) | IS(VQ_INT4) | IS(VQ_UINT4))
#define MOST     (INT64_MAX / 8)

enum { ROOM = 12288, AT = 4096 };
#define SPOT(i) (room + (i) * ROOM + AT)

static uint8_t room[4 * ROOM], before[4 * ROOM];
static vq_ctx *cpu;

typedef union {
    vq_call                call;
    vq_cast_args           cast;
    vq_fnuz_normalize_args fnuz;
    vq_quant_args          quant;
    vq_dequant_args        dequant;
    vq_scale_convert_args  scale;
} any;

/* --- the ops, each with arguments that are right ---------------------------- */

static void cast(any *a, vq_dtype from, vq_dtype to, int64_t cols)
{
    a->cast.x = vq_tensor_2d(SPOT(0), from, 4, cols, VQ_HOST);
    a->cast.y = vq_tensor_2d(SPOT(1), to, 4, cols, VQ_HOST);
}

static void cast_wide(any *a)   { cast(a, VQ_F32, VQ_BF16, 24); }
static void cast_to4(any *a)    { cast(a, VQ_F32, VQ_E2M1, 23); }
static void cast_from6(any *a)  { cast(a, VQ_E2M3, VQ_F16, 23); }
static void cast_bytes(any *a)  { cast(a, VQ_E4M3FN, VQ_E5M2, 24); }

static void fnuz(any *a)
{
    a->fnuz.x = vq_tensor_2d(SPOT(0), VQ_E4M3FN, 4, 64, VQ_HOST);
    a->fnuz.y = vq_tensor_2d(SPOT(2), VQ_E4M3FNUZ, 4, 64, VQ_HOST);
    a->fnuz.scale = vq_tensor_2d(SPOT(1), VQ_F32, 4, 2, VQ_HOST);
    a->fnuz.scale_out = vq_tensor_2d(SPOT(3), VQ_F32, 4, 2, VQ_HOST);
}

static void quant(any *a)
{
    a->quant.key = vq_key_preset(VQ_KEY_FP8_GROUP128);
    a->quant.x = vq_tensor_2d(SPOT(0), VQ_BF16, 4, 256, VQ_HOST);
    a->quant.q = vq_tensor_2d(SPOT(1), VQ_E4M3FN, 4, 256, VQ_HOST);
    a->quant.scale = vq_scale_for(&a->quant.key, a->quant.q, VQ_ROWS, SPOT(2));
}

static void quant_static(any *a)
{
    quant(a);
    a->quant.key = vq_key_preset(VQ_KEY_FP8_STATIC_BLOCK128);
    a->quant.key.group_rows = 1;
}

static void dequant(any *a)
{
    vq_key k = vq_key_preset(VQ_KEY_FP8_GROUP128);
    a->dequant.key = k;
    a->dequant.q = vq_tensor_2d(SPOT(0), VQ_E4M3FN, 4, 256, VQ_HOST);
    a->dequant.scale = vq_scale_for(&k, a->dequant.q, VQ_ROWS, SPOT(1));
    a->dequant.y = vq_tensor_2d(SPOT(2), VQ_BF16, 4, 256, VQ_HOST);
}

static void scale_rows(any *a)
{
    a->scale.x = vq_tensor_2d(SPOT(0), VQ_F32, 4, 6, VQ_HOST);
    a->scale.y = vq_tensor_2d(SPOT(1), VQ_F32, 4, 6, VQ_HOST);
    a->scale.y.stride[0] = 8;
}

static void scale_tiles(any *a)
{
    a->scale.x = vq_tensor_2d(SPOT(0), VQ_E8M0, 4, 6, VQ_HOST);
    a->scale.y = vq_tensor_ordered(VQ_E8M0, 4, 6, VQ_TILES_128X4, SPOT(1), VQ_HOST);
}

static void scale_untiles(any *a)
{
    a->scale.x = vq_tensor_ordered(VQ_UE4M3, 4, 6, VQ_TILES_CDNA4, SPOT(0), VQ_HOST);
    a->scale.y = vq_tensor_ordered(VQ_UE4M3, 4, 6, VQ_TILES_8X4, SPOT(1), VQ_HOST);
}

static void scale_words(any *a)
{
    static const int64_t shape[] = { 2, 4, 6 };
    a->scale.x = vq_tensor_nd(SPOT(0), VQ_E8M0, 3, shape, VQ_HOST);
    a->scale.y = vq_tensor_nd(SPOT(1), VQ_E8M0, 3, shape, VQ_HOST);
    a->scale.y.layout = VQ_PACKED_UE8M0;
    a->scale.y.stride[0] = 32;
    a->scale.y.stride[1] = 4;
    a->scale.y.stride[2] = 16;
}

/* types: those that pass by themselves. rows: columns must be side by side. rank: 0 any.
   twin: the part whose memory it may be. bytes: of the good one. */
typedef struct {
    const char *name;
    size_t      at;
    int         out, rows, strided, rank, twin, bytes;
    int         types;
} part;

typedef struct {
    const char *name, *op_name;
    vq_op       op;
    void      (*fill)(any *a);
    int         parts;
    part        part[4];              /* in the order they are looked at */
} subject;

#define AT_(op, t) offsetof(any, op.t)
#define CAST(name, fill, xb, yb, twin, to) \
    { name, "cast", VQ_OP_CAST, fill, 2, { \
        { "x", AT_(cast, x), 0, 0, 1, 0, -1, xb, CODES }, \
        { "y", AT_(cast, y), 1, 0, 1, 2, twin, yb, CODES } } }
#define QUANT(name, fill, out) \
    { name, "quant", VQ_OP_QUANT, fill, 3, { \
        { "x", AT_(quant, x), 0, 1, 1, 2, -1, 2048, WIDES }, \
        { "q", AT_(quant, q), 1, 1, 1, 2, -1, 1024, IS(VQ_E4M3FN) }, \
        { "scale", AT_(quant, scale), out, 0, 1, 2, -1, 32, IS(VQ_F32) } } }
#define SCALE(name, fill, xb, yb, rank, type) \
    { name, "scale_convert", VQ_OP_SCALE_CONVERT, fill, 2, { \
        { "x", AT_(scale, x), 0, 0, 0, rank, -1, xb, CODES & ~PACKED }, \
        { "y", AT_(scale, y), 1, 0, 0, rank, -1, yb, IS(type) } } }

static const subject subjects[] = {
    CAST("cast", cast_wide, 384, 192, -1, VQ_BF16),
    CAST("cast to 4 bits", cast_to4, 368, 48, -1, VQ_E2M1),
    CAST("cast from 6 bits", cast_from6, 72, 184, -1, VQ_F16),
    CAST("cast of bytes", cast_bytes, 96, 96, 0, VQ_E5M2),
    { "fnuz_normalize", "fnuz_normalize", VQ_OP_FNUZ_NORMALIZE, fnuz, 4, {
        { "x", AT_(fnuz, x), 0, 1, 1, 2, -1, 256, FP8S },
        { "scale", AT_(fnuz, scale), 0, 0, 1, 2, -1, 32, WIDES | IS(VQ_E8M0) },
        { "y", AT_(fnuz, y), 1, 1, 1, 2, 0, 256, IS(VQ_E4M3FNUZ) },
        { "scale_out", AT_(fnuz, scale_out), 1, 0, 1, 2, 1, 32, IS(VQ_F32) } } },
    QUANT("quant", quant, 1),
    QUANT("quant with a given scale", quant_static, 0),
    { "dequant", "dequant", VQ_OP_DEQUANT, dequant, 3, {
        { "q", AT_(dequant, q), 0, 1, 1, 2, -1, 1024, IS(VQ_E4M3FN) },
        { "scale", AT_(dequant, scale), 0, 0, 1, 2, -1, 32, IS(VQ_F32) },
        { "y", AT_(dequant, y), 1, 1, 1, 2, -1, 2048, WIDES } } },
    SCALE("scale_convert", scale_rows, 96, 120, 2, VQ_F32),
    SCALE("scale_convert to tiles", scale_tiles, 24, 1024, 2, VQ_E8M0),
    SCALE("scale_convert of tiles", scale_untiles, 256, 64, 2, VQ_UE4M3),
    SCALE("scale_convert to words", scale_words, 48, 64, 3, VQ_E8M0),
};

/* --- one refusal ------------------------------------------------------------ */

static vq_tensor *tensor(any *a, const part *p) { return (vq_tensor *)((char *)a + p->at); }

static any good(const subject *s)
{
    any a;
    memset(&a, 0, sizeof a);
    s->fill(&a);
    return a;
}

static void stop(void) { vq_free(cpu); }

static void start(void)
{
    vq_desc d = VQ_ZERO;
    size_t i;
    if (!cpu) {
        d.backend = VQ_CPU;
        CHECK(vq_init(&d, &cpu) == VQ_OK);
        atexit(stop);
    }
    for (i = 0; i < sizeof room; i++) room[i] = (uint8_t)(t_rand() >> 24);
    memcpy(before, room, sizeof room);
}

static vq_status call_on(const vq_ctx *vq, const subject *s, const any *a)
{
    switch (s->op) {
    case VQ_OP_CAST:           return vq_cast(vq, a ? &a->cast : NULL);
    case VQ_OP_FNUZ_NORMALIZE: return vq_fnuz_normalize(vq, a ? &a->fnuz : NULL);
    case VQ_OP_QUANT:          return vq_quant(vq, a ? &a->quant : NULL);
    case VQ_OP_DEQUANT:        return vq_dequant(vq, a ? &a->dequant : NULL);
    default:                   return vq_scale_convert(vq, a ? &a->scale : NULL);
    }
}

static vq_status call(const subject *s, const any *a) { return call_on(cpu, s, a); }

static char kind_of(vq_guard g)
{
    switch (g) {
    case VQ_GUARD_PRESENT: case VQ_GUARD_KERNEL: return 0;
    case VQ_GUARD_TYPE:    return 't';
    case VQ_GUARD_LAYOUT:  return 'l';
    case VQ_GUARD_PLACE:   return 'w';
    case VQ_GUARD_NAME: case VQ_GUARD_POLICY: return 's';
    default:               return 'n';
    }
}

typedef struct {
    vq_guard    guard;
    const char *arg, *name;
    int64_t     found, needed, nearest;
} reason;

static void check_report(const vq_report *r, const subject *s, const reason *w, const char *edit)
{
    char number[64];
    vq_status want = w->guard >= VQ_GUARD_ONLY ? VQ_UNSUPPORTED : VQ_BAD_ARG;
#define SAME(cond, fmt, ...) CHECKF(cond, "%s: %s.%s: " fmt ": %s", s->name, w->arg, edit, \
                                    __VA_ARGS__, r->text)
    SAME(r->status == want && r->guard == w->guard, "%s, not %s", vq_guard_str(r->guard),
         vq_guard_str(w->guard));
    SAME(r->op && !strcmp(r->op, s->op_name), "op %s", r->op ? r->op : "none");
    SAME(r->arg && !strcmp(r->arg, w->arg), "about %s", r->arg ? r->arg : "nothing");
    SAME(r->found == w->found, "found %lld, not %lld", (long long)r->found, (long long)w->found);
    SAME(r->needed == w->needed, "needed %lld, not %lld", (long long)r->needed,
         (long long)w->needed);
    SAME(r->nearest == w->nearest, "nearest %lld", (long long)r->nearest);
    if (w->guard != VQ_GUARD_KEY && w->guard != VQ_GUARD_PATTERN)
        SAME(r->kind == (*w->name ? 's' : kind_of(w->guard)), "kind %c", r->kind ? r->kind : '0');
    SAME(!strcmp(r->name, w->name), "name \"%s\", not \"%s\"", r->name, w->name);
    SAME(strlen(r->text) < sizeof r->text && strstr(r->text, w->arg), "%s", "no argument in it");
    SAME(!strncmp(r->text, s->op_name, strlen(s->op_name)), "%s", "no op in it");
    SAME(!*w->name || strstr(r->text, w->name), "%s", "no name in it");
    if (r->kind == 'n') {
        snprintf(number, sizeof number, "found %lld, needed %lld", (long long)w->found,
                 (long long)w->needed);
        SAME(strstr(r->text, number) != NULL, "%s", "no numbers in it");
    }
#undef SAME
}

static void untouched(const subject *s, const char *arg, const char *edit)
{
    if (!memcmp(room, before, sizeof room)) return;
    CHECKF(!"written", "%s: %s.%s", s->name, arg, edit);
    memcpy(room, before, sizeof room);
}

/* planned: no pointer is needed to see it, so plan and explain say the same. */
static void refuses_for(const subject *s, any a, int planned, reason w, const char *edit)
{
    vq_report r, rows[4];
    vq_choice c;
    vq_status want = w.guard >= VQ_GUARD_ONLY ? VQ_UNSUPPORTED : VQ_BAD_ARG, got;
    int n = 77, i;
    memset(&r, 0x5a, sizeof r);
    a.call.report = &r;
    got = call(s, &a);
    CHECKF(got == want, "%s: %s.%s: %s", s->name, w.arg, edit, vq_status_str(got));
    untouched(s, w.arg, edit);
    if (got != want) return;
    check_report(&r, s, &w, edit);

    memset(&r, 0x5a, sizeof r);
    got = vq_plan(cpu, s->op, &a, &c);
    if (planned) {
        CHECKF(got == want, "%s: %s.%s: %s", s->name, w.arg, edit, vq_status_str(got));
        check_report(&r, s, &w, edit);
    } else {
        CHECKF(got == VQ_OK && r.op != s->op_name, "%s: %s.%s: %s", s->name, w.arg, edit,
               vq_status_str(got));
        if (got == VQ_OK) CHECK(vq_run(cpu, &c, &a) == want);
        check_report(&r, s, &w, edit);
    }

    memset(&r, 0x5a, sizeof r);
    got = vq_explain(cpu, s->op, &a, rows, 4, &n);
    if (planned && want == VQ_BAD_ARG) {
        CHECK(got == want && n == 0);
        check_report(&r, s, &w, edit);
    } else {
        CHECK(got == VQ_OK && n == 2);
        for (i = 0; i < n && i < 4; i++)
            if (!strcmp(rows[i].impl, w.guard == VQ_GUARD_KERNEL ? "gpu" : "reference")) {
                if (planned) check_report(&rows[i], s, &w, edit);
                else CHECK(rows[i].guard == VQ_GUARD_NONE && rows[i].status == VQ_OK);
            }
    }
    a.call.report = NULL;
    CHECK(call(s, &a) == want);
    untouched(s, w.arg, edit);
}

static void refuses_with(const subject *s, any a, int planned, vq_guard guard, const char *arg,
                         const char *name, int64_t found, int64_t needed, int64_t nearest,
                         const char *edit)
{
    reason w;
    w.guard = guard;
    w.arg = arg;
    w.name = name;
    w.found = found;
    w.needed = needed;
    w.nearest = nearest;
    refuses_for(s, a, planned, w, edit);
}

static void refuses(const subject *s, any a, vq_guard guard, const char *arg, int64_t found,
                    int64_t needed, const char *edit)
{
    refuses_with(s, a, 1, guard, arg, "", found, needed, needed, edit);
}

#define EDIT(edit, guard, found, needed) do { \
    any a = good(s); \
    vq_tensor *t = tensor(&a, p); \
    edit; \
    refuses(s, a, VQ_GUARD_##guard, p->name, found, needed, #edit); } while (0)

/* Every tensor of every op. */
static void each(void (*check)(const subject *s, const part *p))
{
    int i, j;
    start();
    for (i = 0; i < COUNT(subjects); i++)
        for (j = 0; j < subjects[i].parts; j++) check(&subjects[i], &subjects[i].part[j]);
}

/* --- what is wrong with a tensor alone -------------------------------------- */

static int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static void bad_rank(const subject *s, const part *p)
{
    static const int above[] = { 5, 9, INT_MAX };
    any good_one = good(s);
    int want = p->rank ? p->rank : 2, i, rank, tiled = tensor(&good_one, p)->layout != VQ_STRIDED;
    EDIT(t->rank = 0, PRESENT, 0, 0);
    EDIT(memset(t, 0, sizeof *t), PRESENT, 0, 0);
    EDIT(t->rank = -1, RANK, -1, 1);
    EDIT(t->rank = INT_MIN, RANK, INT_MIN, 1);
    for (i = 0; i < COUNT(above); i++) EDIT(t->rank = above[i], RANK, above[i], 4);
    if (!p->rank) return;
    for (rank = 1; rank <= 4; rank++) {
        any a = good(s);
        vq_tensor *t = tensor(&a, p);
        int known = want;
        t->rank = rank;
        for (i = 0; i < 4; i++) if (t->shape[i] < 1) t->shape[i] = t->stride[i] = 1;
        for (i = rank; i < 4; i++) t->shape[i] = 1;
        if (tiled && (rank == 1 || rank == 4)) known = rank == 1 ? 2 : 3;
        else if (tiled) continue;                            /* the strides are wrong first */
        else if (vq_dtype_bits(t->dtype) < 8)
            for (i = 0; i < rank; i++) t->stride[i] = i < rank - 1 ? 64 : 1;
        if (s->op == VQ_OP_SCALE_CONVERT && p->at == AT_(scale, x)) {
            if (rank == 2 || rank == 3) continue;            /* either will do */
            if (!tiled) known = 2;
        }
        if (rank == want) continue;
        refuses(s, a, VQ_GUARD_RANK, p->name, rank, known, "rank = other");
    }
}

static void a_tensor_that_is_missing_or_of_another_rank_is_refused(void) { each(bad_rank); }

static void bad_type(const subject *s, const part *p)
{
    static const int beyond[] = { VQ_DTYPE_COUNT, 31, 32, 99, INT_MAX };
    int i;
    EDIT(t->dtype = VQ_NONE, TYPE, 0, ANY);
    for (i = 0; i < COUNT(beyond); i++)
        EDIT(t->dtype = (vq_dtype)beyond[i], TYPE, beyond[i], ANY);
    for (i = 1; i < VQ_DTYPE_COUNT; i++) {
        any a = good(s);
        vq_tensor *t = tensor(&a, p);
        if (p->types >> i & 1 && t->layout == VQ_STRIDED) continue;
        if (t->dtype == (vq_dtype)i) continue;
        t->dtype = (vq_dtype)i;
        if (t->layout == VQ_PACKED_UE8M0)
            refuses(s, a, VQ_GUARD_TYPE, p->name, i, IS(VQ_E8M0), "dtype = other");
        else if (t->layout != VQ_STRIDED && vq_dtype_bits(t->dtype) != 8)
            refuses(s, a, VQ_GUARD_LAYOUT, p->name, t->layout, IS(VQ_STRIDED), "dtype = other");
        else if (!(p->types >> i & 1))
            refuses(s, a, VQ_GUARD_TYPE, p->name, i, p->types, "dtype = other");
    }
}

static void a_tensor_of_another_type_is_refused(void)
{
    each(bad_type);
}

static void bad_place(const subject *s, const part *p)
{
    static const int beyond[] = { VQ_WHERE_COUNT, 7, INT_MAX, -1 };
    int i;
    for (i = 0; i < COUNT(beyond); i++)
        EDIT(t->where = (vq_where)beyond[i], VALUE, beyond[i], VQ_HOST);
    EDIT(t->where = VQ_DEVICE, PLACE, VQ_DEVICE, IS(VQ_HOST) | IS(VQ_MANAGED));
}

static void a_tensor_in_another_place_is_refused(void) { each(bad_place); }

static void bad_layout(const subject *s, const part *p)
{
    static const int beyond[] = { VQ_LAYOUT_COUNT, 9, INT_MAX, -1 };
    any a = good(s);
    vq_layout was = tensor(&a, p)->layout;
    int i;
    for (i = 0; i < COUNT(beyond); i++)
        EDIT(t->layout = (vq_layout)beyond[i], LAYOUT, beyond[i], IS(VQ_LAYOUT_COUNT) - 1);
    for (i = 1; i < VQ_LAYOUT_COUNT; i++) {
        vq_tensor *t;
        int bits;
        a = good(s);
        t = tensor(&a, p);
        bits = vq_dtype_bits(t->dtype);
        if (was == (vq_layout)i) continue;
        t->layout = (vq_layout)i;
        if (i == VQ_PACKED_UE8M0 && t->dtype != VQ_E8M0)
            refuses(s, a, VQ_GUARD_TYPE, p->name, t->dtype, IS(VQ_E8M0), "layout = other");
        else if (bits != 8)
            refuses(s, a, VQ_GUARD_LAYOUT, p->name, i, IS(VQ_STRIDED), "layout = other");
        else {                                               /* such a tensor could be */
            int64_t cols = t->shape[t->rank - 1], full = up(cols, i == VQ_SWIZZLE_CDNA4 ? 8 : 4);
            int64_t *row = &t->stride[t->rank - 2], *col = &t->stride[t->rank - 1];
            *row = 3;
            refuses(s, a, VQ_GUARD_STRIDE, p->name, 3, i == VQ_PACKED_UE8M0 ? 4 : full,
                    "layout = other, stride = 3");
            *row = i == VQ_PACKED_UE8M0 ? 4 : full;
            *col = i == VQ_PACKED_UE8M0 ? 16 : 1;
            if (p->strided)
                refuses(s, a, VQ_GUARD_LAYOUT, p->name, i, IS(VQ_STRIDED), "layout = other");
        }
    }
}

/* Scales of 8 bits, which could lie in any layout, are strided here too. */
static void a_tensor_of_another_layout_is_refused(void)
{
    int i, o;
    each(bad_layout);
    for (i = 0; i < COUNT(subjects); i++)
        for (o = VQ_WORDS_UE8M0; o < VQ_ORDER_COUNT; o++) {
            const subject *s = &subjects[i];
            any a = good(s);
            vq_tensor t = vq_tensor_ordered(VQ_E8M0, 4, 2, (vq_order)o, SPOT(3), VQ_HOST);
            if (s->op == VQ_OP_FNUZ_NORMALIZE) {             /* quant and dequant take them */
                a.fnuz.scale.dtype = VQ_E8M0;
                a.fnuz.scale_out = t;
                refuses(s, a, VQ_GUARD_LAYOUT, "scale_out", t.layout, IS(VQ_STRIDED), "e8m0");
                a.fnuz.scale = t;
                refuses(s, a, VQ_GUARD_LAYOUT, "scale", t.layout, IS(VQ_STRIDED), "e8m0");
            }
        }
}

#define OVERFLOWS(edit) do { \
    any a = good(s); \
    vq_tensor *t = tensor(&a, p); \
    edit; \
    refuses_with(s, a, 1, VQ_GUARD_SIZE, p->name, "more bytes than an int64 counts", 0, 0, 0, \
                 #edit); } while (0)

static void bad_size(const subject *s, const part *p)
{
    static const int64_t below[] = { -1, -2, INT64_MIN }, above[] = { MOST + 1, INT64_MAX };
    any whole = good(s);
    int i, k, rank = tensor(&whole, p)->rank;
    for (k = 0; k < rank; k++) {
        for (i = 0; i < COUNT(below); i++) EDIT(t->shape[k] = below[i], SIZE, below[i], 0);
        for (i = 0; i < COUNT(above); i++) EDIT(t->shape[k] = above[i], SIZE, above[i], MOST);
    }
    if (tensor(&whole, p)->layout == VQ_STRIDED) {
        OVERFLOWS(t->shape[0] = t->stride[0] = MOST);
        OVERFLOWS(t->stride[0] = INT64_MAX);
        if (rank == 2) OVERFLOWS(t->stride[0] = INT64_MAX / 3 + 1);
        if (rank == 2) OVERFLOWS(t->shape[0] = MOST; t->shape[1] = t->stride[0] = MOST);
    } else if (tensor(&whole, p)->layout != VQ_PACKED_UE8M0) {
        OVERFLOWS(t->shape[0] = MOST; t->shape[1] = t->stride[0] = MOST - 7);
        OVERFLOWS(t->shape[1] = t->stride[0] = MOST - 7; t->shape[0] = 1000);
    } else {
        OVERFLOWS(t->shape[1] = MOST / 2; t->stride[2] = MOST * 4; t->shape[2] = 10);
        OVERFLOWS(t->stride[0] = INT64_MAX);
    }
}

static void a_size_that_cannot_be_is_refused(void) { each(bad_size); }

static void bad_stride(const subject *s, const part *p)
{
    static const int64_t below[] = { 0, -1, -256, INT64_MIN };
    any whole = good(s);
    const vq_tensor *g = tensor(&whole, p);
    int64_t rows = g->shape[g->rank - 2], cols = g->shape[g->rank - 1];
    int i, k, bits = vq_dtype_bits(g->dtype);
    for (k = 0; k < g->rank; k++)
        for (i = 0; i < COUNT(below); i++) EDIT(t->stride[k] = below[i], STRIDE, below[i], 1);
    if (g->layout == VQ_PACKED_UE8M0) {
        EDIT(t->stride[1] = 8, STRIDE, 8, 4);
        EDIT(t->stride[2] = 12, STRIDE, 12, 16);             /* under four rows */
        EDIT(t->stride[2] = 18, STRIDE, 18, 20);             /* words are whole */
        EDIT(t->stride[0] = 31, STRIDE, 31, 32);             /* the next plane begins in this */
    } else if (g->layout != VQ_STRIDED) {
        EDIT(t->stride[0] = up(cols, 8) + 8, STRIDE, up(cols, 8) + 8, up(cols, 8));
        EDIT(t->stride[0] = cols, STRIDE, cols, up(cols, 8));
        EDIT(t->stride[1] = 2, STRIDE, 2, 1);
    } else if (bits < 8) {
        EDIT(t->stride[1] = 2, STRIDE, 2, 1);
        EDIT(t->stride[0] = (cols * bits + 7) / 8 - 1, STRIDE, (cols * bits + 7) / 8 - 1,
             (cols * bits + 7) / 8);
    } else {
        if (p->rows) EDIT(t->stride[1] = 2, STRIDE, 2, 1);
        if (p->rows) EDIT(t->stride[0] = 1; t->stride[1] = rows, STRIDE, rows, 1);
        if ((p->rows || p->out) && g->rank == 2) {
            if (cols > 2) EDIT(t->stride[0] = cols - 1, STRIDE, cols - 1, cols);
            if (cols > 2) EDIT(t->stride[0] = 2, STRIDE, 2, cols);
        }
        if (p->out && !p->rows) {
            EDIT(t->stride[0] = t->stride[1] = 1, STRIDE, 1, rows);
            EDIT(t->stride[0] = t->stride[1] = 2, STRIDE, 2, 2 * rows - 1);
            EDIT(t->stride[0] = 1; t->stride[1] = rows - 1, STRIDE, rows - 1, rows);
        }
    }
}

static void a_stride_that_cannot_stand_is_refused(void) { each(bad_stride); }

static void batches_and_vectors_are_checked_alike(void)
{
    static const int64_t shape[] = { 2, 3, 4, 5 };
    static const subject *s = &subjects[0];
    int rank, k;
    start();
    for (rank = 1; rank <= 4; rank++)
        for (k = 0; k < rank; k++) {
            any ok = good(s), a;
            int64_t span = 1;
            int i;
            ok.cast.x = vq_tensor_nd(SPOT(0), VQ_F32, rank, shape, VQ_HOST);
            ok.cast.y = vq_tensor_nd(SPOT(1), VQ_BF16, rank, shape, VQ_HOST);
            CHECK(call(s, &ok) == VQ_OK);
            memcpy(room, before, sizeof room);
            a = ok;
            a.cast.y.shape[k]++;
            for (i = k; i-- > 0;) a.cast.y.stride[i] *= 2;
            refuses(s, a, VQ_GUARD_SHAPE, "y", shape[k] + 1, shape[k], "shape[k]++");
            a = ok;
            a.cast.x.stride[k] = 0;
            refuses(s, a, VQ_GUARD_STRIDE, "x", 0, 1, "stride[k] = 0");
            a = ok;
            a.cast.y.stride[k] = -1;
            refuses(s, a, VQ_GUARD_STRIDE, "y", -1, 1, "stride[k] = -1");
            a = ok;
            a.cast.y.shape[k] = -3;
            refuses(s, a, VQ_GUARD_SIZE, "y", -3, 0, "shape[k] = -3");
            for (i = k + 1; i < rank; i++) span *= shape[i];
            if (span == 1) continue;
            a = ok;
            a.cast.y.stride[k] = span - 1;            /* into the row before */
            refuses(s, a, VQ_GUARD_STRIDE, "y", span - 1, span, "stride[k] short");
        }
}

/* --- what is wrong with a tensor beside the others -------------------------- */

#define BESIDE(i, edit, guard, arg, found, needed) do { \
    const subject *s = &subjects[i]; \
    any a = good(s); \
    edit; \
    refuses(s, a, VQ_GUARD_##guard, arg, found, needed, #edit); } while (0)

enum { CAST_WIDE, CAST_TO4, CAST_FROM6, CAST_BYTES, FNUZ, QUANTIZE, QUANTIZE_STATIC, DEQUANTIZE,
       SCALE_ROWS, SCALE_TILES, SCALE_UNTILES, SCALE_WORDS };

static void an_extent_that_does_not_fit_the_others_is_refused(void)
{
    int i, k, d;
    start();
    for (i = 0; i < 4; i++)
        for (k = 0; k < 2; k++)
            for (d = -1; d <= 1; d += 2) {
                int64_t n = k ? i == CAST_TO4 || i == CAST_FROM6 ? 23 : 24 : 4;
                BESIDE(i, a.cast.y.shape[k] += d; a.cast.y.stride[0] = 99, SHAPE, "y", n + d, n);
                BESIDE(i, a.cast.x.shape[k] += d; a.cast.x.stride[0] = 99, SHAPE, "y", n, n + d);
            }
    BESIDE(CAST_WIDE, a.cast.x.rank = 1, RANK, "y", 2, 1);
    BESIDE(CAST_WIDE, a.cast.x.rank = 3; a.cast.x.shape[2] = 1, RANK, "y", 2, 3);
    BESIDE(CAST_WIDE, a.cast.x.shape[0] = 0, SHAPE, "y", 4, 0);
    BESIDE(CAST_WIDE, a.cast.y.shape[1] = 0, SHAPE, "y", 0, 24);

    for (d = -1; d <= 1; d += 2) {
        BESIDE(FNUZ, a.fnuz.x.shape[0] += d, SHAPE, "y", 4, 4 + d);
        BESIDE(FNUZ, a.fnuz.x.shape[1] += d; a.fnuz.x.stride[0] = 99, SHAPE, "y", 64, 64 + d);
        BESIDE(FNUZ, a.fnuz.y.shape[0] += d, SHAPE, "y", 4 + d, 4);
        BESIDE(FNUZ, a.fnuz.y.shape[1] += d; a.fnuz.y.stride[0] = 99, SHAPE, "y", 64 + d, 64);
        BESIDE(FNUZ, a.fnuz.scale.shape[0] += d, SHAPE, "scale_out", 4, 4 + d);
        BESIDE(FNUZ, a.fnuz.scale.shape[1] += d, SHAPE, "scale_out", 2, 2 + d);
        BESIDE(FNUZ, a.fnuz.scale_out.shape[0] += d, SHAPE, "scale_out", 4 + d, 4);
        BESIDE(FNUZ, a.fnuz.scale_out.shape[1] += d, SHAPE, "scale_out", 2 + d, 2);

        for (i = QUANTIZE; i <= QUANTIZE_STATIC; i++) {
            BESIDE(i, a.quant.x.shape[0] += d, SHAPE, "q", 4, 4 + d);
            BESIDE(i, a.quant.x.shape[1] += d; a.quant.x.stride[0] = 299, SHAPE, "q", 256, 256 + d);
            BESIDE(i, a.quant.q.shape[0] += d, SHAPE, "q", 4 + d, 4);
            BESIDE(i, a.quant.q.shape[1] += d; a.quant.q.stride[0] = 299, SHAPE, "q", 256 + d, 256);
            BESIDE(i, a.quant.scale.shape[0] += d, SHAPE, "scale", 4 + d, 4);
            BESIDE(i, a.quant.scale.shape[1] += d, SHAPE, "scale", 2 + d, 2);
        }
        BESIDE(DEQUANTIZE, a.dequant.q.shape[0] += d, SHAPE, "scale", 4, 4 + d);
        BESIDE(DEQUANTIZE, a.dequant.scale.shape[0] += d, SHAPE, "scale", 4 + d, 4);
        BESIDE(DEQUANTIZE, a.dequant.scale.shape[1] += d, SHAPE, "scale", 2 + d, 2);
        BESIDE(DEQUANTIZE, a.dequant.y.shape[0] += d, SHAPE, "y", 4 + d, 4);
        BESIDE(DEQUANTIZE, a.dequant.y.shape[1] += d; a.dequant.y.stride[0] = 299, SHAPE, "y",
               256 + d, 256);
        for (i = SCALE_ROWS; i <= SCALE_UNTILES; i++) {
            BESIDE(i, a.scale.x.shape[0] += d, SHAPE, "y", 4, 4 + d);
            BESIDE(i, a.scale.y.shape[0] += d, SHAPE, "y", 4 + d, 4);
        }
        BESIDE(SCALE_ROWS, a.scale.x.shape[1] += d, SHAPE, "y", 6, 6 + d);
        BESIDE(SCALE_ROWS, a.scale.y.shape[1] += d, SHAPE, "y", 6 + d, 6);
        BESIDE(SCALE_TILES, a.scale.y.shape[1] += d, SHAPE, "y", 6 + d, 6);
        BESIDE(SCALE_UNTILES, a.scale.x.shape[1] += d, SHAPE, "y", 6, 6 + d);
        BESIDE(SCALE_WORDS, a.scale.y.shape[0] += d, SHAPE, "y", 2 + d, 2);
        BESIDE(SCALE_WORDS, a.scale.y.shape[1] += d; a.scale.y.stride[2] = 20, SHAPE, "y", 4 + d,
               4);
        BESIDE(SCALE_WORDS, a.scale.y.shape[2] += d, SHAPE, "y", 6 + d, 6);
    }
    BESIDE(DEQUANTIZE, a.dequant.q.shape[1] = 257; a.dequant.q.stride[0] = 257, SHAPE, "scale",
           2, 3);
    BESIDE(DEQUANTIZE, a.dequant.q.shape[1] = 255, SHAPE, "y", 256, 255);
    BESIDE(SCALE_ROWS, a.scale.x.rank = 3; a.scale.x.shape[2] = 1, RANK, "y", 2, 3);
}

static void a_type_that_does_not_fit_the_others_is_refused(void)
{
    int i;
    start();
    BESIDE(FNUZ, a.fnuz.x.dtype = VQ_E4M3FNUZ, TYPE, "y", VQ_E4M3FNUZ, IS(VQ_E4M3FN));
    BESIDE(FNUZ, a.fnuz.x.dtype = VQ_E5M2, TYPE, "y", VQ_E4M3FNUZ, IS(VQ_E5M2FNUZ));
    BESIDE(FNUZ, a.fnuz.x.dtype = VQ_E5M2FNUZ, TYPE, "y", VQ_E4M3FNUZ, IS(VQ_E5M2));
    BESIDE(FNUZ, a.fnuz.scale.dtype = VQ_F16, TYPE, "scale_out", VQ_F32, IS(VQ_F16));
    BESIDE(FNUZ, a.fnuz.scale.dtype = VQ_BF16, TYPE, "scale_out", VQ_F32, IS(VQ_BF16));
    BESIDE(FNUZ, a.fnuz.scale.dtype = VQ_E8M0, TYPE, "scale_out", VQ_F32, IS(VQ_E8M0));
    for (i = 1; i < VQ_DTYPE_COUNT; i++) {
        if ((PACKED | COUNTS) >> i & 1) continue;
        if (i != VQ_F32)
            BESIDE(SCALE_ROWS, a.scale.x.dtype = (vq_dtype)i, TYPE, "y", VQ_F32, IS(i));
        if (i != VQ_E8M0)
            BESIDE(SCALE_TILES, a.scale.x.dtype = (vq_dtype)i, TYPE, "y", VQ_E8M0, IS(i));
        if (i != VQ_UE4M3 && vq_dtype_bits((vq_dtype)i) == 8)
            BESIDE(SCALE_UNTILES, a.scale.x.dtype = (vq_dtype)i, TYPE, "y", VQ_UE4M3, IS(i));
    }
}

static void a_value_out_of_range_is_refused(void)
{
    static const int beyond[] = { VQ_OVERFLOW_COUNT, 3, 100, INT_MAX, -1 };
    int i;
    start();
    for (i = 0; i < COUNT(beyond); i++) {
        BESIDE(CAST_WIDE, a.cast.overflow = (vq_overflow)beyond[i], VALUE, "overflow", beyond[i],
               VQ_NONFINITE);
        BESIDE(CAST_TO4, a.cast.overflow = (vq_overflow)beyond[i], VALUE, "overflow", beyond[i],
               VQ_NONFINITE);
        BESIDE(FNUZ, a.fnuz.overflow = (vq_overflow)beyond[i], VALUE, "overflow", beyond[i],
               VQ_NONFINITE);
    }
}

/* --- policies ---------------------------------------------------------------- */

static void a_policy_that_means_nothing_is_refused(void)
{
    static const uint32_t unknown[] = { 0x10, 0x80, 0x11, 0x80000000u, 0xffffffffu, 0x12345670 };
    static const char *const names[] = { "nosuch", "", "GPU", "reference ", "none" };
    int i, k;
    start();
    for (k = 0; k < COUNT(subjects); k++) {
        for (i = 0; i < COUNT(unknown); i++)
            BESIDE(k, a.call.policy.forbid = unknown[i], VALUE, "policy.forbid", unknown[i], 15);
        for (i = 0; i < COUNT(names); i++) {
            any a = good(&subjects[k]);
            a.call.policy.only = names[i];
            refuses_with(&subjects[k], a, 1, VQ_GUARD_NAME, "policy.only", names[i], 0, 0, 0,
                         "no such implementation");
        }
    }
}

static void a_policy_that_forbids_names_its_rule(void)
{
    int k;
    start();
    for (k = 0; k < COUNT(subjects); k++) {
        const subject *s = &subjects[k];
        any a = good(s);
        a.call.policy.forbid = VQ_FORBID_REFERENCE;
        refuses_with(s, a, 1, VQ_GUARD_POLICY, "it", "no reference", VQ_FORBID_REFERENCE, 0, 0,
                     "forbid");
        a.call.policy.forbid = 15;
        refuses_with(s, a, 1, VQ_GUARD_POLICY, "it", "no reference", VQ_FORBID_REFERENCE, 0, 0,
                     "forbid all");
        a.call.policy.forbid = 0;
        a.call.policy.only = "gpu";
        refuses_with(s, a, 1, VQ_GUARD_KERNEL, "the kernel", "", 0, 0, 0, "only gpu");
        a.call.policy.only = "reference";
        a.call.policy.forbid = 15 & ~VQ_FORBID_REFERENCE;
        CHECK(call(s, &a) == VQ_OK);
        memcpy(room, before, sizeof room);
    }
}

/* --- pointers ------------------------------------------------------------------ */

static void no_data(const subject *s, const part *p)
{
    any a = good(s);
    tensor(&a, p)->data = NULL;
    refuses_with(s, a, 0, VQ_GUARD_PRESENT, p->name, "", 0, 0, 0, "data = NULL");
}

static void a_tensor_without_data_is_refused(void) { each(no_data); }

/* The bytes of the outputs after a call that has to work; what lies around them stays. */
static void works(const subject *s, any *a, uint8_t out[4][ROOM], const char *what)
{
    vq_report r;
    int i;
    memset(&r, 0x5a, sizeof r);
    a->call.report = &r;
    CHECKF(call(s, a) == VQ_OK, "%s: %s: %s", s->name, what, r.text);
    CHECK(r.op != s->op_name && r.found == 0x5a5a5a5a5a5a5a5a);      /* nobody wrote a report */
    for (i = 0; i < s->parts; i++) {
        const part *p = &s->part[i];
        const uint8_t *data = (const uint8_t *)tensor(a, p)->data;
        size_t at = (size_t)(data - room), n = (size_t)p->bytes;
        if (!p->out) continue;
        CHECKF(memcmp(data, before + at, n), "%s: %s: %s is as before", s->name, what, p->name);
        memcpy(out[i], data, n);
        memcpy(room + at, before + at, n);
    }
    untouched(s, "around", what);
}

static void every_overlap_of_an_output_is_refused(void)
{
    int k, i, j, d;
    start();
    for (k = 0; k < COUNT(subjects); k++) {
        const subject *s = &subjects[k];
        uint8_t out[4][ROOM];
        for (i = 0; i < s->parts; i++)
            for (j = 0; j < s->parts; j++) {
                const part *p = &s->part[i], *o = &s->part[j];
                const int mine = p->out && (i > j || !o->out);  /* an output's fault, a later one's */
                const char *arg = mine ? p->name : o->name, *other = mine ? o->name : p->name;
                const int at[] = { 0, 1, -1, o->bytes / 2, o->bytes - 1, 1 - p->bytes };
                if (i == j || (!p->out && !o->out)) continue;
                for (d = 0; d < COUNT(at); d++) {            /* p's first byte, from o's */
                    any a = good(s);
                    int twins = p->twin == j || o->twin == i;
                    if (at[d] == 0 && twins) continue;
                    tensor(&a, p)->data = (uint8_t *)tensor(&a, o)->data + at[d];
                    refuses_with(s, a, 0, VQ_GUARD_OVERLAP, arg, other, 0, 0, 0,
                                 "data = another's");
                }
                for (d = 0; d < 2; d++) {                    /* next to one another */
                    any a = good(s);
                    tensor(&a, p)->data = (uint8_t *)tensor(&a, o)->data
                                        + (d ? o->bytes : -p->bytes);
                    works(s, &a, out, "side by side");
                }
            }
    }
}

static void an_output_may_be_its_twin_where_the_views_are_the_same(void)
{
    int k, i;
    start();
    for (k = 0; k < COUNT(subjects); k++) {
        const subject *s = &subjects[k];
        uint8_t out[4][ROOM], in_place[4][ROOM];
        any a = good(s);
        vq_tensor *t, *o;
        works(s, &a, out, "apart");
        for (i = 0; i < s->parts; i++) {
            const part *p = &s->part[i];
            if (p->twin < 0) continue;
            a = good(s);
            t = tensor(&a, p);
            o = tensor(&a, &s->part[p->twin]);
            t->data = o->data;
            works(s, &a, in_place, "in place");
            CHECKF(!memcmp(out[i], in_place[i], (size_t)p->bytes), "%s: %s", s->name, p->name);
            t->stride[0] += 1;
            refuses_with(s, a, 0, VQ_GUARD_OVERLAP, p->name, s->part[p->twin].name, 0, 0, 0,
                         "stride[0] += 1, in place");
            t->stride[0] -= 1;
            o->stride[0] += 2;
            refuses_with(s, a, 0, VQ_GUARD_OVERLAP, p->name, s->part[p->twin].name, 0, 0, 0,
                         "its twin's stride[0] += 2, in place");
        }
    }
    {   /* one buffer, two widths: no twin */
        any a = good(&subjects[CAST_BYTES]);
        a.cast.y.dtype = VQ_F16;
        a.cast.y.data = a.cast.x.data;
        refuses_with(&subjects[CAST_BYTES], a, 0, VQ_GUARD_OVERLAP, "y", "x", 0, 0, 0, "wider");
    }
}

/* --- what is odd and right ------------------------------------------------------ */

static void managed_memory_gives_the_same_bytes(void)
{
    uint8_t host[4][ROOM], managed[4][ROOM];
    int k, i, mask;
    start();
    for (k = 0; k < COUNT(subjects); k++) {
        const subject *s = &subjects[k];
        any a = good(s);
        works(s, &a, host, "host");
        for (mask = 1; mask < 1 << s->parts; mask++) {
            a = good(s);
            for (i = 0; i < s->parts; i++)
                if (mask >> i & 1) tensor(&a, &s->part[i])->where = VQ_MANAGED;
            works(s, &a, managed, "managed");
            for (i = 0; i < s->parts; i++)
                if (s->part[i].out)
                    CHECKF(!memcmp(host[i], managed[i], (size_t)s->part[i].bytes), "%s: %s",
                           s->name, s->part[i].name);
        }
    }
}

static void no_alignment_changes_a_byte(void)
{
    uint8_t even[4][ROOM], odd[4][ROOM];
    int k, i, by;
    start();
    for (k = 0; k < COUNT(subjects); k++) {
        const subject *s = &subjects[k];
        any a = good(s);
        works(s, &a, even, "aligned");
        for (by = 1; by < 8; by++) {
            a = good(s);
            for (i = 0; i < s->parts; i++) {
                vq_tensor *t = tensor(&a, &s->part[i]);
                uint8_t *to = (uint8_t *)t->data + by * (i + 1) % 8;
                memmove(to, t->data, (size_t)s->part[i].bytes);
                t->data = to;
            }
            memcpy(before, room, sizeof room);
            works(s, &a, odd, "misaligned");
            for (i = 0; i < s->parts; i++)
                if (s->part[i].out)
                    CHECKF(!memcmp(even[i], odd[i], (size_t)s->part[i].bytes), "%s: %s by %d",
                           s->name, s->part[i].name, by);
            for (i = 0; i < s->parts; i++) {
                vq_tensor *t = tensor(&a, &s->part[i]);
                memmove((uint8_t *)t->data - by * (i + 1) % 8, t->data, (size_t)s->part[i].bytes);
            }
            memcpy(before, room, sizeof room);
        }
    }
}

static void inputs_may_share_memory_and_repeat_elements(void)
{
    uint8_t out[4][ROOM];
    any a;
    start();
    a = good(&subjects[FNUZ]);
    a.fnuz.scale.data = a.fnuz.x.data;
    works(&subjects[FNUZ], &a, out, "scale in x");
    a.fnuz.scale.stride[0] = a.fnuz.scale.stride[1] = 1;
    works(&subjects[FNUZ], &a, out, "scale repeats");
    a = good(&subjects[QUANTIZE_STATIC]);
    a.quant.scale.data = (uint8_t *)a.quant.x.data + 3;
    works(&subjects[QUANTIZE_STATIC], &a, out, "scale in x");
    a = good(&subjects[DEQUANTIZE]);
    a.dequant.scale.data = a.dequant.q.data;
    a.dequant.scale.stride[0] = 1;
    works(&subjects[DEQUANTIZE], &a, out, "scale in q, repeats");
    a = good(&subjects[CAST_WIDE]);
    a.cast.x.stride[0] = 1;
    works(&subjects[CAST_WIDE], &a, out, "x repeats");
    a = good(&subjects[SCALE_ROWS]);
    a.scale.x.stride[0] = 1;
    CHECK(call(&subjects[SCALE_ROWS], &a) == VQ_OK);
    memcpy(room, before, sizeof room);
}

static void an_extent_of_zero_needs_no_data_and_writes_nothing(void)
{
    int k, i, d;
    start();
    for (k = 0; k < COUNT(subjects); k++)
        for (d = 0; d < 2; d++) {
            const subject *s = &subjects[k];
            any a = good(s);
            vq_report r = VQ_ZERO;
            for (i = 0; i < s->parts; i++) {
                vq_tensor *t = tensor(&a, &s->part[i]);
                int dim = t->rank - 2 + d;
                t->data = NULL;
                t->shape[dim] = 0;
                if (d && !strcmp(s->part[i].name, "scale") && s->op != VQ_OP_FNUZ_NORMALIZE)
                    t->shape[1] = 0;
            }
            a.call.report = &r;
            CHECKF(call(s, &a) == VQ_OK, "%s: %s", s->name, r.text);
            untouched(s, "shape", "= 0");
        }
}

/* --- without a context, without arguments --------------------------------------- */

static void missing_args_and_contexts_are_refused(void)
{
    int k;
    start();
    for (k = 0; k < COUNT(subjects); k++) {
        const subject *s = &subjects[k];
        any a = good(s);
        vq_report r;
        vq_choice c;
        int n = 5;
        memset(&r, 0x5a, sizeof r);
        a.call.report = &r;
        CHECK(call_on(NULL, s, &a) == VQ_BAD_ARG && r.status == VQ_BAD_ARG);
        CHECKF(r.guard == VQ_GUARD_PRESENT && !strcmp(r.arg, "ctx") && !r.kind
               && !strcmp(r.text, "ctx is missing") && !r.found && !r.needed, "%s: %s", s->name,
               r.text);
        CHECK(call_on(cpu, s, NULL) == VQ_BAD_ARG && call_on(NULL, s, NULL) == VQ_BAD_ARG);
        CHECK(vq_plan(cpu, s->op, NULL, &c) == VQ_BAD_ARG);
        CHECK(vq_plan(NULL, s->op, &a, &c) == VQ_BAD_ARG && !strcmp(r.arg, "ctx"));
        CHECK(vq_plan(cpu, s->op, &a, NULL) == VQ_BAD_ARG && !strcmp(r.arg, "out")
              && r.guard == VQ_GUARD_PRESENT && !strcmp(r.op, s->op_name));
        CHECK(vq_explain(NULL, s->op, &a, &r, 1, &n) == VQ_BAD_ARG && n == 0);
        CHECK(vq_explain(cpu, s->op, NULL, NULL, 0, &n) == VQ_BAD_ARG && n == 0);
        CHECK(vq_explain(cpu, s->op, &a, NULL, 0, NULL) == VQ_BAD_ARG && !strcmp(r.arg, "count"));
        CHECK(vq_explain(cpu, s->op, &a, NULL, 1, &n) == VQ_BAD_ARG && !strcmp(r.arg, "rows"));
        CHECK(n == 0);
        CHECK(vq_plan(cpu, s->op, &a, &c) == VQ_OK);
        CHECK(vq_run(NULL, &c, &a) == VQ_BAD_ARG && !strcmp(r.arg, "ctx"));
        CHECK(vq_run(cpu, NULL, &a) == VQ_BAD_ARG && !strcmp(r.arg, "choice"));
        CHECK(vq_run(cpu, &c, NULL) == VQ_BAD_ARG);
        memset(&c, 0, sizeof c);                             /* what no plan filled */
        CHECK(vq_run(cpu, &c, &a) == VQ_BAD_ARG && !strcmp(r.arg, "choice"));
        a.call.report = NULL;
        CHECK(call_on(NULL, s, &a) == VQ_BAD_ARG && vq_run(cpu, NULL, &a) == VQ_BAD_ARG);
        untouched(s, "call", "missing");
    }
}

static void an_op_that_is_none_is_refused(void)
{
    static const int ops[] = { VQ_OP_NONE, VQ_OP_COUNT, 99, INT_MAX, -1 };
    int i, n;
    start();
    for (i = 0; i < COUNT(ops); i++) {
        any a = good(&subjects[QUANTIZE]);
        vq_report r;
        vq_choice c;
        a.call.report = &r;
        memset(&r, 0x5a, sizeof r);
        CHECK(vq_plan(cpu, (vq_op)ops[i], &a, &c) == VQ_BAD_ARG);
        CHECKF(r.guard == VQ_GUARD_VALUE && !strcmp(r.arg, "op") && r.kind == 'n'
               && (int)r.found == ops[i] && r.needed == VQ_OP_COUNT - 1, "%d: %s", ops[i], r.text);
        memset(&r, 0x5a, sizeof r);
        n = 3;
        CHECK(vq_explain(cpu, (vq_op)ops[i], &a, NULL, 0, &n) == VQ_BAD_ARG && n == 0);
        CHECKF(r.guard == VQ_GUARD_VALUE && !strcmp(r.arg, "op"), "%s", r.text);
        untouched(&subjects[QUANTIZE], "op", "unknown");
    }
}

/* --- keys ----------------------------------------------------------------------- */

static const subject *key_subject[] = { &subjects[QUANTIZE], &subjects[DEQUANTIZE] };

static vq_key *key_of(const subject *s, any *a)
{
    return s->op == VQ_OP_QUANT ? &a->quant.key : &a->dequant.key;
}

#define KEY_AS(edit, guard, found, needed, arg, nearby) do { \
    int one_; \
    for (one_ = 0; one_ < 2; one_++) { \
        any a = good(key_subject[one_]); \
        vq_key *k = key_of(key_subject[one_], &a); \
        edit; \
        refuses_with(key_subject[one_], a, 1, VQ_GUARD_##guard, arg, "", found, needed, nearby, \
                     #edit); \
    } } while (0)
#define KEY(edit, found, needed, field) KEY_AS(edit, KEY, found, needed, "key." field, needed)

static int64_t bits(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }

static void a_key_that_contradicts_itself_is_refused(void)
{
    const int elems = FP8S | PACKED | IS(VQ_INT8) | IS(VQ_UINT8);
    const int types = WIDES | IS(VQ_E8M0) | IS(VQ_UE4M3);
    const int pow2 = IS(VQ_SCALE_FLOOR) | IS(VQ_SCALE_EXP) | IS(VQ_SCALE_CEIL) | IS(VQ_SCALE_RCEIL)
                   | IS(VQ_SCALE_TRUNC) | IS(VQ_SCALE_EVEN);
    const int rules = pow2 | IS(VQ_SCALE_DIV) | IS(VQ_SCALE_INV) | IS(VQ_SCALE_RECIP);
    const int codes = IS(VQ_CODE_DIV) | IS(VQ_CODE_INV) | IS(VQ_CODE_INV0) | IS(VQ_CODE_AMAX);
    float nan;
    uint32_t u = 0x7fc00000;
    memcpy(&nan, &u, 4);
    start();
    KEY(memset(k, 0, sizeof *k), 0, elems, "elem");
    KEY(k->elem = VQ_F32, VQ_F32, elems, "elem");
    KEY(k->elem = VQ_E8M0, VQ_E8M0, elems, "elem");
    KEY(k->elem = (vq_dtype)99, 99, elems, "elem");
    KEY(k->flags = VQ_KEY_ASYMMETRIC, VQ_E4M3FN,
        IS(VQ_INT8) | IS(VQ_UINT8) | IS(VQ_INT4) | IS(VQ_UINT4), "elem");
    KEY(k->scale_type = VQ_NONE, 0, types, "scale_type");
    KEY(k->scale_type = VQ_INT8, VQ_INT8, types, "scale_type");
    KEY(k->scale_type = VQ_E4M3FN, VQ_E4M3FN, types, "scale_type");
    KEY(k->scale_type = (vq_dtype)40, 40, types, "scale_type");
    KEY(k->code_max = 0, bits(0), bits(448), "code_max");
    KEY(k->code_max = -448, bits(-448.0f), bits(448), "code_max");
    KEY(k->code_max = nan, bits(nan), bits(448), "code_max");
    KEY(k->code_max = 449, bits(449.0f), bits(448), "code_max");
    KEY(k->code_max = 1e30f, bits(1e30f), bits(448), "code_max");
    KEY(k->elem = VQ_INT8; k->code_max = 126.5f, bits(126.5f), bits(127), "code_max");
    KEY(k->group_rows = 0, 0, 1, "group_rows");
    KEY(k->group_rows = -2, -2, 1, "group_rows");
    KEY(k->group_rows = INT32_MIN, INT32_MIN, 1, "group_rows");
    KEY(k->group_rows = (1 << 24) + 1, (1 << 24) + 1, 1 << 24, "group_rows");
    KEY(k->group_cols = 0, 0, 1, "group_cols");
    KEY(k->group_cols = -128, -128, 1, "group_cols");
    KEY(k->group_cols = INT32_MAX, INT32_MAX, 1 << 24, "group_cols");
    KEY(k->flags = 8, 8, 0, "flags");
    KEY(k->flags = 0x80000004u, 0x80000004u, 4, "flags");
    KEY(k->flags = VQ_KEY_STATIC, VQ_SCALE_INV, IS(VQ_SCALE_GIVEN), "scale_rule");
    KEY(k->scale_rule = VQ_SCALE_GIVEN, VQ_SCALE_GIVEN, rules, "scale_rule");
    KEY(k->scale_rule = VQ_SCALE_RANGE, VQ_SCALE_RANGE, rules, "scale_rule");
    KEY(k->scale_rule = VQ_SCALE_RULE_COUNT, VQ_SCALE_RULE_COUNT, rules, "scale_rule");
    KEY(k->scale_rule = (vq_scale_rule)33, 33, rules, "scale_rule");
    KEY(k->scale_type = VQ_E8M0, VQ_SCALE_INV, pow2, "scale_rule");
    KEY(k->scale_type = VQ_UE4M3; k->scale_rule = VQ_SCALE_RECIP, VQ_SCALE_RECIP,
        IS(VQ_SCALE_DIV) | IS(VQ_SCALE_INV), "scale_rule");
    KEY(k->code_rule = VQ_CODE_RATIO, VQ_CODE_RATIO, codes, "code_rule");
    KEY(k->code_rule = VQ_CODE_DIV_TRUNC, VQ_CODE_DIV_TRUNC, codes, "code_rule");
    KEY(k->code_rule = VQ_CODE_AMAX_AWAY, VQ_CODE_AMAX_AWAY, codes, "code_rule");
    KEY(k->code_rule = (vq_code_rule)77, 77, codes, "code_rule");
    KEY(k->arith = VQ_NONE, 0, IS(VQ_F32) | IS(VQ_BF16), "arith");
    KEY(k->arith = VQ_F16, VQ_F16, IS(VQ_F32) | IS(VQ_BF16), "arith");
    KEY(k->bound_kind = VQ_BOUND_COUNT, VQ_BOUND_COUNT, VQ_BOUND_COUNT - 1, "bound_kind");
    KEY(k->floor_kind = VQ_FLOOR_COUNT, VQ_FLOOR_COUNT, VQ_FLOOR_COUNT - 1, "floor_kind");
    KEY(k->scale2_kind = VQ_SCALE2_COUNT, VQ_SCALE2_COUNT, VQ_SCALE2_COUNT - 1, "scale2_kind");
    KEY(k->nan_rule = VQ_NAN_COUNT, VQ_NAN_COUNT, VQ_NAN_COUNT - 1, "nan_rule");
    KEY(k->overflow = VQ_OVERFLOW_COUNT, VQ_OVERFLOW_COUNT, VQ_OVERFLOW_COUNT - 1, "overflow");
    KEY(k->reserved = 1, 1, 0, "reserved");
    KEY(k->floor_kind = VQ_FLOOR_RAW, VQ_FLOOR_RAW, VQ_FLOOR_SCALE, "floor_kind");
    KEY(k->floor_kind = VQ_FLOOR_NONE, bits(1e-10f), 0, "floor_value");
    KEY(k->floor_value = 0, 0, 1, "floor_value");
    KEY(k->floor_value = -1, bits(-1), 1, "floor_value");
    KEY(k->floor_value = nan, bits(nan), 1, "floor_value");
    KEY(k->flags = VQ_KEY_STATIC; k->scale_rule = VQ_SCALE_GIVEN, VQ_FLOOR_AMAX, VQ_FLOOR_NONE,
        "floor_kind");
    KEY(k->flags = VQ_KEY_STATIC; k->scale_rule = VQ_SCALE_GIVEN; k->bound_kind = VQ_BOUND_SCALE,
        VQ_BOUND_SCALE, VQ_BOUND_NONE, "bound_kind");
}

static void a_key_that_contradicts_the_tensors_is_refused(void)
{
    static const char *const codes_of[] = { "x", "q" };
    int i;
    start();
    KEY_AS(k->elem = VQ_E5M2, TYPE, VQ_E4M3FN, IS(VQ_E5M2), "q", IS(VQ_E5M2));
    KEY_AS(k->elem = VQ_E4M3FNUZ; k->code_max = 224, TYPE, VQ_E4M3FN, IS(VQ_E4M3FNUZ), "q",
           IS(VQ_E4M3FNUZ));
    KEY_AS(k->scale_type = VQ_F16, TYPE, VQ_F32, IS(VQ_F16), "scale", IS(VQ_F16));
    KEY_AS(k->group_cols = 64, SHAPE, 2, 4, "scale", 4);
    KEY_AS(k->group_cols = -1, SHAPE, 2, 1, "scale", 1);
    KEY_AS(k->group_cols = 129; k->group_rows = 2, SHAPE, 4, 2, "scale", 2);
    KEY_AS(k->group_rows = -1, SHAPE, 4, 1, "scale", 1);
    KEY_AS(k->group_rows = 1 << 24, SHAPE, 4, 1, "scale", 1);
    for (i = 0; i < 2; i++) {                                /* whole groups, please */
        const subject *s = key_subject[i];
        any a = good(s);
        vq_key *k = key_of(s, &a);
        k->flags = VQ_KEY_NO_TAIL;
        k->group_cols = 100;
        refuses_with(s, a, 1, VQ_GUARD_SHAPE, codes_of[i], "", 256, 300, 300, "256 by 100");
        k->group_cols = 120;
        refuses_with(s, a, 1, VQ_GUARD_SHAPE, codes_of[i], "", 256, 360, 240, "256 by 120");
        k->group_rows = 3;
        refuses_with(s, a, 1, VQ_GUARD_SHAPE, codes_of[i], "", 4, 6, 3, "4 by 3");
        k->group_rows = 1 << 24;
        refuses_with(s, a, 1, VQ_GUARD_SHAPE, codes_of[i], "", 4, 1 << 24, 1 << 24, "4 by 2^24");
    }
}

VQ_TEST_MAIN(
    T(a_tensor_that_is_missing_or_of_another_rank_is_refused),
    T(a_tensor_of_another_type_is_refused),
    T(a_tensor_in_another_place_is_refused),
    T(a_tensor_of_another_layout_is_refused),
    T(a_size_that_cannot_be_is_refused),
    T(a_stride_that_cannot_stand_is_refused),
    T(batches_and_vectors_are_checked_alike),
    T(an_extent_that_does_not_fit_the_others_is_refused),
    T(a_type_that_does_not_fit_the_others_is_refused),
    T(a_value_out_of_range_is_refused),
    T(a_policy_that_means_nothing_is_refused),
    T(a_policy_that_forbids_names_its_rule),
    T(a_tensor_without_data_is_refused),
    T(every_overlap_of_an_output_is_refused),
    T(an_output_may_be_its_twin_where_the_views_are_the_same),
    T(managed_memory_gives_the_same_bytes),
    T(no_alignment_changes_a_byte),
    T(inputs_may_share_memory_and_repeat_elements),
    T(an_extent_of_zero_needs_no_data_and_writes_nothing),
    T(missing_args_and_contexts_are_refused),
    T(an_op_that_is_none_is_refused),
    T(a_key_that_contradicts_itself_is_refused),
    T(a_key_that_contradicts_the_tensors_is_refused))
