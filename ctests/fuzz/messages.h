/* messages.h - what MIG's stubs that make the fuzzer's messages are compiled with: they hand each message to messages.c instead of
   sending it. */

#ifndef FUZZ_MESSAGES_H
#define FUZZ_MESSAGES_H

#include <mach/message.h>

mach_msg_return_t messages_take(mach_msg_header_t *message, mach_msg_option_t option, mach_msg_size_t send_size,
                                mach_msg_size_t receive_size, mach_port_t receive_name, mach_msg_timeout_t timeout,
                                mach_port_t notify);

#endif
