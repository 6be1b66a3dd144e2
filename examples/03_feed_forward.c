/* 03_feed_forward.c - a SwiGLU feed-forward block with codes coming in and codes going out

     make && build/03_feed_forward

   The norm and its quantization are one launch or two, so are the gate and its own: the bytes
   are the same, the traffic is not. The product between them is plain loops over what the codes
   mean. Data made here, on the CPU. */
#include <stdio.h>
#include <stdlib.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"

enum { TOKENS = 64, HIDDEN = 512, INNER = 1024, GROUP = 128 };

static uint16_t x[TOKENS * HIDDEN], before[TOKENS * HIDDEN], residual[2][TOKENS * HIDDEN];
static uint16_t norm_weight[HIDDEN], product[TOKENS * 2 * INNER];
static uint16_t narrow[TOKENS * INNER];                  /* what only two launches store, */
static float weight[HIDDEN * 2 * INNER], exact[TOKENS * INNER];  /* in bf16 and in f32 */
static struct { uint8_t q[TOKENS * INNER]; float scale[TOKENS * INNER / GROUP]; } fused, parts;
static vq_key key;
static vq_ctx *vq;
static vq_report why;

static uint64_t state = 1;
static float noise(void)               /* splitmix64, -1 to 1 */
{
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (float)(z >> 40) / 8388608.0f - 1.0f;
}

static uint16_t b16(float v) { return vq_bf16_from_f32(v, VQ_SATURATE); }
static float value(int i) { return vq_f32_from_e4m3fn(fused.q[i]) * fused.scale[i / GROUP]; }
static vq_tensor matrix(const void *data, vq_dtype type, int cols)
{
    return vq_tensor_2d(data, type, TOKENS, cols, VQ_HOST);
}

/* Runs an op; the bytes that it reads and writes. */
static int64_t run(vq_op op, const void *args)
{
    vq_report row;
    vq_choice how;
    int n;
    if (vq_explain(vq, op, args, &row, 1, &n) != VQ_OK || vq_plan(vq, op, args, &how) != VQ_OK
        || vq_run(vq, &how, args) != VQ_OK) { fprintf(stderr, "%s\n", why.text); exit(1); }
    return row.bytes_read + row.bytes_written;
}

/* The second launch of two, and a line: do both ways give the same, and how near to f32. */
static int finish(const char *op, vq_tensor y, int64_t one, int64_t two)
{
    vq_quant_args a = VQ_ZERO;
    double signal = 0.0, off = 0.0, e;
    int i, differ;
    a.call.report = &why;
    a.key = key;
    a.x = y;
    a.q = matrix(parts.q, key.elem, (int)y.shape[1]);
    a.scale = vq_scale_for(&key, a.q, VQ_ROWS, parts.scale);
    two += run(VQ_OP_QUANT, &a);
    differ = memcmp(&fused, &parts, sizeof fused) || memcmp(residual[0], residual[1], sizeof x);
    for (i = 0; i < TOKENS * y.shape[1]; i++) {
        e = (double)value(i) - (double)exact[i];
        signal += (double)exact[i] * (double)exact[i];
        off += e * e;
    }
    printf("  %-11s%-10s%-8s%10lld%12lld%9.2f dB\n", op, vq_dtype_str(y.dtype),
           differ ? "DIFFER" : "equal", (long long)one, (long long)two, vq_sqnr_db(signal, off));
    return differ;
}

/* residual += x, and the norm of that to codes */
static int norm(vq_dtype mid)
{
    const int64_t hidden = HIDDEN;
    vq_rms_norm_quant_args a = VQ_ZERO;
    vq_rms_norm_args b = VQ_ZERO;
    int i;
    for (i = 0; i < 2; i++) memcpy(residual[i], before, sizeof before);
    a.call.report = b.call.report = &why;
    a.key = key;
    a.x = b.x = matrix(x, VQ_BF16, HIDDEN);
    a.residual = matrix(residual[0], VQ_BF16, HIDDEN);
    b.residual = matrix(residual[1], VQ_BF16, HIDDEN);
    a.weight = b.weight = vq_tensor_nd(norm_weight, VQ_BF16, 1, &hidden, VQ_HOST);
    a.eps = b.eps = 1e-6f;
    a.mid = b.mid = mid;
    a.q = matrix(fused.q, key.elem, HIDDEN);
    a.scale = vq_scale_for(&key, a.q, VQ_ROWS, fused.scale);
    b.y = matrix(mid ? (void *)exact : narrow, mid ? mid : VQ_BF16, HIDDEN);
    return finish("rms norm", b.y, run(VQ_OP_RMS_NORM_QUANT, &a), run(VQ_OP_RMS_NORM, &b));
}

/* silu(gate) * up to codes */
static int gate(vq_dtype mid)
{
    vq_act_mul_quant_args a = VQ_ZERO;
    vq_act_mul_args b = VQ_ZERO;
    a.call.report = b.call.report = &why;
    a.key = key;
    a.x = b.x = matrix(product, VQ_BF16, 2 * INNER);
    a.act = b.act = VQ_ACT_SILU;
    a.mid = b.mid = mid;
    a.q = matrix(fused.q, key.elem, INNER);
    a.scale = vq_scale_for(&key, a.q, VQ_ROWS, fused.scale);
    b.y = matrix(mid ? (void *)exact : narrow, mid ? mid : VQ_BF16, INNER);
    return finish("silu gate", b.y, run(VQ_OP_ACT_MUL_QUANT, &a), run(VQ_OP_ACT_MUL, &b));
}

static void multiply(void)
{
    static double sum[2 * INNER];
    int t, h, j;
    for (t = 0; t < TOKENS; t++) {
        memset(sum, 0, sizeof sum);
        for (h = 0; h < HIDDEN; h++) {
            const double v = (double)value(t * HIDDEN + h);
            for (j = 0; j < 2 * INNER; j++) sum[j] += v * (double)weight[h * 2 * INNER + j];
        }
        for (j = 0; j < 2 * INNER; j++) product[t * 2 * INNER + j] = b16((float)sum[j]);
    }
}

int main(void)
{
    vq_desc desc = VQ_ZERO;
    int i, failed;
    key = vq_key_preset(VQ_KEY_FP8_GROUP128);
    desc.backend = VQ_CPU;
    if (vq_init(&desc, &vq) != VQ_OK) return 1;
    for (i = 0; i < TOKENS * HIDDEN; i++) {              /* a few channels are far larger */
        const float by = i % HIDDEN % 97 == 13 ? 40.0f : 2.0f;
        x[i] = b16(by * noise());
        before[i] = b16(by * noise());
    }
    for (i = 0; i < HIDDEN; i++) norm_weight[i] = b16(1.0f + 0.2f * noise());
    for (i = 0; i < HIDDEN * 2 * INNER; i++) weight[i] = 0.1f * noise();
    printf("%d x %d bf16, inner %d, fp8_group128; by 1 launch and by 2: bytes moved\n\n"
           "  op         mid       both         by 1        by 2        SQNR\n",
           TOKENS, HIDDEN, INNER);
    failed = norm(VQ_F32);                      /* the other is held against it */
    failed |= norm(VQ_NONE);
    multiply();
    failed |= gate(VQ_F32);
    failed |= gate(VQ_NONE);
    vq_free(vq);
    return failed;
}
