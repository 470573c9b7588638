/* The write-back with pager_write_pages: pages that came back one by one and lie next to each other in the object are written by
   one call; order, errors and superseded versions are those of single writes.  */

#include "client.h"

/* Two clients, so that returned pages go through the queue; the write of the last page holds everything up.  */
static void open_behind_a_write(struct party *c, void **state, size_t pages)
{
    party_open(c, state, 2, pages, 0);
    for (size_t page = 0; page < pages; page++)
        put(c->clients[0], page, (unsigned char) (100 + page));
    store_close_gate(&c->world, CALL_WRITE);
    evict(c->clients[0], pages - 1);
    store_wait_gate(&c->world, CALL_WRITE, 1);
}

static void go_on(struct party *c)
{
    fence(c);
    store_open_gate(&c->world, CALL_WRITE);
    world_settle(&c->world);
}

static void assert_stored(struct party *c, size_t first, size_t count)
{
    for (size_t page = first; page < first + count; page++)
        assert_int_equal(store_byte(&c->world, page), 100 + page);
}

/* Single returns, in whatever order, become one call for the run.  */
static void test_single_returns_are_written_together(void **state)
{
    struct party c;
    open_behind_a_write(&c, state, 9);
    store_multi_write(&c.world, 64);
    static const size_t order[] = { 2, 4, 3, 5, 6 };
    for (size_t i = 0; i < 5; i++)
        evict(c.clients[0], order[i]);
    go_on(&c);
    assert_int_equal(store_count(&c.world, CALL_WRITES), 1);
    struct call_record call = store_call(&c.world, CALL_WRITES, 0);
    assert_int_equal(call.page, page_offset(2));
    assert_int_equal(call.length, page_offset(5));
    assert_stored(&c, 2, 5);
    assert_int_equal(world_statistics(&c.world).page_outs, 6);
    party_close(&c);
}

/* A gap ends the run; what does not adjoin is written by itself.  */
static void test_a_gap_ends_the_run(void **state)
{
    struct party c;
    open_behind_a_write(&c, state, 9);
    store_multi_write(&c.world, 64);
    evict(c.clients[0], 0);
    evict(c.clients[0], 1);
    evict(c.clients[0], 3);
    go_on(&c);
    assert_int_equal(store_count(&c.world, CALL_WRITES), 1);
    assert_int_equal(store_call(&c.world, CALL_WRITES, 0).length, page_offset(2));
    assert_int_equal(store_count(&c.world, CALL_WRITE), 2);
    assert_stored(&c, 0, 2);
    assert_stored(&c, 3, 1);
    party_close(&c);
}

/* A translator that cannot is asked once, not for every run; the pages are written in the order in which they came.  */
static void test_not_supported_is_asked_once(void **state)
{
    struct party c;
    open_behind_a_write(&c, state, 9);
    evict(c.clients[0], 0);
    evict(c.clients[0], 1);
    go_on(&c);
    assert_stored(&c, 0, 2);
    store_multi_write(&c.world, 64);
    put(c.clients[0], 8, 108);
    store_close_gate(&c.world, CALL_WRITE);
    evict(c.clients[0], 8);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    for (size_t page = 4; page >= 2; page--)
        evict(c.clients[0], page);
    go_on(&c);
    assert_int_equal(store_count(&c.world, CALL_WRITES), 0);
    assert_stored(&c, 2, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(store_call(&c.world, CALL_WRITE, 4 + i).page, page_offset(4 - i));
    party_close(&c);
}

/* An error in the middle of a gathered run is that page's alone.  */
static void test_error_in_a_gathered_run(void **state)
{
    struct party c;
    open_behind_a_write(&c, state, 9);
    store_multi_write(&c.world, 64);
    c.world.store->multi_prefix = 2;
    store_fail(&c.world, CALL_WRITES, ENOSPC, 1);
    for (size_t page = 0; page < 5; page++)
        evict(c.clients[0], page);
    go_on(&c);
    for (size_t page = 0; page < 5; page++)
        assert_int_equal(pager_get_error(c.world.pager, page_offset(page)), page == 2 ? ENOSPC : 0);
    assert_stored(&c, 0, 2);
    assert_stored(&c, 3, 2);
    assert_int_equal(store_byte(&c.world, 2), 3);
    party_close(&c);
}

/* While the run is being written a page of it is handed on and comes back changed: written again, afterwards; the newest wins.  */
static void test_newer_version_beside_a_gathered_run(void **state)
{
    struct party c;
    open_behind_a_write(&c, state, 9);
    store_multi_write(&c.world, 64);
    for (size_t page = 0; page < 4; page++)
        evict(c.clients[0], page);
    fence(&c);
    store_close_gate(&c.world, CALL_WRITES);
    store_open_gate(&c.world, CALL_WRITE);
    store_wait_gate(&c.world, CALL_WRITES, 1);
    put(c.clients[1], 2, 77);
    evict(c.clients[1], 2);
    fence(&c);
    store_open_gate(&c.world, CALL_WRITES);
    pager_sync(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 2), 77);
    assert_stored(&c, 0, 2);
    assert_stored(&c, 3, 1);
    assert_int_equal(c.world.store->overlaps, 0);
    party_close(&c);
}

/* A run has a bound; what is beyond it is the next one.  */
static void test_runs_are_bounded(void **state)
{
    enum { PAGES = 150 };
    struct party c;
    open_behind_a_write(&c, state, PAGES + 2);
    store_multi_write(&c.world, PAGES);
    for (size_t page = 0; page < PAGES; page++)
        evict(c.clients[0], page);
    go_on(&c);
    assert_true(store_count(&c.world, CALL_WRITES) >= 2);
    for (unsigned i = 0; i < store_count(&c.world, CALL_WRITES); i++)
        assert_true(store_call(&c.world, CALL_WRITES, i).length <= page_offset(64));
    for (size_t page = 0; page < PAGES; page++)
        assert_int_equal(store_byte(&c.world, page), (unsigned char) (page + 100));
    party_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_single_returns_are_written_together),
        BOTH(test_a_gap_ends_the_run),
        BOTH(test_not_supported_is_asked_once),
        BOTH(test_error_in_a_gathered_run),
        BOTH(test_newer_version_beside_a_gathered_run),
        BOTH(test_runs_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
