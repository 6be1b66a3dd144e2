/* main.c - vq: the library from a shell

     vq info                      what this machine has, and what would run where
     vq explain OP --key K ...    why each implementation of an op would or would not run
     vq run OP --key K ...        an op on the tensors of a safetensors file

   Needs jansson. Exit code 0; 1 after one line on stderr that says what was wrong; 2 where the
   command line cannot be read. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#define VQ_IMPLEMENTATION
#include "tool.h"

static void say(const char *fmt, va_list args)
{
    char line[2048];
    int i;
    vsnprintf(line, sizeof line, fmt, args);
    for (i = 0; line[i]; i++)          /* names come from files: they may not end the line */
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f) line[i] = '?';
    fflush(stdout);
    fprintf(stderr, "vq: %s\n", line);
}

int fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(fmt, args);
    va_end(args);
    return 1;
}

int fail_usage(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(fmt, args);
    va_end(args);
    return 2;
}

void hear(void *user, const char *line)
{
    log_text *log = (log_text *)user;
    int n = snprintf(log->text + log->used, sizeof log->text - log->used, "  %s\n", line);
    if (n > 0) log->used += (size_t)n;
    if (log->used >= sizeof log->text) log->used = sizeof log->text - 1;
    snprintf(log->last, sizeof log->last, "%s", line);
}

int open_context(const options *o, log_text *log, vq_ctx **out)
{
    vq_desc desc = VQ_ZERO;
    vq_report why = VQ_ZERO;
    memset(log, 0, sizeof *log);
    desc.backend = o->backend;
    desc.assume = o->device;
    desc.log = hear;
    desc.log_user = log;
    desc.report = &why;
    if (vq_init(&desc, out) == VQ_OK) return 0;
    return fail("%s%s%s%s%s", o->device ? "--device: " : "", why.text, log->used ? " (" : "",
                log->last, log->used ? ")" : "");
}

int op_has_key(vq_op op) { return op == VQ_OP_QUANT || op == VQ_OP_DEQUANT; }

vq_dtype fnuz_counterpart(vq_dtype t)
{
    switch (t) {
    case VQ_E4M3FN:   return VQ_E4M3FNUZ;
    case VQ_E4M3FNUZ: return VQ_E4M3FN;
    case VQ_E5M2:     return VQ_E5M2FNUZ;
    case VQ_E5M2FNUZ: return VQ_E5M2;
    default:          return VQ_NONE;
    }
}

/* --- the command line ----------------------------------------------------- */

static const char help[] =
    "usage: vq info [--backend B] [--device ARCH]\n"
    "       vq explain OP [--key K] --shape R,C [options]\n"
    "       vq run OP [--key K] -i IN.safetensors -o OUT.safetensors [options]\n"
    "       vq --version | --help\n"
    "\n"
    "info      version, devices, kernel libraries, and which implementation serves which key\n"
    "explain   every implementation of an op, and why it would or would not run\n"
    "run       an op on the tensors of a file\n"
    "\n"
    "vq explain --help and vq run --help list their options. Exit code 0; 1 after one line on\n"
    "stderr that says what was wrong; 2 where the command line cannot be read.\n";

static const char help_info[] =
    "usage: vq info [--backend any|hip|cuda|cpu] [--device ARCH]\n"
    "\n"
    "  --backend B      start this one, not the first that starts\n"
    "  --device ARCH    plan for an architecture that need not be here: gfx950, sm_90\n";

static const char help_explain[] =
    "usage: vq explain OP [--key K] --shape R,C [options]\n"
    "\n"
    "OP: cast fnuz_normalize quant dequant scale_convert\n"
    "  --key K          a preset's name or a key's text; quant and dequant need one\n"
    "  --as ELEM[:MAX]  the key in another encoding; MAX is vLLM's unless given\n"
    "  --shape R,C      extents of the op's matrix\n"
    "  --x-type T       type of the input; bf16, but float8_e4m3fn for fnuz_normalize and\n"
    "                   float8_e8m0fnu for scale_convert\n"
    "  --place P        host, device or managed; where the context's memory is\n"
    "  --order O        of scales: rows columns columns_tma packed_ue8m0 128x4 8x4 cdna4\n"
    "  --set NAME=V     as in vq run: out, order, overflow, layout\n"
    "  --backend B      any hip cuda cpu\n"
    "  --device ARCH    plan for an architecture that need not be here: gfx950, sm_90\n"
    "  --json           an array of objects instead of lines\n";

static const char help_run[] =
    "usage: vq run OP [--key K] -i IN.safetensors -o OUT.safetensors [options]\n"
    "\n"
    "OP                 reads             writes\n"
    "  quant            x [scale]         q scale\n"
    "  dequant          q scale           y\n"
    "  cast             x                 y\n"
    "  fnuz_normalize   x scale           y scale_out\n"
    "  scale_convert    x                 y\n"
    "\n"
    "  --key K          a preset's name or a key's text; quant and dequant need one\n"
    "  --as ELEM[:MAX]  the key in another encoding; MAX is vLLM's unless given\n"
    "  --backend B      any hip cuda cpu\n"
    "  --all            quant: every 2-D tensor NAME of f32, f16 or bf16, to NAME.q and\n"
    "                   NAME.scale; dequant: every such pair, to NAME.y\n"
    "  --error          quant: dequantizes too, and prints bytes, SQNR and the largest error\n"
    "  --set scale=V    quant under a static key: V, or amax: the largest finite magnitude of a\n"
    "                   group / the key's maximum; 1 where that is 0\n"
    "  --set order=O    quant: the order of the scales it writes\n"
    "  --set out=T      the type dequant (f32 if not given) or cast writes\n"
    "  --set overflow=  saturate or nonfinite: cast, fnuz_normalize\n"
    "  --set layout=O   scale_convert: the order it writes\n"
    "Orders: rows columns columns_tma packed_ue8m0 128x4 8x4 cdna4. Types that safetensors lacks\n"
    "are U8, with the type in the metadata vq.dtype.NAME. The output appears when it is whole.\n";

static int set_order(const char *what, const char *v, int *out)
{
    *out = vq_order_of(v);
    return *out < 0 ? fail("%s: %s is no order; needed rows, columns, columns_tma, packed_ue8m0, "
                           "128x4, 8x4 or cdna4", what, v) : 0;
}

static int set_dtype(const char *what, const char *v, vq_dtype *out)
{
    *out = vq_dtype_of(v);
    return *out == VQ_NONE ? fail("%s: %s is no type known here", what, v) : 0;
}

static int set_float(const char *what, const char *v, float *out)
{
    char *end;
    *out = strtof(v, &end);
    return !*v || *end || (unsigned char)*v <= ' '
         ? fail("%s: %s is not a number", what, v) : 0;
}

static int o_key(options *o, const char *v)     { o->key_text = v; return 0; }
static int o_as(options *o, const char *v)      { o->as = v;       return 0; }
static int o_in(options *o, const char *v)      { o->in = v;       return 0; }
static int o_out(options *o, const char *v)     { o->out = v;      return 0; }
static int o_device(options *o, const char *v)  { o->device = v;   return 0; }
static int o_all(options *o, const char *v)     { (void)v; o->all = 1;   return 0; }
static int o_error(options *o, const char *v)   { (void)v; o->error = 1; return 0; }
static int o_json(options *o, const char *v)    { (void)v; o->json = 1;  return 0; }
static int o_x_type(options *o, const char *v)  { return set_dtype("--x-type", v, &o->x_type); }

static int o_order(options *o, const char *v)
{
    int order;
    if (set_order("--order", v, &order)) return 1;
    o->order = (vq_order)order;
    return 0;
}

static int o_backend(options *o, const char *v)
{
    int b = vq_backend_of(v);
    if (b < 0) return fail("--backend: %s is no backend; needed any, hip, cuda or cpu", v);
    o->backend = (vq_backend)b;
    return 0;
}

static int o_place(options *o, const char *v)
{
    static const char *const name[] = {"host", "device", "managed"};
    for (o->place = 0; o->place < 3; o->place++)
        if (!strcmp(v, name[o->place])) return 0;
    return fail("--place: %s is no place; needed host, device or managed", v);
}

static int o_shape(options *o, const char *v)
{
    char *end = NULL;
    errno = 0;
    if (*v >= '0' && *v <= '9') {
        o->rows = strtoll(v, &end, 10);
        if (*end == ',' && end[1] >= '0' && end[1] <= '9') {
            o->cols = strtoll(end + 1, &end, 10);
            if (!*end && !errno) return 0;
        }
    }
    return fail("--shape: found %s, needed rows,columns", v);
}

static int o_set(options *o, const char *v)
{
    const char *eq = strchr(v, '=');
    size_t n = eq ? (size_t)(eq - v) : 0;
    if (!eq) return fail("--set: found %s, needed name=value", v);
    eq++;
    if (n == 5 && !strncmp(v, "scale", n)) {
        o->scale_text = eq;
        o->scale = strcmp(eq, "amax") ? SCALE_VALUE : SCALE_AMAX;
        return o->scale == SCALE_AMAX ? 0 : set_float("--set scale", eq, &o->scale_value);
    }
    if (n == 3 && !strncmp(v, "out", n))    return set_dtype("--set out", eq, &o->out_type);
    if (n == 5 && !strncmp(v, "order", n))  return o_order(o, eq);
    if (n == 6 && !strncmp(v, "layout", n)) return set_order("--set layout", eq, &o->layout);
    if (n == 8 && !strncmp(v, "overflow", n)) {
        o->overflow = strcmp(eq, "nonfinite") ? VQ_SATURATE : VQ_NONFINITE;
        return o->overflow == VQ_NONFINITE || !strcmp(eq, "saturate") ? 0
             : fail("--set overflow: found %s, needed saturate or nonfinite", eq);
    }
    return fail("--set: %s: needed scale, out, order, overflow or layout before the =", v);
}

enum { INFO = 1, EXPLAIN = 2, RUN = 4 };

static const struct command {
    const char *name;
    int         bit, takes_op;
    int       (*run)(const options *o);
    const char *help;
} commands[] = {
    {"info",    INFO,    0, cmd_info,    help_info},
    {"explain", EXPLAIN, 1, cmd_explain, help_explain},
    {"run",     RUN,     1, cmd_run,     help_run},
};

static const struct flag {
    const char *name;
    int         commands, has_value;
    int       (*take)(options *o, const char *value);
} flags[] = {
    {"--key",     EXPLAIN | RUN,        1, o_key},
    {"--as",      EXPLAIN | RUN,        1, o_as},
    {"--set",     EXPLAIN | RUN,        1, o_set},
    {"--backend", INFO | EXPLAIN | RUN, 1, o_backend},
    {"--device",  INFO | EXPLAIN,       1, o_device},
    {"--shape",   EXPLAIN,              1, o_shape},
    {"--x-type",  EXPLAIN,              1, o_x_type},
    {"--place",   EXPLAIN,              1, o_place},
    {"--order",   EXPLAIN,              1, o_order},
    {"--json",    EXPLAIN,              0, o_json},
    {"-i",        RUN,                  1, o_in},
    {"-o",        RUN,                  1, o_out},
    {"--all",     RUN,                  0, o_all},
    {"--error",   RUN,                  0, o_error},
};

static int read_key(options *o)
{
    vq_report why = VQ_ZERO;
    vq_dtype elem;
    char name[32];
    const char *colon;
    float max;

    if (vq_key_parse(o->key_text, &o->key, &why) != VQ_OK)
        return fail("--key %s: %s", o->key_text, why.text);
    o->has_key = 1;
    if (!o->as) return 0;
    colon = strchr(o->as, ':');
    snprintf(name, sizeof name, "%.*s", colon ? (int)(colon - o->as) : (int)strlen(o->as), o->as);
    if (set_dtype("--as", name, &elem)) return 1;
    max = vq_fp8_max(elem, 1);
    if (colon ? set_float("--as", colon + 1, &max) : max == 0)
        return colon ? 1 : fail("--as: %s has no maximum of its own; needed %s:MAX", name, name);
    o->key = vq_key_as(o->key, elem, max);
    if (vq_key_check(&o->key, &why) != VQ_OK) return fail("--as %s: %s", o->as, why.text);
    return 0;
}

static int read_options(const struct command *c, int argc, char **argv, options *o)
{
    int i = 0, k, bad, n = (int)(sizeof flags / sizeof *flags);

    if (c->takes_op && (!argc || argv[0][0] == '-'))
        return fail_usage("%s: needs an op; see vq %s --help", c->name, c->name);
    if (c->takes_op && (o->op = vq_op_of(argv[i++])) == VQ_OP_NONE)
        return fail("%s: %s is no op; needed quant, dequant, cast, fnuz_normalize or scale_convert",
                    c->name, argv[0]);
    for (; i < argc; i++) {
        for (k = 0; k < n; k++)
            if ((flags[k].commands & c->bit) && !strcmp(argv[i], flags[k].name)) break;
        if (k == n)
            return fail_usage("%s: unknown option %s; see vq %s --help", c->name, argv[i], c->name);
        if (flags[k].has_value && i + 1 == argc)
            return fail_usage("%s: %s needs a value", c->name, argv[i]);
        bad = flags[k].take(o, flags[k].has_value ? argv[++i] : NULL);
        if (bad) return bad;
    }
    if (op_has_key(o->op) && !o->key_text)
        return fail_usage("%s %s: needs --key", c->name, vq_op_str(o->op));
    if (o->key_text && !op_has_key(o->op))
        return fail_usage("%s %s: has no key", c->name, vq_op_str(o->op));
    if (o->as && !o->key_text) return fail_usage("%s: --as needs --key", c->name);
    if (c->bit == EXPLAIN && o->rows < 0) return fail_usage("explain: needs --shape");
    if (c->bit == RUN && (!o->in || !o->out)) return fail_usage("run: needs -i and -o");
    if (o->all && !op_has_key(o->op)) return fail_usage("run: --all is for quant and dequant");
    if (o->error && o->op != VQ_OP_QUANT) return fail_usage("run: --error is for quant");
    return o->key_text ? read_key(o) : 0;
}

static int start(int argc, char **argv)
{
    options o = VQ_ZERO;
    size_t k;
    int i, bad;

    o.rows = o.place = o.layout = -1;
    if (argc < 2) return fail_usage("needs a command: info, explain or run; see vq --help");
    if (!strcmp(argv[1], "--version")) {
        printf("vq %d.%d.%d\n", VQ_VERSION / 10000, VQ_VERSION / 100 % 100, VQ_VERSION % 100);
        return 0;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) return fputs(help, stdout) < 0;
    for (k = 0; k < sizeof commands / sizeof *commands; k++) {
        if (strcmp(argv[1], commands[k].name)) continue;
        for (i = 2; i < argc; i++)
            if (!strcmp(argv[i], "--help")) return fputs(commands[k].help, stdout) < 0;
        bad = read_options(&commands[k], argc - 2, argv + 2, &o);
        return bad ? bad : commands[k].run(&o);
    }
    return fail_usage("%s is no command; needed info, explain or run", argv[1]);
}

int main(int argc, char **argv)
{
    int code = start(argc, argv);
    if ((fflush(stdout) || ferror(stdout)) && !code)
        return fail("standard output: %s", strerror(errno));
    return code;
}
