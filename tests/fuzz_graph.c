/* fuzz_graph.c - text of a graph, any bytes, through the reader, the passes and the writer

   usage: fuzz_graph --seeds DIR     writes graphs to begin with: those of examples/graphs
          fuzz_graph DIR ...         libFuzzer

   What is refused names a line and a column, or a value. What is read prints as text that reads
   back the same. What the passes make of it reads back, too, saves what the receipt says, and,
   where it is small, makes the same bytes. Nothing stays allocated. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long alive;

static void *counted(size_t n)
{
    void *p = malloc(n);
    alive += p != NULL;
    return p;
}

static void uncounted(void *p)
{
    alive -= p != NULL;
    free(p);
}

#define VQ_MALLOC(n) counted(n)
#define VQ_FREE(p)   uncounted(p)
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "../examples/vq/graph.h"
#include "../examples/vq/graph_text.c"
#include "../examples/vq/graph_run.c"

static char words[1024];
static long accepted, refused, fused, missed, compared;

static __attribute__((noreturn)) void broken(const char *what, const char *text)
{
    fprintf(stderr, "\nfuzz_graph: %s\n    the last words were: %s\n%s\n", what, words, text);
    abort();
}

#define HOLDS(cond, text) do { if (!(cond)) broken(#cond, text); } while (0)

static char *printed(const vq_graph *g)
{
    const int n = vq_graph_print(g, NULL, 0);
    char *text = (char *)malloc((size_t)n + 1);
    HOLDS(text && vq_graph_print(g, text, (size_t)n + 1) == n && strlen(text) == (size_t)n, "");
    return text;
}

/* Its text reads back as the same graph. */
static void check_text(const vq_graph *g)
{
    char *text = printed(g), *again;
    const int n = vq_graph_dot(g, NULL, 0);
    vq_graph h = VQ_ZERO;
    HOLDS(n > 0, text);
    HOLDS(vq_graph_parse(text, &h, words, sizeof words) == VQ_OK, text);
    again = printed(&h);
    HOLDS(!strcmp(text, again), text);
    vq_graph_free(&h);
    free(again);
    free(text);
}

static void check_links(const vq_graph *g, const char *text)
{
    int i, j;
    for (i = 0; i < g->nodes; i++) {
        const vq_node *n = &g->node[i];
        for (j = 0; j < n->reads + n->makes; j++) {
            HOLDS(n->value[j] >= 0 && n->value[j] < g->values, text);
            HOLDS(j < n->reads ? g->value[n->value[j]].maker < i
                  : g->value[n->value[j]].maker == i, text);
        }
    }
    for (i = 0; i < g->values; i++) HOLDS(g->value[i].in == (g->value[i].maker < 0), text);
}

/* Elements of all values together; a limit keeps the runs short. */
static int is_small(const vq_graph *g)
{
    int64_t all = 0;
    int i;
    for (i = 0; i < g->values; i++) {
        const int64_t n = vq_tensor_bytes(g->value[i].t);
        if (n > 4096) return 0;
        all += n;
    }
    return all < 16384;
}

static void check_bytes(const vq_graph *was, const vq_graph *g, vq_ctx *cpu, const char *text)
{
    int64_t bytes;
    int kind;
    for (kind = VQ_INPUT_RANDOM; kind <= VQ_INPUT_NASTY; kind++)
        HOLDS(vq_graph_same(was, g, cpu, kind, 1, NULL, &bytes, words, sizeof words) == VQ_OK,
              text);
    compared++;
}

static void check_fusion(vq_graph *g, const char *text)
{
    static const char *const device[] = { NULL, "gfx942", "sm_90" };
    static vq_ctx *ctx[3];
    static vq_receipt rows[256];
    static char said[1 << 16];
    vq_fuser *f = NULL;
    vq_graph was;
    int i, which, count = -1;
    long launches;
    for (which = 0; which < 3; which++) {
        vq_desc d = VQ_ZERO;
        d.backend = device[which] ? VQ_ANY : VQ_CPU;
        d.assume = device[which];
        HOLDS(ctx[which] || vq_init(&d, &ctx[which]) == VQ_OK, text);
        HOLDS(vq_fuser_new(NULL, &f, NULL) == VQ_OK && vq_graph_copy(g, &was) == VQ_OK, text);
        HOLDS(vq_fuse(f, ctx[which], &was, rows, 256, &count, NULL) == VQ_OK, text);
        HOLDS(vq_receipt_text(rows, count < 256 ? count : 256, said, sizeof said) >= 0, text);
        for (launches = 0, i = 0; i < count && i < 256; i++) {
            launches += rows[i].launches_saved;
            HOLDS(rows[i].matched ? rows[i].launches_saved > 0 : rows[i].why.text[0], text);
            HOLDS(!rows[i].matched || !i || rows[i - 1].matched, text);
            if (rows[i].matched) fused++;
            else missed++;
        }
        HOLDS(count > 256 || g->nodes - was.nodes == launches, text);
        check_links(&was, text);
        check_text(&was);
        if (!which && is_small(g)) check_bytes(g, &was, ctx[0], text);
        vq_graph_free(&was);
        vq_fuser_free(f);
    }
}

/* "line 3, column 7: ...", or what vq_graph_check() says of a value */
static int is_reason(const char *s)
{
    int line, column;
    return sscanf(s, "line %d, column %d: ", &line, &column) == 2 ? line > 0 && column > 0
           : strstr(s, "is made of itself") || strstr(s, "is made by no node");
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    static long context_blocks = -1;
    char *text = (char *)malloc(size + 1);
    vq_graph g = VQ_ZERO;
    const long held = alive;
    if (!text) return 0;
    memcpy(text, in, size);
    text[size] = 0;
    words[0] = 0;
    if (vq_graph_parse(text, &g, words, sizeof words) == VQ_OK) {
        accepted++;
        HOLDS(!words[0], text);
        check_links(&g, text);
        check_text(&g);
        check_fusion(&g, text);
        vq_graph_free(&g);
    } else {
        refused++;
        HOLDS(is_reason(words) && !g.value && !g.node, text);
    }
    if (context_blocks < 0 && alive != held) context_blocks = alive - held;       /* the contexts stay */
    else HOLDS(alive == held, text);
    free(text);
    return 0;
}

/* --- graphs to begin with ------------------------------------------------------- */

static const char *const small[] = {
    "in x bf16 2x64\ny bf16 2x32\nout q float8_e4m3fn 2x32\nout s float8_e8m0fnu 2x1\n"
    "act_mul act=silu x=x y=y\nquant key=mxfp8 x=y q=q scale=s\n",
    "in x f16 3x32\nin w f32 32\ny f16 3x32\nout q int8 3x32\nout s f32 3x1\n"
    "rms_norm x=x weight=w eps=1e-6 y=y\nquant key=int8_token x=y q=q scale=s\n",
    "in x bf16 3x64\nin r bf16 3x64\nout t bf16 3x64\ny bf16 3x64\nout q float4_e2m1fn 3x64\n"
    "out s float8_e8m0fnu 3x2 cdna4\nout p float8_e4m3fn 3x64\nin u f32 1x1\n"
    "rms_norm x=x residual=r:t eps=1e-5 y=y\nquant key=mxfp4 x=y q=q scale=s\n"
    "quant key=fp8_static x=y q=p scale=u\n",
    "in x f32 2x8\na f32 2x8\nb f32 2x8\nout c f16 2x8\n@f x -> a\n@g a x -> b\n"
    "cast overflow=nonfinite x=b y=c\n",
};

static int write_seeds(const char *dir)
{
    static const char *const files[] = { "llama", "deepseek", "gpt_oss" };
    char path[400], text[8192];
    size_t i, n;
    FILE *f;
    for (i = 0; i < 7; i++) {
        n = 0;
        snprintf(path, sizeof path, "examples/graphs/%s.txt", files[i < 3 ? i : 0]);
        if (i < 3) {
            f = fopen(path, "rb");
            if (!f) { perror(path); return 1; }
            n = fread(text, 1, sizeof text, f);
            fclose(f);
        } else n = (size_t)snprintf(text, sizeof text, "%s", small[i - 3]);
        snprintf(path, sizeof path, "%s/%d", dir, (int)i);
        f = fopen(path, "wb");
        if (!f || fwrite(text, 1, n, f) != n || fclose(f)) { perror(path); return 1; }
    }
    return 0;
}

static void print_counts(void)
{
    printf("fuzz_graph: accepted %ld refused %ld fused %ld missed %ld compared %ld\n", accepted,
           refused,
           fused, missed, compared);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    if (*argc == 3 && !strcmp((*argv)[1], "--seeds")) exit(write_seeds((*argv)[2]));
    atexit(print_counts);
    return 0;
}
