/* "Memory exhausted at any allocation": complete scenarios, run once for every n with the n-th allocation failing; the same for
   Mach's own memory, its pages, and every message that the pager sends.  Whatever fails, a fault succeeds or reports an error and
   succeeds when it is tried again; no data are lost, nobody waits for ever, nothing leaks.

   In the environment: EXHAUSTION_STEP=n tries every n-th only (for valgrind), EXHAUSTION_ONLY=name one scenario.  */

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "platform.h"
#include "store.h"

/* ---- Faults ---- */

enum source { ENGINE, MACH_MEMORY, MACH_PAGES, SENDS };
static const char *const source_names[] = { "engine", "Mach's memory", "Mach's pages", "sends" };

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

static void arm(enum source source, long n)
{
    const struct hostmach_fault fault = { hostmach_task_main(), 0, (unsigned) n, 1, MACH_SEND_NO_BUFFER };
    switch (source) {
    case ENGINE: atomic_store(&engine_countdown, n); break;
    case MACH_MEMORY: hostmach_fail_memory((unsigned) n, 1); break;
    case MACH_PAGES: hostmach_fail_vm((unsigned) n, 1); break;
    case SENDS: hostmach_fail_send(&fault); break;
    }
}

static void disarm(void)
{
    atomic_store(&engine_countdown, -1);
    platform_fail_allocation(-1);
    hostmach_fail_memory(0, 0);
    hostmach_fail_vm(0, 0);
    hostmach_fail_send(NULL);
}

static unsigned struck(void) { return atomic_load(&engine_struck) + hostmach_faults_struck(); }

/* ---- A trial ---- */

static const char *scenario_now;
static enum source source_now;
static long n_now;

enum { KERNELS = 5, PAGES = 24 };

struct trial {
    struct world world;
    sk_kernel *kernels[KERNELS];
    _Atomic(sk_object *) objects[KERNELS];
    unsigned char expected[PAGES];      /* what was written last */
    _Atomic int broken;                 /* a kernel lost a message of its own and was killed: its data are lost, too */
    _Atomic int over;
    unsigned errors;
    pthread_t watcher;
};

/* Mach's memory fails for kernels as well.  One that could not send a message is not what it pretends to be any more.  */
static int is_broken(struct trial *t)
{
    for (int i = 0; i < KERNELS; i++) {
        sk_object *object = atomic_load(&t->objects[i]);
        if (object && sk_send_failures(object) > 0)
            atomic_store(&t->broken, 1);
    }
    return atomic_load(&t->broken);
}

static unsigned stuck;                 /* trials in which a kernel lost what it was sent */

/* It dies then, so that nobody waits for what it did not send.  Where Mach's memory failed it may also have lost a message from
   the pager (no name for the reply right in its task): that shows only by its never answering.  */
static void *watch(void *argument)
{
    struct trial *t = argument;
    for (int rounds = 0; !atomic_load(&t->over); rounds++) {
        if (rounds == 600 && source_now == MACH_MEMORY) {
            stuck++;
            atomic_store(&t->broken, 1);
            for (int i = 0; i < KERNELS; i++)
                sk_kernel_kill(t->kernels[i]);
        }
        for (int i = 0; i < KERNELS; i++) {
            sk_object *object = atomic_load(&t->objects[i]);
            if (object && sk_send_failures(object) > 0) {
                atomic_store(&t->broken, 1);
                sk_kernel_kill(t->kernels[i]);
            }
        }
        usleep(500);
    }
    return NULL;
}

static void on_alarm(int signal)
{
    (void) signal;
    fprintf(stderr, "hang: scenario %s, %s, number %ld\n", scenario_now, source_names[source_now], n_now);
    abort();
}

static void trial_open(struct trial *t, boolean_t notify)
{
    memset(t, 0, sizeof *t);
    for (int i = 0; i < KERNELS; i++)
        t->kernels[i] = sk_kernel_create("K");
    world_open(&t->world, PAGES, notify);
    for (int i = 0; i < PAGES; i++)
        t->expected[i] = (unsigned char) (i + 1);
    t->watcher = spawn(watch, t);
}

static void trial_close(struct trial *t)
{
    disarm();
    /* Everything that was written is there, or on its way to the store.  */
    pager_return(t->world.pager, 1);
    for (int i = 0; i < PAGES && !is_broken(t); i++)
        assert_int_equal(store_byte(&t->world, i), t->expected[i]);
    atomic_store(&t->over, 1);
    join(t->watcher);
    for (int i = 0; i < KERNELS; i++)
        sk_kernel_destroy(t->kernels[i]);
    world_close(&t->world);
}

/* Some error, once more: a fault strikes once.  Each is one that says so.  */
static void note_error(struct trial *t, int error)
{
    if (is_broken(t))
        return;
    assert_int_not_equal(error, 0);
    if (++t->errors > 3) {
        fprintf(stderr, "scenario %s, %s, number %ld: error %#x\n", scenario_now, source_names[source_now], n_now, error);
        fail();
    }
}

/* Where Mach cannot make a name for the control port of a new client, its right is lost in mach_msg: the pager refuses an `init' from
   nobody, whom it cannot tell.  (That is the one case in which a kernel waits in vain.)  */
static int is_lost(struct trial *t, sk_object *object)
{
    int error;
    while ((error = sk_wait_ready(object, 20)) == ETIMEDOUT)
        if (source_now == MACH_MEMORY && world_statistics(&t->world).refused > 0) {
            sk_terminate(object);
            return ENOMEM;
        }
    return error;
}

static sk_object *map(struct trial *t, int i)
{
    for (;;) {
        sk_object *object = sk_map_async(t->kernels[i], t->world.port);
        int error = is_lost(t, object);
        if (error == 0 || is_broken(t)) {
            atomic_store(&t->objects[i], object);
            return object;
        }
        note_error(t, error);
    }
}

static void read_page(struct trial *t, int i, size_t page)
{
    unsigned char byte = 0;
    int error;
    while ((error = kernel_read(t->objects[i], page, &byte)) != 0 && !is_broken(t))
        note_error(t, error);
    if (!is_broken(t))
        assert_int_equal(byte, t->expected[page]);
}

static void write_page(struct trial *t, int i, size_t page, unsigned char byte)
{
    int error;
    while ((error = kernel_write(t->objects[i], page, byte)) != 0 && !is_broken(t))
        note_error(t, error);
    t->expected[page] = byte;
}

static void evict(struct trial *t, int i, size_t page)
{
    int error = sk_evict(t->objects[i], page_offset(page));
    assert_true(error == 0 || is_broken(t));
}

/* ---- Scenarios ---- */

static void one_client(struct trial *t)
{
    map(t, 0);
    for (size_t page = 0; page < 4; page++)
        read_page(t, 0, page);
    for (size_t page = 2; page < 6; page++)
        write_page(t, 0, page, (unsigned char) (50 + page));
    evict(t, 0, 2);
    evict(t, 0, 1);
    pager_sync(t->world.pager, 1);
    read_page(t, 0, 2);
    write_page(t, 0, 2, 99);
    pager_flush_some(t->world.pager, page_offset(1), 4096, 1);
    pager_return(t->world.pager, 1);
    read_page(t, 0, 2);
}

static void hand_over(struct trial *t)
{
    map(t, 0);
    map(t, 1);
    for (size_t page = 0; page < 3; page++) {
        write_page(t, 0, page, (unsigned char) (60 + page));
        read_page(t, 1, page);
        write_page(t, 1, page, (unsigned char) (70 + page));
        read_page(t, 0, page);
        evict(t, 1, page);
        write_page(t, 0, page, (unsigned char) (80 + page));
    }
    pager_sync(t->world.pager, 1);
    read_page(t, 1, 0);
}

static void five_clients(struct trial *t)
{
    for (int i = 0; i < 5; i++)
        map(t, i);
    for (size_t page = 0; page < 2; page++)
        for (int i = 0; i < 5; i++)
            read_page(t, i, page);
    write_page(t, 4, 0, 40);
    write_page(t, 2, 1, 21);
    for (int i = 0; i < 5; i++)
        read_page(t, i, i & 1);
    evict(t, 4, 0);
    /* One dies without a word: the others must learn of it.  */
    sk_kernel_kill(t->kernels[1]);
    write_page(t, 0, 0, 41);
    write_page(t, 3, 1, 22);
    read_page(t, 4, 1);
}

static void unlock_failure(struct trial *t)
{
    map(t, 0);
    map(t, 1);
    store_write_lock(&t->world, 1);
    read_page(t, 0, 0);
    read_page(t, 1, 0);
    store_fail(&t->world, CALL_UNLOCK, EDQUOT, 1);
    unsigned told = 0;
    int error;
    while ((error = kernel_write(t->objects[0], 0, 33)) != 0 && !is_broken(t))
        if (error == EDQUOT)
            told++;
        else
            note_error(t, error);
    t->expected[0] = 33;
    if (!is_broken(t))
        assert_int_equal(told, 1);
    read_page(t, 1, 0);
    store_write_lock(&t->world, 0);
}

static void attach_and_detach(struct trial *t)
{
    map(t, 0);
    map(t, 1);
    write_page(t, 0, 0, 90);
    read_page(t, 1, 0);
    int error = sk_terminate(t->objects[0]);
    assert_true(error == 0 || is_broken(t) || source_now != ENGINE);
    if (error) {
        atomic_store(&t->broken, 1);        /* as if it had died */
        sk_kernel_kill(t->kernels[0]);
        return;
    }
    map(t, 0);
    read_page(t, 0, 0);
    write_page(t, 0, 0, 91);
    write_page(t, 1, 1, 92);
    sk_kernel_kill(t->kernels[1]);          /* what it had is lost */
    t->expected[1] = 2;
    read_page(t, 0, 1);
    write_page(t, 0, 1, 93);
    map(t, 2);
    read_page(t, 2, 1);
}

static void return_and_ask_again(struct trial *t)
{
    map(t, 0);
    map(t, 1);
    for (size_t page = 0; page < 8; page++)
        write_page(t, 0, page, (unsigned char) (100 + page));
    pager_return_some(t->world.pager, page_offset(1), page_offset(4), 0);
    for (size_t page = 0; page < 8; page++)
        read_page(t, page & 1, page);
    pager_return_some(t->world.pager, 0, page_offset(8), 1);
    for (size_t page = 0; page < 8; page += 2)
        write_page(t, 1, page, (unsigned char) (110 + page));
    pager_sync_some(t->world.pager, page_offset(2), page_offset(3), 1);
}

static void many_pages(struct trial *t)
{
    store_multi_write(&t->world, 5);
    map(t, 0);
    for (size_t page = 0; page < 16; page++)
        write_page(t, 0, page, (unsigned char) (120 + page));
    pager_sync(t->world.pager, 1);
    map(t, 1);
    for (size_t page = 0; page < 16; page++)
        write_page(t, 1, page, (unsigned char) (140 + page));
    pager_return(t->world.pager, 1);
    read_page(t, 0, 15);
}

static void *shut_down(void *pager)
{
    pager_shutdown(pager);
    return NULL;
}

static void shutdown_under_load(struct trial *t)
{
    map(t, 0);
    map(t, 1);
    for (size_t page = 0; page < 8; page++)
        write_page(t, page & 1, page, (unsigned char) (160 + page));
    store_close_gate(&t->world, CALL_READ);
    sk_request(t->objects[0], page_offset(9), VM_PROT_READ | VM_PROT_WRITE);
    sk_request(t->objects[1], page_offset(10), VM_PROT_READ);
    pthread_t ender = spawn(shut_down, t->world.pager);
    store_open_gate(&t->world, CALL_READ);
    join(ender);
    for (size_t page = 9; page <= 10 && !is_broken(t); page++)
        assert_int_equal(sk_wait_page(t->objects[page - 9], page_offset(page), SK_WANT_SETTLED, 0), 0);
}

static void attributes_and_inhibition(struct trial *t)
{
    map(t, 0);
    map(t, 1);
    write_page(t, 0, 0, 180);
    pager_change_attributes(t->world.pager, 1, MEMORY_OBJECT_COPY_NONE, 1);
    int error;
    while ((error = pager_inhibit_workers(t->world.requests)) != 0)
        note_error(t, error);
    pager_resume_workers(t->world.requests);
    pager_change_attributes(t->world.pager, 0, MEMORY_OBJECT_COPY_DELAY, 0);
    mach_port_t proxy;
    while ((proxy = pager_create_ro_port(t->world.pager)) == MACH_PORT_NULL)
        note_error(t, errno);
    mach_port_deallocate(mach_task_self(), proxy);
    read_page(t, 1, 0);
}

/* Workers and pagers are made and ended under faults, too.  */
static void create(struct trial *t)
{
    struct pager_requests *requests;
    struct port_bucket *bucket;
    struct pager *pager;
    int error;
    while (!(bucket = ports_create_bucket()))
        note_error(t, ENOMEM);
    while ((error = pager_start_workers(bucket, &requests)) != 0)
        note_error(t, error);
    /* pager_clear_user_data may already run for a pager that was nearly made: it tells.  */
    int cleared = t->world.store->cleared;
    while (!(pager = pager_create(t->world.store, bucket, 0, MEMORY_OBJECT_COPY_DELAY, 1)))
        note_error(t, errno);
    mach_port_t port;
    for (;;) {
        port = ports_get_send_right(pager);
        if (MACH_PORT_VALID(port))
            break;
        note_error(t, ENOMEM);
    }
    mach_port_t saved = t->world.port;
    t->world.port = port;
    map(t, 0);
    t->world.port = saved;
    read_page(t, 0, 3);
    pager_shutdown(pager);
    mach_port_deallocate(mach_task_self(), port);
    ports_port_deref(pager);
    pager_stop_workers(requests);
    assert_in_range(t->world.store->cleared, cleared + 1, cleared + 2);
    t->world.store->cleared = cleared;
    assert_int_equal(ports_destroy_bucket(bucket), 0);
}

/* ---- Every n ---- */

static const struct scenario {
    const char *name;
    void (*run)(struct trial *);
    boolean_t notify;
} scenarios[] = {
    { "one client", one_client, 0 },
    { "one client, notices", one_client, 1 },
    { "hand-over", hand_over, 0 },
    { "hand-over, notices", hand_over, 1 },
    { "five clients", five_clients, 0 },
    { "unlock failure", unlock_failure, 0 },
    { "attach and detach", attach_and_detach, 0 },
    { "return and ask again", return_and_ask_again, 1 },
    { "many pages", many_pages, 0 },
    { "shutdown under load", shutdown_under_load, 0 },
    { "attributes and inhibition", attributes_and_inhibition, 0 },
    { "create", create, 0 },
};

/* Whether the n-th failed: else there were fewer.  */
static unsigned try(const struct scenario *scenario, enum source source, long n)
{
    static struct trial trial;
    long blocks = platform_allocated_blocks();
    scenario_now = scenario->name;
    source_now = source;
    n_now = n;
    alarm(120);
    trial_open(&trial, scenario->notify);
    unsigned before = struck();
    if (n >= 0)
        arm(source, n);
    scenario->run(&trial);
    disarm();
    unsigned result = struck() - before;
    if (result == 0) {
        assert_int_equal(trial.errors, 0);
        assert_int_equal(trial.broken, 0);
    }
    trial_close(&trial);
    assert_int_equal(platform_allocated_blocks(), blocks);
    alarm(0);
    return result;
}

static void exhaust(enum source source)
{
    const char *text = getenv("EXHAUSTION_STEP");
    long step = text ? atol(text) : 1;
    const char *only = getenv("EXHAUSTION_ONLY");
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (only && strcmp(only, scenarios[i].name) != 0)
            continue;
        try(&scenarios[i], source, -1);
        long n = 0;
        /* Threads make the count vary: the end is where it did not strike twice in a row.  */
        for (int missed = 0; missed < 2; n += step)
            missed = try(&scenarios[i], source, n) ? 0 : missed + 1;
        print_message("%s: %s, %ld\n", scenarios[i].name, source_names[source], n - 2 * step);
        if (stuck)
            print_message("  (%u times a kernel lost a message)\n", stuck);
        stuck = 0;
        assert_true(n > 2 * step || source == MACH_PAGES);
    }
}

static void test_engine_memory(void **state) { (void) state; exhaust(ENGINE); }
static void test_mach_memory(void **state) { (void) state; exhaust(MACH_MEMORY); }
static void test_mach_pages(void **state) { (void) state; exhaust(MACH_PAGES); }
static void test_sends(void **state) { (void) state; exhaust(SENDS); }

/* A message that can never be sent, of each kind: the client is told that it is not served any more, others are.  */
static void test_sends_that_fail_for_good(void **state)
{
    (void) state;
    static const mach_msg_id_t ids[] = { SK_READY, SK_DATA_SUPPLY, SK_DATA_ERROR, SK_LOCK_REQUEST, SK_CHANGE_ATTRIBUTES };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct world world;
        world_open(&world, 8, 0);
        sk_kernel *a = sk_kernel_create("A"), *b = sk_kernel_create("B");
        sk_object *x = NULL, *y = sk_map(b, world.port);
        unsigned char byte;
        if (ids[i] != SK_READY) {
            x = sk_map(a, world.port);
            assert_int_equal(kernel_write(x, 0, 50), 0);
            assert_int_equal(kernel_read(y, 1, &byte), 0);
            assert_int_equal(kernel_read(x, 1, &byte), 0);
        }
        const struct hostmach_fault fault = { hostmach_task_main(), ids[i], 0, ~0u, MACH_SEND_NO_BUFFER };
        hostmach_fail_send(&fault);
        switch (ids[i]) {
        case SK_READY:
            x = sk_map_async(a, world.port);
            assert_int_not_equal(sk_wait_ready(x, 0), 0);
            break;
        case SK_DATA_SUPPLY: assert_int_not_equal(kernel_read(x, 2, &byte), 0); break;
        case SK_DATA_ERROR:
            store_fail(&world, CALL_READ, EIO, 1);
            assert_int_not_equal(kernel_read(x, 2, &byte), 0);
            break;
        case SK_LOCK_REQUEST:
            /* Another's request needs the page back, which it cannot be asked for.  */
            assert_int_equal(kernel_read(y, 0, &byte), 0);
            assert_int_equal(byte, 1);
            break;
        default:
            pager_change_attributes(world.pager, 1, MEMORY_OBJECT_COPY_DELAY, 1);
        }
        assert_int_equal(sk_wait_message(x, SK_DESTROY, 1, 0), 0);
        hostmach_fail_send(NULL);
        if (ids[i] == SK_CHANGE_ATTRIBUTES)
            y = sk_map(b, world.port);      /* it was asked, too */
        assert_int_equal(kernel_write(y, 0, 60), 0);
        x = sk_map(a, world.port);          /* and may come again */
        assert_int_equal(kernel_read(x, 0, &byte), 0);
        assert_int_equal(byte, 60);
        sk_kernel_destroy(a);
        sk_kernel_destroy(b);
        world_close(&world);
    }
}

int main(void)
{
    signal(SIGALRM, on_alarm);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_memory),
        cmocka_unit_test(test_sends),
        cmocka_unit_test(test_sends_that_fail_for_good),
        cmocka_unit_test(test_mach_pages),
        cmocka_unit_test(test_mach_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
