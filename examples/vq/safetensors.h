/* safetensors.h - read and write tensors of vq as .safetensors

   A file is a little-endian u64, that many bytes of JSON, and the tensors' bytes. What the
   format cannot say stands in its metadata, by the name of the tensor:

     vq.dtype.NAME   vq's name of the type; the tensor itself is U8
     vq.shape.NAME   "R,C": the extents, where the U8 tensor has other ones: 4- and 6-bit
                     types have the bytes of a row as last extent, and
     vq.order.NAME   what is not in row order is all its bytes as they lie: a matrix, or of
                     three extents one after another */
#ifndef SAFETENSORS_H_INCLUDED
#define SAFETENSORS_H_INCLUDED

#include <jansson.h>
#include "../../vq.h"

typedef struct st_tensor {
    const char *name, *dtype;         /* "F32"; owned by the file's header */
    json_t     *shape;
    int         rank;
    uint64_t    begin, end;           /* from st_file.data */
} st_tensor;

typedef struct st_file {
    const char          *path;
    void                *map;
    size_t               map_bytes;
    const unsigned char *data;
    json_t              *header, *metadata;
    st_tensor           *tensor;      /* by name */
    size_t               count;
} st_file;

/* 0, or 1 after one line on stderr. Everything the format promises is checked. */
int  st_open(const char *path, st_file *f);
void st_close(st_file *f);
const st_tensor *st_find(const st_file *f, const char *name);    /* NULL: no such tensor */

/* The tensor as vq sees it, its data in the mapping, and how many extents the file gives it:
   a scalar has none and is [1] here. 0, or 1 after a line. */
int  st_view(const st_file *f, const st_tensor *t, vq_tensor *out, vq_order *order, int *extents);
int  st_rank(const st_file *f, const st_tensor *t);              /* how many; 0 of bad metadata */
vq_dtype st_dtype(const st_file *f, const st_tensor *t);         /* VQ_NONE: vq has no such type */

/* The tensor that these extents are in an order; what is not one st_view() refuses. */
vq_tensor st_ordered(vq_dtype type, int rank, const int64_t *e, vq_order order, const void *data);

typedef struct st_item {
    char      *name;
    vq_tensor  t;
    vq_order   order;
    uint64_t   begin, bytes;
} st_item;

typedef struct st_writer {
    const char *path;
    char       *real, *temp;          /* the file itself, and the one written first */
    int         fd;
    st_item    *item;
    size_t      count;
    uint64_t    data;                 /* where the tensors begin */
} st_writer;

/* Declare every tensor, begin, put each one's bytes, commit. The file appears, or replaces
   another, in commit; whatever fails before leaves nothing. st_end() is due in any case.
   A scalar is a t of shape [1] whose rank was set to 0. */
int  st_declare(st_writer *w, const char *name, vq_tensor t, vq_order order, size_t *index);
int  st_begin(st_writer *w, const char *path);
int  st_put(st_writer *w, size_t index, const void *bytes);
int  st_commit(st_writer *w);
void st_end(st_writer *w);

#endif
