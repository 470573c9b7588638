/* Second looks at rules (rules.h): order of callbacks, runs of writes, attributes, errors.  */

#include "rules.h"

/* ---- Section 3: callbacks ---- */

/* "Requests for one object run in the order in which they came, one at a time": pages of one message, so that one worker notes them.  */
static void test_callbacks_in_order_and_apart(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 16, 0);
    store_close_gate(&c.world, CALL_READ);
    ask(c.objects[0], 9, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    request_pages(c.objects[1], 2, 5, VM_PROT_READ);
    while (!is_touched(&c, 6))
        sched_yield();
    assert_int_equal(store_count(&c.world, CALL_READ), 1);
    store_open_gate(&c.world, CALL_READ);
    for (size_t page = 2; page < 7; page++)
        wait_page(c.objects[1], page, SK_WANT_READABLE);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(store_call(&c.world, CALL_READ, 1 + i).page, page_offset(2 + i));
    assert_int_equal(c.world.store->max_running, 1);
    cast_close(&c);
}

/* The same for writes: returned pages that wait are written in the order in which they came.  */
static void test_returned_pages_are_written_in_order(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 16, 0);
    static const size_t pages[] = { 9, 2, 14, 6, 0 };
    for (unsigned i = 0; i < 5; i++)
        put(c.objects[i & 1], pages[i], (unsigned char) (50 + i));
    store_close_gate(&c.world, CALL_WRITE);
    for (unsigned i = 0; i < 5; i++) {
        evict(c.objects[i & 1], pages[i]);
        if (i == 0)
            store_wait_gate(&c.world, CALL_WRITE, 1);
        fence_by_refusal(&c, c.objects[0]);
    }
    store_open_gate(&c.world, CALL_WRITE);
    pager_sync(c.world.pager, 1);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(store_call(&c.world, CALL_WRITE, i).page, page_offset(pages[i]));
    assert_int_equal(c.world.store->max_running, 1);
    cast_close(&c);
}

/* "Different objects run side by side": each of five has a callback at the gate.  */
static void test_objects_run_side_by_side(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    struct world others[4];
    sk_object *objects[4];
    store_close_gate(&c.world, CALL_READ);
    ask(c.objects[0], 0, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    for (int i = 0; i < 4; i++) {
        world_join(&others[i], &c.world, 4, 0);
        objects[i] = sk_map(c.kernels[0], others[i].port);
        store_close_gate(&others[i], CALL_READ);
        ask(objects[i], 0, VM_PROT_READ);
        store_wait_gate(&others[i], CALL_READ, 1);
    }
    store_open_gate(&c.world, CALL_READ);
    for (int i = 0; i < 4; i++)
        store_open_gate(&others[i], CALL_READ);
    for (int i = 0; i < 4; i++) {
        wait_page(objects[i], 0, SK_WANT_READABLE);
        assert_int_equal(sk_terminate(objects[i]), 0);
    }
    for (int i = 4; i-- > 0; ) {
        /* (Without workers of its own it is not asked for rights and memory: those are the first one's to count.)  */
        others[i].requests = NULL;
        world_close(&others[i]);
    }
    cast_close(&c);
}

/* pager_set_concurrent_reads: so many reads run at once, and no more.  */
static void test_reads_side_by_side(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 16, 0);
    assert_int_equal(pager_set_concurrent_reads(c.world.pager, 3), 0);
    store_close_gate(&c.world, CALL_READ);
    for (size_t page = 0; page < 6; page++)
        ask(c.objects[page & 1], page, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 3);
    store_open_gate(&c.world, CALL_READ);
    for (size_t page = 0; page < 6; page++)
        wait_page(c.objects[page & 1], page, SK_WANT_READABLE);
    assert_int_equal(c.world.store->max_reads, 3);
    cast_close(&c);
}

/* The same for pages that were asked for in one message.  */
static void test_pages_of_one_message_are_read_side_by_side(void **state)
{
    (void) state;
    for (int kernels = 1; kernels <= 2; kernels++) {
        struct cast c;
        cast_open(&c, kernels, 16, 0);
        assert_int_equal(pager_set_concurrent_reads(c.world.pager, 3), 0);
        store_close_gate(&c.world, CALL_READ);
        request_pages(c.objects[0], 2, 5, VM_PROT_READ);
        store_wait_gate(&c.world, CALL_READ, 3);
        store_open_gate(&c.world, CALL_READ);
        for (size_t page = 2; page < 7; page++)
            wait_page(c.objects[0], page, SK_WANT_READABLE);
        assert_int_equal(c.world.store->max_reads, 3);
        cast_close(&c);
    }
}

/* pager_write_pages: what it did not write of a run is written page by page; what it cannot do at all, too.  */
static void test_runs_are_written_to_the_end(void **state)
{
    (void) state;
    for (int most = 0; most < 3; most++) {
        struct cast c;
        cast_open(&c, 1, 8, 0);
        store_multi_write(&c.world, most);
        for (size_t page = 1; page < 7; page++)
            put(c.objects[0], page, (unsigned char) (60 + page));
        pager_return(c.world.pager, 1);
        for (size_t page = 1; page < 7; page++) {
            assert_int_equal(store_byte(&c.world, page), 60 + page);
            assert_int_equal(pager_get_error(c.world.pager, page_offset(page)), 0);
        }
        if (!most)
            assert_int_equal(store_count(&c.world, CALL_WRITE), 6);
        cast_close(&c);
    }
}

/* A run of which a prefix was written before an error: the error is the next page's, and the rest is written.  */
static void test_error_behind_a_written_prefix(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 8, 0);
    store_multi_write(&c.world, 8);
    c.world.store->multi_prefix = 2;
    store_fail(&c.world, CALL_WRITES, EIO, 1);
    for (size_t page = 0; page < 6; page++)
        put(c.objects[0], page, (unsigned char) (70 + page));
    pager_return(c.world.pager, 1);
    for (size_t page = 0; page < 6; page++) {
        assert_int_equal(pager_get_error(c.world.pager, page_offset(page)), page == 2 ? EIO : 0);
        assert_int_equal(store_byte(&c.world, page), page == 2 ? 3 : 70 + page);
    }
    cast_close(&c);
}

/* A return of more pages than there are bits in a word: each is written.  */
static void test_return_of_a_hundred_pages(void **state)
{
    (void) state;
    enum { COUNT = 100 };
    struct cast c;
    cast_open(&c, 1, COUNT, 0);
    static unsigned char data[COUNT * 4096];
    for (size_t page = 0; page < COUNT; page++) {
        put(c.objects[0], page, 1);
        data[page * vm_page_size] = (unsigned char) (100 + page);
    }
    send_raw(c.objects[0], (struct sk_message) { .id = SK_DATA_RETURN, .length = page_offset(COUNT), .dirty = 1, .kernel_copy = 1 },
             data);
    world_settle(&c.world);
    for (size_t page = 0; page < COUNT; page++)
        assert_int_equal(store_byte(&c.world, page), (unsigned char) (100 + page));
    cast_close(&c);
}

/* ---- Section 3: attributes, errors ---- */

/* A client that comes after pager_change_attributes is told the new ones at once.  */
static void test_new_client_is_told_the_new_attributes(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    pager_change_attributes(c.world.pager, 1, MEMORY_OBJECT_COPY_NONE, 0);
    boolean_t ready, may_cache;
    memory_object_copy_strategy_t strategy;
    sk_attributes(cast_join(&c), &ready, &may_cache, &strategy);
    assert_true(ready);
    assert_true(may_cache);
    assert_int_equal(strategy, MEMORY_OBJECT_COPY_NONE);
    cast_close(&c);
}

/* Codes that the page word cannot say come through as they are, from reads and from writes, and pager_get_error knows them.  */
static void test_odd_codes_survive(void **state)
{
    (void) state;
    for (int kernels = 1; kernels < 3; kernels++) {
        struct cast c;
        cast_open(&c, kernels, 4, 0);
        sk_object *a = c.objects[0];
        unsigned char byte;
        store_fail(&c.world, CALL_READ, 4711, 1);
        assert_int_equal(kernel_read(a, 1, &byte), 4711);
        assert_int_equal(pager_get_error(c.world.pager, page_offset(1)), 4711);
        put(a, 2, 9);
        store_fail(&c.world, CALL_WRITE, EROFS, 1);
        evict(a, 2);
        world_settle(&c.world);
        assert_int_equal(pager_get_error(c.world.pager, page_offset(2)), EROFS);
        assert_int_equal(kernel_read(c.objects[kernels - 1], 2, &byte), EROFS);
        cast_close(&c);
    }
}

/* "A failed write marks the page's backing data invalid ... until a later write succeeds": by a sync whose copy stays.  */
static void test_later_write_makes_the_page_good(void **state)
{
    (void) state;
    for (int notify = 0; notify < 2; notify++) {
        struct cast c;
        cast_open(&c, 2, 4, notify);
        sk_object *a = c.objects[0], *b = c.objects[1];
        put(a, 0, 80);
        store_fail(&c.world, CALL_WRITE, ENOSPC, 1);
        pager_sync(c.world.pager, 1);
        assert_int_equal(pager_get_error(c.world.pager, 0), ENOSPC);
        assert_int_equal(store_byte(&c.world, 0), 1);
        poke(a, 0, 81);
        pager_sync(c.world.pager, 1);
        assert_int_equal(pager_get_error(c.world.pager, 0), 0);
        pager_return(c.world.pager, 1);
        assert_int_equal(store_byte(&c.world, 0), 81);
        assert_int_equal(get(b, 0), 81);
        assert_int_equal(store_count(&c.world, CALL_READ), 2);
        cast_close(&c);
    }
}

/* pager_get_error speaks of the page itself, not of one that lies as far from the start of another part of the map.  */
static void test_errors_of_far_pages_are_their_own(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    unsigned char byte;
    store_fail(&c.world, CALL_READ, EIO, 1);
    assert_int_equal(kernel_read(c.objects[0], 3, &byte), EIO);
    for (size_t page = 1024; page < (size_t) 1 << 50; page *= 512) {
        assert_int_equal(pager_get_error(c.world.pager, page_offset(page + 3)), 0);
        assert_int_equal(pager_page_word(c.world.pager, page_offset(page + 3)), 0);
    }
    assert_int_equal(pager_get_error(c.world.pager, page_offset(3)), EIO);
    cast_close(&c);
}

/* What is known of a page survives the growth of the map: who has it is still asked.  */
static void test_growing_map_forgets_nothing(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    put(a, 0, 90);
    for (size_t page = 2000; page < (size_t) 1 << 40; page *= 600) {
        get(b, page);
        assert_int_equal(access_of(&c, 0, 0), 3);
    }
    assert_int_equal(get(b, 0), 90);
    assert_int_equal(access_of(&c, 0, 0), 1);
    cast_close(&c);
}

/* Beyond the end of the map a flush finds nothing, and takes nothing of others away.  */
static void test_flush_of_far_pages_is_void(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    put(c.objects[0], 3, 91);
    for (size_t page = 1024; page < (size_t) 1 << 50; page *= 512) {
        pager_flush_some(c.world.pager, page_offset(page + 3), vm_page_size, 1);
        assert_int_equal(access_of(&c, 3, 0), 3);
    }
    assert_int_equal(get(c.objects[1], 3), 91);
    cast_close(&c);
}

/* A request for which the page map has no memory gets an error, and is served when it is made again.  */
static void test_request_without_memory_is_answered(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    unsigned char byte;
    world_settle(&c.world);
    platform_fail_allocation(0);
    int error = kernel_read(c.objects[0], 3, &byte);
    platform_fail_allocation(-1);
    assert_int_equal(error, ENOMEM);
    assert_int_equal(sk_count(c.objects[0], SK_DATA_ERROR), 1);
    assert_int_equal(get(c.objects[0], 3), 4);
    cast_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_callbacks_in_order_and_apart),
        cmocka_unit_test(test_returned_pages_are_written_in_order),
        cmocka_unit_test(test_objects_run_side_by_side),
        cmocka_unit_test(test_reads_side_by_side),
        cmocka_unit_test(test_pages_of_one_message_are_read_side_by_side),
        cmocka_unit_test(test_runs_are_written_to_the_end),
        cmocka_unit_test(test_error_behind_a_written_prefix),
        cmocka_unit_test(test_return_of_a_hundred_pages),
        cmocka_unit_test(test_new_client_is_told_the_new_attributes),
        cmocka_unit_test(test_odd_codes_survive),
        cmocka_unit_test(test_later_write_makes_the_page_good),
        cmocka_unit_test(test_errors_of_far_pages_are_their_own),
        cmocka_unit_test(test_growing_map_forgets_nothing),
        cmocka_unit_test(test_flush_of_far_pages_is_void),
        cmocka_unit_test(test_request_without_memory_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
