/* life.c - init, attributes, terminate, destroy, death, misbehaviour; threads against lock requests. */

#include "mini_pager.h"

#include <mach/mig_support.h>

static void late_ready(void **state)
{
    (void)state;
    boolean_t ready, may_cache;
    memory_object_copy_strategy_t strategy;
    object = sk_map_async(kernel, pager);
    assert_int_equal(next(SK_INIT).length, PAGE);
    assert_int_equal(sk_wait_ready(object, 10), ETIMEDOUT);
    assert_int_equal(memory_object_get_attributes(control, &ready, &may_cache, &strategy), 0);
    assert_false(ready);
    memory_object_ready(control, TRUE, MEMORY_OBJECT_COPY_DELAY);
    assert_int_equal(sk_wait_ready(object, 0), 0);
    assert_int_equal(memory_object_get_attributes(control, &ready, &may_cache, &strategy), 0);
    assert_true(ready);
    assert_true(may_cache);
    assert_int_equal(strategy, MEMORY_OBJECT_COPY_DELAY);
    memory_object_change_attributes(control, FALSE, MEMORY_OBJECT_COPY_CALL, pager);
    struct event done = next(SK_CHANGE_COMPLETED);
    assert_int_equal(done.copy_strategy, MEMORY_OBJECT_COPY_CALL);
    assert_false(done.may_cache);
    nothing();
    mig_dealloc_reply_port(mig_get_reply_port());
}

static void terminate(void **state)
{
    (void)state;
    struct toucher waiter;
    unsigned char byte = 9;
    supply(0, 2, 1, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    supply(2 * PAGE, 1, 1, VM_PROT_NONE, TRUE, MACH_PORT_NULL);
    sk_poke(object, 0, &byte, 1);
    touch(&waiter, 7 * PAGE, 0, 0);
    next(SK_DATA_REQUEST);
    assert_int_equal(sk_terminate(object), 0);
    assert_int_equal(touched(&waiter), KERN_TERMINATED);
    assert_int_equal(next(SK_DATA_RETURN).offset, 0);
    struct event back = next(SK_DATA_RETURN);
    assert_int_equal(back.offset, 2 * PAGE);
    assert_false(back.dirty);
    assert_int_equal(next(SK_TERMINATE).control, control);
    assert_int_equal(sk_terminate(object), EINVAL);
    assert_int_equal(sk_control_port(object), MACH_PORT_NULL);
    /* The control port is dead: a late answer is refused. */
    assert_int_equal(memory_object_data_error(control, 0, PAGE, EIO),
                     MACH_SEND_INVALID_DEST);
    mach_port_deallocate(mach_task_self(), control);
    /* The same kernel maps again. */
    object = sk_map_async(kernel, pager);
    next(SK_INIT);
    assert_int_equal(sk_wait_ready(object, 10), ETIMEDOUT);
    nothing();
}

static void destroy(void **state)
{
    (void)state;
    struct toucher waiter;
    touch(&waiter, 0, 1, 0);
    next(SK_DATA_REQUEST);
    memory_object_destroy(control, ENOSPC);
    assert_int_equal(touched(&waiter), ENOSPC);
    assert_int_equal(sk_request(object, 0, VM_PROT_READ), ENOSPC);
    nothing();
}

static void death(void **state)
{
    (void)state;
    struct toucher waiter;
    mach_port_type_t type;
    touch(&waiter, 0, 1, 0);
    next(SK_DATA_REQUEST);
    sk_kernel_kill(kernel);
    assert_int_equal(touched(&waiter), KERN_TERMINATED);
    assert_int_equal(mach_port_type(mach_task_self(), control, &type), 0);
    assert_true(type & MACH_PORT_TYPE_DEAD_NAME);
    assert_int_equal(sk_terminate(object), EINVAL);
    sk_kernel_kill(kernel);
}

static void pager_is_dead(void **state)
{
    (void)state;
    mach_port_t other;
    mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &other);
    mach_port_insert_right(mach_task_self(), other, other, MACH_MSG_TYPE_MAKE_SEND);
    mach_port_mod_refs(mach_task_self(), other, MACH_PORT_RIGHT_RECEIVE, -1);
    object = sk_map_async(kernel, other);
    assert_int_not_equal(sk_wait_ready(object, 0), 0);
    mach_port_deallocate(mach_task_self(), other);
}

static void several_objects_and_kernels(void **state)
{
    (void)state;
    sk_kernel *second = sk_kernel_create("second");
    sk_object *objects[4];
    mach_port_t controls[4];
    unsigned char byte;

    for (int i = 0; i < 4; i++) {
        objects[i] = sk_map_async(i % 2 ? second : kernel, pager);
        next(SK_INIT);
        controls[i] = control;
    }
    for (int i = 0; i < 4; i++) {
        control = controls[i];
        supply(0, 1, (unsigned char)(80 + i), VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(sk_peek(objects[i], 0, &byte, 1), 0);
        assert_int_equal(byte, 80 + i);
        mach_port_deallocate(mach_task_self(), controls[i]);
    }
    control = MACH_PORT_NULL;
    sk_kernel_destroy(second);
}

static void raw_messages(void **state)
{
    (void)state;
    struct sk_message m = { .id = SK_DATA_REQUEST, .offset = 3, .length = 17, .access = 1 };
    assert_int_equal(sk_send_raw(object, &m, NULL, 0), 0);
    struct event seen = next(SK_DATA_REQUEST);
    assert_int_equal(seen.offset, 3);
    assert_int_equal(seen.length, 17);
    assert_int_equal(sk_send_raw(object, &m, NULL, SK_RAW_FOREIGN_CONTROL), 0);
    assert_int_not_equal(next(SK_DATA_REQUEST).control, control);
    m = (struct sk_message){ .id = SK_DATA_RETURN, .length = PAGE + 1, .dirty = TRUE };
    assert_int_equal(sk_send_raw(object, &m, NULL, 0), 0);
    assert_int_equal(next(SK_DATA_RETURN).length, PAGE + 1);
    m = (struct sk_message){ .id = SK_COPY, .length = PAGE };
    assert_int_equal(sk_send_raw(object, &m, NULL, 0), 0);
    next(SK_COPY);
    const mach_msg_id_t completed[] = { SK_LOCK_COMPLETED, SK_SUPPLY_COMPLETED,
                                        SK_CHANGE_COMPLETED, SK_DATA_UNLOCK };
    for (unsigned i = 0; i < 4; i++) {
        m = (struct sk_message){ .id = completed[i], .length = PAGE };
        assert_int_equal(sk_send_raw(object, &m, NULL, 0), 0);
        next(completed[i]);
    }
    m = (struct sk_message){ .id = SK_TERMINATE };
    assert_int_equal(sk_send_raw(object, &m, NULL, 0), 0);
    assert_int_not_equal(next(SK_TERMINATE).control, control);
    mach_port_t first = control;
    m = (struct sk_message){ .id = SK_INIT, .length = PAGE };
    assert_int_equal(sk_send_raw(object, &m, NULL, 0), 0);
    assert_int_equal(next(SK_INIT).control, first);
    mach_port_deallocate(mach_task_self(), first);      /* the second init's right */
    nothing();
}

/* ---- Threads ---- */

enum { PAGES = 8, TOUCHERS = 3, ROUNDS = 300 };
static int done;

static void *touch_all(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (int i = 0; i < ROUNDS; i++) {
        seed = seed * 1103515245u + 12345u;
        vm_offset_t offset = (seed >> 16) % PAGES * PAGE;
        unsigned char byte = (unsigned char)seed;
        int err = (seed >> 8) & 1 ? sk_write(object, offset, &byte, 1)
                                  : sk_read(object, offset, &byte, 1);
        if (err != 0)
            abort();
        if ((seed >> 9) % 16 == 0)
            sk_evict(object, offset);
    }
    __atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

/* Threads fault and evict while the pager supplies read-only, unlocks, and flushes: nothing hangs, and no page
   is asked for that is not missing. */
static void threads_against_locks(void **state)
{
    (void)state;
    pthread_t threads[TOUCHERS];
    unsigned answers = 0;
    done = 0;
    for (uintptr_t i = 0; i < TOUCHERS; i++)
        pthread_create(&threads[i], NULL, touch_all, (void *)(i + 1));
    while (__atomic_load_n(&done, __ATOMIC_SEQ_CST) < TOUCHERS) {
        struct event event;
        if (!poll_event(&event, 10))
            continue;
        if (event.id == SK_DATA_REQUEST)
            supply(event.offset, 1, 1, event.access & VM_PROT_WRITE ? 0 : VM_PROT_WRITE,
                   FALSE, MACH_PORT_NULL);
        else if (event.id == SK_DATA_UNLOCK)
            lock(event.offset, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_NONE);
        if (++answers % 7 == 0)
            lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_NO_CHANGE);
    }
    for (int i = 0; i < TOUCHERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(sk_violations(object), 0);
    assert_int_equal(sk_send_failures(object), 0);
    assert_int_equal(sk_count(object, SK_LOCK_REQUEST), sk_count(object, SK_LOCK_COMPLETED));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define UNMAPPED(name) cmocka_unit_test_setup_teardown(name, setup_unmapped, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNMAPPED(late_ready),
        TEST(terminate),
        TEST(destroy),
        TEST(death),
        UNMAPPED(pager_is_dead),
        UNMAPPED(several_objects_and_kernels),
        TEST(raw_messages),
        TEST(threads_against_locks),
    };
    return cmocka_run_group_tests_name("scripted.life", tests, NULL, NULL);
}
