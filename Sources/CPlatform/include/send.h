/* What MIG's stubs for messages to control ports are compiled with (send.c).  */

#ifndef LIBPAGER_SEND_H
#define LIBPAGER_SEND_H

#include <mach/message.h>

mach_msg_return_t pager_send_control(mach_msg_header_t *message, mach_msg_option_t option, mach_msg_size_t send_size,
                                     mach_msg_size_t receive_size, mach_port_t receive_name,
                                     mach_msg_timeout_t timeout, mach_port_t notify);

#endif
