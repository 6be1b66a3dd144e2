/* device.c - a GPU beside the reference: the same bytes, on the hardware itself

     make cuda && make device           (make hip on AMD)

   Not part of `make test`: it needs a GPU and fails without one. Every format converts all
   2^32 f32, every code comes back, and quant, dequant, fnuz_normalize and scale_convert run
   over shapes, keys, strides and special values, each output byte compared. */
#include <math.h>
#include <pthread.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"

static vq_ctx *cpu, *gpu;

enum { CHUNK = 1 << 26, WORKERS = 16 };

/* --- all inputs of every conversion ------------------------------------------ */

typedef struct job {
    pthread_t thread;
    vq_dtype type;
    vq_overflow overflow;
    uint32_t from;
    int64_t n, wrong;
    const uint8_t *got;
} job;

static void *compare(void *user)
{
    job *j = (job *)user;
    const int bits = vq_dtype_bits(j->type);
    int64_t i;
    for (i = 0; i < j->n; i++) {
        uint32_t want = vq_encode(j->type, vq__f32_make(j->from + (uint32_t)i), j->overflow);
        j->wrong += vq_code_get(j->got, bits, i) != want;
    }
    return NULL;
}

static void every_f32_converts_alike(void)
{
    const size_t n = CHUNK;
    uint32_t *in = (uint32_t *)malloc(n * 4), at;
    uint8_t *out = (uint8_t *)malloc(n * 4);
    void *dx = vq_mem_alloc(gpu, n * 4), *dy = vq_mem_alloc(gpu, n * 4);
    int64_t wrong = 0;
    int t, o, w;
    CHECK(in && out && dx && dy);
    for (at = 0; ; at += CHUNK) {
        size_t i;
        for (i = 0; i < n; i++) in[i] = at + (uint32_t)i;
        CHECK(vq_mem_copy(gpu, dx, in, n * 4) == VQ_OK);
        for (t = VQ_F16; t < VQ_INT32; t++)
            for (o = 0; o < 2; o++) {
                vq_cast_args a = VQ_ZERO;
                job jobs[WORKERS];
                vq_report why;
                const int bits = vq_dtype_bits((vq_dtype)t);
                if (o && bits <= 8 && (t == VQ_INT8 || t == VQ_UINT8 || t == VQ_INT4 || t == VQ_UINT4
                    || t == VQ_E2M1 || t == VQ_E2M3 || t == VQ_E3M2)) continue;   /* no such mode */
                a.x = vq_tensor_2d(dx, VQ_F32, 1, CHUNK, VQ_DEVICE);
                a.y = vq_tensor_2d(dy, (vq_dtype)t, 1, CHUNK, VQ_DEVICE);
                a.overflow = (vq_overflow)o;
                a.call.report = &why;
                CHECKF(vq_cast(gpu, &a) == VQ_OK, "%s", why.text);
                CHECK(vq_mem_copy(gpu, out, dy, n * (size_t)bits / 8) == VQ_OK);
                for (w = 0; w < WORKERS; w++) {
                    job *j = &jobs[w];
                    j->type = (vq_dtype)t;
                    j->overflow = (vq_overflow)o;
                    j->n = CHUNK / WORKERS;
                    j->from = at + (uint32_t)(w * j->n);
                    j->got = out + w * j->n * bits / 8;
                    j->wrong = 0;
                    CHECK(!pthread_create(&j->thread, NULL, compare, j));
                }
                for (w = 0; w < WORKERS; w++) {
                    pthread_join(jobs[w].thread, NULL);
                    wrong += jobs[w].wrong;
                    CHECKF(!jobs[w].wrong, "%s, overflow %d, from %08x: %lld differ",
                           vq_dtype_str((vq_dtype)t), o, (unsigned)jobs[w].from,
                           (long long)jobs[w].wrong);
                }
            }
        if (at > UINT32_MAX - CHUNK) break;
    }
    printf("[%lld of 2^32 x 23 differ] ", (long long)wrong);
    vq_mem_free(gpu, dx);
    vq_mem_free(gpu, dy);
    free(in);
    free(out);
}

/* --- ops on views -------------------------------------------------------------- */

/* A tensor with `pad` elements after each row, on both sides, poisoned alike. */
typedef struct pair { vq_tensor host, dev; char *h, *d; size_t bytes; } pair;

static pair make(vq_tensor shape, int misaligned, int fill)
{
    pair p;
    size_t i, n = (size_t)vq_tensor_bytes(shape) + 128;
    p.bytes = n;
    p.h = (char *)malloc(n);
    p.d = (char *)vq_mem_alloc(gpu, n);
    CHECK(p.h && p.d);
    for (i = 0; i < n; i++) p.h[i] = fill ? (char)t_rand() : (char)0xa5;
    p.host = p.dev = shape;
    p.host.where = VQ_HOST;
    p.host.data = p.h + 64 + misaligned;
    p.dev.where = VQ_DEVICE;
    p.dev.data = p.d + 64 + misaligned;
    return p;
}

static void upload(pair *p) { CHECK(vq_mem_copy(gpu, p->d, p->h, p->bytes) == VQ_OK); }

static int64_t compared;

static void same(pair *p, const char *what)
{
    char *got = (char *)malloc(p->bytes);
    CHECK(vq_mem_copy(gpu, got, p->d, p->bytes) == VQ_OK);
    CHECKF(!memcmp(got, p->h, p->bytes), "%s", what);
    compared += (int64_t)p->bytes;
    free(got);
}

static void drop(pair *p) { free(p->h); vq_mem_free(gpu, p->d); }

static void fill_values(vq_tensor *t, int kind)
{
    static const float odd[] = { 0.0f, -0.0f, 1e-40f, -1e-39f, 3e38f, -65504.0f, 448.0f, 1e-10f };
    int64_t r, c;
    for (r = 0; r < t->shape[0]; r++)
        for (c = 0; c < t->shape[1]; c++) {
            float v = t_randf(-8, 8) * (c % 5 ? 1.0f : 0.01f);
            if (kind == 1 && t_rand() % 61 == 0) v = odd[t_rand() % 8];
            if (kind == 2 && t_rand() % 97 == 0) v = t_rand() & 1 ? NAN : t_rand() & 1 ? INFINITY : -INFINITY;
            if (kind == 3) v = 0.0f;
            if (kind == 4) v = vq__f32_make(t_rand());
            vq__put_code(t, r, c, vq_encode(t->dtype, v, VQ_NONFINITE));
        }
}

static void quantization_is_the_same(void)
{
    static const char *const keys[] = { "fp8_static", "fp8_tensor", "fp8_token", "fp8_group128",
        "fp8_group64", "fp8_block128", "fp8_channel", "fp8_dynamic_tensor", "fp8_static_token",
        "fp8_static_channel", "fp8_static_block128", "fp8_dynamic_group128", "vllm_native_token",
        "aiter_group128", "aiter_token", "float8_e5m2/f32/1x7/dyn/amax.div57344/x.inv.s",
        "float8_e5m2fnuz/f32/3x5/dyn/amax.inv57344/x.div.s/nan=max" };
    static const int64_t shape[][2] = { {1, 128}, {3, 384}, {5, 77}, {1, 1}, {2, 4104}, {257, 1000},
                                        {1024, 4096}, {0, 128}, {7, 0} };
    static const vq_dtype types[] = { VQ_F32, VQ_F16, VQ_BF16 };
    int k, s, t, f, v, o;
    for (k = 0; k < (int)(sizeof keys / sizeof *keys); k++)
      for (f = 0; f < 3; f++)
        for (s = 0; s < (int)(sizeof shape / sizeof *shape); s++)
          for (t = 0; t < 3; t++)
            for (v = 0; v < 4; v++) {
                vq_quant_args a = VQ_ZERO, b;
                vq_dequant_args d = VQ_ZERO, e;
                vq_tensor x, q, y;
                pair px, pq, ps, py;
                vq_report why;
                char text[128];
                if (shape[s][0] * shape[s][1] > 1 << 20 && (v || t != 2)) continue;
                CHECK(vq_key_parse(keys[k], &a.key, &why) == VQ_OK);
                if (f && a.key.elem != VQ_E4M3FN) continue;
                if (f) a.key = vq_key_as(a.key, VQ_E4M3FNUZ, f == 1 ? 224.0f : 240.0f);
                if ((a.key.flags & VQ_KEY_NO_TAIL) && shape[s][1] % a.key.group_cols) continue;
                vq_key_print(&a.key, text, sizeof text);
                x = vq_tensor_2d(NULL, types[t], shape[s][0], shape[s][1], VQ_HOST);
                q = vq_tensor_2d(NULL, a.key.elem, shape[s][0], shape[s][1], VQ_HOST);
                y = x;
                if (v & 1) { x.stride[0] += 3; q.stride[0] += 5; y.stride[0] += 1; }
                o = t % 3;
                px = make(x, v & 1, 0);
                fill_values(&px.host, v == 3 ? 4 : v);
                upload(&px);
                pq = make(q, v & 1, 0);
                upload(&pq);
                ps = make(vq_scale_for(&a.key, q, (vq_order)o, NULL), v & 1, 0);
                if (a.key.flags & VQ_KEY_STATIC) {
                    int64_t r, c;
                    for (r = 0; r < ps.host.shape[0]; r++)
                        for (c = 0; c < ps.host.shape[1]; c++)
                            vq__put_code(&ps.host, r, c, vq__f32_bits(v == 2 && c % 3 == 1 ? 0.0f
                                                                      : t_randf(0.001f, 0.1f)));
                }
                upload(&ps);
                py = make(y, v & 1, 0);
                upload(&py);
                a.call.report = &why;
                b = a;
                a.x = px.host; a.q = pq.host; a.scale = ps.host;
                b.x = px.dev;  b.q = pq.dev;  b.scale = ps.dev;
                CHECKF(vq_quant(cpu, &a) == VQ_OK, "%s", why.text);
                CHECKF(vq_quant(gpu, &b) == VQ_OK, "%s", why.text);
                same(&pq, text);
                same(&ps, text);
                d.key = a.key;
                d.call.report = &why;
                e = d;
                d.q = pq.host; d.scale = ps.host; d.y = py.host;
                e.q = pq.dev;  e.scale = ps.dev;  e.y = py.dev;
                CHECKF(vq_dequant(cpu, &d) == VQ_OK, "%s", why.text);
                CHECKF(vq_dequant(gpu, &e) == VQ_OK, "%s", why.text);
                if (v < 2) same(&py, text);                  /* any quiet NaN will do */
                drop(&px); drop(&pq); drop(&ps); drop(&py);
            }
    printf("[%lld bytes compared] ", (long long)compared);
}

static void casts_between_all_formats_are_the_same(void)
{
    int from, to, v;
    for (from = 1; from < VQ_INT32; from++)
        for (to = 1; to < VQ_INT32; to++)
            for (v = 0; v < 2; v++) {
                vq_cast_args a = VQ_ZERO, b;
                vq_tensor x = vq_tensor_2d(NULL, (vq_dtype)from, 37, 131, VQ_HOST);
                vq_tensor y = vq_tensor_2d(NULL, (vq_dtype)to, 37, 131, VQ_HOST);
                pair px, py;
                int64_t i, j;
                x.stride[0] += 3;
                y.stride[0] += 2;
                px = make(x, v, 1);
                for (i = 0; i < 37; i++)                     /* no NaN: its payload is free */
                    for (j = 0; j < 131; j++) {
                        float f = vq__get(&px.host, i, j);
                        if (f != f) vq__put_code(&px.host, i, j, 0);
                    }
                upload(&px);
                py = make(y, v, 0);
                upload(&py);
                a.overflow = v ? VQ_NONFINITE : VQ_SATURATE;
                b = a;
                a.x = px.host; a.y = py.host;
                b.x = px.dev;  b.y = py.dev;
                CHECK(vq_cast(cpu, &a) == VQ_OK && vq_cast(gpu, &b) == VQ_OK);
                if (vq_dtype_bits((vq_dtype)to) <= 8 || !v) same(&py, vq_dtype_str((vq_dtype)to));
                drop(&px); drop(&py);
            }
}

static void layouts_and_fnuz_are_the_same(void)
{
    static const vq_dtype fp8[] = { VQ_E4M3FN, VQ_E4M3FNUZ, VQ_E5M2, VQ_E5M2FNUZ };
    int from, to, i, r, c;
    for (from = 0; from < VQ_ORDER_COUNT; from++)
        for (to = 0; to < VQ_ORDER_COUNT; to++)
            for (r = 1; r < 200; r += 33)
                for (c = 1; c < 14; c += 3) {
                    vq_scale_convert_args a = VQ_ZERO, b = VQ_ZERO;
                    pair px = make(vq_tensor_ordered(VQ_E8M0, r, c, (vq_order)from, NULL, VQ_HOST), 1, 1);
                    pair py = make(vq_tensor_ordered(VQ_E8M0, r, c, (vq_order)to, NULL, VQ_HOST), 1, 0);
                    upload(&px);
                    upload(&py);
                    a.x = px.host; a.y = py.host;
                    b.x = px.dev;  b.y = py.dev;
                    CHECK(vq_scale_convert(cpu, &a) == VQ_OK && vq_scale_convert(gpu, &b) == VQ_OK);
                    same(&py, vq_order_str((vq_order)to));
                    drop(&px); drop(&py);
                }
    for (i = 0; i < 8; i++) {
        vq_fnuz_normalize_args a = VQ_ZERO, b = VQ_ZERO;
        vq_dtype t = fp8[i % 4];
        pair px = make(vq_tensor_2d(NULL, t, 33, 129, VQ_HOST), 1, 1);
        pair py = make(vq_tensor_2d(NULL, fp8[i % 4 ^ 1], 33, 129, VQ_HOST), 1, 0);
        pair ps = make(vq_tensor_2d(NULL, VQ_E8M0, 33, 3, VQ_HOST), 1, 1);
        pair pt = make(vq_tensor_2d(NULL, VQ_E8M0, 33, 3, VQ_HOST), 1, 0);
        upload(&px); upload(&py); upload(&ps); upload(&pt);
        a.overflow = b.overflow = i < 4 ? VQ_SATURATE : VQ_NONFINITE;
        a.x = px.host; a.y = py.host; a.scale = ps.host; a.scale_out = pt.host;
        b.x = px.dev;  b.y = py.dev;  b.scale = ps.dev;  b.scale_out = pt.dev;
        CHECK(vq_fnuz_normalize(cpu, &a) == VQ_OK && vq_fnuz_normalize(gpu, &b) == VQ_OK);
        same(&py, vq_dtype_str(t));
        same(&pt, "scale_out");
        drop(&px); drop(&py); drop(&ps); drop(&pt);
    }
}

static const t_case cases[] = {
    T(quantization_is_the_same),
    T(casts_between_all_formats_are_the_same),
    T(layouts_and_fnuz_are_the_same),
    T(every_f32_converts_alike),
};

static void say(void *user, const char *line) { (void)user; puts(line); }

int main(int argc, char **argv)
{
    vq_desc c = VQ_ZERO, d = VQ_ZERO;
    vq_report why;
    int failed;
    c.backend = VQ_CPU;
    d.library = getenv("VQ_TEST_LIBRARY");
    d.log = say;
    d.report = &why;
    if (vq_init(&c, &cpu) != VQ_OK) return 1;
    if (vq_init(&d, &gpu) != VQ_OK) { puts(why.text); return 1; }
    if (vq_mem_where(gpu) != VQ_DEVICE) { puts("device.c needs a GPU and its kernel library"); return 1; }
    failed = t_main(argc, argv, cases, sizeof cases / sizeof *cases);
    vq_free(gpu);
    vq_free(cpu);
    return failed;
}
