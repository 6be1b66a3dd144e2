/* graph_text.c - see graph_text.h */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "graph_text.h"

/* One line at a time, in words; `at` is where a word begins. */
typedef struct reader {
    const char *line, *p, *at;
    int         number;
    char        word[256];
    char       *why;
    size_t      size;
} reader;

static vq_status wrong(reader *r, const char *fmt, ...)
{
    va_list list;
    int n = snprintf(r->why, r->size, "line %d, column %d: ", r->number,
                     (int)(r->at - r->line) + 1);
    va_start(list, fmt);
    if (n >= 0 && (size_t)n < r->size) vsnprintf(r->why + n, r->size - (size_t)n, fmt, list);
    va_end(list);
    return VQ_BAD_ARG;
}

/* The next word of the line: its length, 0 at the end, -1 where it is too long or no text. */
static int next_word(reader *r)
{
    int n = 0;
    while (*r->p == ' ' || *r->p == '\t' || *r->p == '\r') r->p++;
    r->at = r->p;
    if (*r->p == '#') while (*r->p && *r->p != '\n') r->p++;
    for (; (unsigned char)*r->p > ' ' && *r->p != '#' && (unsigned char)*r->p < 127; r->p++) {
        if (n == (int)sizeof r->word - 1) return -1;
        r->word[n++] = *r->p;
    }
    r->word[n] = 0;
    return n || !*r->p || *r->p == '\n' || *r->p == '#' ? n : -1;
}

/* To the next line that has a word; 0 at the end of the text. */
static int next_line(reader *r)
{
    int n;
    for (;;) {
        if (r->line) {
            while (*r->p && *r->p != '\n') r->p++;
            if (!*r->p) return 0;
            r->p++;
        }
        r->line = r->p;
        r->number++;
        n = next_word(r);
        if (n) return n;
    }
}

static int find_value(const vq_graph *g, const char *name)
{
    int i = g->values;
    while (i-- && strcmp(g->value[i].name, name)) {}
    return i;
}

static int read_extents(const char *p, vq_tensor *t)
{
    for (t->rank = 0; t->rank < 4; t->rank++) {
        int64_t e = 0;
        if (*p < '0' || *p > '9') return 0;
        for (; *p >= '0' && *p <= '9'; p++) {
            if (e > INT64_MAX / 100) return 0;
            e = e * 10 + (*p - '0');
        }
        t->shape[t->rank] = e;
        if (!*p) { t->rank++; return 1; }
        if (*p++ != 'x') return 0;
    }
    return 0;
}

/* [in] [out] name type extents [order] */
static vq_status read_value(reader *r, vq_graph *g, vq_tensor **handles)
{
    vq_report why = VQ_ZERO;
    vq_value v = VQ_ZERO;
    const char *name_at;
    vq_tensor *more;
    int order;
    for (;; next_word(r)) {
        if (!strcmp(r->word, "in") && !v.in) v.in = 1;
        else if (!strcmp(r->word, "out") && !v.out) v.out = 1;
        else break;
    }
    if (!r->word[0] || strlen(r->word) >= sizeof v.name)
        return wrong(r, "found \"%.40s\", needed a name of 31 characters at most", r->word);
    strcpy(v.name, r->word);
    name_at = r->at;
    next_word(r);
    v.t.dtype = vq_dtype_of(r->word);
    if (!v.t.dtype) return wrong(r, "found \"%.40s\", needed a type, or an op before", r->word);
    next_word(r);
    if (!read_extents(r->word, &v.t))
        return wrong(r, "found \"%.40s\", needed 1 to 4 extents, as 256x4096", r->word);
    if (next_word(r)) {
        order = vq_order_of(r->word);
        if (order < 0) return wrong(r, "found \"%.40s\", needed an order of scales", r->word);
        v.order = (vq_order)order;
        if (next_word(r)) return wrong(r, "found \"%.40s\", needed the end of the line", r->word);
    }
    more = (vq_tensor *)realloc(*handles, (size_t)(g->values + 1) * sizeof *more);
    if (!more) return VQ_OUT_OF_MEMORY;
    *handles = more;
    r->at = name_at;
    if (vq_graph_value(g, &v, &more[g->values], &why)) {
        wrong(r, "%s", why.text);
        return why.status;
    }
    return VQ_OK;
}

/* op field=word ...; the op has been read */
static vq_status read_op(reader *r, vq_graph *g, const vq_tensor *handles, vq_op op)
{
    vq_report why = VQ_ZERO;
    vq_any_args args;
    vq_tensor after = VQ_ZERO;
    const char *begin = r->at;
    uint32_t seen = 0;
    int count, i, v, n;
    const vq_field *f = vq_op_fields(op, &count);
    memset(&args, 0, sizeof args);
    while ((n = next_word(r)) != 0) {
        char *value = n > 0 ? strchr(r->word, '=') : NULL, *late;
        if (!value)
            return wrong(r, "found \"%.40s\", needed field=value", n > 0 ? r->word : "no text");
        *value++ = 0;
        for (i = 0; i < count && strcmp(f[i].name, r->word); i++) {}
        if (i == count) return wrong(r, "%s has no field \"%.40s\"", vq_op_str(op), r->word);
        if (seen >> i & 1u) return wrong(r, "field %s is there already", f[i].name);
        seen |= 1u << i;
        r->at += value - r->word;
        if (f[i].kind > VQ_FIELD_BOTH) {
            if (!vq_field_read(&f[i], value, args.bytes))
                return wrong(r, "%s: \"%.60s\" says nothing", f[i].name, value);
            continue;
        }
        late = f[i].kind == VQ_FIELD_BOTH ? strchr(value, ':') : NULL;
        if (late) *late++ = 0;
        v = find_value(g, value);
        if (v < 0) return wrong(r, "there is no value \"%.40s\"", value);
        *(vq_tensor *)(void *)(args.bytes + f[i].offset) = handles[v];
        if (!late) continue;
        r->at += late - value;
        v = find_value(g, late);
        if (v < 0) return wrong(r, "there is no value \"%.40s\"", late);
        after = handles[v];
    }
    if (vq_graph_op(g, op, args.bytes, after.rank ? &after : NULL, &why)) {
        r->at = begin;
        wrong(r, "%s", why.text);
        return why.status;
    }
    g->node[g->nodes - 1].line = r->number;
    return VQ_OK;
}

/* @name a b -> c; the name has been read */
static vq_status read_opaque(reader *r, vq_graph *g, const vq_tensor *handles)
{
    vq_report why = VQ_ZERO;
    vq_tensor t[VQ_NODE_VALUES];
    char name[sizeof r->word];
    const char *begin = r->at;
    int reads = -1, n = 0, v;
    strcpy(name, r->word + 1);
    while (next_word(r)) {
        if (!strcmp(r->word, "->") && reads < 0) { reads = n; continue; }
        v = find_value(g, r->word);
        if (v < 0) return wrong(r, "there is no value \"%.40s\"", r->word);
        if (n == VQ_NODE_VALUES) return wrong(r, "needed %d values at most", VQ_NODE_VALUES);
        t[n++] = handles[v];
    }
    if (reads < 0) return wrong(r, "needed -> before what the node makes");
    if (vq_graph_opaque(g, name, t, reads, n - reads, &why)) {
        r->at = begin;
        wrong(r, "%s", why.text);
        return why.status;
    }
    g->node[g->nodes - 1].line = r->number;
    return VQ_OK;
}

vq_status vq_graph_parse(const char *text, vq_graph *out, char *why, size_t size)
{
    vq_graph g = VQ_ZERO;
    vq_tensor *handles = NULL;
    vq_report r = VQ_ZERO;
    vq_status s = VQ_OK;
    int pass, n;
    if (size) why[0] = 0;
    for (pass = 0; pass < 2 && !s; pass++) {                 /* values, then nodes */
        reader in = VQ_ZERO;
        in.p = text;
        in.why = why;
        in.size = size;
        while (!s && (n = next_line(&in)) != 0) {
            const vq_op op = n > 0 ? vq_op_of(in.word) : VQ_OP_NONE;
            if (n < 0) s = wrong(&in, "needed words of 255 printable characters at most");
            else if (!pass && !op && in.word[0] != '@') s = read_value(&in, &g, &handles);
            else if (pass && op) s = read_op(&in, &g, handles, op);
            else if (pass && in.word[0] == '@') s = read_opaque(&in, &g, handles);
        }
    }
    free(handles);
    if (!s && (s = vq_graph_check(&g, &r)) != VQ_OK) snprintf(why, size, "%s", r.text);
    if (s == VQ_OUT_OF_MEMORY && size && !why[0]) snprintf(why, size, "out of memory");
    if (s) vq_graph_free(&g);
    else *out = g;
    return s;
}

/* --- writing --------------------------------------------------------------- */

/* snprintf, piece by piece: `need` counts what did not fit, too. */
typedef struct writer { char *out; size_t size, need; } writer;

static void say(writer *w, const char *fmt, ...)
{
    const size_t room = w->need < w->size ? w->size - w->need : 0;
    va_list list;
    int n;
    va_start(list, fmt);
    n = vsnprintf(room ? w->out + w->need : NULL, room, fmt, list);
    va_end(list);
    w->need += n > 0 ? (size_t)n : 0;
}

static void say_value(writer *w, const vq_value *v)
{
    int i;
    say(w, "%s%s%s %s", v->in ? "in " : "", v->out ? "out " : "", v->name,
        vq_dtype_str(v->t.dtype));
    for (i = 0; i < v->t.rank; i++) say(w, "%s%lld", i ? "x" : " ", (long long)v->t.shape[i]);
    if (v->order) say(w, " %s", vq_order_str(v->order));
}

/* What stands in field f, of what the node reads or makes; NULL: nothing. */
static const char *name_at(const vq_graph *g, const vq_node *n, int f, int makes)
{
    int i;
    for (i = makes ? n->reads : 0; i < n->reads + (makes ? n->makes : 0); i++)
        if (n->field[i] == f) return g->value[n->value[i]].name;
    return NULL;
}

static const char *preset_of(const vq_key *k)
{
    int i;
    for (i = 0; i < VQ_KEY_COUNT; i++) {
        const vq_key p = vq_key_preset((vq_key_id)i);
        if (vq_key_equal(&p, k)) return vq_key_name((vq_key_id)i);
    }
    return NULL;
}

static void say_node(writer *w, const vq_graph *g, const vq_node *n, int values)
{
    static const vq_any_args nothing = VQ_ZERO;
    char word[256];
    int i, count;
    const vq_field *f = vq_op_fields(n->op, &count);
    say(w, "%s%s", n->op ? "" : "@", n->name);
    for (i = 0; n->op && i < count; i++) {
        const char *reads = name_at(g, n, i, 0), *makes = name_at(g, n, i, 1), *key = NULL;
        if (f[i].kind <= VQ_FIELD_BOTH) {
            if (!values || (!reads && !makes)) continue;
            say(w, " %s=%s%s%s", f[i].name, reads ? reads : makes, reads && makes ? ":" : "",
                reads && makes ? makes : "");
            continue;
        }
        if (f[i].kind == VQ_FIELD_KEY)
            key = preset_of((const vq_key *)(const void *)(n->args.bytes + f[i].offset));
        else if (f[i].kind == VQ_FIELD_RESULT
                 || (f[i].kind != VQ_FIELD_ACT
                     && !memcmp(n->args.bytes + f[i].offset, nothing.bytes, 4))) continue;
        vq_field_write(&f[i], n->args.bytes, word, sizeof word);
        say(w, " %s=%s", f[i].name, key ? key : word);
    }
    for (i = 0; !n->op && values && i < n->reads + n->makes; i++)
        say(w, "%s%s", i == n->reads ? " -> " : " ", g->value[n->value[i]].name);
}

int vq_graph_print(const vq_graph *g, char *out, size_t size)
{
    writer w;
    int i;
    w.out = out;
    w.size = size;
    w.need = 0;
    if (size) out[0] = 0;
    for (i = 0; i < g->values; i++) { say_value(&w, &g->value[i]); say(&w, "\n"); }
    for (i = 0; i < g->nodes; i++) { say_node(&w, g, &g->node[i], 1); say(&w, "\n"); }
    return (int)w.need;
}

int vq_graph_dot(const vq_graph *g, char *out, size_t size)
{
    writer w;
    int i, j;
    w.out = out;
    w.size = size;
    w.need = 0;
    say(&w, "digraph vq {\n    node [fontname=\"monospace\"];\n");
    for (i = 0; i < g->values; i++) {
        say(&w, "    \"%s\" [shape=ellipse%s, label=\"", g->value[i].name,
            g->value[i].in || g->value[i].out ? ", style=bold" : "");
        say_value(&w, &g->value[i]);
        say(&w, "\"];\n");
    }
    for (i = 0; i < g->nodes; i++) {
        const vq_node *n = &g->node[i];
        say(&w, "    \"#%d\" [shape=box%s, label=\"", i, n->op ? "" : ", style=dashed");
        say_node(&w, g, n, 0);
        say(&w, "\"];\n");
        for (j = 0; j < n->reads + n->makes; j++)
            if (j < n->reads) say(&w, "    \"%s\" -> \"#%d\";\n", g->value[n->value[j]].name, i);
            else say(&w, "    \"#%d\" -> \"%s\";\n", i, g->value[n->value[j]].name);
    }
    say(&w, "}\n");
    return (int)w.need;
}
