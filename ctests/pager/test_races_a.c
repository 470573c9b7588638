/* The races R1 to R5 that multi-client work ran into: two returns behind a slow write, a synced page, unlocks that cross flushes,
   requests that cross answers.  The order of things is the test's, by gates and held messages.  */

#include "cast.h"

static int sync_page_0(void *pager) { pager_sync_some(pager, 0, vm_page_size, 1); return 0; }

/* ---- R2 ---- */

/* A synced version (kernel_copy) is not handed on while its holder may write again: B gets what the flush brought.  */
static void test_R2_synced_version_is_not_handed_on(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    put(a, 0, 20);
    sk_hold(a, SK_HOLD_LOCK);
    struct task sync;
    task_begin(&sync, sync_page_0, c.world.pager);
    held(a, 1);
    ask(b, 0, RW);
    held(a, 2);
    /* The sync: 20 comes back, A keeps its copy.  */
    release_first(a);
    task_end(&sync);
    assert_int_equal(store_byte(&c.world, 0), 20);
    assert_int_equal(state_of(b, 0), SK_PAGE_REQUESTED);
    poke(a, 0, 21);
    sk_release_all(a);
    wait_page(b, 0, SK_WANT_WRITABLE);
    assert_int_equal(kernel_byte(b, 0), 21);
    pager_sync(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 0), 21);
    cast_close(&c);
}

/* The same while the synced version is still being written, and for a reader: it gets the version that came last.  */
static void test_R2_synced_version_under_way_is_superseded(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    store_close_gate(&c.world, CALL_WRITE);
    put(a, 0, 30);
    pager_sync_some(c.world.pager, 0, vm_page_size, 0);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    put(a, 0, 31);
    sk_hold(a, SK_HOLD_COMPLETED);
    ask(b, 0, VM_PROT_READ);
    held(a, 1);
    assert_int_equal(state_of(b, 0), SK_PAGE_REQUESTED);
    sk_release_all(a);
    wait_page(b, 0, SK_WANT_READABLE);
    assert_int_equal(kernel_byte(b, 0), 31);
    store_open_gate(&c.world, CALL_WRITE);
    pager_sync(c.world.pager, 1);
    assert_int_equal(store_call(&c.world, CALL_WRITE, 0).first, 30);
    assert_int_equal(store_call(&c.world, CALL_WRITE, 1).first, 31);
    cast_close(&c);
}

/* The same for what a writer returns that is to become a reader: it has not said yet that it is one.  */
static void test_R2_downgraded_version_waits_for_the_completion(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    put(a, 0, 25);
    sk_hold(a, SK_HOLD_COMPLETED);
    ask(b, 0, VM_PROT_READ);
    held(a, 1);
    world_settle(&c.world);
    assert_int_equal(store_byte(&c.world, 0), 25);
    assert_int_equal(state_of(b, 0), SK_PAGE_REQUESTED);
    assert_int_equal(access_of(&c, 0, 1), 0);
    sk_release_all(a);
    wait_page(b, 0, SK_WANT_READABLE);
    assert_int_equal(kernel_byte(b, 0), 25);
    cast_close(&c);
}

/* ---- R3 ---- */

/* An unlock that crosses our flush of the page is answered by the flush.  */
static void test_R3_flush_answers_the_unlock_that_crossed_it(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    get(a, 0);
    get(b, 0);
    sk_hold(b, SK_HOLD_LOCK);
    ask_unlock(a, 0);
    held(b, 1);
    ask_unlock(b, 0);
    sk_release_all(b);
    wait_page(a, 0, SK_WANT_WRITABLE);
    world_settle(&c.world);
    assert_int_equal(state_of(b, 0), SK_PAGE_ABSENT);
    assert_int_equal(sk_count(b, SK_LOCK_REQUEST), 1);
    assert_int_equal(sk_count(b, SK_DATA_SUPPLY), 1);
    assert_int_equal(access_of(&c, 0, 0), 3);
    assert_int_equal(access_of(&c, 0, 1), 0);
    put(a, 0, 40);
    assert_int_equal(get(b, 0), 40);
    cast_close(&c);
}

/* The unlock may even come behind the flush's lock_completed: then it is refused, and nobody notices.  */
static void test_R3_unlock_behind_the_completion_is_harmless(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    get(a, 0);
    get(b, 0);
    put(a, 0, 41);
    assert_int_equal(state_of(b, 0), SK_PAGE_ABSENT);
    struct sk_message late = { .id = SK_DATA_UNLOCK, .offset = 0, .length = vm_page_size, .access = RW };
    assert_int_equal(sk_send_raw(b, &late, NULL, 0), 0);
    world_settle(&c.world);
    assert_int_equal(access_of(&c, 0, 0), 3);
    assert_int_equal(access_of(&c, 0, 1), 0);
    assert_int_equal(sk_count(b, SK_LOCK_REQUEST), 1);
    assert_int_equal(world_statistics(&c.world).refused, 1);
    put(a, 0, 42);
    assert_int_equal(get(b, 0), 42);
    cast_close(&c);
}

/* It may even come behind the lone client's next request. It is none itself: when that fails, nothing is read for a client that
   does not wait. (It was, and the answer taken for the one to the client's next request, which got another, for reading: what the client
   wrote was refused. The simulation's seed 2197660.)  */
static void test_R3_unlock_behind_the_next_request_is_no_request(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    sk_object *a = c.objects[0];
    store_write_lock(&c.world, 1);
    get(a, 0);
    evict(a, 0);
    store_close_gate(&c.world, CALL_READ);
    store_fail(&c.world, CALL_READ, EIO, 1);
    ask(a, 0, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    struct sk_message late = { .id = SK_DATA_UNLOCK, .offset = 0, .length = vm_page_size, .access = RW };
    assert_int_equal(sk_send_raw(a, &late, NULL, 0), 0);
    fence_by_refusal(&c, a);
    sk_hold(a, SK_HOLD_SUPPLY);
    store_open_gate(&c.world, CALL_READ);
    wait_page(a, 0, SK_WANT_ABSENT);
    world_settle(&c.world);
    assert_int_equal(store_count(&c.world, CALL_READ), 2);
    assert_int_equal(sk_pending(a), 0);
    assert_int_equal(access_of(&c, 0, 0), 0);
    store_write_lock(&c.world, 0);
    ask(a, 0, RW);
    sk_release_all(a);
    wait_page(a, 0, SK_WANT_WRITABLE);
    poke(a, 0, 43);
    world_settle(&c.world);
    assert_int_equal(sk_count(a, SK_DATA_SUPPLY), 2);
    evict(a, 0);
    world_settle(&c.world);
    assert_int_equal(store_byte(&c.world, 0), 43);
    assert_int_equal(get(a, 0), 43);
    cast_close(&c);
}

/* A user's flush answers an unlock as well: the client asks again and is served, once.  */
static void test_R3_users_flush_answers_the_unlock(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    get(a, 0);
    get(b, 0);
    /* B's flush for A's sake stays open, so A's unlock waits when the user's flush comes.  */
    sk_hold(b, SK_HOLD_LOCK);
    ask_unlock(a, 0);
    held(b, 1);
    pager_flush_some(c.world.pager, 0, vm_page_size, 0);
    assert_int_equal(sk_wait_page(a, 0, SK_WANT_ABSENT, 0), 0);
    world_wait_access(&c.world, 0, 0, 0);
    sk_release_all(b);
    world_settle(&c.world);
    assert_int_equal(access_of(&c, 0, 0), 0);
    assert_int_equal(access_of(&c, 0, 1), 0);
    assert_int_equal(state_of(a, 0), SK_PAGE_ABSENT);
    put(a, 0, 43);
    assert_int_equal(get(b, 0), 43);
    cast_close(&c);
}

/* ---- R4 ---- */

/* All readers want to write at once: one set of flushes, which answers all their unlocks.  */
static void test_R4_all_readers_ask_for_write_at_once(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 4, 4, 0);
    for (int i = 0; i < 4; i++)
        get(c.objects[i], 0);
    for (int i = 1; i < 4; i++)
        sk_hold(c.objects[i], SK_HOLD_LOCK);
    ask_unlock(c.objects[0], 0);
    for (int i = 1; i < 4; i++)
        held(c.objects[i], 1);
    for (int i = 1; i < 4; i++)
        ask_unlock(c.objects[i], 0);
    for (int i = 1; i < 4; i++)
        sk_release_all(c.objects[i]);
    wait_page(c.objects[0], 0, SK_WANT_WRITABLE);
    world_settle(&c.world);
    assert_int_equal(world_statistics(&c.world).flushes, 3);
    assert_int_equal(world_statistics(&c.world).unlocks, 1);
    for (int i = 1; i < 4; i++) {
        assert_int_equal(sk_count(c.objects[i], SK_LOCK_REQUEST), 1);
        assert_int_equal(state_of(c.objects[i], 0), SK_PAGE_ABSENT);
    }
    /* They ask again: each takes the page from the one before it, and from nobody else.  */
    for (int i = 1; i < 4; i++)
        ask(c.objects[i], 0, RW);
    world_wait_access(&c.world, 0, 3, 3);
    world_settle(&c.world);
    assert_int_equal(world_statistics(&c.world).flushes, 3 + 3);
    cast_close(&c);
}

/* ---- R5 ---- */

/* A flushed client that asks again before its lock_completed came waits behind the one that the flush was for.  */
static void test_R5_flushed_client_asks_again_before_lock_completed(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    put(a, 0, 50);
    sk_hold(a, SK_HOLD_COMPLETED);
    ask(b, 0, RW);
    held(a, 1);
    ask(a, 0, RW);
    fence_by_refusal(&c, a);
    assert_int_equal(state_of(a, 0), SK_PAGE_REQUESTED);
    assert_int_equal(state_of(b, 0), SK_PAGE_REQUESTED);
    sk_hold(b, SK_HOLD_LOCK);
    sk_release_all(a);
    held(b, 1);
    wait_page(b, 0, SK_WANT_WRITABLE);
    assert_int_equal(kernel_byte(b, 0), 50);
    assert_int_equal(state_of(a, 0), SK_PAGE_REQUESTED);
    assert_int_equal(access_of(&c, 0, 0), 0);
    poke(b, 0, 51);
    sk_release_all(b);
    wait_page(a, 0, SK_WANT_WRITABLE);
    assert_int_equal(kernel_byte(a, 0), 51);
    assert_int_equal(access_of(&c, 0, 0), 3);
    assert_int_equal(access_of(&c, 0, 1), 0);
    cast_close(&c);
}

/* A flushed reader that asks again is still waited for, and does not get what it is about to lose.  */
static void test_R5_flushed_reader_asks_again_among_others(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 3, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1], *w = c.objects[2];
    get(a, 0);
    get(b, 0);
    sk_hold(a, SK_HOLD_COMPLETED);
    sk_hold(b, SK_HOLD_LOCK);
    ask(w, 0, RW);
    held(a, 1);
    held(b, 1);
    ask(a, 0, VM_PROT_READ);
    sk_release_all(b);
    world_wait_access(&c.world, 0, 1, 0);
    assert_int_equal(access_of(&c, 0, 0), 2);
    assert_int_equal(state_of(w, 0), SK_PAGE_REQUESTED);
    sk_hold(w, SK_HOLD_LOCK);
    sk_release_all(a);
    wait_page(w, 0, SK_WANT_WRITABLE);
    held(w, 1);
    assert_int_equal(state_of(a, 0), SK_PAGE_REQUESTED);
    poke(w, 0, 52);
    sk_release_all(w);
    wait_page(a, 0, SK_WANT_READABLE);
    assert_int_equal(kernel_byte(a, 0), 52);
    assert_int_equal(access_of(&c, 0, 0), 1);
    assert_int_equal(access_of(&c, 0, 2), 1);
    cast_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_R2_synced_version_is_not_handed_on),
        cmocka_unit_test(test_R2_synced_version_under_way_is_superseded),
        cmocka_unit_test(test_R2_downgraded_version_waits_for_the_completion),
        cmocka_unit_test(test_R3_flush_answers_the_unlock_that_crossed_it),
        cmocka_unit_test(test_R3_unlock_behind_the_completion_is_harmless),
        cmocka_unit_test(test_R3_unlock_behind_the_next_request_is_no_request),
        cmocka_unit_test(test_R3_users_flush_answers_the_unlock),
        cmocka_unit_test(test_R4_all_readers_ask_for_write_at_once),
        cmocka_unit_test(test_R5_flushed_client_asks_again_before_lock_completed),
        cmocka_unit_test(test_R5_flushed_reader_asks_again_among_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
