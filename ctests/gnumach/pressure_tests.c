/* pressure_tests.c: an object twice as large as the machine's memory, on the real kernel, over a real disk driver.

   Each page is filled with numbers that follow from its number and its version, so the sum of any page at any time is known; a page that
   came back too old, or another's, or half of it, does not have it.  */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mach.h>
#include <mach/vm_statistics.h>

#include <cmocka.h>
#include "pressure.h"
#include "runner.h"

enum { MEMORY_MB = 64, OBJECT_MB = 128 };

static struct user_pager_info upi;
static struct pager_requests *requests;
static struct port_bucket *bucket;
static struct pager *pager;
static mach_port_t object;
static volatile uint32_t *memory;
static uint16_t *versions;                  /* of each page; 0: never written */
static size_t words;                        /* a page's */

static size_t bytes(void) { return upi.pages * vm_page_size; }

/* ---- Pages ---- */

static uint32_t step(uint32_t x)
{
    x ^= x << 13;
    x ^= x >> 17;
    return x ^ x << 5;
}

static uint32_t seed(size_t page) { return (((uint32_t) page * 2654435761u) ^ (versions[page] * 0x9e3779b9u)) | 1; }

static uint32_t expected_sum(size_t page)
{
    uint32_t x = seed(page), a = 1, b = 0;
    for (size_t i = 0; i < words; i++) {
        x = step(x);
        a += x;
        b += a;
    }
    return a ^ (b << 16 | b >> 16);
}

static void fill(size_t page)
{
    volatile uint32_t *where = memory + page * words;
    runner_goes_on();
    versions[page]++;
    uint32_t x = seed(page);
    for (size_t i = 0; i < words; i++)
        where[i] = x = step(x);
}

static void check(size_t page)
{
    volatile uint32_t *where = memory + page * words;
    uint32_t a = 1, b = 0;
    runner_goes_on();
    for (size_t i = 0; i < words; i++) {
        a += where[i];
        b += a;
    }
    uint32_t sum = a ^ (b << 16 | b >> 16);
    if (versions[page] != 0 && sum != expected_sum(page)) {
        uint32_t first = where[0];
        const uint16_t version = versions[page];
        while (versions[page] > 0)
            if (versions[page]--, step(seed(page)) == first)
                fail_msg("page %zu is of version %u; %u wanted", page, versions[page], version);
        versions[page] = version;
        fail_msg("page %zu, version %u: sum %x, %x wanted", page, versions[page], sum, expected_sum(page));
    }
}

/* ---- The stage ---- */

static vm_statistics_data_t memory_figures(void)
{
    vm_statistics_data_t figures;
    assert_int_equal(vm_statistics(mach_task_self(), &figures), KERN_SUCCESS);
    return figures;
}

static int open_stage(void **state)
{
    (void) state;
    words = vm_page_size / sizeof *memory;
    upi = (struct user_pager_info) { .pages = (size_t) OBJECT_MB * 1024 * 1024 / vm_page_size };
    if (disk_bytes() < bytes())
        fail_msg("the disk has %llu bytes; %zu are needed", (unsigned long long) disk_bytes(), bytes());
    vm_statistics_data_t now = memory_figures();
    unsigned total = (unsigned) (now.free_count + now.active_count + now.inactive_count + now.wire_count);
    /* Else nothing is tested.  */
    if (total > (unsigned) MEMORY_MB * 1024 * 1024 / vm_page_size)
        fail_msg("the machine has more memory than it should: %u pages", total);
    versions = calloc(upi.pages, sizeof *versions);
    assert_non_null(versions);
    return 0;
}

static void begin(boolean_t notify)
{
    vm_address_t address = 0;
    upi.notified = upi.reads = upi.writes = upi.requests = upi.failures = upi.cleared = 0;
    bucket = ports_create_bucket();
    assert_int_equal(pager_start_workers(bucket, &requests), 0);
    pager = pager_create(&upi, bucket, 0, MEMORY_OBJECT_COPY_DELAY, notify);
    assert_non_null(pager);
    object = ports_get_send_right(pager);
    assert_int_equal(vm_map(mach_task_self(), &address, bytes(), 0, TRUE, object, 0, FALSE, VM_PROT_READ | VM_PROT_WRITE,
                            VM_PROT_ALL, VM_INHERIT_NONE), KERN_SUCCESS);
    memory = (volatile uint32_t *) address;
}

static void tell(const char *what)
{
    struct pager_statistics s;
    vm_statistics_data_t now = memory_figures();
    pager_get_statistics(pager, &s);
    printf("%s: %u pages read, %u written by %u calls of the disk, %u supplies, %u evictions told, %u versions skipped, %u pages free\n",
           what, upi.reads, upi.writes, upi.requests - upi.reads, (unsigned) s.supplies, upi.notified, (unsigned) s.skipped_writes,
           (unsigned) now.free_count);
}

static void finish(void)
{
    struct pager_statistics s;
    pager_get_statistics(pager, &s);
    assert_int_equal(s.refused, 0);
    assert_int_equal(s.errors, 0);
    assert_int_equal(upi.failures, 0);
    assert_int_equal(vm_deallocate(mach_task_self(), (vm_address_t) memory, bytes()), KERN_SUCCESS);
    pager_shutdown(pager);
    mach_port_deallocate(mach_task_self(), object);
    ports_port_deref(pager);
    pager_stop_workers(requests);
    assert_int_equal(upi.cleared, 1);
    assert_int_equal(ports_destroy_bucket(bucket), 0);
}

/* ---- Tests ---- */

/* Twice the memory is written, page by page, and read back: all of it is there.  */
static void test_twice_the_memory_is_written_and_read_back(void **state)
{
    (void) state;
    begin(0);
    for (size_t page = 0; page < upi.pages; page++)
        fill(page);
    tell("written");
    /* At least what does not fit has left the memory.  */
    assert_true(upi.writes >= upi.pages / 2);
    for (size_t page = 0; page < upi.pages; page++)
        check(page);
    tell("read back");
    assert_true(upi.reads >= upi.pages);
    finish();
}

/* What an earlier pager wrote is what the next one reads: it was all on the disk when pager_shutdown returned.  */
static void test_the_next_pager_finds_it(void **state)
{
    (void) state;
    begin(0);
    for (size_t page = 0; page < upi.pages; page += 7)
        check(page);
    assert_int_equal(upi.writes, 0);
    finish();
}

/* Asks for a few pages back, over and over, without waiting for them.  */
enum { HOT = 96 };
static atomic_int pushing;

static void *push(void *nothing)
{
    uint32_t x = 4711;
    while (pushing) {
        x = step(x);
        pager_return_some(pager, (x >> 8) % HOT * vm_page_size, vm_page_size, 0);
        sched_yield();
    }
    return nothing;
}

/* Pages here and there are changed and looked at, more than fit, and a few of them all the time, which are asked back all the time as well: they come
   back while older versions of them are being written, are wanted again before that is done, and go out for want of memory in
   between. No version overtakes another, none is lost.  */
static void test_changed_here_and_there(void **state)
{
    (void) state;
    enum { LIMIT = 32000 };
    uint32_t x = 20261127;
    pthread_t pusher;
    begin(1);
    pushing = 1;
    assert_int_equal(pthread_create(&pusher, NULL, push, NULL), 0);
    for (int i = 0; i < LIMIT; i++) {
        x = step(x);
        size_t page = (x >> 8) % (i % 4 ? upi.pages : HOT);
        check(page);
        if ((x & 1) && versions[page] < UINT16_MAX)
            fill(page);
    }
    pushing = 0;
    assert_int_equal(pthread_join(pusher, NULL), 0);
    tell("changed");
    assert_true(upi.writes >= LIMIT / 8);
    assert_true(upi.notified >= LIMIT / 8);
    pager_return(pager, 1);
    for (size_t page = 0; page < upi.pages; page += page < HOT ? 1 : 5)
        check(page);
    finish();
}

int main_pressure(void);

int main_pressure(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twice_the_memory_is_written_and_read_back),
        cmocka_unit_test(test_the_next_pager_finds_it),
        cmocka_unit_test(test_changed_here_and_there),
    };
    const char *only = getenv("LIBPAGER_TEST_ONLY");
    if (only)
        cmocka_set_test_filter(only);
    return cmocka_run_group_tests(tests, open_stage, NULL);
}

const struct area areas[] = { { "pressure", main_pressure }, { NULL, NULL } };
const struct skipped skipped[] = { { NULL, NULL } };
