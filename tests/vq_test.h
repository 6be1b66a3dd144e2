/* vq_test.h - the whole test harness: one table of tests, one seed, one exit code

     static void my_test(void) { CHECK(1 + 1 == 2); }
     VQ_TEST_MAIN(T(my_test))

   usage: test_x [--list] [--only SUBSTRING] [--seed N] [--exhaustive]
   Prints a line a test and, last, "test_x: N passed, N failed[, N skipped]"; exits 1 if any
   check failed. A test that SKIP()s is neither passed nor failed, and is counted; where CI is
   set in the environment it has failed. Same seed, same run; one test alone gives what it gives
   in a full run. */
#ifndef VQ_TEST_H_INCLUDED
#define VQ_TEST_H_INCLUDED

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int         t_failed;           /* checks failed in the running test */
static const char *t_skipped;          /* why the running test cannot run here */
static uint64_t    t_seed = 1, t_state;
static int         t_exhaustive;       /* every input instead of a sample, where a test has both */

typedef struct { const char *name; void (*run)(void); } t_case;

#define T(name) {#name, name}

#define CHECK(cond) CHECKF(cond, "%s", "")
#define CHECKF(cond, fmt, ...) do { if (!(cond)) { \
    if (t_failed++ < 5) \
        printf("\n    %s:%d: " #cond "  " fmt, __FILE__, __LINE__, __VA_ARGS__); } } while (0)

#define SKIP(why) do { t_skipped = (why); return; } while (0)

static inline uint32_t t_rand(void)    /* splitmix64, top half */
{
    uint64_t z = (t_state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

static inline float t_randf(float lo, float hi)
{
    return lo + (hi - lo) * (float)(t_rand() >> 8) * 0x1p-24f;
}

static int t_main(int argc, char **argv, const t_case *c, size_t n)
{
    const char *only = "", *self = strrchr(argv[0], '/');
    int i, bad = 0, list = 0, skips = 0, good = 0;
    size_t k;
    self = self ? self + 1 : argv[0];
    for (i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--list")) list = 1;
        else if (!strcmp(argv[i], "--exhaustive")) t_exhaustive = 1;
        else if (!strcmp(argv[i], "--only") && i + 1 < argc) only = argv[++i];
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc) t_seed = strtoull(argv[++i], NULL, 0);
        else {
            fprintf(stderr, "usage: %s [--list] [--only S] [--seed N] [--exhaustive]\n", self);
            return 2;
        }
    }
    for (k = 0; k < n; k++) {
        if (!strstr(c[k].name, only)) continue;
        if (list) { puts(c[k].name); continue; }
        t_failed = 0;
        t_skipped = NULL;
        t_state = t_seed;
        printf("  %-58s ", c[k].name);
        fflush(stdout);
        c[k].run();
        if (t_skipped && getenv("CI")) t_failed++;
        printf("%s%s\n", t_skipped ? t_skipped : "", t_failed ? "\n    FAILED" :
               t_skipped ? " (skipped)" : "ok");
        if (t_failed) bad++;
        else if (t_skipped) skips++;
        else good++;
    }
    if (list) return 0;
    if (bad) printf("repeat with --seed %llu\n", (unsigned long long)t_seed);
    printf("%s: %d passed, %d failed", self, good, bad);
    if (skips) printf(", %d skipped", skips);
    puts("");
    return bad != 0;
}

#define VQ_TEST_MAIN(...) \
    int main(int argc, char **argv) { \
        static const t_case cases[] = { __VA_ARGS__ }; \
        return t_main(argc, argv, cases, sizeof cases / sizeof *cases); }

#endif
