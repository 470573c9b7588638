/* An object of one client, whose messages take the short way (Service/QuickPath.swift), and what is asked of it one at a time and at once.  */

#ifndef TESTS_ALONE_H
#define TESTS_ALONE_H

#include <sched.h>

#include "raw.h"

static inline size_t count_rights(void) { return hostmach_list_rights(hostmach_task_main(), NULL, 0); }

/* Names go a moment after their client counts as gone.  */
static inline void wait_rights(size_t count)
{
    while (count_rights() != count)
        sched_yield();
}

struct place {
    struct world world;
    sk_kernel *kernel;
    size_t rights;                          /* without a client */
};

/* READS: so many pager_read_page may run at once.  */
static inline void place_open(struct place *place, unsigned reads)
{
    world_open(&place->world, 16, 0);
    assert_int_equal(pager_set_concurrent_reads(place->world.pager, reads), 0);
    place->kernel = sk_kernel_create("A");
    world_settle(&place->world);
    place->rights = count_rights();
}

static inline void place_close(struct place *place)
{
    if (place->kernel)
        sk_kernel_destroy(place->kernel);
    world_close(&place->world);
}

/* A raw client whose requests take the short way (docs/design.md: the page map reaches to their pages), and are stopped in their answer.  */
static inline void raw_open_alone(struct raw *raw, struct place *place)
{
    raw_open(raw, &place->world, 1, 0);
    raw_wait_for(raw, SK_READY);
    raw_request(raw, 9, VM_PROT_READ);
    raw_wait_for(raw, SK_DATA_SUPPLY);
    world_settle(&place->world);
    raw_stop_at(raw, SK_DATA_SUPPLY);
}

static inline int run_flush(void *pager)
{
    pager_flush_some(pager, page_offset(3), vm_page_size, 1);
    return 0;
}

static inline int run_return(void *pager)
{
    pager_return_some(pager, page_offset(3), vm_page_size, 1);
    return 0;
}

/* "The flush is sent when every answer that began before it was noted has been sent" (Answering.swift): the client gets the page first, and
   gives it up then.  */
static inline void take_back_while_an_answer_is_being_sent(unsigned reads, int (*take_back)(void *))
{
    struct place place;
    place_open(&place, reads);
    struct raw raw;
    raw_open_alone(&raw, &place);
    raw_request(&raw, 3, VM_PROT_READ);
    raw_wait_stopped(&raw);
    struct task task;
    task_begin(&task, take_back, place.world.pager);
    assert_true(task_waits(&task));
    assert_int_equal(raw_has(&raw, SK_LOCK_REQUEST), 0);
    raw_go(&raw);
    raw_wait_for(&raw, SK_LOCK_REQUEST);
    hostmach_task_t before = hostmach_task_enter(raw.task);
    assert_int_equal(memory_object_lock_completed(raw.pager, MACH_MSG_TYPE_COPY_SEND, raw.control, page_offset(3), vm_page_size), 0);
    hostmach_task_enter(before);
    assert_int_equal(task_end(&task), 0);
    assert_int_equal(pager_page_access(place.world.pager, page_offset(3), 0), 0);
    raw_close(&raw);
    wait_rights(place.rights);
    place_close(&place);
}

#endif
