/* Control ports that get another name of ours (Sources/Pager/Service/ClientBegin.swift): what was received under the former one, and renamings that
   fail.  */

#include <stdatomic.h>
#include <stdbool.h>

#include <mach/notify.h>

#include "engine.h"
#include "raw.h"

/* The next client is to be renamed, and is not yet: waits until another message has been received, whose thread waits for its turn.  */
static atomic_bool holds_renaming;
static mach_port_t former_name;
static atomic_int renaming;
enum { IDLE, HELD, RECEIVED };

static void go_to(int state) { atomic_store(&renaming, state); }

static void wait_until(int state)
{
    while (atomic_load(&renaming) < state && !each_over())
        sched_yield();
    /* (A case that is over stops here; a thread of the library's goes on.)  */
    each_point();
}

/* (Only a turn is waited for so long.)  */
int __real_platform_condition_wait(platform_condition_t *condition, platform_mutex_t *mutex, long milliseconds);
int __wrap_platform_condition_wait(platform_condition_t *condition, platform_mutex_t *mutex, long milliseconds);
int __wrap_platform_condition_wait(platform_condition_t *condition, platform_mutex_t *mutex, long milliseconds)
{
    if (milliseconds == 100 && atomic_load(&renaming) == HELD)
        go_to(RECEIVED);
    return __real_platform_condition_wait(condition, mutex, milliseconds);
}

int __real_pager_is_ours_alone(mach_port_t name);
int __wrap_pager_is_ours_alone(mach_port_t name);
int __wrap_pager_is_ours_alone(mach_port_t name)
{
    int result = __real_pager_is_ours_alone(name);
    if (!each_over() && atomic_exchange(&holds_renaming, false)) {
        former_name = name;
        go_to(HELD);
        wait_until(RECEIVED);
    }
    return result;
}

static bool is_refused(void *cast) { return world_statistics(&((struct cast *) cast)->world).refused > 0; }

/* A client says init twice, and the second is received right before the first has the client's port renamed: the port keeps its name, and the
   reference that came with it goes.  */
static void test_second_init_under_the_former_name(void **state)
{
    (void) state;
    for (int size = 0; size < 2; size++) {
        struct cast c;
        struct raw raw;
        cast_open(&c, 0, 4, 0);
        atomic_store(&holds_renaming, true);
        raw_open(&raw, &c.world, 1, 0);
        wait_until(HELD);
        hostmach_task_t before = hostmach_task_enter(raw.task);
        assert_int_equal(memory_object_init(raw.pager, raw.control, raw.name, size ? vm_page_size : 17), 0);
        hostmach_task_enter(before);
        raw_wait_for(&raw, SK_READY);
        wait_for(is_refused, &c);
        go_to(IDLE);
        raw_close(&raw);
        wait_clients(&c, 0);
        /* (This looks for rights that are left.)  */
        cast_close(&c);
    }
}

/* A message with two send rights of the control port, out of line or as a right to reply to, and an id that nobody knows.  */
static void send_unknown(struct raw *raw, int out_of_line)
{
    const mach_port_t ports[2] = { raw->control, raw->control };
    const vm_address_t address = (vm_address_t) ports;
    const mach_msg_type_t type = { .msgt_name = MACH_MSG_TYPE_MAKE_SEND, .msgt_size = 32, .msgt_number = 2 };
    struct { mach_msg_header_t head; char body[sizeof type + sizeof address]; } message = {
        .head = {
            .msgh_bits = out_of_line ? MACH_MSGH_BITS(MACH_MSG_TYPE_COPY_SEND, 0) | MACH_MSGH_BITS_COMPLEX
                : MACH_MSGH_BITS(MACH_MSG_TYPE_COPY_SEND, MACH_MSG_TYPE_MAKE_SEND),
            .msgh_size = sizeof message.head + (out_of_line ? sizeof message.body : 0),
            .msgh_remote_port = raw->pager,
            .msgh_local_port = out_of_line ? MACH_PORT_NULL : raw->control,
            .msgh_id = 99999,
        },
    };
    memcpy(message.body, &type, sizeof type);
    memcpy(message.body + sizeof type, &address, sizeof address);
    assert_int_equal(mach_msg(&message.head, MACH_SEND_MSG, message.head.msgh_size, 0, MACH_PORT_NULL, 0, MACH_PORT_NULL), 0);
}

/* The same with messages that are refused for what they are, not for whose they are: what they carry is released.  */
static void test_refused_message_under_the_former_name(void **state)
{
    (void) state;
    for (int kind = 0; kind < 3; kind++) {
        struct cast c;
        struct raw raw;
        cast_open(&c, 0, 4, 0);
        atomic_store(&holds_renaming, true);
        raw_open(&raw, &c.world, 1, 0);
        wait_until(HELD);
        hostmach_task_t before = hostmach_task_enter(raw.task);
        if (kind == 0) {
            mach_port_t copy;
            assert_int_equal(mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &copy), 0);
            assert_int_equal(memory_object_copy(raw.pager, raw.control, 0, vm_page_size, copy), 0);
        } else {
            send_unknown(&raw, kind == 1);
        }
        hostmach_task_enter(before);
        raw_wait_for(&raw, SK_READY);
        wait_for(is_refused, &c);
        go_to(IDLE);
        raw_close(&raw);
        wait_clients(&c, 0);
        /* (This looks for rights that are left.)  */
        cast_close(&c);
    }
}

/* The name that the next client's port has at first: somebody else takes it as soon as it is free.  */
static atomic_bool takes_freed;
static mach_port_t taken;

static void take_freed(mach_port_t name)
{
    if (name == former_name && atomic_exchange(&takes_freed, false)
        && mach_port_allocate_name(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, name) == 0)
        taken = name;
}

kern_return_t __real_mach_port_rename(mach_port_t task, mach_port_t name, mach_port_t wanted);
kern_return_t __wrap_mach_port_rename(mach_port_t task, mach_port_t name, mach_port_t wanted);
kern_return_t __wrap_mach_port_rename(mach_port_t task, mach_port_t name, mach_port_t wanted)
{
    kern_return_t result = __real_mach_port_rename(task, name, wanted);
    take_freed(name);
    return result;
}

/* What becomes of the next renaming: 1: the new name is taken at the last moment; 2: and then there is no memory for another one; 3: the port has died.  */
static atomic_int fails_renaming;
static hostmach_task_t dies;

kern_return_t __real_mach_port_insert_right(mach_port_t task, mach_port_t name, mach_port_t right, mach_msg_type_name_t type);
kern_return_t __wrap_mach_port_insert_right(mach_port_t task, mach_port_t name, mach_port_t right, mach_msg_type_name_t type);
kern_return_t __wrap_mach_port_insert_right(mach_port_t task, mach_port_t name, mach_port_t right, mach_msg_type_name_t type)
{
    int how = type == MACH_MSG_TYPE_MOVE_SEND && !each_over() ? atomic_exchange(&fails_renaming, 0) : 0;
    bool takes = (how == 1 || how == 2) && mach_port_allocate_name(task, MACH_PORT_RIGHT_DEAD_NAME, name) == 0;
    if (how == 3)
        hostmach_task_destroy(dies);
    kern_return_t result = __real_mach_port_insert_right(task, name, right, type);
    if (takes)
        mach_port_deallocate(task, name);
    if (how == 2)
        hostmach_fail_memory(0, 1);
    take_freed(right);
    return result;
}

/* A client asks before it was told `ready'. Its request was received right before its port gets another name, and the name that it had is another right's at
   once: the request is its own all the same, it is answered, and what came with it is released.  */
static void test_request_under_a_name_that_is_given_again(void **state)
{
    (void) state;
    struct cast c;
    struct raw raw;
    cast_open(&c, 0, 4, 0);
    taken = MACH_PORT_NULL;
    atomic_store(&holds_renaming, true);
    atomic_store(&takes_freed, true);
    raw_open(&raw, &c.world, 1, 0);
    wait_until(HELD);
    raw_request(&raw, 0, VM_PROT_READ);
    raw_wait_for(&raw, SK_DATA_SUPPLY);
    go_to(IDLE);
    atomic_store(&takes_freed, false);
    assert_int_equal(world_statistics(&c.world).refused, 0);
    raw_close(&raw);
    wait_clients(&c, 0);
    if (taken != MACH_PORT_NULL)
        assert_int_equal(mach_port_mod_refs(mach_task_self(), taken, MACH_PORT_RIGHT_RECEIVE, -1), 0);
    /* (This looks for rights that are left.)  */
    cast_close(&c);
}

/* The new name cannot be had, and by then the old one has been given up: the client is served under a third.  */
static void test_new_name_is_taken_at_the_last_moment(void **state)
{
    (void) state;
    struct cast c;
    struct raw raw;
    cast_open(&c, 0, 4, 0);
    atomic_store(&fails_renaming, 1);
    raw_open(&raw, &c.world, 1, 0);
    raw_wait_for(&raw, SK_READY);
    assert_int_equal(atomic_load(&fails_renaming), 0);
    raw_request(&raw, 0, VM_PROT_READ);
    raw_wait_for(&raw, SK_DATA_SUPPLY);
    raw_close(&raw);
    wait_clients(&c, 0);
    cast_close(&c);
}

/* There is no memory for a third, or the port dies just then: it is no client, nothing of it is left, and the
   next one is served.  */
static void test_client_that_is_lost_in_the_renaming(void **state)
{
    (void) state;
    for (int how = 2; how <= 3; how++) {
        struct cast c;
        struct raw raw, next;
        cast_open(&c, 0, 4, 0);
        atomic_store(&holds_renaming, true);
        atomic_store(&fails_renaming, how);
        raw_open(&raw, &c.world, 1, 0);
        wait_until(HELD);
        dies = raw.task;
        go_to(RECEIVED);
        wait_for(is_refused, &c);
        go_to(IDLE);
        assert_int_equal(hostmach_fail_memory(0, 0), 0);
        assert_int_equal(world_statistics(&c.world).clients, 0);
        if (how == 2)
            raw_close(&raw);
        raw_open(&next, &c.world, 1, 0);
        raw_wait_for(&next, SK_READY);
        raw_close(&next);
        wait_clients(&c, 0);
        cast_close(&c);
    }
}

/* Somebody says that the port has died, by the name that it had. It is not the client that has died.  */
static void test_death_under_the_former_name(void **state)
{
    (void) state;
    struct cast c;
    struct raw raw;
    cast_open(&c, 0, 4, 0);
    atomic_store(&holds_renaming, true);
    raw_open(&raw, &c.world, 1, 0);
    wait_until(HELD);
    mach_dead_name_notification_t message = {
        .not_header = {
            .msgh_bits = MACH_MSGH_BITS(MACH_MSG_TYPE_COPY_SEND, 0), .msgh_size = sizeof message, .msgh_remote_port = raw.pager,
            .msgh_id = MACH_NOTIFY_DEAD_NAME,
        },
        .not_type = { .msgt_name = MACH_MSG_TYPE_PORT_NAME, .msgt_size = 32, .msgt_number = 1, .msgt_inline = 1 },
        .not_port = former_name,
    };
    hostmach_task_t before = hostmach_task_enter(raw.task);
    assert_int_equal(mach_msg(&message.not_header, MACH_SEND_MSG, sizeof message, 0, MACH_PORT_NULL, 0, MACH_PORT_NULL), 0);
    hostmach_task_enter(before);
    raw_wait_for(&raw, SK_READY);
    go_to(IDLE);
    world_settle(&c.world);
    assert_int_equal(world_statistics(&c.world).clients, 1);
    assert_int_equal(world_statistics(&c.world).refused, 1);
    raw_close(&raw);
    wait_clients(&c, 0);
    cast_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_init_under_the_former_name),
        cmocka_unit_test(test_refused_message_under_the_former_name),
        cmocka_unit_test(test_request_under_a_name_that_is_given_again),
        cmocka_unit_test(test_new_name_is_taken_at_the_last_moment),
        cmocka_unit_test(test_client_that_is_lost_in_the_renaming),
        cmocka_unit_test(test_death_under_the_former_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
