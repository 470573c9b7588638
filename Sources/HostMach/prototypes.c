/* prototypes.c: our hand-written headers say what MIG makes of the interface files.

   The compiler compares the two declarations of each call; a difference is an error. */

#include <mach/mach4.h>
#include <mach/mach_interface.h>
#include <mach/mach_port.h>

#include "mach4_defs_user.h"
#include "mach_defs_user.h"
#include "mach_port_defs_user.h"

typedef int hostmach_prototypes_agree;
