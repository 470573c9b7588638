/* Stand-in for the Hurd's <hurd/ports.h> (README.md): the public calls that libpager uses, and the fields that are.  The hash tables and
   the pool of threads in between are given by their size only.  */

#ifndef _HURD_PORTS_
#define _HURD_PORTS_ 1

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include <mach.h>
#include <mach/notify.h>

/* The Hurd's <errno.h> has it: an enumeration there.  */
#ifndef __error_t_defined
#define __error_t_defined 1
typedef int error_t;
#endif

struct port_info {
    struct port_class *class;
    struct { uint32_t hard, weak; } refcounts;
    mach_port_mscount_t mscount;
    mach_msg_seqno_t cancel_threshold;
    int flags;
    mach_port_t port_right;
    struct rpc_info *current_rpcs;
    struct port_bucket *bucket;
    void **bucket_entry, **table_entry;
};

struct port_bucket {
    mach_port_t portset;
    void *table[8];
    int rpcs, flags, count;
    void *threads[8];
};

struct port_class;

struct rpc_info {
    thread_t thread;
    struct rpc_info *next, **prevp;
    struct rpc_notify *notifies;
    struct rpc_info *interrupted_next;
};

struct port_class *ports_create_class(void (*clean_routine)(void *), void (*dropweak_routine)(void *));
error_t ports_create_port_noinstall(struct port_class *, struct port_bucket *, size_t size, void *result);
mach_port_t ports_claim_right(void *port);
mach_port_t ports_get_right(void *port);
mach_port_t ports_get_send_right(void *port);
void *ports_lookup_port(struct port_bucket *, mach_port_t, struct port_class *);
void ports_port_ref(void *port);
void ports_port_deref(void *port);
error_t ports_begin_rpc(void *port, mach_msg_id_t, struct rpc_info *);
void ports_end_rpc(void *port, struct rpc_info *);
int ports_notify_server(mach_msg_header_t *in, mach_msg_header_t *out);

#endif
