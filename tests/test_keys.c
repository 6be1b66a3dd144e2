/* test_keys.c - keys: their text, their names, what contradicts itself, equality and hash

   A second printer, made of printf and strtof, says what a key's text is; the reader is then
   held to give back each key that vq_key_check() accepts. */
#include <fenv.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }

static float float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

static vq_key key_of(const char *text)
{
    vq_key k = VQ_ZERO;
    vq_report why = VQ_ZERO;
    CHECKF(vq_key_parse(text, &k, &why) == VQ_OK, "%s: %s", text, why.text);
    return k;
}

/* --- the text by printf ---------------------------------------------------- */

/* The fewest digits that strtof() reads as v, rounded half up from all of its digits, of which it
   has 112 at most; an exponent below 1e-3 and from 1e7 on. */
static void number_text(char *out, size_t size, float v)
{
    char exact[160], digits[16], sent[40];
    int n, e, i, at;
    snprintf(exact, sizeof exact, "%.120e", (double)v);
    for (n = 1; n < 10; n++) {
        e = atoi(strchr(exact, 'e') + 1);
        digits[0] = exact[0];
        for (i = 1; i <= n; i++) digits[i] = exact[i + 1];
        if (digits[n] >= '5') {
            for (i = n - 1; i >= 0 && digits[i] == '9'; i--) digits[i] = '0';
            if (i >= 0) digits[i]++;
            else { digits[0] = '1'; e++; }
        }
        digits[n] = 0;
        snprintf(sent, sizeof sent, "%se%d", digits, e - n + 1);
        if (strtof(sent, NULL) == v) break;
    }
    if (n > 9) n = 9;
    while (n > 1 && digits[n - 1] == '0') digits[--n] = 0;
    if (e < -3 || e > 6) {
        snprintf(out, size, "%c%s%se%d", digits[0], n > 1 ? "." : "", digits + 1, e);
        return;
    }
    at = snprintf(out, size, "%s", e < 0 ? "0." : "");
    for (i = e + 1; i < 0; i++) at += snprintf(out + at, size - (size_t)at, "0");
    for (i = 0; i < n || i <= e; i++)
        at += snprintf(out + at, size - (size_t)at, "%s%c", i == e + 1 && e >= 0 ? "." : "",
                       i < n ? digits[i] : '0');
}

static const char *const type_text[] = { "", "f32", "f16", "bf16", "float8_e4m3fn",
    "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "ue4m3",
    "float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn", "int8", "uint8", "int4", "uint4" };
static const char *const scale_text[] = { "max", "amax.div", "amax.inv", "amax.recip",
    "amax.floor", "amax.exp", "amax.ceil", "amax.rceil", "amax.trunc", "amax.even", "range.div" };
static const char *const code_text[] = { "x.div.s", "x.inv.s", "x.inv0.s", "x.ratio",
    "x.inv.amax", "x.inv.amax.away", "x.div.s.trunc" };

static void key_text(char *out, size_t size, const vq_key *k)
{
    char max[40], least[40];
    float span = k->elem == VQ_UINT8 || k->elem == VQ_UINT4 ? k->code_max : 2 * k->code_max + 1;
    number_text(max, sizeof max, k->scale_rule == VQ_SCALE_RANGE ? span : k->code_max);
    if (k->floor_kind) number_text(least, sizeof least, k->floor_value);
    snprintf(out, size, "%s/%s/%dx%d/%s/%s%s/%s%s%s%s%s%s%s%s%s%s", type_text[k->elem],
             type_text[k->scale_type], (int)k->group_rows, (int)k->group_cols,
             k->flags & 1 ? "static" : "dyn", scale_text[k->scale_rule], max,
             code_text[k->code_rule], k->flags & 2 ? "/asym" : "", k->flags & 4 ? "/notail" : "",
             k->arith == VQ_BF16 ? "/arith=bf16" : "",
             k->bound_kind == VQ_BOUND_AMAX ? "/bound=amax" : k->bound_kind ? "/bound=scale" : "",
             k->floor_kind == VQ_FLOOR_AMAX ? "/floor=amax:" : k->floor_kind == VQ_FLOOR_RAW
                 ? "/floor=raw:" : k->floor_kind ? "/floor=scale:" : "",
             k->floor_kind ? least : "",
             k->scale2_kind == VQ_SCALE2_MUL ? "/scale2=mul" : k->scale2_kind ? "/scale2=div" : "",
             k->nan_rule ? "/nan=max" : "", k->overflow ? "/overflow=nonfinite" : "");
}

static void comes_back(const vq_key *k)
{
    char text[256], want[256];
    vq_key again;
    vq_report why = VQ_ZERO;
    int n = vq_key_print(k, text, sizeof text);
    key_text(want, sizeof want, k);
    CHECKF(!strcmp(text, want), "%s, not %s", text, want);
    CHECKF(n == (int)strlen(text), "%d: %s", n, text);
    memset(&again, 0xa5, sizeof again);
    CHECKF(vq_key_parse(text, &again, &why) == VQ_OK, "%s: %s", text, why.text);
    CHECKF(!memcmp(&again, k, sizeof again), "%s", text);
}

static void presets_print_what_they_were_read_from(void)
{
    static const char *const texts[] = {
#define X(ID, name, also, text) text,
        VQ_KEYS(X)
#undef X
    };
    char text[256];
    int i;
    for (i = 0; i < VQ_KEY_COUNT; i++) {
        vq_key k = vq_key_preset((vq_key_id)i);
        CHECKF(vq_key_check(&k, NULL) == VQ_OK, "%s", texts[i]);
        vq_key_print(&k, text, sizeof text);
        CHECKF(!strcmp(text, texts[i]), "%s, not %s", text, texts[i]);
        comes_back(&k);
    }
}

static float random_positive(void)           /* of any exponent, subnormals too */
{
    uint32_t u = t_rand() % 0x7f800000u;
    if (t_rand() % 8 == 0) u >>= t_rand() % 31;
    return float_of(u ? u : 1);
}

static float random_max(vq_dtype elem)
{
    float most = vq_dtype_max(elem), v;
    switch (t_rand() % 4) {
    case 0:  return most;
    case 1:  return 1 + floorf(t_randf(0, most - 1));
    case 2:  return t_randf(0, most);
    default:
        do v = random_positive(); while (v > most);
        return v;
    }
}

static int32_t random_extent(void)
{
    static const int32_t some[] = { -1, 1, 16, 32, 64, 128, 7, 1 << 24, 16777215, 10, 100 };
    return t_rand() % 4 ? some[t_rand() % (unsigned)COUNT(some)] : 1 + (int32_t)(t_rand() >> 8);
}

/* Every combination of the fields that restrict one another, the others at random. */
static void every_key_that_is_accepted_comes_back_from_its_text(void)
{
    static const vq_dtype types[] = { VQ_F32, VQ_F16, VQ_BF16, VQ_E8M0, VQ_UE4M3 };
    unsigned elem, type, flags, scale, code, bound, least, scale2, accepted = 0, seen = 0;
    for (elem = VQ_E4M3FN; elem < VQ_DTYPE_COUNT; elem++)
    for (type = 0; type < (unsigned)COUNT(types); type++)
    for (flags = 0; flags < 8; flags++)
    for (scale = 0; scale < VQ_SCALE_RULE_COUNT; scale++)
    for (code = 0; code < VQ_CODE_RULE_COUNT; code++)
    for (bound = 0; bound < VQ_BOUND_COUNT; bound++)
    for (least = 0; least < VQ_FLOOR_COUNT; least++)
    for (scale2 = 0; scale2 < VQ_SCALE2_COUNT; scale2++) {
        vq_key k = VQ_ZERO;
        seen++;
        k.elem = (vq_dtype)elem;
        k.scale_type = types[type];
        k.flags = flags;
        k.scale_rule = (vq_scale_rule)scale;
        k.code_rule = (vq_code_rule)code;
        k.bound_kind = (vq_bound_kind)bound;
        k.floor_kind = (vq_floor_kind)least;
        k.scale2_kind = (vq_scale2_kind)scale2;
        k.code_max = 1;
        k.group_rows = k.group_cols = 1;
        k.arith = VQ_F32;
        k.floor_value = least ? 1.0f : 0.0f;
        if (elem == VQ_E8M0 || elem == VQ_UE4M3) {
            CHECK(vq_key_check(&k, NULL) == VQ_BAD_ARG);
            continue;
        }
        if (vq_key_check(&k, NULL)) continue;
        accepted++;
        if (accepted % 4 && !t_exhaustive) continue;
        k.code_max = random_max(k.elem);
        k.group_rows = random_extent();
        k.group_cols = random_extent();
        k.arith = t_rand() % 4 ? VQ_F32 : VQ_BF16;
        if (least) k.floor_value = random_positive();
        k.nan_rule = t_rand() % 2 ? VQ_NAN_MAX : VQ_NAN_KEEP;
        k.overflow = vq_fp8_max(k.elem, 0) > 0 && t_rand() % 2 ? VQ_NONFINITE : VQ_SATURATE;
        if (vq_key_check(&k, NULL)) k.code_max = 1 + floorf(t_randf(0, vq_dtype_max(k.elem) - 1));
        CHECK(vq_key_check(&k, NULL) == VQ_OK);
        comes_back(&k);
    }
    CHECKF(accepted > 20000 && accepted < seen / 2, "%u of %u", accepted, seen);
}

static void every_floor_and_maximum_comes_back(void)
{
    vq_key k = key_of("fp8_tensor"), m = key_of("float8_e5m2/f32/1x-1/dyn/amax.div57344/x.div.s");
    vq_key a = key_of("int8_token_azp");
    uint32_t e, i;
    for (e = 0; e < 255; e++)
        for (i = 0; i < (t_exhaustive ? 4096u : 48u); i++) {
            uint32_t u = e << 23 | (i == 0 ? 0 : i == 1 ? 0x7fffff : i == 2 ? 1 : t_rand() >> 9);
            if (!u) continue;
            k.floor_value = float_of(u);
            comes_back(&k);
            m.code_max = float_of(u);
            if (!vq_key_check(&m, NULL)) comes_back(&m);
            a.code_max = float_of(u);
            if (!vq_key_check(&a, NULL)) comes_back(&a);
        }
    for (i = 1; i < 150; i++) {                              /* decimal by decimal: 10^-45 .. */
        char text[16];
        snprintf(text, sizeof text, "1e%d", (int)(i % 84) - 45);
        k.floor_value = strtof(text, NULL);
        if (k.floor_value > 0 && k.floor_value <= FLT_MAX) comes_back(&k);
    }
    for (i = 1; i <= 127; i++) {
        a.code_max = (float)i;
        CHECK(vq_key_check(&a, NULL) == VQ_OK);
        comes_back(&a);
    }
}

/* --- what surrounds a reader ----------------------------------------------- */

static void set_mode(int m)
{
    static const int rounding[] = { FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST };
    fesetround(rounding[m]);
#if defined(__SSE2__)
    if (m == 3) __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040u);   /* FTZ, DAZ */
#endif
}

static void no_rounding_mode_changes_a_key_or_its_text(void)
{
    static const char *const floors[] = { "1e-10", "4.3596542e-6", "1e-44", "3.4028235e38", "0.1",
                                          "16777217", "1.1754942e-38", "8.9999999", "123456789" };
    char text[256], want[256], got[256];
    vq_key k, was, as;
    fenv_t env;
    int i, m, kept;
    fegetenv(&env);
    for (i = 0; i < 400; i++) {
        if (i < COUNT(floors))
            snprintf(text, sizeof text, "float8_e4m3fn/f32/1x7/dyn/amax.div440.1/x.div.s/"
                     "floor=amax:%s", floors[i]);
        else if (i < COUNT(floors) + VQ_KEY_COUNT)
            strcpy(text, vq_key_name((vq_key_id)(i - COUNT(floors))));
        else {
            char max[40], least[40];
            number_text(max, sizeof max, random_max(VQ_E4M3FN));
            number_text(least, sizeof least, random_positive());
            snprintf(text, sizeof text, "float8_e4m3fn/f32/1x7/dyn/amax.rceil%s/x.div.s/"
                     "floor=raw:%s", max, least);
        }
        was = key_of(text);
        vq_key_print(&was, want, sizeof want);
        as = vq_key_as(was, VQ_E4M3FNUZ, 224);
        for (m = 0; m < 4; m++) {
            vq_key to;
            vq_status s;
            memset(&k, 0, sizeof k);
            set_mode(m);
#if defined(__SSE2__)
            kept = (int)(__builtin_ia32_stmxcsr() & ~0x3fu);
#else
            kept = fegetround();
#endif
            s = vq_key_parse(text, &k, NULL);
            vq_key_print(&was, got, sizeof got);
            to = vq_key_as(was, VQ_E4M3FNUZ, 224);
#if defined(__SSE2__)
            kept = kept == (int)(__builtin_ia32_stmxcsr() & ~0x3fu);
#else
            kept = kept == fegetround();
#endif
            fesetenv(&env);
            CHECKF(s == VQ_OK && vq_key_equal(&k, &was), "mode %d: %s", m, text);
            CHECKF(!strcmp(got, want), "mode %d: %s, not %s", m, got, want);
            CHECKF(vq_key_equal(&to, &as), "mode %d: %s", m, text);
            CHECKF(kept, "mode %d is lost", m);
        }
    }
}

/* A locale with a decimal comma, where one is installed. */
static void no_locale_changes_a_key_or_its_text(void)
{
    static const char *const names[] = { "de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8",
        "fr_FR.utf8", "nl_NL.UTF-8", "ru_RU.UTF-8", "pt_BR.UTF-8", "es_ES.UTF-8", "de_AT.UTF-8",
        "German_Germany.1252", "" };
    char text[256], want[256];
    int i, j;
    for (i = 0; i < COUNT(names); i++) {
        if (!setlocale(LC_ALL, names[i])) continue;
        for (j = 0; j < VQ_KEY_COUNT; j++) {
            vq_key k = vq_key_preset((vq_key_id)j), again = VQ_ZERO;
            vq_key_print(&k, text, sizeof text);
            CHECKF(vq_key_parse(text, &again, NULL) == VQ_OK && vq_key_equal(&k, &again), "%s: %s",
                   names[i], text);
            setlocale(LC_ALL, "C");
            key_text(want, sizeof want, &k);
            setlocale(LC_ALL, names[i]);
            CHECKF(!strcmp(text, want), "%s: %s, not %s", names[i], text, want);
        }
    }
    setlocale(LC_ALL, "C");
}

static void print_cuts_as_snprintf_does(void)
{
    vq_key k = key_of("vllm_masked_silu_cuda");
    char whole[256], out[256];
    int n = vq_key_print(&k, whole, sizeof whole);
    size_t size;
    CHECK(n == (int)strlen(whole) && n > 80);
    CHECK(vq_key_print(&k, NULL, 0) == n);
    for (size = 0; size <= (size_t)n + 2; size++) {
        char *tight = malloc(size + 1);
        memset(out, '#', sizeof out);
        CHECK(vq_key_print(&k, out, size) == n && vq_key_print(&k, tight, size) == n);
        CHECK(out[size] == '#');
        if (size) {
            size_t kept = size - 1 < (size_t)n ? size - 1 : (size_t)n;
            CHECKF(!memcmp(out, whole, kept) && !out[kept], "%d", (int)size);
            CHECK(!strcmp(tight, out));
        }
        free(tight);
    }
}

/* A key that no op takes still prints something, and within bounds. */
static void a_key_of_any_bits_prints(void)
{
    char out[300];
    int i, j;
    for (i = 0; i < 20000; i++) {
        uint32_t word[16];
        vq_key k;
        for (j = 0; j < 16; j++) word[j] = t_rand() >> (t_rand() % 3 * 14);
        memcpy(&k, word, sizeof k);
        memset(out, '#', sizeof out);
        CHECK(vq_key_print(&k, out, 256) > 0);
        CHECK(memchr(out, 0, 256) && out[256] == '#');
        CHECK(vq_key_hash(&k) != 0 && vq_key_equal(&k, &k));
        (void)vq_key_check(&k, NULL);
    }
}

/* --- equality and hash ----------------------------------------------------- */

/* Made by another program from the numbers of the fields: the same on every machine. */
static void hashes_are_the_same_on_every_machine(void)
{
    static const struct { const char *text; uint64_t hash; } known[] = {
        { "fp8_group128", UINT64_C(0xe62855a54bbca99a) },
        { "fp8_token", UINT64_C(0x883e43da1c4c4e01) },
        { "kFp8DynamicTensorSym", UINT64_C(0xdbf1e0eb1dbbcab1) },
        { "fp8_static", UINT64_C(0x2288bc23c4619421) },
        { "mxfp4", UINT64_C(0xb827a67f8239d958) },
        { "nvfp4", UINT64_C(0x2a4dfb17b4a0cda6) },
        { "int8_token_azp", UINT64_C(0x1a4b358517ff954f) },
        { "deepseek_block128", UINT64_C(0xacfb27376e60f7ef) },
        { "float8_e4m3fnuz/f32/3x5/dyn/amax.div240/x.inv.s",
          UINT64_C(0xaea99a1c19bb9b9f) },
    };
    static const vq_key zero;
    int i;
    for (i = 0; i < COUNT(known); i++) {
        vq_key k = key_of(known[i].text);
        CHECKF(vq_key_hash(&k) == known[i].hash, "%s: %016llx", known[i].text,
               (unsigned long long)vq_key_hash(&k));
    }
    CHECKF(vq_key_hash(&zero) == UINT64_C(0xb9b23f3a46fd0825), "%016llx",
           (unsigned long long)vq_key_hash(&zero));
}

static void keys_of_other_texts_have_other_hashes(void)
{
    int i, j;
    for (i = 0; i < VQ_KEY_COUNT; i++)
        for (j = 0; j < VQ_KEY_COUNT; j++) {
            vq_key a = vq_key_preset((vq_key_id)i), b = vq_key_preset((vq_key_id)j);
            char x[256], y[256];
            int same;
            vq_key_print(&a, x, sizeof x);
            vq_key_print(&b, y, sizeof y);
            same = !strcmp(x, y);
            CHECKF(vq_key_equal(&a, &b) == same, "%s, %s", x, y);
            CHECKF((vq_key_hash(&a) == vq_key_hash(&b)) == same, "%s, %s", x, y);
            CHECKF(same == (i == j), "two presets are %s", x);
        }
}

static void a_change_of_any_field_changes_the_key(void)
{
    vq_key k = key_of("fp8_group128");
    int i;
#define CHANGED(field, v) do { \
        vq_key c = k; \
        c.field = v; \
        CHECKF(!vq_key_equal(&k, &c) && !vq_key_equal(&c, &k), "%s", #field); \
        CHECKF(vq_key_hash(&k) != vq_key_hash(&c), "%s", #field); } while (0)
    CHANGED(code_max, 240);
    CHANGED(elem, VQ_E4M3FNUZ);
    CHANGED(scale_type, VQ_F16);
    CHANGED(group_rows, -1);
    CHANGED(group_cols, -1);
    CHANGED(flags, VQ_KEY_NO_TAIL);
    CHANGED(scale_rule, VQ_SCALE_DIV);
    CHANGED(code_rule, VQ_CODE_INV);
    CHANGED(arith, VQ_BF16);
    CHANGED(bound_kind, VQ_BOUND_AMAX);
    CHANGED(floor_kind, VQ_FLOOR_SCALE);
    CHANGED(floor_value, 1e-9f);
    CHANGED(scale2_kind, VQ_SCALE2_DIV);
    CHANGED(nan_rule, VQ_NAN_MAX);
    CHANGED(overflow, VQ_NONFINITE);
    CHANGED(reserved, 1);
#undef CHANGED
    for (i = 0; i < 512; i++) {                              /* and of any bit */
        vq_key c = k;
        uint8_t raw[sizeof c];
        memcpy(raw, &c, sizeof c);
        raw[i / 8] ^= (uint8_t)(1 << i % 8);
        memcpy(&c, raw, sizeof c);
        CHECKF(!vq_key_equal(&k, &c) && vq_key_hash(&k) != vq_key_hash(&c), "bit %d", i);
    }
    CHECK(sizeof(vq_key) == 64);
}

/* --- names ----------------------------------------------------------------- */

static void each_name_is_one_preset(void)
{
    char words[512], *w, all[VQ_KEY_COUNT * 4][64];
    int i, j, n = 0;
    for (i = 0; i < VQ_KEY_COUNT; i++) {
        vq_key k = vq_key_preset((vq_key_id)i), by;
        CHECK(vq_key_name((vq_key_id)i)[0] && !strchr(vq_key_name((vq_key_id)i), ' '));
        snprintf(words, sizeof words, "%s %s", vq_key_name((vq_key_id)i),
                 vq_key_also((vq_key_id)i));
        for (w = strtok(words, " "); w; w = strtok(NULL, " ")) {
            CHECKF(!strchr(w, '/') && strlen(w) < 60, "%s", w);
            by = key_of(w);
            CHECKF(vq_key_equal(&k, &by), "%s", w);
            for (j = 0; j < n; j++) CHECKF(strcmp(all[j], w), "%s twice", w);
            if (n < COUNT(all)) strcpy(all[n++], w);
        }
    }
    CHECK(n > VQ_KEY_COUNT + 30);
}

static void a_name_is_known_whole_or_not_at_all(void)
{
    static const char *const bad[] = { "", " ", "fp8", "fp8_tenso", "fp8_tensor ", " fp8_tensor",
        "FP8_TENSOR", "kFp8StaticTensorSym fp8_per_tensor_static", "Sym", "kFp8", "fp8_per_tensor",
        "fp8_per_tensor_static ", "fp8_per_token_", "unknown", "none", "static", "\n", "mxfp8\n" };
    vq_key k, was;
    vq_report why;
    char long_name[300];
    int i, c;
    memset(&was, 0x5a, sizeof was);
    for (i = 0; i < COUNT(bad); i++) {
        k = was;
        memset(&why, 0, sizeof why);
        CHECKF(vq_key_parse(bad[i], &k, &why) == VQ_BAD_ARG, "%s", bad[i]);
        CHECKF(why.guard == VQ_GUARD_NAME && why.kind == 's', "%s: %s", bad[i], why.text);
        CHECKF(!strcmp(why.name, bad[i]) && !strcmp(why.arg, "key"), "%s: %s", bad[i], why.name);
        CHECKF((bad[i][strcspn(bad[i], "\t\n\r")] || strstr(why.text, bad[i]))
               && strstr(why.text, "key") && !why.text[strcspn(why.text, "\t\n\r")], "%s",
               why.text);                                    /* one line, whatever the name */
        CHECK(!memcmp(&k, &was, sizeof k));
    }
    for (i = 0; i < VQ_KEY_COUNT; i++) {                     /* no name but for a letter */
        const char *name = vq_key_name((vq_key_id)i);
        size_t n = strlen(name);
        memcpy(long_name, name, n + 1);
        for (c = 0; c < (int)n; c++) {
            long_name[c] ^= 0x20;
            CHECKF(vq_key_parse(long_name, &k, NULL) == VQ_BAD_ARG, "%s", long_name);
            long_name[c] = name[c];
        }
    }
    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = 0;
    memset(&why, 0, sizeof why);
    CHECK(vq_key_parse(long_name, &k, &why) == VQ_BAD_ARG && why.guard == VQ_GUARD_NAME);
    CHECK(strlen(why.name) == sizeof why.name - 1
          && !strncmp(why.name, long_name, strlen(why.name)));
    CHECK(strlen(why.text) < sizeof why.text);
}

static void ids_out_of_range_are_harmless(void)
{
    static const int ids[] = { -1, VQ_KEY_COUNT, 1 << 30 };
    static const vq_key zero;
    int i;
    for (i = 0; i < COUNT(ids); i++) {
        vq_key k = vq_key_preset((vq_key_id)ids[i]);
        CHECK(vq_key_equal(&k, &zero) && vq_key_check(&k, NULL) == VQ_BAD_ARG);
        CHECK(vq_key_name((vq_key_id)ids[i]) != NULL && !vq_key_also((vq_key_id)ids[i])[0]);
    }
}

/* --- presets --------------------------------------------------------------- */

/* vLLM's keys as its quant_utils.py has them: fp8 is e4m3fn here, two fp4 a uint8 are e2m1, its
   uint8 scales e8m0, its fp8 scales ue4m3, and its biased uint4b8 and uint8b128 int4 and int8. */
static void every_key_of_vllm_has_its_fields(void)
{
    enum { S = 1, D = 0 };
    static const struct {
        const char *name;
        vq_dtype elem, scale;
        int fixed, rows, cols, scale2, symmetric;
    } known[] = {
        { "kFp8StaticTensorSym",  VQ_E4M3FN, VQ_F32, S, -1, -1, 0, 1 },
        { "kFp8DynamicTensorSym", VQ_E4M3FN, VQ_F32, D, -1, -1, 0, 1 },
        { "kFp8StaticTokenSym",   VQ_E4M3FN, VQ_F32, S, 1, -1, 0, 1 },
        { "kFp8StaticChannelSym", VQ_E4M3FN, VQ_F32, S, -1, 1, 0, 1 },
        { "kFp8DynamicTokenSym",  VQ_E4M3FN, VQ_F32, D, 1, -1, 0, 1 },
        { "kFp8Dynamic128Sym",    VQ_E4M3FN, VQ_F32, D, 1, 128, 0, 1 },
        { "kFp8Dynamic64Sym",     VQ_E4M3FN, VQ_F32, D, 1, 64, 0, 1 },
        { "kFp8Static128BlockSym", VQ_E4M3FN, VQ_F32, S, 128, 128, 0, 1 },
        { "kNvfp4Dynamic",        VQ_E2M1, VQ_UE4M3, D, 1, 16, 1, 1 },
        { "kNvfp4Quant",          VQ_E2M1, VQ_UE4M3, D, 1, 16, 1, 1 },
        { "kNvfp4Static",         VQ_E2M1, VQ_UE4M3, S, 1, 16, 1, 1 },
        { "kMxfp8Static",         VQ_E4M3FN, VQ_E8M0, S, 1, 32, 0, 1 },
        { "kMxfp8Dynamic",        VQ_E4M3FN, VQ_E8M0, D, 1, 32, 0, 1 },
        { "kMxfp4Static",         VQ_E2M1, VQ_E8M0, S, 1, 32, 0, 1 },
        { "kMxfp4Dynamic",        VQ_E2M1, VQ_E8M0, D, 1, 32, 0, 1 },
        { "kInt4Static",          VQ_INT4, VQ_F16, S, 1, -1, 0, 1 },
        { "kInt8Static",          VQ_INT8, VQ_F16, S, 1, -1, 0, 1 },
        { "kInt4Static32",        VQ_INT4, VQ_F16, S, 1, 32, 0, 1 },
        { "kInt4StaticAsym",      VQ_UINT4, VQ_F16, S, 1, -1, 0, 0 },
        { "kInt4Static32Asym",    VQ_UINT4, VQ_F16, S, 1, 32, 0, 0 },
        { "kInt8StaticChannelSym", VQ_INT8, VQ_F32, S, -1, 1, 0, 1 },
        { "kInt8DynamicTokenSym", VQ_INT8, VQ_F32, D, 1, -1, 0, 1 },
        { "kInt4W4A8StaticGroup128Sym", VQ_INT8, VQ_BF16, S, 1, 128, 0, 1 },
        { "kInt4W4A8StaticGroup64Sym",  VQ_INT8, VQ_BF16, S, 1, 64, 0, 1 },
        { "kInt4W4A8StaticGroup32Sym",  VQ_INT8, VQ_BF16, S, 1, 32, 0, 1 },
        { "kInt4W4A8StaticGroupSym",    VQ_INT8, VQ_BF16, S, 1, -1, 0, 1 },

        { "fp8_per_tensor_static",   VQ_E4M3FN, VQ_F32, S, -1, -1, 0, 1 },
        { "fp8_per_tensor_dynamic",  VQ_E4M3FN, VQ_F32, D, -1, -1, 0, 1 },
        { "fp8_per_token",           VQ_E4M3FN, VQ_F32, D, 1, -1, 0, 1 },
        { "fp8_per_block_static",    VQ_E4M3FN, VQ_F32, S, 128, 128, 0, 1 },
        { "fp8_per_block_dynamic",   VQ_E4M3FN, VQ_F32, D, 1, 128, 0, 1 },
        { "mxfp8",                   VQ_E4M3FN, VQ_E8M0, D, 1, 32, 0, 1 },
        { "mxfp4",                   VQ_E2M1, VQ_E8M0, D, 1, 32, 0, 1 },
        { "int8_per_channel_static", VQ_INT8, VQ_F32, S, -1, 1, 0, 1 },
    };
    int i;
    for (i = 0; i < COUNT(known); i++) {
        vq_key k = key_of(known[i].name);
        const char *name = known[i].name;
        CHECKF(k.elem == known[i].elem && k.scale_type == known[i].scale, "%s", name);
        CHECKF((k.flags & VQ_KEY_STATIC) == (unsigned)known[i].fixed, "%s", name);
        CHECKF(k.group_rows == known[i].rows && k.group_cols == known[i].cols, "%s", name);
        CHECKF((k.scale2_kind != VQ_SCALE2_NONE) == known[i].scale2, "%s", name);
        CHECKF((k.flags & VQ_KEY_ASYMMETRIC ? 0 : 1) == known[i].symmetric, "%s", name);
        CHECKF(k.code_max == (k.elem == VQ_E4M3FN ? 448 : k.elem == VQ_E2M1 ? 6 : k.elem == VQ_INT4
                              ? 7 : k.elem == VQ_UINT4 ? 15 : 127), "%s", name);
    }
}

/* What each producer's kernels compute. */
static void every_producer_has_its_formula(void)
{
    enum { TAIL = 0, WHOLE = VQ_KEY_NO_TAIL };
    static const float ten_10 = 1e-10f, least_448 = 1.0f / (448.0f * 512.0f);
    static const struct {
        const char *name;
        vq_scale_rule scale;
        vq_code_rule code;
        vq_floor_kind least;
        float at;
        unsigned flags;
        vq_dtype elem, type;
        float max;
    } known[] = {
#define RULES(s, c) VQ_SCALE_##s, VQ_CODE_##c
#define FN     VQ_E4M3FN, VQ_F32, 448
#define UZ     VQ_E4M3FNUZ, VQ_F32, 240
#define I8     VQ_INT8, VQ_F32, 127
#define MX(t, max) VQ_##t, VQ_E8M0, max
#define NONE   VQ_FLOOR_NONE, 0
#define EPS    VQ_FLOOR_AMAX, 1e-10f
#define RAW    VQ_FLOOR_RAW, 1e-10f
#define FACTOR VQ_FLOOR_SCALE, 4.359654212748865e-06f
        /* vLLM, C++ */
        { "fp8_dynamic_tensor", RULES(DIV, INV), NONE, TAIL, FN },
        { "kFp8DynamicTokenSym", RULES(DIV, DIV), FACTOR, TAIL, FN },
        { "vllm_cpp_group128", RULES(DIV, DIV), EPS, WHOLE, FN },
        { "vllm_cpp_group64", RULES(DIV, DIV), EPS, WHOLE, FN },
        { "vllm_cpp_group128_ue8m0", RULES(RCEIL, DIV), RAW, WHOLE, FN },
        { "vllm_packed_ue8m0", RULES(RCEIL, DIV), RAW, WHOLE, MX(E4M3FN, 448) },
        { "vllm_silu_block128", RULES(DIV, DIV), FACTOR, WHOLE, FN },
        { "vllm_scaled_quantize_block128", RULES(RECIP, AMAX), VQ_FLOOR_AMAX, 1e-12f, WHOLE, FN },
        { "kInt8DynamicTokenSym", RULES(DIV, AMAX), NONE, TAIL, I8 },
        { "vllm_int8_group128", RULES(DIV, DIV_TRUNC), EPS, WHOLE, I8 },
        { "vllm_int8_token_triton", RULES(DIV, AMAX_AWAY), EPS, TAIL, I8 },
        /* vLLM, Triton since its scale is a product */
        { "vllm_triton_group128", RULES(INV, DIV), EPS, TAIL, FN },
        { "vllm_triton_group64", RULES(INV, DIV), EPS, TAIL, FN },
        { "vllm_triton_group128_ue8m0", RULES(RCEIL, DIV), EPS, WHOLE, FN },
        { "vllm_native_token", RULES(INV, INV), FACTOR, TAIL, FN },
        { "vllm_native_group128", RULES(INV, DIV), FACTOR, TAIL, FN },
        { "vllm_torch_mxfp8", RULES(EXP, DIV), VQ_FLOOR_AMAX, FLT_MIN, WHOLE, MX(E4M3FN, 448) },
        /* AITER */
        { "aiter_group128", RULES(INV, INV), EPS, TAIL, FN },
        { "aiter_group128_fnuz", RULES(INV, INV), EPS, TAIL, UZ },
        { "aiter_token", RULES(INV, INV), NONE, TAIL, FN },
        { "aiter_token_fnuz", RULES(INV, INV), NONE, TAIL, UZ },
        { "aiter_hip_mxfp4", RULES(RCEIL, DIV), EPS, TAIL, MX(E2M1, 6) },
        /* Quark: even */
        { "quark_mxfp4", RULES(EVEN, DIV), NONE, TAIL, MX(E2M1, 6) },
        { "quark_mxfp6_e3m2", RULES(EVEN, DIV), NONE, TAIL, MX(E3M2, 28) },
        { "quark_mxfp6_e2m3", RULES(EVEN, DIV), NONE, TAIL, MX(E2M3, 7.5f) },
        { "quark_mxfp8", RULES(EVEN, DIV), NONE, TAIL, MX(E4M3FN, 448) },
        /* OCP: floor */
        { "ocp_mxfp8", RULES(FLOOR, DIV), NONE, TAIL, MX(E4M3FN, 448) },
        { "ocp_mxfp8_e5m2", RULES(FLOOR, DIV), NONE, TAIL, MX(E5M2, 57344) },
        { "ocp_mxfp6_e3m2", RULES(FLOOR, DIV), NONE, TAIL, MX(E3M2, 28) },
        { "ocp_mxfp6_e2m3", RULES(FLOOR, DIV), NONE, TAIL, MX(E2M3, 7.5f) },
        { "ocp_mxfp4", RULES(FLOOR, DIV), NONE, TAIL, MX(E2M1, 6) },
        /* NVIDIA: rceil */
        { "nvidia_mxfp8", RULES(RCEIL, DIV), NONE, TAIL, MX(E4M3FN, 448) },
        { "nvidia_mxfp4", RULES(RCEIL, DIV), NONE, TAIL, MX(E2M1, 6) },
        { "kNvfp4Dynamic", RULES(INV, INV0), NONE, WHOLE, VQ_E2M1, VQ_UE4M3, 6 },
        /* DeepSeek */
        { "deepseek_block128", RULES(DIV, INV), VQ_FLOOR_AMAX, 1e-4f, TAIL, FN },
        { "deepseek_block128_ue8m0", RULES(RCEIL, INV), VQ_FLOOR_AMAX, 1e-4f, TAIL, FN },
#undef RULES
#undef FN
#undef UZ
#undef I8
#undef MX
#undef NONE
#undef EPS
#undef RAW
#undef FACTOR
    };
    vq_key k;
    int i;
    for (i = 0; i < COUNT(known); i++) {
        const char *name = known[i].name;
        k = key_of(name);
        CHECKF(k.scale_rule == known[i].scale && k.code_rule == known[i].code, "%s", name);
        CHECKF(k.floor_kind == known[i].least && bits_of(k.floor_value) == bits_of(known[i].at),
               "%s", name);
        CHECKF(k.flags == known[i].flags, "%s: %x", name, (unsigned)k.flags);
        CHECKF(k.elem == known[i].elem && k.scale_type == known[i].type, "%s", name);
        CHECKF(k.code_max == known[i].max && k.arith == VQ_F32 && !k.bound_kind, "%s", name);
        CHECKF((k.overflow == VQ_NONFINITE) == !strncmp(name, "deepseek", 8), "%s", name);
        CHECKF((k.nan_rule == VQ_NAN_MAX) == !strcmp(name, "fp8_dynamic_tensor"), "%s", name);
    }
    k = key_of("kFp8DynamicTokenSym");
    CHECK(bits_of(k.floor_value) == 0x36924925 && k.floor_value == least_448);
    k = key_of("vllm_masked_silu_cuda");
    CHECK(k.arith == VQ_BF16 && bits_of(k.floor_value) == (bits_of(ten_10) + 0x8000) >> 16 << 16);
    CHECK(k.scale_rule == VQ_SCALE_INV && k.code_rule == VQ_CODE_INV);
    k = key_of("deepseek_block128");
    CHECK(k.group_rows == 128 && k.group_cols == 128);
    k = key_of("vllm_nvfp4_emulated");
    CHECK(k.code_rule == VQ_CODE_RATIO && k.scale2_kind == VQ_SCALE2_DIV);
    k = key_of("kNvfp4Static");
    CHECK(k.code_rule == VQ_CODE_INV0 && k.scale2_kind == VQ_SCALE2_MUL);
    k = key_of("vllm_int8_static");
    CHECK(k.flags == VQ_KEY_STATIC && k.code_rule == VQ_CODE_DIV && k.elem == VQ_INT8);
    k = key_of("vllm_int8_static_azp");
    CHECK(k.flags == (VQ_KEY_STATIC | VQ_KEY_ASYMMETRIC) && k.code_rule == VQ_CODE_INV);
    k = key_of("vllm_int8_token_azp");
    CHECK(k.flags == VQ_KEY_ASYMMETRIC && k.scale_rule == VQ_SCALE_RANGE && k.code_max == 127);
    for (i = 0; i < 4; i++) {
        static const char *const fixed[] = { "kFp8StaticTensorSym", "kFp8StaticTokenSym",
                                             "kFp8StaticChannelSym", "kFp8Static128BlockSym" };
        k = key_of(fixed[i]);                            /* 0 * inf is the largest code there */
        CHECKF(k.code_rule == VQ_CODE_INV && k.nan_rule == VQ_NAN_MAX, "%s", fixed[i]);
    }
}

/* --- what is refused ------------------------------------------------------- */

/* Reading stops behind `good`. */
static void bad_texts_are_refused_where_they_go_wrong(void)
{
#define E4M3 "float8_e4m3fn/"
#define HEAD "float8_e4m3fn/f32/1x128/dyn/"
#define KEY  "float8_e4m3fn/f32/1x128/dyn/amax.inv448/x.div.s"
    static const struct { const char *good, *bad; } known[] = {
        { "", "/" }, { "", "//////" }, { "", "f/" }, { "", " " KEY },
        { "", "FLOAT8_E4M3FN/f32/1x1" },
        { "", "none/f32/1x128/dyn/amax.inv448/x.div.s" }, { "", "float8_e4m3/f32/1x1" },
        { "", "float8_e4m3fnx/f32" }, { "", "float8_e4m3fn /f32" }, { "", "fp8/f32/1x1" },
        { "", "/f32/1x128/dyn/amax.inv448/x.div.s" }, { "", "x.div.s/" }, { "", "fp8_tensor/" },
        { E4M3, "" }, { E4M3, "/1x128" }, { E4M3, "f64/1x128" }, { E4M3, "f3" },
        { E4M3, "F32/1x1" },
        { E4M3 "f32", "" }, { E4M3 "f32/", "x128" }, { E4M3 "f32/", "0x128/dyn" },
        { E4M3 "f32/", "-2x128/dyn" }, { E4M3 "f32/", "+1x128/dyn" }, { E4M3 "f32/", " 1x128/dyn" },
        { E4M3 "f32/1", "" }, { E4M3 "f32/1", "/128" }, { E4M3 "f32/1", "X128" },
        { E4M3 "f32/1x", "" }, { E4M3 "f32/1x", "/dyn" }, { E4M3 "f32/1x", "0/dyn" },
        { E4M3 "f32/1x", "-/dyn" }, { E4M3 "f32/1x", "01/dyn" }, { E4M3 "f32/1x", "a/dyn" },
        { E4M3 "f32/-1", "2x128/dyn" }, { E4M3 "f32/1x-1", "28/dyn" }, { E4M3 "f32/1x128", "" },
        { E4M3 "f32/1x128", " /dyn" }, { E4M3 "f32/1x128", ".0/dyn" },
        { E4M3 "f32/1x128", "x1/dyn" },
        { E4M3 "f32/1x1677721", "7/dyn" }, { E4M3 "f32/1x16777216", "0/dyn" },
        { E4M3 "f32/1x9999999", "9999999999999999999999/dyn" },
        { E4M3 "f32/1x128/", "" }, { E4M3 "f32/1x128/", "dynamic/amax.inv448" },
        { E4M3 "f32/1x128/", "/amax.inv448" }, { E4M3 "f32/1x128/", "Dyn/amax.inv448" },
        { E4M3 "f32/1x128/", "stat/max448" }, { E4M3 "f32/1x128/static/", "amax.inv448/x.div.s" },
        { E4M3 "f32/1x128/static/", "448/x.div.s" }, { E4M3 "f32/1x128/static", "" },
        { HEAD, "" }, { HEAD, "max448/x.div.s" }, { HEAD, "amax448/x.div.s" },
        { HEAD, "amax/448/x.div.s" }, { HEAD, "amax.dif448/x.div.s" },
        { HEAD "amax.inv", "/x.div.s" }, { HEAD "amax.inv", "-448/x.div.s" },
        { HEAD "amax.inv", "+448/x.div.s" }, { HEAD "amax.inv", " 448/x.div.s" },
        { HEAD "amax.inv", "0/x.div.s" }, { HEAD "amax.inv", "0.0e5/x.div.s" },
        { HEAD "amax.inv", "nan/x.div.s" }, { HEAD "amax.inv", "inf/x.div.s" },
        { HEAD "amax.inv", "0x1p3/x.div.s" }, { HEAD "amax.inv", "448,0/x.div.s" },
        { HEAD "amax.inv", "448e/x.div.s" }, { HEAD "amax.inv", "448e+1/x.div.s" },
        { HEAD "amax.inv", "448e-/x.div.s" }, { HEAD "amax.inv", "448E1/x.div.s" },
        { HEAD "amax.inv", "4.4.8/x.div.s" }, { HEAD "amax.inv", "./x.div.s" },
        { HEAD "amax.inv", "448f/x.div.s" }, { HEAD "amax.inv", "1e39/x.div.s" },
        { HEAD "amax.inv", "1e99/x.div.s" }, { HEAD "amax.inv", "1e-99/x.div.s" },
        { HEAD "amax.inv", "1e100/x.div.s" }, { HEAD "amax.inv", "1e99999999999999999/x.div.s" },
        { HEAD "amax.inv", "1e-46/x.div.s" }, { HEAD "amax.inv", "1234567890123456/x.div.s" },
        { HEAD "amax.inv", "0.0000000000000001/x.div.s" },
        { HEAD "amax.inv", "448 /x.div.s" }, { HEAD "amax.inv448", "" },
        { HEAD "amax.inv448/", "" }, { HEAD "amax.inv448/", "/x.div.s" },
        { HEAD "amax.inv448/", "x.div" }, { HEAD "amax.inv448/", "x.div.s " },
        { HEAD "amax.inv448/", "x.div.sx" }, { HEAD "amax.inv448/", "X.div.s" },
        { HEAD "amax.inv448/", "x.inv.amax.far" }, { HEAD "amax.inv448/", "x.div.s.trun" },
        { KEY "/", "" }, { KEY "/", "/" }, { KEY "/", "notai" }, { KEY "/", "notail " },
        { KEY "/", "foo" }, { KEY "/", "dyn" }, { KEY "/", "=" }, { KEY "/", "floor" },
        { KEY "/", "floor=amax" }, { KEY "/", "floor=Amax:1" }, { KEY "/", "floor=1e-10" },
        { KEY "/", "floor=none" }, { KEY "/", "bound=none" }, { KEY "/", "arith=f32" },
        { KEY "/", "arith=f16" }, { KEY "/", "scale2=none" }, { KEY "/", "scale2=add" },
        { KEY "/", "nan=keep" }, { KEY "/", "overflow=saturate" }, { KEY "/", "asym=1" },
        { KEY "/", "tail" }, { KEY "/", "/notail" },
        { KEY "/notail/", "" }, { KEY "/notail/", "notail" }, { KEY "/notail/", "asym" },
        { KEY "/nan=max/", "floor=amax:1e-10" }, { KEY "/nan=max/", "nan=max" },
        { KEY "/overflow=nonfinite/", "nan=max" }, { KEY "/overflow=nonfinite/", "x" },
        { KEY "/scale2=mul/", "scale2=div" }, { KEY "/bound=amax/", "bound=scale" },
        { KEY "/bound=amax/", "arith=bf16" },
        { KEY "/floor=amax:", "" }, { KEY "/floor=amax:", "/nan=max" }, { KEY "/floor=amax:", "0" },
        { KEY "/floor=amax:", "-1" }, { KEY "/floor=amax:", "1e-10x" },
        { KEY "/floor=amax:", "1e40" },
        { KEY "/floor=amax:", "1,5" }, { KEY "/floor=amax:", "inf" }, { KEY "/floor=amax:", "nan" },
        { KEY "/floor=amax:1e-10/", "" }, { KEY "/floor=amax:1e-10/", "floor=scale:1" },
        { KEY "/floor=amax:1e-10/", "notail" },
    };
    int i;
    for (i = 0; i < COUNT(known); i++) {
        size_t at = strlen(known[i].good), n = at + strlen(known[i].bad);
        char *text = malloc(n + 1);                          /* a sanitizer sees its end */
        vq_key k, was;
        vq_report why = VQ_ZERO;
        memset(&was, 0x77, sizeof was);
        k = was;
        memcpy(text, known[i].good, at);
        memcpy(text + at, known[i].bad, n - at + 1);
        CHECKF(vq_key_parse(text, &k, &why) == VQ_BAD_ARG && why.status == VQ_BAD_ARG, "%s", text);
        CHECKF(why.guard == VQ_GUARD_KEYTEXT, "%s: %s", text, why.text);
        CHECKF(why.found == (int64_t)at, "%s: %s", text, why.text);
        CHECKF(why.arg && !strcmp(why.arg, "key") && !strncmp(why.text, "key ", 4), "%s", why.text);
        CHECK(!memcmp(&k, &was, sizeof k));
        CHECK(vq_key_parse(text, &k, NULL) == VQ_BAD_ARG);
        free(text);
    }
#undef E4M3
#undef HEAD
#undef KEY
}

static void texts_that_are_long_are_refused(void)
{
    size_t n = 1 << 20, i;
    char *text = malloc(n + 1);
    static const char *const starts[] = { "", "/", "float8_e4m3fn/f32/1x",
        "float8_e4m3fn/f32/1x128/", "float8_e4m3fn/f32/1x128/dyn/amax.inv", "fp8_tensor" };
    static const char fill[] = "19.e/x-";
    vq_key k;
    vq_report why;
    int f;
    for (i = 0; i < (size_t)COUNT(starts); i++)
        for (f = 0; fill[f]; f++) {
            memset(text, fill[f], n);
            memcpy(text, starts[i], strlen(starts[i]));
            text[n] = 0;
            CHECKF(vq_key_parse(text, &k, &why) == VQ_BAD_ARG, "%s %c", starts[i], fill[f]);
            CHECK(strlen(why.text) < sizeof why.text && strlen(why.name) < sizeof why.name);
        }
    free(text);
}

/* The text of an accepted key is a fixed point of reading and printing. */
static void accepted_texts_are_keys(const char *text)
{
    vq_key k, again;
    char out[256];
    if (vq_key_parse(text, &k, NULL)) return;
    CHECKF(vq_key_check(&k, NULL) == VQ_OK, "%s", text);
    vq_key_print(&k, out, sizeof out);
    CHECKF(vq_key_parse(out, &again, NULL) == VQ_OK && vq_key_equal(&k, &again), "%s: %s", text,
           out);
}

static void a_text_cut_short_is_refused_or_is_a_key_of_its_own(void)
{
    char whole[256], out[256];
    int i;
    size_t cut;
    for (i = 0; i < VQ_KEY_COUNT; i++) {
        vq_key k = vq_key_preset((vq_key_id)i), part;
        vq_key_print(&k, whole, sizeof whole);
        for (cut = 0; cut < strlen(whole); cut++) {
            char *text = malloc(cut + 1);
            memcpy(text, whole, cut);
            text[cut] = 0;
            if (!vq_key_parse(text, &part, NULL)) {          /* cut in a floor, or after a field */
                size_t same = strcspn(text, ":");
                vq_key_print(&part, out, sizeof out);
                CHECKF(!strncmp(text, out, same) && (text[same] ? strchr(out, ':') != NULL
                                                                : !out[same]), "%s: %s", text, out);
                CHECKF(strstr(text, "/x."), "%s", text);
                accepted_texts_are_keys(text);
            }
            free(text);
        }
    }
}

static void no_garbage_breaks_the_reader(void)
{
    static const char ascii[] = "/x0123456789.-=:e+ amaxdivnotail";
    char whole[256];
    int i, round, edits, n;
    for (round = 0; round < (t_exhaustive ? 2000 : 60); round++)
        for (i = 0; i < VQ_KEY_COUNT; i++) {
            vq_key k = vq_key_preset((vq_key_id)i);
            char *text;
            n = vq_key_print(&k, whole, sizeof whole - 8);
            for (edits = 1 + (int)(t_rand() % 3); edits; edits--) {
                int at = (int)(t_rand() % (unsigned)n);
                char c = (char)(t_rand() >> 24);
                if (t_rand() & 1) c = ascii[t_rand() % (sizeof ascii - 1)];
                switch (t_rand() % 3) {
                case 0: whole[at] = c; break;
                case 1: memmove(whole + at, whole + at + 1, (size_t)(n - at)); n--; break;
                default: memmove(whole + at + 1, whole + at, (size_t)(n - at) + 1);
                         whole[at] = c;
                         n++;
                }
            }
            text = malloc(strlen(whole) + 1);
            strcpy(text, whole);
            accepted_texts_are_keys(text);
            free(text);
        }
}

static void numbers_may_be_written_in_other_ways(void)
{
    static const char *const same[] = { "1e-10", "1.0e-10", "0.1e-9", "10e-11", "1e-010", ".1e-9",
                                        "100.e-12", "0.0000000001" };
    static const struct { const char *text; uint32_t bits; } known[] = {
        { "1", 0x3f800000 }, { "0.1", 0x3dcccccd }, { "16777217", 0x4b800000 },
        { "16777219", 0x4b800002 }, { "3.4028235e38", 0x7f7fffff }, { "1e-45", 1 },
        { "1.1754944e-38", 0x00800000 }, { "1.1754942e-38", 0x007fffff }, { "1e-10", 0x2edbe6ff },
        { "4.3596542e-6", 0x36924925 }, { "4.359654e-6", 0x36924925 }, { "7e-46", 0 },
        { "8e-46", 1 }, { "999999999999999", 0x58635fa9 }, { "0.33333334326744", 0x3eaaaaab },
    };
    vq_key k = key_of("fp8_group128"), other;
    char text[128];
    int i;
    for (i = 0; i < COUNT(same); i++) {
        snprintf(text, sizeof text, "float8_e4m3fn/f32/1x128/dyn/amax.inv448/x.div.s/floor=amax:%s",
                 same[i]);
        other = key_of(text);
        CHECKF(vq_key_equal(&k, &other), "%s", text);
    }
    for (i = 0; i < COUNT(known); i++) {
        snprintf(text, sizeof text, "float8_e4m3fn/f32/1x128/dyn/amax.inv448/x.div.s/floor=amax:%s",
                 known[i].text);
        if (!known[i].bits) {
            CHECKF(vq_key_parse(text, &other, NULL) == VQ_BAD_ARG, "%s", text);
            continue;
        }
        other = key_of(text);
        CHECKF(bits_of(other.floor_value) == known[i].bits, "%s: %08x", known[i].text,
               (unsigned)bits_of(other.floor_value));
        CHECKF(other.floor_value == strtof(known[i].text, NULL), "%s", known[i].text);
    }
}

/* Each contradiction names its field. */
static void a_key_that_contradicts_itself_names_the_field(void)
{
    static const struct { const char *text, *field; } texts[] = {
        { "f32/f32/1x128/dyn/amax.div448/x.div.s", "key.elem" },
        { "float8_e8m0fnu/f32/1x128/dyn/amax.div448/x.div.s", "key.elem" },
        { "ue4m3/f32/1x128/dyn/amax.div448/x.div.s", "key.elem" },
        { "float8_e4m3fn/int8/1x128/dyn/amax.div448/x.div.s", "key.scale_type" },
        { "float8_e4m3fn/float8_e4m3fn/1x128/dyn/amax.div448/x.div.s", "key.scale_type" },
        { "float8_e4m3fn/f32/1x128/dyn/amax.div448.1/x.div.s", "key.code_max" },
        { "float8_e4m3fn/f32/1x128/static/max1e9/x.div.s", "key.code_max" },
        { "float8_e4m3fnuz/f32/1x128/dyn/amax.div448/x.div.s", "key.code_max" },
        { "float8_e5m2/f32/1x128/dyn/amax.div57345/x.div.s", "key.code_max" },
        { "int8/f32/1x128/dyn/amax.div128/x.div.s", "key.code_max" },
        { "int4/f32/1x128/dyn/amax.div8/x.div.s", "key.code_max" },
        { "uint4/f32/1x128/dyn/amax.div16/x.div.s", "key.code_max" },
        { "int8/f32/1x-1/dyn/range.div1/x.inv.s/asym", "key.code_max" },
        { "int8/f32/1x-1/dyn/range.div257/x.inv.s/asym", "key.code_max" },
        { "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.div.s/asym", "key.elem" },
        { "float8_e4m3fn/f32/1x128/dyn/range.div448/x.div.s", "key.scale_rule" },
        { "int8/f32/1x128/dyn/range.div255/x.div.s", "key.scale_rule" },
        { "int8/f32/1x128/dyn/amax.div127/x.div.s/asym", "key.scale_rule" },
        { "float8_e4m3fn/float8_e8m0fnu/1x128/dyn/amax.div448/x.div.s", "key.scale_rule" },
        { "float8_e4m3fn/float8_e8m0fnu/1x128/dyn/amax.inv448/x.div.s", "key.scale_rule" },
        { "float8_e4m3fn/ue4m3/1x128/dyn/amax.rceil448/x.div.s", "key.scale_rule" },
        { "float8_e4m3fn/ue4m3/1x128/dyn/amax.recip448/x.div.s", "key.scale_rule" },
        { "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.ratio", "key.code_rule" },
        { "float8_e4m3fn/f32/1x128/static/max448/x.inv.amax", "key.code_rule" },
        { "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.inv.amax.away", "key.code_rule" },
        { "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.div.s.trunc", "key.code_rule" },
        { "int8/f32/1x128/static/max127/x.inv.amax.away", "key.code_rule" },
        { "int8/f32/1x128/dyn/range.div255/x.inv.amax/asym", "key.code_rule" },
        { "float8_e4m3fn/f32/1x128/static/max448/x.div.s/bound=amax", "key.bound_kind" },
        { "float8_e4m3fn/f32/1x128/static/max448/x.div.s/floor=scale:1", "key.floor_kind" },
        { "float8_e4m3fn/f32/1x128/dyn/amax.div448/x.div.s/floor=raw:1", "key.floor_kind" },
        { "float8_e4m3fn/f32/1x128/dyn/amax.recip448/x.div.s/floor=raw:1", "key.floor_kind" },
    };
    vq_key good = key_of("fp8_group128"), k;
    vq_report why;
    int i;
    for (i = 0; i < COUNT(texts); i++) {
        vq_key was;
        memset(&was, 0x11, sizeof was);
        k = was;
        memset(&why, 0, sizeof why);
        CHECKF(vq_key_parse(texts[i].text, &k, &why) == VQ_BAD_ARG, "%s", texts[i].text);
        CHECKF(why.guard == VQ_GUARD_KEY && why.arg && !strcmp(why.arg, texts[i].field), "%s: %s",
               texts[i].text, why.text);
        CHECKF(!strncmp(why.text, texts[i].field, strlen(texts[i].field)), "%s", why.text);
        CHECK(!memcmp(&k, &was, sizeof k));
    }

#define BITS(v) ((int64_t)vq__f32_bits(v))
#define WRONG(edit, field, has, needs) do { \
        k = good; \
        edit; \
        memset(&why, 0, sizeof why); \
        CHECKF(vq_key_check(&k, &why) == VQ_BAD_ARG && why.guard == VQ_GUARD_KEY, #edit ": %s", \
               why.text); \
        CHECKF(why.arg && !strcmp(why.arg, field), #edit ": %s", why.text); \
        CHECKF(why.found == (has) && why.needed == (needs), #edit ": %s", why.text); \
        CHECK(vq_key_check(&k, NULL) == VQ_BAD_ARG); } while (0)
    CHECK(vq_key_check(&good, NULL) == VQ_OK);
    WRONG(k.code_max = 0, "key.code_max", BITS(k.code_max), BITS(448.0f));
    WRONG(k.code_max = -0.0f, "key.code_max", BITS(k.code_max), BITS(448.0f));
    WRONG(k.code_max = -1, "key.code_max", BITS(k.code_max), BITS(448.0f));
    WRONG(k.code_max = NAN, "key.code_max", BITS(k.code_max), BITS(448.0f));
    WRONG(k.code_max = INFINITY, "key.code_max", BITS(k.code_max), BITS(448.0f));
    WRONG(k.code_max = 450, "key.code_max", BITS(k.code_max), BITS(448.0f));
    WRONG(k.group_rows = 0, "key.group_rows", 0, 1);
    WRONG(k.group_rows = -2, "key.group_rows", -2, 1);
    WRONG(k.group_rows = INT32_MIN, "key.group_rows", INT32_MIN, 1);
    WRONG(k.group_cols = 0, "key.group_cols", 0, 1);
    WRONG(k.group_cols = (1 << 24) + 1, "key.group_cols", (1 << 24) + 1, 1 << 24);
    WRONG(k.group_cols = INT32_MAX, "key.group_cols", INT32_MAX, 1 << 24);
    WRONG(k.flags = 8, "key.flags", 8, 0);
    WRONG(k.flags = 0xfffffffcu, "key.flags", 0xfffffffcu, 4);
    WRONG(k.bound_kind = VQ_BOUND_COUNT, "key.bound_kind", VQ_BOUND_COUNT, VQ_BOUND_COUNT - 1);
    WRONG(k.floor_kind = VQ_FLOOR_COUNT, "key.floor_kind", VQ_FLOOR_COUNT, VQ_FLOOR_COUNT - 1);
    WRONG(k.scale2_kind = (vq_scale2_kind)77, "key.scale2_kind", 77, VQ_SCALE2_COUNT - 1);
    WRONG(k.nan_rule = VQ_NAN_COUNT, "key.nan_rule", VQ_NAN_COUNT, VQ_NAN_COUNT - 1);
    WRONG(k.overflow = VQ_OVERFLOW_COUNT, "key.overflow", VQ_OVERFLOW_COUNT, VQ_OVERFLOW_COUNT - 1);
    WRONG(k.reserved = 5, "key.reserved", 5, 0);
    WRONG(k.arith = VQ_F16, "key.arith", VQ_F16, 1 << VQ_F32 | 1 << VQ_BF16);
    WRONG(k.arith = VQ_NONE, "key.arith", VQ_NONE, 1 << VQ_F32 | 1 << VQ_BF16);
    WRONG(k.floor_value = 0, "key.floor_value", BITS(k.floor_value), 1);
    WRONG(k.floor_value = -1e-10f, "key.floor_value", BITS(k.floor_value), 1);
    WRONG(k.floor_value = NAN, "key.floor_value", BITS(k.floor_value), 1);
    WRONG(k.floor_value = INFINITY, "key.floor_value", BITS(k.floor_value), 1);
    WRONG(k.floor_kind = VQ_FLOOR_NONE, "key.floor_value", BITS(k.floor_value), 0);
    WRONG(k.floor_kind = VQ_FLOOR_NONE; k.floor_value = -0.0f, "key.floor_value", BITS(k.floor_value), 0);
#undef WRONG
    for (i = 0; i < 3; i++) {                        /* values that no enum has */
        static const int odd[] = { 40, -1, 1 << 20 };
        k = good;
        k.elem = (vq_dtype)odd[i];
        CHECK(vq_key_check(&k, &why) == VQ_BAD_ARG && !strcmp(why.arg, "key.elem"));
        k = good;
        k.scale_type = (vq_dtype)odd[i];
        CHECK(vq_key_check(&k, &why) == VQ_BAD_ARG && !strcmp(why.arg, "key.scale_type"));
        k = good;
        k.scale_rule = (vq_scale_rule)odd[i];
        CHECK(vq_key_check(&k, &why) == VQ_BAD_ARG && !strcmp(why.arg, "key.scale_rule"));
        k = good;
        k.code_rule = (vq_code_rule)odd[i];
        CHECK(vq_key_check(&k, &why) == VQ_BAD_ARG && !strcmp(why.arg, "key.code_rule"));
    }
}

static void what_is_missing_is_said(void)
{
    vq_key k;
    vq_report why = VQ_ZERO;
    CHECK(vq_key_parse(NULL, &k, &why) == VQ_BAD_ARG && why.guard == VQ_GUARD_PRESENT);
    CHECK(why.arg && !strcmp(why.arg, "key"));
    memset(&why, 0, sizeof why);
    CHECK(vq_key_parse("fp8_tensor", NULL, &why) == VQ_BAD_ARG && why.guard == VQ_GUARD_PRESENT);
    memset(&why, 0, sizeof why);
    CHECK(vq_key_check(NULL, &why) == VQ_BAD_ARG && why.guard == VQ_GUARD_PRESENT);
    CHECK(why.arg && !strcmp(why.arg, "key"));
    CHECK(vq_key_parse(NULL, NULL, NULL) == VQ_BAD_ARG && vq_key_check(NULL, NULL) == VQ_BAD_ARG);
    memset(&why, 0x33, sizeof why);                          /* success leaves the report alone */
    CHECK(vq_key_parse("fp8_tensor", &k, &why) == VQ_OK && vq_key_check(&k, &why) == VQ_OK);
    CHECK(why.text[0] == 0x33 && why.found == INT64_C(0x3333333333333333));
}

/* --- other encodings, extents ---------------------------------------------- */

static void the_maximum_of_fp8_is_known_in_one_place(void)
{
    static const struct { vq_dtype t; float format, vllm; } known[] = {
        { VQ_E4M3FN, 448, 448 }, { VQ_E4M3FNUZ, 240, 224 }, { VQ_E5M2, 57344, 57344 },
        { VQ_E5M2FNUZ, 57344, 57344 },
    };
    int i, t;
    for (i = 0; i < COUNT(known); i++) {
        CHECK(vq_fp8_max(known[i].t, 0) == known[i].format);
        CHECK(vq_fp8_max(known[i].t, 1) == known[i].vllm);
        CHECK(vq_fp8_max(known[i].t, -7) == known[i].vllm);
        CHECK(vq_dtype_max(known[i].t) == known[i].format);
    }
    for (t = -1; t < VQ_DTYPE_COUNT + 40; t++)
        if (t < VQ_E4M3FN || t > VQ_E5M2FNUZ)
            CHECK(vq_fp8_max((vq_dtype)t, 0) == 0 && vq_fp8_max((vq_dtype)t, 1) == 0);
    CHECK(vq_dtype_max(VQ_NONE) == 0 && vq_dtype_max((vq_dtype)99) == 0);
}

static void a_key_turns_into_another_encoding_and_back(void)
{
    vq_key k = key_of("fp8_token"), uz = vq_key_as(k, VQ_E4M3FNUZ, 224), want = k;
    int i;
    want.elem = VQ_E4M3FNUZ;
    want.code_max = 224;
    want.floor_value = float_of(0x37124925);                 /* 1/(512*224) */
    CHECK(vq_key_equal(&uz, &want));
    uz = vq_key_as(uz, VQ_E4M3FN, 448);
    CHECK(vq_key_equal(&uz, &k));
    uz = vq_key_as(k, VQ_E5M2, 57344);
    CHECK(uz.floor_value == (float)(1.0 / (512.0 * 57344.0)) && uz.elem == VQ_E5M2);

    k = key_of("fp8_group128");                              /* a floor of another kind stays */
    uz = vq_key_as(k, VQ_E4M3FNUZ, 240);
    CHECK(uz.floor_value == 1e-10f && uz.code_max == 240 && uz.elem == VQ_E4M3FNUZ);
    k = key_of("float8_e4m3fn/f32/1x-1/dyn/amax.div448/x.div.s/floor=scale:4.3596546e-6");
    uz = vq_key_as(k, VQ_E4M3FNUZ, 224);
    CHECK(uz.floor_value == k.floor_value);
    k = key_of("float8_e4m3fn/f32/1x-1/dyn/amax.div448/x.div.s/floor=amax:4.3596542e-6");
    uz = vq_key_as(k, VQ_E4M3FNUZ, 224);
    CHECK(uz.floor_value == k.floor_value);
    for (i = 0; i < VQ_KEY_COUNT; i++) {                     /* nothing else changes */
        vq_key a = vq_key_preset((vq_key_id)i), b = vq_key_as(a, a.elem, a.code_max);
        CHECK(vq_key_equal(&a, &b));
        b = vq_key_as(a, VQ_E5M2, 3);
        b.elem = a.elem;
        b.code_max = a.code_max;
        if (a.floor_kind == VQ_FLOOR_SCALE) b.floor_value = a.floor_value;
        CHECKF(vq_key_equal(&a, &b), "%s", vq_key_name((vq_key_id)i));
    }
}

static void a_preset_turns_into_the_encoding_of_a_platform(void)
{
    static const char *const archs[] = { "gfx942", "gfx950", "gfx90a", "gfx1201", "sm_90", "cpu" };
    int i, j;
    for (i = 0; i < COUNT(archs); i++) {
        vq_platform p;
        CHECK(vq_platform_of(archs[i], &p, NULL) == VQ_OK);
        for (j = 0; j < VQ_KEY_COUNT; j++) {
            vq_key k = vq_key_preset((vq_key_id)j), on = vq_key_on(k, &p), want = k;
            int turns = i == 0 && k.elem == VQ_E4M3FN && k.scale_type != VQ_E8M0;
            if (turns) {
                want.elem = VQ_E4M3FNUZ;
                want.code_max = 224;
                if (bits_of(k.floor_value) == 0x36924925) want.floor_value = float_of(0x37124925);
            }
            CHECKF(vq_key_equal(&on, &want), "%s on %s", vq_key_name((vq_key_id)j), archs[i]);
            CHECK(vq_key_check(&on, NULL) == VQ_OK);
            on = vq_key_on(on, &p);
            CHECK(vq_key_equal(&on, &want));
        }
    }
}

static void groups_count_what_they_cover(void)
{
    static const struct { int32_t gr, gc; int64_t rows, cols, group[2], count[2]; } known[] = {
        { -1, -1, 5, 7, { 5, 7 }, { 1, 1 } },
        { -1, -1, 0, 0, { 0, 0 }, { 1, 1 } },
        { 1, -1, 5, 7, { 1, 7 }, { 5, 1 } },
        { 1, -1, 0, 7, { 1, 7 }, { 0, 1 } },
        { -1, 1, 5, 7, { 5, 1 }, { 1, 7 } },
        { 1, 128, 5, 256, { 1, 128 }, { 5, 2 } },
        { 1, 128, 5, 257, { 1, 128 }, { 5, 3 } },
        { 1, 128, 5, 255, { 1, 128 }, { 5, 2 } },
        { 1, 128, 5, 1, { 1, 128 }, { 5, 1 } },
        { 1, 128, 5, 0, { 1, 128 }, { 5, 0 } },
        { 128, 128, 129, 1, { 128, 128 }, { 2, 1 } },
        { 3, 5, 7, 11, { 3, 5 }, { 3, 3 } },
        { 1 << 24, 1, INT64_MAX, INT64_MAX, { 1 << 24, 1 }, { INT64_C(1) << 39, INT64_MAX } },
        { 2, -1, INT64_MAX, INT64_MAX, { 2, INT64_MAX }, { INT64_C(1) << 62, 1 } },
    };
    int i;
    for (i = 0; i < COUNT(known); i++) {
        vq_key k = key_of("fp8_group128");
        int64_t group[2], count[2];
        vq_tensor q = vq_tensor_2d(NULL, VQ_E4M3FN, known[i].rows, known[i].cols, VQ_MANAGED), s;
        k.group_rows = known[i].gr;
        k.group_cols = known[i].gc;
        vq_key_group(&k, known[i].rows, known[i].cols, group, count);
        CHECKF(group[0] == known[i].group[0] && group[1] == known[i].group[1], "%d", i);
        CHECKF(count[0] == known[i].count[0] && count[1] == known[i].count[1], "%d", i);
        s = vq_scale_for(&k, q, VQ_ROWS, &k);
        CHECK(s.shape[0] == count[0] && s.shape[1] == count[1] && s.rank == 2);
        CHECK(s.dtype == k.scale_type && s.where == VQ_MANAGED && s.data == &k);
    }
}

VQ_TEST_MAIN(
    T(presets_print_what_they_were_read_from),
    T(every_key_that_is_accepted_comes_back_from_its_text),
    T(every_floor_and_maximum_comes_back),
    T(no_rounding_mode_changes_a_key_or_its_text),
    T(no_locale_changes_a_key_or_its_text),
    T(print_cuts_as_snprintf_does),
    T(a_key_of_any_bits_prints),
    T(hashes_are_the_same_on_every_machine),
    T(keys_of_other_texts_have_other_hashes),
    T(a_change_of_any_field_changes_the_key),
    T(each_name_is_one_preset),
    T(a_name_is_known_whole_or_not_at_all),
    T(ids_out_of_range_are_harmless),
    T(every_key_of_vllm_has_its_fields),
    T(every_producer_has_its_formula),
    T(bad_texts_are_refused_where_they_go_wrong),
    T(texts_that_are_long_are_refused),
    T(a_text_cut_short_is_refused_or_is_a_key_of_its_own),
    T(no_garbage_breaks_the_reader),
    T(numbers_may_be_written_in_other_ways),
    T(a_key_that_contradicts_itself_names_the_field),
    T(what_is_missing_is_said),
    T(the_maximum_of_fp8_is_known_in_one_place),
    T(a_key_turns_into_another_encoding_and_back),
    T(a_preset_turns_into_the_encoding_of_a_platform),
    T(groups_count_what_they_cover))
