/* Section 4 of the protocol, rules 1 to 4: one writer and no stale reads, whatever the number of clients; order of service; dirty data
   from client to client without the disk; and which pages are kept in shared descriptors.  */

#include "cast.h"

static int described(struct cast *cast, size_t page)
{
    uint32_t word = pager_page_word(cast->world.pager, page_offset(page));
    return word != 0 && !(word & 1);
}

/* At most one writer, and then no reader: by what the kernels have, not by what the pager believes.  */
static void assert_exclusive(struct cast *cast, size_t page)
{
    int writers = 0, holders = 0;
    for (int i = 0; i < cast->count; i++) {
        struct sk_page_info info = sk_page_state(cast->objects[i], page_offset(page));
        if (info.state != SK_PAGE_PRESENT)
            continue;
        holders++;
        writers += !(info.lock & VM_PROT_WRITE);
    }
    assert_true(writers == 0 || (writers == 1 && holders == 1));
}

/* Each kernel in turn writes what all others then read; after each step one writer or readers only.  */
static void one_after_the_other(int kernels)
{
    struct cast c;
    cast_open(&c, kernels, 4, 0);
    unsigned char value = 1;
    for (int round = 0; round < 3; round++)
        for (int writer = 0; writer < kernels; writer++) {
            put(c.objects[writer], 0, ++value);
            assert_exclusive(&c, 0);
            assert_int_equal(access_of(&c, 0, (unsigned) writer), 3);
            for (int i = 0; i < kernels; i++) {
                assert_int_equal(get(c.objects[(writer + i) % kernels], 0), value);
                assert_exclusive(&c, 0);
            }
            world_settle(&c.world);
            for (int i = 0; i < kernels; i++)
                assert_int_equal(access_of(&c, 0, (unsigned) i), 1);
            assert_int_equal(described(&c, 0), kernels > 4);
        }
    pager_return(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 0), value);
    assert_int_equal(described(&c, 0), 0);
    assert_int_equal(world_statistics(&c.world).descriptors, 0);
    assert_int_equal(world_statistics(&c.world).refused, 0);
    cast_close(&c);
}

/* Rule 1: a single writer and no stale read.  */
static void test_single_writer_2_clients(void **state) { (void) state; one_after_the_other(2); }
static void test_single_writer_4_clients(void **state) { (void) state; one_after_the_other(4); }
static void test_single_writer_5_clients(void **state) { (void) state; one_after_the_other(5); }
static void test_single_writer_9_clients(void **state) { (void) state; one_after_the_other(9); }

/* The fifth client moves a page that it shares to a descriptor; when it has gone the page is a plain word again.  */
static void test_fifth_client_escalates_and_back(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 4, 4, 0);
    for (int i = 0; i < 4; i++)
        get(c.objects[i], 0);
    world_settle(&c.world);
    assert_int_equal(described(&c, 0), 0);
    sk_object *fifth = cast_join(&c);
    get(fifth, 0);
    get(fifth, 1);
    world_settle(&c.world);
    assert_int_equal(described(&c, 0), 1);
    assert_int_equal(described(&c, 1), 1);
    assert_int_equal(described(&c, 2), 0);
    struct pager_page_census census;
    pager_take_census(c.world.pager, &census);
    assert_int_equal(census.described, 2);
    assert_int_equal(census.readers + census.writers, 2);
    /* A writer among the first four: no need for a descriptor any more.  */
    put(c.objects[0], 0, 50);
    world_settle(&c.world);
    assert_int_equal(described(&c, 0), 0);
    assert_int_equal(access_of(&c, 0, 0), 3);
    assert_int_equal(access_of(&c, 0, 4), 0);
    assert_int_equal(get(fifth, 0), 50);
    /* It dies: its pages come back to words.  */
    cast_kill(&c, 4);
    wait_clients(&c, 4);
    world_settle(&c.world);
    assert_int_equal(described(&c, 0), 0);
    assert_int_equal(described(&c, 1), 0);
    assert_int_equal(world_statistics(&c.world).descriptors, 0);
    assert_int_equal(get(c.objects[1], 0), 50);
    cast_close(&c);
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

/* Rule 1: a reader comes: the writer keeps a read-only copy and is not flushed.  */
static void test_writer_is_downgraded_for_a_reader(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    put(a, 0, 30);
    assert_int_equal(get(b, 0), 30);
    struct sk_page_info info = sk_page_state(a, 0);
    assert_int_equal(info.state, SK_PAGE_PRESENT);
    assert_int_equal(info.lock, VM_PROT_WRITE);
    struct sk_message lock;
    assert_int_equal(sk_last_message(a, SK_LOCK_REQUEST, &lock), 0);
    assert_int_equal(lock.should_flush, 0);
    assert_int_equal(lock.should_return, MEMORY_OBJECT_RETURN_DIRTY);
    assert_int_equal(world_statistics(&c.world).downgrades, 1);
    assert_int_equal(world_statistics(&c.world).flushes, 0);
    /* And it may have its right to write back: the other is flushed, no data are moved.  */
    put(a, 0, 31);
    assert_int_equal(sk_count(a, SK_DATA_SUPPLY), 1);
    assert_int_equal(world_statistics(&c.world).flushes, 1);
    assert_int_equal(get(b, 0), 31);
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

/* Rule 4: dirty data go to the next client though their write has not finished; the store gets versions in order, one at a time.  */
static void hand_over(int kernels, vm_prot_t access)
{
    struct cast c;
    cast_open(&c, kernels, 4, 0);
    store_close_gate(&c.world, CALL_WRITE);
    put(c.objects[0], 0, 100);
    for (int i = 1; i < kernels; i++) {
        ask(c.objects[i], 0, access);
        wait_page(c.objects[i], 0, access == RW ? SK_WANT_WRITABLE : SK_WANT_READABLE);
        assert_int_equal(kernel_byte(c.objects[i], 0), access == RW ? 100 + i - 1 : 100);
        if (access == RW)
            poke(c.objects[i], 0, (unsigned char) (100 + i));
        store_wait_gate(&c.world, CALL_WRITE, 1);
        assert_int_equal(store_byte(&c.world, 0), 1);
    }
    /* Only the first write runs, all else came from memory.  */
    assert_int_equal(store_count(&c.world, CALL_WRITE), 1);
    assert_int_equal(store_count(&c.world, CALL_READ), 1);
    /* (It counts when it has sent.)  */
    while (world_statistics(&c.world).hand_offs < (unsigned) kernels - 1)
        sched_yield();
    assert_int_equal(world_statistics(&c.world).hand_offs, kernels - 1);
    store_open_gate(&c.world, CALL_WRITE);
    pager_sync(c.world.pager, 1);
    int last = access == RW ? 100 + kernels - 1 : 100;
    assert_int_equal(store_byte(&c.world, 0), last);
    unsigned count = store_count(&c.world, CALL_WRITE);
    unsigned char newest = 0;
    for (unsigned i = 0; i < count; i++) {
        struct call_record record = store_call(&c.world, CALL_WRITE, i);
        assert_true(record.first > newest);
        newest = record.first;
    }
    assert_int_equal(newest, last);
    assert_int_equal(c.world.store->overlaps, 0);
    cast_close(&c);
}

/* Rule as above, to writers one after the other.  */
static void test_dirty_data_pass_to_writers_before_the_disk(void **state)
{
    (void) state;
    hand_over(2, RW);
    hand_over(5, RW);
    hand_over(9, RW);
}

/* Rule as above, to readers.  */
static void test_dirty_data_pass_to_readers_before_the_disk(void **state)
{
    (void) state;
    hand_over(2, VM_PROT_READ);
    hand_over(9, VM_PROT_READ);
}

/* A version that was written while somebody had it is not needed any more: the next reader's data are the store's, and equal.  */
static void test_written_version_is_dropped(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    put(c.objects[0], 0, 40);
    evict(c.objects[0], 0);
    world_settle(&c.world);
    assert_at_rest(&c);
    assert_int_equal(get(c.objects[1], 0), 40);
    assert_int_equal(store_count(&c.world, CALL_READ), 2);
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

/* An errno that the word has no room for survives as it is, in a descriptor of that page alone.  */
static void test_unusual_error_moves_only_its_page(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    unsigned char byte;
    get(c.objects[0], 0);
    store_fail(&c.world, CALL_READ, ENXIO, 1);
    assert_int_equal(kernel_read(c.objects[0], 1, &byte), ENXIO);
    world_settle(&c.world);
    assert_int_equal(pager_get_error(c.world.pager, page_offset(1)), ENXIO);
    assert_int_equal(described(&c, 0), 0);
    assert_int_equal(described(&c, 1), 1);
    assert_int_equal(get(c.objects[1], 1), 2);
    world_settle(&c.world);
    assert_int_equal(pager_get_error(c.world.pager, page_offset(1)), 0);
    assert_int_equal(described(&c, 1), 0);
    assert_int_equal(world_statistics(&c.world).descriptors, 0);
    /* A usual one needs none.  */
    store_fail(&c.world, CALL_READ, ENOSPC, 1);
    assert_int_equal(kernel_read(c.objects[0], 2, &byte), ENOSPC);
    world_settle(&c.world);
    assert_int_equal(described(&c, 2), 0);
    assert_int_equal(pager_get_error(c.world.pager, page_offset(2)), ENOSPC);
    cast_close(&c);
}

/* A hundred pages in the same condition share one descriptor; it goes with the last of them.  */
static void test_a_hundred_pages_share_one_descriptor(void **state)
{
    (void) state;
    enum { PAGES = 100 };
    struct cast c;
    cast_open(&c, 6, PAGES, 0);
    for (size_t page = 0; page < PAGES; page++)
        for (int i = 0; i < 6; i++)
            get(c.objects[i], page);
    world_settle(&c.world);
    uint32_t word = pager_page_word(c.world.pager, 0);
    for (size_t page = 0; page < PAGES; page++)
        assert_int_equal(pager_page_word(c.world.pager, page_offset(page)), word);
    assert_int_equal(word & 1, 0);
    struct pager_page_census census;
    pager_take_census(c.world.pager, &census);
    assert_int_equal(census.described, PAGES);
    assert_int_equal(census.readers, PAGES);
    /* Steps that are remembered may keep a few more alive.  */
    assert_true(world_statistics(&c.world).descriptors < 40);
    for (size_t page = 1; page < PAGES; page++)
        put(c.objects[0], page, (unsigned char) page);
    world_settle(&c.world);
    assert_int_equal(pager_page_word(c.world.pager, 0), word);
    for (size_t page = 1; page < PAGES; page++)
        assert_int_equal(described(&c, page), 0);
    pager_return(c.world.pager, 1);
    world_settle(&c.world);
    assert_int_equal(world_statistics(&c.world).descriptors, 0);
    for (size_t page = 1; page < PAGES; page++)
        assert_int_equal(store_byte(&c.world, page), page);
    cast_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_writer_2_clients),
        cmocka_unit_test(test_single_writer_4_clients),
        cmocka_unit_test(test_single_writer_5_clients),
        cmocka_unit_test(test_single_writer_9_clients),
        cmocka_unit_test(test_fifth_client_escalates_and_back),
        cmocka_unit_test(test_queue_of_nine),
        cmocka_unit_test(test_writer_is_downgraded_for_a_reader),
        cmocka_unit_test(test_adjacent_readers_are_served_together),
        cmocka_unit_test(test_writers_are_served_in_order_of_arrival),
        cmocka_unit_test(test_dirty_data_pass_to_writers_before_the_disk),
        cmocka_unit_test(test_dirty_data_pass_to_readers_before_the_disk),
        cmocka_unit_test(test_written_version_is_dropped),
        cmocka_unit_test(test_pending_error_moves_only_its_page),
        cmocka_unit_test(test_unusual_error_moves_only_its_page),
        cmocka_unit_test(test_a_hundred_pages_share_one_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
