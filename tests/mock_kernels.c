/* mock_kernels.c - kernel libraries of both vendors without a GPU, to test what vq_init() takes

   Included by a test they are linked objects, driven by `mock` (HIP) and `mock_cuda`; archived,
   what a static link finds; with -DMOCK_SHARED build/libvq_mock.so, driven by the environment.
   Their "device memory" is malloc's, and their launchers only count. */
#include <stdio.h>
#include <stdlib.h>
#ifndef VQ_H_INCLUDED
#include "../vq.h"
#endif

/* more: devices beside the first one. at, slot, args: of the last launch, the device that was
   current, the launcher, and what it was given. */
typedef struct {
    const char *arch;
    int device, self_test, launch, launched, null, more, at, slot;
    const void *args;
} mock_state;

/* Of both: allocations that are not released yet, and whether there is no memory left. */
static struct { int live, made, none; } mock_memory;

static void *mock_alloc(size_t n)
{
    if (mock_memory.none) return NULL;
    mock_memory.live++;
    mock_memory.made++;
    return malloc(n);
}

static void  mock_release(void *p)     { mock_memory.live--; free(p); }
static int   mock_copy(void *d, const void *s, size_t n) { memcpy(d, s, n); return 0; }
static const char *mock_error(int n)   { return n == 719 ? "unspecified launch failure" : NULL; }

/* A launcher for each slot, which knows its own. */
#define LAUNCHER(m, ID, name) \
    static int m##_runs_##name(const void *args) { return m##_launch(VQ_SLOT_##ID, args); }
#define mock_LAUNCHER(ID, name)      LAUNCHER(mock, ID, name)
#define mock_cuda_LAUNCHER(ID, name) LAUNCHER(mock_cuda, ID, name)
#define mock_ENTRY(ID, name)         mock_runs_##name,
#define mock_cuda_ENTRY(ID, name)    mock_cuda_runs_##name,

#define MOCK(m, vendor) \
static mock_state m; \
static int m##_arch(int device, char *out, size_t size) \
{ \
    if (!m.arch || device > m.more) return 1; \
    snprintf(out, size, "%s", m.arch); \
    return 0; \
} \
static int m##_current(void)      { return m.device; } \
static int m##_self_test(int n)   { (void)n; return m.self_test; } \
static int m##_launch(vq_slot slot, const void *args) \
{ \
    m.launched++; \
    m.at = m.device; \
    m.slot = slot; \
    m.args = args; \
    return m.launch; \
} \
VQ_KERNELS(m##_LAUNCHER) \
static vq_kernels m##_table = { \
    VQ_ABI_VERSION, 0, vendor, NULL, m##_arch, m##_current, m##_self_test, mock_alloc, \
    mock_release, mock_copy, mock_error, \
    { NULL, VQ_KERNELS(m##_ENTRY) } \
};

MOCK(mock, "hip")
MOCK(mock_cuda, "cuda")

#if defined(MOCK_SHARED) || defined(MOCK_ARCHIVE)
static const char *mock_env(const char *vendor, const char *name, const char *otherwise)
{
    char whole[64];
    const char *v;
    snprintf(whole, sizeof whole, "MOCK_%s%s", vendor, name);
    v = getenv(whole);
    return v ? v : otherwise;
}

static const vq_kernels *mock_hand_over(mock_state *m, vq_kernels *table, const char *vendor,
                                        const char *arch, const char *archs)
{
    m->arch = mock_env(vendor, "ARCH", arch);
    m->self_test = atoi(mock_env(vendor, "SELF_TEST", "0"));
    table->abi = (uint32_t)atoi(mock_env(vendor, "ABI", "0")) + VQ_ABI_VERSION;
    table->archs = mock_env(vendor, "ARCHS", archs);
    return table;
}

const vq_kernels *vq_kernels_hip(void)
{
    return mock_hand_over(&mock, &mock_table, "", "gfx942", "gfx942 gfx950");
}

const vq_kernels *vq_kernels_cuda(void)
{
    return mock_hand_over(&mock_cuda, &mock_cuda_table, "CUDA_", "sm_90a", "sm_80 sm_90");
}
#else
const vq_kernels *vq_kernels_hip(void)  { return mock.null ? NULL : &mock_table; }
const vq_kernels *vq_kernels_cuda(void) { return mock_cuda.null ? NULL : &mock_cuda_table; }
#endif
