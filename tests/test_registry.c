/* test_registry.c - which implementation runs, and what every other one says

   No GPU: mock_kernels.c is the kernel library, linked in here, and loaded from a file. */
#define _XOPEN_SOURCE 700
#include <stdlib.h>
static int allocations;
static void *counted(size_t n) { allocations++; return malloc(n); }
#define VQ_MALLOC(n) counted(n)
#define VQ_FREE(p)   free(p)
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "mock_kernels.c"
#include "vq_test.h"
#include <pthread.h>
#include <time.h>
#include <unistd.h>

static char said[4096];
static void hear(void *user, const char *line)
{
    (void)user;
    strncat(said, line, sizeof said - strlen(said) - 2);
    strcat(said, "\n");
}

static vq_report why;

/* A context on the mock's device. */
static vq_ctx *start(vq_backend want, const char *arch, vq_status expect)
{
    vq_ctx *vq = NULL;
    vq_desc d = VQ_ZERO;
    memset(&mock, 0, sizeof mock);
    said[0] = 0;
    mock.arch = arch;
    d.backend = want;
    d.log = hear;
    d.report = &why;
    CHECKF(vq_init(&d, &vq) == expect, "%s%s", said, why.text);
    return vq;
}

static float x[256], s[2];
static uint8_t q[256];

static vq_quant_args call(vq_where where, vq_dtype elem)
{
    vq_quant_args a = VQ_ZERO;
    a.key = vq_key_preset(VQ_KEY_FP8_GROUP128);
    if (elem == VQ_E4M3FNUZ) a.key = vq_key_as(a.key, elem, 224.0f);
    a.x = vq_tensor_2d(x, VQ_F32, 1, 256, where);
    a.q = vq_tensor_2d(q, elem, 1, 256, where);
    a.scale = vq_scale_for(&a.key, a.q, VQ_ROWS, s);
    a.call.report = &why;
    return a;
}

static vq_requant_args recall(vq_where where)
{
    static uint8_t out[256];
    static float scale_out[2];
    vq_quant_args was = call(where, VQ_E4M3FN);
    vq_requant_args a = VQ_ZERO;
    a.from = was.key;
    a.q = was.q;
    a.scale = was.scale;
    a.key = vq_key_preset(VQ_KEY_FP8_TOKEN);
    a.q_out = vq_tensor_2d(out, VQ_E4M3FN, 1, 256, where);
    a.scale_out = vq_scale_for(&a.key, a.q_out, VQ_ROWS, scale_out);
    a.call.report = &why;
    return a;
}

static void check_news(const char *words)
{
    vq_desc d = VQ_ZERO;
    vq_ctx *vq = NULL;
    said[0] = 0;
    d.log = hear;
    CHECKF(vq_init(&d, &vq) == VQ_OK && vq_mem_where(vq) == VQ_HOST, "%s", words);
    CHECKF(strstr(said, words) != NULL, "wanted \"%s\" in: %s", words, said);
    vq_free(vq);
    d.backend = VQ_HIP;                                      /* by name it is an error */
    d.report = &why;
    CHECK(vq_init(&d, &vq) == VQ_UNSUPPORTED && !vq);
    CHECKF(why.guard == VQ_GUARD_BACKEND && !strcmp(why.name, "hip"), "%s", why.text);
}

static void a_library_that_does_not_fit_is_news(void)
{
    memset(&mock, 0, sizeof mock);
    check_news("no device 0");
    mock.arch = "gfx1337";
    check_news("gfx1337");
    mock.arch = "gfx942:sramecc+";
    mock_table.archs = "gfx90a gfx950";
    check_news("code for gfx90a gfx950, not for gfx942");
    mock_table.archs = NULL;
    mock_table.abi++;
    check_news("built with VQ_ABI_VERSION 3, needed 2");
    mock_table.abi--;
    mock.null = 1;
    check_news("VQ_ABI_VERSION 0");
    mock.null = 0;
    mock.self_test = 3;
    check_news("fails part 3 of its self-test");
    mock.self_test = -719;
    check_news("cannot run its self-test: unspecified launch failure");
}

static void a_library_that_fits_is_taken(void)
{
    vq_ctx *vq = start(VQ_ANY, "gfx942:sramecc+:xnack-", VQ_OK);
    CHECK(vq_mem_where(vq) == VQ_DEVICE && !strcmp(vq_arch_in(vq), "gfx942:sramecc+:xnack-"));
    CHECK(!strcmp(vq_platform_in(vq).name, "gfx942"));
    CHECKF(strstr(said, "device 0 is gfx942") != NULL, "%s", said);
    vq_free(vq);
}

static void the_cpu_asks_no_library(void)
{
    vq_ctx *vq = start(VQ_CPU, "gfx942", VQ_OK);
    CHECKF(!strcmp(vq_platform_in(vq).name, "cpu") && !strstr(said, "hip"), "%s", said);
    CHECK(!strcmp(vq_arch_in(vq), "cpu") && vq_platform_in(vq).backend == VQ_CPU);
    vq_free(vq);
}

static void a_context_for_the_cpu_starts_within_a_millisecond(void)
{
    double best = 1;
    int i;
    for (i = 0; i < 50; i++) {
        vq_desc d = VQ_ZERO;
        vq_ctx *vq;
        struct timespec a, b;
        double t;
        d.backend = VQ_CPU;
        clock_gettime(CLOCK_MONOTONIC, &a);
        CHECK(vq_init(&d, &vq) == VQ_OK);
        clock_gettime(CLOCK_MONOTONIC, &b);
        vq_free(vq);
        t = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
        if (t < best) best = t;
    }
    CHECKF(best < 1e-3, "%g s", best);
}

static void a_library_file_is_loaded(void)
{
    static const struct { const char *name, *value, *words; } wrong[] = {
        { "MOCK_ABI", "1", "VQ_ABI_VERSION" },     { "MOCK_ARCH", "gfx1337", "gfx1337" },
        { "MOCK_ARCH", "gfx90a", "not for gfx90a" }, { "MOCK_SELF_TEST", "2", "part 2" },
    };
    vq_ctx *vq = NULL;
    vq_desc d = VQ_ZERO;
    int i;
    d.library = "build/libvq_mock.so";
    d.backend = VQ_HIP;
    d.log = hear;
    CHECK(vq_init(&d, &vq) == VQ_OK && !strcmp(vq_platform_in(vq).name, "gfx942"));
    vq_free(vq);
    for (i = 0; i < VQ__COUNT(wrong); i++) {
        setenv(wrong[i].name, wrong[i].value, 1);
        said[0] = 0;
        CHECK(vq_init(&d, &vq) == VQ_UNSUPPORTED && !vq);
        CHECKF(strstr(said, wrong[i].words) != NULL, "%s", said);
        unsetenv(wrong[i].name);
    }
    d.backend = VQ_ANY;
    d.library = "build/no-such.so";
    said[0] = 0;
    CHECK(vq_init(&d, &vq) == VQ_OK && vq_mem_where(vq) == VQ_HOST);
    CHECKF(strstr(said, "no-such.so") != NULL, "%s", said);
    vq_free(vq);
    d.library = "build/libfast.so";                          /* a library, but not of kernels */
    said[0] = 0;
    CHECK(vq_init(&d, &vq) == VQ_OK && vq_mem_where(vq) == VQ_HOST);
    CHECKF(strstr(said, "no symbol vq_kernels_hip") != NULL, "%s", said);
    vq_free(vq);
}

static void the_environment_chooses_where_the_program_did_not(void)
{
    vq_quant_args a = call(VQ_HOST, VQ_E4M3FN);
    vq_ctx *vq;
    vq_desc d = VQ_ZERO;
    setenv("VQ_BACKEND", "cpu", 1);
    vq = start(VQ_ANY, "gfx942", VQ_OK);
    CHECK(vq_mem_where(vq) == VQ_HOST);
    vq_free(vq);
    vq = start(VQ_HIP, "gfx942", VQ_OK);                     /* the program said hip */
    CHECK(vq_mem_where(vq) == VQ_DEVICE);
    vq_free(vq);
    setenv("VQ_BACKEND", "rocm", 1);
    CHECK(start(VQ_ANY, "gfx942", VQ_BAD_ARG) == NULL);
    CHECKF(why.guard == VQ_GUARD_NAME && !strcmp(why.name, "rocm") && strstr(why.text, "rocm"),
           "%s", why.text);
    unsetenv("VQ_BACKEND");

    setenv("VQ_IMPL", "gpu", 1);
    vq = start(VQ_CPU, "gfx942", VQ_OK);
    CHECK(vq_quant(vq, &a) == VQ_UNSUPPORTED);
    a.call.policy.only = "reference";                        /* the call says otherwise */
    CHECK(vq_quant(vq, &a) == VQ_OK);
    vq_free(vq);
    setenv("VQ_IMPL", "fast", 1);
    CHECK(start(VQ_CPU, NULL, VQ_BAD_ARG) == NULL && why.guard == VQ_GUARD_NAME);
    unsetenv("VQ_IMPL");

    setenv("VQ_KERNELS", "build/libvq_mock.so", 1);
    d.backend = VQ_HIP;
    memset(&mock, 0, sizeof mock);                           /* the linked one has no device */
    CHECK(vq_init(&d, &vq) == VQ_OK);
    vq_free(vq);
    unsetenv("VQ_KERNELS");
    CHECK(vq_init(&d, &vq) == VQ_UNSUPPORTED);
    d.policy.only = "fast";
    d.report = &why;
    CHECK(vq_init(&d, &vq) == VQ_BAD_ARG && why.guard == VQ_GUARD_NAME);
    d.policy.only = NULL;
    d.backend = (vq_backend)77;
    CHECK(vq_init(&d, &vq) == VQ_BAD_ARG && why.guard == VQ_GUARD_VALUE && why.found == 77);
    CHECK(vq_init(&d, NULL) == VQ_BAD_ARG && why.guard == VQ_GUARD_PRESENT);
}

static void every_no_has_a_reason(void)
{
    vq_ctx *vq = start(VQ_ANY, "gfx942", VQ_OK);
    vq_quant_args a = call(VQ_DEVICE, VQ_E4M3FN);
    vq_requant_args b;
    vq_requant_result result;
    vq_report row[4];
    int n = 0;
    a.x.data = a.q.data = a.scale.data = NULL;               /* one may ask without memory */
    CHECK(vq_explain(vq, VQ_OP_QUANT, &a, row, 4, &n) == VQ_OK && n == 2);
    CHECKF(row[0].guard == VQ_GUARD_NONE && !strcmp(row[0].impl, "gpu"), "%s", row[0].text);
    CHECKF(row[1].guard == VQ_GUARD_PLACE && row[1].status == VQ_UNSUPPORTED
           && strstr(row[1].text, "x lives where this implementation cannot reach it: found device"
                                  ", needed host or managed"), "%s", row[1].text);
    CHECK(row[1].found == VQ_DEVICE && row[1].needed == (1 << VQ_HOST | 1 << VQ_MANAGED));
    CHECK(row[0].bytes_read == 1024 && row[0].bytes_written == 256 + 8);
    CHECK(row[1].bytes_read == 1024 && !row[1].workspace_bytes);
    CHECK(row[0].flags == (VQ_ROW_BIT_EXACT | VQ_ROW_BATCH_INVARIANT | VQ_ROW_UNPROVEN));
    CHECK(row[1].flags == (VQ_ROW_BIT_EXACT | VQ_ROW_BATCH_INVARIANT));
    CHECK(vq_explain(vq, VQ_OP_QUANT, &a, row, 1, &n) == VQ_OK && n == 2);
    CHECK(vq_explain(vq, VQ_OP_QUANT, &a, NULL, 0, &n) == VQ_OK && n == 2);
    a.key = vq_key_preset(VQ_KEY_FP8_TENSOR);
    a.scale = vq_scale_for(&a.key, a.q, VQ_ROWS, NULL);
    CHECK(vq_explain(vq, VQ_OP_QUANT, &a, row, 4, &n) == VQ_OK);
    CHECK(!(row[0].flags & VQ_ROW_BATCH_INVARIANT));         /* its scale spans rows */
    CHECK(row[0].workspace_bytes == 2048 && !row[1].workspace_bytes);
    b = recall(VQ_MANAGED);                                  /* what only the reference does */
    CHECK(vq_explain(vq, VQ_OP_REQUANT, &b, row, 4, &n) == VQ_OK && n == 2);
    CHECKF(row[0].guard == VQ_GUARD_NONE && row[1].guard == VQ_GUARD_NONE, "%s", row[0].text);
    b.result = &result;
    CHECK(vq_explain(vq, VQ_OP_REQUANT, &b, row, 4, &n) == VQ_OK && n == 2);
    CHECKF(row[0].guard == VQ_GUARD_PATTERN && row[0].status == VQ_UNSUPPORTED
           && strstr(row[0].text, "gpu: result is not served by this implementation: found 1, "
                                  "needed 0"), "%s", row[0].text);
    CHECK(row[1].guard == VQ_GUARD_NONE && vq_requant(vq, &b) == VQ_OK && !mock.launched);
    vq_free(vq);

    vq = start(VQ_CPU, NULL, VQ_OK);
    a = call(VQ_HOST, VQ_E4M3FN);
    CHECK(vq_explain(vq, VQ_OP_QUANT, &a, row, 4, &n) == VQ_OK && n == 2);
    CHECKF(row[0].guard == VQ_GUARD_KERNEL && row[1].guard == VQ_GUARD_NONE, "%s", row[0].text);
    a.x.where = VQ_MANAGED;
    CHECK(vq_quant(vq, &a) == VQ_OK);
    b = recall(VQ_HOST);
    CHECK(vq_explain(vq, VQ_OP_REQUANT, &b, row, 4, &n) == VQ_OK && n == 2);
    CHECKF(row[0].guard == VQ_GUARD_KERNEL && row[1].guard == VQ_GUARD_NONE, "%s", row[0].text);
    b.result = &result;                                      /* asked before the kernel is */
    CHECK(vq_explain(vq, VQ_OP_REQUANT, &b, row, 4, &n) == VQ_OK && n == 2);
    CHECKF(row[0].guard == VQ_GUARD_PATTERN && !strcmp(row[0].arg, "result")
           && row[0].found == 1 && row[0].needed == 0
           && strstr(row[0].text, "found 1, needed 0"), "%s", row[0].text);
    CHECK(row[1].guard == VQ_GUARD_NONE);
    a.q.shape[1] = 255;                                      /* wrong args: no rows */
    CHECK(vq_explain(vq, VQ_OP_QUANT, &a, row, 4, &n) == VQ_BAD_ARG && n == 0);
    CHECKF(why.guard == VQ_GUARD_SHAPE && !strcmp(why.arg, "q"), "%s", why.text);
    CHECK(vq_explain(vq, (vq_op)99, &a, row, 4, &n) == VQ_BAD_ARG && why.guard == VQ_GUARD_VALUE);
    CHECK(vq_explain(vq, VQ_OP_NONE, &a, row, 4, &n) == VQ_BAD_ARG);
    CHECK(vq_explain(NULL, VQ_OP_QUANT, &a, row, 4, &n) == VQ_BAD_ARG && !strcmp(why.arg, "ctx"));
    CHECK(vq_explain(vq, VQ_OP_QUANT, NULL, row, 4, &n) == VQ_BAD_ARG);
    CHECK(vq_explain(vq, VQ_OP_CAST, &a, row, 4, NULL) == VQ_BAD_ARG);
    vq_free(vq);
}

static void a_table_with_holes_serves_what_it_has(void)
{
    vq_ctx *vq = start(VQ_ANY, "gfx950", VQ_OK);
    vq_quant_args a = call(VQ_DEVICE, VQ_E4M3FN);
    vq_kernel_fn quant = mock_table.kernel[VQ_SLOT_QUANT];
    mock_table.kernel[VQ_SLOT_QUANT] = NULL;
    CHECK(vq_quant(vq, &a) == VQ_UNSUPPORTED);
    CHECKF(why.guard == VQ_GUARD_PLACE && !strcmp(why.impl, "reference"), "%s", why.text);
    a.call.policy.only = "gpu";
    CHECK(vq_quant(vq, &a) == VQ_UNSUPPORTED && !mock.launched);
    a = call(VQ_MANAGED, VQ_E4M3FN);
    CHECK(vq_quant(vq, &a) == VQ_OK && !mock.launched);      /* the reference reaches it */
    mock_table.kernel[VQ_SLOT_QUANT] = quant;
    CHECK(vq_quant(vq, &a) == VQ_OK && mock.launched == 1);
    vq_free(vq);
}

static void the_first_that_may_is_the_one_that_runs(void)
{
    vq_ctx *vq = start(VQ_ANY, "gfx942", VQ_OK);
    vq_quant_args a = call(VQ_DEVICE, VQ_E4M3FNUZ);
    vq_report row[2];
    vq_choice c;
    int n;
    CHECK(vq_plan(vq, VQ_OP_QUANT, &a, &c) == VQ_OK && !strcmp(vq_impl_str(&c), "gpu"));
    CHECK(c.workspace_bytes == 0 && c.op == VQ_OP_QUANT);
    CHECK(vq_run(vq, &c, &a) == VQ_OK && mock.launched == 1);
    a.call.policy.forbid = VQ_FORBID_UNPROVEN;               /* no AMD device has run it */
    CHECK(vq_plan(vq, VQ_OP_QUANT, &a, &c) == VQ_UNSUPPORTED);
    CHECKF(why.guard == VQ_GUARD_POLICY && !strcmp(why.impl, "gpu"), "%s", why.text);
    a.call.policy.forbid = VQ_FORBID_INEXACT | VQ_FORBID_EMULATED;
    CHECK(vq_plan(vq, VQ_OP_QUANT, &a, &c) == VQ_OK);
    a = call(VQ_HOST, VQ_E4M3FNUZ);
    CHECK(vq_quant(vq, &a) == VQ_OK && mock.launched == 1);  /* the reference */
    a.call.policy.forbid = VQ_FORBID_REFERENCE;
    CHECK(vq_quant(vq, &a) == VQ_UNSUPPORTED);
    CHECKF(why.guard == VQ_GUARD_POLICY && !strcmp(why.impl, "reference"), "%s", why.text);
    a.call.policy.forbid = 0;
    a.call.policy.only = "no such thing";
    CHECK(vq_quant(vq, &a) == VQ_BAD_ARG && why.guard == VQ_GUARD_NAME);
    CHECKF(!strcmp(why.arg, "policy.only") && !strcmp(why.name, "no such thing"), "%s", why.text);
    a.call.policy.only = "gpu";
    CHECK(vq_explain(vq, VQ_OP_QUANT, &a, row, 2, &n) == VQ_OK && n == 2);
    CHECKF(row[0].guard == VQ_GUARD_PLACE && row[1].guard == VQ_GUARD_ONLY
           && row[1].status == VQ_UNSUPPORTED && row[1].kind == 's' && !strcmp(row[1].name, "gpu"),
           "%s", row[1].text);
    CHECK(vq_plan(vq, VQ_OP_QUANT, &a, NULL) == VQ_BAD_ARG && !strcmp(why.arg, "out"));
    CHECK(vq_run(vq, NULL, &a) == VQ_BAD_ARG && vq_run(NULL, &c, &a) == VQ_BAD_ARG);
    CHECK(vq_run(vq, &c, NULL) == VQ_BAD_ARG && !strcmp(vq_impl_str(NULL), "none"));
    vq_free(vq);
}

static void a_context_has_a_policy_of_its_own(void)
{
    vq_quant_args a = call(VQ_HOST, VQ_E4M3FN);
    vq_desc d = VQ_ZERO;
    vq_ctx *vq;
    d.backend = VQ_CPU;
    d.policy.forbid = VQ_FORBID_REFERENCE;
    CHECK(vq_init(&d, &vq) == VQ_OK);
    CHECK(vq_quant(vq, &a) == VQ_UNSUPPORTED && why.guard == VQ_GUARD_POLICY);
    vq_free(vq);
}

static void the_device_is_asked_before_the_launch_and_after(void)
{
    vq_ctx *vq = start(VQ_ANY, "gfx942", VQ_OK);
    vq_quant_args a = call(VQ_DEVICE, VQ_E4M3FN);
    mock.device = 1;
    CHECK(vq_quant(vq, &a) == VQ_BAD_ARG && !mock.launched);
    CHECKF(why.guard == VQ_GUARD_CURRENT && why.found == 1 && why.needed == 0, "%s", why.text);
    mock.device = 0;
    mock.launch = 719;
    CHECK(vq_quant(vq, &a) == VQ_DEVICE_FAILED);
    CHECKF(why.guard == VQ_GUARD_LAUNCH && why.found == 719
           && strstr(why.text, "unspecified launch failure"), "%s", why.text);
    mock.launch = 3;                                         /* one without a text */
    CHECK(vq_quant(vq, &a) == VQ_DEVICE_FAILED && why.found == 3);
    vq_free(vq);
}

static void a_machine_one_does_not_own_can_be_asked(void)
{
    static const char *const archs[] = { "gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1201",
                                         "sm_80", "sm_90a", "sm_100", "sm_120" };
    vq_quant_args a = call(VQ_DEVICE, VQ_E4M3FN);
    vq_ctx *vq = NULL;
    vq_choice c;
    vq_desc d = VQ_ZERO;
    int i;
    for (i = 0; i < VQ__COUNT(archs); i++) {
        d.assume = archs[i];
        CHECKF(vq_init(&d, &vq) == VQ_OK, "%s", archs[i]);
        CHECK(vq_plan(vq, VQ_OP_QUANT, &a, &c) == VQ_OK && !strcmp(vq_impl_str(&c), "gpu"));
        CHECK(vq_run(vq, &c, &a) == VQ_UNSUPPORTED && why.guard == VQ_GUARD_PLANNING);
        CHECK(!strcmp(vq_arch_in(vq), archs[i]) && vq_mem_where(vq) == VQ_DEVICE);
        CHECK(!vq_mem_alloc(vq, 16) && vq_mem_copy(vq, q, x, 4) == VQ_UNSUPPORTED);
        vq_free(vq);
    }
    d.assume = "cpu";
    a = call(VQ_HOST, VQ_E4M3FN);
    CHECK(vq_init(&d, &vq) == VQ_OK && vq_plan(vq, VQ_OP_QUANT, &a, &c) == VQ_OK);
    CHECK(!strcmp(vq_impl_str(&c), "reference") && vq_run(vq, &c, &a) == VQ_UNSUPPORTED);
    vq_free(vq);
    d.assume = "gfx1337";
    d.report = &why;
    CHECK(vq_init(&d, &vq) == VQ_UNSUPPORTED && why.guard == VQ_GUARD_ARCH && vq == NULL);
    CHECKF(!strcmp(why.name, "gfx1337") && strstr(why.text, "gfx1337"), "%s", why.text);
}

static size_t hundred(const void *args) { (void)args; return 100; }

static void workspace_is_asked_for_and_checked(void)
{
    static const struct vq__row row = { VQ_OP_QUANT, "needy", VQ_SLOT_NONE, NULL, 0, 0, NULL,
                                        hundred };
    vq_ctx *vq = start(VQ_CPU, NULL, VQ_OK);
    vq_quant_args a = call(VQ_HOST, VQ_E4M3FN);
    char memory[116], *room = memory + (16 - (uintptr_t)memory % 16) % 16;
    vq_choice c;
    c.row = &row;
    c.op = VQ_OP_QUANT;
    c.workspace_bytes = row.workspace(&a);
    memset(q, 0xaa, sizeof q);
    CHECK(vq_run(vq, &c, &a) == VQ_OUT_OF_MEMORY);
    CHECKF(why.guard == VQ_GUARD_WORKSPACE && why.found == 0 && why.needed == 100, "%s", why.text);
    a.call.workspace = room;
    a.call.workspace_bytes = 99;
    CHECK(vq_run(vq, &c, &a) == VQ_OUT_OF_MEMORY && why.found == 99 && q[0] == 0xaa);
    a.call.workspace = memory + (20 - (uintptr_t)memory % 16) % 16;
    a.call.workspace_bytes = 100;
    CHECK(vq_run(vq, &c, &a) == VQ_BAD_ARG && q[0] == 0xaa);
    CHECKF(why.guard == VQ_GUARD_VALUE && why.found == 4 && why.needed == 0
           && strstr(why.text, "workspace, its address modulo 16,"), "%s", why.text);
    a.call.workspace = room;
    CHECK(vq_run(vq, &c, &a) == VQ_OK && q[0] != 0xaa);
    vq_free(vq);
}

/* --- the kernels' workspace --------------------------------------------------- */

/* The calls that take some, of tensors without memory: T rows, H columns, E of them if masked. */
static union {
    vq_call                      call;
    vq_quant_args                quant;
    vq_dequant_args              dequant;
    vq_requant_args              requant;
    vq_act_mul_quant_args        act;
    vq_masked_act_mul_quant_args masked;
    vq_rms_norm_args             rms;
    vq_layer_norm_args           layer;
    vq_rms_norm_quant_args       norm;
} any;

static vq_tensor device(vq_dtype t, int64_t rows, int64_t cols)
{
    return vq_tensor_2d(NULL, t, rows, cols, VQ_DEVICE);
}

static vq_tensor planes(vq_dtype t, int64_t n, int64_t rows, int64_t cols)
{
    int64_t shape[3];
    shape[0] = n;
    shape[1] = rows;
    shape[2] = cols;
    return vq_tensor_nd(NULL, t, 3, shape, VQ_DEVICE);
}

static void ask(vq_op op, const char *key, vq_dtype type, vq_dtype mid, int64_t E, int64_t T, int64_t H)
{
    const int64_t wide = 2 * H;
    vq_tensor q, scale, zero = VQ_ZERO, bound = VQ_ZERO, scale2 = VQ_ZERO;
    vq_report r;
    vq_key k;
    memset(&any, 0, sizeof any);
    any.call.report = &why;
    if (op == VQ_OP_RMS_NORM) {
        any.rms.x = any.rms.y = E ? planes(type, E, T, H) : device(type, T, H);
        any.rms.mid = mid;
        return;
    }
    if (op == VQ_OP_LAYER_NORM) {
        any.layer.x = any.layer.y = E ? planes(type, E, T, H) : device(type, T, H);
        any.layer.mid = mid;
        return;
    }
    memset(&r, 0, sizeof r);
    CHECKF(vq_key_parse(key, &k, &r) == VQ_OK, "%s: %s", key, r.text);
    q = device(k.elem, T, H);
    scale = vq_scale_for(&k, q, VQ_ROWS, NULL);
    if (k.flags & VQ_KEY_ASYMMETRIC) {
        zero = scale;
        zero.dtype = k.elem;
    }
    if (k.bound_kind) bound = device(VQ_F32, 1, 1);
    if (k.scale2_kind) scale2 = device(VQ_F32, 1, 1);
    switch (op) {
    case VQ_OP_QUANT:
        any.quant.key = k;
        any.quant.x = device(type, T, H);
        any.quant.q = q;
        any.quant.scale = scale;
        any.quant.zero = zero;
        any.quant.bound = bound;
        any.quant.scale2 = scale2;
        break;
    case VQ_OP_DEQUANT:
        any.dequant.key = k;
        any.dequant.y = device(type, T, H);
        any.dequant.q = q;
        any.dequant.scale = scale;
        any.dequant.zero = zero;
        any.dequant.scale2 = scale2;
        break;
    case VQ_OP_REQUANT:
        any.requant.from = vq_key_preset(VQ_KEY_FP8_STATIC);
        any.requant.q = device(VQ_E4M3FN, T, H);
        any.requant.scale = device(VQ_F32, 1, 1);
        any.requant.key = k;
        any.requant.q_out = q;
        any.requant.scale_out = scale;
        any.requant.zero_out = zero;
        any.requant.bound = bound;
        any.requant.scale2_out = scale2;
        break;
    case VQ_OP_ACT_MUL_QUANT:
        any.act.key = k;
        any.act.x = device(type, T, wide);
        any.act.mid = mid;
        any.act.q = q;
        any.act.scale = scale;
        any.act.zero = zero;
        any.act.bound = bound;
        any.act.scale2 = scale2;
        break;
    case VQ_OP_MASKED_ACT_MUL_QUANT:
        any.masked.key = k;
        any.masked.x = planes(type, E, T, wide);
        any.masked.mid = mid;
        any.masked.counts = vq_tensor_nd(NULL, VQ_INT32, 1, &E, VQ_DEVICE);
        any.masked.q = planes(k.elem, E, T, H);
        any.masked.scale = planes(k.scale_type, E, T, scale.shape[1]);
        break;
    default:
        any.norm.key = k;
        any.norm.x = device(type, T, H);
        any.norm.mid = mid;
        any.norm.q = q;
        any.norm.scale = scale;
        any.norm.zero = zero;
        any.norm.bound = bound;
        any.norm.scale2 = scale2;
    }
}

static void each_way_to_go_about_a_key_has_its_workspace(void)
{
#define AZP_TENSOR "int8/f32/-1x-1/dyn/range.div255/x.inv.s/asym/floor=scale:1.1920929e-7"
#define FP8_OF(group) "float8_e4m3fn/f32/" group "/dyn/amax.div448/x.div.s"
    static const struct {
        vq_op op;
        const char *key;
        vq_dtype type, mid;
        int64_t E, T, H;
        size_t bytes;
    } known[] = {
#define OF(op, key, type, mid, E, T, H, bytes) \
        { VQ_OP_##op, key, VQ_##type, VQ_##mid, E, T, H, bytes },
        /* a tensor's amax is that of 512 parts, whatever there is of it */
        OF(QUANT, "fp8_tensor", F32, NONE, 0, 1, 1, 2048)
        OF(QUANT, "fp8_tensor", BF16, NONE, 0, 4096, 20000, 2048)
        OF(QUANT, "fp8_dynamic_tensor", F16, NONE, 0, 7, 33, 2048)
        OF(QUANT, "int8_tensor", BF16, NONE, 0, 3, 5, 2048)
        OF(ACT_MUL_QUANT, "fp8_tensor", BF16, NONE, 0, 3, 5, 2048)
        OF(RMS_NORM_QUANT, "fp8_tensor", BF16, NONE, 0, 3, 5, 2048)
        /* but of two amaxes, or one that the codes are made with, 4 bytes a group */
        OF(QUANT, AZP_TENSOR, F32, NONE, 0, 9, 300, 4)
        OF(QUANT, "float8_e4m3fn/f32/-1x-1/dyn/amax.div448/x.inv.amax", F32, NONE, 0, 9, 300, 4)
        OF(QUANT, "fp8_block128", BF16, NONE, 0, 300, 500, 3 * 4 * 4)
        OF(QUANT, "fp8_block128", F32, NONE, 0, 128, 128, 4)
        OF(QUANT, "fp8_block128", F32, NONE, 0, 129, 128, 8)
        OF(QUANT, "deepseek_block128", F32, NONE, 0, 129, 384, 2 * 3 * 4)
        OF(QUANT, "fp8_channel", BF16, NONE, 0, 300, 500, 500 * 4)
        OF(ACT_MUL_QUANT, "fp8_block128", BF16, NONE, 0, 300, 500, 3 * 4 * 4)
        OF(RMS_NORM_QUANT, "fp8_block128", BF16, NONE, 0, 300, 500, 300 * 8 + 3 * 4 * 4)
        /* groups that lanes hold, and such that they do not */
        OF(QUANT, FP8_OF("1x48"), BF16, NONE, 0, 5, 100, 5 * 3 * 4)
        OF(QUANT, FP8_OF("1x48"), BF16, NONE, 0, 5, 96, 5 * 2 * 4)
        OF(QUANT, FP8_OF("1x4"), BF16, NONE, 0, 5, 96, 5 * 24 * 4)
        OF(QUANT, FP8_OF("1x512"), BF16, NONE, 0, 5, 1024, 5 * 2 * 4)
        OF(QUANT, FP8_OF("1x8"), F32, NONE, 0, 5, 100, 0)
        OF(QUANT, FP8_OF("1x256"), F32, NONE, 0, 5, 100, 0)
        OF(QUANT, FP8_OF("2x64"), F32, NONE, 0, 5, 100, 3 * 2 * 4)
        OF(QUANT, "fp8_group128", BF16, NONE, 0, 1000, 40000, 0)
        OF(QUANT, "mxfp4", BF16, NONE, 0, 1000, 4096, 0)
        OF(QUANT, "nvfp4", BF16, NONE, 0, 1000, 4096, 0)
        OF(ACT_MUL_QUANT, FP8_OF("1x48"), BF16, NONE, 0, 5, 100, 5 * 3 * 4)
        OF(RMS_NORM_QUANT, FP8_OF("1x48"), BF16, NONE, 0, 5, 100, 5 * 3 * 4 + 5 * 8)
        /* rules and arithmetic of the careful kernels only */
        OF(QUANT, "vllm_int8_group128", BF16, NONE, 0, 5, 256, 5 * 2 * 4)
        OF(QUANT, "vllm_int8_token_triton", BF16, NONE, 0, 5, 256, 5 * 4)
        OF(QUANT, "vllm_masked_silu_cuda", BF16, NONE, 0, 5, 256, 5 * 2 * 4)
        OF(QUANT, FP8_OF("1x128") "/overflow=nonfinite", BF16, NONE, 0, 5, 256, 5 * 2 * 4)
        /* rows that a block holds: 16384 values of 16 bits, 8192 of 32 */
        OF(QUANT, "fp8_token", BF16, NONE, 0, 6, 16384, 0)
        OF(QUANT, "fp8_token", BF16, NONE, 0, 6, 16385, 6 * 4)
        OF(QUANT, "fp8_token", F32, NONE, 0, 6, 8192, 0)
        OF(QUANT, "fp8_token", F32, NONE, 0, 6, 8193, 6 * 4)
        OF(QUANT, "int8_token_azp", F32, NONE, 0, 6, 8192, 0)
        OF(QUANT, "int8_token_azp", F32, NONE, 0, 6, 10000, 6 * 4)
        OF(ACT_MUL_QUANT, "fp8_token", BF16, NONE, 0, 6, 10000, 0)
        OF(ACT_MUL_QUANT, "fp8_token", BF16, F32, 0, 6, 10000, 6 * 4)
        OF(ACT_MUL_QUANT, "fp8_token", F32, NONE, 0, 6, 10000, 6 * 4)
        OF(RMS_NORM, NULL, F32, NONE, 0, 7, 8192, 0)
        OF(RMS_NORM, NULL, F32, NONE, 0, 7, 10000, 7 * 8)
        OF(RMS_NORM, NULL, F32, NONE, 3, 7, 10000, 3 * 7 * 8)
        OF(RMS_NORM, NULL, BF16, NONE, 0, 7, 10000, 0)
        OF(RMS_NORM, NULL, BF16, F32, 0, 7, 10000, 7 * 8)
        OF(RMS_NORM, NULL, F16, NONE, 0, 7, 16384, 0)
        OF(RMS_NORM, NULL, F16, NONE, 0, 7, 16385, 7 * 8)
        OF(LAYER_NORM, NULL, F32, NONE, 0, 7, 8192, 0)
        OF(LAYER_NORM, NULL, F32, NONE, 0, 7, 10000, 7 * 8)
        OF(LAYER_NORM, NULL, F32, NONE, 3, 7, 10000, 3 * 7 * 8)
        OF(LAYER_NORM, NULL, BF16, F32, 0, 7, 10000, 7 * 8)
        OF(LAYER_NORM, NULL, BF16, NONE, 0, 7, 10000, 0)
        OF(RMS_NORM_QUANT, "fp8_token", F32, NONE, 0, 7, 8192, 0)
        OF(RMS_NORM_QUANT, "fp8_token", F32, NONE, 0, 7, 10000, 7 * 8 + 7 * 4)
        OF(RMS_NORM_QUANT, "fp8_token", BF16, NONE, 0, 7, 10000, 0)
        OF(RMS_NORM_QUANT, "fp8_token", BF16, F32, 0, 7, 10000, 7 * 8 + 7 * 4)
        OF(RMS_NORM_QUANT, "fp8_group128", F32, NONE, 0, 7, 10000, 7 * 8 + 7 * 79 * 4)
        OF(RMS_NORM_QUANT, "fp8_static", F32, NONE, 0, 7, 10000, 7 * 8)
        OF(RMS_NORM_QUANT, "fp8_static", F32, NONE, 0, 7, 8192, 0)
        /* scales that are there need nothing */
        OF(QUANT, "fp8_static", BF16, NONE, 0, 300, 50000, 0)
        OF(QUANT, "fp8_static_channel", BF16, NONE, 0, 300, 500, 0)
        OF(QUANT, "int8_static_tensor_azp", BF16, NONE, 0, 300, 500, 0)
        OF(REQUANT, "fp8_static_channel", F32, NONE, 0, 300, 500, 0)
        OF(DEQUANT, "fp8_tensor", F32, NONE, 0, 300, 500, 0)
        OF(DEQUANT, AZP_TENSOR, F32, NONE, 0, 300, 500, 0)
        OF(REQUANT, "fp8_tensor", F32, NONE, 0, 300, 500, 4)
        OF(REQUANT, "fp8_token", F32, NONE, 0, 300, 500, 300 * 4)
        OF(REQUANT, "fp8_block128", F32, NONE, 0, 300, 500, 3 * 4 * 4)
        OF(REQUANT, "int8_token_azp", F32, NONE, 0, 300, 500, 300 * 4)
        /* experts: each its own groups, and 8192 of them at most go the short way */
        OF(MASKED_ACT_MUL_QUANT, "fp8_group128", BF16, NONE, 3, 5, 500, 0)
        OF(MASKED_ACT_MUL_QUANT, FP8_OF("1x48"), BF16, NONE, 3, 5, 500, 3 * 5 * 11 * 4)
        OF(MASKED_ACT_MUL_QUANT, "vllm_masked_silu_cuda", BF16, NONE, 3, 5, 512, 3 * 5 * 4 * 4)
        OF(MASKED_ACT_MUL_QUANT, "fp8_token", BF16, NONE, 3, 5, 10000, 0)
        OF(MASKED_ACT_MUL_QUANT, "fp8_token", BF16, F32, 3, 5, 10000, 3 * 5 * 4)
        OF(MASKED_ACT_MUL_QUANT, "fp8_group128", BF16, NONE, 8192, 2, 130, 0)
        OF(MASKED_ACT_MUL_QUANT, "fp8_group128", BF16, NONE, 8193, 2, 130, 8193 * 2 * 2 * 4)
#undef OF
    };
    static const char *const archs[] = { "gfx942", "sm_90" };
    vq_report row[2];
    vq_desc d = VQ_ZERO;
    vq_ctx *vq = NULL;
    vq_choice c;
    int i, j, n;
    for (j = 0; j < 2; j++) {
        d.assume = archs[j];
        CHECK(vq_init(&d, &vq) == VQ_OK);
        for (i = 0; i < VQ__COUNT(known); i++) {
            const char *key = known[i].key ? known[i].key : "";
            ask(known[i].op, key, known[i].type, known[i].mid, known[i].E, known[i].T, known[i].H);
            CHECKF(vq_plan(vq, known[i].op, &any, &c) == VQ_OK && !strcmp(vq_impl_str(&c), "gpu"),
                   "%d: %s", i, why.text);
            CHECKF(c.workspace_bytes == known[i].bytes, "%s %s of %ld columns: %lu, not %lu bytes",
                   vq_op_str(known[i].op), key, (long)known[i].H, (unsigned long)c.workspace_bytes,
                   (unsigned long)known[i].bytes);
            CHECK(vq_explain(vq, known[i].op, &any, row, 2, &n) == VQ_OK && n == 2);
            CHECKF(row[0].workspace_bytes == (int64_t)known[i].bytes && !row[1].workspace_bytes,
                   "%s", row[0].text);
        }
        ask(VQ_OP_ACT_MUL_QUANT, "fp8_token", VQ_BF16, VQ_NONE, 0, 6, 10000);
        any.act.act = VQ_ACT_SWIGLU_OAI;                     /* its values are f32 */
        any.act.alpha = 1.702f;
        any.act.plus = 1;
        CHECKF(vq_plan(vq, VQ_OP_ACT_MUL_QUANT, &any, &c) == VQ_OK && c.workspace_bytes == 24,
               "%s", why.text);
        vq_free(vq);
    }
}

static void every_named_key_has_a_kernel(void)
{
    static const vq_op takes[] = { VQ_OP_QUANT, VQ_OP_DEQUANT, VQ_OP_REQUANT, VQ_OP_ACT_MUL_QUANT,
                                   VQ_OP_RMS_NORM_QUANT, VQ_OP_MASKED_ACT_MUL_QUANT };
    static const char *const archs[] = { "gfx90a", "gfx942", "gfx950", "gfx1100", "sm_90", "sm_120" };
    vq_ctx *vq = NULL;
    vq_desc d = VQ_ZERO;
    vq_report row[2];
    int i, j, k, n, masked = 0;
    for (i = 0; i < VQ__COUNT(archs); i++) {
        d.assume = archs[i];
        CHECK(vq_init(&d, &vq) == VQ_OK);
        for (j = 0; j < VQ__COUNT(takes); j++)
            for (k = 0; k < VQ_KEY_COUNT; k++) {
                const vq_key key = vq_key_preset((vq_key_id)k);
                if (takes[j] == VQ_OP_MASKED_ACT_MUL_QUANT) {
                    if (key.group_rows != 1 || key.flags & (VQ_KEY_STATIC | VQ_KEY_ASYMMETRIC)
                        || key.bound_kind || key.scale2_kind) continue;
                    masked++;
                }
                ask(takes[j], vq_key_name((vq_key_id)k), VQ_BF16, VQ_NONE, 2, 128, 512);
                CHECKF(vq_explain(vq, takes[j], &any, row, 2, &n) == VQ_OK && n == 2, "%s", why.text);
                CHECKF(row[0].guard == VQ_GUARD_NONE && !strcmp(row[0].impl, "gpu"), "%s: %s",
                       vq_key_name((vq_key_id)k), row[0].text);
            }
        vq_free(vq);
    }
    CHECK(masked > 20);
}

/* --- reports as text and JSON ----------------------------------------------- */

static const char *json(const char *p);                      /* behind a value; NULL: not one */

static const char *blank(const char *p) { while (p && (*p == ' ' || *p == '\n')) p++; return p; }

static const char *json_string(const char *p)
{
    if (*p++ != '"') return NULL;
    for (; *p != '"'; p++) {
        if (*p == '\\') {
            p++;
            if (*p == 'u') {
                if (strspn(p + 1, "0123456789abcdef") < 4) return NULL;
                p += 4;
            } else if (*p != '"' && *p != '\\') return NULL;
        } else if ((unsigned char)*p < 32 || (unsigned char)*p > 126) return NULL;
    }
    return p + 1;
}

static const char *json_list(const char *p, char end, int named)
{
    for (p = blank(p + 1); *p != end; p = blank(p + 1)) {
        if (named) {
            p = json_string(p);
            if (!p || *(p = blank(p)) != ':') return NULL;
            p = blank(p + 1);
        }
        p = blank(json(p));
        if (!p) return NULL;
        if (*p == end) break;
        if (*p != ',') return NULL;
    }
    return p + 1;
}

static const char *json(const char *p)
{
    if (*p == '{') return json_list(p, '}', 1);
    if (*p == '[') return json_list(p, ']', 0);
    if (*p == '"') return json_string(p);
    if (!strncmp(p, "null", 4) || !strncmp(p, "true", 4)) return p + 4;
    if (!strncmp(p, "false", 5)) return p + 5;
    if (*p == '-') p++;
    return *p >= '0' && *p <= '9' ? p + strspn(p, "0123456789") : NULL;
}

static void reports_read_as_text_and_as_json(void)
{
    vq_ctx *vq = start(VQ_ANY, "gfx942", VQ_OK);
    vq_quant_args a = call(VQ_DEVICE, VQ_E4M3FN);
    static char text[8192], part[8192];
    vq_report row[8];
    vq_platform p;
    const char *end;
    int n, need, i;
    CHECK(vq_explain(vq, VQ_OP_QUANT, &a, row, 8, &n) == VQ_OK);
    CHECK(vq_platform_of("gfx\"9\\\n\x80", &p, &row[n++]) == VQ_UNSUPPORTED);
    a.x.shape[1] = 257;
    a.call.report = &row[n];
    CHECK(vq_quant(vq, &a) == VQ_BAD_ARG);
    n++;
    need = vq_report_text(row, n, text, sizeof text);
    CHECK(need == (int)strlen(text) && text[need - 1] == '\n');
    CHECKF(strstr(text, "quant: gpu: runs, batch-invariant, bit-exact, unproven on this hardware; "
                        "reads 1024, writes 264, workspace 0 bytes\n") == text, "%s", text);
    need = vq_report_json(row, n, text, sizeof text);
    CHECK(need == (int)strlen(text));
    end = blank(json(text));
    CHECKF(end && !*end, "%s", text);
    CHECKF(strstr(text, "\"found\": \"device\", \"needed\": \"host or managed\"") != NULL, "%s", text);
    CHECKF(strstr(text, "\"found\": \"gfx\\\"9\\\\\\u000a\\ufffd\", \"needed\": null") != NULL,
           "%s", text);
    CHECKF(strstr(text, "\"found\": 256, \"needed\": 257, \"nearest\": 257") != NULL, "%s", text);
    for (i = 0; i <= need; i++) {                            /* as snprintf: cut, ended, counted */
        memset(part, 0x55, sizeof part);
        CHECK(vq_report_json(row, n, part, (size_t)i) == need && part[i] == 0x55);
        CHECK(!i || (strlen(part) == (size_t)i - 1 && !strncmp(part, text, (size_t)i - 1)));
    }
    CHECK(vq_report_json(row, 0, text, sizeof text) == (int)strlen(text) && json(text));
    vq_free(vq);
}

/* --- hooks and memory ------------------------------------------------------- */

static void trace(void *user, vq_when when, const char *op, const char *impl, const void *args,
                  vq_status status)
{
    CHECK(args != NULL);
    sprintf((char *)user + strlen((char *)user), "%s %s %s %d;", when == VQ_BEFORE ? "before"
            : "after", op, impl, (int)status);
}

static void a_trace_hears_every_op(void)
{
    vq_quant_args a = call(VQ_HOST, VQ_E4M3FN);
    vq_desc d = VQ_ZERO;
    vq_ctx *vq;
    char heard[256] = "";
    d.backend = VQ_CPU;
    d.trace = trace;
    d.trace_user = heard;
    CHECK(vq_init(&d, &vq) == VQ_OK && vq_quant(vq, &a) == VQ_OK);
    a.q.data = NULL;
    CHECK(vq_quant(vq, &a) == VQ_BAD_ARG);                   /* not run, not heard */
    CHECKF(!strcmp(heard, "before quant reference 0;after quant reference 0;"), "%s", heard);
    vq_free(vq);
}

static void an_op_allocates_nothing(void)
{
    vq_ctx *vq = start(VQ_CPU, NULL, VQ_OK);
    vq_quant_args a = call(VQ_HOST, VQ_E4M3FN);
    vq_choice c;
    int before = allocations;
    CHECK(vq_plan(vq, VQ_OP_QUANT, &a, &c) == VQ_OK && vq_run(vq, &c, &a) == VQ_OK);
    CHECK(vq_quant(vq, &a) == VQ_OK && allocations == before);
    vq_free(vq);
}

static void memory_is_counted_now_and_at_its_peak(void)
{
    vq_ctx *vq = start(VQ_ANY, "gfx942", VQ_OK), *other = start(VQ_CPU, NULL, VQ_OK);
    void *a = vq_mem_alloc(vq, 1000), *b = vq_mem_alloc(vq, 24), *zero = vq_mem_alloc(vq, 0);
    int here;
    CHECK(a && b && zero && vq_mem_used(vq).live == 1024 && vq_mem_used(vq).peak == 1024);
    vq_mem_free(vq, a);
    vq_mem_free(vq, NULL);
    vq_mem_free(vq, &here);                                  /* not ours: left alone */
    CHECK(vq_mem_used(vq).live == 24 && vq_mem_used(vq).peak == 1024);
    CHECK(vq_mem_used(other).live == 0 && vq_mem_used(other).peak == 0);
    vq_mem_reset_peak(vq);
    CHECK(vq_mem_used(vq).peak == 24);
    CHECK(vq_mem_copy(vq, b, "twenty-three characters", 24) == VQ_OK && !memcmp(b, "twenty", 6));
    CHECK(vq_mem_copy(vq, NULL, b, 1) == VQ_BAD_ARG && vq_mem_copy(vq, NULL, NULL, 0) == VQ_OK);
    CHECK(vq_mem_alloc(other, SIZE_MAX) == NULL && vq_mem_used(other).live == 0);
    vq_free(vq);                                             /* and frees what is left */
    vq_free(other);
    vq_free(NULL);
}

static void *churn(void *user)
{
    vq_ctx *vq = (vq_ctx *)user;
    void *p[8] = { NULL };
    int i;
    for (i = 0; i < 4000; i++) {
        vq_mem_free(vq, p[i % 8]);
        p[i % 8] = vq_mem_alloc(vq, (size_t)(i % 100));
    }
    for (i = 0; i < 8; i++) vq_mem_free(vq, p[i]);
    return NULL;
}

static void threads_may_share_a_context(void)
{
    vq_ctx *vq = start(VQ_CPU, NULL, VQ_OK);
    pthread_t t[4];
    int i;
    for (i = 0; i < 4; i++) CHECK(!pthread_create(&t[i], NULL, churn, vq));
    for (i = 0; i < 4; i++) pthread_join(t[i], NULL);
    CHECK(vq_mem_used(vq).live == 0 && vq_mem_used(vq).peak > 0);
    vq_free(vq);
}

static void names_come_back(void)
{
    int i;
    for (i = 1; i < VQ_OP_COUNT; i++) CHECK(vq_op_of(vq_op_str((vq_op)i)) == (vq_op)i);
    for (i = 1; i < VQ_DTYPE_COUNT; i++)
        CHECK(vq_dtype_of(vq_dtype_str((vq_dtype)i)) == (vq_dtype)i);
    for (i = 0; i < VQ_ORDER_COUNT; i++) CHECK(vq_order_of(vq_order_str((vq_order)i)) == i);
    for (i = 0; i < VQ_BACKEND_COUNT; i++)
        CHECK(vq_backend_of(vq_backend_str((vq_backend)i)) == i);
    CHECK(vq_op_of("quantise") == VQ_OP_NONE && vq_op_of(NULL) == VQ_OP_NONE);
    CHECK(vq_dtype_of("fp8") == VQ_NONE && vq_dtype_of(NULL) == VQ_NONE);
    CHECK(vq_order_of("") == -1 && vq_backend_of("rocm") == -1 && vq_backend_of(NULL) == -1);
    CHECK(!strcmp(vq_status_str((vq_status)99), "unknown") && !strcmp(vq_op_str((vq_op)-1), "unknown"));
    CHECK(!strcmp(vq_guard_str(VQ_GUARD_SHAPE), "SHAPE") && !strcmp(vq_layout_str(VQ_STRIDED), "strided"));
    for (i = 0; i < VQ_CAP_COUNT; i++) CHECK(strlen(vq_cap_str(i)) > 1);
}

VQ_TEST_MAIN(
    T(a_library_that_does_not_fit_is_news),
    T(a_library_that_fits_is_taken),
    T(the_cpu_asks_no_library),
    T(a_context_for_the_cpu_starts_within_a_millisecond),
    T(a_library_file_is_loaded),
    T(the_environment_chooses_where_the_program_did_not),
    T(every_no_has_a_reason),
    T(a_table_with_holes_serves_what_it_has),
    T(the_first_that_may_is_the_one_that_runs),
    T(a_context_has_a_policy_of_its_own),
    T(the_device_is_asked_before_the_launch_and_after),
    T(a_machine_one_does_not_own_can_be_asked),
    T(workspace_is_asked_for_and_checked),
    T(each_way_to_go_about_a_key_has_its_workspace),
    T(every_named_key_has_a_kernel),
    T(reports_read_as_text_and_as_json),
    T(a_trace_hears_every_op),
    T(an_op_allocates_nothing),
    T(memory_is_counted_now_and_at_its_peak),
    T(threads_may_share_a_context),
    T(names_come_back))
