/* internal.h - what the files of libports share.

   Locks, in the order in which they may be taken:
     1. ports_lock    every field of ports, buckets, classes and rpc_infos except the
                      reference counts and name_next; ports_state
     2. a stripe's lock (names.c)    the table of names

   Mach calls made under ports_lock: mach_port_request_notification,
   mach_port_insert_right, mach_port_get_receive_status, mach_port_move_member.  None of them sends a message
   to anybody but the port itself.  Receive rights are destroyed, and send-once rights
   dropped, without any lock, since that sends notifications to others.

   Invariants:
     I1  port_right is valid exactly while the name is in the table of names.
     I2  PORT_HAS_SENDRIGHTS is set exactly while the right holds a hard reference; it
         implies port_right valid.
     I3  A port whose references are all gone is never referenced again: every way to
         find one (names, lists) takes its reference with ports_try_ref, which refuses.
     I4  bucket->count and class->count fall only after clean_routine returned. */

#ifndef PORTS_INTERNAL_H
#define PORTS_INTERNAL_H

#include <hurd/ports.h>

#include <mach.h>

#include "locks.h"

#pragma GCC visibility push(hidden)

/* A private bit of port_info.flags: the port was never given to its user, so that its end
   is not announced to clean_routine. */
#define PORT_STILLBORN 0x0002

extern ports_mutex_t ports_lock;
/* Broadcast when a call ends that somebody waits for, an inhibition or a ban on new
   ports is lifted, or a port loses its right. */
extern ports_cond_t ports_changed;

struct ports_state {
    int flags;
    int rpcs;
    struct rpc_info *all_rpcs;
};
extern struct ports_state ports_state;

/* references.c */
void ports_init_refs(struct port_info *port, unsigned hard);
int ports_try_ref(struct port_info *port);

/* names.c.  NAME is the port's port_right at that moment. */
void ports_name_insert(mach_port_t name, struct port_info *port);
void ports_name_remove(mach_port_t name, struct port_info *port);

/* rights.c.  With ports_lock held: make RIGHT, whose senders are as STATUS says, the
   right of PORT, which has none.  If there are senders the right takes a reference and the
   flag is set; if the notification cannot be had, neither. */
void ports_attach_right(struct port_info *port, mach_port_t right,
                        const mach_port_status_t *status);
/* With ports_lock held: take the right away from PORT and return it; *DROP becomes true
   if the right's reference must be dropped once the lock is free. */
mach_port_t ports_detach_right(struct port_info *port, int *drop);
/* Without locks: destroy a receive right, or drop a send-once right. */
void ports_kill_right(mach_port_t right);

#pragma GCC visibility pop

#endif
