/* Each case of a test program again and again, with one allocation or one send failing each time: the n-th, for all n (scripts/fail-each,
   docs/testing.md).

   The programs are linked with this where CMake is told LIBPAGER_FAIL_EACH; without FAIL_EACH in the environment they then do
   what they always do.  With it the group of tests is not run but tried: every case in a process of its own, first as it is, then with each
   failure (each.c).  In that process a second thread looks whether anything still moves (watch.c); whatever happens, the case ends, and
   what the library has made of it is judged (judge.c) by what was seen to go in and come out (witness.c, entries.c).

   Files and what they know:
     each.c      processes, n, the table; nothing of pagers
     watch.c     threads that wait and threads that run, and where they may be stopped; when to give a case up
     made.c      what the case has made and not ended
     entries.c   calls of <hurd/pager.h>: who is inside one, what it returned
     witness.c   pages that came back, pages that were written, answers to kernels
     judge.c     whether anything is lost  */

#ifndef TESTS_EACH_H
#define TESTS_EACH_H

#include <stdbool.h>
#include <stddef.h>

#include "store.h"

/* ---- each.c ---- */

enum source { SOURCE_ENGINE, SOURCE_MACH, SOURCE_PAGES, SOURCE_SENDS, SOURCES, SOURCE_NONE };

/* What was answered, besides what the case is used to; one bit a kind.  */
enum answer {
    ANSWER_CALL = 1,            /* a call of the library's said an error */
    ANSWER_ERROR = 2,           /* data_error */
    ANSWER_DESTROY = 4,         /* memory_object_destroy: this client is not served (any more) */
};

/* How a process ended.  UNJUDGED: a thread of the library's stands in a function of the test that waits for what will not come.  */
enum verdict { VERDICT_NONE, VERDICT_PASSED, VERDICT_OTHERWISE, VERDICT_UNJUDGED };

enum { CODES = 64, REASON = 400 };

/* Written by the process that runs a case, read by the one that made it.  */
struct each_result {
    _Atomic int verdict;
    _Atomic int failures;
    char reason[REASON];        /* of the first failure */
    _Atomic unsigned answers;
    int struck;                 /* the n-th was there to fail */
    long counts[SOURCES];       /* how many there were; in the run without failure */
    int given_up;
    long quiet_ms;              /* longest time without a movement that ended by itself */
    long run_ms;
    int refused_returns;        /* returned pages were refused, and the reason logged */
    int returns_without_page;   /* ... since the client had no such page */
    int codes[CODES];           /* what answers said, and which kind of answer it was (kind << 24 ^ code) */
    _Atomic int code_count;
};

extern bool each_on;                            /* this process runs a case */
extern struct each_result *each_result;
extern const struct each_result *each_usual;    /* of the run without failure; NULL in that run itself */

/* Something is wrong whatever fails: the first is reported.  */
void each_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* An answer of this kind with this code.  Returns whether the case as it is has seen it, too.  */
bool each_note(enum answer, int code);
/* No failure from now on.  */
void each_disarm(void);
/* The process ends here.  */
void each_end(enum verdict) __attribute__((noreturn));

/* ---- watch.c ---- */

void watch_begin(long quiet_limit_ms, long run_limit_ms);
/* The calling thread, which ran the case, has done so.  Returns if it is the one to judge.  */
void watch_case_ended(void);
/* The case has ended, or was given up: test threads are to stop at the next call of watch_point.  */
bool watch_over(void);
/* Test code may be stopped here: it has no lock of the library's or of a kernel's.  */
void watch_point(void);
/* Who waits at a gate of the test's own looks again.  */
void watch_wake_gates(void);
/* A thread of the test spins until something happens.  */
void watch_spins(void);
/* The calling thread is one that never stops.  */
extern _Thread_local bool watch_exempt;
/* The judge has come to this.  If it takes longer than SECONDS the case hangs here.  */
void watch_judging(const char *what, unsigned seconds);

/* ---- entries.c ---- */

/* Calls of the library under way in this thread.  */
extern _Thread_local int entries_inside;
/* Some call that is under way in any thread, or NULL.  */
const char *entries_running(void);

/* ---- witness.c ---- */

/* The store's pages are as they must be.  */
void witness_check(struct user_pager_info *);
bool witness_knows(struct user_pager_info *);
/* A write of the store's failed: what follows from that is no fault.  */
bool witness_has_failed(struct user_pager_info *);
/* No gate, no error, no hook any more; wakes who waits for the store or for a task.  */
void witness_release(void);
/* What a pager_flush throws away.  */
void witness_flushed(struct pager *, vm_offset_t start, vm_size_t length);
void witness_flushed_all(struct pager *);
/* Messages made by hand; clients that were told that they are not served.  */
extern _Atomic int witness_hostile, witness_destroyed;

/* ---- judge.c ---- */

/* After a case that did not come to its end.  Does not return.  */
void judge_broken(void) __attribute__((noreturn));
/* After one that did.  */
void judge_passed(void) __attribute__((noreturn));
/* Wake all who wait for something of the test's; open gates; let kernels go on.  */
void judge_release(void);
void judge_begin(void);

#endif
