/* How tests wait: until something comes, or until it counts as a hang; and their threads.  */

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

#include "waits.h"

/* Milliseconds after which a wait counts as a hang.  LIBPAGER_TEST_HANG_MS says another limit (scripts/break-it: a hang is to be found
   soon; the scripted kernels obey it as well).  */
long hang_ms = 30000;

/* LIBPAGER_TEST_ONLY names the one test case that is to run.  */
__attribute__((constructor)) static void read_environment(void)
{
    const char *limit = getenv("LIBPAGER_TEST_HANG_MS"), *only = getenv("LIBPAGER_TEST_ONLY");
    if (limit && atol(limit) > 0)
        hang_ms = atol(limit);
    if (only)
        cmocka_set_test_filter(only);
}

struct timespec time_in(long milliseconds)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += milliseconds / 1000;
    end.tv_nsec += milliseconds % 1000 * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_nsec -= 1000000000;
        end.tv_sec++;
    }
    return end;
}

void hang(const char *what)
{
    fprintf(stderr, "test hangs: %s\n", what);
    abort();
}

void wait_changed(struct user_pager_info *store, const char *what)
{
    struct timespec end = time_in(hang_ms);
    if (each_over()) {
        pthread_mutex_unlock(&store->lock);
        each_point();
        pthread_mutex_lock(&store->lock);
    }
    if (pthread_cond_timedwait(&store->changed, &store->lock, &end) == ETIMEDOUT)
        hang(what);
}

void wait_for(bool (*condition)(void *), void *argument)
{
    time_t end = time(NULL) + 30;
    while (!condition(argument)) {
        if (time(NULL) > end) {
            fprintf(stderr, "test hangs: a condition does not come true\n");
            abort();
        }
        sched_yield();
    }
}

struct start {
    void *(*function)(void *);
    void *argument;
};

static void *run(void *argument)
{
    struct start start = *(struct start *) argument;
    free(argument);
    each_test_thread();
    return start.function(start.argument);
}

pthread_t spawn(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    struct start *start = malloc(sizeof *start);
    *start = (struct start) { function, argument };
    assert_int_equal(pthread_create(&thread, NULL, run, start), 0);
    return thread;
}

void join(pthread_t thread)
{
    assert_int_equal(pthread_join(thread, NULL), 0);
    each_point();
}
/* ---- Tasks ---- */

static pthread_mutex_t task_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t task_changed = PTHREAD_COND_INITIALIZER;

static void *run_task(void *argument)
{
    struct task *task = argument;
    int result = task->function(task->argument);
    pthread_mutex_lock(&task_lock);
    task->result = result;
    task->done = 1;
    pthread_cond_broadcast(&task_changed);
    pthread_mutex_unlock(&task_lock);
    return NULL;
}

void task_begin(struct task *task, int (*function)(void *), void *argument)
{
    *task = (struct task) { .function = function, .argument = argument };
    task->thread = spawn(run_task, task);
}

/* 0: the time ran out.  */
static int wait_task(struct task *a, struct task *b, long milliseconds)
{
    struct timespec end = time_in(milliseconds);
    each_point();
    pthread_mutex_lock(&task_lock);
    while (!a->done && !b->done && pthread_cond_timedwait(&task_changed, &task_lock, &end) == 0)
        if (each_over()) {
            pthread_mutex_unlock(&task_lock);
            each_point();
            pthread_mutex_lock(&task_lock);
        }
    int done = a->done || b->done;
    pthread_mutex_unlock(&task_lock);
    return done;
}

void tasks_wake(void)
{
    pthread_mutex_lock(&task_lock);
    pthread_cond_broadcast(&task_changed);
    pthread_mutex_unlock(&task_lock);
}

int task_done(struct task *task)
{
    pthread_mutex_lock(&task_lock);
    int done = task->done;
    pthread_mutex_unlock(&task_lock);
    return done;
}

int task_waits(struct task *task) { return !wait_task(task, task, 30); }

struct task *task_first(struct task *a, struct task *b)
{
    if (!wait_task(a, b, hang_ms))
        hang("neither of two calls returns");
    return task_done(a) ? a : b;
}

int task_end(struct task *task)
{
    if (!wait_task(task, task, hang_ms))
        hang("a call does not return");
    join(task->thread);
    return task->result;
}
