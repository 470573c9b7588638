/* The shortest way through everything: one kernel, then two; real addresses.  */

#include "land.h"

/* A touch is a page fault, which is answered with the store's data, by one page-in.  */
static void test_reads(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory m = land_map(&land, 0, 0, 8, RW);
    assert_int_equal(store_count(&land.world, CALL_READ), 0);
    assert_int_equal(peek(at(m, 3)), 4);
    assert_int_equal(*(at(m, 4) - 1), 4);
    assert_int_equal(store_count(&land.world, CALL_READ), 1);
    unmap(m, 8);
    land_close(&land);
}

/* What is written comes back with the last unmap, before the pager is told.  */
static void test_writes(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory m = land_map(&land, 0, 0, 8, RW);
    poke(at(m, 2), 77);
    assert_true(page_info(at(m, 2)).dirty);
    assert_int_equal(peek(at(m, 1)), 2);
    assert_false(page_info(at(m, 1)).dirty);
    poke(at(m, 1), 78);                 /* a write fault after the read */
    assert_true(page_info(at(m, 1)).dirty);
    unmap(m, 8);
    world_settle(&land.world);
    assert_int_equal(store_byte(&land.world, 2), 77);
    assert_int_equal(store_byte(&land.world, 1), 78);
    assert_int_equal(store_byte(&land.world, 3), 4);
    assert_int_equal(statistics(&land, 0).objects, 0);
    land_close(&land);
}

static void test_sync_flush_return(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory m = land_map(&land, 0, 0, 8, RW);
    poke(at(m, 0), 50);
    pager_sync(land.world.pager, 1);
    assert_int_equal(store_byte(&land.world, 0), 50);
    assert_int_equal(page_info(m).state, MK_PAGE_PRESENT);
    assert_false(page_info(m).dirty);
    poke(at(m, 0), 51);                 /* caught again */
    assert_true(page_info(m).dirty);
    assert_int_equal(store_byte(&land.world, 0), 50);
    pager_return(land.world.pager, 1);
    assert_int_equal(store_byte(&land.world, 0), 51);
    assert_int_equal(page_info(m).state, MK_PAGE_ABSENT);
    assert_int_equal(peek(m), 51);
    poke(m, 52);
    pager_flush(land.world.pager, 1);   /* what was written is gone */
    assert_int_equal(page_info(m).state, MK_PAGE_ABSENT);
    assert_int_equal(peek(m), 51);
    unmap(m, 8);
    land_close(&land);
}

/* What one kernel writes, the other reads, without the store in between.  */
static void test_two_kernels(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 2, 8, 0);
    memory a = land_map(&land, 0, 0, 8, RW), b = land_map(&land, 1, 0, 8, RW);
    poke(a, 77);
    assert_int_equal(peek(b), 77);
    poke(b, 78);
    assert_int_equal(peek(a), 78);
    for (int i = 0; i < 100; i++) {
        poke(i & 1 ? a : b, (unsigned char) i);
        assert_int_equal(peek(i & 1 ? b : a), i);
    }
    unmap(a, 8);
    unmap(b, 8);
    land_close(&land);
}

/* Without mk_enter a thread maps through the default kernel, which is made for it.  */
static void test_default_kernel(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    vm_address_t a = 0, b = 0;
    assert_null(mk_enter(NULL));
    assert_int_equal(vm_map(mach_task_self(), &a, vm_page_size, 0, TRUE, land.world.port, 0, FALSE, RW, RW, VM_INHERIT_NONE), 0);
    mk_enter(land.kernels[0]);
    assert_int_equal(vm_map(mach_task_self(), &b, vm_page_size, 0, TRUE, land.world.port, 0, FALSE, RW, RW, VM_INHERIT_NONE), 0);
    assert_ptr_equal(mk_enter(NULL), land.kernels[0]);
    poke((memory) a, 9);
    assert_int_equal(peek((memory) b), 9);
    assert_int_equal(statistics(&land, 0).mappings, 1);
    assert_int_equal(world_statistics(&land.world).clients, 2);
    unmap((memory) a, 1);
    unmap((memory) b, 1);
    mk_kernel_destroy(NULL);
    land_close(&land);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_writes),
        cmocka_unit_test(test_sync_flush_return),
        cmocka_unit_test(test_two_kernels),
        cmocka_unit_test(test_default_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
