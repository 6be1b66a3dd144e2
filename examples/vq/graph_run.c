/* graph_run.c - see graph_run.h */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "graph_run.h"

enum { PIECE = 256 };

static vq_status no(vq_status s, char *why, size_t size, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    vsnprintf(why, size, fmt, list);
    va_end(list);
    return s;
}

static int64_t pieces(int64_t bytes) { return (bytes + PIECE - 1) / PIECE * PIECE; }

/* The args of a node, with the tensors where `where` says and, if data is given, in memory. */
static void args_of(const vq_graph *g, const vq_node *n, vq_where where, void *const *data,
                    vq_any_args *a)
{
    int i, count;
    const vq_field *f = vq_op_fields(n->op, &count);
    (void)g;
    *a = n->args;
    for (i = 0; i < n->reads + n->makes; i++) {              /* of BOTH that which is made */
        vq_tensor *t = (vq_tensor *)(void *)(a->bytes + f[n->field[i]].offset);
        t->where = where;
        t->data = data ? data[n->value[i]] : NULL;
    }
}

/* The value that node n changes in place, and what it becomes; 0: it has none. */
static int changes(const vq_node *n, int *before, int *after)
{
    int i, j;
    for (i = 0; n->op && i < n->reads; i++)
        for (j = n->reads; j < n->reads + n->makes; j++)
            if (n->field[i] == n->field[j]) {
                *before = n->value[i];
                *after = n->value[j];
                return 1;
            }
    return 0;
}

static int reads_of(const vq_node *n, int value)
{
    int i, count = 0;
    for (i = 0; i < n->reads; i++) count += n->value[i] == value;
    return count;
}

/* --- the plan -------------------------------------------------------------- */

typedef struct life { int first, last, home; int64_t bytes; } life;  /* home: whose memory it has */

/* The lowest offset at which bytes are free of all that live at the same time. */
static int64_t place(const life *v, const int64_t *at, int values, int which)
{
    int64_t o = 0;
    int i, moved = 1;
    while (moved)
        for (moved = i = 0; i < values; i++) {
            if (i == which || at[i] < 0 || v[i].home != i || v[i].last < v[which].first
                || v[i].first > v[which].last || at[i] >= o + v[which].bytes
                || at[i] + v[i].bytes <= o) continue;
            o = at[i] + v[i].bytes;
            moved = 1;
        }
    return o;
}

vq_status vq_graph_plan_make(const vq_graph *g, const vq_ctx *ctx, vq_graph_plan *out, char *why,
                             size_t size)
{
    vq_graph_plan p = VQ_ZERO;
    vq_report r = VQ_ZERO;
    vq_status s = VQ_OK;
    life *v = (life *)calloc((size_t)g->values + 1, sizeof *v);
    int64_t work = 0;
    int i, j, before, after;
    p.at = (int64_t *)malloc(((size_t)g->values + 1) * sizeof *p.at);
    p.from = (int *)malloc(((size_t)g->values + 1) * sizeof *p.from);
    p.choice = (vq_choice *)calloc((size_t)g->nodes + 1, sizeof *p.choice);
    if (!v || !p.at || !p.from || !p.choice) s = no(VQ_OUT_OF_MEMORY, why, size, "out of memory");
    for (i = 0; !s && i < g->values; i++) {
        p.at[i] = p.from[i] = -1;
        v[i].home = i;
        v[i].first = v[i].last = g->value[i].maker;
        v[i].bytes = pieces(vq_tensor_bytes(g->value[i].t));
    }
    for (i = 0; !s && i < g->nodes; i++) {
        const vq_node *n = &g->node[i];
        vq_any_args a;
        for (j = 0; j < n->reads; j++) v[n->value[j]].last = i;
        if (!n->op) continue;
        args_of(g, n, vq_mem_where(ctx), NULL, &a);
        a.call.report = &r;
        s = vq_plan(ctx, n->op, a.bytes, &p.choice[i]);
        if (s && n->line) no(s, why, size, "line %d: %s", n->line, r.text);
        else if (s) no(s, why, size, "%s", r.text);
        if ((int64_t)p.choice[i].workspace_bytes > work)
            work = (int64_t)p.choice[i].workspace_bytes;
    }
    for (i = 0; !s && i < g->nodes; i++) {
        if (!changes(&g->node[i], &before, &after)) continue;
        if (!g->value[before].in && !g->value[before].out && !g->value[after].out
            && v[before].last == i && reads_of(&g->node[i], before) == 1) {
            v[v[before].home].last = v[after].last;          /* the last to need it: in its place */
            v[after].home = v[before].home;
        } else p.from[after] = before;
    }
    for (i = 0; !s && i < g->values; i++) {
        if (g->value[i].in || g->value[i].out || v[i].home != i) continue;
        p.at[i] = place(v, p.at, g->values, i);
        if (p.at[i] + v[i].bytes > p.work) p.work = p.at[i] + v[i].bytes;
    }
    for (i = 0; !s && i < g->values; i++) if (v[i].home != i) p.at[i] = p.at[v[i].home];
    p.bytes = p.work + pieces(work);
    free(v);
    if (s) vq_graph_plan_free(&p);
    else *out = p;
    return s;
}

void vq_graph_plan_free(vq_graph_plan *p)
{
    free(p->at);
    free(p->from);
    free(p->choice);
    memset(p, 0, sizeof *p);
}

/* --- a run ----------------------------------------------------------------- */

static vq_status run_opaque(const vq_graph *g, const vq_node *n, const vq_ctx *ctx, void *stream,
                            void *const *data)
{
    vq_tensor t[VQ_NODE_VALUES];
    int i;
    for (i = 0; i < n->reads + n->makes; i++) {
        t[i] = g->value[n->value[i]].t;
        t[i].data = data[n->value[i]];
        t[i].where = vq_mem_where(ctx);
    }
    return n->run(n->user, ctx, stream, t, n->reads, n->makes);
}

/* A copy is a cast to the same type: an op like any other, on the stream. */
static vq_status copy(const vq_graph *g, const vq_ctx *ctx, void *stream, void *const *data,
                      int from, int to, vq_report *r)
{
    vq_cast_args a = VQ_ZERO;
    a.call.stream = stream;
    a.call.report = r;
    a.x = g->value[from].t;
    a.y = g->value[to].t;
    a.x.where = a.y.where = vq_mem_where(ctx);
    a.x.data = data[from];
    a.y.data = data[to];
    a.overflow = VQ_NONFINITE;
    return vq_cast(ctx, &a);
}

vq_status vq_graph_run(const vq_graph *g, const vq_graph_plan *plan, const vq_ctx *ctx,
                       void *stream, void *const *data, void *arena, char *why, size_t size)
{
    void **all = (void **)malloc(((size_t)g->values + 1) * sizeof *all);
    vq_report r = VQ_ZERO;
    vq_status s = VQ_OK;
    int i, j;
    if (!all) return no(VQ_OUT_OF_MEMORY, why, size, "out of memory");
    for (i = 0; i < g->values; i++)
        all[i] = plan->at[i] < 0 ? data[i] : (char *)arena + plan->at[i];
    for (i = 0; i < g->nodes && !s; i++) {
        const vq_node *n = &g->node[i];
        vq_any_args a;
        for (j = n->reads; j < n->reads + n->makes && !s; j++)
            if (plan->from[n->value[j]] >= 0)
                s = copy(g, ctx, stream, all, plan->from[n->value[j]], n->value[j], &r);
        if (s) break;
        if (!n->op) {
            if (n->run) s = run_opaque(g, n, ctx, stream, all);
            else s = no(VQ_BAD_ARG, why, size, "@%s has no function", n->name);
            if (s && n->run) no(s, why, size, "@%s failed", n->name);
            if (s) { free(all); return s; }
            continue;
        }
        args_of(g, n, vq_mem_where(ctx), all, &a);
        a.call.stream = stream;
        a.call.report = &r;
        a.call.workspace = (char *)arena + plan->work;
        a.call.workspace_bytes = plan->choice[i].workspace_bytes;
        s = vq_run(ctx, &plan->choice[i], a.bytes);
    }
    free(all);
    return s ? no(s, why, size, "%s", r.text) : VQ_OK;
}

/* --- two graphs ------------------------------------------------------------ */

static uint64_t mix(uint64_t *state)           /* splitmix64 */
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static float number(uint64_t *state)           /* most near 0, some far off */
{
    const uint64_t z = mix(state);
    const float u = (float)(z >> 40) / 8388608.0f - 1.0f;
    return z % 61 == 0 ? u * 200.0f : u * u * u * 4.0f;
}

static float nasty(uint64_t *state)
{
    static const float some[] = { 0.0f, -0.0f, 1e-45f, 1e-40f, 6e-8f, 1.5f, 2.5f, 448.0f, 464.0f,
                                  65504.0f, 65520.0f, 3.3e38f, 0.4375f, 17.0f };
    const uint64_t z = mix(state), kind = z % 16;
    float v = some[z / 16 % (sizeof some / sizeof *some)];
    uint32_t bits = (uint32_t)(z >> 32);
    if (kind == 0) v = INFINITY;
    if (kind == 1) v = NAN;
    if (kind > 6) memcpy(&v, &bits, sizeof v);
    if (kind > 10) v = (float)(int32_t)(bits & 1023) * 0.0625f;             /* ties */
    return bits >> 31 ? -v : v;
}

/* Does a node read value v as a scale, or what bounds one? These are positive. */
static int is_scale(const vq_graph *g, int v)
{
    int i, j, count;
    for (i = 0; i < g->nodes; i++)
        for (j = 0; j < g->node[i].reads; j++) {
            const vq_field *f = vq_op_fields(g->node[i].op, &count);
            if (g->node[i].value[j] == v && g->node[i].op
                && (!strncmp(f[g->node[i].field[j]].name, "scale", 5)
                    || !strcmp(f[g->node[i].field[j]].name, "bound"))) return 1;
        }
    return 0;
}

static void fill(const vq_tensor *t, int kind, int scale, uint64_t *state, unsigned char *to,
                 int64_t bytes)
{
    const int bits = vq_dtype_bits(t->dtype);
    int64_t i;
    for (i = 0; i < bytes * 8 / bits; i++) {
        uint32_t c = (uint32_t)mix(state);
        if (t->dtype == VQ_INT32 || t->dtype == VQ_INT64) c = 0;
        else if (scale && (t->dtype == VQ_E8M0 || t->dtype == VQ_UE4M3))
            c = t->dtype == VQ_E8M0 ? 112 + c % 24 : 1 + c % 126;
        else if (scale) c = vq_encode(t->dtype, ldexpf(1.0f + (float)(c % 1024) / 1024.0f,
                                                       (int)(c >> 10) % 8 - 6), VQ_SATURATE);
        else if (bits >= 16) c = vq_encode(t->dtype, kind == VQ_INPUT_NASTY ? nasty(state)
                                                                         : number(state),
                                           VQ_NONFINITE);
        if (bits < 8) vq_code_put(to, bits, i, c & ((1u << bits) - 1u));
        else if (bits == 64) memset(to + i * 8, 0, 8);
        else memcpy(to + i * bits / 8, &c, (size_t)(bits / 8));
    }
}

/* Takes in every element of t, packed ones by rows, and none of the gaps between. */
static void take_in(const vq_tensor *t, const unsigned char *own, uint64_t *state)
{
    const int bits = vq_dtype_bits(t->dtype), packed = bits < 8, dims = t->rank - packed;
    const int64_t unit = packed ? vq_row_bytes(t->dtype, t->shape[dims]) : bits / 8;
    int64_t at[4] = { 0, 0, 0, 0 }, i, o;
    int d = 0;
    if (t->layout != VQ_STRIDED) {                           /* its padding is written */
        for (i = 0; i < vq_tensor_bytes(*t); i++) { *state ^= own[i]; mix(state); }
        return;
    }
    for (i = 0; i < t->rank; i++) if (!t->shape[i]) return;
    while (d >= 0) {
        for (o = d = 0; d < dims; d++) o += at[d] * t->stride[d] * (packed ? 1 : unit);
        for (i = 0; i < unit; i++) { *state ^= own[o + i]; mix(state); }
        for (d = dims - 1; d >= 0 && ++at[d] == t->shape[d]; d--) at[d] = 0;
    }
}

/* What stands in for an opaque node: numbers that depend on every element it reads. */
static vq_status stand_in(void *user, const vq_ctx *ctx, void *stream, const vq_tensor *t,
                          int reads, int makes)
{
    uint64_t state = 1;
    int i;
    (void)stream;
    for (i = 0; i < reads + makes; i++) {
        const int64_t bytes = vq_tensor_bytes(t[i]);
        unsigned char *own = (unsigned char *)calloc(1, (size_t)bytes + 8);
        vq_status s = own ? VQ_OK : VQ_OUT_OF_MEMORY;
        if (!s && i < reads) {
            s = vq_mem_copy((vq_ctx *)user, own, t[i].data, (size_t)bytes);
            if (!s) take_in(&t[i], own, &state);
        } else if (!s) {
            fill(&t[i], VQ_INPUT_RANDOM, 0, &state, own, bytes);
            s = vq_mem_copy((vq_ctx *)user, t[i].data, own, (size_t)bytes);
        }
        free(own);
        if (s) return s;
    }
    (void)ctx;
    return VQ_OK;
}

static int value_named(const vq_graph *g, const char *name)
{
    int i = g->values;
    while (i-- && strcmp(g->value[i].name, name)) {}
    return i;
}

/* Memory of ctx for what comes in and goes out, inputs filled, outputs all 0xa5. */
static vq_status bring(const vq_graph *g, vq_ctx *ctx, int kind, uint64_t seed,
                       const vq_graph_given *given, void **data, char *why, size_t size)
{
    int i;
    for (i = 0; i < g->values; i++) {
        const vq_value *v = &g->value[i];
        const int64_t bytes = v->in || v->out ? vq_tensor_bytes(v->t) : 0;
        const void *from = NULL;
        unsigned char *own;
        uint64_t state = seed;
        const char *c;
        vq_status s;
        data[i] = NULL;
        if (!v->in && !v->out) continue;
        own = (unsigned char *)malloc((size_t)bytes + 8);
        data[i] = vq_mem_alloc(ctx, (size_t)bytes + 1);
        if (!own || !data[i]) {
            free(own);
            return no(VQ_OUT_OF_MEMORY, why, size, "%s: no %lld bytes of memory", v->name,
                      (long long)bytes);
        }
        memset(own, 0xa5, (size_t)bytes);
        for (c = v->name; *c; c++) state = state * 1099511628211u ^ (unsigned char)*c;
        if (v->in && kind == VQ_INPUT_GIVEN && given)
            from = given->find(given->user, v);
        if (v->in && !from) fill(&v->t, kind, is_scale(g, i), &state, own, bytes);
        s = vq_mem_copy(ctx, data[i], from ? from : own, (size_t)bytes);
        free(own);
        if (s) return no(s, why, size, "%s: could not be copied", v->name);
    }
    return VQ_OK;
}

static vq_status run_all(const vq_graph *g, vq_ctx *ctx, int kind, uint64_t seed,
                         const vq_graph_given *given, void **data, char *why, size_t size)
{
    vq_graph own = VQ_ZERO;
    vq_graph_plan p = VQ_ZERO;
    void *arena = NULL;
    vq_status s = vq_graph_copy(g, &own);
    int i;
    if (s) return no(s, why, size, "out of memory");
    for (i = 0; i < own.nodes; i++)
        if (!own.node[i].op && !own.node[i].run) {
            own.node[i].run = stand_in;
            own.node[i].user = ctx;
        }
    s = bring(g, ctx, kind, seed, given, data, why, size);
    if (!s) s = vq_graph_plan_make(&own, ctx, &p, why, size);
    if (!s && (arena = vq_mem_alloc(ctx, (size_t)p.bytes + 1)) == NULL)
        s = no(VQ_OUT_OF_MEMORY, why, size, "no %lld bytes of memory", (long long)p.bytes);
    if (!s) s = vq_graph_run(&own, &p, ctx, NULL, data, arena, why, size);
    vq_mem_free(ctx, arena);
    vq_graph_plan_free(&p);
    vq_graph_free(&own);
    return s;
}

/* Is element i a NaN of a type that has many? */
static int is_nan_at(vq_dtype t, const unsigned char *p, int64_t i)
{
    uint32_t c = 0;
    float v;
    if (t != VQ_F32 && t != VQ_F16 && t != VQ_BF16) return 0;
    memcpy(&c, p + i * (vq_dtype_bits(t) / 8), (size_t)vq_dtype_bits(t) / 8);
    v = vq_decode(t, c);
    return v != v;
}

static vq_status compare(const vq_value *v, const unsigned char *x, const unsigned char *y,
                         int64_t bytes, char *why, size_t size)
{
    const int64_t step = vq_dtype_bits(v->t.dtype) < 16 ? 1 : vq_dtype_bits(v->t.dtype) / 8;
    int64_t i;
    for (i = 0; i + step <= bytes; i += step) {
        if (!memcmp(x + i, y + i, (size_t)step)
            || (is_nan_at(v->t.dtype, x, i / step) && is_nan_at(v->t.dtype, y, i / step))) continue;
        while (x[i] == y[i]) i++;
        return no(VQ_BAD_ARG, why, size, "%s: byte %lld is 0x%02x and 0x%02x", v->name,
                  (long long)i, x[i], y[i]);
    }
    return VQ_OK;
}

static vq_status same_ends(const vq_graph *a, const vq_graph *b, char *why, size_t size)
{
    int i, j;
    for (i = 0; i < a->values; i++) {
        const vq_value *v = &a->value[i], *u;
        if (!v->in && !v->out) continue;
        j = value_named(b, v->name);
        u = &b->value[j < 0 ? 0 : j];
        if (j < 0 || !u->in != !v->in || !u->out != !v->out || u->t.dtype != v->t.dtype
            || u->order != v->order || u->t.rank != v->t.rank
            || memcmp(u->t.shape, v->t.shape, (size_t)v->t.rank * sizeof *v->t.shape))
            return no(VQ_BAD_ARG, why, size, "%s: not the same in both graphs", v->name);
    }
    return VQ_OK;
}

vq_status vq_graph_same(const vq_graph *a, const vq_graph *b, vq_ctx *ctx, int kind, uint64_t seed,
                        const vq_graph_given *given, int64_t *bytes, char *why, size_t size)
{
    void **of_a = (void **)calloc((size_t)a->values + 1, sizeof *of_a);
    void **of_b = (void **)calloc((size_t)b->values + 1, sizeof *of_b);
    vq_status s = of_a && of_b ? VQ_OK : no(VQ_OUT_OF_MEMORY, why, size, "out of memory");
    int i, j;
    *bytes = 0;
    if (!s) s = same_ends(a, b, why, size);
    if (!s) s = same_ends(b, a, why, size);
    if (!s) s = run_all(a, ctx, kind, seed, given, of_a, why, size);
    if (!s) s = run_all(b, ctx, kind, seed, given, of_b, why, size);
    for (i = 0; !s && i < a->values; i++) {
        const vq_value *v = &a->value[i];
        const int64_t n = vq_tensor_bytes(v->t);
        unsigned char *x, *y;
        if (!v->out) continue;
        j = value_named(b, v->name);
        x = (unsigned char *)malloc((size_t)n + 1);
        y = (unsigned char *)malloc((size_t)n + 1);
        if (!x || !y) s = no(VQ_OUT_OF_MEMORY, why, size, "out of memory");
        if (!s) s = vq_mem_copy(ctx, x, of_a[i], (size_t)n);
        if (!s) s = vq_mem_copy(ctx, y, of_b[j], (size_t)n);
        if (!s) s = compare(v, x, y, n, why, size);
        *bytes += n;
        free(x);
        free(y);
    }
    for (i = 0; of_a && i < a->values; i++) vq_mem_free(ctx, of_a[i]);
    for (i = 0; of_b && i < b->values; i++) vq_mem_free(ctx, of_b[i]);
    free(of_a);
    free(of_b);
    return s;
}
