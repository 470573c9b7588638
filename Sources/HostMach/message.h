/* message.h: the two halves of mach_msg. */

#ifndef HOSTMACH_MESSAGE_H
#define HOSTMACH_MESSAGE_H

#include "internal.h"

HOSTMACH_INTERNAL mach_msg_return_t ipc_receive (mach_msg_header_t *msg, mach_msg_option_t option,
                                                 mach_msg_size_t size, mach_port_name_t name,
                                                 mach_msg_timeout_t timeout);

#endif
