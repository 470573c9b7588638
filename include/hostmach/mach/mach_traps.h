/* <mach/mach_traps.h>: Mach's system calls other than mach_msg. */

#ifndef HOSTMACH_MACH_TRAPS_H
#define HOSTMACH_MACH_TRAPS_H

#include <mach/kern_return.h>
#include <mach/port.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The name that stands for the current task (see hostmach_task_current) as the first argument of
   mach_port_* and vm_* calls. A reserved name: it holds no reference, releasing it is a no-op, and it cannot be
   sent in a message. */
extern mach_port_t mach_task_self (void);

/* A reserved name for the host. No call takes it yet. */
extern mach_port_t mach_host_self (void);

/* A new receive right in the current task; the caller owns it. MACH_PORT_NULL: no memory. */
extern mach_port_t mach_reply_port (void);

#ifdef __cplusplus
}
#endif

#endif
