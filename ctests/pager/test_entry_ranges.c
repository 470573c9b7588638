/* pager_sync, pager_return, pager_flush; pager_offer_page; pager_change_attributes.  */

#include <stdatomic.h>
#include <stdio.h>

#include "scene.h"

/* A call with a range, for a thread; tells what the store had when it returned.  */
struct ranged {
    void (*function)(struct pager *, vm_address_t, vm_size_t, int);
    struct world *world;
    size_t first, count;
    atomic_int flag;                        /* set by the test before it lets the call return */
};

static int run_ranged(void *argument)
{
    struct ranged *ranged = argument;
    ranged->function(ranged->world->pager, page_offset(ranged->first), page_offset(ranged->count), 1);
    return ranged->flag;
}

static int access_of(struct world *world, size_t page, unsigned client)
{
    return pager_page_access(world->pager, page_offset(page), client);
}

/* ---- What happens to pages ----

   world_settle before a call whose effect on the access set is looked at: a kernel may use a page before the thread that sent it has noted that
   it did, and until then the client stays noted as having it.  */

/* A range of no length asks nobody; one beyond the extent, or at the top of the address range, is asked for as it is (hurd/pager.h).  */
static void test_odd_ranges(void **state)
{
    (void) state;
    struct scene scene;
    scene_open(&scene, 8, 1, 0);
    assert_int_equal(kernel_write(scene.x, 7, 70), 0);
    for (int wait = 0; wait < 2; wait++) {
        pager_sync_some(scene.world.pager, 0, 0, wait);
        pager_return_some(scene.world.pager, 5, 0, wait);
        pager_flush_some(scene.world.pager, (vm_address_t) -1, 0, wait);
    }
    assert_int_equal(sk_count(scene.x, SK_LOCK_REQUEST), 0);
    struct sk_message message;
    pager_flush_some(scene.world.pager, page_offset(8), page_offset(100), 1);
    assert_int_equal(sk_last_message(scene.x, SK_LOCK_REQUEST, &message), 0);
    assert_int_equal(message.offset, page_offset(8));
    assert_int_equal(message.length, page_offset(100));
    pager_flush_some(scene.world.pager, (vm_address_t) -1, 1, 1);
    assert_int_equal(sk_last_message(scene.x, SK_LOCK_REQUEST, &message), 0);
    assert_int_equal(message.offset, (vm_address_t) -4096);
    assert_int_equal(message.length, 4096);
    pager_flush_some(scene.world.pager, (vm_address_t) -2 * 4096, (vm_size_t) -1, 1);
    assert_int_equal(sk_last_message(scene.x, SK_LOCK_REQUEST, &message), 0);
    assert_int_equal(message.offset, (vm_address_t) -2 * 4096);
    assert_int_equal(message.length, 2 * 4096);
    assert_int_equal(kernel_byte(scene.x, 7), 70);
    /* All there is: its length cannot be said in one message.  */
    sk_reset_log(scene.x);
    pager_return_some(scene.world.pager, 0, (vm_size_t) -1, 1);
    struct sk_message log[4];
    assert_int_equal(sk_log(scene.x, SK_LOCK_REQUEST, log, 4), 2);
    assert_int_equal(log[0].offset, 0);
    assert_int_equal(log[0].offset + log[0].length, log[1].offset);
    assert_int_equal(log[1].offset + log[1].length, 0);
    assert_int_equal(sk_resident(scene.x), 0);
    assert_int_equal(store_byte(&scene.world, 7), 70);
    scene_close(&scene);
}

/* ---- Waiting ---- */

/* Without wait the call returns though no client has answered (section 3); what it asked for happens all the same.  */
static void test_no_wait_returns_at_once(void **state)
{
    (void) state;
    struct scene scene;
    scene_open(&scene, 8, 2, 0);
    unsigned char byte;
    assert_int_equal(kernel_write(scene.x, 1, 71), 0);
    assert_int_equal(kernel_read(scene.y, 2, &byte), 0);
    world_settle(&scene.world);
    sk_hold(scene.x, SK_HOLD_LOCK);
    pager_sync(scene.world.pager, 0);
    pager_return_some(scene.world.pager, 0, page_offset(8), 0);
    pager_flush_some(scene.world.pager, page_offset(2), page_offset(1), 0);
    assert_int_equal(sk_pending(scene.x), 3);
    sk_release_all(scene.x);
    world_settle(&scene.world);
    assert_int_equal(store_byte(&scene.world, 1), 71);
    assert_int_equal(sk_resident(scene.x) + sk_resident(scene.y), 0);
    assert_int_equal(access_of(&scene.world, 1, 0), 0);
    assert_int_equal(access_of(&scene.world, 2, 1), 0);
    scene_close(&scene);
}

/* With wait, every client must have answered (section 3).  */
static void test_wait_for_every_client(void **state)
{
    (void) state;
    static void (*const calls[])(struct pager *, vm_address_t, vm_size_t, int) = { pager_sync_some, pager_return_some, pager_flush_some };
    for (int i = 0; i < 3; i++)
        for (unsigned held = SK_HOLD_LOCK; held; held = held == SK_HOLD_LOCK ? SK_HOLD_COMPLETED : 0) {
            struct scene scene;
            scene_open(&scene, 8, 2, 0);
            sk_hold(scene.x, held);
            sk_hold(scene.y, held);
            struct ranged ranged = { calls[i], &scene.world, 0, 8, 0 };
            struct task task;
            task_begin(&task, run_ranged, &ranged);
            assert_int_equal(sk_wait_pending(scene.x, 1, 0), 0);
            assert_int_equal(sk_wait_pending(scene.y, 1, 0), 0);
            sk_release_all(scene.y);
            assert_true(task_waits(&task));
            ranged.flag = 1;
            sk_release_all(scene.x);
            assert_int_equal(task_end(&task), 1);
            scene_close(&scene);
        }
}

/* A client that dies, or terminates, is not waited for (section 4.5).  */
static void test_wait_ends_with_the_client(void **state)
{
    (void) state;
    for (int i = 0; i < 2; i++) {
        struct scene scene;
        scene_open(&scene, 8, 2, 0);
        assert_int_equal(kernel_write(scene.x, 1, 71), 0);
        assert_int_equal(kernel_write(scene.y, 2, 72), 0);
        sk_hold(scene.y, SK_HOLD_LOCK);
        struct ranged ranged = { pager_sync_some, &scene.world, 0, 8, 0 };
        struct task task;
        task_begin(&task, run_ranged, &ranged);
        assert_int_equal(sk_wait_pending(scene.y, 1, 0), 0);
        assert_int_equal(sk_wait_message(scene.x, SK_LOCK_COMPLETED, 1, 0), 0);
        assert_true(task_waits(&task));
        ranged.flag = 1;
        if (i == 0)
            sk_kernel_kill(scene.b);
        else
            assert_int_equal(sk_terminate(scene.y), 0);
        assert_int_equal(task_end(&task), 1);
        assert_int_equal(store_byte(&scene.world, 1), 71);
        /* A client that terminates has returned what it had first.  */
        assert_int_equal(store_byte(&scene.world, 2), i ? 72 : 3);
        scene_close(&scene);
    }
}

/* Two users wait for ranges alike; the answers look alike on the wire and go to them in order (section 4, R6).  */
static void test_equal_ranges_are_answered_in_order(void **state)
{
    (void) state;
    struct scene scene;
    scene_open(&scene, 8, 1, 0);
    sk_hold(scene.x, SK_HOLD_COMPLETED);
    struct ranged ranged[3];
    struct task tasks[3];
    for (unsigned i = 0; i < 3; i++) {
        ranged[i] = (struct ranged) { pager_sync_some, &scene.world, 2, 3, 0 };
        task_begin(&tasks[i], run_ranged, &ranged[i]);
        assert_int_equal(sk_wait_pending(scene.x, i + 1, 0), 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_false(task_done(&tasks[i]));
        ranged[i].flag = 1;
        assert_int_equal(sk_release_one(scene.x, 0), 0);
        assert_int_equal(task_end(&tasks[i]), 1);
    }
    sk_release_all(scene.x);
    scene_close(&scene);
}

/* ---- The access set ---- */

/* A page that is given out again while the answer to a return is on its way stays in the access set (section 4, R8).  */
static void test_page_given_again_during_a_return_is_kept(void **state)
{
    (void) state;
    struct scene scene;
    scene_open(&scene, 8, 2, 0);
    unsigned char byte;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(kernel_read(scene.x, i, &byte), 0);
    world_settle(&scene.world);
    sk_hold(scene.x, SK_HOLD_COMPLETED);
    struct ranged ranged = { pager_return_some, &scene.world, 0, 4, 1 };
    struct task task;
    task_begin(&task, run_ranged, &ranged);
    assert_int_equal(sk_wait_pending(scene.x, 1, 0), 0);
    assert_int_equal(sk_resident(scene.x), 0);
    assert_int_equal(kernel_read(scene.x, 2, &byte), 0);
    assert_int_equal(byte, 3);
    sk_release_all(scene.x);
    assert_int_equal(task_end(&task), 1);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(access_of(&scene.world, i, 0), i == 2 ? 1 : 0);
    /* It counts: a writer takes it away.  */
    assert_int_equal(kernel_write(scene.y, 2, 44), 0);
    assert_int_equal(sk_page_state(scene.x, page_offset(2)).state, SK_PAGE_ABSENT);
    scene_close(&scene);
}

/* ---- pager_change_attributes ---- */

struct change {
    struct world *world;
    atomic_int flag;
};

static int run_change(void *argument)
{
    struct change *change = argument;
    pager_change_attributes(change->world->pager, 1, MEMORY_OBJECT_COPY_NONE, 1);
    return change->flag;
}

static void assert_attributes(sk_object *object, boolean_t cache, memory_object_copy_strategy_t strategy)
{
    boolean_t ready, may_cache;
    memory_object_copy_strategy_t copy;
    sk_attributes(object, &ready, &may_cache, &copy);
    assert_true(ready);
    assert_int_equal(may_cache, cache);
    assert_int_equal(copy, strategy);
}

/* Each client has been told what holds.  (Who tells it that the object is ready looks afterwards whether that was true, and else tells it again.)  */
static void open_told(struct scene *scene, int kernels)
{
    scene_open(scene, 8, kernels, 0);
    world_settle(&scene->world);
}

/* With wait: returns when each client has answered; one is late (section 3).  Later clients are told in memory_object_ready.  */
static void test_attributes_wait_for_the_late_client(void **state)
{
    (void) state;
    for (int late = 0; late < 2; late++) {
        struct scene scene;
        open_told(&scene, 2);
        sk_object *slow = late ? scene.y : scene.x, *quick = late ? scene.x : scene.y;
        sk_hold(slow, SK_HOLD_ATTRIBUTES);
        struct change change = { &scene.world, 0 };
        struct task task;
        task_begin(&task, run_change, &change);
        assert_int_equal(sk_wait_pending(slow, 1, 0), 0);
        assert_true(task_waits(&task));
        struct sk_message message;
        assert_int_equal(sk_last_message(slow, SK_CHANGE_ATTRIBUTES, &message), 0);
        assert_true(message.has_reply);
        change.flag = 1;
        sk_release_all(slow);
        assert_int_equal(task_end(&task), 1);
        assert_attributes(slow, 1, MEMORY_OBJECT_COPY_NONE);
        assert_attributes(quick, 1, MEMORY_OBJECT_COPY_NONE);
        sk_kernel *c = sk_kernel_create("C");
        assert_attributes(sk_map(c, scene.world.port), 1, MEMORY_OBJECT_COPY_NONE);
        sk_kernel_destroy(c);
        scene_close(&scene);
    }
}

/* ... or is gone (section 4.5): dead, or terminated.  */
static void test_attributes_do_not_wait_for_the_dead(void **state)
{
    (void) state;
    for (int i = 0; i < 2; i++) {
        struct scene scene;
        open_told(&scene, 2);
        sk_hold(scene.y, SK_HOLD_ATTRIBUTES);
        struct change change = { &scene.world, 0 };
        struct task task;
        task_begin(&task, run_change, &change);
        assert_int_equal(sk_wait_pending(scene.y, 1, 0), 0);
        assert_true(task_waits(&task));
        change.flag = 1;
        if (i == 0)
            sk_kernel_kill(scene.b);
        else
            assert_int_equal(sk_terminate(scene.y), 0);
        assert_int_equal(task_end(&task), 1);
        assert_attributes(scene.x, 1, MEMORY_OBJECT_COPY_NONE);
        scene_close(&scene);
    }
}

/* Without wait nobody is waited for, nor asked to answer (section 3).  */
static void test_attributes_without_wait(void **state)
{
    (void) state;
    struct scene scene;
    open_told(&scene, 2);
    sk_hold(scene.x, SK_HOLD_ATTRIBUTES);
    pager_change_attributes(scene.world.pager, 1, MEMORY_OBJECT_COPY_NONE, 0);
    assert_attributes(scene.x, 0, MEMORY_OBJECT_COPY_DELAY);
    assert_attributes(scene.y, 1, MEMORY_OBJECT_COPY_NONE);
    sk_release_all(scene.x);
    assert_attributes(scene.x, 1, MEMORY_OBJECT_COPY_NONE);
    pager_sync(scene.world.pager, 1);
    assert_int_equal(world_statistics(&scene.world).refused, 0);
    scene_close(&scene);
}

/* Two callers wait, one client is late: each returns only when its own change is answered; answers nobody asked for are refused.  */
static void test_attributes_of_two_callers(void **state)
{
    (void) state;
    struct scene scene;
    open_told(&scene, 1);
    sk_hold(scene.x, SK_HOLD_ATTRIBUTES);
    struct change change = { &scene.world, 0 };
    struct task tasks[2];
    task_begin(&tasks[0], run_change, &change);
    task_begin(&tasks[1], run_change, &change);
    assert_int_equal(sk_wait_pending(scene.x, 1, 0), 0);
    assert_true(task_waits(&tasks[0]));
    assert_false(task_done(&tasks[1]));
    change.flag = 1;
    assert_int_equal(sk_release_one(scene.x, 0), 0);
    struct task *first = task_first(&tasks[0], &tasks[1]), *other = first == &tasks[0] ? &tasks[1] : &tasks[0];
    assert_int_equal(task_end(first), 1);
    assert_int_equal(sk_wait_pending(scene.x, 1, 0), 0);
    assert_false(task_done(other));
    sk_release_all(scene.x);
    assert_int_equal(task_end(other), 1);
    assert_int_equal(sk_send_raw(scene.x, &(struct sk_message) { .id = SK_CHANGE_COMPLETED }, NULL, 0), 0);
    world_settle(&scene.world);
    assert_int_equal(world_statistics(&scene.world).refused, 1);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_ranges),
        cmocka_unit_test(test_no_wait_returns_at_once),
        cmocka_unit_test(test_wait_for_every_client),
        cmocka_unit_test(test_wait_ends_with_the_client),
        cmocka_unit_test(test_equal_ranges_are_answered_in_order),
        cmocka_unit_test(test_page_given_again_during_a_return_is_kept),
        cmocka_unit_test(test_attributes_wait_for_the_late_client),
        cmocka_unit_test(test_attributes_do_not_wait_for_the_dead),
        cmocka_unit_test(test_attributes_without_wait),
        cmocka_unit_test(test_attributes_of_two_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
