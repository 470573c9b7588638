/* What the engine needs of a platform and Swift cannot say: memory whose
   exhaustion can be answered, locks, conditions, threads, a clock, a log line.

   Everything here may be called from any thread.  Nothing here knows of pagers.  */

#ifndef LIBPAGER_PLATFORM_H
#define LIBPAGER_PLATFORM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The error codes that the engine names, of the system that it is linked for: the engine's object file knows no numbers.  */
extern const int platform_EIO, platform_ENOSPC, platform_EDQUOT, platform_ENOMEM, platform_EINVAL, platform_EOPNOTSUPP,
    platform_EBUSY, platform_EDEADLK, platform_EFAULT, platform_EACCES;

/* Memory.  `size` in bytes; the block is zeroed and aligned to 16 bytes.
   Returns NULL when memory is exhausted (or when a test says so, see below).  */
void *platform_allocate(size_t size);

/* Like platform_allocate, for state that must not be lost: where memory is
   exhausted it waits and tries again until there is some.  Never NULL.  */
void *platform_allocate_waiting(size_t size);

/* Free a block of the two above; NULL is allowed.  */
void platform_free(void *block);

/* For tests.  The (n+1)-th allocation from now fails, once (starting a thread is one, too); -1: none does.  Returns how many
   were still to come before the one that was ordered before failed; -1: it has failed, or none was to.  */
long platform_fail_allocation(long n);

/* For tests: blocks allocated and not yet freed.  */
long platform_allocated_blocks(void);

/* Locks and conditions, made in place.  Not recursive.  A condition is used with one lock, the same all its life.  */
typedef struct platform_mutex { uint64_t opaque[16]; } platform_mutex_t;
typedef struct platform_condition { uint64_t opaque[10]; } platform_condition_t;

void platform_mutex_init(platform_mutex_t *);
void platform_mutex_destroy(platform_mutex_t *);
void platform_mutex_lock(platform_mutex_t *);
void platform_mutex_unlock(platform_mutex_t *);

void platform_condition_init(platform_condition_t *);
void platform_condition_destroy(platform_condition_t *);
/* `milliseconds` < 0: no limit.  Returns 0, or non-zero when the time ran out.
   May wake without reason.  */
int platform_condition_wait(platform_condition_t *, platform_mutex_t *, long milliseconds);
/* The caller holds the lock.  */
void platform_condition_wake_one(platform_condition_t *);
void platform_condition_wake_all(platform_condition_t *);

/* Memory of the process that begins as zeros and is never given back, for what all pagers share.  */
enum { platform_shared_bytes = 256 * 48 };
void *platform_shared_memory(void) __attribute__((const, returns_nonnull));

/* Copy SIZE bytes, as memcpy does, between memory that may not be there.  Returns how many were copied, from the start: less
   than SIZE where the next one could not be read or written; then *FAULT says where, in one of the two ranges.  */
struct platform_fault {
    uintptr_t address;
    int is_protection;                  /* there is no memory, or the access is forbidden; else the memory could not be had */
};
size_t platform_copy(void *to, const void *from, size_t size, struct platform_fault *fault);

/* Start a detached thread that runs entry(argument).  Returns 0 or an errno.  */
int platform_thread_start(void (*entry)(void *), void *argument);

/* What a thread has for the library's own use; zeros in a new thread. Here rather than behind functions, since every message looks at
   them.  */
struct platform_thread {
    void *local;
    void *callback;
    unsigned number;                    /* 0: it has none yet */
};
extern __thread struct platform_thread platform_this_thread
    __attribute__((visibility("hidden"), tls_model("initial-exec")));

static inline void *platform_thread_local(void) { return platform_this_thread.local; }
static inline void platform_set_thread_local(void *pointer) { platform_this_thread.local = pointer; }

/* Threads are numbered from 1 in the order in which they ask.  */
unsigned platform_next_thread_number(void);
static inline unsigned platform_thread_number(void)
{
    if (platform_this_thread.number == 0)
        platform_this_thread.number = platform_next_thread_number();
    return platform_this_thread.number;
}

/* The callback that the thread is in.  */
static inline void *platform_callback(void) { return platform_this_thread.callback; }
static inline void platform_set_callback(void *pointer) { platform_this_thread.callback = pointer; }

/* Sleep.  */
void platform_pause_ms(uint32_t milliseconds);

/* errno of this thread.  */
void platform_set_errno(int code);

/* Milliseconds of a clock that never goes back.  */
uint64_t platform_clock_ms(void);

/* One line to the log (standard error), prefixed with the library's name.
   `format` takes two unsigned long arguments (%lu, %lx).  */
void platform_log(const char *format, unsigned long a, unsigned long b);

#ifdef __cplusplus
}
#endif

#endif
