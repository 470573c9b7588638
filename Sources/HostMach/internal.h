/* internal.h: HostMach's objects and who may touch them.

   Invariants
   I1  One lock, the IPC lock, guards every name, right, port, port set, queue and task list. It is held for short,
       bounded work only (task destruction excepted): never while copying message memory, mapping pages, sleeping or
       running a handler.
   I2  Work that must not happen under the lock, or that would recurse (freeing a message destroys rights, which
       destroys messages), is put on the pending lists and done by ipc_unlock.
   I3  A port is alive (`active`) while its receive right exists: in a task (`receiver`), or in a message (`destination`
       says to which port that message goes). Memory of a port goes with its last reference: one for each name that
       denotes it, one for each right in transit, one for each in-transit receive right's destination.
   I4  No name denotes a dead port: the death of a port turns names for it into dead names at once.
   I5  srights = names with a send right + send rights in transit. sorights = the same for send-once rights, with
       those that wait in a notification request.
   I6  A task has at most one name for the send and receive rights of a port; each send-once right has a name of its own.
   I7  Queued messages have rising stamps along each queue; a member of a port set queues in the set.

   Lock order: IPC lock, then that of watches (watch.c), a leaf. The page pool's lock (vm_memory.c) is a leaf and never held together with the IPC lock. */

#ifndef HOSTMACH_INTERNAL_H
#define HOSTMACH_INTERNAL_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <hostmach.h>
#include <mach.h>

#define HOSTMACH_INTERNAL __attribute__ ((visibility ("hidden")))
#pragma GCC visibility push(hidden)

/* Names. 0x101 and 0x102 denote no entry; names that we choose start above. */
#define IPC_NAME_TASK_SELF ((mach_port_name_t) 0x101)
#define IPC_NAME_HOST_SELF ((mach_port_name_t) 0x102)
#define IPC_NAME_FIRST ((mach_port_name_t) 0x103)
#define IPC_NAMES_MAX ((size_t) 1 << 24) /* that we choose ourselves */
#define IPC_UREFS_MAX ((mach_port_urefs_t) 0xffff)

struct ipc_port;
struct ipc_pset;
struct ipc_kmsg;
struct ipc_entry;

#define IP_NULL ((struct ipc_port *) 0)
#define IP_DEAD ((struct ipc_port *) ~(uintptr_t) 0)
#define IP_VALID(port) ((port) != IP_NULL && (port) != IP_DEAD)

/* A right in transit. type: MACH_MSG_TYPE_PORT_{RECEIVE,SEND,SEND_ONCE}; 0 with IP_NULL in a header. */
struct ipc_right {
    struct ipc_port *port;
    mach_msg_type_name_t type;
};

/* ---- Waiting (lock.c) ---- */

struct ipc_sleeper; /* watch.c */

TAILQ_HEAD (ipc_waiters, ipc_waiter);
struct ipc_waiter {
    TAILQ_ENTRY (ipc_waiter) link;
    struct ipc_waiters *queue;
    struct ipc_sleeper *sleeper; /* woken by its event; NULL: by futex */
    _Atomic uint32_t woken;
    bool queued;
    mach_msg_return_t reason; /* why it was woken; 0: look again */
};

void ipc_lock (void);
void ipc_unlock (void);
/* Is there work that ipc_unlock would do? Nobody may wait before it is done. */
bool ipc_work_pending (void);
/* Waits at the queue's end until woken or until the deadline (nanoseconds of CLOCK_MONOTONIC; ~0: never). With a sleeper the thread
   serves watches meanwhile, and it may return for no reason. */
void ipc_wait (struct ipc_waiters *queue, struct ipc_waiter *waiter, uint64_t deadline, struct ipc_sleeper *sleeper);
/* The first in line; but if the calling thread itself is in line and serves a watch meanwhile, it goes first: it need not be woken. */
void ipc_wake_one (struct ipc_waiters *queue);
void ipc_wake_all (struct ipc_waiters *queue, mach_msg_return_t reason);
uint64_t ipc_deadline (bool timed, mach_msg_timeout_t timeout_ms);
bool ipc_deadline_passed (uint64_t deadline);
uint64_t ipc_deadline_left (uint64_t deadline); /* nanoseconds */
void ipc_futex_wait (_Atomic uint32_t *word, uint32_t value, uint64_t deadline);
void ipc_futex_wake (_Atomic uint32_t *word, int threads);

/* ---- What waiting threads serve (watch.c); not under the lock ---- */

bool ipc_watch_any (void); /* there are some that this thread may serve */
/* The calling thread is going to wait and may serve watches meanwhile. NULL: it may not, or there are none. */
struct ipc_sleeper *ipc_watch_begin (void);
void ipc_watch_end (struct ipc_sleeper *sleeper); /* NULL: nothing */
/* Serves until there is a wake, or the deadline, or nothing any more. False: there are no watches left, wait in another way. */
bool ipc_watch_wait (struct ipc_sleeper *sleeper, const _Atomic uint32_t *woken, uint64_t deadline);
void ipc_watch_wake (struct ipc_sleeper *sleeper);

/* ---- Messages ---- */

TAILQ_HEAD (ipc_kmsg_queue, ipc_kmsg);

enum ipc_item_kind {
    IPC_ITEM_NONE,
    IPC_ITEM_PORT,     /* a right whose name is at `offset` */
    IPC_ITEM_MEMORY,   /* out-of-line data whose address is at `offset` */
    IPC_ITEM_PORTS     /* an out-of-line array of rights whose address is at `offset` */
};

/* What a message carries besides plain bytes. */
struct ipc_item {
    uint8_t kind;
    uint8_t release_source; /* give the sender's pages back once the message is taken */
    uint16_t disposition;   /* as the sender wrote it */
    uint32_t offset;        /* into the message */
    union {
        struct ipc_right right;
        struct {
            vm_address_t address; /* where the receiver finds it; 0: empty */
            uint64_t size;        /* bytes */
            vm_address_t source;  /* where the sender had it */
            struct ipc_right *rights;
            uint32_t number;      /* of rights */
            bool moved;           /* address is the sender's own memory */
        };
    };
};

#define IPC_KMSG_ITEMS 4
#define IPC_KMSG_BYTES 440

struct ipc_kmsg {
    TAILQ_ENTRY (ipc_kmsg) link;
    uint64_t stamp;
    struct ipc_right dest, reply;
    unsigned char *body; /* header and all, `size` bytes */
    mach_msg_size_t size;
    uint32_t items_used, items_room;
    struct ipc_item *items;
    bool circular; /* carries, directly or not, the receive right of its own destination */
    hostmach_handler_t handler;
    void *cookie;
    struct hostmach_task *task;
    struct ipc_item some_items[IPC_KMSG_ITEMS];
    _Alignas (16) unsigned char some_bytes[IPC_KMSG_BYTES];
};

static inline mach_msg_header_t *
ipc_kmsg_header (struct ipc_kmsg *kmsg)
{
    return (mach_msg_header_t *) (void *) kmsg->body;
}

/* kmsg.c */
struct ipc_kmsg *ipc_kmsg_alloc (mach_msg_size_t size);
struct ipc_item *ipc_kmsg_add_item (struct ipc_kmsg *kmsg); /* NULL: no memory */
void ipc_kmsg_free (struct ipc_kmsg *kmsg);                 /* the container only */
void ipc_kmsg_free_memory (struct ipc_kmsg *kmsg);          /* not under the lock */
void ipc_kmsg_release_rights (struct ipc_kmsg *kmsg);       /* under the lock */
void ipc_kmsg_destroy (struct ipc_kmsg *kmsg);              /* under the lock; done by ipc_unlock */
void ipc_kmsg_dispatch (struct ipc_kmsg *kmsg);             /* under the lock; handler runs in ipc_unlock */
void ipc_pending_kmsg_destroy (struct ipc_kmsg *kmsg);      /* lock.c */

/* copyin.c. The first takes the body apart and fetches memory, without the lock, changing nothing of the sender's; the
   others take the rights, under the lock. */
mach_msg_return_t ipc_kmsg_parse (struct ipc_kmsg *kmsg);
void ipc_kmsg_unparse (struct ipc_kmsg *kmsg);
mach_msg_return_t ipc_kmsg_copyin_header (struct ipc_kmsg *kmsg, struct hostmach_task *task);
mach_msg_return_t ipc_kmsg_copyin_body (struct ipc_kmsg *kmsg, struct hostmach_task *task);
bool ipc_kmsg_has_sources (const struct ipc_kmsg *kmsg);
void ipc_kmsg_release_sources (struct ipc_kmsg *kmsg);

/* copyout.c, under the lock. HEADER_ERROR: the message is as before. */
mach_msg_return_t ipc_kmsg_copyout (struct ipc_kmsg *kmsg, struct hostmach_task *task);
mach_msg_return_t ipc_kmsg_copyout_pseudo (struct ipc_kmsg *kmsg, struct hostmach_task *task);
void ipc_kmsg_copyout_dest (struct ipc_kmsg *kmsg, struct hostmach_task *task, mach_msg_header_t *header);

/* mqueue.c */
struct ipc_mqueue {
    struct ipc_kmsg_queue messages;
    struct ipc_waiters receivers;
};
void ipc_mqueue_init (struct ipc_mqueue *mqueue);
void ipc_mqueue_send (struct ipc_kmsg *kmsg); /* to an active port, limits or not */
void ipc_mqueue_dequeue (struct ipc_mqueue *mqueue, struct ipc_kmsg *kmsg);
void ipc_mqueue_merge (struct ipc_mqueue *into, struct ipc_mqueue *from, struct ipc_port *only);
extern _Atomic size_t ipc_messages;

/* ---- Ports (port.c) ---- */

LIST_HEAD (ipc_entry_list, ipc_entry);

struct ipc_proxy; /* proxy.c */

struct ipc_port {
    uint32_t refs;
    bool active;
    bool has_payload;
    natural_t payload;
    mach_port_rights_t srights, sorights;
    mach_port_mscount_t mscount;
    mach_port_seqno_t seqno;
    mach_port_msgcount_t msgcount, qlimit;
    struct hostmach_task *receiver;
    struct ipc_entry *receiver_entry;
    struct ipc_port *destination;
    struct ipc_pset *pset;
    TAILQ_ENTRY (ipc_port) member_link;
    struct ipc_mqueue mqueue;
    struct ipc_waiters senders;
    struct ipc_entry_list entries;      /* names with a send or receive right */
    struct ipc_entry_list once_entries; /* names with a send-once right */
    struct ipc_kmsg *nsrequest, *pdrequest;
    hostmach_handler_t handler;
    void *cookie;
    struct ipc_proxy *proxy; /* a port of the kernel's own */
};

extern _Atomic size_t ipc_ports;

struct ipc_port *ipc_port_alloc (void); /* with a reference for its receive right, in nobody's hands */
void ipc_port_ref (struct ipc_port *port);
void ipc_port_release (struct ipc_port *port);
struct ipc_entry *ipc_port_entry (struct ipc_port *port, const struct hostmach_task *task);
void ipc_port_clear_receiver (struct ipc_port *port);
void ipc_port_set_destination (struct ipc_port *port, struct ipc_port *destination);
bool ipc_port_circular (const struct ipc_port *port, const struct ipc_port *destination);
/* These consume the right's reference. */
void ipc_port_destroy (struct ipc_port *port);
void ipc_port_release_send (struct ipc_port *port);
void ipc_port_use_send_once (struct ipc_port *port);
void ipc_port_release_send_once (struct ipc_port *port);

/* ---- Port sets (portset.c) ---- */

struct ipc_pset {
    uint32_t refs;
    bool active;
    struct hostmach_task *task;
    struct ipc_entry *entry;
    struct ipc_mqueue mqueue;
    TAILQ_HEAD (, ipc_port) members;
    size_t member_count;
};

struct ipc_pset *ipc_pset_alloc (void);
void ipc_pset_release (struct ipc_pset *pset);
void ipc_pset_destroy (struct ipc_pset *pset);
void ipc_pset_add (struct ipc_pset *pset, struct ipc_port *port);
void ipc_pset_remove (struct ipc_port *port);

/* ---- Names (space.c) ---- */

struct ipc_entry {
    mach_port_name_t name;
    mach_port_type_t type;
    mach_port_urefs_t urefs; /* of a send right or dead name; 1 for a send-once right */
    struct hostmach_task *task;
    union {
        struct ipc_port *port;
        struct ipc_pset *pset;
    };
    struct ipc_kmsg *dnrequest;
    struct ipc_entry *hash_next;
    LIST_ENTRY (ipc_entry) port_link;
};

struct hostmach_task {
    _Atomic uint32_t refs;    /* the creator's, and one for each running handler */
    _Atomic uint32_t running; /* handlers */
    _Atomic uint32_t drainers;
    _Atomic bool active; /* written under the lock */
    _Atomic bool kernel; /* written under the lock */
    uint64_t serial;
    char name[32];
    struct ipc_entry **buckets;
    size_t bucket_count; /* a power of two */
    size_t entry_count;
    uint64_t *used; /* hint: names from IPC_NAME_FIRST on that are taken */
    size_t used_words, used_first_free;
    TAILQ_ENTRY (hostmach_task) link;
};

bool ipc_space_init (struct hostmach_task *task);
void ipc_space_free (struct hostmach_task *task);
struct ipc_entry *ipc_entry_lookup (const struct hostmach_task *task, mach_port_name_t name);
kern_return_t ipc_entry_alloc (struct hostmach_task *task, struct ipc_entry **entry);
kern_return_t ipc_entry_alloc_name (struct hostmach_task *task, mach_port_name_t name, struct ipc_entry **entry);
kern_return_t ipc_entry_rename (struct ipc_entry *entry, mach_port_name_t name);
void ipc_entry_dealloc (struct ipc_entry *entry);

/* ---- Rights (right.c, right_copy.c) ---- */

kern_return_t ipc_right_copyin (struct ipc_entry *entry, mach_msg_type_name_t disposition, bool dead_ok,
                                struct ipc_right *right);
bool ipc_right_copyin_possible (const struct ipc_entry *entry, mach_msg_type_name_t disposition, bool dead_ok);
kern_return_t ipc_right_copyin_name (struct hostmach_task *task, mach_port_name_t name,
                                     mach_msg_type_name_t disposition, bool dead_ok, struct ipc_right *right);
/* On success the right is the task's; *name is MACH_PORT_DEAD if its port has died. On failure it is still the caller's. */
kern_return_t ipc_right_copyout (struct hostmach_task *task, struct ipc_right right, mach_port_name_t *name);
kern_return_t ipc_right_copyout_name (struct hostmach_task *task, struct ipc_right right, mach_port_name_t name);
mach_msg_type_name_t ipc_right_received_type (mach_msg_type_name_t disposition);
void ipc_right_release (struct ipc_right right);
void ipc_right_make_receive (struct ipc_entry *entry, struct ipc_port *port);

void ipc_right_destroy (struct ipc_entry *entry);
void ipc_right_remove (struct ipc_entry *entry); /* the name only; counts are the caller's */
void ipc_right_kill (struct ipc_entry *entry);   /* its port has died */
kern_return_t ipc_right_deallocate (struct ipc_entry *entry);
kern_return_t ipc_right_delta (struct ipc_entry *entry, mach_port_right_t right, mach_port_delta_t delta);

/* ---- Notifications (notify.c). A request holds the message that it will send, so that sending cannot fail. ---- */

struct ipc_kmsg *ipc_notify_prepare (void);
void ipc_notify_dead_name (struct ipc_kmsg *kmsg, mach_port_name_t name);
void ipc_notify_port_deleted (struct ipc_kmsg *kmsg, mach_port_name_t name);
void ipc_notify_no_senders (struct ipc_kmsg *kmsg, mach_port_mscount_t mscount);
void ipc_notify_port_destroyed (struct ipc_kmsg *kmsg, struct ipc_port *port);
void ipc_notify_send_once (struct ipc_port *port);

/* ---- Tasks (task.c) ---- */

struct hostmach_frame { /* a handler that this thread runs */
    struct hostmach_task *task;
    struct hostmach_frame *outer;
};

struct hostmach_reply_slot {
    uint64_t serial; /* of the task; 0: empty */
    mach_port_name_t name;
};

#define HOSTMACH_REPLY_SLOTS 4

struct hostmach_thread {
    struct hostmach_task *task; /* NULL: the main task */
    struct hostmach_frame *frames;
    struct ipc_waiter *waiter;   /* its place in a line of receivers */
    struct ipc_sleeper *sleeper; /* watch.c */
    bool serving;                /* a watch */
    struct hostmach_reply_slot replies[HOSTMACH_REPLY_SLOTS];
    unsigned next_reply;
};

extern _Thread_local struct hostmach_thread hostmach_thread;

static inline struct hostmach_task *
hostmach_current (void)
{
    return hostmach_thread.task != NULL ? hostmach_thread.task : hostmach_task_main ();
}

/* The task that a name stands for, if it is active, or NULL. */
struct hostmach_task *hostmach_task_named (mach_port_t name);
struct hostmach_task *hostmach_task_by_serial (uint64_t serial);
void hostmach_task_release (struct hostmach_task *task);

/* ---- Memory (vm.c, vm_memory.c, vm_pages.c) ---- */

/* Pages to give out, counted; size in bytes, a multiple of the page size. 0: none. */
vm_address_t vm_pages_get (vm_size_t size, bool zeroed);
/* Gives back what of the range was given out. */
void vm_pages_put (vm_address_t address, vm_size_t size);
/* The same for whole pages; what was not given out is offered to the back end, if there is one. */
void vm_pages_release (vm_address_t first, vm_size_t length, const struct hostmach_vm_backend *backend);
/* Counts a new mapping as given out; false (and unmapped again): no memory to record it. */
bool vm_pages_record (vm_address_t address, vm_size_t size);
/* What vm_deallocate does. KERN_INVALID_ADDRESS: the range wraps. */
kern_return_t vm_release (vm_address_t address, vm_size_t size);
/* False: some of the source is not accessible; the target must be. */
bool vm_copy_bytes (vm_address_t to, vm_address_t from, vm_size_t size);
bool vm_copy_checked (vm_address_t to, vm_address_t from, vm_size_t size); /* neither need be */
bool vm_round (vm_address_t address, vm_size_t size, vm_address_t *first, vm_size_t *length); /* false: wraps */

bool vm_map_reserve (vm_address_t first, size_t pages);
void vm_map_set (vm_address_t first, size_t pages);
/* All given out; and, if asked, with the protection they were given out with. */
bool vm_map_all_set (vm_address_t first, size_t pages, bool unchanged);
void vm_map_mark_changed (vm_address_t first, size_t pages);
/* Clears the range; calls run for each stretch that was set (kind 1: plain, 2: protection was changed) or, kind 0, was not. */
typedef void (*vm_map_run_t) (vm_address_t first, size_t pages, int kind, void *context);
void vm_map_clear (vm_address_t first, size_t pages, vm_map_run_t run, void *context);
void vm_map_scan (vm_address_t first, size_t pages, vm_map_run_t run, void *context);

/* ---- Allocation and injected faults (fault.c) ---- */

void *ipc_alloc (size_t size); /* for the current task */
void *ipc_alloc_for (const struct hostmach_task *task, size_t size);
void ipc_free (void *memory);
bool ipc_fault_vm (void);
mach_msg_return_t ipc_fault_send (mach_msg_id_t id);

/* ---- proxy.c ---- */
void ipc_proxy_no_senders (struct ipc_port *port);

#pragma GCC visibility pop

#endif
