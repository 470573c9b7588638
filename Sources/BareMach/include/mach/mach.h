/* <mach/mach.h>: types, messages, ports, memory.  */

#ifndef BAREMACH_MACH_MACH_H
#define BAREMACH_MACH_MACH_H

#include <mach/boolean.h>
#include <mach/kern_return.h>
#include <mach/mach_types.h>
#include <mach/message.h>
#include <mach/mig_errors.h>
#include <mach/notify.h>
#include <mach/port.h>
#include <mach/vm_inherit.h>
#include <mach/vm_prot.h>

#include <mach_init.h>
#include <mach/mach_traps.h>

/* Made by MIG.  */
#include <mach/mach_interface.h>
#include <mach/mach4.h>
#include <mach/mach_port.h>

/* Release every right and all out-of-line memory that a received message (or one that came back
   from a failed send) carries; the message buffer itself stays the caller's.  */
extern void mach_msg_destroy(mach_msg_header_t *message);

extern mach_msg_return_t mach_msg_server(boolean_t (*demux)(mach_msg_header_t *request, mach_msg_header_t *reply),
                                         mach_msg_size_t max_size, mach_port_t rcv_name);
extern mach_msg_return_t mach_msg_server_timeout(boolean_t (*demux)(mach_msg_header_t *request, mach_msg_header_t *reply),
                                                 mach_msg_size_t max_size, mach_port_t rcv_name,
                                                 mach_msg_option_t option, mach_msg_timeout_t timeout);

#endif
