/* calls.c - calls under way: inhibiting waits for them and holds new ones back. */

#include "support.h"

enum { NOT_INHIBITABLE = 33000 };

static struct thing *thing;
static int running;             /* calls between begin and end */
static int finish;              /* lets them end */
static int begun;               /* calls that ever began */
static int was_interrupted;

static int setup_thing(void **state)
{
    running = finish = begun = was_interrupted = 0;
    if (setup(state) != 0)
        return 1;
    thing = new_thing();
    return 0;
}

static int teardown_thing(void **state)
{
    ports_port_deref(thing);
    assert_int_equal(bucket->rpcs, 0);
    assert_int_equal(class->rpcs, 0);
    return teardown(state);
}

static void *call(void *arg)
{
    struct rpc_info rpc;
    if (ports_begin_rpc(thing, (mach_msg_id_t)(intptr_t)arg, &rpc) != 0)
        return (void *)1;
    __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&begun, 1, __ATOMIC_SEQ_CST);
    while (!value(&finish))
        sleep_ms(1);
    if (ports_self_interrupted())
        __atomic_store_n(&was_interrupted, 1, __ATOMIC_SEQ_CST);
    __atomic_sub_fetch(&running, 1, __ATOMIC_SEQ_CST);
    ports_end_rpc(thing, &rpc);
    return NULL;
}

static pthread_t start(mach_msg_id_t id)
{
    pthread_t thread;
    pthread_create(&thread, NULL, call, (void *)(intptr_t)id);
    return thread;
}

/* Each of the four levels, through one interface. */
struct level {
    error_t (*inhibit)(void);
    void (*resume)(void);
};
static error_t inhibit_port(void) { return ports_inhibit_port_rpcs(thing); }
static error_t inhibit_class(void) { return ports_inhibit_class_rpcs(class); }
static error_t inhibit_bucket(void) { return ports_inhibit_bucket_rpcs(bucket); }
static void resume_port(void) { ports_resume_port_rpcs(thing); }
static void resume_class(void) { ports_resume_class_rpcs(class); }
static void resume_bucket(void) { ports_resume_bucket_rpcs(bucket); }
static const struct level levels[] = {
    { inhibit_port, resume_port },
    { inhibit_class, resume_class },
    { inhibit_bucket, resume_bucket },
    { ports_inhibit_all_rpcs, ports_resume_all_rpcs },
};

static void *inhibit(void *arg)
{
    const struct level *level = arg;
    error_t err = level->inhibit();
    /* Nothing may be under way now. */
    if (err == 0 && value(&running) != 0)
        abort();
    return (void *)(intptr_t)err;
}

static void inhibit_waits_and_holds_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof levels / sizeof *levels; i++) {
        pthread_t inhibitor;
        void *result;

        finish = begun = was_interrupted = 0;
        pthread_t first = start(1);
        await(&begun, 1);
        pthread_create(&inhibitor, NULL, inhibit, (void *)&levels[i]);
        sleep_ms(30);
        assert_int_equal(value(&running), 1);           /* it waits */
        assert_int_equal(levels[i].inhibit(), EBUSY);
        __atomic_store_n(&finish, 1, __ATOMIC_SEQ_CST);
        pthread_join(first, NULL);
        pthread_join(inhibitor, &result);
        assert_null(result);
        assert_int_equal(was_interrupted, 1);
        assert_int_equal(levels[i].inhibit(), EBUSY);

        pthread_t second = start(2);                    /* held back */
        sleep_ms(30);
        assert_int_equal(value(&begun), 1);
        pthread_t third = start(NOT_INHIBITABLE);       /* not held back */
        pthread_join(third, NULL);
        assert_int_equal(value(&begun), 2);
        levels[i].resume();
        pthread_join(second, &result);
        assert_null(result);
        assert_int_equal(begun, 3);
    }
}

static void own_call_does_not_count(void **state)
{
    (void)state;
    struct rpc_info rpc;
    for (unsigned i = 0; i < sizeof levels / sizeof *levels; i++) {
        assert_int_equal(ports_begin_rpc(thing, 1, &rpc), 0);
        assert_int_equal(levels[i].inhibit(), 0);
        levels[i].resume();
        ports_end_rpc(thing, &rpc);
    }
    assert_int_equal(ports_self_interrupted(), 0);
}

static void loss_of_the_right_ends_the_wait(void **state)
{
    (void)state;
    void *result;
    assert_int_equal(ports_inhibit_bucket_rpcs(bucket), 0);
    pthread_t blocked = start(1);
    sleep_ms(20);
    ports_destroy_right(thing);
    pthread_join(blocked, &result);
    assert_ptr_equal(result, (void *)1);
    ports_resume_bucket_rpcs(bucket);
}

static void interrupt_marks_others(void **state)
{
    (void)state;
    pthread_t other = start(1);
    await(&begun, 1);
    ports_interrupt_rpcs(thing);
    assert_int_equal(ports_self_interrupted(), 0);
    __atomic_store_n(&finish, 1, __ATOMIC_SEQ_CST);
    pthread_join(other, NULL);
    assert_int_equal(was_interrupted, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(inhibit_waits_and_holds_back, setup_thing,
                                        teardown_thing),
        cmocka_unit_test_setup_teardown(own_call_does_not_count, setup_thing, teardown_thing),
        cmocka_unit_test_setup_teardown(loss_of_the_right_ends_the_wait, setup_thing,
                                        teardown_thing),
        cmocka_unit_test_setup_teardown(interrupt_marks_others, setup_thing, teardown_thing),
    };
    return cmocka_run_group_tests_name("ports.calls", tests, NULL, NULL);
}
