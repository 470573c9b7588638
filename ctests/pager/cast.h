/* Short words for what the kernels of a cast do (store.h).  Each must succeed; waits end the test after the hang limit.  */

#ifndef TESTS_CAST_H
#define TESTS_CAST_H

#include <sched.h>

#include "store.h"

enum { RW = VM_PROT_READ | VM_PROT_WRITE };

/* Touch a page's first byte through faults.  */
static inline void put(sk_object *object, size_t page, unsigned char byte)
{
    assert_int_equal(kernel_write(object, page, byte), 0);
}

static inline unsigned char get(sk_object *object, size_t page)
{
    unsigned char byte = 0;
    assert_int_equal(kernel_read(object, page, &byte), 0);
    return byte;
}

/* Change it without a fault: the page is there, to be written.  */
static inline void poke(sk_object *object, size_t page, unsigned char byte)
{
    assert_int_equal(sk_poke(object, page_offset(page), &byte, 1), 0);
}

/* Begin a fault.  */
static inline void ask(sk_object *object, size_t page, vm_prot_t access)
{
    assert_int_equal(sk_request(object, page_offset(page), access), 0);
}

static inline void ask_unlock(sk_object *object, size_t page)
{
    assert_int_equal(sk_unlock(object, page_offset(page), RW), 0);
}

static inline void wait_page(sk_object *object, size_t page, enum sk_want want)
{
    assert_int_equal(sk_wait_page(object, page_offset(page), want, 0), 0);
}

/* So many messages are held back.  */
static inline void held(sk_object *object, unsigned count) { assert_int_equal(sk_wait_pending(object, count, 0), 0); }
static inline void release_first(sk_object *object) { assert_int_equal(sk_release_one(object, 0), 0); }

static inline void evict(sk_object *object, size_t page) { assert_int_equal(sk_evict(object, page_offset(page)), 0); }

static inline enum sk_page_state state_of(sk_object *object, size_t page)
{
    return sk_page_state(object, page_offset(page)).state;
}

static inline int access_of(struct cast *cast, size_t page, unsigned client)
{
    return pager_page_access(cast->world.pager, page_offset(page), client);
}

static inline void wait_clients(struct cast *cast, unsigned count)
{
    while (world_statistics(&cast->world).clients != count)
        sched_yield();
}

static inline void wait_refused(struct cast *cast, unsigned count)
{
    while (world_statistics(&cast->world).refused < count)
        sched_yield();
}

/* What was sent to the pager before is taken in, even while everything else stands still: it is behind them that the pager refuses
   a message of OBJECT's.  */
static inline void fence_by_refusal_of(struct world *world, sk_object *object)
{
    struct sk_message stray = { .id = SK_LOCK_COMPLETED, .offset = page_offset(1000001), .length = vm_page_size };
    unsigned before = (unsigned) world_statistics(world).refused;
    assert_int_equal(sk_send_raw(object, &stray, NULL, 0), 0);
    while (world_statistics(world).refused < before + 1)
        sched_yield();
}

static inline void fence_by_refusal(struct cast *cast, sk_object *object) { fence_by_refusal_of(&cast->world, object); }

/* Nothing is with a client, on its way, or waits to be written.  */
static inline void assert_at_rest(struct cast *cast)
{
    struct pager_page_census census;
    pager_take_census(cast->world.pager, &census);
    assert_int_equal(census.readers + census.writers + census.busy + census.held, 0);
}

#endif
