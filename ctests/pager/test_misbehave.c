/* Rule 5: a client that dies, terminates or misbehaves never stops the others and never corrupts a page.  */

#include "raw.h"

/* ---- Going away, in every role ---- */

/* (Those that need no message held back are in ../both/test_misbehave.c.)  */
enum role { WAITING_READER, WAITING_WRITER, FLUSHED, DOWNGRADED, ROLES };

/* Client V gets into its role with page 0; B is the client that it has to do with.  */
static void take_role(sk_object *v, sk_object *b, enum role role)
{
    switch (role) {
    case WAITING_READER:
    case WAITING_WRITER:
        put(b, 0, 50);
        sk_hold(b, SK_HOLD_LOCK);
        ask(v, 0, role == WAITING_READER ? VM_PROT_READ : RW);
        held(b, 1);
        break;
    case FLUSHED:
    case DOWNGRADED:
        put(v, 0, 77);
        sk_hold(v, SK_HOLD_LOCK);
        ask(b, 0, role == FLUSHED ? RW : VM_PROT_READ);
        held(v, 1);
        break;
    case ROLES:
        break;
    }
}

/* What the page has after V has gone.  */
static unsigned char left_behind(enum role role, int dies)
{
    return role == WAITING_READER || role == WAITING_WRITER ? 50 : dies ? 1 : 77;
}

static void go_away(int kernels, int dies, int notify)
{
    for (enum role role = 0; role < ROLES; role++) {
        struct cast c;
        cast_open(&c, kernels, 4, notify);
        int victim = kernels - 1;
        sk_object *v = c.objects[victim], *b = c.objects[kernels - 2];
        take_role(v, b, role);
        if (dies)
            cast_kill(&c, victim);
        else
            assert_int_equal(sk_terminate(v), 0);
        wait_clients(&c, (unsigned) kernels - 1);
        sk_release_all(b);
        unsigned char expected = left_behind(role, dies);
        if (role == FLUSHED || role == DOWNGRADED) {
            wait_page(b, 0, role == FLUSHED ? SK_WANT_WRITABLE : SK_WANT_READABLE);
            assert_int_equal(kernel_byte(b, 0), expected);
        }
        assert_int_equal(get(b, 0), expected);
        put(b, 0, 90);
        for (int i = 0; i < victim; i++)
            assert_int_equal(get(c.objects[i], 0), 90);
        /* Nobody has a trace of it; its number may come again.  */
        world_settle(&c.world);
        assert_int_equal(access_of(&c, 0, (unsigned) victim), -1);
        sk_object *next = cast_join(&c);
        assert_int_equal(get(next, 0), 90);
        put(next, 0, 91);
        pager_return(c.world.pager, 1);
        world_settle(&c.world);
        assert_int_equal(store_byte(&c.world, 0), 91);
        assert_at_rest(&c);
        assert_int_equal(world_statistics(&c.world).descriptors, 0);
        cast_close(&c);
    }
}

/* A client's dead name, in every role that it may have with a page.  */
static void test_client_dies_in_every_held_role(void **state)
{
    (void) state;
    go_away(2, 1, 0);
    go_away(2, 1, 1);
}

/* The same for a client whose pages need descriptors.  */
static void test_client_beyond_the_fourth_dies_in_every_held_role(void **state)
{
    (void) state;
    go_away(6, 1, 0);
    go_away(6, 1, 1);
}

/* A client's terminate, in every role: what was dirty is not lost.  */
static void test_client_terminates_in_every_held_role(void **state)
{
    (void) state;
    go_away(2, 0, 0);
    go_away(2, 0, 1);
}

/* The same for a client whose pages need descriptors.  */
static void test_client_beyond_the_fourth_terminates_in_every_held_role(void **state)
{
    (void) state;
    go_away(6, 0, 0);
    go_away(6, 0, 1);
}

/* All die at once, with everything under way: what comes after finds the store's data.  */
static void test_all_clients_die_at_once(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 6, 8, 1);
    for (size_t page = 0; page < 8; page++)
        put(c.objects[page % 6], page, 99);
    pager_sync(c.world.pager, 1);
    for (size_t page = 0; page < 8; page++)
        put(c.objects[page % 6], page, 100);
    for (int i = 0; i < 6; i++)
        sk_hold(c.objects[i], SK_HOLD_LOCK);
    for (size_t page = 0; page < 8; page++)
        for (size_t i = 1; i < 4; i++)
            ask(c.objects[(page + i) % 6], page, i & 1 ? RW : VM_PROT_READ);
    for (int i = 0; i < 6; i++)
        cast_kill(&c, i);
    wait_clients(&c, 0);
    world_settle(&c.world);
    assert_at_rest(&c);
    sk_object *next = cast_join(&c);
    for (size_t page = 0; page < 8; page++)
        assert_int_equal(get(next, page), 99);
    cast_close(&c);
}

/* ---- Hostile messages ---- */

enum { PAGE_A_READS, PAGE_A_WRITES, PAGE_B_WRITES, PAGE_BOTH_READ, PAGE_FREE, PAGES };

struct hostile {
    const char *what;
    struct sk_message message;  /* offset: a page's number; odd bytes are added from `more` */
    vm_offset_t more;           /* added to the offset */
    unsigned flags;
    unsigned refusals;
};

/* Each hostile message is refused, with a reason, and counted; no page and no client is the worse for it.  */
static void test_hostile_messages_are_refused(void **state)
{
    (void) state;
    vm_size_t page = vm_page_size;
    const struct hostile messages[] = {
        { "request, unknown control", { .id = SK_DATA_REQUEST, .offset = PAGE_B_WRITES, .length = page, .access = RW }, 0,
          SK_RAW_FOREIGN_CONTROL, 1 },
        { "unlock, unknown control", { .id = SK_DATA_UNLOCK, .offset = PAGE_BOTH_READ, .length = page, .access = RW }, 0,
          SK_RAW_FOREIGN_CONTROL, 1 },
        { "return, unknown control", { .id = SK_DATA_RETURN, .offset = PAGE_B_WRITES, .length = page, .dirty = 1 }, 0,
          SK_RAW_FOREIGN_CONTROL, 1 },
        { "lock_completed, unknown control", { .id = SK_LOCK_COMPLETED, .offset = 0, .length = page }, 0,
          SK_RAW_FOREIGN_CONTROL, 1 },
        { "terminate, unknown control", { .id = SK_TERMINATE }, 0, SK_RAW_FOREIGN_CONTROL, 1 },
        { "second init", { .id = SK_INIT, .length = page }, 0, 0, 1 },
        { "init with another page size", { .id = SK_INIT, .length = 2 * page }, 0, SK_RAW_FOREIGN_CONTROL, 1 },
        { "stray lock_completed", { .id = SK_LOCK_COMPLETED, .offset = PAGE_A_WRITES, .length = page }, 0, 0, 1 },
        { "stray lock_completed of another's page", { .id = SK_LOCK_COMPLETED, .offset = PAGE_B_WRITES, .length = page }, 0, 0, 1 },
        { "stray change_completed", { .id = SK_CHANGE_COMPLETED, .may_cache = 1 }, 0, 0, 1 },
        { "stray supply_completed", { .id = SK_SUPPLY_COMPLETED, .offset = PAGE_A_READS, .length = page }, 0, 0, 1 },
        { "unlock of another's page", { .id = SK_DATA_UNLOCK, .offset = PAGE_B_WRITES, .length = page, .access = RW }, 0, 0, 1 },
        { "unlock of a free page", { .id = SK_DATA_UNLOCK, .offset = PAGE_FREE, .length = page, .access = RW }, 0, 0, 1 },
        { "unlock far away", { .id = SK_DATA_UNLOCK, .offset = 1ul << 40, .length = page, .access = RW }, 0, 0, 1 },
        { "return of another's page", { .id = SK_DATA_RETURN, .offset = PAGE_B_WRITES, .length = page, .dirty = 1 }, 0, 0, 1 },
        { "return of a free page", { .id = SK_DATA_RETURN, .offset = PAGE_FREE, .length = page, .dirty = 1 }, 0, 0, 1 },
        { "return of a free page, kept", { .id = SK_DATA_RETURN, .offset = PAGE_FREE, .length = page, .dirty = 1, .kernel_copy = 1 },
          0, 0, 1 },
        { "clean return of another's page", { .id = SK_DATA_RETURN, .offset = PAGE_B_WRITES, .length = page }, 0, 0, 1 },
        { "dirty return from a reader", { .id = SK_DATA_RETURN, .offset = PAGE_BOTH_READ, .length = page, .dirty = 1, .kernel_copy = 1 },
          0, 0, 1 },
        { "returns of pages not held", { .id = SK_DATA_RETURN, .offset = PAGE_FREE, .length = 3 * page, .dirty = 1 }, 0, 0, 3 },
        { "misaligned unlock", { .id = SK_DATA_UNLOCK, .offset = PAGE_A_READS, .length = page, .access = RW }, 8, 0, 1 },
        { "misaligned return", { .id = SK_DATA_RETURN, .offset = PAGE_A_WRITES, .length = page, .dirty = 1 }, 512, 0, 1 },
        { "return of half a page", { .id = SK_DATA_RETURN, .offset = PAGE_A_WRITES, .length = page / 2, .dirty = 1 }, 0, 0, 1 },
        { "return of a page and a byte", { .id = SK_DATA_RETURN, .offset = PAGE_A_WRITES, .length = page + 1, .dirty = 1 }, 0, 0, 1 },
        { "return of nothing", { .id = SK_DATA_RETURN, .offset = PAGE_A_WRITES, .length = 0, .dirty = 1 }, 0, 0, 1 },
        { "unlock of no length", { .id = SK_DATA_UNLOCK, .offset = PAGE_A_READS, .length = 0, .access = RW }, 0, 0, 1 },
        { "unlock of odd length", { .id = SK_DATA_UNLOCK, .offset = PAGE_A_READS, .length = 100, .access = RW }, 0, 0, 1 },
        { "unlock of everything", { .id = SK_DATA_UNLOCK, .offset = PAGE_A_READS, .length = 1ul << 62, .access = RW }, 0, 0, 1 },
        { "unlock beyond the end", { .id = SK_DATA_UNLOCK, .offset = 2, .length = -page, .access = RW }, 0, 0, 1 },
        { "misaligned request", { .id = SK_DATA_REQUEST, .offset = PAGE_FREE, .length = page, .access = RW }, 8, 0, 1 },
        { "request of half a page", { .id = SK_DATA_REQUEST, .offset = PAGE_FREE, .length = page / 2, .access = RW }, 0, 0, 1 },
        { "request of too much", { .id = SK_DATA_REQUEST, .offset = PAGE_FREE, .length = 5000 * page, .access = RW }, 0, 0, 1 },
    };
    struct cast c;
    cast_open(&c, 2, PAGES, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    get(a, PAGE_A_READS);
    get(b, PAGE_BOTH_READ);
    get(a, PAGE_BOTH_READ);
    put(a, PAGE_A_WRITES, 30);
    put(b, PAGE_B_WRITES, 31);
    unsigned char garbage[4 * vm_page_size];
    memset(garbage, 0xee, sizeof garbage);
    world_settle(&c.world);
    unsigned refused = (unsigned) world_statistics(&c.world).refused;
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        struct sk_message message = messages[i].message;
        message.offset = message.offset * page + messages[i].more;
        assert_int_equal(sk_send_raw(a, &message, garbage, messages[i].flags), 0);
        world_settle(&c.world);
        refused += messages[i].refusals;
        unsigned now = (unsigned) world_statistics(&c.world).refused;
        if (now != refused)
            fail_msg("%s: %u refused, not %u", messages[i].what, now, refused);
        if (access_of(&c, PAGE_A_READS, 0) != 1 || access_of(&c, PAGE_A_WRITES, 0) != 3 || access_of(&c, PAGE_B_WRITES, 0) != 0
            || access_of(&c, PAGE_B_WRITES, 1) != 3 || access_of(&c, PAGE_BOTH_READ, 0) != 1 || access_of(&c, PAGE_BOTH_READ, 1) != 1
            || access_of(&c, PAGE_FREE, 0) != 0 || world_statistics(&c.world).clients != 2)
            fail_msg("%s: changed an access", messages[i].what);
        if (store_count(&c.world, CALL_WRITE) || store_count(&c.world, CALL_WRITES))
            fail_msg("%s: wrote to the store", messages[i].what);
    }
    /* All goes on, with the right data.  */
    assert_int_equal(get(b, PAGE_A_WRITES), 30);
    assert_int_equal(get(a, PAGE_B_WRITES), 31);
    assert_int_equal(get(b, PAGE_A_READS), PAGE_A_READS + 1);
    put(b, PAGE_BOTH_READ, 32);
    assert_int_equal(get(a, PAGE_BOTH_READ), 32);
    put(b, PAGE_FREE, 33);
    assert_int_equal(get(a, PAGE_FREE), 33);
    pager_return(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, PAGE_A_READS), PAGE_A_READS + 1);
    assert_int_equal(store_byte(&c.world, PAGE_A_WRITES), 30);
    assert_int_equal(store_byte(&c.world, PAGE_B_WRITES), 31);
    assert_int_equal(store_byte(&c.world, PAGE_BOTH_READ), 32);
    assert_int_equal(store_byte(&c.world, PAGE_FREE), 33);
    cast_close(&c);
}

/* A reader that claims to give back a changed page loses its copy, nobody else's data change.  */
static void test_dirty_return_from_a_reader_that_keeps_nothing(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 4, 0);
    sk_object *a = c.objects[0], *b = c.objects[1];
    get(a, 0);
    get(b, 0);
    unsigned char garbage[vm_page_size];
    memset(garbage, 0xee, sizeof garbage);
    struct sk_message message = { .id = SK_DATA_RETURN, .offset = 0, .length = vm_page_size, .dirty = 1 };
    assert_int_equal(sk_send_raw(a, &message, garbage, 0), 0);
    world_settle(&c.world);
    assert_int_equal(world_statistics(&c.world).refused, 1);
    assert_int_equal(access_of(&c, 0, 0), 0);
    assert_int_equal(access_of(&c, 0, 1), 1);
    assert_int_equal(store_count(&c.world, CALL_WRITE), 0);
    assert_int_equal(kernel_byte(b, 0), 1);
    put(b, 0, 34);
    pager_return(c.world.pager, 1);
    assert_int_equal(store_byte(&c.world, 0), 34);
    cast_close(&c);
}

/* Hostile messages in great number, from a thread of their own: another client's work goes on, and is right.  */
struct flood { struct cast *cast; sk_object *object; int stop; };
static int flood(void *argument)
{
    struct flood *flood = argument;
    unsigned char garbage[vm_page_size];
    memset(garbage, 0xee, sizeof garbage);
    unsigned random = 1, sent = 0;
    while (!__atomic_load_n(&flood->stop, __ATOMIC_RELAXED)) {
        static const mach_msg_id_t ids[] = { SK_DATA_UNLOCK, SK_DATA_RETURN, SK_LOCK_COMPLETED, SK_SUPPLY_COMPLETED, SK_CHANGE_COMPLETED,
                                             SK_DATA_RETURN };
        random = random * 1103515245 + 12345;
        struct sk_message message = { .id = ids[random / 65536 % 6], .offset = page_offset(random / 1024 % 4), .length = vm_page_size,
                                      .access = RW, .dirty = random >> 30 & 1, .kernel_copy = random >> 29 & 1 };
        if (sk_send_raw(flood->object, &message, garbage, 0) != 0)
            return 1;
        /* Queues have no limit here: the others must get a place in it.  */
        sent++;
        while (sent > world_statistics(&flood->cast->world).refused + 64 && !__atomic_load_n(&flood->stop, __ATOMIC_RELAXED))
            sched_yield();
    }
    return 0;
}
static void test_flood_of_hostile_messages(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 3, 4, 0);
    sk_object *b = c.objects[1], *d = c.objects[2];
    struct flood hostile = { &c, c.objects[0], 0 };
    struct task task;
    task_begin(&task, flood, &hostile);
    for (int i = 0; i < 300; i++) {
        size_t page = (size_t) i % 4;
        put(b, page, (unsigned char) i);
        assert_int_equal(get(d, page), (unsigned char) i);
        put(d, page, (unsigned char) (i + 1));
        assert_int_equal(get(b, page), (unsigned char) (i + 1));
    }
    __atomic_store_n(&hostile.stop, 1, __ATOMIC_RELAXED);
    assert_int_equal(task_end(&task), 0);
    pager_return(c.world.pager, 1);
    for (size_t page = 0; page < 4; page++)
        assert_int_equal(store_byte(&c.world, page), (unsigned char) (296 + page + 1));
    assert_true(world_statistics(&c.world).refused > 0);
    cast_close(&c);
}

/* A message without a control port is nobody's, also while names from before a renaming are still honoured: A's is not any more, B's is.  */
static void test_messages_without_a_control_port(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 4, 4, 1);
    assert_int_equal(kernel_write(c.objects[0], 1, 50), 0);
    unsigned long long refused = world_statistics(&c.world).refused;
    struct raw liar = { .task = hostmach_task_create("liar") };
    assert_int_equal(hostmach_copy_send(hostmach_task_main(), c.world.port, liar.task, &liar.pager), 0);
    raw_request(&liar, 0, RW);
    raw_unlock(&liar, 1);
    raw_return(&liar, 1, 77, TRUE);
    hostmach_task_t before = hostmach_task_enter(liar.task);
    assert_int_equal(memory_object_lock_completed(liar.pager, MACH_MSG_TYPE_COPY_SEND, MACH_PORT_NULL, 0, vm_page_size), 0);
    assert_int_equal(mach_port_mod_refs(mach_task_self(), liar.pager, MACH_PORT_RIGHT_SEND, 1), 0);
    assert_int_equal(memory_object_terminate(liar.pager, MACH_PORT_NULL, MACH_PORT_NULL), 0);
    hostmach_task_enter(before);
    world_settle(&c.world);
    assert_int_equal(world_statistics(&c.world).refused, refused + 5);
    assert_int_equal(world_statistics(&c.world).clients, 4);
    assert_int_equal(store_count(&c.world, CALL_EVICT), 0);
    assert_int_equal(pager_page_access(c.world.pager, page_offset(1), 0), 3);
    /* A is served as ever.  */
    unsigned char byte;
    assert_int_equal(kernel_read(c.objects[1], 1, &byte), 0);
    assert_int_equal(byte, 50);
    hostmach_task_destroy(liar.task);
    cast_close(&c);
}

/* Who dies when a message to it has found the queue full, before it is tried again and waits.  */
static struct raw *dies_in_between;

void __real_pager_about_to_wait(void);
void __wrap_pager_about_to_wait(void);
void __wrap_pager_about_to_wait(void)
{
    struct raw *raw = dies_in_between;
    dies_in_between = NULL;
    if (raw)
        raw_close(raw);
    __real_pager_about_to_wait();
}

/* A client with a full queue dies before a message that found it full is sent again: what the message carried came back from the first
   try under other names, and must not be left.  */
static void test_death_between_two_tries(void **state)
{
    (void) state;
    for (int changes = 0; changes < 2; changes++) {
        struct cast c;
        cast_open(&c, 1, 4, 0);
        struct raw client;
        raw_open(&client, &c.world, 0, 0);
        hostmach_task_t before = hostmach_task_enter(client.task);
        assert_int_equal(mach_port_set_qlimit(mach_task_self(), client.control, 1), 0);
        hostmach_task_enter(before);
        /* memory_object_ready fills the queue.  */
        wait_clients(&c, 2);
        world_settle(&c.world);
        dies_in_between = &client;
        if (changes)
            pager_change_attributes(c.world.pager, 1, MEMORY_OBJECT_COPY_NONE, 1);
        else
            raw_request(&client, 0, RW);
        wait_clients(&c, 1);
        assert_int_equal(kernel_write(c.objects[0], 0, 50), 0);
        /* (This looks for rights and memory that are left.)  */
        cast_close(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_dies_in_every_held_role),
        cmocka_unit_test(test_client_beyond_the_fourth_dies_in_every_held_role),
        cmocka_unit_test(test_client_terminates_in_every_held_role),
        cmocka_unit_test(test_client_beyond_the_fourth_terminates_in_every_held_role),
        cmocka_unit_test(test_all_clients_die_at_once),
        cmocka_unit_test(test_hostile_messages_are_refused),
        cmocka_unit_test(test_dirty_return_from_a_reader_that_keeps_nothing),
        cmocka_unit_test(test_flood_of_hostile_messages),
        cmocka_unit_test(test_messages_without_a_control_port),
        cmocka_unit_test(test_death_between_two_tries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
