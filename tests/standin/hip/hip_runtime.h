/* hip_runtime.h - HIP's names on a CPU, so that kernels run in a test without a GPU

   g++ -std=c++17 -I tests/standin -fsanitize=thread,undefined -O1 -x c++ -c kernels.hip
   g++ -shared kernels.o standin.o -o libkernels.so          (or clang++)

   One thread of a kernel is one fiber; standin.cc, which is linked beside, runs them and finds
   what a GPU would not say: its first comment names it. The sanitizers are only asked to say
   where memory is accessed; what they call is in standin.cc, none of their libraries is linked.

   Of HIP this has what portable kernels use. Launches are hipLaunchKernelGGL(), dynamic shared
   memory is HIP_DYNAMIC_SHARED(type, name); <<< >>> and `extern __shared__` are not C++. */
#ifndef STANDIN_HIP_RUNTIME_H
#define STANDIN_HIP_RUNTIME_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <utility>

#define __HIP_STANDIN__ 1
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define HIP_KERNEL_NAME(...) __VA_ARGS__

/* A red zone lies before every shared variable: what runs over the end of one meets the next. */
#define STANDIN_PASTE_(a, b) a##b
#define STANDIN_PASTE(a, b)  STANDIN_PASTE_(a, b)
#define __shared__ \
    static thread_local __attribute__((used, unused)) \
        char STANDIN_PASTE(standin_red_, __COUNTER__)[128]; \
    static thread_local
#define HIP_DYNAMIC_SHARED(type, name) type *name = (type *)standin_dynamic_shared();

#pragma GCC diagnostic ignored "-Wunknown-pragmas"                     /* #pragma unroll */
#ifndef __clang__
#define __builtin_nontemporal_load(p)     (*(p))
#define __builtin_nontemporal_store(v, p) ((void)(*(p) = (v)))
#define __builtin_assume(x)               ((void)0)
#endif

/* Where a wave operation or a barrier stands in the code tells it from others: compilers may
   not make two of one, or one of two. */
#ifdef __clang__
#define STANDIN_SITE  __attribute__((noinline, noduplicate, convergent))
#define STANDIN_APART [[clang::nomerge]]
#else
#define STANDIN_SITE  __attribute__((noinline))
#define STANDIN_APART
#endif
#define STANDIN_HERE inline __attribute__((always_inline))

/* --- types ------------------------------------------------------------------------- */

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned X = 1, unsigned Y = 1, unsigned Z = 1) : x(X), y(Y), z(Z) {}
};

/* clang looks at the alignment of a vector's access, not of a struct's; GCC at that of both. */
#ifdef __clang__
#define STANDIN_VECTOR(T, name) \
    typedef T name##2 __attribute__((ext_vector_type(2))); \
    typedef T name##4 __attribute__((ext_vector_type(4)));
#else
#define STANDIN_VECTOR(T, name) \
    struct alignas(2 * sizeof(T)) name##2 { T x, y; }; \
    struct alignas(4 * sizeof(T)) name##4 { T x, y, z, w; };
#endif
#define STANDIN_VECTORS(T, name) \
    STANDIN_VECTOR(T, name) \
    struct name##3 { T x, y, z; }; \
    inline name##2 make_##name##2(T x, T y) { return name##2{x, y}; } \
    inline name##3 make_##name##3(T x, T y, T z) { return name##3{x, y, z}; } \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return name##4{x, y, z, w}; }
STANDIN_VECTORS(unsigned, uint)
STANDIN_VECTORS(signed char, char)
STANDIN_VECTORS(unsigned char, uchar)
STANDIN_VECTORS(short, short)
STANDIN_VECTORS(unsigned short, ushort)
STANDIN_VECTORS(int, int)
STANDIN_VECTORS(float, float)
struct alignas(16) double2    { double x, y; };
struct alignas(16) longlong2  { long long x, y; };
struct alignas(16) ulonglong2 { unsigned long long x, y; };
inline double2 make_double2(double x, double y) { return double2{x, y}; }
inline longlong2 make_longlong2(long long x, long long y) { return longlong2{x, y}; }
inline ulonglong2 make_ulonglong2(unsigned long long x, unsigned long long y)
{
    return ulonglong2{x, y};
}

/* --- threads ----------------------------------------------------------------------- */

uint3 standin_thread(void);
uint3 standin_block(void);
dim3  standin_block_size(void);
dim3  standin_grid_size(void);
void *standin_dynamic_shared(void);

#define threadIdx (standin_thread())
#define blockIdx  (standin_block())
#define blockDim  (standin_block_size())
#define gridDim   (standin_grid_size())
extern const int warpSize;                             /* no constant: 64 or 32 */

unsigned __lane_id(void);
void __threadfence(void);
void __threadfence_block(void);
void __threadfence_system(void);

/* --- barriers and wave operations -------------------------------------------------- */

/* The result counts the threads whose `vote` is not 0. */
STANDIN_SITE int standin_wait(int vote);
STANDIN_HERE int standin_barrier(int vote) { STANDIN_APART return standin_wait(vote); }

enum standin_wave_op { STANDIN_SHUFFLE, STANDIN_BALLOT, STANDIN_FENCE };

/* `lane`: whose value a shuffle takes. `mask`: the lanes that must be there. */
STANDIN_SITE uint64_t standin_meet(standin_wave_op op, uint64_t value, int lane, uint64_t mask);
STANDIN_HERE uint64_t standin_wave(standin_wave_op op, uint64_t value, int lane, uint64_t mask)
{
    STANDIN_APART return standin_meet(op, value, lane, mask);
}

STANDIN_HERE void __syncthreads(void)          { standin_barrier(0); }
STANDIN_HERE int  __syncthreads_count(int v)   { return standin_barrier(v); }
STANDIN_HERE int  __syncthreads_or(int v)      { return standin_barrier(v) != 0; }
STANDIN_HERE int  __syncthreads_and(int v)     { return standin_barrier(!v) == 0; }
STANDIN_HERE void __syncwarp(unsigned long long mask = ~0ull)
{
    standin_wave(STANDIN_FENCE, 0, 0, mask);
}

/* As AMD's compiler has it: a fence for the memory of the lanes of a wave, which move together. */
#define __builtin_amdgcn_fence(...)       ((void)0)
#define __builtin_amdgcn_wave_barrier()   __syncwarp()

template <class T> STANDIN_HERE T standin_shuffle(T v, int lane, uint64_t mask)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 2, "no such shuffle");
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof v);
    bits = standin_wave(STANDIN_SHUFFLE, bits, lane, mask);
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* Lanes beyond their own part of the wave, which `width` divides, give the caller's value. */
inline int standin_from(int lane, int width, int from)
{
    const int first = lane & -width;
    return from < first || from >= first + width ? lane : from;
}

#define STANDIN_LANE ((int)__lane_id())
#define STANDIN_SHUFFLES(end, arg, mask) \
    template <class T> STANDIN_HERE T __shfl##end(arg T v, int lane, int width = warpSize) \
    { return standin_shuffle(v, (STANDIN_LANE & -width) + (lane & (width - 1)), mask); } \
    template <class T> STANDIN_HERE T __shfl_xor##end(arg T v, int bits, int width = warpSize) \
    { const int l = STANDIN_LANE; \
      return standin_shuffle(v, standin_from(l, width, l ^ bits), mask); } \
    template <class T> STANDIN_HERE T __shfl_up##end(arg T v, unsigned by, int width = warpSize) \
    { const int l = STANDIN_LANE; \
      return standin_shuffle(v, standin_from(l, width, l - (int)by), mask); } \
    template <class T> STANDIN_HERE T __shfl_down##end(arg T v, unsigned by, int width = warpSize) \
    { const int l = STANDIN_LANE; \
      return standin_shuffle(v, standin_from(l, width, l + (int)by), mask); }
#define STANDIN_MASK unsigned long long standin_mask,
#define STANDIN_NONE
STANDIN_SHUFFLES(, STANDIN_NONE, 0)
STANDIN_SHUFFLES(_sync, STANDIN_MASK, standin_mask)

STANDIN_HERE unsigned long long __ballot(int v)
{
    return standin_wave(STANDIN_BALLOT, v != 0, 0, 0);
}
STANDIN_HERE unsigned long long __activemask(void) { return standin_wave(STANDIN_BALLOT, 1, 0, 0); }
STANDIN_HERE int __any(int v) { return standin_wave(STANDIN_BALLOT, v != 0, 0, 0) != 0; }
STANDIN_HERE int __all(int v) { return standin_wave(STANDIN_BALLOT, v == 0, 0, 0) == 0; }
STANDIN_HERE unsigned long long __ballot_sync(unsigned long long mask, int v)
{
    return standin_wave(STANDIN_BALLOT, v != 0, 0, mask) & mask;
}
STANDIN_HERE int __any_sync(unsigned long long mask, int v)
{
    return (standin_wave(STANDIN_BALLOT, v != 0, 0, mask) & mask) != 0;
}
STANDIN_HERE int __all_sync(unsigned long long mask, int v)
{
    return (standin_wave(STANDIN_BALLOT, v == 0, 0, mask) & mask) == 0;
}

/* --- atomics and bits -------------------------------------------------------------- */

/* p is about to be read and written at once. */
void standin_atomic(void *p, size_t size);

#if defined(__clang__) || __GNUC__ >= 8
#define STANDIN_UNSEEN __attribute__((no_sanitize("thread")))
#else
#define STANDIN_UNSEEN
#endif
#define STANDIN_ATOMIC(name, expr) \
    template <class T, class U> STANDIN_UNSEEN T name(T *p, U u) \
    { \
        standin_atomic(p, sizeof *p); \
        const T old = *p, v = (T)u; \
        (void)v; \
        *p = (T)(expr); \
        return old; \
    }
STANDIN_ATOMIC(atomicAdd, old + v)
STANDIN_ATOMIC(atomicSub, old - v)
STANDIN_ATOMIC(atomicMax, v > old ? v : old)
STANDIN_ATOMIC(atomicMin, v < old ? v : old)
STANDIN_ATOMIC(atomicAnd, old & v)
STANDIN_ATOMIC(atomicOr, old | v)
STANDIN_ATOMIC(atomicXor, old ^ v)
STANDIN_ATOMIC(atomicExch, v)
STANDIN_ATOMIC(atomicInc, old >= v ? 0 : old + 1)
template <class T> STANDIN_UNSEEN T atomicCAS(T *p, T compare, T v)
{
    standin_atomic(p, sizeof *p);
    const T old = *p;
    if (old == compare) *p = v;
    return old;
}

template <class D, class S> inline D standin_bits(S s)
{
    static_assert(sizeof(D) == sizeof(S), "no such cast");
    D d;
    memcpy(&d, &s, sizeof d);
    return d;
}
inline unsigned  __float_as_uint(float f)       { return standin_bits<unsigned>(f); }
inline float     __uint_as_float(unsigned u)    { return standin_bits<float>(u); }
inline int       __float_as_int(float f)        { return standin_bits<int>(f); }
inline float     __int_as_float(int i)          { return standin_bits<float>(i); }
inline int       __popc(unsigned v)             { return __builtin_popcount(v); }
inline int       __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int       __clz(int v)                   { return v ? __builtin_clz((unsigned)v) : 32; }
inline int       __clzll(long long v)
{
    return v ? __builtin_clzll((unsigned long long)v) : 64;
}
inline int       __ffs(int v)                   { return __builtin_ffs(v); }
inline int       __ffsll(long long v)           { return __builtin_ffsll(v); }
inline unsigned  __brev(unsigned v)
{
    unsigned r = 0;
    for (int i = 0; i < 32; i++) r |= (v >> i & 1u) << (31 - i);
    return r;
}
inline unsigned  __byte_perm(unsigned a, unsigned b, unsigned s)
{
    const uint64_t both = (uint64_t)b << 32 | a;
    unsigned r = 0;
    for (int i = 0; i < 4; i++) r |= (unsigned)(both >> 8 * (s >> 4 * i & 7) & 255) << 8 * i;
    return r;
}
template <class T> STANDIN_HERE T __ldg(const T *p) { return *p; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
using std::max;
using std::min;

/* --- the runtime ------------------------------------------------------------------- */

/* X(name, number, text) */
#define STANDIN_ERRORS(X) \
    X(hipSuccess,                    0,   "no error") \
    X(hipErrorInvalidValue,          1,   "invalid argument") \
    X(hipErrorOutOfMemory,           2,   "out of memory") \
    X(hipErrorInvalidConfiguration,  9,   "invalid configuration argument") \
    X(hipErrorInvalidDevicePointer,  17,  "invalid device pointer") \
    X(hipErrorNoDevice,              100, "no ROCm-capable device is detected") \
    X(hipErrorInvalidDevice,         101, "invalid device ordinal") \
    X(hipErrorInvalidHandle,         400, "invalid resource handle") \
    X(hipErrorNotReady,              600, "device not ready") \
    X(hipErrorLaunchOutOfResources,  701, "out of resources for launch") \
    X(hipErrorLaunchFailure,         719, "unspecified launch failure")

enum hipError_t {
#define X(name, number, text) name = number,
    STANDIN_ERRORS(X)
#undef X
    standin_last_error = 1 << 16
};

enum hipMemcpyKind { hipMemcpyHostToHost, hipMemcpyHostToDevice, hipMemcpyDeviceToHost,
                     hipMemcpyDeviceToDevice, hipMemcpyDefault };

enum hipDeviceAttribute_t {
    hipDeviceAttributeMultiprocessorCount, hipDeviceAttributeWarpSize,
    hipDeviceAttributeMaxThreadsPerBlock, hipDeviceAttributeMaxSharedMemoryPerBlock,
    hipDeviceAttributeMaxGridDimX
};

enum hipFuncAttribute { hipFuncAttributeMaxDynamicSharedMemorySize };

typedef struct standin_stream *hipStream_t;
typedef struct standin_event  *hipEvent_t;

/* Members up to multiProcessorCount and gcnArchName are where ROCm 6 has them. */
struct hipDeviceProp_tR0600 {
    char     name[256], uuid[16], luid[8];
    unsigned luidDeviceNodeMask;
    size_t   totalGlobalMem, sharedMemPerBlock;
    int      regsPerBlock, warpSize;
    size_t   memPitch;
    int      maxThreadsPerBlock, maxThreadsDim[3], maxGridSize[3], clockRate;
    size_t   totalConstMem;
    int      major, minor;
    size_t   textureAlignment, texturePitchAlignment;
    int      deviceOverlap, multiProcessorCount, others[192];
    char     gcnArchName[256];
    size_t   maxSharedMemoryPerMultiProcessor;
    int      more[12];
};
typedef hipDeviceProp_tR0600 hipDeviceProp_t;

hipError_t  hipGetDeviceCount(int *n);
hipError_t  hipGetDevice(int *device);
hipError_t  hipSetDevice(int device);
hipError_t  hipGetDeviceProperties(hipDeviceProp_t *p, int device);
hipError_t  hipDeviceGetAttribute(int *value, hipDeviceAttribute_t a, int device);
hipError_t  hipRuntimeGetVersion(int *version);
hipError_t  hipMalloc(void **p, size_t bytes);
hipError_t  hipFree(void *p);
hipError_t  hipMemcpy(void *to, const void *from, size_t bytes, hipMemcpyKind kind);
hipError_t  hipMemcpyAsync(void *to, const void *from, size_t bytes, hipMemcpyKind kind,
                           hipStream_t stream);
hipError_t  hipMemset(void *p, int value, size_t bytes);
hipError_t  hipMemsetAsync(void *p, int value, size_t bytes, hipStream_t stream);
hipError_t  hipStreamCreate(hipStream_t *stream);
hipError_t  hipStreamCreateWithFlags(hipStream_t *stream, unsigned flags);
hipError_t  hipStreamDestroy(hipStream_t stream);
hipError_t  hipStreamSynchronize(hipStream_t stream);
hipError_t  hipStreamQuery(hipStream_t stream);
hipError_t  hipStreamWaitEvent(hipStream_t stream, hipEvent_t event, unsigned flags);
hipError_t  hipDeviceSynchronize(void);
hipError_t  hipEventCreate(hipEvent_t *event);
hipError_t  hipEventCreateWithFlags(hipEvent_t *event, unsigned flags);
hipError_t  hipEventDestroy(hipEvent_t event);
hipError_t  hipEventRecord(hipEvent_t event, hipStream_t stream);
hipError_t  hipEventSynchronize(hipEvent_t event);
hipError_t  hipEventElapsedTime(float *ms, hipEvent_t from, hipEvent_t to);
hipError_t  hipGetLastError(void);
hipError_t  hipPeekAtLastError(void);
const char *hipGetErrorString(hipError_t e);
const char *hipGetErrorName(hipError_t e);
hipError_t  hipFuncSetAttribute(const void *kernel, hipFuncAttribute a, int value);

enum { hipStreamDefault = 0, hipStreamNonBlocking = 1, hipEventDisableTiming = 2 };

template <class T> inline hipError_t hipMalloc(T **p, size_t bytes)
{
    return hipMalloc((void **)p, bytes);
}

/* Runs call(args), of `bytes`, in every thread. */
void standin_launch(const char *kernel, dim3 grid, dim3 block, size_t shared, hipStream_t stream,
                    void (*call)(void *args), void *args, size_t bytes);

template <class... P> struct standin_call {
    void (*kernel)(P...);
    std::tuple<P...> args;
    template <size_t... I> void spread(std::index_sequence<I...>) { kernel(std::get<I>(args)...); }
    static void go(void *self)
    {
        ((standin_call *)self)->spread(std::index_sequence_for<P...>());
    }
};

template <class... P, class... A>
inline void standin_start(const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
                          size_t shared, hipStream_t stream, A &&...a)
{
    standin_call<P...> c{kernel, std::tuple<P...>(std::forward<A>(a)...)};
    standin_launch(name, grid, block, shared, stream, standin_call<P...>::go, &c, sizeof c);
}

#define hipLaunchKernelGGL(kernel, grid, block, shared, stream, ...) \
    standin_start(#kernel, kernel, grid, block, shared, stream, ##__VA_ARGS__)

#endif
