/* memory.c: malloc on vm_allocate.  (Debian has musl's for i386, which asks Linux for memory; the rest of musl's library serves here as it is.)

   Small blocks come in sizes of a power of two, from chunks that are never given back; large ones have memory of their own.  Every block
   has a header of 16 bytes, and is aligned to 16.  One lock: nothing here is in the engine's way of a page fault.  */

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { header_size = 16, smallest = 5, largest = 15, chunk_size = 256 << 10 };

struct header {
    unsigned power;                     /* of the whole block's size; 0: memory of its own */
    size_t size;                        /* bytes of the block, with header */
    void *start;                        /* of the block; behind it only for large alignments */
    unsigned magic;
};
_Static_assert(sizeof(struct header) == header_size, "a block's data would not be aligned");

enum { in_use = 0x6d616368, is_free = 0x66726565 };

struct unused {
    struct header header;
    struct unused *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct unused *unused[largest + 1];
static char *chunk, *chunk_end;
static size_t mapped;

static void *map(size_t size)
{
    vm_address_t address = 0;
    if (vm_allocate(mach_task_self(), &address, size, TRUE) != KERN_SUCCESS)
        return NULL;
    mapped += size;
    return (void *) address;
}

/* With the lock.  */
static struct header *small(unsigned power)
{
    struct unused *block = unused[power];
    if (block) {
        unused[power] = block->next;
        return &block->header;
    }
    size_t size = (size_t) 1 << power;
    if ((size_t) (chunk_end - chunk) < size) {
        char *fresh = map(chunk_size);
        if (!fresh)
            return NULL;
        chunk = fresh;
        chunk_end = fresh + chunk_size;
    }
    struct header *header = (void *) chunk;
    chunk += size;
    return header;
}

void *malloc(size_t size)
{
    if (size > SIZE_MAX / 2) {
        errno = ENOMEM;
        return NULL;
    }
    unsigned power = smallest;
    size_t whole = size + header_size;
    while (power <= largest && (size_t) 1 << power < whole)
        power++;
    pthread_mutex_lock(&lock);
    struct header *header;
    if (power <= largest) {
        header = small(power);
        whole = (size_t) 1 << power;
    } else {
        power = 0;
        whole = (whole + vm_page_size - 1) & ~(vm_page_size - 1);
        header = map(whole);
    }
    pthread_mutex_unlock(&lock);
    if (!header) {
        errno = ENOMEM;
        return NULL;
    }
    *header = (struct header) { power, whole, header, in_use };
    return header + 1;
}

void free(void *block)
{
    if (!block)
        return;
    struct header *header = ((struct header *) block - 1)->start;
    if (((struct header *) block - 1)->magic != in_use)
        abort();
    pthread_mutex_lock(&lock);
    ((struct header *) block - 1)->magic = is_free;
    if (header->power) {
        struct unused *entry = (void *) header;
        entry->next = unused[header->power];
        unused[header->power] = entry;
    } else {
        mapped -= header->size;
        vm_deallocate(mach_task_self(), (vm_address_t) header, header->size);
    }
    pthread_mutex_unlock(&lock);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (alignment <= header_size) {
        *out = malloc(size);
        return *out ? 0 : ENOMEM;
    }
    char *block = malloc(size + alignment + header_size);
    if (!block)
        return ENOMEM;
    char *aligned = (char *) (((uintptr_t) block + header_size + alignment - 1) & ~(uintptr_t) (alignment - 1));
    struct header *first = (struct header *) block - 1;
    *((struct header *) aligned - 1) = *first;
    *out = aligned;
    return 0;
}

void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = malloc(bytes);
    return block ? memset(block, 0, bytes) : NULL;
}

void *realloc(void *block, size_t size)
{
    if (!block)
        return malloc(size);
    struct header *header = (struct header *) block - 1;
    size_t room = header->size - (size_t) ((char *) block - (char *) header->start);
    if (size <= room)
        return block;
    void *larger = malloc(size);
    if (larger) {
        memcpy(larger, block, room);
        free(block);
    }
    return larger;
}

size_t bare_heap_bytes(void)
{
    pthread_mutex_lock(&lock);
    size_t bytes = mapped;
    pthread_mutex_unlock(&lock);
    return bytes;
}
