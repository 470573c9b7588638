/* A kernel that only counts. The program is linked with --wrap, so calls of these end here; what sets the scene (ports, notifications) is
   HostMach's own.  */

#include "engine_benchmark.h"

_Thread_local struct counts counts;

kern_return_t __wrap_mach_port_deallocate(mach_port_t task, mach_port_t name);
kern_return_t __wrap_vm_deallocate(mach_port_t task, vm_offset_t address, vm_size_t size);
mach_msg_return_t __wrap_mach_msg(mach_msg_header_t *, mach_msg_option_t, mach_msg_size_t, mach_msg_size_t, mach_port_t,
                                  mach_msg_timeout_t, mach_port_t);

kern_return_t
__wrap_mach_port_deallocate(mach_port_t task, mach_port_t name)
{
    (void) task, (void) name;
    counts.releases++;
    return KERN_SUCCESS;
}

kern_return_t
__wrap_vm_deallocate(mach_port_t task, vm_offset_t address, vm_size_t size)
{
    (void) task, (void) address, (void) size;
    counts.releases++;
    return KERN_SUCCESS;
}

mach_msg_return_t
__wrap_mach_msg(mach_msg_header_t *message, mach_msg_option_t option, mach_msg_size_t send_size, mach_msg_size_t receive_size,
                mach_port_t receive_name, mach_msg_timeout_t timeout, mach_port_t notify)
{
    (void) message, (void) option, (void) send_size, (void) receive_size, (void) receive_name, (void) timeout, (void) notify;
    counts.sends++;
    return MACH_MSG_SUCCESS;
}

#ifdef WITHOUT_STUBS

kern_return_t __wrap_pager_control_memory_object_data_supply(mach_port_t, vm_offset_t, vm_offset_t, mach_msg_type_number_t, boolean_t,
                                                             vm_prot_t, boolean_t, mach_port_t);
kern_return_t __wrap_pager_control_memory_object_data_error(mach_port_t, vm_offset_t, vm_size_t, kern_return_t);
kern_return_t __wrap_pager_control_memory_object_lock_request(mach_port_t, vm_offset_t, vm_size_t, memory_object_return_t, boolean_t,
                                                              vm_prot_t, mach_port_t);

kern_return_t
__wrap_pager_control_memory_object_data_supply(mach_port_t control, vm_offset_t offset, vm_offset_t data, mach_msg_type_number_t count,
                                               boolean_t deallocate, vm_prot_t lock_value, boolean_t precious, mach_port_t reply_to)
{
    (void) control, (void) offset, (void) data, (void) count, (void) deallocate, (void) lock_value, (void) precious, (void) reply_to;
    counts.sends++;
    return KERN_SUCCESS;
}

kern_return_t
__wrap_pager_control_memory_object_data_error(mach_port_t control, vm_offset_t offset, vm_size_t size, kern_return_t error)
{
    (void) control, (void) offset, (void) size, (void) error;
    counts.sends++;
    return KERN_SUCCESS;
}

kern_return_t
__wrap_pager_control_memory_object_lock_request(mach_port_t control, vm_offset_t offset, vm_size_t size,
                                                memory_object_return_t should_return, boolean_t should_flush, vm_prot_t lock_value,
                                                mach_port_t reply_to)
{
    (void) control, (void) offset, (void) size, (void) should_return, (void) should_flush, (void) lock_value, (void) reply_to;
    counts.sends++;
    return KERN_SUCCESS;
}

#endif
