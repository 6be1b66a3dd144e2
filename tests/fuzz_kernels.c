/* fuzz_kernels.c - random ops, keys, shapes, strides and data: kernels beside the reference

   usage: fuzz_kernels [--seed N] [--runs N] [--seconds S] [--op NAME]
                       [build/libvq_standin_64.so [build/libvq_standin_32.so]]

   Run i has seed N + i, and prints it when the bytes differ; a fault of a kernel ends the program,
   and says it too. "--seed N --runs 1" is that run alone. Without --runs it goes on for S seconds
   (20). As a test it passes when every op that has a kernel was launched at least 20 times. */
#define _XOPEN_SOURCE 700
#include <time.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "standin/differ.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static vq_key key_of_run(int *has)
{
    *has = !one_in(3);
    return any_key();
}

int main(int argc, char **argv)
{
    const char *path[2] = { "build/libvq_standin_64.so", "build/libvq_standin_32.so" };
    uint64_t first = 1, i;
    long runs = 0, failed = 0, tried = 0, launched = 0;
    double seconds = 20, start;
    int k, paths = 0, only = 0, ops[VQ_OP_COUNT], count = 0, idle = 0;
    (void)t_main;                                  /* runs end by time here */
    for (k = 1; k < argc; k++) {
        if (!strcmp(argv[k], "--seed") && k + 1 < argc) first = strtoull(argv[++k], NULL, 0);
        else if (!strcmp(argv[k], "--runs") && k + 1 < argc) runs = strtol(argv[++k], NULL, 0);
        else if (!strcmp(argv[k], "--seconds") && k + 1 < argc) seconds = strtod(argv[++k], NULL);
        else if (!strcmp(argv[k], "--op") && k + 1 < argc) only = (int)vq_op_of(argv[++k]);
        else if (argv[k][0] != '-' && paths < 2) path[paths++] = argv[k];
        else {
            fprintf(stderr, "usage: %s [--seed N] [--runs N] [--seconds S] [--op NAME] "
                    "[LIBRARY [LIBRARY]]\n", argv[0]);
            return 2;
        }
    }
    if (paths == 1) path[1] = NULL;
    if (!start_machines(path[0], path[1])) { puts("fuzz_kernels: 0 passed, 1 failed"); return 1; }
    t_state = 1;
    for (k = 1; k < VQ_OP_COUNT; k++)
        if (has_kernel((vq_op)k) && (!only || only == k)) ops[count++] = k;
    if (!count) { puts("no op has a kernel\nfuzz_kernels: 0 passed, 1 failed"); return 1; }
    start = now();
    for (i = 0; runs ? (long)i < runs : now() - start < seconds; i++) {
        wish w = anything();
        t_seed = t_state = first + i;
        t_rand();
        w.op = ops[below(count)];
        w.of = key_of_run(&w.has_key);
        become((vq_op)w.op);
        for (k = 0; k < 40 && !try_case(&w); k++) w.of = key_of_run(&w.has_key);
        tried++;
        if (!wrong) continue;
        printf("    repeat with --seed %llu --runs 1\n", (unsigned long long)t_seed);
        if (++failed >= 5) break;
    }
    for (k = 0; k < count; k++) {
        const int o = ops[k];
        printf("  %-30s %8ld launched\n", vq_op_str((vq_op)o), ran[o]);
        launched += ran[o];
        if (!runs && ran[o] < 20) { printf("    that is too few\n"); idle++; }
    }
    printf("  %ld runs, %ld launches, %ld bytes compared\n", tried, launched, compared);
    stop_machines();
    printf("fuzz_kernels: %d passed, %d failed\n", failed || idle ? 0 : 1, failed || idle ? 1 : 0);
    return failed || idle;
}
