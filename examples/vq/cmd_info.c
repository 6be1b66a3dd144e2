/* cmd_info.c - what this machine has, and which implementation serves which key */
#include <inttypes.h>
#include <stdio.h>
#include "tool.h"

enum { DEVICES_MAX = 64, ROWS_MAX = 32, REASONS_MAX = 64 };

typedef struct reasons {
    char text[REASONS_MAX][512];
    int  count;
} reasons;

static void print_devices(void)
{
    static vq_device d[DEVICES_MAX];
    log_text log = VQ_ZERO;
    int i, n = 0;
    vq_probe(0, d, DEVICES_MAX, &n, hear, &log);
    puts("\ndevices");
    for (i = 0; i < n && i < DEVICES_MAX; i++) {
        printf("  %s %d  %s  %s", vq_backend_str(d[i].backend), d[i].ordinal, d[i].arch, d[i].name);
        if (d[i].memory_bytes) printf("  %" PRId64 " MiB", d[i].memory_bytes >> 20);
        if (d[i].runtime) printf("  runtime %d", d[i].runtime);
        puts(d[i].known ? "" : "  (not in the table of architectures)");
    }
    puts("\nlooked for");
    fputs(log.text, stdout);
}

static void print_platform(const vq_ctx *vq, const vq_platform *p)
{
    const vq_mem m = vq_mem_used(vq);
    int i;
    printf("\nplatform   %s (%s), %s\n", p->name, vq_arch_in(vq), vq_backend_str(p->backend));
    printf("  fp8      %s to %g; its matrix units read %s\n", vq_dtype_str(vq_fp8_dtype(p)),
           (double)vq_fp8_dtype_max(p), vq_dtype_str(p->fp8));
    printf("  wave     %d\n  has     ", p->wave);
    for (i = 0; i < VQ_CAP_COUNT; i++)
        if (p->caps >> i & 1u) printf(" %s;", vq_cap_str(i));
    printf("%s\n  memory   %" PRId64 " bytes in use, %" PRId64 " at most\n",
           p->caps ? "" : " none of the capabilities asked about", m.live, m.peak);
}

/* The implementation that would run; else "-" and the number of the reason, which is kept. */
static void who(const vq_ctx *vq, const options *o, vq_where where, reasons *no, char out[24])
{
    vq_report why = VQ_ZERO, rows[ROWS_MAX];
    const size_t prefix = strlen(vq_op_str(o->op)) + 2;    /* "quant: ": one reason serves both */
    const char *text;
    any_args a;
    int i, n = 0;
    args_for(o, where, &a);
    a.call.report = &why;
    if (vq_explain(vq, o->op, &a, rows, ROWS_MAX, &n) == VQ_OK) {
        if (n > ROWS_MAX) n = ROWS_MAX;
        for (i = 0; i < n; i++)
            if (rows[i].guard == VQ_GUARD_NONE) {
                snprintf(out, 24, "%s", rows[i].impl);
                return;
            }
        if (n) why = rows[where == VQ_HOST ? n - 1 : 0];   /* the one meant for this place */
    }
    text = why.text + (strlen(why.text) > prefix ? prefix : 0);
    for (i = 0; i < no->count && strcmp(no->text[i], text); i++) {}
    if (i == REASONS_MAX) i--;
    if (i == no->count) snprintf(no->text[no->count++], sizeof no->text[0], "%s", text);
    snprintf(out, 24, "- (%d)", i + 1);
}

static void print_matrix(const vq_ctx *vq, vq_platform p, vq_where where)
{
    static reasons no;
    options o = VQ_ZERO;
    char quant[24], dequant[24];
    int i;

    o.rows = 256;
    o.cols = 1024;                                 /* a multiple of every preset's group */
    o.layout = -1;
    o.bins = 2048;
    printf("\n%-32s %-12s dequant      (bf16 [256, 1024] on the %s)\n", "key", "quant",
           where == VQ_HOST ? "host" : "device");
    for (i = 0; i < VQ_KEY_COUNT; i++) {
        o.key = vq_key_on(vq_key_preset((vq_key_id)i), &p);
        o.op = VQ_OP_QUANT;
        who(vq, &o, where, &no, quant);
        o.op = VQ_OP_DEQUANT;
        who(vq, &o, where, &no, dequant);
        printf("%-32s %-12s %s\n", vq_key_name((vq_key_id)i), quant, dequant);
    }
    o.key = o.from = vq_key_on(vq_key_preset(VQ_KEY_FP8_TOKEN), &p);
    puts("\nany other op, under fp8_token where it has a key");
    for (i = 1; i < VQ_OP_COUNT; i++) {
        o.op = (vq_op)i;
        if (o.op == VQ_OP_QUANT || o.op == VQ_OP_DEQUANT) continue;
        who(vq, &o, where, &no, quant);
        printf("%-32s %s\n", vq_op_str(o.op), quant);
    }
    if (no.count) puts("\nwhy not");
    for (i = 0; i < no.count; i++) printf("  (%d) %s\n", i + 1, no.text[i]);
}

int cmd_info(const options *o)
{
    log_text log;
    vq_ctx *vq = NULL;
    vq_platform p;

    if (open_context(o, &log, &vq)) return 1;
    p = vq_platform_in(vq);
    printf("vq %d.%d.%d, kernel interface %d\n", VQ_VERSION / 10000, VQ_VERSION / 100 % 100,
           VQ_VERSION % 100, VQ_ABI_VERSION);
    print_devices();
    puts("\nkernel libraries");
    fputs(log.used ? log.text : "  none\n", stdout);
    print_platform(vq, &p);
    print_matrix(vq, p, o->device ? p.backend == VQ_CPU ? VQ_HOST : VQ_DEVICE : vq_mem_where(vq));
    vq_free(vq);
    return 0;
}
