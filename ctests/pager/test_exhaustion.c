/* "Memory exhausted at any allocation": complete scenarios, run once for every n with the n-th allocation of the engine failing; the
   same for Mach's memory in the pager's task, Mach's pages there, and every message that the pager sends.

   Whatever fails, it has a defined answer: it is made up for without a word, or the one who asked is told (an error, or
   memory_object_destroy) and succeeds when it asks again. So a trial has at most one error; what is refused is counted, and logged once
   for each reason. No data are lost, nobody else notices, nobody waits for ever, nothing is left behind.

   Kernels are not struck (hostmach_task_set_kernel): a real one waits for its own memory or panics. One message can be lost, as in
   Mach: the first of a new client, when mach_msg can make no name for its control port.  See `await_ready'.

   All n of all sources take some 40 s, most of it pauses.  In the environment: EXHAUSTION_STEP=n tries every n-th only (for valgrind),
   EXHAUSTION_ONLY=name one scenario, EXHAUSTION_SOURCE=name one source.  */

#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "platform.h"
#include "trial.h"

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
    while ((error = kernel_write(t->objects[0], 0, 33)) != 0)
        if (error == EDQUOT)
            told++;
        else
            note_error(t, error);
    t->expected[0] = 33;
    assert_int_equal(told, 1);
    read_page(t, 1, 0);
    store_write_lock(&t->world, 0);
}

/* pager_unlock_page is called with what was read at hand.  */
static void unlock_before_supply(struct trial *t)
{
    map(t, 0);
    map(t, 1);
    store_write_lock(&t->world, 1);
    read_page(t, 0, 0);
    write_page(t, 1, 0, 34);
    write_page(t, 0, 1, 35);
    store_fail(&t->world, CALL_UNLOCK, EDQUOT, 1);
    unsigned told = 0;
    int error;
    while ((error = kernel_write(t->objects[1], 2, 36)) != 0)
        if (error == EDQUOT)
            told++;
        else
            note_error(t, error);
    t->expected[2] = 36;
    assert_int_equal(told, 1);
    /* The writer goes meanwhile.  */
    store_close_gate(&t->world, CALL_UNLOCK);
    unsigned unlocks = store_count(&t->world, CALL_UNLOCK);
    assert_int_equal(sk_request(t->objects[1], page_offset(3), VM_PROT_READ | VM_PROT_WRITE), 0);
    while (sk_page_state(t->objects[1], page_offset(3)).state == SK_PAGE_REQUESTED && store_count(&t->world, CALL_UNLOCK) == unlocks)
        sched_yield();
    if (sk_page_state(t->objects[1], page_offset(3)).errors)
        note_error(t, sk_page_state(t->objects[1], page_offset(3)).last_error);
    assert_int_equal(sk_terminate(t->objects[1]), 0);
    store_open_gate(&t->world, CALL_UNLOCK);
    for (size_t page = 0; page < 4; page++)
        read_page(t, 0, page);
    map(t, 1);
    write_page(t, 1, 3, 37);
    store_write_lock(&t->world, 0);
}

static void attach_and_detach(struct trial *t)
{
    map(t, 0);
    map(t, 1);
    write_page(t, 0, 0, 90);
    read_page(t, 1, 0);
    assert_int_equal(sk_terminate(t->objects[0]), 0);
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
    /* Both requests are taken in before the end begins: at least one stands at the gate, the other waits behind it.  */
    assert_int_equal(sk_request(t->objects[0], page_offset(9), VM_PROT_READ | VM_PROT_WRITE), 0);
    assert_int_equal(sk_request(t->objects[1], page_offset(10), VM_PROT_READ), 0);
    store_wait_gate(&t->world, CALL_READ, 1);
    world_fence(&t->world);
    unsigned asked = sk_count(t->objects[0], SK_LOCK_REQUEST);
    pthread_t ender = spawn(shut_down, t->world.pager);
    /* It takes pages back: from now on requests are refused.  */
    assert_int_equal(sk_wait_message(t->objects[0], SK_LOCK_REQUEST, asked + 1, 0), 0);
    assert_int_equal(sk_request(t->objects[0], page_offset(11), VM_PROT_READ), 0);
    assert_int_equal(sk_wait_page(t->objects[0], page_offset(11), SK_WANT_SETTLED, 0), 0);
    assert_int_equal(sk_page_state(t->objects[0], page_offset(11)).last_error, EIO);
    store_open_gate(&t->world, CALL_READ);
    join(ender);
    for (size_t page = 9; page <= 10; page++) {
        sk_object *object = t->objects[page - 9];
        assert_int_equal(sk_wait_page(object, page_offset(page), SK_WANT_SETTLED, 0), 0);
        struct sk_page_info info = sk_page_state(object, page_offset(page));
        if (info.errors)
            note_error(t, info.last_error);
    }
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

static struct pager *create_pager(struct trial *t, struct port_bucket *bucket, mach_port_t *port)
{
    struct pager *pager;
    while (!(pager = pager_create(t->world.store, bucket, 0, MEMORY_OBJECT_COPY_DELAY, 1)))
        note_error(t, errno);
    while ((*port = ports_get_send_right(pager)) == MACH_PORT_NULL)
        note_error(t, ENOMEM);
    return pager;
}

/* Wait until so many pagers have ended.  */
static void await_cleared(struct trial *t, int count)
{
    struct user_pager_info *store = t->world.store;
    for (int cleared = -1; cleared < count; sched_yield()) {
        pthread_mutex_lock(&store->lock);
        cleared = store->cleared;
        pthread_mutex_unlock(&store->lock);
    }
}

/* Workers and pagers are made and ended under faults, too.  */
static void create(struct trial *t)
{
    struct pager_requests *requests;
    struct port_bucket *bucket;
    mach_port_t port, proxy;
    int error;
    while (!(bucket = ports_create_bucket()))
        note_error(t, ENOMEM);
    while ((error = pager_start_workers(bucket, &requests)) != 0)
        note_error(t, error);
    struct pager *pager = create_pager(t, bucket, &port);
    map_pager(t, 0, pager, port);
    read_page(t, 0, 3);
    pager_shutdown(pager);
    mach_port_deallocate(mach_task_self(), port);
    ports_port_deref(pager);
    await_cleared(t, 1);
    /* One that ends by itself, since nobody has a right to it any more.  */
    pager = create_pager(t, bucket, &port);
    while ((proxy = pager_create_ro_port(pager)) == MACH_PORT_NULL)
        note_error(t, errno);
    ports_port_deref(pager);
    mach_port_deallocate(mach_task_self(), port);
    assert_int_equal(t->world.store->cleared, 1);
    mach_port_deallocate(mach_task_self(), proxy);
    await_cleared(t, 2);
    pager_stop_workers(requests);
    assert_int_equal(t->world.store->cleared, 2);
    t->world.store->cleared = 0;
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
    { "unlock before supply", unlock_before_supply, 0 },
    { "unlock before supply, notices", unlock_before_supply, 1 },
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
    now.scenario = scenario->name;
    now.source = source;
    now.n = n;
    alarm(120);
    trial_open(&trial, scenario->notify);
    now.struck_before = struck();
    if (n >= 0)
        arm(source, n);
    scenario->run(&trial);
    trial_close(&trial);
    assert_int_equal(platform_allocated_blocks(), blocks);
    alarm(0);
    return struck() - now.struck_before;
}

static void exhaust(enum source source)
{
    const char *text = getenv("EXHAUSTION_STEP");
    long step = text ? atol(text) : 1;
    const char *only = getenv("EXHAUSTION_ONLY"), *only_source = getenv("EXHAUSTION_SOURCE");
    if (only_source && strcmp(only_source, source_names[source]) != 0)
        return;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (only && strcmp(only, scenarios[i].name) != 0)
            continue;
        try(&scenarios[i], source, -1);
        long n = 0;
        /* Threads make the count vary: the end is where it did not strike several times in a row.  */
        enum { MISSES = 3 };
        for (int missed = 0; missed < MISSES; n += step)
            missed = try(&scenarios[i], source, n) ? 0 : missed + 1;
        print_message("%s: %s, %ld\n", scenarios[i].name, source_names[source], n / step - MISSES);
        assert_true(n > MISSES * step || source == MACH_PAGES);
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
        forget_log();
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
        check_log();
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
