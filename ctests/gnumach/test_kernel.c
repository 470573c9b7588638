/* What only a real kernel does: mappings of all sorts in our own address space, threads that fault, copies on write, a read-only
   port, pager_memcpy, and names in the high half of the name space.  */

#include "mapped.h"

#include <hurd/ports.h>

#include "runner.h"

enum { PAGES = 16, THREADS = 8 };

static void **real(void)
{
    static enum mode mode = MAPPED;
    static void *state = &mode;
    return &state;
}

static volatile unsigned char *map(mach_port_t port, size_t first, size_t pages, boolean_t copy, vm_prot_t protection)
{
    vm_address_t address = 0;
    assert_int_equal(vm_map(mach_task_self(), &address, pages * vm_page_size, 0, TRUE, port, page_offset(first), copy, protection,
                            VM_PROT_ALL, VM_INHERIT_NONE), KERN_SUCCESS);
    return (volatile unsigned char *) address;
}

static void unmap(volatile unsigned char *where, size_t pages)
{
    assert_int_equal(vm_deallocate(mach_task_self(), (vm_address_t) where, pages * vm_page_size), KERN_SUCCESS);
}

static unsigned char peek(volatile unsigned char *where)
{
    unsigned char byte = 0;
    assert_int_equal(mapped_touch(where, TOUCH_READ, &byte), 0);
    return byte;
}

static void poke(volatile unsigned char *where, unsigned char byte)
{
    assert_int_equal(mapped_touch(where, TOUCH_WRITE, &byte), 0);
}

/* ---- Mappings ---- */

/* Mappings at other offsets share the kernel's pages: each page is asked for once.  */
static void test_mappings_share_pages(void **state)
{
    struct party p;
    (void) state;
    party_open(&p, real(), 1, PAGES, 0);
    volatile unsigned char *part = map(p.world.port, 4, 4, 0, RW);
    put(p.clients[0], 5, 99);
    assert_int_equal(peek(part + page_offset(1)), 99);
    poke(part + page_offset(1) + 1, 98);
    assert_int_equal(p.clients[0]->memory[page_offset(5) + 1], 98);
    assert_int_equal(store_count(&p.world, CALL_READ), 1);
    unmap(part, 4);
    party_close(&p);
}

/* The last mapping goes: dirty data come back, the object ends; who maps it again is a new client and reads them.  */
static void test_last_unmap_and_remap(void **state)
{
    struct party p;
    (void) state;
    party_open(&p, real(), 1, PAGES, 0);
    for (unsigned round = 0; round < 5; round++) {
        for (size_t page = 0; page < PAGES; page++)
            put(p.clients[0], page, (unsigned char) (page + round));
        terminate(p.clients[0]);
        wait_clients(&p, 0);
        world_settle(&p.world);
        for (size_t page = 0; page < PAGES; page++)
            assert_int_equal(store_byte(&p.world, page), page + round);
        come_back(p.clients[0]);
        assert_int_equal(get(p.clients[0], 3), 3 + round);
    }
    party_close(&p);
}

/* A copy on write: what is written to it stays there, what was written to the object before is in it.  */
static void test_copy_on_write(void **state)
{
    struct party p;
    (void) state;
    party_open(&p, real(), 1, PAGES, 0);
    put(p.clients[0], 2, 70);
    volatile unsigned char *copy = map(p.world.port, 0, PAGES, 1, RW);
    assert_int_equal(peek(copy + page_offset(2)), 70);
    poke(copy + page_offset(2), 71);
    poke(copy + page_offset(3), 72);
    assert_int_equal(get(p.clients[0], 2), 70);
    assert_int_equal(get(p.clients[0], 3), 4);
    put(p.clients[0], 2, 73);
    assert_int_equal(peek(copy + page_offset(2)), 71);
    pager_sync(p.world.pager, 1);
    assert_int_equal(store_byte(&p.world, 2), 73);
    assert_int_equal(store_byte(&p.world, 3), 4);
    unmap(copy, PAGES);
    party_close(&p);
}

/* What is written to the object after the copy was made is not in the copy, also of pages that nobody had touched.  */
static void test_copy_keeps_its_moment(void **state)
{
    struct party p;
    (void) state;
    party_open(&p, real(), 1, PAGES, 0);
    put(p.clients[0], 1, 60);
    vm_address_t copy = 0;
    assert_int_equal(vm_allocate(mach_task_self(), &copy, PAGES * vm_page_size, TRUE), KERN_SUCCESS);
    assert_int_equal(vm_copy(mach_task_self(), (vm_address_t) p.clients[0]->memory, PAGES * vm_page_size, copy), KERN_SUCCESS);
    put(p.clients[0], 1, 61);
    put(p.clients[0], 5, 62);
    assert_int_equal(peek((volatile unsigned char *) copy + page_offset(1)), 60);
    assert_int_equal(peek((volatile unsigned char *) copy + page_offset(5)), 6);
    unmap((volatile unsigned char *) copy, PAGES);
    party_close(&p);
}

/* ---- Threads ---- */

struct visitor {
    volatile unsigned char *memory;
    size_t first, count;
    int write;
    struct task task;
};

static int visit(void *argument)
{
    struct visitor *visitor = argument;
    for (size_t i = 0; i < visitor->count; i++) {
        volatile unsigned char *where = visitor->memory + page_offset(visitor->first + i);
        unsigned char byte = (unsigned char) (visitor->first + i + 100);
        int caught = mapped_touch(where, visitor->write ? TOUCH_WRITE : TOUCH_READ, &byte);
        if (caught)
            return caught;
        if (!visitor->write && byte != visitor->first + i + 1)
            return -1;
    }
    return 0;
}

/* Several threads that fault on one page: one request, one answer for all.  */
static void test_threads_fault_on_one_page(void **state)
{
    (void) state;
    for (int write = 0; write < 2; write++) {
        struct party p;
        struct visitor visitors[THREADS];
        party_open(&p, real(), 1, PAGES, 0);
        store_close_gate(&p.world, CALL_READ);
        for (int i = 0; i < THREADS; i++) {
            visitors[i] = (struct visitor) { .memory = p.clients[0]->memory, .first = 7, .count = 1, .write = write };
            task_begin(&visitors[i].task, visit, &visitors[i]);
        }
        store_wait_gate(&p.world, CALL_READ, 1);
        for (int i = 0; i < THREADS; i++)
            assert_true(i > 0 ? !task_done(&visitors[i].task) : task_waits(&visitors[i].task));
        store_open_gate(&p.world, CALL_READ);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(task_end(&visitors[i].task), 0);
        assert_int_equal(store_count(&p.world, CALL_READ), 1);
        assert_int_equal(supplies(p.clients[0]), 1);
        party_close(&p);
    }
}

/* Each thread has its own pages, and all write at once.  */
static void test_threads_fault_on_many_pages(void **state)
{
    enum { EACH = 24 };
    struct party p;
    struct visitor visitors[THREADS];
    (void) state;
    party_open(&p, real(), 1, THREADS * EACH, 0);
    for (int write = 0; write < 2; write++) {
        for (int i = 0; i < THREADS; i++) {
            visitors[i] = (struct visitor) { .memory = p.clients[0]->memory, .first = (size_t) i * EACH, .count = EACH, .write = write };
            task_begin(&visitors[i].task, visit, &visitors[i]);
        }
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(task_end(&visitors[i].task), 0);
        if (!write)
            pager_return(p.world.pager, 1);
    }
    pager_return(p.world.pager, 1);
    assert_int_equal(resident(p.clients[0]), 0);
    for (size_t page = 0; page < THREADS * EACH; page++)
        assert_int_equal(store_byte(&p.world, page), (unsigned char) (page + 100));
    party_close(&p);
}

static int visit_until_refused(void *argument)
{
    int caught;
    while ((caught = visit(argument)) == 0)
        ;
    return caught;
}

/* Shutdown under load: every thread comes to an end of its fault, and what was written before is in the store.  */
static void test_shutdown_under_load(void **state)
{
    struct party p;
    struct visitor visitors[4];
    (void) state;
    party_open(&p, real(), 1, 64, 0);
    put(p.clients[0], 0, 77);
    for (int i = 0; i < 4; i++) {
        visitors[i] = (struct visitor) { .memory = p.clients[0]->memory, .first = 1 + (size_t) i * 15, .count = 15, .write = 1 };
        task_begin(&visitors[i].task, visit_until_refused, &visitors[i]);
    }
    store_wait_count(&p.world, CALL_READ, 10);
    pager_shutdown(p.world.pager);
    for (int i = 0; i < 4; i++)
        assert_int_not_equal(task_end(&visitors[i].task), 0);
    assert_int_equal(store_byte(&p.world, 0), 77);
    assert_at_rest(&p);
    party_close(&p);
}

/* ---- pager_create_ro_port, pager_memcpy ---- */

/* The read-only port can be mapped and read; it cannot be mapped for writing, or the write fails.  */
static void test_read_only_port(void **state)
{
    struct party p;
    (void) state;
    party_open(&p, real(), 1, PAGES, 0);
    mach_port_t port = pager_create_ro_port(p.world.pager);
    assert_true(MACH_PORT_VALID(port));
    volatile unsigned char *memory = map(port, 0, PAGES, 0, VM_PROT_READ);
    assert_int_equal(peek(memory + page_offset(6)), 7);
    put(p.clients[0], 6, 200);
    assert_int_equal(peek(memory + page_offset(6)), 200);
    unsigned char byte = 1;
    assert_int_equal(mapped_touch(memory + page_offset(6), TOUCH_WRITE, &byte), KERN_PROTECTION_FAILURE);
    assert_int_not_equal(vm_protect(mach_task_self(), (vm_address_t) memory, vm_page_size, FALSE, RW), KERN_SUCCESS);
    assert_int_equal(get(p.clients[0], 6), 200);
    unmap(memory, PAGES);
    mach_port_deallocate(mach_task_self(), port);
    party_close(&p);
}

static unsigned char pattern(size_t i) { return (unsigned char) (i * 7 + i / 251); }

/* Any offset and length, both ways.  */
static void test_memcpy_both_directions(void **state)
{
    static unsigned char out[PAGES * 4096], in[PAGES * 4096];
    static const struct { size_t offset, size; } cases[] = {
        { 0, 1 }, { 0, 4096 }, { 4095, 2 }, { 100, 10000 }, { 4097, 8190 }, { 0, sizeof out }, { sizeof out - 1, 1 },
    };
    struct party p;
    (void) state;
    party_open(&p, real(), 0, PAGES, 0);
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = pattern(i);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size = cases[i].size;
        assert_int_equal(pager_memcpy(p.world.pager, p.world.port, cases[i].offset, out, &size, RW), 0);
        assert_int_equal(size, cases[i].size);
        memset(in, 0, sizeof in);
        assert_int_equal(pager_memcpy(p.world.pager, p.world.port, cases[i].offset, in, &size, VM_PROT_READ), 0);
        assert_int_equal(size, cases[i].size);
        assert_memory_equal(in, out, cases[i].size);
    }
    pager_sync(p.world.pager, 1);
    party_close(&p);
}

/* A page that cannot be read ends the copy there, with the page's error and the count of what was copied.  */
static void test_memcpy_error_in_the_object(void **state)
{
    static unsigned char buffer[8 * 4096];
    struct party p;
    (void) state;
    party_open(&p, real(), 1, 8, 0);
    for (size_t page = 0; page < 3; page++)
        get(p.clients[0], page);
    store_fail(&p.world, CALL_READ, ENOSPC, -1);
    size_t size = 6 * vm_page_size;
    assert_int_equal(pager_memcpy(p.world.pager, p.world.port, 1, buffer, &size, VM_PROT_READ), ENOSPC);
    assert_int_equal(size, 3 * vm_page_size - 1);
    assert_int_equal(buffer[vm_page_size - 1], 2);
    assert_int_equal(error_of(&p, 3), ENOSPC);
    store_fail(&p.world, CALL_READ, 0, 0);
    size = 6 * vm_page_size;
    assert_int_equal(pager_memcpy(p.world.pager, p.world.port, 1, buffer, &size, VM_PROT_READ), 0);
    assert_int_equal(size, 6 * vm_page_size);
    party_close(&p);
}

/* The other memory ends: an error, and the exact count.  */
static void test_memcpy_fault_in_the_other_memory(void **state)
{
    struct party p;
    (void) state;
    party_open(&p, real(), 1, 8, 0);
    vm_address_t other = 0;
    assert_int_equal(vm_allocate(mach_task_self(), &other, 3 * vm_page_size, TRUE), KERN_SUCCESS);
    assert_int_equal(vm_protect(mach_task_self(), other + 2 * vm_page_size, vm_page_size, FALSE, VM_PROT_NONE), KERN_SUCCESS);
    for (int write = 0; write < 2; write++) {
        size_t size = 3 * vm_page_size - 10;
        assert_int_equal(pager_memcpy(p.world.pager, p.world.port, 5, (void *) (other + 10), &size, write ? RW : VM_PROT_READ), EFAULT);
        assert_int_equal(size, 2 * vm_page_size - 10);
    }
    vm_deallocate(mach_task_self(), other, 3 * vm_page_size);
    party_close(&p);
}

/* ---- Names ---- */

/* The real kernel's control port is renamed into the high half: object and client number are in the name (docs/design.md).  */
static void test_control_port_is_renamed(void **state)
{
    struct party p[2];
    (void) state;
    for (int i = 0; i < 2; i++) {
        party_open(&p[i], real(), 1, 4, 0);
        get(p[i].clients[0], 0);
    }
    mach_port_t names[2];
    for (int i = 0; i < 2; i++) {
        names[i] = mapped_control(p[i].clients[0]);
        assert_true(names[i] >= 0x80000000);
        assert_int_equal(names[i] & 3, 0);          /* client 0 */
        mach_port_type_t type;
        assert_int_equal(mach_port_type(mach_task_self(), names[i], &type), KERN_SUCCESS);
        assert_int_equal(type & MACH_PORT_TYPE_SEND_RECEIVE, MACH_PORT_TYPE_SEND);
    }
    assert_int_not_equal(names[0] & ~3u, names[1] & ~3u);
    for (int i = 1; i >= 0; i--) {
        /* Every later message comes under the new name, and brings a reference that is given up.  */
        mach_port_urefs_t before, after;
        put(p[i].clients[0], 1, 5);
        world_settle(&p[i].world);
        assert_int_equal(mach_port_get_refs(mach_task_self(), names[i], MACH_PORT_RIGHT_SEND, &before), KERN_SUCCESS);
        for (int round = 0; round < 50; round++) {
            put(p[i].clients[0], 1, (unsigned char) round);
            pager_return(p[i].world.pager, 1);
        }
        world_settle(&p[i].world);
        assert_int_equal(mach_port_get_refs(mach_task_self(), names[i], MACH_PORT_RIGHT_SEND, &after), KERN_SUCCESS);
        assert_int_equal(after, before);
        assert_int_equal(world_statistics(&p[i].world).refused, 0);
        party_close(&p[i]);
    }
}

/* Where the name is taken, the client is looked up.  */
static void test_name_that_is_taken(void **state)
{
    struct party p;
    (void) state;
    party_open(&p, real(), 1, 4, 0);
    mach_port_t name = mapped_control(p.clients[0]);
    terminate(p.clients[0]);
    wait_clients(&p, 0);
    world_settle(&p.world);
    for (mach_port_t i = 0; i < 4; i++)
        assert_int_equal(mach_port_allocate_name(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, name + i), KERN_SUCCESS);
    come_back(p.clients[0]);
    put(p.clients[0], 1, 42);
    assert_int_not_equal(mapped_control(p.clients[0]) & ~3u, name);
    pager_return(p.world.pager, 1);
    assert_int_equal(store_byte(&p.world, 1), 42);
    for (mach_port_t i = 0; i < 4; i++)
        assert_int_equal(mach_port_mod_refs(mach_task_self(), name + i, MACH_PORT_RIGHT_RECEIVE, -1), KERN_SUCCESS);
    party_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mappings_share_pages),
        cmocka_unit_test(test_last_unmap_and_remap),
        cmocka_unit_test(test_copy_on_write),
        cmocka_unit_test(test_copy_keeps_its_moment),
        cmocka_unit_test(test_threads_fault_on_one_page),
        cmocka_unit_test(test_threads_fault_on_many_pages),
        cmocka_unit_test(test_shutdown_under_load),
        cmocka_unit_test(test_read_only_port),
        cmocka_unit_test(test_memcpy_both_directions),
        cmocka_unit_test(test_memcpy_error_in_the_object),
        cmocka_unit_test(test_memcpy_fault_in_the_other_memory),
        cmocka_unit_test(test_control_port_is_renamed),
        cmocka_unit_test(test_name_that_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
