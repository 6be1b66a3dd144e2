/* vq.h - v0.1.0 - LLM quantization in one C header - MIT-0 or public domain, see the end

   Do this in *one* C or C++ file to create the implementation:

      #define VQ_IMPLEMENTATION
      #include "vq.h"

   Include it plainly everywhere else. Link with -ldl. Every op has a scalar reference that
   needs nothing more. GPU kernels live beside it: link vq_kernels.hip or vq_kernels.cu in,
   or build one into libvq_hip.so / libvq_cuda.so and vq_init() finds it at run time.

QUICK START

      vq_ctx *vq = NULL;
      vq_init(NULL, &vq);                               // a GPU, else the reference

      vq_quant_args a = VQ_ZERO;
      a.key   = vq_key_preset(VQ_KEY_FP8_GROUP128);
      a.x     = vq_tensor_2d(x, VQ_BF16, tokens, hidden, VQ_HOST);
      a.q     = vq_tensor_2d(q, VQ_E4M3FN, tokens, hidden, VQ_HOST);
      a.scale = vq_scale_for(&a.key, a.q, VQ_ROWS, s);
      if (vq_quant(vq, &a) != VQ_OK) ...                // a.call.report says why
      vq_free(vq);

   examples/01_quantize.c is this as a program.

DOES NOT

   Copy between host and device on its own, allocate or synchronize inside an op, print,
   abort, keep a last-error state, or let a compiler flag change a result. Train, or choose
   quantization parameters for a model: it executes the ones it is given.

TABLE OF CONTENTS      jump with a search for the marker

   Manual           Declarations       Implementation (#ifdef VQ_IMPLEMENTATION)
     >>options        >>config           >>impl-config
     >>formats        >>types            >>impl-names
     >>numbers        >>convert          >>impl-keys
     >>errors         >>tensors          >>impl-tensors
     >>backends       >>keys             >>impl-platform
     >>op-index       >>platform         >>impl-probe
                      >>context          >>impl-check
                      >>ops              >>impl-ref-convert
                      >>registry         >>impl-ref-quant
                      >>kernel-abi       >>impl-registry
                      >>numerics         >>impl-explain
                                         >>impl-context

>>options           set before the include, in the file named

   VQ_API             everywhere        linkage of the public functions; extern
   VQ_STATIC          everywhere        the public functions are static: one file has it all
   VQ_NO_CONVERT      everywhere        leaves the family out: vq_cast, vq_fnuz_normalize
   VQ_NO_QUANT        everywhere        vq_quant, vq_dequant
   VQ_NO_SCALES       everywhere        vq_scale_convert
   VQ_WITH_DLPACK     everywhere        conversion to and from DLTensor; include dlpack.h first
   VQ_WITH_HIP        implementation    vq_kernels_hip is linked: a strong reference, which
   VQ_WITH_CUDA       implementation    a static archive needs
   VQ_NO_DLOPEN       implementation    never look for a library at run time
   VQ_NO_ENV          implementation    vq_init() does not read the environment
   VQ_MALLOC, VQ_FREE implementation    both or neither; malloc and free

   T tokens, H hidden, E experts, K top-k, M N K of a product, G group: everywhere the same.
   Sizes are int64_t. Shapes count elements; so do strides, but in packed types (>>tensors).

>>formats           s sign, e exponent, m mantissa; the leftmost bit is the highest

   float32          | s | eeee eeee | mmm mmmm mmmm mmmm mmmm mmmm |   "f32"
   float16          | s | e eeee | mm mmmm mmmm |                      "f16"
   bfloat16         | s | eeee eeee | mmm mmmm |   the upper half of an f32, "bf16"

   float8_e4m3fn    | s | eeee | mmm |             "fn": finite, one NaN a sign
      e in 1..15    (-1)^s * 2^(e-7) * (1 + m/8)   largest 448 (0x7e)
      e == 0        (-1)^s * 2^-6 * (m/8)          smallest 2^-9 (0x01)
      0x7f, 0xff    NaN

   float8_e4m3fnuz  | s | eeee | mmm |             "uz": unsigned zero
      e in 1..15    (-1)^s * 2^(e-8) * (1 + m/8)   largest 240 (0x7f)
      e == 0        (-1)^s * 2^-7 * (m/8)          smallest 2^-10 (0x01)
      0x80          NaN; there is no -0

   float8_e5m2      | s | ee eee | mm |            an IEEE format, with infinities
      e in 1..30    (-1)^s * 2^(e-15) * (1 + m/4)  largest 57344 (0x7b)
      e == 0        (-1)^s * 2^-14 * (m/4)         smallest 2^-16 (0x01)
      e == 31       m == 0: infinity (0x7c, 0xfc); else NaN

   float8_e5m2fnuz  | s | ee eee | mm |
      e in 1..31    (-1)^s * 2^(e-16) * (1 + m/4)  largest 57344 (0x7f)
      e == 0        (-1)^s * 2^-15 * (m/4)         smallest 2^-17 (0x01)
      0x80          NaN; there is no -0

   float8_e8m0fnu   | eeee eeee |                  a scale: unsigned, no mantissa, no zero
      e in 0..254   2^(e-127)                      0x00 is 2^-127, 0x7f is 1
      0xff          NaN

   ue4m3            | 0 | eeee | mmm |             a scale: float8_e4m3fn without the sign
      0x80..0xff    NaN, as is 0x7f                largest 448 (0x7e)

   float6_e2m3fn    | s | ee | mmm |               no NaN, no infinity
      e in 1..3     (-1)^s * 2^(e-1) * (1 + m/8)   largest 7.5 (0x1f)
      e == 0        (-1)^s * (m/8)                 smallest 0.125 (0x01)

   float6_e3m2fn    | s | eee | mm |               no NaN, no infinity
      e in 1..7     (-1)^s * 2^(e-3) * (1 + m/4)   largest 28 (0x1f)
      e == 0        (-1)^s * 2^-2 * (m/4)          smallest 0.0625 (0x01)

   float4_e2m1fn    | s | ee | m |                 0 0.5 1 1.5 2 3 4 6 and their negatives
      e in 1..3     (-1)^s * 2^(e-1) * (1 + m/2)   largest 6 (0x7)
      e == 0        (-1)^s * (m/2)                 smallest 0.5 (0x1)

   int8 uint8 int4 uint4                           two's complement; int4 is -8..7

   Packed in memory: 4-bit codes two a byte, the first in the low nibble; 6-bit codes four in
   three bytes, code i in bits 6i..6i+5 of a little-endian word. A row starts on a byte.

          byte 0        byte 1            byte 0        byte 1        byte 2
      | c1   c0   | | c3   c2   |     | c1.. c0     | | c2..  ..c1  | | c3    ..c2  |
        7654 3210     7654 3210         76 543210       7654 3210       765432 10

   To a narrower format: round to nearest, ties to even; e8m0, whose one significand 1 is
   odd, rounds ties up. What lies beyond the largest value after rounding, infinity too,
     VQ_SATURATE      becomes the largest; in e8m0 a zero becomes 2^-127; in ue4m3 and the
                      unsigned integers what is negative becomes 0
     VQ_NONFINITE     becomes infinity where the format has one, else NaN where it has that,
                      else the largest; in e8m0 a zero, in ue4m3 a negative is NaN
   NaN becomes the format's NaN (e4m3fn, e5m2, ue4m3 0x7f; fnuz 0x80; e8m0 0xff), the largest
   of fp6 and fp4, 0 in integers. A negative is NaN in e8m0.

   The scale maximum of e4m3fnuz: the format reaches 240, vLLM scales to 224, which makes the
   codes of gfx942 those of e4m3fn scaled to 448, and 448 is for e4m3fn alone. The number is
   code_max in the key; vq_fp8_max() is the one function that knows all three.

>>numbers           the contract

   Same bits everywhere. The reference, HIP and CUDA write the same bytes for every input.
   It is built from integers and f32 add, sub, mul, fma, div, sqrt, each rounded to nearest
   even, subnormals kept; an op sets the control word it needs and gives back the caller's.
   A NaN in an f32, f16 or bf16 result is any quiet NaN.
   Fused is unfused: a fused op equals its parts run one after another, byte for byte.
   A row's result depends on that row alone, unless its key's scale spans rows.
   amax skips NaN; an infinity counts as the largest finite value of the type quantized.
   vq_init() computes a few sums whose answers are known and refuses a build that gets them
   wrong. fast-math does not compile.

>>errors

   Every call returns a vq_status; VQ_OK is 0; the code says who can act. With call.report
   set, the report says which argument, which guard, what was found and what was needed.
   Arguments are checked before the first write: after anything but VQ_DEVICE_FAILED the
   outputs are as before. An extent of 0 is VQ_OK and writes nothing.
   A context is immutable but for its memory counters: use it from any thread. desc.log hears
   what vq_init() took and skipped, desc.trace every op. vq_plan() and vq_run() neither
   allocate, format text nor read the environment when they succeed.
   Outputs may not overlap inputs or each other unless the op's block says so. Pointers need
   no alignment; aligned ones are faster.

>>backends

   vq_init() tries HIP, then CUDA, then settles for the CPU; desc.backend names one. A kernel
   library is a linked object, else desc.library, else libvq_hip.so / libvq_cuda.so on the
   loader's path. Each must carry VQ_ABI_VERSION, find its device, know its architecture and
   pass its self-test; one that does not is a line in the log, and an error only where it was
   asked for by name. A loaded library is never unloaded.
   Environment: VQ_BACKEND (hip, cuda, cpu) where desc.backend is VQ_ANY, VQ_KERNELS (a path)
   where desc.library is NULL, VQ_IMPL (an implementation) where neither the context's nor the
   call's policy names one. No variable changes a number.
   Candidates are tried in order: native, portable GPU kernel, emulation, reference.

>>op-index          patched by `make docs`
VQ_GENERATED op-index
VQ_GENERATED op-index
*/

#ifndef VQ_H_INCLUDED
#define VQ_H_INCLUDED

#include <stddef.h>
#include <stdint.h>
#include <string.h>   /* memcpy, for bit casts */

/* ===========================================================================
   >>config
   =========================================================================== */

#define VQ_VERSION      100   /* 0.1.0: major*10000 + minor*100 + patch */
#define VQ_ABI_VERSION  1     /* raised when vq_kernels, a key or an args struct changes */

#if defined(__GNUC__)
#define VQ__UNUSED __attribute__((unused))
#else
#define VQ__UNUSED
#endif

#ifdef VQ_STATIC
#define VQ_API static VQ__UNUSED
#endif
#ifndef VQ_API
#define VQ_API extern
#endif

#if defined(__GNUC__) && __GNUC__ >= 11 && !defined(__clang__)
#define VQ__NO_ACCESS(arg) __attribute__((access(none, arg)))
#else
#define VQ__NO_ACCESS(arg)
#endif

#if defined(__CUDACC__) || defined(__HIP__)
#define VQ_HD static __host__ __device__ inline   /* one source on CPU and GPU */
#else
#define VQ_HD static inline VQ__UNUSED
#endif

/* A struct of zeros, which is how every desc and args starts: C++ compilers warn of {0}. */
#ifdef __cplusplus
#define VQ_ZERO {}
#else
#define VQ_ZERO {0}
#endif

#if defined(__INTELLISENSE__) || defined(__JETBRAINS_IDE__) || defined(__CLANGD__)
#define VQ_IMPLEMENTATION                          /* or the editor greys out the rest */
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ===========================================================================
   >>types
   =========================================================================== */

/* One list makes the enum and vq_status_str().   X(ID, text) */
#define VQ_STATUSES(X) \
    X(OK,            "ok") \
    X(BAD_ARG,       "the caller passed something this call cannot mean") \
    X(UNSUPPORTED,   "the machine cannot do this; the report says what is missing") \
    X(OUT_OF_MEMORY, "memory or workspace is too small") \
    X(DEVICE_FAILED, "the device runtime failed; outputs are undefined")

typedef enum vq_status {
#define X(ID, text) VQ_##ID,
    VQ_STATUSES(X)
#undef X
    VQ_STATUS_COUNT
} vq_status;

/* One encoding, one value; the texts are ml_dtypes' but for the IEEE types.   X(ID, text, bits) */
#define VQ_DTYPES(X) \
    X(NONE,      "none",            0) \
    X(F32,       "f32",             32) \
    X(F16,       "f16",             16) \
    X(BF16,      "bf16",            16) \
    X(E4M3FN,    "float8_e4m3fn",   8) \
    X(E4M3FNUZ,  "float8_e4m3fnuz", 8) \
    X(E5M2,      "float8_e5m2",     8) \
    X(E5M2FNUZ,  "float8_e5m2fnuz", 8) \
    X(E8M0,      "float8_e8m0fnu",  8) \
    X(UE4M3,     "ue4m3",           8) \
    X(E2M3,      "float6_e2m3fn",   6) \
    X(E3M2,      "float6_e3m2fn",   6) \
    X(E2M1,      "float4_e2m1fn",   4) \
    X(INT8,      "int8",            8) \
    X(UINT8,     "uint8",           8) \
    X(INT4,      "int4",            4) \
    X(UINT4,     "uint4",           4)

typedef enum vq_dtype {
#define X(ID, text, bits) VQ_##ID,
    VQ_DTYPES(X)
#undef X
    VQ_DTYPE_COUNT
} vq_dtype;

/* What becomes of a value beyond the format's largest: see >>formats. */
typedef enum vq_overflow { VQ_SATURATE, VQ_NONFINITE, VQ_OVERFLOW_COUNT } vq_overflow;

typedef enum vq_where { VQ_HOST, VQ_DEVICE, VQ_MANAGED, VQ_WHERE_COUNT } vq_where;

/* Where a tensor's elements lie, for what strides cannot say; formulas in >>tensors. */
#define VQ_LAYOUTS(X) \
    X(STRIDED,      "strided") \
    X(PACKED_UE8M0, "packed_ue8m0") \
    X(SWIZZLE_128X4, "128x4") \
    X(SWIZZLE_8X4,  "8x4") \
    X(SWIZZLE_CDNA4, "cdna4")

typedef enum vq_layout {
#define X(ID, text) VQ_##ID,
    VQ_LAYOUTS(X)
#undef X
    VQ_LAYOUT_COUNT
} vq_layout;

/* How vq_scale_for() lays scales out: the first three are strides of a VQ_STRIDED tensor.
   X(ID, text) */
#define VQ_ORDERS(X) \
    X(ROWS,        "rows") \
    X(COLUMNS,     "columns") \
    X(COLUMNS_TMA, "columns_tma") \
    X(WORDS_UE8M0, "packed_ue8m0") \
    X(TILES_128X4, "128x4") \
    X(TILES_8X4,   "8x4") \
    X(TILES_CDNA4, "cdna4")

typedef enum vq_order {
#define X(ID, text) VQ_##ID,
    VQ_ORDERS(X)
#undef X
    VQ_ORDER_COUNT
} vq_order;

/* Passed by value; owns nothing. See >>tensors for what the strides of packed types and of
   layouts count. */
typedef struct vq_tensor {
    void     *data;
    vq_dtype  dtype;
    vq_where  where;
    vq_layout layout;
    int       rank;
    int64_t   shape[4], stride[4];
} vq_tensor;

/* What a guard says when it refuses; those of an implementation stand in the order they are
   asked. `kind` tells how found and needed read: n numbers, s a name (vq_report.name holds
   what was found), c capability bits, and, with `needed` a mask of 1 << value, t types,
   w places, l layouts, r scale rules, d code rules, g groupings.
   X(ID, status, kind, "argument ...") */
#define VQ_GUARDS(X) \
    X(NONE,      OK,            0,   "runs") \
    X(PRESENT,   BAD_ARG,       0,   "is missing") \
    X(NAME,      BAD_ARG,       's', "is not a name known here") \
    X(KEYTEXT,   BAD_ARG,       'n', "cannot be read from this character on") \
    X(KEY,       BAD_ARG,       'n', "contradicts the rest of the key") \
    X(TYPE,      BAD_ARG,       't', "has a type that cannot stand here") \
    X(VALUE,     BAD_ARG,       'n', "has a value that cannot stand here") \
    X(LAYOUT,    BAD_ARG,       'l', "has a layout that cannot stand here") \
    X(RANK,      BAD_ARG,       'n', "has a rank that cannot stand here") \
    X(SHAPE,     BAD_ARG,       'n', "has an extent that does not fit the others") \
    X(SIZE,      BAD_ARG,       'n', "has a size that cannot be") \
    X(STRIDE,    BAD_ARG,       'n', "has a stride that cannot stand here") \
    X(AMBIGUOUS, BAD_ARG,       'n', "can be read in two ways; give a key or two extents") \
    X(OVERLAP,   BAD_ARG,       0,   "overlaps another argument") \
    X(CURRENT,   BAD_ARG,       'n', "is not the device that is current in this thread") \
    X(PATTERN,   UNSUPPORTED,   'n', "is not served by this implementation") \
    X(KERNEL,    UNSUPPORTED,   0,   "is not in a loaded kernel library") \
    X(CAPS,      UNSUPPORTED,   'c', "lacks an instruction") \
    X(PLACE,     UNSUPPORTED,   'w', "lives where this implementation cannot reach it") \
    X(POLICY,    UNSUPPORTED,   0,   "is forbidden by the policy") \
    X(WORKSPACE, OUT_OF_MEMORY, 'n', "is too small, bytes") \
    X(PLANNING,  UNSUPPORTED,   0,   "was only assumed (desc.assume); nothing can run") \
    X(ARCH,      UNSUPPORTED,   's', "is an architecture this version does not know") \
    X(BACKEND,   UNSUPPORTED,   's', "could not be started; desc.log heard why") \
    X(SELFTEST,  UNSUPPORTED,   'n', "computes wrongly: built with flags that change results?") \
    X(ALLOC,     OUT_OF_MEMORY, 'n', "could not be allocated, bytes") \
    X(LAUNCH,    DEVICE_FAILED, 'n', "failed with this error of the device runtime")

typedef enum vq_guard {
#define X(ID, status, kind, text) VQ_GUARD_##ID,
    VQ_GUARDS(X)
#undef X
    VQ_GUARD_COUNT
} vq_guard;

/* Why not. Also one row of vq_explain(): then `impl` is whom it is about. */
typedef struct vq_report {
    const char *op, *impl, *arg;      /* "quant", "gpu", "x"; may be NULL */
    vq_status   status;
    vq_guard    guard;
    int64_t     found, needed;
    int64_t     nearest;              /* the nearest value that would pass; needed, mostly */
    uint32_t    flags;                /* VQ_ROW_* of the implementation */
    int64_t     bytes_read, bytes_written, workspace_bytes;    /* of the call: vq_explain() */
    char        kind;                 /* how found and needed read: see VQ_GUARDS */
    char        name[63];             /* what was found, where it is a name */
    char        text[256];            /* all of it, in one line */
} vq_report;

#define VQ_ROW_EMULATED         1u    /* computes in a wider format than it is named for */
#define VQ_ROW_BATCH_INVARIANT  2u    /* a row's result depends on that row alone */
#define VQ_ROW_BIT_EXACT        4u    /* equals the reference byte for byte */
#define VQ_ROW_UNPROVEN         8u    /* never ran on hardware it is for */

#define VQ_FORBID_EMULATED      1u
#define VQ_FORBID_REFERENCE     2u    /* no fallback to the CPU reference */
#define VQ_FORBID_INEXACT       4u
#define VQ_FORBID_UNPROVEN      8u

typedef struct vq_policy {
    const char *only;                 /* one implementation by name, or NULL */
    uint32_t    forbid;               /* VQ_FORBID_* */
} vq_policy;

/* First member of every args struct; zero is a good value for all of it. (No public struct
   begins with an enum: C++ could not initialise it from a plain {0}.) */
typedef struct vq_call {
    void      *stream;                /* hipStream_t or cudaStream_t */
    void      *workspace;
    size_t     workspace_bytes;
    vq_policy  policy;                /* on top of the context's */
    vq_report *report;                /* the caller's; written only when the call fails */
} vq_call;

VQ_API const char *vq_status_str(vq_status s);
VQ_API const char *vq_guard_str(vq_guard g);           /* "SHAPE" */
VQ_API const char *vq_dtype_str(vq_dtype t);
VQ_API const char *vq_layout_str(vq_layout l);
VQ_API const char *vq_order_str(vq_order o);
VQ_API int         vq_dtype_bits(vq_dtype t);
VQ_API vq_dtype    vq_dtype_of(const char *text);      /* VQ_NONE: no such name */
VQ_API int         vq_order_of(const char *text);      /* -1: no such name */

/* ===========================================================================
   >>convert        between formats; integer arithmetic only, so that no rounding
                    mode, contraction or fast-math flag can change a code
   =========================================================================== */

VQ_HD uint32_t vq__f32_bits(float x)    { uint32_t u; memcpy(&u, &x, 4); return u; }
VQ_HD float    vq__f32_make(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

/* |x| as f32 bits -> exponent and mantissa of a format with mbits of mantissa, as one number
   that orders as the values do and runs on beyond the format's largest code. */
VQ_HD uint32_t vq__code_of_mag(uint32_t mag, uint32_t mbits, uint32_t bias)
{
    uint32_t e = mag >> 23, low = 128u - bias;               /* exponent of 2^(1 - bias) */
    uint32_t drop = 23u - mbits, frac;
    if (e >= low) {
        mag += (1u << (drop - 1u)) - 1u + (mag >> drop & 1u);          /* ties to even */
        return (mag >> drop) - ((127u - bias) << mbits);
    }
    frac = (mag & 0x007fffffu) | (e ? 0x00800000u : 0u);
    drop += low - (e ? e : 1u);                              /* bits below one subnormal step */
    if (drop > 24u) return 0;                                /* under half a step */
    return (frac + (1u << (drop - 1u)) - 1u + (frac >> drop & 1u)) >> drop;
}

VQ_HD uint32_t vq__mag_of_code(uint32_t code, uint32_t mbits, uint32_t bias)
{
    uint32_t e = code >> mbits, m = code & ((1u << mbits) - 1u);
    if (e) return (e + 127u - bias) << 23 | m << (23u - mbits);
    if (!m) return 0;
    for (e = 128u - bias; !(m >> mbits); e--) m <<= 1;       /* normalise */
    return e << 23 | (m << (23u - mbits) & 0x007fffffu);
}

/* sign: the bit of the sign. beyond: what VQ_NONFINITE makes of too large a value. */
VQ_HD uint32_t vq__mini_from_f32(float x, vq_overflow o, uint32_t mbits, uint32_t bias,
                                 uint32_t sign, uint32_t largest, uint32_t beyond, uint32_t nan)
{
    uint32_t u = vq__f32_bits(x), mag = u & 0x7fffffffu, s = u >> 31 ? sign : 0u, code;
    if (mag > 0x7f800000u) return nan;
    code = vq__code_of_mag(mag, mbits, bias);
    if (code <= largest) return s | code;
    if (o == VQ_SATURATE) return s | largest;
    return beyond == nan ? nan : s | beyond;
}

VQ_HD uint16_t vq_f16_from_f32(float x, vq_overflow o)
{
    return (uint16_t)vq__mini_from_f32(x, o, 10, 15, 0x8000, 0x7bff, 0x7c00, 0x7e00);
}

VQ_HD uint16_t vq_bf16_from_f32(float x, vq_overflow o)
{
    return (uint16_t)vq__mini_from_f32(x, o, 7, 127, 0x8000, 0x7f7f, 0x7f80, 0x7fc0);
}

VQ_HD uint8_t vq_e4m3fn_from_f32(float x, vq_overflow o)
{
    return (uint8_t)vq__mini_from_f32(x, o, 3, 7, 0x80, 0x7e, 0x7f, 0x7f);
}

VQ_HD uint8_t vq_e4m3fnuz_from_f32(float x, vq_overflow o)
{
    uint32_t c = vq__mini_from_f32(x, o, 3, 8, 0x100, 0x7f, 0x80, 0x80);
    return (uint8_t)(c > 0x100u ? c - 0x80u : c & 0xffu);    /* no -0: that is NaN */
}

VQ_HD uint8_t vq_e5m2_from_f32(float x, vq_overflow o)
{
    return (uint8_t)vq__mini_from_f32(x, o, 2, 15, 0x80, 0x7b, 0x7c, 0x7f);
}

VQ_HD uint8_t vq_e5m2fnuz_from_f32(float x, vq_overflow o)
{
    uint32_t c = vq__mini_from_f32(x, o, 2, 16, 0x100, 0x7f, 0x80, 0x80);
    return (uint8_t)(c > 0x100u ? c - 0x80u : c & 0xffu);
}

VQ_HD uint8_t vq_e2m3_from_f32(float x, vq_overflow o)
{
    (void)o;                                                 /* no infinity, no NaN */
    return (uint8_t)vq__mini_from_f32(x, VQ_SATURATE, 3, 1, 0x20, 0x1f, 0x1f, 0x1f);
}

VQ_HD uint8_t vq_e3m2_from_f32(float x, vq_overflow o)
{
    (void)o;                                                 /* no infinity, no NaN */
    return (uint8_t)vq__mini_from_f32(x, VQ_SATURATE, 2, 3, 0x20, 0x1f, 0x1f, 0x1f);
}

VQ_HD uint8_t vq_e2m1_from_f32(float x, vq_overflow o)
{
    (void)o;                                                 /* no infinity, no NaN */
    return (uint8_t)vq__mini_from_f32(x, VQ_SATURATE, 1, 1, 0x8, 0x7, 0x7, 0x7);
}

VQ_HD uint8_t vq_ue4m3_from_f32(float x, vq_overflow o)
{
    uint32_t u = vq__f32_bits(x);
    if (u > 0x80000000u && u <= 0xff800000u) return o == VQ_SATURATE ? 0u : 0x7fu;   /* < 0 */
    return vq_e4m3fn_from_f32(vq__f32_make(u & 0x7fffffffu), o);
}

VQ_HD uint8_t vq_e8m0_from_f32(float x, vq_overflow o)
{
    uint32_t u = vq__f32_bits(x), mag = u & 0x7fffffffu, e = mag >> 23;
    if (mag > 0x7f800000u || (u >> 31 && mag)) return 0xffu;             /* NaN, negative */
    if (!mag) return o == VQ_SATURATE ? 0u : 0xffu;
    if (e == 0) return mag >= 0x00600000u;                   /* 2^-127 * 1.5 rounds to 2^-126 */
    e += mag >> 22 & 1u;                                     /* ties up */
    if (e > 254u) return o == VQ_SATURATE ? 0xfeu : 0xffu;
    return (uint8_t)e;
}

/* To a whole number in lo..hi, ties to even. An integer has no infinity to become. */
VQ_HD int32_t vq__int_from_f32(float x, int32_t lo, int32_t hi)
{
    uint32_t u = vq__f32_bits(x), mag = u & 0x7fffffffu, drop = 150u - (mag >> 23), frac;
    int32_t v;
    if (mag > 0x7f800000u) return 0;                         /* NaN */
    if (mag >= 0x4b000000u) return u >> 31 ? lo : hi;        /* 2^23 and more */
    if (drop > 24u) return 0;                                /* under a half */
    frac = (mag & 0x007fffffu) | 0x00800000u;
    v = (int32_t)((frac + (1u << (drop - 1u)) - 1u + (frac >> drop & 1u)) >> drop);
    if (u >> 31) v = -v;
    return v < lo ? lo : v > hi ? hi : v;
}

VQ_HD float vq_f32_from_bf16(uint16_t c) { return vq__f32_make((uint32_t)c << 16); }

VQ_HD float vq_f32_from_f16(uint16_t c)
{
    uint32_t sign = (uint32_t)(c & 0x8000u) << 16, m = c & 0x7fffu;
    if (m >= 0x7c00u) return vq__f32_make(sign | 0x7f800000u | (m & 0x3ffu) << 13);
    return vq__f32_make(sign | vq__mag_of_code(m, 10, 15));
}

VQ_HD float vq_f32_from_e4m3fn(uint8_t c)
{
    uint32_t sign = (uint32_t)(c & 0x80u) << 24, m = c & 0x7fu;
    return vq__f32_make(sign | (m == 0x7fu ? 0x7fc00000u : vq__mag_of_code(m, 3, 7)));
}

VQ_HD float vq_f32_from_e4m3fnuz(uint8_t c)
{
    uint32_t sign = (uint32_t)(c & 0x80u) << 24;
    return vq__f32_make(c == 0x80u ? 0x7fc00000u : sign | vq__mag_of_code(c & 0x7fu, 3, 8));
}

VQ_HD float vq_f32_from_e5m2(uint8_t c)
{
    uint32_t sign = (uint32_t)(c & 0x80u) << 24, m = c & 0x7fu;
    if (m >= 0x7cu) return vq__f32_make(sign | (m == 0x7cu ? 0x7f800000u : 0x7fc00000u));
    return vq__f32_make(sign | vq__mag_of_code(m, 2, 15));
}

VQ_HD float vq_f32_from_e5m2fnuz(uint8_t c)
{
    uint32_t sign = (uint32_t)(c & 0x80u) << 24;
    return vq__f32_make(c == 0x80u ? 0x7fc00000u : sign | vq__mag_of_code(c & 0x7fu, 2, 16));
}

VQ_HD float vq_f32_from_e2m3(uint8_t c)
{
    return vq__f32_make((uint32_t)(c & 0x20u) << 26 | vq__mag_of_code(c & 0x1fu, 3, 1));
}

VQ_HD float vq_f32_from_e3m2(uint8_t c)
{
    return vq__f32_make((uint32_t)(c & 0x20u) << 26 | vq__mag_of_code(c & 0x1fu, 2, 3));
}

VQ_HD float vq_f32_from_e2m1(uint8_t c)
{
    return vq__f32_make((uint32_t)(c & 0x8u) << 28 | vq__mag_of_code(c & 0x7u, 1, 1));
}

VQ_HD float vq_f32_from_ue4m3(uint8_t c)
{
    return vq__f32_make(c >= 0x7fu ? 0x7fc00000u : vq__mag_of_code(c, 3, 7));
}

VQ_HD float vq_f32_from_e8m0(uint8_t c)                      /* 0x00 is a subnormal f32 */
{
    return vq__f32_make(c == 0xffu ? 0x7fc00000u : c ? (uint32_t)c << 23 : 0x00400000u);
}

/* The code of x in any format, right-aligned: for f32 its bits, quieted if NaN. */
VQ_HD uint32_t vq_encode(vq_dtype t, float x, vq_overflow o)
{
    uint32_t u;
    switch (t) {
    case VQ_F32:      u = vq__f32_bits(x);
                      return (u & 0x7fffffffu) > 0x7f800000u ? u | 0x00400000u : u;
    case VQ_F16:      return vq_f16_from_f32(x, o);
    case VQ_BF16:     return vq_bf16_from_f32(x, o);
    case VQ_E4M3FN:   return vq_e4m3fn_from_f32(x, o);
    case VQ_E4M3FNUZ: return vq_e4m3fnuz_from_f32(x, o);
    case VQ_E5M2:     return vq_e5m2_from_f32(x, o);
    case VQ_E5M2FNUZ: return vq_e5m2fnuz_from_f32(x, o);
    case VQ_E8M0:     return vq_e8m0_from_f32(x, o);
    case VQ_UE4M3:    return vq_ue4m3_from_f32(x, o);
    case VQ_E2M3:     return vq_e2m3_from_f32(x, o);
    case VQ_E3M2:     return vq_e3m2_from_f32(x, o);
    case VQ_E2M1:     return vq_e2m1_from_f32(x, o);
    case VQ_INT8:     return (uint32_t)vq__int_from_f32(x, -128, 127) & 0xffu;
    case VQ_UINT8:    return (uint32_t)vq__int_from_f32(x, 0, 255);
    case VQ_INT4:     return (uint32_t)vq__int_from_f32(x, -8, 7) & 0xfu;
    case VQ_UINT4:    return (uint32_t)vq__int_from_f32(x, 0, 15);
    default:          return 0;
    }
}

/* The value of a code; bits above the format's are ignored. Exact: every format is within f32. */
VQ_HD float vq_decode(vq_dtype t, uint32_t code)
{
    switch (t) {
    case VQ_F32:      return vq__f32_make(code);
    case VQ_F16:      return vq_f32_from_f16((uint16_t)code);
    case VQ_BF16:     return vq_f32_from_bf16((uint16_t)code);
    case VQ_E4M3FN:   return vq_f32_from_e4m3fn((uint8_t)code);
    case VQ_E4M3FNUZ: return vq_f32_from_e4m3fnuz((uint8_t)code);
    case VQ_E5M2:     return vq_f32_from_e5m2((uint8_t)code);
    case VQ_E5M2FNUZ: return vq_f32_from_e5m2fnuz((uint8_t)code);
    case VQ_E8M0:     return vq_f32_from_e8m0((uint8_t)code);
    case VQ_UE4M3:    return vq_f32_from_ue4m3((uint8_t)code);
    case VQ_E2M3:     return vq_f32_from_e2m3((uint8_t)code);
    case VQ_E3M2:     return vq_f32_from_e3m2((uint8_t)code);
    case VQ_E2M1:     return vq_f32_from_e2m1((uint8_t)code);
    case VQ_INT8:     return (float)(int32_t)((code & 0xffu) ^ 0x80u) - 128.0f;
    case VQ_UINT8:    return (float)(int32_t)(code & 0xffu);
    case VQ_INT4:     return (float)(int32_t)((code & 0xfu) ^ 0x8u) - 8.0f;
    case VQ_UINT4:    return (float)(int32_t)(code & 0xfu);
    default:          return 0.0f;
    }
}

/* Code i of a row of 4-, 6-, 8-, 16- or 32-bit codes, packed as >>formats draws them. The row
   needs no alignment. vq_code_put() leaves the other codes in a shared byte alone. */
VQ_HD uint32_t vq_code_get(const void *row, int bits, int64_t i)
{
    const uint8_t *p = (const uint8_t *)row + i * bits / 8;
    uint32_t at = (uint32_t)(i * bits % 8), v;
    uint16_t h;
    if (bits == 8) return *p;
    if (bits == 16) { memcpy(&h, p, 2); return h; }
    if (bits == 32) { memcpy(&v, p, 4); return v; }
    v = p[0];
    if (at + (uint32_t)bits > 8u) v |= (uint32_t)p[1] << 8;
    return v >> at & ((1u << bits) - 1u);
}

VQ_HD void vq_code_put(void *row, int bits, int64_t i, uint32_t code)
{
    uint8_t *p = (uint8_t *)row + i * bits / 8;
    uint32_t at = (uint32_t)(i * bits % 8), mask;
    uint16_t h = (uint16_t)code;
    if (bits == 8)  { *p = (uint8_t)code; return; }
    if (bits == 16) { memcpy(p, &h, 2); return; }
    if (bits == 32) { memcpy(p, &code, 4); return; }
    mask = (1u << bits) - 1u;
    code &= mask;
    p[0] = (uint8_t)((p[0] & ~(mask << at)) | code << at);
    if (at + (uint32_t)bits > 8u)
        p[1] = (uint8_t)((p[1] & ~(mask >> (8u - at))) | code >> (8u - at));
}

/* One fp8 code in the other bias, fn <-> fnuz: the same byte is half the value in fnuz, so the
   scale doubles on the way there and halves on the way back (vq_fnuz_normalize). -0, which
   fnuz lacks, becomes 0; NaN becomes NaN; what lies beyond `to` becomes what `o` says.
   from: VQ_E4M3FN, VQ_E4M3FNUZ, VQ_E5M2 or VQ_E5M2FNUZ. */
VQ_HD uint8_t vq_fnuz_code(vq_dtype from, uint8_t c, vq_overflow o)
{
    uint32_t m = c & 0x7fu, s = c & 0x80u;
    switch (from) {
    case VQ_E4M3FN:
        return (uint8_t)(m == 0x7fu ? 0x80u : m ? c : 0u);
    case VQ_E4M3FNUZ:
        if (c == 0x80u) return 0x7fu;
        return (uint8_t)(m < 0x7fu ? c : o == VQ_SATURATE ? s | 0x7eu : 0x7fu);
    case VQ_E5M2:
        if (m == 0x7cu) return (uint8_t)(o == VQ_SATURATE ? s | 0x7fu : 0x80u);
        return (uint8_t)(m > 0x7cu ? 0x80u : m ? c : 0u);
    case VQ_E5M2FNUZ:
        if (c == 0x80u) return 0x7fu;
        return (uint8_t)(m < 0x7cu ? c : o == VQ_SATURATE ? s | 0x7bu : s | 0x7cu);
    default:
        return 0;
    }
}

/* ===========================================================================
   >>tensors        views: rank 1 to 4, any strides of 1 and more
   ===========================================================================

   Strides count elements for types of 8 bits and up. Packed types (4 and 6 bits) have
   stride[rank-1] == 1, a row starts on a byte, and the other strides count bytes.

   Layouts of scales. Rows and columns are the last two extents; stride[rank-1] is 1 but in
   packed_ue8m0; a third, outer stride counts bytes. r, c row and column; / rounds down.

     packed_ue8m0   e8m0, four columns a little-endian word, words column-major:
                      (c/4)*stride[1] + r*4 + c%4          stride[0] == 4, stride[1] bytes
                      from one word to the next column's: 4*ceil4(rows) for TMA
     128x4          8 bits; rows to 128, columns to 4; P = stride[0] = ceil4(columns)
                      ((r/128)*(P/4) + c/4)*512 + (r%32)*16 + (r%128)/32*4 + c%4
     8x4            8 bits; rows to 8, columns to 4; P = stride[0] = ceil4(columns)
                      ((r/8)*(P/4) + c/4)*32 + (r%8)*4 + c%4
     cdna4          8 bits; rows to 32, columns to 8; P = stride[0] = ceil8(columns)
                      (r/32)*P*32 + (c/8)*256 + (c%4)*64 + (r%16)*4 + (c%8)/4*2 + (r%32)/16

   Padding is written, and is 0: the rows and columns a tile is filled up to; in packed_ue8m0
   the bytes of columns that a last word lacks, and rows up to ceil4(rows) where stride[1]
   leaves room for them. Gaps of a strided view are never touched.

   Source   DeepGEMM (packed); PTX ISA, tcgen05 scale factor layout, and vLLM nvfp4 (128x4);
            TensorRT-LLM quantization.cuh get_sf_out_offset_8x4; Triton cdna4_scale.py */

/* The element offset of (row, col) from the first; for packed types use vq_code_get() on a row. */
VQ_HD int64_t vq_layout_index(vq_layout l, int64_t row_stride, int64_t col_stride, int64_t r,
                              int64_t c)
{
    int64_t p = row_stride;
    switch (l) {
    case VQ_PACKED_UE8M0:
        return c / 4 * col_stride + r * row_stride + c % 4;
    case VQ_SWIZZLE_128X4:
        return (r / 128 * (p / 4) + c / 4) * 512 + r % 32 * 16 + r % 128 / 32 * 4 + c % 4;
    case VQ_SWIZZLE_8X4:
        return (r / 8 * (p / 4) + c / 4) * 32 + r % 8 * 4 + c % 4;
    case VQ_SWIZZLE_CDNA4:
        return r / 32 * p * 32 + c / 8 * 256 + c % 4 * 64 + r % 16 * 4 + c % 8 / 4 * 2
             + r % 32 / 16;
    default:
        return r * row_stride + c * col_stride;
    }
}

/* A packed, row-major [rows, cols]. `const` so that inputs need no cast; the data are not
   looked at, which gcc is told lest it warn of outputs not yet written. */
VQ__NO_ACCESS(1)
VQ_API vq_tensor vq_tensor_2d(const void *data, vq_dtype dtype, int64_t rows, int64_t cols,
                              vq_where where);
VQ__NO_ACCESS(1)
VQ_API vq_tensor vq_tensor_nd(const void *data, vq_dtype dtype, int rank, const int64_t *shape,
                              vq_where where);

/* [rows, cols] of scales in an order; VQ_WORDS_UE8M0 is TMA-aligned. */
VQ__NO_ACCESS(5)
VQ_API vq_tensor vq_tensor_ordered(vq_dtype dtype, int64_t rows, int64_t cols, vq_order order,
                                   const void *data, vq_where where);

VQ_API int64_t   vq_row_bytes(vq_dtype dtype, int64_t cols);    /* of a row without gaps */

/* From data to the end of the last element, padding that a layout defines included; what to
   allocate. -1: not a tensor, vq_tensor_check() says why. */
VQ_API int64_t   vq_tensor_bytes(vq_tensor t);

/* vq_tensor_check -- is t a tensor at all

   Errors     BAD_ARG: PRESENT (rank 0), TYPE, RANK, LAYOUT, SIZE (negative, or its bytes
              overflow an int64), STRIDE (0, negative, of a layout, or short of its row). */
VQ_API vq_status vq_tensor_check(const vq_tensor *t, const char *name, vq_report *report_or_null);

#ifdef VQ_WITH_DLPACK
/* vq_tensor_from_dlpack, vq_tensor_to_dlpack -- views of one another, nothing is copied

     DLPack's types  f32 f16 bf16 int8 uint8, and the float8, float6 and float4 of DLPack 1.1
                     where its header has them
     shape, strides  4 int64_t of the caller each, which `to` fills and points at

   Errors     BAD_ARG: TYPE (lanes, or a type the other side lacks), RANK above 4, LAYOUT
              other than strided, STRIDE of a packed type. */
VQ_API vq_status vq_tensor_from_dlpack(const DLTensor *d, vq_tensor *out, vq_report *report_or_null);
VQ_API vq_status vq_tensor_to_dlpack(const vq_tensor *t, int32_t device_id, int64_t *shape,
                                     int64_t *strides, DLTensor *out, vq_report *report_or_null);
#endif

/* ===========================================================================
   >>keys           how a tensor is quantized: equal key means equal bytes
   ===========================================================================

   a is the amax of a group, M is code_max, emax floor(log2(M)), RN one rounding to f32.

   text of a key:  elem/scale/RxC/dyn/<scale rule>M/<code rule>[/option]...
                   elem/scale/RxC/static/maxM/<code rule>[/option]...
                   R x C is the group; -1 is the whole extent

     scale rules   amax.div     s = RN(a / M)
                   amax.inv     s = RN(a * RN(1 / M))
                   amax.recip   s = RN(1 / RN(M / a))
                   amax.floor   s = 2^(floor(log2 a) - emax)
                   amax.exp     s = 2^floor(log2 a), M does not count
                   amax.ceil    s = 2^(ceil(log2 a) - emax)
                   amax.rceil   s = 2^ceil(log2(a / M))
                   amax.trunc   s = 2^floor(log2(a / M))
                   amax.even    s = 2^(floor(log2(a rounded to the element's mantissa)) - emax)
                   range.div    s = RN((max - min) / (2M + 1)), asymmetric
     code rules    x.div.s      RN(x / s)
                   x.inv.s      RN(x * RN(1 / s))
                   x.inv0.s     the same, with 1 / 0 = 0
                   x.ratio      RN(x * RN(G / s)), G the second scale; 0 where s is 0
                   x.inv.amax   RN(x * RN(M / a)); 0 where a is 0
                   x.inv.amax.away   the same, then halves away from zero
                   x.div.s.trunc     RN(x / s), then toward zero
     options, in this order, absent when at their default
                   asym         a zero point, which min and max include
                   notail       the last group must be whole
                   arith=bf16   every step rounds to bf16 instead of f32
                   bound=amax | bound=scale      an upper bound is an argument
                   floor=amax:v | floor=raw:v | floor=scale:v
                                at least v: a; s before it is rounded to 2^k; s
                   scale2=mul | scale2=div       x ~ code * s * G, or code * s / G
                   nan=max      0 * inf and 0 / 0 of numbers become the largest code, as the
                                min and max of upstream make them; else they are NaN. A NaN in
                                x stays NaN under every key (>>formats).
                   overflow=nonfinite            codes beyond M become infinity or NaN */

/* X(ID, text) */
#define VQ_SCALE_RULES(X) \
    X(GIVEN, "max") \
    X(DIV,   "amax.div") \
    X(INV,   "amax.inv") \
    X(RECIP, "amax.recip") \
    X(FLOOR, "amax.floor") \
    X(EXP,   "amax.exp") \
    X(CEIL,  "amax.ceil") \
    X(RCEIL, "amax.rceil") \
    X(TRUNC, "amax.trunc") \
    X(EVEN,  "amax.even") \
    X(RANGE, "range.div")

typedef enum vq_scale_rule {
#define X(ID, text) VQ_SCALE_##ID,
    VQ_SCALE_RULES(X)
#undef X
    VQ_SCALE_RULE_COUNT
} vq_scale_rule;

/* X(ID, text) */
#define VQ_CODE_RULES(X) \
    X(DIV,       "x.div.s") \
    X(INV,       "x.inv.s") \
    X(INV0,      "x.inv0.s") \
    X(RATIO,     "x.ratio") \
    X(AMAX,      "x.inv.amax") \
    X(AMAX_AWAY, "x.inv.amax.away") \
    X(DIV_TRUNC, "x.div.s.trunc")

typedef enum vq_code_rule {
#define X(ID, text) VQ_CODE_##ID,
    VQ_CODE_RULES(X)
#undef X
    VQ_CODE_RULE_COUNT
} vq_code_rule;

typedef enum vq_bound_kind  { VQ_BOUND_NONE, VQ_BOUND_AMAX, VQ_BOUND_SCALE,
                              VQ_BOUND_COUNT } vq_bound_kind;
typedef enum vq_floor_kind  { VQ_FLOOR_NONE, VQ_FLOOR_AMAX, VQ_FLOOR_RAW, VQ_FLOOR_SCALE,
                              VQ_FLOOR_COUNT } vq_floor_kind;
typedef enum vq_scale2_kind { VQ_SCALE2_NONE, VQ_SCALE2_MUL, VQ_SCALE2_DIV,
                              VQ_SCALE2_COUNT } vq_scale2_kind;
typedef enum vq_nan_rule    { VQ_NAN_KEEP, VQ_NAN_MAX, VQ_NAN_COUNT } vq_nan_rule;

#define VQ_KEY_STATIC      1u         /* the scale is an input */
#define VQ_KEY_ASYMMETRIC  2u
#define VQ_KEY_NO_TAIL     4u         /* the last group must be whole */

/* Sixteen four-byte members and no padding: compare keys with vq_key_equal(). */
typedef struct vq_key {
    float          code_max;          /* 448; fnuz: 224 as vLLM, or 240 */
    vq_dtype       elem;              /* of the codes */
    vq_dtype       scale_type;
    int32_t        group_rows, group_cols;   /* -1: the whole extent */
    uint32_t       flags;             /* VQ_KEY_* */
    vq_scale_rule  scale_rule;
    vq_code_rule   code_rule;
    vq_dtype       arith;             /* VQ_F32 or VQ_BF16 */
    vq_bound_kind  bound_kind;
    vq_floor_kind  floor_kind;
    float          floor_value;
    vq_scale2_kind scale2_kind;
    vq_nan_rule    nan_rule;
    vq_overflow    overflow;
    uint32_t       reserved;
} vq_key;

/* Named keys. The first name is the ID in lower case; `also` holds other names for the same
   key, first vLLM's own. A preset that follows an upstream formula follows it for finite input;
   one without an upstream name is the sane choice.   X(ID, "also", "text") */
#define VQ_KEYS(X) \
    X(FP8_STATIC, "kFp8StaticTensorSym fp8_per_tensor_static", \
      "float8_e4m3fn/f32/-1x-1/static/max448/x.inv.s") \
    X(FP8_TENSOR, "", \
      "float8_e4m3fn/f32/-1x-1/dyn/amax.div448/x.div.s/floor=scale:4.3596542e-6") \
    X(FP8_TOKEN, "kFp8DynamicTokenSym fp8_per_token", \
      "float8_e4m3fn/f32/1x-1/dyn/amax.div448/x.div.s/floor=scale:4.3596542e-6") \
    X(FP8_GROUP128, "vllm_triton_group128", \
      "float8_e4m3fn/f32/1x128/dyn/amax.inv448/x.div.s/floor=amax:1e-10") \
    X(FP8_GROUP64, "vllm_triton_group64", \
      "float8_e4m3fn/f32/1x64/dyn/amax.inv448/x.div.s/floor=amax:1e-10") \
    X(FP8_BLOCK128, "", \
      "float8_e4m3fn/f32/128x128/dyn/amax.div448/x.div.s/floor=scale:4.3596542e-6") \
    X(FP8_CHANNEL, "", \
      "float8_e4m3fn/f32/-1x1/dyn/amax.div448/x.div.s/floor=scale:4.3596542e-6") \
    X(MXFP8, "nvidia_mxfp8 vllm_cuda_mxfp8_experts", \
      "float8_e4m3fn/float8_e8m0fnu/1x32/dyn/amax.rceil448/x.div.s") \
    X(MXFP6_E3M2, "quark_mxfp6_e3m2", \
      "float6_e3m2fn/float8_e8m0fnu/1x32/dyn/amax.even28/x.div.s") \
    X(MXFP6_E2M3, "quark_mxfp6_e2m3", \
      "float6_e2m3fn/float8_e8m0fnu/1x32/dyn/amax.even7.5/x.div.s") \
    X(MXFP4, "kMxfp4Dynamic quark_mxfp4", \
      "float4_e2m1fn/float8_e8m0fnu/1x32/dyn/amax.even6/x.div.s") \
    X(NVFP4, "kNvfp4Dynamic kNvfp4Quant", \
      "float4_e2m1fn/ue4m3/1x16/dyn/amax.inv6/x.inv0.s/notail/scale2=div") \
    X(INT8_TENSOR, "", \
      "int8/f32/-1x-1/dyn/amax.div127/x.div.s/floor=scale:1.1920929e-7") \
    X(INT8_TOKEN, "kInt8DynamicTokenSym", \
      "int8/f32/1x-1/dyn/amax.div127/x.inv.amax") \
    X(INT8_GROUP128, "", \
      "int8/f32/1x128/dyn/amax.div127/x.div.s/floor=amax:1e-10") \
    X(INT8_TOKEN_AZP, "", \
      "int8/f32/1x-1/dyn/range.div255/x.inv.s/asym/floor=scale:1.1920929e-7") \
    X(FP8_DYNAMIC_TENSOR, "kFp8DynamicTensorSym fp8_per_tensor_dynamic", \
      "float8_e4m3fn/f32/-1x-1/dyn/amax.div448/x.inv.s/nan=max") \
    X(FP8_STATIC_TOKEN, "kFp8StaticTokenSym", \
      "float8_e4m3fn/f32/1x-1/static/max448/x.inv.s") \
    X(FP8_STATIC_CHANNEL, "kFp8StaticChannelSym", \
      "float8_e4m3fn/f32/-1x1/static/max448/x.inv.s") \
    X(FP8_STATIC_BLOCK128, "kFp8Static128BlockSym fp8_per_block_static", \
      "float8_e4m3fn/f32/128x128/static/max448/x.inv.s") \
    X(FP8_DYNAMIC_GROUP128, "kFp8Dynamic128Sym fp8_per_block_dynamic vllm_cpp_group128", \
      "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.div.s/notail/floor=amax:1e-10") \
    X(FP8_DYNAMIC_GROUP64, "kFp8Dynamic64Sym vllm_cpp_group64", \
      "float8_e4m3fn/f32/1x64/dyn/amax.div448/x.div.s/notail/floor=amax:1e-10") \
    X(NVFP4_STATIC, "kNvfp4Static", \
      "float4_e2m1fn/ue4m3/1x16/static/max6/x.inv0.s/notail/scale2=mul") \
    X(MXFP8_STATIC, "kMxfp8Static", \
      "float8_e4m3fn/float8_e8m0fnu/1x32/static/max448/x.div.s/notail") \
    X(MXFP8_DYNAMIC, "kMxfp8Dynamic vllm_torch_mxfp8", \
      "float8_e4m3fn/float8_e8m0fnu/1x32/dyn/amax.exp448/x.div.s/notail/floor=amax:1.1754944e-38") \
    X(MXFP4_STATIC, "kMxfp4Static", \
      "float4_e2m1fn/float8_e8m0fnu/1x32/static/max6/x.div.s/notail") \
    X(INT4_STATIC, "kInt4Static", \
      "int4/f16/1x-1/static/max7/x.div.s") \
    X(INT4_STATIC_GROUP32, "kInt4Static32", \
      "int4/f16/1x32/static/max7/x.div.s/notail") \
    X(INT4_STATIC_ASYM, "kInt4StaticAsym", \
      "uint4/f16/1x-1/static/max15/x.div.s/asym") \
    X(INT4_STATIC_GROUP32_ASYM, "kInt4Static32Asym", \
      "uint4/f16/1x32/static/max15/x.div.s/asym/notail") \
    X(INT8_STATIC, "kInt8Static", \
      "int8/f16/1x-1/static/max127/x.div.s") \
    X(INT8_STATIC_CHANNEL, "kInt8StaticChannelSym int8_per_channel_static", \
      "int8/f32/-1x1/static/max127/x.div.s") \
    X(INT8_STATIC_TENSOR, "vllm_int8_static", \
      "int8/f32/-1x-1/static/max127/x.div.s") \
    X(INT8_STATIC_TENSOR_AZP, "vllm_int8_static_azp", \
      "int8/f32/-1x-1/static/max127/x.inv.s/asym") \
    X(W4A8_GROUP128, "kInt4W4A8StaticGroup128Sym", \
      "int8/bf16/1x128/static/max127/x.div.s/notail") \
    X(W4A8_GROUP64, "kInt4W4A8StaticGroup64Sym", \
      "int8/bf16/1x64/static/max127/x.div.s/notail") \
    X(W4A8_GROUP32, "kInt4W4A8StaticGroup32Sym", \
      "int8/bf16/1x32/static/max127/x.div.s/notail") \
    X(W4A8_TOKEN, "kInt4W4A8StaticGroupSym", \
      "int8/bf16/1x-1/static/max127/x.div.s") \
    X(VLLM_CPP_GROUP128_UE8M0, "", \
      "float8_e4m3fn/f32/1x128/dyn/amax.rceil448/x.div.s/notail/floor=raw:1e-10") \
    X(VLLM_TRITON_GROUP128_UE8M0, "", \
      "float8_e4m3fn/f32/1x128/dyn/amax.rceil448/x.div.s/notail/floor=amax:1e-10") \
    X(VLLM_PACKED_UE8M0, "deepgemm_packed_ue8m0", \
      "float8_e4m3fn/float8_e8m0fnu/1x128/dyn/amax.rceil448/x.div.s/notail/floor=raw:1e-10") \
    X(VLLM_NATIVE_TOKEN, "", \
      "float8_e4m3fn/f32/1x-1/dyn/amax.inv448/x.inv.s/floor=scale:4.3596542e-6") \
    X(VLLM_NATIVE_GROUP128, "", \
      "float8_e4m3fn/f32/1x128/dyn/amax.inv448/x.div.s/floor=scale:4.3596542e-6") \
    X(VLLM_SILU_BLOCK128, "", \
      "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.div.s/notail/floor=scale:4.3596542e-6") \
    X(VLLM_MASKED_SILU_CUDA, "", \
      "float8_e4m3fn/f32/1x128/dyn/amax.inv448/x.inv.s/notail/arith=bf16/floor=amax:1.0004442e-10") \
    X(VLLM_SCALED_QUANTIZE_BLOCK128, "", \
      "float8_e4m3fn/f32/128x128/dyn/amax.recip448/x.inv.amax/notail/floor=amax:1e-12") \
    X(VLLM_INT8_GROUP128, "", \
      "int8/f32/1x128/dyn/amax.div127/x.div.s.trunc/notail/floor=amax:1e-10") \
    X(VLLM_INT8_TOKEN_TRITON, "", \
      "int8/f32/1x-1/dyn/amax.div127/x.inv.amax.away/floor=amax:1e-10") \
    X(VLLM_INT8_TOKEN_AZP, "", \
      "int8/f32/1x-1/dyn/range.div255/x.inv.s/asym") \
    X(VLLM_NVFP4_EMULATED, "", \
      "float4_e2m1fn/ue4m3/1x16/dyn/amax.inv6/x.ratio/notail/scale2=div") \
    X(AITER_GROUP128, "", \
      "float8_e4m3fn/f32/1x128/dyn/amax.inv448/x.inv.s/floor=amax:1e-10") \
    X(AITER_GROUP128_FNUZ, "", \
      "float8_e4m3fnuz/f32/1x128/dyn/amax.inv240/x.inv.s/floor=amax:1e-10") \
    X(AITER_TOKEN, "", \
      "float8_e4m3fn/f32/1x-1/dyn/amax.inv448/x.inv.s") \
    X(AITER_TOKEN_FNUZ, "", \
      "float8_e4m3fnuz/f32/1x-1/dyn/amax.inv240/x.inv.s") \
    X(AITER_MXFP4, "aiter_hip_mxfp4", \
      "float4_e2m1fn/float8_e8m0fnu/1x32/dyn/amax.rceil6/x.div.s/floor=amax:1e-10") \
    X(QUARK_MXFP8, "", \
      "float8_e4m3fn/float8_e8m0fnu/1x32/dyn/amax.even448/x.div.s") \
    X(OCP_MXFP8, "", \
      "float8_e4m3fn/float8_e8m0fnu/1x32/dyn/amax.floor448/x.div.s") \
    X(OCP_MXFP8_E5M2, "", \
      "float8_e5m2/float8_e8m0fnu/1x32/dyn/amax.floor57344/x.div.s") \
    X(OCP_MXFP6_E3M2, "", \
      "float6_e3m2fn/float8_e8m0fnu/1x32/dyn/amax.floor28/x.div.s") \
    X(OCP_MXFP6_E2M3, "", \
      "float6_e2m3fn/float8_e8m0fnu/1x32/dyn/amax.floor7.5/x.div.s") \
    X(OCP_MXFP4, "", \
      "float4_e2m1fn/float8_e8m0fnu/1x32/dyn/amax.floor6/x.div.s") \
    X(NVIDIA_MXFP4, "", \
      "float4_e2m1fn/float8_e8m0fnu/1x32/dyn/amax.rceil6/x.div.s") \
    X(DEEPSEEK_BLOCK128, "vllm_per_block_cast", \
      "float8_e4m3fn/f32/128x128/dyn/amax.div448/x.inv.s/floor=amax:1e-4/overflow=nonfinite") \
    X(DEEPSEEK_BLOCK128_UE8M0, "", \
      "float8_e4m3fn/f32/128x128/dyn/amax.rceil448/x.inv.s/floor=amax:1e-4/overflow=nonfinite")

typedef enum vq_key_id {
#define X(ID, also, text) VQ_KEY_##ID,
    VQ_KEYS(X)
#undef X
    VQ_KEY_COUNT
} vq_key_id;

/* vq_key_preset -- a named key

     id     in   VQ_KEY_*

   Numerics   as the text of the key says; every operation rounded once.
   Errors     none; an id out of range gives a key of zeros, which every op refuses.
   Source     vLLM quant_utils.py and the kernels that its keys dispatch to; AITER
              quant_kernels.cu, mx_quant_utils.h; OCP MX 1.0; DeepGEMM per_block_cast_to_fp8
   Differs    vLLM's keys name the platform's fp8: these are e4m3fn, vq_key_as() and
              vq_key_on() turn them. NaN stays NaN; upstream clamps it to a largest code. An
              infinity saturates its code; upstream's scale becomes infinite. Its uint4b8 and
              uint8b128 are int4 and int8 here: the bias is a matter of packing. */
VQ_API vq_key      vq_key_preset(vq_key_id id);
VQ_API const char *vq_key_name(vq_key_id id);          /* "fp8_group128" */
VQ_API const char *vq_key_also(vq_key_id id);          /* other names, spaces between; or "" */

/* vq_key_parse -- a key from its text, or from the name of a preset

   Errors     BAD_ARG: KEYTEXT (found: where reading stopped), KEY (the fields contradict one
              another), NAME (no slash in it, and no preset of that name). */
VQ_API vq_status   vq_key_parse(const char *text, vq_key *out, vq_report *report_or_null);

/* The text, as snprintf: returns its length. parse(print(k)) == k for every key that
   vq_key_check() accepts. ASCII, the same in every locale. */
VQ_API int         vq_key_print(const vq_key *k, char *out, size_t size);

/* vq_key_check -- does the key mean anything

   Errors     BAD_ARG (KEY, TYPE), `arg` naming the field: "key.code_max". */
VQ_API vq_status   vq_key_check(const vq_key *k, vq_report *report_or_null);
VQ_API int         vq_key_equal(const vq_key *a, const vq_key *b);
VQ_API uint64_t    vq_key_hash(const vq_key *k);       /* the same on every machine */

/* The same key in another encoding. A floor that was 1/(512*code_max), as vLLM's is, stays so. */
VQ_API vq_key      vq_key_as(vq_key k, vq_dtype elem, float code_max);

/* vq_fp8_max -- the largest value that quantization scales to

     vllm   in   0: the format's largest: 448, 240, 57344, 57344
                 1: what vLLM scales to: 224 for e4m3fnuz, else the same

   A dynamic scale of e4m3fnuz made with 240 costs accuracy, says vLLM's get_fp8_min_max; with
   224 the codes are those of e4m3fn and 448, and the scale is twice as large. AITER uses 240.
   Errors     none; 0 for a type that is not an fp8.
   Source     vLLM get_fp8_min_max, quant_type_max; AITER torch.finfo(dtype).max */
VQ_API float       vq_fp8_max(vq_dtype elem, int vllm);
VQ_API float       vq_dtype_max(vq_dtype t);           /* the largest finite value */

/* The group as extents: -1 replaced by rows or cols; and how many groups that makes, the last
   one of each direction possibly short. */
VQ_API void        vq_key_group(const vq_key *k, int64_t rows, int64_t cols, int64_t group[2],
                                int64_t count[2]);

/* The scale tensor of codes shaped like q under k: [groups of rows, groups of cols]. */
VQ__NO_ACCESS(4)
VQ_API vq_tensor   vq_scale_for(const vq_key *k, vq_tensor q, vq_order order, const void *data);

/* vq_scale_from_1d -- how a 1-D scale of n elements is to be read for codes [rows, cols]

     k      in   the key, or NULL to go by the extents alone
     out    out  the same data as [1, n] (a value a column group) or [n, 1] (a row group)

   With a key: its group counts decide, and n must be their product, one of them being 1.
   Without: n == 1 is [1, 1]; n == cols is [1, n]; n == rows is [n, 1].
   Errors     BAD_ARG: RANK (not 1-D), SHAPE (found n, needed the count), AMBIGUOUS (no key,
              n == rows == cols).
   Source     vLLM prep_scale_for_group_broadcast, static_scaled_fp8_quant
   Differs    upstream takes a square one without a key as [1, n]. */
VQ_API vq_status   vq_scale_from_1d(const vq_key *k_or_null, const vq_tensor *scale, int64_t rows,
                                    int64_t cols, vq_tensor *out, vq_report *report_or_null);

/* ===========================================================================
   >>platform       what a machine can do: pure functions of recorded facts
   =========================================================================== */

/* First the one that is asked for, else in this order.   X(ID, text) */
#define VQ_BACKENDS(X) \
    X(ANY,  "any") \
    X(HIP,  "hip") \
    X(CUDA, "cuda") \
    X(CPU,  "cpu")

typedef enum vq_backend {
#define X(ID, text) VQ_##ID,
    VQ_BACKENDS(X)
#undef X
    VQ_BACKEND_COUNT
} vq_backend;

/* X(ID, what it is) */
#define VQ_CAPS(X) \
    X(E4M3FN_CVT,   "e4m3fn conversion") \
    X(E4M3FNUZ_CVT, "e4m3fnuz conversion") \
    X(E2M1_CVT,     "e2m1 conversion") \
    X(MX_CVT,       "conversion with a block scale") \
    X(FP8_MMA,      "8-bit float matrix product") \
    X(MX_MMA,       "block-scaled matrix product") \
    X(INT8_MMA,     "int8 matrix product") \
    X(BF16_MMA,     "bf16 matrix product") \
    X(TMA,          "bulk tensor copy") \
    X(PDL,          "programmatic dependent launch") \
    X(FMA,          "fused multiply-add") \
    X(AVX2,         "AVX2") \
    X(AVX512,       "AVX-512 F, BW, DQ, VL") \
    X(NEON,         "Neon")

enum {
#define X(ID, text) VQ__CAP_AT_##ID,
    VQ_CAPS(X)
#undef X
    VQ_CAP_COUNT
};
#define VQ_CAP(ID) (1u << VQ__CAP_AT_##ID)              /* VQ_CAP(MX_MMA) */

typedef struct vq_platform {
    const char *name;                 /* "gfx942", "sm_90", "cpu"; static */
    vq_backend  backend;
    vq_dtype    fp8;                  /* the encoding its matrix units read, or VQ_NONE */
    int         wave;                 /* lanes that shuffle together; 1 on a CPU */
    uint32_t    caps;                 /* VQ_CAP(...) */
    int         major, minor;         /* 9.4 of gfx942, 9.0 of sm_90; 0.0 of a CPU */
} vq_platform;

/* An architecture name taken apart. */
typedef struct vq_arch {
    char       name[16];              /* "gfx942", "gfx90a", "sm_90" */
    vq_backend backend;
    int        major, minor, stepping;   /* 9, 4, 2; 9, 0, 10; 9, 0, 0 */
    int        sramecc, xnack;        /* 1 on, -1 off, 0 not said */
    char       suffix;                /* 'a' or 'f' of sm_90a, sm_100f; else 0 */
} vq_arch;

/* vq_arch_parse -- an architecture string as the runtimes spell it

     text   in   "gfx942:sramecc+:xnack-", "gfx90a", "sm_90a", "cpu"

   A gfx name is a major of one or two decimal digits, then a minor and a stepping of one
   hexadecimal digit each; an sm_ number is ten times major plus minor.
   Errors     UNSUPPORTED (ARCH): not of this form.
   Source     LLVM AMDGPUUsage, processor names; vLLM rocm.py _capability_from_gcn_arch
   Differs    upstream drops letters (gfx90a is 9.0 to both, but gfx9a0 is refused there) and
              ignores what follows the digits; here every character must be understood. */
VQ_API vq_status vq_arch_parse(const char *text, vq_arch *out, vq_report *report_or_null);

/* vq_platform_of -- the row of the capability table for an architecture string

   Errors     UNSUPPORTED (ARCH): unreadable, or not in the table: never the nearest one.
   Source     AMD CDNA 2 to 4 and RDNA 2 to 4 ISA guides, LLVM AMDGPU processors; CUDA
              programming guide (compute capabilities), PTX ISA (cvt, mma) */
VQ_API vq_status vq_platform_of(const char *arch, vq_platform *out, vq_report *report_or_null);
VQ_API int       vq_platform_count(void);
VQ_API vq_platform vq_platform_at(int i);              /* row i of the table */

/* Questions. One that has no meaning on a platform answers no (0).
   Source     vLLM platforms/interface.py, rocm.py, cuda.py
   Differs    supports_fp8: upstream counts gfx90a, which has no 8-bit float instruction.
              supports_mx: upstream knows gfx95x only; here sm_100 and up too. */
VQ_API const char *vq_backend_str(vq_backend b);
VQ_API int         vq_backend_of(const char *text);    /* -1: no such name */
VQ_API const char *vq_cap_str(int cap);                /* bit number to text */
VQ_API int      vq_is_cuda_alike(const vq_platform *p);     /* CUDA or HIP */
VQ_API int      vq_is_fp8_fnuz(const vq_platform *p);       /* gfx940, gfx941, gfx942 */
VQ_API vq_dtype vq_fp8_dtype(const vq_platform *p);         /* fnuz there, e4m3fn anywhere else */
VQ_API float    vq_fp8_dtype_max(const vq_platform *p);     /* 224 or 448: vq_fp8_max(., 1) */
VQ_API int      vq_supports_fp8(const vq_platform *p);      /* has an fp8 matrix product */
VQ_API int      vq_supports_mx(const vq_platform *p);       /* has a block-scaled one */
VQ_API int      vq_on_mi3xx(const vq_platform *p);          /* gfx942, gfx950 */
VQ_API int      vq_on_gfx9(const vq_platform *p);           /* gfx90a, gfx942, gfx950 */
VQ_API int      vq_on_gfx90a(const vq_platform *p);
VQ_API int      vq_on_gfx942(const vq_platform *p);
VQ_API int      vq_on_gfx950(const vq_platform *p);
VQ_API int      vq_on_gfx1x(const vq_platform *p);          /* gfx11*, gfx12* */
VQ_API int      vq_on_gfx11(const vq_platform *p);
VQ_API int      vq_on_gfx12x(const vq_platform *p);

/* vq_key_on -- a preset in the encoding of a platform: its fp8 keys in e4m3fn become e4m3fnuz
   scaled to 224 where vq_is_fp8_fnuz(); every other key stays. */
VQ_API vq_key   vq_key_on(vq_key k, const vq_platform *p);

/* One device that a driver or runtime library speaks of. */
typedef struct vq_device {
    char        arch[64];             /* as the runtime spells it */
    char        name[128];
    vq_backend  backend;
    int         ordinal;
    int64_t     memory_bytes;
    int         runtime;              /* the library's version: 12040, 60443 */
    int         known;                /* platform is filled */
    vq_platform platform;
} vq_device;

/* vq_probe -- the devices of this machine

     backends  in   mask of 1 << VQ_HIP, 1 << VQ_CUDA, 1 << VQ_CPU; 0 is all. A library of a
                    backend that is not in the mask is not opened.
     out       out  [cap]
     count     out  how many there are, also when cap is less
     log       in   hears one line for each library and device looked at, or NULL

   Opens libamdhip64.so (.7, .6) and libcuda.so.1; neither an SDK nor a kernel library is needed.
   Finding nothing is VQ_OK. The CPU is the last device, and always there when asked for.
   Errors     BAD_ARG (PRESENT: count is missing). */
VQ_API vq_status vq_probe(uint32_t backends, vq_device *out, int cap, int *count,
                          void (*log)(void *user, const char *line), void *log_user);

/* ===========================================================================
   >>context
   =========================================================================== */

typedef struct vq_ctx vq_ctx;

typedef enum vq_when { VQ_BEFORE, VQ_AFTER } vq_when;


typedef struct vq_desc {
    int         device;               /* ordinal of the vendor's runtime */
    vq_backend  backend;
    const char *library;              /* kernel library; NULL: libvq_<vendor>.so */
    const char *assume;               /* "gfx950": plan and explain for it, run nothing */
    vq_policy   policy;               /* of every call */
    void      (*log)(void *user, const char *line);
    void       *log_user;
    void      (*trace)(void *user, vq_when when, const char *op, const char *impl,
                       const void *args, vq_status status);   /* around every vq_run() */
    void       *trace_user;
    vq_report  *report;
} vq_desc;

/* vq_init -- one context for one device

   Errors     BAD_ARG (NAME: VQ_BACKEND or VQ_IMPL in the environment, or policy.only, names
              nothing); UNSUPPORTED when the backend asked for cannot start (BACKEND), when
              `assume` is unknown (ARCH), or when this build fails its self-test (SELFTEST);
              OUT_OF_MEMORY. A library that does not load is a line in the log. VQ_CPU opens
              no library and takes under a millisecond. *out is NULL after an error. */
VQ_API vq_status   vq_init(const vq_desc *desc_or_null, vq_ctx **out);
VQ_API void        vq_free(vq_ctx *ctx_or_null);
VQ_API vq_platform vq_platform_in(const vq_ctx *ctx);
VQ_API const char *vq_arch_in(const vq_ctx *ctx);      /* "gfx942:sramecc+:xnack-"; "cpu" */

/* Memory that ctx's kernels reach, so that one program text serves every backend: device
   memory on a GPU, malloc on the CPU; vq_mem_where() is what a tensor there must say.
   vq_mem_copy() goes any way, and waits. A planning context (desc.assume) has none. */
VQ_API vq_where  vq_mem_where(const vq_ctx *ctx);
VQ_API void     *vq_mem_alloc(vq_ctx *ctx, size_t bytes);
VQ_API void      vq_mem_free (vq_ctx *ctx, void *p);
VQ_API vq_status vq_mem_copy (vq_ctx *ctx, void *dst, const void *src, size_t bytes);

/* Bytes that vq_mem_alloc() handed out and did not get back, and the most there ever were.
   Differs    vLLM's get_current_memory_usage resets the peak and then reads it. */
typedef struct vq_mem { int64_t live, peak; } vq_mem;
VQ_API vq_mem    vq_mem_used(const vq_ctx *ctx);
VQ_API void      vq_mem_reset_peak(vq_ctx *ctx);       /* to live */

/* ===========================================================================
   >>ops            one block an op: formula, arguments, Numerics, Errors, Source, Differs
   =========================================================================== */

/* Identity. Makes the enum, the names, the public functions and the table of references; an
   op without one of these does not compile.   X(ID, name) */
#ifdef VQ_NO_CONVERT
#define VQ__OPS_CONVERT(X)
#else
#define VQ__OPS_CONVERT(X) X(CAST, cast) X(FNUZ_NORMALIZE, fnuz_normalize)
#endif
#ifdef VQ_NO_QUANT
#define VQ__OPS_QUANT(X)
#else
#define VQ__OPS_QUANT(X) X(QUANT, quant) X(DEQUANT, dequant)
#endif
#ifdef VQ_NO_SCALES
#define VQ__OPS_SCALES(X)
#else
#define VQ__OPS_SCALES(X) X(SCALE_CONVERT, scale_convert)
#endif
#define VQ_OPS(X) VQ__OPS_CONVERT(X) VQ__OPS_QUANT(X) VQ__OPS_SCALES(X)

typedef enum vq_op {
    VQ_OP_NONE,
#define X(ID, name) VQ_OP_##ID,
    VQ_OPS(X)
#undef X
    VQ_OP_COUNT
} vq_op;

VQ_API const char *vq_op_str(vq_op op);
VQ_API vq_op       vq_op_of(const char *text);         /* VQ_OP_NONE: no such name */

#ifndef VQ_NO_CONVERT
/* vq_cast -- from any format to any other

     y[...] = the code of x[...]'s value in y's format

     x         in    rank 1 to 4, any format
     y         out   the shape of x, any format
     overflow  in    VQ_SATURATE | VQ_NONFINITE: see >>formats
     Both strided. y may be x itself: the same data, strides and bits an element.

   Numerics   one rounding, to nearest even (>>formats): every format is exact in f32. Padding
              bits at the end of a packed row are written 0. Same bits everywhere.
   Errors     BAD_ARG (PRESENT, TYPE, VALUE, RANK, LAYOUT, SHAPE, SIZE, STRIDE, OVERLAP),
              UNSUPPORTED, DEVICE_FAILED.
   Source     ml_dtypes 0.5 conversions (VQ_NONFINITE); PTX cvt.rn.satfinite (VQ_SATURATE)
   Differs    ml_dtypes: NaN of fp6 and fp4 is -0 there, the largest here; e8m0 of
              (2^-127, 1.5 * 2^-127) is 2^-126 there, 2^-127 here, the nearest. */
typedef struct vq_cast_args {
    vq_call     call;
    vq_tensor   x, y;
    vq_overflow overflow;
} vq_cast_args;

VQ_API vq_status vq_cast(const vq_ctx *ctx, const vq_cast_args *a);

/* vq_fnuz_normalize -- fp8 codes and their scale in the other bias: fn <-> fnuz

     y[i][j]         = the byte x[i][j], which means half as much in fnuz; 0x80 (-0) to fnuz is 0
     scale_out[g][h] = scale[g][h] * 2 to fnuz, / 2 to fn

     x          in    [R, C]   e4m3fn | e4m3fnuz | e5m2 | e5m2fnuz
     y          out   [R, C]   e4m3fnuz | e4m3fn | e5m2fnuz | e5m2: x's counterpart
     scale      in    [P, Q]   f32 | f16 | bf16 | e8m0; strided
     scale_out  out   [P, Q]   the type of scale
     overflow   in    what becomes of a code beyond y's range: 0x7f of e4m3fnuz (240), 0x7c to
                      0x7f of e5m2fnuz, infinity of e5m2
     y may be x itself and scale_out scale itself. Codes of 224 at most, which is what vLLM's
     keys make, never overflow.

   Numerics   decode(y) * scale_out == decode(x) * scale for every code but those named above,
              where scale neither overflows nor is subnormal; then it is rounded to nearest even.
   Errors     as vq_cast.
   Source     vLLM normalize_e4m3fn_to_e4m3fnuz
   Differs    upstream knows one direction, and turns a NaN (0x7f) into 240. */
typedef struct vq_fnuz_normalize_args {
    vq_call     call;
    vq_tensor   x, y, scale, scale_out;
    vq_overflow overflow;
} vq_fnuz_normalize_args;

VQ_API vq_status vq_fnuz_normalize(const vq_ctx *ctx, const vq_fnuz_normalize_args *a);
#endif

#ifndef VQ_NO_QUANT
/* vq_quant -- codes and scales of a tensor under a key

     a[g][h]     = max |x| over group (g, h): NaN skipped, infinity as the largest finite of x's type
     scale[g][h] = the key's scale rule of a[g][h]; static: an input
     q[i][j]     = the code of the key's code rule of x[i][j], held to -code_max..code_max

     key    in
     x      in      [T, H]    f32 | f16 | bf16; columns side by side, rows apart
     q      out     [T, H]    key.elem
     scale  out     [G0, G1]  key.scale_type, strided: vq_scale_for() builds it
            in                when the key is static
     The last group of rows or columns may be short, unless the key forbids it.

   Numerics   each operation of a rule rounds once. Same bits everywhere. A group depends on
              itself alone; under keys whose groups span rows the rows depend on each other.
              A given scale is used as it is: 0 and NaN too.
   Errors     BAD_ARG (PRESENT, KEY, TYPE, RANK, LAYOUT, SHAPE, SIZE, STRIDE, OVERLAP),
              UNSUPPORTED (PATTERN: this version serves 8-bit floats with f32 scales under the
              rules given, amax.div and amax.inv, x.div.s and x.inv.s), DEVICE_FAILED.
   Source     vLLM static_scaled_fp8_quant, dynamic_per_token_scaled_fp8_quant,
              per_token_group_fp8_quant: csrc/libtorch_stable/quantization/w8a8/fp8
   Differs    NaN stays NaN (upstream: a largest code, of either sign). An infinity saturates its
              code and counts as the largest finite in amax (upstream: the scale is infinite).
              Ragged last groups are allowed. */
typedef struct vq_quant_args {
    vq_call   call;
    vq_key    key;
    vq_tensor x, q, scale;
} vq_quant_args;

VQ_API vq_status vq_quant(const vq_ctx *ctx, const vq_quant_args *a);

/* vq_dequant -- values of codes and scales

     y[i][j] = y's type of RN(decode(q[i][j]) * scale[g][h])      (i, j) in group (g, h)

     key    in
     q      in    [T, H]    key.elem
     scale  in    [G0, G1]  key.scale_type, strided
     y      out   [T, H]    f32 | f16 | bf16; columns side by side, rows apart

   Numerics   the product rounds to f32, then to y's type, where too large is infinity.
   Errors     as vq_quant.
   Source     vLLM scaled_dequantize
   Differs    upstream multiplies in y's type. */
typedef struct vq_dequant_args {
    vq_call   call;
    vq_key    key;
    vq_tensor q, scale, y;
} vq_dequant_args;

VQ_API vq_status vq_dequant(const vq_ctx *ctx, const vq_dequant_args *a);
#endif

#ifndef VQ_NO_SCALES
/* vq_scale_convert -- scales from any layout to any other

     y(r, c) = x(r, c), bit for bit; y's padding = 0

     x    in    [R, C] or [B, R, C]   any type of 8, 16 or 32 bits, any layout that holds it
     y    out   the shape and type of x, any layout that holds it

   Numerics   none: codes are moved.
   Errors     as vq_cast.
   Source     DeepGEMM get_mn_major_tma_aligned_packed_ue8m0_tensor; vLLM swizzle_blockscale;
              Triton CDNA4MXScaleLayout
   Differs    every extent is served; upstream's swizzles ask for whole tiles. */
typedef struct vq_scale_convert_args {
    vq_call   call;
    vq_tensor x, y;
} vq_scale_convert_args;

VQ_API vq_status vq_scale_convert(const vq_ctx *ctx, const vq_scale_convert_args *a);
#endif

/* ===========================================================================
   >>registry       which implementation runs, and why each other one does not
   =========================================================================== */

/* The outcome of vq_plan(): valid with this ctx, for args that differ from the planned ones
   in data pointers, stream and workspace only. */
typedef struct vq_choice {
    const struct vq__row *row;
    size_t                workspace_bytes;
    vq_op                 op;
} vq_choice;

/* vq_plan checks types, shapes, strides and places, and chooses; vq_run checks the pointers and
   does. vq_<op> is both. */
VQ_API vq_status   vq_plan(const vq_ctx *ctx, vq_op op, const void *args, vq_choice *out);
VQ_API vq_status   vq_run(const vq_ctx *ctx, const vq_choice *choice, const void *args);
VQ_API const char *vq_impl_str(const vq_choice *choice);    /* "reference" */

/* vq_explain -- every implementation of op, in the order they are tried

     rows   out  [cap]    guard NONE: it can run; the first such row is the one that does.
                          flags and bytes are filled in every row.
     count  out           how many there are, also when cap is less

   Errors     BAD_ARG when the args themselves are wrong; count is then 0.
   Data pointers may be NULL: shapes, types and places are enough to ask. */
VQ_API vq_status   vq_explain(const vq_ctx *ctx, vq_op op, const void *args,
                              vq_report *rows, int cap, int *count);

/* Reports as text, a line each, or as a JSON array of objects; both as snprintf. Names in JSON
   are vq_report's members; found, needed and nearest are words where `kind` makes them words. */
VQ_API int         vq_report_text(const vq_report *rows, int count, char *out, size_t size);
VQ_API int         vq_report_json(const vq_report *rows, int count, char *out, size_t size);

/* ===========================================================================
   >>kernel-abi     what a kernel library hands over: one symbol a vendor, one table
   =========================================================================== */

/* X(ID, name): slots of the table; each has a launcher vq__gpu_<name> */
#define VQ_KERNELS(X) \
    X(CAST,           cast) \
    X(FNUZ_NORMALIZE, fnuz_normalize) \
    X(QUANT,          quant) \
    X(DEQUANT,        dequant) \
    X(SCALE_CONVERT,  scale_convert)

typedef enum vq_slot {
    VQ_SLOT_NONE,
#define X(ID, name) VQ_SLOT_##ID,
    VQ_KERNELS(X)
#undef X
    VQ_SLOT_COUNT
} vq_slot;

typedef int (*vq_kernel_fn)(const void *args);          /* 0, or the runtime's error number */

typedef struct vq_kernels {
    uint32_t      abi;                                  /* VQ_ABI_VERSION it was built with */
    uint32_t      reserved;
    const char   *vendor;                               /* "hip", "cuda" */
    const char   *archs;                                /* "gfx942 gfx950"; NULL: not known */
    int         (*arch)(int device, char *out, size_t size);   /* 0: no such device */
    int         (*current)(void);                       /* the current device, -1 on error */
    int         (*self_test)(int device);               /* 0; > 0 a part that fails; < 0 no answer */
    void       *(*alloc)(size_t bytes);
    void        (*release)(void *p);
    int         (*copy)(void *dst, const void *src, size_t bytes);
    const char *(*error_text)(int error);
    vq_kernel_fn  kernel[VQ_SLOT_COUNT];                /* NULL: not in this library */
} vq_kernels;

typedef const vq_kernels *(*vq_kernels_fn)(void);

#if !defined(__GNUC__) || defined(_WIN32) || defined(__APPLE__)
#define VQ__WEAK_ABSENT 1                               /* only VQ_WITH_* finds linked kernels */
#define VQ__WEAK
#else
#define VQ__WEAK __attribute__((weak))
#endif
#if defined(VQ_WITH_HIP) || defined(VQ_KERNEL_FILE)
const vq_kernels *vq_kernels_hip(void);
#else
VQ__WEAK const vq_kernels *vq_kernels_hip(void);
#endif
#if defined(VQ_WITH_CUDA) || defined(VQ_KERNEL_FILE)
const vq_kernels *vq_kernels_cuda(void);
#else
VQ__WEAK const vq_kernels *vq_kernels_cuda(void);
#endif

#ifdef __cplusplus
}
#endif
#endif /* VQ_H_INCLUDED */
