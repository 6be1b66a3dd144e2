/* faults.hip - kernels that do what kernels may not: test_standin.c sees each of them reported

   standin_fault(name) launches one on device memory it makes itself. At the end what lanes give
   each other, which is compared with what it should be. */
#include <hip/hip_runtime.h>
#include <cstdio>

enum { N = 256 };

/* --- barriers ---------------------------------------------------------------------- */

static __global__ void k_reverse(const uint32_t *x, uint32_t *y, int barrier)
{
    __shared__ uint32_t part[N];
    part[threadIdx.x] = 0;
    __syncthreads();
    part[threadIdx.x] = x[threadIdx.x];
    if (barrier) __syncthreads();
    y[threadIdx.x] = part[N - 1 - threadIdx.x];
}

/* Read by others in one round, written in the next. */
static __global__ void k_rounds(const uint32_t *x, uint32_t *y, int barrier)
{
    __shared__ uint32_t part[N];
    for (int i = 0; i < 3; i++) {
        part[threadIdx.x] = x[threadIdx.x] + (uint32_t)i;
        __syncthreads();
        y[threadIdx.x] = part[N - 1 - threadIdx.x];
        if (barrier) __syncthreads();
    }
}

static __global__ void k_half_a_barrier(uint32_t *y, unsigned n)
{
    if (threadIdx.x < n) __syncthreads();
    y[threadIdx.x] = n;
}

static __global__ void k_two_barriers(uint32_t *y, unsigned n)
{
    if (threadIdx.x < n) { y[threadIdx.x] = 1; __syncthreads(); }
    else                 { y[threadIdx.x] = 2; __syncthreads(); }
}

static __global__ void k_early_return(const uint32_t *x, uint32_t *y, unsigned n)
{
    __shared__ uint32_t sum;
    if (threadIdx.x >= n) return;
    if (threadIdx.x == 0) sum = x[0];
    __syncthreads();
    y[threadIdx.x] = sum;
}

/* --- waves ------------------------------------------------------------------------- */

static __global__ void k_sum(const uint32_t *x, uint32_t *y, unsigned n)
{
    uint32_t v = x[threadIdx.x];
    if (threadIdx.x % (unsigned)warpSize < n)
        for (int d = warpSize / 2; d > 0; d /= 2) v += __shfl_xor(v, d);
    y[threadIdx.x] = v;
}

static __global__ void k_sum_of_those_left(const uint32_t *x, uint32_t *y, unsigned n)
{
    if (threadIdx.x % (unsigned)warpSize >= n) return;
    uint32_t v = x[threadIdx.x];
    for (int d = warpSize / 2; d > 0; d /= 2) v += __shfl_xor(v, d);
    y[threadIdx.x] = v;
}

/* Lanes of one wave, in different rounds of a loop. */
static __global__ void k_sum_in_rounds(const uint32_t *x, uint32_t *y, unsigned more)
{
    uint32_t v = x[threadIdx.x];
    for (unsigned i = 0; i < 2 + threadIdx.x % 2 * more; i++) v += __shfl_xor(v, 1);
    y[threadIdx.x] = v;
}

static __global__ void k_lane_beyond(const uint32_t *x, uint32_t *y, int lane)
{
    y[threadIdx.x] = __shfl_down(x[threadIdx.x], (unsigned)lane) + __shfl(x[threadIdx.x], lane);
}

static __global__ void k_through_shared(const uint32_t *x, uint32_t *y, int fence)
{
    __shared__ uint32_t part[N];
    part[threadIdx.x] = 0;
    __syncthreads();
    part[threadIdx.x] = x[threadIdx.x];
    if (fence) __syncwarp();
    y[threadIdx.x] = part[threadIdx.x ^ 1];
}

/* --- memory ------------------------------------------------------------------------ */

static __global__ void k_shared_index(uint32_t *y, unsigned at)
{
    __shared__ uint32_t before[4], part[N], after[4];
    if (threadIdx.x == 0) {
        before[0] = after[0] = part[0] = 0;
        part[at] = 1;
        y[0] = before[0] + part[0] + after[0];
    }
}

static __device__ void put(volatile uint32_t *p, uint32_t v) { *p = v; }

static __global__ void k_shared_pointer(uint32_t *y, int at)
{
    __shared__ uint32_t part[N];
    uint32_t *volatile p = part;
    if (threadIdx.x == 0) put(p + at, 1);
    y[threadIdx.x] = 1;
}

static __global__ void k_dynamic(uint32_t *y, unsigned at)
{
    HIP_DYNAMIC_SHARED(uint8_t, part)
    part[at + threadIdx.x] = 1;
    y[threadIdx.x] = 1;
}

static __global__ void k_unwritten(uint32_t *y, unsigned n)
{
    __shared__ uint32_t part[N];
    if (threadIdx.x < n) part[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = part[threadIdx.x];
}

static __global__ void k_bytes(const uint8_t *x, uint8_t *y, int by)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    y[i + by] = x[i];
}

static __global__ void k_bytes_read(const uint8_t *x, uint8_t *y, int by)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    y[i] = x[i + by];
}

static __global__ void k_vector(const uint8_t *x, uint8_t *y, int by)
{
    if (threadIdx.x < N / 16) ((uint4 *)(y + by))[threadIdx.x] = ((const uint4 *)x)[threadIdx.x];
}

static __global__ void k_copy(const uint8_t *x, uint8_t *y, int by)
{
    if (threadIdx.x == 0) memcpy(y, x, (size_t)(N * 2 + by));
}

static __global__ void k_shift(const uint32_t *x, uint32_t *y, int by)
{
    y[threadIdx.x] = x[threadIdx.x] << by;
}

/* Two threads, even of two blocks, at one byte. */
static __global__ void k_nibbles(uint8_t *y, unsigned per)
{
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i / per] = (uint8_t)(y[i / per] & 0xf0u);
}

static __global__ void k_counts(unsigned *y, int atomic)
{
    if (atomic) atomicAdd(y, 1u);
    else        ++*y;
}

/* The last block adds up what the others left. */
static __global__ void k_last_block(uint32_t *y, unsigned *count, int fence)
{
    __shared__ int last;
    y[blockIdx.x * N + threadIdx.x] = 1;
    if (fence) __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(count, 1u) == gridDim.x - 1;
    __syncthreads();
    for (unsigned i = 1; last && i < gridDim.x; i++)
        y[threadIdx.x] += y[i * N + threadIdx.x];
}

static __global__ void k_gap(const uint8_t *x, uint8_t *y, int rows, int cols, int stride, int wide)
{
    for (int r = (int)threadIdx.x; r < rows; r += (int)blockDim.x)
        for (int c = 0; c < (wide ? (cols + 3) / 4 * 4 : cols); c++)
            y[r * stride + c] = c < cols ? x[r * stride + c] : y[r * stride + c];
}

/* --- which ------------------------------------------------------------------------- */

/* 4 N bytes of device memory; 0 if there are any. */
static int zeros(uint8_t **p) { return hipMalloc(p, 4 * N) || hipMemset(*p, 0, 4 * N); }

#define RUN(k, blocks, ...) hipLaunchKernelGGL(k, dim3(blocks), dim3(N), 0, nullptr, __VA_ARGS__)
#define IS(name) (!strcmp(fault, name))

/* 0: it ran, and nothing was said. bad: whether it does what it may not. */
extern "C" __attribute__((visibility("default"))) int standin_fault(const char *fault, int bad)
{
    uint8_t *x, *y, *host = (uint8_t *)malloc(4 * N);
    if (zeros(&x) || zeros(&y)) return 1;
    uint32_t *u = (uint32_t *)x, *v = (uint32_t *)y;
    if (IS("no barrier between a write and a read"))
        RUN(k_reverse, 1, u, v, !bad);
    else if (IS("no barrier between a read and a write"))
        RUN(k_rounds, 1, u, v, !bad);
    else if (IS("a barrier that some do not reach"))
        RUN(k_half_a_barrier, 1, v, bad ? 200 : N);
    else if (IS("a barrier that a wave does not reach"))
        RUN(k_half_a_barrier, 1, v, bad ? 192 : N);
    else if (IS("two barriers at once"))
        RUN(k_two_barriers, 1, v, bad ? 64 : N);
    else if (IS("a return before a barrier"))
        RUN(k_early_return, 1, u, v, bad ? 255 : N);
    else if (IS("a shuffle with lanes that wait elsewhere"))
        RUN(k_sum, 1, u, v, bad ? 16 : N);
    else if (IS("a shuffle with lanes that returned"))
        RUN(k_sum_of_those_left, 1, u, v, bad ? 31 : N);
    else if (IS("a shuffle with lanes in another round"))
        RUN(k_sum_in_rounds, 1, u, v, bad);
    else if (IS("a lane beyond a wave that is not full"))
        hipLaunchKernelGGL(k_lane_beyond, dim3(1), dim3(bad ? 20 : warpSize), 0, nullptr, u, v,
                           19 + bad);
    else if (IS("shared memory between lanes without a fence"))
        RUN(k_through_shared, 1, u, v, !bad);
    else if (IS("an index beyond shared memory"))
        RUN(k_shared_index, 1, v, N - 1 + bad);
    else if (IS("a pointer beyond shared memory"))
        RUN(k_shared_pointer, 1, v, N - 1 + bad);
    else if (IS("a pointer before shared memory"))
        RUN(k_shared_pointer, 1, v, -bad);
    else if (IS("dynamic shared memory that was not asked for"))
        hipLaunchKernelGGL(k_dynamic, dim3(1), dim3(N), N, nullptr, v, (unsigned)bad);
    else if (IS("shared memory that nobody wrote"))
        RUN(k_unwritten, 1, v, bad ? 200 : N);
    else if (IS("a byte written behind an allocation"))
        RUN(k_bytes, 4, x, y, bad);
    else if (IS("a byte written before an allocation"))
        RUN(k_bytes, 4, x, y, -bad);
    else if (IS("a byte read behind an allocation"))
        RUN(k_bytes_read, 4, x, y, bad);
    else if (IS("a vector that is not aligned"))
        RUN(k_vector, 1, x, y, bad ? 4 : 16);
    else if (IS("a copy that is too long"))
        RUN(k_copy, 1, x, y, bad ? 2 * N + 1 : 2 * N);
    else if (IS("memory of the host"))
        RUN(k_bytes_read, 1, bad ? host : x, y, 0);
    else if (IS("memory that was freed")) {
        uint8_t *z;
        if (zeros(&z) || (bad && hipFree(z))) return 1;
        RUN(k_bytes_read, 1, z, y, 0);
    }
    else if (IS("a shift too far"))
        RUN(k_shift, 1, u, v, bad ? 32 : 31);
    else if (IS("two threads at one byte"))
        RUN(k_nibbles, 2, y, bad ? 2 : 1);
    else if (IS("two blocks at one byte"))
        hipLaunchKernelGGL(k_nibbles, dim3(2), dim3(1), 0, nullptr, y, bad ? 2u : 1u);
    else if (IS("a counter that is not atomic"))
        RUN(k_counts, 2, v, !bad);
    else if (IS("a last block without a fence")) {
        uint8_t *z;
        if (hipMalloc(&z, 4 * 4 * N)) return 1;
        RUN(k_last_block, 4, (uint32_t *)z, v, !bad);
    }
    else if (IS("a gap"))
        RUN(k_gap, 1, x, y, 8, 10, 16, bad);
    else return 2;
    const hipError_t e = hipGetLastError();
    free(host);
    return e ? 3 : 0;
}

/* The bytes of a gap that k_gap rewrites as they were: only touched() can tell. */
extern "C" __attribute__((visibility("default"))) int standin_gap(int bad, uint8_t **p)
{
    uint8_t *x;
    if (zeros(&x) || zeros(p)) return 1;
    RUN(k_gap, 1, x, *p, 8, 10, 16, bad);
    return hipGetLastError();
}

/* --- lanes ------------------------------------------------------------------------- */

enum { RESULTS = 16 };

static __global__ void k_exchange(uint64_t *y)
{
    const int t = (int)threadIdx.x;
    const uint32_t v = (uint32_t)t * 3 + 1;
    const double d = t + 0.5;
    uint64_t r[RESULTS] = {
        (uint64_t)__shfl(v, 5), (uint64_t)__shfl(v, 3, 16), (uint64_t)__shfl(v, t + 1),
        (uint64_t)__shfl_xor(v, 1), (uint64_t)__shfl_xor(v, warpSize / 2),
        (uint64_t)__shfl_xor(v, 16, 16), (uint64_t)__shfl_up(v, 3), (uint64_t)__shfl_up(v, 2, 8),
        (uint64_t)__shfl_down(v, 3), (uint64_t)__shfl_down(v, 2, 8),
        (uint64_t)(__shfl_xor(d, 2) * 2), __ballot(t & 1), (uint64_t)__any(t == 70),
        (uint64_t)__all(t != 70), (uint64_t)__syncthreads_count(t < 100), __lane_id()
    };
    for (int i = 0; i < RESULTS; i++) y[t * RESULTS + i] = r[i];
}

/* Lanes that part and meet again: the even ones, then all. */
static __global__ void k_part(uint64_t *y)
{
    const int t = (int)threadIdx.x;
    uint64_t r = 0;
    if (t % 2 == 0) r = __shfl_xor((uint64_t)t, 2);
    else            r = (uint64_t)__popcll(__ballot(1)) << 32;
    y[t] = r + __shfl((uint64_t)t, 1);
}

static uint64_t wanted(int i, int t, int wave)
{
    const int lane = t % wave, first = t - lane;
    auto v = [&](int l) { return (uint64_t)((first + l) * 3 + 1); };
    const int held = lane / 16 * 16, eight = lane / 8 * 8;
    switch (i) {
    case 0:  return v(5);
    case 1:  return v(held + 3);
    case 2:  return v((lane + 1) % wave);
    case 3:  return v(lane ^ 1);
    case 4:  return v(lane ^ wave / 2);
    case 5:  return v(lane);                           /* beyond its sixteen lanes: its own */
    case 6:  return v(lane < 3 ? lane : lane - 3);
    case 7:  return v(lane - 2 < eight ? lane : lane - 2);
    case 8:  return v(lane + 3 >= wave ? lane : lane + 3);
    case 9:  return v(lane + 2 >= eight + 8 ? lane : lane + 2);
    case 10: return (uint64_t)(((t ^ 2) + 0.5) * 2);
    case 11: return wave == 64 ? 0xaaaaaaaaaaaaaaaaull : 0xaaaaaaaaull;
    case 12: return first <= 70 && 70 < first + wave;
    case 13: return !(first <= 70 && 70 < first + wave);
    case 14: return 100;
    default: return (uint64_t)lane;
    }
}

/* How many results are wrong. */
extern "C" __attribute__((visibility("default"))) int standin_exchange(int wave)
{
    uint64_t *y, *host = (uint64_t *)malloc(N * RESULTS * 8);
    int wrong = wave != warpSize;
    if (hipMalloc(&y, N * RESULTS * 8)) return -1;
    RUN(k_exchange, 1, y);
    if (hipMemcpy(host, y, N * RESULTS * 8, hipMemcpyDeviceToHost)) return -1;
    for (int t = 0; t < N; t++)
        for (int i = 0; i < RESULTS; i++) wrong += host[t * RESULTS + i] != wanted(i, t, wave);
    RUN(k_part, 1, y);
    if (hipMemcpy(host, y, N * 8, hipMemcpyDeviceToHost)) return -1;
    for (int t = 0; t < N; t++)
        wrong += host[t] != (t % 2 ? (uint64_t)wave / 2 << 32 : (uint64_t)(t ^ 2))
                          + (uint64_t)(t / wave * wave + 1);
    free(host);
    return wrong + (hipFree(y) != hipSuccess);
}
