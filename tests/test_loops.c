/* test_loops.c - every version of the inner loops gives the bytes of the per-element definitions

   For each version that this machine can run: all codes, all 16-bit inputs, nasty and random f32,
   every preset and keys of every element, scale rule and code rule, group sizes that divide the
   versions' strides and that do not, any number of elements from 0 on, rows that begin anywhere.
   Outputs lie in a block of random bytes that is compared whole. What is computed in f32 may be any
   quiet NaN where the definition has one; everything else is compared bit by bit. */
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
#define MOST     2600                                        /* elements or groups a call */
#define EDGE     64                                          /* bytes around an output */

static const int64_t groups[] = { 1, 2, 3, 7, 16, 17, 32, 48, 64, 100, 128, 256, 1000, 5000 };
static const vq_dtype wides[] = { VQ_F32, VQ_F16, VQ_BF16 };
static const vq_dtype elems[] = {
    VQ_E4M3FN, VQ_E4M3FNUZ, VQ_E5M2, VQ_E5M2FNUZ, VQ_E2M3, VQ_E3M2, VQ_E2M1, VQ_INT8, VQ_UINT8,
    VQ_INT4, VQ_UINT4
};
static const uint32_t nasty[] = {
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x807fffff, 0x00800000, 0x80800000,
    0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7f800001, 0xff800001, 0x7fc00000, 0xffc00000,
    0x7fffffff, 0xffffffff, 0x3f800000, 0xbf800000, 0x3effffff, 0x3f000000, 0x3f000001, 0x4b000000,
    0xcb000000, 0x4affffff, 0x43e00000, 0x43e80000, 0x43e80001, 0xc3e80000, 0x43700000, 0x43780000,
    0x47600000, 0x47700000, 0x477fe000, 0x477ff000, 0x40c00000, 0x40e00000, 0x41e00000, 0x42fe0000,
    0x42ff0000, 0x3a800000, 0x3a800001, 0x3b000000, 0x37000000, 0x36800000, 0x3e800000, 0x33000000,
    0x33000001, 0x7f7f7fff, 0x7f7f8000, 0x00008000, 0x00008001, 0x00600000, 0x005fffff
};

typedef union { uint8_t bytes[EDGE + MOST * 4 + EDGE]; float align; } block;

static block     got VQ__ALIGNED, want;
static float     x[MOST], by[MOST], lo[MOST], hi[MOST], scale[MOST];
static uint32_t  amax[MOST];
static int32_t   zero[MOST];
static uint8_t   any_nan[MOST];
static vq_key    keys[4000];
static int       key_count;

static uint32_t bits_of(float v) { uint32_t u; memcpy(&u, &v, 4); return u; }
static float    make(uint32_t u) { float v; memcpy(&v, &u, 4); return v; }
static int64_t  below(int64_t n) { return (int64_t)(t_rand() % (uint32_t)n); }
static int64_t  least(int64_t a, int64_t b) { return a < b ? a : b; }

static float any_f32(void)
{
    switch (t_rand() % 6) {
    case 0:  return make(t_rand());
    case 1:  return make(nasty[t_rand() % (uint32_t)COUNT(nasty)]);
    case 2:  return (float)(int32_t)(t_rand() % 4001u - 2000u) * 0.25f;            /* ties */
    case 3:  return make((t_rand() & 0x80700000u) | (0x30000000u + (t_rand() & 0x1fff0000u)));
    default: return t_randf(-8.0f, 8.0f);
    }
}

/* A plain row, now and then: what one nasty element does to its group is not always there. */
static void fill(float *out, int64_t n)
{
    const uint32_t how = t_rand() % 4u;
    int64_t i;
    for (i = 0; i < n; i++) out[i] = how ? any_f32() : t_randf(-500.0f, 500.0f);
}

/* Both blocks the same random bytes; `at` is where the output begins, at any address. */
static void blocks(int64_t *at)
{
    size_t i;
    *at = EDGE + below(EDGE) - EDGE / 2;
    for (i = 0; i < sizeof got.bytes; i += 4) {
        uint32_t u = t_rand();
        memcpy(got.bytes + i, &u, 4);
    }
    want = got;
}

/* Compares the blocks; n f32 from `at` on may be different NaNs. */
static int same(int64_t at, int64_t n)
{
    int64_t i;
    for (i = 0; i < n; i++) {
        float a, b;
        memcpy(&a, got.bytes + at + 4 * i, 4);
        memcpy(&b, want.bytes + at + 4 * i, 4);
        if (a != a && b != b && (bits_of(a) & 0x00400000u)) memcpy(got.bytes + at + 4 * i, &b, 4);
    }
    return !memcmp(&got, &want, sizeof got);
}

static int64_t any_count(void)
{
    static const int64_t edge[] = { 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1023,
                                    1024, 1025, 2047, 2048, 2049, MOST };
    const uint32_t how = t_rand() % 8u;
    if (how == 0) return edge[t_rand() % (uint32_t)COUNT(edge)];
    return how < 6 ? below(200) : below(MOST + 1);
}

static void add_key(vq_key k)
{
    if (key_count < COUNT(keys) && vq_key_check(&k, NULL) == VQ_OK) keys[key_count++] = k;
}

/* Every preset, and each element under each rule with options drawn at random. */
static void make_keys(void)
{
    static const vq_dtype types[] = { VQ_F32, VQ_F16, VQ_BF16, VQ_E8M0, VQ_UE4M3 };
    int i, r, c, n;
    if (key_count) return;
    for (i = 0; i < VQ_KEY_COUNT; i++) add_key(vq_key_preset((vq_key_id)i));
    for (i = 0; i < COUNT(elems); i++)
        for (r = 0; r < VQ_SCALE_RULE_COUNT; r++)
            for (c = 0; c < VQ_CODE_RULE_COUNT; c++)
                for (n = 0; n < 12; n++) {
                    vq_key k = keys[0];
                    memset(&k, 0, sizeof k);
                    k.elem = elems[i];
                    k.scale_type = types[t_rand() % 5u];
                    k.group_rows = 1;
                    k.group_cols = 32;
                    k.scale_rule = (vq_scale_rule)r;
                    k.code_rule = (vq_code_rule)c;
                    k.code_max = vq_dtype_max(k.elem);
                    if (t_rand() % 4u == 0) k.code_max = k.elem >= VQ_INT8 ? 5.0f : 5.5f;
                    k.flags = r == VQ_SCALE_GIVEN ? VQ_KEY_STATIC : 0;
                    if (r == VQ_SCALE_RANGE || (k.flags && k.elem >= VQ_INT8 && t_rand() % 2u))
                        k.flags |= VQ_KEY_ASYMMETRIC;
                    k.arith = t_rand() % 8u ? VQ_F32 : VQ_BF16;
                    if (!k.flags) k.bound_kind = (vq_bound_kind)(t_rand() % VQ_BOUND_COUNT);
                    if (!k.flags) k.floor_kind = (vq_floor_kind)(t_rand() % VQ_FLOOR_COUNT);
                    if (k.floor_kind) k.floor_value = t_randf(1e-6f, 3.0f);
                    if (!(k.flags & VQ_KEY_ASYMMETRIC))
                        k.scale2_kind = (vq_scale2_kind)(t_rand() % VQ_SCALE2_COUNT);
                    k.nan_rule = t_rand() % 2u ? VQ_NAN_MAX : VQ_NAN_KEEP;
                    if (k.elem <= VQ_E5M2FNUZ) k.overflow = (vq_overflow)(t_rand() % 2u);
                    add_key(k);
                }
}

static const char *text_of(const vq_key *k)
{
    static char text[256];
    vq_key_print(k, text, sizeof text);
    return text;
}

/* The versions that run here, one after another. */
static const vq__loops *version(int i)
{
    const uint32_t caps = vq__cpu_caps();
    int j;
    for (j = 0; j < COUNT(vq__loops_of); j++)
        if (!(vq__loops_of[j].caps & ~caps) && !i--) return vq__loops_of + j;
    return NULL;
}
#define VERSIONS(l, i) for (i = 0; (l = version(i)) != NULL; i++)

static void the_last_version_needs_nothing(void)
{
    int i, j, n = COUNT(vq__loops_of);
    CHECK(n >= 1 && vq__loops_of[n - 1].caps == 0 && !strcmp(vq__loops_of[n - 1].name, "plain"));
    for (i = 0; i < n; i++)
        for (j = 0; j < i; j++) {
            CHECK(strcmp(vq__loops_of[i].name, vq__loops_of[j].name));
            CHECK(vq__loops_of[j].caps & ~vq__loops_of[i].caps);       /* or i is never taken */
        }
    for (i = 0; version(i); i++) printf("%s ", version(i)->name);
}

static void every_16_bit_input_loads_and_comes_back(void)
{
    static uint16_t in[65536 + 1];
    static float out[65536];
    static uint16_t back[65536];
    const vq__loops *l;
    int v, t, i, off;
    VERSIONS(l, v)
        for (t = 1; t < 3; t++)
            for (off = 0; off < 2; off++) {
                for (i = 0; i < 65536; i++) {
                    uint16_t h = (uint16_t)i;
                    memcpy((char *)in + off + 2 * i, &h, 2);
                }
                l->load(wides[t], (char *)in + off, 65536, out);
                l->store(wides[t], out, 65536, back);
                for (i = 0; i < 65536; i++) {
                    float d = vq_decode(wides[t], (uint32_t)i);
                    CHECKF(bits_of(out[i]) == bits_of(d), "%s %s 0x%04x", l->name,
                           vq_dtype_str(wides[t]), (unsigned)i);
                    CHECKF(back[i] == vq_encode(wides[t], d, VQ_NONFINITE), "%s %s 0x%04x", l->name,
                           vq_dtype_str(wides[t]), (unsigned)i);
                }
            }
}

static void any_run_loads_and_stores_as_one_by_one(void)
{
    const vq__loops *l;
    int v, t, round;
    int64_t n, i, at;
    VERSIONS(l, v)
        for (t = 0; t < 3; t++)
            for (round = 0; round < 600; round++) {
                const int size = vq__bits(wides[t]) / 8;
                n = round < 140 ? round : any_count();
                fill(x, n);
                blocks(&at);
                l->store(wides[t], x, n, got.bytes + at);
                for (i = 0; i < n; i++)
                    vq_code_put(want.bytes + at, size * 8, i,
                                vq_encode(wides[t], x[i], VQ_NONFINITE));
                CHECKF(same(0, 0), "store %s %s n %d", l->name, vq_dtype_str(wides[t]), (int)n);

                blocks(&at);
                n = least(n, MOST - 1);
                l->load(wides[t], (char *)x + round % 3, n, (float *)(got.bytes + EDGE));
                for (i = 0; i < n; i++) {
                    float d = vq_decode(wides[t], vq_code_get((char *)x + round % 3, size * 8, i));
                    memcpy(want.bytes + EDGE + 4 * i, &d, 4);
                }
                CHECKF(same(0, 0), "load %s %s n %d", l->name, vq_dtype_str(wides[t]), (int)n);
            }
}

/* Of two that are equal -0 is the smaller. */
static int smaller(float a, float b)
{
    return a < b || (a == b && bits_of(a) >> 31 && !(bits_of(b) >> 31));
}

/* Extremes are added to: what is there counts too. */
static void amax_and_range_skip_nan_and_keep_infinity(void)
{
    static uint32_t a[2][MOST];
    static float    l2[2][MOST], h2[2][MOST];
    static uint8_t  n2[3][MOST];
    const vq__loops *l;
    int v, g, round;
    int64_t n, i;
    VERSIONS(l, v)
        for (g = 0; g < COUNT(groups); g++)
            for (round = 0; round < 120; round++) {
                const int fresh = round % 2;
                n = round < 70 ? round : any_count();
                fill(x, n);
                for (i = 0; i < MOST; i++) {
                    a[0][i] = a[1][i] = t_rand() % 3u ? 0 : bits_of(t_randf(0.0f, 9.0f));
                    l2[0][i] = l2[1][i] = fresh ? make(0x7f800000) : t_randf(-9.0f, 9.0f);
                    h2[0][i] = h2[1][i] = fresh ? make(0xff800000) : t_randf(-9.0f, 9.0f);
                    n2[0][i] = n2[1][i] = n2[2][i] = t_rand() % 9u == 0;
                }
                l->amax(x, n, groups[g], a[0], n2[0]);
                l->range(x, n, groups[g], l2[0], h2[0], n2[1]);
                for (i = 0; i < n; i++) {
                    const int64_t at = i / groups[g];
                    const uint32_t mag = bits_of(x[i]) & 0x7fffffffu;
                    if (x[i] != x[i]) { n2[2][at] = 1; continue; }
                    if (mag > a[1][at]) a[1][at] = mag;
                    if (smaller(x[i], l2[1][at])) l2[1][at] = x[i];
                    if (smaller(h2[1][at], x[i])) h2[1][at] = x[i];
                }
                CHECKF(!memcmp(a[0], a[1], sizeof a[0]), "amax %s n %d group %d", l->name, (int)n,
                       (int)groups[g]);
                CHECKF(!memcmp(l2[0], l2[1], sizeof l2[0]), "lo %s n %d group %d", l->name, (int)n,
                       (int)groups[g]);
                CHECKF(!memcmp(h2[0], h2[1], sizeof h2[0]), "hi %s n %d group %d", l->name, (int)n,
                       (int)groups[g]);
                CHECKF(!memcmp(n2[0], n2[2], sizeof n2[0]) && !memcmp(n2[1], n2[2], sizeof n2[0]),
                       "nan %s n %d group %d", l->name, (int)n, (int)groups[g]);
            }
}

/* n halves or floats that begin anywhere, and as f32 in x. A row in four has no NaN. */
static const void *spread(vq_dtype t, int64_t n, int numbers)
{
    static uint8_t as[MOST * 4 + 8];
    const int64_t off = below(4);
    const uint32_t inf = vq_encode(t, make(0x7f800000), VQ_NONFINITE), sign = t == VQ_F32 ? 31 : 15;
    int64_t i;
    fill(x, n);
    for (i = 0; i < n; i++) {
        uint32_t c;
        if (numbers && x[i] != x[i]) x[i] = -0.0f;
        c = vq_encode(t, x[i], VQ_NONFINITE);
        if (x[i] != x[i]) c = (inf | 1u << t_rand() % 7u) | t_rand() % 2u << sign;     /* any NaN */
        x[i] = vq_decode(t, c);
        vq_code_put(as + off, vq__bits(t), i, c);
    }
    return as + off;
}

static int has_nan(int64_t n)
{
    int64_t i;
    for (i = 0; i < n && x[i] == x[i]; i++) {}
    return i < n;
}

/* 0 to 140, and any; of which every other is a multiple of 32. */
static int64_t count_of(int round)
{
    const int64_t n = round <= 140 ? round : any_count();
    return round % 2 ? n : n / 32 * 32;
}

static void peaks_and_ranges_equal_the_loops(void)
{
    static uint32_t a[2][MOST];
    static float    l2[2][MOST], h2[2][MOST];
    static uint8_t  nan[MOST];
    const vq__loops *l;
    int v, t, g, round, served = 0;
    int64_t n, i;
    VERSIONS(l, v)
        for (t = 0; t < 3 && l->peaks; t++)
            for (g = 0; g < COUNT(groups); g++)
                for (round = 0; round < 200; round++) {
                    const int64_t group = groups[g];
                    const void *in = spread(wides[t], n = count_of(round), round % 3);
                    const int must = !has_nan(n) && n % 32 == 0
                                  && (group == 1 || group % 16 == 0 || group >= n);
                    int peaks, ranges;
                    for (i = 0; i < MOST; i++) {
                        a[0][i] = a[1][i] = t_rand() % 3u ? 0 : bits_of(t_randf(0.0f, 9.0f));
                        l2[0][i] = l2[1][i] = round % 2 ? make(0x7f800000) : t_randf(-9.0f, 9.0f);
                        h2[0][i] = h2[1][i] = round % 2 ? make(0xff800000) : t_randf(-9.0f, 9.0f);
                    }
                    peaks = l->peaks(wides[t], in, n, group, a[0]);
                    ranges = l->ranges(wides[t], in, n, group, l2[0], h2[0]);
                    l->amax(x, n, group, a[1], nan);
                    l->range(x, n, group, l2[1], h2[1], nan);
                    served += peaks + ranges;
                    CHECKF(!must || peaks, "peaks %s n %d group %d", l->name, (int)n, (int)group);
                    CHECKF(!must || ranges || !t || group == 1, "ranges %s n %d group %d", l->name,
                           (int)n, (int)group);
                    CHECKF(!has_nan(n) || (!peaks && !ranges), "NaN %s", l->name);
                    if (!peaks) l->amax(x, n, group, a[0], nan);         /* as callers do */
                    if (!ranges) l->range(x, n, group, l2[0], h2[0], nan);
                    CHECKF(!memcmp(a[0], a[1], sizeof a[0]), "peaks %s %s n %d group %d", l->name,
                           vq_dtype_str(wides[t]), (int)n, (int)group);
                    CHECKF(!memcmp(l2[0], l2[1], sizeof l2[0])
                           && !memcmp(h2[0], h2[1], sizeof h2[0]), "ranges %s %s n %d group %d",
                           l->name, vq_dtype_str(wides[t]), (int)n, (int)group);
                }
    printf("%d ", served);
}

/* What the extremes of a group can be: no NaN, and infinity made finite. */
static void fill_groups(int64_t n)
{
    int64_t i;
    for (i = 0; i < n; i++) {
        uint32_t mag = bits_of(any_f32()) & 0x7fffffffu;
        amax[i] = mag >= 0x7f800000u ? 0x7f7fffffu : t_rand() % 8u ? mag : mag & 0x7f800000u;
        lo[i] = t_rand() % 6u ? -make(amax[i] / 2u) : 0.0f;
        hi[i] = t_rand() % 6u ? make(amax[i]) : 0.0f;
        any_nan[i] = t_rand() % 8u == 0;
    }
}

static void scales_of_every_key_equal_the_definition(void)
{
    static uint32_t code[MOST];
    const vq__loops *l;
    int v, j, round;
    int64_t n, i;
    make_keys();
    VERSIONS(l, v)
        for (j = 0; j < key_count; j++)
            for (round = 0; round < 5 && !(keys[j].flags & VQ_KEY_STATIC); round++) {
                const vq_key *k = keys + j;
                const float bound = any_f32();
                const float g2 = k->scale2_kind ? any_f32() : 1.0f;
                int bad = 0;
                n = round ? below(100) : below(2000);
                fill_groups(n);
                blocks(&i);
                memset(code, 0xa5, sizeof code);
                l->scales(k, amax, lo, hi, any_nan, n, bound, g2, code, scale);
                for (i = 0; i < n; i++) {
                    vq__group of;
                    uint32_t c;
                    float s;
                    of.amax = amax[i];
                    of.lo = lo[i];
                    of.hi = hi[i];
                    of.nan = any_nan[i];
                    c = vq__scale_of(k, &of, vq__amax_of(k, amax[i], bound), bound, g2);
                    s = vq_decode(k->scale_type, c);
                    bad += s != s && k->scale_type == VQ_F32 ? scale[i] == scale[i] : c != code[i];
                    bad += bits_of(scale[i]) != bits_of(vq_decode(k->scale_type, code[i]));
                }
                CHECKF(!bad && code[n] == 0xa5a5a5a5u, "%s n %d %s", l->name, (int)n, text_of(k));
            }
}

static void steps_of_every_key_equal_the_definition(void)
{
    const vq__loops *l;
    int v, j, round;
    int64_t n, i;
    make_keys();
    VERSIONS(l, v)
        for (j = 0; j < key_count; j++)
            for (round = 0; round < 5; round++) {
                const vq_key *k = keys + j;
                const float bound = any_f32(), g2 = k->scale2_kind ? any_f32() : 1.0f;
                const int has = !(k->flags & VQ_KEY_STATIC) && k->scale_rule != VQ_SCALE_RANGE;
                n = round ? below(100) : below(2000);
                fill_groups(n);
                for (i = 0; i < n; i++)
                    scale[i] = vq_decode(k->scale_type,
                                         vq_encode(k->scale_type, any_f32(), VQ_SATURATE));
                blocks(&i);
                l->steps(k, scale, has ? amax : NULL, n, bound, g2, (float *)(got.bytes + EDGE));
                for (i = 0; i < n; i++) {
                    float a = has ? vq__amax_of(k, amax[i], bound) : 0.0f;
                    vq__step t = vq__step_of(k, scale[i], a, g2);
                    memcpy(want.bytes + EDGE + 4 * i, &t.by, 4);
                }
                CHECKF(same(EDGE, n), "%s n %d %s", l->name, (int)n, text_of(k));
            }
}

static void one_run_of_codes(const vq__loops *l, const vq_key *k, int64_t n, int64_t group)
{
    const int asym = (k->flags & VQ_KEY_ASYMMETRIC) != 0, bits = vq__bits(k->elem);
    const int64_t first = below(12);
    int64_t i, at;
    fill(x, n);
    for (i = 0; i < (n + group - 1) / group; i++) {
        by[i] = t_rand() % 4u ? t_randf(0.004f, 3.0f) : any_f32();
        zero[i] = asym ? (int32_t)vq_decode(k->elem, t_rand()) : 0;
    }
    blocks(&at);
    l->codes(k, x, n, group, by, asym ? zero : NULL, got.bytes + at, first);
    for (i = 0; i < n; i++) {
        vq__step t = vq__step_rule(k);
        t.by = by[i / group];
        t.zero = asym ? zero[i / group] : 0;
        vq_code_put(want.bytes + at, bits, first + i, vq__code_of(k, x[i], t));
    }
    CHECKF(same(0, 0), "%s n %d group %d first %d %s", l->name, (int)n, (int)group, (int)first,
           text_of(k));
}

static void codes_of_every_key_equal_the_definition(void)
{
    const vq__loops *l;
    int v, j, g;
    make_keys();
    VERSIONS(l, v)
        for (j = 0; j < key_count; j++)
            for (g = 0; g < 3; g++)
                one_run_of_codes(l, keys + j, any_count(),
                                 groups[t_rand() % (uint32_t)COUNT(groups)]);
}

static void codes_of_every_length_and_group_equal_the_definition(void)
{
    static const vq_key_id ids[] = { VQ_KEY_FP8_GROUP128, VQ_KEY_MXFP6_E3M2, VQ_KEY_MXFP4,
                                     VQ_KEY_INT8_TOKEN_AZP, VQ_KEY_INT4_STATIC_ASYM };
    const vq__loops *l;
    int v, j, g;
    int64_t n;
    VERSIONS(l, v)
        for (j = 0; j < COUNT(ids); j++) {
            const vq_key k = vq_key_preset(ids[j]);
            for (g = 0; g < COUNT(groups); g++)
                for (n = 0; n <= 140; n++) one_run_of_codes(l, &k, n, groups[g]);
        }
}

/* Whether vq__narrow() is meant for it, if nothing is a NaN or far beyond the codes. */
static int narrows(const vq_key *k, int64_t n, int64_t group, int64_t first)
{
    const int whole = k->elem == VQ_INT8 || k->elem == VQ_UINT8, div = k->code_rule == VQ_CODE_DIV;
    const int exact = k->scale_type == VQ_E8M0 && !k->scale2_kind && !whole;
    const int fits = whole ? k->code_max == vq_dtype_max(k->elem) : k->elem < VQ_INT8;
    return n % 32 == 0 && (group == 1 || group % 32 == 0 || group >= n
                           || (group == 16 && (!div || exact)))
        && first * vq__bits(k->elem) % 8 == 0 && k->arith == VQ_F32 && fits
        && k->code_rule != VQ_CODE_DIV_TRUNC && k->code_rule != VQ_CODE_AMAX_AWAY
        && (whole ? group > 1 || !(k->flags & VQ_KEY_ASYMMETRIC)
                  : k->overflow == VQ_SATURATE);
}

static int one_narrow_run(const vq__loops *l, const vq_key *k, vq_dtype t, int64_t n,
                          int64_t group, int tame)
{
    const int asym = (k->flags & VQ_KEY_ASYMMETRIC) != 0, bits = vq__bits(k->elem);
    const int exact = k->scale_type == VQ_E8M0 && !k->scale2_kind;
    const int64_t first = below(12);
    const void *in = spread(t, n, tame);
    int64_t i, at;
    int served;
    for (i = 0; tame && i < n; i++)
        if (!(x[i] > -1e5f && x[i] < 1e5f)) { x[i] = 0.25f; vq_code_put((void *)(uintptr_t)in,
                vq__bits(t), i, vq_encode(t, 0.25f, VQ_NONFINITE)); }
    for (i = 0; i < (n + group - 1) / group; i++) {
        by[i] = tame || t_rand() % 4u ? t_randf(0.004f, 3.0f) : any_f32();
        if (exact) by[i] = vq_decode(VQ_E8M0, tame ? 120u + t_rand() % 20u : t_rand() % 256u);
        zero[i] = asym ? (int32_t)vq_decode(k->elem, t_rand()) : 0;
    }
    blocks(&at);
    served = l->narrow(k, t, in, n, group, by, asym ? zero : NULL, got.bytes + at, first);
    CHECKF(served || !tame || !narrows(k, n, group, first), "not served: %s n %d group %d first %d %s",
           l->name, (int)n, (int)group, (int)first, text_of(k));
    if (!served) return 0;
    for (i = 0; i < n; i++) {
        vq__step s = vq__step_rule(k);
        s.by = by[i / group];
        s.zero = asym ? zero[i / group] : 0;
        vq_code_put(want.bytes + at, bits, first + i, vq__code_of(k, x[i], s));
    }
    CHECKF(same(0, 0), "narrow %s %s n %d group %d first %d tame %d %s", l->name, vq_dtype_str(t),
           (int)n, (int)group, (int)first, tame, text_of(k));
    return 1;
}

static void what_narrow_serves_has_the_codes_of_the_definition(void)
{
    const vq__loops *l;
    int v, j, t, round, served = 0;
    make_keys();
    VERSIONS(l, v)
        for (j = 0; j < key_count && l->narrow; j++)
            for (t = 0; t < 3; t++)
                for (round = 0; round < (j < VQ_KEY_COUNT ? 40 : 5); round++)
                    served += one_narrow_run(l, keys + j, wides[t], round % 5 < 4
                                             ? 32 * below(MOST / 32 + 1) : any_count(),
                                             groups[t_rand() % (uint32_t)COUNT(groups)], round % 2);
    printf("%d ", served);
}

/* c/2^k of an odd c of up to 9 bits lies between two codes; x/s comes nearest to where f32 rounds to
   it, of all numbers, if s is next to a multiple of 2^(24-k) and x next to s c/2^k. */
static void quotients_next_to_ties_get_the_code_of_the_definition(void)
{
    static const int powers[] = { -16, -10, -8, -6, -3, 0, 2, 4, 6, 7 };
    static float   ties[32 * COUNT(powers)];
    static uint8_t code[COUNT(ties)];
    const vq__loops *l = version(0);
    int e, u, j, i, n, bad;
    int64_t c;
    for (e = 0; e < COUNT(elems) && l->narrow; e++) {
        const int k = elems[e] < VQ_INT8 ? 4 : 8, step_c = elems[e] < VQ_INT8 ? 1 : 16;
        vq_key key = VQ_ZERO;
        vq__step step;
        key.elem = elems[e];
        key.code_max = vq_dtype_max(key.elem);
        key.scale_type = key.arith = VQ_F32;
        key.code_rule = VQ_CODE_DIV;
        step = vq__step_rule(&key);
        for (u = 1 << (k - 1); u <= 1 << k; u++)
            for (j = -4; j <= 4; j++)
                for (c = (int64_t)1 << k; c < (int64_t)2 << k; c += step_c) {
                    const int64_t s = ((int64_t)u << (24 - k)) + j;
                    if (s < 1 << 23 || s >= 1 << 24) continue;
                    step.by = (float)s;
                    for (i = 0; i < COUNT(ties); i++) {      /* 16 neighbours, from half of it on */
                        const int64_t odd = c + below(step_c), at = (odd * s >> k) + i % 4 - 1;
                        const int half = i / 4 % 2 || at >= 1 << 24;
                        const float v = (float)(half ? (odd * s >> (k + 1)) + i % 4 - 1 : at);
                        ties[i] = v * make((uint32_t)(127 + powers[i % COUNT(powers)]) << 23);
                    }
                    n = COUNT(ties);
                    if (!l->narrow(&key, VQ_F32, ties, n, n, &step.by, NULL, code, 0)) continue;
                    for (i = bad = 0; i < n; i++)
                        bad += vq_code_get(code, vq__bits(key.elem), i)
                            != vq__code_of(&key, ties[i], step);
                    CHECKF(!bad, "%s over %d: %d wrong", vq_dtype_str(key.elem), (int)s, bad);
                }
    }
}

/* As bf16 or f16 comes in: each of them, by 1 and by what is no power of two. */
static void every_16_bit_input_gets_the_code_of_the_definition(void)
{
    static uint16_t in[65536];
    static float    wide[65536];
    static uint8_t  code[65536];
    static const float steps[] = { 1.0f, 0.0123f };
    const vq__loops *l;
    int v, t, e, s, o, i, j;
    for (i = 0; i < 65536; i++) in[i] = (uint16_t)i;
    VERSIONS(l, v)
        for (t = 1; t < 3; t++)
            for (e = 0; e < COUNT(elems); e++)
                for (s = 0; s < 2; s++)
                    for (o = 0; o < (elems[e] <= VQ_E5M2FNUZ ? 2 : 1); o++) {
                        vq_key k = VQ_ZERO;
                        vq__step step;
                        int bad = 0;
                        k.elem = elems[e];
                        k.code_max = vq_dtype_max(k.elem);
                        k.arith = VQ_F32;
                        k.overflow = (vq_overflow)o;
                        k.code_rule = VQ_CODE_DIV;
                        step = vq__step_rule(&k);
                        step.by = steps[s];
                        l->load(wides[t], in, 65536, wide);
                        l->codes(&k, wide, 65536, 65536, &step.by, NULL, code, 0);
                        for (i = 0; i < 65536; i++)
                            bad += vq_code_get(code, vq__bits(k.elem), i)
                                != vq__code_of(&k, vq_decode(wides[t], (uint32_t)i), step);
                        CHECKF(!bad, "%s %s to %s, %d wrong", l->name, vq_dtype_str(wides[t]),
                               vq_dtype_str(k.elem), bad);
                        for (i = 0; l->narrow && i < 65536; i += 32) {   /* and where NaN is not */
                            if (!l->narrow(&k, wides[t], in + i, 32, 32, &step.by, NULL, code, 0))
                                continue;
                            for (j = bad = 0; j < 32; j++)
                                bad += vq_code_get(code, vq__bits(k.elem), j)
                                    != vq__code_of(&k, vq_decode(wides[t], (uint32_t)(i + j)),
                                                   step);
                            CHECKF(!bad, "narrow %s %s to %s at 0x%04x", l->name,
                                   vq_dtype_str(wides[t]), vq_dtype_str(k.elem), i);
                        }
                    }
}

static void values_of_every_code_equal_the_definition(void)
{
    static uint8_t row[MOST + 16];
    const vq__loops *l;
    int v, e, g, round;
    int64_t n, i, first;
    VERSIONS(l, v)
        for (e = 0; e < COUNT(elems); e++)
            for (g = 0; g < COUNT(groups); g++)
                for (round = 0; round < 60; round++) {
                    const int bits = vq__bits(elems[e]), asym = round % 2;
                    n = round < 20 ? round : round == 20 ? 512 : any_count();
                    first = round == 20 ? 0 : below(12);
                    for (i = 0; i < COUNT(row); i++) row[i] = (uint8_t)(round == 20 ? i : t_rand());
                    for (i = 0; i < (n + groups[g] - 1) / groups[g]; i++) {
                        scale[i] = t_rand() % 4u ? t_randf(0.004f, 3.0f) : any_f32();
                        by[i] = vq_decode(elems[e], t_rand());
                    }
                    blocks(&i);
                    l->values(elems[e], row, first, n, groups[g], scale, asym ? by : NULL,
                              (float *)(got.bytes + EDGE));
                    for (i = 0; i < n; i++) {
                        uint32_t c = vq_code_get(row, bits, first + i);
                        float z = asym ? by[i / groups[g]] : 0.0f, s = scale[i / groups[g]];
                        c = vq__value_of(elems[e], c, z, s, VQ_F32);
                        memcpy(want.bytes + EDGE + 4 * i, &c, 4);
                    }
                    CHECKF(same(EDGE, n), "%s %s n %d group %d first %d asym %d", l->name,
                           vq_dtype_str(elems[e]), (int)n, (int)groups[g], (int)first, asym);
                }
}

/* As bf16 and as f32; every other row has no NaN in codes or scales, and is to be served. */
static void what_widen_serves_has_the_values_of_the_definition(void)
{
    static const vq_dtype to[] = { VQ_BF16, VQ_F32, VQ_F16 };
    static uint8_t row[MOST + 16];
    const vq__loops *l;
    int v, e, g, t, round, served = 0;
    int64_t n, i, first;
    VERSIONS(l, v)
        for (e = 0; e < COUNT(elems) && l->widen; e++)
            for (g = 0; g < COUNT(groups); g++)
                for (round = 0; round < 120; round++) {
                    const int bits = vq__bits(elems[e]), tame = round % 2, size = round % 3 ? 2 : 4;
                    const int asym = elems[e] >= VQ_INT8 && round % 5 > 2;
                    const int has = elems[e] == VQ_E4M3FN || elems[e] == VQ_E5M2
                                 || elems[e] == VQ_E2M1 || elems[e] >= VQ_INT8;
                    int must, bad = 0;
                    t = size == 4 ? 1 : round % 30 == 1 ? 2 : 0;
                    n = round < 40 ? 2 * round : round == 40 ? 512 : any_count();
                    if (round % 4) n = n / 32 * 32;
                    first = round == 40 ? 0 : below(12);
                    for (i = 0; i < COUNT(row); i++) {
                        row[i] = (uint8_t)(round == 40 ? i : t_rand());
                        if (tame && (row[i] & 0x7fu) >= 0x7cu) row[i] = 0x80;
                    }
                    for (i = 0; i < (n + groups[g] - 1) / groups[g]; i++) {
                        scale[i] = tame || t_rand() % 4u ? t_randf(-3.0f, 3.0f) : any_f32();
                        by[i] = asym ? vq_decode(elems[e], t_rand()) : 0.0f;
                    }
                    must = tame && has && t != 2 && n % 32 == 0 && first * bits % 8 == 0
                        && (groups[g] == 16 || groups[g] % 32 == 0 || groups[g] >= n);
                    blocks(&i);
                    if (!l->widen(elems[e], row, first, n, groups[g], scale, asym ? by : NULL, to[t],
                                  round % 8 < 5, (char *)got.bytes + EDGE + round % 3)) {
                        CHECKF(!must, "not served: %s %s n %d group %d first %d", l->name,
                               vq_dtype_str(elems[e]), (int)n, (int)groups[g], (int)first);
                        continue;
                    }
                    served++;
                    for (i = 0; i < n; i++) {
                        const uint32_t c = vq_code_get(row, bits, first + i);
                        const uint32_t u = vq__value_of(elems[e], c, by[i / groups[g]],
                                                        scale[i / groups[g]], to[t]);
                        const float d = vq_decode(to[t], u);
                        bad += d != d;
                        vq_code_put(want.bytes + EDGE + round % 3, size * 8, i, u);
                    }
                    CHECKF(!bad && same(0, 0), "widen %s %s to %s n %d group %d first %d asym %d",
                           l->name, vq_dtype_str(elems[e]), vq_dtype_str(to[t]), (int)n,
                           (int)groups[g], (int)first, asym);
                }
    printf("%d ", served);
}

/* More than a cache keeps, to rows of which some do not begin where lines do, by each version as by
   the plain one; stored scales of one byte too. */
static void large_outputs_equal_the_plain_ones(void)
{
    static const struct { const char *key; vq_dtype to; int64_t cols; } jobs[] = {
        { "fp8_group128", VQ_F32, 2050 }, { "mxfp4", VQ_BF16, 2112 }, { "nvfp4", VQ_BF16, 2064 },
        { "nvfp4", VQ_F32, 1040 }, { "mxfp8", VQ_BF16, 2080 }
    };
    const vq__loops *plain = vq__pick_loops(0), *l;
    uint32_t c;
    int v, j;
    int64_t i, rows;
    for (j = 0; j < COUNT(jobs); j++) {
        vq_dequant_args a;
        char *from, *all;
        float g2 = 3.7f;
        size_t most;
        memset(&a, 0, sizeof a);
        CHECK(vq_key_parse(jobs[j].key, &a.key, NULL) == VQ_OK);
        rows = VQ__PAST / (jobs[j].cols * vq_dtype_bits(jobs[j].to) / 8) + 1;
        a.q = vq_tensor_2d(NULL, a.key.elem, rows, jobs[j].cols, VQ_HOST);
        a.scale = vq_scale_for(&a.key, a.q, VQ_ROWS, NULL);
        a.scale2 = vq_tensor_2d(&g2, VQ_F32, 1, 1, VQ_HOST);
        a.y = vq_tensor_2d(NULL, jobs[j].to, rows, jobs[j].cols, VQ_HOST);
        most = (size_t)vq_tensor_bytes(a.y);
        from = (char *)malloc((size_t)vq_tensor_bytes(a.q) + (size_t)vq_tensor_bytes(a.scale));
        all = (char *)malloc(2 * most + 64);
        CHECK(from && all);
        if (!from || !all) { free(from); free(all); return; }
        a.q.data = from;
        a.scale.data = from + vq_tensor_bytes(a.q);
        for (i = 0; i < vq_tensor_bytes(a.q); i++) {
            const uint32_t u = t_rand() & 0xffu;
            from[i] = (char)((u & 0x7fu) == 0x7fu ? 0u : u);
        }
        for (i = 0; i < vq_tensor_bytes(a.scale) / (vq_dtype_bits(a.scale.dtype) / 8); i++) {
            const float s = t_randf(0.1f, 3.0f);
            c = vq_encode(a.scale.dtype, s, VQ_SATURATE);
            memcpy((char *)a.scale.data + i * (vq_dtype_bits(a.scale.dtype) / 8), &c,
                   (size_t)(vq_dtype_bits(a.scale.dtype) / 8));
        }
        a.y.data = all;
        vq__ref_dequant(plain, &a);
        a.y.data = all + most + (64 - (uintptr_t)(all + most) % 64) % 64;
        VERSIONS(l, v) {
            memset(a.y.data, 0xa5, most);
            vq__ref_dequant(l, &a);
            CHECKF(!memcmp(all, a.y.data, most), "%s: %s to %s", l->name, jobs[j].key,
                   vq_dtype_str(jobs[j].to));
        }
        free(from);
        free(all);
    }
}

/* vq__partial_square() of each, to 1,024 partials, and vq__combine1024() */
static void squares_and_norms_equal_the_definition(void)
{
    static float   p[1024], w[MOST];
    static uint8_t weights[MOST * 2 + 8];
    const vq__loops *l;
    int v, t, round, served = 0;
    int64_t n, i;
    VERSIONS(l, v)
        for (t = 0; t < 3 && l->squares; t++)
            for (round = 0; round < 300; round++) {
                const int odd = round % 8 == 0, numbers = round % 2 || odd;
                const float off = round % 3 ? 0.0f : -1.0f;
                const float r = odd ? make(0x7fffffff) : numbers ? t_randf(0.1f, 3.0f) : any_f32();
                const void *in = spread(wides[t], n = least(16 * below(MOST / 16 + 1), 2592),
                                        numbers);
                uint32_t sum, want_sum;
                float s;
                memset(p, 0, sizeof p);
                for (i = 0; i < n; i++) p[i % 1024] = vq__partial_square(p[i % 1024], x[i]);
                want_sum = vq_encode(VQ_F32, s = vq__combine1024(p), VQ_NONFINITE);
                sum = bits_of(l->squares(wides[t], in, n));
                CHECKF(s != s ? make(sum) != make(sum) : sum == want_sum, "squares %s %s n %d: "
                       "%08x, not %08x", l->name, vq_dtype_str(wides[t]), (int)n, (unsigned)sum,
                       (unsigned)want_sum);
                if (wides[t] != VQ_BF16) continue;
                for (i = 0; i < n; i++) {
                    uint32_t c;
                    float f = any_f32();
                    if (numbers && !(f > -1e9f && f < 1e9f)) f = 1.5f;
                    c = vq_encode(VQ_BF16, f, VQ_NONFINITE);
                    vq_code_put(weights + 1, 16, i, c);
                    w[i] = vq_decode(VQ_BF16, c);
                }
                blocks(&i);
                if (!l->bf16_normed(in, r, weights + 1, off, n, got.bytes + EDGE + 1)) {
                    int nan = r != r;
                    for (i = 0; i < n; i++) {
                        const float f = vq__gate_bf16(vq__mul(x[i], r), vq__sub(w[i], off));
                        nan |= f != f;
                    }
                    CHECKF(nan, "norm not served: %s n %d", l->name, (int)n);
                    continue;
                }
                served++;
                for (i = 0; i < n; i++) {
                    const float f = vq__gate_bf16(vq__mul(x[i], r), vq__sub(w[i], off));
                    vq_code_put(want.bytes + EDGE + 1, 16, i, vq_encode(VQ_BF16, f, VQ_NONFINITE));
                }
                CHECKF(same(0, 0), "norm %s n %d off %g", l->name, (int)n, (double)off);
            }
    printf("%d ", served);
}

/* Every 16-bit input of its own type; f32 and what is left over, any. */
static void activations_equal_the_definition(void)
{
    static float in[65536], out[65536];
    const vq__loops *l;
    int v, a, t, i, bad;
    VERSIONS(l, v)
        for (a = 0; a < VQ_ACT_SWIGLU_OAI; a++)
            for (t = 0; t < 3; t++) {
                for (i = 0; i < 65536; i++)
                    out[i] = in[i] = t ? vq_decode(wides[t], (uint32_t)i) : any_f32();
                l->act((vq_act_kind)a, wides[t], out, 65536 - t);
                for (i = bad = 0; i < 65536 - t; i++) {
                    float d = vq__act_of((vq_act_kind)a, wides[t], in[i]);
                    uint32_t e = vq_encode(wides[t], out[i], VQ_NONFINITE);
                    bad += d != d ? out[i] == out[i] : e != vq_encode(wides[t], d, VQ_NONFINITE);
                }
                CHECKF(!bad, "%s %s %s: %d wrong", l->name, vq_act_str((vq_act_kind)a),
                       vq_dtype_str(wides[t]), bad);
                for (; i < 65536; i++) CHECK(bits_of(out[i]) == bits_of(in[i]));
            }
}

static void elementwise_loops_equal_the_definition(void)
{
    static float a[MOST], b[MOST], d[MOST];
    static uint8_t stored[MOST];
    static const char *const names[] = { "gate", "add", "times", "shift", "scale", "sum",
                                         "squares", "over", "e8m0", "ue4m3" };
    const vq__loops *l;
    int v, which, round;
    int64_t n, i;
    VERSIONS(l, v)
        for (which = 0; which < COUNT(names); which++)
            for (round = 0; round < 300; round++) {
                const float by = any_f32(), most = t_rand() % 2u ? make(0x7f800000) : 3.0f;
                float *out = (float *)(got.bytes + EDGE);
                n = round < 140 ? round : any_count();
                if (which == 5 || which == 6) n = least(n, 1024);
                fill(a, n);
                fill(b, n);
                for (i = 0; which == 0 && i < n; i++) {      /* a gate has come out in bf16 */
                    a[i] = vq_decode(VQ_BF16, vq_encode(VQ_BF16, a[i], VQ_NONFINITE));
                    b[i] = vq_decode(VQ_BF16, vq_encode(VQ_BF16, b[i], VQ_NONFINITE));
                }
                for (i = 0; which > 7 && i < n; i++) stored[i] = (uint8_t)t_rand();
                blocks(&i);
                memcpy(out, a, (size_t)n * 4);
                for (i = 0; i < n; i++)
                    d[i] = which > 7 ? vq_decode(which == 8 ? VQ_E8M0 : VQ_UE4M3, stored[i])
                         : which == 7 ? vq__div(a[i], by)
                         : which == 0 ? vq__gate_bf16(a[i], vq__up_in(b[i], most))
                         : which == 1 ? vq__add(a[i], b[i]) : which == 2 ? vq__mul(a[i], b[i])
                         : which == 3 ? vq__sub(a[i], by) : which == 4 ? vq__mul(a[i], by)
                         : which == 5 ? vq__add(a[i], b[i]) : vq__fma(b[i], b[i], a[i]);
                memcpy(want.bytes + EDGE, d, (size_t)n * 4);
                switch (which) {
                case 0:  l->gate(b, most, n, out); break;
                case 1:  l->add(out, b, n); break;
                case 2:  l->times(out, b, n); break;
                case 3:  l->shift(out, n, by); break;
                case 4:  l->scale(out, n, by); break;
                case 7:  l->over(out, n, by); break;
                case 8:  l->stored(VQ_E8M0, stored, n, out); break;
                case 9:  l->stored(VQ_UE4M3, stored, n, out); break;
                default: l->sum(which == 6, b, n, out); break;
                }
                CHECKF(same(EDGE, n), "%s %s n %d", l->name, names[which], (int)n);
            }
}

VQ_TEST_MAIN(T(the_last_version_needs_nothing),
             T(every_16_bit_input_loads_and_comes_back),
             T(any_run_loads_and_stores_as_one_by_one),
             T(amax_and_range_skip_nan_and_keep_infinity),
             T(peaks_and_ranges_equal_the_loops),
             T(scales_of_every_key_equal_the_definition),
             T(steps_of_every_key_equal_the_definition),
             T(codes_of_every_key_equal_the_definition),
             T(codes_of_every_length_and_group_equal_the_definition),
             T(what_narrow_serves_has_the_codes_of_the_definition),
             T(quotients_next_to_ties_get_the_code_of_the_definition),
             T(every_16_bit_input_gets_the_code_of_the_definition),
             T(values_of_every_code_equal_the_definition),
             T(what_widen_serves_has_the_values_of_the_definition),
             T(large_outputs_equal_the_plain_ones),
             T(squares_and_norms_equal_the_definition),
             T(activations_equal_the_definition),
             T(elementwise_loops_equal_the_definition))
