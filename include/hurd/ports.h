/* hurd/ports.h - management of receive rights: the Hurd's libports interface, for
   systems that have none.

   A *port* is a block of memory, made by the user, that begins with struct port_info
   and owns one receive right.  A *bucket* is a port set: the ports one server loop
   listens to.  A *class* says what a port is and how it ends.

   References.  A port has hard and weak references.
     - ports_create_port and ports_import_port give one hard reference to the caller.
     - While send rights exist (the library was told so by ports_get_right), the right
       itself holds one hard reference.  The no-senders notification drops it, and so
       do ports_destroy_right, ports_claim_right and ports_reallocate_port.
     - When the last hard reference goes while weak ones remain, the class's
       dropweak_routine runs; it should let go of the weak references.
     - When no reference of either sort is left, the port leaves its bucket and class,
       its receive right is destroyed, clean_routine runs (exactly once) and the memory
       is freed.

   Unless it says otherwise, a function here may be called from any thread; none of
   them may be called with a pointer to which the caller has no reference.  No lock of
   the library is held while clean_routine, dropweak_routine, a demuxer, a hook or an
   iteration function runs: each may call back into this interface.

   All ports of one process must belong to one Mach task.  docs/ports.md lists the
   differences from the Hurd's library.  */

#ifndef _HURD_PORTS_
#define _HURD_PORTS_ 1

#include <errno.h>
#include <stddef.h>

#include <mach/boolean.h>
#include <mach/kern_return.h>
#include <mach/message.h>
#include <mach/mig_errors.h>
#include <mach/notify.h>
#include <mach/port.h>

#ifndef __error_t_defined
#define __error_t_defined 1
typedef int error_t;
#endif

/* Counts of references, both sorts in one word so that they change together.
   Private to the library.  */
typedef struct {
    /* Low half: hard, high half: weak.  Aligned also where 64-bit numbers are not, so that the processor changes both at once.  */
    unsigned long long counts __attribute__((aligned(8)));
} ports_refcounts_t;

/* The head of every port.  Users embed it at the start of their own structure and read
   at most CLASS, BUCKET and PORT_RIGHT.  */
struct port_info {
    struct port_class *class;
    ports_refcounts_t refcounts;
    mach_port_mscount_t mscount;        /* send rights that ports_get_right promised */
    mach_msg_seqno_t cancel_threshold;  /* kept for compatibility: not used */
    int flags;
    mach_port_t port_right;             /* receive right; MACH_PORT_NULL once gone */
    struct rpc_info *current_rpcs;
    struct port_bucket *bucket;
    /* Links, private: the bucket's and the class's lists, the table of names.  */
    struct port_info *bucket_next, **bucket_prevp;
    struct port_info *class_next, **class_prevp;
    struct port_info *name_next;
};
typedef struct port_info *port_info_t;

/* Bits of port_info.flags.  */
#define PORT_HAS_SENDRIGHTS 0x0001  /* the right holds a hard reference */
#define PORT_INHIBITED      PORTS_INHIBITED
#define PORT_BLOCKED        PORTS_BLOCKED
#define PORT_INHIBIT_WAIT   PORTS_INHIBIT_WAIT

/* A set of ports that one server loop receives from.  PORTSET is public.  */
struct port_bucket {
    mach_port_t portset;
    int rpcs;                   /* calls under way on ports of this bucket */
    int flags;
    int count;                  /* ports in this bucket */
    struct port_info *ports;    /* private */
};
#define PORT_BUCKET_INHIBITED    PORTS_INHIBITED
#define PORT_BUCKET_BLOCKED      PORTS_BLOCKED
#define PORT_BUCKET_INHIBIT_WAIT PORTS_INHIBIT_WAIT
#define PORT_BUCKET_NO_ALLOC     PORTS_NO_ALLOC
#define PORT_BUCKET_ALLOC_WAIT   PORTS_ALLOC_WAIT

/* A range of message ids, START included, END not.  */
struct ports_msg_id_range {
    mach_msg_id_t start, end;
    struct ports_msg_id_range *next;
};

/* Calls that no inhibition holds back, for every class that does not name its own.
   To be changed before the first message is served.  */
extern struct ports_msg_id_range *ports_default_uninhibitable_rpcs;

/* What a port is.  UNINHIBITABLE_RPCS may be changed before the first message.  */
struct port_class {
    int flags;
    int rpcs;                   /* calls under way on ports of this class */
    int count;                  /* ports of this class */
    void (*clean_routine)(void *);
    void (*dropweak_routine)(void *);
    struct ports_msg_id_range *uninhibitable_rpcs;
    struct port_info *ports;    /* private */
};
#define PORT_CLASS_INHIBITED    PORTS_INHIBITED
#define PORT_CLASS_BLOCKED      PORTS_BLOCKED
#define PORT_CLASS_INHIBIT_WAIT PORTS_INHIBIT_WAIT
#define PORT_CLASS_NO_ALLOC     PORTS_NO_ALLOC
#define PORT_CLASS_ALLOC_WAIT   PORTS_ALLOC_WAIT

/* One call under way; lives on the stack of the thread that serves it.  */
struct rpc_info {
    const void *thread;         /* identity of that thread; private, as all that follows */
    struct rpc_info *next, **prevp;
    int interrupted;
    struct port_info *port;
    struct rpc_info *all_next, **all_prevp;
};

/* Flags common to ports, classes, buckets and the whole library.  */
#define PORTS_INHIBITED    0x0100   /* new calls wait */
#define PORTS_BLOCKED      0x0200   /* somebody waits to begin a call */
#define PORTS_INHIBIT_WAIT 0x0400   /* somebody waits for calls to end */
#define PORTS_NO_ALLOC     0x0800   /* new ports wait */
#define PORTS_ALLOC_WAIT   0x1000   /* somebody waits to make a port */


/* ---- Buckets and classes ---- */

/* Make a bucket with an empty port set.  NULL with errno set if that fails.  */
struct port_bucket *ports_create_bucket(void);

/* Make a class.  CLEAN_ROUTINE, or NULL, is called with a port to which no reference is
   left, before its memory is freed.  DROPWEAK_ROUTINE, or NULL, is called with a port
   that has lost its last hard reference while weak ones remain; it may be called again
   if a lookup made the port hard once more.  NULL with errno set if memory is short.  */
struct port_class *ports_create_class(void (*clean_routine)(void *),
                                      void (*dropweak_routine)(void *));

/* Extensions.  Free BUCKET and its port set, or CLASS.  EBUSY while it has ports.
   A server loop on the bucket returns.  Nobody may use the pointer afterwards.  */
error_t ports_destroy_bucket(struct port_bucket *bucket);
error_t ports_destroy_class(struct port_class *class);


/* ---- Making ports ---- */

/* Make a port of SIZE bytes (at least sizeof(struct port_info)), of CLASS, in BUCKET,
   with a new receive right in the bucket's port set, and store its address in
   *(void **)RESULT.  The bytes behind struct port_info are zero.  The caller has one
   hard reference.  Waits while ports_count_class or ports_count_bucket is in force.
   Errors: ENOMEM, EINVAL, or what mach_port_allocate says.  */
error_t ports_create_port(struct port_class *class, struct port_bucket *bucket,
                          size_t size, void *result);

/* The same, but the right is not put into the port set: no message is received until
   the caller does that with mach_port_move_member.  */
error_t ports_create_port_noinstall(struct port_class *class, struct port_bucket *bucket,
                                    size_t size, void *result);

/* The same with the receive right PORT, which is the library's afterwards (not on
   error).  If PORT has send rights they count: the port then has a second hard
   reference, dropped by no-senders.  */
error_t ports_import_port(struct port_class *class, struct port_bucket *bucket,
                          mach_port_t port, size_t size, void *result);


/* ---- The receive right ---- */

/* The name of PORT's receive right, from which the caller must make exactly one send
   right (MACH_MSG_TYPE_MAKE_SEND).  Counts as "send rights exist": the first call
   requests the no-senders notification and takes a hard reference for the right.
   MACH_PORT_NULL if the right is gone, or the notification cannot be had (no memory).  */
mach_port_t ports_get_right(void *port);

/* A send right of the caller's own, to be freed with mach_port_deallocate.
   MACH_PORT_NULL in the same cases.  */
mach_port_t ports_get_send_right(void *port);

/* Destroy PORT's receive right now: its queue is lost, senders get dead names, lookups
   fail.  References other than the right's own stay.  No error if it is gone.  */
void ports_destroy_right(void *port);

/* Give PORT a new receive right in place of the present one, which is destroyed.  If
   none can be had, the port has no right afterwards.  */
void ports_reallocate_port(void *port);

/* The same with RECEIVE as the new right; it is consumed.  */
void ports_reallocate_from_external(void *port, mach_port_t receive);

/* Take PORT's receive right out of the library and return its name, no longer in any
   port set.  MACH_PORT_NULL if there is none.  */
mach_port_t ports_claim_right(void *port);

/* Move FROM's receive right to TO, whose own is destroyed; FROM has none afterwards.
   EINVAL if FROM has none.  */
error_t ports_transfer_right(void *to, void *from);


/* ---- Lookup and references ---- */

/* The port whose receive right is named PORT, with one more hard reference (drop it
   with ports_port_deref), or NULL.  BUCKET and CLASS, unless NULL, must match.  Takes
   one short lock, shared with few other names.  */
void *ports_lookup_port(struct port_bucket *bucket, mach_port_t port,
                        struct port_class *class);

/* The same by address: PAYLOAD is the port as an integer.  An address that is no port
   is refused.  Slow: searches all ports that have a right.  */
void *ports_lookup_payload(struct port_bucket *bucket, unsigned long payload,
                           struct port_class *class);

/* Add and drop hard and weak references.  Dropping may run the class's routines in
   this thread.  */
void ports_port_ref(void *port);
void ports_port_deref(void *port);
void ports_port_ref_weak(void *port);
void ports_port_deref_weak(void *port);


/* ---- Calls under way ---- */

/* A thread begins to serve message MSGID on PORT; INFO is the caller's and must live
   until ports_end_rpc.  Waits while the port, its class, its bucket or everything is
   inhibited, unless MSGID is uninhibitable.  EOPNOTSUPP: the receive right is gone.  */
error_t ports_begin_rpc(void *port, mach_msg_id_t msgid, struct rpc_info *info);

/* It is done.  Same thread, same INFO.  */
void ports_end_rpc(void *port, struct rpc_info *info);

/* Interrupt the calls under way (see ports_interrupt_rpcs), wait until all but the
   caller's own have ended, and hold back new ones.  While it waits, calls still begin:
   a call under way may need another one to end.  EBUSY: inhibited already, or being
   so.  */
error_t ports_inhibit_port_rpcs(void *port);
error_t ports_inhibit_class_rpcs(struct port_class *class);
error_t ports_inhibit_bucket_rpcs(struct port_bucket *bucket);
error_t ports_inhibit_all_rpcs(void);

/* Let them go on.  The object must be inhibited.  */
void ports_resume_port_rpcs(void *port);
void ports_resume_class_rpcs(struct port_class *class);
void ports_resume_bucket_rpcs(struct port_bucket *bucket);
void ports_resume_all_rpcs(void);

/* Mark the calls that other threads serve on PORT as interrupted.  Limited: a thread
   notices only when it asks ports_self_interrupted; nothing it waits for is cut off.  */
void ports_interrupt_rpcs(void *port);

/* Nonzero once if a call served by this thread was interrupted since it last asked.  */
int ports_self_interrupted(void);


/* ---- Counting and iterating ---- */

/* Hold back the creation of ports and return how many there are.  Undo it with the
   enable function, unless the count was what the caller hoped for.  */
int ports_count_class(struct port_class *class);
int ports_count_bucket(struct port_bucket *bucket);
void ports_enable_class(struct port_class *class);
void ports_enable_bucket(struct port_bucket *bucket);

/* Call FUN with each port that is there now, with a reference held, until one call
   returns nonzero, which is then returned.  ENOMEM if the list cannot be built (FUN is
   then not called).  */
error_t ports_bucket_iterate(struct port_bucket *bucket, error_t (*fun)(void *port));
error_t ports_class_iterate(struct port_class *class, error_t (*fun)(void *port));


/* ---- Serving ---- */

/* Serve the message INP: write a reply into OUTP (room for 8192 bytes) and return nonzero; or
   return zero for a message that is not known.  A reply code of MIG_NO_REPLY sends
   nothing and leaves the message's rights and memory to the demuxer.  */
typedef int (*ports_demuxer_type)(mach_msg_header_t *inp, mach_msg_header_t *outp);

/* Receive messages on BUCKET and serve them, in this thread, until none came for
   TIMEOUT milliseconds (0: for ever) or the port set is gone.  */
void ports_manage_port_operations_one_thread(struct port_bucket *bucket,
                                             ports_demuxer_type demuxer, int timeout);

/* The same with as many threads as are needed for one to be free to receive.  A thread
   that waited THREAD_TIMEOUT milliseconds (0: for ever) for a message ends, if
   another one receives.  Returns when no message came to this thread for
   GLOBAL_TIMEOUT milliseconds (0: never) and it is the only one left; or, with all
   threads ended, when the port set is gone.  HOOK, or NULL, runs in each new thread, this
   one included, before it receives.  If no thread can be made, goes on with those
   there are.  */
void ports_manage_port_operations_multithread(struct port_bucket *bucket,
                                              ports_demuxer_type demuxer,
                                              int thread_timeout, int global_timeout,
                                              void (*hook)(void));


/* ---- Notifications ---- */

/* The last send right of PORT may be gone; MSCOUNT comes from the notification.  Drops
   the right's reference, or asks for another notification if send rights have been
   promised since.  */
void ports_no_senders(void *port, mach_port_mscount_t mscount);

/* DEAD_NAME died, as was requested for the port NOTIFY.  Does nothing; a program may
   define its own function of this name.  */
void ports_dead_name(void *notify, mach_port_t dead_name);

/* Ask for a dead-name notification for NAME, sent to OBJECT's right.  *PREVIOUS becomes
   the send-once right that was registered before, or MACH_PORT_NULL; the caller owns it.
   The send-once right holds no reference to OBJECT.  */
error_t ports_request_dead_name_notification(void *object, mach_port_t name,
                                             mach_port_t *previous);

/* Demultiplex a notification (ids 64 to 72) to the functions below: nonzero if it was
   one.  For use inside a demuxer, also by routine.  */
boolean_t ports_notify_server(mach_msg_header_t *inp, mach_msg_header_t *outp);
mig_routine_t ports_notify_server_routine(const mach_msg_header_t *inp);

/* What is done about each; PORT is the port that got the message (or NULL: EOPNOTSUPP).
   No-senders goes to ports_no_senders; dead-name goes to ports_dead_name, and the reference that
   the notification carries is dropped; send-once is ignored; the others are EOPNOTSUPP.  */
kern_return_t ports_do_mach_notify_no_senders(struct port_info *port,
                                              mach_port_mscount_t count);
kern_return_t ports_do_mach_notify_dead_name(struct port_info *port,
                                             mach_port_name_t dead_name);
kern_return_t ports_do_mach_notify_port_deleted(struct port_info *port,
                                                mach_port_name_t name);
kern_return_t ports_do_mach_notify_msg_accepted(struct port_info *port,
                                                mach_port_name_t name);
kern_return_t ports_do_mach_notify_port_destroyed(struct port_info *port,
                                                  mach_port_t right);
kern_return_t ports_do_mach_notify_send_once(struct port_info *port);

#endif /* hurd/ports.h */
