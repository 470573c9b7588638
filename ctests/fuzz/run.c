/* run.c - one input after the other in one process, which is how libFuzzer wants it.

   What is instrumented where the program is built for libFuzzer (LIBPAGER_FUZZ): the engine (Swift, with its own checks) and libpager's C parts have
   coverage and AddressSanitizer, the C parts UndefinedBehaviorSanitizer as well; HostMach, libports, the scripted kernels and the simulation
   have both sanitizers but no coverage, so that it is libpager that the fuzzer explores. */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz.h"
#include "internal.h"           /* of the scripted kernel: its thread-local variable */
#include "platform.h"
#include "report.h"
#include "threads.h"
#include "totals.h"
#include "world.h"

#if defined __has_feature
#if __has_feature(address_sanitizer)
#define HAS_ADDRESS_SANITIZER 1
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    /* Memory may run out; a stack is left by a jump, so that nobody looks whether something on it is used after its function's end. */
    return "allocator_may_return_null=1:detect_stack_use_after_return=0";
}
#endif
#endif

static void prepare(void)
{
    static bool is_prepared;
    if (is_prepared)
        return;
    is_prepared = true;
    totals_open();
    report_end = abort;
#if HAS_ADDRESS_SANITIZER
    /* The sanitizer has variables in the program's block: so those are named that the libraries have. */
    sim_add_local(&platform_this_thread, sizeof platform_this_thread);
    fuzz_add_hostmach_local();
    sim_add_local(&sk_receiving, sizeof sk_receiving);
#endif
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc, (void) argv;
    /* Reports appear even where what the libraries say is closed (-close_fd_mask=2). */
    report_to(dup(STDERR_FILENO));
    report_traced = getenv("FUZZ_TRACE") != NULL;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static struct scenario scenario;
    struct input input = { bytes, bytes + count };
    prepare();
    struct input choices = fuzz_take_choices(&input);
    if (!target_read(&scenario, &input))
        return -1;
    if (report_traced)
        scenario_print(&scenario, stderr);
    sim_decide_by(choices.next, input_left(&choices));
    threads_fail_start(-1);
    platform_fail_allocation(-1);
    hostmach_fail_memory(0, 0);
    hostmach_fail_vm(0, 0);
    run_scenario(&scenario);
    return 0;
}
