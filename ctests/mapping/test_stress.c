/* Two kernels, four threads each, hammer pages with random reads and writes; every read is checked.

   A page begins with a counter for each thread, which only that thread writes (in words of its own, through whichever mapping), and a copy of it
   at the page's end.  A thread that reads a page must find its own counter exactly as it wrote it last, whatever the kernels and the
   pager did with the page meanwhile, and the others' counters never going backwards, and head and tail of a counter in the order
   in which they are written.  Meanwhile another thread syncs, returns and locks ranges, and both kernels evict.

   MAPPING_STRESS_S: how many seconds (3), once with page-ins one by one, once with several at a time.  MAPPING_STRESS_SEED: the seed.  */

#include "land.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { PAGES = 1000, KERNELS = 2, THREADS_EACH = 4, THREADS = KERNELS * THREADS_EACH, MAPS = 2 };

struct page_words {
    _Atomic uint64_t head[THREADS];
    uint64_t filler[512 - 2 * THREADS];
    _Atomic uint64_t tail[THREADS];
};

struct worker {
    struct land *land;
    int number;
    unsigned seed;
    struct page_words *maps[MAPS];
    uint64_t mine[PAGES];               /* what this thread wrote last */
    uint64_t seen[PAGES][THREADS];      /* of the others */
    uint64_t reads, writes;
    char failure[200];
};

static _Atomic int stop;

static bool check_page(struct worker *w, size_t page, struct page_words *words)
{
    for (int t = 0; t < THREADS; t++) {
        /* Written head first, then tail: read tail first. */
        uint64_t tail = load_word(&words->tail[t]);
        uint64_t head = load_word(&words->head[t]);
        if (t == w->number ? head != w->mine[page] || tail != head : head < tail || tail < w->seen[page][t]) {
            snprintf(w->failure, sizeof w->failure, "page %zu, counter %d, thread %d: head %lu, tail %lu; written or seen %lu", page, t,
                     w->number, (unsigned long) head, (unsigned long) tail,
                     (unsigned long) (t == w->number ? w->mine[page] : w->seen[page][t]));
            return false;
        }
        w->seen[page][t] = tail;
    }
    return true;
}

static int hammer(void *argument)
{
    struct worker *w = argument;
    while (!stop) {
        unsigned random = (unsigned) rand_r(&w->seed);
        size_t page = random % 7 == 0 ? random / 8 % PAGES : random / 8 % 50;   /* some pages are hot */
        struct page_words *words = w->maps[random >> 4 & 1] + page;
        if (rand_r(&w->seed) % 3 == 0) {
            uint64_t next = ++w->mine[page];
            store_word(&words->head[w->number], next);
            store_word(&words->tail[w->number], next);
            w->writes++;
        }
        if (!check_page(w, page, words)) {
            stop = 1;
            return 1;
        }
        w->reads++;
    }
    return 0;
}

static int disturb(void *argument)
{
    struct land *land = argument;
    unsigned seed = 99, rounds = 0;
    while (!stop) {
        vm_address_t start = page_offset((size_t) rand_r(&seed) % PAGES);
        vm_size_t length = page_offset(1 + (size_t) rand_r(&seed) % 64);
        if (rounds++ % 2)
            pager_sync_some(land->world.pager, start, length, 1);
        else
            pager_return_some(land->world.pager, start, length, 1);
    }
    return 0;
}

static void stress(unsigned reads_at_once)
{
    const char *seconds = getenv("MAPPING_STRESS_S"), *seed = getenv("MAPPING_STRESS_SEED");
    static struct worker workers[THREADS];
    struct task tasks[THREADS], disturber;
    struct land land;
    land_open(&land, KERNELS, PAGES, 40);
    assert_int_equal(pager_set_concurrent_reads(land.world.pager, reads_at_once), 0);
    memset(land.world.store->data, 0, PAGES * vm_page_size);
    stop = 0;
    struct page_words *maps[KERNELS][MAPS];
    for (int k = 0; k < KERNELS; k++)
        for (int i = 0; i < MAPS; i++)
            maps[k][i] = (struct page_words *) land_map(&land, k, 0, PAGES, RW);
    for (int t = 0; t < THREADS; t++) {
        workers[t] = (struct worker) { .land = &land, .number = t, .seed = (seed ? (unsigned) atoi(seed) : 1) * 1000 + (unsigned) t };
        memcpy(workers[t].maps, maps[t / THREADS_EACH], sizeof workers[t].maps);
        task_begin(&tasks[t], hammer, &workers[t]);
    }
    task_begin(&disturber, disturb, &land);
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += seconds ? atoi(seconds) : 3;
    while (!stop && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
        ;
    stop = 1;
    uint64_t reads = 0, writes = 0;
    for (int t = 0; t < THREADS; t++) {
        task_end(&tasks[t]);
        reads += workers[t].reads;
        writes += workers[t].writes;
    }
    task_end(&disturber);
    for (int t = 0; t < THREADS; t++)
        if (workers[t].failure[0])
            fail_msg("%s", workers[t].failure);
    /* At the end everything is where it belongs: in the store. */
    pager_return(land.world.pager, 1);
    for (size_t page = 0; page < PAGES; page++) {
        struct page_words *words = (struct page_words *) (land.world.store->data + page * vm_page_size);
        for (int t = 0; t < THREADS; t++)
            if (words->head[t] != workers[t].mine[page] || words->tail[t] != words->head[t])
                fail_msg("store: page %zu, counter %d: %lu and %lu, not %lu", page, t, (unsigned long) words->head[t],
                         (unsigned long) words->tail[t], (unsigned long) workers[t].mine[page]);
    }
    for (int k = 0; k < KERNELS; k++) {
        struct mk_statistics f = statistics(&land, k);
        printf("kernel %d: faults %lu requests %lu minor %lu write %lu unlocks %lu joined %lu deferred %lu returned %lu evicted %lu "
               "(dirty %lu)\n", k, (unsigned long) f.faults, (unsigned long) f.requests, (unsigned long) f.minor_faults,
               (unsigned long) f.write_faults, (unsigned long) f.unlocks, (unsigned long) f.joined, (unsigned long) f.deferred,
               (unsigned long) f.returned_pages, (unsigned long) f.evictions, (unsigned long) f.evicted_dirty);
        assert_int_equal(f.errors, 0);
        assert_int_equal(f.failed_sends, 0);
    }
    printf("%lu reads, %lu writes\n", (unsigned long) reads, (unsigned long) writes);
    land_close(&land);
}

static void test_stress(void **state)
{
    (void) state;
    stress(1);
}

static void test_stress_concurrent(void **state)
{
    (void) state;
    stress(16);
}

/* Threads map, touch and unmap parts of one object at random; it ends and begins again all the time.  Each thread owns one byte of every
   page, and finds it as it left it.  */
struct mapper {
    struct land *land;
    int number;
    unsigned seed;
    unsigned char mine[64];
    unsigned rounds, errors;
};

static int map_and_unmap(void *argument)
{
    struct mapper *w = argument;
    mk_enter(w->land->kernels[w->number % 2]);
    while (!stop) {
        size_t first = (size_t) rand_r(&w->seed) % 60, count = 1 + (size_t) rand_r(&w->seed) % (64 - first);
        vm_address_t address = 0;
        if (vm_map(mach_task_self(), &address, count * vm_page_size, 0, TRUE, w->land->world.port, page_offset(first), FALSE, RW, RW,
                   VM_INHERIT_NONE) != KERN_SUCCESS) {
            w->errors++;
            break;
        }
        for (int i = 0; i < 6; i++) {
            size_t page = (size_t) rand_r(&w->seed) % count;
            memory mine = (memory) address + page * vm_page_size + 100 + w->number;
            if (*mine != w->mine[first + page])
                w->errors++;
            *mine = ++w->mine[first + page];
        }
        size_t part = (size_t) rand_r(&w->seed) % count;
        if (part != 0)
            vm_deallocate(mach_task_self(), address, part * vm_page_size);
        if (*((memory) address + part * vm_page_size + 100 + w->number) != w->mine[first + part])
            w->errors++;
        /* Not the part again: somebody else may have it by now. */
        vm_deallocate(mach_task_self(), address + part * vm_page_size, (count - part) * vm_page_size);
        w->rounds++;
    }
    mk_enter(NULL);
    return 0;
}

static void test_map_and_unmap(void **state)
{
    (void) state;
    enum { MAPPERS = 4 };
    static struct mapper mappers[MAPPERS];
    struct task tasks[MAPPERS];
    struct land land;
    land_open(&land, 2, 64, 40);
    memset(land.world.store->data, 0, 64 * vm_page_size);
    stop = 0;
    for (int i = 0; i < MAPPERS; i++) {
        mappers[i] = (struct mapper) { .land = &land, .number = i, .seed = (unsigned) i + 5 };
        task_begin(&tasks[i], map_and_unmap, &mappers[i]);
    }
    nanosleep(&(struct timespec) { .tv_sec = 2 }, NULL);
    stop = 1;
    for (int i = 0; i < MAPPERS; i++) {
        task_end(&tasks[i]);
        assert_int_equal(mappers[i].errors, 0);
        assert_true(mappers[i].rounds > 0);
    }
    assert_int_equal(statistics(&land, 0).mappings + statistics(&land, 1).mappings, 0);
    assert_int_equal(statistics(&land, 0).objects + statistics(&land, 1).objects, 0);
    world_settle(&land.world);
    for (size_t page = 0; page < 64; page++)
        for (int i = 0; i < MAPPERS; i++)
            assert_int_equal(land.world.store->data[page * vm_page_size + 100 + (size_t) i], mappers[i].mine[page]);
    land_close(&land);
}

/* Kernels die under threads that use their memory: those get SIGBUS, others go on.  */
static int use_until_bus(void *argument)
{
    memory m = argument;
    unsigned seed = (unsigned) (uintptr_t) &seed;
    int result = 0;
    while (result == 0)
        result = touch_write(m + (size_t) rand_r(&seed) % 32 * vm_page_size, 1);
    return result;
}

static void test_kill(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 32, 0);
    memory other = land_map(&land, 0, 0, 32, RW);
    for (int round = 0; round < 30; round++) {
        struct task tasks[3];
        mk_kernel *kernel = mk_kernel_create("victim", round % 2 ? 16 : 0);
        vm_address_t address = 0;
        mk_enter(kernel);
        assert_int_equal(vm_map(mach_task_self(), &address, 32 * vm_page_size, 0, TRUE, land.world.port, 0, FALSE, RW, RW,
                                VM_INHERIT_NONE), KERN_SUCCESS);
        mk_enter(NULL);
        for (int i = 0; i < 3; i++)
            task_begin(&tasks[i], use_until_bus, (void *) address);
        for (size_t i = 0; i < 32; i++)
            poke(at(other, i), (unsigned char) round);
        mk_kernel_kill(kernel);
        for (int i = 0; i < 3; i++)
            assert_int_equal(task_end(&tasks[i]), SIGBUS);
        mk_kernel_destroy(kernel);
        for (size_t i = 0; i < 32; i++)
            poke(at(other, i), (unsigned char) round);
    }
    land_close(&land);
}

/* A store of which every third read fails: threads get SIGBUS, try again, and find what they wrote.  */
static void fail_often(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    (void) page;
    if (call != CALL_READ)
        return;
    pthread_mutex_lock(&store->lock);
    if (store->counts[CALL_READ] % 3 == 0) {
        store->errors[CALL_READ] = EIO;
        store->error_count[CALL_READ] = 1;
    }
    pthread_mutex_unlock(&store->lock);
}

struct trier {
    memory maps[2];
    int number;
    int other;                          /* another signal that may come */
    unsigned seed, errors, wrong;
    unsigned char mine[100];
};

static int try_again(void *argument)
{
    struct trier *w = argument;
    while (!stop) {
        size_t page = (size_t) rand_r(&w->seed) % 100;
        memory where = at(w->maps[rand_r(&w->seed) % 2], page) + w->number;
        unsigned char byte = 0;
        int result;
        while ((result = touch_read(where, &byte)) == SIGBUS || result == w->other)
            w->errors++;
        if (result != 0 || byte != w->mine[page])
            w->wrong++;
        unsigned char next = (unsigned char) (w->mine[page] + 1);
        while ((result = touch_write(where, next)) == SIGBUS || result == w->other)
            w->errors++;
        w->mine[page] = next;
    }
    return 0;
}

static void stress_errors(unsigned without)
{
    enum { TRIERS = 3 };
    static struct trier triers[TRIERS];
    struct task tasks[TRIERS];
    struct land land;
    mk_pretend(without);
    land_open(&land, 1, 100, 20);
    mk_pretend(0);
    memset(land.world.store->data, 0, 100 * vm_page_size);
    pthread_mutex_lock(&land.world.store->lock);
    land.world.store->hook = fail_often;
    pthread_mutex_unlock(&land.world.store->lock);
    stop = 0;
    memory maps[2] = { land_map(&land, 0, 0, 100, RW), land_map(&land, 0, 0, 100, RW) };
    for (int i = 0; i < TRIERS; i++) {
        triers[i] = (struct trier) { .maps = { maps[0], maps[1] }, .number = i, .seed = (unsigned) i,
                                     /* Without UFFDIO_POISON the page is closed for a moment when its error is dropped.  */
                                     .other = without & MK_WITHOUT_POISON ? SIGSEGV : SIGBUS };
        task_begin(&tasks[i], try_again, &triers[i]);
    }
    nanosleep(&(struct timespec) { .tv_sec = 1 }, NULL);
    stop = 1;
    unsigned errors = 0;
    for (int i = 0; i < TRIERS; i++) {
        task_end(&tasks[i]);
        assert_int_equal(triers[i].wrong, 0);
        errors += triers[i].errors;
    }
    assert_true(errors > 0);
    land_close(&land);
}

static void test_errors(void **state)
{
    (void) state;
    stress_errors(0);
}

static void test_errors_without_poison(void **state)
{
    (void) state;
    stress_errors(MK_WITHOUT_POISON);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stress),
        cmocka_unit_test(test_stress_concurrent),
        cmocka_unit_test(test_map_and_unmap),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_errors_without_poison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
