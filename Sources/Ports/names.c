/* names.c - from a receive right's name to its port.

   Guarantees: a lookup takes one of STRIPES locks, for the length of a short chain, and
   takes its reference under it, so it is safe against the last dereference: that
   removes the name first, and a port without references refuses new ones.

   A stripe is a hash table of its own, chained through port_info.name_next, and grows
   by itself.  If it cannot grow its chains get longer; nothing fails. */

#include <assert.h>
#include <stdlib.h>

#include "internal.h"

#define STRIPES 32u             /* a power of two */
#define FIRST_SLOTS 4u

struct stripe {
    ports_mutex_t lock;
    unsigned slot_count;        /* a power of two; 1 at first */
    unsigned port_count;
    struct port_info *first_slot;
    struct port_info **slots;   /* NULL: the only slot is first_slot */
} __attribute__((aligned(64)));

static struct stripe stripes[STRIPES] = {
    [0 ... STRIPES - 1] = { .lock = PORTS_MUTEX_INITIALIZER, .slot_count = 1 },
};

static unsigned hash(mach_port_t name)
{
    unsigned mixed = name * 2654435761u;
    return mixed ^ (mixed >> 15);
}

static struct stripe *stripe_of(mach_port_t name)
{
    return &stripes[hash(name) & (STRIPES - 1)];
}

static struct port_info **slot_of(struct stripe *stripe, mach_port_t name)
{
    if (stripe->slots == NULL)
        return &stripe->first_slot;
    return &stripe->slots[(hash(name) / STRIPES) & (stripe->slot_count - 1)];
}

/* The name a port is chained under is its port_right, which changes only while the
   port is not in the table. */
static void grow(struct stripe *stripe)
{
    unsigned slot_count = stripe->slots == NULL ? FIRST_SLOTS : stripe->slot_count * 2;
    struct port_info **slots = calloc(slot_count, sizeof *slots);
    struct port_info **old = stripe->slots;
    unsigned old_count = stripe->slot_count;

    if (slots == NULL)
        return;
    struct port_info *single = stripe->first_slot;
    stripe->slots = slots;
    stripe->slot_count = slot_count;
    stripe->first_slot = NULL;
    for (unsigned i = 0; i < old_count; i++) {
        struct port_info *port = old == NULL ? single : old[i];
        while (port != NULL) {
            struct port_info *next = port->name_next;
            struct port_info **slot = slot_of(stripe, port->port_right);
            port->name_next = *slot;
            *slot = port;
            port = next;
        }
    }
    free(old);
}

void ports_name_insert(mach_port_t name, struct port_info *port)
{
    struct stripe *stripe = stripe_of(name);

    assert(port->port_right == name);
    ports_mutex_lock(&stripe->lock);
    if (stripe->port_count >= stripe->slot_count)
        grow(stripe);
    struct port_info **slot = slot_of(stripe, name);
    port->name_next = *slot;
    *slot = port;
    stripe->port_count++;
    ports_mutex_unlock(&stripe->lock);
}

void ports_name_remove(mach_port_t name, struct port_info *port)
{
    struct stripe *stripe = stripe_of(name);

    ports_mutex_lock(&stripe->lock);
    struct port_info **link = slot_of(stripe, name);
    while (*link != port) {
        assert(*link != NULL);
        link = &(*link)->name_next;
    }
    *link = port->name_next;
    port->name_next = NULL;
    /* An empty stripe keeps no memory, so that a program that ends all its ports
       leaks nothing. */
    if (--stripe->port_count == 0) {
        free(stripe->slots);
        stripe->slots = NULL;
        stripe->slot_count = 1;
    }
    ports_mutex_unlock(&stripe->lock);
}

/* A port's bucket and class never change, so they need no lock. */
static int fits(const struct port_info *port, const struct port_bucket *bucket,
                const struct port_class *class)
{
    return (bucket == NULL || port->bucket == bucket)
           && (class == NULL || port->class == class);
}

void *ports_lookup_port(struct port_bucket *bucket, mach_port_t name,
                        struct port_class *class)
{
    if (!MACH_PORT_VALID(name))
        return NULL;

    struct stripe *stripe = stripe_of(name);
    ports_mutex_lock(&stripe->lock);
    struct port_info *port = *slot_of(stripe, name);
    while (port != NULL && port->port_right != name)
        port = port->name_next;
    if (port != NULL && (!fits(port, bucket, class) || !ports_try_ref(port)))
        port = NULL;
    ports_mutex_unlock(&stripe->lock);
    return port;
}

static struct port_info *stripe_lookup_payload(struct stripe *stripe,
                                               unsigned long payload,
                                               struct port_bucket *bucket,
                                               struct port_class *class)
{
    for (unsigned i = 0; i < stripe->slot_count; i++) {
        struct port_info *port = stripe->slots == NULL ? stripe->first_slot
                                                       : stripe->slots[i];
        for (; port != NULL; port = port->name_next)
            if ((unsigned long)port == payload)
                return fits(port, bucket, class) && ports_try_ref(port) ? port : NULL;
    }
    return NULL;
}

void *ports_lookup_payload(struct port_bucket *bucket, unsigned long payload,
                           struct port_class *class)
{
    struct port_info *port = NULL;

    for (unsigned i = 0; i < STRIPES && port == NULL; i++) {
        ports_mutex_lock(&stripes[i].lock);
        port = stripe_lookup_payload(&stripes[i], payload, bucket, class);
        ports_mutex_unlock(&stripes[i].lock);
    }
    return port;
}
