/* bench.h - the mapping kernel's benchmark: page faults through the whole stack, beside the least that userfaultfd lets anybody do.

   A *case* is a pair of ways to do the same work: bare (bare.c) and through the stack (stack.c).  Each has two halves for a
   round: prepare, not timed, and work, timed, which does `units' units (faults, pages).  Rounds of both ways alternate, and what is
   reported is the ratio of the medians.  Everything runs on one CPU.  */

#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct way {
    void (*prepare)(void *);
    void (*work)(void *);
    void *argument;
};

struct bench_case {
    const char *name, *unit;
    unsigned units;                     /* that work does */
    double goal;                        /* at most so many times the bare way; 0: none */
    struct way bare, stack;
};

/* measure.c */
struct options {
    unsigned rounds;
    const char *only;                   /* part of a case's name, or NULL */
    bool only_stack, only_bare;         /* run just one way: for profiles */
};
void measure_header(void);
/* Prints a line.  False: the goal is missed.  */
bool measure(const struct bench_case *, const struct options *);
void pin_to_one_cpu(void);
void fail(const char *what) __attribute__((noreturn));

extern size_t page_bytes;

/* bare.c: a memory file of PAGES pages, mapped shared and served by a thread of its own.  */
struct bare;
struct bare *bare_open(size_t pages, size_t batch_pages);
void bare_drop(void *);                 /* no page is there */
void bare_read(void *);                 /* touch each page */
void bare_protect(void *);              /* every page is there, clean and write-protected */
void bare_write(void *);                /* write to each page */
void bare_dirty(void *);                /* every page is there, dirty and writable */
void bare_flush(void *);                /* write-protect, copy out, punch a hole, wake, by runs of 32 pages */
void *plain_open(size_t pages);         /* anonymous memory, touched */
void plain_read(void *);                /* all of it, a word of each cache line */

/* stack.c: a memory object of PAGES pages, mapped by a kernel that asks for CLUSTER pages at once.  */
struct stack;
struct stack *stack_open(size_t pages, size_t cluster_pages, bool write_lock);
void stack_close(struct stack *);
void stack_drop(void *);
void stack_read(void *);
void stack_lock(void *);                /* every page is there, locked against writing */
void stack_write(void *);
void stack_dirty(void *);
void stack_flush(void *);               /* pager_return of everything, waited for */
void *stack_memory(struct stack *);     /* resident */
void stack_explain(struct stack *);     /* the kernel's and the pager's counters */

#endif
