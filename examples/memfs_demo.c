/* memfs_demo.c - shared memory between two kernels, with a quota.  Says what it sees and checks it; exit status 0: all as it must be.

   Two kernels in one process are two computers to the pager, and their mappings are two addresses: what is written through
   one is read through the other because the library moves the page.  */

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <hostmach/hostmach.h>
#include <mach.h>
#include <mapping/mapping_kernel.h>
#include <pager/extensions.h>

#include "memfs.h"

#define PAGES 256u                  /* of the object */
#define QUOTA 64                    /* pages */
#define SMALL_CACHE 32u             /* pages; kernel B has so little memory that it evicts */
#define ROUNDS 500u
#define ADDITIONS 5000u

struct machine {
    const char *name;
    mk_kernel *kernel;
    char *memory;
};

static struct machine a = { .name = "A" }, b = { .name = "B" };
static struct memfs memfs;
static struct pager *pager;
static int failures;

__attribute__((format(printf, 2, 3)))
static void check(int good, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("%s ", good ? "  ok  " : "FAILED");
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    failures += !good;
}

static char *at(struct machine *machine, size_t page) { return machine->memory + page * vm_page_size; }
static long used(void) { return QUOTA - atomic_load(&memfs.free_pages); }


/* ---- Touching what may be refused ---- */

static sigjmp_buf back;
static char *volatile fault;

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void) number, (void) context;
    fault = info->si_addr;
    siglongjmp(back, 1);
}

/* Write a byte.  0, or the address of the memory error.  For one thread at a time.  */
static char *refused(char *place, char value)
{
    if (sigsetjmp(back, 1) == 0) {
        *(volatile char *) place = value;
        return NULL;
    }
    mk_error_taken(fault);              /* the next touch asks the pager again */
    return fault;
}


/* ---- What is shown ---- */

static void show_zeroes(void)
{
    size_t wrong = 0;
    for (size_t i = 0; i < PAGES; i++)
        wrong += *at(&a, i) != 0 || *at(&b, i) != 0;
    check(wrong == 0 && used() == 0, "%u pages read as zero by both kernels, and cost nothing", PAGES);
}

static void show_sharing(void)
{
    strcpy(at(&a, 3), "from A");
    check(strcmp(at(&b, 3), "from A") == 0, "A writes, B reads: \"%s\"", at(&b, 3));
    strcpy(at(&b, 3), "and back from B");
    check(strcmp(at(&a, 3), "and back from B") == 0, "B writes, A reads: \"%s\"", at(&a, 3));
    check(used() == 1, "one page is used: %ld", used());
}

/* Counters in one page: one counted up in turns, the other by both at once.  */
struct counters {
    atomic_uint turns, sum;
};

static void *play(void *argument)
{
    struct machine *machine = argument;
    struct counters *counters = (void *) at(machine, 4);
    unsigned mine = machine == &b;
    for (unsigned i = 0; i < ROUNDS; i++) {
        while (atomic_load(&counters->turns) % 2 != mine)
            sched_yield();
        atomic_fetch_add(&counters->turns, 1);
    }
    for (unsigned i = 0; i < ADDITIONS; i++)
        atomic_fetch_add(&counters->sum, 1);
    return NULL;
}

static void show_counters(void)
{
    pthread_t thread;
    struct pager_statistics before, after;
    struct counters *counters = (void *) at(&a, 4);
    pager_get_statistics(pager, &before);
    if (pthread_create(&thread, NULL, play, &b) != 0) {
        check(0, "no thread");
        return;
    }
    play(&a);
    pthread_join(thread, NULL);
    pager_get_statistics(pager, &after);
    check(counters->turns == 2 * ROUNDS, "ping-pong: A and B counted to %u in turns; %llu times a kernel gave the page to the other",
          counters->turns, (unsigned long long) (after.hand_offs - before.hand_offs));
    check(counters->sum == 2 * ADDITIONS, "both at once: %u atomic additions made %u", 2 * ADDITIONS, counters->sum);
}

/* Pages 3 and 4 are used already.  */
static void show_quota(void)
{
    size_t page = 5, wrong = 0;
    char *error = NULL;
    while (page < PAGES && (error = refused(at(&b, page) + 100, (char) page)) == NULL)
        page++;
    check(page == QUOTA + 3 && used() == QUOTA, "B filled the quota of %d pages; page %zu was refused", QUOTA, page);
    check(error == at(&b, page) + 100, "SIGBUS at the very byte");
    check(pager_get_error(pager, page * vm_page_size) == ENOSPC, "pager_get_error says: %s",
          strerror(pager_get_error(pager, page * vm_page_size)));
    check(*at(&a, page) == 0 && *at(&b, page) == 0, "the refused page still reads, as zero, for both");
    check(refused(at(&a, page), 1) == at(&a, page), "A is refused as well");
    for (size_t i = 5; i < page; i++)
        wrong += *(at(&a, i) + 100) != (char) i;
    check(wrong == 0, "A reads everything that B wrote, what B had evicted too");
    check(refused(at(&a, 6), 66) == NULL && *at(&b, 6) == 66, "pages that are used may be rewritten");
    /* Whatever it was that the refused writes did, it took nothing.  */
    check(used() == QUOTA, "%ld pages are used", used());
}

static void show_freeing(void)
{
    size_t page = QUOTA + 3;
    memfs_free(pager, 5 * vm_page_size, 10 * vm_page_size);
    check(used() == QUOTA - 10, "10 pages are freed: %ld are used", used());
    check(*(at(&a, 6)) == 0 && *(at(&b, 6) + 100) == 0, "they read as zero for both");
    check(refused(at(&b, page) + 100, 55) == NULL, "B writes the page that was refused");
    check(*(at(&a, page) + 100) == 55, "A reads it");
    check(refused(at(&a, page + 1), 56) == NULL && *at(&b, page + 1) == 56, "A writes another, B reads it");
    check(used() == QUOTA - 8, "%ld pages are used", used());
}


/* ---- Starting and stopping ---- */

static int map(struct machine *machine, size_t cache_pages)
{
    vm_address_t address = 0;
    machine->kernel = mk_kernel_create(machine->name, cache_pages);
    if (machine->kernel == NULL) {
        fprintf(stderr, "memfs_demo: no page faults here: %s\n", mk_explain(errno));
        return 0;
    }
    mach_port_t object = ports_get_send_right(pager);
    mk_enter(machine->kernel);          /* this thread's vm_map goes through it */
    kern_return_t result = vm_map(mach_task_self(), &address, PAGES * vm_page_size, 0, TRUE, object, 0, FALSE,
                                  VM_PROT_READ | VM_PROT_WRITE, VM_PROT_ALL, VM_INHERIT_NONE);
    mk_enter(NULL);
    mach_port_deallocate(mach_task_self(), object);
    machine->memory = (char *) address;
    return result == KERN_SUCCESS;
}

static void leave(struct machine *machine)
{
    struct mk_statistics figures;
    mk_get_statistics(machine->kernel, &figures);
    printf("       kernel %s: %llu page faults, %llu pages supplied, %llu unlocks, %llu evictions\n", machine->name,
           (unsigned long long) figures.faults, (unsigned long long) figures.supplied_pages,
           (unsigned long long) figures.unlocks, (unsigned long long) figures.evictions);
    vm_deallocate(mach_task_self(), (vm_address_t) machine->memory, PAGES * vm_page_size);
}

int main(void)
{
    struct pager_requests *requests;
    struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO };
    sigaction(SIGBUS, &action, NULL);
    memfs.bucket = ports_create_bucket();
    memfs.free_pages = QUOTA;
    if (memfs.bucket == NULL || pager_start_workers(memfs.bucket, &requests) != 0
        || memfs_create(&memfs, PAGES * vm_page_size, &pager) != 0 || !map(&a, 0) || !map(&b, SMALL_CACHE)) {
        fprintf(stderr, "memfs_demo: cannot start\n");
        return 1;
    }
    show_zeroes();
    show_sharing();
    show_counters();
    show_quota();
    show_freeing();

    leave(&a);
    leave(&b);
    pager_shutdown(pager);
    ports_port_deref(pager);
    mk_kernel_destroy(a.kernel);
    mk_kernel_destroy(b.kernel);
    /* A worker may have a reference of the pager for a moment longer.  */
    pager_stop_workers(requests);
    check(used() == 0, "the object is gone, and all its pages are free again");
    check(ports_destroy_bucket(memfs.bucket) == 0 && hostmach_vm_bytes() == 0, "nothing is left");
    return failures ? 1 : 0;
}
