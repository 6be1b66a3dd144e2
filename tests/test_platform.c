/* test_platform.c - architecture strings, the capability table, and vq_probe() before drivers
   that are not there: mock_driver.c says how they are built

   The mocks lie in $VQ_MOCK_DIR, else in mock/ beside this program, else in build/mock. What
   opens libraries runs in a child, a fresh process with its own environment. */
#define _GNU_SOURCE
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"
#include <dlfcn.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- names taken apart ------------------------------------------------------------------- */

static const struct {
    const char *text, *name;
    vq_backend backend;
    int major, minor, stepping, sramecc, xnack;
    char suffix;
} names[] = {
    { "gfx90a:sramecc+:xnack-", "gfx90a",  VQ_HIP,   9, 0, 10,  1, -1, 0 },
    { "gfx90a:sramecc+:xnack+", "gfx90a",  VQ_HIP,   9, 0, 10,  1,  1, 0 },
    { "gfx942:sramecc+:xnack-", "gfx942",  VQ_HIP,   9, 4, 2,   1, -1, 0 },
    { "gfx942:sramecc-:xnack+", "gfx942",  VQ_HIP,   9, 4, 2,  -1,  1, 0 },
    { "gfx950:sramecc+:xnack-", "gfx950",  VQ_HIP,   9, 5, 0,   1, -1, 0 },
    { "gfx906:sramecc+:xnack-", "gfx906",  VQ_HIP,   9, 0, 6,   1, -1, 0 },
    { "gfx908:xnack-",          "gfx908",  VQ_HIP,   9, 0, 8,   0, -1, 0 },
    { "gfx90a:sramecc-",        "gfx90a",  VQ_HIP,   9, 0, 10, -1,  0, 0 },
    { "gfx803",                 "gfx803",  VQ_HIP,   8, 0, 3,   0,  0, 0 },
    { "gfx900",                 "gfx900",  VQ_HIP,   9, 0, 0,   0,  0, 0 },
    { "gfx90a",                 "gfx90a",  VQ_HIP,   9, 0, 10,  0,  0, 0 },
    { "gfx90c",                 "gfx90c",  VQ_HIP,   9, 0, 12,  0,  0, 0 },
    { "gfx940",                 "gfx940",  VQ_HIP,   9, 4, 0,   0,  0, 0 },
    { "gfx941",                 "gfx941",  VQ_HIP,   9, 4, 1,   0,  0, 0 },
    { "gfx942",                 "gfx942",  VQ_HIP,   9, 4, 2,   0,  0, 0 },
    { "gfx9a0",                 "gfx9a0",  VQ_HIP,   9, 10, 0,  0,  0, 0 },
    { "gfx1010",                "gfx1010", VQ_HIP,  10, 1, 0,   0,  0, 0 },
    { "gfx1030",                "gfx1030", VQ_HIP,  10, 3, 0,   0,  0, 0 },
    { "gfx1036",                "gfx1036", VQ_HIP,  10, 3, 6,   0,  0, 0 },
    { "gfx1100",                "gfx1100", VQ_HIP,  11, 0, 0,   0,  0, 0 },
    { "gfx1151",                "gfx1151", VQ_HIP,  11, 5, 1,   0,  0, 0 },
    { "gfx1200",                "gfx1200", VQ_HIP,  12, 0, 0,   0,  0, 0 },
    { "gfx1201",                "gfx1201", VQ_HIP,  12, 0, 1,   0,  0, 0 },
    { "gfx1250",                "gfx1250", VQ_HIP,  12, 5, 0,   0,  0, 0 },
    { "gfx1337",                "gfx1337", VQ_HIP,  13, 3, 7,   0,  0, 0 },
    { "sm_70",                  "sm_70",   VQ_CUDA,  7, 0, 0,   0,  0, 0 },
    { "sm_75",                  "sm_75",   VQ_CUDA,  7, 5, 0,   0,  0, 0 },
    { "sm_80",                  "sm_80",   VQ_CUDA,  8, 0, 0,   0,  0, 0 },
    { "sm_86",                  "sm_86",   VQ_CUDA,  8, 6, 0,   0,  0, 0 },
    { "sm_87",                  "sm_87",   VQ_CUDA,  8, 7, 0,   0,  0, 0 },
    { "sm_89",                  "sm_89",   VQ_CUDA,  8, 9, 0,   0,  0, 0 },
    { "sm_90",                  "sm_90",   VQ_CUDA,  9, 0, 0,   0,  0, 0 },
    { "sm_90a",                 "sm_90",   VQ_CUDA,  9, 0, 0,   0,  0, 'a' },
    { "sm_95",                  "sm_95",   VQ_CUDA,  9, 5, 0,   0,  0, 0 },
    { "sm_100",                 "sm_100",  VQ_CUDA, 10, 0, 0,   0,  0, 0 },
    { "sm_100a",                "sm_100",  VQ_CUDA, 10, 0, 0,   0,  0, 'a' },
    { "sm_100f",                "sm_100",  VQ_CUDA, 10, 0, 0,   0,  0, 'f' },
    { "sm_103",                 "sm_103",  VQ_CUDA, 10, 3, 0,   0,  0, 0 },
    { "sm_110",                 "sm_110",  VQ_CUDA, 11, 0, 0,   0,  0, 0 },
    { "sm_120",                 "sm_120",  VQ_CUDA, 12, 0, 0,   0,  0, 0 },
    { "sm_121",                 "sm_121",  VQ_CUDA, 12, 1, 0,   0,  0, 0 },
    { "sm_121a",                "sm_121",  VQ_CUDA, 12, 1, 0,   0,  0, 'a' },
    { "cpu",                    "cpu",     VQ_CPU,   0, 0, 0,   0,  0, 0 },
};

static const char *const unreadable[] = {
    "", " ", "gfx", "gfx9", "gfx94", "gfx9420", "gfx2010", "gfx9a42", "gfx1a00", "gfx12345",
    "gfx123456789012345678901234567890", "gfx942:",
    "gfx942::", "gfx942:foo+", "gfx942:sramecc", "gfx942:sramecc+:", "gfx942:sramecc+:xnack",
    "gfx942:sramecc*", "gfx942:+", "gfx942:xnack+xnack-", "gfx942:xnack+:xnack-",
    "gfx942:sramecc+:sramecc+", "gfx942:sramecc+:xnack-:foo", "gfx942:SRAMECC+", "gfx942:xnack+ ",
    "gfx942;xnack+", "gfx942,gfx950", "GFX942", "Gfx942", "gFx942", " gfx942", "gfx942 ",
    "gfx 942", "gfx-942", "gfx+942", "gfx94g", "gfx94A", "gfx90A", "gfxa42", "gfx9.42", "gfx0942",
    "gfx942\n", "gfx942\t", "gfx942/", "gfx942a:", "amdgcn-amd-amdhsa--gfx942", "942",
    "sm_", "sm_9", "sm_a", "sm_90b", "sm_90A", "sm_90aa", "sm_90af", "sm_90 ", " sm_90", "sm_ 90",
    "sm_+90", "sm_-90", "sm_1000", "sm_0x90", "sm_9.0", "sm_90:", "sm_90:xnack+", "sm_90:xnack-",
    "sm90", "SM_90", "Sm_90", "sm-90", "sm_090", "sm_99999999999999999999", "compute_90", "9.0",
    "cpu ", " cpu", "CPU", "Cpu", "cp", "cpux", "cpu:xnack+", "cpu0", "any", "hip", "cuda",
    "gfx94\xc2\xb2", "gfx\xff\xff\xff", "\xef\xbb\xbfgfx942", "gfx\xd9\xa9\xd9\xa4\xd9\xa2",
    "sm_\xef\xbc\x99\xef\xbc\x90", "gfx%s%n%d", "%n", "gfx942:%s+"
};

/* Well-formed, and no row of the table. */
static const char *const strangers[] = {
    "gfx1337", "gfx999", "gfx803", "gfx90c", "gfx9a0", "gfx1399", "gfx99f", "gfx1337:xnack-",
    "sm_95", "sm_95a", "sm_99", "sm_130", "sm_999"
};

#define COUNT(a) ((int)(sizeof (a) / sizeof *(a)))

/* r refuses `text` by its name, in words that hold it, and out is as it was. */
static void check_refused(const char *text, vq_status s, const vq_report *r, const void *out,
                          const void *before, size_t size)
{
    size_t n = strlen(text) < 62 ? strlen(text) : 62;
    CHECKF(s == VQ_UNSUPPORTED, "'%s': %s", text, vq_status_str(s));
    CHECKF(r->status == VQ_UNSUPPORTED && r->guard == VQ_GUARD_ARCH, "'%s': guard %s", text,
           vq_guard_str(r->guard));
    CHECKF(r->kind == 's', "'%s': kind %d", text, r->kind);
    CHECKF(!strncmp(r->name, text, n) && strlen(r->name) == n, "'%s': name '%s'", text, r->name);
    CHECKF(strlen(r->text) > 0 && (n > 40 || text[strcspn(text, "\t\n\r\x7f")]
                                    || strstr(r->text, text)), "'%s': text '%s'", text,
           r->text);
    CHECKF(!memcmp(out, before, size), "'%s': out was written", text);
}

static void every_name_a_runtime_spells_is_taken_apart(void)
{
    int i;
    for (i = 0; i < COUNT(names); i++) {
        vq_arch a;
        vq_report r, was;
        memset(&a, 0xa5, sizeof a);
        memset(&r, 0xa5, sizeof r);
        was = r;
        CHECKF(vq_arch_parse(names[i].text, &a, &r) == VQ_OK, "%s", names[i].text);
        CHECKF(!strcmp(a.name, names[i].name), "%s: %s", names[i].text, a.name);
        CHECKF(a.backend == names[i].backend, "%s: %d", names[i].text, a.backend);
        CHECKF(a.major == names[i].major && a.minor == names[i].minor &&
               a.stepping == names[i].stepping, "%s: %d.%d.%d", names[i].text, a.major, a.minor,
               a.stepping);
        CHECKF(a.sramecc == names[i].sramecc && a.xnack == names[i].xnack, "%s: %d %d",
               names[i].text, a.sramecc, a.xnack);
        CHECKF(a.suffix == names[i].suffix, "%s: %d", names[i].text, a.suffix);
        CHECKF(!memcmp(&r, &was, sizeof r), "%s: the report was written", names[i].text);
        CHECKF(vq_arch_parse(names[i].text, &a, NULL) == VQ_OK, "%s", names[i].text);
    }
}

static void what_is_not_a_name_is_refused_by_its_name(void)
{
    vq_arch a, a_was;
    vq_platform p, p_was;
    int i;
    memset(&a, 0xa5, sizeof a);
    memset(&p, 0xa5, sizeof p);
    a_was = a;
    p_was = p;
    for (i = 0; i < COUNT(unreadable); i++) {
        vq_report r = VQ_ZERO;
        vq_status s = vq_arch_parse(unreadable[i], &a, &r);
        check_refused(unreadable[i], s, &r, &a, &a_was, sizeof a);
        memset(&r, 0, sizeof r);
        s = vq_platform_of(unreadable[i], &p, &r);
        check_refused(unreadable[i], s, &r, &p, &p_was, sizeof p);
        CHECK(vq_arch_parse(unreadable[i], &a, NULL) == VQ_UNSUPPORTED);
        CHECK(vq_platform_of(unreadable[i], &p, NULL) == VQ_UNSUPPORTED);
    }
}

static void no_name_at_all_is_missing(void)
{
    vq_arch a, a_was;
    vq_platform p, p_was;
    vq_report r = VQ_ZERO;
    memset(&a, 0xa5, sizeof a);
    memset(&p, 0xa5, sizeof p);
    a_was = a;
    p_was = p;
    CHECK(vq_arch_parse(NULL, &a, &r) == VQ_BAD_ARG && r.guard == VQ_GUARD_PRESENT && r.text[0]);
    memset(&r, 0, sizeof r);
    CHECK(vq_platform_of(NULL, &p, &r) == VQ_BAD_ARG && r.guard == VQ_GUARD_PRESENT && r.text[0]);
    CHECK(vq_arch_parse(NULL, &a, NULL) == VQ_BAD_ARG);
    CHECK(vq_arch_parse("gfx942", NULL, &r) == VQ_BAD_ARG && r.guard == VQ_GUARD_PRESENT);
    CHECK(vq_platform_of("gfx942", NULL, &r) == VQ_BAD_ARG && r.guard == VQ_GUARD_PRESENT);
    CHECK(!memcmp(&a, &a_was, sizeof a) && !memcmp(&p, &p_was, sizeof p));
}

static void a_name_without_end_is_cut_in_the_report(void)
{
    static char text[100000];
    vq_report r = VQ_ZERO;
    vq_arch a, a_was;
    int k;
    memset(&a, 0xa5, sizeof a);
    a_was = a;
    for (k = 0; k < 3; k++) {
        memset(text, k == 0 ? '9' : k == 1 ? 'a' : ':', sizeof text - 1);
        memcpy(text, "gfx", 3);
        if (k == 2) memcpy(text, "gfx942:xnack+", 13);
        memset(&r, 0, sizeof r);
        check_refused(text, vq_arch_parse(text, &a, &r), &r, &a, &a_was, sizeof a);
        CHECK(strlen(r.text) < sizeof r.text);
    }
}

/* Every string of one or two wrong characters: what is read must be one of the forms. */
static void one_wrong_character_anywhere_is_seen(void)
{
    static const char *const good[] = { "gfx942", "gfx90a:xnack+", "sm_90a", "cpu" };
    char text[32];
    int i, at, c;
    for (i = 0; i < COUNT(good); i++)
        for (at = 0; at < (int)strlen(good[i]); at++)
            for (c = 1; c < 256; c++) {
                vq_arch a;
                int digit = c >= '0' && c <= '9', hex = digit || (c >= 'a' && c <= 'f'), want;
                strcpy(text, good[i]);
                text[at] = (char)c;
                if (good[i][0] == 'g')
                    want = at < 3 ? c == good[i][at] : at == 3 ? c >= '1' && c <= '9' :
                           at < 6 ? hex : at == (int)strlen(good[i]) - 1 ? c == '+' || c == '-' :
                           c == good[i][at];
                else if (good[i][0] == 's')
                    want = at < 3 ? c == good[i][at] : at == 3 ? c >= '1' && c <= '9' :
                           at == 4 ? digit : c == 'a' || c == 'f' || digit;
                else want = c == good[i][at];
                CHECKF((vq_arch_parse(text, &a, NULL) == VQ_OK) == want, "'%s'", text);
            }
}

/* --- what the machines can do ------------------------------------------------------------ */

#define FN VQ_E4M3FN
#define UZ VQ_E4M3FNUZ
#define NO VQ_NONE

enum { MI3XX = 1, GFX9 = 2, GFX90A = 4, GFX942 = 8, GFX950 = 16, GFX1X = 32, GFX11 = 64,
       GFX12X = 128 };

/* fp8: what the matrix units read. MFMA takes fnuz codes on gfx94x and OCP codes on gfx950; WMMA
   takes OCP codes from gfx12 on; mma takes e4m3 and e5m2 from sm_89 on. mx: v_mfma_scale_* on
   gfx950, mma/tcgen05 block_scale from sm_100 on. */
static const struct {
    const char *text, *name;
    vq_backend backend;
    vq_dtype fp8;
    int fnuz, mx, wave, major, minor, on;
} machines[] = {
    { "gfx90a:sramecc+:xnack-", "gfx90a",  VQ_HIP,  NO, 0, 0, 64,  9, 0, GFX9 | GFX90A },
    { "gfx940",                 "gfx940",  VQ_HIP,  UZ, 1, 0, 64,  9, 4, 0 },
    { "gfx941",                 "gfx941",  VQ_HIP,  UZ, 1, 0, 64,  9, 4, 0 },
    { "gfx942:sramecc+:xnack-", "gfx942",  VQ_HIP,  UZ, 1, 0, 64,  9, 4, MI3XX | GFX9 | GFX942 },
    { "gfx950:sramecc+:xnack-", "gfx950",  VQ_HIP,  FN, 0, 1, 64,  9, 5, MI3XX | GFX9 | GFX950 },
    { "gfx1030",                "gfx1030", VQ_HIP,  NO, 0, 0, 32, 10, 3, 0 },
    { "gfx1100",                "gfx1100", VQ_HIP,  NO, 0, 0, 32, 11, 0, GFX1X | GFX11 },
    { "gfx1101",                "gfx1101", VQ_HIP,  NO, 0, 0, 32, 11, 0, GFX1X | GFX11 },
    { "gfx1102",                "gfx1102", VQ_HIP,  NO, 0, 0, 32, 11, 0, GFX1X | GFX11 },
    { "gfx1150",                "gfx1150", VQ_HIP,  NO, 0, 0, 32, 11, 5, GFX1X | GFX11 },
    { "gfx1151",                "gfx1151", VQ_HIP,  NO, 0, 0, 32, 11, 5, GFX1X | GFX11 },
    { "gfx1200",                "gfx1200", VQ_HIP,  FN, 0, 0, 32, 12, 0, GFX1X | GFX12X },
    { "gfx1201",                "gfx1201", VQ_HIP,  FN, 0, 0, 32, 12, 0, GFX1X | GFX12X },
    { "sm_70",                  "sm_70",   VQ_CUDA, NO, 0, 0, 32,  7, 0, 0 },
    { "sm_72",                  "sm_72",   VQ_CUDA, NO, 0, 0, 32,  7, 2, 0 },
    { "sm_75",                  "sm_75",   VQ_CUDA, NO, 0, 0, 32,  7, 5, 0 },
    { "sm_80",                  "sm_80",   VQ_CUDA, NO, 0, 0, 32,  8, 0, 0 },
    { "sm_86",                  "sm_86",   VQ_CUDA, NO, 0, 0, 32,  8, 6, 0 },
    { "sm_87",                  "sm_87",   VQ_CUDA, NO, 0, 0, 32,  8, 7, 0 },
    { "sm_89",                  "sm_89",   VQ_CUDA, FN, 0, 0, 32,  8, 9, 0 },
    { "sm_90",                  "sm_90",   VQ_CUDA, FN, 0, 0, 32,  9, 0, 0 },
    { "sm_90a",                 "sm_90",   VQ_CUDA, FN, 0, 0, 32,  9, 0, 0 },
    { "sm_100",                 "sm_100",  VQ_CUDA, FN, 0, 1, 32, 10, 0, 0 },
    { "sm_100a",                "sm_100",  VQ_CUDA, FN, 0, 1, 32, 10, 0, 0 },
    { "sm_100f",                "sm_100",  VQ_CUDA, FN, 0, 1, 32, 10, 0, 0 },
    { "sm_103",                 "sm_103",  VQ_CUDA, FN, 0, 1, 32, 10, 3, 0 },
    { "sm_110",                 "sm_110",  VQ_CUDA, FN, 0, 1, 32, 11, 0, 0 },
    { "sm_120",                 "sm_120",  VQ_CUDA, FN, 0, 1, 32, 12, 0, 0 },
    { "sm_121",                 "sm_121",  VQ_CUDA, FN, 0, 1, 32, 12, 1, 0 },
    { "cpu",                    "cpu",     VQ_CPU,  NO, 0, 0, 1,   0, 0, 0 },
};

static int truth(int x) { return x != 0; }

static void every_machine_answers_as_it_is_documented(void)
{
    int i;
    for (i = 0; i < COUNT(machines); i++) {
        const char *t = machines[i].text;
        int on = machines[i].on;
        vq_platform p;
        vq_report r = VQ_ZERO;
        memset(&p, 0xa5, sizeof p);
        if (vq_platform_of(t, &p, &r) != VQ_OK) {
            CHECKF(0, "%s: %s", t, r.text);
            continue;
        }
        CHECKF(!strcmp(p.name, machines[i].name), "%s: %s", t, p.name);
        CHECKF(p.backend == machines[i].backend, "%s: %d", t, p.backend);
        CHECKF(p.fp8 == machines[i].fp8, "%s: %s", t, vq_dtype_str(p.fp8));
        CHECKF(p.wave == machines[i].wave, "%s: %d", t, p.wave);
        CHECKF(p.major == machines[i].major && p.minor == machines[i].minor, "%s: %d.%d", t,
               p.major, p.minor);
        CHECKF(truth(vq_is_fp8_fnuz(&p)) == machines[i].fnuz, "%s", t);
        CHECKF(vq_fp8_dtype(&p) == (machines[i].fnuz ? UZ : FN), "%s", t);
        CHECKF(vq_fp8_dtype_max(&p) == (machines[i].fnuz ? 224.0f : 448.0f), "%s", t);
        CHECKF(truth(vq_supports_fp8(&p)) == (machines[i].fp8 != NO), "%s", t);
        CHECKF(truth(vq_supports_mx(&p)) == machines[i].mx, "%s", t);
        CHECKF(truth(vq_is_cuda_alike(&p)) == (machines[i].backend != VQ_CPU), "%s", t);
        CHECKF(truth(vq_on_mi3xx(&p)) == truth(on & MI3XX), "%s", t);
        CHECKF(truth(vq_on_gfx9(&p)) == truth(on & GFX9), "%s", t);
        CHECKF(truth(vq_on_gfx90a(&p)) == truth(on & GFX90A), "%s", t);
        CHECKF(truth(vq_on_gfx942(&p)) == truth(on & GFX942), "%s", t);
        CHECKF(truth(vq_on_gfx950(&p)) == truth(on & GFX950), "%s", t);
        CHECKF(truth(vq_on_gfx1x(&p)) == truth(on & GFX1X), "%s", t);
        CHECKF(truth(vq_on_gfx11(&p)) == truth(on & GFX11), "%s", t);
        CHECKF(truth(vq_on_gfx12x(&p)) == truth(on & GFX12X), "%s", t);
        CHECKF(truth((int)(p.caps & VQ_CAP(FP8_MMA))) == (machines[i].fp8 != NO), "%s", t);
        CHECKF(truth((int)(p.caps & VQ_CAP(MX_MMA))) == machines[i].mx, "%s", t);
        CHECKF(!(p.caps & VQ_CAP(TMA)) == !(p.backend == VQ_CUDA && p.major >= 9), "%s", t);
        CHECKF(!(p.caps & VQ_CAP(PDL)) == !(p.backend == VQ_CUDA && p.major >= 9), "%s", t);
        CHECKF(!(p.caps & VQ_CAP(E4M3FNUZ_CVT)) == !machines[i].fnuz, "%s", t);
        CHECKF(!(p.caps & VQ_CAP(E4M3FN_CVT)) == (machines[i].fp8 != FN), "%s", t);
        CHECKF(!(p.caps & VQ_CAP(E2M1_CVT)) == !machines[i].mx, "%s", t);
        CHECKF(p.backend == VQ_CPU || !(p.caps & (VQ_CAP(AVX2) | VQ_CAP(AVX512) | VQ_CAP(NEON))),
               "%s", t);
    }
}

static void a_question_without_a_machine_is_answered_no(void)
{
    vq_platform p;
    memset(&p, 0, sizeof p);
    CHECK(!vq_is_cuda_alike(&p) && !vq_is_fp8_fnuz(&p) && !vq_supports_fp8(&p));
    CHECK(!vq_supports_mx(&p) && !vq_on_mi3xx(&p) && !vq_on_gfx9(&p) && !vq_on_gfx90a(&p));
    CHECK(!vq_on_gfx942(&p) && !vq_on_gfx950(&p) && !vq_on_gfx1x(&p) && !vq_on_gfx11(&p));
    CHECK(!vq_on_gfx12x(&p));
}

static void an_unknown_architecture_is_never_the_nearest_one(void)
{
    vq_platform p, was;
    int i;
    memset(&p, 0xa5, sizeof p);
    was = p;
    for (i = 0; i < COUNT(strangers); i++) {
        vq_report r = VQ_ZERO;
        vq_arch a;
        vq_status s = vq_platform_of(strangers[i], &p, &r);
        check_refused(strangers[i], s, &r, &p, &was, sizeof p);
        CHECKF(vq_arch_parse(strangers[i], &a, NULL) == VQ_OK, "%s", strangers[i]);
    }
}

static void every_row_of_the_table_is_found_by_its_name_once(void)
{
    static const char *const design[] = { "gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1201",
        "sm_80", "sm_89", "sm_90", "sm_100", "sm_120", "cpu" };
    int i, k, n = vq_platform_count();
    CHECK(n >= COUNT(design));
    for (i = 0; i < n; i++) {
        vq_platform p = vq_platform_at(i), q;
        vq_arch a;
        CHECKF(vq_platform_of(p.name, &q, NULL) == VQ_OK, "%s", p.name);
        CHECKF(q.name == p.name && q.backend == p.backend && q.fp8 == p.fp8 && q.wave == p.wave &&
               q.caps == p.caps && q.major == p.major && q.minor == p.minor, "%s", p.name);
        CHECKF(vq_arch_parse(p.name, &a, NULL) == VQ_OK, "%s", p.name);
        CHECKF(a.backend == p.backend && a.major == p.major && a.minor == p.minor, "%s", p.name);
        CHECKF(!strcmp(a.name, p.name) && !a.suffix && !a.xnack && !a.sramecc, "%s", p.name);
        CHECKF(!(p.caps >> VQ_CAP_COUNT), "%s: %x", p.name, (unsigned)p.caps);
        for (k = 0; k < i; k++) CHECKF(strcmp(vq_platform_at(k).name, p.name), "%s", p.name);
        for (k = 0; k < COUNT(machines); k++) if (!strcmp(machines[k].name, p.name)) break;
        CHECKF(k < COUNT(machines), "no test says what %s can do", p.name);
    }
    for (k = 0; k < COUNT(design); k++) {
        vq_platform q;
        CHECKF(vq_platform_of(design[k], &q, NULL) == VQ_OK, "%s", design[k]);
    }
}

static void backends_and_capabilities_have_names(void)
{
    int i, k;
    for (i = 0; i < VQ_BACKEND_COUNT; i++)
        CHECK(vq_backend_of(vq_backend_str((vq_backend)i)) == i);
    CHECK(!strcmp(vq_backend_str(VQ_HIP), "hip") && !strcmp(vq_backend_str(VQ_CUDA), "cuda"));
    CHECK(vq_backend_of("HIP") == -1 && vq_backend_of("") == -1 && vq_backend_of("cpu ") == -1);
    CHECK(vq_backend_of("cud") == -1 && vq_backend_of("cudaa") == -1);
    for (i = 0; i < VQ_CAP_COUNT; i++) {
        CHECK(vq_cap_str(i) && vq_cap_str(i)[0]);
        for (k = 0; k < i; k++) CHECK(strcmp(vq_cap_str(i), vq_cap_str(k)));
    }
}

static void the_maximum_of_fp8_is_known_once(void)
{
    int t;
    for (t = 0; t < VQ_DTYPE_COUNT; t++) {
        float plain = t == VQ_E4M3FN ? 448.0f : t == VQ_E4M3FNUZ ? 240.0f :
                      t == VQ_E5M2 || t == VQ_E5M2FNUZ ? 57344.0f : 0.0f;
        CHECKF(vq_fp8_max((vq_dtype)t, 0) == plain, "%s", vq_dtype_str((vq_dtype)t));
        CHECKF(vq_fp8_max((vq_dtype)t, 1) == (t == VQ_E4M3FNUZ ? 224.0f : plain), "%s",
               vq_dtype_str((vq_dtype)t));
    }
}

static void presets_become_fnuz_where_the_machine_is(void)
{
    int i, id;
    for (i = 0; i < vq_platform_count(); i++) {
        vq_platform p = vq_platform_at(i);
        for (id = 0; id < VQ_KEY_COUNT; id++) {
            vq_key k = vq_key_preset((vq_key_id)id), on = vq_key_on(k, &p), want = k;
            if (vq_is_fp8_fnuz(&p) && k.elem == VQ_E4M3FN && k.scale_type != VQ_E8M0) {
                want.elem = VQ_E4M3FNUZ;             /* MX formats have no fnuz */
                want.code_max = 224.0f;
                if (want.floor_value == (float)(1.0 / (512 * 448)))
                    want.floor_value = (float)(1.0 / (512 * 224));
            }
            CHECKF(vq_key_equal(&on, &want), "%s on %s", vq_key_name((vq_key_id)id), p.name);
        }
    }
}

static void an_assumed_machine_is_the_one_that_was_named(void)
{
    int i;
    for (i = 0; i < COUNT(machines); i++) {
        vq_desc d = VQ_ZERO;
        vq_ctx *vq = NULL;
        d.assume = machines[i].text;
        CHECKF(vq_init(&d, &vq) == VQ_OK, "%s", d.assume);
        if (!vq) continue;
        CHECKF(!strcmp(vq_platform_in(vq).name, machines[i].name), "%s", d.assume);
        CHECKF(!strcmp(vq_arch_in(vq), d.assume), "%s: %s", d.assume, vq_arch_in(vq));
        vq_free(vq);
    }
    for (i = 0; i < COUNT(strangers); i++) {
        vq_desc d = VQ_ZERO;
        vq_ctx *vq = (vq_ctx *)&d;
        vq_report r = VQ_ZERO;
        d.assume = strangers[i];
        d.report = &r;
        CHECKF(vq_init(&d, &vq) == VQ_UNSUPPORTED && !vq && r.guard == VQ_GUARD_ARCH, "%s",
               strangers[i]);
        CHECKF(!strcmp(r.name, strangers[i]), "%s: %s", strangers[i], r.name);
    }
}

/* --- the probe, in children -------------------------------------------------------------- */

static void line(void *user, const char *text)
{
    (void)user;
    printf("log %s\n", text);
}

/* "libcuda libamdhip64", as far as this process has them. */
static void print_maps(void)
{
    static char text[1 << 20];
    FILE *f = fopen("/proc/self/maps", "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = 0;
    if (f) fclose(f);
    printf("maps%s%s\n", strstr(text, "/libcuda.so") ? " libcuda" : "",
           strstr(text, "/libamdhip64") ? " libamdhip64" : "");
    printf("loaded%s%s\n", getenv("MOCK_CUDA_LOADED") ? " cuda" : "",
           getenv("MOCK_HIP_LOADED") ? " hip" : "");
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --child probe MASK CAP | --child init */
static int child(int argc, char **argv)
{
    int i, b, count = -77, cap = argc > 3 ? atoi(argv[3]) : 0;
    if (argc > 2 && !strcmp(argv[1], "probe")) {
        vq_device *d = (vq_device *)malloc(16 * sizeof *d);
        const unsigned char *raw = (const unsigned char *)d;
        vq_status s;
        if (!d || cap > 15) return 3;
        memset(d, 0xa5, 16 * sizeof *d);
        s = vq_probe((uint32_t)strtoul(argv[2], NULL, 0), cap ? d : NULL, cap, &count, line, NULL);
        printf("status %d count %d\n", s, count);
        for (i = 0; i < count && i < cap; i++)
            printf("device %s %s#%d [%s] %lld bytes runtime %d known %d %s\n",
                   vq_backend_str(d[i].backend), d[i].arch, d[i].ordinal, d[i].name,
                   (long long)d[i].memory_bytes, d[i].runtime, d[i].known,
                   d[i].known ? d[i].platform.name : "-");
        for (b = (count < cap ? count : cap) * (int)sizeof *d; b < 16 * (int)sizeof *d; b++)
            if (raw[b] != 0xa5) { puts("written beyond"); break; }
        free(d);
    } else {
        double best = 1e9;
        for (i = 0; i < 20; i++) {
            vq_desc d = VQ_ZERO;
            vq_ctx *vq = NULL;
            double t = seconds();
            vq_status s;
            d.backend = VQ_CPU;
            s = vq_init(&d, &vq);
            t = seconds() - t;
            if (t < best) best = t;
            if (s != VQ_OK || strcmp(vq_arch_in(vq), "cpu")) puts("init failed");
            vq_free(vq);
        }
        puts(best < 1e-3 ? "quick" : "slow");
    }
    print_maps();
    return 0;
}

static char self[4096], mocks[4200], heard[1 << 16];

static void find_mocks(void)
{
    const char *dir = getenv("VQ_MOCK_DIR");
    const char *slash;
    char probe[4300];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    if (dir) snprintf(mocks, sizeof mocks, "%s", dir);
    else {
        slash = strrchr(self, '/');
        snprintf(mocks, sizeof mocks, "%.*s/mock", slash ? (int)(slash - self) : 0, self);
    }
    snprintf(probe, sizeof probe, "%s/libcuda.so.1", mocks);
    if (access(probe, R_OK)) strcpy(mocks, "build/mock");
    snprintf(probe, sizeof probe, "%s/libcuda.so.1", mocks);
    if (access(probe, R_OK)) mocks[0] = 0;
}

/* Runs a child and leaves what it says in `heard`. env: "NAME=value" strings, up to NULL. */
static void run(const char *libs, const char *const *env, const char *a, const char *b,
                const char *c)
{
    int fd[2], status = -1;
    size_t n = 0;
    ssize_t got;
    pid_t pid;
    heard[0] = 0;
    fflush(stdout);
    if (pipe(fd)) { CHECK(!"pipe"); return; }
    pid = fork();
    if (pid == 0) {
        char path[9000];
        const char *was = getenv("LD_LIBRARY_PATH");
        dup2(fd[1], 1);
        close(fd[0]);
        close(fd[1]);
        if (libs) {
            snprintf(path, sizeof path, "%s%s%s", libs, was && *was ? ":" : "", was ? was : "");
            setenv("LD_LIBRARY_PATH", path, 1);
        }
        for (; env && *env; env++) {
            char *eq = strchr(strcpy(path, *env), '=');
            *eq = 0;
            setenv(path, eq + 1, 1);
        }
        execl("/proc/self/exe", self, "--child", a, b, c, (char *)NULL);
        _exit(127);
    }
    close(fd[1]);
    while (pid > 0 && n < sizeof heard - 1 &&
           (got = read(fd[0], heard + n, sizeof heard - 1 - n)) > 0) n += (size_t)got;
    heard[n] = 0;
    close(fd[0]);
    if (pid > 0) waitpid(pid, &status, 0);
    CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child ended with %d: %s", status, heard);
}

/* `heard` without its log lines. */
static const char *said(void)
{
    static char out[sizeof heard];
    const char *p = heard;
    size_t n = 0;
    while (*p) {
        size_t len = strcspn(p, "\n");
        if (p[len]) len++;
        if (strncmp(p, "log ", 4)) { memcpy(out + n, p, len); n += len; }
        p += len;
    }
    out[n] = 0;
    return out;
}

/* A log line that holds both words. */
static int logged(const char *a, const char *b)
{
    const char *p = heard;
    char one[1024];
    while (*p) {
        size_t len = strcspn(p, "\n"), cut = len < sizeof one - 1 ? len : sizeof one - 1;
        memcpy(one, p, cut);
        one[cut] = 0;
        if (!strncmp(one, "log ", 4) && strstr(one, a) && strstr(one, b)) return 1;
        p += len + (p[len] != 0);
    }
    return 0;
}

#define BOTH "6"                       /* 1 << VQ_HIP | 1 << VQ_CUDA */
#define HIP  "2"
#define CUDA "4"
#define CPU  "8"

static void the_masks_above_are_the_enum(void)
{
    CHECK(1 << VQ_HIP == 2 && 1 << VQ_CUDA == 4 && 1 << VQ_CPU == 8);
}

static void what_the_drivers_say_is_what_is_found(void)
{
    static const char *const env[] = { "MOCK_CUDA_DEVICES=9.0,8.9",
        "MOCK_HIP_DEVICES=gfx942:sramecc+:xnack-,gfx90a:sramecc+:xnack-,gfx1201", NULL };
    if (!mocks[0]) SKIP("no mock drivers");
    run(mocks, env, "probe", BOTH, "15");
    CHECKF(!strcmp(said(),
        "status 0 count 5\n"
        "device hip gfx942:sramecc+:xnack-#0 [device 0] 5368709121 bytes runtime 60443484 known 1 "
        "gfx942\n"
        "device hip gfx90a:sramecc+:xnack-#1 [device 1] 10737418241 bytes runtime 60443484 known 1 "
        "gfx90a\n"
        "device hip gfx1201#2 [device 2] 16106127361 bytes runtime 60443484 known 1 "
        "gfx1201\n"
        "device cuda sm_90#0 [device 0] 5368709121 bytes runtime 12040 known 1 sm_90\n"
        "device cuda sm_89#1 [device 1] 10737418241 bytes runtime 12040 known 1 sm_89\n"
        "maps libcuda libamdhip64\nloaded cuda hip\n"), "\n%s", heard);
    CHECKF(logged("hip", "gfx942:sramecc+:xnack-") && logged("hip", "gfx90a") &&
           logged("hip", "gfx1201") && logged("cuda", "sm_90") && logged("cuda", "sm_89"), "\n%s",
           heard);
}

static void the_cpu_is_the_last_device(void)
{
    static const char *const env[] = { "MOCK_CUDA_DEVICES=10.0", "MOCK_HIP_DEVICES=gfx950", NULL };
    const char *p;
    if (!mocks[0]) SKIP("no mock drivers");
    run(mocks, env, "probe", "0", "15");
    CHECKF(!strncmp(said(), "status 0 count 3\ndevice hip gfx950#0 ", 37), "\n%s", heard);
    p = strstr(said(), "\ndevice cpu cpu#0 [");
    CHECKF(p && !strstr(p + 1, "\ndevice") && strstr(p, " known 1 cpu\nmaps"), "\n%s", heard);
    CHECKF(p && strstr(said(), "\ndevice cuda sm_100#0 ") < p, "\n%s", heard);
}

static void a_backend_that_is_not_asked_for_is_not_opened(void)
{
    static const char *const env[] = { "MOCK_CUDA_DEVICES=9.0", "MOCK_HIP_DEVICES=gfx950", NULL };
    if (!mocks[0]) SKIP("no mock drivers");
    run(mocks, env, "probe", CUDA, "15");
    CHECKF(!strncmp(said(), "status 0 count 1\ndevice cuda sm_90#0 ", 37), "\n%s", heard);
    CHECKF(strstr(said(), "maps libcuda\nloaded cuda\n"), "\n%s", heard);
    run(mocks, env, "probe", HIP, "15");
    CHECKF(!strncmp(said(), "status 0 count 1\ndevice hip gfx950#0 ", 37), "\n%s", heard);
    CHECKF(strstr(said(), "maps libamdhip64\nloaded hip\n"), "\n%s", heard);
    run(mocks, env, "probe", CPU, "15");
    CHECKF(!strncmp(said(), "status 0 count 1\ndevice cpu cpu#0 ", 34), "\n%s", heard);
    CHECKF(strstr(said(), "maps\nloaded\n"), "\n%s", heard);
}

static void a_context_for_the_cpu_opens_no_gpu_library_and_is_quick(void)
{
    static const char *const env[] = { "MOCK_CUDA_DEVICES=9.0", "MOCK_HIP_DEVICES=gfx950", NULL };
    if (!mocks[0]) SKIP("no mock drivers");
    run(mocks, env, "init", NULL, NULL);
    CHECKF(!strcmp(said(), "quick\nmaps\nloaded\n"), "\n%s", heard);
}

static void the_count_is_told_also_when_there_is_no_room(void)
{
    static const char *const env[] = { "MOCK_CUDA_DEVICES=9.0,9.0,9.0",
        "MOCK_HIP_DEVICES=gfx950,gfx942", NULL };
    char cap[16];
    int i;
    if (!mocks[0]) SKIP("no mock drivers");
    for (i = 0; i <= 6; i++) {
        const char *p;
        int n = 0;
        snprintf(cap, sizeof cap, "%d", i);
        run(mocks, env, "probe", "0", cap);
        CHECKF(!strncmp(said(), "status 0 count 6\n", 17), "cap %d\n%s", i, heard);
        CHECKF(!strstr(heard, "written beyond"), "cap %d\n%s", i, heard);
        for (p = said(); (p = strstr(p, "\ndevice ")) != NULL; p++) n++;
        CHECKF(n == i, "cap %d: %d lines\n%s", i, n, heard);
    }
}

static void a_driver_that_fails_is_a_line_in_the_log(void)
{
    static const struct { const char *env[5], *mask, *needs; } c[] = {
        { { "MOCK_CUDA_DEVICES=9.0", "MOCK_CUDA_ERROR_INIT=100" }, CUDA, "100" },
        { { "MOCK_CUDA_DEVICES=9.0", "MOCK_CUDA_ERROR_INIT=999" }, CUDA, "999" },
        { { "MOCK_CUDA_DEVICES=9.0", "MOCK_CUDA_ERROR_COUNT=100", "MOCK_CUDA_COUNT=1" }, CUDA,
          "100" },
        { { "MOCK_CUDA_DEVICES=" }, CUDA, "" },
        { { "MOCK_CUDA_COUNT=-1" }, CUDA, "" },
        { { "MOCK_CUDA_COUNT=-2147483648" }, CUDA, "" },
        { { "MOCK_HIP_DEVICES=gfx950", "MOCK_HIP_ERROR_COUNT=100", "MOCK_HIP_COUNT=1" }, HIP,
          "100" },
        { { "MOCK_HIP_DEVICES=" }, HIP, "" },
        { { "MOCK_HIP_COUNT=-1" }, HIP, "" },
    };
    int i;
    if (!mocks[0]) SKIP("no mock drivers");
    for (i = 0; i < COUNT(c); i++) {
        const char *lib = c[i].mask[0] == CUDA[0] ? "vq: cuda: " : "vq: hip: ";
        run(mocks, c[i].env, "probe", c[i].mask, "15");
        CHECKF(!strncmp(said(), "status 0 count 0\nmaps", 21), "%s\n%s", c[i].env[0], heard);
        CHECKF(logged(lib, c[i].needs), "%s\n%s", c[i].env[0], heard);
    }
}

static void one_device_that_fails_does_not_hide_the_others(void)
{
    static const char *const two[] = { "MOCK_CUDA_DEVICES=9.0,8.9", "MOCK_CUDA_COUNT=4",
        "MOCK_HIP_DEVICES=gfx950", "MOCK_HIP_COUNT=3", NULL };
    static const char *const none[] = { "MOCK_CUDA_DEVICES=9.0", "MOCK_CUDA_ERROR_DEVICE=46",
        "MOCK_HIP_DEVICES=gfx950", "MOCK_HIP_ERROR_DEVICE=46", NULL };
    if (!mocks[0]) SKIP("no mock drivers");
    run(mocks, two, "probe", BOTH, "15");
    CHECKF(!strncmp(said(), "status 0 count 3\ndevice hip gfx950#0 ", 37) &&
           strstr(said(), "\ndevice cuda sm_90#0 ") && strstr(said(), "\ndevice cuda sm_89#1 "),
           "\n%s", heard);
    run(mocks, none, "probe", BOTH, "15");
    CHECKF(!strncmp(said(), "status 0 count 0\nmaps", 21), "\n%s", heard);
    CHECKF(logged("vq: hip: ", "46") && logged("vq: cuda: ", "46"), "\n%s", heard);
}

static void an_architecture_that_is_not_in_the_table_is_told_and_not_known(void)
{
    static const char *const env[] = { "MOCK_CUDA_DEVICES=9.5,42.1,8.0", "MOCK_CUDA_VERSION=13000",
        "MOCK_HIP_DEVICES=gfx1337,gfx942:new+,gfx950", "MOCK_HIP_VERSION=70051831", NULL };
    if (!mocks[0]) SKIP("no mock drivers");
    run(mocks, env, "probe", BOTH, "15");
    CHECKF(!strcmp(said(),
        "status 0 count 6\n"
        "device hip gfx1337#0 [device 0] 5368709121 bytes runtime 70051831 known 0 -\n"
        "device hip gfx942:new+#1 [device 1] 10737418241 bytes runtime 70051831 known 0 -\n"
        "device hip gfx950#2 [device 2] 16106127361 bytes runtime 70051831 known 1 gfx950\n"
        "device cuda sm_95#0 [device 0] 5368709121 bytes runtime 13000 known 0 -\n"
        "device cuda sm_421#1 [device 1] 10737418241 bytes runtime 13000 known 0 -\n"
        "device cuda sm_80#2 [device 2] 16106127361 bytes runtime 13000 known 1 sm_80\n"
        "maps libcuda libamdhip64\nloaded cuda hip\n"), "\n%s", heard);
}

static void names_longer_than_their_place_are_cut(void)
{
    static char env_arch[256] = "MOCK_HIP_DEVICES=gfx942:", env_name[] = "MOCK_HIP_NAME=long";
    static const char *const env[] = { env_arch, env_name, "MOCK_CUDA_DEVICES=9.0",
        "MOCK_CUDA_NAME=long", NULL };
    char arch[64], name[128], want[400];
    if (!mocks[0]) SKIP("no mock drivers");
    memset(env_arch + strlen(env_arch), 'x', 180);
    snprintf(arch, sizeof arch, "%s", strchr(env_arch, '=') + 1);
    memset(name, 'n', 127);
    name[127] = 0;
    run(mocks, env, "probe", BOTH, "15");
    snprintf(want, sizeof want, "device hip %s#0 [%s] ", arch, name);
    CHECKF(strstr(said(), want), "\n%s", heard);
    snprintf(want, sizeof want, "device cuda sm_90#0 [%.126s", name);
    CHECKF(strstr(said(), want), "\n%s", heard);
}

static void a_driver_a_symbol_short_is_news(void)
{
    static const char *const env[] = { "MOCK_CUDA_DEVICES=9.0", "MOCK_HIP_DEVICES=gfx950", NULL };
    char dir[4300];
    if (!mocks[0]) SKIP("no mock drivers");
    snprintf(dir, sizeof dir, "%s/missing", mocks);
    if (access(dir, R_OK)) SKIP("no mock drivers a symbol short");
    run(dir, env, "probe", "0", "15");
    CHECKF(!strncmp(said(), "status 0 count 1\ndevice cpu ", 28), "\n%s", heard);
    CHECKF(strstr(said(), "loaded cuda hip\n"), "\n%s", heard);
    CHECKF(logged("vq: cuda: ", "cuDeviceGetCount") && logged("vq: hip: ", "hipGetDeviceCount"),
           "\n%s", heard);
}

static void a_driver_that_is_no_library_is_news(void)
{
    char dir[] = "/tmp/vq_probe_XXXXXX", path[64];
    static const char *const files[] = { "libcuda.so.1", "libamdhip64.so", "libamdhip64.so.7",
                                         "libamdhip64.so.6" };
    int i;
    if (!mkdtemp(dir)) SKIP("no temporary directory");
    for (i = 0; i < COUNT(files); i++) {
        FILE *f;
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        f = fopen(path, "w");
        if (f) { fputs("not a library\n", f); fclose(f); }
    }
    run(dir, NULL, "probe", "0", "15");
    CHECKF(!strncmp(said(), "status 0 count 1\ndevice cpu ", 28), "\n%s", heard);
    CHECKF(logged("vq: cuda: ", "libcuda") && logged("vq: hip: ", "libamdhip64"), "\n%s", heard);
    for (i = 0; i < COUNT(files); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    rmdir(dir);
}

/* Only where no HIP runtime is installed: it would be found first. */
static void the_hip_runtime_is_found_under_each_of_its_names(void)
{
    static const char *const as[] = { "libamdhip64.so", "libamdhip64.so.7", "libamdhip64.so.6" };
    static const char *const env[] = { "MOCK_HIP_DEVICES=gfx950", NULL };
    char dir[] = "/tmp/vq_probe_XXXXXX", path[64], real[4096], from[4300];
    int i;
    if (!mocks[0]) SKIP("no mock drivers");
    run(NULL, NULL, "probe", HIP, "15");
    if (strstr(said(), "maps libamdhip64")) SKIP("a HIP runtime is installed");
    snprintf(from, sizeof from, "%s/libamdhip64.so.7", mocks);
    if (!realpath(from, real) || !mkdtemp(dir)) SKIP("no temporary directory");
    for (i = 0; i < COUNT(as); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, as[i]);
        CHECK(!symlink(real, path));
        run(dir, env, "probe", HIP, "15");
        CHECKF(!strncmp(said(), "status 0 count 1\ndevice hip gfx950#0 ", 37), "%s\n%s", as[i],
               heard);
        unlink(path);
    }
    rmdir(dir);
}

static void a_machine_as_it_is_has_a_cpu(void)
{
    const char *p;
    run(NULL, NULL, "probe", "0", "15");
    p = strstr(said(), "\ndevice cpu cpu#0 [");
    CHECKF(!strncmp(said(), "status 0 count ", 15), "\n%s", heard);
    CHECKF(p && !strstr(p + 1, "\ndevice") && strstr(p, " known 1 cpu\n"), "\n%s", heard);
    run(NULL, NULL, "probe", CPU, "15");
    CHECKF(!strncmp(said(), "status 0 count 1\ndevice cpu cpu#0 [", 35), "\n%s", heard);
    CHECKF(strstr(said(), "maps\nloaded\n"), "\n%s", heard);
}

static void a_probe_without_a_count_is_refused(void)
{
    vq_device d, was;
    memset(&d, 0xa5, sizeof d);
    was = d;
    CHECK(vq_probe(1u << VQ_CPU, &d, 1, NULL, NULL, NULL) == VQ_BAD_ARG);
    CHECK(!memcmp(&d, &was, sizeof d));
}

static void the_cpu_needs_no_log_and_no_room(void)
{
    int count = -1;
    vq_device d[2];
    memset(d, 0xa5, sizeof d);
    CHECK(vq_probe(1u << VQ_CPU, NULL, 0, &count, NULL, NULL) == VQ_OK && count == 1);
    CHECK(vq_probe(1u << VQ_CPU, d, 2, &count, NULL, NULL) == VQ_OK && count == 1);
    CHECK(d[0].backend == VQ_CPU && d[0].known && d[0].ordinal == 0);
    CHECK(!strcmp(d[0].arch, "cpu") && d[0].name[0] && !strcmp(d[0].platform.name, "cpu"));
    CHECK(((unsigned char *)&d[1])[0] == 0xa5);
}

int main(int argc, char **argv)
{
    static const t_case cases[] = {
        T(every_name_a_runtime_spells_is_taken_apart),
        T(what_is_not_a_name_is_refused_by_its_name),
        T(no_name_at_all_is_missing),
        T(a_name_without_end_is_cut_in_the_report),
        T(one_wrong_character_anywhere_is_seen),
        T(every_machine_answers_as_it_is_documented),
        T(a_question_without_a_machine_is_answered_no),
        T(an_unknown_architecture_is_never_the_nearest_one),
        T(every_row_of_the_table_is_found_by_its_name_once),
        T(backends_and_capabilities_have_names),
        T(the_maximum_of_fp8_is_known_once),
        T(presets_become_fnuz_where_the_machine_is),
        T(an_assumed_machine_is_the_one_that_was_named),
        T(the_masks_above_are_the_enum),
        T(what_the_drivers_say_is_what_is_found),
        T(the_cpu_is_the_last_device),
        T(a_backend_that_is_not_asked_for_is_not_opened),
        T(a_context_for_the_cpu_opens_no_gpu_library_and_is_quick),
        T(the_count_is_told_also_when_there_is_no_room),
        T(a_driver_that_fails_is_a_line_in_the_log),
        T(one_device_that_fails_does_not_hide_the_others),
        T(an_architecture_that_is_not_in_the_table_is_told_and_not_known),
        T(names_longer_than_their_place_are_cut),
        T(a_driver_a_symbol_short_is_news),
        T(a_driver_that_is_no_library_is_news),
        T(the_hip_runtime_is_found_under_each_of_its_names),
        T(a_machine_as_it_is_has_a_cpu),
        T(a_probe_without_a_count_is_refused),
        T(the_cpu_needs_no_log_and_no_room),
    };
    if (argc > 2 && !strcmp(argv[1], "--child")) return child(argc - 1, argv + 1);
    find_mocks();
    return t_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
