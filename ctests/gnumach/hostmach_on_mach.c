/* hostmach_on_mach.c: those of HostMach's own calls that tests and scripted kernels use, on the real kernel.

   Counting: what the real kernel says of this task, without what BareMach holds.

   Tasks: a scripted kernel's is a name for what it does in our one task. Its ports are in a port set of its own, and its
   handlers run in a thread of its own. A real kernel executes what it is sent before the send returns, so whoever sends to a scripted
   one waits until it has (wait_executed). Its rights are in the same name space as the pager's: the pager sees that a control port is not its
   alone, and leaves its name.  */

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hostmach/hostmach.h>
#include <mach.h>
#include <bare/bare.h>

#include "runner.h"

/* ---- Counting ---- */

size_t hostmach_list_rights(hostmach_task_t task, struct hostmach_right *out, size_t capacity)
{
    (void) task, (void) out, (void) capacity;
    return bare_count().names;
}

size_t hostmach_port_count(void) { return bare_count().receive; }
size_t hostmach_vm_bytes(void) { return bare_count().bytes; }
size_t hostmach_message_count(void) { return bare_count_messages(); }

/* store.c gives signals their default meaning; there are none.  */
int sigaction(int number, const struct sigaction *restrict new, struct sigaction *restrict old)
{
    (void) number, (void) new;
    if (old)
        *old = (struct sigaction) { .sa_flags = 0 };
    return 0;
}

void (*signal(int number, void (*handler)(int)))(int)
{
    (void) number, (void) handler;
    return SIG_ERR;
}

/* ---- Tasks ---- */

struct handled {
    struct handled *next;
    mach_port_t port;
    hostmach_handler_t handler;
    void *cookie;
    mach_port_seqno_t executed;         /* messages, since the port was made */
};

struct hostmach_task {
    char name[32];
    mach_port_t set;
    pthread_t thread;
    struct handled *handled;            /* under the lock, as the rest */
    int running;                        /* a handler */
    struct hostmach_task *next;
};

static struct hostmach_task *tasks;

static struct hostmach_task main_task = { .name = "main" };
static _Thread_local hostmach_task_t current;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

hostmach_task_t hostmach_task_main(void) { return &main_task; }
const char *hostmach_task_name(hostmach_task_t task) { return task->name; }
hostmach_task_t hostmach_task_current(void) { return current ? current : &main_task; }
void hostmach_task_set_kernel(hostmach_task_t task, boolean_t is_kernel) { (void) task, (void) is_kernel; }

hostmach_task_t hostmach_task_enter(hostmach_task_t task)
{
    hostmach_task_t before = hostmach_task_current();
    current = task;
    return before;
}

static int find(hostmach_task_t task, mach_port_t port, struct handled *out)
{
    pthread_mutex_lock(&lock);
    struct handled *handled = task->handled;
    while (handled && handled->port != port)
        handled = handled->next;
    if (handled) {
        *out = *handled;
        task->running = 1;
    }
    pthread_mutex_unlock(&lock);
    return handled != NULL;
}

/* With the lock.  NULL: no scripted kernel's.  */
static struct handled *find_any(mach_port_t port, hostmach_task_t *task)
{
    for (*task = tasks; *task; *task = (*task)->next)
        for (struct handled *handled = (*task)->handled; handled; handled = handled->next)
            if (handled->port == port)
                return handled;
    return NULL;
}

void wait_executed(mach_port_t control)
{
    hostmach_task_t task;
    mach_port_status_t status;
    pthread_mutex_lock(&lock);
    struct handled *handled;
    /* Asked again each time: a message that a waiting receiver gets counts as received and as queued until that one runs.  */
    while ((handled = find_any(control, &task)) != NULL && task->thread != pthread_self()
           && mach_port_get_receive_status(mach_task_self(), control, &status) == KERN_SUCCESS
           && handled->executed < status.mps_seqno + status.mps_msgcount)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void *serve(void *argument)
{
    enum { message_size = 8192 };
    hostmach_task_t task = argument;
    mach_msg_header_t *message = malloc(message_size);
    current = task;
    while (mach_msg(message, MACH_RCV_MSG, 0, message_size, task->set, 0, MACH_PORT_NULL) == MACH_MSG_SUCCESS) {
        struct handled handled;
        if (!find(task, message->msgh_local_port, &handled)) {
            mach_msg_destroy(message);
            continue;
        }
        handled.handler(message, handled.cookie);
        pthread_mutex_lock(&lock);
        task->running = 0;
        for (struct handled *other = task->handled; other; other = other->next)
            if (other->port == handled.port)
                other->executed++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    free(message);
    return NULL;
}

hostmach_task_t hostmach_task_create(const char *name)
{
    hostmach_task_t task = calloc(1, sizeof *task);
    if (!task)
        return NULL;
    snprintf(task->name, sizeof task->name, "%s", name);
    if (mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_PORT_SET, &task->set) != KERN_SUCCESS
        || pthread_create(&task->thread, NULL, serve, task) != 0) {
        free(task);
        return NULL;
    }
    pthread_mutex_lock(&lock);
    task->next = tasks;
    tasks = task;
    pthread_mutex_unlock(&lock);
    return task;
}

void hostmach_task_destroy(hostmach_task_t task)
{
    if (task == NULL || task == &main_task)
        return;
    mach_port_mod_refs(mach_task_self(), task->set, MACH_PORT_RIGHT_PORT_SET, -1);
    pthread_join(task->thread, NULL);
    pthread_mutex_lock(&lock);
    struct hostmach_task **link = &tasks;
    while (*link != task)
        link = &(*link)->next;
    *link = task->next;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (current == task)
        current = NULL;
    while (task->handled) {
        struct handled *next = task->handled->next;
        free(task->handled);
        task->handled = next;
    }
    free(task);
}

void hostmach_task_drain(hostmach_task_t task)
{
    pthread_mutex_lock(&lock);
    while (task->running && pthread_self() != task->thread)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

kern_return_t hostmach_copy_send(hostmach_task_t from, mach_port_t name, hostmach_task_t to, mach_port_t *out)
{
    mach_port_type_t type;
    kern_return_t result = mach_port_type(mach_task_self(), name, &type);
    (void) from, (void) to;
    if (result == KERN_SUCCESS)
        result = type & MACH_PORT_TYPE_RECEIVE ? mach_port_insert_right(mach_task_self(), name, name, MACH_MSG_TYPE_MAKE_SEND)
                                               : mach_port_mod_refs(mach_task_self(), name, MACH_PORT_RIGHT_SEND, 1);
    /* A kernel's messages ignore queue limits; ours cannot, but may have more room.  */
    if (result == KERN_SUCCESS && (type & MACH_PORT_TYPE_RECEIVE))
        mach_port_set_qlimit(mach_task_self(), name, MACH_PORT_QLIMIT_MAX);
    *out = result == KERN_SUCCESS ? name : MACH_PORT_NULL;
    return result;
}

kern_return_t hostmach_port_set_handler(mach_port_t name, hostmach_handler_t handler, void *cookie)
{
    hostmach_task_t task = hostmach_task_current();
    pthread_mutex_lock(&lock);
    struct handled **link = &task->handled;
    while (*link && (*link)->port != name)
        link = &(*link)->next;
    if (*link) {
        struct handled *old = *link;
        *link = old->next;
        free(old);
        pthread_cond_broadcast(&changed);
    }
    if (handler) {
        struct handled *handled = malloc(sizeof *handled);
        *handled = (struct handled) { task->handled, name, handler, cookie, 0 };
        task->handled = handled;
    }
    pthread_mutex_unlock(&lock);
    return handler ? mach_port_move_member(mach_task_self(), name, task->set) : KERN_SUCCESS;
}
