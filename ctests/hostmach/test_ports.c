/* Names: what they stand for, and the reference counts behind them. */

#include "hm_test.h"

static void
names_are_the_lowest_free_ones (void **state)
{
    (void) state;
    mach_port_t a = new_port (), b = new_port (), c = new_port ();
    assert_in_range (a, 0x103, 0x200);
    assert_true (a < b && b < c);
    ok (mach_port_destroy (self, b));
    assert_int_equal (new_port (), b);
    for (mach_port_t name = a; name <= c; name++)
        ok (mach_port_destroy (self, name));
}

static void
a_new_receive_right_has_defaults (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    mach_port_status_t status = status_of (port);
    assert_int_equal (status.mps_qlimit, MACH_PORT_QLIMIT_DEFAULT);
    assert_int_equal (status.mps_msgcount + status.mps_mscount + status.mps_seqno + status.mps_pset, 0);
    assert_false (status.mps_srights || status.mps_pdrequest || status.mps_nsrequest || status.mps_sorights);
    assert_int_equal (type_of (port), MACH_PORT_TYPE_RECEIVE);
    assert_int_equal (refs (port, MACH_PORT_RIGHT_RECEIVE), 1);
    assert_int_equal (refs (port, MACH_PORT_RIGHT_SEND), 0);
    ok (mach_port_destroy (self, port));
    assert_int_equal (type_of (port), 0);
}

static void
allocate_checks_its_right (void **state)
{
    (void) state;
    mach_port_t name;
    gives (KERN_INVALID_VALUE, mach_port_allocate (self, MACH_PORT_RIGHT_SEND, &name));
    gives (KERN_INVALID_VALUE, mach_port_allocate (self, 99, &name));
    gives (KERN_INVALID_TASK, mach_port_allocate (MACH_PORT_NULL, MACH_PORT_RIGHT_RECEIVE, &name));
}

static void
allocate_name_takes_any_free_name (void **state)
{
    (void) state;
    ok (mach_port_allocate_name (self, MACH_PORT_RIGHT_RECEIVE, 0x4242));
    gives (KERN_NAME_EXISTS, mach_port_allocate_name (self, MACH_PORT_RIGHT_DEAD_NAME, 0x4242));
    gives (KERN_INVALID_VALUE, mach_port_allocate_name (self, MACH_PORT_RIGHT_RECEIVE, MACH_PORT_NULL));
    gives (KERN_INVALID_VALUE, mach_port_allocate_name (self, MACH_PORT_RIGHT_RECEIVE, MACH_PORT_DEAD));
    gives (KERN_NAME_EXISTS, mach_port_allocate_name (self, MACH_PORT_RIGHT_RECEIVE, mach_task_self ()));
    ok (mach_port_destroy (self, 0x4242));
}

/* Choosing must step over names that were taken by name before. */
static void
chosen_names_avoid_taken_ones (void **state)
{
    (void) state;
    mach_port_t first = new_port (), names[600];
    for (mach_port_t i = 1; i <= 400; i += 2)
        ok (mach_port_allocate_name (self, MACH_PORT_RIGHT_DEAD_NAME, first + i));
    for (int i = 0; i < 600; i++)
        names[i] = new_port ();
    for (int i = 0; i < 600; i++)
        ok (mach_port_destroy (self, names[i]));
    for (mach_port_t i = 1; i <= 400; i += 2)
        ok (mach_port_destroy (self, first + i));
    ok (mach_port_destroy (self, first));
}

static void
rename_moves_a_receive_right (void **state)
{
    (void) state;
    mach_port_t port = new_port (), other = new_port ();
    make_send (port);
    gives (KERN_NAME_EXISTS, mach_port_rename (self, port, other));
    gives (KERN_NAME_EXISTS, mach_port_rename (self, port, port));
    gives (KERN_INVALID_VALUE, mach_port_rename (self, port, MACH_PORT_DEAD));
    gives (KERN_INVALID_NAME, mach_port_rename (self, 0x777777, 0x777778));
    ok (mach_port_rename (self, port, 0x90000000));
    assert_int_equal (type_of (port), 0);
    assert_int_equal (type_of (0x90000000), MACH_PORT_TYPE_SEND_RECEIVE);
    ok (send_id (0x90000000, MACH_MSG_TYPE_COPY_SEND, 5));
    union any_msg msg;
    ok (receive (0x90000000, &msg));
    assert_int_equal (msg.head.msgh_local_port, 0x90000000);
    ok (mach_port_destroy (self, 0x90000000));
    ok (mach_port_destroy (self, other));
}

/* A client's control port: 4 names per object from 0x80000000 on; later rights arrive under the new name. */
static void
rename_of_a_send_right_sticks (void **state)
{
    (void) state;
    hostmach_task_t kernel = hostmach_task_create ("kernel");
    hostmach_task_enter (kernel);
    mach_port_t control = new_port ();
    hostmach_task_enter (NULL);
    mach_port_t name, again;
    ok (hostmach_copy_send (kernel, control, hostmach_task_main (), &name));
    assert_int_equal (type_of (name), MACH_PORT_TYPE_SEND);
    for (mach_port_t n = 0x80000000; n < 0x80000000 + 64; n++) {
        ok (mach_port_rename (self, name, n));
        name = n;
    }
    ok (hostmach_copy_send (kernel, control, hostmach_task_main (), &again));
    assert_int_equal (again, name);
    assert_int_equal (refs (name, MACH_PORT_RIGHT_SEND), 2);
    ok (mach_port_mod_refs (self, name, MACH_PORT_RIGHT_SEND, -2));
    assert_int_equal (type_of (name), 0);
    hostmach_task_destroy (kernel);
}

static void
dead_names_count_references (void **state)
{
    (void) state;
    mach_port_t name;
    ok (mach_port_allocate (self, MACH_PORT_RIGHT_DEAD_NAME, &name));
    assert_int_equal (type_of (name), MACH_PORT_TYPE_DEAD_NAME);
    ok (mach_port_mod_refs (self, name, MACH_PORT_RIGHT_DEAD_NAME, 4));
    assert_int_equal (refs (name, MACH_PORT_RIGHT_DEAD_NAME), 5);
    gives (KERN_INVALID_VALUE, mach_port_mod_refs (self, name, MACH_PORT_RIGHT_DEAD_NAME, -6));
    gives (KERN_UREFS_OVERFLOW, mach_port_mod_refs (self, name, MACH_PORT_RIGHT_DEAD_NAME, 0x10000));
    gives (KERN_INVALID_RIGHT, mach_port_mod_refs (self, name, MACH_PORT_RIGHT_SEND, -1));
    gives (MACH_SEND_INVALID_DEST, send_id (name, MACH_MSG_TYPE_COPY_SEND, 1));
    ok (mach_port_deallocate (self, name));
    ok (mach_port_mod_refs (self, name, MACH_PORT_RIGHT_DEAD_NAME, -4));
    gives (KERN_INVALID_NAME, mach_port_deallocate (self, name));
}

static void
send_references_count_and_end (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    gives (KERN_INVALID_RIGHT, mach_port_deallocate (self, port));
    make_send (port);
    make_send (port);
    assert_int_equal (refs (port, MACH_PORT_RIGHT_SEND), 2);
    assert_int_equal (status_of (port).mps_mscount, 2);
    ok (mach_port_mod_refs (self, port, MACH_PORT_RIGHT_SEND, 5));
    assert_int_equal (status_of (port).mps_mscount, 2);
    gives (KERN_UREFS_OVERFLOW, mach_port_mod_refs (self, port, MACH_PORT_RIGHT_SEND, 0xffff));
    gives (KERN_INVALID_VALUE, mach_port_mod_refs (self, port, MACH_PORT_RIGHT_SEND, -8));
    ok (mach_port_deallocate (self, port));
    ok (mach_port_mod_refs (self, port, MACH_PORT_RIGHT_SEND, -6));
    assert_int_equal (type_of (port), MACH_PORT_TYPE_RECEIVE);
    assert_false (status_of (port).mps_srights);
    gives (KERN_INVALID_RIGHT, mach_port_mod_refs (self, port, MACH_PORT_RIGHT_SEND, 1));
    gives (KERN_INVALID_VALUE, mach_port_mod_refs (self, port, MACH_PORT_RIGHT_RECEIVE, 1));
    gives (KERN_INVALID_VALUE, mach_port_mod_refs (self, port, 17, 1));
    ok (mach_port_mod_refs (self, port, MACH_PORT_RIGHT_RECEIVE, 0));
    drop_receive (port);
}

/* Without its receive right, the name of a send right is a dead name with the same references. */
static void
a_port_dies_with_its_receive_right (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    make_send (port);
    mach_port_t once = make_once (port);
    drop_receive (port);
    assert_int_equal (type_of (port), MACH_PORT_TYPE_DEAD_NAME);
    assert_int_equal (refs (port, MACH_PORT_RIGHT_DEAD_NAME), 2);
    assert_int_equal (type_of (once), MACH_PORT_TYPE_DEAD_NAME);
    ok (mach_port_deallocate (self, once));
    ok (mach_port_destroy (self, port));
}

static void
port_names_lists_all (void **state)
{
    (void) state;
    mach_port_t port = new_port (), set = new_set ();
    make_send (port);
    mach_port_name_array_t names;
    mach_port_type_array_t types;
    mach_msg_type_number_t count, type_count;
    ok (mach_port_names (self, &names, &count, &types, &type_count));
    assert_int_equal (count, type_count);
    assert_int_equal (count, hostmach_list_rights (hostmach_task_main (), NULL, 0));
    int found = 0;
    for (unsigned i = 0; i < count; i++)
        found += (names[i] == port && types[i] == MACH_PORT_TYPE_SEND_RECEIVE)
                 || (names[i] == set && types[i] == MACH_PORT_TYPE_PORT_SET);
    assert_int_equal (found, 2);
    ok (vm_deallocate (self, (vm_address_t) names, count * sizeof *names));
    ok (vm_deallocate (self, (vm_address_t) types, count * sizeof *types));
    ok (mach_port_destroy (self, port));
    ok (mach_port_destroy (self, set));
}

static void
queue_limits_have_bounds (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    gives (KERN_INVALID_VALUE, mach_port_set_qlimit (self, port, 0));
    gives (KERN_INVALID_VALUE, mach_port_set_qlimit (self, port, MACH_PORT_QLIMIT_MAX + 1));
    ok (mach_port_set_qlimit (self, port, MACH_PORT_QLIMIT_MAX));
    ok (mach_port_set_mscount (self, port, 42));
    ok (mach_port_set_seqno (self, port, 99));
    mach_port_status_t status = status_of (port);
    assert_int_equal (status.mps_qlimit, MACH_PORT_QLIMIT_MAX);
    assert_int_equal (status.mps_mscount, 42);
    assert_int_equal (status.mps_seqno, 99);
    gives (KERN_INVALID_NAME, mach_port_set_qlimit (self, 0x3333, 1));
    drop_receive (port);
}

static void
the_task_name_is_harmless (void **state)
{
    (void) state;
    ok (mach_port_deallocate (self, mach_task_self ()));
    ok (mach_port_mod_refs (self, mach_task_self (), MACH_PORT_RIGHT_SEND, 1));
    assert_int_equal (type_of (mach_task_self ()), MACH_PORT_TYPE_SEND);
    assert_true (MACH_PORT_VALID (mach_host_self ()));
    gives (MACH_SEND_INVALID_DEST, send_id (mach_task_self (), MACH_MSG_TYPE_COPY_SEND, 1));
}

static void
a_reply_port_is_the_threads_own (void **state)
{
    (void) state;
    mach_port_t reply = mig_get_reply_port ();
    assert_int_equal (type_of (reply), MACH_PORT_TYPE_RECEIVE);
    mig_put_reply_port (reply);
    assert_int_equal (mig_get_reply_port (), reply);
    mig_dealloc_reply_port (reply);
    assert_int_equal (type_of (reply), 0);
    mach_port_t mine = mach_reply_port ();
    assert_int_equal (type_of (mine), MACH_PORT_TYPE_RECEIVE);
    drop_receive (mine);
}

int
main (void)
{
    const struct CMUnitTest tests[] = {
        rule (names_are_the_lowest_free_ones), rule (a_new_receive_right_has_defaults),
        rule (allocate_checks_its_right), rule (allocate_name_takes_any_free_name),
        rule (chosen_names_avoid_taken_ones), rule (rename_moves_a_receive_right),
        rule (rename_of_a_send_right_sticks), rule (dead_names_count_references),
        rule (send_references_count_and_end), rule (a_port_dies_with_its_receive_right),
        rule (port_names_lists_all), rule (queue_limits_have_bounds), rule (the_task_name_is_harmless),
        rule (a_reply_port_is_the_threads_own),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
