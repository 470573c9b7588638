/* scripted/scripted_kernel.h - a kernel, for tests of pagers, that does what the test says.

   A *scripted kernel* is a client of pagers: it maps memory objects, holds their pages, and
   speaks the memory object protocol with real messages, made and taken apart by MIG's
   stubs.  It is a HostMach task of its own; each mapped object has a control and a
   name port in it.  Messages to a control port are executed in the sender's thread, as Mach does.

   What it does by itself is what GNU Mach does:
     - A page is absent, requested, or present with a lock, a dirty and a precious flag.  Threads
       that fault on one page cause one request; a present page whose lock forbids the access
       causes one data_unlock, and every change of its lock, or a flush, answers that.
     - data_supply fills requested and absent pages, and stops at a present one, which keeps
       its data.  data_error ends the wait of the threads that wait at that time.
     - lock_request does for each page, in rising order: restrict; return it if dirty
       (RETURN_DIRTY) or dirty or precious (RETURN_ALL); flush.  Requested pages are skipped.
       Returns are runs of contiguous pages, at most 32, alike in being dirty or not; they are
       sent before lock_completed.  A precious page that is returned and kept stays precious.
     - A page that is being returned is busy: whoever touches or locks it waits until
       the message is in the queue.

   Conventions.  Offsets and lengths are bytes; offsets of pages are multiples of vm_page_size.
   All functions may be called from any thread, several on one object at a time, and
   none holds a lock while it sends.  Pointers to objects are valid until
   sk_kernel_destroy.  Functions that return int return 0 or an error: an errno value, or
   what the pager said in data_error, or what mach_msg said.
   A wait without a limit of its own that lasts longer than sk_set_hang_limit prints what it
   waits for, with the last messages, and aborts the process.  */

#ifndef SCRIPTED_KERNEL_H
#define SCRIPTED_KERNEL_H

#include <errno.h>
#include <stddef.h>

#include <mach.h>
#include <hostmach/hostmach.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sk_kernel sk_kernel;
typedef struct sk_object sk_object;


/* ---- Kernels ---- */

/* Make a kernel.  NAME is copied, for messages to people.  Aborts if memory is short.  */
sk_kernel *sk_kernel_create(const char *name);

/* The kernel dies, as a crashed machine does: its task goes with all ports, so that pagers get
   dead names; nothing is returned.  Threads that wait in it get KERN_TERMINATED.  Its objects can
   still be inspected.  Not from inside a message's execution.  A second time: nothing.  */
void sk_kernel_kill(sk_kernel *kernel);

/* The same, and free everything, objects included.  No other thread may use it then.  */
void sk_kernel_destroy(sk_kernel *kernel);

/* Its task; valid while it lives.  */
hostmach_task_t sk_kernel_task(sk_kernel *kernel);

/* Milliseconds after which a wait counts as a hang; at first what the environment's LIBPAGER_TEST_HANG_MS says, or 30000.  For the
   whole process.  */
void sk_set_hang_limit(unsigned limit_ms);


/* ---- Objects ---- */

/* Map OBJECT, a send or receive right of the current task (from a receive right exactly one send right
   is made), and send memory_object_init.  The caller keeps his right.  Never NULL: if the
   object is dead, the result is dead (sk_wait_ready says so).  sk_map waits until the pager is ready, and
   aborts if it will not be; sk_map_async does not wait.  */
sk_object *sk_map(sk_kernel *kernel, mach_port_t object);
sk_object *sk_map_async(sk_kernel *kernel, mach_port_t object);

/* Wait for memory_object_ready: 0, ETIMEDOUT, or why the object is dead.  TIMEOUT_MS 0: no limit.  */
int sk_wait_ready(sk_object *object, unsigned timeout_ms);

/* The last mapping goes: wait until messages under way are sent, return dirty and precious pages, one
   message each, send memory_object_terminate with both receive rights.  Threads that wait
   for a page get KERN_TERMINATED.  The object stays for inspection; map again for a new one.
   EINVAL: it is terminated, or its kernel is dead.  */
int sk_terminate(sk_object *object);

/* The object's names in the kernel's task; MACH_PORT_NULL when terminated.  */
mach_port_t sk_control_port(sk_object *object);
mach_port_t sk_name_port(sk_object *object);
mach_port_t sk_pager_port(sk_object *object);


/* ---- Touching memory ---- */

/* Read or write bytes as a thread of that machine does: fault page by page with
   VM_PROT_READ or VM_PROT_READ|VM_PROT_WRITE, wait until the pager has resolved it, copy.  A write makes
   the page dirty.  On error the pages before the bad one have been copied.  */
int sk_read(sk_object *object, vm_offset_t offset, void *buffer, size_t length);
int sk_write(sk_object *object, vm_offset_t offset, const void *buffer, size_t length);

/* The same without faulting, for bytes within present pages: ENOENT if one is not present (or busy);
   sk_poke: EACCES if its lock forbids writing.  Pages before it have been copied.  */
int sk_peek(sk_object *object, vm_offset_t offset, void *buffer, size_t length);
int sk_poke(sk_object *object, vm_offset_t offset, const void *buffer, size_t length);

/* Begin a fault and do not wait.  sk_request: the page is absent: data_request with ACCESS.
   sk_unlock: the page is present and its lock forbids ACCESS: data_unlock.  EALREADY: such a message
   is unanswered; EEXIST: the page is present (sk_request), or is so and allows ACCESS (sk_unlock);
   ENOENT: it is not present (sk_unlock); EBUSY: it is being returned.  */
int sk_request(sk_object *object, vm_offset_t offset, vm_prot_t access);
int sk_unlock(sk_object *object, vm_offset_t offset, vm_prot_t access);

/* Push a page out, unasked.  Dirty or precious: data_return with kernel_copy 0.  Else: dropped without a
   word.  ENOENT: absent; EBUSY: requested or being returned.  */
int sk_evict(sk_object *object, vm_offset_t offset);

/* Push out every present page, one by one, by rising offset.  */
int sk_evict_all(sk_object *object);

/* Drop every page that is neither dirty nor precious.  Returns how many.  */
unsigned sk_drop_clean(sk_object *object);


/* ---- Withholding ---- */

/* What may be held back.  All but SK_HOLD_COMPLETED are messages from the pager, which are
   received (counted, logged) but not executed.  SK_HOLD_COMPLETED: lock requests are executed, their
   returns sent, but lock_completed is not.  */
enum {
    SK_HOLD_READY = 1,
    SK_HOLD_SUPPLY = 2,
    SK_HOLD_ERROR = 4,          /* data_error and data_unavailable */
    SK_HOLD_LOCK = 8,
    SK_HOLD_ATTRIBUTES = 16,    /* change_attributes */
    SK_HOLD_DESTROY = 32,
    SK_HOLD_COMPLETED = 64,
    SK_HOLD_ALL = 127,
};

/* From now on hold back what MASK says (0: nothing); what is held stays so.  At most 4096 messages.  */
void sk_hold(sk_object *object, unsigned mask);

/* How many are held; wait until at least COUNT are (0, ETIMEDOUT; TIMEOUT_MS 0: no limit).  */
unsigned sk_pending(sk_object *object);
int sk_wait_pending(sk_object *object, unsigned count, unsigned timeout_ms);

/* Execute the held message number INDEX (0: the oldest) in this thread.  ENOENT: not so many.  */
int sk_release_one(sk_object *object, unsigned index);

/* Stop holding, and execute all that is held, the oldest first.  */
void sk_release_all(sk_object *object);


/* ---- Looking ---- */

/* A message, sent to the pager or received from it.  Fields that it does not have are 0.  */
struct sk_message {
    unsigned long serial;               /* rises over all kernels of the process */
    mach_msg_id_t id;                   /* 2200 ...: sent; 2039 ...: received */
    vm_offset_t offset;
    vm_size_t length;                   /* bytes; of the data, for supply and return */
    vm_prot_t access;                   /* desired access, or lock value */
    memory_object_return_t should_return;
    boolean_t should_flush;
    boolean_t dirty, kernel_copy, precious, may_cache;
    memory_object_copy_strategy_t copy_strategy;
    boolean_t has_reply;                /* a reply port was given */
    kern_return_t error;                /* data_error, destroy, supply_completed */
    vm_offset_t error_offset;           /* supply_completed */
};

/* Names for the ids.  */
enum {
    SK_INIT = 2200,
    SK_TERMINATE = 2201,
    SK_COPY = 2202,
    SK_DATA_REQUEST = 2203,
    SK_DATA_UNLOCK = 2204,
    SK_LOCK_COMPLETED = 2206,
    SK_SUPPLY_COMPLETED = 2207,
    SK_DATA_RETURN = 2208,
    SK_CHANGE_COMPLETED = 2209,
    SK_DATA_UNAVAILABLE = 2039,
    SK_GET_ATTRIBUTES = 2040,
    SK_LOCK_REQUEST = 2044,
    SK_DATA_ERROR = 2090,
    SK_DESTROY = 2092,
    SK_DATA_SUPPLY = 2093,
    SK_READY = 2094,
    SK_CHANGE_ATTRIBUTES = 2095,
};

/* How many messages with this id there were since sk_map or sk_reset_log.  Sent ones count from just
   before they are sent, received ones from their arrival (held or not).  */
unsigned sk_count(sk_object *object, mach_msg_id_t id);

/* Wait until sk_count is at least COUNT.  0 or ETIMEDOUT; TIMEOUT_MS 0: no limit.  */
int sk_wait_message(sk_object *object, mach_msg_id_t id, unsigned count, unsigned timeout_ms);

/* Wait until no thread is sending: what was counted before has gone.  0 or ETIMEDOUT; TIMEOUT_MS 0: no limit.  */
int sk_wait_sent(sk_object *object, unsigned timeout_ms);

/* Copy the last messages with this id (0: any), oldest first, at most CAPACITY and at most the 1024 last of the
   object.  Returns how many were copied.  */
size_t sk_log(sk_object *object, mach_msg_id_t id, struct sk_message *out, size_t capacity);

/* The latest message with this id: 0, or ENOENT.  */
int sk_last_message(sk_object *object, mach_msg_id_t id, struct sk_message *out);

/* Forget the log and the counts.  */
void sk_reset_log(sk_object *object);

/* Things the pager did that no pager may do (misaligned supplies and locks; asking for supply_completed on a
   resident page, which panics GNU Mach).  Each is printed to stderr when it happens.  */
unsigned sk_violations(sk_object *object);

/* How many messages could not be sent (the pager's port was dead, or a fault was injected).  */
unsigned sk_send_failures(sk_object *object);

enum sk_page_state { SK_PAGE_ABSENT, SK_PAGE_REQUESTED, SK_PAGE_PRESENT };

struct sk_page_info {
    enum sk_page_state state;
    vm_prot_t lock;             /* forbidden accesses */
    vm_prot_t requested;        /* access of the unanswered request, or 0 */
    vm_prot_t unlocking;        /* access of the unanswered data_unlock, or 0 */
    boolean_t dirty, precious;
    boolean_t busy;             /* being returned */
    unsigned errors;            /* requests that ended with an error */
    kern_return_t last_error;
};
struct sk_page_info sk_page_state(sk_object *object, vm_offset_t offset);

/* Pages that are present.  */
unsigned sk_resident(sk_object *object);

/* What the pager said in memory_object_ready or change_attributes.  */
void sk_attributes(sk_object *object, boolean_t *ready, boolean_t *may_cache,
                   memory_object_copy_strategy_t *copy_strategy);

/* What to wait for, of one page.  */
enum sk_want {
    SK_WANT_PRESENT,            /* present, not busy */
    SK_WANT_ABSENT,             /* absent: flushed, evicted, or refused */
    SK_WANT_READABLE,           /* present, lock allows reading */
    SK_WANT_WRITABLE,           /* present, lock allows writing */
    SK_WANT_SETTLED,            /* no unanswered request or unlock, not busy */
};

/* Wait for it without faulting.  0; ETIMEDOUT (TIMEOUT_MS 0: no limit); the pager's error, if a request
   of the page that was unanswered when the wait began, or began since, ended with one (not for ABSENT
   and SETTLED); why the object is dead.  */
int sk_wait_page(sk_object *object, vm_offset_t offset, enum sk_want want, unsigned timeout_ms);


/* ---- Misbehaving ---- */

enum {
    SK_RAW_FOREIGN_CONTROL = 1, /* carry a control port that was never in an init */
};

/* Send any message to the pager, made of MESSAGE's fields, without regard to the pages' states, which stay as
   they are.  init: length is the page size.  data_return: DATA has length bytes (any number).
   terminate: carries two new receive rights.  copy: carries a new receive right.  The three
   _completed ones go to the pager's own port.  DATA may be NULL otherwise.  */
int sk_send_raw(sk_object *object, const struct sk_message *message, const void *data,
                unsigned flags);

#ifdef __cplusplus
}
#endif

#endif /* scripted/scripted_kernel.h */
