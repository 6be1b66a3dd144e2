/* vq_kernels.hip - the kernels of vq.h, once, for AMD and NVIDIA

   hipcc -O3 -std=c++17 --offload-arch=gfx942 -ffp-contract=off -fPIC -fvisibility=hidden \
         -shared vq_kernels.hip -o libvq_hip.so           or: hipcc -x hip app.c vq_kernels.hip

   The arithmetic is that of vq.h, sections >>convert, >>numerics and >>elements: the same
   source as the reference, so the same bits. What is here is who computes what: a lane holds eight
   neighbours of a row, a group's lanes shuffle, a row's block keeps it in shared memory, and what
   fits neither goes one by one through workspace. Views that are not aligned take the same way in
   smaller steps. Names: k_<op>__<what a thread or block has>, `values` being what any op quantizes;
   the launcher vq__gpu_<slot> takes the args struct of the op, already checked.

     >>shim       the only place with a vendor's names; vq_kernels.cu brings its own
     >>twins      a vendor's instruction, and what gives the same bits without it
     >>eight      neighbours in a row
     >>codes      groups of eights to scales and codes
     >>sources    where values come from
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
#define VQ__LAUNCH(k, grid, block, shared, stream, ...) \
    [&] { \
        hipLaunchKernelGGL(k, dim3(grid), dim3(block), shared, (hipStream_t)(stream), __VA_ARGS__); \
        return (int)hipGetLastError(); \
    }()

#define VQ__WAVE_MOST        64                              /* lanes of a wave, on any device */

/* Lanes of a wave; the value of the lane whose number differs in the bits `d`, and of the first. */
#define vq__wave()           ((int)warpSize)
#define vq__xor(v, d)        __shfl_xor(v, d)
#define vq__first_lane(v)    __shfl(v, 0)

/* The kernel before in the stream is done; the next one may start up, its own wait still to come. */
#define vq__wait()           ((void)0)
#define vq__loaded()         ((void)0)

/* 16 and 8 bytes, what lies there being of no use again. */
#define vq__load(p)          (*(const vq__quad *)(p))
#define vq__load_duo(p)      (*(const vq__duo *)(p))
template <class T> static __device__ __forceinline__ void vq__store(void *p, const T &v) { *(T *)p = v; }

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
   >>twins      a vendor's instruction, and what gives the same bits without it
   =========================================================================== */

#define VQ__DEV [[maybe_unused]] static __device__ __forceinline__
#if defined(__CUDACC__)
#define VQ__COLD [[maybe_unused]] static __device__ __noinline__
#else
#define VQ__COLD VQ__DEV                                     /* a call would take scratch memory */
#endif

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
#define VQ__CVT_E4M3 1
#endif

/* Two floats as two codes of 16 bits, the first in the low half: RN, infinity beyond the largest.
   A NaN is any quiet one. */
VQ__DEV uint32_t vq__pair_bf16(float a, float b)
{
#if defined(__CUDA_ARCH__)
    uint32_t u;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(b), "f"(a));
    return u;
#else
    return vq_bf16_from_f32(a, VQ_NONFINITE) | (uint32_t)vq_bf16_from_f32(b, VQ_NONFINITE) << 16;
#endif
}

VQ__DEV uint32_t vq__pair_f16(float a, float b)
{
#if defined(__CUDA_ARCH__)
    uint32_t u;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(b), "f"(a));
    return u;
#elif defined(__AMDGCN__)
    const _Float16 h[2] = { (_Float16)a, (_Float16)b };
    uint32_t u;
    memcpy(&u, h, 4);
    return u;
#else
    return vq_f16_from_f32(a, VQ_NONFINITE) | (uint32_t)vq_f16_from_f32(b, VQ_NONFINITE) << 16;
#endif
}

VQ__DEV float vq__low_f16(uint32_t u)
{
#if defined(__CUDA_ARCH__)
    float v;
    asm("{ .reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, l; }" : "=f"(v) : "r"(u));
    return v;
#elif defined(__AMDGCN__)
    const uint16_t c = (uint16_t)u;
    _Float16 h;
    memcpy(&h, &c, 2);
    return (float)h;
#else
    return vq_f32_from_f16((uint16_t)u);
#endif
}

/* Two e4m3fn codes of two floats, saturating; NaN is 0x7f. */
VQ__DEV uint32_t vq__pair_e4m3(float a, float b)
{
#if defined(VQ__CVT_E4M3)
    uint16_t u;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(u) : "f"(b), "f"(a));
    return u;
#else
    const vq__mini f = { 3, 7, 7, 0x100, 0x7f, 0x100, 0x7f };
    a = a > 448.0f ? 448.0f : a < -448.0f ? -448.0f : a;
    b = b > 448.0f ? 448.0f : b < -448.0f ? -448.0f : b;
    return vq__near_mini(a, f) | vq__near_mini(b, f) << 8;
#endif
}

/* And back, exactly. */
VQ__DEV void vq__from_e4m3(uint32_t pair, float *v)
{
#if defined(VQ__CVT_E4M3)
    const uint16_t c = (uint16_t)pair;
    uint32_t u;
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(u) : "h"(c));
    v[0] = vq__low_f16(u);                                   /* a NaN: some quiet one */
    v[1] = vq__low_f16(u >> 16);
#else
    const vq__mini f = { 3, 7, 7, 0x100, 0x7f, 0x100, 0x7f };
    v[0] = vq__mini_value(pair & 0xffu, f);
    v[1] = vq__mini_value(pair >> 8 & 0xffu, f);
#endif
}

VQ__DEV float vq__abs(float v)
{
#if defined(__CUDA_ARCH__)
    return fabsf(v);
#else
    return vq__f32_make(vq__f32_bits(v) & 0x7fffffffu);
#endif
}

/* The larger of a and b, the smaller: a, if b is a NaN of whatever kind. */
VQ__DEV float vq__larger(float a, float b)
{
#if defined(__CUDA_ARCH__)
    return fmaxf(a, b);
#else
    return b > a ? b : a;
#endif
}

VQ__DEV float vq__smaller(float a, float b)
{
#if defined(__CUDA_ARCH__)
    return fminf(a, b);
#else
    return b < a ? b : a;
#endif
}

/* The larger of each half, as numbers without a sign. */
VQ__DEV uint32_t vq__larger_halves(uint32_t a, uint32_t b)
{
#if defined(__CUDA_ARCH__)
    return __vmaxu2(a, b);
#else
    const uint32_t low = (a & 0xffffu) > (b & 0xffffu) ? a & 0xffffu : b & 0xffffu;
    return (a >> 16 > b >> 16 ? a & 0xffff0000u : b & 0xffff0000u) | low;
#endif
}

/* ===========================================================================
   >>eight      neighbours in a row, what a lane holds at a time: 8 columns are a whole number
                of bytes in every packed type, and 16 bytes of what engines run
   =========================================================================== */

struct alignas(16) vq__quad { uint32_t w[4]; };
struct alignas(8)  vq__duo  { uint32_t w[2]; };

template <int W> struct vq__raw { vq__quad q[W]; };          /* 1: of 16-bit floats; 2: of f32 */

VQ__DEV int vq__ragged(int64_t cols, int64_t c)              /* of eight columns, those there */
{
    return (int)(cols - c > 8 ? 8 : cols - c < 0 ? 0 : cols - c);
}

/* Rows of floats. whole: 8 columns lie at a multiple of 16 bytes, and none is ragged. */
struct vq__rows { char *p; int64_t plane, row; vq_dtype type; int whole; };

/* Elements c to c + n of a row; what is not there is 0. */
template <int W>
VQ__DEV vq__raw<W> vq__fetch(const vq__rows &x, const char *row, int64_t c, int n)
{
    vq__raw<W> u = {};
    if (n <= 0) return u;
    if (W == 2 && x.type == VQ_F32) {
        const char *p = row + c * 4;
        if (x.whole) {
            u.q[0] = vq__load(p);
            u.q[W - 1] = vq__load(p + 16);
        } else {
#pragma unroll
            for (int i = 0; i < 8; i++) if (i < n) memcpy(&u.q[i / 4 % W].w[i % 4], p + 4 * i, 4);
        }
    } else {
        const char *p = row + c * 2;
        if (x.whole) u.q[0] = vq__load(p);
        else {
#pragma unroll
            for (int i = 0; i < 8; i++) {
                uint16_t h;
                if (i >= n) continue;
                memcpy(&h, p + 2 * i, 2);
                u.q[0].w[i / 2] |= (uint32_t)h << i % 2 * 16;
            }
        }
    }
    return u;
}

template <int W>
VQ__DEV void vq__values(vq_dtype t, const vq__raw<W> &u, float *v)
{
    if (W == 2 && t == VQ_F32) {
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = vq__f32_make(u.q[i / 4 % W].w[i % 4]);
    } else if (t == VQ_BF16) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            v[2 * i] = vq__f32_make(u.q[0].w[i] << 16);
            v[2 * i + 1] = vq__f32_make(u.q[0].w[i] & 0xffff0000u);
        }
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            v[2 * i] = vq__low_f16(u.q[0].w[i]);
            v[2 * i + 1] = vq__low_f16(u.q[0].w[i] >> 16);
        }
    }
}

/* Rounded to t, and packed. */
template <int W>
VQ__DEV vq__raw<W> vq__packed(vq_dtype t, const float *v)
{
    vq__raw<W> u = {};
    if (W == 2 && t == VQ_F32) {
#pragma unroll
        for (int i = 0; i < 8; i++) u.q[i / 4 % W].w[i % 4] = vq__f32_bits(v[i]);
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++)
            u.q[0].w[i] = t == VQ_BF16 ? vq__pair_bf16(v[2 * i], v[2 * i + 1])
                                       : vq__pair_f16(v[2 * i], v[2 * i + 1]);
    }
    return u;
}

VQ__DEV void vq__rounded(vq_dtype t, float *v)
{
    if (t != VQ_F32) vq__values<1>(t, vq__packed<1>(t, v), v);
}

template <int W>
VQ__DEV void vq__keep(const vq__rows &y, char *row, int64_t c, int n, const vq__raw<W> &u)
{
    const int size = W == 2 && y.type == VQ_F32 ? 4 : 2;
    char *p = row + c * size;
    if (n <= 0) return;
    if (y.whole) {
        vq__store(p, u.q[0]);
        if (size == 4) vq__store(p + 16, u.q[W - 1]);
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const uint16_t h = (uint16_t)(u.q[0].w[i / 2] >> i % 2 * 16);
        if (i >= n) continue;
        if (size == 4) memcpy(p + 4 * i, &u.q[i / 4 % W].w[i % 4], 4);
        else memcpy(p + 2 * i, &h, 2);
    }
}

/* Of two numbers below 2^31: one instruction. */
VQ__DEV uint64_t vq__wide(int64_t a, int64_t b) { return (uint64_t)(uint32_t)a * (uint32_t)b; }

VQ__DEV char *vq__row_at(const vq__rows &x, int64_t plane, int64_t row)
{
    return x.p + plane * x.plane + row * x.row;
}

/* ===========================================================================
   >>codes      groups of eights to scales and codes
   =========================================================================== */

/* A tensor's last two dimensions. aligned: its elements are. */
struct vq__mat { char *p; int64_t plane, row, col; vq_dtype type; vq_layout layout; int bits, aligned; };

VQ__DEV char *vq__mat_at(const vq__mat &m, int64_t plane, int64_t r, int64_t c)
{
    const int64_t i = m.layout == VQ_STRIDED ? r * m.row + c * m.col
                                             : vq_layout_index(m.layout, m.row, m.col, r, c);
    return m.p + plane * m.plane + (m.bits == 32 ? i * 4 : m.bits == 16 ? i * 2 : i);
}

/* Four bytes anywhere. Not by memcpy(): beside an aligned access of the same bytes nvcc makes one
   aligned access of the two. */
VQ__DEV uint32_t vq__bytes(const char *p)
{
    const uint8_t *u = (const uint8_t *)p;
    return u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

VQ__DEV uint32_t vq__peek(const vq__mat &m, int64_t plane, int64_t r, int64_t c)
{
    if (m.bits < 8) return vq_code_get(m.p + plane * m.plane + r * m.row, m.bits, c);
    const char *p = vq__mat_at(m, plane, r, c);
    if (m.bits == 32 && m.aligned) return *(const uint32_t *)p;
    if (m.bits == 32) return vq__bytes(p);
    return vq_code_get(p, m.bits, 0);
}

VQ__DEV void vq__poke(const vq__mat &m, int64_t plane, int64_t r, int64_t c, uint32_t code)
{
    if (m.bits < 8) { vq_code_put(m.p + plane * m.plane + r * m.row, m.bits, c, code); return; }
    char *p = vq__mat_at(m, plane, r, c);
    if (m.bits == 32 && m.aligned) *(uint32_t *)p = code;
    else if (m.bits == 32) for (int i = 0; i < 4; i++) p[i] = (char)(code >> 8 * i);
    else vq_code_put(p, m.bits, 0, code);
}

enum { VQ__TO_FLOATS, VQ__TO_CODES, VQ__TO_AMAX };           /* what becomes of the values */
enum { VQ__E4M3, VQ__MINIFLOAT, VQ__INTEGER };               /* how codes are made */

/* Where values go. lanes: those of a dynamic group within a row, a power of two, or 0 where its scale
   is known before. lean: no code rule asks for an amax. A tensor's amax is the largest of `partials`
   numbers. */
struct vq__into {
    vq_key      key;
    int         kind, code, bits, whole, lanes, shift;       /* lanes: 1 << shift */
    int         lacks_nan, lean, far, counted, partials;
    int64_t     group_rows, group_cols, across;
    char       *q;
    int64_t     plane, row;                                  /* of q, bytes */
    vq__rows    y;
    vq__mat     scale, zero;
    const char *bound, *scale2;                              /* NULL: none */
    uint32_t    largest;                                     /* what infinity counts as */
    uint32_t   *partial;
    vq__mini    mini;
};

/* What a kernel is compiled for: any sink, or one in which these members are constants. */
enum { VQ__ANY, VQ__FLOATS, VQ__FP8_F32, VQ__FP8_E8M0, VQ__MXFP4, VQ__NVFP4, VQ__INT8_F32 };

template <int K> VQ__DEV vq__into vq__known(vq__into to)
{
    if (K == VQ__ANY) return to;
    if (K == VQ__FLOATS) {
        to.kind = VQ__TO_FLOATS;
        return to;
    }
    to.kind = to.kind == VQ__TO_AMAX ? VQ__TO_AMAX : VQ__TO_CODES;
    to.lean = 1;
    to.counted = K == VQ__FP8_E8M0 || K == VQ__MXFP4 ? to.counted : 0;   /* of packed words */
    to.key.arith = VQ_F32;
    to.key.overflow = VQ_SATURATE;
    to.key.flags &= VQ_KEY_STATIC;
    to.key.bound_kind = VQ_BOUND_NONE;
    to.key.scale2_kind = K == VQ__NVFP4 ? VQ_SCALE2_DIV : VQ_SCALE2_NONE;
    to.key.elem = K == VQ__INT8_F32 ? VQ_INT8 : K == VQ__MXFP4 || K == VQ__NVFP4 ? VQ_E2M1 : VQ_E4M3FN;
    to.key.code_max = K == VQ__INT8_F32 ? 127.0f : K == VQ__MXFP4 || K == VQ__NVFP4 ? 6.0f : 448.0f;
    to.key.scale_type = K == VQ__NVFP4 ? VQ_UE4M3 : K == VQ__FP8_E8M0 || K == VQ__MXFP4 ? VQ_E8M0 : VQ_F32;
    if (K == VQ__NVFP4) {
        to.key.scale_rule = VQ_SCALE_INV;
        to.key.code_rule = VQ_CODE_INV0;
        to.key.floor_kind = VQ_FLOOR_NONE;
    } else if (to.key.code_rule != VQ_CODE_INV) to.key.code_rule = VQ_CODE_DIV;
    if (K == VQ__FP8_F32 || K == VQ__INT8_F32)
        to.key.scale_rule = to.key.scale_rule == VQ_SCALE_INV ? VQ_SCALE_INV : VQ_SCALE_DIV;
    if (K == VQ__MXFP4) to.key.scale_rule = VQ_SCALE_EVEN;
    to.scale.bits = K == VQ__FP8_F32 || K == VQ__INT8_F32 ? 32 : 8;
    if (to.scale.bits == 32) to.scale.layout = VQ_STRIDED;
    to.code = K == VQ__INT8_F32 ? VQ__INTEGER : K == VQ__MXFP4 || K == VQ__NVFP4 ? VQ__MINIFLOAT : VQ__E4M3;
    to.bits = K == VQ__MXFP4 || K == VQ__NVFP4 ? 4 : 8;
    to.lacks_nan = K == VQ__INT8_F32 || K == VQ__MXFP4 || K == VQ__NVFP4;
    if (to.code == VQ__MINIFLOAT) to.mini = { 1, 1, 3, 0x100, 0x100, 0x100, 0x7 };
    return to;
}

VQ__DEV float vq__number(const char *p, float absent)
{
    return p ? vq__f32_make(vq_code_get(p, 32, 0)) : absent;
}

/* How values of a group become codes. vq__scaled() in five ways of one result: a product; a
   quotient by vq__quotient(), which asks for a divisor that leaves its remainder exact, and, where
   the quotient may be far beyond any code, holds it first; a product that may be a new NaN; a
   division. */
enum { VQ__PRODUCT, VQ__QUOTIENT, VQ__FAR_QUOTIENT, VQ__ODD_PRODUCT, VQ__DIVISION };
struct vq__way { float by, s, lo, hi, nan, amax; int how; int32_t zero; uint32_t code; };

VQ__DEV vq__way vq__way_of(const vq__into &to, float scale, float amax, float g2)
{
    const vq__step t = vq__step_of(&to.key, scale, amax, g2);
    const uint32_t u = vq__f32_bits(t.by), mag = u & 0x7fffffffu;
    vq__way w;
    w.lo = t.lo;
    w.hi = t.hi;
    w.nan = t.nan;
    w.s = t.by;
    w.by = t.by;
    w.zero = 0;
    w.amax = amax;
    w.how = mag - 1u < 0x7f7fffffu ? VQ__PRODUCT : VQ__ODD_PRODUCT;
    if (!t.divide) return w;
    w.by = vq__recip(t.by);                                  /* of a power of two exact */
    if (w.how == VQ__ODD_PRODUCT || (u & 0x007fffffu) == 0u || u == 0x00400000u) return w;
    if (u - 0x17800000u > 0x71800000u - 0x17800000u) w.how = VQ__DIVISION;     /* 2^-80 to 2^100 */
    else w.how = to.far ? VQ__FAR_QUOTIENT : VQ__QUOTIENT;
    return w;
}

/* What scales that are 0, infinite, NaN, huge or tiny take: seldom, so not inlined eight times. */
VQ__COLD float vq__scaled_oddly(float x, float by, float s, float nan, int how)
{
    const float y = how == VQ__DIVISION ? vq__div(x, s) : vq__times(x, by);
    return y != y && x == x ? nan : y;
}

VQ__DEV void vq__scale8(const vq__into &to, const vq__way &w, float *v)
{
    if (w.how == VQ__PRODUCT) {
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = vq__times(v[i], w.by);
    } else if (w.how == VQ__QUOTIENT) {
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = vq__quotient(v[i], w.s, w.by);
    } else if (w.how == VQ__FAR_QUOTIENT) {
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = vq__far_quotient(v[i], w.s, w.by);
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = vq__scaled_oddly(v[i], w.by, w.s, w.nan, w.how);
    }
    if (to.code == VQ__E4M3) return;                         /* held by the conversion */
#pragma unroll
    for (int i = 0; i < 8; i++) {
        v[i] = v[i] > w.hi ? w.hi : v[i];
        v[i] = v[i] < w.lo ? w.lo : v[i];
    }
}

/* Eight codes, packed from the lowest bit on. */
VQ__DEV vq__duo vq__codes8(const vq__into &to, const vq__way &w, const float *v)
{
    vq__duo u = {};
    uint32_t c[8];
    if (to.code == VQ__E4M3) {
        u.w[0] = vq__pair_e4m3(v[0], v[1]) | vq__pair_e4m3(v[2], v[3]) << 16;
        u.w[1] = vq__pair_e4m3(v[4], v[5]) | vq__pair_e4m3(v[6], v[7]) << 16;
        return u;
    }
    if (to.code == VQ__INTEGER) {
        const bool asym = (to.key.flags & VQ_KEY_ASYMMETRIC) != 0;
        const int32_t lowest = (int32_t)vq__key_lowest(&to.key), most = (int32_t)to.key.code_max;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            int32_t n = vq__near_int(v[i]);
            if (asym) n = vq__code_beside(n, w.zero, lowest, most);
            c[i] = (uint32_t)n & ((1u << to.bits) - 1u);
        }
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) c[i] = vq__near_mini(v[i], to.mini);
    }
    if (to.bits == 8) {
        u.w[0] = c[0] | c[1] << 8 | c[2] << 16 | c[3] << 24;
        u.w[1] = c[4] | c[5] << 8 | c[6] << 16 | c[7] << 24;
    } else if (to.bits == 4) {
#pragma unroll
        for (int i = 0; i < 8; i++) u.w[0] |= c[i] << 4 * i;
    } else {
        u.w[0] = c[0] | c[1] << 6 | c[2] << 12 | c[3] << 18 | c[4] << 24 | c[5] << 30;
        u.w[1] = c[5] >> 2 | c[6] << 4 | c[7] << 10;
    }
    return u;
}

/* n of eight codes to column c of a row; what is left of the last byte is padding, and 0. */
VQ__DEV void vq__put8(const vq__into &to, int64_t plane, int64_t r, int64_t c, int n, vq__duo u)
{
    char *p = to.q + plane * to.plane + r * to.row + c / 8 * to.bits;
    if (n <= 0) return;
    if (to.whole) {
        if (to.bits == 8) vq__store(p, u);
        else if (to.bits == 4) vq__store(p, u.w[0]);
        else {
            vq__store(p, (uint16_t)u.w[0]);
            vq__store(p + 2, (uint16_t)(u.w[0] >> 16));
            vq__store(p + 4, (uint16_t)u.w[1]);
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int have = n * to.bits - i * 8;
        const uint32_t byte = u.w[i / 4] >> i % 4 * 8 & 0xffu;
        if (have > 0) p[i] = (char)(have < 8 ? byte & ((1u << have) - 1u) : byte);
    }
}

/* The largest magnitude of eight, as bits: NaN left out, or, for a type of codes that has none,
   beyond infinity. */
VQ__DEV uint32_t vq__most8(const vq__into &to, const float *v)
{
    if (to.lacks_nan) {
        uint32_t most = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const uint32_t mag = vq__f32_bits(v[i]) & 0x7fffffffu;
            most = mag > most ? mag : most;
        }
        return most;
    }
    float most = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) most = vq__larger(most, vq__abs(v[i]));
    return vq__f32_bits(most);
}

VQ__DEV uint32_t vq__most8_but_nan(const float *v)
{
    float most = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) most = vq__larger(most, vq__abs(v[i]));
    return vq__f32_bits(most);
}

VQ__DEV uint32_t vq__more(uint32_t a, uint32_t b) { return a > b ? a : b; }

VQ__DEV uint32_t vq__max_over(uint32_t most, int lanes)
{
    if (lanes == 8) {                                        /* groups of 128 */
#pragma unroll
        for (int d = 1; d < 8; d *= 2) most = vq__more(most, vq__xor(most, d));
    } else for (int d = 1; d < lanes; d *= 2) most = vq__more(most, vq__xor(most, d));
    return most;
}

/* What is known of a group when all its elements are seen. */
struct vq__seen { uint32_t most, numbers; float lo, hi; };   /* numbers: most without NaN */

VQ__DEV vq__seen vq__seen8(const vq__into &to, const float *v, int n)
{
    vq__seen s = { vq__most8(to, v), 0, 0.0f, 0.0f };
    if (to.lacks_nan && !to.lean) s.numbers = vq__most8_but_nan(v);
    if (to.key.flags & VQ_KEY_ASYMMETRIC) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            s.lo = i < n ? vq__smaller(s.lo, v[i]) : s.lo;
            s.hi = i < n ? vq__larger(s.hi, v[i]) : s.hi;
        }
    }
    return s;
}

VQ__DEV void vq__seen_both(const vq__into &to, vq__seen *s, const vq__seen &o)
{
    s->most = o.most > s->most ? o.most : s->most;
    if (to.lacks_nan && !to.lean) s->numbers = o.numbers > s->numbers ? o.numbers : s->numbers;
    if (!(to.key.flags & VQ_KEY_ASYMMETRIC)) return;
    s->lo = vq__smaller(s->lo, o.lo);
    s->hi = vq__larger(s->hi, o.hi);
}

VQ__DEV vq__seen vq__seen_xor(const vq__into &to, vq__seen s, int d)
{
    vq__seen o = s;
    o.most = vq__xor(s.most, d);
    if (to.lacks_nan && !to.lean) o.numbers = vq__xor(s.numbers, d);
    if (to.key.flags & VQ_KEY_ASYMMETRIC) {
        o.lo = vq__xor(s.lo, d);
        o.hi = vq__xor(s.hi, d);
    }
    return o;
}

/* What is the same for all that a block does: read once. way: for all of them, if it is `known`. */
struct vq__once { float bound, g2; bool known; vq__way way; };

/* The scale of group (g, h), stored by the lane that `writes`, and the way it asks for. */
VQ__DEV vq__way vq__settle(const vq__into &to, const vq__once &once, const vq__seen &seen,
                           int64_t plane, int64_t g, int64_t h, bool writes)
{
    const float bound = once.bound, g2 = once.g2;
    const bool asym = (to.key.flags & VQ_KEY_ASYMMETRIC) != 0;
    const float inf = vq__f32_make(0x7f800000u), largest = vq__f32_make(to.largest);
    vq__group of;
    of.nan = seen.most > 0x7f800000u;
    of.amax = to.lacks_nan && !to.lean ? seen.numbers : seen.most;
    if (of.amax >= 0x7f800000u) of.amax = to.largest;
    of.lo = seen.lo == -inf ? -largest : seen.lo;
    of.hi = seen.hi == inf ? largest : seen.hi;
    const float a = vq__amax_of(&to.key, of.amax, bound);
    const uint32_t code = vq__scale_of(&to.key, &of, a, bound, g2);
    const float s = vq_decode(to.key.scale_type, code);
    vq__way w = vq__way_of(to, s, a, g2);
    if (asym) w.zero = vq__zero_of(&to.key, &of, s);
    w.code = code;
    if (!writes) return w;
    vq__poke(to.scale, plane, g, h, code);
    if (asym && to.zero.bits == 8) vq__poke(to.zero, plane, g, h, (uint32_t)w.zero);
    /* Of packed words that hold counted rows only, the last one's bytes that no group has. */
    for (int64_t c = h + 1; to.counted && to.scale.layout == VQ_PACKED_UE8M0 && h == to.across - 1 && c % 4;
         c++)
        vq__poke(to.scale, plane, g, c, 0);
    return w;
}

/* The way of an element under a static key. */
VQ__DEV vq__way vq__given(const vq__into &to, float g2, int64_t r, int64_t c)
{
    const int64_t g = to.group_rows < 0 ? 0 : to.group_rows == 1 ? r : r / to.group_rows;
    const int64_t h = to.group_cols < 0 ? 0 : c / to.group_cols;
    vq__way w = vq__way_of(to, vq_decode(to.key.scale_type, vq__peek(to.scale, 0, g, h)), 0.0f, g2);
    if (to.key.flags & VQ_KEY_ASYMMETRIC)
        w.zero = (int32_t)vq_decode(to.key.elem, vq__peek(to.zero, 0, g, h));
    return w;
}

VQ__DEV vq__once vq__once_of(const vq__into &to)
{
    vq__once o = {};
    o.bound = vq__number(to.bound, 0.0f);
    o.g2 = vq__number(to.scale2, 1.0f);
    o.known =
        to.kind == VQ__TO_CODES && (to.key.flags & VQ_KEY_STATIC) && to.group_rows < 0 && to.group_cols < 0;
    if (o.known) o.way = vq__given(to, o.g2, 0, 0);
    return o;
}

/* Values of columns c to c + n to where they go. All lanes of a wave come here together. */
VQ__DEV void vq__emit(const vq__into &to, const vq__once &once, int64_t plane, int64_t r, int64_t c, int n,
                      float *v)
{
    vq__way own;
    if (to.kind == VQ__TO_FLOATS) {
        vq__keep<2>(to.y, vq__row_at(to.y, plane, r), c, n, vq__packed<2>(to.y.type, v));
        return;
    }
    if (to.lanes) {
        vq__seen s = vq__seen8(to, v, n);
        for (int d = 1; d < to.lanes; d *= 2) vq__seen_both(to, &s, vq__seen_xor(to, s, d));
        own = vq__settle(to, once, s, plane, r, c >> (3 + to.shift),
                         n > 0 && (c >> 3 & (to.lanes - 1)) == 0);
    } else own = once.known ? once.way : vq__given(to, once.g2, r, n > 0 ? c : 0);
    vq__scale8(to, own, v);
    vq__put8(to, plane, r, c, n, vq__codes8(to, own, v));
}

/* ===========================================================================
   >>sources    where values come from: a tensor, a gated activation
   =========================================================================== */

template <int W> struct vq__from_tensor {
    typedef vq__raw<W> raw;
    enum { hot = W == 1, masked = 0 };
    vq__rows x;

    __device__ __forceinline__ raw fetch(int64_t plane, int64_t r, int64_t c, int n) const
    {
        return vq__fetch<W>(x, vq__row_at(x, plane, r), c, n);
    }
    __device__ __forceinline__ void values(const raw &u, float *v) const { vq__values<W>(x.type, u, v); }
    __host__ __device__ __forceinline__ vq_dtype type() const { return x.type; }

    /* Of views that are whole, and strides below 2^31. */
    __device__ __forceinline__ raw take(const char *plane, int r, int c) const
    {
        raw u = {};
        u.q[0] = vq__load(plane + vq__wide(r, x.row) + c * 2);
        return u;
    }
    __device__ __forceinline__ void words(const raw &u, uint32_t *w) const
    {
#pragma unroll
        for (int i = 0; i < 4; i++) w[i] = u.q[0].w[i];
    }
};

/* AS: the type that the activation works in; f32 serves every type. up: 0 for a plain one. */
template <vq_dtype AS> struct vq__from_gate {
    enum { W = AS == VQ_F32 ? 2 : 1, hot = AS == VQ_BF16, masked = 1 };
    struct raw { vq__raw<W> g, u; };
    vq__rows    x;
    int64_t     half;                                        /* columns of a row of x, halved */
    vq_act_kind act;
    vq_gate     gate;
    vq_dtype    mid;
    int         up;
    float       alpha, plus, most;

    __device__ __forceinline__ raw fetch(int64_t plane, int64_t r, int64_t c, int n) const
    {
        const char *row = vq__row_at(x, plane, r);
        raw u;
        if (!up) {
            u.g = vq__fetch<W>(x, row, c, n);
            u.u = vq__raw<W>();
        } else if (gate == VQ_GATE_EVEN) {
            u.g = vq__fetch<W>(x, row, 2 * c, 2 * n < 8 ? 2 * n : 8);
            u.u = vq__fetch<W>(x, row, 2 * c + 8, 2 * n - 8);
        } else {
            const int64_t second = gate == VQ_GATE_SECOND ? half : 0;
            u.g = vq__fetch<W>(x, row, second + c, n);
            u.u = vq__fetch<W>(x, row, half - second + c, n);
        }
        return u;
    }

    __host__ __device__ __forceinline__ vq_dtype type() const { return mid; }

    __device__ __forceinline__ raw take(const char *plane, int r, int c) const
    {
        const char *row = plane + vq__wide(r, x.row);
        const int h = (int)half, g = gate == VQ_GATE_EVEN ? 2 * c : gate == VQ_GATE_SECOND ? h + c : c;
        const int to = gate == VQ_GATE_EVEN ? 2 * c + 8 : gate == VQ_GATE_SECOND ? c : h + c;
        raw u = {};
        u.g.q[0] = vq__load(row + g * 2);
        if (up) u.u.q[0] = vq__load(row + to * 2);
        return u;
    }
    __device__ __forceinline__ void words(const raw &in, uint32_t *w) const
    {
        float v[8];
        unrounded(in, v);
#pragma unroll
        for (int i = 0; i < 4; i++) w[i] = vq__pair_bf16(v[2 * i], v[2 * i + 1]);
    }

    static __device__ __forceinline__ void act8(vq_act_kind act, float *v)
    {
#define VQ__ACT8(f) \
    _Pragma("unroll") for (int i = 0; i < 8; i++) v[i] = f;
        switch (act) {
        case VQ_ACT_SILU:       VQ__ACT8(AS == VQ_F32 ? vq__silu(v[i]) : vq__silu16(v[i], AS)) break;
        case VQ_ACT_GELU:       VQ__ACT8(AS == VQ_F32 ? vq__gelu(v[i]) : vq__gelu16(v[i], AS)) break;
        case VQ_ACT_GELU_TANH: VQ__ACT8(AS == VQ_F32 ? vq__gelu_tanh(v[i]) : vq__gelu_tanh16(v[i], AS)) break;
        case VQ_ACT_GELU_QUICK:
            VQ__ACT8(AS == VQ_F32 ? vq__gelu_quick(v[i]) : vq__gelu_quick16(v[i], AS)) break;
        default:                VQ__ACT8(vq__relu2(v[i], AS)) break;
        }
#undef VQ__ACT8
    }

    __device__ __forceinline__ void values(const raw &in, float *v) const
    {
        unrounded(in, v);
        if (up || (AS == VQ_F32 && act == VQ_ACT_SWIGLU_OAI)) vq__rounded(mid, v);
    }

    __device__ __forceinline__ void unrounded(const raw &in, float *v) const
    {
        float a[8], u[8];
        vq__values<W>(x.type, in.g, a);
        vq__values<W>(x.type, in.u, u);
        if (up && gate == VQ_GATE_EVEN) {
            float b[8];
#pragma unroll
            for (int i = 0; i < 8; i++) b[i] = u[i];
#pragma unroll
            for (int i = 0; i < 8; i++) {
                v[i] = i < 4 ? a[2 * i % 8] : b[2 * i % 8];
                u[i] = i < 4 ? a[2 * i % 8 + 1] : b[2 * i % 8 + 1];
            }
        } else {
#pragma unroll
            for (int i = 0; i < 8; i++) v[i] = a[i];
        }
        if (most < vq__f32_make(0x7f800000u)) {
#pragma unroll
            for (int i = 0; i < 8; i++) {
                v[i] = vq__gate_in(v[i], most);
                u[i] = vq__up_in(u[i], most);
            }
        }
        if (AS == VQ_F32 && act == VQ_ACT_SWIGLU_OAI) {
#pragma unroll
            for (int i = 0; i < 8; i++) v[i] = vq__times(vq__add(u[i], plus), vq__swish(v[i], alpha));
            return;
        }
        act8(act, v);
        if (!up) return;
        vq__rounded(mid, v);
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = vq__times(v[i], u[i]);
    }
};

/* ===========================================================================
   >>kernels
   =========================================================================== */

enum { VQ__THREADS = 256, VQ__ROW_THREADS = 512 };

/* The work item of this thread, and the step to its next: grids are bounded, work is not. */
VQ__DEV int64_t vq__first(void)
{
    return (int64_t)blockIdx.x * VQ__THREADS + threadIdx.x;
}

VQ__DEV int64_t vq__jump(void) { return (int64_t)gridDim.x * VQ__THREADS; }

#ifndef VQ_NO_CONVERT
/* Eight columns a thread, which is a whole number of bytes in every packed type, so that no
   two threads share one.

     grid   ceil(rows * ceil(C/8) / 256), strided
     block  256 */
[[maybe_unused]] static __global__ void __launch_bounds__(VQ__THREADS)
k_cast__columns8(vq_tensor x, vq_tensor y, vq_overflow overflow)
{
    vq__wait();
    const int64_t C = y.shape[3], R = y.shape[2], per_row = (C + 7) / 8;
    const int64_t n = y.shape[0] * y.shape[1] * R * per_row;
    for (int64_t w = vq__first(); w < n; w += vq__jump()) {
        const int64_t row = w / per_row, c0 = w % per_row * 8, r = row % R, plane = row / R;
        const vq_tensor from = vq__plane(&x, plane / y.shape[1], plane % y.shape[1]);
        const vq_tensor to = vq__plane(&y, plane / y.shape[1], plane % y.shape[1]);
        const int bits = vq__bits(y.dtype), some = vq__ragged(C, c0);
        uint64_t packed = 0;
        for (int i = 0; i < some; i++) {
            const uint32_t code = vq_encode(y.dtype, vq__get(&from, r, c0 + i), overflow);
            if (bits < 8) packed |= (uint64_t)code << i * bits;
            else vq__put_code(&to, r, c0 + i, code);
        }
        uint8_t *p = (uint8_t *)to.data + r * to.stride[2] + c0 / 8 * bits;
        for (int i = 0; bits < 8 && i < (some * bits + 7) / 8; i++) p[i] = (uint8_t)(packed >> 8 * i);
    }
}

/* A code a thread.

     grid   ceil(R * C / 256), strided
     block  256 */
[[maybe_unused]] static __global__ void __launch_bounds__(VQ__THREADS)
k_fnuz_normalize__codes(vq_tensor x, vq_tensor y, vq_overflow overflow)
{
    vq__wait();
    const int64_t C = x.shape[1], n = x.shape[0] * C;
    for (int64_t w = vq__first(); w < n; w += vq__jump())
        vq__put_code(&y, w / C, w % C, vq_fnuz_code(x.dtype, (uint8_t)vq__get_code(&x, w / C, w % C),
                                                    overflow));
}

/* A scale a thread; grid and block as above. */
[[maybe_unused]] static __global__ void __launch_bounds__(VQ__THREADS)
k_fnuz_normalize__scales(vq_tensor x, vq_tensor y, float factor)
{
    vq__wait();
    const int64_t C = x.shape[1], n = x.shape[0] * C;
    for (int64_t w = vq__first(); w < n; w += vq__jump())
        vq__put_code(&y, w / C, w % C,
                     vq_encode(y.dtype, vq__mul(vq__get(&x, w / C, w % C), factor), VQ_NONFINITE));
}

#endif


/* The rows of an op. counts: NULL, or how many rows of each plane are there. step: rows at a time. */
struct vq__span {
    int64_t     rows, cols;
    int         planes, step;
    const char *counts;
    char       *status;
};

VQ__DEV int64_t vq__counted(const vq__span &s, int64_t plane, int *wrong)
{
    const int32_t n = (int32_t)vq_code_get(s.counts + plane * 4, 32, 0);
    if (n < 0) *wrong |= 1;
    if (n > s.rows) *wrong |= 2;
    return n < 0 ? 0 : n > s.rows ? s.rows : n;
}

/* first[p] = the steps of all planes before p, of `planes` + 1 numbers in shared memory. */
VQ__DEV void vq__count_steps(const vq__span &s, int32_t *first, int *wrong)
{
    const int me = (int)threadIdx.x, all = (int)blockDim.x;
    int32_t before = 0;
    int found = 0;
    if (me == 0) first[0] = *wrong = 0;
    for (int base = 0; base < s.planes; base += all) {
        const int p = base + me;
        int32_t n = p < s.planes ? (int32_t)((vq__counted(s, p, &found) + s.step - 1) / s.step) : 0;
        if (p < s.planes) first[p + 1] = n;
        for (int d = 1; d < all && d < s.planes - base; d *= 2) {
            __syncthreads();                                 /* first[] is there */
            const int32_t add = me >= d && p < s.planes ? first[p + 1 - d] : 0;
            __syncthreads();                                 /* and read */
            n += add;
            if (p < s.planes) first[p + 1] = n;
        }
        __syncthreads();
        if (p < s.planes) first[p + 1] = n + before;
        __syncthreads();
        before = first[(base + all < s.planes ? base + all : s.planes)];
    }
    if (found) atomicOr(wrong, found);
    __syncthreads();
}

/* The plane of a step. */
VQ__DEV int vq__plane_of(const int32_t *first, int planes, int32_t step)
{
    int lo = 0, hi = planes;                                 /* first[lo] <= step < first[hi] */
    while (hi - lo > 1) {
        const int mid = (lo + hi) / 2;
        if (first[mid] <= step) lo = mid;
        else hi = mid;
    }
    return lo;
}

/* A wave's result to all of its block: op is a maximum, of bits, or a sum. part: a number a wave;
   two calls in a row take different ones. */
VQ__DEV uint32_t vq__block_most(uint32_t v, uint32_t *part)
{
    const int wave = vq__wave(), lane = (int)threadIdx.x % wave, waves = (int)blockDim.x / wave;
    v = vq__max_over(v, wave);
    if (waves == 1) return v;
    if (lane == 0) part[threadIdx.x / wave] = v;
    __syncthreads();                                         /* part[] is there */
    v = lane < waves ? part[lane] : 0u;
    return vq__max_over(v, wave);
}

/* Partial sums, `mine` a thread in order of threads, as a butterfly of distance 1, 2, 4, ... adds
   them. The block has a power of two of waves. */
VQ__DEV float vq__block_sum(float *p, int mine, float *part)
{
    const int wave = vq__wave(), lane = (int)threadIdx.x % wave, waves = (int)blockDim.x / wave;
    float v = p[0];
    if (mine > 1) v = vq__add(p[0], p[1]);
    if (mine > 2) v = vq__add(v, vq__add(p[2], p[3]));
    if (mine > 4) v = vq__add(v, vq__add(vq__add(p[4], p[5]), vq__add(p[6], p[7])));
    for (int d = 1; d < wave; d *= 2) v = vq__add(v, vq__xor(v, d));
    if (waves == 1) return v;
    if (lane == 0) part[threadIdx.x / wave] = v;
    __syncthreads();                                         /* part[] is there */
    v = lane < waves ? part[lane] : 0.0f;
    for (int d = 1; d < waves; d *= 2) v = vq__add(v, vq__xor(v, d));
    return vq__first_lane(v);
}

/* The way of a tensor whose amax is that of to.partial[]. */
VQ__DEV void vq__tensor_way(const vq__into &to, vq__once *once, uint32_t *part, bool writes)
{
    vq__seen seen = {};
    for (int i = (int)threadIdx.x; i < to.partials; i += (int)blockDim.x)
        seen.most = to.partial[i] > seen.most ? to.partial[i] : seen.most;
    seen.most = vq__block_most(seen.most, part);
    seen.numbers = seen.most;
    once->way = vq__settle(to, *once, seen, 0, 0, 0, writes);
    once->known = true;
}

/* Eight columns a thread, step rows at a time: floats, codes whose scales are given or are of
   groups that a wave holds, or a tensor's amax.

     grid   x: ceil(H / 8 / block); y: the rows, strided
     block  64 to 256
     shared with counts: planes + 1 numbers */
template <class S> static __global__ void __launch_bounds__(VQ__THREADS)
k_values__eight(S src, vq__into to, vq__span span)
{
    HIP_DYNAMIC_SHARED(int32_t, first)
    __shared__ int wrong;
    __shared__ uint32_t part[VQ__THREADS / 32];
    const int64_t width = (int64_t)blockDim.x * 8;
    const bool amax = to.kind == VQ__TO_AMAX, leads = blockIdx.x + blockIdx.y == 0 && threadIdx.x == 0;
    int64_t steps = (span.rows + span.step - 1) / span.step * span.planes;
    uint32_t most = 0;

    vq__wait();
    if (span.counts) {
        vq__count_steps(span, first, &wrong);
        steps = first[span.planes];
        if (span.status && leads) vq_code_put(span.status, 32, 0, (uint32_t)wrong);
    }
    vq__once once = vq__once_of(to);
    if (to.partials && !amax) vq__tensor_way(to, &once, part, leads);
    for (int64_t from = blockIdx.x * width; from < span.cols; from += gridDim.x * width) {
        const int64_t c = from + threadIdx.x * 8;
        const int n = vq__ragged(span.cols, c);
        for (int64_t s = blockIdx.y; s < steps; s += gridDim.y) {
            int64_t plane = 0, row = s * span.step, rows = span.rows;
            if (span.counts) {
                int ignored = 0;
                plane = vq__plane_of(first, span.planes, (int32_t)s);
                row = (s - first[plane]) * span.step;
                rows = vq__counted(span, plane, &ignored);
            }
            const bool two = span.step > 1 && row + 1 < rows;
#pragma unroll 1
            for (int k = 0; k < 1 + two; k++) {
                float v[8];
                src.values(src.fetch(plane, row + k, c, n), v);
                if (amax) most = vq__more(most, vq__most8(to, v));
                else vq__emit(to, once, plane, row + k, c, n, v);
            }
        }
    }
    if (!amax) return;
    most = vq__block_most(most, part);
    for (int i = (int)(blockIdx.y * gridDim.x + blockIdx.x); i < to.partials && threadIdx.x == 0;
         i += (int)(gridDim.x * gridDim.y)) to.partial[i] = most;
}

/* The eights that a lane holds in the kernels of one sink. */
template <int K> struct vq__per_lane { enum { eights = K == VQ__FLOATS ? 1 : 2 }; };

VQ__DEV void vq__unpacked(vq_dtype t, const uint32_t *w, float *v)
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        v[2 * i] = t == VQ_BF16 ? vq__f32_make(w[i] << 16) : vq__low_f16(w[i]);
        v[2 * i + 1] = t == VQ_BF16 ? vq__f32_make(w[i] & 0xffff0000u) : vq__low_f16(w[i] >> 16);
    }
}

/* Eight e2m1 codes of v * by, of which none is NaN: a code is the least of three roundings, of 2x, of
   x + 2 and of x / 2 + 4, each right where its step is the format's and too large elsewhere. The
   sums of 12582912 round to whole numbers and hold them in their lowest bits; signs come from w. */
VQ__DEV uint32_t vq__codes8_e2m1(const float *v, const uint32_t *w, float by)
{
    const float magic = 12582912.0f;
    uint32_t u = 0, signs = 0;
#pragma unroll
    for (int i = 7; i >= 0; i--) {
        const float x = vq__smaller(6.0f, vq__abs(vq__times(v[i], by)));
        const float a = vq__fma(x, 2.0f, magic), b = vq__add(x, magic + 2.0f),
                    c = vq__fma(x, 0.5f, magic + 4.0f);
        u = u * 16 + vq__f32_bits(vq__smaller(vq__smaller(a, b), c));
    }
#pragma unroll
    for (int i = 0; i < 4; i++) signs |= ((w[i] >> 12 & 0x8u) | (w[i] >> 24 & 0x80u)) << 8 * i;
    return u - 0x4b400000u * 0x11111111u + signs;
}

/* Stores the scale of group h of a row, in 32 bits where strides say all. */
VQ__DEV void vq__put_scale(const vq__into &to, int64_t plane, int row, int h, uint32_t code)
{
    if (to.scale.layout != VQ_STRIDED) {
        vq__poke(to.scale, plane, row, h, code);
        for (int c = h + 1; to.counted && to.scale.layout == VQ_PACKED_UE8M0 && h == to.across - 1 && c % 4;
             c++)
            vq__poke(to.scale, plane, row, c, 0);            /* of the last word, what no group has */
        return;
    }
    const uint64_t i = vq__wide(row, to.scale.row) + vq__wide(h, to.scale.col);
    char *p = to.scale.p + plane * to.scale.plane;
    if (to.scale.bits == 32) ((uint32_t *)p)[i] = code;
    else p[i] = (char)code;
}

/* Packed 16-bit values of a lane, eights at columns c and c + apart, to where they go. */
template <int K>
VQ__DEV void vq__emit_words(const vq__into &to, const vq__once &once, vq_dtype type, int64_t plane, int row,
                            int c, int apart, int cols, const uint32_t *w)
{
    enum { E = vq__per_lane<K>::eights };
    float v[8 * E];
    vq__way own = once.way;
    bool plain = false;                                      /* no NaN, and a scale that is a number */
#pragma unroll
    for (int e = 0; e < E; e++) vq__unpacked(type, w + 4 * e, v + 8 * e);
    if (to.lanes) {
        vq__seen seen = {};
        if (to.lacks_nan) {                                  /* of two packed halves at a time */
            uint32_t m = 0;
#pragma unroll
            for (int i = 0; i < 4 * E; i++) m = vq__larger_halves(m, w[i] & 0x7fff7fffu);
            m = vq__more(m & 0xffffu, m >> 16);
            m = vq__max_over(m, to.lanes / E);
            seen.most = type == VQ_BF16 ? m << 16 : vq__f32_bits(vq__low_f16(m));
        } else {
#pragma unroll
            for (int e = 0; e < E; e++) seen.most = vq__more(seen.most, vq__most8(to, v + 8 * e));
            seen.most = vq__max_over(seen.most, to.lanes / E);
        }
        own = vq__settle(to, once, seen, 0, 0, 0, false);
        if (c < cols && (c >> 3 & (to.lanes - 1)) == 0)
            vq__put_scale(to, plane, row, c >> (3 + to.shift), own.code);
        plain = seen.most <= 0x7f800000u;
    }
    char *q = to.q + plane * to.plane + vq__wide(row, to.row);
#pragma unroll
    for (int e = 0; e < E; e++) {
        const int at = c + e * apart;
        if (at >= cols) continue;
        if (!to.lanes && !once.known) own = vq__given(to, once.g2, row, at);
        if (to.bits == 4 && plain && own.how == VQ__PRODUCT)
            vq__store(q + at / 2, vq__codes8_e2m1(v + 8 * e, w + 4 * e, own.by));
        else {
            vq__scale8(to, own, v + 8 * e);
            const vq__duo u = vq__codes8(to, own, v + 8 * e);
            if (to.bits == 4) vq__store(q + at / 2, u.w[0]);
            else vq__store(q + at, u);
        }
    }
}

/* k_values__eight for 16-bit values, views that are whole and one kind of sink; M: with counts.

     grid   x: ceil(H / 8 / eights / block); y: the rows, strided
     block  64 to 256
     shared with counts: planes + 1 numbers */
template <class S, int K, int M> static __global__ void __launch_bounds__(VQ__THREADS)
k_values__words(S src, vq__into args, vq__span span)
{
    enum { E = vq__per_lane<K>::eights, R = E == 1 ? 2 : 1 };   /* two loads on the way */
    HIP_DYNAMIC_SHARED(int32_t, first)
    __shared__ int wrong;
    __shared__ uint32_t part[VQ__THREADS / 32];
    const vq__into to = vq__known<K>(args);
    const int width = (int)blockDim.x * 8 * E, cols = (int)span.cols, rows = (int)span.rows;
    const bool amax = K != VQ__FLOATS && to.kind == VQ__TO_AMAX;
    const bool leads = blockIdx.x + blockIdx.y == 0 && threadIdx.x == 0;
    const vq_dtype type = src.type();
    /* Lanes of a group, which have its first half side by side, and then its second. */
    const int team = E == 1 ? 1 : to.lanes > 1 ? to.lanes / 2 : 8, me = (int)threadIdx.x;
    const int mine = E == 1 ? me * 8 : (me & -team) * 16 + (me & (team - 1)) * 8, apart = team * 8;
    int steps = span.step == 1 ? rows : (rows + 1) / 2;
    uint32_t most = 0;

    vq__wait();
    if (M) {
        vq__count_steps(span, first, &wrong);
        steps = first[span.planes];
        if (span.status && leads) vq_code_put(span.status, 32, 0, (uint32_t)wrong);
    }
    vq__once once = vq__once_of(to);
    if (to.partials && !amax) vq__tensor_way(to, &once, part, leads);
    for (int from = (int)blockIdx.x * width; from < cols; from += (int)gridDim.x * width) {
        const int c = from + mine;
        for (int s = (int)blockIdx.y; s < steps; s += (int)gridDim.y) {
            int64_t plane = 0;
            int row = s * span.step, end = rows, ignored = 0;
            if (M) {
                plane = vq__plane_of(first, span.planes, s);
                row = (s - first[plane]) * span.step;
                end = (int)vq__counted(span, plane, &ignored);
            }
            const char *x = src.x.p + plane * src.x.plane;
            const bool two = R == 2 && span.step > 1 && row + 1 < end;
            typename S::raw u[R][E] = {};
#pragma unroll
            for (int e = 0; e < E; e++) {
                const int at = c + e * apart;
                if (at < cols) u[0][e] = src.take(x, row, at);
                if (at < cols && two) u[R - 1][e] = src.take(x, row + 1, at);
            }
            vq__loaded();
#pragma unroll
            for (int k = 0; k < R; k++) {
                uint32_t w[4 * E];
                if (k && !two) break;
#pragma unroll
                for (int e = 0; e < E; e++) src.words(u[k][e], w + 4 * e);
                if constexpr (K == VQ__FLOATS) {
                    char *y = to.y.p + plane * to.y.plane + vq__wide(row + k, to.y.row) + c * 2;
                    const vq__quad out = { { w[0], w[1], w[2], w[3] } };
                    if (c < cols) vq__store(y, out);
                } else if (amax) {
                    float v[8];
                    vq__unpacked(type, w, v);
                    most = vq__more(most, vq__most8(to, v));
                    vq__unpacked(type, w + 4 * (E - 1), v);
                    most = vq__more(most, vq__most8(to, v));
                } else vq__emit_words<K>(to, once, type, plane, row + k, c, apart, cols, w);
            }
        }
    }
    if (!amax) return;
    most = vq__block_most(most, part);
    for (int i = (int)(blockIdx.y * gridDim.x + blockIdx.x); i < to.partials && threadIdx.x == 0;
         i += (int)(gridDim.x * gridDim.y)) to.partial[i] = most;
}

/* A norm: what vq_rms_norm() and vq_layer_norm() say. residual, gate: p is NULL if absent. */
struct vq__norming {
    vq__rows residual, gate, weight;
    vq_dtype mid;
    int      on, layer, plus_one, keeps;                     /* keeps: the residual is written */
    float    eps;
};

/* Element e of a row that is kept as whole eights, `slots` of them. */
template <int W> VQ__DEV float vq__kept(const vq__quad *kept, int64_t slots, vq_dtype type, int64_t e)
{
    if (W == 2) return vq__f32_make(kept[(e >> 2 & 1) * slots + (e >> 3)].w[e & 3]);
    const uint32_t u = kept[e >> 3].w[e >> 1 & 3] >> (e & 1) * 16;
    return type == VQ_BF16 ? vq__f32_make(u << 16) : vq__low_f16(u);
}

template <int W> VQ__DEV vq__raw<W> vq__take(const vq__quad *kept, int64_t slots, int64_t i)
{
    vq__raw<W> u;
    u.q[0] = kept[i];
    if (W == 2) u.q[W - 1] = kept[slots + i];
    return u;
}

template <int W> VQ__DEV void vq__lay(vq__quad *kept, int64_t slots, int64_t i, const vq__raw<W> &u)
{
    kept[i] = u.q[0];
    if (W == 2) kept[slots + i] = u.q[W - 1];
}

/* A row a block, kept in shared memory: its norm, and where its codes have one scale, that.

     grid   x: the rows, strided
     block  128, 256, 512; without a norm any number of waves
     shared the row, in whole blocks of eights, as 16-bit floats or f32 */
template <class S, int W, int K> static __global__ void __launch_bounds__(VQ__ROW_THREADS)
k_values__row(S src, vq__norming norm, vq__into args, vq__span span)
{
    const vq__into to = vq__known<K>(args);
    HIP_DYNAMIC_SHARED(vq__quad, kept)
    __shared__ uint32_t part[4][VQ__ROW_THREADS / 32];
    const int threads = (int)blockDim.x, me = (int)threadIdx.x;
    const int mine = norm.on ? 1024 / threads : 0;           /* partial sums of a thread */
    const bool layer = K == VQ__ANY && norm.layer;
    const int64_t H = span.cols, slots = ((H + 7) / 8 + threads - 1) / threads * threads;
    const vq_dtype type = W == 2 ? VQ_F32 : src.type(), given = src.x.type;
    const bool token =
        to.kind == VQ__TO_CODES && !to.lanes && !to.partials && !(to.key.flags & VQ_KEY_STATIC);
    uint32_t total = 0;
    int turn = 0;

    vq__wait();
    vq__once once = vq__once_of(to);
    if (to.partials && to.kind == VQ__TO_CODES)
        vq__tensor_way(to, &once, part[turn++ & 3], blockIdx.x == 0 && me == 0);
    for (int64_t s = blockIdx.x; s < span.rows * span.planes; s += gridDim.x) {
        const int64_t plane = span.planes > 1 ? s / span.rows : 0, row = span.planes > 1 ? s % span.rows : s;
        float p[8] = {}, r = 1.0f, mean = 0.0f;
        vq__seen seen = {};
        int ignored = 0;
        if (span.counts && row >= vq__counted(span, plane, &ignored)) continue;
        for (int64_t i = me; i < slots; i += threads) {
            const int64_t c = 8 * i;
            const int n = vq__ragged(H, c);
            float v[8];
            src.values(src.fetch(plane, row, c, n), v);
            if (norm.residual.p) {
                char *at = vq__row_at(norm.residual, plane, row);
                float z[8];
                vq__values<W>(given, vq__fetch<W>(norm.residual, at, c, n), z);
#pragma unroll
                for (int j = 0; j < 8; j++) v[j] = vq__add(v[j], z[j]);
                vq__rounded(norm.mid, v);
                if (norm.keeps) vq__keep<W>(norm.residual, at, c, n, vq__packed<W>(given, v));
            }
            if (mine == 8) {
#pragma unroll
                for (int j = 0; j < 8; j++)
                    p[j] = layer ? vq__partial_sum(p[j], v[j]) : vq__partial_square(p[j], v[j]);
            }
            if (!norm.on && to.kind != VQ__TO_FLOATS) vq__seen_both(to, &seen, vq__seen8(to, v, n));
            vq__lay<W>(kept, slots, i, vq__packed<W>(type, v));
        }
        vq__loaded();
        for (int pass = layer ? 0 : 1; norm.on && pass < 2; pass++) {
            if (mine != 8 || (pass && layer)) {
                if (mine != 8 && !(pass && layer)) __syncthreads();       /* the row is there */
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    p[j] = 0.0f;
                    for (int64_t e = (int64_t)me * mine + j; j < mine && e < H; e += 1024) {
                        const float z = vq__kept<W>(kept, slots, type, e);
                        p[j] = !pass ? vq__partial_sum(p[j], z)
                             : vq__partial_square(p[j], layer ? vq__sub(z, mean) : z);
                    }
                }
            }
            const float sum = vq__div(vq__block_sum(p, mine, (float *)part[turn++ & 3]), (float)H);
            if (!pass) mean = sum;
            else r = vq__div(1.0f, vq__sqrt(vq__add(sum, norm.eps)));
        }
        for (int64_t i = me; norm.on && i < slots; i += threads) {
            const int64_t c = 8 * i;
            const int n = vq__ragged(H, c);
            float v[8], w[8];
            vq__values<W>(type, vq__take<W>(kept, slots, i), v);
#pragma unroll
            for (int j = 0; j < 8; j++) v[j] = vq__times(layer ? vq__sub(v[j], mean) : v[j], r);
            vq__rounded(norm.mid, v);
            if (norm.weight.p) {
                vq__values<2>(norm.weight.type, vq__fetch<2>(norm.weight, norm.weight.p, c, n), w);
#pragma unroll
                for (int j = 0; j < 8; j++)
                    v[j] = vq__times(v[j], norm.plus_one ? vq__sub(w[j], -1.0f) : w[j]);
                vq__rounded(norm.mid, v);
            }
            if (K == VQ__ANY && norm.gate.p) {
                vq__values<W>(given, vq__fetch<W>(norm.gate, vq__row_at(norm.gate, plane, row), c, n), w);
#pragma unroll
                for (int j = 0; j < 8; j++) w[j] = vq__act_of(VQ_ACT_SILU, W == 2 ? VQ_F32 : norm.mid, w[j]);
                vq__rounded(norm.mid, w);
#pragma unroll
                for (int j = 0; j < 8; j++) v[j] = vq__times(v[j], w[j]);
                vq__rounded(norm.mid, v);
            }
#pragma unroll
            for (int j = 0; j < 8; j++) v[j] = j < n ? v[j] : 0.0f;            /* 0 * infinity */
            if (token || to.kind == VQ__TO_AMAX) vq__seen_both(to, &seen, vq__seen8(to, v, n));
            if (token) vq__lay<W>(kept, slots, i, vq__packed<W>(type, v));
            else if (to.kind != VQ__TO_AMAX) vq__emit(to, once, plane, row, c, n, v);
        }
        total = vq__more(total, seen.most);
        if (!token) continue;
        seen.most = vq__block_most(seen.most, part[turn++ & 3]);
        if (to.lacks_nan) seen.numbers = vq__block_most(seen.numbers, part[turn++ & 3]);
        if (to.key.flags & VQ_KEY_ASYMMETRIC) {              /* lo <= 0 <= hi: bits order magnitudes */
            const uint32_t lo = vq__f32_bits(seen.lo) & 0x7fffffffu, hi = vq__f32_bits(seen.hi) & 0x7fffffffu;
            seen.lo = -vq__f32_make(vq__block_most(lo, part[turn++ & 3]));
            seen.hi = vq__f32_make(vq__block_most(hi, part[turn++ & 3]));
        }
        const vq__way way = vq__settle(to, once, seen, plane, row, 0, me == 0);
        for (int64_t i = me; i < slots; i += threads) {
            const int64_t c = 8 * i;
            float v[8];
            vq__values<W>(type, vq__take<W>(kept, slots, i), v);
            vq__scale8(to, way, v);
            vq__put8(to, plane, row, c, vq__ragged(H, c), vq__codes8(to, way, v));
        }
    }
    if (to.kind != VQ__TO_AMAX) return;
    total = vq__block_most(total, part[turn & 3]);
    for (int i = (int)blockIdx.x; i < to.partials && me == 0; i += (int)gridDim.x) to.partial[i] = total;
}

/* Two values of 16 bits and two more, rounded: as sums of f32 that are rounded again, for f32 has
   2 * 11 + 2 bits, which leaves no sum to be rounded twice in another direction. */
VQ__DEV uint32_t vq__pair_sum(vq_dtype t, uint32_t a, uint32_t b)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    uint32_t u;
    if (t == VQ_BF16) asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(u) : "r"(a), "r"(0x3f803f80u), "r"(b));
    else asm("add.rn.f16x2 %0, %1, %2;" : "=r"(u) : "r"(a), "r"(b));
    return u;
#else
    if (t == VQ_BF16)
        return vq__pair_bf16(vq__add(vq__f32_make(a << 16), vq__f32_make(b << 16)),
                             vq__add(vq__f32_make(a & 0xffff0000u), vq__f32_make(b & 0xffff0000u)));
    return vq__pair_f16(vq__add(vq__low_f16(a), vq__low_f16(b)),
                        vq__add(vq__low_f16(a >> 16), vq__low_f16(b >> 16)));
#endif
}

/* Products, the same way: f32 holds them, or both roundings give 0. */
VQ__DEV uint32_t vq__pair_product(vq_dtype t, uint32_t a, uint32_t b)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    uint32_t u;
    if (t == VQ_BF16) asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(u) : "r"(a), "r"(b), "r"(0x80008000u));
    else asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(u) : "r"(a), "r"(b));
    return u;
#else
    if (t == VQ_BF16)
        return vq__pair_bf16(vq__times(vq__f32_make(a << 16), vq__f32_make(b << 16)),
                             vq__times(vq__f32_make(a & 0xffff0000u), vq__f32_make(b & 0xffff0000u)));
    return vq__pair_f16(vq__times(vq__low_f16(a), vq__low_f16(b)),
                        vq__times(vq__low_f16(a >> 16), vq__low_f16(b >> 16)));
#endif
}

/* The larger magnitudes of two pairs, of which `most` has no sign. NaN is left out, or, if it
   counts, larger than any. */
VQ__DEV uint32_t vq__pair_most(vq_dtype t, uint32_t most, uint32_t u, bool nan_counts)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    uint32_t v;
    u &= 0x7fff7fffu;
    if (t == VQ_BF16 && nan_counts) asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(v) : "r"(most), "r"(u));
    else if (t == VQ_BF16) asm("max.bf16x2 %0, %1, %2;" : "=r"(v) : "r"(most), "r"(u));
    else if (nan_counts) asm("max.NaN.f16x2 %0, %1, %2;" : "=r"(v) : "r"(most), "r"(u));
    else asm("max.f16x2 %0, %1, %2;" : "=r"(v) : "r"(most), "r"(u));
    return v;
#else
    const uint32_t inf = t == VQ_BF16 ? 0x7f80u : 0x7c00u;
    uint32_t lo = u & 0x7fffu, hi = u >> 16 & 0x7fffu;
    if (!nan_counts) {
        lo = lo > inf ? 0u : lo;
        hi = hi > inf ? 0u : hi;
    }
    lo = lo > (most & 0xffffu) ? lo : most & 0xffffu;
    hi = hi > most >> 16 ? hi : most >> 16;
    return lo | hi << 16;
#endif
}

VQ__DEV uint32_t vq__quad_most(vq_dtype t, uint32_t most, const vq__quad &u, bool nan_counts)
{
#pragma unroll
    for (int j = 0; j < 4; j++) most = vq__pair_most(t, most, u.w[j], nan_counts);
    return most;
}

/* The larger of a pair, as bits of f32. */
VQ__DEV uint32_t vq__most_of_pair(vq_dtype t, uint32_t most)
{
    const uint32_t lo = most & 0xffffu, hi = most >> 16, one = lo > hi ? lo : hi;
    return t == VQ_BF16 ? one << 16 : vq__f32_bits(vq__low_f16(one));
}

/* vq__block_sum() and vq__block_most() of a block whose size is known; part: a number a wave. */
template <int THREADS> VQ__DEV float vq__held_sum(float v, float *part)
{
    const int wave = vq__wave(), waves = THREADS / wave;
    for (int d = 1; d < wave; d *= 2) v = vq__add(v, vq__xor(v, d));
    if (threadIdx.x % wave == 0) part[threadIdx.x / wave] = v;
    __syncthreads();                                         /* part[] is there */
    v = part[threadIdx.x & (waves - 1)];
    for (int d = 1; d < waves; d *= 2) v = vq__add(v, vq__xor(v, d));
    return v;
}

template <int THREADS> VQ__DEV uint32_t vq__held_most(uint32_t v, uint32_t *part)
{
    const int wave = vq__wave(), waves = THREADS / wave;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("redux.sync.max.u32 %0, %1, 0xffffffff;" : "=r"(v) : "r"(v));
#else
    v = vq__max_over(v, wave);
#endif
    if (threadIdx.x % wave == 0) part[threadIdx.x / wave] = v;
    __syncthreads();                                         /* part[] is there */
    return vq__max_over(part[threadIdx.x & (waves - 1)], waves);
}

/* A number of which the compiler knows nothing: it would keep all that comes of it. */
VQ__DEV int vq__anew(int v)
{
#if defined(__CUDA_ARCH__)
    asm volatile("" : "+r"(v));
#endif
    return v;
}

template <class C> VQ__DEV C *vq__anew(C *p)
{
#if defined(__CUDA_ARCH__)
    asm volatile("" : "+l"(p));
#endif
    return p;
}

VQ__DEV void vq__quad_values(vq_dtype t, const vq__quad &u, float *v)
{
    const vq__raw<1> one = { { u } };
    vq__values<1>(t, one, v);
}

/* Eights of a row that a thread holds to codes of one scale: eight i is `i * across` columns
   beyond its first, and of them `left` columns of the row are there. */
template <vq_dtype T, int N>
VQ__DEV void vq__held_codes(const vq__into &to, const vq__way &way, int how, const vq__quad *held, char *q,
                            int across, int H, int left)
{
    vq__way w = way;
    w.how = how;
#pragma unroll
    for (int i = 0; i < N; i++) {
        if (i * across >= H) continue;
        float v[8];
        vq__quad_values(T, held[i], v);
        vq__scale8(to, w, v);
        const vq__duo u = vq__codes8(to, w, v);
        if (i * across < left) vq__store(q + i * across, u);
    }
}

/* Eights of a row that a thread holds to codes of dynamic groups. The lanes of a group share the
   work: each settles the group of another eight, or of every to.lanes-th, and tells the others. */
template <vq_dtype T, int N>
VQ__DEV void vq__held_groups(const vq__into &to, const vq__once &once, vq__quad *held, int64_t row, char *q,
                             int across, int H, int left)
{
    const int me = (int)threadIdx.x, lane = me & (to.lanes - 1);
    const bool divide = to.key.code_rule == VQ_CODE_DIV;
    uint32_t most[N / 2], hows = 0, odd = 0;
    float s[N], by[N];
    vq__way way = {};
#pragma unroll
    for (int i = 0; i < N; i++) {
        const uint32_t pair = vq__quad_most(T, 0, held[i], to.lacks_nan), lo = pair & 0xffffu,
                       hi = pair >> 16;
        const uint32_t one = lo > hi ? lo : hi;
        most[i / 2] = i % 2 ? most[i / 2] | one << 16 : one;
    }
    for (int d = 1; d < to.lanes; d *= 2) {
#pragma unroll
        for (int i = 0; i < N / 2; i++)
            most[i] = vq__pair_most(T, most[i], vq__xor(most[i], d), to.lacks_nan);
    }
#pragma unroll 1
    for (int k = 0, turn = 0; k < N; k += to.lanes, turn++) {
        const int mine = k + (lane & (N - 1));
        const bool there = mine * across < left + lane * 8;
        vq__seen seen = {};
#pragma unroll
        for (int i = 0; i < N / 2; i++) seen.most |= most[i] & (0u - (uint32_t)(i == mine / 2));
        seen.most = vq__most_of_pair(T, mine % 2 ? seen.most >> 16 : seen.most & 0xffffu);
        seen.numbers = seen.most;                            /* of no use where there is a NaN */
        way = vq__settle(to, once, seen, 0, row, (mine * across >> (3 + to.shift)) + (me >> to.shift),
                         there && lane < N);
        const bool near = vq__f32_bits(way.s) - 0x17800000u <= 0x71800000u - 0x17800000u;
        /* A quotient by a power of two is right as a product, and as a quotient. */
        const bool plain = divide ? way.how == VQ__QUOTIENT || way.how == VQ__FAR_QUOTIENT
                                    || (way.how == VQ__PRODUCT && near) : way.how == VQ__PRODUCT;
        odd |= there && !plain;
        hows |= (uint32_t)way.how << 3 * turn;
#pragma unroll
        for (int i = 0; i < N; i++) {
            if ((unsigned)(i - k) >= (unsigned)to.lanes) continue;
            by[i] = vq__xor(way.by, lane ^ (i - k));
            s[i] = divide ? vq__xor(way.s, lane ^ (i - k)) : 0.0f;
        }
    }
    if (!vq__max_over(odd, vq__wave())) {
        way.how = !divide ? (int)VQ__PRODUCT
                : to.far || T == VQ_F16 ? (int)VQ__FAR_QUOTIENT : (int)VQ__QUOTIENT;
#pragma unroll
        for (int i = 0; i < N; i++) {
            if (i * across >= H) continue;
            float v[8];
            way.s = s[i];
            way.by = by[i];
            vq__quad_values(T, held[i], v);
            vq__scale8(to, way, v);
            const vq__duo u = vq__codes8(to, way, v);
            if (i * across < left) vq__store(q + i * across, u);
        }
        return;
    }
#pragma unroll 1
    for (int i = 0; i * across < H; i++) {
        float v[8];
        way.s = s[0];
        way.by = by[0];
        way.how = (int)(vq__xor(hows, lane ^ (i & (to.lanes - 1))) >> 3 * (i >> to.shift) & 7u);
        vq__quad_values(T, held[0], v);
        vq__scale8(to, way, v);
        const vq__duo u = vq__codes8(to, way, v);
        if (i * across < left) vq__store(q + i * across, u);
#pragma unroll
        for (int j = 0; j + 1 < N; j++) {
            held[j] = held[j + 1];
            s[j] = s[j + 1];
            by[j] = by[j + 1];
        }
    }
}

/* Eights of a row by r, rounded, and by its weight. */
template <vq_dtype T, int N, bool PLUS_ONE>
VQ__DEV void vq__held_normed(vq__quad *z, const vq__quad *weight, float r, int across, int H, int left)
{
#pragma unroll
    for (int i = 0; i < N; i++) {
        if (i * across >= H) continue;
        const float by = i * across < left ? r : 0.0f;       /* 0 * infinity */
        float v[8], w[8];
        vq__quad_values(T, z[i], v);
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] = vq__times(v[j], by);
        z[i] = vq__packed<1>(T, v).q[0];
        if (!PLUS_ONE) {
#pragma unroll
            for (int j = 0; j < 4; j++) z[i].w[j] = vq__pair_product(T, z[i].w[j], weight[i].w[j]);
            continue;
        }
        vq__quad_values(T, z[i], v);
        vq__quad_values(T, weight[i], w);
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] = vq__times(v[j], vq__sub(w[j], -1.0f));
        z[i] = vq__packed<1>(T, v).q[0];
    }
}

/* Is a source a tensor as it is? */
template <class S> struct vq__plain { enum { is = 0 }; };
template <int W> struct vq__plain<vq__from_tensor<W>> { enum { is = 1 }; };

/* A row a block, of 16-bit floats that lie whole, kept in registers: N eights a thread. What it
   gives is what k_values__row gives. A row's weight is of the type T of its values.

     grid   x: the rows, strided
     block  THREADS, 128 or 512; N * THREADS * 8 columns at most */
template <class S, int K, vq_dtype T, int N, int THREADS, int BLOCKS, bool NORM>
[[maybe_unused]] static __global__ void __launch_bounds__(THREADS, BLOCKS)
k_values__held(S given, vq__norming norm, vq__into args, vq__span span)
{
    enum { MINE = 1024 / THREADS, ACROSS = THREADS * 8 };
    const vq__into to = vq__known<K>(args);
    __shared__ uint32_t part[4][VQ__ROW_THREADS / 32];
    __shared__ vq__quad kept[MINE == 8 || !NORM ? 1 : N * THREADS];
    const int me = (int)threadIdx.x, H = (int)span.cols, columns = H - me * 8;
    const uint32_t rows = (uint32_t)span.rows;
    const bool token = K != VQ__FLOATS && !to.lanes && !(to.key.flags & VQ_KEY_STATIC);
    S src = given;
    int turn = 0;
    src.x.type = T;
    src.x.whole = 1;
    if constexpr (!vq__plain<S>::is) {
        src.act = VQ_ACT_SILU;
        src.mid = T;
        src.up = 1;
        src.most = vq__f32_make(0x7f800000u);
    }

    vq__wait();
    const vq__once once = vq__once_of(to);
    for (uint32_t at = blockIdx.x; at < rows; at += gridDim.x, turn ^= 1) {
        const uint32_t row = (uint32_t)vq__anew((int)at);
        const char *x = vq__anew(src.x.p + (uint64_t)row * (uint32_t)src.x.row + me * 16);
        int left = columns;
        vq__quad z[N], w[N];
#pragma unroll
        for (int i = 0; i < N; i++) {
            z[i] = vq__quad();
            if constexpr (vq__plain<S>::is) {
                if (i * ACROSS < left) z[i] = vq__load(x + i * ACROSS * 2);
            } else {
                const int64_t second = given.gate == VQ_GATE_SECOND ? src.half : 0;
                w[i] = vq__quad();
                if (i * ACROSS >= left) continue;
                z[i] = vq__load(x + second * 2 + i * ACROSS * 2);
                w[i] = vq__load(x + (src.half - second) * 2 + i * ACROSS * 2);
            }
        }
        if (NORM && norm.residual.p) {
            char *residual =
                vq__anew(norm.residual.p + (uint64_t)row * (uint32_t)norm.residual.row + me * 16);
            vq__quad more[N];
#pragma unroll
            for (int i = 0; i < N; i++) {
                more[i] = vq__quad();
                if (i * ACROSS < left) more[i] = vq__load(residual + i * ACROSS * 2);
            }
            vq__loaded();
            left = vq__anew(left);
#pragma unroll
            for (int i = 0; i < N; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) z[i].w[j] = vq__pair_sum(T, z[i].w[j], more[i].w[j]);
                if (i * ACROSS < left) vq__store(residual + i * ACROSS * 2, z[i]);
            }
        } else vq__loaded();
        left = vq__anew(left);

        if constexpr (!vq__plain<S>::is) {
            src.gate = VQ_GATE_FIRST;                        /* they are where it has them */
#pragma unroll
            for (int i = 0; i < N; i++) {
                if (i * ACROSS >= H) continue;
                float v[8];
                typename S::raw u;
                u.g.q[0] = z[i];
                u.u.q[0] = w[i];
                src.values(u, v);
                z[i] = vq__packed<1>(T, v).q[0];
            }
        }
        if (NORM) {
            float p[8] = {};
            /* Asked for before the sums, so that it is there after them. */
#pragma unroll
            for (int i = 0; i < N; i++) {
                w[i] = vq__quad();
                if (i * ACROSS < left) w[i] = *(const vq__quad *)(norm.weight.p + me * 16 + i * ACROSS * 2);
            }
            left = vq__anew(left);
            if (MINE == 8) {
#pragma unroll
                for (int i = 0; i < N; i++) {
                    if (i * ACROSS >= H) continue;
                    float v[8];
                    vq__quad_values(T, z[i], v);
#pragma unroll
                    for (int j = 0; j < 8; j++) p[j] = vq__partial_square(p[j], v[j]);
                }
            } else {
#pragma unroll
                for (int i = 0; i < N; i++) if (i * ACROSS < H) kept[i * THREADS + me] = z[i];
                __syncthreads();                             /* the row is there */
#pragma unroll
                for (int k = 0; k < N * ACROSS / 1024; k++) {
                    if (k * 1024 >= H) continue;
                    const uint32_t u = ((const uint32_t *)kept)[k * 512 + me];
                    const float lo = T == VQ_BF16 ? vq__f32_make(u << 16) : vq__low_f16(u);
                    const float hi = T == VQ_BF16 ? vq__f32_make(u & 0xffff0000u) : vq__low_f16(u >> 16);
                    p[0] = vq__partial_square(p[0], lo);
                    p[1] = vq__partial_square(p[1], hi);
                }
            }
            p[0] = MINE == 8 ? vq__add(vq__add(vq__add(p[0], p[1]), vq__add(p[2], p[3])),
                                       vq__add(vq__add(p[4], p[5]), vq__add(p[6], p[7])))
                             : vq__add(p[0], p[1]);
            const float sum = vq__div(vq__held_sum<THREADS>(p[0], (float *)part[turn]), (float)H);
            const float r = vq__div(1.0f, vq__sqrt(vq__add(sum, norm.eps)));
            char *y = to.y.p + (uint64_t)row * (uint32_t)to.y.row + me * 16;
            if (norm.plus_one) vq__held_normed<T, N, true>(z, w, r, ACROSS, H, left);
            else vq__held_normed<T, N, false>(z, w, r, ACROSS, H, left);
            left = vq__anew(left);
#pragma unroll
            for (int i = 0; i < N; i++)
                if (K == VQ__FLOATS && i * ACROSS < left) vq__store(y + i * ACROSS * 2, z[i]);
        }
        if constexpr (K == VQ__FLOATS) continue;
        char *q = vq__anew(to.q + (uint64_t)row * (uint32_t)to.row + me * 8);
        if (NORM && to.lanes) {
            vq__held_groups<T, N>(to, once, z, row, q, ACROSS, H, left);
            continue;
        }
        vq__way way = once.way;
        if (!NORM || token) {
            vq__seen seen = {};
            uint32_t most = 0;
#pragma unroll
            for (int i = 0; i < N; i++) most = vq__quad_most(T, most, z[i], to.lacks_nan);
            seen.most = vq__held_most<THREADS>(vq__most_of_pair(T, most), part[2 + turn]);
            seen.numbers = seen.most;                        /* of no use where there is a NaN */
            way = vq__settle(to, once, seen, 0, row, 0, me == 0);
        } else if (!once.known) way = vq__given(to, once.g2, row, 0);
        if (way.how == VQ__QUOTIENT)
            vq__held_codes<T, N>(to, way, VQ__QUOTIENT, z, q, ACROSS, H, left);
        else if (way.how == VQ__FAR_QUOTIENT)
            vq__held_codes<T, N>(to, way, VQ__FAR_QUOTIENT, z, q, ACROSS, H, left);
        else if (way.how == VQ__PRODUCT)
            vq__held_codes<T, N>(to, way, VQ__PRODUCT, z, q, ACROSS, H, left);
        else {
#pragma unroll 1
            for (int i = 0; i * ACROSS < H; i++) {
                const int how = way.how == VQ__DIVISION ? (int)VQ__DIVISION : (int)VQ__ODD_PRODUCT;
                vq__held_codes<T, 1>(to, way, how, z, q + i * ACROSS, ACROSS, H, left - i * ACROSS);
#pragma unroll
                for (int j = 0; j + 1 < N; j++) z[j] = z[j + 1];
            }
        }
    }
}

/* Eight codes a thread to values.

     grid   x: ceil(H / 8 / block); y: the rows, strided
     block  64 to 256 */
struct vq__coding {
    vq_key     key;
    int        code, bits, whole;
    const char *q, *scale2;
    int64_t    row, group_rows, group_cols;
    vq__mat    scale, zero;
    vq__rows   y;
    vq__mini   mini;
};

VQ__DEV float vq__coded_scale(const vq__coding &from, float g2, int64_t r, int64_t c, float *zero)
{
    const int64_t g = from.group_rows < 0 ? 0 : from.group_rows == 1 ? r : r / from.group_rows;
    const int64_t h = from.group_cols < 0 ? 0 : c / from.group_cols;
    *zero =
        from.key.flags & VQ_KEY_ASYMMETRIC ? vq_decode(from.key.elem, vq__peek(from.zero, 0, g, h)) : 0.0f;
    return vq__value_scale(&from.key, vq_decode(from.key.scale_type, vq__peek(from.scale, 0, g, h)), g2);
}

VQ__DEV vq__duo vq__get8(const vq__coding &from, int64_t r, int64_t c, int n)
{
    const char *p = from.q + r * from.row + c / 8 * from.bits;
    vq__duo u = {};
    if (n <= 0) return u;
    if (from.whole) {
        if (from.bits == 8) u = vq__load_duo(p);
        else if (from.bits == 4) u.w[0] = *(const uint32_t *)p;
        else {
            u.w[0] = *(const uint16_t *)p | (uint32_t)*(const uint16_t *)(p + 2) << 16;
            u.w[1] = *(const uint16_t *)(p + 4);
        }
        return u;
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (8 * i < n * from.bits) u.w[i / 4] |= (uint32_t)(uint8_t)p[i] << i % 4 * 8;
    return u;
}

VQ__DEV void vq__decoded8(const vq__coding &from, vq__duo u, float *v)
{
    if (from.code == VQ__E4M3) {
        vq__from_e4m3(u.w[0], v);
        vq__from_e4m3(u.w[0] >> 16, v + 2);
        vq__from_e4m3(u.w[1], v + 4);
        vq__from_e4m3(u.w[1] >> 16, v + 6);
        return;
    }
    const uint64_t all = (uint64_t)u.w[1] << 32 | u.w[0];
    const uint32_t mask = (1u << from.bits) - 1u;
    const uint32_t sign = from.key.elem == VQ_INT8 ? 0x80u : from.key.elem == VQ_INT4 ? 8u : 0u;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const uint32_t c = (uint32_t)(all >> i * from.bits) & mask;
        v[i] = from.code == VQ__INTEGER ? (float)((int32_t)(c ^ sign) - (int32_t)sign)
                                        : vq__mini_value(c, from.mini);
    }
}

[[maybe_unused]] static __global__ void __launch_bounds__(VQ__THREADS)
k_dequant__eight(vq__coding from, vq__span span)
{
    const int64_t width = (int64_t)blockDim.x * 8;
    const bool one = from.group_cols < 0 || from.group_cols % 8 == 0;
    vq__wait();
    const float g2 = vq__number(from.scale2, 1.0f);
    for (int64_t c = blockIdx.x * width + threadIdx.x * 8; c < span.cols; c += gridDim.x * width) {
        const int n = vq__ragged(span.cols, c);
        for (int64_t row = (int64_t)blockIdx.y * span.step; row < span.rows;
             row += (int64_t)gridDim.y * span.step) {
            const bool two = span.step > 1 && row + 1 < span.rows;
            const vq__duo u[2] = { vq__get8(from, row, c, n),
                                   two ? vq__get8(from, row + 1, c, n) : vq__duo() };
            vq__loaded();
#pragma unroll
            for (int k = 0; k < 2; k++) {
                float v[8], zero, s;
                if (k && !two) break;
                vq__decoded8(from, u[k], v);
                s = vq__coded_scale(from, g2, row + k, c, &zero);
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    if (!one && i && i < n) s = vq__coded_scale(from, g2, row + k, c + i, &zero);
                    v[i] = vq__times(vq__sub(v[i], zero), s);
                }
                vq__keep<2>(from.y, vq__row_at(from.y, 0, row + k), c, n, vq__packed<2>(from.y.type, v));
            }
        }
    }
}

/* The same for views that are whole, 16-bit values and groups of whole eights: CODE is of one kind,
   a lane has E eights.

     grid   x: ceil(H / 8 / E / block); y: the rows, strided
     block  64 to 256 */
template <int CODE, int BITS, int E> static __global__ void __launch_bounds__(VQ__THREADS)
k_dequant__words(vq__coding args, vq__span span)
{
    vq__coding from = args;
    const int width = (int)blockDim.x * 8 * E, cols = (int)span.cols, rows = (int)span.rows;
    from.code = CODE;
    from.bits = BITS;
    from.key.flags = 0;
    if (BITS == 4) {
        from.key.elem = VQ_E2M1;
        from.mini = { 1, 1, 3, 0x100, 0x100, 0x100, 0x7 };
    } else from.key.elem = CODE == VQ__E4M3 ? VQ_E4M3FN : VQ_INT8;
    vq__wait();
    const float g2 = vq__number(from.scale2, 1.0f);
    for (int at = (int)blockIdx.x * width; at < cols; at += (int)gridDim.x * width) {
        const int c = at + (int)threadIdx.x * 8 * E;
        if (c >= cols) continue;
        for (int row = (int)blockIdx.y * 2; row < rows; row += (int)gridDim.y * 2) {
            const bool two = row + 1 < rows;
            const char *q = from.q + (int64_t)row * (int)from.row + c / 8 * BITS;
            char *y = from.y.p + (int64_t)row * (int)from.y.row + c * 2;
            vq__duo u[2] = { vq__load_duo(q), {} };
            if (two) u[1] = vq__load_duo(q + (int)from.row);
            vq__loaded();
#pragma unroll
            for (int k = 0; k < 2; k++) {
                if (k && !two) break;
#pragma unroll
                for (int e = 0; e < E; e++) {
                    const vq__duo codes = E == 2 ? vq__duo{ { u[k].w[e], 0 } } : u[k];
                    float v[8], zero;
                    const float s = vq__coded_scale(from, g2, row + k, c + 8 * e, &zero);
                    vq__decoded8(from, codes, v);
#pragma unroll
                    for (int i = 0; i < 8; i++) v[i] = vq__times(v[i], s);
                    vq__store(y + 16 * e, vq__packed<1>(from.y.type, v).q[0]);
                }
                y += (int)from.y.row;
            }
        }
    }
}

/* What no lane or block can hold: any values, one at a time. */
enum { VQ__OF_TENSOR, VQ__OF_GATE, VQ__OF_CODES, VQ__OF_NORM };
struct vq__any {
    int         kind, up, layer, plus_one;
    vq__mat     x, residual, weight, norm_gate;
    int64_t     half;
    vq__gating  how;                                         /* mid: a type */
    float       most;
    vq__coding  from;
    vq__mat     q;
    float      *stats;                                       /* of each row: r, mean */
};

VQ__DEV float vq__float_at(const vq__mat &m, int64_t plane, int64_t r, int64_t c)
{
    return vq_decode(m.type, vq__peek(m, plane, r, c));
}

/* z of a norm */
VQ__DEV float vq__normed_in(const vq__any &s, int64_t plane, int64_t r, int64_t c)
{
    const float z = vq__float_at(s.x, plane, r, c);
    if (!s.residual.p) return z;
    return vq__round(s.how.mid, vq__add(z, vq__float_at(s.residual, plane, r, c)));
}

VQ__DEV float vq__any_at(const vq__any &s, int64_t rows, int64_t plane, int64_t r, int64_t c)
{
    if (s.kind == VQ__OF_TENSOR) return vq__float_at(s.x, plane, r, c);
    if (s.kind == VQ__OF_CODES) {
        float zero;
        const float by = vq__coded_scale(s.from, vq__number(s.from.scale2, 1.0f), r, c, &zero);
        return vq__times(vq__sub(vq_decode(s.from.key.elem, vq__peek(s.q, 0, r, c)), zero), by);
    }
    if (s.kind == VQ__OF_GATE) {
        const bool even = s.how.gate == VQ_GATE_EVEN;
        const int64_t second = s.how.gate == VQ_GATE_SECOND ? s.half : 0;
        if (!s.up) return vq__act_of(s.how.act, s.how.mid, vq__float_at(s.x, plane, r, c));
        return vq__gate_of(&s.how, s.most, vq__float_at(s.x, plane, r, even ? 2 * c : second + c),
                           vq__float_at(s.x, plane, r, even ? 2 * c + 1 : s.half - second + c));
    }
    const float *stats = s.stats + (plane * rows + r) * 2;
    const vq_dtype mid = s.how.mid;
    float v = vq__normed_in(s, plane, r, c);
    v = vq__round(mid, vq__times(s.layer ? vq__sub(v, stats[1]) : v, stats[0]));
    if (s.weight.p) {
        const float w = vq__float_at(s.weight, 0, 0, c);
        v = vq__round(mid, vq__times(v, s.plus_one ? vq__sub(w, -1.0f) : w));
    }
    if (s.norm_gate.p) {
        const float g = vq__float_at(s.norm_gate, plane, r, c);
        v = vq__round(mid, vq__times(v, vq__round(mid, vq__act_of(VQ_ACT_SILU, mid, g))));
    }
    return v;
}

/* A row a block: its mean and r.

     grid   x: the rows, strided
     block  128 */
[[maybe_unused]] static __global__ void __launch_bounds__(128)
k_norm__stats(vq__any src, float eps, vq__span span)
{
    __shared__ uint32_t part[2][4];
    vq__wait();
    const int64_t H = span.cols;
    for (int64_t s = blockIdx.x; s < span.rows * span.planes; s += gridDim.x) {
        const int64_t plane = s / span.rows, row = s % span.rows;
        float mean = 0.0f, sum = 0.0f;
        for (int pass = src.layer ? 0 : 1; pass < 2; pass++) {
            float p[8] = {};
            for (int64_t c = (int64_t)threadIdx.x * 8; c < H; c += 1024) {
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    if (c + j >= H) continue;
                    const float z = vq__normed_in(src, plane, row, c + j);
                    p[j] = !pass ? vq__partial_sum(p[j], z)
                         : vq__partial_square(p[j], src.layer ? vq__sub(z, mean) : z);
                }
            }
            sum = vq__div(vq__block_sum(p, 8, (float *)part[pass]), (float)H);
            if (!pass) mean = sum;
        }
        __syncthreads();                                     /* part[] is read before the next row */
        if (threadIdx.x == 0) {
            src.stats[2 * s] = vq__div(1.0f, vq__sqrt(vq__add(sum, eps)));
            src.stats[2 * s + 1] = mean;
        }
    }
}

/* A group a block: its scale, and the amax that its codes ask for.

     grid   x: the groups, strided
     block  64 to 512 */
[[maybe_unused]] static __global__ void __launch_bounds__(VQ__ROW_THREADS)
k_values__group(vq__any src, vq__into to, vq__span span, float *amax)
{
    __shared__ uint32_t part[4][VQ__ROW_THREADS / 32];
    vq__wait();
    const int64_t rows = to.group_rows < 0 ? span.rows : to.group_rows;
    const int64_t cols = to.group_cols < 0 ? span.cols : to.group_cols;
    /* Zero points of 4 bits share bytes: whose group is the first of two does both. */
    const int per = (to.key.flags & VQ_KEY_ASYMMETRIC) && to.zero.bits == 4 ? 2 : 1;
    const int64_t down = (span.rows + rows - 1) / rows, units = (to.across + per - 1) / per;
    const vq__once once = vq__once_of(to);
    for (int64_t w = blockIdx.x; w < units * down * span.planes; w += gridDim.x) {
        const int64_t g = w / units % down, plane = w / units / down, r0 = g * rows;
        const int64_t R = span.rows - r0 < rows ? span.rows - r0 : rows;
        uint32_t zeros = 0;
        int ignored = 0;
        if (span.counts && r0 >= vq__counted(span, plane, &ignored)) continue;
        for (int64_t h = w % units * per; h < w % units * per + per && h < to.across; h++) {
            const int64_t c0 = h * cols, C = span.cols - c0 < cols ? span.cols - c0 : cols;
            vq__seen seen = {};
            for (int64_t i = threadIdx.x; i < R * C; i += blockDim.x) {
                const float v = vq__any_at(src, span.rows, plane, r0 + i / C, c0 + i % C);
                const uint32_t mag = vq__f32_bits(v) & 0x7fffffffu;
                if (mag > 0x7f800000u) {
                    if (to.lacks_nan) seen.most = mag;
                    continue;
                }
                if (mag > seen.numbers) seen.numbers = mag;
                if (mag > seen.most) seen.most = mag;
                seen.lo = v < seen.lo ? v : seen.lo;
                seen.hi = v > seen.hi ? v : seen.hi;
            }
            const uint32_t lo = vq__f32_bits(seen.lo) & 0x7fffffffu, hi = vq__f32_bits(seen.hi) & 0x7fffffffu;
            seen.most = vq__block_most(seen.most, part[0]);
            seen.numbers = vq__block_most(seen.numbers, part[1]);
            seen.lo = -vq__f32_make(vq__block_most(lo, part[2]));
            seen.hi = vq__f32_make(vq__block_most(hi, part[3]));
            __syncthreads();                                 /* part[] is read before the next group */
            const vq__way way = vq__settle(to, once, seen, plane, g, h, threadIdx.x == 0);
            if (threadIdx.x == 0) amax[(plane * down + g) * to.across + h] = way.amax;
            zeros |= ((uint32_t)way.zero & 0xfu) << h % 2 * 4;
        }
        if (per == 2 && threadIdx.x == 0)
            to.zero.p[plane * to.zero.plane + g * to.zero.row + w % units] = (char)zeros;
    }
}

/* Eight columns a thread: what k_values__group left, as codes; floats; the residual of a norm.

     grid   x: ceil(planes * T * ceil(H / 8) / 256), strided
     block  256 */
[[maybe_unused]] static __global__ void __launch_bounds__(VQ__THREADS)
k_values__one(vq__any src, vq__into to, vq__span span, const float *amax)
{
    const int64_t per_row = (span.cols + 7) / 8, n = span.rows * span.planes * per_row;
    vq__wait();
    const bool fixed = (to.key.flags & VQ_KEY_STATIC) != 0, asym = (to.key.flags & VQ_KEY_ASYMMETRIC) != 0;
    const int64_t down = to.group_rows < 1 ? 1 : (span.rows + to.group_rows - 1) / to.group_rows;
    const vq__once once = vq__once_of(to);
    for (int64_t w = (int64_t)blockIdx.x * VQ__THREADS + threadIdx.x; w < n;
         w += (int64_t)gridDim.x * VQ__THREADS) {
        const int64_t c0 = w % per_row * 8, row = w / per_row % span.rows, plane = w / per_row / span.rows;
        int ignored = 0;
        if (span.counts && row >= vq__counted(span, plane, &ignored)) continue;
        uint64_t codes = 0;
        const int some = vq__ragged(span.cols, c0);
#pragma unroll 1
        for (int i = 0; i < some; i++) {
            const float v = vq__any_at(src, span.rows, plane, row, c0 + i);
            if (src.residual.p)
                vq__poke(src.residual, plane, row, c0 + i,
                         vq_encode(src.x.type, vq__normed_in(src, plane, row, c0 + i), VQ_NONFINITE));
            if (to.kind == VQ__TO_FLOATS) {
                const uint32_t u = vq_encode(to.y.type, v, VQ_NONFINITE);
                char *y = vq__row_at(to.y, plane, row);
                vq_code_put(y, to.y.type == VQ_F32 ? 32 : 16, c0 + i, u);
                continue;
            }
            const int64_t g = to.group_rows < 0 ? 0 : row / to.group_rows;
            const int64_t h = to.group_cols < 0 ? 0 : (c0 + i) / to.group_cols;
            const float s = vq_decode(to.key.scale_type, vq__peek(to.scale, plane, g, h));
            vq__step step =
                vq__step_of(&to.key, s, fixed ? 0.0f : amax[(plane * down + g) * to.across + h], once.g2);
            if (asym) step.zero = (int32_t)vq_decode(to.key.elem, vq__peek(to.zero, plane, g, h));
            codes |= (uint64_t)vq__code_of(&to.key, v, step) << i * to.bits;
        }
        const vq__duo u = { { (uint32_t)codes, (uint32_t)(codes >> 32) } };
        if (to.kind == VQ__TO_CODES) vq__put8(to, plane, row, c0, some, u);
    }
}

/* A scale that is padding a thread.

     grid   x: ceil(rows * cols / 256) of the padded extents, strided
     block  256 */
[[maybe_unused]] static __global__ void __launch_bounds__(VQ__THREADS)
k_scales__pad(vq__mat m, int64_t rows, int64_t cols, int64_t full_rows, int64_t full_cols)
{
    vq__wait();
    for (int64_t w = vq__first(); w < full_rows * full_cols; w += vq__jump())
        if (w / full_cols >= rows || w % full_cols >= cols) vq__poke(m, 0, w / full_cols, w % full_cols, 0);
}

[[maybe_unused]] static __global__ void k_counts__status(vq__span span)
{
    int wrong = 0;
    vq__wait();
    for (int p = 0; p < span.planes; p++) (void)vq__counted(span, p, &wrong);
    vq_code_put(span.status, 32, 0, (uint32_t)wrong);
}

#ifndef VQ_NO_SCALES
/* A scale or a piece of padding a thread.

     grid   ceil(B * rows * cols / 256) of the padded extents, strided
     block  256 */
[[maybe_unused]] static __global__ void __launch_bounds__(VQ__THREADS)
k_scale_convert__scales(vq_tensor x, vq_tensor y, int64_t rows, int64_t cols)
{
    vq__wait();
    const int64_t n = y.shape[1] * rows * cols;
    for (int64_t w = vq__first(); w < n; w += vq__jump()) {
        const int64_t c = w % cols, r = w / cols % rows, b = w / cols / rows;
        const vq_tensor from = vq__plane(&x, 0, b), to = vq__plane(&y, 0, b);
        vq__put_code(&to, r, c, r < y.shape[2] && c < y.shape[3] ? vq__get_code(&from, r, c) : 0u);
    }
}

#endif

struct vq__operands { uint32_t in[VQ__SELF_TEST_COUNT]; };

[[maybe_unused]] static __global__ void k_self_test__once(vq__operands operands, int *failed)
{
    vq__wait();
    *failed = vq__self_test_of(operands.in);
}

/* ===========================================================================
   >>launch         0, or the runtime's error number
   =========================================================================== */

/* A family that is left out leaves some of these unused. */
#define VQ__HOST [[maybe_unused]] static

VQ__HOST unsigned vq__at_most(int64_t n, int64_t most) { return (unsigned)(n < most ? n : most); }
VQ__HOST unsigned vq__grid(int64_t n)
{
    return vq__at_most((n + VQ__THREADS - 1) / VQ__THREADS, 1 << 16);
}

VQ__HOST int64_t vq__count(const vq_tensor &t)
{
    int64_t n = 1;
    for (int i = 0; i < t.rank; i++) if (!t.shape[i]) return 0;      /* before a product overflows */
    for (int i = 0; i < t.rank; i++) n *= t.shape[i];
    return n;
}

VQ__HOST bool vq__lies(const void *p, int64_t a, int64_t b, int by)
{
    return (((uintptr_t)p | (uint64_t)a | (uint64_t)b) & (uint64_t)(by - 1)) == 0;
}

/* A tensor of floats; rank 0 is absent. */
VQ__HOST vq__rows vq__rows_of(const vq_tensor &t)
{
    const vq_tensor w = vq__rank4(&t);
    const int64_t size = vq__bits(t.dtype) / 8;
    vq__rows r = {};
    r.type = t.dtype;
    if (!t.rank) return r;
    r.p = (char *)t.data;
    r.row = w.stride[2] * size;
    r.plane = w.stride[1] * size;
    r.whole =
        w.shape[3] % 8 == 0 && vq__lies(r.p, w.shape[2] > 1 ? r.row : 0, w.shape[1] > 1 ? r.plane : 0, 16);
    return r;
}

VQ__HOST vq__mat vq__mat_of(const vq_tensor &t)
{
    const vq_tensor w = vq__rank4(&t);
    vq__mat m = {};
    if (!t.rank) return m;
    m.p = (char *)t.data;
    m.type = t.dtype;
    m.layout = t.layout;
    m.bits = vq__bits(t.dtype);
    m.row = w.stride[2];
    m.col = w.stride[3];
    m.plane = w.shape[1] < 2 ? 0 : w.stride[1] * (m.bits < 8 || t.layout != VQ_STRIDED ? 1 : m.bits / 8);
    m.aligned = vq__lies(m.p, m.plane, 0, m.bits < 8 ? 1 : m.bits / 8);
    return m;
}

VQ__HOST int vq__code_kind(const vq_key &k)
{
    if (k.elem >= VQ_INT8) return VQ__INTEGER;
    return k.elem == VQ_E4M3FN && k.code_max == 448.0f ? VQ__E4M3 : VQ__MINIFLOAT;
}

VQ__HOST vq__mini vq__mini_for(vq_dtype t)
{
    t = t >= VQ_INT8 ? VQ_E2M1 : t;
    return VQ__MINI_OF(t);
}

VQ__HOST vq__into vq__into_floats(const vq_tensor &y)
{
    vq__into to = {};
    to.kind = VQ__TO_FLOATS;
    to.y = vq__rows_of(y);
    return to;
}

/* type: that of the values. */
VQ__HOST vq__into vq__into_codes(const vq_key &k, const vq_tensor &q, const vq_tensor &scale,
                                 const vq_tensor &zero, const vq_tensor &bound, const vq_tensor &scale2,
                                 vq_dtype type)
{
    const vq_tensor w = vq__rank4(&q);
    const bool fixed = (k.flags & VQ_KEY_STATIC) != 0;
    vq__into to = {};
    to.key = k;
    to.kind = VQ__TO_CODES;
    to.code = vq__code_kind(k);
    to.bits = vq__bits(k.elem);
    to.q = (char *)q.data;
    to.row = w.stride[2];                                    /* bytes: 8 bits and less */
    to.plane = w.shape[1] > 1 ? w.stride[1] : 0;
    to.whole = w.shape[3] % 8 == 0 && vq__lies(q.data, to.row, to.plane, to.bits == 6 ? 2 : to.bits);
    to.group_rows = k.group_rows;
    to.group_cols = k.group_cols;
    to.across = k.group_cols < 0 ? 1 : (w.shape[3] + k.group_cols - 1) / k.group_cols;
    to.lacks_nan = vq__lacks_nan(k.elem);
    to.far = fixed || k.bound_kind != VQ_BOUND_NONE || type == VQ_F16    /* its infinity has a small scale */
          || k.scale_type == VQ_UE4M3 || k.scale_type == VQ_F16;         /* what is too large for it, too */
    to.scale = vq__mat_of(scale);
    to.zero = vq__mat_of(zero);
    to.bound = bound.rank ? (const char *)bound.data : nullptr;
    to.scale2 = scale2.rank ? (const char *)scale2.data : nullptr;
    to.largest = type == VQ_BF16 ? 0x7f7f0000u : type == VQ_F16 ? 0x477fe000u : 0x7f7fffffu;
    to.mini = vq__mini_for(k.elem);
    if (!fixed && k.group_cols > 0) to.lanes = k.group_cols / 8;
    while (1 << to.shift < to.lanes) to.shift++;
    return to;
}

VQ__HOST vq__span vq__span_of(int64_t planes, int64_t rows, int64_t cols)
{
    vq__span s = {};
    s.rows = rows;
    s.cols = cols;
    s.planes = (int)planes;
    s.step = rows * planes > 256 ? 2 : 1;
    return s;
}

/* Padding of scales, which only a dynamic key writes. */
VQ__HOST int vq__pad_scales(const vq_tensor &t, const vq_key &k, void *stream)
{
    int64_t rows, cols;
    if ((k.flags & VQ_KEY_STATIC) || !t.rank || t.layout == VQ_STRIDED) return 0;
    vq__padded(&t, &rows, &cols);
    if (rows == t.shape[0] && cols == t.shape[1]) return 0;
    return VQ__LAUNCH(k_scales__pad, vq__grid(rows * cols), VQ__THREADS, 0, stream, vq__mat_of(t),
                      t.shape[0], t.shape[1], rows, cols);
}

enum { VQ__BLOCKS = 2048 };                                  /* at most, in a grid */

struct vq__shape { dim3 grid; unsigned block; };

/* Blocks of whole waves that leave the fewest lanes without columns. */
VQ__HOST vq__shape vq__shape_for(const vq__span &s, int64_t most)
{
    const int64_t eights = (s.cols + 7) / 8, steps = (s.rows + s.step - 1) / s.step * s.planes;
    int64_t best = 0, block = 64;
    for (int64_t b = 256; b >= 64; b -= VQ__WAVE_MOST) {
        const int64_t lanes = (eights + b - 1) / b * b;
        if (best && lanes >= best) continue;
        best = lanes;
        block = b;
    }
    vq__shape g;
    const int64_t x = (eights + block - 1) / block;
    g.block = (unsigned)block;
    g.grid = dim3(vq__at_most(x, most), vq__at_most(steps, x >= most ? 1 : most / x));
    return g;
}

/* The constants that a sink has; FP8 and what else engines run have kernels of their own. */
VQ__HOST int vq__class_of(const vq__into &to)
{
    const vq_key &k = to.key;
    const bool plain =
        k.floor_kind != VQ_FLOOR_RAW && (k.code_rule == VQ_CODE_DIV || k.code_rule == VQ_CODE_INV);
    if (to.kind == VQ__TO_FLOATS) return VQ__FLOATS;
    if (k.arith != VQ_F32 || k.overflow != VQ_SATURATE || k.flags & VQ_KEY_ASYMMETRIC || k.bound_kind)
        return VQ__ANY;
    if (k.elem == VQ_E2M1 && k.code_max == 6.0f && k.scale_type == VQ_UE4M3 && k.scale2_kind == VQ_SCALE2_DIV
        && k.scale_rule == VQ_SCALE_INV && k.code_rule == VQ_CODE_INV0 && !k.floor_kind) return VQ__NVFP4;
    if (k.scale2_kind) return VQ__ANY;
    if (k.elem == VQ_E2M1 && k.code_max == 6.0f && k.scale_type == VQ_E8M0 && k.scale_rule == VQ_SCALE_EVEN
        && plain)
        return VQ__MXFP4;
    const bool ratio =
        k.scale_rule == VQ_SCALE_GIVEN || k.scale_rule == VQ_SCALE_DIV || k.scale_rule == VQ_SCALE_INV;
    if (k.elem == VQ_INT8 && k.code_max == 127.0f && k.scale_type == VQ_F32 && ratio && plain)
        return VQ__INT8_F32;
    if (k.elem != VQ_E4M3FN || k.code_max != 448.0f
        || !(k.code_rule == VQ_CODE_DIV || k.code_rule == VQ_CODE_INV))
        return VQ__ANY;
    if (k.scale_type == VQ_F32 && ratio && plain) return VQ__FP8_F32;
    return k.scale_type == VQ_E8M0 ? VQ__FP8_E8M0 : VQ__ANY;
}

/* Can 32 bits address it, in steps of 16 bytes? */
VQ__HOST bool vq__near(const vq__rows &x) { return x.whole && x.row < (int64_t)1 << 31; }

template <class S, int K>
static int vq__launch_words(const S &src, const vq__into &to, vq__span s, void *stream)
{
    enum { E = vq__per_lane<K>::eights };
    const size_t shared = s.counts ? (size_t)(s.planes + 1) * 4 : 0;
    if (E == 2) s.step = 1;
    vq__span lanes = s;
    lanes.cols = (s.cols + E - 1) / E;
    const vq__shape g =
        vq__shape_for(lanes, to.kind == VQ__TO_AMAX ? (int64_t)VQ__PARTIALS : (int64_t)VQ__BLOCKS);
    if constexpr (S::masked)
        if (s.counts)
            return VQ__LAUNCH((k_values__words<S, K, 1>), g.grid, g.block, shared, stream, src, to, s);
    return VQ__LAUNCH((k_values__words<S, K, 0>), g.grid, g.block, shared, stream, src, to, s);
}

template <class S>
static int vq__launch_eight(const S &src, const vq__into &to, const vq__span &s, void *stream)
{
    if constexpr (S::hot) {
        const int k = vq__class_of(to);
        const bool near =
            vq__near(src.x) && s.cols % 8 == 0 && s.rows < 1 << 30 && s.cols < 1 << 29
            && (k == VQ__FLOATS ? vq__near(to.y) && to.y.type == src.type()
                                : to.whole && to.row < (int64_t)1 << 31 && vq__lies(to.q, to.row, to.plane, 8)
                                      && to.scale.aligned && !(to.scale.row >> 31) && !(to.scale.col >> 31)
                                      && to.lanes != 1);
        switch (near ? k : (int)VQ__ANY) {
        case VQ__FLOATS:   return vq__launch_words<S, VQ__FLOATS>(src, to, s, stream);
        case VQ__FP8_F32:  return vq__launch_words<S, VQ__FP8_F32>(src, to, s, stream);
        case VQ__FP8_E8M0: return vq__launch_words<S, VQ__FP8_E8M0>(src, to, s, stream);
        case VQ__MXFP4:    return vq__launch_words<S, VQ__MXFP4>(src, to, s, stream);
        case VQ__NVFP4:    return vq__launch_words<S, VQ__NVFP4>(src, to, s, stream);
        case VQ__INT8_F32: return vq__launch_words<S, VQ__INT8_F32>(src, to, s, stream);
        }
    }
    const vq__shape g =
        vq__shape_for(s, to.kind == VQ__TO_AMAX ? (int64_t)VQ__PARTIALS : (int64_t)VQ__BLOCKS);
    const size_t shared = s.counts ? (size_t)(s.planes + 1) * 4 : 0;
    return VQ__LAUNCH((k_values__eight<S>), g.grid, g.block, shared, stream, src, to, s);
}

/* Rows that registers hold: 0 or an error, or -1 where k_values__row has to do it. */
template <class S, int K, vq_dtype T, bool NORM>
static int vq__launch_held_as(const S &src, const vq__norming &norm, const vq__into &to, const vq__span &s,
                              void *stream)
{
    enum { BLOCKS = !NORM ? (vq__plain<S>::is ? 8 : 5) : K == VQ__FLOATS ? 5 : 4 }; /* as registers allow */
    const unsigned grid = vq__at_most(s.rows, 1 << 16);
    if (s.rows <= 256 && s.cols > 1024)
        return VQ__LAUNCH((k_values__held<S, K, T, 2, 512, 2, NORM>), grid, 512, 0, stream, src, norm, to, s);
    return VQ__LAUNCH((k_values__held<S, K, T, 8, 128, BLOCKS, NORM>), grid, 128, 0, stream, src, norm, to,
                      s);
}

template <class S, vq_dtype T>
static int vq__launch_held_of(const S &src, const vq__norming &norm, const vq__into &to, const vq__span &s,
                              void *stream)
{
    const int k = vq__class_of(to);
    if constexpr (vq__plain<S>::is) {
        if (norm.on && k == VQ__FLOATS)
            return vq__launch_held_as<S, VQ__FLOATS, T, true>(src, norm, to, s, stream);
        if (norm.on && k == VQ__FP8_F32)
            return vq__launch_held_as<S, VQ__FP8_F32, T, true>(src, norm, to, s, stream);
        if (norm.on && k == VQ__INT8_F32)
            return vq__launch_held_as<S, VQ__INT8_F32, T, true>(src, norm, to, s, stream);
    }
    if (!norm.on && k == VQ__FP8_F32)
        return vq__launch_held_as<S, VQ__FP8_F32, T, false>(src, norm, to, s, stream);
    if (!norm.on && k == VQ__INT8_F32)
        return vq__launch_held_as<S, VQ__INT8_F32, T, false>(src, norm, to, s, stream);
    return -1;
}

VQ__HOST bool vq__held_rows(const vq__rows &x, vq_dtype type)
{
    return x.type == type && x.whole && x.row == (uint32_t)x.row;
}

template <class S>
static int vq__launch_held(const S &src, const vq__norming &norm, const vq__into &to, const vq__span &s,
                           void *stream)
{
    const vq_dtype type = src.x.type;
    if (s.cols > 8192 || s.planes != 1 || s.counts || s.rows >= 1 << 30) return -1;
    if (!vq__held_rows(src.x, type)) return -1;
    if (norm.on) {
        if (norm.layer || norm.gate.p || norm.mid != type || !norm.keeps) return -1;
        if (norm.residual.p && !vq__held_rows(norm.residual, type)) return -1;
        if (!norm.weight.p || !norm.weight.whole || norm.weight.type != type) return -1;
    }
    if (to.kind == VQ__TO_FLOATS) {
        if (!vq__held_rows(to.y, type)) return -1;
    } else {
        const bool fixed = (to.key.flags & VQ_KEY_STATIC) != 0;
        if (to.kind != VQ__TO_CODES || to.partials || !to.whole || to.row != (uint32_t)to.row) return -1;
        if (fixed && to.group_cols >= 0) return -1;
        if (!norm.on && (fixed || to.lanes)) return -1;
    }
    if constexpr (!vq__plain<S>::is)
        if (src.act != VQ_ACT_SILU || !src.up || src.gate == VQ_GATE_EVEN
            || src.most < vq__f32_make(0x7f800000u)) return -1;
    return type == VQ_BF16 ? vq__launch_held_of<S, VQ_BF16>(src, norm, to, s, stream) : -1;
}

template <class S, int W>
static int vq__launch_row(const S &src, const vq__norming &norm, const vq__into &to, const vq__span &s,
                          void *stream)
{
    const int64_t rows = s.rows * s.planes, eights = (s.cols + 7) / 8;
    unsigned threads = 128;
    while (threads < VQ__ROW_THREADS && rows * threads < 1 << 16 && eights > threads) threads *= 2;
    const int64_t most = to.kind == VQ__TO_AMAX ? (int64_t)VQ__PARTIALS : (int64_t)1 << 16;
    const size_t shared = (size_t)((eights + threads - 1) / threads * threads * 16 * W);
    if constexpr (S::hot) {
        const int held = vq__launch_held(src, norm, to, s, stream);
        if (held >= 0) return held;
        const int k = norm.layer || norm.gate.p ? (int)VQ__ANY : vq__class_of(to);
        if (k == VQ__FLOATS)
            return VQ__LAUNCH((k_values__row<S, W, VQ__FLOATS>), vq__at_most(rows, most), threads, shared,
                              stream, src, norm, to, s);
        if (k == VQ__FP8_F32)
            return VQ__LAUNCH((k_values__row<S, W, VQ__FP8_F32>), vq__at_most(rows, most), threads, shared,
                              stream, src, norm, to, s);
    }
    return VQ__LAUNCH((k_values__row<S, W, VQ__ANY>), vq__at_most(rows, most), threads, shared, stream, src,
                      norm, to, s);
}

/* Any values, through workspace: r and mean of each row of a norm, an amax of each group. */
VQ__HOST int vq__launch_any(vq__any src, float eps, const vq__into &to, const vq__span &s,
                            const vq_call &call)
{
    float *amax = (float *)call.workspace;
    int error = 0;
    if (src.kind == VQ__OF_NORM) {
        src.stats = amax;
        amax += s.rows * s.planes * 2;
        error = VQ__LAUNCH(k_norm__stats, vq__at_most(s.rows * s.planes, 1 << 16), 128, 0, call.stream, src,
                           eps, s);
    }
    if (!error && to.kind == VQ__TO_CODES && !(to.key.flags & VQ_KEY_STATIC)) {
        const int64_t rows = to.group_rows < 0 ? s.rows : to.group_rows,
                      cols = to.group_cols < 0 ? s.cols : to.group_cols;
        const int64_t groups = (s.rows + rows - 1) / rows * to.across * s.planes;
        const unsigned block = rows * cols <= 1024 || groups > 1 << 14 ? 64 : VQ__ROW_THREADS;
        error = VQ__LAUNCH(k_values__group, vq__at_most(groups, 1 << 16), block, 0, call.stream, src, to, s,
                           amax);
    }
    if (!error)
        error = VQ__LAUNCH(k_values__one, vq__grid(s.rows * s.planes * ((s.cols + 7) / 8)), VQ__THREADS, 0,
                           call.stream, src, to, s, (const float *)amax);
    if (!error && s.status) error = VQ__LAUNCH(k_counts__status, 1, 1, 0, call.stream, s);
    return error;
}

/* Both passes of a tensor: its amax, its codes. `go` launches. */
template <class F> static int vq__twice(vq__into to, const vq_call &call, F go)
{
    to.partial = (uint32_t *)call.workspace;
    to.partials = VQ__PARTIALS;
    to.kind = VQ__TO_AMAX;
    const int error = go(to);
    to.kind = VQ__TO_CODES;
    return error ? error : go(to);
}

/* Values of a source to codes under a key, or to floats. */
template <class S, int W>
static int vq__launch_source(const S &src, const vq__any &any, const vq__into &to, const vq__span &s,
                             const vq_call &call)
{
    const vq__norming none = {};
    const vq__route route = to.kind == VQ__TO_FLOATS ? VQ__ROUTE_EIGHT
                                                     : vq__route_of(&to.key, s.planes, s.cols, W == 2);
    switch (route) {
    case VQ__ROUTE_EIGHT: return vq__launch_eight(src, to, s, call.stream);
    case VQ__ROUTE_ROW: {
        const int error = vq__launch_row<S, W>(src, none, to, s, call.stream);
        return error || !s.status ? error : VQ__LAUNCH(k_counts__status, 1, 1, 0, call.stream, s);
    }
    case VQ__ROUTE_TENSOR:
        return vq__twice(to, call,
                         [&](const vq__into &t) { return vq__launch_eight(src, t, s, call.stream); });
    default: return vq__launch_any(any, 0.0f, to, s, call);
    }
}

#ifndef VQ_NO_CONVERT
static int vq__gpu_cast(const void *args)
{
    const vq_cast_args *a = (const vq_cast_args *)args;
    const vq_tensor x = vq__rank4(&a->x), y = vq__rank4(&a->y);
    if (!vq__count(y)) return 0;
    const int64_t n = y.shape[0] * y.shape[1] * y.shape[2] * ((y.shape[3] + 7) / 8);
    return VQ__LAUNCH(k_cast__columns8, vq__grid(n), VQ__THREADS, 0, a->call.stream, x, y, a->overflow);
}

static int vq__gpu_fnuz_normalize(const void *args)
{
    const vq_fnuz_normalize_args *a = (const vq_fnuz_normalize_args *)args;
    const bool to_fnuz = a->y.dtype == VQ_E4M3FNUZ || a->y.dtype == VQ_E5M2FNUZ;
    int error = 0;
    if (vq__count(a->x))
        error = VQ__LAUNCH(k_fnuz_normalize__codes, vq__grid(vq__count(a->x)), VQ__THREADS, 0, a->call.stream,
                           a->x, a->y, a->overflow);
    if (!error && vq__count(a->scale))
        error = VQ__LAUNCH(k_fnuz_normalize__scales, vq__grid(vq__count(a->scale)), VQ__THREADS, 0,
                           a->call.stream, a->scale, a->scale_out, to_fnuz ? 2.0f : 0.5f);
    return error;
}
#endif

/* What a quantizing op makes of a source, padding of scales included. */
template <class S, int W>
static int vq__launch_codes(const S &src, const vq__any &any, const vq__into &to, const vq__span &s,
                            const vq_call &call, const vq_tensor &scale, const vq_tensor &zero)
{
    int error = vq__launch_source<S, W>(src, any, to, s, call);
    if (!error) error = vq__pad_scales(scale, to.key, call.stream);
    return error ? error : vq__pad_scales(zero, to.key, call.stream);
}

#ifndef VQ_NO_QUANT
VQ__HOST vq__any vq__any_tensor(const vq_tensor &x)
{
    vq__any a = {};
    a.kind = VQ__OF_TENSOR;
    a.x = vq__mat_of(x);
    return a;
}

static int vq__gpu_quant(const void *args)
{
    const vq_quant_args *a = (const vq_quant_args *)args;
    const vq__into to = vq__into_codes(a->key, a->q, a->scale, a->zero, a->bound, a->scale2, a->x.dtype);
    const vq__any any = vq__any_tensor(a->x);
    if (!vq__count(a->x)) return 0;
    const vq__span s = vq__span_of(1, a->x.shape[0], a->x.shape[1]);
    if (a->x.dtype == VQ_F32) {
        const vq__from_tensor<2> src = { vq__rows_of(a->x) };
        return vq__launch_codes<vq__from_tensor<2>, 2>(src, any, to, s, a->call, a->scale, a->zero);
    }
    const vq__from_tensor<1> src = { vq__rows_of(a->x) };
    return vq__launch_codes<vq__from_tensor<1>, 1>(src, any, to, s, a->call, a->scale, a->zero);
}

VQ__HOST vq__coding vq__coding_of(const vq_key &k, const vq_tensor &q, const vq_tensor &scale,
                                  const vq_tensor &zero, const vq_tensor &scale2)
{
    vq__coding c = {};
    c.key = k;
    c.code = k.elem >= VQ_INT8 ? VQ__INTEGER : k.elem == VQ_E4M3FN ? VQ__E4M3 : VQ__MINIFLOAT;
    c.bits = vq__bits(k.elem);
    c.q = (const char *)q.data;
    c.row = q.stride[0];
    c.whole = q.shape[1] % 8 == 0 && vq__lies(q.data, c.row, 0, c.bits == 6 ? 2 : c.bits);
    c.scale2 = scale2.rank ? (const char *)scale2.data : nullptr;
    c.group_rows = k.group_rows;
    c.group_cols = k.group_cols;
    c.scale = vq__mat_of(scale);
    c.zero = vq__mat_of(zero);
    c.mini = vq__mini_for(k.elem);
    return c;
}

static int vq__gpu_dequant(const void *args)
{
    const vq_dequant_args *a = (const vq_dequant_args *)args;
    vq__coding from = vq__coding_of(a->key, a->q, a->scale, a->zero, a->scale2);
    if (!vq__count(a->q)) return 0;
    from.y = vq__rows_of(a->y);
    vq__span s = vq__span_of(1, a->q.shape[0], a->q.shape[1]);
    const bool four = from.bits == 4, near = from.whole && vq__lies(from.q, from.row, 0, 8)
                                             && vq__near(from.y) && from.row < (int64_t)1 << 31
                                             && s.rows < 1 << 30 && s.cols < 1 << 29
                                             && s.cols % (four ? 16 : 8) == 0 && a->y.dtype != VQ_F32
                                             && (from.group_cols < 0 || from.group_cols % 8 == 0)
                                             && !(a->key.flags & VQ_KEY_ASYMMETRIC)
                                             && (a->scale.dtype != VQ_F32 || from.scale.aligned);
    if (near && (from.code == VQ__E4M3 || a->key.elem == VQ_E2M1 || a->key.elem == VQ_INT8)) {
        s.step = 2;
        vq__span lanes = s;
        if (four) lanes.cols /= 2;
        const vq__shape g = vq__shape_for(lanes, VQ__BLOCKS);
        if (four)
            return VQ__LAUNCH((k_dequant__words<VQ__MINIFLOAT, 4, 2>), g.grid, g.block, 0, a->call.stream,
                              from, s);
        if (from.code == VQ__E4M3)
            return VQ__LAUNCH((k_dequant__words<VQ__E4M3, 8, 1>), g.grid, g.block, 0, a->call.stream, from,
                              s);
        return VQ__LAUNCH((k_dequant__words<VQ__INTEGER, 8, 1>), g.grid, g.block, 0, a->call.stream, from, s);
    }
    const vq__shape g = vq__shape_for(s, VQ__BLOCKS);
    return VQ__LAUNCH(k_dequant__eight, g.grid, g.block, 0, a->call.stream, from, s);
}

static int vq__gpu_requant(const void *args)
{
    const vq_requant_args *a = (const vq_requant_args *)args;
    const vq__into to =
        vq__into_codes(a->key, a->q_out, a->scale_out, a->zero_out, a->bound, a->scale2_out, VQ_F32);
    vq__any src = {};
    if (!vq__count(a->q)) return 0;
    src.kind = VQ__OF_CODES;
    src.from = vq__coding_of(a->from, a->q, a->scale, a->zero, a->scale2);
    src.q = vq__mat_of(a->q);
    int error = vq__launch_any(src, 0.0f, to, vq__span_of(1, a->q.shape[0], a->q.shape[1]), a->call);
    if (!error) error = vq__pad_scales(a->scale_out, a->key, a->call.stream);
    return error ? error : vq__pad_scales(a->zero_out, a->key, a->call.stream);
}
#endif

#ifndef VQ_NO_ACT
VQ__HOST vq__any vq__any_gate(const vq_tensor &x, const vq__gating &how, int up)
{
    vq__any a = {};
    a.kind = VQ__OF_GATE;
    a.up = up;
    a.x = vq__mat_of(x);
    a.half = x.shape[x.rank - 1] / 2;
    a.how = how;
    a.most = vq__gate_limit(&how, x.dtype);
    return a;
}

template <vq_dtype AS>
static vq__from_gate<AS> vq__gate_source(const vq_tensor &x, const vq__gating &how, int up)
{
    vq__from_gate<AS> s;
    s.x = vq__rows_of(x);
    s.half = x.shape[x.rank - 1] / 2;
    if (up && s.half % 8) s.x.whole = 0;
    s.act = how.act;
    s.gate = how.gate;
    s.mid = how.mid;
    s.up = up;
    s.alpha = how.alpha;
    s.plus = how.plus;
    s.most = vq__gate_limit(&how, x.dtype);
    return s;
}

/* how.mid: a type */
VQ__HOST int vq__launch_gate(const vq_tensor &x, const vq__gating &how, int up, const vq__into &to,
                             const vq__span &s, const vq_call &call)
{
    const vq__any any = vq__any_gate(x, how, up);
    if (vq__act_wide(how.act, how.mid, x.dtype))
        return vq__launch_source<vq__from_gate<VQ_F32>, 2>(vq__gate_source<VQ_F32>(x, how, up), any, to, s,
                                                           call);
    if (how.mid == VQ_BF16)
        return vq__launch_source<vq__from_gate<VQ_BF16>, 1>(vq__gate_source<VQ_BF16>(x, how, up), any, to, s,
                                                            call);
    return vq__launch_source<vq__from_gate<VQ_F16>, 1>(vq__gate_source<VQ_F16>(x, how, up), any, to, s, call);
}

VQ__HOST vq__gating vq__gating_for(vq_act_kind act, vq_gate gate, vq_dtype mid, float alpha, float limit,
                                   float plus, vq_dtype x)
{
    const vq__gating g = { act, gate, mid ? mid : x, alpha, limit, plus };
    return g;
}

static int vq__gpu_act(const void *args)
{
    const vq_act_args *a = (const vq_act_args *)args;
    const vq_dtype as = a->y.dtype == a->x.dtype ? a->x.dtype : VQ_F32;
    if (!vq__count(a->x)) return 0;
    return vq__launch_gate(a->x, vq__gating_for(a->act, VQ_GATE_FIRST, as, 0.0f, 0.0f, 0.0f, as), 0,
                           vq__into_floats(a->y), vq__span_of(1, a->x.shape[0], a->x.shape[1]), a->call);
}

#define VQ__GATING_FOR(a) \
    vq__gating_for((a)->act, (a)->gate, (a)->mid, (a)->alpha, (a)->limit, (a)->plus, (a)->x.dtype)

static int vq__gpu_act_mul(const void *args)
{
    const vq_act_mul_args *a = (const vq_act_mul_args *)args;
    if (!vq__count(a->y)) return 0;
    return vq__launch_gate(a->x, VQ__GATING_FOR(a), 1, vq__into_floats(a->y),
                           vq__span_of(1, a->y.shape[0], a->y.shape[1]), a->call);
}

static int vq__gpu_act_mul_quant(const void *args)
{
    const vq_act_mul_quant_args *a = (const vq_act_mul_quant_args *)args;
    const vq__gating how = VQ__GATING_FOR(a);
    if (!vq__count(a->q)) return 0;
    int error = vq__launch_gate(a->x, how, 1,
                                vq__into_codes(a->key, a->q, a->scale, a->zero, a->bound, a->scale2, how.mid),
                                vq__span_of(1, a->q.shape[0], a->q.shape[1]), a->call);
    if (!error) error = vq__pad_scales(a->scale, a->key, a->call.stream);
    return error ? error : vq__pad_scales(a->zero, a->key, a->call.stream);
}

static int vq__gpu_masked_act_mul_quant(const void *args)
{
    static const vq_tensor absent = {};
    const vq_masked_act_mul_quant_args *a = (const vq_masked_act_mul_quant_args *)args;
    const vq__gating how = VQ__GATING_FOR(a);
    vq__into to = vq__into_codes(a->key, a->q, a->scale, absent, absent, absent, how.mid);
    vq__span s = vq__span_of(a->q.shape[0], a->q.shape[1], a->q.shape[2]);
    if (!vq__count(a->q)) return 0;
    to.counted = 1;
    s.counts = (const char *)a->counts.data;
    s.status = a->status.rank ? (char *)a->status.data : nullptr;
    return vq__launch_gate(a->x, how, 1, to, s, a->call);
}
#endif

#ifndef VQ_NO_NORM
struct vq__norm_args {
    const vq_tensor *x, *residual, *weight, *gate;
    float eps;
    int plus_one, layer;
    vq_dtype mid;
};

template <int W>
static int vq__launch_kept(const vq__norm_args &a, const vq__norming &norm, const vq__into &to,
                           const vq__span &s, const vq_call &call)
{
    const vq__from_tensor<W> src = { vq__rows_of(*a.x) };
    const bool twice =
        to.kind == VQ__TO_CODES && vq__route_of(&to.key, 1, s.cols, W == 2) == VQ__ROUTE_TENSOR;
    if (!twice) return vq__launch_row<vq__from_tensor<W>, W>(src, norm, to, s, call.stream);
    return vq__twice(to, call, [&](const vq__into &t) {
        vq__norming n = norm;
        n.keeps = t.kind == VQ__TO_CODES;
        return vq__launch_row<vq__from_tensor<W>, W>(src, n, t, s, call.stream);
    });
}

VQ__HOST int vq__launch_norm(const vq__norm_args &a, const vq__into &to, const vq_call &call)
{
    const vq_tensor w = vq__rank4(a.x);
    const vq__span s = vq__span_of(w.shape[1], w.shape[2], w.shape[3]);
    const vq_dtype mid = a.mid ? a.mid : a.x->dtype;
    const bool wide = mid == VQ_F32;
    if (vq__norm_kept(to.kind == VQ__TO_CODES ? &to.key : nullptr, s.cols, wide)) {
        vq__norming norm = {};
        norm.residual = vq__rows_of(*a.residual);
        norm.gate = vq__rows_of(*a.gate);
        norm.weight = vq__rows_of(*a.weight);
        norm.mid = mid;
        norm.on = norm.keeps = 1;
        norm.layer = a.layer;
        norm.plus_one = a.plus_one;
        norm.eps = a.eps;
        return wide ? vq__launch_kept<2>(a, norm, to, s, call) : vq__launch_kept<1>(a, norm, to, s, call);
    }
    vq__any any = {};
    any.kind = VQ__OF_NORM;
    any.layer = a.layer;
    any.plus_one = a.plus_one;
    any.how.mid = mid;
    any.x = vq__mat_of(*a.x);
    any.residual = vq__mat_of(*a.residual);
    any.norm_gate = vq__mat_of(*a.gate);
    any.weight = vq__mat_of(*a.weight);
    return vq__launch_any(any, a.eps, to, s, call);
}

static int vq__gpu_rms_norm(const void *args)
{
    const vq_rms_norm_args *a = (const vq_rms_norm_args *)args;
    const vq__norm_args n = { &a->x, &a->residual, &a->weight, &a->gate, a->eps, a->plus_one, 0, a->mid };
    return vq__count(a->x) ? vq__launch_norm(n, vq__into_floats(a->y), a->call) : 0;
}

static int vq__gpu_layer_norm(const void *args)
{
    static const vq_tensor absent = {};
    const vq_layer_norm_args *a = (const vq_layer_norm_args *)args;
    const vq__norm_args n = { &a->x, &absent, &a->weight, &absent, a->eps, a->plus_one, 1, a->mid };
    return vq__count(a->x) ? vq__launch_norm(n, vq__into_floats(a->y), a->call) : 0;
}

static int vq__gpu_rms_norm_quant(const void *args)
{
    const vq_rms_norm_quant_args *a = (const vq_rms_norm_quant_args *)args;
    const vq__norm_args n = { &a->x, &a->residual, &a->weight, &a->gate, a->eps, a->plus_one, 0, a->mid };
    if (!vq__count(a->x)) return 0;
    int error = vq__launch_norm(n, vq__into_codes(a->key, a->q, a->scale, a->zero, a->bound, a->scale2,
                                                  a->mid ? a->mid : a->x.dtype), a->call);
    if (!error) error = vq__pad_scales(a->scale, a->key, a->call.stream);
    return error ? error : vq__pad_scales(a->zero, a->key, a->call.stream);
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
    return VQ__LAUNCH(k_scale_convert__scales, vq__grid(y.shape[1] * rows * cols), VQ__THREADS, 0,
                      a->call.stream, x, y, rows, cols);
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
    if (!error) error = VQ__LAUNCH(k_self_test__once, 1, 1, 0, nullptr, operands, out);
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
#define vq__gpu_requant         nullptr
#endif
#ifdef VQ_NO_ACT
#define vq__gpu_act             nullptr
#define vq__gpu_act_mul         nullptr
#define vq__gpu_act_mul_quant   nullptr
#define vq__gpu_masked_act_mul_quant nullptr
#endif
#ifdef VQ_NO_NORM
#define vq__gpu_rms_norm        nullptr
#define vq__gpu_layer_norm      nullptr
#define vq__gpu_rms_norm_quant  nullptr
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
