/* support.c - see support.h. */

#include "support.h"

struct port_bucket *bucket;
struct port_class *class;
int cleaned;
int dropped;
void (*on_dropweak)(struct thing *thing);

static struct {
    size_t ports, rights, messages, vm_bytes;
} before;

static void clean(void *port)
{
    (void)port;
    __atomic_add_fetch(&cleaned, 1, __ATOMIC_SEQ_CST);
}

static void dropweak(void *port)
{
    __atomic_add_fetch(&dropped, 1, __ATOMIC_SEQ_CST);
    if (on_dropweak != NULL)
        on_dropweak(port);
}

int setup(void **state)
{
    (void)state;
    before.ports = hostmach_port_count();
    before.rights = hostmach_list_rights(hostmach_task_main(), NULL, 0);
    before.messages = hostmach_message_count();
    before.vm_bytes = hostmach_vm_bytes();
    cleaned = dropped = 0;
    on_dropweak = NULL;
    bucket = ports_create_bucket();
    class = ports_create_class(clean, dropweak);
    return bucket == NULL || class == NULL;
}

int teardown(void **state)
{
    (void)state;
    assert_int_equal(ports_destroy_class(class), 0);
    assert_int_equal(ports_destroy_bucket(bucket), 0);
    assert_int_equal(hostmach_list_rights(hostmach_task_main(), NULL, 0), before.rights);
    assert_int_equal(hostmach_port_count(), before.ports);
    assert_int_equal(hostmach_message_count(), before.messages);
    assert_int_equal(hostmach_vm_bytes(), before.vm_bytes);
    return 0;
}

struct thing *new_thing(void)
{
    struct thing *thing;
    assert_int_equal(ports_create_port(class, bucket, sizeof *thing, &thing), 0);
    return thing;
}

mach_msg_return_t send_simple(mach_port_t port, mach_msg_id_t id, mach_port_t reply)
{
    mach_msg_header_t message = {
        .msgh_bits = MACH_MSGH_BITS(MACH_MSG_TYPE_COPY_SEND,
                                    reply != MACH_PORT_NULL
                                        ? MACH_MSG_TYPE_MAKE_SEND_ONCE : 0),
        .msgh_size = sizeof message,
        .msgh_remote_port = port,
        .msgh_local_port = reply,
        .msgh_id = id,
    };
    return mach_msg(&message, MACH_SEND_MSG | MACH_SEND_TIMEOUT, sizeof message, 0,
                    MACH_PORT_NULL, 1000, MACH_PORT_NULL);
}

union message {
    mach_msg_header_t header;
    char bytes[1024];
};

mach_msg_id_t receive_id(mach_port_t port, unsigned timeout_ms)
{
    union message message;
    mach_msg_return_t err = mach_msg(&message.header, MACH_RCV_MSG | MACH_RCV_TIMEOUT, 0,
                                     sizeof message, port, timeout_ms, MACH_PORT_NULL);
    if (err == MACH_RCV_TIMED_OUT)
        return 0;
    assert_int_equal(err, MACH_MSG_SUCCESS);
    mach_msg_id_t id = message.header.msgh_id;
    mach_msg_destroy(&message.header);
    return id;
}

mach_msg_id_t serve_notification(void)
{
    union message in;
    union message out;
    mach_msg_return_t err = mach_msg(&in.header, MACH_RCV_MSG | MACH_RCV_TIMEOUT, 0,
                                     sizeof in, bucket->portset, 0, MACH_PORT_NULL);
    if (err == MACH_RCV_TIMED_OUT)
        return 0;
    assert_int_equal(err, MACH_MSG_SUCCESS);
    assert_true(ports_notify_server(&in.header, &out.header));
    assert_int_equal(((mig_reply_header_t *)&out)->RetCode, 0);
    return in.header.msgh_id;
}

int value(int *counter)
{
    return __atomic_load_n(counter, __ATOMIC_SEQ_CST);
}

void sleep_ms(unsigned ms)
{
    struct timespec time = { ms / 1000, (long)(ms % 1000) * 1000000 };
    nanosleep(&time, NULL);
}

void await(int *counter, int wanted)
{
    for (int i = 0; i < 10000 && value(counter) < wanted; i++)
        sleep_ms(1);
    assert_true(value(counter) >= wanted);
}
