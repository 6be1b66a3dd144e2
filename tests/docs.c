/* docs.c - prints the parts of vq.h and README.md that are made from the library itself

     build/docs REGION          op-index, op-key-table, key-table, status-table
     build/docs version         0.1.0

   tests/docs.sh puts them in place. The op index takes an op's sentence from the first line of
   its block in vq.h, which is read from the current directory. */
#include <stdio.h>
#include <string.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"

enum { PLACES = 4, REASONS = 64, ROWS = 16, TOKENS = 256, HIDDEN = 1024, EXPERTS = 8 };

static const char *const places[PLACES] = {"cpu", "gfx942", "gfx950", "sm_90"};

static const vq_key_id keys[] = {
    VQ_KEY_FP8_STATIC, VQ_KEY_FP8_TOKEN, VQ_KEY_FP8_GROUP128, VQ_KEY_FP8_BLOCK128,
    VQ_KEY_MXFP8, VQ_KEY_MXFP4, VQ_KEY_NVFP4, VQ_KEY_INT8_TOKEN
};

static const struct { vq_op op; const char *family; } families[] = {
#define X(ID, op) {VQ_OP_##ID, "convert"},
    VQ__OPS_CONVERT(X)
#undef X
#define X(ID, op) {VQ_OP_##ID, "quant"},
    VQ__OPS_QUANT(X)
#undef X
#define X(ID, op) {VQ_OP_##ID, "act"},
    VQ__OPS_ACT(X)
#undef X
#define X(ID, op) {VQ_OP_##ID, "norm"},
    VQ__OPS_NORM(X)
#undef X
#define X(ID, op) {VQ_OP_##ID, "observe"},
    VQ__OPS_OBSERVE(X)
#undef X
#define X(ID, op) {VQ_OP_##ID, "scales"},
    VQ__OPS_SCALES(X)
#undef X
#define X(ID, op) {VQ_OP_##ID, "compare"},
    VQ__OPS_COMPARE(X)
#undef X
};

static int count_of_families(void) { return (int)(sizeof families / sizeof *families); }

/* The line after the dashes of the op's block: "vq_cast -- from any format to any other". */
static int sentence_of(const char *op, char out[128])
{
    char line[256], start[64];
    FILE *f = fopen("vq.h", "r");
    int found = 0;
    snprintf(start, sizeof start, "/* vq_%s -- ", op);
    while (f && !found && fgets(line, sizeof line, f))
        if (!strncmp(line, start, strlen(start))) {
            snprintf(out, 128, "%.*s", (int)strcspn(line + strlen(start), "\r\n"),
                     line + strlen(start));
            found = 1;
        }
    if (f) fclose(f);
    if (!found) fprintf(stderr, "docs: vq.h has no block that begins \"%s\"\n", start);
    return found;
}

static int op_index(void)
{
    char text[128];
    int i, width = 0, wide = 0;
    if (count_of_families() != VQ_OP_COUNT - 1) {
        fputs("docs: an op of VQ_OPS is in no family here\n", stderr);
        return 1;
    }
    for (i = 0; i < count_of_families(); i++) {
        int n = (int)strlen(vq_op_str(families[i].op));
        int m = (int)strlen(families[i].family);
        if (n > width) width = n;
        if (m > wide) wide = m;
    }
    for (i = 0; i < count_of_families(); i++) {
        const char *op = vq_op_str(families[i].op);
        int n;
        if (!sentence_of(op, text)) return 1;
        n = printf("   vq_%-*s   %-*s   %s\n", width, op, wide, families[i].family, text);
        if (n > 101) {
            fprintf(stderr, "docs: the line of vq_%s has %d columns, 100 are allowed\n", op, n - 1);
            return 1;
        }
    }
    return 0;
}

typedef union any_args {
    vq_call     call;
    char        bytes[4096];
    vq_offender align;
} any_args;

static int is(const char *name, const char *a, const char *b, const char *c)
{
    return !strcmp(name, a) || (b && !strcmp(name, b)) || (c && !strcmp(name, c));
}

/* The tensor of a field, without data, which is enough to ask: [TOKENS, HIDDEN] of bf16 and what
   goes with it. Rank 0: not in this key. */
static vq_tensor tensor_for(vq_op op, const char *name, const vq_key *k, const vq_platform *p,
                            vq_where at)
{
    const char *of = vq_op_str(op);
    const int asym = (k->flags & VQ_KEY_ASYMMETRIC) != 0, masked = !strncmp(of, "masked_", 7);
    const int gated = strstr(of, "act_mul") != NULL;
    const vq_dtype fp8 = vq_fp8_dtype(p), other = fp8 == VQ_E4M3FN ? VQ_E4M3FNUZ : VQ_E4M3FN;
    vq_tensor none = VQ_ZERO, t = vq_tensor_2d(NULL, VQ_BF16, TOKENS, HIDDEN, at);
    vq_tensor q = vq_tensor_2d(NULL, k->elem, TOKENS, HIDDEN, at);
    vq_tensor scale = vq_scale_for(k, q, VQ_ROWS, NULL);
    int64_t shape[3];
    shape[0] = EXPERTS;
    shape[1] = TOKENS;
    shape[2] = 2 * HIDDEN;
    if (op == VQ_OP_FNUZ_NORMALIZE) {
        if (is(name, "scale", "scale_out", NULL)) return vq_tensor_2d(NULL, VQ_F32, TOKENS, 1, at);
        return vq_tensor_2d(NULL, is(name, "x", NULL, NULL) ? other : fp8, TOKENS, HIDDEN, at);
    }
    if (op == VQ_OP_SCALE_CONVERT)
        return vq_tensor_ordered(VQ_E8M0, TOKENS, HIDDEN / 32,
                                 is(name, "x", NULL, NULL) ? VQ_ROWS : VQ_TILES_128X4, NULL, at);
    if (op == VQ_OP_CAST && is(name, "y", NULL, NULL)) t.dtype = fp8, t.stride[0] = HIDDEN;
    if (is(name, "q", "q_out", NULL)) t = q;
    if (is(name, "scale", "scale_out", NULL)) t = scale;
    if (is(name, "zero", "zero_out", NULL))
        t = asym ? vq_tensor_2d(NULL, k->elem, scale.shape[0], scale.shape[1], at) : none;
    if (is(name, "amax", "lo", "hi"))
        t = op == VQ_OP_CALIBRATE && asym == is(name, "amax", NULL, NULL) ? none
          : vq_tensor_2d(NULL, VQ_F32, scale.shape[0], scale.shape[1], at);
    if (is(name, "bound", NULL, NULL))
        t = k->bound_kind ? vq_tensor_2d(NULL, VQ_F32, 1, 1, at) : none;
    if (is(name, "scale2", "scale2_out", NULL))
        t = k->scale2_kind ? vq_tensor_2d(NULL, VQ_F32, 1, 1, at) : none;
    if (is(name, "residual", "gate", "status")) t = none;
    if (is(name, "weight", NULL, NULL)) t = vq_tensor_nd(NULL, VQ_BF16, 1, shape + 2, at);
    if (is(name, "weight", NULL, NULL)) t.shape[0] = HIDDEN;
    if (is(name, "counts", NULL, NULL))
        t = masked ? vq_tensor_nd(NULL, VQ_INT32, 1, shape, at)
                   : vq_tensor_2d(NULL, VQ_INT64, 1, 100, at);
    if (gated && is(name, "x", NULL, NULL))
        t = vq_tensor_nd(NULL, VQ_BF16, masked ? 3 : 2, shape + !masked, at);
    if (masked && is(name, "q", "scale", NULL)) {
        shape[2] = t.shape[1];
        t = vq_tensor_nd(NULL, t.dtype, 3, shape, at);
    }
    return t;
}

static void args_for(vq_op op, const vq_platform *p, vq_key_id id, vq_where at, any_args *a)
{
    static vq_comparison result;
    vq_key key = vq_key_on(vq_key_preset(id), p);
    const float eps = 1e-6f, limit = 1.0f;
    const void *where = &result;
    const vq_field *f;
    int n, i;
    memset(a, 0, sizeof *a);
    for (f = vq_op_fields(op, &n), i = 0; i < n; i++) {
        char *to = a->bytes + f[i].offset;
        vq_tensor t;
        if (f[i].kind == VQ_FIELD_KEY) memcpy(to, &key, sizeof key);
        else if (f[i].kind == VQ_FIELD_RESULT && op == VQ_OP_COMPARE)
            memcpy(to, &where, sizeof where);
        else if (f[i].kind == VQ_FIELD_FLOAT && is(f[i].name, "eps", NULL, NULL))
            memcpy(to, &eps, sizeof eps);
        else if (f[i].kind == VQ_FIELD_FLOAT
                 && (op == VQ_OP_HISTOGRAM || is(f[i].name, "percent", NULL, NULL)))
            memcpy(to, &limit, sizeof limit);
        else if (f[i].kind < VQ_FIELD_KEY) {
            t = tensor_for(op, f[i].name, &key, p, at);
            memcpy(to, &t, sizeof t);
        }
    }
}

static char reasons[REASONS][512];
static int  reason_count;

/* The reason's number in the list below the table. Its text begins with the op and, where there is
   one, the implementation: left out, one reason serves several cells. */
static int reason(const vq_report *r)
{
    const char *text = r->text, *part[2];
    int i;
    part[0] = r->op;
    part[1] = r->impl;
    for (i = 0; i < 2; i++) {
        size_t n = part[i] ? strlen(part[i]) : 0;
        if (n && !strncmp(text, part[i], n) && !strncmp(text + n, ": ", 2)) text += n + 2;
    }
    for (i = 0; i < reason_count; i++) if (!strcmp(reasons[i], text)) return i + 1;
    if (reason_count == REASONS) return 0;
    snprintf(reasons[reason_count], sizeof *reasons, "%s", text);
    return ++reason_count;
}

/* One cell: the implementation that runs at a place, or which reason stands against it. */
static int cell(const vq_ctx *ctx, vq_op op, vq_key_id id, char out[64])
{
    vq_platform p = vq_platform_in(ctx);
    vq_where at = p.backend == VQ_CPU ? VQ_HOST : VQ_DEVICE;
    vq_report rows[ROWS], why = VQ_ZERO;
    any_args a;
    int i, n = 0;
    args_for(op, &p, id, at, &a);
    a.call.report = &why;
    if (vq_explain(ctx, op, &a, rows, ROWS, &n) != VQ_OK) {
        snprintf(out, 64, "no (%d)", reason(&why));
        return 1;
    }
    for (i = 0; i < n && i < ROWS; i++)
        if (rows[i].guard == VQ_GUARD_NONE) {
            snprintf(out, 64, "%.40s%s", rows[i].impl,
                     rows[i].flags & VQ_ROW_UNPROVEN ? ", unproven" : "");
            return 1;
        }
    i = at == VQ_HOST ? n - 1 : 0;                 /* the one that is meant for this place */
    snprintf(out, 64, "no (%d)", n ? reason(&rows[i]) : 0);
    return 1;
}

typedef char row_cells[PLACES][64];

static int row_of(vq_ctx *const ctx[PLACES], vq_op op, vq_key_id id, row_cells out)
{
    int i;
    memset(out, 0, sizeof(row_cells));
    for (i = 0; i < PLACES; i++) if (!cell(ctx[i], op, id, out[i])) return 0;
    return 1;
}

static void print_row(const char *ops, const char *key, row_cells cells)
{
    int i;
    printf("| %s | %s |", ops, key);
    for (i = 0; i < PLACES; i++) printf(" %s |", cells[i]);
    puts("");
}

static int print_rows(vq_ctx *const ctx[PLACES])
{
    row_cells one, two;
    char key[80];
    int i, op;
    for (i = 0; i < (int)(sizeof keys / sizeof *keys); i++) {
        if (!row_of(ctx, VQ_OP_QUANT, keys[i], one) || !row_of(ctx, VQ_OP_DEQUANT, keys[i], two))
            return 0;
        snprintf(key, sizeof key, "`%s`", vq_key_name(keys[i]));
        if (memcmp(one, two, sizeof one)) {
            print_row("`quant`", key, one);
            print_row("`dequant`", key, two);
        } else
            print_row("`quant`, `dequant`", key, one);
    }
    for (op = 1; op < VQ_OP_COUNT; op++) {
        char name[80];
        if (op == VQ_OP_QUANT || op == VQ_OP_DEQUANT) continue;
        if (!row_of(ctx, (vq_op)op, keys[1], one)) return 0;
        snprintf(name, sizeof name, "`%s`", vq_op_str((vq_op)op));
        print_row(name, "", one);
    }
    return 1;
}

static int op_key_table(void)
{
    vq_ctx *ctx[PLACES] = {NULL};
    int i, ok = 1;
    for (i = 0; i < PLACES && ok; i++) {
        vq_desc desc = VQ_ZERO;
        desc.assume = places[i];
        ok = vq_init(&desc, &ctx[i]) == VQ_OK;
        if (!ok) fprintf(stderr, "docs: no planning context for %s\n", places[i]);
    }
    if (ok) {
        printf("| op | key |");
        for (i = 0; i < PLACES; i++) printf(" %s |", places[i]);
        printf("\n|---|---|");
        for (i = 0; i < PLACES; i++) printf("---|");
        puts("");
        ok = print_rows(ctx);
        printf("\nbf16 [%d, %d], on the host under cpu and on the device elsewhere; unproven: "
               "never ran on that\nhardware.", TOKENS, HIDDEN);
        puts(reason_count ? " Why not:\n" : "");
        for (i = 0; ok && i < reason_count; i++) printf("%d. %s\n", i + 1, reasons[i]);
    }
    for (i = 0; i < PLACES; i++) vq_free(ctx[i]);
    return !ok;
}

/* Words of `list`, each in backquotes. */
static void print_words(const char *list)
{
    int first = 1;
    while (*list) {
        int n = (int)strcspn(list, " ");
        printf("%s`%.*s`", first ? "" : " ", n, list);
        list += n;
        list += *list == ' ';
        first = 0;
    }
}

static int key_table(void)
{
    char text[160];
    int i;
    puts("| name | also | key |\n|---|---|---|");
    for (i = 0; i < VQ_KEY_COUNT; i++) {
        vq_key k = vq_key_preset((vq_key_id)i);
        if (vq_key_print(&k, text, sizeof text) >= (int)sizeof text) return 1;
        printf("| `%s` | ", vq_key_name((vq_key_id)i));
        print_words(vq_key_also((vq_key_id)i));
        printf("%s| `%s` |\n", *vq_key_also((vq_key_id)i) ? " " : "", text);
    }
    return 0;
}

static int status_table(void)
{
    puts("| status | value | meaning |\n|---|---|---|");
#define X(ID, text) printf("| `VQ_%s` | %d | %s |\n", #ID, VQ_##ID, text);
    VQ_STATUSES(X)
#undef X
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    if (!strcmp(what, "op-index")) return op_index();
    if (!strcmp(what, "op-key-table")) return op_key_table();
    if (!strcmp(what, "key-table")) return key_table();
    if (!strcmp(what, "status-table")) return status_table();
    if (!strcmp(what, "version"))
        return printf("%d.%d.%d\n", VQ_VERSION / 10000, VQ_VERSION / 100 % 100,
                      VQ_VERSION % 100) < 0;
    fputs("usage: docs op-index | op-key-table | key-table | status-table | version\n", stderr);
    return 2;
}
