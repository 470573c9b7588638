/* Section 4 of the protocol, rules 1 to 4: one writer and no stale reads, whatever the number of clients; dirty data from client
   to client without the disk; and which pages are kept in shared descriptors.  */

#include "client.h"

static int described(struct party *party, size_t page)
{
    uint32_t word = pager_page_word(party->world.pager, page_offset(page));
    return word != 0 && !(word & 1);
}

/* At most one writer, and then no reader: by what the kernels have, not by what the pager believes.  */
static void assert_exclusive(struct party *party, size_t page)
{
    int writers = 0, holders = 0;
    for (int i = 0; i < party->count; i++) {
        holders += state_of(party->clients[i], page) == SK_PAGE_PRESENT;
        writers += is_writable(party->clients[i], page);
    }
    assert_true(writers == 0 || (writers == 1 && holders == 1));
}

/* Each kernel in turn writes what all others then read; after each step one writer or readers only.  */
static void one_after_the_other(void **state, int kernels)
{
    struct party c;
    party_open(&c, state, kernels, 4, 0);
    unsigned char value = 1;
    for (int round = 0; round < 3; round++)
        for (int writer = 0; writer < kernels; writer++) {
            put(c.clients[writer], 0, ++value);
            assert_exclusive(&c, 0);
            /* (A kernel may use a page before the thread that sent it has noted that it did.)  */
            world_settle(&c.world);
            assert_int_equal(access_of(&c, 0, (unsigned) writer), 3);
            for (int i = 0; i < kernels; i++) {
                assert_int_equal(get(c.clients[(writer + i) % kernels], 0), value);
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
    party_close(&c);
}

/* Rule 1: a single writer and no stale read.  */
static void test_single_writer_2_clients(void **state) { one_after_the_other(state, 2); }
static void test_single_writer_4_clients(void **state) { one_after_the_other(state, 4); }
static void test_single_writer_5_clients(void **state) { one_after_the_other(state, 5); }
static void test_single_writer_9_clients(void **state) { one_after_the_other(state, 9); }

/* The fifth client moves a page that it shares to a descriptor; when it has gone the page is a plain word again.  */
static void test_fifth_client_escalates_and_back(void **state)
{
    struct party c;
    party_open(&c, state, 4, 4, 0);
    for (int i = 0; i < 4; i++)
        get(c.clients[i], 0);
    world_settle(&c.world);
    assert_int_equal(described(&c, 0), 0);
    struct client *fifth = party_join(&c);
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
    put(c.clients[0], 0, 50);
    world_settle(&c.world);
    assert_int_equal(described(&c, 0), 0);
    assert_int_equal(access_of(&c, 0, 0), 3);
    assert_int_equal(access_of(&c, 0, 4), 0);
    assert_int_equal(get(fifth, 0), 50);
    /* It dies: its pages come back to words.  */
    die(c.clients[4]);
    wait_clients(&c, 4);
    world_settle(&c.world);
    assert_int_equal(described(&c, 0), 0);
    assert_int_equal(described(&c, 1), 0);
    assert_int_equal(world_statistics(&c.world).descriptors, 0);
    assert_int_equal(get(c.clients[1], 0), 50);
    party_close(&c);
}

/* Rule 1: a reader comes: the writer keeps a read-only copy and is not flushed.  */
static void test_writer_is_downgraded_for_a_reader(void **state)
{
    struct party c;
    party_open(&c, state, 2, 4, 0);
    struct client *a = c.clients[0], *b = c.clients[1];
    put(a, 0, 30);
    assert_int_equal(get(b, 0), 30);
    assert_int_equal(state_of(a, 0), SK_PAGE_PRESENT);
    assert_false(is_writable(a, 0));
    assert_false(is_dirty(a, 0));
    if (scripted(&c)) {
        struct sk_message lock;
        assert_int_equal(sk_page_state(a->object, 0).lock, VM_PROT_WRITE);
        assert_int_equal(sk_last_message(a->object, SK_LOCK_REQUEST, &lock), 0);
        assert_int_equal(lock.should_flush, 0);
        assert_int_equal(lock.should_return, MEMORY_OBJECT_RETURN_DIRTY);
    }
    assert_int_equal(world_statistics(&c.world).downgrades, 1);
    assert_int_equal(world_statistics(&c.world).flushes, 0);
    /* And it may have its right to write back: the other is flushed, no data are moved.  */
    put(a, 0, 31);
    assert_int_equal(supplies(a), 1);
    assert_int_equal(world_statistics(&c.world).flushes, 1);
    assert_int_equal(get(b, 0), 31);
    party_close(&c);
}

/* Rule 4: dirty data go to the next client though their write has not finished; the store gets versions in order, one at a time.  */
static void hand_over(void **state, int kernels, vm_prot_t access)
{
    struct party c;
    party_open(&c, state, kernels, 4, 0);
    store_close_gate(&c.world, CALL_WRITE);
    put(c.clients[0], 0, 100);
    for (int i = 1; i < kernels; i++) {
        ask(c.clients[i], 0, access);
        wait_page(c.clients[i], 0, access == RW ? SK_WANT_WRITABLE : SK_WANT_READABLE);
        assert_int_equal(byte_of(c.clients[i], 0), access == RW ? 100 + i - 1 : 100);
        if (access == RW)
            rewrite(c.clients[i], 0, (unsigned char) (100 + i));
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
    party_close(&c);
}

/* Rule as above, to writers one after the other.  */
static void test_dirty_data_pass_to_writers_before_the_disk(void **state)
{
    hand_over(state, 2, RW);
    hand_over(state, 5, RW);
    hand_over(state, 9, RW);
}

/* Rule as above, to readers.  */
static void test_dirty_data_pass_to_readers_before_the_disk(void **state)
{
    hand_over(state, 2, VM_PROT_READ);
    hand_over(state, 9, VM_PROT_READ);
}

/* A version that was written while somebody had it is not needed any more: the next reader's data are the store's, and equal.  */
static void test_written_version_is_dropped(void **state)
{
    struct party c;
    party_open(&c, state, 2, 4, 0);
    put(c.clients[0], 0, 40);
    evict(c.clients[0], 0);
    world_settle(&c.world);
    assert_at_rest(&c);
    assert_int_equal(get(c.clients[1], 0), 40);
    assert_int_equal(store_count(&c.world, CALL_READ), 2);
    party_close(&c);
}

/* An errno that the word has no room for survives as it is, in a descriptor of that page alone.  */
static void test_unusual_error_moves_only_its_page(void **state)
{
    struct party c;
    party_open(&c, state, 2, 4, 0);
    unsigned char byte;
    get(c.clients[0], 0);
    store_fail(&c.world, CALL_READ, ENXIO, 1);
    assert_int_equal(try_read(c.clients[0], 1, &byte), ENXIO);
    world_settle(&c.world);
    assert_int_equal(pager_get_error(c.world.pager, page_offset(1)), ENXIO);
    assert_int_equal(described(&c, 0), 0);
    assert_int_equal(described(&c, 1), 1);
    assert_int_equal(get(c.clients[1], 1), 2);
    world_settle(&c.world);
    assert_int_equal(pager_get_error(c.world.pager, page_offset(1)), 0);
    assert_int_equal(described(&c, 1), 0);
    assert_int_equal(world_statistics(&c.world).descriptors, 0);
    /* A usual one needs none.  */
    store_fail(&c.world, CALL_READ, ENOSPC, 1);
    assert_int_equal(try_read(c.clients[0], 2, &byte), ENOSPC);
    world_settle(&c.world);
    assert_int_equal(described(&c, 2), 0);
    assert_int_equal(pager_get_error(c.world.pager, page_offset(2)), ENOSPC);
    party_close(&c);
}

/* A hundred pages in the same condition share one descriptor; it goes with the last of them.  */
static void test_a_hundred_pages_share_one_descriptor(void **state)
{
    enum { PAGES = 100 };
    struct party c;
    party_open(&c, state, 6, PAGES, 0);
    for (size_t page = 0; page < PAGES; page++)
        for (int i = 0; i < 6; i++)
            get(c.clients[i], page);
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
        put(c.clients[0], page, (unsigned char) page);
    world_settle(&c.world);
    assert_int_equal(pager_page_word(c.world.pager, 0), word);
    for (size_t page = 1; page < PAGES; page++)
        assert_int_equal(described(&c, page), 0);
    pager_return(c.world.pager, 1);
    world_settle(&c.world);
    assert_int_equal(world_statistics(&c.world).descriptors, 0);
    for (size_t page = 1; page < PAGES; page++)
        assert_int_equal(store_byte(&c.world, page), page);
    party_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_single_writer_2_clients),
        BOTH(test_single_writer_4_clients),
        BOTH(test_single_writer_5_clients),
        BOTH(test_single_writer_9_clients),
        BOTH(test_fifth_client_escalates_and_back),
        BOTH(test_writer_is_downgraded_for_a_reader),
        BOTH(test_dirty_data_pass_to_writers_before_the_disk),
        BOTH(test_dirty_data_pass_to_readers_before_the_disk),
        BOTH(test_written_version_is_dropped),
        BOTH(test_unusual_error_moves_only_its_page),
        BOTH(test_a_hundred_pages_share_one_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
