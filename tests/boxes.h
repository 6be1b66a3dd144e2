/* boxes.h - tensors somewhere in blocks of random bytes that are compared whole */
#ifndef BOXES_H_INCLUDED
#define BOXES_H_INCLUDED

typedef struct {
    vq_tensor t;
    uint8_t  *mem, *was;                 /* the block, and what it has to be */
    size_t    size;
} box;

static box box_of(vq_tensor t)
{
    size_t skip = t_rand() % 8, i;
    box b;
    b.t = t;
    b.size = 32 + skip + (size_t)vq_tensor_bytes(t) + (skip % 2 ? 0 : 32);   /* or to the end */
    b.mem = (uint8_t *)malloc(b.size);
    b.was = (uint8_t *)malloc(b.size);
    for (i = 0; i < b.size; i++) b.mem[i] = (uint8_t)(t_rand() >> 24);
    memcpy(b.was, b.mem, b.size);
    b.t.data = b.mem + 32 + skip;
    return b;
}

static box copy_of(const box *of)
{
    box b = *of;
    if (!of->mem) return b;
    b.mem = (uint8_t *)malloc(b.size);
    b.was = (uint8_t *)malloc(b.size);
    memcpy(b.mem, of->mem, b.size);
    memcpy(b.was, of->mem, b.size);
    b.t.data = b.mem + ((uint8_t *)of->t.data - of->mem);
    return b;
}

static void drop(box *b)
{
    if (b->mem) { free(b->mem); free(b->was); }
    b->mem = NULL;
}

#endif
