/* faults.c - requests, unlocks, supplies and errors. */

#include "mini_pager.h"

static void read_fault(void **state)
{
    (void)state;
    struct toucher reader;
    touch(&reader, 3 * PAGE + 5, 0, 0);
    struct event request = next(SK_DATA_REQUEST);
    assert_int_equal(request.control, control);
    assert_int_equal(request.offset, 3 * PAGE);
    assert_int_equal(request.length, PAGE);
    assert_int_equal(request.access, VM_PROT_READ);
    assert_int_equal(sk_page_state(object, 3 * PAGE).state, SK_PAGE_REQUESTED);
    supply(3 * PAGE, 1, 7, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    assert_int_equal(touched(&reader), 0);
    assert_int_equal(reader.byte, 7);
    assert_int_equal(sk_page_state(object, 3 * PAGE).dirty, FALSE);
    nothing();
}

static void threads_share_one_request(void **state)
{
    (void)state;
    enum { THREADS = 8 };
    struct toucher touchers[THREADS];
    for (int i = 0; i < THREADS; i++)
        touch(&touchers[i], 0, i % 2, 9);
    next(SK_DATA_REQUEST);
    supply(0, 1, 7, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(touched(&touchers[i]), 0);
    assert_int_equal(sk_count(object, SK_DATA_REQUEST), 1);
    assert_int_equal(sk_count(object, SK_DATA_UNLOCK), 0);
    assert_true(sk_page_state(object, 0).dirty);
    nothing();
}

static void write_fault_on_locked_page(void **state)
{
    (void)state;
    struct toucher first, second;
    assert_int_equal(sk_request(object, 0, VM_PROT_READ), 0);
    assert_int_equal(sk_request(object, 0, VM_PROT_READ), EALREADY);
    next(SK_DATA_REQUEST);
    supply(0, 1, 7, VM_PROT_WRITE, FALSE, MACH_PORT_NULL);
    assert_int_equal(sk_request(object, 0, VM_PROT_READ), EEXIST);
    assert_int_equal(sk_poke(object, 0, "x", 1), EACCES);
    touch(&first, 0, 1, 11);
    struct event unlock = next(SK_DATA_UNLOCK);
    assert_int_equal(unlock.access, VM_PROT_READ | VM_PROT_WRITE);
    touch(&second, 1, 1, 12);
    /* Reading goes on; NO_CHANGE answers nothing. */
    unsigned char byte;
    assert_int_equal(sk_read(object, 0, &byte, 1), 0);
    lock(0, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(sk_wait_page(object, 0, SK_WANT_WRITABLE, 20), ETIMEDOUT);
    assert_int_equal(sk_unlock(object, 0, VM_PROT_READ | VM_PROT_WRITE), EALREADY);
    lock(0, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_NONE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(touched(&first), 0);
    assert_int_equal(touched(&second), 0);
    assert_int_equal(sk_count(object, SK_DATA_UNLOCK), 1);
    assert_int_equal(sk_unlock(object, 0, VM_PROT_WRITE), EEXIST);
    nothing();
}

static void flush_answers_unlock(void **state)
{
    (void)state;
    struct toucher writer;
    supply(0, 1, 7, VM_PROT_WRITE, FALSE, MACH_PORT_NULL);
    touch(&writer, 0, 1, 11);
    next(SK_DATA_UNLOCK);
    lock(0, PAGE, MEMORY_OBJECT_RETURN_NONE, TRUE, VM_PROT_NO_CHANGE);
    /* The faulting thread asks again; completion and request may come in either order. */
    struct event event;
    vm_prot_t seen = 0;
    int completed = 0;
    for (int i = 0; i < 2; i++) {
        assert_true(poll_event(&event, 10000));
        if (event.id == SK_DATA_REQUEST)
            seen = event.access;
        else
            completed += event.id == SK_LOCK_COMPLETED;
    }
    assert_int_equal(completed, 1);
    assert_int_equal(seen, VM_PROT_READ | VM_PROT_WRITE);
    assert_int_equal(memory_object_data_error(control, 0, PAGE, EROFS), 0);
    assert_int_equal(touched(&writer), EROFS);
    assert_int_equal(sk_page_state(object, 0).errors, 1);
}

static void error_reaches_who_waits(void **state)
{
    (void)state;
    struct toucher a, b;
    touch(&a, 0, 0, 0);
    next(SK_DATA_REQUEST);
    memory_object_data_error(control, 0, PAGE, EIO);
    assert_int_equal(touched(&a), EIO);
    touch(&b, 0, 0, 0);                 /* a retry asks again */
    next(SK_DATA_REQUEST);
    supply(0, 1, 3, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    assert_int_equal(touched(&b), 0);
    assert_int_equal(b.byte, 3);
    memory_object_data_error(control, 0, PAGE, EIO);    /* nobody waits */
    assert_int_equal(sk_page_state(object, 0).state, SK_PAGE_PRESENT);
    assert_int_equal(sk_page_state(object, 0).errors, 1);
    nothing();
}

static void unavailable_is_zero(void **state)
{
    (void)state;
    struct toucher a;
    touch(&a, 0, 0, 77);
    next(SK_DATA_REQUEST);
    memory_object_data_unavailable(control, 0, PAGE);
    assert_int_equal(touched(&a), 0);
    assert_int_equal(a.byte, 0);
}

static void present_page_keeps_its_data(void **state)
{
    (void)state;
    unsigned char byte;
    supply(1 * PAGE, 1, 50, VM_PROT_NONE, FALSE, MACH_PORT_NULL);  /* not asked for */
    supply(0, 3, 7, VM_PROT_NONE, FALSE, MACH_PORT_NULL);          /* stops at page 1 */
    assert_int_equal(sk_violations(object), 0);
    assert_int_equal(sk_peek(object, 0, &byte, 1), 0);
    assert_int_equal(byte, 7);
    assert_int_equal(sk_peek(object, PAGE, &byte, 1), 0);
    assert_int_equal(byte, 50);
    assert_int_equal(sk_peek(object, 2 * PAGE, &byte, 1), ENOENT);
    assert_int_equal(sk_resident(object), 2);
    nothing();
}

static void supply_completed(void **state)
{
    (void)state;
    supply(0, 2, 1, VM_PROT_NONE, FALSE, pager);
    struct event done = next(SK_SUPPLY_COMPLETED);
    assert_int_equal(done.result, KERN_SUCCESS);
    assert_int_equal(done.length, 2 * PAGE);
    supply(0, 1, 1, VM_PROT_NONE, FALSE, pager);        /* panics GNU Mach */
    done = next(SK_SUPPLY_COMPLETED);
    assert_int_equal(done.result, KERN_MEMORY_PRESENT);
    assert_int_equal(done.error_offset, 0);
    assert_int_equal(sk_violations(object), 1);
}

static void read_and_write_across_pages(void **state)
{
    (void)state;
    supply(0, 3, 1, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    unsigned char *buffer = malloc(2 * PAGE);
    assert_int_equal(sk_read(object, PAGE / 2, buffer, 2 * PAGE), 0);
    assert_int_equal(buffer[0], 1);
    assert_int_equal(buffer[PAGE], 2);
    assert_int_equal(buffer[2 * PAGE - 1], 3);
    memset(buffer, 9, 2 * PAGE);
    assert_int_equal(sk_write(object, PAGE - 1, buffer, 2), 0);
    assert_true(sk_page_state(object, 0).dirty);
    assert_true(sk_page_state(object, PAGE).dirty);
    assert_false(sk_page_state(object, 2 * PAGE).dirty);
    free(buffer);
    nothing();
}

static void failed_send_fails_the_touch(void **state)
{
    (void)state;
    unsigned char byte;
    struct hostmach_fault fault = { .id = SK_DATA_REQUEST, .count = 1,
                                    .error = MACH_SEND_NO_BUFFER };
    hostmach_fail_send(&fault);
    assert_int_equal(sk_read(object, 0, &byte, 1), MACH_SEND_NO_BUFFER);
    hostmach_fail_send(NULL);
    assert_int_equal(sk_send_failures(object), 1);
    assert_int_equal(sk_page_state(object, 0).state, SK_PAGE_ABSENT);
    nothing();
}

/* A message counts before it is sent.  (Many times: a thread is seldom seen between the two.)  */
static void it_is_known_when_messages_have_gone(void **state)
{
    (void)state;
    enum { ROUNDS = 300 };
    struct event event;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct toucher reader;
        touch(&reader, round * PAGE, 0, 0);
        assert_int_equal(sk_wait_message(object, SK_DATA_REQUEST, round + 1, 0), 0);
        assert_int_equal(sk_wait_sent(object, 0), 0);
        assert_true(poll_event(&event, 0));
        supply(round * PAGE, 1, 7, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
        assert_int_equal(touched(&reader), 0);
    }
    nothing();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(read_fault),
        TEST(threads_share_one_request),
        TEST(write_fault_on_locked_page),
        TEST(flush_answers_unlock),
        TEST(error_reaches_who_waits),
        TEST(unavailable_is_zero),
        TEST(present_page_keeps_its_data),
        TEST(supply_completed),
        TEST(read_and_write_across_pages),
        TEST(failed_send_fails_the_touch),
        TEST(it_is_known_when_messages_have_gone),
    };
    return cmocka_run_group_tests_name("scripted.faults", tests, NULL, NULL);
}
