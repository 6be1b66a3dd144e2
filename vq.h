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

   examples/01_quantize.c is this as a program; examples/vq/graph.h, a part in a file of its own,
   has the passes that fuse a list of ops.

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
                      >>ops              >>impl-args
                      >>registry         >>impl-loops
                      >>kernel-abi       >>impl-avx2
                      >>numerics         >>impl-ref-convert
                      >>elements         >>impl-ref-quant
                                         >>impl-ref-act
                                         >>impl-ref-observe
                                         >>impl-ref-compare
                                         >>impl-registry
                                         >>impl-explain
                                         >>impl-context

>>options           set before the include, in the file named

   VQ_API             everywhere        linkage of the public functions; extern
   VQ_STATIC          implementation    the public functions are static, for that file alone
   VQ_NO_CONVERT      everywhere        leaves the family out: vq_cast, vq_fnuz_normalize
   VQ_NO_QUANT        everywhere        vq_quant, vq_dequant, vq_requant
   VQ_NO_ACT          everywhere        vq_act, vq_act_mul, vq_act_mul_quant,
                                        vq_masked_act_mul_quant
   VQ_NO_NORM         everywhere        vq_rms_norm, vq_layer_norm, vq_rms_norm_quant
   VQ_NO_OBSERVE      everywhere        vq_amax, vq_minmax, vq_histogram, vq_percentile,
                                        vq_calibrate
   VQ_NO_SCALES       everywhere        vq_scale_convert
   VQ_NO_COMPARE      everywhere        vq_compare
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
   int32 int64                                     counts, never converted

   Packed in memory: 4-bit codes two a byte, the first in the low nibble; 6-bit codes four in
   three bytes, code i in bits 6i..6i+5 of a little-endian word. A row starts on a byte. Codes
   of 16 and 32 bits have the machine's byte order.

          byte 0        byte 1            byte 0        byte 1        byte 2
      | c1   c0   | | c3   c2   |     | c1.. c0     | | c2..  ..c1  | | c3    ..c2  |
        7654 3210     7654 3210         76 543210       7654 3210       765432 10

   To any format but f32, which holds them all: round to nearest, ties to even; e8m0, whose one
   significand 1 is odd, rounds ties up. What lies beyond the largest value after rounding,
   infinity too,
     VQ_SATURATE      becomes the largest of its sign (int8 -128, int4 -8); in e8m0 a zero
                      becomes 2^-127; in ue4m3 and the unsigned integers a negative becomes 0
     VQ_NONFINITE     becomes infinity where the format has one, else NaN where it has that,
                      else as above; in e8m0 a zero, in ue4m3 a negative is NaN
   NaN becomes the format's NaN (e4m3fn, e5m2, ue4m3 0x7f; fnuz 0x80; e8m0 0xff), the largest
   of fp6 and fp4, 0 in integers. A negative is NaN in e8m0.

   The scale maximum of e4m3fnuz: the format reaches 240, vLLM scales to 224, which makes the
   codes of gfx942 those of e4m3fn scaled to 448, and 448 is for e4m3fn alone. The number is
   code_max in the key; vq_fp8_max() is the one function that knows all three.

>>numbers           the contract

   Same bits everywhere. The reference, HIP and CUDA write the same bytes for every input.
   It is built from integers and f32 add, sub, mul, fma, div, sqrt, each rounded to nearest
   even, subnormals kept; an op sets the control word it needs and gives back the caller's
   (which exceptions were flagged is not kept).
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
   outputs are as before. An extent of 0 is VQ_OK and writes nothing. A function that returns
   no status wants valid pointers.
   A context is immutable but for its memory counters: use it from any thread; a child of
   fork() makes its own. desc.log hears
   what vq_init() took and skipped, desc.trace every op. vq_plan() and vq_run() neither
   allocate, format text nor read the environment when they succeed.
   Outputs may not overlap inputs or each other unless the op's block says so; slices of one
   buffer, matrices whose rows lie side by side, do not. Pointers need no alignment; aligned
   ones are faster.

>>backends

   vq_init() tries HIP, then CUDA, then settles for the CPU; desc.backend names one. A kernel
   library is a linked object, else desc.library, else libvq_hip.so / libvq_cuda.so on the
   loader's path. Each must carry VQ_ABI_VERSION, find its device, know its architecture and
   pass its self-test; one that does not is a line in the log, and an error only where
   desc.backend or VQ_BACKEND asks for it. A loaded library is never unloaded.
   Environment: VQ_BACKEND (hip, cuda, cpu) where desc.backend is VQ_ANY, VQ_KERNELS (a path)
   where desc.library is NULL, VQ_IMPL (an implementation) where neither the context's nor the
   call's policy names one. No variable changes a number.
   Candidates are tried in order: native, portable GPU kernel, emulation, reference.

>>op-index          patched by `make docs`
VQ_GENERATED op-index
   vq_cast                   convert   from any format to any other
   vq_fnuz_normalize         convert   fp8 codes and their scale in the other bias: fn <-> fnuz
   vq_quant                  quant     codes and scales of a tensor under a key
   vq_dequant                quant     values of codes and scales
   vq_requant                quant     codes and scales of one key as those of another
   vq_act                    act       an activation, element by element
   vq_act_mul                act       a gated activation: the first half of a feed-forward block
   vq_act_mul_quant          act       a gated activation and the quantization of what it gives
   vq_masked_act_mul_quant   act       the same for experts of whose rows only the first are there
   vq_rms_norm               norm      root-mean-square norm; residual, weight, gate
   vq_layer_norm             norm      norm by mean and variance, without bias
   vq_rms_norm_quant         norm      an rms norm and the quantization of what it gives
   vq_amax                   observe   the largest magnitude of each group
   vq_minmax                 observe   the smallest and the largest value of each group
   vq_histogram              observe   how often each magnitude occurs
   vq_percentile             observe   the magnitude that a share of each group does not exceed
   vq_calibrate              observe   statistics to the scales that a static key takes
   vq_scale_convert          scales    scales from any layout to any other
   vq_compare                compare   are two tensors as close as they should be
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
#define VQ_ABI_VERSION  2     /* raised when vq_kernels, a key or an args struct changes */

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

/* What loops over it make vectors of: inlined at any weight, and where gcc optimizes otherwise. */
#if defined(__GNUC__) && defined(__OPTIMIZE__) && !defined(__CUDACC__) && !defined(__HIP__)
#define VQ__FOLD VQ_HD __attribute__((always_inline))
#else
#define VQ__FOLD VQ_HD
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

/* One encoding, one value; the texts are ml_dtypes' but for the IEEE types. The last two count
   things: no op converts them.   X(ID, text, bits) */
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
    X(UINT4,     "uint4",           4) \
    X(INT32,     "int32",           32) \
    X(INT64,     "int64",           64)

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
   asked. `kind` tells how found and needed read: n numbers; f bits of an f32; s a name, which
   vq_report.name holds (the other argument of an overlap, the rule of a policy); c capability
   bits; and, `needed` being a mask of 1 << value, t types, w places, l layouts, r scale rules,
   d code rules, g groupings.
   X(ID, status, kind, "argument ...") */
#define VQ_GUARDS(X) \
    X(NONE,      OK,            0,   "runs") \
    X(PRESENT,   BAD_ARG,       0,   "is missing") \
    X(NAME,      BAD_ARG,       's', "is not a name known here") \
    X(KEYTEXT,   BAD_ARG,       's', "cannot be read from here on") \
    X(KEY,       BAD_ARG,       'n', "contradicts the rest of the key") \
    X(TYPE,      BAD_ARG,       't', "has a type that cannot stand here") \
    X(VALUE,     BAD_ARG,       'n', "has a value that cannot stand here") \
    X(LAYOUT,    BAD_ARG,       'l', "has a layout that cannot stand here") \
    X(RANK,      BAD_ARG,       'n', "has a rank that cannot stand here") \
    X(SHAPE,     BAD_ARG,       'n', "has an extent that does not fit the others") \
    X(SIZE,      BAD_ARG,       'n', "has a size that cannot be") \
    X(STRIDE,    BAD_ARG,       'n', "has a stride that cannot stand here") \
    X(AMBIGUOUS, BAD_ARG,       0,   "can be read in two ways; give a key or two extents") \
    X(UNUSED,    BAD_ARG,       0,   "has no part in this key") \
    X(OVERLAP,   BAD_ARG,       's', "overlaps another argument") \
    X(TEXT,      BAD_ARG,       's', "cannot be read") \
    X(TWICE,     BAD_ARG,       's', "is there already") \
    X(UNMADE,    BAD_ARG,       's', "is made by no node") \
    X(CYCLE,     BAD_ARG,       's', "is made of itself") \
    X(RIVAL,     BAD_ARG,       's', "takes nodes that another pattern takes") \
    X(ENDLESS,   BAD_ARG,       0,   "could be replaced for ever") \
    X(CURRENT,   BAD_ARG,       'n', "is not the device that is current in this thread") \
    X(USES,      UNSUPPORTED,   'n', "is used by other nodes, too") \
    X(ONLY,      UNSUPPORTED,   's', "is not the implementation that was asked for") \
    X(PATTERN,   UNSUPPORTED,   'n', "is not served by this implementation") \
    X(KERNEL,    UNSUPPORTED,   0,   "is not in a loaded kernel library") \
    X(CAPS,      UNSUPPORTED,   'c', "lacks an instruction") \
    X(PLACE,     UNSUPPORTED,   'w', "lives where this implementation cannot reach it") \
    X(POLICY,    UNSUPPORTED,   's', "is forbidden by the policy") \
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
    char        text[512];            /* all of it, in one line */
} vq_report;

#define VQ_ROW_EMULATED         1u    /* computes in a wider format than it is named for */
#define VQ_ROW_BATCH_INVARIANT  2u    /* a row's result depends on that row alone */
#define VQ_ROW_BIT_EXACT        4u    /* equals the reference byte for byte */
#define VQ_ROW_UNPROVEN         8u    /* never ran on hardware it is for */

#define VQ_FORBID_EMULATED      1u
#define VQ_FORBID_REFERENCE     2u    /* no fallback to the CPU reference */
#define VQ_FORBID_INEXACT       4u
#define VQ_FORBID_UNPROVEN      8u
#define VQ_FORBID_ALL           15u   /* the known ones; any other bit is refused */

typedef struct vq_policy {
    const char *only;                 /* one implementation by name, or NULL */
    uint32_t    forbid;               /* VQ_FORBID_* */
} vq_policy;

/* First member of every args struct; zero is a good value for all of it. (No public struct
   begins with an enum: C++ could not initialise it from a plain {0}.) */
typedef struct vq_call {
    void      *stream;                /* hipStream_t or cudaStream_t */
    void      *workspace;             /* at a multiple of 16; vq_plan() says how much */
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

VQ__FOLD uint32_t vq__f32_bits(float x)    { uint32_t u; memcpy(&u, &x, 4); return u; }
VQ__FOLD float    vq__f32_make(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

/* frac, of 24 bits, without its lowest `drop` bits (1 and more): to nearest, ties to even. */
VQ__FOLD uint32_t vq__round_off(uint32_t frac, uint32_t drop)
{
    drop = drop < 25u ? drop : 25u;                          /* of 25 bits none is left */
    return (frac + (0x00ffffffu >> (25u - drop)) + (frac >> drop & 1u)) >> drop;
}

/* |x| as f32 bits -> exponent and mantissa of a format with mbits of mantissa, as one number
   that orders as the values do and runs on beyond the format's largest code. Without a branch,
   so that loops vectorize; what is subnormal in f32 must be under half a step. */
VQ__FOLD uint32_t vq__code_of_mag(uint32_t mag, uint32_t mbits, uint32_t bias)
{
    uint32_t e = mag >> 23, low = 128u - bias, top = e > low ? e : low;     /* of 2^(1 - bias) */
    uint32_t frac = (mag & 0x007fffffu) | 0x00800000u;
    return vq__round_off(frac, 23u - mbits + top - e) + ((top - low) << mbits);
}

VQ__FOLD uint32_t vq__mag_of_code(uint32_t code, uint32_t mbits, uint32_t bias)
{
    uint32_t m = code, e = 128u - bias, s, t;
    for (s = 8; s; s /= 2) {                                 /* normalise what is subnormal */
        t = s <= mbits && !(m >> (mbits + 1u - s)) ? s : 0u;
        m <<= t;
        e -= t;
    }
    m = e << 23 | (m << (23u - mbits) & 0x007fffffu);
    return code >> mbits ? (code << (23u - mbits)) + ((127u - bias) << 23) : code ? m : 0u;
}

/* sign: the bit of the sign. beyond: what VQ_NONFINITE makes of too large a value. */
VQ__FOLD uint32_t vq__mini_from_f32(float x, vq_overflow o, uint32_t mbits, uint32_t bias,
                                    uint32_t sign, uint32_t largest, uint32_t beyond, uint32_t nan)
{
    uint32_t u = vq__f32_bits(x), mag = u & 0x7fffffffu, s = (u >> 31) * sign;
    uint32_t code = vq__code_of_mag(mag, mbits, bias);
    uint32_t most = o == VQ_SATURATE ? largest : beyond;
    code = code > largest ? most : code;
    code |= o != VQ_SATURATE && beyond == nan && code == nan ? 0u : s;
    return mag > 0x7f800000u ? nan : code;
}

VQ__FOLD uint16_t vq_f16_from_f32(float x, vq_overflow o)
{
    return (uint16_t)vq__mini_from_f32(x, o, 10, 15, 0x8000, 0x7bff, 0x7c00, 0x7e00);
}

VQ__FOLD uint16_t vq_bf16_from_f32(float x, vq_overflow o)
{
    uint32_t u = vq__f32_bits(x), mag = u & 0x7fffffffu;
    uint32_t code = (mag + 0x7fffu + (mag >> 16 & 1u)) >> 16;
    if (o == VQ_SATURATE) code = code < 0x7f7fu ? code : 0x7f7fu;
    return (uint16_t)(mag > 0x7f800000u ? 0x7fc0u : code | (u >> 31) << 15);
}

VQ__FOLD uint8_t vq_e4m3fn_from_f32(float x, vq_overflow o)
{
    return (uint8_t)vq__mini_from_f32(x, o, 3, 7, 0x80, 0x7e, 0x7f, 0x7f);
}

VQ__FOLD uint8_t vq_e4m3fnuz_from_f32(float x, vq_overflow o)
{
    uint32_t c = vq__mini_from_f32(x, o, 3, 8, 0x100, 0x7f, 0x80, 0x80);
    return (uint8_t)(c > 0x100u ? c - 0x80u : c & 0xffu);    /* no -0: that is NaN */
}

VQ__FOLD uint8_t vq_e5m2_from_f32(float x, vq_overflow o)
{
    return (uint8_t)vq__mini_from_f32(x, o, 2, 15, 0x80, 0x7b, 0x7c, 0x7f);
}

VQ__FOLD uint8_t vq_e5m2fnuz_from_f32(float x, vq_overflow o)
{
    uint32_t c = vq__mini_from_f32(x, o, 2, 16, 0x100, 0x7f, 0x80, 0x80);
    return (uint8_t)(c > 0x100u ? c - 0x80u : c & 0xffu);
}

VQ__FOLD uint8_t vq_e2m3_from_f32(float x, vq_overflow o)
{
    (void)o;                                                 /* no infinity, no NaN */
    return (uint8_t)vq__mini_from_f32(x, VQ_SATURATE, 3, 1, 0x20, 0x1f, 0x1f, 0x1f);
}

VQ__FOLD uint8_t vq_e3m2_from_f32(float x, vq_overflow o)
{
    (void)o;                                                 /* no infinity, no NaN */
    return (uint8_t)vq__mini_from_f32(x, VQ_SATURATE, 2, 3, 0x20, 0x1f, 0x1f, 0x1f);
}

VQ__FOLD uint8_t vq_e2m1_from_f32(float x, vq_overflow o)
{
    (void)o;                                                 /* no infinity, no NaN */
    return (uint8_t)vq__mini_from_f32(x, VQ_SATURATE, 1, 1, 0x8, 0x7, 0x7, 0x7);
}

VQ__FOLD uint8_t vq_ue4m3_from_f32(float x, vq_overflow o)
{
    uint32_t u = vq__f32_bits(x);
    uint8_t c = vq_e4m3fn_from_f32(vq__f32_make(u & 0x7fffffffu), o);
    return u > 0x80000000u && u <= 0xff800000u ? o == VQ_SATURATE ? 0u : 0x7fu : c;    /* < 0 */
}

VQ__FOLD uint8_t vq_e8m0_from_f32(float x, vq_overflow o)
{
    uint32_t u = vq__f32_bits(x), mag = u & 0x7fffffffu, e = mag >> 23;
    if (mag > 0x7f800000u || (u >> 31 && mag)) return 0xffu;             /* NaN, negative */
    if (!mag) return o == VQ_SATURATE ? 0u : 0xffu;
    if (e == 0) return mag >= 0x00600000u;                   /* 2^-127 * 1.5 rounds to 2^-126 */
    e += mag >> 22 & 1u;                                     /* ties up */
    if (e > 254u) return o == VQ_SATURATE ? 0xfeu : 0xffu;
    return (uint8_t)e;
}

/* To a whole number in lo..hi, which are within 2^23, ties to even. An integer has no infinity to
   become. */
VQ__FOLD int32_t vq__int_from_f32(float x, int32_t lo, int32_t hi)
{
    uint32_t u = vq__f32_bits(x), mag = u & 0x7fffffffu, sign = 0u - (u >> 31);
    uint32_t m = mag < 0x4affffffu ? mag : 0x4affffffu;      /* rounds to 2^23 */
    int32_t v = (int32_t)((vq__round_off((m & 0x007fffffu) | 0x00800000u, 150u - (m >> 23)) ^ sign)
                          - sign);
    v = v > hi ? hi : v;
    v = v < lo ? lo : v;
    return mag > 0x7f800000u ? 0 : v;                        /* NaN */
}

/* A code's value, from that of its magnitude; bits above the sign are ignored. inf, nan: the first
   code of each, if any lies below the sign; nan == 0: NaN is what would be -0. */
VQ__FOLD float vq__mini_to_f32(uint32_t c, uint32_t mag, uint32_t sign, uint32_t inf, uint32_t nan)
{
    uint32_t m = c & (sign - 1u), s = c & sign;
    mag = m >= inf ? 0x7f800000u : mag;
    mag = nan && m >= nan ? 0x7fc00000u : mag;
    return vq__f32_make(nan || m || !s ? s * (0x80000000u / sign) | mag : 0x7fc00000u);
}

VQ__FOLD float vq_f32_from_bf16(uint16_t c) { return vq__f32_make((uint32_t)c << 16); }

VQ__FOLD float vq_f32_from_f16(uint16_t c)
{
    uint32_t u = c, m = u & 0x7fffu, mag = vq__mag_of_code(m, 10, 15);
    mag = m >= 0x7c00u ? 0x7f800000u | (m & 0x3ffu) << 13 : mag;
    return vq__f32_make((u & 0x8000u) << 16 | mag);
}

VQ__FOLD float vq_f32_from_e4m3fn(uint8_t c)
{
    return vq__mini_to_f32(c, vq__mag_of_code(c & 0x7fu, 3, 7), 0x80, 0x80, 0x7f);
}

VQ__FOLD float vq_f32_from_e4m3fnuz(uint8_t c)
{
    return vq__mini_to_f32(c, vq__mag_of_code(c & 0x7fu, 3, 8), 0x80, 0x80, 0);
}

VQ__FOLD float vq_f32_from_e5m2(uint8_t c)
{
    return vq__mini_to_f32(c, vq__mag_of_code(c & 0x7fu, 2, 15), 0x80, 0x7c, 0x7d);
}

VQ__FOLD float vq_f32_from_e5m2fnuz(uint8_t c)
{
    return vq__mini_to_f32(c, vq__mag_of_code(c & 0x7fu, 2, 16), 0x80, 0x80, 0);
}

VQ__FOLD float vq_f32_from_e2m3(uint8_t c)
{
    return vq__mini_to_f32(c, vq__mag_of_code(c & 0x1fu, 3, 1), 0x20, 0x20, 0x20);
}

VQ__FOLD float vq_f32_from_e3m2(uint8_t c)
{
    return vq__mini_to_f32(c, vq__mag_of_code(c & 0x1fu, 2, 3), 0x20, 0x20, 0x20);
}

VQ__FOLD float vq_f32_from_e2m1(uint8_t c)
{
    return vq__mini_to_f32(c, vq__mag_of_code(c & 0x7u, 1, 1), 0x8, 0x8, 0x8);
}

VQ__FOLD float vq_f32_from_ue4m3(uint8_t c)
{
    return vq__f32_make(c >= 0x7fu ? 0x7fc00000u : vq__mag_of_code(c, 3, 7));
}

VQ__FOLD float vq_f32_from_e8m0(uint8_t c)                      /* 0x00 is a subnormal f32 */
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

/* The value of a code; bits above the format's are ignored. Exact: every format is within f32.
   A signalling NaN of f16, bf16 or f32 stays one here; vq_encode() makes it quiet. */
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
    case VQ_INT8:     return (float)((int32_t)((code & 0xffu) ^ 0x80u) - 128);
    case VQ_UINT8:    return (float)(int32_t)(code & 0xffu);
    case VQ_INT4:     return (float)((int32_t)((code & 0xfu) ^ 0x8u) - 8);
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

VQ_API int64_t   vq_row_bytes(vq_dtype dtype, int64_t cols);    /* of a row without gaps; or -1 */

/* From data to the end of the last element, padding that a layout defines included; what to
   allocate. -1: not a tensor, vq_tensor_check() says why. */
VQ_API int64_t   vq_tensor_bytes(vq_tensor t);

/* vq_tensor_check -- is t a tensor at all

   Errors     BAD_ARG: PRESENT (rank 0), TYPE, RANK, VALUE (where), LAYOUT, SIZE (negative, above
              2^60 or so, or its bytes overflow an int64), STRIDE (0, negative, of a layout, or
              short of its row). */
VQ_API vq_status vq_tensor_check(const vq_tensor *t, const char *name, vq_report *report_or_null);

#ifdef VQ_WITH_DLPACK
/* vq_tensor_from_dlpack, vq_tensor_to_dlpack -- views of one another, nothing is copied

     DLPack's types  f32 f16 bf16 int8 uint8, and the float8 of DLPack 1.1 where its header
                     has them
     device          the caller's word: a tensor here does not say whose memory it is in
     shape, strides  4 int64_t of the caller each, which `to` fills and points at

   Errors     BAD_ARG: PRESENT, TYPE (one that the other side lacks), VALUE (lanes), RANK above 4,
              LAYOUT other than strided, and those of vq_tensor_check(). */
VQ_API vq_status vq_tensor_from_dlpack(const DLTensor *d, vq_tensor *out,
                                       vq_report *report_or_null);
VQ_API vq_status vq_tensor_to_dlpack(const vq_tensor *t, DLDevice device, int64_t *shape,
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
                   amax.even    s = 2^(floor(log2(a rounded to the element's mantissa)) - emax),
                                where one that stays subnormal counts as 2^-127
                   range.div    s = RN((max - min) / N), asymmetric; N, which stands for M in
                                the text, is 2M + 1, or M of unsigned codes
     code rules    x.div.s      RN(x / s)
                   x.inv.s      RN(x * RN(1 / s))
                   x.inv0.s     the same, with 1 / 0 = 0
                   x.ratio      RN(x * RN(G / s)), G the second scale, with G / 0 = 0
                   x.inv.amax   RN(x * RN(M / a)), with M / 0 = 0
                   x.inv.amax.away   the same, then halves away from zero
                   x.div.s.trunc     RN(x / s), then toward zero
     options, in this order, absent when at their default
                   asym         a zero point, which min and max include
                   notail       the last group must be whole
                   arith=bf16   the amax (saturating) and every step round to bf16 instead of
                                f32; floors and bounds are taken as they are
                   bound=amax | bound=scale      an upper bound is an argument
                   floor=amax:v | floor=raw:v | floor=scale:v
                                at least v: a; s before it is rounded to 2^k; s
                   scale2=mul | scale2=div       x ~ code * s * G, or code * s / G
                   nan=max      where x is a number and the result of the code rule is NaN (the
                                scale was 0, infinite or NaN), the code is the largest, as the
                                min and max of upstream make it; else it is NaN. A NaN in x
                                stays NaN under every key (>>formats).
                   overflow=nonfinite            fp8 only: M does not hold the codes; beyond the
                                format's largest they become infinity or NaN
     2^k is held to 2^-149..2^127. In order: the rule makes s, G joins (s * G under div, s / G
     under mul), the bound, the floor, the scale's type. A NaN bound bounds nothing. */

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

/* Named keys. `also` holds other names for the same key, first vLLM's own. A preset that follows
   an upstream formula follows it for finite input; one without an upstream name is the sane
   choice.   X(ID, name, "also", "text") */
#define VQ_KEYS(X) \
    X(FP8_STATIC, fp8_static, "kFp8StaticTensorSym fp8_per_tensor_static", \
      "float8_e4m3fn/f32/-1x-1/static/max448/x.inv.s/nan=max") \
    X(FP8_TENSOR, fp8_tensor, "", \
      "float8_e4m3fn/f32/-1x-1/dyn/amax.div448/x.div.s/floor=scale:4.359654e-6") \
    X(FP8_TOKEN, fp8_token, "kFp8DynamicTokenSym fp8_per_token", \
      "float8_e4m3fn/f32/1x-1/dyn/amax.div448/x.div.s/floor=scale:4.359654e-6") \
    X(FP8_GROUP128, fp8_group128, "vllm_triton_group128", \
      "float8_e4m3fn/f32/1x128/dyn/amax.inv448/x.div.s/floor=amax:1e-10") \
    X(FP8_GROUP64, fp8_group64, "vllm_triton_group64", \
      "float8_e4m3fn/f32/1x64/dyn/amax.inv448/x.div.s/floor=amax:1e-10") \
    X(FP8_BLOCK128, fp8_block128, "", \
      "float8_e4m3fn/f32/128x128/dyn/amax.div448/x.div.s/floor=scale:4.359654e-6") \
    X(FP8_CHANNEL, fp8_channel, "", \
      "float8_e4m3fn/f32/-1x1/dyn/amax.div448/x.div.s/floor=scale:4.359654e-6") \
    X(MXFP8, mxfp8, "nvidia_mxfp8 vllm_cuda_mxfp8_experts", \
      "float8_e4m3fn/float8_e8m0fnu/1x32/dyn/amax.rceil448/x.div.s") \
    X(MXFP6_E3M2, mxfp6_e3m2, "quark_mxfp6_e3m2", \
      "float6_e3m2fn/float8_e8m0fnu/1x32/dyn/amax.even28/x.div.s") \
    X(MXFP6_E2M3, mxfp6_e2m3, "quark_mxfp6_e2m3", \
      "float6_e2m3fn/float8_e8m0fnu/1x32/dyn/amax.even7.5/x.div.s") \
    X(MXFP4, mxfp4, "kMxfp4Dynamic quark_mxfp4", \
      "float4_e2m1fn/float8_e8m0fnu/1x32/dyn/amax.even6/x.div.s") \
    X(NVFP4, nvfp4, "kNvfp4Dynamic kNvfp4Quant", \
      "float4_e2m1fn/ue4m3/1x16/dyn/amax.inv6/x.inv0.s/notail/scale2=div") \
    X(INT8_TENSOR, int8_tensor, "", \
      "int8/f32/-1x-1/dyn/amax.div127/x.div.s/floor=scale:1.1920929e-7") \
    X(INT8_TOKEN, int8_token, "kInt8DynamicTokenSym", \
      "int8/f32/1x-1/dyn/amax.div127/x.inv.amax") \
    X(INT8_GROUP128, int8_group128, "", \
      "int8/f32/1x128/dyn/amax.div127/x.div.s/floor=amax:1e-10") \
    X(INT8_TOKEN_AZP, int8_token_azp, "", \
      "int8/f32/1x-1/dyn/range.div255/x.inv.s/asym/floor=scale:1.1920929e-7") \
    X(FP8_DYNAMIC_TENSOR, fp8_dynamic_tensor, "kFp8DynamicTensorSym fp8_per_tensor_dynamic", \
      "float8_e4m3fn/f32/-1x-1/dyn/amax.div448/x.inv.s/nan=max") \
    X(FP8_STATIC_TOKEN, fp8_static_token, "kFp8StaticTokenSym", \
      "float8_e4m3fn/f32/1x-1/static/max448/x.inv.s/nan=max") \
    X(FP8_STATIC_CHANNEL, fp8_static_channel, "kFp8StaticChannelSym", \
      "float8_e4m3fn/f32/-1x1/static/max448/x.inv.s/nan=max") \
    X(FP8_STATIC_BLOCK128, fp8_static_block128, "kFp8Static128BlockSym fp8_per_block_static", \
      "float8_e4m3fn/f32/128x128/static/max448/x.inv.s/nan=max") \
    X(FP8_DYNAMIC_GROUP128, fp8_dynamic_group128, \
      "kFp8Dynamic128Sym fp8_per_block_dynamic vllm_cpp_group128", \
      "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.div.s/notail/floor=amax:1e-10") \
    X(FP8_DYNAMIC_GROUP64, fp8_dynamic_group64, "kFp8Dynamic64Sym vllm_cpp_group64", \
      "float8_e4m3fn/f32/1x64/dyn/amax.div448/x.div.s/notail/floor=amax:1e-10") \
    X(NVFP4_STATIC, nvfp4_static, "kNvfp4Static", \
      "float4_e2m1fn/ue4m3/1x16/static/max6/x.inv0.s/notail/scale2=mul") \
    X(MXFP8_STATIC, mxfp8_static, "kMxfp8Static", \
      "float8_e4m3fn/float8_e8m0fnu/1x32/static/max448/x.div.s/notail") \
    X(MXFP8_DYNAMIC, mxfp8_dynamic, "kMxfp8Dynamic vllm_torch_mxfp8", \
      "float8_e4m3fn/float8_e8m0fnu/1x32/dyn/amax.exp448/x.div.s/notail/floor=amax:1.1754944e-38") \
    X(MXFP4_STATIC, mxfp4_static, "kMxfp4Static", \
      "float4_e2m1fn/float8_e8m0fnu/1x32/static/max6/x.div.s/notail") \
    X(INT4_STATIC, int4_static, "kInt4Static", \
      "int4/f16/1x-1/static/max7/x.div.s") \
    X(INT4_STATIC_GROUP32, int4_static_group32, "kInt4Static32", \
      "int4/f16/1x32/static/max7/x.div.s/notail") \
    X(INT4_STATIC_ASYM, int4_static_asym, "kInt4StaticAsym", \
      "uint4/f16/1x-1/static/max15/x.div.s/asym") \
    X(INT4_STATIC_GROUP32_ASYM, int4_static_group32_asym, "kInt4Static32Asym", \
      "uint4/f16/1x32/static/max15/x.div.s/asym/notail") \
    X(INT8_STATIC, int8_static, "kInt8Static", \
      "int8/f16/1x-1/static/max127/x.div.s") \
    X(INT8_STATIC_CHANNEL, int8_static_channel, "kInt8StaticChannelSym int8_per_channel_static", \
      "int8/f32/-1x1/static/max127/x.div.s") \
    X(INT8_STATIC_TENSOR, int8_static_tensor, "vllm_int8_static", \
      "int8/f32/-1x-1/static/max127/x.div.s") \
    X(INT8_STATIC_TENSOR_AZP, int8_static_tensor_azp, "vllm_int8_static_azp", \
      "int8/f32/-1x-1/static/max127/x.inv.s/asym") \
    X(W4A8_GROUP128, w4a8_group128, "kInt4W4A8StaticGroup128Sym", \
      "int8/bf16/1x128/static/max127/x.div.s/notail") \
    X(W4A8_GROUP64, w4a8_group64, "kInt4W4A8StaticGroup64Sym", \
      "int8/bf16/1x64/static/max127/x.div.s/notail") \
    X(W4A8_GROUP32, w4a8_group32, "kInt4W4A8StaticGroup32Sym", \
      "int8/bf16/1x32/static/max127/x.div.s/notail") \
    X(W4A8_TOKEN, w4a8_token, "kInt4W4A8StaticGroupSym", \
      "int8/bf16/1x-1/static/max127/x.div.s") \
    X(VLLM_CPP_GROUP128_UE8M0, vllm_cpp_group128_ue8m0, "", \
      "float8_e4m3fn/f32/1x128/dyn/amax.rceil448/x.div.s/notail/floor=raw:1e-10") \
    X(VLLM_TRITON_GROUP128_UE8M0, vllm_triton_group128_ue8m0, "", \
      "float8_e4m3fn/f32/1x128/dyn/amax.rceil448/x.div.s/notail/floor=amax:1e-10") \
    X(VLLM_PACKED_UE8M0, vllm_packed_ue8m0, "deepgemm_packed_ue8m0", \
      "float8_e4m3fn/float8_e8m0fnu/1x128/dyn/amax.rceil448/x.div.s/notail/floor=raw:1e-10") \
    X(VLLM_NATIVE_TOKEN, vllm_native_token, "", \
      "float8_e4m3fn/f32/1x-1/dyn/amax.inv448/x.inv.s/floor=scale:4.359654e-6") \
    X(VLLM_NATIVE_GROUP128, vllm_native_group128, "", \
      "float8_e4m3fn/f32/1x128/dyn/amax.inv448/x.div.s/floor=scale:4.359654e-6") \
    X(VLLM_SILU_BLOCK128, vllm_silu_block128, "", \
      "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.div.s/notail/floor=scale:4.359654e-6") \
    X(VLLM_MASKED_SILU_CUDA, vllm_masked_silu_cuda, "", \
      "float8_e4m3fn/f32/1x128/dyn/amax.inv448/x.inv.s/notail/arith=bf16" \
      "/floor=amax:1.0004442e-10") \
    X(VLLM_SCALED_QUANTIZE_BLOCK128, vllm_scaled_quantize_block128, "", \
      "float8_e4m3fn/f32/128x128/dyn/amax.recip448/x.inv.amax/notail/floor=amax:1e-12") \
    X(VLLM_INT8_GROUP128, vllm_int8_group128, "", \
      "int8/f32/1x128/dyn/amax.div127/x.div.s.trunc/notail/floor=amax:1e-10") \
    X(VLLM_INT8_TOKEN_TRITON, vllm_int8_token_triton, "", \
      "int8/f32/1x-1/dyn/amax.div127/x.inv.amax.away/floor=amax:1e-10") \
    X(VLLM_INT8_TOKEN_AZP, vllm_int8_token_azp, "", \
      "int8/f32/1x-1/dyn/range.div255/x.inv.s/asym") \
    X(VLLM_NVFP4_EMULATED, vllm_nvfp4_emulated, "", \
      "float4_e2m1fn/ue4m3/1x16/dyn/amax.inv6/x.ratio/notail/scale2=div") \
    X(AITER_GROUP128, aiter_group128, "", \
      "float8_e4m3fn/f32/1x128/dyn/amax.inv448/x.inv.s/floor=amax:1e-10") \
    X(AITER_GROUP128_FNUZ, aiter_group128_fnuz, "", \
      "float8_e4m3fnuz/f32/1x128/dyn/amax.inv240/x.inv.s/floor=amax:1e-10") \
    X(AITER_TOKEN, aiter_token, "", \
      "float8_e4m3fn/f32/1x-1/dyn/amax.inv448/x.inv.s") \
    X(AITER_TOKEN_FNUZ, aiter_token_fnuz, "", \
      "float8_e4m3fnuz/f32/1x-1/dyn/amax.inv240/x.inv.s") \
    X(AITER_MXFP4, aiter_mxfp4, "aiter_hip_mxfp4", \
      "float4_e2m1fn/float8_e8m0fnu/1x32/dyn/amax.rceil6/x.div.s/floor=amax:1e-10") \
    X(QUARK_MXFP8, quark_mxfp8, "", \
      "float8_e4m3fn/float8_e8m0fnu/1x32/dyn/amax.even448/x.div.s") \
    X(OCP_MXFP8, ocp_mxfp8, "", \
      "float8_e4m3fn/float8_e8m0fnu/1x32/dyn/amax.floor448/x.div.s") \
    X(OCP_MXFP8_E5M2, ocp_mxfp8_e5m2, "", \
      "float8_e5m2/float8_e8m0fnu/1x32/dyn/amax.floor57344/x.div.s") \
    X(OCP_MXFP6_E3M2, ocp_mxfp6_e3m2, "", \
      "float6_e3m2fn/float8_e8m0fnu/1x32/dyn/amax.floor28/x.div.s") \
    X(OCP_MXFP6_E2M3, ocp_mxfp6_e2m3, "", \
      "float6_e2m3fn/float8_e8m0fnu/1x32/dyn/amax.floor7.5/x.div.s") \
    X(OCP_MXFP4, ocp_mxfp4, "", \
      "float4_e2m1fn/float8_e8m0fnu/1x32/dyn/amax.floor6/x.div.s") \
    X(NVIDIA_MXFP4, nvidia_mxfp4, "", \
      "float4_e2m1fn/float8_e8m0fnu/1x32/dyn/amax.rceil6/x.div.s") \
    X(DEEPSEEK_BLOCK128, deepseek_block128, "vllm_per_block_cast", \
      "float8_e4m3fn/f32/128x128/dyn/amax.div448/x.inv.s/floor=amax:1e-4/overflow=nonfinite") \
    X(DEEPSEEK_BLOCK128_UE8M0, deepseek_block128_ue8m0, "", \
      "float8_e4m3fn/f32/128x128/dyn/amax.rceil448/x.inv.s/floor=amax:1e-4/overflow=nonfinite")

typedef enum vq_key_id {
#define X(ID, name, also, text) VQ_KEY_##ID,
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
              uint8b128 are int4 and int8 here: the bias is a matter of packing. What vLLM calls
              mxfp8 is kMxfp8Dynamic, whose rule depends on the machine: mxfp8 here is that of
              sm_100, mxfp8_dynamic the torch fallback, which leaves out the element's exponent. */
VQ_API vq_key      vq_key_preset(vq_key_id id);
VQ_API const char *vq_key_name(vq_key_id id);          /* "fp8_group128" */
VQ_API const char *vq_key_also(vq_key_id id);          /* other names, spaces between; or "" */

/* vq_key_parse -- a key from its text, or from the name of a preset

   Errors     BAD_ARG: PRESENT, KEYTEXT (found: where reading stopped; name: what is there), KEY
              (the fields contradict one another), NAME (no slash in it, and no preset of that
              name). */
VQ_API vq_status   vq_key_parse(const char *text, vq_key *out, vq_report *report_or_null);

/* The text, as snprintf: returns its length. parse(print(k)) == k for every key that
   vq_key_check() accepts. ASCII, the same in every locale. */
VQ_API int         vq_key_print(const vq_key *k, char *out, size_t size);

/* vq_key_check -- does the key mean anything

   Errors     BAD_ARG (KEY, PRESENT), `arg` naming the field: "key.code_max". */
VQ_API vq_status   vq_key_check(const vq_key *k, vq_report *report_or_null);
VQ_API int         vq_key_equal(const vq_key *a, const vq_key *b);
VQ_API uint64_t    vq_key_hash(const vq_key *k);       /* the same on every machine */

/* The same key in another encoding. A floor that was 1/(512*code_max), as vLLM's is, stays so. */
VQ_API vq_key      vq_key_as(vq_key k, vq_dtype elem, float code_max);

/* The static key whose codes, given the scales that k makes, are those of k: vq_calibrate(). A
   code rule that takes the amax and not the scale (x.inv.amax) becomes x.div.s, whose codes may
   differ. A static key stays. */
VQ_API vq_key      vq_key_static(vq_key k);

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
   one of each direction possibly short: 1 for -1, whatever the extent. */
VQ_API void        vq_key_group(const vq_key *k, int64_t rows, int64_t cols, int64_t group[2],
                                int64_t count[2]);

/* The scale tensor of codes [rows, cols], as q is, under k: [groups of rows, groups of cols]. */
VQ__NO_ACCESS(4)
VQ_API vq_tensor   vq_scale_for(const vq_key *k, vq_tensor q, vq_order order, const void *data);

/* vq_scale_from_1d -- how a 1-D scale of n elements is to be read for codes [rows, cols]

     k      in   the key, or NULL to go by the extents alone
     out    out  the same data as [1, n] (a value a column group) or [n, 1] (a row group)

   With a key: its group counts decide, and n must be their product, one of them being 1.
   Without: n == 1 is [1, 1]; n == cols is [1, n]; n == rows is [n, 1].
   Errors     BAD_ARG: RANK (not 1-D, or a key with groups in both directions: needed 2),
              SHAPE (found n, needed the count), AMBIGUOUS (no key, n == rows == cols), SIZE
              (rows or cols below 0), KEY, and those of vq_tensor_check(), TYPE for packed types.
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
    int         gb_per_s;             /* of memory, by the vendor's data sheet; 0 of a CPU */
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

   A gfx name is a major of one decimal digit, or of two from 10 to 19, then a minor and a
   stepping of one hexadecimal digit each; an sm_ number is ten times major plus minor.
   Errors     UNSUPPORTED (ARCH): not of this form; BAD_ARG (PRESENT).
   Source     LLVM AMDGPUUsage, processor names; vLLM rocm.py _capability_from_gcn_arch
   Differs    upstream drops letters (gfx90a is 9.0 to both, but gfx9a0 is refused there) and
              ignores what follows the digits; here every character must be understood. */
VQ_API vq_status vq_arch_parse(const char *text, vq_arch *out, vq_report *report_or_null);

/* vq_platform_of -- the row of the capability table for an architecture string

   Errors     UNSUPPORTED (ARCH): unreadable, or not in the table: never the nearest one; BAD_ARG
              (PRESENT).
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

/* vq_key_on -- a preset in the encoding of a platform: where vq_is_fp8_fnuz(), a key in e4m3fn
   scaled to 448 becomes e4m3fnuz scaled to 224. Every other key stays, the MX ones (e8m0 scales)
   too: MX knows no fnuz. */
VQ_API vq_key   vq_key_on(vq_key k, const vq_platform *p);

/* One device that a driver or runtime library speaks of. */
typedef struct vq_device {
    char        arch[64];             /* as the runtime spells it */
    char        name[128];
    vq_backend  backend;
    int         ordinal;
    int64_t     memory_bytes;         /* 0: not asked, of a CPU */
    int         runtime;              /* the library's version, as it says it: 12040, 60443484; no
                                         capability depends on it */
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
    uint32_t    without;              /* VQ_CAP(...) that it does as if it lacked; the CPU's
                                         loops for AVX-512 and AVX2 give the same bytes */
    vq_policy   policy;               /* of every call */
    void      (*log)(void *user, const char *line);
    void       *log_user;
    void      (*trace)(void *user, vq_when when, const char *op, const char *impl,
                       const void *args, vq_status status);   /* around every vq_run() */
    void       *trace_user;
    vq_report  *report;
} vq_desc;

/* vq_init -- one context for one device

   Errors     BAD_ARG (PRESENT; NAME: VQ_BACKEND or VQ_IMPL in the environment, or policy.only,
              names nothing; VALUE: unknown bits in policy.forbid, a backend out of range or not
              that of `assume`, a device below 0, or other than 0 of the CPU); UNSUPPORTED when
              the backend asked for cannot start (BACKEND), when `assume` is unknown (ARCH), or
              when this build fails its self-test (SELFTEST); OUT_OF_MEMORY. A library that does
              not load is a line in the log. VQ_CPU opens no library and takes under a
              millisecond. *out is NULL after an error. */
VQ_API vq_status   vq_init(const vq_desc *desc_or_null, vq_ctx **out);
VQ_API void        vq_free(vq_ctx *ctx_or_null);
VQ_API vq_platform vq_platform_in(const vq_ctx *ctx);
VQ_API const char *vq_arch_in(const vq_ctx *ctx);      /* "gfx942:sramecc+:xnack-"; "cpu" */

/* Memory that ctx's kernels reach, so that one program text serves every backend: device
   memory on a GPU, malloc on the CPU; vq_mem_where() is what a tensor there must say. NULL
   where there is none to be had, where another device is current in this thread, and in a
   planning context (desc.assume). vq_mem_copy() goes any way, and waits. */
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
#define VQ__OPS_QUANT(X) X(QUANT, quant) X(DEQUANT, dequant) X(REQUANT, requant)
#endif
#ifdef VQ_NO_ACT
#define VQ__OPS_ACT(X)
#else
#define VQ__OPS_ACT(X) X(ACT, act) X(ACT_MUL, act_mul) X(ACT_MUL_QUANT, act_mul_quant) \
                       X(MASKED_ACT_MUL_QUANT, masked_act_mul_quant)
#endif
#ifdef VQ_NO_NORM
#define VQ__OPS_NORM(X)
#else
#define VQ__OPS_NORM(X) X(RMS_NORM, rms_norm) X(LAYER_NORM, layer_norm) \
                        X(RMS_NORM_QUANT, rms_norm_quant)
#endif
#ifdef VQ_NO_OBSERVE
#define VQ__OPS_OBSERVE(X)
#else
#define VQ__OPS_OBSERVE(X) X(AMAX, amax) X(MINMAX, minmax) X(HISTOGRAM, histogram) \
                           X(PERCENTILE, percentile) X(CALIBRATE, calibrate)
#endif
#ifdef VQ_NO_SCALES
#define VQ__OPS_SCALES(X)
#else
#define VQ__OPS_SCALES(X) X(SCALE_CONVERT, scale_convert)
#endif
#ifdef VQ_NO_COMPARE
#define VQ__OPS_COMPARE(X)
#else
#define VQ__OPS_COMPARE(X) X(COMPARE, compare)
#endif
#define VQ_OPS(X) VQ__OPS_CONVERT(X) VQ__OPS_QUANT(X) VQ__OPS_ACT(X) VQ__OPS_NORM(X) \
                  VQ__OPS_OBSERVE(X) VQ__OPS_SCALES(X) VQ__OPS_COMPARE(X)

typedef enum vq_op {
    VQ_OP_NONE,
#define X(ID, name) VQ_OP_##ID,
    VQ_OPS(X)
#undef X
    VQ_OP_COUNT
} vq_op;

VQ_API const char *vq_op_str(vq_op op);
VQ_API vq_op       vq_op_of(const char *text);         /* VQ_OP_NONE: no such name */

/* What an op's args struct has, so that a program can fill it by name: the tool, a graph.
   X(ID, what it is) */
#define VQ_FIELDS(X) \
    X(IN,     "vq_tensor, read") \
    X(OUT,    "vq_tensor, written") \
    X(MADE,   "vq_tensor, written; read where the key is static") \
    X(INOUT,  "vq_tensor, written; read where `running` is set") \
    X(BOTH,   "vq_tensor, read and written") \
    X(KEY,    "vq_key") \
    X(TYPE,   "vq_dtype") \
    X(OVERFLOW, "vq_overflow") \
    X(ACT,    "vq_act_kind") \
    X(GATE,   "vq_gate") \
    X(INT,    "int") \
    X(FLOAT,  "float") \
    X(RESULT, "a pointer to a struct that is written")

typedef enum vq_field_kind {
#define X(ID, text) VQ_FIELD_##ID,
    VQ_FIELDS(X)
#undef X
    VQ_FIELD_COUNT
} vq_field_kind;

typedef struct vq_field {
    const char   *name, *twin;        /* twin: the input whose memory it may be; or NULL */
    vq_field_kind kind;
    uint32_t      offset;             /* in the args struct */
} vq_field;

/* The fields of op's args in their order, `call` left out; NULL for no such op. */
VQ_API const vq_field *vq_op_fields(vq_op op, int *count);

/* Any field of an op's args but tensors and results, as text: fp8_token, bf16, silu, 1e-6. Read
   returns 0 where the text says nothing; write is as snprintf, a key in full. */
VQ_API int         vq_field_read(const vq_field *f, const char *text, void *args);
VQ_API int         vq_field_write(const vq_field *f, const void *args, char *out, size_t size);

#ifndef VQ_NO_CONVERT
/* vq_cast -- from any format to any other

     y[...] = the code of x[...]'s value in y's format

     x         in    rank 1 to 4, any format
     y         out   the shape of x, any format
     overflow  in    VQ_SATURATE | VQ_NONFINITE: see >>formats
     Both strided. y may be x itself: the same data, strides and bits an element.

   Numerics   one rounding, to nearest even (>>formats): every format is exact in f32. Padding
              bits at the end of a packed row are written 0. Same bits everywhere.
   Errors     BAD_ARG (PRESENT, TYPE, VALUE, RANK, LAYOUT, SHAPE, SIZE, STRIDE, OVERLAP,
              CURRENT), UNSUPPORTED, DEVICE_FAILED.
   Source     ml_dtypes 0.5 conversions (VQ_NONFINITE); PTX cvt.rn.satfinite (VQ_SATURATE)
   Differs    ml_dtypes: NaN of fp6 and fp4 is a zero there, the largest here; e8m0 of
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

     a[g][h]     = max |x| over group (g, h): NaN skipped, an infinity as x's largest finite
     scale[g][h] = the key's scale rule of a[g][h]; static: an input
     zero[g][h]  = lowest code - min / scale, rounded; asymmetric keys; static: an input
     q[i][j]     = the code rule of x[i][j], rounded by the element's format (plus zero), held to
                   -code_max..code_max; signed integers of full range to their lowest

     key     in
     x       in      [T, H]    f32 | f16 | bf16; columns side by side, rows apart
     q       out     [T, H]    key.elem; rows may be packed 4- or 6-bit codes
     scale   out     [G0, G1]  key.scale_type, strided, or e8m0 and ue4m3 in any layout, whose
                               padding is written: vq_scale_for() builds it
             in                when the key is static
     zero    out     [G0, G1]  key.elem, as scale is laid out; asymmetric keys only
             in                when the key is static
     bound   in      [1, 1]    f32, keys with a bound only: the most that the amax (before the
                               floor), or the scale (before the floor) may be
     scale2  in      [1, 1]    f32, keys with a second scale only: G
     The last group of rows or columns may be short, unless the key forbids it.

   Numerics   the rules of >>keys, each operation rounded once, in f32 or, with arith=bf16, f32
              and then bf16. A scale rounds to its type as >>formats says, saturating, and the
              codes are made with what was stored. Second scale: stored is RN(s * G) under div,
              RN(s / G) under mul; the codes use RN(scale * RN(1 / G)), or RN(scale * G).
              A NaN in x, where the element has none (int, fp6, fp4), makes the group's scale
              NaN; under a static key its code is the NaN of >>formats. Zero points: min and
              max include 0. Same bits everywhere. A group depends on itself alone; under keys
              whose groups span rows the rows depend on each other. A given scale is used as it
              is: 0 and NaN too.
   Errors     BAD_ARG (PRESENT, KEY, TYPE, VALUE, RANK, LAYOUT, SHAPE, SIZE, STRIDE, UNUSED,
              OVERLAP, CURRENT),
              UNSUPPORTED, OUT_OF_MEMORY (WORKSPACE), DEVICE_FAILED.
   Source     vLLM static_scaled_fp8_quant, dynamic_per_token_scaled_fp8_quant,
              per_token_group_fp8_quant, scaled_int8_quant, scaled_fp4_quant, mxfp8_utils,
              reference_mxfp4; AITER mx_quant_utils.h; OCP MX 1.0
   Differs    NaN stays NaN (upstream: a largest code, of either sign). An infinity saturates its
              code and counts as the largest finite in amax (upstream: the scale is infinite).
              Ragged last groups are allowed. Approximate reciprocals of upstream (NVFP4's
              rcp.approx, Triton's division) are correctly rounded here. Zero points fit the
              element's type, since min and max include 0; upstream's are int32. */
typedef struct vq_quant_args {
    vq_call   call;
    vq_key    key;
    vq_tensor x, q, scale, zero, bound, scale2;
} vq_quant_args;

VQ_API vq_status vq_quant(const vq_ctx *ctx, const vq_quant_args *a);

/* vq_dequant -- values of codes and scales

     y[i][j] = y's type of RN((decode(q[i][j]) - zero[g][h]) * s)      (i, j) in group (g, h)
     s       = scale[g][h]; with a second scale RN(scale[g][h] * G), or RN(scale[g][h] / G)

     key     in
     q       in    [T, H]    key.elem
     scale   in    [G0, G1]  key.scale_type, in any layout that holds it
     zero    in    [G0, G1]  key.elem, asymmetric keys only
     scale2  in    [1, 1]    f32, keys with a second scale only: G
     y       out   [T, H]    f32 | f16 | bf16; columns side by side, rows apart

   Numerics   the product rounds to f32, then to y's type, where too large is infinity.
   Errors     as vq_quant.
   Source     vLLM scaled_dequantize, dequantize_to_dtype, dequant_mxfp4
   Differs    upstream multiplies in y's type, or through fp16. */
typedef struct vq_dequant_args {
    vq_call   call;
    vq_key    key;
    vq_tensor q, scale, zero, scale2, y;
} vq_dequant_args;

VQ_API vq_status vq_dequant(const vq_ctx *ctx, const vq_dequant_args *a);

/* What vq_requant() changed. v: what the old codes mean, w: what the new ones do, both in f32. */
typedef struct vq_requant_result {
    int64_t count;                    /* elements */
    int64_t changed;                  /* codes that differ; -1 where the types of codes do */
    int64_t moved;                    /* elements where w is not v */
    int64_t skipped;                  /* v or w infinite or NaN: not in what follows */
    float   max_error;                /* |w - v| */
    int32_t reserved;
    int64_t at[2];                    /* row and column of the first such */
    double  signal, noise;            /* sums of v^2, of (w - v)^2 */
    double  sqnr_db;                  /* vq_sqnr_db(signal, noise) */
} vq_requant_result;

/* vq_requant -- codes and scales of one key as those of another

     v[i][j]                           = vq_dequant() of q, scale, zero, scale2 under `from`, in f32
     q_out, scale_out, zero_out        = vq_quant() of v under `key`, with bound and scale2_out

     from        in   the key of the input
     key         in   the key of the output
     q           in      [T, H]    from.elem
     scale       in      [G0, G1]  from.scale_type, in any layout that holds it
     zero        in      [G0, G1]  from.elem, asymmetric keys only
     scale2      in      [1, 1]    f32, keys with a second scale only
     q_out       out     [T, H]    key.elem
     scale_out   out     [G0, G1]  as scale of vq_quant(): an input when the key is static
     zero_out    out     [G0, G1]  as zero of vq_quant()
     bound       in      [1, 1]    as vq_quant()
     scale2_out  in      [1, 1]    f32, the second scale of `key`
     result      out  the host's, or NULL

   Numerics   as vq_dequant and vq_quant, no value in between is kept. The sums of the result are
              f64, in row-major order.
   Errors     as vq_quant; UNSUPPORTED (PATTERN): kernels serve a NULL result only.
   Source     vLLM requantize_with_max_scale, per_tensor_dequantize, convert_to_channelwise
   Differs    upstream goes through fp16 or the model's type, and reports nothing. */
typedef struct vq_requant_args {
    vq_call            call;
    vq_key             from, key;
    vq_tensor          q, scale, zero, scale2, q_out, scale_out, zero_out, bound, scale2_out;
    vq_requant_result *result;
} vq_requant_args;

VQ_API vq_status vq_requant(const vq_ctx *ctx, const vq_requant_args *a);

/* 10 log10(signal / noise), correct to 1e-12 or so; infinity without noise, NaN where either is
   or both are 0. No libm. */
VQ_API double    vq_sqnr_db(double signal, double noise);
#endif

/* X(ID, text) */
#define VQ_ACTS(X) \
    X(SILU,       "silu")        /* v / (1 + e^-v) */ \
    X(GELU,       "gelu")        /* v/2 (1 + erf(v / sqrt(2))) */ \
    X(GELU_TANH,  "gelu_tanh")   /* v/2 (1 + tanh(sqrt(2/pi) (v + 0.044715 v^3))) */ \
    X(GELU_QUICK, "gelu_quick")  /* v / (1 + e^(-1.702 v)) */ \
    X(RELU2,      "relu2")       /* max(v, 0)^2 */ \
    X(SWIGLU_OAI, "swiglu_oai")  /* v / (1 + e^(-alpha v)); gated ops only */

typedef enum vq_act_kind {
#define X(ID, text) VQ_ACT_##ID,
    VQ_ACTS(X)
#undef X
    VQ_ACT_COUNT
} vq_act_kind;

/* Where the gate, on which the activation works, and the other factor lie in a row of 2H.
   X(ID, text) */
#define VQ_GATES(X) \
    X(FIRST,  "first")           /* gate | up: vLLM's silu_and_mul */ \
    X(SECOND, "second")          /* up | gate: vLLM's mul_and_silu */ \
    X(EVEN,   "even")            /* gate, up, gate, up, ...: gpt-oss */

typedef enum vq_gate {
#define X(ID, text) VQ_GATE_##ID,
    VQ_GATES(X)
#undef X
    VQ_GATE_COUNT
} vq_gate;

VQ_API const char *vq_act_str(vq_act_kind act);
VQ_API int         vq_act_of(const char *text);        /* -1: no such name */
VQ_API const char *vq_gate_str(vq_gate gate);
VQ_API int         vq_gate_of(const char *text);       /* -1: no such name */

#ifndef VQ_NO_ACT
/* vq_act -- an activation, element by element

     y[i][j] = y's type of f(x[i][j])

     act  in   VQ_ACT_*, not SWIGLU_OAI
     x    in   [T, H]  f32 | f16 | bf16; columns side by side
     y    out  [T, H]  x's type | f32; may be x itself
     Numerics, by the type of x and y:
       16 bits to the same   the real function rounded once: bf16 of magnitude below 2^-60 gives
                             x/2, ties to even. relu2: RN(v v). All 65,536 inputs are tested
                             against 300 bits.
       to f32                the f32 function of >>numerics; its error is said there

   Numerics   f(-infinity) = -0, f(infinity) = infinity, f(0) = 0, f(-0) = -0; relu2 of what is
              not above 0 is 0. NaN stays NaN. Same bits everywhere.
   Errors     as vq_cast; VALUE: act.
   Source     vLLM gelu_and_mul, gelu_tanh_and_mul, gelu_quick, relu2
   Differs    vLLM rounds an f32 expression of approximate parts; silu(-infinity) is NaN there. */
typedef struct vq_act_args {
    vq_call     call;
    vq_act_kind act;
    vq_tensor   x, y;
} vq_act_args;

VQ_API vq_status vq_act(const vq_ctx *ctx, const vq_act_args *a);

/* vq_act_mul -- a gated activation: the first half of a feed-forward block

     g, u    = gate and up of x, held by L, the limit rounded to x's type: min(g, L),
               max(min(u, L), -L)
     y[i][j] = y's type of M(RN(M(f(g)) * u))      M rounds to `mid`
               SWIGLU_OAI: M(RN(RN(u + plus) * f(g))), f(g) = RN(g / RN(1 + e^RN(-alpha g)));
               f(-infinity) = -0

     act    in   VQ_ACT_*
     gate   in   VQ_GATE_*
     mid    in   VQ_NONE: x's type; or VQ_F32
     alpha  in   > 0; SWIGLU_OAI only: 1.702
     limit  in   > 0; 0 is none
     plus   in   what is added to up; SWIGLU_OAI only: 1
     x      in   [T, 2H]  f32 | f16 | bf16; columns side by side
     y      out  [T, H]   x's type | f32

   Numerics   f as vq_act: under mid = x's type the 16-bit functions, under f32 the f32 ones. The
              limit passes a NaN. Same bits everywhere; a row depends on itself alone.
   Errors     as vq_act; SHAPE: x has not twice the columns of y; VALUE: mid, alpha, limit, plus.
   Source     vLLM silu_and_mul, silu_and_mul_with_clamp, mul_and_silu, gelu_and_mul,
              swigluoai_and_mul; gpt-oss
   Differs    the exponential is not approximate. */
typedef struct vq_act_mul_args {
    vq_call     call;
    vq_act_kind act;
    vq_gate     gate;
    vq_dtype    mid;
    float       alpha, limit, plus;
    vq_tensor   x, y;
} vq_act_mul_args;

VQ_API vq_status vq_act_mul(const vq_ctx *ctx, const vq_act_mul_args *a);

/* vq_act_mul_quant -- a gated activation and the quantization of what it gives

     q, scale, zero = vq_quant() of vq_act_mul(x) in mid's type, byte for byte

     key .. x       in   as vq_quant and vq_act_mul
     q              out  [T, H]    key.elem
     scale, zero    out  [G0, G1]  as vq_quant(): inputs when the key is static
     bound, scale2  in   [1, 1]    f32, as vq_quant()

   Numerics   no value in between is stored. An infinity counts as mid's largest finite.
   Errors     as vq_quant and vq_act_mul.
   Source     vLLM silu_and_mul_quant, silu_and_mul_per_block_quant, silu_and_mul_nvfp4_quant;
              AITER act_mul_and_fp8_group_quant
   Differs    vLLM's static kernel rounds as mid = x's type does, the per-block one and AITER's as
              mid = f32; the NVFP4 one rounds the product alone, which is neither. */
typedef struct vq_act_mul_quant_args {
    vq_call     call;
    vq_key      key;
    vq_act_kind act;
    vq_gate     gate;
    vq_dtype    mid;
    float       alpha, limit, plus;
    vq_tensor   x, q, scale, zero, bound, scale2;
} vq_act_mul_quant_args;

VQ_API vq_status vq_act_mul_quant(const vq_ctx *ctx, const vq_act_mul_quant_args *a);

/* vq_masked_act_mul_quant -- the same for experts of whose rows only the first are there

     expert e: vq_act_mul_quant() of x[e][0 .. counts[e]), rows from counts[e] on not touched

     key .. plus  in   as vq_act_mul_quant; group_rows == 1, dynamic, symmetric
     x            in   [E, T, 2H]  f32 | f16 | bf16; columns side by side
     counts       in   [E]         int32; one below 0 counts as 0, one above T as T
     q            out  [E, T, H]   key.elem
     scale        out  [E, T, G]   key.scale_type, strided, or e8m0 as packed_ue8m0 (>>tensors)
     status       out  [1, 1]      int32, or absent: 0, plus 1 if a count was below 0, plus 2 if
                                   one was above T

   Numerics   as vq_act_mul_quant. Of packed words, only the bytes of rows below the count are
              written, and in these the bytes that a last word lacks.
   Errors     as vq_act_mul_quant.
   Source     vLLM persistent_masked_m_silu_mul_quant
   Differs    upstream computes in bf16 on CUDA (the key vllm_masked_silu_cuda) and in f32
              elsewhere; takes counts as they are. */
typedef struct vq_masked_act_mul_quant_args {
    vq_call     call;
    vq_key      key;
    vq_act_kind act;
    vq_gate     gate;
    vq_dtype    mid;
    float       alpha, limit, plus;
    vq_tensor   x, counts, q, scale, status;
} vq_masked_act_mul_quant_args;

VQ_API vq_status vq_masked_act_mul_quant(const vq_ctx *ctx, const vq_masked_act_mul_quant_args *a);
#endif

#ifndef VQ_NO_NORM
/* vq_rms_norm -- root-mean-square norm; residual, weight, gate

     z        = x, or M(x + residual), which is stored: residual = T(z)
     r        = RN(1 / RN(sqrt(RN(ms + eps)))), ms = RN(sum z^2 / H), the sum in the order of N1
     n[j]     = M(z[j] * r)
     y[j]     = y's type of M(n[j] * w[j])                     w = weight, RN(weight + 1), or 1
                with a gate: M(M(n[j] * w[j]) * M(silu(gate[j])))

     x         in   [T, H] or [T, N, H]  f32 | f16 | bf16 (T's type); columns side by side
     residual  io   the shape and type of x; or absent
     weight    in   [H], x's type or f32; or absent
     gate      in   the shape and type of x; or absent
     y         out  the shape of x; x's type | f32; may be x itself
     eps       in   >= 0
     plus_one  in   not 0: the weight counts from 1, as Gemma's
     mid       in   VQ_NONE: x's type; or VQ_F32

   The sum: element j goes to partial j mod 1024 by fma(z, z, p), in order of j, from +0; the
   partials combine in a butterfly of distance 1, 2, 4, ... 512.

   Numerics   M rounds to mid. A row depends on itself alone, not on how many there are.
   Errors     as vq_cast; VALUE: eps, mid.
   Source     vLLM rms_norm, fused_add_rms_norm, GemmaRMSNorm; Qwen3-Next RMSNormGated
   Differs    upstream's rsqrt is approximate, and its sum's order is the block's. */
typedef struct vq_rms_norm_args {
    vq_call   call;
    vq_tensor x, residual, weight, gate, y;
    float     eps;
    int       plus_one;
    vq_dtype  mid;
} vq_rms_norm_args;

VQ_API vq_status vq_rms_norm(const vq_ctx *ctx, const vq_rms_norm_args *a);

/* vq_layer_norm -- norm by mean and variance, without bias

     m    = RN(sum x / H)
     r    = RN(1 / RN(sqrt(RN(v + eps)))), v = RN(sum RN(x - m)^2 / H)
     y[j] = y's type of M(M(RN(x[j] - m) * r) * w[j])

     x .. mid  as vq_rms_norm; the sums in the same order, the first by p + x

   Numerics   two passes: the variance is made of differences, not of squares.
   Errors     as vq_rms_norm.
   Source     PyTorch layer_norm(bias=None)
   Differs    PyTorch's CPU and GPU differ in the order of the sums. */
typedef struct vq_layer_norm_args {
    vq_call   call;
    vq_tensor x, weight, y;
    float     eps;
    int       plus_one;
    vq_dtype  mid;
} vq_layer_norm_args;

VQ_API vq_status vq_layer_norm(const vq_ctx *ctx, const vq_layer_norm_args *a);

/* vq_rms_norm_quant -- an rms norm and the quantization of what it gives

     q, scale, zero = vq_quant() of vq_rms_norm(x) in mid's type, byte for byte; residual too

     key             in   as vq_quant
     x .. gate       in   as vq_rms_norm, of rank 2
     q, scale, zero  out  as vq_act_mul_quant
     bound, scale2   in   [1, 1]  f32

   Numerics   no value in between is stored.
   Errors     as vq_quant and vq_rms_norm.
   Source     vLLM rms_norm_static_fp8_quant, fused_add_rms_norm_static_fp8_quant,
              rms_norm_dynamic_per_token_quant, rms_norm_per_block_quant; AITER
              rmsnorm_group_fp8_quant
   Differs    vLLM's dynamic kernels take the statistics of an unrounded x + residual, and round
              the norm to x's type: neither mid. Its static ones are mid = x's type, AITER's f32. */
typedef struct vq_rms_norm_quant_args {
    vq_call   call;
    vq_key    key;
    vq_tensor x, residual, weight, gate;
    float     eps;
    int       plus_one;
    vq_dtype  mid;
    vq_tensor q, scale, zero, bound, scale2;
} vq_rms_norm_quant_args;

VQ_API vq_status vq_rms_norm_quant(const vq_ctx *ctx, const vq_rms_norm_quant_args *a);
#endif

#ifndef VQ_NO_OBSERVE
/* vq_amax -- the largest magnitude of each group

     amax[g][h] = max |x| over group (g, h) of the key; running: and of what amax holds

     key      in      its groups and its element type count, nothing else
     x        in      [T, H]    f32 | f16 | bf16; columns side by side
     amax     out     [G0, G1]  f32, strided
     running  in      not 0: amax is read first, as that of the batches before (start from 0)

   Numerics   exact. NaN is skipped where the element type has one; where it has none (int, fp6,
              fp4) it makes the group's amax NaN, which stays. An infinity counts as the largest
              finite of x's type. vq_calibrate() and static quantization with its scales are
              dynamic quantization, byte for byte.
   Errors     as vq_quant.
   Source     vLLM dynamic_scaled_fp8_quant; compressed-tensors MinMaxObserver
   Differs    NaN and infinity as said; upstream's amax of a NaN depends on the order. */
typedef struct vq_amax_args {
    vq_call   call;
    vq_key    key;
    vq_tensor x, amax;
    int       running;
} vq_amax_args;

VQ_API vq_status vq_amax(const vq_ctx *ctx, const vq_amax_args *a);

/* vq_minmax -- the smallest and the largest value of each group

     lo[g][h] = min x, hi[g][h] = max x over group (g, h); running: and of what they hold

     key      in      as vq_amax
     x        in      [T, H]    f32 | f16 | bf16; columns side by side
     lo, hi   out     [G0, G1]  f32, strided
     running  in      not 0: lo and hi are read first (start from +infinity and -infinity)

   Numerics   exact; -0 counts as 0. NaN and infinity as vq_amax; a group without a number has
              lo = infinity, hi = -infinity.
   Errors     as vq_quant.
   Source     PyTorch MinMaxObserver; vLLM dynamic_scaled_int8_azp_quant
   Differs    PyTorch's moving averages are left to the caller. */
typedef struct vq_minmax_args {
    vq_call   call;
    vq_key    key;
    vq_tensor x, lo, hi;
    int       running;
} vq_minmax_args;

VQ_API vq_status vq_minmax(const vq_ctx *ctx, const vq_minmax_args *a);

/* vq_histogram -- how often each magnitude occurs

     counts[b] = how many |x| have b = min(B - 1, floor(RN(|x| * RN(B / limit))))

     x        in      [T, H]  f32 | f16 | bf16; columns side by side
     counts   out     [1, B]  int64, columns side by side
     limit    in      > 0: the last bin's upper edge; what lies beyond is in the last bin
     running  in      not 0: added to what counts holds

   Numerics   NaN is not counted, infinity is in the last bin, 0 in the first. The order of
              batches does not matter.
   Errors     as vq_quant; VALUE: limit is not a positive number.
   Source     PyTorch HistogramObserver; NVIDIA TensorRT calibrators
   Differs    the range is fixed by the caller, never stretched: bins of two runs can be added. */
typedef struct vq_histogram_args {
    vq_call   call;
    vq_tensor x, counts;
    float     limit;
    int       running;
} vq_histogram_args;

VQ_API vq_status vq_histogram(const vq_ctx *ctx, const vq_histogram_args *a);

/* The magnitude that `percent` of what was counted do not exceed, as the upper edge of a bin,
   RN(RN(b + 1) * RN(limit / bins)); 0 where nothing was. An amax for vq_calibrate(). */
VQ_API float     vq_histogram_percentile(const int64_t *counts, int64_t bins, float limit,
                                         float percent);

/* vq_percentile -- the magnitude that a share of each group does not exceed

     amax[g][h] = the k-th smallest |x| of group (g, h), k = ceil(percent * n / 100), at least 1;
                  n counts the numbers of the group; 0 where there is none

     key      in      as vq_amax
     x        in      [T, H]    f32 | f16 | bf16; columns side by side
     amax     out     [G0, G1]  f32, strided
     percent  in      above 0, at most 100, which is vq_amax()

   Numerics   exact, an element of the group and not a value between two. percent * n / 100 is
              made in f64. NaN and infinity as vq_amax.
   Errors     as vq_quant; VALUE: percent is out of its range.
   Source     numpy.percentile(method="inverted_cdf")
   Differs    torch.quantile interpolates. */
typedef struct vq_percentile_args {
    vq_call   call;
    vq_key    key;
    vq_tensor x, amax;
    float     percent;
} vq_percentile_args;

VQ_API vq_status vq_percentile(const vq_ctx *ctx, const vq_percentile_args *a);

/* vq_calibrate -- statistics to the scales that a static key takes

     scale[g][h], zero[g][h] = those that vq_quant() under `key` makes of a group with this amax,
                               or with this min and max

     key         in      dynamic
     amax        in      [G0, G1]  f32, strided; >= 0; symmetric keys only
     lo, hi      in      [G0, G1]  f32, strided; asymmetric keys only
     bound       in      [1, 1]    f32, keys with a bound only
     scale2      in      [1, 1]    f32, keys with a second scale only
     scale       out     [G0, G1]  key.scale_type, strided, or e8m0 and ue4m3 in any layout
     zero        out     [G0, G1]  key.elem; asymmetric keys only

   Numerics   as vq_quant. vq_quant() under vq_key_static(key) with these makes the codes of
              vq_quant() under key, of data that has these statistics. A NaN makes the scale NaN.
   Errors     as vq_quant; KEY: the key is static.
   Source     vLLM scaled_fp8_quant, scaled_int8_quant; compressed-tensors calculate_qparams
   Differs    upstream's floors differ between observers and kernels; here the key has them. */
typedef struct vq_calibrate_args {
    vq_call   call;
    vq_key    key;
    vq_tensor amax, lo, hi, bound, scale2, scale, zero;
} vq_calibrate_args;

VQ_API vq_status vq_calibrate(const vq_ctx *ctx, const vq_calibrate_args *a);
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

#ifndef VQ_NO_COMPARE
/* One element that is off. */
typedef struct vq_offender {
    int64_t at[4];                    /* its index, of x.rank numbers */
    float   x, y;
    double  off;                      /* |x - y|; infinity where a NaN or an infinity differs */
} vq_offender;

/* What vq_compare() found. A pair is two finite numbers; the two of a member are x's, y's. */
typedef struct vq_comparison {
    int64_t     count;                /* elements */
    int64_t     nans[2], infs[2];
    int64_t     nan_apart;            /* NaN on one side only */
    int64_t     inf_apart;            /* an infinity that the other side does not have */
    int64_t     bits_apart;           /* codes that differ; values, where the types do */
    int64_t     pairs;
    int64_t     mismatches;           /* pairs beyond the tolerance, nan_apart, inf_apart */
    double      mismatch_percent;     /* of count */
    double      max_abs, mean_abs;    /* |x - y| over the pairs, in f64 */
    double      max_rel, mean_rel;    /* |x - y| / |y| over the pairs where y is not 0 */
    int64_t     max_ulp;              /* steps of y's type from y to x, which is rounded to it:
                                         of types of 8 bits and less, the distance of codes */
    int64_t     ulps[4];              /* pairs 0, 1, 2, and more steps apart */
    float       least[2], most[2];    /* the ranges, of numbers that are finite; 0 without any */
    int         passed;               /* mismatch_percent <= budget */
    int         rank;
    int         first_count, worst_count;
    vq_offender first[4], worst[4];   /* mismatches: the first ones, the largest ones */
} vq_comparison;

/* vq_compare -- are two tensors as close as they should be

     mismatch: |x - y| > atol + rtol * |y|, or a NaN or an infinity that only one side has

     x        in   rank 1 to 4, any format: what was made
     y        in   the shape of x, any format: what is right
     atol     in   >= 0
     rtol     in   >= 0; both 0: equal, but 0 is -0 and a NaN any NaN
     budget   in   percent of the elements that may be mismatches, 0 to 100
     result   out  the host's

   Numerics   NaN and infinity are looked for first and enter no statistic. Differences and sums
              are f64, in row-major order. Too many mismatches are no error: result->passed is 0.
   Errors     as vq_cast; VALUE: atol, rtol or budget is out of its range.
   Source     torch.testing.assert_close; numpy.testing.assert_allclose; vLLM's kernel tests
   Differs    those stop at the first kind of difference, and let a NaN hide in a mean. */
typedef struct vq_compare_args {
    vq_call        call;
    vq_tensor      x, y;
    float          atol, rtol, budget;
    vq_comparison *result;
} vq_compare_args;

VQ_API vq_status vq_compare(const vq_ctx *ctx, const vq_compare_args *a);

/* A few lines for people, as snprintf. */
VQ_API int       vq_comparison_text(const vq_comparison *c, char *out, size_t size);
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
    X(CAST,                 cast) \
    X(FNUZ_NORMALIZE,       fnuz_normalize) \
    X(QUANT,                quant) \
    X(DEQUANT,              dequant) \
    X(REQUANT,              requant) \
    X(ACT,                  act) \
    X(ACT_MUL,              act_mul) \
    X(ACT_MUL_QUANT,        act_mul_quant) \
    X(MASKED_ACT_MUL_QUANT, masked_act_mul_quant) \
    X(RMS_NORM,             rms_norm) \
    X(LAYER_NORM,           layer_norm) \
    X(RMS_NORM_QUANT,       rms_norm_quant) \
    X(SCALE_CONVERT,        scale_convert)

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
    int         (*self_test)(int device);              /* 0; > 0 a part that fails; < 0 an error */
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

/* ###########################################################################
   ###  IMPLEMENTATION, and the arithmetic that kernels share with it
   ########################################################################### */
#if defined(VQ_IMPLEMENTATION) || defined(VQ_KERNEL_FILE)
#ifndef VQ_NUMERICS_INCLUDED
#define VQ_NUMERICS_INCLUDED

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) \
    || defined(__NO_SIGNED_ZEROS__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) \
    || defined(_M_FP_FAST)
#error "vq.h: fast math changes results; compile the implementation without it"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0
#error "vq.h: float must be evaluated as float; on 32-bit x86 use -msse2 -mfpmath=sse"
#endif

/* No a*b + c may become fma(a, b, c) behind our back: it rounds once where we say twice. */
#if defined(__clang__)
#if !defined(__HIP__) && !defined(__CUDACC__)
#pragma float_control(precise, on, push)
#endif
#pragma clang fp contract(off)
#elif defined(__GNUC__) && !defined(__CUDACC__)
#pragma GCC push_options
#pragma GCC optimize ("fp-contract=off")
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ===========================================================================
   >>numerics       f32 arithmetic with one meaning: each call rounds once
   =========================================================================== */

/* Under -ffp-contract=fast clang ignores the pragma, so a product that is not an fma goes
   through an integer register that the compiler cannot see into. */
VQ_HD float vq__mul(float a, float b)
{
#if defined(__CUDA_ARCH__)
    return __fmul_rn(a, b);
#else
    uint32_t u = vq__f32_bits(a * b);
#if defined(__AMDGCN__)
    __asm__("" : "+v"(u));
#elif defined(__GNUC__)
    __asm__("" : "+r"(u));
#else
    volatile uint32_t v = u;
    u = v;
#endif
    return vq__f32_make(u);
#endif
}

/* a*b of which no sum follows: nothing to contract, and loops vectorize. */
VQ__FOLD float vq__times(float a, float b)
{
#if defined(__CUDA_ARCH__)
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

VQ__FOLD float vq__div(float a, float b)
{
#if defined(__CUDA_ARCH__)
    return __fdiv_rn(a, b);
#else
    return a / b;
#endif
}

VQ__FOLD float vq__add(float a, float b)
{
#if defined(__CUDA_ARCH__)
    return __fadd_rn(a, b);
#else
    return a + b;
#endif
}

VQ__FOLD float vq__sub(float a, float b)
{
#if defined(__CUDA_ARCH__)
    return __fsub_rn(a, b);
#else
    return a - b;
#endif
}

/* a*b + c, rounded once. Without the instruction: the product is exact in double; the sum
   is rounded to odd there, after which rounding to f32 cannot go wrong. Never libm's. */
VQ_HD float vq__fma(float a, float b, float c)
{
#if defined(__CUDA_ARCH__)
    return __fmaf_rn(a, b, c);
#elif defined(__FMA__) || defined(__aarch64__) || defined(__AMDGCN__)
    return __builtin_fmaf(a, b, c);
#else
    double p = (double)a * (double)b, d = (double)c, s = p + d, v = s - p;
    double lost = (p - (s - v)) + (d - v);               /* exactly what s dropped; or NaN */
    uint64_t u;
    memcpy(&u, &s, 8);
    if (lost == lost && lost != 0.0 && !(u & 1u)) u += (lost > 0.0) == (s > 0.0) ? 1u : ~0ull;
    memcpy(&s, &u, 8);
    return (float)s;
#endif
}

/* RN(x / s) by r = RN(1 / s), where nothing under- or overflows on the way: s in 2^-80..2^100, and
   what is below 2^-20 may be any number of that sign below 2^-19. A correctly rounded r makes the
   corrected product the correctly rounded quotient (Markstein); all 2^33 pairs of mantissas with a
   16-bit x were tried, and 2^35 with an f32. The remainder is taken negative so that -0 / s is
   -0. */
VQ__FOLD float vq__quotient(float x, float s, float r)
{
    const float q = vq__times(x, r);
    return vq__fma(vq__fma(q, s, -x), -r, q);
}

/* The same where the quotient may be anything, infinity included: at 2^20 and more it is some
   number of at least that. */
VQ__FOLD float vq__far_quotient(float x, float s, float r)
{
    float q = vq__times(x, r);
    q = q > 1048576.0f ? 1048576.0f : q;
    q = q < -1048576.0f ? -1048576.0f : q;
    return vq__fma(vq__fma(q, s, -x), -r, q);
}

/* On the CPU a digit-by-digit root of integers: exact, and at -O0 no call of libm either. */
VQ_HD float vq__sqrt(float a)
{
#if defined(__CUDA_ARCH__)
    return __fsqrt_rn(a);
#elif defined(__AMDGCN__)
    return __builtin_sqrtf(a);
#else
    uint32_t u = vq__f32_bits(a), root = 0, bit;
    uint64_t rest;
    int32_t e = (int32_t)(u >> 23);
    if (!(u & 0x7fffffffu) || u == 0x7f800000u) return a;
    if (u > 0x7f800000u) return vq__f32_make(0x7fc00000u);             /* NaN, negative */
    u &= 0x007fffffu;
    if (e) u |= 0x00800000u;
    else for (e = 1; !(u >> 23); e--) u <<= 1;
    e -= 127;
    rest = (uint64_t)u << (e & 1 ? 26 : 25);                 /* root: 25 bits, one to round with */
    for (bit = 1u << 24; bit; bit >>= 1) {
        uint64_t next = (uint64_t)(root | bit) * (root | bit);
        if (next <= rest) root |= bit;
    }
    root = (root + 1u) >> 1;                                 /* no root of 24 bits is a tie */
    return vq__f32_make((uint32_t)((e - (e & 1)) / 2 + 126) * 0x00800000u + root);
#endif
}

/* e^x = 2^k (1 + r + r^2 q(r)), k = x log2(e) to the nearest whole, r = x - k ln 2. With the 16
   bits of 0.693145752 for ln 2, r is exact; what they lack joins at the end, and so does what
   1 + r drops. q is a minimax polynomial on |r| <= 0.348. 2^k is multiplied in two halves, the
   first of them exact. Over all inputs at most 0.764437 ulp (at -0x1.5edcb4p+6), and monotone. */
VQ_HD float vq__exp(float x)
{
    const float magic = 12582912.0f;                     /* 1.5 * 2^23: adding it rounds to whole */
    float t, n, r, s, hi, lo, q;
    uint32_t k, half;

    if (x != x) return vq__f32_make(vq__f32_bits(x) | 0x00400000u);
    x = x > 89.0f ? 89.0f : x < -105.0f ? -105.0f : x;   /* beyond them: infinity, 0 */

    t = vq__fma(x, 1.44269502f, magic);                  /* log2(e) */
    n = vq__sub(t, magic);
    k = vq__f32_bits(t) - 0x4b400000u + 256u;            /* plus 256, so that it halves */
    r = vq__fma(n, -0.693145752f, x);                    /* ln 2 = this one, of 16 bits, ... */
    s = vq__fma(n, -1.42860677e-6f, r);                  /* ... plus this one */

    q = 1.97448520e-4f;
    q = vq__fma(q, s, 1.39354693e-3f);
    q = vq__fma(q, s, 8.33356567e-3f);
    q = vq__fma(q, s, 4.16664593e-2f);
    q = vq__fma(q, s, 0.166666657f);
    q = vq__fma(q, s, 0.5f);

    hi = vq__add(1.0f, r);
    lo = vq__sub(r, vq__sub(hi, 1.0f));
    lo = vq__fma(n, -1.42860677e-6f, lo);
    hi = vq__add(hi, vq__fma(vq__mul(s, s), q, lo));

    half = k >> 1;
    hi = vq__mul(hi, vq__f32_make((half - 1u) << 23));             /* 2^(half - 128) */
    return vq__mul(hi, vq__f32_make((k - half - 1u) << 23));
}

/* erf(x) = x + x p(x^2) below b = 105/128, above it 1 - erfc(b) e^(-d g(d)), d = x - b: the power
   is small where the result has the most to lose, and erfc(b) is nearly an f32. p and g are minimax
   polynomials; from 3.95 on the result is 1. Over all inputs at most 0.778069 ulp (at
   0x1.a1fba6p-1), monotone, and odd. */
VQ_HD float vq__erf(float x)
{
    uint32_t u = vq__f32_bits(x), sign = u & 0x80000000u;
    float a = vq__f32_make(u ^ sign), s, p;

    if (x != x) return vq__f32_make(u | 0x00400000u);
    if (a < 0.8203125f) {
        s = vq__mul(a, a);
        p = 7.54661669e-5f;
        p = vq__fma(p, s, -7.97675573e-4f);
        p = vq__fma(p, s, 5.18837292e-3f);
        p = vq__fma(p, s, -2.68548764e-2f);
        p = vq__fma(p, s, 0.112836204f);
        p = vq__fma(p, s, -0.376126289f);
        p = vq__fma(p, s, 0.128379166f);                 /* 2/sqrt(pi) - 1 */
        return vq__fma(x, p, x);
    }
    s = vq__sub(a > 3.95f ? 3.95f : a, 0.8203125f);
    p = -2.07892939e-4f;
    p = vq__fma(p, s, 2.13435525e-3f);
    p = vq__fma(p, s, -1.18179545e-2f);
    p = vq__fma(p, s, 4.93902639e-2f);
    p = vq__fma(p, s, 0.818649828f);
    p = vq__fma(p, s, 2.34024453f);
    p = vq__fma(vq__exp(vq__mul(-p, s)), -0.246009290f, 1.0f);           /* erfc(b) */
    return vq__f32_make(vq__f32_bits(p) | sign);
}

/* log(1 + x) = k ln 2 + log(1 + f), 1 + x = 2^k (1 + f), f in [-1/4, 1/2): f comes from x itself
   and is exact where it matters. log(1 + f) = f - f^2/2 + f^3 q(f), q a minimax polynomial;
   k*0.693145752 + f is kept in two parts. Over all inputs at most 0.863557 ulp (at
   -0x1.04cfbep-2), and monotone. */
VQ_HD float vq__log1p(float x)
{
    uint32_t u = vq__f32_bits(x), e;
    float f, n, s, q, hi, lo;

    if (x != x) return vq__f32_make(u | 0x00400000u);
    if (x <= -1.0f) return vq__f32_make(x == -1.0f ? 0xff800000u : 0x7fc00000u);
    if ((u & 0x7fffffffu) < 0x33000000u || u == 0x7f800000u) return x;   /* under 2^-25; infinity */

    e = (vq__f32_bits(vq__add(1.0f, x)) - 0x3f400000u) & 0xff800000u;    /* k << 23; 3/4 is k = 0 */
    n = vq__mul((float)(int32_t)e, 1.19209290e-7f);                      /* k: 2^-23, exact */
    f = vq__f32_make(e == 0x40000000u ? 0u : 0x3f800000u - e);           /* 2^-k, or as good as 0 */
    f = vq__add(vq__f32_make(u - e), vq__sub(f, 1.0f));

    s = vq__mul(f, f);
    q = 3.76038291e-2f;
    q = vq__fma(q, f, -9.10637379e-2f);
    q = vq__fma(q, f, 0.116970226f);
    q = vq__fma(q, f, -0.127284274f);
    q = vq__fma(q, f, 0.142768025f);
    q = vq__fma(q, f, -0.166553155f);
    q = vq__fma(q, f, 0.199995786f);
    q = vq__fma(q, f, -0.250001639f);
    q = vq__fma(q, f, 0.333333403f);
    q = vq__fma(q, f, -0.5f);

    hi = vq__fma(n, 0.693145752f, f);
    lo = vq__sub(f, vq__fma(n, -0.693145752f, hi));
    lo = vq__fma(n, 1.42860677e-6f, lo);                 /* ln 2 - 0.693145752 */
    return vq__add(hi, vq__fma(s, q, lo));
}


/* How a form is computed; constants, so that what is not asked for folds away. */
#define VQ__FOR_F16   1   /* nudged off the ties of f16: rounded to f16, the result is exact */
#define VQ__FMA_HERE  2   /* the function that this is inlined into is compiled for fma */

VQ__FOLD float vq__recip(float a)                        /* 1 / a, rounded once */
{
#if defined(__CUDA_ARCH__)
    return __frcp_rn(a);
#else
    return vq__div(1.0f, a);
#endif
}

VQ__FOLD float vq__fma_by(int how, float a, float b, float c)
{
#if defined(__GNUC__) && defined(__OPTIMIZE__) && !defined(__CUDACC__) && !defined(__HIP__)
    if (how & VQ__FMA_HERE) return __builtin_fmaf(a, b, c);
#endif
    (void)how;
    return vq__fma(a, b, c);
}

/* a*b + c, rounded once or twice, as is fastest. For the bf16 forms only: whatever mix of the two
   computes them, every code is the same. */
VQ__FOLD float vq__mad(float a, float b, float c)
{
#if defined(VQ__MAD)
    return VQ__MAD(a, b, c);
#elif defined(__CUDA_ARCH__)
    return __fmaf_rn(a, b, c);
#elif defined(__FMA__) || defined(__aarch64__) || defined(__AMDGCN__)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* yes ? a : b, yes being 0 or 1, in integers as what follows: gcc makes branches of many a float's
   ?:, which no vector can take. */
VQ__FOLD float vq__pick(uint32_t yes, float a, float b)
{
    return vq__f32_make((vq__f32_bits(a) & (0u - yes)) | (vq__f32_bits(b) & (yes - 1u)));
}

/* x held between lo < 0 and hi > 0, which are bits. A NaN is held too. */
VQ__FOLD float vq__held(float x, uint32_t lo, uint32_t hi)
{
    uint32_t u = vq__f32_bits(x);
    u = u > lo ? lo : u;
    return vq__f32_make((uint32_t)((int32_t)u > (int32_t)hi ? (int32_t)hi : (int32_t)u));
}

VQ__FOLD float vq__held_mag(float x, uint32_t hi)                        /* min(|x|, hi) */
{
    uint32_t u = vq__f32_bits(x) & 0x7fffffffu;
    return vq__f32_make(u > hi ? hi : u);
}

/* e^(x + low) = (hi + lo) 2^(k - 256) to 2^-27, the way of vq__exp. |x| < 170, low below an ulp
   of x. */
VQ_HD float vq__exp_parts(int how, float x, float low, float *lo, uint32_t *k)
{
    const float magic = 12582912.0f;                     /* 1.5 * 2^23 */
    float t = vq__fma_by(how, x, 1.44269502f, magic), n = vq__sub(t, magic), r, s, q, hi;

    *k = vq__f32_bits(t) - 0x4b400000u + 256u;
    r = vq__fma_by(how, n, -0.693145752f, x);
    low = vq__fma_by(how, n, -1.42860677e-6f, low);
    s = vq__add(r, low);

    q = 1.97448520e-4f;
    q = vq__fma_by(how, q, s, 1.39354693e-3f);
    q = vq__fma_by(how, q, s, 8.33356567e-3f);
    q = vq__fma_by(how, q, s, 4.16664593e-2f);
    q = vq__fma_by(how, q, s, 0.166666657f);
    q = vq__fma_by(how, q, s, 0.5f);

    hi = vq__add(1.0f, r);
    low = vq__add(vq__sub(r, vq__sub(hi, 1.0f)), low);
    low = vq__fma_by(how, vq__times(s, s), q, low);
    r = vq__add(hi, low);
    *lo = vq__sub(low, vq__sub(r, hi));
    return r;
}

/* y, or where a tail is cut off from it, the neighbour on the tail's side whose last bit is odd:
   rounded to fewer bits that goes where y and its tail go. */
VQ__FOLD float vq__sticky(float y, float tail)
{
    uint32_t u = vq__f32_bits(y), v = vq__f32_bits(tail), some = v << 1 != 0;
    return vq__f32_make((u - ((u ^ v) >> 31 & some)) | some);
}

/* x / (1 + e^(z + low)) = x 2^-k / (2^-k + m), z <= 160: the sum has two parts, the quotient is
   corrected by its remainder, 2^-k comes in two halves, the first of them exact. */
VQ_HD float vq__logistic(int how, float x, float z, float low)
{
    float m, lo, one, d, v, e, r, y;
    uint32_t k, half;

    m = vq__exp_parts(how, vq__held(z, 0xc2200000u, 0x43200000u), low, &lo, &k);   /* -40, 160 */
    half = k > 316u ? 316u : k;                          /* beside 2^60 the 1 is nothing */
    one = vq__f32_make((383u - half) << 23);

    d = vq__add(one, m);
    v = vq__sub(d, one);
    e = vq__add(vq__sub(one, vq__sub(d, v)), vq__sub(m, v));
    e = vq__add(e, lo);                                  /* d + e */

    r = vq__recip(d);
    e = vq__fma_by(how, -e, r, vq__fma_by(how, -d, r, 1.0f));
    e = vq__times(r, e);                                 /* r + e */
    y = vq__fma_by(how, x, r, vq__times(x, e));
    if (how & VQ__FOR_F16)
        y = vq__sticky(y, vq__fma_by(how, x, e, vq__fma_by(how, x, r, -y)));
    y = vq__times(vq__times(y, one), vq__f32_make((127u - k + half) << 23));
    k = vq__f32_bits(x) - 0x42200001u;                   /* x > 40, and no NaN: x itself */
    return vq__pick(k < 0x3d600000u, x, y);
}

/* x / (1 + e^-x). Over all inputs at most 0.826140 ulp (at -0x1.6f8498p+6). */
VQ_HD float vq__silu_f32(int how, float x)
{
    x = x < -110.0f ? -110.0f : x;                       /* gives -0, as -infinity must */
    return vq__logistic(how, x, -x, 0.0f);
}

/* x / (1 + e^(-1.702 x)). Over all inputs at most 0.785906 ulp (at -0x1.afed3ep+5). */
VQ_HD float vq__gelu_quick_f32(int how, float x)
{
    float z, low;
    x = x < -66.0f ? -66.0f : x;
    z = vq__times(x, -1.70200002f);
    low = vq__fma_by(how, x, -1.70200002f, -z);
    return vq__logistic(how, x, z, vq__fma_by(how, x, 2.19345093e-8f, low));
}

/* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x / (1 + e^-(x (a + b x^2))); a has 20 bits, so
   that a - w is exact. Over all inputs at most 0.799697 ulp (at -0x1.4372ecp+3). */
VQ_HD float vq__gelu_tanh_f32(int how, float x)
{
    const float a = 1.59576988f, b = 0.0713548139f;
    float c = vq__held(x, 0xc1300000u, 0x41300000u);     /* -11, 11 */
    float s = vq__times(c, c), w = vq__fma_by(how, s, b, a), z = vq__times(c, -w), low;

    low = vq__fma_by(how, s, 2.39883247e-9f, -7.60596436e-7f);           /* what a, b lack */
    low = vq__fma_by(how, vq__fma_by(how, c, c, -s), b, low);
    low = vq__add(low, vq__fma_by(how, s, b, vq__sub(a, w)));
    low = vq__fma_by(how, -c, low, vq__fma_by(how, -c, w, -z));
    return vq__logistic(how, x < -11.0f ? -11.0f : x, z, low);
}

/* x Phi(x) = max(x, 0) - a g(a) e^(-a^2/2), a = |x|; g = t p(1 - 8t), t = 1/(a + 4), p a minimax
   polynomial. Over all inputs at most 1.862742 ulp (at -0x1.0dfa5ap-4). That every f16 comes out on
   its side of a tie was found by trying all; below 2^-13 the answer is half of x, and a hair. */
VQ_HD float vq__gelu_f32(int how, float x)
{
    float a = vq__held_mag(x, 0x4169999au);              /* 14.6 */
    float s = vq__times(a, a), d, t, v, e, p, q, m, lo;
    uint32_t k;

    m = vq__exp_parts(how, vq__times(s, -0.5f), vq__times(vq__fma_by(how, a, a, -s), -0.5f),
                      &lo, &k);
    d = vq__add(a, 4.0f);
    t = vq__recip(d);
    e = vq__fma_by(how, -vq__sub(a, vq__sub(d, 4.0f)), t, vq__fma_by(how, -d, t, 1.0f));
    v = vq__fma_by(how, t, -8.0f, 1.0f);                 /* t (1 + e) is truer than t */
    v = vq__fma_by(how, vq__times(t, e), -8.0f, v);

    q = -1.26125320e-4f;
    q = vq__fma_by(how, q, v, 1.89934246e-4f);
    q = vq__fma_by(how, q, v, 1.56935619e-3f);
    q = vq__fma_by(how, q, v, -3.52146500e-3f);
    q = vq__fma_by(how, q, v, -7.52708456e-3f);
    q = vq__fma_by(how, q, v, 6.04064278e-2f);
    q = vq__fma_by(how, q, v, -0.186522886f);
    q = vq__fma_by(how, q, v, 0.387136608f);
    q = vq__fma_by(how, q, v, -0.607896626f);
    p = vq__fma_by(how, q, v, 0.755285144f);
    q = vq__fma_by(how, q, v, vq__sub(0.755285144f, p));                 /* p + q */

    v = vq__times(p, m);
    q = vq__fma_by(how, p, lo, vq__fma_by(how, q, m, vq__fma_by(how, p, m, -v)));  /* v + q */
    a = vq__times(a, 4294967296.0f);                     /* or the smallest would lose bits */
    s = vq__times(a, t);
    e = vq__fma_by(how, s, e, vq__fma_by(how, a, t, -s));                /* s + e */
    v = vq__fma_by(how, s, v, vq__fma_by(how, s, q, vq__times(e, v)));
    v = vq__times(v, vq__f32_make((k - 97u) << 23));     /* 2^64 times too much */
    v = vq__fma_by(how, v, -5.42101086e-20f, x < 0.0f ? 0.0f : x);
    if (how & VQ__FOR_F16) {
        m = vq__times(x, x < 0.0f ? 0.499877930f : 0.500122070f);
        v = vq__pick((vq__f32_bits(x) & 0x7fffffffu) < 0x39000000u, m, v);         /* 2^-13 */
    }
    return v;
}

VQ_HD float vq__silu(float x)       { return vq__silu_f32(0, x); }
VQ_HD float vq__gelu(float x)       { return vq__gelu_f32(0, x); }
VQ_HD float vq__gelu_tanh(float x)  { return vq__gelu_tanh_f32(0, x); }
VQ_HD float vq__gelu_quick(float x) { return vq__gelu_quick_f32(0, x); }

/* max(v, 0)^2. Rounded to t it is rounded once: the square of an f16 or bf16 is exact in f32, or
   nothing beside the smallest bf16. */
VQ__FOLD float vq__relu2(float v, vq_dtype t)
{
    (void)t;
    v = v < 0.0f ? 0.0f : v;
    return vq__times(v, v);
}

/* 2^r, with the low bits of t added to its exponent, to 2^-18: for the codes of bf16 that is
   enough. The coefficients were sought: with these every code of all four functions is right. */
VQ__FOLD float vq__bf16_exp2(float t, float r)
{
    float p = 9.56167188e-3f;
    p = vq__mad(p, r, 5.57636507e-2f);
    p = vq__mad(p, r, 0.240231901f);
    p = vq__mad(p, r, 0.69313699f);
    p = vq__mad(p, r, 1.0f);
    return vq__f32_make(vq__f32_bits(p) + (vq__f32_bits(t) << 23));
}

/* 2^-24 / d, from an r that is 1/d but for 3 ulp: whichever it is, every code is the same. */
VQ__FOLD float vq__bf16_ratio(float d, float r)
{
    r = vq__fma(vq__fma(-d, r, 1.0f), r, r);
    return vq__times(r, 5.96046448e-8f);
}

VQ__FOLD float vq__bf16_quotient(float d)
{
#if defined(VQ__QUOTIENT)
    return VQ__QUOTIENT(d);
#elif defined(__CUDA_ARCH__)
    float r;
    __asm__("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(d));          /* 1 ulp; flushed to 0, as */
    return vq__bf16_ratio(d, r);                                         /* good, past 2^126 */
#else
    return vq__div(5.96046448e-8f, d);
#endif
}

/* x / (1 + 2^(n + r)), t = magic + n: with 2^-24 for the 1, or the power would overflow. */
VQ__FOLD float vq__bf16_logistic(float x, float t, float r)
{
    float d = vq__add(5.96046448e-8f, vq__bf16_exp2(t, r));
    return vq__times(x, vq__bf16_quotient(d));
}

#define VQ__BF16_MAGIC 12582888.0f                       /* 1.5 * 2^23 - 24 */

VQ__FOLD float vq__silu_bf16(float x)
{
    float a = vq__held(x, 0xc2d00000u, 0x42000000u), t, r;               /* -104, 32 */
    t = vq__mad(a, -1.44269502f, VQ__BF16_MAGIC);
    r = vq__mad(a, -1.44269502f, -vq__sub(t, VQ__BF16_MAGIC));
    return vq__bf16_logistic(x < -104.0f ? -104.0f : x, t, r);           /* -0 from there on */
}

VQ__FOLD float vq__gelu_quick_bf16(float x)
{
    float a = vq__held(x, 0xc2700000u, 0x42000000u), t, r;               /* -60, 32 */
    t = vq__mad(a, -2.45544434f, VQ__BF16_MAGIC);        /* 16 bits by 8: exact */
    r = vq__mad(a, -2.45544434f, -vq__sub(t, VQ__BF16_MAGIC));
    r = vq__mad(a, -2.27992841e-5f, r);
    return vq__bf16_logistic(x < -60.0f ? -60.0f : x, t, r);
}

VQ__FOLD float vq__gelu_tanh_bf16(float x)
{
    float a = vq__held(x, 0xc1280000u, 0x41000000u), t, w;               /* -10.5, 8 */
    w = vq__mad(vq__times(a, a), -0.102943242f, -2.30220819f);
    t = vq__mad(a, w, VQ__BF16_MAGIC);
    w = vq__mad(a, w, -vq__sub(t, VQ__BF16_MAGIC));
    return vq__bf16_logistic(x < -10.5f ? -10.5f : x, t, w);
}

/* max(x, 0) - a 2^-(185/256 a^2 + u(a)): 16 bits by 8, exact again. */
VQ__FOLD float vq__gelu_bf16(float x)
{
    const float magic = 12582936.0f;                     /* 1.5 * 2^23 + 24 */
    float a = vq__held_mag(x, 0x415c0000u), s = vq__times(a, a), t, u, r;      /* 13.75 */
    u = -4.89141838e-10f;
    u = vq__mad(u, a, 6.77566518e-8f);
    u = vq__mad(u, a, -3.01564933e-6f);
    u = vq__mad(u, a, 6.83296967e-5f);
    u = vq__mad(u, a, -9.32527299e-4f);
    u = vq__mad(u, a, 8.40019062e-3f);
    u = vq__mad(u, a, -5.36115989e-2f);
    u = vq__mad(u, a, 0.263837993f);
    u = vq__mad(u, a, -1.15117121f);
    u = vq__mad(u, a, -1.0f);
    t = vq__add(vq__mad(s, -0.72265625f, u), magic);
    r = vq__add(vq__mad(s, -0.72265625f, -vq__sub(t, magic)), u);
    r = vq__times(a, vq__bf16_exp2(t, r));
    return vq__mad(r, -5.96046448e-8f, x < 0.0f ? 0.0f : x);
}

/* Of a 16-bit x of type t. Rounded to t the result is the real function's value rounded once, for
   all 65,536; a bf16 below 2^-60 gives x/2. Nothing else may be made of it. */
#define VQ__ACT16(f) \
    VQ_HD float vq__##f##16(float x, vq_dtype t) \
    { \
        return t == VQ_BF16 ? vq__##f##_bf16(x) : vq__##f##_f32(VQ__FOR_F16, x); \
    }
VQ__ACT16(silu)
VQ__ACT16(gelu)
VQ__ACT16(gelu_tanh)
VQ__ACT16(gelu_quick)
#undef VQ__ACT16

/* v / (1 + e^(-a v)), each step rounded, a > 0. */
VQ_HD float vq__swish(float v, float a)
{
    float e = vq__exp(vq__times(-a, v)), y = vq__div(v, vq__add(1.0f, e));
    return e == vq__f32_make(0x7f800000u) ? -0.0f : y;               /* not -infinity / infinity */
}

/* One element into its partial: element i of a row goes to partial i mod 1024, in order of i. */
VQ__FOLD float vq__partial_sum(float p, float x)    { return vq__add(p, x); }
VQ_HD float vq__partial_square(float p, float x) { return vq__fma(x, x, p); }

/* The sum of 1,024 partials as lane 0 of a butterfly of distance 1, 2, 4, ... 512 has it (as
   every lane has it: a + b is b + a). p is overwritten. */
VQ_HD float vq__combine1024(float *p)
{
    int n, i;
    for (n = 512; n; n /= 2)                                 /* lanes that still count close up */
        for (i = 0; i < n; i++) p[i] = vq__add(p[2 * i], p[2 * i + 1]);
    return p[0];
}

/* 0, or the number of the first thing that this build or this device computes wrongly.
   The operands arrive at run time, so that the compiler cannot do the sums. */
VQ_HD int vq__self_test_of(const uint32_t *in)
{
    float a = vq__f32_make(in[0]), c = vq__f32_make(in[1]), d = vq__f32_make(in[2]);
    if (vq__f32_bits(vq__sub(vq__mul(a, a), c)) != 0u) return 1;               /* contracted */
    if (vq__f32_bits(vq__fma(a, a, -c)) != 0x33800000u) return 2;              /* 2^-24 */
    if (vq__f32_bits(vq__mul(d, vq__f32_make(in[3]))) != 0x00200000u) return 3;   /* flushed */
    if (vq__f32_bits(vq__div(vq__f32_make(in[4]), vq__f32_make(in[5]))) != 0x3fd55555u) return 4;
    if (vq__f32_bits(vq__sqrt(vq__f32_make(in[6]))) != 0x3fb504f3u) return 5;
    if (vq__f32_bits(vq__exp(vq__f32_make(in[7]))) != 0x402df854u) return 6;
    return 0;
}
#define VQ__SELF_TEST_IN { 0x3f800800u, 0x3f801000u, 0x00800000u, 0x3e800000u, \
                           0x40a00000u, 0x40400000u, 0x40000000u, 0x3f800000u }
            /* 1+2^-12, its square short of 2^-24, 2^-126, 1/4, a quotient that a reciprocal
               misses, 2, 1 */
#define VQ__SELF_TEST_COUNT 8

/* ===========================================================================
   >>elements       of tensors: read and written alike by references and kernels
   =========================================================================== */

VQ__FOLD int vq__bits(vq_dtype t)
{
    switch (t) {
#define X(ID, text, bits) case VQ_##ID: return bits;
    VQ_DTYPES(X)
#undef X
    default: return 0;
    }
}

/* Element (r, c) of the last two dimensions; data may lie anywhere. */
VQ_HD uint32_t vq__get_code(const vq_tensor *t, int64_t r, int64_t c)
{
    int bits = vq__bits(t->dtype);
    int64_t row = t->stride[t->rank - 2], col = t->stride[t->rank - 1];
    const char *p = (const char *)t->data;
    if (bits < 8) return vq_code_get(p + r * row, bits, c);
    return vq_code_get(p + vq_layout_index(t->layout, row, col, r, c) * (bits / 8), bits, 0);
}

VQ_HD void vq__put_code(const vq_tensor *t, int64_t r, int64_t c, uint32_t code)
{
    int bits = vq__bits(t->dtype);
    int64_t row = t->stride[t->rank - 2], col = t->stride[t->rank - 1];
    char *p = (char *)t->data;
    if (bits < 8) vq_code_put(p + r * row, bits, c, code);
    else vq_code_put(p + vq_layout_index(t->layout, row, col, r, c) * (bits / 8), bits, 0, code);
}

VQ_HD float vq__get(const vq_tensor *t, int64_t r, int64_t c)
{
    return vq_decode(t->dtype, vq__get_code(t, r, c));
}

/* t as rank 4, the missing extents 1: one loop nest serves every rank. */
VQ_HD vq_tensor vq__rank4(const vq_tensor *t)
{
    vq_tensor w = *t;
    int i;
    for (i = 3; i >= 0; i--) {
        int from = i - (4 - t->rank);
        w.shape[i] = from >= 0 ? t->shape[from] : 1;
        w.stride[i] = from >= 0 ? t->stride[from] : 1;
    }
    w.rank = 4;
    return w;
}

/* The matrix (i, j) of a rank-4 tensor. */
VQ_HD vq_tensor vq__plane(const vq_tensor *t, int64_t i, int64_t j)
{
    vq_tensor p = *t;
    int bits = vq__bits(t->dtype);
    int64_t unit = bits < 8 || t->layout != VQ_STRIDED ? 1 : bits / 8;
    p.data = (char *)t->data + (i * t->stride[0] + j * t->stride[1]) * unit;
    return p;
}

/* What is left of a packed row's last byte is padding, and 0. */
VQ_HD void vq__pad_row(const vq_tensor *t, int64_t r)
{
    int64_t bits = t->shape[t->rank - 1] % 8 * vq__bits(t->dtype), end;
    uint8_t *row = (uint8_t *)t->data + r * t->stride[t->rank - 2];
    if (vq__bits(t->dtype) >= 8 || bits % 8 == 0) return;
    end = (t->shape[t->rank - 1] * vq__bits(t->dtype) - 1) / 8;
    row[end] = (uint8_t)(row[end] & ((1u << bits % 8) - 1u));
}

VQ_HD int64_t vq__up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* The tile of a layout: rows and columns are filled up to multiples of these. */
VQ_HD void vq__tile(vq_layout l, int64_t *rows, int64_t *cols)
{
    *rows = l == VQ_SWIZZLE_128X4 ? 128 : l == VQ_SWIZZLE_8X4 ? 8 : l == VQ_SWIZZLE_CDNA4 ? 32 : 4;
    *cols = l == VQ_SWIZZLE_CDNA4 ? 8 : 4;
}

/* Rows that a packed_ue8m0 tensor writes: to a multiple of four where the columns are that far
   apart. */
VQ_HD int64_t vq__packed_rows(const vq_tensor *t)
{
    int64_t rows = t->shape[t->rank - 2], full = vq__up(rows, 4);
    return t->stride[t->rank - 1] / 4 >= full ? full : rows;
}

/* The extents of a plane of y with the padding that its layout defines. */
VQ_HD void vq__padded(const vq_tensor *y, int64_t *rows, int64_t *cols)
{
    int64_t tile_rows, tile_cols;
    *rows = y->shape[y->rank - 2];
    *cols = y->shape[y->rank - 1];
    if (y->layout == VQ_STRIDED) return;
    vq__tile(y->layout, &tile_rows, &tile_cols);
    *rows = y->layout == VQ_PACKED_UE8M0 ? vq__packed_rows(y) : vq__up(*rows, tile_rows);
    *cols = vq__up(*cols, tile_cols);
}

/* What y adds to an amax, as bits: those of floats >= 0 order as integers do. NaN is skipped,
   infinity counts as the largest finite value of y's type. */
VQ_HD uint32_t vq__amax_bits(float y, vq_dtype t)
{
    uint32_t mag = vq__f32_bits(y) & 0x7fffffffu;
    if (mag > 0x7f800000u) return 0;
    if (mag == 0x7f800000u)
        return t == VQ_BF16 ? 0x7f7f0000u : t == VQ_F16 ? 0x477fe000u : 0x7f7fffffu;
    return mag;
}

/* What a group's scale is made of. lo <= 0 <= hi. */
typedef struct vq__group { uint32_t amax; float lo, hi; int nan; } vq__group;

VQ_HD void vq__group_add(vq__group *g, float x, vq_dtype t)
{
    uint32_t m = vq__amax_bits(x, t);
    float v = vq__f32_make(m | (vq__f32_bits(x) & 0x80000000u));
    if (m > g->amax) g->amax = m;
    if (v < g->lo) g->lo = v;
    if (v > g->hi) g->hi = v;
    if (x != x) g->nan = 1;
}

/* A result in the key's arithmetic. */
VQ__FOLD float vq__in(const vq_key *k, float v)
{
    return k->arith == VQ_BF16 ? vq_f32_from_bf16(vq_bf16_from_f32(v, VQ_NONFINITE)) : v;
}

/* floor(log2) of bits > 0, and whether anything is left; 2^e, held to f32's range. */
VQ__FOLD int vq__log2(uint32_t bits)
{
    uint32_t e = bits >> 23, sub = vq__f32_bits((float)(int32_t)bits) >> 23;   /* of 2^-149 each */
    return e ? (int)e - 127 : (int)sub - 127 - 149;
}

VQ__FOLD int vq__is_pow2(uint32_t bits)
{
    return bits >> 23 ? !(bits & 0x007fffffu) : !(bits & (bits - 1u));
}

VQ__FOLD float vq__pow2(int e)
{
    if (e > 127) e = 127;
    if (e < -149) e = -149;
    return vq__f32_make(e < -126 ? 1u << (e + 149) : (uint32_t)(e + 127) << 23);
}

VQ__FOLD uint32_t vq__mantissa_bits(vq_dtype t)
{
    return t == VQ_E2M1 ? 1u : ((t == VQ_E5M2) | (t == VQ_E5M2FNUZ) | (t == VQ_E3M2)) ? 2u : 3u;
}

/* The power of two that a scale rule makes of an amax: bit tests, never a logarithm. */
VQ__FOLD float vq__pow2_scale(const vq_key *k, float a)
{
    uint32_t u = vq__f32_bits(a);
    int emax = vq__log2(vq__f32_bits(k->code_max));
    float raw, least;
    if (k->scale_rule == VQ_SCALE_RCEIL || k->scale_rule == VQ_SCALE_TRUNC) {
        raw = vq__in(k, vq__div(a, k->code_max));
        least = k->floor_kind == VQ_FLOOR_RAW ? k->floor_value : vq__f32_make(0xff800000u);
        raw = raw < least ? least : raw;
        u = vq__f32_bits(raw);
        if (!u) return 0.0f;
        return vq__pow2(vq__log2(u) + (k->scale_rule == VQ_SCALE_RCEIL && !vq__is_pow2(u)));
    }
    if (!u) return 0.0f;
    switch (k->scale_rule) {
    case VQ_SCALE_EXP:  return vq__pow2(vq__log2(u));
    case VQ_SCALE_CEIL: return vq__pow2(vq__log2(u) + !vq__is_pow2(u) - emax);
    case VQ_SCALE_EVEN: u += 1u << (22u - vq__mantissa_bits(k->elem));         /* half a step up */
                        return vq__pow2((int)(u >> 23) - 127 - emax);
    default:            return vq__pow2(vq__log2(u) - emax);
    }
}

/* The amax that the rules use: bounded, then floored. */
VQ__FOLD float vq__amax_of(const vq_key *k, uint32_t amax_bits, float bound)
{
    const float most = k->bound_kind == VQ_BOUND_AMAX ? bound : vq__f32_make(0x7f800000u);
    const float least = k->floor_kind == VQ_FLOOR_AMAX ? k->floor_value : vq__f32_make(0xff800000u);
    float a = vq__f32_make(amax_bits);
    a = a > most ? most : a;
    a = a < least ? least : a;
    return k->arith == VQ_BF16 ? vq_f32_from_bf16(vq_bf16_from_f32(a, VQ_SATURATE)) : a;
}

/* From the smallest code to the largest, which range.div divides by; and the smallest. */
VQ__FOLD int vq__is_unsigned(vq_dtype t) { return (t == VQ_UINT8) | (t == VQ_UINT4); }

VQ__FOLD float vq__key_span(const vq_key *k)
{
    return vq__is_unsigned(k->elem) ? k->code_max : 2.0f * k->code_max + 1.0f;
}

VQ__FOLD float vq__key_lowest(const vq_key *k)
{
    const int whole = ((k->elem == VQ_INT8) & (k->code_max == 127.0f))
                    | ((k->elem == VQ_INT4) & (k->code_max == 7.0f));
    return vq__is_unsigned(k->elem) ? 0.0f : whole ? -k->code_max - 1.0f : -k->code_max;
}

VQ_HD int vq__lacks_nan(vq_dtype t) { return t >= VQ_E2M3; }          /* fp6, fp4, integers */
VQ_HD int vq__is_finite(float x) { return (~vq__f32_bits(x) & 0x7f800000u) != 0; }

/* 1 / code_max; nvcc does not divide constants. */
VQ__FOLD float vq__inverse(float most)
{
#if defined(__CUDA_ARCH__)
    if (most == 448.0f) return 1.0f / 448.0f;
    if (most == 127.0f) return 1.0f / 127.0f;
    if (most == 6.0f) return 1.0f / 6.0f;
#endif
    return vq__div(1.0f, most);
}

/* a * b or a / b, where it is asked for: on a GPU a branch that all take alike, on a CPU what
   loops vectorize. */
VQ__FOLD float vq__times_if(int yes, float a, float b)
{
#if defined(__CUDA_ARCH__) || defined(__AMDGCN__)
    return yes ? vq__times(a, b) : a;
#else
    return vq__times(a, yes ? b : 1.0f);
#endif
}

VQ__FOLD float vq__div_if(int yes, float a, float b)
{
#if defined(__CUDA_ARCH__) || defined(__AMDGCN__)
    return yes ? vq__div(a, b) : a;
#else
    return vq__div(a, yes ? b : 1.0f);
#endif
}

/* A dynamic group's scale before it rounds to its type. a: vq__amax_of(); g2: the second scale,
   or 1. No product of these functions meets a sum, and what is chosen between is computed first:
   over a row of groups they vectorize. */
VQ__FOLD float vq__raw_scale(const vq_key *k, const vq__group *g, float a, float bound, float g2)
{
    const float inf = vq__f32_make(0x7f800000u);
    const float most = k->bound_kind == VQ_BOUND_SCALE ? bound : inf;
    const float least = k->floor_kind == VQ_FLOOR_SCALE ? k->floor_value : -inf;
    float s;
    switch (k->scale_rule) {
    case VQ_SCALE_DIV:   s = vq__div(a, k->code_max); break;
    case VQ_SCALE_INV:   s = vq__times(a, vq__in(k, vq__inverse(k->code_max))); break;
    case VQ_SCALE_RECIP: s = vq__div(1.0f, vq__in(k, vq__div(k->code_max, a))); break;
    case VQ_SCALE_RANGE: s = vq__div(vq__in(k, vq__sub(g->hi, g->lo)), vq__key_span(k)); break;
    default:             s = vq__pow2_scale(k, a); break;
    }
    s = vq__in(k, s);
    s = vq__in(k, vq__times_if(k->scale2_kind == VQ_SCALE2_DIV, s, g2));
    s = vq__in(k, vq__div_if(k->scale2_kind == VQ_SCALE2_MUL, s, g2));
    s = s > most ? most : s;
    s = s < least ? least : s;
    return (g->nan & vq__lacks_nan(k->elem)) ? vq__f32_make(0x7fc00000u) : s;
}

VQ_HD float vq__amax_for(const vq_key *k, uint32_t amax_bits, float bound)
{
    return vq__amax_of(k, amax_bits, bound);
}

VQ_HD uint32_t vq__scale_of(const vq_key *k, const vq__group *g, float a, float bound, float g2)
{
    return vq_encode(k->scale_type, vq__raw_scale(k, g, a, bound, g2), VQ_SATURATE);
}

/* How x becomes a code: divided or multiplied by a number that is the same for a group, NaN that
   was none replaced, and held to lo..hi. */
typedef struct vq__step { float by, lo, hi, nan; int divide; int32_t zero; } vq__step;

/* A step but for `by` and `zero`. With a zero point 2^22 is beyond any code. */
VQ__FOLD vq__step vq__step_rule(const vq_key *k)
{
    const float inf = vq__f32_make(0x7f800000u);
    const int asym = (k->flags & VQ_KEY_ASYMMETRIC) != 0, held = k->overflow == VQ_SATURATE;
    vq__step t;
    t.by = 0.0f;
    t.lo = asym ? -4194304.0f : held ? vq__key_lowest(k) : -inf;
    t.hi = asym ? 4194304.0f : held ? k->code_max : inf;
    t.nan = k->nan_rule != VQ_NAN_MAX ? vq__f32_make(0x7fc00000u) : asym ? inf : k->code_max;
    t.divide = k->code_rule == VQ_CODE_DIV || k->code_rule == VQ_CODE_DIV_TRUNC;
    t.zero = 0;
    return t;
}

VQ__FOLD vq__step vq__step_of(const vq_key *k, float scale, float a, float g2)
{
    const float joins = k->scale2_kind == VQ_SCALE2_DIV ? vq__in(k, vq__recip(g2)) : g2;
    const float s = vq__in(k, vq__times(scale, joins));
    float over = 1.0f;
    vq__step t = vq__step_rule(k);
    t.by = k->scale2_kind ? s : scale;
    if (t.divide) return t;                                  /* the scale as it is */
    if (k->code_rule == VQ_CODE_RATIO) { over = g2; t.by = scale; }
    if (k->code_rule == VQ_CODE_AMAX || k->code_rule == VQ_CODE_AMAX_AWAY) {
        over = k->code_max;
        t.by = a;
    }
    over = vq__in(k, vq__div(over, t.by));
    t.by = t.by == 0.0f && k->code_rule != VQ_CODE_INV ? 0.0f : over;
    return t;
}

VQ_HD float vq__step_by(const vq_key *k, float scale, float a, float g2)
{
    return vq__step_of(k, scale, a, g2).by;
}

/* The zero point of an asymmetric dynamic group: the code of 0. */
VQ__FOLD int32_t vq__zero_of(const vq_key *k, const vq__group *g, float scale)
{
    float lowest = vq__key_lowest(k);
    float v = vq__in(k, vq__sub(lowest, vq__in(k, vq__div(g->lo, scale))));
    return vq__int_from_f32(v, (int32_t)lowest, (int32_t)k->code_max);
}

/* Toward zero, or halves away from it: a value that rounds no further. */
VQ_HD float vq__whole(float v, int away)
{
    uint32_t u = vq__f32_bits(v), mag = u & 0x7fffffffu, keep;
    if (mag >= 0x4b000000u) return v;                        /* 2^23 and more, NaN */
    if (away) mag = vq__f32_bits(vq__add(vq__f32_make(mag), mag == 0x3effffffu ? 0.0f : 0.5f));
    if (mag < 0x3f800000u) return vq__f32_make(u & 0x80000000u);
    keep = 0xffffffffu << (150u - (mag >> 23));
    return vq__f32_make((u & 0x80000000u) | (mag & keep));
}

/* x in steps, held to what codes reach; NaN stays. */
VQ__FOLD float vq__scaled(const vq_key *k, float x, vq__step t)
{
    float v = vq__in(k, t.divide ? vq__div(x, t.by) : k->code_rule == VQ_CODE_AMAX_AWAY
                                 ? vq__mul(x, t.by) : vq__times(x, t.by));
    v = ((v != v) & (x == x)) ? t.nan : v;
    if (k->code_rule == VQ_CODE_DIV_TRUNC) v = vq__whole(v, 0);
    if (k->code_rule == VQ_CODE_AMAX_AWAY) v = vq__whole(v, 1);
    v = v > t.hi ? t.hi : v;
    return v < t.lo ? t.lo : v;
}

/* A whole code beside its zero point. */
VQ__FOLD int32_t vq__code_beside(int32_t c, int32_t zero, int32_t lowest, int32_t most)
{
    c = c + zero > most ? most : c + zero;
    return c < lowest ? lowest : c;
}

VQ_HD uint32_t vq__code_of(const vq_key *k, float x, vq__step t)
{
    float v = vq__scaled(k, x, t);
    int32_t c;
    if (!(k->flags & VQ_KEY_ASYMMETRIC)) return vq_encode(k->elem, v, k->overflow);
    c = vq__code_beside(vq__int_from_f32(v, -0x400000, 0x400000), t.zero,
                        (int32_t)vq__key_lowest(k), (int32_t)k->code_max);
    return (uint32_t)c & ((1u << vq__bits(k->elem)) - 1u);
}

/* The value of a code. s: vq__value_scale() of the stored scale. */
VQ_HD float vq__value_scale(const vq_key *k, float scale, float g2)
{
    return k->scale2_kind == VQ_SCALE2_MUL ? vq__mul(scale, g2)
         : k->scale2_kind == VQ_SCALE2_DIV ? vq__div(scale, g2) : scale;
}

VQ_HD uint32_t vq__value_of(vq_dtype elem, uint32_t code, float zero, float s, vq_dtype y)
{
    return vq_encode(y, vq__times(vq__sub(vq_decode(elem, code), zero), s), VQ_NONFINITE);
}

/* The magnitude of a small float's code as f32 bits: vq__mag_of_code(), by a conversion and an
   exact product in place of the loop. */
VQ__FOLD uint32_t vq__near_mag(uint32_t m, uint32_t mbits, uint32_t bias)
{
    float sub = vq__times((float)(int32_t)m, vq__f32_make((128u - bias - mbits) << 23));
    return m >> mbits ? (m << (23u - mbits)) + ((127u - bias) << 23) : vq__f32_bits(sub);
}

/* The small floats as numbers, so that one loop serves them all: the first magnitudes of infinity
   and of NaN, 0x100 where there is none; the code that is NaN in place of -0, or 0x100. */
typedef struct vq__mini { uint32_t mbits, bias, sign, inf, nan, odd, code_of_nan; } vq__mini;

static const vq__mini VQ__UNUSED vq__minis[] = {
    { 3, 7,  7, 0x100, 0x7f,  0x100, 0x7f },                 /* e4m3fn */
    { 3, 8,  7, 0x100, 0x100, 0x80,  0x80 },
    { 2, 15, 7, 0x7c,  0x7d,  0x100, 0x7f },                 /* e5m2 */
    { 2, 16, 7, 0x100, 0x100, 0x80,  0x80 },
    { 3, 1,  5, 0x100, 0x100, 0x100, 0x1f },                 /* e2m3 */
    { 2, 3,  5, 0x100, 0x100, 0x100, 0x1f },
    { 1, 1,  3, 0x100, 0x100, 0x100, 0x7 }                   /* e2m1 */
};

#define VQ__MINI_OF(t) vq__minis[(t) <= VQ_E5M2FNUZ ? (t) - VQ_E4M3FN : (t) - VQ_E2M3 + 4]

/* vq_encode() of what vq__scaled() leaves, at most the format's largest or NaN, by one sum: f32
   rounds to nearest even where its last bit is the code's. v comes from memory, not a product. */
VQ__FOLD uint32_t vq__near_mini(float v, vq__mini f)
{
    const uint32_t low = (128u - f.bias) << 23, wide = (23u - f.mbits) << 23;
    uint32_t u = vq__f32_bits(v), mag = u & 0x7fffffffu, top = mag & 0x7f800000u, code;
    top = top > low ? top : low;
    code = vq__f32_bits(vq__add(vq__f32_make(mag), vq__f32_make(top + wide))) - (top + wide)
         + ((top - low) >> (23u - f.mbits));
    code |= (u >> 31) << f.sign;
    code = code == f.odd ? 0u : code;                        /* no -0 that is NaN */
    return mag > 0x7f800000u ? f.code_of_nan : code;
}

VQ__FOLD int32_t vq__near_int(float v)                       /* within 2^22 */
{
    return (int32_t)(vq__f32_bits(vq__add(v == v ? v : 0.0f, 12582912.0f)) - 0x4b400000u);
}

VQ__FOLD float vq__mini_value(uint32_t c, vq__mini f)
{
    uint32_t m = c & ((1u << f.sign) - 1u), s = c >> f.sign << 31;
    uint32_t mag = vq__near_mag(m, f.mbits, f.bias);
    mag = m >= f.inf ? 0x7f800000u : mag;
    mag = m >= f.nan ? 0x7fc00000u : mag;
    return vq__f32_make(c == f.odd ? 0x7fc00000u : s | mag);
}

VQ_HD float vq__round(vq_dtype t, float v)
{
    return t == VQ_F32 ? v : vq_decode(t, vq_encode(t, v, VQ_NONFINITE));
}

/* What rounds to f(v) in type `as`: a 16-bit type, of which v is a value, or f32. */
VQ_HD float vq__act_of(vq_act_kind act, vq_dtype as, float v)
{
    switch (act) {
    case VQ_ACT_SILU:       return as == VQ_F32 ? vq__silu(v) : vq__silu16(v, as);
    case VQ_ACT_GELU:       return as == VQ_F32 ? vq__gelu(v) : vq__gelu16(v, as);
    case VQ_ACT_GELU_TANH:  return as == VQ_F32 ? vq__gelu_tanh(v) : vq__gelu_tanh16(v, as);
    case VQ_ACT_GELU_QUICK: return as == VQ_F32 ? vq__gelu_quick(v) : vq__gelu_quick16(v, as);
    default:                return vq__relu2(v, as);
    }
}

/* How a gated activation works. */
typedef struct vq__gating {
    vq_act_kind act;
    vq_gate     gate;
    vq_dtype    mid;
    float       alpha, limit, plus;
} vq__gating;

/* The limit in the type of x, infinity where there is none. */
VQ_HD float vq__gate_limit(const vq__gating *h, vq_dtype x)
{
    return h->limit > 0.0f ? vq__round(x, h->limit) : vq__f32_make(0x7f800000u);
}

/* What passes the limit, a NaN too. */
VQ__FOLD float vq__gate_in(float g, float most) { return g > most ? most : g; }
VQ__FOLD float vq__up_in(float u, float most)
{
    u = u > most ? most : u;
    return u < -most ? -most : u;
}

/* M(M(f) * u), for any type and for bf16 alone */
VQ_HD float vq__gate_product(vq_dtype mid, float f, float u)
{
    return vq__round(mid, vq__times(vq__round(mid, f), u));
}

VQ__FOLD float vq__gate_bf16(float f, float u)
{
    f = vq_f32_from_bf16(vq_bf16_from_f32(f, VQ_NONFINITE));
    return vq_f32_from_bf16(vq_bf16_from_f32(vq__times(f, u), VQ_NONFINITE));
}

/* f(g) * u, rounded to mid, which is a type here; most: vq__gate_limit(). */
VQ_HD float vq__gate_of(const vq__gating *h, float most, float g, float u)
{
    g = vq__gate_in(g, most);
    u = vq__up_in(u, most);
    if (h->act == VQ_ACT_SWIGLU_OAI)
        return vq__round(h->mid, vq__times(vq__add(u, h->plus), vq__swish(g, h->alpha)));
    return vq__gate_product(h->mid, vq__act_of(h->act, h->mid, g), u);
}

/* --- how kernels go about a key, and the workspace that it takes: what the host asks --- */

/* Groups that the lanes of a wave hold, or scales known before; a row that a block holds; a
   tensor's amax first; anything. */
typedef enum vq__route {
    VQ__ROUTE_EIGHT, VQ__ROUTE_ROW, VQ__ROUTE_TENSOR, VQ__ROUTE_ANY
} vq__route;

enum { VQ__PARTIALS = 512, VQ__ROW_MOST = 16384, VQ__PLANES_MOST = 8192 };

/* wide: the values are f32. */
static inline VQ__UNUSED vq__route vq__route_of(const vq_key *k, int64_t planes, int64_t cols,
                                               int wide)
{
    const int fixed = (k->flags & VQ_KEY_STATIC) != 0, asym = (k->flags & VQ_KEY_ASYMMETRIC) != 0;
    const int64_t n = k->group_cols;
    if (k->arith != VQ_F32 || k->overflow != VQ_SATURATE || k->code_rule == VQ_CODE_DIV_TRUNC
        || k->code_rule == VQ_CODE_AMAX_AWAY || planes > VQ__PLANES_MOST) return VQ__ROUTE_ANY;
    if (fixed) return n < 0 || n % 8 == 0 ? VQ__ROUTE_EIGHT : VQ__ROUTE_ANY;
    if (asym && vq__bits(k->elem) < 8) return VQ__ROUTE_ANY;         /* zero points share bytes */
    if (k->group_rows == 1 && n < 0)
        return cols <= VQ__ROW_MOST >> (wide ? 1 : 0) ? VQ__ROUTE_ROW : VQ__ROUTE_ANY;
    if (k->group_rows == 1 && n >= 8 && n <= 256 && !(n & (n - 1))) return VQ__ROUTE_EIGHT;
    if (k->group_rows < 0 && n < 0 && !asym && k->code_rule != VQ_CODE_AMAX)
        return VQ__ROUTE_TENSOR;
    return VQ__ROUTE_ANY;
}

/* Does a block hold a row of a norm? k: NULL where nothing is quantized. */
static inline VQ__UNUSED int vq__norm_kept(const vq_key *k, int64_t cols, int wide)
{
    return cols <= VQ__ROW_MOST >> (wide ? 1 : 0)
        && (!k || vq__route_of(k, 1, cols, wide) != VQ__ROUTE_ANY);
}

/* Are the values of a gated activation made in f32? mid: a type */
static inline VQ__UNUSED int vq__act_wide(vq_act_kind act, vq_dtype mid, vq_dtype x)
{
    return act == VQ_ACT_SWIGLU_OAI || mid == VQ_F32 || x == VQ_F32;
}

#ifdef VQ_IMPLEMENTATION

/* ===========================================================================
   >>impl-config
   =========================================================================== */

#ifdef __cplusplus
}
#endif
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef _WIN32
#include <windows.h>
#elif !defined(VQ_NO_DLOPEN)
#include <dlfcn.h>
#endif
#ifdef __cplusplus
extern "C" {
#endif

#if defined(VQ_MALLOC) != defined(VQ_FREE)
#error "vq.h: define both VQ_MALLOC and VQ_FREE, or neither"
#endif
#ifndef VQ_MALLOC
#define VQ_MALLOC(n) malloc(n)
#define VQ_FREE(p)   free(p)
#endif

/* What the families share; those left out leave some of it unused. */
#define VQ__SHARED static VQ__UNUSED

#define VQ__COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
#define VQ__IS(t)    (1u << (t))

/* A shared object built with -Ofast sets flush-to-zero for the thread that loads it, and a
   caller may have chosen a rounding mode: each CPU op runs under the default control word and
   gives back what it found. */
static uint64_t vq__fp_enter(void)
{
    uint64_t was = 0;
#if defined(__GNUC__) && defined(__x86_64__)
    uint32_t csr, plain = 0x1f80u;
    __asm__ volatile("stmxcsr %0" : "=m"(csr));
    was = csr;
    if ((csr & 0xffc0u) != plain) __asm__ volatile("ldmxcsr %0" : : "m"(plain) : "memory");
#elif defined(_MSC_VER) && defined(_M_X64)
    was = _mm_getcsr();
    _mm_setcsr(0x1f80u);
#elif defined(__GNUC__) && defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(was));
    if (was) __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0) : "memory");
#endif
    return was;
}

static void vq__fp_leave(uint64_t was)
{
#if defined(__GNUC__) && defined(__x86_64__)
    uint32_t csr = (uint32_t)was;
    if ((csr & 0xffc0u) != 0x1f80u) __asm__ volatile("ldmxcsr %0" : : "m"(csr) : "memory");
#elif defined(_MSC_VER) && defined(_M_X64)
    _mm_setcsr((unsigned)was);
#elif defined(__GNUC__) && defined(__aarch64__)
    if (was) __asm__ volatile("msr fpcr, %0" : : "r"(was) : "memory");
#else
    (void)was;
#endif
}

static int64_t vq__min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* A value that the compiler cannot see through, and a product that no add can take in. */
VQ__SHARED double vq__opaque(double v) { volatile double u = v; return u; }
VQ__SHARED double vq__product(double a, double b) { return vq__opaque(a * b); }

/* r = a*b or a+b of numbers >= 0; 0 where that is more than an int64 holds. */
static int vq__mul64(int64_t a, int64_t b, int64_t *r)
{
    if (a && b > INT64_MAX / a) return 0;
    *r = a * b;
    return 1;
}

static int vq__add64(int64_t a, int64_t b, int64_t *r)
{
    if (b > INT64_MAX - a) return 0;
    *r = a + b;
    return 1;
}

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static int vq__format(char *out, size_t size, const char *format, ...)   /* cut where it must be */
{
    va_list list;
    int n;
    va_start(list, format);
    n = vsnprintf(out, size, format, list);
    va_end(list);
    return n;
}

/* ===========================================================================
   >>impl-names     texts, and the one line of a report
   =========================================================================== */

/* Nobody waits for what is no loop; gcc takes half the time under -O1. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__) && !defined(__OPTIMIZE_SIZE__)
#define VQ__LOOPS_OPTIMIZED
#pragma GCC push_options
#pragma GCC optimize ("O1")
#endif

#define VQ__STR_FN(fn, type, LIST, COUNT) \
const char *fn(type v) \
{ \
    static const char *const str[] = { LIST(X) }; \
    return (unsigned)v < (unsigned)COUNT ? str[v] : "unknown"; \
}
#define X(ID, text) text,
VQ__STR_FN(vq_status_str,  vq_status,  VQ_STATUSES, VQ_STATUS_COUNT)
VQ__STR_FN(vq_layout_str,  vq_layout,  VQ_LAYOUTS,  VQ_LAYOUT_COUNT)
VQ__STR_FN(vq_order_str,   vq_order,   VQ_ORDERS,   VQ_ORDER_COUNT)
VQ__STR_FN(vq_backend_str, vq_backend, VQ_BACKENDS, VQ_BACKEND_COUNT)
VQ__STR_FN(vq_cap_str,     int,        VQ_CAPS,     VQ_CAP_COUNT)
VQ__STR_FN(vq_act_str,     vq_act_kind, VQ_ACTS,    VQ_ACT_COUNT)
VQ__STR_FN(vq_gate_str,    vq_gate,    VQ_GATES,    VQ_GATE_COUNT)
static VQ__STR_FN(vq__scale_rule_str, vq_scale_rule, VQ_SCALE_RULES, VQ_SCALE_RULE_COUNT)
static VQ__STR_FN(vq__code_rule_str,  vq_code_rule,  VQ_CODE_RULES,  VQ_CODE_RULE_COUNT)
#undef X
#define X(ID, status, kind, text) #ID,
VQ__STR_FN(vq_guard_str,   vq_guard,   VQ_GUARDS,   VQ_GUARD_COUNT)
#undef X
#define X(ID, text, bits) text,
VQ__STR_FN(vq_dtype_str,   vq_dtype,   VQ_DTYPES,   VQ_DTYPE_COUNT)
#undef X

static const char *vq__where_str(vq_where w)
{
    return w == VQ_HOST ? "host" : w == VQ_DEVICE ? "device" : w == VQ_MANAGED ? "managed"
                                                                               : "unknown";
}

int vq_dtype_bits(vq_dtype t) { return vq__bits(t); }

vq_dtype vq_dtype_of(const char *text)
{
    int t;
    for (t = 1; text && t < VQ_DTYPE_COUNT; t++)
        if (!strcmp(text, vq_dtype_str((vq_dtype)t))) return (vq_dtype)t;
    return VQ_NONE;
}

int vq_order_of(const char *text)
{
    int o;
    for (o = 0; text && o < VQ_ORDER_COUNT; o++)
        if (!strcmp(text, vq_order_str((vq_order)o))) return o;
    return -1;
}

int vq_act_of(const char *text)
{
    int a;
    for (a = 0; text && a < VQ_ACT_COUNT; a++)
        if (!strcmp(text, vq_act_str((vq_act_kind)a))) return a;
    return -1;
}

int vq_gate_of(const char *text)
{
    int g;
    for (g = 0; text && g < VQ_GATE_COUNT; g++)
        if (!strcmp(text, vq_gate_str((vq_gate)g))) return g;
    return -1;
}

int vq_backend_of(const char *text)
{
    int b;
    for (b = 0; text && b < VQ_BACKEND_COUNT; b++)
        if (!strcmp(text, vq_backend_str((vq_backend)b))) return b;
    return -1;
}

static const struct { vq_status status; char kind; const char *text; } vq__guards[] = {
#define X(ID, status, kind, text) { VQ_##status, kind, text },
    VQ_GUARDS(X)
#undef X
};

/* How a grouping reads; the pattern of a row is a mask of these. */
enum { VQ__TENSOR, VQ__TOKEN, VQ__CHANNEL, VQ__GROUP, VQ__BLOCK, VQ__GROUPING_COUNT };

static const char *vq__word(char kind, int v)
{
    static const char *const grouping[] = { "per tensor", "per token", "per channel",
                                            "per group", "per block" };
    switch (kind) {
    case 't': return vq_dtype_str((vq_dtype)v);
    case 'w': return vq__where_str((vq_where)v);
    case 'l': return vq_layout_str((vq_layout)v);
    case 'r': return vq__scale_rule_str((vq_scale_rule)v);
    case 'd': return vq__code_rule_str((vq_code_rule)v);
    case 'c': return vq_cap_str(v);
    default:  return (unsigned)v < VQ__GROUPING_COUNT ? grouping[v] : "unknown";
    }
}

static void vq__float_text(char *out, size_t size, float v);       /* >>impl-keys */

/* found (mask: 0) and needed (1) as people read them: "host", "f32 or bf16", "257" */
static void vq__value_text(char *out, size_t size, const vq_report *r, int64_t v, int mask)
{
    size_t n = 0;
    int i, seen = 0;
    out[0] = 0;
    if (r->kind == 'n') { vq__format(out, size, "%lld", (long long)v); return; }
    if (r->kind == 's') { vq__format(out, size, "\"%s\"", r->name); return; }
    if (r->kind == 'f') { vq__float_text(out, size, vq__f32_make((uint32_t)v)); return; }
    if (r->kind != 'c' && !mask) { vq__format(out, size, "%s", vq__word(r->kind, (int)v)); return; }
    for (i = 0; i < 32 && n < size; i++)
        if (v >> i & 1)
            n += (size_t)vq__format(out + n, size - n, "%s%s",
                                  seen++ ? r->kind == 'c' ? " and " : " or " : "",
                                  vq__word(r->kind, i));
    if (!seen) vq__format(out, size, "none");
}

/* snprintf, piece by piece: `need` counts what did not fit, too. */
typedef struct vq__text { char *out; size_t size, need; } vq__text;

static void vq__put_text(vq__text *t, const char *s, size_t n)
{
    size_t room = t->need < t->size ? t->size - t->need : 0;
    if (room > 1) {
        size_t m = n < room ? n : room - 1;
        memcpy(t->out + t->need, s, m);
        t->out[t->need + m] = 0;
    }
    t->need += n;
}

static void vq__say(vq__text *t, const char *s) { vq__put_text(t, s, strlen(s)); }

static void vq__say_number(vq__text *t, const char *before, int64_t v)
{
    char number[24];
    vq__format(number, sizeof number, "%lld", (long long)v);
    vq__say(t, before);
    vq__say(t, number);
}

static vq__text vq__text_at(char *out, size_t size)
{
    vq__text t;
    t.out = out;
    t.size = size;
    t.need = 0;
    if (size) out[0] = 0;
    return t;
}

/* "quant: reference: x lives where this implementation cannot reach it: found device, ..." */
static void vq__spell(vq_report *r)
{
    char found[96], needed[320], *c;
    int n = vq__format(r->text, sizeof r->text, "%s%s%s%s%s%s%s", r->op ? r->op : "",
                     r->op ? ": " : "", r->impl ? r->impl : "", r->impl ? ": " : "",
                     r->arg ? r->arg : "", r->arg ? " " : "", vq__guards[r->guard].text);
    if (r->kind && n >= 0 && n < (int)sizeof r->text) {
        const size_t room = sizeof r->text - (size_t)n;
        vq__value_text(found, sizeof found, r, r->found, 0);
        vq__value_text(needed, sizeof needed, r, r->needed, 1);
        if (r->kind == 's') vq__format(r->text + n, room, ": found %s", found);
        else if (!r->name[0]) vq__format(r->text + n, room, ": found %s, needed %s", found, needed);
        else vq__format(r->text + n, room, ": found %s, needed %s: %s", found, needed, r->name);
    }                                                        /* name: the runtime's own words */
    for (c = r->text; *c; c++) if ((unsigned char)*c < 32 || *c == 127) *c = '?';
}

/* Every refusal is made here. r is never NULL inside the library. */
static vq_status vq__refuse_as(vq_report *r, vq_guard g, char kind, const char *arg,
                               int64_t found, int64_t needed)
{
    r->status = vq__guards[g].status;
    r->guard = g;
    r->kind = kind;
    r->arg = arg;
    r->found = found;
    r->needed = r->nearest = needed;
    return r->status;
}

static vq_status vq__refuse(vq_report *r, vq_guard g, const char *arg, int64_t found,
                            int64_t needed)
{
    return vq__refuse_as(r, g, vq__guards[g].kind, arg, found, needed);
}

/* Copies what fits, and ends it. */
static void vq__copy_name(char *out, size_t size, const char *name)
{
    size_t n = name ? strlen(name) : 0;
    if (n > size - 1) n = size - 1;
    if (n) memcpy(out, name, n);
    out[n] = 0;
}

static vq_status vq__refuse_name(vq_report *r, vq_guard g, const char *arg, const char *name)
{
    vq__copy_name(r->name, sizeof r->name, name);
    return vq__refuse_as(r, g, 's', arg, 0, 0);
}

/* Hands r to the caller if there is one to hand it to. */
static vq_status vq__tell(vq_report *r, vq_report *caller)
{
    if (r->status != VQ_OK && caller) {
        memset(r->text, 0, sizeof r->text);
        vq__spell(r);
        *caller = *r;
    }
    return r->status;
}

/* ===========================================================================
   >>impl-keys
   =========================================================================== */

static const struct { const char *name, *also, *text; } vq__presets[] = {
#define X(ID, name, also, text) { #name, also, text },
    VQ_KEYS(X)
#undef X
};

float vq_dtype_max(vq_dtype t)
{
    switch (t) {
    case VQ_F32:      return vq__f32_make(0x7f7fffffu);
    case VQ_F16:      return 65504.0f;
    case VQ_BF16:     return vq__f32_make(0x7f7f0000u);
    case VQ_E4M3FN:   case VQ_UE4M3:    return 448.0f;
    case VQ_E4M3FNUZ: return 240.0f;
    case VQ_E5M2:     case VQ_E5M2FNUZ: return 57344.0f;
    case VQ_E8M0:     return vq__f32_make(0x7f000000u);
    case VQ_E2M3:     return 7.5f;
    case VQ_E3M2:     return 28.0f;
    case VQ_E2M1:     return 6.0f;
    case VQ_INT8:     return 127.0f;
    case VQ_UINT8:    return 255.0f;
    case VQ_INT4:     return 7.0f;
    case VQ_UINT4:    return 15.0f;
    default:          return 0.0f;
    }
}

#define VQ__FP8   (VQ__IS(VQ_E4M3FN) | VQ__IS(VQ_E4M3FNUZ) | VQ__IS(VQ_E5M2) | VQ__IS(VQ_E5M2FNUZ))
#define VQ__FLOAT (VQ__IS(VQ_F32) | VQ__IS(VQ_F16) | VQ__IS(VQ_BF16))
#define VQ__INTS  (VQ__IS(VQ_INT8) | VQ__IS(VQ_UINT8) | VQ__IS(VQ_INT4) | VQ__IS(VQ_UINT4))
#define VQ__ELEMS (VQ__FP8 | VQ__INTS | VQ__IS(VQ_E2M3) | VQ__IS(VQ_E3M2) | VQ__IS(VQ_E2M1))
#define VQ__TYPES ((1u << VQ_DTYPE_COUNT) - 2u)
#define VQ__CODES (VQ__TYPES & ~(VQ__IS(VQ_INT32) | VQ__IS(VQ_INT64)))        /* what has codes */

/* 0 < v <= most, as integers: a control word that flushes subnormals has no say. */
static int vq__within(float v, float most)
{
    uint32_t u = vq__f32_bits(v);
    return u >= 1u && u <= vq__f32_bits(most);
}

static int vq__is_any(vq_dtype t, uint32_t mask)
{
    return (unsigned)t < VQ_DTYPE_COUNT && (mask >> t & 1u);
}

float vq_fp8_max(vq_dtype elem, int vllm)
{
    if (!vq__is_any(elem, VQ__FP8)) return 0.0f;
    return vllm && elem == VQ_E4M3FNUZ ? 224.0f : vq_dtype_max(elem);
}

/* --- numbers in text: no locale, no rounding mode -------------------------- */

static double vq__ten_to(int n)                              /* exact up to 22 */
{
    double p = 1.0;
    while (n-- > 0) p *= 10.0;
    return p;
}

/* digits * 10^e as f32. Fifteen digits and powers to 10^22 are exact in double; beyond, a few
   roundings of 2^-53 join, which the nine digits that vq__write_number() makes do not notice:
   they lie nearer to their value than half a step of f32. */
static float vq__decimal(uint64_t digits, int e)
{
    double v = (double)digits;
    for (; e > 22; e -= 22) v *= 1e22;
    for (; e < -22; e += 22) v /= 1e22;
    return (float)(e < 0 ? v / vq__ten_to(-e) : v * vq__ten_to(e));
}

/* Reads a decimal at p, of fifteen digits at most; NULL if there is none. */
static const char *vq__read_number(const char *p, float *out)
{
    uint64_t digits = 0;
    int seen = 0, shift = 0, dot = 0, e = 0, negative;
    for (; (*p >= '0' && *p <= '9') || (*p == '.' && !dot); p++) {
        if (*p == '.') { dot = 1; continue; }
        digits = digits * 10u + (uint64_t)(*p - '0');
        if (++seen > 15) return NULL;
        shift -= dot;
    }
    if (!seen) return NULL;
    if (*p == 'e') {
        negative = *++p == '-';
        p += negative;
        if (*p < '0' || *p > '9') return NULL;
        for (; *p >= '0' && *p <= '9'; p++)
            if ((e = e * 10 + (*p - '0')) > 99) return NULL;
        if (negative) e = -e;
    }
    *out = vq__decimal(digits, e + shift);
    return p;
}

/* The fewest digits that read back as v, which is > 0. */
static void vq__write_number(char out[32], float v)
{
    double d = (double)v;
    uint64_t digits = 0;
    int e = 0, n, i, at = 0;
    char text[24];
    while (d >= 10.0) { d /= 10.0; e++; }
    while (d < 1.0)   { d *= 10.0; e--; }
    for (n = 1; n < 10; n++) {
        double scaled = e - n + 1 < 0 ? (double)v * vq__ten_to(e < -22 ? 22 : n - 1 - e)
                                      : (double)v / vq__ten_to(e - n + 1);
        if (e < -22) scaled *= vq__ten_to(n - 1 - e - 22);
        digits = (uint64_t)(scaled + 0.5);
        if (n == 9 || vq__decimal(digits, e - n + 1) == v) break;
    }
    vq__format(text, sizeof text, "%llu", (unsigned long long)digits);
    e += (int)strlen(text) - n;                              /* 9.99 became 10.0 */
    n = (int)strlen(text);
    while (n > 1 && text[n - 1] == '0') n--;
    if (e < -3 || e > 6) {                                   /* 4.359654e-6 */
        out[at++] = text[0];
        if (n > 1) out[at++] = '.';
        for (i = 1; i < n; i++) out[at++] = text[i];
        vq__format(out + at, 32u - (size_t)at, "e%d", e);
        return;
    }
    for (i = e; i < 0; i++) { out[at++] = '0'; if (i == e) out[at++] = '.'; }
    for (i = 0; i < n || i <= e; i++) {
        if (i == e + 1 && e >= 0) out[at++] = '.';
        out[at++] = i < n ? text[i] : '0';
    }
    out[at] = 0;
}

static void vq__float_text(char *out, size_t size, float v)
{
    char number[32];
    uint32_t mag = vq__f32_bits(v) & 0x7fffffffu;
    const char *sign = vq__f32_bits(v) >> 31 ? "-" : "";
    if (mag > 0x7f800000u) vq__format(out, size, "NaN");
    else if (mag == 0x7f800000u) vq__format(out, size, "%sinfinity", sign);
    else if (!mag) vq__format(out, size, "%s0", sign);
    else {
        uint64_t was = vq__fp_enter();
        vq__write_number(number, vq__f32_make(mag));
        vq__fp_leave(was);
        vq__format(out, size, "%s%s", sign, number);
    }
}

/* --- text ------------------------------------------------------------------ */

static const char *const vq__floor_text[] = { "", "floor=amax:", "floor=raw:", "floor=scale:" };

int vq_key_print(const vq_key *k, char *out, size_t size)
{
    static const char *const bound[] = { "", "/bound=amax", "/bound=scale" };
    static const char *const scale2[] = { "", "/scale2=mul", "/scale2=div" };
    char max[32] = "0", least[80] = "", number[32];
    uint64_t was = vq__fp_enter();
    float shown = k->scale_rule == VQ_SCALE_RANGE ? vq__key_span(k) : k->code_max;
    if (vq__within(shown, vq_dtype_max(VQ_F32))) vq__write_number(max, shown);
    if (k->floor_kind > VQ_FLOOR_NONE && k->floor_kind < VQ_FLOOR_COUNT
        && vq__within(k->floor_value, vq_dtype_max(VQ_F32))) {
        vq__write_number(number, k->floor_value);
        vq__format(least, sizeof least, "/%s%s", vq__floor_text[k->floor_kind], number);
    }
    vq__fp_leave(was);
    return vq__format(out, size, "%s/%s/%ldx%ld/%s/%s%s/%s%s%s%s%s%s%s%s%s",
                    vq_dtype_str(k->elem), vq_dtype_str(k->scale_type), (long)k->group_rows,
                    (long)k->group_cols, k->flags & VQ_KEY_STATIC ? "static" : "dyn",
                    vq__scale_rule_str(k->scale_rule), max, vq__code_rule_str(k->code_rule),
                    k->flags & VQ_KEY_ASYMMETRIC ? "/asym" : "",
                    k->flags & VQ_KEY_NO_TAIL ? "/notail" : "",
                    k->arith == VQ_BF16 ? "/arith=bf16" : "",
                    (unsigned)k->bound_kind < VQ_BOUND_COUNT ? bound[k->bound_kind] : "", least,
                    (unsigned)k->scale2_kind < VQ_SCALE2_COUNT ? scale2[k->scale2_kind] : "",
                    k->nan_rule == VQ_NAN_MAX ? "/nan=max" : "",
                    k->overflow == VQ_NONFINITE ? "/overflow=nonfinite" : "");
}

/* Moves *p behind word if it stands there. */
static int vq__eat(const char **p, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*p, word, n)) return 0;
    *p += n;
    return 1;
}

/* Moves *p behind word and the slash or end after it, if both stand there. */
static int vq__eat_field(const char **p, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*p, word, n) || ((*p)[n] != '/' && (*p)[n])) return 0;
    *p += n + ((*p)[n] == '/');
    return 1;
}

static int vq__eat_dtype(const char **p, vq_dtype *out)
{
    int t;
    for (t = 1; t < VQ_DTYPE_COUNT; t++)
        if (vq__eat_field(p, vq_dtype_str((vq_dtype)t))) { *out = (vq_dtype)t; return 1; }
    return 0;
}

static int vq__eat_extent(const char **p, int32_t *out)
{
    int32_t v = 0;
    if (vq__eat(p, "-1")) { *out = -1; return 1; }
    if (**p < '1' || **p > '9') return 0;
    for (; **p >= '0' && **p <= '9'; ++*p)
        if ((v = v * 10 + (**p - '0')) > 1 << 24) return 0;
    *out = v;
    return 1;
}

static int vq__eat_number(const char **p, float *out)        /* > 0, then a slash or the end */
{
    const char *end = vq__read_number(*p, out);
    if (!end || (*end && *end != '/') || !vq__within(*out, vq_dtype_max(VQ_F32))) return 0;
    *p = end + (*end == '/');
    return 1;
}

static int vq__eat_scale_rule(const char **p, vq_key *k)
{
    int i = 0;
    if (vq__eat_field(p, "static")) { k->flags = VQ_KEY_STATIC; return vq__eat(p, "max"); }
    if (!vq__eat_field(p, "dyn")) return 0;
    for (i = VQ_SCALE_DIV; i < VQ_SCALE_RULE_COUNT; i++)     /* no rule's name begins another's */
        if (vq__eat(p, vq__scale_rule_str((vq_scale_rule)i))) {
            k->scale_rule = (vq_scale_rule)i;
            return 1;
        }
    return 0;
}

static int vq__eat_options(const char **p, vq_key *k)
{
    int i;
    if (vq__eat_field(p, "asym"))        k->flags |= VQ_KEY_ASYMMETRIC;
    if (vq__eat_field(p, "notail"))      k->flags |= VQ_KEY_NO_TAIL;
    if (vq__eat_field(p, "arith=bf16"))  k->arith = VQ_BF16;
    if (vq__eat_field(p, "bound=amax"))  k->bound_kind = VQ_BOUND_AMAX;
    else if (vq__eat_field(p, "bound=scale")) k->bound_kind = VQ_BOUND_SCALE;
    for (i = VQ_FLOOR_AMAX; i < VQ_FLOOR_COUNT; i++)
        if (vq__eat(p, vq__floor_text[i])) {
            k->floor_kind = (vq_floor_kind)i;
            if (!vq__eat_number(p, &k->floor_value)) return 0;
            break;
        }
    if (vq__eat_field(p, "scale2=mul"))  k->scale2_kind = VQ_SCALE2_MUL;
    else if (vq__eat_field(p, "scale2=div")) k->scale2_kind = VQ_SCALE2_DIV;
    if (vq__eat_field(p, "nan=max"))     k->nan_rule = VQ_NAN_MAX;
    if (vq__eat_field(p, "overflow=nonfinite")) k->overflow = VQ_NONFINITE;
    return !**p;
}

/* Is name one of the words of list? */
static int vq__lists(const char *list, const char *name)
{
    size_t n = strlen(name);
    const char *p;
    for (p = list; n && !strchr(name, ' ') && (p = strstr(p, name)) != NULL; p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n])) return 1;
    return 0;
}

vq_status vq_key_parse(const char *text, vq_key *out, vq_report *report)
{
    vq_report r;
    vq_key k;
    const char *p = text;
    int i, good;
    uint64_t was;
    memset(&r, 0, sizeof r);
    memset(&k, 0, sizeof k);
    k.arith = VQ_F32;
    if (!text || !out) {
        vq__refuse(&r, VQ_GUARD_PRESENT, "key", 0, 0);
        return vq__tell(&r, report);
    }
    if (!strchr(text, '/')) {
        for (i = 0; i < VQ_KEY_COUNT; i++)
            if (!strcmp(vq__presets[i].name, text) || vq__lists(vq__presets[i].also, text)) {
                *out = vq_key_preset((vq_key_id)i);
                return VQ_OK;
            }
        vq__refuse_name(&r, VQ_GUARD_NAME, "key", text);
        return vq__tell(&r, report);
    }
    was = vq__fp_enter();
    good = vq__eat_dtype(&p, &k.elem) && vq__eat_dtype(&p, &k.scale_type)
        && vq__eat_extent(&p, &k.group_rows) && vq__eat(&p, "x")
        && vq__eat_extent(&p, &k.group_cols) && vq__eat(&p, "/")
        && vq__eat_scale_rule(&p, &k) && vq__eat_number(&p, &k.code_max);
    if (good && k.scale_rule == VQ_SCALE_RANGE && k.elem != VQ_UINT8 && k.elem != VQ_UINT4)
        k.code_max = (k.code_max - 1.0f) / 2.0f;
    for (i = 0; good && i < VQ_CODE_RULE_COUNT; i++)
        if (vq__eat_field(&p, vq__code_rule_str((vq_code_rule)i))) break;
    k.code_rule = (vq_code_rule)i;
    good = good && i < VQ_CODE_RULE_COUNT && vq__eat_options(&p, &k);
    vq__fp_leave(was);
    if (!good || p[-1] == '/') {
        vq__refuse_name(&r, VQ_GUARD_KEYTEXT, "key", p);
        r.found = p - text;
    } else if (!vq_key_check(&k, &r)) { *out = k; return VQ_OK; }
    return vq__tell(&r, report);
}

vq_key vq_key_preset(vq_key_id id)
{
    vq_key k;
    memset(&k, 0, sizeof k);
    if ((unsigned)id < VQ_KEY_COUNT) vq_key_parse(vq__presets[id].text, &k, NULL);
    return k;
}

const char *vq_key_name(vq_key_id id)
{
    return (unsigned)id < VQ_KEY_COUNT ? vq__presets[id].name : "unknown";
}

const char *vq_key_also(vq_key_id id)
{
    return (unsigned)id < VQ_KEY_COUNT ? vq__presets[id].also : "";
}

/* --- meaning --------------------------------------------------------------- */

#define VQ__POW2_RULES (VQ__IS(VQ_SCALE_FLOOR) | VQ__IS(VQ_SCALE_EXP) | VQ__IS(VQ_SCALE_CEIL) \
                        | VQ__IS(VQ_SCALE_RCEIL) | VQ__IS(VQ_SCALE_TRUNC) | VQ__IS(VQ_SCALE_EVEN))

/* A field of a key: found must be in the mask `allowed` of its kind. */
static vq_status vq__key_field(vq_report *r, char kind, const char *arg, unsigned found,
                               uint32_t allowed)
{
    if (found < 32u && (allowed >> found & 1u)) return VQ_OK;
    return vq__refuse_as(r, VQ_GUARD_KEY, kind, arg, found, allowed);
}

static vq_status vq__key_enum(vq_report *r, const char *arg, unsigned found, unsigned count)
{
    return found < count ? VQ_OK : vq__refuse(r, VQ_GUARD_KEY, arg, found, count - 1);
}

static vq_status vq__refuse_float(vq_report *r, const char *arg, float found, float needed)
{
    return vq__refuse_as(r, VQ_GUARD_KEY, 'f', arg, vq__f32_bits(found), vq__f32_bits(needed));
}

static vq_status vq__check_key_rules(const vq_key *k, vq_report *r)
{
    const int fixed = (k->flags & VQ_KEY_STATIC) != 0, asym = (k->flags & VQ_KEY_ASYMMETRIC) != 0;
    uint32_t rules = fixed ? VQ__IS(VQ_SCALE_GIVEN) : asym ? VQ__IS(VQ_SCALE_RANGE)
        : k->scale_type == VQ_E8M0 ? VQ__POW2_RULES
        : k->scale_type == VQ_UE4M3 ? VQ__IS(VQ_SCALE_DIV) | VQ__IS(VQ_SCALE_INV)
        : VQ__POW2_RULES | VQ__IS(VQ_SCALE_DIV) | VQ__IS(VQ_SCALE_INV) | VQ__IS(VQ_SCALE_RECIP);
    uint32_t codes = VQ__IS(VQ_CODE_DIV) | VQ__IS(VQ_CODE_INV) | VQ__IS(VQ_CODE_INV0);
    vq_status s;
    if (vq__is_any(k->elem, VQ__INTS)) rules &= ~(uint32_t)VQ__IS(VQ_SCALE_EVEN);
    s = vq__key_field(r, 'r', "key.scale_rule", k->scale_rule, rules);
    if (s) return s;
    if (k->scale2_kind == VQ_SCALE2_DIV) codes |= VQ__IS(VQ_CODE_RATIO);
    if (!fixed && !asym) codes |= VQ__IS(VQ_CODE_AMAX);
    if (vq__is_any(k->elem, VQ__INTS)) codes |= VQ__IS(VQ_CODE_DIV_TRUNC);
    if (vq__is_any(k->elem, VQ__INTS) && !fixed && !asym) codes |= VQ__IS(VQ_CODE_AMAX_AWAY);
    s = vq__key_field(r, 'd', "key.code_rule", k->code_rule, codes);
    if (s) return s;
    if (fixed && k->bound_kind) return vq__refuse(r, VQ_GUARD_KEY, "key.bound_kind",
                                                  k->bound_kind, VQ_BOUND_NONE);
    if (fixed && k->floor_kind) return vq__refuse(r, VQ_GUARD_KEY, "key.floor_kind",
                                                  k->floor_kind, VQ_FLOOR_NONE);
    if (k->floor_kind == VQ_FLOOR_RAW && k->scale_rule != VQ_SCALE_RCEIL
        && k->scale_rule != VQ_SCALE_TRUNC)                  /* the others make no raw scale */
        return vq__refuse(r, VQ_GUARD_KEY, "key.floor_kind", k->floor_kind, VQ_FLOOR_SCALE);
    if (asym && k->floor_kind == VQ_FLOOR_AMAX)              /* nor an amax */
        return vq__refuse(r, VQ_GUARD_KEY, "key.floor_kind", k->floor_kind, VQ_FLOOR_SCALE);
    if (asym && k->bound_kind == VQ_BOUND_AMAX)
        return vq__refuse(r, VQ_GUARD_KEY, "key.bound_kind", k->bound_kind, VQ_BOUND_SCALE);
    if (asym && k->scale2_kind)
        return vq__refuse(r, VQ_GUARD_KEY, "key.scale2_kind", k->scale2_kind, VQ_SCALE2_NONE);
    if (k->overflow && !vq__is_any(k->elem, VQ__FP8))        /* nothing to become */
        return vq__refuse(r, VQ_GUARD_KEY, "key.overflow", k->overflow, VQ_SATURATE);
    if (k->floor_kind ? !vq__within(k->floor_value, vq_dtype_max(VQ_F32))
                      : vq__f32_bits(k->floor_value) != 0)
        return vq__refuse_float(r, "key.floor_value", k->floor_value,
                                k->floor_kind ? vq__f32_make(1) : 0.0f);
    return VQ_OK;
}

static vq_status vq__check_key(const vq_key *k, vq_report *r)
{
    vq_status s;
    float most = vq_dtype_max(k->elem);
    int i;
    if ((s = vq__key_field(r, 't', "key.elem", k->elem, VQ__ELEMS)) != VQ_OK) return s;
    s = vq__key_field(r, 't', "key.scale_type", k->scale_type,
                      VQ__FLOAT | VQ__IS(VQ_E8M0) | VQ__IS(VQ_UE4M3));
    if (s) return s;
    if (!vq__within(k->code_max, most))
        return vq__refuse_float(r, "key.code_max", k->code_max, most);
    if (vq__is_any(k->elem, VQ__INTS) && k->code_max != (float)(int)k->code_max)
        return vq__refuse_float(r, "key.code_max", k->code_max, (float)((int)k->code_max + 1));
    for (i = 0; i < 2; i++) {
        int32_t g = i ? k->group_cols : k->group_rows;
        if (g != -1 && (g < 1 || g > 1 << 24))
            return vq__refuse(r, VQ_GUARD_KEY, i ? "key.group_cols" : "key.group_rows", g,
                              g < 1 ? 1 : 1 << 24);
    }
    if (k->flags & ~7u) return vq__refuse(r, VQ_GUARD_KEY, "key.flags", k->flags, k->flags & 7u);
    if ((k->flags & VQ_KEY_ASYMMETRIC) && !vq__is_any(k->elem, VQ__INTS))
        return vq__refuse_as(r, VQ_GUARD_KEY, 't', "key.elem", k->elem, VQ__INTS);
    s = vq__key_field(r, 't', "key.arith", k->arith, VQ__IS(VQ_F32) | VQ__IS(VQ_BF16));
    if (!s) s = vq__key_enum(r, "key.bound_kind", k->bound_kind, VQ_BOUND_COUNT);
    if (!s) s = vq__key_enum(r, "key.floor_kind", k->floor_kind, VQ_FLOOR_COUNT);
    if (!s) s = vq__key_enum(r, "key.scale2_kind", k->scale2_kind, VQ_SCALE2_COUNT);
    if (!s) s = vq__key_enum(r, "key.nan_rule", k->nan_rule, VQ_NAN_COUNT);
    if (!s) s = vq__key_enum(r, "key.overflow", k->overflow, VQ_OVERFLOW_COUNT);
    if (!s) s = vq__key_enum(r, "key.reserved", k->reserved, 1);
    return s ? s : vq__check_key_rules(k, r);
}

vq_status vq_key_check(const vq_key *k, vq_report *report)
{
    vq_report r;
    memset(&r, 0, sizeof r);
    if (!k) vq__refuse(&r, VQ_GUARD_PRESENT, "key", 0, 0);
    else vq__check_key(k, &r);
    return vq__tell(&r, report);
}

int vq_key_equal(const vq_key *a, const vq_key *b) { return !memcmp(a, b, sizeof *a); }

typedef char vq__key_is_16_words[sizeof(vq_key) == 64 ? 1 : -1];

uint64_t vq_key_hash(const vq_key *k)                        /* FNV-1a over little-endian words */
{
    uint32_t word[16];
    uint64_t h = 0xcbf29ce484222325ull;
    int i, j;
    memcpy(word, k, sizeof word);
    for (i = 0; i < 16; i++)
        for (j = 0; j < 32; j += 8) h = (h ^ (word[i] >> j & 0xffu)) * 0x100000001b3ull;
    return h;
}

vq_key vq_key_as(vq_key k, vq_dtype elem, float code_max)
{
    uint64_t was = vq__fp_enter();
    if (k.floor_kind == VQ_FLOOR_SCALE && k.floor_value == 1.0f / (k.code_max * 512.0f))
        k.floor_value = 1.0f / (code_max * 512.0f);
    vq__fp_leave(was);
    k.elem = elem;
    k.code_max = code_max;
    return k;
}

vq_key vq_key_on(vq_key k, const vq_platform *p)
{
    if (k.elem == VQ_E4M3FN && k.scale_type != VQ_E8M0 && k.code_max == 448.0f
        && vq_is_fp8_fnuz(p))
        k = vq_key_as(k, VQ_E4M3FNUZ, vq_fp8_max(VQ_E4M3FNUZ, 1));
    return k;
}

static int64_t vq__groups(int64_t extent, int64_t group)     /* without overflow */
{
    return group == -1 ? 1 : group < 1 ? 0 : extent / group + (extent % group != 0);
}

void vq_key_group(const vq_key *k, int64_t rows, int64_t cols, int64_t group[2], int64_t count[2])
{
    group[0] = k->group_rows < 0 ? rows : k->group_rows;
    group[1] = k->group_cols < 0 ? cols : k->group_cols;
    count[0] = vq__groups(rows, k->group_rows);
    count[1] = vq__groups(cols, k->group_cols);
}

vq_tensor vq_scale_for(const vq_key *k, vq_tensor q, vq_order order, const void *data)
{
    int64_t group[2], count[2];
    vq_tensor t;
    vq_key_group(k, q.shape[0], q.shape[1], group, count);
    t = vq_tensor_ordered(k->scale_type, count[0], count[1], order, NULL, q.where);
    t.data = (void *)(uintptr_t)data;
    return t;
}

/* ===========================================================================
   >>impl-tensors
   =========================================================================== */

/* No extent is larger, which leaves room for bytes and for tiles. */
#define VQ__MOST (INT64_MAX / 8)

int64_t vq_row_bytes(vq_dtype dtype, int64_t cols)
{
    int bits = vq_dtype_bits(dtype);
    int64_t n;
    if (cols < 0 || !vq__mul64(cols / 8, bits, &n)
        || !vq__add64(n, (cols % 8 * bits + 7) / 8, &n)) return -1;
    return n;
}

/* A tensor without its data: gcc would warn of memory that a view does not look at. */
static vq_tensor vq__shaped(vq_dtype dtype, int rank, const int64_t *shape, vq_where where)
{
    vq_tensor t;
    int i;
    memset(&t, 0, sizeof t);
    t.dtype = dtype;
    t.where = where;
    t.rank = rank;
    if (rank < 1 || rank > 4) return t;                      /* vq_tensor_check() says so */
    for (i = 0; i < rank; i++) t.shape[i] = shape[i];
    t.stride[rank - 1] = 1;
    if (rank > 1)
        t.stride[rank - 2] = vq_dtype_bits(dtype) < 8 ? vq_row_bytes(dtype, shape[rank - 1])
                                                      : shape[rank - 1];
    for (i = rank - 3; i >= 0; i--)                          /* too large: vq_tensor_check() */
        if (shape[i + 1] < 0 || t.stride[i + 1] < 0
            || !vq__mul64(t.stride[i + 1], shape[i + 1], &t.stride[i])) t.stride[i] = INT64_MAX;
    return t;
}

vq_tensor vq_tensor_nd(const void *data, vq_dtype dtype, int rank, const int64_t *shape,
                       vq_where where)
{
    vq_tensor t = vq__shaped(dtype, rank, shape, where);
    t.data = (void *)(uintptr_t)data;
    return t;
}

vq_tensor vq_tensor_2d(const void *data, vq_dtype dtype, int64_t rows, int64_t cols,
                       vq_where where)
{
    vq_tensor t;
    int64_t shape[2];
    shape[0] = rows;
    shape[1] = cols;
    t = vq__shaped(dtype, 2, shape, where);
    t.data = (void *)(uintptr_t)data;
    return t;
}

vq_tensor vq_tensor_ordered(vq_dtype dtype, int64_t rows, int64_t cols, vq_order order,
                            const void *data, vq_where where)
{
    static const vq_layout layout[] = { VQ_STRIDED, VQ_STRIDED, VQ_STRIDED, VQ_PACKED_UE8M0,
                                        VQ_SWIZZLE_128X4, VQ_SWIZZLE_8X4, VQ_SWIZZLE_CDNA4 };
    const int64_t shape[2] = { rows, cols };
    vq_tensor t = vq__shaped(dtype, 2, shape, where);
    int64_t tile_rows, tile_cols, per16 = vq_dtype_bits(dtype) ? 128 / vq_dtype_bits(dtype) : 1;
    t.data = (void *)(uintptr_t)data;
    if ((unsigned)order >= VQ_ORDER_COUNT) { t.rank = 0; return t; }
    t.layout = layout[order];
    if (order == VQ_ROWS || rows < 0 || cols < 0 || rows > VQ__MOST || cols > VQ__MOST) return t;
    vq__tile(t.layout, &tile_rows, &tile_cols);
    if (order == VQ_COLUMNS || order == VQ_COLUMNS_TMA) {
        t.stride[0] = 1;
        t.stride[1] = order == VQ_COLUMNS ? rows : vq__up(rows, per16);     /* TMA: 16 bytes */
        if (t.stride[1] < 1) t.stride[1] = 1;
    } else if (order == VQ_WORDS_UE8M0) {
        t.stride[0] = 4;
        t.stride[1] = 4 * vq__up(rows, 4);
    } else
        t.stride[0] = vq__up(cols, tile_cols);
    return t;
}

static int vq__empty(const vq_tensor *t)
{
    int i;
    for (i = 0; i < t->rank; i++) if (t->shape[i] == 0) return 1;
    return 0;
}

/* Bytes from data to the end; 0 where they overflow. t has passed everything else. */
static int64_t vq__bytes(const vq_tensor *t)
{
    int64_t n, m, tile_rows, tile_cols;
    int bits = vq_dtype_bits(t->dtype), last = t->rank - 1, i, inner = t->rank;
    int64_t unit = bits >= 8 && t->layout == VQ_STRIDED ? bits / 8 : 1;
    if (t->layout == VQ_STRIDED) {
        n = bits < 8 ? vq_row_bytes(t->dtype, t->shape[last]) : unit;
        if (bits < 8) inner = last;
    } else {
        int64_t rows = t->shape[last - 1], cols = t->shape[last];
        vq__tile(t->layout, &tile_rows, &tile_cols);
        inner = last - 1;
        if (t->layout == VQ_PACKED_UE8M0) {
            if (!vq__mul64((cols + 3) / 4 - 1, t->stride[last], &n)
                || !vq__mul64(vq__packed_rows(t), 4, &m) || !vq__add64(n, m, &n)) return 0;
        } else if (!vq__mul64(vq__up(rows, tile_rows), vq__up(cols, tile_cols), &n)) return 0;
    }
    for (i = 0; i < inner; i++)
        if (!vq__mul64(t->shape[i] - 1, t->stride[i], &m) || !vq__mul64(m, unit, &m)
            || !vq__add64(n, m, &n)) return 0;
    return n;
}

/* What the strides of a layout must be, or of a packed row. Extents are > 0. */
static vq_status vq__check_strides(const vq_tensor *t, const char *name, vq_report *r)
{
    int bits = vq_dtype_bits(t->dtype), last = t->rank - 1, i;
    int64_t tile_rows, tile_cols, cols = t->shape[last], needed;
    for (i = 0; i < t->rank; i++)
        if (t->shape[i] > 1 && t->stride[i] < 1)
            return vq__refuse(r, VQ_GUARD_STRIDE, name, t->stride[i], 1);
    if (t->layout == VQ_STRIDED && bits >= 8) return VQ_OK;
    if (t->layout == VQ_STRIDED) {
        needed = vq_row_bytes(t->dtype, cols);
        if (cols > 1 && t->stride[last] != 1)
            return vq__refuse(r, VQ_GUARD_STRIDE, name, t->stride[last], 1);
        if (last && t->shape[last - 1] > 1 && t->stride[last - 1] < needed)
            return vq__refuse(r, VQ_GUARD_STRIDE, name, t->stride[last - 1], needed);
        return VQ_OK;
    }
    vq__tile(t->layout, &tile_rows, &tile_cols);
    if (t->layout == VQ_PACKED_UE8M0) {
        if (t->stride[last - 1] != 4)
            return vq__refuse(r, VQ_GUARD_STRIDE, name, t->stride[last - 1], 4);
        needed = 4 * t->shape[last - 1];
        if (t->stride[last] < needed || t->stride[last] % 4)
            return vq__refuse(r, VQ_GUARD_STRIDE, name, t->stride[last],
                              needed > t->stride[last] ? needed : t->stride[last] / 4 * 4
                              + (t->stride[last] < INT64_MAX - 4 ? 4 : 0));
        return VQ_OK;
    }
    if (t->stride[last - 1] != vq__up(cols, tile_cols))
        return vq__refuse(r, VQ_GUARD_STRIDE, name, t->stride[last - 1], vq__up(cols, tile_cols));
    return t->stride[last] == 1 ? VQ_OK
                                : vq__refuse(r, VQ_GUARD_STRIDE, name, t->stride[last], 1);
}

static vq_status vq__check_tensor(const vq_tensor *t, const char *name, vq_report *r)
{
    int i;
    if (!t || !t->rank) return vq__refuse(r, VQ_GUARD_PRESENT, name, 0, 0);
    if (t->rank < 1 || t->rank > 4)
        return vq__refuse(r, VQ_GUARD_RANK, name, t->rank, t->rank < 1 ? 1 : 4);
    if (!vq__is_any(t->dtype, VQ__TYPES))
        return vq__refuse(r, VQ_GUARD_TYPE, name, t->dtype, VQ__TYPES);
    if ((unsigned)t->where >= VQ_WHERE_COUNT)
        return vq__refuse(r, VQ_GUARD_VALUE, name, (int)t->where, VQ_HOST);
    if ((unsigned)t->layout >= VQ_LAYOUT_COUNT)
        return vq__refuse(r, VQ_GUARD_LAYOUT, name, (int)t->layout, (1 << VQ_LAYOUT_COUNT) - 1);
    if (t->layout == VQ_PACKED_UE8M0 && t->dtype != VQ_E8M0)
        return vq__refuse(r, VQ_GUARD_TYPE, name, t->dtype, VQ__IS(VQ_E8M0));
    if (t->layout != VQ_STRIDED && vq_dtype_bits(t->dtype) != 8)
        return vq__refuse(r, VQ_GUARD_LAYOUT, name, t->layout, VQ__IS(VQ_STRIDED));
    if (t->layout != VQ_STRIDED && t->rank != 2 && t->rank != 3)
        return vq__refuse(r, VQ_GUARD_RANK, name, t->rank, t->rank < 2 ? 2 : 3);
    for (i = 0; i < t->rank; i++)
        if (t->shape[i] < 0 || t->shape[i] > VQ__MOST)
            return vq__refuse(r, VQ_GUARD_SIZE, name, t->shape[i], t->shape[i] < 0 ? 0 : VQ__MOST);
    if (vq__empty(t)) return VQ_OK;
    if (vq__check_strides(t, name, r)) return r->status;
    return vq__bytes(t) > 0 ? VQ_OK
        : vq__refuse_name(r, VQ_GUARD_SIZE, name, "more bytes than an int64 counts");
}

vq_status vq_tensor_check(const vq_tensor *t, const char *name, vq_report *report)
{
    vq_report r;
    memset(&r, 0, sizeof r);
    vq__check_tensor(t, name, &r);
    return vq__tell(&r, report);
}

int64_t vq_tensor_bytes(vq_tensor t)
{
    vq_report r;
    if (vq__check_tensor(&t, "", &r)) return -1;
    return vq__empty(&t) ? 0 : vq__bytes(&t);
}

vq_status vq_scale_from_1d(const vq_key *k, const vq_tensor *scale, int64_t rows, int64_t cols,
                           vq_tensor *out, vq_report *report)
{
    vq_report r;
    int64_t group[2], count[2] = { 1, 1 }, n;
    memset(&r, 0, sizeof r);
    if (!scale || !out) vq__refuse(&r, VQ_GUARD_PRESENT, "scale", 0, 0);
    else if (scale->rank != 1) vq__refuse(&r, VQ_GUARD_RANK, "scale", scale->rank, 1);
    else if (rows < 0 || cols < 0) vq__refuse(&r, VQ_GUARD_SIZE, rows < 0 ? "rows" : "cols",
                                              rows < 0 ? rows : cols, 0);
    else if (!vq__check_tensor(scale, "scale", &r) && vq_dtype_bits(scale->dtype) < 8)
        vq__refuse(&r, VQ_GUARD_TYPE, "scale", scale->dtype, VQ__FLOAT | VQ__IS(VQ_E8M0)
                   | VQ__IS(VQ_UE4M3));                      /* packed: a column has no stride */
    if (!r.status && k) vq__check_key(k, &r);
    if (r.status) return vq__tell(&r, report);
    n = scale->shape[0];
    if (k) {
        vq_key_group(k, rows, cols, group, count);
        if (count[0] != 1 && count[1] != 1) vq__refuse(&r, VQ_GUARD_RANK, "scale", 1, 2);
        else if (n != count[0] * count[1])
            vq__refuse(&r, VQ_GUARD_SHAPE, "scale", n, count[0] * count[1]);
    } else if (n != 1) {
        if (n == rows && n == cols) vq__refuse(&r, VQ_GUARD_AMBIGUOUS, "scale", n, 0);
        else if (n == cols) count[1] = n;
        else if (n == rows) count[0] = n;
        else vq__refuse(&r, VQ_GUARD_SHAPE, "scale", n, cols);
    }
    if (r.status) return vq__tell(&r, report);
    *out = *scale;
    out->rank = 2;
    out->shape[0] = count[0];
    out->shape[1] = count[1];
    out->stride[1] = scale->stride[0];
    out->stride[0] = count[1] == 1 ? scale->stride[0] : 1;   /* one row: any stride */
    return VQ_OK;
}

#ifdef VQ_WITH_DLPACK
static const struct { uint8_t code, bits; vq_dtype type; } vq__dl[] = {
    { kDLFloat, 32, VQ_F32 }, { kDLFloat, 16, VQ_F16 }, { kDLBfloat, 16, VQ_BF16 },
    { kDLInt, 8, VQ_INT8 }, { kDLUInt, 8, VQ_UINT8 },
#if defined(DLPACK_MAJOR_VERSION) && (DLPACK_MAJOR_VERSION > 1 || DLPACK_MINOR_VERSION >= 1)
    { kDLFloat8_e4m3fn, 8, VQ_E4M3FN }, { kDLFloat8_e4m3fnuz, 8, VQ_E4M3FNUZ },
    { kDLFloat8_e5m2, 8, VQ_E5M2 }, { kDLFloat8_e5m2fnuz, 8, VQ_E5M2FNUZ },
    { kDLFloat8_e8m0fnu, 8, VQ_E8M0 },
#endif
};

vq_status vq_tensor_from_dlpack(const DLTensor *d, vq_tensor *out, vq_report *report)
{
    vq_report r;
    vq_tensor t;
    int i;
    memset(&r, 0, sizeof r);
    memset(&t, 0, sizeof t);
    if (!d || !out) vq__refuse(&r, VQ_GUARD_PRESENT, "dltensor", 0, 0);
    else if (d->ndim < 1 || d->ndim > 4)
        vq__refuse(&r, VQ_GUARD_RANK, "dltensor", d->ndim, d->ndim < 1 ? 1 : 4);
    else if (d->dtype.lanes != 1) vq__refuse(&r, VQ_GUARD_VALUE, "dltensor", d->dtype.lanes, 1);
    if (r.status) return vq__tell(&r, report);
    for (i = 0; i < VQ__COUNT(vq__dl); i++)
        if (vq__dl[i].code == d->dtype.code && vq__dl[i].bits == d->dtype.bits)
            t.dtype = vq__dl[i].type;
    t = vq_tensor_nd((char *)d->data + d->byte_offset, t.dtype, d->ndim, d->shape,
                     d->device.device_type == kDLCPU || d->device.device_type == kDLCUDAHost
                     || d->device.device_type == kDLROCMHost ? VQ_HOST
                     : d->device.device_type == kDLCUDAManaged ? VQ_MANAGED : VQ_DEVICE);
    for (i = 0; d->strides && i < d->ndim; i++) t.stride[i] = d->strides[i];
    if (!vq__check_tensor(&t, "dltensor", &r)) *out = t;
    return vq__tell(&r, report);
}

vq_status vq_tensor_to_dlpack(const vq_tensor *t, DLDevice device, int64_t *shape,
                              int64_t *strides, DLTensor *out, vq_report *report)
{
    vq_report r;
    int i, at = -1;
    memset(&r, 0, sizeof r);
    if (!shape || !strides || !out) vq__refuse(&r, VQ_GUARD_PRESENT, "dltensor", 0, 0);
    else vq__check_tensor(t, "tensor", &r);
    if (!r.status && t->layout != VQ_STRIDED)
        vq__refuse(&r, VQ_GUARD_LAYOUT, "tensor", t->layout, VQ__IS(VQ_STRIDED));
    for (i = 0; !r.status && i < VQ__COUNT(vq__dl); i++) if (vq__dl[i].type == t->dtype) at = i;
    if (!r.status && at < 0)
        vq__refuse(&r, VQ_GUARD_TYPE, "tensor", t->dtype, VQ__FLOAT | VQ__IS(VQ_INT8)
                   | VQ__IS(VQ_UINT8));
    if (r.status) return vq__tell(&r, report);
    memset(out, 0, sizeof *out);
    out->data = t->data;
    out->device = device;
    out->ndim = t->rank;
    out->dtype.code = vq__dl[at].code;
    out->dtype.bits = vq__dl[at].bits;
    out->dtype.lanes = 1;
    out->shape = shape;
    out->strides = strides;
    for (i = 0; i < t->rank; i++) { shape[i] = t->shape[i]; strides[i] = t->stride[i]; }
    return VQ_OK;
}
#endif

/* ===========================================================================
   >>impl-platform
   =========================================================================== */

#define VQ__CDNA   (VQ_CAP(INT8_MMA) | VQ_CAP(BF16_MMA))
#define VQ__CDNA3  (VQ__CDNA | VQ_CAP(E4M3FNUZ_CVT) | VQ_CAP(FP8_MMA))
#define VQ__CDNA4  (VQ__CDNA | VQ_CAP(E4M3FN_CVT) | VQ_CAP(E2M1_CVT) | VQ_CAP(MX_CVT) \
                    | VQ_CAP(FP8_MMA) | VQ_CAP(MX_MMA))
#define VQ__RDNA3  (VQ_CAP(INT8_MMA) | VQ_CAP(BF16_MMA))
#define VQ__RDNA4  (VQ__RDNA3 | VQ_CAP(E4M3FN_CVT) | VQ_CAP(FP8_MMA))
#define VQ__TURING VQ_CAP(INT8_MMA)
#define VQ__AMPERE (VQ__TURING | VQ_CAP(BF16_MMA))
#define VQ__ADA    (VQ__AMPERE | VQ_CAP(E4M3FN_CVT) | VQ_CAP(FP8_MMA))
#define VQ__HOPPER (VQ__ADA | VQ_CAP(TMA) | VQ_CAP(PDL))
#define VQ__BLACKWELL (VQ__HOPPER | VQ_CAP(E2M1_CVT) | VQ_CAP(MX_MMA))

/* Sorted within a vendor; a name that is not here is refused, not guessed. */
static const vq_platform vq__platforms[] = {
    /* name      backend  fp8           wave  caps            capability, GB/s of MI250X (a half),
       MI300X, MI355X, RX 6900 XT, 7900 XTX, 7800 XT, 7600, Radeon 890M, 8060S, RX 9060 XT, 9070 XT;
       V100, Xavier, T4, A100, RTX A6000, Orin, L40S, H200, B200, B300, Thor, RTX 5090, GB10 */
    { "cpu",     VQ_CPU,  VQ_NONE,      1,    0,              0, 0, 0 },
    { "gfx90a",  VQ_HIP,  VQ_NONE,      64,   VQ__CDNA,       9, 0, 1638 },
    { "gfx940",  VQ_HIP,  VQ_E4M3FNUZ,  64,   VQ__CDNA3,      9, 4, 5300 },
    { "gfx941",  VQ_HIP,  VQ_E4M3FNUZ,  64,   VQ__CDNA3,      9, 4, 5300 },
    { "gfx942",  VQ_HIP,  VQ_E4M3FNUZ,  64,   VQ__CDNA3,      9, 4, 5300 },
    { "gfx950",  VQ_HIP,  VQ_E4M3FN,    64,   VQ__CDNA4,      9, 5, 8000 },
    { "gfx1030", VQ_HIP,  VQ_NONE,      32,   0,              10, 3, 512 },
    { "gfx1100", VQ_HIP,  VQ_NONE,      32,   VQ__RDNA3,      11, 0, 960 },
    { "gfx1101", VQ_HIP,  VQ_NONE,      32,   VQ__RDNA3,      11, 0, 624 },
    { "gfx1102", VQ_HIP,  VQ_NONE,      32,   VQ__RDNA3,      11, 0, 288 },
    { "gfx1150", VQ_HIP,  VQ_NONE,      32,   VQ__RDNA3,      11, 5, 120 },
    { "gfx1151", VQ_HIP,  VQ_NONE,      32,   VQ__RDNA3,      11, 5, 256 },
    { "gfx1200", VQ_HIP,  VQ_E4M3FN,    32,   VQ__RDNA4,      12, 0, 320 },
    { "gfx1201", VQ_HIP,  VQ_E4M3FN,    32,   VQ__RDNA4,      12, 0, 640 },
    { "sm_70",   VQ_CUDA, VQ_NONE,      32,   0,              7, 0, 900 },
    { "sm_72",   VQ_CUDA, VQ_NONE,      32,   VQ__TURING,     7, 2, 137 },
    { "sm_75",   VQ_CUDA, VQ_NONE,      32,   VQ__TURING,     7, 5, 320 },
    { "sm_80",   VQ_CUDA, VQ_NONE,      32,   VQ__AMPERE,     8, 0, 2039 },
    { "sm_86",   VQ_CUDA, VQ_NONE,      32,   VQ__AMPERE,     8, 6, 768 },
    { "sm_87",   VQ_CUDA, VQ_NONE,      32,   VQ__AMPERE,     8, 7, 205 },
    { "sm_89",   VQ_CUDA, VQ_E4M3FN,    32,   VQ__ADA,        8, 9, 864 },
    { "sm_90",   VQ_CUDA, VQ_E4M3FN,    32,   VQ__HOPPER,     9, 0, 4800 },
    { "sm_100",  VQ_CUDA, VQ_E4M3FN,    32,   VQ__BLACKWELL,  10, 0, 8000 },
    { "sm_103",  VQ_CUDA, VQ_E4M3FN,    32,   VQ__BLACKWELL,  10, 3, 8000 },
    { "sm_110",  VQ_CUDA, VQ_E4M3FN,    32,   VQ__BLACKWELL,  11, 0, 273 },
    { "sm_120",  VQ_CUDA, VQ_E4M3FN,    32,   VQ__BLACKWELL,  12, 0, 1792 },
    { "sm_121",  VQ_CUDA, VQ_E4M3FN,    32,   VQ__BLACKWELL,  12, 1, 273 },
};

static int vq__hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* gfx, a major of one decimal digit or of two from 10 on, a minor and a stepping of one
   hexadecimal digit each, then
   the features: ":sramecc+:xnack-". */
static int vq__parse_gfx(const char *p, vq_arch *a)
{
    size_t n = strcspn(p, ":"), i;
    int *feature;
    if (n < 3 || n > 4 || (n == 4 && p[0] != '1')) return 0;
    for (i = 0; i < n - 2; i++) if (p[i] < '0' || p[i] > '9') return 0;
    if (p[0] == '0' || vq__hex(p[n - 2]) < 0 || vq__hex(p[n - 1]) < 0) return 0;
    a->backend = VQ_HIP;
    a->major = n == 3 ? p[0] - '0' : (p[0] - '0') * 10 + p[1] - '0';
    a->minor = vq__hex(p[n - 2]);
    a->stepping = vq__hex(p[n - 1]);
    memcpy(a->name, "gfx", 3);
    memcpy(a->name + 3, p, n);
    for (p += n; *p; ) {
        if (vq__eat(&p, ":sramecc")) feature = &a->sramecc;
        else if (vq__eat(&p, ":xnack")) feature = &a->xnack;
        else return 0;
        if (*feature || (*p != '+' && *p != '-')) return 0;
        *feature = *p++ == '+' ? 1 : -1;
    }
    return 1;
}

static int vq__parse_sm(const char *p, vq_arch *a)
{
    int n = 0, v = 0;
    for (; p[n] >= '0' && p[n] <= '9' && n < 4; n++) v = v * 10 + p[n] - '0';
    if (n < 2 || n > 3 || p[0] == '0') return 0;
    if (p[n] == 'a' || p[n] == 'f') a->suffix = p[n];
    if (p[n + (a->suffix != 0)]) return 0;
    a->backend = VQ_CUDA;
    a->major = v / 10;
    a->minor = v % 10;
    memcpy(a->name, "sm_", 3);
    memcpy(a->name + 3, p, (size_t)n);
    return 1;
}

static vq_status vq__parse_arch(const char *text, vq_arch *out, vq_report *r)
{
    const char *p = text;
    vq_arch a;
    int good = 0;
    memset(&a, 0, sizeof a);
    if (!text) return vq__refuse(r, VQ_GUARD_PRESENT, "arch", 0, 0);
    if (vq__eat(&p, "gfx")) good = vq__parse_gfx(p, &a);
    else if (vq__eat(&p, "sm_")) good = vq__parse_sm(p, &a);
    else if (!strcmp(text, "cpu")) { good = 1; a.backend = VQ_CPU; memcpy(a.name, "cpu", 4); }
    if (!good) return vq__refuse_name(r, VQ_GUARD_ARCH, "arch", text);
    *out = a;
    return VQ_OK;
}

vq_status vq_arch_parse(const char *text, vq_arch *out, vq_report *report)
{
    vq_report r;
    memset(&r, 0, sizeof r);
    if (!out) vq__refuse(&r, VQ_GUARD_PRESENT, "out", 0, 0);
    else vq__parse_arch(text, out, &r);
    return vq__tell(&r, report);
}

static vq_status vq__find_platform(const char *arch, vq_platform *out, vq_report *r)
{
    vq_arch a;
    int i;
    if (vq__parse_arch(arch, &a, r)) return r->status;
    for (i = 0; i < VQ__COUNT(vq__platforms); i++)
        if (!strcmp(vq__platforms[i].name, a.name)) { *out = vq__platforms[i]; return VQ_OK; }
    return vq__refuse_name(r, VQ_GUARD_ARCH, "arch", arch);
}

vq_status vq_platform_of(const char *arch, vq_platform *out, vq_report *report)
{
    vq_report r;
    memset(&r, 0, sizeof r);
    if (!out) vq__refuse(&r, VQ_GUARD_PRESENT, "out", 0, 0);
    else vq__find_platform(arch, out, &r);
    return vq__tell(&r, report);
}

int vq_platform_count(void) { return VQ__COUNT(vq__platforms); }

vq_platform vq_platform_at(int i)
{
    return vq__platforms[i >= 0 && i < VQ__COUNT(vq__platforms) ? i : 0];
}

static int vq__named(const vq_platform *p, const char *start)
{
    return p && p->name && !strncmp(p->name, start, strlen(start));
}

static int vq__has(const vq_platform *p, uint32_t caps) { return p && (p->caps & caps) == caps; }

int vq_is_cuda_alike(const vq_platform *p)
{
    return p && (p->backend == VQ_CUDA || p->backend == VQ_HIP);
}

int vq_is_fp8_fnuz(const vq_platform *p) { return p && p->fp8 == VQ_E4M3FNUZ; }
vq_dtype vq_fp8_dtype(const vq_platform *p) { return vq_is_fp8_fnuz(p) ? VQ_E4M3FNUZ : VQ_E4M3FN; }
float vq_fp8_dtype_max(const vq_platform *p) { return vq_fp8_max(vq_fp8_dtype(p), 1); }
int vq_supports_fp8(const vq_platform *p) { return vq__has(p, VQ_CAP(FP8_MMA)); }
int vq_supports_mx(const vq_platform *p)  { return vq__has(p, VQ_CAP(MX_MMA)); }
int vq_on_gfx90a(const vq_platform *p) { return vq__named(p, "gfx90a"); }
int vq_on_gfx942(const vq_platform *p) { return vq__named(p, "gfx942"); }
int vq_on_gfx950(const vq_platform *p) { return vq__named(p, "gfx950"); }
int vq_on_mi3xx(const vq_platform *p)  { return vq_on_gfx942(p) || vq_on_gfx950(p); }
int vq_on_gfx9(const vq_platform *p)   { return vq_on_gfx90a(p) || vq_on_mi3xx(p); }
int vq_on_gfx11(const vq_platform *p)  { return vq__named(p, "gfx11"); }
int vq_on_gfx12x(const vq_platform *p) { return vq__named(p, "gfx12"); }
int vq_on_gfx1x(const vq_platform *p)  { return vq_on_gfx11(p) || vq_on_gfx12x(p); }

/* ===========================================================================
   >>impl-probe     what this machine has: a CPU, and what the runtimes speak of
   =========================================================================== */

typedef void (*vq__log_fn)(void *user, const char *line);

static void vq__log(vq__log_fn log, void *user, const char *who, const char *what)
{
    char line[320];
    if (!log) return;
    vq__format(line, sizeof line, "vq: %s: %s", who, what);
    log(user, line);
}

/* A library stays loaded: the device runtime inside it may own threads. */
static void *vq__open(const char *path, const char **why)
{
#if defined(VQ_NO_DLOPEN)
    (void)path;
    *why = "built with VQ_NO_DLOPEN";
    return NULL;
#elif defined(_WIN32)
    void *lib = (void *)LoadLibraryA(path);
    *why = lib ? NULL : "no such library";
    return lib;
#else
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    *why = lib ? NULL : dlerror();
    return lib;
#endif
}

/* The symbol as bytes of a function pointer, which ISO C does not let one cast to. */
static int vq__symbol(void *lib, const char *name, void *fn, size_t size)
{
#if defined(VQ_NO_DLOPEN)
    (void)lib; (void)name; (void)fn; (void)size;
    return 0;
#elif defined(_WIN32)
    FARPROC sym = GetProcAddress((HMODULE)lib, name);
    memcpy(fn, &sym, size);
    return sym != NULL;
#else
    void *sym = dlsym(lib, name);
    memcpy(fn, &sym, size);
    return sym != NULL;
#endif
}

/* The first symbol that is missing stays in `lacks`. */
#define VQ__SYMBOL(lib, prefix, fn) vq__symbol(lib, lacks = #prefix #fn, &fn, sizeof fn)

/* Every CPU with AVX2 has it; a hypervisor may say otherwise. */
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
static VQ__UNUSED int vq__cpu_f16c(void)
{
    uint32_t a = 1, c = 0;
    __asm__("cpuid" : "+a"(a), "+c"(c) : : "ebx", "edx");
    return (int)(c >> 29 & 1u);
}
#endif

static uint32_t vq__cpu_caps(void)
{
    uint32_t caps = 0;
#if defined(__HIP_DEVICE_COMPILE__) || defined(__CUDA_ARCH__)      /* this pass is not run */
#elif defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_cpu_init();
    if (__builtin_cpu_supports("fma"))  caps |= VQ_CAP(FMA);
    if (__builtin_cpu_supports("avx2") && vq__cpu_f16c()) caps |= VQ_CAP(AVX2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        caps |= VQ_CAP(AVX512);
#elif defined(__aarch64__)
    caps = VQ_CAP(FMA) | VQ_CAP(NEON);
#endif
    return caps;
}

typedef struct vq__probing {
    vq_device *out;
    int        cap, count;
    vq__log_fn log;
    void      *user;
} vq__probing;

/* d is complete but for its platform. */
static void vq__found(vq__probing *p, vq_device *d)
{
    vq_report r;
    char line[256];
    memset(&r, 0, sizeof r);
    d->known = !vq__find_platform(d->arch, &d->platform, &r);
    if (d->backend == VQ_CPU) d->platform.caps |= vq__cpu_caps();
    vq__format(line, sizeof line, "device %d is %s, %s%s", d->ordinal, d->arch, d->name,
             d->known ? "" : ": not an architecture this version knows");
    vq__log(p->log, p->user, vq_backend_str(d->backend), line);
    if (p->out && p->count < p->cap) p->out[p->count] = *d;
    p->count++;
}

static void vq__probe_failed(const vq__probing *p, vq_backend b, const char *fn, int error)
{
    char line[96];
    vq__format(line, sizeof line, "skipped: %s answered %d", fn, error);
    vq__log(p->log, p->user, vq_backend_str(b), line);
}

static void vq__probe_lacks(const vq__probing *p, vq_backend b, const char *symbol)
{
    char line[96];
    vq__format(line, sizeof line, "skipped: the runtime's library has no symbol %s", symbol);
    vq__log(p->log, p->user, vq_backend_str(b), line);
}

static void vq__probe_cuda(vq__probing *p)
{
    int (*Init)(unsigned), (*DriverGetVersion)(int *), (*DeviceGetCount)(int *);
    int (*DeviceGet)(int *, int), (*DeviceGetName)(char *, int, int);
    int (*DeviceGetAttribute)(int *, int, int), (*DeviceTotalMem_v2)(size_t *, int);
    const char *why, *lacks;
    int error, n = 0, i, version = 0, handle, major, minor;
#if defined(_WIN32)
    void *lib = vq__open("nvcuda.dll", &why);
#else
    void *lib = vq__open("libcuda.so.1", &why);
#endif
    if (!lib) { vq__log(p->log, p->user, "cuda", why); return; }
    if (!VQ__SYMBOL(lib, cu, Init) || !VQ__SYMBOL(lib, cu, DriverGetVersion)
        || !VQ__SYMBOL(lib, cu, DeviceGetCount) || !VQ__SYMBOL(lib, cu, DeviceGet)
        || !VQ__SYMBOL(lib, cu, DeviceGetName) || !VQ__SYMBOL(lib, cu, DeviceGetAttribute)
        || !VQ__SYMBOL(lib, cu, DeviceTotalMem_v2)) {
        vq__probe_lacks(p, VQ_CUDA, lacks);
        return;
    }
    if ((error = Init(0)) != 0) { vq__probe_failed(p, VQ_CUDA, "cuInit", error); return; }
    if ((error = DeviceGetCount(&n)) != 0) {
        vq__probe_failed(p, VQ_CUDA, "cuDeviceGetCount", error);
        return;
    }
    if (DriverGetVersion(&version)) version = 0;
    if (n <= 0) vq__log(p->log, p->user, "cuda", "no device");
    for (i = 0; i < n; i++) {
        vq_device d;
        size_t bytes = 0;
        char what[64];
        memset(&d, 0, sizeof d);
        if ((error = DeviceGet(&handle, i)) != 0
            || (error = DeviceGetAttribute(&major, 75, handle)) != 0
            || (error = DeviceGetAttribute(&minor, 76, handle)) != 0) {
            vq__format(what, sizeof what, "cuDeviceGetAttribute of device %d", i);
            vq__probe_failed(p, VQ_CUDA, what, error);
            continue;
        }
        DeviceGetName(d.name, (int)sizeof d.name - 1, handle);
        DeviceTotalMem_v2(&bytes, handle);
        vq__format(d.arch, sizeof d.arch, "sm_%d", major * 10 + minor);
        d.backend = VQ_CUDA;
        d.ordinal = i;
        d.memory_bytes = (int64_t)bytes;
        d.runtime = version;
        vq__found(p, &d);
    }
}

/* hipDeviceProp_tR0600, the layout since ROCm 6.0: its size, and where two members lie. */
#define VQ__HIP_PROP_BYTES 1472
#define VQ__HIP_MEM_AT     288
#define VQ__HIP_ARCH_AT    1160

static void vq__probe_hip(vq__probing *p)
{
    static const char *const names[] = {
#if defined(_WIN32)
        "amdhip64_7.dll", "amdhip64_6.dll",
#else
        "libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so",
#endif
    };
    int (*RuntimeGetVersion)(int *), (*GetDeviceCount)(int *);
    int (*GetDevicePropertiesR0600)(void *, int);
    const char *why = NULL, *lacks;
    void *lib = NULL;
    int error, n = 0, i, version = 0;
    for (i = 0; i < VQ__COUNT(names) && !lib; i++) lib = vq__open(names[i], &why);
    if (!lib) { vq__log(p->log, p->user, "hip", why); return; }
    if (!VQ__SYMBOL(lib, hip, RuntimeGetVersion) || !VQ__SYMBOL(lib, hip, GetDeviceCount)
        || !VQ__SYMBOL(lib, hip, GetDevicePropertiesR0600)) {
        vq__probe_lacks(p, VQ_HIP, lacks);                   /* R0600: before ROCm 6 */
        return;
    }
    if ((error = GetDeviceCount(&n)) != 0) {
        vq__probe_failed(p, VQ_HIP, "hipGetDeviceCount", error);
        return;
    }
    if (RuntimeGetVersion(&version)) version = 0;
    if (n <= 0) vq__log(p->log, p->user, "hip", "no device");
    for (i = 0; i < n; i++) {
        union { char bytes[2 * VQ__HIP_PROP_BYTES]; int64_t align; } prop;    /* it may grow */
        vq_device d;
        size_t bytes;
        memset(&d, 0, sizeof d);
        memset(&prop, 0, sizeof prop);
        if ((error = GetDevicePropertiesR0600(&prop, i)) != 0) {
            vq__format(d.name, sizeof d.name, "hipGetDeviceProperties of device %d", i);
            vq__probe_failed(p, VQ_HIP, d.name, error);
            continue;
        }
        memcpy(d.name, prop.bytes, sizeof d.name - 1);
        memcpy(d.arch, prop.bytes + VQ__HIP_ARCH_AT, sizeof d.arch - 1);
        memcpy(&bytes, prop.bytes + VQ__HIP_MEM_AT, sizeof bytes);
        d.backend = VQ_HIP;
        d.ordinal = i;
        d.memory_bytes = (int64_t)bytes;
        d.runtime = version;
        vq__found(p, &d);
    }
}

vq_status vq_probe(uint32_t backends, vq_device *out, int cap, int *count, vq__log_fn log,
                   void *log_user)
{
    vq__probing p;
    vq_device cpu;
    if (!count) return VQ_BAD_ARG;
    memset(&p, 0, sizeof p);
    p.out = out;
    p.cap = cap;
    p.log = log;
    p.user = log_user;
    if (!backends) backends = ~0u;
    if (backends >> VQ_HIP & 1u) vq__probe_hip(&p);
    if (backends >> VQ_CUDA & 1u) vq__probe_cuda(&p);
    if (backends >> VQ_CPU & 1u) {
        memset(&cpu, 0, sizeof cpu);
        memcpy(cpu.arch, "cpu", 4);
#if defined(__x86_64__) || defined(_M_X64)
        memcpy(cpu.name, "x86-64", 7);
#elif defined(__aarch64__)
        memcpy(cpu.name, "aarch64", 8);
#else
        memcpy(cpu.name, "a CPU", 6);
#endif
        cpu.backend = VQ_CPU;
        vq__found(&p, &cpu);
    }
    *count = p.count;
    return VQ_OK;
}

/* ===========================================================================
   >>impl-check     an op's arguments, seen alike; each guard once
   =========================================================================== */

enum { VQ__IN, VQ__OUT, VQ__BOTH };

/* twin: the argument whose memory an output may be, when the views are the same; -1 none. */
typedef struct vq__arg { const char *name; const vq_tensor *t; int out, twin; } vq__arg;

/* What plan, run and explain need to know of any op's args. */
typedef struct vq__view {
    const vq_call *call;
    const vq_key  *key;               /* NULL: the op has none; of two the one of the output */
    const char    *result;            /* NULL, or a struct for the host that is asked for */
    vq__arg        arg[10];
    int            count;
} vq__view;

/* The tensors of an op's args that are there, by the table of its fields. */
static void vq__see(vq__view *v, const vq_field *f, int count, const void *args)
{
    const char *base = (const char *)args;
    int i, j, running = 0;
    for (i = 0; i < count; i++) {
        if (f[i].kind == VQ_FIELD_KEY) v->key = (const vq_key *)(base + f[i].offset);
        if (f[i].kind == VQ_FIELD_INT && !strcmp(f[i].name, "running"))
            memcpy(&running, base + f[i].offset, sizeof running);
    }
    for (i = 0; i < count; i++) {
        void *result = NULL;
        if (f[i].kind == VQ_FIELD_RESULT) memcpy(&result, base + f[i].offset, sizeof result);
        if (result) v->result = f[i].name;
    }
    for (i = 0; i < count; i++) {
        const vq_tensor *t = (const vq_tensor *)(base + f[i].offset);
        vq__arg *a = &v->arg[v->count];
        if (f[i].kind > VQ_FIELD_BOTH || !t->rank) continue;
        a->name = f[i].name;
        a->t = t;
        a->out = f[i].kind == VQ_FIELD_IN ? VQ__IN
            : f[i].kind == VQ_FIELD_MADE && (v->key->flags & VQ_KEY_STATIC) ? VQ__IN
            : f[i].kind == VQ_FIELD_BOTH || (f[i].kind == VQ_FIELD_INOUT && running) ? VQ__BOTH
            : VQ__OUT;
        a->twin = -1;
        for (j = 0; f[i].twin && j < v->count; j++)
            if (!strcmp(v->arg[j].name, f[i].twin)) a->twin = j;
        v->count++;
    }
}

/* What a quantizing op writes, and what a dequantizing one reads. */
typedef struct vq__sink {
    const vq_key      *key;
    const vq_tensor   *q, *scale, *zero, *bound, *scale2;
    const char *const *names;         /* of q, scale, zero, scale2 */
} vq__sink;

typedef struct vq__coded {
    const vq_key    *key;
    const vq_tensor *q, *scale, *zero, *scale2;
} vq__coded;

VQ__SHARED vq__sink vq__sink_of(const vq_key *k, const vq_tensor *q, const vq_tensor *scale,
                                const vq_tensor *zero, const vq_tensor *bound,
                                const vq_tensor *scale2)
{
    static const char *const names[] = { "q", "scale", "zero", "scale2" };
    vq__sink s;
    s.key = k;
    s.q = q;
    s.scale = scale;
    s.zero = zero;
    s.bound = bound;
    s.scale2 = scale2;
    s.names = names;
    return s;
}

VQ__SHARED vq__coded vq__coded_of(const vq_key *k, const vq_tensor *q, const vq_tensor *scale,
                                  const vq_tensor *zero, const vq_tensor *scale2)
{
    vq__coded c;
    c.key = k;
    c.q = q;
    c.scale = scale;
    c.zero = zero;
    c.scale2 = scale2;
    return c;
}

#define vq__gating_of(a) \
    vq__gating_make((a)->act, (a)->gate, (a)->mid, (a)->alpha, (a)->limit, (a)->plus)

VQ__SHARED vq__gating vq__gating_make(vq_act_kind act, vq_gate gate, vq_dtype mid, float alpha,
                                      float limit, float plus)
{
    vq__gating g;
    g.act = act;
    g.gate = gate;
    g.mid = mid;
    g.alpha = alpha;
    g.limit = limit;
    g.plus = plus;
    return g;
}

/* What a norm is made of, whichever op asks. */
typedef struct vq__norm {
    const vq_tensor *x, *residual, *weight, *gate;       /* rank 0: absent */
    float            eps;
    int              plus_one, layer, flat;              /* flat: of rank 2 only */
    vq_dtype         mid_arg;
} vq__norm;

VQ__SHARED vq__norm vq__norm_of(const vq_tensor *x, const vq_tensor *weight, float eps,
                                int plus_one, vq_dtype mid)
{
    static const vq_tensor absent = VQ_ZERO;
    vq__norm n;
    n.x = x;
    n.weight = weight;
    n.residual = n.gate = &absent;
    n.eps = eps;
    n.plus_one = plus_one;
    n.layer = n.flat = 0;
    n.mid_arg = mid;
    return n;
}

#define VQ__FIELD(op, ID, member, twin) \
    { #member, twin, VQ_FIELD_##ID, (uint32_t)offsetof(vq_##op##_args, member) },

/* A tensor of one of the types and of these extents; -1 is any. */
VQ__SHARED vq_status vq__check_like(vq_report *r, const char *name, const vq_tensor *t,
                                    uint32_t types, int rank, const int64_t *shape)
{
    int i;
    if (vq__check_tensor(t, name, r)) return r->status;
    if (!vq__is_any(t->dtype, types)) return vq__refuse(r, VQ_GUARD_TYPE, name, t->dtype, types);
    if (t->rank != rank) return vq__refuse(r, VQ_GUARD_RANK, name, t->rank, rank);
    for (i = 0; i < rank; i++)
        if (shape[i] >= 0 && t->shape[i] != shape[i])
            return vq__refuse(r, VQ_GUARD_SHAPE, name, t->shape[i], shape[i]);
    return VQ_OK;
}

VQ__SHARED vq_status vq__check_strided(vq_report *r, const char *name, const vq_tensor *t)
{
    return t->layout == VQ_STRIDED ? VQ_OK
        : vq__refuse(r, VQ_GUARD_LAYOUT, name, t->layout, VQ__IS(VQ_STRIDED));
}

/* No two elements of an output may share memory: sorted by stride, each dimension must step
   over all that the finer ones span. */
VQ__SHARED vq_status vq__check_apart(vq_report *r, const char *name, const vq_tensor *t)
{
    int64_t span = 1, n;
    int used = 0, i, best, dims = t->rank;
    if (vq__empty(t)) return VQ_OK;
    if (t->layout != VQ_STRIDED) {                           /* the plane is checked already */
        vq_tensor plane = *t;
        if (t->rank == 2 || t->shape[0] == 1) return VQ_OK;
        plane.shape[0] = 1;
        span = vq__bytes(&plane);
        return t->stride[0] >= span ? VQ_OK
                                    : vq__refuse(r, VQ_GUARD_STRIDE, name, t->stride[0], span);
    }
    if (vq_dtype_bits(t->dtype) < 8) span = vq_row_bytes(t->dtype, t->shape[--dims]);
    for (n = 0; n < dims; n++) {
        for (best = -1, i = 0; i < dims; i++)
            if (!(used >> i & 1) && t->shape[i] > 1
                && (best < 0 || t->stride[i] < t->stride[best])) best = i;
        if (best < 0) break;
        used |= 1 << best;
        if (t->stride[best] < span)
            return vq__refuse(r, VQ_GUARD_STRIDE, name, t->stride[best], span);
        span += (t->shape[best] - 1) * t->stride[best];      /* fits: vq__bytes() did */
    }
    return VQ_OK;
}

/* Rows apart, elements side by side: what quantization reads and writes. */
VQ__SHARED vq_status vq__check_rows(vq_report *r, const char *name, const vq_tensor *t,
                                    uint32_t types, int64_t rows, int64_t cols)
{
    int64_t shape[2];
    shape[0] = rows;
    shape[1] = cols;
    if (vq__check_like(r, name, t, types, 2, shape) || vq__check_strided(r, name, t))
        return r->status;
    if (t->shape[1] > 1 && t->stride[1] != 1)
        return vq__refuse(r, VQ_GUARD_STRIDE, name, t->stride[1], 1);
    return vq__check_apart(r, name, t);
}

/* scale, or zero: a value for each group, in a layout that holds its type. */
VQ__SHARED vq_status vq__check_scale(vq_report *r, const vq_key *k, const char *name,
                                     const vq_tensor *t, vq_dtype type, int out, int64_t rows,
                                     int64_t cols)
{
    int64_t group[2], count[2];
    vq_key_group(k, rows, cols, group, count);
    if (vq__check_like(r, name, t, VQ__IS(type), 2, count)) return r->status;
    return out ? vq__check_apart(r, name, t) : VQ_OK;
}

/* A tensor that only some keys have: nothing is ignored. */
VQ__SHARED vq_status vq__check_part(vq_report *r, int wanted, const char *name, const vq_tensor *t)
{
    return wanted || !t->rank ? VQ_OK : vq__refuse(r, VQ_GUARD_UNUSED, name, 0, 0);
}

VQ__SHARED vq_status vq__check_scalar(vq_report *r, int wanted, const char *name,
                                      const vq_tensor *t)
{
    static const int64_t one[2] = { 1, 1 };
    if (!wanted) return vq__check_part(r, 0, name, t);
    if (vq__check_like(r, name, t, VQ__IS(VQ_F32), 2, one)) return r->status;
    return vq__check_strided(r, name, t);
}

/* An extent that the key's groups do not divide, where it wants whole ones. */
VQ__SHARED vq_status vq__check_tail(vq_report *r, const vq_key *k, const char *name, int64_t rows,
                                    int64_t cols)
{
    int i;
    if (!(k->flags & VQ_KEY_NO_TAIL)) return VQ_OK;
    for (i = 0; i < 2; i++) {
        int64_t n = i ? cols : rows, g = i ? k->group_cols : k->group_rows;
        int64_t tail = g > 0 ? n % g : 0;
        if (!tail) continue;
        vq__refuse(r, VQ_GUARD_SHAPE, name, n, n - tail + (n <= INT64_MAX - g ? g : 0));
        if (tail * 2 < g && n > g) r->nearest = n - tail;
        return r->status;
    }
    return VQ_OK;
}

/* ===========================================================================
   >>impl-args      of each op its fields, in a table, and what it asks of them
   =========================================================================== */

#ifndef VQ_NO_CONVERT
static const vq_field vq__fields_cast[] = {
    VQ__FIELD(cast, IN, x, NULL)
    VQ__FIELD(cast, OUT, y, "x")
    VQ__FIELD(cast, OVERFLOW, overflow, NULL)
};

static vq_status vq__check_cast(const void *args, vq_report *r)
{
    const vq_cast_args *a = (const vq_cast_args *)args;
    if (vq__check_tensor(&a->x, "x", r)
        || vq__check_like(r, "x", &a->x, VQ__CODES, a->x.rank, a->x.shape)
        || vq__check_strided(r, "x", &a->x)
        || vq__check_like(r, "y", &a->y, VQ__CODES, a->x.rank, a->x.shape)
        || vq__check_strided(r, "y", &a->y)) return r->status;
    if ((unsigned)a->overflow >= VQ_OVERFLOW_COUNT)
        return vq__refuse(r, VQ_GUARD_VALUE, "overflow", (int)a->overflow,
                          VQ_OVERFLOW_COUNT - 1);
    return vq__check_apart(r, "y", &a->y);
}

static vq_dtype vq__fnuz_twin(vq_dtype t)
{
    return t == VQ_E4M3FN ? VQ_E4M3FNUZ : t == VQ_E4M3FNUZ ? VQ_E4M3FN
         : t == VQ_E5M2 ? VQ_E5M2FNUZ : VQ_E5M2;
}

static const vq_field vq__fields_fnuz_normalize[] = {
    VQ__FIELD(fnuz_normalize, IN, x, NULL)
    VQ__FIELD(fnuz_normalize, OUT, y, "x")
    VQ__FIELD(fnuz_normalize, IN, scale, NULL)
    VQ__FIELD(fnuz_normalize, OUT, scale_out, "scale")
    VQ__FIELD(fnuz_normalize, OVERFLOW, overflow, NULL)
};

static vq_status vq__check_fnuz_normalize(const void *args, vq_report *r)
{
    static const int64_t any[2] = { -1, -1 };
    const vq_fnuz_normalize_args *a = (const vq_fnuz_normalize_args *)args;
    const uint32_t scales = VQ__FLOAT | VQ__IS(VQ_E8M0);
    if (vq__check_rows(r, "x", &a->x, VQ__FP8, -1, -1)
        || vq__check_rows(r, "y", &a->y, VQ__IS(vq__fnuz_twin(a->x.dtype)), a->x.shape[0],
                          a->x.shape[1])
        || vq__check_like(r, "scale", &a->scale, scales, 2, any)
        || vq__check_strided(r, "scale", &a->scale)
        || vq__check_like(r, "scale_out", &a->scale_out, VQ__IS(a->scale.dtype), 2, a->scale.shape)
        || vq__check_strided(r, "scale_out", &a->scale_out)) return r->status;
    if ((unsigned)a->overflow >= VQ_OVERFLOW_COUNT)
        return vq__refuse(r, VQ_GUARD_VALUE, "overflow", (int)a->overflow,
                          VQ_OVERFLOW_COUNT - 1);
    return vq__check_apart(r, "scale_out", &a->scale_out);
}
#endif

/* What every op that quantizes [rows, cols] asks of its outputs; `name` the input that the
   extents come from. */
VQ__SHARED vq_status vq__check_sink(vq_report *r, const vq__sink *s, const char *name,
                                    int64_t rows, int64_t cols)
{
    const vq_key *k = s->key;
    const int made = !(k->flags & VQ_KEY_STATIC), asym = (k->flags & VQ_KEY_ASYMMETRIC) != 0;
    if (vq__check_rows(r, s->names[0], s->q, VQ__IS(k->elem), rows, cols)
        || vq__check_tail(r, k, name, rows, cols)
        || vq__check_scale(r, k, s->names[1], s->scale, k->scale_type, made, rows, cols)
        || vq__check_part(r, asym, s->names[2], s->zero)
        || (asym && vq__check_scale(r, k, s->names[2], s->zero, k->elem, made, rows, cols))
        || vq__check_scalar(r, k->bound_kind != VQ_BOUND_NONE, "bound", s->bound))
        return r->status;
    return vq__check_scalar(r, k->scale2_kind != VQ_SCALE2_NONE, s->names[3], s->scale2);
}

/* And of codes that are read. */
VQ__SHARED vq_status vq__check_coded(vq_report *r, const vq__coded *c)
{
    const vq_key *k = c->key;
    const int64_t *n = c->q->shape;
    const int asym = (k->flags & VQ_KEY_ASYMMETRIC) != 0;
    if (vq__check_rows(r, "q", c->q, VQ__IS(k->elem), -1, -1)
        || vq__check_tail(r, k, "q", n[0], n[1])
        || vq__check_scale(r, k, "scale", c->scale, k->scale_type, 0, n[0], n[1])
        || vq__check_part(r, asym, "zero", c->zero)
        || (asym && vq__check_scale(r, k, "zero", c->zero, k->elem, 0, n[0], n[1])))
        return r->status;
    return vq__check_scalar(r, k->scale2_kind != VQ_SCALE2_NONE, "scale2", c->scale2);
}

#ifndef VQ_NO_QUANT
static const vq_field vq__fields_quant[] = {
    VQ__FIELD(quant, KEY, key, NULL)
    VQ__FIELD(quant, IN, x, NULL)
    VQ__FIELD(quant, OUT, q, NULL)
    VQ__FIELD(quant, MADE, scale, NULL)
    VQ__FIELD(quant, MADE, zero, NULL)
    VQ__FIELD(quant, IN, bound, NULL)
    VQ__FIELD(quant, IN, scale2, NULL)
};

static vq__sink vq__sink_quant(const vq_quant_args *a)
{
    return vq__sink_of(&a->key, &a->q, &a->scale, &a->zero, &a->bound, &a->scale2);
}

static vq_status vq__check_quant(const void *args, vq_report *r)
{
    const vq_quant_args *a = (const vq_quant_args *)args;
    const vq__sink sink = vq__sink_quant(a);
    if (vq__check_key(&a->key, r) || vq__check_rows(r, "x", &a->x, VQ__FLOAT, -1, -1))
        return r->status;
    return vq__check_sink(r, &sink, "x", a->x.shape[0], a->x.shape[1]);
}

static const vq_field vq__fields_dequant[] = {
    VQ__FIELD(dequant, KEY, key, NULL)
    VQ__FIELD(dequant, IN, q, NULL)
    VQ__FIELD(dequant, IN, scale, NULL)
    VQ__FIELD(dequant, IN, zero, NULL)
    VQ__FIELD(dequant, IN, scale2, NULL)
    VQ__FIELD(dequant, OUT, y, NULL)
};

static vq_status vq__check_dequant(const void *args, vq_report *r)
{
    const vq_dequant_args *a = (const vq_dequant_args *)args;
    const vq__coded from = vq__coded_of(&a->key, &a->q, &a->scale, &a->zero, &a->scale2);
    if (vq__check_key(&a->key, r) || vq__check_coded(r, &from)) return r->status;
    return vq__check_rows(r, "y", &a->y, VQ__FLOAT, a->q.shape[0], a->q.shape[1]);
}

static const vq_field vq__fields_requant[] = {
    VQ__FIELD(requant, KEY, from, NULL)
    VQ__FIELD(requant, KEY, key, NULL)
    VQ__FIELD(requant, IN, q, NULL)
    VQ__FIELD(requant, IN, scale, NULL)
    VQ__FIELD(requant, IN, zero, NULL)
    VQ__FIELD(requant, IN, scale2, NULL)
    VQ__FIELD(requant, OUT, q_out, NULL)
    VQ__FIELD(requant, MADE, scale_out, NULL)
    VQ__FIELD(requant, MADE, zero_out, NULL)
    VQ__FIELD(requant, IN, bound, NULL)
    VQ__FIELD(requant, IN, scale2_out, NULL)
    VQ__FIELD(requant, RESULT, result, NULL)
};

static vq__sink vq__sink_requant(const vq_requant_args *a)
{
    static const char *const names[] = { "q_out", "scale_out", "zero_out", "scale2_out" };
    vq__sink s = vq__sink_of(&a->key, &a->q_out, &a->scale_out, &a->zero_out, &a->bound,
                             &a->scale2_out);
    s.names = names;
    return s;
}

static vq_status vq__check_requant(const void *args, vq_report *r)
{
    const vq_requant_args *a = (const vq_requant_args *)args;
    const vq__coded from = vq__coded_of(&a->from, &a->q, &a->scale, &a->zero, &a->scale2);
    const vq__sink sink = vq__sink_requant(a);
    if (vq__check_key(&a->from, r)) {                        /* "key.elem" of the other key */
        if (r->arg && !strncmp(r->arg, "key.", 4)) vq__copy_name(r->name, sizeof r->name, "from");
        return r->status;
    }
    if (vq__check_key(&a->key, r) || vq__check_coded(r, &from)) return r->status;
    return vq__check_sink(r, &sink, "q", a->q.shape[0], a->q.shape[1]);
}
#endif

/* Columns side by side, any rank. */
VQ__SHARED vq_status vq__check_lines(vq_report *r, const char *name, const vq_tensor *t,
                                     uint32_t types, int rank, const int64_t *shape)
{
    if (vq__check_like(r, name, t, types, rank, shape) || vq__check_strided(r, name, t))
        return r->status;
    if (t->shape[rank - 1] > 1 && t->stride[rank - 1] != 1)
        return vq__refuse(r, VQ_GUARD_STRIDE, name, t->stride[rank - 1], 1);
    return vq__check_apart(r, name, t);
}

/* The type between the parts of a fused op: that of its input, or f32. */
VQ__SHARED vq_dtype vq__mid_of(vq_dtype mid, vq_dtype x) { return mid ? mid : x; }

VQ__SHARED vq_status vq__check_mid(vq_report *r, vq_dtype mid, vq_dtype x)
{
    if (!mid || mid == VQ_F32 || mid == x) return VQ_OK;
    return vq__refuse_as(r, VQ_GUARD_VALUE, 't', "mid", (int)mid, VQ__IS(VQ_F32) | VQ__IS(x));
}

VQ__SHARED vq_status vq__check_float(vq_report *r, const char *name, float v, int fits, float best)
{
    return fits ? VQ_OK : vq__refuse_as(r, VQ_GUARD_VALUE, 'f', name, vq__f32_bits(v),
                                        vq__f32_bits(best));
}

/* v > 0 and finite, or v == 0 */
VQ__SHARED int vq__positive(float v) { return vq__within(v, vq_dtype_max(VQ_F32)); }
VQ__SHARED int vq__at_least_0(float v) { return vq__positive(v) || v == 0.0f; }

#ifndef VQ_NO_ACT
static const vq_field vq__fields_act[] = {
    VQ__FIELD(act, ACT, act, NULL)
    VQ__FIELD(act, IN, x, NULL)
    VQ__FIELD(act, OUT, y, "x")
};

static vq_status vq__check_act(const void *args, vq_report *r)
{
    const vq_act_args *a = (const vq_act_args *)args;
    if (vq__check_rows(r, "x", &a->x, VQ__FLOAT, -1, -1)
        || vq__check_rows(r, "y", &a->y, VQ__IS(a->x.dtype) | VQ__IS(VQ_F32), a->x.shape[0],
                          a->x.shape[1])) return r->status;
    if ((unsigned)a->act >= VQ_ACT_SWIGLU_OAI)
        return vq__refuse(r, VQ_GUARD_VALUE, "act", (int)a->act, VQ_ACT_SWIGLU_OAI - 1);
    return VQ_OK;
}

/* The gate of any op that has one. */
static vq_status vq__check_gating(vq_report *r, const vq__gating *g, const vq_tensor *x, int rank)
{
    static const int64_t any[3] = { -1, -1, -1 };
    const int oai = g->act == VQ_ACT_SWIGLU_OAI;
    if (vq__check_lines(r, "x", x, VQ__FLOAT, rank, any)) return r->status;
    if (x->shape[rank - 1] % 2) {
        vq__refuse(r, VQ_GUARD_SHAPE, "x", x->shape[rank - 1], x->shape[rank - 1] + 1);
        return r->status;
    }
    if ((unsigned)g->act >= VQ_ACT_COUNT)
        return vq__refuse(r, VQ_GUARD_VALUE, "act", (int)g->act, VQ_ACT_COUNT - 1);
    if ((unsigned)g->gate >= VQ_GATE_COUNT)
        return vq__refuse(r, VQ_GUARD_VALUE, "gate", (int)g->gate, VQ_GATE_COUNT - 1);
    if (vq__check_mid(r, g->mid, x->dtype)
        || vq__check_float(r, "alpha", g->alpha, oai ? vq__positive(g->alpha) : g->alpha == 0.0f,
                           oai ? 1.702f : 0.0f)
        || vq__check_float(r, "limit", g->limit, vq__at_least_0(g->limit), 0.0f)) return r->status;
    return vq__check_float(r, "plus", g->plus, oai ? vq__is_finite(g->plus) : g->plus == 0.0f,
                           oai ? 1.0f : 0.0f);
}

#define VQ__GATING_FIELDS(op) \
    VQ__FIELD(op, ACT, act, NULL) \
    VQ__FIELD(op, GATE, gate, NULL) \
    VQ__FIELD(op, TYPE, mid, NULL) \
    VQ__FIELD(op, FLOAT, alpha, NULL) \
    VQ__FIELD(op, FLOAT, limit, NULL) \
    VQ__FIELD(op, FLOAT, plus, NULL)

static const vq_field vq__fields_act_mul[] = {
    VQ__GATING_FIELDS(act_mul)
    VQ__FIELD(act_mul, IN, x, NULL)
    VQ__FIELD(act_mul, OUT, y, NULL)
};

static vq_status vq__check_act_mul(const void *args, vq_report *r)
{
    const vq_act_mul_args *a = (const vq_act_mul_args *)args;
    const vq__gating g = vq__gating_of(a);
    if (vq__check_gating(r, &g, &a->x, 2)) return r->status;
    return vq__check_rows(r, "y", &a->y, VQ__IS(a->x.dtype) | VQ__IS(VQ_F32), a->x.shape[0],
                          a->x.shape[1] / 2);
}

static const vq_field vq__fields_act_mul_quant[] = {
    VQ__FIELD(act_mul_quant, KEY, key, NULL)
    VQ__GATING_FIELDS(act_mul_quant)
    VQ__FIELD(act_mul_quant, IN, x, NULL)
    VQ__FIELD(act_mul_quant, OUT, q, NULL)
    VQ__FIELD(act_mul_quant, MADE, scale, NULL)
    VQ__FIELD(act_mul_quant, MADE, zero, NULL)
    VQ__FIELD(act_mul_quant, IN, bound, NULL)
    VQ__FIELD(act_mul_quant, IN, scale2, NULL)
};

static vq_status vq__check_act_mul_quant(const void *args, vq_report *r)
{
    const vq_act_mul_quant_args *a = (const vq_act_mul_quant_args *)args;
    const vq__gating g = vq__gating_of(a);
    const vq__sink sink = vq__sink_of(&a->key, &a->q, &a->scale, &a->zero, &a->bound, &a->scale2);
    if (vq__check_key(&a->key, r) || vq__check_gating(r, &g, &a->x, 2)) return r->status;
    return vq__check_sink(r, &sink, "x", a->x.shape[0], a->x.shape[1] / 2);
}

static const vq_field vq__fields_masked_act_mul_quant[] = {
    VQ__FIELD(masked_act_mul_quant, KEY, key, NULL)
    VQ__GATING_FIELDS(masked_act_mul_quant)
    VQ__FIELD(masked_act_mul_quant, IN, x, NULL)
    VQ__FIELD(masked_act_mul_quant, IN, counts, NULL)
    VQ__FIELD(masked_act_mul_quant, OUT, q, NULL)
    VQ__FIELD(masked_act_mul_quant, OUT, scale, NULL)
    VQ__FIELD(masked_act_mul_quant, OUT, status, NULL)
};

static vq_status vq__check_masked_act_mul_quant(const void *args, vq_report *r)
{
    static const int64_t one[2] = { 1, 1 };
    const vq_masked_act_mul_quant_args *a = (const vq_masked_act_mul_quant_args *)args;
    const vq__gating g = vq__gating_of(a);
    const vq_key *k = &a->key;
    int64_t n[3], group[2], count[2];
    if (vq__check_key(k, r)) return r->status;
    if (k->group_rows != 1) return vq__refuse(r, VQ_GUARD_KEY, "key.group_rows", k->group_rows, 1);
    if (k->flags & (VQ_KEY_STATIC | VQ_KEY_ASYMMETRIC))
        return vq__refuse(r, VQ_GUARD_KEY, "key.flags", k->flags, k->flags & VQ_KEY_NO_TAIL);
    if (k->bound_kind) return vq__refuse(r, VQ_GUARD_KEY, "key.bound_kind", k->bound_kind, 0);
    if (k->scale2_kind) return vq__refuse(r, VQ_GUARD_KEY, "key.scale2_kind", k->scale2_kind, 0);
    if (vq__check_gating(r, &g, &a->x, 3)) return r->status;
    memcpy(n, a->x.shape, sizeof n);
    n[2] /= 2;
    vq_key_group(k, n[1], n[2], group, count);
    if (vq__check_lines(r, "counts", &a->counts, VQ__IS(VQ_INT32), 1, n)
        || vq__check_lines(r, "q", &a->q, VQ__IS(k->elem), 3, n)
        || vq__check_tail(r, k, "x", 0, n[2])) return r->status;
    n[2] = count[1];
    if (vq__check_like(r, "scale", &a->scale, VQ__IS(k->scale_type), 3, n)) return r->status;
    if (a->scale.layout != VQ_STRIDED && a->scale.layout != VQ_PACKED_UE8M0)
        return vq__refuse(r, VQ_GUARD_LAYOUT, "scale", a->scale.layout,
                          VQ__IS(VQ_STRIDED) | VQ__IS(VQ_PACKED_UE8M0));
    if (vq__check_apart(r, "scale", &a->scale)) return r->status;
    return a->status.rank ? vq__check_lines(r, "status", &a->status, VQ__IS(VQ_INT32), 2, one)
                          : VQ_OK;
}
#endif

#ifndef VQ_NO_NORM
static vq_status vq__check_norm(vq_report *r, const vq__norm *n)
{
    const vq_tensor *x = n->x;
    static const int64_t any[3] = { -1, -1, -1 };
    const int rank = x->rank == 3 && !n->flat ? 3 : 2;
    uint32_t type;
    if (vq__check_lines(r, "x", x, VQ__FLOAT, rank, any)) return r->status;
    type = VQ__IS(x->dtype);
    if ((n->residual->rank && vq__check_lines(r, "residual", n->residual, type, rank, x->shape))
        || (n->weight->rank && vq__check_lines(r, "weight", n->weight, type | VQ__IS(VQ_F32), 1,
                                               x->shape + rank - 1))
        || (n->gate->rank && vq__check_lines(r, "gate", n->gate, type, rank, x->shape))
        || vq__check_float(r, "eps", n->eps, vq__at_least_0(n->eps), 1e-6f)) return r->status;
    return vq__check_mid(r, n->mid_arg, x->dtype);
}

static const vq_field vq__fields_rms_norm[] = {
    VQ__FIELD(rms_norm, IN, x, NULL)
    VQ__FIELD(rms_norm, BOTH, residual, NULL)
    VQ__FIELD(rms_norm, IN, weight, NULL)
    VQ__FIELD(rms_norm, IN, gate, NULL)
    VQ__FIELD(rms_norm, OUT, y, "x")
    VQ__FIELD(rms_norm, FLOAT, eps, NULL)
    VQ__FIELD(rms_norm, INT, plus_one, NULL)
    VQ__FIELD(rms_norm, TYPE, mid, NULL)
};

static vq_status vq__check_rms_norm(const void *args, vq_report *r)
{
    const vq_rms_norm_args *a = (const vq_rms_norm_args *)args;
    vq__norm n = vq__norm_of(&a->x, &a->weight, a->eps, a->plus_one, a->mid);
    n.residual = &a->residual;
    n.gate = &a->gate;
    if (vq__check_norm(r, &n)) return r->status;
    return vq__check_lines(r, "y", &a->y, VQ__IS(a->x.dtype) | VQ__IS(VQ_F32), a->x.rank,
                           a->x.shape);
}

static const vq_field vq__fields_layer_norm[] = {
    VQ__FIELD(layer_norm, IN, x, NULL)
    VQ__FIELD(layer_norm, IN, weight, NULL)
    VQ__FIELD(layer_norm, OUT, y, "x")
    VQ__FIELD(layer_norm, FLOAT, eps, NULL)
    VQ__FIELD(layer_norm, INT, plus_one, NULL)
    VQ__FIELD(layer_norm, TYPE, mid, NULL)
};

static vq_status vq__check_layer_norm(const void *args, vq_report *r)
{
    const vq_layer_norm_args *a = (const vq_layer_norm_args *)args;
    const vq__norm n = vq__norm_of(&a->x, &a->weight, a->eps, a->plus_one, a->mid);
    if (vq__check_norm(r, &n)) return r->status;
    return vq__check_lines(r, "y", &a->y, VQ__IS(a->x.dtype) | VQ__IS(VQ_F32), a->x.rank,
                           a->x.shape);
}

static const vq_field vq__fields_rms_norm_quant[] = {
    VQ__FIELD(rms_norm_quant, KEY, key, NULL)
    VQ__FIELD(rms_norm_quant, IN, x, NULL)
    VQ__FIELD(rms_norm_quant, BOTH, residual, NULL)
    VQ__FIELD(rms_norm_quant, IN, weight, NULL)
    VQ__FIELD(rms_norm_quant, IN, gate, NULL)
    VQ__FIELD(rms_norm_quant, FLOAT, eps, NULL)
    VQ__FIELD(rms_norm_quant, INT, plus_one, NULL)
    VQ__FIELD(rms_norm_quant, TYPE, mid, NULL)
    VQ__FIELD(rms_norm_quant, OUT, q, NULL)
    VQ__FIELD(rms_norm_quant, MADE, scale, NULL)
    VQ__FIELD(rms_norm_quant, MADE, zero, NULL)
    VQ__FIELD(rms_norm_quant, IN, bound, NULL)
    VQ__FIELD(rms_norm_quant, IN, scale2, NULL)
};

static vq__norm vq__norm_to_quant(const vq_rms_norm_quant_args *a)
{
    vq__norm n = vq__norm_of(&a->x, &a->weight, a->eps, a->plus_one, a->mid);
    n.residual = &a->residual;
    n.gate = &a->gate;
    n.flat = 1;
    return n;
}

static vq_status vq__check_rms_norm_quant(const void *args, vq_report *r)
{
    const vq_rms_norm_quant_args *a = (const vq_rms_norm_quant_args *)args;
    const vq__norm n = vq__norm_to_quant(a);
    const vq__sink sink = vq__sink_of(&a->key, &a->q, &a->scale, &a->zero, &a->bound, &a->scale2);
    if (vq__check_key(&a->key, r) || vq__check_norm(r, &n)) return r->status;
    return vq__check_sink(r, &sink, "x", a->x.shape[0], a->x.shape[1]);
}
#endif

#ifndef VQ_NO_OBSERVE
static const vq_field vq__fields_amax[] = {
    VQ__FIELD(amax, KEY, key, NULL)
    VQ__FIELD(amax, IN, x, NULL)
    VQ__FIELD(amax, INOUT, amax, NULL)
    VQ__FIELD(amax, INT, running, NULL)
};

/* One f32 for each group of x. */
VQ__SHARED vq_status vq__check_statistic(vq_report *r, const vq_key *k, const char *name,
                                         const vq_tensor *t, const vq_tensor *x)
{
    int64_t group[2], count[2];
    vq_key_group(k, x->shape[0], x->shape[1], group, count);
    if (vq__check_like(r, name, t, VQ__IS(VQ_F32), 2, count)
        || vq__check_strided(r, name, t)) return r->status;
    return vq__check_apart(r, name, t);
}

static vq_status vq__check_amax(const void *args, vq_report *r)
{
    const vq_amax_args *a = (const vq_amax_args *)args;
    if (vq__check_key(&a->key, r) || vq__check_rows(r, "x", &a->x, VQ__FLOAT, -1, -1)
        || vq__check_tail(r, &a->key, "x", a->x.shape[0], a->x.shape[1])) return r->status;
    return vq__check_statistic(r, &a->key, "amax", &a->amax, &a->x);
}

static const vq_field vq__fields_minmax[] = {
    VQ__FIELD(minmax, KEY, key, NULL)
    VQ__FIELD(minmax, IN, x, NULL)
    VQ__FIELD(minmax, INOUT, lo, NULL)
    VQ__FIELD(minmax, INOUT, hi, NULL)
    VQ__FIELD(minmax, INT, running, NULL)
};

static vq_status vq__check_minmax(const void *args, vq_report *r)
{
    const vq_minmax_args *a = (const vq_minmax_args *)args;
    if (vq__check_key(&a->key, r) || vq__check_rows(r, "x", &a->x, VQ__FLOAT, -1, -1)
        || vq__check_tail(r, &a->key, "x", a->x.shape[0], a->x.shape[1])
        || vq__check_statistic(r, &a->key, "lo", &a->lo, &a->x)) return r->status;
    return vq__check_statistic(r, &a->key, "hi", &a->hi, &a->x);
}

static const vq_field vq__fields_histogram[] = {
    VQ__FIELD(histogram, IN, x, NULL)
    VQ__FIELD(histogram, INOUT, counts, NULL)
    VQ__FIELD(histogram, FLOAT, limit, NULL)
    VQ__FIELD(histogram, INT, running, NULL)
};

static vq_status vq__check_histogram(const void *args, vq_report *r)
{
    const vq_histogram_args *a = (const vq_histogram_args *)args;
    if (vq__check_rows(r, "x", &a->x, VQ__FLOAT, -1, -1)
        || vq__check_rows(r, "counts", &a->counts, VQ__IS(VQ_INT64), 1, -1)) return r->status;
    if (a->counts.shape[1] < 1) return vq__refuse(r, VQ_GUARD_SHAPE, "counts", 0, 1);
    if (!vq__within(a->limit, vq_dtype_max(VQ_F32)))
        return vq__refuse_as(r, VQ_GUARD_VALUE, 'f', "limit", vq__f32_bits(a->limit), 0x3f800000);
    return VQ_OK;
}

static const vq_field vq__fields_percentile[] = {
    VQ__FIELD(percentile, KEY, key, NULL)
    VQ__FIELD(percentile, IN, x, NULL)
    VQ__FIELD(percentile, OUT, amax, NULL)
    VQ__FIELD(percentile, FLOAT, percent, NULL)
};

static vq_status vq__check_percentile(const void *args, vq_report *r)
{
    const vq_percentile_args *a = (const vq_percentile_args *)args;
    if (vq__check_key(&a->key, r) || vq__check_rows(r, "x", &a->x, VQ__FLOAT, -1, -1)
        || vq__check_tail(r, &a->key, "x", a->x.shape[0], a->x.shape[1])
        || vq__check_statistic(r, &a->key, "amax", &a->amax, &a->x)) return r->status;
    if (!vq__within(a->percent, 100.0f))
        return vq__refuse_as(r, VQ_GUARD_VALUE, 'f', "percent", vq__f32_bits(a->percent),
                             0x42c80000);
    return VQ_OK;
}

static const vq_field vq__fields_calibrate[] = {
    VQ__FIELD(calibrate, KEY, key, NULL)
    VQ__FIELD(calibrate, IN, amax, NULL)
    VQ__FIELD(calibrate, IN, lo, NULL)
    VQ__FIELD(calibrate, IN, hi, NULL)
    VQ__FIELD(calibrate, IN, bound, NULL)
    VQ__FIELD(calibrate, IN, scale2, NULL)
    VQ__FIELD(calibrate, OUT, scale, NULL)
    VQ__FIELD(calibrate, OUT, zero, NULL)
};

static vq_status vq__check_calibrate(const void *args, vq_report *r)
{
    static const int64_t any[2] = { -1, -1 };
    const vq_calibrate_args *a = (const vq_calibrate_args *)args;
    const vq_key *k = &a->key;
    const int asym = (k->flags & VQ_KEY_ASYMMETRIC) != 0;
    const vq_tensor *from = asym ? &a->lo : &a->amax;
    if (vq__check_key(k, r)) return r->status;
    if (k->flags & VQ_KEY_STATIC)
        return vq__refuse(r, VQ_GUARD_KEY, "key.flags", k->flags, k->flags & ~VQ_KEY_STATIC);
    if (vq__check_part(r, !asym, "amax", &a->amax) || vq__check_part(r, asym, "lo", &a->lo)
        || vq__check_part(r, asym, "hi", &a->hi) || vq__check_part(r, asym, "zero", &a->zero)
        || vq__check_like(r, asym ? "lo" : "amax", from, VQ__IS(VQ_F32), 2, any)
        || vq__check_strided(r, asym ? "lo" : "amax", from)
        || (asym && vq__check_like(r, "hi", &a->hi, VQ__IS(VQ_F32), 2, from->shape))
        || (asym && vq__check_strided(r, "hi", &a->hi))
        || vq__check_like(r, "scale", &a->scale, VQ__IS(k->scale_type), 2, from->shape)
        || vq__check_apart(r, "scale", &a->scale)
        || (asym && vq__check_like(r, "zero", &a->zero, VQ__IS(k->elem), 2, from->shape))
        || (asym && vq__check_apart(r, "zero", &a->zero))
        || vq__check_scalar(r, k->bound_kind != VQ_BOUND_NONE, "bound", &a->bound))
        return r->status;
    return vq__check_scalar(r, k->scale2_kind != VQ_SCALE2_NONE, "scale2", &a->scale2);
}
#endif

#ifndef VQ_NO_SCALES
static const vq_field vq__fields_scale_convert[] = {
    VQ__FIELD(scale_convert, IN, x, NULL)
    VQ__FIELD(scale_convert, OUT, y, NULL)
};

static vq_status vq__check_scale_convert(const void *args, vq_report *r)
{
    static const int64_t any[3] = { -1, -1, -1 };
    const vq_scale_convert_args *a = (const vq_scale_convert_args *)args;
    uint32_t packed = VQ__IS(VQ_E2M3) | VQ__IS(VQ_E3M2) | VQ__IS(VQ_E2M1) | VQ__IS(VQ_INT4)
                    | VQ__IS(VQ_UINT4);
    if (vq__check_like(r, "x", &a->x, VQ__CODES & ~packed, a->x.rank == 3 ? 3 : 2, any)
        || vq__check_like(r, "y", &a->y, VQ__IS(a->x.dtype), a->x.rank, a->x.shape))
        return r->status;
    return vq__check_apart(r, "y", &a->y);
}
#endif

#ifndef VQ_NO_COMPARE
static const vq_field vq__fields_compare[] = {
    VQ__FIELD(compare, IN, x, NULL)
    VQ__FIELD(compare, IN, y, NULL)
    VQ__FIELD(compare, FLOAT, atol, NULL)
    VQ__FIELD(compare, FLOAT, rtol, NULL)
    VQ__FIELD(compare, FLOAT, budget, NULL)
    VQ__FIELD(compare, RESULT, result, NULL)
};

static vq_status vq__check_compare(const void *args, vq_report *r)
{
    const vq_compare_args *a = (const vq_compare_args *)args;
    const struct { const char *name; float v, most; } in[] = {
        { "atol", a->atol, vq_dtype_max(VQ_F32) }, { "rtol", a->rtol, vq_dtype_max(VQ_F32) },
        { "budget", a->budget, 100.0f }
    };
    int i;
    if (vq__check_tensor(&a->x, "x", r)
        || vq__check_like(r, "x", &a->x, VQ__CODES, a->x.rank, a->x.shape)
        || vq__check_strided(r, "x", &a->x)
        || vq__check_like(r, "y", &a->y, VQ__CODES, a->x.rank, a->x.shape)
        || vq__check_strided(r, "y", &a->y)
        || vq__check_apart(r, "x", &a->x) || vq__check_apart(r, "y", &a->y)) return r->status;
    for (i = 0; i < VQ__COUNT(in); i++)
        if (!vq__within(in[i].v, in[i].most) && (vq__f32_bits(in[i].v) & 0x7fffffffu))
            return vq__refuse_as(r, VQ_GUARD_VALUE, 'f', in[i].name, vq__f32_bits(in[i].v),
                                 vq__f32_bits(in[i].v) >> 31 ? 0 : vq__f32_bits(in[i].most));
    return a->result ? VQ_OK : vq__refuse(r, VQ_GUARD_PRESENT, "result", 0, 0);
}
#endif

/* Do two matrices of equal row pitch lie side by side, as slices of one wider matrix do? */
static int vq__interleaved(const vq_tensor *a, const vq_tensor *b)
{
    const vq_tensor *t[2];
    uint64_t pitch[2], width[2], apart;
    int i;
    t[0] = a;
    t[1] = b;
    for (i = 0; i < 2; i++) {
        int bits = vq_dtype_bits(t[i]->dtype);
        uint64_t unit = bits < 8 ? 1u : (uint64_t)bits / 8u, cols = (uint64_t)t[i]->shape[1];
        if (t[i]->rank != 2 || t[i]->layout != VQ_STRIDED || t[i]->stride[0] < 1) return 0;
        pitch[i] = (uint64_t)t[i]->stride[0] * unit;
        width[i] = bits < 8 ? (uint64_t)vq_row_bytes(t[i]->dtype, t[i]->shape[1])
                            : ((cols - 1u) * (uint64_t)t[i]->stride[1] + 1u) * unit;
    }
    if (!pitch[0] || pitch[0] != pitch[1] || width[0] > pitch[0]) return 0;
    apart = (uint64_t)(uintptr_t)b->data - (uint64_t)(uintptr_t)a->data;
    if ((uintptr_t)b->data < (uintptr_t)a->data) apart = pitch[0] - (0u - apart) % pitch[0];
    apart %= pitch[0];
    return apart >= width[0] && apart + width[1] <= pitch[0];
}

static int vq__same_view(const vq_tensor *a, const vq_tensor *b)
{
    return a->data == b->data && vq_dtype_bits(a->dtype) == vq_dtype_bits(b->dtype)
        && a->layout == b->layout && a->rank == b->rank
        && !memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape)
        && !memcmp(a->stride, b->stride, (size_t)a->rank * sizeof *a->stride);
}

/* Guards that look at pointers; vq_plan() needs none, vq_run() does. */
static vq_status vq__check_data(const vq__view *v, vq_report *r)
{
    int64_t bytes[VQ__COUNT(v->arg)];
    int i, j;
    for (i = 0; i < v->count; i++) {
        const vq__arg *a = &v->arg[i];
        const char *p = (const char *)a->t->data;
        bytes[i] = vq__empty(a->t) ? 0 : vq__bytes(a->t);
        if (bytes[i] && !p) return vq__refuse(r, VQ_GUARD_PRESENT, a->name, 0, 0);
        for (j = 0; j < i; j++) {
            const vq__arg *b = &v->arg[j];
            const char *o = (const char *)b->t->data;
            if ((a->out || b->out) && bytes[i] && bytes[j]
                && (uintptr_t)p < (uintptr_t)o + (uintptr_t)bytes[j]
                && (uintptr_t)o < (uintptr_t)p + (uintptr_t)bytes[i]
                && !(a->twin == j && vq__same_view(a->t, b->t)) && !vq__interleaved(a->t, b->t))
                return a->out ? vq__refuse_name(r, VQ_GUARD_OVERLAP, a->name, b->name)
                              : vq__refuse_name(r, VQ_GUARD_OVERLAP, b->name, a->name);
        }
    }
    return VQ_OK;
}

#ifdef VQ__LOOPS_OPTIMIZED
#pragma GCC pop_options
#endif

/* ===========================================================================
   >>impl-loops     inner loops of the references, compiled for each instruction set
   =========================================================================== */

/* Each body is the definitions of >>convert and >>elements over a run of elements or groups, what
   does not change within it being constant, so that compilers make vectors of it. No product here
   meets a sum, so that even clang's -ffp-contract=fast has nothing to contract. Nothing traps: the
   flags of exceptions are not kept, and gcc may compute what is not chosen. */
#if defined(__GNUC__)
#define VQ__BODY static inline VQ__UNUSED __attribute__((always_inline))
#define VQ__ALIGNED __attribute__((aligned(64)))
#else
#define VQ__BODY static inline
#define VQ__ALIGNED
#endif
#ifdef VQ__LOOPS_OPTIMIZED
#pragma GCC push_options
#pragma GCC optimize ("O2", "tree-loop-vectorize", "vect-cost-model=dynamic", "no-trapping-math", \
                      "fp-contract=off")
#endif

#define VQ__RUN  1024                 /* elements at a time: what the stages hand on stays in L1 */
#define VQ__LINE 64                   /* and in whole such: the loops have no remainder */
#define VQ__TILE 16                   /* groups at a time; divides VQ__LINE */
#define VQ__PAST (32 << 20)           /* bytes written that no cache keeps for who comes next */

/* X(name, parameters, arguments): what each does stands at its body, vq__do_<name>(). A group is
   `group` consecutive elements, the last of n may be fewer. `wide` is a constant: 1 where there
   are vectors of eight and more and an fma; without them only what every key needs is a loop.
   Three lists, since compiling takes its time: once for each instruction set, once for AVX2 and
   what is beyond it, and once for all; of these the last give way to the next. */
#define VQ__EACH_LIST(X) \
    X(load,   (vq_dtype t, const void *x, int64_t n, float *out), (t, x, n, out)) \
    X(store,  (vq_dtype t, const float *x, int64_t n, void *out), (t, x, n, out)) \
    X(act,    (vq_act_kind act, vq_dtype as, float *x, int64_t n), (wide, act, as, x, n)) \
    X(gate,   (const float *u, float most, int64_t n, float *f), (u, most, n, f)) \
    X(normed, (const float *z, float r, const float *w, int64_t n, float *out), \
              (z, r, w, n, out)) \
    X(sum,    (int squares, const float *x, int64_t n, float *p), (wide, squares, x, n, p))
#define VQ__WIDE_LIST(X) \
    X(stored, (vq_dtype t, const uint8_t *p, int64_t n, float *out), (t, p, n, out)) \
    X(steps,  (const vq_key *k, const float *scale, const uint32_t *amax, int64_t n, float bound, \
               float g2, float *by), (k, scale, amax, n, bound, g2, by)) \
    X(add,    (float *x, const float *y, int64_t n), (x, y, n)) \
    X(times,  (float *x, const float *y, int64_t n), (x, y, n)) \
    X(shift,  (float *x, int64_t n, float by), (x, n, by)) \
    X(scale,  (float *x, int64_t n, float by), (x, n, by)) \
    X(over,   (float *x, int64_t n, float by), (x, n, by)) \
    X(scales, (const vq_key *k, const uint32_t *amax, const float *lo, const float *hi, \
               const uint8_t *nan, int64_t n, float bound, float g2, uint32_t *code, \
               float *scale), (wide, k, amax, lo, hi, nan, n, bound, g2, code, scale))
#define VQ__PLAIN_LIST(X) \
    X(amax,   (const float *x, int64_t n, int64_t group, uint32_t *amax, uint8_t *nan), \
              (x, n, group, amax, nan)) \
    X(range,  (const float *x, int64_t n, int64_t group, float *lo, float *hi, uint8_t *nan), \
              (x, n, group, lo, hi, nan)) \
    X(codes,  (const vq_key *k, const float *x, int64_t n, int64_t group, const float *by, \
               const int32_t *zero, void *row, int64_t first), \
              (k, x, n, group, by, zero, row, first)) \
    X(values, (vq_dtype elem, const void *row, int64_t first, int64_t n, int64_t group, \
               const float *s, const float *zero, float *out), \
              (elem, row, first, n, group, s, zero, out))

/* X(type, name, parameters): the same for what is common, from and to where it lies, as f32, f16
   or bf16 at any address. 0: not served, or there was a NaN or what could become one; then what
   it wrote is to be overwritten. past: four bytes for each that is read go past the caches, and
   vq__past_done() follows. Where there is no AVX2 they are NULL. */
#define VQ__FAST_LIST(X) \
    X(int, peaks,  (vq_dtype t, const void *x, int64_t n, int64_t group, uint32_t *amax)) \
    X(int, ranges, (vq_dtype t, const void *x, int64_t n, int64_t group, float *lo, float *hi)) \
    X(int, narrow, (const vq_key *k, vq_dtype t, const void *x, int64_t n, int64_t group, \
                    const float *by, const int32_t *zero, uint8_t *row, int64_t first)) \
    X(int, widen,  (vq_dtype elem, const uint8_t *row, int64_t first, int64_t n, int64_t group, \
                    const float *s, const float *zero, vq_dtype t, int past, char *out)) \
    X(int, bf16_normed, (const void *z, float r, const void *w, float off, int64_t n, void *out)) \
    X(float, squares, (vq_dtype t, const void *x, int64_t n))

typedef struct vq__loops {
    const char *name;
    uint32_t    caps;                 /* that it needs */
#define X(type, name, parameters) type (*name) parameters;
    VQ__FAST_LIST(X)
#undef X
#define X(name, parameters, arguments) void (*name) parameters;
    VQ__EACH_LIST(X) VQ__WIDE_LIST(X) VQ__PLAIN_LIST(X)
#undef X
} vq__loops;

VQ__BODY float vq__near_f16(uint16_t c)
{
    uint32_t u = c, m = u & 0x7fffu, mag = vq__near_mag(m, 10, 15);
    mag = m >= 0x7c00u ? 0x7f800000u | (m & 0x3ffu) << 13 : mag;
    return vq__f32_make((u & 0x8000u) << 16 | mag);
}

VQ__BODY float vq__near_ue4m3(uint32_t c)
{
    const uint32_t mag = vq__near_mag(c, 3, 7);
    return vq__f32_make(c >= 0x7fu ? 0x7fc00000u : mag);
}

/* vq_decode() of n elements of f32, f16 or bf16 */
VQ__BODY void vq__do_load(vq_dtype t, const void *x, int64_t n, float *out)
{
    const char *p = (const char *)x;
    int64_t i;
    uint16_t c;
    if (t == VQ_F32) { memcpy(out, x, (size_t)n * sizeof *out); return; }
    if (t == VQ_BF16)
        for (i = 0; i < n; i++) { memcpy(&c, p + 2 * i, 2); out[i] = vq_f32_from_bf16(c); }
    else
        for (i = 0; i < n; i++) { memcpy(&c, p + 2 * i, 2); out[i] = vq__near_f16(c); }
}

VQ__BODY uint32_t vq__f32_quiet(float x, vq_overflow o)
{
    const uint32_t u = vq__f32_bits(x);
    (void)o;
    return (u & 0x7fffffffu) > 0x7f800000u ? u | 0x00400000u : u;
}

/* vq_encode() to them, under VQ_NONFINITE */
VQ__BODY void vq__do_store(vq_dtype t, const float *x, int64_t n, void *out)
{
    char *p = (char *)out;
    int64_t i;
#define X(T, word, encode) \
    for (i = 0; t == T && i < n; i++) { \
        const word c = (word)encode(x[i], VQ_NONFINITE); \
        memcpy(p + i * (int64_t)sizeof c, &c, sizeof c); \
    }
    X(VQ_F32, uint32_t, vq__f32_quiet) X(VQ_F16, uint16_t, vq_f16_from_f32)
    X(VQ_BF16, uint16_t, vq_bf16_from_f32)
#undef X
}

/* The largest magnitude. That of a NaN is beyond infinity's; `skip` leaves it out. */
VQ__BODY uint32_t vq__most(const float *x, int64_t n, int skip)
{
    uint32_t most = 0;
    int64_t i;
    for (i = 0; i < n; i++) {
        uint32_t mag = vq__f32_bits(x[i]) & 0x7fffffffu;
        if (skip) mag = mag > 0x7f800000u ? 0u : mag;
        most = mag > most ? mag : most;
    }
    return most;
}

/* amax = max(amax, |x|) of each group, as bits. NaN is skipped and noted, infinity stays. */
VQ__BODY void vq__do_amax(const float *x, int64_t n, int64_t group, uint32_t *amax, uint8_t *nan)
{
    int64_t g, at, len;
    for (g = 0; group == 1 && g < n; g++) {
        uint32_t mag = vq__f32_bits(x[g]) & 0x7fffffffu, is_nan = mag > 0x7f800000u;
        mag = is_nan ? 0u : mag;
        amax[g] = mag > amax[g] ? mag : amax[g];
        nan[g] = (uint8_t)(nan[g] | is_nan);
    }
    if (group == 1) return;
    for (g = at = 0; at < n; g++, at += group) {
        const float *y = x + at;
        uint32_t most;
        len = n - at < group ? n - at : group;
        most = len == 16 ? vq__most(y, 16, 0) : len == 32 ? vq__most(y, 32, 0)
             : len == 128 ? vq__most(y, 128, 0) : vq__most(y, len, 0);
        if (most > 0x7f800000u) {
            nan[g] = 1;
            most = vq__most(y, len, 1);
        }
        amax[g] = most > amax[g] ? most : amax[g];
    }
}

/* A float as an integer of the same order, -0 below 0, and back. */
VQ__BODY int32_t vq__ordered(uint32_t u) { return (int32_t)(u ^ (u >> 31) * 0x7fffffffu); }

/* lo = min(lo, x), hi = max(hi, x) of each group; NaN and infinity likewise */
VQ__BODY void vq__do_range(const float *x, int64_t n, int64_t group, float *lo, float *hi,
                           uint8_t *nan)
{
    int64_t g, i = 0, end;
    for (g = 0; i < n; g++) {
        int32_t least = vq__ordered(vq__f32_bits(lo[g])), most = vq__ordered(vq__f32_bits(hi[g]));
        uint32_t all = 0;
        for (end = n - i < group ? n : i + group; i < end; i++) {
            uint32_t u = vq__f32_bits(x[i]), mag = u & 0x7fffffffu;
            int32_t v = vq__ordered(u), low = mag > 0x7f800000u ? least : v;
            int32_t high = mag > 0x7f800000u ? most : v;
            all = mag > all ? mag : all;
            least = low < least ? low : least;
            most = high > most ? high : most;
        }
        if (all > 0x7f800000u) nan[g] = 1;
        lo[g] = vq__f32_make((uint32_t)vq__ordered((uint32_t)least));
        hi[g] = vq__f32_make((uint32_t)vq__ordered((uint32_t)most));
    }
}

VQ__BODY uint32_t vq__e8m0_near(float v) { return vq_e8m0_from_f32(v, VQ_SATURATE); }
VQ__BODY float    vq__near_e8m0(uint32_t c) { return vq_f32_from_e8m0((uint8_t)c); }

/* n scales of one byte as values; words, since gcc would compare them as the bytes they were. */
VQ__BODY void vq__do_stored(vq_dtype t, const uint8_t *p, int64_t n, float *out)
{
    uint32_t u[VQ__RUN] VQ__ALIGNED;
    int64_t i, j, len;
    for (i = 0; i < n; i += len) {
        len = n - i < VQ__RUN ? n - i : VQ__RUN;
        for (j = 0; j < len; j++) u[j] = p[i + j];
        if (t == VQ_E8M0) for (j = 0; j < len; j++) out[i + j] = vq__near_e8m0(u[j]);
        else for (j = 0; j < len; j++) out[i + j] = vq__near_ue4m3(u[j]);
    }
}

VQ__BODY uint32_t vq__ue4m3_near(float v)
{
    const uint32_t u = vq__f32_bits(v), nan = (u & 0x7fffffffu) > 0x7f800000u;
    uint32_t m = u & 0x7fffffffu;
    m = m > 0x43e00000u ? 0x43e00000u : m;                   /* 448 */
    m = u >> 31 ? 0u : m;
    m = vq__near_mini(vq__f32_make(m), vq__minis[0]);
    return nan ? 0x7fu : m;
}

/* What the smallest groups have, those of MX and NVFP4, in vectors: X(scale rule, type, name) */
#define VQ__SMALL_GROUPS(X) \
    X(VQ_SCALE_EVEN, VQ_E8M0, e8m0) X(VQ_SCALE_FLOOR, VQ_E8M0, e8m0) \
    X(VQ_SCALE_RCEIL, VQ_E8M0, e8m0) X(VQ_SCALE_INV, VQ_UE4M3, ue4m3)

/* vq__scale_of() of n groups, as a code and as the value that it stores: from amax, or under
   range.div from lo <= 0 and hi >= 0 */
VQ__BODY void vq__do_scales(int wide, const vq_key *k, const uint32_t *amax, const float *lo,
                            const float *hi, const uint8_t *nan, int64_t n, float bound, float g2,
                            uint32_t *code, float *scale)
{
    uint32_t a[VQ__TILE] = { 0 }, u[VQ__TILE];
    uint32_t any[VQ__TILE] = { 0 };
    float s[VQ__TILE];
    vq_key c = *k;
    int64_t g, i;
    c.arith = VQ_F32;
#define X(R, T, type) \
    if (wide && k->scale_rule == R && k->scale_type == T && k->arith == VQ_F32 \
        && (T != VQ_E8M0 || !k->scale2_kind)) { \
        c.scale_rule = R; \
        c.scale_type = T; \
        if (T == VQ_E8M0) c.scale2_kind = VQ_SCALE2_NONE; \
        for (g = 0; g < n; g += VQ__TILE) { \
            const size_t m = (size_t)(n - g < VQ__TILE ? n - g : VQ__TILE); \
            for (i = 0; i < (int64_t)m; i++) any[i] = nan[g + i]; \
            memcpy(a, amax + g, m * 4); \
            for (i = 0; i < VQ__TILE; i++) { \
                const vq__group of = { a[i], 0.0f, 0.0f, (int)any[i] }; \
                s[i] = vq__raw_scale(&c, &of, vq__amax_of(&c, a[i], bound), bound, g2); \
            } \
            for (i = 0; i < VQ__TILE; i++) { \
                u[i] = vq__##type##_near(s[i]); \
                s[i] = vq__near_##type(u[i]); \
            } \
            memcpy(code + g, u, m * 4); \
            memcpy(scale + g, s, m * 4); \
        } \
        return; \
    }
    VQ__SMALL_GROUPS(X)
#undef X
    for (i = 0; i < n; i++) {
        vq__group of;
        of.amax = amax[i];
        of.lo = lo[i];
        of.hi = hi[i];
        of.nan = nan[i];
        code[i] = vq__scale_of(k, &of, vq__amax_for(k, amax[i], bound), bound, g2);
        scale[i] = vq_decode(k->scale_type, code[i]);
    }
}

/* vq__step_of().by of n groups, from the stored scales and, under x.inv.amax, amax */
VQ__BODY void vq__do_steps(const vq_key *k, const float *scale, const uint32_t *amax, int64_t n,
                           float bound, float g2, float *by)
{
    const int plain = k->arith == VQ_F32 && (k->code_rule == VQ_CODE_INV0
                                             || (!k->scale2_kind && k->code_rule == VQ_CODE_INV));
    const int reads = k->code_rule == VQ_CODE_AMAX || k->code_rule == VQ_CODE_AMAX_AWAY;
    vq_key c = *k;
    int64_t i;
    if (k->code_rule == VQ_CODE_DIV && !k->scale2_kind) {
        memcpy(by, scale, (size_t)n * sizeof *by);
        return;
    }
    c.arith = VQ_F32;
    c.code_rule = VQ_CODE_INV0;
    for (i = 0; plain && i < n; i++) {
        const float s = vq__step_of(&c, scale[i], 0.0f, g2).by;
        by[i] = k->code_rule == VQ_CODE_INV ? vq__div(1.0f, scale[i]) : s;
    }
    for (i = 0; !plain && i < n; i++)
        by[i] = vq__step_by(k, scale[i], reads ? vq__amax_for(k, amax[i], bound) : 0.0f, g2);
}

/* What holds for a group, four bytes of it, given to each of n elements, of whose first group
   `at` went before. */
VQ__BODY void vq__spread(const void *of, int64_t n, int64_t group, int64_t at, void *out)
{
    const char *from = (const char *)of;
    char *to = (char *)out;
    int64_t i = 0, j, end;
    uint32_t u;
    if (group == 1) { memcpy(to, from, (size_t)n * 4); return; }
    if (group % VQ__TILE == 0 && at % VQ__TILE == 0)
        for (; i + VQ__TILE <= n; i += VQ__TILE) {
            memcpy(&u, from, 4);
            for (j = i; j < i + VQ__TILE; j++) memcpy(to + 4 * j, &u, 4);
            at += VQ__TILE;
            if (at == group) { at = 0; from += 4; }
        }
    for (; i < n; at = 0, from += 4) {
        memcpy(&u, from, 4);
        for (end = n - i < group - at ? n : i + group - at; i < end; i++) memcpy(to + 4 * i, &u, 4);
    }
}

/* n codes to columns first, ... of a row of 4- or 6-bit codes, and from there; where they begin on
   a byte, whole bytes at once */
VQ__BODY void vq__pack(int bits, const uint8_t *c, int64_t n, uint8_t *row, int64_t first)
{
    const int per = bits == 4 ? 2 : 4, bytes = per * bits / 8;
    const int64_t whole = first % per ? 0 : n / per;
    uint8_t *p = row + first * bits / 8;
    int64_t i;
    int j;
    for (i = 0; i < whole; i++) {
        uint32_t w = 0;
        for (j = 0; j < per; j++) w |= (c[per * i + j] & ((1u << bits) - 1u)) << j * bits;
        for (j = 0; j < bytes; j++) p[bytes * i + j] = (uint8_t)(w >> 8 * j);
    }
    for (i *= per; i < n; i++) vq_code_put(row, bits, first + i, c[i]);
}

VQ__BODY void vq__unpack(int bits, const uint8_t *row, int64_t first, int64_t n, uint8_t *c)
{
    const int per = bits == 4 ? 2 : 4, bytes = per * bits / 8;
    const int64_t whole = first % per ? 0 : n / per;
    const uint8_t *p = row + first * bits / 8;
    int64_t i;
    int j;
    for (i = 0; bits == 4 && i < whole; i++) {
        c[2 * i] = p[i] & 15u;
        c[2 * i + 1] = (uint8_t)(p[i] >> 4);
    }
    for (; i < whole; i++) {
        uint32_t w = 0;
        for (j = 0; j < bytes; j++) w |= (uint32_t)p[bytes * i + j] << 8 * j;
        for (j = 0; j < per; j++) c[per * i + j] = (uint8_t)(w >> j * bits & ((1u << bits) - 1u));
    }
    for (i *= per; i < n; i++) c[i] = (uint8_t)vq_code_get(row, bits, first + i);
}

/* Of whole lines of elements. */
VQ__BODY void vq__encode_run(const vq_key *k, const float *v, const int32_t *zero, int64_t n,
                             uint8_t *out)
{
    const int32_t lowest = (int32_t)vq__key_lowest(k), most = (int32_t)k->code_max;
    const vq__mini f = VQ__MINI_OF(k->elem >= VQ_INT8 ? VQ_E2M1 : k->elem);
    int64_t i, j;
#define EACH(code) \
        for (i = 0; i < n; i += VQ__LINE) \
            for (j = i; j < i + VQ__LINE; j++) out[j] = (uint8_t)(code);
    if (zero) { EACH(vq__code_beside(vq__near_int(v[j]), zero[j], lowest, most)) }
    else if (k->elem >= VQ_INT8) { EACH(vq__near_int(v[j])) }
    else if (k->overflow == VQ_SATURATE) { EACH(vq__near_mini(v[j], f)) }
    else for (i = 0; i < n; i++) out[i] = (uint8_t)vq_encode(k->elem, v[i], VQ_NONFINITE);
#undef EACH
}

/* vq__code_of() of n elements into columns first, ... of a row; zero: NULL if the key has none */
VQ__BODY void vq__do_codes(const vq_key *k, const float *x, int64_t n, int64_t group,
                           const float *by, const int32_t *zero, void *row, int64_t first)
{
    const int bits = vq__bits(k->elem);
    float v[VQ__RUN] VQ__ALIGNED, s[VQ__RUN] VQ__ALIGNED;
    int32_t z[VQ__RUN] VQ__ALIGNED;
    uint8_t code[VQ__RUN] VQ__ALIGNED, *to;
    int64_t i, j, len;
    int one;                                                 /* group in all of the run */
    vq_key c = *k;
    vq__step step = vq__step_rule(k);

    if (k->arith != VQ_F32 || k->code_rule == VQ_CODE_DIV_TRUNC
        || k->code_rule == VQ_CODE_AMAX_AWAY) {              /* one by one: nobody waits for them */
        for (i = 0; i < n; i++) {
            step.by = by[i / group];
            step.zero = zero ? zero[i / group] : 0;
            vq_code_put(row, bits, first + i, vq__code_of(k, x[i], step));
        }
        return;
    }
    c.arith = VQ_F32;
    for (i = 0; i < n; i += len) {
        len = n - i < VQ__RUN ? n - i : VQ__RUN;
        for (j = len; j % VQ__LINE; j++) { v[j] = 0.0f; z[j] = 0; }
        one = i % group + len <= group;
        if (!one) vq__spread(by + i / group, len, group, i % group, s);
        if (zero) vq__spread(zero + i / group, len, group, i % group, z);
#define X(R, D) \
            c.code_rule = R; \
            step.divide = D; \
            step.by = by[i / group]; \
            for (j = 0; one && j < len; j++) v[j] = vq__scaled(&c, x[i + j], step); \
            for (j = 0; !one && j < len; j++) { \
                step.by = s[j]; \
                v[j] = vq__scaled(&c, x[i + j], step); \
            }
        if (k->code_rule == VQ_CODE_DIV) { X(VQ_CODE_DIV, 1) } else { X(VQ_CODE_INV, 0) }
#undef X
        to = bits == 8 && len % VQ__LINE == 0 ? (uint8_t *)row + first + i : code;
        vq__encode_run(k, v, zero ? z : NULL, vq__up(len, VQ__LINE), to);
        if (to != code) continue;
        if (bits == 8) memcpy((uint8_t *)row + first + i, code, (size_t)len);
        else if (bits == 6) vq__pack(6, code, len, (uint8_t *)row, first + i);
        else vq__pack(4, code, len, (uint8_t *)row, first + i);
    }
}

/* The codes come as words: gcc would compare them as the bytes they were. */
VQ__BODY void vq__decode_run(vq_dtype elem, const uint32_t *code, const float *zero,
                             const float *s, int64_t n, float *out)
{
    const vq__mini f = VQ__MINI_OF(elem >= VQ_INT8 ? VQ_E2M1 : elem);
    int64_t i, j;
#define EACH(value) \
    for (i = 0; i < n; i += VQ__LINE) \
        for (j = i; j < i + VQ__LINE; j++) out[j] = vq__times(vq__sub(value, zero[j]), s[j]);
    if (elem == VQ_E4M3FN) { EACH(vq__mini_value(code[j], vq__minis[0])) }
    else if (elem == VQ_E2M1) { EACH(vq__mini_value(code[j], vq__minis[6])) }
    else if (elem < VQ_INT8) {
        EACH(vq__mini_value(code[j], f))
    } else if (elem == VQ_INT8) { EACH((float)((int32_t)(code[j] ^ 0x80u) - 128)) }
    else if (elem == VQ_INT4) { EACH((float)((int32_t)(code[j] ^ 0x8u) - 8)) }
    else { EACH((float)(int32_t)code[j]) }
#undef EACH
}

/* (vq_decode() - zero) * s of n codes in columns first, ... of a row, in f32; zero may be NULL */
VQ__BODY void vq__do_values(vq_dtype elem, const void *row, int64_t first, int64_t n, int64_t group,
                            const float *s, const float *zero, float *out)
{
    const int bits = vq__bits(elem);
    float v[VQ__RUN] VQ__ALIGNED, by[VQ__RUN] VQ__ALIGNED, z[VQ__RUN] VQ__ALIGNED;
    uint32_t word[VQ__RUN] VQ__ALIGNED;
    uint8_t code[VQ__RUN] VQ__ALIGNED;
    int64_t i, j, len, full;
    memset(z, 0, sizeof z);
    for (i = 0; i < n; i += len) {
        len = n - i < VQ__RUN ? n - i : VQ__RUN;
        full = vq__up(len, VQ__LINE);
        for (j = len; j < full; j++) { code[j] = 0; by[j] = 0.0f; }
        if (bits == 8) memcpy(code, (const uint8_t *)row + first + i, (size_t)len);
        else if (bits == 6) vq__unpack(6, (const uint8_t *)row, first + i, len, code);
        else vq__unpack(4, (const uint8_t *)row, first + i, len, code);
        for (j = 0; j < full; j++) word[j] = code[j];
        vq__spread(s + i / group, len, group, i % group, by);
        if (zero) vq__spread(zero + i / group, len, group, i % group, z);
        vq__decode_run(elem, word, z, by, full, len == full ? out + i : v);
        if (len < full) memcpy(out + i, v, (size_t)len * 4);
    }
}

/* What engines run is bf16; the other types take the definition, element by element. */
#define VQ__BF16_ACTS(X) \
    X(VQ_ACT_SILU, vq__silu_bf16) X(VQ_ACT_GELU, vq__gelu_bf16) \
    X(VQ_ACT_GELU_TANH, vq__gelu_tanh_bf16) X(VQ_ACT_GELU_QUICK, vq__gelu_quick_bf16) \
    X(VQ_ACT_RELU2, vq__relu2_bf16)

VQ__BODY float vq__relu2_bf16(float v) { return vq__relu2(v, VQ_BF16); }

/* vq__act_of() in place */
VQ__BODY void vq__do_act(int wide, vq_act_kind act, vq_dtype as, float *x, int64_t n)
{
    int64_t i;
    if (!wide || as != VQ_BF16) {
        for (i = 0; i < n; i++) x[i] = vq__act_of(act, as, x[i]);
        return;
    }
#define X(A, f) for (i = 0; act == A && i < n; i++) x[i] = f(x[i]);
    VQ__BF16_ACTS(X)
#undef X
}

/* f * u in bf16: vq__gate_product() */
VQ__BODY void vq__do_gate(const float *u, float most, int64_t n, float *f)
{
    int64_t i;
    for (i = 0; i < n; i++) f[i] = vq__gate_bf16(f[i], vq__up_in(u[i], most));
}

/* M(M(z r) w) in bf16 */
VQ__BODY void vq__do_normed(const float *z, float r, const float *w, int64_t n, float *out)
{
    int64_t i;
    for (i = 0; i < n; i++) out[i] = vq__gate_bf16(vq__times(z[i], r), w[i]);
}

VQ__BODY void vq__do_add(float *x, const float *y, int64_t n)
{
    int64_t i;
    for (i = 0; i < n; i++) x[i] = vq__add(x[i], y[i]);
}

VQ__BODY void vq__do_times(float *x, const float *y, int64_t n)
{
    int64_t i;
    for (i = 0; i < n; i++) x[i] = vq__times(x[i], y[i]);
}

VQ__BODY void vq__do_shift(float *x, int64_t n, float by)                /* x - by */
{
    int64_t i;
    for (i = 0; i < n; i++) x[i] = vq__sub(x[i], by);
}

VQ__BODY void vq__do_scale(float *x, int64_t n, float by)                /* x * by */
{
    int64_t i;
    for (i = 0; i < n; i++) x[i] = vq__times(x[i], by);
}

VQ__BODY void vq__do_over(float *x, int64_t n, float by)                 /* x / by */
{
    int64_t i;
    for (i = 0; i < n; i++) x[i] = vq__div(x[i], by);
}

/* Up to 1,024 elements, each to its partial. */
VQ__BODY void vq__do_sum(int wide, int squares, const float *x, int64_t n, float *p)
{
    int64_t i;
#if defined(__GNUC__) && defined(__OPTIMIZE__)            /* else it could be libm's */
    for (i = 0; wide && squares && i < n; i++) p[i] = __builtin_fmaf(x[i], x[i], p[i]);
    if (wide && squares) return;
#endif
    (void)wide;
    for (i = 0; squares && i < n; i++) p[i] = vq__partial_square(p[i], x[i]);
    for (i = 0; !squares && i < n; i++) p[i] = vq__partial_sum(p[i], x[i]);
}

/* ===========================================================================
   >>impl-avx2      what most of the time goes into; and every version of the loops
   =========================================================================== */

#if defined(__GNUC__) && defined(__x86_64__) && !defined(__CUDACC__) && !defined(__HIP__)
#define VQ__LOOPS_X86
#define VQ__AVX2      __attribute__((target("avx2,fma,f16c")))
#define VQ__AVX2_BODY static inline VQ__UNUSED __attribute__((always_inline)) VQ__AVX2
#define VQ__AVX2_FAST static VQ__UNUSED VQ__AVX2

/* VQ__FAST_LIST, in vectors that compilers do not find by themselves. They round to nearest even,
   which is what vq_run() sees to. vq__lanes are 256 bits of anything; `at`: at any address. */
typedef uint16_t vq__words  __attribute__((vector_size(16)));
typedef int16_t  vq__shorts __attribute__((vector_size(16)));
typedef uint32_t vq__lanes  __attribute__((vector_size(32)));
typedef int32_t  vq__ints   __attribute__((vector_size(32)));
typedef uint16_t vq__wides  __attribute__((vector_size(32)));
typedef int16_t  vq__halves __attribute__((vector_size(32)));
typedef int8_t   vq__chars  __attribute__((vector_size(32)));
typedef float    vq__floats __attribute__((vector_size(32)));
typedef vq__lanes vq__lanes_at __attribute__((aligned(1), may_alias));
typedef vq__words vq__words_at __attribute__((aligned(1), may_alias));

/* X(name, instruction on two operands) */
#define VQ__AVX2_LIST(X) \
    X(unpacklo, "vpunpckldq") X(unpackhi, "vpunpckhdq") X(lower, "vperm2i128 $0x20,") \
    X(upper, "vperm2i128 $0x31,") X(permute, "vpermd") X(shuffle, "vpshufb") \
    X(bytes_lo, "vpunpcklbw") X(bytes_hi, "vpunpckhbw") \
    X(odd_words, "vpblendw $0xaa,") X(to_words, "vpackusdw") X(to_shorts, "vpackssdw") \
    X(to_ubytes, "vpackuswb") X(to_bytes, "vpacksswb") X(most, "vpmaxud") \
    X(most_ints, "vpmaxsd") X(least_f, "vminps") X(least_words, "vpminuw") \
    X(most_words, "vpmaxuw") X(least_shorts, "vpminsw") X(most_shorts, "vpmaxsw") \
    X(most_bytes, "vpmaxub") X(madd, "vpmaddwd") X(madd_bytes, "vpmaddubsw") \
    X(add_pairs, "vhaddps")
#define X(name, op) \
    VQ__AVX2_BODY vq__lanes vq__x86_##name(vq__lanes a, vq__lanes b) \
    { \
        vq__lanes r; \
        __asm__(op " %2, %1, %0" : "=x"(r) : "x"(a), "x"(b)); \
        return r; \
    }
VQ__AVX2_LIST(X)
#undef X

VQ__AVX2_BODY vq__floats vq__of_halves(vq__words h)          /* no control word flushes these */
{
    vq__floats f;
    __asm__("vcvtph2ps %1, %0" : "=x"(f) : "x"(h));
    return f;
}

VQ__AVX2_BODY vq__floats vq__of_shorts(vq__words h)
{
    vq__floats f;
    __asm__("vpmovsxwd %1, %0\n\tvcvtdq2ps %0, %0" : "=x"(f) : "x"(h));
    return f;
}

/* Elements i to i + 7. */
VQ__AVX2_BODY vq__floats vq__eight(vq_dtype t, const void *x, int64_t i)
{
    vq__floats v;
    if (t == VQ_F32) return (vq__floats)*(const vq__lanes_at *)((const char *)x + 4 * i);
    if (t == VQ_F16) return vq__of_halves(*(const vq__words_at *)((const char *)x + 2 * i));
    __asm__("vpmovzxwd %1, %0\n\tvpslld $16, %0, %0"
            : "=x"(v) : "x"(*(const vq__words_at *)((const char *)x + 2 * i)));
    return v;
}

/* Of elements i to i + 15 of bf16 the even ones, and the odd. */
VQ__AVX2_BODY void vq__pairs(const void *x, int64_t i, vq__floats *even, vq__floats *odd)
{
    const vq__lanes u = *(const vq__lanes_at *)((const char *)x + 2 * i);
    *even = (vq__floats)(u << 16);
    *odd = (vq__floats)(u & 0xffff0000u);
}

/* Rounded where bf16 ends. No NaN, but for one that ends there. */
VQ__AVX2_BODY vq__lanes vq__near_bf16(vq__floats v)
{
    const vq__lanes u = (vq__lanes)v;
    return u + 0x7fffu + (u >> 16 & 1u);
}

/* The upper halves of two, in turn. */
VQ__AVX2_BODY vq__lanes vq__join(vq__lanes even, vq__lanes odd)
{
    return vq__x86_odd_words(even >> 16, odd);
}

/* The largest of eight. */
VQ__AVX2_BODY uint32_t vq__most_of(vq__lanes a)
{
    uint32_t r;
    vq__lanes b;
    __asm__("vextracti128 $1, %t1, %x2\n\tvpmaxud %x1, %x2, %x1\n\t"
            "vpshufd $0x4e, %x1, %x2\n\tvpmaxud %x1, %x2, %x1\n\t"
            "vpshufd $0xb1, %x1, %x2\n\tvpmaxud %x1, %x2, %x1\n\tvmovd %x1, %0"
            : "=r"(r), "+x"(a), "=&x"(b));
    return r;
}

/* A half as f32 bits, in a register all the way. */
VQ__AVX2_BODY uint32_t vq__wider(vq_dtype t, uint32_t c)
{
    vq__words w;
    if (t == VQ_BF16) return c << 16;
    __asm__("vmovd %0, %1\n\tvcvtph2ps %1, %1\n\tvmovd %1, %0" : "+r"(c), "=x"(w));
    return c;
}

/* amax = max(amax, |x|) of groups of one or of sixteens */
VQ__AVX2_FAST int vq__peaks(vq_dtype t, const void *x, int64_t n, int64_t group, uint32_t *amax)
{
    const uint32_t mags = 0x7fffffffu;
    vq__lanes most = { 0 };
    vq__words a;
    uint32_t top;
    int64_t i = 0, g, end;
    if (n % 16 || (group != 1 && group % 16 && group < n)) return 0;
    if (group == 1) {
        for (i = 0; i < n; i += 8) most = vq__x86_most(most, (vq__lanes)vq__eight(t, x, i) & mags);
        if (vq__most_of(most) > 0x7f800000u) return 0;
        for (i = 0; i < n; i += 8) {
            vq__lanes_at *to = (vq__lanes_at *)(amax + i);
            *to = vq__x86_most(*to, (vq__lanes)vq__eight(t, x, i) & mags);
        }
        return 1;
    }
    for (g = 0; i < n; g++) {
        end = n - i < group ? n : i + group;
        most ^= most;
        if (t == VQ_F32) {
            for (; i < end; i += 8)
                most = vq__x86_most(most, (vq__lanes)vq__eight(VQ_F32, x, i) & mags);
            top = vq__most_of(most);
        } else {                                             /* least of 0x7fff - magnitude */
            for (most = ~most; i < end; i += 16)
                most = vq__x86_least_words(most, 0x7fff7fffu
                                           & ~*(const vq__lanes_at *)((const char *)x + 2 * i));
            __asm__("vextracti128 $1, %t2, %x1\n\tvpminuw %x2, %x1, %x1\n\t"
                    "vphminposuw %x1, %x1\n\tvmovd %x1, %0" : "=r"(top), "=&x"(a) : "x"(most));
            top = vq__wider(t, 0x7fffu - (top & 0xffffu));
        }
        if (top > 0x7f800000u) return 0;
        amax[g] = top > amax[g] ? top : amax[g];
    }
    return 1;
}

/* f32 bits of a half that vq__ordered() has made an integer of its order, in 16 bits */
VQ__AVX2_BODY uint32_t vq__disordered(vq_dtype t, int32_t v)
{
    const uint32_t u = (uint32_t)(v ^ (v >> 15 & 0x7fff));
    return (u & 0x8000u) << 16 | vq__wider(t, u & 0x7fffu);
}

/* lo = min(lo, x), hi = max(hi, x) of groups of sixteens of halves */
VQ__AVX2_FAST int vq__ranges(vq_dtype t, const void *x, int64_t n, int64_t group, float *lo,
                             float *hi)
{
    const vq__lanes zero = { 0 }, signs = zero + 0x80000000u;
    const int32_t inf = t == VQ_BF16 ? 0x7f80 : 0x7c00;
    int32_t low, high, was_lo, was_hi;
    int64_t i = 0, g, end;
    if (t == VQ_F32 || n % 16 || (group % 16 && group < n)) return 0;
    for (g = 0; i < n; g++) {
        vq__lanes least = zero + 0x7fff7fffu, most = ~least;
        for (end = n - i < group ? n : i + group; i < end; i += 16) {
            const vq__lanes u = *(const vq__lanes_at *)((const char *)x + 2 * i);
            const vq__lanes v = u ^ ((vq__lanes)((vq__halves)u >> 15) & 0x7fff7fffu);
            least = vq__x86_least_shorts(least, v);
            most = vq__x86_most_shorts(most, v);
        }
        most = vq__x86_most_ints(most << 16, most & 0xffff0000u) ^ signs;
        least = vq__x86_most_ints(~least << 16, ~least & 0xffff0000u) ^ signs;
        high = (int32_t)(vq__most_of(most) ^ 0x80000000u) >> 16;
        low = ~((int32_t)(vq__most_of(least) ^ 0x80000000u) >> 16);
        if (high > inf || low < ~inf) return 0;
        was_lo = vq__ordered(vq__f32_bits(lo[g]));
        was_hi = vq__ordered(vq__f32_bits(hi[g]));
        low = vq__ordered(vq__disordered(t, low));
        high = vq__ordered(vq__disordered(t, high));
        low = low < was_lo ? low : was_lo;
        high = high > was_hi ? high : was_hi;
        lo[g] = vq__f32_make((uint32_t)vq__ordered((uint32_t)low));
        hi[g] = vq__f32_make((uint32_t)vq__ordered((uint32_t)high));
    }
    return 1;
}

/* What vq__near_mini() needs of a type: held to `top`, a sum of low and wide and what a magnitude
   is made of is in units of 1/unit, and above the code of 0 by `bias` of these. */
typedef struct vq__near {
    uint32_t  top, low, wide, unit;
    vq__wides bias;
    vq__words down;
    vq__chars sign;
    int       odd;
} vq__near;

VQ__AVX2_BODY vq__near vq__near_of(const vq_key *k, vq__mini m)
{
    const vq__wides none = { 0 };
    const vq__words nil = { 0 };
    const vq__chars zero = { 0 };
    vq__near f;
    f.top = vq__f32_bits(k->code_max);
    f.low = (128u - m.bias) << 23;
    f.wide = (23u - m.mbits) << 23;
    f.unit = 1u << (7u - m.mbits);
    f.bias = none + (uint16_t)((f.low + f.wide) >> 16);
    f.down = nil;
    f.down[0] = (uint16_t)(7u - m.mbits);
    f.sign = zero + (int8_t)(1u << m.sign);
    f.odd = m.odd <= 0xffu;
    return f;
}

VQ__AVX2_BODY vq__lanes vq__near_eight(const vq__near *f, vq__lanes u, vq__lanes *any)
{
    const vq__lanes zero = { 0 }, m = vq__x86_least_f(zero + f->top, u & 0x7fffffffu);
    const vq__lanes t = (vq__x86_most(m, zero + f->low) & 0x7f800000u) + f->wide;
    const vq__lanes sum = (vq__lanes)((vq__floats)m + (vq__floats)t);
    *any |= sum;                                             /* a NaN has a bit that no sum has */
    return vq__x86_madd(sum, zero + (1u << 16 | f->unit));
}

/* 32 codes, each sign from the upper bit of `neg`; the lanes of a pair are still in turn. */
VQ__AVX2_BODY vq__lanes vq__near_minis(const vq__near *f, vq__lanes u0, vq__lanes u1,
                                       vq__lanes u2, vq__lanes u3, vq__lanes neg, vq__lanes *any)
{
    const vq__chars nil = { 0 };
    vq__chars sign;
    vq__lanes c;
    u0 = vq__near_eight(f, u0, any);
    u1 = vq__near_eight(f, u1, any);
    u2 = vq__near_eight(f, u2, any);
    u3 = vq__near_eight(f, u3, any);
    u0 = (vq__lanes)((vq__wides)vq__x86_to_words(u0, u1) - f->bias);
    u2 = (vq__lanes)((vq__wides)vq__x86_to_words(u2, u3) - f->bias);
    __asm__("vpsrlw %1, %0, %0" : "+x"(u0) : "x"(f->down));
    __asm__("vpsrlw %1, %0, %0" : "+x"(u2) : "x"(f->down));
    c = vq__x86_to_ubytes(u0, u2);
    sign = ((vq__chars)neg < nil) & f->sign;
    if (f->odd) sign &= (vq__chars)c != nil;
    return c | (vq__lanes)sign;
}

VQ__AVX2_BODY vq__lanes vq__near_ints(vq__lanes u, vq__lanes zero, vq__lanes *any)
{
    vq__lanes r;
    *any = vq__x86_most(*any, u & 0x7fffffffu);
    __asm__("vcvtps2dq %1, %0" : "=x"(r) : "x"(u));
    return r + zero;
}

/* 32 bytes as codes of so many bits. */
VQ__AVX2_BODY void vq__put_codes(int bits, vq__lanes c, uint8_t *row, int64_t at)
{
    const vq__lanes packed = { 0, 1, 4, 5, 0, 1, 4, 5 }, none = { 0 };
    uint8_t six[32];
    if (bits == 8) *(vq__lanes_at *)(row + at) = c;
    else if (bits == 4) {
        c = vq__x86_madd_bytes(c, none + 0x10011001u);
        c = vq__x86_permute(packed, vq__x86_to_ubytes(c, c));
        memcpy(row + at / 2, &c, 16);
    } else {
        *(vq__lanes_at *)six = c;
        vq__pack(6, six, 32, row, at);
    }
}

/* 1/s in two parts. v times both, rounded once, is within 2^-23 of its last place of what v / s
   rounds: as good where all that follows is a code of at most 8 bits, since a quotient of floats
   comes so near to where a code ends only if s is all ones (test_loops.c tries those that could).
   Where s is from about 2^-80 to 2^100 nothing that matters leaves f32; 0 loses its sign. */
typedef struct vq__reciprocal { float hi, lo; } vq__reciprocal;

VQ__AVX2_BODY int vq__reciprocal_of(float s, vq__reciprocal *d)
{
    float rest = 1.0f / s;
    d->hi = rest;
    __asm__("vfnmadd213ss %2, %1, %0" : "+x"(rest) : "x"(s), "x"(1.0f));
    d->lo = rest * d->hi;
    return s > 8.3e-25f && s < 1.2e30f && (~vq__f32_bits(s) & 0x007fffffu);
}

VQ__AVX2_BODY vq__lanes vq__over_eight(vq__floats v, vq__reciprocal d)
{
    const vq__floats zero = { 0 };
    vq__floats q = v * d.lo;
    __asm__("vfmadd231ps %1, %2, %0" : "+x"(q) : "x"(v), "x"(zero + d.hi));
    return (vq__lanes)q;
}

/* How a run is scaled: times `by`, or over it, a power of two; over it; one `by` each. */
enum { VQ__TIMES, VQ__OVER, VQ__EACH };

/* vq__narrow() of constants: how; pairs, bf16 as it comes. whole: 8-bit integers. */
VQ__AVX2_BODY int vq__narrow_as(int how, int pairs, int whole, const vq_key *k, vq_dtype t,
                                const void *x, int64_t n, int64_t group, const float *by,
                                const int32_t *zero, uint8_t *row, int64_t first)
{
    const int two = how != VQ__EACH && group == 16, divide = k->code_rule == VQ_CODE_DIV;
    const int64_t size = t == VQ_F32 ? 4 : 2;
    const vq__lanes of_pairs = { 0, 1, 4, 5, 2, 3, 6, 7 }, of_eights = { 0, 4, 1, 5, 2, 6, 3, 7 };
    const vq__lanes weave = { 0x05010400u, 0x07030602u, 0x0d090c08u, 0x0f0b0e0au,
                              0x05010400u, 0x07030602u, 0x0d090c08u, 0x0f0b0e0au }, none = { 0 };
    const vq__near near = vq__near_of(k, VQ__MINI_OF(whole ? VQ_E2M1 : k->elem));
    vq__reciprocal inv = { 0.0f, 0.0f };
    vq__lanes any = none, z = none, z2 = none, u0, u1, u2, u3, c;
    vq__floats v0, v1, v2, v3;
    float s, s2;
    int64_t i, g, end;

    for (i = g = 0; i < n; g += 1 + two) {
        s = by[g];
        s2 = by[g + two];
        if (how == VQ__OVER && !vq__reciprocal_of(s, &inv)) return 0;
        if (how == VQ__TIMES && divide) { s = 1.0f / s; s2 = 1.0f / s2; }
        if (whole && zero) { z = none + (uint32_t)zero[g]; z2 = none + (uint32_t)zero[g + two]; }
        end = how == VQ__EACH ? n : two ? i + 32 : n - i < group ? n : i + group;
        for (; i < end; i += 32) {                           /* what follows is likely the next */
            __builtin_prefetch((const void *)((uintptr_t)x + (uintptr_t)((n + i) * size)));
            if (pairs) {
                vq__pairs(x, i, &v0, &v1);
                vq__pairs(x, i + 16, &v2, &v3);
            } else {
                v0 = vq__eight(t, x, i);
                v1 = vq__eight(t, x, i + 8);
                v2 = vq__eight(t, x, i + 16);
                v3 = vq__eight(t, x, i + 24);
            }
#define X(u, v, s, j) \
            u = how == VQ__OVER ? vq__over_eight(v, inv) : (vq__lanes) \
                (how != VQ__EACH ? v * s : divide ? v / vq__eight(VQ_F32, by, i + j) \
                                                  : v * vq__eight(VQ_F32, by, i + j));
            X(u0, v0, s, 0) X(u1, v1, s, 8) X(u2, v2, s2, 16) X(u3, v3, s2, 24)
#undef X
            if (whole) {
                u0 = vq__near_ints(u0, z, &any);
                u1 = vq__near_ints(u1, z, &any);
                u2 = vq__near_ints(u2, z2, &any);
                u3 = vq__near_ints(u3, z2, &any);
                u0 = vq__x86_to_shorts(u0, u1);
                u2 = vq__x86_to_shorts(u2, u3);
                c = k->elem == VQ_INT8 ? vq__x86_to_bytes(u0, u2) : vq__x86_to_ubytes(u0, u2);
            } else {
                if (how != VQ__OVER) {                       /* whose quotient may have lost it */
                    v0 = (vq__floats)u0;
                    v1 = (vq__floats)u1;
                    v2 = (vq__floats)u2;
                    v3 = (vq__floats)u3;
                }
                c = vq__x86_to_bytes(vq__x86_to_shorts((vq__lanes)v0, (vq__lanes)v1),
                                     vq__x86_to_shorts((vq__lanes)v2, (vq__lanes)v3));
                c = vq__near_minis(&near, u0, u1, u2, u3, c, &any);
            }
            if (pairs) c = vq__x86_shuffle(c, weave);
            c = vq__x86_permute(pairs ? of_pairs : of_eights, c);
            vq__put_codes(vq__bits(k->elem), c, row, first + i);
        }
    }
    any &= whole ? 0x7fffffffu : 0x20000000u;
    return vq__most_of(any) <= (whole ? 0x4e7fffffu : 0u);   /* 2^30 */
}

/* Codes of n elements into columns first, ... of a row: of groups of one, of 16 or of 32s */
VQ__AVX2_FAST int vq__narrow(const vq_key *k, vq_dtype t, const void *x, int64_t n, int64_t group,
                             const float *by, const int32_t *zero, uint8_t *row, int64_t first)
{
    const int whole = k->elem == VQ_INT8 || k->elem == VQ_UINT8;
    const int pow2 = k->scale_type == VQ_E8M0 && !k->scale2_kind && !whole;
    const int how = group == 1 ? VQ__EACH : k->code_rule != VQ_CODE_DIV || pow2 ? VQ__TIMES
                  : VQ__OVER;
    const int pairs = t == VQ_BF16 && how != VQ__EACH;
    if (n % 32 || (group != 1 && group % 32 && (group != 16 || how == VQ__OVER) && group < n)
        || first * vq__bits(k->elem) % 8 || k->arith != VQ_F32
        || k->code_rule == VQ_CODE_DIV_TRUNC || k->code_rule == VQ_CODE_AMAX_AWAY
        || (whole ? k->code_max != (k->elem == VQ_INT8 ? 127.0f : 255.0f) || (zero && group == 1)
                  : k->elem > VQ_INT8 || k->overflow != VQ_SATURATE)) return 0;
#define X(H, P, W) \
    if (how == H && pairs == P && whole == W) \
        return vq__narrow_as(H, P, W, k, t, x, n, group, by, zero, row, first);
    X(VQ__TIMES, 1, 0) X(VQ__OVER, 1, 0) X(VQ__TIMES, 1, 1) X(VQ__OVER, 1, 1)
    X(VQ__TIMES, 0, whole) X(VQ__OVER, 0, whole) X(VQ__EACH, 0, whole)
#undef X
    return 0;
}

VQ__AVX2_BODY vq__wides vq__of_bytes(const uint8_t *p)       /* two codes to a word */
{
    return (vq__wides)*(const vq__lanes_at *)p;
}

VQ__AVX2_BODY vq__wides vq__of_nibbles(const uint8_t *p)
{
    vq__wides w;
    __asm__("vpmovzxbw %1, %0" : "=x"(w) : "x"(*(const vq__words_at *)p));
    return w;
}

/* The lower or the upper eight of 16-bit numbers. */
VQ__AVX2_BODY vq__words vq__half_of(vq__wides w, int upper)
{
    vq__words h;
    if (upper) __asm__("vextracti128 $1, %1, %0" : "=x"(h) : "x"(w));
    else __asm__("vmovdqa %x1, %0" : "=x"(h) : "x"(w));
    return h;
}

/* past: around the caches, to an aligned address */
VQ__AVX2_BODY void vq__put_lanes(int past, vq__lanes v, char *out)
{
    if (past) __asm__("vmovntdq %1, %0" : "=m"(*(vq__lanes_at *)out) : "x"(v));
    else *(vq__lanes_at *)out = v;
}

/* Stores pairs in order, as bf16 or f32. No NaN is among them. */
VQ__AVX2_BODY void vq__put_pairs(int bf16, vq__floats even, vq__floats odd, int past, char *out)
{
    vq__lanes a, b;
    if (bf16) {
        *(vq__lanes_at *)out = vq__join(vq__near_bf16(even), vq__near_bf16(odd));
        return;
    }
    a = vq__x86_unpacklo((vq__lanes)even, (vq__lanes)odd);
    b = vq__x86_unpackhi((vq__lanes)even, (vq__lanes)odd);
    vq__put_lanes(past, vq__x86_lower(a, b), out);
    vq__put_lanes(past, vq__x86_upper(a, b), out + 32);
}

/* X(type, codes a word from memory, shifts left that bring the first and the second of a word to
   its top, shift right, what of that is used, what then makes a float, by which factor the float
   is too small, what is added to magnitudes to carry into the sign where one is beyond numbers).
   Small floats are f16 of another bias, subnormals too. */
#define VQ__PAIRS(X) \
    X(VQ_E4M3FN, bytes, 8, 0, 1, 0xbf80u, halves, 256.0f, 0x01010101u) \
    X(VQ_E5M2, bytes, 8, 0, 0, 0xff00u, halves, 1.0f, 0x04040404u) \
    X(VQ_E2M1, nibbles, 12, 8, 3, 0x8e00u, halves, 16384.0f, 0u) \
    X(VQ_INT8, bytes, 8, 0, 8, 0xffffu, shorts, 1.0f, 0u) \
    X(VQ_UINT8, bytes, 8, 0, 8, 0x00ffu, shorts, 1.0f, 0u) \
    X(VQ_INT4, nibbles, 12, 8, 12, 0xffffu, shorts, 1.0f, 0u) \
    X(VQ_UINT4, nibbles, 12, 8, 12, 0x000fu, shorts, 1.0f, 0u)

/* The bytes of the bf16 that each code of e2m1 is times `by`, which a half of lanes has alike. */
typedef struct vq__fp4 { vq__lanes low, high; } vq__fp4;

VQ__AVX2_BODY vq__fp4 vq__fp4_of(vq__floats by)
{
    const vq__floats least = { 0.0f, 0.5f, 1.0f, 1.5f, 0.0f, 0.5f, 1.0f, 1.5f };
    const vq__floats most = { 2.0f, 3.0f, 4.0f, 6.0f, 2.0f, 3.0f, 4.0f, 6.0f };
    const vq__lanes even = { 0x06040200u, 0x0e0c0a08u, 0x06040200u, 0x0e0c0a08u,
                             0x06040200u, 0x0e0c0a08u, 0x06040200u, 0x0e0c0a08u };
    const vq__lanes signs = { 0, 0, 0x80808080u, 0x80808080u, 0, 0, 0x80808080u, 0x80808080u };
    const vq__lanes u = vq__x86_to_words(vq__near_bf16(least * by) >> 16,
                                         vq__near_bf16(most * by) >> 16);
    vq__fp4 t;
    t.low = vq__x86_shuffle(u, even);
    t.high = vq__x86_shuffle(u, even + 0x01010101u) ^ signs;
    return t;
}

/* Sixteen to `out`, and the sixteen of the upper half 32 elements on. */
VQ__AVX2_BODY void vq__put_fp4(const vq__fp4 *t, vq__lanes c, int past, char *out)
{
    const vq__lanes low = vq__x86_shuffle(t->low, c), high = vq__x86_shuffle(t->high, c);
    const vq__lanes a = vq__x86_bytes_lo(low, high), b = vq__x86_bytes_hi(low, high);
    vq__put_lanes(past, vq__x86_lower(a, b), out);
    vq__put_lanes(past, vq__x86_upper(a, b), out + 64);
}

/* n codes of e2m1 as bf16, looked up: of groups of 16, of 32 or of 64s, whose scales are none
   that overflow. */
VQ__AVX2_FAST void vq__fp4_to_bf16(const uint8_t *p, int64_t n, int64_t group, const float *s,
                                   int past, char *out)
{
    const vq__lanes evens = { 0, 0, 0, 0, 2, 2, 2, 2 }, none = { 0 };
    const int64_t step = group == 16 ? 4 : group == 32 ? 2 : 1;
    vq__fp4 t, t2;
    vq__lanes by;
    int64_t i, g, end;
    for (i = g = 0; i < n; g += step) {
        if (group == 16) {
            __asm__("vbroadcastf128 %1, %0" : "=x"(by) : "m"(*(const vq__words_at *)(s + g)));
            t = vq__fp4_of((vq__floats)vq__x86_permute(evens, by));
            t2 = vq__fp4_of((vq__floats)vq__x86_permute(evens + 1u, by));
        } else {
            by = none + vq__f32_bits(s[g]);
            if (group == 32) by = vq__x86_lower(by, none + vq__f32_bits(s[g + 1]));
            t = t2 = vq__fp4_of((vq__floats)by);
        }
        for (end = group <= 32 ? i + 64 : n - i < group ? n : i + group; i < end; i += 64) {
            const vq__lanes c = *(const vq__lanes_at *)(p + i / 2);
            const vq__lanes low = c & 0x0f0f0f0fu, high = c >> 4 & 0x0f0f0f0fu;
            vq__put_fp4(&t, vq__x86_bytes_lo(low, high), past, out + i * 2);
            vq__put_fp4(&t2, vq__x86_bytes_hi(low, high), past, out + i * 2 + 32);
        }
    }
}

/* (vq_decode() - zero) * s of n codes, as type t: of groups of 16 or of 32s */
VQ__AVX2_FAST int vq__widen(vq_dtype elem, const uint8_t *row, int64_t first, int64_t n,
                            int64_t group, const float *s, const float *zero, vq_dtype t,
                            int past, char *out)
{
    const int bf16 = t == VQ_BF16, two = group == 16;
    const int64_t step = bf16 ? 2 : 4;
    const uint8_t *p = row + first * vq__bits(elem) / 8;
    vq__wides w, a, b;
    vq__floats v0, v1, v2, v3;
    vq__lanes most = { 0 };
    uint32_t carry = 0;
    int64_t i = 0, g, end;
    int bad;
    if (n % 32 || (group % 32 && !two && group < n) || first * vq__bits(elem) % 8
        || (!bf16 && t != VQ_F32) || (zero && elem < VQ_INT8)) return 0;
    end = (n + group - 1) / group;
    for (g = 0; g + 8 <= end; g += 8)                        /* 2^113: no factor overflows */
        most = vq__x86_most(most, (vq__lanes)vq__eight(VQ_F32, s, g) & 0x7fffffffu);
    past = past && (uintptr_t)out % 32 == 0;
    bad = vq__most_of(most) >= 0x78000000u;
    for (; g < end; g++) bad |= (vq__f32_bits(s[g]) & 0x7fffffffu) >= 0x78000000u;
    most ^= most;
    if (elem == VQ_E2M1 && bf16 && n % 64 == 0 && (two || group == 32 || group % 64 == 0
                                                   || group >= n)) {
        vq__fp4_to_bf16(p, n, group, s, past, out);
        return !bad;
    }
#define X(E, codes, up0, up1, down, mask, numbers, factor, over) \
    for (g = 0; elem == E && i < n; g += 1 + two) { \
        const float by = s[g] * factor, z = zero ? zero[g] : 0.0f; \
        const float by2 = s[g + two] * factor, z2 = zero ? zero[g + two] : 0.0f; \
        for (end = two ? i + 32 : n - i < group ? n : i + group; i < end; i += 32) { \
            w = vq__of_##codes(p + i * vq__bits(E) / 8); \
            a = (vq__wides)((vq__halves)(w << up0) >> down) & mask; \
            b = (vq__wides)((vq__halves)(w << up1) >> down) & mask; \
            v0 = vq__of_##numbers(vq__half_of(a, 0)); \
            v1 = vq__of_##numbers(vq__half_of(b, 0)); \
            v2 = vq__of_##numbers(vq__half_of(a, 1)); \
            v3 = vq__of_##numbers(vq__half_of(b, 1)); \
            if (over) most = vq__x86_most_bytes(most, (vq__lanes)w & 0x7f7f7f7fu); \
            if (E >= VQ_INT8 && zero) { v0 = v0 - z; v1 = v1 - z; v2 = v2 - z2; v3 = v3 - z2; } \
            vq__put_pairs(bf16, v0 * by, v1 * by, past, out + i * step); \
            vq__put_pairs(bf16, v2 * by2, v3 * by2, past, out + (i + 16) * step); \
        } \
        carry = over; \
    }
    VQ__PAIRS(X)
#undef X
    return i == n && !bad && !vq__most_of((most + carry) & 0x80808080u);
}

/* M(z r) w */
VQ__AVX2_BODY vq__floats vq__normed_eight(vq__floats z, float r, vq__floats w)
{
    return (vq__floats)(vq__near_bf16(z * r) & 0xffff0000u) * w;
}

/* M(M(z r) (w - off)) in bf16 */
VQ__AVX2_FAST int vq__bf16_normed(const void *z, float r, const void *w, float off, int64_t n,
                                  void *out)
{
    vq__lanes most = { 0 }, u;
    vq__floats a, b, c, d;
    int64_t i;
    if (n % 16 || r != r) return 0;
    for (i = 0; i < n; i += 16) {
        vq__pairs(z, i, &a, &b);
        vq__pairs(w, i, &c, &d);
        u = vq__join(vq__near_bf16(vq__normed_eight(a, r, c - off)),
                     vq__near_bf16(vq__normed_eight(b, r, d - off)));
        most = vq__x86_most_words(most, u & 0x7fff7fffu);
        *(vq__lanes_at *)((char *)out + 2 * i) = u;
    }
    return vq__most_of(vq__x86_most(most & 0xffffu, most >> 16)) <= 0x7f80u;
}

/* The sum of n squares, a multiple of 16, in the order of vq__partial_square() and
   vq__combine1024(). Of bf16 the even partials of sixteen stand before the odd. */
VQ__AVX2_FAST float vq__squares(vq_dtype t, const void *x, int64_t n)
{
    const vq__lanes order = { 0, 1, 4, 5, 2, 3, 6, 7 };
    vq__floats p[128], a, b;
    float last[8];
    int64_t i, j;
    memset(p, 0, sizeof p);
    for (i = 0; i < n; i += 16) {
        vq__floats *sum = p + i % 1024 / 8;
        if (t == VQ_BF16) vq__pairs(x, i, &a, &b);
        else { a = vq__eight(t, x, i); b = vq__eight(t, x, i + 8); }
        __asm__("vfmadd231ps %1, %1, %0" : "+x"(sum[0]) : "x"(a));
        __asm__("vfmadd231ps %1, %1, %0" : "+x"(sum[1]) : "x"(b));
    }
    for (j = 64; j; j /= 2)                                  /* lanes that still count close up */
        for (i = 0; i < j; i++)
            p[i] = t == VQ_BF16 && j == 64 ? p[2 * i] + p[2 * i + 1]
                 : (vq__floats)vq__x86_permute(order, vq__x86_add_pairs((vq__lanes)p[2 * i],
                                                                        (vq__lanes)p[2 * i + 1]));
    memcpy(last, p, sizeof last);
    for (j = 4; j; j /= 2)
        for (i = 0; i < j; i++) last[i] = vq__add(last[2 * i], last[2 * i + 1]);
    return last[0];
}
#endif

#define X(name, parameters, arguments) \
    static void vq__##name##_plain parameters { enum { wide = 0 }; vq__do_##name arguments; }
VQ__EACH_LIST(X) VQ__WIDE_LIST(X) VQ__PLAIN_LIST(X)
#undef X
#ifdef VQ__LOOPS_X86
#define X(name, parameters, arguments) \
    VQ__AVX2 \
    static void vq__##name##_avx2 parameters { enum { wide = 1 }; vq__do_##name arguments; }
VQ__EACH_LIST(X) VQ__WIDE_LIST(X)
#undef X
#define X(name, parameters, arguments) \
    __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"))) \
    static void vq__##name##_avx512 parameters { enum { wide = 1 }; vq__do_##name arguments; }
VQ__EACH_LIST(X)
#undef X
#endif

/* The first whose caps are there is the one to take. */
#define VQ__THERE(type, name, parameters)           , vq__##name
#define VQ__ABSENT(type, name, parameters)          , NULL
#define VQ__AS_PLAIN(name, parameters, arguments)   , vq__##name##_plain
#define VQ__AS_AVX2(name, parameters, arguments)    , vq__##name##_avx2
#define VQ__AS_AVX512(name, parameters, arguments)  , vq__##name##_avx512
static const vq__loops vq__loops_of[] = {
#ifdef VQ__LOOPS_X86
    { "avx512", VQ_CAP(AVX512) | VQ_CAP(AVX2) | VQ_CAP(FMA) VQ__FAST_LIST(VQ__THERE)
      VQ__EACH_LIST(VQ__AS_AVX512) VQ__WIDE_LIST(VQ__AS_AVX2) VQ__PLAIN_LIST(VQ__AS_PLAIN) },
    { "avx2", VQ_CAP(AVX2) | VQ_CAP(FMA) VQ__FAST_LIST(VQ__THERE)
      VQ__EACH_LIST(VQ__AS_AVX2) VQ__WIDE_LIST(VQ__AS_AVX2) VQ__PLAIN_LIST(VQ__AS_PLAIN) },
#endif
    { "plain", 0 VQ__FAST_LIST(VQ__ABSENT)
      VQ__EACH_LIST(VQ__AS_PLAIN) VQ__WIDE_LIST(VQ__AS_PLAIN) VQ__PLAIN_LIST(VQ__AS_PLAIN) }
};

#ifdef VQ__LOOPS_OPTIMIZED
#pragma GCC pop_options
#endif

/* What went past the caches is there for other cores too. */
VQ__SHARED void vq__past_done(void)
{
#ifdef VQ__LOOPS_X86
    __asm__ volatile("sfence" : : : "memory");
#endif
}

/* The first that this machine has the instructions for. */
static const vq__loops *vq__pick_loops(uint32_t caps)
{
    int i = 0;
    while (vq__loops_of[i].caps & ~caps) i++;                /* the last needs none */
    return &vq__loops_of[i];
}

/* ===========================================================================
   >>impl-ref-convert    scalar references: the definition of each op, plainly
   =========================================================================== */

/* Writes the padding of a matrix: of its layout, or of its packed rows. */
VQ__SHARED void vq__pad(const vq_tensor *t)
{
    int64_t rows, cols, r, c;
    if (vq__empty(t)) return;
    for (r = 0; t->layout == VQ_STRIDED && r < t->shape[0]; r++) vq__pad_row(t, r);
    vq__padded(t, &rows, &cols);
    for (r = 0; r < rows; r++)
        for (c = r < t->shape[0] ? t->shape[1] : 0; c < cols; c++) vq__put_code(t, r, c, 0);
}

#ifndef VQ_NO_CONVERT
static void vq__ref_cast(const vq__loops *f, const void *args)
{
    const vq_cast_args *a = (const vq_cast_args *)args;
    vq_tensor x = vq__rank4(&a->x), y = vq__rank4(&a->y);
    int64_t i, j, r, c;

    (void)f;
    if (vq__empty(&y)) return;
    for (i = 0; i < y.shape[0]; i++)
        for (j = 0; j < y.shape[1]; j++) {
            vq_tensor from = vq__plane(&x, i, j), to = vq__plane(&y, i, j);
            for (r = 0; r < y.shape[2]; r++) {
                for (c = 0; c < y.shape[3]; c++)
                    vq__put_code(&to, r, c, vq_encode(y.dtype, vq__get(&from, r, c), a->overflow));
                vq__pad_row(&to, r);
            }
        }
}

static void vq__ref_fnuz_normalize(const vq__loops *f, const void *args)
{
    const vq_fnuz_normalize_args *a = (const vq_fnuz_normalize_args *)args;
    const float factor = a->y.dtype == VQ_E4M3FNUZ || a->y.dtype == VQ_E5M2FNUZ ? 2.0f : 0.5f;
    int64_t r, c;

    (void)f;
    for (r = 0; !vq__empty(&a->x) && r < a->x.shape[0]; r++)
        for (c = 0; c < a->x.shape[1]; c++)
            vq__put_code(&a->y, r, c, vq_fnuz_code(a->x.dtype, (uint8_t)vq__get_code(&a->x, r, c),
                                                   a->overflow));
    for (r = 0; !vq__empty(&a->scale) && r < a->scale.shape[0]; r++)
        for (c = 0; c < a->scale.shape[1]; c++)
            vq__put_code(&a->scale_out, r, c,
                         vq_encode(a->scale.dtype, vq__mul(vq__get(&a->scale, r, c), factor),
                                   VQ_NONFINITE));
}
#endif

#ifndef VQ_NO_SCALES
static void vq__ref_scale_convert(const vq__loops *f, const void *args)
{
    const vq_scale_convert_args *a = (const vq_scale_convert_args *)args;
    vq_tensor x = vq__rank4(&a->x), y = vq__rank4(&a->y);
    int64_t rows = y.shape[2], cols = y.shape[3], full_rows, full_cols, i, r, c;

    (void)f;
    if (vq__empty(&a->x)) return;
    vq__padded(&y, &full_rows, &full_cols);
    for (i = 0; i < y.shape[1]; i++) {
        vq_tensor from = vq__plane(&x, 0, i), to = vq__plane(&y, 0, i);
        for (r = 0; r < full_rows; r++)
            for (c = 0; c < full_cols; c++)
                vq__put_code(&to, r, c, r < rows && c < cols ? vq__get_code(&from, r, c) : 0u);
    }
}
#endif

/* ===========================================================================
   >>impl-ref-quant   in tiles: statistics of some groups, their scales, their codes
   =========================================================================== */

/* Elements and groups of a tile: what the stages hand on lies on the stack, some 60 KB. */
enum { VQ__PIECE = 8192, VQ__GROUPS = 1024, VQ__STEP = 1024 };

/* Where n values lie, and as what: f32, f16 or bf16, at any address. */
typedef struct vq__span { const void *at; vq_dtype type; } vq__span;

/* Rows of values, piece by piece: what quantization starts from. They are made in `out`, as f32,
   or are there already. */
typedef struct vq__source {
    vq__span (*rows)(const struct vq__source *s, int64_t row, int64_t col, int64_t n, float *out);
    const vq__loops *loops;
    const void      *from;
    vq_dtype         type;            /* an infinity counts as the largest of this */
} vq__source;

/* What is known of each group of a tile. */
typedef struct vq__stats {
    uint32_t amax[VQ__GROUPS];
    float    lo[VQ__GROUPS], hi[VQ__GROUPS];
    uint8_t  nan[VQ__GROUPS];
} vq__stats;

/* m groups side by side, of rows r0 to r1 and columns c0 to c1: more than one only if all fit
   into a piece. */
typedef struct vq__tile_of { int64_t g, h, m, r0, r1, c0, c1, wide; } vq__tile_of;

/* The tile after *t, in order; 0 when there is none. The first starts from h = m = 0, g = 0. */
VQ__SHARED int vq__next_tile(const vq_key *k, int64_t rows, int64_t cols, vq__tile_of *t)
{
    int64_t group[2], count[2], fit;
    vq_key_group(k, rows, cols, group, count);
    fit = vq__min64(2 * VQ__STEP / group[1], VQ__GROUPS);
    t->h += t->m;
    if (t->h >= count[1]) { t->h = 0; t->g++; }
    if (t->g >= count[0]) return 0;
    t->m = vq__min64(fit > 1 ? fit : 1, count[1] - t->h);
    t->wide = group[1];
    t->r0 = t->g * group[0];
    t->r1 = group[0] < rows - t->r0 ? t->r0 + group[0] : rows;
    t->c0 = t->h * group[1];
    t->c1 = vq__min64(t->c0 + t->m * group[1], cols);
    return 1;
}

VQ__SHARED void vq__clear_stats(vq__stats *st, int64_t m)
{
    int64_t i;
    memset(st->amax, 0, (size_t)m * sizeof *st->amax);
    memset(st->nan, 0, (size_t)m);
    for (i = 0; i < m; i++) {
        st->lo[i] = vq__f32_make(0x7f800000u);
        st->hi[i] = vq__f32_make(0xff800000u);
    }
}

VQ__SHARED vq__span vq__span_of(const void *at, vq_dtype t)
{
    vq__span s;
    s.at = at;
    s.type = t;
    return s;
}

/* The values as f32 in x, of which they may be the upper half. */
VQ__SHARED void vq__as_f32(const vq__loops *f, vq__span *s, int64_t n, float *x)
{
    if (s->at != x || s->type != VQ_F32) f->load(s->type, s->at, n, x);
    *s = vq__span_of(x, VQ_F32);
}

/* Statistics of a tile into st; where it is one piece of one row, that comes back. */
VQ__SHARED vq__span vq__gather(const vq__source *src, const vq__tile_of *t, int range,
                               vq__stats *st, float *x)
{
    const vq__loops *f = src->loops;
    const float largest = vq_dtype_max(src->type);
    vq__span v = vq__span_of(NULL, VQ_F32);
    int64_t r, c, n, i;
    for (r = t->r0; r < t->r1; r++)
        for (c = t->c0; c < t->c1; c += n) {
            n = vq__min64(t->c1 - c, VQ__PIECE);
            v = src->rows(src, r, c, n, x);
            if (f->peaks && f->peaks(v.type, v.at, n, t->wide, st->amax)
                && (!range || f->ranges(v.type, v.at, n, t->wide, st->lo, st->hi))) continue;
            vq__as_f32(f, &v, n, x);
            f->amax(x, n, t->wide, st->amax, st->nan);
            if (range) f->range(x, n, t->wide, st->lo, st->hi, st->nan);
        }
    for (i = 0; i < t->m; i++) {
        if (st->amax[i] == 0x7f800000u) st->amax[i] = vq__f32_bits(largest);
        if (!range || st->lo[i] > st->hi[i]) continue;
        st->lo[i] = st->lo[i] < -largest ? -largest : st->lo[i] > largest ? largest : st->lo[i];
        st->hi[i] = st->hi[i] < -largest ? -largest : st->hi[i] > largest ? largest : st->hi[i];
    }
    return v;
}

VQ__SHARED char *vq__row_of(const vq_tensor *t, int64_t r)
{
    const int bits = vq__bits(t->dtype);
    return (char *)t->data + r * t->stride[t->rank - 2] * (bits < 8 ? 1 : bits / 8);
}

VQ__SHARED char *vq__at(const vq_tensor *t, int64_t r, int64_t c)       /* 8 bits and more */
{
    return vq__row_of(t, r) + c * (vq__bits(t->dtype) / 8);
}

/* Codes of m neighbours of row g, from column h on. */
VQ__SHARED void vq__get_row(const vq_tensor *t, int64_t g, int64_t h, int64_t m, uint32_t *code)
{
    int64_t i;
    if (t->dtype == VQ_F32 && t->layout == VQ_STRIDED && t->stride[1] == 1)
        memcpy(code, (const char *)t->data + (g * t->stride[0] + h) * 4, (size_t)m * 4);
    else for (i = 0; i < m; i++) code[i] = vq__get_code(t, g, h + i);
}

VQ__SHARED void vq__put_row(const vq_tensor *t, int64_t g, int64_t h, int64_t m,
                            const uint32_t *code)
{
    const int plain = t->layout == VQ_STRIDED && t->stride[1] == 1, bits = vq__bits(t->dtype);
    uint8_t *p = (uint8_t *)t->data + (g * t->stride[0] + h) * bits / 8;
    int64_t i;
    if (plain && bits == 32) memcpy(p, code, (size_t)m * 4);
    else if (plain && bits == 8) for (i = 0; i < m; i++) p[i] = (uint8_t)code[i];
    else for (i = 0; i < m; i++) vq__put_code(t, g, h + i, code[i]);
}

/* vq__zero_of() of n groups */
VQ__SHARED void vq__zeros_of(const vq_key *k, const float *scale, const float *lo, int64_t n,
                             int32_t *zero)
{
    vq__group of = VQ_ZERO;
    int64_t i;
    for (i = 0; i < n; i++) {
        of.lo = lo[i];
        zero[i] = vq__zero_of(k, &of, scale[i]);
    }
}

/* Zero points need a min and a max that include 0. */
VQ__SHARED void vq__include_0(vq__stats *st, int64_t m)
{
    int64_t i;
    for (i = 0; i < m; i++) {
        st->lo[i] = st->lo[i] < 0.0f ? st->lo[i] : 0.0f;
        st->hi[i] = st->hi[i] > 0.0f ? st->hi[i] : 0.0f;
    }
}

/* The same as values, and zero points. */
VQ__SHARED void vq__get_values(const vq__loops *f, const vq_tensor *t, int64_t g, int64_t h,
                               int64_t m, float *value)
{
    const int plain = t->layout == VQ_STRIDED && t->stride[1] == 1;
    int64_t i;
    if (plain && t->dtype == VQ_F32) f->load(VQ_F32, vq__at(t, g, h), m, value);
    else if (plain && (t->dtype == VQ_E8M0 || t->dtype == VQ_UE4M3))
        f->stored(t->dtype, (const uint8_t *)vq__at(t, g, h), m, value);
    else for (i = 0; i < m; i++) value[i] = vq__get(t, g, h + i);
}

VQ__SHARED void vq__get_zeros(const vq_tensor *t, int64_t g, int64_t h, int64_t m, int32_t *zero)
{
    int64_t i;
    for (i = 0; i < m; i++) zero[i] = (int32_t)vq__get(t, g, h + i);
}

VQ__SHARED void vq__put_zeros(const vq_tensor *t, int64_t g, int64_t h, int64_t m,
                              const int32_t *zero)
{
    int64_t i;
    for (i = 0; i < m; i++) vq__put_code(t, g, h + i, (uint32_t)zero[i]);
}

VQ__SHARED float vq__scalar(const vq_tensor *t, float absent)
{
    return t->rank ? vq__get(t, 0, 0) : absent;
}

/* The definition of vq_quant(), for any source of values: rows from `first`, where a group
   begins, to `rows`. */
VQ__SHARED void vq__quantize(const vq__source *src, const vq__sink *s, int64_t first,
                             int64_t rows, int64_t cols)
{
    const vq_key *k = s->key;
    const vq__loops *f = src->loops;
    const int fixed = (k->flags & VQ_KEY_STATIC) != 0, asym = (k->flags & VQ_KEY_ASYMMETRIC) != 0;
    const float bound = vq__scalar(s->bound, 0.0f), g2 = vq__scalar(s->scale2, 1.0f);
    float x[VQ__PIECE], value[VQ__GROUPS], by[VQ__GROUPS];
    uint32_t code[VQ__GROUPS];
    int32_t zero[VQ__GROUPS], *const z = asym ? zero : NULL;
    vq__stats st;
    vq__tile_of t;
    vq__span v = vq__span_of(x, VQ_F32);
    int64_t r, c, n;

    memset(&t, 0, sizeof t);
    t.g = first;                                             /* > 0: groups are rows */
    while (vq__next_tile(k, rows, cols, &t)) {
        const int kept = !fixed && t.r1 - t.r0 == 1 && t.c1 - t.c0 <= VQ__PIECE;
        if (fixed) {
            vq__get_values(f, s->scale, t.g, t.h, t.m, value);
            if (asym) vq__get_zeros(s->zero, t.g, t.h, t.m, zero);
        } else {
            vq__clear_stats(&st, t.m);
            v = vq__gather(src, &t, asym, &st, x);
            vq__include_0(&st, t.m);
            f->scales(k, st.amax, st.lo, st.hi, st.nan, t.m, bound, g2, code, value);
            vq__put_row(s->scale, t.g, t.h, t.m, code);
            if (asym) vq__zeros_of(k, value, st.lo, t.m, zero);
            if (asym) vq__put_zeros(s->zero, t.g, t.h, t.m, zero);
        }
        f->steps(k, value, st.amax, t.m, bound, g2, by);
        for (r = t.r0; r < t.r1; r++)
            for (c = t.c0; c < t.c1; c += n) {
                uint8_t *q = (uint8_t *)vq__row_of(s->q, r);
                n = vq__min64(t.c1 - c, VQ__PIECE);
                if (!kept) v = src->rows(src, r, c, n, x);
                if (f->narrow && f->narrow(k, v.type, v.at, n, t.wide, by, z, q, c)) continue;
                vq__as_f32(f, &v, n, x);
                f->codes(k, x, n, t.wide, by, z, q, c);
            }
    }
    for (r = first; r < rows; r++) vq__pad_row(s->q, r);
}

VQ__SHARED void vq__pad_scales(const vq__sink *s)
{
    if (s->key->flags & VQ_KEY_STATIC) return;
    vq__pad(s->scale);
    if (s->key->flags & VQ_KEY_ASYMMETRIC) vq__pad(s->zero);
}

/* n values of a row of codes, as type t; past: see VQ__FAST_LIST. */
VQ__SHARED void vq__dequantize_to(const vq__loops *f, const vq__coded *c, int64_t row, int64_t col,
                                  int64_t n, vq_dtype t, int past, void *out)
{
    const vq_key *k = c->key;
    const int asym = (k->flags & VQ_KEY_ASYMMETRIC) != 0;
    const float g2 = vq__scalar(c->scale2, 1.0f);
    const uint8_t *q = (const uint8_t *)vq__row_of(c->q, row);
    float s[VQ__GROUPS], zero[VQ__GROUPS], *const z = asym ? zero : NULL;
    float x[2 * VQ__STEP];                                   /* stays in the nearest cache */
    int64_t group[2], count[2], m, take;
    int straight;
    char *to = (char *)out;

    vq_key_group(k, c->q->shape[0], c->q->shape[1], group, count);
    for (; n > 0; n -= take, col += take, to += take * (vq__bits(t) / 8)) {
        const int64_t g = row / group[0], h = col / group[1], inside = col % group[1];
        const int64_t most = vq__min64(n, 2 * VQ__STEP);
        m = inside || group[1] >= most ? 1 : vq__min64(most / group[1], VQ__GROUPS);
        take = vq__min64(m * group[1] - inside, most);
        vq__get_values(f, c->scale, g, h, m, s);
        if (k->scale2_kind == VQ_SCALE2_MUL) f->scale(s, m, g2);
        if (k->scale2_kind == VQ_SCALE2_DIV) f->over(s, m, g2);
        if (asym) vq__get_values(f, c->zero, g, h, m, zero);
        if (f->widen && f->widen(k->elem, q, col, take, group[1], s, z, t, past, to)) continue;
        straight = t == VQ_F32 && (uintptr_t)to % sizeof *x == 0;
        f->values(k->elem, q, col, take, group[1], s, z, straight ? (float *)to : x);
        if (!straight) f->store(t, x, take, to);
    }
}

VQ__SHARED void vq__dequantize(const vq__loops *f, const vq__coded *c, int64_t row, int64_t col,
                               int64_t n, vq_dtype t, void *out)
{
    vq__dequantize_to(f, c, row, col, n, t, 0, out);
}

/* --- sources --------------------------------------------------------------- */

VQ__SHARED vq__span vq__rows_of_tensor(const vq__source *s, int64_t row, int64_t col, int64_t n,
                                       float *out)
{
    const vq_tensor *x = (const vq_tensor *)s->from;
    (void)n; (void)out;
    return vq__span_of(vq__at(x, row, col), x->dtype);
}

VQ__SHARED vq__span vq__rows_of_codes(const vq__source *s, int64_t row, int64_t col, int64_t n,
                                      float *out)
{
    vq__dequantize(s->loops, (const vq__coded *)s->from, row, col, n, VQ_F32, out);
    return vq__span_of(out, VQ_F32);
}

VQ__SHARED vq__source vq__source_of(const vq__loops *f, const vq_tensor *x)
{
    vq__source s;
    s.rows = vq__rows_of_tensor;
    s.loops = f;
    s.from = x;
    s.type = x->dtype;
    return s;
}

#ifndef VQ_NO_QUANT
static void vq__ref_quant(const vq__loops *f, const void *args)
{
    const vq_quant_args *a = (const vq_quant_args *)args;
    const vq__source src = vq__source_of(f, &a->x);
    const vq__sink sink = vq__sink_quant(a);
    if (vq__empty(&a->x)) return;
    vq__quantize(&src, &sink, 0, a->x.shape[0], a->x.shape[1]);
    vq__pad_scales(&sink);
}

static void vq__ref_dequant(const vq__loops *f, const void *args)
{
    const vq_dequant_args *a = (const vq_dequant_args *)args;
    const vq__coded from = vq__coded_of(&a->key, &a->q, &a->scale, &a->zero, &a->scale2);
    const int64_t rows = vq__empty(&a->q) ? 0 : a->q.shape[0], cols = a->q.shape[1];
    const int past = rows * cols >= VQ__PAST / (vq__bits(a->y.dtype) / 8);
    int64_t r;
    for (r = 0; r < rows; r++)
        vq__dequantize_to(f, &from, r, 0, cols, a->y.dtype, past, vq__at(&a->y, r, 0));
    if (past) vq__past_done();
}

static void vq__ref_requant(const vq__loops *f, const void *args)
{
    const vq_requant_args *a = (const vq_requant_args *)args;
    const vq__coded from = vq__coded_of(&a->from, &a->q, &a->scale, &a->zero, &a->scale2);
    const vq__coded to = vq__coded_of(&a->key, &a->q_out, &a->scale_out, &a->zero_out,
                                      &a->scale2_out);
    const vq__sink sink = vq__sink_requant(a);
    const int64_t rows = vq__empty(&a->q) ? 0 : a->q.shape[0], cols = a->q.shape[1];
    float v[512], w[512];
    vq_requant_result e;
    vq__source src;
    int64_t r, c, n, i;

    src.rows = vq__rows_of_codes;
    src.loops = f;
    src.from = &from;
    src.type = VQ_F32;
    if (rows) vq__quantize(&src, &sink, 0, rows, cols);
    if (rows) vq__pad_scales(&sink);
    if (!a->result) return;
    memset(&e, 0, sizeof e);
    e.changed = a->key.elem == a->from.elem ? 0 : -1;
    for (r = 0; r < rows; r++)
        for (c = 0; c < cols; c += n) {
            n = vq__min64(cols - c, VQ__COUNT(v));
            vq__dequantize(f, &from, r, c, n, VQ_F32, v);
            vq__dequantize(f, &to, r, c, n, VQ_F32, w);
            for (i = 0; i < n; i++) {
                const double was = (double)v[i], off = (double)w[i] - was;
                const int finite = vq__is_finite(v[i]) && vq__is_finite(w[i]);
                e.count++;
                e.changed += e.changed >= 0 && vq__get_code(&a->q, r, c + i)
                                               != vq__get_code(&a->q_out, r, c + i);
                e.moved += !(v[i] == w[i] || (v[i] != v[i] && w[i] != w[i]));
                e.skipped += !finite;
                if (!finite) continue;
                if ((float)(off < 0.0 ? -off : off) > e.max_error) {
                    e.max_error = (float)(off < 0.0 ? -off : off);
                    e.at[0] = r;
                    e.at[1] = c + i;
                }
                e.signal = e.signal + vq__product(was, was);
                e.noise = e.noise + vq__product(off, off);
            }
        }
    e.sqnr_db = vq_sqnr_db(e.signal, e.noise);
    *a->result = e;
}

/* log10 of a number > 0: 2^e m, m in [sqrt(1/2), sqrt(2)), log m = 2 atanh((m - 1) / (m + 1)). */
static double vq__log10(double v)
{
    double m, t, t2, sum = 0.0;
    uint64_t u;
    int e = 0, i;
    if (v < 2.3e-308) { v *= 18014398509481984.0; e = -54; }           /* 2^54 */
    memcpy(&u, &v, 8);
    e += (int)(u >> 52) - 1023;
    u = (u & 0x000fffffffffffffull) | 0x3ff0000000000000ull;
    memcpy(&m, &u, 8);
    if (m > 1.4142135623730951) { m *= 0.5; e++; }
    t = (m - 1.0) / (m + 1.0);
    t2 = t * t;
    for (i = 25; i > 0; i -= 2) sum = sum * t2 + 1.0 / i;
    return (double)e * 0.30102999566398120 + 2.0 * t * sum * 0.43429448190325183;
}

double vq_sqnr_db(double signal, double noise)
{
    const double zero = vq__opaque(0.0), most = 1.7976931348623157e308;
    if (!(signal >= 0.0) || !(noise >= 0.0) || (signal == 0.0 && noise == 0.0)
        || (signal > most && noise > most)) return zero / zero;
    if (noise == 0.0 || signal > most) return 1.0 / zero;
    if (signal == 0.0 || noise > most) return -1.0 / zero;
    return 10.0 * (vq__log10(signal) - vq__log10(noise));
}
#endif

/* ===========================================================================
   >>impl-ref-act   activations and norms: alone, or as a source that is quantized
   =========================================================================== */

/* Rounded to a type and back: what a value in between goes through. */
VQ__SHARED void vq__round_to(const vq__loops *f, vq_dtype t, float *x, int64_t n)
{
    uint16_t half[VQ__STEP];
    if (t == VQ_F32) return;
    f->store(t, x, n, half);
    f->load(t, half, n, x);
}

/* The plane e of a rank-3 tensor, as a matrix. */
VQ__SHARED vq_tensor vq__matrix(const vq_tensor *t, int64_t e)
{
    const vq_tensor w = vq__rank4(t);
    vq_tensor m = vq__plane(&w, 0, e);
    m.rank = 2;
    memcpy(m.shape, w.shape + 2, 2 * sizeof *m.shape);
    memcpy(m.stride, w.stride + 2, 2 * sizeof *m.stride);
    return m;
}

#ifndef VQ_NO_ACT
static void vq__ref_act(const vq__loops *f, const void *args)
{
    const vq_act_args *a = (const vq_act_args *)args;
    const int64_t rows = vq__empty(&a->x) ? 0 : a->x.shape[0], cols = a->x.shape[1];
    const vq_dtype as = a->y.dtype == a->x.dtype ? a->x.dtype : VQ_F32;
    float x[VQ__STEP];
    int64_t r, c, n;
    for (r = 0; r < rows; r++)
        for (c = 0; c < cols; c += n) {
            n = vq__min64(cols - c, VQ__STEP);
            f->load(a->x.dtype, vq__at(&a->x, r, c), n, x);
            f->act(a->act, as, x, n);
            f->store(a->y.dtype, x, n, vq__at(&a->y, r, c));
        }
}

/* A plane of x, and how its gate works. */
typedef struct vq__gated { const vq_tensor *x; vq__gating how; } vq__gated;

/* f(g) * u of n elements of `type` into g */
static void vq__gate_run(const vq__loops *f, const vq__gating *how, vq_dtype type, float *g,
                         const float *u, int64_t n)
{
    const float most = vq__gate_limit(how, type);
    vq__gating h = *how;
    int64_t i;
    h.mid = vq__mid_of(how->mid, type);
    if (h.mid == VQ_BF16 && h.act != VQ_ACT_SWIGLU_OAI) {
        for (i = 0; how->limit > 0.0f && i < n; i++) g[i] = vq__gate_in(g[i], most);
        f->act(h.act, VQ_BF16, g, n);
        f->gate(u, most, n, g);
    } else for (i = 0; i < n; i++) g[i] = vq__gate_of(&h, most, g[i], u[i]);
}

static vq__span vq__rows_gated(const vq__source *s, int64_t row, int64_t col, int64_t n, float *out)
{
    const vq__span all = vq__span_of(out, VQ_F32);
    const vq__gated *d = (const vq__gated *)s->from;
    const vq_tensor *x = d->x;
    const int64_t half = x->shape[x->rank - 1] / 2;
    float in[2 * VQ__STEP];
    int64_t m, i;
    for (; n > 0; n -= m, col += m, out += m) {
        m = vq__min64(n, VQ__STEP);
        if (d->how.gate == VQ_GATE_EVEN) {
            s->loops->load(x->dtype, vq__at(x, row, 2 * col), 2 * m, in);
            for (i = 0; i < m; i++) { out[i] = in[2 * i]; in[i] = in[2 * i + 1]; }
        } else {
            const int64_t second = d->how.gate == VQ_GATE_SECOND ? half : 0;
            s->loops->load(x->dtype, vq__at(x, row, second + col), m, out);
            s->loops->load(x->dtype, vq__at(x, row, half - second + col), m, in);
        }
        vq__gate_run(s->loops, &d->how, x->dtype, out, in, m);
    }
    return all;
}

static vq__source vq__source_gated(const vq__loops *f, const vq__gated *d)
{
    vq__source s = vq__source_of(f, d->x);
    s.rows = vq__rows_gated;
    s.from = d;
    s.type = vq__mid_of(d->how.mid, d->x->dtype);
    return s;
}

static void vq__ref_act_mul(const vq__loops *f, const void *args)
{
    const vq_act_mul_args *a = (const vq_act_mul_args *)args;
    const int64_t rows = vq__empty(&a->y) ? 0 : a->y.shape[0], cols = a->y.shape[1];
    vq__gated d;
    vq__source src;
    float y[VQ__STEP];
    int64_t r, c, n;
    d.x = &a->x;
    d.how = vq__gating_of(a);
    src = vq__source_gated(f, &d);
    for (r = 0; r < rows; r++)
        for (c = 0; c < cols; c += n) {
            n = vq__min64(cols - c, VQ__STEP);
            src.rows(&src, r, c, n, y);
            f->store(a->y.dtype, y, n, vq__at(&a->y, r, c));
        }
}

static void vq__ref_act_mul_quant(const vq__loops *f, const void *args)
{
    const vq_act_mul_quant_args *a = (const vq_act_mul_quant_args *)args;
    const vq__sink sink = vq__sink_of(&a->key, &a->q, &a->scale, &a->zero, &a->bound, &a->scale2);
    vq__gated d;
    vq__source src;
    d.x = &a->x;
    d.how = vq__gating_of(a);
    src = vq__source_gated(f, &d);
    if (vq__empty(&a->q)) return;
    vq__quantize(&src, &sink, 0, a->q.shape[0], a->q.shape[1]);
    vq__pad_scales(&sink);
}

static void vq__ref_masked_act_mul_quant(const vq__loops *f, const void *args)
{
    const vq_masked_act_mul_quant_args *a = (const vq_masked_act_mul_quant_args *)args;
    static const vq_tensor absent = VQ_ZERO;
    int32_t found = 0, n;
    int64_t e, r, c;
    if (vq__empty(&a->q)) return;
    for (e = 0; e < a->q.shape[0]; e++) {
        vq_tensor x = vq__matrix(&a->x, e), q = vq__matrix(&a->q, e), s = vq__matrix(&a->scale, e);
        const vq__sink sink = vq__sink_of(&a->key, &q, &s, &absent, &absent, &absent);
        vq__gated d;
        vq__source src;
        memcpy(&n, (const char *)a->counts.data + e * 4, 4);
        if (n < 0) found |= 1;
        if (n > q.shape[0]) found |= 2;
        n = n < 0 ? 0 : n > q.shape[0] ? (int32_t)q.shape[0] : n;
        d.x = &x;
        d.how = vq__gating_of(a);
        src = vq__source_gated(f, &d);
        vq__quantize(&src, &sink, 0, n, q.shape[1]);
        for (r = 0; s.layout == VQ_PACKED_UE8M0 && r < n; r++)
            for (c = s.shape[1]; c % 4; c++) vq__put_code(&s, r, c, 0);
    }
    if (a->status.rank) memcpy(a->status.data, &found, 4);
}
#endif

#ifndef VQ_NO_NORM
/* A norm of the rows of a matrix; of the last row asked for, its statistics. */
typedef struct vq__normed {
    const vq_tensor *x, *residual, *weight, *gate;           /* matrices; weight a row */
    const vq__norm  *how;
    vq_dtype         mid;
    int64_t          row;
    int              direct;                                 /* z is x, and need not be kept */
    float            mean, r;
    float            z[VQ__PIECE];                           /* of that row, unless it is longer */
} vq__normed;

/* z of a piece: x, or x and the residual. */
static void vq__norm_in(const vq__loops *f, const vq__normed *d, int64_t row, int64_t col,
                        int64_t n, float *z)
{
    float more[VQ__STEP];
    f->load(d->x->dtype, vq__at(d->x, row, col), n, z);
    if (!d->residual->rank) return;
    f->load(d->x->dtype, vq__at(d->residual, row, col), n, more);
    f->add(z, more, n);
    vq__round_to(f, d->mid, z, n);
}

/* Memory that is soon read, if it is there. */
static void vq__ahead(const char *p, int64_t from, int64_t n)
{
#if defined(__GNUC__)
    int64_t i;
    for (i = from; i < from + n; i += 64)
        __builtin_prefetch((const void *)((uintptr_t)p + (uintptr_t)i));
#else
    (void)p; (void)from; (void)n;
#endif
}

/* r of a row, and the mean of a layer norm. */
static void vq__norm_row(const vq__loops *f, vq__normed *d, int64_t row)
{
    const int64_t H = d->x->shape[1];
    float p[VQ__STEP], one[VQ__STEP], *z, s = 0.0f;
    int64_t c, n;
    int pass;
    d->row = row;
    d->mean = 0.0f;
    if (d->direct) s = vq__div(f->squares(d->x->dtype, vq__at(d->x, row, 0), H), (float)H);
    else for (pass = d->how->layer ? 0 : 1; pass < 2; pass++) {
        memset(p, 0, sizeof p);
        for (c = 0; c < H; c += n) {
            n = vq__min64(H - c, VQ__STEP);
            z = H <= VQ__PIECE ? d->z + c : one;
            if (z == one || pass == !d->how->layer) vq__norm_in(f, d, row, c, n, z);
            if (pass && d->how->layer) {
                if (z != one) memcpy(one, z, (size_t)n * sizeof *z);
                f->shift(z = one, n, d->mean);
            }
            f->sum(pass, z, n, p);
        }
        s = vq__div(vq__combine1024(p), (float)H);
        if (!pass) d->mean = s;
    }
    d->r = vq__div(1.0f, vq__sqrt(vq__add(s, d->how->eps)));
}

static vq__span vq__rows_normed(const vq__source *s, int64_t row, int64_t col, int64_t n,
                                float *out)
{
    const vq__loops *f = s->loops;
    vq__normed *d = (vq__normed *)(uintptr_t)s->from;        /* the statistics are kept in it */
    const vq_tensor *weight = d->weight;
    const int narrow = d->direct && d->mid == VQ_BF16 && d->x->dtype == VQ_BF16
                    && weight->rank && weight->dtype == VQ_BF16 && !d->gate->rank;
    const float off = d->how->plus_one ? -1.0f : 0.0f;
    char *half = (char *)out + 2 * n;
    const vq__span all = narrow ? vq__span_of(half, VQ_BF16) : vq__span_of(out, VQ_F32);
    float w[VQ__STEP], one[VQ__STEP], *to;
    int64_t m;
    if (row != d->row) vq__norm_row(f, d, row);
    for (; n > 0; n -= m, col += m, out += m, half += 2 * m) {
        const int kept = d->x->shape[1] <= VQ__PIECE && !d->direct;
        const char *at = weight->rank ? (const char *)weight->data
                                        + col * (vq__bits(weight->dtype) / 8) : NULL;
        vq__span z;
        m = vq__min64(n, VQ__STEP);
        to = narrow ? one : out;
        if (d->direct) {
            z = vq__span_of(vq__at(d->x, row, col), d->x->dtype);
            vq__ahead(vq__row_of(d->x, row + 1), col * 2, m * 2);
        } else {
            z = vq__span_of(kept ? d->z + col : to, VQ_F32);
            if (!kept) vq__norm_in(f, d, row, col, m, to);
        }
        if (narrow && f->bf16_normed(z.at, d->r, at, off, m, half)) continue;
        if (weight->rank) f->load(weight->dtype, at, m, w);
        if (weight->rank && d->how->plus_one) f->shift(w, m, off);
        if (z.type == VQ_F32 && weight->rank && d->mid == VQ_BF16 && !d->how->layer)
            f->normed((const float *)z.at, d->r, w, m, to);
        else {
            if (z.at != to) f->load(z.type, z.at, m, to);
            if (d->how->layer) f->shift(to, m, d->mean);
            f->scale(to, m, d->r);
            vq__round_to(f, d->mid, to, m);
            if (weight->rank) f->times(to, w, m);
            if (weight->rank) vq__round_to(f, d->mid, to, m);
        }
        if (narrow) f->store(VQ_BF16, to, m, half);
        if (!d->gate->rank) continue;
        f->load(d->x->dtype, vq__at(d->gate, row, col), m, w);
        f->act(VQ_ACT_SILU, d->mid, w, m);
        vq__round_to(f, d->mid, w, m);
        f->times(out, w, m);
        vq__round_to(f, d->mid, out, m);
    }
    return all;
}

static vq__source vq__source_normed(const vq__loops *f, const vq__norm *how, vq__normed *d)
{
    vq__source s;
    d->how = how;
    d->x = how->x;
    d->residual = how->residual;
    d->weight = how->weight;
    d->gate = how->gate;
    d->mid = vq__mid_of(how->mid_arg, how->x->dtype);
    d->row = -1;
    d->direct = f->squares && !how->layer && !how->residual->rank
             && how->x->shape[how->x->rank - 1] % 16 == 0;
    s.rows = vq__rows_normed;
    s.loops = f;
    s.from = d;
    s.type = d->mid;
    return s;
}

/* residual = z of a row */
static void vq__norm_keep(const vq__loops *f, const vq__normed *d, int64_t row, int64_t col,
                          int64_t n)
{
    const int kept = d->row == row && d->x->shape[1] <= VQ__PIECE;
    float one[VQ__STEP];
    int64_t m;
    for (; d->residual->rank && n > 0; n -= m, col += m) {
        m = vq__min64(n, VQ__STEP);
        if (!kept) vq__norm_in(f, d, row, col, m, one);
        f->store(d->x->dtype, kept ? d->z + col : one, m, vq__at(d->residual, row, col));
    }
}

/* y may be x: a piece of the residual is stored before x is overwritten, the statistics are
   older than both. */
static void vq__norm_all(const vq__loops *f, const vq__norm *how, const vq_tensor *y)
{
    const int64_t planes = y->rank == 3 ? y->shape[0] : 1;
    float out[VQ__STEP], more[VQ__STEP];
    vq__span v;
    int64_t e, r, c, n;
    for (e = 0; !vq__empty(y) && e < planes; e++) {
        vq_tensor x = vq__matrix(how->x, e), to = vq__matrix(y, e), residual = *how->residual,
                  gate = *how->gate;
        vq__normed d;
        vq__source s = vq__source_normed(f, how, &d);
        if (residual.rank) residual = vq__matrix(how->residual, e);
        if (gate.rank) gate = vq__matrix(how->gate, e);
        d.x = &x;
        d.residual = &residual;
        d.gate = &gate;
        for (r = 0; r < to.shape[0]; r++)
            for (c = 0; c < to.shape[1]; c += n) {
                n = vq__min64(to.shape[1] - c, VQ__STEP);
                v = s.rows(&s, r, c, n, out);
                vq__norm_keep(f, &d, r, c, n);
                if (v.type == VQ_BF16 && to.dtype == VQ_BF16)
                    memcpy(vq__at(&to, r, c), v.at, (size_t)n * 2);
                else {
                    if (v.type != VQ_F32) vq__as_f32(f, &v, n, more);
                    f->store(to.dtype, (const float *)v.at, n, vq__at(&to, r, c));
                }
            }
    }
}

static void vq__ref_rms_norm(const vq__loops *f, const void *args)
{
    const vq_rms_norm_args *a = (const vq_rms_norm_args *)args;
    vq__norm n = vq__norm_of(&a->x, &a->weight, a->eps, a->plus_one, a->mid);
    n.residual = &a->residual;
    n.gate = &a->gate;
    vq__norm_all(f, &n, &a->y);
}

static void vq__ref_layer_norm(const vq__loops *f, const void *args)
{
    const vq_layer_norm_args *a = (const vq_layer_norm_args *)args;
    vq__norm n = vq__norm_of(&a->x, &a->weight, a->eps, a->plus_one, a->mid);
    n.layer = 1;
    vq__norm_all(f, &n, &a->y);
}

static void vq__ref_rms_norm_quant(const vq__loops *f, const void *args)
{
    const vq_rms_norm_quant_args *a = (const vq_rms_norm_quant_args *)args;
    const vq__sink sink = vq__sink_of(&a->key, &a->q, &a->scale, &a->zero, &a->bound, &a->scale2);
    const vq__norm n = vq__norm_to_quant(a);
    const int64_t rows = vq__empty(&a->x) ? 0 : a->x.shape[0], cols = a->x.shape[1];
    const int alone = a->key.group_rows == 1;                /* each row by itself */
    vq__normed d;
    const vq__source src = vq__source_normed(f, &n, &d);
    int64_t r;
    for (r = 0; alone && r < rows; r++) {
        vq__quantize(&src, &sink, r, r + 1, cols);
        vq__norm_keep(f, &d, r, 0, cols);
    }
    if (!alone && rows) vq__quantize(&src, &sink, 0, rows, cols);
    for (r = 0; !alone && r < rows; r++) vq__norm_keep(f, &d, r, 0, cols);
    if (rows) vq__pad_scales(&sink);
}
#endif

/* ===========================================================================
   >>impl-ref-observe
   =========================================================================== */

vq_key vq_key_static(vq_key k)
{
    if (k.flags & VQ_KEY_STATIC) return k;
    k.flags |= VQ_KEY_STATIC;
    k.scale_rule = VQ_SCALE_GIVEN;
    k.bound_kind = VQ_BOUND_NONE;
    k.floor_kind = VQ_FLOOR_NONE;
    k.floor_value = 0.0f;
    if (k.code_rule == VQ_CODE_AMAX || k.code_rule == VQ_CODE_AMAX_AWAY) k.code_rule = VQ_CODE_DIV;
    return k;
}

#ifndef VQ_NO_OBSERVE
static void vq__ref_amax(const vq__loops *f, const void *args)
{
    const vq_amax_args *a = (const vq_amax_args *)args;
    const vq__source src = vq__source_of(f, &a->x);
    float x[VQ__PIECE];
    vq__stats st;
    vq__tile_of t;
    int64_t i;

    memset(&t, 0, sizeof t);
    while (!vq__empty(&a->x) && vq__next_tile(&a->key, a->x.shape[0], a->x.shape[1], &t)) {
        vq__clear_stats(&st, t.m);
        vq__gather(&src, &t, 0, &st, x);
        for (i = 0; i < t.m; i++) {
            uint32_t was = a->running ? vq__get_code(&a->amax, t.g, t.h + i) & 0x7fffffffu : 0u;
            if (was > 0x7f800000u || (st.nan[i] && vq__lacks_nan(a->key.elem))) was = 0x7fc00000u;
            vq__put_code(&a->amax, t.g, t.h + i, was > st.amax[i] ? was : st.amax[i]);
        }
    }
}

static void vq__ref_minmax(const vq__loops *f, const void *args)
{
    const vq_minmax_args *a = (const vq_minmax_args *)args;
    const vq__source src = vq__source_of(f, &a->x);
    const float nan = vq__f32_make(0x7fc00000u);
    float x[VQ__PIECE];
    vq__stats st;
    vq__tile_of t;
    int64_t i;

    memset(&t, 0, sizeof t);
    while (!vq__empty(&a->x) && vq__next_tile(&a->key, a->x.shape[0], a->x.shape[1], &t)) {
        vq__clear_stats(&st, t.m);
        vq__gather(&src, &t, 1, &st, x);
        for (i = 0; i < t.m; i++) {
            float lo = st.lo[i], hi = st.hi[i];
            if (a->running) {
                const float was_lo = vq__get(&a->lo, t.g, t.h + i);
                const float was_hi = vq__get(&a->hi, t.g, t.h + i);
                lo = was_lo < lo || was_lo != was_lo ? was_lo : lo;
                hi = was_hi > hi || was_hi != was_hi ? was_hi : hi;
            }
            if (lo == 0.0f) lo = 0.0f;                       /* -0 */
            if (hi == 0.0f) hi = 0.0f;
            if (st.nan[i] && vq__lacks_nan(a->key.elem)) lo = hi = nan;
            vq__put_code(&a->lo, t.g, t.h + i, vq_encode(VQ_F32, lo, VQ_SATURATE));
            vq__put_code(&a->hi, t.g, t.h + i, vq_encode(VQ_F32, hi, VQ_SATURATE));
        }
    }
}

static void vq__ref_histogram(const vq__loops *f, const void *args)
{
    const vq_histogram_args *a = (const vq_histogram_args *)args;
    const int64_t rows = vq__empty(&a->x) ? 0 : a->x.shape[0], cols = a->x.shape[1];
    const int64_t bins = a->counts.shape[1];
    const float per = vq__div((float)bins, a->limit);
    char *counts = (char *)a->counts.data;
    float x[VQ__PIECE];
    int64_t r, c, n, i, bin, v;

    if (!a->running && !vq__empty(&a->x)) memset(counts, 0, (size_t)bins * 8);
    for (r = 0; r < rows; r++)
        for (c = 0; c < cols; c += n) {
            n = vq__min64(cols - c, VQ__PIECE);
            f->load(a->x.dtype, vq__at(&a->x, r, c), n, x);
            for (i = 0; i < n; i++) {
                const uint32_t mag = vq__f32_bits(x[i]) & 0x7fffffffu;
                const float at = mag ? vq__mul(vq__f32_make(mag), per) : 0.0f;
                if (mag > 0x7f800000u) continue;
                bin = at < (float)bins ? (int64_t)at : bins - 1;
                if (bin >= bins) bin = bins - 1;
                memcpy(&v, counts + bin * 8, 8);
                v++;
                memcpy(counts + bin * 8, &v, 8);
            }
        }
}

/* Of n numbers, the one from below that `percent` of them do not exceed. */
static int64_t vq__rank(float percent, int64_t n)
{
    const double share = vq__product((double)percent, (double)n) / 100.0;
    int64_t k;
    if (!(share > 1.0)) return 1;
    if (share >= (double)n) return n;
    k = (int64_t)share;
    return k + ((double)k < share);
}

float vq_histogram_percentile(const int64_t *counts, int64_t bins, float limit, float percent)
{
    int64_t all = 0, below = 0, need, b;
    for (b = 0; b < bins; b++) all += counts[b];
    need = vq__rank(percent, all);
    if (all <= 0) return 0.0f;
    for (b = 0; b < bins - 1 && (below += counts[b]) < need; b++) {}
    return vq__mul((float)(b + 1), vq__div(limit, (float)bins));
}

/* How many numbers of a group have the bits above `shift` in common with `prefix`, by the eight
   bits there; NaN not. */
static void vq__tally(const vq__source *src, const vq__tile_of *t, uint32_t prefix, int shift,
                      float *x, int64_t count[256], int *nan)
{
    int64_t r, c, n, i;
    memset(count, 0, 256 * sizeof *count);
    for (r = t->r0; r < t->r1; r++)
        for (c = t->c0; c < t->c1; c += n) {
            vq__span v;
            n = vq__min64(t->c1 - c, VQ__PIECE);
            v = src->rows(src, r, c, n, x);
            vq__as_f32(src->loops, &v, n, x);
            for (i = 0; i < n; i++) {
                uint32_t u = vq__amax_bits(x[i], src->type);
                if (x[i] != x[i]) { *nan = 1; continue; }
                if (shift == 24 || u >> (shift + 8) == prefix) count[u >> shift & 255u]++;
            }
        }
}

static void vq__ref_percentile(const vq__loops *f, const void *args)
{
    const vq_percentile_args *a = (const vq_percentile_args *)args;
    const vq__source src = vq__source_of(f, &a->x);
    int64_t rows = a->x.shape[0], cols = a->x.shape[1], group[2], many[2], count[256], rank, i;
    float x[VQ__PIECE];
    vq__tile_of t;

    vq_key_group(&a->key, rows, cols, group, many);
    for (t.g = 0; !vq__empty(&a->x) && t.g < many[0]; t.g++)
        for (t.h = 0; t.h < many[1]; t.h++) {                /* its digits, the highest first */
            uint32_t bits = 0;
            int shift, nan = 0;
            t.r0 = t.g * group[0];
            t.r1 = group[0] < rows - t.r0 ? t.r0 + group[0] : rows;
            t.c0 = t.h * group[1];
            t.c1 = group[1] < cols - t.c0 ? t.c0 + group[1] : cols;
            for (rank = 0, shift = 24; shift >= 0; shift -= 8) {
                vq__tally(&src, &t, bits, shift, x, count, &nan);
                if (shift == 24) {
                    for (i = 0; i < 256; i++) rank += count[i];
                    if (!rank) break;
                    rank = vq__rank(a->percent, rank);
                }
                for (i = 0; count[i] < rank; i++) rank -= count[i];
                bits = bits << 8 | (uint32_t)i;
            }
            if (nan && vq__lacks_nan(a->key.elem)) bits = 0x7fc00000u;
            vq__put_code(&a->amax, t.g, t.h, bits);
        }
}

static void vq__ref_calibrate(const vq__loops *f, const void *args)
{
    const vq_calibrate_args *a = (const vq_calibrate_args *)args;
    const vq_key *k = &a->key;
    const int asym = (k->flags & VQ_KEY_ASYMMETRIC) != 0;
    const float bound = vq__scalar(&a->bound, 0.0f), g2 = vq__scalar(&a->scale2, 1.0f);
    const int64_t rows = vq__empty(&a->scale) ? 0 : a->scale.shape[0], cols = a->scale.shape[1];
    float value[VQ__GROUPS];
    uint32_t code[VQ__GROUPS];
    int32_t zero[VQ__GROUPS];
    vq__stats st;
    int64_t g, h, m, i;

    for (g = 0; g < rows; g++)
        for (h = 0; h < cols; h += m) {
            m = vq__min64(cols - h, VQ__GROUPS);
            vq__clear_stats(&st, m);
            for (i = 0; i < m; i++) {
                uint32_t u;
                if (asym) {
                    st.lo[i] = vq__get(&a->lo, g, h + i);
                    st.hi[i] = vq__get(&a->hi, g, h + i);
                    st.nan[i] = st.lo[i] != st.lo[i] || st.hi[i] != st.hi[i];
                    continue;
                }
                u = vq__get_code(&a->amax, g, h + i) & 0x7fffffffu;
                st.nan[i] = u > 0x7f800000u;
                st.amax[i] = u > 0x7f800000u ? 0u : u == 0x7f800000u ? 0x7f7fffffu : u;
            }
            vq__include_0(&st, m);
            f->scales(k, st.amax, st.lo, st.hi, st.nan, m, bound, g2, code, value);
            if (asym) vq__zeros_of(k, value, st.lo, m, zero);
            for (i = 0; i < m; i++)
                if (st.nan[i])
                    code[i] = vq_encode(k->scale_type, vq__f32_make(0x7fc00000u), VQ_SATURATE);
            vq__put_row(&a->scale, g, h, m, code);
            if (asym) vq__put_zeros(&a->zero, g, h, m, zero);
        }
    vq__pad(&a->scale);
    if (asym) vq__pad(&a->zero);
}
#endif

/* ===========================================================================
   >>impl-ref-compare
   =========================================================================== */

#ifndef VQ_NO_COMPARE
/* A code as a number that counts the steps from 0: -0 and 0 are the same. */
static int64_t vq__steps_to(vq_dtype t, uint32_t code)
{
    const uint32_t sign = 1u << (vq__bits(t) - 1);
    if (vq__is_any(t, VQ__INTS)) return (int64_t)vq_decode(t, code);
    if (t == VQ_E8M0 || t == VQ_UE4M3) return (int64_t)code;
    return code & sign ? -(int64_t)(code ^ sign) : (int64_t)code;
}

/* Puts an offender behind those that are as large or larger. */
static void vq__keep_worst(vq_comparison *e, const vq_offender *o)
{
    int i = e->worst_count < VQ__COUNT(e->worst) ? e->worst_count : VQ__COUNT(e->worst) - 1;
    if (i < e->worst_count && !(o->off > e->worst[i].off)) return;
    if (e->worst_count < VQ__COUNT(e->worst)) e->worst_count++;
    for (; i > 0 && o->off > e->worst[i - 1].off; i--) e->worst[i] = e->worst[i - 1];
    e->worst[i] = *o;
}

static void vq__compare_ranges(vq_comparison *e, int side, float v)
{
    const uint32_t mag = vq__f32_bits(v) & 0x7fffffffu;
    if (mag >= 0x7f800000u) {
        if (mag > 0x7f800000u) e->nans[side]++; else e->infs[side]++;
        return;
    }
    if (v < e->least[side]) e->least[side] = v;
    if (v > e->most[side]) e->most[side] = v;
}

/* One element. Sums are made into the means at the end. */
static void vq__compare_one(const vq_compare_args *a, vq_comparison *e, vq_offender *o,
                            uint32_t x_code, uint32_t y_code)
{
    const float x = o->x = vq_decode(a->x.dtype, x_code), y = o->y = vq_decode(a->y.dtype, y_code);
    const double size = (double)(y < 0.0f ? -y : y);
    int bad = 0;
    e->count++;
    vq__compare_ranges(e, 0, x);
    vq__compare_ranges(e, 1, y);
    e->bits_apart += a->x.dtype == a->y.dtype ? x_code != y_code
                                              : !(x == y || (x != x && y != y));
    if (x != x || y != y) { bad = (x != x) != (y != y); e->nan_apart += bad; }
    else if (!vq__is_finite(x) || !vq__is_finite(y)) { bad = x != y; e->inf_apart += bad; }
    else {
        int64_t step = vq__steps_to(a->y.dtype, y_code)
                     - vq__steps_to(a->y.dtype, vq_encode(a->y.dtype, x, VQ_SATURATE));
        if (step < 0) step = -step;
        o->off = (double)x - (double)y;
        if (o->off < 0.0) o->off = -o->off;
        bad = o->off > (double)a->atol + vq__product((double)a->rtol, size);
        e->pairs++;
        e->mean_abs += o->off;
        if (o->off > e->max_abs) e->max_abs = o->off;
        if (size > 0.0) {
            e->ulps[3]++;                                    /* pairs with y != 0, for now */
            e->mean_rel += o->off / size;
            if (o->off / size > e->max_rel) e->max_rel = o->off / size;
        }
        if (step > e->max_ulp) e->max_ulp = step;
        if (step < 3) e->ulps[step]++;
    }
    if (!bad) return;
    if (x != x || y != y || !vq__is_finite(x) || !vq__is_finite(y))
        o->off = 1.0 / vq__opaque(0.0);
    e->mismatches++;
    if (e->first_count < VQ__COUNT(e->first)) e->first[e->first_count++] = *o;
    vq__keep_worst(e, o);
}

static void vq__ref_compare(const vq__loops *f, const void *args)
{
    const vq_compare_args *a = (const vq_compare_args *)args;
    const vq_tensor x = vq__rank4(&a->x), y = vq__rank4(&a->y);
    const int skip = 4 - a->x.rank;
    int64_t at[4], valued;
    vq_comparison e;
    int i, side;

    (void)f;
    memset(&e, 0, sizeof e);
    e.rank = a->x.rank;
    for (side = 0; side < 2; side++) {
        e.least[side] = vq__f32_make(0x7f800000u);
        e.most[side] = vq__f32_make(0xff800000u);
    }
    for (at[0] = 0; !vq__empty(&x) && at[0] < x.shape[0]; at[0]++)
        for (at[1] = 0; at[1] < x.shape[1]; at[1]++) {
            const vq_tensor p = vq__plane(&x, at[0], at[1]), q = vq__plane(&y, at[0], at[1]);
            for (at[2] = 0; at[2] < x.shape[2]; at[2]++)
                for (at[3] = 0; at[3] < x.shape[3]; at[3]++) {
                    vq_offender o;
                    memset(&o, 0, sizeof o);
                    for (i = skip; i < 4; i++) o.at[i - skip] = at[i];
                    vq__compare_one(a, &e, &o, vq__get_code(&p, at[2], at[3]),
                                    vq__get_code(&q, at[2], at[3]));
                }
        }
    valued = e.ulps[3];
    e.ulps[3] = e.pairs - e.ulps[0] - e.ulps[1] - e.ulps[2];
    if (e.pairs) e.mean_abs /= (double)e.pairs;
    if (valued) e.mean_rel /= (double)valued;
    for (side = 0; side < 2; side++)
        if (e.least[side] > e.most[side]) e.least[side] = e.most[side] = 0.0f;
    if (e.count) e.mismatch_percent = vq__product(100.0, (double)e.mismatches) / (double)e.count;
    e.passed = e.mismatch_percent <= (double)a->budget;
    *a->result = e;
}

static void vq__say_offenders(vq__text *t, const char *what, const vq_comparison *c,
                              const vq_offender *o, int count)
{
    char number[96], x[40], y[40];
    int i, j;
    for (i = 0; i < count; i++) {
        vq__say(t, i ? "            [" : what);
        for (j = 0; j < c->rank; j++) vq__say_number(t, j ? ", " : "", o[i].at[j]);
        vq__float_text(x, sizeof x, o[i].x);
        vq__float_text(y, sizeof y, o[i].y);
        vq__format(number, sizeof number, "]  %s, should be %s\n", x, y);
        vq__say(t, number);
    }
}

int vq_comparison_text(const vq_comparison *c, char *out, size_t size)
{
    static const char *const side[] = { "x", "y" };
    vq__text t = vq__text_at(out, size);
    char line[160], least[40], most[40];
    int i;
    vq__say(&t, c->passed ? "passed: " : "FAILED: ");
    vq__say_number(&t, "", c->mismatches);
    vq__say_number(&t, " of ", c->count);
    vq__float_text(most, sizeof most, (float)c->mismatch_percent);
    vq__format(line, sizeof line, " mismatch (%s %%)\n", most);
    vq__say(&t, line);
    vq__say_number(&t, "  NaN apart ", c->nan_apart);
    vq__say_number(&t, ", infinity apart ", c->inf_apart);
    vq__say_number(&t, ", bits apart ", c->bits_apart);
    for (i = 0; i < 2; i++) {
        vq__float_text(least, sizeof least, c->least[i]);
        vq__float_text(most, sizeof most, c->most[i]);
        vq__format(line, sizeof line, "\n  %s         %s to %s", side[i], least, most);
        vq__say(&t, line);
        vq__say_number(&t, ", NaN ", c->nans[i]);
        vq__say_number(&t, ", infinity ", c->infs[i]);
    }
    for (i = 0; i < 2; i++) {
        vq__float_text(most, sizeof most, (float)(i ? c->max_rel : c->max_abs));
        vq__float_text(least, sizeof least, (float)(i ? c->mean_rel : c->mean_abs));
        vq__format(line, sizeof line, "\n  %s  max %s, mean %s", i ? "relative" : "|x - y| ", most,
                   least);
        vq__say(&t, line);
    }
    vq__say_number(&t, "\n  ulps      max ", c->max_ulp);
    for (i = 0; i < 4; i++) {
        static const char *const of[] = { "; 0: ", ", 1: ", ", 2: ", ", more: " };
        vq__say_number(&t, of[i], c->ulps[i]);
    }
    vq__say(&t, "\n");
    vq__say_offenders(&t, "  first     [", c, c->first, c->first_count);
    vq__say_offenders(&t, "  worst     [", c, c->worst, c->worst_count);
    return (int)t.need;
}
#endif

/* ===========================================================================
   >>impl-registry  identity from the list, policy from the table
   =========================================================================== */

#ifdef VQ__LOOPS_OPTIMIZED
#pragma GCC push_options
#pragma GCC optimize ("O1")
#endif

static const struct vq__op {
    const char     *name;
    const vq_field *fields;
    int             field_count;
    vq_status     (*check)(const void *args, vq_report *r);
    void          (*ref)(const vq__loops *f, const void *args);
} vq__ops[] = {
    { "none", NULL, 0, NULL, NULL },
#define X(ID, name) { #name, vq__fields_##name, VQ__COUNT(vq__fields_##name), \
                      vq__check_##name, vq__ref_##name },
    VQ_OPS(X)
#undef X
};

/* --- fields as text -------------------------------------------------------- */

int vq_field_read(const vq_field *f, const char *text, void *args)
{
    char *to = (char *)args + f->offset;
    const int minus = text[0] == '-';
    const char *end = NULL;
    float x = 0.0f;
    vq_key k;
    int v = -1;
    switch (f->kind) {
    case VQ_FIELD_KEY:
        if (vq_key_parse(text, &k, NULL)) return 0;
        memcpy(to, &k, sizeof k);
        return 1;
    case VQ_FIELD_TYPE: v = strcmp(text, "none") ? (int)vq_dtype_of(text) : 0;
                        if (!v && text[0] != 'n') return 0;
                        break;
    case VQ_FIELD_ACT:  v = vq_act_of(text); break;
    case VQ_FIELD_GATE: v = vq_gate_of(text); break;
    case VQ_FIELD_OVERFLOW: v = !strcmp(text, "saturate") ? VQ_SATURATE
                              : !strcmp(text, "nonfinite") ? VQ_NONFINITE : -1; break;
    case VQ_FIELD_INT:
    case VQ_FIELD_FLOAT: {
        const uint64_t was = vq__fp_enter();
        end = vq__read_number(text + minus, &x);
        vq__fp_leave(was);
        if (!end || *end) return 0;
        if (minus) x = -x;
        if (f->kind == VQ_FIELD_FLOAT) { memcpy(to, &x, sizeof x); return 1; }
        if (!(x >= -1e6f && x <= 1e6f) || (float)(int)x != x) return 0;
        v = (int)x;
        memcpy(to, &v, sizeof v);
        return 1;
    }
    default: return 0;
    }
    if (v >= 0) memcpy(to, &v, sizeof v);
    return v >= 0;
}

int vq_field_write(const vq_field *f, const void *args, char *out, size_t size)
{
    const char *from = (const char *)args + f->offset;
    char number[32];
    vq_key k;
    float x;
    int v = 0;
    if (f->kind == VQ_FIELD_KEY) {
        memcpy(&k, from, sizeof k);
        return vq_key_print(&k, out, size);
    }
    if (f->kind <= VQ_FIELD_BOTH || f->kind == VQ_FIELD_RESULT)
        return vq__format(out, size, "%s", "");
    memcpy(&v, from, sizeof v);
    memcpy(&x, from, sizeof x);
    if (f->kind == VQ_FIELD_FLOAT) vq__float_text(number, sizeof number, x);
    else vq__format(number, sizeof number, "%d", v);
    return vq__format(out, size, "%s", f->kind == VQ_FIELD_TYPE ? vq_dtype_str((vq_dtype)v)
                      : f->kind == VQ_FIELD_ACT ? vq_act_str((vq_act_kind)v)
                      : f->kind == VQ_FIELD_GATE ? vq_gate_str((vq_gate)v)
                      : f->kind == VQ_FIELD_OVERFLOW ? (v ? "nonfinite" : "saturate") : number);
}

const char *vq_op_str(vq_op op)
{
    return (unsigned)op < VQ_OP_COUNT ? vq__ops[op].name : "unknown";
}

const vq_field *vq_op_fields(vq_op op, int *count)
{
    const int known = (unsigned)op < VQ_OP_COUNT;
    *count = known ? vq__ops[op].field_count : 0;
    return known ? vq__ops[op].fields : NULL;
}

vq_op vq_op_of(const char *text)
{
    int i;
    for (i = 1; text && i < VQ_OP_COUNT; i++) if (!strcmp(text, vq__ops[i].name)) return (vq_op)i;
    return VQ_OP_NONE;
}

/* Which keys an implementation serves: a mask for each field. */
struct vq__pattern { uint32_t elems, scales, groupings, scale_rules, code_rules, ariths, parts; };

#define VQ__ASYM      1u              /* parts of a key beyond the common ones */
#define VQ__BOUND     2u
#define VQ__SCALE2    4u
#define VQ__NONFINITE 8u

static int vq__grouping(const vq_key *k)
{
    if (k->group_rows == -1) return k->group_cols == -1 ? VQ__TENSOR
                                  : k->group_cols == 1 ? VQ__CHANNEL : VQ__BLOCK;
    if (k->group_rows == 1) return k->group_cols == -1 ? VQ__TOKEN : VQ__GROUP;
    return VQ__BLOCK;
}

#define VQ__ANY_GROUPING ((1u << VQ__GROUPING_COUNT) - 1u)

VQ__SHARED const struct vq__pattern vq__any_key = { ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u };

struct vq__row {
    vq_op       op;
    const char *impl;
    vq_slot     slot;                 /* VQ_SLOT_NONE: the reference */
    const struct vq__pattern *keys;   /* NULL: the op has no key */
    uint32_t    caps, flags;
    const char *proven;               /* platforms it ran on, spaces between; NULL: any */
    size_t    (*workspace)(const void *args);          /* NULL: none */
};

#define VQ__GOOD   (VQ_ROW_BIT_EXACT | VQ_ROW_BATCH_INVARIANT)
#define VQ__GPU(op, keys, workspace) \
                                { VQ_OP_##op, "gpu", VQ_SLOT_##op, keys, 0, VQ__GOOD, \
                                  "sm_90", workspace },
#define VQ__REFERENCE(op, keys) { VQ_OP_##op, "reference", VQ_SLOT_NONE, keys, 0, VQ__GOOD, NULL, \
                                  NULL },

/* Workspace of kernels: a tensor's partial amaxes, or an amax of each group. */
VQ__SHARED size_t vq__work_codes(const vq_key *k, int64_t planes, int64_t rows, int64_t cols,
                                 int wide)
{
    const vq__route route = vq__route_of(k, planes, cols, wide);
    int64_t group[2], count[2];
    if (route == VQ__ROUTE_TENSOR) return VQ__PARTIALS * 4;
    if (route != VQ__ROUTE_ANY || (k->flags & VQ_KEY_STATIC)) return 0;
    vq_key_group(k, rows, cols, group, count);
    return (size_t)(planes * count[0] * count[1]) * 4;
}

/* And r and mean of each row, where no block holds one. k may be NULL. */
VQ__SHARED size_t vq__work_norm(const vq_key *k, const vq_tensor *x, vq_dtype mid_arg)
{
    const vq_tensor w = vq__rank4(x);
    const int wide = (mid_arg ? mid_arg : x->dtype) == VQ_F32;
    const int kept = vq__norm_kept(k, w.shape[3], wide);
    size_t bytes = kept ? 0 : (size_t)(w.shape[1] * w.shape[2]) * 8;
    if (!k) return bytes;
    if (kept) return vq__work_codes(k, 1, w.shape[2], w.shape[3], wide);
    if (!(k->flags & VQ_KEY_STATIC)) {
        int64_t group[2], count[2];
        vq_key_group(k, w.shape[2], w.shape[3], group, count);
        bytes += (size_t)(count[0] * count[1]) * 4;
    }
    return bytes;
}

#ifndef VQ_NO_QUANT
static size_t vq__work_quant(const void *args)
{
    const vq_quant_args *a = (const vq_quant_args *)args;
    return vq__work_codes(&a->key, 1, a->x.shape[0], a->x.shape[1], a->x.dtype == VQ_F32);
}

static size_t vq__work_requant(const void *args)
{
    const vq_requant_args *a = (const vq_requant_args *)args;
    int64_t group[2], count[2];
    if (a->key.flags & VQ_KEY_STATIC) return 0;
    vq_key_group(&a->key, a->q.shape[0], a->q.shape[1], group, count);
    return (size_t)(count[0] * count[1]) * 4;
}
#endif
#ifndef VQ_NO_ACT
static size_t vq__work_act_mul_quant(const void *args)
{
    const vq_act_mul_quant_args *a = (const vq_act_mul_quant_args *)args;
    return vq__work_codes(&a->key, 1, a->q.shape[0], a->q.shape[1],
                          vq__act_wide(a->act, a->mid ? a->mid : a->x.dtype, a->x.dtype));
}

static size_t vq__work_masked_act_mul_quant(const void *args)
{
    const vq_masked_act_mul_quant_args *a = (const vq_masked_act_mul_quant_args *)args;
    return vq__work_codes(&a->key, a->q.shape[0], a->q.shape[1], a->q.shape[2],
                          vq__act_wide(a->act, a->mid ? a->mid : a->x.dtype, a->x.dtype));
}
#endif
#ifndef VQ_NO_NORM
static size_t vq__work_rms_norm(const void *args)
{
    const vq_rms_norm_args *a = (const vq_rms_norm_args *)args;
    return vq__work_norm(NULL, &a->x, a->mid);
}

static size_t vq__work_layer_norm(const void *args)
{
    const vq_layer_norm_args *a = (const vq_layer_norm_args *)args;
    return vq__work_norm(NULL, &a->x, a->mid);
}

static size_t vq__work_rms_norm_quant(const void *args)
{
    const vq_rms_norm_quant_args *a = (const vq_rms_norm_quant_args *)args;
    return vq__work_norm(&a->key, &a->x, a->mid);
}
#endif

/* In the order they are tried: native, portable kernel, emulation, reference. */
static const struct vq__row vq__rows[] = {
#ifndef VQ_NO_CONVERT
    VQ__GPU(CAST, NULL, NULL)
    VQ__REFERENCE(CAST, NULL)
    VQ__GPU(FNUZ_NORMALIZE, NULL, NULL)
    VQ__REFERENCE(FNUZ_NORMALIZE, NULL)
#endif
#ifndef VQ_NO_QUANT
    VQ__GPU(QUANT, &vq__any_key, vq__work_quant)
    VQ__REFERENCE(QUANT, &vq__any_key)
    VQ__GPU(DEQUANT, &vq__any_key, NULL)
    VQ__REFERENCE(DEQUANT, &vq__any_key)
    VQ__GPU(REQUANT, &vq__any_key, vq__work_requant)
    VQ__REFERENCE(REQUANT, &vq__any_key)
#endif
#ifndef VQ_NO_ACT
    VQ__GPU(ACT, NULL, NULL)
    VQ__REFERENCE(ACT, NULL)
    VQ__GPU(ACT_MUL, NULL, NULL)
    VQ__REFERENCE(ACT_MUL, NULL)
    VQ__GPU(ACT_MUL_QUANT, &vq__any_key, vq__work_act_mul_quant)
    VQ__REFERENCE(ACT_MUL_QUANT, &vq__any_key)
    VQ__GPU(MASKED_ACT_MUL_QUANT, &vq__any_key, vq__work_masked_act_mul_quant)
    VQ__REFERENCE(MASKED_ACT_MUL_QUANT, &vq__any_key)
#endif
#ifndef VQ_NO_NORM
    VQ__GPU(RMS_NORM, NULL, vq__work_rms_norm)
    VQ__REFERENCE(RMS_NORM, NULL)
    VQ__GPU(LAYER_NORM, NULL, vq__work_layer_norm)
    VQ__REFERENCE(LAYER_NORM, NULL)
    VQ__GPU(RMS_NORM_QUANT, &vq__any_key, vq__work_rms_norm_quant)
    VQ__REFERENCE(RMS_NORM_QUANT, &vq__any_key)
#endif
#ifndef VQ_NO_OBSERVE
    VQ__REFERENCE(AMAX, &vq__any_key)
    VQ__REFERENCE(MINMAX, &vq__any_key)
    VQ__REFERENCE(HISTOGRAM, NULL)
    VQ__REFERENCE(PERCENTILE, &vq__any_key)
    VQ__REFERENCE(CALIBRATE, &vq__any_key)
#endif
#ifndef VQ_NO_SCALES
    VQ__GPU(SCALE_CONVERT, NULL, NULL)
    VQ__REFERENCE(SCALE_CONVERT, NULL)
#endif
#ifndef VQ_NO_COMPARE
    VQ__REFERENCE(COMPARE, NULL)
#endif
    { VQ_OP_NONE, "none", VQ_SLOT_NONE, NULL, 0, 0, NULL, NULL }       /* never empty */
};

struct vq__block { struct vq__block *next; void *p; size_t bytes; };

struct vq_ctx {
    vq_desc           desc;
    vq_platform       platform;
    char              arch[64], only[32];
    const vq_kernels *kernels;        /* NULL: none loaded */
    const vq__loops  *loops;          /* of the reference: for the instructions that are there */
    int               planning;       /* desc.assume: as if this version's kernels were there */
    struct vq__block *blocks;         /* of vq_mem_alloc(); with mem, under lock */
    vq_mem            mem;
    volatile int      lock;
};

static vq_status vq__pattern_field(vq_report *r, char kind, const char *arg, int found,
                                   uint32_t served)
{
    if (served >> found & 1u) return VQ_OK;
    return vq__refuse_as(r, VQ_GUARD_PATTERN, kind, arg, found, served);
}

static vq_status vq__serves(const struct vq__pattern *p, const vq_key *k, vq_report *r)
{
    if (vq__pattern_field(r, 't', "key.elem", k->elem, p->elems)
        || vq__pattern_field(r, 't', "key.scale_type", k->scale_type, p->scales)
        || vq__pattern_field(r, 'g', "the grouping", vq__grouping(k), p->groupings)
        || vq__pattern_field(r, 'r', "key.scale_rule", k->scale_rule, p->scale_rules)
        || vq__pattern_field(r, 'd', "key.code_rule", k->code_rule, p->code_rules)
        || vq__pattern_field(r, 't', "key.arith", k->arith, p->ariths)) return r->status;
    if ((k->flags & VQ_KEY_ASYMMETRIC) && !(p->parts & VQ__ASYM))
        return vq__refuse(r, VQ_GUARD_PATTERN, "key.asym", 1, 0);
    if (k->bound_kind && !(p->parts & VQ__BOUND))
        return vq__refuse(r, VQ_GUARD_PATTERN, "key.bound_kind", k->bound_kind, 0);
    if (k->scale2_kind && !(p->parts & VQ__SCALE2))
        return vq__refuse(r, VQ_GUARD_PATTERN, "key.scale2_kind", k->scale2_kind, 0);
    if (k->overflow && !(p->parts & VQ__NONFINITE))
        return vq__refuse(r, VQ_GUARD_PATTERN, "key.overflow", k->overflow, 0);
    return VQ_OK;
}

static uint32_t vq__flags_of(const vq_ctx *ctx, const struct vq__row *row, const vq__view *v)
{
    uint32_t flags = row->flags;
    if (row->proven && !vq__lists(row->proven, ctx->platform.name)) flags |= VQ_ROW_UNPROVEN;
    if (v->key && v->key->group_rows != 1 && !(v->key->flags & VQ_KEY_STATIC))
        flags &= ~VQ_ROW_BATCH_INVARIANT;
    return flags;
}

/* Does the policy allow the row of r? */
static vq_status vq__obeys(vq_report *r, uint32_t forbid, int reference)
{
    const struct { uint32_t bit; int broken; const char *name; } rule[] = {
        { VQ_FORBID_REFERENCE, reference,                             "no reference" },
        { VQ_FORBID_EMULATED,  (r->flags & VQ_ROW_EMULATED) != 0,     "no emulation" },
        { VQ_FORBID_INEXACT,   !(r->flags & VQ_ROW_BIT_EXACT),        "bit-exact only" },
        { VQ_FORBID_UNPROVEN,  (r->flags & VQ_ROW_UNPROVEN) != 0,     "proven only" }
    };
    int i;
    for (i = 0; i < VQ__COUNT(rule); i++) {
        if (!(forbid & rule[i].bit) || !rule[i].broken) continue;
        vq__refuse_name(r, VQ_GUARD_POLICY, "it", rule[i].name);
        r->found = rule[i].bit;
        return r->status;
    }
    return VQ_OK;
}

/* Would this row serve the call? Every guard asks whether a thing is there. */
static vq_status vq__try(const vq_ctx *ctx, const struct vq__row *row, const vq__view *v,
                         vq_report *r)
{
    const vq_policy *call = &v->call->policy;
    const uint32_t forbid = call->forbid | ctx->desc.policy.forbid;
    const char *only = call->only ? call->only : ctx->desc.policy.only;
    int i, gpu = row->slot != VQ_SLOT_NONE;
    vq_where reach = gpu ? VQ_DEVICE : VQ_HOST;
    uint32_t missing = row->caps & ~ctx->platform.caps;

    memset(r, 0, offsetof(vq_report, text));
    r->text[0] = 0;
    r->op = vq__ops[row->op].name;
    r->impl = row->impl;
    r->flags = vq__flags_of(ctx, row, v);

    if (only && strcmp(only, row->impl)) return vq__refuse_name(r, VQ_GUARD_ONLY, "it", only);
    if (v->key && row->keys && vq__serves(row->keys, v->key, r)) return r->status;
    if (gpu && v->result) return vq__refuse(r, VQ_GUARD_PATTERN, v->result, 1, 0);
    if (gpu && !(ctx->planning ? ctx->platform.wave > 1
                               : ctx->kernels && ctx->kernels->kernel[row->slot]))
        return vq__refuse(r, VQ_GUARD_KERNEL, "the kernel", 0, 0);
    if (missing)
        return vq__refuse(r, VQ_GUARD_CAPS, ctx->platform.name, row->caps & ~missing, missing);
    for (i = 0; i < v->count; i++) {
        vq_where at = v->arg[i].t->where;
        if (at != VQ_MANAGED && at != reach)
            return vq__refuse(r, VQ_GUARD_PLACE, v->arg[i].name, at,
                              VQ__IS(reach) | VQ__IS(VQ_MANAGED));
    }
    return vq__obeys(r, forbid, !gpu);
}

static int vq__is_impl(const char *name)
{
    int i;
    for (i = 0; i < VQ__COUNT(vq__rows); i++)
        if (vq__rows[i].op && !strcmp(vq__rows[i].impl, name)) return 1;
    return 0;
}

/* A policy that means nothing is refused, not ignored. */
static vq_status vq__check_policy(vq_report *r, const vq_policy *p)
{
    if (p->forbid & ~VQ_FORBID_ALL)
        return vq__refuse(r, VQ_GUARD_VALUE, "policy.forbid", p->forbid, VQ_FORBID_ALL);
    if (p->only && !vq__is_impl(p->only))
        return vq__refuse_name(r, VQ_GUARD_NAME, "policy.only", p->only);
    return VQ_OK;
}

/* Fills v, and checks what does not depend on pointers: the start of plan and explain. */
static vq_status vq__look(const vq_ctx *ctx, vq_op op, const void *args, vq__view *v, vq_report *r)
{
    memset(v, 0, sizeof *v);
    memset(r, 0, offsetof(vq_report, text));
    if (!args) return vq__refuse(r, VQ_GUARD_PRESENT, "args", 0, 0);
    v->call = (const vq_call *)args;                             /* the first member, always */
    if (!ctx) return vq__refuse(r, VQ_GUARD_PRESENT, "ctx", 0, 0);
    if ((unsigned)op >= VQ_OP_COUNT || op == VQ_OP_NONE)
        return vq__refuse(r, VQ_GUARD_VALUE, "op", (int64_t)op, VQ_OP_COUNT - 1);
    r->op = vq__ops[op].name;
    vq__see(v, vq__ops[op].fields, vq__ops[op].field_count, args);
    return vq__check_policy(r, &v->call->policy) ? r->status : vq__ops[op].check(args, r);
}

vq_status vq_plan(const vq_ctx *ctx, vq_op op, const void *args, vq_choice *out)
{
    vq_report r, furthest;
    vq__view v;
    int i, refused = 0;
    if (vq__look(ctx, op, args, &v, &r)) return vq__tell(&r, v.call ? v.call->report : NULL);
    if (!out) {
        vq__refuse(&r, VQ_GUARD_PRESENT, "out", 0, 0);
        return vq__tell(&r, v.call->report);
    }
    for (i = 0; i < VQ__COUNT(vq__rows); i++) {
        const struct vq__row *row = &vq__rows[i];
        if (row->op != op) continue;
        if (!vq__try(ctx, row, &v, &r)) {
            out->row = row;
            out->op = op;
            out->workspace_bytes = row->workspace ? row->workspace(args) : 0;
            return VQ_OK;
        }
        if (!refused++ || r.guard >= furthest.guard) furthest = r;     /* of equals the last */
    }
    return vq__tell(&furthest, v.call->report);
}

static vq_status vq__run_gpu(const vq_ctx *ctx, vq_slot slot, const void *args, vq_report *r)
{
    int n = ctx->kernels->current();
    const char *text;
    if (n != ctx->desc.device)
        return vq__refuse(r, VQ_GUARD_CURRENT, "the context's device", n, ctx->desc.device);
    n = ctx->kernels->kernel[slot](args);
    if (!n) return VQ_OK;
    vq__refuse(r, VQ_GUARD_LAUNCH, "the launch", n, 0);
    text = ctx->kernels->error_text(n);
    vq__copy_name(r->name, sizeof r->name, text);
    return r->status;
}

vq_status vq_run(const vq_ctx *ctx, const vq_choice *c, const void *args)
{
    const vq_call *call = (const vq_call *)args;
    vq_report r;
    vq__view v;
    vq_status s;
    memset(&r, 0, offsetof(vq_report, text));
    if (!ctx || !args || !c || !c->row) {
        vq__refuse(&r, VQ_GUARD_PRESENT, !ctx ? "ctx" : !args ? "args" : "choice", 0, 0);
        return vq__tell(&r, args ? call->report : NULL);
    }
    memset(&v, 0, sizeof v);
    vq__see(&v, vq__ops[c->op].fields, vq__ops[c->op].field_count, args);
    r.op = vq__ops[c->op].name;
    r.impl = c->row->impl;
    s = vq__check_data(&v, &r);
    if (!s && c->workspace_bytes
        && (!call->workspace || call->workspace_bytes < c->workspace_bytes))
        s = vq__refuse(&r, VQ_GUARD_WORKSPACE, "workspace",
                       call->workspace ? (int64_t)call->workspace_bytes : 0,
                       (int64_t)c->workspace_bytes);
    if (!s && c->workspace_bytes && (uintptr_t)call->workspace % 16)
        s = vq__refuse(&r, VQ_GUARD_VALUE, "workspace, its address modulo 16,",
                       (int64_t)((uintptr_t)call->workspace % 16), 0);
    if (!s && ctx->planning) s = vq__refuse(&r, VQ_GUARD_PLANNING, "the machine", 0, 0);
    if (s) return vq__tell(&r, call->report);

    if (ctx->desc.trace)
        ctx->desc.trace(ctx->desc.trace_user, VQ_BEFORE, r.op, r.impl, args, VQ_OK);
    if (c->row->slot) s = vq__run_gpu(ctx, c->row->slot, args, &r);
    else {
        uint64_t was = vq__fp_enter();
        vq__ops[c->op].ref(ctx->loops, args);
        vq__fp_leave(was);
    }
    if (ctx->desc.trace) ctx->desc.trace(ctx->desc.trace_user, VQ_AFTER, r.op, r.impl, args, s);
    return s ? vq__tell(&r, call->report) : VQ_OK;
}

const char *vq_impl_str(const vq_choice *c) { return c && c->row ? c->row->impl : "none"; }

#define X(ID, name) \
vq_status vq_##name(const vq_ctx *ctx, const vq_##name##_args *a) \
{ \
    vq_choice c; \
    vq_status s = vq_plan(ctx, VQ_OP_##ID, a, &c); \
    return s ? s : vq_run(ctx, &c, a); \
}
VQ_OPS(X)
#undef X

/* ===========================================================================
   >>impl-explain   every candidate with its verdict; reports as text and JSON
   =========================================================================== */

/* Bytes of the elements of all inputs, and of all outputs: what the formula moves. */
static void vq__count_bytes(const vq__view *v, vq_report *r)
{
    int i, j;
    for (i = 0; i < v->count; i++) {
        const vq_tensor *t = v->arg[i].t;
        int64_t n = vq__empty(t) ? 0 : vq_row_bytes(t->dtype, t->shape[t->rank - 1]);
        for (j = 0; n && j < t->rank - 1; j++)
            if (!vq__mul64(n, t->shape[j], &n)) n = INT64_MAX;
        if (v->arg[i].out && !vq__add64(r->bytes_written, n, &r->bytes_written))
            r->bytes_written = INT64_MAX;
        if (v->arg[i].out != VQ__OUT && !vq__add64(r->bytes_read, n, &r->bytes_read))
            r->bytes_read = INT64_MAX;
    }
}

vq_status vq_explain(const vq_ctx *ctx, vq_op op, const void *args, vq_report *rows, int cap,
                     int *count)
{
    vq_report r;
    vq__view v;
    int i;
    if (count) *count = 0;
    if (vq__look(ctx, op, args, &v, &r)) return vq__tell(&r, v.call ? v.call->report : NULL);
    if (!count || (cap > 0 && !rows)) {
        vq__refuse(&r, VQ_GUARD_PRESENT, count ? "rows" : "count", 0, 0);
        return vq__tell(&r, v.call->report);
    }
    for (i = 0; i < VQ__COUNT(vq__rows); i++) {
        if (vq__rows[i].op != op) continue;
        vq__try(ctx, &vq__rows[i], &v, &r);
        vq__count_bytes(&v, &r);
        if (vq__rows[i].workspace) r.workspace_bytes = (int64_t)vq__rows[i].workspace(args);
        vq__spell(&r);
        if (*count < cap) rows[*count] = r;
        ++*count;
    }
    return VQ_OK;
}

static const struct { uint32_t bit; const char *text; } vq__flag_text[] = {
    { VQ_ROW_EMULATED, "emulated" }, { VQ_ROW_BATCH_INVARIANT, "batch-invariant" },
    { VQ_ROW_BIT_EXACT, "bit-exact" }, { VQ_ROW_UNPROVEN, "unproven on this hardware" }
};

int vq_report_text(const vq_report *rows, int count, char *out, size_t size)
{
    vq__text t = vq__text_at(out, size);
    int i, j;
    for (i = 0; i < count; i++) {
        vq__say(&t, rows[i].text);
        if (rows[i].guard == VQ_GUARD_NONE) {
            for (j = 0; j < VQ__COUNT(vq__flag_text); j++)
                if (rows[i].flags & vq__flag_text[j].bit) {
                    vq__say(&t, ", ");
                    vq__say(&t, vq__flag_text[j].text);
                }
            vq__say_number(&t, "; reads ", rows[i].bytes_read);
            vq__say_number(&t, ", writes ", rows[i].bytes_written);
            vq__say_number(&t, ", workspace ", rows[i].workspace_bytes);
            vq__say(&t, " bytes");
        }
        vq__say(&t, "\n");
    }
    return (int)t.need;
}

/* One character of UTF-8 at *s, which moves behind it; 0xfffd for bytes that are none. */
static uint32_t vq__utf8(const char **s)
{
    const unsigned char *p = (const unsigned char *)*s;
    int more = *p >= 0xf0 && *p < 0xf5 ? 3 : *p >= 0xe0 && *p < 0xf0 ? 2 : *p >= 0xc2 && *p < 0xe0;
    uint32_t c = *p < 0x80 ? *p : (uint32_t)*p & (0x3fu >> more);
    int i;
    ++*s;
    if (*p >= 0x80 && !more) return 0xfffdu;
    for (i = 1; i <= more; i++) {
        if ((p[i] & 0xc0u) != 0x80u) return 0xfffdu;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if ((more == 2 && (c < 0x800u || (c >= 0xd800u && c < 0xe000u)))
        || (more == 3 && (c < 0x10000u || c > 0x10ffffu))) return 0xfffdu;
    *s += more;
    return c;
}

static void vq__say_json(vq__text *t, const char *key, const char *s)
{
    char hex[16];
    vq__say(t, "\"");
    vq__say(t, key);
    vq__say(t, "\": ");
    if (!s) { vq__say(t, "null, "); return; }
    vq__say(t, "\"");
    while (*s) {
        const char *from = s;
        unsigned c = vq__utf8(&s);
        if (c == '"' || c == '\\') vq__say(t, "\\");
        if (c >= 32 && c < 127) { vq__put_text(t, from, 1); continue; }
        if (c < 0x10000u) vq__format(hex, sizeof hex, "\\u%04x", c);
        else vq__format(hex, sizeof hex, "\\u%04x\\u%04x", 0xd7c0u + (c >> 10),
                        0xdc00u + (c & 0x3ffu));
        vq__say(t, hex);
    }
    vq__say(t, "\", ");
}

static void vq__say_value(vq__text *t, const vq_report *r, const char *key, int64_t v, int mask)
{
    char word[320];
    vq__say(t, "\"");
    vq__say(t, key);
    if (r->kind == 'n') vq__say_number(t, "\": ", v);
    else if (!r->kind || (r->kind == 's' && mask)) vq__say(t, "\": null");
    else {
        vq__text inner = *t;
        vq__value_text(word, sizeof word, r, v, mask);
        if (r->kind == 's') vq__format(word, sizeof word, "%s", r->name);
        *t = inner;
        t->need -= strlen(key) + 1;                          /* again, escaped */
        vq__say_json(t, key, word);
        return;
    }
    vq__say(t, ", ");
}

int vq_report_json(const vq_report *rows, int count, char *out, size_t size)
{
    vq__text t = vq__text_at(out, size);
    int i, j, seen;
    vq__say(&t, "[");
    for (i = 0; i < count; i++) {
        const vq_report *r = &rows[i];
        vq__say(&t, i ? ",\n {" : "\n {");
        vq__say_json(&t, "op", r->op);
        vq__say_json(&t, "impl", r->impl);
        vq__say(&t, r->guard == VQ_GUARD_NONE ? "\"runs\": true, " : "\"runs\": false, ");
        vq__say_json(&t, "status", vq_status_str(r->status));
        vq__say_json(&t, "guard", vq_guard_str(r->guard));
        vq__say_json(&t, "arg", r->arg);
        vq__say_value(&t, r, "found", r->found, 0);
        vq__say_value(&t, r, "needed", r->needed, 1);
        vq__say_value(&t, r, "nearest", r->nearest, 1);
        vq__say(&t, "\"flags\": [");
        for (j = seen = 0; j < VQ__COUNT(vq__flag_text); j++)
            if (r->flags & vq__flag_text[j].bit) {
                vq__say(&t, seen++ ? ", \"" : "\"");
                vq__say(&t, vq__flag_text[j].text);
                vq__say(&t, "\"");
            }
        vq__say(&t, "], ");
        vq__say_json(&t, "text", r->text);
        vq__say_number(&t, "\"bytes_read\": ", r->bytes_read);
        vq__say_number(&t, ", \"bytes_written\": ", r->bytes_written);
        vq__say_number(&t, ", \"workspace_bytes\": ", r->workspace_bytes);
        vq__say(&t, "}");
    }
    vq__say(&t, "\n]\n");
    return (int)t.need;
}

/* ===========================================================================
   >>impl-context   the machine, and one kernel library
   =========================================================================== */

#ifdef VQ__LOOPS_OPTIMIZED
#pragma GCC pop_options
#endif

static void vq__note(const vq_ctx *ctx, const char *who, const char *what)
{
    vq__log(ctx->desc.log, ctx->desc.log_user, who, what);
}

static vq_kernels_fn vq__linked(vq_backend b)
{
#if !defined(VQ__WEAK_ABSENT) || defined(VQ_WITH_HIP)
    if (b == VQ_HIP) return vq_kernels_hip;
#endif
#if !defined(VQ__WEAK_ABSENT) || defined(VQ_WITH_CUDA)
    if (b == VQ_CUDA) return vq_kernels_cuda;
#endif
    (void)b;
    return NULL;
}

static vq_kernels_fn vq__from_file(const vq_ctx *ctx, const char *vendor)
{
    vq_kernels_fn fn = NULL;
    char file[32], symbol[32], line[96];
    const char *why = NULL;
    void *lib;
#if defined(_WIN32)
    vq__format(file, sizeof file, "vq_%s.dll", vendor);
#else
    vq__format(file, sizeof file, "libvq_%s.so", vendor);
#endif
    vq__format(symbol, sizeof symbol, "vq_kernels_%s", vendor);
    lib = vq__open(ctx->desc.library ? ctx->desc.library : file, &why);
    if (!lib) { vq__note(ctx, vendor, why); return NULL; }
    if (!vq__symbol(lib, symbol, &fn, sizeof fn)) {
        vq__format(line, sizeof line, "skipped: the library has no symbol %s", symbol);
        vq__note(ctx, vendor, line);
        return NULL;
    }
    return fn;
}

/* Takes a kernel library if there is one, it fits, it finds a device that is in the platform
   table and that it has code for, and it computes rightly. Whatever is missing is a line in
   the log. */
static void vq__start(vq_ctx *ctx, vq_backend b)
{
    const char *vendor = vq_backend_str(b);
    vq_kernels_fn fn = ctx->desc.library ? NULL : vq__linked(b);
    const vq_kernels *k;
    vq_platform found;
    vq_report r;
    char line[320], arch[64] = "";
    int n;
    if (!fn) fn = vq__from_file(ctx, vendor);
    if (!fn) return;
    k = fn();
    memset(&r, 0, sizeof r);
    if (!k || k->abi != VQ_ABI_VERSION)
        vq__format(line, sizeof line, "skipped: built with VQ_ABI_VERSION %u, needed %d",
                 k ? (unsigned)k->abi : 0u, VQ_ABI_VERSION);
    else if (k->arch(ctx->desc.device, arch, sizeof arch))
        vq__format(line, sizeof line, "skipped: no device %d", ctx->desc.device);
    else if (vq_platform_of(arch, &found, &r))
        vq__format(line, sizeof line, "skipped: %s", r.text);
    else if (k->archs && !vq__lists(k->archs, found.name))
        vq__format(line, sizeof line, "skipped: the library has code for %s, not for %s", k->archs,
                 found.name);
    else if ((n = k->self_test(ctx->desc.device)) > 0)
        vq__format(line, sizeof line, "skipped: %s fails part %d of its self-test", arch, n);
    else if (n < 0)
        vq__format(line, sizeof line, "skipped: %s cannot run its self-test: %s", arch,
                 k->error_text(-n) ? k->error_text(-n) : "no reason given");
    else {
        ctx->kernels = k;
        ctx->platform = found;
        memcpy(ctx->arch, arch, sizeof ctx->arch);
        vq__format(line, sizeof line, "device %d is %s", ctx->desc.device, arch);
    }
    vq__note(ctx, vendor, line);
}

/* What the environment may choose, where the program did not. */
static vq_status vq__read_env(vq_ctx *ctx, vq_report *r)
{
#ifndef VQ_NO_ENV
    const char *backend = getenv("VQ_BACKEND"), *impl = getenv("VQ_IMPL");
    int b = vq_backend_of(backend);
    if (backend && *backend && ctx->desc.backend == VQ_ANY && !ctx->desc.assume) {
        if (b < 0) return vq__refuse_name(r, VQ_GUARD_NAME, "VQ_BACKEND", backend);
        ctx->desc.backend = (vq_backend)b;
    }
    if (!ctx->desc.library) ctx->desc.library = getenv("VQ_KERNELS");
    if (impl && *impl && !ctx->desc.policy.only) {
        if (!vq__is_impl(impl)) return vq__refuse_name(r, VQ_GUARD_NAME, "VQ_IMPL", impl);
        ctx->desc.policy.only = impl;
    }
#endif
    if (ctx->desc.library && !*ctx->desc.library) ctx->desc.library = NULL;
    if (vq__check_policy(r, &ctx->desc.policy)) return r->status;
    if (ctx->desc.policy.only) {
        vq__copy_name(ctx->only, sizeof ctx->only, ctx->desc.policy.only);
        ctx->desc.policy.only = ctx->only;
    }
    if ((unsigned)ctx->desc.backend >= VQ_BACKEND_COUNT)
        return vq__refuse(r, VQ_GUARD_VALUE, "desc.backend", (int)ctx->desc.backend,
                          VQ_BACKEND_COUNT - 1);
    if (ctx->desc.without >> VQ_CAP_COUNT)
        return vq__refuse(r, VQ_GUARD_VALUE, "desc.without", ctx->desc.without,
                          (1 << VQ_CAP_COUNT) - 1);
    if (ctx->desc.device < 0 || (ctx->desc.device && ctx->desc.backend == VQ_CPU))
        return vq__refuse(r, VQ_GUARD_VALUE, "desc.device", ctx->desc.device, 0);
    return VQ_OK;
}

static int vq__self_test(void)
{
    static const uint32_t operand[] = VQ__SELF_TEST_IN;
    uint32_t in[VQ__SELF_TEST_COUNT];
    int i, failed;
    uint64_t was;
    for (i = 0; i < VQ__SELF_TEST_COUNT; i++) {
        volatile uint32_t unknown = operand[i];              /* to the compiler */
        in[i] = unknown;
    }
    was = vq__fp_enter();
    failed = vq__self_test_of(in);
    vq__fp_leave(was);
    return failed;
}

static vq_status vq__choose(vq_ctx *ctx, vq_report *r)
{
    int b;
    if (vq__read_env(ctx, r)) return r->status;
    if (ctx->desc.assume) {
        if (vq__find_platform(ctx->desc.assume, &ctx->platform, r)) return r->status;
        if (ctx->desc.backend && ctx->desc.backend != ctx->platform.backend)
            return vq__refuse(r, VQ_GUARD_VALUE, "desc.backend", ctx->desc.backend,
                              ctx->platform.backend);
        vq__copy_name(ctx->arch, sizeof ctx->arch, ctx->desc.assume);
        ctx->planning = 1;
        return VQ_OK;
    }
    for (b = VQ_HIP; b < VQ_CPU && !ctx->kernels; b++)
        if (ctx->desc.backend == VQ_ANY || ctx->desc.backend == (vq_backend)b)
            vq__start(ctx, (vq_backend)b);
    if (ctx->kernels) return VQ_OK;
    if (ctx->desc.backend == VQ_HIP || ctx->desc.backend == VQ_CUDA)
        return vq__refuse_name(r, VQ_GUARD_BACKEND, "the backend",
                               vq_backend_str(ctx->desc.backend));
    vq__note(ctx, "cpu", "reference only");
    return VQ_OK;
}

vq_status vq_init(const vq_desc *desc, vq_ctx **out)
{
    vq_report r;
    vq_ctx *ctx;
    int failed;
    memset(&r, 0, sizeof r);
    if (!out) {
        vq__refuse(&r, VQ_GUARD_PRESENT, "out", 0, 0);
        return vq__tell(&r, desc ? desc->report : NULL);
    }
    *out = NULL;
    ctx = (vq_ctx *)VQ_MALLOC(sizeof *ctx);
    if (!ctx) {
        vq__refuse(&r, VQ_GUARD_ALLOC, "the context", 0, (int64_t)sizeof *ctx);
        return vq__tell(&r, desc ? desc->report : NULL);
    }
    memset(ctx, 0, sizeof *ctx);
    if (desc) ctx->desc = *desc;
    ctx->desc.report = NULL;
    ctx->platform = vq__platforms[0];
    ctx->platform.caps |= vq__cpu_caps();
    ctx->loops = vq__pick_loops(ctx->platform.caps & ~ctx->desc.without);
    memcpy(ctx->arch, "cpu", 4);
    failed = vq__self_test();
    if (failed) vq__refuse(&r, VQ_GUARD_SELFTEST, "this build", failed, 0);
    else vq__choose(ctx, &r);
    ctx->platform.caps &= ~ctx->desc.without;
    if (r.status) VQ_FREE(ctx);
    else *out = ctx;
    return vq__tell(&r, desc ? desc->report : NULL);
}

vq_platform vq_platform_in(const vq_ctx *ctx) { return ctx->platform; }
const char *vq_arch_in(const vq_ctx *ctx) { return ctx->arch; }

/* --- memory ---------------------------------------------------------------- */

static void vq__lock(vq_ctx *ctx)
{
#if defined(_MSC_VER)
    while (_InterlockedExchange((volatile long *)&ctx->lock, 1)) {}
#else
    while (__atomic_exchange_n(&ctx->lock, 1, __ATOMIC_ACQUIRE)) {}
#endif
}

static void vq__unlock(vq_ctx *ctx)
{
#if defined(_MSC_VER)
    _InterlockedExchange((volatile long *)&ctx->lock, 0);
#else
    __atomic_store_n(&ctx->lock, 0, __ATOMIC_RELEASE);
#endif
}

vq_where vq_mem_where(const vq_ctx *ctx)
{
    return ctx->kernels || (ctx->planning && ctx->platform.wave > 1) ? VQ_DEVICE : VQ_HOST;
}

void *vq_mem_alloc(vq_ctx *ctx, size_t bytes)
{
    struct vq__block *b;
    if (ctx->planning || bytes > (size_t)INT64_MAX) return NULL;
    if (ctx->kernels && ctx->kernels->current() != ctx->desc.device) return NULL;
    b = (struct vq__block *)VQ_MALLOC(sizeof *b);
    if (!b) return NULL;
    b->bytes = bytes;
    b->p = ctx->kernels ? ctx->kernels->alloc(bytes ? bytes : 1) : VQ_MALLOC(bytes ? bytes : 1);
    if (!b->p) { VQ_FREE(b); return NULL; }
    vq__lock(ctx);
    b->next = ctx->blocks;
    ctx->blocks = b;
    ctx->mem.live += (int64_t)bytes;
    if (ctx->mem.live > ctx->mem.peak) ctx->mem.peak = ctx->mem.live;
    vq__unlock(ctx);
    return b->p;
}

void vq_mem_free(vq_ctx *ctx, void *p)
{
    struct vq__block **at, *b;
    if (!p) return;
    vq__lock(ctx);
    for (at = &ctx->blocks; *at && (*at)->p != p; at = &(*at)->next) {}
    b = *at;
    if (b) { *at = b->next; ctx->mem.live -= (int64_t)b->bytes; }
    vq__unlock(ctx);
    if (!b) return;                                          /* not ours */
    if (ctx->kernels) ctx->kernels->release(p);
    else VQ_FREE(p);
    VQ_FREE(b);
}

vq_status vq_mem_copy(vq_ctx *ctx, void *dst, const void *src, size_t bytes)
{
    if (!ctx) return VQ_BAD_ARG;
    if (ctx->planning) return VQ_UNSUPPORTED;
    if (!bytes) return VQ_OK;
    if (!dst || !src) return VQ_BAD_ARG;
    if (ctx->kernels) return ctx->kernels->copy(dst, src, bytes) ? VQ_DEVICE_FAILED : VQ_OK;
    memmove(dst, src, bytes);
    return VQ_OK;
}

vq_mem vq_mem_used(const vq_ctx *ctx)
{
    vq_ctx *c = (vq_ctx *)(uintptr_t)ctx;                    /* the lock is no part of its value */
    vq_mem m;
    vq__lock(c);
    m = ctx->mem;
    vq__unlock(c);
    return m;
}

void vq_mem_reset_peak(vq_ctx *ctx)
{
    vq__lock(ctx);
    ctx->mem.peak = ctx->mem.live;
    vq__unlock(ctx);
}

void vq_free(vq_ctx *ctx)
{
    if (!ctx) return;
    while (ctx->blocks) vq_mem_free(ctx, ctx->blocks->p);
    VQ_FREE(ctx);
}

#endif /* VQ_IMPLEMENTATION */

#ifdef __cplusplus
}
#endif
#if defined(__clang__) && !defined(__HIP__) && !defined(__CUDACC__)
#pragma float_control(pop)
#elif defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#pragma GCC pop_options
#endif
#endif /* VQ_NUMERICS_INCLUDED */
#endif /* VQ_IMPLEMENTATION || VQ_KERNEL_FILE */

/* Two licences, take whichever suits.

   MIT No Attribution. Copyright 2026 the vq authors. Permission is hereby granted, free of
   charge, to any person obtaining a copy of this software and associated documentation files
   (the "Software"), to deal in the Software without restriction, including without limitation
   the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of
   the Software, and to permit persons to whom the Software is furnished to do so. The Software
   is provided "as is", without warranty of any kind, express or implied, including but not
   limited to the warranties of merchantability, fitness for a particular purpose and
   noninfringement. In no event shall the authors or copyright holders be liable for any claim,
   damages or other liability, whether in an action of contract, tort or otherwise, arising from,
   out of or in connection with the Software or the use or other dealings in the Software.

   Public domain (unlicense.org). This is free and unencumbered software released into the public
   domain. Anyone is free to copy, modify, publish, use, compile, sell, or distribute this
   software, either in source code form or as a compiled binary, for any purpose, commercial or
   non-commercial, and by any means. The software is provided "as is", without warranty of any
   kind, express or implied. */
