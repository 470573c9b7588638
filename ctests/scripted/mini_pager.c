/* mini_pager.c - see mini_pager.h. */

#include "mini_pager.h"
#include "tp_memory_object_S.h"

extern boolean_t tp_memory_object_server(mach_msg_header_t *in, mach_msg_header_t *out);

mach_port_t pager;
mach_port_t control;
sk_kernel *kernel;
sk_object *object;

static struct event event;

static struct {
    size_t ports, rights, messages, vm_bytes;
} before;

/* Each message brings a send right to the control port; all but init's are given back. */
static void note_control(mach_port_t port)
{
    event.control = port;
    mach_port_deallocate(mach_task_self(), port);
}

kern_return_t tp_memory_object_init(mach_port_t pager_port, mach_port_t control_port,
                                    mach_port_t name, vm_size_t page_size)
{
    (void)pager_port;
    event = (struct event){ .id = SK_INIT, .control = control_port, .length = page_size };
    control = control_port;
    mach_port_deallocate(mach_task_self(), name);
    return 0;
}

kern_return_t tp_memory_object_terminate(mach_port_t pager_port, mach_port_t control_port,
                                         mach_port_t name)
{
    mach_port_deallocate(mach_task_self(), pager_port);
    event = (struct event){ .id = SK_TERMINATE, .control = control_port };
    mach_port_mod_refs(mach_task_self(), control_port, MACH_PORT_RIGHT_RECEIVE, -1);
    mach_port_mod_refs(mach_task_self(), name, MACH_PORT_RIGHT_RECEIVE, -1);
    return 0;
}

kern_return_t tp_memory_object_copy(mach_port_t pager_port, mach_port_t control_port,
                                    vm_offset_t offset, vm_size_t length, mach_port_t copy)
{
    (void)pager_port;
    event = (struct event){ .id = SK_COPY, .offset = offset, .length = length };
    note_control(control_port);
    mach_port_mod_refs(mach_task_self(), copy, MACH_PORT_RIGHT_RECEIVE, -1);
    return 0;
}

kern_return_t tp_memory_object_data_request(mach_port_t pager_port, mach_port_t control_port,
                                            vm_offset_t offset, vm_size_t length,
                                            vm_prot_t access)
{
    (void)pager_port;
    event = (struct event){ .id = SK_DATA_REQUEST, .offset = offset, .length = length,
                            .access = access };
    note_control(control_port);
    return 0;
}

kern_return_t tp_memory_object_data_unlock(mach_port_t pager_port, mach_port_t control_port,
                                           vm_offset_t offset, vm_size_t length,
                                           vm_prot_t access)
{
    (void)pager_port;
    event = (struct event){ .id = SK_DATA_UNLOCK, .offset = offset, .length = length,
                            .access = access };
    note_control(control_port);
    return 0;
}

kern_return_t tp_memory_object_lock_completed(mach_port_t pager_port,
                                              mach_port_t control_port, vm_offset_t offset,
                                              vm_size_t length)
{
    (void)pager_port;
    event = (struct event){ .id = SK_LOCK_COMPLETED, .offset = offset, .length = length };
    note_control(control_port);
    return 0;
}

kern_return_t tp_memory_object_supply_completed(mach_port_t pager_port,
                                                mach_port_t control_port, vm_offset_t offset,
                                                vm_size_t length, kern_return_t result,
                                                vm_offset_t error_offset)
{
    (void)pager_port;
    event = (struct event){ .id = SK_SUPPLY_COMPLETED, .offset = offset, .length = length,
                            .result = result, .error_offset = error_offset };
    note_control(control_port);
    return 0;
}

kern_return_t tp_memory_object_data_return(mach_port_t pager_port, mach_port_t control_port,
                                           vm_offset_t offset, vm_offset_t data,
                                           mach_msg_type_number_t length, boolean_t dirty,
                                           boolean_t kernel_copy)
{
    (void)pager_port;
    event = (struct event){ .id = SK_DATA_RETURN, .offset = offset, .length = length,
                            .dirty = dirty, .kernel_copy = kernel_copy };
    for (unsigned i = 0; i < sizeof event.first && i * PAGE < length; i++)
        event.first[i] = *(unsigned char *)(data + i * PAGE);
    vm_deallocate(mach_task_self(), data, length);
    note_control(control_port);
    return 0;
}

kern_return_t tp_memory_object_change_completed(mach_port_t pager_port, boolean_t may_cache,
                                                memory_object_copy_strategy_t strategy)
{
    (void)pager_port;
    event = (struct event){ .id = SK_CHANGE_COMPLETED, .may_cache = may_cache,
                            .copy_strategy = strategy };
    return 0;
}

union message {
    mach_msg_header_t header;
    char bytes[512];
};

static boolean_t receive(unsigned timeout_ms)
{
    union message in;
    union message out;

    memset(&in, 0, sizeof in);
    mach_msg_return_t err = mach_msg(&in.header, MACH_RCV_MSG | MACH_RCV_TIMEOUT, 0,
                                     sizeof in, pager, timeout_ms, MACH_PORT_NULL);
    if (err == MACH_RCV_TIMED_OUT)
        return FALSE;
    assert_int_equal(err, MACH_MSG_SUCCESS);
    assert_true(tp_memory_object_server(&in.header, &out.header));
    assert_int_equal(((mig_reply_header_t *)&out)->RetCode, 0);
    return TRUE;
}

boolean_t poll_event(struct event *out, unsigned timeout_ms)
{
    boolean_t found = receive(timeout_ms);
    *out = event;
    return found;
}

struct event next(mach_msg_id_t id)
{
    assert_true(receive(10000));
    assert_int_equal(event.id, id);
    return event;
}

void nothing(void)
{
    if (receive(0))
        fail_msg("unexpected message %d", event.id);
}

void supply(vm_offset_t offset, unsigned pages, unsigned char byte, vm_prot_t lock_value,
            boolean_t precious, mach_port_t reply)
{
    vm_address_t data = 0;
    assert_int_equal(vm_allocate(mach_task_self(), &data, pages * PAGE, TRUE), 0);
    for (unsigned i = 0; i < pages; i++)
        memset((void *)(data + i * PAGE), byte + (int)i, PAGE);
    assert_int_equal(memory_object_data_supply(control, offset, data,
                                               (mach_msg_type_number_t)(pages * PAGE), TRUE,
                                               lock_value, precious, reply), 0);
}

void lock(vm_offset_t offset, vm_size_t length, memory_object_return_t should_return,
          boolean_t flush, vm_prot_t lock_value)
{
    assert_int_equal(memory_object_lock_request(control, offset, length, should_return, flush,
                                                lock_value, pager), 0);
}

static void *touch_it(void *arg)
{
    struct toucher *toucher = arg;
    toucher->error = toucher->write
        ? sk_write(object, toucher->offset, &toucher->byte, 1)
        : sk_read(object, toucher->offset, &toucher->byte, 1);
    return NULL;
}

void touch(struct toucher *toucher, vm_offset_t offset, int write, unsigned char byte)
{
    *toucher = (struct toucher){ .offset = offset, .write = write, .byte = byte };
    assert_int_equal(pthread_create(&toucher->thread, NULL, touch_it, toucher), 0);
}

int touched(struct toucher *toucher)
{
    pthread_join(toucher->thread, NULL);
    return toucher->error;
}

int setup_unmapped(void **state)
{
    (void)state;
    before.ports = hostmach_port_count();
    before.rights = hostmach_list_rights(hostmach_task_main(), NULL, 0);
    before.messages = hostmach_message_count();
    before.vm_bytes = hostmach_vm_bytes();
    control = MACH_PORT_NULL;
    object = NULL;
    mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &pager);
    mach_port_insert_right(mach_task_self(), pager, pager, MACH_MSG_TYPE_MAKE_SEND);
    kernel = sk_kernel_create("test");
    return 0;
}

int setup(void **state)
{
    setup_unmapped(state);
    object = sk_map_async(kernel, pager);
    next(SK_INIT);
    assert_int_equal(memory_object_ready(control, FALSE, MEMORY_OBJECT_COPY_NONE), 0);
    assert_int_equal(sk_wait_ready(object, 0), 0);
    return 0;
}

int teardown(void **state)
{
    (void)state;
    sk_kernel_destroy(kernel);
    if (control != MACH_PORT_NULL)
        mach_port_deallocate(mach_task_self(), control);
    mach_port_deallocate(mach_task_self(), pager);
    mach_port_mod_refs(mach_task_self(), pager, MACH_PORT_RIGHT_RECEIVE, -1);
    assert_int_equal(hostmach_list_rights(hostmach_task_main(), NULL, 0), before.rights);
    assert_int_equal(hostmach_port_count(), before.ports);
    assert_int_equal(hostmach_message_count(), before.messages);
    assert_int_equal(hostmach_vm_bytes(), before.vm_bytes);
    return 0;
}
