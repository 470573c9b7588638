/* Pagers and their clients from the beginning to the end: attributes, pagers beside each other, the last send right, the last
   error.  */

#include "client.h"

static unsigned hard_references(struct pager *pager)
{
    return (unsigned) ((struct port_info *) pager)->refcounts.counts;
}

/* Attributes given to pager_create are told to clients in memory_object_ready (section 3).  */
static void test_create_attributes_are_told(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct party p;
        party_open_with(&p, state, 0, 4, i, i ? MEMORY_OBJECT_COPY_NONE : MEMORY_OBJECT_COPY_DELAY, 0);
        struct client *object = party_join(&p);
        assert_attributes(object, i, i ? MEMORY_OBJECT_COPY_NONE : MEMORY_OBJECT_COPY_DELAY);
        party_close(&p);
    }
}

/* A pager of pager_create_alloc serves like any other (section 3).  */
static void test_create_alloc_serves(void **state)
{
    struct party p;
    party_open(&p, state, 0, 4, 0);
    struct pager *pager = pager_create_alloc(sizeof(struct user_pager_info), p.world.bucket, 0, MEMORY_OBJECT_COPY_DELAY, 0);
    assert_non_null(pager);
    struct user_pager_info *store = pager_get_upi(pager);
    store->pages = 2;
    store->data = calloc(2, vm_page_size);
    unsigned char *data = store->data;
    int count = 0;
    store->cleared_too = &count;
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->changed, NULL);
    mach_port_t port = ports_get_send_right(pager);
    struct client *object = client_of(&p, port, 2);
    unsigned char byte = 9;
    assert_int_equal(try_read(object, 1, &byte), 0);
    assert_int_equal(byte, 0);
    assert_int_equal(try_write(object, 1, 33), 0);
    terminate(object);
    client_free(object);
    pager_shutdown(pager);
    assert_int_equal(data[vm_page_size], 33);
    mach_port_deallocate(mach_task_self(), port);
    ports_port_deref(pager);
    world_settle(&p.world);
    assert_int_equal(count, 1);
    free(data);
    party_close(&p);
}

/* Several pagers live in one bucket; each serves its own pages, and one ends without the others (section 3).  */
static void test_several_pagers_in_one_bucket(void **state)
{
    enum { COUNT = 5 };
    struct party p;
    struct world others[COUNT];
    party_open(&p, state, 0, 4, 0);
    struct client *objects[COUNT];
    for (int i = 0; i < COUNT; i++) {
        world_join(&others[i], &p.world, 4, 0);
        store_fill(&others[i], 0, (unsigned char) (100 + i));
        objects[i] = client_of(&p, others[i].port, 4);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(others[k].port, others[i].port);
    }
    unsigned char byte;
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(try_read(objects[i], 0, &byte), 0);
        assert_int_equal(byte, 100 + i);
        assert_int_equal(store_count(&others[i], CALL_READ), 1);
    }
    world_close(&others[COUNT - 1]);
    client_free(objects[COUNT - 1]);
    for (int i = 0; i < COUNT - 1; i++)
        assert_int_equal(try_write(objects[i], 1, (unsigned char) i), 0);
    for (int i = COUNT - 2; i >= 0; i--) {
        client_free(objects[i]);
        world_close(&others[i]);
    }
    party_close(&p);
}

/* The last send right goes: the right's reference goes with it, and the object ends if it was the last one; what its kernel had
   written is in the store by then (section 3: the clean routine runs once, after the last reference went).  */
static void test_no_senders_ends_the_pager(void **state)
{
    struct party p;
    party_open(&p, state, 0, 4, 0);
    ports_port_deref(p.world.pager);
    struct client *object = party_join(&p);
    mach_port_deallocate(mach_task_self(), p.world.port);
    /* The kernel has a send right: the object lives.  */
    world_settle(&p.world);
    assert_int_equal(world_cleared(&p.world), 0);
    assert_int_equal(try_write(object, 2, 55), 0);
    terminate(object);
    world_wait_cleared(&p.world);
    assert_int_equal(store_byte(&p.world, 2), 55);
    party_close_ended(&p);
}

/* The same when the kernel dies: what it had is lost, but the object ends.  */
static void test_no_senders_after_a_crash_ends_the_pager(void **state)
{
    struct party p;
    party_open(&p, state, 0, 4, 1);
    ports_port_deref(p.world.pager);
    struct client *object = party_join(&p);
    mach_port_deallocate(mach_task_self(), p.world.port);
    assert_int_equal(try_write(object, 2, 55), 0);
    die(object);
    world_wait_cleared(&p.world);
    party_close_ended(&p);
}

/* A reference keeps the pager when no send right is left, and a new right can be made (section 3: get_send_right works on it).  */
static void test_reference_outlives_the_senders(void **state)
{
    struct party p;
    party_open(&p, state, 0, 4, 0);
    mach_port_deallocate(mach_task_self(), p.world.port);
    world_settle(&p.world);
    assert_int_equal(hard_references(p.world.pager), 1);
    assert_int_equal(world_cleared(&p.world), 0);
    p.world.port = ports_get_send_right(p.world.pager);
    assert_true(MACH_PORT_VALID(p.world.port));
    struct client *object = party_join(&p);
    unsigned char byte;
    assert_int_equal(try_read(object, 3, &byte), 0);
    assert_int_equal(byte, 4);
    party_close(&p);
}

/* The last error of the page that holds the address; any code, unchanged; cleared by a read that succeeds (sections 2 and 3).  */
static void test_get_error_is_the_last_of_its_page(void **state)
{
    struct party p;
    party_open(&p, state, 0, 4, 0);
    struct client *object = party_join(&p);
    static const int codes[] = { EIO, ENOSPC, EDQUOT, EACCES, 0x40000005, -1, 1 };
    unsigned char byte;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        store_fail(&p.world, CALL_READ, codes[i], 1);
        assert_int_equal(try_read(object, 1, &byte), codes[i]);
        assert_int_equal(pager_get_error(p.world.pager, page_offset(1)), codes[i]);
        assert_int_equal(pager_get_error(p.world.pager, page_offset(2) - 1), codes[i]);
        assert_int_equal(pager_get_error(p.world.pager, page_offset(1) - 1), 0);
        assert_int_equal(pager_get_error(p.world.pager, page_offset(2)), 0);
    }
    assert_int_equal(try_read(object, 1, &byte), 0);
    assert_int_equal(pager_get_error(p.world.pager, page_offset(1)), 0);
    party_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_create_attributes_are_told),
        BOTH(test_create_alloc_serves),
        BOTH(test_several_pagers_in_one_bucket),
        BOTH(test_no_senders_ends_the_pager),
        BOTH(test_no_senders_after_a_crash_ends_the_pager),
        BOTH(test_reference_outlives_the_senders),
        BOTH(test_get_error_is_the_last_of_its_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
