/* spread.c - what is done to a page in every mapping of its object.

   An object's mappings are few, as a rule, and are looked through one after the other; an object that is mapped at thousands of places
   costs a lock request some microseconds more.  All functions: object->lock held. */

#define _GNU_SOURCE
#include <sys/mman.h>

#include "internal.h"

#ifndef MADV_DONTNEED_LOCKED            /* Linux 5.18: memory that the program has locked as well */
#define MADV_DONTNEED_LOCKED 24
#endif

vm_address_t mk_mapping_address(struct mk_mapping *mapping, mk_index index)
{
    if (mapping == NULL || index < mapping->first)
        return 0;
    mk_index within = index - mapping->first;
    return within < (mapping->end - mapping->start) >> MK_PAGE_SHIFT ? mapping->start + (within << MK_PAGE_SHIFT) : 0;
}

struct mk_mapping *mk_object_mapping(struct mk_object *object, uint32_t number)
{
    return number < object->mapping_end ? object->mappings[number] : NULL;
}

struct mk_mapping *mk_page_target(struct mk_object *object, struct mk_page *page, mk_index index)
{
    struct mk_mapping *mapping = mk_object_mapping(object, page->waiter);

    if (mk_mapping_address(mapping, index) != 0)
        return mapping;
    if (page->waiter != MK_NOBODY)
        page->others = true;            /* the mapping was split or is gone */
    for (uint32_t i = 0; i < object->mapping_end && i < 8; i++)
        if (mk_mapping_address(object->mappings[i], index) != 0)
            return object->mappings[i];
    return NULL;
}

/* What of [first, first + count) MAPPING maps. */
static bool clip(struct mk_mapping *mapping, mk_index first, size_t count, vm_address_t *address, vm_size_t *length)
{
    if (mapping == NULL)
        return false;
    mk_index from = mapping->first, to = from + ((mapping->end - mapping->start) >> MK_PAGE_SHIFT);
    mk_index low = first > from ? first : from;
    mk_index high = first + count < to ? first + count : to;
    if (low >= high)
        return false;
    *address = mapping->start + ((low - from) << MK_PAGE_SHIFT);
    *length = (high - low) << MK_PAGE_SHIFT;
    return true;
}

void mk_wake(struct mk_object *object, mk_index first, size_t count)
{
    vm_address_t address;
    vm_size_t length;

    for (uint32_t i = 0; i < object->mapping_end; i++)
        if (clip(object->mappings[i], first, count, &address, &length))
            mk_uffd_wake(object->kernel, address, length);
}

void mk_wake_others(struct mk_object *object, struct mk_mapping *except, mk_index index)
{
    for (uint32_t i = 0; i < object->mapping_end; i++) {
        vm_address_t address = mk_mapping_address(object->mappings[i], index);
        if (address != 0 && object->mappings[i] != except)
            mk_uffd_wake(object->kernel, address, vm_page_size);
    }
}

void mk_write_protect(struct mk_object *object, mk_index first, size_t count)
{
    vm_address_t address;
    vm_size_t length;

    for (uint32_t i = 0; i < object->mapping_end; i++)
        if (clip(object->mappings[i], first, count, &address, &length)
            && mk_uffd_protect(object->kernel, address, length, true) != 0)
            /* Part of it is not ours any more (munmap by the program, or an error's page): do not stop at that. */
            for (vm_size_t at = 0; at < length; at += vm_page_size)
                mk_uffd_protect(object->kernel, address + at, vm_page_size, true);
}

void mk_zap(struct mk_object *object, mk_index first, size_t count)
{
    vm_address_t address;
    vm_size_t length;

    for (uint32_t i = 0; i < object->mapping_end; i++)
        if (clip(object->mappings[i], first, count, &address, &length))
            madvise((void *)address, length, MADV_DONTNEED_LOCKED);
}
