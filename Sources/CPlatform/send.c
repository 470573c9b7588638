/* Sending to a client's control port.

   A real kernel takes a message to its control port in the sender's context, so sending never waits. But whoever maps an object may give
   any port of his as control port: one that stands for a kernel far away, with a queue that is full now and then, or one that nobody will
   ever empty. So a send waits only for a limited time, and whoever is about to wait says so first, so that others go on receiving.

   The stubs are MIG's; this is what they call instead of mach_msg.  */

#include <stdatomic.h>

#include "engine.h"
#include "send.h"
/* Declares the stubs a second time: the compiler compares.  */
#include "control_U.h"

/* Longer than any queue that somebody works at stays full.  */
enum { patience_ms = 1000 };

const mach_msg_return_t pager_send_given_up = MACH_SEND_TIMED_OUT;
/* (No send returns this.)  */
const mach_msg_return_t pager_send_lost = KERN_TERMINATED;

/* Ports that were found full for so long, each once for every client that has it.  Beyond so many, messages wait.  */
enum { HOPELESS = 64 };
static _Atomic mach_port_t hopeless[HOPELESS];

static int
exchange_hopeless(mach_port_t old, mach_port_t new)
{
    for (int i = 0; i < HOPELESS; i++) {
        mach_port_t expected = old;
        if (atomic_compare_exchange_strong(&hopeless[i], &expected, new))
            return 1;
    }
    return 0;
}

void
pager_send_hopeless(mach_port_t control, int is_hopeless)
{
    exchange_hopeless(is_hopeless ? MACH_PORT_NULL : control, is_hopeless ? control : MACH_PORT_NULL);
}

static mach_msg_return_t
without_details(mach_msg_return_t result)
{
    return result & ~MACH_MSG_MASK;
}

mach_msg_return_t
pager_send_control(mach_msg_header_t *message, mach_msg_option_t option, mach_msg_size_t send_size,
                   mach_msg_size_t receive_size, mach_port_t receive_name, mach_msg_timeout_t timeout,
                   mach_port_t notify)
{
    (void) timeout;
    mach_port_t control = message->msgh_remote_port;
    option |= MACH_SEND_TIMEOUT;
    mach_msg_return_t result = mach_msg(message, option, send_size, receive_size, receive_name, 0, notify);
    if (without_details(result) != MACH_SEND_TIMED_OUT)
        return result;
    /* The message came back with all that it carries, ready to be sent again.  */
    if (exchange_hopeless(control, control)) {
        mach_msg_destroy(message);
        return pager_send_given_up;
    }
    pager_about_to_wait();
    result = mach_msg(message, option, send_size, receive_size, receive_name, patience_ms, notify);
    if (result == MACH_MSG_SUCCESS)
        return result;
    /* What it carries came back from the first try, perhaps at other addresses and under other names than the caller knows.  */
    mach_msg_destroy(message);
    return without_details(result) == MACH_SEND_INVALID_DEST ? pager_send_lost : pager_send_given_up;
}
