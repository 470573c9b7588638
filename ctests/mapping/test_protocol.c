/* The protocol, message by message: requests, supplies, errors, returns, locks, copies.  */

#include "by_hand.h"

/* More than was asked for: kept, without another request, clean and write-protected.  */
static void test_read_ahead(void **state)
{
    (void) state;
    begin_mapped();
    struct touch t;
    touch_begin(&t, at(m, 2), true, 77);
    next(SK_DATA_REQUEST);
    supply(0, 40, 1, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    assert_int_equal(touch_end(&t), 0);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(peek(at(m, i)), i == 2 ? 77 : i + 1);
    assert_true(page_info(at(m, 2)).dirty);
    assert_false(page_info(at(m, 3)).dirty);
    poke(at(m, 3), 50);
    assert_true(page_info(at(m, 3)).dirty);
    nothing();
    unmap(m, PAGES);
    for (int i = 2; i < 4; i++) {
        struct event e = next(SK_DATA_RETURN);
        assert_int_equal(e.offset, i * PAGE);
        assert_true(e.dirty);
        assert_false(e.kernel_copy);
        assert_int_equal(e.length, PAGE);
        assert_int_equal(e.first[0], i == 2 ? 77 : 50);
    }
    next(SK_TERMINATE);
    mach_port_deallocate(mach_task_self(), control);
    control = MACH_PORT_NULL;
}

/* A supply stops at a page that is there, which keeps its data; who asked for it is told where.  */
static void test_supply_stops(void **state)
{
    (void) state;
    begin_mapped();
    bring(3, false, 30, VM_PROT_NONE, FALSE);
    supply(1 * PAGE, 5, 90, VM_PROT_NONE, FALSE, pager);
    struct event e = next(SK_SUPPLY_COMPLETED);
    assert_int_equal(e.result, KERN_MEMORY_PRESENT);
    assert_int_equal(e.error_offset, 3 * PAGE);
    assert_int_equal(peek(at(m, 1)), 90);
    assert_int_equal(peek(at(m, 2)), 91);
    assert_int_equal(peek(at(m, 3)), 30);
    assert_int_equal(page_info(at(m, 4)).state, MK_PAGE_ABSENT);
    supply(10 * PAGE, 2, 60, VM_PROT_NONE, FALSE, pager);
    assert_int_equal(next(SK_SUPPLY_COMPLETED).result, KERN_SUCCESS);
    assert_int_equal(peek(at(m, 11)), 61);
    finish();
}

/* data_error ends what waits, and only that; data_unavailable gives zeros.  */
static void test_error_and_unavailable(void **state)
{
    (void) state;
    begin_mapped();
    bring(1, false, 10, VM_PROT_NONE, FALSE);
    struct touch a, b;
    touch_begin(&a, at(m, 2), false, 0);
    next(SK_DATA_REQUEST);
    touch_begin(&b, at(m, 4) + 17, true, 5);
    next(SK_DATA_REQUEST);
    assert_int_equal(memory_object_data_error(control, 0, 5 * PAGE, KERN_FAILURE), 0);
    assert_int_equal(touch_end(&a), SIGBUS);
    assert_int_equal(touch_end(&b), SIGBUS);
    assert_ptr_equal(b.address, at(m, 4) + 17);
    assert_int_equal(peek(at(m, 1)), 10);
    touch_begin(&a, at(m, 2), false, 9);
    next(SK_DATA_REQUEST);
    touch_begin(&b, at(m, 4), true, 5);
    next(SK_DATA_REQUEST);
    assert_int_equal(memory_object_data_unavailable(control, 0, 8 * PAGE), 0);
    assert_int_equal(touch_end(&a), 0);
    assert_int_equal(touch_end(&b), 0);
    assert_int_equal(a.byte, 0);
    assert_int_equal(peek(at(m, 4)), 5);
    assert_int_equal(peek(at(m, 4) + 1), 0);
    assert_int_equal(peek(at(m, 1)), 10);
    assert_int_equal(page_info(at(m, 5)).state, MK_PAGE_ABSENT);
    assert_int_equal(memory_object_lock_request(control, 0, PAGES * PAGE, MEMORY_OBJECT_RETURN_NONE, TRUE, VM_PROT_NO_CHANGE,
                                                MACH_PORT_NULL), 0);
    finish();
}

/* Returns: runs of neighbours alike in being dirty, at most 32, all before lock_completed; cleaned but kept.  */
static void test_returns(void **state)
{
    (void) state;
    begin_mapped();
    supply(0, 80, 1, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    for (size_t i = 0; i < 70; i++)
        if (i != 40)
            poke(at(m, i), (unsigned char) (i + 100));
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_DIRTY, FALSE, VM_PROT_NO_CHANGE);
    static const struct { size_t first, count; } runs[] = { { 0, 32 }, { 32, 8 }, { 41, 29 } };
    for (size_t i = 0; i < 3; i++) {
        struct event e = next(SK_DATA_RETURN);
        assert_int_equal(e.offset, runs[i].first * PAGE);
        assert_int_equal(e.length, runs[i].count * PAGE);
        assert_true(e.dirty && e.kernel_copy);
        for (size_t j = 0; j < runs[i].count; j++)
            assert_int_equal(e.first[j], runs[i].first + j + 100);
    }
    struct event e = next(SK_LOCK_COMPLETED);
    assert_int_equal(e.offset, 0);
    assert_int_equal(e.length, PAGES * PAGE);
    for (size_t i = 0; i < 80; i++)
        assert_false(page_info(at(m, i)).dirty);
    poke(at(m, 69), 1);                 /* write-protected again: this is seen */
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_DIRTY, TRUE, VM_PROT_NO_CHANGE);
    e = next(SK_DATA_RETURN);
    assert_int_equal(e.offset, 69 * PAGE);
    assert_false(e.kernel_copy);
    next(SK_LOCK_COMPLETED);
    for (size_t i = 0; i < 80; i++)
        assert_int_equal(page_info(at(m, i)).state, MK_PAGE_ABSENT);
    struct mk_statistics figures;
    mk_get_statistics(k, &figures);
    assert_int_equal(figures.resident_pages, 0);
    lock(0, 0, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);
    finish();
}

/* Precious pages come back though clean, and stay precious if they stay.  */
static void test_precious(void **state)
{
    (void) state;
    begin_mapped();
    supply(0, 4, 1, VM_PROT_NONE, TRUE, MACH_PORT_NULL);
    poke(at(m, 1), 50);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_ALL, FALSE, VM_PROT_NO_CHANGE);
    static const struct { size_t first, count; bool dirty; } runs[] = { { 0, 1, false }, { 1, 1, true }, { 2, 2, false } };
    for (size_t i = 0; i < 3; i++) {
        struct event e = next(SK_DATA_RETURN);
        assert_int_equal(e.offset, runs[i].first * PAGE);
        assert_int_equal(e.length, runs[i].count * PAGE);
        assert_int_equal(e.dirty != 0, runs[i].dirty);
    }
    next(SK_LOCK_COMPLETED);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_DIRTY, TRUE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);            /* clean: not returned, flushed */
    assert_int_equal(page_info(m).state, MK_PAGE_ABSENT);
    supply(0, 2, 7, VM_PROT_NONE, TRUE, MACH_PORT_NULL);
    unmap(m, PAGES);
    for (int i = 0; i < 2; i++) {
        struct event e = next(SK_DATA_RETURN);
        assert_int_equal(e.offset, i * PAGE);
        assert_int_equal(e.length, PAGE);
        assert_false(e.dirty);
    }
    next(SK_TERMINATE);
    mach_port_deallocate(mach_task_self(), control);
    control = MACH_PORT_NULL;
}

/* Taking writing away from a dirty page: it stays dirty, and the next write asks.  Taking reading away: the next touch asks.  */
static void test_locks(void **state)
{
    (void) state;
    begin_mapped();
    bring(1, true, 10, VM_PROT_NONE, FALSE);
    lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_WRITE);
    next(SK_LOCK_COMPLETED);
    assert_true(page_info(at(m, 1)).dirty);
    assert_int_equal(peek(at(m, 1)), 10);
    nothing();
    struct touch t;
    touch_begin(&t, at(m, 1), true, 11);
    struct event e = next(SK_DATA_UNLOCK);
    assert_int_equal(e.offset, PAGE);
    assert_int_equal(e.length, PAGE);
    assert_int_equal(e.access, RW);
    answer(1, FALSE, VM_PROT_NO_CHANGE);        /* no answer */
    assert_int_equal(task_waits(&t.task), 1);
    nothing();
    answer(1, FALSE, VM_PROT_WRITE);            /* an answer: asks again */
    next(SK_DATA_UNLOCK);
    answer(1, TRUE, VM_PROT_NO_CHANGE);         /* a flush is an answer too */
    assert_int_equal(next(SK_DATA_REQUEST).access, RW);
    supply(PAGE, 1, 20, VM_PROT_WRITE, FALSE, MACH_PORT_NULL);
    next(SK_DATA_UNLOCK);               /* supplied locked though asked for to write */
    lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_NONE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(touch_end(&t), 0);
    assert_int_equal(peek(at(m, 1)), 11);
    assert_int_equal(peek(at(m, 1) + 1), 20);

    lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_READ | VM_PROT_WRITE);
    next(SK_LOCK_COMPLETED);
    touch_begin(&t, at(m, 1), false, 0);
    assert_int_equal(next(SK_DATA_UNLOCK).access, RO);
    lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_WRITE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(touch_end(&t), 0);
    assert_int_equal(t.byte, 11);
    lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_DIRTY, FALSE, VM_PROT_READ | VM_PROT_WRITE);
    e = next(SK_DATA_RETURN);
    assert_int_equal(e.first[0], 11);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(page_info(at(m, 1)).lock, RW);
    touch_begin(&t, at(m, 1), false, 0);
    next(SK_DATA_UNLOCK);
    lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_NONE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(touch_end(&t), 0);

    supply(5 * PAGE, 1, 33, VM_PROT_READ | VM_PROT_WRITE, FALSE, MACH_PORT_NULL);       /* comes locked for everything */
    touch_begin(&t, at(m, 5), true, 34);
    assert_int_equal(next(SK_DATA_UNLOCK).access, RW);
    lock(5 * PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_NONE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(touch_end(&t), 0);
    assert_int_equal(peek(at(m, 5) + 1), 33);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_NONE, TRUE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);
    finish();
}

/* A lock request passes a page that is still owed; the page may come later, or never.  */
static void test_requested_is_skipped(void **state)
{
    (void) state;
    begin_mapped();
    struct touch t;
    touch_begin(&t, at(m, 1), false, 0);
    next(SK_DATA_REQUEST);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_WRITE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(task_waits(&t.task), 1);
    assert_int_equal(page_info(at(m, 1)).state, MK_PAGE_REQUESTED);
    supply(PAGE, 1, 8, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    assert_int_equal(touch_end(&t), 0);
    assert_int_equal(page_info(at(m, 1)).lock, 0);
    /* One that is never answered does not keep the object from ending.  */
    touch_begin(&t, at(m, 2), false, 0);
    next(SK_DATA_REQUEST);
    unmap(m, PAGES);
    next(SK_TERMINATE);
    assert_int_equal(touch_end(&t), SIGSEGV);
    mach_port_deallocate(mach_task_self(), control);
    control = MACH_PORT_NULL;
}

/* A copy is what the pages hold at that time: apart from the object, and the object's pages unchanged.  */
static void test_copy(void **state)
{
    (void) state;
    begin_mapped();
    supply(0, PAGES, 1, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    lock(7 * PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, TRUE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);
    lock(8 * PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_ALL);
    next(SK_LOCK_COMPLETED);
    poke(at(m, 3), 99);
    memory original = m;
    struct task task;
    task_begin(&task, map_it, (void *) 1);
    assert_int_equal(next(SK_DATA_REQUEST).offset, 7 * PAGE);
    supply(7 * PAGE, 1, 70, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    assert_int_equal(next(SK_DATA_UNLOCK).offset, 8 * PAGE);
    lock(8 * PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_NONE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(task_end(&task), KERN_SUCCESS);
    memory copy = m;
    m = original;
    for (size_t i = 0; i < PAGES; i++)
        assert_int_equal(peek(at(copy, i)), i == 3 ? 99 : i == 7 ? 70 : i + 1);
    poke(at(copy, 4), 1);
    poke(at(m, 5), 1);
    assert_int_equal(peek(at(m, 4)), 5);
    assert_int_equal(peek(at(copy, 5)), 6);
    unmap(copy, PAGES);
    assert_int_equal(memory_object_change_attributes(control, FALSE, MEMORY_OBJECT_COPY_CALL, MACH_PORT_NULL), 0);
    assert_int_equal(map_it((void *) 1), KERN_FAILURE);
    m = original;
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_NONE, TRUE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);
    /* A page that cannot be had is not copied.  */
    assert_int_equal(memory_object_change_attributes(control, FALSE, MEMORY_OBJECT_COPY_NONE, MACH_PORT_NULL), 0);
    task_begin(&task, map_it, (void *) 1);
    next(SK_DATA_REQUEST);
    assert_int_equal(memory_object_data_error(control, 0, PAGE, KERN_FAILURE), 0);
    assert_int_equal(task_end(&task), KERN_MEMORY_ERROR);
    m = original;
    finish();
}

/* Without UFFDIO_POISON, errors are another mapping.  */
static void test_without_poison(void **state)
{
    (void) state;
    mk_kernel_destroy(k);
    mk_pretend(MK_WITHOUT_POISON);
    k = mk_kernel_create("no poison", 0);
    mk_pretend(0);
    begin_mapped();
    for (int i = 0; i < 3; i++) {
        struct touch a;
        touch_begin(&a, at(m, 2) + 5, i == 1, 0);
        next(SK_DATA_REQUEST);
        assert_int_equal(memory_object_data_error(control, 2 * PAGE, PAGE, KERN_FAILURE), 0);
        assert_int_equal(touch_end(&a), SIGBUS);
        assert_ptr_equal(a.address, at(m, 2) + 5);
    }
    bring(2, true, 10, VM_PROT_NONE, FALSE);
    assert_int_equal(peek(at(m, 2)), 10);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_ALL, FALSE, VM_PROT_NO_CHANGE);
    next(SK_DATA_RETURN);
    next(SK_LOCK_COMPLETED);
    poke(at(m, 2), 11);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_NO_CHANGE);
    assert_int_equal(next(SK_DATA_RETURN).first[0], 11);
    next(SK_LOCK_COMPLETED);
    finish();
}

/* Memory that the program has locked is taken back like any other.  */
static void test_mlock(void **state)
{
    (void) state;
    begin_mapped();
    bring(1, true, 10, VM_PROT_NONE, FALSE);
    if (mlock((void *) at(m, 1), PAGE) == 0) {
        lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_DIRTY, FALSE, VM_PROT_ALL);
        next(SK_DATA_RETURN);
        next(SK_LOCK_COMPLETED);
        struct touch t;
        touch_begin(&t, at(m, 1), false, 0);
        next(SK_DATA_UNLOCK);
        answer(1, TRUE, VM_PROT_NO_CHANGE);
        next(SK_DATA_REQUEST);
        supply(PAGE, 1, 20, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
        assert_int_equal(touch_end(&t), 0);
        assert_int_equal(t.byte, 20);
        munlock((void *) at(m, 1), PAGE);
    }
    answer(1, TRUE, VM_PROT_NO_CHANGE);
    finish();
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_read_ahead),
        CASE(test_supply_stops),
        CASE(test_error_and_unavailable),
        CASE(test_returns),
        CASE(test_precious),
        CASE(test_locks),
        CASE(test_requested_is_skipped),
        CASE(test_copy),
        CASE(test_without_poison),
        CASE(test_mlock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
