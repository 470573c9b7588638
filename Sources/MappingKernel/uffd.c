/* uffd.c - userfaultfd: getting one, and its requests.

   Ways to get one, in this order: /dev/userfaultfd (whoever may open it), the system call (CAP_SYS_PTRACE, or
   vm.unprivileged_userfaultfd = 1), the system call for faults in user mode only (everybody, since Linux 5.11).  In the last case a system
   call that touches a page which is not in the page table fails with EFAULT instead of paging it in.

   Debian 12's header lacks what Linux 6.4 and 6.6 added, so that is defined here. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"
#include "sanitizer.h"

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFDIO_CONTINUE_MODE_WP         /* Linux 6.4 */
#define UFFDIO_CONTINUE_MODE_WP ((uint64_t)1 << 1)
#endif
#define FEATURE_POISON ((uint64_t)1 << 14)      /* Linux 6.6 */
#define FEATURE_WP_SHMEM ((uint64_t)1 << 12)    /* Linux 5.19 */
#define FEATURES (UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP | FEATURE_WP_SHMEM)

struct poison {
    struct uffdio_range range;
    uint64_t mode;
    int64_t updated;
};
#define REQUEST_POISON _IOWR(UFFDIO, 0x08, struct poison)

static _Atomic unsigned pretended;

void mk_pretend(unsigned without)
{
    atomic_store(&pretended, without);
}

unsigned mk_pretended(void)
{
    return atomic_load(&pretended);
}

static int open_any(unsigned without, int *uffd)
{
    int error = ENOSYS;

    if (!(without & (MK_WITHOUT_DEVICE | MK_USER_MODE_ONLY))) {
        int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
        if (device >= 0) {
            *uffd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
            close(device);
            if (*uffd >= 0)
                return 0;
        }
        error = errno;
    }
    if (without & MK_WITHOUT_SYSCALL)
        return error == ENOENT ? ENOSYS : error;
    if (!(without & MK_USER_MODE_ONLY)) {
        *uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
        if (*uffd >= 0)
            return 0;
    }
    *uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    return *uffd >= 0 ? 0 : errno;
}

static int handshake(int uffd, uint64_t wanted)
{
    struct uffdio_api api = { .api = UFFD_API, .features = wanted };

    return ioctl(uffd, UFFDIO_API, &api) == 0 && (api.features & wanted) == wanted ? 0 : EOPNOTSUPP;
}

int mk_uffd_open(unsigned without, int *uffd, bool *has_poison)
{
    int error = open_any(without, uffd);

    if (error != 0)
        return error;
    *has_poison = !(without & MK_WITHOUT_POISON);
    if (*has_poison && handshake(*uffd, FEATURES | FEATURE_POISON) != 0) {
        /* After a handshake that failed another may follow. */
        *has_poison = false;
        error = handshake(*uffd, FEATURES);
    } else if (!*has_poison) {
        error = handshake(*uffd, FEATURES);
    }
    if (error != 0) {
        close(*uffd);
        *uffd = -1;
    }
    return error;
}

const char *mk_explain(int error)
{
    switch (error) {
    case 0:
        return "page faults can be served";
    case EPERM:
    case EACCES:
        return "userfaultfd is not permitted: give the user access to /dev/userfaultfd, or set the sysctl "
               "vm.unprivileged_userfaultfd to 1, or run with CAP_SYS_PTRACE (and let seccomp pass the system call userfaultfd)";
    case ENOSYS:
    case ENODEV:
    case ENOENT:
    case ENXIO:
        return "this system has no userfaultfd: it needs Linux 6.4 or later with CONFIG_USERFAULTFD, and a container or sandbox that "
               "passes the system call or /dev/userfaultfd";
    case EOPNOTSUPP:
    case EINVAL:
        return "this system's userfaultfd lacks faults on shared memory (missing, minor and write-protect): it needs Linux 6.4 or later";
    case EEXIST:
        return "HostMach has another back end for vm_map already";
    case EMFILE:
    case ENFILE:
        return "no file descriptor is left (RLIMIT_NOFILE)";
    case ENOMEM:
    case EAGAIN:
        return "memory or threads are short";
    default:
        return "page faults cannot be served: see errno";
    }
}

int mk_uffd_register(struct mk_kernel *kernel, vm_address_t address, vm_size_t length, bool is_file)
{
    struct uffdio_register request = {
        .range = { address, length },
        .mode = is_file ? UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MINOR
                        : UFFDIO_REGISTER_MODE_MISSING,
    };
    return ioctl(kernel->uffd, UFFDIO_REGISTER, &request) == 0 ? 0 : errno;
}

/* A request is cut short (EAGAIN) when the process's mappings change under it: again. */

size_t mk_uffd_copy(struct mk_kernel *kernel, vm_address_t to, vm_address_t from, size_t pages, bool protect, int *error)
{
    vm_size_t length = pages * vm_page_size, done = 0;

    *error = 0;
    mk_order_wake(to, length, vm_page_size);
    while (done < length) {
        struct uffdio_copy request = { .dst = to + done, .src = from + done, .len = length - done,
                                       .mode = protect ? UFFDIO_COPY_MODE_WP : 0 };
        if (ioctl(kernel->uffd, UFFDIO_COPY, &request) == 0)
            return pages;
        if (errno != EAGAIN) {
            *error = errno;
            break;
        }
        if (request.copy > 0)
            done += (vm_size_t)request.copy;
    }
    return done / vm_page_size;
}

int mk_uffd_continue(struct mk_kernel *kernel, vm_address_t address, bool protect)
{
    int error;
    do {
        struct uffdio_continue request = { .range = { address, vm_page_size },
                                           .mode = UFFDIO_CONTINUE_MODE_DONTWAKE | (protect ? UFFDIO_CONTINUE_MODE_WP : 0) };
        error = ioctl(kernel->uffd, UFFDIO_CONTINUE, &request) == 0 ? 0 : errno;
    } while (error == EAGAIN);
    return error;
}

int mk_uffd_protect(struct mk_kernel *kernel, vm_address_t address, vm_size_t length, bool protect)
{
    int error;
    do {
        struct uffdio_writeprotect request = { .range = { address, length },
                                               .mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP
                                                               : UFFDIO_WRITEPROTECT_MODE_DONTWAKE };
        error = ioctl(kernel->uffd, UFFDIO_WRITEPROTECT, &request) == 0 ? 0 : errno;
    } while (error == EAGAIN);
    return error;
}

static int poison_entry(struct mk_kernel *kernel, vm_address_t address)
{
    int error;
    do {
        struct poison request = { .range = { address, vm_page_size } };
        error = ioctl(kernel->uffd, REQUEST_POISON, &request) == 0 ? 0 : errno;
    } while (error == EAGAIN);
    return error;
}

/* The entry must be empty for it.  A write-protected page that was dropped has left a mark of that, which madvise keeps and only
   the end of write-protection removes; nobody is to wake for that. */
int mk_uffd_poison(struct mk_kernel *kernel, vm_address_t address)
{
    int error = poison_entry(kernel, address);

    if (error != EEXIST)
        return error;
    struct uffdio_writeprotect request = { .range = { address, vm_page_size }, .mode = UFFDIO_WRITEPROTECT_MODE_DONTWAKE };
    madvise((void *)address, vm_page_size, MADV_DONTNEED);
    ioctl(kernel->uffd, UFFDIO_WRITEPROTECT, &request);
    return poison_entry(kernel, address);
}

void mk_uffd_wake(struct mk_kernel *kernel, vm_address_t address, vm_size_t length)
{
    struct uffdio_range request = { address, length };

    mk_order_wake(address, length, vm_page_size);
    ioctl(kernel->uffd, UFFDIO_WAKE, &request);
}
