/* main.c - vq: the library from a shell

     vq info                      what this machine has, and what would run where
     vq explain OP --key K ...    why each implementation of an op would or would not run
     vq run OP --key K ...        an op on the tensors of a safetensors file

   Needs jansson. Exit code 0; or, after one line on stderr that says what was wrong, 2 where the
   command line cannot be understood, before any file or device is looked at, and 1 otherwise. */
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
    "vq explain --help and vq run --help list their options.\n"
    "Exit code: 0; 2 where the command line cannot be understood: a word that is unknown, given\n"
    "twice, missing, or of no use to the op; 1 for all else: a file, a tensor, memory, what the\n"
    "library cannot do. Before 1 and 2 comes one line on stderr that says what was wrong.\n";

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
    "                   float8_e8m0fnu for scale_convert; dequant's is the key's\n"
    "  --place P        host, device or managed; where the context's memory is\n"
    "  --order O        of scales: rows columns columns_tma packed_ue8m0 128x4 8x4 cdna4\n"
    "  --set NAME=V     as in vq run: out (dequant: bf16 if not given), order, overflow, layout\n"
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
    "  --set order=O    quant: the order of the scales it makes\n"
    "  --set out=T      the type dequant (f32 if not given) or cast writes\n"
    "  --set overflow=  saturate or nonfinite: cast, fnuz_normalize\n"
    "  --set layout=O   scale_convert: the order it writes\n"
    "Orders: rows columns columns_tma packed_ue8m0 128x4 8x4 cdna4. Types that safetensors lacks\n"
    "are U8, with the type in the metadata vq.dtype.NAME. The output appears when it is whole.\n";

enum { INFO = 1, EXPLAIN = 2, RUN = 4 };

#define FOR(op)  (1u << VQ_OP_##op)
#define KEYED    (FOR(QUANT) | FOR(DEQUANT))
#define EVERY_OP (~0u)

static int read_order(const char *what, const char *v, int *out)
{
    *out = vq_order_of(v);
    return *out < 0 ? fail_usage("%s: %s is no order; needed rows, columns, columns_tma, "
                                 "packed_ue8m0, 128x4, 8x4 or cdna4", what, v) : 0;
}

static int read_dtype(const char *what, const char *v, vq_dtype *out)
{
    *out = vq_dtype_of(v);
    return *out == VQ_NONE ? fail_usage("%s: %s is no type known here", what, v) : 0;
}

static int read_float(const char *what, const char *v, float *out)
{
    char *end;
    *out = strtof(v, &end);
    return !*v || *end || (unsigned char)*v <= ' '
         ? fail_usage("%s: %s is not a number", what, v) : 0;
}

static const char *command_of(const options *o);

/* 0 where the op uses what was said, for the first time; `bit` is its own. */
static int wanted(options *o, const char *said, unsigned ops, unsigned bit)
{
    if (!(ops >> o->op & 1u))
        return fail_usage("%s %s: takes no %s", command_of(o), vq_op_str(o->op), said);
    if (o->given & bit) return fail_usage("%s: %s is given twice", command_of(o), said);
    o->given |= bit;
    return 0;
}

/* --- name=value ----------------------------------------------------------- */

static int s_scale(options *o, const char *what, const char *v)
{
    o->scale = strcmp(v, "amax") ? SCALE_VALUE : SCALE_AMAX;
    return o->scale == SCALE_AMAX ? 0 : read_float(what, v, &o->scale_value);
}

static int s_order(options *o, const char *what, const char *v)
{
    int order;
    if (read_order(what, v, &order)) return 2;
    o->order = (vq_order)order;
    return 0;
}

static int s_overflow(options *o, const char *what, const char *v)
{
    o->overflow = strcmp(v, "nonfinite") ? VQ_SATURATE : VQ_NONFINITE;
    return o->overflow == VQ_NONFINITE || !strcmp(v, "saturate") ? 0
         : fail_usage("%s: found %s, needed saturate or nonfinite", what, v);
}

static int s_out(options *o, const char *what, const char *v)
{
    return read_dtype(what, v, &o->out_type);
}

static int s_layout(options *o, const char *what, const char *v)
{
    return read_order(what, v, &o->layout);
}

static const struct setting {
    const char *name;
    unsigned    run, explain;         /* the ops that use it */
    int       (*take)(options *o, const char *what, const char *value);
} settings[] = {
    {"order",    FOR(QUANT),                     KEYED | FOR(SCALE_CONVERT),     s_order},
    {"scale",    FOR(QUANT),                     0,                              s_scale},
    {"out",      FOR(CAST) | FOR(DEQUANT),       FOR(CAST) | FOR(DEQUANT),       s_out},
    {"overflow", FOR(CAST) | FOR(FNUZ_NORMALIZE), FOR(CAST) | FOR(FNUZ_NORMALIZE), s_overflow},
    {"layout",   FOR(SCALE_CONVERT),             FOR(SCALE_CONVERT),             s_layout},
};
enum { ORDER, SCALE, SETTINGS = sizeof settings / sizeof *settings };

static int take_setting(options *o, int k, const char *said, const char *value)
{
    const struct setting *s = &settings[k];
    int bad = wanted(o, said, o->command == RUN ? s->run : s->explain, 1u << k);
    return bad ? bad : s->take(o, said, value);
}

static int o_set(options *o, const char *v)
{
    const char *eq = strchr(v, '=');
    const size_t n = eq ? (size_t)(eq - v) : 0;
    char said[32];
    int k;
    if (!eq) return fail_usage("--set: found %s, needed name=value", v);
    for (k = 0; k < SETTINGS; k++)
        if (strlen(settings[k].name) == n && !strncmp(v, settings[k].name, n)) {
            snprintf(said, sizeof said, "--set %s", settings[k].name);
            return take_setting(o, k, said, eq + 1);
        }
    return fail_usage("--set: %s: needed scale, out, order, overflow or layout before the =", v);
}

/* --- options -------------------------------------------------------------- */

static int o_key(options *o, const char *v)     { o->key_text = v; return 0; }
static int o_as(options *o, const char *v)      { o->as = v;       return 0; }
static int o_in(options *o, const char *v)      { o->in = v;       return 0; }
static int o_out(options *o, const char *v)     { o->out = v;      return 0; }
static int o_all(options *o, const char *v)     { (void)v; o->all = 1;   return 0; }
static int o_error(options *o, const char *v)   { (void)v; o->error = 1; return 0; }
static int o_json(options *o, const char *v)    { (void)v; o->json = 1;  return 0; }
static int o_x_type(options *o, const char *v)  { return read_dtype("--x-type", v, &o->x_type); }
static int o_order(options *o, const char *v)   { return take_setting(o, ORDER, "--order", v); }

static int o_backend(options *o, const char *v)
{
    int b = vq_backend_of(v);
    if (b < 0) return fail_usage("--backend: %s is no backend; needed any, hip, cuda or cpu", v);
    o->backend = (vq_backend)b;
    return 0;
}

static int o_device(options *o, const char *v)
{
    vq_report why = VQ_ZERO;
    vq_platform p;
    o->device = v;
    return vq_platform_of(v, &p, &why) == VQ_OK ? 0 : fail_usage("--device: %s", why.text);
}

static int o_place(options *o, const char *v)
{
    static const char *const name[] = {"host", "device", "managed"};
    for (o->place = 0; o->place < 3; o->place++)
        if (!strcmp(v, name[o->place])) return 0;
    return fail_usage("--place: %s is no place; needed host, device or managed", v);
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
    return fail_usage("--shape: found %s, needed rows,columns", v);
}

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
enum { COMMANDS = sizeof commands / sizeof *commands };

static const char *command_of(const options *o)
{
    int i;
    for (i = 0; i < COMMANDS - 1 && commands[i].bit != o->command; i++) {}
    return commands[i].name;
}

static const struct flag {
    const char *name;
    int         commands, has_value;
    unsigned    ops;                  /* that use it */
    int       (*take)(options *o, const char *value);
} flags[] = {
    {"--set",     EXPLAIN | RUN,        1, EVERY_OP,   o_set},
    {"--order",   EXPLAIN,              1, EVERY_OP,   o_order},
    {"--key",     EXPLAIN | RUN,        1, KEYED,      o_key},
    {"--as",      EXPLAIN | RUN,        1, KEYED,      o_as},
    {"--backend", INFO | EXPLAIN | RUN, 1, EVERY_OP,   o_backend},
    {"--device",  INFO | EXPLAIN,       1, EVERY_OP,   o_device},
    {"--shape",   EXPLAIN,              1, EVERY_OP,   o_shape},
    {"--x-type",  EXPLAIN,              1, ~FOR(DEQUANT), o_x_type},
    {"--place",   EXPLAIN,              1, EVERY_OP,   o_place},
    {"--json",    EXPLAIN,              0, EVERY_OP,   o_json},
    {"-i",        RUN,                  1, EVERY_OP,   o_in},
    {"-o",        RUN,                  1, EVERY_OP,   o_out},
    {"--all",     RUN,                  0, KEYED,      o_all},
    {"--error",   RUN,                  0, FOR(QUANT), o_error},
};
enum { BY_NAME = 2, FLAGS = sizeof flags / sizeof *flags };    /* the first two count by setting */

static int read_key(options *o)
{
    vq_report why = VQ_ZERO;
    vq_dtype elem;
    char name[32];
    const char *colon;
    float max;

    if (vq_key_parse(o->key_text, &o->key, &why) != VQ_OK)
        return fail_usage("--key %s: %s", o->key_text, why.text);
    if (!o->as) return 0;
    colon = strchr(o->as, ':');
    snprintf(name, sizeof name, "%.*s", colon ? (int)(colon - o->as) : (int)strlen(o->as), o->as);
    if (read_dtype("--as", name, &elem)) return 2;
    max = vq_fp8_max(elem, 1);
    if (colon ? read_float("--as", colon + 1, &max) : max == 0)
        return colon ? 2 : fail_usage("--as: %s has no maximum of its own; needed %s:MAX", name,
                                      name);
    o->key = vq_key_as(o->key, elem, max);
    if (vq_key_check(&o->key, &why) != VQ_OK) return fail_usage("--as %s: %s", o->as, why.text);
    return 0;
}

/* What run's quant does with a scale depends on the key. */
static int check_scale(const options *o)
{
    if (!(o->key.flags & VQ_KEY_STATIC))
        return o->scale == SCALE_NONE ? 0
             : fail_usage("--set scale: the key is not static; quant computes its scales");
    if (o->scale != SCALE_NONE) return 0;
    if (o->all) return fail_usage("--key: is static; --all needs --set scale=V or scale=amax");
    return !(o->given >> ORDER & 1u) ? 0
         : fail_usage("--set order: the scale is read, as it lies; needs --set scale");
}

static int read_options(const struct command *c, int argc, char **argv, options *o)
{
    int i = 0, k, bad;
    vq_platform p;

    o->command = c->bit;
    if (c->takes_op && (!argc || argv[0][0] == '-'))
        return fail_usage("%s: needs an op; see vq %s --help", c->name, c->name);
    if (c->takes_op && (o->op = vq_op_of(argv[i++])) == VQ_OP_NONE)
        return fail_usage("%s: %s is no op; needed quant, dequant, cast, fnuz_normalize or "
                          "scale_convert", c->name, argv[0]);
    for (; i < argc; i++) {
        for (k = 0; k < FLAGS; k++)
            if ((flags[k].commands & c->bit) && !strcmp(argv[i], flags[k].name)) break;
        if (k == FLAGS)
            return fail_usage("%s: unknown option %s; see vq %s --help", c->name, argv[i], c->name);
        if (flags[k].has_value && i + 1 == argc)
            return fail_usage("%s: %s needs a value", c->name, argv[i]);
        bad = wanted(o, flags[k].name, flags[k].ops, k < BY_NAME ? 0 : 1u << (SETTINGS + k));
        if (!bad) bad = flags[k].take(o, flags[k].has_value ? argv[++i] : NULL);
        if (bad) return bad;
    }
    if (op_has_key(o->op) && !o->key_text)
        return fail_usage("%s %s: needs --key", c->name, vq_op_str(o->op));
    if (o->device && o->backend && vq_platform_of(o->device, &p, NULL) == VQ_OK
        && p.backend != o->backend)
        return fail_usage("--backend: found %s, needed %s for --device %s",
                          vq_backend_str(o->backend), vq_backend_str(p.backend), o->device);
    if (c->bit == EXPLAIN && o->rows < 0) return fail_usage("explain: needs --shape");
    if (c->bit == RUN && (!o->in || !o->out)) return fail_usage("run: needs -i and -o");
    if (c->bit == RUN && o->op == VQ_OP_CAST && !o->out_type)
        return fail_usage("run cast: needs --set out=TYPE");
    if (c->bit == RUN && o->op == VQ_OP_SCALE_CONVERT && o->layout < 0)
        return fail_usage("run scale_convert: needs --set layout=ORDER");
    if (o->key_text && (bad = read_key(o)) != 0) return bad;
    return c->bit == RUN && o->op == VQ_OP_QUANT ? check_scale(o) : 0;
}

static int start(int argc, char **argv)
{
    options o = VQ_ZERO;
    int k, i, bad;

    o.rows = o.place = o.layout = -1;
    if (argc < 2) return fail_usage("needs a command: info, explain or run; see vq --help");
    if (!strcmp(argv[1], "--version")) {
        printf("vq %d.%d.%d\n", VQ_VERSION / 10000, VQ_VERSION / 100 % 100, VQ_VERSION % 100);
        return 0;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) return fputs(help, stdout) < 0;
    for (k = 0; k < COMMANDS; k++) {
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
