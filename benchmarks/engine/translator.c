/* A translator that only counts.  */

#include "engine_benchmark.h"

int translator_write_lock;

error_t
pager_read_page(struct user_pager_info *pager, vm_offset_t page, vm_address_t *buf, int *write_lock)
{
    (void) pager, (void) page;
    counts.reads++;
    *buf = NO_DATA;
    *write_lock = translator_write_lock;
    return 0;
}

error_t
pager_write_page(struct user_pager_info *pager, vm_offset_t page, vm_address_t buf)
{
    (void) pager, (void) page, (void) buf;
    counts.writes++;
    return 0;
}

error_t
pager_unlock_page(struct user_pager_info *pager, vm_offset_t address)
{
    (void) pager, (void) address;
    counts.unlocks++;
    return 0;
}

void
pager_notify_evict(struct user_pager_info *pager, vm_offset_t page)
{
    (void) pager, (void) page;
}

error_t
pager_report_extent(struct user_pager_info *pager, vm_address_t *offset, vm_size_t *size)
{
    (void) pager;
    *offset = 0;
    *size = (vm_size_t) 1 << 40;
    return 0;
}

void
pager_clear_user_data(struct user_pager_info *pager)
{
    (void) pager;
}

void
pager_dropweak(struct user_pager_info *pager)
{
    (void) pager;
}
