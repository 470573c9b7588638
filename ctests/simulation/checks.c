/* checks.c - what must be so when nobody does anything any more. */

#include <stdlib.h>
#include <string.h>

#include "internal.h"           /* of the scripted kernel */
#include "model.h"
#include "platform.h"
#include "report.h"
#include "world.h"

struct accounts accounts_take(void)
{
    return (struct accounts) {
        .ports = hostmach_port_count(),
        .rights = hostmach_list_rights(hostmach_task_main(), NULL, 0),
        .bytes = hostmach_vm_bytes(),
        .messages = hostmach_message_count(),
        .blocks = platform_allocated_blocks(),
    };
}

static void print_rights(void)
{
    struct hostmach_right rights[32];
    size_t count = hostmach_list_rights(hostmach_task_main(), rights, 32);
    for (size_t i = 0; i < count && i < 32; i++)
        report_line("right %#x, type %#x, %u references, %u messages", rights[i].name, rights[i].type, rights[i].urefs,
                    rights[i].messages);
}

static void same(const char *what, size_t before, size_t now)
{
    if (before != now)
        report_failure("in the end there are %s left: %zu, not %zu", what, now, before);
}

void check_accounts(struct accounts before)
{
    /* Workers say that they have ended a moment before they have. */
    for (unsigned i = 0; i < 1000 && sim_fibers() > 1; i++)
        sim_sleep_ns(1000000);
    struct accounts now = accounts_take();
    same("blocks of memory", (size_t) before.blocks, (size_t) now.blocks);
    if (before.rights != now.rights)
        print_rights();
    same("ports", before.ports, now.ports);
    same("rights", before.rights, now.rights);
    same("pages of memory", before.bytes, now.bytes);
    same("messages", before.messages, now.messages);
    same("threads", 1, sim_fibers());
}

/* Every request and every unlock has its answer, soon. */
static void check_answered(struct machine *machine)
{
    sk_object *object = machine->object;
    for (size_t i = 0; i < object->page_count && object->dead == 0; i++) {
        vm_offset_t offset = object->pages[i]->offset;
        if (sk_wait_page(object, offset, SK_WANT_SETTLED, 60000) != 0) {
            report_line("%s, offset %#lx", object->kernel->name, (unsigned long) offset);
            report_failure("a kernel gets no answer");
        }
    }
}

void check_store(void)
{
    for (unsigned page = 0; page < world.configuration->pages; page++)
        model_check_store(page, store_bytes(page));
}

/* Of whoever has gone nothing is left: a name that is kept is a number that no client gets again. */
static void check_names(void)
{
    struct hostmach_right rights[512];
    size_t count = hostmach_list_rights(hostmach_task_main(), rights, 512), dead = 0;
    for (size_t i = 0; i < count && i < 512; i++)
        dead += (rights[i].type & MACH_PORT_TYPE_DEAD_NAME) != 0;
    if (dead > 0) {
        print_rights();
        report_failure("at rest %zu names are of ports that died", dead);
    }
}

static void check_census(void)
{
    struct pager_page_census census;
    pager_take_census(world.pager, &census);
    if (census.busy != 0)
        report_failure("at rest %llu pages are busy", (unsigned long long) census.busy);
    if (census.held != 0)
        report_failure("at rest %llu pages wait to be written", (unsigned long long) census.held);
    if (world.configuration->hostile == 0 && census.readers + census.writers != 0)
        report_failure("at rest %llu pages are with kernels that gave them back", (unsigned long long) (census.readers + census.writers));
}

/* A client that is given up is dead for the pager, and what it had is lost. That happens to no kernel in order, unless a shutdown's patience ends.
   (It is logged once, of the first. In a world with a hostile client, that may be the one.) */
void __real_platform_log(const char *format, unsigned long a, unsigned long b);
void __wrap_platform_log(const char *format, unsigned long a, unsigned long b);
void __wrap_platform_log(const char *format, unsigned long a, unsigned long b)
{
    const struct configuration *c = world.configuration;
    if (strstr(format, "is given up") != NULL && c->hostile == 0 && !c->shortage && c->patience_ms == 0)
        report_failure("client %lu, which is in order, is given up", a);
    __real_platform_log(format, a, b);
}

/* What is refused in a world in order is a race that the pager does not understand. */
static void check_refusals(void)
{
    const struct configuration *c = world.configuration;
    struct pager_statistics statistics;
    pager_get_statistics(world.pager, &statistics);
    /* (What is sent to a kernel that unmaps may fill the queue of a port that is on its way to us, and that counts as a kernel that
       does not answer.) */
    if (!c->hostile && !c->kills && !c->shortage && !world.unmapped && statistics.refused != statistics.stale_unlocks)
        report_failure("%llu messages of kernels in order are refused", (unsigned long long) (statistics.refused - statistics.stale_unlocks));
    if (!c->hostile && !c->shortage && statistics.clients != c->kernels)
        report_failure("%llu clients are attached, not %u", (unsigned long long) statistics.clients, c->kernels);
}

void check_rest(void)
{
    const struct configuration *c = world.configuration;
    for (unsigned i = 0; i < c->kernels; i++)
        if (!world.machines[i].hostile)
            check_answered(&world.machines[i]);
    if (pager_inhibit_workers(world.requests) == 0)
        pager_resume_workers(world.requests);
    check_refusals();
    /* Everybody sees the same. */
    for (unsigned page = 0; page < c->pages; page++)
        machine_read(sim_choice(c->kernels - c->hostile), page);
    pager_return(world.pager, 1);
    if (pager_inhibit_workers(world.requests) == 0)
        pager_resume_workers(world.requests);
    check_census();
    check_names();
    check_store();
}
