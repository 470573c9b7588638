/* The threads that serve a bucket: starting, inhibiting, resuming, stopping; many slow objects.  (Where callbacks wait meanwhile: test_entry_inhibition.c.)  */

#include "scene.h"

/* ---- Start and stop ---- */

/* Workers can be started and stopped many times, also while requests come; none is lost.  */
static void test_stop_and_start_under_load(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 64, 0);
    sk_kernel *kernel = sk_kernel_create("A");
    sk_object *object = sk_map(kernel, world.port);
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < 64; i++) {
            assert_int_equal(sk_request(object, page_offset(i), VM_PROT_READ), 0);
            if (i % 4 != 3)
                continue;
            pager_stop_workers(world.requests);
            assert_int_equal(pager_start_workers(world.bucket, &world.requests), 0);
            assert_int_equal(sk_wait_page(object, page_offset(i), SK_WANT_PRESENT, 0), 0);
        }
        for (size_t i = 0; i < 64; i++)
            assert_int_equal(sk_wait_page(object, page_offset(i), SK_WANT_PRESENT, 0), 0);
        assert_int_equal(store_count(&world, CALL_READ), 64 * (round + 1));
        pager_return(world.pager, 1);
    }
    sk_kernel_destroy(kernel);
    world_close(&world);
}

/* ---- Inhibition and clients that cannot be reached ---- */

static int return_all(void *argument)
{
    struct world *world = argument;
    pager_return(world->pager, 1);
    return store_byte(world, 1);
}

/* A kernel unmaps while workers are inhibited: what it returned, and its control port behind that, wait in our queue, and messages fill the
   queue of that port, where no kernel is any more. However long the inhibition lasts after that, nothing of what it has said is refused, and a call
   that waits returns when that is written.  */
static void test_inhibit_while_a_kernel_unmaps_and_is_asked(void **state)
{
    (void) state;
    struct scene scene;
    struct task task;
    scene_open(&scene, 8, 1, 0);
    for (size_t page = 0; page < 8; page++)
        assert_int_equal(kernel_write(scene.x, page, (unsigned char) (100 + page)), 0);
    world_settle(&scene.world);
    assert_int_equal(world_inhibit(&scene.world), 0);
    assert_int_equal(sk_terminate(scene.x), 0);
    /* One more than a queue takes: the last is given up.  */
    for (size_t page = 0; page <= MACH_PORT_QLIMIT_DEFAULT; page++)
        pager_sync_some(scene.world.pager, page_offset(page), vm_page_size, 0);
    assert_true(world_statistics(&scene.world).refused > 0);
    task_begin(&task, return_all, &scene.world);
    assert_true(task_waits(&task));
    pager_resume_workers(scene.world.requests);
    assert_int_equal(task_end(&task), 101);
    for (size_t page = 0; page < 8; page++)
        assert_int_equal(store_byte(&scene.world, page), 100 + page);
    scene_close(&scene);
}

/* ---- Many at once ---- */

enum { FEW = 12, MANY = 70 };

/* COUNT objects, each with a read callback that stands at its gate.  RUNNING of them do at the same time.  */
static void block_all(struct world *worlds, sk_object **objects, sk_kernel *kernel, struct world *first, int count)
{
    for (int i = 0; i < count; i++) {
        world_join(&worlds[i], first, 2, 0);
        objects[i] = sk_map(kernel, worlds[i].port);
        store_close_gate(&worlds[i], CALL_READ);
        assert_int_equal(sk_request(objects[i], 0, VM_PROT_READ), 0);
    }
}

static void release_all(struct world *worlds, sk_object **objects, sk_kernel *kernel, int count)
{
    for (int i = 0; i < count; i++)
        store_open_gate(&worlds[i], CALL_READ);
    for (int i = 0; i < count; i++)
        assert_int_equal(sk_wait_page(objects[i], 0, SK_WANT_PRESENT, 0), 0);
    sk_kernel_destroy(kernel);
    for (int i = count - 1; i >= 0; i--)
        world_close(&worlds[i]);
}

/* Different objects run side by side (section 3), more of them than there were threads at first (section 5: ten workers, fixed).  */
static void test_many_slow_objects_side_by_side(void **state)
{
    (void) state;
    struct world first, worlds[FEW];
    world_open(&first, 4, 0);
    sk_object *objects[FEW];
    sk_kernel *kernel = sk_kernel_create("A");
    block_all(worlds, objects, kernel, &first, FEW);
    for (int i = 0; i < FEW; i++)
        store_wait_gate(&worlds[i], CALL_READ, 1);
    /* One more still gets through, callback and all.  */
    sk_kernel *another = sk_kernel_create("B");
    unsigned char byte;
    sk_object *object = sk_map(another, first.port);
    assert_int_equal(kernel_write(object, 0, 9), 0);
    pager_sync(first.pager, 1);
    assert_int_equal(store_byte(&first, 0), 9);
    assert_int_equal(kernel_read(object, 1, &byte), 0);
    sk_kernel_destroy(another);
    release_all(worlds, objects, kernel, FEW);
    world_close(&first);
}

/* Completions are served while callbacks block every thread that there may be (section 5: a path of their own).  */
static void test_completions_are_served_while_all_callbacks_block(void **state)
{
    (void) state;
    static struct world first, worlds[MANY];
    world_open(&first, 4, 0);
    sk_object *objects[MANY];
    sk_kernel *kernel = sk_kernel_create("A"), *other = sk_kernel_create("B");
    sk_object *object = sk_map(other, first.port);
    unsigned char byte;
    assert_int_equal(kernel_read(object, 0, &byte), 0);
    block_all(worlds, objects, kernel, &first, MANY);
    /* At least so many threads were made; the rest waits for them.  */
    for (int i = 0; i < FEW; i++)
        store_wait_gate(&worlds[i], CALL_READ, 1);
    for (int i = 0; i < 20; i++) {
        pager_sync(first.pager, 1);
        pager_change_attributes(first.pager, i % 2, MEMORY_OBJECT_COPY_DELAY, 1);
    }
    pager_return(first.pager, 1);
    assert_int_equal(sk_resident(object), 0);
    assert_int_equal(pager_page_access(first.pager, 0, 0), 0);
    sk_kernel_destroy(other);
    release_all(worlds, objects, kernel, MANY);
    world_close(&first);
}

/* What was left because no thread was free is done when one is: every object is served in the end, by its own callback (section 4.2).  */
static void test_work_that_no_thread_was_free_for_is_done(void **state)
{
    (void) state;
    static struct world first, worlds[MANY];
    world_open(&first, 4, 0);
    sk_object *objects[MANY];
    sk_kernel *kernel = sk_kernel_create("A");
    block_all(worlds, objects, kernel, &first, MANY);
    for (int i = 0; i < FEW; i++)
        store_wait_gate(&worlds[i], CALL_READ, 1);
    /* One by one, the last first: those that never got a thread must get one from those that come back.  */
    for (int i = MANY - 1; i >= 0; i--)
        store_open_gate(&worlds[i], CALL_READ);
    for (int i = 0; i < MANY; i++)
        store_wait_count(&worlds[i], CALL_READ, 1);
    release_all(worlds, objects, kernel, MANY);
    world_close(&first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_and_start_under_load),
        cmocka_unit_test(test_inhibit_while_a_kernel_unmaps_and_is_asked),
        cmocka_unit_test(test_many_slow_objects_side_by_side),
        cmocka_unit_test(test_completions_are_served_while_all_callbacks_block),
        cmocka_unit_test(test_work_that_no_thread_was_free_for_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
