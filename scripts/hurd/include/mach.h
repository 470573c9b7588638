/* Stand-in for the Hurd's <mach.h> (README.md).  */

#ifndef STANDIN_MACH_H
#define STANDIN_MACH_H

#include <mach/mach_types.h>
#include <mach/message.h>
#include <mach/mig_errors.h>
#include <mach/notify.h>
#include <mach/port.h>

#include <mach_init.h>
/* These come from MIG; mach4.h is not among what <mach.h> includes.  */
#include <mach/mach_interface.h>
#include <mach/mach_port.h>

extern void mach_msg_destroy(mach_msg_header_t *message);

#endif
