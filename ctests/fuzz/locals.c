/* locals.c - HostMach's thread-local variable. (Its internal header cannot be had beside the scripted kernel's.) */

#include "../../Sources/HostMach/internal.h"

#include "fuzz.h"

void fuzz_add_hostmach_local(void) { sim_add_local(&hostmach_thread, sizeof hostmach_thread); }
