/* internal.h: what the files of BareMach share.  */

#ifndef BAREMACH_INTERNAL_H
#define BAREMACH_INTERNAL_H

#include <mach.h>

#include <bare/bare.h>

/* One POSIX thread as others see it: lives until it has ended and was joined or detached.  */
struct bare_record {
    void *(*body)(void *);
    void *argument;
    void *result;
    unsigned done;                      /* what a joiner waits on */
    unsigned references;                /* the thread itself, and whoever may join it */
};

/* A thread's own data: at %gs:0, behind its thread-local variables and its stack.  */
struct bare_thread {
    struct bare_thread *self;           /* %gs:0 is its own address (i386 TLS, variant II) */
    void *unused[3];
    void (*system_call)(void);          /* %gs:16: where musl would enter Linux */
    mach_port_t port;
    mach_port_t reply_port;
    int error_number;
    struct bare_recovery *recovery;
    struct bare_record *record;
    struct bare_thread *next;           /* in the list of threads, under its lock */
    int ended;                          /* under the same lock: waits to be terminated */
    vm_address_t region;                /* stack, thread-local variables and this */
    vm_size_t region_size;
};

static inline struct bare_thread *bare_self(void)
{
    struct bare_thread *self;
    __asm__("movl %%gs:0, %0" : "=r"(self));
    return self;
}

/* start.c */
extern char **bare_arguments;           /* ends with NULL */

/* threads.c */
extern struct bare_thread *bare_first_thread;   /* while bare_threads_init runs: %gs is not there yet */
void bare_threads_init(void);
struct bare_thread *bare_find_thread(mach_port_t port);
/* FUNCTION neither makes nor ends threads.  */
void bare_for_each_thread(void (*function)(struct bare_thread *));
/* What ALL says, without what BareMach holds for threads; nothing of threads that have ended is in it.  */
struct bare_holdings bare_holdings(struct bare_holdings (*all)(void));

/* memory.c */
size_t bare_heap_bytes(void);

/* exception.c */
void bare_exceptions_init(void);
_Noreturn void bare_fault_return(void);
void bare_thread_start(void);           /* start.S */
void bare_no_system_call(void);

/* lock.c: what waits for a word to change.  MILLISECONDS < 0: no limit.  Non-zero: the time ran out.  */
int bare_wait_word(unsigned *word, unsigned value, long milliseconds);
void bare_wake_word(unsigned *word, int all);

/* console.c */
void bare_console_init(void);
void bare_write(const char *text, size_t length);

#endif
