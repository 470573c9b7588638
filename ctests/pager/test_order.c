/* Orders of events that show only while somebody is slow: messages of several pages, offers, the end of a port, all against the rule that one
   object's messages are taken in one at a time, whole, and in order.  */

#include <unistd.h>

#include "raw.h"

enum { QUEUE = 0x1fffe00 };                /* bits of the page word (docs/design.md) */

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

/* ---- Offers ---- */

static vm_address_t offered_page(unsigned char byte)
{
    vm_address_t buffer = 0;
    assert_int_equal(vm_allocate(mach_task_self(), &buffer, vm_page_size, 1), 0);
    memset((void *) buffer, byte, vm_page_size);
    return buffer;
}

/* A page that was asked for in a message of several is not offered beside that.  */
static void test_offer_beside_a_request_for_several_pages(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    store_close_gate(&c.world, CALL_READ);
    struct sk_message two = { .id = SK_DATA_REQUEST, .offset = 0, .length = 2 * vm_page_size, .access = RW };
    assert_int_equal(sk_send_raw(c.objects[0], &two, NULL, 0), 0);
    store_wait_gate(&c.world, CALL_READ, 1);
    vm_address_t buffer = offered_page(77);
    pager_offer_page(c.world.pager, 0, 0, page_offset(1), buffer);
    store_open_gate(&c.world, CALL_READ);
    wait_page(c.objects[0], 1, SK_WANT_WRITABLE);
    world_settle(&c.world);
    assert_int_equal(sk_count(c.objects[0], SK_DATA_SUPPLY), 2);
    assert_int_equal(kernel_byte(c.objects[0], 1), 2);
    vm_deallocate(mach_task_self(), buffer, vm_page_size);
    cast_close(&c);
}

struct offer { struct world *world; vm_address_t buffer; };

static int offer_page_0(void *argument)
{
    struct offer *offer = argument;
    pager_offer_page(offer->world->pager, 0, 0, 0, offer->buffer);
    return 0;
}

/* A request crosses the offer: the client's access stands, so that what it writes into the offered page is not refused.  */
static void test_request_crosses_an_offer(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    cast_kill(&c, 0);
    wait_clients(&c, 0);
    struct raw client;
    raw_open(&client, &c.world, 1, SK_DATA_SUPPLY);
    raw_wait_for(&client, SK_READY);
    unsigned number = 0;
    while (pager_page_access(c.world.pager, 0, number) < 0)
        number++;
    struct offer offer = { &c.world, offered_page(77) };
    struct task task;
    task_begin(&task, offer_page_0, &offer);
    raw_wait_stopped(&client);
    raw_request(&client, 0, RW);
    assert_true(task_waits(&task));
    assert_int_equal(pager_page_access(c.world.pager, 0, number), 3);
    raw_go(&client);
    task_end(&task);
    /* The page was there all the time, and was written.  */
    raw_wait_count(&client, 3);
    raw_return(&client, 0, 99, TRUE);
    store_wait_count(&c.world, CALL_WRITE, 1);
    world_settle(&c.world);
    assert_int_equal(store_byte(&c.world, 0), 99);
    assert_int_equal(world_statistics(&c.world).refused, 0);
    vm_deallocate(mach_task_self(), offer.buffer, vm_page_size);
    raw_close(&client);
    cast_close(&c);
}

/* A request crosses the offer, which answers it; the page is written and pushed out before the request is taken in. It must not be taken
   for one for a page that was dropped: the store's page, which is older, would come between.  */
static void test_request_and_return_cross_an_offer(void **state)
{
    (void) state;
    for (int notify = 0; notify < 2; notify++)
        for (int dirty = 0; dirty < 2; dirty++) {
            struct cast c;
            cast_open(&c, 1, 4, notify);
            unsigned char byte = 0;
            vm_address_t buffer = offered_page(store_byte(&c.world, 0));
            assert_int_equal(pager_inhibit_workers(c.world.requests), 0);
            assert_int_equal(sk_request(c.objects[0], 0, VM_PROT_READ), 0);
            pager_offer_page(c.world.pager, 0, 0, 0, buffer);
            wait_page(c.objects[0], 0, SK_WANT_WRITABLE);
            if (dirty)
                assert_int_equal(kernel_write(c.objects[0], 0, 88), 0);
            assert_int_equal(sk_evict(c.objects[0], 0), 0);
            pager_resume_workers(c.world.requests);
            world_settle(&c.world);
            assert_int_equal(kernel_read(c.objects[0], 0, &byte), 0);
            assert_int_equal(byte, dirty ? 88 : 1);
            world_settle(&c.world);
            assert_int_equal(pager_page_access(c.world.pager, 0, 0), 3);
            assert_int_equal(store_count(&c.world, CALL_EVICT), notify);
            /* What is written now is not refused.  */
            assert_int_equal(kernel_write(c.objects[0], 0, 99), 0);
            pager_return(c.world.pager, 1);
            world_settle(&c.world);
            assert_int_equal(store_byte(&c.world, 0), 99);
            assert_int_equal(world_statistics(&c.world).refused, 0);
            vm_deallocate(mach_task_self(), buffer, vm_page_size);
            cast_close(&c);
        }
}

static void raw_complete(struct raw *raw, size_t page)
{
    hostmach_task_t before = hostmach_task_enter(raw->task);
    assert_int_equal(memory_object_lock_completed(raw->pager, MACH_MSG_TYPE_COPY_SEND, raw->control, page_offset(page), vm_page_size), 0);
    hostmach_task_enter(before);
}

/* A request crosses the offer, so it is answered though nobody waits; that answer is crossed by the next request, which it answers. The client's
   access stands, and what it writes into the page is not refused.  */
static void test_request_crosses_the_answer_to_one_that_crossed_an_offer(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    cast_kill(&c, 0);
    wait_clients(&c, 0);
    struct raw client;
    raw_open(&client, &c.world, 1, 0);
    raw_wait_for(&client, SK_READY);
    unsigned number = 0;
    while (pager_page_access(c.world.pager, 0, number) < 0)
        number++;
    vm_address_t buffer = offered_page(77);
    assert_int_equal(pager_inhibit_workers(c.world.requests), 0);
    raw_request(&client, 0, RW);
    pager_offer_page(c.world.pager, 0, 0, 0, buffer);
    raw_wait_for(&client, SK_DATA_SUPPLY);
    pager_resume_workers(c.world.requests);
    /* It drops the page, unchanged; that is asked back.  */
    raw_wait_for(&client, SK_LOCK_REQUEST);
    pthread_mutex_lock(&client.lock);
    client.stop_at = SK_DATA_SUPPLY;
    pthread_mutex_unlock(&client.lock);
    raw_complete(&client, 0);
    raw_wait_stopped(&client);
    raw_request(&client, 0, RW);
    while (!(pager_page_word(c.world.pager, 0) & QUEUE))
        sched_yield();
    assert_int_equal(pager_page_access(c.world.pager, 0, number), 3);
    raw_go(&client);
    /* The page was there all the time, and was written; that is asked back.  */
    while (raw_has(&client, SK_LOCK_REQUEST) < 2)
        sched_yield();
    raw_return(&client, 0, 99, TRUE);
    raw_complete(&client, 0);
    store_wait_count(&c.world, CALL_WRITE, 1);
    world_settle(&c.world);
    assert_int_equal(store_byte(&c.world, 0), 99);
    assert_int_equal(world_statistics(&c.world).refused, 0);
    assert_int_equal(raw_has(&client, SK_DATA_SUPPLY), 2);
    assert_int_equal(pager_page_access(c.world.pager, 0, number), 0);
    vm_deallocate(mach_task_self(), buffer, vm_page_size);
    raw_close(&client);
    cast_close(&c);
}

/* What follows from an offered page, once it is sent, does not hold up requests: here the client keeps the thread that offered in the
   answer to an unlock.  */
static void test_what_follows_an_offer_holds_nobody_up(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    cast_kill(&c, 0);
    wait_clients(&c, 0);
    struct raw client;
    raw_open(&client, &c.world, 1, SK_DATA_SUPPLY);
    raw_wait_for(&client, SK_READY);
    struct offer offer = { &c.world, offered_page(77) };
    struct task task;
    task_begin(&task, offer_page_0, &offer);
    raw_wait_stopped(&client);
    raw_unlock(&client, 0);
    while (!(pager_page_word(c.world.pager, 0) & QUEUE))
        sched_yield();
    raw_go_until(&client, SK_LOCK_REQUEST);
    raw_request(&client, 1, VM_PROT_READ);
    store_wait_count(&c.world, CALL_READ, 1);
    raw_go(&client);
    task_end(&task);
    world_settle(&c.world);
    assert_int_equal(raw_has(&client, SK_DATA_SUPPLY), 2);
    vm_deallocate(mach_task_self(), offer.buffer, vm_page_size);
    raw_close(&client);
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
        cmocka_unit_test(test_offer_beside_a_request_for_several_pages),
        cmocka_unit_test(test_request_crosses_an_offer),
        cmocka_unit_test(test_request_and_return_cross_an_offer),
        cmocka_unit_test(test_request_crosses_the_answer_to_one_that_crossed_an_offer),
        cmocka_unit_test(test_what_follows_an_offer_holds_nobody_up),
        cmocka_unit_test(test_only_copy_comes_back_while_it_is_being_sent),
        cmocka_unit_test(test_turns_end_with_the_port),
        cmocka_unit_test(test_read_only_port_that_fails_keeps_nothing_alive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
