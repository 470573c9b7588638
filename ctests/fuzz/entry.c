/* entry.c - the calls of <hurd/pager.h> and <pager/extensions.h> that no step of the simulation makes, and arguments that it does not use.

   Everything follows from the step. What a call must answer is checked here; what it does to pages the simulation checks. */

#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "model.h"
#include "random.h"
#include "report.h"
#include "world.h"

/* Whole pages or not, in the object or not. */
static vm_offset_t some_offset(struct random *random, const struct step *step)
{
    switch (random_below(random, 6)) {
    case 0: return random_next(random);
    case 1: return (vm_offset_t) 0 - random_below(random, 3 * 4096);
    case 2: return page_offset(step->page) + random_below(random, 4096);
    default: return page_offset(step->page);
    }
}

static void inspect(struct random *random, const struct step *step)
{
    vm_offset_t offset = some_offset(random, step);
    unsigned client = random_chance(random, 800) ? random_below(random, world.configuration->kernels + 2) : (unsigned) random_next(random);
    int access = pager_page_access(world.pager, offset, client);
    if (access < -1 || access > 3)
        report_failure("pager_page_access: %d", access);
    pager_page_word(world.pager, offset);
    int error = pager_get_error(world.pager, offset), page = page_at(offset / vm_page_size * vm_page_size);
    if (error != 0 && page >= 0 && !model_page((unsigned) page)->may_fail && !world.configuration->shortage && !world.closing)
        report_failure("pager_get_error: %d for a page that never failed", error);
    mach_port_t port = pager_get_port(world.pager);
    if (port == MACH_PORT_NULL && !world.closing)
        report_failure("pager_get_port: there is none");
}

/* Ranges that are no whole pages, and reach beyond the object or around the end of all. */
static void odd_range(struct random *random, const struct step *step)
{
    static void (*const some[])(struct pager *, vm_address_t, vm_size_t, int) = { pager_sync_some, pager_flush_some, pager_return_some };
    vm_offset_t offset = some_offset(random, step);
    vm_size_t length = random_chance(random, 200) ? random_next(random) : random_chance(random, 200) ? 0
        : random_below(random, (unsigned) (world.configuration->pages + 1) * 4096);
    some[step->count % 3](world.pager, offset, length, (int) random_below(random, 2));
}

static void out_of_range(void)
{
    static const unsigned counts[] = { 0, 65, 1000, ~0u };
    for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++)
        if (pager_set_concurrent_reads(world.pager, counts[i]) != EINVAL)
            report_failure("pager_set_concurrent_reads: %u is accepted", counts[i]);
}

/* No kernel of this world has mappings of our own memory. */
static void copy(struct random *random, const struct step *step)
{
    char bytes[64] = "";
    vm_size_t size = random_below(random, sizeof bytes + 1), before = size;
    mach_port_t object = random_chance(random, 300) ? MACH_PORT_NULL : world.port;
    error_t error = pager_memcpy(world.pager, object, some_offset(random, step), bytes, &size,
                                 random_chance(random, 500) ? VM_PROT_READ : VM_PROT_READ | VM_PROT_WRITE);
    if (size > before || (error == 0) != (size == before) || (error == 0 && before != 0))
        report_failure("pager_memcpy: error %d, %lu of %lu bytes", error, (unsigned long) size, (unsigned long) before);
}

/* ---- Other pagers, and other workers ---- */

static void use(struct random *random, struct pager *pager)
{
    struct pager_statistics statistics;
    struct pager_page_census census;
    switch (random_below(random, 8)) {
    case 0: pager_sync(pager, 1); break;
    case 1: pager_flush(pager, 1); break;
    case 2: pager_return_some(pager, random_next(random), random_next(random), 1); break;
    case 3: pager_change_attributes(pager, TRUE, MEMORY_OBJECT_COPY_NONE, 1); break;
    case 4: pager_set_concurrent_reads(pager, random_below(random, 70)); break;
    case 5: pager_take_census(pager, &census); break;
    case 6: pager_get_statistics(pager, &statistics); break;
    default: pager_get_error(pager, random_next(random)); break;
    }
}

static void live_and_die(struct random *random, struct port_bucket *bucket)
{
    static char data;
    size_t size = random_below(random, 300);
    bool allocates = random_chance(random, 500);
    memory_object_copy_strategy_t strategy = (memory_object_copy_strategy_t) random_below(random, 4);
    boolean_t may_cache = (boolean_t) random_below(random, 2), notify = (boolean_t) random_below(random, 2);
    struct pager *pager = allocates ? pager_create_alloc(size, bucket, may_cache, strategy, notify)
        : pager_create((struct user_pager_info *) (void *) &data, bucket, may_cache, strategy, notify);
    if (!pager) {
        if (!world.configuration->shortage)
            report_failure("no second pager");
        return;
    }
    const char *user = (const char *) pager_get_upi(pager);
    for (size_t i = 0; allocates && i < size; i++)
        if (user[i] != 0)
            report_failure("the translator's data are not zeroed");
    if (!allocates && user != &data)
        report_failure("pager_get_upi: not what was given");
    for (unsigned i = random_below(random, 3); i > 0; i--)
        use(random, pager);
    if (random_chance(random, 700)) {
        pager_shutdown(pager);
        if (pager_get_port(pager) != MACH_PORT_NULL)
            report_failure("a pager has a port after its shutdown");
        if (random_chance(random, 500))
            use(random, pager);
    } else {
        ports_destroy_right(pager);
    }
    ports_port_deref(pager);
}

/* (Only a bucket that nobody else uses can have its workers ended.) */
static void other_workers(struct random *random)
{
    struct pager_requests *requests;
    struct port_bucket *bucket = ports_create_bucket();
    if (!bucket)
        return;
    if (pager_start_workers(bucket, &requests) == 0) {
        bool inhibited = random_chance(random, 500) && pager_inhibit_workers(requests) == 0;
        if (inhibited && pager_inhibit_workers(requests) != EBUSY)
            report_failure("workers are inhibited twice");
        live_and_die(random, bucket);
        if (inhibited)
            pager_resume_workers(requests);
        pager_stop_workers(requests);
    } else if (!world.configuration->shortage) {
        report_failure("no other workers");
    }
    if (ports_destroy_bucket(bucket) != 0)
        report_failure("another bucket has ports left");
}

void entry_call(const struct step *step)
{
    struct random random = random_seeded(step->argument, step->count + 256 * step->page);
    switch (step->count % 16) {
    case 0: case 1: case 2: return odd_range(&random, step);
    case 3: case 4: return inspect(&random, step);
    case 5: return out_of_range();
    case 6: return copy(&random, step);
    case 7: case 8: return live_and_die(&random, world.bucket);
    case 9: case 10: return other_workers(&random);
    case 11:
        return pager_change_attributes(world.pager, step->argument & 1, (memory_object_copy_strategy_t) (step->argument >> 1 & 3),
                                       step->argument >> 3 & 1);
    case 12:
        /* A second time, or while somebody else does it. */
        if (world.closing)
            pager_shutdown(world.pager);
        return;
    case 13: return pager_set_shutdown_patience(world.pager, world.configuration->patience_ms ? world.configuration->patience_ms : 3600000);
    default:
        if (world.configuration->quiet_pages == 0)
            return odd_range(&random, step);
    }
}
