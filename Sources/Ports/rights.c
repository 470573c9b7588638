/* rights.c - a port's receive right: giving out send rights, and losing or changing it.

   States of a port's right:
     none        port_right is MACH_PORT_NULL, no flag
     private     port_right valid, PORT_HAS_SENDRIGHTS clear: nobody was promised one
     shared      port_right valid, flag set: one hard reference is the right's, and a
                 no-senders notification is registered or in the queue
   private -> shared    ports_get_right, ports_get_send_right, an import with senders
   shared -> private    no-senders whose count covers every promise (mscount)
   any -> none          destroy, claim, transfer away, the port's end

   mscount here counts promises, the kernel's counts send rights made.  As every
   promise is followed by exactly one MAKE_SEND, a notification that carries less than
   our count was sent before a promise was kept: ask again. */

#include <assert.h>

#include "internal.h"

void ports_kill_right(mach_port_t right)
{
    if (MACH_PORT_VALID(right))
        mach_port_mod_refs(mach_task_self(), right, MACH_PORT_RIGHT_RECEIVE, -1);
}

/* With ports_lock held.  The send-once right that was registered before, which can only
   be one of our own to the same port, is dropped at once: its notification
   comes to this port too, and is ignored. */
static kern_return_t request_no_senders(struct port_info *port)
{
    mach_port_t previous = MACH_PORT_NULL;
    kern_return_t err =
        mach_port_request_notification(mach_task_self(), port->port_right,
                                       MACH_NOTIFY_NO_SENDERS, port->mscount,
                                       port->port_right, MACH_MSG_TYPE_MAKE_SEND_ONCE,
                                       &previous);
    if (err == KERN_SUCCESS && MACH_PORT_VALID(previous))
        mach_port_deallocate(mach_task_self(), previous);
    return err;
}

/* With ports_lock held: the right holds a reference from now on, or, on error, not. */
static kern_return_t note_senders(struct port_info *port)
{
    if (port->flags & PORT_HAS_SENDRIGHTS)
        return KERN_SUCCESS;
    kern_return_t err = request_no_senders(port);
    if (err != KERN_SUCCESS)
        return err;
    port->flags |= PORT_HAS_SENDRIGHTS;
    ports_port_ref(port);
    return KERN_SUCCESS;
}

void ports_attach_right(struct port_info *port, mach_port_t right,
                        const mach_port_status_t *status)
{
    assert(port->port_right == MACH_PORT_NULL && !(port->flags & PORT_HAS_SENDRIGHTS));
    /* Read without the lock by whoever looks at this public field. */
    __atomic_store_n(&port->port_right, right, __ATOMIC_RELAXED);
    port->mscount = status->mps_mscount;
    ports_name_insert(right, port);
    if (status->mps_srights)
        (void)note_senders(port);   /* the flag tells */
}

mach_port_t ports_detach_right(struct port_info *port, int *drop)
{
    mach_port_t right = port->port_right;

    *drop = 0;
    if (right == MACH_PORT_NULL)
        return right;
    ports_name_remove(right, port);
    __atomic_store_n(&port->port_right, MACH_PORT_NULL, __ATOMIC_RELAXED);
    port->mscount = 0;
    *drop = (port->flags & PORT_HAS_SENDRIGHTS) != 0;
    port->flags &= ~PORT_HAS_SENDRIGHTS;
    /* Calls that wait to begin on this port must give up. */
    ports_cond_broadcast(&ports_changed);
    return right;
}

/* With ports_lock held: promise one send right; MACH_PORT_NULL if that cannot be. */
static mach_port_t promise_sender(struct port_info *port)
{
    if (port->port_right == MACH_PORT_NULL)
        return MACH_PORT_NULL;
    port->mscount++;
    if (note_senders(port) != KERN_SUCCESS) {
        port->mscount--;
        return MACH_PORT_NULL;
    }
    return port->port_right;
}

mach_port_t ports_get_right(void *port)
{
    ports_mutex_lock(&ports_lock);
    mach_port_t right = promise_sender(port);
    ports_mutex_unlock(&ports_lock);
    return right;
}

mach_port_t ports_get_send_right(void *object)
{
    struct port_info *port = object;

    ports_mutex_lock(&ports_lock);
    mach_port_t right = port->port_right;
    if (right != MACH_PORT_NULL
        && mach_port_insert_right(mach_task_self(), right, right, MACH_MSG_TYPE_MAKE_SEND)
               == KERN_SUCCESS) {
        if (promise_sender(port) == MACH_PORT_NULL) {
            /* The kernel has counted one that we have not: so shall we. */
            port->mscount++;
            mach_port_deallocate(mach_task_self(), right);
            right = MACH_PORT_NULL;
        }
    } else {
        right = MACH_PORT_NULL;
    }
    ports_mutex_unlock(&ports_lock);
    return right;
}

void ports_no_senders(void *object, mach_port_mscount_t mscount)
{
    struct port_info *port = object;
    int drop = 0;

    ports_mutex_lock(&ports_lock);
    if (port->flags & PORT_HAS_SENDRIGHTS) {
        if (mscount >= port->mscount) {
            port->flags &= ~PORT_HAS_SENDRIGHTS;
            drop = 1;
        } else {
            /* Without memory for it the port keeps the reference until its right is
               destroyed: that leaks, but frees nothing that is in use. */
            (void)request_no_senders(port);
        }
    }
    ports_mutex_unlock(&ports_lock);
    if (drop)
        ports_port_deref(port);
}

mach_port_t ports_claim_right(void *object)
{
    struct port_info *port = object;
    int drop;

    ports_mutex_lock(&ports_lock);
    mach_port_t right = ports_detach_right(port, &drop);
    if (right != MACH_PORT_NULL)
        mach_port_move_member(mach_task_self(), right, MACH_PORT_NULL);
    ports_mutex_unlock(&ports_lock);
    if (drop)
        ports_port_deref(port);
    return right;
}

void ports_destroy_right(void *object)
{
    struct port_info *port = object;
    int drop;

    ports_mutex_lock(&ports_lock);
    mach_port_t right = ports_detach_right(port, &drop);
    ports_mutex_unlock(&ports_lock);
    ports_kill_right(right);
    if (drop)
        ports_port_deref(port);
}

/* Replace PORT's right by RIGHT (or none), whose senders are as STATUS says. */
static void replace_right(struct port_info *port, mach_port_t right,
                          const mach_port_status_t *status)
{
    int drop;

    ports_mutex_lock(&ports_lock);
    mach_port_t old = ports_detach_right(port, &drop);
    if (right != MACH_PORT_NULL) {
        ports_attach_right(port, right, status);
        mach_port_move_member(mach_task_self(), right, port->bucket->portset);
    }
    ports_mutex_unlock(&ports_lock);
    ports_kill_right(old);
    if (drop)
        ports_port_deref(port);
}

void ports_reallocate_port(void *port)
{
    const mach_port_status_t status = { 0 };
    mach_port_t right;

    if (mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &right)
        != KERN_SUCCESS)
        right = MACH_PORT_NULL;
    replace_right(port, right, &status);
}

void ports_reallocate_from_external(void *port, mach_port_t receive)
{
    mach_port_status_t status;

    if (mach_port_get_receive_status(mach_task_self(), receive, &status) != KERN_SUCCESS)
        receive = MACH_PORT_NULL;
    replace_right(port, receive, &status);
}

error_t ports_transfer_right(void *to_object, void *from_object)
{
    struct port_info *from = from_object;
    struct port_info *to = to_object;
    mach_port_status_t status = { 0 };
    mach_port_t old = MACH_PORT_NULL;
    int drop_from = 0;
    int drop_to = 0;

    if (from == to)
        return 0;
    ports_mutex_lock(&ports_lock);
    status.mps_mscount = from->mscount;
    status.mps_srights = (from->flags & PORT_HAS_SENDRIGHTS) != 0;
    mach_port_t right = ports_detach_right(from, &drop_from);
    if (right != MACH_PORT_NULL) {
        old = ports_detach_right(to, &drop_to);
        ports_attach_right(to, right, &status);
        if (to->bucket != from->bucket)
            mach_port_move_member(mach_task_self(), right, to->bucket->portset);
    }
    ports_mutex_unlock(&ports_lock);
    ports_kill_right(old);
    if (drop_to)
        ports_port_deref(to);
    if (drop_from)
        ports_port_deref(from);
    return right == MACH_PORT_NULL ? EINVAL : 0;
}
