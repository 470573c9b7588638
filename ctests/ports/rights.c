/* rights.c - send rights, no-senders, and what can happen to a receive right. */

#include "support.h"

static mach_port_t self(void)
{
    return mach_task_self();
}

static void no_senders_frees(void **state)
{
    (void)state;
    struct thing *thing = new_thing();
    mach_port_t send = ports_get_send_right(thing);
    assert_int_equal(send, thing->info.port_right);
    ports_port_deref(thing);
    assert_int_equal(cleaned, 0);       /* the right holds a reference */
    mach_port_deallocate(self(), send);
    assert_int_equal(serve_notification(), MACH_NOTIFY_NO_SENDERS);
    assert_int_equal(cleaned, 1);
}

static void get_right_then_make_send(void **state)
{
    (void)state;
    struct thing *thing = new_thing();
    mach_port_t right = ports_get_right(thing);
    ports_port_deref(thing);
    assert_int_equal(serve_notification(), 0);  /* promised, not made: no notification */
    assert_int_equal(mach_port_insert_right(self(), right, right, MACH_MSG_TYPE_MAKE_SEND),
                     0);
    mach_port_deallocate(self(), right);
    assert_int_equal(serve_notification(), MACH_NOTIFY_NO_SENDERS);
    assert_int_equal(cleaned, 1);
}

static void a_later_promise_outlives_a_notification(void **state)
{
    (void)state;
    struct thing *thing = new_thing();
    mach_port_t send = ports_get_send_right(thing);
    mach_port_deallocate(self(), send);         /* the notification is queued */
    mach_port_t right = ports_get_right(thing); /* and a new right is promised */
    ports_port_deref(thing);
    assert_int_equal(serve_notification(), MACH_NOTIFY_NO_SENDERS);
    assert_int_equal(cleaned, 0);
    mach_port_insert_right(self(), right, right, MACH_MSG_TYPE_MAKE_SEND);
    mach_port_deallocate(self(), right);
    assert_int_equal(serve_notification(), MACH_NOTIFY_NO_SENDERS);
    assert_int_equal(cleaned, 1);
}

static void port_survives_and_gets_senders_again(void **state)
{
    (void)state;
    struct thing *thing = new_thing();
    for (int i = 0; i < 3; i++) {
        mach_port_t send = ports_get_send_right(thing);
        mach_port_deallocate(self(), send);
        assert_int_equal(serve_notification(), MACH_NOTIFY_NO_SENDERS);
        assert_int_equal(thing->info.flags & PORT_HAS_SENDRIGHTS, 0);
    }
    ports_port_deref(thing);
    assert_int_equal(cleaned, 1);
}

static void destroy_right(void **state)
{
    (void)state;
    struct thing *thing = new_thing();
    mach_port_t send = ports_get_send_right(thing);
    assert_int_equal(send_simple(send, 1000, MACH_PORT_NULL), 0);
    ports_destroy_right(thing);
    assert_int_equal(thing->info.port_right, MACH_PORT_NULL);
    assert_null(ports_lookup_port(NULL, send, NULL));
    assert_int_equal(ports_get_right(thing), MACH_PORT_NULL);
    assert_int_equal(ports_get_send_right(thing), MACH_PORT_NULL);
    assert_int_equal(send_simple(send, 1000, MACH_PORT_NULL), MACH_SEND_INVALID_DEST);
    struct rpc_info rpc;
    assert_int_equal(ports_begin_rpc(thing, 1000, &rpc), EOPNOTSUPP);
    ports_destroy_right(thing);                 /* again: nothing */
    assert_int_equal(cleaned, 0);
    ports_port_deref(thing);
    assert_int_equal(cleaned, 1);
    mach_port_deallocate(self(), send);         /* a dead name */
}

static void claim_right(void **state)
{
    (void)state;
    struct thing *thing = new_thing();
    mach_port_t send = ports_get_send_right(thing);
    mach_port_t right = ports_claim_right(thing);
    assert_int_equal(right, send);
    assert_int_equal(ports_claim_right(thing), MACH_PORT_NULL);
    assert_null(ports_lookup_port(NULL, right, NULL));
    ports_port_deref(thing);
    assert_int_equal(cleaned, 1);
    /* It works as an ordinary right, outside the set. */
    assert_int_equal(send_simple(send, 1001, MACH_PORT_NULL), 0);
    assert_int_equal(receive_id(right, 0), 1001);
    mach_port_deallocate(self(), send);
    mach_port_mod_refs(self(), right, MACH_PORT_RIGHT_RECEIVE, -1);
}

static void import_with_senders(void **state)
{
    (void)state;
    mach_port_t right;
    mach_port_allocate(self(), MACH_PORT_RIGHT_RECEIVE, &right);
    mach_port_insert_right(self(), right, right, MACH_MSG_TYPE_MAKE_SEND);
    struct thing *thing;
    assert_int_equal(ports_import_port(class, bucket, right, sizeof *thing, &thing), 0);
    assert_ptr_equal(ports_lookup_port(bucket, right, class), thing);
    ports_port_deref(thing);
    ports_port_deref(thing);
    assert_int_equal(cleaned, 0);
    mach_port_deallocate(self(), right);
    assert_int_equal(serve_notification(), MACH_NOTIFY_NO_SENDERS);
    assert_int_equal(cleaned, 1);
}

static void import_of_nonsense(void **state)
{
    (void)state;
    struct thing *thing;
    assert_int_not_equal(ports_import_port(class, bucket, bucket->portset, sizeof *thing,
                                           &thing), 0);
    assert_int_equal(bucket->count, 0);
}

/* The port set is gone: the port cannot be installed, and clean is not called for it. */
static void no_set_to_install_in(void **state)
{
    (void)state;
    struct thing *thing;
    mach_port_t right;
    mach_port_allocate(self(), MACH_PORT_RIGHT_RECEIVE, &right);
    mach_port_insert_right(self(), right, right, MACH_MSG_TYPE_MAKE_SEND);
    mach_port_destroy(self(), bucket->portset);
    assert_int_not_equal(ports_create_port(class, bucket, sizeof *thing, &thing), 0);
    assert_int_not_equal(ports_import_port(class, bucket, right, sizeof *thing, &thing), 0);
    assert_int_equal(bucket->count, 0);
    assert_int_equal(cleaned, 0);
    /* On error the right is still the caller's. */
    mach_port_deallocate(self(), right);
    assert_int_equal(mach_port_mod_refs(self(), right, MACH_PORT_RIGHT_RECEIVE, -1), 0);
}

static void reallocate(void **state)
{
    (void)state;
    struct thing *thing = new_thing();
    mach_port_t send = ports_get_send_right(thing);
    ports_reallocate_port(thing);
    assert_int_not_equal(thing->info.port_right, MACH_PORT_NULL);
    assert_int_equal(thing->info.flags & PORT_HAS_SENDRIGHTS, 0);
    assert_int_equal(send_simple(send, 1000, MACH_PORT_NULL), MACH_SEND_INVALID_DEST);
    mach_port_deallocate(self(), send);

    mach_port_t external;
    mach_port_allocate(self(), MACH_PORT_RIGHT_RECEIVE, &external);
    mach_port_insert_right(self(), external, external, MACH_MSG_TYPE_MAKE_SEND);
    ports_reallocate_from_external(thing, external);
    ports_port_deref(thing);
    assert_int_equal(cleaned, 0);
    assert_int_equal(send_simple(external, 1002, MACH_PORT_NULL), 0);
    assert_int_equal(receive_id(bucket->portset, 0), 1002);
    mach_port_deallocate(self(), external);
    assert_int_equal(serve_notification(), MACH_NOTIFY_NO_SENDERS);
    assert_int_equal(cleaned, 1);
}

static void transfer(void **state)
{
    (void)state;
    struct thing *from = new_thing();
    struct thing *to = new_thing();
    mach_port_t send = ports_get_send_right(from);
    assert_int_equal(ports_transfer_right(to, from), 0);
    assert_int_equal(ports_transfer_right(to, from), EINVAL);
    struct thing *seen = ports_lookup_port(bucket, send, class);
    assert_ptr_equal(seen, to);
    ports_port_deref(seen);
    ports_port_deref(from);
    assert_int_equal(cleaned, 1);
    ports_port_deref(to);
    assert_int_equal(cleaned, 1);
    mach_port_deallocate(self(), send);
    while (serve_notification() != 0)
        ;                               /* send-once may come first */
    assert_int_equal(cleaned, 2);
}

static int dead_names;
static mach_port_t last_dead_name;

/* Takes the place of the library's function. */
void ports_dead_name(void *notify, mach_port_t dead_name)
{
    (void)notify;
    dead_names++;
    last_dead_name = dead_name;
}

static void dead_name(void **state)
{
    (void)state;
    mach_port_t other;
    mach_port_t previous = 77;
    dead_names = 0;
    mach_port_allocate(self(), MACH_PORT_RIGHT_RECEIVE, &other);
    mach_port_insert_right(self(), other, other, MACH_MSG_TYPE_MAKE_SEND);
    struct thing *thing = new_thing();
    assert_int_equal(ports_request_dead_name_notification(thing, other, &previous), 0);
    assert_int_equal(previous, MACH_PORT_NULL);
    mach_port_mod_refs(self(), other, MACH_PORT_RIGHT_RECEIVE, -1);
    assert_int_equal(serve_notification(), MACH_NOTIFY_DEAD_NAME);
    assert_int_equal(dead_names, 1);
    assert_int_equal(last_dead_name, other);
    mach_port_deallocate(self(), other);        /* ours; the notification's is gone */
    ports_port_deref(thing);
}

/* Each allocation inside Mach fails in turn: an error, and nothing is left over. */
static void short_of_memory(void **state)
{
    (void)state;
    unsigned struck = hostmach_faults_struck();
    for (unsigned skip = 0;; skip++) {
        struct thing *thing = NULL;
        mach_port_t send = MACH_PORT_NULL;

        hostmach_fail_memory(skip, 1);
        error_t err = ports_create_port(class, bucket, sizeof *thing, &thing);
        if (err == 0)
            send = ports_get_send_right(thing);
        hostmach_fail_memory(0, 0);
        if (err == 0) {
            ports_port_deref(thing);
            if (send != MACH_PORT_NULL) {
                assert_int_equal(bucket->count, 1);
                mach_port_deallocate(self(), send);
                assert_int_equal(serve_notification(), MACH_NOTIFY_NO_SENDERS);
            }
        }
        assert_int_equal(bucket->count, 0);
        if (hostmach_faults_struck() == struck)
            break;              /* none was left to fail */
        struck = hostmach_faults_struck();
        assert_true(skip < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_senders_frees, setup, teardown),
        cmocka_unit_test_setup_teardown(get_right_then_make_send, setup, teardown),
        cmocka_unit_test_setup_teardown(a_later_promise_outlives_a_notification, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(port_survives_and_gets_senders_again, setup, teardown),
        cmocka_unit_test_setup_teardown(destroy_right, setup, teardown),
        cmocka_unit_test_setup_teardown(claim_right, setup, teardown),
        cmocka_unit_test_setup_teardown(import_with_senders, setup, teardown),
        cmocka_unit_test_setup_teardown(import_of_nonsense, setup, teardown),
        cmocka_unit_test_setup_teardown(no_set_to_install_in, setup, teardown),
        cmocka_unit_test_setup_teardown(reallocate, setup, teardown),
        cmocka_unit_test_setup_teardown(transfer, setup, teardown),
        cmocka_unit_test_setup_teardown(dead_name, setup, teardown),
        cmocka_unit_test_setup_teardown(short_of_memory, setup, teardown),
    };
    return cmocka_run_group_tests_name("ports.rights", tests, NULL, NULL);
}
