#include "land.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

static _Thread_local sigjmp_buf escape;
static _Thread_local volatile sig_atomic_t armed;
_Thread_local void *touch_address;

static void on_signal(int signal_number, siginfo_t *info, void *context)
{
    (void) context;
    if (!armed) {
        signal(signal_number, SIG_DFL);
        return;
    }
    touch_address = info->si_addr;
    siglongjmp(escape, signal_number);
}

void catch_signals(void)
{
    struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
}

enum kind { READ, WRITE, CLAIM };

static int touch(memory where, enum kind kind, unsigned char *byte)
{
    static volatile unsigned char nothing;      /* so that the compiler does not see that it is nothing */
    int caught = sigsetjmp(escape, 1);
    if (caught == 0) {
        armed = 1;
        if (kind == WRITE)
            __atomic_store_n(where, *byte, __ATOMIC_RELAXED);
        else if (kind == CLAIM)
            __atomic_fetch_or(where, nothing, __ATOMIC_SEQ_CST);
        else
            *byte = __atomic_load_n(where, __ATOMIC_RELAXED);
    }
    armed = 0;
    if (caught == SIGBUS)
        mk_error_taken(touch_address);
    return caught;
}

int touch_read(memory where, unsigned char *byte) { return touch(where, READ, byte); }
int touch_write(memory where, unsigned char byte) { return touch(where, WRITE, &byte); }
int touch_claim(memory where) { return touch(where, CLAIM, NULL); }

unsigned char peek(memory where)
{
    unsigned char byte = 0;
    assert_int_equal(touch_read(where, &byte), 0);
    return byte;
}

void poke(memory where, unsigned char byte) { assert_int_equal(touch_write(where, byte), 0); }

static int run_touch(void *argument)
{
    struct touch *touch_ = argument;
    int result = touch(touch_->where, touch_->write ? WRITE : READ, &touch_->byte);
    touch_->address = touch_address;
    return result;
}

void touch_begin(struct touch *touch_, memory where, bool write, unsigned char byte)
{
    *touch_ = (struct touch) { .where = where, .write = write, .byte = byte };
    task_begin(&touch_->task, run_touch, touch_);
}

int touch_end(struct touch *touch_) { return task_end(&touch_->task); }

static unsigned count_files(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

void land_open_with(struct land *land, int kernels, size_t pages, size_t cache, boolean_t may_cache,
                    memory_object_copy_strategy_t strategy, boolean_t notify)
{
    *land = (struct land) { .count = kernels };
    int error = mk_start();
    if (error != 0)
        fprintf(stderr, "%s\n", mk_explain(error));
    assert_int_equal(error, 0);
    mk_set_error_hold(10000);           /* tests say themselves that they have seen an error */
    land->files_before = count_files();
    world_open_with(&land->world, pages, may_cache, strategy, notify);
    catch_signals();
    for (int i = 0; i < kernels; i++) {
        char name[] = { (char) ('A' + i), 0 };
        land->kernels[i] = mk_kernel_create(name, cache);
        assert_non_null(land->kernels[i]);
    }
}

void land_open(struct land *land, int kernels, size_t pages, size_t cache)
{
    land_open_with(land, kernels, pages, cache, 0, MEMORY_OBJECT_COPY_DELAY, 0);
}

void land_lose(struct land *land, int index)
{
    mk_kernel_destroy(land->kernels[index]);
    land->kernels[index] = NULL;
}

void land_close(struct land *land)
{
    mk_enter(NULL);
    for (int i = 0; i < CALL_COUNT; i++)
        store_open_gate(&land->world, i);
    for (int i = 0; i < land->count; i++)
        if (land->kernels[i])
            land_lose(land, i);
    world_close(&land->world);
    assert_int_equal(count_files(), land->files_before);
}

kern_return_t land_try(struct land *land, int index, vm_address_t *address, size_t first, size_t count, vm_prot_t protection)
{
    mk_kernel *previous = mk_enter(land->kernels[index]);
    kern_return_t kr = vm_map(mach_task_self(), address, count * vm_page_size, 0, *address == 0, land->world.port, page_offset(first),
                              FALSE, protection, VM_PROT_ALL, VM_INHERIT_NONE);
    mk_enter(previous);
    return kr;
}

memory land_map(struct land *land, int index, size_t first, size_t count, vm_prot_t protection)
{
    vm_address_t address = 0;
    assert_int_equal(land_try(land, index, &address, first, count, protection), KERN_SUCCESS);
    return (memory) address;
}

void unmap(memory where, size_t pages)
{
    assert_int_equal(vm_deallocate(mach_task_self(), (vm_address_t) where, pages * vm_page_size), KERN_SUCCESS);
}

struct mk_page_info page_info(memory where)
{
    struct mk_page_info info;
    assert_int_equal(mk_page_info((const void *) where, &info), KERN_SUCCESS);
    return info;
}

struct mk_statistics statistics(struct land *land, int index)
{
    struct mk_statistics figures;
    mk_get_statistics(land->kernels[index], &figures);
    return figures;
}

struct faults {
    mk_kernel *kernel;
    uint64_t faults;
};

static bool has_faults(void *argument)
{
    struct faults *wanted = argument;
    struct mk_statistics figures;
    mk_get_statistics(wanted->kernel, &figures);
    return figures.faults >= wanted->faults;
}

void wait_kernel_faults(mk_kernel *kernel, uint64_t faults)
{
    struct faults wanted = { kernel, faults };
    wait_for(has_faults, &wanted);
}

void wait_faults(struct land *land, int index, uint64_t faults) { wait_kernel_faults(land->kernels[index], faults); }
