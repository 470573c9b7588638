/* iterate.c - counting ports while holding new ones back, and visiting them all.

   Guarantee: the function sees each port that was there when the visit began and still
   had a reference, once, with a reference held and no lock. */

#include <assert.h>
#include <stdlib.h>

#include "internal.h"

static int count(int *flags, const int *number)
{
    ports_mutex_lock(&ports_lock);
    *flags |= PORTS_NO_ALLOC;
    int found = *number;
    ports_mutex_unlock(&ports_lock);
    return found;
}

static void enable(int *flags)
{
    ports_mutex_lock(&ports_lock);
    if (*flags & PORTS_ALLOC_WAIT)
        ports_cond_broadcast(&ports_changed);
    *flags &= ~(PORTS_NO_ALLOC | PORTS_ALLOC_WAIT);
    ports_mutex_unlock(&ports_lock);
}

int ports_count_class(struct port_class *class)
{
    return count(&class->flags, &class->count);
}

int ports_count_bucket(struct port_bucket *bucket)
{
    return count(&bucket->flags, &bucket->count);
}

void ports_enable_class(struct port_class *class)
{
    enable(&class->flags);
}

void ports_enable_bucket(struct port_bucket *bucket)
{
    enable(&bucket->flags);
}

/* Visit the ports of BUCKET or, if that is NULL, of CLASS. */
static error_t iterate(struct port_bucket *bucket, struct port_class *class,
                       error_t (*fun)(void *port))
{
    struct port_info **visit = NULL;
    int held = 0;
    error_t err = 0;

    ports_mutex_lock(&ports_lock);
    int needed = bucket != NULL ? bucket->count : class->count;
    if (needed != 0) {
        visit = malloc((size_t)needed * sizeof *visit);
        if (visit == NULL) {
            ports_mutex_unlock(&ports_lock);
            return ENOMEM;
        }
    }
    for (struct port_info *port = bucket != NULL ? bucket->ports : class->ports;
         port != NULL; port = bucket != NULL ? port->bucket_next : port->class_next) {
        if (!ports_try_ref(port))
            continue;
        assert(held < needed);
        visit[held++] = port;
    }
    ports_mutex_unlock(&ports_lock);

    for (int i = 0; i < held; i++) {
        if (err == 0)
            err = fun(visit[i]);
        ports_port_deref(visit[i]);
    }
    free(visit);
    return err;
}

error_t ports_bucket_iterate(struct port_bucket *bucket, error_t (*fun)(void *port))
{
    return iterate(bucket, NULL, fun);
}

error_t ports_class_iterate(struct port_class *class, error_t (*fun)(void *port))
{
    return iterate(NULL, class, fun);
}
