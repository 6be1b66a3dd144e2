/* run.h - what the parts of vq run share */
#ifndef VQ_RUN_H_INCLUDED
#define VQ_RUN_H_INCLUDED

#include "safetensors.h"
#include "tool.h"

enum { SLOTS_MAX = 16 };

/* One tensor argument of an op. */
typedef struct slot {
    const vq_field *f;
    vq_tensor  *t;                    /* in the job's args */
    vq_tensor   file;                 /* as a file has it: a scalar has rank 0 */
    const void *from;                 /* bytes to read: the input file's, or own; NULL: an output */
    void       *own;
    vq_order    order;
    int         written;
    int         made;                 /* own is made of the data just before the op runs */
    size_t      item;                 /* of the writer */
} slot;

typedef struct job {
    char      *name;                  /* of the tensor with --all, else NULL */
    any_args   a;
    vq_choice  choice;
    slot       s[SLOTS_MAX];
    int        slots;
} job;

/* Of one matrix against what came back of it, or of all. */
typedef struct error_sum {
    double  signal, noise, worst;     /* sums of squares, largest |x - y|, over finite x;
                                         a NaN stays */
    int64_t count, bytes_in, bytes_out;
} error_sum;

typedef struct run_state {
    const options *o;
    vq_ctx    *vq, *cpu;              /* cpu: for numbers made of the data; may be vq itself */
    st_file    in, also;
    st_writer  out;
    job      **jobs;
    size_t     count;
    size_t     unfit;                 /* matrices that --key every passed over under this key */
    char       first_unfit[700];
    vq_report  why;                   /* of the job under way, as is */
    any_result result;
    size_t     failed;                /* comparisons */
    char       first_failed[700];
    error_sum  total;
} run_state;

int   refused(const run_state *r, const job *j);  /* fail() with r->why */
slot *find_slot(job *j, const char *name);        /* NULL: the job has no such argument */
void  print_name(int width, const char *name);    /* no control character of it goes out */

/* run_numbers.c: scales that are set, not read. 0, or 1 after a line. */
int give_number(slot *s, double number);
int make_numbers(run_state *r, job *j);

/* run_report.c */
int  measure(run_state *r, job *j, error_sum *e);
void add_error(error_sum *all, const error_sum *e);
void print_error(int width, const char *name, const char *shape, const error_sum *e);
void print_key_head(void);
void print_key_error(const char *key, size_t matrices, const error_sum *e);
void print_result(run_state *r, job *j);

#endif
