/* Four kernels with two threads each on 64 pages, and a thread that syncs, returns and changes attributes.  What is checked is
   that the object behaves like one memory, and that the store has it all in the end.

   Each page holds a counter.  Writers of a page take turns (a lock of the test's); a reader may read any time, and must see a
   value that was not older than the last one written before it began, nor newer than the last one begun when it ended.

   PAGER_STRESS_SEED, PAGER_STRESS_OPERATIONS (of each thread) and PAGER_STRESS_TEST (a pattern of names) change a run; the seed is
   printed.  */

#include "store.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { PAGES = 64, KERNELS = 4, THREADS = 2 };

/* What a page begins and ends with: a torn or misplaced page does not agree with itself.  */
struct mark { uint64_t page, value; };

struct plan {
    const char *name;
    boolean_t notify;
    unsigned reads;             /* pager_set_concurrent_reads */
    int write_lock;             /* each first write asks pager_unlock_page */
    int multi_write;            /* pages a call of pager_write_pages */
    int faults;                 /* reads and unlocks fail now and then */
    int terminate;              /* kernels unmap and map again now and then */
    int die;                    /* 1: a kernel without dirty pages dies; 2: one with them */
    size_t pages;               /* of the 64, in use: the fewer, the more conflicts */
};

struct stress {
    const struct plan *plan;
    struct world world;
    unsigned seed;
    unsigned operations;
    struct machine {
        sk_kernel *kernel;
        _Atomic(sk_object *) object;
        atomic_int read_only;
        atomic_int writing;
    } machines[KERNELS];
    pthread_mutex_t writer[PAGES];
    atomic_uint_least64_t started[PAGES], committed[PAGES];
    /* Operations hold it for reading, a kernel that dies with dirty pages for writing.  */
    pthread_rwlock_t standstill;
    atomic_uint_least64_t stored[PAGES];        /* a sync since has returned */
    atomic_int running;                         /* threads that are not done */
    atomic_uint done, lost;
};

struct job { struct stress *stress; unsigned machine, thread; };

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state >> 11;
}

static void broken(struct stress *stress, const char *what, size_t page, uint64_t got, uint64_t low, uint64_t high)
{
    fprintf(stderr, "stress %s, seed %u: %s: page %zu has %llu, not %llu...%llu\n", stress->plan->name, stress->seed, what, page,
            (unsigned long long) got, (unsigned long long) low, (unsigned long long) high);
    abort();
}

/* 0, or the kernel's error; whatever the value, it is one that the page may have.  */
static int read_page(struct stress *stress, sk_object *object, size_t page, int end)
{
    struct mark mark = { 0, 0 };
    vm_offset_t where = page_offset(page) + (end ? vm_page_size - sizeof mark : 0);
    uint64_t low = atomic_load(&stress->committed[page]);
    int error = sk_read(object, where, &mark, sizeof mark);
    uint64_t high = atomic_load(&stress->started[page]);
    if (error)
        return error;
    if (mark.page != page)
        broken(stress, "another page's data", page, mark.page, page, page);
    /* The end is written after the beginning.  */
    if (mark.value < low || mark.value > high)
        broken(stress, end ? "end" : "start", page, mark.value, low, high);
    return 0;
}

static void write_page(struct stress *stress, struct machine *machine, size_t page)
{
    pthread_mutex_lock(&stress->writer[page]);
    uint64_t value = atomic_load(&stress->committed[page]) + 1;
    struct mark old = { 0, 0 }, mark = { page, value };
    int error;
    do {
        sk_object *object = atomic_load(&machine->object);
        /* Nobody else writes: what is read is exactly what was written last, or what this thread tried to.  */
        error = sk_read(object, page_offset(page), &old, sizeof old);
        if (!error && (old.page != page || (old.value != value && old.value != value - 1)))
            broken(stress, "before a write", page, old.value, value - 1, value);
        atomic_store(&stress->started[page], value);
        if (!error)
            error = sk_write(object, page_offset(page), &mark, sizeof mark);
        if (!error)
            error = sk_write(object, page_offset(page) + vm_page_size - sizeof mark, &mark, sizeof mark);
    } while (error);
    atomic_store(&stress->committed[page], value);
    pthread_mutex_unlock(&stress->writer[page]);
}

static void *user(void *argument)
{
    struct job *job = argument;
    struct stress *stress = job->stress;
    struct machine *machine = &stress->machines[job->machine];
    uint64_t random = stress->seed * 0x9e3779b97f4a7c15ull + job->machine * 1000003 + job->thread * 77 + 1;
    for (unsigned i = 0; i < stress->operations; i++) {
        pthread_rwlock_rdlock(&stress->standstill);
        size_t page = next_random(&random) % stress->plan->pages;
        unsigned what = next_random(&random) % 100;
        sk_object *object = atomic_load(&machine->object);
        if (what < 50) {
            read_page(stress, object, page, what & 1);
        } else if (what < 85) {
            atomic_fetch_add(&machine->writing, 1);
            if (!atomic_load(&machine->read_only))
                write_page(stress, machine, page);
            atomic_fetch_sub(&machine->writing, 1);
        } else if (what < 97) {
            sk_evict(object, page_offset(page));
        } else if (what < 99) {
            sk_drop_clean(object);
        } else if (stress->plan->terminate && next_random(&random) % 4 == 0) {
            /* EINVAL: the other thread was faster.  */
            if (sk_terminate(object) == 0)
                atomic_store(&machine->object, sk_map(machine->kernel, stress->world.port));
        } else {
            sk_evict_all(object);
        }
        atomic_fetch_add(&stress->done, 1);
        pthread_rwlock_unlock(&stress->standstill);
    }
    atomic_fetch_sub(&stress->running, 1);
    return NULL;
}

/* The translator's own thread.  */
static void *syncer(void *argument)
{
    struct stress *stress = argument;
    uint64_t random = stress->seed * 0xbf58476d1ce4e5b9ull + 99;
    while (atomic_load(&stress->running) > 0) {
        size_t first = next_random(&random) % PAGES, count = 1 + next_random(&random) % 16;
        unsigned what = next_random(&random) % 12;
        int wait = (int) (next_random(&random) & 1);
        uint64_t before[PAGES];
        /* What a sync waits for a dying kernel to answer is not stored.  */
        pthread_rwlock_rdlock(&stress->standstill);
        for (size_t i = 0; i < PAGES; i++)
            before[i] = atomic_load(&stress->committed[i]);
        struct pager *pager = stress->world.pager;
        if (what < 4)
            pager_sync_some(pager, page_offset(first), count * vm_page_size, wait);
        else if (what < 8)
            pager_return_some(pager, page_offset(first), count * vm_page_size, wait);
        else if (what == 8)
            pager_sync(pager, wait = 1);
        else if (what == 9)
            pager_return(pager, wait = 1);
        else
            pager_change_attributes(pager, 0, MEMORY_OBJECT_COPY_DELAY, wait);
        if ((what == 8 || what == 9) && wait)
            for (size_t i = 0; i < PAGES; i++)
                atomic_store(&stress->stored[i], before[i]);
        if (stress->plan->faults && what < 3)
            store_fail(&stress->world, what & 1 ? CALL_READ : CALL_UNLOCK, what & 1 ? EIO : EACCES, 1);
        pthread_rwlock_unlock(&stress->standstill);
        for (int i = 0; i < 50; i++)
            sched_yield();
    }
    store_fail(&stress->world, CALL_READ, 0, 0);
    store_fail(&stress->world, CALL_UNLOCK, 0, 0);
    return NULL;
}

/* A kernel dies.  Who was in it goes on with a new one.  */
static void kill_one(struct stress *stress)
{
    struct machine *machine = &stress->machines[2];
    sk_kernel *fresh = sk_kernel_create("C'"), *old = machine->kernel;
    if (stress->plan->die == 1) {
        /* It has nothing that is not in the store: the others must not notice.  */
        atomic_store(&machine->read_only, 1);
        while (atomic_load(&machine->writing) > 0)
            sched_yield();
        pager_sync(stress->world.pager, 1);
        sk_kernel_kill(old);
        machine->kernel = fresh;
        atomic_store(&machine->object, sk_map(fresh, stress->world.port));
        atomic_store(&machine->read_only, 0);
        return;
    }
    pthread_rwlock_wrlock(&stress->standstill);
    sk_kernel_kill(old);
    machine->kernel = fresh;
    atomic_store(&machine->object, sk_map(fresh, stress->world.port));
    for (size_t page = 0; page < stress->plan->pages; page++) {
        struct mark mark;
        sk_object *object = atomic_load(&stress->machines[page % KERNELS].object);
        while (sk_read(object, page_offset(page), &mark, sizeof mark) != 0)
            ;
        /* What it had not returned is lost; what it had is not.  */
        uint64_t low = atomic_load(&stress->stored[page]), high = atomic_load(&stress->committed[page]);
        if (mark.page != page || mark.value < low || mark.value > high)
            broken(stress, "after a death", page, mark.value, low, high);
        atomic_fetch_add(&stress->lost, (unsigned) (high - mark.value));
        atomic_store(&stress->started[page], mark.value);
        atomic_store(&stress->committed[page], mark.value);
    }
    pthread_rwlock_unlock(&stress->standstill);
}

static void run(const struct plan *plan, unsigned operations)
{
    struct stress *stress = calloc(1, sizeof *stress);
    const char *seed = getenv("PAGER_STRESS_SEED"), *limit = getenv("PAGER_STRESS_OPERATIONS");
    stress->plan = plan;
    stress->seed = seed ? (unsigned) strtoul(seed, NULL, 0) : (unsigned) time(NULL);
    stress->operations = limit ? (unsigned) strtoul(limit, NULL, 0) : operations;
    fprintf(stderr, "stress %s: seed %u\n", plan->name, stress->seed);
    struct world *world = &stress->world;
    world_open(world, PAGES, plan->notify);
    assert_int_equal(pager_set_concurrent_reads(world->pager, plan->reads), 0);
    store_write_lock(world, plan->write_lock);
    store_multi_write(world, plan->multi_write);
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&stress->standstill, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    for (size_t page = 0; page < PAGES; page++) {
        pthread_mutex_init(&stress->writer[page], NULL);
        struct mark mark = { page, 0 };
        memcpy(world->store->data + page_offset(page), &mark, sizeof mark);
        memcpy(world->store->data + page_offset(page + 1) - sizeof mark, &mark, sizeof mark);
    }
    static const char *names[KERNELS] = { "A", "B", "C", "D" };
    for (unsigned i = 0; i < KERNELS; i++) {
        stress->machines[i].kernel = sk_kernel_create(names[i]);
        stress->machines[i].object = sk_map(stress->machines[i].kernel, world->port);
    }

    struct job jobs[KERNELS * THREADS];
    pthread_t threads[KERNELS * THREADS];
    stress->running = KERNELS * THREADS;
    for (unsigned i = 0; i < KERNELS * THREADS; i++) {
        jobs[i] = (struct job) { stress, i / THREADS, i % THREADS };
        threads[i] = spawn(user, &jobs[i]);
    }
    pthread_t sync = spawn(syncer, stress);
    sk_kernel *dead = NULL;
    if (plan->die) {
        while (atomic_load(&stress->done) < stress->operations * KERNELS * THREADS / 2)
            sched_yield();
        dead = stress->machines[2].kernel;
        kill_one(stress);
    }
    for (unsigned i = 0; i < KERNELS * THREADS; i++)
        join(threads[i]);
    join(sync);

    pager_return(world->pager, 1);
    for (size_t page = 0; page < PAGES; page++) {
        struct mark marks[2];
        uint64_t value = atomic_load(&stress->committed[page]);
        pthread_mutex_lock(&world->store->lock);
        memcpy(&marks[0], world->store->data + page_offset(page), sizeof marks[0]);
        memcpy(&marks[1], world->store->data + page_offset(page + 1) - sizeof marks[1], sizeof marks[1]);
        pthread_mutex_unlock(&world->store->lock);
        for (int i = 0; i < 2; i++)
            if (marks[i].page != page || marks[i].value != value)
                broken(stress, "in the store", page, marks[i].value, value, value);
    }
    world_settle(world);
    struct pager_page_census census;
    pager_take_census(world->pager, &census);
    assert_int_equal(census.readers + census.writers + census.busy + census.held, 0);
    struct pager_statistics statistics = world_statistics(world);
    if (!plan->die) {
        /* Nobody misbehaved: what the pager did not expect was a race that it does not understand.  (An unlock may be sent
           later than the completion of the flush that answers it.)  */
        assert_int_equal(statistics.refused - statistics.stale_unlocks, 0);
    }
    assert_int_equal(statistics.clients, KERNELS);
    fprintf(stderr, "  %llu messages, %llu reads, %llu writes, %llu hand-offs, %llu skipped, %llu flushes, %llu downgrades, %llu lost\n",
            (unsigned long long) statistics.messages, (unsigned long long) statistics.page_ins,
            (unsigned long long) statistics.page_outs, (unsigned long long) statistics.hand_offs,
            (unsigned long long) statistics.skipped_writes, (unsigned long long) statistics.flushes,
            (unsigned long long) statistics.downgrades, (unsigned long long) atomic_load(&stress->lost));
    for (unsigned i = 0; i < KERNELS; i++) {
        assert_int_equal(sk_violations(stress->machines[i].object), 0);
        sk_kernel_destroy(stress->machines[i].kernel);
    }
    if (dead)
        sk_kernel_destroy(dead);
    world_close(world);
    for (size_t page = 0; page < PAGES; page++)
        pthread_mutex_destroy(&stress->writer[page]);
    pthread_rwlock_destroy(&stress->standstill);
    free(stress);
}

/* Rule 1: no read is stale, and the store has everything in the end.  */
static void test_stress_plain(void **state)
{
    (void) state;
    run(&(struct plan) { .name = "plain", .reads = 1, .pages = PAGES }, 2500);
}

/* The same where nearly every operation is a conflict.  */
static void test_stress_few_pages(void **state)
{
    (void) state;
    run(&(struct plan) { .name = "few pages", .reads = 1, .pages = 3 }, 1500);
}

/* The same with precious pages and reads side by side.  */
static void test_stress_notify_with_concurrent_reads(void **state)
{
    (void) state;
    run(&(struct plan) { .name = "notify", .notify = 1, .reads = 8, .pages = PAGES }, 2500);
}

/* The same with write locks, several pages a write, and errors.  */
static void test_stress_write_lock_with_faults(void **state)
{
    (void) state;
    run(&(struct plan) { .name = "write lock", .reads = 4, .write_lock = 1, .multi_write = 4, .faults = 1, .pages = 24 }, 2000);
}

/* Rule 5: kernels unmap and map again all the time; nobody else notices.  */
static void test_stress_terminate(void **state)
{
    (void) state;
    run(&(struct plan) { .name = "terminate", .notify = 1, .reads = 2, .terminate = 1, .multi_write = 64, .pages = 32 }, 2000);
}

/* Rule 5: a kernel without dirty pages dies amidst all this; nothing is lost.  */
static void test_stress_death(void **state)
{
    (void) state;
    run(&(struct plan) { .name = "death", .notify = 1, .reads = 4, .die = 1, .pages = 16 }, 2000);
}

/* Rule 5: a kernel with dirty pages dies; only what it had not returned is lost.  */
static void test_stress_death_with_dirty_pages(void **state)
{
    (void) state;
    run(&(struct plan) { .name = "dirty death", .reads = 4, .die = 2, .terminate = 1, .pages = PAGES }, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stress_plain),
        cmocka_unit_test(test_stress_few_pages),
        cmocka_unit_test(test_stress_notify_with_concurrent_reads),
        cmocka_unit_test(test_stress_write_lock_with_faults),
        cmocka_unit_test(test_stress_terminate),
        cmocka_unit_test(test_stress_death),
        cmocka_unit_test(test_stress_death_with_dirty_pages),
    };
    cmocka_set_test_filter(getenv("PAGER_STRESS_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
