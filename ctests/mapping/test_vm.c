/* What programs do with their address space: vm_read and the like, parts of mappings, thousands of them, fork, hands where they do not
   belong.  */

#include "land.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* vm_read, vm_write and vm_copy page in, make dirty, and return an error where a touch would be SIGBUS.  */
static void test_read_write_copy(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 16, 0);
    memory m = land_map(&land, 0, 0, 16, RW);
    vm_offset_t data = 0;
    mach_msg_type_number_t count = 0;
    assert_int_equal(vm_read(mach_task_self(), (vm_address_t) at(m, 1), 3 * vm_page_size, &data, &count), KERN_SUCCESS);
    assert_int_equal(count, 3 * vm_page_size);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(*(unsigned char *) (data + i * vm_page_size), i + 2);
    memset((void *) data, 99, count);
    assert_int_equal(vm_write(mach_task_self(), (vm_address_t) at(m, 8), data, count), KERN_SUCCESS);
    vm_deallocate(mach_task_self(), data, count);
    assert_int_equal(peek(at(m, 10)), 99);
    assert_true(page_info(at(m, 8)).dirty && page_info(at(m, 10)).dirty);
    assert_false(page_info(at(m, 1)).dirty);
    assert_int_equal(vm_copy(mach_task_self(), (vm_address_t) at(m, 9), 2 * vm_page_size, (vm_address_t) at(m, 12)), KERN_SUCCESS);
    assert_int_equal(peek(at(m, 13)), 99);
    assert_int_equal(vm_copy(mach_task_self(), (vm_address_t) at(m, 3), 2 * vm_page_size, (vm_address_t) at(m, 2)), KERN_SUCCESS);
    assert_int_equal(peek(at(m, 2)), 4);        /* ranges that overlap */
    assert_int_equal(peek(at(m, 3)), 5);
    pager_sync(land.world.pager, 1);
    assert_int_equal(store_byte(&land.world, 13), 99);
    store_fail(&land.world, CALL_READ, EIO, 1);
    assert_int_equal(vm_read(mach_task_self(), (vm_address_t) at(m, 15), vm_page_size, &data, &count), KERN_INVALID_ADDRESS);
    mk_error_taken((const void *) at(m, 15));
    assert_int_equal(peek(at(m, 15)), 16);
    land_close(&land);
}

/* Mapped memory as out-of-line data of a message: copied out of a page that has to come first; refused if it cannot be had.  */
static void test_message(void **state)
{
    (void) state;
    struct land land;
    struct world other;
    land_open(&land, 2, 16, 0);
    world_join(&other, &land.world, 16, 0);
    memory m = land_map(&land, 0, 0, 16, RW);
    vm_address_t address = 0;
    mk_enter(land.kernels[1]);
    assert_int_equal(vm_map(mach_task_self(), &address, 16 * vm_page_size, 0, TRUE, other.port, 0, FALSE, RW, RW, VM_INHERIT_NONE),
                     KERN_SUCCESS);
    mk_enter(NULL);
    memory n = (memory) address;
    /* The other pager supplies its page 5 from our mapped page 3.  */
    pager_offer_page(other.pager, 0, 0, page_offset(5), (vm_address_t) at(m, 3));
    assert_int_equal(peek(at(n, 5)), 4);
    assert_int_equal(store_count(&land.world, CALL_READ), 1);
    assert_int_equal(store_count(&other, CALL_READ), 0);
    poke(at(n, 5), 9);
    assert_int_equal(peek(at(m, 3)), 4);
    mach_port_t port;
    assert_int_equal(mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &port), 0);
    assert_int_equal(mach_port_insert_right(mach_task_self(), port, port, MACH_MSG_TYPE_MAKE_SEND), 0);
    store_fail(&land.world, CALL_READ, EIO, 1);
    assert_int_equal(memory_object_data_supply(port, 0, (vm_offset_t) at(m, 7), (mach_msg_type_number_t) vm_page_size, FALSE, 0, 0,
                                               MACH_PORT_NULL) & ~MACH_MSG_MASK, MACH_SEND_INVALID_MEMORY);
    mk_error_taken((const void *) at(m, 7));
    assert_int_equal(peek(at(m, 7)), 8);
    mach_port_deallocate(mach_task_self(), port);
    mach_port_mod_refs(mach_task_self(), port, MACH_PORT_RIGHT_RECEIVE, -1);
    land_lose(&land, 0);
    land_lose(&land, 1);
    world_close(&other);
    land_close(&land);
}

/* Unmapping parts: what is left works, the object ends with the last part.  */
static void test_parts(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 16, 0);
    memory m = land_map(&land, 0, 0, 16, RW);
    poke(at(m, 5), 50);
    poke(at(m, 12), 51);
    unmap(at(m, 4), 4);
    assert_int_equal(statistics(&land, 0).mappings, 2);
    unsigned char byte;
    assert_int_equal(touch_read(at(m, 4), &byte), SIGSEGV);
    assert_int_equal(touch_read(at(m, 7), &byte), SIGSEGV);
    assert_int_equal(peek(at(m, 3)), 4);
    assert_int_equal(peek(at(m, 8)), 9);
    assert_int_equal(peek(at(m, 12)), 51);
    unmap(at(m, 2), 8);                 /* the end of one, the hole, the beginning of the other */
    assert_int_equal(peek(at(m, 1)), 2);
    assert_int_equal(peek(at(m, 10)), 11);
    assert_int_equal(store_byte(&land.world, 5), 6);
    memory n = land_map(&land, 0, 5, 1, RW);
    assert_int_equal(peek(n), 50);      /* the object is the same, and had kept the page */
    unmap(n, 1);
    unmap(m, 16);                       /* the rest, and what is not mapped */
    assert_int_equal(statistics(&land, 0).mappings, 0);
    assert_int_equal(statistics(&land, 0).objects, 0);
    world_settle(&land.world);
    assert_int_equal(store_byte(&land.world, 5), 50);
    assert_int_equal(store_byte(&land.world, 12), 51);
    land_close(&land);
}

/* A waiting thread in a part that was split off before is woken.  */
static void test_split_under_fault(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 16, 0);
    memory m = land_map(&land, 0, 0, 16, RW);
    store_close_gate(&land.world, CALL_READ);
    struct touch a, b, c;
    touch_begin(&a, at(m, 2), false, 0);
    store_wait_gate(&land.world, CALL_READ, 1);
    touch_begin(&b, at(m, 8), false, 0);
    touch_begin(&c, at(m, 12), true, 1);
    wait_faults(&land, 0, 3);
    assert_int_equal(vm_protect(mach_task_self(), (vm_address_t) at(m, 9), vm_page_size, FALSE, RO), KERN_SUCCESS);
    unmap(at(m, 4), 5);                 /* b's page */
    assert_int_equal(touch_end(&b), SIGSEGV);
    assert_ptr_equal(b.address, at(m, 8));
    store_open_gate(&land.world, CALL_READ);
    assert_int_equal(touch_end(&a), 0);
    assert_int_equal(a.byte, 3);
    assert_int_equal(touch_end(&c), 0);
    assert_int_equal(peek(at(m, 12)), 1);
    assert_int_equal(touch_write(at(m, 9), 1), SIGSEGV);
    land_close(&land);
}

/* vm_protect: with a maximum, on parts, on what is not ours.  */
static void test_protect(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 16, 0);
    memory m = land_map(&land, 0, 0, 16, RW);
    vm_address_t start = (vm_address_t) m;
    poke(at(m, 4), 44);
    assert_int_equal(vm_protect(mach_task_self(), start + 4 * vm_page_size, 2 * vm_page_size, FALSE, VM_PROT_NONE), KERN_SUCCESS);
    unsigned char byte;
    assert_int_equal(touch_read(at(m, 4), &byte), SIGSEGV);
    assert_int_equal(peek(at(m, 3)), 4);
    assert_int_equal(peek(at(m, 6)), 7);
    assert_int_equal(vm_protect(mach_task_self(), start, 16 * vm_page_size, FALSE, RW), KERN_SUCCESS);
    assert_int_equal(peek(at(m, 4)), 44);
    assert_int_equal(vm_protect(mach_task_self(), start, 8 * vm_page_size, TRUE, RO), KERN_SUCCESS);
    assert_int_equal(touch_write(at(m, 4), 1), SIGSEGV);
    assert_int_equal(vm_protect(mach_task_self(), start, 16 * vm_page_size, FALSE, RW), KERN_PROTECTION_FAILURE);
    assert_int_equal(vm_protect(mach_task_self(), start + 8 * vm_page_size, 8 * vm_page_size, FALSE, RW), KERN_SUCCESS);
    unmap(at(m, 8), 1);
    assert_int_equal(vm_protect(mach_task_self(), start, 16 * vm_page_size, FALSE, RO), KERN_INVALID_ADDRESS);
    land_close(&land);
}

/* Given addresses, alignment, offsets at the far end, and what cannot be mapped.  */
static void test_addresses(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 16, 0);
    memory m = land_map(&land, 0, 0, 4, RW);
    vm_address_t address = (vm_address_t) m;
    assert_int_equal(land_try(&land, 0, &address, 0, 4, RW), KERN_NO_SPACE);
    unmap(m, 4);
    assert_int_equal(land_try(&land, 0, &address, 8, 4, RW), KERN_SUCCESS);
    assert_ptr_equal((memory) address, m);
    assert_int_equal(peek(m), 9);
    mk_enter(land.kernels[0]);
    address = 0;
    assert_int_equal(vm_map(mach_task_self(), &address, vm_page_size, 0x3fffff, TRUE, land.world.port, 0, FALSE, RW, RW,
                            VM_INHERIT_NONE), KERN_SUCCESS);
    assert_int_equal(address & 0x3fffff, 0);
    assert_int_equal(peek((memory) address), 1);
    static const vm_offset_t far[] = { UINT64_C(1) << 40, UINT64_C(1) << 62, (UINT64_C(1) << 63) - 0x20000 };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(vm_map(mach_task_self(), &address, 2 * vm_page_size, 0, TRUE, land.world.port, far[i], FALSE, RW, RW,
                                VM_INHERIT_NONE), KERN_SUCCESS);
        assert_int_equal(page_info((memory) address + vm_page_size).offset, far[i] + vm_page_size);
        assert_int_equal(mk_page_info((void *) address, &(struct mk_page_info) { 0 }), KERN_SUCCESS);
        (void) peek((memory) address + vm_page_size);
    }
    assert_int_equal(vm_map(mach_task_self(), &address, vm_page_size, 0, TRUE, land.world.port, (UINT64_C(1) << 63) - vm_page_size,
                            FALSE, RW, RW, VM_INHERIT_NONE), KERN_INVALID_ARGUMENT);
    assert_int_equal(vm_map(mach_task_self(), &address, vm_page_size, 0, TRUE, land.world.port, UINT64_C(1) << 63,
                            FALSE, RW, RW, VM_INHERIT_NONE), KERN_INVALID_ARGUMENT);
    assert_int_equal(vm_map(mach_task_self(), &address, (vm_size_t) 1 << 47, 0, TRUE, land.world.port, 0, FALSE, RW, RW,
                            VM_INHERIT_NONE), KERN_NO_SPACE);
    assert_int_equal(vm_map(mach_task_self(), &address, vm_page_size, 0, TRUE, 0x7654321, 0, FALSE, RW, RW, VM_INHERIT_NONE),
                     KERN_INVALID_ARGUMENT);
    assert_int_equal(mk_page_info(&address, &(struct mk_page_info) { 0 }), KERN_INVALID_ADDRESS);
    mk_error_taken(&address);
    land_close(&land);
}

/* No address space: an error, nothing half done, and all as before when there is room again.  */
static void test_no_space(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 16, 0);
    memory m = land_map(&land, 0, 0, 4, RW);
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    none = old;
    none.rlim_cur = 1 << 20;
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    vm_address_t address = 0;
    kern_return_t kr = land_try(&land, 0, &address, 0, 16, RW);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(kr, KERN_NO_SPACE);
    assert_int_equal(statistics(&land, 0).mappings, 1);
    assert_int_equal(peek(m), 1);
    assert_int_equal(land_try(&land, 0, &address, 0, 16, RW), KERN_SUCCESS);
    assert_int_equal(peek(at((memory) address, 15)), 16);
    unmap(m, 4);
    unmap((memory) address, 16);

    /* No file descriptor for a new object.  */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    address = 0;
    kr = land_try(&land, 0, &address, 0, 16, RW);
    mk_kernel *kernel = mk_kernel_create("no", 0);
    int error = errno;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(kr, KERN_RESOURCE_SHORTAGE);
    assert_null(kernel);
    assert_int_equal(error, EMFILE);
    assert_non_null(strstr(mk_explain(error), "RLIMIT_NOFILE"));
    assert_int_equal(statistics(&land, 0).objects, 0);
    assert_int_equal(land_try(&land, 0, &address, 0, 16, RW), KERN_SUCCESS);
    land_close(&land);
}

/* Thousands of mappings of one object, one page each, in one kernel: all of them see the same page.  */
static void test_thousands(void **state)
{
    (void) state;
    enum { COUNT = 4000 };
    static memory maps[COUNT];
    struct land land;
    land_open(&land, 1, 64, 0);
    for (int i = 0; i < COUNT; i++)
        maps[i] = land_map(&land, 0, (size_t) i % 64, 1, RW);
    assert_int_equal(statistics(&land, 0).mappings, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(peek(maps[i]), i % 64 + 1);
    assert_int_equal(statistics(&land, 0).requests, 64);
    for (int i = 0; i < 64; i++)
        poke(maps[COUNT - 1 - i], (unsigned char) (100 + (COUNT - 1 - i) % 64));
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(peek(maps[i]), 100 + i % 64);
    pager_sync(land.world.pager, 1);
    for (int i = 0; i < 64; i++)
        assert_int_equal(store_byte(&land.world, (size_t) i), 100 + i);
    for (int i = 0; i < COUNT; i++)
        assert_false(page_info(maps[i]).dirty);
    poke(maps[77], 1);
    assert_true(page_info(maps[77 + 64]).dirty);
    pager_return(land.world.pager, 1);
    for (int i = 1; i < COUNT; i += 2)
        unmap(maps[i], 1);
    assert_int_equal(peek(maps[76]), 100 + 76 % 64);
    for (int i = 0; i < COUNT; i += 2)
        unmap(maps[i], 1);
    assert_int_equal(statistics(&land, 0).objects, 0);
    land_close(&land);
}

/* A child of fork has nothing of it; the parent's mapping goes on.  */
static void test_fork(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 16, 0);
    memory m = land_map(&land, 0, 0, 16, RW);
    poke(at(m, 1), 50);
    pid_t child = fork();
    if (child == 0) {
        unsigned char byte;
        _exit(touch_read(at(m, 1), &byte) == SIGSEGV && touch_write(at(m, 2), 1) == SIGSEGV ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(peek(at(m, 1)), 50);
    poke(at(m, 2), 51);
    pager_sync(land.world.pager, 1);
    assert_int_equal(store_byte(&land.world, 2), 51);
    poke(at(m, 2), 52);
    assert_true(page_info(at(m, 2)).dirty);
    land_close(&land);
}

/* madvise and mprotect by the program itself.  Dropping pages from the page table loses nothing; punching them out of the cache is as if
   the kernel had dropped them: the pager is asked again.  */
static void test_user_hands(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 16, 0);
    memory m = land_map(&land, 0, 0, 16, RW), n = land_map(&land, 0, 0, 16, RW);
    poke(at(m, 1), 50);
    assert_int_equal(peek(at(m, 2)), 3);
    assert_int_equal(madvise((void *) m, 16 * vm_page_size, MADV_DONTNEED), 0);
    assert_int_equal(peek(at(m, 1)), 50);
    poke(at(m, 2), 51);                 /* still seen */
    assert_true(page_info(at(m, 2)).dirty);
    assert_int_equal(mprotect((void *) m, 16 * vm_page_size, PROT_READ), 0);
    assert_int_equal(touch_write(at(m, 3), 1), SIGSEGV);
    assert_int_equal(mprotect((void *) m, 16 * vm_page_size, PROT_READ | PROT_WRITE), 0);
    pager_sync(land.world.pager, 1);
    poke(at(m, 1), 52);
    assert_true(page_info(at(m, 1)).dirty);
    pager_sync(land.world.pager, 1);
    assert_int_equal(store_byte(&land.world, 1), 52);
    poke(at(m, 1), 53);
    assert_int_equal(madvise((void *) at(m, 1), vm_page_size, MADV_REMOVE), 0);
    assert_int_equal(peek(at(n, 1)), 52);
    assert_int_equal(statistics(&land, 0).lost_pages, 1);
    poke(at(n, 1), 54);
    assert_int_equal(peek(at(m, 1)), 54);
    /* munmap instead of vm_deallocate: the kernel does not know, and is not harmed.  */
    assert_int_equal(munmap((void *) at(n, 8), vm_page_size), 0);
    pager_return(land.world.pager, 1);
    assert_int_equal(peek(at(m, 8)), 9);
    assert_int_equal(peek(at(n, 9)), 10);
    land_close(&land);
}

/* Where userfaultfd is only for faults in user mode: touches work, system calls fail with EFAULT on what is not there.  */
static void test_user_mode_only(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 16, 0);
    mk_pretend(MK_USER_MODE_ONLY);
    mk_kernel *kernel = mk_kernel_create("user", 0);
    mk_pretend(0);
    if (kernel == NULL) {
        fprintf(stderr, "no user-mode-only userfaultfd here: %s\n", mk_explain(errno));
        land_close(&land);
        skip();
    }
    mk_kernel *first = land.kernels[0];
    land.kernels[0] = kernel;
    memory m = land_map(&land, 0, 0, 16, RW);
    assert_int_equal(peek(at(m, 2)), 3);
    poke(at(m, 2), 4);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(write(pipes[1], (const void *) at(m, 2), 1), 1);
    assert_int_equal(write(pipes[1], (const void *) at(m, 5), 1), -1);
    assert_int_equal(errno, EFAULT);
    assert_int_equal(peek(at(m, 5)), 6);
    assert_int_equal(write(pipes[1], (const void *) at(m, 5), 1), 1);
    close(pipes[0]);
    close(pipes[1]);
    mk_kernel_destroy(kernel);
    land.kernels[0] = first;
    land_close(&land);
}

/* Nothing works: the reason has a name.  */
static void test_not_permitted(void **state)
{
    (void) state;
    pid_t child = fork();
    if (child == 0) {
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(0);
        mk_pretend(MK_WITHOUT_DEVICE | MK_WITHOUT_SYSCALL);
        int error = mk_start();
        mk_kernel *kernel = mk_kernel_create("none", 0);
        _exit(error == ENOSYS && kernel == NULL && errno == ENOSYS && strstr(mk_explain(EPERM), "vm.unprivileged_userfaultfd")
                      && strstr(mk_explain(EPERM), "CAP_SYS_PTRACE") && strstr(mk_explain(error), "CONFIG_USERFAULTFD")
                  ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_write_copy),
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_split_under_fault),
        cmocka_unit_test(test_protect),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_no_space),
        cmocka_unit_test(test_thousands),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_user_hands),
        cmocka_unit_test(test_user_mode_only),
        cmocka_unit_test(test_not_permitted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
