/* task.c: tasks, the threads in them, and ports with handlers.

   A task's memory has one reference from its creator, dropped by hostmach_task_destroy, and one from each handler that runs in
   it, so a handler can outlive its task; `active` tells its calls that the task is gone. */

#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Thread_local struct hostmach_thread hostmach_thread;

static struct hostmach_task main_task = { .refs = 1, .active = true, .serial = 1, .name = "main" };
static TAILQ_HEAD (, hostmach_task) tasks = TAILQ_HEAD_INITIALIZER (tasks);
static uint64_t last_serial = 1;

/* Before the constructors of the program that uses us, which may already send messages. */
__attribute__ ((constructor (101))) static void
start (void)
{
    if (!ipc_space_init (&main_task))
        abort ();
    TAILQ_INSERT_HEAD (&tasks, &main_task, link);
}

hostmach_task_t
hostmach_task_create (const char *name)
{
    struct hostmach_task *task = ipc_alloc (sizeof *task);
    if (task == NULL)
        return NULL;
    memset (task, 0, sizeof *task);
    if (!ipc_space_init (task)) {
        ipc_free (task);
        return NULL;
    }
    snprintf (task->name, sizeof task->name, "%s", name != NULL ? name : "");
    atomic_store (&task->refs, 1);
    task->active = true;
    ipc_lock ();
    task->serial = ++last_serial;
    TAILQ_INSERT_TAIL (&tasks, task, link);
    ipc_unlock ();
    return task;
}

void
hostmach_task_release (struct hostmach_task *task)
{
    if (atomic_fetch_sub (&task->refs, 1) == 1)
        ipc_free (task);
}

void
hostmach_task_destroy (hostmach_task_t task)
{
    if (task == NULL || task == &main_task)
        return;
    ipc_lock ();
    task->active = false;
    TAILQ_REMOVE (&tasks, task, link);
    /* Nothing may be handed to the dying task: what its own ports get from here on waits in their queues and goes with them. */
    for (size_t i = 0; i < task->bucket_count; i++)
        for (struct ipc_entry *entry = task->buckets[i]; entry != NULL; entry = entry->hash_next)
            if (entry->type & MACH_PORT_TYPE_RECEIVE)
                entry->port->handler = NULL;
    for (size_t i = 0; i < task->bucket_count; i++)
        while (task->buckets[i] != NULL)
            ipc_right_destroy (task->buckets[i]);
    ipc_space_free (task);
    ipc_unlock ();
    /* A thread that destroys the task it has entered is back in the main task; a handler stays where it is and finds it dead. */
    bool in_handler = false;
    for (struct hostmach_frame *frame = hostmach_thread.frames; frame != NULL; frame = frame->outer)
        in_handler |= frame->task == task;
    if (hostmach_thread.task == task && !in_handler)
        hostmach_thread.task = NULL;
    hostmach_task_release (task);
}

const char *
hostmach_task_name (hostmach_task_t task)
{
    return task->name;
}

hostmach_task_t
hostmach_task_main (void)
{
    return &main_task;
}

hostmach_task_t
hostmach_task_current (void)
{
    return hostmach_current ();
}

hostmach_task_t
hostmach_task_enter (hostmach_task_t task)
{
    struct hostmach_task *previous = hostmach_current ();
    hostmach_thread.task = task;
    return previous;
}

void
hostmach_task_set_kernel (hostmach_task_t task, boolean_t is_kernel)
{
    ipc_lock ();
    task->kernel = is_kernel != FALSE;
    ipc_unlock ();
}

void
hostmach_task_drain (hostmach_task_t task)
{
    uint32_t mine = 0, running;
    for (struct hostmach_frame *frame = hostmach_thread.frames; frame != NULL; frame = frame->outer)
        mine += frame->task == task;
    atomic_fetch_add (&task->drainers, 1);
    while ((running = atomic_load (&task->running)) > mine)
        ipc_futex_wait (&task->running, running, UINT64_MAX);
    atomic_fetch_sub (&task->drainers, 1);
}

/* All tasks but the caller's own are nameless so far. */
struct hostmach_task *
hostmach_task_named (mach_port_t name)
{
    struct hostmach_task *task = hostmach_current ();
    return name == IPC_NAME_TASK_SELF && task->active ? task : NULL;
}

struct hostmach_task *
hostmach_task_by_serial (uint64_t serial)
{
    struct hostmach_task *task;
    TAILQ_FOREACH (task, &tasks, link)
        if (task->serial == serial)
            return task;
    return NULL;
}

mach_port_t
mach_task_self (void)
{
    return IPC_NAME_TASK_SELF;
}

mach_port_t
mach_host_self (void)
{
    return IPC_NAME_HOST_SELF;
}

kern_return_t
hostmach_copy_send (hostmach_task_t from, mach_port_t name, hostmach_task_t to, mach_port_t *out)
{
    struct ipc_right right;
    ipc_lock ();
    kern_return_t kr = from->active && to->active ? KERN_SUCCESS : KERN_INVALID_TASK;
    struct ipc_entry *entry = kr == KERN_SUCCESS ? ipc_entry_lookup (from, name) : NULL;
    if (kr == KERN_SUCCESS && entry == NULL)
        kr = KERN_INVALID_NAME;
    if (kr == KERN_SUCCESS)
        kr = ipc_right_copyin (entry,
                               entry->type & MACH_PORT_TYPE_RECEIVE ? MACH_MSG_TYPE_MAKE_SEND
                                                                    : MACH_MSG_TYPE_COPY_SEND,
                               false, &right);
    if (kr == KERN_SUCCESS) {
        kr = ipc_right_copyout (to, right, out);
        if (kr != KERN_SUCCESS)
            ipc_right_release (right);
    }
    ipc_unlock ();
    return kr;
}

kern_return_t
hostmach_port_set_handler (mach_port_t name, hostmach_handler_t handler, void *cookie)
{
    struct hostmach_task *task = hostmach_current ();
    kern_return_t kr = KERN_SUCCESS;
    ipc_lock ();
    struct ipc_entry *entry = task->active ? ipc_entry_lookup (task, name) : NULL;
    if (entry == NULL) {
        kr = KERN_INVALID_NAME;
    } else if (!(entry->type & MACH_PORT_TYPE_RECEIVE)) {
        kr = KERN_INVALID_RIGHT;
    } else {
        struct ipc_port *port = entry->port;
        port->handler = handler;
        port->cookie = cookie;
        if (handler != NULL) {
            struct ipc_mqueue *mqueue = port->pset != NULL ? &port->pset->mqueue : &port->mqueue;
            for (struct ipc_kmsg *kmsg = TAILQ_FIRST (&mqueue->messages), *next; kmsg != NULL; kmsg = next) {
                next = TAILQ_NEXT (kmsg, link);
                if (kmsg->dest.port != port)
                    continue;
                TAILQ_REMOVE (&mqueue->messages, kmsg, link);
                atomic_fetch_sub (&ipc_messages, 1);
                port->msgcount--;
                ipc_mqueue_send (kmsg);
            }
            ipc_wake_all (&port->senders, MACH_MSG_SUCCESS);
        }
    }
    ipc_unlock ();
    return kr;
}

static int
by_name (const void *a, const void *b)
{
    mach_port_name_t x = ((const struct hostmach_right *) a)->name, y = ((const struct hostmach_right *) b)->name;
    return (x > y) - (x < y);
}

size_t
hostmach_list_rights (hostmach_task_t task, struct hostmach_right *out, size_t capacity)
{
    size_t filled = 0;
    ipc_lock ();
    size_t count = task->entry_count;
    for (size_t i = 0; i < task->bucket_count; i++)
        for (struct ipc_entry *entry = task->buckets[i]; entry != NULL; entry = entry->hash_next) {
            if (filled == capacity)
                continue;
            struct hostmach_right *right = &out[filled++];
            *right = (struct hostmach_right) {
                .name = entry->name,
                .type = entry->type | (entry->dnrequest != NULL ? MACH_PORT_TYPE_DNREQUEST : 0),
                .urefs = entry->urefs,
            };
            if (entry->type & MACH_PORT_TYPE_RECEIVE) {
                right->messages = entry->port->msgcount;
                right->send_once = entry->port->sorights;
                right->make_send = entry->port->mscount;
            }
        }
    ipc_unlock ();
    if (filled > 1)
        qsort (out, filled, sizeof *out, by_name);
    return count;
}
