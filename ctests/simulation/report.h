/* report.h - what a run says. A run is a process of its own; its lines go to the pipe that the parent reads.

   The first line of a failure is its *reason*: it names no addresses, so the same failure has the same reason in each run. */

#ifndef SIMULATION_REPORT_H
#define SIMULATION_REPORT_H

#include <stdbool.h>

/* Lines go to FD. TRACED: trace lines are printed as they come; else they cost next to nothing. */
void report_open(int fd, bool traced);
/* Only that lines go to FD. */
void report_to(int fd);

/* The run has failed: prints the reason and what every thread is at, and ends the process. */
void report_failure(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void report_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Instead of the process's end: for a failure that somebody else is to see. Does not return. */
extern void (*report_end)(void);

extern bool report_traced;
void report_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define TRACE(...) (report_traced ? report_trace(__VA_ARGS__) : (void) 0)

/* Exit codes of a run. */
enum { RUN_PASSED = 0, RUN_FAILED = 3 };

#endif
