/* kernel.c - a kernel: birth, death, who is inside; the thread's kernel and the default one.

   Guarantee: the task is destroyed only when no thread has entered it and no handler of its ports runs, as HostMach demands.  Threads enter it
   only to send or to release rights, which does not block (a kernel's messages ignore queue limits). */

#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <mach/mach_port.h>

#include "internal.h"

static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;
static bool started;
static _Atomic (mk_kernel *) default_kernel;
static _Thread_local mk_kernel *entered_kernel;

/* ---- Starting ---- */

/* Linux 6.4: a page can be put into a page table write-protected.  No feature bit says so. */
static int probe_continue(struct mk_kernel *probe)
{
    int error = EOPNOTSUPP, file = memfd_create("probe", MFD_CLOEXEC);
    void *page = MAP_FAILED;

    if (file >= 0 && ftruncate(file, (off_t)vm_page_size) == 0)
        page = mmap(NULL, vm_page_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) {
        error = mk_uffd_register(probe, (vm_address_t)page, vm_page_size, true);
        if (error == 0 && pwrite(file, "", 1, 0) == 1)
            error = mk_uffd_continue(probe, (vm_address_t)page, true);
        munmap(page, vm_page_size);
    }
    if (file >= 0)
        close(file);
    return error == EINVAL ? EOPNOTSUPP : error;
}

int mk_start(void)
{
    struct mk_kernel probe = { .uffd = -1 };
    int error = 0;

    pthread_mutex_lock(&start_lock);
    if (!started || mk_pretended() != 0) {
        error = mk_uffd_open(mk_pretended(), &probe.uffd, &probe.has_poison);
        if (error == 0) {
            error = probe_continue(&probe);
            close(probe.uffd);
        }
        if (error == 0 && mk_bus_file() < 0)
            error = errno;
        if (error == 0 && !started && hostmach_vm_set_backend(&mk_backend) != KERN_SUCCESS)
            error = EEXIST;
        started |= error == 0;
    }
    pthread_mutex_unlock(&start_lock);
    return error;
}

/* ---- Inside ---- */

bool mk_kernel_enter(struct mk_kernel *kernel, hostmach_task_t *previous)
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

void mk_kernel_leave(struct mk_kernel *kernel, hostmach_task_t previous)
{
    hostmach_task_enter(previous);
    pthread_mutex_lock(&kernel->lock);
    if (--kernel->entered == 0 && kernel->dead)
        pthread_cond_broadcast(&kernel->changed);
    pthread_mutex_unlock(&kernel->lock);
}

hostmach_task_t mk_kernel_task(mk_kernel *kernel)
{
    return kernel->task;
}

void mk_kernel_set_cluster(mk_kernel *kernel, unsigned pages)
{
    unsigned cluster = 1;

    while (cluster * 2 <= pages && cluster < MK_CLUSTER_PAGES_MAX)
        cluster *= 2;
    atomic_store(&kernel->cluster, cluster);
}

mk_kernel *mk_enter(mk_kernel *kernel)
{
    mk_kernel *previous = entered_kernel;

    mk_start();
    entered_kernel = kernel;
    return previous;
}

struct mk_kernel *mk_kernel_current(void)
{
    static pthread_mutex_t make_lock = PTHREAD_MUTEX_INITIALIZER;
    struct mk_kernel *kernel = entered_kernel;

    if (kernel != NULL)
        return kernel;
    pthread_mutex_lock(&make_lock);
    kernel = atomic_load(&default_kernel);
    if (kernel == NULL) {
        kernel = mk_kernel_create("kernel", 0);
        atomic_store(&default_kernel, kernel);
    }
    pthread_mutex_unlock(&make_lock);
    return kernel;
}

/* ---- Birth ---- */

static int make_task(struct mk_kernel *kernel)
{
    kernel->task = hostmach_task_create(kernel->name);
    if (kernel->task == NULL)
        return ENOMEM;
    hostmach_task_set_kernel(kernel->task, TRUE);
    hostmach_task_t previous = hostmach_task_enter(kernel->task);
    kern_return_t kr = mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &kernel->notify);
    if (kr == KERN_SUCCESS)
        kr = hostmach_port_set_handler(kernel->notify, mk_notify_handler, kernel);
    hostmach_task_enter(previous);
    return kr == KERN_SUCCESS ? 0 : ENOMEM;
}

static void init_locks(struct mk_kernel *kernel)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&kernel->lock, NULL);
    pthread_cond_init(&kernel->changed, NULL);
    pthread_mutex_init(&kernel->cache_lock, NULL);
    pthread_mutex_init(&kernel->error_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&kernel->error_changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void free_kernel(struct mk_kernel *kernel)
{
    if (kernel->uffd >= 0)
        close(kernel->uffd);
    pthread_mutex_destroy(&kernel->lock);
    pthread_cond_destroy(&kernel->changed);
    pthread_mutex_destroy(&kernel->cache_lock);
    pthread_mutex_destroy(&kernel->error_lock);
    pthread_cond_destroy(&kernel->error_changed);
    free(kernel);
}

mk_kernel *mk_kernel_create(const char *name, size_t cache_pages)
{
    int error = mk_start();
    struct mk_kernel *kernel = error == 0 ? calloc(1, sizeof *kernel) : NULL;

    if (kernel == NULL) {
        errno = error != 0 ? error : ENOMEM;
        return NULL;
    }
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    init_locks(kernel);
    mk_cache_init(kernel);
    kernel->errors_end = &kernel->errors;
    kernel->uffd = -1;
    mk_kernel_set_cache(kernel, cache_pages);
    mk_kernel_set_cluster(kernel, 1);
    error = mk_uffd_open(mk_pretended(), &kernel->uffd, &kernel->has_poison);
    if (error == 0)
        error = make_task(kernel);
    if (error == 0 && (kernel->watch = hostmach_watch_create(kernel->uffd, mk_serve_faults, kernel)) == NULL)
        error = errno;
    if (error != 0) {
        hostmach_task_destroy(kernel->task);
        free_kernel(kernel);
        errno = error;
        return NULL;
    }
    return kernel;
}

/* ---- Death ---- */

/* No message is executed any more after this; those under way are waited for. */
static void stop_handlers(struct mk_kernel *kernel)
{
    hostmach_task_t previous = hostmach_task_enter(kernel->task);

    hostmach_port_set_handler(kernel->notify, NULL, NULL);
    pthread_mutex_lock(&kernel->lock);
    for (struct mk_object *object = kernel->objects; object != NULL; object = object->next) {
        pthread_mutex_lock(&object->lock);
        mach_port_t control = object->control;
        pthread_mutex_unlock(&object->lock);
        if (control != MACH_PORT_NULL)
            hostmach_port_set_handler(control, NULL, NULL);
    }
    pthread_mutex_unlock(&kernel->lock);
    hostmach_task_enter(previous);
    hostmach_task_drain(kernel->task);
}

void mk_kernel_kill(mk_kernel *kernel)
{
    pthread_mutex_lock(&kernel->lock);
    bool first = !kernel->dead;
    kernel->dead = true;
    while (!first && !kernel->gone)
        pthread_cond_wait(&kernel->changed, &kernel->lock);
    pthread_cond_broadcast(&kernel->changed);
    bool inside = true;
    while (first && inside) {
        /* Whoever is inside may make another object still. */
        inside = kernel->entered != 0;
        for (struct mk_object *object = kernel->objects; object != NULL; object = object->next)
            mk_object_die(object, KERN_TERMINATED);
        if (inside)
            pthread_cond_wait(&kernel->changed, &kernel->lock);
    }
    pthread_mutex_unlock(&kernel->lock);
    if (!first)
        return;

    stop_handlers(kernel);
    hostmach_watch_destroy(kernel->watch);
    mk_errors_stop(kernel);
    hostmach_task_destroy(kernel->task);

    pthread_mutex_lock(&kernel->lock);
    kernel->gone = true;
    pthread_cond_broadcast(&kernel->changed);
    pthread_mutex_unlock(&kernel->lock);
}

static void free_objects(struct mk_object *object)
{
    while (object != NULL) {
        struct mk_object *next = object->next;
        mk_object_free(object);
        pthread_mutex_destroy(&object->lock);
        pthread_cond_destroy(&object->changed);
        free(object);
        object = next;
    }
}

void mk_kernel_destroy(mk_kernel *kernel)
{
    if (kernel == NULL)
        kernel = atomic_exchange(&default_kernel, NULL);
    if (kernel == NULL)
        return;
    mk_kernel *expected = kernel;
    atomic_compare_exchange_strong(&default_kernel, &expected, NULL);
    mk_kernel_kill(kernel);
    mk_unmap_all(kernel);
    free_objects(kernel->objects);
    free_objects(kernel->unused);
    free_kernel(kernel);
}
