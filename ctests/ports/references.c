/* references.c - hard and weak references; a port ends exactly once. */

#include "support.h"

static void last_deref_cleans_once(void **state)
{
    (void)state;
    struct thing *thing = new_thing();
    assert_int_equal(thing->number, 0);
    ports_port_ref(thing);
    ports_port_deref(thing);
    assert_int_equal(cleaned, 0);
    ports_port_deref(thing);
    assert_int_equal(cleaned, 1);
    assert_int_equal(dropped, 0);
    assert_int_equal(bucket->count, 0);
    assert_int_equal(class->count, 0);
}

static void no_routines_at_all(void **state)
{
    (void)state;
    struct port_class *plain = ports_create_class(NULL, NULL);
    struct thing *thing;
    assert_int_equal(ports_create_port(plain, bucket, sizeof *thing, &thing), 0);
    ports_port_ref_weak(thing);
    ports_port_deref(thing);
    assert_int_equal(ports_destroy_class(plain), EBUSY);
    ports_port_deref_weak(thing);
    assert_int_equal(ports_destroy_class(plain), 0);
}

static void size_is_at_least_a_head(void **state)
{
    (void)state;
    struct port_info *port;
    assert_int_equal(ports_create_port(class, bucket, 0, &port), 0);
    ports_port_deref(port);
    assert_int_equal(cleaned, 1);
}

static void weak_reference_keeps_the_memory(void **state)
{
    (void)state;
    struct thing *thing = new_thing();
    mach_port_t name = thing->info.port_right;
    ports_port_ref_weak(thing);
    ports_port_deref(thing);
    assert_int_equal(dropped, 1);
    assert_int_equal(cleaned, 0);
    /* A lookup makes it hard again, and dropweak runs again when that goes. */
    assert_ptr_equal(ports_lookup_port(bucket, name, class), thing);
    ports_port_deref(thing);
    assert_int_equal(dropped, 2);
    ports_port_deref_weak(thing);
    assert_int_equal(cleaned, 1);
    assert_null(ports_lookup_port(bucket, name, NULL));
}

static void let_go(struct thing *thing)
{
    ports_port_deref_weak(thing);
}

static void dropweak_may_end_the_port(void **state)
{
    (void)state;
    on_dropweak = let_go;
    struct thing *thing = new_thing();
    ports_port_ref_weak(thing);
    ports_port_deref(thing);
    assert_int_equal(dropped, 1);
    assert_int_equal(cleaned, 1);
}

static void no_dropweak_without_weak_references(void **state)
{
    (void)state;
    struct thing *thing = new_thing();
    ports_port_ref_weak(thing);
    ports_port_deref_weak(thing);
    ports_port_deref(thing);
    assert_int_equal(dropped, 0);
    assert_int_equal(cleaned, 1);
}

enum { ROUNDS = 2000, LOOKERS = 3 };
static mach_port_t current;
static int stop;
static int found;

static void *look(void *arg)
{
    (void)arg;
    while (!value(&stop)) {
        struct thing *thing = ports_lookup_port(bucket,
                                                __atomic_load_n(&current, __ATOMIC_SEQ_CST),
                                                class);
        if (thing != NULL) {
            __atomic_add_fetch(&found, 1, __ATOMIC_SEQ_CST);
            /* Zero: the name is used again, and its new port is not filled in yet. */
            int number = value(&thing->number);
            if (number != 42 && number != 0)
                abort();
            ports_port_deref(thing);
        }
    }
    return NULL;
}

/* The last dereference races with lookups of the name. */
static void lookup_against_last_deref(void **state)
{
    (void)state;
    pthread_t threads[LOOKERS];
    stop = found = 0;
    for (int i = 0; i < LOOKERS; i++)
        pthread_create(&threads[i], NULL, look, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        struct thing *thing = new_thing();
        __atomic_store_n(&thing->number, 42, __ATOMIC_SEQ_CST);
        __atomic_store_n(&current, thing->info.port_right, __ATOMIC_SEQ_CST);
        if (round % 50 == 0)
            sched_yield();
        ports_port_deref(thing);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < LOOKERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(cleaned, ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(last_deref_cleans_once, setup, teardown),
        cmocka_unit_test_setup_teardown(no_routines_at_all, setup, teardown),
        cmocka_unit_test_setup_teardown(size_is_at_least_a_head, setup, teardown),
        cmocka_unit_test_setup_teardown(weak_reference_keeps_the_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(dropweak_may_end_the_port, setup, teardown),
        cmocka_unit_test_setup_teardown(no_dropweak_without_weak_references, setup, teardown),
        cmocka_unit_test_setup_teardown(lookup_against_last_deref, setup, teardown),
    };
    return cmocka_run_group_tests_name("ports.references", tests, NULL, NULL);
}
