/* The translator's callbacks: when they come, and what becomes of what they say.  */

#include "client.h"

static const int codes[] = { EIO, ENOSPC, EDQUOT, EACCES, 0x40000005 };
enum { CODES = sizeof codes / sizeof *codes };

/* *WRITE_LOCK: supplied read-only; the first write asks pager_unlock_page, whose yes changes the lock (section 3).  */
static void test_write_lock_asks_before_the_first_write(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++) {
        struct scene scene;
        scene_open(&scene, state, 4, kernels, 0);
        store_write_lock(&scene.party.world, 1);
        unsigned char byte;
        assert_int_equal(try_read(scene.x, 1, &byte), 0);
        assert_int_equal(is_writable(scene.x, 1), 0);
        assert_int_equal(access_of(&scene.party, 1, 0), 1);
        assert_int_equal(try_write(scene.x, 1, 50), 0);
        assert_calls(&scene.party.world, "r1 u1");
        assert_int_equal(locks(scene.x), 1);
        if (scripted(&scene.party)) {
            struct sk_message message;
            assert_int_equal(sk_last_message(scene.x->object, SK_LOCK_REQUEST, &message), 0);
            assert_int_equal(message.access, VM_PROT_NONE);
            assert_false(message.should_flush);
            assert_int_equal(message.offset, page_offset(1));
            assert_int_equal(message.length, vm_page_size);
        }
        world_settle(&scene.party.world);
        assert_int_equal(access_of(&scene.party, 1, 0), 3);
        /* Once is enough as long as somebody has the page.  */
        assert_int_equal(try_write(scene.x, 1, 51), 0);
        assert_int_equal(world_statistics(&scene.party.world).unlocks, 1);
        assert_int_equal(store_count(&scene.party.world, CALL_UNLOCK), 1);
        scene_close(&scene);
    }
}

/* A write request of a locked page: a lone client gets it read-only all the same, then pager_unlock_page is asked; one of several gets it when that
   has been asked (section 3; test_write_lock.c).  */
static void test_write_lock_on_a_write_request(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++) {
        struct scene scene;
        scene_open(&scene, state, 4, kernels, 0);
        store_write_lock(&scene.party.world, 1);
        assert_int_equal(try_write(scene.x, 2, 50), 0);
        assert_calls(&scene.party.world, "r2 u2");
        if (scripted(&scene.party)) {
            struct sk_message message;
            assert_int_equal(sk_last_message(scene.x->object, SK_DATA_SUPPLY, &message), 0);
            assert_int_equal(message.access, kernels == 1 ? VM_PROT_WRITE : VM_PROT_NONE);
            assert_int_equal(locks(scene.x), kernels == 1);
        }
        /* The next page-in says anew whether there is a lock.  */
        pager_return(scene.party.world.pager, 1);
        store_write_lock(&scene.party.world, 0);
        assert_int_equal(try_write(scene.x, 2, 51), 0);
        assert_int_equal(store_count(&scene.party.world, CALL_UNLOCK), 1);
        scene_close(&scene);
    }
}

/* Without the callback's lock an unlock (of a page supplied read-only beside other readers) asks nobody (section 3).  */
static void test_no_write_lock_no_unlock_callback(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 4, 2, 0);
    unsigned char byte;
    assert_int_equal(try_read(scene.x, 1, &byte), 0);
    assert_int_equal(try_read(scene.y, 1, &byte), 0);
    assert_int_equal(try_write(scene.x, 1, 9), 0);
    /* Both were read: a clean page is nobody's to hand on.  */
    assert_calls(&scene.party.world, "r1 r1");
    assert_int_equal(access_of(&scene.party, 1, 0), 3);
    assert_int_equal(access_of(&scene.party, 1, 1), 0);
    scene_close(&scene);
}

/* The faulting thread itself sees the error: unlock, flush, request, data_error (section 3).  */
static void test_failed_unlock_reaches_the_faulting_thread(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 4, 1, 0);
    store_write_lock(&scene.party.world, 1);
    unsigned char byte;
    assert_int_equal(try_read(scene.x, 1, &byte), 0);
    store_fail(&scene.party.world, CALL_UNLOCK, EDQUOT, -1);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(try_write(scene.x, 1, 78), EDQUOT);
        assert_int_equal(store_count(&scene.party.world, CALL_UNLOCK), i);
        assert_int_equal(refusals(scene.x), i);
        assert_int_equal(try_read(scene.x, 1, &byte), 0);
        assert_int_equal(byte, 2);
    }
    scene_close(&scene);
}

/* A failed write marks the page's backing data: reads fail with that very error, without pager_read_page, until a later write
   succeeds (section 3).  Any code survives as it is.  */
static void test_failed_write_fails_reads_until_a_write_succeeds(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++)
        for (int i = 0; i < CODES; i++) {
            struct scene scene;
            scene_open(&scene, state, 4, kernels, 0);
            assert_int_equal(try_write(scene.x, 1, 50), 0);
            store_fail(&scene.party.world, CALL_WRITE, codes[i], 1);
            /* The client keeps its copy, so there is somebody to write again.  */
            pager_sync(scene.party.world.pager, 1);
            assert_int_equal(error_of(&scene.party, 1), codes[i]);
            assert_int_equal(store_byte(&scene.party.world, 1), 2);
            assert_int_equal(byte_of(scene.x, 1), 50);
            assert_int_equal(try_write(scene.x, 1, 51), 0);
            pager_return(scene.party.world.pager, 1);
            assert_int_equal(error_of(&scene.party, 1), 0);
            assert_int_equal(store_byte(&scene.party.world, 1), 51);
            /* And now without a later write.  */
            unsigned char byte;
            assert_int_equal(try_write(scene.x, 1, 52), 0);
            store_fail(&scene.party.world, CALL_WRITE, codes[i], 1);
            pager_return(scene.party.world.pager, 1);
            unsigned reads = store_count(&scene.party.world, CALL_READ);
            for (int k = 0; k < 2; k++) {
                assert_int_equal(try_read(scene.x, 1, &byte), codes[i]);
                assert_int_equal(try_write(scene.x, 1, 53), codes[i]);
                if (scene.y)
                    assert_int_equal(try_read(scene.y, 1, &byte), codes[i]);
                assert_int_equal(error_of(&scene.party, 1), codes[i]);
            }
            assert_int_equal(store_count(&scene.party.world, CALL_READ), reads);
            assert_int_equal(try_read(scene.x, 2, &byte), 0);
            scene_close(&scene);
        }
}

/* ... or the page is evicted with notification (section 3): then it is read from the store again.  */
static void test_failed_write_and_eviction_clear_the_error(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++) {
        struct scene scene;
        scene_open(&scene, state, 4, kernels, 1);
        assert_int_equal(try_write(scene.x, 1, 50), 0);
        store_fail(&scene.party.world, CALL_WRITE, ENOSPC, 1);
        pager_return(scene.party.world.pager, 1);
        store_wait_count(&scene.party.world, CALL_EVICT, 1);
        world_settle(&scene.party.world);
        assert_calls(&scene.party.world, "r1 w1 e1");
        assert_int_equal(error_of(&scene.party, 1), 0);
        unsigned char byte;
        assert_int_equal(try_read(scene.x, 1, &byte), 0);
        assert_int_equal(byte, 2);
        scene_close(&scene);
    }
}

/* A failed read: the error goes to who asked, of whatever access, and the next request asks the translator again (sections 2 and
   3).  */
static void test_failed_read_is_tried_again(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++)
        for (int i = 0; i < CODES; i++) {
            struct scene scene;
            scene_open(&scene, state, 4, kernels, 0);
            unsigned char byte;
            store_fail(&scene.party.world, CALL_READ, codes[i], 2);
            assert_int_equal(try_read(scene.x, 1, &byte), codes[i]);
            assert_int_equal(error_of(&scene.party, 1), codes[i]);
            assert_int_equal(access_of(&scene.party, 1, 0), 0);
            assert_int_equal(try_write(scene.x, 1, 9), codes[i]);
            assert_int_equal(try_write(scene.x, 1, 9), 0);
            assert_int_equal(error_of(&scene.party, 1), 0);
            assert_int_equal(store_count(&scene.party.world, CALL_READ), 3);
            scene_close(&scene);
        }
}

/* pager_read_page that succeeds without a buffer, or with one that is not page-aligned: an error to the client, and a logged reason
   (section 2: such a buffer would be supplied from the start of its page).  */
static void test_bad_buffers_are_errors(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++)
        for (int bad = 1; bad <= 2; bad++) {
            struct scene scene;
            scene_open(&scene, state, 4, kernels, 0);
            unsigned char byte;
            scene.party.world.store->bad_buffer = bad;
            assert_int_equal(try_read(scene.x, 1, &byte), EIO);
            assert_int_equal(error_of(&scene.party, 1), EIO);
            assert_int_equal(world_statistics(&scene.party.world).refused, 1);
            assert_int_equal(supplies(scene.x), 0);
            assert_int_equal(try_read(scene.x, 1, &byte), 0);
            scene_close(&scene);
        }
}

/* COUNT dirty pages from page 0 on come back in one message; the store then has 100 + i, except where EXCEPT says.  */
static void return_run(struct scene *scene, size_t count, size_t except)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(try_write(scene->x, i, (unsigned char) (100 + i)), 0);
    /* Whoever ends a callback meanwhile would begin to write before the whole run is taken in.  */
    world_settle(&scene->party.world);
    scene->party.world.store->logged = 0;
    memset(scene->party.world.store->counts, 0, sizeof scene->party.world.store->counts);
    unsigned returned = returns(scene->x);
    pager_return(scene->party.world.pager, 1);
    assert_int_equal(returns(scene->x), returned + 1);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(store_byte(&scene->party.world, i), i == except ? i + 1 : 100 + i);
}

static const size_t none = (size_t) -1;

/* EOPNOTSUPP, as the default says: then page by page, in order (section 3).  */
static void test_write_pages_not_supported(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++) {
        struct scene scene;
        scene_open(&scene, state, 8, kernels, 0);
        return_run(&scene, 5, none);
        assert_calls(&scene.party.world, "w0 w1 w2 w3 w4");
        assert_int_equal(world_statistics(&scene.party.world).page_outs, 5);
        scene_close(&scene);
    }
}

/* It writes the whole run at once (section 3).  */
static void test_write_pages_writes_the_run(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++) {
        struct scene scene;
        scene_open(&scene, state, 8, kernels, 0);
        store_multi_write(&scene.party.world, 8);
        return_run(&scene, 5, none);
        assert_calls(&scene.party.world, "W0");
        assert_int_equal(store_call(&scene.party.world, CALL_WRITES, 0).length, page_offset(5));
        assert_int_equal(world_statistics(&scene.party.world).page_outs, 5);
        /* A single page is no run.  */
        return_run(&scene, 1, none);
        assert_calls(&scene.party.world, "w0");
        scene_close(&scene);
    }
}

/* It may write a prefix and say so; the rest is asked for again (section 3).  */
static void test_write_pages_writes_a_prefix(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++) {
        struct scene scene;
        scene_open(&scene, state, 8, kernels, 0);
        store_multi_write(&scene.party.world, 2);
        return_run(&scene, 5, none);
        assert_calls(&scene.party.world, "W0 W2 w4");
        assert_int_equal(store_call(&scene.party.world, CALL_WRITES, 1).length, page_offset(3));
        scene_close(&scene);
    }
}

/* It fails behind a prefix: what was written is written, the page behind it gets the error, the rest is tried again
   (hurd/pager.h).  */
static void test_write_pages_fails_behind_a_prefix(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++)
        for (int prefix = 0; prefix < 3; prefix++) {
            struct scene scene;
            scene_open(&scene, state, 8, kernels, 0);
            store_multi_write(&scene.party.world, 8);
            scene.party.world.store->multi_prefix = prefix;
            store_fail(&scene.party.world, CALL_WRITES, ENOSPC, 1);
            return_run(&scene, 5, (size_t) prefix);
            assert_calls(&scene.party.world, prefix == 0 ? "W0 W1" : prefix == 1 ? "W0 W2" : "W0 W3");
            for (size_t i = 0; i < 5; i++)
                assert_int_equal(error_of(&scene.party, i), i == (size_t) prefix ? ENOSPC : 0);
            unsigned char byte;
            assert_int_equal(try_read(scene.x, (size_t) prefix, &byte), ENOSPC);
            scene_close(&scene);
        }
}

/* With notify_on_evict pages are precious in every supply: read, handed over, and after a write with readers waiting (sections 3
   and 5).  */
static void test_every_supply_is_precious_with_notify(void **state)
{
    for (int notify = 0; notify < 2; notify++) {
        struct scene scene;
        scene_open(&scene, state, 4, 2, notify);
        unsigned char byte;
        assert_int_equal(try_read(scene.x, 1, &byte), 0);
        assert_int_equal(try_write(scene.x, 1, 50), 0);
        assert_int_equal(is_precious(scene.x, 1), notify);
        /* Handed over, to read and to write.  */
        assert_int_equal(try_read(scene.y, 1, &byte), 0);
        assert_int_equal(is_precious(scene.y, 1), notify);
        assert_int_equal(try_write(scene.y, 1, 51), 0);
        assert_int_equal(try_write(scene.x, 1, 52), 0);
        assert_int_equal(is_precious(scene.x, 1), notify);
        /* Asked for during the write.  */
        store_close_gate(&scene.party.world, CALL_WRITE);
        evict(scene.x, 1);
        store_wait_gate(&scene.party.world, CALL_WRITE, 1);
        ask(scene.y, 1, VM_PROT_READ);
        store_open_gate(&scene.party.world, CALL_WRITE);
        wait_page(scene.y, 1, SK_WANT_PRESENT);
        assert_int_equal(byte_of(scene.y, 1), 52);
        assert_int_equal(is_precious(scene.y, 1), notify);
        for (int k = 0; scripted(&scene.party) && k < 2; k++) {
            struct sk_message log[8];
            size_t count = sk_log(scene.party.clients[k]->object, SK_DATA_SUPPLY, log, 8);
            assert_true(count >= 2);
            for (size_t i = 0; i < count; i++)
                assert_int_equal(log[i].precious, notify);
        }
        scene_close(&scene);
    }
}

/* The same for a client that is alone and evicts while its page is written: the supply after the write (section 5).  */
static void test_supply_after_a_write_is_precious_for_one_client(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 4, 1, 1);
    assert_int_equal(try_write(scene.x, 1, 52), 0);
    store_close_gate(&scene.party.world, CALL_WRITE);
    evict(scene.x, 1);
    store_wait_gate(&scene.party.world, CALL_WRITE, 1);
    ask(scene.x, 1, VM_PROT_READ);
    fence(&scene.party);
    store_open_gate(&scene.party.world, CALL_WRITE);
    wait_page(scene.x, 1, SK_WANT_PRESENT);
    assert_true(is_precious(scene.x, 1));
    assert_int_equal(byte_of(scene.x, 1), 52);
    assert_int_equal(store_count(&scene.party.world, CALL_EVICT), 0);
    scene_close(&scene);
}

/* One notice for each eviction, after the write if the page was dirty (section 3); none without notify_on_evict.  */
static void test_one_notice_per_eviction_after_the_write(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++) {
        struct scene scene;
        scene_open(&scene, state, 4, kernels, 1);
        unsigned char byte;
        assert_int_equal(try_read(scene.x, 1, &byte), 0);
        evict(scene.x, 1);
        world_settle(&scene.party.world);
        assert_calls(&scene.party.world, "r1 e1");
        assert_int_equal(try_write(scene.x, 1, 50), 0);
        evict(scene.x, 1);
        world_settle(&scene.party.world);
        assert_calls(&scene.party.world, "r1 e1 r1 w1 e1");
        assert_int_equal(try_read(scene.x, 2, &byte), 0);
        world_settle(&scene.party.world);
        pager_return(scene.party.world.pager, 1);
        world_settle(&scene.party.world);
        assert_calls(&scene.party.world, "r1 e1 r1 w1 e1 r2 e2");
        assert_int_equal(try_read(scene.x, 2, &byte), 0);
        world_settle(&scene.party.world);
        pager_flush(scene.party.world.pager, 1);
        world_settle(&scene.party.world);
        assert_calls(&scene.party.world, "r1 e1 r1 w1 e1 r2 e2 r2 e2");
        /* A sync evicts nothing.  */
        assert_int_equal(try_write(scene.x, 3, 50), 0);
        pager_sync(scene.party.world.pager, 1);
        world_settle(&scene.party.world);
        assert_calls(&scene.party.world, "r1 e1 r1 w1 e1 r2 e2 r2 e2 r3 w3");
        assert_int_equal(world_statistics(&scene.party.world).evictions, 4);
        scene_close(&scene);
        scene_open(&scene, state, 4, kernels, 0);
        assert_int_equal(try_write(scene.x, 1, 50), 0);
        world_settle(&scene.party.world);
        pager_return(scene.party.world.pager, 1);
        world_settle(&scene.party.world);
        assert_calls(&scene.party.world, "r1 w1");
        scene_close(&scene);
    }
}

/* No notice while the page is handed on, or another client has it; one when the last copy goes, also by a death (section 3).  */
static void test_no_notice_while_somebody_has_or_gets_the_page(void **state)
{
    for (int crash = 0; crash < 2; crash++) {
        struct scene scene;
        scene_open(&scene, state, 4, 2, 1);
        unsigned char byte;
        assert_int_equal(try_write(scene.x, 1, 50), 0);
        assert_int_equal(try_write(scene.y, 1, 51), 0);
        assert_int_equal(try_read(scene.x, 1, &byte), 0);
        assert_int_equal(byte, 51);
        evict(scene.x, 1);
        world_settle(&scene.party.world);
        assert_int_equal(store_count(&scene.party.world, CALL_EVICT), 0);
        /* A page whose return crosses another's request is handed on.  */
        store_close_gate(&scene.party.world, CALL_WRITE);
        assert_int_equal(try_write(scene.y, 1, 52), 0);
        evict(scene.y, 1);
        store_wait_gate(&scene.party.world, CALL_WRITE, 1);
        assert_int_equal(try_read(scene.x, 1, &byte), 0);
        assert_int_equal(byte, 52);
        store_open_gate(&scene.party.world, CALL_WRITE);
        world_settle(&scene.party.world);
        assert_int_equal(store_count(&scene.party.world, CALL_EVICT), 0);
        assert_int_equal(store_byte(&scene.party.world, 1), 52);
        if (crash)
            die(scene.x);
        else
            terminate(scene.x);
        store_wait_count(&scene.party.world, CALL_EVICT, 1);
        world_settle(&scene.party.world);
        assert_int_equal(store_count(&scene.party.world, CALL_EVICT), 1);
        assert_int_equal(store_call(&scene.party.world, CALL_EVICT, 0).page, page_offset(1));
        scene_close(&scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_write_lock_asks_before_the_first_write),
        BOTH(test_write_lock_on_a_write_request),
        BOTH(test_no_write_lock_no_unlock_callback),
        BOTH(test_failed_unlock_reaches_the_faulting_thread),
        BOTH(test_failed_write_fails_reads_until_a_write_succeeds),
        BOTH(test_failed_write_and_eviction_clear_the_error),
        BOTH(test_failed_read_is_tried_again),
        BOTH(test_bad_buffers_are_errors),
        BOTH(test_write_pages_not_supported),
        BOTH(test_write_pages_writes_the_run),
        BOTH(test_write_pages_writes_a_prefix),
        BOTH(test_write_pages_fails_behind_a_prefix),
        BOTH(test_every_supply_is_precious_with_notify),
        BOTH(test_supply_after_a_write_is_precious_for_one_client),
        BOTH(test_one_notice_per_eviction_after_the_write),
        BOTH(test_no_notice_while_somebody_has_or_gets_the_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
