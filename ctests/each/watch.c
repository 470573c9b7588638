/* Whether anything still moves, and where threads of the test may be stopped.

   A case whose calls failed may wait for what will not come.  Nothing moves then: all threads sleep and none has run for a while (what the
   system tells of each thread; a thread that is ready to run but is not let counts as one that moves).  Threads that spin at sched_yield
   are not counted.  Then the case is given up: its threads stop at the next watch_point (a wait, a call of the library's or of a
   kernel's), gates are opened, kernels let go on, and this thread judges.

   Guarantees: a thread is stopped only where it has no lock of anybody's; one thread judges; a trial ends in bounded time.  */

#define _GNU_SOURCE 1

#include "each.h"

#include <dirent.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../../Sources/ScriptedKernel/internal.h"

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

/* Gates of tests at which somebody waits.  */
enum { GATES = 128 };
static struct { pthread_cond_t *condition; } gates[GATES];
static pthread_mutex_t gates_lock = PTHREAD_MUTEX_INITIALIZER;

int each_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *end)
{
    int place = 0;
    if (!each_on)
        return pthread_cond_timedwait(condition, mutex, end);
    pthread_mutex_lock(&gates_lock);
    while (place < GATES && gates[place].condition)
        place++;
    if (place < GATES)
        gates[place].condition = condition;
    pthread_mutex_unlock(&gates_lock);
    int result = watch_over() ? 0 : pthread_cond_timedwait(condition, mutex, end);
    pthread_mutex_lock(&gates_lock);
    if (place < GATES)
        gates[place].condition = NULL;
    pthread_mutex_unlock(&gates_lock);
    if (watch_over()) {
        pthread_mutex_unlock(mutex);
        watch_point();
        pthread_mutex_lock(mutex);
        return 0;
    }
    return result;
}

/* (Not with a gate's lock held: who waits has that when it comes here.)  */
void watch_wake_gates(void)
{
    for (int i = 0; i < GATES; i++) {
        pthread_mutex_lock(&gates_lock);
        pthread_cond_t *condition = gates[i].condition;
        if (condition)
            pthread_cond_broadcast(condition);
        pthread_mutex_unlock(&gates_lock);
    }
}

/* Who is first is the judge; others stop for good.  */
static void become_judge(void)
{
    if (atomic_exchange(&over, 1))
        stop_here();
    watch_exempt = true;
}

void watch_case_ended(void) { become_judge(); }

/* Where every thread is, for whoever reads what a trial that hung has written (addr2line -f -e PROGRAM).  */
static _Atomic int printing;

static void on_print(int number)
{
    (void) number;
    void *frames[40];
    int count = backtrace(frames, 40);
    fprintf(stderr, "thread %d:\n", thread_id());
    backtrace_symbols_fd(frames, count, 2);
    atomic_store(&printing, 0);
}

static void print_threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    if (!folder)
        return;
    signal(SIGUSR2, on_print);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        pid_t thread = atoi(entry->d_name);
        if (thread <= 0)
            continue;
        atomic_store(&printing, 1);
        if (syscall(SYS_tgkill, getpid(), thread, SIGUSR2) == 0)
            for (int tries = 0; atomic_load(&printing) && tries < 200; tries++)
                nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
    }
    closedir(folder);
}

static const char *_Atomic judging = "nothing";

static void on_alarm(int signal)
{
    (void) signal;
    each_fail("hangs: %s", atomic_load(&judging));
    print_threads();
    each_end(VERDICT_OTHERWISE);
}

void watch_judging(const char *what, unsigned seconds)
{
    atomic_store(&judging, what);
    alarm(seconds);
}

/* An assertion has failed in this thread.  It is not left, since others may use what lies on its stack.  */
static void failed_assertion(void)
{
    if (escape) {
        atomic_store(&wanted, 1);
        longjmp(*escape, 1);
    }
    /* A thread of the library's in a function of the test: what it has begun will not be done.  */
    if (!is_test_thread || entries_inside)
        each_end(VERDICT_UNJUDGED);
    become_judge();
    each_disarm();
    judge_broken();
}

/* cmocka aborts where an assertion fails (CMOCKA_TEST_ABORT); whoever else aborts has crashed.  */
static _Thread_local int asserting;

static void on_abort(int number)
{
    if (asserting) {
        asserting = 0;
        failed_assertion();
    }
    signal(number, SIG_DFL);
}

#define ASSERTION(name, parameters, arguments) \
    void __real_##name parameters; \
    void __wrap_##name parameters; \
    void __wrap_##name parameters \
    { \
        if (watch_over()) \
            watch_point(); \
        asserting++; \
        __real_##name arguments; \
        asserting--; \
    }
ASSERTION(_assert_true, (const LargestIntegralType result, const char *const expression, const char *const file, const int line),
          (result, expression, file, line))
ASSERTION(_assert_int_equal, (const LargestIntegralType a, const LargestIntegralType b, const char *const file, const int line),
          (a, b, file, line))
ASSERTION(_assert_int_not_equal, (const LargestIntegralType a, const LargestIntegralType b, const char *const file, const int line),
          (a, b, file, line))
ASSERTION(_assert_string_equal, (const char *const a, const char *const b, const char *const file, const int line), (a, b, file, line))
ASSERTION(_assert_memory_equal, (const void *const a, const void *const b, const size_t size, const char *const file, const int line),
          (a, b, size, file, line))
ASSERTION(_assert_in_range, (const LargestIntegralType value, const LargestIntegralType minimum, const LargestIntegralType maximum,
                             const char *const file, const int line), (value, minimum, maximum, file, line))
ASSERTION(_fail, (const char *const file, const int line), (file, line))

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
            print_threads();
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
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    signal(SIGABRT, on_abort);
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

/* ---- Where test code may be stopped in a kernel ---- */

int __real_sk_wait_step(struct sk_object *, struct sk_wait *), __wrap_sk_wait_step(struct sk_object *, struct sk_wait *);
int __wrap_sk_wait_step(struct sk_object *object, struct sk_wait *wait)
{
    if (watch_over() && !watch_exempt && sk_receiving == NULL) {
        /* (Whoever goes on from here has been let go.)  */
        pthread_mutex_unlock(&object->lock);
        watch_point();
        pthread_mutex_lock(&object->lock);
    }
    return __real_sk_wait_step(object, wait);
}

int __real_sk_send_raw(sk_object *, const struct sk_message *, const void *, unsigned);
int __wrap_sk_send_raw(sk_object *, const struct sk_message *, const void *, unsigned);
int __wrap_sk_send_raw(sk_object *object, const struct sk_message *message, const void *data, unsigned flags)
{
    watch_point();
    atomic_fetch_add(&witness_hostile, 1);
    return __real_sk_send_raw(object, message, data, flags);
}

#define POINT(type, name, parameters, arguments) \
    type __real_##name parameters, __wrap_##name parameters; \
    type __wrap_##name parameters \
    { \
        watch_point(); \
        return __real_##name arguments; \
    }
POINT(int, sk_read, (sk_object *o, vm_offset_t at, void *buffer, size_t length), (o, at, buffer, length))
POINT(int, sk_write, (sk_object *o, vm_offset_t at, const void *buffer, size_t length), (o, at, buffer, length))
POINT(int, sk_request, (sk_object *o, vm_offset_t at, vm_prot_t access), (o, at, access))
POINT(int, sk_unlock, (sk_object *o, vm_offset_t at, vm_prot_t access), (o, at, access))
POINT(int, sk_evict, (sk_object *o, vm_offset_t at), (o, at))
POINT(int, sk_terminate, (sk_object *o), (o))

/* (The library's own would end the process where the object is not served.)  */
sk_object *__real_sk_map(sk_kernel *, mach_port_t), *__wrap_sk_map(sk_kernel *, mach_port_t);
sk_object *__wrap_sk_map(sk_kernel *kernel, mach_port_t port)
{
    watch_point();
    if (!each_on)
        return __real_sk_map(kernel, port);
    sk_object *object = sk_map_async(kernel, port);
    int error = sk_wait_ready(object, 0);
    if (error)
        fprintf(stderr, "fail-each: sk_map: %#x\n", error);
    if (error && !watch_exempt)
        assert_int_equal(error, 0);
    return object;
}
