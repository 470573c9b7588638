/* locks.c - lock requests, returns, eviction, and holding messages back. */

#include "mini_pager.h"

static void dirty_page(vm_offset_t offset, unsigned char byte)
{
    assert_int_equal(sk_poke(object, offset, &byte, 1), 0);
}

static void returns_before_completed(void **state)
{
    (void)state;
    supply(0, 4, 10, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    dirty_page(PAGE, 21);
    dirty_page(2 * PAGE, 22);
    lock(0, 4 * PAGE, MEMORY_OBJECT_RETURN_DIRTY, FALSE, VM_PROT_NO_CHANGE);
    struct event back = next(SK_DATA_RETURN);
    assert_int_equal(back.offset, PAGE);
    assert_int_equal(back.length, 2 * PAGE);
    assert_int_equal(back.first[0], 21);
    assert_int_equal(back.first[1], 22);
    assert_true(back.dirty);
    assert_true(back.kernel_copy);
    struct event done = next(SK_LOCK_COMPLETED);
    assert_int_equal(done.offset, 0);
    assert_int_equal(done.length, 4 * PAGE);
    assert_int_equal(sk_resident(object), 4);
    lock(0, 4 * PAGE, MEMORY_OBJECT_RETURN_DIRTY, FALSE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);            /* clean now */
    nothing();
}

static void runs_of_at_most_32_alike(void **state)
{
    (void)state;
    supply(0, 80, 0, VM_PROT_NONE, TRUE, MACH_PORT_NULL);
    for (unsigned i = 0; i < 40; i++)
        dirty_page(i * PAGE, (unsigned char)(100 + i));
    /* 0..39 dirty, 40..79 only precious, 60 gone. */
    sk_evict(object, 60 * PAGE);
    struct event back = next(SK_DATA_RETURN);
    assert_false(back.dirty);
    assert_false(back.kernel_copy);
    lock(0, 80 * PAGE, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_NO_CHANGE);
    const struct { unsigned first, count; int dirty; } expected[] = {
        { 0, 32, 1 }, { 32, 8, 1 }, { 40, 20, 0 }, { 61, 19, 0 },
    };
    for (unsigned i = 0; i < sizeof expected / sizeof *expected; i++) {
        back = next(SK_DATA_RETURN);
        assert_int_equal(back.offset, expected[i].first * PAGE);
        assert_int_equal(back.length, expected[i].count * PAGE);
        assert_int_equal(back.dirty, expected[i].dirty);
        assert_false(back.kernel_copy);
    }
    next(SK_LOCK_COMPLETED);
    assert_int_equal(sk_resident(object), 0);
    nothing();
}

static void return_modes(void **state)
{
    (void)state;
    supply(0, 1, 1, VM_PROT_NONE, TRUE, MACH_PORT_NULL);
    lock(0, PAGE, MEMORY_OBJECT_RETURN_DIRTY, FALSE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);            /* precious is not dirty */
    lock(0, PAGE, MEMORY_OBJECT_RETURN_ALL, FALSE, VM_PROT_NO_CHANGE);
    assert_false(next(SK_DATA_RETURN).dirty);
    next(SK_LOCK_COMPLETED);
    assert_true(sk_page_state(object, 0).precious);
    dirty_page(0, 5);
    lock(0, PAGE, MEMORY_OBJECT_RETURN_NONE, TRUE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);            /* dirty data lost, as asked */
    assert_int_equal(sk_resident(object), 0);
    lock(1000 * PAGE, PAGE, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_ALL);
    next(SK_LOCK_COMPLETED);            /* even without pages */
    nothing();
}

static void requested_page_is_skipped(void **state)
{
    (void)state;
    supply(0, 3, 1, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    for (unsigned i = 0; i < 3; i++)
        dirty_page(i * PAGE, 9);
    sk_evict(object, PAGE);
    next(SK_DATA_RETURN);
    sk_request(object, PAGE, VM_PROT_READ);
    next(SK_DATA_REQUEST);
    lock(0, 3 * PAGE, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_NO_CHANGE);
    assert_int_equal(next(SK_DATA_RETURN).offset, 0);
    assert_int_equal(next(SK_DATA_RETURN).offset, 2 * PAGE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(sk_page_state(object, PAGE).state, SK_PAGE_REQUESTED);
    supply(PAGE, 1, 1, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    assert_int_equal(sk_wait_page(object, PAGE, SK_WANT_PRESENT, 0), 0);
    nothing();
}

static void eviction(void **state)
{
    (void)state;
    supply(0, 2, 1, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    supply(2 * PAGE, 1, 1, VM_PROT_NONE, TRUE, MACH_PORT_NULL);
    dirty_page(PAGE, 33);
    assert_int_equal(sk_drop_clean(object), 1);         /* without a word */
    nothing();
    assert_int_equal(sk_evict(object, 0), ENOENT);
    assert_int_equal(sk_evict_all(object), 0);
    struct event back = next(SK_DATA_RETURN);
    assert_int_equal(back.offset, PAGE);
    assert_int_equal(back.first[0], 33);
    assert_true(back.dirty);
    assert_false(back.kernel_copy);
    back = next(SK_DATA_RETURN);
    assert_int_equal(back.offset, 2 * PAGE);
    assert_false(back.dirty);
    sk_request(object, 0, VM_PROT_READ);
    next(SK_DATA_REQUEST);
    assert_int_equal(sk_evict(object, 0), EBUSY);
    nothing();
}

static void holding(void **state)
{
    (void)state;
    unsigned char byte;
    supply(0, 1, 1, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    dirty_page(0, 5);
    sk_hold(object, SK_HOLD_LOCK | SK_HOLD_SUPPLY);
    lock(0, PAGE, MEMORY_OBJECT_RETURN_DIRTY, TRUE, VM_PROT_NO_CHANGE);
    supply(PAGE, 1, 60, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_WRITE);
    assert_int_equal(sk_pending(object), 3);
    assert_int_equal(sk_count(object, SK_LOCK_REQUEST), 2);
    nothing();
    assert_int_equal(sk_release_one(object, 3), ENOENT);
    assert_int_equal(sk_release_one(object, 1), 0);     /* the supply first */
    assert_int_equal(sk_peek(object, PAGE, &byte, 1), 0);
    assert_int_equal(byte, 60);
    assert_int_equal(sk_release_one(object, 1), 0);     /* then the second lock */
    assert_int_equal(next(SK_LOCK_COMPLETED).offset, PAGE);
    assert_int_equal(sk_page_state(object, PAGE).lock, VM_PROT_WRITE);
    sk_release_all(object);
    next(SK_DATA_RETURN);
    assert_int_equal(next(SK_LOCK_COMPLETED).offset, 0);
    supply(2 * PAGE, 1, 60, VM_PROT_NONE, FALSE, MACH_PORT_NULL);   /* not held any more */
    assert_int_equal(sk_resident(object), 2);
    nothing();
}

static void completion_held_alone(void **state)
{
    (void)state;
    supply(0, 1, 1, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    dirty_page(0, 5);
    sk_hold(object, SK_HOLD_COMPLETED);
    lock(0, PAGE, MEMORY_OBJECT_RETURN_DIRTY, TRUE, VM_PROT_NO_CHANGE);
    next(SK_DATA_RETURN);
    nothing();
    sk_request(object, 0, VM_PROT_READ);                /* overtakes the completion */
    next(SK_DATA_REQUEST);
    assert_int_equal(sk_wait_pending(object, 1, 0), 0);
    sk_release_all(object);
    next(SK_LOCK_COMPLETED);
}

/* What is still held when the kernel dies leaks nothing (teardown checks). */
static void held_at_death(void **state)
{
    (void)state;
    sk_hold(object, SK_HOLD_ALL);
    supply(0, 4, 1, VM_PROT_NONE, FALSE, pager);
    lock(0, PAGE, MEMORY_OBJECT_RETURN_DIRTY, TRUE, VM_PROT_NO_CHANGE);
    memory_object_destroy(control, EIO);
    assert_int_equal(sk_pending(object), 3);
    sk_kernel_kill(kernel);
    assert_int_equal(sk_pending(object), 0);
    /* The reply rights died: send-once notifications, which this pager throws away. */
    union {
        mach_msg_header_t header;
        char bytes[256];
    } in;
    while (mach_msg(&in.header, MACH_RCV_MSG | MACH_RCV_TIMEOUT, 0, sizeof in, pager, 0,
                    MACH_PORT_NULL) == MACH_MSG_SUCCESS)
        assert_int_equal(in.header.msgh_id, MACH_NOTIFY_SEND_ONCE);
}

static void log_of_messages(void **state)
{
    (void)state;
    struct sk_message log[8];
    sk_reset_log(object);
    supply(0, 2, 1, VM_PROT_WRITE, TRUE, MACH_PORT_NULL);
    lock(0, PAGE, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_NO_CHANGE);
    next(SK_DATA_RETURN);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(sk_log(object, 0, log, 8), 4);
    assert_int_equal(log[0].id, SK_DATA_SUPPLY);
    assert_int_equal(log[0].length, 2 * PAGE);
    assert_int_equal(log[0].access, VM_PROT_WRITE);
    assert_true(log[0].precious);
    assert_false(log[0].has_reply);
    assert_int_equal(log[1].id, SK_LOCK_REQUEST);
    assert_int_equal(log[1].should_return, MEMORY_OBJECT_RETURN_ALL);
    assert_true(log[1].should_flush);
    assert_true(log[1].has_reply);
    assert_int_equal(log[2].id, SK_DATA_RETURN);
    assert_int_equal(log[3].id, SK_LOCK_COMPLETED);
    assert_true(log[0].serial < log[1].serial && log[2].serial < log[3].serial);
    assert_int_equal(sk_log(object, 0, log, 2), 2);
    assert_int_equal(log[0].id, SK_DATA_RETURN);
    assert_int_equal(sk_last_message(object, SK_DATA_SUPPLY, log), 0);
    assert_int_equal(sk_last_message(object, SK_READY, log), ENOENT);
    assert_int_equal(sk_wait_message(object, SK_DATA_REQUEST, 1, 10), ETIMEDOUT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(returns_before_completed),
        TEST(runs_of_at_most_32_alike),
        TEST(return_modes),
        TEST(requested_page_is_skipped),
        TEST(eviction),
        TEST(holding),
        TEST(completion_held_alone),
        TEST(held_at_death),
        TEST(log_of_messages),
    };
    return cmocka_run_group_tests_name("scripted.locks", tests, NULL, NULL);
}
