/* stray.c: what is left of a C library: errno, the environment, counting.  */

#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* musl's own files use the second name.  */
int *__errno_location(void) { return &bare_self()->error_number; }
int *___errno_location(void) { return &bare_self()->error_number; }

/* The environment: those arguments that are NAME=value.  */
char *getenv(const char *name)
{
    size_t length = strlen(name);
    for (char **argument = bare_arguments; argument && *argument; argument++)
        if (strncmp(*argument, name, length) == 0 && (*argument)[length] == '=')
            return *argument + length + 1;
    return NULL;
}

/* FUNCTION for each name of the task.  */
static void for_each_name(void (*function)(mach_port_t, mach_port_type_t, size_t *), size_t *sum)
{
    mach_port_name_array_t names;
    mach_port_type_array_t types;
    mach_msg_type_number_t count = 0, count_types = 0;
    if (mach_port_names(mach_task_self(), &names, &count, &types, &count_types) != KERN_SUCCESS)
        abort();
    for (mach_msg_type_number_t i = 0; i < count; i++)
        function(names[i], types[i], sum);
    vm_deallocate(mach_task_self(), (vm_address_t) names, count * sizeof *names);
    vm_deallocate(mach_task_self(), (vm_address_t) types, count_types * sizeof *types);
}

static void add_name(mach_port_t name, mach_port_type_t type, size_t *sums)
{
    (void) name;
    sums[0]++;
    sums[1] += (type & (MACH_PORT_TYPE_RECEIVE | MACH_PORT_TYPE_PORT_SET)) != 0;
}

static struct bare_holdings all(void)
{
    size_t sums[2] = { 0, 0 };
    struct task_basic_info info;
    mach_msg_type_number_t count = TASK_BASIC_INFO_COUNT;
    for_each_name(add_name, sums);
    if (task_info(mach_task_self(), TASK_BASIC_INFO, (task_info_t) &info, &count) != KERN_SUCCESS)
        abort();
    return (struct bare_holdings) { sums[0], sums[1], (size_t) info.virtual_size - bare_heap_bytes() };
}

struct bare_holdings bare_count(void)
{
    return bare_holdings(all);
}

static void add_messages(mach_port_t name, mach_port_type_t type, size_t *sum)
{
    mach_port_status_t status;
    if ((type & MACH_PORT_TYPE_RECEIVE) && mach_port_get_receive_status(mach_task_self(), name, &status) == KERN_SUCCESS)
        *sum += status.mps_msgcount;
}

size_t bare_count_messages(void)
{
    size_t sum = 0;
    for_each_name(add_messages, &sum);
    return sum;
}
