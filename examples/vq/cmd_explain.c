/* cmd_explain.c - every implementation of an op, in the order they are tried */
#include <stdio.h>
#include <stdlib.h>
#include "tool.h"

enum { ROWS_MAX = 32 };

void args_for(const options *o, vq_where where, any_args *a)
{
    const vq_dtype x_type = o->x_type ? o->x_type : o->op == VQ_OP_FNUZ_NORMALIZE ? VQ_E4M3FN
                          : o->op == VQ_OP_SCALE_CONVERT ? VQ_E8M0 : VQ_BF16;
    const int64_t r = o->rows, c = o->cols;
    vq_tensor x = vq_tensor_2d(NULL, x_type, r, c, where);

    memset(a, 0, sizeof *a);
    switch (o->op) {
    case VQ_OP_CAST:
        a->cast.x = x;
        a->cast.y = vq_tensor_2d(NULL, o->out_type ? o->out_type : VQ_E4M3FN, r, c, where);
        a->cast.overflow = o->overflow;
        break;
    case VQ_OP_FNUZ_NORMALIZE:
        a->fnuz.x = x;
        a->fnuz.y = vq_tensor_2d(NULL, fnuz_counterpart(x_type), r, c, where);
        a->fnuz.scale = a->fnuz.scale_out = vq_tensor_2d(NULL, VQ_F32, r, 1, where);
        a->fnuz.overflow = o->overflow;
        break;
    case VQ_OP_QUANT:
        a->quant.key = o->key;
        a->quant.x = x;
        a->quant.q = vq_tensor_2d(NULL, o->key.elem, r, c, where);
        a->quant.scale = vq_scale_for(&o->key, a->quant.q, o->order, NULL);
        if (o->key.flags & VQ_KEY_ASYMMETRIC)
            a->quant.zero = vq_tensor_2d(NULL, o->key.elem, a->quant.scale.shape[0],
                                         a->quant.scale.shape[1], where);
        if (o->key.bound_kind) a->quant.bound = vq_tensor_2d(NULL, VQ_F32, 1, 1, where);
        if (o->key.scale2_kind) a->quant.scale2 = vq_tensor_2d(NULL, VQ_F32, 1, 1, where);
        break;
    case VQ_OP_DEQUANT:
        a->dequant.key = o->key;
        a->dequant.q = vq_tensor_2d(NULL, o->key.elem, r, c, where);
        a->dequant.scale = vq_scale_for(&o->key, a->dequant.q, o->order, NULL);
        if (o->key.flags & VQ_KEY_ASYMMETRIC)
            a->dequant.zero = vq_tensor_2d(NULL, o->key.elem, a->dequant.scale.shape[0],
                                           a->dequant.scale.shape[1], where);
        if (o->key.scale2_kind) a->dequant.scale2 = vq_tensor_2d(NULL, VQ_F32, 1, 1, where);
        a->dequant.y = vq_tensor_2d(NULL, o->out_type ? o->out_type : VQ_BF16, r, c, where);
        break;
    case VQ_OP_SCALE_CONVERT:
        a->scales.x = vq_tensor_ordered(x_type, r, c, o->order, NULL, where);
        a->scales.y = vq_tensor_ordered(x_type, r, c,
                                        o->layout < 0 ? VQ_TILES_128X4 : (vq_order)o->layout,
                                        NULL, where);
        break;
    default:
        break;
    }
}

int cmd_explain(const options *o)
{
    typedef int (*as_text)(const vq_report *, int, char *, size_t);
    const as_text print = o->json ? vq_report_json : vq_report_text;
    vq_report why = VQ_ZERO, rows[ROWS_MAX];
    log_text log;
    any_args a;
    vq_ctx *vq = NULL;
    vq_platform p;
    char *text;
    int n = 0, length, bad = 0;

    if (open_context(o, &log, &vq)) return 1;
    p = vq_platform_in(vq);
    args_for(o, o->place >= 0 ? (vq_where)o->place
              : o->device ? p.backend == VQ_CPU ? VQ_HOST : VQ_DEVICE : vq_mem_where(vq), &a);
    a.call.report = &why;
    if (vq_explain(vq, o->op, &a, rows, ROWS_MAX, &n) != VQ_OK) {
        vq_free(vq);
        return fail("%s", why.text);
    }
    if (n > ROWS_MAX) n = ROWS_MAX;
    length = print(rows, n, NULL, 0);
    text = (char *)malloc((size_t)length + 1);
    if (text) {
        print(rows, n, text, (size_t)length + 1);
        printf("%s%s", text, length && text[length - 1] == '\n' ? "" : "\n");
    } else bad = fail("out of memory");
    free(text);
    vq_free(vq);
    return bad;
}
