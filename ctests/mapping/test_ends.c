/* An object's attributes and ends, message by message: destroyed, its pager or its kernel dead.  */

#include "by_hand.h"

struct attributes {
    boolean_t ready, may_cache;
    memory_object_copy_strategy_t strategy;
};

/* In a thread of its own, with which the reply port goes.  */
static int get_attributes(void *argument)
{
    struct attributes *a = argument;
    return memory_object_get_attributes(control, &a->ready, &a->may_cache, &a->strategy);
}

/* Cached by the pager's leave, and no longer when that is taken back.  */
static void test_attributes(void **state)
{
    (void) state;
    begin_mapped();
    struct attributes got;
    struct task task;
    task_begin(&task, get_attributes, &got);
    assert_int_equal(task_end(&task), 0);
    assert_true(got.ready && !got.may_cache);
    assert_int_equal(got.strategy, MEMORY_OBJECT_COPY_NONE);
    assert_int_equal(memory_object_change_attributes(control, TRUE, MEMORY_OBJECT_COPY_DELAY, pager), 0);
    struct event e = next(SK_CHANGE_COMPLETED);
    assert_true(e.may_cache);
    assert_int_equal(e.copy_strategy, MEMORY_OBJECT_COPY_DELAY);
    bring(1, true, 10, VM_PROT_NONE, FALSE);
    unmap(m, PAGES);
    nothing();                          /* cached */
    assert_int_equal(map_it(NULL), KERN_SUCCESS);
    assert_int_equal(peek(at(m, 1)), 10);
    nothing();                          /* no init, no request */
    unmap(m, PAGES);
    /* Not to be cached any more, and not used: it ends.  */
    assert_int_equal(memory_object_change_attributes(control, FALSE, MEMORY_OBJECT_COPY_DELAY, MACH_PORT_NULL), 0);
    assert_int_equal(next(SK_DATA_RETURN).offset, PAGE);
    next(SK_TERMINATE);
    mach_port_deallocate(mach_task_self(), control);
    begin_mapped();                     /* a new init */
    finish();
}

static void test_destroy_before_ready(void **state)
{
    (void) state;
    struct task task;
    task_begin(&task, map_it, NULL);
    next(SK_INIT);
    assert_int_equal(memory_object_destroy(control, KERN_NO_SPACE), 0);
    assert_int_equal(task_end(&task), KERN_MEMORY_ERROR);
    next(SK_TERMINATE);
    mach_port_deallocate(mach_task_self(), control);
    begin_mapped();
    finish();
}

/* Destroyed, or without a pager: what waits and what comes later is SIGBUS, until unmapped.  */
static void test_destroy(void **state)
{
    (void) state;
    begin_mapped();
    bring(1, true, 10, VM_PROT_NONE, FALSE);
    bring(3, false, 10, VM_PROT_WRITE, FALSE);
    struct touch a, b;
    touch_begin(&a, at(m, 2) + 5, false, 0);
    next(SK_DATA_REQUEST);
    touch_begin(&b, at(m, 3) + 6, true, 0);
    next(SK_DATA_UNLOCK);
    assert_int_equal(memory_object_destroy(control, 0), 0);
    assert_int_equal(touch_end(&a), SIGBUS);
    assert_ptr_equal(a.address, at(m, 2) + 5);
    assert_int_equal(touch_end(&b), SIGBUS);
    assert_ptr_equal(b.address, at(m, 3) + 6);
    unsigned char byte;
    assert_int_equal(touch_read(at(m, 1), &byte), SIGBUS);
    finish();
}

static void test_pager_dies(void **state)
{
    (void) state;
    begin_mapped();
    bring(1, true, 10, VM_PROT_NONE, FALSE);
    struct touch a;
    touch_begin(&a, at(m, 2) + 5, false, 0);
    next(SK_DATA_REQUEST);
    mach_port_mod_refs(mach_task_self(), pager, MACH_PORT_RIGHT_RECEIVE, -1);
    assert_int_equal(touch_end(&a), SIGBUS);
    unsigned char byte;
    assert_int_equal(touch_read(at(m, 1), &byte), SIGBUS);
    unmap(m, PAGES);
    assert_int_equal(map_it(NULL), KERN_INVALID_ARGUMENT);
    struct mk_statistics figures;
    mk_get_statistics(k, &figures);
    assert_int_equal(figures.objects, 0);
    /* For the teardown: a pager again.  */
    mach_port_deallocate(mach_task_self(), pager);
    mach_port_deallocate(mach_task_self(), control);
    control = MACH_PORT_NULL;
    mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &pager);
    mach_port_insert_right(mach_task_self(), pager, pager, MACH_MSG_TYPE_MAKE_SEND);
}

static int kill_it(void *unused)
{
    (void) unused;
    mk_kernel_kill(k);
    return 0;
}

/* A kernel that dies says nothing; its threads and its memory are lost.  */
static void test_kernel_dies(void **state)
{
    (void) state;
    begin_mapped();
    bring(1, true, 10, VM_PROT_NONE, FALSE);
    struct touch a;
    struct task task;
    touch_begin(&a, at(m, 2) + 5, false, 0);
    next(SK_DATA_REQUEST);
    task_begin(&task, kill_it, NULL);
    assert_int_equal(task_end(&task), 0);
    assert_int_equal(touch_end(&a), SIGBUS);
    nothing();
    mach_port_type_t type;
    assert_int_equal(mach_port_type(mach_task_self(), control, &type), KERN_SUCCESS);
    assert_int_equal(type, MACH_PORT_TYPE_DEAD_NAME);
    unsigned char byte;
    assert_int_equal(touch_read(at(m, 1), &byte), SIGBUS);
    mk_kernel_kill(k);
    vm_address_t address = 0;
    mk_enter(k);
    assert_int_equal(vm_map(mach_task_self(), &address, PAGE, 0, TRUE, pager, 0, FALSE, RW, RW, VM_INHERIT_NONE), KERN_TERMINATED);
    mk_enter(NULL);
    unmap(m, PAGES / 2);
    assert_int_equal(touch_read(at(m, 1), &byte), SIGSEGV);
    assert_int_equal(touch_read(at(m, PAGES - 1), &byte), SIGBUS);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_attributes),
        CASE(test_destroy_before_ready),
        CASE(test_destroy),
        CASE(test_pager_dies),
        CASE(test_kernel_dies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
