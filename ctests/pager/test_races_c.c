/* The races R10 to R13: write errors, shutdown and terminate amidst everything, unasked returns, and messages of several pages.  */

#include "cast.h"

enum { PAGES_8 = 8 };

static int sync_8_pages(void *pager) { pager_sync_some(pager, 0, PAGES_8 * vm_page_size, 1); return 0; }
static int shut_down(void *pager) { pager_shutdown(pager); return 0; }
static int change(void *pager) { pager_change_attributes(pager, 1, MEMORY_OBJECT_COPY_NONE, 1); return 0; }

/* ---- R10 ---- */

/* A write fails while clients wait for the page: they get its data, which go to the store with the next return.  */
static void write_error_with_waiters(vm_prot_t access, int waiters)
{
    struct cast c;
    cast_open(&c, 1, 4, 0);
    sk_object *a = c.objects[0];
    put(a, 0, 100);
    /* Whoever read the page is done: else the write waits for it in the write-back, from where the data may be handed on before
       it fails, not precious.  */
    world_settle(&c.world);
    store_close_gate(&c.world, CALL_WRITE);
    /* Alone: written by the thread that received it.  */
    evict(a, 0);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    for (int i = 0; i < waiters; i++)
        ask(cast_join(&c), 0, access);
    fence_by_refusal(&c, a);
    store_fail(&c.world, CALL_WRITE, EIO, 1);
    store_open_gate(&c.world, CALL_WRITE);
    for (int i = 1; i <= waiters; i++) {
        wait_page(c.objects[i], 0, SK_WANT_READABLE);
        assert_int_equal(kernel_byte(c.objects[i], 0), 100);
    }
    world_settle(&c.world);
    assert_int_equal(pager_get_error(c.world.pager, 0), EIO);
    assert_int_equal(store_byte(&c.world, 0), 1);
    unsigned char last = 100;
    if (access == RW) {
        wait_page(c.objects[1], 0, SK_WANT_WRITABLE);
        poke(c.objects[1], 0, last = 101);
    }
    /* The copies are precious: all there is.  */
    for (int i = 1; i <= waiters; i++)
        assert_true(sk_page_state(c.objects[i], 0).precious);
    pager_return(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 0), last);
    assert_int_equal(pager_get_error(c.world.pager, 0), 0);
    assert_int_equal(get(a, 0), last);
    cast_close(&c);
}

/* Rule as above: readers wait.  */
static void test_R10_write_error_with_readers_waiting(void **state)
{
    (void) state;
    write_error_with_waiters(VM_PROT_READ, 1);
    write_error_with_waiters(VM_PROT_READ, 3);
    write_error_with_waiters(VM_PROT_READ, 6);
}

/* Rule as above: a writer waits.  */
static void test_R10_write_error_with_a_writer_waiting(void **state)
{
    (void) state;
    write_error_with_waiters(RW, 1);
}

/* A version in the write-back is handed on while it is being written, and then its write fails: who has it keeps it.  */
static void test_R10_write_error_after_the_hand_over(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    put(a, 0, 102);
    store_close_gate(&c.world, CALL_WRITE);
    evict(a, 0);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    put(b, 0, 103);
    store_fail(&c.world, CALL_WRITE, ENOSPC, 1);
    store_open_gate(&c.world, CALL_WRITE);
    world_settle(&c.world);
    assert_int_equal(pager_get_error(c.world.pager, 0), ENOSPC);
    assert_int_equal(get(a, 0), 103);
    pager_return(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 0), 103);
    assert_int_equal(pager_get_error(c.world.pager, 0), 0);
    cast_close(&c);
}

/* Nobody waits: reads get the error until a write succeeds; with notification, until the eviction is told.  */
static void test_R10_write_error_with_nobody_waiting(void **state)
{
    (void) state;
    for (int kernels = 1; kernels < 3; kernels++)
        for (int notify = 0; notify < 2; notify++) {
            struct cast c;
            cast_open(&c, kernels, 4, notify);
            sk_object *a = c.objects[0], *other = c.objects[kernels - 1];
            put(a, 0, 104);
            store_fail(&c.world, CALL_WRITE, EDQUOT, 1);
            evict(a, 0);
            world_settle(&c.world);
            unsigned char byte = 0;
            if (notify) {
                assert_int_equal(store_count(&c.world, CALL_EVICT), 1);
                assert_int_equal(pager_get_error(c.world.pager, 0), 0);
                assert_int_equal(get(other, 0), 1);
            } else {
                assert_int_equal(pager_get_error(c.world.pager, 0), EDQUOT);
                assert_int_equal(kernel_read(other, 0, &byte), EDQUOT);
                assert_int_equal(kernel_write(a, 0, 1), EDQUOT);
                assert_int_equal(store_count(&c.world, CALL_READ), 1);
            }
            cast_close(&c);
        }
}

/* ---- R11 ---- */

/* Shutdown while a read is under way: the request is answered, and the page taken back.  */
static void test_R11_shutdown_while_reading(void **state)
{
    (void) state;
    for (int kernels = 1; kernels < 3; kernels++) {
        struct cast c;
        cast_open(&c, kernels, 4, 0);
        store_close_gate(&c.world, CALL_READ);
        for (int i = 0; i < kernels; i++)
            ask(c.objects[i], 0, RW);
        store_wait_gate(&c.world, CALL_READ, 1);
        world_fence(&c.world);
        struct task end;
        task_begin(&end, shut_down, c.world.pager);
        assert_true(task_waits(&end));
        store_open_gate(&c.world, CALL_READ);
        task_end(&end);
        for (int i = 0; i < kernels; i++)
            assert_int_equal(state_of(c.objects[i], 0), SK_PAGE_ABSENT);
        cast_close(&c);
    }
}

/* Shutdown while a write is under way, and dirty data with a client: all of it reaches the store.  */
static void test_R11_shutdown_while_writing(void **state)
{
    (void) state;
    for (int kernels = 1; kernels < 3; kernels++) {
        struct cast c;
        cast_open(&c, kernels, 4, 0);
        put(c.objects[0], 0, 110);
        put(c.objects[0], 1, 111);
        store_close_gate(&c.world, CALL_WRITE);
        evict(c.objects[0], 0);
        store_wait_gate(&c.world, CALL_WRITE, 1);
        struct task end;
        task_begin(&end, shut_down, c.world.pager);
        assert_true(task_waits(&end));
        store_open_gate(&c.world, CALL_WRITE);
        task_end(&end);
        assert_int_equal(store_byte(&c.world, 0), 110);
        assert_int_equal(store_byte(&c.world, 1), 111);
        cast_close(&c);
    }
}

/* Shutdown while a flush and a user's sync are unanswered: all who wait are woken.  */
static void test_R11_shutdown_while_locks_are_out(void **state)
{
    (void) state;
    for (int mute = 0; mute < 2; mute++) {
        struct cast c;
        cast_open(&c, 2, PAGES_8, 0);
        sk_object *a = c.objects[0], *b = c.objects[1];
        put(a, 0, 112);
        sk_hold(a, SK_HOLD_LOCK);
        ask(b, 0, RW);
        held(a, 1);
        struct task sync, end;
        task_begin(&sync, sync_8_pages, c.world.pager);
        held(a, 2);
        if (mute)
            pager_set_shutdown_patience(c.world.pager, 100);
        task_begin(&end, shut_down, c.world.pager);
        assert_true(mute || task_waits(&end));
        if (!mute)
            sk_release_all(a);
        task_end(&end);
        task_end(&sync);
        assert_int_equal(state_of(b, 0), SK_PAGE_ABSENT);
        assert_int_equal(store_byte(&c.world, 0), mute ? 1 : 112);
        sk_release_all(a);
        cast_close(&c);
    }
}

/* Shutdown while a change of attributes is unanswered: who waits for it is woken.  */
static void test_R11_shutdown_while_attributes_change(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_hold(c.objects[1], SK_HOLD_ATTRIBUTES);
    struct task attributes, end;
    task_begin(&attributes, change, c.world.pager);
    held(c.objects[1], 1);
    pager_set_shutdown_patience(c.world.pager, 200);
    task_begin(&end, shut_down, c.world.pager);
    task_end(&end);
    task_end(&attributes);
    sk_release_all(c.objects[1]);
    cast_close(&c);
}

/* The only client terminates while its write is under way: the write is completed, the next client reads it.  */
static void test_R11_terminate_while_writing(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 1);
    put(c.objects[0], 0, 113);
    put(c.objects[0], 1, 114);
    store_close_gate(&c.world, CALL_WRITE);
    evict(c.objects[0], 0);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    assert_int_equal(sk_terminate(c.objects[0]), 0);
    wait_clients(&c, 0);
    sk_object *next = cast_join(&c);
    ask(next, 0, VM_PROT_READ);
    ask(next, 1, VM_PROT_READ);
    store_open_gate(&c.world, CALL_WRITE);
    wait_page(next, 0, SK_WANT_READABLE);
    wait_page(next, 1, SK_WANT_READABLE);
    assert_int_equal(kernel_byte(next, 0), 113);
    assert_int_equal(kernel_byte(next, 1), 114);
    pager_sync(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 0), 113);
    assert_int_equal(store_byte(&c.world, 1), 114);
    cast_close(&c);
}

/* A client terminates while it owes answers to a flush and a sync: both end, its dirty data are not lost.  */
static void test_R11_terminate_while_locks_are_out(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, PAGES_8, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    put(a, 0, 115);
    sk_hold(a, SK_HOLD_LOCK);
    ask(b, 0, RW);
    held(a, 1);
    struct task sync;
    task_begin(&sync, sync_8_pages, c.world.pager);
    held(a, 2);
    assert_int_equal(sk_terminate(a), 0);
    task_end(&sync);
    wait_page(b, 0, SK_WANT_WRITABLE);
    assert_int_equal(kernel_byte(b, 0), 115);
    wait_clients(&c, 1);
    pager_sync(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 0), 115);
    cast_close(&c);
}

/* A client terminates, or dies, while it owes the answer to a change of attributes: the change goes on to the next.  */
static void test_R11_terminate_while_attributes_change(void **state)
{
    (void) state;
    for (int dies = 0; dies < 2; dies++) {
        struct cast c;
        cast_open(&c, 3, 4, 0);
        sk_hold(c.objects[1], SK_HOLD_ATTRIBUTES);
        struct task attributes;
        task_begin(&attributes, change, c.world.pager);
        held(c.objects[1], 1);
        if (dies)
            cast_kill(&c, 1);
        else
            assert_int_equal(sk_terminate(c.objects[1]), 0);
        task_end(&attributes);
        boolean_t ready, may_cache;
        memory_object_copy_strategy_t strategy;
        sk_attributes(c.objects[2], &ready, &may_cache, &strategy);
        assert_int_equal(may_cache, 1);
        assert_int_equal(strategy, MEMORY_OBJECT_COPY_NONE);
        cast_close(&c);
    }
}

/* ---- R12 ---- */

/* A precious clean page comes back unasked: not written, the eviction told when the last copy has gone, once.  */
static void test_R12_precious_clean_page_comes_back(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 1);
    sk_object *a = c.objects[0], *b = c.objects[1];
    get(a, 0);
    get(b, 0);
    assert_true(sk_page_state(a, 0).precious);
    evict(a, 0);
    world_settle(&c.world);
    assert_int_equal(access_of(&c, 0, 0), 0);
    assert_int_equal(access_of(&c, 0, 1), 1);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 0);
    evict(b, 0);
    world_settle(&c.world);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 1);
    assert_int_equal(store_count(&c.world, CALL_WRITE), 0);
    assert_at_rest(&c);
    cast_close(&c);
}

/* It comes back while the page is being flushed for another: handed over, and no eviction told.  */
static void test_R12_precious_page_comes_back_during_a_flush(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 1);
    sk_object *a = c.objects[0], *b = c.objects[1];
    get(a, 0);
    sk_hold(a, SK_HOLD_LOCK);
    ask(b, 0, RW);
    held(a, 1);
    evict(a, 0);
    sk_release_all(a);
    wait_page(b, 0, SK_WANT_WRITABLE);
    world_settle(&c.world);
    assert_int_equal(kernel_byte(b, 0), 1);
    assert_int_equal(access_of(&c, 0, 0), 0);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 0);
    assert_int_equal(store_count(&c.world, CALL_WRITE), 0);
    cast_close(&c);
}

/* ---- R13 ---- */

/* Two kernels map overlapping parts, with messages of many pages: data and access are right on every page.  */
static void test_R13_overlapping_ranges_with_multi_page_messages(void **state)
{
    (void) state;
    enum { PAGES = 100, A_END = 70, B_START = 40 };
    struct cast c;
    cast_open(&c, 2, PAGES, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    struct sk_message low = { .id = SK_DATA_REQUEST, .offset = 0, .length = A_END * vm_page_size, .access = RW };
    assert_int_equal(sk_send_raw(a, &low, NULL, 0), 0);
    for (size_t page = 0; page < A_END; page++) {
        wait_page(a, page, SK_WANT_WRITABLE);
        poke(a, page, (unsigned char) (100 + page));
    }
    struct sk_message high = { .id = SK_DATA_REQUEST, .offset = page_offset(B_START),
                               .length = (PAGES - B_START) * vm_page_size, .access = RW };
    assert_int_equal(sk_send_raw(b, &high, NULL, 0), 0);
    for (size_t page = B_START; page < PAGES; page++) {
        wait_page(b, page, SK_WANT_WRITABLE);
        assert_int_equal(kernel_byte(b, page), page < A_END ? 100 + page : page + 1);
        poke(b, page, (unsigned char) page);
    }
    world_settle(&c.world);
    for (size_t page = 0; page < PAGES; page++) {
        assert_int_equal(access_of(&c, page, 0), page < B_START ? 3 : 0);
        assert_int_equal(access_of(&c, page, 1), page < B_START ? 0 : 3);
    }
    /* Back in runs of up to 32 pages; those of one kernel take nothing from the other.  */
    store_multi_write(&c.world, 7);
    pager_return_some(c.world.pager, page_offset(20), 40 * vm_page_size, 1);
    for (size_t page = 0; page < PAGES; page++) {
        int back = page >= 20 && page < 60;
        assert_int_equal(access_of(&c, page, 0), !back && page < B_START ? 3 : 0);
        assert_int_equal(access_of(&c, page, 1), !back && page >= B_START ? 3 : 0);
        /* What A had written was written back when B took it.  */
        size_t before = page >= B_START && page < A_END ? 100 + page : page + 1;
        assert_int_equal(store_byte(&c.world, page), !back ? before : page < B_START ? 100 + page : page);
    }
    pager_return(c.world.pager, 1);
    for (size_t page = 0; page < PAGES; page++)
        assert_int_equal(store_byte(&c.world, page), page < B_START ? 100 + page : page);
    cast_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_R10_write_error_with_readers_waiting),
        cmocka_unit_test(test_R10_write_error_with_a_writer_waiting),
        cmocka_unit_test(test_R10_write_error_after_the_hand_over),
        cmocka_unit_test(test_R10_write_error_with_nobody_waiting),
        cmocka_unit_test(test_R11_shutdown_while_reading),
        cmocka_unit_test(test_R11_shutdown_while_writing),
        cmocka_unit_test(test_R11_shutdown_while_locks_are_out),
        cmocka_unit_test(test_R11_shutdown_while_attributes_change),
        cmocka_unit_test(test_R11_terminate_while_writing),
        cmocka_unit_test(test_R11_terminate_while_locks_are_out),
        cmocka_unit_test(test_R11_terminate_while_attributes_change),
        cmocka_unit_test(test_R12_precious_clean_page_comes_back),
        cmocka_unit_test(test_R12_precious_page_comes_back_during_a_flush),
        cmocka_unit_test(test_R13_overlapping_ranges_with_multi_page_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
