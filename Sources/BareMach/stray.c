/* stray.c: what is left of a C library: errno, the environment, counting.  */

#include <stdlib.h>

#include "internal.h"

/* musl's own files use the second name.  */
int *__errno_location(void) { return &bare_self()->error_number; }
int *___errno_location(void) { return &bare_self()->error_number; }

char *getenv(const char *name)
{
    (void) name;
    return NULL;
}

size_t bare_count_rights(mach_port_type_t mask)
{
    mach_port_name_array_t names;
    mach_port_type_array_t types;
    mach_msg_type_number_t count = 0, count_types = 0;
    size_t found = 0;
    if (mach_port_names(mach_task_self(), &names, &count, &types, &count_types) != KERN_SUCCESS)
        return 0;
    for (mach_msg_type_number_t i = 0; i < count; i++)
        found += (types[i] & mask) != 0;
    vm_deallocate(mach_task_self(), (vm_address_t) names, count * sizeof *names);
    vm_deallocate(mach_task_self(), (vm_address_t) types, count_types * sizeof *types);
    return found;
}

size_t bare_count_names(void)
{
    return bare_count_rights(~(mach_port_type_t) 0) - bare_thread_names();
}

size_t bare_mapped_bytes(void)
{
    struct task_basic_info info;
    mach_msg_type_number_t count = TASK_BASIC_INFO_COUNT;
    if (task_info(mach_task_self(), TASK_BASIC_INFO, (task_info_t) &info, &count) != KERN_SUCCESS)
        return 0;
    return (size_t) info.virtual_size - bare_heap_bytes() - bare_thread_bytes();
}
