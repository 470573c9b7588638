/* references.c - hard and weak references, and a port's end.

   Guarantees:
     - Both counts change in one atomic step, so exactly one thread sees the last
       reference of both sorts go; that thread, and nobody else, ends the port.
     - From zero and zero there is no way back (ports_try_ref refuses); from zero hard
       and some weak there is: a lookup makes the port hard again.
     - dropweak_routine runs while the thread still has a weak reference of its own. */

#include <assert.h>
#include <stdlib.h>

#include "internal.h"

#define HARD_ONE  1ull
#define WEAK_ONE  (1ull << 32)
#define HARD_OF(counts) ((unsigned)((counts) & 0xffffffffull))
#define WEAK_OF(counts) ((unsigned)((counts) >> 32))

void ports_init_refs(struct port_info *port, unsigned hard)
{
    __atomic_store_n(&port->refcounts.counts, hard * HARD_ONE, __ATOMIC_RELEASE);
}

int ports_try_ref(struct port_info *port)
{
    unsigned long long old = __atomic_load_n(&port->refcounts.counts, __ATOMIC_RELAXED);
    do {
        if (old == 0)
            return 0;
        assert(HARD_OF(old) != ~0u);
    } while (!__atomic_compare_exchange_n(&port->refcounts.counts, &old, old + HARD_ONE,
                                          1, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    return 1;
}

static unsigned long long add(struct port_info *port, unsigned long long delta)
{
    return __atomic_add_fetch(&port->refcounts.counts, delta, __ATOMIC_ACQ_REL);
}

void ports_port_ref(void *object)
{
    unsigned long long counts = add(object, HARD_ONE);
    assert(counts != HARD_ONE && HARD_OF(counts) != 0);
    (void)counts;
}

void ports_port_ref_weak(void *object)
{
    unsigned long long counts = add(object, WEAK_ONE);
    assert(counts != WEAK_ONE && WEAK_OF(counts) != 0);
    (void)counts;
}

/* No reference is left: this thread ends the port. */
static void complete_deallocate(struct port_info *port)
{
    int drop = 0;

    ports_mutex_lock(&ports_lock);
    mach_port_t right = ports_detach_right(port, &drop);
    ports_mutex_unlock(&ports_lock);
    assert(!drop && port->current_rpcs == NULL);
    ports_kill_right(right);

    if (port->class->clean_routine != NULL && !(port->flags & PORT_STILLBORN))
        port->class->clean_routine(port);

    ports_mutex_lock(&ports_lock);
    if ((*port->bucket_prevp = port->bucket_next) != NULL)
        port->bucket_next->bucket_prevp = port->bucket_prevp;
    if ((*port->class_prevp = port->class_next) != NULL)
        port->class_next->class_prevp = port->class_prevp;
    port->bucket->count--;
    port->class->count--;
    ports_mutex_unlock(&ports_lock);
    free(port);
}

void ports_port_deref_weak(void *object)
{
    struct port_info *port = object;
    unsigned long long counts = add(port, -WEAK_ONE);

    assert(WEAK_OF(counts) != ~0u);
    if (counts == 0)
        complete_deallocate(port);
}

void ports_port_deref(void *object)
{
    struct port_info *port = object;
    unsigned long long counts;

    if (port->class->dropweak_routine == NULL) {
        counts = __atomic_fetch_sub(&port->refcounts.counts, HARD_ONE, __ATOMIC_ACQ_REL);
        assert(HARD_OF(counts) != 0);
        if (counts == HARD_ONE)
            complete_deallocate(port);
        return;
    }
    /* Turn our hard reference into a weak one, so that the port outlives the routine. */
    assert(HARD_OF(__atomic_load_n(&port->refcounts.counts, __ATOMIC_RELAXED)) != 0);
    counts = add(port, WEAK_ONE - HARD_ONE);
    if (HARD_OF(counts) == 0 && WEAK_OF(counts) > 1)
        port->class->dropweak_routine(port);
    ports_port_deref_weak(port);
}
