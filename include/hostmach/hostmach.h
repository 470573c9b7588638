/* hostmach.h: HostMach's own calls, beyond Mach's API.

   HostMach is the part of Mach that a pager and its kernels need, in user space. One process holds one or more
   *tasks*, each a name space for port rights. All tasks share the process's memory. Each thread works in one task at
   a time, its current task; the names that it passes to mach_msg and mach_port_* are that task's. A thread starts
   in the main task.

   All calls may be made from any thread at any time, except where a comment says otherwise. No call keeps a
   pointer that it is passed, except handlers' cookies and back ends. Sizes and counts of memory are in bytes. */

#ifndef HOSTMACH_HOSTMACH_H
#define HOSTMACH_HOSTMACH_H

#include <stddef.h>

#include <mach/kern_return.h>
#include <mach/mach_types.h>
#include <mach/message.h>
#include <mach/port.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Tasks ---- */

typedef struct hostmach_task *hostmach_task_t;

/* A new task without rights. name is copied and serves debugging only (cut after 31 bytes). NULL: no memory. */
hostmach_task_t hostmach_task_create (const char *name);

/* All the task's rights go, as when a Mach task dies: its receive rights die (their messages are destroyed, other
   tasks' send rights become dead names), no-senders and other notifications are sent. Threads that wait in mach_msg for
   one of its ports return MACH_RCV_PORT_DIED. Handlers of its ports that run in other threads go on; their calls fail with
   KERN_INVALID_TASK or MACH_SEND_INVALID_DEST. No other thread may have entered the task, except by running a handler; if the
   calling thread has, it is in the main task afterwards. The pointer is invalid afterwards. Destroying the main task,
   or NULL, is ignored. */
void hostmach_task_destroy (hostmach_task_t task);

/* The name given at creation; valid as long as the task. The main task's is "main". */
const char *hostmach_task_name (hostmach_task_t task);

/* The main task; exists as long as the process. */
hostmach_task_t hostmach_task_main (void);

/* The calling thread's current task. Never NULL. */
hostmach_task_t hostmach_task_current (void);

/* Makes task (NULL: the main task) the calling thread's current task; returns the one it was. */
hostmach_task_t hostmach_task_enter (hostmach_task_t task);

/* With TRUE the task is like a kernel's. What it sends ignores queue limits and so never blocks (MIG's stubs have no way to say
   MACH_SEND_ALWAYS). And hostmach_fail_memory and hostmach_fail_vm pass over what is allocated for it: when it sends, and when its
   handlers are given what others send. A real kernel needs no names for rights that it is sent, and waits for
   its own memory (or panics): it never loses a message and goes on. */
void hostmach_task_set_kernel (hostmach_task_t task, boolean_t is_kernel);

/* Returns when no handler of the task's ports runs in any other thread. Handlers that start meanwhile are waited for
   too, so stop the senders first (destroy the port or take its handler away). */
void hostmach_task_drain (hostmach_task_t task);

/* Hands a send right across, without a message: it is made from the receive right that `name` is in `from` (the make-send
   count grows), or else copied from the send right. *out: its name in `to`, with one more user reference. Errors:
   KERN_INVALID_NAME, KERN_INVALID_RIGHT, KERN_INVALID_TASK (a task is gone), KERN_RESOURCE_SHORTAGE. */
kern_return_t hostmach_copy_send (hostmach_task_t from, mach_port_t name, hostmach_task_t to, mach_port_t *out);

/* ---- Ports that are served in the sender's thread ---- */

/* msg: the message in received form: remote and local port swapped, rights and memory in the receiver's task. The
   buffer belongs to HostMach and is valid until the handler returns; the handler may write to its
   first msgh_size bytes. The rights and the out-of-line memory that it carries belong to the handler. */
typedef void (*hostmach_handler_t) (mach_msg_header_t *msg, void *cookie);

/* name: a receive right of the current task. From now on messages to it are not queued but executed in the sender's
   thread, inside mach_msg (or inside the call that caused a notification), with the receiver's task entered and
   restored afterwards. msgh_seqno counts deliveries. Queue limits do not apply. Handlers for one port may run in several
   threads at once; HostMach holds no lock while one runs. A handler may send, receive, destroy the port, or
   take the handler away; what runs already is not stopped by that (see hostmach_task_drain).
   Messages that are queued already are executed in this thread before the call returns. A handler goes with
   its receive right: destroying or moving the right takes it away. NULL handler: back to queueing.
   Errors: KERN_INVALID_NAME, KERN_INVALID_RIGHT. */
kern_return_t hostmach_port_set_handler (mach_port_t name, hostmach_handler_t handler, void *cookie);

/* ---- What threads that wait for messages do meanwhile ---- */

/* A back end's events (page faults, say) that come through a file descriptor. Threads that wait in mach_msg without having
   anything to do read them, so that what follows from an event needs no other thread; a thread of the watch's own does when
   nobody waits, or all are busy. */
typedef struct hostmach_watch *hostmach_watch_t;

/* Reads and deals with up to `events` events. May be called by several threads at once, in whatever task they have
   entered (which it must restore), with signals as they have them. Must not block, and must not wait for a message; it
   may send. That there is no event (any more) is no error. */
typedef void (*hostmach_serve_t) (void *cookie, unsigned events);

/* fd: non-blocking, and polled as readable while there are events; it stays the caller's. From now on `serve` is called. Costs two
   descriptors and a thread, and, while there is any watch, two descriptors for each thread that receives. NULL: errno says why. */
hostmach_watch_t hostmach_watch_create (int fd, hostmach_serve_t serve, void *cookie);

/* Returns when no thread serves the watch any more, and none will. Not to be called from a `serve`. */
void hostmach_watch_destroy (hostmach_watch_t watch);

/* ---- Counting, for leak tests ---- */

struct hostmach_right {
    mach_port_name_t name;
    mach_port_type_t type;             /* MACH_PORT_TYPE_* bits, with MACH_PORT_TYPE_DNREQUEST */
    mach_port_urefs_t urefs;           /* send or dead-name user references; 1 for a send-once right, else 0 */
    mach_port_msgcount_t messages;     /* queued messages, for a receive right */
    mach_port_rights_t send_once;      /* send-once rights to it that exist anywhere, for a receive right */
    mach_port_mscount_t make_send;     /* make-send count, for a receive right */
};

/* Writes up to `capacity` rights of the task to out, by rising name. Returns how many the task has. */
size_t hostmach_list_rights (hostmach_task_t task, struct hostmach_right *out, size_t capacity);

/* Port objects that exist, in all tasks and in transit; dead ones count until the last reference has gone. */
size_t hostmach_port_count (void);

/* Messages that are queued, in all tasks. */
size_t hostmach_message_count (void);

/* Threads that wait in mach_msg for a message from `name`, a receive right or port set of the current task; 0 if it is neither. For
   tests that must know that somebody waits before they go on. */
size_t hostmach_receiver_count (mach_port_name_t name);

/* Bytes of memory that vm_allocate, vm_map without object, vm_read and out-of-line data gave out and
   nobody has deallocated; a multiple of the page size. */
size_t hostmach_vm_bytes (void);

/* Freed blocks of 1 to 16 pages are kept for re-use, up to `bytes` in total (1 MiB by default); they are not counted as
   outstanding. With 0 each block is unmapped at once, so that use after vm_deallocate faults. Frees what exceeds it. */
void hostmach_vm_set_pool (size_t bytes);

/* ---- Fault injection, for tests ---- */

struct hostmach_fault {
    hostmach_task_t task;              /* only when this is the current task; NULL: any */
    mach_msg_id_t id;                  /* only messages with this msgh_id; 0: any */
    unsigned skip;                     /* how many that match go through first */
    unsigned count;                    /* how many fail then; ~0u: all */
    mach_msg_return_t error;           /* what mach_msg returns */
};

/* mach_msg fails to send what matches: the error is returned before anything is taken from the sender. Notifications are not
   affected. Replaces the previous order; NULL ends it. Returns how many were still to go through by the previous one (0 if it has struck): so
   an order with a large `skip` counts. */
unsigned hostmach_fail_send (const struct hostmach_fault *fault);

/* Skips `skip` memory allocations inside HostMach (ports, names, messages), fails the next `count`. 0, 0 ends it. Returns as
   hostmach_fail_send does. */
unsigned hostmach_fail_memory (unsigned skip, unsigned count);

/* The same for pages: vm_allocate, vm_map, vm_read, copies of out-of-line data. */
unsigned hostmach_fail_vm (unsigned skip, unsigned count);

/* How many rights have been destroyed since the process started because their receiver could get no name for them:
   MACH_RCV_BODY_ERROR, MACH_RCV_HEADER_ERROR, or a message that came back to a sender who timed out. Mach loses such rights, too. */
unsigned hostmach_rights_lost (void);

/* How many times an injected fault has struck since the process started. */
unsigned hostmach_faults_struck (void);

/* ---- Memory objects ---- */

/* Maps memory objects for vm_map. At most one back end; its functions may be called by several threads at once and
   may themselves send and receive messages and call vm_*. */
struct hostmach_vm_backend {
    void *cookie;
    /* vm_map with a memory object: arguments as there, address and size widened to whole pages, memory_object a name of the
       current task (maybe a proxy, see hostmach_proxy_lookup) that stays the caller's. */
    kern_return_t (*map) (void *cookie, vm_address_t *address, vm_size_t size, vm_address_t mask, boolean_t anywhere,
                          mach_port_t memory_object, vm_offset_t offset, boolean_t copy, vm_prot_t cur_protection,
                          vm_prot_t max_protection, vm_inherit_t inheritance);
    /* Whole pages that vm_deallocate was asked to release and that HostMach did not allocate: release those that the back end
       mapped, ignore the others. May be NULL. */
    void (*deallocate) (void *cookie, vm_address_t address, vm_size_t size);
    /* vm_protect on whole pages that HostMach did not allocate. KERN_INVALID_ADDRESS: not ours either. May be NULL. */
    kern_return_t (*protect) (void *cookie, vm_address_t address, vm_size_t size, boolean_t set_maximum,
                              vm_prot_t new_protection);
};

/* Installs *backend (copied); NULL takes it away. KERN_NAME_EXISTS if there is one already. The caller sees to it that no
   call into a back end is under way when it takes it away. */
kern_return_t hostmach_vm_set_backend (const struct hostmach_vm_backend *backend);

/* proxy: a send right of the current task to what memory_object_create_proxy made. *object: a send right (one
   more user reference, the caller's) to the object behind it, however many proxies deep; MACH_PORT_DEAD if
   that has died. The rest describes the window: at most *max_protection, from *start on, *length bytes. Errors:
   KERN_INVALID_NAME, KERN_INVALID_ARGUMENT (not a proxy), KERN_RESOURCE_SHORTAGE. */
kern_return_t hostmach_proxy_lookup (mach_port_t proxy, mach_port_t *object, vm_prot_t *max_protection,
                                     vm_offset_t *start, vm_size_t *length);

#ifdef __cplusplus
}
#endif

#endif
