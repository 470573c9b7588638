/* mapped_io.c - copies that survive a refused page, and the I/O manager made of them.

   Errors are errno values throughout: small errcode_t values are errno values to libext2fs.  */

#include "mapped_io.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <mach.h>

/* Most mappings at a time.  */
#define MAPPED_MAX 16

static struct mapped *table[MAPPED_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;        /* table */


/* ---- Copying ---- */

/* The copy that this thread is in.  */
struct copy {
    sigjmp_buf back;
    const char *start;              /* the mapping */
    size_t size;
    const char *fault;              /* where it ended */
};

static _Thread_local struct copy *volatile current;
static struct sigaction before;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void) context;
    struct copy *copy = current;
    const char *address = info->si_addr;
    if (copy != NULL && (size_t) (address - copy->start) < copy->size) {
        copy->fault = address;
        siglongjmp(copy->back, 1);
    }
    sigaction(number, &before, NULL);   /* not ours: the access is made again, and meets whoever was here before */
}

/* The signal is not blocked while its handler runs, so the jump out of it need not restore a signal mask, and an access without
   a fault costs no system call.  */
static void install(void)
{
    struct sigaction ours = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
    sigemptyset(&ours.sa_mask);
    sigaction(SIGBUS, &ours, &before);
}

/* PLACE is in MAPPED; data go from FROM to TO, one of which is PLACE.  */
static error_t move(struct mapped *mapped, const char *place, void *to, const void *from, size_t length)
{
    struct copy copy = { .start = mapped->start, .size = mapped->size };
    if (place == NULL)
        return EINVAL;
    if (sigsetjmp(copy.back, 0) == 0) {
        current = &copy;
        atomic_signal_fence(memory_order_seq_cst);      /* the copy stays between the two */
        memcpy(to, from, length);
        atomic_signal_fence(memory_order_seq_cst);
        current = NULL;
        return 0;
    }
    current = NULL;
    error_t error = pager_get_error(mapped->pager, (vm_address_t) (copy.fault - mapped->start));
    mk_error_taken(copy.fault);         /* we have it: the next touch asks the pager again */
    return error ? error : EIO;
}

/* Where LENGTH bytes at OFFSET are; NULL if they are not.  */
static char *place_of(struct mapped *mapped, size_t offset, size_t length)
{
    return offset <= mapped->size && length <= mapped->size - offset ? mapped->start + offset : NULL;
}

error_t mapped_read(struct mapped *mapped, size_t offset, void *data, size_t length)
{
    const char *place = place_of(mapped, offset, length);
    atomic_fetch_add(&mapped->read_bytes, length);
    return move(mapped, place, data, place, length);
}

error_t mapped_write(struct mapped *mapped, size_t offset, const void *data, size_t length)
{
    char *place = place_of(mapped, offset, length);
    atomic_fetch_add(&mapped->written_bytes, length);
    return move(mapped, place, place, data, length);
}


/* ---- Mapping ---- */

static vm_size_t whole_pages(size_t size) { return (size + vm_page_size - 1) / vm_page_size * vm_page_size; }

static error_t sync_pager(struct pager *pager)
{
    pager_sync(pager, 1);
    return 0;
}

/* A thread's vm_map goes through the kernel that it has entered.  Whoever touches the memory afterwards need not have.  */
static error_t map(struct mapped *mapped, mk_kernel *kernel)
{
    vm_address_t address = 0;
    mach_port_t object = ports_get_send_right(mapped->pager);
    if (object == MACH_PORT_NULL)
        return EIO;
    mk_kernel *previous = mk_enter(kernel);
    kern_return_t result = vm_map(mach_task_self(), &address, whole_pages(mapped->size), 0, TRUE, object, 0, FALSE,
                                  VM_PROT_READ | VM_PROT_WRITE, VM_PROT_READ | VM_PROT_WRITE, VM_INHERIT_NONE);
    mk_enter(previous);
    mach_port_deallocate(mach_task_self(), object);
    mapped->start = (char *) address;
    return result == KERN_SUCCESS ? 0 : result == KERN_RESOURCE_SHORTAGE || result == KERN_NO_SPACE ? ENOMEM : EIO;
}

error_t mapped_open(struct mapped *mapped, const char *name, mk_kernel *kernel, struct pager *pager, size_t size,
                    error_t (*sync)(struct pager *))
{
    unsigned i = 0;
    error_t error = mk_start();
    if (error)
        return error;
    memset(mapped, 0, sizeof *mapped);
    strncpy(mapped->name, name, sizeof mapped->name - 1);
    mapped->pager = pager;
    mapped->size = size;
    mapped->sync = sync != NULL ? sync : sync_pager;
    pthread_once(&once, install);
    if ((error = map(mapped, kernel)) != 0)
        return error;
    pthread_mutex_lock(&lock);
    while (i < MAPPED_MAX && table[i] != NULL)
        i++;
    if (i < MAPPED_MAX)
        table[i] = mapped;
    pthread_mutex_unlock(&lock);
    if (i < MAPPED_MAX)
        return 0;
    vm_deallocate(mach_task_self(), (vm_address_t) mapped->start, whole_pages(size));
    return EMFILE;
}

error_t mapped_close(struct mapped *mapped)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < MAPPED_MAX; i++)
        if (table[i] == mapped)
            table[i] = NULL;
    pthread_mutex_unlock(&lock);
    return vm_deallocate(mach_task_self(), (vm_address_t) mapped->start, whole_pages(mapped->size)) ? EINVAL : 0;
}


/* ---- What libext2fs calls ---- */

static struct mapped *mapped_of(io_channel channel) { return channel->private_data; }

/* A damaged file system may name any block.  */
static size_t offset_of(io_channel channel, unsigned long long block)
{
    size_t offset;
    return __builtin_mul_overflow(block, (size_t) channel->block_size, &offset) ? SIZE_MAX : offset;
}

/* A negative count is a number of bytes.  */
static size_t length_of(io_channel channel, int count)
{
    return count < 0 ? (size_t) -(long) count : (size_t) count * (size_t) channel->block_size;
}

static errcode_t io_read64(io_channel channel, unsigned long long block, int count, void *data)
{
    return mapped_read(mapped_of(channel), offset_of(channel, block), data, length_of(channel, count));
}

static errcode_t io_write64(io_channel channel, unsigned long long block, int count, const void *data)
{
    return mapped_write(mapped_of(channel), offset_of(channel, block), data, length_of(channel, count));
}

static errcode_t io_read(io_channel channel, unsigned long block, int count, void *data)
{
    return io_read64(channel, block, count, data);
}

static errcode_t io_write(io_channel channel, unsigned long block, int count, const void *data)
{
    return io_write64(channel, block, count, data);
}

static errcode_t io_write_byte(io_channel channel, unsigned long offset, int count, const void *data)
{
    return mapped_write(mapped_of(channel), offset, data, (size_t) count);
}

static errcode_t io_set_blksize(io_channel channel, int block_size)
{
    channel->block_size = block_size;
    return 0;
}

/* Other kernels see what is written at once; only the disk has to be told.  */
static errcode_t io_flush(io_channel channel)
{
    struct mapped *mapped = mapped_of(channel);
    return mapped->sync(mapped->pager);
}

static errcode_t io_open(const char *name, int flags, io_channel *result)
{
    struct mapped *mapped = NULL;
    (void) flags;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < MAPPED_MAX && mapped == NULL; i++)
        if (table[i] != NULL && strcmp(table[i]->name, name) == 0)
            mapped = table[i];
    pthread_mutex_unlock(&lock);
    if (mapped == NULL)
        return ENOENT;
    io_channel channel = calloc(1, sizeof *channel);
    if (channel == NULL || (channel->name = strdup(name)) == NULL) {
        free(channel);
        return ENOMEM;
    }
    channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
    channel->manager = mapped_io_manager;
    channel->block_size = 1024;
    channel->refcount = 1;
    channel->private_data = mapped;
    *result = channel;
    return 0;
}

static errcode_t io_close(io_channel channel)
{
    if (--channel->refcount > 0)
        return 0;
    free(channel->name);
    free(channel);
    return 0;
}

/* No cache_readahead: a kernel asks for the page that is touched, so to read ahead would be to read.  */
static struct struct_io_manager manager = {
    .magic = EXT2_ET_MAGIC_IO_MANAGER,
    .name = "a kernel's mapping",
    .open = io_open,
    .close = io_close,
    .set_blksize = io_set_blksize,
    .read_blk = io_read,
    .write_blk = io_write,
    .flush = io_flush,
    .write_byte = io_write_byte,
    .read_blk64 = io_read64,
    .write_blk64 = io_write64,
};

io_manager mapped_io_manager = &manager;
