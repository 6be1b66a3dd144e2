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
#define VQ__LAUNCH(k, grid, block, stream, ...) \
    k<<<dim3(grid), dim3(block), 0, (cudaStream_t)(stream)>>>(__VA_ARGS__)

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
