/* object.c - an object's life: init, ready, terminate, death.

   The kernel knows an object by its name for the pager's port.  An object is *used* by mappings and by threads that are about to map or copy;
   the last use ends it, unless the pager lets it be cached: then its pages stay, for the next vm_map.  Ending: no new operation begins,
   those under way are awaited (none waits for a pager), dirty and precious pages go back singly, then
   memory_object_terminate with both receive rights.  vm_map of an object that is ending waits for the end and begins anew.

   A dead object (destroyed by the pager, its pager's port dead, the kernel killed) has no pages; its mappings are SIGBUS.  It ends with its last use;
   vm_map of the same port begins another. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mach/mach_port.h>
#include <mach/notify.h>

#include "internal.h"

#define FILE_BYTES ((off_t)(INT64_MAX & ~(int64_t)0xffff))

bool mk_begin(struct mk_object *object)
{
    if (object->terminating)
        return false;
    object->operations++;
    return true;
}

void mk_end(struct mk_object *object)
{
    if (--object->operations == 0)
        mk_object_signal(object);
}

/* ---- Birth ---- */

/* Sparse, as long as a file can be; memory is taken by pages only. */
static int new_file(void)
{
    int file = memfd_create("memory object", MFD_CLOEXEC);

    if (file >= 0 && ftruncate(file, FILE_BYTES) != 0) {
        close(file);
        return -1;
    }
    return file;
}

/* With kernel->lock held.  One that was used long ago is taken first: a message to it, if any was under way, is over by now. */
static struct mk_object *new_object(struct mk_kernel *kernel)
{
    struct mk_object **link = &kernel->unused, *object;
    int file = new_file();

    if (file < 0)
        return NULL;
    unsigned length = 0;
    for (struct mk_object *at = kernel->unused; at != NULL; at = at->next)
        length++;
    if (length > 16) {
        while ((*link)->next != NULL)
            link = &(*link)->next;
        object = *link;
        *link = NULL;
        object->terminating = object->ready = object->may_cache = false;
        object->dead = 0;
        object->copy_strategy = MEMORY_OBJECT_COPY_NONE;
    } else {
        object = calloc(1, sizeof *object);
        if (object == NULL) {
            close(file);
            return NULL;
        }
        pthread_mutex_init(&object->lock, NULL);
        pthread_cond_init(&object->changed, NULL);
        object->kernel = kernel;
    }
    object->file = file;
    return object;
}

/* In the kernel's task: the object's ports, and word of its pager's death. */
static kern_return_t make_ports(struct mk_object *object)
{
    mach_port_t previous = MACH_PORT_NULL, control = MACH_PORT_NULL;
    kern_return_t kr = mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &control);

    pthread_mutex_lock(&object->lock);
    object->control = control;
    pthread_mutex_unlock(&object->lock);
    if (kr == KERN_SUCCESS)
        kr = mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &object->name);
    if (kr == KERN_SUCCESS)
        kr = hostmach_port_set_handler(control, mk_control_handler, object);
    if (kr == KERN_SUCCESS)
        kr = mach_port_request_notification(mach_task_self(), object->pager, MACH_NOTIFY_DEAD_NAME, 0, object->kernel->notify,
                                            MACH_MSG_TYPE_MAKE_SEND_ONCE, &previous);
    if (MACH_PORT_VALID(previous))
        mach_port_deallocate(mach_task_self(), previous);
    return kr;
}

/* In the kernel's task, with kernel->lock held: the living object behind NAME, used once more; or a new one (then *made); or NULL. */
static struct mk_object *find_or_make(struct mk_kernel *kernel, mach_port_t name, bool *made)
{
    struct mk_object *object = kernel->objects;

    *made = false;
    while (object != NULL) {
        bool ending = false, found = false;
        pthread_mutex_lock(&object->lock);
        if (object->pager == name && object->dead == 0) {
            ending = object->terminating;
            found = !ending;
            if (found)
                object->uses++;
        }
        pthread_mutex_unlock(&object->lock);
        if (found)
            return object;
        if (ending) {
            pthread_cond_wait(&kernel->changed, &kernel->lock);
            object = kernel->objects;
        } else {
            object = object->next;
        }
    }
    object = new_object(kernel);
    if (object == NULL)
        return NULL;
    *made = true;
    pthread_mutex_lock(&object->lock);
    object->pager = name;
    object->uses = 1;
    object->operations = 1;             /* until init is sent */
    pthread_mutex_unlock(&object->lock);
    object->next = kernel->objects;
    kernel->objects = object;
    kernel->object_count++;
    return object;
}

static kern_return_t await_ready(struct mk_object *object)
{
    kern_return_t kr = KERN_SUCCESS;

    pthread_mutex_lock(&object->lock);
    while (!object->ready && object->dead == 0)
        mk_object_sleep(object);
    if (object->dead != 0)
        kr = object->dead == KERN_TERMINATED ? KERN_TERMINATED : KERN_MEMORY_ERROR;
    pthread_mutex_unlock(&object->lock);
    return kr;
}

struct mk_object *mk_object_use(struct mk_kernel *kernel, mach_port_t port, kern_return_t *error)
{
    hostmach_task_t mapper = hostmach_task_current(), previous;
    mach_port_t name;
    bool made;

    *error = KERN_TERMINATED;
    if (!mk_kernel_enter(kernel, &previous))
        return NULL;
    kern_return_t kr = hostmach_copy_send(mapper, port, kernel->task, &name);
    struct mk_object *object = NULL;
    if (kr != KERN_SUCCESS) {
        *error = kr == KERN_RESOURCE_SHORTAGE ? kr : KERN_INVALID_ARGUMENT;
    } else {
        pthread_mutex_lock(&kernel->lock);
        object = find_or_make(kernel, name, &made);
        pthread_mutex_unlock(&kernel->lock);
        if (object == NULL)
            *error = KERN_RESOURCE_SHORTAGE;
        if (object == NULL || !made)
            mach_port_deallocate(mach_task_self(), name);
    }
    if (object != NULL && made) {
        kr = make_ports(object);
        if (kr == KERN_SUCCESS)
            kr = mk_send_init(object);
        bool introduced = kr == KERN_SUCCESS;
        if (!introduced)
            mk_object_die(object, KERN_MEMORY_ERROR);
        pthread_mutex_lock(&object->lock);
        object->introduced = introduced;
        mk_end(object);
        pthread_mutex_unlock(&object->lock);
    }
    mk_kernel_leave(kernel, previous);
    if (object == NULL)
        return NULL;
    *error = await_ready(object);
    if (*error != KERN_SUCCESS) {
        mk_object_unuse(object);
        return NULL;
    }
    return object;
}

/* ---- End ---- */

/* In the kernel's task: rights that terminate did not take. */
static void release_ports(struct mk_object *object)
{
    if (object->control != MACH_PORT_NULL)
        mach_port_mod_refs(mach_task_self(), object->control, MACH_PORT_RIGHT_RECEIVE, -1);
    if (object->name != MACH_PORT_NULL)
        mach_port_mod_refs(mach_task_self(), object->name, MACH_PORT_RIGHT_RECEIVE, -1);
    mach_port_deallocate(mach_task_self(), object->pager);
}

static void end_ports(struct mk_object *object)
{
    hostmach_task_t previous;
    mach_port_t request = MACH_PORT_NULL;

    if (!mk_kernel_enter(object->kernel, &previous))
        return;                         /* the task took them along */
    if (mach_port_request_notification(mach_task_self(), object->pager, MACH_NOTIFY_DEAD_NAME, 0, MACH_PORT_NULL,
                                       MACH_MSG_TYPE_MAKE_SEND_ONCE, &request) == KERN_SUCCESS
        && MACH_PORT_VALID(request))
        mach_port_deallocate(mach_task_self(), request);
    unsigned attempt = 0;
    kern_return_t error = object->introduced ? mk_send_terminate(object) : KERN_FAILURE;
    while (error != KERN_SUCCESS && mk_try_again(error, attempt++))
        error = mk_send_terminate(object);
    if (error != KERN_SUCCESS)
        release_ports(object);
    mk_kernel_leave(object->kernel, previous);
}

/* With the lock held: no page is left. */
static void drop_pages(struct mk_object *object)
{
    struct mk_page *page;

    for (mk_index at = 0; (page = mk_page_next(object, at, UINT64_MAX)) != NULL; at = mk_page_index(page) + 1)
        if (!page->busy)
            mk_page_drop(object, page);
}

void mk_object_free(struct mk_object *object)
{
    pthread_mutex_lock(&object->lock);
    drop_pages(object);
    mk_pages_free(object);
    free(object->mappings);
    object->mappings = NULL;
    object->mapping_room = object->mapping_end = object->mapping_count = 0;
    if (object->file >= 0)
        close(object->file);
    object->file = -1;
    object->pager = object->control = object->name = MACH_PORT_NULL;
    pthread_mutex_unlock(&object->lock);
}

static void terminate(struct mk_object *object)
{
    static const struct mk_lock last = {
        .should_return = MEMORY_OBJECT_RETURN_ALL,
        .flush = true,
        .value = VM_PROT_NO_CHANGE,
        .run_max = 1,
        .is_last = true,
    };
    struct mk_kernel *kernel = object->kernel;

    mk_lock_pages(object, 0, UINT64_MAX, &last);
    end_ports(object);
    mk_object_free(object);
    pthread_mutex_lock(&kernel->lock);
    struct mk_object **link = &kernel->objects;
    while (*link != object)
        link = &(*link)->next;
    *link = object->next;
    object->next = kernel->unused;
    kernel->unused = object;
    kernel->object_count--;
    pthread_cond_broadcast(&kernel->changed);
    pthread_mutex_unlock(&kernel->lock);
}

/* With the lock held; gives it up. */
static void check_use(struct mk_object *object)
{
    bool end = object->uses == 0 && !object->terminating && (!object->may_cache || object->dead != 0);

    if (end) {
        object->terminating = true;
        while (object->operations != 0)
            mk_object_sleep(object);
    }
    pthread_mutex_unlock(&object->lock);
    if (end)
        terminate(object);
}

void mk_object_check_use(struct mk_object *object)
{
    pthread_mutex_lock(&object->lock);
    check_use(object);
}

void mk_object_unuse(struct mk_object *object)
{
    pthread_mutex_lock(&object->lock);
    object->uses--;
    check_use(object);
}

void mk_object_die(struct mk_object *object, kern_return_t why)
{
    pthread_mutex_lock(&object->lock);
    if (object->dead == 0) {
        object->dead = why;
        for (uint32_t i = 0; i < object->mapping_end; i++) {
            struct mk_mapping *mapping = object->mappings[i];
            if (mapping == NULL)
                continue;
            mk_map_bus(mapping, mapping->start, mapping->end - mapping->start);
            mk_uffd_wake(object->kernel, mapping->start, mapping->end - mapping->start);
        }
        drop_pages(object);
        if (object->file >= 0)
            fallocate(object->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, FILE_BYTES);
    }
    mk_object_signal(object);
    pthread_mutex_unlock(&object->lock);
}
