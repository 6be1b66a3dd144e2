/* main.c - vq: the library from a shell

     vq info                      what this machine has, and what would run where
     vq explain OP --key K ...    why each implementation of an op would or would not run
     vq run OP --key K ...        an op on the tensors of a safetensors file
     vq fuse GRAPH.txt            a graph of ops through the fusion passes

   Needs jansson. Exit code 0; or, after one line on stderr that says what was wrong, 2 where the
   command line cannot be understood, before any file or device is looked at, and 1 otherwise. */
#define _XOPEN_SOURCE 700
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#define VQ_IMPLEMENTATION
#include "tool.h"
#include "graph.h"

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
    desc.without = o->without;
    desc.log = hear;
    desc.log_user = log;
    desc.report = &why;
    if (vq_init(&desc, out) == VQ_OK) return 0;
    return fail("%s%s%s%s%s", o->device ? "--device: " : "", why.text, log->used ? " (" : "",
                log->last, log->used ? ")" : "");
}

/* --- the command line ----------------------------------------------------- */

static const char help[] =
    "usage: vq info [options]\n"
    "       vq explain OP [--key K] --shape R,C [options]\n"
    "       vq run OP [--key K] -i IN.safetensors [-o OUT.safetensors] [options]\n"
    "       vq fuse GRAPH.txt [options]\n"
    "       vq --version | --help\n"
    "\n"
    "info      version, devices, kernel libraries, and which implementation serves which key\n"
    "explain   every implementation of an op, and why it would or would not run\n"
    "run       an op on the tensors of a file\n"
    "fuse      a graph of ops through the fusion passes: what was fused, what was not and why\n"
    "\n"
    "vq explain --help, vq run --help and vq fuse --help list their options.\n"
    "Exit code: 0; 2 where the command line cannot be understood: a word that is unknown, given\n"
    "twice, missing, or of no use to the op; 1 for all else: a file, a tensor, memory, what the\n"
    "library cannot do. Before 1 and 2 comes one line on stderr that says what was wrong.\n";

static const char help_info[] =
    "usage: vq info [options]\n"
    "\n"
    "  --backend B      start this one, not the first that starts: any hip cuda cpu\n"
    "  --without CAPS   as if the machine lacked them: avx512,avx2\n"
    "  --device ARCH    plan for an architecture that need not be here: gfx950, sm_90\n";

static const char help_explain[] =
    "usage: vq explain OP [--key K] --shape R,C [options]\n"
    "\n"
    "  --key K          a preset's name or a key's text; an op with a key needs one\n"
    "  --as ELEM[:MAX]  the key in another encoding; MAX is vLLM's unless given\n"
    "  --static         the key with its scales given, as calibrate makes them\n"
    "  --from K         requant: the key of its input\n"
    "  --shape R,C      extents of the op's matrix\n"
    "  --x-type T       type of the input; bf16, but float8_e4m3fn for fnuz_normalize and\n"
    "                   float8_e8m0fnu for scale_convert; that of codes is the key's\n"
    "  --place P        host, device or managed; where the context's memory is\n"
    "  --order O        of scales: rows columns columns_tma packed_ue8m0 128x4 8x4 cdna4\n"
    "  --set NAME=V     as in vq run: out (dequant: bf16 if not given), order, layout, bins,\n"
    "                   numbers that are arguments of the op\n"
    "  --backend B      any hip cuda cpu\n"
    "  --without CAPS   as if the machine lacked them: avx512,avx2\n"
    "  --device ARCH    plan for an architecture that need not be here: gfx950, sm_90\n"
    "  --json           an array of objects instead of lines\n"
    "\n";

static const char help_run[] =
    "usage: vq run OP [--key K] -i IN.safetensors [-o OUT.safetensors] [options]\n"
    "\n"
    "  --key K          a preset's name or a key's text; an op with a key needs one\n"
    "  --key every      quant: each preset in turn; prints what it would take and how near it\n"
    "                   comes, and writes nothing\n"
    "  --as ELEM[:MAX]  the key in another encoding; MAX is vLLM's unless given\n"
    "  --static         the key with its scales given, as calibrate makes them\n"
    "  --from K         requant: the key of its input\n"
    "  --also FILE      where tensors are that IN lacks\n"
    "  --backend B      any hip cuda cpu\n"
    "  --without CAPS   as if the machine lacked them: avx512,avx2\n"
    "  --all            not x but every tensor NAME that the op takes, to NAME.q, NAME.scale ...;\n"
    "                   ops that begin with other tensors: every NAME.q, NAME.scale ...\n"
    "  --error          quant: dequantizes too, and prints bytes, SQNR and the largest error\n"
    "  --set NAME=V     NAME is a number that the op takes, or one of\n"
    "    scale=V|amax   under a static key, quant: V, or what the data ask for: amax or the range\n"
    "                   of a group by the key's maximum, 1 where that is 0; and the zero points\n"
    "    zero=V bound=V scale2=V    these, without a file\n"
    "    scale2=amax    448 * the largest code / amax of x; 1 / that under scale2=mul\n"
    "    order=O        the order of the scales that are made\n"
    "    out=T          the type of y (cast needs it; dequant: f32 if not given; else that of x)\n"
    "    layout=O       scale_convert: the order it writes\n"
    "    bins=N         histogram: how many; 2048\n"
    "    act=silu|...   gate=first|...   mid=T   overflow=saturate|nonfinite\n"
    "Of requant they end in _out. An op writes -o, but compare, which prints, and exits with 1\n"
    "where the tensors are not as close as they should be.\n"
    "Orders: rows columns columns_tma packed_ue8m0 128x4 8x4 cdna4. Types that safetensors lacks\n"
    "are U8, with the type in the metadata vq.dtype.NAME. The output appears when it is whole.\n"
    "\n";

static const char help_fuse[] =
    "usage: vq fuse GRAPH.txt [options]\n"
    "\n"
    "Prints a receipt: each fusion with the bytes and launches it saves, and each that came near\n"
    "with the reason why it was not made.\n"
    "\n"
    "  --check          runs the graph before and after, on random, nasty and given inputs, and\n"
    "                   compares bytes; with --device on the CPU\n"
    "  -i FILE          a safetensors file with the inputs, for --check\n"
    "  --print          the graph after, instead of the receipt\n"
    "  --dot            that for Graphviz\n"
    "  --passes NAMES   which, in their order; \"norm_quant act_quant\"\n"
    "  --dump           the patterns and their hash, nothing else; of GRAPH.txt nothing is read\n"
    "  --backend B      any hip cuda cpu\n"
    "  --without CAPS   as if the machine lacked them: avx512,avx2\n"
    "  --device ARCH    for an architecture that need not be here: gfx950, sm_90\n"
    "\n"
    "The text of a graph: a line a value or a node, # begins a comment.\n"
    "  in x bf16 256x8192            a value that the caller brings: name, type, extents\n"
    "  y bf16 256x4096               one that a node makes\n"
    "  out s f32 256x32 columns_tma  one that the caller wants; how scales lie\n"
    "  act_mul act=silu x=x y=y      a node: an op, and its arguments by name\n"
    "  rms_norm x=h residual=r:t weight=w eps=1e-6 y=y      r before it, t after it\n"
    "  @attention q k v -> o         what vq lacks: reads q, k and v, makes o\n";

enum { INFO = 1, EXPLAIN = 2, RUN = 4, FUSE = 8 };
enum { NOTHING, AN_OP, A_FILE };       /* what stands before the options */

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

static int read_whole(const char *what, const char *v, int64_t least, int64_t most, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(v, &end, 10);
    return !*v || *end || (unsigned char)*v <= ' ' || errno || *out < least || *out > most
         ? fail_usage("%s: found %s, needed a whole number", what, v) : 0;
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
static int wanted(options *o, const char *said, int used, unsigned bit)
{
    if (!used) return fail_usage("%s %s: takes no %s", command_of(o), vq_op_str(o->op), said);
    if (o->given & bit) return fail_usage("%s: %s is given twice", command_of(o), said);
    o->given |= bit;
    return 0;
}

/* In brackets what not every key has, or reads. */
static int print_ops(void)
{
    options o = VQ_ZERO;
    int op, out, n, i;
    puts("OP               what it reads -> what it writes");
    for (op = 1; op < VQ_OP_COUNT; op++) {
        const vq_field *f = vq_op_fields(o.op = (vq_op)op, &n);
        printf("%-16s", vq_op_str(o.op));
        for (out = 0; out < 2; out++) {
            if (out) fputs(" ->", stdout);
            for (i = 0; i < n; i++) {
                const int kind = f[i].kind, either = kind == VQ_FIELD_MADE
                               || kind == VQ_FIELD_INOUT || kind == VQ_FIELD_BOTH;
                const int some = !has_part(&o, &f[i]) || is_optional(&f[i]) || (either && !out);
                if (either || f[i].kind == (out ? VQ_FIELD_OUT : VQ_FIELD_IN))
                    printf(some ? " [%s]" : " %s", f[i].name);
            }
        }
        putchar('\n');
    }
    return 0;
}

/* --- name=value ----------------------------------------------------------- */

static int s_order(options *o, const char *what, const char *v)
{
    int order;
    if (read_order(what, v, &order)) return 2;
    o->order = (vq_order)order;
    return 0;
}

static int s_out(options *o, const char *what, const char *v)
{
    return read_dtype(what, v, &o->out_type);
}

static int s_layout(options *o, const char *what, const char *v)
{
    return read_order(what, v, &o->layout);
}

static int s_bins(options *o, const char *what, const char *v)
{
    return read_whole(what, v, 1, 1 << 30, &o->bins);
}

/* Does the op make scales (explain: have them) in an order that can be chosen? */
static int has_order(const options *o)
{
    const vq_field *a = find_field(o->op, "scale"), *b = find_field(o->op, "scale_out");
    if (o->command == EXPLAIN && o->op == VQ_OP_SCALE_CONVERT) return 1;
    return find_field(o->op, "key") && (b || (a && (o->command == EXPLAIN
                                                    || a->kind != VQ_FIELD_IN)));
}

static int has_out(const options *o)
{
    const vq_field *y = find_field(o->op, "y");
    return y && y->kind == VQ_FIELD_OUT && o->op != VQ_OP_FNUZ_NORMALIZE
        && o->op != VQ_OP_SCALE_CONVERT;
}

static int has_layout(const options *o) { return o->op == VQ_OP_SCALE_CONVERT; }
static int has_bins(const options *o)   { return find_field(o->op, "counts") != NULL; }

/* What is not a field of the op. */
static const struct own {
    const char *name;
    int       (*used)(const options *o);
    int       (*take)(options *o, const char *what, const char *value);
} owns[] = {
    {"order",  has_order,  s_order},
    {"out",    has_out,    s_out},
    {"layout", has_layout, s_layout},
    {"bins",   has_bins,   s_bins},
};
enum { ORDER, OWNS = sizeof owns / sizeof *owns };

static int take_own(options *o, int k, const char *said, const char *value)
{
    int bad = wanted(o, said, owns[k].used(o), 1u << k);
    return bad ? bad : owns[k].take(o, said, value);
}

/* The number of a word that the library has a name for. */
static int read_word(const vq_field *f, const char *what, const char *v, int *out)
{
    char words[128] = "";
    int i, n = f->kind == VQ_FIELD_OVERFLOW ? VQ_OVERFLOW_COUNT
             : f->kind == VQ_FIELD_ACT ? VQ_ACT_COUNT : VQ_GATE_COUNT;
    for (i = 0; i < n; i++) {
        const char *word = f->kind == VQ_FIELD_ACT ? vq_act_str((vq_act_kind)i)
                         : f->kind == VQ_FIELD_GATE ? vq_gate_str((vq_gate)i)
                         : i == VQ_SATURATE ? "saturate" : "nonfinite";
        const size_t used = strlen(words);
        *out = i;
        if (!strcmp(v, word)) return 0;
        snprintf(words + used, sizeof words - used, "%s%s", i ? i + 1 < n ? ", " : " or " : "",
                 word);
    }
    return fail_usage("%s: found %s, needed %s", what, v, words);
}

static int read_number(const vq_field *f, const char *what, const char *v, double *out)
{
    int64_t whole = 0;
    vq_dtype type = VQ_NONE;
    float x = 0;
    int word = 0, bad;
    switch (f->kind) {
    case VQ_FIELD_OVERFLOW:
    case VQ_FIELD_ACT:
    case VQ_FIELD_GATE: bad = read_word(f, what, v, &word);
                        *out = word;
                        return bad;
    case VQ_FIELD_TYPE: bad = read_dtype(what, v, &type);
                        *out = type;
                        return bad;
    case VQ_FIELD_INT:  bad = read_whole(what, v, -INT32_MAX, INT32_MAX, &whole);
                        *out = (double)whole;
                        return bad;
    default:            bad = read_float(what, v, &x);
                        *out = x;
                        return bad;
    }
}

static int is_known(const char *name)
{
    int op;
    for (op = 1; op < VQ_OP_COUNT; op++)
        if (find_field((vq_op)op, name)) return 1;
    return 0;
}

static int take_field(options *o, const char *name, const char *value)
{
    const vq_field *f = find_field(o->op, name);
    const int given = f && (f->kind == VQ_FIELD_MADE
                            || (f->kind == VQ_FIELD_IN && is_one(o->op, f)));
    const int data = (o->op == VQ_OP_QUANT || o->op == VQ_OP_REQUANT) && !strncmp(name, "scale", 5);
    setting *s = &o->set[o->sets];
    char said[64];
    int bad;

    snprintf(said, sizeof said, "--set %.48s", name);
    bad = wanted(o, said, f && (is_number(f) || (given && o->command == RUN)), 0);
    if (bad) return bad;
    if (find_setting(o, f->name))
        return fail_usage("%s: %s is given twice", command_of(o), said);
    if (o->sets == SETS_MAX - 2) return fail_usage("%s: too many --set", command_of(o));
    s->amax = data && !strcmp(value, "amax");
    s->name = f->name;
    o->sets++;
    return s->amax ? 0 : read_number(f, said, value, &s->number);
}

static int o_set(options *o, const char *v)
{
    const char *eq = strchr(v, '=');
    const size_t n = eq ? (size_t)(eq - v) : 0;
    char said[32], name[32];
    int k;
    if (!eq) return fail_usage("--set: found %s, needed name=value", v);
    snprintf(name, sizeof name, "%.*s", n < 31 ? (int)n : 31, v);
    snprintf(said, sizeof said, "--set %.25s", name);
    for (k = 0; k < OWNS; k++)
        if (!strcmp(owns[k].name, name)) return take_own(o, k, said, eq + 1);
    if (is_known(name)) return take_field(o, name, eq + 1);
    return fail_usage("--set: %s: needed an argument of the op, order, out, layout or bins before "
                      "the =", v);
}

/* --- options -------------------------------------------------------------- */

static int o_key(options *o, const char *v)     { o->key_text = v; return 0; }
static int o_from(options *o, const char *v)    { o->from_text = v; return 0; }
static int o_also(options *o, const char *v)    { o->also = v;     return 0; }
static int o_static(options *o, const char *v)  { (void)v; o->fix = 1;   return 0; }
static int o_as(options *o, const char *v)      { o->as = v;       return 0; }
static int o_in(options *o, const char *v)      { o->in = v;       return 0; }
static int o_out(options *o, const char *v)     { o->out = v;      return 0; }
static int o_all(options *o, const char *v)     { (void)v; o->all = 1;   return 0; }
static int o_error(options *o, const char *v)   { (void)v; o->error = 1; return 0; }
static int o_json(options *o, const char *v)    { (void)v; o->json = 1;  return 0; }
static int o_passes(options *o, const char *v)  { o->passes = v;   return 0; }
static int o_check(options *o, const char *v)   { (void)v; o->check = 1; return 0; }
static int o_print(options *o, const char *v)   { (void)v; o->print = 1; return 0; }
static int o_dot(options *o, const char *v)     { (void)v; o->dot = 1;   return 0; }
static int o_dump(options *o, const char *v)    { (void)v; o->dump = 1;  return 0; }
static int o_x_type(options *o, const char *v)  { return read_dtype("--x-type", v, &o->x_type); }
static int o_order(options *o, const char *v)   { return take_own(o, ORDER, "--order", v); }

static int o_backend(options *o, const char *v)
{
    int b = vq_backend_of(v);
    if (b < 0) return fail_usage("--backend: %s is no backend; needed any, hip, cuda or cpu", v);
    o->backend = (vq_backend)b;
    return 0;
}

/* A capability by its name in VQ_CAPS, whatever the case; -1: no such name. */
static int cap_of(const char *name, size_t n)
{
    static const char *const names[] = {
#define X(ID, text) #ID,
        VQ_CAPS(X)
#undef X
    };
    int i;
    size_t k;
    for (i = 0; i < VQ_CAP_COUNT; i++) {
        for (k = 0; k < n && toupper((unsigned char)name[k]) == names[i][k]; k++) {}
        if (k == n && !names[i][n]) return i;
    }
    return -1;
}

static int o_without(options *o, const char *v)
{
    const char *at, *end;
    int cap;
    for (at = v; at; at = *end ? end + 1 : NULL) {
        end = at + strcspn(at, ",");
        cap = cap_of(at, (size_t)(end - at));
        if (cap < 0)
            return fail_usage("--without: %s is no capability; needed avx512, avx2, fma, neon or "
                              "another of VQ_CAPS, commas between", v);
        o->without |= 1u << cap;
    }
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
    int         bit, takes;
    int       (*run)(const options *o);
    const char *help;
} commands[] = {
    {"info",    INFO,    NOTHING, cmd_info,    help_info},
    {"explain", EXPLAIN, AN_OP,   cmd_explain, help_explain},
    {"run",     RUN,     AN_OP,   cmd_run,     help_run},
    {"fuse",    FUSE,    A_FILE,  cmd_fuse,    help_fuse},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static const char *command_of(const options *o)
{
    int i;
    for (i = 0; i < COMMANDS - 1 && commands[i].bit != o->command; i++) {}
    return commands[i].name;
}

/* Which ops an option is for: those that have this field, or by its own rule. */
static const char any_op[] = "any", quant_alone[] = "quant";

static const struct flag {
    const char *name;
    int         commands, has_value;
    const char *field;
    int       (*take)(options *o, const char *value);
} flags[] = {
    {"--set",     EXPLAIN | RUN,        1, any_op,      o_set},
    {"--order",   EXPLAIN,              1, any_op,      o_order},
    {"--key",     EXPLAIN | RUN,        1, "key",       o_key},
    {"--as",      EXPLAIN | RUN,        1, "key",       o_as},
    {"--static",  EXPLAIN | RUN,        0, "key",       o_static},
    {"--from",    EXPLAIN | RUN,        1, "from",      o_from},
    {"--backend", INFO | EXPLAIN | RUN | FUSE, 1, any_op, o_backend},
    {"--without", INFO | EXPLAIN | RUN | FUSE, 1, any_op, o_without},
    {"--device",  INFO | EXPLAIN | FUSE, 1, any_op,     o_device},
    {"--shape",   EXPLAIN,              1, any_op,      o_shape},
    {"--x-type",  EXPLAIN,              1, "x",         o_x_type},
    {"--place",   EXPLAIN,              1, any_op,      o_place},
    {"--json",    EXPLAIN,              0, any_op,      o_json},
    {"-i",        RUN | FUSE,           1, any_op,      o_in},
    {"--also",    RUN,                  1, any_op,      o_also},
    {"-o",        RUN,                  1, any_op,      o_out},
    {"--all",     RUN,                  0, any_op,      o_all},
    {"--error",   RUN,                  0, quant_alone, o_error},
    {"--check",   FUSE,                 0, any_op,      o_check},
    {"--print",   FUSE,                 0, any_op,      o_print},
    {"--dot",     FUSE,                 0, any_op,      o_dot},
    {"--dump",    FUSE,                 0, any_op,      o_dump},
    {"--passes",  FUSE,                 1, any_op,      o_passes},
};
enum { BY_NAME = 2, FLAGS = sizeof flags / sizeof *flags };    /* the first two count by setting */

static int is_for(const struct flag *f, const options *o)
{
    return f->field == any_op || (f->field == quant_alone ? o->op == VQ_OP_QUANT
                                                          : find_field(o->op, f->field) != NULL);
}

static int read_key(const char *option, const char *text, vq_key *key)
{
    vq_report why = VQ_ZERO;
    return vq_key_parse(text, key, &why) == VQ_OK ? 0 : fail_usage("%s %s: %s", option, text,
                                                                   why.text);
}

static int read_as(options *o)
{
    vq_report why = VQ_ZERO;
    const char *colon = strchr(o->as, ':');
    vq_dtype elem;
    char name[32];
    float max;

    snprintf(name, sizeof name, "%.*s", colon ? (int)(colon - o->as) : (int)strlen(o->as), o->as);
    if (read_dtype("--as", name, &elem)) return 2;
    max = vq_fp8_max(elem, 1);
    if (colon ? read_float("--as", colon + 1, &max) : max == 0)
        return colon ? 2 : fail_usage("--as: %s has no maximum of its own; needed %s:MAX", name,
                                      name);
    o->key = vq_key_as(o->key, elem, max);
    return vq_key_check(&o->key, &why) == VQ_OK ? 0 : fail_usage("--as %s: %s", o->as, why.text);
}

/* Tensors that --set gives have to have a part in the key. */
static int check_sets(const options *o)
{
    const setting *other;
    int i;
    for (i = 0; i < o->sets; i++) {
        const vq_field *f = find_field(o->op, o->set[i].name);
        if (!is_tensor(f)) continue;
        if (!has_part(o, f)) return fail_usage("--set %s: has no part in this key", f->name);
        if (!is_read(o, f))
            return fail_usage("--set %s: the key is not static; %s computes its scales", f->name,
                              vq_op_str(o->op));
        if (o->set[i].amax && is_one(o->op, f) && key_of(o, f)->scale_type != VQ_UE4M3)
            return fail_usage("--set %s=amax: is for scales of ue4m3", f->name);
        other = find_setting(o, ends_in_out(f->name) ? "scale_out" : "scale");
        if (other && other->amax && !is_one(o->op, f) && !o->set[i].amax)
            return fail_usage("--set %s: %s=amax makes it", f->name, other->name);
    }
    return 0;
}

/* What run does with scales depends on the key. */
static int check_scale(const options *o)
{
    const vq_field *f = find_field(o->op, "scale_out");
    int bad = check_sets(o);
    if (!f) f = find_field(o->op, "scale");
    if (bad || !f || f->kind != VQ_FIELD_MADE || !is_read(o, f) || find_setting(o, f->name))
        return bad;
    if (o->all && !o->also)
        return fail_usage("--key: is static; --all needs --set %s=V, %s=amax, or --also", f->name,
                          f->name);
    return !(o->given >> ORDER & 1u) ? 0
         : fail_usage("--set order: the scale is read, as it lies; needs --set %s", f->name);
}

static int check_every(const options *o)
{
    int i;
    if (o->op != VQ_OP_QUANT) return fail_usage("--key every: is for quant");
    for (i = 0; i < o->sets; i++)
        if (strcmp(o->set[i].name, "scale2"))
            return fail_usage("--key every: takes no --set %s", o->set[i].name);
    if (o->as) return fail_usage("--key every: takes no --as");
    if (o->fix) return fail_usage("--key every: takes no --static");
    return o->out ? fail_usage("--key every: takes no -o; it writes nothing") : 0;
}

static int has_output(vq_op op)
{
    int n, i;
    const vq_field *f = vq_op_fields(op, &n);
    for (i = 0; i < n; i++)
        if (is_tensor(&f[i]) && f[i].kind != VQ_FIELD_IN) return 1;
    return 0;
}

/* What was said, taken together. */
static int check_options(const struct command *c, options *o)
{
    vq_platform p;
    int bad;
    if (find_field(o->op, "key") && !o->key_text)
        return fail_usage("%s %s: needs --key", c->name, vq_op_str(o->op));
    if (find_field(o->op, "from") && !o->from_text)
        return fail_usage("%s %s: needs --from, the key of its input", c->name, vq_op_str(o->op));
    if (o->device && o->backend && vq_platform_of(o->device, &p, NULL) == VQ_OK
        && p.backend != o->backend)
        return fail_usage("--backend: found %s, needed %s for --device %s",
                          vq_backend_str(o->backend), vq_backend_str(p.backend), o->device);
    if (c->bit == EXPLAIN && o->rows < 0) return fail_usage("explain: needs --shape");
    if (c->bit == FUSE)
        return o->in && !o->check ? fail_usage("fuse: -i is for --check")
             : o->print + o->dot + o->dump > 1 ? fail_usage("fuse: --print, --dot or --dump")
             : (o->dot || o->dump) && o->check ? fail_usage("fuse: %s takes no --check",
                                                            o->dot ? "--dot" : "--dump") : 0;
    o->every = c->bit == RUN && o->key_text && !strcmp(o->key_text, "every");
    if (o->every && (bad = check_every(o)) != 0) return bad;
    if (c->bit == RUN && !o->in && (o->every || !has_output(o->op)))
        return fail_usage("run: needs -i");
    if (c->bit == RUN && !o->every && has_output(o->op) && (!o->in || !o->out))
        return fail_usage("run: needs -i and -o");
    if (c->bit == RUN && o->op == VQ_OP_CAST && !o->out_type)
        return fail_usage("run cast: needs --set out=TYPE");
    if (c->bit == RUN && o->op == VQ_OP_SCALE_CONVERT && o->layout < 0)
        return fail_usage("run scale_convert: needs --set layout=ORDER");
    if (o->from_text && (bad = read_key("--from", o->from_text, &o->from)) != 0) return bad;
    if (o->every) o->error = 1;
    else if (o->key_text && ((bad = read_key("--key", o->key_text, &o->key)) != 0
                             || (o->as && (bad = read_as(o)) != 0))) return bad;
    if (o->fix) o->key = vq_key_static(o->key);
    return c->bit == RUN && !o->every ? check_scale(o) : 0;
}

static int read_options(const struct command *c, int argc, char **argv, options *o)
{
    int i = 0, k, bad;

    o->command = c->bit;
    if (c->takes && (!argc || argv[0][0] == '-'))
        return fail_usage("%s: needs %s; see vq %s --help", c->name,
                          c->takes == AN_OP ? "an op" : "a file", c->name);
    if (c->takes == A_FILE) o->in_text = argv[i++];
    if (c->takes == AN_OP && (o->op = vq_op_of(argv[i++])) == VQ_OP_NONE)
        return fail_usage("%s: %s is no op; vq %s --help lists them", c->name, argv[0], c->name);
    for (; i < argc; i++) {
        for (k = 0; k < FLAGS; k++)
            if ((flags[k].commands & c->bit) && !strcmp(argv[i], flags[k].name)) break;
        if (k == FLAGS)
            return fail_usage("%s: unknown option %s; see vq %s --help", c->name, argv[i], c->name);
        if (flags[k].has_value && i + 1 == argc)
            return fail_usage("%s: %s needs a value", c->name, argv[i]);
        bad = wanted(o, flags[k].name, is_for(&flags[k], o), k < BY_NAME ? 0 : 1u << (OWNS + k));
        if (!bad) bad = flags[k].take(o, flags[k].has_value ? argv[++i] : NULL);
        if (bad) return bad;
    }
    return check_options(c, o);
}

static int start(int argc, char **argv)
{
    options o = VQ_ZERO;
    int k, i, bad;

    o.rows = o.place = o.layout = -1;
    o.bins = 2048;
    if (argc < 2) return fail_usage("needs a command: info, explain, run or fuse; see vq --help");
    if (!strcmp(argv[1], "--version")) {
        printf("vq %d.%d.%d\n", VQ_VERSION / 10000, VQ_VERSION / 100 % 100, VQ_VERSION % 100);
        return 0;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) return fputs(help, stdout) < 0;
    for (k = 0; k < COMMANDS; k++) {
        if (strcmp(argv[1], commands[k].name)) continue;
        for (i = 2; i < argc; i++)
            if (!strcmp(argv[i], "--help"))
                return fputs(commands[k].help, stdout) < 0
                    || (commands[k].takes == AN_OP && print_ops());
        bad = read_options(&commands[k], argc - 2, argv + 2, &o);
        return bad ? bad : commands[k].run(&o);
    }
    return fail_usage("%s is no command; needed info, explain, run or fuse", argv[1]);
}

int main(int argc, char **argv)
{
    int code = start(argc, argv);
    if ((fflush(stdout) || ferror(stdout)) && !code)
        return fail("standard output: %s", strerror(errno));
    return code;
}
