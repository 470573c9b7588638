/* Second looks at rules (rules.h): references, inhibition, clients that go, refusals, offers, page sizes.  */

#include "rules.h"

/* A second pager with this store ends; the other one's end is to be the only one when all is over.  */
static void await_clear(struct user_pager_info *store)
{
    for (int cleared = 0; !cleared; sched_yield()) {
        pthread_mutex_lock(&store->lock);
        cleared = store->cleared;
        store->cleared = 0;
        pthread_mutex_unlock(&store->lock);
    }
}

/* pager_get_port: the name is good for a send right, and that right keeps the pager, without a reference, until it goes.  */
static void test_port_from_get_port_keeps_the_pager(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    struct user_pager_info *store = c.world.store;
    struct pager *pager = pager_create(store, c.world.bucket, 0, MEMORY_OBJECT_COPY_DELAY, 0);
    assert_non_null(pager);
    mach_port_t name = pager_get_port(pager);
    assert_int_equal(mach_port_insert_right(mach_task_self(), name, name, MACH_MSG_TYPE_MAKE_SEND), KERN_SUCCESS);
    ports_port_deref(pager);
    assert_int_equal(store->cleared, 0);
    sk_object *object = sk_map(c.kernels[0], name);
    assert_int_equal(get(object, 1), 2);
    assert_int_equal(sk_terminate(object), 0);
    world_settle(&c.world);
    assert_int_equal(store->cleared, 0);
    mach_port_deallocate(mach_task_self(), name);
    await_clear(store);
    cast_close(&c);
}

/* libports' inhibition holds for a pager's messages as well: it waits for the one that is being served, and holds the next one back.  */
static int inhibit_bucket(void *world) { return ports_inhibit_bucket_rpcs(((struct world *) world)->bucket); }
static int inhibit_port(void *world) { return ports_inhibit_port_rpcs(((struct world *) world)->pager); }

static void check_inhibition(int (*inhibit)(void *), int of_port)
{
    struct cast c;
    cast_open(&c, 1, 4, 0);
    store_close_gate(&c.world, CALL_READ);
    ask(c.objects[0], 0, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    struct task task;
    task_begin(&task, inhibit, &c.world);
    assert_true(task_waits(&task));
    store_open_gate(&c.world, CALL_READ);
    assert_int_equal(task_end(&task), 0);
    wait_page(c.objects[0], 0, SK_WANT_READABLE);
    ask(c.objects[0], 1, VM_PROT_READ);
    struct timespec pause = { .tv_nsec = 20000000 };
    nanosleep(&pause, NULL);        /* (A chance for what is wrong to show itself.)  */
    assert_int_equal(store_count(&c.world, CALL_READ), 1);
    if (of_port)
        ports_resume_port_rpcs(c.world.pager);
    else
        ports_resume_bucket_rpcs(c.world.bucket);
    wait_page(c.objects[0], 1, SK_WANT_READABLE);
    cast_close(&c);
}

static void test_inhibited_bucket(void **state)
{
    (void) state;
    check_inhibition(inhibit_bucket, 0);
}

static void test_inhibited_port(void **state)
{
    (void) state;
    check_inhibition(inhibit_port, 1);
}

/* The client for which a page is being read goes; next in the queue is a writer, and one more client has the page for reading: that one
   is to be flushed before the writer gets what was read (R7, R9).  */
static void read_of_the_gone_and_a_writer(int dies)
{
    struct cast c;
    cast_open(&c, 3, 4, 0);
    sk_object *holder = c.objects[0], *gone = c.objects[1], *writer = c.objects[2];
    get(holder, 0);
    store_close_gate(&c.world, CALL_READ);
    ask(gone, 0, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    sk_hold(holder, SK_HOLD_LOCK);
    ask(writer, 0, RW);
    fence_by_refusal(&c, writer);
    if (dies)
        cast_kill(&c, 1);
    else
        assert_int_equal(sk_terminate(gone), 0);
    /* The first place of the queue (docs/design.md, the page word): client 2, for writing.  */
    while ((pager_page_word(c.world.pager, 0) >> 9 & 15) != (1 | 2 << 1 | 8))
        sched_yield();
    store_open_gate(&c.world, CALL_READ);
    held(holder, 1);
    assert_int_equal(state_of(writer, 0), SK_PAGE_REQUESTED);
    sk_release_all(holder);
    wait_page(writer, 0, SK_WANT_WRITABLE);
    assert_int_equal(state_of(holder, 0), SK_PAGE_ABSENT);
    assert_int_equal(access_of(&c, 0, 0), 0);
    cast_close(&c);
}

static void test_read_of_the_dead_and_a_writer(void **state)
{
    (void) state;
    read_of_the_gone_and_a_writer(1);
}

static void test_read_of_the_terminated_and_a_writer(void **state)
{
    (void) state;
    read_of_the_gone_and_a_writer(0);
}

/* "Refused with a logged reason", and each reason once: what comes on standard error.  */
static void test_each_reason_is_logged(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    int saved = dup(STDERR_FILENO), ends[2];
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    for (int i = 0; i < 3; i++) {
        send_raw(c.objects[0], (struct sk_message) { .id = SK_LOCK_COMPLETED, .offset = 0x5000, .length = vm_page_size }, NULL);
        world_settle(&c.world);
        send_raw(c.objects[0], (struct sk_message) { .id = SK_DATA_UNLOCK, .offset = 3, .length = vm_page_size }, NULL);
    }
    world_settle(&c.world);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    char log[4096] = "";
    ssize_t length = read(ends[0], log, sizeof log - 1);
    close(ends[0]);
    assert_true(length > 0);
    assert_string_equal(log, "libpager: refused: lock_completed at 0x5000, length 0x1000, for which nothing was asked\n"
                             "libpager: refused: message with misaligned offset 0x3 or length 0x1000\n");
    assert_int_equal(world_statistics(&c.world).refused, 6);
    cast_close(&c);
}

/* An offered page that the client has, changed or not, stays as it is, and nothing is sent.  */
static void test_offer_leaves_what_is_there(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    vm_address_t data = 0;
    assert_int_equal(vm_allocate(mach_task_self(), &data, vm_page_size, 1), KERN_SUCCESS);
    memset((void *) data, 0xaa, vm_page_size);
    put(c.objects[0], 0, 60);
    get(c.objects[0], 1);
    for (size_t page = 0; page < 2; page++)
        pager_offer_page(c.world.pager, 0, 0, page_offset(page), data);
    assert_int_equal(sk_count(c.objects[0], SK_DATA_SUPPLY), 2);
    assert_int_equal(kernel_byte(c.objects[0], 0), 60);
    assert_int_equal(kernel_byte(c.objects[0], 1), 2);
    assert_int_equal(vm_deallocate(mach_task_self(), data, vm_page_size), KERN_SUCCESS);
    cast_close(&c);
}

/* The error of a refused unlock is the client's own: others read and write, and it reads itself, until it asks to write again.  */
static void test_refused_unlock_is_the_clients_own(void **state)
{
    (void) state;
    for (int kernels = 2; kernels < 7; kernels += 4) {
        struct cast c;
        cast_open(&c, kernels, 4, 0);
        sk_object *a = c.objects[kernels - 1], *b = c.objects[0];
        store_write_lock(&c.world, 1);
        get(a, 0);
        store_fail(&c.world, CALL_UNLOCK, ENOSPC, 1);
        ask_unlock(a, 0);
        wait_page(a, 0, SK_WANT_ABSENT);
        get(b, 0);
        get(a, 0);
        put(b, 0, 65);
        assert_int_equal(get(a, 0), 65);
        assert_int_equal(store_count(&c.world, CALL_UNLOCK), 2);
        /* (Its copy goes as a flush, and its request then gets the error.)  */
        assert_int_equal(kernel_write(a, 0, 66), ENOSPC);
        put(a, 0, 67);
        assert_int_equal(get(b, 0), 67);
        cast_close(&c);
    }
}

/* Pages that are alike share a descriptor, which remembers what becomes of requests as long as some page is in the state that they lead
   to: requests for reading and for writing are to be told apart.  First a page that stays in the midst of being read ...  */
static void test_read_then_write_of_alike_pages(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 6, 4, 0);
    sk_object *holder = c.objects[5], *other = c.objects[4];
    get(holder, 0);
    get(holder, 1);
    world_settle(&c.world);
    assert_int_equal(pager_page_word(c.world.pager, 0), pager_page_word(c.world.pager, page_offset(1)));
    store_close_gate(&c.world, CALL_READ);
    ask(other, 0, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, 1);
    ask(other, 1, RW);
    wait_page(holder, 1, SK_WANT_ABSENT);
    assert_int_equal(state_of(holder, 0), SK_PAGE_PRESENT);
    store_open_gate(&c.world, CALL_READ);
    wait_page(other, 0, SK_WANT_READABLE);
    wait_page(other, 1, SK_WANT_WRITABLE);
    cast_close(&c);
}

/* ... then one that stays in the midst of being flushed.  */
static void test_write_then_read_of_alike_pages(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 6, 4, 0);
    sk_object *holder = c.objects[5], *other = c.objects[4];
    get(holder, 0);
    get(holder, 1);
    world_settle(&c.world);
    assert_int_equal(pager_page_word(c.world.pager, 0), pager_page_word(c.world.pager, page_offset(1)));
    sk_hold(holder, SK_HOLD_LOCK);
    ask(other, 0, RW);
    held(holder, 1);
    ask(other, 1, VM_PROT_READ);
    wait_page(other, 1, SK_WANT_READABLE);
    assert_int_equal(sk_pending(holder), 1);
    sk_release_all(holder);
    wait_page(other, 0, SK_WANT_WRITABLE);
    assert_int_equal(state_of(holder, 1), SK_PAGE_PRESENT);
    cast_close(&c);
}

/* A no-senders notification is under way when a new send right is made: the pager stays, though nothing but that right holds it.  */
static void test_new_right_overtakes_the_notification(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    struct user_pager_info *store = c.world.store;
    struct pager *pager = pager_create(store, c.world.bucket, 0, MEMORY_OBJECT_COPY_DELAY, 0);
    assert_non_null(pager);
    mach_port_t name = ports_get_send_right(pager);
    ports_port_deref(pager);
    assert_int_equal(pager_inhibit_workers(c.world.requests), 0);
    mach_port_deallocate(mach_task_self(), name);
    assert_int_equal(ports_get_send_right(pager), name);
    pager_resume_workers(c.world.requests);
    world_settle(&c.world);
    assert_int_equal(store->cleared, 0);
    sk_object *object = sk_map(c.kernels[0], name);
    assert_int_equal(get(object, 1), 2);
    assert_int_equal(sk_terminate(object), 0);
    mach_port_deallocate(mach_task_self(), name);
    await_clear(store);
    cast_close(&c);
}

/* A kernel whose pages have another size than ours: its init, with a control port that lives.  What comes to that port is returned.  */
static mach_msg_id_t init_with_page_size(struct cast *c, vm_size_t page_size, hostmach_task_t task)
{
    struct { mach_msg_header_t header; char body[256]; } message;
    mach_port_t pager, control, name;
    assert_int_equal(hostmach_copy_send(hostmach_task_main(), c->world.port, task, &pager), 0);
    hostmach_task_t before = hostmach_task_enter(task);
    kern_return_t made = mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &control);
    if (!made)
        made = mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &name);
    if (!made)
        made = memory_object_init(pager, control, name, page_size);
    mach_msg_return_t result = made ? made : mach_msg(&message.header, MACH_RCV_MSG | MACH_RCV_TIMEOUT, 0, sizeof message, control,
                                                      3000, MACH_PORT_NULL);
    hostmach_task_enter(before);
    assert_int_equal(made, KERN_SUCCESS);
    assert_int_equal(result, MACH_MSG_SUCCESS);
    return message.header.msgh_id;
}

/* It is told that it will not be served (a kernel that waits for `ready` would wait for ever) ...  */
static void test_other_page_size_is_turned_away(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    hostmach_task_t task = hostmach_task_create("other page size");
    assert_int_equal(init_with_page_size(&c, 2 * vm_page_size, task), SK_DESTROY);
    assert_int_equal(init_with_page_size(&c, vm_page_size / 2, task), SK_DESTROY);
    assert_int_equal(world_statistics(&c.world).refused, 2);
    assert_int_equal(init_with_page_size(&c, vm_page_size, task), SK_READY);
    hostmach_task_destroy(task);
    cast_close(&c);
}

/* ... and does not count as a client: the one there is goes on being alone.  */
static void test_other_page_size_is_no_client(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    hostmach_task_t task = hostmach_task_create("other page size");
    init_with_page_size(&c, 2 * vm_page_size, task);
    world_settle(&c.world);
    assert_int_equal(world_statistics(&c.world).clients, 1);
    get(c.objects[0], 0);
    assert_int_equal(access_of(&c, 0, 0), 3);
    hostmach_task_destroy(task);
    cast_close(&c);
}

/* More callbacks than there are workers without those that wait: each takes a dirty page of another object back, which is one more
   callback.  */
enum { WAITING = 70 };

static void return_other(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    (void) page;
    if (call == CALL_READ && store->hook_argument)
        pager_return(store->hook_argument, 1);
}

static void test_waiting_for_returns_in_70_callbacks(void **state)
{
    (void) state;
    static struct world worlds[WAITING], others[WAITING];
    static sk_object *objects[WAITING];
    struct cast c;
    cast_open(&c, 1, 4, 0);
    for (int i = 0; i < WAITING; i++) {
        world_join(&others[i], &c.world, 2, 0);
        world_join(&worlds[i], &c.world, 2, 0);
        put(sk_map(c.kernels[0], others[i].port), 1, (unsigned char) (100 + i));
        objects[i] = sk_map(c.kernels[0], worlds[i].port);
        worlds[i].store->hook = return_other;
        worlds[i].store->hook_argument = others[i].pager;
        store_close_gate(&worlds[i], CALL_READ);
    }
    for (int i = 0; i < WAITING; i++)
        ask(objects[i], 0, VM_PROT_READ);
    /* All workers but the one that receives stand at the gates.  */
    for (int waiting = 0; waiting < 63; sched_yield()) {
        waiting = 0;
        for (int i = 0; i < WAITING; i++) {
            pthread_mutex_lock(&worlds[i].store->lock);
            waiting += worlds[i].store->waiting[CALL_READ];
            pthread_mutex_unlock(&worlds[i].store->lock);
        }
    }
    for (int i = 0; i < WAITING; i++)
        store_open_gate(&worlds[i], CALL_READ);
    for (int i = 0; i < WAITING; i++) {
        wait_page(objects[i], 0, SK_WANT_READABLE);
        assert_int_equal(store_byte(&others[i], 1), 100 + i);
    }
    cast_kill(&c, 0);
    for (int i = WAITING; i-- > 0; ) {
        world_close(&worlds[i]);
        world_close(&others[i]);
    }
    cast_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_of_the_dead_and_a_writer),
        cmocka_unit_test(test_read_of_the_terminated_and_a_writer),
        cmocka_unit_test(test_each_reason_is_logged),
        cmocka_unit_test(test_offer_leaves_what_is_there),
        cmocka_unit_test(test_refused_unlock_is_the_clients_own),
        cmocka_unit_test(test_read_then_write_of_alike_pages),
        cmocka_unit_test(test_write_then_read_of_alike_pages),
        cmocka_unit_test(test_new_right_overtakes_the_notification),
        cmocka_unit_test(test_other_page_size_is_turned_away),
        cmocka_unit_test(test_other_page_size_is_no_client),
        cmocka_unit_test(test_waiting_for_returns_in_70_callbacks),
        cmocka_unit_test(test_port_from_get_port_keeps_the_pager),
        cmocka_unit_test(test_inhibited_bucket),
        cmocka_unit_test(test_inhibited_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
