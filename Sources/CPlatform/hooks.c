/* The functions that a translator may define and need not.  */

#include "engine.h"

/* Not able to write several pages at once: the caller goes on page by page.  */
__attribute__((weak)) error_t
pager_write_pages(struct user_pager_info *pager, vm_offset_t offset, vm_address_t data, vm_size_t length,
                  vm_size_t *written)
{
    (void) pager, (void) offset, (void) data, (void) length;
    *written = 0;
    return EOPNOTSUPP;
}

/* The same for reading.  */
__attribute__((weak)) error_t
pager_read_pages(struct user_pager_info *pager, vm_offset_t offset, vm_size_t length, vm_address_t *buf, vm_size_t *read,
                 int *write_lock)
{
    (void) pager, (void) offset, (void) length, (void) buf, (void) write_lock;
    *read = 0;
    return EOPNOTSUPP;
}

/* Copy strategy CALL is not served.  Whoever copies waits on the new object, so it must go.  */
__attribute__((weak)) kern_return_t
_pager_S_memory_object_copy(pager_t pager, mach_port_t control, vm_offset_t offset, vm_size_t length,
                            mach_port_t new_memory_object)
{
    (void) offset, (void) length;
    if (MACH_PORT_VALID(control))
        mach_port_deallocate(mach_task_self(), control);
    if (MACH_PORT_VALID(new_memory_object))
        pager_drop_receive_right(new_memory_object);
    pager_refuse_copy(pager);
    return KERN_SUCCESS;
}

/* The library never asks for it.  */
__attribute__((weak)) kern_return_t
_pager_S_memory_object_supply_completed(pager_t pager, mach_port_t control, vm_offset_t offset, vm_size_t length,
                                        kern_return_t result, vm_offset_t error_offset)
{
    (void) offset, (void) length, (void) result, (void) error_offset;
    if (MACH_PORT_VALID(control))
        mach_port_deallocate(mach_task_self(), control);
    pager_refuse_supply_completed(pager);
    return KERN_SUCCESS;
}
