/* Section 4 of the protocol, rules 1 to 4: one writer and no stale reads, whatever the number of clients; order of service; dirty data
   from client to client without the disk; and which pages are kept in shared descriptors.  */

#include "cast.h"

static int described(struct cast *cast, size_t page)
{
    uint32_t word = pager_page_word(cast->world.pager, page_offset(page));
    return word != 0 && !(word & 1);
}

/* More waiters than a word has room for: all are served, in order.  */
static void test_queue_of_nine(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 9, 4, 0);
    store_close_gate(&c.world, CALL_READ);
    for (int i = 0; i < 9; i++)
        ask(c.objects[i], 0, RW);
    store_wait_gate(&c.world, CALL_READ, 1);
    world_fence(&c.world);
    for (int i = 0; i < 9; i++)
        assert_int_equal(access_of(&c, 0, (unsigned) i), 0);
    store_open_gate(&c.world, CALL_READ);
    world_wait_access(&c.world, 0, 8, 3);
    world_settle(&c.world);
    unsigned long before = 0;
    for (int i = 0; i < 9; i++) {
        struct sk_message supply;
        assert_int_equal(sk_last_message(c.objects[i], SK_DATA_SUPPLY, &supply), 0);
        assert_int_equal(sk_count(c.objects[i], SK_DATA_SUPPLY), 1);
        assert_true(supply.serial > before);
        before = supply.serial;
    }
    poke(c.objects[8], 0, 2);
    evict(c.objects[8], 0);
    world_settle(&c.world);
    assert_int_equal(world_statistics(&c.world).descriptors, 0);
    cast_close(&c);
}

/* Rule 3: readers next to each other in the queue are served together, by one page-in; a writer between waits for its turn.  */
static void test_adjacent_readers_are_served_together(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 6, 4, 0);
    store_close_gate(&c.world, CALL_READ);
    for (int i = 0; i < 3; i++)
        ask(c.objects[i], 0, VM_PROT_READ);
    ask(c.objects[3], 0, RW);
    for (int i = 4; i < 6; i++)
        ask(c.objects[i], 0, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    world_fence(&c.world);
    /* Those who got it give it up only when the test says so.  */
    for (int i = 0; i < 4; i++)
        sk_hold(c.objects[i], SK_HOLD_LOCK);
    store_open_gate(&c.world, CALL_READ);
    for (int i = 0; i < 3; i++) {
        wait_page(c.objects[i], 0, SK_WANT_READABLE);
        held(c.objects[i], 1);
    }
    assert_int_equal(store_count(&c.world, CALL_READ), 1);
    for (int i = 3; i < 6; i++)
        assert_int_equal(state_of(c.objects[i], 0), SK_PAGE_REQUESTED);
    for (int i = 0; i < 3; i++)
        sk_release_all(c.objects[i]);
    wait_page(c.objects[3], 0, SK_WANT_WRITABLE);
    held(c.objects[3], 1);
    poke(c.objects[3], 0, 60);
    sk_release_all(c.objects[3]);
    for (int i = 4; i < 6; i++) {
        wait_page(c.objects[i], 0, SK_WANT_READABLE);
        assert_int_equal(kernel_byte(c.objects[i], 0), 60);
    }
    world_settle(&c.world);
    /* Clean readers were flushed for the writer, so its data came from the store; the last two got what it wrote.  */
    assert_int_equal(store_count(&c.world, CALL_READ), 2);
    assert_int_equal(world_statistics(&c.world).downgrades, 1);
    assert_int_equal(world_statistics(&c.world).flushes, 3);
    assert_int_equal(world_statistics(&c.world).hand_offs, 2);
    cast_close(&c);
}

/* Rule 3: first come, first served, between writers.  */
static void test_writers_are_served_in_order_of_arrival(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 4, 4, 0);
    static const int order[] = { 2, 0, 3, 1 };
    put(c.objects[1], 0, 10);
    sk_hold(c.objects[1], SK_HOLD_LOCK);
    for (int i = 0; i < 3; i++)
        ask(c.objects[order[i]], 0, RW);
    held(c.objects[1], 1);
    sk_release_all(c.objects[1]);
    ask(c.objects[1], 0, RW);
    assert_int_equal(sk_wait_message(c.objects[1], SK_DATA_SUPPLY, 2, 0), 0);
    wait_page(c.objects[1], 0, SK_WANT_WRITABLE);
    unsigned long before = 0;
    for (int i = 0; i < 4; i++) {
        struct sk_message supply;
        assert_int_equal(sk_last_message(c.objects[order[i]], SK_DATA_SUPPLY, &supply), 0);
        assert_true(supply.serial > before);
        before = supply.serial;
    }
    assert_int_equal(kernel_byte(c.objects[1], 0), 10);
    cast_close(&c);
}

/* An unlock that fails: the client's next request to write this page gets the error, once, nobody else's does; the page needs a
   descriptor as long as the error waits.  */
static void test_pending_error_moves_only_its_page(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    store_write_lock(&c.world, 1);
    for (size_t page = 0; page < 3; page++) {
        get(a, page);
        get(b, page);
    }
    store_fail(&c.world, CALL_UNLOCK, ENOSPC, 1);
    ask_unlock(a, 1);
    assert_int_equal(sk_wait_page(a, page_offset(1), SK_WANT_ABSENT, 0), 0);
    world_settle(&c.world);
    assert_int_equal(described(&c, 0), 0);
    assert_int_equal(described(&c, 1), 1);
    assert_int_equal(described(&c, 2), 0);
    assert_int_equal(world_statistics(&c.world).descriptors, 1);
    /* Reading is not refused, and does not use the error up; neither does the other client.  */
    assert_int_equal(get(a, 1), 2);
    assert_int_equal(described(&c, 1), 1);
    put(b, 1, 9);
    unsigned char byte;
    assert_int_equal(kernel_write(a, 1, 8), ENOSPC);
    world_settle(&c.world);
    assert_int_equal(described(&c, 1), 0);
    assert_int_equal(world_statistics(&c.world).descriptors, 0);
    assert_int_equal(kernel_read(a, 1, &byte), 0);
    assert_int_equal(byte, 9);
    put(a, 1, 8);
    cast_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue_of_nine),
        cmocka_unit_test(test_adjacent_readers_are_served_together),
        cmocka_unit_test(test_writers_are_served_in_order_of_arrival),
        cmocka_unit_test(test_pending_error_moves_only_its_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
