/* run_numbers.c - scales, zero points and second scales that no file gives

   One number for all groups, or what the data ask for: the library's own observers and
   vq_calibrate(), on the CPU, where the file lies and every key is served. */
#include <stdlib.h>
#include "run.h"

static void fill(const slot *s, void *bytes, uint32_t code)
{
    const vq_tensor *t = s->t;
    const int bits = vq_dtype_bits(t->dtype);
    const int64_t rows = t->shape[1] ? t->shape[0] : 0;          /* the other extent may be huge */
    int64_t i, c;
    for (i = 0; i < rows; i++)
        for (c = 0; c < t->shape[1]; c++)
            if (bits < 8) vq_code_put((char *)bytes + i * t->stride[0], bits, c, code);
            else vq_code_put(bytes, bits, vq_layout_index(t->layout, t->stride[0], t->stride[1],
                                                          i, c), code);
}

static int own_bytes(slot *s)
{
    const int64_t bytes = vq_tensor_bytes(*s->t);
    s->own = bytes < 0 ? NULL : calloc((size_t)bytes + 1, 1);    /* < 0: the plan says why */
    s->from = s->own;
    return bytes >= 0 && !s->own ? fail("out of memory") : 0;
}

int give_number(slot *s, double number)
{
    if (own_bytes(s)) return 1;
    if (s->own) fill(s, s->own, vq_encode(s->t->dtype, (float)number, VQ_SATURATE));
    return 0;
}

static vq_tensor host(const slot *s)
{
    vq_tensor t = VQ_ZERO;
    if (!s) return t;
    t = *s->t;
    t.where = VQ_HOST;
    t.data = (void *)(uintptr_t)s->from;
    return t;
}

/* The values that the op quantizes; *mem is to be freed. */
static int values_of(run_state *r, job *j, vq_tensor *x, float **mem)
{
    vq_dequant_args d = VQ_ZERO;
    const slot *q = find_slot(j, "q");
    if (r->o->op != VQ_OP_REQUANT) {
        *x = host(find_slot(j, "x"));
        return 0;
    }
    d.call.report = &r->why;
    d.key = r->o->from;
    d.q = host(q);
    d.scale = host(find_slot(j, "scale"));
    d.zero = host(find_slot(j, "zero"));
    d.scale2 = host(find_slot(j, "scale2"));
    d.y = vq_tensor_2d(NULL, VQ_F32, q->t->shape[0], q->t->shape[1], VQ_HOST);
    d.y.data = *mem = (float *)malloc((size_t)vq_tensor_bytes(d.y) + 1);
    if (!*mem) return fail("out of memory");
    *x = d.y;
    return vq_dequant(r->cpu, &d) == VQ_OK ? 0 : refused(r, j);
}

/* NVFP4's usual global scale: the largest scale of a group then is the largest of its type. */
static int make_scale2(run_state *r, job *j, slot *s, vq_tensor x)
{
    const vq_key *k = &r->o->key;
    const float most = vq_dtype_max(k->scale_type) * k->code_max, inf = vq_dtype_max(VQ_F32);
    vq_amax_args a = VQ_ZERO;
    float amax = 0, g;
    a.call.report = &r->why;
    a.key = vq_key_preset(VQ_KEY_FP8_TENSOR);     /* its element has a NaN: one in x is skipped */
    a.x = x;
    a.amax = vq_tensor_2d(&amax, VQ_F32, 1, 1, VQ_HOST);
    if (vq_amax(r->cpu, &a) != VQ_OK) return refused(r, j);
    g = amax == 0 ? 1 : most / amax;
    if (g > inf) g = inf;
    if (k->scale2_kind == VQ_SCALE2_MUL) g = 1 / g;
    memcpy(s->own, &g, sizeof g);
    return 0;
}

/* The dynamic key whose scales a static one is given. */
static vq_key dynamic_of(vq_key k)
{
    k.flags &= ~VQ_KEY_STATIC;
    k.scale_rule = k.flags & VQ_KEY_ASYMMETRIC ? VQ_SCALE_RANGE
                 : k.scale_type == VQ_E8M0 ? VQ_SCALE_RCEIL : VQ_SCALE_DIV;
    return k;
}

static int observe(run_state *r, job *j, const vq_key *k, vq_tensor x, float *lo, float *hi,
                   vq_tensor *low, vq_tensor *high)
{
    vq_amax_args a = VQ_ZERO;
    vq_minmax_args m = VQ_ZERO;
    const vq_tensor counts = vq_scale_for(k, x, VQ_ROWS, NULL);
    *low = vq_tensor_2d(lo, VQ_F32, counts.shape[0], counts.shape[1], VQ_HOST);
    *high = vq_tensor_2d(hi, VQ_F32, counts.shape[0], counts.shape[1], VQ_HOST);
    a.call.report = m.call.report = &r->why;
    a.key = m.key = *k;
    a.x = m.x = x;
    a.amax = m.hi = *high;
    m.lo = *low;
    return (k->flags & VQ_KEY_ASYMMETRIC ? vq_minmax(r->cpu, &m) : vq_amax(r->cpu, &a)) == VQ_OK
         ? 0 : refused(r, j);
}

/* A scale that would be 0, as that of a group of zeros, is 1: x / 0 has no good code. */
static void mend(const slot *s)
{
    const vq_tensor *t = s->t;
    const int bits = vq_dtype_bits(t->dtype);
    const uint32_t one = vq_encode(t->dtype, 1, VQ_SATURATE);
    const int64_t rows = t->shape[1] ? t->shape[0] : 0;
    int64_t i, c;
    for (i = 0; i < rows; i++)
        for (c = 0; c < t->shape[1]; c++) {
            const int64_t at = vq_layout_index(t->layout, t->stride[0], t->stride[1], i, c);
            if (vq_decode(t->dtype, vq_code_get(s->own, bits, at)) == 0)
                vq_code_put(s->own, bits, at, one);
        }
}

static int make_scale(run_state *r, job *j, slot *scale, slot *zero, vq_tensor x)
{
    vq_calibrate_args c = VQ_ZERO;
    vq_tensor low, high;
    const size_t n = (size_t)(scale->t->shape[0] * scale->t->shape[1]);
    float *lo = (float *)malloc(n * sizeof *lo + 1), *hi = (float *)malloc(n * sizeof *hi + 1);
    int bad = !lo || !hi ? fail("out of memory") : 0;

    c.call.report = &r->why;
    c.key = dynamic_of(r->o->key);
    if (!bad) bad = observe(r, j, &c.key, x, lo, hi, &low, &high);
    if (!bad) {
        c.scale2 = host(find_slot(j, ends_in_out(scale->f->name) ? "scale2_out" : "scale2"));
        c.scale = host(scale);
        if (zero) {
            c.lo = low;
            c.hi = high;
            c.zero = host(zero);
        } else c.amax = high;
        if (vq_calibrate(r->cpu, &c) != VQ_OK) bad = refused(r, j);
        else mend(scale);
    }
    free(lo);
    free(hi);
    return bad;
}

int make_numbers(run_state *r, job *j)
{
    slot *scale = NULL, *zero = NULL, *scale2 = NULL;
    float *mem = NULL;
    vq_tensor x;
    int i, bad;

    for (i = 0; i < j->slots; i++) {
        slot *s = &j->s[i];
        if (!s->made) continue;
        if (own_bytes(s)) return 1;
        if (!strncmp(s->f->name, "zero", 4)) zero = s;
        else if (!strncmp(s->f->name, "scale2", 6)) scale2 = s;
        else scale = s;
    }
    if (!scale && !scale2) return 0;
    bad = values_of(r, j, &x, &mem)
       || (scale2 && make_scale2(r, j, scale2, x))
       || (scale && make_scale(r, j, scale, zero, x));
    free(mem);
    return bad;
}
