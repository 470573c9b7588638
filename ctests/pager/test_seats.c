/* Reads that run at once for a lone client (Service/Seats.swift): what a seat keeps goes with the client, what is sent from it counts for
   flushes, and a read that waits makes room.  */

#include "alone.h"

enum { READS = 4 };

/* A seat keeps the client's names for the next read; when the client goes, its names go.  */
static void test_names_of_a_client_that_goes(void **state)
{
    (void) state;
    struct place place;
    place_open(&place, READS);
    for (int round = 0; round < 3; round++) {
        sk_object *object = sk_map(place.kernel, place.world.port);
        for (size_t page = 0; page < 8; page++)
            put(object, page, 5);
        assert_true(count_rights() > place.rights);
        assert_int_equal(sk_terminate(object), 0);
        wait_rights(place.rights);
    }
    place_close(&place);
}

/* The same while its pages are read: with the end of the last read at the latest.  */
static void test_names_of_a_client_that_dies_while_its_pages_are_read(void **state)
{
    (void) state;
    struct place place;
    place_open(&place, READS);
    sk_object *object = sk_map(place.kernel, place.world.port);
    /* Each seat has had the client.  */
    for (int round = 0; round < 2; round++) {
        store_close_gate(&place.world, CALL_READ);
        for (size_t page = 0; page < READS; page++)
            ask(object, (size_t) round * READS + page, VM_PROT_READ);
        store_wait_gate(&place.world, CALL_READ, READS);
        if (round == 0) {
            store_open_gate(&place.world, CALL_READ);
            for (size_t page = 0; page < READS; page++)
                wait_page(object, page, SK_WANT_PRESENT);
        }
    }
    sk_kernel_destroy(place.kernel);
    place.kernel = NULL;
    while (world_statistics(&place.world).clients != 0)
        sched_yield();
    store_open_gate(&place.world, CALL_READ);
    wait_rights(place.rights);
    place_close(&place);
}

/* ... also where the client has ended already, but a thread still sends to it, when so many reads come to their answers.  */
static void end_before_answers(int dies, int reads)
{
    struct place place;
    place_open(&place, READS);
    struct raw raw;
    raw_open_alone(&raw, &place);
    raw_request(&raw, 0, VM_PROT_READ);
    raw_wait_stopped(&raw);
    store_close_gate(&place.world, CALL_READ);
    for (int page = 1; page <= reads; page++)
        raw_request(&raw, (size_t) page, VM_PROT_READ);
    store_wait_gate(&place.world, CALL_READ, reads);
    uint32_t sent = pager_page_word(place.world.pager, 0), read = pager_page_word(place.world.pager, page_offset(1));
    hostmach_task_t before = hostmach_task_enter(raw.task);
    if (dies)
        assert_int_equal(mach_port_mod_refs(mach_task_self(), raw.control, MACH_PORT_RIGHT_RECEIVE, -1), 0);
    else
        assert_int_equal(memory_object_terminate(raw.pager, raw.control, raw.name), 0);
    hostmach_task_enter(before);
    while (world_statistics(&place.world).clients != 0)
        sched_yield();
    /* Every page has forgotten it.  */
    for (int page = 0; page <= reads; page++)
        while (pager_page_word(place.world.pager, page_offset((size_t) page)) == (page == 0 ? sent : read))
            sched_yield();
    store_open_gate(&place.world, CALL_READ);
    while (world_statistics(&place.world).page_ins < 2 + (unsigned) reads)
        sched_yield();
    raw_go(&raw);
    raw_close(&raw);
    wait_rights(place.rights);
    place_close(&place);
}

static void test_names_of_a_client_that_ended_before_the_answer(void **state)
{
    (void) state;
    end_before_answers(0, 1);
}

static void test_names_of_a_client_that_died_before_the_answer(void **state)
{
    (void) state;
    end_before_answers(1, 1);
}

static void test_names_of_a_client_that_died_before_several_answers(void **state)
{
    (void) state;
    end_before_answers(1, READS - 1);
}

/* Who was served from the seats before keeps nothing there, either.  */
static void test_names_of_a_client_that_was_alone_before(void **state)
{
    (void) state;
    struct place place;
    place_open(&place, READS);
    sk_object *first = sk_map(place.kernel, place.world.port);
    for (size_t page = 0; page < 8; page++)
        put(first, page, 5);
    size_t one = count_rights();
    sk_kernel *other = sk_kernel_create("B");
    sk_object *second = sk_map(other, place.world.port);
    assert_int_equal(get(second, 3), 5);
    assert_int_equal(sk_terminate(first), 0);
    wait_rights(one);
    for (size_t page = 8; page < 12; page++)
        put(second, page, 6);
    assert_int_equal(sk_terminate(second), 0);
    wait_rights(place.rights);
    sk_kernel_destroy(other);
    place_close(&place);
}

static void test_flush_waits_for_an_answer_that_is_being_sent(void **state)
{
    (void) state;
    take_back_while_an_answer_is_being_sent(READS, run_flush);
}

static void test_return_waits_for_an_answer_that_is_being_sent(void **state)
{
    (void) state;
    take_back_while_an_answer_is_being_sent(READS, run_return);
}

static void hook_syncs_another(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    if (call == CALL_READ && page == 0)
        pager_sync(((struct world *) store->hook_argument)->pager, 1);
}

/* A callback that waits makes room for another read (Callback.swift), and waits for room before it goes on: never do more than so many run
   that do not wait.  */
static void test_a_read_that_waits_makes_room(void **state)
{
    (void) state;
    struct place place;
    struct world second;
    place_open(&place, READS);
    world_join(&second, &place.world, 8, 0);
    sk_object *object = sk_map(place.kernel, place.world.port), *held = sk_map(place.kernel, second.port);
    put(held, 2, 99);
    sk_hold(held, SK_HOLD_LOCK);
    place.world.store->hook_argument = &second;
    place.world.store->hook = hook_syncs_another;
    ask(object, 0, VM_PROT_READ);
    assert_int_equal(sk_wait_pending(held, 1, 0), 0);
    store_close_gate(&place.world, CALL_READ);
    for (size_t page = 1; page <= READS + 1; page++)
        ask(object, page, VM_PROT_READ);
    store_wait_gate(&place.world, CALL_READ, READS);
    fence_by_refusal_of(&place.world, object);
    assert_int_equal(place.world.store->running_reads, READS + 1);
    sk_release_all(held);
    store_open_gate(&place.world, CALL_READ);
    for (size_t page = 0; page <= READS + 1; page++)
        wait_page(object, page, SK_WANT_PRESENT);
    place.world.store->hook = NULL;
    assert_int_equal(sk_terminate(held), 0);
    second.requests = NULL;
    world_close(&second);
    place_close(&place);
}

/* Reads that have seats and reads of the long way (pages of one message) are counted together: as many as are allowed, and no more.  */
static void test_seats_and_the_long_way_share_the_limit(void **state)
{
    (void) state;
    struct place place;
    place_open(&place, READS);
    sk_object *object = sk_map(place.kernel, place.world.port);
    put(object, 15, 5);
    store_close_gate(&place.world, CALL_READ);
    ask(object, 8, VM_PROT_READ);
    store_wait_gate(&place.world, CALL_READ, 1);
    struct sk_message several = { .id = SK_DATA_REQUEST, .offset = 0, .length = 6 * vm_page_size, .access = VM_PROT_READ };
    assert_int_equal(sk_send_raw(object, &several, NULL, 0), 0);
    store_wait_gate(&place.world, CALL_READ, READS);
    fence_by_refusal_of(&place.world, object);
    assert_int_equal(place.world.store->running_reads, READS);
    store_open_gate(&place.world, CALL_READ);
    for (size_t page = 0; page < 6; page++)
        wait_page(object, page, SK_WANT_PRESENT);
    wait_page(object, 8, SK_WANT_PRESENT);
    assert_int_equal(place.world.store->max_reads, READS);
    place_close(&place);
}

/* While a page is read for a client that is alone, that client has nothing of it: what it says to give back is refused, and not written beside the
   read. Once the answer is on its way, it may. (Found by the simulation: seed 8968 of commit 494eeb0.)  */
static void give_back_what_is_being_read(unsigned reads)
{
    static _Alignas(4096) const unsigned char data[4096] = { 66 };
    struct place place;
    place_open(&place, reads);
    sk_object *object = sk_map(place.kernel, place.world.port);
    put(object, 9, 5);
    world_settle(&place.world);
    store_close_gate(&place.world, CALL_READ);
    ask(object, 0, RW);
    store_wait_gate(&place.world, CALL_READ, 1);
    unsigned refused = (unsigned) world_statistics(&place.world).refused;
    for (int kept = 0; kept < 2; kept++) {
        struct sk_message message = { .id = SK_DATA_RETURN, .offset = 0, .length = vm_page_size, .dirty = 1, .kernel_copy = kept };
        assert_int_equal(sk_send_raw(object, &message, data, vm_page_size), 0);
    }
    while (world_statistics(&place.world).refused < refused + 2)
        sched_yield();
    assert_int_equal(store_count(&place.world, CALL_WRITE), 0);
    store_open_gate(&place.world, CALL_READ);
    wait_page(object, 0, SK_WANT_WRITABLE);
    assert_int_not_equal(get(object, 0), 66);
    poke(object, 0, 67);
    pager_return(place.world.pager, 1);
    assert_int_equal(store_byte(&place.world, 0), 67);
    place_close(&place);
}

static void test_a_page_that_is_being_read_does_not_come_back(void **state)
{
    (void) state;
    give_back_what_is_being_read(READS);
}

static void test_a_page_that_is_being_read_does_not_come_back_one_at_a_time(void **state)
{
    (void) state;
    give_back_what_is_being_read(1);
}

/* What is counted at the seats is part of the statistics.  */
static void test_reads_are_counted(void **state)
{
    (void) state;
    struct place place;
    place_open(&place, READS);
    sk_object *object = sk_map(place.kernel, place.world.port);
    for (size_t page = 0; page < 16; page++)
        put(object, page, 5);
    world_settle(&place.world);
    assert_int_equal(world_statistics(&place.world).page_ins, 16);
    assert_int_equal(world_statistics(&place.world).supplies, 16);
    place_close(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_of_a_client_that_goes),
        cmocka_unit_test(test_names_of_a_client_that_dies_while_its_pages_are_read),
        cmocka_unit_test(test_names_of_a_client_that_ended_before_the_answer),
        cmocka_unit_test(test_names_of_a_client_that_died_before_the_answer),
        cmocka_unit_test(test_names_of_a_client_that_died_before_several_answers),
        cmocka_unit_test(test_names_of_a_client_that_was_alone_before),
        cmocka_unit_test(test_flush_waits_for_an_answer_that_is_being_sent),
        cmocka_unit_test(test_return_waits_for_an_answer_that_is_being_sent),
        cmocka_unit_test(test_a_read_that_waits_makes_room),
        cmocka_unit_test(test_seats_and_the_long_way_share_the_limit),
        cmocka_unit_test(test_a_page_that_is_being_read_does_not_come_back),
        cmocka_unit_test(test_a_page_that_is_being_read_does_not_come_back_one_at_a_time),
        cmocka_unit_test(test_reads_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
