/* The smallest translator: a memory object whose page i says "page i".  A scripted kernel maps it and reads.  */

#include <stdio.h>
#include <mach.h>
#include <hurd/pager.h>
#include <scripted/scripted_kernel.h>

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

    char text[16] = "";
    sk_kernel *kernel = sk_kernel_create("kernel");
    sk_object *mapped = sk_map(kernel, object);
    if (sk_read(mapped, 3 * vm_page_size, text, sizeof text))
        return 1;
    printf("%s\n", text);
    sk_write(mapped, 5 * vm_page_size, "changed", sizeof "changed");
    pager_sync(pager, 1);
    sk_terminate(mapped);
    sk_kernel_destroy(kernel);

    pager_shutdown(pager);
    ports_port_deref(pager);
    return 0;
}
