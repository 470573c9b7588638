/* main.c - the whole service, simulated: runs seeds, shrinks what fails, replays.

     simulation --seeds N [--first S] [--jobs J]     seeds S ... S+N-1 (1, 2 jobs); exit code 1 if any fails
     simulation --seed S [--schedule T] [--trace]    one, with every event
     simulation --replay FILE [--trace]              what an earlier failure printed
     simulation --repeat N [--first S]               each of N seeds twice: the same must happen
     --no-shrink                                     only say which seeds fail
     --stop                                          at the first that fails

   A failure prints its reason and a shrunk scenario, which a file for --replay can be made of by copying. */

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "random.h"
#include "shrink.h"
#include "totals.h"

enum { REASONS_MAX = 6 };

struct failure { uint64_t seed; char reason[160]; };

static struct {
    uint64_t seeds, first, jobs, seed, schedule, repeat;
    bool has_seed, has_schedule, traced, no_shrink, stop;
    const char *replay;
} options = { .first = 1, .jobs = 2 };

/* ---- Many ---- */

static void job(uint64_t number, int fd)
{
    for (uint64_t i = number; i < options.seeds; i += options.jobs) {
        static struct scenario scenario;
        scenario_make(&scenario, options.first + i);
        struct outcome outcome = child_run(&scenario, NULL, false);
        struct failure failure = { .seed = scenario.seed };
        memcpy(failure.reason, outcome.reason, sizeof failure.reason);
        if (outcome.failed && write(fd, &failure, sizeof failure) != sizeof failure)
            _exit(1);
        if (outcome.failed && options.stop)
            break;
    }
    _exit(0);
}

static void show(const struct failure *failure)
{
    static struct scenario scenario;
    scenario_make(&scenario, failure->seed);
    if (!options.no_shrink)
        shrink(&scenario, failure->reason);
    printf("\n---- seed %llu: %s\n", (unsigned long long) failure->seed, failure->reason);
    trace_write(&scenario, stdout);
    child_run(&scenario, stdout, false);
}

static int run_many(void)
{
    int ends[2];
    time_t began = time(NULL);
    if (pipe(ends) != 0)
        return 2;
    for (uint64_t i = 0; i < options.jobs; i++)
        if (fork() == 0) {
            close(ends[0]);
            job(i, ends[1]);
        }
    close(ends[1]);
    struct failure failure, shown[REASONS_MAX];
    unsigned long long failures = 0;
    unsigned reasons = 0;
    while (read(ends[0], &failure, sizeof failure) == sizeof failure) {
        printf("seed %llu fails: %s\n", (unsigned long long) failure.seed, failure.reason);
        fflush(stdout);
        bool is_new = reasons < REASONS_MAX;
        for (unsigned i = 0; i < reasons; i++)
            is_new = is_new && strcmp(shown[i].reason, failure.reason) != 0;
        if (is_new)
            shown[reasons++] = failure;
        failures++;
    }
    while (wait(NULL) > 0)
        ;
    totals_print();
    for (unsigned i = 0; i < reasons; i++)
        show(&shown[i]);
    printf("%llu seeds from %llu on, %llu failed, %ld s\n", (unsigned long long) options.seeds,
           (unsigned long long) options.first, failures, (long) (time(NULL) - began));
    return failures != 0;
}

/* ---- One ---- */

static int run_one(struct scenario *scenario)
{
    trace_write(scenario, stdout);
    struct outcome outcome = child_run(scenario, stdout, options.traced);
    printf("%s\n", outcome.failed ? "failed" : "passed");
    return outcome.failed;
}

/* ---- The same seed twice ---- */

static uint64_t digest(FILE *file)
{
    uint64_t sum = 0;
    int byte;
    rewind(file);
    while ((byte = getc(file)) != EOF)
        sum = random_mix(sum + (uint64_t) byte + 1);
    return sum;
}

static int run_twice(void)
{
    static struct scenario scenario;
    int differ = 0;
    for (uint64_t i = 0; i < options.repeat; i++) {
        uint64_t sums[2];
        for (int time = 0; time < 2; time++) {
            FILE *file = tmpfile();
            if (!file)
                return 2;
            scenario_make(&scenario, options.first + i);
            child_run(&scenario, file, true);
            sums[time] = digest(file);
            fclose(file);
        }
        if (sums[0] != sums[1]) {
            printf("seed %llu: two runs differ\n", (unsigned long long) scenario.seed);
            differ = 1;
        }
    }
    printf("%llu seeds run twice: %s\n", (unsigned long long) options.repeat, differ ? "they differ" : "the same each time");
    return differ;
}

/* ---- Options ---- */

static void parse(int argc, char **argv)
{
    enum { SEEDS, FIRST, JOBS, SEED, SCHEDULE, REPEAT, REPLAY, TRACED, NO_SHRINK, STOP };
    static const struct option known[] = {
        { "seeds", required_argument, NULL, SEEDS }, { "first", required_argument, NULL, FIRST },
        { "jobs", required_argument, NULL, JOBS }, { "seed", required_argument, NULL, SEED },
        { "schedule", required_argument, NULL, SCHEDULE }, { "repeat", required_argument, NULL, REPEAT },
        { "replay", required_argument, NULL, REPLAY }, { "trace", no_argument, NULL, TRACED },
        { "no-shrink", no_argument, NULL, NO_SHRINK }, { "stop", no_argument, NULL, STOP }, { NULL, 0, NULL, 0 },
    };
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        uint64_t value = optarg ? strtoull(optarg, NULL, 0) : 0;
        switch (option) {
        case SEEDS: options.seeds = value; break;
        case FIRST: options.first = value; break;
        case JOBS: options.jobs = value ? value : 1; break;
        case SEED: options.seed = value; options.has_seed = true; break;
        case SCHEDULE: options.schedule = value; options.has_schedule = true; break;
        case REPEAT: options.repeat = value; break;
        case REPLAY: options.replay = optarg; break;
        case TRACED: options.traced = true; break;
        case NO_SHRINK: options.no_shrink = true; break;
        case STOP: options.stop = true; break;
        default: exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    static struct scenario scenario;
    /* Addresses must be the same in each run. */
    int persona = personality(0xffffffff);
    if (persona != -1 && !(persona & ADDR_NO_RANDOMIZE) && personality((unsigned long) persona | ADDR_NO_RANDOMIZE) != -1)
        execv("/proc/self/exe", argv);
    parse(argc, argv);
    totals_open();
    if (options.repeat)
        return run_twice();
    if (options.seeds)
        return run_many();
    if (options.replay) {
        FILE *file = fopen(options.replay, "r");
        if (!file || !trace_read(&scenario, file)) {
            fprintf(stderr, "%s: no trace\n", options.replay);
            return 2;
        }
        return run_one(&scenario);
    }
    if (!options.has_seed) {
        fprintf(stderr, "what? --seeds N, --seed S, --replay FILE or --repeat N (see main.c)\n");
        return 2;
    }
    scenario_make(&scenario, options.seed);
    if (options.has_schedule)
        scenario_reschedule(&scenario, options.schedule);
    return run_one(&scenario);
}
