#include "store.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

/* Milliseconds after which a wait counts as a hang.  LIBPAGER_TEST_HANG_MS says another limit (scripts/break-it: a hang is to be found
   soon; the scripted kernels obey it as well).  */
static long hang_ms = 30000;

/* LIBPAGER_TEST_ONLY names the one test case that is to run.  */
__attribute__((constructor)) static void read_environment(void)
{
    const char *limit = getenv("LIBPAGER_TEST_HANG_MS"), *only = getenv("LIBPAGER_TEST_ONLY");
    if (limit && atol(limit) > 0)
        hang_ms = atol(limit);
    if (only)
        cmocka_set_test_filter(only);
}

#define NOTHING __attribute__((weak))
NOTHING int each_over(void) { return 0; }
NOTHING void each_point(void) { }
NOTHING void each_test_thread(void) { }
NOTHING int each_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *end)
{
    return pthread_cond_timedwait(condition, mutex, end);
}
NOTHING void each_hook(struct user_pager_info *store, enum call call, vm_offset_t page) { store->hook(store, call, page); }
NOTHING void each_store_opened(struct user_pager_info *store) { (void) store; }
NOTHING void each_store_closes(struct user_pager_info *store) { (void) store; }
NOTHING void each_wrote(struct user_pager_info *store, vm_offset_t offset, const void *data, int error)
{
    (void) store, (void) offset, (void) data, (void) error;
}
NOTHING void each_filled(struct user_pager_info *store, size_t page) { (void) store, (void) page; }
NOTHING void each_left(const char *what, size_t now, size_t before) { (void) what, (void) now, (void) before; }

static struct timespec time_in(long milliseconds)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += milliseconds / 1000;
    end.tv_nsec += milliseconds % 1000 * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_nsec -= 1000000000;
        end.tv_sec++;
    }
    return end;
}

static size_t page_size(void) { return vm_page_size; }
vm_offset_t page_offset(size_t page) { return (vm_offset_t) page * page_size(); }

/* ---- Callbacks ---- */

static void hang(const char *what)
{
    fprintf(stderr, "test hangs: %s\n", what);
    abort();
}

/* Locked.  */
static void wait_changed(struct user_pager_info *store, const char *what)
{
    struct timespec end = time_in(hang_ms);
    if (each_over()) {
        pthread_mutex_unlock(&store->lock);
        each_point();
        pthread_mutex_lock(&store->lock);
    }
    if (pthread_cond_timedwait(&store->changed, &store->lock, &end) == ETIMEDOUT)
        hang(what);
}

/* Locked on return.  */
static struct call_record *begin(struct user_pager_info *store, enum call call, vm_offset_t page, vm_size_t length,
                                 unsigned char first)
{
    pthread_mutex_lock(&store->lock);
    unsigned index = store->logged++ % 4096;
    store->log[index] = (struct call_record) { .call = call, .page = page, .length = length, .first = first };
    store->counts[call]++;
    if (++store->running > store->max_running)
        store->max_running = store->running;
    if (call == CALL_READ && ++store->running_reads > store->max_reads)
        store->max_reads = store->running_reads;
    for (int i = 0; i < store->active_count; i++)
        if (store->active[i] < page + length && page < store->active[i] + store->active_length[i])
            store->overlaps++;
    if (store->active_count < 128) {
        store->active_length[store->active_count] = length;
        store->active[store->active_count++] = page;
    }
    store->waiting[call]++;
    pthread_cond_broadcast(&store->changed);
    while (store->closed[call] && !each_over())
        wait_changed(store, "a gate is never opened");
    store->waiting[call]--;
    if (store->hook) {
        pthread_mutex_unlock(&store->lock);
        each_hook(store, call, page);
        pthread_mutex_lock(&store->lock);
    }
    if (store->error_count[call] != 0) {
        store->log[index].error = store->errors[call];
        if (store->error_count[call] > 0)
            store->error_count[call]--;
    }
    return &store->log[index];
}

static void end(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    store->running--;
    if (call == CALL_READ)
        store->running_reads--;
    for (int i = 0; i < store->active_count; i++)
        if (store->active[i] == page) {
            store->active[i] = store->active[--store->active_count];
            store->active_length[i] = store->active_length[store->active_count];
            break;
        }
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
}

error_t pager_read_page(struct user_pager_info *store, vm_offset_t page, vm_address_t *buf, int *write_lock)
{
    int error = begin(store, CALL_READ, page, page_size(), 0)->error;
    if (!error && store->bad_buffer) {
        static char spare[64];
        *buf = store->bad_buffer == 1 ? 0 : (vm_address_t) spare + 8;
        store->bad_buffer = 0;
    } else if (!error) {
        if (vm_allocate(mach_task_self(), buf, page_size(), 1) != KERN_SUCCESS)
            error = ENOMEM;
        else if (page / page_size() < store->pages)
            memcpy((void *) *buf, store->data + page, page_size());
        *write_lock = store->write_lock;
    }
    end(store, CALL_READ, page);
    return error;
}

error_t pager_write_page(struct user_pager_info *store, vm_offset_t page, vm_address_t buf)
{
    int error = begin(store, CALL_WRITE, page, page_size(), *(unsigned char *) buf)->error;
    if (!error && page / page_size() < store->pages)
        memcpy(store->data + page, (void *) buf, page_size());
    each_wrote(store, page, (void *) buf, error);
    end(store, CALL_WRITE, page);
    return error;
}

error_t pager_write_pages(struct user_pager_info *store, vm_offset_t offset, vm_address_t data, vm_size_t length,
                          vm_size_t *written)
{
    *written = 0;
    if (!store->multi_write)
        return EOPNOTSUPP;
    int error = begin(store, CALL_WRITES, offset, length, *(unsigned char *) data)->error;
    vm_size_t most = (vm_size_t) (error ? store->multi_prefix : store->multi_write) * page_size();
    if (most) {
        *written = length < most ? length : most;
        memcpy(store->data + offset, (void *) data, *written);
    }
    if (error)
        each_wrote(store, offset + *written, (char *) data + *written, error);
    end(store, CALL_WRITES, offset);
    return error;
}

error_t pager_unlock_page(struct user_pager_info *store, vm_offset_t address)
{
    int error = begin(store, CALL_UNLOCK, address, page_size(), 0)->error;
    end(store, CALL_UNLOCK, address);
    return error;
}

void pager_notify_evict(struct user_pager_info *store, vm_offset_t page)
{
    begin(store, CALL_EVICT, page, page_size(), 0);
    end(store, CALL_EVICT, page);
}

error_t pager_report_extent(struct user_pager_info *store, vm_address_t *offset, vm_size_t *size)
{
    *offset = 0;
    *size = store->pages * page_size();
    return 0;
}

void pager_clear_user_data(struct user_pager_info *store)
{
    pthread_mutex_lock(&store->lock);
    store->cleared++;
    if (store->cleared_too)
        ++*store->cleared_too;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
}

void pager_dropweak(struct user_pager_info *store)
{
    pthread_mutex_lock(&store->lock);
    store->dropped_weak++;
    int count = store->drop_weak;
    store->drop_weak = 0;
    pthread_mutex_unlock(&store->lock);
    while (count-- > 0)
        ports_port_deref_weak(store->pager);
}

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
    store->data = calloc(pages, page_size());
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

/* ---- The store ---- */

unsigned char store_byte(struct world *world, size_t page)
{
    pthread_mutex_lock(&world->store->lock);
    unsigned char byte = world->store->data[page * page_size()];
    pthread_mutex_unlock(&world->store->lock);
    return byte;
}

void store_fill(struct world *world, size_t page, unsigned char byte)
{
    pthread_mutex_lock(&world->store->lock);
    memset(world->store->data + page * page_size(), byte, page_size());
    each_filled(world->store, page);
    pthread_mutex_unlock(&world->store->lock);
}

void store_fail(struct world *world, enum call call, int error, int count)
{
    pthread_mutex_lock(&world->store->lock);
    world->store->errors[call] = error;
    world->store->error_count[call] = count;
    pthread_mutex_unlock(&world->store->lock);
}

void store_write_lock(struct world *world, int on)
{
    pthread_mutex_lock(&world->store->lock);
    world->store->write_lock = on;
    pthread_mutex_unlock(&world->store->lock);
}

void store_multi_write(struct world *world, int pages) { world->store->multi_write = pages; }

void store_close_gate(struct world *world, enum call call)
{
    pthread_mutex_lock(&world->store->lock);
    world->store->closed[call] = 1;
    pthread_mutex_unlock(&world->store->lock);
}

void store_wait_gate(struct world *world, enum call call, int count)
{
    pthread_mutex_lock(&world->store->lock);
    while (world->store->waiting[call] < count)
        wait_changed(world->store, "a callback does not come to its gate");
    pthread_mutex_unlock(&world->store->lock);
}

void store_open_gate(struct world *world, enum call call)
{
    pthread_mutex_lock(&world->store->lock);
    world->store->closed[call] = 0;
    pthread_cond_broadcast(&world->store->changed);
    pthread_mutex_unlock(&world->store->lock);
}

unsigned store_count(struct world *world, enum call call)
{
    pthread_mutex_lock(&world->store->lock);
    unsigned count = world->store->counts[call];
    pthread_mutex_unlock(&world->store->lock);
    return count;
}

void store_wait_count(struct world *world, enum call call, unsigned count)
{
    pthread_mutex_lock(&world->store->lock);
    while (world->store->counts[call] < count)
        wait_changed(world->store, "a callback does not come");
    pthread_mutex_unlock(&world->store->lock);
}

struct call_record store_call(struct world *world, enum call call, unsigned index)
{
    pthread_mutex_lock(&world->store->lock);
    unsigned seen = 0;
    struct call_record record = { .call = CALL_COUNT };
    for (unsigned i = 0; i < world->store->logged && i < 4096; i++)
        if (world->store->log[i].call == call && seen++ == index)
            record = world->store->log[i];
    pthread_mutex_unlock(&world->store->lock);
    assert_int_not_equal(record.call, CALL_COUNT);
    return record;
}

void world_settle(struct world *world)
{
    /* Inhibiting waits until everything that was sent before is done.  */
    assert_int_equal(pager_inhibit_workers(world->requests), 0);
    pager_resume_workers(world->requests);
}

void world_fence(struct world *world)
{
    /* Each answer comes behind what its kernel sent before, and messages are taken in in order.  */
    pager_sync_some(world->pager, page_offset(1000000), page_size(), 1);
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

void wait_for(bool (*condition)(void *), void *argument)
{
    time_t end = time(NULL) + 30;
    while (!condition(argument)) {
        if (time(NULL) > end) {
            fprintf(stderr, "test hangs: a condition does not come true\n");
            abort();
        }
        sched_yield();
    }
}

struct start {
    void *(*function)(void *);
    void *argument;
};

static void *run(void *argument)
{
    struct start start = *(struct start *) argument;
    free(argument);
    each_test_thread();
    return start.function(start.argument);
}

pthread_t spawn(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    struct start *start = malloc(sizeof *start);
    *start = (struct start) { function, argument };
    assert_int_equal(pthread_create(&thread, NULL, run, start), 0);
    return thread;
}

void join(pthread_t thread)
{
    assert_int_equal(pthread_join(thread, NULL), 0);
    each_point();
}

/* ---- Tasks ---- */

static pthread_mutex_t task_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t task_changed = PTHREAD_COND_INITIALIZER;

static void *run_task(void *argument)
{
    struct task *task = argument;
    int result = task->function(task->argument);
    pthread_mutex_lock(&task_lock);
    task->result = result;
    task->done = 1;
    pthread_cond_broadcast(&task_changed);
    pthread_mutex_unlock(&task_lock);
    return NULL;
}

void task_begin(struct task *task, int (*function)(void *), void *argument)
{
    *task = (struct task) { .function = function, .argument = argument };
    task->thread = spawn(run_task, task);
}

/* 0: the time ran out.  */
static int wait_task(struct task *a, struct task *b, long milliseconds)
{
    struct timespec end = time_in(milliseconds);
    each_point();
    pthread_mutex_lock(&task_lock);
    while (!a->done && !b->done && pthread_cond_timedwait(&task_changed, &task_lock, &end) == 0)
        if (each_over()) {
            pthread_mutex_unlock(&task_lock);
            each_point();
            pthread_mutex_lock(&task_lock);
        }
    int done = a->done || b->done;
    pthread_mutex_unlock(&task_lock);
    return done;
}

void tasks_wake(void)
{
    pthread_mutex_lock(&task_lock);
    pthread_cond_broadcast(&task_changed);
    pthread_mutex_unlock(&task_lock);
}

int task_done(struct task *task)
{
    pthread_mutex_lock(&task_lock);
    int done = task->done;
    pthread_mutex_unlock(&task_lock);
    return done;
}

int task_waits(struct task *task) { return !wait_task(task, task, 30); }

struct task *task_first(struct task *a, struct task *b)
{
    if (!wait_task(a, b, hang_ms))
        hang("neither of two calls returns");
    return task_done(a) ? a : b;
}

int task_end(struct task *task)
{
    if (!wait_task(task, task, hang_ms))
        hang("a call does not return");
    join(task->thread);
    return task->result;
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
