/* Several clients write a page that needs pager_unlock_page (section 3, *WRITE_LOCK): it is called before anybody gets the page to write, since
   whoever got it locked could lose it to the next before his unlock comes, over and over.  The lone client's way (supplied locked,
   unlocked when it writes) is in test_entry_callbacks.c.  */

#include "client.h"

#include <stdio.h>

static const int codes[] = { EIO, ENOSPC, EDQUOT, EACCES, 0x40000005 };
enum { CODES = sizeof codes / sizeof *codes };

/* A write under way, in a thread of its own.  (Not `ask': that claims the page by an instruction that reads, too, and QEMU has it read first.)  */
struct turn {
    struct client *client;
    unsigned char byte;
    struct task task;
};

static int write_page_1(void *turn) { return try_write(((struct turn *) turn)->client, 1, ((struct turn *) turn)->byte); }

/* Returns when the page is asked for.  */
static void begin_write(struct turn *turn, struct client *client, unsigned char byte)
{
    *turn = (struct turn) { .client = client, .byte = byte };
    task_begin(&turn->task, write_page_1, turn);
    while (state_of(client, 1) != SK_PAGE_REQUESTED && !task_done(&turn->task))
        sched_yield();
    /* The message has gone.  (A mapping kernel waits for its senders before it looks.)  */
    if (client->object)
        assert_int_equal(sk_wait_sent(client->object, 0), 0);
    else
        (void) state_of(client, 1);
}

/* 0 or the pager's error.  */
static int end_write(struct turn *turn) { return task_end(&turn->task); }

/* The page comes writable: no unlock, no lock_request.  */
static void test_unlocked_before_it_is_supplied(void **state)
{
    for (int kernels = 2; kernels <= 6; kernels += 4) {
        struct party c;
        party_open(&c, state, kernels, 4, 0);
        struct client *x = c.clients[0], *last = c.clients[kernels - 1];
        store_write_lock(&c.world, 1);
        store_close_gate(&c.world, CALL_UNLOCK);
        struct turn turn;
        begin_write(&turn, x, 50);
        store_wait_gate(&c.world, CALL_UNLOCK, 1);
        assert_int_equal(supplies(x), 0);
        assert_int_equal(access_of(&c, 1, 0), 0);
        store_open_gate(&c.world, CALL_UNLOCK);
        assert_int_equal(end_write(&turn), 0);
        world_settle(&c.world);
        assert_calls(&c.world, "r1 u1");
        assert_int_equal(locks(x), 0);
        assert_int_equal(access_of(&c, 1, 0), 3);
        assert_int_equal(get(last, 1), 50);
        party_close(&c);
    }
}

/* For reading it comes locked as ever, beside others, too.  */
static void test_readers_get_it_locked(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 4, 2, 0);
    store_write_lock(&scene.party.world, 1);
    assert_int_equal(get(scene.x, 1), 2);
    assert_int_equal(get(scene.y, 1), 2);
    assert_int_equal(is_writable(scene.x, 1) + is_writable(scene.y, 1), 0);
    assert_int_equal(store_count(&scene.party.world, CALL_UNLOCK), 0);
    put(scene.y, 1, 60);
    assert_int_equal(store_count(&scene.party.world, CALL_UNLOCK), 1);
    assert_int_equal(get(scene.x, 1), 60);
    scene_close(&scene);
}

/* Another one wants to write as well, and its flush reaches the first before that has done anything: it can write all the same.  (Given the
   page locked, its unlock would cross the flush, which answers it.)  */
static void test_the_next_writers_flush_finds_it_written(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 4, 2, 0);
    struct world *world = &scene.party.world;
    store_write_lock(world, 1);
    store_close_gate(world, CALL_READ);
    if (scripted(&scene.party))
        sk_hold(scene.x->object, SK_HOLD_LOCK);
    struct turn x, y;
    begin_write(&x, scene.x, 70);
    fence(&scene.party);
    begin_write(&y, scene.y, 71);
    fence(&scene.party);
    store_open_gate(world, CALL_READ);
    assert_int_equal(end_write(&x), 0);
    if (scripted(&scene.party))
        sk_release_all(scene.x->object);
    assert_int_equal(end_write(&y), 0);
    world_settle(world);
    if (scripted(&scene.party)) {
        assert_int_equal(store_count(world, CALL_READ), 1);
        assert_int_equal(byte_of(scene.y, 1), 71);
    }
    scene_close(&scene);
}

/* All at once, from the store: a few page-ins a write, not hundreds.  (A thread may lose what it was given before it runs, with or without
   locks: on the real kernel, which has one processor, most often.)  */
static void write_at_once(void **state, int kernels)
{
    enum { ROUNDS = 10, LIMIT = 25 };
    struct party c;
    party_open(&c, state, kernels, 4, 0);
    store_write_lock(&c.world, 1);
    for (int round = 0; round < ROUNDS; round++) {
        pager_return(c.world.pager, 1);
        store_close_gate(&c.world, CALL_READ);
        struct turn turns[CLIENTS];
        for (int i = 0; i < kernels; i++)
            begin_write(&turns[i], c.clients[i], (unsigned char) (round * kernels + i + 3));
        fence(&c);
        store_open_gate(&c.world, CALL_READ);
        for (int i = 0; i < kernels; i++)
            assert_int_equal(end_write(&turns[i]), 0);
        unsigned char byte = get(c.clients[0], 1);
        assert_in_range(byte, round * kernels + 3, round * kernels + kernels + 2);
        for (int i = 1; i < kernels; i++)
            assert_int_equal(get(c.clients[i], 1), byte);
    }
    unsigned reads = store_count(&c.world, CALL_READ);
    if (getenv("LIBPAGER_TEST_FIGURES"))
        fprintf(stderr, "%u page-ins, %u unlocks for %d writes\n", reads, store_count(&c.world, CALL_UNLOCK), kernels * ROUNDS);
    assert_true(reads <= (unsigned) (kernels * ROUNDS * LIMIT));
    party_close(&c);
}

static void test_two_writers_need_few_page_ins(void **state) { write_at_once(state, 2); }
static void test_eight_writers_need_few_page_ins(void **state) { write_at_once(state, 8); }

/* Refused: the request gets the error, and nothing else; the next one asks anew.  */
static void test_a_refusal_answers_the_request(void **state)
{
    for (int i = 0; i < CODES; i++) {
        struct scene scene;
        scene_open(&scene, state, 4, 2, 0);
        struct world *world = &scene.party.world;
        store_write_lock(world, 1);
        store_fail(world, CALL_UNLOCK, codes[i], 1);
        assert_int_equal(try_write(scene.x, 1, 50), codes[i]);
        world_settle(world);
        assert_calls(world, "r1 u1");
        assert_int_equal(supplies(scene.x), 0);
        assert_int_equal(refusals(scene.x), 1);
        assert_int_equal(locks(scene.x), 0);
        assert_int_equal(error_of(&scene.party, 1), codes[i]);
        assert_int_equal(access_of(&scene.party, 1, 0), 0);
        assert_int_equal(get(scene.x, 1), 2);
        assert_int_equal(get(scene.y, 1), 2);
        assert_int_equal(try_write(scene.x, 1, 51), 0);
        assert_int_equal(error_of(&scene.party, 1), 0);
        assert_int_equal(get(scene.y, 1), 51);
        scene_close(&scene);
    }
}

/* Refused again and again: each of those who wait is told, whoever reads gets the page.  */
static void test_refusals_reach_everybody(void **state)
{
    struct party c;
    party_open(&c, state, 3, 4, 0);
    store_write_lock(&c.world, 1);
    store_fail(&c.world, CALL_UNLOCK, ENOSPC, -1);
    store_close_gate(&c.world, CALL_READ);
    struct turn turns[2];
    for (int i = 0; i < 2; i++) {
        begin_write(&turns[i], c.clients[i], 50);
        fence(&c);
    }
    ask(c.clients[2], 1, VM_PROT_READ);
    fence(&c);
    store_open_gate(&c.world, CALL_READ);
    for (int i = 0; i < 2; i++)
        assert_int_equal(end_write(&turns[i]), ENOSPC);
    wait_page(c.clients[2], 1, SK_WANT_READABLE);
    assert_false(is_writable(c.clients[2], 1));
    world_settle(&c.world);
    assert_calls(&c.world, "r1 u1 r1 u1 r1");
    party_close(&c);
}

/* An eviction notice that is owed (who had the page gave it up for the writer) comes before the error: it clears errors, and
   pager_get_error is to tell this one.  */
static void test_a_notice_comes_before_the_refusal(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 4, 2, 1);
    struct world *world = &scene.party.world;
    store_write_lock(world, 1);
    assert_int_equal(get(scene.y, 1), 2);
    store_fail(world, CALL_UNLOCK, EDQUOT, 1);
    assert_int_equal(try_write(scene.x, 1, 50), EDQUOT);
    world_settle(world);
    assert_calls(world, "r1 r1 u1 e1");
    assert_int_equal(error_of(&scene.party, 1), EDQUOT);
    assert_int_equal(state_of(scene.y, 1), SK_PAGE_ABSENT);
    scene_close(&scene);
}

enum other { NOBODY, READER, WRITER, OTHERS };

/* The writer goes while pager_unlock_page runs for it: what was read is the next one's, or nobody's; never lost.  */
static void goes_while_it_runs(void **state, int kernels, int dies, int error)
{
    for (enum other other = NOBODY; other < OTHERS; other++)
        /* (With notices who ends by himself would give the other page back first.) */
        for (int notify = 0; notify < (dies ? 2 : 1); notify++) {
            struct party c;
            party_open(&c, state, kernels, 4, notify);
            struct client *v = c.clients[kernels - 1], *b = c.clients[0];
            store_write_lock(&c.world, 1);
            /* It has another page, behind this one: when that has forgotten it, this one has.  */
            unsigned char byte;
            assert_int_equal(try_read(v, 3, &byte), 0);
            world_settle(&c.world);
            uint32_t held = pager_page_word(c.world.pager, page_offset(3));
            store_fail(&c.world, CALL_UNLOCK, error, error ? 1 : 0);
            store_close_gate(&c.world, CALL_UNLOCK);
            struct turn gone, next;
            begin_write(&gone, v, 60);
            store_wait_gate(&c.world, CALL_UNLOCK, 1);
            if (other == READER)
                ask(b, 1, VM_PROT_READ);
            else if (other == WRITER)
                begin_write(&next, b, 61);
            fence(&c);
            if (dies)
                die(v);
            else
                terminate(v);
            end_write(&gone);
            wait_clients(&c, (unsigned) kernels - 1);
            /* (By the word: pager_page_access knows nothing of a client that is not attached any more.)  */
            while (pager_page_word(c.world.pager, page_offset(3)) == held)
                sched_yield();
            store_open_gate(&c.world, CALL_UNLOCK);
            if (other == WRITER) {
                assert_int_equal(end_write(&next), error);
            } else if (other == READER) {
                wait_page(b, 1, SK_WANT_READABLE);
                /* (Alone, it gets it to write.)  */
                assert_int_equal(is_writable(b, 1), error == 0 && kernels == 2);
            }
            world_settle(&c.world);
            assert_int_equal(store_count(&c.world, CALL_READ), 2);
            assert_int_equal(store_count(&c.world, CALL_UNLOCK), 1);
            /* (Of the other page.) */
            assert_int_equal(store_count(&c.world, CALL_EVICT), notify);
            put(b, 1, 80);
            pager_return(c.world.pager, 1);
            assert_int_equal(store_byte(&c.world, 1), 80);
            world_settle(&c.world);
            assert_at_rest(&c);
            assert_int_equal(world_statistics(&c.world).descriptors, 0);
            party_close(&c);
        }
}

static void test_the_writer_dies_while_it_is_unlocked(void **state)
{
    for (int kernels = 2; kernels <= 6; kernels += 4) {
        goes_while_it_runs(state, kernels, 1, 0);
        goes_while_it_runs(state, kernels, 1, ENOSPC);
    }
}

static void test_the_writer_ends_while_it_is_unlocked(void **state)
{
    for (int kernels = 2; kernels <= 6; kernels += 4) {
        goes_while_it_runs(state, kernels, 0, 0);
        goes_while_it_runs(state, kernels, 0, ENOSPC);
    }
}

/* The others go meanwhile, and the writer is alone when it is answered.  */
static void test_the_others_go_while_it_is_unlocked(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 4, 2, 0);
    struct world *world = &scene.party.world;
    store_write_lock(world, 1);
    store_close_gate(world, CALL_UNLOCK);
    struct turn turn;
    begin_write(&turn, scene.x, 90);
    store_wait_gate(world, CALL_UNLOCK, 1);
    terminate(scene.y);
    wait_clients(&scene.party, 1);
    store_open_gate(world, CALL_UNLOCK);
    assert_int_equal(end_write(&turn), 0);
    world_settle(world);
    assert_calls(world, "r1 u1");
    scene_close(&scene);
}

static int shut_down(void *pager) { return pager_shutdown(pager), 0; }

/* pager_shutdown waits for it, and the request has its answer.  */
static void test_shutdown_while_it_is_unlocked(void **state)
{
    for (int error = 0; error <= ENOSPC; error += ENOSPC) {
        struct scene scene;
        scene_open(&scene, state, 4, 2, 0);
        struct world *world = &scene.party.world;
        store_write_lock(world, 1);
        store_fail(world, CALL_UNLOCK, error, error ? 1 : 0);
        store_close_gate(world, CALL_UNLOCK);
        struct turn turn;
        begin_write(&turn, scene.x, 90);
        store_wait_gate(world, CALL_UNLOCK, 1);
        struct task end;
        task_begin(&end, shut_down, world->pager);
        assert_true(task_waits(&end));
        store_open_gate(world, CALL_UNLOCK);
        task_end(&end);
        /* (A thread whose page was taken before it could touch it asks again, and is refused.)  */
        int told = end_write(&turn);
        assert_true(error ? told == error : told == 0 || told == EIO);
        assert_int_equal(state_of(scene.x, 1), SK_PAGE_ABSENT);
        scene_close(&scene);
    }
}

/* Reads side by side: the unlocks that follow them run one at a time, and each page has its own data.  */
static void test_beside_concurrent_reads(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 16, 2, 0);
    struct world *world = &scene.party.world;
    assert_int_equal(pager_set_concurrent_reads(world->pager, 4), 0);
    store_write_lock(world, 1);
    store_close_gate(world, CALL_UNLOCK);
    for (size_t page = 0; page < 8; page++)
        ask(page & 1 ? scene.x : scene.y, page, RW);
    store_wait_count(world, CALL_READ, 8);
    store_wait_gate(world, CALL_UNLOCK, 1);
    fence(&scene.party);
    assert_int_equal(world->store->waiting[CALL_UNLOCK], 1);
    store_open_gate(world, CALL_UNLOCK);
    for (size_t page = 0; page < 8; page++) {
        wait_page(page & 1 ? scene.x : scene.y, page, SK_WANT_WRITABLE);
        assert_int_equal(byte_of(page & 1 ? scene.x : scene.y, page), page + 1);
    }
    assert_int_equal(store_count(world, CALL_UNLOCK), 8);
    assert_int_equal(world->store->overlaps, 0);
    scene_close(&scene);
}

static void hook_syncs_page_3(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    if (call == CALL_UNLOCK && page == page_offset(1))
        pager_sync_some(store->pager, page_offset(3), vm_page_size, 1);
}

/* pager_unlock_page may wait for another page, whose callbacks run meanwhile.  */
static void test_it_may_wait_for_another_page(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 8, 2, 0);
    struct world *world = &scene.party.world;
    put(scene.y, 3, 33);
    store_write_lock(world, 1);
    world->store->hook = hook_syncs_page_3;
    put(scene.x, 1, 50);
    assert_int_equal(store_byte(world, 3), 33);
    world->store->hook = NULL;
    assert_int_equal(get(scene.y, 1), 50);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_unlocked_before_it_is_supplied),
        BOTH(test_readers_get_it_locked),
        BOTH(test_the_next_writers_flush_finds_it_written),
        BOTH(test_two_writers_need_few_page_ins),
        BOTH(test_eight_writers_need_few_page_ins),
        BOTH(test_a_refusal_answers_the_request),
        BOTH(test_refusals_reach_everybody),
        BOTH(test_a_notice_comes_before_the_refusal),
        BOTH(test_the_writer_dies_while_it_is_unlocked),
        BOTH(test_the_writer_ends_while_it_is_unlocked),
        BOTH(test_the_others_go_while_it_is_unlocked),
        BOTH(test_shutdown_while_it_is_unlocked),
        BOTH(test_beside_concurrent_reads),
        BOTH(test_it_may_wait_for_another_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
