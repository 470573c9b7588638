/* The messages of a lone client, one at a time (Service/Lone.swift): its names stay while it is sent to, and no longer; its answers count for
   flushes; a callback that waits gives up what the executor stood for.  */

#include "alone.h"

/* The names are needed: however long one looks.  */
static void see_names_stay(const struct place *place)
{
    for (int look = 0; look < 2000; look++) {
        assert_true(count_rights() > place->rights);
        sched_yield();
    }
}

static void end(struct raw *raw, int dies)
{
    hostmach_task_t before = hostmach_task_enter(raw->task);
    if (dies)
        assert_int_equal(mach_port_mod_refs(mach_task_self(), raw->control, MACH_PORT_RIGHT_RECEIVE, -1), 0);
    else
        assert_int_equal(memory_object_terminate(raw->pager, raw->control, raw->name), 0);
    hostmach_task_enter(before);
}

static void wait_forgotten(struct place *place, size_t page)
{
    while (world_statistics(&place->world).clients != 0 || pager_page_access(place->world.pager, page_offset(page), 0) > 0)
        sched_yield();
}

static void open_stopped_in_supply(struct place *place, struct raw *raw)
{
    place_open(place, 1);
    raw_open_alone(raw, place);
    raw_request(raw, 0, VM_PROT_READ);
    raw_wait_stopped(raw);
}

/* The client has ended, every page has forgotten it, and a thread is still sending to it: its names stay until that is done.  */
static void end_in_its_supply(int dies)
{
    struct place place;
    struct raw raw;
    open_stopped_in_supply(&place, &raw);
    end(&raw, dies);
    wait_forgotten(&place, 0);
    see_names_stay(&place);
    raw_go(&raw);
    raw_close(&raw);
    wait_rights(place.rights);
    place_close(&place);
}

static void test_names_of_a_client_that_ends_in_its_supply(void **state)
{
    (void) state;
    end_in_its_supply(0);
}

static void test_names_of_a_client_that_dies_in_its_supply(void **state)
{
    (void) state;
    end_in_its_supply(1);
}

/* The same for the permission to write.  */
static void test_names_of_a_client_that_ends_in_its_permission(void **state)
{
    (void) state;
    struct place place;
    place_open(&place, 1);
    store_write_lock(&place.world, 1);
    struct raw raw;
    raw_open(&raw, &place.world, 1, SK_LOCK_REQUEST);
    raw_wait_for(&raw, SK_READY);
    raw_request(&raw, 0, RW);
    raw_wait_for(&raw, SK_DATA_SUPPLY);
    world_settle(&place.world);
    raw_unlock(&raw, 0);
    raw_wait_stopped(&raw);
    end(&raw, 0);
    wait_forgotten(&place, 0);
    see_names_stay(&place);
    raw_go(&raw);
    raw_close(&raw);
    wait_rights(place.rights);
    place_close(&place);
}

/* It is not alone any more while it is sent to, ends, and another one is alone then: of two clients each is held for as long as is needed.  */
static void test_names_of_a_client_that_is_alone_no_more(void **state)
{
    (void) state;
    struct place place;
    struct raw raw;
    open_stopped_in_supply(&place, &raw);
    sk_object *second = sk_map(place.kernel, place.world.port);
    while (world_statistics(&place.world).clients != 2)
        sched_yield();
    end(&raw, 1);
    while (world_statistics(&place.world).clients != 1)
        sched_yield();
    assert_int_equal(sk_terminate(second), 0);
    wait_forgotten(&place, 0);
    see_names_stay(&place);
    raw_go(&raw);
    raw_close(&raw);
    wait_rights(place.rights);
    /* And the short way goes on with the next one.  */
    second = sk_map(place.kernel, place.world.port);
    for (size_t page = 0; page < 8; page++)
        put(second, page, 7);
    assert_int_equal(sk_terminate(second), 0);
    wait_rights(place.rights);
    place_close(&place);
}

/* A client that ends while its page is read gets nothing, and its names go though the read goes on.  */
static void test_names_of_a_client_that_ends_while_its_page_is_read(void **state)
{
    (void) state;
    struct place place;
    place_open(&place, 1);
    struct raw raw;
    raw_open_alone(&raw, &place);
    store_close_gate(&place.world, CALL_READ);
    raw_request(&raw, 0, VM_PROT_READ);
    store_wait_gate(&place.world, CALL_READ, 1);
    int supplies = raw_has(&raw, SK_DATA_SUPPLY);
    end(&raw, 0);
    wait_forgotten(&place, 0);
    store_open_gate(&place.world, CALL_READ);
    wait_rights(place.rights);
    assert_int_equal(raw_has(&raw, SK_DATA_SUPPLY), supplies);
    raw_close(&raw);
    place_close(&place);
}

static void test_flush_waits_for_an_answer_that_is_being_sent(void **state)
{
    (void) state;
    take_back_while_an_answer_is_being_sent(1, run_flush);
}

static void test_return_waits_for_an_answer_that_is_being_sent(void **state)
{
    (void) state;
    take_back_while_an_answer_is_being_sent(1, run_return);
}

static void hook_syncs_another(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    if ((call == CALL_READ || call == CALL_UNLOCK) && page == 0)
        pager_sync(((struct world *) store->hook_argument)->pager, 1);
}

/* A callback that waits lets others run, one at a time, and goes on when none does; who ends meanwhile keeps no names.  */
static void let_others_run(enum call waiting, int ends)
{
    struct place place;
    struct world second;
    place_open(&place, 1);
    world_join(&second, &place.world, 8, 0);
    sk_object *held = sk_map(place.kernel, second.port);
    put(held, 2, 99);
    sk_hold(held, SK_HOLD_LOCK);
    size_t rights = count_rights();
    sk_kernel *kernel = sk_kernel_create("B");
    sk_object *object = sk_map(kernel, place.world.port);
    put(object, 9, 5);
    if (waiting == CALL_UNLOCK) {
        store_write_lock(&place.world, 1);
        ask(object, 0, VM_PROT_READ);
        wait_page(object, 0, SK_WANT_PRESENT);
        store_write_lock(&place.world, 0);
    }
    world_settle(&place.world);
    place.world.store->hook_argument = &second;
    place.world.store->hook = hook_syncs_another;
    if (waiting == CALL_UNLOCK)
        ask_unlock(object, 0);
    else
        ask(object, 0, VM_PROT_READ);
    assert_int_equal(sk_wait_pending(held, 1, 0), 0);
    /* It waits: two others run, one after the other.  */
    store_close_gate(&place.world, CALL_READ);
    ask(object, 1, VM_PROT_READ);
    ask(object, 2, VM_PROT_READ);
    store_wait_gate(&place.world, CALL_READ, 1);
    fence_by_refusal_of(&place.world, object);
    if (ends) {
        assert_int_equal(sk_terminate(object), 0);
        wait_forgotten(&place, 0);
    }
    sk_release_all(held);
    store_open_gate(&place.world, CALL_READ);
    for (size_t page = 0; page < 3 && !ends; page++)
        wait_page(object, page, page == 0 && waiting == CALL_UNLOCK ? SK_WANT_WRITABLE : SK_WANT_PRESENT);
    if (!ends) {
        for (size_t page = 3; page < 8; page++)
            put(object, page, 5);
        assert_int_equal(sk_terminate(object), 0);
    }
    sk_kernel_destroy(kernel);
    wait_rights(rights);
    assert_int_equal(sk_terminate(held), 0);
    second.requests = NULL;
    world_close(&second);
    place_close(&place);
}

static void test_a_read_that_waits_lets_others_run(void **state)
{
    (void) state;
    let_others_run(CALL_READ, 0);
}

static void test_an_unlock_that_waits_lets_others_run(void **state)
{
    (void) state;
    let_others_run(CALL_UNLOCK, 0);
}

static void test_names_of_a_client_that_ends_while_its_read_waits(void **state)
{
    (void) state;
    let_others_run(CALL_READ, 1);
}

static void test_names_of_a_client_that_ends_while_its_unlock_waits(void **state)
{
    (void) state;
    let_others_run(CALL_UNLOCK, 1);
}

/* An unlock of before is overtaken by a request of another thread of the client's, which has lost the page since: whoever wants to write asks again
   when the page is there. (Found by the exhaustive search, with threads that overtake each other.)  */
static void an_unlock_is_overtaken_by_a_request(int write_lock)
{
    struct place place;
    place_open(&place, 1);
    struct raw raw;
    raw_open(&raw, &place.world, 1, 0);
    raw_wait_for(&raw, SK_READY);
    world_settle(&place.world);
    store_write_lock(&place.world, write_lock);
    store_close_gate(&place.world, CALL_READ);
    raw_request(&raw, 3, VM_PROT_READ);
    store_wait_gate(&place.world, CALL_READ, 1);
    raw_unlock(&raw, 3);
    raw_complete(&raw, 1000001);
    while (world_statistics(&place.world).refused == 0)
        sched_yield();
    store_open_gate(&place.world, CALL_READ);
    raw_wait_for(&raw, SK_DATA_SUPPLY);
    world_settle(&place.world);
    assert_int_equal(store_count(&place.world, CALL_UNLOCK), 0);
    assert_int_equal(raw_has(&raw, SK_LOCK_REQUEST), 0);
    raw_close(&raw);
    wait_rights(place.rights);
    place_close(&place);
}

static void test_unlock_overtaken_by_a_request_for_a_locked_page(void **state)
{
    (void) state;
    an_unlock_is_overtaken_by_a_request(1);
}

static void test_unlock_overtaken_by_a_request_for_a_page_without_lock(void **state)
{
    (void) state;
    an_unlock_is_overtaken_by_a_request(0);
}

/* What is counted beside the executor is part of the statistics.  */
static void test_messages_are_counted(void **state)
{
    (void) state;
    struct place place;
    place_open(&place, 1);
    store_write_lock(&place.world, 1);
    sk_object *object = sk_map(place.kernel, place.world.port);
    for (size_t page = 0; page < 16; page++)
        put(object, page, 5);
    world_settle(&place.world);
    assert_int_equal(world_statistics(&place.world).page_ins, 16);
    assert_int_equal(world_statistics(&place.world).supplies, 16);
    assert_int_equal(world_statistics(&place.world).unlocks, 16);
    place_close(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_of_a_client_that_ends_in_its_supply),
        cmocka_unit_test(test_names_of_a_client_that_dies_in_its_supply),
        cmocka_unit_test(test_names_of_a_client_that_ends_in_its_permission),
        cmocka_unit_test(test_names_of_a_client_that_is_alone_no_more),
        cmocka_unit_test(test_names_of_a_client_that_ends_while_its_page_is_read),
        cmocka_unit_test(test_flush_waits_for_an_answer_that_is_being_sent),
        cmocka_unit_test(test_return_waits_for_an_answer_that_is_being_sent),
        cmocka_unit_test(test_a_read_that_waits_lets_others_run),
        cmocka_unit_test(test_an_unlock_that_waits_lets_others_run),
        cmocka_unit_test(test_names_of_a_client_that_ends_while_its_read_waits),
        cmocka_unit_test(test_names_of_a_client_that_ends_while_its_unlock_waits),
        cmocka_unit_test(test_unlock_overtaken_by_a_request_for_a_locked_page),
        cmocka_unit_test(test_unlock_overtaken_by_a_request_for_a_page_without_lock),
        cmocka_unit_test(test_messages_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
