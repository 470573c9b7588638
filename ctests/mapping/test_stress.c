/* Two kernels, four threads each, hammer pages with random reads and writes; every read is checked.

   A page begins with a counter for each thread, which only that thread writes (in words of its own, through whichever mapping), and a copy of it
   at the page's end.  A thread that reads a page must find its own counter exactly as it wrote it last, whatever the kernels and the
   pager did with the page meanwhile, and the others' counters never going backwards, and head and tail of a counter in the order
   in which they are written.  Meanwhile another thread syncs, returns and locks ranges, and both kernels evict.

   MAPPING_STRESS_S: how many seconds (5).  MAPPING_STRESS_SEED: the seed.  */

#include "land.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

enum { PAGES = 1000, KERNELS = 2, THREADS_EACH = 4, THREADS = KERNELS * THREADS_EACH, MAPS = 2 };

struct page_words {
    volatile uint64_t head[THREADS];
    volatile uint64_t filler[512 - 2 * THREADS];
    volatile uint64_t tail[THREADS];
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

static volatile int stop;

static bool check_page(struct worker *w, size_t page, struct page_words *words)
{
    for (int t = 0; t < THREADS; t++) {
        /* Written head first, then tail: read tail first. */
        uint64_t tail = words->tail[t];
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        uint64_t head = words->head[t];
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
            words->head[w->number] = next;
            __atomic_thread_fence(__ATOMIC_RELEASE);
            words->tail[w->number] = next;
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

static void test_stress(void **state)
{
    (void) state;
    const char *seconds = getenv("MAPPING_STRESS_S"), *seed = getenv("MAPPING_STRESS_SEED");
    static struct worker workers[THREADS];
    struct task tasks[THREADS], disturber;
    struct land land;
    land_open(&land, KERNELS, PAGES, 300);
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
    end.tv_sec += seconds ? atoi(seconds) : 5;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
