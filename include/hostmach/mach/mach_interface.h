/* <mach/mach_interface.h>: memory, and what a pager sends to a kernel.

   The prototypes are those that MIG makes from mach.defs (a build check compares them); that file says what each
   call does. HostMach implements the vm_* calls itself; the memory_object_* calls are MIG's stubs, which send a message
   to the memory control port. mach.defs' other calls (tasks, threads) do not exist here. */

#ifndef HOSTMACH_MACH_INTERFACE_H
#define HOSTMACH_MACH_INTERFACE_H

#include <mach/kern_return.h>
#include <mach/mach_types.h>
#include <mach/message.h>
#include <mach/port.h>
#include <mach/std_types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Memory. Addresses and sizes are bytes; ranges are widened to whole pages. All tasks share one address space,
   so target_task only has to be valid. Errors: KERN_INVALID_TASK, KERN_INVALID_ARGUMENT (the range wraps around),
   KERN_INVALID_ADDRESS, KERN_NO_SPACE (a wanted address is taken), KERN_PROTECTION_FAILURE, KERN_RESOURCE_SHORTAGE.
   vm_map of a memory object needs a back end (hostmach_vm_set_backend in hostmach.h); without one it fails with
   KERN_FAILURE. */

extern kern_return_t vm_allocate (mach_port_t target_task, vm_address_t *address, vm_size_t size, boolean_t anywhere);
extern kern_return_t vm_deallocate (mach_port_t target_task, vm_address_t address, vm_size_t size);
extern kern_return_t vm_protect (mach_port_t target_task, vm_address_t address, vm_size_t size, boolean_t set_maximum,
                                 vm_prot_t new_protection);
extern kern_return_t vm_inherit (mach_port_t target_task, vm_address_t address, vm_size_t size,
                                 vm_inherit_t new_inheritance);
extern kern_return_t vm_read (mach_port_t target_task, vm_address_t address, vm_size_t size, vm_offset_t *data,
                              mach_msg_type_number_t *dataCnt);
extern kern_return_t vm_write (mach_port_t target_task, vm_address_t address, vm_offset_t data,
                               mach_msg_type_number_t dataCnt);
extern kern_return_t vm_copy (mach_port_t target_task, vm_address_t source_address, vm_size_t size,
                              vm_address_t dest_address);
extern kern_return_t vm_map (mach_port_t target_task, vm_address_t *address, vm_size_t size, vm_address_t mask,
                             boolean_t anywhere, mach_port_t memory_object, vm_offset_t offset, boolean_t copy,
                             vm_prot_t cur_protection, vm_prot_t max_protection, vm_inherit_t inheritance);

/* Pager to kernel. Errors are mach_msg's, or for memory_object_get_attributes also the kernel's. */

extern kern_return_t memory_object_ready (mach_port_t memory_control, boolean_t may_cache,
                                          memory_object_copy_strategy_t copy_strategy);
extern kern_return_t memory_object_data_supply (mach_port_t memory_control, vm_offset_t offset, vm_offset_t data,
                                                mach_msg_type_number_t dataCnt, boolean_t dataDealloc,
                                                vm_prot_t lock_value, boolean_t precious, mach_port_t reply_to);
extern kern_return_t memory_object_data_error (mach_port_t memory_control, vm_offset_t offset, vm_size_t size,
                                               kern_return_t error_value);
extern kern_return_t memory_object_data_unavailable (mach_port_t memory_control, vm_offset_t offset, vm_size_t size);
extern kern_return_t memory_object_lock_request (mach_port_t memory_control, vm_offset_t offset, vm_size_t size,
                                                 memory_object_return_t should_return, boolean_t should_flush,
                                                 vm_prot_t lock_value, mach_port_t reply_to);
extern kern_return_t memory_object_change_attributes (mach_port_t memory_control, boolean_t may_cache,
                                                      memory_object_copy_strategy_t copy_strategy,
                                                      mach_port_t reply_to);
extern kern_return_t memory_object_destroy (mach_port_t memory_control, kern_return_t reason);
extern kern_return_t memory_object_get_attributes (mach_port_t memory_control, boolean_t *object_ready,
                                                   boolean_t *may_cache,
                                                   memory_object_copy_strategy_t *copy_strategy);

#ifdef __cplusplus
}
#endif

#endif
