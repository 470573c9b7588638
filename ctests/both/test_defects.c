/* The defects of protocol.md, section 5, that clients of either kind can show.  (The others are in ../pager/test_defects.c.)  */

#include "client.h"

/* "pager_get_error ... index[es] the page map past its end"  */
static void test_get_error_beyond_the_map(void **state)
{
    struct party p;
    party_open(&p, state, 0, 8, 0);
    static const vm_address_t addresses[] = { 0, 4096 * 1024, (vm_address_t) (1ull << 40 | 1u << 30), (vm_address_t) (1ull << 63 | 1u << 31), -4096, -1 };
    struct client *object = NULL;
    for (int touched = 0; touched < 2; touched++) {
        for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
            assert_int_equal(pager_get_error(p.world.pager, addresses[i]), 0);
            assert_int_equal(pager_page_word(p.world.pager, addresses[i] & -(vm_address_t) vm_page_size) != 0, touched && i == 0);
        }
        if (!touched) {
            unsigned char byte;
            object = party_join(&p);
            store_fail(&p.world, CALL_READ, EIO, 1);
            assert_int_equal(try_read(object, 2, &byte), EIO);
            assert_int_equal(try_read(object, 0, &byte), 0);
        }
    }
    assert_int_equal(pager_get_error(p.world.pager, page_offset(3) - 1), EIO);
    assert_int_equal(pager_get_error(p.world.pager, page_offset(3)), 0);
    party_close(&p);
}

/* "... and the flush path index the page map past its end"  */
static void test_flush_beyond_the_map(void **state)
{
    struct party p;
    party_open(&p, state, 0, 8, 0);
    struct client *object = party_join(&p);
    assert_int_equal(try_write(object, 7, 70), 0);
    uint64_t bytes = world_statistics(&p.world).map_bytes;
    static const struct { vm_address_t start; vm_size_t length; } ranges[] = {
        { (vm_address_t) 1 << 20, 1 << 20 }, { (vm_address_t) (1ull << 52 | 1u << 31), 5 }, { -4096, 4096 }, { -1, 1 }, { -4096, -1 },
        { 1 << 20, -1 }, { 8 * 4096, 0 },
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        pager_sync_some(p.world.pager, ranges[i].start, ranges[i].length, 1);
        pager_return_some(p.world.pager, ranges[i].start, ranges[i].length, 1);
        pager_flush_some(p.world.pager, ranges[i].start, ranges[i].length, 1);
        pager_flush_some(p.world.pager, ranges[i].start, ranges[i].length, 0);
    }
    /* The page before them is still there, and its range may reach beyond the end of everything.  */
    assert_int_equal(byte_of(object, 7), 70);
    pager_return_some(p.world.pager, page_offset(7), (vm_size_t) -1, 1);
    assert_int_equal(store_byte(&p.world, 7), 70);
    assert_int_equal(resident(object), 0);
    assert_int_equal(try_write(object, 7, 71), 0);
    pager_return_some(p.world.pager, 0, (vm_size_t) -1, 1);
    assert_int_equal(store_byte(&p.world, 7), 71);
    assert_int_equal(world_statistics(&p.world).map_bytes, bytes);
    party_close(&p);
}

/* "after a write, waiting data is supplied as not precious although eviction notices were asked for"  */
static void test_waiting_data_is_precious_after_a_write(void **state)
{
    for (int others = 0; others < 2; others++) {
        struct party p;
        party_open(&p, state, 0, 8, 1);
        struct client *x = party_join(&p), *y = others ? party_join(&p) : x;
        assert_int_equal(try_write(x, 4, 44), 0);
        /* Whoever read the page is done: else the write waits for it in the write-back, from where the data are handed on at once.  */
        world_settle(&p.world);
        store_close_gate(&p.world, CALL_WRITE);
        evict(x, 4);
        store_wait_gate(&p.world, CALL_WRITE, 1);
        ask(y, 4, VM_PROT_READ);
        if (others)
            /* From the write-back: the data need not wait for the disk.  */
            wait_page(y, 4, SK_WANT_READABLE);
        /* The request is taken in before the write ends: somebody waits, or has been answered.  */
        while (!others && !(pager_page_word(p.world.pager, page_offset(4)) & 0x1fffe00))
            sched_yield();
        store_open_gate(&p.world, CALL_WRITE);
        wait_page(y, 4, SK_WANT_READABLE);
        assert_int_equal(byte_of(y, 4), 44);
        assert_true(is_precious(y, 4));
        if (scripted(&p)) {
            struct sk_message supply;
            assert_int_equal(sk_last_message(y->object, SK_DATA_SUPPLY, &supply), 0);
            assert_true(supply.precious);
        }
        world_settle(&p.world);
        assert_int_equal(store_byte(&p.world, 4), 44);
        assert_int_equal(store_count(&p.world, CALL_EVICT), 0);
        evict(y, 4);
        store_wait_count(&p.world, CALL_EVICT, 1);
        assert_int_equal(store_count(&p.world, CALL_READ), 1);
        party_close(&p);
    }
}

/* "one object's requests never overlap, so one disk has one read in flight": not unless the translator opts in.  */
static void test_reads_in_flight(void **state)
{
    struct party p;
    party_open(&p, state, 0, 16, 0);
    struct client *object = party_join(&p);
    assert_int_equal(pager_set_concurrent_reads(p.world.pager, 0), EINVAL);
    assert_int_equal(pager_set_concurrent_reads(p.world.pager, 65), EINVAL);
    for (int count = 1; count <= 4; count += 3) {
        assert_int_equal(pager_set_concurrent_reads(p.world.pager, count), 0);
        store_close_gate(&p.world, CALL_READ);
        size_t first = count == 1 ? 0 : 8;
        for (size_t i = 0; i < 8; i++)
            ask(object, first + i, VM_PROT_READ);
        store_wait_gate(&p.world, CALL_READ, count);
        world_fence(&p.world);
        assert_int_equal(p.world.store->waiting[CALL_READ], count);
        store_open_gate(&p.world, CALL_READ);
        for (size_t i = 0; i < 8; i++)
            wait_page(object, first + i, SK_WANT_READABLE);
        assert_int_equal(p.world.store->max_reads, count);
    }
    party_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_get_error_beyond_the_map),
        BOTH(test_flush_beyond_the_map),
        BOTH(test_waiting_data_is_precious_after_a_write),
        BOTH(test_reads_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
