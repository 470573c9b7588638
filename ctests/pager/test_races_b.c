/* The races R6 to R9: answers that look alike, clients that have gone, returns of several pages, and page-ins that cross unlocks.  */

#include "raw.h"

enum { PAGES_8 = 8 };

static int sync_page_0(void *pager) { pager_sync_some(pager, 0, vm_page_size, 1); return 0; }
static int return_page_0(void *pager) { pager_return_some(pager, 0, vm_page_size, 1); return 0; }
static int return_8_pages(void *pager) { pager_return_some(pager, 0, PAGES_8 * vm_page_size, 1); return 0; }

/* A user's call asks every client, one after the other: OBJECT has done what it was asked so many times.  */
static void answered(sk_object *object, unsigned count)
{
    assert_int_equal(sk_wait_message(object, SK_LOCK_COMPLETED, count, 0), 0);
}

/* ---- R6 ---- */

/* The user's sync was sent first: the first of two equal lock_completed is the user's, the page waits for the second.  */
static void test_R6_sync_before_internal_flush(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    put(a, 0, 60);
    sk_hold(a, SK_HOLD_COMPLETED);
    struct task sync;
    task_begin(&sync, sync_page_0, c.world.pager);
    held(a, 1);
    ask(b, 0, RW);
    held(a, 2);
    release_first(a);
    task_end(&sync);
    assert_int_equal(state_of(b, 0), SK_PAGE_REQUESTED);
    sk_release_all(a);
    wait_page(b, 0, SK_WANT_WRITABLE);
    assert_int_equal(kernel_byte(b, 0), 60);
    world_settle(&c.world);
    assert_int_equal(world_statistics(&c.world).refused, 0);
    cast_close(&c);
}

/* The page's flush was sent first: the first lock_completed is the page's, the user waits for the second.  */
static void test_R6_internal_flush_before_sync(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    put(a, 0, 61);
    sk_hold(a, SK_HOLD_COMPLETED);
    ask(b, 0, RW);
    held(a, 1);
    struct task sync;
    task_begin(&sync, sync_page_0, c.world.pager);
    held(a, 2);
    release_first(a);
    wait_page(b, 0, SK_WANT_WRITABLE);
    assert_int_equal(kernel_byte(b, 0), 61);
    assert_true(task_waits(&sync));
    sk_release_all(a);
    task_end(&sync);
    world_settle(&c.world);
    assert_int_equal(world_statistics(&c.world).refused, 0);
    cast_close(&c);
}

/* Three that are alike, from two users and the page: each lock_completed ends exactly one.  */
static void test_R6_three_alike_are_answered_in_order(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    put(a, 0, 62);
    sk_hold(a, SK_HOLD_COMPLETED);
    struct task first, last;
    task_begin(&first, sync_page_0, c.world.pager);
    held(a, 1);
    ask(b, 0, RW);
    held(a, 2);
    task_begin(&last, return_page_0, c.world.pager);
    held(a, 3);
    /* B is asked as well, and has answered before it gets the page: else the return would take it away again.  */
    answered(b, 2);
    assert_true(task_waits(&first));
    release_first(a);
    task_end(&first);
    assert_int_equal(state_of(b, 0), SK_PAGE_REQUESTED);
    release_first(a);
    wait_page(b, 0, SK_WANT_WRITABLE);
    world_wait_access(&c.world, 0, 1, 3);
    assert_true(task_waits(&last));
    sk_release_all(a);
    task_end(&last);
    /* The user's return was A's answer; it took nothing from B.  */
    assert_int_equal(access_of(&c, 0, 0), 0);
    assert_int_equal(access_of(&c, 0, 1), 3);
    assert_int_equal(world_statistics(&c.world).refused, 0);
    cast_close(&c);
}

/* Equal for one client is not equal for another: B's lock_completed does not end what A was asked.  */
static void test_R6_completions_are_counted_per_client(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 3, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1], *w = c.objects[2];
    get(a, 0);
    get(b, 0);
    sk_hold(a, SK_HOLD_COMPLETED);
    ask(w, 0, RW);
    held(a, 1);
    /* B has answered; three syncs more of B's do not count for A.  */
    world_wait_access(&c.world, 0, 1, 0);
    struct sk_message stray = { .id = SK_LOCK_COMPLETED, .offset = 0, .length = vm_page_size };
    for (int i = 0; i < 3; i++)
        assert_int_equal(sk_send_raw(b, &stray, NULL, 0), 0);
    wait_refused(&c, 3);
    assert_int_equal(state_of(w, 0), SK_PAGE_REQUESTED);
    assert_int_equal(access_of(&c, 0, 0), 2);
    sk_release_all(a);
    wait_page(w, 0, SK_WANT_WRITABLE);
    cast_close(&c);
}

/* The page's flush is on its way to several clients (one record for all of them, LockBatches.swift), and stops at one. What a user asks of that one for
   the same page waits behind it, is sent when it is sent, and gets the second answer.  */
static void ask_behind_a_flush_that_is_being_sent(int (*asks)(void *))
{
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *reader = c.objects[0], *writer = c.objects[1];
    struct raw slow;
    raw_open(&slow, &c.world, 1, 0);
    raw_wait_for(&slow, SK_READY);
    get(reader, 0);
    raw_request(&slow, 0, VM_PROT_READ);
    raw_wait_for(&slow, SK_DATA_SUPPLY);
    world_settle(&c.world);
    raw_stop_at(&slow, SK_LOCK_REQUEST);
    ask(writer, 0, RW);
    raw_wait_stopped(&slow);
    struct task user;
    task_begin(&user, asks, c.world.pager);
    assert_true(task_waits(&user));
    assert_int_equal(raw_has(&slow, SK_LOCK_REQUEST), 1);
    raw_go(&slow);
    while (raw_has(&slow, SK_LOCK_REQUEST) != 2)
        sched_yield();
    assert_int_equal(state_of(writer, 0), SK_PAGE_REQUESTED);
    raw_complete(&slow, 0);
    wait_page(writer, 0, SK_WANT_WRITABLE);
    assert_true(task_waits(&user));
    raw_complete(&slow, 0);
    task_end(&user);
    world_settle(&c.world);
    assert_int_equal(world_statistics(&c.world).refused, 0);
    raw_close(&slow);
    cast_close(&c);
}

static void test_R6_sync_behind_a_flush_that_is_being_sent(void **state)
{
    (void) state;
    ask_behind_a_flush_that_is_being_sent(sync_page_0);
}

static void test_R6_return_behind_a_flush_that_is_being_sent(void **state)
{
    (void) state;
    ask_behind_a_flush_that_is_being_sent(return_page_0);
}

/* The other way round: a user's request is on its way to a client, and stops there. The page's flush for a writer waits behind it, and is the client's second
   request.  */
static void flush_behind_what_a_user_asks(int (*asks)(void *))
{
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *writer = c.objects[1];
    struct raw slow;
    raw_open(&slow, &c.world, 1, 0);
    raw_wait_for(&slow, SK_READY);
    raw_request(&slow, 0, VM_PROT_READ);
    raw_wait_for(&slow, SK_DATA_SUPPLY);
    world_settle(&c.world);
    raw_stop_at(&slow, SK_LOCK_REQUEST);
    struct task user;
    task_begin(&user, asks, c.world.pager);
    raw_wait_stopped(&slow);
    ask(writer, 0, RW);
    fence_by_refusal(&c, writer);
    assert_int_equal(raw_has(&slow, SK_LOCK_REQUEST), 1);
    raw_go(&slow);
    raw_wait_for_more(&slow, SK_LOCK_REQUEST, 2);
    raw_complete(&slow, 0);
    task_end(&user);
    assert_int_equal(state_of(writer, 0), SK_PAGE_REQUESTED);
    raw_complete(&slow, 0);
    wait_page(writer, 0, SK_WANT_WRITABLE);
    world_settle(&c.world);
    assert_int_equal(world_statistics(&c.world).refused, 1);
    raw_close(&slow);
    cast_close(&c);
}

static void test_R6_flush_behind_a_sync_that_is_being_sent(void **state)
{
    (void) state;
    flush_behind_what_a_user_asks(sync_page_0);
}

static void test_R6_flush_behind_a_return_that_is_being_sent(void **state)
{
    (void) state;
    flush_behind_what_a_user_asks(return_page_0);
}

/* ---- R7 ---- */

/* The first in the queue dies while the holder is being flushed for it: the next gets the holder's data.  */
static void test_R7_dead_client_first_in_the_queue(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 3, 4, 0);
    sk_object *b = c.objects[1], *holder = c.objects[2];
    put(holder, 0, 71);
    sk_hold(holder, SK_HOLD_LOCK);
    ask(c.objects[0], 0, RW);
    held(holder, 1);
    ask(b, 0, RW);
    cast_kill(&c, 0);
    wait_clients(&c, 2);
    sk_release_all(holder);
    wait_page(b, 0, SK_WANT_WRITABLE);
    assert_int_equal(kernel_byte(b, 0), 71);
    world_wait_access(&c.world, 0, 2, 0);
    cast_close(&c);
}

/* A dead client was the only reason for a flush: the page comes to rest, its data in the store, its eviction told once.  */
static void test_R7_dead_client_only_reason_for_a_flush(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 1);
    sk_object *holder = c.objects[1];
    put(holder, 0, 72);
    sk_hold(holder, SK_HOLD_LOCK);
    ask(c.objects[0], 0, RW);
    held(holder, 1);
    cast_kill(&c, 0);
    wait_clients(&c, 1);
    sk_release_all(holder);
    world_settle(&c.world);
    assert_int_equal(state_of(holder, 0), SK_PAGE_ABSENT);
    assert_int_equal(store_byte(&c.world, 0), 72);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 1);
    assert_at_rest(&c);
    assert_int_equal(get(holder, 0), 72);
    cast_close(&c);
}

/* The client that is being flushed dies before it answers: who waits gets the page from the store.  */
static void test_R7_flushed_client_dies(void **state)
{
    (void) state;
    for (int write = 0; write < 2; write++) {
        struct cast c;
        cast_open(&c, 2, 4, 0);
        put(c.objects[0], 0, 73);
        pager_sync(c.world.pager, 1);
        put(c.objects[0], 0, 74);
        sk_hold(c.objects[0], SK_HOLD_LOCK);
        ask(c.objects[1], 0, write ? RW : VM_PROT_READ);
        held(c.objects[0], 1);
        cast_kill(&c, 0);
        wait_page(c.objects[1], 0, write ? SK_WANT_WRITABLE : SK_WANT_READABLE);
        assert_int_equal(kernel_byte(c.objects[1], 0), 73);
        cast_close(&c);
    }
}

/* ---- R8 ---- */

/* One page of a multi-page return is given out again half-way, to the same client: it has that one, and no other.  */
static void test_R8_page_given_again_to_the_same_client(void **state)
{
    (void) state;
    for (int dirty = 0; dirty < 2; dirty++)
        for (int write = 0; write < 2; write++) {
            struct cast c;
            cast_open(&c, 2, PAGES_8, 0);
            sk_object *a = c.objects[0];
            for (size_t page = 0; page < PAGES_8; page++)
                dirty ? put(a, page, (unsigned char) (80 + page)) : (void) get(a, page);
            sk_hold(a, SK_HOLD_COMPLETED);
            struct task give;
            task_begin(&give, return_8_pages, c.world.pager);
            held(a, 1);
            ask(a, 3, write ? RW : VM_PROT_READ);
            wait_page(a, 3, write ? SK_WANT_WRITABLE : SK_WANT_READABLE);
            world_wait_access(&c.world, 3, 0, write ? 3 : 1);
            sk_release_all(a);
            task_end(&give);
            for (size_t page = 0; page < PAGES_8; page++)
                assert_int_equal(access_of(&c, page, 0), page != 3 ? 0 : write ? 3 : 1);
            assert_int_equal(kernel_byte(a, 3), dirty ? 83 : 4);
            /* The other kernel is served from the right place.  */
            if (write)
                poke(a, 3, 99);
            for (size_t page = 0; page < PAGES_8; page++)
                assert_int_equal(get(c.objects[1], page), page == 3 && write ? 99 : dirty ? 80 + page : page + 1);
            cast_close(&c);
        }
}

/* The page is given to another client half-way: the answer of the one takes nothing from the other.  */
static void test_R8_page_given_to_another_client(void **state)
{
    (void) state;
    for (int write = 0; write < 2; write++) {
        struct cast c;
        cast_open(&c, 2, PAGES_8, 0);
        sk_object *a = c.objects[0], *b = c.objects[1];
        for (size_t page = 0; page < PAGES_8; page++)
            put(a, page, (unsigned char) (80 + page));
        sk_hold(a, SK_HOLD_COMPLETED);
        struct task give;
        task_begin(&give, return_8_pages, c.world.pager);
        held(a, 1);
        /* B is asked for the range, too; then it asks for a page of it.  */
        answered(b, 1);
        ask(b, 3, write ? RW : VM_PROT_READ);
        wait_page(b, 3, write ? SK_WANT_WRITABLE : SK_WANT_READABLE);
        sk_release_all(a);
        task_end(&give);
        for (size_t page = 0; page < PAGES_8; page++) {
            assert_int_equal(access_of(&c, page, 0), 0);
            assert_int_equal(access_of(&c, page, 1), page != 3 ? 0 : write ? 3 : 1);
        }
        assert_int_equal(kernel_byte(b, 3), 83);
        cast_close(&c);
    }
}

/* Two returns of the range cross, and in between the page is given out: the second takes it, too.  */
static void test_R8_two_returns_and_a_page_between(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, PAGES_8, 0);
    sk_object *a = c.objects[0];
    for (size_t page = 0; page < PAGES_8; page++)
        get(a, page);
    sk_hold(a, SK_HOLD_COMPLETED);
    struct task first, second;
    task_begin(&first, return_8_pages, c.world.pager);
    held(a, 1);
    ask(a, 3, VM_PROT_READ);
    wait_page(a, 3, SK_WANT_READABLE);
    world_wait_access(&c.world, 3, 0, 1);
    task_begin(&second, return_8_pages, c.world.pager);
    held(a, 2);
    release_first(a);
    task_end(&first);
    assert_int_equal(access_of(&c, 3, 0), 1);
    sk_release_all(a);
    task_end(&second);
    for (size_t page = 0; page < PAGES_8; page++)
        assert_int_equal(access_of(&c, page, 0), 0);
    cast_close(&c);
}

/* ---- R9 ---- */

/* A reader asks to write while another's read is paging in: that one is served first, then flushed, once.  */
static void test_R9_unlock_while_another_read_pages_in(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    get(a, 0);
    store_close_gate(&c.world, CALL_READ);
    ask(b, 0, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    ask_unlock(a, 0);
    world_fence(&c.world);
    assert_int_equal(access_of(&c, 0, 0), 1);
    sk_hold(b, SK_HOLD_LOCK);
    store_open_gate(&c.world, CALL_READ);
    wait_page(b, 0, SK_WANT_READABLE);
    assert_int_equal(kernel_byte(b, 0), 1);
    held(b, 1);
    assert_int_equal(sk_page_state(a, 0).lock & VM_PROT_WRITE, VM_PROT_WRITE);
    sk_release_all(b);
    wait_page(a, 0, SK_WANT_WRITABLE);
    world_settle(&c.world);
    assert_int_equal(access_of(&c, 0, 0), 3);
    assert_int_equal(access_of(&c, 0, 1), 0);
    assert_int_equal(world_statistics(&c.world).flushes, 1);
    assert_int_equal(store_count(&c.world, CALL_READ), 2);
    cast_close(&c);
}

/* The same, but the reader dropped its copy meanwhile and asks anew: it gets the page after the other, and may write.  */
static void test_R9_write_request_while_another_read_pages_in(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    get(a, 0);
    store_close_gate(&c.world, CALL_READ);
    ask(b, 0, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    evict(a, 0);
    ask(a, 0, RW);
    world_fence(&c.world);
    store_open_gate(&c.world, CALL_READ);
    wait_page(a, 0, SK_WANT_WRITABLE);
    world_settle(&c.world);
    assert_int_equal(access_of(&c, 0, 0), 3);
    assert_int_equal(access_of(&c, 0, 1), 0);
    assert_int_equal(sk_count(b, SK_DATA_SUPPLY), 1);
    cast_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_R6_sync_before_internal_flush),
        cmocka_unit_test(test_R6_internal_flush_before_sync),
        cmocka_unit_test(test_R6_three_alike_are_answered_in_order),
        cmocka_unit_test(test_R6_completions_are_counted_per_client),
        cmocka_unit_test(test_R6_sync_behind_a_flush_that_is_being_sent),
        cmocka_unit_test(test_R6_return_behind_a_flush_that_is_being_sent),
        cmocka_unit_test(test_R6_flush_behind_a_sync_that_is_being_sent),
        cmocka_unit_test(test_R6_flush_behind_a_return_that_is_being_sent),
        cmocka_unit_test(test_R7_dead_client_first_in_the_queue),
        cmocka_unit_test(test_R7_dead_client_only_reason_for_a_flush),
        cmocka_unit_test(test_R7_flushed_client_dies),
        cmocka_unit_test(test_R8_page_given_again_to_the_same_client),
        cmocka_unit_test(test_R8_page_given_to_another_client),
        cmocka_unit_test(test_R8_two_returns_and_a_page_between),
        cmocka_unit_test(test_R9_unlock_while_another_read_pages_in),
        cmocka_unit_test(test_R9_write_request_while_another_read_pages_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
