/* vq_kernels.hip - the kernels of vq.h, once, for AMD and NVIDIA

   hipcc -O3 -std=c++17 --offload-arch=gfx942 -ffp-contract=off -fPIC -fvisibility=hidden \
         -shared vq_kernels.hip -o libvq_hip.so           or: hipcc -x hip app.c vq_kernels.hip

   The arithmetic is that of vq.h, sections >>convert, >>numerics and >>elements: the same
   source as the reference, so the same bits. What is here is who computes what: plain kernels
   that serve every shape and stride, with no vector access yet. Names: k_<op>__<what one
   block does>; the launcher vq__gpu_<slot> takes the args struct of the op, already checked.

     >>shim       the only place with a vendor's names; vq_kernels.cu brings its own
     >>kernels
     >>launch
     >>table      the one exported symbol

   VQ_KERNEL_ARCHS, a string such as "gfx942 gfx950", says what this file is compiled for; a
   device that is not in it is refused by name. Without it the self-test finds out. */
#ifndef VQ_KERNEL_FILE
#define VQ_KERNEL_FILE
#endif

/* ===========================================================================
   >>shim
   =========================================================================== */
#ifndef VQ__SHIM
#define VQ__SHIM
#include <hip/hip_runtime.h>
#include <stdio.h>
#include "vq.h"

#define VQ__GPU(name)        hip##name                       /* hipMalloc, hipStream_t, ... */
#define VQ__ENTRY            vq_kernels_hip
#define VQ__VENDOR           "hip"
#define VQ__LAUNCH(k, grid, block, stream, ...) \
    hipLaunchKernelGGL(k, dim3(grid), dim3(block), 0, (hipStream_t)(stream), __VA_ARGS__)

static int vq__arch(int device, char *out, size_t size)
{
    hipDeviceProp_t p;
    int n = 0;
    if (hipGetDeviceCount(&n) != hipSuccess || device < 0 || device >= n) return 1;
    if (hipGetDeviceProperties(&p, device) != hipSuccess) return 1;
    snprintf(out, size, "%s", p.gcnArchName);
    return 0;
}

/* vq_probe() reads these without HIP's headers. */
static_assert(sizeof(hipDeviceProp_tR0600) == 1472, "VQ__HIP_PROP_BYTES");
static_assert(offsetof(hipDeviceProp_tR0600, totalGlobalMem) == 288, "VQ__HIP_MEM_AT");
static_assert(offsetof(hipDeviceProp_tR0600, gcnArchName) == 1160, "VQ__HIP_ARCH_AT");
#endif /* VQ__SHIM */

#ifndef VQ_KERNEL_ARCHS
#define VQ_KERNEL_ARCHS nullptr
#endif

/* ===========================================================================
   >>kernels
   =========================================================================== */

enum { VQ__THREADS = 256 };

/* The work item of this thread, and the step to its next: grids are bounded, work is not. */
[[maybe_unused]] static __device__ inline int64_t vq__first(void)
{
    return (int64_t)blockIdx.x * VQ__THREADS + threadIdx.x;
}

[[maybe_unused]] static __device__ inline int64_t vq__jump(void) { return (int64_t)gridDim.x * VQ__THREADS; }

#ifndef VQ_NO_CONVERT
/* Eight columns a thread, which is a whole number of bytes in every packed type, so that no
   two threads share one.

     grid   ceil(rows * ceil(C/8) / 256), strided
     block  256 */
static __global__ void __launch_bounds__(VQ__THREADS)
k_cast__columns8(vq_tensor x, vq_tensor y, vq_overflow overflow)
{
    const int64_t C = y.shape[3], R = y.shape[2], per_row = (C + 7) / 8;
    const int64_t n = y.shape[0] * y.shape[1] * R * per_row;
    for (int64_t w = vq__first(); w < n; w += vq__jump()) {
        const int64_t row = w / per_row, c0 = w % per_row * 8, r = row % R, plane = row / R;
        const vq_tensor from = vq__plane(&x, plane / y.shape[1], plane % y.shape[1]);
        const vq_tensor to = vq__plane(&y, plane / y.shape[1], plane % y.shape[1]);
        for (int64_t c = c0; c < C && c < c0 + 8; c++)
            vq__put_code(&to, r, c, vq_encode(y.dtype, vq__get(&from, r, c), overflow));
        if (c0 + 8 >= C) vq__pad_row(&to, r);
    }
}

/* A code a thread.

     grid   ceil(R * C / 256), strided
     block  256 */
static __global__ void __launch_bounds__(VQ__THREADS)
k_fnuz_normalize__codes(vq_tensor x, vq_tensor y, vq_overflow overflow)
{
    const int64_t C = x.shape[1], n = x.shape[0] * C;
    for (int64_t w = vq__first(); w < n; w += vq__jump())
        vq__put_code(&y, w / C, w % C, vq_fnuz_code(x.dtype, (uint8_t)vq__get_code(&x, w / C, w % C),
                                                    overflow));
}

/* A scale a thread; grid and block as above. */
static __global__ void __launch_bounds__(VQ__THREADS)
k_fnuz_normalize__scales(vq_tensor x, vq_tensor y, float factor)
{
    const int64_t C = x.shape[1], n = x.shape[0] * C;
    for (int64_t w = vq__first(); w < n; w += vq__jump())
        vq__put_code(&y, w / C, w % C,
                     vq_encode(y.dtype, vq__mul(vq__get(&x, w / C, w % C), factor), VQ_NONFINITE));
}

#endif

#ifndef VQ_NO_QUANT
struct vq__groups_of { int64_t rows, cols, down, across; };  /* of a group; how many */

/* One group a block: its amax, its scale, its codes.

     grid   the groups, at most 2^20, strided
     block  256
     shared a maximum a thread */
static __global__ void __launch_bounds__(VQ__THREADS)
k_quant__group(vq_key key, vq_tensor x, vq_tensor q, vq_tensor scale, vq__groups_of g)
{
    __shared__ uint32_t part[VQ__THREADS];
    const int64_t n = g.down * g.across;
    for (int64_t w = blockIdx.x; w < n; w += gridDim.x) {
        const int64_t r0 = w / g.across * g.rows, c0 = w % g.across * g.cols;
        const int64_t R = x.shape[0] - r0 < g.rows ? x.shape[0] - r0 : g.rows;
        const int64_t C = x.shape[1] - c0 < g.cols ? x.shape[1] - c0 : g.cols;
        vq__group of = {};
        float amax = 0.0f, s;
        if (key.flags & VQ_KEY_STATIC) s = vq__get(&scale, w / g.across, w % g.across);
        else {
            uint32_t m = 0;
            for (int64_t i = threadIdx.x; i < R * C; i += VQ__THREADS) {
                const uint32_t a = vq__amax_bits(vq__get(&x, r0 + i / C, c0 + i % C), x.dtype);
                m = a > m ? a : m;
            }
            part[threadIdx.x] = m;
            for (int d = VQ__THREADS / 2; d > 0; d /= 2) {
                __syncthreads();                             /* part[0 .. 2d) is there */
                if ((int)threadIdx.x < d && part[threadIdx.x + d] > part[threadIdx.x])
                    part[threadIdx.x] = part[threadIdx.x + d];
            }
            __syncthreads();                                 /* part[0] is the group's */
            of.amax = part[0];
            __syncthreads();                                 /* part[] is reused next round */
            amax = vq__amax_of(&key, of.amax, 0.0f);
            const uint32_t code = vq__scale_of(&key, &of, amax, 0.0f, 1.0f);
            s = vq_decode(scale.dtype, code);
            if (threadIdx.x == 0) vq__put_code(&scale, w / g.across, w % g.across, code);
        }
        const vq__step step = vq__step_of(&key, s, amax, 1.0f);
        for (int64_t i = threadIdx.x; i < R * C; i += VQ__THREADS)
            vq__put_code(&q, r0 + i / C, c0 + i % C,
                         vq__code_of(&key, vq__get(&x, r0 + i / C, c0 + i % C), step));
    }
}

/* A value a thread.

     grid   ceil(T * H / 256), strided
     block  256 */
static __global__ void __launch_bounds__(VQ__THREADS)
k_dequant__values(vq_tensor q, vq_tensor scale, vq_tensor y, vq__groups_of g)
{
    const int64_t H = q.shape[1], n = q.shape[0] * H;
    for (int64_t w = vq__first(); w < n; w += vq__jump()) {
        const int64_t i = w / H, j = w % H;
        const float s = vq__get(&scale, i / g.rows, j / g.cols);
        vq__put_code(&y, i, j, vq__value_of(q.dtype, vq__get_code(&q, i, j), 0.0f, s, y.dtype));
    }
}

#endif

#ifndef VQ_NO_SCALES
/* A scale or a piece of padding a thread.

     grid   ceil(B * rows * cols / 256) of the padded extents, strided
     block  256 */
static __global__ void __launch_bounds__(VQ__THREADS)
k_scale_convert__scales(vq_tensor x, vq_tensor y, int64_t rows, int64_t cols)
{
    const int64_t n = y.shape[1] * rows * cols;
    for (int64_t w = vq__first(); w < n; w += vq__jump()) {
        const int64_t c = w % cols, r = w / cols % rows, b = w / cols / rows;
        const vq_tensor from = vq__plane(&x, 0, b), to = vq__plane(&y, 0, b);
        vq__put_code(&to, r, c, r < y.shape[2] && c < y.shape[3] ? vq__get_code(&from, r, c) : 0u);
    }
}

#endif

struct vq__operands { uint32_t in[VQ__SELF_TEST_COUNT]; };

static __global__ void k_self_test__once(vq__operands operands, int *failed)
{
    *failed = vq__self_test_of(operands.in);
}

/* ===========================================================================
   >>launch         0, or the runtime's error number
   =========================================================================== */

/* A family that is left out leaves some of these unused. */
[[maybe_unused]] static unsigned vq__blocks(int64_t n) { return (unsigned)(n < 1 << 20 ? n : 1 << 20); }
[[maybe_unused]] static unsigned vq__grid(int64_t n)
{
    return vq__blocks((n + VQ__THREADS - 1) / VQ__THREADS);
}

[[maybe_unused]] static int64_t vq__count(const vq_tensor &t)
{
    int64_t n = 1;
    for (int i = 0; i < t.rank; i++) if (!t.shape[i]) return 0;      /* before a product overflows */
    for (int i = 0; i < t.rank; i++) n *= t.shape[i];
    return n;
}

#ifndef VQ_NO_CONVERT
static int vq__gpu_cast(const void *args)
{
    const vq_cast_args *a = (const vq_cast_args *)args;
    const vq_tensor x = vq__rank4(&a->x), y = vq__rank4(&a->y);
    if (!vq__count(y)) return 0;
    const int64_t n = y.shape[0] * y.shape[1] * y.shape[2] * ((y.shape[3] + 7) / 8);
    VQ__LAUNCH(k_cast__columns8, vq__grid(n), VQ__THREADS, a->call.stream, x, y, a->overflow);
    return (int)VQ__GPU(GetLastError)();
}

static int vq__gpu_fnuz_normalize(const void *args)
{
    const vq_fnuz_normalize_args *a = (const vq_fnuz_normalize_args *)args;
    const bool to_fnuz = a->y.dtype == VQ_E4M3FNUZ || a->y.dtype == VQ_E5M2FNUZ;
    if (vq__count(a->x))
        VQ__LAUNCH(k_fnuz_normalize__codes, vq__grid(vq__count(a->x)), VQ__THREADS, a->call.stream,
                   a->x, a->y, a->overflow);
    if (vq__count(a->scale))
        VQ__LAUNCH(k_fnuz_normalize__scales, vq__grid(vq__count(a->scale)), VQ__THREADS,
                   a->call.stream, a->scale, a->scale_out, to_fnuz ? 2.0f : 0.5f);
    return (int)VQ__GPU(GetLastError)();
}

#endif

#ifndef VQ_NO_QUANT
/* As vq_key_group(), which is not linked into a kernel library. */
static vq__groups_of vq__groups_for(const vq_key &k, const vq_tensor &t)
{
    vq__groups_of g;
    g.rows = k.group_rows < 0 ? t.shape[0] : k.group_rows;
    g.cols = k.group_cols < 0 ? t.shape[1] : k.group_cols;
    g.down = k.group_rows < 0 ? 1 : (t.shape[0] + g.rows - 1) / g.rows;
    g.across = k.group_cols < 0 ? 1 : (t.shape[1] + g.cols - 1) / g.cols;
    return g;
}

static int vq__gpu_quant(const void *args)
{
    const vq_quant_args *a = (const vq_quant_args *)args;
    const vq__groups_of g = vq__groups_for(a->key, a->x);
    if (!vq__count(a->x)) return 0;
    VQ__LAUNCH(k_quant__group, vq__blocks(g.down * g.across), VQ__THREADS, a->call.stream, a->key,
               a->x, a->q, a->scale, g);
    return (int)VQ__GPU(GetLastError)();
}

static int vq__gpu_dequant(const void *args)
{
    const vq_dequant_args *a = (const vq_dequant_args *)args;
    if (!vq__count(a->q)) return 0;
    VQ__LAUNCH(k_dequant__values, vq__grid(vq__count(a->q)), VQ__THREADS, a->call.stream, a->q,
               a->scale, a->y, vq__groups_for(a->key, a->q));
    return (int)VQ__GPU(GetLastError)();
}

#endif

#ifndef VQ_NO_SCALES
static int vq__gpu_scale_convert(const void *args)
{
    const vq_scale_convert_args *a = (const vq_scale_convert_args *)args;
    const vq_tensor x = vq__rank4(&a->x), y = vq__rank4(&a->y);
    int64_t rows, cols;
    if (!vq__count(y)) return 0;
    vq__padded(&y, &rows, &cols);
    VQ__LAUNCH(k_scale_convert__scales, vq__grid(y.shape[1] * rows * cols), VQ__THREADS,
               a->call.stream, x, y, rows, cols);
    return (int)VQ__GPU(GetLastError)();
}

#endif

/* ===========================================================================
   >>table
   =========================================================================== */

static int vq__current(void)
{
    int device = -1;
    return VQ__GPU(GetDevice)(&device) == VQ__GPU(Success) ? device : -1;
}

static void *vq__alloc(size_t n)
{
    void *p = nullptr;
    return VQ__GPU(Malloc)(&p, n) == VQ__GPU(Success) ? p : nullptr;
}

static void vq__release(void *p) { (void)VQ__GPU(Free)(p); }

static int vq__copy(void *dst, const void *src, size_t n)
{
    return (int)VQ__GPU(Memcpy)(dst, src, n, VQ__GPU(MemcpyDefault));
}

static const char *vq__error_text(int n) { return VQ__GPU(GetErrorString)((VQ__GPU(Error_t))n); }

/* On `device`; the device that was current before is current after. */
static int vq__self_test(int device)
{
    const vq__operands operands = { VQ__SELF_TEST_IN };
    const int was = vq__current();
    int failed = -1, error = (int)VQ__GPU(SetDevice)(device), *out = nullptr;
    if (!error) error = (int)VQ__GPU(Malloc)((void **)&out, sizeof failed);
    if (!error) {
        VQ__LAUNCH(k_self_test__once, 1, 1, nullptr, operands, out);
        error = (int)VQ__GPU(GetLastError)();
    }
    if (!error) error = vq__copy(&failed, out, sizeof failed);
    if (out) vq__release(out);
    if (was >= 0 && was != device) (void)VQ__GPU(SetDevice)(was);
    return error ? -error : failed;
}

#ifdef VQ_NO_CONVERT
#define vq__gpu_cast            nullptr
#define vq__gpu_fnuz_normalize  nullptr
#endif
#ifdef VQ_NO_QUANT
#define vq__gpu_quant           nullptr
#define vq__gpu_dequant         nullptr
#endif
#ifdef VQ_NO_SCALES
#define vq__gpu_scale_convert   nullptr
#endif

extern "C" __attribute__((visibility("default"))) const vq_kernels *VQ__ENTRY(void)
{
    static const vq_kernels table = {
        VQ_ABI_VERSION, 0, VQ__VENDOR, VQ_KERNEL_ARCHS, vq__arch, vq__current, vq__self_test,
        vq__alloc, vq__release, vq__copy, vq__error_text, {
            nullptr,
#define X(ID, name) vq__gpu_##name,
            VQ_KERNELS(X)
#undef X
        }
    };
    return &table;
}
