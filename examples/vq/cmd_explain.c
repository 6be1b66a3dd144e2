/* cmd_explain.c - every implementation of an op, in the order they are tried */
#include <stdio.h>
#include <stdlib.h>
#include "tool.h"

enum { ROWS_MAX = 32 };

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
