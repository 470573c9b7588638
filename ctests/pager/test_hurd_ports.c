/* libpager over a libports that behaves as the Hurd's where that differs from ours (docs/hurd.md): it puts the port's address on a new port as
   its payload, which messages then carry in place of the port's name, and it does not give up a destroyed right's reference while none
   of its own threads serves the bucket.  */

#include "cast.h"

error_t __real_ports_create_port_noinstall(struct port_class *, struct port_bucket *, size_t, void *);
error_t __wrap_ports_create_port_noinstall(struct port_class *, struct port_bucket *, size_t, void *);
void __wrap_ports_destroy_right(void *);

error_t __wrap_ports_create_port_noinstall(struct port_class *class, struct port_bucket *bucket, size_t size, void *result)
{
    error_t error = __real_ports_create_port_noinstall(class, bucket, size, result);
    if (!error) {
        struct port_info *port = *(struct port_info **) result;
        assert_int_equal(mach_port_set_protected_payload(mach_task_self(), port->port_right, (natural_t) (uintptr_t) port), 0);
    }
    return error;
}

/* The reference is kept for ever.  */
void __wrap_ports_destroy_right(void *port)
{
    ports_port_ref(port);
    mach_port_t name = ports_claim_right(port);
    if (MACH_PORT_VALID(name))
        mach_port_mod_refs(mach_task_self(), name, MACH_PORT_RIGHT_RECEIVE, -1);
}

/* Messages find their pager; two clients are kept apart and coherent.  */
static void test_ports_with_payloads(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 8, 0);
    sk_kernel *a = sk_kernel_create("A"), *b = sk_kernel_create("B");
    sk_object *x = sk_map(a, world.port), *y = sk_map(b, world.port);
    put(x, 1, 77);
    assert_int_equal(get(y, 1), 77);
    pager_sync(world.pager, 1);
    assert_int_equal(store_byte(&world, 1), 77);
    sk_kernel_destroy(a);
    sk_kernel_destroy(b);
    world_close(&world);
}

/* After pager_shutdown, while there are send rights, nothing holds the pager but the translator: it goes (world_close looks).  */
static void test_shut_down_with_senders(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 8, 0);
    sk_kernel *kernel = sk_kernel_create("A");
    sk_object *object = sk_map(kernel, world.port);
    put(object, 2, 5);
    pager_shutdown(world.pager);
    assert_int_equal(store_byte(&world, 2), 5);
    sk_kernel_destroy(kernel);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ports_with_payloads),
        cmocka_unit_test(test_shut_down_with_senders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
