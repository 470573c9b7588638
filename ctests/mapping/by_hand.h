/* The test itself is the pager (../scripted/mini_pager.h) of one mapping kernel, message by message.  */

#ifndef TESTS_BY_HAND_H
#define TESTS_BY_HAND_H

#include "land.h"

#include "../scripted/mini_pager.h"

#include <sys/mman.h>

static mk_kernel *k;
static memory m;

#define PAGES 100

static inline int map_it(void *copy)
{
    vm_address_t address = 0;
    mk_enter(k);
    kern_return_t kr = vm_map(mach_task_self(), &address, PAGES * PAGE, 0, TRUE, pager, 0, copy != NULL, RW, VM_PROT_ALL,
                              VM_INHERIT_NONE);
    m = (memory) address;
    return kr;
}

static inline int begin(void **state)
{
    setup_unmapped(state);
    assert_int_equal(mk_start(), 0);
    mk_set_error_hold(10000);
    k = mk_kernel_create("hand", 0);
    return k == NULL;
}

static inline void begin_mapped(void)
{
    struct task task;
    catch_signals();
    task_begin(&task, map_it, NULL);
    assert_int_equal(next(SK_INIT).length, PAGE);
    assert_int_equal(task_waits(&task), 1);     /* until the pager is ready */
    assert_int_equal(memory_object_ready(control, FALSE, MEMORY_OBJECT_COPY_NONE), 0);
    assert_int_equal(task_end(&task), KERN_SUCCESS);
}

static inline int end(void **state)
{
    nothing();
    mk_kernel_destroy(k);
    return teardown(state);
}

/* Page N is asked for by a touch, and supplied.  */
static inline void bring(size_t n, bool write, unsigned char byte, vm_prot_t lock_value, boolean_t precious)
{
    struct touch t;
    touch_begin(&t, at(m, n), write, byte);
    struct event e = next(SK_DATA_REQUEST);
    assert_int_equal(e.offset, n * PAGE);
    assert_int_equal(e.length, PAGE);
    assert_int_equal(e.access, write ? RW : RO);
    supply(n * PAGE, 1, byte, lock_value, precious, MACH_PORT_NULL);
    assert_int_equal(touch_end(&t), 0);
    assert_int_equal(t.byte, byte);
    mk_page_info((const void *) at(m, n), &(struct mk_page_info) { 0 });       /* settled */
}

/* A lock request for one page, without lock_completed: a thread that it wakes may send before that.  */
static inline void answer(size_t n, boolean_t flush, vm_prot_t lock_value)
{
    assert_int_equal(memory_object_lock_request(control, n * PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, flush, lock_value,
                                                MACH_PORT_NULL), 0);
}

static inline void finish(void)
{
    unmap(m, PAGES);
    assert_int_equal(next(SK_TERMINATE).id, SK_TERMINATE);
    mach_port_deallocate(mach_task_self(), control);
    control = MACH_PORT_NULL;
}

#endif
