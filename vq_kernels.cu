/* vq_kernels.cu - the CUDA side of vq.h: its names for the runtime

   nvcc -O3 -std=c++17 -arch=sm_90a --fmad=false -Xcompiler -fPIC,-fvisibility=hidden \
        -shared vq_kernels.cu -o libvq_cuda.so            or: nvcc -x cu app.c vq_kernels.cu

   The kernels are in vq_kernels.hip, included at the end. */
#define VQ_KERNEL_FILE
#define VQ__SHIM
#include <cuda_runtime.h>
#include <stdio.h>
#include "vq.h"

#define VQ__GPU(name)        cuda##name
#define VQ__ENTRY            vq_kernels_cuda
#define VQ__VENDOR           "cuda"
#define HIP_DYNAMIC_SHARED(type, name) \
    extern __shared__ uint4 vq__dynamic[]; \
    type *name = (type *)vq__dynamic;

#define VQ__WAVE_MOST        32
#define vq__wave()           32
#define vq__xor(v, d)        __shfl_xor_sync(0xffffffffu, v, d)
#define vq__first_lane(v)    __shfl_sync(0xffffffffu, v, 0)

static __device__ __forceinline__ void vq__wait(void)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

static __device__ __forceinline__ void vq__loaded(void)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

#define vq__load(p)          vq__load_as<vq__quad, uint4>(p)
#define vq__load_duo(p)      vq__load_as<vq__duo, uint2>(p)
template <class T, class V> static __device__ __forceinline__ T vq__load_as(const void *p)
{
    const V v = __ldcs((const V *)p);
    T t;
    memcpy(&t, &v, sizeof t);
    return t;
}

template <class T> static __device__ __forceinline__ void vq__store(void *p, const T &v)
{
    if constexpr (sizeof v == 16) __stcs((uint4 *)p, *(const uint4 *)&v);
    else if constexpr (sizeof v == 8) __stcs((uint2 *)p, *(const uint2 *)&v);
    else *(T *)p = v;
}

/* Programmatic launches: a kernel starts up while the one before it in the stream ends, and waits
   for it first of all. Devices before 9.0 know nothing of it. */
static int vq__starts_early(void)
{
    static signed char known[64];                            /* 1 no, 2 yes; the same whoever asks */
    int device = 0, major = 0;
    if (cudaGetDevice(&device) != cudaSuccess || device >= 64) return 0;
    if (!known[device]) {
        if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess)
            return 0;
        known[device] = major >= 9 ? 2 : 1;
    }
    return known[device] == 2;
}

template <class... P, class... A>
static int vq__launch(void (*kernel)(P...), dim3 grid, unsigned block, size_t shared, void *stream, A... args)
{
    cudaLaunchAttribute early = {};
    cudaLaunchConfig_t c = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    c.gridDim = grid;
    c.blockDim = dim3(block);
    c.dynamicSmemBytes = shared;
    c.stream = (cudaStream_t)stream;
    c.attrs = &early;
    c.numAttrs = vq__starts_early() ? 1 : 0;
    return (int)cudaLaunchKernelEx(&c, kernel, (P)args...);
}
#define VQ__LAUNCH(k, grid, block, shared, stream, ...) \
    vq__launch(k, dim3(grid), block, shared, stream, __VA_ARGS__)

static int vq__arch(int device, char *out, size_t size)
{
    int n = 0, major = 0, minor = 0;
    if (cudaGetDeviceCount(&n) != cudaSuccess || device < 0 || device >= n) return 1;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess
        || cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess)
        return 1;
    snprintf(out, size, "sm_%d", major * 10 + minor);
    return 0;
}

#include "vq_kernels.hip"
