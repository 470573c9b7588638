/* Making pagers, their ports and references, and their end.  */

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

#include "store.h"
#include "platform.h"

/* ---- What happens without world_close ---- */

static void free_store(struct user_pager_info *store)
{
    pthread_mutex_destroy(&store->lock);
    pthread_cond_destroy(&store->changed);
    free(store->data);
    free(store);
}

static mach_port_type_t type_of(mach_port_t name)
{
    mach_port_type_t type = 0;
    return mach_port_type(mach_task_self(), name, &type) == KERN_SUCCESS ? type : 0;
}

static unsigned hard_references(struct pager *pager)
{
    return (unsigned) ((struct port_info *) pager)->refcounts.counts;
}

/* A pager of the caller's store (which it makes) in BUCKET.  */
static struct pager *make_pager(struct port_bucket *bucket, struct user_pager_info **store)
{
    *store = calloc(1, sizeof **store);
    (*store)->pages = 4;
    (*store)->data = calloc(4, vm_page_size);
    pthread_mutex_init(&(*store)->lock, NULL);
    pthread_cond_init(&(*store)->changed, NULL);
    struct pager *pager = pager_create(*store, bucket, 0, MEMORY_OBJECT_COPY_DELAY, 0);
    if (pager)
        (*store)->pager = pager;
    return pager;
}

/* ---- pager_create ---- */

/* A pager is a port of libports: its struct begins with port_info, in the given bucket, and the caller has one reference (section 3).  */
static void test_create_gives_a_port_and_one_reference(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 4, 0);
    struct user_pager_info *store;
    struct pager *pager = make_pager(world.bucket, &store);
    assert_non_null(pager);
    assert_non_null(pager);
    struct port_info *port = (struct port_info *) pager;
    assert_ptr_equal(port->bucket, world.bucket);
    assert_ptr_equal(port->class, ((struct port_info *) world.pager)->class);
    assert_int_equal(hard_references(pager), 1);
    assert_ptr_equal(pager_get_upi(pager), store);
    assert_int_equal(world.bucket->count, 2);
    ports_port_deref(pager);
    assert_int_equal(store->cleared, 1);
    assert_int_equal(world.bucket->count, 1);
    free_store(store);
    world_close(&world);
}

/* pager_create_alloc: the translator's data are zeroed, lie in the pager, and are still whole when pager_clear_user_data runs
   (sections 3, and hurd/pager.h).  */
static void test_create_alloc_data_live_in_the_pager(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 4, 0);
    static const size_t sizes[] = { 0, 1, 17, sizeof(struct user_pager_info) };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        /* pager_clear_user_data needs a whole store, so the small ones are looked at and left to a store behind them.  */
        size_t size = sizes[i] < sizeof(struct user_pager_info) ? sizeof(struct user_pager_info) + sizes[i] : sizes[i];
        /* What malloc gives out again is not zero by itself.  */
        void *dirt = malloc(size + 600);
        memset(dirt, 0xa5, size + 600);
        free(dirt);
        struct pager *pager = pager_create_alloc(size, world.bucket, 0, MEMORY_OBJECT_COPY_DELAY, 0);
        assert_non_null(pager);
        struct user_pager_info *store = pager_get_upi(pager);
        assert_non_null(store);
        assert_true((char *) store > (char *) pager);
        assert_int_equal((uintptr_t) store % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < size; k++)
            assert_int_equal(((unsigned char *) store)[k], 0);
        pthread_mutex_init(&store->lock, NULL);
        pthread_cond_init(&store->changed, NULL);
        memset((char *) store + sizeof *store, 0x5a, size - sizeof *store);
        int count = 0;
        store->cleared_too = &count;
        store->pager = pager;
        assert_int_equal(pager_get_error(pager, 0), 0);
        ports_port_deref(pager);
        assert_int_equal(count, 1);
    }
    world_close(&world);
}

/* No bucket: NULL, errno says why.  */
static void test_create_without_bucket_fails(void **state)
{
    (void) state;
    struct user_pager_info *store;
    errno = 0;
    assert_null(make_pager(NULL, &store));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(pager_create_alloc(100, NULL, 0, MEMORY_OBJECT_COPY_DELAY, 0));
    assert_int_equal(errno, EINVAL);
    assert_int_equal(store->cleared, 0);
    free_store(store);
}

/* Memory is exhausted at any step: NULL with ENOMEM, nothing is left behind, and the translator's data stay the caller's
   (pager_clear_user_data is for pagers that were).  */
static void test_create_without_memory_fails(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 4, 0);
    /* The workers run, so what they were started with is freed.  */
    world_settle(&world);
    errno = 0;
    assert_null(pager_create_alloc((size_t) -1, world.bucket, 0, MEMORY_OBJECT_COPY_DELAY, 0));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(pager_create_alloc((size_t) 1 << 62, world.bucket, 0, MEMORY_OBJECT_COPY_DELAY, 0));
    assert_int_equal(errno, ENOMEM);
    for (int kind = 0; kind < 2; kind++) {
        int failures = 0, done = 0;
        for (unsigned step = 0; !done; step++) {
            assert_true(step < 100);
            size_t ports = hostmach_port_count(), rights = hostmach_list_rights(hostmach_task_main(), NULL, 0);
            long blocks = platform_allocated_blocks();
            struct user_pager_info *store;
            errno = 0;
            unsigned struck = hostmach_faults_struck();
            if (kind == 0)
                platform_fail_allocation(step);
            else
                hostmach_fail_memory(step, 1);
            struct pager *pager = make_pager(world.bucket, &store);
            int error = errno;
            platform_fail_allocation(-1);
            hostmach_fail_memory(0, 0);
            if (pager) {
                /* No step is left that could fail (a failure that does no harm is well).  */
                if (kind == 0 || hostmach_faults_struck() == struck)
                    done = 1;
                ports_port_deref(pager);
                assert_int_equal(store->cleared, 1);
            } else {
                failures++;
                assert_int_equal(error, ENOMEM);
                assert_int_equal(store->cleared, 0);
            }
            free_store(store);
            assert_int_equal(hostmach_port_count(), ports);
            assert_int_equal(hostmach_list_rights(hostmach_task_main(), NULL, 0), rights);
            if (platform_allocated_blocks() != blocks) fprintf(stderr, "kind %d step %u pager %p\n", kind, step, (void *) pager);
            assert_int_equal(platform_allocated_blocks(), blocks);
        }
        assert_true(failures > 0);
    }
    assert_int_equal(world.bucket->count, 1);
    world_close(&world);
}

/* ---- The port ---- */

/* pager_get_port returns a name for a receive right; the caller makes a send right (section 3).  */
static void test_get_port_names_a_receive_right(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 4, 0);
    struct user_pager_info *store;
    struct pager *pager = make_pager(world.bucket, &store);
    assert_non_null(pager);
    mach_port_t port = pager_get_port(pager);
    assert_true(MACH_PORT_VALID(port));
    assert_int_equal(type_of(port) & (MACH_PORT_TYPE_RECEIVE | MACH_PORT_TYPE_SEND), MACH_PORT_TYPE_RECEIVE);
    assert_int_equal(port, ((struct port_info *) pager)->port_right);
    /* The right holds a reference of its own as long as there are send rights.  */
    assert_int_equal(hard_references(pager), 2);
    assert_int_equal(mach_port_insert_right(mach_task_self(), port, port, MACH_MSG_TYPE_MAKE_SEND), 0);
    sk_kernel *kernel = sk_kernel_create("A");
    sk_object *object = sk_map(kernel, port);
    unsigned char byte = 9;
    assert_int_equal(kernel_read(object, 0, &byte), 0);
    assert_int_equal(byte, 0);
    sk_kernel_destroy(kernel);
    pager_shutdown(pager);
    assert_int_equal(pager_get_port(pager), MACH_PORT_NULL);
    /* A worker may have one for a moment.  */
    world_settle(&world);
    assert_int_equal(hard_references(pager), 1);
    mach_port_deallocate(mach_task_self(), port);
    ports_port_deref(pager);
    world_settle(&world);
    assert_int_equal(store->cleared, 1);
    free_store(store);
    world_close(&world);
}

/* ---- References ---- */

/* Hard references count; pager_clear_user_data runs exactly once, in the thread that gives up the last one (section 3).  */
static void test_clear_user_data_once_after_the_last_reference(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 4, 0);
    struct user_pager_info *store;
    struct pager *pager = make_pager(world.bucket, &store);
    assert_non_null(pager);
    for (int i = 0; i < 3; i++)
        ports_port_ref(pager);
    pager_shutdown(pager);
    for (int i = 0; i < 3; i++) {
        ports_port_deref(pager);
        assert_int_equal(store->cleared, 0);
        /* Everything may still be asked of it.  */
        assert_ptr_equal(pager_get_upi(pager), store);
        assert_int_equal(pager_get_error(pager, 0), 0);
        pager_sync(pager, 1);
    }
    ports_port_deref(pager);
    assert_int_equal(store->cleared, 1);
    assert_int_equal(store->dropped_weak, 0);
    free_store(store);
    world_close(&world);
}

/* Weak references: pager_dropweak when only they are left; the pager ends with the last of them (section 3).  */
static void test_weak_references_and_dropweak(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 4, 0);
    struct user_pager_info *store;
    struct pager *pager = make_pager(world.bucket, &store);
    assert_non_null(pager);
    ports_port_ref_weak(pager);
    ports_port_ref_weak(pager);
    ports_port_deref_weak(pager);
    assert_int_equal(store->dropped_weak, 0);
    ports_port_deref(pager);
    assert_int_equal(store->dropped_weak, 1);
    assert_int_equal(store->cleared, 0);
    assert_ptr_equal(pager_get_upi(pager), store);
    ports_port_deref_weak(pager);
    assert_int_equal(store->cleared, 1);
    assert_int_equal(store->dropped_weak, 1);
    free_store(store);
    /* The callback gives the references up itself.  */
    pager = make_pager(world.bucket, &store);
    assert_non_null(pager);
    ports_port_ref_weak(pager);
    ports_port_ref_weak(pager);
    store->drop_weak = 2;
    ports_port_deref(pager);
    assert_int_equal(store->dropped_weak, 1);
    assert_int_equal(store->cleared, 1);
    free_store(store);
    world_close(&world);
}

static void *deref(void *pager)
{
    ports_port_deref(pager);
    return NULL;
}

/* Threads that give up references at once: still exactly once.  */
static void test_clear_user_data_once_from_many_threads(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 4, 0);
    for (int round = 0; round < 50; round++) {
        enum { THREADS = 4 };
        struct user_pager_info *store;
        struct pager *pager = make_pager(world.bucket, &store);
        assert_non_null(pager);
        pthread_t threads[THREADS];
        for (int i = 1; i < THREADS; i++)
            ports_port_ref(pager);
        for (int i = 0; i < THREADS; i++)
            threads[i] = spawn(deref, pager);
        for (int i = 0; i < THREADS; i++)
            join(threads[i]);
        assert_int_equal(store->cleared, 1);
        free_store(store);
    }
    world_close(&world);
}

/* ---- The read-only port ---- */

/* pager_create_ro_port: a proxy of the object, for reading, from end to end (sections 1 and 3); the right is the caller's.  */
static void test_ro_port_is_a_read_only_proxy(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 4, 0);
    mach_port_t proxy = pager_create_ro_port(world.pager);
    assert_true(MACH_PORT_VALID(proxy));
    assert_int_not_equal(proxy, world.port);
    assert_int_equal(type_of(proxy) & MACH_PORT_TYPE_PORT_RIGHTS, MACH_PORT_TYPE_SEND);
    mach_port_t object;
    vm_prot_t protection;
    vm_offset_t start;
    vm_size_t length;
    assert_int_equal(hostmach_proxy_lookup(proxy, &object, &protection, &start, &length), 0);
    assert_int_equal(object, world.port);
    assert_int_equal(protection & VM_PROT_WRITE, 0);
    assert_int_equal(protection & VM_PROT_READ, VM_PROT_READ);
    assert_int_equal(start, 0);
    assert_true(length >= (vm_size_t) -1 - vm_page_size);
    mach_port_deallocate(mach_task_self(), object);
    /* It keeps the object alive by itself.  */
    mach_port_deallocate(mach_task_self(), world.port);
    ports_port_deref(world.pager);
    world_settle(&world);
    assert_int_equal(world_cleared(&world), 0);
    mach_port_deallocate(mach_task_self(), proxy);
    world_close_ended(&world);
}

/* No receive right any more: no proxy, and errno says so.  */
static void test_ro_port_after_shutdown_fails(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 4, 0);
    pager_shutdown(world.pager);
    errno = 0;
    assert_int_equal(pager_create_ro_port(world.pager), MACH_PORT_NULL);
    assert_int_not_equal(errno, 0);
    world_close(&world);
}

/* Memory is exhausted at any step: no proxy, ENOMEM, no right left behind, the pager can still end.  */
static void test_ro_port_without_memory_fails(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 4, 0);
    int failures = 0;
    for (unsigned step = 0;; step++) {
        assert_true(step < 50);
        size_t rights = hostmach_list_rights(hostmach_task_main(), NULL, 0), ports = hostmach_port_count();
        unsigned struck = hostmach_faults_struck();
        errno = 0;
        hostmach_fail_memory(step, 1);
        mach_port_t proxy = pager_create_ro_port(world.pager);
        int error = errno;
        hostmach_fail_memory(0, 0);
        int hit = hostmach_faults_struck() != struck;
        if (proxy)
            mach_port_deallocate(mach_task_self(), proxy);
        else {
            assert_int_equal(error, ENOMEM);
            failures++;
        }
        assert_int_equal(hostmach_list_rights(hostmach_task_main(), NULL, 0), rights);
        assert_int_equal(hostmach_port_count(), ports);
        if (!hit)
            break;
    }
    assert_true(failures > 0);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_gives_a_port_and_one_reference),
        cmocka_unit_test(test_create_alloc_data_live_in_the_pager),
        cmocka_unit_test(test_create_without_bucket_fails),
        cmocka_unit_test(test_create_without_memory_fails),
        cmocka_unit_test(test_get_port_names_a_receive_right),
        cmocka_unit_test(test_clear_user_data_once_after_the_last_reference),
        cmocka_unit_test(test_weak_references_and_dropweak),
        cmocka_unit_test(test_clear_user_data_once_from_many_threads),
        cmocka_unit_test(test_ro_port_is_a_read_only_proxy),
        cmocka_unit_test(test_ro_port_after_shutdown_fails),
        cmocka_unit_test(test_ro_port_without_memory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
