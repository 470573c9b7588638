/* vm_memory.c: giving out pages, taking them back, copying.

   Pages are anonymous private mappings, recorded page by page (vm_pages.c). Small blocks that are released whole and with their
   protection unchanged are kept for re-use: a block in the pool is not recorded, so nobody else can release it. */

#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define POOL_PAGES 32 /* the largest block kept */
#define POOL_BLOCKS 128 /* at most, of each size */

static struct {
    pthread_mutex_t lock;
    size_t bytes, limit;
    size_t count[POOL_PAGES + 1];
    vm_address_t blocks[POOL_PAGES + 1][POOL_BLOCKS];
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .limit = 1 << 20 };

static _Atomic size_t given_bytes;

size_t
hostmach_vm_bytes (void)
{
    return atomic_load (&given_bytes);
}

/* ---- The pool ---- */

static vm_address_t
pool_take (size_t pages)
{
    vm_address_t block = 0;
    if (pages > POOL_PAGES)
        return 0;
    pthread_mutex_lock (&pool.lock);
    if (pool.count[pages] != 0) {
        block = pool.blocks[pages][--pool.count[pages]];
        pool.bytes -= pages * vm_page_size;
    }
    pthread_mutex_unlock (&pool.lock);
    return block;
}

static bool
pool_keep (vm_address_t block, size_t pages)
{
    bool kept = false;
    if (pages > POOL_PAGES)
        return false;
    pthread_mutex_lock (&pool.lock);
    if (pool.count[pages] < POOL_BLOCKS && pool.bytes + pages * vm_page_size <= pool.limit) {
        pool.blocks[pages][pool.count[pages]++] = block;
        pool.bytes += pages * vm_page_size;
        kept = true;
    }
    pthread_mutex_unlock (&pool.lock);
    return kept;
}

void
hostmach_vm_set_pool (size_t bytes)
{
    pthread_mutex_lock (&pool.lock);
    pool.limit = bytes;
    for (size_t pages = POOL_PAGES; pages > 0; pages--)
        while (pool.bytes > pool.limit && pool.count[pages] != 0) {
            munmap ((void *) pool.blocks[pages][--pool.count[pages]], pages * vm_page_size);
            pool.bytes -= pages * vm_page_size;
        }
    pthread_mutex_unlock (&pool.lock);
}

/* ---- Giving out and taking back ---- */

bool
vm_round (vm_address_t address, vm_size_t size, vm_address_t *first, vm_size_t *length)
{
    vm_size_t mask = vm_page_size - 1;
    vm_address_t end;
    if (__builtin_add_overflow (address, size, &end) || end > UINTPTR_MAX - mask)
        return false;
    *first = address & ~mask;
    *length = ((end + mask) & ~mask) - *first;
    return true;
}

/* Records a new mapping; undoes it when there is no memory to record it. */
bool
vm_pages_record (vm_address_t address, vm_size_t size)
{
    if (!vm_map_reserve (address, size / vm_page_size)) {
        munmap ((void *) address, size);
        return false;
    }
    atomic_fetch_add (&given_bytes, size);
    vm_map_set (address, size / vm_page_size);
    return true;
}

vm_address_t
vm_pages_get (vm_size_t size, bool zeroed)
{
    if (ipc_fault_vm ())
        return 0;
    vm_address_t address = pool_take (size / vm_page_size);
    if (address != 0) {
        if (zeroed)
            memset ((void *) address, 0, size);
        atomic_fetch_add (&given_bytes, size);
        vm_map_set (address, size / vm_page_size);
        return address;
    }
    void *pages = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return 0;
    return vm_pages_record ((vm_address_t) pages, size) ? (vm_address_t) pages : 0;
}

static void
release_run (vm_address_t first, size_t pages, int kind, void *context)
{
    const struct hostmach_vm_backend *backend = context;
    vm_size_t size = pages * vm_page_size;
    if (kind == 0) {
        if (backend != NULL && backend->deallocate != NULL)
            backend->deallocate (backend->cookie, first, size);
        return;
    }
    if (kind == 2 || !pool_keep (first, pages))
        munmap ((void *) first, size);
    atomic_fetch_sub (&given_bytes, size);
}

void
vm_pages_release (vm_address_t first, vm_size_t length, const struct hostmach_vm_backend *backend)
{
    vm_map_clear (first, length / vm_page_size, release_run, (void *) (uintptr_t) backend);
}

void
vm_pages_put (vm_address_t address, vm_size_t size)
{
    vm_address_t first;
    vm_size_t length;
    if (vm_round (address, size, &first, &length))
        vm_pages_release (first, length, NULL);
}

/* From memory that is not known to be there the kernel copies, so that the answer is an error and not a signal. */
bool
vm_copy_bytes (vm_address_t to, vm_address_t from, vm_size_t size)
{
    vm_address_t first;
    vm_size_t length;
    if (!vm_round (from, size, &first, &length))
        return false;
    if (vm_map_all_set (first, length / vm_page_size, true)) {
        memcpy ((void *) to, (const void *) from, size);
        return true;
    }
    while (size != 0) {
        struct iovec target = { (void *) to, size }, source = { (void *) from, size };
        ssize_t copied = process_vm_readv (getpid (), &target, 1, &source, 1, 0);
        if (copied < 0 && (errno == ENOSYS || errno == EPERM)) {
            memcpy ((void *) to, (const void *) from, size); /* a sandbox: do without the check */
            return true;
        }
        if (copied <= 0)
            return false;
        to += (vm_size_t) copied;
        from += (vm_size_t) copied;
        size -= (vm_size_t) copied;
    }
    return true;
}

/* The same when the target may not be there either: through a buffer, so that each address is the kernel's to check. */
bool
vm_copy_checked (vm_address_t to, vm_address_t from, vm_size_t size)
{
    unsigned char buffer[8192];
    while (size != 0) {
        vm_size_t part = size < sizeof buffer ? size : sizeof buffer;
        if (!vm_copy_bytes ((vm_address_t) buffer, from, part))
            return false;
        struct iovec source = { buffer, part }, target = { (void *) to, part };
        ssize_t copied = process_vm_writev (getpid (), &source, 1, &target, 1, 0);
        if (copied < 0 && (errno == ENOSYS || errno == EPERM)) {
            memcpy ((void *) to, buffer, part);
            copied = (ssize_t) part;
        }
        if (copied != (ssize_t) part)
            return false;
        to += part;
        from += part;
        size -= part;
    }
    return true;
}
