/* A world: the pager with its workers and its store, from beginning to end; and the kernels that map it.  */

#include <sched.h>
#include <signal.h>

#include "waits.h"

/* ---- The world ---- */

static size_t count_rights(void) { return hostmach_list_rights(hostmach_task_main(), NULL, 0); }

static void open_store(struct world *world, size_t pages)
{
    /* A crash in a worker is not cmocka's to catch: it would end the process without a word.  (Handlers with SA_SIGINFO are not cmocka's,
       but those of tests whose touches may fail.)  */
    static const int crashes[] = { SIGSEGV, SIGILL, SIGBUS, SIGFPE };
    struct sigaction action;
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        if (sigaction(crashes[i], NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO))
            signal(crashes[i], SIG_DFL);
    *world = (struct world) { .ports_before = hostmach_port_count(), .rights_before = count_rights(),
                              .bytes_before = hostmach_vm_bytes() };
    struct user_pager_info *store = calloc(1, sizeof *store);
    store->pages = pages;
    store->data = calloc(pages, vm_page_size);
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->changed, NULL);
    world->store = store;
    for (size_t i = 0; i < pages; i++)
        store_fill(world, i, (unsigned char) (i + 1));
    each_store_opened(store);
}

static void open_pager(struct world *world, boolean_t may_cache, memory_object_copy_strategy_t strategy, boolean_t notify)
{
    world->pager = pager_create(world->store, world->bucket, may_cache, strategy, notify);
    assert_non_null(world->pager);
    world->store->pager = world->pager;
    world->port = ports_get_send_right(world->pager);
    assert_true(MACH_PORT_VALID(world->port));
}

void world_open_with(struct world *world, size_t pages, boolean_t may_cache, memory_object_copy_strategy_t strategy,
                     boolean_t notify)
{
    open_store(world, pages);
    world->bucket = ports_create_bucket();
    assert_non_null(world->bucket);
    assert_int_equal(pager_start_workers(world->bucket, &world->requests), 0);
    open_pager(world, may_cache, strategy, notify);
}

void world_join(struct world *world, struct world *first, size_t pages, boolean_t notify)
{
    open_store(world, pages);
    world->bucket = first->bucket;
    open_pager(world, 0, MEMORY_OBJECT_COPY_DELAY, notify);
}

void world_open(struct world *world, size_t pages, boolean_t notify)
{
    world_open_with(world, pages, 0, MEMORY_OBJECT_COPY_DELAY, notify);
}

/* The bucket has gone.  */
static void check_left(struct world *world)
{
    const struct { const char *what; size_t now, before; } counts[] = {
        { "ports", hostmach_port_count(), world->ports_before },
        { "rights", count_rights(), world->rights_before },
        { "bytes of pages", hostmach_vm_bytes(), world->bytes_before },
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        each_left(counts[i].what, counts[i].now, counts[i].before);
        assert_int_equal(counts[i].now, counts[i].before);
    }
}

static void free_store(struct user_pager_info *store)
{
    each_store_closes(store);
    pthread_mutex_destroy(&store->lock);
    pthread_cond_destroy(&store->changed);
    free(store->data);
    free(store);
}

void world_close(struct world *world)
{
    struct user_pager_info *store = world->store;
    for (int i = 0; i < CALL_COUNT; i++)
        store_open_gate(world, i);
    pager_shutdown(world->pager);
    mach_port_deallocate(mach_task_self(), world->port);
    ports_port_deref(world->pager);
    if (world->requests) {
        pager_stop_workers(world->requests);
    } else {
        /* A worker may still have a reference for a moment.  */
        pthread_mutex_lock(&store->lock);
        while (!store->cleared)
            wait_changed(store, "a pager never ends");
        pthread_mutex_unlock(&store->lock);
    }
    assert_int_equal(store->cleared, 1);
    assert_int_equal(store->overlaps, 0);
    if (world->requests) {
        assert_int_equal(ports_destroy_bucket(world->bucket), 0);
        check_left(world);
    }
    free_store(store);
}

int world_cleared(struct world *world)
{
    pthread_mutex_lock(&world->store->lock);
    int count = world->store->cleared;
    pthread_mutex_unlock(&world->store->lock);
    return count;
}

void world_wait_cleared(struct world *world)
{
    pthread_mutex_lock(&world->store->lock);
    while (!world->store->cleared)
        wait_changed(world->store, "a pager never ends");
    pthread_mutex_unlock(&world->store->lock);
}

void world_close_ended(struct world *world)
{
    struct user_pager_info *store = world->store;
    world_wait_cleared(world);
    pager_stop_workers(world->requests);
    assert_int_equal(store->cleared, 1);
    assert_int_equal(ports_destroy_bucket(world->bucket), 0);
    check_left(world);
    free_store(store);
}
/* ---- Waiting for the pager ---- */

void world_settle(struct world *world)
{
    /* Inhibiting waits until everything that was sent before is done.  */
    assert_int_equal(pager_inhibit_workers(world->requests), 0);
    pager_resume_workers(world->requests);
}

void world_fence(struct world *world)
{
    /* Each answer comes behind what its kernel sent before, and messages are taken in in order.  */
    pager_sync_some(world->pager, page_offset(1000000), vm_page_size, 1);
}

void world_wait_access(struct world *world, size_t page, unsigned client, int access)
{
    struct timespec now, end = time_in(hang_ms);
    while (pager_page_access(world->pager, page_offset(page), client) != access) {
        clock_gettime(CLOCK_REALTIME, &now);
        if (now.tv_sec > end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec > end.tv_nsec))
            hang("a client's access does not become what it should");
        sched_yield();
    }
}

struct pager_statistics world_statistics(struct world *world)
{
    struct pager_statistics statistics;
    pager_get_statistics(world->pager, &statistics);
    return statistics;
}
/* ---- Inhibition ---- */

int world_inhibit(struct world *world)
{
    int error = pager_inhibit_workers(world->requests);
    if (error)
        return error;
    /* No callback runs now.  */
    pthread_mutex_lock(&world->store->lock);
    int running = world->store->running;
    pthread_mutex_unlock(&world->store->lock);
    return running ? -1 : 0;
}

static int inhibit(void *world) { return world_inhibit(world); }

struct task *world_begin_inhibition(struct task tasks[2], struct world *world)
{
    task_begin(&tasks[0], inhibit, world);
    task_begin(&tasks[1], inhibit, world);
    struct task *busy = task_first(&tasks[0], &tasks[1]);
    assert_int_equal(task_end(busy), EBUSY);
    return busy == &tasks[0] ? &tasks[1] : &tasks[0];
}
/* ---- Kernels ---- */

unsigned char kernel_byte(sk_object *object, size_t page)
{
    unsigned char byte = 0;
    assert_int_equal(sk_peek(object, page_offset(page), &byte, 1), 0);
    return byte;
}

int kernel_read(sk_object *object, size_t page, unsigned char *byte)
{
    return sk_read(object, page_offset(page), byte, 1);
}

int kernel_write(sk_object *object, size_t page, unsigned char byte)
{
    return sk_write(object, page_offset(page), &byte, 1);
}
/* ---- Several kernels ---- */

sk_object *cast_join(struct cast *cast)
{
    char name[] = { (char) ('A' + cast->count), 0 };
    cast->kernels[cast->count] = sk_kernel_create(name);
    cast->objects[cast->count] = sk_map(cast->kernels[cast->count], cast->world.port);
    return cast->objects[cast->count++];
}

void cast_open(struct cast *cast, int kernels, size_t pages, boolean_t notify)
{
    *cast = (struct cast) { .count = 0 };
    world_open(&cast->world, pages, notify);
    while (cast->count < kernels)
        cast_join(cast);
}

void cast_kill(struct cast *cast, int index)
{
    assert_int_equal(sk_violations(cast->objects[index]), 0);
    sk_kernel_destroy(cast->kernels[index]);
    cast->kernels[index] = NULL;
    cast->objects[index] = NULL;
}

void cast_close(struct cast *cast)
{
    for (int i = 0; i < cast->count; i++)
        if (cast->kernels[i])
            cast_kill(cast, i);
    world_close(&cast->world);
}
