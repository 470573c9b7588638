/* run.c - one run: makes the world, lets the actors go, and sees that nothing is left. */

#include <stdlib.h>
#include <unistd.h>

#include "model.h"
#include "report.h"
#include "scheduler.h"
#include "totals.h"
#include "world.h"

#include "platform.h"

struct world world;
void (*world_opened)(void), (*world_closes)(void);

vm_offset_t page_offset(unsigned page) { return (vm_offset_t) page * world.configuration->stride * vm_page_size; }

int page_at(vm_offset_t offset)
{
    vm_offset_t number = offset / vm_page_size, stride = world.configuration->stride;
    if (offset % vm_page_size != 0 || number % stride != 0 || number / stride >= world.configuration->pages)
        return -1;
    return (int) (number / stride);
}

static void open_world(void)
{
    const struct configuration *c = world.configuration;
    static char user_data;
    store_open();
    machines_open();
    world.bucket = ports_create_bucket();
    if (!world.bucket || pager_start_workers(world.bucket, &world.requests) != 0)
        report_failure("no workers");
    world.user = (struct user_pager_info *) (void *) &user_data;
    world.pager = pager_create(world.user, world.bucket, 0, MEMORY_OBJECT_COPY_DELAY, c->notify);
    if (!world.pager)
        report_failure("no pager");
    pager_set_concurrent_reads(world.pager, c->reads);
    pager_set_shutdown_patience(world.pager, c->patience_ms ? c->patience_ms : 3600000);
    world.port = ports_get_send_right(world.pager);
    if (world_opened)
        world_opened();
    for (unsigned i = 0; i < c->kernels; i++)
        machine_start(i);
}

static void close_world(void)
{
    if (world_closes)
        world_closes();
    if (!world.closing) {
        world.closing = true;
        pager_shutdown(world.pager);
    }
    if (!world.lossy)
        check_store();
    struct pager_statistics statistics;
    pager_get_statistics(world.pager, &statistics);
    totals_add_statistics(&statistics);
    for (unsigned i = 0; i < world.kernels_made; i++)
        sk_kernel_destroy(world.kernels[i]);
    mach_port_deallocate(mach_task_self(), world.port);
    ports_port_deref(world.pager);
    pager_stop_workers(world.requests);
    if (!world.cleared)
        report_failure("pager_clear_user_data does not run");
    if (!store_is_idle())
        report_failure("a callback runs after the end");
    if (ports_destroy_bucket(world.bucket) != 0)
        report_failure("the bucket has ports left");
    store_close();
}

static void check_violations(void)
{
    for (unsigned i = 0; i < world.configuration->kernels; i++)
        if (!world.machines[i].hostile && sk_violations(world.machines[i].object) != 0)
            report_failure("the pager did what no pager may");
}

static void live(void *unused)
{
    (void) unused;
    struct accounts before = accounts_take();
    open_world();
    actors_start();
    actors_await(ROLE_FATE);
    if (world.configuration->shuts_down)
        actors_await(ROLE_TRANSLATOR);
    if (world.closing) {
        /* What comes to the port behind the shutdown's last look, or while nobody serves it, has no answer. Whatever else was asked
           has one soon. */
        sim_sleep_ns(10000000000ull);
        for (unsigned i = 0; i < world.configuration->kernels; i++)
            sk_kernel_kill(world.machines[i].kernel);
    }
    actors_await(ROLE_HOSTILE);
    actors_await(ROLE_TRANSLATOR);
    actors_await(ROLE_USER);
    if (!world.closing)
        check_rest();
    check_violations();
    close_world();
    check_accounts(before);
    totals_add(TOTAL_CHOICES, sim_choices());
}

void run_scenario(const struct scenario *scenario)
{
    world = (struct world) { .scenario = scenario, .configuration = &scenario->configuration };
    sk_set_hang_limit(~0u);     /* it is the scheduler that notices */
    sim_run(scenario->schedule, scenario->policy, live, NULL);
}
