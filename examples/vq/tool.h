/* tool.h - what the commands of the tool share */
#ifndef VQ_TOOL_H_INCLUDED
#define VQ_TOOL_H_INCLUDED

#include "../../vq.h"

enum { SETS_MAX = 16 };              /* need_amax() adds two to what is given */

/* --set name=value, where name is a field of the op's args. */
typedef struct setting {
    const char *name;
    double      number;
    int         amax;                 /* the value is "amax": made from the data */
} setting;

typedef struct options {
    int         command;              /* main.c's bit of it */
    unsigned    given;                /* main.c's bits of the options read so far */
    vq_op       op;
    const char *key_text, *from_text, *as, *in, *also, *out, *device;
    const char *in_text, *passes;     /* of fuse */
    int         check, print, dot, dump;
    int         all, error, json, fix;
    int         every;                /* --key every */
    vq_key      key, from;
    vq_backend  backend;
    uint32_t    without;
    int64_t     rows, cols;           /* --shape; rows < 0: not given */
    int         place;                /* a vq_where, -1: where the context's memory is */
    vq_dtype    x_type, out_type;     /* VQ_NONE: not given */
    vq_order    order;                /* of scales */
    int         layout;               /* the vq_order of scale_convert's y, -1: not given */
    int64_t     bins;
    setting     set[SETS_MAX];
    int         sets;
} options;

/* Args of any op: every args struct begins with its call, the rest is reached by field. */
typedef union any_args {
    vq_call       call;
    vq_quant_args quant;
    char          bytes[2048];
} any_args;

typedef union any_result {
    vq_requant_result requant;
    vq_comparison     compare;
    char              bytes[2048];
} any_result;

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

int  cmd_info(const options *o);
int  cmd_explain(const options *o);
int  cmd_run(const options *o);
int  cmd_fuse(const options *o);

/* --- fields.c: the args of an op by the names of their fields --------------- */

int  is_tensor(const vq_field *f);
int  is_number(const vq_field *f);
int  is_optional(const vq_field *f);              /* a tensor that may be absent */
int  ends_in_out(const char *name);                /* scale_out */
const vq_field *find_field(vq_op op, const char *name);          /* NULL: it has none */
const vq_field *main_field(const options *o);     /* the input that gives the others their shape */
const vq_field *model_field(const options *o, const vq_field *f);
const setting  *find_setting(const options *o, const char *name);    /* NULL: not set */
const setting  *setting_for(const options *o, const vq_field *f);    /* of a tensor */
void need_amax(options *o);

int  has_part(const options *o, const vq_field *f);              /* under the op's keys */
int  is_read(const options *o, const vq_field *f);               /* whether running or not */
int  is_one(vq_op op, const vq_field *f);         /* a tensor of one number */
int  is_like(vq_op op, const vq_field *f);        /* has the shape of another */
int  is_grouped(vq_op op, const vq_field *f);     /* has a number a group */
const vq_key *key_of(const options *o, const vq_field *f);

/* What the op says of its first matrix: any rank, any type, any order. */
enum { ANY_RANK = 1, ANY_TYPE = 2, ANY_ORDER = 4, OR_THREE = 8 };    /* extents */
int  takes_any(vq_op op);

vq_tensor *tensor_at(any_args *a, const vq_field *f);
void put_int(any_args *a, const vq_field *f, int v);
void put_pointer(any_args *a, const vq_field *f, void *p);
void put_numbers(const options *o, any_args *a);  /* keys and what --set says */

/* The tensor that field f is, beside its model, without data; and the order it lies in. */
vq_tensor shape_of(const options *o, const vq_field *f, const vq_tensor *model, vq_where where,
                   vq_order *order);

/* Args for tensors [o->rows, o->cols] without data, as explain and info ask. */
void args_for(const options *o, vq_where where, any_args *a);

#endif
