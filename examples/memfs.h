/* memfs.h - memory objects whose pages are memory, under a quota: what a tmpfs is made of.

   Any number of objects share one quota, in pages.  A page counts from the moment that somebody is first allowed to write it;
   until then it is zero and costs nothing.  Without a page to be had, that first write is a memory error (SIGBUS), and
   pager_get_error says ENOSPC; reading goes on.  Every call may be made from any thread, but not from a pager's callback.  */

#ifndef MEMFS_H
#define MEMFS_H

#include <stdatomic.h>

#include <hurd/pager.h>

struct memfs {
    struct port_bucket *bucket;     /* whose workers somebody has started */
    atomic_long free_pages;         /* of the quota */
};

/* A new object of SIZE bytes, all zero.  MEMFS must outlive it.  *PAGER: with one reference for the caller, who ends it with pager_shutdown and
   ports_port_deref; its pages go back to the quota then.  ENOMEM, EINVAL (no size).  */
error_t memfs_create(struct memfs *memfs, vm_size_t size, struct pager **pager);

/* The pages that lie wholly within the range become zero again, in all kernels, and their memory is free: a hole is punched, as by truncation.
   Returns when it is done.  What others write into the range meanwhile may be lost.  */
void memfs_free(struct pager *pager, vm_offset_t offset, vm_size_t length);

#endif
