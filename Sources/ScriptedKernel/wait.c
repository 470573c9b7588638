/* wait.c - waiting with a limit, and for the impatient: dying with a message.

   Every wait ends: with what it waits for, with its limit, or, if it has none, by aborting
   the process after the hang limit. */

#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

static unsigned hang_limit_ms = 30000;

__attribute__((constructor)) static void read_environment(void)
{
    const char *limit = getenv("LIBPAGER_TEST_HANG_MS");

    if (limit != NULL && atoi(limit) > 0)
        hang_limit_ms = (unsigned)atoi(limit);
}

void sk_set_hang_limit(unsigned limit_ms)
{
    __atomic_store_n(&hang_limit_ms, limit_ms, __ATOMIC_RELAXED);
}

void sk_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

void sk_wait_begin(struct sk_wait *wait, unsigned timeout_ms, const char *what,
                   vm_offset_t offset)
{
    wait->has_limit = timeout_ms != 0;
    wait->what = what;
    wait->offset = offset;
    if (timeout_ms == 0)
        timeout_ms = __atomic_load_n(&hang_limit_ms, __ATOMIC_RELAXED);
    clock_gettime(CLOCK_MONOTONIC, &wait->deadline);
    wait->deadline.tv_sec += timeout_ms / 1000;
    wait->deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (wait->deadline.tv_nsec >= 1000000000) {
        wait->deadline.tv_nsec -= 1000000000;
        wait->deadline.tv_sec++;
    }
}

int sk_wait_step(struct sk_object *object, struct sk_wait *wait)
{
    int err = pthread_cond_timedwait(&object->changed, &object->lock, &wait->deadline);

    if (err != ETIMEDOUT)
        return 0;
    if (wait->has_limit)
        return ETIMEDOUT;
    fprintf(stderr, "scripted kernel %s: hangs in %s, offset %#lx\n", object->kernel->name,
            wait->what, (unsigned long)wait->offset);
    sk_log_dump(object);
    abort();
}
