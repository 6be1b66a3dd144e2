/* cmd_run.c - an op on the tensors of a file

   The op's fields say what is read and what is written; the tensors have the fields' names.
   Every job is planned before the output is begun, so that most refusals come before a byte is
   written; then one job after another has its memory and gives it back. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "run.h"

int refused(const run_state *r, const job *j)
{
    return fail("%s: %s%s%s", r->o->in, j->name ? j->name : "", j->name ? ": " : "", r->why.text);
}

slot *find_slot(job *j, const char *name)
{
    int i;
    for (i = 0; i < j->slots; i++)
        if (!strcmp(j->s[i].f->name, name)) return &j->s[i];
    return NULL;
}

/* "x", or "NAME.x" with --all. To be freed; NULL: no memory. */
static char *full_name(const char *name, const char *arg)
{
    size_t n = (name ? strlen(name) : 0) + strlen(arg) + 2;
    char *s = (char *)malloc(n);
    if (s) snprintf(s, n, "%s%s%s", name ? name : "", name ? "." : "", arg);
    return s;
}

/* --- what an op reads ------------------------------------------------------ */

/* With --all x is NAME itself. */
static int is_whole(const run_state *r, const vq_field *f)
{
    return f == main_field(r->o) && !strcmp(f->name, "x");
}

/* The tensor of field f, in the input or the file beside it; NULL: in neither. */
static const st_tensor *find_input(const run_state *r, const char *job_name, const vq_field *f,
                                   const st_file **in)
{
    char *own = job_name && is_whole(r, f) ? NULL : full_name(job_name, f->name);
    const char *name = own ? own : job_name;
    const st_tensor *t = name ? st_find(*in = &r->in, name) : NULL;
    if (!t && name && r->also.path) t = st_find(*in = &r->also, name);
    free(own);
    return t;
}

/* Does a running op go on from what the file has? */
static int carries(const run_state *r, const char *job_name)
{
    const setting *running = find_setting(r->o, "running");
    const st_file *in;
    int n, i;
    const vq_field *f = vq_op_fields(r->o->op, &n);
    for (i = 0; i < n; i++)
        if (f[i].kind == VQ_FIELD_INOUT && running && running->number != 0
            && find_input(r, job_name, &f[i], &in)) return 1;
    return 0;
}

static int reads(const run_state *r, const vq_field *f, int carry)
{
    return is_tensor(f) && has_part(r->o, f)
        && (is_read(r->o, f) || (f->kind == VQ_FIELD_INOUT && carry));
}

static slot *add_slot(job *j, const vq_field *f, vq_order order)
{
    slot *s = &j->s[j->slots++];
    s->f = f;
    s->t = tensor_at(&j->a, f);
    s->file = *s->t;
    s->order = order;
    return s;
}

/* Scales and what goes with them may have fewer extents in a file than an op wants. */
static int widen(run_state *r, job *j, const vq_field *f, vq_tensor *t)
{
    const vq_tensor flat = *t, *first = j->s[0].t;
    const int one = vq_tensor_bytes(flat) == vq_row_bytes(flat.dtype, 1);
    if (is_one(r->o->op, f) && one) *t = vq_tensor_2d(flat.data, flat.dtype, 1, 1, flat.where);
    else if (flat.rank == 1 && is_grouped(r->o->op, f)) {
        if (vq_scale_from_1d(key_of(r->o, f), &flat, first->shape[0], first->shape[1], t, &r->why)
            != VQ_OK) return refused(r, j);
    } else if (flat.rank == 1 && r->o->op == VQ_OP_FNUZ_NORMALIZE)
        *t = vq_tensor_2d(flat.data, flat.dtype, 1, flat.shape[0], flat.where);
    return 0;
}

static int read_tensor(run_state *r, job *j, const vq_field *f)
{
    const char *can_set = f->kind == VQ_FIELD_MADE || is_one(r->o->op, f) ? f->name : NULL;
    const int any = takes_any(r->o->op), is_first = !j->slots;
    const st_file *in;
    const st_tensor *e = find_input(r, j->name, f, &in);
    vq_tensor *t = tensor_at(&j->a, f);
    vq_order order;
    slot *s;
    int extents;

    if (!e) return fail("%s: has no tensor %s%s%s, which %s reads%s%s%s", r->o->in,
                        j->name && !is_whole(r, f) ? j->name : "",
                        j->name && !is_whole(r, f) ? "." : "", f->name, vq_op_str(r->o->op),
                        can_set ? " (or --set " : "", can_set ? can_set : "", can_set ? "=V)" : "");
    if (st_view(in, e, t, &order, &extents)) return 1;
    if (is_first && !(any & ANY_RANK) && extents != 2 && !((any & OR_THREE) && extents == 3))
        return fail("%s: tensor %s: has %d extent%s, needed 2%s", in->path, e->name, extents,
                    extents == 1 ? "" : "s", any & OR_THREE ? " or 3" : "");
    if (is_first && !(any & ANY_ORDER) && order != VQ_ROWS)
        return fail("%s: tensor %s: has order %s, needed rows", in->path, e->name,
                    vq_order_str(order));
    s = add_slot(j, f, order);
    s->file.rank = extents;
    s->from = t->data;
    if (!is_first && widen(r, j, f, t)) return 1;
    t->data = NULL;
    t->where = vq_mem_where(r->vq);
    return 0;
}

/* The tensor of a field that is written, or that --set gives. */
static slot *shape_slot(run_state *r, job *j, const vq_field *f)
{
    const slot *model = find_slot(j, model_field(r->o, f)->name);
    vq_order order;
    slot *s;
    *tensor_at(&j->a, f) = shape_of(r->o, f, model->t, vq_mem_where(r->vq), &order);
    s = add_slot(j, f, order);
    if (is_like(r->o->op, f)) {                   /* a scalar of the file stays one */
        s->order = r->o->op == VQ_OP_SCALE_CONVERT ? order : model->order;
        if (model->file.rank < model->t->rank) {
            s->file = model->file;
            s->file.dtype = s->t->dtype;
        }
    }
    return s;
}

static int take_input(run_state *r, job *j, const vq_field *f)
{
    const setting *set = setting_for(r->o, f);
    slot *s;
    if (!set) return read_tensor(r, j, f);
    s = shape_slot(r, j, f);
    s->made = set->amax;
    return !set->amax && give_number(s, set->number);
}

/* A scale that was given is written again, so that dequant has all it needs. */
static int is_kept(const run_state *r, const vq_field *f)
{
    const vq_field *scale = find_field(r->o->op, "scale");
    return f->kind != VQ_FIELD_IN || !strcmp(f->name, "scale2_out")
        || (!strcmp(f->name, "scale2") && scale && scale->kind != VQ_FIELD_IN);
}

static int prepare(run_state *r, job *j)
{
    const int carry = carries(r, j->name);
    const vq_field *running = find_field(r->o->op, "running"), *first = main_field(r->o);
    const st_file *from;
    int n, i, pass;
    const vq_field *f = vq_op_fields(r->o->op, &n);

    put_numbers(r->o, &j->a);
    if (running) put_int(&j->a, running, carry);
    for (i = 0; i < n; i++)
        if (f[i].kind == VQ_FIELD_RESULT) put_pointer(&j->a, &f[i], &r->result);
    for (pass = 0; pass < 3; pass++)              /* inputs give the outputs their shape */
        for (i = 0; i < n; i++) {
            const int in = reads(r, &f[i], carry);
            if (pass != (&f[i] == first ? 0 : in ? 1 : 2) || !is_tensor(&f[i])
                || !has_part(r->o, &f[i])) continue;
            if (is_optional(&f[i]) && !find_input(r, j->name, &f[i], &from)) continue;
            if (j->slots == SLOTS_MAX || f[i].offset + sizeof(vq_tensor) > sizeof j->a)
                return fail("%s: has more arguments than the tool has room for",
                            vq_op_str(r->o->op));
            if (in ? take_input(r, j, &f[i]) : !shape_slot(r, j, &f[i])) return 1;
            j->s[j->slots - 1].written = is_kept(r, &f[i]);
        }
    return 0;
}

/* --- jobs ------------------------------------------------------------------ */

static void free_job(job *j)
{
    int i;
    for (i = 0; i < j->slots; i++) free(j->s[i].own);
    free(j->name);
    free(j);
}

static void free_jobs(run_state *r)
{
    size_t i;
    for (i = 0; i < r->count; i++) free_job(r->jobs[i]);
    free(r->jobs);
    r->jobs = NULL;
    r->count = 0;
}

static void print_skipped(const char *name, const char *why)
{
    fputs("skipped ", stdout);
    print_name(0, name);
    printf(": %s\n", why);
}

/* With --all an x that the op or the key cannot take stands in the way of no other. */
static int pass_over(run_state *r, job *j)
{
    const char *name = j->name ? j->name : "x";
    const int x = j->name && is_whole(r, j->s[0].f) && r->why.arg && !strcmp(r->why.arg, "x");
    if (!r->o->every && !x) return refused(r, j);
    if (!r->o->every) print_skipped(name, r->why.text);
    else if (!r->unfit++)
        snprintf(r->first_unfit, sizeof r->first_unfit, "%s: %s", name, r->why.text);
    free_job(j);
    r->count--;
    return 0;
}

/* One job, for tensor `name` or, without one, for the tensors named as the fields are. */
static int add_job(run_state *r, const char *name)
{
    job **more = (job **)realloc(r->jobs, (r->count + 1) * sizeof *more), *j;
    int bad, i, n;
    const vq_field *f = vq_op_fields(r->o->op, &n);
    char *item;

    if (more) r->jobs = more;
    j = more ? (job *)calloc(1, sizeof *j) : NULL;
    if (!j) return fail("out of memory");
    r->jobs[r->count++] = j;
    if (name && !(j->name = full_name(NULL, name))) return fail("out of memory");
    if (prepare(r, j)) return 1;
    j->a.call.report = &r->why;
    if (vq_plan(r->vq, r->o->op, &j->a, &j->choice) != VQ_OK) return pass_over(r, j);
    for (i = 0; i < n && r->o->out; i++) {        /* a file is the same, whoever gave its scales */
        slot *s = find_slot(j, f[i].name);
        if (!s || !s->written) continue;
        item = full_name(j->name, f[i].name);
        bad = item ? st_declare(&r->out, item, s->file, s->order, &s->item) : fail("out of memory");
        free(item);
        if (bad) return bad;
    }
    return 0;
}

/* The first field of job `name` that is in no file and not set; NULL: there is none. */
static const vq_field *missing(const run_state *r, const char *name)
{
    const int carry = carries(r, name);
    const st_file *in;
    int n, i;
    const vq_field *f = vq_op_fields(r->o->op, &n);
    for (i = 0; i < n; i++)
        if (reads(r, &f[i], carry) && !is_optional(&f[i]) && !setting_for(r->o, &f[i])
            && !find_input(r, name, &f[i], &in)) return &f[i];
    return NULL;
}

/* Ops that start from x take every tensor, the others NAME.q or what else they start from:
   `name` becomes NAME. The reason why t is not taken, "" if that goes without saying; or NULL. */
static const char *why_not(const run_state *r, const st_tensor *t, char *name, char text[96])
{
    const vq_field *first = main_field(r->o), *f;
    const vq_dtype type = st_dtype(&r->in, t);
    const int any = takes_any(r->o->op), rank = st_rank(&r->in, t);
    char *dot = strrchr(name, '.');

    if (!strcmp(first->name, "x")) {
        if (type == VQ_NONE) return "has a type that is not known here";
        if (!(any & ANY_TYPE) && type != VQ_F32 && type != VQ_F16 && type != VQ_BF16)
            return "not f32, f16 or bf16";
        if (!(any & ANY_RANK) && rank != 2 && !((any & OR_THREE) && rank == 3))
            return "not a matrix";
    } else {
        f = dot ? find_field(r->o->op, dot + 1) : NULL;
        snprintf(text, 96, "neither NAME.%s nor what goes with it", first->name);
        if (!f || !reads(r, f, 1)) return text;
        *dot = 0;
        if (f != first) {
            f = missing(r, name);
            snprintf(text, 96, "has no %s", first->name);
            return f == first ? text : "";
        }
    }
    f = missing(r, name);
    if (!f) return NULL;
    snprintf(text, 96, "has no %s", f->name);
    return text;
}

/* Every tensor that the op can take by itself; the others get a line that says why not. A NAME
   may be empty, and may end as a field is named: NAME.q and NAME.scale differ all the same. */
static int add_all(run_state *r, int say)
{
    size_t i;
    for (i = 0; i < r->in.count; i++) {
        char *name = full_name(NULL, r->in.tensor[i].name), text[96];
        const char *why = name ? why_not(r, &r->in.tensor[i], name, text) : NULL;
        const int bad = !name ? fail("out of memory") : !why && add_job(r, name);
        if (why && *why && say) print_skipped(r->in.tensor[i].name, why);
        free(name);
        if (bad) return 1;
    }
    return r->count || r->unfit ? 0 : fail("%s: has no tensor that %s --all takes", r->o->in,
                                           vq_op_str(r->o->op));
}

/* --- running -------------------------------------------------------------- */

static int run_job(run_state *r, job *j, error_sum *e)
{
    void *host = NULL, *mem[SLOTS_MAX] = {0}, *work = NULL;
    size_t bytes[SLOTS_MAX] = {0}, most = 1;
    int i, bad = 1;

    if (make_numbers(r, j)) return 1;
    for (i = 0; i < j->slots; i++) {
        bytes[i] = (size_t)vq_tensor_bytes(*j->s[i].t);
        if (!(mem[i] = vq_mem_alloc(r->vq, bytes[i] + 1))) goto memory;
        if (bytes[i] > most) most = bytes[i];
        j->s[i].t->data = mem[i];
    }
    if (!(host = calloc(most, 1))) goto memory;
    if (j->choice.workspace_bytes && !(work = vq_mem_alloc(r->vq, j->choice.workspace_bytes)))
        goto memory;
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
        if (!j->s[i].written || !r->o->out) continue;
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
    for (i = 0; i < j->slots; i++) {
        vq_mem_free(r->vq, mem[i]);
        free(j->s[i].own);
        j->s[i].own = NULL;
    }
    vq_mem_free(r->vq, work);
    free(host);
    return bad;
}

static int run_jobs(run_state *r)
{
    const int table = r->o->error && !r->o->every;
    error_sum e;
    size_t i;
    int width = 6, n;
    char shape[64];

    memset(&r->total, 0, sizeof r->total);
    for (i = 0; i < r->count; i++) {
        n = r->jobs[i]->name ? (int)strlen(r->jobs[i]->name) : 1;
        if (n > width) width = n < 80 ? n : 80;
    }
    if (table)
        printf("%-*s  %-14s %12s %12s  %7s  %s\n", width, "matrix", "shape", "bytes in",
               "bytes out", "SQNR dB", "max error");
    for (i = 0; i < r->count; i++) {
        job *j = r->jobs[i];
        if (run_job(r, j, r->o->error ? &e : NULL)) return 1;
        print_result(r, j);
        if (!r->o->error) continue;
        add_error(&r->total, &e);
        if (!table) continue;
        snprintf(shape, sizeof shape, "%" PRId64 "x%" PRId64, j->a.quant.x.shape[0],
                 j->a.quant.x.shape[1]);
        print_error(width, j->name ? j->name : "x", shape, &e);
    }
    if (table) print_error(width, "total", "", &r->total);
    if (!r->failed) return 0;
    return fail("%s: compare: %zu of %zu failed: %s", r->o->in, r->failed, r->count,
                r->first_failed);
}

/* The job under one key after another: what each would cost, and how near it comes. */
static int run_every(run_state *r)
{
    static char unfit[VQ_KEY_COUNT][800];
    const options *asked = r->o;
    int i, bad = 0;

    for (i = 0; i < VQ_KEY_COUNT && !bad; i++) {
        options o = *asked;
        o.key = vq_key_preset((vq_key_id)i);
        need_amax(&o);
        r->o = &o;
        r->unfit = 0;
        bad = o.all ? add_all(r, !i) : add_job(r, NULL);
        if (!i && !bad) print_key_head();
        if (!bad) bad = run_jobs(r);
        if (!bad) print_key_error(vq_key_name((vq_key_id)i), r->count, &r->total);
        if (r->unfit)
            snprintf(unfit[i], sizeof unfit[i], "%s: passes over %zu, the first %s",
                     vq_key_name((vq_key_id)i), r->unfit, r->first_unfit);
        free_jobs(r);
    }
    r->o = asked;
    for (i = 0; i < VQ_KEY_COUNT && !bad; i++)
        if (*unfit[i]) {
            print_name(0, unfit[i]);
            putchar('\n');
        }
    return bad;
}

static int open_contexts(run_state *r)
{
    options host = *r->o;
    log_text log;
    host.backend = VQ_CPU;
    if (open_context(r->o, &log, &r->vq)) return 1;
    if (vq_mem_where(r->vq) == VQ_HOST) r->cpu = r->vq;
    return !r->cpu && open_context(&host, &log, &r->cpu);
}

static int run_all(run_state *r)
{
    if (r->o->every) return run_every(r);
    return (r->o->all ? add_all(r, 1) : add_job(r, NULL))
        || (r->o->out && st_begin(&r->out, r->o->out)) || run_jobs(r)
        || (r->o->out && st_commit(&r->out));
}

int cmd_run(const options *o)
{
    run_state r;
    int bad;

    memset(&r, 0, sizeof r);
    r.o = o;
    bad = st_open(o->in, &r.in) || (o->also && st_open(o->also, &r.also)) || open_contexts(&r)
       || run_all(&r);
    st_end(&r.out);
    free_jobs(&r);
    if (r.cpu != r.vq) vq_free(r.cpu);
    vq_free(r.vq);
    st_close(&r.also);
    st_close(&r.in);
    return bad;
}
