/* imagepager.c - a file as a memory object: a translator's pager, complete, to be read and copied.

   What a translator does to have its data mapped, with the Hurd's interface alone:

     1. It makes a port bucket and starts workers on it, which receive the kernels' messages (the caller did).
     2. It makes a pager for each object, with data of its own: struct user_pager_info, below.
     3. It defines the callbacks that the library calls: read a page, write a page, and a few more.

   Who has which page, who must give it up first, and in what order pages reach the file is the library's business.
   The callbacks here only move bytes between a page and the file.  They are called one at a time for one pager; only
   the file's numbers are kept, in atomics, so that image_get_counts may look at any time.  */

#include "imagepager.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mach.h>

struct user_pager_info {
    int file;                       /* descriptor */
    vm_size_t size;                 /* of the file; its last page may be part of a page */
    atomic_int error;               /* of the first write that failed, until somebody is told */
    atomic_ulong reads, writes, read_bytes, written_bytes;
};


/* ---- Moving bytes ---- */

/* Read LENGTH bytes at OFFSET; the file has them.  pread may stop early, so ask until all is there.  */
static error_t read_file(struct user_pager_info *image, vm_offset_t offset, char *data, vm_size_t length)
{
    while (length > 0) {
        ssize_t count = pread(image->file, data, length, (off_t) offset);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count < 0 ? errno : EIO;         /* the file has shrunk */
        atomic_fetch_add(&image->reads, 1);
        atomic_fetch_add(&image->read_bytes, (unsigned long) count);
        offset += (vm_offset_t) count;
        data += count;
        length -= (vm_size_t) count;
    }
    return 0;
}

/* Write LENGTH bytes at OFFSET.  *WRITTEN: how many were, also after an error.  */
static error_t write_file(struct user_pager_info *image, vm_offset_t offset, const char *data, vm_size_t length,
                           vm_size_t *written)
{
    error_t error = 0;
    *written = 0;
    while (*written < length && !error) {
        ssize_t count = pwrite(image->file, data + *written, length - *written, (off_t) (offset + *written));
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            error = count < 0 ? errno : EIO;
            break;
        }
        atomic_fetch_add(&image->writes, 1);
        atomic_fetch_add(&image->written_bytes, (unsigned long) count);
        *written += (vm_size_t) count;
    }
    if (error) {
        int none = 0;
        atomic_compare_exchange_strong(&image->error, &none, error);
    }
    return error;
}

/* How many of the LENGTH bytes at OFFSET the file has: fewer than a page at the end of the file.  */
static vm_size_t bytes_in_file(struct user_pager_info *image, vm_offset_t offset, vm_size_t length)
{
    if (offset >= image->size)
        return 0;
    return image->size - offset < length ? image->size - offset : length;
}


/* ---- What the library asks of us ---- */

/* Fresh memory from vm_allocate is zero, so the end of the last page is.  The library takes the buffer over when we
   say that all is well; otherwise it is still ours to free.  */
error_t pager_read_page(struct user_pager_info *image, vm_offset_t page, vm_address_t *buf, int *write_lock)
{
    vm_size_t length = bytes_in_file(image, page, vm_page_size);
    if (length == 0)
        return EIO;                                 /* behind the end of the file */
    if (vm_allocate(mach_task_self(), buf, vm_page_size, TRUE) != KERN_SUCCESS)
        return ENOMEM;
    error_t error = read_file(image, page, (char *) *buf, length);
    if (error)
        vm_deallocate(mach_task_self(), *buf, vm_page_size);
    *write_lock = 0;                                /* whoever has the page may write it */
    return error;
}

/* BUF is the library's and stays so.  What lies behind the end of the file is dropped.  */
error_t pager_write_page(struct user_pager_info *image, vm_offset_t page, vm_address_t buf)
{
    vm_size_t written;
    return write_file(image, page, (const char *) buf, bytes_in_file(image, page, vm_page_size), &written);
}

/* Optional: several neighbours with one call.  A prefix may be written; *WRITTEN says how much, in whole pages.  */
error_t pager_write_pages(struct user_pager_info *image, vm_offset_t offset, vm_address_t data, vm_size_t length,
                           vm_size_t *written)
{
    error_t error = write_file(image, offset, (const char *) data, bytes_in_file(image, offset, length), written);
    *written = error ? *written - *written % vm_page_size : length;
    return error;
}

/* A file system that allocates blocks on the first write would say *WRITE_LOCK above, and allocate here.  */
error_t pager_unlock_page(struct user_pager_info *image, vm_offset_t address)
{
    (void) image, (void) address;
    return 0;
}

/* Only for pagers that were made with notify_on_evict.  */
void pager_notify_evict(struct user_pager_info *image, vm_offset_t page)
{
    (void) image, (void) page;
}

/* pager_sync, pager_return and pager_flush mean this range.  */
error_t pager_report_extent(struct user_pager_info *image, vm_address_t *offset, vm_size_t *size)
{
    *offset = 0;
    *size = (image->size + vm_page_size - 1) / vm_page_size * vm_page_size;
    return 0;
}

/* The last reference has gone.  The structure itself goes with the pager (pager_create_alloc).  */
void pager_clear_user_data(struct user_pager_info *image)
{
    if (close(image->file) != 0)
        perror("imagepager: close");
}

/* We keep no weak references.  */
void pager_dropweak(struct user_pager_info *image)
{
    (void) image;
}


/* ---- For the rest of the translator ---- */

error_t image_create(const char *path, struct port_bucket *bucket, struct pager **result)
{
    struct stat status;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return errno;
    if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0) {
        close(file);
        return EINVAL;
    }

    /* Nobody knows the new pager yet, so no callback comes before the data are complete.  */
    struct pager *pager = pager_create_alloc(sizeof(struct user_pager_info), bucket, FALSE,
                                              MEMORY_OBJECT_COPY_DELAY, FALSE);
    if (pager == NULL) {
        error_t error = errno;
        close(file);
        return error;
    }
    struct user_pager_info *image = pager_get_upi(pager);
    image->file = file;
    image->size = (vm_size_t) status.st_size;
    *result = pager;
    return 0;
}

/* The first error since somebody was told last; ours to report once.  */
static error_t write_error(struct user_pager_info *image)
{
    error_t error = atomic_exchange(&image->error, 0);
    if (!error && fdatasync(image->file) != 0)
        error = errno;
    return error;
}

error_t image_sync(struct pager *pager)
{
    pager_sync(pager, 1);
    return write_error(pager_get_upi(pager));
}

error_t image_close(struct pager *pager)
{
    pager_shutdown(pager);
    error_t error = write_error(pager_get_upi(pager));
    ports_port_deref(pager);
    return error;
}

void image_get_counts(struct pager *pager, struct image_counts *counts)
{
    struct user_pager_info *image = pager_get_upi(pager);
    counts->reads = atomic_load(&image->reads);
    counts->writes = atomic_load(&image->writes);
    counts->read_bytes = atomic_load(&image->read_bytes);
    counts->written_bytes = atomic_load(&image->written_bytes);
    counts->size = image->size;
}
