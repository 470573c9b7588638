/* The limit on a kernel's pages, offers, and objects that stay cached.  */

#include "land.h"

static bool over_limit(struct land *land, size_t limit) { return statistics(land, 0).resident_pages > limit; }

/* 64 MB through 4 MB: every page is written, pushed out by itself, read back and compared.  MAPPING_LARGE_MB: more.  */
static void test_large(void **state)
{
    (void) state;
    const char *megabytes = getenv("MAPPING_LARGE_MB");
    const size_t PAGES = (megabytes ? (size_t) atoi(megabytes) : 64) * 1048576 / vm_page_size, CACHE = PAGES / 16;
    struct land land;
    land_open(&land, 1, PAGES, CACHE);
    memory m = land_map(&land, 0, 0, PAGES, RW);
    for (size_t i = 0; i < PAGES; i++) {
        volatile uint64_t *words = (volatile uint64_t *) at(m, i);
        words[0] = i * 7;
        words[511] = ~i;
        if (i % 1024 == 1023)
            assert_false(over_limit(&land, CACHE + 1));
    }
    for (size_t i = 0; i < PAGES; i++) {
        volatile uint64_t *words = (volatile uint64_t *) at(m, i);
        assert_int_equal(words[0], i * 7);
        assert_int_equal(words[511], ~i);
        if (i % 1024 == 1023)
            assert_false(over_limit(&land, CACHE + 1));
    }
    struct mk_statistics figures = statistics(&land, 0);
    assert_true(figures.evicted_dirty >= PAGES - CACHE);
    assert_true(figures.evictions - figures.evicted_dirty > PAGES - 3 * CACHE); /* clean ones go silently */
    assert_int_equal(figures.failed_sends, 0);
    unmap(m, PAGES);
    world_settle(&land.world);
    for (size_t i = 0; i < PAGES; i++)
        assert_int_equal(*(uint64_t *) (land.world.store->data + i * vm_page_size), i * 7);
    land_close(&land);
}

/* Pages that are used stay: a hot set that is read between others is brought once, and so are the others.  (A late thread may
   push out a little more than is needed: two workers have brought a page each, and both make room.)  */
static void test_second_chance(void **state)
{
    (void) state;
    enum { PAGES = 2000, HOT = 16, CACHE = 64 };
    struct land land;
    land_open(&land, 1, PAGES, CACHE);
    memory m = land_map(&land, 0, 0, PAGES, RW);
    for (size_t i = HOT; i < PAGES; i++) {
        assert_int_equal(peek(at(m, i)), (unsigned char) (i + 1));
        for (size_t j = 0; j < HOT; j++)
            assert_int_equal(peek(at(m, j)), j + 1);
    }
    unsigned reads = store_count(&land.world, CALL_READ);
    assert_true(reads < PAGES + PAGES / 20);
    assert_true(statistics(&land, 0).second_chances > 0);
    land_close(&land);
}

/* Two objects share one kernel's limit; another kernel has its own.  */
static void test_two_objects(void **state)
{
    (void) state;
    struct land land;
    struct world other;
    land_open(&land, 2, 200, 50);
    world_join(&other, &land.world, 200, 0);
    memory a = land_map(&land, 0, 0, 200, RW), c = land_map(&land, 1, 0, 30, RW);
    vm_address_t address = 0;
    mk_enter(land.kernels[0]);
    assert_int_equal(vm_map(mach_task_self(), &address, 200 * vm_page_size, 0, TRUE, other.port, 0, FALSE, RW, RW, VM_INHERIT_NONE),
                     KERN_SUCCESS);
    mk_enter(NULL);
    memory b = (memory) address;
    for (size_t i = 0; i < 30; i++)
        assert_int_equal(peek(at(c, i)), i + 1);
    for (size_t i = 0; i < 200; i++) {
        poke(at(a, i) + 1, (unsigned char) i);
        poke(at(b, i) + 1, (unsigned char) (i + 3));
    }
    (void) page_info(at(b, 199));
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(peek(at(a, i) + 1), i);
        assert_int_equal(peek(at(b, i) + 1), (unsigned char) (i + 3));
    }
    assert_int_equal(statistics(&land, 0).objects, 2);
    unmap(b, 200);
    unmap(a, 200);
    world_settle(&land.world);
    assert_int_equal(other.store->data[vm_page_size * 199 + 1], (unsigned char) 202);
    land_lose(&land, 0);
    land_lose(&land, 1);
    world_close(&other);
    land_close(&land);
}

/* The limit is lowered: the next supply makes room.  Without a limit nothing goes.  */
static void test_set_limit(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 300, 0);
    memory m = land_map(&land, 0, 0, 300, RW);
    for (size_t i = 0; i < 299; i++)
        poke(at(m, i), (unsigned char) (i + 9));
    (void) page_info(at(m, 298));
    assert_int_equal(statistics(&land, 0).resident_pages, 299);
    mk_kernel_set_cache(land.kernels[0], 20);
    poke(at(m, 299), 1);
    world_settle(&land.world);
    assert_true(statistics(&land, 0).resident_pages <= 20);
    for (size_t i = 0; i < 299; i++)
        assert_int_equal(peek(at(m, i)), (unsigned char) (i + 9));
    land_close(&land);
}

/* Notification of eviction: precious pages come back one by one when pushed out.  */
static void test_precious_eviction(void **state)
{
    (void) state;
    struct land land;
    land_open_with(&land, 1, 100, 20, 0, MEMORY_OBJECT_COPY_DELAY, 1);
    memory m = land_map(&land, 0, 0, 100, RW);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(peek(at(m, i)), i + 1);
    store_wait_count(&land.world, CALL_EVICT, 79);
    assert_int_equal(store_count(&land.world, CALL_WRITE), 0);
    unmap(m, 100);
    store_wait_count(&land.world, CALL_EVICT, 100);
    assert_int_equal(store_count(&land.world, CALL_WRITE), 0);
    land_close(&land);
}

/* Pages that the translator offers unasked are there without a request.  */
static void test_offer(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 16, 0);
    memory m = land_map(&land, 0, 0, 16, RW);
    for (size_t i = 0; i < 8; i++) {
        vm_address_t page = 0;
        assert_int_equal(vm_allocate(mach_task_self(), &page, vm_page_size, TRUE), KERN_SUCCESS);
        memset((void *) page, (int) i + 200, vm_page_size);
        pager_offer_page(land.world.pager, 0, i == 3, page_offset(i), page);
        vm_deallocate(mach_task_self(), page, vm_page_size);
    }
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(peek(at(m, i)), i + 200);
    assert_int_equal(store_count(&land.world, CALL_READ), 0);
    assert_int_equal(statistics(&land, 0).requests, 0);
    poke(at(m, 2), 1);
    poke(at(m, 3), 2);
    assert_int_equal(store_count(&land.world, CALL_UNLOCK), 1);
    pager_sync(land.world.pager, 1);
    assert_int_equal(store_byte(&land.world, 2), 1);
    assert_int_equal(store_byte(&land.world, 3), 2);
    land_close(&land);
}

/* may_cache: the pages survive the last unmap.  Without: they go back, and the next mapping begins anew.  */
static void test_may_cache(void **state)
{
    (void) state;
    struct land land;
    land_open_with(&land, 1, 16, 0, 1, MEMORY_OBJECT_COPY_DELAY, 0);
    memory m = land_map(&land, 0, 0, 16, RW);
    poke(at(m, 1), 50);
    assert_int_equal(peek(at(m, 2)), 3);
    unmap(m, 16);
    assert_int_equal(statistics(&land, 0).objects, 1);
    world_settle(&land.world);
    assert_int_equal(store_byte(&land.world, 1), 2);
    pager_sync(land.world.pager, 1);    /* an object that nobody has mapped is synced too */
    assert_int_equal(store_byte(&land.world, 1), 50);
    m = land_map(&land, 0, 1, 2, RW);
    assert_int_equal(peek(m), 50);
    assert_int_equal(peek(at(m, 1)), 3);
    assert_int_equal(store_count(&land.world, CALL_READ), 2);
    poke(m, 51);
    pager_change_attributes(land.world.pager, 0, MEMORY_OBJECT_COPY_NONE, 1);
    assert_int_equal(peek(m), 51);
    unmap(m, 2);
    assert_int_equal(statistics(&land, 0).objects, 0);
    world_settle(&land.world);
    assert_int_equal(store_byte(&land.world, 1), 51);
    for (int i = 0; i < 50; i++) {      /* objects are used again, and none is left over */
        m = land_map(&land, 0, 0, 4, RW);
        poke(m, (unsigned char) i);
        unmap(m, 4);
    }
    m = land_map(&land, 0, 0, 4, RW);
    assert_int_equal(peek(m), 49);
    unmap(m, 4);
    land_close(&land);
}

/* Shutting the pager down takes everything; what is mapped is SIGBUS afterwards.  */
static void test_shutdown(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 2, 16, 0);
    memory a = land_map(&land, 0, 0, 16, RW), b = land_map(&land, 1, 0, 16, RW);
    poke(at(a, 1), 50);
    poke(at(b, 2), 51);
    pager_shutdown(land.world.pager);
    assert_int_equal(store_byte(&land.world, 1), 50);
    assert_int_equal(store_byte(&land.world, 2), 51);
    unsigned char byte;
    assert_int_equal(touch_read(at(a, 1), &byte), SIGBUS);
    assert_int_equal(touch_write(at(b, 5), 1), SIGBUS);
    unmap(a, 16);
    land_close(&land);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_second_chance),
        cmocka_unit_test(test_two_objects),
        cmocka_unit_test(test_set_limit),
        cmocka_unit_test(test_precious_eviction),
        cmocka_unit_test(test_offer),
        cmocka_unit_test(test_may_cache),
        cmocka_unit_test(test_shutdown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
