/* The translator's callbacks: when they come, in what order, and what becomes of what they say.  */

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "scene.h"

static int error_of(struct scene *scene, size_t page) { return pager_get_error(scene->world.pager, page_offset(page)); }

/* The calls in the order in which they began, as letters: r w u e W; with page numbers.  */
static void assert_calls(struct world *world, const char *expected)
{
    char text[256] = "", *end = text;
    pthread_mutex_lock(&world->store->lock);
    for (unsigned i = 0; i < world->store->logged && end - text < 200; i++)
        end += sprintf(end, "%s%c%u", i ? " " : "", "rwueW"[world->store->log[i].call],
                       (unsigned) (world->store->log[i].page / vm_page_size));
    pthread_mutex_unlock(&world->store->lock);
    assert_string_equal(text, expected);
}

static const int codes[] = { EIO, ENOSPC, EDQUOT, EACCES, 0x40000005 };
enum { CODES = sizeof codes / sizeof *codes };

/* ---- Write locks ---- */

/* Unlock fails: the page is flushed, and the client's next request to write gets the error, once; its reads do not, nor do other
   clients; pager_get_error tells it (section 3).  */
static void test_failed_unlock_is_told_once_to_the_next_write(void **state)
{
    (void) state;
    for (int kernels = 1; kernels <= 2; kernels++)
        for (int i = 0; i < CODES; i++) {
            struct scene scene;
            scene_open(&scene, 4, kernels, 0);
            store_write_lock(&scene.world, 1);
            unsigned char byte;
            assert_int_equal(kernel_read(scene.x, 1, &byte), 0);
            store_fail(&scene.world, CALL_UNLOCK, codes[i], 1);
            assert_int_equal(sk_unlock(scene.x, page_offset(1), VM_PROT_READ | VM_PROT_WRITE), 0);
            assert_int_equal(sk_wait_page(scene.x, page_offset(1), SK_WANT_ABSENT, 0), 0);
            assert_int_equal(error_of(&scene, 1), codes[i]);
            assert_int_equal(error_of(&scene, 0), 0);
            /* Reads.  */
            assert_int_equal(kernel_read(scene.x, 1, &byte), 0);
            assert_int_equal(byte, 2);
            assert_int_equal(sk_page_state(scene.x, page_offset(1)).lock, VM_PROT_WRITE);
            if (scene.y) {
                /* Another one may.  */
                assert_int_equal(kernel_read(scene.y, 1, &byte), 0);
                assert_int_equal(kernel_write(scene.y, 1, 77), 0);
            }
            unsigned unlocks = store_count(&scene.world, CALL_UNLOCK);
            assert_int_equal(kernel_write(scene.x, 1, 78), codes[i]);
            assert_int_equal(store_count(&scene.world, CALL_UNLOCK), unlocks);
            assert_int_equal(error_of(&scene, 1), codes[i]);
            /* Once.  */
            assert_int_equal(kernel_write(scene.x, 1, 79), 0);
            assert_int_equal(sk_page_state(scene.x, page_offset(1)).errors, 1);
            pager_sync(scene.world.pager, 1);
            assert_int_equal(store_byte(&scene.world, 1), 79);
            scene_close(&scene);
        }
}

/* ---- Order ---- */

/* The same without a gate, as fast as they come: whatever threads received them, the order stands (section 3).  */
static void test_callbacks_in_order_under_load(void **state)
{
    (void) state;
    enum { PAGES = 1000 };
    for (int round = 0; round < 5; round++) {
        struct scene scene;
        scene_open(&scene, PAGES, 1, 0);
        for (size_t i = 0; i < PAGES; i++)
            assert_int_equal(sk_request(scene.x, page_offset(i), VM_PROT_READ), 0);
        for (size_t i = 0; i < PAGES; i++)
            assert_int_equal(sk_wait_page(scene.x, page_offset(i), SK_WANT_PRESENT, 0), 0);
        for (unsigned i = 0; i < PAGES; i++)
            assert_int_equal(store_call(&scene.world, CALL_READ, i).page, page_offset(i));
        assert_int_equal(scene.world.store->max_running, 1);
        scene_close(&scene);
    }
}

static void hook_waits_for_page_12(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    atomic_int *left = store->hook_argument;
    if (call == CALL_WRITE && page == page_offset(1) && (*left)-- > 0)
        pager_sync_some(store->pager, page_offset(12), vm_page_size, 1);
}

static int sync_page_1(void *pager) { pager_sync_some(pager, page_offset(1), vm_page_size, 1); return 0; }

/* While a write waits, others run, but none of its page: writes of a page never overlap and keep their order (section 4.4); and who waits
   for the page's write waits for it.  */
static void writes_of_a_page_apart_while_one_waits(int keeps)
{
    for (int kernels = 1; kernels <= 2; kernels++) {
        struct scene scene;
        scene_open(&scene, 16, kernels, 0);
        assert_int_equal(kernel_write(scene.x, 1, 50), 0);
        assert_int_equal(kernel_write(scene.x, 5, 60), 0);
        assert_int_equal(kernel_write(scene.x, 6, 61), 0);
        assert_int_equal(kernel_write(scene.x, 12, 70), 0);
        world_settle(&scene.world);
        scene.world.store->logged = 0;
        memset(scene.world.store->counts, 0, sizeof scene.world.store->counts);
        atomic_int left = 1;
        scene.world.store->hook_argument = &left;
        scene.world.store->hook = hook_waits_for_page_12;
        sk_hold(scene.x, SK_HOLD_COMPLETED);
        /* X keeps its copy.  Two answers are held: this one, and the callback's.  */
        pager_sync_some(scene.world.pager, page_offset(1), vm_page_size, 0);
        assert_int_equal(sk_wait_pending(scene.x, 2, 0), 0);
        /* (Page 12 comes back.)  */
        store_wait_count(&scene.world, CALL_WRITE, 2);
        assert_int_equal(sk_poke(scene.x, page_offset(1), "3", 1), 0);
        if (keeps)
            pager_sync_some(scene.world.pager, page_offset(1), vm_page_size, 0);
        else
            assert_int_equal(sk_evict(scene.x, page_offset(1)), 0);
        assert_int_equal(sk_evict(scene.x, page_offset(5)), 0);
        store_wait_count(&scene.world, CALL_WRITE, 3);
        assert_int_equal(sk_evict(scene.x, page_offset(6)), 0);
        store_wait_count(&scene.world, CALL_WRITE, 4);
        assert_calls(&scene.world, "w1 w12 w5 w6");
        /* Asked for the page, X answers at once; its older version is still being written.  */
        sk_hold(scene.x, 0);
        struct task sync;
        task_begin(&sync, sync_page_1, scene.world.pager);
        assert_true(task_waits(&sync));
        sk_release_all(scene.x);
        task_end(&sync);
        assert_int_equal(store_byte(&scene.world, 1), '3');
        assert_calls(&scene.world, "w1 w12 w5 w6 w1");
        assert_int_equal(scene.world.store->overlaps, 0);
        scene.world.store->hook = NULL;
        scene_close(&scene);
    }
}

static void test_writes_of_a_page_apart_while_one_waits(void **state)
{
    (void) state;
    writes_of_a_page_apart_while_one_waits(0);
}

/* The same for a page that its client keeps.  */
static void test_writes_of_a_kept_page_apart_while_one_waits(void **state)
{
    (void) state;
    writes_of_a_page_apart_while_one_waits(1);
}

/* ---- pager_memcpy ---- */

/* As documented until there are mappings: nothing is copied, EOPNOTSUPP; nothing to copy is no error (hurd/pager.h).  */
static void test_memcpy_as_documented(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 4, 0);
    char buffer[100] = "unchanged";
    size_t size = 100;
    assert_int_equal(pager_memcpy(world.pager, world.port, 0, buffer, &size, VM_PROT_READ), EOPNOTSUPP);
    assert_int_equal(size, 0);
    assert_string_equal(buffer, "unchanged");
    size = 100;
    assert_int_equal(pager_memcpy(world.pager, world.port, 0, buffer, &size, VM_PROT_READ | VM_PROT_WRITE), EOPNOTSUPP);
    assert_int_equal(size, 0);
    assert_int_equal(pager_memcpy(world.pager, world.port, 0, NULL, &size, VM_PROT_READ), 0);
    /* No object at all is none of ours. */
    size = sizeof buffer;
    assert_int_equal(pager_memcpy(world.pager, MACH_PORT_NULL, 0, buffer, &size, VM_PROT_READ), EINVAL);
    assert_int_equal(size, 0);
    size = sizeof buffer;
    assert_int_equal(pager_memcpy(world.pager, MACH_PORT_NULL, 0, buffer, &size, VM_PROT_READ | VM_PROT_WRITE), EINVAL);
    assert_int_equal(size, 0);
    world_close(&world);
}

/* ---- A callback that waits leaves the others to somebody ---- */

/* What a worker sends to have another one look for work (Sources/Pager/Service/Inhibition.swift).  */
enum { MARKER = 0x70670000 - 1 };

static void hook_waits_for_a_write_without_a_marker(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    if (call != CALL_UNLOCK || page != page_offset(1))
        return;
    /* Page 2 comes back and has to wait for this callback's end.  */
    struct pager_page_census census = { .held = 0 };
    sk_evict(store->hook_argument, page_offset(2));
    while (census.held == 0) {
        sched_yield();
        pager_take_census(store->pager, &census);
    }
    const struct hostmach_fault fault = { hostmach_task_main(), MARKER, 0, 1, MACH_SEND_NO_BUFFER };
    hostmach_fail_send(&fault);
    pager_sync_some(store->pager, page_offset(2), vm_page_size, 1);
}

/* A callback waits for a write that waits for a worker: one is called, also where there is no memory for the message at first.  (Found by
   scripts/fail-each: nobody came, and the callback waited for ever.)  */
static void test_no_memory_to_call_another_worker(void **state)
{
    (void) state;
    struct scene scene;
    unsigned char byte;
    scene_open(&scene, 4, 1, 1);
    store_write_lock(&scene.world, 1);
    assert_int_equal(kernel_read(scene.x, 1, &byte), 0);
    assert_int_equal(kernel_write(scene.x, 2, 50), 0);
    world_settle(&scene.world);
    unsigned struck = hostmach_faults_struck();
    scene.world.store->hook_argument = scene.x;
    scene.world.store->hook = hook_waits_for_a_write_without_a_marker;
    assert_int_equal(kernel_write(scene.x, 1, 60), 0);
    hostmach_fail_send(NULL);
    assert_int_equal(hostmach_faults_struck(), struck + 1);
    assert_int_equal(store_byte(&scene.world, 2), 50);
    world_settle(&scene.world);
    scene.world.store->hook = NULL;
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failed_unlock_is_told_once_to_the_next_write),
        cmocka_unit_test(test_callbacks_in_order_under_load),
        cmocka_unit_test(test_writes_of_a_page_apart_while_one_waits),
        cmocka_unit_test(test_writes_of_a_kept_page_apart_while_one_waits),
        cmocka_unit_test(test_memcpy_as_documented),
        cmocka_unit_test(test_no_memory_to_call_another_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
