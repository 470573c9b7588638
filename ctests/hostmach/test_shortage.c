/* Memory runs out at every possible place of a scenario: each step fails with a defined error or works, and nothing leaks. */

#include "hm_test.h"

/* ---- A scenario gives up rights by what it has, not by what it expects, so it can be cut short anywhere. ---- */

static void
destroy_if (mach_port_t name)
{
    if (MACH_PORT_VALID (name) && type_of (name) != 0)
        mach_port_destroy (self, name);
}

static void
handle (mach_msg_header_t *msg, void *cookie)
{
    (void) cookie;
    mach_msg_destroy (msg);
}

static bool
defined (mach_msg_return_t mr)
{
    switch (mr) {
    case MACH_MSG_SUCCESS:
    case KERN_RESOURCE_SHORTAGE:
    case MACH_SEND_NO_BUFFER:
    case MACH_SEND_INVALID_MEMORY | MACH_MSG_VM_KERNEL:
    case MACH_RCV_HEADER_ERROR | MACH_MSG_IPC_KERNEL:
    case MACH_RCV_BODY_ERROR | MACH_MSG_IPC_KERNEL:
    case MACH_RCV_TIMED_OUT:      /* the message was never sent */
    case MACH_RCV_INVALID_NAME:   /* the port was never made */
    case MACH_SEND_INVALID_DEST:
    case MACH_SEND_INVALID_RIGHT:
    case KERN_INVALID_NAME:
        return true;
    default:
        return false;
    }
}

#define step(call)                                                                                                     \
    do {                                                                                                               \
        kern_return_t result_ = (call);                                                                                \
        if (!defined (result_))                                                                                        \
            fail_msg ("%s: %#x", #call, result_);                                                                      \
    } while (0)

static void
messages (mach_port_t to, mach_port_t from, mach_port_t carried)
{
    mach_port_t array[3] = { carried, carried, carried };
    char text[100] = "text";
    union any_msg msg;
#pragma pack(push, 4)
    struct {
        mach_msg_header_t head;
        mach_msg_type_t types;
        mach_port_t ports[6];
        mach_msg_type_long_t array_type;
        vm_address_t array;
        mach_msg_type_long_t data_type;
        vm_address_t data;
    } out = { header_to (to, MACH_MSG_TYPE_COPY_SEND, 1, sizeof out),
              short_type (MACH_MSG_TYPE_MAKE_SEND_ONCE, 32, 6),
              { carried, carried, carried, carried, carried, carried },
              memory_type (MACH_MSG_TYPE_MAKE_SEND_ONCE, 32, 3, false),
              (vm_address_t) array,
              memory_type (MACH_MSG_TYPE_BYTE, 8, sizeof text, false),
              (vm_address_t) text };
#pragma pack(pop)
    out.head.msgh_bits
        = MACH_MSGH_BITS_COMPLEX | MACH_MSGH_BITS (MACH_MSG_TYPE_COPY_SEND, MACH_MSG_TYPE_MAKE_SEND_ONCE);
    out.head.msgh_local_port = carried;
    step (send_msg (&out, sizeof out));
    mach_msg_return_t mr = receive (from, &msg);
    step (mr);
    if (mr == MACH_MSG_SUCCESS || (mr & ~MACH_MSG_MASK) == MACH_RCV_BODY_ERROR)
        mach_msg_destroy (&msg.head);
}

static void
scenario (void)
{
    mach_port_t port = 0, set = 0, carried = 0, out = 0, control = 0, proxy = 0, previous = 0;
    hostmach_task_t task = hostmach_task_create ("t");
    step (mach_port_allocate (self, MACH_PORT_RIGHT_RECEIVE, &port));
    step (mach_port_allocate (self, MACH_PORT_RIGHT_PORT_SET, &set));
    step (mach_port_allocate (self, MACH_PORT_RIGHT_RECEIVE, &carried));
    step (mach_port_insert_right (self, port != 0 ? port : 1, port != 0 ? port : 1, MACH_MSG_TYPE_MAKE_SEND));
    if (port != 0 && carried != 0) {
        messages (port, port, carried);
        step (mach_port_request_notification (self, port, MACH_NOTIFY_NO_SENDERS, 0, port, MACH_MSG_TYPE_MAKE_SEND_ONCE,
                                              &previous));
        step (mach_port_request_notification (self, port, MACH_NOTIFY_DEAD_NAME, 0, carried,
                                              MACH_MSG_TYPE_MAKE_SEND_ONCE, &previous));
        mach_port_t second = 0;
        step (mach_port_request_notification (self, port, MACH_NOTIFY_NO_SENDERS, 0, carried,
                                              MACH_MSG_TYPE_MAKE_SEND_ONCE, &second));
        destroy_if (second);
    }
    if (task != NULL) {
        hostmach_task_enter (task);
        step (mach_port_allocate (self, MACH_PORT_RIGHT_RECEIVE, &control));
        if (control != 0)
            step (hostmach_port_set_handler (control, handle, NULL));
        hostmach_task_enter (NULL);
        if (control != 0)
            step (hostmach_copy_send (task, control, hostmach_task_main (), &out));
        if (out != 0 && carried != 0) {
            messages (out, MACH_PORT_NULL, carried);
            mach_port_t object = out;
            vm_offset_t zero = 0;
            vm_size_t size = vm_page_size;
            step (memory_object_create_proxy (self, VM_PROT_READ, &object, MACH_MSG_TYPE_COPY_SEND, 1, &zero, 1, &zero, 1,
                                              &size, 1, &proxy));
        }
    }
    mach_port_name_array_t names;
    mach_port_type_array_t types;
    mach_msg_type_number_t count, type_count;
    if (mach_port_names (self, &names, &count, &types, &type_count) == KERN_SUCCESS) {
        vm_deallocate (self, (vm_address_t) names, count * sizeof *names);
        vm_deallocate (self, (vm_address_t) types, count * sizeof *types);
    }
    vm_address_t page = 0;
    if (vm_allocate (self, &page, 40 * vm_page_size, TRUE) == KERN_SUCCESS)
        vm_deallocate (self, page, 40 * vm_page_size);
    mig_get_reply_port ();
    mig_dealloc_reply_port (MACH_PORT_NULL);
    destroy_if (proxy);
    destroy_if (out);
    hostmach_task_destroy (task);
    destroy_if (out);
    destroy_if (set);
    destroy_if (port);
    destroy_if (carried);
    destroy_if (port);
}

/* After a cut, whatever names are left in the main task go; then the counts must be as before. */
static void
sweep (void)
{
    struct hostmach_right rights[64];
    size_t count = hostmach_list_rights (hostmach_task_main (), rights, 64);
    for (size_t i = 0; i < count; i++)
        mach_port_destroy (self, rights[i].name);
}

static void
run_with (unsigned (*inject) (unsigned skip, unsigned count), unsigned howmany)
{
    assert_int_equal (hostmach_list_rights (hostmach_task_main (), NULL, 0), 0);
    scenario ();
    sweep ();
    for (unsigned skip = 0;; skip++) {
        unsigned struck = hostmach_faults_struck ();
        inject (skip, howmany);
        scenario ();
        inject (0, 0);
        sweep ();
        assert_int_equal (hostmach_port_count (), counts_before.ports);
        assert_int_equal (hostmach_message_count (), counts_before.messages);
        assert_int_equal (hostmach_vm_bytes (), counts_before.bytes);
        if (hostmach_faults_struck () == struck) {
            assert_in_range (skip, 5, 1000);
            return;
        }
    }
}

static void
one_failed_allocation_anywhere (void **state)
{
    (void) state;
    run_with (hostmach_fail_memory, 1);
}

static void
all_allocations_fail_from_anywhere_on (void **state)
{
    (void) state;
    run_with (hostmach_fail_memory, ~0u);
}

static void
one_failed_page_anywhere (void **state)
{
    (void) state;
    run_with (hostmach_fail_vm, 1);
}

/* ---- Who is struck ---- */

static void
take (mach_msg_header_t *msg, void *cookie)
{
    mach_port_t *carried = cookie;
    *carried = ((struct port_msg *) msg)->port;
    mach_msg_destroy (msg);
}

/* What is sent to a kernel-like task, and what it sends, goes through whatever is short for it; the sender's own memory may fail. */
static void
kernels_are_passed_over (void **state)
{
    (void) state;
    mach_port_t seen = MACH_PORT_NULL, control, out, carried = new_port (), port = new_port (), to_port;
    hostmach_task_t kernel = hostmach_task_create ("kernel");
    hostmach_task_enter (kernel);
    control = new_port ();
    ok (hostmach_port_set_handler (control, take, &seen));
    hostmach_task_enter (NULL);
    ok (hostmach_copy_send (kernel, control, hostmach_task_main (), &out));
    ok (hostmach_copy_send (hostmach_task_main (), port, kernel, &to_port));
    union any_msg msg;
    unsigned lost = hostmach_rights_lost ();

    /* The message itself is allocated first: skip that. Not a kernel yet: no name for the right. */
    hostmach_fail_memory (1, 1);
    ok (send_port (out, MACH_MSG_TYPE_COPY_SEND, carried, MACH_MSG_TYPE_MAKE_SEND));
    assert_int_equal (seen, MACH_PORT_NULL);
    assert_int_equal (hostmach_rights_lost () - lost, 1);

    hostmach_task_set_kernel (kernel, TRUE);
    hostmach_fail_memory (1, ~0u);
    hostmach_fail_vm (0, ~0u);
    ok (send_port (out, MACH_MSG_TYPE_COPY_SEND, carried, MACH_MSG_TYPE_MAKE_SEND));
    assert_true (MACH_PORT_VALID (seen));
    hostmach_task_enter (kernel);
    vm_address_t page;
    ok (vm_allocate (self, &page, vm_page_size, TRUE));
    ok (vm_deallocate (self, page, vm_page_size));
    ok (send_port (to_port, MACH_MSG_TYPE_COPY_SEND, control, MACH_MSG_TYPE_MAKE_SEND_ONCE));
    hostmach_task_enter (NULL);
    gives (KERN_RESOURCE_SHORTAGE, vm_allocate (self, &page, vm_page_size, TRUE));
    gives (MACH_SEND_NO_BUFFER, send_port (out, MACH_MSG_TYPE_COPY_SEND, carried, MACH_MSG_TYPE_MAKE_SEND));
    assert_int_equal (hostmach_rights_lost () - lost, 1);
    /* The receiver of what the kernel sent is no kernel. */
    gives (MACH_RCV_BODY_ERROR | MACH_MSG_IPC_KERNEL, receive (port, &msg));
    assert_int_equal (hostmach_rights_lost () - lost, 2);
    hostmach_fail_memory (0, 0);
    hostmach_fail_vm (0, 0);

    hostmach_task_destroy (kernel);
    ok (mach_port_destroy (self, out));
    ok (mach_port_destroy (self, port));
    ok (mach_port_destroy (self, carried));
}

int
main (void)
{
    const struct CMUnitTest tests[] = {
        rule (one_failed_allocation_anywhere), rule (all_allocations_fail_from_anywhere_on),
        rule (one_failed_page_anywhere), rule (kernels_are_passed_over),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
