/* graph_text.h - a graph as text, and as a drawing

     in x bf16 256x8192                a value that the caller brings: name, type, extents
     y bf16 256x4096                   one that a node makes
     out s f32 256x32 columns_tma      one that the caller wants; how scales lie (VQ_ORDERS)
     act_mul act=silu x=x y=y          a node: an op, and its args by the names of their fields;
     quant key=fp8_group128 x=y q=q scale=s            what is not named is zero or absent
     rms_norm x=h residual=r:t weight=w eps=1e-6 y=y   r before it, t after it
     @attention q k v -> o             what vq lacks: reads q, k and v, makes o

   A line a value or a node, in any order; # begins a comment. */
#ifndef VQ_GRAPH_TEXT_H_INCLUDED
#define VQ_GRAPH_TEXT_H_INCLUDED

#include "../../vq.h"
#include "graph.h"

/* vq_graph_parse -- a graph of its text, checked

     out  out  of VQ_ZERO; as before after an error
     why  out  what is wrong and where: "line 3, column 7: ...", size characters at most

   Errors     BAD_ARG: the text, an op's own refusal, and those of vq_graph_check();
              OUT_OF_MEMORY. */
vq_status vq_graph_parse(const char *text, vq_graph *out, char *why, size_t size);

/* Text that reads back as the same graph, and text for Graphviz; both as snprintf. */
int vq_graph_print(const vq_graph *g, char *out, size_t size);
int vq_graph_dot(const vq_graph *g, char *out, size_t size);

#endif
