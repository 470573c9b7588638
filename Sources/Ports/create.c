/* create.c - buckets, classes, and the making of ports.

   Guarantees: a port that is returned is complete: it has its right, its lists, its
   name and one hard reference.  The right enters the port set last, so that no message
   can be received for a port that is not there yet.  On error nothing is left behind. */

#include <stdlib.h>
#include <string.h>

#include "internal.h"

ports_mutex_t ports_lock = PORTS_MUTEX_INITIALIZER;
ports_cond_t ports_changed = PORTS_COND_INITIALIZER;
struct ports_state ports_state;

struct port_bucket *ports_create_bucket(void)
{
    struct port_bucket *bucket = calloc(1, sizeof *bucket);
    if (bucket == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    kern_return_t err = mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_PORT_SET,
                                           &bucket->portset);
    if (err != KERN_SUCCESS) {
        free(bucket);
        errno = ENOMEM;
        return NULL;
    }
    return bucket;
}

struct port_class *ports_create_class(void (*clean_routine)(void *),
                                      void (*dropweak_routine)(void *))
{
    struct port_class *class = calloc(1, sizeof *class);
    if (class == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    class->clean_routine = clean_routine;
    class->dropweak_routine = dropweak_routine;
    class->uninhibitable_rpcs = ports_default_uninhibitable_rpcs;
    return class;
}

error_t ports_destroy_bucket(struct port_bucket *bucket)
{
    ports_mutex_lock(&ports_lock);
    int busy = bucket->count != 0;
    ports_mutex_unlock(&ports_lock);
    if (busy)
        return EBUSY;
    mach_port_destroy(mach_task_self(), bucket->portset);
    free(bucket);
    return 0;
}

error_t ports_destroy_class(struct port_class *class)
{
    ports_mutex_lock(&ports_lock);
    int busy = class->count != 0;
    ports_mutex_unlock(&ports_lock);
    if (busy)
        return EBUSY;
    free(class);
    return 0;
}

/* With ports_lock held: wait until neither the class nor the bucket bans new ports. */
static void wait_for_permission(struct port_class *class, struct port_bucket *bucket)
{
    while ((class->flags | bucket->flags) & PORTS_NO_ALLOC) {
        if (class->flags & PORTS_NO_ALLOC)
            class->flags |= PORTS_ALLOC_WAIT;
        if (bucket->flags & PORTS_NO_ALLOC)
            bucket->flags |= PORTS_ALLOC_WAIT;
        ports_cond_wait(&ports_changed, &ports_lock);
    }
}

/* Make a port around RIGHT, which stays the caller's on error. */
static error_t create(struct port_class *class, struct port_bucket *bucket,
                      mach_port_t right, const mach_port_status_t *status, size_t size,
                      struct port_info **result)
{
    if (size < sizeof(struct port_info))
        size = sizeof(struct port_info);
    struct port_info *port = calloc(1, size);
    if (port == NULL)
        return ENOMEM;

    port->class = class;
    port->bucket = bucket;
    ports_init_refs(port, 1);

    ports_mutex_lock(&ports_lock);
    wait_for_permission(class, bucket);
    port->bucket_prevp = &bucket->ports;
    if ((port->bucket_next = bucket->ports) != NULL)
        port->bucket_next->bucket_prevp = &port->bucket_next;
    bucket->ports = port;
    bucket->count++;
    port->class_prevp = &class->ports;
    if ((port->class_next = class->ports) != NULL)
        port->class_next->class_prevp = &port->class_next;
    class->ports = port;
    class->count++;
    ports_attach_right(port, right, status);
    ports_mutex_unlock(&ports_lock);
    *result = port;
    return 0;
}

/* A right that nobody can send to yet. */
static const mach_port_status_t new_status;

error_t ports_create_port_noinstall(struct port_class *class, struct port_bucket *bucket,
                                    size_t size, void *result)
{
    mach_port_t right;
    struct port_info *port;

    error_t err = mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &right);
    if (err != 0)
        return err;
    err = create(class, bucket, right, &new_status, size, &port);
    if (err != 0) {
        ports_kill_right(right);
        return err;
    }
    memcpy(result, &port, sizeof port);
    return 0;
}

static error_t install(struct port_info *port, mach_port_t right)
{
    return mach_port_move_member(mach_task_self(), right, port->bucket->portset);
}

/* Get rid of a port that its user has not seen. */
static void abandon(struct port_info *port)
{
    ports_mutex_lock(&ports_lock);
    port->flags |= PORT_STILLBORN;
    ports_mutex_unlock(&ports_lock);
    ports_port_deref(port);
}

error_t ports_create_port(struct port_class *class, struct port_bucket *bucket,
                          size_t size, void *result)
{
    struct port_info *port;

    error_t err = ports_create_port_noinstall(class, bucket, size, &port);
    if (err != 0)
        return err;
    err = install(port, port->port_right);
    if (err != 0) {
        abandon(port);
        return err;
    }
    memcpy(result, &port, sizeof port);
    return 0;
}

error_t ports_import_port(struct port_class *class, struct port_bucket *bucket,
                          mach_port_t right, size_t size, void *result)
{
    mach_port_status_t status;
    struct port_info *port;

    error_t err = mach_port_get_receive_status(mach_task_self(), right, &status);
    if (err != 0)
        return err;
    err = create(class, bucket, right, &status, size, &port);
    if (err != 0)
        return err;
    /* Nobody else can find the port out and change its flag: its right is in no set. */
    if (status.mps_srights && !(port->flags & PORT_HAS_SENDRIGHTS))
        err = KERN_RESOURCE_SHORTAGE;
    else
        err = install(port, right);
    if (err != 0) {
        ports_claim_right(port);
        abandon(port);
        return err;
    }
    memcpy(result, &port, sizeof port);
    return 0;
}
