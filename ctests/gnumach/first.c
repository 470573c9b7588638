#include <stdio.h>
#include <string.h>
#include <mach.h>
#include <hurd/pager.h>
struct user_pager_info { size_t pages; };
error_t pager_read_page(struct user_pager_info *upi, vm_offset_t page, vm_address_t *buf, int *write_lock)
{
    error_t error = vm_allocate(mach_task_self(), buf, vm_page_size, 1);
    if (!error) sprintf((char *) *buf, "page %lu", (unsigned long) (page / vm_page_size));
    *write_lock = 0;
    return error;
}
error_t pager_write_page(struct user_pager_info *upi, vm_offset_t page, vm_address_t buf) { printf("write %lu: %s\n", (unsigned long) (page / vm_page_size), (char *) buf); return 0; }
error_t pager_unlock_page(struct user_pager_info *upi, vm_offset_t address) { return 0; }
void pager_notify_evict(struct user_pager_info *upi, vm_offset_t page) {}
error_t pager_report_extent(struct user_pager_info *upi, vm_address_t *offset, vm_size_t *size) { *offset = 0; *size = 16*vm_page_size; return 0; }
void pager_clear_user_data(struct user_pager_info *upi) { printf("clear\n"); }
void pager_dropweak(struct user_pager_info *upi) {}
int main(void)
{
    struct user_pager_info upi = { 16 };
    struct pager_requests *requests;
    struct port_bucket *bucket = ports_create_bucket();
    printf("start %d\n", pager_start_workers(bucket, &requests));
    struct pager *pager = pager_create(&upi, bucket, 0, MEMORY_OBJECT_COPY_DELAY, 0);
    mach_port_t object = ports_get_send_right(pager);
    vm_address_t memory = 0;
    printf("map %d\n", vm_map(mach_task_self(), &memory, 16 * vm_page_size, 0, 1, object, 0, 0, VM_PROT_READ | VM_PROT_WRITE, VM_PROT_ALL, VM_INHERIT_NONE));
    puts((char *) memory + 3 * vm_page_size);
    strcpy((char *) memory + 3 * vm_page_size, "changed");
    pager_sync(pager, 1);
    printf("unmap %d\n", vm_deallocate(mach_task_self(), memory, 16 * vm_page_size));
    pager_shutdown(pager);
    mach_port_deallocate(mach_task_self(), object);
    ports_port_deref(pager);
    printf("done\n");
    return 0;
}
