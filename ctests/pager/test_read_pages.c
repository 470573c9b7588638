/* Pages that are read by one call and given by one message (Service/ReadRun.swift): what each of them needs after that.  (Which pages are read
   together, and what becomes of failures: mapping/test_cluster.c.)  */

#include "raw.h"

error_t pager_read_pages(struct user_pager_info *store, vm_offset_t offset, vm_size_t length, vm_address_t *buf, vm_size_t *read,
                         int *write_lock)
{
    *write_lock = 0;
    *read = 0;
    if (vm_allocate(mach_task_self(), buf, length, TRUE) != KERN_SUCCESS)
        return ENOMEM;
    memcpy((void *) *buf, store->data + offset, length);
    *read = length;
    return 0;
}

static void hook_syncs_page_2(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    if (call == CALL_READ && page == page_offset(1))
        pager_sync_some(store->pager, page_offset(2), vm_page_size, 1);
}

/* While the pages are on their way to X, others ask for them: page 1 is to be read once more, page 2 to be taken from X for a writer.  The
   callback that reads page 1 waits for page 2: what X must be asked has been sent by then, or nobody ever sends it.  (Simulation, seed 7148716.)  */
static void waits_for_a_page_of_the_same_message(unsigned reads)
{
    struct cast c;
    struct raw x;
    cast_open(&c, 2, 4, 0);
    assert_int_equal(pager_set_concurrent_reads(c.world.pager, reads), 0);
    sk_object *y = c.objects[0], *z = c.objects[1];
    c.world.store->hook = hook_syncs_page_2;
    raw_open(&x, &c.world, 1, SK_DATA_SUPPLY);
    raw_wait_for(&x, SK_READY);
    raw_request_pages(&x, 0, 3, VM_PROT_READ);
    raw_wait_stopped(&x);
    ask(y, 1, VM_PROT_READ);
    ask(z, 2, RW);
    fence_by_refusal(&c, y);
    raw_go(&x);
    /* The page's request, and the user's.  */
    raw_wait_for_more(&x, SK_LOCK_REQUEST, 2);
    raw_complete(&x, 2);
    raw_complete(&x, 2);
    wait_page(y, 1, SK_WANT_READABLE);
    wait_page(z, 2, SK_WANT_WRITABLE);
    assert_int_equal(kernel_byte(y, 1), 2);
    assert_int_equal(kernel_byte(z, 2), 3);
    world_settle(&c.world);
    assert_int_equal(raw_has(&x, SK_DATA_SUPPLY), 1);
    c.world.store->hook = NULL;
    raw_close(&x);
    cast_close(&c);
}

static void test_a_callback_waits_for_a_page_of_the_same_message(void **state)
{
    (void) state;
    waits_for_a_page_of_the_same_message(1);
}

static void test_a_read_beside_others_waits_for_a_page_of_the_same_message(void **state)
{
    (void) state;
    waits_for_a_page_of_the_same_message(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_callback_waits_for_a_page_of_the_same_message),
        cmocka_unit_test(test_a_read_beside_others_waits_for_a_page_of_the_same_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
