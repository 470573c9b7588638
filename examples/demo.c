/* demo.c - five kernels, one image, one pager: starting them, running the phases, taking everything down.  */

#include "demo.h"

#include <errno.h>
#include <et/com_err.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hostmach/hostmach.h>
#include <mach.h>
#include <pager/extensions.h>

/* The last two machines have little memory and evict: 4 MB and 0.5 MB.  */
static const size_t memory_pages[MACHINES] = { [3] = 1024, [4] = 128 };

/* More complaints than that help nobody.  */
#define COMPLAINTS_SHOWN 20

struct demo demo;

void complain(const struct machine *machine, const char *format, ...)
{
    va_list arguments;
    char text[512];
    if (atomic_fetch_add(&demo.failures, 1) >= COMPLAINTS_SHOWN)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n%s: %s\n", machine != NULL ? machine->name : "demo", text);
}

int failed(const struct machine *machine, const char *what, const char *path, errcode_t error)
{
    if (error)
        complain(machine, "cannot %s %s: %s", what, path, error_message(error));
    return error != 0;
}


/* ---- Running steps ---- */

struct errand {
    void (*step)(struct machine *);
    struct machine *machine;
};

static void *run_errand(void *argument)
{
    struct errand *errand = argument;
    errand->step(errand->machine);
    return NULL;
}

void run_on_all(void (*step)(struct machine *))
{
    pthread_t threads[MACHINES];
    struct errand errands[MACHINES];
    for (unsigned i = 0; i < MACHINES; i++) {
        errands[i] = (struct errand) { .step = step, .machine = &demo.machines[i] };
        if (pthread_create(&threads[i], NULL, run_errand, &errands[i]) != 0) {
            fprintf(stderr, "demo: cannot make a thread\n");
            abort();
        }
    }
    for (unsigned i = 0; i < MACHINES; i++)
        pthread_join(threads[i], NULL);
}

void run_on_one(unsigned number, void (*step)(struct machine *)) { step(&demo.machines[number]); }


/* ---- Starting and stopping ---- */

static int start_machines(void)
{
    struct image_counts counts;
    image_get_counts(demo.pager, &counts);
    for (unsigned i = 0; i < MACHINES; i++) {
        struct machine *machine = &demo.machines[i];
        machine->number = i;
        machine->random = 0x9e3779b97f4a7c15u * (i + 1);
        snprintf(machine->name, sizeof machine->name, "kernel %u", i + 1);
        machine->kernel = mk_kernel_create(machine->name, memory_pages[i]);
        if (machine->kernel == NULL) {
            fprintf(stderr, "imagepager_demo: no page faults here: %s\n", mk_explain(errno));
            return errno;
        }
        int error = mapped_open(&machine->image, machine->name, machine->kernel, demo.pager, counts.size, image_sync);
        if (error)
            return error;
    }
    return 0;
}

/* Two machines unmap in good order; the others learn from the pager that it is over.  */
static void leave(void)
{
    for (unsigned i = 0; i < 2; i++)
        if (mapped_close(&demo.machines[i].image) != 0)
            complain(&demo.machines[i], "cannot unmap");
}

/* The object is gone: its memory is still mapped, but must not be anything that one can read.  */
static void check_gone(struct machine *machine)
{
    char byte;
    if (mapped_read(&machine->image, 0, &byte, 1) == 0)
        complain(machine, "still reads the image after it was closed");
    if (mapped_close(&machine->image) != 0)
        complain(machine, "cannot unmap");
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static int give_up(const char *what, int error)
{
    fprintf(stderr, "imagepager_demo: %s: %s\n", what, strerror(error));
    return 2;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: imagepager_demo IMAGE TREE    (see scripts/demo)\n");
        return 2;
    }
    double start = seconds_now();
    demo.tree = argv[2];
    initialize_ext2_error_table();
    int error = list_tree();
    if (error || demo.file_count == 0)
        return give_up(demo.tree, error ? error : ENOENT);

    /* The translator: a bucket, workers, and the image's pager.  */
    struct pager_requests *requests;
    struct port_bucket *bucket = ports_create_bucket();
    if (bucket == NULL)
        return give_up("ports_create_bucket", errno);
    if ((error = pager_start_workers(bucket, &requests)) != 0)
        return give_up("pager_start_workers", error);
    if ((error = image_create(argv[1], bucket, &demo.pager)) != 0)
        return give_up(argv[1], error);
    pager_set_concurrent_reads(demo.pager, 4);      /* its pager_read_page may run in several threads */

    if ((error = start_machines()) != 0)
        return give_up("mapping the image", error);
    report_start();
    report_phase("reading");
    phase_reading();
    report_phase("rewriting");
    if (!demo.failures)
        phase_rewriting();
    report_phase("creating");
    if (!demo.failures)
        phase_creating();
    report_phase("leaving");
    if ((error = image_sync(demo.pager)) != 0)
        complain(NULL, "image_sync: %s", strerror(error));
    leave();
    ports_port_ref(demo.pager);                     /* for the report */
    if ((error = image_close(demo.pager)) != 0)
        complain(NULL, "image_close: %s", strerror(error));
    for (unsigned i = 2; i < MACHINES; i++)
        check_gone(&demo.machines[i]);
    report_end();
    report_table(seconds_now() - start);

    /* Nothing may be left: the last reference closes the file.  */
    ports_port_deref(demo.pager);
    for (unsigned i = 0; i < MACHINES; i++)
        mk_kernel_destroy(demo.machines[i].kernel);
    pager_stop_workers(requests);
    if ((error = ports_destroy_bucket(bucket)) != 0)
        complain(NULL, "the bucket is still in use: %s", strerror(error));
    if (hostmach_vm_bytes() != 0)
        complain(NULL, "%zu bytes of pages were never freed", hostmach_vm_bytes());
    free_tree();
    if (demo.failures)
        fprintf(stderr, "imagepager_demo: %d failures\n", demo.failures);
    return demo.failures ? 1 : 0;
}
