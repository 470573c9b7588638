/* notify.c - what is done about notifications unless the program says otherwise.

   The messages are taken apart by MIG's server stub for notify.defs, which turns the
   port of the message into a referenced port with ports_begin_using_port before, and
   gives the reference back after.  */

#include "internal.h"
#include "translations.h"

/* The generated header defines this one as an inline function; the library exports it. */
#define ports_notify_server_routine inline_routine
#include "notify_S.h"
#undef ports_notify_server_routine

struct port_info *ports_begin_using_port(mach_port_t name)
{
    return ports_lookup_port(NULL, name, NULL);
}

void ports_end_using_port(struct port_info *port)
{
    if (port != NULL)
        ports_port_deref(port);
}

mig_routine_t ports_notify_server_routine(const mach_msg_header_t *inp)
{
    return inline_routine(inp);
}

kern_return_t ports_do_mach_notify_no_senders(struct port_info *port,
                                              mach_port_mscount_t count)
{
    if (port == NULL)
        return EOPNOTSUPP;
    ports_no_senders(port, count);
    return 0;
}

kern_return_t ports_do_mach_notify_dead_name(struct port_info *port,
                                             mach_port_name_t dead_name)
{
    if (port == NULL)
        return EOPNOTSUPP;
    ports_dead_name(port, dead_name);
    mach_port_deallocate(mach_task_self(), dead_name);
    return 0;
}

kern_return_t ports_do_mach_notify_port_deleted(struct port_info *port,
                                                mach_port_name_t name)
{
    (void)port;
    (void)name;
    return EOPNOTSUPP;
}

kern_return_t ports_do_mach_notify_msg_accepted(struct port_info *port,
                                                mach_port_name_t name)
{
    (void)port;
    (void)name;
    return EOPNOTSUPP;
}

kern_return_t ports_do_mach_notify_port_destroyed(struct port_info *port,
                                                  mach_port_t right)
{
    (void)port;
    (void)right;
    return EOPNOTSUPP;
}

kern_return_t ports_do_mach_notify_send_once(struct port_info *port)
{
    (void)port;
    return 0;
}

__attribute__((weak)) void ports_dead_name(void *notify, mach_port_t dead_name)
{
    (void)notify;
    (void)dead_name;
}

error_t ports_request_dead_name_notification(void *object, mach_port_t name,
                                             mach_port_t *previous)
{
    struct port_info *port = object;

    ports_mutex_lock(&ports_lock);
    mach_port_t right = port->port_right;
    error_t err = right == MACH_PORT_NULL
        ? EINVAL
        : mach_port_request_notification(mach_task_self(), name, MACH_NOTIFY_DEAD_NAME, 1,
                                         right, MACH_MSG_TYPE_MAKE_SEND_ONCE, previous);
    ports_mutex_unlock(&ports_lock);
    return err;
}
