/* Whether anything still moves, and where threads of the test may be stopped.

   A case whose calls failed may wait for what will not come.  Nothing moves then: all threads sleep and none has run for a while (what the
   system tells of each thread; a thread that is ready to run but is not let counts as one that moves).  Threads that spin at sched_yield
   are not counted.  Then the case is given up: its threads stop at the next watch_point (a wait, a call of the library's or of a
   kernel's), gates are opened, kernels let go on, and this thread judges.

   Guarantees: a thread is stopped only where it has no lock of anybody's; one thread judges; a trial ends in bounded time.  */

#define _GNU_SOURCE 1

#include "each.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Thread_local bool watch_exempt;

static _Atomic int over;                        /* there is a judge */
static long quiet_limit, run_limit;
static pid_t watcher;

/* Threads that spin: when they last said so.  */
enum { SPINNERS = 64, SPIN_ms = 40 };
static struct { _Atomic pid_t thread; _Atomic long when; } spinners[SPINNERS];

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static pid_t thread_id(void)
{
    static _Thread_local pid_t id;
    if (id == 0)
        id = (pid_t) syscall(SYS_gettid);
    return id;
}

static void stop_here(void)
{
    for (;;)
        pause();
}

bool watch_over(void) { return each_on && atomic_load(&over); }

void watch_spins(void)
{
    pid_t self = thread_id();
    for (int i = 0; i < SPINNERS; i++) {
        pid_t free = 0;
        if (atomic_load(&spinners[i].thread) == self || atomic_compare_exchange_strong(&spinners[i].thread, &free, self)) {
            atomic_store(&spinners[i].when, now_ms());
            return;
        }
    }
}

static bool spins(pid_t thread, long now)
{
    for (int i = 0; i < SPINNERS; i++)
        if (atomic_load(&spinners[i].thread) == thread)
            return now - atomic_load(&spinners[i].when) < SPIN_ms;
    return false;
}

/* A callback of the test's (store->hook) is left by a jump to where it was called: the library waits for its return.  */
static _Thread_local jmp_buf *escape;
static _Thread_local int escape_inside;
static _Thread_local bool is_test_thread;
static _Atomic int wanted;                      /* a judge, by a thread that cannot be it */

void watch_point(void)
{
    if (!watch_over() || watch_exempt)
        return;
    if (escape) {
        if (entries_inside == escape_inside)
            longjmp(*escape, 1);
    } else if (is_test_thread && !entries_inside) {
        stop_here();
    }
}

void each_hook(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    jmp_buf here, *outer = escape;
    int outer_inside = escape_inside;
    if (!each_on) {
        store->hook(store, call, page);
        return;
    }
    if (setjmp(here) == 0) {
        escape = &here;
        escape_inside = entries_inside;
        watch_point();
        store->hook(store, call, page);
    }
    escape = outer;
    escape_inside = outer_inside;
}

void each_test_thread(void) { is_test_thread = true; }
int each_over(void) { return watch_over(); }
void each_point(void) { watch_point(); }

void watch_failed_elsewhere(void)
{
    if (escape) {
        atomic_store(&wanted, 1);
        longjmp(*escape, 1);
    }
    if (!is_test_thread || entries_inside)
        each_end(VERDICT_UNJUDGED);
    watch_case_ended();
    each_disarm();
    judge_broken();
}

/* Who is first is the judge; others stop for good.  */
static void become_judge(void)
{
    if (atomic_exchange(&over, 1))
        stop_here();
    watch_exempt = true;
}

void watch_case_ended(void) { become_judge(); }

static const char *_Atomic judging = "nothing";

static void on_alarm(int signal)
{
    (void) signal;
    each_fail("hangs: %s", atomic_load(&judging));
    if (getenv("FAIL_EACH_CORE"))
        abort();
    each_end(VERDICT_OTHERWISE);
}

void watch_judging(const char *what, unsigned seconds)
{
    atomic_store(&judging, what);
    alarm(seconds);
}

/* One field or the other of /proc/self/task.  */
static size_t read_file(pid_t thread, const char *name, char *buffer, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", thread, name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t count = read(file, buffer, size - 1);
    close(file);
    buffer[count > 0 ? count : 0] = 0;
    return count > 0 ? (size_t) count : 0;
}

/* A number that changes when a thread runs; 0: one is running, or ready to.  */
static unsigned long sample(long now)
{
    unsigned long sum = 1;
    DIR *folder = opendir("/proc/self/task");
    if (!folder)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        pid_t thread = atoi(entry->d_name);
        if (thread <= 0 || thread == watcher || spins(thread, now))
            continue;
        char text[512];
        unsigned long slices = 0;
        if (read_file(thread, "stat", text, sizeof text) == 0)
            continue;
        const char *state = strrchr(text, ')');
        if (state && state[2] == 'R') {
            sum = 0;
            break;
        }
        if (read_file(thread, "schedstat", text, sizeof text))
            sscanf(text, "%*u %*u %lu", &slices);
        sum = sum * 31 + (unsigned long) thread * 1000003 + slices;
        if (sum == 0)
            sum = 1;
    }
    closedir(folder);
    return sum;
}

static void *watch(void *argument)
{
    (void) argument;
    watcher = thread_id();
    long begun = now_ms(), moved = begun;
    unsigned long last = 0;
    for (;;) {
        nanosleep(&(struct timespec) { .tv_nsec = 20000000 }, NULL);
        if (atomic_load(&over))
            return NULL;
        long now = now_ms();
        unsigned long sampled = sample(now);
        if (sampled == 0 || sampled != last) {
            if (now - moved > each_result->quiet_ms && moved != begun)
                each_result->quiet_ms = now - moved;
            moved = now;
        }
        last = sampled;
        if (now - begun > run_limit) {
            each_fail("runs on for %ld ms", now - begun);
            if (getenv("FAIL_EACH_CORE"))
                abort();
            each_end(VERDICT_OTHERWISE);
        }
        if (now - moved > quiet_limit || atomic_load(&wanted)) {
            become_judge();
            each_result->given_up = now - moved > quiet_limit;
            fprintf(stderr, "fail-each: %s\n", each_result->given_up ? "nothing moves any more" : "an assertion failed in a callback");
            each_disarm();
            judge_broken();
        }
    }
}

void watch_begin(long quiet_limit_ms, long run_limit_ms)
{
    pthread_t thread;
    quiet_limit = quiet_limit_ms;
    run_limit = run_limit_ms;
    is_test_thread = true;
    signal(SIGALRM, on_alarm);
    if (pthread_create(&thread, NULL, watch, NULL) != 0)
        abort();
    pthread_detach(thread);
}

/* Threads of tests spin at this.  */
int __real_sched_yield(void);
int __wrap_sched_yield(void);
int __wrap_sched_yield(void)
{
    if (each_on) {
        watch_spins();
        watch_point();
        nanosleep(&(struct timespec) { .tv_nsec = 100000 }, NULL);
        return 0;
    }
    return __real_sched_yield();
}
