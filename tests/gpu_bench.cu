/* gpu_bench.cu - each op of a kernel library beside a kernel that only moves the same bytes

     make cuda gpu-bench                    GPU_BENCH_ARGS="--quick act_mul fp8_group128"

   usage: gpu_bench [--quick] [--hot] [--nan] [--seconds S] [--csv FILE] [--library FILE]
                    [--list] [--dry] [SUBSTRING...]

   With substrings only the rows that have each of them in their line ("T=16 "; "host": what a call
   costs the host). --quick: fewer shapes.
   --hot: also with everything in the cache, for every T. --nan: the time on inputs of NaN too,
   as a multiple. --dry: what an H200 would be planned to run; needs no GPU. --seconds: what all of
   it may take (220, quick 50).

   us       of a call: vq_plan() once, then N times vq_run() captured in a graph, N 200 for T up to
            128, 60 up to 1024, 6 and more above; replays back to back, an event after each, the
            median of 15 and more (of a kernel that takes milliseconds, fewer nodes and replays).
   cold     inputs and outputs rotate through 256 MiB and more, 256 sets at most. hot: one set.
   bytes    every input and output once, scales too; weights, scalars and static scales not.
   floor    the best of many kernels without arithmetic that read and write so many bytes, spread
            over as many arrays: 1, 2, 4 loads a thread, blocks of 128 to 512, plain and streaming
            stores, one-shot and persistent grids, with and without programmatic dependent launch;
            the same harness, buffers and run. It reads once also where an op must read twice
            (fp8_tensor).
   peer     the best of others on this shape, see peers[]; p/us above 1: they are slower.

   Inputs are N(0,1) in bf16, or codes that vq_quant() made of it, and are looked at before; outputs
   are poisoned, the graph runs, and a row that left any of it as it was is not timed but fails. */
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The only place with a vendor's names. */
#ifdef __HIP__
#include <hip/hip_runtime.h>
#define GPU(name)     hip##name
#define PROPERTIES    hipDeviceProp_t
#define BACKEND       VQ_HIP
#define LIBRARY       "build/libvq_hip.so"
#define ASSUMED       "gfx942"
#define DRIVER_FILE   "/sys/module/amdgpu/version"
#define HAS_DEPENDENT 0                            /* programmatic dependent launch */
#define WAIT_FOR_LAST()  ((void)0)
#define LET_NEXT_START() ((void)0)
static __device__ inline uint4 load_once(const uint4 *p) { return *p; }
static __device__ inline void store_streaming(uint4 *p, uint4 v) { *p = v; }
static __device__ inline void store_streaming(uint2 *p, uint2 v) { *p = v; }
static __device__ inline void store_streaming(uint32_t *p, uint32_t v) { *p = v; }
#else
#include <cuda_runtime.h>
#define GPU(name)     cuda##name
#define PROPERTIES    cudaDeviceProp
#define BACKEND       VQ_CUDA
#define LIBRARY       "build/libvq_cuda.so"
#define ASSUMED       "sm_90"
#define DRIVER_FILE   "/proc/driver/nvidia/version"
#define HAS_DEPENDENT 1
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define WAIT_FOR_LAST()  cudaGridDependencySynchronize()
#define LET_NEXT_START() cudaTriggerProgrammaticLaunchCompletion()
#else
#define WAIT_FOR_LAST()  ((void)0)
#define LET_NEXT_START() ((void)0)
#endif
/* Not through the read-only path: what an op updates in place is also written. */
static __device__ inline uint4 load_once(const uint4 *p)
{
    uint4 v;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0,%1,%2,%3},[%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}
template <class T> static __device__ inline void store_streaming(T *p, T v) { __stcs(p, v); }
#endif
static __device__ inline uint2 load_once(const uint2 *p) { return *p; }
static __device__ inline uint32_t load_once(const uint32_t *p) { return *p; }
#define LAUNCH(k, grid, block, stream, ...) k<<<grid, block, 0, stream>>>(__VA_ARGS__)

#define VQ_IMPLEMENTATION
#include "../vq.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
#define must(call) checked((int)(call), #call, __LINE__)

enum { SETS = 256, LEAST = 15, MOST = 41, POISON = 0xa5, SEGMENT = 256, CODED_ROWS = 128 };
static const int64_t FOOTPRINT = (int64_t)256 << 20, CEILING = (int64_t)60 << 30;
static const double ROW_SECONDS = 0.3;             /* of measuring, in each row */

typedef union any_args {
    vq_call                      call;
    vq_cast_args                 cast;
    vq_quant_args                quant;
    vq_dequant_args              dequant;
    vq_act_args                  act;
    vq_act_mul_args              act_mul;
    vq_act_mul_quant_args        act_mul_quant;
    vq_masked_act_mul_quant_args masked;
    vq_rms_norm_args             rms_norm;
    vq_rms_norm_quant_args       rms_norm_quant;
    vq_scale_convert_args        scale_convert;
} any_args;

/* --- what others take ------------------------------------------------------------------------

   Microseconds, "T:us:who", the fastest of those measured. On one H200 (driver 580.159, CUDA 13.0)
   on 2026-11-21: vLLM main of 2026-08-07, sglang of 2026-07, FlashInfer and TransformerEngine of
   2026-08-22, torch 2.11 and torch.compile; graphs, sets, data and bytes as here. Most outputs
   differ in the last bit from vq's. Packed and strided scales are in one list: the faster counts.
   FP4 on Hopper is vLLM's kernel with its sm_100 instruction replaced. */
static const struct peer { const char *family; int H; const char *cache, *list; } peers[] = {
    { "silu_mul_bf16", 7168, "cold",
      "1:1.70:flashinfer_pdl 16:1.94:torch.compile 64:2.26:torch.compile 128:2.96:torch.compile "
      "256:4.21:torch.compile 1024:11.38:torch.compile 4096:42.82:torch.compile "
      "8192:82.41:torch.compile 32768:321.05:torch.compile" },
    { "silu_mul_bf16", 4096, "cold",
      "1:1.35:flashinfer_pdl 16:1.86:torch.compile 128:2.36:torch.compile 1024:7.14:torch.compile "
      "8192:48.43:torch.compile 32768:185.00:torch.compile" },
    { "silu_mul_static_fp8", 7168, "cold",
      "1:2.86:te_swiglu_noamax 16:2.39:torch.compile 64:2.56:torch.compile 128:3.12:torch.compile "
      "256:4.47:torch.compile 1024:12.55:torch.compile 4096:44.59:torch.compile "
      "8192:86.38:torch.compile 32768:335.65:torch.compile" },
    { "silu_mul_static_fp8", 7168, "hot",
      "1:2.86:te_swiglu_noamax 16:1.55:torch.compile 64:1.90:torch.compile 128:2.45:torch.compile "
      "256:3.64:torch.compile 1024:11.19:torch.compile" },
    { "silu_mul_static_fp8", 4096, "cold",
      "1:2.54:te_swiglu_noamax 16:1.89:torch.compile 128:2.55:torch.compile "
      "1024:8.45:torch.compile 8192:51.46:torch.compile 32768:195.95:torch.compile" },
    { "silu_mul_static_fp8", 4096, "hot",
      "1:2.54:te_swiglu_noamax 16:1.32:torch.compile 128:1.96:torch.compile "
      "1024:6.89:torch.compile" },
    { "silu_mul_group128_fp8", 7168, "cold",
      "1:1.52:vllm_triton_packed_ue8m0 16:2.10:torch.compile 64:2.68:vllm_triton_colmajor "
      "128:3.47:vllm_triton_colmajor 256:4.43:sgl_dsv4_varlen_E1 "
      "1024:11.65:vllm_triton_packed_ue8m0 4096:38.70:vllm_triton_packed_ue8m0 "
      "8192:74.12:sgl_v2_fused_ue8m0 32768:272.94:vllm_triton_packed_ue8m0" },
    { "silu_mul_group128_fp8", 7168, "hot",
      "1:1.48:vllm_cuda_block_row 16:1.47:vllm_triton_colmajor 64:2.00:vllm_triton_colmajor "
      "128:2.54:vllm_triton_colmajor 256:3.70:sgl_dsv4_varlen_E1 "
      "1024:10.54:vllm_triton_packed_ue8m0" },
    { "silu_mul_group128_fp8", 4096, "cold",
      "1:1.49:vllm_triton_packed_ue8m0 16:1.98:torch.compile 128:2.79:vllm_triton_colmajor "
      "1024:7.99:vllm_triton_packed_ue8m0 8192:43.73:vllm_triton_packed_ue8m0 "
      "32768:157.11:vllm_triton_packed_ue8m0" },
    { "silu_mul_group128_fp8", 4096, "hot",
      "1:1.48:vllm_cuda_block_row 16:1.42:vllm_triton_colmajor 128:2.06:vllm_triton_colmajor "
      "1024:6.54:vllm_triton_packed_ue8m0" },
    { "silu_mul_pertoken_fp8", 7168, "cold",
      "1:5.35:vllm_unfused 16:4.43:torch.compile 64:4.57:torch.compile 128:4.87:torch.compile "
      "256:7.38:torch.compile 1024:22.51:torch.compile 4096:80.00:vllm_unfused "
      "8192:150.03:vllm_unfused 32768:572.21:vllm_unfused" },
    { "silu_mul_pertoken_fp8", 4096, "cold",
      "1:4.10:vllm_unfused 16:3.02:torch.compile 128:3.42:torch.compile 1024:13.41:torch.compile "
      "8192:84.83:vllm_unfused 32768:320.33:vllm_unfused" },
    { "group128_fp8", 7168, "cold",
      "1:1.33:sgl_v2_ue8m0 16:2.08:torch.compile 64:2.29:torch.compile 128:2.68:sgl_v2_ue8m0 "
      "256:3.41:sgl_v2_ue8m0 1024:7.31:sgl_v2_row 4096:23.30:sgl_v2_ue8m0 8192:43.11:sgl_v2_ue8m0 "
      "32768:163.21:sgl_v2_ue8m0" },
    { "group128_fp8", 7168, "hot",
      "1:1.21:vllm_triton_row 16:1.41:sgl_v2_col 64:1.58:sgl_v2_row 128:1.82:sgl_v2_row "
      "256:2.28:sgl_v2_row 1024:4.61:sgl_v2_row" },
    { "group128_fp8", 4096, "cold",
      "1:1.30:sgl_v2_ue8m0 16:1.53:torch.compile 128:2.34:torch.compile 1024:5.03:sgl_v2_ue8m0 "
      "8192:26.04:sgl_v2_ue8m0 32768:94.75:sgl_v2_ue8m0" },
    { "group128_fp8", 4096, "hot",
      "1:1.21:vllm_triton_row 16:1.38:sgl_v2_ue8m0 128:1.60:sgl_v2_row 1024:3.18:sgl_v2_row" },
    { "static_fp8", 7168, "cold",
      "1:1.92:vllm_cuda 16:1.83:torch.compile 64:1.95:torch.compile 128:2.28:torch.compile "
      "256:2.99:torch.compile 1024:6.88:torch.compile 4096:22.81:vllm_cuda 8192:42.67:vllm_cuda "
      "32768:163.03:vllm_cuda" },
    { "static_fp8", 4096, "cold",
      "1:1.56:vllm_cuda 16:1.24:torch.compile 128:1.97:torch.compile 1024:4.71:torch.compile "
      "8192:25.48:vllm_cuda 32768:94.18:vllm_cuda" },
    { "pertoken_fp8", 7168, "cold",
      "1:2.25:sgl 16:2.80:torch.compile 64:2.92:torch.compile 128:3.17:torch.compile "
      "256:4.39:torch.compile 1024:9.03:sgl 4096:31.58:vllm_cuda 8192:56.93:vllm_cuda "
      "32768:208.47:vllm_cuda" },
    { "pertoken_fp8", 7168, "hot",
      "1:2.26:sgl 16:2.34:sgl 64:2.39:sgl 128:2.52:sgl 256:3.16:sgl 1024:6.65:sgl" },
    { "pertoken_fp8", 4096, "cold",
      "1:1.83:sgl 16:1.94:torch.compile 128:2.58:torch.compile 1024:5.96:sgl 8192:35.07:vllm_cuda "
      "32768:129.14:vllm_cuda" },
    { "pertoken_fp8", 4096, "hot",
      "1:1.83:sgl 16:1.89:torch.compile 128:2.04:torch.compile 1024:4.57:sgl" },
    { "dynamic_pertensor_fp8", 7168, "cold",
      "1:9.99:vllm_cuda 16:7.79:torch.compile 64:8.08:torch.compile 128:8.28:torch.compile "
      "256:11.56:torch.compile 1024:23.13:vllm_cuda 4096:78.29:vllm_cuda 8192:144.51:vllm_cuda "
      "32768:539.77:vllm_cuda" },
    { "dynamic_pertensor_fp8", 4096, "cold",
      "1:7.46:vllm_cuda 16:5.99:torch.compile 128:6.61:torch.compile 1024:15.95:vllm_cuda "
      "8192:90.04:vllm_cuda 32768:323.48:vllm_cuda" },
    { "rms_bf16", 7168, "cold",
      "1:1.74:flashinfer_pdl1 16:2.27:flashinfer_pdl1 64:2.56:flashinfer_pdl1 "
      "128:2.98:flashinfer_pdl1 256:3.74:torch.compile 1024:8.39:torch.compile "
      "4096:30.84:torch.compile 8192:57.70:torch.compile 32768:219.54:torch.compile" },
    { "rms_bf16", 4096, "cold",
      "1:1.47:flashinfer_pdl1 16:1.82:torch.compile 128:2.47:flashinfer_pdl1 "
      "1024:5.92:torch.compile 8192:37.81:vllm_cuda 32768:138.32:vllm_cuda" },
    { "rms_static_fp8", 7168, "cold",
      "1:1.85:flashinfer_pdl1 16:2.45:flashinfer_pdl1 64:2.69:flashinfer_pdl1 "
      "128:3.00:flashinfer_pdl1 256:3.93:flashinfer_pdl1 1024:10.70:torch.compile "
      "4096:34.93:torch.compile 8192:66.19:torch.compile 32768:251.75:torch.compile" },
    { "rms_static_fp8", 7168, "hot",
      "1:1.85:flashinfer_pdl1 16:1.93:flashinfer_pdl1 64:2.01:flashinfer_pdl1 "
      "128:2.21:flashinfer_pdl1 256:2.80:flashinfer_pdl1 1024:9.42:torch.compile" },
    { "rms_static_fp8", 4096, "cold",
      "1:1.55:flashinfer_pdl1 16:1.97:torch.compile 128:2.55:flashinfer_pdl1 "
      "1024:6.99:torch.compile 8192:39.19:torch.compile 32768:144.82:torch.compile" },
    { "rms_static_fp8", 4096, "hot",
      "1:1.56:flashinfer_pdl1 16:1.63:flashinfer_pdl1 128:1.80:flashinfer_pdl1 "
      "1024:5.42:flashinfer_pdl1" },
    { "rms_pertoken_fp8", 7168, "cold",
      "1:4.58:vllm_cuda 16:3.54:torch.compile 64:3.69:torch.compile 128:3.94:torch.compile "
      "256:5.47:torch.compile 1024:14.53:torch.compile 4096:49.86:torch.compile "
      "8192:95.11:torch.compile 32768:366.38:torch.compile" },
    { "rms_pertoken_fp8", 7168, "hot",
      "1:4.58:vllm_cuda 16:3.07:torch.compile 64:3.13:torch.compile 128:3.30:torch.compile "
      "256:4.60:torch.compile 1024:13.31:torch.compile" },
    { "rms_pertoken_fp8", 4096, "cold",
      "1:3.52:vllm_cuda 16:2.45:torch.compile 128:3.13:torch.compile 1024:9.52:torch.compile "
      "8192:58.26:torch.compile 32768:221.08:torch.compile" },
    { "rms_pertoken_fp8", 4096, "hot",
      "1:3.52:vllm_cuda 16:2.34:torch.compile 128:2.60:torch.compile 1024:8.66:torch.compile" },
    { "rms_group128_fp8", 7168, "cold",
      "1:3.44:fi_rms+sgl_group_unfused 16:4.05:torch.compile 64:4.41:torch.compile "
      "128:5.10:torch.compile 256:6.48:torch.compile 1024:14.95:torch.compile "
      "4096:50.37:torch.compile 8192:94.60:torch.compile 32768:359.80:torch.compile" },
    { "rms_group128_fp8", 7168, "hot",
      "1:3.44:fi_rms+sgl_group_unfused 16:3.21:torch.compile 64:3.62:torch.compile "
      "128:4.28:torch.compile 256:5.37:torch.compile 1024:12.76:torch.compile" },
    { "rms_group128_fp8", 4096, "cold",
      "1:3.10:fi_rms+sgl_group_unfused 16:3.26:torch.compile 128:4.42:torch.compile "
      "1024:10.56:torch.compile 8192:59.67:torch.compile 32768:221.53:torch.compile" },
    { "rms_group128_fp8", 4096, "hot",
      "1:3.10:fi_rms+sgl_group_unfused 16:3.02:torch.compile 128:3.68:torch.compile "
      "1024:8.82:torch.compile" },
    { "addrms_static_fp8", 7168, "cold",
      "1:2.09:flashinfer_pdl1 16:2.73:flashinfer_pdl1 64:3.15:flashinfer_pdl1 "
      "128:3.76:torch.compile 256:5.54:torch.compile 1024:15.25:torch.compile "
      "4096:56.33:torch.compile 8192:105.04:vllm_cuda 32768:394.34:vllm_cuda" },
    { "addrms_static_fp8", 7168, "hot",
      "1:2.10:flashinfer_pdl1 16:2.23:flashinfer_pdl1 64:2.35:flashinfer_pdl1 "
      "128:2.57:flashinfer_pdl1 256:3.48:flashinfer_pdl1 1024:11.71:vllm_cuda" },
    { "addrms_static_fp8", 4096, "cold",
      "1:1.78:flashinfer_pdl1 16:2.31:torch.compile 128:2.77:torch.compile 1024:8.78:torch.compile "
      "8192:61.19:vllm_cuda 32768:227.59:vllm_cuda" },
    { "addrms_static_fp8", 4096, "hot",
      "1:1.79:flashinfer_pdl1 16:1.87:flashinfer_pdl1 128:2.12:flashinfer_pdl1 "
      "1024:6.87:torch.compile" },
    { "addrms_pertoken_fp8", 7168, "cold",
      "1:4.82:vllm_cuda 16:3.88:torch.compile 64:4.15:torch.compile 128:4.64:torch.compile "
      "256:6.94:torch.compile 1024:19.39:torch.compile 4096:67.62:torch.compile "
      "8192:129.20:torch.compile 32768:500.14:torch.compile" },
    { "addrms_pertoken_fp8", 4096, "cold",
      "1:3.64:vllm_cuda 16:2.87:torch.compile 128:3.36:torch.compile 1024:11.11:torch.compile "
      "8192:68.64:torch.compile 32768:260.89:torch.compile" },
    { "addrms_group128_fp8", 7168, "cold",
      "1:4.16:vllm_unfused 16:4.90:torch.compile 64:5.40:torch.compile 128:6.21:torch.compile "
      "256:7.84:torch.compile 1024:20.83:torch.compile 4096:79.76:torch.compile "
      "8192:153.29:torch.compile 32768:596.25:torch.compile" },
    { "addrms_group128_fp8", 7168, "hot",
      "1:4.16:vllm_unfused 16:3.82:torch.compile 64:4.25:torch.compile 128:4.87:torch.compile "
      "256:6.69:torch.compile 1024:20.97:torch.compile" },
    { "addrms_group128_fp8", 4096, "cold",
      "1:3.86:vllm_unfused 16:3.90:torch.compile 128:4.62:torch.compile 1024:13.04:torch.compile "
      "8192:89.03:torch.compile 32768:345.50:torch.compile" },
    { "addrms_group128_fp8", 4096, "hot",
      "1:3.86:vllm_unfused 16:3.32:torch.compile 128:3.89:torch.compile 1024:11.71:torch.compile" },
    { "nvfp4", 7168, "cold",
      "1:1.28:vllm_cuda_linear_soft_e2m1 16:1.69:vllm_cuda_linear_soft_e2m1 "
      "128:2.56:vllm_cuda_linear_soft_e2m1 1024:10.68:vllm_cuda_linear_soft_e2m1 "
      "8192:73.93:vllm_cuda_linear_soft_e2m1 32768:287.51:vllm_cuda_linear_soft_e2m1" },
    { "nvfp4", 4096, "cold",
      "1:1.31:vllm_cuda_linear_soft_e2m1 16:1.54:vllm_cuda_linear_soft_e2m1 "
      "128:1.89:vllm_cuda_linear_soft_e2m1 1024:6.55:vllm_cuda_linear_soft_e2m1 "
      "8192:41.75:vllm_cuda_linear_soft_e2m1 32768:160.25:vllm_cuda_linear_soft_e2m1" },
    { "mxfp4", 7168, "cold",
      "16:7.57:torch.compile 128:8.09:torch.compile 1024:22.65:torch.compile "
      "8192:140.37:torch.compile 32768:539.09:torch.compile" },
    { "mxfp4", 4096, "cold",
      "16:3.28:torch.compile 128:4.64:torch.compile 1024:13.52:torch.compile "
      "8192:82.77:torch.compile 32768:317.83:torch.compile" },
};

static double peer_of(const char *family, int H, int T, const char *cache, char *who)
{
    int i, t, n;
    double us;
    who[0] = 0;
    for (i = 0; family && i < COUNT(peers); i++) {
        const char *at = peers[i].list;
        if (strcmp(peers[i].family, family) || peers[i].H != H || strcmp(peers[i].cache, cache))
            continue;
        for (; sscanf(at, " %d:%lf:%31s%n", &t, &us, who, &n) == 3; at += n)
            if (t == T) return us;
    }
    who[0] = 0;
    return 0;
}

/* Experts, rows there are room for, columns of the output, rows that are there. */
static const struct masked { int E, T, H, valid; double us; const char *who; } masks[] = {
    {   8, 4096, 2048, 16248, 42.6, "sgl_v2_masked" },
    {  32, 1024, 2048,  5768, 19.4, "sgl_dsv4_varlen" },
    {  32, 1024, 2048,   607,  4.2, "sgl_dsv4_varlen" },
    {   8, 4096, 4096, 16248, 80.4, "sgl_v2_masked" },
    {  32, 1024, 4096,  5768, 37.6, "sgl_dsv4_varlen" },
    {  16, 1024, 7168,  8372, 98.8, "vllm_persistent" },
    { 256,  128, 2048,  1935,  8.1, "sgl_dsv4_varlen" },
};

/* --- rows ------------------------------------------------------------------------------------ */

/* The floor's accesses for every eight elements: arrays read and bytes of each, bytes written to
   one array and to another.   X(ID, read, from, written, also) */
#define PATTERNS(X) \
    X(COPY,    16, 1, 16, 0)         /* 16 bits to 16 */ \
    X(TO8,     16, 1,  8, 0) \
    X(TO4,     16, 1,  4, 0) \
    X(FROM8,    8, 1, 16, 0) \
    X(FROM4,    4, 1, 16, 0) \
    X(GATED,   16, 2, 16, 0)         /* gate and up */ \
    X(GATED8,  16, 2,  8, 0) \
    X(GATED4,  16, 2,  4, 0) \
    X(ADDED,   16, 2, 16, 16)        /* x and residual to y and residual */ \
    X(ADDED8,  16, 2,  8, 16)

typedef enum pattern {
#define X(ID, read, from, written, also) ID,
    PATTERNS(X)
#undef X
    PATTERN_COUNT
} pattern;

/* key: a preset; of an op without one what is shown in its place. */
typedef struct row {
    vq_op       op;
    const char *key;
    vq_order    order;                             /* of scales */
    int         residual;
    pattern     floor;
    const char *peer;
} row;

static const row rows[] = {
    { VQ_OP_QUANT, "fp8_static",        VQ_ROWS,        0, TO8, "static_fp8" },
    { VQ_OP_QUANT, "fp8_token",         VQ_ROWS,        0, TO8, "pertoken_fp8" },
    { VQ_OP_QUANT, "fp8_group128",      VQ_ROWS,        0, TO8, "group128_fp8" },
    { VQ_OP_QUANT, "fp8_group128",      VQ_COLUMNS,     0, TO8, "group128_fp8" },
    { VQ_OP_QUANT, "fp8_group128",      VQ_COLUMNS_TMA, 0, TO8, "group128_fp8" },
    { VQ_OP_QUANT, "vllm_packed_ue8m0", VQ_WORDS_UE8M0, 0, TO8, "group128_fp8" },
    { VQ_OP_QUANT, "fp8_tensor",        VQ_ROWS,        0, TO8, "dynamic_pertensor_fp8" },
    { VQ_OP_QUANT, "int8_token",        VQ_ROWS,        0, TO8, NULL },
    { VQ_OP_QUANT, "mxfp8",             VQ_ROWS,        0, TO8, NULL },
    { VQ_OP_QUANT, "mxfp4",             VQ_ROWS,        0, TO4, "mxfp4" },
    { VQ_OP_QUANT, "nvfp4",             VQ_ROWS,        0, TO4, "nvfp4" },
    { VQ_OP_DEQUANT, "fp8_group128",    VQ_ROWS,        0, FROM8, NULL },
    { VQ_OP_DEQUANT, "fp8_token",       VQ_ROWS,        0, FROM8, NULL },
    { VQ_OP_DEQUANT, "mxfp4",           VQ_ROWS,        0, FROM4, NULL },
    { VQ_OP_ACT,     "silu",            VQ_ROWS,        0, COPY, NULL },
    { VQ_OP_ACT_MUL, "silu",            VQ_ROWS,        0, GATED, "silu_mul_bf16" },
    { VQ_OP_ACT_MUL_QUANT, "fp8_static",        VQ_ROWS,        0, GATED8, "silu_mul_static_fp8" },
    { VQ_OP_ACT_MUL_QUANT, "fp8_token",         VQ_ROWS,        0, GATED8, "silu_mul_pertoken_fp8" },
    { VQ_OP_ACT_MUL_QUANT, "fp8_group128",      VQ_ROWS,        0, GATED8, "silu_mul_group128_fp8" },
    { VQ_OP_ACT_MUL_QUANT, "fp8_group128",      VQ_COLUMNS,     0, GATED8, "silu_mul_group128_fp8" },
    { VQ_OP_ACT_MUL_QUANT, "vllm_packed_ue8m0", VQ_WORDS_UE8M0, 0, GATED8, "silu_mul_group128_fp8" },
    { VQ_OP_ACT_MUL_QUANT, "mxfp4",             VQ_ROWS,        0, GATED4, NULL },
    { VQ_OP_ACT_MUL_QUANT, "nvfp4",             VQ_ROWS,        0, GATED4, NULL },
    { VQ_OP_MASKED_ACT_MUL_QUANT, "fp8_group128",      VQ_ROWS,        0, GATED8, NULL },
    { VQ_OP_MASKED_ACT_MUL_QUANT, "vllm_packed_ue8m0", VQ_WORDS_UE8M0, 0, GATED8, NULL },
    { VQ_OP_RMS_NORM, "",                     VQ_ROWS, 0, COPY,  "rms_bf16" },
    { VQ_OP_RMS_NORM, "",                     VQ_ROWS, 1, ADDED, NULL },
    { VQ_OP_RMS_NORM_QUANT, "fp8_static",     VQ_ROWS, 0, TO8,    "rms_static_fp8" },
    { VQ_OP_RMS_NORM_QUANT, "fp8_token",      VQ_ROWS, 0, TO8,    "rms_pertoken_fp8" },
    { VQ_OP_RMS_NORM_QUANT, "fp8_group128",   VQ_ROWS, 0, TO8,    "rms_group128_fp8" },
    { VQ_OP_RMS_NORM_QUANT, "fp8_static",     VQ_ROWS, 1, ADDED8, "addrms_static_fp8" },
    { VQ_OP_RMS_NORM_QUANT, "fp8_token",      VQ_ROWS, 1, ADDED8, "addrms_pertoken_fp8" },
    { VQ_OP_RMS_NORM_QUANT, "fp8_group128",   VQ_ROWS, 1, ADDED8, "addrms_group128_fp8" },
    { VQ_OP_SCALE_CONVERT, "f32",             VQ_COLUMNS_TMA, 0, COPY, NULL },
    { VQ_OP_SCALE_CONVERT, "float8_e8m0fnu",  VQ_WORDS_UE8M0, 0, COPY, NULL },
    { VQ_OP_CAST, "saturate",                 VQ_ROWS, 0, TO8, NULL },
};

/* --- the machine ------------------------------------------------------------------------------ */

static struct options {
    int quick, hot, nan, list, dry;
    double seconds;
    const char *library;
    FILE *csv;
    char *words[64];
} opt;

static vq_ctx *cpu, *gpu;
static GPU(Stream_t) stream;
static int multiprocessors = 1;
static double started;

/* Memory of all sets of a row, and of what they share. */
static char *pool, *common;
static int64_t pool_bytes;
enum { COMMON_BYTES = 1 << 20 };
static char *workspace;
static size_t workspace_bytes;
static unsigned long long *tally;                  /* four counters that kernels add to */

static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fprintf(stderr, "gpu_bench: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

static void checked(int error, const char *call, int line)
{
    if (error) fail("line %d: %s: %s", line, call, GPU(GetErrorString)((GPU(Error_t))error));
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *t, int n)
{
    qsort(t, (size_t)n, sizeof *t, ascending);
    return n % 2 ? t[n / 2] : (t[n / 2 - 1] + t[n / 2]) / 2;
}

static void reserve(int64_t bytes)
{
    if (bytes <= pool_bytes) return;
    if (pool) must(GPU(Free)(pool));
    must(GPU(Malloc)((void **)&pool, (size_t)bytes));
    pool_bytes = bytes;
}

/* --- data: filled, looked at, poisoned --------------------------------------------------------

   All of these take one tensor of each set: `bytes` at `at` of each of `sets` slots. */

struct spans { char *at; int64_t slot, bytes; int sets; };

static __device__ inline int64_t thread_of(void)
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}
static __device__ inline int64_t threads(void) { return (int64_t)gridDim.x * blockDim.x; }

static __device__ inline uint32_t noise(uint64_t i)        /* splitmix64, top half */
{
    uint64_t z = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

enum fill { NORMAL, NOT_A_NUMBER, BITS };

/* Four bytes a step: two bf16, or 32 bits of noise. */
static __global__ void k_fill(spans s, int what, uint64_t seed)
{
    const int64_t words = s.bytes / 4, n = words * s.sets;
    for (int64_t i = thread_of(); i < n; i += threads()) {
        const uint32_t a = noise(seed + 2 * (uint64_t)i), b = noise(seed + 2 * (uint64_t)i + 1);
        uint32_t *p = (uint32_t *)(s.at + i / words * s.slot) + i % words;
        if (what == NORMAL) {                      /* Box and Muller */
            const float r = sqrtf(-2.0f * logf(((float)(a >> 8) + 1.0f) * 0x1p-24f));
            const float angle = (float)(b >> 8) * (6.2831853f * 0x1p-24f);
            *p = vq_bf16_from_f32(r * cosf(angle), VQ_SATURATE)
               | (uint32_t)vq_bf16_from_f32(r * sinf(angle), VQ_SATURATE) << 16;
        } else *p = what == BITS ? a : (a & 0x803f803fu) | 0x7fc07fc0u;
    }
}

/* tally: NaN, zeros, 1024 times the sum of |x| of numbers; then all words, added. */
static __global__ void k_look(spans s, unsigned long long *tally)
{
    const int64_t words = s.bytes / 4, n = words * s.sets;
    unsigned long long nans = 0, zeros = 0, sum = 0, all = 0;
    for (int64_t i = thread_of(); i < n; i += threads()) {
        const uint32_t w = ((const uint32_t *)(s.at + i / words * s.slot))[i % words];
        for (int h = 0; h < 2; h++) {
            const float v = fabsf(vq_f32_from_bf16((uint16_t)(w >> 16 * h)));
            nans += v != v;
            zeros += v == 0.0f;
            sum += v < 64.0f ? (unsigned long long)(v * 1024.0f) : 0;
        }
        all += w;
    }
    if (nans) atomicAdd(&tally[0], nans);
    if (zeros) atomicAdd(&tally[1], zeros);
    if (sum) atomicAdd(&tally[2], sum);
    if (all) atomicAdd(&tally[3], all);
}

/* tally[0]: runs of SEGMENT bytes, a last one shorter, that are poison still. */
static __global__ void k_untouched(spans s, unsigned long long *tally)
{
    const int64_t runs = (s.bytes + SEGMENT - 1) / SEGMENT, n = runs * s.sets;
    for (int64_t i = thread_of(); i < n; i += threads()) {
        const int64_t from = i % runs * SEGMENT, left = s.bytes - from;
        const uint8_t *p = (const uint8_t *)s.at + i / runs * s.slot + from;
        int same = 1;
        for (int j = 0; same && j < SEGMENT && j < left; j++) same = p[j] == POISON;
        if (same) atomicAdd(&tally[0], 1ull);
    }
}

static __global__ void k_poison(spans s)
{
    const int64_t n = s.bytes * s.sets;
    for (int64_t i = thread_of(); i < n; i += threads())
        s.at[i / s.bytes * s.slot + i % s.bytes] = (char)POISON;
}

static unsigned wide(void) { return (unsigned)multiprocessors * 8; }

static void tallied(unsigned long long *out)
{
    must(GPU(GetLastError)());
    must(GPU(StreamSynchronize)(stream));
    must(GPU(Memcpy)(out, tally, 4 * sizeof *out, GPU(MemcpyDeviceToHost)));
}

static void clear_tally(void) { must(GPU(MemsetAsync)(tally, 0, 4 * sizeof *tally, stream)); }

static void fill(spans s, int what)
{
    static uint64_t seed;
    LAUNCH(k_fill, wide(), 256, stream, s, what, seed);
    seed += UINT64_C(0x100000000000);
    must(GPU(GetLastError)());
}

/* Are the inputs what they should be? */
static void look(spans s, int what, const char *name)
{
    const double n = (double)(s.bytes / 2 * s.sets);
    unsigned long long got[4];
    double mean;
    clear_tally();
    LAUNCH(k_look, wide(), 256, stream, s, tally);
    tallied(got);
    mean = (double)got[2] / 1024 / n;
    if (what == NOT_A_NUMBER ? (double)got[0] != n
                             : got[0] || (double)got[1] > n / 100 || fabs(mean - 0.798) > 0.05 + 3 / sqrt(n))
        fail("%s is not as filled: of %.0f values %llu are NaN, %llu zeros, the mean of |x| is %g",
             name, n, got[0], got[1], mean);
}

static unsigned long long sum_of(spans s)
{
    unsigned long long got[4];
    clear_tally();
    LAUNCH(k_look, wide(), 256, stream, s, tally);
    tallied(got);
    return got[3];
}

static void poison(spans s)
{
    LAUNCH(k_poison, wide(), 256, stream, s);
    must(GPU(GetLastError)());
}

static unsigned long long untouched(spans s)
{
    unsigned long long got[4];
    clear_tally();
    LAUNCH(k_untouched, wide(), 256, stream, s, tally);
    tallied(got);
    return got[0];
}

/* --- the args of a row ------------------------------------------------------------------------- */

enum role { INPUT, CODES, RAW, OUTPUT, BOTH, SHARED };       /* SHARED: of all sets, not counted */
enum { WEIGHT_AT = 0, SCALAR_AT = 1 << 16, COUNTS_AT = 1 << 17 };
enum { PARTS = 8 };

typedef struct part { size_t member; int64_t at, bytes; int role; } part;

typedef struct bench {
    const row    *r;
    const masked *m;                               /* or NULL */
    int           T, H, sets, parts;               /* T: the rows that are there */
    part          part_of[PARTS];
    const part   *x, *y, *scale;                   /* scale: where it moves in each set */
    int64_t       slot, bytes, units, aux;         /* of the floor: eight elements, 4-byte words */
    vq_dtype      in, out;
    vq_choice     choice;
    any_args      first, args[SETS];
    vq_report     why;
    char          line[128];
} bench;

static vq_key key_of(const char *text)
{
    vq_key k;
    if (vq_key_parse(text, &k, NULL) != VQ_OK) fail("%s is not a key", text);
    return k;
}

static int64_t element_bytes(const vq_tensor *t)
{
    int64_t n = vq_row_bytes(t->dtype, t->shape[t->rank - 1]);
    int i;
    for (i = 0; i < t->rank - 1; i++) n *= t->shape[i];
    return n;
}

static const part *add(bench *b, vq_tensor *t, vq_tensor v, int role, int64_t at)
{
    part *p = &b->part_of[b->parts++];
    v.where = VQ_DEVICE;
    *t = v;
    p->member = (size_t)((char *)t - (char *)&b->first);
    p->bytes = vq_tensor_bytes(v);
    p->role = role;
    p->at = role == SHARED ? at : b->slot;
    if (role == SHARED) return p;
    b->slot += (p->bytes + 511) / 512 * 512;
    b->bytes += element_bytes(&v) * (role == BOTH ? 2 : 1);
    return p;
}

static vq_tensor shaped(vq_dtype t, int64_t rows, int64_t cols)
{
    return vq_tensor_2d(NULL, t, rows, cols, VQ_DEVICE);
}

/* What every op that quantizes writes, and reads beside x. `s` has the members of the args. */
static void add_sink(bench *b, vq_quant_args *s, vq_tensor *q, vq_tensor *scale, vq_tensor *scale2)
{
    const row *r = b->r;
    s->key = key_of(r->key);
    s->q = shaped(s->key.elem, b->T, b->H);
    b->y = add(b, q, s->q, OUTPUT, 0);
    b->out = s->key.elem;
    if (s->key.flags & VQ_KEY_STATIC)
        add(b, scale, vq_scale_for(&s->key, s->q, r->order, NULL), SHARED, SCALAR_AT);
    else b->scale = add(b, scale, vq_scale_for(&s->key, s->q, r->order, NULL), OUTPUT, 0);
    if (s->key.scale2_kind) add(b, scale2, shaped(VQ_F32, 1, 1), SHARED, SCALAR_AT + 256);
}

/* Sums to m->valid, none above m->T. */
static void spread(const masked *m, int32_t *counts)
{
    int64_t left = m->valid;
    uint64_t random = 1;
    int e;
    for (e = 0; e < m->E; e++) {
        const int64_t others = m->E - e - 1, fair = left / (others + 1);
        int64_t n = fair / 2 + (int64_t)((random >> 33) % (uint64_t)(fair + 1));
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if (n < left - others * m->T) n = left - others * m->T;
        if (!others) n = left;
        counts[e] = (int32_t)(n < m->T ? n : m->T);
        left -= counts[e];
    }
    if (left) fail("%d rows do not fit %d experts of %d", m->valid, m->E, m->T);
}

static void add_masked(bench *b)
{
    const masked *m = b->m;
    const int64_t wide[] = { m->E, m->T, 2 * m->H }, narrow[] = { m->E, m->T, m->H }, E = m->E;
    vq_masked_act_mul_quant_args *a = &b->first.masked;
    vq_tensor scale;
    a->key = key_of(b->r->key);
    b->x = add(b, &a->x, vq_tensor_nd(NULL, VQ_BF16, 3, wide, VQ_DEVICE), INPUT, 0);
    add(b, &a->counts, vq_tensor_nd(NULL, VQ_INT32, 1, &E, VQ_DEVICE), SHARED, COUNTS_AT);
    b->y = add(b, &a->q, vq_tensor_nd(NULL, a->key.elem, 3, narrow, VQ_DEVICE), OUTPUT, 0);
    scale = vq_scale_for(&a->key, shaped(a->key.elem, m->T, m->H), b->r->order, NULL);
    scale.rank = 3;
    scale.shape[2] = scale.shape[1];
    scale.shape[1] = scale.shape[0];
    scale.shape[0] = m->E;
    scale.stride[2] = scale.stride[1];
    scale.stride[1] = scale.stride[0];
    scale.stride[0] = scale.layout == VQ_STRIDED ? scale.shape[1] * scale.shape[2]
                                                 : (scale.shape[2] + 3) / 4 * scale.stride[2];
    b->scale = add(b, &a->scale, scale, OUTPUT, 0);
    b->out = a->key.elem;
    b->bytes = (int64_t)m->valid * (4 * m->H + m->H * vq_dtype_bits(b->out) / 8
                                    + scale.shape[2] * vq_dtype_bits(scale.dtype) / 8);
}

static void make(bench *b, const row *r, const masked *m, int T, int H)
{
    const vq_tensor x = shaped(VQ_BF16, T, H), wide = shaped(VQ_BF16, T, 2 * (int64_t)H);
    const int64_t extent = H;
    const vq_tensor weight = vq_tensor_nd(NULL, VQ_BF16, 1, &extent, VQ_DEVICE);
    vq_quant_args s = VQ_ZERO;
    any_args *a = &b->first;
    memset(b, 0, sizeof *b);
    b->r = r;
    b->m = m;
    b->T = T;
    b->H = H;
    b->in = b->out = VQ_BF16;
    switch (r->op) {
    case VQ_OP_CAST:
        b->x = add(b, &a->cast.x, x, INPUT, 0);
        b->y = add(b, &a->cast.y, shaped(b->out = VQ_E4M3FN, T, H), OUTPUT, 0);
        break;
    case VQ_OP_QUANT:
        b->x = add(b, &a->quant.x, x, INPUT, 0);
        add_sink(b, &s, &a->quant.q, &a->quant.scale, &a->quant.scale2);
        a->quant.key = s.key;
        break;
    case VQ_OP_DEQUANT:
        a->dequant.key = key_of(r->key);
        b->in = a->dequant.key.elem;
        b->x = add(b, &a->dequant.q, shaped(b->in, T, H), CODES, 0);
        b->scale = add(b, &a->dequant.scale,
                       vq_scale_for(&a->dequant.key, a->dequant.q, r->order, NULL), CODES, 0);
        b->y = add(b, &a->dequant.y, x, OUTPUT, 0);
        break;
    case VQ_OP_ACT:
        a->act.act = (vq_act_kind)vq_act_of(r->key);
        b->x = add(b, &a->act.x, x, INPUT, 0);
        b->y = add(b, &a->act.y, x, OUTPUT, 0);
        break;
    case VQ_OP_ACT_MUL:
        a->act_mul.act = (vq_act_kind)vq_act_of(r->key);
        b->x = add(b, &a->act_mul.x, wide, INPUT, 0);
        b->y = add(b, &a->act_mul.y, x, OUTPUT, 0);
        break;
    case VQ_OP_ACT_MUL_QUANT:
        b->x = add(b, &a->act_mul_quant.x, wide, INPUT, 0);
        add_sink(b, &s, &a->act_mul_quant.q, &a->act_mul_quant.scale, &a->act_mul_quant.scale2);
        a->act_mul_quant.key = s.key;
        break;
    case VQ_OP_MASKED_ACT_MUL_QUANT:
        add_masked(b);
        break;
    case VQ_OP_RMS_NORM:
        b->x = add(b, &a->rms_norm.x, x, INPUT, 0);
        if (r->residual) add(b, &a->rms_norm.residual, x, BOTH, 0);
        add(b, &a->rms_norm.weight, weight, SHARED, WEIGHT_AT);
        b->y = add(b, &a->rms_norm.y, x, OUTPUT, 0);
        a->rms_norm.eps = 1e-6f;
        break;
    case VQ_OP_RMS_NORM_QUANT:
        b->x = add(b, &a->rms_norm_quant.x, x, INPUT, 0);
        if (r->residual) add(b, &a->rms_norm_quant.residual, x, BOTH, 0);
        add(b, &a->rms_norm_quant.weight, weight, SHARED, WEIGHT_AT);
        add_sink(b, &s, &a->rms_norm_quant.q, &a->rms_norm_quant.scale, &a->rms_norm_quant.scale2);
        a->rms_norm_quant.key = s.key;
        a->rms_norm_quant.eps = 1e-6f;
        break;
    case VQ_OP_SCALE_CONVERT:                      /* of a scale for each 128 columns */
        b->in = b->out = vq_dtype_of(r->key);
        b->x = add(b, &a->scale_convert.x, shaped(b->in, T, H / 128), RAW, 0);
        b->y = add(b, &a->scale_convert.y,
                   vq_tensor_ordered(b->in, T, H / 128, r->order, NULL, VQ_DEVICE), OUTPUT, 0);
        break;
    default: fail("no args for %s", vq_op_str(r->op));
    }
    b->units = r->op == VQ_OP_SCALE_CONVERT ? element_bytes(&a->scale_convert.x) / 16 : (int64_t)T * H / 8;
    if (b->scale) {
        const vq_tensor *t = (const vq_tensor *)((const char *)a + b->scale->member);
        b->aux = (m ? (int64_t)m->valid * t->shape[2] * vq_dtype_bits(t->dtype) / 8 : element_bytes(t)) / 4;
    }
    a->call.stream = stream;
    a->call.report = &b->why;
}

static const char *short_type(vq_dtype t)
{
    const char *s = vq_dtype_str(t);
    return strncmp(s, "float", 5) || !strchr(s, '_') ? s : strchr(s, '_') + 1;
}

static void family_of(const row *r, char *out, size_t size)
{
    const char *order = r->order && !strstr(r->key, vq_order_str(r->order)) ? vq_order_str(r->order) : "";
    snprintf(out, size, "%-20s %s%s%s%s%s", vq_op_str(r->op), r->key, *order ? " " : "", order,
             r->residual && *r->key ? " " : "", r->residual ? "+residual" : "");
}

static void describe(bench *b, const char *cache)
{
    char family[80], more[32] = "";
    family_of(b->r, family, sizeof family);
    if (b->m) snprintf(more, sizeof more, " E=%dx%d", b->m->E, b->m->T);
    snprintf(family + strlen(family), sizeof family - strlen(family), "%s", more);
    snprintf(b->line, sizeof b->line, "%-49s %-7s %-7s T=%-5d H=%-4d %-4s", family, short_type(b->in),
             short_type(b->out), b->T, b->H, cache);
}

/* Codes and scales of a few rows as vq_quant() makes them, then repeated. */
static void put_codes(bench *b)
{
    const vq_dequant_args *d = &b->first.dequant;
    const int64_t rows = b->T < CODED_ROWS ? b->T : CODED_ROWS;
    vq_quant_args q = VQ_ZERO;
    int64_t i, at, n = rows * b->H;
    int p, s;
    q.key = d->key;
    q.x = vq_tensor_2d(NULL, VQ_F32, rows, b->H, VQ_HOST);
    q.q = vq_tensor_2d(NULL, q.key.elem, rows, b->H, VQ_HOST);
    q.scale = vq_scale_for(&q.key, q.q, b->r->order, NULL);
    q.x.data = malloc((size_t)n * 4);
    q.q.data = malloc((size_t)vq_tensor_bytes(q.q));
    q.scale.data = malloc((size_t)vq_tensor_bytes(q.scale));
    if (!q.x.data || !q.q.data || !q.scale.data) fail("there is no memory for codes");
    for (i = 0; i < n; i++) {                      /* twelve uniform numbers are nearly normal */
        static uint64_t random = 1;
        float v = -6.0f;
        for (p = 0; p < 12; p++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            v += (float)(random >> 40) * 0x1p-24f;
        }
        ((float *)q.x.data)[i] = v;
    }
    if (vq_quant(cpu, &q) != VQ_OK) fail("%s cannot be quantized", b->r->key);
    for (p = 0; p < 2; p++) {
        const part *to = p ? b->scale : b->x;
        const vq_tensor *from = p ? &q.scale : &q.q;
        const int64_t tile = vq_tensor_bytes(*from);
        must(GPU(Memcpy)(pool + to->at, from->data, (size_t)tile, GPU(MemcpyHostToDevice)));
        for (s = 0; s < b->sets; s++)
            for (at = s ? 0 : tile; at < to->bytes; at += tile)
                must(GPU(MemcpyAsync)(pool + s * b->slot + to->at + at, pool + to->at,
                                      (size_t)(to->bytes - at < tile ? to->bytes - at : tile),
                                      GPU(MemcpyDeviceToDevice), stream));
    }
    must(GPU(StreamSynchronize)(stream));
    free(q.x.data);
    free(q.q.data);
    free(q.scale.data);
}

static spans spans_of(const bench *b, const part *p)
{
    spans s = { pool + p->at, b->slot, p->bytes, b->sets };
    return s;
}

static void put_common(const bench *b)
{
    const float given = 1.0f / 128, second = 1344.0f;
    spans weight = { common + WEIGHT_AT, 0, (int64_t)b->H * 2, 1 };
    fill(weight, NORMAL);
    must(GPU(StreamSynchronize)(stream));
    must(GPU(Memcpy)(common + SCALAR_AT, &given, sizeof given, GPU(MemcpyHostToDevice)));
    must(GPU(Memcpy)(common + SCALAR_AT + 256, &second, sizeof second, GPU(MemcpyHostToDevice)));
    if (b->m) {
        int32_t counts[256];
        spread(b->m, counts);
        must(GPU(Memcpy)(common + COUNTS_AT, counts, sizeof *counts * (size_t)b->m->E,
                         GPU(MemcpyHostToDevice)));
    }
}

/* The inputs of all sets, new; checked. */
static void put_inputs(bench *b, int what)
{
    int i;
    for (i = 0; i < b->parts; i++) {
        const part *p = &b->part_of[i];
        if (p->role != INPUT && p->role != RAW && p->role != BOTH) continue;
        fill(spans_of(b, p), p->role == RAW ? BITS : what);
        if (p->role != RAW) look(spans_of(b, p), what, p->role == BOTH ? "the residual" : "x");
        else if (!sum_of(spans_of(b, p))) fail("the input is zeros");
    }
    if (b->r->op == VQ_OP_DEQUANT) {
        put_codes(b);
        if (!sum_of(spans_of(b, b->x)) || !sum_of(spans_of(b, b->scale))) fail("the codes are zeros");
    }
}

static void place(bench *b)
{
    int s, i;
    for (s = 0; s < b->sets; s++) {
        b->args[s] = b->first;
        b->args[s].call.workspace = workspace;
        b->args[s].call.workspace_bytes = workspace_bytes;
        for (i = 0; i < b->parts; i++) {
            const part *p = &b->part_of[i];
            vq_tensor *t = (vq_tensor *)((char *)&b->args[s] + p->member);
            t->data = p->role == SHARED ? common + p->at : pool + s * b->slot + p->at;
        }
    }
}

static void poison_outputs(const bench *b)
{
    int i;
    for (i = 0; i < b->parts; i++)
        if (b->part_of[i].role == OUTPUT) poison(spans_of(b, &b->part_of[i]));
}

/* Is every piece of the outputs written? Of experts only rows that are there, whose bytes lie
   together but in packed words. */
static int check_outputs(bench *b, int sets, const unsigned long long *residual)
{
    unsigned long long left = 0;
    int i, e;
    for (i = 0; i < b->parts; i++) {
        const part *p = &b->part_of[i];
        spans s = spans_of(b, p);
        s.sets = sets;
        if (p->role == BOTH && residual && sum_of(s) == *residual) {
            snprintf(b->why.text, sizeof b->why.text, "the residual is as it was");
            return 0;
        }
        if (p->role != OUTPUT) continue;
        if (!b->m) left += untouched(s);
        else {
            const vq_tensor *t = (const vq_tensor *)((const char *)&b->first + p->member);
            int32_t counts[256];
            if (t->layout != VQ_STRIDED) continue;
            spread(b->m, counts);
            for (e = 0; e < b->m->E; e++) {
                s.at = pool + p->at + e * (p->bytes / b->m->E);
                s.bytes = counts[e] * t->shape[2] * vq_dtype_bits(t->dtype) / 8;
                if (s.bytes) left += untouched(s);
            }
        }
    }
    if (left) snprintf(b->why.text, sizeof b->why.text, "%llu pieces of the output were not written", left);
    return !left;
}

/* --- time -------------------------------------------------------------------------------------- */

static GPU(Event_t) events[MOST + 1];

/* call(set), nodes times, as one graph; NULL where a call failed. */
template <class F> static GPU(GraphExec_t) record(F call, int nodes, int sets)
{
    GPU(Graph_t) g;
    GPU(GraphExec_t) exec = NULL;
    int i, good = 1;
    must(GPU(StreamBeginCapture)(stream, GPU(StreamCaptureModeThreadLocal)));
    for (i = 0; i < nodes && good; i++) good = call(i % sets);
    must(GPU(StreamEndCapture)(stream, &g));
    if (good) {
        size_t n = 0;
        must(GPU(GraphGetNodes)(g, NULL, &n));
        if (n < (size_t)nodes) fail("%d calls were captured as %d nodes", nodes, (int)n);
        must(GPU(GraphInstantiateWithFlags)(&exec, g, 0));
        must(GPU(GraphUpload)(exec, stream));
    }
    must(GPU(GraphDestroy)(g));
    return exec;
}

/* Microseconds of one replay, the median of at least `least` and of so many as fit `seconds`. The
   stream is never empty between the first event and the last. */
static double replay(GPU(GraphExec_t) exec, int least, double seconds, int *replays)
{
    double t[MOST];
    float ms;
    int i, n;
    must(GPU(GraphLaunch)(exec, stream));
    must(GPU(EventRecord)(events[0], stream));
    must(GPU(GraphLaunch)(exec, stream));
    must(GPU(EventRecord)(events[1], stream));
    must(GPU(StreamSynchronize)(stream));
    must(GPU(EventElapsedTime)(&ms, events[0], events[1]));
    n = (int)fmin(MOST, fmax(3, seconds / (ms * 1e-3 + 1e-6)));
    if (n < least && ms * 1e-3 * least < 2 * seconds) n = least;
    if (least < LEAST && n > least) n = least;
    must(GPU(GraphLaunch)(exec, stream));
    must(GPU(EventRecord)(events[0], stream));
    for (i = 0; i < n; i++) {
        must(GPU(GraphLaunch)(exec, stream));
        must(GPU(EventRecord)(events[i + 1], stream));
    }
    must(GPU(StreamSynchronize)(stream));
    for (i = 0; i < n; i++) {
        must(GPU(EventElapsedTime)(&ms, events[i], events[i + 1]));
        t[i] = ms * 1e3;
    }
    if (replays) *replays = n;
    return median(t, n);
}

static int nodes_for(int T, int sets)
{
    return T <= 128 ? 200 : T <= 1024 ? 60 : sets > 6 ? sets : 6;
}

/* --- the floor ---------------------------------------------------------------------------------- */

struct moves { const char *in[2]; char *out, *also, *aux; uint32_t units, aux_words; int aux_read; };

template <int BYTES> struct piece { typedef uint4 type; };
template <> struct piece<8> { typedef uint2 type; };
template <> struct piece<4> { typedef uint32_t type; };

template <int BYTES, bool STREAMING, int READ>
static __device__ inline void put(char *to, uint32_t j, const uint32_t (&w)[READ])
{
    typedef typename piece<BYTES>::type vec;
    union { vec v; uint32_t w[BYTES / 4]; } u;
    for (int k = 0; k < BYTES / 4; k++) {
        u.w[k] = w[k % READ];
        for (int i = k + BYTES / 4; i < READ; i += BYTES / 4) u.w[k] ^= w[i];
    }
    if (STREAMING) store_streaming((vec *)to + j, u.v);
    else ((vec *)to)[j] = u.v;
}

/* U pieces a thread, all read before any is written.

     grid   the units, or fewer blocks that stride */
template <int U, int READ, int FROM, int WRITTEN, int ALSO, bool STREAMING, bool DEPENDENT>
static __global__ void __launch_bounds__(512) k_move(moves m)
{
    typedef typename piece<READ>::type vec;
    const uint32_t step = gridDim.x * blockDim.x * U;
    if (DEPENDENT) WAIT_FOR_LAST();
    for (uint32_t at = blockIdx.x * blockDim.x * U + threadIdx.x; at < m.units; at += step) {
        union { vec v[FROM]; uint32_t w[FROM * READ / 4]; } u[U];
#pragma unroll
        for (int i = 0; i < U; i++) {
            const uint32_t j = at + i * blockDim.x;
            for (int f = 0; f < FROM; f++)
                if (j < m.units) u[i].v[f] = load_once((const vec *)m.in[f] + j);
        }
        if (DEPENDENT) LET_NEXT_START();
#pragma unroll
        for (int i = 0; i < U; i++) {
            const uint32_t j = at + i * blockDim.x;
            if (j >= m.units) break;
            if (j < m.aux_words) {
                if (m.aux_read) u[i].w[0] ^= ((const uint32_t *)m.aux)[j];
                else ((uint32_t *)m.aux)[j] = u[i].w[0];
            }
            put<WRITTEN, STREAMING>(m.out, j, u[i].w);
            if constexpr (ALSO != 0) put<ALSO, STREAMING>(m.also, j, u[i].w);
        }
    }
}

typedef void (*move_kernel)(moves);

template <int U, bool STREAMING, bool DEPENDENT> static move_kernel kernel_for(pattern p)
{
    switch (p) {
#define X(ID, read, from, written, also) \
    case ID: return k_move<U, read, from, written, also, STREAMING, DEPENDENT>;
    PATTERNS(X)
#undef X
    default: return NULL;
    }
}

typedef struct variant {
    pattern p;
    int     units;                                 /* 2: both halves of x as one array */
    int     U, threads, streaming, dependent, persistent;
    double  us;
} variant;

static move_kernel kernel_of(const variant *v)
{
#define PICK(u) \
    (v->streaming ? v->dependent ? kernel_for<u, true, true>(v->p) : kernel_for<u, true, false>(v->p) \
                  : v->dependent ? kernel_for<u, false, true>(v->p) : kernel_for<u, false, false>(v->p))
    return v->U == 1 ? PICK(1) : v->U == 2 ? PICK(2) : PICK(4);
#undef PICK
}

static int launch_move(const variant *v, move_kernel k, const moves &m)
{
    const uint32_t each = (uint32_t)(v->threads * v->U);
    const unsigned most = (unsigned)(multiprocessors * (2048 / v->threads));
    unsigned blocks = (m.units + each - 1) / each;
    if (v->persistent && blocks > most) blocks = most;
#if HAS_DEPENDENT
    if (v->dependent) {
        cudaLaunchConfig_t c = {};
        cudaLaunchAttribute a[1];
        c.gridDim = dim3(blocks);
        c.blockDim = dim3((unsigned)v->threads);
        c.stream = stream;
        a[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
        a[0].val.programmaticStreamSerializationAllowed = 1;
        c.attrs = a;
        c.numAttrs = 1;
        must(cudaLaunchKernelEx(&c, k, m));
        return 1;
    }
#endif
    LAUNCH(k, blocks, (unsigned)v->threads, stream, m);
    must(GPU(GetLastError)());
    return 1;
}

static double time_move(const bench *b, const variant *v, int nodes, int sets, int least)
{
    const move_kernel k = kernel_of(v);
    GPU(GraphExec_t) g;
    double us;
    int i;
    const part *residual = NULL;
    for (i = 0; i < b->parts; i++) if (b->part_of[i].role == BOTH) residual = &b->part_of[i];
    g = record([&](int set) {
        char *slot = pool + set * b->slot;
        moves m = {};
        m.units = (uint32_t)(b->units * v->units);
        m.aux_words = (uint32_t)b->aux;
        m.aux_read = b->r->op == VQ_OP_DEQUANT;
        m.in[0] = slot + b->x->at;
        m.in[1] = residual ? slot + residual->at : m.in[0] + b->units * 16;
        m.out = slot + b->y->at;
        m.also = residual ? slot + residual->at : NULL;
        m.aux = b->scale ? slot + b->scale->at : NULL;
        return launch_move(v, k, m);
    }, nodes, sets);
    us = replay(g, least, ROW_SECONDS / 4, NULL) / nodes;
    must(GPU(GraphExecDestroy)(g));
    return us;
}

enum { FINALISTS = 3, VARIANTS = 128 };

/* What was found: the finalists of a shape, and the time for so many scales. */
static struct found {
    pattern p;
    int     T, hot;
    int64_t units, aux;
    variant best[FINALISTS];
    double  us;
} found[4096];
static int found_count;

static int faster(const void *a, const void *b)
{
    double x = ((const variant *)a)->us, y = ((const variant *)b)->us;
    return x < y ? -1 : x > y;
}

static int candidates(const bench *b, variant *v)
{
    const pattern flat = b->r->floor == GATED ? TO8 : TO4;
    const int gated = b->r->floor == GATED || b->r->floor == GATED8, large = b->T > 1024;
    int n = 0, u, t, s, d, f, p;
    for (f = 0; f <= gated; f++)
        for (u = 1; u <= 4; u *= 2)
            for (t = 128; t <= 512; t *= 2)
                for (s = 0; s < 2; s++)
                    for (d = 0; d <= HAS_DEPENDENT; d++)
                        for (p = 0; p <= large; p++) {
                            if (large && t == 128) continue;                 /* too many blocks */
                            if (!large && HAS_DEPENDENT && !d && (s || u > 1)) continue;
                            if (p && u == 1) continue;
                            variant x = { f ? flat : b->r->floor, f + 1, u, t, s, d, p, 0 };
                            if (n < VARIANTS) v[n++] = x;
                        }
    return n;
}

static double floor_of(const bench *b, int sets, char *name, size_t size)
{
    const int nodes = nodes_for(b->T, sets);
    struct found *f, *like = NULL;
    variant v[VARIANTS];
    int i, n;
    for (f = found; f < found + found_count; f++) {
        if (f->p != b->r->floor || f->units != b->units || f->T != b->T || f->hot != (sets == 1))
            continue;
        like = f;
        if (f->aux == b->aux) break;
    }
    if (f == found + found_count) {
        if (found_count == COUNT(found)) fail("there are too many floors");
        if (like) memcpy(f->best, like->best, sizeof f->best);
        else {
            n = candidates(b, v);
            for (i = 0; i < n; i++) v[i].us = time_move(b, &v[i], nodes, sets, 3);
            qsort(v, (size_t)n, sizeof *v, faster);
            memcpy(f->best, v, sizeof f->best);
        }
        for (i = 0; i < FINALISTS; i++) f->best[i].us = time_move(b, &f->best[i], nodes, sets, LEAST);
        qsort(f->best, FINALISTS, sizeof *f->best, faster);
        f->us = f->best[0].us;
        f->p = b->r->floor;
        f->units = b->units;
        f->aux = b->aux;
        f->hot = sets == 1;
        f->T = b->T;
        found_count++;
    }
    snprintf(name, size, "%s%dx%d%s%s%s", f->best[0].units > 1 ? "flat " : "", f->best[0].U,
             f->best[0].threads, f->best[0].streaming ? " cs" : "", f->best[0].dependent ? " pdl" : "",
             f->best[0].persistent ? " persistent" : "");
    return f->us;
}

/* --- one row ------------------------------------------------------------------------------------ */

typedef struct result {
    double us, floor, peer, nan;
    int    nodes, replays;
    char   who[32], floor_name[48];
} result;

/* The op in a graph, with what its replay leaves behind checked. 0: it failed, b->why says how. */
static int time_op(bench *b, int sets, result *r, double *us)
{
    unsigned long long residual = 0;
    GPU(GraphExec_t) g;
    float ms;
    int i, nodes = nodes_for(b->T, sets), used, good;
    const auto call = [b](int set) { return vq_run(gpu, &b->choice, &b->args[set]) == VQ_OK; };
    for (i = 0; i < 2; i++) {                      /* the first loads code */
        must(GPU(EventRecord)(events[0], stream));
        if (!call(0)) return 0;
        must(GPU(EventRecord)(events[1], stream));
        must(GPU(StreamSynchronize)(stream));
    }
    must(GPU(EventElapsedTime)(&ms, events[0], events[1]));
    if (ms * 1e-3 * nodes * LEAST > ROW_SECONDS && ms > 0.5)
        nodes = (int)fmax(1, ROW_SECONDS / LEAST / (ms * 1e-3));
    g = record(call, nodes, sets);
    if (!g) return 0;
    used = nodes < sets ? nodes : sets;
    poison_outputs(b);
    for (i = 0; i < b->parts; i++)
        if (b->part_of[i].role == BOTH) {
            spans s = spans_of(b, &b->part_of[i]);
            s.sets = used;
            residual = sum_of(s);
        }
    must(GPU(GraphLaunch)(g, stream));
    must(GPU(StreamSynchronize)(stream));
    good = check_outputs(b, used, r->nan ? NULL : &residual);    /* NaN and NaN is NaN */
    if (good) *us = replay(g, LEAST, ROW_SECONDS, &r->replays) / nodes;
    r->nodes = nodes;
    must(GPU(GraphExecDestroy)(g));
    return good;
}

static int measure(bench *b, const char *cache, result *r)
{
    const int hot = !strcmp(cache, "hot");
    const int64_t all = (FOOTPRINT + b->bytes - 1) / b->bytes, want = hot ? 1 : all;
    memset(r, 0, sizeof *r);
    b->sets = want < SETS ? (int)want : (int)SETS;
    if (b->T <= 1024 && b->sets > nodes_for(b->T, 1)) b->sets = nodes_for(b->T, 1);
    if (b->slot * b->sets > CEILING)
        fail("%s: it would take %lld bytes", b->line, (long long)(b->slot * b->sets));
    reserve(b->slot * b->sets);
    if (b->choice.workspace_bytes > workspace_bytes) {
        if (workspace) must(GPU(Free)(workspace));
        workspace_bytes = b->choice.workspace_bytes;
        must(GPU(Malloc)((void **)&workspace, workspace_bytes));
    }
    place(b);
    put_common(b);
    put_inputs(b, NORMAL);
    r->floor = floor_of(b, b->sets, r->floor_name, sizeof r->floor_name);
    if (b->r->residual) put_inputs(b, NORMAL);     /* the floor wrote over it */
    if (!time_op(b, b->sets, r, &r->us)) return 0;
    if (b->m) {
        r->peer = hot ? 0 : b->m->us;
        snprintf(r->who, sizeof r->who, "%s", hot ? "" : b->m->who);
    } else r->peer = peer_of(b->r->peer, b->H, b->T, cache, r->who);
    if (opt.nan && b->x->role == INPUT) {
        result again = {};
        double us;
        put_inputs(b, NOT_A_NUMBER);
        again.nan = 1;
        if (!time_op(b, b->sets, &again, &us)) return 0;
        r->nan = us / r->us;
    }
    return 1;
}

/* --- what is printed ------------------------------------------------------------------------------ */

typedef struct summary { double ratio[2], ahead[2]; int n, refused; char refusal[512]; } summary;

static summary summaries[COUNT(rows)];

static void sum_up(const row *r, const result *got, int T)
{
    summary *s = &summaries[r - rows];
    const int small = T <= 128;
    if (!small && T < 4096) return;
    s->n++;
    if (got->us / got->floor > s->ratio[small]) s->ratio[small] = got->us / got->floor;
    if (got->peer && (!s->ahead[small] || got->peer / got->us < s->ahead[small]))
        s->ahead[small] = got->peer / got->us;
}

static void print_header(void)
{
    printf("%-49s %-7s %-7s %-7s %-6s %-4s %11s %9s %7s %9s %6s%s %9s %6s  %s\n", "op, key", "in", "out",
           "T", "H", "", "bytes", "us", "GB/s", "floor us", "ratio", opt.nan ? "    nan" : "", "peer us",
           "p/us", "peer");
    if (opt.csv)
        fprintf(opt.csv, "op,key,order,residual,experts,in,out,T,H,cache,bytes,us,GB/s,floor us,ratio,"
                         "nan,peer us,peer,impl,nodes,replays,floor\n");
}

static void print_row(const bench *b, const char *cache, const result *r)
{
    printf("%s %11lld %9.2f %7.0f %9.2f %6.2f", b->line, (long long)b->bytes, r->us,
           (double)b->bytes / r->us * 1e-3, r->floor, r->us / r->floor);
    if (opt.nan && r->nan) printf(" %6.2f", r->nan);
    else if (opt.nan) printf(" %6s", "-");
    if (r->peer) printf(" %9.2f %6.2f  %s\n", r->peer, r->peer / r->us, r->who);
    else printf(" %9s %6s\n", "-", "-");
    fflush(stdout);
    if (!opt.csv) return;
    fprintf(opt.csv, "%s,%s,%s,%d,%d,%s,%s,%d,%d,%s,%lld,%.3f,%.1f,%.3f,%.3f,%.3f,%.2f,%s,%s,%d,%d,%s\n",
            vq_op_str(b->r->op), b->r->key, vq_order_str(b->r->order), b->r->residual, b->m ? b->m->E : 0,
            vq_dtype_str(b->in), vq_dtype_str(b->out), b->T, b->H, cache, (long long)b->bytes, r->us,
            (double)b->bytes / r->us * 1e-3, r->floor, r->us / r->floor, r->nan, r->peer, r->who,
            vq_impl_str(&b->choice), r->nodes, r->replays, r->floor_name);
    fflush(opt.csv);
}

static int chosen(const char *line)
{
    char **w;
    for (w = opt.words; *w; w++) if (!strstr(line, *w)) return 0;
    return 1;
}

enum { DONE, LEFT_OUT, REFUSED, FAILED, LATE, OUTCOMES };

static int one(bench *b, const row *r, const masked *m, int T, int H, const char *cache)
{
    result got;
    make(b, r, m, T, H);
    describe(b, cache);
    if (!chosen(b->line)) return LEFT_OUT;
    if (opt.list) { puts(b->line); return DONE; }
    if (!opt.dry && now() - started > opt.seconds) return LATE;
    if (vq_plan(gpu, r->op, &b->first, &b->choice) != VQ_OK) {
        summary *s = &summaries[r - rows];
        if (strcmp(s->refusal, b->why.text)) printf("%s  no kernel: %s\n", b->line, b->why.text);
        snprintf(s->refusal, sizeof s->refusal, "%s", b->why.text);        /* not for every shape */
        s->refused++;
        return REFUSED;
    }
    if (opt.dry) {
        printf("%s %11lld  %s\n", b->line, (long long)b->bytes, vq_impl_str(&b->choice));
        return DONE;
    }
    if (!measure(b, cache, &got)) {
        printf("%s  failed: %s\n", b->line, b->why.text);
        return FAILED;
    }
    print_row(b, cache, &got);
    if (!strcmp(cache, "cold") && !m) sum_up(r, &got, T);
    else if (m) sum_up(r, &got, 4096);
    return DONE;
}

static void print_summary(void)
{
    int i;
    printf("\nworst us / floor and least peer / us, cold          T >= 4096          T <= 128\n");
    for (i = 0; i < COUNT(rows); i++) {
        const summary *s = &summaries[i];
        char family[80];
        int small;
        if (!s->n && !s->refused) continue;
        family_of(&rows[i], family, sizeof family);
        printf("%-49s", family);
        if (!s->n) { printf("  no kernel\n"); continue; }
        for (small = 0; small < 2; small++) {
            if (s->ratio[small]) printf(" %8.2f", s->ratio[small]);
            else printf(" %8s", "-");
            if (s->ahead[small]) printf(" %8.2f ", s->ahead[small]);
            else printf(" %8s ", "-");
        }
        printf("\n");
    }
}

/* --- what a call costs the host ---------------------------------------------------------------- */

static __global__ void k_nothing(void) {}

static vq_status call_op(vq_op op, const any_args *a)
{
    switch (op) {
#define X(ID, name) case VQ_OP_##ID: return vq_##name(gpu, (const vq_##name##_args *)a);
    VQ_OPS(X)
#undef X
    default: return VQ_BAD_ARG;
    }
}

/* Nanoseconds a call: so few between two waits that the stream's queue is never full. */
template <class F> static double host_ns(F call)
{
    enum { CALLS = 400, BATCHES = 25 };
    double t[BATCHES], begin;
    int i, j;
    for (i = -2; i < BATCHES; i++) {
        must(GPU(StreamSynchronize)(stream));
        begin = now();
        for (j = 0; j < CALLS; j++) if (!call()) fail("a call failed");
        if (i >= 0) t[i] = (now() - begin) / CALLS * 1e9;
    }
    must(GPU(StreamSynchronize)(stream));
    return median(t, BATCHES);
}

static int host_costs(bench *b)
{
    static const struct { vq_op op; const char *key; int residual; } ops[] = {
        { VQ_OP_CAST, "saturate", 0 }, { VQ_OP_QUANT, "fp8_group128", 0 }, { VQ_OP_ACT_MUL, "silu", 0 },
        { VQ_OP_ACT_MUL_QUANT, "fp8_group128", 0 }, { VQ_OP_RMS_NORM, "", 0 },
        { VQ_OP_RMS_NORM_QUANT, "fp8_token", 1 } };
    int i, j, n = 0;
    printf("\nhost, ns a call on a stream, T=1 H=4096    bare launch     vq_run   more   vq_<op>   more\n");
    for (i = 0; i < COUNT(ops); i++)
        for (j = 0; j < COUNT(rows); j++) {
            const row *r = &rows[j];
            double bare, planned, unplanned;
            char family[80];
            if (r->op != ops[i].op || strcmp(r->key, ops[i].key) || r->order) continue;
            if (r->residual != ops[i].residual) continue;
            make(b, r, NULL, 1, 4096);
            if (vq_plan(gpu, r->op, &b->first, &b->choice) != VQ_OK) continue;
            if (b->choice.workspace_bytes > workspace_bytes) continue;
            b->sets = 1;
            reserve(b->slot);
            place(b);
            put_common(b);
            put_inputs(b, NORMAL);
            bare = host_ns([] { LAUNCH(k_nothing, 1, 32, stream); return 1; });
            planned = host_ns([b] { return vq_run(gpu, &b->choice, &b->args[0]) == VQ_OK; });
            unplanned = host_ns([b] { return call_op(b->r->op, &b->args[0]) == VQ_OK; });
            must(GPU(GetLastError)());
            family_of(r, family, sizeof family);
            printf("%-44s %9.0f  %9.0f %6.0f %9.0f %6.0f\n", family, bare, planned, planned - bare, unplanned,
                   unplanned - bare);
            n++;
        }
    return n;
}

/* --- main --------------------------------------------------------------------------------------- */

static void say(void *user, const char *line) { (void)user; fprintf(stderr, "%s\n", line); }

static void print_machine(int argc, char **argv)
{
    char driver[160] = "unknown", date[32];
    PROPERTIES p;
    time_t t = time(NULL);
    FILE *f = fopen(DRIVER_FILE, "r");
    int i, runtime = 0;
    if (f) {
        if (!fgets(driver, sizeof driver, f)) driver[0] = 0;
        fclose(f);
        driver[strcspn(driver, "\n")] = 0;
    }
    must(GPU(GetDeviceProperties)(&p, 0));
    must(GPU(DriverGetVersion)(&runtime));
    multiprocessors = p.multiProcessorCount;
    strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime(&t));
    printf("vq %d.%d.%d on %s (%s), %d SMs, %d MB of L2, %s\ndriver: %s; runtime %d\ncommand:",
           VQ_VERSION / 10000, VQ_VERSION / 100 % 100, VQ_VERSION % 100, p.name, vq_arch_in(gpu),
           multiprocessors, (int)(p.l2CacheSize >> 20), date, driver, runtime);
    for (i = 0; i < argc; i++) printf(" %s", argv[i]);
    printf("\nlibrary: %s\n\n", opt.library);
}

static void usage(void)
{
    fprintf(stderr, "usage: gpu_bench [--quick] [--hot] [--nan] [--seconds S] [--csv FILE] [--library FILE]\n"
                    "                 [--list] [--dry] [SUBSTRING...]\n");
    exit(2);
}

static void read_options(int argc, char **argv)
{
    int i, n = 0;
    opt.library = getenv("VQ_TEST_LIBRARY");
    if (!opt.library) opt.library = LIBRARY;
    for (i = 1; i < argc; i++) {
        const char *a = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(a, "--quick")) opt.quick = 1;
        else if (!strcmp(a, "--hot")) opt.hot = 1;
        else if (!strcmp(a, "--nan")) opt.nan = 1;
        else if (!strcmp(a, "--list")) opt.list = 1;
        else if (!strcmp(a, "--dry")) opt.dry = 1;
        else if (!strcmp(a, "--seconds") && value && atof(value) > 0) opt.seconds = atof(argv[++i]);
        else if (!strcmp(a, "--library") && value) opt.library = argv[++i];
        else if (!strcmp(a, "--csv") && value) {
            opt.csv = fopen(argv[++i], "w");
            if (!opt.csv) fail("%s cannot be written", argv[i]);
        } else if (a[0] != '-' && n < COUNT(opt.words) - 1) opt.words[n++] = argv[i];
        else usage();
    }
    if (!opt.seconds) opt.seconds = opt.quick ? 50 : 220;
}

static void start(void)
{
    vq_desc c = VQ_ZERO, d = VQ_ZERO;
    vq_report why;
    int i;
    c.backend = VQ_CPU;
    if (vq_init(&c, &cpu) != VQ_OK) fail("there is no context for the CPU");
    if (opt.list) return;
    d.report = &why;
    if (opt.dry) d.assume = ASSUMED;
    else {
        d.backend = BACKEND;
        d.library = opt.library;
        d.log = say;
    }
    if (vq_init(&d, &gpu) != VQ_OK) fail("%s", why.text);
    if (opt.dry) return;
    must(GPU(StreamCreateWithFlags)(&stream, GPU(StreamNonBlocking)));
    for (i = 0; i <= MOST; i++) must(GPU(EventCreate)(&events[i]));
    must(GPU(Malloc)((void **)&common, COMMON_BYTES));
    must(GPU(Malloc)((void **)&tally, 4 * sizeof *tally));
    must(GPU(Memset)(common, 0, COMMON_BYTES));
}

int main(int argc, char **argv)
{
    static const int all_T[] = { 1, 16, 64, 128, 256, 1024, 4096, 8192, 32768 };
    static const int few_T[] = { 16, 128, 1024, 8192 }, all_H[] = { 4096, 7168 }, few_H[] = { 7168 };
    static bench b;
    int outcome[OUTCOMES] = { 0 }, i, h, t, c, hosts = 0;
    started = now();
    read_options(argc, argv);
    start();
    if (!opt.list && !opt.dry) print_machine(argc, argv);
    if (!opt.list && !opt.dry) print_header();
    for (i = 0; i < COUNT(rows); i++) {
        const int *Ts = opt.quick ? few_T : all_T, *Hs = opt.quick ? few_H : all_H;
        if (rows[i].op == VQ_OP_MASKED_ACT_MUL_QUANT) {
            for (t = 0; t < COUNT(masks); t++)
                outcome[one(&b, &rows[i], &masks[t], masks[t].valid, masks[t].H, "cold")]++;
            continue;
        }
        for (h = 0; h < (opt.quick ? COUNT(few_H) : COUNT(all_H)); h++)
            for (t = 0; t < (opt.quick ? COUNT(few_T) : COUNT(all_T)); t++)
                for (c = 0; c < 2; c++) {
                    const int T = Ts[t];
                    if (c && !opt.hot && (opt.quick || (T != 16 && T != 128 && T != 1024))) continue;
                    outcome[one(&b, &rows[i], NULL, T, Hs[h], c ? "hot" : "cold")]++;
                }
    }
    if (opt.list) return 0;
    if (!opt.dry) {
        print_summary();
        if (chosen("host")) hosts = host_costs(&b);
    }
    printf("\n%d rows, %d without a kernel, %d failed, %d left out for lack of time; %.0f s\n", outcome[DONE],
           outcome[REFUSED], outcome[FAILED], outcome[LATE], now() - started);
    if (opt.csv && fclose(opt.csv)) fail("the CSV file could not be written");
    if (pool) must(GPU(Free)(pool));
    if (workspace) must(GPU(Free)(workspace));
    vq_free(gpu);
    vq_free(cpu);
    return outcome[FAILED] != 0 || (!outcome[DONE] && !outcome[REFUSED] && !hosts);
}
