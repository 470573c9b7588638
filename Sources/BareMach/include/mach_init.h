/* <mach_init.h>: the calling task's own names and the page size.  */

#ifndef BAREMACH_MACH_INIT_H
#define BAREMACH_MACH_INIT_H

#include <mach/mach_traps.h>
#include <mach/mach_types.h>

/* Bytes in a page; a power of two.  Set before main.  */
extern vm_size_t vm_page_size;

#endif
