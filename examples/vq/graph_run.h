/* graph_run.h - runs a graph on any backend, in memory planned before; and holds two graphs of the
   same inputs and outputs against each other, byte for byte */
#ifndef VQ_GRAPH_RUN_H_INCLUDED
#define VQ_GRAPH_RUN_H_INCLUDED

#include "../../vq.h"
#include "graph.h"

/* Where each value lies and what each node runs. `bytes` is all that a run needs besides the
   caller's inputs and outputs. Values share memory where no two live at once. */
typedef struct vq_graph_plan {
    int64_t    bytes;                 /* of the arena, 256-aligned pieces; known before any run */
    int64_t    work;                  /* where in it the workspace of the nodes begins */
    int64_t   *at;                    /* of each value in the arena; -1: the caller's */
    int       *from;                  /* the value to copy before its maker runs; -1: none */
    vq_choice *choice;                /* of each node */
} vq_graph_plan;

/* vq_graph_plan_make -- g, as vq_graph_check() left it, for ctx

   Errors     what ctx refuses, with the node in `why`; OUT_OF_MEMORY. */
vq_status vq_graph_plan_make(const vq_graph *g, const vq_ctx *ctx, vq_graph_plan *out, char *why,
                             size_t size);
void      vq_graph_plan_free(vq_graph_plan *p);

/* vq_graph_run -- every node in order, on ctx's kind of memory

     data   in  [values]  of inputs and outputs; inputs are not written
     arena  in            plan->bytes, at a multiple of 16

   Errors     of the first node that fails; BAD_ARG for an opaque node without a function. */
vq_status vq_graph_run(const vq_graph *g, const vq_graph_plan *plan, const vq_ctx *ctx,
                       void *stream, void *const *data, void *arena, char *why, size_t size);

/* What inputs vq_graph_same() makes. */
enum { VQ_INPUT_RANDOM, VQ_INPUT_NASTY, VQ_INPUT_GIVEN };

/* vq_graph_same -- do both graphs make the same bytes of the same inputs

     kind   in   VQ_INPUT_*; NASTY has NaN, infinities, zeros, subnormals, ties, huge and tiny
     given  in   for GIVEN: the bytes of a value, on the host, or NULL: then random ones
     bytes  out  how many were compared

   Opaque nodes without a function get one that makes numbers of all that it reads.
   A NaN equals any NaN of its type. VQ_BAD_ARG where the graphs differ in what comes in and out, or
   in what they make: `why` says at which element. */
typedef struct vq_graph_given {
    const void *(*find)(void *user, const vq_value *v);
    void        *user;
} vq_graph_given;

vq_status vq_graph_same(const vq_graph *a, const vq_graph *b, vq_ctx *ctx, int kind, uint64_t seed,
                        const vq_graph_given *given, int64_t *bytes, char *why, size_t size);

#endif
