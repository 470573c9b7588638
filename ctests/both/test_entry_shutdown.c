/* pager_shutdown: what it brings home, whom it waits for, and that it may be called again.  */

#include "client.h"

static int shut_down(void *world)
{
    pager_shutdown(((struct world *) world)->pager);
    return 0;
}

static mach_port_type_t type_of(mach_port_t name)
{
    mach_port_type_t type = 0;
    return mach_port_type(mach_task_self(), name, &type) == KERN_SUCCESS ? type : 0;
}

/* Everything is written back and taken, from every client; the receive right is dead (section 3).  */
static void test_shutdown_writes_back_and_takes_everything(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++) {
        struct scene scene;
        scene_open(&scene, state, 100, kernels, 0);
        unsigned char byte;
        for (size_t i = 0; i < 100; i += 3) {
            assert_int_equal(try_write(scene.x, i, 200), 0);
            assert_int_equal(try_read(kernels > 1 ? scene.y : scene.x, i + (i < 99), &byte), 0);
        }
        pager_shutdown(scene.party.world.pager);
        for (size_t i = 0; i < 100; i++)
            assert_int_equal(store_byte(&scene.party.world, i), i % 3 == 0 ? 200 : i + 1);
        assert_int_equal(resident(scene.x), 0);
        if (kernels > 1)
            assert_int_equal(resident(scene.y), 0);
        struct pager_page_census census;
        pager_take_census(scene.party.world.pager, &census);
        assert_int_equal(census.readers + census.writers + census.busy + census.held, 0);
        assert_true(type_of(scene.party.world.port) & MACH_PORT_TYPE_DEAD_NAME);
        assert_int_equal(pager_get_port(scene.party.world.pager), MACH_PORT_NULL);
        /* The caller's reference stays; nobody can map it any more.  */
        assert_ptr_equal(pager_get_upi(scene.party.world.pager), scene.party.world.store);
        assert_int_equal(scene.party.world.store->cleared, 0);
        assert_int_not_equal(party_visit(&scene.party), 0);
        scene_close(&scene);
    }
}

/* With notices of evictions: one for each page (section 3).  */
static void test_shutdown_tells_evictions(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++) {
        struct scene scene;
        scene_open(&scene, state, 8, kernels, 1);
        unsigned char byte;
        for (size_t i = 0; i < 8; i++) {
            assert_int_equal(try_read(scene.x, i, &byte), 0);
            if (kernels > 1)
                assert_int_equal(try_read(scene.y, i, &byte), 0);
        }
        assert_int_equal(try_write(scene.x, 3, 50), 0);
        pager_shutdown(scene.party.world.pager);
        assert_int_equal(store_count(&scene.party.world, CALL_EVICT), 8);
        assert_int_equal(store_byte(&scene.party.world, 3), 50);
        scene_close(&scene);
    }
}

/* It waits for writes under way, and what fails to be written is not tried for ever (sections 3 and 4, R11).  */
static void test_shutdown_waits_for_writes(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++)
        for (int fails = 0; fails < 2; fails++) {
            struct scene scene;
            scene_open(&scene, state, 8, kernels, 0);
            assert_int_equal(try_write(scene.x, 1, 50), 0);
            assert_int_equal(try_write(scene.x, 2, 51), 0);
            store_close_gate(&scene.party.world, CALL_WRITE);
            if (fails)
                store_fail(&scene.party.world, CALL_WRITE, ENOSPC, -1);
            evict(scene.x, 1);
            store_wait_gate(&scene.party.world, CALL_WRITE, 1);
            struct task task;
            task_begin(&task, shut_down, &scene.party.world);
            /* It has begun: it asks for page 2.  */
            wait_answers(scene.x, 1);
            assert_true(task_waits(&task));
            store_open_gate(&scene.party.world, CALL_WRITE);
            task_end(&task);
            assert_int_equal(store_byte(&scene.party.world, 1), fails ? 2 : 50);
            assert_int_equal(store_byte(&scene.party.world, 2), fails ? 3 : 51);
            assert_int_equal(pager_get_error(scene.party.world.pager, page_offset(1)), fails ? ENOSPC : 0);
            scene_close(&scene);
        }
}

/* Patience is for clients: a store that is slower loses nobody's data (hurd/pager.h: a *client* that does not answer is given
   up).  */
static void test_shutdown_is_patient_with_the_store(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++) {
        struct scene scene;
        scene_open(&scene, state, 8, kernels, 0);
        for (size_t i = 1; i < 8; i += 2)
            assert_int_equal(try_write(scene.x, i, (unsigned char) (50 + i)), 0);
        store_close_gate(&scene.party.world, CALL_WRITE);
        pager_set_shutdown_patience(scene.party.world.pager, 1);
        struct task task;
        task_begin(&task, shut_down, &scene.party.world);
        store_wait_gate(&scene.party.world, CALL_WRITE, 1);
        /* Its time is over by far.  */
        assert_true(task_waits(&task));
        store_open_gate(&scene.party.world, CALL_WRITE);
        task_end(&task);
        for (size_t i = 1; i < 8; i += 2)
            assert_int_equal(store_byte(&scene.party.world, i), 50 + i);
        scene_close(&scene);
    }
}

/* A second call waits for the first, a third does nothing; from a thread each (section 3).  */
static void test_shutdown_twice(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 8, 1, 0);
    assert_int_equal(try_write(scene.x, 1, 50), 0);
    store_close_gate(&scene.party.world, CALL_WRITE);
    struct task tasks[3];
    for (int i = 0; i < 3; i++)
        task_begin(&tasks[i], shut_down, &scene.party.world);
    store_wait_gate(&scene.party.world, CALL_WRITE, 1);
    for (int i = 0; i < 3; i++)
        assert_true(task_waits(&tasks[i]));
    store_open_gate(&scene.party.world, CALL_WRITE);
    for (int i = 0; i < 3; i++)
        task_end(&tasks[i]);
    assert_int_equal(store_byte(&scene.party.world, 1), 50);
    pager_shutdown(scene.party.world.pager);
    assert_int_equal(scene.party.world.store->cleared, 0);
    scene_close(&scene);
}

/* Nobody has mapped the object, or everybody has gone (R11).  */
static void test_shutdown_without_clients(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 8, 0, 1);
    pager_shutdown(scene.party.world.pager);
    assert_int_equal(store_count(&scene.party.world, CALL_EVICT), 0);
    scene_close(&scene);
    scene_open(&scene, state, 8, 2, 1);
    assert_int_equal(try_write(scene.x, 1, 50), 0);
    terminate(scene.x);
    die(scene.y);
    pager_shutdown(scene.party.world.pager);
    assert_int_equal(store_byte(&scene.party.world, 1), 50);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_shutdown_writes_back_and_takes_everything),
        BOTH(test_shutdown_tells_evictions),
        BOTH(test_shutdown_waits_for_writes),
        BOTH(test_shutdown_is_patient_with_the_store),
        BOTH(test_shutdown_twice),
        BOTH(test_shutdown_without_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
