/* differ.h - any op, under arguments that are made up, on the reference and in kernels

   Knows ops by vq_op_fields() alone: reports of vq_plan() say what is wrong with arguments, and it
   is put right until the plan stands. So an op that is new, or a row, is tested without new code.

   Every tensor lies in a block of its own, between bytes that must stay as they are, or against a
   page that may not be touched. After a call the blocks of the kernels and of the reference are the
   same, gaps included, but that a NaN of 16 or 32 bits may be any quiet one. And every byte that a
   kernel so much as read belongs to an element, or to padding that a layout defines; of a kernel
   library without the stand-in that is not known, and not asked. */
#ifndef DIFFER_H_INCLUDED
#define DIFFER_H_INCLUDED

#include <dlfcn.h>
#include <stdarg.h>
#include "standin.h"
#include "../vq_test.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

enum { ANY = -1, TENSORS = 16 };

/* What a case is to be; ANY: as it comes. */
typedef struct wish {
    int       op, key, impl;                   /* key: a vq_key_id, or ANY; impl: which GPU row */
    vq_key    of;                              /* where has_key: this one */
    int       has_key;
    int64_t   rows, cols;
    int       type;                            /* of the floats */
    int       in, out;                         /* of the first input, of the first output */
    int       character;                       /* of the data: see fill() */
    int       aligned, tight, gaps;            /* starts at 16 bytes; ends at the wall; strides */
} wish;

static wish anything(void)
{
    wish w;
    memset(&w, 0, sizeof w);
    w.op = w.key = w.type = w.in = w.out = w.character = w.aligned = w.tight = w.gaps = ANY;
    w.rows = w.cols = ANY;
    return w;
}

typedef struct view {
    const vq_field *field;
    vq_tensor      *t;                         /* in args */
    int             reads, writes, block;
    int64_t         bytes;
} view;

typedef struct block { char *host, *want, *device; size_t bytes, at; uint8_t *use; } block;

typedef struct machine { vq_ctx *vq; const standin *in; const char *path; } machine;

static vq_ctx        *cpu;
static machine        gpus[4];
static int            gpu_count;
static uint64_t       args[512];
static const vq_field *fields;
static int            field_count, view_count, block_count;
static view           views[TENSORS];
static block          blocks[TENSORS];
static vq_op          op;
static const char    *impl;
static vq_report      why;
static long           ran[VQ_OP_COUNT], compared;
static int            wrong;                   /* complaints of the case at work */
static char           result[4096], want_result[4096];
static char           how[64];                 /* what is set in the machine at work */

static const size_t args_size[] = {
    0,
#define X(ID, name) sizeof(vq_##name##_args),
    VQ_OPS(X)
#undef X
};

static vq_call *call_of(void *a) { return (vq_call *)a; }
static char *at_field(int i) { return (char *)args + fields[i].offset; }

/* --- telling ----------------------------------------------------------------------- */

static void describe(void)
{
    int i, k;
    printf("\n    %s, %s, %s\n", vq_op_str(op), impl ? impl : "reference", how);
    for (i = 0; i < field_count; i++) {
        const char *p = at_field(i);
        const vq_tensor *t = (const vq_tensor *)(const void *)p;
        char text[160];
        float f;
        int n;
        memcpy(&f, p, sizeof f);
        memcpy(&n, p, sizeof n);
        printf("      %-10s ", fields[i].name);
        switch (fields[i].kind) {
        case VQ_FIELD_KEY:
            vq_key_print((const vq_key *)(const void *)p, text, sizeof text);
            puts(text);
            break;
        case VQ_FIELD_FLOAT:  printf("%a\n", (double)f); break;
        case VQ_FIELD_RESULT: puts("..."); break;
        case VQ_FIELD_IN: case VQ_FIELD_OUT: case VQ_FIELD_MADE: case VQ_FIELD_INOUT:
        case VQ_FIELD_BOTH:
            if (!t->rank) { puts("absent"); break; }
            printf("%s %s [", vq_dtype_str(t->dtype), vq_layout_str(t->layout));
            for (k = 0; k < t->rank; k++) printf(" %lld", (long long)t->shape[k]);
            printf(" ] strides [");
            for (k = 0; k < t->rank; k++) printf(" %lld", (long long)t->stride[k]);
            printf(" ] %lld bytes", (long long)vq_tensor_bytes(*t));
            for (k = 0; k < view_count; k++)
                if (views[k].t == t && blocks[views[k].block].use)
                    printf(", block %d of %lld from %lld", views[k].block,
                           (long long)blocks[views[k].block].bytes,
                           (long long)blocks[views[k].block].at);
            puts("");
            break;
        default: printf("%d\n", n);
        }
    }
}

static void complain(const char *fmt, ...)
{
    va_list list;
    if (!wrong++) describe();
    if (wrong > 8) return;
    va_start(list, fmt);
    printf("    ");
    vprintf(fmt, list);
    puts("");
    va_end(list);
    t_failed++;
}

static void hear_fault(const char *text)
{
    describe();
    printf("    %s    repeat with --seed %llu\n", text, (unsigned long long)t_seed);
    fflush(stdout);
}

/* --- machines ---------------------------------------------------------------------- */

static char machine_log[2048];
static void hear_log(void *user, const char *line)
{
    (void)user;
    strncat(machine_log, line, sizeof machine_log - strlen(machine_log) - 2);
    strcat(machine_log, "\n");
}

/* A stand-in library: a context on it, and what a test may ask of it. 0: it is not there. */
static int add_machine(const char *path)
{
    machine *g = &gpus[gpu_count];
    vq_desc d = VQ_ZERO;
    standin_control_fn control;
    void *lib, *symbol;
    d.backend = VQ_HIP;
    d.library = path;
    d.log = hear_log;
    machine_log[0] = 0;
    if (vq_init(&d, &g->vq) != VQ_OK) { printf("%s: %s", path, machine_log); return 0; }
    lib = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    symbol = lib ? dlsym(lib, "standin_control") : NULL;
    if (!symbol) { printf("%s is no stand-in\n", path); return 0; }
    memcpy(&control, &symbol, sizeof control);
    g->in = control();
    g->in->hear(hear_fault);
    g->path = path;
    gpu_count++;
    return 1;
}

static int start_machines(const char *one, const char *two)
{
    vq_desc d = VQ_ZERO;
    if (gpu_count) return 1;
    d.backend = VQ_CPU;
    return vq_init(&d, &cpu) == VQ_OK && add_machine(one) && (!two || add_machine(two));
}

static void stop_machines(void)
{
    while (gpu_count) vq_free(gpus[--gpu_count].vq);
    vq_free(cpu);
}

/* --- arguments that the plan takes ------------------------------------------------- */

static int one_in(uint32_t n) { return t_rand() % n == 0; }
static int64_t below(int64_t n) { return n > 0 ? (int64_t)(t_rand() % (uint64_t)n) : 0; }

static int is_tensor(vq_field_kind k)
{
    return k == VQ_FIELD_IN || k == VQ_FIELD_OUT || k == VQ_FIELD_MADE || k == VQ_FIELD_INOUT
        || k == VQ_FIELD_BOTH;
}

static int is_wide(vq_dtype t) { return t == VQ_F32 || t == VQ_F16 || t == VQ_BF16; }

/* Gaps gone: t with the strides it would be made with. */
static void settle(vq_tensor *t)
{
    int64_t shape[4];
    memcpy(shape, t->shape, sizeof shape);
    *t = vq_tensor_nd(NULL, t->dtype, t->rank, shape, t->where);
}

static void set_rank(vq_tensor *t, int rank)
{
    while (t->rank < rank) {
        memmove(t->shape + 1, t->shape, 3 * sizeof *t->shape);
        t->shape[0] = 1 + below(3);
        t->rank++;
    }
    while (t->rank > rank) {
        memmove(t->shape, t->shape + 1, 3 * sizeof *t->shape);
        t->rank--;
    }
    settle(t);
}

static int bit_of(int64_t mask)
{
    int bits[64], n = 0, i;
    for (i = 0; i < 32; i++) if (mask >> i & 1) bits[n++] = i;
    return n ? bits[below(n)] : 0;
}

/* A key near one of the presets. */
static vq_key any_key(void)
{
    static const int32_t groups[] = { 1, 2, 3, 5, 7, 8, 16, 17, 31, 32, 33, 48, 64, 96, 128, 129,
                                      256, 512, 1000, -1 };
    static const vq_dtype elems[] = { VQ_E4M3FN, VQ_E4M3FNUZ, VQ_E5M2, VQ_E5M2FNUZ, VQ_E2M3,
                                      VQ_E3M2, VQ_E2M1, VQ_INT8, VQ_UINT8, VQ_INT4, VQ_UINT4 };
    vq_key k = vq_key_preset((vq_key_id)below(VQ_KEY_COUNT)), other;
    int i, times = (int)below(4);
    for (i = 0; i < times; i++) {
        other = k;
        switch (below(10)) {
        case 0: other.group_cols = groups[below(COUNT(groups))]; break;
        case 1: other.group_rows = groups[one_in(2) ? 0 : below(COUNT(groups))]; break;
        case 2: other.elem = elems[below(COUNT(elems))];
                other.code_max = vq_dtype_max(other.elem); break;
        case 3: other.scale_rule = (vq_scale_rule)below(VQ_SCALE_RULE_COUNT); break;
        case 4: other.code_rule = (vq_code_rule)below(VQ_CODE_RULE_COUNT); break;
        case 5: other.floor_kind = (vq_floor_kind)below(VQ_FLOOR_COUNT);
                other.floor_value = other.floor_kind ? t_randf(1e-6f, 0.1f) : 0.0f; break;
        case 6: other.nan_rule = (vq_nan_rule)below(VQ_NAN_COUNT); break;
        case 7: other.arith = one_in(2) ? VQ_BF16 : VQ_F32; break;
        case 8: other.bound_kind = (vq_bound_kind)below(VQ_BOUND_COUNT); break;
        default: other = one_in(2) ? vq_key_static(k)
                                   : vq_key_as(k, elems[below(4)], one_in(2) ? 224.0f : 240.0f);
        }
        if (vq_key_check(&other, NULL) == VQ_OK) k = other;
    }
    return k;
}

static float any_float(void)
{
    static const float some[] = { 0.0f, 0.0f, 1.0f, 1e-6f, 0.5f, 7.0f, 1.702f, 100.0f, 99.0f,
                                  1e-5f };
    return some[below(COUNT(some))];
}

static void first_args(const wish *w)
{
    static const int64_t rows[] = { 1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 64, 100, 129 };
    static const int64_t cols[] = { 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96,
                                    100, 127, 128, 129, 130, 192, 255, 256, 257, 384, 512, 1000,
                                    1024, 2049 };
    static const vq_dtype types[] = { VQ_F32, VQ_BF16, VQ_F16 };
    const vq_dtype type = w->in != ANY ? (vq_dtype)w->in : w->type != ANY ? (vq_dtype)w->type
                                      : types[below(3)];
    const int rank = w->rows == ANY && one_in(6) ? 3 + one_in(2) : 2;
    int64_t shape[4], n;
    int i;
    for (i = 0; i < 4; i++) shape[i] = 1 + below(3);
    shape[rank - 2] = w->rows != ANY ? w->rows : rows[below(COUNT(rows))];
    shape[rank - 1] = w->cols != ANY ? w->cols : cols[below(COUNT(cols))];
    if (w->rows == ANY && one_in(40)) shape[below(rank)] = 0;
    for (n = 1, i = 0; i < rank; i++) n *= shape[i];
    while (w->rows == ANY && n > 1 << 13 && shape[rank - 2] > 1) {
        n = n / shape[rank - 2] * (shape[rank - 2] / 2);
        shape[rank - 2] /= 2;
    }
    memset(args, 0, sizeof args);
    call_of(args)->report = &why;
    for (i = 0; i < field_count; i++) {
        char *p = at_field(i);
        void *r = result;
        vq_key k = w->has_key ? w->of : w->key != ANY ? vq_key_preset((vq_key_id)w->key)
                               : any_key();
        float f = any_float();
        int v = (int)below(8);
        switch (fields[i].kind) {
        case VQ_FIELD_KEY:    memcpy(p, &k, sizeof k); break;
        case VQ_FIELD_FLOAT:  memcpy(p, &f, sizeof f); break;
        case VQ_FIELD_RESULT: if (one_in(2)) memcpy(p, &r, sizeof r); break;
        case VQ_FIELD_INT:    v &= 1; memcpy(p, &v, sizeof v); break;
        case VQ_FIELD_TYPE:   v = v & 1 ? VQ_NONE : v & 2 ? (int)type : VQ_F32;
                              memcpy(p, &v, sizeof v); break;
        default:
            if (is_tensor(fields[i].kind)) {
                vq_dtype t = type;
                if (w->in == ANY && w->type == ANY && one_in(2))
                    t = (vq_dtype)(1 + below(VQ_DTYPE_COUNT - 1));
                if (fields[i].kind == VQ_FIELD_OUT && w->out != ANY) t = (vq_dtype)w->out;
                *(vq_tensor *)(void *)p = vq_tensor_nd(NULL, t, rank, shape, VQ_HOST);
            } else memcpy(p, &v, sizeof v);
        }
    }
}

static vq_status plan(const vq_ctx *vq, vq_choice *c)
{
    memset(&why, 0, sizeof why);
    return vq_plan(vq, op, args, c);
}

/* Does what the report asks for. 0: there is nothing to be done. */
static int repair(int times)
{
    const vq_report *r = &why;
    const vq_field *f = NULL;
    vq_tensor *t;
    char *p;
    int i, n, same;
    if (!r->arg) return 0;
    for (i = 0; i < field_count; i++) if (!strcmp(fields[i].name, r->arg)) f = &fields[i];
    if (!f) return 0;
    p = (char *)args + f->offset;
    if (f->kind == VQ_FIELD_FLOAT) {
        const uint32_t bits = (uint32_t)r->needed;
        memcpy(p, &bits, sizeof bits);
        return r->guard == VQ_GUARD_VALUE;
    }
    if (!is_tensor(f->kind)) {
        n = r->kind == 't' ? bit_of(r->needed) : (int)below(r->needed + 1);
        memcpy(p, &n, sizeof n);
        return r->guard == VQ_GUARD_VALUE;
    }
    t = (vq_tensor *)(void *)p;
    switch (r->guard) {
    case VQ_GUARD_UNUSED: memset(t, 0, sizeof *t); return 1;
    case VQ_GUARD_TYPE:   t->dtype = (vq_dtype)bit_of(r->needed); settle(t); return 1;
    case VQ_GUARD_RANK:   set_rank(t, (int)r->needed); return 1;
    case VQ_GUARD_SHAPE:
        for (same = 0, i = 0; i < t->rank; i++) same += t->shape[i] == r->found;
        if (!same) return 0;
        same = times % same;
        for (i = t->rank - 1; i >= 0; i--)
            if (t->shape[i] == r->found && !same--) { t->shape[i] = r->nearest; break; }
        settle(t);
        return 1;
    case VQ_GUARD_LAYOUT:
    case VQ_GUARD_STRIDE: settle(t); return 1;
    default: return 0;
    }
}

static void find_views(void)
{
    const vq_key *key = NULL;
    int i, running = 0;
    for (i = 0; i < field_count; i++) {
        if (fields[i].kind == VQ_FIELD_KEY) key = (const vq_key *)(const void *)at_field(i);
        if (!strcmp(fields[i].name, "running")) memcpy(&running, at_field(i), sizeof running);
    }
    for (view_count = 0, i = 0; i < field_count; i++) {
        view *v = &views[view_count];
        const vq_field_kind k = fields[i].kind;
        vq_tensor *t = (vq_tensor *)(void *)at_field(i);
        if (!is_tensor(k) || !t->rank) continue;
        memset(v, 0, sizeof *v);
        v->field = &fields[i];
        v->t = t;
        v->writes = k == VQ_FIELD_OUT || k == VQ_FIELD_INOUT || k == VQ_FIELD_BOTH
                 || (k == VQ_FIELD_MADE && !(key && key->flags & VQ_KEY_STATIC));
        v->reads = !v->writes || k == VQ_FIELD_BOTH || (k == VQ_FIELD_INOUT && running);
        view_count++;
    }
}

/* Would all machines and the reference take the arguments as they are? Tensors are on the host. */
static int all_take(void)
{
    vq_choice c;
    int i, g, ok = plan(cpu, &c) == VQ_OK;
    find_views();
    for (i = 0; i < view_count; i++) views[i].t->where = VQ_DEVICE;
    call_of(args)->policy.only = impl;
    for (g = 0; ok && g < gpu_count; g++) ok = plan(gpus[g].vq, &c) == VQ_OK;
    call_of(args)->policy.only = NULL;
    for (i = 0; i < view_count; i++) views[i].t->where = VQ_HOST;
    return ok;
}

/* The implementation number n of op under these arguments that is not the reference. */
static const char *gpu_impl(int n)
{
    vq_report rows[16];
    int count = 0, i;
    if (vq_explain(cpu, op, args, rows, 16, &count) != VQ_OK) return NULL;
    for (i = 0; i < count && i < 16; i++)
        if (strcmp(rows[i].impl, "reference") && !n--) return rows[i].impl;
    return NULL;
}

/* One thing about one tensor otherwise: strides, a layout, whose memory it is in. */
static void restyle(const view *v)
{
    vq_tensor *t = v->t;
    const int last = t->rank - 1;
    const int64_t gap = 1 + below(9);
    int i;
    switch (below(7)) {
    case 0:
    case 1:                                        /* rows with gaps */
        if (last < 1) return;
        t->stride[last - 1] += gap;
        for (i = last - 2; i >= 0; i--) t->stride[i] = t->stride[i + 1] * t->shape[i + 1] + gap;
        return;
    case 2:                                        /* rows that start at 16 bytes again */
        if (last < 1 || t->layout != VQ_STRIDED) return;
        t->stride[last - 1] = (t->stride[last - 1] + 15) / 16 * 16 + 16;
        for (i = last - 2; i >= 0; i--) t->stride[i] = t->stride[i + 1] * t->shape[i + 1];
        return;
    case 3:                                        /* columns with gaps */
        for (i = 0; i < t->rank; i++) t->stride[i] *= gap;
        return;
    case 4:                                        /* the first extent the innermost */
        t->stride[0] = 1;
        for (i = 1; i < t->rank; i++) t->stride[i] = t->stride[i - 1] * t->shape[i - 1] + one_in(2);
        return;
    default:
        if (t->rank != 2) return;
        *t = vq_tensor_ordered(t->dtype, t->shape[0], t->shape[1], (vq_order)below(VQ_ORDER_COUNT),
                               NULL, VQ_HOST);
        if (t->layout == VQ_PACKED_UE8M0) t->stride[1] += 4 * (below(7) - 3);
    }
}

static void become(vq_op o)
{
    op = o;
    fields = vq_op_fields(op, &field_count);
    impl = NULL;
    memset(blocks, 0, sizeof blocks);
}

/* Is the first tensor of a kind of this type? */
static int first_is(vq_field_kind kind, int type)
{
    int i;
    for (i = 0; i < view_count; i++)
        if (views[i].field->kind == kind) return type == ANY || (int)views[i].t->dtype == type;
    return type == ANY;
}

/* Arguments for w. 0: there are none, or no kernel takes them. */
static int make_args(const wish *w)
{
    vq_choice c;
    vq_tensor was;
    int i, n;
    first_args(w);
    for (n = 0; n < 60 && plan(cpu, &c) != VQ_OK; n++) if (!repair(n)) return 0;
    if (n == 60) return 0;
    find_views();
    if (!first_is(VQ_FIELD_IN, w->in) || !first_is(VQ_FIELD_OUT, w->out)) return 0;
    impl = gpu_impl(w->impl);
    if (!impl || !all_take()) return 0;
    for (i = 0; i < field_count; i++) {            /* what need not be there */
        vq_tensor *t = (vq_tensor *)(void *)at_field(i);
        if (!is_tensor(fields[i].kind) || !t->rank || one_in(2)) continue;
        was = *t;
        memset(t, 0, sizeof *t);
        if (!all_take()) *t = was;
    }
    find_views();
    for (n = w->gaps != ANY ? w->gaps : (int)below(5); n > 0; n--) {
        const view *v = &views[below(view_count)];
        was = *v->t;
        restyle(v);
        if (vq_tensor_bytes(*v->t) > 1 << 20 || !all_take()) *v->t = was;
    }
    if (!all_take()) return 0;
    find_views();
    return 1;
}

/* --- memory ------------------------------------------------------------------------ */

typedef void (*visitor)(void *user, int64_t at, int64_t n);

static int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static int is_empty(const vq_tensor *t)
{
    int i;
    for (i = 0; i < t->rank; i++) if (!t->shape[i]) return 1;
    return 0;
}

/* The bytes of t's elements and of padding that its layout defines, in runs, as >>tensors has it in
   words. */
static void walk(const vq_tensor *t, visitor visit, void *user)
{
    const int bits = vq_dtype_bits(t->dtype), last = t->rank - 1;
    int64_t n[4] = { 1, 1, 1, 1 }, s[4] = { 0, 0, 0, 0 }, run, i, j, k, l;
    int d, dims = t->rank;
    if (is_empty(t)) return;
    if (t->layout == VQ_STRIDED) {
        const int64_t unit = bits < 8 ? 1 : bits / 8;
        run = unit;
        if (bits < 8) { run = (t->shape[last] * bits + 7) / 8; dims--; }
        for (d = 0; d < dims; d++) { n[d] = t->shape[d]; s[d] = t->stride[d] * unit; }
    } else {
        const int64_t rows = t->shape[last - 1], cols = t->shape[last];
        if (last == 2) { n[0] = t->shape[0]; s[0] = t->stride[0]; }
        if (t->layout == VQ_PACKED_UE8M0) {
            n[1] = (cols + 3) / 4;
            s[1] = t->stride[last];
            run = 4 * (s[1] >= 4 * up(rows, 4) ? up(rows, 4) : rows);
        } else {
            const int64_t high = t->layout == VQ_SWIZZLE_128X4 ? 128
                               : t->layout == VQ_SWIZZLE_8X4 ? 8 : 32;
            run = up(rows, high) * up(cols, t->layout == VQ_SWIZZLE_CDNA4 ? 8 : 4);
        }
    }
    for (i = 0; i < n[0]; i++)
        for (j = 0; j < n[1]; j++)
            for (k = 0; k < n[2]; k++)
                for (l = 0; l < n[3]; l++)
                    visit(user, i * s[0] + j * s[1] + k * s[2] + l * s[3], run);
}

static void mark(void *user, int64_t at, int64_t n)
{
    const view *v = (const view *)user;
    uint8_t *u = blocks[v->block].use + blocks[v->block].at + at;
    for (; n; n--) *u++ |= (uint8_t)(STANDIN_READ | (v->writes ? STANDIN_WRITTEN : 0));
}

static int same_view(const vq_tensor *a, const vq_tensor *b)
{
    return a->rank == b->rank && a->layout == b->layout
        && vq_dtype_bits(a->dtype) == vq_dtype_bits(b->dtype)
        && !memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape)
        && !memcmp(a->stride, b->stride, (size_t)a->rank * sizeof *a->stride);
}

static void place(const wish *w)
{
    int i, j;
    for (block_count = 0, i = 0; i < view_count; i++) {
        view *v = &views[i];
        block *b = &blocks[block_count];
        const int tight = w->tight != ANY ? w->tight : !one_in(4);
        size_t before = one_in(3) ? 0 : 16 * (size_t)(1 + below(5)), k;
        v->bytes = vq_tensor_bytes(*v->t);
        for (v->block = -1, j = 0; v->field->twin && j < i; j++)
            if (!strcmp(views[j].field->name, v->field->twin) && same_view(v->t, views[j].t)
                && one_in(2)) v->block = views[j].block;
        if (v->block >= 0) continue;
        if (w->aligned != ANY ? !w->aligned : one_in(3)) before += (size_t)below(16);
        v->block = block_count++;
        b->at = before;
        b->bytes = before + (size_t)v->bytes + (tight ? 0 : (size_t)(1 + below(40)));
        if (!b->bytes) b->bytes = 1;
        b->host = (char *)malloc(b->bytes);
        b->want = (char *)malloc(b->bytes);
        b->use = (uint8_t *)calloc(b->bytes, 1);
        for (k = 0; k < b->bytes; k++) b->host[k] = (char)(t_rand() >> 11);
    }
    for (i = 0; i < view_count; i++) walk(views[i].t, mark, &views[i]);
}

static void drop(void)
{
    while (block_count) {
        block *b = &blocks[--block_count];
        free(b->host);
        free(b->want);
        free(b->use);
        memset(b, 0, sizeof *b);
    }
}

enum { CALM, SPREAD, SPECIAL, WITH_NAN, BITS, ZEROS, EVERY_CODE, CHARACTERS };

static uint32_t any_code(const view *v, int character, int64_t i)
{
    static const float some[] = { 0.0f, -0.0f, 1e-45f, 1e-40f, -1e-39f, 3.4028235e38f, -65504.0f,
                                  448.0f, 1e-10f, 6.0f, 0.5f, -2.5f };
    const int scale = strstr(v->field->name, "scale") != NULL || !strcmp(v->field->name, "bound");
    const vq_dtype t = v->t->dtype;
    float x = t_randf(-8, 8);
    if (character == EVERY_CODE) return (uint32_t)i;
    if (t == VQ_INT32) return (uint32_t)(below(v->t->shape[0] + 8) - 2);
    if (character == BITS || !is_wide(t)) return t_rand();
    if (scale) x = t_randf(0.5f, 1.0f) * vq__pow2((int)below(12) - 10);
    if (character == SPREAD) x *= vq__pow2((int)below(40) - 30);
    if (character == SPECIAL && one_in(7)) x = some[below(COUNT(some))];
    if (character == WITH_NAN && one_in(23))
        x = vq__f32_make(one_in(2) ? 0x7fc00000u : one_in(2) ? 0x7f800000u : 0xff800000u);
    if (character == ZEROS) x = scale ? x : one_in(50) ? -0.0f : 0.0f;
    return vq_encode(t, x, VQ_NONFINITE);
}

static void fill(int character)
{
    int i;
    int64_t k;
    for (i = 0; i < view_count; i++) {
        const view *v = &views[i];
        const int bits = vq_dtype_bits(v->t->dtype);
        char *p = blocks[v->block].host + blocks[v->block].at;
        const int mine = character != ANY && i == 0 ? character : (int)below(EVERY_CODE);
        if (!v->reads) continue;
        for (k = 0; bits == 64 && k + 8 <= v->bytes; k += 8) memset(p + k + 3, 0, 5);
        if (bits < 8 || bits == 64) continue;      /* any byte will do */
        for (k = 0; (k + 1) * bits / 8 <= v->bytes; k++)
            vq_code_put(p + k * bits / 8, bits, 0, any_code(v, mine, k));
    }
}

/* --- the same bytes ---------------------------------------------------------------- */

/* Quiet NaN of both are made one. */
static void level(void *user, int64_t at, int64_t n)
{
    const view *v = (const view *)user;
    const block *b = &blocks[v->block];
    const int bits = vq_dtype_bits(v->t->dtype);
    const uint32_t quiet = v->t->dtype == VQ_F16 ? 0x7e00u
                         : v->t->dtype == VQ_BF16 ? 0x7fc0u : 0x7fc00000u;
    char *got = b->host + b->at + at, *want = b->want + b->at + at;
    for (; n > 0; n -= bits / 8, got += bits / 8, want += bits / 8) {
        const uint32_t c = vq_code_get(got, bits, 0), d = vq_code_get(want, bits, 0);
        if (c != d && (c & quiet) == quiet && (d & quiet) == quiet) vq_code_put(got, bits, 0, d);
    }
}

static const char *name_of_block(int n)
{
    int i;
    for (i = 0; i < view_count; i++) if (views[i].block == n) return views[i].field->name;
    return "nothing";
}

/* On one machine; the blocks hold the data, `want` what the reference made of it. */
static void run_on(const machine *g, const vq_choice *choice)
{
    uint8_t *flags;
    size_t k, shown;
    vq_call *call = call_of(args);
    void *space = choice->workspace_bytes ? vq_mem_alloc(g->vq, choice->workspace_bytes) : NULL;
    const standin_counts *now = g->in->counts;
    standin_counts was;
    int i, launches;
    for (i = 0; i < view_count; i++)
        views[i].t->data = blocks[views[i].block].device + blocks[views[i].block].at;
    call->workspace = space;
    call->workspace_bytes = choice->workspace_bytes;
    call->stream = one_in(2) ? g->in->stream : NULL;
    memset(result, 0, sizeof result);
    g->in->forget();
    was = *g->in->counts;
    if (vq_run(g->vq, choice, args)) complain("%s", why.text);
    launches = (int)(now->launches - was.launches);
    if (now->allocs != was.allocs || now->frees != was.frees || now->copies != was.copies
        || now->waits != was.waits) complain("it allocates, copies or waits");
    if (memcmp(result, want_result, sizeof result)) complain("the result differs");
    if (launches && *g->in->launched_on != call->stream) complain("it ran on another stream");
    ran[op] += launches > 0;
    for (i = 0; i < block_count; i++) {
        block *b = &blocks[i];
        int j;
        if (vq_mem_copy(g->vq, b->host, b->device, b->bytes)) complain("no copy");
        for (j = 0; j < view_count; j++)
            if (views[j].block == i && views[j].writes && is_wide(views[j].t->dtype)
                && memcmp(b->host, b->want, b->bytes)) walk(views[j].t, level, &views[j]);
        for (shown = 0, k = 0; k < b->bytes; k++)
            if (b->host[k] != b->want[k] && shown++ < 3)
                complain("%s, byte %ld of its %s: %02x, and the reference has %02x",
                         name_of_block(i), (long)k - (long)b->at, b->use[k] ? "elements" : "gaps",
                         (uint8_t)b->host[k], (uint8_t)b->want[k]);
        if (shown > 3) complain("%s: %ld bytes differ", name_of_block(i), (long)shown);
        compared += (long)b->bytes;
        if (!g->in->watched()) continue;
        flags = (uint8_t *)malloc(b->bytes);
        g->in->touched(b->device, b->bytes, flags);
        for (shown = 0, k = 0; k < b->bytes; k++)
            if (flags[k] & ~b->use[k] && shown++ < 3)
                complain("%s, byte %ld, %s: it was %s", name_of_block(i), (long)k - (long)b->at,
                         b->use[k] ? "an input" : "a gap",
                         flags[k] & STANDIN_WRITTEN & ~b->use[k] ? "written" : "read");
        free(flags);
    }
    call->stream = call->workspace = NULL;
    call->workspace_bytes = 0;
    vq_mem_free(g->vq, space);
}

/* In this order of threads and blocks, and with so many blocks at most. */
static void set_machine(const machine *g, uint32_t n)
{
    static const unsigned most[] = { 0, 3, 1, 2 };
    static const char *const names[] = { "forward", "reverse", "shuffled" };
    g->in->order((standin_order)(n % 3), t_rand());
    g->in->most_blocks(most[n / 3 % 4]);
    snprintf(how, sizeof how, "wave of %d, %s, at most %u blocks", g->in->wave, names[n % 3],
             most[n / 3 % 4]);
}

/* One case, on the reference and then on every machine. 0: nothing could be run. */
static int try_case(const wish *w)
{
    char *keep[TENSORS];
    vq_choice c;
    int i, g;
    if (op != (vq_op)w->op) become((vq_op)w->op);
    wrong = 0;
    if (!make_args(w)) return 0;
    place(w);
    fill(w->character);
    for (i = 0; i < block_count; i++) {
        memcpy(blocks[i].want, blocks[i].host, blocks[i].bytes);
        keep[i] = (char *)malloc(blocks[i].bytes);
        memcpy(keep[i], blocks[i].host, blocks[i].bytes);
    }
    for (i = 0; i < view_count; i++)
        views[i].t->data = blocks[views[i].block].want + blocks[views[i].block].at;
    memset(result, 0, sizeof result);
    if (plan(cpu, &c) || vq_run(cpu, &c, args)) complain("the reference: %s", why.text);
    memcpy(want_result, result, sizeof result);
    for (g = 0; g < gpu_count && !wrong; g++) {
        set_machine(&gpus[g], t_rand());
        for (i = 0; i < block_count; i++) {
            block *b = &blocks[i];
            b->device = (char *)vq_mem_alloc(gpus[g].vq, b->bytes);
            if (!b->device || vq_mem_copy(gpus[g].vq, b->device, keep[i], b->bytes))
                complain("no memory");
        }
        for (i = 0; i < view_count; i++) {
            views[i].t->where = one_in(8) ? VQ_MANAGED : VQ_DEVICE;
            views[i].t->data = NULL;
        }
        call_of(args)->policy.only = impl;
        if (plan(gpus[g].vq, &c)) complain("%s", why.text);
        else run_on(&gpus[g], &c);
        call_of(args)->policy.only = NULL;
        for (i = 0; i < block_count; i++) vq_mem_free(gpus[g].vq, blocks[i].device);
    }
    for (i = 0; i < block_count; i++) free(keep[i]);
    drop();
    return 1;
}

/* Which ops have a kernel: found by asking under arguments that are right. */
static int has_kernel(vq_op o)
{
    static signed char known[VQ_OP_COUNT];
    const uint64_t state = t_state;
    int i;
    wish w = anything();
    vq_choice c;
    if (known[o]) return known[o] > 0;
    known[o] = -1;
    become(o);
    for (i = 0; i < 200 && known[o] < 0; i++) {
        int n;
        first_args(&w);
        for (n = 0; n < 60 && plan(cpu, &c) != VQ_OK; n++) if (!repair(n)) break;
        if (gpu_impl(0)) known[o] = 1;
        else if (plan(cpu, &c) == VQ_OK) break;
    }
    t_state = state;                           /* the same run, whoever asks first */
    return known[o] > 0;
}

#endif
