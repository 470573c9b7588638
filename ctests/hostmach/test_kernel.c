/* The memory object protocol through MIG's stubs, both ways. */

#include "hm_test.h"

#include <hostmach/mach_server.h>
#include <mach/memory_object_user.h>
#include <mach/notify_user.h>

/* ---- A kernel: what its control port was told last ---- */

static struct {
    int supplies, locks, readies;
    vm_offset_t offset, data;
    mach_msg_type_number_t size;
    vm_prot_t lock;
    boolean_t flag;
    mach_port_t reply;
    mach_msg_type_name_t reply_type;
    kern_return_t result;
} told;

kern_return_t
K_memory_object_data_supply (mach_port_t memory_control, vm_offset_t offset, vm_offset_t data,
                             mach_msg_type_number_t dataCnt, vm_prot_t lock_value, boolean_t precious,
                             mach_port_t reply_to, mach_msg_type_name_t reply_toPoly)
{
    (void) memory_control;
    told.supplies++;
    told.offset = offset;
    told.data = data;
    told.size = dataCnt;
    told.lock = lock_value;
    told.flag = precious;
    told.reply = reply_to;
    told.reply_type = reply_toPoly;
    return told.result;
}

kern_return_t
K_memory_object_lock_request (mach_port_t memory_control, vm_offset_t offset, vm_size_t size,
                              memory_object_return_t should_return, boolean_t should_flush, vm_prot_t lock_value,
                              mach_port_t reply_to, mach_msg_type_name_t reply_toPoly)
{
    (void) should_return;
    (void) should_flush;
    (void) lock_value;
    told.locks++;
    if (reply_to != MACH_PORT_NULL) {
        assert_int_equal (reply_toPoly, MACH_MSG_TYPE_PORT_SEND_ONCE);
        ok (memory_object_lock_completed (reply_to, MACH_MSG_TYPE_MOVE_SEND_ONCE, memory_control, offset, size));
    }
    return KERN_SUCCESS;
}

kern_return_t
K_memory_object_get_attributes (mach_port_t memory_control, boolean_t *object_ready, boolean_t *may_cache,
                                memory_object_copy_strategy_t *copy_strategy)
{
    (void) memory_control;
    *object_ready = told.readies != 0;
    *may_cache = TRUE;
    *copy_strategy = MEMORY_OBJECT_COPY_DELAY;
    return told.result;
}

kern_return_t
K_memory_object_ready (mach_port_t memory_control, boolean_t may_cache, memory_object_copy_strategy_t copy_strategy)
{
    (void) memory_control;
    (void) may_cache;
    (void) copy_strategy;
    told.readies++;
    return KERN_SUCCESS;
}

/* ---- */

static hostmach_task_t kernel;
static mach_port_t pager, pager_in_kernel, control, object_name, client;

static void
in_kernel (void)
{
    hostmach_task_enter (kernel);
}

static void
at_home (void)
{
    hostmach_task_enter (NULL);
}

static void
start (hostmach_task_t task)
{
    memset (&told, 0, sizeof told);
    kernel = task;
    pager = new_port ();
    in_kernel ();
    control = new_port ();
    object_name = new_port ();
    ok (hostmach_port_set_handler (control, hostmach_mach_server_handler, NULL));
    at_home ();
    ok (hostmach_copy_send (hostmach_task_main (), pager, kernel, &pager_in_kernel));
    in_kernel ();
    ok (memory_object_init (pager_in_kernel, control, object_name, vm_page_size));
    at_home ();
    union any_msg msg;
    ok (receive (pager, &msg));
    assert_int_equal (msg.head.msgh_id, 2200);
    assert_int_equal (msg.head.msgh_local_port, pager);
    const struct port_msg *first = &msg.port;
    client = first->port;
    mach_port_t name;
    memcpy (&name, msg.bytes + sizeof *first + sizeof (mach_msg_type_t), sizeof name);
    if (kernel != hostmach_task_main ())
        ok (mach_port_deallocate (self, name));
}

static void
stop (void)
{
    hostmach_task_destroy (kernel);
    ok (mach_port_destroy (self, client));
    drop_receive (pager);
}

static void
supplies_move_their_pages_to_the_kernel (void **state)
{
    (void) state;
    start (hostmach_task_create ("kernel"));
    vm_address_t page;
    ok (vm_allocate (self, &page, vm_page_size, TRUE));
    strcpy ((char *) page, "contents");
    ok (memory_object_data_supply (client, 3 * vm_page_size, page, (unsigned) vm_page_size, TRUE, VM_PROT_WRITE, TRUE,
                                   MACH_PORT_NULL));
    assert_int_equal (told.supplies, 1);
    assert_int_equal (told.data, page);
    assert_int_equal (told.size, vm_page_size);
    assert_int_equal (told.offset, 3 * vm_page_size);
    assert_int_equal (told.lock, VM_PROT_WRITE);
    assert_true (told.flag);
    assert_int_equal (told.reply, MACH_PORT_NULL);
    ok (vm_deallocate (self, told.data, told.size));

    /* Refused: the request is destroyed with its memory and reply right. */
    told.result = KERN_INVALID_ARGUMENT;
    ok (vm_allocate (self, &page, vm_page_size, TRUE));
    ok (memory_object_data_supply (client, 0, page, (unsigned) vm_page_size, TRUE, 0, FALSE, pager));
    assert_int_equal (told.supplies, 2);
    assert_int_equal (next_id (pager), MACH_NOTIFY_SEND_ONCE);
    stop ();
}

/* The pager's own port as reply port: lock_completed comes after what was sent before it. */
static void
lock_requests_are_answered_in_order (void **state)
{
    (void) state;
    start (hostmach_task_create ("kernel"));
    in_kernel ();
    ok (memory_object_data_request (pager_in_kernel, control, 0, vm_page_size, VM_PROT_READ));
    at_home ();
    ok (memory_object_lock_request (client, vm_page_size, 2 * vm_page_size, MEMORY_OBJECT_RETURN_ALL, TRUE,
                                    VM_PROT_NO_CHANGE, pager));
    ok (memory_object_lock_request (client, 0, 0, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_NONE, MACH_PORT_NULL));
    assert_int_equal (told.locks, 2);
    union any_msg msg;
    ok (receive (pager, &msg));
    assert_int_equal (msg.head.msgh_id, 2203);
    assert_int_equal (msg.port.port, client);
    ok (receive (pager, &msg));
    assert_int_equal (msg.head.msgh_id, 2206);
    assert_int_equal (MACH_MSGH_BITS_LOCAL (msg.head.msgh_bits), MACH_MSG_TYPE_PORT_SEND_ONCE);
    assert_int_equal (refs (client, MACH_PORT_RIGHT_SEND), 3); /* one for each message that carried the port */
    assert_int_equal (status_of (pager).mps_sorights, 0);
    stop ();
}

static void
get_attributes_is_a_call (void **state)
{
    (void) state;
    start (hostmach_task_create ("kernel"));
    boolean_t ready, may_cache;
    memory_object_copy_strategy_t strategy;
    ok (memory_object_get_attributes (client, &ready, &may_cache, &strategy));
    assert_false (ready);
    ok (memory_object_ready (client, TRUE, MEMORY_OBJECT_COPY_DELAY));
    ok (memory_object_get_attributes (client, &ready, &may_cache, &strategy));
    assert_true (ready && may_cache);
    assert_int_equal (strategy, MEMORY_OBJECT_COPY_DELAY);
    told.result = KERN_FAILURE;
    gives (KERN_FAILURE, memory_object_get_attributes (client, &ready, &may_cache, &strategy));
    stop ();
}

/* What the kernel does not define, and what is not of mach.defs, is refused without harm. */
static void
unknown_requests_are_destroyed (void **state)
{
    (void) state;
    start (hostmach_task_create ("kernel"));
    ok (memory_object_data_error (client, 0, vm_page_size, KERN_FAILURE)); /* K_..._data_error is the weak default */
    ok (memory_object_change_attributes (client, TRUE, MEMORY_OBJECT_COPY_NONE, pager));
    assert_int_equal (next_id (pager), MACH_NOTIFY_SEND_ONCE);
    mach_port_t carried = new_port ();
    ok (send_port (client, MACH_MSG_TYPE_COPY_SEND, carried, MACH_MSG_TYPE_MAKE_SEND));
    assert_false (status_of (carried).mps_srights);
    /* A call gets its error. */
    union any_msg msg;
    msg.head = header_to (client, MACH_MSG_TYPE_COPY_SEND, 9999, sizeof msg.head);
    msg.head.msgh_bits = MACH_MSGH_BITS (MACH_MSG_TYPE_COPY_SEND, MACH_MSG_TYPE_MAKE_SEND_ONCE);
    msg.head.msgh_local_port = mig_get_reply_port ();
    ok (mach_msg (&msg.head, MACH_SEND_MSG | MACH_RCV_MSG, sizeof msg.head, sizeof msg, msg.head.msgh_local_port, 0, 0));
    assert_int_equal (msg.head.msgh_id, 10099);
    assert_int_equal ((int) msg.number.value, MIG_BAD_ID);
    drop_receive (carried);
    stop ();
}

static void
returns_bring_data_and_flags (void **state)
{
    (void) state;
    start (hostmach_task_create ("kernel"));
    in_kernel ();
    vm_address_t pages;
    ok (vm_allocate (self, &pages, 2 * vm_page_size, TRUE));
    ok (memory_object_data_return (pager_in_kernel, control, vm_page_size, pages, (unsigned) (2 * vm_page_size), TRUE,
                                   FALSE));
    at_home ();
    union any_msg msg;
    ok (receive (pager, &msg));
    assert_int_equal (msg.head.msgh_id, 2208);
    mach_msg_destroy (&msg.head); /* the copy, and the reference to the control port */
    assert_int_equal (refs (client, MACH_PORT_RIGHT_SEND), 1);
    in_kernel ();
    ok (vm_deallocate (self, pages, 2 * vm_page_size));
    at_home ();
    stop ();
}

/* Terminate carries both receive rights; messages to the control port queue from then on. */
static void
terminate_moves_the_receive_rights (void **state)
{
    (void) state;
    start (hostmach_task_create ("kernel"));
    in_kernel ();
    ok (mach_port_insert_right (self, pager_in_kernel, pager_in_kernel, MACH_MSG_TYPE_COPY_SEND));
    ok (memory_object_terminate (pager_in_kernel, control, object_name));
    assert_int_equal (type_of (control), 0);
    at_home ();
    ok (memory_object_ready (client, TRUE, 0));
    assert_int_equal (told.readies, 0);
    union any_msg msg;
    ok (receive (pager, &msg));
    assert_int_equal (msg.head.msgh_id, 2201);
    assert_int_equal (msg.port.port, client); /* receive and send right under one name */
    assert_int_equal (type_of (client), MACH_PORT_TYPE_SEND_RECEIVE);
    assert_int_equal (next_id (client), 2094);
    mach_msg_destroy (&msg.head);
    assert_int_equal (type_of (client), MACH_PORT_TYPE_DEAD_NAME);
    stop ();
}

/* Pager and kernel in one task: all rights to the control port share one name. */
static void
pager_and_kernel_may_share_a_task (void **state)
{
    (void) state;
    start (hostmach_task_main ());
    assert_int_equal (client, control); /* the send right arrived under the receive right's name */
    assert_int_equal (type_of (control), MACH_PORT_TYPE_SEND_RECEIVE);
    assert_int_equal (refs (control, MACH_PORT_RIGHT_SEND), 1);
    ok (memory_object_ready (client, FALSE, 0));
    assert_int_equal (told.readies, 1);
    assert_int_equal (pager_in_kernel, pager);
    ok (mach_port_rename (self, control, 0x80000000));
    ok (memory_object_data_request (pager, 0x80000000, 0, vm_page_size, VM_PROT_READ));
    union any_msg msg;
    ok (receive (pager, &msg));
    assert_int_equal (msg.port.port, 0x80000000);
    ok (mach_port_mod_refs (self, pager, MACH_PORT_RIGHT_SEND, 1));
    ok (memory_object_terminate (pager, 0x80000000, object_name));
    assert_int_equal (type_of (0x80000000), MACH_PORT_TYPE_SEND);
    ok (receive (pager, &msg));
    assert_int_equal (msg.head.msgh_id, 2201);
    assert_int_equal (msg.port.port, 0x80000000);
    assert_int_equal (type_of (0x80000000), MACH_PORT_TYPE_SEND_RECEIVE);
    ok (mach_port_destroy (self, 0x80000000));
    ok (mach_port_destroy (self, object_name));
    ok (mach_port_destroy (self, pager));
}

static void
a_dead_kernel_is_noticed (void **state)
{
    (void) state;
    start (hostmach_task_create ("kernel"));
    mach_port_t previous;
    ok (mach_port_request_notification (self, client, MACH_NOTIFY_DEAD_NAME, 1, pager, MACH_MSG_TYPE_MAKE_SEND_ONCE,
                                        &previous));
    ok (mach_port_request_notification (self, pager, MACH_NOTIFY_NO_SENDERS, 0, pager, MACH_MSG_TYPE_MAKE_SEND_ONCE,
                                        &previous));
    hostmach_task_destroy (kernel);
    kernel = NULL;
    mach_msg_id_t a = next_id (pager), b = next_id (pager);
    assert_true ((a == MACH_NOTIFY_DEAD_NAME && b == MACH_NOTIFY_NO_SENDERS)
                 || (b == MACH_NOTIFY_DEAD_NAME && a == MACH_NOTIFY_NO_SENDERS));
    gives (MACH_SEND_INVALID_DEST, memory_object_ready (client, TRUE, 0));
    stop ();
}

int
main (void)
{
    const struct CMUnitTest tests[] = {
        rule (supplies_move_their_pages_to_the_kernel), rule (lock_requests_are_answered_in_order),
        rule (get_attributes_is_a_call), rule (unknown_requests_are_destroyed), rule (returns_bring_data_and_flags),
        rule (terminate_moves_the_receive_rights), rule (pager_and_kernel_may_share_a_task),
        rule (a_dead_kernel_is_noticed),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
