/* Faults that ask for their neighbours as well, and a translator that reads several pages at once.  */

#include "land.h"

#include <sched.h>

/* ---- The translator's other half (store.c has the rest) ---- */

static struct {
    int error;                          /* behind so many pages */
    size_t pages;                       /* that one call reads at most */
    int bad_buffer, write_lock;
    unsigned calls, read;
} reader;

error_t pager_read_pages(struct user_pager_info *store, vm_offset_t offset, vm_size_t length, vm_address_t *buf, vm_size_t *read,
                         int *write_lock)
{
    size_t pages = length / vm_page_size;
    reader.calls++;
    *write_lock = reader.write_lock;
    *read = 0;
    if (pages > reader.pages)
        pages = reader.pages;
    if (pages == 0)
        return reader.error;
    if (!reader.bad_buffer) {
        if (vm_allocate(mach_task_self(), buf, pages * vm_page_size, TRUE) != KERN_SUCCESS)
            return ENOMEM;
        memcpy((void *) *buf, store->data + offset, pages * vm_page_size);
    }
    *read = pages * vm_page_size;
    reader.read += (unsigned) pages;
    return pages * vm_page_size < length ? reader.error : 0;
}

static memory open_cluster(struct land *land, unsigned cluster)
{
    land_open(land, 1, 64, 0);
    mk_kernel_set_cluster(land->kernels[0], cluster);
    memset(&reader, 0, sizeof reader);
    reader.pages = 64;
    return land_map(land, 0, 0, 64, RW);
}

static void settle(struct land *land, memory m, size_t last)
{
    while (page_info(at(m, last)).state == MK_PAGE_REQUESTED)
        sched_yield();
    world_settle(&land->world);
}

/* One request, one call, one supply; what is aligned and absent comes, nothing else.  */
static void test_neighbours_come_along(void **state)
{
    (void) state;
    struct land land;
    memory m = open_cluster(&land, 16);
    assert_int_equal(peek(at(m, 21)), 22);
    settle(&land, m, 31);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(page_info(at(m, i)).state, i / 16 == 1 ? MK_PAGE_PRESENT : MK_PAGE_ABSENT);
    for (size_t i = 16; i < 32; i++)
        assert_int_equal(peek(at(m, i)), i + 1);
    assert_int_equal(statistics(&land, 0).requests, 1);
    assert_int_equal(reader.calls, 1);
    assert_int_equal(reader.read, 16);
    assert_int_equal(world_statistics(&land.world).supplies, 1);
    assert_int_equal(world_statistics(&land.world).page_ins, 16);
    assert_int_equal(store_count(&land.world, CALL_READ), 0);
    /* They are as good as others: written, returned.  */
    poke(at(m, 30), 99);
    pager_return(land.world.pager, 1);
    assert_int_equal(store_byte(&land.world, 30), 99);
    unmap(m, 64);
    land_close(&land);
}

/* A page that is there already ends the run on its side; a write asks for one page.  */
static void test_gaps_and_writes(void **state)
{
    (void) state;
    struct land land;
    memory m = open_cluster(&land, 16);
    poke(at(m, 4), 77);
    assert_int_equal(page_info(at(m, 5)).state, MK_PAGE_ABSENT);
    peek(at(m, 6));
    settle(&land, m, 15);
    assert_int_equal(page_info(at(m, 3)).state, MK_PAGE_ABSENT);
    assert_int_equal(page_info(at(m, 5)).state, MK_PAGE_PRESENT);
    assert_int_equal(peek(at(m, 4)), 77);
    assert_int_equal(reader.read, 11);
    unmap(m, 64);
    land_close(&land);
}

/* A cluster does not reach beyond the mapping.  */
static void test_within_the_mapping(void **state)
{
    (void) state;
    struct land land;
    memory all = open_cluster(&land, 64);
    unmap(all, 64);
    memory m = land_map(&land, 0, 10, 5, RO);
    assert_int_equal(peek(at(m, 2)), 13);
    settle(&land, m, 4);
    assert_int_equal(reader.read, 5);
    unmap(m, 5);
    land_close(&land);
}

/* The page behind what was read gets the error, those behind it are read singly; refused pages that nobody waited for
   are asked for again.  */
static void test_failures(void **state)
{
    (void) state;
    struct land land;
    unsigned char byte;
    memory m = open_cluster(&land, 8);
    reader.pages = 3;
    reader.error = EIO;
    assert_int_equal(peek(m), 1);
    settle(&land, m, 7);
    assert_int_equal(page_info(at(m, 2)).state, MK_PAGE_PRESENT);
    assert_int_equal(page_info(at(m, 3)).state, MK_PAGE_ABSENT);
    assert_int_equal(page_info(at(m, 4)).state, MK_PAGE_PRESENT);
    assert_int_equal(store_count(&land.world, CALL_READ), 4);
    assert_int_equal(pager_get_error(land.world.pager, page_offset(3)), EIO);
    assert_int_equal(peek(at(m, 3)), 4);        /* by pager_read_page */
    /* Where the fault itself is refused, it is SIGBUS.  */
    reader.pages = 0;
    assert_int_equal(touch_read(at(m, 8), &byte), SIGBUS);
    settle(&land, m, 15);
    assert_int_equal(peek(at(m, 9)), 10);
    /* No buffer.  */
    reader.pages = 64;
    reader.bad_buffer = 1;
    assert_int_equal(touch_read(at(m, 16), &byte), SIGBUS);
    settle(&land, m, 23);
    assert_int_equal(peek(at(m, 17)), 18);
    reader.bad_buffer = 0;
    unmap(m, 64);
    land_close(&land);
}

/* Not implemented: page by page, and never asked for again.  */
static void test_not_supported(void **state)
{
    (void) state;
    struct land land;
    memory m = open_cluster(&land, 8);
    reader.pages = 0;
    reader.error = EOPNOTSUPP;
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(peek(at(m, i)), i + 1);
    assert_int_equal(reader.calls, 1);
    assert_int_equal(store_count(&land.world, CALL_READ), 64);
    unmap(m, 64);
    land_close(&land);
}

/* Supplied locked, in one piece; each is unlocked by itself.  */
static void test_locked(void **state)
{
    (void) state;
    struct land land;
    memory m = open_cluster(&land, 8);
    reader.write_lock = 1;
    peek(m);
    settle(&land, m, 7);
    assert_int_equal(page_info(at(m, 5)).lock, VM_PROT_WRITE);
    poke(at(m, 5), 3);
    assert_int_equal(store_count(&land.world, CALL_UNLOCK), 1);
    assert_int_equal(page_info(at(m, 6)).lock, VM_PROT_WRITE);
    unmap(m, 64);
    world_settle(&land.world);
    assert_int_equal(store_byte(&land.world, 5), 3);
    land_close(&land);
}

/* Two kernels: what one has written is asked back among neighbours that come from the store.  */
static void test_two_kernels(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 2, 64, 0);
    memset(&reader, 0, sizeof reader);
    reader.pages = 64;
    memory a = land_map(&land, 0, 0, 64, RW), b = land_map(&land, 1, 0, 64, RW);
    mk_kernel_set_cluster(land.kernels[1], 16);
    poke(at(a, 5), 55);
    poke(at(a, 9), 56);
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(peek(at(b, i)), i == 5 ? 55 : i == 9 ? 56 : i + 1);
    poke(at(a, 5), 57);
    assert_int_equal(peek(at(b, 5)), 57);
    unmap(a, 64);
    unmap(b, 64);
    land_close(&land);
}

/* One of several clients asks to write pages that need pager_unlock_page, in one message: they are read by one call, and each is unlocked by itself
   before it is supplied; one that is refused is refused alone.  */
static void test_locked_pages_of_several_clients(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 64, 0);
    memset(&reader, 0, sizeof reader);
    reader.pages = 64;
    reader.write_lock = 1;
    store_write_lock(&land.world, 1);
    memory m = land_map(&land, 0, 0, 64, RW);
    sk_kernel *kernel = sk_kernel_create("several");
    sk_object *object = sk_map(kernel, land.world.port);
    store_close_gate(&land.world, CALL_READ);
    /* The others wait behind it, and are taken along with one another.  */
    assert_int_equal(sk_request(object, page_offset(20), VM_PROT_READ), 0);
    store_wait_gate(&land.world, CALL_READ, 1);
    const struct sk_message message = { .id = SK_DATA_REQUEST, .offset = page_offset(8), .length = page_offset(8), .access = RW };
    assert_int_equal(sk_send_raw(object, &message, NULL, 0), 0);
    world_fence(&land.world);
    unsigned locks = sk_count(object, SK_LOCK_REQUEST);
    store_fail(&land.world, CALL_UNLOCK, ENOSPC, 1);
    store_open_gate(&land.world, CALL_READ);
    assert_int_equal(sk_wait_message(object, SK_DATA_ERROR, 1, 0), 0);
    for (size_t page = 9; page < 16; page++) {
        assert_int_equal(sk_wait_page(object, page_offset(page), SK_WANT_WRITABLE, 0), 0);
        assert_int_equal(kernel_byte(object, page), page + 1);
    }
    world_settle(&land.world);
    assert_int_equal(pager_get_error(land.world.pager, page_offset(8)), ENOSPC);
    assert_int_equal(reader.calls, 1);
    assert_int_equal(reader.read, 8);
    assert_int_equal(store_count(&land.world, CALL_UNLOCK), 8);
    assert_int_equal(sk_count(object, SK_LOCK_REQUEST), locks);
    assert_int_equal(peek(at(m, 9)), 10);
    unmap(m, 64);
    sk_kernel_destroy(kernel);
    land_close(&land);
}

/* A small cache: no page is pushed out by the neighbours that came with it before it is touched.  */
static void test_small_cache(void **state)
{
    (void) state;
    struct land land;
    land_open(&land, 1, 64, 16);
    mk_kernel_set_cluster(land.kernels[0], 64);
    memset(&reader, 0, sizeof reader);
    reader.pages = 64;
    memory m = land_map(&land, 0, 0, 64, RW);
    for (unsigned round = 0; round < 20; round++)
        for (size_t i = 0; i < 64; i++)
            assert_int_equal(peek(at(m, (i * 37) % 64)), (i * 37) % 64 + 1);
    world_settle(&land.world);
    assert_in_range(statistics(&land, 0).resident_pages, 1, 16);
    unmap(m, 64);
    land_close(&land);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_neighbours_come_along),
        cmocka_unit_test(test_gaps_and_writes),
        cmocka_unit_test(test_within_the_mapping),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_not_supported),
        cmocka_unit_test(test_locked),
        cmocka_unit_test(test_two_kernels),
        cmocka_unit_test(test_locked_pages_of_several_clients),
        cmocka_unit_test(test_small_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
