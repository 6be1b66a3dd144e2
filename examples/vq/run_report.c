/* run_report.c - what vq run prints: errors of a key, results of ops */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "run.h"

/* Names come from files: they may not end the line. */
void print_name(int width, const char *name)
{
    for (; *name; name++, width--)
        putchar((unsigned char)*name < ' ' || *name == 0x7f ? '?' : *name);
    if (width > 0) printf("%*s", width, "");
}

/* Dequantizes what quant has left in memory, and compares. */
int measure(run_state *r, job *j, error_sum *e)
{
    const vq_quant_args *q = &j->a.quant;
    const unsigned char *x = (const unsigned char *)j->s[0].from;
    const int bits = vq_dtype_bits(q->x.dtype);
    const int64_t n = q->x.shape[0] * q->x.shape[1];
    vq_dequant_args d = VQ_ZERO;
    int64_t i;
    float *y = (float *)malloc((size_t)n * 4 + 1);
    void *mem = vq_mem_alloc(r->vq, (size_t)n * 4 + 1);
    int bad = 1;

    d.call.report = &r->why;
    d.key = q->key;
    d.q = q->q;
    d.scale = q->scale;
    d.zero = q->zero;
    d.scale2 = q->scale2;
    d.y = vq_tensor_2d(mem, VQ_F32, q->x.shape[0], q->x.shape[1], vq_mem_where(r->vq));
    memset(e, 0, sizeof *e);
    e->count = n;
    e->bytes_in = vq_tensor_bytes(q->x);
    for (i = 0; i < j->slots; i++)
        if (j->s[i].written) e->bytes_out += vq_tensor_bytes(*j->s[i].t);
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

void add_error(error_sum *all, const error_sum *e)
{
    all->signal += e->signal;
    all->noise += e->noise;
    all->count += e->count;
    all->bytes_in += e->bytes_in;
    all->bytes_out += e->bytes_out;
    if (all->worst == all->worst && !(e->worst <= all->worst)) all->worst = e->worst;
}

static void error_text(const error_sum *e, char db[32], char worst[32])
{
    if (e->noise == 0) snprintf(db, 32, "inf");    /* of nothing too */
    else snprintf(db, 32, "%.2f", vq_sqnr_db(e->signal, e->noise));
    if (e->noise != e->noise) snprintf(db, 32, "nan");
    if (e->worst != e->worst) snprintf(worst, 32, "nan");
    else snprintf(worst, 32, "%.6g", e->worst);
}

void print_error(int width, const char *name, const char *shape, const error_sum *e)
{
    char db[32], worst[32];
    error_text(e, db, worst);
    print_name(width, name);
    printf("  %-14s %12" PRId64 " %12" PRId64 "  %7s  %s\n", shape, e->bytes_in, e->bytes_out, db,
           worst);
}

void print_key_head(void)
{
    printf("%-32s %8s %12s %12s  %7s  %s\n", "key", "matrices", "bytes", "bytes/weight", "SQNR dB",
           "max error");
}

void print_key_error(const char *key, size_t matrices, const error_sum *e)
{
    char db[32], worst[32], share[32];
    error_text(e, db, worst);
    snprintf(share, sizeof share, "%.4f", e->count ? (double)e->bytes_out / (double)e->count : 0.0);
    if (!matrices) strcpy(db, strcpy(worst, strcpy(share, "-")));
    printf("%-32s %8zu %12" PRId64 " %12s  %7s  %s\n", key, matrices, e->bytes_out, share, db,
           worst);
    fflush(stdout);                               /* a large model takes minutes */
}

void print_result(run_state *r, job *j)
{
    const vq_requant_result *q = &r->result.requant;
    const vq_comparison *c = &r->result.compare;
    const setting *budget = find_setting(r->o, "budget");
    char text[4096];

    if (r->o->op != VQ_OP_REQUANT && r->o->op != VQ_OP_COMPARE) return;
    if (j->name) {
        print_name(0, j->name);
        putchar('\n');
    }
    if (r->o->op == VQ_OP_COMPARE) {
        vq_comparison_text(c, text, sizeof text);
        fputs(text, stdout);
        if (!c->passed && !r->failed++)
            snprintf(r->first_failed, sizeof r->first_failed, "%s%sfound %.7g %% of mismatches, "
                     "needed %.7g %% at most", j->name ? j->name : "", j->name ? ": " : "",
                     c->mismatch_percent, budget ? budget->number : 0.0);
        return;
    }
    printf("  codes      %" PRId64 ", ", q->count);
    if (q->changed < 0) puts("of another type");
    else printf("changed %" PRId64 "\n", q->changed);
    printf("  values     moved %" PRId64 ", infinite or NaN %" PRId64 "\n", q->moved, q->skipped);
    if (q->moved)
        printf("  max error  %.6g at [%" PRId64 ", %" PRId64 "]\n", (double)q->max_error, q->at[0],
               q->at[1]);
    if (q->sqnr_db != q->sqnr_db) puts("  SQNR dB    nan");        /* signal and noise are both 0 */
    else if (q->noise == 0) puts("  SQNR dB    inf");
    else printf("  SQNR dB    %.2f\n", q->sqnr_db);
}
