/* test_standin.c - the stand-in for a GPU reports what kernels may not do, and nothing else

   build/libstandin_faults_64.so and _32.so are tests/standin/faults.hip. Each fault runs in a
   process of its own, in every order of threads; without its fault the same kernel runs through. */
#define _XOPEN_SOURCE 700
#include <dlfcn.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "standin/standin.h"
#include "vq_test.h"

static const char *const libraries[] = { "build/libstandin_faults_64.so",
                                         "build/libstandin_faults_32.so" };

static char heard[8192];

typedef int (*fault_fn)(const char *name, int bad);
typedef int (*gap_fn)(int bad, uint8_t **p);

static void *find(int n, const char *name)
{
    void *lib = dlopen(libraries[n], RTLD_NOW | RTLD_LOCAL);
    void *symbol = lib ? dlsym(lib, name) : NULL;
    CHECKF(symbol != NULL, "%s: %s", libraries[n], dlerror());
    return symbol;
}

static const standin *control(int n)
{
    void *symbol = find(n, "standin_control");
    standin_control_fn fn;
    memcpy(&fn, &symbol, sizeof fn);
    return symbol ? fn() : NULL;
}

/* What the process said and how it ended: 0 well, 1 in an abort, 2 otherwise. */
static int run(int n, const char *name, int bad, standin_order order)
{
    int out[2], status = 0;
    size_t length = 0;
    ssize_t got;
    pid_t child;
    void *symbol = find(n, "standin_fault");
    const standin *in = control(n);
    fault_fn fault;
    if (!symbol || !in || pipe(out)) return 2;
    memcpy(&fault, &symbol, sizeof fault);
    fflush(stdout);
    child = fork();
    if (!child) {
        dup2(out[1], 2);
        close(out[0]);
        in->order(order, 7);
        _exit(fault(name, bad));
    }
    close(out[1]);
    while ((got = read(out[0], heard + length, sizeof heard - 1 - length)) > 0)
        length += (size_t)got;
    heard[length] = 0;
    close(out[0]);
    waitpid(child, &status, 0);
    if (WIFEXITED(status)) return WEXITSTATUS(status) ? 2 : 0;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? 1 : 2;
}

/* words: what the report says, beside the kernel's name, a block, a thread and a line. */
static const struct { const char *fault, *words; } faults[] = {
    { "no barrier between a write and a read",        "no barrier is between" },
    { "no barrier between a read and a write",        "no barrier is between" },
    { "a barrier that some do not reach",             "not all threads reach: thread (200, 0" },
    { "a barrier that a wave does not reach",         "thread (192, 0, 0) has returned" },
    { "two barriers at once",                         "waits at another one" },
    { "a return before a barrier",                    "has returned" },
    { "a shuffle with lanes that wait elsewhere",     "takes the value of lane" },
    { "a shuffle with lanes that returned",           "has returned" },
    { "a shuffle with lanes in another round",        "takes the value of lane" },
    { "a lane beyond a wave that is not full",        "takes the value of lane 20, and" },
    { "shared memory between lanes without a fence",  "no barrier is between" },
    { "an index beyond shared memory",                "uses an index beyond an array" },
    { "a pointer beyond shared memory",               "at 1024 in the 1024 bytes of shared part" },
    { "a pointer before shared memory",               "shared" },
    { "dynamic shared memory that was not asked for", "at 256 in the 256 bytes of dynamic" },
    { "shared memory that nobody wrote",              "which nobody has written" },
    { "a byte written behind an allocation",          "writes 1 byte at 0 behind the 1024 bytes" },
    { "a byte written before an allocation",          "writes 1 byte at 1 before the 1024 bytes" },
    { "a byte read behind an allocation",             "reads 1 byte at 0 behind the 1024 bytes" },
    { "a vector that is not aligned",                 "not aligned to 16 bytes" },
    { "a copy that is too long",                      "reads 1025 bytes at 0 in the 1024 bytes" },
    { "memory of the host",                           "reads 1 byte at" },
    { "memory that was freed",                        "reads 1 byte at" },
    { "a shift too far",                              "shifts too far" },
    { "two threads at one byte",                      "no barrier is between" },
    { "two blocks at one byte",                       "of another block" },
    { "a counter that is not atomic",                 "no barrier is between" },
    { "a last block without a fence",                 "of another block" },
};

static void every_fault_is_reported(void)
{
    size_t i;
    int n, o;
    for (i = 0; i < sizeof faults / sizeof *faults; i++)
        for (n = 0; n < 2; n++)
            for (o = STANDIN_FORWARD; o <= STANDIN_SHUFFLED; o++) {
                const int end = run(n, faults[i].fault, 1, (standin_order)o);
                CHECKF(end == 1 && strstr(heard, faults[i].words) && strstr(heard, "standin: k_")
                       && strstr(heard, "block (") && strstr(heard, "thread ("),
                       "%s, %s, order %d: ended %d\n%s", faults[i].fault, libraries[n], o, end,
                       heard);
            }
}

static void the_same_kernels_run_without_their_faults(void)
{
    size_t i;
    int n, o;
    for (i = 0; i < sizeof faults / sizeof *faults; i++)
        for (n = 0; n < 2; n++)
            for (o = STANDIN_FORWARD; o <= STANDIN_SHUFFLED; o++) {
                const int end = run(n, faults[i].fault, 0, (standin_order)o);
                CHECKF(end == 0 && !*heard, "%s, %s, order %d: ended %d\n%s", faults[i].fault,
                       libraries[n], o, end, heard);
            }
}

static void a_gap_that_is_rewritten_as_it_was_is_seen(void)
{
    int n, bad, i;
    for (n = 0; n < 2; n++)
        for (bad = 0; bad < 2; bad++) {
            const standin *in = control(n);
            void *symbol = find(n, "standin_gap");
            uint8_t *p, flags[1024];
            gap_fn gap;
            int gaps = 0, elements = 0;
            if (!in || !symbol) return;
            memcpy(&gap, &symbol, sizeof gap);
            in->forget();
            CHECK(gap(bad, &p) == 0);
            in->touched(p, sizeof flags, flags);
            for (i = 0; i < 1024; i++) {
                if (i < 128 && i % 16 < 10) elements += (flags[i] & STANDIN_WRITTEN) != 0;
                else gaps += flags[i] != 0;
            }
            CHECKF(elements == 80 && gaps == (bad ? 16 : 0), "%d elements, %d gaps", elements,
                   gaps);
        }
}

static void lanes_exchange_what_they_should(void)
{
    int n, o;
    for (n = 0; n < 2; n++)
        for (o = STANDIN_FORWARD; o <= STANDIN_SHUFFLED; o++) {
            const standin *in = control(n);
            void *symbol = find(n, "standin_exchange");
            int (*exchange)(int wave), wrong;
            if (!in || !symbol) return;
            memcpy(&exchange, &symbol, sizeof exchange);
            in->order((standin_order)o, 3);
            wrong = exchange(n ? 32 : 64);
            CHECKF(wrong == 0, "%s: %d results are wrong", libraries[n], wrong);
            in->order(STANDIN_FORWARD, 0);
        }
}

VQ_TEST_MAIN(T(lanes_exchange_what_they_should),
             T(every_fault_is_reported),
             T(the_same_kernels_run_without_their_faults),
             T(a_gap_that_is_rewritten_as_it_was_is_seen))
