/* Messages from the pager, taken apart by MIG's stub for mach.defs. They are executed in the sender's thread, as Mach does. The stub's
   routines get the port's name alone, so the kernel travels beside them, in a thread-local variable.  */

#include "bench_mach_S.h"
#include "service_benchmark.h"

extern boolean_t bench_mach_server(mach_msg_header_t *in, mach_msg_header_t *out);

static _Thread_local struct kernel *receiving;

void kernel_receive(mach_msg_header_t *in, void *cookie)
{
    struct kernel *outer = receiving;
    union {
        mig_reply_header_t reply;
        char bytes[512];
    } out;

    receiving = cookie;
    if (!bench_mach_server(in, &out.reply.Head))
        fail("a message that is not in mach.defs", in->msgh_id);
    if (out.reply.RetCode != KERN_SUCCESS && out.reply.RetCode != MIG_NO_REPLY)
        fail("a message that no kernel takes", in->msgh_id);
    receiving = outer;
}

kern_return_t bench_memory_object_ready(mach_port_t control, boolean_t may_cache, memory_object_copy_strategy_t copy_strategy)
{
    (void)control;
    (void)may_cache;
    (void)copy_strategy;
    kernel_is_ready(receiving);
    return KERN_SUCCESS;
}

kern_return_t bench_memory_object_data_supply(mach_port_t control, vm_offset_t offset, vm_offset_t data, mach_msg_type_number_t length,
                                              vm_prot_t lock_value, boolean_t precious, mach_port_t reply_to,
                                              mach_msg_type_name_t reply_type)
{
    (void)control;
    (void)precious;
    (void)reply_type;
    expect("reply port of data_supply", reply_to, MACH_PORT_NULL);
    kernel_is_supplied(receiving, offset, data, length, lock_value);
    vm_deallocate(mach_task_self(), data, length);
    return KERN_SUCCESS;
}

kern_return_t bench_memory_object_data_error(mach_port_t control, vm_offset_t offset, vm_size_t size, kern_return_t error)
{
    (void)control;
    (void)size;
    kernel_is_refused(receiving, offset, error);
    return KERN_SUCCESS;
}

kern_return_t bench_memory_object_lock_request(mach_port_t control, vm_offset_t offset, vm_size_t size,
                                               memory_object_return_t should_return, boolean_t should_flush, vm_prot_t lock_value,
                                               mach_port_t reply_to, mach_msg_type_name_t reply_type)
{
    (void)control;
    kernel_is_asked(receiving, offset, size, should_return, should_flush, lock_value, reply_to, reply_type);
    return KERN_SUCCESS;
}
