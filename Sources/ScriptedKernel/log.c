/* log.c - which messages there were.

   Counts are exact; the log keeps the last SK_LOG_MESSAGES of an object.  A sent message is
   entered before it is sent, a received one before it is executed, so the answer to a message
   always comes after it in the log.  Serial numbers rise over all objects. */

#include <stdio.h>
#include <string.h>

#include "internal.h"

static const struct {
    mach_msg_id_t id;
    const char *name;
} kinds[SK_IDS] = {
    { SK_INIT, "init" },
    { SK_TERMINATE, "terminate" },
    { SK_COPY, "copy" },
    { SK_DATA_REQUEST, "data_request" },
    { SK_DATA_UNLOCK, "data_unlock" },
    { SK_LOCK_COMPLETED, "lock_completed" },
    { SK_SUPPLY_COMPLETED, "supply_completed" },
    { SK_DATA_RETURN, "data_return" },
    { SK_CHANGE_COMPLETED, "change_completed" },
    { SK_DATA_UNAVAILABLE, "data_unavailable" },
    { SK_GET_ATTRIBUTES, "get_attributes" },
    { SK_LOCK_REQUEST, "lock_request" },
    { SK_DATA_ERROR, "data_error" },
    { SK_DESTROY, "destroy" },
    { SK_DATA_SUPPLY, "data_supply" },
    { SK_READY, "ready" },
    { SK_CHANGE_ATTRIBUTES, "change_attributes" },
};

static unsigned long last_serial;

static unsigned kind_of(mach_msg_id_t id)
{
    unsigned kind = 0;
    while (kind < SK_IDS && kinds[kind].id != id)
        kind++;
    return kind;
}

void sk_log_add(struct sk_object *object, struct sk_message *message)
{
    unsigned kind = kind_of(message->id);

    message->serial = __atomic_add_fetch(&last_serial, 1, __ATOMIC_RELAXED);
    if (kind < SK_IDS)
        object->counts[kind]++;
    object->log[object->log_count++ % SK_LOG_MESSAGES] = *message;
    pthread_cond_broadcast(&object->changed);
}

static void print(const struct sk_message *m)
{
    unsigned kind = kind_of(m->id);
    fprintf(stderr, "  %6lu %s %-17s offset %#lx length %#lx access %d return %d flush %d dirty %d "
            "kept %d precious %d reply %d error %d\n", m->serial, m->id >= SK_INIT ? "->" : "<-",
            kind < SK_IDS ? kinds[kind].name : "?", (unsigned long)m->offset,
            (unsigned long)m->length, m->access, m->should_return, m->should_flush, m->dirty,
            m->kernel_copy, m->precious, m->has_reply, m->error);
}

void sk_log_dump(struct sk_object *object)
{
    size_t first = object->log_count > 40 ? object->log_count - 40 : 0;

    fprintf(stderr, " the last messages (-> to the pager), %u held:\n", object->held_count);
    for (size_t i = first; i < object->log_count; i++)
        print(&object->log[i % SK_LOG_MESSAGES]);
}

void sk_violation(struct sk_object *object, const struct sk_message *message,
                  const char *what)
{
    object->violations++;
    fprintf(stderr, "scripted kernel %s: the pager must not: %s\n", object->kernel->name, what);
    print(message);
}

unsigned sk_count(sk_object *object, mach_msg_id_t id)
{
    unsigned kind = kind_of(id);

    pthread_mutex_lock(&object->lock);
    unsigned count = kind < SK_IDS ? object->counts[kind] : 0;
    pthread_mutex_unlock(&object->lock);
    return count;
}

int sk_wait_message(sk_object *object, mach_msg_id_t id, unsigned count, unsigned timeout_ms)
{
    unsigned kind = kind_of(id);
    struct sk_wait wait;
    int err = 0;

    if (kind == SK_IDS)
        return EINVAL;
    sk_wait_begin(&wait, timeout_ms, kinds[kind].name, 0);
    pthread_mutex_lock(&object->lock);
    while (object->counts[kind] < count && err == 0)
        err = sk_wait_step(object, &wait);
    if (object->counts[kind] >= count)
        err = 0;
    pthread_mutex_unlock(&object->lock);
    return err;
}

int sk_wait_sent(sk_object *object, unsigned timeout_ms)
{
    struct sk_wait wait;
    int err = 0;

    sk_wait_begin(&wait, timeout_ms, "sk_wait_sent", 0);
    pthread_mutex_lock(&object->lock);
    while (object->operations != 0 && err == 0)
        err = sk_wait_step(object, &wait);
    if (object->operations == 0)
        err = 0;
    pthread_mutex_unlock(&object->lock);
    return err;
}

size_t sk_log(sk_object *object, mach_msg_id_t id, struct sk_message *out, size_t capacity)
{
    size_t found = 0;

    pthread_mutex_lock(&object->lock);
    size_t end = object->log_count;
    size_t begin = end > SK_LOG_MESSAGES ? end - SK_LOG_MESSAGES : 0;
    /* Backwards, to find where the last CAPACITY begin. */
    size_t first = end;
    while (first > begin && found < capacity) {
        first--;
        if (id == 0 || object->log[first % SK_LOG_MESSAGES].id == id)
            found++;
    }
    size_t copied = 0;
    for (size_t i = first; i < end && copied < found; i++)
        if (id == 0 || object->log[i % SK_LOG_MESSAGES].id == id)
            out[copied++] = object->log[i % SK_LOG_MESSAGES];
    pthread_mutex_unlock(&object->lock);
    return copied;
}

int sk_last_message(sk_object *object, mach_msg_id_t id, struct sk_message *out)
{
    return sk_log(object, id, out, 1) == 1 ? 0 : ENOENT;
}

void sk_reset_log(sk_object *object)
{
    pthread_mutex_lock(&object->lock);
    object->log_count = 0;
    memset(object->counts, 0, sizeof object->counts);
    pthread_mutex_unlock(&object->lock);
}

unsigned sk_violations(sk_object *object)
{
    pthread_mutex_lock(&object->lock);
    unsigned violations = object->violations;
    pthread_mutex_unlock(&object->lock);
    return violations;
}

unsigned sk_send_failures(sk_object *object)
{
    pthread_mutex_lock(&object->lock);
    unsigned failures = object->send_failures;
    pthread_mutex_unlock(&object->lock);
    return failures;
}
