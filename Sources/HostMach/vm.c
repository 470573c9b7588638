/* vm.c: the vm_* calls.

   All tasks share one address space, so a task is only checked for being there. vm_map of a memory object is the back
   end's business, as is releasing and protecting what it mapped. */

#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

static pthread_mutex_t backend_lock = PTHREAD_MUTEX_INITIALIZER;
static struct hostmach_vm_backend backend_copy;
static _Atomic (const struct hostmach_vm_backend *) backend;

kern_return_t
hostmach_vm_set_backend (const struct hostmach_vm_backend *new_backend)
{
    kern_return_t kr = KERN_SUCCESS;
    pthread_mutex_lock (&backend_lock);
    if (new_backend == NULL) {
        atomic_store (&backend, NULL);
    } else if (atomic_load (&backend) != NULL) {
        kr = KERN_NAME_EXISTS;
    } else {
        backend_copy = *new_backend;
        atomic_store (&backend, &backend_copy);
    }
    pthread_mutex_unlock (&backend_lock);
    return kr;
}

static bool
is_task (mach_port_t name)
{
    return hostmach_task_named (name) != NULL;
}

static int
host_protection (vm_prot_t protection)
{
    return (protection & VM_PROT_READ ? PROT_READ : 0) | (protection & VM_PROT_WRITE ? PROT_WRITE : 0)
           | (protection & VM_PROT_EXECUTE ? PROT_EXEC : 0);
}

static kern_return_t
map_at (vm_address_t address, vm_size_t size)
{
    if (ipc_fault_vm ())
        return KERN_RESOURCE_SHORTAGE;
    void *pages = mmap ((void *) address, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (pages == MAP_FAILED)
        return errno == EEXIST ? KERN_NO_SPACE : errno == ENOMEM ? KERN_RESOURCE_SHORTAGE : KERN_INVALID_ADDRESS;
    if ((vm_address_t) pages != address) { /* a kernel that does not know the flag */
        munmap (pages, size);
        return KERN_NO_SPACE;
    }
    return vm_pages_record (address, size) ? KERN_SUCCESS : KERN_RESOURCE_SHORTAGE;
}

kern_return_t
vm_allocate (mach_port_t target_task, vm_address_t *address, vm_size_t size, boolean_t anywhere)
{
    vm_address_t first;
    vm_size_t length;
    if (!is_task (target_task))
        return KERN_INVALID_TASK;
    if (size == 0) {
        *address = 0;
        return KERN_SUCCESS;
    }
    if (!vm_round (anywhere ? 0 : *address, size, &first, &length))
        return KERN_INVALID_ARGUMENT;
    if (!anywhere) {
        kern_return_t kr = map_at (first, length);
        if (kr == KERN_SUCCESS)
            *address = first;
        return kr;
    }
    vm_address_t pages = vm_pages_get (length, true);
    if (pages == 0)
        return KERN_RESOURCE_SHORTAGE;
    *address = pages;
    return KERN_SUCCESS;
}

kern_return_t
vm_deallocate (mach_port_t target_task, vm_address_t address, vm_size_t size)
{
    return is_task (target_task) ? vm_release (address, size) : KERN_INVALID_TASK;
}

kern_return_t
vm_release (vm_address_t address, vm_size_t size)
{
    vm_address_t first;
    vm_size_t length;
    if (size == 0)
        return KERN_SUCCESS;
    if (!vm_round (address, size, &first, &length))
        return KERN_INVALID_ADDRESS;
    vm_pages_release (first, length, atomic_load (&backend));
    return KERN_SUCCESS;
}

struct protect {
    const struct hostmach_vm_backend *backend;
    boolean_t set_maximum;
    vm_prot_t protection;
    kern_return_t result;
};

static void
protect_run (vm_address_t first, size_t pages, int kind, void *context)
{
    struct protect *protect = context;
    vm_size_t size = pages * vm_page_size;
    kern_return_t kr = KERN_SUCCESS;
    if (kind == 0) {
        kr = KERN_INVALID_ADDRESS;
        if (protect->backend != NULL && protect->backend->protect != NULL)
            kr = protect->backend->protect (protect->backend->cookie, first, size, protect->set_maximum,
                                            protect->protection);
    } else if (!protect->set_maximum || protect->protection != VM_PROT_ALL) {
        vm_map_mark_changed (first, pages);
        if (mprotect ((void *) first, size, host_protection (protect->protection)) != 0)
            kr = errno == ENOMEM ? KERN_RESOURCE_SHORTAGE : KERN_PROTECTION_FAILURE;
    }
    if (protect->result == KERN_SUCCESS)
        protect->result = kr;
}

kern_return_t
vm_protect (mach_port_t target_task, vm_address_t address, vm_size_t size, boolean_t set_maximum,
            vm_prot_t new_protection)
{
    vm_address_t first;
    vm_size_t length;
    if (!is_task (target_task))
        return KERN_INVALID_TASK;
    if (new_protection & ~(VM_PROT_ALL | VM_PROT_NOTIFY))
        return KERN_INVALID_ARGUMENT;
    if (size == 0)
        return KERN_SUCCESS;
    if (!vm_round (address, size, &first, &length))
        return KERN_INVALID_ADDRESS;
    struct protect protect = { atomic_load (&backend), set_maximum, new_protection, KERN_SUCCESS };
    vm_map_scan (first, length / vm_page_size, protect_run, &protect);
    return protect.result;
}

kern_return_t
vm_inherit (mach_port_t target_task, vm_address_t address, vm_size_t size, vm_inherit_t new_inheritance)
{
    (void) address;
    (void) size;
    if (!is_task (target_task))
        return KERN_INVALID_TASK;
    /* No task is ever made from another. */
    return new_inheritance >= VM_INHERIT_SHARE && new_inheritance <= VM_INHERIT_NONE ? KERN_SUCCESS
                                                                                      : KERN_INVALID_ARGUMENT;
}

kern_return_t
vm_read (mach_port_t target_task, vm_address_t address, vm_size_t size, vm_offset_t *data,
         mach_msg_type_number_t *dataCnt)
{
    vm_address_t first;
    vm_size_t length;
    if (!is_task (target_task))
        return KERN_INVALID_TASK;
    *data = 0;
    *dataCnt = 0;
    if (size == 0)
        return KERN_SUCCESS;
    if (size > UINT32_MAX)
        return KERN_INVALID_ARGUMENT;
    if (!vm_round (address, size, &first, &length))
        return KERN_INVALID_ADDRESS;
    vm_address_t pages = vm_pages_get (length, true);
    if (pages == 0)
        return KERN_RESOURCE_SHORTAGE;
    if (!vm_copy_bytes (pages + (address - first), address, size)) {
        vm_pages_put (pages, length);
        return KERN_INVALID_ADDRESS;
    }
    *data = pages + (address - first);
    *dataCnt = (mach_msg_type_number_t) size;
    return KERN_SUCCESS;
}

kern_return_t
vm_write (mach_port_t target_task, vm_address_t address, vm_offset_t data, mach_msg_type_number_t dataCnt)
{
    return vm_copy (target_task, data, dataCnt, address);
}

kern_return_t
vm_copy (mach_port_t target_task, vm_address_t source_address, vm_size_t size, vm_address_t dest_address)
{
    vm_address_t first;
    vm_size_t length;
    if (!is_task (target_task))
        return KERN_INVALID_TASK;
    if (!vm_round (source_address, size, &first, &length) || !vm_round (dest_address, size, &first, &length))
        return KERN_INVALID_ADDRESS;
    vm_address_t distance
        = source_address > dest_address ? source_address - dest_address : dest_address - source_address;
    if (distance >= size)
        return vm_copy_checked (dest_address, source_address, size) ? KERN_SUCCESS : KERN_INVALID_ADDRESS;
    if (distance == 0)
        return KERN_SUCCESS;
    /* The ranges overlap: through pages of our own. */
    vm_offset_t copy;
    mach_msg_type_number_t count;
    kern_return_t kr = vm_read (target_task, source_address, size, &copy, &count);
    if (kr != KERN_SUCCESS)
        return kr;
    kr = vm_copy_checked (dest_address, copy, size) ? KERN_SUCCESS : KERN_INVALID_ADDRESS;
    vm_pages_put (copy, size);
    return kr;
}

/* Anonymous memory whose address has none of the bits of mask. */
static kern_return_t
map_aligned (vm_address_t *address, vm_size_t size, vm_address_t mask)
{
    if ((mask & (mask + 1)) != 0)
        return KERN_NO_SPACE; /* not "the low bits": nobody needs it */
    if (mask < vm_page_size) {
        *address = vm_pages_get (size, true);
        return *address != 0 ? KERN_SUCCESS : KERN_RESOURCE_SHORTAGE;
    }
    vm_size_t wanted;
    if (__builtin_add_overflow (size, mask, &wanted) || wanted > UINTPTR_MAX - vm_page_size)
        return KERN_NO_SPACE;
    wanted = (wanted + vm_page_size - 1) & ~(vm_page_size - 1);
    if (ipc_fault_vm ())
        return KERN_RESOURCE_SHORTAGE;
    void *pages = mmap (NULL, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return KERN_RESOURCE_SHORTAGE;
    vm_address_t start = (vm_address_t) pages, first = (start + mask) & ~mask;
    if (first != start)
        munmap (pages, first - start);
    if (first + size != start + wanted)
        munmap ((void *) (first + size), start + wanted - first - size);
    if (!vm_pages_record (first, size))
        return KERN_RESOURCE_SHORTAGE;
    *address = first;
    return KERN_SUCCESS;
}

kern_return_t
vm_map (mach_port_t target_task, vm_address_t *address, vm_size_t size, vm_address_t mask, boolean_t anywhere,
        mach_port_t memory_object, vm_offset_t offset, boolean_t copy, vm_prot_t cur_protection,
        vm_prot_t max_protection, vm_inherit_t inheritance)
{
    vm_address_t first;
    vm_size_t length;
    if (!is_task (target_task))
        return KERN_INVALID_TASK;
    if (size == 0 || ((cur_protection | max_protection) & ~VM_PROT_ALL) != 0 || (cur_protection & ~max_protection) != 0
        || inheritance < VM_INHERIT_SHARE || inheritance > VM_INHERIT_NONE
        || !vm_round (anywhere ? 0 : *address, size, &first, &length))
        return KERN_INVALID_ARGUMENT;
    if (!anywhere && (first & mask) != 0)
        return KERN_NO_SPACE;

    if (memory_object != MACH_PORT_NULL) {
        const struct hostmach_vm_backend *mapper = atomic_load (&backend);
        if (memory_object == MACH_PORT_DEAD || (offset & (vm_page_size - 1)) != 0)
            return KERN_INVALID_ARGUMENT;
        if (mapper == NULL)
            return KERN_FAILURE;
        return mapper->map (mapper->cookie, address, length, mask, anywhere, memory_object, offset, copy,
                            cur_protection, max_protection, inheritance);
    }

    kern_return_t kr = anywhere ? map_aligned (&first, length, mask) : map_at (first, length);
    if (kr != KERN_SUCCESS)
        return kr;
    if (cur_protection != VM_PROT_DEFAULT) {
        kr = vm_protect (target_task, first, length, FALSE, cur_protection);
        if (kr != KERN_SUCCESS) {
            vm_pages_put (first, length);
            return kr;
        }
    }
    *address = first;
    return KERN_SUCCESS;
}
