/* The threads that serve a bucket: starting, inhibiting, resuming, stopping, with clients of either kind.  */

#include "client.h"

static int stop(void *world)
{
    pager_stop_workers(((struct world *) world)->requests);
    return 0;
}

static atomic_int inhibited_from_callback;

/* Messages that came before there were workers are served by those that come (hurd/pager.h: what waits in the ports stays there).  */
static void test_start_serves_what_waited(void **state)
{
    struct party p;
    party_open(&p, state, 0, 8, 0);
    struct client *object = party_join(&p);
    pager_stop_workers(p.world.requests);
    for (size_t i = 0; i < 3; i++)
        ask(object, i, VM_PROT_READ);
    assert_int_equal(hostmach_message_count(), 3);
    assert_int_equal(store_count(&p.world, CALL_READ), 0);
    assert_int_equal(pager_start_workers(p.world.bucket, &p.world.requests), 0);
    for (size_t i = 0; i < 3; i++) {
        wait_page(object, i, SK_WANT_PRESENT);
        assert_int_equal(byte_of(object, i), i + 1);
    }
    party_close(&p);
}

/* pager_stop_workers returns when all threads have let go: requests that are received are done first (pager/extensions.h).  */
static void test_stop_finishes_what_was_received(void **state)
{
    struct party p;
    party_open(&p, state, 0, 8, 0);
    struct client *object = party_join(&p);
    store_close_gate(&p.world, CALL_READ);
    ask(object, 0, VM_PROT_READ);
    store_wait_gate(&p.world, CALL_READ, 1);
    struct task task;
    task_begin(&task, stop, &p.world);
    assert_true(task_waits(&task));
    store_open_gate(&p.world, CALL_READ);
    assert_int_equal(task_end(&task), 0);
    assert_int_equal(byte_of(object, 0), 1);
    wait_page(object, 0, SK_WANT_PRESENT);
    assert_int_equal(pager_start_workers(p.world.bucket, &p.world.requests), 0);
    party_close(&p);
}

/* Workers that are inhibited can be stopped without being resumed.  */
static void test_stop_while_inhibited(void **state)
{
    struct party p;
    party_open(&p, state, 0, 8, 0);
    assert_int_equal(pager_inhibit_workers(p.world.requests), 0);
    pager_stop_workers(p.world.requests);
    assert_int_equal(pager_start_workers(p.world.bucket, &p.world.requests), 0);
    unsigned char byte;
    assert_int_equal(try_read(party_join(&p), 0, &byte), 0);
    party_close(&p);
}

/* pager_inhibit_workers returns when all earlier requests are done (section 3), those whose callback runs and those queued behind
   it alike; EBUSY for a second caller (hurd/pager.h).  */
static void test_inhibit_waits_for_earlier_requests(void **state)
{
    struct party p;
    party_open(&p, state, 0, 8, 0);
    struct client *object = party_join(&p);
    for (int round = 0; round < 5; round++) {
        store_close_gate(&p.world, CALL_READ);
        for (size_t i = 0; i < 5; i++)
            ask(object, i, VM_PROT_READ);
        store_wait_gate(&p.world, CALL_READ, 1);
        struct task tasks[2], *task = world_begin_inhibition(tasks, &p.world);
        assert_true(round || task_waits(task));
        assert_false(task_done(task));
        store_open_gate(&p.world, CALL_READ);
        assert_int_equal(task_end(task), 0);
        /* All five: answered, not only called.  */
        for (size_t i = 0; i < 5; i++)
            assert_int_equal(byte_of(object, i), i + 1);
        for (size_t i = 0; i < 5; i++)
            wait_page(object, i, SK_WANT_PRESENT);
        assert_int_equal(pager_inhibit_workers(p.world.requests), EBUSY);
        pager_resume_workers(p.world.requests);
        pager_return(p.world.pager, 1);
        assert_int_equal(resident(object), 0);
    }
    party_close(&p);
}

/* Inhibited, nothing is served that was sent afterwards; pager_resume_workers goes on with it (section 3).  */
static void test_inhibited_workers_serve_nothing(void **state)
{
    struct party p;
    party_open(&p, state, 0, 8, 0);
    struct client *object = party_join(&p);
    assert_int_equal(pager_inhibit_workers(p.world.requests), 0);
    ask(object, 0, VM_PROT_READ);
    ask(object, 1, VM_PROT_READ);
    assert_true(still_waits(object, 0));
    assert_int_equal(hostmach_message_count(), 2);
    assert_int_equal(store_count(&p.world, CALL_READ), 0);
    pager_resume_workers(p.world.requests);
    wait_page(object, 0, SK_WANT_PRESENT);
    wait_page(object, 1, SK_WANT_PRESENT);
    /* Once more, and a resume too many does no harm.  */
    pager_resume_workers(p.world.requests);
    assert_int_equal(pager_inhibit_workers(p.world.requests), 0);
    pager_resume_workers(p.world.requests);
    pager_resume_workers(p.world.requests);
    assert_int_equal(pager_inhibit_workers(p.world.requests), 0);
    pager_resume_workers(p.world.requests);
    party_close(&p);
}

/* A request that comes during the inhibition's beginning waits: what is gated is done, the newcomer is not (section 3).  */
static void test_inhibit_does_not_wait_for_later_requests(void **state)
{
    struct party p;
    party_open(&p, state, 0, 8, 0);
    struct client *object = party_join(&p);
    assert_int_equal(pager_inhibit_workers(p.world.requests), 0);
    /* An endless stream: a page that is asked for again as soon as it is there could not keep it from returning either.  */
    for (size_t i = 0; i < 8; i++)
        ask(object, i, VM_PROT_READ);
    assert_int_equal(store_count(&p.world, CALL_READ), 0);
    pager_resume_workers(p.world.requests);
    assert_int_equal(pager_inhibit_workers(p.world.requests), 0);
    /* Those were sent before the second one.  */
    for (size_t i = 0; i < 8; i++)
        wait_page(object, i, SK_WANT_PRESENT);
    assert_int_equal(resident(object), 8);
    pager_resume_workers(p.world.requests);
    party_close(&p);
}

static void hook_inhibits(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    struct world *world = store->hook_argument;
    (void) call, (void) page;
    store->hook = NULL;
    inhibited_from_callback = pager_inhibit_workers(world->requests);
}

/* Not from a callback: EDEADLK (hurd/pager.h).  */
static void test_inhibit_from_a_callback_is_refused(void **state)
{
    struct party p;
    party_open(&p, state, 0, 8, 0);
    p.world.store->hook_argument = &p.world;
    p.world.store->hook = hook_inhibits;
    unsigned char byte;
    assert_int_equal(try_read(party_join(&p), 0, &byte), 0);
    assert_int_equal(inhibited_from_callback, EDEADLK);
    assert_int_equal(pager_inhibit_workers(p.world.requests), 0);
    pager_resume_workers(p.world.requests);
    party_close(&p);
}

struct toucher {
    struct client *object;
    atomic_int stop;
    unsigned errors;
};

static void *touch_on(void *argument)
{
    struct toucher *toucher = argument;
    for (unsigned i = 0; !toucher->stop; i++) {
        unsigned char byte;
        toucher->errors += try_read(toucher->object, i % 8, &byte) != 0;
        try_evict(toucher->object, i % 8);
    }
    return NULL;
}

/* While inhibited no callback runs, whatever comes; nothing is lost over many rounds (section 3).  */
static void test_inhibit_and_resume_under_load(void **state)
{
    struct party p;
    party_open(&p, state, 0, 8, 0);
    struct toucher touchers[2] = { { .object = party_join(&p) }, { .object = party_join(&p) } };
    pthread_t threads[2] = { spawn(touch_on, &touchers[0]), spawn(touch_on, &touchers[1]) };
    for (int round = 0; round < 200; round++) {
        assert_int_equal(world_inhibit(&p.world), 0);
        unsigned reads = store_count(&p.world, CALL_READ);
        for (int i = 0; i < 20; i++)
            sched_yield();
        assert_int_equal(store_count(&p.world, CALL_READ), reads);
        pager_resume_workers(p.world.requests);
    }
    for (int i = 0; i < 2; i++) {
        touchers[i].stop = 1;
        join(threads[i]);
        assert_int_equal(touchers[i].errors, 0);
    }
    party_close(&p);
}

/* Two calls of pager_start_workers for one bucket: both sets of workers serve, and end.  */
static void test_two_sets_of_workers(void **state)
{
    struct party c;
    party_open(&c, state, 2, 32, 0);
    struct pager_requests *more;
    assert_int_equal(pager_start_workers(c.world.bucket, &more), 0);
    for (size_t page = 0; page < 32; page++) {
        put(c.clients[page & 1], page, (unsigned char) (page + 50));
        assert_int_equal(get(c.clients[!(page & 1)], page), page + 50);
    }
    pager_return(c.world.pager, 1);
    pager_stop_workers(more);
    for (size_t page = 0; page < 32; page++)
        assert_int_equal(get(c.clients[0], page), page + 50);
    party_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_start_serves_what_waited),
        BOTH(test_stop_finishes_what_was_received),
        BOTH(test_stop_while_inhibited),
        BOTH(test_inhibit_waits_for_earlier_requests),
        BOTH(test_inhibited_workers_serve_nothing),
        BOTH(test_inhibit_does_not_wait_for_later_requests),
        BOTH(test_inhibit_from_a_callback_is_refused),
        BOTH(test_inhibit_and_resume_under_load),
        BOTH(test_two_sets_of_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
