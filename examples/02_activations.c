/* 02_activations.c - what three fp8 keys do to activations with outlier channels

     make demo

   The main job on data made here: LLM activations have a few channels that are a hundred
   times larger than the rest, in every token. Prints what each key and encoding keeps of
   them, then every key that has a name, then what every op would do on this machine and on two
   that are not here. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"

enum { TOKENS = 512, HIDDEN = 4096, OUTLIERS = 6 };

static uint64_t state = 1;
static float uniform(void)             /* splitmix64: the same data on every machine */
{
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (float)(z >> 40) / 16777216.0f;
}

static void make(uint16_t *x)
{
    int64_t channel[OUTLIERS], i;
    int t, j, k;
    for (k = 0; k < OUTLIERS; k++) channel[k] = (int64_t)(uniform() * HIDDEN);
    for (i = 0; i < (int64_t)TOKENS * HIDDEN; i++) {
        float bell = -6.0f;            /* the sum of twelve uniforms: near enough to normal */
        for (j = 0; j < 12; j++) bell += uniform();
        x[i] = vq_bf16_from_f32(bell, VQ_SATURATE);
    }
    for (t = 0; t < TOKENS; t++)
        for (k = 0; k < OUTLIERS; k++) {
            uint16_t *v = &x[(int64_t)t * HIDDEN + channel[k]];
            *v = vq_bf16_from_f32(vq_f32_from_bf16(*v) * 30.0f + (k % 2 ? -90.0f : 90.0f),
                                  VQ_SATURATE);
        }
}

static const struct { vq_key_id id; const char *what; } keys[] = {
    { VQ_KEY_FP8_STATIC,   "static, per tensor" },
    { VQ_KEY_FP8_TOKEN,    "dynamic, per token" },
    { VQ_KEY_FP8_GROUP128, "dynamic, groups of 128" }
};

static uint16_t x[TOKENS * HIDDEN];
static uint8_t q[TOKENS * HIDDEN], zero[TOKENS * (HIDDEN / 16)];
static float y[TOKENS * HIDDEN], scale[TOKENS * (HIDDEN / 16)];
static float amax[TOKENS * (HIDDEN / 16)], lo[TOKENS * (HIDDEN / 16)], hi[TOKENS * (HIDDEN / 16)];

typedef struct result { int64_t bytes; double sqnr, worst, lost; } result;

/* The scales of a static key, from this very tensor: what a dynamic key of its kind makes. */
static vq_status calibrate(const vq_ctx *vq, const vq_quant_args *to, vq_report *why)
{
    const int asym = (to->key.flags & VQ_KEY_ASYMMETRIC) != 0;
    vq_calibrate_args a = VQ_ZERO;
    vq_amax_args m = VQ_ZERO;
    vq_minmax_args mm = VQ_ZERO;
    vq_tensor at = to->scale;
    at.dtype = VQ_F32;
    a.key = to->key;
    a.key.flags &= ~VQ_KEY_STATIC;
    a.key.scale_rule = asym ? VQ_SCALE_RANGE
                     : to->key.scale_type == VQ_E8M0 ? VQ_SCALE_RCEIL : VQ_SCALE_DIV;
    a.scale = to->scale;
    a.scale2 = to->scale2;
    a.call.report = m.call.report = mm.call.report = why;
    m.key = mm.key = a.key;
    m.x = mm.x = to->x;
    m.amax = mm.lo = mm.hi = at;
    m.amax.data = amax;
    mm.lo.data = lo;
    mm.hi.data = hi;
    if (asym) {
        a.lo = mm.lo;
        a.hi = mm.hi;
        a.zero = to->zero;
        return vq_minmax(vq, &mm) ? why->status : vq_calibrate(vq, &a);
    }
    a.amax = m.amax;
    return vq_amax(vq, &m) ? why->status : vq_calibrate(vq, &a);
}

/* Quantizes x, dequantizes it, and looks at what is left. given: the scale of a static key. */
static int measure(const vq_ctx *vq, vq_key key, float given, result *out)
{
    vq_report why = VQ_ZERO;
    vq_quant_args a = VQ_ZERO;
    vq_dequant_args d = VQ_ZERO;
    double signal = 0.0, noise = 0.0;
    float second = 448.0f * 6.0f / 256.0f;   /* NVFP4's: |x| < 256 */
    int64_t i, rest = 0, zeros = 0;

    if (key.scale2_kind == VQ_SCALE2_MUL) second = 1.0f / second;
    a.key = d.key = key;
    a.x = vq_tensor_2d(x, VQ_BF16, TOKENS, HIDDEN, VQ_HOST);
    a.q = d.q = vq_tensor_2d(q, key.elem, TOKENS, HIDDEN, VQ_HOST);
    a.scale = d.scale = vq_scale_for(&key, a.q, VQ_ROWS, scale);
    d.y = vq_tensor_2d(y, VQ_F32, TOKENS, HIDDEN, VQ_HOST);
    if (key.flags & VQ_KEY_ASYMMETRIC) {
        a.zero = a.scale;
        a.zero.dtype = key.elem;
        if (vq_dtype_bits(key.elem) < 8) a.zero.stride[0] = vq_row_bytes(key.elem, a.zero.shape[1]);
        a.zero.data = zero;
        d.zero = a.zero;
    }
    if (key.scale2_kind) a.scale2 = d.scale2 = vq_tensor_2d(&second, VQ_F32, 1, 1, VQ_HOST);
    a.call.report = d.call.report = &why;
    if (given != 0.0f) scale[0] = given;
    if (((key.flags & VQ_KEY_STATIC) && given == 0.0f && calibrate(vq, &a, &why) != VQ_OK)
        || vq_quant(vq, &a) != VQ_OK || vq_dequant(vq, &d) != VQ_OK) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    out->worst = 0.0;
    for (i = 0; i < (int64_t)TOKENS * HIDDEN; i++) {
        double v = (double)vq_f32_from_bf16(x[i]), e = (double)y[i] - v;
        signal += v * v;
        noise += e * e;
        if (fabs(e) > out->worst) out->worst = fabs(e);
        if (fabs(v) < 16.0 && v != 0.0) { rest++; zeros += y[i] == 0.0f; }
    }
    out->bytes = vq_tensor_bytes(a.q) + vq_tensor_bytes(a.scale)
               + (a.zero.rank ? vq_tensor_bytes(a.zero) : 0) + (key.scale2_kind ? 4 : 0);
    out->sqnr = vq_sqnr_db(signal, noise);
    out->lost = 100.0 * (double)zeros / (double)rest;
    return 0;
}

static int quantize(const vq_ctx *vq, vq_key key, const char *what)
{
    result r;
    if (measure(vq, key, key.flags & VQ_KEY_STATIC ? 256.0f / key.code_max : 0.0f, &r)) return 1;
    printf("  %-24s%-18s%8.0f%10lld%9.2f dB%10.4f%11.3f %%\n", what, vq_dtype_str(key.elem),
           (double)key.code_max, (long long)r.bytes, r.sqnr, r.worst, r.lost);
    return 0;
}

static int every_key(const vq_ctx *vq)
{
    result r;
    int k;
    printf("\n  %-30s%10s%12s%12s%13s\n", "every key that has a name", "bytes", "SQNR", "worst",
           "lost to 0");
    for (k = 0; k < VQ_KEY_COUNT; k++) {
        if (measure(vq, vq_key_preset((vq_key_id)k), 0.0f, &r)) return 1;
        printf("  %-30s%10lld%9.2f dB%12.4f%11.3f %%\n", vq_key_name((vq_key_id)k),
               (long long)r.bytes, r.sqnr, r.worst, r.lost);
    }
    return 0;
}

static void say(const vq_ctx *vq, vq_op op, const void *args)
{
    vq_report rows[4];
    char text[2048];
    int n;
    if (vq_explain(vq, op, args, rows, 4, &n) != VQ_OK) return;
    vq_report_text(rows, n < 4 ? n : 4, text, sizeof text);
    printf("%s", text);
}

/* Every candidate for every op and key, on a machine that is here (NULL) or not. */
static void explain(const char *arch)
{
    vq_desc desc = VQ_ZERO;
    vq_ctx *vq = NULL;
    vq_cast_args cast = VQ_ZERO;
    vq_fnuz_normalize_args fnuz = VQ_ZERO;
    vq_scale_convert_args swap = VQ_ZERO;
    vq_platform p;
    char name[128];
    int k;
    vq_where at;

    desc.assume = arch;
    if (vq_init(&desc, &vq) != VQ_OK) return;
    p = vq_platform_in(vq);
    at = vq_mem_where(vq);
    printf("\n%s: %s%s, scaled to %g; tensors on the %s\n", vq_arch_in(vq),
           p.fp8 ? "its fp8 is " : "no fp8 unit, codes are ", vq_dtype_str(vq_fp8_dtype(&p)),
           (double)vq_fp8_dtype_max(&p), at == VQ_HOST ? "host" : "device");
    for (k = 0; k < (int)(sizeof keys / sizeof *keys); k++) {
        vq_quant_args a = VQ_ZERO;
        vq_dequant_args d = VQ_ZERO;
        a.key = vq_key_on(vq_key_preset(keys[k].id), &p);
        a.x = vq_tensor_2d(NULL, VQ_BF16, TOKENS, HIDDEN, at);
        a.q = vq_tensor_2d(NULL, a.key.elem, TOKENS, HIDDEN, at);
        a.scale = vq_scale_for(&a.key, a.q, VQ_ROWS, NULL);
        d.key = a.key;
        d.q = a.q;
        d.scale = a.scale;
        d.y = a.x;
        vq_key_print(&a.key, name, sizeof name);
        printf(" %s\n", name);
        say(vq, VQ_OP_QUANT, &a);
        say(vq, VQ_OP_DEQUANT, &d);
    }
    printf(" without a key\n");
    cast.x = vq_tensor_2d(NULL, VQ_BF16, TOKENS, HIDDEN, at);
    cast.y = vq_tensor_2d(NULL, VQ_E2M1, TOKENS, HIDDEN, at);
    say(vq, VQ_OP_CAST, &cast);
    fnuz.x = vq_tensor_2d(NULL, VQ_E4M3FN, TOKENS, HIDDEN, at);
    fnuz.y = vq_tensor_2d(NULL, VQ_E4M3FNUZ, TOKENS, HIDDEN, at);
    fnuz.scale = fnuz.scale_out = vq_tensor_2d(NULL, VQ_F32, TOKENS, HIDDEN / 128, at);
    say(vq, VQ_OP_FNUZ_NORMALIZE, &fnuz);
    swap.x = vq_tensor_ordered(VQ_E8M0, TOKENS, HIDDEN / 32, VQ_ROWS, NULL, at);
    swap.y = vq_tensor_ordered(VQ_E8M0, TOKENS, HIDDEN / 32, VQ_TILES_128X4, NULL, at);
    say(vq, VQ_OP_SCALE_CONVERT, &swap);
    vq_free(vq);
}

int main(void)
{
    vq_desc desc = VQ_ZERO;
    vq_ctx *vq = NULL;
    int k, f, failed = 0;

    desc.backend = VQ_CPU;
    if (vq_init(&desc, &vq) != VQ_OK) return 1;
    make(x);
    printf("%d tokens of %d channels in bf16, %lld bytes; %d channels are outliers\n\n", TOKENS,
           HIDDEN, (long long)sizeof x, OUTLIERS);
    printf("  %-24s%-18s%8s%10s%12s%10s%13s\n", "key", "codes", "max", "bytes", "SQNR", "worst",
           "lost to 0");
    for (k = 0; k < (int)(sizeof keys / sizeof *keys); k++)
        for (f = 0; f < 2; f++) {
            vq_key key = vq_key_preset(keys[k].id);
            if (f) key = vq_key_as(key, VQ_E4M3FNUZ, vq_fp8_max(VQ_E4M3FNUZ, 1));
            failed |= quantize(vq, key, keys[k].what);
        }
    failed |= every_key(vq);
    vq_free(vq);
    explain(NULL);
    explain("gfx942");
    explain("gfx950");
    return failed;
}
