/* translations.h - how MIG's stub for notify.defs turns a port's name into a port.
   Imported by the generated code. */

#ifndef PORTS_TRANSLATIONS_H
#define PORTS_TRANSLATIONS_H

#include <hurd/ports.h>

#pragma GCC visibility push(hidden)

/* The port whose right is NAME, with a reference; NULL if there is none. */
struct port_info *ports_begin_using_port(mach_port_t name);
void ports_end_using_port(struct port_info *port);

/* The generated table. */
extern mig_routine_t ports_notify_server_routines[];

#pragma GCC visibility pop

#endif
