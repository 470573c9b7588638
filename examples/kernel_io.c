/* kernel_io.c - the I/O manager: a channel is a bound kernel and a block size.

   Errors of a fault (an errno from the pager, or KERN_TERMINATED) are passed on as they are: small errcode_t values
   are errno values to libext2fs.  */

#include "kernel_io.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* How often a kernel with little memory looks how much it has.  */
#define EVICT_INTERVAL_ACCESSES 512

struct binding {
    const char *name;
    sk_object *object;
    unsigned limit_pages;
    atomic_uint accesses;
};

static struct binding bindings[KERNEL_IO_MAX];
static unsigned binding_count;
static atomic_ulong read_bytes, written_bytes;

void kernel_io_bind(const char *name, sk_object *object, unsigned limit_pages)
{
    if (binding_count == KERNEL_IO_MAX)
        abort();
    struct binding *binding = &bindings[binding_count++];
    binding->name = name;
    binding->object = object;
    binding->limit_pages = limit_pages;
}

unsigned long kernel_io_read_bytes(void) { return atomic_load(&read_bytes); }
unsigned long kernel_io_written_bytes(void) { return atomic_load(&written_bytes); }

static struct binding *binding_of(io_channel channel) { return channel->private_data; }

/* A machine short of memory: clean pages go first, without a word; if that does not help, all go.  */
static void make_room(struct binding *binding)
{
    if (binding->limit_pages == 0 || atomic_fetch_add(&binding->accesses, 1) % EVICT_INTERVAL_ACCESSES != 0)
        return;
    if (sk_resident(binding->object) <= binding->limit_pages)
        return;
    sk_drop_clean(binding->object);
    if (sk_resident(binding->object) > binding->limit_pages / 2)
        sk_evict_all(binding->object);
}

static errcode_t read_bytes_at(io_channel channel, vm_offset_t offset, void *data, size_t length)
{
    struct binding *binding = binding_of(channel);
    make_room(binding);
    atomic_fetch_add(&read_bytes, length);
    return sk_read(binding->object, offset, data, length);
}

static errcode_t write_bytes_at(io_channel channel, vm_offset_t offset, const void *data, size_t length)
{
    struct binding *binding = binding_of(channel);
    make_room(binding);
    atomic_fetch_add(&written_bytes, length);
    return sk_write(binding->object, offset, data, length);
}


/* ---- What libext2fs calls ---- */

/* A negative count is a number of bytes.  */
static size_t length_of(io_channel channel, int count)
{
    return count < 0 ? (size_t) -count : (size_t) count * (size_t) channel->block_size;
}

static errcode_t io_read64(io_channel channel, unsigned long long block, int count, void *data)
{
    return read_bytes_at(channel, block * (unsigned) channel->block_size, data, length_of(channel, count));
}

static errcode_t io_write64(io_channel channel, unsigned long long block, int count, const void *data)
{
    return write_bytes_at(channel, block * (unsigned) channel->block_size, data, length_of(channel, count));
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
    return write_bytes_at(channel, offset, data, (size_t) count);
}

static errcode_t io_set_blksize(io_channel channel, int block_size)
{
    channel->block_size = block_size;
    return 0;
}

/* What is written is in the kernel's pages, where every other kernel's fault finds it.  */
static errcode_t io_flush(io_channel channel)
{
    (void) channel;
    return 0;
}

static errcode_t io_open(const char *name, int flags, io_channel *result)
{
    (void) flags;
    for (unsigned i = 0; i < binding_count; i++) {
        if (strcmp(bindings[i].name, name) != 0)
            continue;
        io_channel channel = calloc(1, sizeof *channel);
        if (channel == NULL || (channel->name = strdup(name)) == NULL) {
            free(channel);
            return ENOMEM;
        }
        channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
        channel->manager = kernel_io_manager;
        channel->block_size = 1024;
        channel->refcount = 1;
        channel->private_data = &bindings[i];
        *result = channel;
        return 0;
    }
    return ENOENT;
}

static errcode_t io_close(io_channel channel)
{
    if (--channel->refcount > 0)
        return 0;
    free(channel->name);
    free(channel);
    return 0;
}

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

io_manager kernel_io_manager = &manager;
