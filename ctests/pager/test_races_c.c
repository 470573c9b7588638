/* The races R10 to R13: write errors, shutdown and terminate amidst everything, unasked returns, and messages of several pages.  */

#include "cast.h"

enum { PAGES_8 = 8 };

static int sync_8_pages(void *pager) { pager_sync_some(pager, 0, PAGES_8 * vm_page_size, 1); return 0; }
static int shut_down(void *pager) { pager_shutdown(pager); return 0; }
static int change(void *pager) { pager_change_attributes(pager, 1, MEMORY_OBJECT_COPY_NONE, 1); return 0; }

/* ---- R11 ---- */

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
    world_settle(&c.world);
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
        world_settle(&c.world);
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
        cmocka_unit_test(test_R11_shutdown_while_locks_are_out),
        cmocka_unit_test(test_R11_shutdown_while_attributes_change),
        cmocka_unit_test(test_R11_terminate_while_locks_are_out),
        cmocka_unit_test(test_R11_terminate_while_attributes_change),
        cmocka_unit_test(test_R12_precious_page_comes_back_during_a_flush),
        cmocka_unit_test(test_R13_overlapping_ranges_with_multi_page_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
