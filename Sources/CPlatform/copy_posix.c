/* platform_copy on POSIX signals: memory that may not be there.

   A fault of the calling thread in one of the two ranges ends the copy; every other fault is none of our business and goes to whoever handled
   the signal before, a translator's own handler, a sanitizer's, or the default. Our handler is there only while somebody copies:

     - the first copy of several that run at once installs it and keeps what was there; the last one puts that back, unless somebody has
       installed another one since, which then stays;
     - what a thread copies is in a thread-local record, which the handler looks at: it takes no lock and calls nothing but siglongjmp.

   A piece of a copy never crosses a page boundary on either side, so of the piece that faults nothing was copied, in whatever order memcpy
   goes: the count is exact.  */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include "platform.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

struct copy {
    sigjmp_buf back;
    uintptr_t to, from;                 /* the piece at hand */
    size_t size;
    struct platform_fault fault;
};

/* Our handler runs with the signals of before (SA_NODEFER), so there is nothing to be restored when it is left; but the thread sanitizer calls
   it with all signals blocked.  */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
enum { restore_signals = __has_feature(thread_sanitizer) };

static _Thread_local struct copy *volatile current;
/* The thread is in a handler that was there before: should that one call us back, the fault is nobody's.  */
static _Thread_local volatile sig_atomic_t passing_on;

enum { signals = 2 };
static const int numbers[signals] = { SIGSEGV, SIGBUS };
static struct sigaction before[signals];
static unsigned copies;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int
within(uintptr_t address, uintptr_t start, size_t size)
{
    return address - start < size;
}

static void
pass_on(int number, siginfo_t *info, void *context)
{
    const struct sigaction *old = &before[number == numbers[0] ? 0 : 1];
    if (!passing_on && (old->sa_flags & SA_SIGINFO)) {
        passing_on = 1;
        old->sa_sigaction(number, info, context);
        passing_on = 0;
    } else if (!passing_on && old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
        passing_on = 1;
        old->sa_handler(number);
        passing_on = 0;
    } else {
        /* The access is made again and ends the process, as it would have without us.  */
        signal(number, SIG_DFL);
    }
}

static void
handle(int number, siginfo_t *info, void *context)
{
    struct copy *copy = current;
    uintptr_t address = (uintptr_t) info->si_addr;
    if (copy && info->si_code > 0
        && (within(address, copy->to, copy->size) || within(address, copy->from, copy->size))) {
        copy->fault = (struct platform_fault) { address, number == SIGSEGV };
        siglongjmp(copy->back, 1);
    }
    pass_on(number, info, context);
}

static void
begin(void)
{
    struct sigaction ours = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
    sigemptyset(&ours.sa_mask);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < signals; i++) {
        struct sigaction present;
        sigaction(numbers[i], NULL, &present);
        /* Also where somebody has put his own over ours meanwhile.  */
        if (copies == 0 || !(present.sa_flags & SA_SIGINFO) || present.sa_sigaction != handle)
            sigaction(numbers[i], &ours, &before[i]);
    }
    copies++;
    pthread_mutex_unlock(&lock);
}

static void
end(void)
{
    pthread_mutex_lock(&lock);
    copies--;
    for (int i = 0; copies == 0 && i < signals; i++) {
        struct sigaction present;
        sigaction(numbers[i], NULL, &present);
        if ((present.sa_flags & SA_SIGINFO) && present.sa_sigaction == handle)
            sigaction(numbers[i], &before[i], NULL);
    }
    pthread_mutex_unlock(&lock);
}

static size_t
to_page_end(uintptr_t address, size_t page)
{
    return page - (address & (page - 1));
}

size_t
platform_copy(void *to, const void *from, size_t size, struct platform_fault *fault)
{
    const size_t page = (size_t) sysconf(_SC_PAGESIZE);
    struct copy copy = { .to = (uintptr_t) to, .from = (uintptr_t) from };
    struct copy *outer = current;
    volatile size_t done = 0;

    begin();
    if (sigsetjmp(copy.back, restore_signals) == 0) {
        while (done < size) {
            size_t piece = size - done;
            if (piece > to_page_end(copy.to, page))
                piece = to_page_end(copy.to, page);
            if (piece > to_page_end(copy.from, page))
                piece = to_page_end(copy.from, page);
            copy.size = piece;
            current = &copy;
            memcpy((void *) copy.to, (const void *) copy.from, piece);
            current = outer;
            copy.to += piece;
            copy.from += piece;
            done += piece;
        }
    } else {
        current = outer;
        *fault = copy.fault;
    }
    end();
    return done;
}
