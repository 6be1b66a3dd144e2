/* cmd_fuse.c - a graph of ops through the fusion passes: what was fused, what was not and why */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "tool.h"
#include "graph.h"
#include "graph_run.h"
#include "graph_text.h"
#include "safetensors.h"

enum { TEXT_MOST = 1 << 24, SEEDS = 3 };

typedef struct fusing {
    const options *o;
    vq_ctx        *vq;
    vq_fuser      *fuser;
    vq_graph       before, after;
    vq_receipt    *rows;
    int            count;
    char           why[700];
} fusing;

static char *read_text(const char *path)
{
    FILE *in = fopen(path, "rb");
    char *text = in ? (char *)malloc(TEXT_MOST + 1) : NULL;
    size_t n = text ? fread(text, 1, TEXT_MOST + 1, in) : 0;
    const int bad = !text || ferror(in);
    if (bad) fail("%s: %s", path, in && text ? "cannot be read" : strerror(errno));
    else if (n > TEXT_MOST) fail("%s: found more than %d bytes", path, TEXT_MOST);
    else if (memchr(text, 0, n)) fail("%s: found a byte of 0, needed text", path);
    if (bad || n > TEXT_MOST || memchr(text, 0, n)) {
        free(text);
        text = NULL;
    } else text[n] = 0;
    if (in) fclose(in);
    return text;
}

typedef int (*writes)(const void *what, char *out, size_t size);

static int w_graph(const void *g, char *out, size_t size)
{
    return vq_graph_print((const vq_graph *)g, out, size);
}

static int w_dot(const void *g, char *out, size_t size)
{
    return vq_graph_dot((const vq_graph *)g, out, size);
}

static int w_fuser(const void *f, char *out, size_t size)
{
    return vq_fuser_print((const vq_fuser *)f, out, size);
}

static int w_receipt(const void *f, char *out, size_t size)
{
    return vq_receipt_text(((const fusing *)f)->rows, ((const fusing *)f)->count, out, size);
}

static int print(writes w, const void *what)
{
    const int n = w(what, NULL, 0);
    char *text = (char *)malloc((size_t)n + 1);
    if (!text) return fail("out of memory");
    w(what, text, (size_t)n + 1);
    fputs(text, stdout);
    free(text);
    return 0;
}

/* --- given inputs ----------------------------------------------------------- */

typedef struct inputs { st_file file; char bad[200]; int told; } inputs;

static const void *find_input(void *user, const vq_value *v)
{
    inputs *in = (inputs *)user;
    const st_tensor *t = st_find(&in->file, v->name);
    vq_tensor is = VQ_ZERO;
    vq_order order = VQ_ROWS;
    int extents;
    if (t && st_view(&in->file, t, &is, &order, &extents)) { in->told = 1; return NULL; }
    if (t && is.dtype == v->t.dtype && is.rank == v->t.rank && order == v->order
        && !memcmp(is.shape, v->t.shape, (size_t)is.rank * sizeof *is.shape)) return is.data;
    if (!in->bad[0] && t)
        snprintf(in->bad, sizeof in->bad, "tensor %s: found %s of %d extents, the first %lld; "
                 "needed %s of %d, the first %lld, as it lies", v->name, vq_dtype_str(is.dtype),
                 is.rank, (long long)is.shape[0], vq_dtype_str(v->t.dtype), v->t.rank,
                 (long long)v->t.shape[0]);
    else if (!in->bad[0]) snprintf(in->bad, sizeof in->bad, "there is no tensor %s", v->name);
    return NULL;
}

/* --- the check --------------------------------------------------------------- */

static int check(fusing *f)
{
    static const char *const names[] = { "random", "nasty", "given" };
    vq_desc d = VQ_ZERO;
    vq_ctx *cpu = NULL;
    inputs in;
    vq_graph_given given;
    int64_t bytes, all = 0;
    const int kinds = f->o->in ? VQ_INPUT_GIVEN : VQ_INPUT_NASTY;
    int kind, seed, bad = 0;
    memset(&in, 0, sizeof in);
    given.find = find_input;
    given.user = &in;
    d.backend = VQ_CPU;
    if (f->o->device && vq_init(&d, &cpu) != VQ_OK) return fail("out of memory");
    if (f->o->in && st_open(f->o->in, &in.file)) bad = 1;
    for (kind = VQ_INPUT_RANDOM; !bad && kind <= kinds; kind++)
        for (seed = 0; !bad && seed < (kind == VQ_INPUT_GIVEN ? 1 : SEEDS); seed++) {
            bad = vq_graph_same(&f->before, &f->after, cpu ? cpu : f->vq, kind, (uint64_t)seed + 1,
                                &given, &bytes, f->why, sizeof f->why) != VQ_OK;
            all += bytes;
            if (bad) fail("--check: %s input %d: %s", names[kind], seed + 1, f->why);
            else if (in.bad[0]) bad = fail("%s: %s", f->o->in, in.bad);
            else bad = in.told;                              /* st_view() has said why */
        }
    if (!bad)
        printf("check   equal: %lld bytes, on the %s; random and nasty inputs%s\n", (long long)all,
               cpu || vq_mem_where(f->vq) == VQ_HOST ? "CPU" : "device",
               f->o->in ? ", and those given" : "");
    if (f->o->in) st_close(&in.file);
    vq_free(cpu);
    return bad;
}

static int tell(fusing *f)
{
    vq_graph_plan was = VQ_ZERO, is = VQ_ZERO;
    vq_fuse_count counts[256];
    int64_t bytes = 0, launches = 0;
    double us = 0;
    int i, matched = 0, n = vq_fuser_counts(f->fuser, counts, 256);
    if (print(w_receipt, f)) return 1;
    for (i = 0; i < f->count; i++) {
        if (!f->rows[i].matched) continue;
        matched++;
        bytes += f->rows[i].bytes_saved;
        launches += f->rows[i].launches_saved;
        us += f->rows[i].us_saved;
    }
    for (i = 0; i < n && i < 256; i++)
        if (counts[i].last)
            printf("count   %s %s: %lld\n", counts[i].pass, counts[i].pattern,
                   (long long)counts[i].last);
    printf("all     fused %d, near %d, launches saved %lld, bytes saved %lld", matched,
           f->count - matched, (long long)launches, (long long)bytes);
    if (us > 0) printf(", %.3f us at %d GB/s", us, vq_platform_in(f->vq).gb_per_s);
    printf("\n");
    if (vq_graph_plan_make(&f->before, f->vq, &was, f->why, sizeof f->why)
        || vq_graph_plan_make(&f->after, f->vq, &is, f->why, sizeof f->why)) {
        vq_graph_plan_free(&was);
        return fail("%s: %s", f->o->in_text, f->why);
    }
    printf("memory  between: %lld bytes before, %lld after\n", (long long)was.bytes,
           (long long)is.bytes);
    vq_graph_plan_free(&was);
    vq_graph_plan_free(&is);
    return 0;
}

static int fuse(fusing *f)
{
    vq_report why = VQ_ZERO;
    char *text = read_text(f->o->in_text);
    int bad, most;
    if (!text) return 1;
    bad = vq_graph_parse(text, &f->before, f->why, sizeof f->why) != VQ_OK;
    free(text);
    if (bad) return fail("%s: %s", f->o->in_text, f->why);
    if (vq_graph_copy(&f->before, &f->after)) return fail("out of memory");
    most = 2 * f->before.nodes + 1;
    f->rows = (vq_receipt *)calloc((size_t)most, sizeof *f->rows);
    if (!f->rows) return fail("out of memory");
    if (vq_fuse(f->fuser, f->vq, &f->after, f->rows, most, &f->count, &why))
        return fail("%s: %s", f->o->in_text, why.text);
    if (f->count > most) f->count = most;
    if (f->o->dot) return print(w_dot, &f->after);
    if (f->o->print && print(w_graph, &f->after)) return 1;
    if (!f->o->print && tell(f)) return 1;
    return f->o->check ? check(f) : 0;
}

int cmd_fuse(const options *o)
{
    vq_report why = VQ_ZERO;
    fusing f;
    log_text log;
    int bad;
    memset(&f, 0, sizeof f);
    f.o = o;
    if (vq_fuser_new(o->passes, &f.fuser, &why)) return fail_usage("--passes: %s", why.text);
    if (o->dump) {
        bad = print(w_fuser, f.fuser);
        printf("hash %016llx\n", (unsigned long long)vq_fuser_hash(f.fuser));
    } else {
        bad = open_context(o, &log, &f.vq);
        if (!bad) bad = fuse(&f);
    }
    free(f.rows);
    vq_graph_free(&f.before);
    vq_graph_free(&f.after);
    vq_fuser_free(f.fuser);
    vq_free(f.vq);
    return bad;
}
