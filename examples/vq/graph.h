/* graph.h - ops as data, patterns that fuse them, and a receipt: a part of vq in a file of its own

   For those who hold a model as a list of ops. Include it after vq.h, also in the one file that
   has the implementation:

      #define VQ_IMPLEMENTATION
      #include "vq.h"
      #include "graph.h"

   and then:

      vq_graph_parse(text, &g, why, sizeof why);       // graph_text.h; or vq_graph_value(), _op()
      vq_fuser_new(NULL, &f, NULL);
      vq_fuse(f, vq, &g, rows, 64, &count, NULL);      // rows: what was fused, what was not and why
      vq_graph_run(...);                               // graph_run.h

   A graph is values and the nodes that make them: ops with their args, and opaque nodes for what
   vq lacks. A value is made once, by a node or by the caller. Of a BOTH field (VQ_FIELDS) a node
   reads one value and makes another. Observers keep nothing (`running` is 0), results for the
   host are not asked for.

   A pattern is nodes, a line each: op field=term ... Fields without a term are zero or absent.

     field=name          a value, the same wherever the name stands
     field=name?         or none
     residual=r:t        the value before the node, and after it
     field=name:glob     its type and order look so: bf16.*, f32.columns|f32.columns_tma
     field=name:mid      of the type that its node rounds to: the node's mid, or the type of x
     field=$name         any number, word or key, the same wherever the name stands
     field=$name:glob    whose text looks so: 1e-5|1e-6; float8_e4m3fn* of a key (>>keys)
     field=word          this one

   | is or; * is any text without a slash, at the end any text. Each node shares a value with one
   before it. A value that only the match names lies between: nobody else may use it. */
#ifndef VQ_GRAPH_H_INCLUDED
#define VQ_GRAPH_H_INCLUDED

#ifdef __cplusplus
extern "C" {
#endif

enum { VQ_NAME_SIZE = 32, VQ_NODE_VALUES = 12, VQ_ARGS_SIZE = 1280 };

typedef struct vq_value {
    char      name[VQ_NAME_SIZE];     /* letters, digits, _ and .; no op's name, not in or out */
    vq_tensor t;                      /* data: a handle, no memory; rank 1 to 4 */
    vq_order  order;                  /* of scales; else VQ_ROWS */
    int       in, out;                /* the caller brings it; the caller wants it */
    int       maker, uses;            /* the node that makes it or -1; how often nodes read it */
} vq_value;

/* What an opaque node does: t holds first what it reads, then what it makes. */
typedef vq_status (*vq_opaque)(void *user, const vq_ctx *ctx, void *stream, const vq_tensor *t,
                               int reads, int makes);

typedef union vq_any_args { vq_call call; char bytes[VQ_ARGS_SIZE]; } vq_any_args;

typedef struct vq_node {
    vq_op       op;                   /* VQ_OP_NONE: opaque */
    int         line;                 /* of a text, or 0 */
    char        name[VQ_NAME_SIZE];   /* of the op */
    int         reads, makes;
    int         value[VQ_NODE_VALUES];   /* those it reads, then those it makes */
    int         field[VQ_NODE_VALUES];   /* of vq_op_fields(op) */
    vq_any_args args;                 /* tensors with handles */
    vq_opaque   run;
    void       *user;
} vq_node;

/* Starts as VQ_ZERO; read it as you like, change it by the functions. */
typedef struct vq_graph {
    vq_value *value;
    vq_node  *node;
    int       values, nodes, value_room, node_room;
} vq_graph;

/* vq_graph_value -- one more value: name, t's type, rank and shape, order, in and out of *v

     out  out  its tensor, for an op's args; or NULL

   Errors     BAD_ARG: PRESENT, NAME, TWICE, LAYOUT (an order other than rows wants 2 or 3
              extents), those of vq_tensor_check(); OUT_OF_MEMORY. */
VQ_API vq_status vq_graph_value(vq_graph *g, const vq_value *v, vq_tensor *out,
                                vq_report *report_or_null);

/* vq_graph_op -- one more node

     args   in   as the op takes them, with tensors of vq_graph_value()
     after  in   what a BOTH field becomes; NULL where there is none

   Errors     those of the op; PRESENT (a tensor that is no value's; after), TWICE (a value that
              is made already, or brought), UNUSED (after; running; a result); OUT_OF_MEMORY. */
VQ_API vq_status vq_graph_op(vq_graph *g, vq_op op, const void *args, const vq_tensor *after,
                             vq_report *report_or_null);

/* The same of an opaque node, t as vq_opaque has it. vq_graph_bind() gives the nodes of a name
   what they do, and returns how many there are. */
VQ_API vq_status vq_graph_opaque(vq_graph *g, const char *name, const vq_tensor *t, int reads,
                                 int makes, vq_report *report_or_null);
VQ_API int       vq_graph_bind(vq_graph *g, const char *name, vq_opaque run, void *user);

/* vq_graph_check -- is every value made, and from others; sorts the nodes to an order to run in

   Errors     BAD_ARG: UNMADE, CYCLE, with the value's name; OUT_OF_MEMORY. */
VQ_API vq_status vq_graph_check(vq_graph *g, vq_report *report_or_null);
VQ_API vq_status vq_graph_copy(const vq_graph *g, vq_graph *out);
VQ_API void      vq_graph_free(vq_graph *g);           /* it is VQ_ZERO again */

/* A pattern is this struct; it and its texts outlive the fuser. */
typedef struct vq_pattern {
    const char *name;
    const char *match, *replace;      /* of 4 nodes at most */
    int       (*allows)(void *user, const vq_graph *g, const int *nodes, int count);
    void       *user;                 /* allows: asked before the registry; NULL: yes */
} vq_pattern;

/* vq_fuser_new -- passes in their order, each with its patterns

     passes  in  those built in, in an order: "norm_quant act_quant", which NULL means

   A pass replaces until nothing matches. Of patterns that match, the one of more nodes wins, then
   the earlier. A replacement is made only if ctx has its ops for these args.
   Errors     BAD_ARG (PRESENT; NAME), OUT_OF_MEMORY. */
typedef struct vq_fuser vq_fuser;
VQ_API vq_status vq_fuser_new(const char *passes_or_null, vq_fuser **out,
                              vq_report *report_or_null);
VQ_API void      vq_fuser_free(vq_fuser *f_or_null);

/* A pass, made behind the others if there is none of that name: on or off, and for which rows of
   the first node's x, 0 being no limit. */
VQ_API vq_status vq_fuser_pass(vq_fuser *f, const char *name, int on, int64_t rows_min,
                               int64_t rows_max, vq_report *report_or_null);

/* vq_fuser_pattern -- one more pattern of a pass

   Errors     BAD_ARG: PRESENT, NAME (no such pass), TWICE, TEXT (line and column), UNMADE (a
              value that only one side makes), RIVAL (another pattern takes what this one takes),
              ENDLESS (replacing could go on for ever); OUT_OF_MEMORY. */
VQ_API vq_status vq_fuser_pattern(vq_fuser *f, const char *pass, const vq_pattern *p,
                                  vq_report *report_or_null);
VQ_API int       vq_fuser_print(const vq_fuser *f, char *out, size_t size);    /* as snprintf */
VQ_API uint64_t  vq_fuser_hash(const vq_fuser *f);     /* of that text: a key for caches */

/* How often each pattern matched: in the last vq_fuse(), and ever. Returns how many there are. */
typedef struct vq_fuse_count { const char *pass, *pattern; int64_t last, total; } vq_fuse_count;
VQ_API int       vq_fuser_counts(const vq_fuser *f, vq_fuse_count *rows, int cap);

/* A match, or nodes that lie as a pattern's and did not match; then `why` is that of the pattern
   that came furthest. */
typedef struct vq_receipt {
    const char *pass, *pattern;
    int         matched;
    int         asked, others;        /* of a miss: how many questions it passed, and how many
                                         patterns came as far */
    char        at[VQ_NAME_SIZE];     /* a value that the last of the nodes makes */
    vq_report   why;
    int64_t     bytes_saved;          /* neither read nor written */
    int         launches_saved;
    double      us_saved;             /* those bytes at the platform's gb_per_s; 0: not known */
} vq_receipt;

/* vq_fuse -- replaces what the patterns match

     g      in, out  what it makes stays the same, byte for byte (N2)
     rows   out      [cap]  matches in their order, then misses
     count  out      how many there are, also when cap is less

   Errors     BAD_ARG: PRESENT, those of vq_graph_check(); OUT_OF_MEMORY. The graph is as before.
   Source     vLLM VllmFusionPatternMatcherPass, ActivationQuantFusionPass, RMSNormQuantFusionPass
   Differs    upstream's block pattern drops the UE8M0 flag and the scale's layout: here they are
              of the key and of the value, which the fused op has, too. */
VQ_API vq_status vq_fuse(vq_fuser *f, const vq_ctx *ctx, vq_graph *g, vq_receipt *rows, int cap,
                         int *count, vq_report *report_or_null);
VQ_API int       vq_receipt_text(const vq_receipt *rows, int count, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif

#if defined(VQ_IMPLEMENTATION) && !defined(VQ_GRAPH_IMPLEMENTED)
#define VQ_GRAPH_IMPLEMENTED
#ifdef __cplusplus
extern "C" {
#endif

/* ===========================================================================
   >>impl-graph
   =========================================================================== */

/* A handle is no address: a value's number, from 1 on, in steps that no alignment minds. */
static int vq__value_id(const vq_graph *g, const vq_tensor *t)
{
    const uintptr_t h = (uintptr_t)t->data;
    return h % 64 || !h || h / 64 > (uintptr_t)g->values ? -1 : (int)(h / 64) - 1;
}

static vq_tensor vq__handle(const vq_graph *g, int value)
{
    vq_tensor t = g->value[value].t;
    t.data = (void *)((uintptr_t)(value + 1) * 64u);
    return t;
}

static vq_tensor *vq__tensor_in(vq_any_args *a, const vq_field *f)
{
    return (vq_tensor *)(void *)(a->bytes + f->offset);
}

static int vq__find_field(vq_op op, const char *name, size_t n)
{
    int i = vq__ops[op].field_count;
    while (i-- && (strncmp(vq__ops[op].fields[i].name, name, n)
                   || vq__ops[op].fields[i].name[n])) {}
    return i;
}

/* The value that field f of n reads, or makes; -1: none. */
static int vq__at_field(const vq_node *n, int f, int makes)
{
    int i;
    for (i = makes ? n->reads : 0; i < n->reads + (makes ? n->makes : 0); i++)
        if (n->field[i] == f) return n->value[i];
    return -1;
}

/* Room for one more of `size` bytes; NULL: there is none. */
static void *vq__grow(void *p, int used, int *room, size_t size)
{
    const int more = *room ? *room * 2 : 16;
    void *q;
    if (used < *room) return p;
    q = more < 1 << 24 ? VQ_MALLOC((size_t)more * size) : NULL;
    if (!q) return NULL;
    if (used) memcpy(q, p, (size_t)used * size);
    VQ_FREE(p);
    *room = more;
    return q;
}

static int vq__is_name(const char *s, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++)
        if (!((s[i] | 32) >= 'a' && (s[i] | 32) <= 'z') && s[i] != '_'
            && (!i || ((s[i] < '0' || s[i] > '9') && s[i] != '.'))) return 0;
    return n && n < VQ_NAME_SIZE;
}

/* vq_tensor_ordered() of any rank: planes of scales lie one behind the other. */
static vq_tensor vq__planes(vq_dtype type, int rank, const int64_t *shape, vq_order order)
{
    vq_tensor t = vq_tensor_nd(NULL, type, rank, shape, VQ_HOST), one;
    if (order == VQ_ROWS) return t;
    one = vq_tensor_ordered(type, shape[rank - 2], shape[rank - 1], order, NULL, VQ_HOST);
    if (rank == 2) return one;
    t.layout = one.layout;
    t.stride[0] = one.layout == VQ_STRIDED ? shape[2] * one.stride[1] : vq_tensor_bytes(one);
    if (t.stride[0] < 1) t.stride[0] = 1;
    t.stride[1] = one.stride[0];
    t.stride[2] = one.stride[1];
    return t;
}

vq_status vq_graph_value(vq_graph *g, const vq_value *v, vq_tensor *out, vq_report *report)
{
    vq_report r;
    vq_value one;
    size_t n = 0;
    int i;
    void *p;
    memset(&r, 0, offsetof(vq_report, text));
    memset(&one, 0, sizeof one);
    if (v) one = *v;
    while (n < VQ_NAME_SIZE && one.name[n]) n++;
    one.name[VQ_NAME_SIZE - 1] = 0;
    one.maker = -1;
    one.uses = 0;
    if (!g || !v) vq__refuse(&r, VQ_GUARD_PRESENT, g ? "the value" : "the graph", 0, 0);
    else if (!vq__is_name(one.name, n) || vq_op_of(one.name) || !strcmp(one.name, "in")
             || !strcmp(one.name, "out"))
        vq__refuse_name(&r, VQ_GUARD_NAME, "the value", one.name);
    else if (one.t.rank < 1 || one.t.rank > 4)
        vq__refuse(&r, VQ_GUARD_RANK, v->name, one.t.rank, one.t.rank < 1 ? 1 : 4);
    else if (one.order && one.t.rank != 2 && one.t.rank != 3)
        vq__refuse(&r, VQ_GUARD_LAYOUT, v->name, VQ_STRIDED, VQ__IS(VQ_STRIDED));
    else if ((unsigned)one.t.dtype - 1u >= VQ_DTYPE_COUNT - 1u
             || (unsigned)one.order >= VQ_ORDER_COUNT)
        vq__refuse(&r, VQ_GUARD_VALUE, v->name, one.t.dtype, VQ_DTYPE_COUNT - 1);
    for (i = 0; g && !r.status && i < g->values; i++)
        if (!strcmp(g->value[i].name, one.name))
            vq__refuse_name(&r, VQ_GUARD_TWICE, "the value", one.name);
    if (!r.status) {
        one.t = vq__planes(one.t.dtype, one.t.rank, one.t.shape, one.order);
        vq__check_tensor(&one.t, "the value", &r);
    }
    if (r.status) return vq__tell(&r, report);
    p = vq__grow(g->value, g->values, &g->value_room, sizeof one);
    if (!p) {
        vq__refuse(&r, VQ_GUARD_ALLOC, "the graph", (int64_t)sizeof one * 2 * g->values, 0);
        return vq__tell(&r, report);
    }
    g->value = (vq_value *)p;
    g->value[g->values++] = one;
    if (out) *out = vq__handle(g, g->values - 1);
    return VQ_OK;
}

static int vq__makes(const vq_node *n, int v)
{
    int i = n->makes;
    while (i-- && n->value[n->reads + i] != v) {}
    return i >= 0;
}

/* n makes one more value, if nobody else does. */
static vq_status vq__make(const vq_graph *g, vq_node *n, int v, vq_report *r)
{
    if (g->value[v].in || g->value[v].maker >= 0 || vq__makes(n, v))
        return vq__refuse_name(r, VQ_GUARD_TWICE, "the value", g->value[v].name);
    n->value[n->reads + n->makes++] = v;
    return VQ_OK;
}

static vq_status vq__add_node(vq_graph *g, const vq_node *n, vq_report *r)
{
    void *p = vq__grow(g->node, g->nodes, &g->node_room, sizeof *n);
    int i;
    if (!p) return vq__refuse(r, VQ_GUARD_ALLOC, "the graph", (int64_t)sizeof *n * 2 * g->nodes, 0);
    g->node = (vq_node *)p;
    g->node[g->nodes] = *n;
    for (i = 0; i < n->reads; i++) g->value[n->value[i]].uses++;
    for (i = 0; i < n->makes; i++) g->value[n->value[n->reads + i]].maker = g->nodes;
    g->nodes++;
    return VQ_OK;
}

static int vq__alike(const vq_tensor *a, const vq_tensor *b)
{
    const size_t n = (size_t)a->rank * sizeof *a->shape;
    return a->dtype == b->dtype && a->layout == b->layout && a->rank == b->rank
        && !memcmp(a->shape, b->shape, n) && !memcmp(a->stride, b->stride, n);
}

/* The node of an op, from args with handles; after: what a BOTH field becomes, or -1. Of the args
   only the fields count, so that padding is the same in all. */
static vq_status vq__op_node(const vq_graph *g, vq_op op, const void *args, int after, vq_node *n,
                             vq_report *r)
{
    vq__view v;
    int pass, i, value, used = after < 0;
    memset(n, 0, sizeof *n);
    memset(&v, 0, sizeof v);
    n->op = op;
    vq__copy_name(n->name, sizeof n->name, vq__ops[op].name);
    for (i = 0; i < vq__ops[op].field_count; i++) {
        const vq_field *f = &vq__ops[op].fields[i];
        const size_t size = f->kind <= VQ_FIELD_BOTH ? sizeof(vq_tensor)
                          : f->kind == VQ_FIELD_KEY ? sizeof(vq_key)
                          : f->kind == VQ_FIELD_RESULT ? sizeof(void *) : 4;
        memcpy(n->args.bytes + f->offset, (const char *)args + f->offset, size);
    }
    r->op = vq__ops[op].name;
    if (vq__ops[op].check(n->args.bytes, r)) return r->status;
    vq__see(&v, vq__ops[op].fields, vq__ops[op].field_count, n->args.bytes);
    if (v.result) return vq__refuse(r, VQ_GUARD_UNUSED, v.result, 0, 0);
    for (pass = VQ__IN; pass <= VQ__OUT; pass++)
        for (i = 0; i < v.count; i++) {
            const int f = vq__find_field(op, v.arg[i].name, strlen(v.arg[i].name));
            const int both = v.arg[i].out == VQ__BOTH;
            if (both && vq__ops[op].fields[f].kind != VQ_FIELD_BOTH)
                return vq__refuse(r, VQ_GUARD_UNUSED, "running", 0, 0);
            if (v.arg[i].out != pass && !both) continue;
            value = both && pass == VQ__OUT ? after : vq__value_id(g, v.arg[i].t);
            if (value < 0 || !vq__alike(v.arg[i].t, &g->value[value].t))
                return vq__refuse(r, VQ_GUARD_PRESENT, both && pass ? "after" : v.arg[i].name, 0,
                                  0);
            used |= both;
            n->field[n->reads + n->makes] = f;
            if (pass == VQ__IN) n->value[n->reads++] = value;
            else if (vq__make(g, n, value, r)) return r->status;
        }
    return used ? VQ_OK : vq__refuse(r, VQ_GUARD_UNUSED, "after", 0, 0);
}

vq_status vq_graph_op(vq_graph *g, vq_op op, const void *args, const vq_tensor *after,
                      vq_report *report)
{
    vq_report r;
    vq_node n;
    memset(&r, 0, offsetof(vq_report, text));
    if (!g || !args) vq__refuse(&r, VQ_GUARD_PRESENT, g ? "args" : "the graph", 0, 0);
    else if ((unsigned)op >= VQ_OP_COUNT || !op)
        vq__refuse(&r, VQ_GUARD_VALUE, "op", (int64_t)op, VQ_OP_COUNT - 1);
    else if (after && vq__value_id(g, after) < 0)
        vq__refuse(&r, VQ_GUARD_PRESENT, "after", 0, 0);
    else if (!vq__op_node(g, op, args, after ? vq__value_id(g, after) : -1, &n, &r))
        vq__add_node(g, &n, &r);
    return vq__tell(&r, report);
}

vq_status vq_graph_opaque(vq_graph *g, const char *name, const vq_tensor *t, int reads, int makes,
                          vq_report *report)
{
    vq_report r;
    vq_node n;
    int i, v;
    memset(&r, 0, offsetof(vq_report, text));
    memset(&n, 0, sizeof n);
    if (!g || !name || !t)
        vq__refuse(&r, VQ_GUARD_PRESENT, !g ? "the graph" : name ? "t" : "the name", 0, 0);
    else if (reads < 0 || makes < 1 || reads > VQ_NODE_VALUES || makes > VQ_NODE_VALUES - reads)
        vq__refuse(&r, VQ_GUARD_SIZE, "t", (int64_t)reads + makes, VQ_NODE_VALUES);
    else if (!vq__is_name(name, strlen(name)))
        vq__refuse_name(&r, VQ_GUARD_NAME, "the node", name);
    for (i = 0; !r.status && i < reads + makes; i++) {
        v = vq__value_id(g, t + i);
        if (v < 0) vq__refuse(&r, VQ_GUARD_PRESENT, "t", i, 0);
        else if (i < reads) n.value[n.reads++] = v;
        else vq__make(g, &n, v, &r);
    }
    if (!r.status) {
        vq__copy_name(n.name, sizeof n.name, name);
        vq__add_node(g, &n, &r);
    }
    return vq__tell(&r, report);
}

int vq_graph_bind(vq_graph *g, const char *name, vq_opaque run, void *user)
{
    int i, n = 0;
    for (i = 0; i < g->nodes; i++) {
        if (g->node[i].op || strcmp(g->node[i].name, name)) continue;
        g->node[i].run = run;
        g->node[i].user = user;
        n++;
    }
    return n;
}

void vq_graph_free(vq_graph *g)
{
    VQ_FREE(g->value);
    VQ_FREE(g->node);
    memset(g, 0, sizeof *g);
}

vq_status vq_graph_copy(const vq_graph *g, vq_graph *out)
{
    vq_graph c = *g;
    c.value_room = g->values + 1;
    c.node_room = g->nodes + 1;
    c.value = (vq_value *)VQ_MALLOC((size_t)c.value_room * sizeof *c.value);
    c.node = (vq_node *)VQ_MALLOC((size_t)c.node_room * sizeof *c.node);
    if (!c.value || !c.node) {
        vq_graph_free(&c);
        return VQ_OUT_OF_MEMORY;
    }
    if (g->values) memcpy(c.value, g->value, (size_t)g->values * sizeof *c.value);
    if (g->nodes) memcpy(c.node, g->node, (size_t)g->nodes * sizeof *c.node);
    *out = c;
    return VQ_OK;
}

/* Nodes to where all that they read is made, in the old order where there is a choice; makers and
   uses anew. A graph that cannot be put so is left alone. */
static vq_status vq__sort_graph(vq_graph *g, vq_report *r)
{
    vq_graph c = VQ_ZERO;
    vq_node one;
    int n, i, j, lacks = -1;
    if (vq_graph_copy(g, &c)) return vq__refuse(r, VQ_GUARD_ALLOC, "the graph", 0, 0);
    for (i = 0; i < c.values; i++) {
        c.value[i].maker = c.value[i].in ? 0 : -1;
        c.value[i].uses = 0;
    }
    for (n = 0; n < c.nodes; n++) {
        for (i = n; i < c.nodes; i++) {
            for (j = 0; j < c.node[i].reads && c.value[c.node[i].value[j]].maker >= 0; j++) {}
            if (j == c.node[i].reads) break;
            lacks = c.node[i].value[j];
        }
        if (i == c.nodes) break;
        one = c.node[i];
        memmove(c.node + n + 1, c.node + n, (size_t)(i - n) * sizeof one);
        c.node[n] = one;
        for (j = 0; j < one.reads; j++) c.value[one.value[j]].uses++;
        for (j = 0; j < one.makes; j++) c.value[one.value[one.reads + j]].maker = n;
    }
    for (i = 0; i < c.values && n == c.nodes; i++) {
        if (c.value[i].in) c.value[i].maker = -1;
        else if (c.value[i].maker < 0) { lacks = i; n = -1; }
    }
    if (n < c.nodes) {                                       /* what waits for what: to the end, */
        for (j = 0; j <= c.nodes; j++) {                     /* or round and round */
            int maker = c.nodes, k;
            while (maker-- && !vq__makes(&c.node[maker], lacks)) {}
            if (maker < 0) break;
            for (k = 0; k < c.node[maker].reads; k++)
                if (c.value[c.node[maker].value[k]].maker < 0) lacks = c.node[maker].value[k];
        }
        vq__refuse_name(r, j > c.nodes ? VQ_GUARD_CYCLE : VQ_GUARD_UNMADE, "the value",
                        c.value[lacks].name);
        vq_graph_free(&c);
        return r->status;
    }
    vq_graph_free(g);
    *g = c;
    return VQ_OK;
}

vq_status vq_graph_check(vq_graph *g, vq_report *report)
{
    vq_report r;
    memset(&r, 0, offsetof(vq_report, text));
    if (!g) vq__refuse(&r, VQ_GUARD_PRESENT, "the graph", 0, 0);
    else vq__sort_graph(g, &r);
    return vq__tell(&r, report);
}

/* ===========================================================================
   >>impl-fuse      patterns: read, held against one another, matched, replaced
   =========================================================================== */

enum { VQ__NODES = 4, VQ__TERMS = 16, VQ__VARS = 32 };

/* A piece of a pattern's text. */
typedef struct vq__piece { const char *at; size_t n; } vq__piece;

/* field=word (var < 0), or field=var:glob; after: what a BOTH field becomes. */
typedef struct vq__term { int field, var, after, maybe; vq__piece word, glob; } vq__term;

typedef struct vq__part { vq_op op; int terms; vq__term term[VQ__TERMS]; } vq__part;

typedef struct vq__rule {
    const vq_pattern *p;
    struct vq__rule  *next;
    int64_t           last, total;
    int               match, replace, vars;              /* how many parts there are of each */
    vq__part          part[2 * VQ__NODES];               /* from VQ__NODES on the replacement's */
    vq__piece         name[VQ__VARS];
    int               kind[VQ__VARS];                    /* of a $name's fields, 0 of values */
    int               between[VQ__VARS];                 /* only the match names it */
} vq__rule;

typedef struct vq__pass {
    char             name[VQ_NAME_SIZE];
    struct vq__pass *next;
    vq__rule        *rules;
    int              on;
    int64_t          rows_min, rows_max;
} vq__pass;

struct vq_fuser { vq__pass *passes; };

static vq__piece vq__upto(vq__piece *p, char c)              /* what stands before c; p moves on */
{
    const char *end = p->n ? (const char *)memchr(p->at, c, p->n) : NULL;
    vq__piece head = *p;
    head.n = end ? (size_t)(end - p->at) : p->n;
    p->at += head.n + (end != NULL);
    p->n -= head.n + (end != NULL);
    return head;
}

static int vq__is(vq__piece p, const char *text) { return !strncmp(p.at, text, p.n) && !text[p.n]; }

/* Is there a text that looks like both, each without |? With a text for b: does it look so? */
static int vq__meet(vq__piece a, vq__piece b)
{
    vq__piece rest_a = a, rest_b = b;
    if ((a.n == 1 && *a.at == '*') || (b.n == 1 && *b.at == '*')) return 1;
    if (a.n) { rest_a.at++; rest_a.n--; }
    if (b.n) { rest_b.at++; rest_b.n--; }
    if (a.n && *a.at == '*')
        return vq__meet(rest_a, b) || (b.n && *b.at != '/' && vq__meet(a, rest_b));
    if (b.n && *b.at == '*') return vq__meet(b, a);
    return a.n && b.n ? *a.at == *b.at && vq__meet(rest_a, rest_b) : a.n == b.n;
}

static int vq__overlap(vq__piece a, vq__piece b)             /* the same of any of several */
{
    while (a.n) {
        const vq__piece one = vq__upto(&a, '|');
        vq__piece all = b;
        while (all.n) if (vq__meet(one, vq__upto(&all, '|'))) return 1;
    }
    return 0;
}

static int vq__looks(const char *text, vq__piece globs)
{
    vq__piece t;
    t.at = text;
    t.n = strlen(text);
    return vq__overlap(globs, t);
}

/* A field's word; a key's text is the longest. */
static int vq__word_to(const vq_field *f, vq__piece word, void *args)
{
    char text[256];
    vq__copy_name(text, word.n < sizeof text ? word.n + 1 : sizeof text, word.at);
    return word.n < sizeof text && vq_field_read(f, text, args);
}

static vq_status vq__stop(vq_report *r, const char *text, vq__piece at, const char *arg)
{
    char name[40];
    const char *p, *line = text;
    int n = 1;
    for (p = text; p < at.at; p++) if (*p == '\n') { line = p + 1; n++; }
    vq__copy_name(name, at.n < sizeof name ? at.n + 1 : sizeof name, at.at);
    vq__refuse_name(r, VQ_GUARD_TEXT, arg, "");
    vq__format(r->name, sizeof r->name, "%s at %d:%d", name, n, (int)(at.at - line) + 1);
    r->found = n;
    r->needed = at.at - line + 1;
    return r->status;
}

/* The number of a name; one more if it is new and may be. */
static int vq__var(vq__rule *u, vq__piece name, int kind, int fresh)
{
    int i;
    for (i = 0; i < u->vars; i++)
        if (u->name[i].n == name.n && !memcmp(u->name[i].at, name.at, name.n))
            return u->kind[i] == kind ? i : -1;
    if (!fresh || i == VQ__VARS || !vq__is_name(name.at, name.n)) return -1;
    u->name[i] = name;
    u->kind[i] = kind;
    u->between[i] = 1;
    return u->vars++;
}

static int vq__read_term(vq__rule *u, vq__part *part, vq__piece text, int match)
{
    vq__term *t = &part->term[part->terms];
    const vq__piece name = vq__upto(&text, '=');
    const vq_field *f;
    vq_any_args scratch;
    int i;
    if (part->terms == VQ__TERMS) return 0;
    memset(t, 0, sizeof *t);
    t->var = t->after = -1;
    t->field = vq__find_field(part->op, name.at, name.n);
    for (i = 0; i < part->terms; i++) if (part->term[i].field == t->field) return 0;
    if (t->field < 0 || !text.n) return 0;
    part->terms++;
    f = &vq__ops[part->op].fields[t->field];
    if (f->kind == VQ_FIELD_RESULT) return 0;
    t->word = text;
    if (f->kind > VQ_FIELD_BOTH && *text.at != '$') return vq__word_to(f, text, scratch.bytes);
    if (f->kind > VQ_FIELD_BOTH) { text.at++; text.n--; }
    t->word = vq__upto(&text, ':');
    t->glob = text;
    t->maybe = t->word.n > 1 && t->word.at[t->word.n - 1] == '?';
    t->word.n -= (size_t)t->maybe;
    t->var = vq__var(u, t->word, f->kind > VQ_FIELD_BOTH ? (int)f->kind : 0, match);
    if (f->kind == VQ_FIELD_BOTH) {
        t->after = vq__var(u, text, 0, match);
        t->glob.n = 0;
    }
    if (!match) for (i = 0; i < u->vars; i++) if (i == t->var || i == t->after) u->between[i] = 0;
    return t->var >= 0 && (t->after >= 0 || f->kind != VQ_FIELD_BOTH) && (match || !t->glob.n);
}

static int vq__names(const vq__part *p, int var)
{
    int i = p->terms;
    while (i-- && p->term[i].var != var && p->term[i].after != var) {}
    return i >= 0;
}

static vq_status vq__read_side(vq__rule *u, const char *text, int match, vq_report *r)
{
    int *count = match ? &u->match : &u->replace, i, v, tied;
    vq__piece all, line, word;
    for (all.at = text, all.n = strlen(text); all.n; ++*count) {
        vq__part *part = &u->part[*count + (match ? 0 : VQ__NODES)];
        line = vq__upto(&all, '\n');
        word = vq__upto(&line, ' ');
        if (*count == VQ__NODES) return vq__stop(r, text, word, "one node more than four:");
        for (i = 1; i < VQ_OP_COUNT && !vq__is(word, vq__ops[i].name); i++) {}
        if (i == VQ_OP_COUNT) return vq__stop(r, text, word, "the op");
        part->op = (vq_op)i;
        while (line.n) {
            vq__piece term = vq__upto(&line, ' ');
            if (!vq__read_term(u, part, term, match)) return vq__stop(r, text, term, "the term");
        }
        for (tied = !*count || !match, v = 0; v < u->vars && !tied; v++)
            for (i = 0; i < *count && !tied; i++)
                tied = !u->kind[v] && vq__names(part, v) && vq__names(&u->part[i], v);
        if (!tied) return vq__stop(r, text, word, "the node shares no value with those before:");
    }
    word.at = text;
    word.n = 0;
    return *count ? VQ_OK : vq__stop(r, text, word, "a node");
}

/* Does one of the parts surely make the value? */
static int vq__brings(const vq__part *part, int parts, int var)
{
    int i, j;
    for (i = 0; i < parts; i++)
        for (j = 0; j < part[i].terms; j++) {
            const vq__term *t = &part[i].term[j];
            if (t->after == var || (t->var == var && vq__ops[part[i].op].fields[t->field].kind
                                    == VQ_FIELD_OUT)) return 1;
        }
    return 0;
}

static const vq__term *vq__term_of(const vq__part *p, int field)
{
    int i = p->terms;
    while (i-- && p->term[i].field != field) {}
    return i < 0 ? NULL : &p->term[i];
}

/* What a term asks of a field's text, a word as that field would print it; of length 0: nothing. */
static vq__piece vq__asks(const vq_field *f, const vq__term *t, char *word, size_t size)
{
    vq__piece p = t->glob;
    vq_any_args a;
    if (t->var >= 0) {
        if (vq__is(p, "mid")) p.n = 0;                       /* another may ask the same */
        return p;
    }
    memset(&a, 0, sizeof a);
    vq__word_to(f, t->word, a.bytes);
    vq_field_write(f, a.bytes, word, size);
    p.at = word;
    p.n = strlen(word);
    return p;
}

static int vq__root(const int *same, int i)
{
    while (same[i] != i) i = same[i];
    return i;
}

/* May both patterns take the same nodes? Then chance would choose. */
static int vq__rivals(const vq__rule *a, const vq__rule *b)
{
    int same[2 * VQ__VARS], i, j, side;                      /* a's names, then b's */
    for (i = 0; i < 2 * VQ__VARS; i++) same[i] = i;
    if (a->match != b->match) return 0;
    for (i = 0; i < a->match; i++) {
        if (a->part[i].op != b->part[i].op) return 0;
        for (j = 0; j < vq__ops[a->part[i].op].field_count; j++) {
            const vq_field *f = &vq__ops[a->part[i].op].fields[j];
            const vq__term *t = vq__term_of(&a->part[i], j), *u = vq__term_of(&b->part[i], j);
            char ours[256], theirs[256];
            vq__piece p, q;
            if (!t && !u) continue;
            if (!t || !u) {                                  /* a value that must be, or be not */
                t = t ? t : u;
                if (f->kind <= VQ_FIELD_BOTH && !t->maybe) return 0;
                continue;
            }
            p = vq__asks(f, t, ours, sizeof ours);
            q = vq__asks(f, u, theirs, sizeof theirs);
            if (p.n && q.n && !vq__overlap(p, q)) return 0;
            if (f->kind > VQ_FIELD_BOTH) continue;
            same[vq__root(same, t->var)] = vq__root(same, VQ__VARS + u->var);
            if (t->after >= 0) same[vq__root(same, t->after)] = vq__root(same, VQ__VARS + u->after);
        }
    }
    for (side = 0; side < 2; side++) {                       /* what is made twice is not one */
        const vq__rule *u = side ? b : a;
        for (i = 0; i < u->vars; i++)
            for (j = 0; j < i; j++)
                if (vq__root(same, side * VQ__VARS + i) == vq__root(same, side * VQ__VARS + j)
                    && vq__brings(u->part, u->match, i) && vq__brings(u->part, u->match, j))
                    return 0;
    }
    return 1;
}

/* Rules feed one another where one puts an op that the other takes. Round a ring of them replacing
   ends only if each leaves fewer nodes. */
static int vq__endless(const vq__rule *rules)
{
    const vq__rule *a, *b;
    uint64_t feeds[64], was = 1, now;
    int n = 0, m, i, j;
    for (a = rules; a; a = a->next, n++)
        for (feeds[n] = 0, b = rules, m = 0; b; b = b->next, m++)
            for (i = 0; i < a->replace; i++)
                for (j = 0; j < b->match; j++)
                    if (a->part[VQ__NODES + i].op == b->part[j].op) feeds[n] |= UINT64_C(1) << m;
    for (now = 0; now != was; ) {                            /* and what those feed */
        for (was = now, now = 0, i = 0; i < n; now += feeds[i++] * 3)
            for (j = 0; j < n; j++) if (feeds[i] >> j & 1u) feeds[i] |= feeds[j];
    }
    for (a = rules, i = 0; a && !((feeds[i] >> i & 1u) && a->replace >= a->match); a = a->next) i++;
    return a != NULL;
}

static vq__pass *vq__pass_of(const vq_fuser *f, const char *name)
{
    vq__pass *p = f->passes;
    while (p && strcmp(p->name, name)) p = p->next;
    return p;
}

vq_status vq_fuser_pattern(vq_fuser *f, const char *pass, const vq_pattern *p, vq_report *report)
{
    vq_report r;
    vq__pass *to = f && pass ? vq__pass_of(f, pass) : NULL;
    vq__rule *u = NULL, **end = to ? &to->rules : NULL;
    int i, n = 0;
    memset(&r, 0, sizeof r);
    if (!f || !pass || !p || !p->name || !p->match || !p->replace)
        vq__refuse(&r, VQ_GUARD_PRESENT, !f ? "the fuser" : pass ? "the pattern" : "the pass", 0,
                   0);
    else if (!to) vq__refuse_name(&r, VQ_GUARD_NAME, "the pass", pass);
    else if ((u = (vq__rule *)VQ_MALLOC(sizeof *u)) == NULL)
        vq__refuse(&r, VQ_GUARD_ALLOC, "the pattern", (int64_t)sizeof *u, 0);
    if (r.status) return vq__tell(&r, report);
    memset(u, 0, sizeof *u);
    u->p = p;
    r.op = p->name;
    if (!vq__read_side(u, p->match, 1, &r)) vq__read_side(u, p->replace, 0, &r);
    for (i = 0; i < u->vars && !r.status; i++)
        if (!u->between[i] && !u->kind[i] && vq__brings(u->part, u->match, i)
                                             != vq__brings(u->part + VQ__NODES, u->replace, i)) {
            vq__stop(&r, p->replace, u->name[i], "the value");
            vq__refuse_name(&r, VQ_GUARD_UNMADE, "on one side the value", "");
            vq__copy_name(r.name, u->name[i].n + 1, u->name[i].at);
        }
    for (; !r.status && *end; end = &(*end)->next, n++)
        if (!strcmp((*end)->p->name, p->name))
            vq__refuse_name(&r, VQ_GUARD_TWICE, "the pattern", p->name);
        else if (vq__rivals(u, *end))
            vq__refuse_name(&r, VQ_GUARD_RIVAL, "it", (*end)->p->name);
    if (!r.status && n == 64) vq__refuse(&r, VQ_GUARD_SIZE, "the pass", n + 1, 64);
    if (!r.status) {
        *end = u;
        if (!vq__endless(to->rules)) return VQ_OK;
        *end = NULL;
        vq__refuse(&r, VQ_GUARD_ENDLESS, "with the others of its pass it", 0, 0);
    }
    VQ_FREE(u);
    return vq__tell(&r, report);
}

/* --- matching -------------------------------------------------------------- */

typedef struct vq__fit {
    int         node[VQ__NODES], value[VQ__VARS];        /* -1: none; -2: not known yet */
    const char *bytes[VQ__VARS];                         /* of a $name */
    int         asked, dry;                              /* dry: nothing is replaced */
    vq_report   why;
} vq__fit;

static size_t vq__field_size(const vq_field *f) { return f->kind == VQ_FIELD_KEY ? 64 : 4; }

/* Does node n lie as the part? Binds its values. */
static int vq__bind(const vq__rule *u, const vq__part *p, const vq_node *n, vq__fit *m)
{
    int i, makes;
    if (n->op != p->op) return 0;
    for (i = 0; i < p->terms; i++) {
        const vq__term *t = &p->term[i];
        if (t->var < 0 || u->kind[t->var]) continue;
        for (makes = 0; makes < (t->after < 0 ? 1 : 2); makes++) {
            int v = vq__at_field(n, t->field, makes), *to = &m->value[makes ? t->after : t->var];
            if (v < 0 && t->after < 0) v = vq__at_field(n, t->field, 1);
            if ((v < 0 && !t->maybe) || (*to != -2 && *to != v)) return 0;
            *to = v;
        }
    }
    for (i = 0; i < n->reads + n->makes; i++) if (!vq__term_of(p, n->field[i])) return 0;
    return 1;
}

/* What was found and what the pattern has, in words. */
static vq_status vq__miss(vq__fit *m, vq_guard g, const char *arg, const char *found,
                          vq__piece needed)
{
    vq__refuse_name(&m->why, g, NULL, found);
    vq__format(m->why.text, sizeof m->why.text, "%s %s: found %s, needed %.*s", arg,
               vq__guards[g].text, found, (int)needed.n, needed.at);
    return m->why.status = VQ_UNSUPPORTED;
}

static vq__piece vq__piece_of(const char *text)
{
    vq__piece p;
    p.at = text;
    p.n = strlen(text);
    return p;
}

/* Is it a value that these nodes make and nothing of the replacement names? */
static int vq__lies_between(const vq__rule *u, const vq_graph *g, const vq__fit *m, int var)
{
    int i = u->match;
    if (u->kind[var] || !u->between[var] || m->value[var] < 0) return 0;
    while (i-- && !vq__makes(&g->node[m->node[i]], m->value[var])) {}
    return i >= 0;
}

/* Does anyone but these nodes use what lies between them? */
static vq_status vq__ask_uses(const vq__rule *u, const vq_graph *g, vq__fit *m)
{
    char found[24], needed[24];
    int i, j, k, uses, all;
    for (i = 0; i < u->vars; i++) {
        const vq_value *v = &g->value[m->value[i] < 0 ? 0 : m->value[i]];
        if (!vq__lies_between(u, g, m, i)) continue;
        for (uses = j = 0; j < u->match; j++)
            for (k = 0; k < g->node[m->node[j]].reads; k++)
                uses += g->node[m->node[j]].value[k] == m->value[i];
        all = v->uses + (v->out != 0) + (v->in != 0);
        if (all == uses) continue;
        vq__format(found, sizeof found, "%d", all);
        vq__format(needed, sizeof needed, "%d", uses);
        return vq__miss(m, VQ_GUARD_USES, v->name, found, vq__piece_of(needed));
    }
    return VQ_OK;
}

/* The type that an op rounds to. */
static vq_dtype vq__mid_in(const vq_graph *g, const vq_node *n)
{
    const int mid = vq__find_field(n->op, "mid", 3), x = vq__find_field(n->op, "x", 1);
    vq_dtype t = VQ_NONE;
    if (mid >= 0) memcpy(&t, n->args.bytes + vq__ops[n->op].fields[mid].offset, sizeof t);
    return t || x < 0 ? t : g->value[vq__at_field(n, x, 0)].t.dtype;
}

/* What is asked, in the order that makes the furthest miss the telling one: vq__judge(). */
enum { VQ__ASK_NUMBERS, VQ__ASK_KEYS, VQ__ASK_USES, VQ__ASK_TYPES, VQ__ASK_LAYOUTS };

/* One field of one node. */
static vq_status vq__ask(const vq_graph *g, const vq_node *n, const vq_field *f, const vq__term *t,
                         vq__fit *m, int which)
{
    const char *at = n->args.bytes + f->offset;
    vq_any_args want;
    char word[256];
    if (f->kind <= VQ_FIELD_BOTH) {
        const char *needed = vq_dtype_str(vq__mid_in(g, n));
        const vq_value *v = t && m->value[t->var] >= 0 ? &g->value[m->value[t->var]] : NULL;
        const int mid = v && t->glob.n && vq__is(t->glob, "mid");
        if (!v || !t->glob.n || which != (mid ? VQ__ASK_TYPES : VQ__ASK_LAYOUTS)) return VQ_OK;
        vq__format(word, sizeof word, mid ? "%s" : "%s.%s", vq_dtype_str(v->t.dtype),
                   vq_order_str(v->order));
        if (mid) return v->t.dtype == vq__mid_in(g, n) ? VQ_OK
            : vq__miss(m, VQ_GUARD_TYPE, v->name, word, vq__piece_of(needed));
        return vq__looks(word, t->glob) ? VQ_OK
            : vq__miss(m, VQ_GUARD_LAYOUT, v->name, word, t->glob);
    }
    if (f->kind == VQ_FIELD_RESULT
        || which != (f->kind == VQ_FIELD_KEY ? VQ__ASK_KEYS : VQ__ASK_NUMBERS))
        return VQ_OK;
    vq_field_write(f, n->args.bytes, word, sizeof word);
    memset(&want, 0, sizeof want);
    if (t && t->var < 0) vq__word_to(f, t->word, want.bytes);
    if (!t || t->var < 0)
        return !memcmp(want.bytes + f->offset, at, vq__field_size(f)) ? VQ_OK
            : vq__miss(m, VQ_GUARD_VALUE, f->name, word, t ? t->word : vq__piece_of("nothing"));
    if (t->glob.n && !vq__looks(word, t->glob))
        return vq__miss(m, VQ_GUARD_VALUE, f->name, word, t->glob);
    if (m->bytes[t->var] && memcmp(m->bytes[t->var], at, vq__field_size(f)))
        return vq__miss(m, VQ_GUARD_VALUE, f->name, word, vq__piece_of("that of the other node"));
    m->bytes[t->var] = at;
    return VQ_OK;
}

/* Value v, which no node has, out of the list. */
static void vq__drop(vq_graph *g, int v)
{
    int i, j;
    memmove(g->value + v, g->value + v + 1, (size_t)(--g->values - v) * sizeof *g->value);
    for (i = 0; i < g->nodes; i++)
        for (j = g->node[i].reads + g->node[i].makes; j--; ) {   /* of BOTH what is read stays */
            vq_node *n = &g->node[i];
            if (n->value[j] > v) n->value[j]--;
            if (n->op) vq__tensor_in(&n->args, &vq__ops[n->op].fields[n->field[j]])->data
                           = vq__handle(g, n->value[j]).data;
        }
}

static int vq__took(const vq__rule *u, const vq__fit *m, int node)
{
    int i = u->match;
    while (i-- && m->node[i] != node) {}
    return i >= 0;
}

/* g with the nodes replaced, if ctx has what that takes. */
static vq_status vq__put(const vq__rule *u, const vq_ctx *ctx, vq_graph *g, vq__fit *m)
{
    vq_graph to = VQ_ZERO;
    vq_report *r = &m->why;
    vq_choice choice;
    vq_any_args a;
    vq_node n;
    int i, j, line = 0, last = 0;
    if (vq_graph_copy(g, &to)) return vq__refuse(r, VQ_GUARD_ALLOC, "the graph", 0, 0);
    for (i = 0; i < u->match; i++) {
        const vq_node *gone = &g->node[m->node[i]];
        if (m->node[i] > last) last = m->node[i];
        if (gone->line > line) line = gone->line;
        for (j = 0; j < gone->makes; j++) to.value[gone->value[gone->reads + j]].maker = -1;
    }
    for (i = to.nodes = 0; i < last; i++)                    /* the new ones where the last was */
        if (!vq__took(u, m, i)) to.node[to.nodes++] = g->node[i];
    for (i = 0; i < u->replace && !r->status; i++) {
        const vq__part *p = &u->part[VQ__NODES + i];
        int after = -1;
        memset(&a, 0, sizeof a);
        for (j = 0; j < p->terms; j++) {
            const vq__term *t = &p->term[j];
            const vq_field *f = &vq__ops[p->op].fields[t->field];
            if (t->var < 0) vq__word_to(f, t->word, a.bytes);
            else if (u->kind[t->var])
                memcpy(a.bytes + f->offset, m->bytes[t->var], vq__field_size(f));
            else if (m->value[t->var] >= 0)
                *vq__tensor_in(&a, f) = vq__handle(&to, m->value[t->var]);
            if (t->after >= 0) after = m->value[t->after];
        }
        if (vq__op_node(&to, p->op, a.bytes, after, &n, r)) break;
        n.line = line;
        for (j = 0; j < vq__ops[p->op].field_count; j++)
            if (vq__ops[p->op].fields[j].kind <= VQ_FIELD_BOTH)
                vq__tensor_in(&a, &vq__ops[p->op].fields[j])->where = vq_mem_where(ctx);
        a.call.report = r;
        if (!vq_plan(ctx, p->op, a.bytes, &choice)) vq__add_node(&to, &n, r);
    }
    for (i = last + 1; i < g->nodes && !r->status; i++) vq__add_node(&to, &g->node[i], r);
    for (j = g->values; j-- && !r->status; ) {               /* the last first: numbers stay */
        for (i = 0; i < u->vars && !(m->value[i] == j && vq__lies_between(u, g, m, i)); i++) {}
        if (i < u->vars) vq__drop(&to, j);
    }
    if (r->status || vq__sort_graph(&to, r)) {
        vq_graph_free(&to);
        return r->status;
    }
    if (m->dry) { vq_graph_free(&to); return VQ_OK; }
    vq_graph_free(g);
    *g = to;
    return VQ_OK;
}

static vq_status vq__judge(const vq__pass *pass, const vq__rule *u, const vq_ctx *ctx, vq_graph *g,
                           vq__fit *m)
{
    static const int order[] = { VQ__ASK_NUMBERS, VQ__ASK_KEYS, VQ__ASK_USES, VQ__ASK_TYPES,
                                 VQ__ASK_LAYOUTS };
    const vq_tensor *x = &g->value[g->node[m->node[0]].value[0]].t;
    const int64_t rows = x->rank > 1 ? x->shape[x->rank - 2] : 1;
    int i, j;
    memset(&m->why, 0, sizeof m->why);
    memset(m->bytes, 0, sizeof m->bytes);
    m->asked = 0;
    for (; m->asked < VQ__COUNT(order); m->asked++) {
        if (order[m->asked] == VQ__ASK_USES && vq__ask_uses(u, g, m)) return m->why.status;
        for (i = 0; i < u->match; i++) {
            const vq_node *n = &g->node[m->node[i]];
            for (j = 0; j < vq__ops[n->op].field_count; j++)
                if (vq__ask(g, n, &vq__ops[n->op].fields[j], vq__term_of(&u->part[i], j), m,
                            order[m->asked])) return m->why.status;
        }
    }
    if (rows < pass->rows_min || (pass->rows_max && rows > pass->rows_max))
        return vq__refuse(&m->why, VQ_GUARD_SHAPE, "the rows of x", rows,
                          rows < pass->rows_min ? pass->rows_min : pass->rows_max);
    m->asked++;
    if (u->p->allows && !u->p->allows(u->p->user, g, m->node, u->match))
        return vq__refuse_name(&m->why, VQ_GUARD_POLICY, "it", "no, says the pattern's own guard");
    m->asked++;
    return vq__put(u, ctx, g, m);
}

typedef struct vq__ledger { vq_receipt *row; int rows, room; } vq__ledger;

/* One more row; of misses at the same value the one that came furthest. NULL: no memory. */
static vq_receipt *vq__enter(vq__ledger *l, const vq__pass *pass, const vq__rule *u,
                             const char *at, const vq__fit *miss)
{
    vq_receipt *row;
    int i;
    void *p = vq__grow(l->row, l->rows, &l->room, sizeof *l->row);
    if (!p) return NULL;
    l->row = (vq_receipt *)p;
    for (i = 0; i < l->rows; i++)
        if (miss && !l->row[i].matched && l->row[i].pass == pass->name && !strcmp(l->row[i].at, at))
            break;
    row = &l->row[i];
    if (i < l->rows && row->asked >= miss->asked) {
        row->others += row->asked == miss->asked && row->pattern != u->p->name;
        return row;
    }
    l->rows += i == l->rows;
    memset(row, 0, sizeof *row);
    vq__copy_name(row->at, sizeof row->at, at);
    row->pass = pass->name;
    row->pattern = u->p->name;
    row->matched = !miss;
    if (!miss) return row;
    row->asked = miss->asked;
    row->why = miss->why;
    row->why.status = VQ_UNSUPPORTED;
    if (!row->why.text[0]) vq__spell(&row->why);
    return row;
}

/* Nodes for the parts from `depth` on. 1: replaced; 0: no; -1: no memory. */
static int vq__seek(const vq__pass *pass, const vq__rule *u, const vq_ctx *ctx, vq_graph *g,
                    vq__fit *m, int depth, char *at, vq__ledger *misses)
{
    int i, j, got;
    if (depth == u->match) {
        const vq_node *n = &g->node[m->node[depth - 1]];
        memcpy(at, g->value[n->value[n->reads]].name, VQ_NAME_SIZE);
        if (!vq__judge(pass, u, ctx, g, m)) return !m->dry;
        if (m->why.guard == VQ_GUARD_ALLOC) return -1;
        return misses && !vq__enter(misses, pass, u, at, m) ? -1 : 0;
    }
    for (i = depth ? 0 : m->node[0]; i < (depth ? g->nodes : m->node[0] + 1); i++) {
        vq__fit next = *m;
        for (j = 0; j < depth && m->node[j] != i; j++) {}
        if (j < depth || !vq__bind(u, &u->part[depth], &g->node[i], &next)) continue;
        next.node[depth] = i;
        got = vq__seek(pass, u, ctx, g, &next, depth + 1, at, misses);
        if (got) return got;
    }
    return 0;
}

static int64_t vq__traffic(const vq_graph *g)
{
    vq_report r;
    int i;
    memset(&r, 0, sizeof r);
    for (i = 0; i < g->nodes; i++) {
        vq__view v;
        memset(&v, 0, sizeof v);
        vq__see(&v, vq__ops[g->node[i].op].fields, vq__ops[g->node[i].op].field_count,
                g->node[i].args.bytes);
        vq__count_bytes(&v, &r);
    }
    return r.bytes_read + r.bytes_written;
}

/* Up to the first replacement, which it enters: 1; or all misses: 0. -1: no memory. */
static int vq__scan_pass(vq__pass *pass, const vq_ctx *ctx, vq_graph *g, vq__ledger *l, int misses)
{
    const int64_t before = vq__traffic(g);
    vq__rule *u;
    vq_receipt *row;
    vq__fit m;
    char at[VQ_NAME_SIZE];
    int size, i, v, got;
    for (size = VQ__NODES; size; size--)
        for (i = 0; i < g->nodes; i++)
            for (u = pass->rules; u; u = u->next) {
                if (u->match != size || g->node[i].op != u->part[0].op) continue;
                for (v = 0; v < VQ__VARS; v++) m.value[v] = -2;
                m.node[0] = i;
                m.dry = misses;
                got = vq__seek(pass, u, ctx, g, &m, 0, at, misses ? l : NULL);
                if (!got) continue;
                row = got < 0 ? NULL : vq__enter(l, pass, u, at, NULL);
                if (!row) return -1;
                row->bytes_saved = before - vq__traffic(g);
                row->launches_saved = u->match - u->replace;
                row->us_saved = ctx->platform.gb_per_s
                              ? (double)row->bytes_saved / (1e3 * ctx->platform.gb_per_s) : 0.0;
                u->last++;
                return 1;
            }
    return 0;
}

vq_status vq_fuse(vq_fuser *f, const vq_ctx *ctx, vq_graph *g, vq_receipt *rows, int cap,
                  int *count, vq_report *report)
{
    vq_report r;
    vq_graph own = VQ_ZERO;
    vq__ledger l = VQ_ZERO;
    vq__pass *p;
    vq__rule *u;
    int got = 0, misses;
    memset(&r, 0, sizeof r);
    if (!f || !ctx || !g || !count || (cap > 0 && !rows)) {
        vq__refuse(&r, VQ_GUARD_PRESENT, !f ? "the fuser" : !ctx ? "ctx" : !g ? "the graph"
                   : count ? "rows" : "count", 0, 0);
        return vq__tell(&r, report);
    }
    *count = 0;
    if (vq_graph_copy(g, &own)) vq__refuse(&r, VQ_GUARD_ALLOC, "the graph", 0, 0);
    else vq__sort_graph(&own, &r);
    for (p = f->passes; p; p = p->next) for (u = p->rules; u; u = u->next) u->last = 0;
    for (misses = 0; misses < 2 && !r.status; misses++)
        for (p = f->passes; p && got >= 0; p = p->next)
            do got = p->on ? vq__scan_pass(p, ctx, &own, &l, misses) : 0; while (got > 0);
    if (got < 0) vq__refuse(&r, VQ_GUARD_ALLOC, "the graph", 0, 0);
    if (r.status) vq_graph_free(&own);
    else {
        vq_graph_free(g);
        *g = own;
        *count = l.rows;
        if (l.rows && cap > 0)
            memcpy(rows, l.row, (size_t)(l.rows < cap ? l.rows : cap) * sizeof *rows);
    }
    for (p = f->passes; p; p = p->next)
        for (u = p->rules; u; u = u->next) u->total += u->last = r.status ? 0 : u->last;
    VQ_FREE(l.row);
    return vq__tell(&r, report);
}

int vq_receipt_text(const vq_receipt *rows, int count, char *out, size_t size)
{
    vq__text t = vq__text_at(out, size);
    char line[640];
    int i;
    for (i = 0; i < count; i++) {
        const vq_receipt *w = &rows[i];
        const char *name = w->pattern;
        vq__format(line, sizeof line, "%s %s: %s%s%s", w->matched ? "fused" : "not  ", w->at, name,
                   w->matched ? "" : ": ", w->matched ? "" : w->why.text);
        vq__say(&t, line);
        if (w->others) vq__say_number(&t, "; as far came other patterns: ", w->others);
        if (w->matched) vq__say_number(&t, ", bytes saved ", w->bytes_saved);
        if (w->matched) vq__say_number(&t, ", launches saved ", w->launches_saved);
        vq__format(line, sizeof line, ", %.3f us of memory time", w->us_saved);
        if (w->us_saved > 0.0) vq__say(&t, line);
        vq__say(&t, "\n");
    }
    return (int)t.need;
}

/* --- passes ---------------------------------------------------------------- */

vq_status vq_fuser_pass(vq_fuser *f, const char *name, int on, int64_t rows_min, int64_t rows_max,
                        vq_report *report)
{
    vq_report r;
    vq__pass *p = f && name ? vq__pass_of(f, name) : NULL, **end = f ? &f->passes : NULL;
    memset(&r, 0, offsetof(vq_report, text));
    if (!f || !name) vq__refuse(&r, VQ_GUARD_PRESENT, f ? "the name" : "the fuser", 0, 0);
    else if (!vq__is_name(name, strlen(name))) vq__refuse_name(&r, VQ_GUARD_NAME, "the pass", name);
    else if (rows_min < 0) vq__refuse(&r, VQ_GUARD_VALUE, "rows_min", rows_min, 0);
    else if (rows_max && rows_max < rows_min)
        vq__refuse(&r, VQ_GUARD_VALUE, "rows_max", rows_max, rows_min);
    else if (!p && (p = (vq__pass *)VQ_MALLOC(sizeof *p)) == NULL)
        vq__refuse(&r, VQ_GUARD_ALLOC, "the pass", (int64_t)sizeof *p, 0);
    if (r.status) return vq__tell(&r, report);
    while (*end && *end != p) end = &(*end)->next;
    if (!*end) {
        memset(p, 0, sizeof *p);
        vq__copy_name(p->name, sizeof p->name, name);
        *end = p;
    }
    p->on = on != 0;
    p->rows_min = rows_min;
    p->rows_max = rows_max;
    return VQ_OK;
}

int vq_fuser_print(const vq_fuser *f, char *out, size_t size)
{
    vq__text t = vq__text_at(out, size);
    const vq__pass *p;
    const vq__rule *u;
    for (p = f->passes; p; p = p->next) {
        vq__say(&t, "pass ");
        vq__say(&t, p->name);
        vq__say_number(&t, p->on ? ", on, rows " : ", off, rows ", p->rows_min);
        vq__say_number(&t, " to ", p->rows_max);
        for (u = p->rules; u; u = u->next) {
            vq__say(&t, u->p->allows ? "\n\npattern, with a guard, " : "\n\npattern ");
            vq__say(&t, u->p->name);
            vq__say(&t, "\n");
            vq__say(&t, u->p->match);
            vq__say(&t, "\nbecomes\n");
            vq__say(&t, u->p->replace);
        }
        vq__say(&t, "\n\n");
    }
    return (int)t.need;
}

uint64_t vq_fuser_hash(const vq_fuser *f)
{
    const int n = vq_fuser_print(f, NULL, 0);
    char *text = (char *)VQ_MALLOC((size_t)n + 1u);
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ VQ_VERSION;  /* FNV-1a; 0: no memory */
    int i;
    if (!text) return 0;
    vq_fuser_print(f, text, (size_t)n + 1u);
    for (i = 0; i < n; i++) h = (h ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    VQ_FREE(text);
    return h;
}

int vq_fuser_counts(const vq_fuser *f, vq_fuse_count *rows, int cap)
{
    const vq__pass *p;
    const vq__rule *u;
    int n = 0;
    for (p = f->passes; p; p = p->next)
        for (u = p->rules; u; u = u->next, n++) {
            if (n >= cap) continue;
            rows[n].pass = p->name;
            rows[n].pattern = u->p->name;
            rows[n].last = u->last;
            rows[n].total = u->total;
        }
    return n;
}

#define VQ__SCALES1 " q=q scale=s zero=z? bound=b? scale2=c?"
#define VQ__SCALES2 " q=q2 scale=s2 zero=z2? bound=b2? scale2=c2?"
#define VQ__GROUPS_OF "*/*/1x128/*|*/*/1x64/*|*/*/1x32/*|*/*/1x16/*"
#define VQ__PLAIN_OF(group) \
    "*/*/" group "/dyn/amax.div*|*/*/" group "/dyn/amax.inv*|*/*/" group "/dyn/amax.recip*"
#define VQ__POWERS_OF(group) \
    "*/*/" group "/dyn/amax.rceil*|*/*/" group "/dyn/amax.ceil*|*/*/" group "/dyn/amax.floor*"
#if !defined(VQ_NO_QUANT) && !defined(VQ_NO_ACT)
#define VQ__GATED " act=$a gate=$g mid=$m alpha=$f limit=$l plus=$p x=x"
#define VQ__ACT_QUANT(name, keys) \
    { name, "act_mul" VQ__GATED " y=y:mid\nquant key=$k:" keys " x=y" VQ__SCALES1, \
      "act_mul_quant key=$k" VQ__GATED VQ__SCALES1, NULL, NULL },
static const vq_pattern vq__act_quant[] = {
    VQ__ACT_QUANT("act_static", "*/*/-1x-1/static/*")
    VQ__ACT_QUANT("act_token", "*/*/1x-1/dyn/*")
    VQ__ACT_QUANT("act_group128", VQ__PLAIN_OF("1x128"))
    VQ__ACT_QUANT("act_group64", VQ__PLAIN_OF("1x64"))
    VQ__ACT_QUANT("act_group128_ue8m0", VQ__POWERS_OF("1x128"))
    VQ__ACT_QUANT("act_group64_ue8m0", VQ__POWERS_OF("1x64"))
    VQ__ACT_QUANT("act_mxfp8", "float8_*/float8_e8m0fnu/1x32/*")
    VQ__ACT_QUANT("act_mxfp6", "float6_*/float8_e8m0fnu/1x32/*")
    VQ__ACT_QUANT("act_mxfp4", "float4_*/float8_e8m0fnu/1x32/*")
    VQ__ACT_QUANT("act_nvfp4", "float4_*/ue4m3/1x16/*")
};
#endif
#if !defined(VQ_NO_QUANT) && !defined(VQ_NO_NORM)
#define VQ__NORMED(x) " x=" x " weight=w? gate=h? eps=$e plus_one=$o"
#define VQ__NORM_QUANT(name, more, keys) \
    { name, "rms_norm mid=$m" more VQ__NORMED("x") " y=y:mid\nquant key=$k:" keys " x=y" \
      VQ__SCALES1, "rms_norm_quant key=$k mid=$m" more VQ__NORMED("x") VQ__SCALES1, NULL, NULL },
#define VQ__NORM_QUANTS(name, mid, more, second) \
    { name, "rms_norm" mid more VQ__NORMED("x") " y=y:mid\nquant key=$k x=y" VQ__SCALES1 \
      "\nquant key=$j x=y" VQ__SCALES2, "rms_norm_quant key=$k" mid more VQ__NORMED("x") \
      VQ__SCALES1 "\nrms_norm_quant key=$j" mid VQ__NORMED(second) VQ__SCALES2, NULL, NULL },
static const vq_pattern vq__norm_quant[] = {
    VQ__NORM_QUANTS("rms_twice", " mid=$m", "", "x")
    VQ__NORM_QUANTS("add_rms_twice", " mid=none", " residual=r:t", "t")      /* which is normed */
    VQ__NORM_QUANT("rms_static", "", "*/*/-1x-1/static/*")
    VQ__NORM_QUANT("rms_token", "", "*/*/1x-1/dyn/*")
    VQ__NORM_QUANT("rms_group", "", VQ__GROUPS_OF)
    VQ__NORM_QUANT("add_rms_static", " residual=r:t", "*/*/-1x-1/static/*")
    VQ__NORM_QUANT("add_rms_token", " residual=r:t", "*/*/1x-1/dyn/*")
    VQ__NORM_QUANT("add_rms_group", " residual=r:t", VQ__GROUPS_OF)
};
#endif

static const struct { const char *name; const vq_pattern *pattern; int count; } vq__built_in[] = {
#if !defined(VQ_NO_QUANT) && !defined(VQ_NO_NORM)
    { "norm_quant", vq__norm_quant, VQ__COUNT(vq__norm_quant) },
#endif
#if !defined(VQ_NO_QUANT) && !defined(VQ_NO_ACT)
    { "act_quant", vq__act_quant, VQ__COUNT(vq__act_quant) },
#endif
    { "none", NULL, 0 }
};

void vq_fuser_free(vq_fuser *f)
{
    while (f && f->passes) {
        vq__pass *p = f->passes;
        while (p->rules) {
            vq__rule *u = p->rules;
            p->rules = u->next;
            VQ_FREE(u);
        }
        f->passes = p->next;
        VQ_FREE(p);
    }
    VQ_FREE(f);
}

vq_status vq_fuser_new(const char *passes, vq_fuser **out, vq_report *report)
{
    vq_report r;
    vq__piece all = vq__piece_of(passes ? passes : ""), one;
    vq_fuser *f = out ? (vq_fuser *)VQ_MALLOC(sizeof *f) : NULL;
    int i = 0, j;
    memset(&r, 0, sizeof r);
    if (!out) vq__refuse(&r, VQ_GUARD_PRESENT, "out", 0, 0);
    else *out = NULL;
    if (out && !f) vq__refuse(&r, VQ_GUARD_ALLOC, "the fuser", (int64_t)sizeof *f, 0);
    if (r.status) return vq__tell(&r, report);
    f->passes = NULL;
    for (; !r.status && (passes ? all.n > 0 : i < VQ__COUNT(vq__built_in)); i++) {
        if (passes) {
            one = vq__upto(&all, ' ');
            for (i = 0; i < VQ__COUNT(vq__built_in) && !vq__is(one, vq__built_in[i].name); i++) {}
            if (i == VQ__COUNT(vq__built_in)) {
                vq__refuse_name(&r, VQ_GUARD_NAME, "the pass", "");
                vq__copy_name(r.name, one.n < sizeof r.name ? one.n + 1 : sizeof r.name, one.at);
                break;
            }
        }
        if (!vq__built_in[i].count) continue;
        if (vq_fuser_pass(f, vq__built_in[i].name, 1, 0, 0, &r)) break;
        for (j = 0; j < vq__built_in[i].count; j++)
            if (vq_fuser_pattern(f, vq__built_in[i].name, &vq__built_in[i].pattern[j], &r)) break;
    }
    if (!r.status) { *out = f; return VQ_OK; }
    vq_fuser_free(f);
    return vq__tell(&r, report);
}

#ifdef __cplusplus
}
#endif
#endif
