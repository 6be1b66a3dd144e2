/* test_contract.c - what the header promises beside results: what an op leaves alone, what the
   loader takes, what happens when memory or a device fails

   The header's own calls of malloc, getenv, printf and the file system are counted here, and its
   self-test can be made to fail. mock_kernels.c is the GPU library of either vendor. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fenv.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct { int made, live, fail_at, formatted, read, opened; } seen;

static void *counted_malloc(size_t n)
{
    void *p = ++seen.made == seen.fail_at ? NULL : malloc(n);
    seen.live += p != NULL;
    return p;
}

static void counted_free(void *p)
{
    seen.live -= p != NULL;
    free(p);
}

static int   counted_vsnprintf(char *out, size_t n, const char *f, va_list l)
{
    seen.formatted++;
    return vsnprintf(out, n, f, l);
}

static char *counted_getenv(const char *name)          { seen.read++; return getenv(name); }
static void *counted_dlopen(const char *path, int how) { seen.opened++; return dlopen(path, how); }
static void *counted_dlsym(void *lib, const char *name) { seen.opened++; return dlsym(lib, name); }

/* Its definition has a void between the brackets, its one call has nothing. */
static int broken_part;
#define vq__self_test(none) CONTRACT_##none
#define CONTRACT_void       true_self_test(void)
#define CONTRACT_           (broken_part ? broken_part : true_self_test())

#define VQ_MALLOC(n) counted_malloc(n)
#define VQ_FREE(p)   counted_free(p)
#define vsnprintf    counted_vsnprintf
#define snprintf     no_snprintf_in_the_header
#define getenv       counted_getenv
#define dlopen       counted_dlopen
#define dlsym        counted_dlsym
#define VQ_IMPLEMENTATION
#include "../vq.h"
#undef vsnprintf
#undef snprintf
#undef getenv
#undef dlopen
#undef dlsym
#include "mock_kernels.c"
#include "vq_test.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static vq_report why;
static char said[8192];

static void hear(void *user, const char *line)
{
    (void)user;
    strncat(said, line, sizeof said - strlen(said) - 2);
    strcat(said, "\n");
}

static vq_ctx *start(vq_desc d, vq_status expect)
{
    vq_ctx *vq = (vq_ctx *)&d;
    said[0] = 0;
    memset(&why, 0, sizeof why);
    d.log = hear;
    d.report = &why;
    CHECKF(vq_init(&d, &vq) == expect, "%s: %s%s", vq_status_str(expect), said, why.text);
    CHECK((vq != NULL) == (expect == VQ_OK));
    return vq;
}

static vq_ctx *start_on(vq_backend b, vq_status expect)
{
    vq_desc d = VQ_ZERO;
    d.backend = b;
    return start(d, expect);
}

static void reset(const char *hip, const char *cuda)
{
    memset(&mock, 0, sizeof mock);
    memset(&mock_cuda, 0, sizeof mock_cuda);
    memset(&mock_memory, 0, sizeof mock_memory);
    memset(&seen, 0, sizeof seen);
    mock.arch = hip;
    mock_cuda.arch = cuda;
}

/* --- every op, with right arguments --------------------------------------------- */

typedef union {
    vq_call call;
#define X(ID, name) vq_##name##_args name;
    VQ_KERNELS(X)
#undef X
} any;

/* The inputs and outputs of one thread. */
typedef struct {
    float x[512], y[512], s[8], to[8];
    uint8_t q[512], c[512], t[1024];
    int32_t counts[2], status;
} desk;

/* Those that have a kernel. */
static const vq_op ops[] = {
#define X(ID, name) VQ_OP_##ID,
    VQ_KERNELS(X)
#undef X
};

/* What kernels may use, as far as any call here needs it. off: bytes past a multiple of 16. */
static uint8_t *workspace(int off)
{
    static uint8_t room[4096];
    return room + (16 - (uintptr_t)room % 16) % 16 + off;
}

static any args_of(vq_op op, desk *d, vq_where w)
{
    static const int64_t once[] = { 2, 1, 128 }, twice[] = { 2, 1, 256 }, groups[] = { 2, 1, 1 },
                         two[] = { 2 };
    const vq_key k = vq_key_preset(VQ_KEY_FP8_GROUP128);
    const vq_tensor x = vq_tensor_2d(d->x, VQ_F32, 2, 256, w), y = vq_tensor_2d(d->y, VQ_F32, 2, 256, w);
    const vq_tensor q = vq_tensor_2d(d->q, VQ_E4M3FN, 2, 256, w);
    any a;
    memset(&a, 0, sizeof a);
    switch (op) {
    case VQ_OP_CAST:
        a.cast.x = x;
        a.cast.y = vq_tensor_2d(d->q, VQ_E5M2, 2, 256, w);
        break;
    case VQ_OP_FNUZ_NORMALIZE:
        a.fnuz_normalize.x = q;
        a.fnuz_normalize.y = vq_tensor_2d(d->c, VQ_E4M3FNUZ, 2, 256, w);
        a.fnuz_normalize.scale = vq_tensor_2d(d->s, VQ_F32, 2, 2, w);
        a.fnuz_normalize.scale_out = vq_tensor_2d(d->to, VQ_F32, 2, 2, w);
        break;
    case VQ_OP_QUANT:
        a.quant.key = k;
        a.quant.x = x;
        a.quant.q = q;
        a.quant.scale = vq_scale_for(&k, q, VQ_ROWS, d->s);
        break;
    case VQ_OP_DEQUANT:
        a.dequant.key = k;
        a.dequant.q = q;
        a.dequant.scale = vq_scale_for(&k, q, VQ_ROWS, d->s);
        a.dequant.y = x;
        break;
    case VQ_OP_REQUANT:
        a.requant.from = k;
        a.requant.key = vq_key_preset(VQ_KEY_FP8_TOKEN);
        a.requant.q = q;
        a.requant.scale = vq_scale_for(&k, q, VQ_ROWS, d->s);
        a.requant.q_out = vq_tensor_2d(d->c, VQ_E4M3FN, 2, 256, w);
        a.requant.scale_out = vq_scale_for(&a.requant.key, q, VQ_ROWS, d->to);
        break;
    case VQ_OP_ACT:
        a.act.x = x;
        a.act.y = y;
        break;
    case VQ_OP_ACT_MUL:
        a.act_mul.x = x;
        a.act_mul.y = vq_tensor_2d(d->y, VQ_F32, 2, 128, w);
        break;
    case VQ_OP_ACT_MUL_QUANT:
        a.act_mul_quant.key = k;
        a.act_mul_quant.x = x;
        a.act_mul_quant.q = vq_tensor_2d(d->c, VQ_E4M3FN, 2, 128, w);
        a.act_mul_quant.scale = vq_scale_for(&k, a.act_mul_quant.q, VQ_ROWS, d->to);
        break;
    case VQ_OP_MASKED_ACT_MUL_QUANT:
        a.masked_act_mul_quant.key = k;
        a.masked_act_mul_quant.x = vq_tensor_nd(d->x, VQ_F32, 3, twice, w);
        a.masked_act_mul_quant.counts = vq_tensor_nd(d->counts, VQ_INT32, 1, two, w);
        a.masked_act_mul_quant.q = vq_tensor_nd(d->c, VQ_E4M3FN, 3, once, w);
        a.masked_act_mul_quant.scale = vq_tensor_nd(d->to, VQ_F32, 3, groups, w);
        a.masked_act_mul_quant.status = vq_tensor_2d(&d->status, VQ_INT32, 1, 1, w);
        break;
    case VQ_OP_RMS_NORM:
        a.rms_norm.x = x;
        a.rms_norm.y = y;
        break;
    case VQ_OP_LAYER_NORM:
        a.layer_norm.x = x;
        a.layer_norm.y = y;
        break;
    case VQ_OP_RMS_NORM_QUANT:
        a.rms_norm_quant.key = k;
        a.rms_norm_quant.x = x;
        a.rms_norm_quant.residual = y;
        a.rms_norm_quant.q = vq_tensor_2d(d->c, VQ_E4M3FN, 2, 256, w);
        a.rms_norm_quant.scale = vq_scale_for(&k, q, VQ_ROWS, d->to);
        break;
    default:
        a.scale_convert.x = vq_tensor_2d(d->q, VQ_E8M0, 16, 32, w);
        a.scale_convert.y = vq_tensor_ordered(VQ_E8M0, 16, 32, VQ_TILES_CDNA4, d->t, w);
    }
    a.call.report = &why;
    a.call.workspace = workspace(0);
    a.call.workspace_bytes = 2048;
    return a;
}

static vq_status call_op(const vq_ctx *vq, vq_op op, const any *a)
{
    switch (op) {
#define X(ID, name) case VQ_OP_##ID: return vq_##name(vq, &a->name);
    VQ_KERNELS(X)
#undef X
    default: return VQ_BAD_ARG;
    }
}

static const char *const slot_name[] = {
    "none",
#define X(ID, name) #name,
    VQ_KERNELS(X)
#undef X
};

static void fill(desk *d)
{
    uint8_t *p = (uint8_t *)d;
    size_t i;
    for (i = 0; i < sizeof *d; i++) p[i] = (uint8_t)(t_rand() >> 24);
    for (i = 0; i < 512; i++) d->x[i] = t_randf(-9, 9);
    for (i = 0; i < 512; i++) d->y[i] = t_randf(-9, 9);
    for (i = 0; i < 8; i++) d->s[i] = t_randf(0, 1);
    d->counts[0] = 1;
    d->counts[1] = (int32_t)(t_rand() % 4) - 1;
}

/* --- what an op leaves alone ------------------------------------------------------ */

static void plan_and_run_allocate_format_and_read_nothing(void)
{
    static desk d;
    vq_desc desc = VQ_ZERO;
    int gpu, i;
    reset("gfx942", NULL);
    fill(&d);
    for (gpu = 0; gpu < 2; gpu++) {
        vq_ctx *vq = start_on(gpu ? VQ_HIP : VQ_CPU, VQ_OK);
        memset(&seen, 0, sizeof seen);
        memset(&why, 0, sizeof why);
        mock.launched = mock_memory.made = 0;
        setenv("VQ_IMPL", "nonsense", 1);                    /* too late to mean anything */
        setenv("VQ_BACKEND", "nonsense", 1);
        for (i = 0; i < COUNT(ops); i++) {
            any a = args_of(ops[i], &d, gpu ? VQ_DEVICE : VQ_HOST);
            vq_choice c;
            CHECKF(vq_plan(vq, ops[i], &a, &c) == VQ_OK && vq_run(vq, &c, &a) == VQ_OK
                   && call_op(vq, ops[i], &a) == VQ_OK, "%s: %s", vq_op_str(ops[i]), why.text);
            CHECK(!gpu || (!strcmp(slot_name[mock.slot], vq_op_str(ops[i])) && mock.args == &a));
        }
        CHECK(mock.launched == (gpu ? 2 * COUNT(ops) : 0));
        CHECKF(!seen.made && !mock_memory.made, "%d allocations", seen.made + mock_memory.made);
        CHECKF(!seen.formatted && !seen.read && !seen.opened, "%d texts, %d variables, %d files",
               seen.formatted, seen.read, seen.opened);
        CHECKF(!why.text[0] && !why.op, "%s", why.text);     /* and wrote no report */
        unsetenv("VQ_IMPL");
        unsetenv("VQ_BACKEND");
        vq_free(vq);
    }
    desc.backend = VQ_CUDA;                                  /* the counters do count */
    desc.library = "build/no-such.so";
    CHECK(start(desc, VQ_UNSUPPORTED) == NULL);
    CHECK(seen.made && seen.formatted && seen.read && seen.opened);
}

static void a_context_for_the_cpu_opens_nothing(void)
{
    reset("gfx942", "sm_90a");
    vq_free(start_on(VQ_CPU, VQ_OK));
    CHECK(!seen.opened && seen.made == 1 && seen.live == 0 && !strstr(said, "hip"));
}

static void an_op_leaves_the_current_device_alone(void)
{
    static desk desk_of;
    vq_desc d = VQ_ZERO;
    vq_ctx *vq;
    void *p;
    int i, k, was;
    reset("gfx942", NULL);
    fill(&desk_of);
    mock.more = 3;
    d.backend = VQ_HIP;
    d.device = 2;
    mock.device = 1;
    vq = start(d, VQ_OK);
    CHECK(mock.device == 1);                                 /* nor does vq_init() change it */
    for (k = 0; k < 4; k++) {
        mock.device = k;
        for (i = 0; i < COUNT(ops); i++) {
            any a = args_of(ops[i], &desk_of, VQ_DEVICE);
            was = mock.launched;
            memset(&why, 0, sizeof why);
            CHECK(call_op(vq, ops[i], &a) == (k == 2 ? VQ_OK : VQ_BAD_ARG));
            CHECK(mock.device == k && mock.launched == was + (k == 2));
            CHECK(mock.at == (k < 2 ? 0 : 2));
            if (k != 2)
                CHECKF(why.guard == VQ_GUARD_CURRENT && why.found == k && why.needed == 2
                       && !strcmp(why.op, vq_op_str(ops[i])), "%s", why.text);
        }
        p = vq_mem_alloc(vq, 64);
        CHECK((p != NULL) == (k == 2) && mock_memory.made == (k >= 2) && mock.device == k);
        CHECK(vq_mem_used(vq).live == (k >= 2 ? 64 : 0));
        vq_mem_reset_peak(vq);
    }
    mock.device = -1;                                        /* the runtime cannot say */
    {
        any a = args_of(VQ_OP_CAST, &desk_of, VQ_DEVICE);
        CHECK(vq_cast(vq, &a.cast) == VQ_BAD_ARG && why.found == -1 && !vq_mem_alloc(vq, 1));
    }
    vq_free(vq);
    CHECK(mock_memory.live == 0 && mock.device == -1 && seen.live == 0);
    d.device = 4;
    CHECK(start(d, VQ_UNSUPPORTED) == NULL && why.guard == VQ_GUARD_BACKEND);
    CHECKF(strstr(said, "no device 4") != NULL, "%s", said);
}

typedef struct { vq_ctx *vq; desk in, out; int wrong; } worker;

/* Every op in turn, quant and dequant there and back: how many of them failed. */
static int work(const vq_ctx *vq, desk *d)
{
    int i, failed = 0;
    for (i = 0; i < COUNT(ops); i++) {
        any a = args_of(ops[i], d, VQ_HOST);
        a.call.report = NULL;
        failed += call_op(vq, ops[i], &a) != VQ_OK;
    }
    return failed;
}

static void *toil(void *user)
{
    worker *w = (worker *)user;
    int i;
    for (i = 0; i < 100; i++) {
        desk d = w->in;
        w->wrong += work(w->vq, &d);
        w->wrong += memcmp(&d, &w->out, sizeof d) != 0;
    }
    return NULL;
}

static void threads_may_run_ops_on_one_context(void)
{
    static worker w[4];
    pthread_t t[4];
    vq_ctx *vq, *alone;
    int i;
    reset(NULL, NULL);
    vq = start_on(VQ_CPU, VQ_OK);
    alone = start_on(VQ_CPU, VQ_OK);
    for (i = 0; i < 4; i++) {
        fill(&w[i].in);
        w[i].vq = vq;
        w[i].wrong = 0;
        w[i].out = w[i].in;
        CHECK(work(alone, &w[i].out) == 0);
        CHECK(memcmp(&w[i].in, &w[i].out, sizeof w[i].in));
        CHECK(i == 0 || memcmp(&w[0].out, &w[i].out, sizeof w[i].out));
    }
    for (i = 0; i < 4; i++) CHECK(!pthread_create(&t[i], NULL, toil, &w[i]));
    for (i = 0; i < 4; i++) pthread_join(t[i], NULL);
    for (i = 0; i < 4; i++) CHECKF(!w[i].wrong, "thread %d: %d runs differ", i, w[i].wrong);
    vq_free(vq);
    vq_free(alone);
}

/* Out of line: the compiler may not move them out of the mode. */
static float    (*volatile decode)(vq_dtype t, uint32_t code) = vq_decode;
static uint32_t (*volatile encode)(vq_dtype t, float x, vq_overflow o) = vq_encode;

static const int modes[] = { FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO };

static void codes_and_values_know_no_rounding_mode(void)
{
    static uint32_t value[VQ_DTYPE_COUNT][0x10000], code[VQ_DTYPE_COUNT][512];
    static float x[512];
    uint32_t c, u;
    int i, t, m;
    for (i = 0; i < 512; i++) {
        u = t_rand();
        if (i % 2) u = (u & 0x83ffffffu) + 0x3d000000u;      /* within small formats */
        memcpy(&x[i], &u, 4);
    }
    for (m = 0; m < COUNT(modes); m++)
        for (t = 1; t < VQ_DTYPE_COUNT; t++) {
            uint32_t most = vq_dtype_bits((vq_dtype)t) > 16 ? 16 : (uint32_t)vq_dtype_bits(
                                                                       (vq_dtype)t);
            int wrong = 0;
            fesetround(modes[m]);
            for (c = 0; c < 1u << most; c++) {
                float v = decode((vq_dtype)t, c);
                memcpy(&u, &v, 4);
                if (!m) value[t][c] = u;
                wrong += value[t][c] != u;
            }
            for (i = 0; i < 512; i++) {
                c = encode((vq_dtype)t, x[i], VQ_NONFINITE);
                if (!m) code[t][i] = c;
                wrong += code[t][i] != c;
            }
            fesetround(FE_TONEAREST);
            CHECKF(!wrong, "%s: mode %d: %d differ", vq_dtype_str((vq_dtype)t), m, wrong);
        }
    CHECK(value[VQ_INT8][0] == 0 && value[VQ_INT4][0] == 0 && value[VQ_INT8][128] == 0xc3000000u);
}

/* --- policies that no implementation here breaks ----------------------------------- */

static const struct vq__row fake = { VQ_OP_QUANT, "fake", VQ_SLOT_QUANT, NULL, 0, VQ__GOOD, NULL,
                                     NULL };

static vq_status try_fake(const vq_ctx *vq, const struct vq__row *row, const any *a, vq_report *r)
{
    vq__view v;
    memset(&v, 0, sizeof v);
    v.call = &a->call;
    vq__see(&v, vq__ops[row->op].fields, vq__ops[row->op].field_count, a);
    vq__try(vq, row, &v, r);
    vq__spell(r);
    return r->status;
}

static void a_policy_forbids_what_it_says(void)
{
    static const struct { uint32_t flags; const char *proven; uint32_t forbid; const char *name; }
    known[] = {
        { VQ__GOOD | VQ_ROW_EMULATED, NULL, VQ_FORBID_EMULATED, "no emulation" },
        { VQ_ROW_BATCH_INVARIANT, NULL, VQ_FORBID_INEXACT, "bit-exact only" },
        { 0, NULL, VQ_FORBID_INEXACT, "bit-exact only" },
        { VQ__GOOD, "gfx950 sm_90", VQ_FORBID_UNPROVEN, "proven only" },
    };
    static desk desk_of;
    vq_report r;
    int i, in_ctx;
    uint32_t bit;
    reset("gfx942", NULL);
    for (i = 0; i < COUNT(known); i++)
        for (in_ctx = 0; in_ctx < 2; in_ctx++)
            for (bit = 0; bit <= VQ_FORBID_ALL; bit++) {
                struct vq__row row = fake;
                vq_desc d = VQ_ZERO;
                any a = args_of(VQ_OP_QUANT, &desk_of, VQ_DEVICE);
                vq_ctx *vq;
                d.backend = VQ_HIP;
                if (in_ctx) d.policy.forbid = bit;
                else a.call.policy.forbid = bit;
                vq = start(d, VQ_OK);
                row.flags = known[i].flags;
                row.proven = known[i].proven;
                CHECKF(try_fake(vq, &row, &a, &r) == (bit & known[i].forbid ? VQ_UNSUPPORTED
                       : VQ_OK), "%d, forbid %u: %s", i, (unsigned)bit, r.text);
                if (bit & known[i].forbid)
                    CHECKF(r.guard == VQ_GUARD_POLICY && r.found == known[i].forbid
                           && r.kind == 's' && !strcmp(r.name, known[i].name)
                           && strstr(r.text, known[i].name), "%s", r.text);
                row.flags = VQ__GOOD;                        /* and nothing else */
                row.proven = "gfx942 gfx950";
                CHECKF(try_fake(vq, &row, &a, &r) == VQ_OK, "forbid %u: %s", (unsigned)bit,
                       r.text);
                vq_free(vq);
            }
}

static void an_instruction_that_is_lacking_is_named(void)
{
    static desk desk_of;
    any a = args_of(VQ_OP_QUANT, &desk_of, VQ_DEVICE);
    struct vq__row row = fake;
    vq_report r;
    vq_ctx *vq;
    reset("gfx942", NULL);
    vq = start_on(VQ_HIP, VQ_OK);
    row.caps = VQ_CAP(E4M3FNUZ_CVT) | VQ_CAP(MX_MMA) | VQ_CAP(FP8_MMA) | VQ_CAP(TMA);
    CHECK(try_fake(vq, &row, &a, &r) == VQ_UNSUPPORTED && r.guard == VQ_GUARD_CAPS);
    CHECKF(r.found == (VQ_CAP(E4M3FNUZ_CVT) | VQ_CAP(FP8_MMA))
           && r.needed == (VQ_CAP(MX_MMA) | VQ_CAP(TMA)) && r.kind == 'c', "%s", r.text);
    CHECKF(!strcmp(r.arg, "gfx942") && strstr(r.text, "needed block-scaled matrix product and bulk "
                                                      "tensor copy"), "%s", r.text);
    row.caps = VQ_CAP(E4M3FNUZ_CVT) | VQ_CAP(FP8_MMA);
    CHECKF(try_fake(vq, &row, &a, &r) == VQ_OK, "%s", r.text);
    vq_free(vq);
    vq = start_on(VQ_CPU, VQ_OK);                            /* a reference that wants a GPU */
    row.slot = VQ_SLOT_NONE;
    a = args_of(VQ_OP_QUANT, &desk_of, VQ_HOST);
    CHECK(try_fake(vq, &row, &a, &r) == VQ_UNSUPPORTED && r.guard == VQ_GUARD_CAPS);
    CHECKF(!r.found && !strcmp(r.arg, "cpu") && strstr(r.text, "found none"), "%s", r.text);
    vq_free(vq);
}

static size_t hundred(const void *args) { (void)args; return 100; }

/* Missing, a byte short, whole but `off` past a multiple of 16, whole: how the last one ends. */
static vq_status with_each_workspace(const vq_ctx *vq, const vq_choice *c, any *a)
{
    const int64_t need = (int64_t)c->workspace_bytes;
    const char *op = vq_op_str(c->op);
    int off;
    a->call.workspace = NULL;
    a->call.workspace_bytes = (size_t)need;
    CHECK(vq_run(vq, c, a) == VQ_OUT_OF_MEMORY);
    CHECKF(why.guard == VQ_GUARD_WORKSPACE && why.found == 0 && why.needed == need
           && !strcmp(why.arg, "workspace") && !strcmp(why.op, op), "%s", why.text);
    a->call.workspace = workspace(0);
    a->call.workspace_bytes = (size_t)need - 1;
    CHECK(vq_run(vq, c, a) == VQ_OUT_OF_MEMORY);
    CHECKF(why.guard == VQ_GUARD_WORKSPACE && why.found == need - 1 && why.needed == need
           && !strcmp(why.arg, "workspace") && !strcmp(why.op, op), "%s", why.text);
    a->call.workspace_bytes = 2048;                          /* more than enough does not help */
    for (off = 1; off < 16; off += off == 1 ? 3 : 4) {       /* 1, 4, 8, 12 */
        a->call.workspace = workspace(off);
        CHECK(vq_run(vq, c, a) == VQ_BAD_ARG);
        CHECKF(why.guard == VQ_GUARD_VALUE && why.found == off && why.needed == 0
               && !strcmp(why.arg, "workspace, its address modulo 16,") && !strcmp(why.op, op),
               "%s", why.text);
    }
    a->call.workspace = workspace(16);
    a->call.workspace_bytes = (size_t)need;
    return vq_run(vq, c, a);
}

static void workspace_that_is_needed_is_reported(void)
{
    static desk d, was;
    any a = args_of(VQ_OP_QUANT, &d, VQ_HOST);
    struct vq__row row = fake;
    vq_report r[2];
    vq_choice c;
    char text[1024];
    vq_ctx *vq;
    int n;
    reset(NULL, NULL);
    fill(&d);
    was = d;
    vq = start_on(VQ_CPU, VQ_OK);
    row.slot = VQ_SLOT_NONE;
    row.workspace = hundred;
    CHECK(vq_explain(vq, VQ_OP_QUANT, &a, r, 2, &n) == VQ_OK && n == 2 && !r[1].workspace_bytes);
    CHECK(try_fake(vq, &row, &a, &r[0]) == VQ_OK);
    r[0].workspace_bytes = (int64_t)row.workspace(&a);
    vq_report_text(r, 1, text, sizeof text);
    CHECKF(strstr(text, "workspace 100 bytes"), "%s", text);
    vq_report_json(r, 1, text, sizeof text);
    CHECKF(strstr(text, "\"workspace_bytes\": 100"), "%s", text);
    c.row = &row;
    c.op = VQ_OP_QUANT;
    c.workspace_bytes = 100;
    a.call.workspace = NULL;
    CHECK(vq_run(vq, &c, &a) == VQ_OUT_OF_MEMORY && !memcmp(&d, &was, sizeof d));
    CHECK(with_each_workspace(vq, &c, &a) == VQ_OK && memcmp(&d, &was, sizeof d));
    vq_free(vq);
}

/* The kernels' own: nothing is launched without it, and the reference wants none. */
static void a_kernel_is_not_launched_without_its_workspace(void)
{
    static const struct { vq_op op; vq_key_id key; size_t bytes; } known[] = {
        { VQ_OP_QUANT,         VQ_KEY_FP8_TENSOR,   2048 },
        { VQ_OP_REQUANT,       VQ_KEY_FP8_TENSOR,   4 },
        { VQ_OP_REQUANT,       VQ_KEY_FP8_GROUP128, 16 },
        { VQ_OP_ACT_MUL_QUANT, VQ_KEY_FP8_CHANNEL,  512 },
    };
    static desk d;
    vq_backend b;
    int i, n;
    fill(&d);
    for (b = VQ_HIP; b <= VQ_CUDA; b = (vq_backend)(b + 1))
        for (i = 0; i < COUNT(known); i++) {
            mock_state *m = b == VQ_HIP ? &mock : &mock_cuda;
            any a = args_of(known[i].op, &d, VQ_DEVICE);
            const vq_key k = vq_key_preset(known[i].key);
            static float scales[256];
            vq_report row[2];
            vq_choice c;
            vq_ctx *vq;
            reset("gfx942", "sm_90a");
            if (known[i].op == VQ_OP_QUANT) {
                a.quant.key = k;
                a.quant.scale = vq_scale_for(&k, a.quant.q, VQ_ROWS, scales);
            } else if (known[i].op == VQ_OP_REQUANT) {
                a.requant.key = k;
                a.requant.scale_out = vq_scale_for(&k, a.requant.q_out, VQ_ROWS, scales);
            } else {
                a.act_mul_quant.key = k;
                a.act_mul_quant.scale = vq_scale_for(&k, a.act_mul_quant.q, VQ_ROWS, scales);
            }
            vq = start_on(b, VQ_OK);
            CHECKF(vq_plan(vq, known[i].op, &a, &c) == VQ_OK && !strcmp(vq_impl_str(&c), "gpu")
                   && c.workspace_bytes == known[i].bytes, "%d: %lu bytes %s", i,
                   (unsigned long)c.workspace_bytes, why.text);
            CHECK(vq_explain(vq, known[i].op, &a, row, 2, &n) == VQ_OK && n == 2
                  && row[0].workspace_bytes == (int64_t)known[i].bytes && !row[1].workspace_bytes);
            a.call.workspace = NULL;
            CHECK(call_op(vq, known[i].op, &a) == VQ_OUT_OF_MEMORY && !m->launched);
            a.call.workspace = workspace(4);
            CHECK(call_op(vq, known[i].op, &a) == VQ_BAD_ARG && !m->launched);
            CHECK(with_each_workspace(vq, &c, &a) == VQ_OK && m->launched == 1 && m->args == &a);
            a.call.workspace = NULL;
            a.call.policy.only = "reference";                /* takes none, but cannot reach it */
            CHECK(call_op(vq, known[i].op, &a) == VQ_UNSUPPORTED && why.guard == VQ_GUARD_PLACE);
            vq_free(vq);
        }
    {
        any a = args_of(VQ_OP_QUANT, &d, VQ_HOST);
        const vq_key k = vq_key_preset(VQ_KEY_FP8_TENSOR);
        vq_choice c;
        vq_ctx *vq;
        reset("gfx942", NULL);
        vq = start_on(VQ_HIP, VQ_OK);
        a.quant.key = k;
        a.quant.scale = vq_scale_for(&k, a.quant.q, VQ_ROWS, d.to);
        a.call.workspace = workspace(4);                     /* not looked at */
        CHECK(vq_plan(vq, VQ_OP_QUANT, &a, &c) == VQ_OK && !c.workspace_bytes);
        CHECK(!strcmp(vq_impl_str(&c), "reference") && vq_quant(vq, &a.quant) == VQ_OK);
        vq_free(vq);
    }
}

/* --- what kernels are there for ----------------------------------------------------------- */

static void every_kernel_has_its_op_on_either_vendor(void)
{
    static const char *const archs[] = { "gfx942", "sm_90" };
    static const vq_op none[] = { VQ_OP_AMAX, VQ_OP_MINMAX, VQ_OP_HISTOGRAM, VQ_OP_PERCENTILE,
                                  VQ_OP_CALIBRATE, VQ_OP_COMPARE };
    static desk d;
    int i, j, n, rows[VQ_OP_COUNT] = { 0 };
    reset(NULL, NULL);
    CHECK(COUNT(ops) + COUNT(none) == VQ_OP_COUNT - 1);
    for (i = 0; i < COUNT(vq__rows); i++) {
        const struct vq__row *row = &vq__rows[i];
        CHECK((row->slot != VQ_SLOT_NONE) == !strcmp(row->impl, "gpu"));
        if (!row->slot) continue;
        rows[row->op]++;
        CHECKF(!strcmp(slot_name[row->slot], vq_op_str(row->op)), "%s", vq_op_str(row->op));
    }
    for (i = 0; i < COUNT(ops); i++) CHECKF(rows[ops[i]] == 1, "%s", vq_op_str(ops[i]));
    for (i = 0; i < COUNT(none); i++) CHECKF(!rows[none[i]], "%s", vq_op_str(none[i]));
    for (i = 0; i < COUNT(archs); i++) {
        vq_desc desc = VQ_ZERO;
        vq_ctx *vq;
        desc.assume = archs[i];
        vq = start(desc, VQ_OK);
        for (j = 0; j < COUNT(ops); j++) {
            any a = args_of(ops[j], &d, VQ_DEVICE);
            vq_report row[2];
            vq_choice c;
            CHECK(vq_explain(vq, ops[j], &a, row, 2, &n) == VQ_OK && n == 2);
            CHECKF(row[0].guard == VQ_GUARD_NONE && !strcmp(row[0].impl, "gpu")
                   && !strcmp(row[0].op, vq_op_str(ops[j])), "%s: %s", archs[i], row[0].text);
            CHECKF(row[0].flags == (VQ__GOOD | (i ? 0 : VQ_ROW_UNPROVEN)), "%s: %s", archs[i],
                   row[0].text);
            CHECKF(row[1].guard == VQ_GUARD_PLACE && !strcmp(row[1].impl, "reference"), "%s: %s",
                   archs[i], row[1].text);
            CHECKF(vq_plan(vq, ops[j], &a, &c) == VQ_OK && !strcmp(vq_impl_str(&c), "gpu"), "%s",
                   why.text);
            CHECK(vq_run(vq, &c, &a) == VQ_UNSUPPORTED && why.guard == VQ_GUARD_PLANNING);
        }
        vq_free(vq);
    }
}

/* The result is the host's: no kernel fills it. */
static void a_result_is_not_for_kernels(void)
{
    static desk d;
    vq_requant_result result;
    vq_report row[2];
    vq_backend b;
    int n;
    fill(&d);
    for (b = VQ_HIP; b <= VQ_CUDA; b = (vq_backend)(b + 1)) {
        mock_state *m = b == VQ_HIP ? &mock : &mock_cuda;
        any a = args_of(VQ_OP_REQUANT, &d, VQ_DEVICE);
        vq_ctx *vq;
        reset("gfx942", "sm_90a");
        vq = start_on(b, VQ_OK);
        CHECK(vq_requant(vq, &a.requant) == VQ_OK && m->launched == 1);
        a.requant.result = &result;
        CHECK(vq_explain(vq, VQ_OP_REQUANT, &a, row, 2, &n) == VQ_OK && n == 2);
        CHECKF(row[0].guard == VQ_GUARD_PATTERN && row[0].status == VQ_UNSUPPORTED
               && !strcmp(row[0].impl, "gpu") && !strcmp(row[0].arg, "result")
               && row[0].found == 1 && row[0].needed == 0 && row[0].kind == 'n'
               && strstr(row[0].text, "requant: gpu: result is not served by this implementation"),
               "%s", row[0].text);
        CHECK(row[1].guard == VQ_GUARD_PLACE);
        CHECK(vq_requant(vq, &a.requant) == VQ_UNSUPPORTED && why.guard == VQ_GUARD_PLACE);
        a.call.policy.only = "gpu";
        CHECK(vq_requant(vq, &a.requant) == VQ_UNSUPPORTED);
        CHECKF(why.guard == VQ_GUARD_PATTERN && !strcmp(why.arg, "result") && why.found == 1
               && !why.needed, "%s", why.text);
        a = args_of(VQ_OP_REQUANT, &d, VQ_MANAGED);          /* the reference has it */
        a.requant.result = &result;
        result.count = -7;
        CHECK(vq_requant(vq, &a.requant) == VQ_OK && result.count == 512 && m->launched == 1);
        vq_free(vq);
    }
}

/* A row whose kernels know fp8 keys of one scale type and a few rules. */
static void a_row_that_serves_some_keys_says_which_it_does_not(void)
{
#define IS(v) (1u << (v))
    enum { FP8 = IS(VQ_E4M3FN) | IS(VQ_E4M3FNUZ) | IS(VQ_E5M2) | IS(VQ_E5M2FNUZ),
           GROUPS = IS(VQ__TOKEN) | IS(VQ__GROUP),
           SCALES = IS(VQ_SCALE_GIVEN) | IS(VQ_SCALE_DIV) | IS(VQ_SCALE_INV),
           CODES = IS(VQ_CODE_DIV) | IS(VQ_CODE_INV) };
    static const struct vq__pattern some = { FP8, IS(VQ_F32), GROUPS, SCALES, CODES, IS(VQ_F32), 0 };
    static const struct { const char *key, *arg; int64_t found, needed; const char *words; uint32_t part; }
    known[] = {
        { "fp8_group128", NULL, 0, 0, "quant: fake: runs", 0 },
        { "fp8_token",    NULL, 0, 0, "quant: fake: runs", 0 },
        { "int8_token", "key.elem", VQ_INT8, FP8, "found int8, needed float8_e4m3fn or ", 0 },
        { "mxfp4", "key.elem", VQ_E2M1, FP8, "found float4_e2m1fn, needed float8_e4m3fn or ", 0 },
        { "mxfp8", "key.scale_type", VQ_E8M0, IS(VQ_F32), "found float8_e8m0fnu, needed f32", 0 },
        { "fp8_tensor",   "the grouping", VQ__TENSOR, GROUPS, "found ", 0 },
        { "fp8_channel",  "the grouping", VQ__CHANNEL, GROUPS, "found ", 0 },
        { "fp8_block128", "the grouping", VQ__BLOCK, GROUPS, "found ", 0 },
        { "float8_e4m3fn/f32/1x128/dyn/amax.recip448/x.div.s", "key.scale_rule", VQ_SCALE_RECIP, SCALES,
          "found amax.recip, needed max or amax.div or amax.inv", 0 },
        { "float8_e4m3fn/f32/1x128/dyn/amax.rceil448/x.div.s", "key.scale_rule", VQ_SCALE_RCEIL, SCALES,
          "found amax.rceil, needed max or amax.div or amax.inv", 0 },
        { "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.inv0.s", "key.code_rule", VQ_CODE_INV0, CODES,
          "found x.inv0.s, needed x.div.s or x.inv.s", 0 },
        { "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.inv.amax", "key.code_rule", VQ_CODE_AMAX, CODES,
          "found x.inv.amax, needed x.div.s or x.inv.s", 0 },
        { "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.div.s/arith=bf16", "key.arith", VQ_BF16,
          IS(VQ_F32), "found bf16, needed f32", 0 },
        { "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.div.s/bound=amax", "key.bound_kind",
          VQ_BOUND_AMAX, 0, "found 1, needed 0", VQ__BOUND },
        { "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.div.s/scale2=mul", "key.scale2_kind",
          VQ_SCALE2_MUL, 0, "found 1, needed 0", VQ__SCALE2 },
        { "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.div.s/overflow=nonfinite", "key.overflow",
          VQ_NONFINITE, 0, "found 1, needed 0", VQ__NONFINITE },
    };
    static desk desk_of;
    any a = args_of(VQ_OP_QUANT, &desk_of, VQ_DEVICE);
    struct vq__row row = fake;
    struct vq__pattern wider;
    vq_report r;
    vq_ctx *vq;
    int i, j;
    reset("gfx942", NULL);
    vq = start_on(VQ_HIP, VQ_OK);
    for (i = 0; i < COUNT(known); i++) {
        const uint32_t ints[] = { VQ__ASYM, VQ__BOUND, VQ__SCALE2, VQ__NONFINITE };
        CHECKF(vq_key_parse(known[i].key, &a.quant.key, &r) == VQ_OK, "%s", r.text);
        row.keys = &some;
        CHECKF(try_fake(vq, &row, &a, &r) == (known[i].arg ? VQ_UNSUPPORTED : VQ_OK), "%s: %s",
               known[i].key, r.text);
        CHECKF(strstr(r.text, known[i].words) != NULL, "%s: %s", known[i].key, r.text);
        row.keys = &vq__any_key;
        if (known[i].arg) {
            CHECKF(r.guard == VQ_GUARD_PATTERN && !strcmp(r.arg, known[i].arg)
                   && r.found == known[i].found && r.needed == known[i].needed, "%s: %s",
                   known[i].key, r.text);
            CHECKF(try_fake(vq, &row, &a, &r) == VQ_OK, "%s: %s", known[i].key, r.text);
        }
        for (j = 0; known[i].part && j < COUNT(ints); j++) { /* the part it wants, no other */
            wider = some;
            wider.parts = ints[j];
            row.keys = &wider;
            CHECKF(!try_fake(vq, &row, &a, &r) == (ints[j] == known[i].part), "%s: %s",
                   known[i].key, r.text);
        }
    }
    wider = vq__any_key;                                     /* a zero point */
    wider.parts = ~VQ__ASYM;
    row.keys = &wider;
    a.quant.key = vq_key_preset(VQ_KEY_INT8_TOKEN_AZP);
    CHECK(try_fake(vq, &row, &a, &r) == VQ_UNSUPPORTED && r.guard == VQ_GUARD_PATTERN);
    CHECKF(!strcmp(r.arg, "key.asym") && r.found == 1 && !r.needed, "%s", r.text);
    wider.parts = VQ__ASYM;
    CHECKF(try_fake(vq, &row, &a, &r) == VQ_OK, "%s", r.text);
    vq_free(vq);
#undef IS
}

/* --- tables with holes ---------------------------------------------------------------- */

static void a_hole_in_a_table_takes_away_one_op(void)
{
    static desk d;
    vq_ctx *vq;
    int slot, i;
    reset("gfx950", NULL);
    fill(&d);
    vq = start_on(VQ_HIP, VQ_OK);
    for (slot = 1; slot < VQ_SLOT_COUNT; slot++) {
        vq_kernel_fn was = mock_table.kernel[slot];
        mock_table.kernel[slot] = NULL;
        for (i = 0; i < COUNT(ops); i++) {
            int hole = !strcmp(vq_op_str(ops[i]), slot_name[slot]), n;
            any a = args_of(ops[i], &d, VQ_DEVICE);
            vq_report row[2];
            mock.launched = 0;
            CHECK(call_op(vq, ops[i], &a) == (hole ? VQ_UNSUPPORTED : VQ_OK));
            CHECK(mock.launched == !hole);
            CHECK(vq_explain(vq, ops[i], &a, row, 2, &n) == VQ_OK && n == 2);
            CHECKF(row[0].guard == (hole ? VQ_GUARD_KERNEL : VQ_GUARD_NONE)
                   && row[1].guard == VQ_GUARD_PLACE, "%s", row[0].text);
            if (!hole) continue;
            CHECKF(row[0].arg && !strcmp(row[0].arg, "the kernel") && !row[0].kind, "%s",
                   row[0].text);
            a = args_of(ops[i], &d, VQ_MANAGED);             /* the reference has it */
            CHECK(call_op(vq, ops[i], &a) == VQ_OK && !mock.launched);
        }
        mock_table.kernel[slot] = was;
    }
    vq_free(vq);
}

/* --- hooks ------------------------------------------------------------------------------ */

static char heard[512];

static void trace(void *user, vq_when when, const char *op, const char *impl, const void *args,
                  vq_status status)
{
    CHECK(user == heard && args != NULL);
    sprintf(heard + strlen(heard), "%c %s %s %d;", when == VQ_BEFORE ? '<' : '>', op, impl,
            (int)status);
}

static void the_trace_hears_what_failed_too(void)
{
    static desk d;
    vq_desc desc = VQ_ZERO;
    vq_ctx *vq;
    int i;
    reset("gfx942", NULL);
    desc.backend = VQ_HIP;
    desc.trace = trace;
    desc.trace_user = heard;
    vq = start(desc, VQ_OK);
    for (i = 0; i < COUNT(ops); i++) {
        any a = args_of(ops[i], &d, VQ_DEVICE);
        char want[128];
        heard[0] = 0;
        mock.launch = 0;
        CHECK(call_op(vq, ops[i], &a) == VQ_OK);
        snprintf(want, sizeof want, "< %s gpu 0;> %s gpu 0;", vq_op_str(ops[i]),
                 vq_op_str(ops[i]));
        CHECKF(!strcmp(heard, want), "%s", heard);
        heard[0] = 0;
        mock.launch = 719;
        CHECK(call_op(vq, ops[i], &a) == VQ_DEVICE_FAILED && why.guard == VQ_GUARD_LAUNCH);
        CHECKF(why.found == 719 && !strcmp(why.op, vq_op_str(ops[i])) && !strcmp(why.impl, "gpu")
               && strstr(why.text, "unspecified launch failure"), "%s", why.text);
        snprintf(want, sizeof want, "< %s gpu 0;> %s gpu %d;", vq_op_str(ops[i]),
                 vq_op_str(ops[i]), (int)VQ_DEVICE_FAILED);
        CHECKF(!strcmp(heard, want), "%s", heard);
        heard[0] = 0;
        a.call.policy.forbid = VQ_FORBID_UNPROVEN;           /* not chosen, not heard */
        CHECK(call_op(vq, ops[i], &a) == VQ_UNSUPPORTED && !heard[0]);
    }
    {
        any a = args_of(VQ_OP_QUANT, &d, VQ_DEVICE);
        mock.device = 1;
        heard[0] = 0;
        CHECK(vq_quant(vq, &a.quant) == VQ_BAD_ARG);
        CHECKF(!strcmp(heard, "< quant gpu 0;> quant gpu 1;"), "%s", heard);
    }
    vq_free(vq);
}

/* --- when memory or the build fails ------------------------------------------------------- */

static void a_failing_allocation_leaves_nothing_behind(void)
{
    vq_backend b;
    int n;
    for (b = VQ_HIP; b <= VQ_CPU; b = (vq_backend)(b + 1)) {
        vq_ctx *vq;
        void *p, *q;
        reset("gfx942", "sm_90");
        seen.fail_at = 1;
        CHECK(start_on(b, VQ_OUT_OF_MEMORY) == NULL && seen.live == 0);
        CHECKF(why.guard == VQ_GUARD_ALLOC && why.status == VQ_OUT_OF_MEMORY && why.found == 0
               && why.needed > 0 && why.kind == 'n' && !strcmp(why.arg, "the context"), "%s",
               why.text);
        seen.fail_at = 0;
        vq = start_on(b, VQ_OK);
        p = vq_mem_alloc(vq, 100);
        CHECK(p != NULL);
        for (n = 1; n <= 3; n++) {                           /* each allocation, and none */
            int live = seen.live, on_device = mock_memory.live;
            seen.fail_at = seen.made + n;
            q = vq_mem_alloc(vq, 28);
            if (n > (b == VQ_CPU ? 2 : 1)) {
                CHECK(q != NULL && vq_mem_used(vq).live == 128);
                vq_mem_free(vq, q);
            } else CHECK(q == NULL);
            CHECK(seen.live == live && mock_memory.live == on_device);
            CHECK(vq_mem_used(vq).live == 100);
            if (n == 1) CHECK(vq_mem_used(vq).peak == 100);
        }
        seen.fail_at = 0;
        mock_memory.none = 1;
        CHECK((vq_mem_alloc(vq, 28) == NULL) == (b != VQ_CPU));
        mock_memory.none = 0;
        vq_free(vq);
        CHECK(seen.live == 0 && mock_memory.live == 0);
    }
}

static void refusing_to_start_leaves_nothing_behind(void)
{
    vq_desc d = VQ_ZERO;
    reset(NULL, NULL);
    CHECK(start_on(VQ_HIP, VQ_UNSUPPORTED) == NULL && seen.made == 1 && seen.live == 0);
    d.assume = "gfx1337";
    CHECK(start(d, VQ_UNSUPPORTED) == NULL && seen.made == 2 && seen.live == 0);
    broken_part = 4;
    CHECK(start_on(VQ_CPU, VQ_UNSUPPORTED) == NULL && seen.made == 3 && seen.live == 0);
    broken_part = 0;
}

static void a_build_that_computes_wrongly_is_refused(void)
{
    static const uint32_t right[] = VQ__SELF_TEST_IN;
    static const struct { int part, at; uint32_t operand; } wrong[] = {
        { 1, 0, 0x3f800801u }, { 1, 1, 0x3f801001u }, { 3, 2, 0x01000000u }, { 3, 3, 0x3e000000u },
        { 4, 4, 0x40a00001u }, { 4, 5, 0x40400001u }, { 5, 6, 0x40000002u }, { 6, 7, 0x3f800001u },
    };
    uint32_t in[VQ__SELF_TEST_COUNT];
    vq_backend b;
    int i;
    uint64_t was = vq__fp_enter();                           /* a library may have left it other */
    CHECK(COUNT(right) == VQ__SELF_TEST_COUNT && vq__self_test_of(right) == 0);
    for (i = 0; i < COUNT(wrong); i++) {
        memcpy(in, right, sizeof in);
        in[wrong[i].at] = wrong[i].operand;
        CHECKF(vq__self_test_of(in) == wrong[i].part, "operand %d: part %d", wrong[i].at,
               vq__self_test_of(in));
    }
    memcpy(in, right, sizeof in);
    in[0] = in[1] = 0x3f800000u;                             /* 1: the square is exact */
    CHECK(vq__self_test_of(in) == 2);
    vq__fp_leave(was);
    for (i = 1; i <= 6; i++)
        for (b = VQ_ANY; b <= VQ_CPU; b = (vq_backend)(b + 1)) {
            reset("gfx942", "sm_90");
            broken_part = i;
            CHECK(start_on(b, VQ_UNSUPPORTED) == NULL);
            CHECKF(why.guard == VQ_GUARD_SELFTEST && why.found == i && why.needed == 0
                   && why.kind == 'n' && !strcmp(why.arg, "this build"), "%s", why.text);
            broken_part = 0;
        }
}

static void a_desc_that_cannot_be_is_refused(void)
{
    static const uint32_t unknown[] = { 0x10, 0x80, 0x80000001u, 0xffffffffu };
    static const struct { const char *assume; vq_backend backend, of; } others[] = {
        { "gfx950", VQ_CUDA, VQ_HIP }, { "gfx950", VQ_CPU, VQ_HIP }, { "sm_90", VQ_HIP, VQ_CUDA },
        { "sm_90", VQ_CPU, VQ_CUDA }, { "cpu", VQ_HIP, VQ_CPU }, { "cpu", VQ_CUDA, VQ_CPU },
    };
    vq_desc d;
    int i;
#define REFUSED(guard_, arg_, found_, needed_) do { \
    CHECK(start(d, VQ_BAD_ARG) == NULL && seen.live == 0); \
    CHECKF(why.guard == VQ_GUARD_##guard_ && !strcmp(why.arg, arg_) && why.found == (found_) \
           && why.needed == (needed_) && why.nearest == (needed_) && strstr(why.text, arg_), \
           "%s", why.text); } while (0)
    reset("gfx942", "sm_90");
    memset(&d, 0, sizeof d);
    for (i = 0; i < COUNT(unknown); i++) {
        d.policy.forbid = unknown[i];
        REFUSED(VALUE, "policy.forbid", unknown[i], 15);
    }
    memset(&d, 0, sizeof d);
    d.policy.only = "gpu0";
    REFUSED(NAME, "policy.only", 0, 0);
    CHECK(!strcmp(why.name, "gpu0"));
    d.policy.only = "";
    REFUSED(NAME, "policy.only", 0, 0);
    memset(&d, 0, sizeof d);
    d.backend = VQ_BACKEND_COUNT;
    REFUSED(VALUE, "desc.backend", VQ_BACKEND_COUNT, VQ_BACKEND_COUNT - 1);
    d.backend = (vq_backend)-1;
    REFUSED(VALUE, "desc.backend", -1, VQ_BACKEND_COUNT - 1);
    for (i = VQ_ANY; i < VQ_BACKEND_COUNT; i++) {
        d.backend = (vq_backend)i;
        d.device = -1;
        REFUSED(VALUE, "desc.device", -1, 0);
        d.device = INT32_MIN;
        REFUSED(VALUE, "desc.device", INT32_MIN, 0);
    }
    d.backend = VQ_CPU;
    d.device = 7;
    REFUSED(VALUE, "desc.device", 7, 0);
    d.backend = VQ_ANY;
    setenv("VQ_BACKEND", "cpu", 1);
    REFUSED(VALUE, "desc.device", 7, 0);
    unsetenv("VQ_BACKEND");
    memset(&d, 0, sizeof d);
    for (i = 0; i < COUNT(others); i++) {
        d.assume = others[i].assume;
        d.backend = others[i].backend;
        REFUSED(VALUE, "desc.backend", others[i].backend, others[i].of);
        d.backend = others[i].of;
        vq_free(start(d, VQ_OK));
        d.backend = VQ_ANY;
        vq_free(start(d, VQ_OK));
    }
    CHECK(vq_mem_copy(NULL, &d, &d, 1) == VQ_BAD_ARG && vq_mem_copy(NULL, NULL, NULL, 0)
          == VQ_BAD_ARG);
}

/* --- two vendors ---------------------------------------------------------------------------- */

static void hip_comes_before_cuda_and_the_cpu_last(void)
{
    static desk desk_of;
    vq_desc d = VQ_ZERO;
    vq_ctx *vq;
    any a = args_of(VQ_OP_CAST, &desk_of, VQ_DEVICE);
    reset("gfx942", "sm_90a");
    vq = start(d, VQ_OK);
    CHECK(vq_platform_in(vq).backend == VQ_HIP && !strstr(said, "cuda"));
    CHECK(vq_cast(vq, &a.cast) == VQ_OK && mock.launched == 1 && mock_cuda.launched == 0);
    vq_free(vq);
    vq = start_on(VQ_CUDA, VQ_OK);
    CHECK(!strcmp(vq_platform_in(vq).name, "sm_90") && !strcmp(vq_arch_in(vq), "sm_90a"));
    CHECK(!strstr(said, "hip"));
    CHECK(vq_cast(vq, &a.cast) == VQ_OK && mock.launched == 1 && mock_cuda.launched == 1);
    a.call.policy.forbid = VQ_FORBID_UNPROVEN;               /* sm_90 is where they did run */
    CHECK(vq_cast(vq, &a.cast) == VQ_OK && mock_cuda.launched == 2);
    vq_free(vq);
    reset(NULL, "sm_90a");
    vq = start(d, VQ_OK);
    CHECK(vq_platform_in(vq).backend == VQ_CUDA && vq_mem_where(vq) == VQ_DEVICE);
    CHECKF(strstr(said, "hip: skipped: no device 0") && strstr(said, "cuda: device 0 is sm_90a"),
           "%s", said);
    vq_free(vq);
    reset(NULL, NULL);
    vq = start(d, VQ_OK);
    CHECK(vq_platform_in(vq).backend == VQ_CPU && vq_mem_where(vq) == VQ_HOST);
    vq_free(vq);
}

static void a_cuda_library_that_does_not_fit_is_news(void)
{
    static const struct { const char *arch, *words; int self_test, abi; const char *archs; }
    wrong[] = {
        { NULL,     "cuda: skipped: no device 0", 0, 0, NULL },
        { "sm_999", "sm_999", 0, 0, NULL },
        { "sm_90",  "code for sm_80 sm_100, not for sm_90", 0, 0, "sm_80 sm_100" },
        { "sm_90",  "cuda: skipped: built with VQ_ABI_VERSION", 0, 1, NULL },
        { "sm_90",  "sm_90 fails part 5 of its self-test", 5, 0, NULL },
        { "sm_90",  "cannot run its self-test: unspecified launch failure", -719, 0, NULL },
        { "sm_90",  "cannot run its self-test: no reason given", -7, 0, NULL },
    };
    int i;
    for (i = 0; i < COUNT(wrong); i++) {
        reset(NULL, wrong[i].arch);
        mock_cuda.self_test = wrong[i].self_test;
        mock_cuda_table.abi += (uint32_t)wrong[i].abi;
        mock_cuda_table.archs = wrong[i].archs;
        vq_free(start_on(VQ_ANY, VQ_OK));
        CHECKF(strstr(said, wrong[i].words), "wanted \"%s\" in: %s", wrong[i].words, said);
        CHECK(start_on(VQ_CUDA, VQ_UNSUPPORTED) == NULL);
        CHECKF(why.guard == VQ_GUARD_BACKEND && !strcmp(why.name, "cuda"), "%s", why.text);
        CHECKF(!strstr(said, "hip"), "%s", said);
        mock_cuda_table.abi -= (uint32_t)wrong[i].abi;
        mock_cuda_table.archs = NULL;
    }
    reset(NULL, NULL);
    mock_cuda.null = 1;
    CHECK(start_on(VQ_CUDA, VQ_UNSUPPORTED) == NULL && strstr(said, "VQ_ABI_VERSION 0"));
}

static void one_file_may_serve_both_vendors(void)
{
    static const struct { vq_backend b; const char *arch, *variable, *value, *words; } known[] = {
        { VQ_HIP,  "gfx942", "MOCK_ARCH",           "gfx1337", "gfx1337" },
        { VQ_CUDA, "sm_90a", "MOCK_CUDA_ARCH",      "sm_35",   "sm_35" },
        { VQ_CUDA, "sm_90a", "MOCK_CUDA_ARCH",      "sm_100",  "not for sm_100" },
        { VQ_CUDA, "sm_90a", "MOCK_CUDA_ABI",       "2",       "VQ_ABI_VERSION" },
        { VQ_CUDA, "sm_90a", "MOCK_CUDA_SELF_TEST", "6",       "part 6" },
    };
    vq_desc d = VQ_ZERO;
    int i;
    reset(NULL, NULL);                                       /* the linked ones do not fit */
    d.library = "build/libvq_mock.so";
    for (i = 0; i < COUNT(known); i++) {
        vq_ctx *vq;
        d.backend = known[i].b;
        vq = start(d, VQ_OK);
        if (vq) CHECKF(!strcmp(vq_arch_in(vq), known[i].arch), "%s", said);
        vq_free(vq);
        setenv(known[i].variable, known[i].value, 1);
        CHECK(start(d, VQ_UNSUPPORTED) == NULL && why.guard == VQ_GUARD_BACKEND);
        CHECKF(strstr(said, known[i].words), "%s", said);
        unsetenv(known[i].variable);
    }
    d.backend = VQ_ANY;
    setenv("MOCK_ARCH", "gfx90a", 1);                        /* HIP has no code for it */
    {
        vq_ctx *vq = start(d, VQ_OK);
        CHECKF(vq && vq_platform_in(vq).backend == VQ_CUDA, "%s", said);
        vq_free(vq);
    }
    unsetenv("MOCK_ARCH");
    d.library = "build/libfast.so";
    d.backend = VQ_CUDA;
    CHECK(start(d, VQ_UNSUPPORTED) == NULL);
    CHECKF(strstr(said, "no symbol vq_kernels_cuda"), "%s", said);
}

static void a_loaded_library_stays(void)
{
    vq_desc d = VQ_ZERO;
    void *lib;
    reset(NULL, NULL);
    d.backend = VQ_HIP;
    d.library = "build/libvq_mock.so";
    vq_free(start(d, VQ_OK));
    lib = dlopen("build/libvq_mock.so", RTLD_NOW | RTLD_NOLOAD);
    CHECK(lib != NULL && dlsym(lib, "vq_kernels_hip") != NULL);
    if (lib) dlclose(lib);                                   /* what this line's dlopen added */
    lib = dlopen("build/libvq_mock.so", RTLD_NOW | RTLD_NOLOAD);
    CHECK(lib != NULL);
    if (lib) dlclose(lib);
    d.library = "build/libfast.so";                          /* one that was turned down, too */
    CHECK(start(d, VQ_UNSUPPORTED) == NULL);
    lib = dlopen("build/libfast.so", RTLD_NOW | RTLD_NOLOAD);
    CHECK(lib != NULL);
    if (lib) dlclose(lib);
    CHECK(dlopen("build/no-such.so", RTLD_NOW | RTLD_NOLOAD) == NULL);
}

VQ_TEST_MAIN(
    T(plan_and_run_allocate_format_and_read_nothing),
    T(a_context_for_the_cpu_opens_nothing),
    T(an_op_leaves_the_current_device_alone),
    T(threads_may_run_ops_on_one_context),
    T(codes_and_values_know_no_rounding_mode),
    T(a_policy_forbids_what_it_says),
    T(an_instruction_that_is_lacking_is_named),
    T(workspace_that_is_needed_is_reported),
    T(a_kernel_is_not_launched_without_its_workspace),
    T(every_kernel_has_its_op_on_either_vendor),
    T(a_result_is_not_for_kernels),
    T(a_row_that_serves_some_keys_says_which_it_does_not),
    T(a_hole_in_a_table_takes_away_one_op),
    T(the_trace_hears_what_failed_too),
    T(a_failing_allocation_leaves_nothing_behind),
    T(refusing_to_start_leaves_nothing_behind),
    T(a_build_that_computes_wrongly_is_refused),
    T(a_desc_that_cannot_be_is_refused),
    T(hip_comes_before_cuda_and_the_cpu_last),
    T(a_cuda_library_that_does_not_fit_is_news),
    T(one_file_may_serve_both_vendors),
    T(a_loaded_library_stays))
