/* mock_archive.c - a program linked with a kernel library in a static archive

   A weak reference does not pull a member out of an archive: VQ_WITH_HIP, which the Makefile
   sets, makes it a strong one. */
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"

static void an_archive_is_found_with_VQ_WITH_HIP(void)
{
    vq_ctx *vq = NULL;
    vq_desc d = VQ_ZERO;
    d.backend = VQ_HIP;
    CHECK(vq_init(&d, &vq) == VQ_OK && vq && !strcmp(vq_arch_in(vq), "gfx942"));
    vq_free(vq);
}

VQ_TEST_MAIN(T(an_archive_is_found_with_VQ_WITH_HIP))
