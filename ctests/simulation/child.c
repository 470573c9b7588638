#include "child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report.h"
#include "world.h"

static void be_child(const struct scenario *scenario, int fd, bool traced)
{
    int quiet = open("/dev/null", O_WRONLY);
    /* What the library logs and what scripted kernels complain of belongs to the trace. */
    dup2(traced ? fd : quiet, STDERR_FILENO);
    report_open(fd, traced);
    alarm(REAL_SECONDS_MAX);
    run_scenario(scenario);
    _exit(RUN_PASSED);
}

static void take_reason(struct outcome *outcome, const char *line)
{
    /* (Lines of a report are indented, but for the reason.) */
    if (outcome->reason[0] == 0 && line[0] != ' ' && strncmp(line, "libpager: ", 10) != 0
        && strncmp(line, "scripted kernel", 15) != 0)
        snprintf(outcome->reason, sizeof outcome->reason, "%.*s", (int) strcspn(line, "\n"), line);
}

struct outcome child_run(const struct scenario *scenario, FILE *output, bool traced)
{
    struct outcome outcome = { .failed = true };
    int ends[2];
    fflush(NULL);
    if (pipe(ends) != 0)
        abort();
    pid_t child = fork();
    if (child < 0)
        abort();
    if (child == 0) {
        close(ends[0]);
        be_child(scenario, ends[1], traced);
    }
    close(ends[1]);
    FILE *input = fdopen(ends[0], "r");
    char line[1024];
    while (fgets(line, sizeof line, input)) {
        take_reason(&outcome, line);
        if (output)
            fputs(line, output);
    }
    fclose(input);
    int status = 0;
    waitpid(child, &status, 0);
    outcome.failed = !WIFEXITED(status) || WEXITSTATUS(status) != RUN_PASSED;
    if (outcome.failed && outcome.reason[0] == 0)
        snprintf(outcome.reason, sizeof outcome.reason, WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM
                 ? "no end within %d s" : "the run ends without a word (status %#x)", WIFSIGNALED(status)
                 && WTERMSIG(status) == SIGALRM ? REAL_SECONDS_MAX : status);
    return outcome;
}
