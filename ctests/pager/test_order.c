/* Orders of events that show only while somebody is slow: messages of several pages, the end of a port, all against the rule that one
   object's messages are taken in one at a time, whole, and in order.  */

#include <unistd.h>

#include "raw.h"

/* ---- Several pages in one message ---- */

static int shut_down(void *pager) { pager_shutdown(pager); return 0; }

/* All pages of a request are taken in with it: a shutdown does not return while one of them is still to be read, though the first is answered
   and the thread that took the message in is kept by another client.  */
static void test_a_request_for_several_pages_is_taken_in_whole(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    struct raw owner;
    raw_open(&owner, &c.world, 1, SK_LOCK_REQUEST);
    raw_wait_for(&owner, SK_READY);
    raw_request(&owner, 0, RW);
    raw_wait_for(&owner, SK_DATA_SUPPLY);
    world_settle(&c.world);
    struct sk_message two = { .id = SK_DATA_REQUEST, .offset = 0, .length = 2 * vm_page_size, .access = VM_PROT_READ };
    assert_int_equal(sk_send_raw(c.objects[0], &two, NULL, 0), 0);
    raw_wait_stopped(&owner);
    /* The owner's answer overtakes the return from its message.  */
    hostmach_task_t before = hostmach_task_enter(owner.task);
    assert_int_equal(memory_object_lock_completed(owner.pager, MACH_MSG_TYPE_COPY_SEND, owner.control, 0, vm_page_size), 0);
    hostmach_task_enter(before);
    wait_page(c.objects[0], 0, SK_WANT_PRESENT);
    struct task end;
    /* (The owner answers no lock request.)  */
    pager_set_shutdown_patience(c.world.pager, 300);
    task_begin(&end, shut_down, c.world.pager);
    assert_true(task_waits(&end));
    raw_go(&owner);
    task_end(&end);
    assert_int_equal(store_count(&c.world, CALL_READ), 3);
    assert_int_equal(sk_count(c.objects[0], SK_DATA_SUPPLY) + sk_count(c.objects[0], SK_DATA_ERROR), 2);
    raw_close(&owner);
    cast_close(&c);
}

/* Callbacks come in the order of the requests, also for the later pages of one message.  */
static void test_pages_of_one_message_are_not_overtaken(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 8, 0);
    store_close_gate(&c.world, CALL_READ);
    struct sk_message three = { .id = SK_DATA_REQUEST, .offset = 0, .length = 3 * vm_page_size, .access = VM_PROT_READ };
    assert_int_equal(sk_send_raw(c.objects[0], &three, NULL, 0), 0);
    store_wait_gate(&c.world, CALL_READ, 1);
    ask(c.objects[1], 5, VM_PROT_READ);
    world_fence(&c.world);
    store_open_gate(&c.world, CALL_READ);
    wait_page(c.objects[1], 5, SK_WANT_PRESENT);
    static const size_t order[] = { 0, 1, 2, 5 };
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(store_call(&c.world, CALL_READ, i).page, page_offset(order[i]));
    world_settle(&c.world);
    cast_close(&c);
}

/* ---- The only copy ---- */

/* A write fails while its version waits to be handed on; the client gets it, and gives it back unchanged before the thread that sent it has noted
   that it is sent. It is all there is, and is written (R10).  */
static void test_only_copy_comes_back_while_it_is_being_sent(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0];
    struct raw next;
    raw_open(&next, &c.world, 1, SK_DATA_SUPPLY);
    raw_wait_for(&next, SK_READY);
    put(a, 0, 70);
    world_settle(&c.world);
    store_close_gate(&c.world, CALL_WRITE);
    pager_sync_some(c.world.pager, 0, vm_page_size, 0);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    sk_hold(a, SK_HOLD_LOCK);
    raw_request(&next, 0, RW);
    held(a, 1);
    store_fail(&c.world, CALL_WRITE, EIO, 1);
    store_open_gate(&c.world, CALL_WRITE);
    while (pager_get_error(c.world.pager, 0) != EIO)
        sched_yield();
    sk_release_all(a);
    raw_wait_stopped(&next);
    raw_return(&next, 0, 70, FALSE);
    fence_by_refusal(&c, a);
    raw_go(&next);
    world_settle(&c.world);
    assert_int_equal(store_byte(&c.world, 0), 70);
    assert_int_equal(pager_get_error(c.world.pager, 0), 0);
    assert_int_equal(get(a, 0), 70);
    raw_close(&next);
    cast_close(&c);
}

/* ---- The end of a port ---- */

static struct cast *destroyed;
static mach_port_t watched;
static int stopped, go;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_changed = PTHREAD_COND_INITIALIZER;

void *__real_ports_lookup_port(struct port_bucket *, mach_port_t, struct port_class *);
void *__wrap_ports_lookup_port(struct port_bucket *, mach_port_t, struct port_class *);
mach_port_t __real_ports_claim_right(void *);
mach_port_t __wrap_ports_claim_right(void *);

/* Locked.  */
static void wait_gate(void)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 30;
    if (each_timedwait(&gate_changed, &gate, &end) != 0)
        abort();
}

/* The worker that looks the watched port up first is slow.  */
void *__wrap_ports_lookup_port(struct port_bucket *bucket, mach_port_t name, struct port_class *class)
{
    pthread_mutex_lock(&gate);
    if (class && watched && name == watched) {
        watched = MACH_PORT_NULL;
        stopped = 1;
        pthread_cond_broadcast(&gate_changed);
        while (!go && !each_over())
            wait_gate();
    }
    pthread_mutex_unlock(&gate);
    return __real_ports_lookup_port(bucket, name, class);
}

/* Just before the right goes two more messages come, and are received by two workers.  */
mach_port_t __wrap_ports_claim_right(void *port)
{
    struct cast *c = destroyed;
    if (c) {
        destroyed = NULL;
        struct sk_message request = { .id = SK_DATA_REQUEST, .offset = 0, .length = vm_page_size, .access = VM_PROT_READ };
        pthread_mutex_lock(&gate);
        watched = ((struct port_info *) port)->port_right;
        pthread_mutex_unlock(&gate);
        assert_int_equal(sk_send_raw(c->objects[0], &request, NULL, 0), 0);
        pthread_mutex_lock(&gate);
        while (!stopped && !each_over())
            wait_gate();
        pthread_mutex_unlock(&gate);
        assert_int_equal(sk_send_raw(c->objects[0], &request, NULL, 0), 0);
        /* A chance for the second worker to wait for its turn.  */
        usleep(30000);
    }
    return __real_ports_claim_right(port);
}

/* A message whose predecessor found no port any more does not wait for its turn for ever: workers end, the pager goes.  */
static void test_turns_end_with_the_port(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    destroyed = &c;
    pager_shutdown(c.world.pager);
    pthread_mutex_lock(&gate);
    go = 1;
    pthread_cond_broadcast(&gate_changed);
    pthread_mutex_unlock(&gate);
    cast_close(&c);
}

/* pager_create_ro_port that fails leaves no promise of a right behind for which the pager would live on.  */
static void test_read_only_port_that_fails_keeps_nothing_alive(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 4, 0);
    unsigned failed = 0;
    for (unsigned n = 0; n < 8; n++) {
        hostmach_fail_memory(n, 1);
        mach_port_t proxy = pager_create_ro_port(world.pager);
        hostmach_fail_memory(0, 0);
        if (MACH_PORT_VALID(proxy))
            mach_port_deallocate(mach_task_self(), proxy);
        else
            failed++;
    }
    assert_true(failed > 0);
    /* No shutdown: the last reference alone must end it.  */
    ports_port_deref(world.pager);
    mach_port_deallocate(mach_task_self(), world.port);
    pthread_mutex_lock(&world.store->lock);
    while (!world.store->cleared) {
        pthread_mutex_unlock(&world.store->lock);
        sched_yield();
        pthread_mutex_lock(&world.store->lock);
    }
    pthread_mutex_unlock(&world.store->lock);
    pager_stop_workers(world.requests);
    assert_int_equal(ports_destroy_bucket(world.bucket), 0);
    assert_int_equal(hostmach_port_count(), world.ports_before);
    free(world.store->data);
    free(world.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_for_several_pages_is_taken_in_whole),
        cmocka_unit_test(test_pages_of_one_message_are_not_overtaken),
        cmocka_unit_test(test_only_copy_comes_back_while_it_is_being_sent),
        cmocka_unit_test(test_turns_end_with_the_port),
        cmocka_unit_test(test_read_only_port_that_fails_keeps_nothing_alive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
