/* Rule 5: a client that dies or terminates, and one that comes again, never stops the others and never corrupts a page.  */

#include "client.h"

/* ---- Going away, in every role ---- */

/* (Those for which a message is held back are in ../pager/test_misbehave.c.)  */
enum role { READER, WRITER, DIRTY_WRITER, UNLOCKING, PAGING_IN, UNLOCKED_FIRST, WRITTEN_BACK, ROLES };

/* Client V gets into its role with page 0.  */
static void take_role(struct world *world, struct client *v, enum role role)
{
    switch (role) {
    case READER:
        get(v, 0);
        break;
    case WRITER:
        put(v, 0, 77);
        pager_sync(world->pager, 1);
        break;
    case DIRTY_WRITER:
        put(v, 0, 77);
        break;
    case UNLOCKING:
        store_write_lock(world, 1);
        get(v, 0);
        store_close_gate(world, CALL_UNLOCK);
        ask_unlock(v, 0);
        store_wait_gate(world, CALL_UNLOCK, 1);
        break;
    case PAGING_IN:
        store_close_gate(world, CALL_READ);
        ask(v, 0, RW);
        store_wait_gate(world, CALL_READ, 1);
        break;
    case UNLOCKED_FIRST:
        store_write_lock(world, 1);
        store_close_gate(world, CALL_UNLOCK);
        ask(v, 0, RW);
        store_wait_gate(world, CALL_UNLOCK, 1);
        break;
    case WRITTEN_BACK:
        put(v, 0, 77);
        store_close_gate(world, CALL_WRITE);
        evict(v, 0);
        store_wait_gate(world, CALL_WRITE, 1);
        break;
    case ROLES:
        break;
    }
}

/* What the page has after V has gone.  */
static unsigned char left_behind(enum role role, int dies)
{
    return role == WRITER || role == WRITTEN_BACK || (role == DIRTY_WRITER && !dies) ? 77 : 1;
}

static void go_away(void **state, int kernels, int dies, int notify)
{
    for (enum role role = 0; role < ROLES; role++) {
        struct party c;
        party_open(&c, state, kernels, 4, notify);
        int victim = kernels - 1;
        struct client *v = c.clients[victim], *b = c.clients[kernels - 2];
        take_role(&c.world, v, role);
        if (dies)
            die(v);
        else
            terminate(v);
        end_all(v);
        wait_clients(&c, (unsigned) kernels - 1);
        for (int call = 0; call < CALL_COUNT; call++)
            store_open_gate(&c.world, call);
        assert_int_equal(get(b, 0), left_behind(role, dies));
        put(b, 0, 90);
        for (int i = 0; i < victim; i++)
            assert_int_equal(get(c.clients[i], 0), 90);
        /* Nobody has a trace of it; its number may come again.  */
        world_settle(&c.world);
        assert_int_equal(access_of(&c, 0, (unsigned) victim), -1);
        struct client *next = party_join(&c);
        assert_int_equal(get(next, 0), 90);
        put(next, 0, 91);
        pager_return(c.world.pager, 1);
        world_settle(&c.world);
        assert_int_equal(store_byte(&c.world, 0), 91);
        assert_at_rest(&c);
        assert_int_equal(world_statistics(&c.world).descriptors, 0);
        party_close(&c);
    }
}

/* A client's dead name, in every role that it may have with a page.  */
static void test_client_dies_in_every_role(void **state)
{
    go_away(state, 2, 1, 0);
    go_away(state, 2, 1, 1);
}

/* The same for a client whose pages need descriptors.  */
static void test_client_beyond_the_fourth_dies_in_every_role(void **state)
{
    go_away(state, 6, 1, 0);
    go_away(state, 6, 1, 1);
}

/* A client's terminate, in every role: what was dirty is not lost.  */
static void test_client_terminates_in_every_role(void **state)
{
    go_away(state, 2, 0, 0);
    go_away(state, 2, 0, 1);
}

/* The same for a client whose pages need descriptors.  */
static void test_client_beyond_the_fourth_terminates_in_every_role(void **state)
{
    go_away(state, 6, 0, 0);
    go_away(state, 6, 0, 1);
}

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
        BOTH(test_client_dies_in_every_role),
        BOTH(test_client_beyond_the_fourth_dies_in_every_role),
        BOTH(test_client_terminates_in_every_role),
        BOTH(test_client_beyond_the_fourth_terminates_in_every_role),
        BOTH(test_terminate_with_dirty_pages_and_init_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
