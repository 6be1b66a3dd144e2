/* fields.c - the args of every op by the names of their fields

   vq_op_fields() says what an op has; what it cannot say is the shape of a tensor. Here the
   name does, and where two ops mean different shapes by one name, the op. */
#include "tool.h"

typedef enum role { LIKE, CODES, SCALE, ZERO, BOUND, SCALE2, AMAX, LO, HI, COUNTS } role;

int is_tensor(const vq_field *f)
{
    return f->kind == VQ_FIELD_IN || f->kind == VQ_FIELD_OUT || f->kind == VQ_FIELD_MADE
        || f->kind == VQ_FIELD_INOUT;
}

int ends_in_out(const char *name)
{
    const size_t n = strlen(name);
    return n > 4 && !strcmp(name + n - 4, "_out");
}

/* The same field counts as LIKE in an op without a key: fnuz_normalize's scale. */
static role role_of(vq_op op, const vq_field *f)
{
    static const struct { const char *name; role is; } roles[] = {
        {"q", CODES}, {"scale", SCALE}, {"zero", ZERO}, {"bound", BOUND}, {"scale2", SCALE2},
        {"amax", AMAX}, {"lo", LO}, {"hi", HI}, {"counts", COUNTS},
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
    case VQ_OP_FNUZ_NORMALIZE:
    case VQ_OP_SCALE_CONVERT:  return ANY_TYPE | ANY_ORDER;
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
    return f->kind == VQ_FIELD_IN
        || (f->kind == VQ_FIELD_MADE && (key_of(o, f)->flags & VQ_KEY_STATIC));
}

int is_one(vq_op op, const vq_field *f)
{
    return role_of(op, f) == BOUND || role_of(op, f) == SCALE2;
}

int is_like(vq_op op, const vq_field *f) { return role_of(op, f) == LIKE; }

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
        else if (s && !is_tensor(&f[i])) put_int(a, &f[i], (int)s->number);
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

static vq_tensor shape_like(const options *o, const vq_field *f, const vq_tensor *model,
                            vq_where where)
{
    vq_dtype type = model->dtype;
    vq_tensor t = *model;
    if (!strcmp(f->name, "y") && f->kind == VQ_FIELD_OUT) {
        if (o->op == VQ_OP_FNUZ_NORMALIZE) type = counterpart(type);
        else if (o->out_type) type = o->out_type;
        else if (role_of(o->op, main_field(o)) == CODES) type = VQ_F32;
    }
    if (vq_dtype_bits(type) != vq_dtype_bits(t.dtype))
        t = vq_tensor_nd(NULL, type, model->rank, model->shape, where);
    t.dtype = type;
    t.data = NULL;
    t.where = where;
    return t;
}

vq_tensor shape_of(const options *o, const vq_field *f, const vq_tensor *model, vq_where where,
                   vq_order *order)
{
    const vq_key *k = key_of(o, f);
    const int64_t rows = model->shape[0], cols = model->shape[1];
    int64_t group[2], count[2];

    *order = VQ_ROWS;
    count[0] = rows;
    count[1] = cols;
    if (find_field(o->op, "key") && role_of(o->op, main_field(o)) <= CODES)
        vq_key_group(k, rows, cols, group, count);
    switch (role_of(o->op, f)) {
    case CODES:
        return vq_tensor_2d(NULL, k->elem, rows, cols, where);
    case SCALE:
        *order = o->order;
        return vq_tensor_ordered(k->scale_type, count[0], count[1], *order, NULL, where);
    case ZERO:                                    /* a packed row cannot lie in columns */
        *order = vq_dtype_bits(k->elem) < 8 ? VQ_ROWS : o->order;
        return vq_tensor_ordered(k->elem, count[0], count[1], *order, NULL, where);
    case BOUND:
    case SCALE2:
        return vq_tensor_2d(NULL, VQ_F32, 1, 1, where);
    case AMAX:
    case LO:
    case HI:
        return vq_tensor_2d(NULL, VQ_F32, count[0], count[1], where);
    case COUNTS:
        return vq_tensor_2d(NULL, VQ_INT64, 1, o->bins, where);
    default:
        break;
    }
    if (o->op == VQ_OP_SCALE_CONVERT) {
        *order = (vq_order)o->layout;
        return vq_tensor_ordered(model->dtype, rows, cols, *order, NULL, where);
    }
    return shape_like(o, f, model, where);
}

/* The first input, of which explain knows the extents. */
static vq_tensor first_of(const options *o, const vq_field *f, vq_where where)
{
    const vq_dtype type = o->x_type ? o->x_type : o->op == VQ_OP_FNUZ_NORMALIZE ? VQ_E4M3FN
                        : o->op == VQ_OP_SCALE_CONVERT ? VQ_E8M0 : VQ_BF16;
    switch (role_of(o->op, f)) {
    case CODES: return vq_tensor_2d(NULL, key_of(o, f)->elem, o->rows, o->cols, where);
    case LIKE:  return vq_tensor_ordered(type, o->rows, o->cols,
                                         o->op == VQ_OP_SCALE_CONVERT ? o->order : VQ_ROWS, NULL,
                                         where);
    default:    return vq_tensor_2d(NULL, VQ_F32, o->rows, o->cols, where);
    }
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
        if (f[i].kind == VQ_FIELD_FLOAT && !find_setting(&o, f[i].name))
            memcpy(a->bytes + f[i].offset, &one, sizeof one);    /* 0 is not a good limit */
    }
    *tensor_at(a, first) = first_of(&o, first, where);
    for (pass = 0; pass < 2; pass++)              /* inputs give the outputs their shape */
        for (i = 0; i < n; i++) {
            if (pass != (f[i].kind != VQ_FIELD_IN) || &f[i] == first || !is_tensor(&f[i])
                || !has_part(&o, &f[i])) continue;
            *tensor_at(a, &f[i]) = shape_of(&o, &f[i], tensor_at(a, model_field(&o, &f[i])), where,
                                            &order);
            if (o.op == VQ_OP_FNUZ_NORMALIZE && !strcmp(f[i].name, "scale"))
                *tensor_at(a, &f[i]) = vq_tensor_2d(NULL, VQ_F32, o.rows, 1, where);
        }
}
