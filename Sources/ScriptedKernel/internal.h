/* internal.h - what the files of the scripted kernel share.

   Locks: kernel->lock guards the kernel's list and life; object->lock everything of an object.  They are
   never held together, except that object->lock may be taken under kernel->lock.  No lock is held
   while a message is sent, a right is released or a thread enters the task.

   Invariants of a page (object->lock held, page not busy):
     P1  data is there exactly when the state is PRESENT.
     P2  requested is nonzero exactly when the state is REQUESTED.
     P3  unlocking, dirty, precious and lock are 0 unless the state is PRESENT.
   busy: one thread is returning the page; until it is done, nobody else changes it.
   Pages are never freed before their object, so pointers to them survive unlocking. */

#ifndef SK_INTERNAL_H
#define SK_INTERNAL_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include <scripted/scripted_kernel.h>

#define SK_RUN_PAGES_MAX 32u
#define SK_LOG_MESSAGES 1024u
#define SK_HELD_MAX 4096u
#define SK_IDS 17u              /* kinds of messages */

struct sk_page {
    vm_offset_t offset;
    unsigned char *data;
    enum sk_page_state state;
    vm_prot_t lock, requested, unlocking;
    bool dirty, precious, busy;
    unsigned errors;
    kern_return_t last_error;
};

/* A message that is held back, or about to be executed: what it carries is ours. */
struct sk_held {
    struct sk_held *next;
    struct sk_message message;
    bool completed;             /* not a message: the lock_completed for MESSAGE */
    vm_offset_t data;           /* of data_supply: vm_deallocate it */
    mach_port_t reply;          /* a right of type reply_type, or MACH_PORT_NULL */
    mach_msg_type_name_t reply_type;
};

struct sk_object {
    struct sk_kernel *kernel;
    struct sk_object *next;     /* in the kernel */
    pthread_mutex_t lock;
    pthread_cond_t changed;     /* broadcast whenever anything below changes */

    mach_port_t control, name, pager;   /* in the kernel's task */
    bool terminating;           /* no new operation begins; control may be gone */
    kern_return_t dead;         /* nonzero: why no page can be had any more */
    bool ready, may_cache;
    memory_object_copy_strategy_t copy_strategy;
    unsigned operations;        /* threads between sk_begin and sk_end */

    struct sk_page **pages;     /* by rising offset */
    size_t page_count, page_room;

    unsigned hold_mask;
    struct sk_held *held, **held_tail;
    unsigned held_count;

    struct sk_message *log;     /* ring of SK_LOG_MESSAGES */
    size_t log_count;           /* ever written */
    unsigned counts[SK_IDS];
    unsigned violations, send_failures;
};

struct sk_kernel {
    char name[32];
    hostmach_task_t task;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool dead;                  /* no thread may enter the task any more */
    bool gone;                  /* the task is destroyed */
    unsigned entered;           /* threads inside, handlers excepted */
    struct sk_object *objects;
};

/* kernel.c */
void *sk_alloc(size_t bytes);   /* zeroed; aborts if there is none */
/* Enter the kernel's task, if it lives; false: it does not.  Leave with what enter stored. */
bool sk_enter(struct sk_kernel *kernel, hostmach_task_t *previous);
void sk_leave(struct sk_kernel *kernel, hostmach_task_t previous);

/* wait.c.  A wait begins with sk_wait_begin; sk_wait_step, with object->lock held, waits for the next
   change: 0, or ETIMEDOUT.  A wait without limit aborts the process when it hangs. */
struct sk_wait {
    struct timespec deadline;
    bool has_limit;
    const char *what;
    vm_offset_t offset;
};
void sk_wait_begin(struct sk_wait *wait, unsigned timeout_ms, const char *what,
                   vm_offset_t offset);
int sk_wait_step(struct sk_object *object, struct sk_wait *wait);
void sk_cond_init(pthread_cond_t *cond);

/* page.c, all with object->lock held */
struct sk_page *sk_page_find(struct sk_object *object, vm_offset_t offset);     /* or NULL */
struct sk_page *sk_page_get(struct sk_object *object, vm_offset_t offset);      /* makes it */
size_t sk_page_index(struct sk_object *object, vm_offset_t offset);  /* first not below */
void sk_page_fill(struct sk_object *object, struct sk_page *page, const void *data,
                  vm_prot_t lock, bool precious);
void sk_page_drop(struct sk_object *object, struct sk_page *page);
void sk_page_fail(struct sk_object *object, struct sk_page *page, kern_return_t error);

/* log.c, with object->lock held */
void sk_log_add(struct sk_object *object, struct sk_message *message);
void sk_log_dump(struct sk_object *object);
void sk_violation(struct sk_object *object, const struct sk_message *message,
                  const char *what);

/* send.c.  An operation is what may send: termination waits until those under way have ended.  Begin
   and end with object->lock held; begin fails if the object is terminated or its kernel dead. */
bool sk_begin(struct sk_object *object);
void sk_end(struct sk_object *object);
/* Without locks, within an operation: log MESSAGE and send it to the object's pager, or to REPLY, which
   is consumed. */
int sk_send(struct sk_object *object, struct sk_message *message, const void *data,
            mach_port_t reply, mach_msg_type_name_t reply_type);
int sk_send_page_message(struct sk_object *object, mach_msg_id_t id, vm_offset_t offset,
                         vm_prot_t access);
void sk_release_reply(struct sk_object *object, mach_port_t reply);

/* receive.c.  The object whose control port got the message that this thread executes.  (Not static: simulated threads exchange it.) */
extern _Thread_local struct sk_object *sk_receiving;
void sk_control_handler(mach_msg_header_t *message, void *object);
void sk_held_destroy(struct sk_object *object, struct sk_held *held);
/* Keeps HELD, as a lock_completed, if such are held back now. */
bool sk_hold_completed(struct sk_object *object, struct sk_held *held);

/* execute.c: without locks.  Executes the message and consumes what it carries; frees HELD. */
void sk_execute(struct sk_object *object, struct sk_held *held);

/* object.c: without locks.  Marks the object as unusable because of WHY and wakes everybody. */
void sk_object_die(struct sk_object *object, kern_return_t why);

#endif
