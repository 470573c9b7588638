/* Eight kernels with two threads each hammer one object for a time; each byte of each read is checked.

   A page has a block for each of the sixteen threads, which only that thread writes: each word of it says its page, its place, and a version
   that rises with every write. So no thread waits for another's write, and a reader must find, in every block, one version, which
   is not older than the last that its owner had written when the read began, nor newer than the last begun when it ended. Before it writes, the owner
   must find exactly what it wrote last. Between their touches all sixteen call pager_sync, pager_return, pager_flush and pager_change_attributes; after a
   call that waits the store must have what was there before. Kernels evict, drop, unmap and map again.

   What takes data away (pager_flush; a kernel that dies) excludes writers of its pages (`loss`), and afterwards what is left is what was written
   last; it must be no older than what a call that waited had seen stored. A read that it crosses is checked against that only.

   Half of the time pages that are read are locked for writing.

   PAGER_SOAK_S: for how many seconds (20), half of them in order, half with deaths and errors. PAGER_SOAK_SEED: the seed of chance.  */

#include "soak.h"
#include "store.h"

#include <sched.h>
#include <stdio.h>

enum {
    KERNELS = 8, PAGES = 48,
    KEPT = 32,                          /* these are never flushed */
    KERNELS_MADE = 256,
};

struct soak {
    struct world world;
    bool dies;
    uint64_t seed, end_ms, remap_ms;
    struct machine {
        _Atomic(sk_kernel *) kernel;
        _Atomic(sk_object *) object;
        atomic_uint_least64_t next_remap;
    } machines[KERNELS];
    sk_kernel *kernels[KERNELS_MADE];
    unsigned kernels_made;
    /* Of each page and thread: written, begun to be written, seen in the store.  */
    atomic_uint_least64_t written[PAGES][THREADS], begun[PAGES][THREADS], stored[PAGES][THREADS];
    atomic_uint losses[PAGES];          /* odd: one is under way */
    pthread_rwlock_t loss[PAGES];
    atomic_int running;
    atomic_uint_least64_t reads, writes, calls, remaps, deaths, errors;
};

struct job { struct soak *soak; unsigned thread; };

/* ---- What a page holds ---- */

static void broken(struct soak *soak, const char *what, size_t page, unsigned thread, uint64_t got, uint64_t low, uint64_t high)
{
    fprintf(stderr, "soak, seed %llu: %s: page %zu, block %u: %#llx, not %#llx...%#llx\n", (unsigned long long) soak->seed, what, page, thread,
            (unsigned long long) got, (unsigned long long) low, (unsigned long long) high);
    abort();
}

/* Every word; the block's version.  */
static uint64_t check_block(struct soak *soak, const char *what, const block *block, size_t page, unsigned thread, uint64_t low, uint64_t high)
{
    uint64_t version = version_in((*block)[0]);
    for (unsigned i = 0; i < WORDS; i++)
        if ((*block)[i] != word_of(page, thread, i, version))
            broken(soak, "another page's data, or half of a write", page, thread, (*block)[i], word_of(page, thread, i, version), 0);
    if (version < low || version > high)
        broken(soak, what, page, thread, version, low, high);
    return version;
}

/* ---- Touching ---- */

static sk_object *object_of(struct soak *soak, unsigned thread) { return atomic_load(&soak->machines[thread / 2].object); }

/* The page cannot be had now: its kernel unmaps or dies, or the store has failed.  */
static void note_error(struct soak *soak)
{
    atomic_fetch_add(&soak->errors, 1);
    sched_yield();
}

static void read_page(struct soak *soak, unsigned thread, size_t page)
{
    block blocks[THREADS];
    uint64_t low[THREADS], stored[THREADS];
    unsigned losses = atomic_load(&soak->losses[page]);
    for (unsigned t = 0; t < THREADS; t++) {
        stored[t] = atomic_load(&soak->stored[page][t]);
        low[t] = atomic_load(&soak->written[page][t]);
    }
    if (sk_read(object_of(soak, thread), page_offset(page), blocks, sizeof blocks) != 0)
        return note_error(soak);
    uint64_t high[THREADS];
    for (unsigned t = 0; t < THREADS; t++)
        high[t] = atomic_load(&soak->begun[page][t]);
    bool crossed = losses % 2 != 0 || atomic_load(&soak->losses[page]) != losses;
    for (unsigned t = 0; t < THREADS; t++)
        check_block(soak, "a read", &blocks[t], page, t, crossed ? stored[t] : low[t], high[t]);
    atomic_fetch_add(&soak->reads, 1);
}

static void write_block(struct soak *soak, unsigned thread, size_t page)
{
    block old, new;
    vm_offset_t where = page_offset(page) + thread * sizeof new;
    pthread_rwlock_rdlock(&soak->loss[page]);
    uint64_t last = atomic_load(&soak->written[page][thread]), version = atomic_load(&soak->begun[page][thread]) + 1;
    int error;
    fill(&new, page, thread, version);
    do {
        sk_object *object = object_of(soak, thread);
        error = sk_read(object, where, &old, sizeof old);
        if (!error) {
            check_block(soak, "before a write", &old, page, thread, last, last);
            atomic_store(&soak->begun[page][thread], version);
            /* (A write that fails has written nothing.)  */
            error = sk_write(object, where, &new, sizeof new);
        }
        if (error)
            note_error(soak);
    } while (error);
    atomic_store(&soak->written[page][thread], version);
    pthread_rwlock_unlock(&soak->loss[page]);
    atomic_fetch_add(&soak->writes, 1);
}

/* ---- What the translator may ask ---- */

/* What a range has when a call begins that is to see it written.  */
struct expectation { size_t first, count; unsigned losses[PAGES]; uint64_t written[PAGES][THREADS]; };

static void expect(struct soak *soak, struct expectation *expectation, size_t first, size_t count)
{
    expectation->first = first;
    expectation->count = count;
    for (size_t page = first; page < first + count; page++) {
        expectation->losses[page] = atomic_load(&soak->losses[page]);
        for (unsigned t = 0; t < THREADS; t++)
            expectation->written[page][t] = atomic_load(&soak->written[page][t]);
    }
}

static void check_stored(struct soak *soak, const struct expectation *expectation)
{
    struct user_pager_info *store = soak->world.store;
    for (size_t page = expectation->first; page < expectation->first + expectation->count; page++) {
        block blocks[THREADS];
        pthread_mutex_lock(&store->lock);
        memcpy(blocks, store->data + page_offset(page), sizeof blocks);
        pthread_mutex_unlock(&store->lock);
        unsigned losses = atomic_load(&soak->losses[page]);
        if (losses % 2 != 0 || losses != expectation->losses[page])
            continue;
        for (unsigned t = 0; t < THREADS; t++) {
            uint64_t before = expectation->written[page][t];
            check_block(soak, "in the store", &blocks[t], page, t, before, atomic_load(&soak->begun[page][t]));
            raise_to(&soak->stored[page][t], before);
        }
    }
}

static void call_translator(struct soak *soak, uint64_t chance)
{
    size_t first = chance % PAGES, count = 1 + chance / PAGES % (PAGES - first);
    int wait = (int) (chance >> 20 & 1);
    unsigned what = chance >> 24 & 15;
    bool all = what == 0 || what == 1;
    struct pager *pager = soak->world.pager;
    struct expectation expectation;
    expect(soak, &expectation, all ? 0 : first, all ? PAGES : count);
    if (what == 0)
        pager_sync(pager, wait);
    else if (what == 1)
        pager_return(pager, wait);
    else if (what < 8)
        pager_sync_some(pager, page_offset(first), count * vm_page_size, wait);
    else if (what < 14)
        pager_return_some(pager, page_offset(first), count * vm_page_size, wait);
    else
        pager_change_attributes(pager, (boolean_t) (chance >> 30 & 1), MEMORY_OBJECT_COPY_DELAY, wait);
    if (wait && what < 14)
        check_stored(soak, &expectation);
    if (soak->dies && chance >> 31 & 1)
        store_fail(&soak->world, CALL_READ, EIO, 1);
    atomic_fetch_add(&soak->calls, 1);
}

/* ---- Losses ---- */

static void begin_loss(struct soak *soak, size_t first, size_t count)
{
    for (size_t page = first; page < first + count; page++) {
        pthread_rwlock_wrlock(&soak->loss[page]);
        atomic_fetch_add(&soak->losses[page], 1);
    }
}

/* What is there now counts as written.  */
static void end_loss(struct soak *soak, unsigned thread, size_t first, size_t count)
{
    for (size_t page = first; page < first + count; page++) {
        block blocks[THREADS];
        while (sk_read(object_of(soak, thread), page_offset(page), blocks, sizeof blocks) != 0)
            note_error(soak);
        for (unsigned t = 0; t < THREADS; t++) {
            uint64_t version = check_block(soak, "after a loss", &blocks[t], page, t, atomic_load(&soak->stored[page][t]),
                                           atomic_load(&soak->written[page][t]));
            atomic_store(&soak->written[page][t], version);
        }
        atomic_fetch_add(&soak->losses[page], 1);
        pthread_rwlock_unlock(&soak->loss[page]);
    }
}

static void flush(struct soak *soak, unsigned thread, uint64_t chance)
{
    size_t first = KEPT + chance % (PAGES - KEPT), count = 1 + chance / PAGES % 3;
    if (first + count > PAGES)
        count = PAGES - first;
    begin_loss(soak, first, count);
    pager_flush_some(soak->world.pager, page_offset(first), count * vm_page_size, 1);
    end_loss(soak, thread, first, count);
    atomic_fetch_add(&soak->calls, 1);
}

static void kill_one(struct soak *soak, unsigned index)
{
    if (soak->kernels_made == KERNELS_MADE)
        return;
    struct machine *machine = &soak->machines[index];
    sk_kernel *fresh = soak->kernels[soak->kernels_made++] = sk_kernel_create("fresh"), *old = atomic_load(&machine->kernel);
    begin_loss(soak, 0, PAGES);
    atomic_store(&machine->kernel, fresh);
    sk_kernel_kill(old);
    atomic_store(&machine->object, sk_map(fresh, soak->world.port));
    end_loss(soak, index * 2, 0, PAGES);
    atomic_fetch_add(&soak->deaths, 1);
}

static void remap(struct soak *soak, unsigned thread)
{
    struct machine *machine = &soak->machines[thread / 2];
    uint64_t now = now_ms(), due = atomic_load(&machine->next_remap);
    if (now < due || !atomic_compare_exchange_strong(&machine->next_remap, &due, now + soak->remap_ms))
        return;
    sk_object *old = atomic_load(&machine->object);
    /* EINVAL: its kernel has died.  */
    if (sk_terminate(old) != 0)
        return;
    sk_object *made = sk_map_async(atomic_load(&machine->kernel), soak->world.port);
    if (sk_wait_ready(made, 0) == 0)
        atomic_compare_exchange_strong(&machine->object, &old, made);
    atomic_fetch_add(&soak->remaps, 1);
}

/* ---- Threads ---- */

static void *work(void *argument)
{
    const struct job *job = argument;
    struct soak *soak = job->soak;
    unsigned thread = job->thread;
    uint64_t random = soak->seed * 0x9e3779b97f4a7c15ull + thread * 1000003 + 1;
    while (now_ms() < soak->end_ms) {
        uint64_t chance = next_random(&random);
        /* Half of the touches meet on few pages.  */
        size_t page = chance & 1 ? chance / 2 % PAGES : (chance / 2 % 3) * (PAGES / 3);
        unsigned what = next_random(&random) % 1000;
        if (what < 450)
            read_page(soak, thread, page);
        else if (what < 850)
            write_block(soak, thread, page);
        else if (what < 920)
            sk_evict(object_of(soak, thread), page_offset(page));
        else if (what < 930)
            sk_drop_clean(object_of(soak, thread));
        else if (what < 935)
            sk_evict_all(object_of(soak, thread));
        else if (what < 955)
            sk_request(object_of(soak, thread), page_offset(page), chance >> 40 & 1 ? VM_PROT_READ : VM_PROT_READ | VM_PROT_WRITE);
        else if (what < 960)
            sk_unlock(object_of(soak, thread), page_offset(page), VM_PROT_READ | VM_PROT_WRITE);
        else if (what < 985)
            call_translator(soak, next_random(&random));
        else if (what < 995)
            flush(soak, thread, chance);
        else
            remap(soak, thread);
    }
    atomic_fetch_sub(&soak->running, 1);
    return NULL;
}

/* One callback in eight takes a while, as a disk does.  */
static void hook_slow(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    static atomic_uint calls;
    (void) store, (void) call, (void) page;
    if (atomic_fetch_add(&calls, 1) % 8 == 0)
        nanosleep(&(struct timespec) { .tv_nsec = 300000 }, NULL);
}

static void open_soak(struct soak *soak, bool dies)
{
    const char *seed = getenv("PAGER_SOAK_SEED"), *seconds = getenv("PAGER_SOAK_S");
    uint64_t half_ms = (seconds ? strtoull(seconds, NULL, 0) : 20) * 500;
    soak->dies = dies;
    soak->seed = seed ? strtoull(seed, NULL, 0) : (uint64_t) time(NULL);
    /* (A kernel keeps the records of all its mappings.)  */
    soak->remap_ms = half_ms / 100 < 100 ? 100 : half_ms / 100;
    world_open(&soak->world, PAGES, dies);
    assert_int_equal(pager_set_concurrent_reads(soak->world.pager, 4), 0);
    store_multi_write(&soak->world, 8);
    soak->world.store->hook = hook_slow;
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    for (size_t page = 0; page < PAGES; page++) {
        pthread_rwlock_init(&soak->loss[page], &attributes);
        for (unsigned t = 0; t < THREADS; t++)
            fill((block *) (void *) (soak->world.store->data + page_offset(page)) + t, page, t, 0);
    }
    pthread_rwlockattr_destroy(&attributes);
    for (unsigned i = 0; i < KERNELS; i++) {
        char name[] = { (char) ('A' + i), 0 };
        soak->machines[i].kernel = soak->kernels[soak->kernels_made++] = sk_kernel_create(name);
        soak->machines[i].object = sk_map(soak->machines[i].kernel, soak->world.port);
    }
    fprintf(stderr, "soak %s: seed %llu, %llu ms\n", dies ? "with deaths" : "in order", (unsigned long long) soak->seed,
            (unsigned long long) half_ms);
    soak->end_ms = now_ms() + half_ms;
}

/* Everything is in the store, and nobody has anything any more.  */
static void close_soak(struct soak *soak)
{
    struct expectation expectation;
    pager_return(soak->world.pager, 1);
    expect(soak, &expectation, 0, PAGES);
    for (size_t page = 0; page < PAGES; page++)
        for (unsigned t = 0; t < THREADS; t++)
            soak->begun[page][t] = soak->written[page][t];
    check_stored(soak, &expectation);
    world_settle(&soak->world);
    struct pager_page_census census;
    pager_take_census(soak->world.pager, &census);
    assert_int_equal(census.readers + census.writers + census.busy + census.held, 0);
    struct pager_statistics statistics = world_statistics(&soak->world);
    if (!soak->dies)
        assert_int_equal(statistics.refused - statistics.stale_unlocks, 0);
    assert_int_equal(statistics.clients, KERNELS);
    fprintf(stderr, "  %llu reads checked, %llu writes, %llu calls, %llu unmapped, %llu died, %llu errors; %llu messages, %llu page-ins, "
            "%llu page-outs, %llu hand-offs, %llu flushes, %llu downgrades\n", (unsigned long long) soak->reads, (unsigned long long) soak->writes,
            (unsigned long long) soak->calls, (unsigned long long) soak->remaps, (unsigned long long) soak->deaths,
            (unsigned long long) soak->errors, (unsigned long long) statistics.messages, (unsigned long long) statistics.page_ins,
            (unsigned long long) statistics.page_outs, (unsigned long long) statistics.hand_offs, (unsigned long long) statistics.flushes,
            (unsigned long long) statistics.downgrades);
    for (unsigned i = 0; i < KERNELS; i++)
        assert_int_equal(sk_violations(soak->machines[i].object), 0);
    for (unsigned i = 0; i < soak->kernels_made; i++)
        sk_kernel_destroy(soak->kernels[i]);
    world_close(&soak->world);
    for (size_t page = 0; page < PAGES; page++)
        pthread_rwlock_destroy(&soak->loss[page]);
}

static void run(bool dies)
{
    struct soak *soak = calloc(1, sizeof *soak);
    struct job jobs[THREADS];
    pthread_t threads[THREADS];
    open_soak(soak, dies);
    uint64_t interval = (soak->end_ms - now_ms()) / 20 + 1, next_death = now_ms() + interval;
    soak->running = THREADS;
    for (unsigned t = 0; t < THREADS; t++) {
        jobs[t] = (struct job) { soak, t };
        threads[t] = spawn(work, &jobs[t]);
    }
    for (unsigned victim = 0, tick = 0; atomic_load(&soak->running) > 0; tick++) {
        nanosleep(&(struct timespec) { .tv_nsec = 20000000 }, NULL);
        store_write_lock(&soak->world, tick % 2 == 0);
        if (!dies || now_ms() < next_death)
            continue;
        kill_one(soak, victim++ % KERNELS);
        next_death = now_ms() + interval;
    }
    for (unsigned t = 0; t < THREADS; t++)
        join(threads[t]);
    store_fail(&soak->world, CALL_READ, 0, 0);
    close_soak(soak);
    free(soak);
}

/* Rules 1 to 4: coherence, an answer to each request, order, the newest version in the store.  */
static void test_soak_in_order(void **state)
{
    (void) state;
    run(false);
}

/* Rule 5 as well: kernels die, reads fail; pages are precious.  */
static void test_soak_with_deaths(void **state)
{
    (void) state;
    run(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_soak_in_order),
        cmocka_unit_test(test_soak_with_deaths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
