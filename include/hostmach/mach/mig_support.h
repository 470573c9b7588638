/* <mach/mig_support.h>: what MIG's stubs call. */

#ifndef HOSTMACH_MIG_SUPPORT_H
#define HOSTMACH_MIG_SUPPORT_H

#include <string.h>

#include <mach/message.h>
#include <mach/mach_types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The calling thread's reply port in its current task, made on first use; HostMach destroys it when the thread ends. */
extern mach_port_t mig_get_reply_port (void);
/* The thread is done with the port for now; it stays for the next call. */
extern void mig_put_reply_port (mach_port_t port);
/* The port is in doubt (a late reply may arrive): destroy it. */
extern void mig_dealloc_reply_port (mach_port_t port);
extern void mig_init (void *first);

/* Out-of-line memory for a reply, and its release. *address is 0 if there is no memory. */
extern void mig_allocate (vm_address_t *address, vm_size_t size);
extern void mig_deallocate (vm_address_t address, vm_size_t size);

/* Copy at most length bytes with the final NUL; the number of bytes copied, without the NUL. */
extern vm_size_t mig_strncpy (char *destination, const char *source, vm_size_t length);

#ifdef __cplusplus
}
#endif

#endif
