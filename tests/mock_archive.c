/* mock_archive.c - a program linked with a kernel library in a static archive

   A weak reference does not pull a member out of an archive: VQ_WITH_HIP or VQ_WITH_CUDA, which
   the Makefile sets, makes it a strong one. */
#if !defined(VQ_WITH_HIP) && !defined(VQ_WITH_CUDA)
#define VQ_WITH_HIP
#endif
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"

static void check_backend(vq_backend b, const char *arch)
{
    vq_ctx *vq = NULL;
    vq_desc d = VQ_ZERO;
    d.backend = b;
    CHECK(vq_init(&d, &vq) == VQ_OK && vq && !strcmp(vq_arch_in(vq), arch));
    vq_free(vq);
}

static void a_strong_reference_finds_the_archive(void)
{
#ifdef VQ_WITH_HIP
    check_backend(VQ_HIP, "gfx942");
#endif
#ifdef VQ_WITH_CUDA
    check_backend(VQ_CUDA, "sm_90a");
#endif
}

VQ_TEST_MAIN(T(a_strong_reference_finds_the_archive))
