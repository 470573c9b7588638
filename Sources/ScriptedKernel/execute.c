/* execute.c - what a kernel does about a message from the pager.

   Guarantees for lock_request, page by page in rising order: restrict, return, flush; the data_returns
   are sent before lock_completed, by this thread; a page is busy until its return is sent, and nobody
   changes it meanwhile.  A run is sent before the thread waits for another thread's busy page, so
   two lock requests cannot wait for each other. */

#include <stdlib.h>
#include <string.h>

#include "internal.h"

static bool is_aligned(const struct sk_message *message)
{
    return message->offset % vm_page_size == 0 && message->length % vm_page_size == 0;
}

/* ---- Supply and error ---- */

/* With the lock held: fill pages until one is there already. */
static void fill_pages(struct sk_object *object, struct sk_held *held,
                       struct sk_message *completed)
{
    const struct sk_message *m = &held->message;

    for (vm_size_t done = 0; done < m->length; done += vm_page_size) {
        struct sk_page *page = sk_page_get(object, m->offset + done);
        if (page->state == SK_PAGE_PRESENT || page->busy) {
            completed->error = KERN_MEMORY_PRESENT;
            completed->error_offset = page->offset;
            if (held->reply != MACH_PORT_NULL)
                sk_violation(object, m, "ask for supply_completed on a resident page");
            return;
        }
        sk_page_fill(object, page, (const char *)held->data + done, m->access, m->precious);
    }
}

static void supply(struct sk_object *object, struct sk_held *held)
{
    const struct sk_message *m = &held->message;
    struct sk_message completed = {
        .id = SK_SUPPLY_COMPLETED,
        .offset = m->offset,
        .length = m->length,
    };

    pthread_mutex_lock(&object->lock);
    if (!is_aligned(m)) {
        sk_violation(object, m, "supply parts of pages");
        completed.error = KERN_INVALID_ARGUMENT;
    } else if (object->dead == 0) {
        fill_pages(object, held, &completed);
    }
    pthread_mutex_unlock(&object->lock);
    if (held->reply != MACH_PORT_NULL) {
        sk_send(object, &completed, NULL, held->reply, held->reply_type);
        held->reply = MACH_PORT_NULL;
    }
}

/* data_error, or data_unavailable: only requested pages are affected. */
static void refuse(struct sk_object *object, const struct sk_message *m)
{
    pthread_mutex_lock(&object->lock);
    if (!is_aligned(m))
        sk_violation(object, m, "refuse parts of pages");
    for (size_t i = sk_page_index(object, m->offset);
         i < object->page_count && object->pages[i]->offset - m->offset < m->length; i++) {
        struct sk_page *page = object->pages[i];
        if (page->state != SK_PAGE_REQUESTED)
            continue;
        if (m->id == SK_DATA_ERROR)
            sk_page_fail(object, page, m->error != 0 ? m->error : KERN_MEMORY_ERROR);
        else
            sk_page_fill(object, page, NULL, VM_PROT_NONE, false);
    }
    pthread_mutex_unlock(&object->lock);
}

/* ---- Locking ---- */

/* Pages that one data_return will carry; all are busy. */
struct run {
    struct sk_page *pages[SK_RUN_PAGES_MAX];
    unsigned count;
    bool dirty;
    unsigned char *data;        /* page-aligned, room for SK_RUN_PAGES_MAX pages; made on first use */
};

/* Send the run.  Called, and returns, with the lock held; gives it up meanwhile. */
static void send_run(struct sk_object *object, struct run *run, bool flush)
{
    if (run->count == 0)
        return;
    struct sk_message message = {
        .id = SK_DATA_RETURN,
        .offset = run->pages[0]->offset,
        .length = run->count * vm_page_size,
        .dirty = run->dirty,
        .kernel_copy = !flush,
    };
    pthread_mutex_unlock(&object->lock);
    sk_send(object, &message, run->data, MACH_PORT_NULL, 0);
    pthread_mutex_lock(&object->lock);
    for (unsigned i = 0; i < run->count; i++) {
        run->pages[i]->busy = false;
        if (flush || object->dead != 0)
            sk_page_drop(object, run->pages[i]);
    }
    pthread_cond_broadcast(&object->changed);
    run->count = 0;
}

static void add_to_run(struct sk_object *object, struct run *run, struct sk_page *page,
                       bool flush)
{
    if (run->count != 0
        && (run->count == SK_RUN_PAGES_MAX || run->dirty != page->dirty
            || run->pages[run->count - 1]->offset + vm_page_size != page->offset)) {
        /* Busy first: the page must be as we saw it after the lock was given up. */
        page->busy = true;
        send_run(object, run, flush);
    }
    if (run->data == NULL
        && posix_memalign((void **)&run->data, vm_page_size,
                          SK_RUN_PAGES_MAX * vm_page_size) != 0)
        abort();
    page->busy = true;
    memcpy(run->data + run->count * vm_page_size, page->data, vm_page_size);
    run->dirty = page->dirty;
    run->pages[run->count++] = page;
    page->dirty = false;
}

static void lock_page(struct sk_object *object, struct run *run, struct sk_page *page,
                      const struct sk_message *m)
{
    if (m->access != VM_PROT_NO_CHANGE) {
        page->lock = m->access;
        page->unlocking = 0;
        pthread_cond_broadcast(&object->changed);
    }
    if ((page->dirty && m->should_return != MEMORY_OBJECT_RETURN_NONE)
        || (page->precious && m->should_return == MEMORY_OBJECT_RETURN_ALL))
        add_to_run(object, run, page, m->should_flush);
    else if (m->should_flush)
        sk_page_drop(object, page);
}

/* With the lock held.  Pages that come into being behind our back are the pager's own fault (it
   supplied them meanwhile), and are treated like the others if they are still ahead. */
static void lock_pages(struct sk_object *object, const struct sk_message *m)
{
    struct run run = { .count = 0 };
    struct sk_wait wait;
    vm_offset_t at = m->offset;

    while (object->dead == 0) {
        size_t index = sk_page_index(object, at);
        if (index == object->page_count
            || object->pages[index]->offset - m->offset >= m->length)
            break;
        struct sk_page *page = object->pages[index];
        if (page->busy) {
            if (run.count != 0) {
                send_run(object, &run, m->should_flush);
                continue;
            }
            sk_wait_begin(&wait, 0, "lock_request (a busy page)", page->offset);
            while (page->busy && object->dead == 0)
                sk_wait_step(object, &wait);
            continue;
        }
        if (page->state == SK_PAGE_PRESENT)
            lock_page(object, &run, page, m);
        at = page->offset + vm_page_size;
        if (at == 0)
            break;
    }
    send_run(object, &run, m->should_flush);
    free(run.data);
}

static void send_completed(struct sk_object *object, struct sk_held *held)
{
    struct sk_message completed = {
        .id = SK_LOCK_COMPLETED,
        .offset = held->message.offset,
        .length = held->message.length,
    };
    sk_send(object, &completed, NULL, held->reply, held->reply_type);
    held->reply = MACH_PORT_NULL;
}

/* True if HELD was kept, to be completed later. */
static bool lock(struct sk_object *object, struct sk_held *held)
{
    pthread_mutex_lock(&object->lock);
    if (!is_aligned(&held->message))
        sk_violation(object, &held->message, "lock parts of pages");
    lock_pages(object, &held->message);
    pthread_mutex_unlock(&object->lock);
    if (held->reply == MACH_PORT_NULL)
        return false;
    if (sk_hold_completed(object, held))
        return true;
    send_completed(object, held);
    return false;
}

/* ---- The rest ---- */

static void set_attributes(struct sk_object *object, const struct sk_message *m)
{
    pthread_mutex_lock(&object->lock);
    object->ready |= m->id == SK_READY;
    object->may_cache = m->may_cache;
    object->copy_strategy = m->copy_strategy;
    pthread_cond_broadcast(&object->changed);
    pthread_mutex_unlock(&object->lock);
}

static void change_attributes(struct sk_object *object, struct sk_held *held)
{
    struct sk_message completed = {
        .id = SK_CHANGE_COMPLETED,
        .may_cache = held->message.may_cache,
        .copy_strategy = held->message.copy_strategy,
    };
    set_attributes(object, &held->message);
    if (held->reply != MACH_PORT_NULL) {
        sk_send(object, &completed, NULL, held->reply, held->reply_type);
        held->reply = MACH_PORT_NULL;
    }
}

/* True if HELD was kept. */
static bool execute(struct sk_object *object, struct sk_held *held)
{
    if (held->completed) {
        send_completed(object, held);
        return false;
    }
    switch (held->message.id) {
    case SK_READY:
        set_attributes(object, &held->message);
        return false;
    case SK_DATA_SUPPLY:
        supply(object, held);
        return false;
    case SK_DATA_ERROR:
    case SK_DATA_UNAVAILABLE:
        refuse(object, &held->message);
        return false;
    case SK_LOCK_REQUEST:
        return lock(object, held);
    case SK_CHANGE_ATTRIBUTES:
        change_attributes(object, held);
        return false;
    case SK_DESTROY:
        sk_object_die(object, held->message.error != 0 ? held->message.error
                                                       : KERN_MEMORY_ERROR);
        return false;
    default:
        return false;
    }
}

void sk_execute(struct sk_object *object, struct sk_held *held)
{
    bool kept = false;

    pthread_mutex_lock(&object->lock);
    bool begun = sk_begin(object);
    pthread_mutex_unlock(&object->lock);
    if (begun) {
        kept = execute(object, held);
        pthread_mutex_lock(&object->lock);
        sk_end(object);
        pthread_mutex_unlock(&object->lock);
    }
    if (!kept)
        sk_held_destroy(object, held);
}
