/* fuzz_args.c - every op, under arguments that a fuzzer makes, in memory that ends at a wall

   usage: fuzz_args --seeds DIR     writes inputs to begin with
          fuzz_args DIR ...         libFuzzer

   Knows ops by vq_op_fields() alone. An input becomes a key, tensors, numbers and a policy; what
   reports ask for is done, so that most arguments are right; then some are bent. A tensor has
   exactly vq_tensor_bytes(), before or behind a page that may not be touched; nothing else is to
   be written, nor are gaps. The implementation of vq.h is compiled apart, with the sanitizers. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <sanitizer/asan_interface.h>
#include "../vq.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

enum { UNTOLD = 0x11 };                            /* every byte of a report before a call */
enum { TENSORS = 16, ROOM = 1 << 17, MARGIN = 256, FIELDS = 48, ROWS = 8 };

/* --- what the input says ------------------------------------------------------ */

static const uint8_t *in;
static size_t left;

static uint32_t next(uint64_t *state)              /* splitmix64, top half */
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

static uint64_t beyond;                            /* what follows the input: made from all of it */

static uint32_t byte(void)
{
    if (!left) return next(&beyond) >> 24;
    left--;
    return *in++;
}

static uint32_t pick(uint32_t n) { return byte() % n; }

static uint64_t word(int bytes)
{
    uint64_t v = 0;
    while (bytes--) v = v << 8 | byte();
    return v;
}

static int64_t number(void)
{
    static const int64_t edge[] = {
        0, 1, 2, 3, 4, 7, 8, -1, -2, 127, 128, 129, 255, 256, INT64_MAX, INT64_MIN, INT64_MAX - 1,
        INT64_MAX / 8, INT64_MAX / 8 + 1, INT64_MAX / 4, INT64_MAX / 2, INT32_MAX, INT32_MIN,
        (int64_t)1 << 31, (int64_t)1 << 32, (int64_t)1 << 60, (int64_t)1 << 61, (int64_t)1 << 62
    };
    switch (pick(4)) {
    case 0:  return (int64_t)byte();
    case 1:  return edge[pick(COUNT(edge))];
    case 2:  return edge[pick(COUNT(edge))] - (int64_t)pick(5);
    default: return (int64_t)word(8);
    }
}

static float real(void)
{
    static const float edge[] = { 1.0f, 0.0f, 0.5f, 100.0f, 99.9f, 1e-10f, 448.0f, -1.0f, -0.0f,
                                  1e-45f, 3.4028235e38f, 127.0f, 6.0f, 100.00001f };
    const uint32_t nan = 0x7fc00000u, inf = 0x7f800000u;
    uint32_t u, i = pick(COUNT(edge) + 3);
    float v;
    if (i < COUNT(edge)) return edge[i];
    u = i == COUNT(edge) ? nan : i == COUNT(edge) + 1 ? inf : (uint32_t)word(4);
    memcpy(&v, &u, sizeof v);
    return v;
}

/* --- the call ------------------------------------------------------------------ */

/* Every tensor of the call at work. at: its first byte in the memory of `slot`. */
typedef struct view {
    const vq_field *field;
    vq_tensor      *t;
    int             slot, reads, writes;
    int64_t         at, bytes;
} view;

static vq_ctx         *ctx[8];                     /* the first three run, and must agree */
static const vq_field *fields;
static int             field_count;
static vq_op           op;
static char           *args;                       /* exactly as long as op's struct */
static vq_report      *why;
static view            views[TENSORS];
static int             view_count;
static const vq_ctx   *vq;
static const char     *doing = "";
static void           *result;                     /* what a RESULT points at, exactly as long */

static long calls[VQ_OP_COUNT], good[VQ_OP_COUNT], bad[VQ_OP_COUNT], texts_read, loose_good;

static const size_t args_size[] = {
    0,
#define X(ID, name) sizeof(vq_##name##_args),
    VQ_OPS(X)
#undef X
};

static vq_status call_op(const vq_ctx *on, const void *a)
{
    switch (op) {
#define X(ID, name) case VQ_OP_##ID: return vq_##name(on, (const vq_##name##_args *)a);
    VQ_OPS(X)
#undef X
    default: abort();
    }
}

static vq_call *call(void) { return (vq_call *)args; }

/* What a RESULT points at; of an op not known here, room enough. */
static size_t result_size(void)
{
#ifndef VQ_NO_QUANT
    if (op == VQ_OP_REQUANT) return sizeof(vq_requant_result);
#endif
#ifndef VQ_NO_COMPARE
    if (op == VQ_OP_COMPARE) return sizeof(vq_comparison);
#endif
    return 4096;
}

static int is_tensor_field(const vq_field *f)
{
    return f->kind == VQ_FIELD_IN || f->kind == VQ_FIELD_OUT || f->kind == VQ_FIELD_MADE
        || f->kind == VQ_FIELD_INOUT || f->kind == VQ_FIELD_BOTH;
}

static void print_tensor(const char *name, const vq_tensor *t)
{
    int i, rank = t->rank < 0 || t->rank > 4 ? 4 : t->rank;
    fprintf(stderr, "    %-10s %s %s where %d rank %d [", name, vq_dtype_str(t->dtype),
            vq_layout_str(t->layout), (int)t->where, t->rank);
    for (i = 0; i < rank; i++) fprintf(stderr, " %" PRId64, t->shape[i]);
    fprintf(stderr, " ] strides [");
    for (i = 0; i < rank; i++) fprintf(stderr, " %" PRId64, t->stride[i]);
    fprintf(stderr, " ] %" PRId64 " bytes at %p\n", vq_tensor_bytes(*t), t->data);
}

/* A property does not hold: says which, and leaves the input to the fuzzer. */
static __attribute__((noreturn, format(printf, 1, 2))) void broken(const char *fmt, ...)
{
    va_list list;
    char text[256];
    int i;
    va_start(list, fmt);
    fprintf(stderr, "\nfuzz_args: %s: ", doing);
    vfprintf(stderr, fmt, list);
    va_end(list);
    fputc('\n', stderr);
    for (i = 0; args && i < field_count; i++) {
        const char *p = args + fields[i].offset;
        float f;
        int n;
        memcpy(&f, p, sizeof f);
        memcpy(&n, p, sizeof n);
        switch (fields[i].kind) {
        case VQ_FIELD_KEY:
            vq_key_print((const vq_key *)p, text, sizeof text);
            fprintf(stderr, "    %-10s %s\n", fields[i].name, text);
            break;
        case VQ_FIELD_FLOAT:  fprintf(stderr, "    %-10s %a\n", fields[i].name, (double)f); break;
        case VQ_FIELD_RESULT: break;
        default:
            if (is_tensor_field(&fields[i])) print_tensor(fields[i].name, (const vq_tensor *)p);
            else fprintf(stderr, "    %-10s %d\n", fields[i].name, n);
        }
    }
    if (why && why->text[0] != UNTOLD)
        fprintf(stderr, "    the report: %.511s\n", why->text);
    abort();
}

#define HOLDS(cond) do { if (!(cond)) broken("%s, line %d", #cond, __LINE__); } while (0)

/* --- memory that ends at a wall ---------------------------------------------------- */

static uint8_t *slot[TENSORS];
static int64_t  from[TENSORS], to[TENSORS];        /* of each slot the bytes that are looked at */
static uint8_t  before[TENSORS][ROOM], after[TENSORS][ROOM], use[TENSORS][ROOM];

enum { READ = 1, WRITTEN = 2, TWICE = 4, MADE = 16, IS_PAD = 0xa5 };

static void make_walls(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int i;
    for (i = 0; i < TENSORS; i++) {
        char *p = (char *)mmap(NULL, ROOM + 2 * page, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == (char *)MAP_FAILED || mprotect(p, page, PROT_NONE)
            || mprotect(p + page + ROOM, page, PROT_NONE)) abort();
        slot[i] = (uint8_t *)p + page;
        __asan_poison_memory_region(slot[i], ROOM);
    }
}

static uint64_t seed;

static uint32_t noise(void) { return next(&seed); }

static int64_t up(int64_t n, int64_t to_multiple)
{
    return (n + to_multiple - 1) / to_multiple * to_multiple;
}

typedef void (*visitor)(void *user, int64_t at, int64_t n);

/* The bytes of t's elements, and of the padding that its layout defines, in runs. t is right and
   not empty. From the prose of the header, not from its code. */
static void walk(const vq_tensor *t, visitor visit, void *user)
{
    const int bits = vq_dtype_bits(t->dtype), last = t->rank - 1;
    int64_t n[4] = { 1, 1, 1, 1 }, s[4] = { 0, 0, 0, 0 }, run, i, j, k, m;
    int d, dims = t->rank;
    if (t->layout == VQ_STRIDED) {
        const int64_t unit = bits < 8 ? 1 : bits / 8;
        run = unit;
        if (bits < 8) run = (t->shape[last] * bits + 7) / 8;
        else if (t->stride[last] == 1 || t->shape[last] == 1) run = t->shape[last] * unit;
        if (bits < 8 || t->stride[last] == 1 || t->shape[last] == 1) dims--;
        for (d = 0; d < dims; d++) {
            n[d] = t->shape[d];
            s[d] = t->shape[d] > 1 ? t->stride[d] * unit : 0;
        }
    } else {
        const int64_t rows = t->shape[last - 1], cols = t->shape[last];
        if (last == 2) { n[0] = t->shape[0]; s[0] = n[0] > 1 ? t->stride[0] : 0; }
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
                for (m = 0; m < n[3]; m++)
                    visit(user, i * s[0] + j * s[1] + k * s[2] + m * s[3], run);
}

static int is_empty(const vq_tensor *t)
{
    int i;
    for (i = 0; i < t->rank; i++) if (!t->shape[i]) return 1;
    return 0;
}

static void mark(void *user, int64_t at, int64_t n)
{
    const view *v = (const view *)user;
    uint8_t *u = &use[v->slot][v->at + at];
    for (; n; n--, u++) {
        if (v->writes && (*u & WRITTEN)) *u |= TWICE;
        *u |= (uint8_t)((v->reads ? READ : 0) | (v->writes ? WRITTEN : 0));
    }
}

static void open_bytes(void *user, int64_t at, int64_t n)
{
    const view *v = (const view *)user;
    const uintptr_t p = (uintptr_t)(slot[v->slot] + v->at + at), low = p / 8 * 8;
    __asan_unpoison_memory_region((void *)low, (size_t)up((int64_t)(p - low) + n, 8));
}

static void close_all(void)
{
    int i;
    for (i = 0; i < TENSORS; i++)
        if (to[i]) __asan_poison_memory_region(slot[i] + from[i], (size_t)(to[i] - from[i]));
}

/* Until open_gaps() a read of a gap is an error too, in steps of eight bytes. */
static void close_gaps(void)
{
    int i;
    close_all();
    for (i = 0; i < view_count; i++)
        if (views[i].bytes) walk(views[i].t, open_bytes, &views[i]);
}

static void open_gaps(void)
{
    int i;
    for (i = 0; i < TENSORS; i++)
        if (to[i]) __asan_unpoison_memory_region(slot[i] + from[i], (size_t)(to[i] - from[i]));
}

/* --- arguments ------------------------------------------------------------------ */

static int64_t rows_wanted, cols_wanted;
static vq_dtype type_wanted;

static void find_views(void)
{
    const vq_key *key = NULL;
    int i, running = 0;
    for (i = 0; i < field_count; i++) {
        if (fields[i].kind == VQ_FIELD_KEY) key = (const vq_key *)(args + fields[i].offset);
        if (fields[i].kind == VQ_FIELD_INT && !strcmp(fields[i].name, "running"))
            memcpy(&running, args + fields[i].offset, sizeof running);
    }
    view_count = 0;
    for (i = 0; i < field_count; i++) {
        view *v = &views[view_count];
        const vq_field_kind k = fields[i].kind;
        if (!is_tensor_field(&fields[i])) continue;
        memset(v, 0, sizeof *v);
        v->field = &fields[i];
        v->t = (vq_tensor *)(args + fields[i].offset);
        v->writes = k == VQ_FIELD_OUT || k == VQ_FIELD_INOUT || k == VQ_FIELD_BOTH
                 || (k == VQ_FIELD_MADE && !(key && (key->flags & VQ_KEY_STATIC)));
        v->reads = !v->writes || k == VQ_FIELD_BOTH || (k == VQ_FIELD_INOUT && running);
        v->slot = view_count++;
        HOLDS(view_count < TENSORS);
    }
}

static vq_key make_key(void)
{
    static const int32_t extent[] = { 1, 2, 3, 8, 16, 17, 32, 64, 128, -1 };
    vq_key k = vq_key_preset((vq_key_id)pick(VQ_KEY_COUNT));
    uint32_t w[16];
    char text[160];
    size_t n;
    switch (pick(8)) {
    case 4:
        k.group_rows = extent[pick(COUNT(extent))];
        k.group_cols = extent[pick(COUNT(extent))];
        break;
    case 5:
        memcpy(w, &k, sizeof w);
        w[pick(16)] = pick(20);
        if (pick(2)) w[pick(16)] = pick(20);
        memcpy(&k, w, sizeof k);
        break;
    case 6:
        n = pick(sizeof text);
        n = n < left ? n : left;
        memcpy(text, in, n);
        text[n] = 0;
        in += n;
        left -= n;
        vq_key_parse(text, &k, NULL);
        break;
    case 7:
        memcpy(w, &k, sizeof w);
        w[pick(16)] = (uint32_t)word(4);
        memcpy(&k, w, sizeof k);
        break;
    default:
        break;
    }
    return k;
}

static vq_tensor plain(vq_dtype t, int64_t rows, int64_t cols)
{
    return vq_tensor_2d(NULL, t, rows, cols, VQ_HOST);
}

/* Gaps and alignment gone: t with the strides it would be made with. */
static void settle(vq_tensor *t)
{
    int64_t shape[4];
    const vq_where w = t->where;
    if (t->rank < 1 || t->rank > 4) return;
    memcpy(shape, t->shape, sizeof shape);
    *t = vq_tensor_nd(NULL, t->dtype, t->rank, shape, w);
}

static void start_args(void)
{
    int64_t shape[3], planes;
    static const int64_t rows[] = { 2, 1, 3, 4, 5, 7, 0, 9, 17, 33, 129 };
    static const int64_t cols[] = { 128, 64, 32, 16, 1, 2, 3, 5, 8, 15, 17, 31, 33, 65, 100, 127,
                                    129, 130, 192, 256, 257, 0, 300, 513 };
    static const vq_dtype type[] = { VQ_F32, VQ_BF16, VQ_F16, VQ_E8M0, VQ_UE4M3, VQ_E4M3FN, VQ_E2M1,
                                     VQ_E2M3, VQ_INT8 };
    int i;
    rows_wanted = rows[pick(COUNT(rows))];
    cols_wanted = cols[pick(COUNT(cols))];
    if (rows_wanted * cols_wanted > 4096) rows_wanted = 2;         /* fast */
    type_wanted = type[pick(COUNT(type))];
    planes = pick(3) == 2 ? 1 + (int64_t)pick(3) : 0;
    memset(args, 0, args_size[op]);
    call()->report = why;
    for (i = 0; i < field_count; i++) {
        char *p = args + fields[i].offset;
        vq_key k;
        float f;
        int n;
        switch (fields[i].kind) {
        case VQ_FIELD_KEY:    k = make_key(); memcpy(p, &k, sizeof k); break;
        case VQ_FIELD_FLOAT:  f = real(); memcpy(p, &f, sizeof f); break;
        case VQ_FIELD_RESULT:
            if (pick(8) < 7) memcpy(p, &result, sizeof result);
            break;
        default:
            if (!is_tensor_field(&fields[i])) {    /* an enum, or a flag */
                n = (int)pick(4);
                memcpy(p, &n, sizeof n);
                break;
            }
            if (pick(8) == 7) break;               /* many may be left out */
            shape[0] = planes;
            shape[1] = rows_wanted;
            shape[2] = cols_wanted;
            *(vq_tensor *)p = planes ? vq_tensor_nd(NULL, type_wanted, 3, shape, VQ_HOST)
                                     : plain(type_wanted, rows_wanted, cols_wanted);
        }
    }
}

static int lowest(int64_t mask, uint32_t skip)     /* of the bits set, the one after `skip` more */
{
    int i, n = 0, at = -1;
    for (i = 0; i < 32; i++) n += (int)(mask >> i & 1);
    if (!n) return 0;
    for (skip %= (uint32_t)n, i = 0; i < 32; i++)
        if (mask >> i & 1) { at = i; if (!skip--) break; }
    return at;
}

/* Does what the report asks for; 0: there is nothing to be done. */
static int repair(int times, int keep)             /* keep: strides, where they are not asked for */
{
    const vq_report *r = why;
    const vq_field *f = NULL;
    char *p = NULL;
    vq_tensor *t = NULL;
    int i, n;
    if (r->guard == VQ_GUARD_KEY || (r->arg && !strncmp(r->arg, "key.", 4))) {
        const int second = !strcmp(r->name, "from");
        for (i = 0; i < field_count; i++) {
            const uint32_t id = (pick(256) + (uint32_t)times * 7) % VQ_KEY_COUNT;
            const vq_key k = vq_key_preset((vq_key_id)id);
            if (fields[i].kind != VQ_FIELD_KEY || second != !strcmp(fields[i].name, "from"))
                continue;
            memcpy(args + fields[i].offset, &k, sizeof k);
        }
        return 1;
    }
    if (r->guard == VQ_GUARD_PLACE) {
        for (i = 0; i < view_count; i++)
            views[i].t->where = (vq_where)lowest(r->needed, 0);
        return 1;
    }
    if (!r->arg) return 0;
    for (i = 0; i < field_count; i++) if (!strcmp(fields[i].name, r->arg)) f = &fields[i];
    if (!f) return 0;
    p = args + f->offset;
    if (f->kind == VQ_FIELD_RESULT) {
        memcpy(p, &result, sizeof result);
        return 1;
    }
    if (f->kind == VQ_FIELD_FLOAT) {
        const uint32_t bits = (uint32_t)r->needed;
        memcpy(p, &bits, sizeof bits);
        return r->guard == VQ_GUARD_VALUE;
    }
    if (!is_tensor_field(f)) {
        n = r->kind == 't' ? lowest(r->needed, byte()) : (int)r->needed;
        memcpy(p, &n, sizeof n);
        return r->guard == VQ_GUARD_VALUE || r->guard == VQ_GUARD_TYPE;
    }
    t = (vq_tensor *)p;
    switch (r->guard) {
    case VQ_GUARD_PRESENT: *t = plain(type_wanted, rows_wanted, cols_wanted); return 1;
    case VQ_GUARD_UNUSED:  memset(t, 0, sizeof *t); return 1;
    case VQ_GUARD_TYPE:
        t->dtype = (vq_dtype)lowest(r->needed, byte());
        if (!keep) settle(t);
        return 1;
    case VQ_GUARD_RANK:
        if (r->needed < 1 || r->needed > 4) return 0;
        for (i = t->rank < 0 ? 0 : t->rank; i < 4; i++) t->shape[i] = 1;
        t->rank = (int)r->needed;
        if (!keep) settle(t);
        return 1;
    case VQ_GUARD_SHAPE:
        for (n = 0, i = 0; i < t->rank; i++) n += t->shape[i] == r->found;
        if (!n) return 0;
        n = times % n;
        for (i = t->rank - 1; i >= 0; i--)
            if (t->shape[i] == r->found && !n--) { t->shape[i] = r->nearest; break; }
        if (!keep) settle(t);
        return 1;
    case VQ_GUARD_SIZE:
        *t = plain(t->dtype, rows_wanted, cols_wanted);
        return 1;
    case VQ_GUARD_STRIDE:
        for (i = 0; times < 12 && i < t->rank; i++)
            if (t->stride[i] == r->found) { t->stride[i] = r->nearest; return 1; }
        if (t->layout != VQ_STRIDED)
            *t = vq_tensor_ordered(t->dtype, t->shape[0], t->shape[1], VQ_ROWS, NULL, t->where);
        settle(t);
        return 1;
    case VQ_GUARD_LAYOUT: settle(t); return 1;
    case VQ_GUARD_VALUE:  t->where = VQ_HOST; return 1;
    default:              return 0;
    }
}

static void look_at_report(const vq_report *r, vq_status s);

/* As snprintf: what each of these is tested for. */
typedef int (*printer)(const void *what, int n, char *out, size_t size);
static void look_at_printer(printer print, const void *what, int n);
static int  print_json(const void *r, int n, char *out, size_t size);

static vq_status plan(vq_choice *c)
{
    vq_status s;
    memset(why, 0, sizeof *why);
    s = vq_plan(vq, op, args, c);
    if (s) look_at_report(why, s);
    if (s && !pick(32)) look_at_printer(print_json, why, 1);
    return s;
}

/* Other strides, another layout, the memory of its twin. */
static void restyle(const view *v)
{
    static const int64_t off[] = { 0, -1, 4, -4 };
    vq_tensor *t = v->t, twin;
    const int last = t->rank - 1;
    int i;
    int64_t gap = 1 + (int64_t)pick(9);
    if (t->rank < 1) return;
    switch (pick(8)) {
    case 0:                                        /* rows with gaps */
        if (last < 1) return;
        t->stride[last - 1] += gap;
        for (i = last - 2; i >= 0; i--) t->stride[i] = t->stride[i + 1] * t->shape[i + 1] + gap;
        return;
    case 1:                                        /* columns with gaps */
        for (i = 0; i < t->rank; i++) t->stride[i] *= gap;
        return;
    case 2:                                        /* the first extent the innermost */
        t->stride[0] = 1;
        for (i = 1; i < t->rank; i++) t->stride[i] = t->stride[i - 1] * t->shape[i - 1];
        return;
    case 3:
    case 4:
    case 5:
        if (t->rank != 2 && t->rank != 3) return;
        twin = vq_tensor_ordered(t->dtype, t->shape[last - 1], t->shape[last],
                                 (vq_order)pick(VQ_ORDER_COUNT), NULL, t->where);
        if (last == 2) {                           /* planes that touch, or share a byte */
            const int64_t bytes = vq_tensor_bytes(twin);
            memmove(twin.shape + 1, twin.shape, 2 * sizeof *twin.shape);
            memmove(twin.stride + 1, twin.stride, 2 * sizeof *twin.stride);
            twin.rank = 3;
            twin.shape[0] = t->shape[0];
            twin.stride[0] = (bytes < 1 ? 1 : bytes) + off[pick(4)];
        }
        *t = twin;
        if (t->rank == 2 && t->layout == VQ_PACKED_UE8M0 && pick(2))
            t->stride[1] += 4 * ((int64_t)pick(9) - 4);
        return;
    case 6:
        for (i = 0; v->field->twin && i < view_count; i++)
            if (!strcmp(views[i].field->name, v->field->twin)) {
                const vq_dtype type = t->dtype;
                twin = *views[i].t;
                if (twin.rank < 1) return;
                *t = twin;
                if (vq_dtype_bits(type) == vq_dtype_bits(twin.dtype)) t->dtype = type;
            }
        return;
    default:                                       /* a stride that no step is taken with */
        for (i = 0; i < t->rank; i++) if (t->shape[i] == 1) t->stride[i] = number();
    }
}

/* One thing that may well be wrong. */
static void bend(void)
{
    static const char *const names[] = { "reference", "gpu", "nonsense", "",
                                         "\"\\\n\x7f\xff\xed\xa0\x80 \xe2\x82\xac" };
    const int i = (int)pick((uint32_t)field_count + 2);
    const vq_field *f = &fields[i < field_count ? i : 0];
    char *p = args + f->offset;
    vq_tensor *t = (vq_tensor *)p;
    uint32_t w;
    float v;
    int n, d = (int)pick(4);
    if (i >= field_count) {
        if (i == field_count) call()->policy.only = names[pick(COUNT(names))];
        else call()->policy.forbid = pick(4) ? pick(32) : (uint32_t)word(4);
        return;
    }
    switch (f->kind) {
    case VQ_FIELD_KEY:
        w = pick(4) ? pick(40) - 4u : (uint32_t)word(4);
        memcpy(p + 4 * pick(16), &w, sizeof w);
        return;
    case VQ_FIELD_FLOAT:  v = real(); memcpy(p, &v, sizeof v); return;
    case VQ_FIELD_RESULT: memset(p, 0, sizeof(void *)); return;
    default: break;
    }
    if (!is_tensor_field(f)) {
        n = (int)number();
        memcpy(p, &n, sizeof n);
        return;
    }
    switch (pick(12)) {
    case 0:  t->dtype = (vq_dtype)(pick(8) ? pick(VQ_DTYPE_COUNT + 2) : word(4)); break;
    case 1:  t->where = (vq_where)(pick(8) ? pick(VQ_WHERE_COUNT + 1) : word(4)); break;
    case 2:  t->layout = (vq_layout)(pick(8) ? pick(VQ_LAYOUT_COUNT + 1) : word(4)); break;
    case 3:  t->rank = pick(8) ? (int)pick(7) - 1 : (int)word(4); break;
    case 4:  t->shape[d] = number(); break;
    case 5:  t->shape[d] += (int64_t)pick(5) - 2; settle(t); break;
    case 6:  t->stride[d] = number(); break;
    case 7:  t->stride[d] = (int64_t)((uint64_t)t->stride[d] + pick(9) - 4); break;
    case 8:  memset(t, 0, sizeof *t); break;
    case 9:  t->shape[d] += (int64_t)pick(5) - 2; break;
    case 10:                                       /* many more elements than bytes */
        for (n = 0; n < 4; n++) {
            t->stride[n] = 1;
            if (n < t->rank && pick(2)) t->shape[n] = (int64_t)1 << (20 + pick(40));
        }
        break;
    default: t->dtype = (vq_dtype)(1 + pick(VQ_DTYPE_COUNT - 1)); settle(t); break;
    }
}

/* --- where the tensors lie ------------------------------------------------------- */

static void window(int i, int64_t at, int64_t bytes)
{
    const int64_t low = at > MARGIN ? (at - MARGIN) / 8 * 8 : 0;
    const int64_t high = at + bytes + MARGIN < ROOM ? up(at + bytes + MARGIN, 8) : ROOM;
    if (!to[i] || low < from[i]) from[i] = low;
    if (high > to[i]) to[i] = high;
}

static void put_at(view *v, int in_slot, int64_t at)
{
    v->slot = in_slot;
    v->at = at;
    v->t->data = slot[in_slot] + at;
}

/* Two matrices as slices of one: rows side by side, `gap` bytes between. */
static void place_slices(view *a, view *b, int64_t gap)
{
    view *v[2];
    int64_t width[2], pitch, at;
    int i;
    v[0] = a;
    v[1] = b;
    for (i = 0; i < 2; i++) {
        const vq_tensor *t = v[i]->t;
        if (!v[i]->bytes || t->rank != 2 || t->layout != VQ_STRIDED || t->stride[1] != 1) return;
        width[i] = vq_row_bytes(t->dtype, t->shape[1]);
    }
    pitch = up(width[0] + width[1] + gap, 8);
    if (a->bytes > ROOM / 4 || b->bytes > ROOM / 4
        || (a->t->shape[0] + b->t->shape[0]) * pitch > ROOM / 4) return;
    for (i = 0; i < 2; i++) {
        const int bits = vq_dtype_bits(v[i]->t->dtype);
        v[i]->t->stride[0] = bits < 8 ? pitch : pitch * 8 / bits;
        v[i]->bytes = vq_tensor_bytes(*v[i]->t);
    }
    put_at(a, a->slot, ROOM / 4);
    switch (pick(6)) {                             /* the third and the sixth are too near */
    case 0:  at = width[0]; break;
    case 1:  at = pitch - width[1]; break;
    case 2:  at = width[0] - 1; break;
    case 3:  at = -width[1]; break;
    case 4:  at = width[0] - pitch; break;
    default: at = pitch - width[1] + 1; break;
    }
    put_at(b, a->slot, ROOM / 4 + at);
}

/* More than there are bytes, where steps are short. */
static int64_t elements(const vq_tensor *t)
{
    int64_t n = 1;
    int i;
    for (i = 0; i < t->rank; i++) {
        if (t->shape[i] > ROOM) return ROOM + 1;
        n *= t->shape[i];
        if (n > ROOM) return n;
    }
    return n;
}

static int is_twin(const view *a, const view *b)
{
    return a->field->twin && !strcmp(a->field->twin, b->field->name);
}

static int same_view(const vq_tensor *a, const vq_tensor *b)
{
    return a->rank == b->rank && a->layout == b->layout
        && vq_dtype_bits(a->dtype) == vq_dtype_bits(b->dtype)
        && !memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape)
        && !memcmp(a->stride, b->stride, (size_t)a->rank * sizeof *a->stride);
}

/* Memory for every tensor; one that is no tensor, or too large for its room, has none. */
static void place(void)
{
    const uint32_t wall = pick(4);
    view *a, *b;
    int i, j;
    memset(from, 0, sizeof from);
    memset(to, 0, sizeof to);
    for (i = 0; i < view_count; i++) {
        view *v = &views[i];
        int64_t n = v->t->rank ? vq_tensor_bytes(*v->t) : 0;
        v->slot = i;
        v->bytes = n < 0 || n > ROOM || elements(v->t) > ROOM ? 0 : n;
        v->t->data = NULL;
        v->at = wall == 0 || wall == 1 ? ROOM - v->bytes : wall == 2 ? 0
              : (ROOM - v->bytes < 64 ? 0 : 1 + (int64_t)pick(63));
        if (v->bytes) v->t->data = slot[i] + v->at;
        for (j = 0; j < i; j++)                    /* where it may be, one in two is */
            if (is_twin(v, &views[j]) && v->bytes && views[j].bytes == v->bytes
                && same_view(v->t, views[j].t) && pick(2)) put_at(v, views[j].slot, views[j].at);
    }
    switch (pick(12)) {                            /* often nothing more */
    case 1:
        a = &views[pick((uint32_t)view_count)];
        a->t->data = NULL;
        break;
    case 2:
    case 3:
    case 4:
        a = &views[pick((uint32_t)view_count)];
        b = &views[pick((uint32_t)view_count)];
        if (a == b || a->bytes > ROOM / 4 || b->bytes > ROOM / 4 || !a->bytes || !b->bytes) break;
        put_at(a, a->slot, ROOM / 2);
        put_at(b, a->slot, ROOM / 2 + (pick(2) ? (int64_t)pick(17) - 8 :
                           pick(2) ? a->bytes + (int64_t)pick(9) - 4
                                   : -b->bytes + (int64_t)pick(9) - 4));
        break;
    case 5:
    case 6:
        a = &views[pick((uint32_t)view_count)];
        b = &views[pick((uint32_t)view_count)];
        if (a != b) place_slices(a, b, (int64_t)pick(9));
        break;
    default:
        break;
    }
    for (i = 0; i < view_count; i++)
        if (views[i].bytes) window(views[i].slot, views[i].at, views[i].bytes);
    open_gaps();
}

/* The data of inputs, of several characters; other bytes are recognised. */
static void fill(void)
{
    static const float some[] = { 0.0f, -0.0f, 1.0f, 448.0f, -6.0f, 3.4028235e38f, 1e-45f, 1e-39f };
    const uint32_t nan = 0x7fc00001u, inf = 0x7f800000u;
    const uint32_t character = pick(5);
    int i;
    seed = word(2);
    for (i = 0; i < TENSORS; i++)
        if (to[i]) memset(slot[i] + from[i], IS_PAD, (size_t)(to[i] - from[i]));
    for (i = 0; i < view_count; i++) {
        const view *v = &views[i];
        uint8_t *p = slot[v->slot] + v->at;
        const int bits = v->bytes ? vq_dtype_bits(v->t->dtype) : 0;
        int64_t n = v->bytes, k;
        if (!v->reads) continue;
        for (k = 0; k < n; k++) p[k] = (uint8_t)noise();
        if (bits == 64)                            /* counts that have room to grow */
            for (k = 0; k + 8 <= n; k += 8) memset(p + k + 5, 0, 3);
        if (v->t->dtype == VQ_INT32 && character)  /* counts of rows */
            for (k = 0; k + 4 <= n; k += 4) {
                const int32_t count = (int32_t)(noise() % 6) - 1;
                memcpy(p + k, &count, 4);
            }
        if (!character || (bits != 32 && bits != 16) || v->t->dtype == VQ_INT32) continue;
        for (k = 0; k + bits / 8 <= n; k += bits / 8) {
            float x = ((float)(noise() >> 8) * 0x1p-23f - 1.0f) * (character == 1 ? 1.0f : 300.0f);
            const uint32_t u = noise() % 16;
            if (character > 2 && u < COUNT(some)) x = some[u];
            if (character > 3 && u == 9) memcpy(&x, &nan, sizeof x);
            if (character > 3 && u == 10) memcpy(&x, &inf, sizeof x);
            vq_code_put(p + k, bits, 0, vq_encode(v->t->dtype, x, VQ_NONFINITE));
        }
    }
}

/* --- what must hold ----------------------------------------------------------------- */

static int printable(const char *s)
{
    for (; *s; s++) if ((unsigned char)*s < 32 || *s == 127) return 0;
    return 1;
}

static void look_at_report(const vq_report *r, vq_status s)
{
    static const struct { vq_status status; char kind; } guards[] = {
#define X(ID, status, kind, text) { VQ_##status, kind },
        VQ_GUARDS(X)
#undef X
    };
    HOLDS(s > VQ_OK && s < VQ_STATUS_COUNT && r->status == s);
    HOLDS(r->guard > VQ_GUARD_NONE && r->guard < VQ_GUARD_COUNT);
    HOLDS(guards[r->guard].status == s);
    HOLDS(memchr(r->text, 0, sizeof r->text) && r->text[0] && printable(r->text));
    HOLDS(memchr(r->name, 0, sizeof r->name));
    HOLDS(!op || (r->op && !strcmp(r->op, vq_op_str(op)) && strstr(r->text, r->op) == r->text));
    HOLDS(!r->arg || (r->arg[0] && strstr(r->text, r->arg)));
    HOLDS(!r->kind || strchr("nfsctwlrdg", r->kind));
}

/* The end of a JSON value that begins at p, which a NUL ends; NULL where there is none. */
static const char *json_end(const char *p, int depth)
{
    p += strspn(p, " \n");
    if (depth > 4) return NULL;
    if (*p == '"') {
        for (p++; *p != '"'; p++) {
            if (*p < 32 || *p > 126) return NULL;
            if (*p == '\\' && !strchr("\"\\u", *++p)) return NULL;
            if (*p == 'u' && p[-1] == '\\' && strspn(p + 1, "0123456789abcdef") < 4) return NULL;
        }
        return p + 1;
    }
    if (*p == '[' || *p == '{') {
        const char end = *p == '[' ? ']' : '}';
        p++;
        p += strspn(p, " \n");
        while (*p != end) {
            if (end == '}') {
                p = *p == '"' ? json_end(p, depth + 1) : NULL;
                if (!p || *p++ != ':') return NULL;
            }
            p = json_end(p, depth + 1);
            if (!p) return NULL;
            p += strspn(p, " \n");
            if (*p == ',') {
                p++;
                p += strspn(p, " \n");
                if (*p == end) return NULL;
            } else if (*p != end) return NULL;
        }
        return p + 1;
    }
    if (!strncmp(p, "null", 4) || !strncmp(p, "true", 4)) return p + 4;
    if (!strncmp(p, "false", 5)) return p + 5;
    p += *p == '-';
    return strspn(p, "0123456789") ? p + strspn(p, "0123456789") : NULL;
}

/* As snprintf: the length, what fits, an end, and no byte behind the buffer. */
static void look_at_printer(printer print, const void *what, int n)
{
    const int length = print(what, n, NULL, 0);
    const size_t size = pick(2) ? (size_t)length + 1 : (size_t)pick(200) + 1;
    const char *end = NULL;
    char *whole, *part;
    HOLDS(length >= 0 && length < 1 << 20);
    whole = (char *)malloc((size_t)length + 1);
    part = (char *)malloc(size);
    HOLDS(print(what, n, whole, (size_t)length + 1) == length && (int)strlen(whole) == length);
    HOLDS(print(what, n, part, size) == length);
    HOLDS(strlen(part) == (size <= (size_t)length ? size - 1 : (size_t)length));
    HOLDS(!strncmp(whole, part, strlen(part)));
    if (print == print_json) HOLDS((end = json_end(whole, 0)) && !strcmp(end, "\n"));
    free(whole);
    free(part);
}

static int print_key(const void *k, int n, char *out, size_t size)
{
    (void)n;
    return vq_key_print((const vq_key *)k, out, size);
}

static int print_rows(const void *r, int n, char *out, size_t size)
{
    return vq_report_text((const vq_report *)r, n, out, size);
}

static int print_json(const void *r, int n, char *out, size_t size)
{
    return vq_report_json((const vq_report *)r, n, out, size);
}

#ifndef VQ_NO_COMPARE
static int print_comparison(const void *c, int n, char *out, size_t size)
{
    (void)n;
    return vq_comparison_text((const vq_comparison *)c, out, size);
}
#endif

/* vq_explain() says what vq_plan() does, with data and without. */
static void look_at_explain(vq_status planned, const vq_choice *c)
{
    const int cap = (int)pick(ROWS);
    vq_report *rows = (vq_report *)malloc((size_t)(cap ? cap : 1) * sizeof *rows);
    vq_report all[ROWS];
    int n = -1, m = -1, i, first = -1;
    vq_status s;
    doing = "vq_explain";
    memset(why, 0, sizeof *why);
    s = vq_explain(vq, op, args, all, ROWS, &n);
    HOLDS((s == VQ_BAD_ARG) == (planned == VQ_BAD_ARG) && (s == VQ_OK || s == VQ_BAD_ARG));
    if (s) {
        look_at_report(why, s);
        HOLDS(n == 0);
        free(rows);
        return;
    }
    HOLDS(n > 0 && n <= ROWS);
    HOLDS(vq_explain(vq, op, args, rows, cap, &m) == VQ_OK && m == n);
    for (i = 0; i < n; i++) {
        const vq_report *r = &all[i];
        HOLDS(r->op && !strcmp(r->op, vq_op_str(op)) && r->impl);
        HOLDS(memchr(r->text, 0, sizeof r->text) && printable(r->text));
        if (r->guard) look_at_report(r, r->status);
        else HOLDS(r->status == VQ_OK);
        if (!r->guard && first < 0) first = i;
        HOLDS(r->workspace_bytes >= 0);
        if (i < cap)
            HOLDS(rows[i].guard == r->guard && rows[i].impl == r->impl && rows[i].flags == r->flags
                  && rows[i].bytes_read == r->bytes_read
                  && rows[i].bytes_written == r->bytes_written && !strcmp(rows[i].text, r->text));
    }
    HOLDS((first >= 0) == (planned == VQ_OK));
    if (first >= 0) {
        HOLDS(!strcmp(all[first].impl, vq_impl_str(c)));
        HOLDS(all[first].workspace_bytes == (int64_t)c->workspace_bytes);
    }
    if (!pick(8)) {
        look_at_printer(print_rows, all, n);
        look_at_printer(print_json, all, n);
    }
    free(rows);
}

static void save(uint8_t into[TENSORS][ROOM])
{
    int i;
    for (i = 0; i < TENSORS; i++)
        if (to[i]) memcpy(into[i] + from[i], slot[i] + from[i], (size_t)(to[i] - from[i]));
}

static void restore(void)
{
    int i;
    for (i = 0; i < TENSORS; i++)
        if (to[i]) memcpy(slot[i] + from[i], before[i] + from[i], (size_t)(to[i] - from[i]));
}

/* Everything but the bytes of outputs is as before; after a refusal everything. */
static void look_at_memory(int refused)
{
    int i;
    int64_t k;
    for (i = 0; i < TENSORS; i++) {
        if (!to[i] || !memcmp(slot[i] + from[i], before[i] + from[i], (size_t)(to[i] - from[i])))
            continue;
        for (k = from[i]; k < to[i]; k++)
            if (slot[i][k] != before[i][k] && (refused || !(use[i][k] & WRITTEN)))
                broken("byte %" PRId64 " of slot %d, %p, was written (%s)", k, i,
                       (void *)(slot[i] + k), refused ? "after a refusal"
                       : use[i][k] & READ ? "an input" : "outside of every tensor");
    }
}

static int is_nan(vq_dtype t, uint32_t code)
{
    return t == VQ_F32 ? (code & 0x7fffffffu) > 0x7f800000u
         : t == VQ_F16 ? (code & 0x7fffu) > 0x7c00u
         : t == VQ_BF16 ? (code & 0x7fffu) > 0x7f80u : 0;
}

/* Two runs of bytes of t's type are the same, any NaN being any NaN. */
typedef struct pair { const view *v; const uint8_t *a, *b; } pair;

static void same_run(void *user, int64_t at, int64_t n)
{
    const pair *p = (const pair *)user;
    const vq_dtype t = p->v->t->dtype;
    const int bits = vq_dtype_bits(t);
    int64_t k;
    if (!memcmp(p->a + at, p->b + at, (size_t)n)) return;
    for (k = 0; k < n; k += bits < 8 ? 1 : bits / 8) {
        const uint32_t c = bits == 16 || bits == 32 ? vq_code_get(p->a + at + k, bits, 0) : 0;
        const uint32_t d = bits == 16 || bits == 32 ? vq_code_get(p->b + at + k, bits, 0) : 0;
        if (memcmp(p->a + at + k, p->b + at + k, bits < 8 ? 1 : (size_t)bits / 8)
            && !(is_nan(t, c) && is_nan(t, d)))
            broken("%s differs at byte %" PRId64, p->v->field->name, at + k);
    }
}

#ifndef VQ_NO_ACT
static void made_run(void *user, int64_t at, int64_t n)
{
    const view *v = (const view *)user;
    int64_t k;
    for (k = v->at + at; n; n--, k++) {
        use[v->slot][k] |= MADE;
        if (slot[v->slot][k] != after[v->slot][k])
            broken("%s differs at byte %" PRId64, v->field->name, k - v->at);
    }
}

/* Of what has a row for each row of an expert: the rows below the count, and no others. */
static void look_at_counted(void)
{
    const vq_masked_act_mul_quant_args *a = (const vq_masked_act_mul_quant_args *)args;
    int64_t e, k, w;
    int32_t n;
    int i;
    for (i = 0; i < view_count; i++) {
        const vq_tensor *t = views[i].t;
        view one = views[i];
        vq_tensor rows = *t;
        if (!one.writes || !one.bytes) continue;
        if (t == &a->status) { walk(t, made_run, &one); continue; }
        rows.rank = 2;
        memmove(rows.shape, rows.shape + 1, 2 * sizeof *rows.shape);
        memmove(rows.stride, rows.stride + 1, 2 * sizeof *rows.stride);
        for (e = 0; e < t->shape[0]; e++) {
            memcpy(&n, (const char *)a->counts.data + 4 * e, 4);
            rows.shape[0] = n < 0 ? 0 : n < t->shape[1] ? n : t->shape[1];
            one.at = views[i].at + e * t->stride[0]
                * (t->layout || vq_dtype_bits(t->dtype) < 8 ? 1 : vq_dtype_bits(t->dtype) / 8);
            if (is_empty(&rows)) continue;
            if (!t->layout) walk(&rows, made_run, &one);
            else for (w = 0; w < (t->shape[2] + 3) / 4; w++)
                made_run(&one, w * t->stride[2], 4 * rows.shape[0]);
        }
    }
    for (i = 0; i < TENSORS; i++)
        for (k = from[i]; k < to[i]; k++)
            if (!(use[i][k] & MADE) && slot[i][k] != before[i][k])
                broken("byte %" PRId64 " of slot %d is of no row below the count", k, i);
}
#endif

static void look_at_outputs(void)                  /* in memory and in `after` */
{
    int i;
    for (i = 0; i < view_count; i++)               /* an extent of 0 writes nothing */
        if (views[i].t->rank && is_empty(views[i].t)) return;
#ifndef VQ_NO_ACT
    if (op == VQ_OP_MASKED_ACT_MUL_QUANT) { look_at_counted(); return; }
#endif
    for (i = 0; i < view_count; i++) {
        pair p;
        p.v = &views[i];
        p.a = slot[views[i].slot] + views[i].at;
        p.b = after[views[i].slot] + views[i].at;
        if (views[i].writes && views[i].bytes) walk(views[i].t, same_run, &p);
    }
}

/* What is said of two arguments that share a byte, one of them an output. */
static void look_at_overlap(vq_status s)
{
    int i, j, touching = 0;
    for (i = 0; i < view_count; i++)
        for (j = 0; j < i; j++) {
            const view *a = &views[i], *b = &views[j];
            const int twins = is_twin(a, b) && a->at == b->at && same_view(a->t, b->t);
            int64_t k, low, high;
            if (a->slot != b->slot || !a->bytes || !b->bytes || !(a->writes || b->writes)) continue;
            if (!a->t->data || !b->t->data) continue;
            low = a->at > b->at ? a->at : b->at;
            high = a->at + a->bytes < b->at + b->bytes ? a->at + a->bytes : b->at + b->bytes;
            if (low >= high || twins) continue;
            touching = 1;
            if (s != VQ_OK) continue;
            memset(use[a->slot] + low, 0, (size_t)(high - low));
            walk(b->t, mark, &views[j]);
            for (k = low; k < high; k++) use[a->slot][k] = use[a->slot][k] ? 8 : 0;
            walk(a->t, mark, &views[i]);
            for (k = low; k < high; k++)
                if ((use[a->slot][k] & 8) && (use[a->slot][k] & (READ | WRITTEN)))
                    broken("%s and %s share byte %" PRId64, a->field->name, b->field->name, k);
        }
    if (s && why->text[0] != UNTOLD && why->guard == VQ_GUARD_OVERLAP && !touching)
        broken("nothing overlaps");
}

static void mark_all(void)
{
    int i;
    int64_t k;
    for (i = 0; i < TENSORS; i++)
        if (to[i]) memset(use[i] + from[i], 0, (size_t)(to[i] - from[i]));
    for (i = 0; i < view_count; i++) {
        view *v = &views[i];
        if (!v->bytes) continue;
        if (v->writes) {                           /* twins apart, an output holds a byte once */
            for (k = v->at; k < v->at + v->bytes; k++) use[v->slot][k] &= (uint8_t)~WRITTEN;
            walk(v->t, mark, v);
            for (k = v->at; k < v->at + v->bytes; k++)
                if (use[v->slot][k] & TWICE)
                    broken("%s holds byte %" PRId64 " twice", v->field->name, k - v->at);
        }
    }
    for (i = 0; i < view_count; i++)
        if (views[i].bytes && !views[i].writes) walk(views[i].t, mark, &views[i]);
    for (i = 0; i < view_count; i++)               /* again: the loop above cleared shared ones */
        if (views[i].bytes && views[i].writes) walk(views[i].t, mark, &views[i]);
}

static void reach(void *user, int64_t at, int64_t n)
{
    int64_t *end = (int64_t *)user;
    if (at + n > *end) *end = at + n;
}

static uint8_t result_before[4096], result_after[4096];

static int has_result(void)                        /* one whose size is known */
{
    void *p;
    int i;
    for (i = 0; i < field_count; i++) {
        if (fields[i].kind != VQ_FIELD_RESULT) continue;
        memcpy(&p, args + fields[i].offset, sizeof p);
        return p && result_size() < sizeof result_before;
    }
    return 0;
}

/* One call with everything looked at; what it wrote is then in memory. */
static vq_status run_once(const vq_ctx *on, int in_parts)
{
    vq_choice c;
    const int told = pick(16) != 15;
    vq_status s;
    call()->report = told ? why : NULL;
    memcpy(result, result_before, result_size());
    memset(why, UNTOLD, sizeof *why);
    close_gaps();
    if (!in_parts) s = call_op(on, args);
    else {
        s = vq_plan(on, op, args, &c);
        if (!s) s = vq_run(on, &c, args);
    }
    open_gaps();
    call()->report = why;
    if (told) {
        if (s) look_at_report(why, s);
        else HOLDS(why->text[0] == UNTOLD && why->guard == (vq_guard)0x11111111);
    }
    look_at_memory(s != VQ_OK);
    if (s) HOLDS(!memcmp(result, result_before, result_size()));
    return s;
}

/* An output in the memory of its input gives what it gives elsewhere. */
static void look_at_twins(void)
{
    int i, j;
    for (i = 0; i < view_count; i++)
        for (j = 0; j < view_count; j++) {
            view *a = &views[i];
            pair p;
            const int was = a->slot;
            if (!is_twin(a, &views[j]) || a->slot != views[j].slot || !a->bytes
                || a->at != views[j].at || !same_view(a->t, views[j].t)) continue;
            doing = "not in place";
            p.v = a;
            p.a = after[was] + a->at;
            restore();
            put_at(a, i, a->at);
            if (to[i]) return;                     /* another one is there */
            window(i, a->at, a->bytes);
            open_gaps();
            memset(slot[i] + from[i], IS_PAD, (size_t)(to[i] - from[i]));
            memcpy(before[i] + from[i], slot[i] + from[i], (size_t)(to[i] - from[i]));
            mark_all();
            HOLDS(run_once(vq, 0) == VQ_OK);
            p.b = slot[i] + a->at;
            walk(a->t, same_run, &p);
            return;
        }
}

/* What does not depend on data: the plan, what vq_explain() says, where elements lie. */
static vq_status look_at_plan(vq_choice *c)
{
    void *data[TENSORS];
    vq_status s;
    int i;
    doing = "vq_plan";
    memset(c, 0, sizeof *c);
    s = plan(c);
    look_at_explain(s, c);
    doing = "vq_plan without data";
    for (i = 0; i < view_count; i++) {
        data[i] = views[i].t->data;
        views[i].t->data = NULL;
    }
    HOLDS(plan(c) == s);
    look_at_explain(s, c);
    for (i = 0; i < view_count; i++) views[i].t->data = data[i];
    doing = "where elements lie";
    for (i = 0; i < view_count && !s; i++) {
        const vq_tensor *t = views[i].t;
        int64_t end = 0;
        HOLDS(!t->rank || vq_tensor_check(t, "t", NULL) == VQ_OK);
        if (!views[i].bytes) continue;
        walk(t, reach, &end);
        HOLDS(end == vq_tensor_bytes(*t));
    }
    return s;
}

/* The same again, from other contents of what is only written; then by other loops. */
static void repeat(int which)
{
    int i, n;
    int64_t k;
    for (n = 0; n < 2; n++) {
        doing = n ? "another version of the loops" : "vq_plan and vq_run";
        restore();
        for (i = 0; i < TENSORS; i++)
            for (k = from[i]; k < to[i]; k++)
                if ((use[i][k] & (READ | WRITTEN)) == WRITTEN) slot[i][k] = before[i][k] ^= 0xff;
        for (i = 0; i < COUNT(result_before); i++) result_before[i] ^= 0xff;
        HOLDS(run_once(n ? ctx[(which + 1 + (int)pick(2)) % 3] : vq, !n) == VQ_OK);
        look_at_outputs();
        if (has_result()) HOLDS(!memcmp(result, result_after, result_size()));
    }
}

static void run_call(int which)
{
    vq_choice c;
    vq_status planned = look_at_plan(&c), s;
    int64_t short_by = 0;
    int i;
    if (planned && pick(4)) return;
    for (i = 0; i < COUNT(result_before); i++) result_before[i] = (uint8_t)(i * 5 + 1);
    if (!planned && c.workspace_bytes) {
        short_by = pick(4) == 3;
        call()->workspace_bytes = c.workspace_bytes - (size_t)short_by;
        call()->workspace = malloc(call()->workspace_bytes);
    }
    fill();
    save(before);
    if (!planned) mark_all();
    doing = "the call";
    s = run_once(vq, 0);
    calls[op]++;
    if (s) bad[op]++;
    else good[op]++;
    HOLDS(!planned || s == planned);
    HOLDS(!s || !planned || s == planned);
    HOLDS(s || (!short_by && which < 3));
    if (!planned) look_at_overlap(s);
    if (!s) {
        save(after);
        memcpy(result_after, result, result_size());
        mark_all();
#ifndef VQ_NO_COMPARE
        if (op == VQ_OP_COMPARE && !pick(8)) look_at_printer(print_comparison, result, 0);
#endif
        repeat(which);
        look_at_twins();
    }
    if (!planned && c.workspace_bytes) free(call()->workspace);
}

static void fuzz_op(void)
{
    vq_choice c;
    int i, n, which = (int)pick(16);
    which = which < 3 ? which : which > 12 ? which - 13 + 3 : 0;
    vq = ctx[which];
    fields = vq_op_fields(op, &field_count);
    HOLDS(fields && field_count > 0 && field_count <= FIELDS);
    args = (char *)malloc(args_size[op]);
    result = malloc(result_size());
    start_args();
    find_views();
    doing = "repair";
    for (i = 0; i < 40 && plan(&c) && repair(i, 0); i++) find_views();
    for (n = (int)pick(5); n; n--) {
        char *kept = (char *)malloc(args_size[op]);
        const int was_good = !plan(&c);
        memcpy(kept, args, args_size[op]);
        restyle(&views[pick((uint32_t)view_count)]);
        for (i = 0; i < 4 && plan(&c) && repair(i, 1); i++) { }
        if (was_good && plan(&c) && pick(4)) memcpy(args, kept, args_size[op]);
        free(kept);
    }
    n = (int)pick(5);
    for (n = n < 2 ? 0 : n - 1; n; n--) bend();
    find_views();
    for (i = (int)pick(2) * 8; i && plan(&c) && repair(i, 1); i--) find_views();
    find_views();
    place();
    run_call(which);
    close_all();
    free(args);
    free(result);
    args = NULL;
}

/* --- texts -------------------------------------------------------------------------- */

static void fuzz_text(void)
{
    char *s = (char *)malloc(left + 1), *again;
    vq_key k, same, was;
    vq_arch arch;
    vq_platform platform;
    vq_status st;
    int n;
    op = VQ_OP_NONE;
    doing = "text";
    memcpy(s, in, left);
    s[left] = 0;
    memset(&k, 0x5a, sizeof k);
    was = k;
    memset(why, UNTOLD, sizeof *why);
    st = vq_key_parse(s, &k, why);
    if (st) {
        look_at_report(why, st);
        HOLDS(!memcmp(&k, &was, sizeof k));
        HOLDS(why->guard != VQ_GUARD_KEYTEXT
              || (why->found >= 0 && why->found <= (int64_t)strlen(s)));
    } else {
        texts_read++;
        HOLDS(vq_key_check(&k, NULL) == VQ_OK);
        n = vq_key_print(&k, NULL, 0);
        again = (char *)malloc((size_t)n + 1);
        HOLDS(vq_key_print(&k, again, (size_t)n + 1) == n);
        HOLDS(vq_key_parse(again, &same, NULL) == VQ_OK && vq_key_equal(&k, &same)
              && vq_key_hash(&k) == vq_key_hash(&same));
        free(again);
        in = (const uint8_t *)s;
        look_at_printer(print_key, &k, 0);
        was = vq_key_static(k);
        HOLDS(vq_key_check(&was, NULL) == VQ_OK && (was.flags & VQ_KEY_STATIC));
        was = vq_key_static(was);
        same = vq_key_static(k);
        HOLDS(vq_key_equal(&was, &same));
    }
    memset(why, UNTOLD, sizeof *why);
    st = vq_arch_parse(s, &arch, why);
    if (st) look_at_report(why, st);
    else {
        HOLDS(memchr(arch.name, 0, sizeof arch.name) && (unsigned)arch.backend < VQ_BACKEND_COUNT);
        HOLDS(!strncmp(arch.name, s, strlen(arch.name)) || arch.suffix);
    }
    memset(why, UNTOLD, sizeof *why);
    if (vq_platform_of(s, &platform, why)) look_at_report(why, why->status);
    else HOLDS(!st && platform.backend == arch.backend && platform.major == arch.major);
    HOLDS(!vq_dtype_of(s) || !strcmp(vq_dtype_str(vq_dtype_of(s)), s));
    HOLDS(vq_order_of(s) < 0 || !strcmp(vq_order_str((vq_order)vq_order_of(s)), s));
    HOLDS(vq_backend_of(s) < 0 || !strcmp(vq_backend_str((vq_backend)vq_backend_of(s)), s));
    HOLDS(vq_act_of(s) < 0 || !strcmp(vq_act_str((vq_act_kind)vq_act_of(s)), s));
    HOLDS(vq_gate_of(s) < 0 || !strcmp(vq_gate_str((vq_gate)vq_gate_of(s)), s));
    HOLDS(!vq_op_of(s) || !strcmp(vq_op_str(vq_op_of(s)), s));
    free(s);
}

/* --- functions beside the ops -------------------------------------------------------- */

typedef __int128 wide;

/* Whether t is a tensor, and its bytes, in numbers that do not overflow. */
static int is_tensor(const vq_tensor *t, wide *bytes)
{
    const wide most = INT64_MAX / 8;
    const int bits = vq_dtype_bits(t->dtype), last = t->rank - 1;
    wide n, rows, cols;
    int i, dims = t->rank;
    *bytes = 0;
    if (t->rank < 1 || t->rank > 4 || (unsigned)t->dtype >= VQ_DTYPE_COUNT || !t->dtype) return 0;
    if ((unsigned)t->where >= VQ_WHERE_COUNT || (unsigned)t->layout >= VQ_LAYOUT_COUNT) return 0;
    if (t->layout && (bits != 8 || t->rank < 2 || t->rank > 3)) return 0;
    if (t->layout == VQ_PACKED_UE8M0 && t->dtype != VQ_E8M0) return 0;
    for (i = 0; i < t->rank; i++) if (t->shape[i] < 0 || t->shape[i] > most) return 0;
    if (is_empty(t)) return 1;
    for (i = 0; i < t->rank; i++) if (t->shape[i] > 1 && t->stride[i] < 1) return 0;
    cols = t->shape[last];
    if (t->layout == VQ_STRIDED) {
        const wide unit = bits < 8 ? 1 : bits / 8;
        n = unit;
        if (bits < 8) {
            n = (cols * bits + 7) / 8;
            if (cols > 1 && t->stride[last] != 1) return 0;
            if (last && t->shape[last - 1] > 1 && t->stride[last - 1] < n) return 0;
            dims--;
        }
        for (i = 0; i < dims; i++) n += (wide)(t->shape[i] - 1) * t->stride[i] * unit;
    } else {
        rows = t->shape[last - 1];
        if (t->layout == VQ_PACKED_UE8M0) {
            const wide words = (cols + 3) / 4, high = (rows + 3) / 4 * 4;
            if (t->stride[last - 1] != 4 || t->stride[last] % 4 || t->stride[last] < 4 * rows)
                return 0;
            n = (words - 1) * t->stride[last] + 4 * (t->stride[last] >= 4 * high ? high : rows);
        } else {
            const wide high = t->layout == VQ_SWIZZLE_128X4 ? 128
                            : t->layout == VQ_SWIZZLE_8X4 ? 8 : 32;
            const wide pitch = t->layout == VQ_SWIZZLE_CDNA4 ? (cols + 7) / 8 * 8
                                                             : (cols + 3) / 4 * 4;
            if (t->stride[last - 1] != pitch || t->stride[last] != 1) return 0;
            n = (rows + high - 1) / high * high * pitch;
        }
        if (last == 2) n += (wide)(t->shape[0] - 1) * t->stride[0];
    }
    *bytes = n;
    return n <= INT64_MAX;
}

static void check_loose(const vq_tensor *t)
{
    wide bytes;
    const int is = is_tensor(t, &bytes);
    vq_status s;
    args = (char *)(uintptr_t)t;                   /* for broken() */
    memset(why, UNTOLD, sizeof *why);
    s = vq_tensor_check(t, "t", why);
    if (s) look_at_report(why, s);
    if ((s == VQ_OK) != is || vq_tensor_bytes(*t) != (is ? (int64_t)bytes : -1)) {
        print_tensor("t", t);
        broken("a tensor is %stold from what is none", is ? "not " : "wrongly ");
    }
    loose_good += is;
    args = NULL;
}

static void fuzz_loose(void)
{
    vq_tensor t, u;
    vq_key k = make_key();
    vq_dtype type = (vq_dtype)(pick(8) ? pick(VQ_DTYPE_COUNT + 1) : (uint32_t)word(4));
    int64_t shape[4], group[2], count[2];
    vq_status s;
    int i;
    op = VQ_OP_NONE;
    field_count = 0;
    doing = "tensors";
    for (i = 0; i < 4; i++) shape[i] = pick(3) ? (int64_t)pick(9) : number();
    switch (pick(4)) {
    case 0:  t = vq_tensor_2d(NULL, type, shape[0], shape[1], VQ_HOST); break;
    case 1:  t = vq_tensor_nd(NULL, type, (int)pick(7) - 1, shape, VQ_HOST); break;
    case 2:  t = vq_tensor_ordered(type, shape[0], shape[1], (vq_order)pick(VQ_ORDER_COUNT + 1),
                                   NULL, VQ_HOST); break;
    default:
        memset(&t, 0, sizeof t);
        t.dtype = type;
        t.rank = (int)pick(7) - 1;
        t.layout = (vq_layout)pick(VQ_LAYOUT_COUNT);
        for (i = 0; i < 4; i++) {
            t.shape[i] = shape[i];
            t.stride[i] = pick(3) ? (int64_t)pick(40) : number();
        }
    }
    check_loose(&t);
    if (t.rank > 0 && t.rank <= 4 && pick(2)) {
        t.stride[pick(4)] += (int64_t)pick(9) - 4 > 0 ? -1 : 0;
        check_loose(&t);
    }
    if (vq_key_check(&k, why) == VQ_OK) {
        vq_key other = vq_key_as(k, type, real());
        char text[256];
        vq_key_check(&other, NULL);
        HOLDS(vq_key_print(&k, text, sizeof text) < (int)sizeof text);
        HOLDS(vq_key_parse(text, &other, NULL) == VQ_OK && vq_key_equal(&k, &other));
        vq_key_group(&k, shape[0] < 0 ? 0 : shape[0], shape[1] < 0 ? 0 : shape[1], group, count);
        HOLDS(count[0] >= 0 && count[1] >= 0);
        if (t.rank == 2 && t.shape[0] >= 0 && t.shape[1] >= 0) {
            u = vq_scale_for(&k, t, (vq_order)pick(VQ_ORDER_COUNT), NULL);
            check_loose(&u);
        }
        for (i = 0; i < vq_platform_count(); i++) {
            vq_platform p = vq_platform_at(i);
            other = vq_key_on(k, &p);
            HOLDS(vq_key_check(&other, NULL) == VQ_OK);
        }
    }
    memset(&u, 0x5a, sizeof u);
    memset(why, UNTOLD, sizeof *why);
    s = vq_scale_from_1d(pick(2) ? &k : NULL, &t, shape[2], shape[3], &u, why);
    if (s) look_at_report(why, s);
    else {
        HOLDS(u.rank == 2 && u.dtype == t.dtype && u.shape[0] * u.shape[1] == t.shape[0]);
        HOLDS(vq_tensor_bytes(u) == vq_tensor_bytes(t));
    }
    HOLDS(vq_row_bytes(type, shape[0]) >= -1);
#ifndef VQ_NO_OBSERVE
    {
        int64_t counts[8];
        for (i = 0; i < 8; i++) counts[i] = pick(4) ? (int64_t)pick(9) : (int64_t)(word(5));
        vq_histogram_percentile(counts, 1 + (int64_t)pick(8), real(), real());
    }
#endif
#ifndef VQ_NO_QUANT
    vq_sqnr_db((double)real(), (double)real());
#endif
}

/* --- the fuzzer's two functions --------------------------------------------------- */

enum { TEXT = VQ_OP_COUNT - 1, LOOSE, MODES };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t mode;
    size_t i;
    in = data;
    left = size;
    for (beyond = size, i = 0; i < size; i++) beyond = (beyond ^ data[i]) * UINT64_C(0x100000001b3);
    mode = pick(MODES);
    if (mode == TEXT) fuzz_text();
    else if (mode == LOOSE) fuzz_loose();
    else {
        op = (vq_op)(mode + 1);
        fuzz_op();
    }
    return 0;
}

static void write_seed(const char *dir, int *n, const void *bytes, size_t size)
{
    char name[400];
    FILE *f;
    snprintf(name, sizeof name, "%s/%d", dir, (*n)++);
    f = fopen(name, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f)) { perror(name); exit(1); }
}

/* Every op under many keys; every text that means something. */
static void write_seeds(const char *dir)
{
    static const char *const words[] = {
        "cpu", "gfx942:sramecc+:xnack-", "gfx90a", "sm_90a", "sm_120", "gfx1201", "gfx950:xnack+",
        "silu", "swiglu_oai", "even", "quant", "hip", "columns_tma", "float8_e4m3fn", "fp8_token"
    };
    uint8_t b[256];
    char text[256];
    int n = 0, i, k;
    size_t j;
    for (i = 0; i < VQ_OP_COUNT - 1; i++)
        for (k = 0; k < 24; k++) {
            seed = (uint64_t)(i * 100 + k);
            for (j = 0; j < sizeof b; j++) b[j] = k ? (uint8_t)noise() : 0;
            b[0] = (uint8_t)i;
            write_seed(dir, &n, b, 24u + 8u * (unsigned)k);
        }
    for (k = 0; k < 24; k++) {
        for (j = 0; j < sizeof b; j++) b[j] = (uint8_t)noise();
        b[0] = LOOSE;
        write_seed(dir, &n, b, 64);
    }
    text[0] = (char)TEXT;
    for (i = 0; i < VQ_KEY_COUNT; i++) {
        const vq_key key = vq_key_preset((vq_key_id)i);
        vq_key_print(&key, text + 1, sizeof text - 1);
        write_seed(dir, &n, text, strlen(text));
    }
    for (i = 0; i < COUNT(words); i++) {
        snprintf(text + 1, sizeof text - 1, "%s", words[i]);
        write_seed(dir, &n, text, strlen(text));
    }
}

static void print_counts(void)
{
    int i;
    for (i = 1; i < VQ_OP_COUNT; i++)
        printf("fuzz_args: %s calls %ld ok %ld refused %ld\n", vq_op_str((vq_op)i), calls[i],
               good[i], bad[i]);
    printf("fuzz_args: texts ok %ld, tensors ok %ld\n", texts_read, loose_good);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const uint32_t without[] = { 0, VQ_CAP(AVX512), VQ_CAP(AVX512) | VQ_CAP(AVX2), 0 };
    static const char *const assume[] = { "gfx942", "gfx950", "sm_90" };
    int i;
    if (*argc == 3 && !strcmp((*argv)[1], "--seeds")) {
        write_seeds((*argv)[2]);
        exit(0);
    }
    why = (vq_report *)malloc(sizeof *why);
    make_walls();
    for (i = 0; i < 6; i++) {
        vq_desc d = VQ_ZERO;
        d.backend = i < 3 ? VQ_CPU : VQ_ANY;
        d.without = without[i < 3 ? i : 3];
        d.assume = i < 3 ? NULL : assume[i - 3];
        if (vq_init(&d, &ctx[i]) != VQ_OK) { fprintf(stderr, "fuzz_args: vq_init\n"); exit(1); }
    }
    atexit(print_counts);
    return 0;
}
