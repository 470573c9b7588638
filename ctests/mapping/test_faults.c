/* Page faults: who asks, who waits, who is told.  */

#include "land.h"

#include <errno.h>
#include <unistd.h>

/* Any number of threads that fault on a page: one request, all get it.  */
static void test_one_request(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory m = land_map(&land, 0, 0, 8, RW);
    store_close_gate(&land.world, CALL_READ);
    struct touch touches[6];
    for (int i = 0; i < 6; i++) {
        touch_begin(&touches[i], at(m, 5) + i, i & 1, (unsigned char) (100 + i));
        wait_faults(&land, 0, (uint64_t) i + 1);
    }
    assert_int_equal(page_info(at(m, 5)).state, MK_PAGE_REQUESTED);
    assert_int_equal(page_info(at(m, 5)).requested, VM_PROT_READ);
    assert_true(page_info(at(m, 5)).waited_for);
    store_open_gate(&land.world, CALL_READ);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(touch_end(&touches[i]), 0);
        assert_int_equal(touches[i].byte, i & 1 ? 100 + i : 6);
    }
    assert_int_equal(statistics(&land, 0).requests, 1);
    assert_true(statistics(&land, 0).joined >= 5);
    assert_int_equal(store_count(&land.world, CALL_READ), 1);
    assert_true(page_info(at(m, 5)).dirty);     /* a writer was among them */
    land_close(&land);
}

/* Faults on other pages go on while one is stuck.  */
static void stick(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    pthread_barrier_t *both = store->hook_argument;
    if (call == CALL_READ && page < 2 * vm_page_size)
        pthread_barrier_wait(both);     /* passed only if two reads are under way at once */
}

static void test_side_by_side(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory m = land_map(&land, 0, 0, 8, RW);
    pthread_barrier_t both;
    pthread_barrier_init(&both, NULL, 2);
    pthread_mutex_lock(&land.world.store->lock);
    land.world.store->hook_argument = &both;
    land.world.store->hook = stick;
    pthread_mutex_unlock(&land.world.store->lock);
    assert_int_equal(pager_set_concurrent_reads(land.world.pager, 4), 0);
    struct touch a, b;
    touch_begin(&a, m, false, 0);
    touch_begin(&b, at(m, 1), false, 0);
    assert_int_equal(touch_end(&a), 0);
    assert_int_equal(touch_end(&b), 0);
    pthread_mutex_lock(&land.world.store->lock);
    assert_int_equal(land.world.store->max_reads, 2);
    pthread_mutex_unlock(&land.world.store->lock);
    pthread_barrier_destroy(&both);
    land_close(&land);
}

/* A page that cannot be read: SIGBUS at the very address; trying again asks again.  */
static void test_error(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory m = land_map(&land, 0, 0, 8, RW);
    store_fail(&land.world, CALL_READ, EIO, 2);
    unsigned char byte = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(touch_read(at(m, 3) + 123, &byte), SIGBUS);
        assert_ptr_equal(touch_address, at(m, 3) + 123);
        assert_int_equal(pager_get_error(land.world.pager, page_offset(3)), EIO);
    }
    assert_int_equal(store_count(&land.world, CALL_READ), 2);
    assert_int_equal(peek(at(m, 3) + 123), 4);
    assert_int_equal(store_count(&land.world, CALL_READ), 3);
    assert_int_equal(peek(at(m, 2)), 3);
    assert_int_equal(statistics(&land, 0).refused_pages, 2);
    land_close(&land);
}

/* Every thread that waited gets it; and so does one that waits in another mapping.  */
static void test_error_for_all(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory m = land_map(&land, 0, 0, 8, RW), n = land_map(&land, 0, 3, 1, RO);
    store_fail(&land.world, CALL_READ, EIO, 1);
    store_close_gate(&land.world, CALL_READ);
    struct touch touches[3];
    touch_begin(&touches[0], at(m, 3) + 7, false, 0);
    touch_begin(&touches[1], at(m, 3) + 8, true, 9);
    touch_begin(&touches[2], n + 9, false, 0);
    wait_faults(&land, 0, 3);
    /* The error is not forgotten before all have it: the first to be told must not ask again for the others.  */
    store_open_gate(&land.world, CALL_READ);
    int errors = 0;
    for (int i = 0; i < 3; i++)
        errors += touch_end(&touches[i]) == SIGBUS;
    assert_true(errors >= 1);
    assert_int_equal(peek(n), 4);
    assert_int_equal(peek(at(m, 3)), 4);
    land_close(&land);
}

/* The hold ends by itself, for programs that do not say that they have seen the error.  */
static bool is_forgotten(void *argument)
{
    return !page_info(argument).in_error;
}

static void test_error_is_forgotten(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory m = land_map(&land, 0, 0, 8, RW);
    mk_set_error_hold(1);
    store_fail(&land.world, CALL_READ, EIO, 1);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    /* A system call gets EFAULT, and no handler is called.  (If the thread is late, it asked again, and got the page.)  */
    ssize_t written = write(pipes[1], (const void *) at(m, 1), 1);
    if (written < 0)
        assert_int_equal(errno, EFAULT);
    wait_for(is_forgotten, (void *) at(m, 1));
    assert_int_equal(write(pipes[1], (const void *) at(m, 1), 1), 1);
    unsigned char byte;
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    assert_int_equal(byte, 2);
    close(pipes[0]);
    close(pipes[1]);
    land_close(&land);
}

/* System calls fault pages in, for reading and for writing.  */
static void test_system_calls(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory m = land_map(&land, 0, 0, 8, RW);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(write(pipes[1], (const void *) (at(m, 2) - 10), 20), 20);
    assert_int_equal(read(pipes[0], (void *) (at(m, 6) - 10), 20), 20);
    assert_int_equal(peek(at(m, 6) - 1), 2);
    assert_int_equal(peek(at(m, 6)), 3);
    assert_int_equal(peek(at(m, 6) + 11), 7);
    assert_true(page_info(at(m, 5)).dirty && page_info(at(m, 6)).dirty);
    assert_false(page_info(at(m, 1)).dirty);
    close(pipes[0]);
    close(pipes[1]);
    land_close(&land);
}

/* A page supplied locked: the first write asks; the answer lets it through.  */
static void test_unlock(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory m = land_map(&land, 0, 0, 8, RW), n = land_map(&land, 0, 0, 8, RW);
    store_write_lock(&land.world, 1);
    assert_int_equal(peek(at(m, 4)), 5);
    assert_int_equal(page_info(at(m, 4)).lock, VM_PROT_WRITE);
    store_close_gate(&land.world, CALL_UNLOCK);
    struct touch a, b, c;
    touch_begin(&a, at(m, 4), true, 70);
    store_wait_gate(&land.world, CALL_UNLOCK, 1);
    assert_int_equal(page_info(at(m, 4)).unlocking, RW);
    uint64_t faults = statistics(&land, 0).faults;
    touch_begin(&b, at(m, 4) + 1, true, 71);
    wait_faults(&land, 0, faults + 1);
    touch_begin(&c, at(n, 4) + 2, true, 72);
    wait_faults(&land, 0, faults + 2);
    assert_int_equal(peek(at(m, 4) + 5), 5);    /* reading goes on */
    store_open_gate(&land.world, CALL_UNLOCK);
    assert_int_equal(touch_end(&a) | touch_end(&b) | touch_end(&c), 0);
    assert_int_equal(store_count(&land.world, CALL_UNLOCK), 1);
    assert_int_equal(statistics(&land, 0).unlocks, 1);
    assert_int_equal(peek(at(n, 4)), 70);
    assert_int_equal(peek(at(n, 4) + 1), 71);
    assert_int_equal(peek(at(m, 4) + 2), 72);
    assert_true(page_info(at(m, 4)).dirty);
    assert_int_equal(page_info(at(m, 4)).lock, 0);
    pager_sync(land.world.pager, 1);
    assert_int_equal(store_byte(&land.world, 4), 70);
    land_close(&land);
}

/* An unlock that fails: the page is taken, the write gets the error, reading does not.  */
static void test_unlock_fails(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory m = land_map(&land, 0, 0, 8, RW);
    store_write_lock(&land.world, 1);
    assert_int_equal(peek(at(m, 4)), 5);
    store_fail(&land.world, CALL_UNLOCK, ENOSPC, 1);
    assert_int_equal(touch_write(at(m, 4) + 3, 70), SIGBUS);
    assert_ptr_equal(touch_address, at(m, 4) + 3);
    assert_int_equal(pager_get_error(land.world.pager, page_offset(4)), ENOSPC);
    assert_int_equal(peek(at(m, 4) + 3), 5);
    assert_int_equal(touch_write(at(m, 4) + 3, 71), 0);
    assert_int_equal(peek(at(m, 4) + 3), 71);
    land_close(&land);
}

/* The first fault is a write, the page comes locked: unlocked at once, or refused at once.  */
static void test_write_first_locked(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory m = land_map(&land, 0, 0, 8, RW);
    store_write_lock(&land.world, 1);
    poke(at(m, 1), 44);
    assert_int_equal(store_count(&land.world, CALL_UNLOCK), 1);
    store_fail(&land.world, CALL_UNLOCK, EDQUOT, 1);
    assert_int_equal(touch_write(at(m, 2), 45), SIGBUS);
    assert_int_equal(peek(at(m, 2)), 3);
    land_close(&land);
}

/* Mappings of one object in one kernel share its pages: one request, and what one writes the other reads.  */
static void test_mappings_share(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory m = land_map(&land, 0, 0, 8, RW), n = land_map(&land, 0, 2, 4, RW), r = land_map(&land, 0, 3, 1, RO);
    assert_int_equal(peek(at(m, 3)), 4);
    assert_int_equal(peek(at(n, 1)), 4);
    assert_int_equal(peek(r), 4);
    assert_int_equal(statistics(&land, 0).requests, 1);
    assert_int_equal(statistics(&land, 0).minor_faults, 2);
    poke(at(n, 1) + 1, 99);
    assert_int_equal(peek(at(m, 3) + 1), 99);
    assert_int_equal(peek(r + 1), 99);
    poke(at(m, 3) + 2, 98);
    assert_int_equal(peek(r + 2), 98);
    assert_int_equal(store_count(&land.world, CALL_READ), 1);

    /* Cleaned, the page is write-protected in both: no write goes unseen.  */
    pager_sync(land.world.pager, 1);
    assert_false(page_info(r).dirty);
    poke(at(m, 3), 1);
    assert_true(page_info(r).dirty);
    pager_sync(land.world.pager, 1);
    poke(at(n, 1), 2);
    assert_true(page_info(r).dirty);
    pager_sync(land.world.pager, 1);
    assert_int_equal(store_byte(&land.world, 3), 2);
    unmap(n, 4);
    assert_int_equal(peek(at(m, 3)), 2);
    land_close(&land);
}

/* Threads that wait for one page in several mappings are all woken.  */
static void test_mappings_wait(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory m = land_map(&land, 0, 0, 8, RW), n = land_map(&land, 0, 2, 4, RW), r = land_map(&land, 0, 3, 1, RO);
    store_close_gate(&land.world, CALL_READ);
    struct touch touches[3];
    touch_begin(&touches[0], at(m, 3), false, 0);
    wait_faults(&land, 0, 1);
    touch_begin(&touches[1], at(n, 1), true, 50);
    wait_faults(&land, 0, 2);
    touch_begin(&touches[2], r + 1, false, 0);
    wait_faults(&land, 0, 3);
    store_open_gate(&land.world, CALL_READ);
    for (int i = 0; i < 3; i++)
        assert_int_equal(touch_end(&touches[i]), 0);
    assert_int_equal(touches[2].byte, 4);
    assert_int_equal(peek(r), 50);
    assert_int_equal(store_count(&land.world, CALL_READ), 1);
    land_close(&land);
}

/* A mapping that may only be read; a pager's read-only port.  */
static void test_read_only(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 8, 0);
    memory r = land_map(&land, 0, 0, 8, RO);
    assert_int_equal(peek(at(r, 1)), 2);
    assert_int_equal(touch_write(at(r, 1) + 5, 1), SIGSEGV);
    assert_ptr_equal(touch_address, at(r, 1) + 5);
    assert_int_equal(vm_protect(mach_task_self(), (vm_address_t) r, 8 * vm_page_size, FALSE, RW), KERN_SUCCESS);
    poke(at(r, 1), 60);
    assert_true(page_info(at(r, 1)).dirty);

    mach_port_t port = pager_create_ro_port(land.world.pager);
    assert_true(MACH_PORT_VALID(port));
    vm_address_t address = 0;
    mk_enter(land.kernels[0]);
    assert_int_equal(vm_map(mach_task_self(), &address, 4 * vm_page_size, 0, TRUE, port, page_offset(1), FALSE, RW, VM_PROT_ALL,
                            VM_INHERIT_NONE), KERN_SUCCESS);
    assert_int_equal(peek((memory) address), 60);       /* the same object, the same cache */
    assert_int_equal(store_count(&land.world, CALL_READ), 1);
    assert_int_equal(touch_write((memory) address, 1), SIGSEGV);
    assert_int_equal(vm_protect(mach_task_self(), address, vm_page_size, FALSE, RW), KERN_PROTECTION_FAILURE);
    unmap((memory) address, 4);
    mach_port_deallocate(mach_task_self(), port);
    land_close(&land);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_request),
        cmocka_unit_test(test_side_by_side),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_error_for_all),
        cmocka_unit_test(test_error_is_forgotten),
        cmocka_unit_test(test_system_calls),
        cmocka_unit_test(test_unlock),
        cmocka_unit_test(test_unlock_fails),
        cmocka_unit_test(test_write_first_locked),
        cmocka_unit_test(test_mappings_share),
        cmocka_unit_test(test_mappings_wait),
        cmocka_unit_test(test_read_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
