/* <mach/mach_traps.h>: Mach's system calls other than mach_msg.  */

#ifndef BAREMACH_MACH_TRAPS_H
#define BAREMACH_MACH_TRAPS_H

#include <mach/kern_return.h>
#include <mach/port.h>

/* Names that the task keeps; no call adds a reference.  */
extern mach_port_t mach_task_self(void);
extern mach_port_t mach_thread_self(void);
extern mach_port_t mach_host_self(void);

/* A new receive right; the caller owns it.  */
extern mach_port_t mach_reply_port(void);

extern boolean_t swtch_pri(int priority);
extern kern_return_t thread_switch(mach_port_t thread, int option, mach_msg_timeout_t option_time);

#endif
