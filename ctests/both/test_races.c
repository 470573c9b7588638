/* The races R1 to R13, as far as gates alone set their order.  (Those that need messages held back are in
   ../pager/test_races_*.c.)  */

#include "client.h"

/* ---- R1, R4 ---- */

/* Of two returns that wait behind a slow write the newer is written and the older skipped.  */
static void test_R1_newest_return_behind_a_slow_write_wins(void **state)
{
    struct party c;
    party_open(&c, state, 2, 4, 0);
    struct client *a = c.clients[0], *b = c.clients[1];
    store_close_gate(&c.world, CALL_WRITE);
    put(a, 0, 10);
    evict(a, 0);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    put(a, 0, 11);
    evict(a, 0);
    put(a, 0, 12);
    evict(a, 0);
    assert_int_equal(get(b, 0), 12);
    store_open_gate(&c.world, CALL_WRITE);
    pager_sync(c.world.pager, 1);
    assert_int_equal(store_count(&c.world, CALL_WRITE), 2);
    assert_int_equal(store_call(&c.world, CALL_WRITE, 0).first, 10);
    assert_int_equal(store_call(&c.world, CALL_WRITE, 1).first, 12);
    assert_int_equal(store_byte(&c.world, 0), 12);
    assert_int_equal(world_statistics(&c.world).skipped_writes, 1);
    party_close(&c);
}

/* The same for a page that its client keeps (kernel_copy): three versions, one after the other.  */
static void test_R1_synced_versions_behind_a_slow_write(void **state)
{
    struct party c;
    party_open(&c, state, 1, 4, 0);
    struct client *a = c.clients[0];
    store_close_gate(&c.world, CALL_WRITE);
    put(a, 0, 10);
    pager_sync_some(c.world.pager, 0, vm_page_size, 0);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    put(a, 0, 11);
    pager_sync_some(c.world.pager, 0, vm_page_size, 0);
    wait_answers(a, 2);
    put(a, 0, 12);
    pager_sync_some(c.world.pager, 0, vm_page_size, 0);
    wait_answers(a, 3);
    store_open_gate(&c.world, CALL_WRITE);
    pager_sync(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 0), 12);
    assert_true(store_count(&c.world, CALL_WRITE) <= 3);
    party_close(&c);
}

/* Returns of several pages behind a slow write: each page's newest reaches the store, none is lost.  */
static void test_R1_order_is_kept_over_pages(void **state)
{
    struct party c;
    party_open(&c, state, 2, 4, 0);
    struct client *a = c.clients[0], *b = c.clients[1];
    for (size_t page = 0; page < 3; page++)
        put(b, page, 19);
    put(a, 3, 1);
    store_close_gate(&c.world, CALL_WRITE);
    evict(a, 3);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    for (unsigned char version = 20; version < 24; version++)
        for (size_t page = 0; page < 3; page++) {
            struct client *who = version & 1 ? a : b;
            put(who, page, (unsigned char) (version + 10 * page));
            evict(who, page);
        }
    world_fence(&c.world);
    store_open_gate(&c.world, CALL_WRITE);
    pager_sync(c.world.pager, 1);
    for (size_t page = 0; page < 3; page++)
        assert_int_equal(store_byte(&c.world, page), 23 + 10 * page);
    assert_int_equal(store_count(&c.world, CALL_WRITE), 4);
    assert_int_equal(world_statistics(&c.world).skipped_writes, 9);
    party_close(&c);
}

/* The older version's write fails after the newer came: the newer one's success counts.  */
static void test_R1_older_write_fails_newer_succeeds(void **state)
{
    struct party c;
    party_open(&c, state, 2, 4, 0);
    struct client *a = c.clients[0], *b = c.clients[1];
    store_close_gate(&c.world, CALL_WRITE);
    put(a, 0, 10);
    evict(a, 0);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    put(b, 0, 11);
    evict(b, 0);
    world_fence(&c.world);
    store_fail(&c.world, CALL_WRITE, EIO, 1);
    store_open_gate(&c.world, CALL_WRITE);
    pager_sync(c.world.pager, 1);
    world_settle(&c.world);
    assert_int_equal(store_byte(&c.world, 0), 11);
    assert_int_equal(pager_get_error(c.world.pager, 0), 0);
    assert_int_equal(get(a, 0), 11);
    party_close(&c);
}

/* Unlocks from all readers at the very same time, from threads: all come to write, whoever was first.  */
static int write_once(void *client) { return try_write(client, 0, 1); }
static void test_R4_threads_of_all_readers_write(void **state)
{
    for (int round = 0; round < 20; round++) {
        struct party c;
        struct task tasks[4];
        party_open(&c, state, 4, 4, 0);
        for (int i = 0; i < 4; i++)
            get(c.clients[i], 0);
        for (int i = 0; i < 4; i++)
            task_begin(&tasks[i], write_once, c.clients[i]);
        for (int i = 0; i < 4; i++)
            assert_int_equal(task_end(&tasks[i]), 0);
        party_close(&c);
    }
}

/* ---- R7 ---- */

/* A read completes for the only client, who has just gone: the data are dropped, the page is free for the next.  */
static void test_R7_read_completes_for_a_client_just_gone(void **state)
{
    for (int dies = 0; dies < 2; dies++)
        for (int notify = 0; notify < 2; notify++) {
            struct party c;
            party_open(&c, state, 1, 4, notify);
            store_close_gate(&c.world, CALL_READ);
            ask(c.clients[0], 0, VM_PROT_READ);
            store_wait_gate(&c.world, CALL_READ, 1);
            if (dies)
                die(c.clients[0]);
            else
                terminate(c.clients[0]);
            end_ask(c.clients[0], 0);
            wait_clients(&c, 0);
            /* It is not counted any more; the page has forgotten it, too, when client 0 is not in the word (docs/design.md).  Till
               then it is sent the data, and has had them as far as anybody knows.  */
            while (pager_page_word(c.world.pager, 0) & 6)
                sched_yield();
            store_open_gate(&c.world, CALL_READ);
            world_settle(&c.world);
            assert_at_rest(&c);
            assert_int_equal(store_count(&c.world, CALL_EVICT), 0);
            struct client *next = party_join(&c);
            assert_int_equal(get(next, 0), 1);
            put(next, 0, 70);
            party_close(&c);
        }
}

/* The read was for one who has gone, but the next waits, too: it gets those data, from one page-in.  */
static void test_R7_read_of_the_dead_serves_the_next(void **state)
{
    for (int i = 0; i < 4; i++) {
        int write = i & 1;
        struct party c;
        party_open(&c, state, 2, 4, 0);
        store_close_gate(&c.world, CALL_READ);
        ask(c.clients[0], 0, i & 2 ? RW : VM_PROT_READ);
        store_wait_gate(&c.world, CALL_READ, 1);
        ask(c.clients[1], 0, write ? RW : VM_PROT_READ);
        world_fence(&c.world);
        die(c.clients[0]);
        end_ask(c.clients[0], 0);
        while (pager_page_access(c.world.pager, 0, 0) != -1)
            sched_yield();
        store_open_gate(&c.world, CALL_READ);
        wait_page(c.clients[1], 0, write ? SK_WANT_WRITABLE : SK_WANT_READABLE);
        assert_int_equal(byte_of(c.clients[1], 0), 1);
        party_close(&c);
    }
}

/* ---- R10 to R12 ---- */

static int shut_down(void *pager) { pager_shutdown(pager); return 0; }

/* A write fails while clients wait for the page: they get its data, which go to the store with the next return.  */
static void write_error_with_waiters(void **state, vm_prot_t access, int waiters)
{
    struct party c;
    party_open(&c, state, 1, 4, 0);
    struct client *a = c.clients[0];
    put(a, 0, 100);
    /* Whoever read the page is done: else the write waits for it in the write-back, from where the data may be handed on before
       it fails, not precious.  */
    world_settle(&c.world);
    store_close_gate(&c.world, CALL_WRITE);
    /* Alone: written by the thread that received it.  */
    evict(a, 0);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    for (int i = 0; i < waiters; i++)
        ask(party_join(&c), 0, access);
    fence(&c);
    store_fail(&c.world, CALL_WRITE, EIO, 1);
    store_open_gate(&c.world, CALL_WRITE);
    for (int i = 1; i <= waiters; i++) {
        wait_page(c.clients[i], 0, SK_WANT_READABLE);
        assert_int_equal(byte_of(c.clients[i], 0), 100);
    }
    world_settle(&c.world);
    assert_int_equal(pager_get_error(c.world.pager, 0), EIO);
    assert_int_equal(store_byte(&c.world, 0), 1);
    unsigned char last = 100;
    if (access == RW) {
        wait_page(c.clients[1], 0, SK_WANT_WRITABLE);
        rewrite(c.clients[1], 0, last = 101);
    }
    /* The copies are precious: all there is.  */
    for (int i = 1; i <= waiters; i++)
        assert_true(is_precious(c.clients[i], 0));
    pager_return(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 0), last);
    assert_int_equal(pager_get_error(c.world.pager, 0), 0);
    assert_int_equal(get(a, 0), last);
    party_close(&c);
}

/* Rule as above: readers wait.  */
static void test_R10_write_error_with_readers_waiting(void **state)
{
    write_error_with_waiters(state, VM_PROT_READ, 1);
    write_error_with_waiters(state, VM_PROT_READ, 3);
    write_error_with_waiters(state, VM_PROT_READ, 6);
}

/* Rule as above: a writer waits.  */
static void test_R10_write_error_with_a_writer_waiting(void **state)
{
    write_error_with_waiters(state, RW, 1);
}

/* A version in the write-back is handed on while it is being written, and then its write fails: who has it keeps it.  */
static void test_R10_write_error_after_the_hand_over(void **state)
{
    struct party c;
    party_open(&c, state, 2, 4, 0);
    struct client *a = c.clients[0], *b = c.clients[1];
    put(a, 0, 102);
    store_close_gate(&c.world, CALL_WRITE);
    evict(a, 0);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    put(b, 0, 103);
    store_fail(&c.world, CALL_WRITE, ENOSPC, 1);
    store_open_gate(&c.world, CALL_WRITE);
    world_settle(&c.world);
    assert_int_equal(pager_get_error(c.world.pager, 0), ENOSPC);
    assert_int_equal(get(a, 0), 103);
    pager_return(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 0), 103);
    assert_int_equal(pager_get_error(c.world.pager, 0), 0);
    party_close(&c);
}

/* Nobody waits: reads get the error until a write succeeds; with notification, until the eviction is told.  */
static void test_R10_write_error_with_nobody_waiting(void **state)
{
    for (int kernels = 1; kernels < 3; kernels++)
        for (int notify = 0; notify < 2; notify++) {
            struct party c;
            party_open(&c, state, kernels, 4, notify);
            struct client *a = c.clients[0], *other = c.clients[kernels - 1];
            put(a, 0, 104);
            store_fail(&c.world, CALL_WRITE, EDQUOT, 1);
            evict(a, 0);
            world_settle(&c.world);
            unsigned char byte = 0;
            if (notify) {
                assert_int_equal(store_count(&c.world, CALL_EVICT), 1);
                assert_int_equal(pager_get_error(c.world.pager, 0), 0);
                assert_int_equal(get(other, 0), 1);
            } else {
                assert_int_equal(pager_get_error(c.world.pager, 0), EDQUOT);
                assert_int_equal(try_read(other, 0, &byte), EDQUOT);
                assert_int_equal(try_write(a, 0, 1), EDQUOT);
                assert_int_equal(store_count(&c.world, CALL_READ), 1);
            }
            party_close(&c);
        }
}

/* Shutdown while a read is under way: the request is answered, and the page taken back.  */
static void test_R11_shutdown_while_reading(void **state)
{
    for (int kernels = 1; kernels < 3; kernels++) {
        struct party c;
        party_open(&c, state, kernels, 4, 0);
        store_close_gate(&c.world, CALL_READ);
        for (int i = 0; i < kernels; i++)
            ask(c.clients[i], 0, RW);
        store_wait_gate(&c.world, CALL_READ, 1);
        world_fence(&c.world);
        struct task end;
        task_begin(&end, shut_down, c.world.pager);
        assert_true(task_waits(&end));
        store_open_gate(&c.world, CALL_READ);
        task_end(&end);
        /* (A thread whose page was taken before it could touch it asks again, and is refused.)  */
        for (int i = 0; i < kernels; i++)
            end_ask(c.clients[i], 0);
        for (int i = 0; i < kernels; i++)
            assert_int_equal(state_of(c.clients[i], 0), SK_PAGE_ABSENT);
        party_close(&c);
    }
}

/* Shutdown while a write is under way, and dirty data with a client: all of it reaches the store.  */
static void test_R11_shutdown_while_writing(void **state)
{
    for (int kernels = 1; kernels < 3; kernels++) {
        struct party c;
        party_open(&c, state, kernels, 4, 0);
        put(c.clients[0], 0, 110);
        put(c.clients[0], 1, 111);
        store_close_gate(&c.world, CALL_WRITE);
        evict(c.clients[0], 0);
        store_wait_gate(&c.world, CALL_WRITE, 1);
        struct task end;
        task_begin(&end, shut_down, c.world.pager);
        assert_true(task_waits(&end));
        store_open_gate(&c.world, CALL_WRITE);
        task_end(&end);
        assert_int_equal(store_byte(&c.world, 0), 110);
        assert_int_equal(store_byte(&c.world, 1), 111);
        party_close(&c);
    }
}

/* The only client terminates while its write is under way: the write is completed, the next client reads it.  */
static void test_R11_terminate_while_writing(void **state)
{
    struct party c;
    party_open(&c, state, 1, 4, 1);
    put(c.clients[0], 0, 113);
    put(c.clients[0], 1, 114);
    store_close_gate(&c.world, CALL_WRITE);
    evict(c.clients[0], 0);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    terminate(c.clients[0]);
    wait_clients(&c, 0);
    struct client *next = party_join(&c);
    ask(next, 0, VM_PROT_READ);
    ask(next, 1, VM_PROT_READ);
    store_open_gate(&c.world, CALL_WRITE);
    wait_page(next, 0, SK_WANT_READABLE);
    wait_page(next, 1, SK_WANT_READABLE);
    assert_int_equal(byte_of(next, 0), 113);
    assert_int_equal(byte_of(next, 1), 114);
    pager_sync(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 0), 113);
    assert_int_equal(store_byte(&c.world, 1), 114);
    party_close(&c);
}

/* A precious clean page comes back unasked: not written, the eviction told when the last copy has gone, once.  */
static void test_R12_precious_clean_page_comes_back(void **state)
{
    struct party c;
    party_open(&c, state, 2, 4, 1);
    struct client *a = c.clients[0], *b = c.clients[1];
    get(a, 0);
    get(b, 0);
    assert_true(is_precious(a, 0));
    evict(a, 0);
    world_settle(&c.world);
    assert_int_equal(access_of(&c, 0, 0), 0);
    assert_int_equal(access_of(&c, 0, 1), 1);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 0);
    evict(b, 0);
    world_settle(&c.world);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 1);
    assert_int_equal(store_count(&c.world, CALL_WRITE), 0);
    assert_at_rest(&c);
    party_close(&c);
}

/* The same page of a single client: told once when it was clean, and once when it was written.  */
static void test_R12_precious_page_of_one_client(void **state)
{
    struct party c;
    party_open(&c, state, 1, 4, 1);
    struct client *a = c.clients[0];
    get(a, 0);
    assert_true(is_precious(a, 0));
    evict(a, 0);
    world_settle(&c.world);
    assert_int_equal(store_count(&c.world, CALL_WRITE), 0);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 1);
    put(a, 0, 120);
    evict(a, 0);
    world_settle(&c.world);
    assert_int_equal(store_count(&c.world, CALL_WRITE), 1);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 2);
    party_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_R1_newest_return_behind_a_slow_write_wins),
        BOTH(test_R1_synced_versions_behind_a_slow_write),
        BOTH(test_R1_order_is_kept_over_pages),
        BOTH(test_R1_older_write_fails_newer_succeeds),
        BOTH(test_R4_threads_of_all_readers_write),
        BOTH(test_R7_read_completes_for_a_client_just_gone),
        BOTH(test_R7_read_of_the_dead_serves_the_next),
        BOTH(test_R10_write_error_with_readers_waiting),
        BOTH(test_R10_write_error_with_a_writer_waiting),
        BOTH(test_R10_write_error_after_the_hand_over),
        BOTH(test_R10_write_error_with_nobody_waiting),
        BOTH(test_R11_shutdown_while_reading),
        BOTH(test_R11_shutdown_while_writing),
        BOTH(test_R11_terminate_while_writing),
        BOTH(test_R12_precious_clean_page_comes_back),
        BOTH(test_R12_precious_page_of_one_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
