/* rpcs.c - calls under way: beginning, ending, holding back, interrupting.

   A port, a class, a bucket and the library each have flags:
     INHIBITED      calls do not begin; somebody has the object to himself
     INHIBIT_WAIT   somebody waits for the calls under way to end; calls still begin, since
                    one that is under way may need another one in order to end
     BLOCKED        a call waits to begin
   Every wait is on ports_changed and ends when the flag that caused it goes, or, for a
   call that waits to begin, when its port loses the right. */

#include <assert.h>

#include "internal.h"

/* The interrupt_operation message of the Hurd's interrupt subsystem. */
static struct ports_msg_id_range interrupt_operation = { 33000, 33001, NULL };
struct ports_msg_id_range *ports_default_uninhibitable_rpcs = &interrupt_operation;

static int is_inhibitable(const struct port_class *class, mach_msg_id_t msgid)
{
    for (const struct ports_msg_id_range *range = class->uninhibitable_rpcs;
         range != NULL; range = range->next)
        if (msgid >= range->start && msgid < range->end)
            return 0;
    return 1;
}

/* The flags that hold a call on PORT back, or NULL. */
static int *inhibitor_of(struct port_info *port)
{
    int *const levels[] = { &ports_state.flags, &port->bucket->flags,
                            &port->class->flags, &port->flags };
    for (unsigned i = 0; i < sizeof levels / sizeof *levels; i++)
        if (*levels[i] & PORTS_INHIBITED)
            return levels[i];
    return NULL;
}

error_t ports_begin_rpc(void *object, mach_msg_id_t msgid, struct rpc_info *info)
{
    struct port_info *port = object;
    int inhibitable = is_inhibitable(port->class, msgid);
    int *flags;

    ports_mutex_lock(&ports_lock);
    while (port->port_right != MACH_PORT_NULL && inhibitable
           && (flags = inhibitor_of(port)) != NULL) {
        *flags |= PORTS_BLOCKED;
        ports_cond_wait(&ports_changed, &ports_lock);
    }
    if (port->port_right == MACH_PORT_NULL) {
        ports_mutex_unlock(&ports_lock);
        return EOPNOTSUPP;
    }
    info->thread = ports_thread_self();
    info->interrupted = 0;
    info->port = port;
    info->prevp = &port->current_rpcs;
    if ((info->next = port->current_rpcs) != NULL)
        info->next->prevp = &info->next;
    port->current_rpcs = info;
    info->all_prevp = &ports_state.all_rpcs;
    if ((info->all_next = ports_state.all_rpcs) != NULL)
        info->all_next->all_prevp = &info->all_next;
    ports_state.all_rpcs = info;
    port->class->rpcs++;
    port->bucket->rpcs++;
    ports_state.rpcs++;
    ports_mutex_unlock(&ports_lock);
    return 0;
}

void ports_end_rpc(void *object, struct rpc_info *info)
{
    struct port_info *port = object;

    ports_mutex_lock(&ports_lock);
    assert(info->port == port && info->thread == ports_thread_self());
    if ((*info->prevp = info->next) != NULL)
        info->next->prevp = info->prevp;
    if ((*info->all_prevp = info->all_next) != NULL)
        info->all_next->all_prevp = info->all_prevp;
    port->class->rpcs--;
    port->bucket->rpcs--;
    ports_state.rpcs--;
    if ((ports_state.flags | port->bucket->flags | port->class->flags | port->flags)
        & PORTS_INHIBIT_WAIT)
        ports_cond_broadcast(&ports_changed);
    ports_mutex_unlock(&ports_lock);
}

/* What an inhibition covers: the fields that are NULL do not restrict. */
struct scope {
    int *flags;
    const struct port_info *port;
    const struct port_class *class;
    const struct port_bucket *bucket;
};

/* With ports_lock held: how many calls in SCOPE other threads serve; each is marked as
   interrupted if MARK. */
static int count_others(const struct scope *scope, int mark)
{
    const void *self = ports_thread_self();
    int others = 0;

    for (struct rpc_info *info = ports_state.all_rpcs; info != NULL;
         info = info->all_next) {
        const struct port_info *port = info->port;
        if (info->thread == self || (scope->port != NULL && scope->port != port)
            || (scope->class != NULL && scope->class != port->class)
            || (scope->bucket != NULL && scope->bucket != port->bucket))
            continue;
        others++;
        if (mark)
            info->interrupted = 1;
    }
    return others;
}

static error_t inhibit(const struct scope *scope)
{
    error_t err = 0;

    ports_mutex_lock(&ports_lock);
    if (*scope->flags & (PORTS_INHIBITED | PORTS_INHIBIT_WAIT)) {
        err = EBUSY;
    } else {
        count_others(scope, 1);
        *scope->flags |= PORTS_INHIBIT_WAIT;
        while (count_others(scope, 0) != 0)
            ports_cond_wait(&ports_changed, &ports_lock);
        *scope->flags &= ~PORTS_INHIBIT_WAIT;
        *scope->flags |= PORTS_INHIBITED;
    }
    ports_mutex_unlock(&ports_lock);
    return err;
}

static void resume(int *flags)
{
    ports_mutex_lock(&ports_lock);
    assert(*flags & PORTS_INHIBITED);
    if (*flags & PORTS_BLOCKED)
        ports_cond_broadcast(&ports_changed);
    *flags &= ~(PORTS_INHIBITED | PORTS_BLOCKED);
    ports_mutex_unlock(&ports_lock);
}

error_t ports_inhibit_port_rpcs(void *object)
{
    struct port_info *port = object;
    return inhibit(&(struct scope){ .flags = &port->flags, .port = port });
}

error_t ports_inhibit_class_rpcs(struct port_class *class)
{
    return inhibit(&(struct scope){ .flags = &class->flags, .class = class });
}

error_t ports_inhibit_bucket_rpcs(struct port_bucket *bucket)
{
    return inhibit(&(struct scope){ .flags = &bucket->flags, .bucket = bucket });
}

error_t ports_inhibit_all_rpcs(void)
{
    return inhibit(&(struct scope){ .flags = &ports_state.flags });
}

void ports_resume_port_rpcs(void *object)
{
    struct port_info *port = object;
    resume(&port->flags);
}

void ports_resume_class_rpcs(struct port_class *class)
{
    resume(&class->flags);
}

void ports_resume_bucket_rpcs(struct port_bucket *bucket)
{
    resume(&bucket->flags);
}

void ports_resume_all_rpcs(void)
{
    resume(&ports_state.flags);
}

void ports_interrupt_rpcs(void *port)
{
    ports_mutex_lock(&ports_lock);
    count_others(&(struct scope){ .port = port }, 1);
    ports_mutex_unlock(&ports_lock);
}

int ports_self_interrupted(void)
{
    const void *self = ports_thread_self();
    int interrupted = 0;

    ports_mutex_lock(&ports_lock);
    for (struct rpc_info *info = ports_state.all_rpcs; info != NULL;
         info = info->all_next) {
        if (info->thread == self) {
            interrupted |= info->interrupted;
            info->interrupted = 0;
        }
    }
    ports_mutex_unlock(&ports_lock);
    return interrupted;
}
