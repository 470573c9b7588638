/* pager_shutdown: what it brings home, whom it refuses, whom it wakes.  */

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "store.h"

struct scene {
    struct world world;
    sk_kernel *a, *b;
    sk_object *x, *y;
};

static void scene_open(struct scene *scene, size_t pages, int kernels, boolean_t notify)
{
    world_open(&scene->world, pages, notify);
    scene->a = sk_kernel_create("A");
    scene->x = sk_map(scene->a, scene->world.port);
    scene->b = NULL;
    if (kernels > 1) {
        scene->b = sk_kernel_create("B");
        scene->y = sk_map(scene->b, scene->world.port);
    }
}

static void scene_close(struct scene *scene)
{
    sk_kernel_destroy(scene->a);
    if (scene->b)
        sk_kernel_destroy(scene->b);
    world_close(&scene->world);
}

static int shut_down(void *world)
{
    pager_shutdown(((struct world *) world)->pager);
    return 0;
}

static int sync_all(void *world)
{
    pager_sync(((struct world *) world)->pager, 1);
    return 0;
}

static int change(void *world)
{
    pager_change_attributes(((struct world *) world)->pager, 1, MEMORY_OBJECT_COPY_NONE, 1);
    return 0;
}

/* ---- Who is refused, and who is answered ---- */

/* A request that comes after the beginning is refused with an error, and not left without an answer; one that came before is
   answered (sections 3, 4.2; section 5: pages requested between the flush and the destruction are dropped).  */
static void test_shutdown_answers_every_request(void **state)
{
    (void) state;
    struct scene scene;
    scene_open(&scene, 8, 2, 0);
    store_close_gate(&scene.world, CALL_READ);
    assert_int_equal(sk_request(scene.x, page_offset(1), VM_PROT_READ), 0);
    assert_int_equal(sk_request(scene.y, page_offset(2), VM_PROT_READ | VM_PROT_WRITE), 0);
    store_wait_gate(&scene.world, CALL_READ, 1);
    world_fence(&scene.world);
    struct task task;
    task_begin(&task, shut_down, &scene.world);
    /* Page 3 has not been asked for before: it may be queued as well, until the shutdown has begun.  */
    time_t end = time(NULL) + 30;
    unsigned errors = 0;
    for (size_t page = 3; !errors; page++) {
        assert_true(time(NULL) <= end);
        assert_int_equal(sk_request(scene.x, page_offset(page), VM_PROT_READ), 0);
        world_fence(&scene.world);
        errors = sk_page_state(scene.x, page_offset(page)).errors;
        if (errors)
            assert_int_equal(sk_page_state(scene.x, page_offset(page)).last_error, EIO);
        sched_yield();
    }
    assert_true(task_waits(&task));
    store_open_gate(&scene.world, CALL_READ);
    task_end(&task);
    assert_int_equal(sk_wait_page(scene.x, page_offset(1), SK_WANT_SETTLED, 0), 0);
    assert_int_equal(sk_wait_page(scene.y, page_offset(2), SK_WANT_SETTLED, 0), 0);
    assert_int_equal(sk_page_state(scene.x, page_offset(1)).errors, 0);
    assert_int_equal(sk_page_state(scene.y, page_offset(2)).errors, 0);
    assert_int_equal(sk_count(scene.x, SK_DATA_SUPPLY) + sk_count(scene.x, SK_DATA_ERROR), sk_count(scene.x, SK_DATA_REQUEST));
    assert_int_equal(sk_resident(scene.x) + sk_resident(scene.y), 0);
    scene_close(&scene);
}

/* A kernel that maps the object during the shutdown is turned away and not left waiting (section 3).  */
static void test_shutdown_turns_new_clients_away(void **state)
{
    (void) state;
    struct scene scene;
    scene_open(&scene, 8, 2, 0);
    sk_hold(scene.y, SK_HOLD_LOCK);
    assert_int_equal(kernel_write(scene.y, 1, 50), 0);
    struct task task;
    task_begin(&task, shut_down, &scene.world);
    assert_int_equal(sk_wait_pending(scene.y, 1, 0), 0);
    sk_kernel *c = sk_kernel_create("C");
    sk_object *object = sk_map_async(c, scene.world.port);
    assert_int_not_equal(sk_wait_ready(object, 20000), ETIMEDOUT);
    boolean_t ready, may_cache;
    memory_object_copy_strategy_t copy;
    sk_attributes(object, &ready, &may_cache, &copy);
    assert_false(ready);
    sk_release_all(scene.y);
    task_end(&task);
    assert_int_equal(store_byte(&scene.world, 1), 50);
    sk_kernel_destroy(c);
    scene_close(&scene);
}

/* ---- Who waits ---- */

/* A client that never answers is given up after the patience that was set; the others lose nothing (hurd/pager.h, extensions.h).  */
static void test_shutdown_gives_up_who_does_not_answer(void **state)
{
    (void) state;
    for (unsigned hold = SK_HOLD_LOCK; hold; hold = hold == SK_HOLD_LOCK ? SK_HOLD_COMPLETED : 0) {
        struct scene scene;
        scene_open(&scene, 8, 2, 0);
        assert_int_equal(kernel_write(scene.x, 1, 50), 0);
        assert_int_equal(kernel_write(scene.y, 2, 51), 0);
        /* Not next to them: asked for by itself, later.  */
        assert_int_equal(kernel_write(scene.x, 5, 52), 0);
        assert_int_equal(kernel_write(scene.x, 7, 53), 0);
        sk_hold(scene.y, hold);
        pager_set_shutdown_patience(scene.world.pager, 30);
        pager_shutdown(scene.world.pager);
        assert_int_equal(store_byte(&scene.world, 1), 50);
        assert_int_equal(store_byte(&scene.world, 5), 52);
        assert_int_equal(store_byte(&scene.world, 7), 53);
        /* What it returned without an answer is not lost.  */
        assert_int_equal(store_byte(&scene.world, 2), hold == SK_HOLD_LOCK ? 3 : 51);
        assert_int_equal(sk_count(scene.y, SK_DESTROY), 1);
        assert_int_equal(sk_resident(scene.x), 0);
        /* Nobody else was given up.  */
        assert_int_equal(sk_count(scene.x, SK_DESTROY), 0);
        sk_release_all(scene.y);
        scene_close(&scene);
    }
}

/* Everybody who waits is woken: pager_sync, pager_change_attributes, for a client that never answers (section 3).  */
static void test_shutdown_wakes_everybody(void **state)
{
    (void) state;
    struct scene scene;
    scene_open(&scene, 8, 2, 0);
    assert_int_equal(kernel_write(scene.x, 1, 50), 0);
    world_settle(&scene.world);
    sk_hold(scene.y, SK_HOLD_LOCK | SK_HOLD_ATTRIBUTES);
    struct task sync, attributes;
    task_begin(&sync, sync_all, &scene.world);
    task_begin(&attributes, change, &scene.world);
    assert_int_equal(sk_wait_message(scene.y, SK_LOCK_REQUEST, 1, 0), 0);
    assert_int_equal(sk_wait_message(scene.y, SK_CHANGE_ATTRIBUTES, 1, 0), 0);
    assert_true(task_waits(&sync));
    assert_true(task_waits(&attributes));
    pager_set_shutdown_patience(scene.world.pager, 30);
    pager_shutdown(scene.world.pager);
    task_end(&sync);
    task_end(&attributes);
    assert_int_equal(store_byte(&scene.world, 1), 50);
    /* And who comes later does not wait at all.  */
    pager_sync(scene.world.pager, 1);
    pager_return(scene.world.pager, 1);
    pager_flush_some(scene.world.pager, 0, 100, 1);
    pager_change_attributes(scene.world.pager, 0, MEMORY_OBJECT_COPY_DELAY, 1);
    sk_release_all(scene.y);
    scene_close(&scene);
}

/* Clients die, terminate, fault and write while the pager is shut down: it ends, every fault is answered, and what a living client was
   allowed to write and had returned is in the store (section 4, R11).  */
struct busy {
    sk_object *object;
    atomic_int stop;
};

static int fault_on(void *argument)
{
    struct busy *busy = argument;
    for (unsigned i = 0; !busy->stop; i++) {
        unsigned char byte;
        if (i % 3 ? kernel_read(busy->object, i % 8, &byte) : kernel_write(busy->object, i % 8, 99))
            break;
        sk_evict(busy->object, page_offset((i + 3) % 8));
    }
    return 0;
}

static void test_shutdown_while_clients_are_busy(void **state)
{
    (void) state;
    for (int round = 0; round < 30; round++) {
        struct scene scene;
        scene_open(&scene, 8, 2, round % 2);
        struct busy busy[2] = { { .object = scene.x }, { .object = scene.y } };
        struct task tasks[2], task;
        task_begin(&tasks[0], fault_on, &busy[0]);
        task_begin(&tasks[1], fault_on, &busy[1]);
        store_wait_count(&scene.world, CALL_READ, 20);
        task_begin(&task, shut_down, &scene.world);
        if (round % 3 == 1)
            sk_kernel_kill(scene.b);
        else if (round % 3 == 2)
            sk_terminate(scene.y);
        task_end(&task);
        for (int i = 0; i < 2; i++) {
            busy[i].stop = 1;
            /* A fault that nobody answers hangs here.  */
            if (i == 0 || round % 3)
                task_end(&tasks[i]);
        }
        if (round % 3 == 0)
            task_end(&tasks[1]);
        assert_int_equal(sk_resident(scene.x), 0);
        scene_close(&scene);
    }
}

static sk_object *asks_late;
static int told_late;

/* The clients are forgotten, the port still lives.  */
void __real_pager_destroy_right(void *port);
void __wrap_pager_destroy_right(void *port);
void __wrap_pager_destroy_right(void *port)
{
    unsigned char byte;
    if (asks_late)
        told_late = kernel_read(asks_late, 1, &byte);
    __real_pager_destroy_right(port);
}

/* A request that comes when the clients are forgotten and the port still lives has its answer (section 4: nobody waits for ever).  */
static void shutdown_answers_who_asks_last(int kernels)
{
    struct scene scene;
    scene_open(&scene, 8, kernels, 0);
    unsigned char byte;
    assert_int_equal(kernel_read(scene.x, 0, &byte), 0);
    told_late = 0;
    asks_late = scene.x;
    pager_shutdown(scene.world.pager);
    asks_late = NULL;
    assert_int_equal(told_late, EIO);
    scene_close(&scene);
}

static void test_shutdown_answers_the_only_one_who_asks_last(void **state)
{
    (void) state;
    shutdown_answers_who_asks_last(1);
}

static void test_shutdown_answers_one_of_several_who_asks_last(void **state)
{
    (void) state;
    shutdown_answers_who_asks_last(2);
}

/* A client whose death is announced, but nobody takes that in any more, leaves no name behind, whatever its number (section 3).  */
static void test_shutdown_with_a_death_not_taken_in(void **state)
{
    (void) state;
    for (int count = 1; count <= 6; count += 5) {
        struct cast cast;
        cast_open(&cast, count, 4, 0);
        pager_set_shutdown_patience(cast.world.pager, 20);
        assert_int_equal(pager_inhibit_workers(cast.world.requests), 0);
        cast_kill(&cast, count - 1);
        pager_shutdown(cast.world.pager);
        pager_resume_workers(cast.world.requests);
        /* (This looks for rights that are left.)  */
        cast_close(&cast);
    }
}

static bool send_failed(void *world) { return world_statistics(world).refused > 0; }

/* A client unmaps and its dirty pages, and its control port behind them, wait in our queue while lock requests fill the queue of that
   port, where no kernel is any more.  The client is not given up for that before what it has said is taken in: no page is lost.  */
static void test_shutdown_behind_the_last_unmap(void **state)
{
    (void) state;
    enum { PAGES = 40 };
    struct scene scene;
    struct task task;
    scene_open(&scene, 2 * PAGES, 1, 0);
    /* With gaps: a lock request for each.  */
    for (size_t page = 0; page < PAGES; page++)
        assert_int_equal(kernel_write(scene.x, 2 * page, (unsigned char) (100 + page)), 0);
    world_settle(&scene.world);
    assert_int_equal(world_inhibit(&scene.world), 0);
    assert_int_equal(sk_terminate(scene.x), 0);
    task_begin(&task, shut_down, &scene.world);
    wait_for(send_failed, &scene.world);
    pager_resume_workers(scene.world.requests);
    task_end(&task);
    for (size_t page = 0; page < PAGES; page++)
        assert_int_equal(store_byte(&scene.world, 2 * page), 100 + page);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shutdown_answers_every_request),
        cmocka_unit_test(test_shutdown_turns_new_clients_away),
        cmocka_unit_test(test_shutdown_gives_up_who_does_not_answer),
        cmocka_unit_test(test_shutdown_wakes_everybody),
        cmocka_unit_test(test_shutdown_while_clients_are_busy),
        cmocka_unit_test(test_shutdown_answers_the_only_one_who_asks_last),
        cmocka_unit_test(test_shutdown_answers_one_of_several_who_asks_last),
        cmocka_unit_test(test_shutdown_with_a_death_not_taken_in),
        cmocka_unit_test(test_shutdown_behind_the_last_unmap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
