#include "report.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scheduler.h"

bool report_traced;
void (*report_end)(void);
static int descriptor = STDERR_FILENO;
static bool is_failing;

static void print(const char *prefix, const char *format, va_list list)
{
    char line[512];
    int start = snprintf(line, sizeof line, "%s", prefix);
    int length = vsnprintf(line + start, sizeof line - (size_t) start - 1, format, list);
    if (length > (int) sizeof line - start - 2)
        length = (int) sizeof line - start - 2;
    line[start + length] = '\n';
    if (write(descriptor, line, (size_t) (start + length + 1)) < 0)
        _exit(RUN_FAILED);
}

void report_line(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    print("  ", format, list);
    va_end(list);
}

void report_trace(const char *format, ...)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "  %10.3f ms %-10s ", (double) sim_now_ns() / 1e6, sim_self() ? sim_name(sim_self()) : "-");
    va_list list;
    va_start(list, format);
    print(prefix, format, list);
    va_end(list);
}

void report_failure(const char *format, ...)
{
    if (is_failing)
        _exit(RUN_FAILED);
    is_failing = true;
    va_list list;
    va_start(list, format);
    print("", format, list);
    va_end(list);
    if (sim_self()) {
        report_line("after %llu choices, in %s", (unsigned long long) sim_choices(), sim_name(sim_self()));
        sim_print_fibers();
    }
    if (report_end)
        report_end();
    _exit(RUN_FAILED);
}

void report_to(int fd) { descriptor = fd; }

static void crash(int signal)
{
    report_failure("crash: %s", strsignal(signal));
}

void report_open(int fd, bool traced)
{
    static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT };
    static char stack[65536];
    descriptor = fd;
    report_traced = traced;
    sigaltstack(&(stack_t) { .ss_sp = stack, .ss_size = sizeof stack }, NULL);
    for (unsigned i = 0; i < sizeof crashes / sizeof *crashes; i++)
        sigaction(crashes[i], &(struct sigaction) { .sa_handler = crash, .sa_flags = SA_ONSTACK | SA_RESETHAND }, NULL);
}
