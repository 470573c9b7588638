/* pager_offer_page, and what crosses an offer: requests, returns, unlocks.  */

#include "raw.h"

enum { QUEUE = 0x1fffe00 };                /* bits of the page word (docs/design.md) */

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
    raw_stop_at(&client, SK_DATA_SUPPLY);
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

/* An unlock of before is overtaken by a request of another thread of the same kernel's, which has lost the page since: it is not taken for the
   request, which the flush for a writer would then have answered. (Simulation, seed 10181694.)  */
static void an_unlock_is_overtaken_by_a_request(vm_prot_t others)
{
    struct cast c;
    cast_open(&c, 1, 4, 0);
    sk_object *y = c.objects[0];
    vm_address_t buffer = offered_page(77);
    pager_offer_page(c.world.pager, 0, 0, page_offset(2), buffer);
    sk_object *z = cast_join(&c);
    struct raw x;
    raw_open(&x, &c.world, 1, 0);
    raw_wait_for(&x, SK_READY);
    raw_request(&x, 1, VM_PROT_READ);
    raw_wait_for(&x, SK_DATA_SUPPLY);
    world_settle(&c.world);
    store_close_gate(&c.world, CALL_READ);
    ask(y, 1, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    ask(z, 1, others);
    fence_by_refusal(&c, z);
    raw_request(&x, 1, RW);
    raw_unlock(&x, 1);
    fence_by_refusal(&c, z);
    store_open_gate(&c.world, CALL_READ);
    raw_wait_for(&x, SK_LOCK_REQUEST);
    raw_complete(&x, 1);
    wait_page(z, 1, SK_WANT_PRESENT);
    raw_wait_for_more(&x, SK_DATA_SUPPLY, 2);
    world_settle(&c.world);
    assert_int_equal(pager_page_word(c.world.pager, page_offset(1)) & QUEUE, 0);
    vm_deallocate(mach_task_self(), buffer, vm_page_size);
    raw_close(&x);
    cast_close(&c);
}

static void test_unlock_overtaken_by_a_request_behind_a_writer(void **state)
{
    (void) state;
    an_unlock_is_overtaken_by_a_request(RW);
}

static void test_unlock_overtaken_by_a_request_behind_readers(void **state)
{
    (void) state;
    an_unlock_is_overtaken_by_a_request(VM_PROT_READ);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offer_beside_a_request_for_several_pages),
        cmocka_unit_test(test_request_crosses_an_offer),
        cmocka_unit_test(test_request_and_return_cross_an_offer),
        cmocka_unit_test(test_request_crosses_the_answer_to_one_that_crossed_an_offer),
        cmocka_unit_test(test_what_follows_an_offer_holds_nobody_up),
        cmocka_unit_test(test_unlock_overtaken_by_a_request_behind_a_writer),
        cmocka_unit_test(test_unlock_overtaken_by_a_request_behind_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
