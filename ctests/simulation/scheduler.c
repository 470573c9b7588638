#include "scheduler.h"

#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "random.h"
#include "report.h"

#if defined __has_feature
#if __has_feature(address_sanitizer)
#define HAS_ADDRESS_SANITIZER 1
#endif
#endif
#if HAS_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
enum { STACK_BYTES = 512 * 1024 };
#else
#define __sanitizer_start_switch_fiber(save, bottom, size) ((void) (save), (void) (bottom), (void) (size))
#define __sanitizer_finish_switch_fiber(save, bottom, size) ((void) (save), (void) (bottom), (void) (size))
#define __asan_unpoison_memory_region(address, size) ((void) (address), (void) (size))
enum { STACK_BYTES = 128 * 1024 };
#endif

enum { FIBERS = 512, GUARD_BYTES = 4096, FRAMES = 24 };

/* More choices, or more time, than any run needs: it does not come to an end. */
static const uint64_t choices_limit = 4000000, time_limit_ns = 6ull * 3600 * 1000000000u;

enum state { FREE, RUNNABLE, BLOCKED };

struct fiber {
    enum state state;
    bool timed_out, slow, has_begun;
    unsigned number;
    const void *channel;
    uint64_t deadline;
    uint64_t priority;
    const char *name, *activity, *waits_for;
    void (*body)(void *);
    void *argument;
    char *stack;
    void *fake_stack;           /* the sanitizer's */
    int saved_errno;
    void *locals;               /* its thread-local variables, while others run */
    void *specific[SIM_KEYS];
    void *frames[FRAMES];       /* where it waits, in traced runs */
    int frame_count;
};

/* Where a fiber goes on: at its beginning by the first, which asks the system for each switch; later by the second, which does not. */
static struct place { ucontext_t begin; jmp_buf later; } places[FIBERS];

static struct fiber fibers[FIBERS];
static unsigned used, alive;
static struct fiber *current;
static ucontext_t outside;
static struct random chance;
static struct { const uint8_t *next, *end; } decisions;
static enum policy policy;
static unsigned stickiness;
static uint64_t now_ns, choices, next_change;
static unsigned atomic_depth;
static void (*destructors[SIM_KEYS])(void *);
static int keys;

/* The thread-local variables that are exchanged. The program's own (those of the libraries that are linked in) lie in one block. */
static struct { char *block; size_t size; } locals[SIM_LOCALS];
static unsigned local_count;
static size_t locals_size;
static char *initial_locals;
/* The sanitizer's view of the stack outside of all fibers. */
static struct { void *fake_stack; const void *bottom; size_t size; } outside_stack;

static int find_tls(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void) size, (void) unused;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS) {
            sim_add_local(info->dlpi_tls_data, info->dlpi_phdr[i].p_memsz);
        }
    return 1;                   /* the first is the program */
}

void sim_add_local(void *variable, size_t size)
{
    if (local_count == SIM_LOCALS)
        report_failure("simulation: more than %d blocks of thread-local variables", SIM_LOCALS);
    locals[local_count].block = variable;
    locals[local_count++].size = size;
    locals_size += size;
}

static void save_locals(char *to)
{
    for (unsigned i = 0; i < local_count; to += locals[i++].size)
        memcpy(to, locals[i].block, locals[i].size);
}

static void restore_locals(const char *from)
{
    for (unsigned i = 0; i < local_count; from += locals[i++].size)
        memcpy(locals[i].block, from, locals[i].size);
}

static void prepare_locals(void)
{
    if (initial_locals)
        return;
    if (local_count == 0)
        dl_iterate_phdr(find_tls, NULL);
    initial_locals = malloc(locals_size + 1);
    save_locals(initial_locals);
}

/* ---- Choosing ---- */

void sim_decide_by(const uint8_t *bytes, size_t count)
{
    decisions.next = bytes;
    decisions.end = bytes + count;
}

/* Who is next, and the like. */
static unsigned draw(unsigned limit)
{
    if (limit > 1 && decisions.next < decisions.end)
        return *decisions.next++ % limit;
    return random_below(&chance, limit);
}

static bool is_due(const struct fiber *fiber)
{
    return fiber->state == RUNNABLE || (fiber->state == BLOCKED && fiber->deadline <= now_ns);
}

static void make_runnable(struct fiber *fiber, bool timed_out)
{
    fiber->state = RUNNABLE;
    fiber->timed_out = timed_out;
    fiber->channel = NULL;
    fiber->deadline = UINT64_MAX;
}

/* Those whose time has come can run. When there is nobody, time jumps. */
static unsigned collect(struct fiber **ready)
{
    for (;;) {
        unsigned count = 0;
        uint64_t next = UINT64_MAX;
        for (unsigned i = 0; i < used; i++) {
            struct fiber *fiber = &fibers[i];
            if (fiber->state == FREE)
                continue;
            if (is_due(fiber)) {
                if (fiber->state == BLOCKED)
                    make_runnable(fiber, true);
                ready[count++] = fiber;
            } else if (fiber->deadline < next) {
                next = fiber->deadline;
            }
        }
        if (count > 0)
            return count;
        if (next > time_limit_ns)
            report_failure("every thread waits, and for nothing that comes");
        now_ns = next;
    }
}

static struct fiber *choose_by_priority(struct fiber **ready, unsigned count)
{
    if (choices >= next_change) {
        next_change = choices + 1 + random_below(&chance, 400);
        ready[draw(count)]->priority = random_next(&chance) >> 1;
        current->priority >>= 8;
    }
    struct fiber *best = ready[0];
    for (unsigned i = 1; i < count; i++)
        if (ready[i]->priority > best->priority)
            best = ready[i];
    return best;
}

static struct fiber *choose(void)
{
    struct fiber *ready[FIBERS];
    choices++;
    now_ns += random_below(&chance, 2000);
    if (choices > choices_limit || now_ns > time_limit_ns)
        report_failure("no end: %llu choices, %llu ms", (unsigned long long) choices, (unsigned long long) (now_ns / 1000000));
    unsigned count = collect(ready);
    if (count == 1)
        return ready[0];
    switch (policy) {
    case POLICY_STICKY:
        if (current->state == RUNNABLE && draw(stickiness) != 0)
            return current;
        break;
    case POLICY_PRIORITY:
        return choose_by_priority(ready, count);
    case POLICY_SLOW:
        for (int i = 0; i < 3; i++) {
            struct fiber *fiber = ready[draw(count)];
            if (!fiber->slow || random_below(&chance, 30) == 0)
                return fiber;
        }
        break;
    default:
        break;
    }
    return ready[draw(count)];
}

/* ---- Switching ---- */

static void switch_to(struct fiber *next)
{
    struct fiber *previous = current;
    if (next == previous)
        return;
    previous->saved_errno = errno;
    save_locals(previous->locals);
    restore_locals(next->locals);
    current = next;
    /* (One that has ended has no stack to come back to.) */
    __sanitizer_start_switch_fiber(previous->state == FREE ? NULL : &previous->fake_stack, next->stack, STACK_BYTES);
    if (_setjmp(places[previous->number].later) == 0) {
        if (next->has_begun)
            _longjmp(places[next->number].later, 1);
        next->has_begun = true;
        setcontext(&places[next->number].begin);
        abort();
    }
    __sanitizer_finish_switch_fiber(current->fake_stack, NULL, NULL);
    errno = current->saved_errno;
}

static void run_destructors(void)
{
    for (int key = 0; key < keys; key++) {
        void *value = current->specific[key];
        current->specific[key] = NULL;
        if (value && destructors[key])
            destructors[key](value);
    }
}

static void enter(void)
{
    const void *bottom = NULL;
    size_t size = 0;
    __sanitizer_finish_switch_fiber(NULL, &bottom, &size);
    if (current == &fibers[0]) {
        outside_stack.bottom = bottom;
        outside_stack.size = size;
    }
    current->body(current->argument);
    run_destructors();
    alive--;
    if (current == &fibers[0]) {
        __sanitizer_start_switch_fiber(NULL, outside_stack.bottom, outside_stack.size);
        setcontext(&outside);
        abort();
    }
    /* It is never chosen again; its stack is in use until somebody else runs. */
    current->state = FREE;
    switch_to(choose());
    abort();
}

static char *make_stack(void)
{
    char *stack = mmap(NULL, STACK_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, GUARD_BYTES, PROT_NONE) != 0)
        abort();
    return stack + GUARD_BYTES;
}

struct fiber *sim_spawn(const char *name, void (*body)(void *), void *argument)
{
    unsigned index = 0;
    while (index < used && (fibers[index].state != FREE || &fibers[index] == current))
        index++;
    if (index == FIBERS)
        report_failure("more than %d threads", FIBERS);
    struct fiber *fiber = &fibers[index];
    if (index == used)
        used++;
    char *stack = fiber->stack ? fiber->stack : make_stack();
    void *own_locals = fiber->locals ? fiber->locals : malloc(locals_size + 1);
    __asan_unpoison_memory_region(stack, STACK_BYTES);
    *fiber = (struct fiber) {
        .state = RUNNABLE, .number = index, .name = name, .body = body, .argument = argument, .stack = stack,
        .deadline = UINT64_MAX, .locals = own_locals, .priority = random_next(&chance) >> 1,
        .slow = random_below(&chance, 4) == 0,
    };
    memcpy(own_locals, initial_locals, locals_size);
    ucontext_t *begin = &places[index].begin;
    getcontext(begin);
    begin->uc_stack.ss_sp = stack;
    begin->uc_stack.ss_size = STACK_BYTES;
    begin->uc_link = NULL;
    makecontext(begin, enter, 0);
    alive++;
    return fiber;
}

void sim_run(uint64_t seed, enum policy how, void (*main)(void *), void *argument)
{
    prepare_locals();
    for (unsigned i = 0; i < used; i++)
        fibers[i].state = FREE;
    current = NULL;
    alive = atomic_depth = 0;
    choices = next_change = 0;
    chance = random_seeded(seed, 1);
    policy = how;
    stickiness = 2u << random_below(&chance, 7);
    now_ns = 1000000000;
    current = sim_spawn("main", main, argument);
    current->slow = false;
    char *outer_locals = malloc(locals_size + 1);
    save_locals(outer_locals);
    restore_locals(current->locals);
    __sanitizer_start_switch_fiber(&outside_stack.fake_stack, current->stack, STACK_BYTES);
    current->has_begun = true;
    if (swapcontext(&outside, &places[current->number].begin) != 0)
        abort();
    __sanitizer_finish_switch_fiber(outside_stack.fake_stack, NULL, NULL);
    restore_locals(outer_locals);
    free(outer_locals);
    current = NULL;
    sim_decide_by(NULL, 0);
}

/* ---- What fibers call ---- */

struct fiber *sim_self(void) { return current; }
const char *sim_name(const struct fiber *fiber) { return fiber->name; }
unsigned sim_fibers(void) { return alive; }
uint64_t sim_now_ns(void) { return now_ns; }
uint64_t sim_choices(void) { return choices; }
unsigned sim_choice(unsigned limit) { return draw(limit); }
void sim_begin_atomic(void) { atomic_depth++; }
void sim_end_atomic(void) { atomic_depth--; }

void sim_set_activity(const char *activity)
{
    if (current)
        current->activity = activity;
}

void sim_point(void)
{
    if (current && atomic_depth == 0)
        switch_to(choose());
}

void sim_yield(void)
{
    if (current)
        current->priority >>= 8;
    sim_point();
}

bool sim_block(const void *channel, uint64_t deadline, const char *what)
{
    if (atomic_depth != 0)
        report_failure("a thread blocks where it must not: %s", what);
    if (deadline <= now_ns)
        return false;
    current->state = BLOCKED;
    current->channel = channel;
    current->deadline = deadline;
    current->waits_for = what;
    if (report_traced)
        current->frame_count = backtrace(current->frames, FRAMES);
    switch_to(choose());
    current->waits_for = NULL;
    return !current->timed_out;
}

unsigned sim_wake(const void *channel, unsigned count)
{
    struct fiber *waiting[FIBERS];
    unsigned found = 0, woken = 0;
    for (unsigned i = 0; i < used; i++)
        if (fibers[i].state == BLOCKED && fibers[i].channel == channel)
            waiting[found++] = &fibers[i];
    for (; woken < count && found > 0; woken++) {
        unsigned pick = count >= found ? found - 1 : draw(found);
        make_runnable(waiting[pick], false);
        waiting[pick] = waiting[--found];
    }
    return woken;
}

void sim_sleep_ns(uint64_t ns)
{
    static char nobody;
    sim_block(&nobody, now_ns + ns + 1, "a time");
}

/* As offsets into the program, for addr2line. */
static void print_frames(const struct fiber *fiber)
{
    extern const char __executable_start[];
    char line[FRAMES * 12 + 1];
    int length = 0;
    for (int i = 2; i < fiber->frame_count; i++)
        length += snprintf(line + length, sizeof line - (size_t) length, " %#zx",
                           (size_t) ((const char *) fiber->frames[i] - __executable_start));
    report_line("  at%.*s", length, line);
}

void sim_print_fibers(void)
{
    for (unsigned i = 0; i < used; i++) {
        const struct fiber *fiber = &fibers[i];
        if (fiber->state == FREE)
            continue;
        bool waits = fiber->state == BLOCKED;
        report_line("thread %u, %s%s%s: %s%s", fiber->number, fiber->name, fiber->activity ? ", " : "",
                    fiber->activity ? fiber->activity : "", waits ? "waits for " : fiber == current ? "runs" : "can run",
                    waits ? fiber->waits_for : "");
        if (waits && report_traced)
            print_frames(fiber);
    }
}

int sim_key_create(void (*destroy)(void *))
{
    if (keys == SIM_KEYS)
        return -1;
    destructors[keys] = destroy;
    return keys++;
}

void sim_set_specific(int key, void *value)
{
    static void *outside_values[SIM_KEYS];
    (current ? current->specific : outside_values)[key] = value;
}

void *sim_specific(int key) { return current ? current->specific[key] : NULL; }
