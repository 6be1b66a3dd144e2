/* safetensors.c - see safetensors.h */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "safetensors.h"
#include "tool.h"

#define HEADER_MAX 100000000u         /* the format's own limit */

/* Types of the format. same: vq's name of it, to read; written so only where `write` is set. */
static const struct st_type { const char *name; unsigned bits; vq_dtype same; int write; }
st_types[] = {
    {"F32",  32, VQ_F32,    1}, {"F16",     16, VQ_F16,  1}, {"BF16",    16, VQ_BF16,   1},
    {"I8",   8,  VQ_INT8,   1}, {"F8_E5M2", 8,  VQ_E5M2, 1}, {"F8_E4M3", 8,  VQ_E4M3FN, 1},
    {"U8",   8,  VQ_UINT8,  1}, {"F8_E8M0", 8,  VQ_E8M0, 0},
    {"BOOL", 8,  VQ_NONE,   0}, {"I16",     16, VQ_NONE, 0}, {"U16",     16, VQ_NONE,   0},
    {"I32",  32, VQ_INT32,  1}, {"U32",     32, VQ_NONE, 0}, {"I64",     64, VQ_INT64,  1},
    {"U64",  64, VQ_NONE,   0}, {"F64",     64, VQ_NONE, 0}, {"C64",     64, VQ_NONE,   0},
    {"F4",   4,  VQ_NONE,   0}, {"F6_E2M3", 6,  VQ_NONE, 0}, {"F6_E3M2", 6,  VQ_NONE,   0},
};
enum { ST_TYPES = sizeof st_types / sizeof *st_types };

static const struct st_type *type_of(const char *name)
{
    int i;
    for (i = 0; i < ST_TYPES; i++)
        if (!strcmp(st_types[i].name, name)) return &st_types[i];
    return NULL;
}

static const struct st_type *type_for(vq_dtype t)
{
    int i;
    for (i = 0; i < ST_TYPES; i++)
        if (st_types[i].write && st_types[i].same == t) return &st_types[i];
    return NULL;
}

/* --- reading -------------------------------------------------------------- */

static int by_offset(const void *a, const void *b)
{
    const st_tensor *x = (const st_tensor *)a, *y = (const st_tensor *)b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const st_tensor *)a)->name, ((const st_tensor *)b)->name);
}

/* An integer of 0 and more; anything else is -1. */
static int64_t whole(const json_t *j)
{
    return json_is_integer(j) && json_integer_value(j) >= 0 ? (int64_t)json_integer_value(j) : -1;
}

static int read_entry(const st_file *f, const char *name, json_t *j, uint64_t size, st_tensor *t)
{
    json_t *dtype = json_object_get(j, "dtype"), *at = json_object_get(j, "data_offsets");
    const struct st_type *type;
    uint64_t n = 1;
    int64_t begin, end, d;
    int i;

    t->name = name;
    t->shape = json_object_get(j, "shape");
    if (!json_is_string(dtype) || !json_is_array(t->shape) || !json_is_array(at))
        return fail("%s: tensor %s: needs a dtype, a shape and data_offsets", f->path, name);
    t->dtype = json_string_value(dtype);
    t->rank = (int)json_array_size(t->shape);
    begin = json_array_size(at) == 2 ? whole(json_array_get(at, 0)) : -1;
    end = json_array_size(at) == 2 ? whole(json_array_get(at, 1)) : -1;
    if (begin < 0 || end < 0)
        return fail("%s: tensor %s: data_offsets needs two whole numbers of 0 and more",
                    f->path, name);
    if (begin > end)
        return fail("%s: tensor %s: data_offsets found [%" PRId64 ", %" PRId64
                    "], needed begin <= end", f->path, name, begin, end);
    if ((uint64_t)end > size)
        return fail("%s: tensor %s: ends at byte %" PRId64 ", the file has %" PRIu64
                    " bytes of tensors", f->path, name, end, size);
    t->begin = (uint64_t)begin;
    t->end = (uint64_t)end;
    for (i = 0; i < t->rank; i++) {
        if ((d = whole(json_array_get(t->shape, (size_t)i))) < 0)
            return fail("%s: tensor %s: shape needs whole numbers of 0 and more", f->path, name);
        if (d && n > (uint64_t)INT64_MAX / 64 / (uint64_t)d)
            return fail("%s: tensor %s: the product of its shape is too large", f->path, name);
        n *= (uint64_t)d;
    }
    type = type_of(t->dtype);        /* of a type without a size only the place can be checked */
    if (type && (n * type->bits % 8 || n * type->bits / 8 != t->end - t->begin))
        return fail("%s: tensor %s: found %" PRIu64 " bytes, %" PRIu64 " elements of %s need %"
                    PRIu64, f->path, name, t->end - t->begin, n, t->dtype,
                    (n * type->bits + 7) / 8);
    return 0;
}

static int read_header(st_file *f, uint64_t length)
{
    uint64_t size = f->map_bytes - 8 - length, expect = 0;
    json_error_t why;
    const char *name, *text;
    json_t *j;
    size_t i;

    text = (const char *)f->map + 8;
    if (!length || *text != '{') return fail("%s: the header is not a JSON object", f->path);
    f->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &why);
    if (!f->header)
        return fail("%s: the header is not valid JSON: byte %d: %s", f->path, why.position,
                    why.text);
    f->tensor = (st_tensor *)calloc(json_object_size(f->header) + 1, sizeof *f->tensor);
    if (!f->tensor) return fail("%s: out of memory", f->path);
    json_object_foreach(f->header, name, j) {
        if (strcmp(name, "__metadata__")) {
            if (read_entry(f, name, j, size, &f->tensor[f->count++])) return 1;
            continue;
        }
        f->metadata = j;
        if (!json_is_object(j)) return fail("%s: __metadata__ is not an object", f->path);
    }
    json_object_foreach(f->metadata, name, j)
        if (!json_is_string(j)) return fail("%s: __metadata__ %s is not a string", f->path, name);

    qsort(f->tensor, f->count, sizeof *f->tensor, by_offset);
    for (i = 0; i < f->count; i++) {
        const st_tensor *t = &f->tensor[i];
        if (t->begin != expect)
            return fail("%s: tensor %s: begins at byte %" PRIu64 ", the one before ends at %"
                        PRIu64 ": tensors may neither overlap nor leave holes", f->path, t->name,
                        t->begin, expect);
        expect = t->end;
    }
    if (expect != size)
        return fail("%s: the tensors end at byte %" PRIu64 " of %" PRIu64, f->path, expect, size);
    qsort(f->tensor, f->count, sizeof *f->tensor, by_name);
    f->data = (const unsigned char *)f->map + 8 + length;
    return 0;
}

int st_open(const char *path, st_file *f)
{
    struct stat st;
    uint64_t length = 0;
    int fd, i;

    memset(f, 0, sizeof *f);
    f->path = path;
    fd = open(path, O_RDONLY | O_NONBLOCK);        /* or a pipe would be waited for */
    if (fd < 0) return fail("%s: %s", path, strerror(errno));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return fail("%s: not a regular file", path);
    }
    if (st.st_size < 8) {
        close(fd);
        return fail("%s: found %" PRIdMAX " bytes, needed 8 for the header's length", path,
                    (intmax_t)st.st_size);
    }
    f->map_bytes = (size_t)st.st_size;
    f->map = mmap(NULL, f->map_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (f->map == MAP_FAILED) {
        f->map = NULL;
        return fail("%s: cannot be mapped: %s", path, strerror(errno));
    }
    for (i = 7; i >= 0; i--) length = length << 8 | ((const unsigned char *)f->map)[i];
    if (length > f->map_bytes - 8 || length > HEADER_MAX)
        return fail("%s: the header's length is %" PRIu64 ", the file has room for %" PRIu64, path,
                    length, f->map_bytes - 8 < HEADER_MAX ? (uint64_t)f->map_bytes - 8
                                                          : (uint64_t)HEADER_MAX);
    return read_header(f, length);
}

void st_close(st_file *f)
{
    json_decref(f->header);
    free(f->tensor);
    if (f->map) munmap(f->map, f->map_bytes);
    memset(f, 0, sizeof *f);
}

const st_tensor *st_find(const st_file *f, const char *name)
{
    st_tensor t;
    t.name = name;
    return f->count ? (const st_tensor *)bsearch(&t, f->tensor, f->count, sizeof t, by_name) : NULL;
}

/* The metadata vq.<what>.<name>, or NULL. */
static const char *note(const st_file *f, const char *what, const char *name)
{
    size_t n = strlen(name) + 16;
    char *key = (char *)malloc(n);
    const char *text;
    if (!key) return NULL;
    snprintf(key, n, "vq.%s.%s", what, name);
    text = json_string_value(json_object_get(f->metadata, key));
    free(key);
    return text;
}

vq_dtype st_dtype(const st_file *f, const st_tensor *t)
{
    const char *named = note(f, "dtype", t->name);
    const struct st_type *type = type_of(t->dtype);
    if (named && !strcmp(t->dtype, "U8")) return vq_dtype_of(named);
    return type ? type->same : VQ_NONE;
}

/* "R,C" -> extents; the rank, or 0 */
static int read_extents(const char *s, int64_t shape[4])
{
    int rank = 0;
    char *end;
    for (;;) {
        if (rank == 4 || *s < '0' || *s > '9') return 0;
        errno = 0;
        shape[rank++] = strtoll(s, &end, 10);
        if (errno) return 0;
        if (!*end) return rank;
        if (*end != ',') return 0;
        s = end + 1;
    }
}

int st_rank(const st_file *f, const st_tensor *t)
{
    const char *shape = note(f, "shape", t->name);
    int64_t e[4];
    return shape ? read_extents(shape, e) : t->rank;
}

vq_tensor st_ordered(vq_dtype type, int rank, const int64_t *e, vq_order order, const void *data)
{
    vq_tensor t = rank == 2 ? vq_tensor_ordered(type, e[0], e[1], order, data, VQ_HOST)
                            : vq_tensor_nd(data, type, rank, e, VQ_HOST), one;
    int64_t bytes;
    if (order == VQ_ROWS || rank != 3) return t;
    one = vq_tensor_ordered(type, e[1], e[2], order, data, VQ_HOST);
    bytes = vq_tensor_bytes(one);
    t.layout = one.layout;
    t.stride[0] = bytes < 0 ? 0 : one.layout == VQ_STRIDED ? e[2] * one.stride[1] : bytes;
    if (bytes >= 0 && t.stride[0] < 1) t.stride[0] = 1;
    t.stride[1] = one.stride[0];
    t.stride[2] = one.stride[1];
    return t;
}

int st_view(const st_file *f, const st_tensor *t, vq_tensor *out, vq_order *order, int *extents)
{
    const char *dtype = note(f, "dtype", t->name), *shape = note(f, "shape", t->name);
    const char *lies = note(f, "order", t->name);
    vq_dtype type = st_dtype(f, t);
    vq_report why = VQ_ZERO;
    int64_t e[4] = {1, 1, 1, 1}, bytes;
    int rank = t->rank ? t->rank : 1, i, o = lies ? vq_order_of(lies) : VQ_ROWS;

    if (dtype && strcmp(t->dtype, "U8"))
        return fail("%s: tensor %s: metadata vq.dtype needs type U8, found %s", f->path, t->name,
                    t->dtype);
    if (type == VQ_NONE)
        return fail("%s: tensor %s: vq has no type %s", f->path, t->name, dtype ? dtype : t->dtype);
    if (shape && !dtype)
        return fail("%s: tensor %s: metadata vq.shape needs vq.dtype", f->path, t->name);
    if (o < 0) return fail("%s: tensor %s: vq has no order %s", f->path, t->name, lies);
    if (shape && !(rank = read_extents(shape, e)))
        return fail("%s: tensor %s: metadata vq.shape needs 1 to 4 extents, found %s", f->path,
                    t->name, shape);
    if (rank > 4)
        return fail("%s: tensor %s: vq reads 1 to 4 extents, found %d", f->path, t->name, rank);
    for (i = 0; !shape && i < t->rank; i++)
        e[i] = (int64_t)json_integer_value(json_array_get(t->shape, (size_t)i));
    if (o != VQ_ROWS && rank != 2 && rank != 3)
        return fail("%s: tensor %s: order %s needs 2 extents or 3, found %d", f->path, t->name,
                    lies, rank);
    *out = st_ordered(type, rank, e, (vq_order)o, f->data + t->begin);
    *order = (vq_order)o;
    *extents = shape || t->rank ? rank : 0;
    if (vq_tensor_check(out, t->name, &why) != VQ_OK)
        return fail("%s: tensor %s: %s", f->path, t->name, why.text);
    bytes = vq_tensor_bytes(*out);
    if ((uint64_t)bytes != t->end - t->begin)
        return fail("%s: tensor %s: found %" PRIu64 " bytes, needed %" PRId64 " for this %s",
                    f->path, t->name, t->end - t->begin, bytes, vq_dtype_str(type));
    return 0;
}

/* --- writing -------------------------------------------------------------- */

static const char *unfinished;        /* what a signal has to remove */

static void stopped(int sig)
{
    static const char shrank[] = "vq: the input became shorter while it was read\n";
    if (unfinished) unlink(unfinished);
    if (sig == SIGBUS && write(2, shrank, sizeof shrank - 1) < 0) _exit(1);
    _exit(sig == SIGBUS ? 1 : 128 + sig);
}

int st_declare(st_writer *w, const char *name, vq_tensor t, vq_order order, size_t *index)
{
    st_item *more = (st_item *)realloc(w->item, (w->count + 1) * sizeof *more);
    char *copy = (char *)malloc(strlen(name) + 1);
    if (more) w->item = more;
    if (!more || !copy) {
        free(copy);
        return fail("out of memory");
    }
    memset(&more[w->count], 0, sizeof *more);
    more[w->count].name = strcpy(copy, name);
    more[w->count].t = t;
    more[w->count].order = order;
    if (!t.rank) t.rank = 1;
    more[w->count].bytes = (uint64_t)vq_tensor_bytes(t);
    *index = w->count++;
    return 0;
}

static void take_note(json_t *meta, const char *what, const char *name, const char *text)
{
    size_t n = strlen(name) + 16;
    char *key = (char *)malloc(n);
    if (!key) return;
    snprintf(key, n, "vq.%s.%s", what, name);
    json_object_set_new(meta, key, json_string(text));
    free(key);
}

static json_t *entry(const st_item *it, json_t *meta)
{
    const struct st_type *type = it->order == VQ_ROWS ? type_for(it->t.dtype) : NULL;
    int bits = vq_dtype_bits(it->t.dtype), i;
    json_t *shape = json_array();
    char text[96];
    size_t n = 0;

    if (!type) take_note(meta, "dtype", it->name, vq_dtype_str(it->t.dtype));
    if ((bits % 8 && it->t.rank) || it->order != VQ_ROWS) {
        for (i = 0; i < it->t.rank; i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%" PRId64, i ? "," : "",
                                  it->t.shape[i]);
        take_note(meta, "shape", it->name, text);
    }
    if (it->order != VQ_ROWS) {
        take_note(meta, "order", it->name, vq_order_str(it->order));
        json_array_append_new(shape, json_integer((json_int_t)it->bytes));
    } else for (i = 0; i < it->t.rank; i++) {
        int64_t d = it->t.shape[i];
        if (bits % 8 && i == it->t.rank - 1) d = vq_row_bytes(it->t.dtype, d);
        json_array_append_new(shape, json_integer((json_int_t)d));
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", type ? type->name : "U8", "shape", shape,
                     "data_offsets", (json_int_t)it->begin, (json_int_t)(it->begin + it->bytes));
}

static int write_all(const st_writer *w, const void *bytes, uint64_t n, uint64_t at)
{
    const char *p = (const char *)bytes;
    while (n) {
        ssize_t done = pwrite(w->fd, p, n < 1u << 30 ? (size_t)n : 1u << 30, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return fail("%s: cannot be written: %s", w->path, strerror(errno));
        p += done;
        n -= (uint64_t)done;
        at += (uint64_t)done;
    }
    return 0;
}

/* The wider types go first, so that every tensor is aligned to its elements. */
static char *layout(st_writer *w, size_t *length)
{
    json_t *header = json_object(), *meta = json_object();
    uint64_t at = 0;
    size_t i, n;
    int bits;
    char *text, *padded = NULL;

    for (bits = 64; bits; bits -= 8)
        for (i = 0; i < w->count; i++) {
            st_item *it = &w->item[i];
            if ((vq_dtype_bits(it->t.dtype) + 7) / 8 * 8 != bits) continue;
            it->begin = at;
            at += it->bytes;
            json_object_set_new(header, it->name, entry(it, meta));
        }
    if (json_object_size(meta)) json_object_set(header, "__metadata__", meta);
    json_decref(meta);
    text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    if (!text) return NULL;
    n = strlen(text);
    *length = (n + 7) / 8 * 8;
    padded = (char *)malloc(8 + *length + 1);
    if (padded) {
        for (i = 0; i < 8; i++) padded[i] = (char)((uint64_t)*length >> 8 * i & 0xff);
        memset(padded + 8, ' ', *length);
        memcpy(padded + 8, text, n);
    }
    free(text);
    return padded;
}

int st_begin(st_writer *w, const char *path)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGBUS};
    struct stat st;
    size_t length = 0, i, n;
    mode_t mask;
    char *header;
    int bad;

    w->path = path;
    w->fd = -1;
    if (!stat(path, &st)) {
        if (!S_ISREG(st.st_mode)) return fail("%s: not a regular file", path);
        w->real = realpath(path, NULL);            /* a link stays one */
    } else {
        w->real = (char *)malloc(strlen(path) + 1);
        if (w->real) strcpy(w->real, path);
    }
    n = w->real ? strlen(w->real) + 8 : 0;
    w->temp = n ? (char *)malloc(n) : NULL;
    if (!w->temp) return fail("%s: out of memory", path);
    snprintf(w->temp, n, "%s.XXXXXX", w->real);
    for (i = 0; i < sizeof signals / sizeof *signals; i++)
        if (signal(signals[i], stopped) == SIG_IGN) signal(signals[i], SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);                      /* a write past the limit fails instead */
    w->fd = mkstemp(w->temp);
    if (w->fd < 0) return fail("%s: cannot be written: %s", path, strerror(errno));
    unfinished = w->temp;
    umask(mask = umask(0));
    fchmod(w->fd, 0666 & ~mask);                   /* as open() would have made it */
    header = layout(w, &length);
    if (!header) return fail("%s: out of memory", path);
    w->data = 8 + length;
    bad = write_all(w, header, w->data, 0);
    free(header);
    return bad;
}

int st_put(st_writer *w, size_t index, const void *bytes)
{
    return write_all(w, bytes, w->item[index].bytes, w->data + w->item[index].begin);
}

int st_commit(st_writer *w)
{
    int bad = fsync(w->fd) != 0;
    bad |= close(w->fd) != 0;
    w->fd = -1;
    if (bad || rename(w->temp, w->real))
        return fail("%s: cannot be written: %s", w->path, strerror(errno));
    unfinished = NULL;
    return 0;
}

void st_end(st_writer *w)
{
    size_t i;
    if (w->fd > 0) close(w->fd);
    if (unfinished) unlink(unfinished);
    unfinished = NULL;
    for (i = 0; i < w->count; i++) free(w->item[i].name);
    free(w->item);
    free(w->real);
    free(w->temp);
    memset(w, 0, sizeof *w);
}
