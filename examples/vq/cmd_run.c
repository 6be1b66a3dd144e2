/* cmd_run.c - an op on the tensors of a file

   Every job is planned before the output is begun, so that most refusals come before a byte is
   written; then one job after another has its memory and gives it back. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "safetensors.h"
#include "tool.h"

/* One tensor argument of an op. */
typedef struct slot {
    const char *arg;                  /* "x" */
    vq_tensor  *t;                    /* in the job's args */
    vq_tensor   file;                 /* as a file has it: a scalar has rank 0 */
    const void *from;                 /* bytes to read: the input file's, or own; NULL: an output */
    void       *own;
    vq_order    order;
    int         written;
    size_t      item;                 /* of the writer */
} slot;

typedef struct job {
    char     *name;                   /* of the tensor with --all, else NULL */
    any_args  a;
    vq_choice choice;
    slot      s[4];
    int       slots;
    vq_report why;
} job;

typedef struct run_state {
    const options *o;
    vq_ctx    *vq;
    st_file    in;
    st_writer  out;
    job      **jobs;
    size_t     count;
} run_state;

/* Of one matrix against what came back of it, or of all. */
typedef struct error_sum {
    double  signal, noise, worst;     /* sums of squares, largest |x - y|, over finite x;
                                         a NaN stays */
    int64_t bytes_in, bytes_out;
} error_sum;

static int refused(const run_state *r, const job *j)
{
    return fail("%s: %s%s%s", r->o->in, j->name ? j->name : "", j->name ? ": " : "", j->why.text);
}

/* "x", or "NAME.x" with --all. To be freed; NULL: no memory. */
static char *full_name(const char *name, const char *arg)
{
    size_t n = (name ? strlen(name) : 0) + strlen(arg) + 2;
    char *s = (char *)malloc(n);
    if (s) snprintf(s, n, "%s%s%s", name ? name : "", name ? "." : "", arg);
    return s;
}

static slot *add_slot(job *j, const char *arg, vq_tensor *t, vq_order order)
{
    slot *s = &j->s[j->slots++];
    s->arg = arg;
    s->t = t;
    s->file = *t;
    s->order = order;
    return s;
}

/* What an op needs of a tensor that is read. */
enum { ANY = 0, MATRIX = 1, IN_ROWS = 2 };

/* The input file's tensor `name` becomes argument arg. */
static int read_slot(run_state *r, job *j, const char *name, const char *arg, int needs,
                     vq_tensor *t)
{
    const st_tensor *e = st_find(&r->in, name);
    vq_order order;
    slot *s;
    int extents;
    if (!e) return fail("%s: has no tensor %s, which %s reads", r->o->in, name,
                        vq_op_str(r->o->op));
    if (st_view(&r->in, e, t, &order, &extents)) return 1;
    if ((needs & MATRIX) && extents != 2)
        return fail("%s: tensor %s: has %d extent%s, needed 2", r->o->in, name, extents,
                    extents == 1 ? "" : "s");
    if ((needs & IN_ROWS) && order != VQ_ROWS)
        return fail("%s: tensor %s: has order %s, needed rows", r->o->in, name,
                    vq_order_str(order));
    s = add_slot(j, arg, t, order);
    s->file.rank = extents;
    s->from = t->data;
    t->data = NULL;
    t->where = vq_mem_where(r->vq);
    return 0;
}

static int read_named(run_state *r, job *j, const char *arg, int needs, vq_tensor *t)
{
    char *name = full_name(j->name, arg);
    int bad = name ? read_slot(r, j, name, arg, needs, t) : fail("out of memory");
    free(name);
    return bad;
}

static slot *write_slot(job *j, const char *arg, vq_tensor *t, vq_order order)
{
    slot *s = add_slot(j, arg, t, order);
    s->written = 1;
    return s;
}

/* An output with the shape that slot `from` has in the input file. */
static void write_like(job *j, const char *arg, vq_tensor *t, int from)
{
    slot *s = write_slot(j, arg, t, j->s[from].order);
    s->file = j->s[from].file;
    s->file.dtype = t->dtype;
}

/* A scale of fewer extents than two, which files have. */
static int widen_scale(run_state *r, job *j, const vq_key *k, vq_tensor *scale, int64_t rows,
                       int64_t cols)
{
    vq_tensor flat = *scale;
    if (flat.rank != 1 || vq_scale_from_1d(k, &flat, rows, cols, scale, &j->why) == VQ_OK) return 0;
    return refused(r, j);
}

/* Scales that no file gives: one value, or the amax of each group. */
static int make_scale(run_state *r, job *j, const vq_tensor *x, const void *data)
{
    const options *o = r->o;
    const vq_key *k = &o->key;
    vq_tensor *t = &j->a.quant.scale;
    const int bits = vq_dtype_bits(x->dtype), scale_bits = vq_dtype_bits(k->scale_type);
    int64_t group[2], count[2], bytes, rows, i, c;
    unsigned char *own;
    float *amax;
    slot *s;

    *t = vq_scale_for(k, j->a.quant.q, o->order, NULL);
    bytes = vq_tensor_bytes(*t);
    if (bytes < 0) {                              /* the plan says why */
        add_slot(j, "scale", t, o->order);
        return 0;
    }
    vq_key_group(k, x->shape[0], x->shape[1], group, count);
    own = (unsigned char *)calloc((size_t)bytes + 1, 1);
    amax = (float *)calloc((size_t)(count[0] * count[1]) + 1, sizeof *amax);
    if (!own || !amax) {
        free(own);
        free(amax);
        return fail("out of memory");
    }
    rows = x->shape[1] ? x->shape[0] : 0;         /* the other extent may be huge */
    for (i = 0; o->scale == SCALE_AMAX && i < rows; i++) {
        const unsigned char *row = (const unsigned char *)data + i * x->shape[1] * bits / 8;
        float *a = amax + i / group[0] * count[1];
        for (c = 0; c < x->shape[1]; c++) {
            uint32_t u = vq__f32_bits(vq_decode(x->dtype, vq_code_get(row, bits, c))) & 0x7fffffffu;
            if (u < 0x7f800000u && vq__f32_make(u) > a[c / group[1]])
                a[c / group[1]] = vq__f32_make(u);
        }
    }
    rows = count[1] ? count[0] : 0;
    for (i = 0; i < rows; i++)
        for (c = 0; c < count[1]; c++) {
            float v = o->scale_value;
            if (o->scale == SCALE_AMAX) v = amax[i * count[1] + c] / k->code_max;
            if (o->scale == SCALE_AMAX && v == 0) v = 1;
            vq_code_put(own, scale_bits,
                        vq_layout_index(t->layout, t->stride[0], t->stride[1], i, c),
                        vq_encode(k->scale_type, v, VQ_SATURATE));
        }
    free(amax);
    s = add_slot(j, "scale", t, o->order);
    s->own = own;
    s->from = own;
    s->written = 1;
    return 0;
}

static int prepare_quant(run_state *r, job *j, const char *x_name)
{
    const options *o = r->o;
    vq_quant_args *a = &j->a.quant;
    const vq_where where = vq_mem_where(r->vq);

    a->key = o->key;
    if (read_slot(r, j, x_name, "x", MATRIX | IN_ROWS, &a->x)) return 1;
    a->q = vq_tensor_2d(NULL, o->key.elem, a->x.shape[0], a->x.shape[1], where);
    write_slot(j, "q", &a->q, VQ_ROWS);
    if (!(o->key.flags & VQ_KEY_STATIC)) {
        a->scale = vq_scale_for(&o->key, a->q, o->order, NULL);
        write_slot(j, "scale", &a->scale, o->order);
        return 0;
    }
    if (o->scale != SCALE_NONE) return make_scale(r, j, &a->x, j->s[0].from);
    if (read_slot(r, j, "scale", "scale", ANY, &a->scale)) return 1;
    j->s[j->slots - 1].written = 1;               /* so that dequant has all it needs */
    return widen_scale(r, j, &o->key, &a->scale, a->x.shape[0], a->x.shape[1]);
}

static int prepare_dequant(run_state *r, job *j)
{
    const options *o = r->o;
    vq_dequant_args *a = &j->a.dequant;

    a->key = o->key;
    if (read_named(r, j, "q", MATRIX, &a->q) || read_named(r, j, "scale", ANY, &a->scale)) return 1;
    if (widen_scale(r, j, &o->key, &a->scale, a->q.shape[0], a->q.shape[1])) return 1;
    a->y = vq_tensor_2d(NULL, o->out_type ? o->out_type : VQ_F32, a->q.shape[0], a->q.shape[1],
                        vq_mem_where(r->vq));
    write_slot(j, "y", &a->y, VQ_ROWS);
    return 0;
}

static int prepare_other(run_state *r, job *j)
{
    const options *o = r->o;
    const vq_where where = vq_mem_where(r->vq);
    any_args *a = &j->a;

    switch (o->op) {
    case VQ_OP_CAST:
        if (read_named(r, j, "x", IN_ROWS, &a->cast.x)) return 1;
        a->cast.overflow = o->overflow;
        a->cast.y = vq_tensor_nd(NULL, o->out_type, a->cast.x.rank, a->cast.x.shape, where);
        write_like(j, "y", &a->cast.y, 0);
        return 0;
    case VQ_OP_FNUZ_NORMALIZE:
        if (read_named(r, j, "x", MATRIX, &a->fnuz.x)
            || read_named(r, j, "scale", ANY, &a->fnuz.scale)) return 1;
        a->fnuz.overflow = o->overflow;
        a->fnuz.y = a->fnuz.x;
        a->fnuz.y.dtype = fnuz_counterpart(a->fnuz.x.dtype);
        if (a->fnuz.y.dtype == VQ_NONE)
            return fail("%s: tensor x: is %s, needed an 8-bit float with a counterpart", o->in,
                        vq_dtype_str(a->fnuz.x.dtype));
        if (a->fnuz.scale.rank == 1)
            a->fnuz.scale = vq_tensor_2d(NULL, a->fnuz.scale.dtype, 1, a->fnuz.scale.shape[0],
                                         where);
        a->fnuz.scale_out = a->fnuz.scale;
        write_like(j, "y", &a->fnuz.y, 0);
        write_like(j, "scale_out", &a->fnuz.scale_out, 1);
        return 0;
    default:                                      /* scale_convert */
        if (read_named(r, j, "x", MATRIX, &a->scales.x)) return 1;
        a->scales.y = vq_tensor_ordered(a->scales.x.dtype, a->scales.x.shape[0],
                                        a->scales.x.shape[1], (vq_order)o->layout, NULL, where);
        write_slot(j, "y", &a->scales.y, (vq_order)o->layout);
        return 0;
    }
}

/* One job, for tensor `name` or, without one, for the tensors named as the arguments are. */
static int add_job(run_state *r, const char *name)
{
    const options *o = r->o;
    job **more = (job **)realloc(r->jobs, (r->count + 1) * sizeof *more), *j;
    int bad, i;
    char *item;

    if (more) r->jobs = more;
    j = more ? (job *)calloc(1, sizeof *j) : NULL;
    if (!j) return fail("out of memory");
    r->jobs[r->count++] = j;
    if (name && !(j->name = (char *)malloc(strlen(name) + 1))) return fail("out of memory");
    if (name) strcpy(j->name, name);
    bad = o->op == VQ_OP_QUANT ? prepare_quant(r, j, name ? name : "x")
        : o->op == VQ_OP_DEQUANT ? prepare_dequant(r, j) : prepare_other(r, j);
    if (bad) return bad;
    j->a.call.report = &j->why;
    if (vq_plan(r->vq, o->op, &j->a, &j->choice) != VQ_OK) return refused(r, j);
    for (i = 0; i < j->slots; i++) {
        if (!j->s[i].written) continue;
        item = full_name(j->name, j->s[i].arg);
        bad = item ? st_declare(&r->out, item, j->s[i].file, j->s[i].order, &j->s[i].item)
                   : fail("out of memory");
        free(item);
        if (bad) return bad;
    }
    return 0;
}

/* Names come from files: they may not end the line. */
static void print_name(int width, const char *name)
{
    for (; *name; name++, width--)
        putchar((unsigned char)*name < ' ' || *name == 0x7f ? '?' : *name);
    if (width > 0) printf("%*s", width, "");
}

static void print_skipped(const char *name, const char *why)
{
    fputs("skipped ", stdout);
    print_name(0, name);
    printf(": %s\n", why);
}

/* Every tensor that the op can take by itself; the others get a line that says why not. A NAME
   may be empty, and may end as an argument does: NAME.q and NAME.scale differ all the same. */
static int add_all(run_state *r)
{
    const int quant = r->o->op == VQ_OP_QUANT;
    size_t i;
    for (i = 0; i < r->in.count; i++) {
        const st_tensor *t = &r->in.tensor[i];
        const vq_dtype type = st_dtype(&r->in, t);
        const size_t n = strlen(t->name);
        const char *skip = NULL;
        char *name, *scale;
        int bad, other = 0;

        if (quant) {
            if (type != VQ_F32 && type != VQ_F16 && type != VQ_BF16) skip = "not f32, f16 or bf16";
            else if (t->rank != 2) skip = "not a matrix";
            if (skip) print_skipped(t->name, skip);
            else if (add_job(r, t->name)) return 1;
            continue;
        }
        name = (char *)malloc(n + 1);
        if (!name) return fail("out of memory");
        strcpy(name, t->name);
        if (n >= 6 && !strcmp(name + n - 6, ".scale")) {
            strcpy(name + n - 6, ".q");
            if (!st_find(&r->in, name)) skip = "has no q";
            other = 1;
        } else if (n < 2 || strcmp(name + n - 2, ".q")) skip = "neither NAME.q nor NAME.scale";
        else {
            name[n - 2] = 0;
            scale = full_name(name, "scale");
            if (!scale || !st_find(&r->in, scale)) skip = "has no scale";
            free(scale);
        }
        if (skip) print_skipped(t->name, skip);
        bad = !skip && !other && add_job(r, name);
        free(name);
        if (bad) return 1;
    }
    if (!r->count) return fail("%s: has no tensor that %s --all takes", r->o->in,
                               vq_op_str(r->o->op));
    return 0;
}

/* --- running -------------------------------------------------------------- */

static void *take(run_state *r, size_t bytes)
{
    return vq_mem_alloc(r->vq, bytes ? bytes : 1);
}

/* Dequantizes what quant has left in memory, and compares. */
static int measure(run_state *r, job *j, error_sum *e)
{
    const vq_quant_args *q = &j->a.quant;
    const unsigned char *x = (const unsigned char *)j->s[0].from;
    const int bits = vq_dtype_bits(q->x.dtype);
    const int64_t n = q->x.shape[0] * q->x.shape[1];
    vq_dequant_args d = VQ_ZERO;
    int64_t i;
    float *y = (float *)malloc((size_t)n * 4 + 1);
    void *mem = take(r, (size_t)n * 4);
    int bad = 1;

    d.call.report = &j->why;
    d.key = q->key;
    d.q = q->q;
    d.scale = q->scale;
    d.y = vq_tensor_2d(mem, VQ_F32, q->x.shape[0], q->x.shape[1], vq_mem_where(r->vq));
    memset(e, 0, sizeof *e);
    e->bytes_in = vq_tensor_bytes(q->x);
    e->bytes_out = vq_tensor_bytes(q->q) + vq_tensor_bytes(q->scale);
    if (!y || !mem) fail("out of memory");
    else if (vq_dequant(r->vq, &d) != VQ_OK) refused(r, j);
    else if (vq_mem_copy(r->vq, y, mem, (size_t)n * 4) != VQ_OK) fail("memory cannot be copied");
    else bad = 0;
    for (i = 0; !bad && i < n; i++) {
        const float v = vq_decode(q->x.dtype, vq_code_get(x, bits, i));
        const double off = (double)v - (double)y[i];
        if ((vq__f32_bits(v) & 0x7f800000u) == 0x7f800000u) continue;
        e->signal += (double)v * (double)v;
        e->noise += off * off;
        if (e->worst == e->worst && !(fabs(off) <= e->worst)) e->worst = fabs(off);
    }
    vq_mem_free(r->vq, mem);
    free(y);
    return bad;
}

static void print_error(int width, const char *name, const char *shape, const error_sum *e)
{
    char db[32], worst[32];
    if (e->noise != e->noise) snprintf(db, sizeof db, "nan");
    else if (e->noise == 0) snprintf(db, sizeof db, "inf");
    else snprintf(db, sizeof db, "%.2f", 10 * log10(e->signal / e->noise));
    if (e->worst != e->worst) snprintf(worst, sizeof worst, "nan");
    else snprintf(worst, sizeof worst, "%.6g", e->worst);
    print_name(width, name);
    printf("  %-14s %12" PRId64 " %12" PRId64 "  %7s  %s\n", shape, e->bytes_in, e->bytes_out, db,
           worst);
}

static int run_job(run_state *r, job *j, error_sum *e)
{
    void *host = NULL, *mem[4] = {0, 0, 0, 0}, *work = NULL;
    size_t bytes[4] = {0, 0, 0, 0}, most = 1;
    int i, bad = 1;

    for (i = 0; i < j->slots; i++) {
        bytes[i] = (size_t)vq_tensor_bytes(*j->s[i].t);
        if (!(mem[i] = take(r, bytes[i]))) goto memory;
        if (j->s[i].written && bytes[i] > most) most = bytes[i];
        j->s[i].t->data = mem[i];
    }
    if (!(host = calloc(most, 1))) goto memory;
    if (j->choice.workspace_bytes && !(work = take(r, j->choice.workspace_bytes))) goto memory;
    j->a.call.workspace = work;
    j->a.call.workspace_bytes = j->choice.workspace_bytes;
    for (i = 0; i < j->slots; i++)                /* outputs start as 0: some layouts have gaps */
        if (vq_mem_copy(r->vq, mem[i], j->s[i].from ? j->s[i].from : host, bytes[i]) != VQ_OK)
            goto copy;
    if (vq_run(r->vq, &j->choice, &j->a) != VQ_OK) {
        refused(r, j);
        goto out;
    }
    if (e && measure(r, j, e)) goto out;
    for (i = 0; i < j->slots; i++) {
        if (!j->s[i].written) continue;
        if (vq_mem_copy(r->vq, host, mem[i], bytes[i]) != VQ_OK) goto copy;
        if (st_put(&r->out, j->s[i].item, host)) goto out;
    }
    bad = 0;
    goto out;
memory:
    fail("%s%sout of memory on %s", j->name ? j->name : "", j->name ? ": " : "", vq_arch_in(r->vq));
    goto out;
copy:
    fail("%s%smemory of %s cannot be copied", j->name ? j->name : "", j->name ? ": " : "",
         vq_arch_in(r->vq));
out:
    for (i = 0; i < j->slots; i++) vq_mem_free(r->vq, mem[i]);
    vq_mem_free(r->vq, work);
    free(host);
    return bad;
}

static int run_jobs(run_state *r)
{
    error_sum e, all = {0, 0, 0, 0, 0};
    size_t i;
    int width = 6, n;
    char shape[64];

    for (i = 0; i < r->count; i++) {
        n = r->jobs[i]->name ? (int)strlen(r->jobs[i]->name) : 1;
        if (n > width) width = n < 80 ? n : 80;
    }
    if (r->o->error)
        printf("%-*s  %-14s %12s %12s  %7s  %s\n", width, "matrix", "shape", "bytes in",
               "bytes out", "SQNR dB", "max error");
    for (i = 0; i < r->count; i++) {
        job *j = r->jobs[i];
        if (run_job(r, j, r->o->error ? &e : NULL)) return 1;
        if (!r->o->error) continue;
        snprintf(shape, sizeof shape, "%" PRId64 "x%" PRId64, j->a.quant.x.shape[0],
                 j->a.quant.x.shape[1]);
        print_error(width, j->name ? j->name : "x", shape, &e);
        all.signal += e.signal;
        all.noise += e.noise;
        all.bytes_in += e.bytes_in;
        all.bytes_out += e.bytes_out;
        if (all.worst == all.worst && !(e.worst <= all.worst)) all.worst = e.worst;
    }
    if (r->o->error) print_error(width, "total", "", &all);
    return 0;
}

int cmd_run(const options *o)
{
    run_state r = {NULL, NULL, {0}, {0}, NULL, 0};
    log_text log;
    size_t i;
    int bad, k;

    r.o = o;
    bad = st_open(o->in, &r.in) || open_context(o, &log, &r.vq)
       || (o->all ? add_all(&r) : add_job(&r, NULL))
       || st_begin(&r.out, o->out) || run_jobs(&r) || st_commit(&r.out);
    st_end(&r.out);
    for (i = 0; i < r.count; i++) {
        for (k = 0; k < r.jobs[i]->slots; k++) free(r.jobs[i]->s[k].own);
        free(r.jobs[i]->name);
        free(r.jobs[i]);
    }
    free(r.jobs);
    vq_free(r.vq);
    st_close(&r.in);
    return bad;
}
