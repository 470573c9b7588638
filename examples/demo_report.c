/* demo_report.c - the progress line, and the table at the end: one column a phase.  */

#include "demo.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <mach.h>
#include <pager/extensions.h>

#define PHASES_MAX 6
#define INTERVAL_MS 100             /* between two looks; on a terminal the line is renewed as often */
#define QUIET_INTERVAL_LOOKS 20     /* elsewhere a line is written each time so many have gone */

/* What was there at a moment.  */
struct snapshot {
    double time_s;
    struct pager_statistics statistics;
    struct image_counts image;
    unsigned long through_kernels_bytes;
};

struct phase {
    const char *name;
    struct snapshot start;
    struct pager_page_census census;    /* at its end */
    uint64_t descriptors, descriptor_bytes, map_bytes;      /* at its end */
    uint64_t most_descriptors;          /* that were seen during it */
};

static struct phase phases[PHASES_MAX];
static unsigned phase_count;
static struct snapshot last;

static pthread_t progress_thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;    /* phases, phase_count */
static atomic_int stopping;
static int is_terminal;

static void look(struct snapshot *snapshot)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snapshot->time_s = (double) now.tv_sec + (double) now.tv_nsec / 1e9;
    pager_get_statistics(demo.pager, &snapshot->statistics);
    image_get_counts(demo.pager, &snapshot->image);
    snapshot->through_kernels_bytes = 0;
    for (unsigned i = 0; i < MACHINES; i++)
        snapshot->through_kernels_bytes += demo.machines[i].image.read_bytes + demo.machines[i].image.written_bytes;
}


/* ---- The progress line ---- */

static void show_progress(void)
{
    struct snapshot now;
    look(&now);
    struct phase *phase = &phases[phase_count - 1];
    if (now.statistics.descriptors > phase->most_descriptors)
        phase->most_descriptors = now.statistics.descriptors;
    unsigned long total = atomic_load(&demo.total), done = atomic_load(&demo.done);
    printf("%s  %-9s %3lu%%  %8llu messages %7llu page-ins %7llu hand-offs %7.1f MB compared%s",
           is_terminal ? "\r" : "", phase->name, total ? done * 100 / total : 100,
           (unsigned long long) now.statistics.messages, (unsigned long long) now.statistics.page_ins,
           (unsigned long long) now.statistics.hand_offs, (double) demo.checked_bytes / 1e6,
           is_terminal ? "" : "\n");
    fflush(stdout);
}

static void *progress(void *argument)
{
    (void) argument;
    for (unsigned looks = 1; !stopping; looks++) {
        nanosleep(&(struct timespec) { .tv_nsec = INTERVAL_MS * 1000000L }, NULL);
        pthread_mutex_lock(&lock);
        if (phase_count > 0 && (is_terminal || looks % QUIET_INTERVAL_LOOKS == 0))
            show_progress();
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

void report_start(void)
{
    is_terminal = isatty(STDOUT_FILENO);
    if (pthread_create(&progress_thread, NULL, progress, NULL) != 0)
        complain(NULL, "no thread for the progress line");
}

/* With the lock held.  */
static void end_phase(void)
{
    if (phase_count == 0)
        return;
    struct phase *phase = &phases[phase_count - 1];
    show_progress();
    if (is_terminal)
        printf("\n");
    look(&last);
    pager_take_census(demo.pager, &phase->census);
    phase->descriptors = last.statistics.descriptors;
    phase->descriptor_bytes = last.statistics.descriptor_bytes;
    phase->map_bytes = last.statistics.map_bytes;
}

void report_phase(const char *name)
{
    pthread_mutex_lock(&lock);
    end_phase();
    if (phase_count < PHASES_MAX) {
        demo.total = demo.done = 0;
        phases[phase_count].name = name;
        look(&phases[phase_count++].start);
    }
    pthread_mutex_unlock(&lock);
}

void report_end(void)
{
    pthread_mutex_lock(&lock);
    end_phase();
    pthread_mutex_unlock(&lock);
    stopping = 1;
    pthread_join(progress_thread, NULL);
}


/* ---- The table ---- */

static const struct row {
    const char *name;
    size_t offset;
} rows[] = {
#define ROW(NAME, MEMBER) { NAME, offsetof(struct snapshot, MEMBER) }
    ROW("messages received", statistics.messages),
    ROW("page-ins (pager_read_page)", statistics.page_ins),
    ROW("page-outs (pages written)", statistics.page_outs),
    ROW("supplies", statistics.supplies),
    ROW("hand-offs, kernel to kernel", statistics.hand_offs),
    ROW("flushes of a kernel's page", statistics.flushes),
    ROW("downgrades, writer to reader", statistics.downgrades),
    ROW("unlocks, reader to writer", statistics.unlocks),
    ROW("old versions never written", statistics.skipped_writes),
    ROW("errors sent", statistics.errors),
    ROW("messages refused", statistics.refused),
    ROW("  unlocks that came late, of these", statistics.stale_unlocks),
#undef ROW
}, kernel_rows[] = {
#define ROW(NAME, MEMBER) { NAME, offsetof(struct mk_statistics, MEMBER) }
    ROW("page faults", faults),
    ROW("  that asked the pager", requests),
    ROW("  that asked it to let write", unlocks),
    ROW("  resolved by the kernel alone", minor_faults),
    ROW("pages supplied", supplied_pages),
    ROW("lock requests obeyed", lock_requests),
    ROW("pages returned", returned_pages),
    ROW("pages evicted for want of room", evictions),
    ROW("  dirty, of these", evicted_dirty),
#undef ROW
}, state_rows[] = {
#define ROW(NAME, MEMBER) { NAME, offsetof(struct phase, MEMBER) }
    ROW("touched", census.touched),
    ROW("at no kernel", census.unused),
    ROW("at one or more readers", census.readers),
    ROW("at one writer", census.writers),
    ROW("busy", census.busy),
    ROW("held for writing back", census.held),
    ROW("in error", census.in_error),
    ROW("in a shared descriptor", census.described),
#undef ROW
};

static uint64_t value(const void *base, size_t offset)
{
    return *(const uint64_t *) ((const char *) base + offset);
}

static void print_line(void)
{
    for (unsigned i = 0; i < 30 + 12 * MACHINES; i++)
        putchar('-');
    putchar('\n');
}

/* One figure a phase, as a difference of two snapshots, and the sum.  */
static void print_counts(void)
{
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        printf("%-30s", rows[r].name);
        for (unsigned i = 0; i < phase_count; i++) {
            const struct snapshot *end = i + 1 < phase_count ? &phases[i + 1].start : &last;
            printf("%12llu", (unsigned long long) (value(end, rows[r].offset)
                                                   - value(&phases[i].start, rows[r].offset)));
        }
        printf("%12llu\n", (unsigned long long) value(&last, rows[r].offset));
    }
    printf("%-30s", "seconds");
    for (unsigned i = 0; i < phase_count; i++)
        printf("%12.2f", (i + 1 < phase_count ? phases[i + 1].start.time_s : last.time_s) - phases[i].start.time_s);
    printf("%12.2f\n", last.time_s - phases[0].start.time_s);
}

static void print_states(void)
{
    printf("Pages, at the end of each phase\n");
    for (size_t r = 0; r < sizeof state_rows / sizeof state_rows[0]; r++) {
        printf("  %-28s", state_rows[r].name);
        for (unsigned i = 0; i < phase_count; i++)
            printf("%12llu", (unsigned long long) value(&phases[i], state_rows[r].offset));
        putchar('\n');
    }
    printf("%-30s", "Shared descriptors");
    for (unsigned i = 0; i < phase_count; i++)
        printf("%12llu", (unsigned long long) phases[i].descriptors);
    printf("\n%-30s", "  most that were seen");
    for (unsigned i = 0; i < phase_count; i++)
        printf("%12llu", (unsigned long long) phases[i].most_descriptors);
    printf("\n%-30s", "  bytes");
    for (unsigned i = 0; i < phase_count; i++)
        printf("%12llu", (unsigned long long) phases[i].descriptor_bytes);
    printf("\n%-30s", "Map, bytes a touched page");
    for (unsigned i = 0; i < phase_count; i++)
        printf("%12.2f", phases[i].census.touched
                         ? (double) phases[i].map_bytes / (double) phases[i].census.touched : 0.0);
    putchar('\n');
}

/* One column a kernel.  */
static void print_kernels(void)
{
    struct mk_statistics figures[MACHINES];
    printf("%-30s", "");
    for (unsigned i = 0; i < MACHINES; i++) {
        mk_get_statistics(demo.machines[i].kernel, &figures[i]);
        printf("%12s", demo.machines[i].name);
    }
    putchar('\n');
    print_line();
    for (size_t r = 0; r < sizeof kernel_rows / sizeof kernel_rows[0]; r++) {
        printf("%-30s", kernel_rows[r].name);
        for (unsigned i = 0; i < MACHINES; i++)
            printf("%12llu", (unsigned long long) value(&figures[i], kernel_rows[r].offset));
        putchar('\n');
    }
}

void report_table(double seconds)
{
    /* Late unlocks are nobody's fault: the flush that they crossed has answered them.  */
    uint64_t refused = last.statistics.refused - last.statistics.stale_unlocks;
    printf("\n%-30s", "");
    for (unsigned i = 0; i < phase_count; i++)
        printf("%12s", phases[i].name);
    printf("%12s\n", "all");
    print_line();
    print_counts();
    print_line();
    print_states();
    print_line();
    print_kernels();
    print_line();
    printf("The image: %.1f MB; %lu reads (%.1f MB), %lu writes (%.1f MB), %.1f pages a write.\n",
           (double) last.image.size / 1e6, last.image.reads, (double) last.image.read_bytes / 1e6, last.image.writes,
           (double) last.image.written_bytes / 1e6,
           last.image.writes ? (double) last.image.written_bytes / (double) vm_page_size / (double) last.image.writes : 0);
    printf("%d kernels moved %.1f MB through their mappings; %.1f MB were compared; %.2f s.\n", MACHINES,
           (double) last.through_kernels_bytes / 1e6, (double) demo.checked_bytes / 1e6, seconds);
    if (refused != 0)
        complain(NULL, "%llu messages were refused", (unsigned long long) refused);
    fflush(stdout);
}
