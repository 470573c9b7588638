/* support.h - what the tests of libports share: a class that counts, and leak checks. */

#ifndef PORTS_TEST_SUPPORT_H
#define PORTS_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <pthread.h>
#include <mach.h>
#include <hostmach/hostmach.h>
#include <hurd/ports.h>

/* A port with something behind the head. */
struct thing {
    struct port_info info;
    int number;
};

extern struct port_bucket *bucket;
extern struct port_class *class;
extern int cleaned;             /* calls of the clean routine; atomic */
extern int dropped;             /* calls of the dropweak routine; atomic */
/* What the dropweak routine does besides counting; reset by setup. */
extern void (*on_dropweak)(struct thing *thing);

/* Make bucket and class; remember what exists.  Teardown checks that it is all there is again. */
int setup(void **state);
int teardown(void **state);

struct thing *new_thing(void);

/* Send a message without body to PORT (a send right of ours, kept).  REPLY: MACH_PORT_NULL, or a receive
   right to make a send-once right from. */
mach_msg_return_t send_simple(mach_port_t port, mach_msg_id_t id, mach_port_t reply);

/* Receive on PORT: the message id, or 0 after TIMEOUT_MS.  Destroys the message. */
mach_msg_id_t receive_id(mach_port_t port, unsigned timeout_ms);

/* Receive and serve one notification in BUCKET: its id, 0 if there is none. */
mach_msg_id_t serve_notification(void);

/* The number stored at COUNTER, read atomically. */
int value(int *counter);
/* Wait, for ten seconds at most, until *COUNTER is at least WANTED. */
void await(int *counter, int wanted);
void sleep_ms(unsigned ms);

#endif
