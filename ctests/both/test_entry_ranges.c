/* pager_sync, pager_return, pager_flush; pager_offer_page.

   world_settle before a call whose effect on the access set is looked at: a kernel may use a page before the thread that sent it
   has noted that it did, and until then the client stays noted as having it.  */

#include "client.h"

/* sync: dirty pages come back and are written; the kernel keeps its copies, and may write on (section 3).  */
static void test_sync_writes_and_keeps(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 8, 1, 0);
    unsigned char byte;
    assert_int_equal(try_write(scene.x, 1, 71), 0);
    assert_int_equal(try_write(scene.x, 3, 73), 0);
    assert_int_equal(try_read(scene.x, 2, &byte), 0);
    pager_sync(scene.party.world.pager, 1);
    assert_int_equal(store_byte(&scene.party.world, 1), 71);
    assert_int_equal(store_byte(&scene.party.world, 3), 73);
    assert_int_equal(store_count(&scene.party.world, CALL_WRITE), 2);
    for (size_t i = 1; i <= 3; i++) {
        assert_int_equal(state_of(scene.x, i), SK_PAGE_PRESENT);
        assert_false(is_dirty(scene.x, i));
        assert_int_equal(access_of(&scene.party, i, 0), 3);
    }
    assert_int_equal(locks(scene.x), 1);
    if (scripted(&scene.party)) {
        struct sk_message message;
        assert_int_equal(sk_last_message(scene.x->object, SK_LOCK_REQUEST, &message), 0);
        assert_int_equal(message.should_return, MEMORY_OBJECT_RETURN_DIRTY);
        assert_false(message.should_flush);
        assert_int_equal(message.access, VM_PROT_NO_CHANGE);
        assert_int_equal(message.offset, 0);
        assert_int_equal(message.length, page_offset(8));
    }
    rewrite(scene.x, 1, 'z');
    pager_sync(scene.party.world.pager, 1);
    assert_int_equal(store_byte(&scene.party.world, 1), 'z');
    assert_int_equal(store_count(&scene.party.world, CALL_WRITE), 3);
    scene_close(&scene);
}

/* return: the same, then the copies go, clean ones too (section 3).  */
static void test_return_writes_and_takes(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 8, 2, 0);
    unsigned char byte;
    assert_int_equal(try_write(scene.x, 1, 71), 0);
    assert_int_equal(try_read(scene.y, 2, &byte), 0);
    world_settle(&scene.party.world);
    pager_return(scene.party.world.pager, 1);
    assert_int_equal(store_byte(&scene.party.world, 1), 71);
    assert_int_equal(resident(scene.x), 0);
    assert_int_equal(resident(scene.y), 0);
    for (size_t i = 0; i < 8; i++)
        for (unsigned k = 0; k < 2; k++)
            assert_int_equal(access_of(&scene.party, i, k), 0);
    assert_int_equal(try_read(scene.y, 1, &byte), 0);
    assert_int_equal(byte, 71);
    scene_close(&scene);
}

/* flush: the copies go, dirty data with them (section 3).  */
static void test_flush_drops_dirty_data(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 8, 2, 0);
    unsigned char byte;
    assert_int_equal(try_write(scene.x, 1, 71), 0);
    assert_int_equal(try_read(scene.y, 2, &byte), 0);
    world_settle(&scene.party.world);
    pager_flush(scene.party.world.pager, 1);
    assert_int_equal(store_byte(&scene.party.world, 1), 2);
    assert_int_equal(store_count(&scene.party.world, CALL_WRITE), 0);
    assert_int_equal(resident(scene.x) + resident(scene.y), 0);
    assert_int_equal(returns(scene.x), 0);
    assert_int_equal(access_of(&scene.party, 1, 0), 0);
    assert_int_equal(try_read(scene.y, 1, &byte), 0);
    assert_int_equal(byte, 2);
    scene_close(&scene);
}

/* The forms with a range widen it to whole pages and touch no other (hurd/pager.h).  */
static void test_ranges_are_exact_to_the_page(void **state)
{
    static const struct { vm_address_t start; vm_size_t length; size_t first, last; } ranges[] = {
        { 0, 1, 0, 0 }, { 4095, 1, 0, 0 }, { 4095, 2, 0, 1 }, { 4096, 4096, 1, 1 }, { 4097, 4096, 1, 2 }, { 2 * 4096 + 100, 8192, 2, 4 },
        { 3 * 4096, 2 * 4096, 3, 4 }, { 7 * 4096 + 1, 4095, 7, 7 }, { 6 * 4096, 1 << 20, 6, 7 }, { 1, (vm_size_t) -1, 0, 7 },
    };
    assert_int_equal(vm_page_size, 4096);
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++)
        for (int kind = 0; kind < 3; kind++) {
            struct scene scene;
            scene_open(&scene, state, 8, 1, 0);
            for (size_t i = 0; i < 8; i++)
                assert_int_equal(try_write(scene.x, i, (unsigned char) (100 + i)), 0);
            world_settle(&scene.party.world);
            (kind == 0 ? pager_sync_some : kind == 1 ? pager_return_some : pager_flush_some)(
                scene.party.world.pager, ranges[r].start, ranges[r].length, 1);
            for (size_t i = 0; i < 8; i++) {
                int inside = ranges[r].first <= i && i <= ranges[r].last;
                assert_int_equal(state_of(scene.x, i), inside && kind ? SK_PAGE_ABSENT : SK_PAGE_PRESENT);
                assert_int_equal(is_dirty(scene.x, i), !inside);
                assert_int_equal(store_byte(&scene.party.world, i), inside && kind < 2 ? 100 + i : i + 1);
                assert_int_equal(access_of(&scene.party, i, 0), inside && kind ? 0 : 3);
            }
            scene_close(&scene);
        }
}

/* An object of no pages has nothing to sync; without clients nobody is asked (hurd/pager.h: the extent is pager_report_extent's).  */
static void test_nothing_to_do(void **state)
{
    struct party p;
    party_open(&p, state, 0, 8, 0);
    for (int wait = 0; wait < 2; wait++) {
        pager_sync(p.world.pager, wait);
        pager_return(p.world.pager, wait);
        pager_flush(p.world.pager, wait);
        pager_flush_some(p.world.pager, 0, page_offset(3), wait);
    }
    struct client *client = party_join(&p);
    p.world.store->pages = 0;
    pager_sync(p.world.pager, 1);
    assert_int_equal(locks(client), 0);
    p.world.store->pages = 8;
    pager_sync(p.world.pager, 1);
    assert_int_equal(locks(client), 1);
    party_close(&p);
}

/* ... and every write that this caused (section 3).  */
static void test_wait_for_the_writes_it_caused(void **state)
{
    for (int kernels = 1; kernels <= 2; kernels++)
        for (int back = 0; back < 2; back++) {
            struct scene scene;
            scene_open(&scene, state, 8, kernels, 0);
            assert_int_equal(try_write(scene.x, 1, 71), 0);
            assert_int_equal(try_write(kernels > 1 ? scene.y : scene.x, 5, 75), 0);
            store_close_gate(&scene.party.world, CALL_WRITE);
            struct ranged ranged = { back ? pager_return_some : pager_sync_some, &scene.party.world, 0, 8, 0 };
            struct task task;
            task_begin(&task, run_ranged, &ranged);
            store_wait_gate(&scene.party.world, CALL_WRITE, 1);
            wait_answers(scene.x, 1);
            assert_true(task_waits(&task));
            ranged.flag = 1;
            store_open_gate(&scene.party.world, CALL_WRITE);
            assert_int_equal(task_end(&task), 1);
            assert_int_equal(store_byte(&scene.party.world, 1), 71);
            assert_int_equal(store_byte(&scene.party.world, 5), 75);
            scene_close(&scene);
        }
}

/* ... or that was already under way in the range, whoever caused it (section 3); also when the caller only flushes.  */
static void test_wait_for_writes_under_way(void **state)
{
    static void (*const calls[])(struct pager *, vm_address_t, vm_size_t, int) = { pager_sync_some, pager_return_some, pager_flush_some };
    for (int i = 0; i < 6; i++) {
        struct scene scene;
        scene_open(&scene, state, 8, 1 + i / 3, 0);
        assert_int_equal(try_write(scene.x, 1, 71), 0);
        assert_int_equal(try_write(scene.x, 2, 72), 0);
        store_close_gate(&scene.party.world, CALL_WRITE);
        evict(scene.x, 1);
        evict(scene.x, 2);
        store_wait_gate(&scene.party.world, CALL_WRITE, 1);
        /* Page 2 waits behind it.  */
        struct ranged ranged = { calls[i % 3], &scene.party.world, 2, 1, 0 };
        struct task task;
        task_begin(&task, run_ranged, &ranged);
        wait_answers(scene.x, 1);
        assert_true(task_waits(&task));
        ranged.flag = 1;
        store_open_gate(&scene.party.world, CALL_WRITE);
        assert_int_equal(task_end(&task), 1);
        assert_int_equal(store_byte(&scene.party.world, 2), 72);
        scene_close(&scene);
    }
}

enum { THREADS = 4, ROUNDS = 60 };

struct overlapping {
    struct scene *scene;
    int number;
};

/* Writes its page and syncs a range that covers it: afterwards the store must have it.  */
static int overlap(void *argument)
{
    struct overlapping *overlapping = argument;
    struct scene *scene = overlapping->scene;
    size_t page = (size_t) overlapping->number * 2;
    struct client *object = overlapping->number % 2 ? scene->y : scene->x;
    for (int i = 0; i < ROUNDS; i++) {
        unsigned char byte = (unsigned char) (i + 1);
        if (try_write(object, page, byte))
            return -1;
        size_t first = page - page * (size_t) (i % 3) / 2;
        void (*function)(struct pager *, vm_address_t, vm_size_t, int) = i % 2 ? pager_return_some : pager_sync_some;
        function(scene->party.world.pager, page_offset(first), page_offset(page + 1 - first) + (i % 5) * 4096, 1);
        if (store_byte(&scene->party.world, page) != byte)
            return i + 1;
    }
    return 0;
}

/* Several threads may wait on overlapping ranges (section 3): each finds its own write in the store.  */
static void test_overlapping_ranges_of_several_threads(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 16, 2, 0);
    struct overlapping overlapping[THREADS];
    struct task tasks[THREADS];
    for (int i = 0; i < THREADS; i++) {
        overlapping[i] = (struct overlapping) { &scene, i };
        task_begin(&tasks[i], overlap, &overlapping[i]);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(task_end(&tasks[i]), 0);
    scene_close(&scene);
}

/* A flush of a range clears exactly its pages from the access sets, of every client; a sync clears none (sections 3 and 4).  */
static void test_flush_some_clears_exactly_the_access_set(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 8, 2, 0);
    unsigned char byte;
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(try_read(scene.x, i, &byte), 0);
        assert_int_equal(try_read(scene.y, i, &byte), 0);
    }
    assert_int_equal(try_write(scene.y, 3, 99), 0);
    assert_int_equal(try_write(scene.y, 5, 99), 0);
    world_settle(&scene.party.world);
    pager_sync(scene.party.world.pager, 1);
    for (int step = 0; step < 2; step++) {
        for (size_t i = 0; i < 8; i++) {
            int gone = step && 2 <= i && i <= 3, written = i == 3 || i == 5;
            assert_int_equal(access_of(&scene.party, i, 0), gone || written ? 0 : 1);
            assert_int_equal(access_of(&scene.party, i, 1), gone ? 0 : written ? 3 : 1);
        }
        pager_flush_some(scene.party.world.pager, page_offset(2), page_offset(2), 1);
    }
    scene_close(&scene);
}

static vm_address_t buffer_of(unsigned char byte)
{
    vm_address_t buffer;
    assert_int_equal(vm_allocate(mach_task_self(), &buffer, vm_page_size, 1), 0);
    memset((void *) buffer, byte, vm_page_size);
    return buffer;
}

/* A client that is alone gets the page, for writing; the data stay the caller's (hurd/pager.h).  */
static void test_offer_to_the_only_client(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 8, 1, 0);
    vm_address_t buffer = buffer_of(61);
    size_t bytes = hostmach_vm_bytes();
    pager_offer_page(scene.party.world.pager, 0, 0, page_offset(4), buffer);
    wait_page(scene.x, 4, SK_WANT_WRITABLE);
    memset((void *) buffer, 62, vm_page_size);
    assert_int_equal(byte_of(scene.x, 4), 61);
    assert_false(is_precious(scene.x, 4));
    assert_int_equal(access_of(&scene.party, 4, 0), 3);
    rewrite(scene.x, 4, 'w');
    pager_sync(scene.party.world.pager, 1);
    assert_int_equal(store_byte(&scene.party.world, 4), 'w');
    assert_int_equal(store_count(&scene.party.world, CALL_READ), 0);
    pager_return(scene.party.world.pager, 1);
    assert_true(hostmach_vm_bytes() <= bytes);
    assert_int_equal(*(unsigned char *) buffer, 62);
    vm_deallocate(mach_task_self(), buffer, vm_page_size);
    scene_close(&scene);
}

/* WRITELOCK: a write asks pager_unlock_page first; PRECIOUS goes into the supply (hurd/pager.h).  */
static void test_offer_with_write_lock_and_precious(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 8, 1, 0);
    vm_address_t buffer = buffer_of(61);
    pager_offer_page(scene.party.world.pager, 1, 1, page_offset(4), buffer);
    wait_page(scene.x, 4, SK_WANT_READABLE);
    assert_false(is_writable(scene.x, 4));
    assert_true(is_precious(scene.x, 4));
    if (scripted(&scene.party))
        assert_int_equal(sk_page_state(scene.x->object, page_offset(4)).lock, VM_PROT_WRITE);
    assert_int_equal(access_of(&scene.party, 4, 0), 1);
    assert_int_equal(store_count(&scene.party.world, CALL_UNLOCK), 0);
    assert_int_equal(try_write(scene.x, 4, 63), 0);
    assert_int_equal(store_count(&scene.party.world, CALL_UNLOCK), 1);
    assert_int_equal(store_call(&scene.party.world, CALL_UNLOCK, 0).page, page_offset(4));
    assert_int_equal(access_of(&scene.party, 4, 0), 3);
    /* Without the lock in the same object: none is asked.  */
    pager_offer_page(scene.party.world.pager, 0, 0, page_offset(5), buffer);
    assert_int_equal(try_write(scene.x, 5, 64), 0);
    assert_int_equal(store_count(&scene.party.world, CALL_UNLOCK), 1);
    vm_deallocate(mach_task_self(), buffer, vm_page_size);
    scene_close(&scene);
}

/* Ignored where the client has the page, waits for it, or an older version waits to be written (hurd/pager.h).  */
static void test_offer_is_ignored_where_not_wanted(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 8, 1, 0);
    vm_address_t buffer = buffer_of(61);
    assert_int_equal(try_write(scene.x, 1, 71), 0);
    unsigned supplied = supplies(scene.x);
    pager_offer_page(scene.party.world.pager, 0, 0, page_offset(1), buffer);
    assert_int_equal(byte_of(scene.x, 1), 71);
    assert_int_equal(access_of(&scene.party, 1, 0), 3);
    /* It is asked for and being read.  */
    store_close_gate(&scene.party.world, CALL_READ);
    ask(scene.x, 2, VM_PROT_READ);
    store_wait_gate(&scene.party.world, CALL_READ, 1);
    pager_offer_page(scene.party.world.pager, 0, 0, page_offset(2), buffer);
    assert_int_equal(supplies(scene.x), supplied);
    store_open_gate(&scene.party.world, CALL_READ);
    wait_page(scene.x, 2, SK_WANT_PRESENT);
    assert_int_equal(byte_of(scene.x, 2), 3);
    assert_int_equal(supplies(scene.x), supplied + 1);
    /* It is being written.  */
    store_close_gate(&scene.party.world, CALL_WRITE);
    evict(scene.x, 1);
    store_wait_gate(&scene.party.world, CALL_WRITE, 1);
    pager_offer_page(scene.party.world.pager, 0, 0, page_offset(1), buffer);
    store_open_gate(&scene.party.world, CALL_WRITE);
    world_settle(&scene.party.world);
    assert_int_equal(supplies(scene.x), supplied + 1);
    assert_int_equal(store_byte(&scene.party.world, 1), 71);
    vm_deallocate(mach_task_self(), buffer, vm_page_size);
    scene_close(&scene);
}

/* Ignored with several clients, or none (hurd/pager.h, docs/design.md); without data; off a page's boundary; after the shutdown.  */
static void test_offer_is_ignored_where_not_possible(void **state)
{
    struct scene scene;
    scene_open(&scene, state, 8, 2, 0);
    vm_address_t buffer = buffer_of(61);
    pager_offer_page(scene.party.world.pager, 0, 0, page_offset(4), buffer);
    assert_int_equal(supplies(scene.x) + supplies(scene.y), 0);
    assert_int_equal(access_of(&scene.party, 4, 0) + access_of(&scene.party, 4, 1), 0);
    die(scene.y);
    pager_sync(scene.party.world.pager, 1);
    world_settle(&scene.party.world);
    pager_offer_page(scene.party.world.pager, 0, 0, page_offset(4) + 1, buffer);
    pager_offer_page(scene.party.world.pager, 0, 0, page_offset(4), buffer + 16);
    pager_offer_page(scene.party.world.pager, 0, 0, page_offset(4), 0);
    assert_int_equal(supplies(scene.x), 0);
    assert_int_equal(access_of(&scene.party, 4, 0), 0);
    /* Alone again.  */
    pager_offer_page(scene.party.world.pager, 0, 0, page_offset(4), buffer);
    assert_int_equal(supplies(scene.x), 1);
    terminate(scene.x);
    world_settle(&scene.party.world);
    pager_offer_page(scene.party.world.pager, 0, 0, page_offset(5), buffer);
    pager_shutdown(scene.party.world.pager);
    pager_offer_page(scene.party.world.pager, 0, 0, page_offset(6), buffer);
    vm_deallocate(mach_task_self(), buffer, vm_page_size);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_sync_writes_and_keeps),
        BOTH(test_return_writes_and_takes),
        BOTH(test_flush_drops_dirty_data),
        BOTH(test_ranges_are_exact_to_the_page),
        BOTH(test_nothing_to_do),
        BOTH(test_wait_for_the_writes_it_caused),
        BOTH(test_wait_for_writes_under_way),
        BOTH(test_overlapping_ranges_of_several_threads),
        BOTH(test_flush_some_clears_exactly_the_access_set),
        BOTH(test_offer_to_the_only_client),
        BOTH(test_offer_with_write_lock_and_precious),
        BOTH(test_offer_is_ignored_where_not_wanted),
        BOTH(test_offer_is_ignored_where_not_possible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
