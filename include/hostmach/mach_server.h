/* <hostmach/mach_server.h>: the kernel's side of mach.defs, for a kernel in user space.

   Link the static library hostmach_mach_server and define the routines you serve; they are weak otherwise
   and answer MIG_BAD_ID:

     K_memory_object_data_supply, K_memory_object_data_error, K_memory_object_data_unavailable, K_memory_object_ready,
     K_memory_object_lock_request, K_memory_object_change_attributes, K_memory_object_destroy,
     K_memory_object_get_attributes

   Prototypes (from MIG, for all of mach.defs) are in the generated <mach/mach_kernel_server.h>, which this includes. memory_control
   is the name of the receive right that the message arrived on; rights and memory in the arguments are the routine's
   if it returns KERN_SUCCESS. */

#ifndef HOSTMACH_MACH_SERVER_H
#define HOSTMACH_MACH_SERVER_H

#include <mach/mach_types.h>
#include <mach/message.h>
#include <mach/mig_errors.h>
#include <mach/std_types.h>

#ifdef __cplusplus
extern "C" {
#endif

#include <mach/mach_kernel_server.h>

/* Takes a received message apart and calls its routine. FALSE: not a message of mach.defs, *out holds a MIG_BAD_ID reply.
   TRUE: *out holds the reply; mig_reply_header_t's RetCode is the routine's result. One-way messages (all but
   get_attributes) get no reply: if RetCode is not KERN_SUCCESS and not MIG_NO_REPLY, mach_msg_destroy
   the request, else leave it. out must have room for 512 bytes. */
boolean_t hostmach_mach_server (mach_msg_header_t *in, mach_msg_header_t *out);

/* The same as a handler for hostmach_port_set_handler: serves the message, sends the reply if one is due, destroys what was
   refused. The cookie is not used. */
void hostmach_mach_server_handler (mach_msg_header_t *msg, void *cookie);

#ifdef __cplusplus
}
#endif

#endif
