/* A kernel short of memory, and messages that cannot be sent, message by message.  */

#include "by_hand.h"

/* Messages that cannot be sent: the thread that wanted one gets SIGBUS, and may try again; what is dirty is never lost.  */
static void fail_sends(mach_msg_id_t id, unsigned count)
{
    struct hostmach_fault fault = { .task = mk_kernel_task(k), .id = id, .count = count, .error = MACH_SEND_NO_BUFFER };
    hostmach_fail_send(&fault);
}

static void test_send_fails(void **state)
{
    (void) state;
    begin_mapped();
    fail_sends(SK_DATA_REQUEST, 1);
    unsigned char byte;
    assert_int_equal(touch_read(at(m, 1), &byte), SIGBUS);
    assert_ptr_equal(touch_address, at(m, 1));
    bring(1, false, 10, VM_PROT_WRITE, FALSE);
    fail_sends(SK_DATA_UNLOCK, 1);
    assert_int_equal(touch_write(at(m, 1) + 9, 1), SIGBUS);
    assert_ptr_equal(touch_address, at(m, 1) + 9);
    assert_int_equal(peek(at(m, 1) + 9), 10);
    struct touch t;
    touch_begin(&t, at(m, 1), true, 11);
    next(SK_DATA_UNLOCK);
    answer(1, FALSE, VM_PROT_NONE);
    assert_int_equal(touch_end(&t), 0);
    /* A return is tried again, until it goes.  */
    supply(2 * PAGE, 3, 30, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    poke(at(m, 2), 31);
    fail_sends(SK_DATA_RETURN, 4);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_DIRTY, TRUE, VM_PROT_NO_CHANGE);
    for (int i = 1; i <= 2; i++) {
        struct event e = next(SK_DATA_RETURN);
        assert_int_equal(e.offset, i * PAGE);
        assert_int_equal(e.length, PAGE);
        assert_int_equal(e.first[0], i == 1 ? 11 : 31);
    }
    next(SK_LOCK_COMPLETED);
    assert_int_equal(page_info(at(m, 3)).state, MK_PAGE_ABSENT);
    /* So are the answer to a lock request, and the end.  */
    fail_sends(SK_LOCK_COMPLETED, 2);
    lock(0, PAGE, MEMORY_OBJECT_RETURN_NONE, TRUE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);
    fail_sends(SK_TERMINATE, 2);
    finish();
    fail_sends(SK_INIT, 1);
    assert_int_equal(map_it(NULL), KERN_MEMORY_ERROR);
    hostmach_fail_send(NULL);
}

/* HostMach's own injection passes over kernels; so the kernel's vm_allocate goes through the test.  */
static _Atomic int pages_to_pass, pages_to_fail;

kern_return_t __real_vm_allocate(mach_port_t, vm_address_t *, vm_size_t, boolean_t);
kern_return_t __wrap_vm_allocate(mach_port_t, vm_address_t *, vm_size_t, boolean_t);
kern_return_t __wrap_vm_allocate(mach_port_t task, vm_address_t *address, vm_size_t size, boolean_t anywhere)
{
    if (k != NULL && hostmach_task_current() == mk_kernel_task(k) && pages_to_fail != 0 && pages_to_pass-- <= 0) {
        pages_to_fail--;
        return KERN_RESOURCE_SHORTAGE;
    }
    return __real_vm_allocate(task, address, size, anywhere);
}

static void fail_pages(int pass, int fail)
{
    pages_to_pass = pass;
    pages_to_fail = fail;
}

/* Memory that is short in HostMach: the same.  */
static void test_memory_fails(void **state)
{
    (void) state;
    begin_mapped();
    bring(1, true, 10, VM_PROT_NONE, FALSE);
    fail_pages(0, 3);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_NO_CHANGE);
    fail_pages(0, 0);
    assert_int_equal(next(SK_DATA_RETURN).first[0], 10);
    next(SK_LOCK_COMPLETED);
    /* Eviction does not wait: the page stays, dirty.  */
    bring(1, true, 11, VM_PROT_NONE, FALSE);
    supply(2 * PAGE, 20, 60, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    mk_kernel_set_cache(k, 16);
    fail_pages(0, 1000000);
    supply(31 * PAGE, 1, 90, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    fail_pages(0, 0);
    nothing();
    assert_int_equal(page_info(at(m, 1)).state, MK_PAGE_PRESENT);
    assert_true(page_info(at(m, 1)).dirty);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_NO_CHANGE);
    assert_int_equal(next(SK_DATA_RETURN).first[0], 11);
    next(SK_LOCK_COMPLETED);
    finish();
}

/* Memory that is short for the kernel itself, at a fault: SIGBUS, and the next touch tries again.  (This program is linked with
   --wrap=calloc.)  */
static _Atomic size_t fail_above = SIZE_MAX;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return size > fail_above ? NULL : __real_calloc(count, size);
}

static void test_no_records(void **state)
{
    (void) state;
    begin_mapped();
    unsigned char byte;
    for (int i = 0; i < 2; i++) {
        fail_above = 1000;
        int result = touch_read(at(m, 66) + 5, &byte);
        fail_above = SIZE_MAX;
        assert_int_equal(result, SIGBUS);
        assert_ptr_equal(touch_address, at(m, 66) + 5);
    }
    bring(66, true, 12, VM_PROT_NONE, FALSE);
    fail_above = 1000;
    supply(0, 1, 1, VM_PROT_NONE, FALSE, pager);
    fail_above = SIZE_MAX;
    assert_int_equal(next(SK_SUPPLY_COMPLETED).result, KERN_RESOURCE_SHORTAGE);
    answer(66, TRUE, VM_PROT_NO_CHANGE);
    finish();
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_send_fails),
        CASE(test_memory_fails),
        CASE(test_no_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
