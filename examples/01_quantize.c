/* 01_quantize.c - quantize two rows to fp8 in groups of 128, and ask why it ran where it did

     make && build/01_quantize

   Takes a GPU when libvq_hip.so or libvq_cuda.so is on the library path, else the scalar
   reference; the program does not change, and neither do the bytes. This file is C99, and
   C++11, and HIP. */
#include <stdio.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"

enum { TOKENS = 2, HIDDEN = 256 };

static void say(void *user, const char *line) { (void)user; fprintf(stderr, "%s\n", line); }

int main(void)
{
    static uint16_t x[TOKENS * HIDDEN];
    static uint8_t q[TOKENS * HIDDEN];
    static float scale[TOKENS * 2];
    static char text[2048];
    vq_quant_args a = VQ_ZERO;
    vq_desc desc = VQ_ZERO;
    vq_report why = VQ_ZERO, rows[4];
    vq_ctx *vq = NULL;
    void *dx, *dq, *ds;
    int i, n = 0;

    for (i = 0; i < TOKENS * HIDDEN; i++)
        x[i] = vq_bf16_from_f32(0.01f * (float)(i % 601) - 3.0f, VQ_SATURATE);

    desc.log = say;
    desc.report = &why;
    if (vq_init(&desc, &vq) != VQ_OK) { fprintf(stderr, "%s\n", why.text); return 1; }
    dx = vq_mem_alloc(vq, sizeof x);
    dq = vq_mem_alloc(vq, sizeof q);
    ds = vq_mem_alloc(vq, sizeof scale);
    vq_mem_copy(vq, dx, x, sizeof x);

    a.key = vq_key_preset(VQ_KEY_FP8_GROUP128);
    a.x = vq_tensor_2d(dx, VQ_BF16, TOKENS, HIDDEN, vq_mem_where(vq));
    a.q = vq_tensor_2d(dq, VQ_E4M3FN, TOKENS, HIDDEN, vq_mem_where(vq));
    a.scale = vq_scale_for(&a.key, a.q, VQ_ROWS, ds);
    a.call.report = &why;

    vq_explain(vq, VQ_OP_QUANT, &a, rows, 4, &n);
    vq_report_text(rows, n < 4 ? n : 4, text, sizeof text);
    printf("%s", text);

    if (vq_quant(vq, &a) != VQ_OK) { fprintf(stderr, "%s\n", why.text); return 1; }
    vq_mem_copy(vq, q, dq, sizeof q);
    vq_mem_copy(vq, scale, ds, sizeof scale);

    for (i = 0; i < TOKENS * 2; i++)
        printf("token %d group %d  scale %.9g  code 0x%02x is %.6g\n", i / 2, i % 2,
               (double)scale[i], q[i * 128 + 1],
               (double)(vq_f32_from_e4m3fn(q[i * 128 + 1]) * scale[i]));

    vq_mem_free(vq, dx);
    vq_mem_free(vq, dq);
    vq_mem_free(vq, ds);
    vq_free(vq);
    return 0;
}
