/* Points of the protocol for which scripts/break-it found that one test case, or none, notices a fault: a second look at each, from
   another side than the programs that the points belong to.  */

#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <mach/memory_object_user.h>

#include "cast.h"
#include "platform.h"

/* A message that is made by hand.  */
static void send_raw(sk_object *object, struct sk_message message, const void *data)
{
    assert_int_equal(sk_send_raw(object, &message, data, 0), 0);
}

static void request_pages(sk_object *object, size_t first, size_t count, vm_prot_t access)
{
    send_raw(object, (struct sk_message) { .id = SK_DATA_REQUEST, .offset = page_offset(first),
                                           .length = page_offset(count), .access = access }, NULL);
}

static int is_touched(struct cast *c, size_t page) { return pager_page_word(c->world.pager, page_offset(page)) != 0; }

/* ---- Section 3: callbacks ---- */

/* "Requests for one object run in the order in which they came, one at a time": pages of one message, so that one worker notes them.  */
static void test_callbacks_in_order_and_apart(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 16, 0);
    store_close_gate(&c.world, CALL_READ);
    ask(c.objects[0], 9, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    request_pages(c.objects[1], 2, 5, VM_PROT_READ);
    while (!is_touched(&c, 6))
        sched_yield();
    assert_int_equal(store_count(&c.world, CALL_READ), 1);
    store_open_gate(&c.world, CALL_READ);
    for (size_t page = 2; page < 7; page++)
        wait_page(c.objects[1], page, SK_WANT_READABLE);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(store_call(&c.world, CALL_READ, 1 + i).page, page_offset(2 + i));
    assert_int_equal(c.world.store->max_running, 1);
    cast_close(&c);
}

/* The same for writes: returned pages that wait are written in the order in which they came.  */
static void test_returned_pages_are_written_in_order(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 16, 0);
    static const size_t pages[] = { 9, 2, 14, 6, 0 };
    for (unsigned i = 0; i < 5; i++)
        put(c.objects[i & 1], pages[i], (unsigned char) (50 + i));
    store_close_gate(&c.world, CALL_WRITE);
    for (unsigned i = 0; i < 5; i++) {
        evict(c.objects[i & 1], pages[i]);
        if (i == 0)
            store_wait_gate(&c.world, CALL_WRITE, 1);
        fence_by_refusal(&c, c.objects[0]);
    }
    store_open_gate(&c.world, CALL_WRITE);
    pager_sync(c.world.pager, 1);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(store_call(&c.world, CALL_WRITE, i).page, page_offset(pages[i]));
    assert_int_equal(c.world.store->max_running, 1);
    cast_close(&c);
}

/* "Different objects run side by side": each of five has a callback at the gate.  */
static void test_objects_run_side_by_side(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    struct world others[4];
    sk_object *objects[4];
    store_close_gate(&c.world, CALL_READ);
    ask(c.objects[0], 0, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    for (int i = 0; i < 4; i++) {
        world_join(&others[i], &c.world, 4, 0);
        objects[i] = sk_map(c.kernels[0], others[i].port);
        store_close_gate(&others[i], CALL_READ);
        ask(objects[i], 0, VM_PROT_READ);
        store_wait_gate(&others[i], CALL_READ, 1);
    }
    store_open_gate(&c.world, CALL_READ);
    for (int i = 0; i < 4; i++)
        store_open_gate(&others[i], CALL_READ);
    for (int i = 0; i < 4; i++) {
        wait_page(objects[i], 0, SK_WANT_READABLE);
        assert_int_equal(sk_terminate(objects[i]), 0);
    }
    for (int i = 4; i-- > 0; ) {
        /* (Without workers of its own it is not asked for rights and memory: those are the first one's to count.)  */
        others[i].requests = NULL;
        world_close(&others[i]);
    }
    cast_close(&c);
}

/* pager_set_concurrent_reads: so many reads run at once, and no more.  */
static void test_reads_side_by_side(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 16, 0);
    assert_int_equal(pager_set_concurrent_reads(c.world.pager, 3), 0);
    store_close_gate(&c.world, CALL_READ);
    for (size_t page = 0; page < 6; page++)
        ask(c.objects[page & 1], page, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 3);
    store_open_gate(&c.world, CALL_READ);
    for (size_t page = 0; page < 6; page++)
        wait_page(c.objects[page & 1], page, SK_WANT_READABLE);
    assert_int_equal(c.world.store->max_reads, 3);
    cast_close(&c);
}

/* pager_write_pages: what it did not write of a run is written page by page; what it cannot do at all, too.  */
static void test_runs_are_written_to_the_end(void **state)
{
    (void) state;
    for (int most = 0; most < 3; most++) {
        struct cast c;
        cast_open(&c, 1, 8, 0);
        store_multi_write(&c.world, most);
        for (size_t page = 1; page < 7; page++)
            put(c.objects[0], page, (unsigned char) (60 + page));
        pager_return(c.world.pager, 1);
        for (size_t page = 1; page < 7; page++) {
            assert_int_equal(store_byte(&c.world, page), 60 + page);
            assert_int_equal(pager_get_error(c.world.pager, page_offset(page)), 0);
        }
        if (!most)
            assert_int_equal(store_count(&c.world, CALL_WRITE), 6);
        cast_close(&c);
    }
}

/* A run of which a prefix was written before an error: the error is the next page's, and the rest is written.  */
static void test_error_behind_a_written_prefix(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 8, 0);
    store_multi_write(&c.world, 8);
    c.world.store->multi_prefix = 2;
    store_fail(&c.world, CALL_WRITES, EIO, 1);
    for (size_t page = 0; page < 6; page++)
        put(c.objects[0], page, (unsigned char) (70 + page));
    pager_return(c.world.pager, 1);
    for (size_t page = 0; page < 6; page++) {
        assert_int_equal(pager_get_error(c.world.pager, page_offset(page)), page == 2 ? EIO : 0);
        assert_int_equal(store_byte(&c.world, page), page == 2 ? 3 : 70 + page);
    }
    cast_close(&c);
}

/* A return of more pages than there are bits in a word: each is written.  */
static void test_return_of_a_hundred_pages(void **state)
{
    (void) state;
    enum { COUNT = 100 };
    struct cast c;
    cast_open(&c, 1, COUNT, 0);
    static unsigned char data[COUNT * 4096];
    for (size_t page = 0; page < COUNT; page++) {
        put(c.objects[0], page, 1);
        data[page * vm_page_size] = (unsigned char) (100 + page);
    }
    send_raw(c.objects[0], (struct sk_message) { .id = SK_DATA_RETURN, .length = page_offset(COUNT), .dirty = 1, .kernel_copy = 1 },
             data);
    world_settle(&c.world);
    for (size_t page = 0; page < COUNT; page++)
        assert_int_equal(store_byte(&c.world, page), (unsigned char) (100 + page));
    cast_close(&c);
}

/* ---- Section 3: attributes, errors ---- */

/* A client that comes after pager_change_attributes is told the new ones at once.  */
static void test_new_client_is_told_the_new_attributes(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    pager_change_attributes(c.world.pager, 1, MEMORY_OBJECT_COPY_NONE, 0);
    boolean_t ready, may_cache;
    memory_object_copy_strategy_t strategy;
    sk_attributes(cast_join(&c), &ready, &may_cache, &strategy);
    assert_true(ready);
    assert_true(may_cache);
    assert_int_equal(strategy, MEMORY_OBJECT_COPY_NONE);
    cast_close(&c);
}

/* Codes that the page word cannot say come through as they are, from reads and from writes, and pager_get_error knows them.  */
static void test_odd_codes_survive(void **state)
{
    (void) state;
    for (int kernels = 1; kernels < 3; kernels++) {
        struct cast c;
        cast_open(&c, kernels, 4, 0);
        sk_object *a = c.objects[0];
        unsigned char byte;
        store_fail(&c.world, CALL_READ, 4711, 1);
        assert_int_equal(kernel_read(a, 1, &byte), 4711);
        assert_int_equal(pager_get_error(c.world.pager, page_offset(1)), 4711);
        put(a, 2, 9);
        store_fail(&c.world, CALL_WRITE, EROFS, 1);
        evict(a, 2);
        world_settle(&c.world);
        assert_int_equal(pager_get_error(c.world.pager, page_offset(2)), EROFS);
        assert_int_equal(kernel_read(c.objects[kernels - 1], 2, &byte), EROFS);
        cast_close(&c);
    }
}

/* "A failed write marks the page's backing data invalid ... until a later write succeeds": by a sync whose copy stays.  */
static void test_later_write_makes_the_page_good(void **state)
{
    (void) state;
    for (int notify = 0; notify < 2; notify++) {
        struct cast c;
        cast_open(&c, 2, 4, notify);
        sk_object *a = c.objects[0], *b = c.objects[1];
        put(a, 0, 80);
        store_fail(&c.world, CALL_WRITE, ENOSPC, 1);
        pager_sync(c.world.pager, 1);
        assert_int_equal(pager_get_error(c.world.pager, 0), ENOSPC);
        assert_int_equal(store_byte(&c.world, 0), 1);
        poke(a, 0, 81);
        pager_sync(c.world.pager, 1);
        assert_int_equal(pager_get_error(c.world.pager, 0), 0);
        pager_return(c.world.pager, 1);
        assert_int_equal(store_byte(&c.world, 0), 81);
        assert_int_equal(get(b, 0), 81);
        assert_int_equal(store_count(&c.world, CALL_READ), 2);
        cast_close(&c);
    }
}

/* pager_get_error speaks of the page itself, not of one that lies as far from the start of another part of the map.  */
static void test_errors_of_far_pages_are_their_own(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    unsigned char byte;
    store_fail(&c.world, CALL_READ, EIO, 1);
    assert_int_equal(kernel_read(c.objects[0], 3, &byte), EIO);
    for (size_t page = 1024; page < (size_t) 1 << 50; page *= 512) {
        assert_int_equal(pager_get_error(c.world.pager, page_offset(page + 3)), 0);
        assert_int_equal(pager_page_word(c.world.pager, page_offset(page + 3)), 0);
    }
    assert_int_equal(pager_get_error(c.world.pager, page_offset(3)), EIO);
    cast_close(&c);
}

/* What is known of a page survives the growth of the map: who has it is still asked.  */
static void test_growing_map_forgets_nothing(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    put(a, 0, 90);
    for (size_t page = 2000; page < (size_t) 1 << 40; page *= 600) {
        get(b, page);
        assert_int_equal(access_of(&c, 0, 0), 3);
    }
    assert_int_equal(get(b, 0), 90);
    assert_int_equal(access_of(&c, 0, 0), 1);
    cast_close(&c);
}

/* Beyond the end of the map a flush finds nothing, and takes nothing of others away.  */
static void test_flush_of_far_pages_is_void(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    put(c.objects[0], 3, 91);
    for (size_t page = 1024; page < (size_t) 1 << 50; page *= 512) {
        pager_flush_some(c.world.pager, page_offset(page + 3), vm_page_size, 1);
        assert_int_equal(access_of(&c, 3, 0), 3);
    }
    assert_int_equal(get(c.objects[1], 3), 91);
    cast_close(&c);
}

/* A request for which the page map has no memory gets an error, and is served when it is made again.  */
static void test_request_without_memory_is_answered(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    unsigned char byte;
    world_settle(&c.world);
    platform_fail_allocation(0);
    int error = kernel_read(c.objects[0], 3, &byte);
    platform_fail_allocation(-1);
    assert_int_equal(error, ENOMEM);
    assert_int_equal(sk_count(c.objects[0], SK_DATA_ERROR), 1);
    assert_int_equal(get(c.objects[0], 3), 4);
    cast_close(&c);
}

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

/* ---- Section 4 ---- */

/* A request whose range is none of whole pages gets one error, for the pages that it touches.  */
static void test_ill_shaped_request_gets_one_error(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    const struct { vm_offset_t offset; vm_size_t length; } shapes[] = {
        { vm_page_size + 8, vm_page_size }, { vm_page_size, 100 }, { 2 * vm_page_size, 0 },
    };
    for (unsigned i = 0; i < 3; i++) {
        send_raw(c.objects[0], (struct sk_message) { .id = SK_DATA_REQUEST, .offset = shapes[i].offset, .length = shapes[i].length,
                                                     .access = VM_PROT_READ }, NULL);
        assert_int_equal(sk_wait_message(c.objects[0], SK_DATA_ERROR, i + 1, 0), 0);
        struct sk_message error;
        assert_int_equal(sk_last_message(c.objects[0], SK_DATA_ERROR, &error), 0);
        assert_int_equal(error.error, EINVAL);
        assert_int_equal(error.offset, page_offset(shapes[i].offset / vm_page_size));
    }
    world_settle(&c.world);
    assert_int_equal(sk_count(c.objects[0], SK_DATA_ERROR), 3);
    assert_int_equal(world_statistics(&c.world).refused, 3);
    assert_int_equal(store_count(&c.world, CALL_READ), 0);
    cast_close(&c);
}

/* A failing read is answered by one error to each who waits.  */
static void test_failing_read_is_answered_once(void **state)
{
    (void) state;
    for (int kernels = 1; kernels < 4; kernels++) {
        struct cast c;
        cast_open(&c, kernels, 4, 0);
        store_close_gate(&c.world, CALL_READ);
        store_fail(&c.world, CALL_READ, EIO, 1);
        for (int i = 0; i < kernels; i++) {
            ask(c.objects[i], 0, VM_PROT_READ);
            fence_by_refusal(&c, c.objects[i]);
        }
        store_wait_gate(&c.world, CALL_READ, 1);
        store_open_gate(&c.world, CALL_READ);
        for (int i = 0; i < kernels; i++)
            wait_page(c.objects[i], 0, SK_WANT_SETTLED);
        world_settle(&c.world);
        for (int i = 0; i < kernels; i++) {
            assert_int_equal(sk_count(c.objects[i], SK_DATA_ERROR), 1);
            assert_int_equal(sk_count(c.objects[i], SK_DATA_SUPPLY), 0);
            assert_int_equal(sk_page_state(c.objects[i], 0).last_error, EIO);
        }
        cast_close(&c);
    }
}

/* memory_object_copy, a change_completed and a supply_completed that nobody asked for: each is counted as refused.  */
static void test_what_nobody_asked_for_is_refused(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    const mach_msg_id_t ids[] = { SK_COPY, SK_CHANGE_COMPLETED, SK_SUPPLY_COMPLETED, SK_LOCK_COMPLETED };
    for (unsigned i = 0; i < 4; i++) {
        send_raw(c.objects[0], (struct sk_message) { .id = ids[i], .length = vm_page_size }, NULL);
        world_settle(&c.world);
        assert_int_equal(world_statistics(&c.world).refused, i + 1);
    }
    put(c.objects[0], 0, 1);
    cast_close(&c);
}

/* A lock_completed that fits no lock request does not answer the flush that is under way: the holder still counts.  */
static void test_stray_completion_does_not_answer_a_flush(void **state)
{
    (void) state;
    for (vm_prot_t wish = VM_PROT_READ; wish <= RW; wish += VM_PROT_WRITE) {
        struct cast c;
        cast_open(&c, 2, 4, 0);
        sk_object *a = c.objects[0], *b = c.objects[1];
        put(a, 0, 55);
        sk_hold(a, SK_HOLD_LOCK);
        ask(b, 0, wish);
        held(a, 1);
        send_raw(a, (struct sk_message) { .id = SK_LOCK_COMPLETED, .offset = 0, .length = page_offset(2) }, NULL);
        wait_refused(&c, 1);
        assert_int_equal(access_of(&c, 0, 0), 3);
        assert_int_equal(state_of(b, 0), SK_PAGE_REQUESTED);
        poke(a, 0, 56);
        sk_release_all(a);
        wait_page(b, 0, SK_WANT_READABLE);
        assert_int_equal(kernel_byte(b, 0), 56);
        cast_close(&c);
    }
}

/* An unlock and a request of several pages: each page is answered.  */
static void test_every_page_of_a_message_is_answered(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 8, 0);
    sk_object *a = c.objects[0];
    request_pages(a, 1, 4, VM_PROT_READ);
    for (size_t page = 1; page < 5; page++)
        wait_page(a, page, SK_WANT_READABLE);
    for (size_t page = 1; page < 5; page++)
        get(c.objects[1], page);
    send_raw(a, (struct sk_message) { .id = SK_DATA_UNLOCK, .offset = page_offset(1), .length = page_offset(4),
                                      .access = VM_PROT_WRITE }, NULL);
    for (size_t page = 1; page < 5; page++) {
        wait_page(a, page, SK_WANT_WRITABLE);
        wait_page(c.objects[1], page, SK_WANT_ABSENT);
    }
    cast_close(&c);
}

/* The same with a write lock: the translator is asked for each page, and each is permitted.  */
static void test_every_locked_page_of_an_unlock_is_asked_for(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 8, 0);
    store_write_lock(&c.world, 1);
    for (size_t page = 2; page < 6; page++)
        get(c.objects[0], page);
    send_raw(c.objects[0], (struct sk_message) { .id = SK_DATA_UNLOCK, .offset = page_offset(2), .length = page_offset(4),
                                                 .access = VM_PROT_WRITE }, NULL);
    for (size_t page = 2; page < 6; page++)
        wait_page(c.objects[0], page, SK_WANT_WRITABLE);
    assert_int_equal(store_count(&c.world, CALL_UNLOCK), 4);
    cast_close(&c);
}

/* First come, first served, with more clients than a page word has room for: each writer in its turn.  */
static void test_queue_keeps_its_order(void **state)
{
    (void) state;
    for (int kernels = 4; kernels < 8; kernels += 3) {
        struct cast c;
        cast_open(&c, kernels, 4, 0);
        store_close_gate(&c.world, CALL_READ);
        for (int i = 0; i < kernels; i++) {
            /* Who has it in its turn is not asked to give it up before we look.  */
            sk_hold(c.objects[i], SK_HOLD_LOCK);
            ask(c.objects[i], 0, RW);
            fence_by_refusal(&c, c.objects[i]);
        }
        store_wait_gate(&c.world, CALL_READ, 1);
        store_open_gate(&c.world, CALL_READ);
        for (int i = 0; i < kernels; i++) {
            wait_page(c.objects[i], 0, SK_WANT_WRITABLE);
            assert_int_equal(access_of(&c, 0, (unsigned) i), 3);
            for (int later = i + 1; later < kernels; later++)
                assert_int_equal(state_of(c.objects[later], 0), SK_PAGE_REQUESTED);
            sk_release_all(c.objects[i]);
        }
        cast_close(&c);
    }
}

/* Readers next to each other are served together, the writer behind them after them, and the reader behind it last.  */
static void test_readers_together_writer_apart(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 4, 4, 0);
    const vm_prot_t wishes[] = { VM_PROT_READ, VM_PROT_READ, RW, VM_PROT_READ };
    store_close_gate(&c.world, CALL_READ);
    for (int i = 0; i < 4; i++) {
        sk_hold(c.objects[i], SK_HOLD_LOCK);
        ask(c.objects[i], 0, wishes[i]);
        fence_by_refusal(&c, c.objects[i]);
    }
    store_wait_gate(&c.world, CALL_READ, 1);
    store_open_gate(&c.world, CALL_READ);
    wait_page(c.objects[0], 0, SK_WANT_READABLE);
    wait_page(c.objects[1], 0, SK_WANT_READABLE);
    held(c.objects[0], 1);
    held(c.objects[1], 1);
    assert_int_equal(state_of(c.objects[2], 0), SK_PAGE_REQUESTED);
    assert_int_equal(state_of(c.objects[3], 0), SK_PAGE_REQUESTED);
    sk_release_all(c.objects[0]);
    fence_by_refusal(&c, c.objects[0]);
    assert_int_equal(state_of(c.objects[2], 0), SK_PAGE_REQUESTED);
    sk_release_all(c.objects[1]);
    wait_page(c.objects[2], 0, SK_WANT_WRITABLE);
    assert_int_equal(state_of(c.objects[3], 0), SK_PAGE_REQUESTED);
    poke(c.objects[2], 0, 50);
    sk_release_all(c.objects[2]);
    wait_page(c.objects[3], 0, SK_WANT_READABLE);
    assert_int_equal(kernel_byte(c.objects[3], 0), 50);
    /* For the readers, who gave it up clean, and again for the writer.  */
    assert_int_equal(store_count(&c.world, CALL_READ), 2);
    sk_release_all(c.objects[3]);
    cast_close(&c);
}

/* The data of one writer reach the next one, and readers, while the disk still writes an older version; the disk gets the newest.  */
static void test_data_pass_before_the_disk(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 3, 4, 0);
    put(c.objects[0], 0, 51);
    store_close_gate(&c.world, CALL_WRITE);
    put(c.objects[1], 0, 52);
    store_wait_gate(&c.world, CALL_WRITE, 1);
    assert_int_equal(get(c.objects[2], 0), 52);
    put(c.objects[0], 0, 53);
    assert_int_equal(get(c.objects[1], 0), 53);
    assert_int_equal(store_count(&c.world, CALL_READ), 1);
    store_open_gate(&c.world, CALL_WRITE);
    pager_sync(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 0), 53);
    world_settle(&c.world);
    struct pager_page_census census;
    pager_take_census(c.world.pager, &census);
    assert_int_equal(census.held, 0);
    unsigned writes = store_count(&c.world, CALL_WRITE);
    for (unsigned i = 1; i < writes; i++)
        assert_true(store_call(&c.world, CALL_WRITE, i).first > store_call(&c.world, CALL_WRITE, i - 1).first);
    cast_close(&c);
}

/* All readers ask for write at once while the page is being flushed for the first: each is asked to give it up once.  */
static void test_one_flush_for_all(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 4, 4, 0);
    for (int i = 0; i < 4; i++) {
        get(c.objects[i], 0);
        sk_hold(c.objects[i], SK_HOLD_LOCK);
    }
    ask_unlock(c.objects[0], 0);
    for (int i = 1; i < 4; i++) {
        held(c.objects[i], 1);
        ask_unlock(c.objects[i], 0);
        fence_by_refusal(&c, c.objects[i]);
        assert_int_equal(sk_pending(c.objects[i]), 1);
    }
    for (int i = 1; i < 4; i++)
        sk_release_all(c.objects[i]);
    sk_release_all(c.objects[0]);
    wait_page(c.objects[0], 0, SK_WANT_WRITABLE);
    for (int i = 1; i < 4; i++) {
        wait_page(c.objects[i], 0, SK_WANT_ABSENT);
        assert_int_equal(sk_count(c.objects[i], SK_LOCK_REQUEST), 1);
    }
    assert_int_equal(access_of(&c, 0, 0), 3);
    cast_close(&c);
}

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
    /* (The page must be at rest: what comes back while the answer is still being sent is not written again.)  */
    world_settle(&c->world);
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

/* A second pager with this store ends; the other one's end is to be the only one when all is over.  */
static void await_clear(struct user_pager_info *store)
{
    for (int cleared = 0; !cleared; sched_yield()) {
        pthread_mutex_lock(&store->lock);
        cleared = store->cleared;
        store->cleared = 0;
        pthread_mutex_unlock(&store->lock);
    }
}

/* pager_get_port: the name is good for a send right, and that right keeps the pager, without a reference, until it goes.  */
static void test_port_from_get_port_keeps_the_pager(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    struct user_pager_info *store = c.world.store;
    struct pager *pager = pager_create(store, c.world.bucket, 0, MEMORY_OBJECT_COPY_DELAY, 0);
    assert_non_null(pager);
    mach_port_t name = pager_get_port(pager);
    assert_int_equal(mach_port_insert_right(mach_task_self(), name, name, MACH_MSG_TYPE_MAKE_SEND), KERN_SUCCESS);
    ports_port_deref(pager);
    assert_int_equal(store->cleared, 0);
    sk_object *object = sk_map(c.kernels[0], name);
    assert_int_equal(get(object, 1), 2);
    assert_int_equal(sk_terminate(object), 0);
    world_settle(&c.world);
    assert_int_equal(store->cleared, 0);
    mach_port_deallocate(mach_task_self(), name);
    await_clear(store);
    cast_close(&c);
}

/* libports' inhibition holds for a pager's messages as well: it waits for the one that is being served, and holds the next one back.  */
static int inhibit_bucket(void *world) { return ports_inhibit_bucket_rpcs(((struct world *) world)->bucket); }
static int inhibit_port(void *world) { return ports_inhibit_port_rpcs(((struct world *) world)->pager); }

static void check_inhibition(int (*inhibit)(void *), int of_port)
{
    struct cast c;
    cast_open(&c, 1, 4, 0);
    store_close_gate(&c.world, CALL_READ);
    ask(c.objects[0], 0, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    struct task task;
    task_begin(&task, inhibit, &c.world);
    assert_true(task_waits(&task));
    store_open_gate(&c.world, CALL_READ);
    assert_int_equal(task_end(&task), 0);
    wait_page(c.objects[0], 0, SK_WANT_READABLE);
    ask(c.objects[0], 1, VM_PROT_READ);
    struct timespec pause = { .tv_nsec = 20000000 };
    nanosleep(&pause, NULL);        /* (A chance for what is wrong to show itself.)  */
    assert_int_equal(store_count(&c.world, CALL_READ), 1);
    if (of_port)
        ports_resume_port_rpcs(c.world.pager);
    else
        ports_resume_bucket_rpcs(c.world.bucket);
    wait_page(c.objects[0], 1, SK_WANT_READABLE);
    cast_close(&c);
}

static void test_inhibited_bucket(void **state)
{
    (void) state;
    check_inhibition(inhibit_bucket, 0);
}

static void test_inhibited_port(void **state)
{
    (void) state;
    check_inhibition(inhibit_port, 1);
}

/* The client for which a page is being read goes; next in the queue is a writer, and one more client has the page for reading: that one
   is to be flushed before the writer gets what was read (R7, R9).  */
static void read_of_the_gone_and_a_writer(int dies)
{
    struct cast c;
    cast_open(&c, 3, 4, 0);
    sk_object *holder = c.objects[0], *gone = c.objects[1], *writer = c.objects[2];
    get(holder, 0);
    store_close_gate(&c.world, CALL_READ);
    ask(gone, 0, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    sk_hold(holder, SK_HOLD_LOCK);
    ask(writer, 0, RW);
    fence_by_refusal(&c, writer);
    if (dies)
        cast_kill(&c, 1);
    else
        assert_int_equal(sk_terminate(gone), 0);
    /* The first place of the queue (docs/design.md, the page word): client 2, for writing.  */
    while ((pager_page_word(c.world.pager, 0) >> 9 & 15) != (1 | 2 << 1 | 8))
        sched_yield();
    store_open_gate(&c.world, CALL_READ);
    held(holder, 1);
    assert_int_equal(state_of(writer, 0), SK_PAGE_REQUESTED);
    sk_release_all(holder);
    wait_page(writer, 0, SK_WANT_WRITABLE);
    assert_int_equal(state_of(holder, 0), SK_PAGE_ABSENT);
    assert_int_equal(access_of(&c, 0, 0), 0);
    cast_close(&c);
}

static void test_read_of_the_dead_and_a_writer(void **state)
{
    (void) state;
    read_of_the_gone_and_a_writer(1);
}

static void test_read_of_the_terminated_and_a_writer(void **state)
{
    (void) state;
    read_of_the_gone_and_a_writer(0);
}

/* "Refused with a logged reason", and each reason once: what comes on standard error.  */
static void test_each_reason_is_logged(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    int saved = dup(STDERR_FILENO), ends[2];
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    for (int i = 0; i < 3; i++) {
        send_raw(c.objects[0], (struct sk_message) { .id = SK_LOCK_COMPLETED, .offset = 0x5000, .length = vm_page_size }, NULL);
        world_settle(&c.world);
        send_raw(c.objects[0], (struct sk_message) { .id = SK_DATA_UNLOCK, .offset = 3, .length = vm_page_size }, NULL);
    }
    world_settle(&c.world);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    char log[4096] = "";
    ssize_t length = read(ends[0], log, sizeof log - 1);
    close(ends[0]);
    assert_true(length > 0);
    assert_string_equal(log, "libpager: refused: lock_completed at 0x5000, length 0x1000, for which nothing was asked\n"
                             "libpager: refused: message with misaligned offset 0x3 or length 0x1000\n");
    assert_int_equal(world_statistics(&c.world).refused, 6);
    cast_close(&c);
}

/* An offered page that the client has, changed or not, stays as it is, and nothing is sent.  */
static void test_offer_leaves_what_is_there(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    vm_address_t data = 0;
    assert_int_equal(vm_allocate(mach_task_self(), &data, vm_page_size, 1), KERN_SUCCESS);
    memset((void *) data, 0xaa, vm_page_size);
    put(c.objects[0], 0, 60);
    get(c.objects[0], 1);
    for (size_t page = 0; page < 2; page++)
        pager_offer_page(c.world.pager, 0, 0, page_offset(page), data);
    assert_int_equal(sk_count(c.objects[0], SK_DATA_SUPPLY), 2);
    assert_int_equal(kernel_byte(c.objects[0], 0), 60);
    assert_int_equal(kernel_byte(c.objects[0], 1), 2);
    assert_int_equal(vm_deallocate(mach_task_self(), data, vm_page_size), KERN_SUCCESS);
    cast_close(&c);
}

/* The error of a refused unlock is the client's own: others read and write, and it reads itself, until it asks to write again.  */
static void test_refused_unlock_is_the_clients_own(void **state)
{
    (void) state;
    for (int kernels = 2; kernels < 7; kernels += 4) {
        struct cast c;
        cast_open(&c, kernels, 4, 0);
        sk_object *a = c.objects[kernels - 1], *b = c.objects[0];
        store_write_lock(&c.world, 1);
        get(a, 0);
        store_fail(&c.world, CALL_UNLOCK, ENOSPC, 1);
        ask_unlock(a, 0);
        wait_page(a, 0, SK_WANT_ABSENT);
        get(b, 0);
        get(a, 0);
        put(b, 0, 65);
        assert_int_equal(get(a, 0), 65);
        assert_int_equal(store_count(&c.world, CALL_UNLOCK), 2);
        /* (Its copy goes as a flush, and its request then gets the error.)  */
        assert_int_equal(kernel_write(a, 0, 66), ENOSPC);
        put(a, 0, 67);
        assert_int_equal(get(b, 0), 67);
        cast_close(&c);
    }
}

/* Pages that are alike share a descriptor, which remembers what becomes of requests as long as some page is in the state that they lead
   to: requests for reading and for writing are to be told apart.  First a page that stays in the midst of being read ...  */
static void test_read_then_write_of_alike_pages(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 6, 4, 0);
    sk_object *holder = c.objects[5], *other = c.objects[4];
    get(holder, 0);
    get(holder, 1);
    world_settle(&c.world);
    assert_int_equal(pager_page_word(c.world.pager, 0), pager_page_word(c.world.pager, page_offset(1)));
    store_close_gate(&c.world, CALL_READ);
    ask(other, 0, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    ask(other, 1, RW);
    wait_page(holder, 1, SK_WANT_ABSENT);
    assert_int_equal(state_of(holder, 0), SK_PAGE_PRESENT);
    store_open_gate(&c.world, CALL_READ);
    wait_page(other, 0, SK_WANT_READABLE);
    wait_page(other, 1, SK_WANT_WRITABLE);
    cast_close(&c);
}

/* ... then one that stays in the midst of being flushed.  */
static void test_write_then_read_of_alike_pages(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 6, 4, 0);
    sk_object *holder = c.objects[5], *other = c.objects[4];
    get(holder, 0);
    get(holder, 1);
    world_settle(&c.world);
    assert_int_equal(pager_page_word(c.world.pager, 0), pager_page_word(c.world.pager, page_offset(1)));
    sk_hold(holder, SK_HOLD_LOCK);
    ask(other, 0, RW);
    held(holder, 1);
    ask(other, 1, VM_PROT_READ);
    wait_page(other, 1, SK_WANT_READABLE);
    assert_int_equal(sk_pending(holder), 1);
    sk_release_all(holder);
    wait_page(other, 0, SK_WANT_WRITABLE);
    assert_int_equal(state_of(holder, 1), SK_PAGE_PRESENT);
    cast_close(&c);
}

/* A no-senders notification is under way when a new send right is made: the pager stays, though nothing but that right holds it.  */
static void test_new_right_overtakes_the_notification(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    struct user_pager_info *store = c.world.store;
    struct pager *pager = pager_create(store, c.world.bucket, 0, MEMORY_OBJECT_COPY_DELAY, 0);
    assert_non_null(pager);
    mach_port_t name = ports_get_send_right(pager);
    ports_port_deref(pager);
    assert_int_equal(pager_inhibit_workers(c.world.requests), 0);
    mach_port_deallocate(mach_task_self(), name);
    assert_int_equal(ports_get_send_right(pager), name);
    pager_resume_workers(c.world.requests);
    world_settle(&c.world);
    assert_int_equal(store->cleared, 0);
    sk_object *object = sk_map(c.kernels[0], name);
    assert_int_equal(get(object, 1), 2);
    assert_int_equal(sk_terminate(object), 0);
    mach_port_deallocate(mach_task_self(), name);
    await_clear(store);
    cast_close(&c);
}

/* A kernel whose pages have another size than ours: its init, with a control port that lives.  What comes to that port is returned.  */
static mach_msg_id_t init_with_page_size(struct cast *c, vm_size_t page_size, hostmach_task_t task)
{
    struct { mach_msg_header_t header; char body[256]; } message;
    mach_port_t pager, control, name;
    assert_int_equal(hostmach_copy_send(hostmach_task_main(), c->world.port, task, &pager), 0);
    hostmach_task_t before = hostmach_task_enter(task);
    kern_return_t made = mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &control);
    if (!made)
        made = mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &name);
    if (!made)
        made = memory_object_init(pager, control, name, page_size);
    mach_msg_return_t result = made ? made : mach_msg(&message.header, MACH_RCV_MSG | MACH_RCV_TIMEOUT, 0, sizeof message, control,
                                                      3000, MACH_PORT_NULL);
    hostmach_task_enter(before);
    assert_int_equal(made, KERN_SUCCESS);
    assert_int_equal(result, MACH_MSG_SUCCESS);
    return message.header.msgh_id;
}

/* It is told that it will not be served (a kernel that waits for `ready` would wait for ever) ...  */
static void test_other_page_size_is_turned_away(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    hostmach_task_t task = hostmach_task_create("other page size");
    assert_int_equal(init_with_page_size(&c, 2 * vm_page_size, task), SK_DESTROY);
    assert_int_equal(init_with_page_size(&c, vm_page_size / 2, task), SK_DESTROY);
    assert_int_equal(world_statistics(&c.world).refused, 2);
    assert_int_equal(init_with_page_size(&c, vm_page_size, task), SK_READY);
    hostmach_task_destroy(task);
    cast_close(&c);
}

/* ... and does not count as a client: the one there is goes on being alone.  */
static void test_other_page_size_is_no_client(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    hostmach_task_t task = hostmach_task_create("other page size");
    init_with_page_size(&c, 2 * vm_page_size, task);
    world_settle(&c.world);
    assert_int_equal(world_statistics(&c.world).clients, 1);
    get(c.objects[0], 0);
    assert_int_equal(access_of(&c, 0, 0), 3);
    hostmach_task_destroy(task);
    cast_close(&c);
}

/* More callbacks than there are workers without those that wait: each takes a dirty page of another object back, which is one more
   callback.  */
enum { WAITING = 70 };

static void return_other(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    (void) page;
    if (call == CALL_READ && store->hook_argument)
        pager_return(store->hook_argument, 1);
}

static void test_waiting_for_returns_in_70_callbacks(void **state)
{
    (void) state;
    static struct world worlds[WAITING], others[WAITING];
    static sk_object *objects[WAITING];
    struct cast c;
    cast_open(&c, 1, 4, 0);
    for (int i = 0; i < WAITING; i++) {
        world_join(&others[i], &c.world, 2, 0);
        world_join(&worlds[i], &c.world, 2, 0);
        put(sk_map(c.kernels[0], others[i].port), 1, (unsigned char) (100 + i));
        objects[i] = sk_map(c.kernels[0], worlds[i].port);
        worlds[i].store->hook = return_other;
        worlds[i].store->hook_argument = others[i].pager;
        store_close_gate(&worlds[i], CALL_READ);
    }
    for (int i = 0; i < WAITING; i++)
        ask(objects[i], 0, VM_PROT_READ);
    /* All workers but the one that receives stand at the gates.  */
    for (int waiting = 0; waiting < 63; sched_yield()) {
        waiting = 0;
        for (int i = 0; i < WAITING; i++) {
            pthread_mutex_lock(&worlds[i].store->lock);
            waiting += worlds[i].store->waiting[CALL_READ];
            pthread_mutex_unlock(&worlds[i].store->lock);
        }
    }
    for (int i = 0; i < WAITING; i++)
        store_open_gate(&worlds[i], CALL_READ);
    for (int i = 0; i < WAITING; i++) {
        wait_page(objects[i], 0, SK_WANT_READABLE);
        assert_int_equal(store_byte(&others[i], 1), 100 + i);
    }
    cast_kill(&c, 0);
    for (int i = WAITING; i-- > 0; ) {
        world_close(&worlds[i]);
        world_close(&others[i]);
    }
    cast_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_callbacks_in_order_and_apart),
        cmocka_unit_test(test_returned_pages_are_written_in_order),
        cmocka_unit_test(test_objects_run_side_by_side),
        cmocka_unit_test(test_reads_side_by_side),
        cmocka_unit_test(test_runs_are_written_to_the_end),
        cmocka_unit_test(test_error_behind_a_written_prefix),
        cmocka_unit_test(test_return_of_a_hundred_pages),
        cmocka_unit_test(test_new_client_is_told_the_new_attributes),
        cmocka_unit_test(test_odd_codes_survive),
        cmocka_unit_test(test_later_write_makes_the_page_good),
        cmocka_unit_test(test_errors_of_far_pages_are_their_own),
        cmocka_unit_test(test_growing_map_forgets_nothing),
        cmocka_unit_test(test_flush_of_far_pages_is_void),
        cmocka_unit_test(test_request_without_memory_is_answered),
        cmocka_unit_test(test_every_page_is_precious_with_notice),
        cmocka_unit_test(test_one_notice_after_the_write_and_the_last_copy),
        cmocka_unit_test(test_no_notice_for_a_page_that_is_handed_on),
        cmocka_unit_test(test_notice_clears_the_error),
        cmocka_unit_test(test_refused_unlock_is_told_once),
        cmocka_unit_test(test_wait_for_a_write_that_was_under_way),
        cmocka_unit_test(test_return_takes_clean_precious_pages),
        cmocka_unit_test(test_ill_shaped_request_gets_one_error),
        cmocka_unit_test(test_failing_read_is_answered_once),
        cmocka_unit_test(test_what_nobody_asked_for_is_refused),
        cmocka_unit_test(test_stray_completion_does_not_answer_a_flush),
        cmocka_unit_test(test_every_page_of_a_message_is_answered),
        cmocka_unit_test(test_every_locked_page_of_an_unlock_is_asked_for),
        cmocka_unit_test(test_queue_keeps_its_order),
        cmocka_unit_test(test_readers_together_writer_apart),
        cmocka_unit_test(test_data_pass_before_the_disk),
        cmocka_unit_test(test_one_flush_for_all),
        cmocka_unit_test(test_shutdown_refuses_what_comes_late),
        cmocka_unit_test(test_unwritten_version_is_handed_on),
        cmocka_unit_test(test_unwritten_copy_is_asked_back),
        cmocka_unit_test(test_unwritten_copy_is_asked_back_from_a_reader),
        cmocka_unit_test(test_users_flush_answers_a_queued_unlock),
        cmocka_unit_test(test_return_waits_for_its_own_write),
        cmocka_unit_test(test_dropweak_gives_the_last_reference_up),
        cmocka_unit_test(test_read_of_the_dead_and_a_writer),
        cmocka_unit_test(test_read_of_the_terminated_and_a_writer),
        cmocka_unit_test(test_each_reason_is_logged),
        cmocka_unit_test(test_offer_leaves_what_is_there),
        cmocka_unit_test(test_refused_unlock_is_the_clients_own),
        cmocka_unit_test(test_read_then_write_of_alike_pages),
        cmocka_unit_test(test_write_then_read_of_alike_pages),
        cmocka_unit_test(test_new_right_overtakes_the_notification),
        cmocka_unit_test(test_other_page_size_is_turned_away),
        cmocka_unit_test(test_other_page_size_is_no_client),
        cmocka_unit_test(test_waiting_for_returns_in_70_callbacks),
        cmocka_unit_test(test_unlock_behind_a_page_in),
        cmocka_unit_test(test_many_unlocks_behind_a_page_in),
        cmocka_unit_test(test_port_from_get_port_keeps_the_pager),
        cmocka_unit_test(test_inhibited_bucket),
        cmocka_unit_test(test_inhibited_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
