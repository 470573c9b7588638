/* kernel.c - the kernel as a task: birth, death, and who is inside.

   Guarantee: the task is destroyed only when no thread has entered it and no handler of its
   ports runs, as HostMach demands.  Threads enter it only to send or release rights, which never
   blocks for long (a kernel's messages ignore queue limits). */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void *sk_alloc(size_t bytes)
{
    void *memory = calloc(1, bytes);
    if (memory == NULL) {
        fprintf(stderr, "scripted kernel: out of memory\n");
        abort();
    }
    return memory;
}

sk_kernel *sk_kernel_create(const char *name)
{
    struct sk_kernel *kernel = sk_alloc(sizeof *kernel);

    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    pthread_mutex_init(&kernel->lock, NULL);
    sk_cond_init(&kernel->changed);
    kernel->task = hostmach_task_create(kernel->name);
    if (kernel->task == NULL) {
        fprintf(stderr, "scripted kernel %s: no task\n", kernel->name);
        abort();
    }
    hostmach_task_set_kernel(kernel->task, TRUE);
    return kernel;
}

hostmach_task_t sk_kernel_task(sk_kernel *kernel)
{
    return kernel->task;
}

bool sk_enter(struct sk_kernel *kernel, hostmach_task_t *previous)
{
    pthread_mutex_lock(&kernel->lock);
    bool alive = !kernel->dead;
    if (alive)
        kernel->entered++;
    pthread_mutex_unlock(&kernel->lock);
    if (alive)
        *previous = hostmach_task_enter(kernel->task);
    return alive;
}

void sk_leave(struct sk_kernel *kernel, hostmach_task_t previous)
{
    hostmach_task_enter(previous);
    pthread_mutex_lock(&kernel->lock);
    if (--kernel->entered == 0)
        pthread_cond_broadcast(&kernel->changed);
    pthread_mutex_unlock(&kernel->lock);
}

/* No message is executed any more after this; those under way are waited for. */
static void stop_handlers(struct sk_kernel *kernel)
{
    hostmach_task_t previous = hostmach_task_enter(kernel->task);
    for (struct sk_object *object = kernel->objects; object != NULL; object = object->next) {
        pthread_mutex_lock(&object->lock);
        mach_port_t control = object->control;
        pthread_mutex_unlock(&object->lock);
        if (control != MACH_PORT_NULL)
            hostmach_port_set_handler(control, NULL, NULL);
    }
    hostmach_task_enter(previous);
    hostmach_task_drain(kernel->task);
}

static void destroy_held(struct sk_object *object)
{
    pthread_mutex_lock(&object->lock);
    struct sk_held *held = object->held;
    object->held = NULL;
    object->held_tail = &object->held;
    object->held_count = 0;
    pthread_mutex_unlock(&object->lock);
    while (held != NULL) {
        struct sk_held *next = held->next;
        if (MACH_PORT_VALID(held->reply))
            mach_port_deallocate(mach_task_self(), held->reply);
        held->reply = MACH_PORT_NULL;
        sk_held_destroy(object, held);
        held = next;
    }
}

/* In the kernel's task: what the object holds.  (It goes with the task; but where tasks are make-believe, it must go first.) */
static void destroy_rights(struct sk_object *object)
{
    destroy_held(object);
    pthread_mutex_lock(&object->lock);
    mach_port_t control = object->control, name = object->name, pager = object->pager;
    object->control = object->name = object->pager = MACH_PORT_NULL;
    pthread_mutex_unlock(&object->lock);
    if (control != MACH_PORT_NULL)
        mach_port_mod_refs(mach_task_self(), control, MACH_PORT_RIGHT_RECEIVE, -1);
    if (name != MACH_PORT_NULL)
        mach_port_mod_refs(mach_task_self(), name, MACH_PORT_RIGHT_RECEIVE, -1);
    if (pager != MACH_PORT_NULL)
        mach_port_deallocate(mach_task_self(), pager);
}

void sk_kernel_kill(sk_kernel *kernel)
{
    pthread_mutex_lock(&kernel->lock);
    bool first = !kernel->dead;
    kernel->dead = true;
    pthread_mutex_unlock(&kernel->lock);
    if (!first) {
        pthread_mutex_lock(&kernel->lock);
        while (!kernel->gone)
            pthread_cond_wait(&kernel->changed, &kernel->lock);
        pthread_mutex_unlock(&kernel->lock);
        return;
    }

    for (struct sk_object *object = kernel->objects; object != NULL; object = object->next)
        sk_object_die(object, KERN_TERMINATED);
    pthread_mutex_lock(&kernel->lock);
    while (kernel->entered != 0)
        pthread_cond_wait(&kernel->changed, &kernel->lock);
    pthread_mutex_unlock(&kernel->lock);
    stop_handlers(kernel);
    hostmach_task_t previous = hostmach_task_enter(kernel->task);
    for (struct sk_object *object = kernel->objects; object != NULL; object = object->next)
        destroy_rights(object);
    hostmach_task_enter(previous);
    hostmach_task_destroy(kernel->task);

    pthread_mutex_lock(&kernel->lock);
    kernel->gone = true;
    kernel->task = NULL;
    pthread_cond_broadcast(&kernel->changed);
    pthread_mutex_unlock(&kernel->lock);
}

static void free_object(struct sk_object *object)
{
    for (size_t i = 0; i < object->page_count; i++) {
        free(object->pages[i]->data);
        free(object->pages[i]);
    }
    free(object->pages);
    free(object->log);
    pthread_mutex_destroy(&object->lock);
    pthread_cond_destroy(&object->changed);
    free(object);
}

void sk_kernel_destroy(sk_kernel *kernel)
{
    sk_kernel_kill(kernel);
    while (kernel->objects != NULL) {
        struct sk_object *object = kernel->objects;
        kernel->objects = object->next;
        free_object(object);
    }
    pthread_mutex_destroy(&kernel->lock);
    pthread_cond_destroy(&kernel->changed);
    free(kernel);
}
