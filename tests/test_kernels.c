/* test_kernels.c - the kernels on a GPU that is a CPU: the bytes of the reference, and no fault

   build/libvq_standin_64.so and _32.so are vq_kernels.hip beside tests/standin, for waves of 64 and
   32 lanes; they are loaded as any kernel library is. Every op that has a row beside its reference
   is found by asking, and run; standin/differ.h says what is compared, standin/standin.cc what
   kernels may not do. fuzz_kernels.c does the same at random, for longer. */
#define _XOPEN_SOURCE 700
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "standin/differ.h"

static const char *const libraries[] = { "build/libvq_standin_64.so", "build/libvq_standin_32.so" };

#define START() do { \
    if (!gpu_count) atexit(stop_machines); \
    if (!start_machines(libraries[0], libraries[1])) { \
        CHECKF(0, "%s", "no stand-in: make build/libvq_standin_64.so build/libvq_standin_32.so"); \
        return; \
    } } while (0)

/* --- every op, through what it can be asked for ------------------------------------ */

static const int64_t shapes[][2] = { {1, 1}, {1, 128}, {3, 384}, {5, 77}, {2, 1032}, {33, 65},
                                    {130, 12} };

static int has_key(vq_op o)
{
    int n, i;
    const vq_field *f = vq_op_fields(o, &n);
    for (i = 0; i < n; i++) if (f[i].kind == VQ_FIELD_KEY) return 1;
    return 0;
}

/* Each key over each shape, of a type and in a manner that go round; all of them if exhaustive. */
static void every_preset_gives_the_bytes_of_the_reference(void)
{
    static const vq_dtype types[] = { VQ_F32, VQ_F16, VQ_BF16 };
    const int count = COUNT(shapes);
    int o, k, s, i, served = 0;
    START();
    for (o = 1; o < VQ_OP_COUNT; o++) {
        if (!has_key((vq_op)o) || !has_kernel((vq_op)o)) continue;
        for (k = 0; k < VQ_KEY_COUNT; k++) {
            int any = 0;
            for (s = 0; s < count; s++)
                for (i = 0; i < (t_exhaustive ? 6 : 1); i++) {
                    const int turn = t_exhaustive ? i : (s + k) % 6;
                    wish w = anything();
                    w.op = o;
                    w.key = k;
                    w.rows = shapes[s][0];
                    w.cols = shapes[s][1];
                    w.type = types[turn % 3];
                    w.aligned = turn < 3;
                    w.gaps = turn < 3 ? 0 : 3;
                    any += try_case(&w);
                }
            served += any > 0;
        }
    }
    printf("[%d keys of ops] ", served);
    CHECK(served > 0);
}

/* Every pair of types of ops without a key, every value of what they can choose. */
static void every_type_gives_the_bytes_of_the_reference(void)
{
    int o, in, out, s, turn;
    START();
    for (o = 1; o < VQ_OP_COUNT; o++) {
        if (has_key((vq_op)o) || !has_kernel((vq_op)o)) continue;
        for (in = 1; in < VQ_DTYPE_COUNT; in++)
            for (out = 1; out < VQ_DTYPE_COUNT; out++)
                for (s = 0; s < 4; s++)
                    for (turn = 0; turn < 2; turn++) {
                        wish w = anything();
                        w.op = o;
                        w.rows = shapes[2 * s % 7][0];
                        w.cols = s == 3 ? 8 : shapes[2 * s % 7][1] % 150;
                        w.in = in;
                        w.out = out;
                        w.aligned = !turn;
                        w.gaps = turn ? 3 : 0;
                        if (!try_case(&w)) s = 4;
                    }
    }
}

static void every_code_of_16_bits_gives_the_bytes_of_the_reference(void)
{
    int o, t, turn;
    START();
    for (o = 1; o < VQ_OP_COUNT; o++)
        for (t = 0; has_kernel((vq_op)o) && t < 2; t++)
            for (turn = 0; turn < 2; turn++) {
                wish w = anything();
                w.op = o;
                w.key = turn ? VQ_KEY_FP8_TOKEN : VQ_KEY_FP8_GROUP128;
                w.rows = 16;
                w.cols = 4096;
                w.type = t ? VQ_F16 : VQ_BF16;
                w.gaps = 0;
                w.character = EVERY_CODE;
                try_case(&w);
            }
}

static void many_rows_and_wide_rows_work(void)
{
    static const int keys[] = { VQ_KEY_FP8_TENSOR, VQ_KEY_FP8_TOKEN, VQ_KEY_FP8_BLOCK128 };
    static const int64_t large[][2] = { {1, 20000}, {3001, 3}, {257, 300}, {2, 8200}, {1, 65},
                                       {65, 1} };
    int o, s, turn;
    START();
    for (o = 1; o < VQ_OP_COUNT; o++)
        for (s = 0; has_kernel((vq_op)o) && s < COUNT(large); s++)
            for (turn = 0; turn < 3; turn++) {
                wish w = anything();
                w.op = o;
                w.key = keys[turn];
                w.rows = large[s][0];
                w.cols = large[s][1];
                try_case(&w);
            }
}

/* bf16, aligned, without gaps: what the kernels that keep a row in registers take. */
static void rows_that_registers_hold_give_the_bytes_of_the_reference(void)
{
    static const char *const names[] = { "quant", "act_mul_quant", "rms_norm", "rms_norm_quant" };
    static const int keys[] = { VQ_KEY_FP8_TOKEN, VQ_KEY_FP8_STATIC, VQ_KEY_FP8_GROUP128,
                                VQ_KEY_INT8_TOKEN, VQ_KEY_INT8_GROUP128, VQ_KEY_FP8_STATIC_TOKEN };
    static const int64_t cols[] = { 8, 136, 1024, 1032, 2880, 4096, 7168, 8192 };
    int o, k, c, turn, n = 0;
    START();
    for (o = 0; o < COUNT(names); o++)
        for (k = 0; k < COUNT(keys); k++)
            for (c = 0; c < COUNT(cols); c++)
                for (turn = 0; turn < 2; turn++) {
                    wish w = anything();
                    w.op = (int)vq_op_of(names[o]);
                    if (w.op == VQ_OP_NONE) continue;
                    w.key = keys[k];
                    w.rows = turn ? cols[c] < 1024 ? 259 : 1 : 3;
                    w.cols = cols[c];
                    w.type = VQ_BF16;
                    w.aligned = 1;
                    w.gaps = 0;
                    n += try_case(&w);
                }
    CHECKF(n > 200, "%d", n);
}

/* A scale that its type cannot hold is too small: x over it leaves f32. */
static void a_quotient_beyond_f32_is_the_largest_code(void)
{
    static const float big[] = { -3e38f, 3e38f, -1e38f, 2e37f, -7.0f, 0.0f, -INFINITY, 1e30f };
    static float x[3 * 256], g2 = 1e6f;
    uint8_t q[2][3 * 128], scale[2][3 * 16];
    int i, m;
    START();
    for (i = 0; i < COUNT(x); i++) x[i] = big[i % 8 ^ i / 16 % 8];
    for (m = 0; m <= gpu_count; m++) {
        vq_ctx *vq = m ? gpus[m - 1].vq : cpu;
        vq_quant_args a = VQ_ZERO;
        char *p = (char *)vq_mem_alloc(vq, 1 << 16);
        CHECKF(vq_key_parse("float4_e2m1fn/ue4m3/1x16/dyn/amax.inv6/x.div.s/notail/scale2=div", &a.key,
                            &why) == VQ_OK, "%s", why.text);
        a.x = vq_tensor_2d(p, VQ_F32, 3, 256, vq_mem_where(vq));
        a.q = vq_tensor_2d(p + 4096, VQ_E2M1, 3, 256, vq_mem_where(vq));
        a.scale = vq_scale_for(&a.key, a.q, VQ_ROWS, p + 8192);
        a.scale2 = vq_tensor_2d(p + 12288, VQ_F32, 1, 1, vq_mem_where(vq));
        a.call.report = &why;
        CHECK(vq_mem_copy(vq, p, x, sizeof x) == VQ_OK && vq_mem_copy(vq, p + 12288, &g2, 4) == VQ_OK);
        CHECKF(vq_quant(vq, &a) == VQ_OK, "%s", why.text);
        CHECK(vq_mem_copy(vq, q[m > 0], p + 4096, sizeof q[0]) == VQ_OK);
        CHECK(vq_mem_copy(vq, scale[m > 0], p + 8192, sizeof scale[0]) == VQ_OK);
        CHECKF(!m || (!memcmp(q[0], q[1], sizeof q[0]) && !memcmp(scale[0], scale[1], sizeof scale[0])),
               "%s", gpus[m ? m - 1 : 0].path);
        vq_mem_free(vq, p);
    }
    CHECK(scale[0][0] == 0x7e && (q[0][0] & 15) == 15);      /* 448, and -6 */
}

static void an_extent_of_zero_launches_nothing_or_writes_nothing(void)
{
    static const int64_t none[][2] = { {0, 0}, {0, 128}, {7, 0} };
    int o, s, turn, n;
    START();
    for (o = 1; o < VQ_OP_COUNT; o++)
        for (n = 0, s = 0; has_kernel((vq_op)o) && s < 3; s++)
            for (turn = 0; turn < 20; turn++) {
                wish w = anything();
                w.op = o;
                w.key = turn ? ANY : VQ_KEY_FP8_TOKEN;
                w.rows = none[s][0];
                w.cols = none[s][1];
                n += try_case(&w);
                CHECKF(turn < 19 || s < 2 || n, "%s", vq_op_str((vq_op)o));
            }
}

/* Scales in every layout, through whatever op takes them. */
static void every_layout_gives_the_bytes_of_the_reference(void)
{
    int i, n = 0;
    START();
    for (i = 0; i < 700; i++) {
        wish w = anything();
        w.op = (int)vq_op_of("scale_convert");
        if (w.op == VQ_OP_NONE) return;
        w.in = one_in(3) ? ANY : one_in(2) ? VQ_E8M0 : VQ_UE4M3;
        w.rows = 1 + below(140);
        w.cols = 1 + below(40);
        w.gaps = 6;
        n += try_case(&w);
    }
    CHECKF(n > 500, "%d", n);
}

static void every_kernel_of_the_library_was_reached(void)
{
    int i, o, runs = 0;
    wish w = anything();
    START();
    for (o = 1; o < VQ_OP_COUNT; o++) {
        if (!has_kernel((vq_op)o)) continue;
        w.op = o;
        for (i = 0; !ran[o] && i < 4000; i++) try_case(&w);
        CHECKF(ran[o] > 0, "%s was never launched", vq_op_str((vq_op)o));
        runs++;
    }
    for (o = 0, i = 1; i < VQ_SLOT_COUNT; i++) o += gpus[0].vq->kernels->kernel[i] != NULL;
    CHECKF(runs >= 1 && o >= 1, "%d ops, %d kernels", runs, o);
    for (i = 0; i < gpu_count; i++) CHECKF(gpus[i].in->watched(), "%s", gpus[i].path);
}

/* --- the launch -------------------------------------------------------------------- */

static void a_launch_that_fails_is_reported_and_the_next_one_works(void)
{
    wish w = anything();
    int i, n;
    START();
    w.op = vq_op_of("cast");
    w.rows = w.cols = 8;
    w.gaps = 0;
    become((vq_op)w.op);
    for (n = 0; !make_args(&w) && n < 100; n++) {}
    for (i = 0; i < gpu_count; i++) {
        vq_choice c;
        int k;
        char *p = (char *)vq_mem_alloc(gpus[i].vq, 4096);
        for (k = 0; k < view_count; k++) {
            views[k].t->where = VQ_DEVICE;
            views[k].t->data = p + 2048 * k;
        }
        call_of(args)->policy.only = impl;
        CHECKF(plan(gpus[i].vq, &c) == VQ_OK, "%s", why.text);
        gpus[i].in->fail_launch(719);
        CHECK(vq_run(gpus[i].vq, &c, args) == VQ_DEVICE_FAILED);
        CHECKF(why.guard == VQ_GUARD_LAUNCH && why.found == 719
               && strstr(why.text, "unspecified launch failure"), "%s", why.text);
        CHECK(vq_run(gpus[i].vq, &c, args) == VQ_OK);
        vq_mem_free(gpus[i].vq, p);
    }
}

VQ_TEST_MAIN(T(every_preset_gives_the_bytes_of_the_reference),
             T(every_type_gives_the_bytes_of_the_reference),
             T(every_code_of_16_bits_gives_the_bytes_of_the_reference),
             T(many_rows_and_wide_rows_work),
             T(rows_that_registers_hold_give_the_bytes_of_the_reference),
             T(a_quotient_beyond_f32_is_the_largest_code),
             T(an_extent_of_zero_launches_nothing_or_writes_nothing),
             T(every_layout_gives_the_bytes_of_the_reference),
             T(every_kernel_of_the_library_was_reached),
             T(a_launch_that_fails_is_reported_and_the_next_one_works))
