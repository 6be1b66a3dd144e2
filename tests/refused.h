/* refused.h - whatever can be wrong with an op's tensors, one at a time; for tests that have vq.h,
   vq_test.h and a context `cpu` */
#ifndef REFUSED_H_INCLUDED
#define REFUSED_H_INCLUDED

enum { ROOM = 1 << 15, ROOMS = 12 };
static uint8_t room[ROOMS][ROOM], room_before[ROOMS][ROOM];

/* The args of the ops that are asked. */
typedef union {
    vq_call call;
    vq_act_args act;
    vq_act_mul_args act_mul;
    vq_act_mul_quant_args act_mul_quant;
    vq_masked_act_mul_quant_args masked_act_mul_quant;
    vq_rms_norm_args rms_norm;
    vq_layer_norm_args layer_norm;
    vq_rms_norm_quant_args rms_norm_quant;
} any_args;

/* A tensor of an op. types: mask of those that may stand there. lines: columns side by side. */
typedef struct { const char *name; int64_t types; int rank, optional, lines; } part;

static const vq_field *field_of(vq_op op, const char *name)
{
    int n, i;
    const vq_field *f = vq_op_fields(op, &n);
    for (i = 0; i < n; i++) if (!strcmp(f[i].name, name)) return f + i;
    return NULL;
}

static vq_tensor *tensor_in(any_args *a, vq_op op, const char *name)
{
    const vq_field *f = field_of(op, name);
    CHECKF(f && f->kind <= VQ_FIELD_BOTH, "%s", name);
    return (vq_tensor *)(void *)((uint8_t *)a + (f ? f->offset : 0));
}

static void *at(int i) { return room[i] + ROOM / 4; }

/* planned: nothing that vq_plan() does not look at is wrong. other: what report.name must say. */
static void refuses(vq_op op, const any_args *args, int planned, vq_guard guard, const char *arg,
                    const char *other, int64_t found, int64_t needed, const char *edit)
{
    const vq_status want = guard == VQ_GUARD_PLACE ? VQ_UNSUPPORTED : VQ_BAD_ARG;
    any_args a = *args;
    vq_report r;
    vq_choice c;
    vq_status s;
    memset(&r, 0, sizeof r);
    a.call.report = &r;
    s = vq_plan(cpu, op, &a, &c);
    CHECKF(planned ? s == want : !s, "%s: %s %s: %s", vq_op_str(op), arg, edit, vq_status_str(s));
    if (!planned && !s) s = vq_run(cpu, &c, &a);
    CHECKF(s == want && r.status == want, "%s: %s %s: %s", vq_op_str(op), arg, edit,
           vq_status_str(s));
    CHECKF(r.guard == guard && r.arg && !strcmp(r.arg, arg) && r.found == found
           && r.needed == needed && (!*other || !strcmp(r.name, other)),
           "%s: %s %s: %s of %s, found %lld, needed %lld, \"%s\"; not %s, %lld, %lld: %s",
           vq_op_str(op), arg, edit, vq_guard_str(r.guard), r.arg ? r.arg : "none",
           (long long)r.found, (long long)r.needed, r.name, vq_guard_str(guard), (long long)found,
           (long long)needed, r.text);
    CHECKF(!memcmp(room, room_before, sizeof room), "%s: %s %s: written", vq_op_str(op), arg, edit);
    memcpy(room, room_before, sizeof room);
}

static void fill_room(void)
{
    size_t i;
    uint8_t *p = room[0];
    for (i = 0; i < sizeof room; i++) p[i] = (uint8_t)(t_rand() >> 24);
    memcpy(room_before, room, sizeof room);
}

#define EDIT(change, planned, guard, found, needed) do { \
    any_args a = *good; \
    vq_tensor *t = tensor_in(&a, op, p->name); \
    change; \
    refuses(op, &a, planned, VQ_GUARD_##guard, p->name, "", found, needed, #change); } while (0)

/* Whatever can be wrong with each tensor by itself; and any two that share memory. */
static void refuses_tensors(vq_op op, const any_args *good, const part *parts, int n, int written)
{
    static const vq_dtype some[] = { VQ_F32, VQ_F16, VQ_BF16, VQ_E4M3FN, VQ_E8M0, VQ_INT8,
                                     VQ_INT32, VQ_INT64 };
    any_args fine = *good;
    vq_choice c;
    int i, k;
    fill_room();
    CHECKF(vq_plan(cpu, op, &fine, &c) == VQ_OK, "%s", vq_op_str(op));
    for (i = 0; i < n; i++) {
        const part *p = parts + i;
        const int last = p->rank - 1;
        const int64_t cols = tensor_in(&fine, op, p->name)->shape[last];
        const int bits = vq_dtype_bits(tensor_in(&fine, op, p->name)->dtype);
        if (!p->optional) EDIT(t->rank = 0, 1, PRESENT, 0, 0);
        else {
            fine = *good;
            tensor_in(&fine, op, p->name)->rank = 0;
            CHECKF(vq_plan(cpu, op, &fine, &c) == VQ_OK, "%s without %s", vq_op_str(op), p->name);
            fine = *good;
        }
        EDIT(t->rank = -1, 1, RANK, -1, 1);
        EDIT(t->rank = 5, 1, RANK, 5, 4);
        if (last) EDIT(t->rank = last, 1, RANK, last, p->rank);
        if (i) EDIT(t->shape[p->rank] = t->stride[p->rank] = 1; t->rank++, 1, RANK, p->rank + 1,
                    p->rank);
        EDIT(t->dtype = (vq_dtype)77, 1, TYPE, 77, (1 << VQ_DTYPE_COUNT) - 2);
        for (k = 0; k < COUNT(some); k++)
            if (!(p->types >> some[k] & 1)) EDIT(t->dtype = some[k], 1, TYPE, some[k], p->types);
        EDIT(t->where = (vq_where)9, 1, VALUE, 9, VQ_HOST);
        EDIT(t->where = VQ_DEVICE, 1, PLACE, VQ_DEVICE, 1 << VQ_HOST | 1 << VQ_MANAGED);
        EDIT(t->layout = (vq_layout)77, 1, LAYOUT, 77, (1 << VQ_LAYOUT_COUNT) - 1);
        if (bits > 8) EDIT(t->layout = VQ_SWIZZLE_128X4, 1, LAYOUT, VQ_SWIZZLE_128X4,
                           1 << VQ_STRIDED);
        for (k = 0; k < p->rank; k++) {
            EDIT(t->shape[k] = -1, 1, SIZE, -1, 0);
            if (tensor_in(&fine, op, p->name)->shape[k] < 2) continue;
            EDIT(t->stride[k] = 0, 1, STRIDE, 0, 1);
            EDIT(t->stride[k] = -1, 1, STRIDE, -1, 1);
        }
        if (p->lines && cols > 1) {
            EDIT(for (k = 0; k < last; k++) t->stride[k] *= 2; t->stride[last] = 2,
                 1, STRIDE, 2, 1);
            if (last) EDIT(t->stride[last - 1] = cols - 1, 1, STRIDE, cols - 1, cols);
        }
        EDIT(t->data = NULL, 0, PRESENT, 0, 0);
        for (k = 0; k < i; k++) {
            const part *o = parts + k;
            const int mine = written >> i & 1, others = written >> k & 1;
            any_args a = *good;
            vq_tensor *t = tensor_in(&a, op, p->name), *u = tensor_in(&a, op, o->name);
            if (!mine && !others) continue;
            t->data = (uint8_t *)u->data + vq_tensor_bytes(*u) - 1;    /* its last byte */
            refuses(op, &a, 0, VQ_GUARD_OVERLAP, mine ? p->name : o->name,
                    mine ? o->name : p->name, 0, 0, "last byte");
            t->data = (uint8_t *)u->data + vq_tensor_bytes(*u);
            CHECKF(vq_plan(cpu, op, &a, &c) == VQ_OK, "%s after %s", p->name, o->name);
            t->data = u->data;
            if (p->lines && !strcmp(p->name, "y") && !strcmp(o->name, "x")
                && u->shape[o->rank - 1] == t->shape[last]) {          /* y may be x itself */
                CHECKF(vq_plan(cpu, op, &a, &c) == VQ_OK, "%s on %s", p->name, o->name);
                t->stride[last - 1]++;
            }
            refuses(op, &a, 0, VQ_GUARD_OVERLAP, mine ? p->name : o->name,
                    mine ? o->name : p->name, 0, 0, "the same data");
        }
    }
}

#define IS(t)  (INT64_C(1) << (t))
#define WIDES  (IS(VQ_F32) | IS(VQ_F16) | IS(VQ_BF16))

/* One edit of good args; `a` is the copy. */
#define BAD(name, change, guard, arg, found, needed) do { \
    any_args any = good; \
    vq_##name##_args *a = &any.name; \
    change; \
    refuses(vq_op_of(#name), &any, 1, VQ_GUARD_##guard, arg, "", found, needed, #change); \
    } while (0)

#endif
