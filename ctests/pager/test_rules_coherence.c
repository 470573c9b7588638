/* Second looks at rules (rules.h): every message answered, order of service, data before the disk.  */

#include "rules.h"

/* ---- Section 4 ---- */

/* A request whose range is none of whole pages gets one error, for the pages that it touches.  */
static void test_ill_shaped_request_gets_one_error(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    const struct { vm_offset_t offset; vm_size_t length; } shapes[] = {
        { vm_page_size + 8, vm_page_size }, { vm_page_size, 100 }, { 2 * vm_page_size, 0 },
    };
    for (unsigned i = 0; i < 3; i++) {
        send_raw(c.objects[0], (struct sk_message) { .id = SK_DATA_REQUEST, .offset = shapes[i].offset, .length = shapes[i].length,
                                                     .access = VM_PROT_READ }, NULL);
        assert_int_equal(sk_wait_message(c.objects[0], SK_DATA_ERROR, i + 1, 0), 0);
        struct sk_message error;
        assert_int_equal(sk_last_message(c.objects[0], SK_DATA_ERROR, &error), 0);
        assert_int_equal(error.error, EINVAL);
        assert_int_equal(error.offset, page_offset(shapes[i].offset / vm_page_size));
    }
    world_settle(&c.world);
    assert_int_equal(sk_count(c.objects[0], SK_DATA_ERROR), 3);
    assert_int_equal(world_statistics(&c.world).refused, 3);
    assert_int_equal(store_count(&c.world, CALL_READ), 0);
    cast_close(&c);
}

/* A failing read is answered by one error to each who waits.  */
static void test_failing_read_is_answered_once(void **state)
{
    (void) state;
    for (int kernels = 1; kernels < 4; kernels++) {
        struct cast c;
        cast_open(&c, kernels, 4, 0);
        store_close_gate(&c.world, CALL_READ);
        store_fail(&c.world, CALL_READ, EIO, 1);
        for (int i = 0; i < kernels; i++) {
            ask(c.objects[i], 0, VM_PROT_READ);
            fence_by_refusal(&c, c.objects[i]);
        }
        store_wait_gate(&c.world, CALL_READ, 1);
        store_open_gate(&c.world, CALL_READ);
        for (int i = 0; i < kernels; i++)
            wait_page(c.objects[i], 0, SK_WANT_SETTLED);
        world_settle(&c.world);
        for (int i = 0; i < kernels; i++) {
            assert_int_equal(sk_count(c.objects[i], SK_DATA_ERROR), 1);
            assert_int_equal(sk_count(c.objects[i], SK_DATA_SUPPLY), 0);
            assert_int_equal(sk_page_state(c.objects[i], 0).last_error, EIO);
        }
        cast_close(&c);
    }
}

/* memory_object_copy, a change_completed and a supply_completed that nobody asked for: each is counted as refused.  */
static void test_what_nobody_asked_for_is_refused(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    const mach_msg_id_t ids[] = { SK_COPY, SK_CHANGE_COMPLETED, SK_SUPPLY_COMPLETED, SK_LOCK_COMPLETED };
    for (unsigned i = 0; i < 4; i++) {
        send_raw(c.objects[0], (struct sk_message) { .id = ids[i], .length = vm_page_size }, NULL);
        world_settle(&c.world);
        assert_int_equal(world_statistics(&c.world).refused, i + 1);
    }
    put(c.objects[0], 0, 1);
    cast_close(&c);
}

/* A lock_completed that fits no lock request does not answer the flush that is under way: the holder still counts.  */
static void test_stray_completion_does_not_answer_a_flush(void **state)
{
    (void) state;
    for (vm_prot_t wish = VM_PROT_READ; wish <= RW; wish += VM_PROT_WRITE) {
        struct cast c;
        cast_open(&c, 2, 4, 0);
        sk_object *a = c.objects[0], *b = c.objects[1];
        put(a, 0, 55);
        sk_hold(a, SK_HOLD_LOCK);
        ask(b, 0, wish);
        held(a, 1);
        send_raw(a, (struct sk_message) { .id = SK_LOCK_COMPLETED, .offset = 0, .length = page_offset(2) }, NULL);
        wait_refused(&c, 1);
        assert_int_equal(access_of(&c, 0, 0), 3);
        assert_int_equal(state_of(b, 0), SK_PAGE_REQUESTED);
        poke(a, 0, 56);
        sk_release_all(a);
        wait_page(b, 0, SK_WANT_READABLE);
        assert_int_equal(kernel_byte(b, 0), 56);
        cast_close(&c);
    }
}

/* An unlock and a request of several pages: each page is answered.  */
static void test_every_page_of_a_message_is_answered(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 8, 0);
    sk_object *a = c.objects[0];
    request_pages(a, 1, 4, VM_PROT_READ);
    for (size_t page = 1; page < 5; page++)
        wait_page(a, page, SK_WANT_READABLE);
    for (size_t page = 1; page < 5; page++)
        get(c.objects[1], page);
    send_raw(a, (struct sk_message) { .id = SK_DATA_UNLOCK, .offset = page_offset(1), .length = page_offset(4),
                                      .access = VM_PROT_WRITE }, NULL);
    for (size_t page = 1; page < 5; page++) {
        wait_page(a, page, SK_WANT_WRITABLE);
        wait_page(c.objects[1], page, SK_WANT_ABSENT);
    }
    cast_close(&c);
}

/* The same with a write lock: the translator is asked for each page, and each is permitted.  */
static void test_every_locked_page_of_an_unlock_is_asked_for(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 8, 0);
    store_write_lock(&c.world, 1);
    for (size_t page = 2; page < 6; page++)
        get(c.objects[0], page);
    send_raw(c.objects[0], (struct sk_message) { .id = SK_DATA_UNLOCK, .offset = page_offset(2), .length = page_offset(4),
                                                 .access = VM_PROT_WRITE }, NULL);
    for (size_t page = 2; page < 6; page++)
        wait_page(c.objects[0], page, SK_WANT_WRITABLE);
    assert_int_equal(store_count(&c.world, CALL_UNLOCK), 4);
    cast_close(&c);
}

/* First come, first served, with more clients than a page word has room for: each writer in its turn.  */
static void test_queue_keeps_its_order(void **state)
{
    (void) state;
    for (int kernels = 4; kernels < 8; kernels += 3) {
        struct cast c;
        cast_open(&c, kernels, 4, 0);
        store_close_gate(&c.world, CALL_READ);
        for (int i = 0; i < kernels; i++) {
            /* Who has it in its turn is not asked to give it up before we look.  */
            sk_hold(c.objects[i], SK_HOLD_LOCK);
            ask(c.objects[i], 0, RW);
            fence_by_refusal(&c, c.objects[i]);
        }
        store_wait_gate(&c.world, CALL_READ, 1);
        store_open_gate(&c.world, CALL_READ);
        for (int i = 0; i < kernels; i++) {
            wait_page(c.objects[i], 0, SK_WANT_WRITABLE);
            assert_int_equal(access_of(&c, 0, (unsigned) i), 3);
            for (int later = i + 1; later < kernels; later++)
                assert_int_equal(state_of(c.objects[later], 0), SK_PAGE_REQUESTED);
            sk_release_all(c.objects[i]);
        }
        cast_close(&c);
    }
}

/* Readers next to each other are served together, the writer behind them after them, and the reader behind it last.  */
static void test_readers_together_writer_apart(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 4, 4, 0);
    const vm_prot_t wishes[] = { VM_PROT_READ, VM_PROT_READ, RW, VM_PROT_READ };
    store_close_gate(&c.world, CALL_READ);
    for (int i = 0; i < 4; i++) {
        sk_hold(c.objects[i], SK_HOLD_LOCK);
        ask(c.objects[i], 0, wishes[i]);
        fence_by_refusal(&c, c.objects[i]);
    }
    store_wait_gate(&c.world, CALL_READ, 1);
    store_open_gate(&c.world, CALL_READ);
    wait_page(c.objects[0], 0, SK_WANT_READABLE);
    wait_page(c.objects[1], 0, SK_WANT_READABLE);
    held(c.objects[0], 1);
    held(c.objects[1], 1);
    assert_int_equal(state_of(c.objects[2], 0), SK_PAGE_REQUESTED);
    assert_int_equal(state_of(c.objects[3], 0), SK_PAGE_REQUESTED);
    sk_release_all(c.objects[0]);
    fence_by_refusal(&c, c.objects[0]);
    assert_int_equal(state_of(c.objects[2], 0), SK_PAGE_REQUESTED);
    sk_release_all(c.objects[1]);
    wait_page(c.objects[2], 0, SK_WANT_WRITABLE);
    assert_int_equal(state_of(c.objects[3], 0), SK_PAGE_REQUESTED);
    poke(c.objects[2], 0, 50);
    sk_release_all(c.objects[2]);
    wait_page(c.objects[3], 0, SK_WANT_READABLE);
    assert_int_equal(kernel_byte(c.objects[3], 0), 50);
    /* For the readers, who gave it up clean, and again for the writer.  */
    assert_int_equal(store_count(&c.world, CALL_READ), 2);
    sk_release_all(c.objects[3]);
    cast_close(&c);
}

/* The data of one writer reach the next one, and readers, while the disk still writes an older version; the disk gets the newest.  */
static void test_data_pass_before_the_disk(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 3, 4, 0);
    put(c.objects[0], 0, 51);
    store_close_gate(&c.world, CALL_WRITE);
    put(c.objects[1], 0, 52);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    assert_int_equal(get(c.objects[2], 0), 52);
    put(c.objects[0], 0, 53);
    assert_int_equal(get(c.objects[1], 0), 53);
    assert_int_equal(store_count(&c.world, CALL_READ), 1);
    store_open_gate(&c.world, CALL_WRITE);
    pager_sync(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 0), 53);
    world_settle(&c.world);
    struct pager_page_census census;
    pager_take_census(c.world.pager, &census);
    assert_int_equal(census.held, 0);
    unsigned writes = store_count(&c.world, CALL_WRITE);
    for (unsigned i = 1; i < writes; i++)
        assert_true(store_call(&c.world, CALL_WRITE, i).first > store_call(&c.world, CALL_WRITE, i - 1).first);
    cast_close(&c);
}

/* All readers ask for write at once while the page is being flushed for the first: each is asked to give it up once.  */
static void test_one_flush_for_all(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 4, 4, 0);
    for (int i = 0; i < 4; i++) {
        get(c.objects[i], 0);
        sk_hold(c.objects[i], SK_HOLD_LOCK);
    }
    ask_unlock(c.objects[0], 0);
    for (int i = 1; i < 4; i++) {
        held(c.objects[i], 1);
        ask_unlock(c.objects[i], 0);
        fence_by_refusal(&c, c.objects[i]);
        assert_int_equal(sk_pending(c.objects[i]), 1);
    }
    for (int i = 1; i < 4; i++)
        sk_release_all(c.objects[i]);
    sk_release_all(c.objects[0]);
    wait_page(c.objects[0], 0, SK_WANT_WRITABLE);
    for (int i = 1; i < 4; i++) {
        wait_page(c.objects[i], 0, SK_WANT_ABSENT);
        assert_int_equal(sk_count(c.objects[i], SK_LOCK_REQUEST), 1);
    }
    assert_int_equal(access_of(&c, 0, 0), 3);
    cast_close(&c);
}

/* ... and so is a writer whose page others ask for as well while it is being flushed.  */
static void test_one_flush_for_all_who_ask(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 4, 4, 0);
    put(c.objects[0], 0, 50);
    sk_hold(c.objects[0], SK_HOLD_LOCK);
    ask(c.objects[1], 0, RW);
    held(c.objects[0], 1);
    ask(c.objects[2], 0, RW);
    ask(c.objects[3], 0, VM_PROT_READ);
    fence_by_refusal(&c, c.objects[3]);
    assert_int_equal(sk_pending(c.objects[0]), 1);
    sk_release_all(c.objects[0]);
    wait_page(c.objects[3], 0, SK_WANT_PRESENT);
    assert_int_equal(kernel_byte(c.objects[3], 0), 50);
    world_settle(&c.world);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sk_count(c.objects[i], SK_LOCK_REQUEST), 1);
    cast_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ill_shaped_request_gets_one_error),
        cmocka_unit_test(test_failing_read_is_answered_once),
        cmocka_unit_test(test_what_nobody_asked_for_is_refused),
        cmocka_unit_test(test_stray_completion_does_not_answer_a_flush),
        cmocka_unit_test(test_every_page_of_a_message_is_answered),
        cmocka_unit_test(test_every_locked_page_of_an_unlock_is_asked_for),
        cmocka_unit_test(test_queue_keeps_its_order),
        cmocka_unit_test(test_readers_together_writer_apart),
        cmocka_unit_test(test_data_pass_before_the_disk),
        cmocka_unit_test(test_one_flush_for_all),
        cmocka_unit_test(test_one_flush_for_all_who_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
