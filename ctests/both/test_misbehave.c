/* Rule 5, for clients that behave: one that goes and comes again stops nobody and loses nothing.  */

#include "client.h"

/* Terminate with many dirty pages, and init again by the same kernel, over and over: nothing is lost, numbers are used again.  */
static void test_terminate_with_dirty_pages_and_init_again(void **state)
{
    enum { PAGES = 40 };
    for (int kernels = 1; kernels < 3; kernels++) {
        struct party c;
        party_open(&c, state, kernels, PAGES, 1);
        store_multi_write(&c.world, 8);
        for (unsigned char round = 1; round < 6; round++) {
            for (size_t page = 0; page < PAGES; page++)
                put(c.clients[0], page, (unsigned char) (round * 40 + page));
            terminate(c.clients[0]);
            if (scripted(&c))
                assert_int_equal(sk_terminate(c.clients[0]->object), EINVAL);
            come_back(c.clients[0]);
            for (size_t page = 0; page < PAGES; page++)
                assert_int_equal(get(c.clients[kernels - 1], page), (unsigned char) (round * 40 + page));
        }
        world_settle(&c.world);
        assert_int_equal(world_statistics(&c.world).clients, kernels);
        assert_int_equal(access_of(&c, 0, 4), -1);
        assert_int_equal(world_statistics(&c.world).refused, 0);
        party_close(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_terminate_with_dirty_pages_and_init_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
