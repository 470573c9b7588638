/* <mach/mig_support.h>: what MIG's stubs call.  */

#ifndef BAREMACH_MIG_SUPPORT_H
#define BAREMACH_MIG_SUPPORT_H

#include <string.h>

#include <mach/mach_types.h>
#include <mach/message.h>

/* The calling thread's reply port, made on first use; it goes with the thread.  */
extern mach_port_t mig_get_reply_port(void);
extern void mig_put_reply_port(mach_port_t port);
/* The port is in doubt (a late reply may arrive): destroy it.  */
extern void mig_dealloc_reply_port(mach_port_t port);
extern void mig_init(void *first);

extern void mig_allocate(vm_address_t *address, vm_size_t size);
extern void mig_deallocate(vm_address_t address, vm_size_t size);
extern vm_size_t mig_strncpy(char *destination, const char *source, vm_size_t length);

#endif
