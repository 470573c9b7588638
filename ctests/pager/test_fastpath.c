/* "An object with one client takes no lock and allocates nothing for data_request, data_unlock or data_return of a page that it
   has touched before", and "4 bytes a page" (docs/design.md).

   The server routines are called straight from the test's thread, as MIG's stubs call them; the client's control port is served
   in the sender's thread and throws away what it gets.  The program is linked so that every lock and every allocation of the
   engine is counted first.  */

#include <stdatomic.h>

#include "engine.h"
#include "store.h"

/* ---- Counting ---- */

static _Atomic unsigned long locks, allocations;

void __real_platform_mutex_lock(platform_mutex_t *);
void *__real_platform_allocate(size_t);
void *__real_platform_allocate_waiting(size_t);
void __wrap_platform_mutex_lock(platform_mutex_t *);
void *__wrap_platform_allocate(size_t);
void *__wrap_platform_allocate_waiting(size_t);

void __wrap_platform_mutex_lock(platform_mutex_t *mutex)
{
    atomic_fetch_add(&locks, 1);
    __real_platform_mutex_lock(mutex);
}

void *__wrap_platform_allocate(size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __real_platform_allocate(size);
}

void *__wrap_platform_allocate_waiting(size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __real_platform_allocate_waiting(size);
}

static void begin_count(void) { locks = allocations = 0; }

static void check_free(void)
{
    assert_int_equal(locks, 0);
    assert_int_equal(allocations, 0);
}

/* ---- A client that is nothing but ports ---- */

enum kind { OTHER_TASK, OWN_TASK };

struct client {
    struct world *world;
    hostmach_task_t task;
    mach_port_t control, name;              /* receive rights in TASK */
    mach_port_t sender;                     /* the control port's name in the main task, as messages bring it */
    unsigned supplies, errors, locks, other;
};

static void take_message(mach_msg_header_t *message, void *cookie)
{
    struct client *client = cookie;
    switch (message->msgh_id) {
    case SK_DATA_SUPPLY: client->supplies++; break;
    case SK_DATA_ERROR: client->errors++; break;
    case SK_LOCK_REQUEST: client->locks++; break;
    default: client->other++;
    }
    mach_msg_destroy(message);
}

static mach_port_t make_port(struct client *client)
{
    mach_port_t port;
    assert_int_equal(mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &port), 0);
    assert_int_equal(hostmach_port_set_handler(port, take_message, client), 0);
    return port;
}

static void attach(struct client *client, struct world *world, enum kind kind)
{
    *client = (struct client) { .world = world };
    client->task = kind == OWN_TASK ? hostmach_task_main() : hostmach_task_create("client");
    hostmach_task_enter(client->task);
    client->control = make_port(client);
    client->name = make_port(client);
    hostmach_task_enter(hostmach_task_main());
    mach_port_t control, name;
    assert_int_equal(hostmach_copy_send(client->task, client->control, hostmach_task_main(), &control), 0);
    assert_int_equal(hostmach_copy_send(client->task, client->name, hostmach_task_main(), &name), 0);
    unsigned number = (unsigned) world_statistics(world).clients;
    assert_int_equal(_pager_S_memory_object_init(world->pager, control, name, vm_page_size), 0);
    assert_int_equal(client->other, 1);     /* ready */
    client->sender = control;
    if (kind == OWN_TASK || number >= 4)
        return;
    /* The library has given it another name: 0x80000000 + 4 * object + client.  */
    struct hostmach_right rights[256];
    size_t count = hostmach_list_rights(hostmach_task_main(), rights, 256);
    assert_int_equal(rights[count - 1].name & 3, number);
    assert_true(rights[count - 1].name >= 0x80000000);
    client->sender = rights[count - 1].name;
}

static void detach(struct client *client)
{
    if (client->task == hostmach_task_main()) {
        mach_port_mod_refs(mach_task_self(), client->control, MACH_PORT_RIGHT_RECEIVE, -1);
        mach_port_mod_refs(mach_task_self(), client->name, MACH_PORT_RIGHT_RECEIVE, -1);
    } else {
        hostmach_task_destroy(client->task);
    }
}

/* Each message brings a reference to the control port.  */
static mach_port_t control(struct client *client)
{
    assert_int_equal(mach_port_mod_refs(mach_task_self(), client->sender, MACH_PORT_RIGHT_SEND, 1), 0);
    return client->sender;
}

static void request(struct client *client, size_t page, size_t count, vm_prot_t access)
{
    assert_int_equal(_pager_S_memory_object_data_request(client->world->pager, control(client), page_offset(page),
                                                         count * vm_page_size, access), 0);
}

static void unlock(struct client *client, size_t page)
{
    assert_int_equal(_pager_S_memory_object_data_unlock(client->world->pager, control(client), page_offset(page),
                                                        vm_page_size, VM_PROT_READ | VM_PROT_WRITE), 0);
}

static void give_back(struct client *client, size_t page, size_t count, boolean_t dirty, boolean_t keeps, unsigned char byte)
{
    vm_address_t data;
    assert_int_equal(vm_allocate(mach_task_self(), &data, count * vm_page_size, 1), 0);
    memset((void *) data, byte, count * vm_page_size);
    assert_int_equal(_pager_S_memory_object_data_return(client->world->pager, control(client), page_offset(page), data,
                                                        (mach_msg_type_number_t) (count * vm_page_size), dirty, keeps), 0);
}

/* ---- No lock, no allocation ---- */

enum { PAGES = 40 };

/* A world whose pages were all touched and given back.  */
static void open_touched(struct world *world, struct client *client, enum kind kind, boolean_t notify)
{
    world_open(world, PAGES, notify);
    attach(client, world, kind);
    request(client, 0, PAGES, VM_PROT_READ);
    assert_int_equal(client->supplies, PAGES);
    give_back(client, 0, PAGES, 0, 0, 0);
    client->supplies = 0;
}

static void close_touched(struct world *world, struct client *client)
{
    assert_int_equal(world_statistics(world).refused, 0);
    detach(client);
    world_close(world);
}

/* data_request, for reading and for writing.  */
static void test_requests_are_free(void **state)
{
    (void) state;
    for (enum kind kind = OTHER_TASK; kind <= OWN_TASK; kind++) {
        struct world world;
        struct client client;
        open_touched(&world, &client, kind, 0);
        begin_count();
        for (size_t page = 0; page < PAGES; page++)
            request(&client, page, 1, page & 1 ? VM_PROT_READ : VM_PROT_READ | VM_PROT_WRITE);
        check_free();
        assert_int_equal(client.supplies, PAGES);
        assert_int_equal(store_count(&world, CALL_READ), 2 * PAGES);
        close_touched(&world, &client);
    }
}

/* data_request of a page whose read fails: the error is in the word.  */
static void test_failing_requests_are_free(void **state)
{
    (void) state;
    struct world world;
    struct client client;
    open_touched(&world, &client, OTHER_TASK, 0);
    static const int codes[] = { EIO, ENOSPC, EDQUOT };
    begin_count();
    for (size_t i = 0; i < 3; i++) {
        store_fail(&world, CALL_READ, codes[i], 1);
        request(&client, i, 1, VM_PROT_READ);
        assert_int_equal(pager_get_error(world.pager, page_offset(i)), codes[i]);
    }
    check_free();
    assert_int_equal(client.errors, 3);
    close_touched(&world, &client);
}

/* data_unlock: pager_unlock_page is asked, and writing permitted.  */
static void test_unlocks_are_free(void **state)
{
    (void) state;
    for (enum kind kind = OTHER_TASK; kind <= OWN_TASK; kind++) {
        struct world world;
        struct client client;
        open_touched(&world, &client, kind, 0);
        store_write_lock(&world, 1);
        request(&client, 0, 8, VM_PROT_READ);
        begin_count();
        for (size_t page = 0; page < 8; page++)
            unlock(&client, page);
        check_free();
        assert_int_equal(store_count(&world, CALL_UNLOCK), 8);
        assert_int_equal(client.locks, 8);
        assert_int_equal(pager_page_access(world.pager, 0, 0), 3);
        close_touched(&world, &client);
    }
}

/* data_return: clean, dirty, kept or not, one page and 32; with pager_write_pages and without; with notices.  */
static void test_returns_are_free(void **state)
{
    (void) state;
    for (enum kind kind = OTHER_TASK; kind <= OWN_TASK; kind++)
        for (int notify = 0; notify < 2; notify++)
            for (int multi = 0; multi <= 8; multi += 8)
                for (size_t count = 1; count <= 32; count += 31)
                    for (int flags = 0; flags < 4; flags++) {
                        struct world world;
                        struct client client;
                        boolean_t dirty = flags & 1, keeps = flags >> 1;
                        open_touched(&world, &client, kind, notify);
                        store_multi_write(&world, multi);
                        unsigned notices = store_count(&world, CALL_EVICT);
                        request(&client, 0, count, VM_PROT_READ | VM_PROT_WRITE);
                        begin_count();
                        give_back(&client, 0, count, dirty, keeps, 0xcc);
                        check_free();
                        assert_int_equal(world_statistics(&world).page_outs, dirty ? count : 0);
                        assert_int_equal(store_byte(&world, count - 1), dirty ? 0xcc : (unsigned char) count);
                        assert_int_equal(store_count(&world, CALL_EVICT) - notices, notify && !keeps ? count : 0);
                        close_touched(&world, &client);
                    }
}

/* A page's whole life, over and over, with other pages in between.  */
static void test_lives_are_free(void **state)
{
    (void) state;
    struct world world;
    struct client client;
    open_touched(&world, &client, OTHER_TASK, 1);
    begin_count();
    for (unsigned round = 0; round < 100; round++)
        for (size_t page = 0; page < PAGES; page++) {
            request(&client, page, 1, VM_PROT_READ);
            if (page % 3 == 0)
                give_back(&client, page, 1, 1, 1, (unsigned char) round);
            give_back(&client, page, 1, page & 1, 0, (unsigned char) (round + page));
        }
    check_free();
    close_touched(&world, &client);
}

/* The same by messages and workers: but for more workers at the beginning nothing is locked or allocated.  */
static void test_faults_by_message_are_free(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, PAGES, 0);
    sk_kernel *kernel = sk_kernel_create("A");
    sk_object *object = sk_map(kernel, world.port);
    enum { FAULTS = 4000 };
    for (int phase = 0; phase < 2; phase++) {
        begin_count();
        for (size_t i = 0; i < FAULTS; i++) {
            unsigned char byte;
            assert_int_equal(kernel_read(object, i % PAGES, &byte), 0);
            assert_int_equal(sk_evict(object, page_offset(i % PAGES)), 0);
        }
    }
    assert_true(locks < FAULTS / 2);
    assert_true(allocations < FAULTS / 2);
    sk_kernel_destroy(kernel);
    world_close(&world);
}

/* ---- Memory ---- */

enum { MANY = 100000, CLIENTS = 64, GROUP = 8 };

/* MANY pages, each asked for by the clients from FIRST(page) on, COUNT of them.  */
static struct pager_statistics use_many(unsigned clients, unsigned group)
{
    static struct client table[CLIENTS];
    struct world world;
    world_open(&world, 1, 0);
    for (unsigned i = 0; i < clients; i++)
        attach(&table[i], &world, OWN_TASK);
    enum { BATCH = 1000 };
    for (unsigned i = 0; i < clients; i++)
        for (size_t page = 0; page < MANY; page += BATCH)
            if (page / BATCH % (clients / group) == i / group)
                request(&table[i], page, BATCH, VM_PROT_READ);
    struct pager_statistics statistics = world_statistics(&world);
    struct pager_page_census census;
    pager_take_census(world.pager, &census);
    assert_true(census.touched >= MANY);
    assert_int_equal(clients == 1 ? census.writers : census.readers, MANY);
    if (clients > 4)
        /* All but the pages of clients 0 to 3.  */
        assert_true(census.described > MANY / 2);
    else
        assert_int_equal(census.described, 0);
    for (unsigned i = 0; i < clients; i++)
        detach(&table[i]);
    world_close(&world);
    return statistics;
}

/* The map's bytes are four a page, plus less than 1 % and the one inner node that 100,000 pages need (4096 bytes), whoever has
   the pages; pages in the same condition share a descriptor.  */
static void test_four_bytes_a_page(void **state)
{
    (void) state;
    struct pager_statistics one = use_many(1, 1), four = use_many(4, 4), many = use_many(CLIENTS, GROUP);
    assert_int_equal(one.map_bytes, four.map_bytes);
    assert_int_equal(one.map_bytes, many.map_bytes);
    assert_in_range(one.map_bytes, 4 * MANY, 4 * MANY + 4 * MANY / 100 + 4096 + 64);
    assert_int_equal(one.descriptors, 0);
    assert_int_equal(four.descriptors, 0);
    assert_in_range(many.descriptors, 1, CLIENTS / GROUP);
    /* Beside those of pages some are kept for the next page, at most 16 kB and as much again for edges (UnusedDescriptors.swift).  */
    assert_in_range(many.descriptor_bytes, 1, 4 * MANY / 100 + 2 * 16384);
    print_message("100,000 pages: %.4f bytes a page; 64 clients: %lu descriptors, %lu bytes\n",
                  (double) many.map_bytes / MANY, (unsigned long) many.descriptors, (unsigned long) many.descriptor_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_are_free),
        cmocka_unit_test(test_failing_requests_are_free),
        cmocka_unit_test(test_unlocks_are_free),
        cmocka_unit_test(test_returns_are_free),
        cmocka_unit_test(test_lives_are_free),
        cmocka_unit_test(test_faults_by_message_are_free),
        cmocka_unit_test(test_four_bytes_a_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
