/* test_graph.c - graphs as text and by calls, what the passes make of them, and the run

   Memory is counted, that of the text and of the run, too. What the fused graph makes is held
   against the graph before it; what the planned run makes against run_apart(), where every value
   has memory of its own. */
#define _XOPEN_SOURCE 700
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long fail_at = -1, calls, alive;        /* which call for memory fails; how much is held */

static int fails(void) { return calls++ == fail_at; }

static void *counted_malloc(size_t n)
{
    void *p = fails() ? NULL : malloc(n);
    alive += p != NULL;
    return p;
}

static void *counted_calloc(size_t n, size_t size)
{
    void *p = fails() ? NULL : calloc(n, size);
    alive += p != NULL;
    return p;
}

static void *counted_realloc(void *old, size_t n)
{
    void *p = fails() ? NULL : realloc(old, n);
    alive += p && !old;
    return p;
}

static void counted_free(void *p)
{
    alive -= p != NULL;
    free(p);
}

#define VQ_MALLOC(n) counted_malloc(n)
#define VQ_FREE(p)   counted_free(p)
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "../examples/vq/graph.h"
#define malloc(n)     counted_malloc(n)
#define calloc(n, s)  counted_calloc(n, s)
#define realloc(p, n) counted_realloc(p, n)
#define free(p)       counted_free(p)
#include "../examples/vq/graph_text.c"
#include "../examples/vq/graph_run.c"
#undef malloc
#undef calloc
#undef realloc
#undef free
#include "vq_test.h"

enum { ROWS = 64, PATTERNS = 64 };

static const char *const examples[] = { "llama", "deepseek", "gpt_oss" };

static char      words[1024];
static vq_report why;

/* --- what the tests stand on ------------------------------------------------ */

static vq_ctx *context(const char *arch, uint32_t forbid)      /* NULL: the CPU */
{
    vq_ctx *vq = NULL;
    vq_desc d = VQ_ZERO;
    d.backend = arch ? VQ_ANY : VQ_CPU;
    d.assume = arch;
    d.policy.forbid = forbid;
    d.report = &why;
    CHECKF(vq_init(&d, &vq) == VQ_OK, "%s", why.text);
    return vq;
}

static char *file_text(const char *name)
{
    char path[128], *text = (char *)calloc(1, 1 << 16);
    FILE *f;
    snprintf(path, sizeof path, "examples/graphs/%s.txt", name);
    f = fopen(path, "rb");
    CHECKF(f && text && fread(text, 1, (1 << 16) - 1, f) > 0, "%s", path);
    if (f) fclose(f);
    return text;
}

static vq_graph parsed(const char *text)
{
    vq_graph g = VQ_ZERO;
    CHECKF(vq_graph_parse(text, &g, words, sizeof words) == VQ_OK && !words[0], "%s", words);
    return g;
}

static vq_graph example(const char *name)
{
    char *text = file_text(name);
    vq_graph g = parsed(text);
    free(text);
    return g;
}

static char *printed(const vq_graph *g)
{
    const int n = vq_graph_print(g, NULL, 0);
    char *text = (char *)malloc((size_t)n + 1);
    CHECK(text && vq_graph_print(g, text, (size_t)n + 1) == n && strlen(text) == (size_t)n);
    return text;
}

static int same_text(const vq_graph *a, const vq_graph *b)
{
    char *x = printed(a), *y = printed(b);
    const int same = !strcmp(x, y);
    if (!same) printf("\n--- found\n%s--- needed\n%s", x, y);
    free(x);
    free(y);
    return same;
}

static vq_fuser *fuser(const char *passes)
{
    vq_fuser *f = NULL;
    CHECKF(vq_fuser_new(passes, &f, &why) == VQ_OK, "%s", why.text);
    return f;
}

static vq_receipt rows[ROWS];
static int        count, matches;

/* Fuses g; what the receipt says is in rows, count and matches. */
static void fuse(vq_fuser *f, const vq_ctx *vq, vq_graph *g)
{
    int i;
    memset(rows, 0, sizeof rows);
    CHECKF(vq_fuse(f, vq, g, rows, ROWS, &count, &why) == VQ_OK, "%s", why.text);
    CHECK(count <= ROWS);
    for (matches = 0; matches < count && rows[matches].matched; matches++) {}
    for (i = matches; i < count; i++) CHECKF(!rows[i].matched, "row %d of %d", i, count);
}

static const char *receipt(void)
{
    static char text[1 << 14];
    CHECK(vq_receipt_text(rows, count, text, sizeof text) < (int)sizeof text);
    return text;
}

/* Both graphs make the same bytes, of two random and two nasty inputs. */
static int equal(const vq_graph *a, const vq_graph *b, vq_ctx *cpu)
{
    int64_t bytes, all = 0;
    int kind, seed, same = 1;
    for (kind = VQ_INPUT_RANDOM; kind <= VQ_INPUT_NASTY; kind++)
        for (seed = 1; seed < 3; seed++, all += bytes)
            if (vq_graph_same(a, b, cpu, kind, (uint64_t)seed, NULL, &bytes, words, sizeof words)) {
                if (same) printf("\n    input %d.%d: %s", kind, seed, words);
                same = 0;
            }
    return same && all > 0;
}

/* How many nodes do op; the last of them in *at. */
static int nodes_of(const vq_graph *g, vq_op op, const vq_node **at)
{
    int i, n = 0;
    for (i = 0; i < g->nodes; i++)
        if (g->node[i].op == op) {
            n++;
            if (at) *at = &g->node[i];
        }
    return n;
}

static int64_t total(const vq_fuser *f, const char *pattern, int last)
{
    vq_fuse_count c[PATTERNS];
    int i, n = vq_fuser_counts(f, c, PATTERNS);
    CHECK(n <= PATTERNS);
    for (i = 0; i < n; i++)
        if (!strcmp(c[i].pattern, pattern)) return last ? c[i].last : c[i].total;
    return -1;
}

#define FFN_VALUES "in x bf16 4x512\ny bf16 4x256\nout q float8_e4m3fn 4x256\nout s f32 4x1\n"
#define FFN_NODES  "act_mul act=silu x=x y=y\nquant key=fp8_token x=y q=q scale=s\n"
#define FFN FFN_VALUES FFN_NODES
#define NORM_VALUES "in x bf16 4x256\nin r bf16 4x256\nin w bf16 256\nout t bf16 4x256\n" \
                    "y bf16 4x256\nout q float8_e4m3fn 4x256\nout s f32 4x2\n"
#define NORM NORM_VALUES "rms_norm x=x residual=r:t weight=w eps=1e-6 y=y\n" \
                         "quant key=fp8_group128 x=y q=q scale=s\n"

#define ONE(name, match, replace) { name, match, replace, NULL, NULL }

#define REFUSED(call, GUARD) do { \
        memset(&why, 0, sizeof why); \
        CHECKF((call) == VQ_BAD_ARG && why.guard == VQ_GUARD_##GUARD && why.text[0], "%s: %s", \
               vq_guard_str(why.guard), why.text); } while (0)

/* --- text ------------------------------------------------------------------- */

static void what_is_printed_reads_back_as_the_same(void)
{
    vq_ctx *cpu = context(NULL, 0);
    int i, fused;
    for (i = 0; i < 3; i++) {
        vq_graph g = example(examples[i]), again;
        vq_fuser *f = fuser(NULL);
        CHECK(g.nodes > 8);
        for (fused = 0; fused < 2; fused++) {
            char *text = printed(&g);
            again = parsed(text);
            CHECK(same_text(&again, &g));
            free(text);
            vq_graph_free(&again);
            if (!fused) fuse(f, cpu, &g);
        }
        vq_graph_free(&g);
        vq_fuser_free(f);
    }
    vq_free(cpu);
}

static void numbers_and_keys_read_back_to_the_bit(void)
{
    static const char text[] =
        "in x f16 4x512\nin h f16 4x512\nin w f32 512\n y f32 4x512\nout z f32 4x256\n"
        "out q float8_e4m3fnuz 4x256\nout s f32 4x2\n"
        "rms_norm x=x gate=h weight=w eps=1.0000001e-6 plus_one=1 mid=f32 y=y\n"
        "act_mul act=swiglu_oai gate=even alpha=1.7019999 limit=6.9999995 plus=-0.1 x=y y=z\n"
        "quant key=float8_e4m3fnuz/f32/1x128/dyn/amax.rceil224/x.div.s/floor=amax:1.0000001e-10 "
        "x=z q=q scale=s\n";
    vq_graph g = parsed(text), again;
    char *out = printed(&g);
    int i;
    again = parsed(out);
    CHECK(again.nodes == 3 && g.nodes == 3);
    for (i = 0; i < g.nodes; i++)
        CHECK(!memcmp(&g.node[i].args, &again.node[i].args, sizeof g.node[i].args));
    CHECK(same_text(&again, &g));
    free(out);
    vq_graph_free(&g);
    vq_graph_free(&again);
}

static void lines_may_stand_in_any_order(void)
{
    vq_graph g = parsed("# a graph, backwards\n" "quant key=fp8_token x=y q=q scale=s # last\n\n"
                        "\tact_mul  act=silu\tx=x y=y\r\n" FFN_VALUES), h = parsed(FFN);
    CHECK(g.node[0].op == VQ_OP_ACT_MUL && g.node[0].line == 4 && g.node[1].line == 2);
    CHECK(same_text(&g, &h));
    vq_graph_free(&g);
    vq_graph_free(&h);
}

/* A node's name of 40 characters, a value's of 32. */
#define LONG32 "abcdefghijklmnopqrstuvwxyz012345"

static const struct { const char *text; int line, column; const char *says; } bad[] = {
    { "in x", 1, 5, "needed a type" },
    { "in", 1, 3, "needed a name" },
    { "\n\n  in out", 3, 9, "needed a name" },
    { "x nosuch 4", 1, 3, "found \"nosuch\", needed a type" },
    { "nosuch x=x y=y", 1, 8, "found \"x=x\", needed a type, or an op before" },
    { "in x bf16", 1, 10, "needed 1 to 4 extents" },
    { "in x bf16 4x", 1, 11, "found \"4x\", needed 1 to 4 extents" },
    { "in x bf16 x4", 1, 11, "extents" },
    { "in x bf16 1x1x1x1x1", 1, 11, "extents" },
    { "in x bf16 -4x4", 1, 11, "extents" },
    { "in x bf16 4x99999999999999999999", 1, 11, "extents" },
    { "in x f32 99999999999999999x99999999999999999", 1, 4, "size" },
    { "in s f32 4x4 rose", 1, 14, "found \"rose\", needed an order" },
    { "in s f32 4x4 columns x", 1, 22, "found \"x\", needed the end" },
    { "in s f32 4 columns", 1, 4, "layout" },
    { "in s f32 2x2x2x2 columns", 1, 4, "layout" },
    { "in s f32 4x4 packed_ue8m0", 1, 4, "type" },
    { "in x bf16 4\nx bf16 4", 2, 1, "there already: found \"x\"" },
    { "  9x bf16 4", 1, 3, "not a name" },
    { "in x-y bf16 4", 1, 4, "not a name" },
    { "in act_mul bf16 4", 1, 4, "not a name" },
    { LONG32 " bf16 4", 1, 1, "31 characters" },
    { "in " LONG32 " bf16 4", 1, 4, "31 characters" },
    { "in x\x01 bf16 4x4", 1, 5, "needed a type" },
    { "\x01", 1, 1, "printable" },
    { "in x bf16 4\n\x80", 2, 1, "printable" },
    { "in x bf16 4x4\n act_mul act=\x7f", 2, 14, "" },
    { FFN_VALUES "act_mul act=silu x=x y", 5, 22, "needed field=value" },
    { FFN_VALUES "act_mul act=silu x=x y= ", 5, 24, "there is no value" },
    { FFN_VALUES "act_mul act=silu x=x y=yy", 5, 24, "there is no value \"yy\"" },
    { FFN_VALUES "act_mul act=silu x=x z=y", 5, 22, "no field \"z\"" },
    { FFN_VALUES "act_mul act=silu act=silu x=x y=y", 5, 18, "field act is there already" },
    { FFN_VALUES "act_mul act=rosy x=x y=y", 5, 13, "act: \"rosy\" says nothing" },
    { FFN_VALUES "act_mul act=silu limit=7a x=x y=y", 5, 24, "limit: \"7a\" says nothing" },
    { FFN_VALUES "act_mul act=silu mid=f99 x=x y=y", 5, 22, "says nothing" },
    { FFN_VALUES "quant key=fp8_nosuch x=y q=q scale=s", 5, 11, "key: \"fp8_nosuch\" says" },
    { FFN_VALUES "act_mul act=silu x=y y=x", 5, 1, "extent" },
    { FFN_VALUES "  act_mul act=silu x=x y=q", 5, 3, "type" },
    { FFN_VALUES "act_mul act=silu y=y", 5, 1, "x is missing" },
    { FFN_VALUES "act_mul act=silu x=x y=y alpha=2", 5, 1, "alpha" },
    { FFN_VALUES FFN_NODES "act_mul act=silu x=x y=y", 7, 1, "there already: found \"y\"" },
    { FFN_VALUES "in z bf16 4x256\nact_mul act=silu x=x y=z", 6, 1, "there already: found \"z\"" },
    { NORM_VALUES "rms_norm x=x residual=r eps=0 y=y", 8, 1, "after is missing" },
    { NORM_VALUES "rms_norm x=x residual=r:u eps=0 y=y", 8, 25, "there is no value \"u\"" },
    { NORM_VALUES "rms_norm x=x residual=u:t eps=0 y=y", 8, 23, "there is no value \"u\"" },
    { NORM_VALUES "rms_norm x=x residual=r:r eps=0 y=y", 8, 1, "there already: found \"r\"" },
    { NORM_VALUES "rms_norm x=x:r eps=0 y=y", 8, 12, "there is no value \"x:r\"" },
    { NORM_VALUES "rms_norm x=x eps=-1 y=y", 8, 1, "eps" },
    { "in x bf16 4\n@f x", 2, 5, "needed ->" },
    { "in x bf16 4\n@f x -> x", 2, 1, "there already: found \"x\"" },
    { "in x bf16 4\n@f x -> z", 2, 9, "there is no value \"z\"" },
    { "in x bf16 4\n@f x ->", 2, 1, "size" },
    { "in x bf16 4\ny bf16 4\n@f x -> y -> y", 3, 11, "there is no value \"->\"" },
    { "in x bf16 4\ny bf16 4\n@" LONG32 " x -> y", 3, 1, "not a name" },
    { "in x bf16 4\ny bf16 4\n@ x -> y", 3, 1, "not a name" },
    { "in x bf16 4\ny bf16 4\n@f x x x x x x x x x x x x -> y", 3, 31, "12 values at most" },
    { "in amax f32 1\n", 1, 4, "not a name" }
};

static void every_bad_line_is_named_with_its_column(void)
{
    char place[64];
    int i;
    for (i = 0; i < VQ__COUNT(bad); i++) {
        vq_graph g = VQ_ZERO;
        const long held = alive;
        vq_status s = vq_graph_parse(bad[i].text, &g, words, sizeof words);
        snprintf(place, sizeof place, "line %d, column %d: ", bad[i].line, bad[i].column);
        CHECKF(s == VQ_BAD_ARG && !strncmp(words, place, strlen(place))
               && strstr(words, bad[i].says),
               "case %d: found \"%s\", needed %s...%s", i, words, place, bad[i].says);
        CHECK(!g.value && !g.node && !g.values && !g.nodes && alive == held);
        vq_graph_free(&g);
    }
}

static void a_word_of_256_characters_is_too_long(void)
{
    char text[600];
    vq_graph g = VQ_ZERO;
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 0;
    CHECK(vq_graph_parse(text, &g, words, sizeof words) == VQ_BAD_ARG);
    CHECKF(!strncmp(words, "line 1, column 1: ", 18), "%s", words);
    memcpy(text, FFN_VALUES "quant key=", strlen(FFN_VALUES "quant key="));
    CHECK(vq_graph_parse(text, &g, words, sizeof words) == VQ_BAD_ARG);
    CHECKF(!strncmp(words, "line 5, column 7: ", 18), "%s", words);
}

static void a_graph_that_cannot_be_satisfied_names_the_value(void)
{
    static const struct { const char *text, *says; vq_guard guard; } wrong_graph[] = {
        { "out y bf16 4", "y is made by no node", VQ_GUARD_UNMADE },
        { "in x bf16 4\ny bf16 4", "y", VQ_GUARD_UNMADE },
        { "w bf16 4\nu bf16 4\nout o bf16 4\n@a w -> u\n@b u -> o", "w", VQ_GUARD_UNMADE },
        { "w bf16 4\nu bf16 4\nout o bf16 4\n@b u -> o\n@a w -> u", "w", VQ_GUARD_UNMADE },
        { "a bf16 4\nb bf16 4\nout o bf16 4\n@f a -> b\n@g b -> a\n@h b -> o", "", VQ_GUARD_CYCLE },
        { "a bf16 4\n@f a -> a", "a", VQ_GUARD_CYCLE },
        /* what hangs behind a cycle is not itself one */
        { "b bf16 4\nout o bf16 4\nout p bf16 4\n@f b -> b\n@g b -> o\n@h o -> p", "b",
          VQ_GUARD_CYCLE },
        /* through the residual: t is read by what makes x */
        { "x bf16 4x64\nin r bf16 4x64\nt bf16 4x64\nout y bf16 4x64\n@f t -> x\n"
          "rms_norm x=x residual=r:t eps=0 y=y", "", VQ_GUARD_CYCLE },
    };
    int i;
    for (i = 0; i < VQ__COUNT(wrong_graph); i++) {
        vq_graph g = VQ_ZERO;
        const long held = alive;
        char needed[64];
        CHECK(vq_graph_parse(wrong_graph[i].text, &g, words, sizeof words) == VQ_BAD_ARG);
        CHECKF(strstr(words, vq__guards[wrong_graph[i].guard].text) != NULL, "case %d: %s", i,
               words);
        snprintf(needed, sizeof needed, "found \"%.1s", wrong_graph[i].says);
        CHECKF(strstr(words, needed) != NULL, "case %d: found \"%s\", needed %s", i, words, needed);
        CHECK(!g.value && alive == held);
    }
}

/* What a BOTH field becomes is the same kind of tensor. */
static void the_value_after_has_the_type_and_shape_of_the_one_before(void)
{
    static const char *const after[] = { "f16 4x256", "bf16 8x128", "bf16 1024", "uint8 4x512" };
    int i;
    for (i = 0; i < VQ__COUNT(after); i++) {
        char text[400];
        vq_graph g = VQ_ZERO;
        snprintf(text, sizeof text, "in x bf16 4x256\nin r bf16 4x256\nout t %s\nout y bf16 4x256\n"
                 "rms_norm x=x residual=r:t eps=0 y=y\n", after[i]);
        CHECKF(vq_graph_parse(text, &g, words, sizeof words) == VQ_BAD_ARG, "%s", after[i]);
        CHECKF(!strncmp(words, "line 5, column 1: ", 18), "%s: %s", after[i], words);
        vq_graph_free(&g);
    }
}

static void junk_and_nothing_end_quietly(void)
{
    const size_t n = 1 << 20;
    char *text = (char *)malloc(n + 1);
    vq_graph g = VQ_ZERO;
    size_t i;
    int round;
    CHECK(vq_graph_parse("", &g, words, sizeof words) == VQ_OK && !g.values && !g.nodes);
    vq_graph_free(&g);
    CHECK(vq_graph_parse("\n # x\n\n", &g, words, sizeof words) == VQ_OK && !g.values);
    vq_graph_free(&g);
    for (round = 0; round < 4; round++) {
        for (i = 0; i < n; i++)
            text[i] = round == 0 ? (char)(1 + t_rand() % 255) : round == 1 ? 'x'
                    : round == 2 ? '\n' : "in x=:@->#0 \n"[t_rand() % 13];
        text[n] = 0;
        CHECK((vq_graph_parse(text, &g, words, sizeof words) == VQ_OK) == (round == 2));
        CHECK(round == 2 ? !words[0] : !strncmp(words, "line ", 5));
        vq_graph_free(&g);
    }
    free(text);
}

static void words_that_do_not_fit_are_cut(void)
{
    vq_graph g = parsed(NORM), none = VQ_ZERO;
    char small[12], tiny[1] = { 'x' };
    const int n = vq_graph_print(&g, NULL, 0), dot = vq_graph_dot(&g, NULL, 0);
    memset(small, 'x', sizeof small);
    CHECK(vq_graph_print(&g, small, sizeof small) == n && strlen(small) == sizeof small - 1);
    CHECK(vq_graph_dot(&g, small, sizeof small) == dot && strlen(small) == sizeof small - 1);
    CHECK(vq_graph_parse("nosuch", &none, small, sizeof small) == VQ_BAD_ARG
          && !strcmp(small, "line 1, col"));
    CHECK(vq_graph_parse("nosuch", &none, tiny, 1) == VQ_BAD_ARG && !tiny[0]);
    CHECK(vq_graph_parse("nosuch", &none, NULL, 0) == VQ_BAD_ARG);
    vq_graph_free(&g);
}

static void the_drawing_has_every_value_and_node(void)
{
    vq_graph g = parsed(NORM);
    static char text[4096];
    int i;
    CHECK(vq_graph_dot(&g, text, sizeof text) < (int)sizeof text);
    CHECK(!strncmp(text, "digraph vq {\n", 13) && !strcmp(text + strlen(text) - 2, "}\n"));
    for (i = 0; i < g.values; i++) {
        char name[2 * VQ_NAME_SIZE];
        snprintf(name, sizeof name, "\"%s\" [shape=ellipse", g.value[i].name);
        CHECKF(strstr(text, name) != NULL, "%s", name);
    }
    CHECK(strstr(text, "\"x\" -> \"#0\"") && strstr(text, "\"#0\" -> \"t\"")
          && strstr(text, "\"#1\" -> \"q\""));
    CHECK(strstr(text, "rms_norm eps=1e-6") && strstr(text, "key=fp8_group128"));
    vq_graph_free(&g);
}

/* --- calls ------------------------------------------------------------------ */

static vq_tensor value(vq_graph *g, const char *name, vq_dtype type, int64_t r, int64_t c,
                       vq_order order, int in, int out)
{
    vq_value v = VQ_ZERO;
    vq_tensor t = VQ_ZERO;
    strcpy(v.name, name);
    v.t = vq_tensor_2d(NULL, type, r, c, VQ_HOST);
    if (!c) { v.t.rank = 1; }
    v.order = order;
    v.in = in;
    v.out = out;
    CHECKF(vq_graph_value(g, &v, &t, &why) == VQ_OK, "%s", why.text);
    return t;
}

static void calls_make_what_text_makes(void)
{
    vq_graph g = VQ_ZERO, h = parsed(NORM "o bf16 4x256\n@attention q s -> o\n");
    vq_tensor both[3], x, w, t, y, o;
    vq_rms_norm_args n = VQ_ZERO;
    vq_quant_args q = VQ_ZERO;
    x = value(&g, "x", VQ_BF16, 4, 256, VQ_ROWS, 1, 0);
    n.residual = value(&g, "r", VQ_BF16, 4, 256, VQ_ROWS, 1, 0);
    w = value(&g, "w", VQ_BF16, 256, 0, VQ_ROWS, 1, 0);
    t = value(&g, "t", VQ_BF16, 4, 256, VQ_ROWS, 0, 1);
    y = value(&g, "y", VQ_BF16, 4, 256, VQ_ROWS, 0, 0);
    both[0] = value(&g, "q", VQ_E4M3FN, 4, 256, VQ_ROWS, 0, 1);
    both[1] = value(&g, "s", VQ_F32, 4, 2, VQ_ROWS, 0, 1);
    both[2] = o = value(&g, "o", VQ_BF16, 4, 256, VQ_ROWS, 0, 0);
    q.key = vq_key_preset(VQ_KEY_FP8_GROUP128);
    q.x = y;
    q.q = both[0];
    q.scale = both[1];
    n.x = x;
    n.weight = w;
    n.y = y;
    n.eps = 1e-6f;
    CHECK(vq_graph_opaque(&g, "attention", both, 2, 1, &why) == VQ_OK);       /* last first */
    CHECK(vq_graph_op(&g, VQ_OP_QUANT, &q, NULL, &why) == VQ_OK);
    CHECK(vq_graph_op(&g, VQ_OP_RMS_NORM, &n, &t, &why) == VQ_OK);
    CHECKF(vq_graph_check(&g, &why) == VQ_OK, "%s", why.text);
    CHECK(same_text(&g, &h));
    CHECK(g.value[4].uses == 1 && g.value[4].maker == 0 && g.value[7].maker == 2 && o.data);
    vq_graph_free(&g);
    vq_graph_free(&h);
    CHECK(!g.value && !g.nodes);
}

static void what_calls_refuse_leaves_the_graph_alone(void)
{
    vq_graph g = VQ_ZERO, copy_of;
    vq_value v = VQ_ZERO;
    vq_tensor t[16];
    vq_rms_norm_args n = VQ_ZERO;
    vq_comparison result;
    vq_compare_args c = VQ_ZERO;
    int i;
    memset(t, 0, sizeof t);
    t[0] = value(&g, "x", VQ_BF16, 4, 256, VQ_ROWS, 1, 0);
    t[1] = value(&g, "r", VQ_BF16, 4, 256, VQ_ROWS, 1, 0);
    t[2] = value(&g, "t", VQ_BF16, 4, 256, VQ_ROWS, 0, 1);
    t[3] = value(&g, "y", VQ_BF16, 4, 256, VQ_ROWS, 0, 0);
    CHECK(vq_graph_copy(&g, &copy_of) == VQ_OK);
    REFUSED(vq_graph_value(NULL, &v, NULL, &why), PRESENT);
    REFUSED(vq_graph_value(&g, NULL, NULL, &why), PRESENT);
    v.t = vq_tensor_2d(NULL, VQ_F32, 4, 4, VQ_HOST);
    REFUSED(vq_graph_value(&g, &v, NULL, &why), NAME);
    memset(v.name, 'a', sizeof v.name);
    REFUSED(vq_graph_value(&g, &v, NULL, &why), NAME);
    strcpy(v.name, "quant");
    REFUSED(vq_graph_value(&g, &v, NULL, &why), NAME);
    strcpy(v.name, "in");                          /* would not read back */
    REFUSED(vq_graph_value(&g, &v, NULL, &why), NAME);
    strcpy(v.name, "out");
    REFUSED(vq_graph_value(&g, &v, NULL, &why), NAME);
    strcpy(v.name, "x");
    REFUSED(vq_graph_value(&g, &v, NULL, &why), TWICE);
    strcpy(v.name, "new");
    v.t.rank = 0;
    REFUSED(vq_graph_value(&g, &v, NULL, &why), RANK);
    CHECKF(why.arg && !strcmp(why.arg, "new"), "%s", why.text);
    v.t.rank = 5;
    REFUSED(vq_graph_value(&g, &v, NULL, &why), RANK);
    v.t.rank = 1;
    v.order = VQ_COLUMNS;
    REFUSED(vq_graph_value(&g, &v, NULL, &why), LAYOUT);
    v.t.rank = 2;
    v.order = VQ_WORDS_UE8M0;
    REFUSED(vq_graph_value(&g, &v, NULL, &why), TYPE);
    v.order = (vq_order)99;
    REFUSED(vq_graph_value(&g, &v, NULL, &why), VALUE);
    v.order = VQ_ROWS;
    v.t.shape[0] = -1;
    REFUSED(vq_graph_value(&g, &v, NULL, &why), SIZE);
    v.t.shape[0] = v.t.shape[1] = INT64_MAX;
    REFUSED(vq_graph_value(&g, &v, NULL, &why), SIZE);
    v.t.dtype = VQ_NONE;
    REFUSED(vq_graph_value(&g, &v, NULL, &why), VALUE);

    n.x = t[0];
    n.residual = t[1];
    n.y = t[3];
    REFUSED(vq_graph_op(NULL, VQ_OP_RMS_NORM, &n, &t[2], &why), PRESENT);
    REFUSED(vq_graph_op(&g, VQ_OP_RMS_NORM, NULL, &t[2], &why), PRESENT);
    REFUSED(vq_graph_op(&g, VQ_OP_NONE, &n, &t[2], &why), VALUE);
    REFUSED(vq_graph_op(&g, VQ_OP_COUNT, &n, &t[2], &why), VALUE);
    REFUSED(vq_graph_op(&g, VQ_OP_RMS_NORM, &n, NULL, &why), PRESENT);
    REFUSED(vq_graph_op(&g, VQ_OP_RMS_NORM, &n, &t[8], &why), PRESENT);       /* no value's */
    REFUSED(vq_graph_op(&g, VQ_OP_RMS_NORM, &n, &t[0], &why), TWICE);         /* it is brought */
    REFUSED(vq_graph_op(&g, VQ_OP_RMS_NORM, &n, &t[3], &why), TWICE);         /* y is it, too */
    n.y.dtype = VQ_F16;
    REFUSED(vq_graph_op(&g, VQ_OP_RMS_NORM, &n, &t[2], &why), TYPE);
    n.y = t[3];
    n.y.data = (void *)(uintptr_t)65;
    REFUSED(vq_graph_op(&g, VQ_OP_RMS_NORM, &n, &t[2], &why), PRESENT);
    n.y.data = (void *)(uintptr_t)(64 * 5);
    REFUSED(vq_graph_op(&g, VQ_OP_RMS_NORM, &n, &t[2], &why), PRESENT);
    n.x.dtype = n.y.dtype = n.residual.dtype = VQ_F16;       /* another type than the value has */
    n.y.data = t[3].data;
    REFUSED(vq_graph_op(&g, VQ_OP_RMS_NORM, &n, &t[2], &why), PRESENT);
    memset(&n.residual, 0, sizeof n.residual);
    n.x = t[0];
    n.y = t[3];
    REFUSED(vq_graph_op(&g, VQ_OP_RMS_NORM, &n, &t[2], &why), UNUSED);
    c.x = t[0];
    c.y = t[1];
    c.result = &result;
    REFUSED(vq_graph_op(&g, VQ_OP_COMPARE, &c, NULL, &why), UNUSED);

    REFUSED(vq_graph_opaque(NULL, "f", t, 1, 1, &why), PRESENT);
    REFUSED(vq_graph_opaque(&g, NULL, t, 1, 1, &why), PRESENT);
    REFUSED(vq_graph_opaque(&g, "f", NULL, 1, 1, &why), PRESENT);
    REFUSED(vq_graph_opaque(&g, "f", t, 1, 0, &why), SIZE);
    REFUSED(vq_graph_opaque(&g, "f", t, -1, 2, &why), SIZE);
    REFUSED(vq_graph_opaque(&g, "f", t, 12, 1, &why), SIZE);
    REFUSED(vq_graph_opaque(&g, "f", t, 1, 2147483647, &why), SIZE);
    REFUSED(vq_graph_opaque(&g, "f f", t, 1, 1, &why), NAME);
    REFUSED(vq_graph_opaque(&g, LONG32, t, 1, 1, &why), NAME);
    REFUSED(vq_graph_opaque(&g, "f", t, 0, 1, &why), TWICE);
    REFUSED(vq_graph_opaque(&g, "f", t + 7, 1, 1, &why), PRESENT);
    REFUSED(vq_graph_check(&g, &why), UNMADE);
    REFUSED(vq_graph_check(NULL, &why), PRESENT);
    CHECK(same_text(&g, &copy_of));
    for (i = 0; i < g.values; i++) CHECK(!g.value[i].uses && g.value[i].maker == -1);
    vq_graph_free(&g);
    vq_graph_free(&copy_of);
}

/* Planes of scales lie one behind the other, each as vq_tensor_ordered() has it. */
static void scales_of_rank_3_lie_as_their_planes_do(void)
{
    static const int64_t shape[3] = { 2, 6, 3 };
    vq_graph g = VQ_ZERO;
    vq_value v = VQ_ZERO;
    vq_tensor t, plane;
    int order;
    for (order = 0; order < VQ_ORDER_COUNT; order++) {
        const vq_dtype type = order == VQ_WORDS_UE8M0 ? VQ_E8M0
                            : order > VQ_WORDS_UE8M0 ? VQ_UE4M3 : VQ_F32;
        const int64_t unit = order > VQ_COLUMNS_TMA ? 1 : 4;
        v.order = (vq_order)order;
        v.t = vq_tensor_nd(NULL, type, 3, shape, VQ_HOST);
        snprintf(v.name, sizeof v.name, "v%d", order);
        CHECKF(vq_graph_value(&g, &v, &t, &why) == VQ_OK, "%s: %s", vq_order_str(v.order),
               why.text);
        plane = vq_tensor_ordered(type, 6, 3, v.order, NULL, VQ_HOST);
        CHECK(t.layout == plane.layout && t.stride[1] == plane.stride[0]
              && t.stride[2] == plane.stride[1]);
        CHECK(t.stride[0] * unit == vq_tensor_bytes(plane) || t.layout == VQ_STRIDED);
        CHECK(t.stride[0] * unit >= vq_tensor_bytes(plane));
        CHECK(vq_tensor_bytes(t) == t.stride[0] * unit + vq_tensor_bytes(plane));
    }
    vq_graph_free(&g);
    g = parsed("in x bf16 2x6x1024\nin n int32 2\nout q float8_e4m3fn 2x6x512\n"
               "out s float8_e8m0fnu 2x6x4 packed_ue8m0\n"
               "masked_act_mul_quant key=vllm_packed_ue8m0 act=silu x=x counts=n q=q scale=s\n");
    CHECK(g.nodes == 1 && g.value[3].t.layout == VQ_PACKED_UE8M0);
    vq_graph_free(&g);
}

static void a_name_binds_every_opaque_node_of_it(void)
{
    vq_graph g = example("llama");
    CHECK(vq_graph_bind(&g, "rotary", stand_in, NULL) == 1);
    CHECK(vq_graph_bind(&g, "quant", stand_in, NULL) == 0);
    CHECK(vq_graph_bind(&g, "nosuch", stand_in, NULL) == 0);
    vq_graph_free(&g);
    g = example("gpt_oss");
    CHECK(vq_graph_bind(&g, "gate_up_proj", stand_in, NULL) == 2);
    vq_graph_free(&g);
}

/* --- what is fused ---------------------------------------------------------- */

/* Of each example, per pattern; the reference and every device here do all of the fused ops. */
static const struct { const char *file, *pattern; int matches; } expected[] = {
    { "llama", "add_rms_token", 1 },
    { "llama", "add_rms_static", 1 },
    { "llama", "act_static", 1 },
    { "deepseek", "rms_twice", 1 },
    { "deepseek", "add_rms_twice", 1 },
    { "deepseek", "add_rms_group", 1 },
    { "deepseek", "act_group128_ue8m0", 2 },
    { "gpt_oss", "rms_group", 1 },
    { "gpt_oss", "add_rms_group", 1 },
    { "gpt_oss", "act_mxfp4", 1 },
};

static const struct { const char *file, *at, *says; } missed[] = {
    { "llama", "q4", "last is used by other nodes, too: found 2, needed 1" },
    { "deepseek", "q3", "norm3 is used by other nodes, too: found 2, needed 1" },
    { "deepseek", "q6", "inner3 has a type that cannot stand here: found f32, needed bf16" },
    { "gpt_oss", "q4",
      "found float8_e4m3fn/f32/128x128/dyn/amax.div448/x.div.s/floor=scale:4.359654e-6" },
};

static const char *const targets[] = { NULL, "sm_90", "gfx942", "gfx950" };

static void examples_fuse_as_often_as_expected_on_every_target(void)
{
    vq_ctx *cpu = context(NULL, 0);
    int i, j, k, m, target;
    for (target = 0; target < VQ__COUNT(targets); target++) {
        vq_ctx *vq = context(targets[target], 0);
        for (i = 0; i < 3; i++) {
            vq_graph g = example(examples[i]), was;
            vq_fuser *f = fuser(NULL);
            int64_t launches = 0, bytes = 0;
            CHECK(vq_graph_copy(&g, &was) == VQ_OK);
            fuse(f, vq, &g);
            for (m = j = 0; j < VQ__COUNT(expected); j++) {
                if (strcmp(expected[j].file, examples[i])) continue;
                m += expected[j].matches;
                CHECKF(total(f, expected[j].pattern, 1) == expected[j].matches, "%s on %s: %s: %d",
                       examples[i], targets[target] ? targets[target] : "cpu", expected[j].pattern,
                       (int)total(f, expected[j].pattern, 1));
            }
            CHECKF(matches == m, "%s: %d\n%s", examples[i], matches, receipt());
            for (j = 0; j < VQ__COUNT(missed); j++) {
                if (strcmp(missed[j].file, examples[i])) continue;
                for (k = m; k < count && strcmp(rows[k].at, missed[j].at); k++) {}
                CHECKF(k < count && strstr(rows[k].why.text, missed[j].says), "%s: %s\n%s",
                       examples[i],
                       missed[j].at, receipt());
                m++;
            }
            CHECKF(count == m, "%s", receipt());
            for (j = 0; j < matches; j++) {
                launches += rows[j].launches_saved;
                bytes += rows[j].bytes_saved;
                CHECK((rows[j].us_saved > 0) == (targets[target] != NULL));
            }
            CHECK(was.nodes - g.nodes == launches);
            CHECK(vq__traffic(&was) - vq__traffic(&g) == bytes && bytes > 0);
            CHECKF(equal(&was, &g, cpu), "%s", examples[i]);
            vq_graph_free(&g);
            vq_graph_free(&was);
            vq_fuser_free(f);
        }
        vq_free(vq);
    }
    vq_free(cpu);
}

static void what_never_ran_on_a_device_is_not_put_where_that_is_forbidden(void)
{
    vq_ctx *vq = context("gfx942", VQ_FORBID_UNPROVEN);
    int i, j;
    for (i = 0; i < 3; i++) {
        vq_graph g = example(examples[i]), was;
        vq_fuser *f = fuser(NULL);
        CHECK(vq_graph_copy(&g, &was) == VQ_OK);
        fuse(f, vq, &g);
        CHECK(!matches && count > 2 && same_text(&g, &was));
        for (j = 0; j < count; j++) {
            int k, other = 0;
            for (k = 0; k < VQ__COUNT(missed); k++)
                other |= !strcmp(missed[k].file, examples[i]) && !strcmp(missed[k].at, rows[j].at);
            CHECKF(other || (strstr(rows[j].why.text, "proven only")
                             && rows[j].why.guard == VQ_GUARD_POLICY),
                   "%s", rows[j].why.text);
        }
        vq_graph_free(&g);
        vq_graph_free(&was);
        vq_fuser_free(f);
    }
    vq_free(vq);
}

/* What the issue asks for, read off the key and not off the patterns' globs. */
static int norm_takes(const vq_key *k)
{
    const int c = k->group_cols;
    if (k->group_rows == -1) return c == -1 && (k->flags & VQ_KEY_STATIC);
    return k->group_rows == 1 && (c == -1 ? !(k->flags & VQ_KEY_STATIC)
                                          : c == 128 || c == 64 || c == 32 || c == 16);
}

static int act_takes(const vq_key *k)
{
    const int c = k->group_cols, fp4 = k->elem == VQ_E2M1;
    if (c == -1 || k->group_rows != 1) return norm_takes(k);
    if (c == 32) return k->scale_type == VQ_E8M0;
    if (c == 16) return fp4 && k->scale_type == VQ_UE4M3;
    return (c == 64 || c == 128) && !(k->flags & VQ_KEY_STATIC) && k->scale_rule != VQ_SCALE_RANGE;
}

static int say_tensors(char *text, size_t size, const vq_key *k, vq_order order, int rows_,
                       int cols)
{
    int64_t group[2], n[2];
    int used;
    vq_key_group(k, rows_, cols, group, n);
    used = snprintf(text, size, "out q %s %dx%d\n%s s %s %dx%d %s\n", vq_dtype_str(k->elem), rows_,
                    cols,
                    k->flags & VQ_KEY_STATIC ? "in" : "out", vq_dtype_str(k->scale_type), (int)n[0],
                    (int)n[1], vq_order_str(order));
    if (k->flags & VQ_KEY_ASYMMETRIC)
        used += snprintf(text + used, size - (size_t)used, "%s z %s %dx%d\n",
                         k->flags & VQ_KEY_STATIC ? "in" : "out", vq_dtype_str(k->elem), (int)n[0],
                         (int)n[1]);
    if (k->scale2_kind) used += snprintf(text + used, size - (size_t)used, "in g2 f32 1x1\n");
    if (k->bound_kind) used += snprintf(text + used, size - (size_t)used, "in b f32 1x1\n");
    return used;
}

/* The presets, and what none of them is. */
static const char *const more_keys[] = {
    "float8_e4m3fn/f32/1x64/dyn/amax.rceil448/x.div.s",
    "float8_e4m3fnuz/float8_e8m0fnu/1x64/dyn/amax.ceil224/x.div.s",
    "float8_e4m3fn/f32/1x128/dyn/amax.floor448/x.inv.s/bound=amax",
    "float8_e4m3fn/f32/1x-1/dyn/amax.div448/x.inv.s/bound=scale",
    "int8/f32/1x128/dyn/range.div255/x.inv.s/asym",
};

static vq_key key_of(int i)
{
    vq_key k = vq_key_preset((vq_key_id)i);
    if (i >= VQ_KEY_COUNT) CHECKF(vq_key_parse(more_keys[i - VQ_KEY_COUNT], &k, &why) == VQ_OK,
                                  "%s", why.text);
    return k;
}

static void say_quant(char *text, size_t size, const vq_key *k)
{
    char key[160];
    vq_key_print(k, key, sizeof key);
    snprintf(text, size, "quant key=%s x=y q=q scale=s%s%s%s\n", key,
             k->flags & VQ_KEY_ASYMMETRIC ? " zero=z" : "", k->scale2_kind ? " scale2=g2" : "",
             k->bound_kind ? " bound=b" : "");
}

/* Fuses the graph of the text, whose one quant has the key; 1 if that was made one node. */
static int try_one(vq_fuser *f, vq_ctx *cpu, const char *text, const vq_key *k, vq_order order,
                   vq_op fused, int wanted)
{
    vq_graph g = VQ_ZERO, was;
    const vq_node *n = NULL;
    int i, offset = -1, fields;
    const vq_field *field = vq_op_fields(fused, &fields);
    if (vq_graph_parse(text, &g, words, sizeof words)) return -1;
    CHECK(vq_graph_copy(&g, &was) == VQ_OK);
    fuse(f, cpu, &g);
    CHECKF(matches == wanted && count == 1, "%s%s", text, receipt());
    if (matches) {
        CHECKF(g.nodes == 1 && nodes_of(&g, fused, &n) == 1, "%s", text);
        for (i = 0; i < fields; i++) if (field[i].kind == VQ_FIELD_KEY) offset = (int)field[i].offset;
        CHECK(n && vq_key_equal((const vq_key *)(const void *)(n->args.bytes + offset), k));
        CHECK(find_value(&g, "y") < 0);
        CHECK(g.value[find_value(&g, "s")].order == order);
        CHECKF(equal(&was, &g, cpu), "%s", text);
    }
    vq_graph_free(&g);
    vq_graph_free(&was);
    return matches;
}

static void every_preset_and_every_order_of_scales_is_fused_and_stays_the_same(void)
{
    vq_ctx *cpu = context(NULL, 0);
    vq_fuser *f = fuser(NULL);
    vq_fuse_count c[PATTERNS];
    int preset, order, how, i, tried = 0, wide = 0, packed = 0, n;
    for (preset = 0; preset < VQ_KEY_COUNT + VQ__COUNT(more_keys); preset++)
        for (order = 0; order < VQ_ORDER_COUNT; order++)
            for (how = 0; how < (order ? 3 : 16); how++) {
                const vq_key k = key_of(preset);
                char text[1024], quant[256];
                const char *t = how & 8 ? "f16" : "bf16", *y = how & 1 ? "f32" : t;
                const char *mid = how & 1 ? "mid=f32 " : "";
                int used;
                say_quant(quant, sizeof quant, &k);
                used = snprintf(text, sizeof text, "in x %s 6x512\ny %s 6x256\n", t, y);
                used += say_tensors(text + used, sizeof text - (size_t)used, &k, (vq_order)order,
                                    6, 256);
                snprintf(text + used, sizeof text - (size_t)used,
                         how & 4 ? "act_mul %sact=swiglu_oai alpha=1.702 plus=1%s x=x y=y\n%s"
                         : "act_mul %sact=silu%s x=x y=y\n%s", mid, how & 2 ? " gate=even limit=7"
                             : "", quant);
                n = try_one(f, cpu, text, &k, (vq_order)order, VQ_OP_ACT_MUL_QUANT, act_takes(&k));
                tried += n >= 0;
                wide += n > 0 && order;
                packed += n > 0 && order == VQ_WORDS_UE8M0;
                used = snprintf(text, sizeof text, "in x %s 6x256\ny %s 6x256\n%s%s", t, y,
                                how & 2 ? "in r bf16 6x256\nout t bf16 6x256\n" : "",
                                how & 4 ? "in w bf16 256\n" : "");
                if (how & 8) {
                    used = snprintf(text, sizeof text,
                                    "in x bf16 6x256\ny %s 6x256\nin h bf16 6x256\n%s%s",
                                    how & 1 ? "f32" : "bf16",
                                    how & 2 ? "in r bf16 6x256\nout t bf16 6x256\n" : "",
                                    how & 4 ? "in w bf16 256\n" : "");
                }
                used += say_tensors(text + used, sizeof text - (size_t)used, &k, (vq_order)order,
                                    6, 256);
                snprintf(text + used, sizeof text - (size_t)used,
                         "rms_norm %seps=1e-6%s%s%s x=x y=y\n%s", mid, how & 2 ? " residual=r:t"
                             : "",
                         how & 4 ? " weight=w plus_one=1" : "", how & 8 ? " gate=h" : "", quant);
                n = try_one(f, cpu, text, &k, (vq_order)order, VQ_OP_RMS_NORM_QUANT,
                            norm_takes(&k));
                tried += n >= 0;
            }
    CHECKF(tried > 1500 && wide > 100 && packed > 10, "%d graphs, %d, %d", tried, wide, packed);
    n = vq_fuser_counts(f, c, PATTERNS);
    for (i = 0; i < n; i++)
        CHECKF((c[i].total > 0) == !strstr(c[i].pattern, "twice"), "%s: %d", c[i].pattern,
               (int)c[i].total);
    vq_fuser_free(f);
    vq_free(cpu);
}

static void bytes_and_launches_saved_are_those_of_what_lies_between(void)
{
    vq_ctx *cpu = context(NULL, 0), *mi300 = context("gfx942", 0);
    vq_graph g = parsed(FFN), h = parsed(FFN);
    vq_fuser *f = fuser(NULL);
    char needed[200];
    fuse(f, cpu, &g);
    CHECK(matches == 1 && count == 1 && rows[0].bytes_saved == 2 * 4 * 256 * 2
          && rows[0].launches_saved == 1);
    CHECK(!strcmp(rows[0].at, "q") && !strcmp(rows[0].pattern, "act_token")
          && !strcmp(rows[0].pass, "act_quant"));
    CHECK(rows[0].us_saved == 0.0);
    CHECKF(!strcmp(receipt(), "fused q: act_token, bytes saved 4096, launches saved 1\n"), "%s",
           receipt());
    fuse(f, mi300, &h);
    CHECK(rows[0].us_saved == 4096 / (1e3 * vq_platform_in(mi300).gb_per_s));
    snprintf(needed, sizeof needed, "launches saved 1, %.3f us of memory time\n", rows[0].us_saved);
    CHECKF(strstr(receipt(), needed) != NULL, "%s", receipt());
    vq_graph_free(&g);
    vq_graph_free(&h);
    vq_fuser_free(f);
    vq_free(cpu);
    vq_free(mi300);
}

#define TWO_VALUES "in x bf16 4x256\nin r bf16 4x256\nin w bf16 256\nout t bf16 4x256\ny bf16 4x256\n" \
    "yy f32 4x256\nout q float8_e4m3fn 4x256\nout s f32 4x2 columns_tma\nout q2 float4_e2m1fn 4x256\n" \
    "out s2 float8_e8m0fnu 4x8 cdna4\n"
#define TWO_QUANTS "quant key=fp8_group128 x=y q=q scale=s\nquant key=mxfp4 x=y q=q2 scale=s2\n"

static void the_longer_pattern_wins(void)
{
    static const struct { const char *norm, *pattern; int matches; } way[] = {
        { "rms_norm x=x weight=w eps=1e-6 y=y\n@f x -> t\n", "rms_twice", 1 },
        { "rms_norm x=x residual=r:t weight=w eps=1e-6 y=y\n", "add_rms_twice", 1 },
        { "rms_norm x=x weight=w eps=1e-6 mid=f32 y=yy\n@f x -> t\n", "rms_twice", 1 },
        /* with f32 between, t is not what was normed: it was rounded */
        { "rms_norm x=x residual=r:t weight=w eps=1e-6 mid=f32 y=yy\n", "add_rms_twice", 0 },
    };
    vq_ctx *cpu = context(NULL, 0);
    int i;
    for (i = 0; i < VQ__COUNT(way); i++) {
        char text[1024], *c;
        const int f32 = strstr(way[i].norm, "mid=f32") != NULL;
        vq_graph g, was;
        vq_fuser *f = fuser(NULL);
        snprintf(text, sizeof text, "%s%s%s", TWO_VALUES, way[i].norm,
                 f32 ? "quant key=fp8_group128 x=yy q=q scale=s\nquant key=mxfp4 x=yy q=q2 scale=s2\n"
                 : TWO_QUANTS);
        c = strstr(text, f32 ? "y bf16" : "yy f32");
        while (*c && *c != '\n') *c++ = ' ';
        *strstr(text, f32 ? "yy f32" : "y bf16") = 'y';
        g = parsed(text);
        CHECK(vq_graph_copy(&g, &was) == VQ_OK);
        fuse(f, cpu, &g);
        CHECKF(matches == way[i].matches && total(f, way[i].pattern, 1) == way[i].matches,
               "case %d: %s", i,
               receipt());
        CHECKF(way[i].matches ? count == 1 : count > 0, "case %d: %s", i, receipt());
        if (way[i].matches) {
            CHECK(rows[0].launches_saved == 1 && nodes_of(&g, VQ_OP_RMS_NORM_QUANT, NULL) == 2);
            CHECKF(equal(&was, &g, cpu), "case %d", i);
        } else {
            int k, said = 0;
            for (k = 0; k < count; k++)
                said |= !strcmp(rows[k].pattern, "add_rms_twice") && strstr(rows[k].why.text, "mid")
                        && strstr(rows[k].why.text, "found f32, needed none");
            CHECKF(said || strstr(receipt(), "found 2, needed 1"), "%s", receipt());
        }
        vq_graph_free(&g);
        vq_graph_free(&was);
        vq_fuser_free(f);
    }
    vq_free(cpu);
}

/* Also where both match, and the shorter was there first. */
static void of_two_that_match_the_longer_is_taken(void)
{
    static const vq_pattern shorter = ONE("short", "rms_norm eps=0 x=x y=y",
                                          "act act=silu x=x y=y"),
        longer = ONE("long", "rms_norm eps=0 x=x y=y\ncast x=y y=z", "act act=silu x=x y=z"),
        rather = ONE("rather", "rms_norm eps=$e x=x weight=w? y=y", "act act=gelu x=x y=y");
    vq_ctx *cpu = context(NULL, 0);
    vq_graph g = parsed("in x bf16 2x8\ny bf16 2x8\nout z bf16 2x8\nrms_norm eps=0 x=x y=y\ncast x=y y=z\n");
    vq_fuser *f = fuser("none");
    CHECK(vq_fuser_pass(f, "mine", 1, 0, 0, &why) == VQ_OK);
    CHECKF(vq_fuser_pattern(f, "mine", &shorter, &why) == VQ_OK, "%s", why.text);
    CHECKF(vq_fuser_pattern(f, "mine", &longer, &why) == VQ_OK, "%s", why.text);
    REFUSED(vq_fuser_pattern(f, "mine", &rather, &why), RIVAL);
    fuse(f, cpu, &g);
    CHECKF(matches == 1 && total(f, "long", 1) == 1 && g.nodes == 1 && g.values == 2, "%s",
           receipt());
    vq_graph_free(&g);
    vq_fuser_free(f);
    vq_free(cpu);
}

/* --- near misses ------------------------------------------------------------ */

static int no_never(void *user, const vq_graph *g, const int *nodes, int n)
{
    CHECK(user == (void *)words && n == 2 && g->node[nodes[0]].op == VQ_OP_ACT_MUL
          && g->node[nodes[1]].op == VQ_OP_QUANT);
    return 0;
}

#define ACT_PATTERN(y, q, s) "act_mul act=$a gate=$g mid=$m alpha=$f limit=$l plus=$p x=x y=" y \
    "\nquant key=$k x=y q=" q " scale=" s
#define ACT_FUSED "act_mul_quant key=$k act=$a gate=$g mid=$m alpha=$f limit=$l plus=$p x=x q=q scale=s"

static void every_near_miss_says_what_was_found_and_what_was_needed(void)
{
    static const vq_pattern
        guarded = { "guarded", ACT_PATTERN("y:mid", "q", "s"), ACT_FUSED, no_never, words },
        layout  = { "layout", ACT_PATTERN("y:mid", "q", "s:f32.columns|f32.columns_tma"),
                    ACT_FUSED, NULL, NULL },
        number  = { "number",
                    "act_mul act=silu limit=$l:7 x=x y=y:mid\nquant key=$k x=y q=q scale=s",
                    "act_mul_quant act=silu key=$k limit=$l x=x q=q scale=s", NULL, NULL },
        word    = { "word", "act_mul act=gelu x=x y=y:mid\nquant key=$k x=y q=q scale=s",
                    "act_mul_quant act=gelu key=$k x=x q=q scale=s", NULL, NULL },
        both    = ONE("both", "rms_norm eps=$e x=x y=y\nrms_norm eps=$e x=y y=z",
                      "rms_norm eps=$e x=x y=z");
    static const struct {
        const char *text;
        const vq_pattern *own;
        const char *needed;
        vq_guard guard;
    } miss[] = {
        { FFN "out o bf16 4x256\n@f y -> o\n", NULL,
          "y is used by other nodes, too: found 2, needed 1", VQ_GUARD_USES },
        { "in x bf16 4x512\nout y bf16 4x256\nout q float8_e4m3fn 4x256\nout s f32 4x1\n" FFN_NODES, NULL,
          "y is used by other nodes, too: found 2, needed 1", VQ_GUARD_USES },
        { "in x bf16 4x512\ny f32 4x256\nout q float8_e4m3fn 4x256\nout s f32 4x1\n" FFN_NODES,
          NULL,
          "y has a type that cannot stand here: found f32, needed bf16", VQ_GUARD_TYPE },
        { FFN, &number, "limit has a value that cannot stand here: found 0, needed 7",
          VQ_GUARD_VALUE },
        { FFN, &word, "act has a value that cannot stand here: found silu, needed gelu",
          VQ_GUARD_VALUE },
        { "in x bf16 4x512\ny bf16 4x256\nout q float8_e4m3fn 4x256\nout s f32 1x2\n"
          "act_mul act=silu x=x y=y\nquant key=fp8_block128 x=y q=q scale=s\n", NULL,
          "found float8_e4m3fn/f32/128x128/dyn/amax.div448/x.div.s/floor=scale:4.359654e-6, needed ",
          VQ_GUARD_VALUE },
        { FFN, &layout,
          "s has a layout that cannot stand here: found f32.rows, needed f32.columns|f32.columns_tma",
          VQ_GUARD_LAYOUT },
        { "in x bf16 4x8\ny bf16 4x8\nout q bf16 4x8\nrms_norm eps=1e-5 x=x y=y\n"
          "rms_norm eps=1e-6 x=y y=q\n", &both,
          "eps has a value that cannot stand here: found 1e-6, needed that of the other node",
          VQ_GUARD_VALUE },
        { FFN, &guarded, "no, says the pattern's own guard", VQ_GUARD_POLICY },
    };
    vq_ctx *cpu = context(NULL, 0);
    int i;
    for (i = 0; i < VQ__COUNT(miss); i++) {
        vq_graph g = parsed(miss[i].text), was;
        vq_fuser *f = fuser(miss[i].own ? "none" : NULL);
        if (miss[i].own) {
            CHECK(vq_fuser_pass(f, "mine", 1, 0, 0, &why) == VQ_OK);
            CHECKF(vq_fuser_pattern(f, "mine", miss[i].own, &why) == VQ_OK, "%s", why.text);
        }
        CHECK(vq_graph_copy(&g, &was) == VQ_OK);
        fuse(f, cpu, &g);
        CHECKF(!matches && count == 1 && rows[0].why.guard == miss[i].guard, "case %d: %s", i,
               receipt());
        CHECKF(count && strstr(rows[0].why.text, miss[i].needed), "case %d: %s", i, receipt());
        CHECK(strstr(receipt(), "not   q: ") == receipt() && same_text(&g, &was));
        vq_graph_free(&g);
        vq_graph_free(&was);
        vq_fuser_free(f);
    }
    vq_free(cpu);
}

static void rows_outside_a_pass_are_left(void)
{
    static const struct { int64_t least, most; int fused; const char *says; } range[] = {
        { 0, 0, 1, "" }, { 4, 4, 1, "" }, { 1, 0, 1, "" }, { 5, 0, 0, "found 4, needed 5" },
        { 0, 3, 0, "found 4, needed 3" }, { 1, 3, 0, "found 4, needed 3" },
    };
    vq_ctx *cpu = context(NULL, 0);
    int i;
    for (i = 0; i < VQ__COUNT(range); i++) {
        vq_graph g = parsed(FFN);
        vq_fuser *f = fuser(NULL);
        CHECK(vq_fuser_pass(f, "act_quant", 1, range[i].least, range[i].most, &why) == VQ_OK);
        fuse(f, cpu, &g);
        CHECKF(matches == range[i].fused && count == 1, "case %d: %s", i, receipt());
        CHECKF(matches || rows[0].why.guard == VQ_GUARD_SHAPE, "case %d: %s", i, receipt());
        CHECKF(matches || (strstr(rows[0].why.text, "the rows of x")
                           && strstr(rows[0].why.text, range[i].says)), "case %d: %s", i, receipt());
        vq_graph_free(&g);
        vq_fuser_free(f);
    }
    vq_free(cpu);
}

/* The scale of a quant comes from what the norm keeps: one node of both would wait for itself. */
static void what_would_wait_for_itself_is_not_fused(void)
{
    vq_ctx *cpu = context(NULL, 0);
    vq_graph g = parsed("in x bf16 4x256\nin r bf16 4x256\nout t bf16 4x256\ny bf16 4x256\n"
                        "s f32 1x1\nout q float8_e4m3fn 4x256\n"
                        "rms_norm x=x residual=r:t eps=1e-6 y=y\n@measure t -> s\n"
                        "quant key=fp8_static x=y q=q scale=s\n");
    vq_fuser *f = fuser(NULL);
    fuse(f, cpu, &g);
    CHECKF(!matches && count == 1 && rows[0].why.guard == VQ_GUARD_CYCLE && g.nodes == 3, "%s",
           receipt());
    vq_graph_free(&g);
    vq_fuser_free(f);
    vq_free(cpu);
}

/* A receipt in a shorter array, or in none. */
static void a_receipt_may_be_cut(void)
{
    static const int caps[] = { 0, 1, -1 };
    vq_ctx *cpu = context(NULL, 0);
    int i;
    for (i = 0; i < 3; i++) {
        vq_graph g = example("llama");
        vq_fuser *f = fuser(NULL);
        vq_receipt one[2];
        int n = -1;
        memset(one, 0x5a, sizeof one);
        CHECK(vq_fuse(f, cpu, &g, caps[i] == 1 ? one : NULL, caps[i], &n, &why) == VQ_OK);
        CHECK(n == 4 && (caps[i] == 1) == !strcmp(one[0].at, "q1"));
        CHECK(((const unsigned char *)&one[1])[0] == 0x5a);
        vq_graph_free(&g);
        vq_fuser_free(f);
    }
    vq_free(cpu);
}

static void fuse_refuses_what_is_missing_or_broken(void)
{
    vq_ctx *cpu = context(NULL, 0);
    vq_graph g = parsed(FFN), was;
    vq_fuser *f = fuser(NULL);
    CHECK(vq_graph_copy(&g, &was) == VQ_OK);
    REFUSED(vq_fuse(NULL, cpu, &g, rows, ROWS, &count, &why), PRESENT);
    REFUSED(vq_fuse(f, NULL, &g, rows, ROWS, &count, &why), PRESENT);
    REFUSED(vq_fuse(f, cpu, NULL, rows, ROWS, &count, &why), PRESENT);
    REFUSED(vq_fuse(f, cpu, &g, NULL, ROWS, &count, &why), PRESENT);
    REFUSED(vq_fuse(f, cpu, &g, rows, ROWS, NULL, &why), PRESENT);
    g.nodes = 1;                                   /* q is made by nobody then */
    REFUSED(vq_fuse(f, cpu, &g, rows, ROWS, &count, &why), UNMADE);
    CHECK(!count && g.nodes == 1 && total(f, "act_token", 0) == 0);
    g.nodes = 2;
    CHECK(same_text(&g, &was));
    vq_graph_free(&g);
    vq_graph_free(&was);
    vq_fuser_free(f);
    vq_free(cpu);
}

/* --- patterns of one's own ---------------------------------------------------- */

static void a_pattern_of_ones_own_is_matched(void)
{
    static const vq_pattern own = ONE("f16_act",
                                      "act act=$a x=x y=y\ncast overflow=saturate x=y y=z",
                                      "act act=$a x=x y=z");
    static const vq_pattern casts = ONE("casts", "cast overflow=nonfinite x=x y=y:f32.rows\n"
                                        "cast overflow=nonfinite x=y y=z",
                                            "cast overflow=nonfinite x=x y=z");
    vq_ctx *cpu = context(NULL, 0);
    vq_graph g = parsed("in x bf16 4x256\na f32 4x256\nb f32 4x256\nc f32 4x256\nout z float8_e5m2 4x256\n"
                        "cast overflow=nonfinite x=x y=a\ncast overflow=nonfinite x=a y=b\n"
                        "cast overflow=nonfinite x=b y=c\ncast overflow=nonfinite x=c y=z\n"), was;
    vq_fuser *f = fuser("none");
    CHECK(vq_fuser_pass(f, "mine", 1, 0, 0, &why) == VQ_OK);
    CHECKF(vq_fuser_pattern(f, "mine", &own, &why) == VQ_OK, "%s", why.text);
    CHECKF(vq_fuser_pattern(f, "mine", &casts, &why) == VQ_OK, "%s", why.text);   /* feeds itself, and ends */
    CHECK(vq_graph_copy(&g, &was) == VQ_OK);
    fuse(f, cpu, &g);
    CHECKF(matches == 3 && count == 3 && g.nodes == 1 && g.values == 2, "%s", receipt());
    CHECK(total(f, "casts", 1) == 3 && total(f, "f16_act", 0) == 0 && equal(&was, &g, cpu));
    vq_graph_free(&g);
    vq_graph_free(&was);
    vq_fuser_free(f);
    vq_free(cpu);
}

/* What a match reads and the replacement does not is somebody else's, and stays. */
static void values_made_outside_the_match_are_not_dropped(void)
{
    static const vq_pattern bare = ONE("bare", "rms_norm eps=$e x=x weight=w y=y",
                                       "layer_norm eps=$e x=x y=y");
    static const vq_pattern twice = ONE("twice",
                                        "rms_norm eps=0 x=x y=y\nrms_norm eps=$f x=y gate=h y=z",
                                        "rms_norm eps=$f x=x y=z");
    static const char *const texts[] = {
        "in x bf16 4x256\nw bf16 256\nout y bf16 4x256\nout o bf16 4x256\n@make x -> w\n"
        "rms_norm x=x weight=w eps=0 y=y\n@after y -> o\n",
        "in x bf16 4x256\ny bf16 4x256\nout z bf16 4x256\nout o bf16 4x256\n"
        "rms_norm eps=0 x=x y=y\nrms_norm eps=1e-6 x=y gate=y y=z\n@after z -> o\n",
    };
    vq_ctx *cpu = context(NULL, 0);
    int i, j, k;
    for (i = 0; i < 2; i++) {
        vq_graph g = parsed(texts[i]);
        vq_fuser *f = fuser("none");
        CHECK(vq_fuser_pass(f, "mine", 1, 0, 0, &why) == VQ_OK);
        CHECKF(vq_fuser_pattern(f, "mine", i ? &twice : &bare, &why) == VQ_OK, "%s", why.text);
        fuse(f, cpu, &g);
        for (j = 0; j < g.nodes; j++)
            for (k = 0; k < g.node[j].reads + g.node[j].makes; k++)
                CHECKF(g.node[j].value[k] >= 0 && g.node[j].value[k] < g.values, "graph %d", i);
        CHECK(find_value(&g, "x") == 0 && find_value(&g, "o") >= 0);
        CHECKF(matches == 1 && g.values == (i ? 3 : 4), "%d values\n%s", g.values, receipt());
        CHECK(i || find_value(&g, "w") >= 0);
        CHECK(vq_graph_check(&g, &why) == VQ_OK);
        vq_graph_free(&g);
        vq_fuser_free(f);
    }
    vq_free(cpu);
}

static void patterns_that_mean_nothing_are_refused(void)
{
    static const struct { vq_pattern p; vq_guard guard; const char *says; } nothing[] = {
        { ONE("a", "", "cast x=x y=y"), VQ_GUARD_TEXT, "1:1" },
        { ONE("a", "nosuch x=x", "cast x=x y=y"), VQ_GUARD_TEXT, "nosuch at 1:1" },
        { ONE("a", "cast x=x y=y overflow", "cast x=x y=y"), VQ_GUARD_TEXT, "overflow at 1:14" },
        { ONE("a", "cast x=x y=y\ncast x=y z=z", "cast x=x y=z"), VQ_GUARD_TEXT, "z=z at 2:10" },
        { ONE("a", "cast x=x  y=y", "act x=x y=y"), VQ_GUARD_TEXT, " at 1:10" },
        { ONE("a", "cast x=x x=z y=y", "act x=x y=y"), VQ_GUARD_TEXT, "x=z at 1:10" },
        { ONE("a", "cast x=x y=y overflow=rose", "act x=x y=y"), VQ_GUARD_TEXT,
          "overflow=rose at 1:14" },
        { ONE("a", "quant key=$9 x=x q=q scale=s", "cast x=x y=q"), VQ_GUARD_TEXT,
          "key=$9 at 1:7" },
        { ONE("a", "cast x=x y=y", "act act=$a x=x y=y"), VQ_GUARD_TEXT, "act=$a at 1:5" },
        { ONE("a", "cast x=x y=y", "act x=x y=y\nact x=w y=z"), VQ_GUARD_TEXT, "x=w at 2:5" },
        { ONE("a", "cast x=x y=y", "act act=silu x=x y=y:mid"), VQ_GUARD_TEXT, "y=y:mid at 1:18" },
        { ONE("a", "rms_norm x=x residual=r y=y", "act x=x y=y"), VQ_GUARD_TEXT,
          "residual=r at 1:14" },
        { ONE("a", "rms_norm eps=$e x=x y=y weight=$e", "act x=x y=y"), VQ_GUARD_TEXT,
          "weight=$e at 1:25" },
        { ONE("a", "cast x=x y=y\nact act=silu x=w y=z", "act act=silu x=x y=y"), VQ_GUARD_TEXT,
          "shares no value" },
        { ONE("a", "cast x=x y=a\ncast x=a y=b\ncast x=b y=c\ncast x=c y=d\ncast x=d y=e",
              "cast x=x y=e"),
          VQ_GUARD_TEXT, "5:1" },
        { ONE("a", "act act=silu x=x y=y", "cast x=y y=x"), VQ_GUARD_UNMADE, "" },
        { ONE("a", "act act=silu x=x y=y\ncast x=y y=z", "act act=silu x=x y=x"), VQ_GUARD_UNMADE,
          "x" },
        { ONE("a", "cast x=x y=y", "cast x=x y=y"), VQ_GUARD_ENDLESS, "for ever" },
        { ONE("a", "cast x=x y=y", "cast x=x y=y\n"), VQ_GUARD_ENDLESS, "" },
        { ONE("a", "act act=silu x=x y=y", "act act=gelu x=x y=y"), VQ_GUARD_ENDLESS, "" },
        { { "a", NULL, "cast x=x y=y", NULL, NULL }, VQ_GUARD_PRESENT, "" },
        { { NULL, "cast x=x y=y", "act x=x y=y", NULL, NULL }, VQ_GUARD_PRESENT, "" },
    };
    int i;
    for (i = 0; i < VQ__COUNT(nothing); i++) {
        vq_fuser *f = fuser("none");
        const long held = alive;
        const vq_status s = (vq_fuser_pass(f, "mine", 1, 0, 0, &why), memset(&why, 0, sizeof why),
                             vq_fuser_pattern(f, "mine", &nothing[i].p, &why));
        CHECKF(s == VQ_BAD_ARG && why.guard == nothing[i].guard && strstr(why.text,
                                                                          nothing[i].says),
               "case %d: %s: %s", i, vq_guard_str(why.guard), why.text);
        CHECK(vq_fuser_counts(f, NULL, 0) == 0 && alive == held + 1);         /* the pass */
        vq_fuser_free(f);
    }
}

/* A second pattern that may take what the first takes. */
static void patterns_that_rival_each_other_are_refused(void)
{
#define QUANT_OF(k) ONE("b", "act act=silu x=x y=y\nquant key=$k:" k " x=y q=q scale=s", \
                        "quant key=$k x=x q=q scale=s")
    static const vq_pattern first = ONE("a", "act act=silu x=x y=y\n"
                                        "quant key=$k:float8_*/f32/1x128/* x=y q=q scale=s",
                                        "quant key=$k x=x q=q scale=s");
    static const struct { vq_pattern p; int rival; } second[] = {
        { QUANT_OF("*/*/1x128/*"), 1 }, { QUANT_OF("float8_e4m3fn*"), 1 }, { QUANT_OF("*"), 1 },
        { QUANT_OF("int8*|*/f32/1x*/dyn/*"), 1 }, { QUANT_OF("float4_*"), 0 }, { QUANT_OF("*/*/1x64/*"), 0 },
        { QUANT_OF("*/*/*x12*/*"), 1 }, { QUANT_OF("*/float8_e8m0fnu/*"), 0 },
        { ONE("b", "act act=$a x=x y=y\nquant key=$k x=y q=q scale=s",
              "quant key=$k x=x q=q scale=s"), 1 },
        { ONE("b", "act act=gelu x=x y=y\nquant key=$k x=y q=q scale=s",
              "quant key=$k x=x q=q scale=s"), 0 },
        { ONE("b", "act act=silu x=x y=y\nquant key=fp8_group128 x=y q=q scale=s",
              "quant key=fp8_group128 x=x q=q scale=s"), 1 },
        { ONE("b", "act act=silu x=x y=y\nquant key=fp8_group64 x=y q=q scale=s",
              "quant key=fp8_group64 x=x q=q scale=s"), 0 },
        { ONE("b", "act act=silu x=x y=y\nquant key=$k x=y q=q scale=s zero=z",
              "quant key=$k x=x q=q scale=s zero=z"), 0 },
        { ONE("b", "act act=silu x=x y=y\nquant key=$k x=y q=q scale=s zero=z?",
              "quant key=$k x=x q=q scale=s zero=z?"), 1 },
        { ONE("b", "act act=silu x=x y=y", "cast x=x y=y"), 0 },
        { ONE("a", "act act=gelu x=x y=y", "cast x=x y=y"), -1 },            /* a name that is taken */
    };
    int i;
    for (i = 0; i < VQ__COUNT(second); i++) {
        vq_fuser *f = fuser("none");
        vq_status s;
        CHECK(vq_fuser_pass(f, "mine", 1, 0, 0, &why) == VQ_OK);
        CHECKF(vq_fuser_pattern(f, "mine", &first, &why) == VQ_OK, "%s", why.text);
        memset(&why, 0, sizeof why);
        s = vq_fuser_pattern(f, "mine", &second[i].p, &why);
        if (!second[i].rival) CHECKF(s == VQ_OK, "case %d: %s", i, why.text);
        else CHECKF(s == VQ_BAD_ARG && why.guard == (second[i].rival > 0 ? VQ_GUARD_RIVAL
                                                     : VQ_GUARD_TWICE)
                    && !strcmp(why.name, "a"), "case %d: %d %s", i, (int)s, why.text);
        CHECK(vq_fuser_counts(f, NULL, 0) == 1 + !second[i].rival);
        vq_fuser_free(f);
    }
}

static void the_same_number_twice_is_the_same_number(void)
{
    static const char *const spelled[] = { "1e-6", "0.000001", "$e:1e-6", "1e-5" };
    int i;
    for (i = 0; i < VQ__COUNT(spelled); i++) {
        char match[100];
        vq_pattern a = ONE("a", "rms_norm eps=1e-6 x=x y=y", "cast x=x y=y"), b = a;
        vq_fuser *f = fuser("none");
        snprintf(match, sizeof match, "rms_norm eps=%s x=x y=y", spelled[i]);
        b.name = "b";
        b.match = match;
        CHECK(vq_fuser_pass(f, "mine", 1, 0, 0, &why) == VQ_OK && vq_fuser_pattern(f, "mine", &a,
                                                                                   &why) == VQ_OK);
        CHECKF((vq_fuser_pattern(f, "mine", &b, &why) == VQ_BAD_ARG) == (i < 3), "%s", spelled[i]);
        vq_fuser_free(f);
    }
}

/* Whichever of two comes first. */
static void rivals_are_found_in_either_order(void)
{
    static const vq_pattern pair[][2] = {
        { ONE("a", "rms_norm eps=$e x=x y=y\nrms_norm eps=$e x=y y=z", "cast x=x y=z"),
          ONE("b", "rms_norm eps=$e x=x y=y\nrms_norm eps=$f x=y y=z", "act act=silu x=x y=z") },
        { ONE("a", "rms_norm eps=$e x=x weight=w y=y\nrms_norm eps=$e x=y weight=w y=z",
              "cast x=x y=z"),
          ONE("b", "rms_norm eps=$e x=x weight=w y=y\nrms_norm eps=$e x=y weight=v y=z",
              "act act=silu x=x y=z") },
        /* a value is made once: these never take the same */
        { ONE("a", "rms_norm eps=$e x=x residual=r:t y=y\ncast x=y y=z",
              "rms_norm eps=$e x=x residual=r:t y=z"),
          ONE("b", "rms_norm eps=$e x=x residual=r:t y=y\ncast x=t y=z",
              "rms_norm eps=$e x=x residual=r:z y=y") },
    };
    int i, swap;
    for (i = 0; i < 3; i++)
        for (swap = 0; swap < 2; swap++) {
            vq_fuser *f = fuser("none");
            CHECK(vq_fuser_pass(f, "mine", 1, 0, 0, &why) == VQ_OK);
            CHECKF(vq_fuser_pattern(f, "mine", &pair[i][swap], &why) == VQ_OK, "%s", why.text);
            memset(&why, 0, sizeof why);
            if (i < 2) REFUSED(vq_fuser_pattern(f, "mine", &pair[i][!swap], &why), RIVAL);
            else CHECKF(vq_fuser_pattern(f, "mine", &pair[i][!swap], &why) == VQ_OK, "%s",
                        why.text);
            vq_fuser_free(f);
        }
}

static void patterns_that_feed_each_other_for_ever_are_refused(void)
{
    static const vq_pattern to = ONE("to", "act act=silu x=x y=y", "cast x=x y=y"),
        fro = ONE("fro", "cast x=x y=y", "act act=silu x=x y=y"),
        more = ONE("more", "cast x=x y=y\ncast x=y y=z", "act act=silu x=x y=z");
    vq_fuser *f = fuser("none");
    CHECK(vq_fuser_pass(f, "mine", 1, 0, 0, &why) == VQ_OK);
    CHECK(vq_fuser_pattern(f, "mine", &to, &why) == VQ_OK);
    REFUSED(vq_fuser_pattern(f, "mine", &fro, &why), ENDLESS);
    REFUSED(vq_fuser_pattern(f, "mine", &more, &why), ENDLESS);      /* 1 to 1 is on the ring */
    CHECK(vq_fuser_counts(f, NULL, 0) == 1);
    vq_fuser_free(f);
}

/* A pass that has gone by does not come back: its patterns had their turn. */
static void passes_have_one_turn_each(void)
{
    static const vq_pattern to = ONE("to", "act act=silu x=x y=y", "cast x=x y=y"),
        fro = ONE("fro", "cast x=x y=y", "act act=silu x=x y=y");
    vq_ctx *cpu = context(NULL, 0);
    vq_graph g = parsed("in x f32 2x8\nout y f32 2x8\nact act=silu x=x y=y\n");
    vq_fuser *f = fuser("none");
    CHECK(vq_fuser_pass(f, "one", 1, 0, 0, &why) == VQ_OK && vq_fuser_pass(f, "two", 1, 0, 0,
                                                                           &why) == VQ_OK);
    CHECK(vq_fuser_pattern(f, "one", &to, &why) == VQ_OK && vq_fuser_pattern(f, "two", &fro,
                                                                             &why) == VQ_OK);
    fuse(f, cpu, &g);
    CHECKF(matches == 2 && count <= 3 && total(f, "to", 1) == 1 && total(f, "fro", 1) == 1
           && g.node[0].op == VQ_OP_ACT, "%s", receipt());
    vq_graph_free(&g);
    vq_fuser_free(f);
    vq_free(cpu);
}

static void a_pass_holds_64_patterns(void)
{
    static char names[65][16];
    static vq_pattern p[65];
    static char match[65][64];
    vq_fuser *f = fuser("none");
    int i;
    CHECK(vq_fuser_pass(f, "mine", 1, 0, 0, &why) == VQ_OK);
    for (i = 0; i < 65; i++) {
        snprintf(names[i], sizeof names[i], "p%d", i);
        snprintf(match[i], sizeof match[i], "rms_norm eps=%d x=x y=y", i + 1);
        p[i].name = names[i];
        p[i].match = match[i];
        p[i].replace = "cast x=x y=y";
        if (i < 64) CHECKF(vq_fuser_pattern(f, "mine", &p[i], &why) == VQ_OK, "%d: %s", i,
                           why.text);
        else REFUSED(vq_fuser_pattern(f, "mine", &p[i], &why), SIZE);
    }
    CHECK(vq_fuser_counts(f, NULL, 0) == 64);
    vq_fuser_free(f);
}

/* Terms of a $name that stand for different kinds of fields, or for what graphs do not have. */
static void a_name_stands_for_one_kind_of_field(void)
{
    static const vq_pattern p[] = {
        ONE("kinds", "act act=$k x=x y=y\nquant key=fp8_token x=y q=q scale=s",
            "quant key=$k x=x q=q scale=s"),
        ONE("result", "requant from=$a key=$b q=q scale=s q_out=p scale_out=u result=$r\n"
            "dequant key=$b q=p scale=u y=y",
                "requant from=$a key=$b q=q scale=s q_out=y scale_out=u result=$r"),
    };
    int i;
    for (i = 0; i < 2; i++) {
        vq_fuser *f = fuser("none");
        CHECK(vq_fuser_pass(f, "mine", 1, 0, 0, &why) == VQ_OK);
        REFUSED(vq_fuser_pattern(f, "mine", &p[i], &why), TEXT);
        vq_fuser_free(f);
    }
}

/* --- passes ----------------------------------------------------------------- */

static void passes_run_in_their_order(void)
{
    static const char *const order[] = { "norm_quant act_quant", "act_quant norm_quant",
                                         "norm_quant",
                                         "act_quant", "", "none" };
    static const char *const first[] = { "q1", "q3", "q1", "q3", NULL, NULL };
    vq_ctx *cpu = context(NULL, 0);
    vq_fuse_count c[PATTERNS];
    int i;
    for (i = 0; i < VQ__COUNT(order); i++) {
        vq_graph g = example("llama");
        vq_fuser *f = fuser(order[i]);
        fuse(f, cpu, &g);
        CHECKF(matches == (i < 2 ? 3 : i == 2 ? 2 : i == 3 ? 1 : 0), "%s: %s", order[i], receipt());
        CHECKF(!first[i] || !strcmp(rows[0].at, first[i]), "%s: %s", order[i], receipt());
        if (vq_fuser_counts(f, c, PATTERNS)) CHECK(!strncmp(order[i], c[0].pass,
                                                            strlen(c[0].pass)));
        vq_graph_free(&g);
        vq_fuser_free(f);
    }
    vq_free(cpu);
}

static void passes_are_named_and_turned_off(void)
{
    vq_ctx *cpu = context(NULL, 0);
    vq_graph g = example("llama"), was;
    vq_fuser *f = NULL;
    REFUSED(vq_fuser_new("nosuch", &f, &why), NAME);
    CHECK(!f && !strcmp(why.name, "nosuch"));
    REFUSED(vq_fuser_new("nosuch act_quant", &f, &why), NAME);
    CHECKF(!strcmp(why.name, "nosuch"), "%s", why.name);
    REFUSED(vq_fuser_new("act_quant norm_quant act_quant", &f, &why), TWICE);
    REFUSED(vq_fuser_new(NULL, NULL, &why), PRESENT);
    f = fuser(NULL);
    REFUSED(vq_fuser_pass(NULL, "a", 1, 0, 0, &why), PRESENT);
    REFUSED(vq_fuser_pass(f, NULL, 1, 0, 0, &why), PRESENT);
    REFUSED(vq_fuser_pass(f, "a b", 1, 0, 0, &why), NAME);
    REFUSED(vq_fuser_pass(f, "a", 1, -1, 0, &why), VALUE);
    REFUSED(vq_fuser_pass(f, "a", 1, 2, 1, &why), VALUE);
    REFUSED(vq_fuser_pattern(f, "nosuch", &vq__act_quant[0], &why), NAME);
    REFUSED(vq_fuser_pattern(NULL, "act_quant", &vq__act_quant[0], &why), PRESENT);
    REFUSED(vq_fuser_pattern(f, NULL, &vq__act_quant[0], &why), PRESENT);
    REFUSED(vq_fuser_pattern(f, "act_quant", NULL, &why), PRESENT);
    CHECK(vq_graph_copy(&g, &was) == VQ_OK);
    CHECK(vq_fuser_pass(f, "norm_quant", 0, 0, 0, &why) == VQ_OK);
    CHECK(vq_fuser_pass(f, "act_quant", 0, 0, 0, &why) == VQ_OK);
    fuse(f, cpu, &g);
    CHECK(!count && same_text(&g, &was));
    CHECK(vq_fuser_pass(f, "norm_quant", 1, 0, 0, &why) == VQ_OK);
    fuse(f, cpu, &g);
    CHECK(matches == 2 && count == 3);
    vq_graph_free(&g);
    vq_graph_free(&was);
    vq_fuser_free(f);
    vq_fuser_free(NULL);
    vq_free(cpu);
}

static void counts_are_of_the_last_graph_and_of_all(void)
{
    vq_ctx *cpu = context(NULL, 0);
    vq_fuser *f = fuser(NULL);
    vq_fuse_count few[2];
    int round;
    for (round = 1; round < 4; round++) {
        vq_graph g = example(round == 2 ? "gpt_oss" : "llama");
        fuse(f, cpu, &g);
        CHECK(total(f, "act_static", 1) == (round != 2) && total(f, "act_static",
                                                                 0) == 1 + (round == 3));
        CHECK(total(f, "act_mxfp4", 1) == (round == 2) && total(f, "act_mxfp4", 0) == (round > 1));
        vq_graph_free(&g);
    }
    memset(few, 0, sizeof few);
    CHECK(vq_fuser_counts(f, few, 2) == vq_fuser_counts(f, NULL, 0));
    CHECK(!strcmp(few[0].pattern, "rms_twice") && !strcmp(few[0].pass, "norm_quant"));
    vq_fuser_free(f);
    vq_free(cpu);
}

static uint64_t hash_of(const char *passes, const vq_pattern *more, int on, int64_t least)
{
    vq_fuser *f = fuser(passes);
    uint64_t h;
    CHECK(vq_fuser_pass(f, "mine", on, least, 0, &why) == VQ_OK);
    if (more) CHECKF(vq_fuser_pattern(f, "mine", more, &why) == VQ_OK, "%s", why.text);
    h = vq_fuser_hash(f);
    CHECK(h == vq_fuser_hash(f));
    vq_fuser_free(f);
    return h;
}

static void the_hash_changes_with_whatever_changes_a_result(void)
{
    static const vq_pattern a = ONE("a", "act act=silu x=x y=y", "cast x=x y=y"),
        name = ONE("b", "act act=silu x=x y=y", "cast x=x y=y"),
        match = ONE("a", "act act=gelu x=x y=y", "cast x=x y=y"),
        replace = ONE("a", "act act=silu x=x y=y", "cast overflow=nonfinite x=x y=y"),
        guarded = { "a", "act act=silu x=x y=y", "cast x=x y=y", no_never, NULL };
    const uint64_t h[] = {
        hash_of(NULL, NULL, 1, 0), hash_of("act_quant norm_quant", NULL, 1, 0),
            hash_of("act_quant", NULL, 1, 0),
        hash_of(NULL, NULL, 0, 0), hash_of(NULL, NULL, 1, 1), hash_of(NULL, &a, 1, 0),
            hash_of(NULL, &name, 1, 0),
        hash_of(NULL, &match, 1, 0), hash_of(NULL, &replace, 1, 0), hash_of(NULL, &guarded, 1, 0),
    };
    char *text;
    vq_fuser *f = fuser(NULL);
    vq_ctx *cpu = context(NULL, 0);
    vq_graph g = example("llama");
    const uint64_t was = vq_fuser_hash(f);
    int i, j, n;
    for (i = 0; i < VQ__COUNT(h); i++)
        for (j = 0; j < i; j++) CHECKF(h[i] != h[j], "%d and %d", i, j);
    CHECK(hash_of(NULL, &a, 1, 0) == h[5] && hash_of("norm_quant act_quant", NULL, 1, 0) == h[0]);
    fuse(f, cpu, &g);
    CHECK(vq_fuser_hash(f) == was);                /* what was counted has no part in it */
    n = vq_fuser_print(f, NULL, 0);
    text = (char *)malloc((size_t)n + 1);
    CHECK(vq_fuser_print(f, text, (size_t)n + 1) == n && (int)strlen(text) == n);
    CHECK(strstr(text, "pass norm_quant, on, rows 0 to 0") && strstr(text, "pattern act_nvfp4")
          && strstr(text, "\nbecomes\nact_mul_quant key=$k"));
    free(text);
    vq_graph_free(&g);
    vq_fuser_free(f);
    vq_free(cpu);
}

/* --- the run ---------------------------------------------------------------- */

/* Every byte of what is read, and the node's own number, into every byte that is made. */
static vq_status stir(void *user, const vq_ctx *ctx, void *stream, const vq_tensor *t, int reads,
                      int makes)
{
    uint32_t h = 2166136261u;
    int i;
    int64_t j;
    (void)ctx;
    (void)stream;
    ++*(int *)user;
    for (i = 0; i < reads; i++)
        for (j = 0; j < vq_tensor_bytes(t[i]); j++) h = (h ^ ((const uint8_t *)t[i].data)[j]) * 16777619u;
    for (; i < reads + makes; i++)
        for (j = 0; j < vq_tensor_bytes(t[i]) / 2; j++) {
            uint16_t v;
            h = h * 1664525u + 1013904223u;
            v = vq_bf16_from_f32((float)(int32_t)h * 0x1p-30f, VQ_SATURATE);
            memcpy((char *)t[i].data + 2 * j, &v, 2);
        }
    return VQ_OK;
}

static void bind_all(vq_graph *g, int *ran)
{
    int i;
    for (i = 0; i < g->nodes; i++) if (!g->node[i].op) vq_graph_bind(g, g->node[i].name, stir, ran);
}

/* The plain way: no value shares memory, what is changed in place is copied before. */
static void run_apart(const vq_graph *g, vq_ctx *cpu, void *const *data)
{
    int i, j, k, n;
    for (i = 0; i < g->nodes; i++) {
        const vq_node *node = &g->node[i];
        const vq_field *f = vq_op_fields(node->op, &n);
        vq_tensor t[VQ_NODE_VALUES];
        vq_any_args a;
        vq_choice choice;
        void *work;
        memset(&a, 0, sizeof a);
        if (node->op) a = node->args;
        for (j = 0; j < node->reads + node->makes; j++) {
            t[j] = g->value[node->value[j]].t;
            t[j].data = data[node->value[j]];
            if (!node->op) continue;
            for (k = 0; k < node->reads && j >= node->reads; k++)
                if (node->field[k] == node->field[j])
                    memcpy(t[j].data, t[k].data, (size_t)vq_tensor_bytes(t[k]));
            memcpy(a.bytes + f[node->field[j]].offset, &t[j], sizeof t[j]);
        }
        if (!node->op) { CHECK(node->run(node->user, cpu, NULL, t, node->reads,
                                         node->makes) == VQ_OK); continue; }
        a.call.report = &why;
        CHECKF(vq_plan(cpu, node->op, a.bytes, &choice) == VQ_OK, "%s", why.text);
        work = malloc(choice.workspace_bytes + 16);
        a.call.workspace = work;
        a.call.workspace_bytes = choice.workspace_bytes;
        CHECKF(vq_run(cpu, &choice, a.bytes) == VQ_OK, "%s", why.text);
        free(work);
    }
}

static void make_inputs(const vq_graph *g, void **data)
{
    int i;
    int64_t j;
    for (i = 0; i < g->values; i++) {
        const vq_tensor *t = &g->value[i].t;
        const int64_t n = vq_tensor_bytes(*t);
        data[i] = malloc((size_t)n + 16);
        memset(data[i], 0x3c, (size_t)n);
        for (j = 0; g->value[i].in && j < n * 8 / vq_dtype_bits(t->dtype); j++) {
            const uint32_t c = vq_encode(t->dtype, t_randf(0.1f, 2.0f), VQ_SATURATE);
            memcpy((char *)data[i] + j * vq_dtype_bits(t->dtype) / 8, &c,
                   (size_t)vq_dtype_bits(t->dtype) / 8);
        }
    }
}

/* Runs g as planned, the arena full of `poison`, beside run_apart(); 1 if all outputs agree. */
static int agrees(const vq_graph *g, vq_ctx *cpu, int poison)
{
    void **apart = (void **)calloc((size_t)g->values + 1, sizeof *apart);
    void **planned = (void **)calloc((size_t)g->values + 1, sizeof *planned);
    vq_graph_plan p = VQ_ZERO;
    char *arena;
    int i, same = 1;
    CHECKF(vq_graph_plan_make(g, cpu, &p, words, sizeof words) == VQ_OK, "%s", words);
    make_inputs(g, apart);
    for (i = 0; i < g->values; i++) {
        const size_t n = (size_t)vq_tensor_bytes(g->value[i].t);
        if (!g->value[i].in && !g->value[i].out) continue;
        planned[i] = malloc(n + 1);
        if (g->value[i].in) memcpy(planned[i], apart[i], n);
        else memset(planned[i], ~poison, n);
    }
    arena = (char *)malloc((size_t)p.bytes + 256);
    memset(arena, poison, (size_t)p.bytes + 256);
    CHECKF(vq_graph_run(g, &p, cpu, NULL, planned, arena, words, sizeof words) == VQ_OK, "%s",
           words);
    for (i = 0; i < 256; i++) CHECK((unsigned char)arena[p.bytes + i] == poison);
    run_apart(g, cpu, apart);
    for (i = 0; i < g->values; i++) {
        const size_t n = (size_t)vq_tensor_bytes(g->value[i].t);
        if (planned[i] && memcmp(planned[i], apart[i], n)) {     /* inputs, too: they are not written */
            printf("\n    %s differs", g->value[i].name);
            same = 0;
        }
        CHECK((p.at[i] < 0) == (g->value[i].in || g->value[i].out));
        CHECK(p.at[i] < 0 || (!(p.at[i] & 255) && p.at[i] + (int64_t)n <= p.work));
        free(apart[i]);
        free(planned[i]);
    }
    CHECK(p.work <= p.bytes);
    free(arena);
    free(apart);
    free(planned);
    vq_graph_plan_free(&p);
    return same;
}

static void examples_run_as_with_memory_of_their_own(void)
{
    vq_ctx *cpu = context(NULL, 0);
    int i, fused, ran = 0;
    for (i = 0; i < 3; i++) {
        vq_graph g = example(examples[i]);
        vq_fuser *f = fuser(NULL);
        for (fused = 0; fused < 2; fused++) {
            const int opaque = nodes_of(&g, VQ_OP_NONE, NULL);
            bind_all(&g, &ran);
            ran = 0;
            CHECKF(agrees(&g, cpu, 0xff) && agrees(&g, cpu, 0x00), "%s", examples[i]);
            CHECK(ran == 4 * opaque);
            if (!fused) fuse(f, cpu, &g);
        }
        vq_graph_free(&g);
        vq_fuser_free(f);
    }
    vq_free(cpu);
}

/* Chains with branches, residuals that live on, and values that nobody reads. */
static void random_graph(char *text, size_t size)
{
    int n = 4 + (int)(t_rand() % 24), i, used, made = 2;
    used = snprintf(text, size, "in v0 bf16 3x64\nin out v1 bf16 3x64\n");
    for (i = 0; i < n; i++) {
        const int a = (int)(t_rand() % (uint32_t)made), b = (int)(t_rand() % (uint32_t)made),
            v = made;
        const int near_end = made - 1 - (int)(t_rand() % 2), out = t_rand() % 5 == 0 || i == n - 1;
        used += snprintf(text + used, size - (size_t)used, "%sv%d bf16 3x64\n", out ? "out " : "",
                         made++);
        switch (t_rand() % 5) {
        case 0:
            used += snprintf(text + used, size - (size_t)used, "act act=silu x=v%d y=v%d\n",
                             near_end, v);
            break;
        case 1:
            used += snprintf(text + used, size - (size_t)used, "rms_norm eps=1e-6 x=v%d y=v%d\n",
                             a, v);
            break;
        case 2:
        case 3:                                    /* x may be the residual itself */
            used += snprintf(text + used, size - (size_t)used, "%sv%d bf16 3x64\n"
                             "rms_norm eps=1e-6 x=v%d residual=v%d:v%d y=v%d\n", t_rand() % 4 ? ""
                                 : "out ",
                             made, t_rand() % 8 ? a : near_end, near_end, made, v);
            made++;
            break;
        default:
            used += snprintf(text + used, size - (size_t)used, "@stir v%d v%d -> v%d\n", a, b, v);
        }
    }
}

static void values_that_live_at_once_never_share_memory(void)
{
    static char text[1 << 14];
    vq_ctx *cpu = context(NULL, 0);
    int round, ran = 0;
    for (round = 0; round < 300 && !t_failed; round++) {
        vq_graph g;
        random_graph(text, sizeof text);
        g = parsed(text);
        bind_all(&g, &ran);
        CHECKF(agrees(&g, cpu, 0xff), "round %d\n%s", round, text);
        vq_graph_free(&g);
    }
    vq_free(cpu);
}

static void x_may_be_the_residual_itself(void)
{
    vq_ctx *cpu = context(NULL, 0);
    int ran = 0;
    vq_graph g = parsed("in a bf16 3x64\nb bf16 3x64\nt bf16 3x64\nout y bf16 3x64\nout o bf16 3x64\n"
                        "@f a -> b\nrms_norm eps=0 x=b residual=b:t y=y\n@g t -> o\n");
    bind_all(&g, &ran);
    CHECK(agrees(&g, cpu, 0xff));
    vq_graph_free(&g);
    vq_free(cpu);
}

static void a_chain_needs_memory_for_two(void)
{
    vq_ctx *cpu = context(NULL, 0);
    vq_graph g = parsed("in a f32 16x64\nb f32 16x64\nc f32 16x64\nd f32 16x64\ne f32 16x64\n"
                        "out z f32 16x64\n"
                        "act act=silu x=a y=b\nact act=silu x=b y=c\nact act=silu x=c y=d\n"
                        "act act=silu x=d y=e\nact act=silu x=e y=z\n");
    vq_graph_plan p;
    CHECKF(vq_graph_plan_make(&g, cpu, &p, words, sizeof words) == VQ_OK, "%s", words);
    CHECKF(p.work == 2 * 16 * 64 * 4 && p.bytes == p.work, "%d", (int)p.bytes);
    vq_graph_plan_free(&p);
    vq_graph_free(&g);
    /* in place: one residual all the way */
    g = parsed("in a f32 16x64\nr0 f32 16x64\nr1 f32 16x64\nr2 f32 16x64\nout y1 f32 16x64\n"
               "out y2 f32 16x64\n"
               "out z f32 16x64\n@f a -> r0\nrms_norm eps=0 x=a residual=r0:r1 y=y1\n"
               "rms_norm eps=0 x=a residual=r1:r2 y=y2\nact act=silu x=r2 y=z\n");
    CHECKF(vq_graph_plan_make(&g, cpu, &p, words, sizeof words) == VQ_OK, "%s", words);
    CHECKF(p.work == 16 * 64 * 4, "%d", (int)p.work);
    vq_graph_plan_free(&p);
    vq_graph_free(&g);
    vq_free(cpu);
}

/* What was fused stands where its nodes stood: everything else runs in the order it did. */
static void fusing_takes_no_more_memory(void)
{
    vq_ctx *cpu = context(NULL, 0);
    int i;
    for (i = 0; i < 3; i++) {
        vq_graph g = example(examples[i]);
        vq_graph_plan was, is;
        vq_fuser *f = fuser(NULL);
        CHECK(vq_graph_plan_make(&g, cpu, &was, words, sizeof words) == VQ_OK);
        fuse(f, cpu, &g);
        CHECK(vq_graph_plan_make(&g, cpu, &is, words, sizeof words) == VQ_OK);
        CHECKF(is.bytes <= was.bytes, "%s: %d bytes before, %d after", examples[i], (int)was.bytes,
               (int)is.bytes);
        vq_graph_plan_free(&was);
        vq_graph_plan_free(&is);
        vq_graph_free(&g);
        vq_fuser_free(f);
    }
    vq_free(cpu);
}

static const vq_graph *seen_graph;
static void *const    *seen_data;

static vq_status look(void *user, const vq_ctx *ctx, void *stream, const vq_tensor *t, int reads,
                      int makes)
{
    const vq_value *v = seen_graph->value;
    CHECK(user == &rows && ctx && stream == (void *)words && reads == 2 && makes == 1);
    CHECK(t[0].dtype == v[1].t.dtype && t[0].shape[1] == 7 && t[1].rank == 1 && t[2].rank == 2);
    CHECK(t[0].data == seen_data[1] && t[1].data == seen_data[0] && t[2].data == seen_data[2]);
    CHECK(t[2].where == VQ_HOST);
    return VQ_UNSUPPORTED;
}

static void an_opaque_node_gets_its_tensors_in_order(void)
{
    vq_ctx *cpu = context(NULL, 0), *gpu;
    vq_graph g = parsed("in a f32 5\nin b f16 3x7\nout c bf16 2x2\n@f b a -> c\n"), h;
    vq_graph_plan p;
    char a[20], b[42], c[8];
    void *data[3];
    data[0] = a;
    data[1] = b;
    data[2] = c;
    CHECK(vq_graph_plan_make(&g, cpu, &p, words, sizeof words) == VQ_OK && p.bytes == 0);
    CHECK(vq_graph_run(&g, &p, cpu, NULL, data, NULL, words, sizeof words) == VQ_BAD_ARG);
    CHECKF(!strcmp(words, "@f has no function"), "%s", words);
    CHECK(vq_graph_bind(&g, "f", look, &rows) == 1);
    seen_graph = &g;
    seen_data = data;
    CHECK(vq_graph_run(&g, &p, cpu, words, data, NULL, words, sizeof words) == VQ_UNSUPPORTED);
    CHECKF(!strcmp(words, "@f failed"), "%s", words);
    vq_graph_plan_free(&p);
    vq_graph_free(&g);

    h = parsed(FFN);                               /* for a machine that is not here: planned, not run */
    gpu = context("gfx942", 0);
    CHECKF(vq_graph_plan_make(&h, gpu, &p, words, sizeof words) == VQ_OK && p.bytes > 0, "%s",
           words);
    {
        static char room[8][4096];
        void *at[4];
        int i;
        for (i = 0; i < 4; i++) at[i] = room[i];
        CHECK(vq_graph_run(&h, &p, gpu, NULL, at, room[4], words, sizeof words) == VQ_UNSUPPORTED);
        CHECKF(strstr(words, "was only assumed") != NULL, "%s", words);
    }
    vq_graph_plan_free(&p);
    vq_graph_free(&h);
    vq_free(gpu);
    vq_free(cpu);
}

static void what_the_device_refuses_names_the_node(void)
{
    vq_ctx *vq = context("gfx942", VQ_FORBID_UNPROVEN);
    vq_graph g = parsed(FFN);
    vq_graph_plan p;
    int i;
    CHECK(vq_graph_plan_make(&g, vq, &p, words, sizeof words) == VQ_UNSUPPORTED);
    CHECKF(!strncmp(words, "line 5: ", 8) && strstr(words, "proven only"), "%s", words);
    for (i = 0; i < g.nodes; i++) g.node[i].line = 0;        /* as calls make them */
    CHECK(vq_graph_plan_make(&g, vq, &p, words, sizeof words) == VQ_UNSUPPORTED);
    CHECKF(words[0] != ':' && words[0] != ' ', "%s", words);
    vq_graph_free(&g);
    vq_free(vq);
}

/* --- the check itself ----------------------------------------------------------- */

static void a_fault_is_found(void)
{
    static const struct { vq_op op; const char *field, *value, *says; } fault[] = {
        { VQ_OP_ACT_MUL_QUANT, "key", "int8_token", NULL },  /* refused: q has another type */
        { VQ_OP_ACT_MUL_QUANT, "key", "float8_e4m3fn/f32/1x-1/dyn/amax.rceil448/x.div.s", "byte" },
        { VQ_OP_ACT_MUL_QUANT, "act", "gelu", "byte" },
        { VQ_OP_ACT_MUL_QUANT, "limit", "0.5", "byte" },
        { VQ_OP_ACT_MUL_QUANT, "mid", "f32", "byte" },
        { VQ_OP_RMS_NORM_QUANT, "eps", "0.5", "byte" },
        { VQ_OP_RMS_NORM_QUANT, "plus_one", "1", "byte" },
        { VQ_OP_RMS_NORM_QUANT, "mid", "f32", "byte" },
    };
    static const char text[] = FFN "in a bf16 8x256\nin w bf16 256\nb bf16 8x256\nout p float8_e4m3fn 8x256\n"
        "out u f32 8x1\nrms_norm eps=1e-6 x=a weight=w y=b\nquant key=fp8_token x=b q=p scale=u\n";
    vq_ctx *cpu = context(NULL, 0);
    vq_graph was = parsed(text), g;
    vq_fuser *f = fuser(NULL);
    int i, j, n;
    for (i = 0; i < VQ__COUNT(fault); i++) {
        int64_t bytes;
        const vq_field *field = vq_op_fields(fault[i].op, &n);
        CHECK(vq_graph_copy(&was, &g) == VQ_OK);
        fuse(f, cpu, &g);
        CHECK(matches == 2);
        CHECK(vq_graph_same(&was, &g, cpu, VQ_INPUT_RANDOM, 1, NULL, &bytes, words,
                            sizeof words) == VQ_OK);
        CHECK(bytes == 4 * 256 + 4 * 4 + 8 * 256 + 8 * 4);
        for (j = 0; j < g.nodes && g.node[j].op != fault[i].op; j++) {}
        while (strcmp(field->name, fault[i].field)) field++;
        CHECK(vq_field_read(field, fault[i].value, g.node[j].args.bytes));
        words[0] = 0;
        CHECKF(vq_graph_same(&was, &g, cpu, VQ_INPUT_RANDOM, 1, NULL, &bytes, words,
                             sizeof words) == VQ_BAD_ARG,
               "case %d", i);
        CHECKF(!fault[i].says || (strstr(words, fault[i].says) && strchr("qspu", words[0])
                                  && words[1] == ':'),
               "case %d: %s", i, words);
        vq_graph_free(&g);
    }
    vq_graph_free(&was);
    vq_fuser_free(f);
    vq_free(cpu);
}

static void graphs_of_other_ends_are_not_the_same(void)
{
    static const char *const other[] = {
        FFN "in more f32 4\n", FFN "out more f32 4\n@f x -> more\n",
        "in x bf16 4x512\ny bf16 4x256\nout q float8_e4m3fn 4x256\ns f32 4x1\n" FFN_NODES,
        "in x f16 4x512\ny f16 4x256\nout q float8_e4m3fn 4x256\nout s f32 4x1\n" FFN_NODES,
        "in x bf16 4x512\ny bf16 4x256\nout q float8_e4m3fn 4x256\nout ss f32 4x1\nact_mul act=silu x=x y=y\n"
        "quant key=fp8_token x=y q=q scale=ss\n",
    };
    vq_ctx *cpu = context(NULL, 0);
    vq_graph g = parsed(FFN);
    int64_t bytes;
    int i;
    for (i = 0; i < VQ__COUNT(other); i++) {
        vq_graph h = parsed(other[i]);
        CHECKF(vq_graph_same(&g, &h, cpu, VQ_INPUT_RANDOM, 1, NULL, &bytes, words,
                             sizeof words) == VQ_BAD_ARG,
               "case %d", i);
        CHECKF(vq_graph_same(&h, &g, cpu, VQ_INPUT_RANDOM, 1, NULL, &bytes, words,
                             sizeof words) == VQ_BAD_ARG,
               "case %d, the other way", i);
        vq_graph_free(&h);
    }
    vq_graph_free(&g);
    vq_free(cpu);
}

static const void *give(void *user, const vq_value *v)
{
    static const float x[2] = { 1.0f, 0x1.00c0p0f };         /* the second rounds down: ...6000 */
    CHECK(user == (void *)words && vq_tensor_bytes(v->t) == 8 && v->name[0] == 'x');
    return x;
}

static void the_first_byte_that_differs_is_named(void)
{
    vq_ctx *cpu = context(NULL, 0);
    const vq_graph_given given = { give, words };
    vq_graph g = parsed("in x f32 2\nout y f32 2\ncast x=x y=y\n");
    vq_graph h = parsed("in x f32 2\nm bf16 2\nout y f32 2\ncast x=x y=m\ncast x=m y=y\n");
    unsigned x = 0, y = 0;
    long long at = -1;
    int64_t bytes;
    int got;
    CHECK(vq_graph_same(&g, &h, cpu, VQ_INPUT_GIVEN, 1, &given, &bytes, words,
                        sizeof words) == VQ_BAD_ARG);
    got = sscanf(words, "y: byte %lld is 0x%x and 0x%x", &at, &x, &y);
    CHECKF(got == 3 && at == 5 && x == 0x60 && y == 0, "%s", words);
    vq_graph_free(&g);
    vq_graph_free(&h);
    vq_free(cpu);
}

/* Between columns that are aligned for TMA lie bytes that nobody writes: no difference. */
static void gaps_between_columns_are_no_difference(void)
{
    vq_ctx *cpu = context(NULL, 0);
    vq_graph g = parsed("in x bf16 5x512\ny bf16 5x256\nq float8_e4m3fn 5x256\ns f32 5x2 columns_tma\n"
                        "out o bf16 5x256\nout z bf16 5x256\na bf16 5x256\n@pre x -> a\n"
                        "act act=silu x=a y=z\nact_mul act=silu x=x y=y\n"
                        "quant key=fp8_group128 x=y q=q scale=s\n@gemm q s -> o\n"), was;
    vq_fuser *f = fuser(NULL);
    CHECK(vq_graph_copy(&g, &was) == VQ_OK);
    fuse(f, cpu, &g);
    CHECK(matches == 1 && equal(&was, &g, cpu));
    vq_graph_free(&g);
    vq_graph_free(&was);
    vq_fuser_free(f);
    vq_free(cpu);
}

/* --- no memory ---------------------------------------------------------------- */

static void without_memory_nothing_is_lost(void)
{
    char *text = file_text("deepseek");
    vq_ctx *cpu = context(NULL, 0);
    vq_graph was = parsed(text), g = VQ_ZERO;
    int step, tries, done;
    long n;
    for (step = 0; step < 6; step++) {
        for (n = 0, done = 0, tries = 0; !done && n < 4000; n += n < 200 ? 1 : 37, tries++) {
            const long held = alive;
            vq_fuser *f = NULL;
            vq_graph_plan p = VQ_ZERO;
            int64_t bytes;
            vq_status s = VQ_OK;
            long inner = held;
            if (step > 1) CHECK(vq_graph_copy(&was, &g) == VQ_OK);
            if (step == 2) f = fuser(NULL);
            inner = alive;
            calls = 0;
            fail_at = n;
            switch (step) {
            case 0: s = vq_graph_parse(text, &g, words, sizeof words); break;
            case 1: s = vq_fuser_new(NULL, &f, &why); break;
            case 2: s = vq_fuse(f, cpu, &g, rows, ROWS, &count, &why); break;
            case 3: s = vq_graph_plan_make(&g, cpu, &p, words, sizeof words); break;
            case 4: s = vq_graph_same(&was, &g, cpu, VQ_INPUT_RANDOM, 1, NULL, &bytes, words,
                                      sizeof words); break;
            default: s = vq_graph_check(&g, &why);
            }
            done = calls <= n;
            fail_at = -1;
            CHECKF(s == (done ? VQ_OK : VQ_OUT_OF_MEMORY), "step %d, call %ld: %d", step, n,
                   (int)s);
            if (s) CHECKF(alive == inner, "step %d, call %ld: %ld held", step, n, alive - inner);
            if (s && step > 1) CHECK(same_text(&g, &was));
            if (s && step == 1) CHECK(!f);
            if (s && step == 2) CHECK(!count && total(f, "rms_twice", 0) == 0);
            if (s && (step == 0 || step == 3 || step == 4)) CHECK(words[0]);
            if (s && step == 0) CHECK(!g.value && !g.node);
            vq_graph_plan_free(&p);
            vq_fuser_free(f);
            vq_graph_free(&g);
            CHECKF(alive == held, "step %d, call %ld: %ld held", step, n, alive - held);
        }
        CHECKF(done && tries > (step == 5 ? 1 : 2), "step %d: %d", step, tries);
    }
    vq_graph_free(&was);
    vq_free(cpu);
    free(text);
}

/* --- the tool ----------------------------------------------------------------- */

static int tool(const char *args, char *out, size_t size)
{
    char line[512];
    size_t n;
    FILE *p;
    snprintf(line, sizeof line, "build/vq fuse %s 2>&1", args);
    p = popen(line, "r");
    if (!p) return -1;
    n = fread(out, 1, size - 1, p);
    out[n] = 0;
    return pclose(p);
}

static void the_tool_prints_a_receipt_a_graph_and_a_check(void)
{
    static char out[1 << 16];
    vq_graph g, h;
    vq_fuser *f;
    vq_ctx *cpu;
    int i, t;
    char line[200];
    if (access("build/vq", X_OK)) SKIP("needs build/vq");
    for (i = 0; i < 3; i++)
        for (t = 0; t < VQ__COUNT(targets); t++) {
            snprintf(line, sizeof line, "examples/graphs/%s.txt --check %s%s", examples[i],
                     targets[t] ? "--device " : "--backend cpu", targets[t] ? targets[t] : "");
            CHECKF(tool(line, out, sizeof out) == 0 && strstr(out, "check   equal: "), "%s: %s",
                   line, out);
            CHECKF(strstr(out, "all     fused ") && strstr(out, "memory  between: "), "%s", out);
            CHECKF((strstr(out, " us at ") != NULL) == (targets[t] != NULL), "%s", out);
        }
    cpu = context(NULL, 0);
    f = fuser(NULL);
    g = example("deepseek");
    fuse(f, cpu, &g);
    CHECK(tool("examples/graphs/deepseek.txt --print --backend cpu", out, sizeof out) == 0);
    h = parsed(out);
    CHECK(same_text(&h, &g));
    CHECK(tool("examples/graphs/deepseek.txt --dot", out, sizeof out) == 0
          && !strncmp(out, "digraph", 7));
    CHECK(tool("examples/graphs/deepseek.txt --dump", out, sizeof out) == 0);
    snprintf(line, sizeof line, "hash %016llx", (unsigned long long)vq_fuser_hash(f));
    CHECKF(strstr(out, line) != NULL, "%s", line);
    CHECK(tool("examples/graphs/nosuch.txt", out, sizeof out) != 0
          && strchr(out, '\n') == strrchr(out, '\n'));
    CHECK(tool("examples/graphs/llama.txt --passes nosuch", out, sizeof out) != 0
          && strstr(out, "nosuch"));
    CHECK(tool("vq.h", out, sizeof out) != 0);
    CHECKF(strstr(out, "vq.h: line 1, column ") && strchr(out, '\n') == strrchr(out, '\n'), "%s",
           out);
    vq_graph_free(&g);
    vq_graph_free(&h);
    vq_fuser_free(f);
    vq_free(cpu);
}

/* What --check is given in a file; and what the file lacks. */
static void the_tool_checks_on_inputs_that_are_given(void)
{
    static const char text[] = "in x bf16 4x512\ny bf16 4x256\nout q float8_e4m3fn 4x256\nout s f32 4x1\n"
                               "act_mul act=silu x=x y=y\nquant key=fp8_token x=y q=q scale=s\n";
    static const char *const heads[] = {
        "{\"x\":{\"dtype\":\"BF16\",\"shape\":[4,512],\"data_offsets\":[0,4096]}}",
        "{\"z\":{\"dtype\":\"BF16\",\"shape\":[4,512],\"data_offsets\":[0,4096]}}",
        "{\"x\":{\"dtype\":\"BF16\",\"shape\":[2,1024],\"data_offsets\":[0,4096]}}",
        "{\"x\":{\"dtype\":\"F32\",\"shape\":[4,256],\"data_offsets\":[0,4096]}}",
        "{\"x\":{\"dtype\":\"BF16\",\"shape\":[4,256],\"data_offsets\":[0,2048]}}",
    };
    static char out[1 << 14], data[4096];
    int i, j;
    if (access("build/vq", X_OK)) SKIP("needs build/vq");
    for (i = 0; i < VQ__COUNT(heads); i++) {
        const uint64_t n = strlen(heads[i]);
        FILE *f = fopen("build/given.txt", "wb");
        CHECK(f && fwrite(text, 1, sizeof text - 1, f) == sizeof text - 1 && !fclose(f));
        f = fopen("build/given.safetensors", "wb");
        for (j = 0; j < 4096; j++) data[j] = (char)(j % 2 ? 0x3f : j / 2);
        CHECK(f && fwrite(&n, 8, 1, f) == 1 && fwrite(heads[i], 1, n, f) == n);
        CHECK(f && fwrite(data, 1, i == 4 ? 2048 : 4096, f) > 0 && !fclose(f));
        j = tool("build/given.txt --check --backend cpu -i build/given.safetensors", out, sizeof out);
        if (i) CHECKF(j && strstr(out, i == 1 ? "no tensor x" : "tensor x: "), "%d: %s", i, out);
        else CHECKF(!j && strstr(out, "and those given"), "%s", out);
    }
    remove("build/given.txt");
    remove("build/given.safetensors");
}

VQ_TEST_MAIN(
    T(what_is_printed_reads_back_as_the_same), T(numbers_and_keys_read_back_to_the_bit),
    T(lines_may_stand_in_any_order), T(every_bad_line_is_named_with_its_column),
    T(a_word_of_256_characters_is_too_long), T(a_graph_that_cannot_be_satisfied_names_the_value),
    T(the_value_after_has_the_type_and_shape_of_the_one_before), T(junk_and_nothing_end_quietly),
    T(words_that_do_not_fit_are_cut), T(the_drawing_has_every_value_and_node),
    T(calls_make_what_text_makes), T(what_calls_refuse_leaves_the_graph_alone),
    T(scales_of_rank_3_lie_as_their_planes_do),
    T(a_name_binds_every_opaque_node_of_it), T(examples_fuse_as_often_as_expected_on_every_target),
    T(what_never_ran_on_a_device_is_not_put_where_that_is_forbidden),
    T(every_preset_and_every_order_of_scales_is_fused_and_stays_the_same),
    T(bytes_and_launches_saved_are_those_of_what_lies_between),
        T(of_two_that_match_the_longer_is_taken),
    T(the_longer_pattern_wins),
    T(every_near_miss_says_what_was_found_and_what_was_needed), T(rows_outside_a_pass_are_left),
    T(what_would_wait_for_itself_is_not_fused), T(a_receipt_may_be_cut),
    T(fuse_refuses_what_is_missing_or_broken), T(a_pattern_of_ones_own_is_matched),
    T(values_made_outside_the_match_are_not_dropped), T(patterns_that_mean_nothing_are_refused),
    T(patterns_that_rival_each_other_are_refused), T(the_same_number_twice_is_the_same_number),
    T(rivals_are_found_in_either_order),
    T(patterns_that_feed_each_other_for_ever_are_refused), T(passes_have_one_turn_each),
    T(a_pass_holds_64_patterns), T(a_name_stands_for_one_kind_of_field),
    T(passes_run_in_their_order), T(passes_are_named_and_turned_off),
    T(counts_are_of_the_last_graph_and_of_all), T(the_hash_changes_with_whatever_changes_a_result),
    T(examples_run_as_with_memory_of_their_own), T(values_that_live_at_once_never_share_memory),
    T(x_may_be_the_residual_itself), T(a_chain_needs_memory_for_two),
    T(fusing_takes_no_more_memory), T(an_opaque_node_gets_its_tensors_in_order),
    T(what_the_device_refuses_names_the_node), T(a_fault_is_found),
    T(graphs_of_other_ends_are_not_the_same), T(the_first_byte_that_differs_is_named),
    T(gaps_between_columns_are_no_difference), T(without_memory_nothing_is_lost),
    T(the_tool_prints_a_receipt_a_graph_and_a_check),
    T(the_tool_checks_on_inputs_that_are_given))
