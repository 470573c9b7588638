/* pressure.c: the callbacks.  A page of the object is eight sectors of the disk; the kernel's device interface moves whole pages, so what
   was read is handed on as it came.  Runs of returned pages are written by one call.

   The kernel waits for nobody here but its own driver: a write needs no memory of ours, so that pages which are on their way
   out get out however short memory is.  */

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <mach.h>
#include <device/device.h>
#include <device/device_types.h>
#include <device/disk_status.h>
#include <bare/bare.h>

#include "pressure.h"

static mach_port_t disk = MACH_PORT_NULL;
static recnum_t sector_size;
static uint64_t size_bytes;

uint64_t disk_bytes(void)
{
    if (disk == MACH_PORT_NULL) {
        int status[DEV_GET_SIZE_COUNT];
        mach_msg_type_number_t count = DEV_GET_SIZE_COUNT;
        kern_return_t result = device_open(bare_device_port, D_READ | D_WRITE, (char *) DISK, &disk);
        if (result == KERN_SUCCESS)
            result = device_get_status(disk, DEV_GET_SIZE, status, &count);
        if (result != KERN_SUCCESS) {
            printf("the disk %s cannot be had: %d\n", DISK, result);
            bare_end(1);
        }
        sector_size = (recnum_t) status[DEV_GET_SIZE_RECORD_SIZE];
        size_bytes = (uint32_t) status[DEV_GET_SIZE_DEVICE_SIZE];
    }
    return size_bytes;
}

static recnum_t sector(vm_offset_t offset) { return (recnum_t) (offset / sector_size); }

/* Nobody waits for them: counted without a lock.  */
static void count(unsigned *counter, unsigned amount) { __atomic_fetch_add(counter, amount, __ATOMIC_RELAXED); }

error_t pager_read_page(struct user_pager_info *upi, vm_offset_t page, vm_address_t *buf, int *write_lock)
{
    io_buf_ptr_t data = NULL;
    mach_msg_type_number_t bytes = 0;
    *write_lock = 0;
    count(&upi->requests, 1);
    count(&upi->reads, 1);
    kern_return_t result = device_read(disk, 0, sector(page), (int) vm_page_size, &data, &bytes);
    if (result == KERN_SUCCESS && bytes == vm_page_size) {
        *buf = (vm_address_t) data;
        return 0;
    }
    if (result == KERN_SUCCESS)
        vm_deallocate(mach_task_self(), (vm_address_t) data, bytes);
    count(&upi->failures, 1);
    return EIO;
}

error_t pager_write_pages(struct user_pager_info *upi, vm_offset_t offset, vm_address_t data, vm_size_t length, vm_size_t *written)
{
    int bytes = 0;
    *written = 0;
    count(&upi->requests, 1);
    kern_return_t result = device_write(disk, 0, sector(offset), (io_buf_ptr_t) data, (mach_msg_type_number_t) length, &bytes);
    if (result == KERN_SUCCESS && bytes >= 0)
        *written = (vm_size_t) bytes;
    count(&upi->writes, (unsigned) (*written / vm_page_size));
    if (*written == length)
        return 0;
    count(&upi->failures, 1);
    return EIO;
}

error_t pager_write_page(struct user_pager_info *upi, vm_offset_t page, vm_address_t buf)
{
    vm_size_t written;
    return pager_write_pages(upi, page, buf, vm_page_size, &written);
}

error_t pager_unlock_page(struct user_pager_info *upi, vm_offset_t address)
{
    (void) upi, (void) address;
    return 0;
}

void pager_notify_evict(struct user_pager_info *upi, vm_offset_t page)
{
    (void) page;
    count(&upi->notified, 1);
}

error_t pager_report_extent(struct user_pager_info *upi, vm_address_t *offset, vm_size_t *size)
{
    *offset = 0;
    *size = upi->pages * vm_page_size;
    return 0;
}

void pager_clear_user_data(struct user_pager_info *upi) { count(&upi->cleared, 1); }
void pager_dropweak(struct user_pager_info *upi) { (void) upi; }
