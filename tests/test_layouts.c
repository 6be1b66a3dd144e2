/* test_layouts.c - where the elements of a scale tensor lie, and vq_scale_convert() between
   every two layouts

   The oracle knows a layout as its authors write it, a reshape and a permutation, or as words;
   vq.h knows it as an offset. A destination is compared whole: elements, padding, gaps, and the
   bytes before and behind. */
#define VQ_IMPLEMENTATION
#include "../vq.h"
#include "vq_test.h"

/* --- the oracle -------------------------------------------------------------------------- */

/* x.view(dims).permute(order).flatten(): where the element at `from` of x comes to lie. */
static int64_t permuted(int n, const int64_t *dims, const int *order, int64_t from)
{
    int64_t at[8], to = 0;
    int i;
    for (i = n - 1; i >= 0; i--) {
        at[i] = from % dims[i];
        from /= dims[i];
    }
    for (i = 0; i < n; i++) to = to * dims[order[i]] + at[order[i]];
    return to;
}

static int64_t whole(int64_t n, int64_t tile) { return (n + tile - 1) / tile * tile; }

static int tile_rows(vq_layout l)
{
    return l == VQ_SWIZZLE_128X4 ? 128 : l == VQ_SWIZZLE_8X4 ? 8 : l == VQ_SWIZZLE_CDNA4 ? 32 : 4;
}

static int tile_cols(vq_layout l) { return l == VQ_SWIZZLE_CDNA4 ? 8 : 4; }

/* Byte offset of (r, c) in a matrix of whole tiles: m rows, k columns of bytes. */
static int64_t swizzled(vq_layout l, int64_t m, int64_t k, int64_t r, int64_t c)
{
    int64_t d[7];
    if (l == VQ_SWIZZLE_128X4) {
        static const int order[] = { 0, 3, 2, 1, 4 };
        d[0] = m / 128; d[1] = 4; d[2] = 32; d[3] = k / 4; d[4] = 4;
        return permuted(5, d, order, r * k + c);
    }
    if (l == VQ_SWIZZLE_8X4) {
        static const int order[] = { 0, 2, 1, 3 };
        d[0] = m / 8; d[1] = 8; d[2] = k / 4; d[3] = 4;
        return permuted(4, d, order, r * k + c);
    } else {
        static const int order[] = { 0, 3, 5, 2, 4, 1, 6 };
        d[0] = m / 32; d[1] = 2; d[2] = 16; d[3] = k / 8; d[4] = 2; d[5] = 4; d[6] = 1;
        return permuted(7, d, order, r * k + c);
    }
}

/* --- pictures of a tensor's memory ------------------------------------------------------- */

enum { GUARD = 64, ROOM = 1 << 21 };

typedef struct { vq_tensor t; int64_t bytes; } view;

static uint8_t mem_x[ROOM], mem_y[ROOM], was_x[ROOM], want[ROOM], values[1 << 20];

/* Byte offset of element (b, r, c). */
static int64_t place(const view *v, int64_t b, int64_t r, int64_t c)
{
    const vq_tensor *t = &v->t;
    int three = t->rank == 3, size = vq_dtype_bits(t->dtype) / 8;
    int64_t rows = t->shape[three], cols = t->shape[three + 1];
    if (t->layout == VQ_STRIDED)
        return ((three ? b * t->stride[0] : 0) + r * t->stride[three] + c * t->stride[three + 1])
               * size;
    b *= three ? t->stride[0] : 0;
    if (t->layout == VQ_PACKED_UE8M0) {      /* byte c % 4, from the low end, of word [c / 4][r] */
        uint32_t word = UINT32_C(0xff) << (c % 4 * 8);
        uint8_t byte[4];
        int i;
        memcpy(byte, &word, 4);              /* on this machine, which is little-endian */
        for (i = 0; !byte[i]; i++) { }
        return b + c / 4 * t->stride[three + 1] + r * 4 + i;
    }
    return b + swizzled(t->layout, whole(rows, tile_rows(t->layout)),
                        whole(cols, tile_cols(t->layout)), r, c);
}

/* Rows and columns that are written: padding that the layout defines included. */
static void extent(const vq_tensor *t, int64_t *rows, int64_t *cols)
{
    int three = t->rank == 3;
    *rows = t->shape[three];
    *cols = t->shape[three + 1];
    if (t->layout == VQ_STRIDED || !*rows || !*cols) return;
    *cols = whole(*cols, tile_cols(t->layout));
    if (t->layout != VQ_PACKED_UE8M0) *rows = whole(*rows, tile_rows(t->layout));
    else if (t->stride[three + 1] >= 4 * whole(*rows, 4)) *rows = whole(*rows, 4);
}

/* The last byte that is written, and one. */
static int64_t reach(const view *v)
{
    const vq_tensor *t = &v->t;
    int three = t->rank == 3;
    int64_t b, r, c, rows, cols, end = 0, batch = three ? t->shape[0] : 1;
    extent(t, &rows, &cols);
    for (b = 0; b < batch; b += batch > 1 ? batch - 1 : 1)
        for (r = 0; r < rows; r++)
            for (c = 0; c < cols; c++) {
                int64_t at = place(v, b, r, c) + vq_dtype_bits(t->dtype) / 8;
                if (at > end) end = at;
            }
    return end;
}

/* The elements of `values`, or 0 for padding, put where the picture has them. */
static void draw(const view *v, uint8_t *at)
{
    const vq_tensor *t = &v->t;
    int three = t->rank == 3, size = vq_dtype_bits(t->dtype) / 8;
    int64_t b, r, c, rows, cols, m = t->shape[three], k = t->shape[three + 1];
    extent(t, &rows, &cols);
    for (b = 0; b < (three ? t->shape[0] : 1); b++)
        for (r = 0; r < rows; r++)
            for (c = 0; c < cols; c++) {
                uint8_t *p = at + place(v, b, r, c);
                if (r < m && c < k) memcpy(p, values + ((b * m + r) * k + c) * size, (size_t)size);
                else memset(p, 0, (size_t)size);
            }
}

/* Ways to lay [batch, rows, cols] out; the last of a group have gaps. */
enum { AS_ROWS, AS_COLUMNS, AS_TMA, AS_GAPS, AS_LOOSE, AS_WORDS, AS_WORDS_TIGHT, AS_WORDS_LOOSE,
       AS_128X4, AS_8X4, AS_CDNA4, AS_COUNT };

static int is_words(int as)   { return as >= AS_WORDS && as <= AS_WORDS_LOOSE; }
static int is_strided(int as) { return as <= AS_LOOSE; }

/* batch 0: rank 2. gap: bytes, or elements, from one matrix to the next. */
static view lay(int as, vq_dtype t, int64_t batch, int64_t rows, int64_t cols, int64_t gap)
{
    static const vq_order order[] = { VQ_ROWS, VQ_COLUMNS, VQ_COLUMNS_TMA, VQ_ROWS, VQ_ROWS,
        VQ_WORDS_UE8M0, VQ_WORDS_UE8M0, VQ_WORDS_UE8M0, VQ_TILES_128X4, VQ_TILES_8X4,
        VQ_TILES_CDNA4 };
    view v;
    int size = vq_dtype_bits(t) / 8;
    memset(&v, 0, sizeof v);
    v.t = vq_tensor_ordered(t, rows, cols, order[as], NULL, VQ_HOST);
    if (as == AS_GAPS)  v.t.stride[0] = cols + 3;
    if (as == AS_LOOSE) { v.t.stride[0] = 2; v.t.stride[1] = 2 * rows + 5; }
    if (as == AS_WORDS_TIGHT) v.t.stride[1] = 4 * rows;
    if (as == AS_WORDS_LOOSE) v.t.stride[1] = 4 * whole(rows, 4) + 8;
    v.bytes = reach(&v);
    if (batch) {
        int64_t one = v.t.layout == VQ_STRIDED ? (v.bytes + size - 1) / size : v.bytes;
        v.t.rank = 3;
        v.t.shape[2] = v.t.shape[1];
        v.t.shape[1] = v.t.shape[0];
        v.t.stride[2] = v.t.stride[1];
        v.t.stride[1] = v.t.stride[0];
        v.t.shape[0] = batch;
        v.t.stride[0] = one + gap > 0 ? one + gap : 1;
        v.bytes = reach(&v);
    }
    return v;
}

static vq_ctx *vq;

/* x as laid out -> y as laid out, both off any alignment, everything around them watched. */
static void convert(const view *x, const view *y, const char *why)
{
    vq_scale_convert_args a = VQ_ZERO;
    vq_report r = VQ_ZERO;
    int off_x = (int)(t_rand() % 16), off_y = (int)(t_rand() % 16);
    int three = x->t.rank == 3, size = vq_dtype_bits(x->t.dtype) / 8;
    int64_t rows = x->t.shape[three], cols = x->t.shape[three + 1];
    size_t n = (size_t)(rows * cols * size * (three ? x->t.shape[0] : 1)), i;
    size_t room_x = (size_t)x->bytes + 2 * GUARD + 16, room_y = (size_t)y->bytes + 2 * GUARD + 16;
    vq_status s;
    if (n > sizeof values || room_x > ROOM || room_y > ROOM) { CHECK(!"room"); return; }
    for (i = 0; i < n; i++) values[i] = (uint8_t)(t_rand() | 1);          /* never padding's 0 */
    for (i = 0; i < room_x; i++) mem_x[i] = (uint8_t)(0x5a + i % 7);      /* nor is x's padding 0 */
    draw(x, mem_x + GUARD + off_x);
    memcpy(was_x, mem_x, room_x);
    memset(mem_y, 0xa5, room_y);
    memset(want, 0xa5, room_y);
    draw(y, want + GUARD + off_y);
    a.x = x->t;
    a.y = y->t;
    a.x.data = mem_x + GUARD + off_x;
    a.y.data = mem_y + GUARD + off_y;
    a.call.report = &r;
    s = vq_scale_convert(vq, &a);
    CHECKF(s == VQ_OK, "%s [%d, %d]: %s", why, (int)rows, (int)cols, r.text);
    CHECKF(!memcmp(mem_y, want, room_y), "%s %s -> %s [%d, %d]", why, vq_layout_str(x->t.layout),
           vq_layout_str(y->t.layout), (int)rows, (int)cols);
    CHECKF(!memcmp(mem_x, was_x, room_x), "%s: the source was written", why);
    CHECKF(vq_tensor_bytes(y->t) == y->bytes, "%s %s [%d, %d]: %lld bytes, not %lld", why,
           vq_layout_str(y->t.layout), (int)rows, (int)cols, (long long)y->bytes,
           (long long)vq_tensor_bytes(y->t));
}

static int starts(void)
{
    vq_desc d = VQ_ZERO;
    d.backend = VQ_CPU;
    if (!vq) CHECK(vq_init(&d, &vq) == VQ_OK);
    return vq != NULL;
}

/* --- tests ------------------------------------------------------------------------------- */

static const vq_layout swizzles[] = { VQ_SWIZZLE_128X4, VQ_SWIZZLE_8X4, VQ_SWIZZLE_CDNA4 };

static void documented_offsets_are_found(void)
{
    static const struct { vq_layout l; int p, r, c, at; } known[] = {
        { VQ_SWIZZLE_128X4, 8, 0, 0, 0 },      { VQ_SWIZZLE_128X4, 8, 1, 0, 16 },
        { VQ_SWIZZLE_128X4, 8, 32, 0, 4 },     { VQ_SWIZZLE_128X4, 8, 0, 4, 512 },
        { VQ_SWIZZLE_128X4, 8, 127, 7, 1023 }, { VQ_SWIZZLE_128X4, 8, 128, 0, 1024 },
        { VQ_SWIZZLE_128X4, 8, 33, 5, 533 },   { VQ_SWIZZLE_CDNA4, 8, 1, 0, 4 },
        { VQ_SWIZZLE_CDNA4, 8, 16, 0, 1 },     { VQ_SWIZZLE_CDNA4, 8, 0, 1, 64 },
        { VQ_SWIZZLE_CDNA4, 8, 0, 4, 2 },      { VQ_SWIZZLE_CDNA4, 8, 31, 7, 255 },
        { VQ_SWIZZLE_8X4, 8, 1, 0, 4 },        { VQ_SWIZZLE_8X4, 8, 0, 4, 32 },
        { VQ_SWIZZLE_8X4, 8, 7, 7, 63 },       { VQ_SWIZZLE_8X4, 8, 8, 0, 64 },
    };
    size_t i;
    for (i = 0; i < sizeof known / sizeof *known; i++) {
        int64_t at = vq_layout_index(known[i].l, known[i].p, 1, known[i].r, known[i].c);
        CHECKF(at == known[i].at, "%s (%d, %d): %d", vq_layout_str(known[i].l), known[i].r,
               known[i].c, (int)at);
    }
    CHECK(vq_layout_index(VQ_PACKED_UE8M0, 4, 32, 3, 6) == 32 + 12 + 2);
    CHECK(vq_layout_index(VQ_STRIDED, 7, 3, 5, 2) == 41);
}

/* Each offset is the permutation's, so each of the m * k bytes is some element's and no two
   share one. */
static void the_offset_is_the_permutation(void)
{
    static uint8_t taken[512 * 64];
    size_t i;
    for (i = 0; i < 3; i++) {
        vq_layout l = swizzles[i];
        int64_t m, k, r, c;
        for (m = tile_rows(l); m <= 3 * tile_rows(l); m += tile_rows(l))
            for (k = tile_cols(l); k <= 5 * tile_cols(l); k += tile_cols(l)) {
                memset(taken, 0, sizeof taken);
                for (r = 0; r < m; r++)
                    for (c = 0; c < k; c++) {
                        int64_t at = vq_layout_index(l, k, 1, r, c);
                        CHECKF(at == swizzled(l, m, k, r, c), "%s %dx%d (%d, %d): %d",
                               vq_layout_str(l), (int)m, (int)k, (int)r, (int)c, (int)at);
                        if (at < 0 || at >= m * k || taken[at]++)
                            CHECKF(0, "%s %dx%d (%d, %d)", vq_layout_str(l), (int)m, (int)k, (int)r,
                                   (int)c);
                    }
            }
    }
}

/* Far from the start: 2^32 and more, which the permutation counts in int64_t as well. */
static void offsets_beyond_32_bits_are_found(void)
{
    int i;
    for (i = 0; i < 3000; i++) {
        vq_layout l = swizzles[i % 3];
        int64_t m = (int64_t)(t_rand() % 10000000 + 1) * tile_rows(l);
        int64_t k = (int64_t)(t_rand() % 1000 + 1) * tile_cols(l);
        int64_t r = (int64_t)(t_randf(0, 1) * (float)m) % m, c = (int64_t)(t_rand() % (uint32_t)k);
        CHECK(vq_layout_index(l, k, 1, r, c) == swizzled(l, m, k, r, c));
        CHECK(vq_layout_index(VQ_STRIDED, m, k, r, c) == r * m + c * k);
    }
    CHECK(vq_layout_index(VQ_PACKED_UE8M0, 4, INT64_C(4) << 32, INT64_C(3) << 31, 9)
          == (INT64_C(8) << 32) + (INT64_C(12) << 31) + 1);
}

static void orders_are_laid_out_as_they_are_named(void)
{
    static const vq_dtype types[] = { VQ_F32, VQ_F16, VQ_BF16, VQ_E8M0, VQ_UE4M3 };
    int64_t rows, cols;
    size_t k;
    int o;
    for (k = 0; k < 5; k++)
        for (rows = 0; rows <= 140; rows += rows < 40 ? 1 : 25)
            for (cols = 0; cols <= 17; cols++)
                for (o = 0; o < VQ_ORDER_COUNT; o++) {
                    int bytes = vq_dtype_bits(types[k]) / 8;
                    vq_report r = VQ_ZERO;
                    vq_tensor t;
                    int64_t s0 = cols, s1 = 1;
                    vq_layout l = VQ_STRIDED;
                    if (o == VQ_WORDS_UE8M0 && types[k] != VQ_E8M0) continue;
                    if (o >= VQ_TILES_128X4 && bytes > 1) continue;
                    t = vq_tensor_ordered(types[k], rows, cols, (vq_order)o, mem_x, VQ_MANAGED);
                    CHECKF(vq_tensor_check(&t, "t", &r) == VQ_OK, "%s [%d, %d]: %s",
                           vq_order_str((vq_order)o), (int)rows, (int)cols, r.text);
                    CHECK(t.data == mem_x && t.dtype == types[k] && t.where == VQ_MANAGED);
                    CHECK(t.rank == 2 && t.shape[0] == rows && t.shape[1] == cols);
                    if (!rows || !cols) {
                        CHECK(vq_tensor_bytes(t) == 0);
                        continue;
                    }
                    if (o == VQ_COLUMNS)     { s0 = 1; s1 = rows; }
                    if (o == VQ_COLUMNS_TMA) { s0 = 1; s1 = whole(rows, 16 / bytes); }
                    if (o == VQ_WORDS_UE8M0) {
                        l = VQ_PACKED_UE8M0;
                        s0 = 4;
                        s1 = whole(4 * rows, 16);
                    }
                    if (o == VQ_TILES_128X4) { l = VQ_SWIZZLE_128X4; s0 = whole(cols, 4); }
                    if (o == VQ_TILES_8X4)   { l = VQ_SWIZZLE_8X4;   s0 = whole(cols, 4); }
                    if (o == VQ_TILES_CDNA4) { l = VQ_SWIZZLE_CDNA4; s0 = whole(cols, 8); }
                    CHECKF(t.layout == l && t.stride[0] == s0 && t.stride[1] == s1,
                           "%s [%d, %d]: %s %d %d", vq_order_str((vq_order)o), (int)rows, (int)cols,
                           vq_layout_str(t.layout), (int)t.stride[0], (int)t.stride[1]);
                }
    for (o = 0; o < VQ_ORDER_COUNT; o++) CHECK(vq_order_of(vq_order_str((vq_order)o)) == o);
    CHECK(vq_order_of("row") == -1 && vq_order_of("") == -1 && vq_order_of("ROWS") == -1);
    CHECK(vq_order_of("columns_tm") == -1 && vq_order_of(NULL) == -1);
}

/* Every residue of both extents, whole tiles and one more, there and back. */
static void every_extent_goes_there_and_back(void)
{
    int as;
    if (!starts()) return;
    for (as = 0; as < AS_COUNT; as++) {
        vq_dtype t = is_words(as) ? VQ_E8M0 : as == AS_8X4 ? VQ_UINT8 : VQ_UE4M3;
        view probe = lay(as, t, 0, 4, 4, 0);
        int64_t m = is_strided(as) ? 16 : tile_rows(probe.t.layout);
        int64_t k = tile_cols(probe.t.layout), rows, cols;
        for (rows = 1; rows <= 2 * m + 1; rows++)
            for (cols = 1; cols <= 2 * k + 1; cols++) {
                view plain = lay(AS_ROWS, t, 0, rows, cols, 0);
                view there = lay(as, t, 0, rows, cols, 0);
                convert(&plain, &there, "to");
                convert(&there, &plain, "from");
            }
    }
}

static void every_pair_of_layouts_agrees(void)
{
    static const vq_dtype bytes[] = { VQ_E8M0, VQ_UE4M3, VQ_E4M3FN, VQ_UINT8, VQ_INT8,
                                      VQ_E5M2FNUZ };
    int from, to, i;
    if (!starts()) return;
    for (from = 0; from < AS_COUNT; from++)
        for (to = 0; to < AS_COUNT; to++)
            for (i = 0; i < 12; i++) {
                vq_dtype t = is_words(from) || is_words(to) ? VQ_E8M0 : bytes[i % 6];
                int64_t batch = i < 4 ? 0 : t_rand() % 3 + 1, gap = i < 8 ? 0 : t_rand() % 40;
                int64_t rows = t_rand() % (i % 4 ? 40 : 300) + 1, cols = t_rand() % 20 + 1;
                view x = lay(from, t, batch, rows, cols, gap);
                view y = lay(to, t, batch, rows, cols, t_rand() % 2 ? gap + 3 : 0);
                convert(&x, &y, batch ? "batch" : "pair");
            }
}

static void wide_scales_move_between_strides(void)
{
    static const vq_dtype wide[] = { VQ_F32, VQ_F16, VQ_BF16 };
    int from, to, i;
    if (!starts()) return;
    for (from = 0; is_strided(from); from++)
        for (to = 0; is_strided(to); to++)
            for (i = 0; i < 30; i++) {
                vq_dtype t = wide[i % 3];
                int64_t batch = i < 10 ? 0 : t_rand() % 3 + 1;
                int64_t rows = t_rand() % 20 + 1, cols = t_rand() % 20 + 1;
                view x = lay(from, t, batch, rows, cols, t_rand() % 9);
                view y = lay(to, t, batch, rows, cols, t_rand() % 9);
                convert(&x, &y, "wide");
            }
}

/* The matrices of a source may lie on one another; those of a destination may not. */
static void a_source_may_repeat_itself_and_a_destination_may_not(void)
{
    int as;
    if (!starts()) return;
    for (as = 0; as < AS_COUNT; as++) {
        vq_scale_convert_args a = VQ_ZERO;
        vq_report r = VQ_ZERO;
        view y = lay(as, VQ_E8M0, 2, 5, 7, 0), x = lay(AS_ROWS, VQ_E8M0, 2, 5, 7, 0);
        int i;
        x.t.stride[0] = 1;
        x.t.stride[1] = 2;
        for (i = 0; i < 64; i++) mem_x[i] = (uint8_t)(i + 1);
        a.x = x.t;
        a.y = y.t;
        a.x.data = mem_x;
        a.y.data = mem_y;
        a.call.report = &r;
        CHECKF(vq_scale_convert(vq, &a) == VQ_OK, "%d: %s", as, r.text);
        CHECK(mem_y[place(&y, 1, 3, 2)] == mem_x[1 + 6 + 2]);
        memset(mem_y, 0xa5, 4096);
        memcpy(want, mem_y, 4096);
        a.y.stride[0] = as == AS_LOOSE ? 2 : is_strided(as) ? 1 : y.t.stride[0] - 1;
        CHECKF(vq_scale_convert(vq, &a) == VQ_BAD_ARG, "%d", as);
        CHECKF(r.guard == VQ_GUARD_STRIDE && r.arg && !strcmp(r.arg, "y"), "%d: %s", as, r.text);
        CHECKF(r.found == a.y.stride[0] && r.needed > r.found, "%d: %s", as, r.text);
        CHECK(!memcmp(mem_y, want, 4096));
    }
}

static void nothing_is_written_where_nothing_is(void)
{
    int as, i;
    if (!starts()) return;
    for (as = 0; as < AS_COUNT; as++)
        for (i = 1; i < 8; i++) {
            vq_scale_convert_args a = VQ_ZERO;
            vq_report r = VQ_ZERO;
            int64_t batch = i & 4 ? 0 : 2, rows = i & 2 ? 0 : 5, cols = i & 1 ? 0 : 9;
            a.x = lay(AS_ROWS, VQ_E8M0, 1, rows, cols, 0).t;
            a.y = lay(as, VQ_E8M0, 1, rows, cols, 0).t;
            a.x.shape[0] = a.y.shape[0] = batch;
            a.call.report = &r;
            CHECKF(vq_scale_convert(vq, &a) == VQ_OK, "%d %d: %s", as, i, r.text);
            CHECK(vq_tensor_bytes(a.y) == 0);
            memset(mem_y, 0xa5, 4096);
            memcpy(want, mem_y, 4096);
            a.x.data = mem_x;
            a.y.data = mem_y;
            CHECK(vq_scale_convert(vq, &a) == VQ_OK && !memcmp(mem_y, want, 4096));
        }
}

/* One thing wrong at a time; y must be as it was. */
static void what_cannot_be_converted_is_refused(void)
{
    static const struct { const char *what, *arg; vq_guard guard; } c[] = {
        { "x missing", "x", VQ_GUARD_PRESENT },    { "y missing", "y", VQ_GUARD_PRESENT },
        { "x no data", "x", VQ_GUARD_PRESENT },    { "y no data", "y", VQ_GUARD_PRESENT },
        { "rows", "y", VQ_GUARD_SHAPE },           { "cols", "y", VQ_GUARD_SHAPE },
        { "batch", "y", VQ_GUARD_SHAPE },          { "type", "y", VQ_GUARD_TYPE },
        { "rank", "y", VQ_GUARD_RANK },            { "x rank 1", "x", VQ_GUARD_RANK },
        { "x rank 4", "x", VQ_GUARD_RANK },        { "packed codes", "x", VQ_GUARD_TYPE },
        { "six bits", "x", VQ_GUARD_TYPE },        { "no type", "x", VQ_GUARD_TYPE },
        { "y is x", "y", VQ_GUARD_OVERLAP },       { "y in x", "y", VQ_GUARD_OVERLAP },
        { "x in y", "y", VQ_GUARD_OVERLAP },       { "wide tiles", "y", VQ_GUARD_LAYOUT },
        { "tile stride", "y", VQ_GUARD_STRIDE },   { "tile step", "y", VQ_GUARD_STRIDE },
        { "word stride", "y", VQ_GUARD_STRIDE },   { "word step", "y", VQ_GUARD_STRIDE },
        { "word odd", "y", VQ_GUARD_STRIDE },      { "words of ue4m3", "y", VQ_GUARD_TYPE },
        { "unknown layout", "y", VQ_GUARD_LAYOUT },
    };
    size_t i;
    if (!starts()) return;
    for (i = 0; i < sizeof c / sizeof *c; i++) {
        vq_scale_convert_args a = VQ_ZERO;
        vq_report r = VQ_ZERO;
        const char *w = c[i].what;
        vq_status s;
        a.x = lay(AS_ROWS, VQ_E8M0, 2, 5, 7, 0).t;
        a.y = lay(strstr(w, "word") ? AS_WORDS : AS_128X4, VQ_E8M0, 2, 5, 7, 0).t;
        if (!strcmp(w, "x rank 1") || !strcmp(w, "x rank 4"))
            a.x.rank = a.y.rank = w[7] - '0', a.x.layout = a.y.layout = VQ_STRIDED;
        if (!strcmp(w, "x rank 4")) {
            a.x.shape[3] = a.y.shape[3] = 1;
            a.x.stride[3] = a.y.stride[3] = 1;
        }
        if (!strcmp(w, "x missing")) memset(&a.x, 0, sizeof a.x);
        if (!strcmp(w, "y missing")) memset(&a.y, 0, sizeof a.y);
        a.x.data = mem_x;
        a.y.data = mem_y;
        if (!strcmp(w, "x no data")) a.x.data = NULL;
        if (!strcmp(w, "y no data")) a.y.data = NULL;
        if (!strcmp(w, "rows"))  a.y.shape[1] = 6;
        if (!strcmp(w, "cols"))  a.y.shape[2] = 8;
        if (!strcmp(w, "batch")) a.y.shape[0] = 3;
        if (!strcmp(w, "type"))  a.y.dtype = VQ_UE4M3;
        if (!strcmp(w, "rank")) {
            a.y = lay(AS_128X4, VQ_E8M0, 0, 5, 7, 0).t;
            a.y.data = mem_y;
        }
        if (!strcmp(w, "packed codes")) {
            a.x = vq_tensor_2d(mem_x, VQ_INT4, 4, 8, VQ_HOST);
            a.y = vq_tensor_2d(mem_y, VQ_INT4, 4, 8, VQ_HOST);
        }
        if (!strcmp(w, "six bits")) {
            a.x = vq_tensor_2d(mem_x, VQ_E3M2, 4, 8, VQ_HOST);
            a.y = vq_tensor_2d(mem_y, VQ_E3M2, 4, 8, VQ_HOST);
        }
        if (!strcmp(w, "no type")) a.x.dtype = a.y.dtype = VQ_NONE;
        if (!strcmp(w, "y is x")) {
            a.y = a.x;
            a.x.data = a.y.data = mem_y;
        }
        if (!strcmp(w, "y in x")) a.x.data = mem_y + 1023;      /* the last byte of 2 x 512 */
        if (!strcmp(w, "x in y")) a.x.data = mem_y - 69 + 2048, a.y.data = mem_y + 2048;
        if (!strcmp(w, "wide tiles")) a.x.dtype = a.y.dtype = VQ_F32;
        if (!strcmp(w, "tile stride")) a.y.stride[1] = 7;
        if (!strcmp(w, "tile step"))   a.y.stride[2] = 2;
        if (!strcmp(w, "word stride")) a.y.stride[1] = 8;
        if (!strcmp(w, "word step"))   a.y.stride[2] = 16;
        if (!strcmp(w, "word odd"))    a.y.stride[2] = 33;
        if (!strcmp(w, "words of ue4m3")) a.x.dtype = a.y.dtype = VQ_UE4M3;
        if (!strcmp(w, "unknown layout")) a.y.layout = (vq_layout)77;
        a.call.report = &r;
        memset(mem_y, 0xa5, 8192);
        memcpy(want, mem_y, 8192);
        s = vq_scale_convert(vq, &a);
        CHECKF(s == VQ_BAD_ARG && r.status == s, "%s: %s", w, vq_status_str(s));
        CHECKF(r.guard == c[i].guard && r.arg && !strcmp(r.arg, c[i].arg), "%s: %s: %s", w,
               vq_guard_str(r.guard), r.text);
        CHECKF(strstr(r.text, c[i].arg) && r.op && !strcmp(r.op, "scale_convert"), "%s: %s", w,
               r.text);
        CHECKF(!memcmp(mem_y, want, 8192), "%s: y was written", w);
    }
}

/* One byte apart is apart. */
static void neighbours_do_not_overlap(void)
{
    vq_scale_convert_args a = VQ_ZERO;
    view x = lay(AS_ROWS, VQ_E8M0, 2, 5, 7, 0), y = lay(AS_128X4, VQ_E8M0, 2, 5, 7, 0);
    if (!starts()) return;
    a.x = x.t;
    a.y = y.t;
    a.y.data = mem_y + 70;
    a.x.data = mem_y;
    CHECK(x.bytes == 70 && vq_scale_convert(vq, &a) == VQ_OK);
    a.y.data = mem_y;
    a.x.data = mem_y + y.bytes;
    CHECK(vq_scale_convert(vq, &a) == VQ_OK);
}

VQ_TEST_MAIN(
    T(documented_offsets_are_found),
    T(the_offset_is_the_permutation),
    T(offsets_beyond_32_bits_are_found),
    T(orders_are_laid_out_as_they_are_named),
    T(every_extent_goes_there_and_back),
    T(every_pair_of_layouts_agrees),
    T(wide_scales_move_between_strides),
    T(a_source_may_repeat_itself_and_a_destination_may_not),
    T(nothing_is_written_where_nothing_is),
    T(what_cannot_be_converted_is_refused),
    T(neighbours_do_not_overlap))
