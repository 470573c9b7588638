/* inspect.c - what a program may know: counters, and the state of one page. */

#include "internal.h"

void mk_get_statistics(mk_kernel *kernel, struct mk_statistics *statistics)
{
    struct mk_counters *c = &kernel->counters;

    *statistics = (struct mk_statistics) {
        .faults = atomic_load(&c->faults),
        .requests = atomic_load(&c->requests),
        .minor_faults = atomic_load(&c->minor_faults),
        .write_faults = atomic_load(&c->write_faults),
        .unlocks = atomic_load(&c->unlocks),
        .joined = atomic_load(&c->joined),
        .deferred = atomic_load(&c->deferred),
        .supplied_pages = atomic_load(&c->supplied_pages),
        .copied_pages = atomic_load(&c->copied_pages),
        .refused_pages = atomic_load(&c->refused_pages),
        .errors = atomic_load(&c->errors),
        .lock_requests = atomic_load(&c->lock_requests),
        .returned_pages = atomic_load(&c->returned_pages),
        .returns = atomic_load(&c->returns),
        .failed_sends = atomic_load(&c->failed_sends),
        .evictions = atomic_load(&c->evictions),
        .evicted_dirty = atomic_load(&c->evicted_dirty),
        .second_chances = atomic_load(&c->second_chances),
        .lost_pages = atomic_load(&c->lost_pages),
        .resident_pages = atomic_load(&kernel->resident),
        .mappings = atomic_load(&c->mappings),
    };
    pthread_mutex_lock(&kernel->lock);
    statistics->objects = kernel->object_count;
    pthread_mutex_unlock(&kernel->lock);
}

kern_return_t mk_page_info(const void *address, struct mk_page_info *info)
{
    struct mk_object *object;
    mk_index index;

    *info = (struct mk_page_info) { .state = MK_PAGE_ABSENT };
    if (!mk_maps_lock_object((vm_address_t)address, &object, &index))
        return KERN_INVALID_ADDRESS;
    info->offset = (vm_offset_t)index << MK_PAGE_SHIFT;
    struct mk_page *page = mk_page_find(object, index);
    if (page != NULL && page->busy) {
        /* Records last as long as the object; this keeps it. */
        object->uses++;
        while (page->busy)
            mk_object_sleep(object);
        object->uses--;
    }
    if (page != NULL) {
        info->state = page->state;
        info->lock = page->lock;
        info->requested = page->requested;
        info->unlocking = page->unlocking;
        info->dirty = page->dirty;
        info->precious = page->precious;
        info->waited_for = page->waiter != MK_NOBODY || page->others || page->refault;
        info->in_error = page->in_error;
    }
    pthread_mutex_unlock(&object->lock);
    mk_object_check_use(object);
    return KERN_SUCCESS;
}

kern_return_t mk_object_info(const void *address, boolean_t *may_cache, memory_object_copy_strategy_t *copy_strategy)
{
    struct mk_object *object;
    mk_index index;

    if (!mk_maps_lock_object((vm_address_t)address, &object, &index))
        return KERN_INVALID_ADDRESS;
    *may_cache = object->may_cache;
    *copy_strategy = object->copy_strategy;
    pthread_mutex_unlock(&object->lock);
    return KERN_SUCCESS;
}
