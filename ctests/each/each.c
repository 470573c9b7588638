/* A group of tests, tried: every case, every source of failures, every n.  See each.h.

   Guarantees: one process a trial, so no trial sees what another left; a trial that crashes, hangs, or is judged to have lost something is
   reported with what it takes to repeat it, and makes the program's exit status 1; n goes up until it was too large several times.

   Environment:
     FAIL_EACH          a number K: every K-th n
     FAIL_EACH_MOST     at most so many n of a case and source: as far apart as that needs
     FAIL_EACH_SEED     which of K (0)
     FAIL_EACH_SOURCE   only this source (engine, mach, pages, sends)
     FAIL_EACH_N        only this n
     FAIL_EACH_JOBS     trials at once (2)
     FAIL_EACH_TABLE    a file to which a line is added for each case and source (fields: see report_line)
     FAIL_EACH_WITHOUT  no case whose name contains this
     FAIL_EACH_VERBOSE  print what each trial wrote  */

#define _GNU_SOURCE 1

#include "each.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "platform.h"

static const char *const source_names[] = { "engine", "mach", "pages", "sends" };

/* A trial that ended by itself leaves with this status.  */
enum { ENDED = 42, MISSES = 4, BEYOND = 20, JOBS_MAX = 16, DETAILS_MAX = 6 };

bool each_on;
struct each_result *each_result;
const struct each_result *each_usual;

/* ---- In the process of a trial ---- */

static enum source armed_source = SOURCE_NONE;
static bool is_armed;
static unsigned struck_before;
static struct timespec begun;

static long since(const struct timespec *then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - then->tv_sec) * 1000 + (now.tv_nsec - then->tv_nsec) / 1000000;
}

void each_fail(const char *format, ...)
{
    va_list arguments;
    char text[REASON];
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "fail-each: %s\n", text);
    if (atomic_fetch_add(&each_result->failures, 1) == 0)
        memcpy(each_result->reason, text, sizeof text);
}

static bool has_code(const struct each_result *result, int entry)
{
    int count = result->code_count;
    for (int i = 0; i < count && i < CODES; i++)
        if (result->codes[i] == entry)
            return true;
    return false;
}

bool each_note(enum answer kind, int code)
{
    int entry = (int) kind << 24 ^ code;
    if (each_usual && has_code(each_usual, entry))
        return true;
    if (!has_code(each_result, entry)) {
        int place = atomic_fetch_add(&each_result->code_count, 1);
        if (place < CODES)
            each_result->codes[place] = entry;
    }
    atomic_fetch_or(&each_result->answers, (unsigned) kind);
    return false;
}

/* In the run without a failure all are counted.  */
enum { COUNTING = 1 << 30 };

static void arm_counting(void)
{
    const struct hostmach_fault fault = { hostmach_task_main(), 0, COUNTING, 1, MACH_SEND_NO_BUFFER };
    platform_fail_allocation(COUNTING);
    hostmach_fail_memory(COUNTING, 1);
    hostmach_fail_vm(COUNTING, 1);
    hostmach_fail_send(&fault);
}

static void arm(enum source source, long n)
{
    struck_before = hostmach_faults_struck();
    armed_source = source;
    is_armed = true;
    const struct hostmach_fault fault = { hostmach_task_main(), 0, (unsigned) n, 1, MACH_SEND_NO_BUFFER };
    switch (source) {
    case SOURCE_ENGINE: platform_fail_allocation(n); break;
    case SOURCE_MACH: hostmach_fail_memory((unsigned) n, 1); break;
    case SOURCE_PAGES: hostmach_fail_vm((unsigned) n, 1); break;
    case SOURCE_SENDS: hostmach_fail_send(&fault); break;
    default: arm_counting(); break;
    }
}

void each_disarm(void)
{
    int struck = hostmach_faults_struck() != struck_before;
    long left[SOURCES];
    left[SOURCE_MACH] = hostmach_fail_memory(0, 0);
    left[SOURCE_PAGES] = hostmach_fail_vm(0, 0);
    left[SOURCE_SENDS] = hostmach_fail_send(NULL);
    left[SOURCE_ENGINE] = platform_fail_allocation(-1);
    if (is_armed && !each_usual)
        for (enum source source = 0; source < SOURCES; source++)
            /* (A case that orders failures itself is not counted from then on.)  */
            each_result->counts[source] = left[source] > 0 ? COUNTING - left[source] : 0;
    if (armed_source == SOURCE_ENGINE)
        struck = left[SOURCE_ENGINE] < 0;
    if (is_armed && armed_source != SOURCE_NONE)
        each_result->struck = struck;
    is_armed = false;
}

void each_end(enum verdict verdict)
{
    each_result->run_ms = since(&begun);
    each_result->verdict = verdict;
    fflush(NULL);
    _exit(ENDED);
}

typedef int run_group(const char *, const struct CMUnitTest *, size_t, CMFixtureFunction, CMFixtureFunction);
run_group __real__cmocka_run_group_tests, __wrap__cmocka_run_group_tests;

static void run_trial(const struct CMUnitTest *test, CMFixtureFunction setup, CMFixtureFunction teardown, enum source source, long n,
                      int output)
{
    dup2(output, 1);
    dup2(output, 2);
    setvbuf(stdout, NULL, _IOLBF, 0);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    each_on = true;
    judge_begin();
    long usual_quiet = each_usual ? each_usual->quiet_ms : 0;
    watch_begin(each_usual ? 150 + 2 * usual_quiet : 20000, each_usual ? 20000 + 10 * each_usual->run_ms : 120000);
    arm(source, n);
    int failed = __real__cmocka_run_group_tests(test->name, test, 1, setup, teardown);
    watch_case_ended();
    each_disarm();
    if (failed)
        judge_broken();
    judge_passed();
}

/* ---- The processes ---- */

struct job {
    pid_t process;
    struct each_result *result;
    int output;
    enum source source;
    long n;
};

struct trial_set {
    const struct CMUnitTest *test;
    CMFixtureFunction setup, teardown;
    struct each_result *usual;
    struct job jobs[JOBS_MAX];
    int running, misses, details;
    /* Of one source.  */
    long trials, passed, otherwise, unjudged, by_call, by_error, by_destroy, given_up, failed;
};

static long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? atol(text) : otherwise;
}

static struct each_result *make_result(void)
{
    void *memory = mmap(NULL, sizeof(struct each_result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    return memory;
}

static void start(struct trial_set *set, struct job *job, enum source source, long n)
{
    *job = (struct job) { .result = make_result(), .output = memfd_create("output", MFD_CLOEXEC), .source = source, .n = n };
    fflush(NULL);
    job->process = fork();
    if (job->process == 0) {
        each_result = job->result;
        each_usual = source == SOURCE_NONE ? NULL : set->usual;
        run_trial(set->test, set->setup, set->teardown, source, n, job->output);
    }
    if (job->process < 0) {
        perror("fork");
        exit(1);
    }
}

static void print_output(int output)
{
    char bytes[4096];
    ssize_t count;
    off_t size = lseek(output, 0, SEEK_END);
    lseek(output, size > 20000 ? size - 20000 : 0, SEEK_SET);
    while ((count = read(output, bytes, sizeof bytes)) > 0)
        fwrite(bytes, 1, (size_t) count, stderr);
}

/* The process has ended with STATUS.  Returns whether nothing is wrong.  */
static bool finish(struct trial_set *set, struct job *job, int status)
{
    struct each_result *result = job->result;
    bool ended = WIFEXITED(status) && WEXITSTATUS(status) == ENDED && result->verdict != VERDICT_NONE;
    bool good = ended && result->failures == 0;
    if (good && job->source == SOURCE_NONE && result->verdict != VERDICT_PASSED)
        good = false;
    if (!good || getenv("FAIL_EACH_VERBOSE")) {
        char why[REASON] = "the case fails as it is";
        if (result->failures)
            snprintf(why, sizeof why, "%.*s", REASON - 1, result->reason);
        else if (!ended && WIFSIGNALED(status))
            snprintf(why, sizeof why, "ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
        else if (!ended)
            snprintf(why, sizeof why, "ended with status %d", WEXITSTATUS(status));
        else if (good)
            snprintf(why, sizeof why, "verdict %d, answers %u, given up %d, %ld ms", result->verdict, result->answers, result->given_up,
                     result->run_ms);
        const char *program = program_invocation_short_name;
        if (job->source == SOURCE_NONE)
            fprintf(stderr, "%s: %s %s: %s\n", good ? "trial" : "FAILED", program, set->test->name, why);
        else
            fprintf(stderr, "%s: %s %s: %s\n  again: LIBPAGER_TEST_ONLY=%s FAIL_EACH=1 FAIL_EACH_SOURCE=%s FAIL_EACH_N=%ld %s\n",
                    good ? "trial" : "FAILED", program, set->test->name, why, set->test->name, source_names[job->source], job->n,
                    program);
        if (good || set->details++ < DETAILS_MAX)
            print_output(job->output);
    }
    if (job->source != SOURCE_NONE) {
        if (good && !result->struck) {
            set->misses += job->n >= set->usual->counts[job->source];
        } else {
            set->trials++;
            set->passed += good && result->verdict == VERDICT_PASSED;
            set->otherwise += good && result->verdict == VERDICT_OTHERWISE;
            set->unjudged += good && result->verdict == VERDICT_UNJUDGED;
            set->by_call += (result->answers & ANSWER_CALL) != 0;
            set->by_error += (result->answers & ANSWER_ERROR) != 0;
            set->by_destroy += (result->answers & ANSWER_DESTROY) != 0;
            set->given_up += result->given_up;
            set->failed += !good;
        }
    }
    close(job->output);
    if (result != set->usual)
        munmap(result, sizeof *result);
    job->process = 0;
    set->running--;
    return good;
}

/* Wait for one process.  */
static bool reap(struct trial_set *set)
{
    int status;
    pid_t process;
    while ((process = waitpid(-1, &status, 0)) < 0 && errno == EINTR)
        ;
    for (int i = 0; i < JOBS_MAX; i++)
        if (set->jobs[i].process == process && process > 0)
            return finish(set, &set->jobs[i], status);
    if (process < 0) {
        perror("waitpid");
        exit(1);
    }
    return true;
}

/* ---- Every n ---- */

/* program case source trials passed otherwise unjudged call error destroy given-up failed  */
static void report_line(const struct trial_set *set, enum source source)
{
    const char *path = getenv("FAIL_EACH_TABLE");
    FILE *file = path ? fopen(path, "a") : stdout;
    if (!file)
        return;
    fprintf(file, "%s\t%s\t%s\t%ld\t%ld\t%ld\t%ld\t%ld\t%ld\t%ld\t%ld\t%ld\n", program_invocation_short_name, set->test->name,
            source_names[source], set->trials, set->passed, set->otherwise, set->unjudged, set->by_call, set->by_error, set->by_destroy,
            set->given_up, set->failed);
    if (path)
        fclose(file);
}

static struct job *free_job(struct trial_set *set)
{
    for (int i = 0; i < JOBS_MAX; i++)
        if (set->jobs[i].process == 0)
            return &set->jobs[i];
    abort();
}

/* The first n of every STEP: another one for each case and source, so that a part of all of them sees a bit of everything.  */
static long first_n(const struct trial_set *set, enum source source, long step)
{
    unsigned hash = 2166136261u + (unsigned) setting("FAIL_EACH_SEED", 0) * 97u;
    for (const char *c = set->test->name; *c; c++)
        hash = (hash ^ (unsigned char) *c) * 16777619u;
    for (const char *c = program_invocation_short_name; *c; c++)
        hash = (hash ^ (unsigned char) *c) * 16777619u;
    return (long) ((hash ^ (unsigned) source * 2654435761u) >> 4) % step;
}

static bool try_source(struct trial_set *set, enum source source, long step, int jobs)
{
    bool good = true;
    long only = setting("FAIL_EACH_N", -1);
    set->misses = 0;
    set->trials = set->passed = set->otherwise = set->unjudged = set->by_call = set->by_error = set->by_destroy = set->given_up = set->failed = 0;
    /* Threads make the count vary: with every n, the end is where it was too large several times.  A case that orders failures itself ends
       ours, and its own look like ours: so there is a limit.  (A case that hangs every time is not waited for.)  */
    long count = set->usual->counts[source], most = setting("FAIL_EACH_MOST", 0);
    if (most > 0 && step < (count + most - 1) / most)
        step = (count + most - 1) / most;
    long n = only >= 0 ? only : first_n(set, source, step);
    while ((n < count || (step == 1 && set->misses < MISSES && n <= 2 * count + BEYOND) || only >= 0) && set->failed < 20) {
        if (set->running == jobs)
            good &= reap(set);
        set->running++;
        start(set, free_job(set), source, n);
        n += step;
        if (only >= 0)
            break;
    }
    while (set->running)
        good &= reap(set);
    report_line(set, source);
    return good;
}

static bool try_case(struct trial_set *set, long step, int jobs)
{
    const char *only = getenv("FAIL_EACH_SOURCE");
    struct job *job = free_job(set);
    set->running = 1;
    start(set, job, SOURCE_NONE, -1);
    set->usual = job->result;
    if (!reap(set))
        return false;
    bool good = true;
    for (enum source source = 0; source < SOURCES; source++)
        if (!only || strcmp(only, source_names[source]) == 0)
            good &= try_source(set, source, step, jobs);
    munmap(set->usual, sizeof *set->usual);
    return good;
}

int __wrap__cmocka_run_group_tests(const char *group, const struct CMUnitTest *tests, size_t count, CMFixtureFunction setup,
                                   CMFixtureFunction teardown)
{
    long step = setting("FAIL_EACH", 0);
    if (step <= 0)
        return __real__cmocka_run_group_tests(group, tests, count, setup, teardown);
    const char *only = getenv("LIBPAGER_TEST_ONLY"), *without = getenv("FAIL_EACH_WITHOUT");
    long jobs = setting("FAIL_EACH_JOBS", 2);
    static struct trial_set set;
    bool good = true;
    for (size_t i = 0; i < count; i++) {
        if ((only && strcmp(only, tests[i].name) != 0) || (without && strstr(tests[i].name, without)))
            continue;
        set = (struct trial_set) { .test = &tests[i], .setup = setup, .teardown = teardown };
        good &= try_case(&set, step, jobs < 1 ? 1 : jobs > JOBS_MAX ? JOBS_MAX : (int) jobs);
    }
    return good ? 0 : 1;
}
