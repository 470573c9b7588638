/* store.c - the translator: its backing store is an array, and its callbacks take their time, fail, and check.

   What a callback does (how long it takes, whether it fails, whether it waits for another page) follows from the scenario's seed, the
   page, and how many callbacks of its kind there were for the page: not from the order of things.

   Checked in each callback: the rules of which may run beside which; nothing runs while workers are inhibited, or after the pager's end;
   the store gets what the kernels wrote (model.h), never an older version; an eviction is told when no kernel has the page. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "random.h"
#include "report.h"
#include "totals.h"
#include "world.h"

enum call { CALL_READ, CALL_WRITE, CALL_UNLOCK, CALL_EVICT, CALLS };

struct user_pager_info { int unused; };

static struct {
    char *data;
    unsigned calls[CALLS][PAGES_MAX];
    unsigned reads, others, aside;      /* callbacks that run; those of them that wait for something else */
    bool busy[PAGES_MAX];
} store;

void store_open(void)
{
    unsigned pages = world.configuration->pages;
    memset(&store, 0, sizeof store);
    store.data = malloc(pages * vm_page_size);
    model_open(pages);
    for (unsigned page = 0; page < pages; page++) {
        model_fill(page, model_page(page)->stored, store.data + page * vm_page_size);
        model_page(page)->tainted = page >= pages - world.configuration->tainted;
    }
}

void store_close(void) { free(store.data); }
const void *store_bytes(unsigned page) { return store.data + page * vm_page_size; }
bool store_is_idle(void) { return store.reads + store.others == 0; }

/* ---- What a callback does ---- */

static struct random decide(enum call call, unsigned page)
{
    return random_seeded(world.scenario->seed ^ (uint64_t) store.calls[call][page]++ << 32, 100 + call * 1000 + page);
}

static void take_time(struct random *random)
{
    if (!random_chance(random, world.configuration->slow_rate))
        return sim_point();
    static const unsigned microseconds[] = { 20, 100, 1000, 8000, 60000 };
    sim_sleep_ns(random_below(random, microseconds[random_below(random, 5)] * 1000u));
}

static int error_of(struct random *random, unsigned page)
{
    static const int errors[] = { EIO, ENOSPC, EDQUOT, EACCES, 77 };
    if (!random_chance(random, world.configuration->error_rate))
        return 0;
    model_page(page)->may_fail = true;
    return errors[random_below(random, sizeof errors / sizeof *errors)];
}

/* Some callbacks call the library and wait, for another page. */
static void wait_elsewhere(struct random *random, unsigned page)
{
    if (!world.configuration->callbacks_wait || !random_chance(random, 200) || world.configuration->pages < 2)
        return;
    unsigned other = (page + 1) % world.configuration->pages;
    store.aside++;
    pager_sync_some(world.pager, page_offset(other), vm_page_size, 1);
    store.aside--;
}

/* ---- Beginning and end ---- */

static void begin(enum call call, unsigned first, unsigned count)
{
    static const char *const names[] = { "reads", "writes", "unlocks", "evicts" };
    TRACE("translator %s page %u%s", names[call], first, count > 1 ? " and more" : "");
    model_goes_on(sim_self());
    if (world.cleared)
        report_failure("a callback after pager_clear_user_data");
    if (world.inhibited && strcmp(sim_name(sim_self()), "worker") == 0)
        report_failure("a callback while workers are inhibited");
    for (unsigned i = first; i < first + count; i++) {
        if (store.busy[i])
            report_failure("two callbacks for one page");
        store.busy[i] = true;
    }
    if (call == CALL_READ && store.reads > store.aside)
        totals_add(TOTAL_READS_BESIDE, 1);
    if (call == CALL_READ)
        store.reads++;
    else
        store.others++;
    /* (One that waits does not count.) */
    bool alone = world.configuration->reads == 1;
    if (store.others > 1 + store.aside || store.reads > world.configuration->reads + store.aside
        || (alone && store.reads + store.others > 1 + store.aside))
        report_failure("too many callbacks at once");
    sim_point();
}

static void end(enum call call, unsigned first, unsigned count)
{
    sim_point();
    for (unsigned i = first; i < first + count; i++)
        store.busy[i] = false;
    if (call == CALL_READ)
        store.reads--;
    else
        store.others--;
}

/* ---- The callbacks ---- */

error_t pager_read_page(struct user_pager_info *upi, vm_offset_t offset, vm_address_t *buf, int *write_lock)
{
    (void) upi;
    int page = page_at(offset);
    if (page < 0)
        return EIO;
    begin(CALL_READ, (unsigned) page, 1);
    struct random random = decide(CALL_READ, (unsigned) page);
    take_time(&random);
    wait_elsewhere(&random, (unsigned) page);
    int error = error_of(&random, (unsigned) page);
    *write_lock = world.configuration->write_lock && random_chance(&random, 700);
    if (!error && vm_allocate(mach_task_self(), buf, vm_page_size, 1) != KERN_SUCCESS)
        error = ENOMEM;
    if (!error)
        memcpy((void *) *buf, store_bytes((unsigned) page), vm_page_size);
    end(CALL_READ, (unsigned) page, 1);
    return error;
}

/* So many pages of the object from OFFSET on are neighbours in the store as well. */
static unsigned run_of(vm_offset_t offset, vm_size_t length, unsigned *first)
{
    int page = page_at(offset);
    if (page < 0)
        return 0;
    *first = (unsigned) page;
    unsigned count = 1;
    while (count * vm_page_size < length && page_at(offset + count * vm_page_size) == page + (int) count)
        count++;
    return count;
}

error_t pager_read_pages(struct user_pager_info *upi, vm_offset_t offset, vm_size_t length, vm_address_t *buf, vm_size_t *read,
                         int *write_lock)
{
    (void) upi;
    unsigned first = 0, count = run_of(offset, length, &first);
    *read = 0;
    if (!world.configuration->multi_read || count * vm_page_size < length)
        return EOPNOTSUPP;
    begin(CALL_READ, first, count);
    struct random random = decide(CALL_READ, first);
    take_time(&random);
    unsigned some = random_chance(&random, 300) ? random_below(&random, count + 1) : count;
    int error = some < count ? error_of(&random, first + some) : 0;
    *write_lock = world.configuration->write_lock && random_chance(&random, 700);
    if (some > 0 && vm_allocate(mach_task_self(), buf, some * vm_page_size, 1) == KERN_SUCCESS) {
        *read = some * vm_page_size;
        memcpy((void *) *buf, store_bytes(first), *read);
    } else if (some > 0) {
        error = ENOMEM;
    }
    end(CALL_READ, first, count);
    return error;
}

static void put(unsigned page, const void *bytes)
{
    model_stored(page, bytes);
    memcpy(store.data + page * vm_page_size, bytes, vm_page_size);
}

error_t pager_write_page(struct user_pager_info *upi, vm_offset_t offset, vm_address_t buf)
{
    (void) upi;
    int page = page_at(offset);
    if (page < 0)
        return EIO;
    begin(CALL_WRITE, (unsigned) page, 1);
    struct random random = decide(CALL_WRITE, (unsigned) page);
    take_time(&random);
    int error = error_of(&random, (unsigned) page);
    if (!error)
        put((unsigned) page, (const void *) buf);
    else
        model_store_failed((unsigned) page, sim_self());
    end(CALL_WRITE, (unsigned) page, 1);
    return error;
}

error_t pager_write_pages(struct user_pager_info *upi, vm_offset_t offset, vm_address_t data, vm_size_t length, vm_size_t *written)
{
    (void) upi;
    unsigned first = 0, count = run_of(offset, length, &first);
    *written = 0;
    if (!world.configuration->multi_write || count * vm_page_size < length)
        return EOPNOTSUPP;
    begin(CALL_WRITE, first, count);
    struct random random = decide(CALL_WRITE, first);
    take_time(&random);
    unsigned some = random_chance(&random, 200) ? random_below(&random, count) : count;
    int error = some < count ? error_of(&random, first + some) : 0;
    if (error)
        model_store_failed(first + some, sim_self());
    else if (some == 0)
        some = 1;
    for (unsigned i = 0; i < some; i++)
        put(first + i, (const char *) data + i * vm_page_size);
    *written = some * vm_page_size;
    end(CALL_WRITE, first, count);
    return error;
}

error_t pager_unlock_page(struct user_pager_info *upi, vm_offset_t offset)
{
    (void) upi;
    int page = page_at(offset);
    if (page < 0)
        return EIO;
    begin(CALL_UNLOCK, (unsigned) page, 1);
    struct random random = decide(CALL_UNLOCK, (unsigned) page);
    take_time(&random);
    int error = error_of(&random, (unsigned) page);
    end(CALL_UNLOCK, (unsigned) page, 1);
    return error;
}

void pager_notify_evict(struct user_pager_info *upi, vm_offset_t offset)
{
    (void) upi;
    int page = page_at(offset);
    if (page < 0)
        return;
    begin(CALL_EVICT, (unsigned) page, 1);
    if (!world.configuration->notify)
        report_failure("an eviction is told though nobody asked for it");
    struct model_page *model = model_page((unsigned) page);
    if (!model->tainted && !world.lossy && is_page_resident((unsigned) page))
        report_failure("an eviction is told of a page that a kernel has");
    if (!model->tainted && !world.lossy && model->losses == 0 && memcmp(&model->stored, &model->current.content[0], sizeof model->stored) != 0)
        report_failure("an eviction is told before the page is written");
    struct random random = decide(CALL_EVICT, (unsigned) page);
    take_time(&random);
    end(CALL_EVICT, (unsigned) page, 1);
}

error_t pager_report_extent(struct user_pager_info *upi, vm_address_t *offset, vm_size_t *size)
{
    (void) upi;                 /* (Other pagers are as large.) */
    *offset = 0;
    *size = page_offset(world.configuration->pages);
    return 0;
}

void pager_clear_user_data(struct user_pager_info *upi)
{
    if (upi != world.user) {
        world.others_cleared++;
        return;
    }
    if (world.cleared)
        report_failure("pager_clear_user_data runs twice");
    if (!store_is_idle())
        report_failure("pager_clear_user_data runs beside a callback");
    world.cleared = true;
}

void pager_dropweak(struct user_pager_info *upi) { (void) upi; }
