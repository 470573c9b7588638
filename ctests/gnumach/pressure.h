/* pressure.h: a translator whose store is a disk of the kernel's own, for an object that is larger than the memory (pressure.c).  */

#ifndef GNUMACH_PRESSURE_H
#define GNUMACH_PRESSURE_H

#include <stdint.h>

#include <hurd/pager.h>
#include <pager/extensions.h>

/* The disk on which QEMU puts the object (scripts/test-gnumach), from its first byte on.  */
#define DISK "hd0"

struct user_pager_info {
    size_t pages;
    unsigned notified;                      /* pages whose eviction was told */
    unsigned reads, writes;                 /* pages */
    unsigned requests;                      /* calls of the disk */
    unsigned failures;                      /* of them, those that it refused */
    unsigned cleared;
};

/* The disk's size in bytes; opens it when first called.  */
uint64_t disk_bytes(void);

#endif
