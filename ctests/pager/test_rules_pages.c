/* Second looks at rules (rules.h): precious pages, write locks, waiting for ranges.  */

#include "rules.h"

/* ---- Section 3: precious pages, write locks ---- */

/* With notification every supply is precious: to one client, to several, of new data and of handed-on ones.  */
static void test_every_page_is_precious_with_notice(void **state)
{
    (void) state;
    for (int kernels = 1; kernels < 4; kernels++) {
        struct cast c;
        cast_open(&c, kernels, 4, 1);
        for (int i = 0; i < kernels; i++) {
            get(c.objects[i], 0);
            assert_true(sk_page_state(c.objects[i], 0).precious);
            put(c.objects[i], 1, (unsigned char) (20 + i));
            assert_true(sk_page_state(c.objects[i], page_offset(1)).precious);
        }
        cast_close(&c);
    }
}

/* The notice comes once, after the write, and not before the last client has lost the page.  */
static void test_one_notice_after_the_write_and_the_last_copy(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 1);
    sk_object *a = c.objects[0], *b = c.objects[1];
    put(a, 0, 30);
    store_close_gate(&c.world, CALL_WRITE);
    evict(a, 0);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    fence_by_refusal(&c, a);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 0);
    store_open_gate(&c.world, CALL_WRITE);
    store_wait_count(&c.world, CALL_EVICT, 1);
    assert_int_equal(store_byte(&c.world, 0), 30);
    get(a, 1);
    get(b, 1);
    evict(a, 1);
    world_settle(&c.world);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 1);
    evict(b, 1);
    world_settle(&c.world);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 2);
    assert_int_equal(store_call(&c.world, CALL_EVICT, 1).page, page_offset(1));
    cast_close(&c);
}

/* A page that goes from one client to another is not evicted.  */
static void test_no_notice_for_a_page_that_is_handed_on(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 1);
    sk_object *a = c.objects[0], *b = c.objects[1];
    put(a, 0, 31);
    put(b, 0, 32);
    put(a, 0, 33);
    get(a, 1);
    put(b, 1, 34);
    world_settle(&c.world);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 0);
    evict(a, 0);
    evict(b, 1);
    world_settle(&c.world);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 2);
    cast_close(&c);
}

/* "Reporting clears the page's errors": the eviction of a page that could not be written.  */
static void test_notice_clears_the_error(void **state)
{
    (void) state;
    for (int kernels = 1; kernels < 3; kernels++) {
        struct cast c;
        cast_open(&c, kernels, 4, 1);
        put(c.objects[0], 2, 35);
        store_fail(&c.world, CALL_WRITE, EIO, 1);
        evict(c.objects[0], 2);
        world_settle(&c.world);
        assert_int_equal(store_count(&c.world, CALL_EVICT), 1);
        assert_int_equal(pager_get_error(c.world.pager, page_offset(2)), 0);
        assert_int_equal(get(c.objects[kernels - 1], 2), 3);
        cast_close(&c);
    }
}

/* A write lock: supplied read-only, asked before the first write; refused: flushed, and the next request for writing, and no other,
   gets the error.  */
static void test_refused_unlock_is_told_once(void **state)
{
    (void) state;
    for (int kernels = 1; kernels < 3; kernels++) {
        struct cast c;
        cast_open(&c, kernels, 4, 0);
        sk_object *a = c.objects[0];
        store_write_lock(&c.world, 1);
        get(a, 1);
        assert_int_equal(sk_page_state(a, page_offset(1)).lock & VM_PROT_WRITE, VM_PROT_WRITE);
        assert_int_equal(store_count(&c.world, CALL_UNLOCK), 0);
        store_fail(&c.world, CALL_UNLOCK, EDQUOT, 1);
        ask_unlock(a, 1);
        wait_page(a, 1, SK_WANT_ABSENT);
        assert_int_equal(store_count(&c.world, CALL_UNLOCK), 1);
        get(a, 1);
        evict(a, 1);
        unsigned char byte = 5;
        assert_int_equal(kernel_write(a, 1, byte), EDQUOT);
        assert_int_equal(store_count(&c.world, CALL_UNLOCK), 1);
        put(a, 1, byte);
        assert_int_equal(store_count(&c.world, CALL_UNLOCK), 2);
        cast_close(&c);
    }
}

/* ---- Section 3: ranges ---- */

static int sync_0(void *pager) { pager_sync_some(pager, 0, vm_page_size, 1); return 0; }

/* "With wait ... every write that was already under way in the range has reached the backing store": one that a worker does straight
   from the message (a lone client), and one that is queued.  */
static void test_wait_for_a_write_that_was_under_way(void **state)
{
    (void) state;
    for (int kernels = 1; kernels < 3; kernels++) {
        struct cast c;
        cast_open(&c, kernels, 4, 0);
        put(c.objects[0], 0, 40);
        store_close_gate(&c.world, CALL_WRITE);
        evict(c.objects[0], 0);
        store_wait_gate(&c.world, CALL_WRITE, 1);
        struct task task;
        task_begin(&task, sync_0, c.world.pager);
        for (int i = 0; i < kernels; i++)
            assert_int_equal(sk_wait_message(c.objects[i], SK_LOCK_COMPLETED, 1, 0), 0);
        fence_by_refusal(&c, c.objects[0]);
        assert_true(task_waits(&task));
        store_open_gate(&c.world, CALL_WRITE);
        task_end(&task);
        assert_int_equal(store_byte(&c.world, 0), 40);
        cast_close(&c);
    }
}

/* Precious pages that are clean come back with pager_return.  */
static void test_return_takes_clean_precious_pages(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 1);
    get(c.objects[0], 0);
    get(c.objects[1], 0);
    pager_return(c.world.pager, 1);
    assert_int_equal(sk_count(c.objects[0], SK_DATA_RETURN), 1);
    assert_int_equal(sk_count(c.objects[1], SK_DATA_RETURN), 1);
    world_settle(&c.world);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 1);
    assert_int_equal(store_count(&c.world, CALL_WRITE), 0);
    cast_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_page_is_precious_with_notice),
        cmocka_unit_test(test_one_notice_after_the_write_and_the_last_copy),
        cmocka_unit_test(test_no_notice_for_a_page_that_is_handed_on),
        cmocka_unit_test(test_notice_clears_the_error),
        cmocka_unit_test(test_refused_unlock_is_told_once),
        cmocka_unit_test(test_wait_for_a_write_that_was_under_way),
        cmocka_unit_test(test_return_takes_clean_precious_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
