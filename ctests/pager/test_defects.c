/* The defects of protocol.md, section 5: what the library that this one replaces does wrong.  */

#include <sched.h>

#include "store.h"
#include "platform.h"

static const size_t far_page = (size_t) 1 << 40;

/* "one client only: a second init is dropped, so its vm_map hangs for ever"  */
static void test_second_client_is_served(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 8, 0);
    sk_kernel *a = sk_kernel_create("A"), *b = sk_kernel_create("B");
    sk_object *x = sk_map_async(a, world.port), *y = sk_map_async(b, world.port);
    assert_int_equal(sk_wait_ready(x, 0), 0);
    assert_int_equal(sk_wait_ready(y, 0), 0);
    unsigned char byte = 0;
    assert_int_equal(kernel_read(x, 1, &byte), 0);
    assert_int_equal(byte, 2);
    assert_int_equal(kernel_read(y, 1, &byte), 0);
    assert_int_equal(byte, 2);
    assert_int_equal(world_statistics(&world).clients, 2);
    sk_kernel_destroy(a);
    sk_kernel_destroy(b);
    world_close(&world);
}

/* "a pointer into the page map is kept across an unlocked write while the map may be reallocated"  */
static void test_map_grows_during_a_write(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 8, 0);
    assert_int_equal(pager_set_concurrent_reads(world.pager, 2), 0);
    sk_kernel *kernel = sk_kernel_create("A");
    sk_object *object = sk_map(kernel, world.port);
    assert_int_equal(kernel_write(object, 0, 50), 0);
    store_close_gate(&world, CALL_WRITE);
    assert_int_equal(sk_evict(object, 0), 0);
    store_wait_gate(&world, CALL_WRITE, 1);
    uint64_t bytes = world_statistics(&world).map_bytes;
    unsigned char byte = 1;
    for (size_t page = 1024; page <= far_page; page *= 1024) {
        assert_int_equal(kernel_read(object, page, &byte), 0);
        assert_int_equal(byte, 0);
    }
    assert_true(world_statistics(&world).map_bytes > bytes);
    store_open_gate(&world, CALL_WRITE);
    assert_int_equal(kernel_read(object, 0, &byte), 0);
    assert_int_equal(byte, 50);
    /* (It may have been read from the version that was still being written.)  */
    world_settle(&world);
    assert_int_equal(store_byte(&world, 0), 50);
    assert_int_equal(pager_page_access(world.pager, 0, 0), 3);
    sk_kernel_destroy(kernel);
    world_close(&world);
}

/* "a page map that cannot grow loses the request: neither data nor error is sent"  */
static void test_map_that_cannot_grow_answers(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 8, 0);
    sk_kernel *a = sk_kernel_create("A"), *b = sk_kernel_create("B");
    sk_object *x = sk_map(a, world.port), *y = sk_map(b, world.port);
    unsigned char byte = 0;
    assert_int_equal(kernel_write(y, 0, 9), 0);
    /* Root, inner nodes and leaf fail in turn; the node made before each failure stays.  */
    unsigned failures = 0;
    for (size_t page = 2048; page <= far_page; page *= 512) {
        world_settle(&world);
        platform_fail_allocation(0);
        assert_int_equal(kernel_read(x, page, &byte), ENOMEM);
        failures++;
        assert_int_equal(world_statistics(&world).errors, failures);
        assert_int_equal(world_statistics(&world).refused, failures);
        assert_int_equal(kernel_byte(y, 0), 9);
        assert_int_equal(kernel_read(x, page, &byte), 0);
    }
    platform_fail_allocation(-1);
    assert_int_equal(sk_count(x, SK_DATA_ERROR), failures);
    assert_int_equal(sk_count(y, SK_DATA_ERROR), 0);
    sk_kernel_destroy(a);
    sk_kernel_destroy(b);
    world_close(&world);
}

enum { MOST_PAGES = 256 };

/* The page's byte in a message of many pages: not the same 256 pages on.  */
static unsigned char pattern(size_t page) { return (unsigned char) (page * 7 + page / 256 + 1); }

/* One return of COUNT pages, made by hand: the kernel's own never has more than 32.  */
static void return_pages(sk_object *object, size_t count, boolean_t keeps)
{
    assert_true(count <= MOST_PAGES && vm_page_size == 4096);
    static unsigned char data[MOST_PAGES * 4096];
    for (size_t i = 0; i < count; i++)
        memset(data + i * vm_page_size, pattern(i), vm_page_size);
    struct sk_message message = { .id = SK_DATA_RETURN, .length = count * vm_page_size, .dirty = 1, .kernel_copy = keeps };
    assert_int_equal(sk_send_raw(object, &message, data, 0), 0);
}

static void check_return(size_t count, boolean_t notify, int multi, boolean_t keeps, boolean_t others)
{
    struct world world;
    world_open(&world, count + 2, notify);
    store_multi_write(&world, multi);
    sk_kernel *a = sk_kernel_create("A"), *b = sk_kernel_create("B");
    sk_object *x = sk_map(a, world.port), *y = others ? sk_map(b, world.port) : NULL;
    for (size_t i = 0; i < count + 1; i++)
        assert_int_equal(kernel_write(x, i, 1), 0);
    return_pages(x, count, keeps);
    world_settle(&world);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(store_byte(&world, i), pattern(i));
        assert_int_equal(pager_page_access(world.pager, page_offset(i), 0), keeps ? 3 : 0);
        assert_int_equal(pager_get_error(world.pager, page_offset(i)), 0);
    }
    /* Its neighbour was not in the message.  */
    assert_int_equal(store_byte(&world, count), (unsigned char) (count + 1));
    assert_int_equal(pager_page_access(world.pager, page_offset(count), 0), 3);
    assert_int_equal(store_count(&world, CALL_EVICT), notify && !keeps ? count : 0);
    assert_int_equal(world_statistics(&world).page_outs, count);
    assert_int_equal(world_statistics(&world).refused, 0);
    if (multi == 0)
        assert_int_equal(store_count(&world, CALL_WRITE), count);
    if (others && !keeps) {
        unsigned char byte;
        assert_int_equal(kernel_read(y, count - 1, &byte), 0);
        assert_int_equal(byte, pattern(count - 1));
    }
    sk_kernel_destroy(a);
    sk_kernel_destroy(b);
    world_close(&world);
}

/* "stack arrays sized by the message (alloca), a shift by the page index (undefined from 32 pages on)"  */
static void test_returns_of_many_pages(void **state)
{
    (void) state;
    static const size_t counts[] = { 31, 32, 33, 64, 65, 256 };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int others = 0; others < 2; others++) {
            check_return(counts[i], 0, 0, 1, others);
            check_return(counts[i], 1, 0, 0, others);
            check_return(counts[i], 1, 7, 0, others);
            check_return(counts[i], 0, 1000, 0, others);
        }
}

/* The same, for requests: one supply a page.  */
static void test_requests_of_many_pages(void **state)
{
    (void) state;
    static const size_t counts[] = { 31, 32, 33, 64, 65, 256 };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct world world;
        world_open(&world, counts[i] + 1, 0);
        sk_kernel *kernel = sk_kernel_create("A");
        sk_object *object = sk_map(kernel, world.port);
        struct sk_message message = { .id = SK_DATA_REQUEST, .length = counts[i] * vm_page_size, .access = VM_PROT_READ };
        assert_int_equal(sk_send_raw(object, &message, NULL, 0), 0);
        assert_int_equal(sk_wait_message(object, SK_DATA_SUPPLY, counts[i], 0), 0);
        world_settle(&world);
        assert_int_equal(sk_count(object, SK_DATA_SUPPLY), counts[i]);
        assert_int_equal(sk_resident(object), counts[i]);
        for (size_t page = 0; page < counts[i]; page++)
            assert_int_equal(kernel_byte(object, page), (unsigned char) (page + 1));
        sk_kernel_destroy(kernel);
        world_close(&world);
    }
}

/* "data_unlock's state check is made without the lock; the error path marks pages without it": the page changes hands
   while pager_unlock_page runs, and then fails.  */
static void test_unlock_fails_when_the_page_has_moved(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 8, 0);
    store_write_lock(&world, 1);
    sk_kernel *a = sk_kernel_create("A"), *b = sk_kernel_create("B");
    sk_object *x = sk_map(a, world.port), *y = sk_map(b, world.port);
    unsigned char byte;
    assert_int_equal(kernel_read(x, 3, &byte), 0);
    store_fail(&world, CALL_UNLOCK, EDQUOT, 1);
    store_close_gate(&world, CALL_UNLOCK);
    assert_int_equal(sk_unlock(x, page_offset(3), VM_PROT_READ | VM_PROT_WRITE), 0);
    store_wait_gate(&world, CALL_UNLOCK, 1);
    /* It drops the page silently and asks again; another one asks, too.  */
    assert_int_equal(sk_evict(x, page_offset(3)), 0);
    assert_int_equal(sk_request(x, page_offset(3), VM_PROT_READ), 0);
    assert_int_equal(sk_request(y, page_offset(3), VM_PROT_READ), 0);
    world_fence(&world);
    store_open_gate(&world, CALL_UNLOCK);
    assert_int_equal(sk_wait_page(x, page_offset(3), SK_WANT_READABLE, 0), 0);
    assert_int_equal(sk_wait_page(y, page_offset(3), SK_WANT_READABLE, 0), 0);
    assert_int_equal(kernel_byte(x, 3), 4);
    assert_int_equal(kernel_byte(y, 3), 4);
    /* Whether or not the refusal was kept for it, it is told at most once, and then it may write.  */
    int error = kernel_write(x, 3, 33);
    assert_true(error == 0 || error == EDQUOT);
    assert_int_equal(kernel_write(x, 3, 33), 0);
    assert_int_equal(kernel_read(y, 3, &byte), 0);
    assert_int_equal(byte, 33);
    sk_kernel_destroy(a);
    sk_kernel_destroy(b);
    world_close(&world);
}

/* The same defect, from the other side: an unlock for a page that may be written already, or is not there, asks nobody.  */
static void test_unlock_without_need(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 8, 0);
    sk_kernel *kernel = sk_kernel_create("A");
    sk_object *object = sk_map(kernel, world.port);
    assert_int_equal(kernel_write(object, 2, 22), 0);
    struct sk_message unlock = { .id = SK_DATA_UNLOCK, .offset = page_offset(2), .length = vm_page_size,
                                 .access = VM_PROT_WRITE };
    assert_int_equal(sk_send_raw(object, &unlock, NULL, 0), 0);
    assert_int_equal(sk_wait_message(object, SK_LOCK_REQUEST, 1, 0), 0);
    assert_int_equal(kernel_byte(object, 2), 22);
    assert_int_equal(world_statistics(&world).refused, 0);
    unlock.offset = page_offset(5);
    assert_int_equal(sk_send_raw(object, &unlock, NULL, 0), 0);
    world_settle(&world);
    assert_int_equal(world_statistics(&world).refused, 1);
    assert_int_equal(sk_count(object, SK_LOCK_REQUEST), 1);
    assert_int_equal(store_count(&world, CALL_UNLOCK), 0);
    sk_kernel_destroy(kernel);
    world_close(&world);
}

static void *shut_down(void *pager)
{
    pager_shutdown(pager);
    return NULL;
}

static void *write_page_5(void *object)
{
    return (void *) (intptr_t) kernel_write(object, 5, 99);
}

/* "pager_shutdown drops pages requested between its flush and the destruction"  */
static void test_shutdown_loses_nothing_requested_in_between(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 8, 0);
    sk_kernel *kernel = sk_kernel_create("A");
    sk_object *object = sk_map(kernel, world.port);
    store_close_gate(&world, CALL_READ);
    pthread_t writer = spawn(write_page_5, object);
    store_wait_gate(&world, CALL_READ, 1);
    sk_hold(object, SK_HOLD_LOCK);
    pthread_t ender = spawn(shut_down, world.pager);
    /* Its first round finds the page asked for, not there yet.  */
    assert_int_equal(sk_wait_pending(object, 1, 0), 0);
    assert_int_equal(sk_release_one(object, 0), 0);
    store_open_gate(&world, CALL_READ);
    void *result;
    assert_int_equal(pthread_join(writer, &result), 0);
    assert_null(result);
    /* Granted and written behind the first round: a second one fetches it.  */
    assert_int_equal(sk_wait_pending(object, 1, 0), 0);
    unsigned char byte;
    assert_int_equal(kernel_read(object, 6, &byte), EIO);
    sk_release_all(object);
    join(ender);
    assert_int_equal(store_byte(&world, 5), 99);
    assert_int_equal(sk_resident(object), 0);
    sk_kernel_destroy(kernel);
    world_close(&world);
}

/* "... and unlocks freed memory": the last reference goes right behind the shutdown, while clients still talk.  */
static void test_drop_right_after_shutdown(void **state)
{
    (void) state;
    struct world base;
    world_open(&base, 1, 0);
    for (int round = 0; round < 20; round++) {
        struct world world;
        world_join(&world, &base, 64, round & 1);
        sk_kernel *a = sk_kernel_create("A"), *b = sk_kernel_create("B");
        sk_object *x = sk_map(a, world.port), *y = sk_map(b, world.port);
        for (size_t i = 0; i < 64; i++) {
            sk_request(x, page_offset(i), i & 1 ? VM_PROT_READ : VM_PROT_READ | VM_PROT_WRITE);
            sk_request(y, page_offset(63 - i), VM_PROT_READ);
        }
        world_close(&world);
        /* What came in time was answered.  */
        for (size_t i = 0; i < 64; i++)
            {
            assert_int_equal(sk_wait_page(x, page_offset(i), SK_WANT_SETTLED, 0), 0);
            assert_int_equal(sk_wait_page(y, page_offset(i), SK_WANT_SETTLED, 0), 0);
        }
        sk_kernel_destroy(a);
        sk_kernel_destroy(b);
    }
    world_close(&base);
}

enum { OBJECTS_MAX = 80, WORKERS_MAX = 64 };

static void sync_other(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    (void) page;
    if (call == CALL_READ && store->hook_argument)
        pager_sync(store->hook_argument, 1);
}

/* COUNT objects whose reads all wait for an answer about another object.  DIRTY: that one has a page to write first.  */
static void check_waiting_callbacks(int count, int dirty)
{
    static struct world worlds[OBJECTS_MAX], others[OBJECTS_MAX], base;
    sk_object *objects[OBJECTS_MAX], *partners[OBJECTS_MAX];
    world_open(&base, 1, 0);
    sk_kernel *kernel = sk_kernel_create("A");
    for (int i = 0; i < count; i++) {
        world_join(&worlds[i], &base, 2, 0);
        world_join(&others[i], &base, 2, 0);
        objects[i] = sk_map(kernel, worlds[i].port);
        partners[i] = sk_map(kernel, others[i].port);
        if (dirty)
            assert_int_equal(kernel_write(partners[i], 1, (unsigned char) (100 + i)), 0);
        store_close_gate(&worlds[i], CALL_READ);
        worlds[i].store->hook = sync_other;
    }
    /* Clean: a ring, each waits for the next.  */
    for (int i = 0; i < count; i++)
        worlds[i].store->hook_argument = dirty ? others[i].pager : worlds[(i + 1) % count].pager;
    for (int i = 0; i < count; i++)
        assert_int_equal(sk_request(objects[i], 0, VM_PROT_READ), 0);
    /* One worker receives, the others are all in callbacks.  */
    int inside = count < WORKERS_MAX ? count : WORKERS_MAX - 1;
    for (;;) {
        int waiting = 0;
        for (int i = 0; i < count; i++) {
            pthread_mutex_lock(&worlds[i].store->lock);
            waiting += worlds[i].store->waiting[CALL_READ];
            pthread_mutex_unlock(&worlds[i].store->lock);
        }
        if (waiting == inside)
            break;
        sched_yield();
    }
    for (int i = 0; i < count; i++)
        store_open_gate(&worlds[i], CALL_READ);
    for (int i = 0; i < count; i++) {
        assert_int_equal(sk_wait_page(objects[i], 0, SK_WANT_READABLE, 0), 0);
        assert_int_equal(kernel_byte(objects[i], 0), 1);
        if (dirty)
            assert_int_equal(store_byte(&others[i], 1), 100 + i);
    }
    sk_kernel_destroy(kernel);
    for (int i = count - 1; i >= 0; i--) {
        world_close(&others[i]);
        world_close(&worlds[i]);
    }
    world_close(&base);
}

/* "ten workers, fixed"; "waiting for a lock inside a worker can use up the pool that must process the completion:
   completions need a path of their own"  */
static void test_waiting_in_10_callbacks(void **state) { (void) state; check_waiting_callbacks(10, 0); }
static void test_waiting_in_40_callbacks(void **state) { (void) state; check_waiting_callbacks(40, 0); }
static void test_waiting_in_80_callbacks(void **state) { (void) state; check_waiting_callbacks(80, 0); }

/* The same, where what is waited for includes a write, which is a callback itself.  */
static void test_waiting_for_writes_in_40_callbacks(void **state) { (void) state; check_waiting_callbacks(40, 1); }
static void test_waiting_for_writes_in_80_callbacks(void **state) { (void) state; check_waiting_callbacks(80, 1); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_client_is_served),
        cmocka_unit_test(test_map_grows_during_a_write),
        cmocka_unit_test(test_map_that_cannot_grow_answers),
        cmocka_unit_test(test_returns_of_many_pages),
        cmocka_unit_test(test_requests_of_many_pages),
        cmocka_unit_test(test_unlock_fails_when_the_page_has_moved),
        cmocka_unit_test(test_unlock_without_need),
        cmocka_unit_test(test_shutdown_loses_nothing_requested_in_between),
        cmocka_unit_test(test_drop_right_after_shutdown),
        cmocka_unit_test(test_waiting_in_10_callbacks),
        cmocka_unit_test(test_waiting_in_40_callbacks),
        cmocka_unit_test(test_waiting_in_80_callbacks),
        cmocka_unit_test(test_waiting_for_writes_in_40_callbacks),
        cmocka_unit_test(test_waiting_for_writes_in_80_callbacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
