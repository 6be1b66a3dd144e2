/* fuzz_file.c - the tool's reader of safetensors on any bytes

   usage: fuzz_file --seeds DIR     writes files to begin with
          fuzz_file DIR ...         libFuzzer

   The file ends at a page that may not be read. What the reader accepts is read to the last byte,
   written again and read again; what it refuses makes one line. No file and no mapping stays open.
   An input is a byte and a file. Where the byte is odd, the length of the header is not in the
   file: the header ends at the first 0. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The reader's own calls: mappings that end at a wall, signals and disks left alone. */
static int mappings;

static void *walled_map(void *at, size_t bytes, int how, int flags, int fd, off_t from)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (bytes + page - 1) / page * page;
    char *p = (char *)mmap(at, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                           -1, 0);
    if (p == (char *)MAP_FAILED || flags != MAP_PRIVATE || how != PROT_READ || from) abort();
    if (pread(fd, p + room - bytes, bytes, 0) != (ssize_t)bytes) abort();
    if (mprotect(p, room, PROT_READ) || mprotect(p + room, page, PROT_NONE)) abort();
    mappings++;
    return p + room - bytes;
}

static int walled_unmap(void *p, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (bytes + page - 1) / page * page;
    mappings--;
    return munmap((char *)p + bytes - room, room + page);
}

typedef void (*on_signal)(int);
static on_signal no_signal(int sig, on_signal f) { (void)sig; (void)f; return SIG_DFL; }
static int       no_sync(int fd)                 { (void)fd; return 0; }

#define mmap   walled_map
#define munmap walled_unmap
#define signal no_signal
#define fsync  no_sync
#define VQ_IMPLEMENTATION
#include "../examples/vq/safetensors.c"
#undef mmap
#undef munmap
#undef signal
#undef fsync

static int  lines;                                 /* that fail() was asked for */
static char line[4096];
static long accepted, refused, viewed, unviewed, rewritten;

static __attribute__((noreturn)) void broken(const char *what)
{
    fprintf(stderr, "\nfuzz_file: %s\n    the last line was: %s\n", what, line);
    abort();
}

#define HOLDS(cond) do { if (!(cond)) broken(#cond); } while (0)

int fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    HOLDS(vsnprintf(line, sizeof line, fmt, args) > 0);
    va_end(args);
    lines++;
    return 1;
}

/* What a call returned, and how many lines it may have made. */
static int answered(int bad)
{
    HOLDS(bad == 0 || bad == 1);
    HOLDS(lines == bad);
    lines = 0;
    return !bad;
}

static uint64_t sum;                               /* keeps the reads */

static int same_bytes(const void *a, const void *b, uint64_t n)
{
    return !n || !memcmp(a, b, (size_t)n);
}

/* Of a type that is known, shape and offsets say the same. */
static void check_extents(const st_tensor *t)
{
    static const struct { const char *name; int bits; } types[] = {
        { "F32", 32 }, { "F16", 16 }, { "BF16", 16 }, { "I8", 8 }, { "U8", 8 }, { "I32", 32 },
        { "I64", 64 }, { "F64", 64 }, { "F8_E4M3", 8 }, { "F8_E5M2", 8 }, { "F8_E8M0", 8 },
        { "BOOL", 8 }, { "F4", 4 }, { "F6_E2M3", 6 }
    };
    unsigned __int128 n;
    size_t i;
    int d;
    for (i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(t->dtype, types[i].name)) continue;
        n = (unsigned)types[i].bits;
        for (d = 0; d < t->rank; d++) {
            json_int_t extent = json_integer_value(json_array_get(t->shape, (size_t)d));
            HOLDS(extent >= 0);
            n *= (uint64_t)extent;
            if (n >> 80) break;                    /* unless a 0 comes */
        }
        for (; d < t->rank; d++)
            if (!json_integer_value(json_array_get(t->shape, (size_t)d))) n = 0;
        HOLDS(n == (unsigned __int128)(t->end - t->begin) * 8);
    }
}

static void check_tensor(const st_file *f, const st_tensor *t, uint64_t size)
{
    const unsigned char *end = (const unsigned char *)f->map + f->map_bytes;
    vq_tensor v;
    vq_order order;
    vq_dtype type = st_dtype(f, t);
    int extents = -1;
    int64_t i, n;
    HOLDS(t->begin <= t->end && t->end <= size && f->data + t->end <= end);
    HOLDS(st_find(f, t->name) == t);
    check_extents(t);
    HOLDS((unsigned)type < VQ_DTYPE_COUNT);
    for (i = 0; i < (int64_t)(t->end - t->begin); i++) sum += f->data[t->begin + (uint64_t)i];
    if (!answered(st_view(f, t, &v, &order, &extents))) { unviewed++; return; }
    viewed++;
    HOLDS(vq_tensor_check(&v, t->name, NULL) == VQ_OK && v.where == VQ_HOST && v.dtype == type);
    HOLDS((unsigned)order < VQ_ORDER_COUNT && extents >= 0 && extents <= 4);
    HOLDS(st_rank(f, t) == extents);
    n = vq_tensor_bytes(v);
    HOLDS(n >= 0 && (uint64_t)n == t->end - t->begin && v.data == f->data + t->begin);
}

/* What is written and read again is the same, tensor for tensor. */
static void check_copy(const st_file *f, const char *path)
{
    st_writer w;
    st_file g;
    size_t i, at, n = 0;
    memset(&w, 0, sizeof w);
    for (i = 0; i < f->count; i++) {
        vq_tensor v;
        vq_order order;
        int extents;
        if (st_view(f, &f->tensor[i], &v, &order, &extents)) { lines = 0; continue; }
        if (!extents) v.rank = 0;
        HOLDS(answered(st_declare(&w, f->tensor[i].name, v, order, &at)) && at == n);
        n++;
    }
    HOLDS(answered(st_begin(&w, path)));
    for (i = 0, at = 0; i < f->count; i++) {
        vq_tensor v;
        vq_order order;
        int extents;
        if (st_view(f, &f->tensor[i], &v, &order, &extents)) { lines = 0; continue; }
        HOLDS(answered(st_put(&w, at++, v.data)));
    }
    HOLDS(answered(st_commit(&w)));
    st_end(&w);
    HOLDS(answered(st_open(path, &g)) && g.count == n);
    for (i = 0; i < f->count; i++) {
        vq_tensor v, u;
        vq_order order, again;
        int extents, same;
        const st_tensor *t = st_find(&g, f->tensor[i].name);
        if (st_view(f, &f->tensor[i], &v, &order, &extents)) {
            lines = 0;
            HOLDS(!t);
            continue;
        }
        HOLDS(t && answered(st_view(&g, t, &u, &again, &same)));
        HOLDS(order == again && extents == same && u.dtype == v.dtype && u.rank == v.rank
              && !memcmp(u.shape, v.shape, (size_t)u.rank * sizeof *u.shape)
              && !memcmp(u.stride, v.stride, (size_t)u.rank * sizeof *u.stride));
        HOLDS(same_bytes(u.data, v.data, (uint64_t)vq_tensor_bytes(v)));
    }
    st_close(&g);
    unlink(path);
    rewritten++;
}

static void check_file(const st_file *f, const char *copy)
{
    uint64_t size, all = 0;
    const st_tensor *found;
    size_t i;
    char *other;
    HOLDS(f->map_bytes >= 8 && f->data >= (const unsigned char *)f->map + 8);
    size = f->map_bytes - (uint64_t)(f->data - (const unsigned char *)f->map);
    HOLDS(size <= f->map_bytes - 8);
    for (i = 0; i < f->count; i++) {
        HOLDS(!i || strcmp(f->tensor[i - 1].name, f->tensor[i].name) < 0);
        all += f->tensor[i].end - f->tensor[i].begin;
        check_tensor(f, &f->tensor[i], size);
        other = (char *)malloc(strlen(f->tensor[i].name) + 2);
        HOLDS(other);
        sprintf(other, "%s\x01", f->tensor[i].name);
        found = st_find(f, other);
        HOLDS(!found || !strcmp(found->name, other));
        free(other);
    }
    HOLDS(all == size);
    if (f->count) check_copy(f, copy);
}

static int free_descriptor(void)
{
    int fd = dup(2);
    close(fd);
    return fd;
}

static char where[256] = "/tmp";

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    static int fd = -1;
    static char path[64], copy[300];
    unsigned char length[8];
    const uint8_t *end;
    st_file f;
    uint64_t n;
    int i, open_before;
    if (!size) return 0;
    if (fd < 0) {
        fd = memfd_create("input", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        snprintf(copy, sizeof copy, "%s/copy.%ld", where, (long)getpid());
    }
    HOLDS(fd >= 0 && !ftruncate(fd, 0) && lseek(fd, 0, SEEK_SET) == 0);
    if (in[0] & 1) {
        end = (const uint8_t *)memchr(in + 1, 0, size - 1);
        n = (uint64_t)(end ? end - in - 1 : (ptrdiff_t)size - 1);
        for (i = 0; i < 8; i++) length[i] = (unsigned char)(n >> 8 * i);
        HOLDS(write(fd, length, 8) == 8 && write(fd, in + 1, (size_t)n) == (ssize_t)n);
        n += n + 1 < size ? 2 : 1;
    } else n = 1;
    HOLDS(write(fd, in + n, size - (size_t)n) == (ssize_t)(size - (size_t)n));
    open_before = free_descriptor();
    if (answered(st_open(path, &f))) {
        accepted++;
        check_file(&f, copy);
    } else {
        refused++;
        HOLDS(!strncmp(line, path, strlen(path)));
    }
    st_close(&f);
    HOLDS(!mappings);
    HOLDS(free_descriptor() == open_before);
    return 0;
}

/* --- files to begin with ------------------------------------------------------ */

static const struct { const char *header; int bytes; } seeds[] = {
    { "{}", 0 },
    { "{\"__metadata__\":{\"format\":\"pt\"}}", 0 },
    { "{\"x\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", 24 },
    { "{\"x\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}   ", 4 },
    { "{\"x\":{\"dtype\":\"BF16\",\"shape\":[1,2,3,4],\"data_offsets\":[0,48]},"
      "\"y\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[48,64]}}", 64 },
    { "{\"x\":{\"dtype\":\"F16\",\"shape\":[0,3],\"data_offsets\":[0,0]}}", 0 },
    { "{\"q\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,4],\"data_offsets\":[8,16]},"
      "\"scale\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]}}", 16 },
    { "{\"__metadata__\":{\"vq.dtype.q\":\"float4_e2m1fn\",\"vq.shape.q\":\"2,5\"},"
      "\"q\":{\"dtype\":\"U8\",\"shape\":[2,3],\"data_offsets\":[0,6]}}", 6 },
    { "{\"__metadata__\":{\"vq.dtype.q\":\"float6_e2m3fn\",\"vq.shape.q\":\"3,4\"},"
      "\"q\":{\"dtype\":\"U8\",\"shape\":[3,3],\"data_offsets\":[0,9]}}", 9 },
    { "{\"__metadata__\":{\"vq.dtype.s\":\"float8_e8m0fnu\",\"vq.shape.s\":\"5,3\","
      "\"vq.order.s\":\"packed_ue8m0\"},"
      "\"s\":{\"dtype\":\"U8\",\"shape\":[32],\"data_offsets\":[0,32]}}", 32 },
    { "{\"__metadata__\":{\"vq.dtype.s\":\"ue4m3\",\"vq.shape.s\":\"3,4\",\"vq.order.s\":\"8x4\"},"
      "\"s\":{\"dtype\":\"U8\",\"shape\":[32],\"data_offsets\":[0,32]}}", 32 },
    { "{\"__metadata__\":{\"vq.dtype.s\":\"ue4m3\",\"vq.shape.s\":\"3,4\","
      "\"vq.order.s\":\"128x4\"},"
      "\"s\":{\"dtype\":\"U8\",\"shape\":[512],\"data_offsets\":[0,512]}}", 512 },
    { "{\"__metadata__\":{\"vq.dtype.s\":\"ue4m3\",\"vq.shape.s\":\"3,4\","
      "\"vq.order.s\":\"cdna4\"},"
      "\"s\":{\"dtype\":\"U8\",\"shape\":[256],\"data_offsets\":[0,256]}}", 256 },
    { "{\"__metadata__\":{\"vq.dtype.s\":\"f32\",\"vq.shape.s\":\"3,2\","
      "\"vq.order.s\":\"columns\"},"
      "\"s\":{\"dtype\":\"U8\",\"shape\":[24],\"data_offsets\":[0,24]}}", 24 },
    { "{\"a\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]},"
      "\"b\":{\"dtype\":\"F6_E2M3\",\"shape\":[4],\"data_offsets\":[2,5]},"
      "\"c\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[5,8]},"
      "\"d\":{\"dtype\":\"NEW\",\"shape\":[3],\"data_offsets\":[8,9]}}", 9 },
    { "{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
      "\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}", 8 },
    { "{\"x\":{\"dtype\":\"U8\",\"shape\":[1152921504606846976],\"data_offsets\":[0,0]}}", 0 },
    { "{\"x\":{\"dtype\":\"U8\",\"shape\":[9223372036854775807,2],"
      "\"data_offsets\":[0,18446744073709551615]}}", 4 },
    { "{\"x\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0 },
    { "{\"__metadata__\":{\"vq.dtype.q\":\"int4\",\"vq.shape.q\":\"1,1,1,6\"},"
      "\"q\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3 },
    { "{\"__metadata__\":{\"vq.dtype.q\":\"int4\",\"vq.shape.q\":\"1,1,1,1,1,6\"},"
      "\"q\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3 },
    { "{\"x\":{\"dtype\":\"F32\",\"shape\":[1.5,-2],\"data_offsets\":[4,2,1]}}", 4 },
    { "[]", 0 },
    { "", 0 },
};

static int write_seeds(const char *dir)
{
    size_t i;
    int whole;
    for (i = 0; i < sizeof seeds / sizeof *seeds; i++)
        for (whole = 0; whole < 2; whole++) {
            const char *h = seeds[i].header;
            char name[400];
            size_t n = strlen(h);
            int k;
            FILE *f;
            snprintf(name, sizeof name, "%s/%zu.%d", dir, i, whole);
            f = fopen(name, "wb");
            if (!f) { perror(name); return 1; }
            putc(whole ? 0 : 1, f);
            for (k = 0; whole && k < 8; k++) putc((int)((uint64_t)n >> 8 * k & 0xff), f);
            fwrite(h, 1, n, f);
            if (!whole) putc(0, f);
            for (k = 0; k < seeds[i].bytes; k++) putc(k * 37 & 0xff, f);
            if (fclose(f)) { perror(name); return 1; }
        }
    return 0;
}

static void print_counts(void)
{
    printf("fuzz_file: accepted %ld refused %ld viewed %ld unviewed %ld rewritten %ld\n",
           accepted, refused, viewed, unviewed, rewritten);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *temp = getenv("TMPDIR");
    if (*argc == 3 && !strcmp((*argv)[1], "--seeds")) exit(write_seeds((*argv)[2]));
    if (temp) snprintf(where, sizeof where, "%s", temp);
    atexit(print_counts);
    return 0;
}
