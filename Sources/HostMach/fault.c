/* fault.c: allocation, and faults that tests inject into it, into pages and into sending.

   With nothing injected each check is one relaxed load. What is allocated for a kernel-like task is never struck: a kernel does
   not go on without its own memory, it waits for it or stops the machine. */

#include "internal.h"

#include <pthread.h>
#include <stdlib.h>

struct countdown {
    _Atomic bool armed;
    pthread_mutex_t lock;
    unsigned skip, count;
};

static struct countdown memory = { .lock = PTHREAD_MUTEX_INITIALIZER };
static struct countdown pages = { .lock = PTHREAD_MUTEX_INITIALIZER };
static struct countdown sends = { .lock = PTHREAD_MUTEX_INITIALIZER };
static struct hostmach_fault send_fault; /* guarded by sends.lock */
static _Atomic unsigned struck;

/* With the lock held. Returns what was left to skip. */
static unsigned
arm_locked (struct countdown *countdown, unsigned skip, unsigned count)
{
    unsigned left = countdown->count != 0 ? countdown->skip : 0;
    countdown->skip = skip;
    countdown->count = count;
    atomic_store (&countdown->armed, count != 0);
    return left;
}

static unsigned
arm (struct countdown *countdown, unsigned skip, unsigned count)
{
    pthread_mutex_lock (&countdown->lock);
    unsigned left = arm_locked (countdown, skip, count);
    pthread_mutex_unlock (&countdown->lock);
    return left;
}

/* With the lock held. */
static bool
strikes_locked (struct countdown *countdown)
{
    if (countdown->count == 0)
        return false;
    if (countdown->skip != 0) {
        countdown->skip--;
        return false;
    }
    if (countdown->count != ~0u && --countdown->count == 0)
        atomic_store (&countdown->armed, false);
    atomic_fetch_add (&struck, 1);
    return true;
}

static bool
strikes (struct countdown *countdown, const struct hostmach_task *task)
{
    if (!atomic_load_explicit (&countdown->armed, memory_order_relaxed) || task->kernel)
        return false;
    pthread_mutex_lock (&countdown->lock);
    bool result = strikes_locked (countdown);
    pthread_mutex_unlock (&countdown->lock);
    return result;
}

void *
ipc_alloc_for (const struct hostmach_task *task, size_t size)
{
    return strikes (&memory, task) ? NULL : malloc (size);
}

void *
ipc_alloc (size_t size)
{
    return ipc_alloc_for (hostmach_current (), size);
}

void
ipc_free (void *block)
{
    free (block);
}

bool
ipc_fault_vm (void)
{
    return strikes (&pages, hostmach_current ());
}

mach_msg_return_t
ipc_fault_send (mach_msg_id_t id)
{
    if (!atomic_load_explicit (&sends.armed, memory_order_relaxed))
        return MACH_MSG_SUCCESS;
    mach_msg_return_t result = MACH_MSG_SUCCESS;
    pthread_mutex_lock (&sends.lock);
    if ((send_fault.task == NULL || send_fault.task == hostmach_current ())
        && (send_fault.id == 0 || send_fault.id == id) && strikes_locked (&sends))
        result = send_fault.error;
    pthread_mutex_unlock (&sends.lock);
    return result;
}

unsigned
hostmach_fail_send (const struct hostmach_fault *fault)
{
    pthread_mutex_lock (&sends.lock);
    if (fault != NULL)
        send_fault = *fault;
    unsigned left = fault != NULL ? arm_locked (&sends, fault->skip, fault->count) : arm_locked (&sends, 0, 0);
    pthread_mutex_unlock (&sends.lock);
    return left;
}

unsigned
hostmach_fail_memory (unsigned skip, unsigned count)
{
    return arm (&memory, skip, count);
}

unsigned
hostmach_fail_vm (unsigned skip, unsigned count)
{
    return arm (&pages, skip, count);
}

unsigned
hostmach_faults_struck (void)
{
    return atomic_load (&struck);
}
