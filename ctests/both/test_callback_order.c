/* The translator's callbacks among each other: their order, what may run beside what, and callbacks that wait.  */

#include "client.h"

/* Callbacks of one object come in the order of the requests, one at a time, reads and writes and unlocks alike (section 3).  */
static void test_callbacks_in_the_order_of_the_requests(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 16, 1, 0);
    unsigned char byte;
    assert_int_equal(try_write(scene.x, 9, 1), 0);
    assert_int_equal(try_write(scene.x, 10, 1), 0);
    store_write_lock(&scene.party.world, 1);
    assert_int_equal(try_read(scene.x, 11, &byte), 0);
    /* Whoever read the pages is done: else what comes back would wait for him.  */
    world_settle(&scene.party.world);
    scene.party.world.store->logged = 0;
    store_close_gate(&scene.party.world, CALL_READ);
    ask(scene.x, 5, VM_PROT_READ);
    store_wait_gate(&scene.party.world, CALL_READ, 1);
    ask(scene.x, 3, VM_PROT_READ);
    evict(scene.x, 10);
    ask_unlock(scene.x, 11);
    ask(scene.x, 1, VM_PROT_READ);
    evict(scene.x, 9);
    ask(scene.x, 4, VM_PROT_READ);
    fence(&scene.party);
    assert_int_equal(scene.party.world.store->running, 1);
    store_open_gate(&scene.party.world, CALL_READ);
    static const size_t asked[] = { 5, 3, 11, 1, 4 };
    for (size_t i = 0; i < 5; i++)
        wait_page(scene.x, asked[i], asked[i] == 11 ? SK_WANT_WRITABLE : SK_WANT_PRESENT);
    assert_calls(&scene.party.world, "r5 r3 w10 u11 r1 w9 r4");
    assert_int_equal(scene.party.world.store->max_running, 1);
    scene_close(&scene);
}

/* Writes of one page never overlap, come in order, and end with the newest; older ones that wait may be skipped (sections 3, 4.4,
   R1).  */
static void test_writes_of_a_page_in_order_and_apart(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++) {
        struct scene scene;
        scene_open(&scene, state, 4, kernels, 0);
        assert_int_equal(pager_set_concurrent_reads(scene.party.world.pager, 8), 0);
        store_close_gate(&scene.party.world, CALL_WRITE);
        for (unsigned char i = 50; i < 55; i++) {
            assert_int_equal(try_write(scene.x, 1, i), 0);
            evict(scene.x, 1);
            store_wait_gate(&scene.party.world, CALL_WRITE, 1);
            if (kernels == 1 && i == 50) {
                /* A write that runs with data of its own: who asks waits for it (or not: then this thread's request is served at
                   once).  */
                ask(scene.x, 1, VM_PROT_READ);
                fence(&scene.party);
                store_open_gate(&scene.party.world, CALL_WRITE);
                wait_page(scene.x, 1, SK_WANT_PRESENT);
                assert_int_equal(byte_of(scene.x, 1), 50);
                break;
            }
        }
        store_open_gate(&scene.party.world, CALL_WRITE);
        pager_sync(scene.party.world.pager, 1);
        unsigned writes = store_count(&scene.party.world, CALL_WRITE);
        assert_true(writes >= 1 && writes <= 5);
        for (unsigned i = 1; i < writes; i++)
            assert_true(store_call(&scene.party.world, CALL_WRITE, i).first > store_call(&scene.party.world, CALL_WRITE, i - 1).first);
        assert_int_equal(store_byte(&scene.party.world, 1), kernels == 1 ? 50 : 54);
        assert_int_equal(world_statistics(&scene.party.world).skipped_writes, kernels == 1 ? 0 : 5 - writes);
        assert_int_equal(scene.party.world.store->overlaps, 0);
        scene_close(&scene);
    }
}

static void hook_syncs_others(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    (void) call, (void) page;
    pager_sync_some(store->pager, page_offset(12), page_offset(2), 1);
    pager_return_some(store->pager, page_offset(12), page_offset(2), 1);
    pager_flush_some(store->pager, page_offset(12), page_offset(2), 1);
}

/* A callback may wait for other pages of its object, where nothing is to be written (hurd/pager.h: a call that waits must not
   depend on the very request that it serves).  */
static void test_callbacks_may_wait_for_other_pages(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++) {
        struct scene scene;
        scene_open(&scene, state, 16, kernels, 1);
        store_write_lock(&scene.party.world, 1);
        unsigned char byte;
        assert_int_equal(try_read(scene.x, 12, &byte), 0);
        assert_int_equal(try_read(scene.x, 13, &byte), 0);
        world_settle(&scene.party.world);
        scene.party.world.store->hook = hook_syncs_others;
        assert_int_equal(try_write(scene.x, 1, 50), 0);
        world_settle(&scene.party.world);
        assert_int_equal(state_of(scene.x, 12), SK_PAGE_ABSENT);
        evict(scene.x, 1);
        store_wait_count(&scene.party.world, CALL_EVICT, 3);
        world_settle(&scene.party.world);
        assert_int_equal(store_byte(&scene.party.world, 1), 50);
        scene.party.world.store->hook = NULL;
        scene_close(&scene);
    }
}

static void hook_has_others_written(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    unsigned char *seen = store->hook_argument;
    if (page != page_offset(1))
        return;
    pager_sync_some(store->pager, page_offset(12), page_offset(2), 1);
    pthread_mutex_lock(&store->lock);
    seen[call] = store->data[page_offset(12)] == store->data[page_offset(13)] ? store->data[page_offset(12)] : 0;
    pthread_mutex_unlock(&store->lock);
}

/* The same where something is to be written: other callbacks of the object run while one waits.  */
static void test_callbacks_may_wait_for_writes_of_other_pages(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++)
        for (unsigned reads = 1; reads <= 2; reads++) {
            struct scene scene;
            unsigned char byte, seen[CALL_COUNT] = { 0 };
            scene_open(&scene, state, 16, kernels, 1);
            assert_int_equal(pager_set_concurrent_reads(scene.party.world.pager, reads), 0);
            store_write_lock(&scene.party.world, 1);
            scene.party.world.store->hook_argument = seen;
            scene.party.world.store->hook = hook_has_others_written;
            static const enum call calls[] = { CALL_READ, CALL_UNLOCK, CALL_WRITE, CALL_EVICT };
            for (unsigned char i = 0; i < 4; i++) {
                assert_int_equal(try_write(scene.x, 12, 50 + i), 0);
                assert_int_equal(try_write(scene.x, 13, 50 + i), 0);
                if (calls[i] == CALL_READ) {
                    assert_int_equal(try_read(scene.x, 1, &byte), 0);
                } else if (calls[i] == CALL_UNLOCK) {
                    assert_int_equal(try_write(scene.x, 1, 9), 0);
                } else if (calls[i] == CALL_WRITE) {
                    pager_sync_some(scene.party.world.pager, page_offset(1), vm_page_size, 1);
                } else {
                    evict(scene.x, 1);
                }
                world_settle(&scene.party.world);
                assert_int_equal(seen[calls[i]], 50 + i);
            }
            assert_int_equal(store_byte(&scene.party.world, 1), 9);
            scene.party.world.store->hook = NULL;
            scene_close(&scene);
        }
}

static void hook_waits_for_page_3(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    if (call == CALL_WRITE && page == page_offset(1))
        pager_sync_some(store->pager, page_offset(3), vm_page_size, 1);
}

/* Versions that wait are written in a row where they lie one behind the other; the first may wait for the others all the same.  */
static void test_a_write_may_wait_for_its_neighbours(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 8, 2, 0);
    for (size_t i = 1; i < 5; i++)
        assert_int_equal(try_write(scene.x, i, (unsigned char) (50 + i)), 0);
    world_settle(&scene.party.world);
    scene.party.world.store->logged = 0;
    scene.party.world.store->hook = hook_waits_for_page_3;
    pager_return(scene.party.world.pager, 1);
    assert_calls(&scene.party.world, "w1 w2 w3 w4");
    for (size_t i = 1; i < 5; i++)
        assert_int_equal(store_byte(&scene.party.world, i), 50 + i);
    assert_int_equal(scene.party.world.store->overlaps, 0);
    scene.party.world.store->hook = NULL;
    scene_close(&scene);
}

/* pager_set_concurrent_reads: up to so many reads at once, beside one other callback (pager/extensions.h).  */
static void test_concurrent_reads(void **state)
{
    for (unsigned count = 1; count <= 3; count++) {
        struct scene scene;
        scene_open(&scene, state, 16, 1, 0);
        assert_int_equal(pager_set_concurrent_reads(scene.party.world.pager, count), 0);
        assert_int_equal(try_write(scene.x, 15, 1), 0);
        store_close_gate(&scene.party.world, CALL_READ);
        store_close_gate(&scene.party.world, CALL_WRITE);
        for (size_t i = 0; i < 6; i++)
            ask(scene.x, i, VM_PROT_READ);
        store_wait_gate(&scene.party.world, CALL_READ, (int) count);
        evict(scene.x, 15);
        if (count > 1)
            store_wait_gate(&scene.party.world, CALL_WRITE, 1);
        fence(&scene.party);
        assert_int_equal(scene.party.world.store->running_reads, count);
        assert_int_equal(scene.party.world.store->running, count > 1 ? count + 1 : 1);
        store_open_gate(&scene.party.world, CALL_WRITE);
        store_open_gate(&scene.party.world, CALL_READ);
        for (size_t i = 0; i < 6; i++)
            wait_page(scene.x, i, SK_WANT_PRESENT);
        assert_int_equal(scene.party.world.store->max_reads, count);
        assert_true(scene.party.world.store->max_running <= (int) count + (count > 1));
        scene_close(&scene);
    }
}

/* Its limits: 1 to 64, else EINVAL and no change (pager/extensions.h).  */
static void test_concurrent_reads_limits(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 16, 1, 0);
    assert_int_equal(pager_set_concurrent_reads(scene.party.world.pager, 2), 0);
    assert_int_equal(pager_set_concurrent_reads(scene.party.world.pager, 0), EINVAL);
    assert_int_equal(pager_set_concurrent_reads(scene.party.world.pager, 65), EINVAL);
    assert_int_equal(pager_set_concurrent_reads(scene.party.world.pager, (unsigned) -1), EINVAL);
    store_close_gate(&scene.party.world, CALL_READ);
    for (size_t i = 0; i < 4; i++)
        ask(scene.x, i, VM_PROT_READ);
    store_wait_gate(&scene.party.world, CALL_READ, 2);
    fence(&scene.party);
    assert_int_equal(scene.party.world.store->running, 2);
    store_open_gate(&scene.party.world, CALL_READ);
    for (size_t i = 0; i < 4; i++)
        wait_page(scene.x, i, SK_WANT_PRESENT);
    assert_int_equal(pager_set_concurrent_reads(scene.party.world.pager, 64), 0);
    scene_close(&scene);
}

/* Different objects run side by side (section 3).  */
static void test_objects_side_by_side(void **state)
{
    struct scene scene;
    struct world second;
    scene_open(&scene, state, 4, 1, 0);
    world_join(&second, &scene.party.world, 4, 0);
    struct client *other = client_of(&scene.party, second.port, 4);
    store_close_gate(&scene.party.world, CALL_READ);
    store_close_gate(&second, CALL_READ);
    ask(scene.x, 0, VM_PROT_READ);
    ask(other, 0, VM_PROT_READ);
    store_wait_gate(&scene.party.world, CALL_READ, 1);
    store_wait_gate(&second, CALL_READ, 1);
    store_open_gate(&second, CALL_READ);
    wait_page(other, 0, SK_WANT_PRESENT);
    assert_int_equal(state_of(scene.x, 0), SK_PAGE_REQUESTED);
    store_open_gate(&scene.party.world, CALL_READ);
    wait_page(scene.x, 0, SK_WANT_PRESENT);
    client_free(other);
    world_close(&second);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_callbacks_in_the_order_of_the_requests),
        BOTH(test_writes_of_a_page_in_order_and_apart),
        BOTH(test_callbacks_may_wait_for_other_pages),
        BOTH(test_callbacks_may_wait_for_writes_of_other_pages),
        BOTH(test_a_write_may_wait_for_its_neighbours),
        BOTH(test_concurrent_reads),
        BOTH(test_concurrent_reads_limits),
        BOTH(test_objects_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
