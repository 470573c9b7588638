/* The bare ways: one thread that reads a userfaultfd and answers, and the system calls of a flush.  */

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#define FEATURE_WP_SHMEM ((uint64_t)1 << 12)
enum { FLUSH_PAGES = 32 };

struct bare {
    size_t pages, batch;
    int uffd, file;
    char *memory;
    char *source;                       /* a batch of data */
    char *sink;                         /* what a flush copies to */
};

static void copy(struct bare *bare, size_t page, size_t count)
{
    struct uffdio_copy request = { .dst = (uintptr_t)bare->memory + page * page_bytes, .src = (uintptr_t)bare->source,
                                   .len = count * page_bytes, .mode = UFFDIO_COPY_MODE_WP };
    if (ioctl(bare->uffd, UFFDIO_COPY, &request) != 0)
        fail("UFFDIO_COPY");
}

static void protect(struct bare *bare, size_t page, size_t count, bool on)
{
    struct uffdio_writeprotect request = { .range = { (uintptr_t)bare->memory + page * page_bytes, count * page_bytes },
                                           .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0 };
    if (ioctl(bare->uffd, UFFDIO_WRITEPROTECT, &request) != 0)
        fail("UFFDIO_WRITEPROTECT");
}

static void *serve(void *argument)
{
    struct bare *bare = argument;
    struct uffd_msg event;

    while (read(bare->uffd, &event, sizeof event) == sizeof event) {
        size_t page = (event.arg.pagefault.address - (uintptr_t)bare->memory) / page_bytes;
        if (event.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP)
            protect(bare, page, 1, false);
        else
            copy(bare, page - page % bare->batch, bare->batch);
    }
    return NULL;
}

static int open_uffd(void)
{
    struct uffdio_api api = { .api = UFFD_API,
                              .features = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP | FEATURE_WP_SHMEM };
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    int uffd = device >= 0 ? ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC) : (int)syscall(SYS_userfaultfd, O_CLOEXEC);

    if (device >= 0)
        close(device);
    if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) != 0)
        fail("userfaultfd");
    return uffd;
}

struct bare *bare_open(size_t pages, size_t batch_pages)
{
    struct bare *bare = calloc(1, sizeof *bare);
    pthread_t thread;

    bare->pages = pages;
    bare->batch = batch_pages;
    bare->uffd = open_uffd();
    bare->file = memfd_create("bare", MFD_CLOEXEC);
    if (bare->file < 0 || ftruncate(bare->file, (off_t)(pages * page_bytes)) != 0)
        fail("memfd_create");
    bare->memory = mmap(NULL, pages * page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bare->file, 0);
    bare->source = mmap(NULL, batch_pages * page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bare->sink = mmap(NULL, FLUSH_PAGES * page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bare->memory == MAP_FAILED || bare->source == MAP_FAILED || bare->sink == MAP_FAILED)
        fail("mmap");
    memset(bare->source, 1, batch_pages * page_bytes);
    memset(bare->sink, 1, FLUSH_PAGES * page_bytes);
    struct uffdio_register request = { .range = { (uintptr_t)bare->memory, pages * page_bytes },
                                       .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP };
    if (ioctl(bare->uffd, UFFDIO_REGISTER, &request) != 0)
        fail("UFFDIO_REGISTER");
    errno = pthread_create(&thread, NULL, serve, bare);
    if (errno != 0)
        fail("pthread_create");
    return bare;
}

static void punch(struct bare *bare, size_t page, size_t count)
{
    if (fallocate(bare->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(page * page_bytes), (off_t)(count * page_bytes))
        != 0)
        fail("fallocate");
}

void bare_drop(void *argument)
{
    struct bare *bare = argument;
    punch(bare, 0, bare->pages);
}

void bare_read(void *argument)
{
    struct bare *bare = argument;
    for (size_t i = 0; i < bare->pages; i++)
        (void)*(volatile char *)(bare->memory + i * page_bytes);
}

void bare_protect(void *argument)
{
    struct bare *bare = argument;
    bare_drop(bare);
    bare_read(bare);
}

void bare_write(void *argument)
{
    struct bare *bare = argument;
    for (size_t i = 0; i < bare->pages; i++)
        *(volatile char *)(bare->memory + i * page_bytes) = 1;
}

void bare_dirty(void *argument)
{
    bare_protect(argument);
    bare_write(argument);
}

void bare_flush(void *argument)
{
    struct bare *bare = argument;
    for (size_t i = 0; i < bare->pages; i += FLUSH_PAGES) {
        size_t count = bare->pages - i < FLUSH_PAGES ? bare->pages - i : FLUSH_PAGES;
        struct uffdio_range range = { (uintptr_t)bare->memory + i * page_bytes, count * page_bytes };
        protect(bare, i, count, true);
        if (pread(bare->file, bare->sink, count * page_bytes, (off_t)(i * page_bytes)) != (ssize_t)(count * page_bytes))
            fail("pread");
        punch(bare, i, count);
        ioctl(bare->uffd, UFFDIO_WAKE, &range);
    }
}

/* ---- Anonymous memory ---- */

struct plain {
    char *memory;
    size_t bytes;
};

void *plain_open(size_t pages)
{
    struct plain *plain = malloc(sizeof *plain);
    plain->bytes = pages * page_bytes;
    plain->memory = mmap(NULL, plain->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (plain->memory == MAP_FAILED)
        fail("mmap");
    madvise(plain->memory, plain->bytes, MADV_NOHUGEPAGE);
    memset(plain->memory, 1, plain->bytes);
    return plain;
}

void plain_read(void *argument)
{
    struct plain *plain = argument;
    const volatile uint64_t *words = (const volatile uint64_t *)plain->memory;
    for (int pass = 0; pass < 20; pass++)
        for (size_t i = 0; i < plain->bytes / sizeof *words; i += 8)
            (void)words[i];
}
