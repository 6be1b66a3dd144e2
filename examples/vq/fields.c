/* fields.c - the args of every op by the names of their fields

   vq_op_fields() says what an op has; what it cannot say is the shape of a tensor. Here the
   name does, and where two ops mean different shapes by one name, the op. */
#include "safetensors.h"
#include "tool.h"

typedef enum role {
    LIKE, CODES, SCALE, ZERO, BOUND, SCALE2, AMAX, LO, HI, COUNTS, STATUS
} role;

int is_tensor(const vq_field *f)
{
    return f->kind == VQ_FIELD_IN || f->kind == VQ_FIELD_OUT || f->kind == VQ_FIELD_MADE
        || f->kind == VQ_FIELD_INOUT || f->kind == VQ_FIELD_BOTH;
}

int is_number(const vq_field *f)
{
    return !is_tensor(f) && f->kind != VQ_FIELD_KEY && f->kind != VQ_FIELD_RESULT;
}

/* What an op does without where a file has none. */
int is_optional(const vq_field *f)
{
    return is_tensor(f) && (!strcmp(f->name, "residual") || !strcmp(f->name, "weight")
                            || !strcmp(f->name, "gate"));
}

int ends_in_out(const char *name)
{
    const size_t n = strlen(name);
    return n > 4 && !strcmp(name + n - 4, "_out");
}

/* In an op without a key, as fnuz_normalize, a scale is like any other tensor. */
static role role_of(vq_op op, const vq_field *f)
{
    static const struct { const char *name; role is; } roles[] = {
        {"q", CODES}, {"scale", SCALE}, {"zero", ZERO}, {"bound", BOUND}, {"scale2", SCALE2},
        {"amax", AMAX}, {"lo", LO}, {"hi", HI}, {"counts", COUNTS}, {"status", STATUS},
    };
    const size_t n = strlen(f->name) - (ends_in_out(f->name) ? 4 : 0);
    size_t i;
    for (i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strlen(roles[i].name) == n && !strncmp(f->name, roles[i].name, n))
            return roles[i].is == COUNTS || find_field(op, "key") ? roles[i].is : LIKE;
    return LIKE;
}

int takes_any(vq_op op)
{
    switch (op) {
    case VQ_OP_CAST:           return ANY_RANK | ANY_TYPE;
    case VQ_OP_COMPARE:        return ANY_RANK | ANY_TYPE | ANY_ORDER;
    case VQ_OP_FNUZ_NORMALIZE: return ANY_TYPE | ANY_ORDER;
    case VQ_OP_SCALE_CONVERT:  return ANY_TYPE | ANY_ORDER | OR_THREE;
    case VQ_OP_RMS_NORM:
    case VQ_OP_LAYER_NORM:
    case VQ_OP_MASKED_ACT_MUL_QUANT: return OR_THREE;
    default:                   return 0;
    }
}

const vq_field *find_field(vq_op op, const char *name)
{
    int n, i;
    const vq_field *f = vq_op_fields(op, &n);
    for (i = 0; i < n; i++)
        if (!strcmp(f[i].name, name)) return &f[i];
    return NULL;
}

const setting *find_setting(const options *o, const char *name)
{
    int i;
    for (i = 0; i < o->sets; i++)
        if (!strcmp(o->set[i].name, name)) return &o->set[i];
    return NULL;
}

/* Zero points are made where scales are. */
const setting *setting_for(const options *o, const vq_field *f)
{
    const setting *s = find_setting(o, f->name);
    if (s || f->kind != VQ_FIELD_MADE || role_of(o->op, f) != ZERO) return s;
    s = find_setting(o, ends_in_out(f->name) ? "scale_out" : "scale");
    return s && s->amax ? s : NULL;
}

/* requant has two keys: its codes come under one and go under the other. */
const vq_key *key_of(const options *o, const vq_field *f)
{
    const int old = find_field(o->op, "from") && !ends_in_out(f->name);
    return old && role_of(o->op, f) != BOUND ? &o->from : &o->key;
}

int has_part(const options *o, const vq_field *f)
{
    const vq_key *k = key_of(o, f);
    const int asym = (k->flags & VQ_KEY_ASYMMETRIC) != 0;
    switch (role_of(o->op, f)) {
    case ZERO:   return asym;
    case BOUND:  return k->bound_kind != VQ_BOUND_NONE;
    case SCALE2: return k->scale2_kind != VQ_SCALE2_NONE;
    case AMAX:   return f->kind != VQ_FIELD_IN || !asym;
    case LO:
    case HI:     return f->kind != VQ_FIELD_IN || asym;
    default:     return 1;
    }
}

int is_read(const options *o, const vq_field *f)
{
    return f->kind == VQ_FIELD_IN || f->kind == VQ_FIELD_BOTH
        || (f->kind == VQ_FIELD_MADE && (key_of(o, f)->flags & VQ_KEY_STATIC));
}

int is_one(vq_op op, const vq_field *f)
{
    return role_of(op, f) == BOUND || role_of(op, f) == SCALE2;
}

int is_like(vq_op op, const vq_field *f) { return role_of(op, f) == LIKE; }

int is_grouped(vq_op op, const vq_field *f)
{
    const role of = role_of(op, f);
    return of == SCALE || of == ZERO || of == AMAX || of == LO || of == HI;
}

const vq_field *main_field(const options *o)
{
    int n, i;
    const vq_field *f = vq_op_fields(o->op, &n);
    for (i = 0; i < n; i++)
        if (f[i].kind == VQ_FIELD_IN && has_part(o, &f[i])) return &f[i];
    return NULL;
}

const vq_field *model_field(const options *o, const vq_field *f)
{
    return role_of(o->op, f) == LIKE && f->twin ? find_field(o->op, f->twin) : main_field(o);
}

/* What --key every makes of the data unless it is set. */
void need_amax(options *o)
{
    static const char *const names[] = {"scale", "scale2"};
    int i;
    for (i = 0; i < 2; i++) {
        const vq_field *f = find_field(o->op, names[i]);
        if (!f || !has_part(o, f) || !is_read(o, f) || find_setting(o, names[i])) continue;
        o->set[o->sets].name = names[i];
        o->set[o->sets++].amax = 1;
    }
}

/* --- values ---------------------------------------------------------------- */

vq_tensor *tensor_at(any_args *a, const vq_field *f)
{
    return (vq_tensor *)(void *)(a->bytes + f->offset);
}

void put_int(any_args *a, const vq_field *f, int v)
{
    memcpy(a->bytes + f->offset, &v, sizeof v);
}

void put_pointer(any_args *a, const vq_field *f, void *p)
{
    memcpy(a->bytes + f->offset, &p, sizeof p);
}

void put_numbers(const options *o, any_args *a)
{
    int n, i;
    const vq_field *f = vq_op_fields(o->op, &n);
    for (i = 0; i < n; i++) {
        const setting *s = find_setting(o, f[i].name);
        const float x = s ? (float)s->number : 0;
        if (f[i].kind == VQ_FIELD_KEY)
            memcpy(a->bytes + f[i].offset, strcmp(f[i].name, "from") ? &o->key : &o->from,
                   sizeof o->key);
        else if (s && f[i].kind == VQ_FIELD_FLOAT) memcpy(a->bytes + f[i].offset, &x, sizeof x);
        else if (s && is_number(&f[i])) put_int(a, &f[i], (int)s->number);
    }
}

/* --- shapes ---------------------------------------------------------------- */

static vq_dtype counterpart(vq_dtype t)           /* VQ_NONE: it has none */
{
    switch (t) {
    case VQ_E4M3FN:   return VQ_E4M3FNUZ;
    case VQ_E4M3FNUZ: return VQ_E4M3FN;
    case VQ_E5M2:     return VQ_E5M2FNUZ;
    case VQ_E5M2FNUZ: return VQ_E5M2;
    default:          return VQ_NONE;
    }
}

/* The extents of what the op makes of its first matrix: a gated one halves its rows. */
static int made_of(vq_op op, const vq_tensor *first, int64_t e[4])
{
    const vq_field *gate = find_field(op, "gate");
    memcpy(e, first->shape, sizeof first->shape);
    if (gate && gate->kind == VQ_FIELD_GATE && first->rank) e[first->rank - 1] /= 2;
    return first->rank;
}

static vq_tensor shape_like(const options *o, const vq_field *f, const vq_tensor *model)
{
    vq_dtype type = model->dtype;
    vq_tensor t = *model;
    int64_t e[4];
    int rank;
    if (strcmp(f->name, "y") || f->kind != VQ_FIELD_OUT) return t;
    if (o->op == VQ_OP_FNUZ_NORMALIZE) type = counterpart(type);
    else if (o->out_type) type = o->out_type;
    else if (role_of(o->op, main_field(o)) == CODES) type = VQ_F32;
    rank = made_of(o->op, model, e);
    if (vq_dtype_bits(type) != vq_dtype_bits(t.dtype)
        || memcmp(e, model->shape, (size_t)rank * sizeof *e))
        t = vq_tensor_nd(NULL, type, rank, e, VQ_HOST);
    t.dtype = type;
    return t;
}

static vq_tensor shaped(const options *o, const vq_field *f, const vq_tensor *model,
                        vq_order *order)
{
    const vq_key *k = key_of(o, f);
    const role first = role_of(o->op, main_field(o));
    int64_t e[4], groups[4], group[2];
    const int rank = made_of(o->op, model, e);

    *order = VQ_ROWS;
    memcpy(groups, e, sizeof e);
    if (rank >= 2 && find_field(o->op, "key") && (first == LIKE || first == CODES))
        vq_key_group(k, e[rank - 2], e[rank - 1], group, groups + rank - 2);
    switch (role_of(o->op, f)) {
    case CODES:
        return vq_tensor_nd(NULL, k->elem, rank, e, VQ_HOST);
    case SCALE:
        *order = o->order;
        return st_ordered(k->scale_type, rank, groups, *order, NULL);
    case ZERO:                                    /* a packed row cannot lie in columns */
        *order = vq_dtype_bits(k->elem) < 8 ? VQ_ROWS : o->order;
        return st_ordered(k->elem, rank, groups, *order, NULL);
    case BOUND:
    case SCALE2:
        return vq_tensor_2d(NULL, VQ_F32, 1, 1, VQ_HOST);
    case STATUS:
        return vq_tensor_2d(NULL, VQ_INT32, 1, 1, VQ_HOST);
    case AMAX:
    case LO:
    case HI:
        return vq_tensor_nd(NULL, VQ_F32, rank, groups, VQ_HOST);
    case COUNTS:                                  /* of experts' rows; else of a histogram */
        return f->kind == VQ_FIELD_IN ? vq_tensor_nd(NULL, VQ_INT32, 1, e, VQ_HOST)
             : vq_tensor_2d(NULL, VQ_INT64, 1, o->bins, VQ_HOST);
    default:
        break;
    }
    if (o->op != VQ_OP_SCALE_CONVERT) return shape_like(o, f, model);
    *order = (vq_order)o->layout;
    return st_ordered(model->dtype, rank, e, *order, NULL);
}

vq_tensor shape_of(const options *o, const vq_field *f, const vq_tensor *model, vq_where where,
                   vq_order *order)
{
    vq_tensor t = shaped(o, f, model, order);
    t.data = NULL;
    t.where = where;
    return t;
}

/* The first input, of which explain knows the extents. */
static vq_tensor first_of(const options *o, const vq_field *f, vq_where where)
{
    const vq_dtype type = o->x_type ? o->x_type : o->op == VQ_OP_FNUZ_NORMALIZE ? VQ_E4M3FN
                        : o->op == VQ_OP_SCALE_CONVERT ? VQ_E8M0 : VQ_BF16;
    const int64_t three[3] = {1, o->rows, o->cols};
    if (o->op == VQ_OP_MASKED_ACT_MUL_QUANT) return vq_tensor_nd(NULL, type, 3, three, where);
    switch (role_of(o->op, f)) {
    case CODES: return vq_tensor_2d(NULL, key_of(o, f)->elem, o->rows, o->cols, where);
    case LIKE:  return vq_tensor_ordered(type, o->rows, o->cols,
                                         o->op == VQ_OP_SCALE_CONVERT ? o->order : VQ_ROWS, NULL,
                                         where);
    default:    return vq_tensor_2d(NULL, VQ_F32, o->rows, o->cols, where);
    }
}

/* Is 0 no good number there, so that explain has to choose another? */
static int needs_number(const options *o, const vq_field *f)
{
    return f->kind == VQ_FIELD_FLOAT && (o->op == VQ_OP_HISTOGRAM || o->op == VQ_OP_PERCENTILE);
}

void args_for(const options *asked, vq_where where, any_args *a)
{
    static any_result nowhere;
    const float one = 1;
    options o = *asked;
    int n, i, pass;
    const vq_field *f = vq_op_fields(o.op, &n), *first = main_field(&o);
    vq_order order;

    memset(a, 0, sizeof *a);
    if (!o.out_type && o.op == VQ_OP_CAST) o.out_type = VQ_E4M3FN;
    if (!o.out_type && o.op == VQ_OP_DEQUANT) o.out_type = VQ_BF16;
    if (o.layout < 0) o.layout = VQ_TILES_128X4;
    put_numbers(&o, a);
    for (i = 0; i < n; i++) {
        if (f[i].kind == VQ_FIELD_RESULT) put_pointer(a, &f[i], &nowhere);
        if (needs_number(&o, &f[i]) && !find_setting(&o, f[i].name))
            memcpy(a->bytes + f[i].offset, &one, sizeof one);
    }
    *tensor_at(a, first) = first_of(&o, first, where);
    for (pass = 0; pass < 2; pass++)              /* inputs give the outputs their shape */
        for (i = 0; i < n; i++) {
            if (pass != (f[i].kind != VQ_FIELD_IN) || &f[i] == first || !is_tensor(&f[i])
                || is_optional(&f[i]) || !has_part(&o, &f[i])) continue;
            *tensor_at(a, &f[i]) = shape_of(&o, &f[i], tensor_at(a, model_field(&o, &f[i])), where,
                                            &order);
            if (o.op == VQ_OP_FNUZ_NORMALIZE && !strcmp(f[i].name, "scale"))
                *tensor_at(a, &f[i]) = vq_tensor_2d(NULL, VQ_F32, o.rows, 1, where);
        }
}
