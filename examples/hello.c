/* The smallest translator: a memory object whose page i says "page i".  The program maps it, reads and writes.  */

#include <stdio.h>
#include <string.h>
#include <mach.h>
#include <hurd/pager.h>
#include <mapping/mapping_kernel.h>

struct user_pager_info { size_t pages; };

error_t pager_read_page(struct user_pager_info *upi, vm_offset_t page, vm_address_t *buf, int *write_lock)
{
    error_t error = vm_allocate(mach_task_self(), buf, vm_page_size, 1);
    if (!error)
        sprintf((char *) *buf, "page %lu", (unsigned long) (page / vm_page_size));
    *write_lock = 0;
    return upi ? error : EIO;
}

error_t pager_write_page(struct user_pager_info *upi, vm_offset_t page, vm_address_t buf)
{
    printf("%zu pages; %lu is now: %s\n", upi->pages, (unsigned long) (page / vm_page_size), (char *) buf);
    return 0;
}

error_t pager_report_extent(struct user_pager_info *upi, vm_address_t *offset, vm_size_t *size)
{
    *offset = 0;
    *size = upi->pages * vm_page_size;
    return 0;
}

error_t pager_unlock_page(struct user_pager_info *upi, vm_offset_t page) { (void) upi, (void) page; return 0; }
void pager_notify_evict(struct user_pager_info *upi, vm_offset_t page) { (void) upi, (void) page; }
void pager_clear_user_data(struct user_pager_info *upi) { (void) upi; }
void pager_dropweak(struct user_pager_info *upi) { (void) upi; }

int main(void)
{
    struct user_pager_info upi = { 16 };
    struct pager_requests *requests;
    struct port_bucket *bucket = ports_create_bucket();
    if (pager_start_workers(bucket, &requests))
        return 1;
    struct pager *pager = pager_create(&upi, bucket, 1, MEMORY_OBJECT_COPY_DELAY, 0);
    mach_port_t object = ports_get_send_right(pager);   /* whoever has it can map the object */

    int error = mk_start();             /* on Linux, where vm_map needs a kernel that maps objects */
    if (error) {
        fprintf(stderr, "%s\n", mk_explain(error));
        return 1;
    }
    vm_address_t memory = 0;
    if (vm_map(mach_task_self(), &memory, upi.pages * vm_page_size, 0, 1, object, 0, 0, VM_PROT_READ | VM_PROT_WRITE,
               VM_PROT_ALL, VM_INHERIT_NONE))
        return 1;
    puts((char *) memory + 3 * vm_page_size);           /* a page fault, which pager_read_page serves */
    strcpy((char *) memory + 5 * vm_page_size, "changed");
    pager_sync(pager, 1);
    vm_deallocate(mach_task_self(), memory, upi.pages * vm_page_size);

    pager_shutdown(pager);
    ports_port_deref(pager);
    return 0;
}
