/* actors.c - the threads that do a scenario's steps. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"           /* of the scripted kernel */
#include "model.h"
#include "report.h"
#include "threads.h"
#include "totals.h"
#include "world.h"

#include "platform.h"

static char done_channel;
void (*actors_more)(const struct step *step);

/* ---- The translator's own calls ---- */

/* What a range has when a call begins that is to see it written. */
struct expectation { unsigned first, count; struct content content[PAGES_MAX]; unsigned losses[PAGES_MAX]; };

static void expect(struct expectation *expectation, const struct step *step)
{
    unsigned pages = world.configuration->pages;
    expectation->first = step->count == 0 ? 0 : step->page;
    expectation->count = step->count == 0 ? pages : step->count;
    if (expectation->first + expectation->count > pages)
        expectation->count = pages - expectation->first;
    for (unsigned i = 0; i < expectation->count; i++) {
        struct model_page *model = model_page(expectation->first + i);
        expectation->content[i] = model->current.content[0];
        expectation->losses[i] = model->current.count == 1 && model->fallback.count == 1 ? model->losses : ~0u;
    }
}

static void check_written(const struct expectation *expectation)
{
    for (unsigned i = 0; i < expectation->count; i++) {
        struct model_page *model = model_page(expectation->first + i);
        if (model->tainted || model->losses != expectation->losses[i])
            continue;
        for (unsigned cell = 0; cell < CELLS; cell++)
            if (model->stored.value[cell] < expectation->content[i].value[cell]) {
                report_line("page %u", expectation->first + i);
                report_failure("a call that waits returns before the data are written");
            }
    }
}

static void range(const struct step *step)
{
    static void (*const all[])(struct pager *, int) = { pager_sync, pager_flush, pager_return };
    static void (*const some[])(struct pager *, vm_address_t, vm_size_t, int) = {
        pager_sync_some, pager_flush_some, pager_return_some,
    };
    struct expectation expectation;
    unsigned which = step->op - OP_SYNC;
    int wait = (int) (step->argument & 1);
    bool closing = world.closing;
    expect(&expectation, step);
    if (step->count == 0)
        all[which](world.pager, wait);
    else
        some[which](world.pager, page_offset(expectation.first), expectation.count * world.configuration->stride * vm_page_size, wait);
    if (wait && step->op != OP_FLUSH && !closing && !world.closing && !world.inhibited)
        check_written(&expectation);
}

static void offer(const struct step *step)
{
    if (world.configuration->quiet_pages == 0)
        return;
    unsigned page = step->page % world.configuration->quiet_pages;
    vm_address_t buffer;
    if (vm_allocate(mach_task_self(), &buffer, vm_page_size, 1) != KERN_SUCCESS)
        return;
    model_fill(page, model_page(page)->stored, (void *) buffer);
    pager_offer_page(world.pager, (int) (step->argument & 1), world.configuration->write_lock && (step->argument & 2),
                     page_offset(page), buffer);
    vm_deallocate(mach_task_self(), buffer, vm_page_size);
}

static void look(const struct step *step)
{
    struct pager_page_census census;
    struct pager_statistics statistics;
    pager_take_census(world.pager, &census);
    pager_get_statistics(world.pager, &statistics);
    pager_get_error(world.pager, page_offset(step->page) + step->argument % 4096);
    if (pager_get_upi(world.pager) == NULL)
        report_failure("pager_get_upi forgets");
    mach_port_t port = pager_create_ro_port(world.pager);
    if (MACH_PORT_VALID(port))
        mach_port_deallocate(mach_task_self(), port);
}

static void inhibit(const struct step *step)
{
    int error = pager_inhibit_workers(world.requests);
    if (error == EBUSY || (error && world.configuration->shortage))
        return;
    if (error)
        report_failure("pager_inhibit_workers: %d", error);
    world.inhibited = true;
    totals_add(TOTAL_INHIBITIONS, 1);
    TRACE("inhibited");
    sim_sleep_ns(step->argument % 3000000);
    world.inhibited = false;
    TRACE("resumed");
    pager_resume_workers(world.requests);
}

static void shut_down(void)
{
    world.closing = true;
    if (world.configuration->patience_ms != 0 || world.inhibited || world.configuration->shortage) {
        world.lossy = true;
        model_relax();
    }
    totals_add(TOTAL_SHUTDOWNS, 1);
    TRACE("shutdown");
    pager_shutdown(world.pager);
    TRACE("shut down");
}

/* ---- Steps ---- */

static void do_step(const struct step *step)
{
    struct machine *machine = &world.machines[step->kernel];
    /* Whoever confuses the pager about what he has may wait for ever. */
    if (machine->hostile && (step->op == OP_READ || step->op == OP_WRITE))
        return hostile_touch(step->kernel, step->page, step->op == OP_WRITE);
    vm_prot_t access = step->argument & 1 ? VM_PROT_READ | VM_PROT_WRITE : VM_PROT_READ;
    switch ((enum op) step->op) {
    case OP_READ: return machine_read(step->kernel, step->page);
    case OP_WRITE: return machine_write(step->kernel, step->page, step->argument >> 8);
    case OP_REQUEST: return machine_ask(step->kernel, step->page, access);
    case OP_REQUEST_SEVERAL: return machine_request(step->kernel, step->page, 2 + step->argument / 2 % 6, access);
    case OP_CLOG: return hostile_clog(step->page, step->argument);
    case OP_UNLOCK: sk_unlock(machine->object, page_offset(step->page), VM_PROT_READ | VM_PROT_WRITE); return;
    case OP_EVICT: sk_evict(machine->object, page_offset(step->page)); return;
    case OP_DROP_CLEAN: sk_drop_clean(machine->object); return;
    case OP_EVICT_ALL: sk_evict_all(machine->object); return;
    case OP_TERMINATE: return machine_remap(step->kernel);
    case OP_PAUSE: sim_sleep_ns(step->argument % 5000000); return;
    case OP_SYNC: case OP_FLUSH: case OP_RETURN: return range(step);
    case OP_OFFER: return offer(step);
    case OP_ATTRIBUTES:
        pager_change_attributes(world.pager, step->argument >> 1 & 1, MEMORY_OBJECT_COPY_DELAY, (int) (step->argument & 1));
        return;
    case OP_LOOK: return look(step);
    case OP_INHIBIT: return inhibit(step);
    case OP_SHUTDOWN: return shut_down();
    case OP_KILL: return machine_kill(step->kernel);
    case OP_STALL: return machine_stall(step->kernel, SK_HOLD_ALL);
    case OP_STALL_ANSWERS: return machine_stall(step->kernel, SK_HOLD_COMPLETED);
    case OP_GO_ON: return machine_go_on(step->kernel);
    case OP_FAIL_ALLOCATION: platform_fail_allocation(step->argument % 12); return;
    case OP_FAIL_MACH: hostmach_fail_memory(step->argument % 20, 1); return;
    case OP_FAIL_PAGES: hostmach_fail_vm(step->argument % 10, 1); return;
    case OP_FAIL_THREAD: threads_fail_start(step->argument % 3); return;
    case OP_MORE: if (actors_more) actors_more(step); return;
    case OP_HOSTILE: return hostile_send(step->kernel, step->page, step->argument, step->count);
    case OPS: break;
    }
}

static void act(void *argument)
{
    const struct scenario *scenario = world.scenario;
    unsigned actor = (unsigned) (uintptr_t) argument;
    enum role role = scenario->actor[actor].role;
    for (unsigned i = 0; i < scenario->steps; i++) {
        const struct step *step = &scenario->step[i];
        if (step->actor != actor || step->left_out)
            continue;
        char activity[96];
        snprintf(activity, sizeof activity, "step %u, %s", i, step_text(step));
        sim_set_activity(activity);
        TRACE("%s", activity);
        totals_add(TOTAL_STEPS, 1);
        if (step->op >= OP_FAIL_ALLOCATION && step->op <= OP_FAIL_THREAD)
            totals_add(TOTAL_SHORTAGES, 1);
        do_step(step);
        sim_point();
        sim_set_activity(NULL);
    }
    /* Nobody stays stalled for ever. */
    if (role == ROLE_FATE)
        for (unsigned i = 0; i < world.configuration->kernels; i++)
            machine_go_on(i);
    if (role == ROLE_FATE) {
        platform_fail_allocation(-1);
        hostmach_fail_memory(0, 0);
        hostmach_fail_vm(0, 0);
        threads_fail_start(-1);
    }
    world.running_actors[role]--;
    sim_wake(&done_channel, ~0u);
}

void actors_start(void)
{
    static const char *const names[] = { "user", "translator", "fate", "hostile" };
    static char name[ACTORS_MAX][24];
    const struct scenario *scenario = world.scenario;
    for (unsigned i = 0; i < scenario->actors; i++) {
        snprintf(name[i], sizeof name[i], "%s %u", names[scenario->actor[i].role], i);
        world.running_actors[scenario->actor[i].role]++;
        sim_spawn(name[i], act, (void *) (uintptr_t) i);
    }
}

void actors_await(enum role role)
{
    while (world.running_actors[role] > 0)
        sim_block(&done_channel, UINT64_MAX, "actors");
}
