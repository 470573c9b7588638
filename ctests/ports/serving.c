/* serving.c - the server loops: replies, refusals, time limits, threads that come and go. */

#include "support.h"

enum { REPLY_ID = 100, QUICK = 5000, SLOW, NO_REPLY, UNKNOWN };

static struct thing *thing;
static mach_port_t send;
static int served;
static int inside, most_inside;
static int release_slow;
static int hooks;

static unsigned now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (unsigned)(time.tv_sec * 1000 + time.tv_nsec / 1000000);
}

static int demux(mach_msg_header_t *in, mach_msg_header_t *out)
{
    mig_reply_header_t *reply = (mig_reply_header_t *)out;

    if (ports_notify_server_routine(in) != NULL)
        return ports_notify_server(in, out);
    switch (in->msgh_id) {
    case SLOW: {
        int count = __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
        int most = value(&most_inside);
        while (most < count
               && !__atomic_compare_exchange_n(&most_inside, &most, count, 0,
                                               __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            ;
        while (!value(&release_slow))
            sleep_ms(1);
        __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
        break;
    }
    case QUICK:
        break;
    case NO_REPLY:
        reply->RetCode = MIG_NO_REPLY;
        __atomic_add_fetch(&served, 1, __ATOMIC_SEQ_CST);
        return 1;
    default:
        return 0;
    }
    reply->RetCode = KERN_SUCCESS;
    __atomic_add_fetch(&served, 1, __ATOMIC_SEQ_CST);
    return 1;
}

static void hook(void)
{
    __atomic_add_fetch(&hooks, 1, __ATOMIC_SEQ_CST);
}

static int setup_thing(void **state)
{
    served = inside = most_inside = release_slow = hooks = 0;
    if (setup(state) != 0)
        return 1;
    thing = new_thing();
    send = ports_get_send_right(thing);
    return 0;
}

static int teardown_thing(void **state)
{
    mach_port_deallocate(mach_task_self(), send);
    ports_port_deref(thing);
    ports_manage_port_operations_one_thread(bucket, demux, 1);      /* no-senders */
    assert_int_equal(cleaned, 1);
    return teardown(state);
}

static mach_port_t reply_port(void)
{
    mach_port_t port;
    mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &port);
    return port;
}

static kern_return_t reply_code(mach_port_t port)
{
    union {
        mig_reply_header_t reply;
        char bytes[256];
    } in;
    assert_int_equal(mach_msg(&in.reply.Head, MACH_RCV_MSG | MACH_RCV_TIMEOUT, 0, sizeof in,
                              port, 1000, MACH_PORT_NULL), MACH_MSG_SUCCESS);
    return in.reply.RetCode;
}

static void one_thread(void **state)
{
    (void)state;
    mach_port_t reply = reply_port();
    send_simple(send, QUICK, reply);
    send_simple(send, UNKNOWN, reply);
    send_simple(send, NO_REPLY, MACH_PORT_NULL);
    unsigned begin = now_ms();
    ports_manage_port_operations_one_thread(bucket, demux, 50);
    assert_true(now_ms() - begin >= 49);
    assert_int_equal(served, 2);
    assert_int_equal(reply_code(reply), KERN_SUCCESS);
    assert_int_equal(reply_code(reply), MIG_BAD_ID);
    mach_port_mod_refs(mach_task_self(), reply, MACH_PORT_RIGHT_RECEIVE, -1);
}

/* A refused message's rights and memory are released, and a large one is received at all. */
static void large_refused_message(void **state)
{
    (void)state;
    enum { WORDS = 5001 };              /* no padding behind them */
    struct {
        mach_msg_header_t head;
        mach_msg_type_t right_type;
        mach_port_t right;
        mach_msg_type_long_t filler_type;
        int filler[WORDS];
    } *message = calloc(1, sizeof *message);
    mach_port_t reply = reply_port();

    message->head.msgh_bits = MACH_MSGH_BITS(MACH_MSG_TYPE_COPY_SEND,
                                             MACH_MSG_TYPE_MAKE_SEND_ONCE)
                              | MACH_MSGH_BITS_COMPLEX;
    message->head.msgh_size = sizeof *message;
    message->head.msgh_remote_port = send;
    message->head.msgh_local_port = reply;
    message->head.msgh_id = UNKNOWN;
    message->right_type = (mach_msg_type_t){ .msgt_name = MACH_MSG_TYPE_MAKE_SEND,
                                             .msgt_size = 32, .msgt_number = 1,
                                             .msgt_inline = TRUE };
    message->right = reply;
    message->filler_type.msgtl_header = (mach_msg_type_t){ .msgt_inline = TRUE,
                                                           .msgt_longform = TRUE };
    message->filler_type.msgtl_name = MACH_MSG_TYPE_INTEGER_32;
    message->filler_type.msgtl_size = 32;
    message->filler_type.msgtl_number = WORDS;
    assert_int_equal(mach_msg(&message->head, MACH_SEND_MSG, sizeof *message, 0,
                              MACH_PORT_NULL, 0, MACH_PORT_NULL), MACH_MSG_SUCCESS);
    free(message);
    ports_manage_port_operations_one_thread(bucket, demux, 20);
    assert_int_equal(reply_code(reply), MIG_BAD_ID);
    mach_port_type_t type;
    assert_int_equal(mach_port_type(mach_task_self(), reply, &type), 0);
    assert_int_equal(type & MACH_PORT_TYPE_SEND, 0);
    mach_port_mod_refs(mach_task_self(), reply, MACH_PORT_RIGHT_RECEIVE, -1);
}

static void *manage(void *arg)
{
    const int *timeouts = arg;
    ports_manage_port_operations_multithread(bucket, demux, timeouts[0], timeouts[1], hook);
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    enum { CALLS = 4 };
    int timeouts[] = { 40, 80 };
    pthread_t manager;
    mach_port_t reply = reply_port();

    pthread_create(&manager, NULL, manage, timeouts);
    for (int i = 0; i < CALLS; i++)
        assert_int_equal(send_simple(send, SLOW, reply), 0);
    await(&inside, CALLS);              /* all at once: a thread each */
    send_simple(send, QUICK, reply);
    await(&served, 1);                  /* and one more to receive */
    __atomic_store_n(&release_slow, 1, __ATOMIC_SEQ_CST);
    pthread_join(manager, NULL);        /* threads end, then the first one */
    assert_int_equal(served, CALLS + 1);
    assert_int_equal(most_inside, CALLS);
    assert_true(hooks >= CALLS + 1);
    for (int i = 0; i <= CALLS; i++)
        assert_int_equal(reply_code(reply), KERN_SUCCESS);
    mach_port_mod_refs(mach_task_self(), reply, MACH_PORT_RIGHT_RECEIVE, -1);
}

static void global_timeout_waits_for_threads(void **state)
{
    (void)state;
    int timeouts[] = { 10, 20 };
    pthread_t manager;

    pthread_create(&manager, NULL, manage, timeouts);
    send_simple(send, SLOW, MACH_PORT_NULL);
    await(&inside, 1);
    sleep_ms(100);
    assert_int_equal(served, 0);
    __atomic_store_n(&release_slow, 1, __ATOMIC_SEQ_CST);
    pthread_join(manager, NULL);
    assert_int_equal(served, 1);
}

/* With no time limits, the loops end when the port set goes. */
static void ends_with_the_port_set(void **state)
{
    (void)state;
    int timeouts[] = { 0, 0 };
    pthread_t manager;
    struct port_bucket *kept = bucket;

    bucket = ports_create_bucket();
    struct thing *other = new_thing();
    mach_port_t right = ports_get_send_right(other);
    pthread_create(&manager, NULL, manage, timeouts);
    send_simple(right, SLOW, MACH_PORT_NULL);
    await(&inside, 1);
    __atomic_store_n(&release_slow, 1, __ATOMIC_SEQ_CST);
    await(&served, 1);
    assert_int_equal(ports_destroy_bucket(bucket), EBUSY);
    mach_port_destroy(mach_task_self(), bucket->portset);
    pthread_join(manager, NULL);
    ports_destroy_right(other);
    mach_port_deallocate(mach_task_self(), right);
    ports_port_deref(other);
    cleaned = 0;
    assert_int_equal(ports_destroy_bucket(bucket), 0);
    bucket = kept;
}

static void inhibited_bucket_serves_later(void **state)
{
    (void)state;
    int timeouts[] = { 30, 60 };
    pthread_t manager;

    assert_int_equal(ports_inhibit_bucket_rpcs(bucket), 0);
    pthread_create(&manager, NULL, manage, timeouts);
    send_simple(send, QUICK, MACH_PORT_NULL);
    sleep_ms(30);
    assert_int_equal(value(&served), 0);
    ports_resume_bucket_rpcs(bucket);
    pthread_join(manager, NULL);
    assert_int_equal(served, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_thread, setup_thing, teardown_thing),
        cmocka_unit_test_setup_teardown(large_refused_message, setup_thing, teardown_thing),
        cmocka_unit_test_setup_teardown(many_threads, setup_thing, teardown_thing),
        cmocka_unit_test_setup_teardown(global_timeout_waits_for_threads, setup_thing,
                                        teardown_thing),
        cmocka_unit_test_setup_teardown(ends_with_the_port_set, setup_thing, teardown_thing),
        cmocka_unit_test_setup_teardown(inhibited_bucket_serves_later, setup_thing,
                                        teardown_thing),
    };
    return cmocka_run_group_tests_name("ports.serving", tests, NULL, NULL);
}
