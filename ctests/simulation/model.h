/* model.h - what each page contains, as the kernels and the store must see it.

   A page is four cells; a write fills one cell. A cell's bytes all follow from (page, cell, value), and the values of a page only
   rise, so whatever bytes turn up tell which write they are from, or that they are from none.

   For each page the model knows
     current    what a kernel that can touch the page must find there. More than one where data may have been lost;
                then the first who looks decides.
     fallback   what it becomes if the kernel that has it now loses it: the newest that the pager was given.
     stored     what the store has.
   Every access of a kernel happens at one moment of the simulation, so "current" is exact: what differs is a fault. */

#ifndef SIMULATION_MODEL_H
#define SIMULATION_MODEL_H

#include <stdbool.h>
#include <stdint.h>

enum { CELLS = 4, PAGES_MAX = 80, CANDIDATES = 12 };

struct content { uint32_t value[CELLS]; };

struct candidates { unsigned count; struct content content[CANDIDATES]; };

struct model_page {
    struct candidates current, fallback;
    struct content stored;
    uint32_t last;              /* value of the last write */
    bool tainted;               /* a hostile kernel may have written it: contents mean nothing */
    bool may_fail;              /* the store failed for it: a request may be answered with an error */
    unsigned losses;            /* how often data were, or may have been, lost */
    const void *failing;        /* the thread whose writing has failed, and which has not told the pager yet; or NULL */
};

void model_open(unsigned pages);
/* From now on data may be lost anywhere (a client was given up): contents must only be some that were written. */
void model_relax(void);
struct model_page *model_page(unsigned page);

/* The bytes of a page with this content; what bytes mean: false: no write of this page left them. */
void model_fill(unsigned page, struct content content, void *bytes);
bool model_parse(unsigned page, const void *bytes, struct content *content);
void model_fill_cell(unsigned page, unsigned cell, uint32_t value, void *bytes);

/* A kernel can touch the page and finds BYTES. After a write of its own: CELL got VALUE just now; else CELL is -1. */
void model_touched(unsigned page, const void *bytes, int cell, uint32_t value, const char *who);
uint32_t model_next_value(unsigned page);

/* A kernel gives the page back; nobody else has had it since. UNSURE: the kernel is dying, and may not have got it out. */
void model_returned(unsigned page, const void *bytes, bool dirty, bool unsure, const char *who);
/* The kernel died while it gave the page back; BEFORE: the fallback before. */
void model_return_in_doubt(unsigned page, const struct candidates *before);
/* A kernel drops a clean page. Where the store has failed to take it that may have been the only copy. */
void model_dropped(unsigned page);
/* What a kernel had is lost. */
void model_lost(unsigned page);
/* The store has taken BYTES, or has not, for THREAD: until that goes on the pager does not know, and keeps no copy that comes back. */
void model_stored(unsigned page, const void *bytes);
void model_store_failed(unsigned page, const void *thread);
void model_goes_on(const void *thread);

/* At rest, with everything written: the store has what the kernels saw. */
void model_check_store(unsigned page, const void *bytes);

#endif
