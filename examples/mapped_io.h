/* mapped_io.h - an object mapped by a kernel, read and written as a disk is: with errors instead of signals.

   A mapping is memory: a touch of a page that the pager refuses is SIGBUS.  The functions here return the error
   instead.  Below them is an I/O manager for libext2fs, so that file system code runs on mapped memory: each access is a
   copy to or from the mapping, and what is not there is a page fault.  Nothing is kept between two accesses but the
   kernel's own pages, so two kernels see what the pager lets them.  */

#ifndef MAPPED_IO_H
#define MAPPED_IO_H

#include <stdatomic.h>
#include <stddef.h>

#include <ext2fs/ext2fs.h>
#include <hurd/pager.h>
#include <mapping/mapping_kernel.h>

struct mapped {
    char name[32];
    struct pager *pager;            /* asked for errors */
    error_t (*sync)(struct pager *);
    char *start;                    /* the mapping, whole pages */
    size_t size;                    /* bytes that may be used */
    atomic_ulong read_bytes, written_bytes;
};

/* Map the first SIZE bytes of PAGER's object through KERNEL (NULL: the default one), for reading and writing.  The handler of SIGBUS
   becomes ours, with the first call; faults that are not ours go to whoever had it before.
   SYNC: what mapped_io_manager's flush calls; NULL: pager_sync, which waits.  An errno.  */
error_t mapped_open(struct mapped *mapped, const char *name, mk_kernel *kernel, struct pager *pager, size_t size,
                    error_t (*sync)(struct pager *));

/* Unmap.  Nobody may use it then.  */
error_t mapped_close(struct mapped *mapped);

/* Copy LENGTH bytes out of the object or into it.  From any thread.  An error is the pager's for the page (pager_get_error); EIO if it has
   none, as after pager_shutdown; EINVAL behind the end.  After an error some of it may have been copied.  */
error_t mapped_read(struct mapped *mapped, size_t offset, void *data, size_t length);
error_t mapped_write(struct mapped *mapped, size_t offset, const void *data, size_t length);

/* ext2fs_open(MAPPED->name, ..., mapped_io_manager, ...) finds MAPPED, from mapped_open to mapped_close.  */
extern io_manager mapped_io_manager;

#endif
