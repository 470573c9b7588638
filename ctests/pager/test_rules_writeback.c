/* Second looks at rules (rules.h): the end of an object, versions that could not be written, unlocks that queue.  */

#include "rules.h"

static int shut_down(void *pager) { pager_shutdown(pager); return 0; }

/* While shutdown waits for a client, requests get an error, and a kernel that maps the object is turned away.  */
static void test_shutdown_refuses_what_comes_late(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    sk_object *a = c.objects[0];
    put(a, 0, 61);
    sk_hold(a, SK_HOLD_LOCK);
    struct task first, second;
    task_begin(&first, shut_down, c.world.pager);
    held(a, 1);
    unsigned char byte;
    assert_int_equal(kernel_read(a, 1, &byte), EIO);
    sk_kernel *late = sk_kernel_create("late");
    sk_object *object = sk_map_async(late, c.world.port);
    assert_int_not_equal(sk_wait_ready(object, 0), 0);
    sk_kernel_destroy(late);
    task_begin(&second, shut_down, c.world.pager);
    assert_true(task_waits(&second));
    sk_release_all(a);
    task_end(&first);
    task_end(&second);
    assert_int_equal(store_byte(&c.world, 0), 61);
    mach_port_type_t type = 0;
    mach_port_type(mach_task_self(), c.world.port, &type);
    assert_int_equal(type & MACH_PORT_TYPE_RECEIVE, 0);
    cast_close(&c);
}

/* A write fails while its page is being asked back for somebody else, and the holder's copy is clean: the version in memory is all
   there is, and is what the waiter gets (R10).  */
static void hand_on_unwritten(struct cast *c, vm_prot_t wish)
{
    cast_open(c, 3, 4, 0);
    sk_object *a = c->objects[0], *b = c->objects[1];
    put(a, 0, 70);
    store_close_gate(&c->world, CALL_WRITE);
    pager_sync_some(c->world.pager, 0, vm_page_size, 0);
    store_wait_gate(&c->world, CALL_WRITE, 1);
    sk_hold(a, SK_HOLD_LOCK);
    ask(b, 0, wish);
    held(a, 1);
    store_fail(&c->world, CALL_WRITE, EIO, 1);
    store_open_gate(&c->world, CALL_WRITE);
    while (pager_get_error(c->world.pager, 0) != EIO)
        sched_yield();
    sk_release_all(a);
    wait_page(b, 0, wish == RW ? SK_WANT_WRITABLE : SK_WANT_READABLE);
    assert_int_equal(kernel_byte(b, 0), 70);
    assert_int_equal(store_byte(&c->world, 0), 1);
}

static void test_unwritten_version_is_handed_on(void **state)
{
    (void) state;
    struct cast c;
    hand_on_unwritten(&c, RW);
    pager_return(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 0), 70);
    cast_close(&c);
}

/* Then the clients' copies are all there is: a flush asks for them though they are clean.  From who may write, and from a reader.  */
static void test_unwritten_copy_is_asked_back(void **state)
{
    (void) state;
    struct cast c;
    hand_on_unwritten(&c, RW);
    ask(c.objects[2], 0, RW);
    wait_page(c.objects[2], 0, SK_WANT_WRITABLE);
    assert_int_equal(kernel_byte(c.objects[2], 0), 70);
    cast_close(&c);
}

static void test_unwritten_copy_is_asked_back_from_a_reader(void **state)
{
    (void) state;
    struct cast c;
    hand_on_unwritten(&c, VM_PROT_READ);
    ask(c.objects[2], 0, RW);
    wait_page(c.objects[2], 0, SK_WANT_WRITABLE);
    assert_int_equal(kernel_byte(c.objects[2], 0), 70);
    cast_close(&c);
}

/* A user's flush answers an unlock that waits in the queue: the client gets nothing more (R3).  */
static void test_users_flush_answers_a_queued_unlock(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    get(a, 0);
    store_close_gate(&c.world, CALL_READ);
    ask(b, 0, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    ask_unlock(a, 0);
    fence_by_refusal(&c, a);
    pager_flush_some(c.world.pager, 0, vm_page_size, 1);
    assert_int_equal(state_of(a, 0), SK_PAGE_ABSENT);
    store_open_gate(&c.world, CALL_READ);
    wait_page(b, 0, SK_WANT_READABLE);
    world_settle(&c.world);
    assert_int_equal(access_of(&c, 0, 0), 0);
    assert_int_equal(sk_count(a, SK_DATA_SUPPLY), 1);
    assert_int_equal(state_of(b, 0), SK_PAGE_PRESENT);
    assert_int_equal(sk_count(b, SK_LOCK_REQUEST), 1);
    cast_close(&c);
}

/* pager_return waits for the write that it caused itself, which a worker does straight from a lone client's message.  */
static int return_all(void *pager) { pager_return(pager, 1); return 0; }

static void test_return_waits_for_its_own_write(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    put(c.objects[0], 1, 75);
    store_close_gate(&c.world, CALL_WRITE);
    struct task task;
    task_begin(&task, return_all, c.world.pager);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    assert_int_equal(sk_wait_message(c.objects[0], SK_LOCK_COMPLETED, 1, 0), 0);
    fence_by_refusal(&c, c.objects[0]);
    assert_true(task_waits(&task));
    store_open_gate(&c.world, CALL_WRITE);
    task_end(&task);
    assert_int_equal(store_byte(&c.world, 1), 75);
    cast_close(&c);
}

/* When only weak references are left pager_dropweak is called, and if it gives them up the pager ends (world_close looks).  */
static void test_dropweak_gives_the_last_reference_up(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    ports_port_ref_weak(c.world.pager);
    ports_port_ref_weak(c.world.pager);
    c.world.store->drop_weak = 2;
    put(c.objects[0], 0, 71);
    assert_int_equal(c.world.store->dropped_weak, 0);
    cast_close(&c);
}

/* Readers ask for write while the page is read for one more: the first gets it, and the flush answers the others, who get nothing that
   they do not ask for again (R4, R9).  */
static void unlocks_behind_a_page_in(int readers)
{
    struct cast c;
    cast_open(&c, readers + 1, 4, 0);
    for (int i = 0; i < readers; i++)
        get(c.objects[i], 0);
    store_close_gate(&c.world, CALL_READ);
    ask(c.objects[readers], 0, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    for (int i = 0; i < readers; i++) {
        ask_unlock(c.objects[i], 0);
        fence_by_refusal(&c, c.objects[i]);
    }
    store_open_gate(&c.world, CALL_READ);
    wait_page(c.objects[0], 0, SK_WANT_WRITABLE);
    poke(c.objects[0], 0, 80);
    world_settle(&c.world);
    assert_int_equal(kernel_byte(c.objects[0], 0), 80);
    assert_int_equal(access_of(&c, 0, 0), 3);
    for (int i = 1; i <= readers; i++) {
        assert_int_equal(state_of(c.objects[i], 0), SK_PAGE_ABSENT);
        assert_int_equal(access_of(&c, 0, (unsigned) i), 0);
        assert_int_equal(sk_count(c.objects[i], SK_DATA_SUPPLY), 1);
        assert_int_equal(sk_count(c.objects[i], SK_LOCK_REQUEST), 1);
    }
    for (int i = 1; i <= readers; i++)
        put(c.objects[i], 0, (unsigned char) (80 + i));
    assert_int_equal(get(c.objects[0], 0), 80 + readers);
    cast_close(&c);
}

static void test_unlock_behind_a_page_in(void **state)
{
    (void) state;
    unlocks_behind_a_page_in(2);
}

/* The last that a page word has room for, and more.  */
static void test_many_unlocks_behind_a_page_in(void **state)
{
    (void) state;
    unlocks_behind_a_page_in(3);
    unlocks_behind_a_page_in(6);
}

/* The store is bad and a reader has the only copy that is precious: it returns the page and dies before that is taken in. The page is written.  */
static void test_last_word_of_a_reader_while_the_store_is_bad(void **state)
{
    (void) state;
    for (int kernels = 2; kernels <= 6; kernels += 4) {
        struct cast c;
        cast_open(&c, kernels, 4, 0);
        int reader = kernels - 1;
        put(c.objects[0], 0, 77);
        store_fail(&c.world, CALL_WRITE, EIO, 1);
        /* The write fails before the reader is given the page. (Else its copy would not be precious.)  */
        sk_hold(c.objects[0], SK_HOLD_COMPLETED);
        ask(c.objects[reader], 0, VM_PROT_READ);
        held(c.objects[0], 1);
        while (pager_get_error(c.world.pager, 0) != EIO)
            sched_yield();
        sk_release_all(c.objects[0]);
        wait_page(c.objects[reader], 0, SK_WANT_READABLE);
        assert_int_equal(kernel_byte(c.objects[reader], 0), 77);
        world_settle(&c.world);
        assert_int_equal(store_byte(&c.world, 0), 1);
        assert_int_equal(pager_inhibit_workers(c.world.requests), 0);
        evict(c.objects[reader], 0);
        cast_kill(&c, reader);
        pager_resume_workers(c.world.requests);
        wait_clients(&c, (unsigned) kernels - 1);
        world_settle(&c.world);
        assert_int_equal(store_byte(&c.world, 0), 77);
        cast_close(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shutdown_refuses_what_comes_late),
        cmocka_unit_test(test_unwritten_version_is_handed_on),
        cmocka_unit_test(test_unwritten_copy_is_asked_back),
        cmocka_unit_test(test_unwritten_copy_is_asked_back_from_a_reader),
        cmocka_unit_test(test_users_flush_answers_a_queued_unlock),
        cmocka_unit_test(test_return_waits_for_its_own_write),
        cmocka_unit_test(test_dropweak_gives_the_last_reference_up),
        cmocka_unit_test(test_unlock_behind_a_page_in),
        cmocka_unit_test(test_many_unlocks_behind_a_page_in),
        cmocka_unit_test(test_last_word_of_a_reader_while_the_store_is_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
