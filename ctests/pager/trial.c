/* See trial.h.  */

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "platform.h"
#include "trial.h"

/* ---- Faults ---- */

const char *const source_names[] = { "engine", "Mach's memory", "Mach's pages", "sends" };

/* Allocations of the engine until one fails; negative: none does.  */
static _Atomic long engine_countdown = -1;
static _Atomic unsigned engine_struck;

static int engine_fails(void)
{
    if (atomic_load(&engine_countdown) < 0 || atomic_fetch_sub(&engine_countdown, 1) != 0)
        return 0;
    atomic_fetch_add(&engine_struck, 1);
    return 1;
}

void *__real_platform_allocate(size_t);
void *__real_platform_allocate_waiting(size_t);
int __real_platform_thread_start(void (*)(void *), void *);
void *__wrap_platform_allocate(size_t);
void *__wrap_platform_allocate_waiting(size_t);
int __wrap_platform_thread_start(void (*)(void *), void *);

void *__wrap_platform_allocate(size_t size) { return engine_fails() ? NULL : __real_platform_allocate(size); }

void *__wrap_platform_allocate_waiting(size_t size)
{
    if (engine_fails())
        platform_fail_allocation(0);
    return __real_platform_allocate_waiting(size);
}

int __wrap_platform_thread_start(void (*entry)(void *), void *argument)
{
    return engine_fails() ? ENOMEM : __real_platform_thread_start(entry, argument);
}

/* What the engine logged in this trial: its formats, each of which stands for a reason.  Not printed.  */
static const char *logged[32];
static _Atomic unsigned logged_count;

void forget_log(void) { atomic_store(&logged_count, 0); }

void __wrap_platform_log(const char *, unsigned long, unsigned long);
void __wrap_platform_log(const char *format, unsigned long a, unsigned long b)
{
    (void) a;
    (void) b;
    unsigned place = atomic_fetch_add(&logged_count, 1);
    if (place < sizeof logged / sizeof *logged)
        logged[place] = format;
}

void arm(enum source source, long n)
{
    const struct hostmach_fault fault = { hostmach_task_main(), 0, (unsigned) n, 1, MACH_SEND_NO_BUFFER };
    switch (source) {
    case ENGINE: atomic_store(&engine_countdown, n); break;
    case MACH_MEMORY: hostmach_fail_memory((unsigned) n, 1); break;
    case MACH_PAGES: hostmach_fail_vm((unsigned) n, 1); break;
    case SENDS: hostmach_fail_send(&fault); break;
    }
}

void disarm(void)
{
    atomic_store(&engine_countdown, -1);
    platform_fail_allocation(-1);
    hostmach_fail_memory(0, 0);
    hostmach_fail_vm(0, 0);
    hostmach_fail_send(NULL);
}

unsigned struck(void) { return atomic_load(&engine_struck) + hostmach_faults_struck(); }
/* ---- A trial ---- */

struct now now;

static void describe(const char *what, int error)
{
    fprintf(stderr, "%s: scenario %s, %s, number %ld: %#x\n", what, now.scenario, source_names[now.source], now.n, error);
    for (unsigned i = 0; i < atomic_load(&logged_count) && i < sizeof logged / sizeof *logged; i++)
        fprintf(stderr, "  logged: %s\n", logged[i]);
}

void on_alarm(int signal)
{
    (void) signal;
    describe("hang", 0);
    abort();
}

void trial_open(struct trial *t, boolean_t notify)
{
    memset(t, 0, sizeof *t);
    forget_log();
    for (int i = 0; i < KERNELS; i++)
        t->kernels[i] = sk_kernel_create("K");
    world_open(&t->world, PAGES, notify);
    for (int i = 0; i < PAGES; i++)
        t->expected[i] = (unsigned char) (i + 1);
}

/* Each reason was logged once.  */
void check_log(void)
{
    unsigned count = atomic_load(&logged_count);
    assert_in_range(count, 0, sizeof logged / sizeof *logged);
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < i; j++)
            assert_ptr_not_equal(logged[i], logged[j]);
}

void trial_close(struct trial *t)
{
    disarm();
    /* Everything that was written is there, or on its way to the store.  */
    pager_return(t->world.pager, 1);
    for (int i = 0; i < PAGES; i++)
        assert_int_equal(store_byte(&t->world, i), t->expected[i]);
    for (int i = 0; i < KERNELS; i++)
        if (t->objects[i]) {
            assert_int_equal(sk_violations(t->objects[i]), 0);
            assert_int_equal(sk_send_failures(t->objects[i]), 0);
        }
    for (int i = 0; i < KERNELS; i++)
        sk_kernel_destroy(t->kernels[i]);
    world_close(&t->world);
    check_log();
}

/* Some error, once: a fault strikes once.  */
void note_error(struct trial *t, int error)
{
    assert_int_not_equal(error, 0);
    if (++t->errors > 1 || struck() == now.struck_before) {
        describe("error", error);
        fail();
    }
}

/* 0 or an error: the pager's answer to the init of a new client.  There is none if mach_msg could make no name for the client's control
   port when the pager received it: then the right is gone (MACH_RCV_BODY_ERROR), and the pager, which counts a refusal, cannot tell
   whom it refuses.  A kernel of Mach's waits until somebody interrupts the one who maps.  */
int await_ready(struct pager *pager, sk_object *object, unsigned rights_lost)
{
    int error;
    while ((error = sk_wait_ready(object, 20)) == ETIMEDOUT) {
        struct pager_statistics statistics;
        pager_get_statistics(pager, &statistics);
        if (hostmach_rights_lost() != rights_lost && statistics.refused > 0) {
            assert_int_equal(now.source, MACH_MEMORY);
            assert_int_equal(sk_terminate(object), 0);
            return ENOMEM;
        }
    }
    return error;
}

void map_pager(struct trial *t, int i, struct pager *pager, mach_port_t port)
{
    for (;;) {
        unsigned rights_lost = hostmach_rights_lost();
        t->objects[i] = sk_map_async(t->kernels[i], port);
        int error = await_ready(pager, t->objects[i], rights_lost);
        if (error == 0)
            return;
        note_error(t, error);
    }
}

void map(struct trial *t, int i) { map_pager(t, i, t->world.pager, t->world.port); }

void read_page(struct trial *t, int i, size_t page)
{
    unsigned char byte = 0;
    int error;
    while ((error = kernel_read(t->objects[i], page, &byte)) != 0)
        note_error(t, error);
    assert_int_equal(byte, t->expected[page]);
}

void write_page(struct trial *t, int i, size_t page, unsigned char byte)
{
    int error;
    while ((error = kernel_write(t->objects[i], page, byte)) != 0)
        note_error(t, error);
    t->expected[page] = byte;
}

void evict(struct trial *t, int i, size_t page) { assert_int_equal(sk_evict(t->objects[i], page_offset(page)), 0); }
