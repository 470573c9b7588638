/* Raw clients: a control port of the test's own. What comes to it runs in the pager's thread, and can be stopped there.  */

#ifndef TESTS_RAW_H
#define TESTS_RAW_H

#include <mach/memory_object_user.h>

#include "cast.h"

enum { MESSAGES = 64 };

struct raw {
    hostmach_task_t task;
    mach_port_t pager, control, name;
    mach_msg_id_t stop_at;              /* a message with this id stops its sender ... */
    int stopped, go;                    /* ... who says so, and goes on when told */
    mach_msg_id_t got[MESSAGES];
    int count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static inline void raw_wait(struct raw *raw)
{
    struct timespec end;
    if (each_over()) {
        /* Only a thread of the test is stopped here.  */
        pthread_mutex_unlock(&raw->lock);
        each_point();
        pthread_mutex_lock(&raw->lock);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 30;
    if (each_timedwait(&raw->changed, &raw->lock, &end) != 0)
        abort();
}

static inline void raw_take(mach_msg_header_t *message, void *cookie)
{
    struct raw *raw = cookie;
    pthread_mutex_lock(&raw->lock);
    if (raw->count < MESSAGES)
        raw->got[raw->count++] = message->msgh_id;
    if (message->msgh_id == raw->stop_at) {
        raw->stop_at = 0;
        raw->stopped = 1;
        pthread_cond_broadcast(&raw->changed);
        while (!raw->go && !each_over())
            raw_wait(raw);
        raw->go = raw->stopped = 0;
    }
    pthread_cond_broadcast(&raw->changed);
    pthread_mutex_unlock(&raw->lock);
    mach_msg_destroy(message);
}

/* Maps the object; HANDLER 0: the control port is an ordinary one, with a queue.  */
static inline void raw_open(struct raw *raw, struct world *world, int handler, mach_msg_id_t stop_at)
{
    *raw = (struct raw) { .task = hostmach_task_create("raw"), .stop_at = stop_at };
    pthread_mutex_init(&raw->lock, NULL);
    pthread_cond_init(&raw->changed, NULL);
    assert_int_equal(hostmach_copy_send(hostmach_task_main(), world->port, raw->task, &raw->pager), 0);
    hostmach_task_t before = hostmach_task_enter(raw->task);
    assert_int_equal(mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &raw->control), 0);
    assert_int_equal(mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &raw->name), 0);
    if (handler)
        assert_int_equal(hostmach_port_set_handler(raw->control, raw_take, raw), 0);
    assert_int_equal(memory_object_init(raw->pager, raw->control, raw->name, vm_page_size), 0);
    hostmach_task_enter(before);
}

static inline void raw_request_pages(struct raw *raw, size_t first, size_t count, vm_prot_t access)
{
    hostmach_task_t before = hostmach_task_enter(raw->task);
    assert_int_equal(memory_object_data_request(raw->pager, raw->control, page_offset(first), count * vm_page_size, access), 0);
    hostmach_task_enter(before);
}

static inline void raw_request(struct raw *raw, size_t page, vm_prot_t access) { raw_request_pages(raw, page, 1, access); }

static inline void raw_unlock(struct raw *raw, size_t page)
{
    hostmach_task_t before = hostmach_task_enter(raw->task);
    assert_int_equal(memory_object_data_unlock(raw->pager, raw->control, page_offset(page), vm_page_size, RW), 0);
    hostmach_task_enter(before);
}

/* Answers a lock_request for the page.  */
static inline void raw_complete(struct raw *raw, size_t page)
{
    hostmach_task_t before = hostmach_task_enter(raw->task);
    assert_int_equal(memory_object_lock_completed(raw->pager, MACH_MSG_TYPE_COPY_SEND, raw->control, page_offset(page), vm_page_size), 0);
    hostmach_task_enter(before);
}

/* Gives a page back that begins with BYTE, and keeps no copy.  */
static inline void raw_return(struct raw *raw, size_t page, unsigned char byte, boolean_t dirty)
{
    vm_address_t data = 0;
    assert_int_equal(vm_allocate(mach_task_self(), &data, vm_page_size, 1), 0);
    memset((void *) data, byte, vm_page_size);
    hostmach_task_t before = hostmach_task_enter(raw->task);
    assert_int_equal(memory_object_data_return(raw->pager, raw->control, page_offset(page), data, (mach_msg_type_number_t) vm_page_size,
                                               dirty, FALSE), 0);
    hostmach_task_enter(before);
    vm_deallocate(mach_task_self(), data, vm_page_size);
}

/* The next message with this id stops its sender.  */
static inline void raw_stop_at(struct raw *raw, mach_msg_id_t id)
{
    pthread_mutex_lock(&raw->lock);
    raw->stop_at = id;
    pthread_mutex_unlock(&raw->lock);
}

static inline void raw_wait_stopped(struct raw *raw)
{
    pthread_mutex_lock(&raw->lock);
    while (!raw->stopped)
        raw_wait(raw);
    pthread_mutex_unlock(&raw->lock);
}

static inline void raw_go(struct raw *raw)
{
    pthread_mutex_lock(&raw->lock);
    raw->go = 1;
    pthread_cond_broadcast(&raw->changed);
    pthread_mutex_unlock(&raw->lock);
}

/* The same; and a message with this id, which comes later, stops its sender again.  */
static inline void raw_go_until(struct raw *raw, mach_msg_id_t id)
{
    pthread_mutex_lock(&raw->lock);
    raw->stop_at = id;
    raw->go = 1;
    pthread_cond_broadcast(&raw->changed);
    while (raw->go || !raw->stopped)
        raw_wait(raw);
    pthread_mutex_unlock(&raw->lock);
}

/* Locked.  */
static inline int raw_has_locked(struct raw *raw, mach_msg_id_t id)
{
    int count = 0;
    for (int i = 0; i < raw->count; i++)
        count += raw->got[i] == id;
    return count;
}

static inline int raw_has(struct raw *raw, mach_msg_id_t id)
{
    pthread_mutex_lock(&raw->lock);
    int count = raw_has_locked(raw, id);
    pthread_mutex_unlock(&raw->lock);
    return count;
}

/* So many messages with this id have come.  */
static inline void raw_wait_for_more(struct raw *raw, mach_msg_id_t id, int count)
{
    pthread_mutex_lock(&raw->lock);
    while (raw_has_locked(raw, id) < count)
        raw_wait(raw);
    pthread_mutex_unlock(&raw->lock);
}

static inline void raw_wait_for(struct raw *raw, mach_msg_id_t id) { raw_wait_for_more(raw, id, 1); }

static inline void raw_close(struct raw *raw)
{
    hostmach_task_drain(raw->task);
    hostmach_task_destroy(raw->task);
}

static inline int raw_count(struct raw *raw)
{
    pthread_mutex_lock(&raw->lock);
    int count = raw->count;
    pthread_mutex_unlock(&raw->lock);
    return count;
}

static inline void raw_wait_count(struct raw *raw, int count)
{
    pthread_mutex_lock(&raw->lock);
    while (raw->count < count)
        raw_wait(raw);
    pthread_mutex_unlock(&raw->lock);
}

#endif
