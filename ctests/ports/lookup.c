/* lookup.c - names, buckets and classes; counting, holding back creation, iterating. */

#include "support.h"

enum { MANY = 1000 };

static void by_name(void **state)
{
    (void)state;
    struct port_bucket *other_bucket = ports_create_bucket();
    struct port_class *other_class = ports_create_class(NULL, NULL);
    struct thing *thing = new_thing();
    mach_port_t name = thing->info.port_right;

    assert_ptr_equal(ports_lookup_port(NULL, name, NULL), thing);
    assert_ptr_equal(ports_lookup_port(bucket, name, class), thing);
    assert_null(ports_lookup_port(other_bucket, name, NULL));
    assert_null(ports_lookup_port(NULL, name, other_class));
    assert_null(ports_lookup_port(NULL, MACH_PORT_NULL, NULL));
    assert_null(ports_lookup_port(NULL, MACH_PORT_DEAD, NULL));
    assert_null(ports_lookup_port(NULL, bucket->portset, NULL));
    ports_port_deref(thing);
    ports_port_deref(thing);
    ports_port_deref(thing);
    assert_int_equal(cleaned, 1);
    assert_null(ports_lookup_port(NULL, name, NULL));
    assert_int_equal(ports_destroy_bucket(other_bucket), 0);
    assert_int_equal(ports_destroy_class(other_class), 0);
}

static void by_payload(void **state)
{
    (void)state;
    struct thing *thing = new_thing();
    unsigned long payload = (unsigned long)thing;
    assert_ptr_equal(ports_lookup_payload(bucket, payload, class), thing);
    assert_null(ports_lookup_payload(bucket, payload + 8, class));
    assert_null(ports_lookup_payload(NULL, 0, NULL));
    ports_port_deref(thing);
    ports_destroy_right(thing);
    assert_null(ports_lookup_payload(bucket, payload, class));
    ports_port_deref(thing);
}

static void many_names(void **state)
{
    (void)state;
    static struct thing *things[MANY];
    static mach_port_t names[MANY];
    for (int i = 0; i < MANY; i++) {
        things[i] = new_thing();
        names[i] = things[i]->info.port_right;
    }
    assert_int_equal(bucket->count, MANY);
    for (int i = 0; i < MANY; i++) {
        assert_ptr_equal(ports_lookup_port(bucket, names[i], class), things[i]);
        ports_port_deref(things[i]);
    }
    for (int i = 0; i < MANY; i += 2)
        ports_port_deref(things[i]);
    for (int i = 0; i < MANY; i++) {
        void *seen = ports_lookup_port(bucket, names[i], class);
        assert_ptr_equal(seen, i % 2 == 0 ? NULL : things[i]);
        if (seen != NULL)
            ports_port_deref(seen);
    }
    for (int i = 1; i < MANY; i += 2)
        ports_port_deref(things[i]);
    assert_int_equal(cleaned, MANY);
}

static void noinstall_is_not_in_the_set(void **state)
{
    (void)state;
    struct thing *thing;
    assert_int_equal(ports_create_port_noinstall(class, bucket, sizeof *thing, &thing), 0);
    mach_port_t send = ports_get_send_right(thing);
    assert_int_equal(send_simple(send, 1000, MACH_PORT_NULL), 0);
    assert_int_equal(receive_id(bucket->portset, 0), 0);
    mach_port_move_member(mach_task_self(), send, bucket->portset);
    assert_int_equal(receive_id(bucket->portset, 0), 1000);
    mach_port_deallocate(mach_task_self(), send);
    assert_int_equal(serve_notification(), MACH_NOTIFY_NO_SENDERS);
    ports_port_deref(thing);
}

static int created;

static void *create_one(void *arg)
{
    struct thing *thing;
    (void)arg;
    if (ports_create_port(class, bucket, sizeof *thing, &thing) != 0)
        abort();
    __atomic_store_n(&created, 1, __ATOMIC_SEQ_CST);
    ports_port_deref(thing);
    return NULL;
}

static void counting_holds_creation_back(void **state)
{
    (void)state;
    pthread_t thread;
    struct thing *thing = new_thing();

    created = 0;
    assert_int_equal(ports_count_class(class), 1);
    assert_int_equal(ports_count_bucket(bucket), 1);
    pthread_create(&thread, NULL, create_one, NULL);
    sleep_ms(30);
    assert_int_equal(value(&created), 0);
    ports_enable_class(class);
    sleep_ms(30);
    assert_int_equal(value(&created), 0);
    ports_enable_bucket(bucket);
    pthread_join(thread, NULL);
    assert_int_equal(created, 1);
    ports_port_deref(thing);
    assert_int_equal(ports_count_class(class), 0);
    ports_enable_class(class);
}

static int visits;
static int stop_after;

static error_t visit(void *port)
{
    struct thing *thing = port;
    thing->number++;
    visits++;
    return visits == stop_after ? EINTR : 0;
}

static error_t destroy(void *port)
{
    ports_destroy_right(port);
    ports_port_deref(port);     /* the creator's reference */
    return 0;
}

static void iterate(void **state)
{
    (void)state;
    struct thing *things[5];

    visits = 0;
    stop_after = -1;
    assert_int_equal(ports_bucket_iterate(bucket, visit), 0);
    assert_int_equal(visits, 0);
    for (int i = 0; i < 5; i++)
        things[i] = new_thing();
    assert_int_equal(ports_bucket_iterate(bucket, visit), 0);
    assert_int_equal(ports_class_iterate(class, visit), 0);
    assert_int_equal(visits, 10);
    for (int i = 0; i < 5; i++)
        assert_int_equal(things[i]->number, 2);
    stop_after = 12;
    assert_int_equal(ports_bucket_iterate(bucket, visit), EINTR);
    assert_int_equal(visits, 12);
    assert_int_equal(ports_class_iterate(class, destroy), 0);
    assert_int_equal(cleaned, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(by_payload, setup, teardown),
        cmocka_unit_test_setup_teardown(many_names, setup, teardown),
        cmocka_unit_test_setup_teardown(noinstall_is_not_in_the_set, setup, teardown),
        cmocka_unit_test_setup_teardown(counting_holds_creation_back, setup, teardown),
        cmocka_unit_test_setup_teardown(iterate, setup, teardown),
    };
    return cmocka_run_group_tests_name("ports.lookup", tests, NULL, NULL);
}
