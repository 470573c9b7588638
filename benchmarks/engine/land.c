/* A pager and clients that are nothing but ports.  */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <hostmach/hostmach.h>

#include "engine_benchmark.h"

void
expect(const char *what, unsigned long is, unsigned long should_be)
{
    if (is == should_be)
        return;
    fprintf(stderr, "benchmark_engine: %s: %lu instead of %lu\n", what, is, should_be);
    exit(2);
}

void
expect_nothing_refused(const struct land *land)
{
    struct pager_statistics statistics;
    pager_get_statistics(land->pager, &statistics);
    expect("refused messages", statistics.refused, 0);
}

static double
time_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double) now.tv_sec * 1e9 + (double) now.tv_nsec;
}

double
now_ns(void)
{
    return time_of(CLOCK_MONOTONIC);
}

double
processor_ns(void)
{
    return time_of(CLOCK_THREAD_CPUTIME_ID);
}

static mach_port_t
client_port(const struct land *land)
{
    mach_port_t port, ours;
    hostmach_task_enter(land->task);
    expect("mach_port_allocate", (unsigned long) mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &port), 0);
    hostmach_task_enter(hostmach_task_main());
    expect("hostmach_copy_send", (unsigned long) hostmach_copy_send(land->task, port, hostmach_task_main(), &ours), 0);
    return ours;
}

void
land_open(struct land *land, unsigned clients)
{
    *land = (struct land) { .clients = clients, .bucket = ports_create_bucket(), .task = hostmach_task_create("clients") };
    land->pager = pager_create((struct user_pager_info *) land, land->bucket, 1, MEMORY_OBJECT_COPY_DELAY, 0);
    expect("pager_create failed", land->pager == NULL, 0);
    for (unsigned client = 0; client < clients; client++) {
        mach_port_t control = client_port(land), name = client_port(land);
        expect("init", (unsigned long) _pager_S_memory_object_init(land->pager, control, name, vm_page_size), 0);
        land->name[client] = name;
        land->control[client] = control;
        if (client >= 4)
            continue;
        /* The first four have another name now, in the high half (docs/design.md); later objects have higher ones.  */
        static struct hostmach_right rights[8192];
        size_t count = hostmach_list_rights(hostmach_task_main(), rights, sizeof rights / sizeof *rights);
        expect("too many rights", count > sizeof rights / sizeof *rights, 0);
        mach_port_t highest = 0;
        for (size_t i = 0; i < count; i++)
            if ((rights[i].name & 3) == client && rights[i].name > highest)
                highest = rights[i].name;
        land->control[client] = highest;
    }
    struct pager_statistics statistics;
    pager_get_statistics(land->pager, &statistics);
    expect("clients", statistics.clients, clients);
}

void
terminate(struct land *land, unsigned client)
{
    _pager_S_memory_object_terminate(land->pager, land->control[client], land->name[client]);
    land->control[client] = MACH_PORT_NULL;
}

void
land_close(struct land *land)
{
    for (unsigned client = 0; client < land->clients; client++)
        if (land->control[client] != MACH_PORT_NULL)
            terminate(land, client);
    ports_destroy_right(land->pager);
    ports_port_deref(land->pager);
    hostmach_task_destroy(land->task);
}
