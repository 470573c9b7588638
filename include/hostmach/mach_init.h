/* <mach_init.h>: the calling task's own names and the page size. */

#ifndef HOSTMACH_MACH_INIT_H
#define HOSTMACH_MACH_INIT_H

#include <mach/mach_traps.h>
#include <mach/mach_types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes in a page; a power of two. Set before any constructor of a program that links HostMach runs. */
extern vm_size_t vm_page_size;

#ifdef __cplusplus
}
#endif

#endif
