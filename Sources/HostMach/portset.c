/* portset.c: port sets.

   A set is known by one name in one task; its members' receive rights are in the same task. The set has the queue
   for all of them (mqueue.c). References: the name's, and one for each thread that waits in it. */

#include "internal.h"

#include <string.h>

struct ipc_pset *
ipc_pset_alloc (void)
{
    struct ipc_pset *pset = ipc_alloc (sizeof *pset);
    if (pset == NULL)
        return NULL;
    memset (pset, 0, sizeof *pset);
    pset->refs = 1;
    pset->active = true;
    ipc_mqueue_init (&pset->mqueue);
    TAILQ_INIT (&pset->members);
    return pset;
}

void
ipc_pset_release (struct ipc_pset *pset)
{
    if (--pset->refs == 0)
        ipc_free (pset);
}

void
ipc_pset_destroy (struct ipc_pset *pset)
{
    struct ipc_port *port;
    while ((port = TAILQ_FIRST (&pset->members)) != NULL)
        ipc_pset_remove (port);
    pset->active = false;
    pset->entry = NULL;
    ipc_wake_all (&pset->mqueue.receivers, MACH_RCV_PORT_DIED);
    ipc_pset_release (pset);
}

void
ipc_pset_add (struct ipc_pset *pset, struct ipc_port *port)
{
    assert (port->pset == NULL);
    ipc_wake_all (&port->mqueue.receivers, MACH_RCV_PORT_CHANGED);
    port->pset = pset;
    TAILQ_INSERT_TAIL (&pset->members, port, member_link);
    pset->member_count++;
    ipc_mqueue_merge (&pset->mqueue, &port->mqueue, NULL);
}

void
ipc_pset_remove (struct ipc_port *port)
{
    struct ipc_pset *pset = port->pset;
    port->pset = NULL;
    TAILQ_REMOVE (&pset->members, port, member_link);
    pset->member_count--;
    ipc_mqueue_merge (&port->mqueue, &pset->mqueue, port);
}
