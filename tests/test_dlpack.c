/* test_dlpack.c - vq_tensor to DLTensor and back, with the distribution's dlpack.h */
#include <stdint.h>
#if defined(__has_include)
#if __has_include(<dlpack/dlpack.h>)
#include <dlpack/dlpack.h>
#define HAVE_DLPACK 1
#endif
#endif
#ifdef HAVE_DLPACK
#ifndef DLPACK_MAJOR_VERSION                 /* the codes that DLPACK 1.1 adds */
#define DLPACK_MAJOR_VERSION 1
#define DLPACK_MINOR_VERSION 1
enum { kDLFloat8_e4m3fn = 10, kDLFloat8_e4m3fnuz = 11, kDLFloat8_e5m2 = 12,
       kDLFloat8_e5m2fnuz = 13, kDLFloat8_e8m0fnu = 14 };
#endif
#define VQ_WITH_DLPACK
#endif
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"

#ifdef HAVE_DLPACK
static vq_report why;

static DLTensor dl(int code, int bits, int ndim, int64_t *shape, int64_t *strides)
{
    static char memory[4096];
    DLTensor d;
    memset(&d, 0, sizeof d);
    d.data = memory;
    d.device.device_type = kDLCPU;
    d.ndim = ndim;
    d.dtype.code = (uint8_t)code;
    d.dtype.bits = (uint8_t)bits;
    d.dtype.lanes = 1;
    d.shape = shape;
    d.strides = strides;
    return d;
}

static void every_type_goes_there_and_back(void)
{
    static const struct { vq_dtype t; int code, bits; } types[] = {
        { VQ_F32, 2, 32 }, { VQ_F16, 2, 16 }, { VQ_BF16, 4, 16 }, { VQ_INT8, 0, 8 },
        { VQ_UINT8, 1, 8 }, { VQ_E4M3FN, 10, 8 }, { VQ_E4M3FNUZ, 11, 8 }, { VQ_E5M2, 12, 8 },
        { VQ_E5M2FNUZ, 13, 8 }, { VQ_E8M0, 14, 8 }
    };
    int64_t shape[4], strides[4];
    int i, j;
    for (i = 0; i < (int)(sizeof types / sizeof *types); i++) {
        static const int64_t extent[4] = { 2, 3, 5, 7 };
        vq_tensor t = vq_tensor_nd(&why, types[i].t, 4, extent, VQ_HOST), back;
        DLDevice cpu = { kDLCPU, 0 };
        DLTensor d;
        CHECKF(vq_tensor_to_dlpack(&t, cpu, shape, strides, &d, &why) == VQ_OK, "%s", why.text);
        CHECK(d.dtype.code == types[i].code && d.dtype.bits == types[i].bits && d.dtype.lanes == 1);
        CHECK(d.ndim == 4 && d.shape == shape && d.strides == strides && d.data == t.data);
        for (j = 0; j < 4; j++) CHECK(shape[j] == extent[j] && strides[j] == t.stride[j]);
        CHECKF(vq_tensor_from_dlpack(&d, &back, &why) == VQ_OK, "%s", why.text);
        CHECK(!memcmp(&back, &t, sizeof t));
    }
}

static void places_and_offsets_are_kept(void)
{
    static const struct { int device; vq_where where; } places[] = {
        { kDLCPU, VQ_HOST }, { kDLCUDAHost, VQ_HOST }, { kDLROCMHost, VQ_HOST },
        { kDLCUDA, VQ_DEVICE }, { kDLROCM, VQ_DEVICE }, { kDLCUDAManaged, VQ_MANAGED }
    };
    int64_t shape[2] = { 4, 6 }, strides[2] = { 1, 4 };
    DLTensor d = dl(2, 32, 2, shape, NULL);
    vq_tensor t;
    int i;
    for (i = 0; i < (int)(sizeof places / sizeof *places); i++) {
        d.device.device_type = (DLDeviceType)places[i].device;
        CHECK(vq_tensor_from_dlpack(&d, &t, &why) == VQ_OK && t.where == places[i].where);
        CHECK(t.stride[0] == 6 && t.stride[1] == 1);         /* no strides: row-major */
    }
    d.strides = strides;
    d.byte_offset = 12;
    CHECK(vq_tensor_from_dlpack(&d, &t, &why) == VQ_OK && t.data == (char *)d.data + 12);
    CHECK(t.stride[0] == 1 && t.stride[1] == 4 && t.shape[0] == 4 && t.shape[1] == 6);
}

static void what_has_no_counterpart_is_refused(void)
{
    int64_t shape[5] = { 4, 6, 1, 1, 1 }, strides[4] = { -6, 1, 0, 0 };
    DLTensor good = dl(2, 32, 2, shape, NULL), d, out;
    DLDevice cpu = { kDLCPU, 0 };
    vq_tensor t, was;
    memset(&was, 0x5a, sizeof was);
#define REFUSED(change, g) do { d = good; t = was; change; \
    CHECK(vq_tensor_from_dlpack(&d, &t, &why) == VQ_BAD_ARG && why.guard == VQ_GUARD_##g); \
    CHECK(!memcmp(&t, &was, sizeof t)); } while (0)
    REFUSED(d.dtype.bits = 64, TYPE);
    REFUSED(d.dtype.code = 5, TYPE);
    REFUSED(d.dtype.lanes = 4, VALUE);
    REFUSED(d.ndim = 5, RANK);
    REFUSED(d.ndim = 0, RANK);
    REFUSED(d.strides = strides, STRIDE);
    REFUSED(shape[0] = -1, SIZE);
#undef REFUSED
    shape[0] = 4;
    CHECK(vq_tensor_from_dlpack(NULL, &t, &why) == VQ_BAD_ARG && why.guard == VQ_GUARD_PRESENT);
    CHECK(vq_tensor_from_dlpack(&good, NULL, &why) == VQ_BAD_ARG);
    t = vq_tensor_2d(&why, VQ_E2M1, 4, 6, VQ_HOST);
    CHECK(vq_tensor_to_dlpack(&t, cpu, shape, strides, &out, &why) == VQ_BAD_ARG
          && why.guard == VQ_GUARD_TYPE);
    t = vq_tensor_ordered(VQ_E8M0, 4, 6, VQ_TILES_128X4, &why, VQ_HOST);
    CHECK(vq_tensor_to_dlpack(&t, cpu, shape, strides, &out, &why) == VQ_BAD_ARG
          && why.guard == VQ_GUARD_LAYOUT);
    t.rank = 0;
    CHECK(vq_tensor_to_dlpack(&t, cpu, shape, strides, &out, &why) == VQ_BAD_ARG);
    CHECK(vq_tensor_to_dlpack(NULL, cpu, shape, strides, &out, NULL) == VQ_BAD_ARG);
    CHECK(vq_tensor_to_dlpack(&t, cpu, NULL, strides, &out, &why) == VQ_BAD_ARG);
}
#else
#define ABSENT "no dlpack.h: install libdlpack-dev"
static void every_type_goes_there_and_back(void)     { SKIP(ABSENT); }
static void places_and_offsets_are_kept(void)        { SKIP(ABSENT); }
static void what_has_no_counterpart_is_refused(void) { SKIP(ABSENT); }
#endif

VQ_TEST_MAIN(
    T(every_type_goes_there_and_back),
    T(places_and_offsets_are_kept),
    T(what_has_no_counterpart_is_refused))
