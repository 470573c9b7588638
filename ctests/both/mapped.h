/* What client.c needs of kernels that map: HostMach's (mapped_hostmach.c), or the real one (../gnumach/mapped_gnumach.c).

   Every function takes a client whose kernel maps (client->object is NULL).  */

#ifndef TESTS_MAPPED_H
#define TESTS_MAPPED_H

#include "client.h"

/* A page as its kernel has it, when the kernel has sent what it has to send.  */
struct mapped_page {
    enum sk_page_state state;
    vm_prot_t lock;                         /* what must not be done with it */
    int dirty, precious, unlocking;
    int last_error;                         /* what the pager refused it with last */
};

/* Counts since the client mapped the object; resident: now.  */
struct mapped_figures {
    unsigned resident, supplied, refused, locks, returns;
};

/* How many such kernels there can be; a party's further clients are scripted.  */
extern const int mapped_kernels_max;

/* Before the first one: 0, or the test fails.  After the pager has been made, for touches that fail.  */
int mapped_start(void);
void mapped_begin(void);

void mapped_make(struct client *);
void mapped_destroy(struct client *);
/* The client's mapping goes, if it is there.  */
void mapped_unmap(struct client *);
void mapped_kill(struct client *);
/* Sets client->memory.  0, or why not.  */
int mapped_map(struct client *, mach_port_t port);

struct mapped_page mapped_page(struct client *, size_t page);
struct mapped_figures mapped_figures(struct client *);
void mapped_attributes(struct client *, boolean_t *may_cache, memory_object_copy_strategy_t *);

enum mapped_touch { TOUCH_READ, TOUCH_WRITE, TOUCH_CLAIM };     /* CLAIM: a write that changes nothing */
/* Touch the byte.  0, or something that mapped_error can make an error of.  */
int mapped_touch(volatile unsigned char *where, enum mapped_touch, unsigned char *byte);
int mapped_error(struct client *, size_t page, int caught);

/* Begin the fault in a thread of its own; returns when its kernel has asked the pager.  */
void mapped_begin_fault(struct client *, struct fault *);

/* The page is pushed out as under memory pressure: 0, ENOENT, EBUSY, EINVAL.  */
int mapped_evict(struct client *, size_t page);

int mapped_run_fault(void *fault);

#endif
