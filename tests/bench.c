/* bench.c - how fast each op is on one core, beside memcpy of the same input

   usage: bench [--seconds S] [--mib N] [--list] [SUBSTRING...]

   A row is an op, a key, the types and one version of the loops; with substrings only the rows
   that have each of them in their line. The input is N MiB (64). memcpy and op take turns, and
   of both the median counts, over nine turns and over S seconds (0.5) at least. GB/s are bytes of
   the input, scales left out, in a second of the thread; the ratio is that of the medians.
   "moves" is the ratio of what only reads and writes as many bytes as the op, in large pieces:
   memcpy, and memset or loads for what one side has more. An op that a cache serves, or that
   reads while it writes, may be above it. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#ifdef __linux__
#include <sched.h>
#endif
#define VQ_IMPLEMENTATION
#include "../vq.h"

#ifdef CLOCK_THREAD_CPUTIME_ID
#define OWN_TIME CLOCK_THREAD_CPUTIME_ID           /* what others do on this core is not in it */
#else
#define OWN_TIME CLOCK_MONOTONIC
#endif
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

enum { COLS = 4096, TILE = 128, LEAST = 9, MOST = 1001, HUGE_PAGE = 2 << 20 };

/* Where the caps in `without` are left out the loops are those of `name`. */
static const struct version { const char *name; uint32_t needs, without; } versions[] = {
    { "avx512", VQ_CAP(AVX512), 0 },
    { "avx2",   VQ_CAP(AVX2),   VQ_CAP(AVX512) },
    { "plain",  0,              VQ_CAP(AVX512) | VQ_CAP(AVX2) },
};

typedef union any_args {
    vq_call                call;
    vq_quant_args          quant;
    vq_dequant_args        dequant;
    vq_act_args            act;
    vq_act_mul_args        act_mul;
    vq_act_mul_quant_args  act_mul_quant;
    vq_rms_norm_args       rms_norm;
    vq_rms_norm_quant_args rms_norm_quant;
    vq_layer_norm_args     layer_norm;
} any_args;

/* make: fills the args of op for so many bytes of input, and returns the input, whose data is
   filled. key: a preset or its text; of an op without a key what is shown in its place. in, out:
   types, VQ_NONE where the key says it. */
typedef struct row {
    vq_op       op;
    const char *key;
    vq_dtype    in, out;
    vq_tensor (*make)(const struct row *r, int64_t bytes, any_args *a);
} row;

static vq_ctx *plainest;                           /* makes codes; any context would */

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

/* Memory whose pages are there already. */
static void *memory(int64_t bytes)
{
    size_t n = ((size_t)bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *p = NULL;
    if (posix_memalign(&p, HUGE_PAGE, n)) fail("memory", "there is not enough");
    memset(p, 1, n);
    return p;
}

static vq_key key_of(const row *r)
{
    vq_key k;
    if (vq_key_parse(r->key, &k, NULL) != VQ_OK) fail(r->key, "not a key");
    return k;
}

static vq_tensor matrix(vq_dtype t, int64_t rows, int64_t cols)
{
    vq_tensor m = vq_tensor_2d(NULL, t, rows, cols, VQ_HOST);
    m.data = memory(vq_tensor_bytes(m));
    return m;
}

static vq_tensor scalar(float v)
{
    vq_tensor t = matrix(VQ_F32, 1, 1);
    memcpy(t.data, &v, sizeof v);
    return t;
}

static uint64_t noise_state = 1;

static uint32_t noise(void)                        /* splitmix64, top half */
{
    uint64_t z = (noise_state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

/* Rows of about normal numbers, of which the first TILE are made and then repeated. */
static void fill(const vq_tensor *t)
{
    const int bits = vq_dtype_bits(t->dtype);
    const int64_t row_bytes = t->stride[0] * bits / 8, tile = row_bytes * TILE;
    const int64_t all = vq_tensor_bytes(*t);
    uint8_t *p = (uint8_t *)t->data;
    int64_t i, n = (t->shape[0] < TILE ? t->shape[0] : TILE) * t->shape[1];
    int j;
    for (i = 0; i < n; i++) {
        float v = 0.0f;
        for (j = 0; j < 4; j++) v += (float)(noise() >> 8) * 0x1p-24f - 0.5f;
        vq_code_put(p, bits, i, vq_encode(t->dtype, v, VQ_SATURATE));
    }
    for (i = tile; i < all; i += tile) memcpy(p + i, p, (size_t)(all - i < tile ? all - i : tile));
}

static vq_tensor filled(vq_dtype t, int64_t bytes, int64_t cols)
{
    vq_tensor m = matrix(t, bytes * 8 / vq_dtype_bits(t) / cols, cols);
    fill(&m);
    return m;
}

/* What any op that quantizes [rows, cols] writes, and reads beside x: every static scale 1/128. */
static void make_sink(const row *r, int64_t rows, int64_t cols, vq_quant_args *q)
{
    q->key = key_of(r);
    q->q = matrix(q->key.elem, rows, cols);
    q->scale = vq_scale_for(&q->key, q->q, VQ_ROWS, NULL);
    q->scale.data = memory(vq_tensor_bytes(q->scale));
    if (q->key.flags & VQ_KEY_STATIC) {
        const uint32_t one = vq_encode(q->scale.dtype, 1.0f / 128, VQ_SATURATE);
        int64_t i, n = q->scale.shape[0] * q->scale.shape[1];
        for (i = 0; i < n; i++)
            vq_code_put(q->scale.data, vq_dtype_bits(q->scale.dtype), i, one);
    }
    if (q->key.flags & VQ_KEY_ASYMMETRIC)
        q->zero = matrix(q->key.elem, q->scale.shape[0], q->scale.shape[1]);
    if (q->key.bound_kind) q->bound = scalar(1000.0f);
    if (q->key.scale2_kind) q->scale2 = scalar(q->key.scale2_kind == VQ_SCALE2_DIV ? 1344.0f
                                                                                   : 1.0f / 1344);
}

/* The members of an args struct that vq_quant_args has too. */
#define TAKE_SINK(args, s) \
    ((args)->key = (s).key, (args)->q = (s).q, (args)->scale = (s).scale, (args)->zero = (s).zero, \
     (args)->bound = (s).bound, (args)->scale2 = (s).scale2)

static vq_tensor make_quant(const row *r, int64_t bytes, any_args *a)
{
    a->quant.x = filled(r->in, bytes, COLS);
    make_sink(r, a->quant.x.shape[0], COLS, &a->quant);
    return a->quant.x;
}

/* Codes and scales as vq_quant() makes them of TILE rows, repeated. */
static vq_tensor make_dequant(const row *r, int64_t bytes, any_args *a)
{
    vq_dequant_args *d = &a->dequant;
    const row source = { VQ_OP_QUANT, r->key, VQ_F32, VQ_NONE, make_quant };
    any_args made = { { 0 } };
    int64_t rows, i, n, each;
    d->key = key_of(r);
    rows = bytes * 8 / vq_dtype_bits(d->key.elem) / COLS;
    if (d->key.group_rows != 1) fail(r->key, "groups that span rows are not repeated");
    make_quant(&source, (int64_t)TILE * COLS * 4, &made);
    if (vq_quant(plainest, &made.quant) != VQ_OK) fail(r->key, "cannot be quantized");
    d->q = matrix(d->key.elem, rows, COLS);
    d->scale = vq_scale_for(&d->key, d->q, VQ_ROWS, NULL);
    d->scale.data = memory(vq_tensor_bytes(d->scale));
    d->y = matrix(r->out, rows, COLS);
    d->scale2 = made.quant.scale2;
    n = vq_tensor_bytes(made.quant.q);
    each = vq_tensor_bytes(made.quant.scale);
    for (i = 0; i < rows / TILE; i++) {
        memcpy((uint8_t *)d->q.data + i * n, made.quant.q.data, (size_t)n);
        memcpy((uint8_t *)d->scale.data + i * each, made.quant.scale.data, (size_t)each);
    }
    free(made.quant.x.data);
    free(made.quant.q.data);
    free(made.quant.scale.data);
    return d->q;
}

static vq_act_kind act_of(const row *r)
{
    const int act = vq_act_of(r->key);
    if (act < 0) fail(r->key, "not an activation");
    return (vq_act_kind)act;
}

static vq_tensor make_act(const row *r, int64_t bytes, any_args *a)
{
    a->act.act = act_of(r);
    a->act.x = filled(r->in, bytes, COLS);
    a->act.y = matrix(r->out, a->act.x.shape[0], COLS);
    return a->act.x;
}

static vq_tensor make_act_mul(const row *r, int64_t bytes, any_args *a)
{
    a->act_mul.act = act_of(r);
    a->act_mul.x = filled(r->in, bytes, COLS);
    a->act_mul.y = matrix(r->out, a->act_mul.x.shape[0], COLS / 2);
    return a->act_mul.x;
}

static vq_tensor make_act_mul_quant(const row *r, int64_t bytes, any_args *a)
{
    vq_quant_args sink = VQ_ZERO;
    a->act_mul_quant.x = filled(r->in, bytes, COLS);
    make_sink(r, a->act_mul_quant.x.shape[0], COLS / 2, &sink);
    TAKE_SINK(&a->act_mul_quant, sink);
    return a->act_mul_quant.x;
}

static vq_tensor weight(vq_dtype t)
{
    vq_tensor w = filled(t, (int64_t)vq_dtype_bits(t) / 8 * COLS, COLS);
    w.rank = 1;
    w.shape[0] = COLS;
    w.stride[0] = 1;
    return w;
}

/* key "residual": with one. */
static vq_tensor make_rms_norm(const row *r, int64_t bytes, any_args *a)
{
    vq_rms_norm_args *n = &a->rms_norm;
    n->x = filled(r->in, bytes, COLS);
    if (!strcmp(r->key, "residual")) n->residual = filled(r->in, bytes, COLS);
    n->weight = weight(r->in);
    n->y = matrix(r->out, n->x.shape[0], COLS);
    n->eps = 1e-6f;
    return n->x;
}

static vq_tensor make_layer_norm(const row *r, int64_t bytes, any_args *a)
{
    vq_layer_norm_args *n = &a->layer_norm;
    n->x = filled(r->in, bytes, COLS);
    n->weight = weight(r->in);
    n->y = matrix(r->out, n->x.shape[0], COLS);
    n->eps = 1e-6f;
    return n->x;
}

static vq_tensor make_rms_norm_quant(const row *r, int64_t bytes, any_args *a)
{
    vq_rms_norm_quant_args *n = &a->rms_norm_quant;
    vq_quant_args sink = VQ_ZERO;
    n->x = filled(r->in, bytes, COLS);
    n->weight = weight(r->in);
    n->eps = 1e-6f;
    make_sink(r, n->x.shape[0], COLS, &sink);
    TAKE_SINK(n, sink);
    return n->x;
}

#define QUANT(key, in)    { VQ_OP_QUANT, key, in, VQ_NONE, make_quant }
#define DEQUANT(key, out) { VQ_OP_DEQUANT, key, VQ_NONE, out, make_dequant }
#define FUSED(ID, name, key) { VQ_OP_##ID, key, VQ_BF16, VQ_NONE, make_##name }
#define FLOAT(ID, name, key) { VQ_OP_##ID, key, VQ_BF16, VQ_BF16, make_##name }

static const row rows[] = {
    QUANT("fp8_group128", VQ_BF16),
    QUANT("fp8_group128", VQ_F16),
    QUANT("fp8_group128", VQ_F32),
    QUANT("fp8_token", VQ_BF16),
    QUANT("fp8_static", VQ_BF16),
    QUANT("fp8_tensor", VQ_BF16),
    QUANT("fp8_block128", VQ_BF16),
    QUANT("fp8_channel", VQ_BF16),
    QUANT("int8_token", VQ_BF16),
    QUANT("int8_group128", VQ_BF16),
    QUANT("int8_token_azp", VQ_BF16),
    QUANT("mxfp8", VQ_BF16),
    QUANT("mxfp6_e2m3", VQ_BF16),
    QUANT("mxfp4", VQ_BF16),
    QUANT("mxfp4", VQ_F32),
    QUANT("nvfp4", VQ_BF16),
    DEQUANT("fp8_group128", VQ_BF16),
    DEQUANT("fp8_group128", VQ_F32),
    DEQUANT("int8_group128", VQ_BF16),
    DEQUANT("mxfp8", VQ_BF16),
    DEQUANT("mxfp4", VQ_BF16),
    DEQUANT("nvfp4", VQ_BF16),
    FLOAT(ACT, act, "silu"),
    FLOAT(ACT, act, "gelu"),
    FLOAT(ACT_MUL, act_mul, "silu"),
    FLOAT(ACT_MUL, act_mul, "gelu_tanh"),
    FUSED(ACT_MUL_QUANT, act_mul_quant, "fp8_token"),
    FUSED(ACT_MUL_QUANT, act_mul_quant, "fp8_group128"),
    FUSED(ACT_MUL_QUANT, act_mul_quant, "mxfp4"),
    FLOAT(RMS_NORM, rms_norm, "-"),
    FLOAT(RMS_NORM, rms_norm, "residual"),
    FLOAT(LAYER_NORM, layer_norm, "-"),
    FUSED(RMS_NORM_QUANT, rms_norm_quant, "fp8_static"),
    FUSED(RMS_NORM_QUANT, rms_norm_quant, "fp8_token"),
    FUSED(RMS_NORM_QUANT, rms_norm_quant, "fp8_group128"),
};

/* --- one row ---------------------------------------------------------------- */

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *t, int n)
{
    qsort(t, (size_t)n, sizeof *t, ascending);
    return n % 2 ? t[n / 2] : (t[n / 2 - 1] + t[n / 2]) / 2;
}

static void run(const vq_ctx *vq, const row *r, const any_args *a)
{
    vq_choice c;
    if (vq_plan(vq, r->op, a, &c) != VQ_OK || vq_run(vq, &c, a) != VQ_OK)
        fail(r->key, a->call.report->text);
}

static volatile uint64_t seen;

/* Reads `in` bytes, whole words, and writes `out`. */
static void move(const void *from, size_t in, void *to, size_t out)
{
    const size_t both = in < out ? in : out;
    const uint64_t *p = (const uint64_t *)from;
    uint64_t a = 0, b = 0;
    size_t i;
    memcpy(to, from, both);
    memset((char *)to + both, 0, out - both);
    for (i = both / 8; i + 4 <= in / 8; i += 4) {
        a |= p[i] | p[i + 1];
        b |= p[i + 2] | p[i + 3];
    }
    seen = a | b;
}

/* What an op reads and what it writes, and the larger of both in memory. */
typedef struct traffic { size_t in, out; void *from, *to; } traffic;

static traffic traffic_of(const row *r, const any_args *a)
{
    traffic t = { 0, 0, NULL, NULL };
    int i, count;
    const vq_field *f = vq_op_fields(r->op, &count);
    for (i = 0; i < count; i++) {
        const vq_tensor *x = (const vq_tensor *)((const char *)a + f[i].offset);
        if (f[i].kind > VQ_FIELD_BOTH || !x->rank) continue;
        if (f[i].kind != VQ_FIELD_OUT) t.in += (size_t)vq_tensor_bytes(*x);
        if (f[i].kind != VQ_FIELD_IN) t.out += (size_t)vq_tensor_bytes(*x);
    }
    t.from = memory((int64_t)t.in);
    t.to = memory((int64_t)t.out);
    return t;
}

static void measure(const vq_ctx *vq, const row *r, const any_args *a, const vq_tensor *input,
                    void *copy, const traffic *m, double least, const char *line)
{
    static double copied[MOST], done[MOST], moved[MOST];
    const size_t bytes = (size_t)vq_tensor_bytes(*input);
    double begin, t, of_copy, of_op, of_move;
    int n;
    memcpy(copy, input->data, bytes);
    run(vq, r, a);
    begin = seconds(CLOCK_MONOTONIC);
    for (n = 0; n < MOST && (n < LEAST || seconds(CLOCK_MONOTONIC) - begin < least); n++) {
        t = seconds(OWN_TIME);
        memcpy(copy, input->data, bytes);
        copied[n] = seconds(OWN_TIME) - t;
        t = seconds(OWN_TIME);
        run(vq, r, a);
        done[n] = seconds(OWN_TIME) - t;
        t = seconds(OWN_TIME);
        move(m->from, m->in, m->to, m->out);
        moved[n] = seconds(OWN_TIME) - t;
    }
    of_copy = (double)bytes / median(copied, n) * 1e-9;
    of_op = (double)bytes / median(done, n) * 1e-9;
    of_move = (double)bytes / median(moved, n) * 1e-9;
    printf("%s %9.3f %9.3f %8.3f %8.3f\n", line, of_op, of_copy, of_op / of_copy, of_move / of_copy);
    fflush(stdout);
}

static void describe(const row *r, const char *version, char *out, size_t size)
{
    const vq_dtype in = r->in ? r->in : key_of(r).elem, to = r->out ? r->out : key_of(r).elem;
    snprintf(out, size, "%-14s %-14s %-13s %-13s %-6s", vq_op_str(r->op), r->key,
             vq_dtype_str(in), vq_dtype_str(to), version);
}

/* --- the machine ------------------------------------------------------------ */

static void pin(void)
{
#ifdef __linux__
    cpu_set_t set;
    int cpu = sched_getcpu();
    if (cpu < 0) return;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
#endif
}

static void print_machine(int64_t bytes)
{
    char line[256] = "", name[256] = "unknown";
    const char *compiler = "unknown compiler";
    time_t now = time(NULL);
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "model name%*[ \t:]%255[^\n]", name) == 1) break;
    if (f) fclose(f);
#if defined(__clang__)
    compiler = __VERSION__;
#elif defined(__GNUC__)
    compiler = "gcc " __VERSION__;
#endif
    strftime(line, sizeof line, "%Y-%m-%d", gmtime(&now));
    printf("vq %d.%d.%d, %s, %s, %s, one core, %lld MiB of input\n", VQ_VERSION / 10000,
           VQ_VERSION / 100 % 100, VQ_VERSION % 100, name, compiler, line,
           (long long)(bytes >> 20));
    printf("%-14s %-14s %-13s %-13s %-6s %9s %9s %8s %8s\n", "op", "key", "from", "to", "loops",
           "GB/s", "memcpy", "ratio", "moves");
}

static int chosen(const char *line, char **words)
{
    for (; *words; words++) if (!strstr(line, *words)) return 0;
    return 1;
}

static void bench(vq_ctx *const *ctx, const row *r, int64_t bytes, double least, char **words)
{
    any_args a = { { 0 } };
    vq_report why;
    vq_tensor input;
    traffic bytes_of = { 0, 0, NULL, NULL };
    void *copy = NULL;
    char line[128];
    int v, count;
    const vq_field *f = vq_op_fields(r->op, &count);
    for (v = 0; v < COUNT(versions); v++) {
        if (!ctx[v]) continue;
        describe(r, versions[v].name, line, sizeof line);
        if (!chosen(line, words)) continue;
        if (!copy) {
            memset(&a, 0, sizeof a);
            input = r->make(r, bytes, &a);
            copy = memory(vq_tensor_bytes(input));
            bytes_of = traffic_of(r, &a);
            a.call.report = &why;
        }
        measure(ctx[v], r, &a, &input, copy, &bytes_of, least, line);
    }
    if (!copy) return;
    free(copy);
    free(bytes_of.from);
    free(bytes_of.to);
    for (v = 0; v < count; v++)
        if (f[v].kind <= VQ_FIELD_BOTH) free(((vq_tensor *)((char *)&a + f[v].offset))->data);
}

int main(int argc, char **argv)
{
    vq_ctx *ctx[COUNT(versions)] = { NULL };
    char *words[64] = { NULL }, line[128];
    double least = 0.5;
    int64_t bytes = (int64_t)64 << 20;
    int i, v, n = 0, list = 0;
    for (i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--list")) list = 1;
        else if (!strcmp(argv[i], "--seconds") && i + 1 < argc) least = atof(argv[++i]);
        else if (!strcmp(argv[i], "--mib") && i + 1 < argc && atoi(argv[i + 1]) > 0)
            bytes = (int64_t)atoi(argv[++i]) << 20;
        else if (argv[i][0] != '-' && n < COUNT(words) - 1) words[n++] = argv[i];
        else {
            fprintf(stderr, "usage: bench [--seconds S] [--mib N] [--list] [SUBSTRING...]\n");
            return 2;
        }
    }
    for (v = 0; v < COUNT(versions); v++) {
        vq_desc d = VQ_ZERO;
        d.backend = VQ_CPU;
        d.without = versions[v].without;
        if (vq_init(&d, &ctx[v]) != VQ_OK) fail("vq_init", "no context for the CPU");
        if ((vq_platform_in(ctx[v]).caps & versions[v].needs) != versions[v].needs) {
            vq_free(ctx[v]);
            ctx[v] = NULL;
        } else if (!plainest) plainest = ctx[v];
    }
    if (!list) {
        pin();
        print_machine(bytes);
    }
    for (i = 0; i < COUNT(rows); i++) {
        if (!list) { bench(ctx, &rows[i], bytes, least, words); continue; }
        for (v = 0; v < COUNT(versions); v++) {
            describe(&rows[i], versions[v].name, line, sizeof line);
            if (ctx[v] && chosen(line, words)) puts(line);
        }
    }
    for (v = 0; v < COUNT(versions); v++) vq_free(ctx[v]);
    return 0;
}
