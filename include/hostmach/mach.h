/* <mach.h>: what a Mach program includes first. HostMach's version declares the calls that
   HostMach implements; see docs/hostmach.md for the list. */

#ifndef HOSTMACH_MACH_H
#define HOSTMACH_MACH_H

#include <mach/mach.h>

#endif
