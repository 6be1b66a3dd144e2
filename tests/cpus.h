/* cpus.h - the reference as it is, and without its widest instructions; after vq.h and vq_test.h */
#ifndef CPUS_H_INCLUDED
#define CPUS_H_INCLUDED

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
#define MORE(a)  ((a)[t_rand() % (uint32_t)COUNT(a)])

static vq_ctx   *cpus[3];                /* as it is, and without its widest instructions */
static vq_report why;

static void stop(void)
{
    int i;
    for (i = 0; i < COUNT(cpus); i++) vq_free(cpus[i]);
}

static void start_cpus(void)
{
    static const uint32_t without[] = { 0, VQ_CAP(AVX512), VQ_CAP(AVX512) | VQ_CAP(AVX2) };
    int i;
    if (cpus[0]) return;
    atexit(stop);
    for (i = 0; i < COUNT(cpus); i++) {
        vq_desc d = VQ_ZERO;
        d.backend = VQ_CPU;
        d.without = without[i];
        CHECK(vq_init(&d, &cpus[i]) == VQ_OK);
    }
}

#endif
