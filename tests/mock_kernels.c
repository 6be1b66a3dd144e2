/* mock_kernels.c - a kernel library without a GPU, to test what vq_init() takes and refuses

   Included by test_registry.c it is a linked object, driven by `mock`; archived, what a static
   link finds; with -DMOCK_SHARED build/libvq_mock.so, driven by the environment. Its "device
   memory" is malloc's, and its launchers only count. */
#include <stdio.h>
#include <stdlib.h>
#ifndef VQ_H_INCLUDED
#include "../vq.h"
#endif

static struct { const char *arch; int device, self_test, launch, launched, null; } mock;

#if defined(MOCK_SHARED) || defined(MOCK_ARCHIVE)
static const char *mock_env(const char *name, const char *otherwise)
{
    const char *v = getenv(name);
    return v ? v : otherwise;
}
#endif

static int mock_arch(int device, char *out, size_t size)
{
    if (!mock.arch || device) return 1;
    snprintf(out, size, "%s", mock.arch);
    return 0;
}

static int   mock_current(void)        { return mock.device; }
static int   mock_self_test(int n)     { (void)n; return mock.self_test; }
static void *mock_alloc(size_t n)      { return malloc(n); }
static void  mock_release(void *p)     { free(p); }
static int   mock_copy(void *d, const void *s, size_t n) { memcpy(d, s, n); return 0; }
static const char *mock_error(int n)   { return n == 719 ? "unspecified launch failure" : NULL; }
static int   mock_launch(const void *args) { (void)args; mock.launched++; return mock.launch; }

static vq_kernels mock_table = {
    VQ_ABI_VERSION, 0, "hip", NULL, mock_arch, mock_current, mock_self_test, mock_alloc,
    mock_release, mock_copy, mock_error,
    { NULL, mock_launch, mock_launch, mock_launch, mock_launch, mock_launch }
};

const vq_kernels *vq_kernels_hip(void)
{
#ifdef MOCK_SHARED
    mock.arch = mock_env("MOCK_ARCH", "gfx942");
    mock.self_test = atoi(mock_env("MOCK_SELF_TEST", "0"));
    mock_table.abi = (uint32_t)atoi(mock_env("MOCK_ABI", "0")) + VQ_ABI_VERSION;
    mock_table.archs = mock_env("MOCK_ARCHS", "gfx942 gfx950");
#elif defined(MOCK_ARCHIVE)
    mock.arch = mock_env("MOCK_ARCH", "gfx942");
#else
    if (mock.null) return NULL;
#endif
    return &mock_table;
}
