/* test_graph_gpu.c - graphs on a GPU that is a CPU (test_kernels.c): fused and not, and beside the
   reference, the same bytes */
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "../examples/vq/graph.h"
#include "../examples/vq/graph_run.c"
#include "../examples/vq/graph_text.c"
#include "vq_test.h"

static const char *const libraries[] = { "build/libvq_standin_64.so", "build/libvq_standin_32.so" };
static const char *const texts[] = { "examples/graphs/llama.txt", "examples/graphs/deepseek.txt",
                                     "examples/graphs/gpt_oss.txt" };

static char heard[512];

static void hear(void *user, const char *line) { snprintf((char *)user, sizeof heard, "%s", line); }

static vq_ctx *gpu_of(const char *path)
{
    vq_desc d = VQ_ZERO;
    vq_ctx *vq = NULL;
    d.backend = VQ_HIP;
    d.library = path;
    d.log = hear;
    d.log_user = heard;
    CHECKF(vq_init(&d, &vq) == VQ_OK, "%s: %s", path, heard);
    return vq;
}

static int read_graph(const char *path, vq_graph *g)
{
    static char text[1 << 16], why[512];
    FILE *in = fopen(path, "rb");
    size_t n = in ? fread(text, 1, sizeof text - 1, in) : 0;
    if (in) fclose(in);
    text[n] = 0;
    CHECKF(n > 0 && vq_graph_parse(text, g, why, sizeof why) == VQ_OK, "%s: %s", path, why);
    return g->nodes > 0;
}

/* Every output of g on ctx, of inputs made as vq_graph_same() makes them. */
static int64_t outputs(const vq_graph *g, vq_ctx *vq, int kind, unsigned char *to, int64_t room)
{
    void **data = (void **)calloc((size_t)g->values, sizeof *data);
    char why[512] = "";
    int64_t at = 0;
    int i;
    CHECKF(run_all(g, vq, kind, 7, NULL, data, why, sizeof why) == VQ_OK, "%s", why);
    for (i = 0; i < g->values; i++) {
        const int64_t n = vq_tensor_bytes(g->value[i].t);
        if (g->value[i].out && data[i] && at + n <= room) {
            CHECK(vq_mem_copy(vq, to + at, data[i], (size_t)n) == VQ_OK);
            at += n;
        }
        vq_mem_free(vq, data[i]);
    }
    free(data);
    return at;
}

static void a_gpu_fuses_a_graph_to_the_bytes_of_the_reference(void)
{
    static unsigned char of_cpu[1 << 21], of_gpu[1 << 21];
    vq_desc d = VQ_ZERO;
    vq_ctx *cpu, *gpu;
    vq_fuser *f;
    int lib, t, kind;
    d.backend = VQ_CPU;
    CHECK(vq_init(&d, &cpu) == VQ_OK && vq_fuser_new(NULL, &f, NULL) == VQ_OK);
    for (lib = 0; lib < 2; lib++) {
        if (!(gpu = gpu_of(libraries[lib]))) continue;
        for (t = 0; t < 3; t++) {
            vq_graph g = VQ_ZERO, fused = VQ_ZERO;
            vq_receipt rows[64];
            char why[512] = "";
            int64_t n, bytes;
            int count = 0;
            if (!read_graph(texts[t], &g)) continue;
            CHECK(vq_graph_copy(&g, &fused) == VQ_OK);
            CHECK(vq_fuse(f, gpu, &fused, rows, 64, &count, NULL) == VQ_OK);
            CHECKF(fused.nodes < g.nodes, "%s: nothing fused", texts[t]);
            for (kind = VQ_INPUT_RANDOM; kind <= VQ_INPUT_NASTY; kind++) {
                CHECKF(vq_graph_same(&g, &fused, gpu, kind, 3, NULL, &bytes, why, sizeof why)
                       == VQ_OK, "%s: %s", texts[t], why);
                n = outputs(&g, cpu, kind, of_cpu, sizeof of_cpu);
                CHECK(n > 0 && outputs(&fused, gpu, kind, of_gpu, sizeof of_gpu) == n);
                if (kind == VQ_INPUT_RANDOM)                 /* a NaN may be any */
                    CHECKF(!memcmp(of_cpu, of_gpu, (size_t)n), "%s", texts[t]);
            }
            vq_graph_free(&g);
            vq_graph_free(&fused);
        }
        vq_free(gpu);
    }
    vq_fuser_free(f);
    vq_free(cpu);
}

VQ_TEST_MAIN(T(a_gpu_fuses_a_graph_to_the_bytes_of_the_reference))
