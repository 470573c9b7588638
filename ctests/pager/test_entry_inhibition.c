/* Callbacks that wait while the workers of their bucket are inhibited, or stopped: somebody receives what they wait for.  */

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>

#include "scene.h"

static int stop(void *world)
{
    pager_stop_workers(((struct world *) world)->requests);
    return 0;
}

static void hook_syncs(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    (void) call, (void) page;
    pager_sync(((struct world *) store->hook_argument)->pager, 1);
}

static void hook_returns(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    (void) call, (void) page;
    pager_return(((struct world *) store->hook_argument)->pager, 1);
}

static void hook_changes(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    (void) call, (void) page;
    pager_change_attributes(((struct world *) store->hook_argument)->pager, 1, MEMORY_OBJECT_COPY_DELAY, 1);
}

static void hook_shuts_down(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    (void) call, (void) page;
    pager_shutdown(((struct world *) store->hook_argument)->pager);
}

/* Inhibiting while a callback waits for a client's answer about another object does not deadlock: the answer is received, although
   it came after the inhibition began (section 5: completions need a path of their own; Inhibition.swift).  */
static void inhibit_while_a_callback_waits(void (*hook)(struct user_pager_info *, enum call, vm_offset_t), unsigned hold,
                                           unsigned char expected)
{
    for (int round = 0; round < 10; round++) {
        struct world world, second;
        world_open(&world, 8, 0);
        world_join(&second, &world, 8, 0);
        sk_kernel *kernel = sk_kernel_create("A");
        sk_object *object = sk_map(kernel, world.port), *held = sk_map(kernel, second.port);
        assert_int_equal(kernel_write(held, 2, 99), 0);
        world_settle(&world);
        sk_hold(held, hold);
        world.store->hook_argument = &second;
        world.store->hook = hook;
        assert_int_equal(sk_request(object, 0, VM_PROT_READ), 0);
        assert_int_equal(sk_wait_pending(held, 1, 0), 0);
        struct task tasks[2], *task = world_begin_inhibition(tasks, &world);
        assert_true(round || task_waits(task));
        assert_false(task_done(task));
        sk_release_all(held);
        assert_int_equal(task_end(task), 0);
        assert_int_equal(kernel_byte(object, 0), 1);
        assert_int_equal(store_byte(&second, 2), expected);
        /* All are held now, helpers too.  */
        world.store->hook = NULL;
        assert_int_equal(sk_request(object, page_offset(1), VM_PROT_READ), 0);
        assert_int_equal(sk_wait_page(object, page_offset(1), SK_WANT_PRESENT, round ? 1 : 30), ETIMEDOUT);
        pager_resume_workers(world.requests);
        assert_int_equal(sk_wait_page(object, page_offset(1), SK_WANT_PRESENT, 0), 0);
        sk_kernel_destroy(kernel);
        world_close(&second);
        world_close(&world);
    }
}

static void test_inhibit_while_a_callback_waits_in_sync(void **state)
{
    (void) state;
    inhibit_while_a_callback_waits(hook_syncs, SK_HOLD_LOCK, 99);
}

static void test_inhibit_while_a_callback_waits_in_sync_for_the_answer(void **state)
{
    (void) state;
    inhibit_while_a_callback_waits(hook_syncs, SK_HOLD_COMPLETED, 99);
}

static void test_inhibit_while_a_callback_waits_in_return(void **state)
{
    (void) state;
    inhibit_while_a_callback_waits(hook_returns, SK_HOLD_LOCK, 99);
}

static void test_inhibit_while_a_callback_waits_for_attributes(void **state)
{
    (void) state;
    inhibit_while_a_callback_waits(hook_changes, SK_HOLD_ATTRIBUTES, 3);
}

static void test_inhibit_while_a_callback_shuts_down(void **state)
{
    (void) state;
    inhibit_while_a_callback_waits(hook_shuts_down, SK_HOLD_LOCK, 99);
}

/* New workers, while this is set, begin only when the test lets them; or so many can be made yet.  */
static atomic_int new_workers_wait, late_workers, workers_left = INT_MAX;
/* Threads made, or not, and markers sent (Inhibition.swift), since the test looked.  */
static atomic_int workers_made, workers_refused, markers_sent;

struct late { void (*entry)(void *); void *argument; };

static void begin_late(void *argument)
{
    struct late late = *(struct late *) argument;
    free(argument);
    while (atomic_load(&new_workers_wait) && !each_over())
        sched_yield();
    atomic_fetch_sub(&late_workers, 1);
    late.entry(late.argument);
}

int __real_platform_thread_start(void (*entry)(void *), void *argument);
int __wrap_platform_thread_start(void (*entry)(void *), void *argument);
int __wrap_platform_thread_start(void (*entry)(void *), void *argument)
{
    if (atomic_load(&workers_left) <= 0 && !each_over()) {
        atomic_fetch_add(&workers_refused, 1);
        return EAGAIN;
    }
    atomic_fetch_sub(&workers_left, 1);
    struct late *late = malloc(sizeof *late);
    *late = (struct late) { entry, argument };
    atomic_fetch_add(&late_workers, 1);
    atomic_fetch_add(&workers_made, 1);
    return __real_platform_thread_start(begin_late, late);
}

int __real_pager_send_marker(mach_port_t port, mach_msg_id_t id);
int __wrap_pager_send_marker(mach_port_t port, mach_msg_id_t id);
int __wrap_pager_send_marker(mach_port_t port, mach_msg_id_t id)
{
    int result = __real_pager_send_marker(port, id);
    atomic_fetch_add(&markers_sent, 1);
    return result;
}

/* The same, and many requests come meanwhile.  Whoever calls the translator takes the marker of the worker that was to receive in its place,
   and stands still.  Workers that do must not count, or in the end there is none for the requests, nor for what the callback waits
   for.  */
static void test_inhibit_while_a_callback_waits_and_many_requests_come(void **state)
{
    (void) state;
    struct world world, second;
    world_open(&world, 8, 0);
    world_join(&second, &world, 256, 0);
    sk_kernel *kernel = sk_kernel_create("A"), *other = sk_kernel_create("B");
    sk_object *object = sk_map(kernel, world.port), *held = sk_map(kernel, second.port), *asks = sk_map(other, second.port);
    assert_int_equal(kernel_write(held, 2, 99), 0);
    sk_hold(held, SK_HOLD_LOCK);
    world.store->hook_argument = &second;
    world.store->hook = hook_syncs;
    assert_int_equal(sk_request(object, 0, VM_PROT_READ), 0);
    assert_int_equal(sk_wait_pending(held, 1, 0), 0);
    struct task tasks[2], *task = world_begin_inhibition(tasks, &world);
    unsigned char byte;
    /* (The one that came for the callback's worker is not to be late: it may be the only one that receives.)  */
    while (atomic_load(&late_workers) > 0)
        sched_yield();
    for (size_t page = 10; page < 110; page++) {
        atomic_store(&new_workers_wait, 1);
        assert_int_equal(kernel_read(asks, page, &byte), 0);
        while (hostmach_message_count() > 0)
            sched_yield();
        atomic_store(&new_workers_wait, 0);
        while (atomic_load(&late_workers) > 0)
            sched_yield();
    }
    assert_false(task_done(task));
    sk_release_all(held);
    assert_int_equal(task_end(task), 0);
    assert_int_equal(store_byte(&second, 2), 99);
    pager_resume_workers(world.requests);
    world_settle(&world);
    world.store->hook = NULL;
    sk_kernel_destroy(kernel);
    sk_kernel_destroy(other);
    world_close(&second);
    world_close(&world);
}

/* The same with workers that stand still: one of them receives when the last that does is in the translator. So the answer does not wait for that
   callback.  */
static void inhibit_while_a_callback_waits_beside_another(void (*hook)(struct user_pager_info *, enum call, vm_offset_t), unsigned hold,
                                                          unsigned char expected)
{
    struct world world, second, third;
    atomic_store(&workers_made, 0);
    world_open(&world, 8, 0);
    world_join(&second, &world, 8, 0);
    world_join(&third, &world, 8, 0);
    sk_kernel *kernel = sk_kernel_create("A");
    sk_object *object = sk_map(kernel, world.port), *held = sk_map(kernel, second.port), *slow = sk_map(kernel, third.port);
    assert_int_equal(kernel_write(held, 2, 99), 0);
    /* A third worker is made, while two are in callbacks.  */
    store_close_gate(&world, CALL_READ);
    store_close_gate(&third, CALL_READ);
    assert_int_equal(sk_request(object, 0, VM_PROT_READ), 0);
    assert_int_equal(sk_request(slow, 0, VM_PROT_READ), 0);
    store_wait_gate(&world, CALL_READ, 1);
    store_wait_gate(&third, CALL_READ, 1);
    store_open_gate(&world, CALL_READ);
    assert_int_equal(sk_wait_page(object, 0, SK_WANT_PRESENT, 0), 0);
    store_open_gate(&third, CALL_READ);
    assert_int_equal(sk_wait_page(slow, 0, SK_WANT_PRESENT, 0), 0);
    world_settle(&world);
    sk_hold(held, hold);
    world.store->hook_argument = &second;
    world.store->hook = hook;
    assert_int_equal(sk_request(object, page_offset(1), VM_PROT_READ), 0);
    assert_int_equal(sk_wait_pending(held, 1, 0), 0);
    atomic_store(&markers_sent, 0);
    struct task tasks[2], *task = world_begin_inhibition(tasks, &world);
    while (atomic_load(&markers_sent) < atomic_load(&workers_made) || hostmach_message_count() > 0)
        sched_yield();
    /* One waits, others stand still, one receives: it took the marker of who waits.  Now that one is kept by the store.  */
    store_close_gate(&third, CALL_READ);
    assert_int_equal(sk_request(slow, page_offset(1), VM_PROT_READ), 0);
    store_wait_gate(&third, CALL_READ, 1);
    sk_release_all(held);
    assert_int_equal(sk_wait_page(object, page_offset(1), SK_WANT_PRESENT, 0), 0);
    assert_int_equal(store_byte(&second, 2), expected);
    assert_false(task_done(task));
    store_open_gate(&third, CALL_READ);
    assert_int_equal(task_end(task), 0);
    pager_resume_workers(world.requests);
    world.store->hook = NULL;
    sk_kernel_destroy(kernel);
    world_close(&third);
    world_close(&second);
    world_close(&world);
}

static void test_inhibit_while_a_callback_waits_in_sync_beside_another(void **state)
{
    (void) state;
    inhibit_while_a_callback_waits_beside_another(hook_syncs, SK_HOLD_LOCK, 99);
}

static void test_inhibit_while_a_callback_waits_for_attributes_beside_another(void **state)
{
    (void) state;
    inhibit_while_a_callback_waits_beside_another(hook_changes, SK_HOLD_ATTRIBUTES, 3);
}

/* A pool of one worker, since no more threads can be made, and two objects: each with a client, the other's with a changed page.  */
static void open_single(struct world *world, struct world *second, sk_kernel **kernel, sk_object **object, sk_object **other)
{
    atomic_store(&workers_left, 1);
    world_open(world, 8, 0);
    world_join(second, world, 8, 0);
    *kernel = sk_kernel_create("A");
    *object = sk_map(*kernel, world->port);
    *other = sk_map(*kernel, second->port);
    vm_address_t data;
    assert_int_equal(vm_allocate(mach_task_self(), &data, vm_page_size, 1), KERN_SUCCESS);
    pager_offer_page(second->pager, 0, 0, page_offset(2), data);
    vm_deallocate(mach_task_self(), data, vm_page_size);
    assert_int_equal(sk_wait_page(*other, page_offset(2), SK_WANT_PRESENT, 0), 0);
    assert_int_equal(kernel_write(*other, 2, 99), 0);
    world->store->hook_argument = second;
}

static void close_single(struct world *world, struct world *second, sk_kernel *kernel)
{
    atomic_store(&workers_left, INT_MAX);
    world->store->hook = NULL;
    sk_kernel_destroy(kernel);
    world_close(second);
    world_close(world);
}

/* What no worker was free for is done by the thread that inhibits, when all workers stand still. A callback there may wait as well: a
   worker goes on and receives what it waits for.  */
static void inhibit_while_left_work_waits(void (*hook)(struct user_pager_info *, enum call, vm_offset_t), unsigned hold,
                                          unsigned char expected)
{
    struct world world, second;
    sk_kernel *kernel;
    sk_object *object, *held;
    open_single(&world, &second, &kernel, &object, &held);
    sk_hold(held, hold);
    world.store->hook = hook;
    assert_int_equal(sk_request(object, 0, VM_PROT_READ), 0);
    struct task tasks[2], *task = world_begin_inhibition(tasks, &world);
    assert_int_equal(sk_wait_pending(held, 1, 0), 0);
    assert_int_equal(atomic_load(&workers_left), 0);
    /* (Who is to write what comes back is another one.)  */
    atomic_store(&workers_left, INT_MAX);
    assert_false(task_done(task));
    sk_release_all(held);
    assert_int_equal(task_end(task), 0);
    assert_int_equal(kernel_byte(object, 0), 1);
    assert_int_equal(store_byte(&second, 2), expected);
    /* All are held now.  */
    world.store->hook = NULL;
    assert_int_equal(sk_request(object, page_offset(1), VM_PROT_READ), 0);
    assert_int_equal(sk_wait_page(object, page_offset(1), SK_WANT_PRESENT, 30), ETIMEDOUT);
    pager_resume_workers(world.requests);
    assert_int_equal(sk_wait_page(object, page_offset(1), SK_WANT_PRESENT, 0), 0);
    close_single(&world, &second, kernel);
}

static void test_inhibit_while_left_work_waits_in_sync(void **state)
{
    (void) state;
    inhibit_while_left_work_waits(hook_syncs, SK_HOLD_LOCK, 99);
}

static void test_inhibit_while_left_work_waits_in_return(void **state)
{
    (void) state;
    inhibit_while_left_work_waits(hook_returns, SK_HOLD_COMPLETED, 99);
}

static void test_inhibit_while_left_work_waits_for_attributes(void **state)
{
    (void) state;
    inhibit_while_left_work_waits(hook_changes, SK_HOLD_ATTRIBUTES, 3);
}

static atomic_int inhibited_from_callback;

static void hook_inhibits(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    (void) call, (void) page;
    inhibited_from_callback = pager_inhibit_workers(((struct world *) store->hook_argument)->requests);
}

/* It is a callback there as elsewhere: EDEADLK (hurd/pager.h).  */
static void test_inhibit_from_left_work_is_refused(void **state)
{
    (void) state;
    struct world world, second;
    sk_kernel *kernel;
    sk_object *object, *other;
    open_single(&world, &second, &kernel, &object, &other);
    world.store->hook_argument = &world;
    world.store->hook = hook_inhibits;
    assert_int_equal(sk_request(object, 0, VM_PROT_READ), 0);
    assert_int_equal(pager_inhibit_workers(world.requests), 0);
    assert_int_equal(kernel_byte(object, 0), 1);
    assert_int_equal(inhibited_from_callback, EDEADLK);
    pager_resume_workers(world.requests);
    close_single(&world, &second, kernel);
}

/* Stopping while a callback waits for a client: what is received is done first, so the answer, and the write that it brings, must
   still get through (pager/extensions.h).  */
static void test_stop_while_a_callback_waits(void **state)
{
    (void) state;
    for (int round = 0; round < 10; round++) {
        struct world world, second;
        world_open(&world, 8, 0);
        world_join(&second, &world, 8, 0);
        sk_kernel *kernel = sk_kernel_create("A");
        sk_object *object = sk_map(kernel, world.port), *held = sk_map(kernel, second.port);
        assert_int_equal(kernel_write(held, 2, 99), 0);
        sk_hold(held, SK_HOLD_LOCK);
        world.store->hook_argument = &second;
        world.store->hook = hook_syncs;
        assert_int_equal(sk_request(object, 0, VM_PROT_READ), 0);
        assert_int_equal(sk_wait_pending(held, 1, 0), 0);
        struct task task;
        task_begin(&task, stop, &world);
        assert_true(round || task_waits(&task));
        sk_release_all(held);
        task_end(&task);
        assert_int_equal(kernel_byte(object, 0), 1);
        assert_int_equal(store_byte(&second, 2), 99);
        world.store->hook = NULL;
        assert_int_equal(pager_start_workers(world.bucket, &world.requests), 0);
        sk_kernel_destroy(kernel);
        world_close(&second);
        world_close(&world);
    }
}

/* The same where the callback is one that no worker was free for: what is left is done in the thread that stops, when the workers have ended, and what
   it waits for is received nevertheless. IS_LATE: the thread that is to receive it can only be made later.  */
static void stop_while_left_work_waits(void (*hook)(struct user_pager_info *, enum call, vm_offset_t), unsigned hold, unsigned char expected,
                                       int is_late)
{
    struct world world, second, third;
    world_open(&world, 8, 0);
    world_join(&second, &world, 8, 0);
    world_join(&third, &world, 8, 0);
    sk_kernel *kernel = sk_kernel_create("A");
    sk_object *object = sk_map(kernel, world.port), *held = sk_map(kernel, second.port), *slow = sk_map(kernel, third.port);
    assert_int_equal(kernel_write(held, 2, 99), 0);
    world_settle(&world);
    store_close_gate(&third, CALL_READ);
    assert_int_equal(sk_request(slow, 0, VM_PROT_READ), 0);
    store_wait_gate(&third, CALL_READ, 1);
    sk_hold(held, hold);
    world.store->hook_argument = &second;
    world.store->hook = hook;
    struct task task;
    task_begin(&task, stop, &world);
    assert_true(task_waits(&task));
    /* The only worker that is not in a callback receives it, and there will be no other.  */
    assert_int_equal(sk_request(object, 0, VM_PROT_READ), 0);
    while (hostmach_message_count() > 0)
        sched_yield();
    atomic_store(&workers_refused, 0);
    atomic_store(&workers_left, is_late ? 0 : INT_MAX);
    store_open_gate(&third, CALL_READ);
    while (is_late && atomic_load(&workers_refused) == 0)
        sched_yield();
    atomic_store(&workers_left, INT_MAX);
    assert_int_equal(sk_wait_pending(held, 1, 0), 0);
    assert_false(task_done(&task));
    sk_release_all(held);
    task_end(&task);
    assert_int_equal(kernel_byte(object, 0), 1);
    assert_int_equal(store_byte(&second, 2), expected);
    world.store->hook = NULL;
    assert_int_equal(pager_start_workers(world.bucket, &world.requests), 0);
    sk_kernel_destroy(kernel);
    world_close(&third);
    world_close(&second);
    world_close(&world);
}

static void test_stop_while_left_work_waits_in_sync(void **state)
{
    (void) state;
    stop_while_left_work_waits(hook_syncs, SK_HOLD_LOCK, 99, 0);
}

static void test_stop_while_left_work_waits_for_attributes(void **state)
{
    (void) state;
    stop_while_left_work_waits(hook_changes, SK_HOLD_ATTRIBUTES, 3, 0);
}

static void test_stop_while_left_work_waits_and_no_thread_can_be_made(void **state)
{
    (void) state;
    stop_while_left_work_waits(hook_syncs, SK_HOLD_LOCK, 99, 1);
}

static void test_stop_while_left_work_waits_for_attributes_and_no_thread_can_be_made(void **state)
{
    (void) state;
    stop_while_left_work_waits(hook_changes, SK_HOLD_ATTRIBUTES, 3, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inhibit_while_a_callback_waits_in_sync),
        cmocka_unit_test(test_inhibit_while_a_callback_waits_in_sync_for_the_answer),
        cmocka_unit_test(test_inhibit_while_a_callback_waits_in_return),
        cmocka_unit_test(test_inhibit_while_a_callback_waits_for_attributes),
        cmocka_unit_test(test_inhibit_while_a_callback_shuts_down),
        cmocka_unit_test(test_inhibit_while_a_callback_waits_and_many_requests_come),
        cmocka_unit_test(test_inhibit_while_a_callback_waits_in_sync_beside_another),
        cmocka_unit_test(test_inhibit_while_a_callback_waits_for_attributes_beside_another),
        cmocka_unit_test(test_inhibit_while_left_work_waits_in_sync),
        cmocka_unit_test(test_inhibit_while_left_work_waits_in_return),
        cmocka_unit_test(test_inhibit_while_left_work_waits_for_attributes),
        cmocka_unit_test(test_inhibit_from_left_work_is_refused),
        cmocka_unit_test(test_stop_while_a_callback_waits),
        cmocka_unit_test(test_stop_while_left_work_waits_in_sync),
        cmocka_unit_test(test_stop_while_left_work_waits_for_attributes),
        cmocka_unit_test(test_stop_while_left_work_waits_and_no_thread_can_be_made),
        cmocka_unit_test(test_stop_while_left_work_waits_for_attributes_and_no_thread_can_be_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
