/* benchmark_growth: the engine's operations, as benchmark_engine calls them, in objects of growing size.

   A series is a thing that grows: pages.c, clients.c, descriptors.c. Of each size an object is made, and operations are measured in it that
   should cost the same whatever the size.  */

#ifndef GROWTH_H
#define GROWTH_H

#include <stdbool.h>

#include "engine_benchmark.h"

struct operation_at {
    const char *name;
    /* Before each round; and one round. Operation number I of a round is always the same.  */
    void (*prepare)(unsigned long operations, bool first);
    void (*run)(unsigned long operations);
    /* Operations a round makes at the most, in an object of this size.  */
    unsigned long (*most)(unsigned long size);
};

struct series {
    const char *name;
    /* SPARSE: as little is done as makes an object of the same form. Returns bytes, in all, that malloc counts for what grows.  */
    size_t (*open)(unsigned long size, bool sparse);
    void (*close)(void);
    struct operation_at operations[5];     /* the last one has no name */
};

extern const struct series pages_series, clients_series, descriptors_series;

/* The I-th of SIZE numbers in an order that looks random; each comes once. SIZE: no multiple of the factor.  */
static inline unsigned long scattered(unsigned long i, unsigned long size)
{
    return i * 7368787 % size;
}

/* Asked for and given back: nobody has it.  */
static inline void rest(struct sender client, vm_offset_t offset)
{
    request(client, offset, VM_PROT_READ);
    give_back(client, offset, 0);
}

/* What malloc has given out.  */
size_t allocated(void);

#endif
