/* kernel_io.h - libext2fs reads and writes its blocks through a kernel's mapping.

   libext2fs reaches a disk through an I/O manager.  This one turns each access into sk_read or sk_write on a
   memory object that a scripted kernel has mapped: page faults, as a machine's file system code would have.
   Nothing is kept between two accesses but the kernel's own pages, so two kernels see what the pager lets them.  */

#ifndef KERNEL_IO_H
#define KERNEL_IO_H

#include <ext2fs/ext2fs.h>
#include <scripted/scripted_kernel.h>

/* Most kernels that can be bound at a time.  */
#define KERNEL_IO_MAX 8

extern io_manager kernel_io_manager;

/* From now on ext2fs_open(NAME, ..., kernel_io_manager, ...) goes through OBJECT.  NAME must stay, and not be bound.
   LIMIT_PAGES: about so many pages fit into that kernel's memory, it evicts others now and then; 0: no limit.
   Not while another thread opens.  */
void kernel_io_bind(const char *name, sk_object *object, unsigned limit_pages);

/* Bytes that all channels have moved so far.  */
unsigned long kernel_io_read_bytes(void);
unsigned long kernel_io_written_bytes(void);

#endif
