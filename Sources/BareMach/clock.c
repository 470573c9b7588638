/* clock.c: the time, and waiting for it.  One clock serves as all: the kernel's, which nobody sets here; it counts in ticks of 10 ms.  */

#include <sched.h>
#include <time.h>

#include "internal.h"

#include <mach/mach_host.h>

int clock_gettime(clockid_t clock, struct timespec *time)
{
    time_value_t now;
    (void) clock;
    host_get_time(mach_host_self(), &now);
    *time = (struct timespec) { .tv_sec = now.seconds, .tv_nsec = now.microseconds * 1000L };
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int nanosleep(const struct timespec *length, struct timespec *left)
{
    unsigned nobody_wakes = 0;
    (void) left;
    bare_wait_word(&nobody_wakes, 0, (long) (length->tv_sec * 1000 + (length->tv_nsec + 999999) / 1000000));
    return 0;
}

int sched_yield(void)
{
    swtch_pri(0);
    return 0;
}
