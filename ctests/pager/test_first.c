/* The shortest way through everything: one kernel, then two.  */

#include "store.h"

/* A read fault is answered with the store's data, by one page-in.  */
static void test_one_kernel_reads(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 8, 0);
    sk_kernel *kernel = sk_kernel_create("A");
    sk_object *object = sk_map(kernel, world.port);
    unsigned char byte = 0;
    assert_int_equal(kernel_read(object, 3, &byte), 0);
    assert_int_equal(byte, 4);
    assert_int_equal(store_count(&world, CALL_READ), 1);
    assert_int_equal(sk_terminate(object), 0);
    sk_kernel_destroy(kernel);
    world_close(&world);
}

/* What one kernel writes, the other reads, without the store in between.  */
static void test_two_kernels_share(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 8, 0);
    sk_kernel *a = sk_kernel_create("A"), *b = sk_kernel_create("B");
    sk_object *x = sk_map(a, world.port), *y = sk_map(b, world.port);
    unsigned char byte = 0;
    assert_int_equal(kernel_write(x, 0, 77), 0);
    assert_int_equal(kernel_read(y, 0, &byte), 0);
    assert_int_equal(byte, 77);
    assert_int_equal(kernel_write(y, 0, 78), 0);
    assert_int_equal(kernel_read(x, 0, &byte), 0);
    assert_int_equal(byte, 78);
    pager_sync(world.pager, 1);
    assert_int_equal(store_byte(&world, 0), 78);
    sk_kernel_destroy(a);
    sk_kernel_destroy(b);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_kernel_reads),
        cmocka_unit_test(test_two_kernels_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
