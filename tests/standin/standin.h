/* standin.h - what a test may ask of the stand-in: see standin.cc

   A library built with the stand-in has, beside its own symbols, standin_control(). */
#ifndef STANDIN_H_INCLUDED
#define STANDIN_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum standin_order { STANDIN_FORWARD, STANDIN_REVERSE, STANDIN_SHUFFLED } standin_order;

enum { STANDIN_READ = 1, STANDIN_WRITTEN = 2 };

/* Calls of the runtime since the library was loaded. */
typedef struct standin_counts { long launches, allocs, frees, copies, waits; } standin_counts;

typedef struct standin {
    int    wave;                                  /* lanes */
    void  *stream;                                /* one that is not NULL */
    void (*order)(standin_order o, uint32_t seed);     /* of blocks, and of threads in them */
    void (*most_blocks)(unsigned n);              /* a grid's x is cut to this; 0: as launched.
                                                     What strides by gridDim.x may not notice */
    void (*fail_launch)(int error);               /* the next launch, with this hipError_t */
    void (*hear)(void (*fault)(const char *text));     /* called before a fault aborts */
    void (*forget)(void);                         /* for touched(): what has been until here */
    void (*touched)(const void *device, size_t n, uint8_t *flags);  /* STANDIN_*, a byte each */
    int  (*watched)(void);                        /* accesses were looked at: see standin.cc */
    const standin_counts *counts;
    void  *const *launched_on;                    /* the stream of the last launch */
} standin;

typedef const standin *(*standin_control_fn)(void);
const standin *standin_control(void);

#ifdef __cplusplus
}
#endif
#endif
