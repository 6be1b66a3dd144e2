/* device.c - a GPU beside the reference: the same bytes, on the hardware itself

     make cuda && make device           (make hip on AMD)

   usage: device [--list] [--only NAME] [--quick | --sanitize] [--elements N] [--seconds S]
                 [--workers N] [--huge N] [--seed N] [--case N]

   Not part of `make test`: it needs a GPU and fails without one. VQ_TEST_LIBRARY names a kernel
   library other than the one that vq_init() finds; the stand-in of tests/standin is one.

   First every op that has a GPU row, over cases that device_cases.h makes until N elements (10^9)
   were compared byte by byte: presets and keys beyond them, types, layouts, shapes, strides, data.
   Then what a sample does not show: all 2^32 conversions, all 16-bit activations, graphs, streams,
   memory, calls of more than 2^31 elements, refusals, failing launches.

     --only NAME   one op, `ops` for all of them, or the tests that have NAME in theirs
     --quick       10^7 elements an op
     --sanitize    for compute-sanitizer: one process, an allocation a tensor, small cases of all
                   ops for --seconds (40) in all, and no other test
     --seconds S   an op stops after its share of S, and says what it is short of N
     --workers N   processes, each with a context of its own: 16, or as many as there are cores;
                   0: all in this one
     --huge N      elements of a large call (beyond 2^31; on the stand-in 200000)
     --case N      this case of the op alone, with the --seed and --elements that it was seen with */
#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 700
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "device_cases.h"

enum { MOST_WORKERS = 64, SKIPPED = 77, FAILED = 1, NO_GPU = 4, STUCK_SECONDS = 180 };

static int     workers = -1, sanitize;
static int64_t goal = 1000000000, huge, one_case = -1;
static double  seconds;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- what all processes see ----------------------------------------------------------------- */

typedef struct tally {
    int64_t next, elements, cases, beyond, unserved, differ, failed, by_impl[IMPLS];
    uint8_t taken[VQ_KEY_COUNT], served[VQ_KEY_COUNT];
    double  began, ended;
    int     over, finished;            /* no more cases; workers that are past it */
} tally;

typedef struct slot { int op; int64_t n; double since; } slot;

static struct board {
    tally   of[VQ_OP_COUNT];
    slot    at[MOST_WORKERS];
    int64_t next, done, wrong;
} *board;

static int64_t add(int64_t *p, int64_t n) { return __sync_fetch_and_add(p, n); }

/* --- workers -------------------------------------------------------------------------------- */

static int run_here(void (*work)(int), int number)
{
    t_failed = 0;
    t_skipped = NULL;
    t_state = t_seed;
    if (!open_gpu()) return NO_GPU;
    work(number);
    return t_failed ? FAILED : t_skipped ? SKIPPED : 0;
}

static pid_t start_worker(void (*work)(int), int number)
{
    pid_t p;
    fflush(stdout);
    p = fork();
    if (p) return p;
    number = run_here(work, number);
    if (t_skipped) printf("%s ", t_skipped);
    close_gpu();
    fflush(stdout);
    _exit(number);
}

/* work(0 .. n - 1), each in a process of its own, for no context outlives a kernel that fails; one
   that ended so is started again, a few times, where `again` says that its work goes on. While they
   are at it `watch` is called. The worst exit status. */
static int crew(void (*work)(int), int n, void (*watch)(void), int (*again)(int))
{
    pid_t pid[MOST_WORKERS];
    int i, running = n, worst = 0, restarts = 0;
    if (!n) return run_here(work, 0);
    for (i = 0; i < n; i++) {
        board->at[i].op = 0;
        pid[i] = start_worker(work, i);
    }
    while (running) {
        for (i = 0; i < n; i++) {
            int status, code;
            slot *s = &board->at[i];
            if (!pid[i]) continue;
            if (s->op && now() - s->since > STUCK_SECONDS) {
                printf("\n    %s, case %lld: no end after %d s", vq_op_str((vq_op)s->op), (long long)s->n,
                       STUCK_SECONDS);
                s->since = now();
                kill(pid[i], SIGKILL);
            }
            if (waitpid(pid[i], &status, WNOHANG) != pid[i]) continue;
            code = WIFEXITED(status) ? WEXITSTATUS(status) : FAILED;
            pid[i] = 0;
            running--;
            if (WIFSIGNALED(status)) printf("\n    a worker ended by signal %d\n", WTERMSIG(status));
            if (code && code != NO_GPU && again && again(i) && restarts++ < MOST_WORKERS) {
                pid[i] = start_worker(work, i);
                running++;
            }
            if (code > worst) worst = code;
        }
        if (watch) watch();
        usleep(running ? 20000 : 0);
    }
    return worst;
}

/* --- every op, over many cases -------------------------------------------------------------- */

static vq_op swept[VQ_OP_COUNT];
static int   swept_count;

/* Elements of a large case: some thousand cases make the goal. */
static int64_t most_of(void)
{
    const int64_t most = sanitize ? 4096 : goal / 800;
    return most < 2048 ? 2048 : most;
}

static void one(vq_op o, int64_t n, tally *t)
{
    drawn d;
    int64_t differ;
    int i;
    const int silent = t->failed < 5 ? 0 : 100;        /* that many complaints are none */
    const int drawn_one = draw_case(o, n, most_of(), &d);
    if (d.preset >= 0 && d.takes) t->taken[d.preset] = 1;
    if (!drawn_one) { add(&t->unserved, d.takes); return; }
    wrong = silent;
    differ = run_case(d.class != VIEWS && d.class != TINY && (d.class != RAGGED || one_in(2)),
                      any_character());
    if (wrong > silent) {
        if (add(&t->failed, 1) < 5) {
            printf("    repeat with --only %s --seed %llu --elements %lld --case %lld%s\n", vq_op_str(o),
                   (unsigned long long)t_seed, (long long)goal, (long long)n, sanitize ? " --sanitize" : "");
            fflush(stdout);
        }
        add(&t->differ, differ > 0 ? differ : 0);
    }
    if (differ < 0) {
        if (!workers) { t->over = 1; return; }
        fflush(stdout);
        _exit(FAILED);                 /* with a context that may be lost */
    }
    add(&t->cases, 1);
    add(&t->elements, elements_of_case());
    if (d.preset >= 0) t->served[d.preset] = 1;
    else if (key_of()) add(&t->beyond, 1);
    for (i = 0; i < IMPLS; i++) {
        const char *name = gpu_impl(i);
        if (name && !strcmp(name, impl)) add(&t->by_impl[i], 1);
    }
}

static void sweep(int worker)
{
    const double share = seconds / (swept_count ? swept_count : 1);
    slot *s = &board->at[worker];
    int i;
    for (i = 0; i < swept_count; i++) {
        tally *t = &board->of[swept[i]];
        const int64_t period = key_fields(swept[i]) ? VQ_KEY_COUNT * 3 / 2 : 1;
        const int64_t least = 3 * CLASSES * (period > 1 ? period : 40);
        const int64_t stride = sanitize ? 41 : 1;      /* few cases: not the first keys alone */
        double t0 = now();
        if (s->op > (int)swept[i]) continue;           /* started again */
        if (!t->began) t->began = t0;
        while (!t->over) {
            const int64_t n = one_case >= 0 ? one_case : add(&t->next, 1) * stride;
            s->op = (int)swept[i];
            s->n = n;
            s->since = now();
            one(swept[i], n, t);
            if (one_case >= 0) t->over = 1;
            if (seconds > 0 && now() - t->began > share) t->over = 1;
            if (!sanitize && t->elements >= goal && t->next >= least) t->over = 1;
            if (n > 100 * least * stride || (n > least && !t->cases)) t->over = 1;
            if (t->failed > 20) t->over = 1;
        }
        s->op = (int)swept[i] + 1;
        s->since = now() + 1e9;
        t->ended = now();
        __sync_fetch_and_add(&t->finished, 1);
    }
}

/* What a worker that ended was at; few such cases end the op. */
static int sweep_goes_on(int worker)
{
    const slot *s = &board->at[worker];
    tally *t;
    if (!s->op || s->op >= VQ_OP_COUNT) return 0;
    t = &board->of[s->op];
    if (add(&t->failed, 1) > 5) t->over = 1;
    t->ended = now();
    printf("    a worker stopped in %s, case %lld, --seed %llu --elements %lld\n", vq_op_str((vq_op)s->op),
           (long long)s->n, (unsigned long long)t_seed, (long long)goal);
    return 1;
}

/* The row of an op in the report; how many presets the reference takes and no kernel did. */
static int say_op(vq_op o)
{
    const tally *t = &board->of[o];
    int i, taken = 0, served = 0, impls = 0, good;
    for (i = 0; i < VQ_KEY_COUNT; i++) { taken += t->taken[i]; served += t->served[i]; }
    for (i = 0; i < IMPLS; i++) impls += t->by_impl[i] > 0;
    good = !t->failed && !t->differ && t->cases > 0 && t->finished > 0
        && (t->elements >= goal || sanitize || seconds > 0 || one_case >= 0);
    printf("  %-24s %13lld elements %7lld cases", vq_op_str(o), (long long)t->elements,
           (long long)t->cases);
    if (key_fields(o)) printf(", %d of %d presets, %lld other keys", served, taken, (long long)t->beyond);
    for (i = 0; impls > 1 && i < IMPLS; i++)
        if (t->by_impl[i]) printf(", row %d: %lld", i, (long long)t->by_impl[i]);
    if (t->elements < goal && !sanitize && one_case < 0) printf(", short of %lld", (long long)goal);
    printf("; %lld bytes differ, %lld cases failed, %.1f s  %s\n", (long long)t->differ,
           (long long)t->failed, t->ended - t->began, good ? "ok" : "FAILED");
    fflush(stdout);
    return good;
}

static int    said, said_good;
static double said_at;

static void watch_sweep(void)
{
    while (said < swept_count && board->of[swept[said]].finished >= (workers ? workers : 1))
        said_good += say_op(swept[said++]);
    if (said < swept_count && now() - said_at > 15) {
        const tally *t = &board->of[swept[said]];
        if (said_at > 0) printf("    %s: %lld elements, %lld cases, %.0f s\n", vq_op_str(swept[said]),
                            (long long)t->elements, (long long)t->cases, t->began > 0 ? now() - t->began : 0);
        fflush(stdout);
        said_at = now();
    }
}

/* --- every input of a conversion ------------------------------------------------------------ */

enum { CHUNK = 1 << 24 };

/* Is this an overflow mode of the format? Those without infinity and NaN have one. */
static int has_mode(vq_dtype t, int overflow)
{
    return !overflow || !(t == VQ_INT8 || t == VQ_UINT8 || t == VQ_INT4 || t == VQ_UINT4 || t == VQ_E2M1
                          || t == VQ_E2M3 || t == VQ_E3M2);
}

static void all_f32(int worker)
{
    const int64_t n = on_standin() ? 1 << 12 : CHUNK, chunks = (INT64_C(1) << 32) / CHUNK;
    const int64_t step = goal < 1000000000 || on_standin() ? 37 : 1;
    uint32_t *in = (uint32_t *)malloc((size_t)n * 4);
    char *got = (char *)malloc((size_t)n * 4), *want = (char *)malloc((size_t)n * 4);
    void *dx = vq_mem_alloc(gpu, (size_t)n * 4), *dy = vq_mem_alloc(gpu, (size_t)n * 4);
    int64_t at, i;
    int t, o;
    (void)worker;
    CHECK(in && got && want && dx && dy);
    while ((at = add(&board->next, 1) * step) < chunks) {
        for (i = 0; i < n; i++) in[i] = (uint32_t)(at * CHUNK + i);
        CHECK(vq_mem_copy(gpu, dx, in, (size_t)n * 4) == VQ_OK);
        for (t = VQ_F16; t < VQ_INT32; t++)
            for (o = 0; o < 2; o++) {
                vq_cast_args a = VQ_ZERO, b;
                const size_t bytes = (size_t)(n * vq_dtype_bits((vq_dtype)t) / 8);
                int64_t apart = 0;
                if (!has_mode((vq_dtype)t, o)) continue;
                a.overflow = (vq_overflow)o;
                a.call.report = &why;
                b = a;
                a.x = vq_tensor_2d(in, VQ_F32, 1, n, VQ_HOST);
                a.y = vq_tensor_2d(want, (vq_dtype)t, 1, n, VQ_HOST);
                b.x = vq_tensor_2d(dx, VQ_F32, 1, n, VQ_DEVICE);
                b.y = vq_tensor_2d(dy, (vq_dtype)t, 1, n, VQ_DEVICE);
                CHECKF(vq_cast(cpu, &a) == VQ_OK, "%s", why.text);
                CHECKF(vq_cast(gpu, &b) == VQ_OK, "%s", why.text);
                CHECK(vq_mem_copy(gpu, got, dy, bytes) == VQ_OK);
                if (memcmp(got, want, bytes))
                    for (i = 0; i < n; i++) {
                        const int bits = vq_dtype_bits((vq_dtype)t);
                        const uint32_t c = vq_code_get(got, bits, i), d = vq_code_get(want, bits, i);
                        const uint32_t quiet = t == VQ_F16 ? 0x7e00u : 0x7fc0u;
                        apart += c != d && !(bits == 16 && (c & quiet) == quiet && (d & quiet) == quiet);
                    }
                CHECKF(!apart, "%s, overflow %d, from %08llx: %lld differ", vq_dtype_str((vq_dtype)t), o,
                       (unsigned long long)(at * CHUNK), (long long)apart);
                add(&board->wrong, apart);
                add(&board->done, n);
            }
    }
    vq_mem_free(gpu, dx);
    vq_mem_free(gpu, dy);
    free(in);
    free(got);
    free(want);
}

/* --- every input of an activation ----------------------------------------------------------- */

enum { CODES = 65536 };

/* One op whose fields are set but for memory: x of nx bytes, y of ny, of type ty. */
static int64_t same_act(vq_op o, void *a, vq_tensor *x, vq_tensor *y, char *memory, char *device)
{
    const size_t nx = (size_t)vq_tensor_bytes(*x), ny = (size_t)vq_tensor_bytes(*y);
    char *want = memory + nx, *got = want + ny;
    vq_choice c;
    int64_t apart = 0;
    size_t k;
    const size_t size = (size_t)vq_dtype_bits(y->dtype) / 8;
    ((vq_call *)a)->report = &why;
    x->where = y->where = VQ_HOST;
    x->data = memory;
    y->data = want;
    CHECKF(vq_plan(cpu, o, a, &c) == VQ_OK && vq_run(cpu, &c, a) == VQ_OK, "%s", why.text);
    x->where = y->where = VQ_DEVICE;
    x->data = device;
    y->data = device + nx;
    CHECK(vq_mem_copy(gpu, device, memory, nx) == VQ_OK);
    if (vq_plan(gpu, o, a, &c) || vq_run(gpu, &c, a)) { CHECKF(0, "%s", why.text); return -1; }
    CHECK(vq_mem_copy(gpu, got, device + nx, ny) == VQ_OK);
    if (!memcmp(got, want, ny)) return 0;
    for (k = 0; k < ny; k += size) {
        const uint32_t quiet = size == 4 ? 0x7fc00000u : y->dtype == VQ_F16 ? 0x7e00u : 0x7fc0u;
        const uint32_t g = vq_code_get(got + k, (int)size * 8, 0);
        const uint32_t w = vq_code_get(want + k, (int)size * 8, 0);
        if (g == w || ((g & quiet) == quiet && (w & quiet) == quiet)) continue;
        if (!apart++) CHECKF(0, "element %ld: %x, and the reference has %x", (long)(k / size), g, w);
    }
    return apart;
}

static void every_16_bit_activation(int worker)
{
    static const vq_dtype types[] = { VQ_BF16, VQ_F16 };
    const int64_t cols = on_standin() ? 64 : 1024, rows = CODES / 1024;
    char *memory = (char *)malloc(CODES * 16), *device;
    int act, t, to, gate, mid, limit, round;
    int64_t runs = 0, k;
    (void)worker;
    if (!has_kernel(VQ_OP_ACT) || !has_kernel(VQ_OP_ACT_MUL)) { free(memory); SKIP("no GPU row"); }
    device = (char *)vq_mem_alloc(gpu, CODES * 16);
    for (t = 0; t < 2; t++)
        for (to = 0; to < 2; to++)
            for (act = 0; act < VQ_ACT_COUNT; act++) {
                vq_act_args a = VQ_ZERO;
                vq_act_mul_args m = VQ_ZERO;
                a.act = m.act = (vq_act_kind)act;
                a.x = vq_tensor_2d(NULL, types[t], rows, cols, VQ_HOST);
                a.y = vq_tensor_2d(NULL, to ? VQ_F32 : types[t], rows, cols, VQ_HOST);
                for (k = 0; k < rows * cols; k++)
                    vq_code_put(memory, 16, k, (uint32_t)(k * (CODES / (rows * cols))));
                if (act != VQ_ACT_SWIGLU_OAI) same_act(VQ_OP_ACT, &a, &a.x, &a.y, memory, device);
                m.x = vq_tensor_2d(NULL, types[t], rows, 2 * cols, VQ_HOST);
                m.y = a.y;
                if (act == VQ_ACT_SWIGLU_OAI) { m.alpha = 1.702f; m.plus = 1.0f; }
                for (gate = 0; gate < VQ_GATE_COUNT; gate++)
                    for (mid = 0; mid < 2; mid++)
                        for (limit = 0; limit < 2; limit++)
                            for (round = 0; round < 4; round++, runs++) {
                                m.gate = (vq_gate)gate;
                                m.mid = mid ? VQ_F32 : VQ_NONE;
                                m.limit = limit ? 7.0f : 0.0f;
                                for (k = 0; k < 2 * rows * cols; k++) {
                                    const int64_t r = k / (2 * cols), c = k % (2 * cols);
                                    const int first = gate == VQ_GATE_EVEN ? c % 2 == 0
                                                    : (gate == VQ_GATE_FIRST) == (c < cols);
                                    const int64_t j = gate == VQ_GATE_EVEN ? c / 2 : c % cols;
                                    const int64_t i = r * cols + j;
                                    uint32_t code = (uint32_t)(i * (CODES / (rows * cols)));
                                    if (first == (round == 3))
                                        code = round == 0 ? vq_encode(types[t], 1.0f, VQ_NONFINITE)
                                             : round == 1 ? t_rand() & 0xffffu
                                             : vq_encode(types[t], 3.0f * gauss(), VQ_NONFINITE);
                                    vq_code_put(memory, 16, k, code);
                                }
                                if (same_act(VQ_OP_ACT_MUL, &m, &m.x, &m.y, memory, device) && t_failed > 20)
                                    goto out;
                            }
            }
out:
    printf("[%lld runs of all codes] ", (long long)runs);
    vq_mem_free(gpu, device);
    free(memory);
}

/* --- the contract --------------------------------------------------------------------------- */

static const int plain_keys[] = { VQ_KEY_FP8_GROUP128, VQ_KEY_FP8_STATIC, VQ_KEY_FP8_TENSOR,
                                  VQ_KEY_FP8_TOKEN, VQ_KEY_FP8_BLOCK128, VQ_KEY_MXFP4, VQ_KEY_NVFP4,
                                  VQ_KEY_INT8_TOKEN_AZP, VQ_KEY_VLLM_PACKED_UE8M0 };

/* Does a row depend on no other? */
static int rows_stand_alone(void)
{
    const vq_key *k = key_of();
    return !k || k->group_rows == 1 || k->flags & VQ_KEY_STATIC;
}

/* EACH(o, i): the body, for every op with a kernel and a few keys of it, i-th of them. */
#define EACH_KEY(o, i) \
    for (o = 1; o < VQ_OP_COUNT; o++) \
        for (i = 0; has_kernel((vq_op)o) && i < (key_fields((vq_op)o) ? COUNT(plain_keys) : 2); i++)

static void no_key_lacks_a_kernel(int worker)
{
    int o, k, lacking = 0, count = 0;
    (void)worker;
    for (o = 1; o < VQ_OP_COUNT; o++)
        for (k = 0; key_fields((vq_op)o) && has_kernel((vq_op)o) && k < VQ_KEY_COUNT; k++) {
            int i, takes = 0, served = 0;
            become((vq_op)o);
            for (i = 0; i < 24 && !served; i++) {
                wish w = anything();
                w.op = o;
                w.key = k;
                w.type = VQ_BF16;
                w.rows = 8;
                w.cols = 4096;
                served = attempt(&w, PLAIN, 1 << 15, &takes);
            }
            count += takes;
            if (!takes || served) continue;
            if (lacking++ < 400)
                printf("\n    %s: no kernel takes %s", vq_op_str((vq_op)o), vq_key_name((vq_key_id)k));
        }
    CHECKF(!lacking, "%d of %d", lacking, count);
    if (!lacking) printf("[%d keys of ops] ", count);
}

/* Data into the arena, and what the reference makes of it. */
static int new_data(int character)
{
    fill_case(character);
    return run_reference();
}

static void compare_all(const char *what)
{
    CHECK(download());
    wrong = 0;
    CHECKF(!compare_case(), "%s of %s", what, vq_op_str(op));
}

static void a_captured_call_replays_with_new_data(int worker)
{
    int o, i, round, graphs = 0, most_nodes = 0;
    (void)worker;
    if (!driver.there) SKIP("no driver: nothing captures");
    EACH_KEY(o, i) {
        void *space = NULL, *graph = NULL, *exec = NULL, *nodes[64];
        size_t n = 64, k;
        vq_choice c;
        if (!draw_plain((vq_op)o, plain_keys[i % COUNT(plain_keys)], VQ_BF16, 37, 4096)) continue;
        drop_result();
        if (!lay_out(i % 2) || !new_data(CLEAN) || !upload() || !plan_on_gpu(&c, &space)) {
            release();
            continue;
        }
        call_of(args)->stream = stream;
        CHECK(!driver.begin_capture(stream, CAPTURE_GLOBAL));
        CHECKF(vq_run(gpu, &c, args) == VQ_OK, "%s: %s", vq_op_str(op), why.text);
        CHECKF(!driver.end_capture(stream, &graph) && graph, "%s", vq_op_str(op));
        if (graph && !driver.graph_nodes(graph, nodes, &n)) {
            CHECKF(n >= 1, "%s: an empty graph: another stream?", vq_op_str(op));
            if ((int)n > most_nodes) most_nodes = (int)n;
            for (k = 0; k < n && k < 64; k++) {
                int type = -1;
                CHECK(!driver.node_type(nodes[k], &type));
                CHECKF(type == NODE_KERNEL || type == NODE_MEMSET || type == NODE_MEMCPY,
                       "%s: node of type %d", vq_op_str(op), type);
            }
        }
        memcpy(arena.want, arena.host, arena.used);
        compare_all("capturing runs nothing:");
        CHECK(graph && !driver.instantiate(&exec, graph, 0));
        for (round = 0; exec && round < 3; round++) {
            if (!new_data(round == 1 ? FINITE : CLEAN)) break;
            CHECK(upload());
            CHECK(!driver.graph_launch(exec, stream) && !driver.stream_wait(stream));
            compare_all("a replay");
        }
        graphs += exec != NULL;
        if (exec) driver.exec_destroy(exec);
        if (graph) driver.graph_destroy(graph);
        unplan(space);
        release();
    }
    printf("[%d graphs of at most %d nodes] ", graphs, most_nodes);
    CHECK(graphs > 0);
}

/* All inputs, counts and scales among them, are written on the device just before, on the stream of
   the call, which is busy for so long that a call that did not wait its turn would read what was
   there before. */
static void a_call_takes_its_turn_on_its_stream(int worker)
{
    const size_t busy = (size_t)1 << 32;
    char *delay;
    int o, i, calls = 0;
    (void)worker;
    if (!driver.there) SKIP("no driver: no streams");
    delay = (char *)vq_mem_alloc(gpu, busy);
    CHECK(delay != NULL);
    EACH_KEY(o, i) {
        void *space = NULL;
        char *fresh;
        vq_choice c;
        if (!draw_plain((vq_op)o, plain_keys[i % COUNT(plain_keys)], VQ_BF16, 37, 4096)) continue;
        drop_result();
        if (!lay_out(1) || !new_data(CLEAN) || !upload() || !new_data(CLEAN)
            || !plan_on_gpu(&c, &space)) { release(); continue; }
        fresh = (char *)vq_mem_alloc(gpu, arena.used);
        CHECK(fresh && vq_mem_copy(gpu, fresh, arena.host, arena.used) == VQ_OK && settled());
        call_of(args)->stream = stream;
        CHECK(!driver.set_async(delay, (unsigned char)i, busy, stream));
        CHECK(!driver.copy_async(arena.device, fresh, arena.used, stream));
        CHECKF(vq_run(gpu, &c, args) == VQ_OK, "%s", why.text);
        CHECK(!driver.stream_wait(stream));
        compare_all("in a busy stream, the bytes");
        calls++;
        vq_mem_free(gpu, fresh);
        unplan(space);
        release();
    }
    vq_mem_free(gpu, delay);
    printf("[%d calls] ", calls);
    CHECK(calls > 0);
}

static void a_call_leaves_memory_as_it_is(int worker)
{
    int o, i, n, calls = 0;
    (void)worker;
    EACH_KEY(o, i) {
        void *space = NULL;
        size_t before = 0, after = 0, total;
        vq_choice c;
        vq_mem mem;
        if (!draw_plain((vq_op)o, plain_keys[i % COUNT(plain_keys)], VQ_BF16, 5, 512)) continue;
        if (!lay_out(1) || !new_data(CLEAN) || !upload() || !plan_on_gpu(&c, &space)) {
            release();
            continue;
        }
        CHECK(vq_run(gpu, &c, args) == VQ_OK && settled());    /* code is loaded at its first use */
        mem = vq_mem_used(gpu);
        if (driver.there) CHECK(!driver.mem_info(&before, &total));
        for (n = 0; n < (on_standin() ? 3 : 50); n++, calls++) CHECK(vq_run(gpu, &c, args) == VQ_OK);
        CHECK(settled());
        if (driver.there) CHECK(!driver.mem_info(&after, &total));
        CHECKF(before == after, "%s: %lld bytes less", vq_op_str(op), (long long)before - (long long)after);
        CHECK(vq_mem_used(gpu).live == mem.live);
        unplan(space);
        release();
    }
    printf("[%d calls] ", calls);
    CHECK(calls > 0);
}

/* One argument spoilt, in a way that the plan or the run refuses: nothing is written. */
static void what_is_refused_is_not_begun(int worker)
{
    static uint64_t keep[COUNT(args)];
    int o, i, v, s, refused = 0;
    (void)worker;
    EACH_KEY(o, i) {
        void *space = NULL;
        vq_choice c;
        if (!draw_plain((vq_op)o, plain_keys[i % COUNT(plain_keys)], VQ_BF16, 9, 512)) continue;
        if (!lay_out(1) || !new_data(CLEAN) || !upload() || !plan_on_gpu(&c, &space)) {
            release();
            continue;
        }
        for (v = 0; v < view_count; v++) views[v].t->where = VQ_DEVICE;
        memcpy(keep, args, sizeof args);
        for (v = 0; v < view_count; v++)
            for (s = 0; s < 8; s++) {
                vq_tensor *t = views[v].t;
                const int writes = views[v].writes;
                switch (s) {
                case 0: t->data = NULL; break;
                case 1: t->dtype = VQ_INT64; break;
                case 2: t->shape[t->rank - 1] += 1000000007; break;
                case 3: if (t->shape[0] < 2) continue;               /* else it counts for nothing */
                        t->stride[0] = 0; break;
                case 4: t->rank = 5; break;
                case 5: t->where = VQ_HOST; break;
                case 6: if (!writes || !v) continue;
                        t->data = views[0].t->data; break;   /* overlaps, or is it twice */
                default: call_of(args)->policy.only = "reference";
                }
                if (vq_plan(gpu, (vq_op)o, args, &c)) refused++;
                else if (s == 2) {}                          /* an extent that is free */
                else if (vq_run(gpu, &c, args)) refused++;
                else if (s != 6) CHECKF(0, "%s: %s, spoilt in way %d, is taken", vq_op_str(op),
                                         views[v].field->name, s);
                if (s == 6) CHECK(upload());                 /* where it may be, it was written */
                memcpy(args, keep, sizeof args);
            }
        memcpy(arena.want, arena.host, arena.used);
        compare_all("after refusals, the bytes");
        unplan(space);
        release();
    }
    printf("[%d refusals] ", refused);
    CHECK(refused > 0);
}

/* On a GPU: a launch on the legacy stream while another stream captures, which no runtime allows. */
static void a_launch_that_fails_says_so_and_the_next_one_works(int worker)
{
    void *space = NULL, *captures = NULL, *graph = NULL;
    static const char known;
    vq_choice c;
    vq_status status;
    (void)worker;
    if (!driver.there && !on_standin()) SKIP("no driver: nothing to fail with");
    CHECK(draw_plain(vq_op_of("cast"), ANY, VQ_BF16, 5, 512));
    if (!lay_out(1) || !new_data(CLEAN) || !upload() || !plan_on_gpu(&c, &space)) return;
    if (driver.there) {
        CHECK(!driver.stream_create(&captures, 0));
        CHECK(!driver.begin_capture(captures, CAPTURE_GLOBAL));
    } else memcpy(&call_of(args)->stream, &(const void *){ &known }, sizeof(void *));
    memset(&why, 0, sizeof why);
    status = vq_run(gpu, &c, args);
    if (driver.there) {
        driver.end_capture(captures, &graph);
        if (graph) driver.graph_destroy(graph);
        driver.stream_destroy(captures);
    }
    call_of(args)->stream = NULL;
    CHECKF(status == VQ_DEVICE_FAILED && why.guard == VQ_GUARD_LAUNCH && why.found > 0, "%d", status);
    printf("[%s] ", why.text);
    CHECKF(vq_run(gpu, &c, args) == VQ_OK, "%s", why.text);
    compare_all("after a failed launch, the bytes");
    unplan(space);
    release();
}

static void the_library_proves_itself(int worker)
{
    (void)worker;
    CHECKF(strstr(log_text, vq_arch_in(gpu)) != NULL, "%s", log_text);
    CHECK(gpu->kernels->abi == VQ_ABI_VERSION);
    CHECK(gpu->kernels->self_test(0) == 0);
    printf("[%s] ", vq_arch_in(gpu));
}

/* --- one context, many threads --------------------------------------------------------------- */

typedef struct thread_job {
    pthread_t thread;
    uint64_t  args[COUNT(args)];
    char     *device, *got;
    vq_choice choice;
    void     *stream, *space;
    int       wrong;
} thread_job;

static void *run_often(void *user)
{
    thread_job *j = (thread_job *)user;
    int i;
    for (i = 0; i < 10; i++) {
        if (vq_mem_copy(gpu, j->device, arena.host, arena.used)) j->wrong++;
        if (driver.there && driver.stream_wait(NULL)) j->wrong++;
        if (vq_run(gpu, &j->choice, j->args)) j->wrong++;
        if (driver.there && driver.stream_wait(j->stream)) j->wrong++;
        if (vq_mem_copy(gpu, j->got, j->device, arena.used)) j->wrong++;
        j->wrong += memcmp(j->got, arena.want, arena.used) != 0;
    }
    return NULL;
}

static void one_context_serves_many_threads(int worker)
{
    static thread_job jobs[16];
    const int threads = on_standin() ? 1 : 16;
    int o, i, k, v, runs = 0;
    (void)worker;
    EACH_KEY(o, i) {
        void *space = NULL;
        vq_choice c;
        if (i > 3 || !draw_plain((vq_op)o, plain_keys[i], VQ_BF16, 33, 2048)) continue;
        drop_result();
        if (!lay_out(1) || !new_data(CLEAN) || !plan_on_gpu(&c, &space)) { release(); continue; }
        for (k = 0; k < threads; k++) {
            thread_job *j = &jobs[k];
            uint64_t keep[COUNT(args)];
            memset(j, 0, sizeof *j);
            j->device = (char *)vq_mem_alloc(gpu, arena.used);
            j->got = (char *)malloc(arena.used);
            if (c.workspace_bytes) j->space = vq_mem_alloc(gpu, c.workspace_bytes);
            if (driver.there) CHECK(!driver.stream_create(&j->stream, NON_BLOCKING));
            CHECK(j->device && j->got);
            memcpy(keep, args, sizeof args);
            for (v = 0; v < view_count; v++)
                views[v].t->data = j->device + ((char *)views[v].t->data - arena.device);
            call_of(args)->stream = j->stream;
            call_of(args)->workspace = j->space;
            call_of(args)->report = NULL;
            memcpy(j->args, args, sizeof args);
            memcpy(args, keep, sizeof args);
            j->choice = c;
        }
        for (k = 0; k < threads; k++) CHECK(!pthread_create(&jobs[k].thread, NULL, run_often, &jobs[k]));
        for (k = 0; k < threads; k++) {
            pthread_join(jobs[k].thread, NULL);
            CHECKF(!jobs[k].wrong, "%s: thread %d is wrong %d times", vq_op_str(op), k, jobs[k].wrong);
            if (driver.there) driver.stream_destroy(jobs[k].stream);
            vq_mem_free(gpu, jobs[k].device);
            vq_mem_free(gpu, jobs[k].space);
            free(jobs[k].got);
            runs += 10;
        }
        unplan(space);
        release();
    }
    printf("[%d runs in %d threads] ", runs, threads);
    CHECK(runs > 0);
}

/* --- large calls ------------------------------------------------------------------------------ */

/* The case at work, `times` as large: extents that PERIOD divides grow. Tensors are contiguous, so
   each matrix is what the small one is, again and again: the reference runs the small one, all bytes
   of the large one are compared with it. */
enum { PERIOD = 499 };

typedef struct tall { char *device; int64_t slab, outer, times; } tall;

static int grow(vq_tensor *t, int64_t times)
{
    int i, grown = 0;
    for (i = 0; i < t->rank; i++)
        if (t->shape[i] && t->shape[i] % PERIOD == 0) { t->shape[i] *= times; grown = 1; }
    settle(t);
    return grown;
}

static void fill_device(char *to, const char *from, int64_t slab, int64_t times)
{
    int64_t have = 1;
    CHECK(vq_mem_copy(gpu, to, from, (size_t)slab) == VQ_OK);
    while (have < times) {
        const int64_t n = have < times - have ? have : times - have;
        CHECK(vq_mem_copy(gpu, to + have * slab, to, (size_t)(n * slab)) == VQ_OK);
        have += n;
    }
}

/* How many bytes of `times` slabs on the device differ from one on the host. */
static int64_t differ_tall(const char *device, const char *want, int64_t slab, int64_t times)
{
    const int64_t room = (INT64_C(1) << 27) / slab + 1;
    char *got = NULL;
    int64_t at, k, differ = 0;
    if (!driver.there || driver.host_alloc((void **)&got, (size_t)(room * slab), 0))
        got = (char *)malloc((size_t)(room * slab));
    for (at = 0; got && at < times; at += room) {
        const int64_t n = room < times - at ? room : times - at;
        CHECK(vq_mem_copy(gpu, got, device + at * slab, (size_t)(n * slab)) == VQ_OK);
        for (k = 0; k < n; k++) {
            int64_t i;
            if (!memcmp(got + k * slab, want, (size_t)slab)) continue;
            for (i = 0; i < slab; i++) differ += got[k * slab + i] != want[i];
        }
    }
    if (driver.there && got) driver.host_free(got);
    else free(got);
    return differ;
}

static int64_t huge_or(int64_t otherwise) { return huge ? huge : on_standin() ? 200000 : otherwise; }

static int large_call(vq_op o, int key, int type, int64_t rows, int64_t cols)
{
    static const char guard[GUARD] = "guard";
    tall talls[TENSORS];
    void *space = NULL;
    vq_choice c;
    char behind[GUARD];
    int64_t times, elements, total = 0;
    int i, ok;
    t_state = t_seed;
    if (!draw_plain(o, key, type, rows, cols)) return 0;
    drop_result();
    counts_beyond = 1;
    for (i = 0; i < view_count; i++) settle(views[i].t);
    all_apart = 1;
    for (ok = 1, i = 0; i < view_count; i++) ok = ok && views[i].t->dtype != VQ_INT64;     /* sums */
    ok = ok && rows_stand_alone() && all_take() && lay_out(1) && new_data(CLEAN);
    counts_beyond = all_apart = 0;
    if (!ok) { release(); return 0; }
    elements = elements_of_case();
    times = huge_or((INT64_C(1) << 31) + 1) / elements + 1;
    memset(talls, 0, sizeof talls);
    for (i = 0; ok && i < view_count; i++) {
        tall *t = &talls[i];
        const block *b = &blocks[views[i].block];
        int64_t k;
        t->outer = views[i].t->rank == 3 ? views[i].t->shape[0] : 1;
        t->slab = views[i].bytes / t->outer;
        t->times = grow(views[i].t, times) ? times : 1;
        t->device = (char *)vq_mem_alloc(gpu, (size_t)(t->outer * t->slab * t->times) + GUARD);
        if (!t->device) { ok = 0; break; }
        total += t->outer * t->slab * t->times;
        for (k = 0; k < t->outer; k++)
            fill_device(t->device + k * t->slab * t->times, b->host + b->at + k * t->slab, t->slab, t->times);
        CHECK(vq_mem_copy(gpu, t->device + t->outer * t->slab * t->times, guard, GUARD) == VQ_OK);
        views[i].t->where = VQ_DEVICE;
        views[i].t->data = t->device;
    }
    if (ok && plan(gpu, &c)) { CHECKF(0, "%s", why.text); ok = 0; }
    if (ok && c.workspace_bytes) {
        space = call_of(args)->workspace = vq_mem_alloc(gpu, c.workspace_bytes);
        call_of(args)->workspace_bytes = c.workspace_bytes;
        ok = space != NULL;
    }
    if (ok && settled()) {
        CHECKF(vq_run(gpu, &c, args) == VQ_OK && settled(), "%s: %s", vq_op_str(op), why.text);
        for (i = 0; i < view_count; i++) {
            const tall *t = &talls[i];
            const block *b = &blocks[views[i].block];
            int64_t k, differ = 0;
            for (k = 0; views[i].writes && k < t->outer; k++)
                differ += differ_tall(t->device + k * t->slab * t->times, b->want + b->at + k * t->slab,
                                      t->slab, t->times);
            CHECK(vq_mem_copy(gpu, behind, t->device + t->outer * t->slab * t->times, GUARD) == VQ_OK);
            CHECKF(!differ && !memcmp(behind, guard, GUARD), "%s, %s: %lld bytes differ%s", vq_op_str(op),
                   views[i].field->name, (long long)differ,
                   memcmp(behind, guard, GUARD) ? ", behind it too" : "");
        }
        printf("\n    %-24s %-16s %lld x %lld: %lld elements, %.1f GB", vq_op_str(op),
               key_of() ? vq_key_name((vq_key_id)key) : "",
               (long long)views[0].t->shape[views[0].t->rank - 2],
               (long long)views[0].t->shape[views[0].t->rank - 1], (long long)(elements * times),
               (double)total * 1e-9);
        fflush(stdout);
    }
    for (i = 0; i < view_count; i++) vq_mem_free(gpu, talls[i].device);
    unplan(space);
    release();
    return ok;
}

static void a_call_of_more_than_2_31_elements(int worker)
{
    static const int keys[] = { VQ_KEY_FP8_GROUP128, VQ_KEY_FP8_STATIC, VQ_KEY_FP8_TOKEN, VQ_KEY_NVFP4,
                                VQ_KEY_MXFP8, VQ_KEY_INT8_TOKEN };
    int o, i, calls = 0;
    (void)worker;
    for (o = 1; o < VQ_OP_COUNT; o++)
        for (i = 0; has_kernel((vq_op)o) && i < (key_fields((vq_op)o) ? COUNT(keys) : 1); i++)
            calls += large_call((vq_op)o, keys[i], VQ_BF16, PERIOD, 4096);
    /* one row of them */
    calls += large_call(vq_op_of("cast"), ANY, VQ_F32, 1, PERIOD * 128);
    calls += large_call(vq_op_of("quant"), VQ_KEY_FP8_GROUP128, VQ_BF16, 1, PERIOD * 128);
    calls += large_call(vq_op_of("quant"), VQ_KEY_FP8_STATIC, VQ_F16, 1, PERIOD * 128);
    calls += large_call(vq_op_of("dequant"), VQ_KEY_FP8_GROUP128, VQ_BF16, 1, PERIOD * 128);
    printf("\n    %-58s ", "");
    CHECK(calls > 0);
}

/* Rows that lie more than 2^31 elements apart. */
static void rows_that_lie_far_apart(int worker)
{
    const int64_t far = on_standin() ? 5008 : (INT64_C(1) << 31) + 1024;
    int o, i, calls = 0;
    (void)worker;
    EACH_KEY(o, i) {
        void *space = NULL;
        char *device[TENSORS] = { NULL };
        vq_tensor small[TENSORS], wide[TENSORS];
        vq_choice c;
        int v, ok, apart = 0;
        int64_t r;
        if (i > 2 || !draw_plain((vq_op)o, plain_keys[i], VQ_BF16, 3, 1024)) continue;
        drop_result();
        for (v = 0; v < view_count; v++) {
            settle(views[v].t);
            wide[v] = *views[v].t;
        }
        if (!all_take()) continue;
        for (v = 0; v < view_count; v++) {
            vq_tensor *t = views[v].t;
            small[v] = *t;
            if (t->rank != 2 || t->shape[0] != 3 || vq_tensor_bytes(*t) < 1000) continue;
            if (is_scale(&views[v])) continue;
            t->stride[0] = far + (i == 1 ? v + 11 : 0);     /* odd, or aligned */
            if (all_take()) { wide[v] = *t; apart++; }
            *t = small[v];
        }
        all_apart = 1;
        ok = apart && all_take() && lay_out(1) && new_data(CLEAN);
        all_apart = 0;
        for (v = 0; v < view_count; v++) *views[v].t = wide[v];
        for (v = 0; ok && v < view_count; v++) {
            const block *b = &blocks[views[v].block];
            const int64_t row = vq_row_bytes(small[v].dtype, small[v].shape[small[v].rank - 1]);
            const int bits = vq_dtype_bits(small[v].dtype);
            const int64_t step = views[v].t->stride[0] * (bits < 8 ? 1 : bits / 8);
            device[v] = (char *)vq_mem_alloc(gpu, (size_t)vq_tensor_bytes(*views[v].t));
            if (!device[v]) { ok = 0; break; }
            if (views[v].t->stride[0] == small[v].stride[0])
                CHECK(vq_mem_copy(gpu, device[v], b->host + b->at, (size_t)views[v].bytes) == VQ_OK);
            else for (r = 0; r < 3; r++)
                CHECK(vq_mem_copy(gpu, device[v] + r * step, b->host + b->at + r * row, (size_t)row)
                      == VQ_OK);
            views[v].t->where = VQ_DEVICE;
            views[v].t->data = device[v];
        }
        ok = ok && !plan(gpu, &c);
        if (ok && c.workspace_bytes) {
            space = call_of(args)->workspace = vq_mem_alloc(gpu, c.workspace_bytes);
            call_of(args)->workspace_bytes = c.workspace_bytes;
        }
        if (ok && settled()) {
            CHECKF(vq_run(gpu, &c, args) == VQ_OK && settled(), "%s: %s", vq_op_str(op), why.text);
            for (v = 0; v < view_count; v++) {
                const block *b = &blocks[views[v].block];
                const int64_t row = vq_row_bytes(small[v].dtype, small[v].shape[small[v].rank - 1]);
                const int bits = vq_dtype_bits(small[v].dtype);
                const int64_t step = views[v].t->stride[0] * (bits < 8 ? 1 : bits / 8);
                char got[1 << 14];
                if (views[v].t->stride[0] == small[v].stride[0] || row > (int64_t)sizeof got) continue;
                for (r = 0; r < 3; r++) {
                    CHECK(vq_mem_copy(gpu, got, device[v] + r * step, (size_t)row) == VQ_OK);
                    CHECKF(!memcmp(got, b->want + b->at + r * row, (size_t)row), "%s, %s, row %d",
                           vq_op_str(op), views[v].field->name, (int)r);
                }
            }
            calls++;
        }
        for (v = 0; v < view_count; v++) vq_mem_free(gpu, device[v]);
        unplan(space);
        release();
    }
    printf("[%d calls] ", calls);
    CHECK(calls > 0);
}

/* --- main ------------------------------------------------------------------------------------- */

typedef struct test { const char *name; void (*run)(int); int wide; } test;

static const test tests[] = {
    {"the_library_proves_itself", the_library_proves_itself, 0},
    {"no_key_lacks_a_kernel", no_key_lacks_a_kernel, 0},
    {"every_f32_converts_alike", all_f32, 1},
    {"every_16_bit_activation", every_16_bit_activation, 0},
    {"a_captured_call_replays_with_new_data",
     a_captured_call_replays_with_new_data, 0},
    {"a_call_takes_its_turn_on_its_stream", a_call_takes_its_turn_on_its_stream, 0},
    {"a_call_leaves_memory_as_it_is", a_call_leaves_memory_as_it_is, 0},
    {"one_context_serves_many_threads", one_context_serves_many_threads, 0},
    {"what_is_refused_is_not_begun", what_is_refused_is_not_begun, 0},
    {"a_launch_that_fails_says_so_and_the_next_one_works",
     a_launch_that_fails_says_so_and_the_next_one_works, 0},
    {"rows_that_lie_far_apart", rows_that_lie_far_apart, 0},
    {"a_call_of_more_than_2_31_elements", a_call_of_more_than_2_31_elements, 0},
};

static int usage(void)
{
    fprintf(stderr, "usage: device [--list] [--only NAME] [--quick | --sanitize] [--elements N] "
            "[--seconds S] [--workers N] [--huge N] [--seed N] [--case N]\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *only = NULL;
    vq_desc d = VQ_ZERO;
    int i, list = 0, passed = 0, failed = 0, skipped = 0, status;
    const double start = now();
    for (i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (!strcmp(a, "--list")) list = 1;
        else if (!strcmp(a, "--quick")) goal = 10000000;
        else if (!strcmp(a, "--sanitize")) sanitize = separate = 1;
        else if (i + 1 == argc) return usage();
        else if (!strcmp(a, "--only")) only = argv[++i];
        else if (!strcmp(a, "--elements")) goal = strtoll(argv[++i], NULL, 0);
        else if (!strcmp(a, "--seconds")) seconds = strtod(argv[++i], NULL);
        else if (!strcmp(a, "--workers")) workers = atoi(argv[++i]);
        else if (!strcmp(a, "--huge")) huge = strtoll(argv[++i], NULL, 0);
        else if (!strcmp(a, "--seed")) t_seed = strtoull(argv[++i], NULL, 0);
        else if (!strcmp(a, "--case")) one_case = strtoll(argv[++i], NULL, 0);
        else return usage();
    }
    if (workers < 0) workers = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (workers > 16) workers = 16;
    if (sanitize || one_case >= 0) workers = 0;
    if (sanitize && seconds <= 0) seconds = 40;
    board = (struct board *)mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                                 -1, 0);
    d.backend = VQ_CPU;
    if (board == MAP_FAILED || vq_init(&d, &cpu) != VQ_OK) { puts("no memory"); return 1; }
    for (i = 1; i < VQ_OP_COUNT; i++) {
        const char *name = vq_op_str((vq_op)i);
        if (only && strcmp(only, name) && strcmp(only, "ops")) continue;
        if (!has_kernel((vq_op)i)) { if (only) printf("%s has no GPU row\n", name); continue; }
        if (list) puts(name);
        swept[swept_count++] = (vq_op)i;
    }
    if (swept_count && !list) {
        status = crew(sweep, workers, watch_sweep, sweep_goes_on);
        if (status == NO_GPU) { puts("device: 0 passed, 1 failed"); return 1; }
        while (said < swept_count) said_good += say_op(swept[said++]);
        passed = said_good;
        failed = swept_count - said_good;
    }
    for (i = 0; i < COUNT(tests) && !sanitize; i++) {
        const test *t = &tests[i];
        const double began = now();
        if (only && (!strstr(t->name, only) || vq_op_of(only))) continue;
        if (list) { puts(t->name); continue; }
        printf("  %-58s ", t->name);
        fflush(stdout);
        board->next = board->done = board->wrong = 0;
        status = crew(t->run, !workers ? 0 : t->wide ? workers : 1, NULL, NULL);
        if (status == NO_GPU) { puts("device: 0 passed, 1 failed"); return 1; }
        if (board->done) printf("[%lld, %lld differ] ", (long long)board->done, (long long)board->wrong);
        if (status == SKIPPED && getenv("CI")) status = FAILED;
        printf("%s %.1f s\n", !status ? "ok" : status == SKIPPED ? "(skipped)" : "\n    FAILED",
               now() - began);
        fflush(stdout);
        if (!status) passed++;
        else if (status == SKIPPED) skipped++;
        else failed++;
    }
    if (list) return 0;
    if (!workers) close_gpu();
    vq_free(cpu);
    if (failed) printf("repeat with --seed %llu\n", (unsigned long long)t_seed);
    printf("device: %d passed, %d failed", passed, failed);
    if (skipped) printf(", %d skipped", skipped);
    printf("; %.0f s\n", now() - start);
    return failed != 0 || !passed;
}
