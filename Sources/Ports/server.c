/* server.c - receiving messages on a bucket and serving them.

   One thread: receive, serve, reply, until the time is over.
   Several: the pool keeps one thread receiving whenever it can.  A thread that takes a message
   and leaves no receiver behind starts another thread first.  A thread that
   waited long enough ends unless it is the last receiver.

   Guarantees:
     - The demuxer runs between ports_begin_rpc and ports_end_rpc on the port that the
       message came to, with a reference to it.
     - Every message is consumed: by the demuxer, by the reply, or destroyed here.
     - When the port set is gone every thread of the pool ends, and the first one returns
       after the others have left. */

#include <stdlib.h>

#include "internal.h"

#define MESSAGE_BYTES 8192u     /* at first; grows to what a message needs */
#define REPLY_BYTES   8192u

struct pool {
    struct port_bucket *bucket;
    ports_demuxer_type demuxer;
    int thread_timeout, global_timeout;     /* milliseconds; 0: none */
    void (*hook)(void);
    ports_mutex_t lock;         /* guards what follows; taken without any other lock */
    ports_cond_t left;          /* a thread left */
    unsigned threads;           /* including the first one */
    unsigned receivers;         /* threads that are not serving */
    unsigned holders;           /* threads that may still touch this structure */
};

struct buffers {
    mach_msg_header_t *request;
    mach_msg_size_t request_bytes;
    mig_reply_header_t *reply;
};

/* Errors after which receiving on the same port set is pointless. */
static int is_fatal(mach_msg_return_t err)
{
    return err == MACH_RCV_INVALID_NAME || err == MACH_RCV_PORT_DIED
           || err == MACH_RCV_IN_SET;
}

/* Receive one message into BUFFERS.  KERN_RESOURCE_SHORTAGE: no memory for it. */
static mach_msg_return_t receive(mach_port_t portset, struct buffers *buffers, int timeout)
{
    mach_msg_option_t option = MACH_RCV_MSG | MACH_RCV_LARGE
                               | (timeout != 0 ? MACH_RCV_TIMEOUT : 0);
    for (;;) {
        mach_msg_return_t err = mach_msg(buffers->request, option, 0,
                                         buffers->request_bytes, portset,
                                         (mach_msg_timeout_t)timeout, MACH_PORT_NULL);
        if (err == MACH_RCV_INTERRUPTED)
            continue;
        if (err != MACH_RCV_TOO_LARGE)
            return err;
        mach_msg_size_t bytes = buffers->request->msgh_size;
        void *larger = realloc(buffers->request, bytes);
        if (larger == NULL)
            return KERN_RESOURCE_SHORTAGE;
        buffers->request = larger;
        buffers->request_bytes = bytes;
    }
}

static void prepare_reply(const mach_msg_header_t *request, mig_reply_header_t *reply,
                          kern_return_t code)
{
    static const mach_msg_type_t code_type = {
        .msgt_name = MACH_MSG_TYPE_INTEGER_32,
        .msgt_size = 32,
        .msgt_number = 1,
        .msgt_inline = TRUE,
    };
    reply->Head = (mach_msg_header_t){
        .msgh_bits = MACH_MSGH_BITS(MACH_MSGH_BITS_REMOTE(request->msgh_bits), 0),
        .msgh_size = sizeof *reply,
        .msgh_remote_port = request->msgh_remote_port,
        .msgh_id = request->msgh_id + 100,
    };
    reply->RetCodeType = code_type;
    reply->RetCode = code;
}

/* Send the reply, and destroy what the demuxer did not take from a refused request. */
static void finish(struct buffers *buffers)
{
    mach_msg_header_t *request = buffers->request;
    mig_reply_header_t *reply = buffers->reply;

    if (!(reply->Head.msgh_bits & MACH_MSGH_BITS_COMPLEX)) {
        if (reply->RetCode == MIG_NO_REPLY)
            return;
        if (reply->RetCode != KERN_SUCCESS) {
            /* Everything but the reply port, which the reply needs. */
            request->msgh_remote_port = MACH_PORT_NULL;
            mach_msg_destroy(request);
        }
    }
    if (!MACH_PORT_VALID(reply->Head.msgh_remote_port)) {
        if (reply->Head.msgh_bits & MACH_MSGH_BITS_COMPLEX)
            mach_msg_destroy(&reply->Head);
        return;
    }
    /* A send-once right never blocks; through a send right a full queue might, for
       as long as the client likes.  Such a reply is dropped. */
    mach_msg_option_t option = MACH_SEND_MSG;
    if (MACH_MSGH_BITS_REMOTE(reply->Head.msgh_bits) != MACH_MSG_TYPE_MOVE_SEND_ONCE)
        option |= MACH_SEND_TIMEOUT;
    mach_msg_return_t err = mach_msg(&reply->Head, option, reply->Head.msgh_size, 0,
                                     MACH_PORT_NULL, MACH_MSG_TIMEOUT_NONE,
                                     MACH_PORT_NULL);
    if (err == MACH_SEND_INVALID_DEST || err == MACH_SEND_TIMED_OUT)
        mach_msg_destroy(&reply->Head);
}

static void serve(struct port_bucket *bucket, ports_demuxer_type demuxer,
                  struct buffers *buffers)
{
    mach_msg_header_t *request = buffers->request;
    struct rpc_info info;

    prepare_reply(request, buffers->reply, EOPNOTSUPP);
    struct port_info *port = ports_lookup_port(bucket, request->msgh_local_port, NULL);
    if (port != NULL) {
        error_t err = ports_begin_rpc(port, request->msgh_id, &info);
        if (err == 0) {
            buffers->reply->RetCode = MIG_BAD_ID;
            if (!demuxer(request, &buffers->reply->Head))
                prepare_reply(request, buffers->reply, MIG_BAD_ID);
            ports_end_rpc(port, &info);
        }
    }
    finish(buffers);
    if (port != NULL)
        ports_port_deref(port);
}

static int make_buffers(struct buffers *buffers)
{
    buffers->request_bytes = MESSAGE_BYTES;
    buffers->request = malloc(MESSAGE_BYTES);
    buffers->reply = malloc(REPLY_BYTES);
    return buffers->request != NULL && buffers->reply != NULL;
}

static void free_buffers(struct buffers *buffers)
{
    free(buffers->request);
    free(buffers->reply);
}

void ports_manage_port_operations_one_thread(struct port_bucket *bucket,
                                             ports_demuxer_type demuxer, int timeout)
{
    struct buffers buffers;
    mach_msg_return_t err = MACH_MSG_SUCCESS;

    if (make_buffers(&buffers)) {
        do {
            err = receive(bucket->portset, &buffers, timeout);
            if (err == MACH_MSG_SUCCESS)
                serve(bucket, demuxer, &buffers);
        } while (err != MACH_RCV_TIMED_OUT && !is_fatal(err));
    }
    free_buffers(&buffers);
}

static void *pool_thread(void *arg);

/* This thread stops receiving in order to serve; see that another one receives. */
static void pool_begin(struct pool *pool)
{
    ports_mutex_lock(&pool->lock);
    int start = --pool->receivers == 0;
    if (start) {
        pool->threads++;
        pool->receivers++;
        pool->holders++;
    }
    ports_mutex_unlock(&pool->lock);
    if (start && ports_thread_start(pool_thread, pool) != 0) {
        ports_mutex_lock(&pool->lock);
        pool->threads--;
        pool->receivers--;
        pool->holders--;
        ports_cond_broadcast(&pool->left);
        ports_mutex_unlock(&pool->lock);
    }
}

static void pool_end(struct pool *pool)
{
    ports_mutex_lock(&pool->lock);
    pool->receivers++;
    ports_mutex_unlock(&pool->lock);
}

/* A thread may leave if another one receives, the first if it is alone; all, if the set
   is gone.  Counts it out if so. */
static int pool_may_leave(struct pool *pool, int is_first, int set_is_gone)
{
    ports_mutex_lock(&pool->lock);
    int may = set_is_gone || (is_first ? pool->threads == 1 : pool->receivers > 1);
    if (may) {
        pool->receivers--;
        pool->threads--;
        ports_cond_broadcast(&pool->left);
    }
    ports_mutex_unlock(&pool->lock);
    return may;
}

static void pool_release(struct pool *pool)
{
    ports_mutex_lock(&pool->lock);
    int last = --pool->holders == 0;
    ports_mutex_unlock(&pool->lock);
    if (last)
        free(pool);
}

static void pool_run(struct pool *pool, int is_first)
{
    struct buffers buffers;
    int timeout = is_first ? pool->global_timeout : pool->thread_timeout;
    int left = 0;

    if (pool->hook != NULL)
        pool->hook();
    if (make_buffers(&buffers)) {
        while (!left) {
            mach_msg_return_t err = receive(pool->bucket->portset, &buffers, timeout);
            if (err == MACH_MSG_SUCCESS) {
                pool_begin(pool);
                serve(pool->bucket, pool->demuxer, &buffers);
                pool_end(pool);
            } else if (err == MACH_RCV_TIMED_OUT || is_fatal(err)) {
                left = pool_may_leave(pool, is_first, is_fatal(err));
            }
        }
    } else {
        pool_may_leave(pool, is_first, 1);
    }
    free_buffers(&buffers);
}

static void *pool_thread(void *arg)
{
    struct pool *pool = arg;

    pool_run(pool, 0);
    pool_release(pool);
    return NULL;
}

void ports_manage_port_operations_multithread(struct port_bucket *bucket,
                                              ports_demuxer_type demuxer,
                                              int thread_timeout, int global_timeout,
                                              void (*hook)(void))
{
    struct pool *pool = malloc(sizeof *pool);

    if (pool == NULL) {
        if (hook != NULL)
            hook();
        ports_manage_port_operations_one_thread(bucket, demuxer, global_timeout);
        return;
    }
    *pool = (struct pool){
        .bucket = bucket,
        .demuxer = demuxer,
        .thread_timeout = thread_timeout,
        .global_timeout = global_timeout,
        .hook = hook,
        .lock = PORTS_MUTEX_INITIALIZER,
        .left = PORTS_COND_INITIALIZER,
        .threads = 1,
        .receivers = 1,
        .holders = 1,
    };
    pool_run(pool, 1);
    ports_mutex_lock(&pool->lock);
    while (pool->threads != 0)
        ports_cond_wait(&pool->left, &pool->lock);
    ports_mutex_unlock(&pool->lock);
    pool_release(pool);
}
