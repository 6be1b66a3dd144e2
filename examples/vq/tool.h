/* tool.h - what the commands of the tool share */
#ifndef VQ_TOOL_H_INCLUDED
#define VQ_TOOL_H_INCLUDED

#include "../../vq.h"

enum { SCALE_NONE, SCALE_VALUE, SCALE_AMAX };

typedef struct options {
    int         command;              /* main.c's bit of it */
    unsigned    given;                /* main.c's bits of the options read so far */
    vq_op       op;
    const char *key_text, *as, *in, *out, *device;
    int         all, error, json;
    vq_key      key;
    vq_backend  backend;
    int64_t     rows, cols;           /* --shape; rows < 0: not given */
    int         place;                /* a vq_where, -1: where the context's memory is */
    int         scale;                /* SCALE_* */
    float       scale_value;
    vq_dtype    x_type, out_type;     /* VQ_NONE: not given */
    vq_order    order;                /* of scales */
    int         layout;               /* the vq_order of scale_convert's y, -1: not given */
    vq_overflow overflow;
} options;

typedef union any_args {
    vq_call                call;      /* every args struct begins with it */
    vq_cast_args           cast;
    vq_fnuz_normalize_args fnuz;
    vq_quant_args          quant;
    vq_dequant_args        dequant;
    vq_scale_convert_args  scales;
} any_args;

/* What vq_init() and vq_probe() say. */
typedef struct log_text {
    char   text[8192];
    size_t used;
    char   last[512];
} log_text;

#if defined(__GNUC__)
#define LIKE_PRINTF __attribute__((format(printf, 1, 2)))
#else
#define LIKE_PRINTF
#endif

int  fail(const char *fmt, ...) LIKE_PRINTF;      /* one line on stderr; returns 1 */
int  fail_usage(const char *fmt, ...) LIKE_PRINTF;               /* the same; returns 2 */
void hear(void *log, const char *line);           /* a vq_desc.log; user is a log_text */

/* The context that --backend or --device asks for; 0, or fail(). */
int  open_context(const options *o, log_text *log, vq_ctx **out);

int  op_has_key(vq_op op);
vq_dtype fnuz_counterpart(vq_dtype t);            /* VQ_NONE: it has none */

int  cmd_info(const options *o);
int  cmd_explain(const options *o);
int  cmd_run(const options *o);

/* The args of o->op for tensors [o->rows, o->cols] without data, as explain and info ask. */
void args_for(const options *o, vq_where where, any_args *a);

#endif
