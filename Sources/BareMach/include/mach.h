/* <mach.h>: what a Mach program includes first.  The declarations are MIG's, made from Debian's interface files while building.  */

#ifndef BAREMACH_MACH_H
#define BAREMACH_MACH_H

#include <mach/mach.h>

#endif
