/* imagepager.h - a translator's heart: a file as a memory object.

   A file (a disk image, a device) is offered as a memory object that any number of kernels may map at once.
   Offsets and sizes are in bytes.  Every call may be made from any thread, but not from a pager's callback.  */

#ifndef IMAGEPAGER_H
#define IMAGEPAGER_H

#include <hurd/pager.h>

/* Offer the file PATH, which is opened for reading and writing and must not change its size, through BUCKET, whose
   workers somebody has started (pager_start_workers).  *PAGER: the memory object, with one reference for the caller;
   ports_get_send_right makes the right that kernels map.
   Errors: what opening the file says, EINVAL (not a regular file, or empty), ENOMEM.  */
error_t image_create(const char *path, struct port_bucket *bucket, struct pager **pager);

/* Write every changed page into the file and the file onto its disk; return when that is done.  Kernels keep
   their pages.  The error of the first page that could not be written, or fsync's.  */
error_t image_sync(struct pager *pager);

/* Take every page back from every kernel, write what is dirty, and let go of the caller's reference.  The file is
   closed when the last reference has gone.  Mappings give memory errors from now on.  The error as above.  */
error_t image_close(struct pager *pager);

/* What the file has seen since it was opened.  */
struct image_counts {
    unsigned long reads;            /* calls of pread */
    unsigned long writes;           /* calls of pwrite */
    unsigned long read_bytes, written_bytes;
    vm_size_t size;                 /* of the file */
};
void image_get_counts(struct pager *pager, struct image_counts *counts);

#endif
