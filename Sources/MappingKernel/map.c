/* map.c - HostMach's back end: vm_map, vm_deallocate and vm_protect on memory objects.

   A new mapping allows nothing until it is registered and in the table, so that no touch goes past us.  A mapping goes in this order:
   out of the table, no thread fills pages through it any more, unmapped, woken.  A thread that waited in it
   then faults on an address that is not there (SIGSEGV), as it would on Mach.  What is unmapped or protected in part is split first.

   Our ranges do not go to a child of fork (MADV_DONTFORK): its touch is SIGSEGV. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

int mk_host_protection(vm_prot_t protection)
{
    return (protection & VM_PROT_READ ? PROT_READ : 0) | (protection & VM_PROT_WRITE ? PROT_WRITE : 0)
           | (protection & VM_PROT_EXECUTE ? PROT_EXEC : 0);
}

int mk_bus_file(void)
{
    static _Atomic int file;            /* number + 1 */
    int known = atomic_load(&file);

    if (known != 0)
        return known - 1;
    int mine = memfd_create("mapping kernel: errors", MFD_CLOEXEC);
    if (mine < 0)
        return -1;
    if (!atomic_compare_exchange_strong(&file, &known, mine + 1)) {
        close(mine);
        return known - 1;
    }
    return mine;
}

/* Replace pages of MAPPING by ones whose touch is SIGBUS. */
bool mk_map_bus(struct mk_mapping *mapping, vm_address_t address, vm_size_t length)
{
    return mmap((void *)address, length, mk_host_protection(mapping->protection), MAP_SHARED | MAP_FIXED, mk_bus_file(), 0)
           != MAP_FAILED;
}

/* Map the pages of MAPPING that belong at ADDRESS (from its start on, if FLAGS leave the address open).  errno if false. */
static bool map_closed(struct mk_mapping *mapping, vm_address_t address, vm_size_t length, int flags, vm_address_t *mapped)
{
    mk_index first = mapping->first;

    if (mapping->start != 0)
        first += (address - mapping->start) >> MK_PAGE_SHIFT;
    void *at = mmap((void *)address, length, PROT_NONE, MAP_SHARED | MAP_NORESERVE | flags, mapping->object->file,
                    (off_t)(first << MK_PAGE_SHIFT));
    if (at == MAP_FAILED)
        return false;
    if ((flags & MAP_FIXED_NOREPLACE) && at != (void *)address) {
        munmap(at, length);
        errno = EEXIST;
        return false;
    }
    madvise(at, length, MADV_DONTFORK);
    int error = mk_uffd_register(mapping->kernel, (vm_address_t)at, length, true);
    if (error != 0) {
        munmap(at, length);
        errno = error;
        return false;
    }
    *mapped = (vm_address_t)at;
    return true;
}

bool mk_map_file(struct mk_mapping *mapping, vm_address_t address, vm_size_t length, int flags, vm_address_t *mapped)
{
    return map_closed(mapping, address, length, flags, mapped)
           && mprotect((void *)*mapped, length, mk_host_protection(mapping->protection)) == 0;
}

/* ---- Mappings of an object: its lock held ---- */

static bool add_to_object(struct mk_object *object, struct mk_mapping *mapping)
{
    uint32_t number = object->mapping_end;

    if (object->mapping_count != object->mapping_end)
        for (number = 0; object->mappings[number] != NULL; number++)
            ;
    if (number == object->mapping_room) {
        uint32_t room = object->mapping_room == 0 ? 4 : object->mapping_room * 2;
        struct mk_mapping **larger = realloc(object->mappings, room * sizeof *larger);
        if (larger == NULL)
            return false;
        object->mappings = larger;
        object->mapping_room = room;
    }
    if (number == object->mapping_end)
        object->mapping_end++;
    object->mappings[number] = mapping;
    object->mapping_count++;
    mapping->number = number;
    return true;
}

static void remove_from_object(struct mk_object *object, struct mk_mapping *mapping)
{
    object->mappings[mapping->number] = NULL;
    object->mapping_count--;
    while (object->mapping_end != 0 && object->mappings[object->mapping_end - 1] == NULL)
        object->mapping_end--;
}

/* The table's lock held for writing.  After it a mapping begins at ADDRESS, if one includes it.  False: no memory. */
static bool split_at(vm_address_t address)
{
    struct mk_mapping *mapping = mk_maps_find(address);

    if (mapping == NULL || mapping->start == address)
        return true;
    struct mk_object *object = mapping->object;
    struct mk_mapping *upper = malloc(sizeof *upper);
    if (upper == NULL || !mk_maps_reserve(1)) {
        free(upper);
        return false;
    }
    pthread_mutex_lock(&object->lock);
    *upper = *mapping;
    bool added = add_to_object(object, upper);
    if (added) {
        upper->start = address;
        upper->first += (address - mapping->start) >> MK_PAGE_SHIFT;
        mapping->end = address;
        object->uses++;
    }
    pthread_mutex_unlock(&object->lock);
    if (added) {
        mk_maps_insert(upper);
        mk_count(upper->kernel, mappings, 1);
    } else {
        free(upper);
    }
    return added;
}

/* ---- Mapping ---- */

/* Room for LENGTH bytes at an address without the bits of MASK. */
static bool map_somewhere(struct mk_mapping *mapping, vm_size_t length, vm_address_t mask, vm_address_t *mapped)
{
    if (mask < vm_page_size)
        return map_closed(mapping, 0, length, 0, mapped);
    vm_size_t wanted;
    if ((mask & (mask + 1)) != 0 || __builtin_add_overflow(length, mask, &wanted)) {
        errno = ENOMEM;
        return false;
    }
    wanted = (wanted + vm_page_size - 1) & ~(vm_page_size - 1);
    void *room = mmap(NULL, wanted, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return false;
    vm_address_t start = (vm_address_t)room, first = (start + mask) & ~mask, end = start + wanted;
    if (first != start)
        munmap(room, first - start);
    if (first + length != end)
        munmap((void *)(first + length), end - first - length);
    if (map_closed(mapping, first, length, MAP_FIXED, mapped))
        return true;
    int error = errno;
    munmap((void *)first, length);
    errno = error;
    return false;
}

static kern_return_t map_object(struct mk_object *object, mk_index first, vm_address_t *address, vm_size_t length,
                                vm_address_t mask, boolean_t anywhere, vm_prot_t protection, vm_prot_t max_protection)
{
    struct mk_mapping *mapping = calloc(1, sizeof *mapping);
    vm_address_t at = 0;
    kern_return_t result = KERN_SUCCESS;

    if (mapping == NULL)
        return KERN_RESOURCE_SHORTAGE;
    *mapping = (struct mk_mapping) { .kernel = object->kernel, .object = object, .first = first, .protection = protection,
                                     .max_protection = max_protection };
    bool mapped = anywhere ? map_somewhere(mapping, length, mask, &at)
                           : map_closed(mapping, *address & ~(vm_page_size - 1), length, MAP_FIXED_NOREPLACE, &at);
    if (!mapped) {
        result = errno == EEXIST || errno == ENOMEM || errno == EINVAL ? KERN_NO_SPACE
                 : errno == EPERM                                      ? KERN_INVALID_ADDRESS
                                                                       : KERN_RESOURCE_SHORTAGE;
        free(mapping);
        return result;
    }
    mapping->start = at;
    mapping->end = at + length;
    pthread_rwlock_wrlock(&mk_maps_lock);
    if (!mk_maps_reserve(1))
        result = KERN_RESOURCE_SHORTAGE;
    pthread_mutex_lock(&object->lock);
    if (result == KERN_SUCCESS && object->dead != 0)
        result = object->dead == KERN_TERMINATED ? KERN_TERMINATED : KERN_MEMORY_ERROR;
    if (result == KERN_SUCCESS && !add_to_object(object, mapping))
        result = KERN_RESOURCE_SHORTAGE;
    if (result == KERN_SUCCESS) {
        mk_maps_insert(mapping);
        if (mprotect((void *)at, length, mk_host_protection(protection)) != 0) {
            mk_maps_remove(mk_maps_index(at));
            remove_from_object(object, mapping);
            result = KERN_RESOURCE_SHORTAGE;
        }
    }
    pthread_mutex_unlock(&object->lock);
    pthread_rwlock_unlock(&mk_maps_lock);
    if (result != KERN_SUCCESS) {
        munmap((void *)at, length);
        free(mapping);
        return result;
    }
    mk_count(object->kernel, mappings, 1);
    *address = at;
    return KERN_SUCCESS;
}

static kern_return_t map_copy(struct mk_object *object, mk_index first, vm_address_t *address, vm_size_t length,
                              vm_address_t mask, boolean_t anywhere, vm_prot_t protection)
{
    kern_return_t kr;

    pthread_mutex_lock(&object->lock);
    memory_object_copy_strategy_t strategy = object->copy_strategy;
    pthread_mutex_unlock(&object->lock);
    if (strategy != MEMORY_OBJECT_COPY_NONE && strategy != MEMORY_OBJECT_COPY_DELAY)
        return KERN_FAILURE;            /* CALL: the pager would have to serve another object; we do not ask it to */
    kr = vm_map(mach_task_self(), address, length, mask, anywhere, MACH_PORT_NULL, 0, FALSE, VM_PROT_DEFAULT, VM_PROT_ALL,
                VM_INHERIT_COPY);
    if (kr != KERN_SUCCESS)
        return kr;
    vm_address_t at = *address & ~(vm_page_size - 1);
    kr = mk_snapshot(object, first, length, at);
    if (kr == KERN_SUCCESS && protection != VM_PROT_DEFAULT)
        kr = vm_protect(mach_task_self(), at, length, FALSE, protection);
    if (kr != KERN_SUCCESS)
        vm_deallocate(mach_task_self(), at, length);
    return kr;
}

static kern_return_t map(void *cookie, vm_address_t *address, vm_size_t size, vm_address_t mask, boolean_t anywhere,
                         mach_port_t memory_object, vm_offset_t offset, boolean_t copy, vm_prot_t cur_protection,
                         vm_prot_t max_protection, vm_inherit_t inheritance)
{
    struct mk_kernel *kernel = mk_kernel_current();
    mach_port_t real;
    vm_prot_t most;
    vm_offset_t start;
    vm_size_t length;
    kern_return_t kr;

    (void)cookie;
    (void)inheritance;
    if (kernel == NULL)
        return KERN_FAILURE;
    kr = hostmach_proxy_lookup(memory_object, &real, &most, &start, &length);
    bool is_proxy = kr == KERN_SUCCESS;
    if (kr == KERN_RESOURCE_SHORTAGE)
        return kr;
    if (is_proxy) {
        kr = offset > length || size > length - offset || __builtin_add_overflow(offset, start, &offset) ? KERN_INVALID_ARGUMENT
                                                                                                         : KERN_SUCCESS;
        memory_object = real;
        max_protection &= most;
        cur_protection &= most;
    } else {
        kr = KERN_SUCCESS;
    }
    vm_offset_t end;
    if (kr == KERN_SUCCESS && (__builtin_add_overflow(offset, size, &end) || end > (vm_offset_t)INT64_MAX - (vm_page_size - 1)))
        kr = KERN_INVALID_ARGUMENT;
    struct mk_object *object = kr == KERN_SUCCESS ? mk_object_use(kernel, memory_object, &kr) : NULL;
    if (is_proxy && MACH_PORT_VALID(real))
        mach_port_deallocate(mach_task_self(), real);
    if (object == NULL)
        return kr;
    if (copy)
        kr = map_copy(object, offset >> MK_PAGE_SHIFT, address, size, mask, anywhere, cur_protection);
    else
        kr = map_object(object, offset >> MK_PAGE_SHIFT, address, size, mask, anywhere, cur_protection, max_protection);
    if (copy || kr != KERN_SUCCESS)
        mk_object_unuse(object);
    return kr;
}

/* ---- Unmapping, protecting ---- */

/* The table's lock held for writing: MAPPING, at INDEX of the table, goes.  Its record and its use of the object are left. */
static void unmap(struct mk_mapping *mapping, size_t index)
{
    struct mk_object *object = mapping->object;
    vm_size_t length = mapping->end - mapping->start;

    mk_maps_remove(index);
    pthread_mutex_lock(&object->lock);
    object->remapping++;
    while (object->pinned != 0)
        mk_object_sleep(object);
    remove_from_object(object, mapping);
    munmap((void *)mapping->start, length);
    mk_uffd_wake(mapping->kernel, mapping->start, length);
    if (--object->remapping == 0)
        mk_object_signal(object);
    pthread_mutex_unlock(&object->lock);
    atomic_fetch_sub(&mapping->kernel->counters.mappings, 1);
}

/* All of the range goes in one hold of the lock: as soon as it is let go, the addresses may be somebody else's. */
static void deallocate(void *cookie, vm_address_t address, vm_size_t size)
{
    vm_address_t end = address + size;
    struct mk_mapping *gone = NULL, *mapping;

    (void)cookie;
    pthread_rwlock_wrlock(&mk_maps_lock);
    if (split_at(address) && split_at(end)) {
        size_t index = mk_maps_index(address);
        while ((mapping = mk_maps_at(index)) != NULL && mapping->start < end) {
            unmap(mapping, index);
            mapping->gone = gone;
            gone = mapping;
        }
    }
    pthread_rwlock_unlock(&mk_maps_lock);
    while ((mapping = gone) != NULL) {
        gone = mapping->gone;
        mk_object_unuse(mapping->object);
        free(mapping);
    }
}

void mk_unmap_all(struct mk_kernel *kernel)
{
    pthread_rwlock_wrlock(&mk_maps_lock);
    for (size_t index = 0; mk_maps_at(index) != NULL;) {
        struct mk_mapping *mapping = mk_maps_at(index);
        if (mapping->kernel == kernel) {
            unmap(mapping, index);
            free(mapping);              /* the object goes with the kernel */
        } else {
            index++;
        }
    }
    pthread_rwlock_unlock(&mk_maps_lock);
}

/* The table's lock held: what is wrong with protecting the range? */
static kern_return_t check_range(vm_address_t address, vm_address_t end, boolean_t set_maximum, vm_prot_t protection)
{
    struct mk_mapping *mapping;

    for (size_t i = mk_maps_index(address); address < end; i++, address = mapping->end) {
        mapping = mk_maps_at(i);
        if (mapping == NULL || mapping->start > address)
            return KERN_INVALID_ADDRESS;
        if (!set_maximum && (protection & VM_PROT_ALL & ~mapping->max_protection) != 0)
            return KERN_PROTECTION_FAILURE;
    }
    return KERN_SUCCESS;
}

static kern_return_t protect(void *cookie, vm_address_t address, vm_size_t size, boolean_t set_maximum,
                             vm_prot_t new_protection)
{
    vm_address_t end = address + size;

    (void)cookie;
    pthread_rwlock_wrlock(&mk_maps_lock);
    kern_return_t kr = check_range(address, end, set_maximum, new_protection);
    if (kr == KERN_SUCCESS && !(split_at(address) && split_at(end)))
        kr = KERN_RESOURCE_SHORTAGE;
    for (size_t i = mk_maps_index(address); kr == KERN_SUCCESS && mk_maps_at(i) != NULL && mk_maps_at(i)->start < end; i++) {
        struct mk_mapping *mapping = mk_maps_at(i);
        struct mk_object *object = mapping->object;
        vm_prot_t protection = new_protection & VM_PROT_ALL;
        pthread_mutex_lock(&object->lock);
        if (set_maximum) {
            mapping->max_protection &= protection;
            protection = mapping->protection & mapping->max_protection;
        }
        if (mprotect((void *)mapping->start, mapping->end - mapping->start, mk_host_protection(protection)) != 0)
            kr = errno == ENOMEM ? KERN_RESOURCE_SHORTAGE : KERN_PROTECTION_FAILURE;
        else
            mapping->protection = protection;
        pthread_mutex_unlock(&object->lock);
    }
    pthread_rwlock_unlock(&mk_maps_lock);
    return kr;
}

const struct hostmach_vm_backend mk_backend = { .map = map, .deallocate = deallocate, .protect = protect };
