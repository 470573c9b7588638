/* Stand-in for the Hurd's <mach/mig_support.h> (README.md).  */

#ifndef STANDIN_MIG_SUPPORT_H
#define STANDIN_MIG_SUPPORT_H

#include <string.h>

#include <mach/mach_types.h>
#include <mach/message.h>

extern mach_port_t mig_get_reply_port(void);
extern void mig_put_reply_port(mach_port_t port);
extern void mig_dealloc_reply_port(mach_port_t port);
extern void mig_init(void *first);
extern void mig_allocate(vm_address_t *address, vm_size_t size);
extern void mig_deallocate(vm_address_t address, vm_size_t size);

#endif
