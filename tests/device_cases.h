/* device_cases.h - cases for device.c: any op, at any size, on a GPU and on the reference

   standin/differ.h makes arguments that an op takes; here they get the shapes that engines run, or
   ragged ones, data that is hard to get right, and memory: one stretch for all tensors of a case,
   mirrored on the device, random bytes between and behind them, so that all of it travels in one
   copy and every byte that no op may touch is compared too. */
#ifndef DEVICE_CASES_H_INCLUDED
#define DEVICE_CASES_H_INCLUDED

#include "standin/differ.h"

enum { GUARD = 256, IMPLS = 8 };

/* --- the driver, found at run time: the kernel library brings a runtime, not these ------------- */

/* X(name, CUDA's, HIP's, parameters): device addresses are pointers here; both take 64 bits. */
#define DRIVER(X) \
    X(stream_create,  "cuStreamCreate",       "hipStreamCreateWithFlags", (void **, unsigned)) \
    X(stream_destroy, "cuStreamDestroy_v2",   "hipStreamDestroy",         (void *)) \
    X(stream_wait,    "cuStreamSynchronize",  "hipStreamSynchronize",     (void *)) \
    X(begin_capture,  "cuStreamBeginCapture_v2", "hipStreamBeginCapture", (void *, int)) \
    X(end_capture,    "cuStreamEndCapture",   "hipStreamEndCapture",      (void *, void **)) \
    X(graph_nodes,    "cuGraphGetNodes",      "hipGraphGetNodes",  (void *, void **, size_t *)) \
    X(node_type,      "cuGraphNodeGetType",   "hipGraphNodeGetType",      (void *, int *)) \
    X(instantiate,    "cuGraphInstantiateWithFlags", "hipGraphInstantiateWithFlags", \
      (void **, void *, unsigned long long)) \
    X(graph_launch,   "cuGraphLaunch",        "hipGraphLaunch",           (void *, void *)) \
    X(exec_destroy,   "cuGraphExecDestroy",   "hipGraphExecDestroy",      (void *)) \
    X(graph_destroy,  "cuGraphDestroy",       "hipGraphDestroy",          (void *)) \
    X(mem_info,       "cuMemGetInfo_v2",      "hipMemGetInfo",            (size_t *, size_t *)) \
    X(copy_async,     "cuMemcpyDtoDAsync_v2", "hipMemcpyDtoDAsync", (void *, void *, size_t, void *)) \
    X(set_async,      "cuMemsetD8Async",      "hipMemsetD8Async", \
      (void *, unsigned char, size_t, void *)) \
    X(host_alloc,     "cuMemHostAlloc",       "hipHostMalloc",     (void **, size_t, unsigned)) \
    X(host_free,      "cuMemFreeHost",        "hipHostFree",              (void *))

static struct driver {
#define X(name, cuda, hip, params) int (*name) params;
    DRIVER(X)
#undef X
    int there;
} driver;

enum { NON_BLOCKING = 1, CAPTURE_GLOBAL = 0, NODE_KERNEL = 0, NODE_MEMCPY = 1, NODE_MEMSET = 2 };

/* Of the vendor whose kernels are loaded; of the stand-in there is none. */
static void find_driver(const vq_ctx *vq)
{
    const int cuda = vq_platform_in(vq).backend == VQ_CUDA;
    static const char *const names[] = { "libcuda.so.1", "libamdhip64.so.7", "libamdhip64.so.6" };
    void *lib = NULL, *p;
    int i, all = 1;
    if (driver.there) return;
    for (i = cuda ? 0 : 1; !lib && i < (cuda ? 1 : 3); i++)
        lib = dlopen(names[i], RTLD_NOW | (cuda ? 0 : RTLD_NOLOAD));
    if (!lib) return;
#define X(name, cu, hip, params) \
    p = dlsym(lib, cuda ? cu : hip); \
    if (!p) { printf("no %s\n", cuda ? cu : hip); all = 0; } \
    memcpy(&driver.name, &p, sizeof p);
    DRIVER(X)
#undef X
    driver.there = all;
}

/* --- contexts ----------------------------------------------------------------------------------- */

static vq_ctx *gpu;
static void   *stream;                 /* one that is not NULL, where there is one */
static char    log_text[4096];
static int     separate;               /* every tensor an allocation of its own: for memcheck */

static void hear_line(void *user, const char *line)
{
    (void)user;
    strncat(log_text, line, sizeof log_text - strlen(log_text) - 2);
    strcat(log_text, "\n");
}

/* 0: there is no GPU; the log says why. */
static int open_gpu(void)
{
    vq_desc d = VQ_ZERO;
    vq_report r;
    standin_control_fn control;
    void *lib, *symbol = NULL;
    if (gpu) return 1;
    log_text[0] = 0;
    d.library = getenv("VQ_TEST_LIBRARY");
    d.log = hear_line;
    d.report = &r;
    if (vq_init(&d, &gpu) != VQ_OK || vq_mem_where(gpu) != VQ_DEVICE) {
        printf("%sdevice.c needs a GPU and its kernel library: make cuda, or make hip\n", log_text);
        return 0;
    }
    gpus[0].vq = gpu;
    gpu_count = 1;
    find_driver(gpu);
    if (driver.there && driver.stream_create(&stream, NON_BLOCKING)) { puts("no stream"); return 0; }
    lib = d.library ? dlopen(d.library, RTLD_NOW | RTLD_NOLOAD) : NULL;
    if (lib) symbol = dlsym(lib, "standin_control");
    if (symbol) {
        memcpy(&control, &symbol, sizeof control);
        gpus[0].in = control();
        gpus[0].in->hear(hear_fault);
        stream = gpus[0].in->stream;
    }
    snprintf(how, sizeof how, "%s", vq_arch_in(gpu));
    return 1;
}

static int on_standin(void) { return gpus[0].in != NULL; }

/* All that was asked of the device, on every stream of this program, is done. vq_mem_copy() alone
   is not that: a copy from pageable memory may be on its way when it returns. */
static int settled(void)
{
    return !driver.there || (!driver.stream_wait(NULL) && !driver.stream_wait(stream));
}

/* --- arguments ---------------------------------------------------------------------------------- */

/* PLAIN: contiguous, aligned, nothing that need not be. The others go round. */
enum { TINY, RAGGED, DECODE, PREFILL, WIDE, VIEWS, RANKS, CLASSES, PLAIN = CLASSES };

static int key_fields(vq_op o)
{
    int n, i, keys = 0;
    const vq_field *f = vq_op_fields(o, &n);
    for (i = 0; i < n; i++) keys += f[i].kind == VQ_FIELD_KEY;
    return keys;
}

static vq_key *key_of(void)            /* the one whose codes are written; or NULL */
{
    int i;
    for (i = field_count - 1; i >= 0; i--)
        if (fields[i].kind == VQ_FIELD_KEY) return (vq_key *)(void *)at_field(i);
    return NULL;
}

static void shape_of(int class, int64_t most, wish *w)
{
    static const int64_t hot[] = { 4096, 7168, 2048, 512, 4096, 7168, 2048, 512, 1024, 1536, 2880,
                                  3072, 5120, 6144, 8192, 14336, 128, 256, 768, 16384, 28672 };
    static const int64_t few[] = { 1, 1, 2, 3, 4, 8, 16, 17, 32, 64, 128 };
    static const int64_t odd[] = { 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96, 100,
                                  127, 128, 129, 130, 192, 255, 256, 257, 384, 512, 1000, 1024, 2049 };
    const int64_t more = class == PREFILL && one_in(16) ? 8 : 1;
    switch (class) {
    case TINY:    w->rows = 1 + below(9);  w->cols = odd[below(COUNT(odd))]; break;
    case RAGGED:  w->rows = 1 + below(200); w->cols = 1 + below(5000); break;
    case DECODE:
    case VIEWS:   w->rows = few[below(COUNT(few))]; w->cols = hot[below(COUNT(hot))]; break;
    case PREFILL: w->cols = hot[below(COUNT(hot))];
                  w->rows = 1 + more * most / w->cols + below(3); break;
    case WIDE:    w->rows = 1 + below(one_in(2) ? 4 : 2000);
                  w->cols = 1 + below(2 * most / w->rows + 300); break;
    default:      return;                          /* RANKS: as it comes; PLAIN: as it is */
    }
    while (class != PREFILL && w->rows > 1 && w->rows * w->cols > most) w->rows /= 2;
}

static const char *const odd_names[] = { "scale", "bound", "amax", "lo", "hi" };

/* Is it of the scales, positive for the most part, laid out in any order? */
static int is_scale(const view *v)
{
    int i;
    for (i = 0; i < COUNT(odd_names); i++) if (strstr(v->field->name, odd_names[i])) return 1;
    return !strncmp(v->field->name, "zero", 4);
}

/* t in an order; of rank 3 its matrices follow one another. */
static void put_in_order(vq_tensor *t, vq_order order)
{
    const int64_t outer = t->shape[0];
    const int bits = vq_dtype_bits(t->dtype);
    vq_tensor m;
    int64_t step;
    if (t->rank < 2 || t->rank > 3) return;
    m = vq_tensor_ordered(t->dtype, t->shape[t->rank - 2], t->shape[t->rank - 1], order, NULL,
                          VQ_HOST);
    if (t->rank == 3) {
        step = vq_tensor_bytes(m);
        if (m.layout == VQ_STRIDED && bits > 8) step /= bits / 8;
        m.rank = 3;
        m.shape[2] = m.shape[1];
        m.shape[1] = m.shape[0];
        m.shape[0] = outer;
        m.stride[2] = m.stride[1];
        m.stride[1] = m.stride[0];
        m.stride[0] = step > 0 ? step : 1;
    }
    *t = m;
}

static int64_t count_of(const vq_tensor *t)
{
    int64_t n = t->rank ? 1 : 0;
    int i;
    for (i = 0; i < t->rank; i++) n *= t->shape[i];
    return n;
}

static void set_result(void *p)
{
    int i;
    for (i = 0; i < field_count; i++)
        if (fields[i].kind == VQ_FIELD_RESULT) memcpy(at_field(i), &p, sizeof p);
}

/* Without the result, where an op may do without. */
static void drop_result(void)
{
    set_result(NULL);
    if (!all_take()) set_result(result);
    find_views();
}

/* Some row takes the arguments, or does without the result on the host. */
static int some_kernel_takes(void)
{
    int n, k;
    for (k = 0; k < 2; k++) {
        const int first = (int)below(IMPLS);
        for (n = 0; n < IMPLS; n++) {
            impl = gpu_impl((first + n) % IMPLS);
            if (impl && all_take()) return 1;
        }
        set_result(NULL);
    }
    return 0;
}

/* Of ops that go by experts: more of them. */
static void set_experts(int64_t most)
{
    static uint64_t keep[COUNT(args)];
    const size_t keep_bytes = sizeof args;
    const vq_tensor *x = views[0].t;
    int64_t experts, fit;
    int i, rank3 = 0, ones = 0;
    if (x->rank != 3 || !count_of(x)) return;
    fit = 1 + 2 * most / (count_of(x) / x->shape[0]);
    experts = 1 + below(one_in(4) ? 130 : 9);
    if (experts > fit) experts = fit;
    memcpy(keep, args, keep_bytes);
    for (i = 0; i < view_count; i++) {
        vq_tensor *t = views[i].t;
        ones += t->rank == 1 && t->dtype == VQ_INT32;
        rank3 += t->rank == 3;
        if (t->rank == 3 || (t->rank == 1 && t->dtype == VQ_INT32)) { t->shape[0] = experts; settle(t); }
    }
    if (!ones || !rank3 || !all_take()) memcpy(args, keep, keep_bytes);
}

static int64_t all_bytes(void)
{
    int64_t n = 0;
    int i;
    for (i = 0; i < view_count; i++) n += vq_tensor_bytes(*views[i].t);
    return n;
}

static int attempt(const wish *w, int class, int64_t most, int *reference_takes)
{
    vq_choice c;
    vq_tensor was;
    int i, n, keys = 0;
    int64_t limit = 64 * most > 1 << 22 ? 64 * most : 1 << 22;
    first_args(w);
    if (one_in(2)) set_result(NULL);
    for (i = 0; i < field_count; i++)              /* of two keys the first is any */
        if (fields[i].kind == VQ_FIELD_KEY && !keys++ && key_fields(op) > 1 && !one_in(4)) {
            const vq_key k = one_in(2) ? any_key() : vq_key_preset((vq_key_id)below(VQ_KEY_COUNT));
            memcpy(at_field(i), &k, sizeof k);
        }
    for (n = 0; n < 80 && plan(cpu, &c) != VQ_OK; n++) if (!repair(n)) return 0;
    if (n == 80) return 0;
    *reference_takes = 1;
    find_views();
    if (!first_is(VQ_FIELD_IN, w->in) || !first_is(VQ_FIELD_OUT, w->out)) return 0;
    if (!some_kernel_takes()) return 0;
    find_views();
    if (class != PLAIN && class != TINY && one_in(2)) set_experts(most);
    for (i = 0; i < field_count; i++) {            /* what need not be there */
        vq_tensor *t = (vq_tensor *)(void *)at_field(i);
        if (!is_tensor(fields[i].kind) || !t->rank || one_in(2)) continue;
        was = *t;
        memset(t, 0, sizeof *t);
        if (!all_take()) *t = was;
    }
    find_views();
    for (i = 0; i < view_count && class != PLAIN; i++) {
        const view *v = &views[i];
        if (is_scale(v) ? one_in(3) : key_of() || !one_in(3)) continue;
        was = *v->t;
        put_in_order(v->t, (vq_order)below(VQ_ORDER_COUNT));
        if (vq_tensor_bytes(*v->t) > limit || !all_take()) *v->t = was;
        find_views();
    }
    if (class == DECODE || class == PREFILL || class == PLAIN) n = 0;
    else n = 1 + (int)below(4);
    for (; n > 0; n--) {
        const view *v = &views[below(view_count)];
        was = *v->t;
        restyle(v);
        if (vq_tensor_bytes(*v->t) > limit || !all_take()) *v->t = was;
    }
    if (!all_take() || all_bytes() > 4 * limit) return 0;
    find_views();
    return view_count > 0;
}

/* What a case came to. */
typedef struct drawn { int class, preset, takes; } drawn;

/* Case n of o, of about `most` elements where it is large: it depends on t_seed, n and most alone.
   Under ops with a key, presets go round, then keys beyond them; shapes go round. 0: no kernel
   takes what was drawn. */
static int draw_case(vq_op o, int64_t n, int64_t most, drawn *d)
{
    static const vq_dtype types[] = { VQ_BF16, VQ_F16, VQ_F32, VQ_BF16 };
    const int64_t period = key_fields(o) ? VQ_KEY_COUNT * 3 / 2 : 1;
    int i;
    t_state = t_seed * UINT64_C(0xd1342543de82ef95) + (uint64_t)o * UINT64_C(0x9e3779b97f4a7c15)
            + (uint64_t)n * UINT64_C(0xbf58476d1ce4e5b9);
    t_rand();
    become(o);
    wrong = 0;
    d->class = (int)((n + n / period) % CLASSES);
    d->preset = period > 1 && n % period < VQ_KEY_COUNT ? (int)(n % period) : -1;
    d->takes = 0;
    for (i = 0; i < 24; i++) {
        wish w = anything();
        w.op = o;
        w.type = types[below(4)];
        if (d->preset >= 0) w.key = d->preset;
        else if (period > 1) { w.has_key = 1; w.of = any_key(); }
        else if (!i) {
            w.in = (int)(1 + n % (VQ_DTYPE_COUNT - 1));
            w.out = (int)(1 + n / (VQ_DTYPE_COUNT - 1) % (VQ_DTYPE_COUNT - 1));
        } else if (one_in(2)) w.in = (int)(1 + below(VQ_DTYPE_COUNT - 1));
        shape_of(d->class, most, &w);
        if (attempt(&w, d->class, most, &d->takes)) return 1;
    }
    return 0;
}

/* Contiguous, aligned arguments of this shape. 0: no kernel takes them. */
static int draw_plain(vq_op o, int key, int type, int64_t rows, int64_t cols)
{
    int i, takes = 0;
    become(o);
    wrong = 0;
    for (i = 0; i < 24; i++) {
        wish w = anything();
        w.op = o;
        w.key = key_fields(o) ? key : ANY;
        w.type = type;
        w.rows = rows;
        w.cols = cols;
        if (attempt(&w, PLAIN, rows * cols, &takes)) return 1;
    }
    return 0;
}

/* How many elements the case is about: those written, or those read where few are written. */
static int64_t elements_of_case(void)
{
    const view *in = NULL, *out = NULL;
    int64_t n;
    int i;
    for (i = 0; i < view_count; i++) {
        const view *v = &views[i];
        if (!in && v->reads) in = v;
        if (!out && v->field->kind == VQ_FIELD_OUT) out = v;
    }
    n = out ? count_of(out->t) : 0;
    return in && 4 * n < count_of(in->t) ? count_of(in->t) : n;
}

/* --- data --------------------------------------------------------------------------------------- */

static float gauss(void)               /* of four uniform ones */
{
    const uint32_t a = t_rand(), b = t_rand();
    const int32_t sum = (int32_t)((a & 0xffffu) + (a >> 16) + (b & 0xffffu) + (b >> 16));
    return (float)(sum - 131070) * (1.0f / 37837.0f);
}

static void random_bytes(char *p, size_t n)
{
    uint32_t r;
    for (; n >= 4; n -= 4, p += 4) { r = t_rand(); memcpy(p, &r, 4); }
    for (; n; n--) *p++ = (char)t_rand();
}

enum { CLEAN, FINITE, NONFINITE, ALL_BITS, IN_TURN };

/* What stretches of data are like; the first five are finite. */
enum { NORMAL, NOUGHT, TIES, ONE_HUGE, SMALL, LARGE, BROKEN, ANY_BITS, MANNERS };

/* Halfway between two codes of the key, under a scale that is a power of two. */
static float tie(const vq_key *key, float scale)
{
    const vq_dtype e = key ? key->elem : VQ_E4M3FN;
    const uint32_t c = t_rand() & ((1u << (vq_dtype_bits(e) - 1)) - 1u);
    const float a = vq_decode(e, c), b = vq_decode(e, c + 1u);
    const float v = b > a && b < 1e6f ? (a + b) / 2 : a;
    return (one_in(2) ? -v : v) * scale;
}

static void fill_floats(char *p, vq_dtype t, int64_t n, int character)
{
    static const int64_t lengths[] = { 16, 32, 64, 128, 128, 128, 512, 4096 };
    static const uint32_t broken[] = { 0x7fc00000u, 0x7f800000u, 0xff800000u, 0xffc00001u };
    const vq_key *key = key_of();
    const int bits = vq_dtype_bits(t), half = t == VQ_F16;
    const uint32_t most = t == VQ_F32 ? 0x7f7fffffu : half ? 0x7bffu : 0x7f7fu;
    const uint32_t small = t == VQ_F32 ? 0x807fffffu : half ? 0x83ffu : 0x807fu;
    const float code_max = key && key->code_max > 0 ? key->code_max : 448.0f;
    int64_t k = 0, end, i;
    if (character == ALL_BITS) { random_bytes(p, (size_t)(n * bits / 8)); return; }
    for (; character == IN_TURN && k < n; k++) vq_code_put(p + k * bits / 8, bits, 0, (uint32_t)k);
    while (k < n) {
        const int few = character == CLEAN || !one_in(3);
        const int manner = few ? NORMAL : (int)below(character == FINITE ? BROKEN : MANNERS);
        const float scale = vq__pow2((int)below(half ? 8 : 24) - (half ? 5 : 14));
        const int64_t huge = below(128);
        end = k + (one_in(4) ? 1 + below(300) : lengths[below(COUNT(lengths))]);
        if (end > n) end = n;
        for (i = k; i < end; i++) {
            float x = gauss() * scale;
            uint32_t c;
            if (manner == NOUGHT) x = one_in(2) ? -0.0f : 0.0f;
            if (manner == TIES) x = i == k ? code_max * scale : tie(key, scale);
            if (manner == LARGE) x = gauss() * (half ? 20000.0f : 1e38f);
            if (manner == BROKEN && one_in(40)) x = vq__f32_make(broken[below(4)]);
            c = vq_encode(t, x, VQ_NONFINITE);
            if (manner == SMALL) c = t_rand() & small;
            if (manner == ONE_HUGE && i == k + huge) c = most | (t_rand() & 1u) << (bits - 1);
            if (manner == ANY_BITS) c = t_rand() & (bits == 32 ? 0xffffffffu : 0xffffu);
            vq_code_put(p + i * bits / 8, bits, 0, c);
        }
        k = end;
    }
}

static void fill_scales(char *p, vq_dtype t, int64_t n, int character)
{
    static const float some[] = { 0.0f, -0.0f, 1e-45f, 1e-40f, 3.4028235e38f, 1e-10f, -1.0f };
    const int bits = vq_dtype_bits(t), calm = character == CLEAN;
    int64_t k;
    for (k = 0; k < n; k++) {
        float x = t_randf(0.5f, 1.0f) * vq__pow2((int)below(calm ? 6 : 24) - (calm ? 7 : 14));
        uint32_t c;
        if (one_in(4)) x = vq__pow2((int)below(8) - 6);
        if (character >= FINITE && one_in(50)) x = some[below(COUNT(some))];
        if (character >= NONFINITE && one_in(50)) x = vq__f32_make(one_in(2) ? 0x7fc00000u : 0x7f800000u);
        c = vq_encode(t, x, VQ_NONFINITE);
        if (character >= ALL_BITS && one_in(4)) c = t_rand();
        vq_code_put(p + k * bits / 8, bits, 0, c);
    }
}

/* How many rows a count may speak of. */
static int64_t rows_of_case(void)
{
    const vq_tensor *t = views[0].t;
    return t->rank > 1 ? t->shape[t->rank - 2] : t->shape[0];
}

static int counts_beyond;              /* all rows of all experts are there */

static void fill_case(int character)
{
    int i;
    int64_t k;
    for (i = 0; i < view_count; i++) {
        const view *v = &views[i];
        const vq_dtype t = v->t->dtype;
        const int bits = vq_dtype_bits(t);
        const int mine = i == 0 || one_in(2) ? character : CLEAN;
        char *p = blocks[v->block].host + blocks[v->block].at;
        if (!v->reads) continue;
        random_bytes(p, (size_t)v->bytes);
        if (t == VQ_INT32)
            for (k = 0; k + 4 <= v->bytes; k += 4) {
                const int64_t most = rows_of_case();
                int64_t n = one_in(3) ? most : below(most + 1);
                if (one_in(12)) n = one_in(2) ? -1 - below(1 << 30) : most + 1 + below(1 << 30);
                vq_code_put(p + k, 32, 0, counts_beyond ? 0x7fffffffu : (uint32_t)n);
            }
        else if (t == VQ_INT64)
            for (k = 0; k + 8 <= v->bytes; k += 8) memset(p + k + 3, 0, 5);
        else if (bits >= 8 && (is_wide(t) || is_scale(v)) && t != VQ_INT8 && t != VQ_UINT8) {
            if (is_scale(v)) fill_scales(p, t, v->bytes * 8 / bits, mine);
            else fill_floats(p, t, v->bytes * 8 / bits, mine);
        }
        for (k = 0; mine == CLEAN && t >= VQ_E4M3FN && t <= VQ_E5M2FNUZ && k < v->bytes; k++)
            if (isnan(vq_decode(t, (uint8_t)p[k]))) p[k] = 0x38;
    }
}

static int any_character(void)
{
    const int64_t n = below(20);
    return n < 8 ? CLEAN : n < 13 ? FINITE : n < 16 ? NONFINITE : n < 18 ? ALL_BITS : IN_TURN;
}

/* --- memory ------------------------------------------------------------------------------------- */

static struct { char *host, *want, *device; size_t room, used; } arena;

static int reserve(size_t n)
{
    if (n <= arena.room) return 1;
    free(arena.host);
    free(arena.want);
    vq_mem_free(gpu, arena.device);
    n += n / 2;
    arena.host = (char *)malloc(n);
    arena.want = (char *)malloc(n);
    arena.device = separate ? NULL : (char *)vq_mem_alloc(gpu, n);
    arena.room = n;
    if (arena.host && arena.want && (separate || arena.device)) return 1;
    arena.room = 0;
    complain("no memory: %ld bytes", (long)n);
    return 0;
}

static void close_gpu(void)
{
    free(arena.host);
    free(arena.want);
    vq_mem_free(gpu, arena.device);
    memset(&arena, 0, sizeof arena);
    if (driver.there && stream) driver.stream_destroy(stream);
    stream = NULL;
    vq_free(gpu);
    gpu = NULL;
}

static int all_apart;                  /* no tensor lies in its input */

/* Where each tensor lies. One that may be its input is, half of the time. */
static int lay_out(int aligned)
{
    size_t at = 0;
    int i, j;
    for (block_count = 0, i = 0; i < view_count; i++) {
        view *v = &views[i];
        block *b = &blocks[block_count];
        v->bytes = vq_tensor_bytes(*v->t);
        for (v->block = -1, j = 0; v->field->twin && !all_apart && j < i; j++)
            if (!strcmp(views[j].field->name, v->field->twin) && same_view(v->t, views[j].t)
                && one_in(2)) v->block = views[j].block;
        if (v->block >= 0) continue;
        v->block = block_count++;
        memset(b, 0, sizeof *b);
        b->at = separate ? 0 : GUARD;
        if (!aligned) b->at += (size_t)below(16);
        else if (one_in(4)) b->at += 16;
        b->bytes = b->at + (size_t)v->bytes + (separate ? 0 : GUARD);
        b->bytes = separate ? b->bytes + !b->bytes : (size_t)up((int64_t)b->bytes, 256);
        at += (size_t)up((int64_t)b->bytes, 256);
    }
    if (!reserve(at)) return 0;
    arena.used = at;
    for (at = 0, i = 0; i < block_count; i++) {
        block *b = &blocks[i];
        b->host = arena.host + at;
        b->want = arena.want + at;
        b->device = separate ? (char *)vq_mem_alloc(gpu, b->bytes) : arena.device + at;
        at += (size_t)up((int64_t)b->bytes, 256);
        if (!b->device) { complain("no memory"); return 0; }
    }
    random_bytes(arena.host, arena.used);
    return 1;
}

static void release(void)
{
    for (; block_count; block_count--)
        if (separate) vq_mem_free(gpu, blocks[block_count - 1].device);
}

/* Is it all of its block that an op writes? Then the block need not be there before, and
   initcheck sees a kernel that reads it. */
static int is_blank(int n)
{
    int i, ones = 0;
    for (i = 0; i < view_count; i++) {
        const vq_tensor *t = views[i].t;
        if (t->dtype == VQ_INT32 || is_empty(t)) return 0;     /* counts, or nothing: not all is written */
        if (views[i].block != n) continue;
        ones++;
        if (views[i].reads || t->layout != VQ_STRIDED || (int64_t)blocks[n].bytes != views[i].bytes
            || views[i].bytes * 8 != up(count_of(t) * vq_dtype_bits(t->dtype), 8)) return 0;
    }
    return ones == 1;
}

static int upload(void)
{
    int i;
    if (!separate) return vq_mem_copy(gpu, arena.device, arena.host, arena.used) == VQ_OK && settled();
    for (i = 0; i < block_count; i++)
        if (!is_blank(i)
            && vq_mem_copy(gpu, blocks[i].device, blocks[i].host, blocks[i].bytes) != VQ_OK) return 0;
    return settled();
}

static int download(void)
{
    int i;
    if (!settled()) return 0;
    if (!separate) return vq_mem_copy(gpu, arena.host, arena.device, arena.used) == VQ_OK;
    for (i = 0; i < block_count; i++)
        if (vq_mem_copy(gpu, blocks[i].host, blocks[i].device, blocks[i].bytes) != VQ_OK) return 0;
    return 1;
}

/* --- running and comparing ---------------------------------------------------------------------- */

/* What the reference makes of the data in the arena. */
static int run_reference(void)
{
    vq_call *call = call_of(args);
    const vq_call was = *call;
    vq_choice c;
    int i, failed;
    memcpy(arena.want, arena.host, arena.used);
    memset(call, 0, sizeof *call);
    call->report = &why;
    for (i = 0; i < view_count; i++) {
        views[i].t->where = VQ_HOST;
        views[i].t->data = blocks[views[i].block].want + blocks[views[i].block].at;
    }
    memset(result, 0, sizeof result);
    failed = plan(cpu, &c) || vq_run(cpu, &c, args);
    *call = was;
    if (failed) { complain("the reference: %s", why.text); return 0; }
    memcpy(want_result, result, sizeof result);
    return 1;
}

/* Arguments that point into the device; *c with a workspace. */
static int plan_on_gpu(vq_choice *c, void **space)
{
    vq_call *call = call_of(args);
    int i;
    for (i = 0; i < view_count; i++) {
        views[i].t->where = one_in(8) ? VQ_MANAGED : VQ_DEVICE;
        views[i].t->data = blocks[views[i].block].device + blocks[views[i].block].at;
    }
    call->policy.only = one_in(2) ? impl : NULL;
    *space = NULL;
    if (plan(gpu, c)) { complain("%s", why.text); return 0; }
    if (c->workspace_bytes) {
        *space = vq_mem_alloc(gpu, c->workspace_bytes);
        if (!*space) { complain("no workspace"); return 0; }
    }
    call->workspace = *space;
    call->workspace_bytes = c->workspace_bytes;
    call->stream = NULL;
    memset(result, 0, sizeof result);
    return 1;
}

static void unplan(void *space)
{
    vq_call *call = call_of(args);
    vq_mem_free(gpu, space);
    call->workspace = call->stream = NULL;
    call->workspace_bytes = 0;
    call->policy.only = NULL;
}

static void say_where(int n)
{
    block *b = &blocks[n];
    size_t k, shown = 0;
    int i;
    b->use = (uint8_t *)calloc(b->bytes, 1);
    for (i = 0; b->use && i < view_count; i++) if (views[i].block == n) walk(views[i].t, mark, &views[i]);
    for (k = 0; b->use && k < b->bytes && shown < 3; k++)
        if (b->host[k] != b->want[k] && ++shown)
            complain("%s, byte %ld of its %s: %02x, and the reference has %02x", name_of_block(n),
                     (long)k - (long)b->at, b->use[k] ? "elements" : "gaps", (uint8_t)b->host[k],
                     (uint8_t)b->want[k]);
    free(b->use);
    b->use = NULL;
}

/* The device's bytes beside the reference's: how many differ. */
static int64_t compare_case(void)
{
    int64_t differ = 0, here;
    size_t k;
    int i, j;
    if (memcmp(result, want_result, sizeof result)) { complain("the result differs"); differ++; }
    for (i = 0; i < block_count; i++) {
        block *b = &blocks[i];
        if (!memcmp(b->host, b->want, b->bytes)) continue;
        for (j = 0; j < view_count; j++)
            if (views[j].block == i && views[j].writes && is_wide(views[j].t->dtype))
                walk(views[j].t, level, &views[j]);
        for (here = 0, k = 0; k < b->bytes; k++) here += b->host[k] != b->want[k];
        if (here) complain("%s: %lld bytes differ", name_of_block(i), (long long)here);
        if (here) say_where(i);
        differ += here;
    }
    return differ;
}

/* The case that was drawn: filled, run on both, compared. -1: the device failed. */
static int64_t run_case(int aligned, int character)
{
    vq_choice c;
    void *space = NULL;
    int64_t differ = 0;
    int done = 0;
    if (lay_out(aligned)) {
        fill_case(character);
        done = run_reference() && upload() && plan_on_gpu(&c, &space);
    }
    if (done) {
        if (one_in(2)) call_of(args)->stream = stream;
        if (vq_run(gpu, &c, args)) { complain("%s", why.text); done = 0; }
        else if (!download()) { complain("the device failed while it ran"); done = 0; }
        else differ = compare_case();
    }
    unplan(space);
    release();
    return done ? differ : -1;
}

/* differ.h is for fuzz_kernels.c too: what is of no use here. */
static inline void not_used(void)
{
    (void)start_machines; (void)stop_machines; (void)try_case; (void)t_main; (void)gauss;
}

#endif
