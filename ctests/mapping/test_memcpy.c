/* pager_memcpy: both directions, in windows, exact to the byte where either side faults; several callers at once; beside a translator's own
   signal handlers.  */

#include <setjmp.h>
#include <sys/mman.h>

#include "land.h"

#define PAGE ((size_t) vm_page_size)

static error_t copy(struct land *land, vm_offset_t offset, void *other, size_t *size, vm_prot_t prot)
{
    mk_enter(land->kernels[0]);
    return pager_memcpy(land->world.pager, land->world.port, offset, other, size, prot);
}

static unsigned char pattern(size_t i) { return (unsigned char) (i * 7 + i / 251); }

/* Any offset, any length; what was written is read back, and what lies beside it is untouched.  */
static void test_both_directions(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 16, 0);
    static unsigned char out[16 * 4096], in[16 * 4096];
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = pattern(i);
    static const struct { size_t offset, size; } cases[] = {
        { 0, 1 }, { 0, 4096 }, { 1, 1 }, { 4095, 2 }, { 100, 10000 }, { 4096, 8192 }, { 4097, 8190 }, { 0, 65536 }, { 65535, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size = cases[i].size;
        assert_int_equal(copy(&land, cases[i].offset, out, &size, VM_PROT_READ | VM_PROT_WRITE), 0);
        assert_int_equal(size, cases[i].size);
        memset(in, 0, sizeof in);
        size = cases[i].size;
        assert_int_equal(copy(&land, cases[i].offset, in, &size, VM_PROT_READ), 0);
        assert_int_equal(size, cases[i].size);
        assert_memory_equal(in, out, cases[i].size);
        assert_int_equal(in[cases[i].size < sizeof in ? cases[i].size : 0], cases[i].size < sizeof in ? 0 : pattern(0));
    }
    size_t none = 0;
    assert_int_equal(copy(&land, 0, NULL, &none, VM_PROT_READ), 0);
    pager_sync(land.world.pager, 1);
    assert_int_equal(store_byte(&land.world, 3), pattern(3 * PAGE));
    land_close(&land);
}

/* Larger than a window, through a small cache.  */
static void test_many_windows(void **state)
{
    (void) state;
    enum { PAGES = 1200 };
    struct land land;
    land_open(&land, 1, PAGES, 64);
    size_t bytes = PAGES * PAGE - 10, size = bytes;
    unsigned char *data = malloc(bytes), *back = malloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        data[i] = pattern(i);
    assert_int_equal(copy(&land, 5, data, &size, VM_PROT_WRITE), 0);
    assert_int_equal(size, bytes);
    assert_int_equal(copy(&land, 5, back, &size, VM_PROT_READ), 0);
    assert_int_equal(size, bytes);
    assert_memory_equal(data, back, bytes);
    free(data);
    free(back);
    land_close(&land);
}

/* A page that cannot be read ends the copy there, with the page's error; what was before it is copied, what is behind it is not.  */
static void test_fault_in_the_object(void **state)
{
    (void) state;
    for (int write = 0; write < 2; write++)
        for (size_t start = 0; start < 2; start++) {
            struct land land;
            land_open(&land, 1, 8, 0);
            unsigned char buffer[8 * 4096];
            memset(buffer, 250, sizeof buffer);
            size_t size = 3 * PAGE;
            /* Pages 0 to 2 are there, the next one fails.  */
            unsigned char scratch[3 * 4096];
            assert_int_equal(copy(&land, 0, scratch, &size, VM_PROT_READ), 0);
            mk_enter(land.kernels[0]);
            memory keep = land_map(&land, 0, 0, 8, RW);
            for (size_t page = 0; page < 3; page++)
                poke(at(keep, page), (unsigned char) (page + 1));
            store_fail(&land.world, CALL_READ, ENOSPC, -1);
            size = 6 * PAGE;
            assert_int_equal(copy(&land, start, buffer, &size, write ? RW : VM_PROT_READ), ENOSPC);
            assert_int_equal(size, 3 * PAGE - start);
            if (!write) {
                assert_int_equal(buffer[PAGE - start], 2);
                assert_int_equal(buffer[size], 250);
            } else {
                assert_int_equal(peek(at(keep, 2)), 250);
            }
            assert_int_equal(pager_get_error(land.world.pager, 3 * PAGE), ENOSPC);
            store_fail(&land.world, CALL_READ, 0, 0);
            size = 6 * PAGE;
            assert_int_equal(copy(&land, start, buffer, &size, write ? RW : VM_PROT_READ), 0);
            assert_int_equal(size, 6 * PAGE);
            unmap(keep, 8);
            land_close(&land);
        }
}

/* An unlock that is refused is the write's error; reading goes on.  */
static void test_refused_unlock(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    store_write_lock(&land.world, 1);
    memory keep = land_map(&land, 0, 0, 8, RW);
    for (size_t page = 0; page < 4; page++)
        assert_int_equal(peek(at(keep, page)), page + 1);
    store_fail(&land.world, CALL_UNLOCK, EDQUOT, -1);
    unsigned char buffer[2 * 4096];
    memset(buffer, 9, sizeof buffer);
    size_t size = sizeof buffer;
    assert_int_equal(copy(&land, 0, buffer, &size, RW), EDQUOT);
    assert_int_equal(size, 0);
    size = sizeof buffer;
    assert_int_equal(copy(&land, 0, buffer, &size, VM_PROT_READ), 0);
    assert_int_equal(buffer[PAGE], 2);
    unmap(keep, 8);
    land_close(&land);
}

/* The caller's memory may end in the middle: EFAULT, and exactly as much as there was room for.  */
static void test_fault_in_the_other_memory(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    unsigned char *room = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(mprotect(room + 2 * PAGE, 2 * PAGE, PROT_NONE), 0);
    for (size_t start = 0; start < PAGE; start += 1000)
        for (int write = 0; write < 2; write++) {
            size_t size = 4 * PAGE;
            assert_int_equal(copy(&land, 100, room + start, &size, write ? RW : VM_PROT_READ), EFAULT);
            assert_int_equal(size, 2 * PAGE - start);
        }
    assert_int_equal(mprotect(room, 2 * PAGE, PROT_READ), 0);
    size_t size = 10;
    assert_int_equal(copy(&land, 0, room, &size, VM_PROT_READ), EFAULT);
    assert_int_equal(size, 0);
    size = 10;
    assert_int_equal(copy(&land, 0, room, &size, RW), 0);
    size = 10;
    assert_int_equal(copy(&land, 0, NULL, &size, VM_PROT_READ), EFAULT);
    assert_int_equal(size, 0);
    munmap(room, 4 * PAGE);
    land_close(&land);
}

/* The other memory may itself be mapped from a pager, the same object even.  */
static void test_other_memory_is_mapped(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 2, 8, 0);
    memory m = land_map(&land, 1, 4, 4, RW);
    size_t size = 3 * PAGE;
    assert_int_equal(copy(&land, 0, (void *) m, &size, VM_PROT_READ), 0);
    for (size_t page = 0; page < 3; page++)
        assert_int_equal(peek(at(m, page)), page + 1);
    store_fail(&land.world, CALL_READ, EIO, -1);
    size = PAGE;
    pager_return(land.world.pager, 1);
    assert_int_equal(copy(&land, 0, (void *) at(m, 3), &size, VM_PROT_READ), EIO);
    assert_int_equal(size, 0);
    store_fail(&land.world, CALL_READ, 0, 0);
    unmap(m, 4);
    land_close(&land);
}

/* A read-only port reads, and does not write.  */
static void test_read_only_port(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    mach_port_t proxy = pager_create_ro_port(land.world.pager);
    unsigned char byte = 0;
    size_t size = 1;
    mk_enter(land.kernels[0]);
    assert_int_equal(pager_memcpy(land.world.pager, proxy, 2 * PAGE, &byte, &size, VM_PROT_READ), 0);
    assert_int_equal(byte, 3);
    assert_int_equal(pager_memcpy(land.world.pager, proxy, 2 * PAGE, &byte, &size, RW), EACCES);
    assert_int_equal(size, 0);
    size = 1;
    assert_int_equal(pager_memcpy(land.world.pager, MACH_PORT_DEAD, 0, &byte, &size, VM_PROT_READ), EINVAL);
    assert_int_equal(size, 0);
    mach_port_deallocate(mach_task_self(), proxy);
    land_close(&land);
}

struct caller { struct land *land; size_t first; int rounds; };

static int call(void *argument)
{
    struct caller *caller = argument;
    unsigned char out[3 * 4096], in[3 * 4096];
    for (int round = 0; round < caller->rounds; round++) {
        memset(out, round + (int) caller->first, sizeof out);
        size_t size = sizeof out;
        if (copy(caller->land, caller->first * PAGE, out, &size, RW) || size != sizeof out)
            return 1;
        if (copy(caller->land, caller->first * PAGE, in, &size, VM_PROT_READ) || size != sizeof in || memcmp(in, out, sizeof in))
            return 2;
        /* And one that faults, each in its own thread.  */
        size = 10;
        if (copy(caller->land, 0, (void *) 16, &size, VM_PROT_READ) != EFAULT || size != 0)
            return 3;
    }
    return 0;
}

/* Several threads at once, faults and all.  */
static void test_concurrent_callers(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 16, 16);
    struct caller callers[4];
    struct task tasks[4];
    for (int i = 0; i < 4; i++) {
        callers[i] = (struct caller) { &land, (size_t) i * 4, 50 };
        task_begin(&tasks[i], call, &callers[i]);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(task_end(&tasks[i]), 0);
    land_close(&land);
}

static char *volatile nowhere_address = (char *) 16;
#define nowhere ((volatile char *) nowhere_address)
static sigjmp_buf own_return;
static volatile int own_signal;

static void own_handler(int signal, siginfo_t *info, void *context)
{
    (void) info, (void) context;
    own_signal = signal;
    siglongjmp(own_return, 1);
}

/* The translator's own handlers are there before and after, get their own faults meanwhile, and are not called for ours.  */
static void test_beside_own_handlers(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    struct sigaction own = { .sa_sigaction = own_handler, .sa_flags = SA_SIGINFO | SA_NODEFER }, before[2], now;
    sigaction(SIGSEGV, &own, &before[0]);
    sigaction(SIGBUS, &own, &before[1]);
    unsigned char byte;
    size_t size = 1;
    own_signal = 0;
    assert_int_equal(copy(&land, 0, (void *) 16, &size, VM_PROT_READ), EFAULT);
    store_fail(&land.world, CALL_READ, EIO, 1);
    size = 1;
    assert_int_equal(copy(&land, 0, &byte, &size, VM_PROT_READ), EIO);
    assert_int_equal(own_signal, 0);
    sigaction(SIGSEGV, NULL, &now);
    assert_ptr_equal(now.sa_sigaction, own_handler);
    sigaction(SIGBUS, NULL, &now);
    assert_ptr_equal(now.sa_sigaction, own_handler);
    /* A fault of its own while another thread copies (and waits for its page).  */
    store_close_gate(&land.world, CALL_READ);
    struct caller caller = { &land, 0, 1 };
    struct task task;
    task_begin(&task, call, &caller);
    store_wait_gate(&land.world, CALL_READ, 1);
    if (sigsetjmp(own_return, 1) == 0)
        *nowhere = 1;
    assert_int_equal(own_signal, SIGSEGV);
    store_open_gate(&land.world, CALL_READ);
    assert_int_equal(task_end(&task), 0);
    sigaction(SIGSEGV, &before[0], NULL);
    sigaction(SIGBUS, &before[1], NULL);
    land_close(&land);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_directions),
        cmocka_unit_test(test_many_windows),
        cmocka_unit_test(test_fault_in_the_object),
        cmocka_unit_test(test_refused_unlock),
        cmocka_unit_test(test_fault_in_the_other_memory),
        cmocka_unit_test(test_other_memory_is_mapped),
        cmocka_unit_test(test_read_only_port),
        cmocka_unit_test(test_concurrent_callers),
        cmocka_unit_test(test_beside_own_handlers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
