/* threads.c: POSIX threads on thread_create.

   A thread has one block of memory: a page that must not be touched, its stack, its thread-local variables, its bare_thread.  %gs is a segment
   that begins at the bare_thread, set with i386_set_gdt, as the Hurd's C library has it, so _Thread_local works.

   A thread that has ended says so and waits to be terminated; whoever makes, joins or counts threads next does it and takes its block,
   its name and its reply port away.  (thread_terminate_release would do it at once, but nobody would know when it is done, and tests
   count what is left.)  */

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#include <mach/mach_i386.h>
#include <mach/mig_support.h>
#include <mach/thread_status.h>

enum { stack_size = 128 << 10 };

/* start.S: each call adds a reference to the name.  */
mach_port_t bare_trap_task_self(void), bare_trap_thread_self(void), bare_trap_host_self(void);

static mach_port_t task_port, host_port;

mach_port_t mach_task_self(void) { return task_port; }
mach_port_t mach_host_self(void) { return host_port; }
mach_port_t mach_thread_self(void) { return bare_self()->port; }

/* Threads that live, for exceptions and for counting.  */
static struct bare_thread *threads;
static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;
/* Taken before threads_lock.  */
static pthread_mutex_t reaping = PTHREAD_MUTEX_INITIALIZER;

extern const ElfW(Ehdr) __ehdr_start;

static const ElfW(Phdr) *tls_header(void)
{
    const ElfW(Phdr) *header = (const void *) ((const char *) &__ehdr_start + __ehdr_start.e_phoff);
    for (int i = 0; i < __ehdr_start.e_phnum; i++)
        if (header[i].p_type == PT_TLS)
            return &header[i];
    return NULL;
}

static size_t align(size_t size, size_t to)
{
    return (size + to - 1) & ~(to - 1);
}

/* Make what lies at the end of the block: thread-local variables, which end where the bare_thread begins.  */
static struct bare_thread *lay_out(vm_address_t region, vm_size_t size, uintptr_t *stack_end)
{
    const ElfW(Phdr) *tls = tls_header();
    struct bare_thread *self = (void *) ((region + size - sizeof *self) & ~(uintptr_t) 63);
    uintptr_t variables = (uintptr_t) self;
    if (tls) {
        variables -= align(tls->p_memsz, tls->p_align);
        memcpy((void *) variables, (const void *) tls->p_vaddr, tls->p_filesz);
    }
    *self = (struct bare_thread) {
        .self = self,
        .system_call = bare_no_system_call,
        .region = region,
        .region_size = size,
    };
    *stack_end = variables & ~(uintptr_t) 15;
    return self;
}

/* Give THREAD's segment SELF's address.  Returns its selector; 0: it cannot be had.  */
static int set_segment(mach_port_t thread, struct bare_thread *self)
{
    const unsigned base = (unsigned) (uintptr_t) self;
    /* A writable data segment of user privilege, of 4 GB from there on.  */
    struct descriptor segment = {
        .low_word = (base & 0xffff) << 16 | 0xffff,
        .high_word = (base & 0xff000000) | 0x00cff200 | ((base >> 16) & 0xff),
    };
    int selector = -1;
    return i386_set_gdt(thread, &selector, segment) == KERN_SUCCESS ? selector : 0;
}

struct bare_thread *bare_first_thread;

void bare_threads_init(void)
{
    static char first[4096] __attribute__((aligned(4096)));
    uintptr_t end;
    task_port = bare_trap_task_self();
    host_port = bare_trap_host_self();
    struct bare_thread *self = lay_out((vm_address_t) first, sizeof first, &end);
    self->region = 0;
    self->region_size = 0;
    self->port = bare_trap_thread_self();
    threads = self;
    /* MIG's stubs ask for a reply port, and %gs is not there yet.  */
    bare_first_thread = self;
    int selector = set_segment(self->port, self);
    __asm__ volatile("movw %w0, %%gs" : : "r"(selector));
    bare_first_thread = NULL;
}

struct bare_thread *bare_find_thread(mach_port_t port)
{
    pthread_mutex_lock(&threads_lock);
    struct bare_thread *thread = threads;
    while (thread && thread->port != port)
        thread = thread->next;
    pthread_mutex_unlock(&threads_lock);
    return thread;
}

void bare_for_each_thread(void (*function)(struct bare_thread *))
{
    pthread_mutex_lock(&threads_lock);
    for (struct bare_thread *thread = threads; thread; thread = thread->next)
        if (!thread->ended)
            function(thread);
    pthread_mutex_unlock(&threads_lock);
}

/* ---- Life ---- */

static void release(struct bare_record *record)
{
    if (__atomic_sub_fetch(&record->references, 1, __ATOMIC_ACQ_REL) == 0)
        free(record);
}

static int set_state(mach_port_t thread, struct bare_thread *self, uintptr_t stack_end)
{
    struct i386_thread_state state;
    mach_msg_type_number_t count = i386_THREAD_STATE_COUNT;
    int selector = set_segment(thread, self);
    if (selector == 0 || thread_get_state(thread, i386_REGS_SEGS_STATE, (thread_state_t) &state, &count) != KERN_SUCCESS)
        return 0;
    state.eip = (unsigned) (uintptr_t) bare_thread_start;
    state.uesp = (unsigned) stack_end;
    state.eax = (unsigned) selector;
    return thread_set_state(thread, i386_REGS_SEGS_STATE, (thread_state_t) &state, i386_THREAD_STATE_COUNT) == KERN_SUCCESS;
}

static void link_thread(struct bare_thread *self)
{
    pthread_mutex_lock(&threads_lock);
    self->next = threads;
    threads = self;
    pthread_mutex_unlock(&threads_lock);
}

/* The first thread that has ended, out of the list.  */
static struct bare_thread *unlink_ended(void)
{
    pthread_mutex_lock(&threads_lock);
    struct bare_thread **link = &threads, *found;
    while ((found = *link) && !found->ended)
        link = &found->next;
    if (found)
        *link = found->next;
    pthread_mutex_unlock(&threads_lock);
    return found;
}

/* With reaping: when it is unlocked, nothing is left of threads that are not in the list.  */
static void reap(void)
{
    struct bare_thread *thread;
    while ((thread = unlink_ended()) != NULL) {
        struct bare_thread dead = *thread;
        thread_terminate(dead.port);
        mach_port_deallocate(mach_task_self(), dead.port);
        if (dead.reply_port != MACH_PORT_NULL)
            mach_port_mod_refs(mach_task_self(), dead.reply_port, MACH_PORT_RIGHT_RECEIVE, -1);
        vm_deallocate(mach_task_self(), dead.region, dead.region_size);
    }
}

static void reap_all(void)
{
    pthread_mutex_lock(&reaping);
    reap();
    pthread_mutex_unlock(&reaping);
}

struct bare_holdings bare_holdings(struct bare_holdings (*all)(void))
{
    /* Names that BareMach holds: the task's, the host's, and each thread's own with its reply port.  */
    struct bare_holdings found, ours = { .names = 2 };
    pthread_mutex_lock(&reaping);
    reap();
    (void) mig_get_reply_port();
    found = all();
    pthread_mutex_lock(&threads_lock);
    for (struct bare_thread *thread = threads; thread; thread = thread->next) {
        unsigned reply = thread->reply_port != MACH_PORT_NULL;
        ours.names += 1 + reply;
        ours.receive += reply;
        ours.bytes += thread->region_size;
    }
    pthread_mutex_unlock(&threads_lock);
    pthread_mutex_unlock(&reaping);
    return (struct bare_holdings) { found.names - ours.names, found.receive - ours.receive, found.bytes - ours.bytes };
}

int pthread_create(pthread_t *restrict out, const pthread_attr_t *restrict attributes, void *(*body)(void *),
                   void *restrict argument)
{
    int detached = PTHREAD_CREATE_JOINABLE;
    if (attributes)
        pthread_attr_getdetachstate(attributes, &detached);
    struct bare_record *record = malloc(sizeof *record);
    vm_address_t region = 0;
    vm_size_t size = stack_size + vm_page_size;
    mach_port_t port = MACH_PORT_NULL;
    reap_all();
    if (record == NULL)
        return ENOMEM;
    *record = (struct bare_record) { .body = body, .argument = argument, .references = detached == PTHREAD_CREATE_DETACHED ? 1 : 2 };
    if (vm_allocate(mach_task_self(), &region, size, TRUE) != KERN_SUCCESS)
        goto no_region;
    if (vm_protect(mach_task_self(), region, vm_page_size, FALSE, VM_PROT_NONE) != KERN_SUCCESS
        || thread_create(mach_task_self(), &port) != KERN_SUCCESS)
        goto no_thread;
    uintptr_t stack_end;
    struct bare_thread *self = lay_out(region, size, &stack_end);
    self->port = port;
    self->record = record;
    if (!set_state(port, self, stack_end))
        goto no_state;
    *out = (pthread_t) record;
    link_thread(self);
    thread_resume(port);
    return 0;

no_state:
    thread_terminate(port);
    mach_port_deallocate(mach_task_self(), port);
no_thread:
    vm_deallocate(mach_task_self(), region, size);
no_region:
    free(record);
    return EAGAIN;
}

_Noreturn void bare_thread_main(void);

void bare_thread_main(void)
{
    struct bare_record *record = bare_self()->record;
    pthread_exit(record->body(record->argument));
}

_Noreturn void pthread_exit(void *result)
{
    struct bare_thread *self = bare_self();
    struct bare_record *record = self->record;
    if (record) {
        record->result = result;
        __atomic_store_n(&record->done, 1, __ATOMIC_RELEASE);
        bare_wake_word(&record->done, 1);
        release(record);
    }
    pthread_mutex_lock(&threads_lock);
    self->ended = 1;
    pthread_mutex_unlock(&threads_lock);
    for (;;)
        thread_suspend(self->port);
}

int pthread_join(pthread_t thread, void **result)
{
    struct bare_record *record = (struct bare_record *) thread;
    while (!__atomic_load_n(&record->done, __ATOMIC_ACQUIRE))
        bare_wait_word(&record->done, 0, -1);
    if (result)
        *result = record->result;
    release(record);
    reap_all();
    return 0;
}

int pthread_detach(pthread_t thread)
{
    release((struct bare_record *) thread);
    return 0;
}

/* The first thread has no record; its bare_thread serves for comparing.  */
pthread_t pthread_self(void)
{
    struct bare_thread *self = bare_self();
    return self->record ? (pthread_t) self->record : (pthread_t) self;
}
