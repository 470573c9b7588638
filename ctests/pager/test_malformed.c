/* Messages that no kernel sends, by mach_msg straight to the pager's port: unknown ids, bodies that are cut, changed or too
   large, rights and memory that nobody asked for, notifications that nobody gave.  Each is refused and counted, what it carried
   is released, and the messages behind it are served.  */

#include <limits.h>

#include <mach/memory_object_user.h>
#include <mach/notify.h>

#include "platform.h"
#include "store.h"

/* A task that has a send right to the pager, and a proper client, who must not notice.  */
struct fixture {
    struct world world;
    sk_kernel *kernel;
    sk_object *object;
    hostmach_task_t task;
    mach_port_t port;               /* in TASK */
    size_t ports, bytes, rights, task_rights;
};

static uint64_t refused(struct fixture *f) { return world_statistics(&f->world).refused; }

static void note(struct fixture *f)
{
    world_settle(&f->world);
    f->ports = hostmach_port_count();
    f->bytes = hostmach_vm_bytes();
    f->rights = hostmach_list_rights(hostmach_task_main(), NULL, 0);
    f->task_rights = hostmach_list_rights(f->task, NULL, 0);
}

static void fixture_open(struct fixture *f)
{
    world_open(&f->world, 8, 0);
    f->kernel = sk_kernel_create("A");
    f->object = sk_map(f->kernel, f->world.port);
    assert_int_equal(kernel_write(f->object, 0, 77), 0);
    f->task = hostmach_task_create("hostile");
    assert_non_null(f->task);
    assert_int_equal(hostmach_copy_send(hostmach_task_main(), f->world.port, f->task, &f->port), 0);
    note(f);
}

/* All that was sent is gone without a trace, the client has what it had and gets more.  */
static void check_nothing_left(struct fixture *f)
{
    world_settle(&f->world);
    assert_int_equal(hostmach_port_count(), f->ports);
    assert_int_equal(hostmach_vm_bytes(), f->bytes);
    assert_int_equal(hostmach_list_rights(hostmach_task_main(), NULL, 0), f->rights);
    assert_int_equal(hostmach_list_rights(f->task, NULL, 0), f->task_rights);
    assert_int_equal(hostmach_message_count(), 0);
    assert_int_equal(world_statistics(&f->world).clients, 1);
    assert_int_equal(kernel_byte(f->object, 0), 77);
    unsigned char byte;
    assert_int_equal(kernel_read(f->object, 3, &byte), 0);
    assert_int_equal(byte, 4);
    assert_int_equal(sk_evict(f->object, page_offset(3)), 0);
}

static void fixture_close(struct fixture *f)
{
    check_nothing_left(f);
    pager_return(f->world.pager, 1);
    assert_int_equal(store_byte(&f->world, 0), 77);
    hostmach_task_destroy(f->task);
    sk_kernel_destroy(f->kernel);
    world_close(&f->world);
}

/* The message of SIZE bytes, whose body is filled in, with this id.  */
static mach_msg_return_t post(struct fixture *f, void *message, size_t size, mach_msg_id_t id, mach_msg_bits_t more)
{
    mach_msg_header_t *header = message;
    header->msgh_bits = MACH_MSGH_BITS(MACH_MSG_TYPE_COPY_SEND, 0) | more;
    header->msgh_size = (mach_msg_size_t) size;
    header->msgh_remote_port = f->port;
    if (MACH_MSGH_BITS_LOCAL(more) == 0)
        header->msgh_local_port = MACH_PORT_NULL;
    header->msgh_id = id;
    hostmach_task_t before = hostmach_task_enter(f->task);
    mach_msg_return_t result = mach_msg(header, MACH_SEND_MSG, header->msgh_size, 0, MACH_PORT_NULL, 0, MACH_PORT_NULL);
    hostmach_task_enter(before);
    return result;
}

/* Ids between, below and above those of the memory object server; also a marker's, which is not for this port.  */
static void test_unknown_ids(void **state)
{
    (void) state;
    static const mach_msg_id_t ids[] = { 0, -1, 1, 100, 2199, 2205, 2210, 2299, 2303, 99999, INT_MIN, INT_MAX, 0x70670000,
                                         MACH_NOTIFY_PORT_DELETED + 100 };
    struct fixture f;
    fixture_open(&f);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        mach_msg_header_t header = { 0 };
        assert_int_equal(post(&f, &header, sizeof header, ids[i], 0), 0);
        check_nothing_left(&f);
        assert_int_equal(refused(&f), i + 1);
    }
    fixture_close(&f);
}

/* Every known id, with a body of zeros of every length up to 128 bytes.  */
static void test_cut_bodies(void **state)
{
    (void) state;
    struct fixture f;
    fixture_open(&f);
    uint64_t sent = 0;
    for (mach_msg_id_t id = 2200; id <= 2209; id++)
        for (size_t size = sizeof(mach_msg_header_t); size <= 128; size += 4)
            for (int complex = 0; complex < 2; complex++) {
                _Alignas(16) char message[128] = "";
                if (post(&f, message, size, id, complex ? MACH_MSGH_BITS_COMPLEX : 0) == MACH_MSG_SUCCESS)
                    sent++;
            }
    check_nothing_left(&f);
    assert_true(sent >= 10 * 16);
    assert_int_equal(refused(&f), sent);
    fixture_close(&f);
}

/* A proper message of this kind, as a receiver sees it: its size; the rights in it are the task's then.  */
static size_t make_message(struct fixture *f, mach_msg_id_t id, void *buffer, size_t size)
{
    hostmach_task_t before = hostmach_task_enter(f->task);
    mach_port_t to, control, name;
    assert_int_equal(mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &to), 0);
    assert_int_equal(mach_port_insert_right(mach_task_self(), to, to, MACH_MSG_TYPE_MAKE_SEND), 0);
    assert_int_equal(mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &control), 0);
    assert_int_equal(mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &name), 0);
    kern_return_t error = 0;
    switch (id) {
    case SK_INIT: error = memory_object_init(to, control, name, vm_page_size); break;
    case SK_DATA_REQUEST: error = memory_object_data_request(to, control, 0, vm_page_size, VM_PROT_READ); break;
    case SK_DATA_UNLOCK: error = memory_object_data_unlock(to, control, 0, vm_page_size, VM_PROT_WRITE); break;
    case SK_LOCK_COMPLETED:
        error = memory_object_lock_completed(to, MACH_MSG_TYPE_COPY_SEND, control, 0, vm_page_size);
        break;
    case SK_SUPPLY_COMPLETED:
        error = memory_object_supply_completed(to, MACH_MSG_TYPE_COPY_SEND, control, 0, vm_page_size, 0, 0);
        break;
    case SK_CHANGE_COMPLETED:
        error = memory_object_change_completed(to, MACH_MSG_TYPE_COPY_SEND, 0, MEMORY_OBJECT_COPY_DELAY);
        break;
    }
    assert_int_equal(error, 0);
    mach_msg_header_t *header = buffer;
    assert_int_equal(mach_msg(header, MACH_RCV_MSG, 0, (mach_msg_size_t) size, to, 0, MACH_PORT_NULL), 0);
    mach_port_destroy(mach_task_self(), to);
    /* Send rights of it are left, if any: to ports that live on only as long as the caller wants.  */
    hostmach_task_enter(before);
    return header->msgh_size;
}

static void destroy_rights(struct fixture *f)
{
    struct hostmach_right rights[64];
    size_t count = hostmach_list_rights(f->task, rights, 64);
    assert_true(count <= 64);
    hostmach_task_t before = hostmach_task_enter(f->task);
    for (size_t i = 0; i < count; i++)
        if (rights[i].name != f->port)
            mach_port_destroy(mach_task_self(), rights[i].name);
    hostmach_task_enter(before);
}

/* Proper messages of which one word is changed: type descriptors, names, offsets, lengths.  Whatever comes of it (a refusal, an
   attempt to attach a client that is nobody), it ends when the sender's ports do.  */
static void test_changed_bodies(void **state)
{
    (void) state;
    static const mach_msg_id_t ids[] = { SK_INIT, SK_DATA_REQUEST, SK_DATA_UNLOCK, SK_LOCK_COMPLETED, SK_SUPPLY_COMPLETED,
                                         SK_CHANGE_COMPLETED };
    struct fixture f;
    fixture_open(&f);
    unsigned sent = 0;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        for (size_t word = sizeof(mach_msg_header_t) / 4;; word++) {
            size_t size = 0;
            for (int change = 0; change < 6; change++) {
                _Alignas(16) uint32_t message[256];
                size = make_message(&f, ids[i], message, sizeof message);
                if (word * 4 >= size) {
                    destroy_rights(&f);
                    break;
                }
                const uint32_t values[] = { 0, ~0u, message[word] + 1, message[word] ^ 0x80000000, message[word] ^ 0x40000000,
                                            message[word] ^ 0x00010000 };
                message[word] = values[change];
                /* An inline bit that goes would make the value an address.  */
                mach_msg_bits_t complex = ((mach_msg_header_t *) message)->msgh_bits & MACH_MSGH_BITS_COMPLEX;
                if (post(&f, message, size, ids[i], complex) == MACH_MSG_SUCCESS)
                    sent++;
                destroy_rights(&f);
            }
            if (word * 4 >= size)
                break;
        }
    assert_true(sent > 100);
    check_nothing_left(&f);
    fixture_close(&f);
}

/* More than the workers' 4096 bytes, inline: with known and unknown ids, and beyond what the workers would make room for.  */
static void test_large_messages(void **state)
{
    (void) state;
    static const size_t sizes[] = { 4096, 4100, 8192, 65536, 1 << 20, (1 << 20) + 4, 3 << 20 };
    struct fixture f;
    fixture_open(&f);
    static _Alignas(16) char message[3 << 20];
    unsigned sent = 0;
    for (int failing = 0; failing < 2; failing++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int known = 0; known < 2; known++) {
                world_settle(&f.world);
                /* No room for a larger buffer: the message goes, and those behind it have their turn.  */
                platform_fail_allocation(failing ? 0 : -1);
                memset(message, 0, sizeof(mach_msg_header_t));
                assert_int_equal(post(&f, message, sizes[i], known ? 2203 : 4711, 0), 0);
                world_settle(&f.world);
                platform_fail_allocation(-1);
                check_nothing_left(&f);
                assert_int_equal(refused(&f), ++sent);
            }
    fixture_close(&f);
}

/* Rights of all sorts and memory, in messages with known and unknown ids; also a reply right.  */
static void test_rights_that_nobody_asked_for(void **state)
{
    (void) state;
    static const mach_msg_type_name_t types[] = { MACH_MSG_TYPE_MAKE_SEND, MACH_MSG_TYPE_MAKE_SEND_ONCE, MACH_MSG_TYPE_MOVE_RECEIVE };
    static const mach_msg_id_t ids[] = { 4711, 2200, 2201, 2202, 2203, 2208, 2209, MACH_NOTIFY_PORT_DESTROYED, MACH_NOTIFY_DEAD_NAME };
    struct fixture f;
    fixture_open(&f);
    uint64_t sent = 0;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++)
            for (int reply = 0; reply < 2; reply++) {
                struct {
                    mach_msg_header_t header;
                    mach_msg_type_t port_type;
                    mach_port_t ports[5];
                    mach_msg_type_t memory_type;
                    uint32_t padding;
                    void *memory;
                } message = {
                    .port_type = { .msgt_name = types[t], .msgt_size = 32, .msgt_number = 5, .msgt_inline = 1 },
                    .memory_type = { .msgt_name = MACH_MSG_TYPE_BYTE, .msgt_size = 8, .msgt_number = 4000, .msgt_inline = 0 },
                };
                static char data[4096];
                /* The descriptor lies right before the address.  */
                message.padding = 0;
                memcpy(&message.padding, &message.memory_type, 4);
                message.memory_type = (mach_msg_type_t) { .msgt_name = MACH_MSG_TYPE_INTEGER_32, .msgt_size = 32, .msgt_number = 0,
                                                          .msgt_inline = 1 };
                message.memory = data;
                hostmach_task_t before = hostmach_task_enter(f.task);
                for (int p = 0; p < 5; p++)
                    assert_int_equal(mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &message.ports[p]), 0);
                hostmach_task_enter(before);
                message.header.msgh_local_port = reply ? message.ports[0] : MACH_PORT_NULL;
                mach_msg_bits_t bits = MACH_MSGH_BITS_COMPLEX | MACH_MSGH_BITS(0, reply ? MACH_MSG_TYPE_MAKE_SEND_ONCE : 0);
                if (post(&f, &message, sizeof message, ids[i], bits) == MACH_MSG_SUCCESS)
                    sent++;
                destroy_rights(&f);
            }
    check_nothing_left(&f);
    assert_int_equal(sent, 9 * 3 * 2);
    assert_int_equal(refused(&f), sent);
    fixture_close(&f);
}

/* Who has a send right can say that a port has died, or that there are no senders any more: it is not believed.  */
static void test_forged_notifications(void **state)
{
    (void) state;
    struct fixture f;
    fixture_open(&f);
    struct hostmach_right rights[64];
    size_t count = hostmach_list_rights(hostmach_task_main(), rights, 64);
    assert_true(count <= 64);
    unsigned sent = 0;
    for (size_t i = 0; i <= count + 1; i++) {
        mach_dead_name_notification_t message = {
            .not_type = { .msgt_name = MACH_MSG_TYPE_PORT_NAME, .msgt_size = 32, .msgt_number = 1, .msgt_inline = 1 },
            .not_port = i < count ? rights[i].name : i == count ? MACH_PORT_NULL : MACH_PORT_DEAD,
        };
        assert_int_equal(post(&f, &message, sizeof message, MACH_NOTIFY_DEAD_NAME, 0), 0);
        sent++;
    }
    check_nothing_left(&f);
    struct hostmach_right after[64];
    assert_int_equal(hostmach_list_rights(hostmach_task_main(), after, 64), count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(after[i].name, rights[i].name);
        assert_int_equal(after[i].type, rights[i].type);
        assert_int_equal(after[i].urefs, rights[i].urefs);
    }
    mach_no_senders_notification_t message = {
        .not_type = { .msgt_name = MACH_MSG_TYPE_INTEGER_32, .msgt_size = 32, .msgt_number = 1, .msgt_inline = 1 },
        .not_count = 0,
    };
    assert_int_equal(post(&f, &message, sizeof message, MACH_NOTIFY_NO_SENDERS, 0), 0);
    /* libports asks anew; the right that it had given for the last answer comes back as a message of its own.  */
    world_settle(&f.world);
    check_nothing_left(&f);
    assert_true(refused(&f) >= sent);
    fixture_close(&f);
}

/* A message that says that a dead name is dead, and brings memory besides, is not Mach's: it is refused, and the memory released.  */
static void test_forged_dead_name_with_memory(void **state)
{
    (void) state;
    struct __attribute__((packed, aligned(4))) {
        mach_msg_header_t header;
        mach_msg_type_t name_type;
        mach_port_t name;
        mach_msg_type_t memory_type;
        void *memory;
    } message = {
        .name_type = { .msgt_name = MACH_MSG_TYPE_PORT_NAME, .msgt_size = 32, .msgt_number = 1, .msgt_inline = 1 },
        .memory_type = { .msgt_name = MACH_MSG_TYPE_BYTE, .msgt_size = 8, .msgt_number = 4000, .msgt_inline = 0 },
    };
    static char data[4096];
    struct fixture f;
    fixture_open(&f);
    assert_int_equal(mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_DEAD_NAME, &message.name), 0);
    note(&f);
    message.memory = data;
    assert_int_equal(post(&f, &message, sizeof message, MACH_NOTIFY_DEAD_NAME, MACH_MSGH_BITS_COMPLEX), 0);
    check_nothing_left(&f);
    assert_int_equal(refused(&f), 1);
    assert_int_equal(mach_port_deallocate(mach_task_self(), message.name), 0);
    note(&f);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_ids),
        cmocka_unit_test(test_cut_bodies),
        cmocka_unit_test(test_changed_bodies),
        cmocka_unit_test(test_large_messages),
        cmocka_unit_test(test_rights_that_nobody_asked_for),
        cmocka_unit_test(test_forged_notifications),
        cmocka_unit_test(test_forged_dead_name_with_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
