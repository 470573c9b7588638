/* runner.c: runs the areas' tests one by one, and tells the console.

   Arguments: LIBPAGER_TEST_AREA=name, one area alone; LIBPAGER_TEST_ONLY=name, one test alone (store.c asks for it).

   The last line but BareMach's is "gnumach tests: N passed, N failed, N skipped". Nothing else says that all is well: the kernel's
   panic, a hang, an exception and abort all end without it.  */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <bare/bare.h>

#include "runner.h"

static const char *area, *filter;
static unsigned passed, failed, left_out;
static jmp_buf end;
static pthread_t tester;
static char why[400];

enum { FAILED = 1, SKIPPED };

void cmocka_set_test_filter(const char *name) { filter = name; }

void print_message(const char *format, ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    printf("%s", text);
}

static void leave(int how)
{
    if (pthread_self() != tester) {
        printf("in another thread than the test's: %s\n", why);
        bare_end(1);
    }
    bare_recover(NULL);
    longjmp(end, how);
}

void _cmocka_fail(const char *file, int line, const char *format, ...)
{
    const char *name = strrchr(file, '/');
    int length = snprintf(why, sizeof why, "%s:%d: ", name ? name + 1 : file, line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why + length, sizeof why - (size_t) length, format, arguments);
    va_end(arguments);
    leave(FAILED);
    __builtin_unreachable();
}

void _cmocka_skip(const char *reason)
{
    snprintf(why, sizeof why, "%s", reason);
    leave(SKIPPED);
    __builtin_unreachable();
}

static const char *reason_to_skip(const char *name)
{
    char full[120];
    snprintf(full, sizeof full, "%s.%s", area, name);
    for (const struct skipped *entry = skipped; entry->name; entry++)
        if (strcmp(entry->name, full) == 0)
            return entry->reason;
    return NULL;
}

static long milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- Hangs: waits have limits of their own (store.c), but a page fault has none ---- */

enum { limit_s = 20 };
static _Atomic unsigned tests_begun;

void runner_goes_on(void) { tests_begun++; }

static void *watch(void *nothing)
{
    (void) nothing;
    unsigned before = 0;
    for (int seconds = 0; ; seconds++) {
        nanosleep(&(struct timespec) { .tv_sec = 1 }, NULL);
        if (tests_begun != before) {
            before = tests_begun;
            seconds = 0;
        } else if (seconds >= limit_s) {
            printf("test hangs: no end after %d s\n", limit_s);
            bare_report_threads();
            bare_end(1);
        }
    }
}

static void run(const struct CMUnitTest *test, const char *name)
{
    static void *state;
    const char *reason = reason_to_skip(name);
    long begin = milliseconds();
    state = test->initial_state;
    tester = pthread_self();
    tests_begun++;
    int how = 0;
    if (reason) {
        snprintf(why, sizeof why, "%s", reason);
        how = SKIPPED;
    } else if ((how = setjmp(end)) == 0) {
        printf("[ RUN      ] %s.%s\n", area, name);
        if (test->setup_func && test->setup_func(&state) != 0)
            fail_msg("setup");
        test->test_func(&state);
        if (test->teardown_func && test->teardown_func(&state) != 0)
            fail_msg("teardown");
    }
    if (how == 0) {
        passed++;
        printf("[       OK ] %s.%s (%ld ms)\n", area, name, milliseconds() - begin);
    } else if (how == FAILED) {
        failed++;
        printf("[  FAILED  ] %s.%s: %s\n", area, name, why);
    } else {
        left_out++;
        printf("[  SKIPPED ] %s.%s: %s\n", area, name, why);
    }
}

int _cmocka_run_group_tests(const char *group, const struct CMUnitTest *tests, size_t count, CMFixtureFunction setup,
                            CMFixtureFunction teardown)
{
    void *state = NULL;
    unsigned before = failed;
    (void) group;
    if (setup)
        setup(&state);
    for (size_t i = 0; i < count; i++) {
        const char *name = strncmp(tests[i].name, "test_", 5) == 0 ? tests[i].name + 5 : tests[i].name;
        if (filter == NULL || strcmp(filter, tests[i].name) == 0 || strcmp(filter, name) == 0)
            run(&tests[i], name);
    }
    if (teardown)
        teardown(&state);
    return (int) (failed - before);
}

int main(void)
{
    const char *only = getenv("LIBPAGER_TEST_AREA");
    pthread_t watcher;
    if (pthread_create(&watcher, NULL, watch, NULL) != 0)
        bare_end(1);
    for (const struct area *next = areas; next->name; next++)
        if (!only || strcmp(only, next->name) == 0) {
            area = next->name;
            next->main();
        }
    printf("gnumach tests: %u passed, %u failed, %u skipped\n", passed, failed, left_out);
    return failed != 0;
}
