/* The translator: its callbacks, and what tests tell and ask of them.  */

#include <errno.h>

#include "waits.h"

static size_t page_size(void) { return vm_page_size; }
vm_offset_t page_offset(size_t page) { return (vm_offset_t) page * page_size(); }

/* ---- Callbacks ---- */

/* Locked on return.  */
static struct call_record *begin(struct user_pager_info *store, enum call call, vm_offset_t page, vm_size_t length,
                                 unsigned char first)
{
    pthread_mutex_lock(&store->lock);
    unsigned index = store->logged++ % 4096;
    store->log[index] = (struct call_record) { .call = call, .page = page, .length = length, .first = first };
    store->counts[call]++;
    if (++store->running > store->max_running)
        store->max_running = store->running;
    if (call == CALL_READ && ++store->running_reads > store->max_reads)
        store->max_reads = store->running_reads;
    for (int i = 0; i < store->active_count; i++)
        if (store->active[i] < page + length && page < store->active[i] + store->active_length[i])
            store->overlaps++;
    if (store->active_count < 128) {
        store->active_length[store->active_count] = length;
        store->active[store->active_count++] = page;
    }
    store->waiting[call]++;
    pthread_cond_broadcast(&store->changed);
    while (store->closed[call] && !each_over())
        wait_changed(store, "a gate is never opened");
    store->waiting[call]--;
    if (store->hook) {
        pthread_mutex_unlock(&store->lock);
        each_hook(store, call, page);
        pthread_mutex_lock(&store->lock);
    }
    if (store->error_count[call] != 0) {
        store->log[index].error = store->errors[call];
        if (store->error_count[call] > 0)
            store->error_count[call]--;
    }
    return &store->log[index];
}

static void end(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    store->running--;
    if (call == CALL_READ)
        store->running_reads--;
    for (int i = 0; i < store->active_count; i++)
        if (store->active[i] == page) {
            store->active[i] = store->active[--store->active_count];
            store->active_length[i] = store->active_length[store->active_count];
            break;
        }
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
}

error_t pager_read_page(struct user_pager_info *store, vm_offset_t page, vm_address_t *buf, int *write_lock)
{
    int error = begin(store, CALL_READ, page, page_size(), 0)->error;
    if (!error && store->bad_buffer) {
        static char spare[64];
        *buf = store->bad_buffer == 1 ? 0 : (vm_address_t) spare + 8;
        store->bad_buffer = 0;
    } else if (!error) {
        if (vm_allocate(mach_task_self(), buf, page_size(), 1) != KERN_SUCCESS)
            error = ENOMEM;
        else if (page / page_size() < store->pages)
            memcpy((void *) *buf, store->data + page, page_size());
        *write_lock = store->write_lock;
    }
    end(store, CALL_READ, page);
    return error;
}

error_t pager_write_page(struct user_pager_info *store, vm_offset_t page, vm_address_t buf)
{
    int error = begin(store, CALL_WRITE, page, page_size(), *(unsigned char *) buf)->error;
    if (!error && page / page_size() < store->pages)
        memcpy(store->data + page, (void *) buf, page_size());
    each_wrote(store, page, (void *) buf, error);
    end(store, CALL_WRITE, page);
    return error;
}

error_t pager_write_pages(struct user_pager_info *store, vm_offset_t offset, vm_address_t data, vm_size_t length,
                          vm_size_t *written)
{
    *written = 0;
    if (!store->multi_write)
        return EOPNOTSUPP;
    int error = begin(store, CALL_WRITES, offset, length, *(unsigned char *) data)->error;
    vm_size_t most = (vm_size_t) (error ? store->multi_prefix : store->multi_write) * page_size();
    if (most) {
        *written = length < most ? length : most;
        memcpy(store->data + offset, (void *) data, *written);
    }
    if (error)
        each_wrote(store, offset + *written, (char *) data + *written, error);
    end(store, CALL_WRITES, offset);
    return error;
}

error_t pager_unlock_page(struct user_pager_info *store, vm_offset_t address)
{
    int error = begin(store, CALL_UNLOCK, address, page_size(), 0)->error;
    end(store, CALL_UNLOCK, address);
    return error;
}

void pager_notify_evict(struct user_pager_info *store, vm_offset_t page)
{
    begin(store, CALL_EVICT, page, page_size(), 0);
    end(store, CALL_EVICT, page);
}

error_t pager_report_extent(struct user_pager_info *store, vm_address_t *offset, vm_size_t *size)
{
    *offset = 0;
    *size = store->pages * page_size();
    return 0;
}

void pager_clear_user_data(struct user_pager_info *store)
{
    pthread_mutex_lock(&store->lock);
    store->cleared++;
    if (store->cleared_too)
        ++*store->cleared_too;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
}

void pager_dropweak(struct user_pager_info *store)
{
    pthread_mutex_lock(&store->lock);
    store->dropped_weak++;
    int count = store->drop_weak;
    store->drop_weak = 0;
    pthread_mutex_unlock(&store->lock);
    while (count-- > 0)
        ports_port_deref_weak(store->pager);
}
/* ---- The store ---- */

unsigned char store_byte(struct world *world, size_t page)
{
    pthread_mutex_lock(&world->store->lock);
    unsigned char byte = world->store->data[page * page_size()];
    pthread_mutex_unlock(&world->store->lock);
    return byte;
}

void store_fill(struct world *world, size_t page, unsigned char byte)
{
    pthread_mutex_lock(&world->store->lock);
    memset(world->store->data + page * page_size(), byte, page_size());
    each_filled(world->store, page);
    pthread_mutex_unlock(&world->store->lock);
}

void store_fail(struct world *world, enum call call, int error, int count)
{
    pthread_mutex_lock(&world->store->lock);
    world->store->errors[call] = error;
    world->store->error_count[call] = count;
    pthread_mutex_unlock(&world->store->lock);
}

void store_write_lock(struct world *world, int on)
{
    pthread_mutex_lock(&world->store->lock);
    world->store->write_lock = on;
    pthread_mutex_unlock(&world->store->lock);
}

void store_multi_write(struct world *world, int pages) { world->store->multi_write = pages; }

void store_close_gate(struct world *world, enum call call)
{
    pthread_mutex_lock(&world->store->lock);
    world->store->closed[call] = 1;
    pthread_mutex_unlock(&world->store->lock);
}

void store_wait_gate(struct world *world, enum call call, int count)
{
    pthread_mutex_lock(&world->store->lock);
    while (world->store->waiting[call] < count)
        wait_changed(world->store, "a callback does not come to its gate");
    pthread_mutex_unlock(&world->store->lock);
}

void store_open_gate(struct world *world, enum call call)
{
    pthread_mutex_lock(&world->store->lock);
    world->store->closed[call] = 0;
    pthread_cond_broadcast(&world->store->changed);
    pthread_mutex_unlock(&world->store->lock);
}

unsigned store_count(struct world *world, enum call call)
{
    pthread_mutex_lock(&world->store->lock);
    unsigned count = world->store->counts[call];
    pthread_mutex_unlock(&world->store->lock);
    return count;
}

void store_wait_count(struct world *world, enum call call, unsigned count)
{
    pthread_mutex_lock(&world->store->lock);
    while (world->store->counts[call] < count)
        wait_changed(world->store, "a callback does not come");
    pthread_mutex_unlock(&world->store->lock);
}

struct call_record store_call(struct world *world, enum call call, unsigned index)
{
    pthread_mutex_lock(&world->store->lock);
    unsigned seen = 0;
    struct call_record record = { .call = CALL_COUNT };
    for (unsigned i = 0; i < world->store->logged && i < 4096; i++)
        if (world->store->log[i].call == call && seen++ == index)
            record = world->store->log[i];
    pthread_mutex_unlock(&world->store->lock);
    assert_int_not_equal(record.call, CALL_COUNT);
    return record;
}
