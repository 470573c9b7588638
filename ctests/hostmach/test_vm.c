/* Memory, and memory objects that stand for others. */

#include "hm_test.h"

#include <sys/mman.h>

#define PAGE vm_page_size

static bool
is_mapped (vm_address_t page)
{
    unsigned char core;
    return mincore ((void *) page, 1, &core) == 0;
}

static void
allocation_is_zeroed_rounded_and_counted (void **state)
{
    (void) state;
    vm_address_t a;
    ok (vm_allocate (self, &a, 2 * PAGE - 5, TRUE));
    assert_int_equal (a % PAGE, 0);
    assert_int_equal (hostmach_vm_bytes (), counts_before.bytes + 2 * PAGE);
    for (size_t i = 0; i < 2 * PAGE; i++)
        assert_int_equal (((char *) a)[i], 0);
    memset ((void *) a, 1, 2 * PAGE);
    ok (vm_deallocate (self, a, 2 * PAGE - 5));
    ok (vm_allocate (self, &a, 2 * PAGE, TRUE)); /* maybe the same block: zero again */
    assert_int_equal (((char *) a)[PAGE + 7], 0);
    ok (vm_deallocate (self, a, 2 * PAGE));
    ok (vm_allocate (self, &a, 0, TRUE));
    assert_int_equal (a, 0);
}

static void
bad_ranges_are_refused (void **state)
{
    (void) state;
    vm_address_t a = UINTPTR_MAX - 100;
    gives (KERN_INVALID_ARGUMENT, vm_allocate (self, &a, 4096, FALSE));
    gives (KERN_INVALID_ARGUMENT, vm_allocate (self, &a, UINTPTR_MAX, TRUE));
    gives (KERN_RESOURCE_SHORTAGE, vm_allocate (self, &a, (vm_size_t) 1 << 60, TRUE));
    gives (KERN_INVALID_ADDRESS, vm_deallocate (self, UINTPTR_MAX - 10, 100));
    gives (KERN_INVALID_ADDRESS, vm_protect (self, UINTPTR_MAX - 10, 100, FALSE, VM_PROT_READ));
    gives (KERN_INVALID_ADDRESS, vm_protect (self, PAGE, PAGE, FALSE, VM_PROT_READ));
    gives (KERN_INVALID_ARGUMENT, vm_protect (self, PAGE, PAGE, FALSE, 0x100));
    gives (KERN_INVALID_TASK, vm_allocate (MACH_PORT_NULL, &a, PAGE, TRUE));
    gives (KERN_INVALID_TASK, vm_deallocate (12345, 0, PAGE));
    ok (vm_deallocate (self, 0, 0));
}

static void
a_fixed_address_is_honoured_or_refused (void **state)
{
    (void) state;
    vm_address_t a, b;
    ok (vm_allocate (self, &a, 64 * PAGE, TRUE));
    b = a + PAGE;
    gives (KERN_NO_SPACE, vm_allocate (self, &b, PAGE, FALSE));
    ok (vm_deallocate (self, a, 64 * PAGE));
    b = a + PAGE + 123;
    ok (vm_allocate (self, &b, PAGE, FALSE));
    assert_int_equal (b, a + PAGE);
    /* The bytes from 123 on reach into a second page. */
    assert_int_equal (hostmach_vm_bytes (), counts_before.bytes + 2 * PAGE);
    ok (vm_deallocate (self, b, 2 * PAGE));
}

static void
parts_of_a_region_can_go (void **state)
{
    (void) state;
    hostmach_vm_set_pool (0);
    vm_address_t a;
    ok (vm_allocate (self, &a, 100 * PAGE, TRUE));
    memset ((void *) a, 7, 100 * PAGE);
    ok (vm_deallocate (self, a + 10 * PAGE, 80 * PAGE));
    assert_int_equal (hostmach_vm_bytes (), counts_before.bytes + 20 * PAGE);
    assert_false (is_mapped (a + 50 * PAGE));
    assert_int_equal (*(char *) (a + 9 * PAGE), 7);
    assert_int_equal (*(char *) (a + 90 * PAGE), 7);
    ok (vm_deallocate (self, a, 100 * PAGE)); /* holes do not matter */
    ok (vm_deallocate (self, a, 100 * PAGE));
    assert_int_equal (hostmach_vm_bytes (), counts_before.bytes);
    hostmach_vm_set_pool (1 << 20);
}

/* What HostMach did not give out it does not take. */
static void
foreign_memory_is_left_alone (void **state)
{
    (void) state;
    char *mine = mmap (NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ok (vm_deallocate (self, (vm_address_t) mine, PAGE));
    mine[0] = 1;
    munmap (mine, PAGE);
}

static void
protection_is_applied (void **state)
{
    (void) state;
    vm_address_t a, copy;
    mach_msg_type_number_t count;
    ok (vm_allocate (self, &a, 2 * PAGE, TRUE));
    ok (vm_protect (self, a, PAGE, FALSE, VM_PROT_NONE));
    gives (KERN_INVALID_ADDRESS, vm_read (self, a, 2 * PAGE, &copy, &count));
    ok (vm_protect (self, a, PAGE, FALSE, VM_PROT_READ));
    ok (vm_read (self, a, 2 * PAGE, &copy, &count));
    ok (vm_deallocate (self, copy, count));
    gives (KERN_INVALID_ADDRESS, vm_write (self, a, a + PAGE, 8));
    ok (vm_protect (self, a, PAGE, TRUE, VM_PROT_ALL)); /* the maximum: changes nothing */
    gives (KERN_INVALID_ADDRESS, vm_write (self, a, a + PAGE, 8));
    ok (vm_deallocate (self, a, 2 * PAGE));
    /* A protected page never comes back from the pool. */
    for (int i = 0; i < 200; i++) {
        ok (vm_allocate (self, &a, PAGE, TRUE));
        *(char *) a = 1;
        ok (vm_protect (self, a, PAGE, FALSE, VM_PROT_READ));
        ok (vm_deallocate (self, a, PAGE));
    }
}

static void
copies_are_copies (void **state)
{
    (void) state;
    vm_address_t a, copy;
    mach_msg_type_number_t count;
    ok (vm_allocate (self, &a, 4 * PAGE, TRUE));
    for (size_t i = 0; i < 2 * PAGE; i++)
        ((unsigned char *) a)[i] = (unsigned char) (i * 7 / 3);
    ok (vm_copy (self, a, 2 * PAGE, a + 2 * PAGE));
    assert_memory_equal ((void *) a, (void *) (a + 2 * PAGE), 2 * PAGE);
    ok (vm_read (self, a + 5, PAGE, &copy, &count));
    assert_int_equal (count, PAGE);
    assert_memory_equal ((void *) copy, (void *) (a + 5), PAGE);
    ok (vm_copy (self, a, 3 * PAGE, a + PAGE)); /* overlapping */
    assert_memory_equal ((void *) (a + 5 + PAGE), (void *) copy, PAGE);
    ok (vm_copy (self, a, PAGE, a));
    ok (vm_deallocate (self, copy, count));
    gives (KERN_INVALID_ADDRESS, vm_copy (self, PAGE, 10, a));
    gives (KERN_INVALID_ADDRESS, vm_write (self, PAGE, a, 10));
    gives (KERN_INVALID_ADDRESS, vm_read (self, PAGE, 10, &copy, &count));
    ok (vm_deallocate (self, a, 4 * PAGE));
}

static void
vm_map_without_object_is_anonymous (void **state)
{
    (void) state;
    vm_address_t a = 0, mask = 16 * PAGE - 1;
    ok (vm_map (self, &a, 3 * PAGE, mask, TRUE, MACH_PORT_NULL, 0, FALSE, VM_PROT_READ, VM_PROT_ALL, VM_INHERIT_COPY));
    assert_int_equal (a & mask, 0);
    assert_int_equal (hostmach_vm_bytes (), counts_before.bytes + 3 * PAGE);
    gives (KERN_INVALID_ADDRESS, vm_write (self, a, (vm_offset_t) &mask, 8));
    ok (vm_deallocate (self, a, 3 * PAGE));
    vm_address_t fixed = a + PAGE;
    gives (KERN_NO_SPACE, vm_map (self, &fixed, PAGE, mask, FALSE, MACH_PORT_NULL, 0, FALSE, VM_PROT_DEFAULT,
                                  VM_PROT_ALL, VM_INHERIT_COPY));
    ok (vm_map (self, &fixed, PAGE, 0, FALSE, MACH_PORT_NULL, 0, FALSE, VM_PROT_DEFAULT, VM_PROT_ALL, VM_INHERIT_COPY));
    assert_int_equal (fixed, a + PAGE);
    ok (vm_deallocate (self, fixed, PAGE));
    gives (KERN_INVALID_ARGUMENT, vm_map (self, &a, PAGE, 0, TRUE, MACH_PORT_NULL, 0, FALSE, VM_PROT_DEFAULT,
                                          VM_PROT_READ, VM_INHERIT_COPY));
    gives (KERN_INVALID_ARGUMENT, vm_map (self, &a, 0, 0, TRUE, MACH_PORT_NULL, 0, FALSE, VM_PROT_DEFAULT, VM_PROT_ALL,
                                          VM_INHERIT_COPY));
}

/* ---- The back end ---- */

static struct {
    int maps, releases, protects;
    vm_address_t address;
    vm_size_t size;
    mach_port_t object;
} asked;

static kern_return_t
map (void *cookie, vm_address_t *address, vm_size_t size, vm_address_t mask, boolean_t anywhere,
     mach_port_t memory_object, vm_offset_t offset, boolean_t copy, vm_prot_t cur_protection, vm_prot_t max_protection,
     vm_inherit_t inheritance)
{
    (void) mask, (void) anywhere, (void) offset, (void) copy, (void) cur_protection, (void) max_protection,
        (void) inheritance;
    assert_ptr_equal (cookie, &asked);
    asked.maps++;
    asked.object = memory_object;
    asked.size = size;
    void *pages = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *address = asked.address = (vm_address_t) pages;
    return KERN_SUCCESS;
}

static void
release (void *cookie, vm_address_t address, vm_size_t size)
{
    (void) cookie;
    if (address >= asked.address && address + size <= asked.address + asked.size) {
        asked.releases++;
        munmap ((void *) address, size);
    }
}

static kern_return_t
protect (void *cookie, vm_address_t address, vm_size_t size, boolean_t set_maximum, vm_prot_t new_protection)
{
    (void) cookie, (void) address, (void) size, (void) set_maximum, (void) new_protection;
    asked.protects++;
    return KERN_SUCCESS;
}

static void
memory_objects_are_the_back_ends (void **state)
{
    (void) state;
    mach_port_t object = new_port ();
    vm_address_t a;
    make_send (object);
#define MAP(object, offset)                                                                                            \
    vm_map (self, &a, 2 * PAGE - 1, 0, TRUE, object, offset, FALSE, VM_PROT_DEFAULT, VM_PROT_ALL, VM_INHERIT_SHARE)
    gives (KERN_FAILURE, MAP (object, 0));
    const struct hostmach_vm_backend backend = { &asked, map, release, protect };
    ok (hostmach_vm_set_backend (&backend));
    gives (KERN_NAME_EXISTS, hostmach_vm_set_backend (&backend));
    gives (KERN_INVALID_ARGUMENT, MAP (object, 1));
    gives (KERN_INVALID_ARGUMENT, MAP (MACH_PORT_DEAD, 0));
    ok (MAP (object, PAGE));
    assert_int_equal (asked.size, 2 * PAGE);
    assert_int_equal (asked.object, object);
    ok (vm_protect (self, a, PAGE, FALSE, VM_PROT_READ));
    assert_int_equal (asked.protects, 1);

    /* Its memory can be sent, given away, and is copied. */
    mach_port_t port = new_port ();
    make_send (port);
    memset ((void *) a, 'x', PAGE);
    struct memory_msg out = { header_to (port, MACH_MSG_TYPE_COPY_SEND, 9, sizeof out),
                              memory_type (MACH_MSG_TYPE_BYTE, 8, (unsigned) PAGE, true), a };
    out.head.msgh_bits |= MACH_MSGH_BITS_COMPLEX;
    ok (send_msg (&out, sizeof out));
    assert_int_equal (asked.releases, 1);
    union any_msg msg;
    ok (receive (port, &msg));
    assert_int_not_equal (msg.memory.address, a);
    assert_int_equal (*(char *) msg.memory.address, 'x');
    mach_msg_destroy (&msg.head);
    ok (vm_deallocate (self, a + PAGE, PAGE));
    assert_int_equal (asked.releases, 2);
    ok (hostmach_vm_set_backend (NULL));
    ok (mach_port_destroy (self, port));
    ok (mach_port_destroy (self, object));
}

/* ---- Proxies ---- */

static kern_return_t
make_proxy (mach_port_t object, mach_msg_type_name_t type, vm_prot_t max, vm_offset_t offset, vm_offset_t start,
            vm_size_t length, mach_port_t *proxy)
{
    return memory_object_create_proxy (self, max, &object, type, 1, &offset, 1, &start, 1, &length, 1, proxy);
}

static void
a_proxy_knows_its_object_and_window (void **state)
{
    (void) state;
    mach_port_t object = new_port (), proxy, second, found;
    vm_prot_t max;
    vm_offset_t start;
    vm_size_t length;
    make_send (object);
    ok (make_proxy (object, MACH_MSG_TYPE_COPY_SEND, VM_PROT_READ | VM_PROT_EXECUTE, 0, 2 * PAGE, 10 * PAGE, &proxy));
    assert_int_equal (type_of (proxy), MACH_PORT_TYPE_SEND);
    ok (hostmach_proxy_lookup (proxy, &found, &max, &start, &length));
    assert_int_equal (found, object);
    assert_int_equal (refs (object, MACH_PORT_RIGHT_SEND), 2);
    assert_int_equal (max, VM_PROT_READ | VM_PROT_EXECUTE);
    assert_int_equal (start, 2 * PAGE);
    assert_int_equal (length, 10 * PAGE);
    /* A proxy of a proxy narrows the window and the protection. */
    ok (make_proxy (proxy, MACH_MSG_TYPE_MOVE_SEND, VM_PROT_READ | VM_PROT_WRITE, 0, 3 * PAGE, ~(vm_size_t) 0, &second));
    ok (hostmach_proxy_lookup (second, &found, &max, &start, &length));
    assert_int_equal (found, object);
    assert_int_equal (max, VM_PROT_READ);
    assert_int_equal (start, 5 * PAGE);
    assert_int_equal (length, 7 * PAGE);
    gives (KERN_INVALID_ARGUMENT, hostmach_proxy_lookup (object, &found, &max, &start, &length));
    gives (KERN_INVALID_NAME, hostmach_proxy_lookup (0x4444, &found, &max, &start, &length));
    ok (send_id (second, MACH_MSG_TYPE_COPY_SEND, 1)); /* goes nowhere */
    ok (mach_port_destroy (self, object)); /* the object dies: the proxy stays, for a dead object */
    ok (hostmach_proxy_lookup (second, &found, &max, &start, &length));
    assert_int_equal (found, MACH_PORT_DEAD);
    ok (mach_port_deallocate (self, second));
}

static void
a_proxy_holds_its_object_while_it_lives (void **state)
{
    (void) state;
    mach_port_t object = new_port (), notify = new_port (), proxy, previous;
    ok (make_proxy (object, MACH_MSG_TYPE_MAKE_SEND, VM_PROT_READ, 0, 0, ~(vm_size_t) 0, &proxy));
    ok (mach_port_request_notification (self, object, MACH_NOTIFY_NO_SENDERS, 0, notify, MACH_MSG_TYPE_MAKE_SEND_ONCE,
                                        &previous));
    assert_int_equal (next_id (notify), 0);
    ok (mach_port_mod_refs (self, proxy, MACH_PORT_RIGHT_SEND, 1));
    ok (mach_port_deallocate (self, proxy));
    assert_int_equal (next_id (notify), 0);
    ok (mach_port_deallocate (self, proxy));
    assert_int_equal (next_id (notify), MACH_NOTIFY_NO_SENDERS);
    drop_receive (object);
    drop_receive (notify);
}

static void
proxies_check_their_arguments (void **state)
{
    (void) state;
    mach_port_t object = new_port (), proxy, array[2] = { object, object };
    vm_offset_t zeros[2] = { 0, 0 };
    vm_size_t sizes[2] = { PAGE, PAGE };
    gives (KERN_INVALID_ARGUMENT, memory_object_create_proxy (self, VM_PROT_READ, array, MACH_MSG_TYPE_MAKE_SEND, 2, zeros,
                                                              2, zeros, 2, sizes, 2, &proxy));
    gives (KERN_INVALID_ARGUMENT, make_proxy (object, MACH_MSG_TYPE_MAKE_SEND, VM_PROT_READ, PAGE, 0, PAGE, &proxy));
    gives (KERN_INVALID_ARGUMENT, make_proxy (object, MACH_MSG_TYPE_MAKE_SEND, VM_PROT_READ, 0, 1, PAGE, &proxy));
    gives (KERN_INVALID_ARGUMENT, make_proxy (object, MACH_MSG_TYPE_MAKE_SEND_ONCE, VM_PROT_READ, 0, 0, PAGE, &proxy));
    gives (KERN_INVALID_NAME, make_proxy (MACH_PORT_NULL, MACH_MSG_TYPE_COPY_SEND, VM_PROT_READ, 0, 0, PAGE, &proxy));
    gives (KERN_INVALID_NAME, make_proxy (0x4444, MACH_MSG_TYPE_COPY_SEND, VM_PROT_READ, 0, 0, PAGE, &proxy));
    gives (KERN_INVALID_RIGHT, make_proxy (object, MACH_MSG_TYPE_COPY_SEND, VM_PROT_READ, 0, 0, PAGE, &proxy));
    drop_receive (object);
}

int
main (void)
{
    const struct CMUnitTest tests[] = {
        rule (allocation_is_zeroed_rounded_and_counted), rule (bad_ranges_are_refused),
        rule (a_fixed_address_is_honoured_or_refused), rule (parts_of_a_region_can_go),
        rule (foreign_memory_is_left_alone), rule (protection_is_applied), rule (copies_are_copies),
        rule (vm_map_without_object_is_anonymous), rule (memory_objects_are_the_back_ends),
        rule (a_proxy_knows_its_object_and_window), rule (a_proxy_holds_its_object_while_it_lives),
        rule (proxies_check_their_arguments),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
