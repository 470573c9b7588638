/* object.c - an object's life: init, ready, terminate, death.

   States: mapped (init sent), ready, then one of
     terminated   by the test; both receive rights went to the pager
     dead         destroyed by the pager, never mapped (its port was dead), or its kernel died
   dead is set in all of these; whoever waits for a page gets its value.  terminating is set as well
   when no message may be sent any more. */

#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

static struct sk_object *new_object(struct sk_kernel *kernel)
{
    struct sk_object *object = sk_alloc(sizeof *object);

    object->kernel = kernel;
    object->held_tail = &object->held;
    object->log = sk_alloc(SK_LOG_MESSAGES * sizeof *object->log);
    pthread_mutex_init(&object->lock, NULL);
    sk_cond_init(&object->changed);
    return object;
}

/* In the kernel's task: make the object's two ports. */
static kern_return_t make_ports(struct sk_object *object)
{
    kern_return_t err = mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE,
                                           &object->control);
    if (err == KERN_SUCCESS)
        err = mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &object->name);
    if (err == KERN_SUCCESS)
        err = hostmach_port_set_handler(object->control, sk_control_handler, object);
    return err;
}

sk_object *sk_map_async(sk_kernel *kernel, mach_port_t port)
{
    struct sk_object *object = new_object(kernel);
    hostmach_task_t mapper = hostmach_task_current();
    hostmach_task_t previous;
    kern_return_t err = KERN_TERMINATED;

    if (sk_enter(kernel, &previous)) {
        err = hostmach_copy_send(mapper, port, kernel->task, &object->pager);
        if (err == KERN_SUCCESS)
            err = make_ports(object);
        pthread_mutex_lock(&kernel->lock);
        object->next = kernel->objects;
        kernel->objects = object;
        pthread_mutex_unlock(&kernel->lock);
        if (err == KERN_SUCCESS)
            err = sk_send(object, &(struct sk_message){ .id = SK_INIT,
                                                        .length = vm_page_size },
                          NULL, MACH_PORT_NULL, 0);
        sk_leave(kernel, previous);
    } else {
        pthread_mutex_lock(&kernel->lock);
        object->next = kernel->objects;
        kernel->objects = object;
        pthread_mutex_unlock(&kernel->lock);
    }
    if (err != KERN_SUCCESS)
        sk_object_die(object, err);
    return object;
}

sk_object *sk_map(sk_kernel *kernel, mach_port_t port)
{
    sk_object *object = sk_map_async(kernel, port);
    int err = sk_wait_ready(object, 0);

    if (err != 0) {
        fprintf(stderr, "scripted kernel %s: sk_map failed: %#x\n", kernel->name, err);
        abort();
    }
    return object;
}

int sk_wait_ready(sk_object *object, unsigned timeout_ms)
{
    struct sk_wait wait;
    int err = 0;

    sk_wait_begin(&wait, timeout_ms, "sk_wait_ready", 0);
    pthread_mutex_lock(&object->lock);
    while (!object->ready && object->dead == 0 && err == 0)
        err = sk_wait_step(object, &wait);
    if (object->dead != 0)
        err = object->dead;
    else if (object->ready)
        err = 0;
    pthread_mutex_unlock(&object->lock);
    return err;
}

void sk_object_die(struct sk_object *object, kern_return_t why)
{
    pthread_mutex_lock(&object->lock);
    if (object->dead == 0)
        object->dead = why;
    for (size_t i = 0; i < object->page_count; i++)
        if (!object->pages[i]->busy)
            sk_page_drop(object, object->pages[i]);
    pthread_cond_broadcast(&object->changed);
    pthread_mutex_unlock(&object->lock);
}

/* With the lock held: return PAGE by itself, and drop it. */
static void return_page(struct sk_object *object, struct sk_page *page)
{
    struct sk_message message = {
        .id = SK_DATA_RETURN,
        .offset = page->offset,
        .length = vm_page_size,
        .dirty = page->dirty,
    };
    void *copy = NULL;

    if (posix_memalign(&copy, vm_page_size, vm_page_size) != 0)
        abort();
    __builtin_memcpy(copy, page->data, vm_page_size);
    page->busy = true;
    pthread_mutex_unlock(&object->lock);
    sk_send(object, &message, copy, MACH_PORT_NULL, 0);
    free(copy);
    pthread_mutex_lock(&object->lock);
    page->busy = false;
    sk_page_drop(object, page);
}

int sk_terminate(sk_object *object)
{
    struct sk_wait wait;
    hostmach_task_t previous;

    sk_wait_begin(&wait, 0, "sk_terminate", 0);
    pthread_mutex_lock(&object->lock);
    if (object->terminating || object->control == MACH_PORT_NULL) {
        pthread_mutex_unlock(&object->lock);
        return EINVAL;
    }
    object->terminating = true;
    while (object->operations != 0)
        sk_wait_step(object, &wait);
    if (object->dead == 0)
        object->dead = KERN_TERMINATED;
    pthread_cond_broadcast(&object->changed);
    for (size_t i = 0; i < object->page_count; i++) {
        struct sk_page *page = object->pages[i];
        if (page->dirty || page->precious)
            return_page(object, page);
        else
            sk_page_drop(object, page);
    }
    pthread_mutex_unlock(&object->lock);

    int err = sk_send(object, &(struct sk_message){ .id = SK_TERMINATE }, NULL,
                      MACH_PORT_NULL, 0);
    pthread_mutex_lock(&object->lock);
    mach_port_t control = object->control;
    mach_port_t name = object->name;
    mach_port_t pager = object->pager;
    object->control = object->name = object->pager = MACH_PORT_NULL;
    pthread_mutex_unlock(&object->lock);
    if (err != 0 && sk_enter(object->kernel, &previous)) {
        mach_port_mod_refs(mach_task_self(), control, MACH_PORT_RIGHT_RECEIVE, -1);
        mach_port_mod_refs(mach_task_self(), name, MACH_PORT_RIGHT_RECEIVE, -1);
        mach_port_deallocate(mach_task_self(), pager);
        sk_leave(object->kernel, previous);
    }
    return err;
}

int sk_evict(sk_object *object, vm_offset_t offset)
{
    int err = 0;

    pthread_mutex_lock(&object->lock);
    struct sk_page *page = sk_page_find(object, offset);
    if (page == NULL || (page->state == SK_PAGE_ABSENT && !page->busy)) {
        err = ENOENT;
    } else if (page->busy || page->state == SK_PAGE_REQUESTED) {
        err = EBUSY;
    } else if (!page->dirty && !page->precious) {
        sk_page_drop(object, page);
    } else if (!sk_begin(object)) {
        err = KERN_TERMINATED;
    } else {
        return_page(object, page);
        sk_end(object);
    }
    pthread_mutex_unlock(&object->lock);
    return err;
}

int sk_evict_all(sk_object *object)
{
    vm_offset_t at = 0;
    int err = 0;

    while (err == 0) {
        pthread_mutex_lock(&object->lock);
        size_t index = sk_page_index(object, at);
        while (index < object->page_count
               && object->pages[index]->state != SK_PAGE_PRESENT)
            index++;
        bool found = index < object->page_count;
        vm_offset_t offset = found ? object->pages[index]->offset : 0;
        pthread_mutex_unlock(&object->lock);
        if (!found)
            break;
        err = sk_evict(object, offset);
        if (err == ENOENT || err == EBUSY)
            err = 0;            /* somebody else is returning or has dropped it */
        at = offset + vm_page_size;
        if (at == 0)
            break;
    }
    return err;
}

unsigned sk_drop_clean(sk_object *object)
{
    unsigned dropped = 0;

    pthread_mutex_lock(&object->lock);
    for (size_t i = 0; i < object->page_count; i++) {
        struct sk_page *page = object->pages[i];
        if (page->state == SK_PAGE_PRESENT && !page->busy && !page->dirty
            && !page->precious) {
            sk_page_drop(object, page);
            dropped++;
        }
    }
    pthread_mutex_unlock(&object->lock);
    return dropped;
}
