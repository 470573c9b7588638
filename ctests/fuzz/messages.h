/* messages.h - the parts of the target "messages". MIG's stubs that make its messages are compiled with this, too: they hand each message to
   messages.c instead of sending it. */

#ifndef FUZZ_MESSAGES_H
#define FUZZ_MESSAGES_H

#include <stdbool.h>
#include <stdint.h>

#include <mach/message.h>

mach_msg_return_t messages_take(mach_msg_header_t *message, mach_msg_option_t option, mach_msg_size_t send_size,
                                mach_msg_size_t receive_size, mach_port_t receive_name, mach_msg_timeout_t timeout,
                                mach_port_t notify);

/* A request or an unlock names no page of those in order any more. */
void messages_restrain(char *message, mach_msg_size_t size);

/* ---- direct.c ---- */

enum { CHANGES = 5 };
struct change { uint8_t at, value; };           /* a byte behind the header */

/* What happens to one message with a reply port before the demuxer gets it. */
struct direct {
    int more;                   /* bytes */
    int id;                     /* added */
    bool complex;               /* the bit changes */
    unsigned changes;
    struct change change[CHANGES];
};

void direct_clear(void);
/* For the next such message. False: there are too many. */
bool direct_add(const struct direct *direct);
/* The last one is not for any message. */
void direct_take_back(void);

#endif
