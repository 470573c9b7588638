/* mapped.h with the real kernel: there is one, and it maps the pager into our own task.

   What it has of a page is read with mach_debug.defs' calls. What the pager sends it is counted on its way (the linker's --wrap), by
   control port. A page is pushed out by a lock_request of our own, which sends what pageout sends.

   This kernel runs one thread at a time and does not leave it within a call that does not wait: a page that is seen as asked for has been
   asked for, the message is in the queue.  */

#include "mapped.h"

#include <sched.h>
#include <stdio.h>

#include <mach_debug/mach_debug.h>
#include <mach_debug/vm_info.h>

#include <bare/bare.h>

#include "engine.h"
#include "runner.h"

const int mapped_kernels_max = 1;

/* ---- What the pager says to kernels ---- */

enum { ERRORS = 64 };

struct mk_kernel {
    struct mk_kernel *next;
    mach_port_t pager, control;
    struct mapped_figures figures;
    unsigned locking;               /* lock requests that are being executed */
    struct { vm_offset_t offset; int error; } errors[ERRORS];      /* the last ones; offset + 1, 0: unused */
    unsigned next_error;
};

static struct mk_kernel *seen;
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local mach_port_t initialized;

/* With the lock.  */
static struct mk_kernel *find(mach_port_t control)
{
    struct mk_kernel *kernel = seen;
    while (kernel && kernel->control != control)
        kernel = kernel->next;
    return kernel;
}

static struct mk_kernel *find_of(mach_port_t pager)
{
    pthread_mutex_lock(&seen_lock);
    struct mk_kernel *kernel = seen;
    while (kernel && kernel->pager != pager)
        kernel = kernel->next;
    pthread_mutex_unlock(&seen_lock);
    return kernel;
}

static void begin(mach_port_t control)
{
    pthread_mutex_lock(&seen_lock);
    struct mk_kernel *kernel = find(control), *next = seen;
    if (!kernel) {
        kernel = calloc(1, sizeof *kernel);
        seen = kernel;
    } else {
        next = kernel->next;
    }
    *kernel = (struct mk_kernel) { .next = next, .pager = initialized, .control = control };
    /* There is one real kernel: its record of the time before is history.  (A scripted one's is not looked for by pager.)  */
    for (struct mk_kernel *other = seen; other; other = other->next)
        if (other != kernel && other->pager == initialized)
            other->pager = MACH_PORT_NULL;
    pthread_mutex_unlock(&seen_lock);
}

static void set_error(struct mk_kernel *kernel, vm_offset_t offset, int error)
{
    for (int i = 0; i < ERRORS; i++)
        if (kernel->errors[i].offset == offset + 1)
            kernel->errors[i].offset = 0;
    if (error) {
        kernel->errors[kernel->next_error].offset = offset + 1;
        kernel->errors[kernel->next_error].error = error;
        kernel->next_error = (kernel->next_error + 1) % ERRORS;
    }
}

static int get_error(struct mk_kernel *kernel, vm_offset_t offset)
{
    int error = 0;
    pthread_mutex_lock(&seen_lock);
    for (int i = 0; i < ERRORS; i++)
        if (kernel->errors[i].offset == offset + 1)
            error = kernel->errors[i].error;
    pthread_mutex_unlock(&seen_lock);
    return error;
}

#define WRAP(name, ...) \
    kern_return_t __real_##name(__VA_ARGS__); \
    kern_return_t __wrap_##name(__VA_ARGS__); \
    kern_return_t __wrap_##name(__VA_ARGS__)

WRAP(_pager_S_memory_object_init, pager_t pager, mach_port_t control, mach_port_t name, vm_size_t page_size)
{
    initialized = pager_port_of(pager);
    return __real__pager_S_memory_object_init(pager, control, name, page_size);
}

WRAP(pager_control_memory_object_ready, mach_port_t control, boolean_t may_cache, memory_object_copy_strategy_t strategy)
{
    begin(control);
    kern_return_t result = __real_pager_control_memory_object_ready(control, may_cache, strategy);
    wait_executed(control);
    return result;
}

WRAP(pager_control_memory_object_data_supply, mach_port_t control, vm_offset_t offset, vm_offset_t data,
     mach_msg_type_number_t count, boolean_t deallocate, vm_prot_t lock_value, boolean_t precious, mach_port_t reply_to)
{
    pthread_mutex_lock(&seen_lock);
    struct mk_kernel *kernel = find(control);
    if (kernel) {
        kernel->figures.supplied += (unsigned) (count / vm_page_size);
        for (vm_size_t at = 0; at < count; at += vm_page_size)
            set_error(kernel, offset + at, 0);
    }
    pthread_mutex_unlock(&seen_lock);
    kern_return_t result = __real_pager_control_memory_object_data_supply(control, offset, data, count, deallocate, lock_value, precious,
                                                                          reply_to);
    wait_executed(control);
    return result;
}

WRAP(pager_control_memory_object_data_error, mach_port_t control, vm_offset_t offset, vm_size_t size, kern_return_t error)
{
    pthread_mutex_lock(&seen_lock);
    struct mk_kernel *kernel = find(control);
    if (kernel) {
        kernel->figures.refused += (unsigned) (size / vm_page_size);
        for (vm_size_t at = 0; at < size; at += vm_page_size)
            set_error(kernel, offset + at, error);
    }
    pthread_mutex_unlock(&seen_lock);
    kern_return_t result = __real_pager_control_memory_object_data_error(control, offset, size, error);
    wait_executed(control);
    return result;
}

WRAP(pager_control_memory_object_lock_request, mach_port_t control, vm_offset_t offset, vm_size_t size,
     memory_object_return_t should_return, boolean_t should_flush, vm_prot_t lock_value, mach_port_t reply_to)
{
    /* Executed in here: counted when it is.  */
    pthread_mutex_lock(&seen_lock);
    struct mk_kernel *kernel = find(control);
    if (kernel)
        kernel->locking++;
    pthread_mutex_unlock(&seen_lock);
    kern_return_t result = __real_pager_control_memory_object_lock_request(control, offset, size, should_return, should_flush,
                                                                           lock_value, reply_to);
    wait_executed(control);
    pthread_mutex_lock(&seen_lock);
    /* (It may have ended meanwhile, or have another port.)  */
    if (kernel && kernel == find(control)) {
        kernel->locking -= kernel->locking != 0;
        kernel->figures.locks++;
    }
    pthread_mutex_unlock(&seen_lock);
    return result;
}

WRAP(pager_control_memory_object_change_attributes, mach_port_t control, boolean_t may_cache,
     memory_object_copy_strategy_t strategy, mach_port_t reply_to)
{
    kern_return_t result = __real_pager_control_memory_object_change_attributes(control, may_cache, strategy, reply_to);
    wait_executed(control);
    return result;
}

WRAP(pager_control_memory_object_destroy, mach_port_t control, kern_return_t reason)
{
    kern_return_t result = __real_pager_control_memory_object_destroy(control, reason);
    wait_executed(control);
    return result;
}

WRAP(_pager_S_memory_object_data_return, pager_t pager, mach_port_t control, vm_offset_t offset, vm_offset_t data,
     mach_msg_type_number_t count, boolean_t dirty, boolean_t kernel_copy)
{
    pthread_mutex_lock(&seen_lock);
    struct mk_kernel *kernel = find(control);
    if (kernel)
        kernel->figures.returns++;
    pthread_mutex_unlock(&seen_lock);
    return __real__pager_S_memory_object_data_return(pager, control, offset, data, count, dirty, kernel_copy);
}

/* ---- Mapping ---- */

int mapped_start(void) { return 0; }
void mapped_begin(void) { }
void mapped_make(struct client *client) { (void) client; }

void mapped_unmap(struct client *client)
{
    assert_int_equal(vm_deallocate(mach_task_self(), (vm_address_t) client->memory, client->pages * vm_page_size), KERN_SUCCESS);
    client->memory = NULL;
}

void mapped_destroy(struct client *client)
{
    if (client->memory)
        mapped_unmap(client);
}

void mapped_kill(struct client *client)
{
    (void) client;
    fail_msg("the real kernel cannot die alone: see skipped.c");
}

/* ---- Looking ---- */

/* The kernel's object behind the client's mapping; a send right for the caller.  MACH_PORT_NULL: none.  */
static mach_port_t object_of(struct client *client)
{
    struct vm_region_info region;
    mach_port_t object = MACH_PORT_NULL;
    if (client->memory == NULL)
        return MACH_PORT_NULL;
    if (mach_vm_region_info(mach_task_self(), (vm_address_t) client->memory, &region, &object) != KERN_SUCCESS)
        return MACH_PORT_NULL;
    assert_int_equal(region.vri_start, (vm_address_t) client->memory);
    return object;
}

static int info_of(struct client *client, struct vm_object_info *info)
{
    mach_port_t shadow = MACH_PORT_NULL, copy = MACH_PORT_NULL, object = object_of(client);
    if (!MACH_PORT_VALID(object))
        return 0;
    kern_return_t result = mach_vm_object_info(object, info, &shadow, &copy);
    mach_port_deallocate(mach_task_self(), object);
    if (result != KERN_SUCCESS)
        return 0;
    if (MACH_PORT_VALID(shadow))
        mach_port_deallocate(mach_task_self(), shadow);
    if (MACH_PORT_VALID(copy))
        mach_port_deallocate(mach_task_self(), copy);
    return 1;
}

/* The pager has said that it will serve this client, or that it will not.  */
static bool is_settled(void *argument)
{
    struct vm_object_info info;
    return !info_of(argument, &info) || (info.voi_state & VOI_STATE_PAGER_READY) || !(info.voi_state & VOI_STATE_PAGER_CREATED);
}

int mapped_map(struct client *client, mach_port_t port)
{
    vm_address_t address = 0;
    kern_return_t result = vm_map(mach_task_self(), &address, client->pages * vm_page_size, 0, TRUE, port, 0, FALSE, RW, VM_PROT_ALL,
                                  VM_INHERIT_NONE);
    client->memory = result ? NULL : (volatile unsigned char *) address;
    if (result)
        return result;
    /* vm_map itself does not wait for the pager.  */
    wait_for(is_settled, client);
    client->mapped = find_of(port);
    return 0;
}

/* FUNCTION for each page that the kernel has of the client's object.  */
static void for_each_page(struct client *client, void (*function)(const vm_page_info_t *, void *), void *argument)
{
    vm_page_info_t few[64];
    vm_page_info_array_t pages = few;
    mach_msg_type_number_t count = sizeof few / sizeof *few;
    mach_port_t object = object_of(client);
    if (object == MACH_PORT_NULL)
        return;
    kern_return_t result = mach_vm_object_pages(object, &pages, &count);
    assert_int_equal(result, KERN_SUCCESS);
    for (mach_msg_type_number_t i = 0; i < count; i++)
        function(&pages[i], argument);
    if (pages != few)
        vm_deallocate(mach_task_self(), (vm_address_t) pages, count * sizeof *pages);
    mach_port_deallocate(mach_task_self(), object);
}

struct search {
    vm_offset_t offset;
    vm_page_info_t found;
    int there;
};

static void compare(const vm_page_info_t *page, void *argument)
{
    struct search *search = argument;
    if (page->vpi_offset == search->offset) {
        search->found = *page;
        search->there = 1;
    }
}

struct mapped_page mapped_page(struct client *client, size_t page)
{
    struct search search = { .offset = page_offset(page) };
    struct mapped_page result = { .state = SK_PAGE_ABSENT };
    /* Busy and not asked for: the kernel is about to return it.  */
    for (;;) {
        search.there = 0;
        for_each_page(client, compare, &search);
        if (!search.there || !(search.found.vpi_state & VPI_STATE_BUSY) || (search.found.vpi_state & VPI_STATE_ABSENT))
            break;
        sched_yield();
    }
    if (client->mapped)
        result.last_error = get_error(client->mapped, search.offset);
    if (!search.there || (search.found.vpi_state & VPI_STATE_ERROR))
        return result;
    if (search.found.vpi_state & VPI_STATE_ABSENT) {
        result.state = SK_PAGE_REQUESTED;
        return result;
    }
    result.state = SK_PAGE_PRESENT;
    result.lock = search.found.vpi_page_lock;
    result.dirty = (search.found.vpi_state & VPI_STATE_DIRTY) != 0;
    result.precious = (search.found.vpi_state & VPI_STATE_PRECIOUS) != 0;
    result.unlocking = search.found.vpi_unlock_request != VM_PROT_NONE;
    return result;
}

static void count_present(const vm_page_info_t *page, void *argument)
{
    if (!(page->vpi_state & (VPI_STATE_ABSENT | VPI_STATE_ERROR)))
        ++*(unsigned *) argument;
}

struct mapped_figures mapped_figures(struct client *client)
{
    pthread_mutex_lock(&seen_lock);
    /* A thread that a lock request lets go on may be here before the request is counted. One that the kernel keeps is not waited for.  */
    for (int i = 0; i < 100 && client->mapped->locking != 0; i++) {
        pthread_mutex_unlock(&seen_lock);
        platform_pause_ms(1);
        pthread_mutex_lock(&seen_lock);
    }
    struct mapped_figures figures = client->mapped->figures;
    pthread_mutex_unlock(&seen_lock);
    figures.resident = 0;
    for_each_page(client, count_present, &figures.resident);
    return figures;
}

void mapped_attributes(struct client *client, boolean_t *may_cache, memory_object_copy_strategy_t *strategy)
{
    struct vm_object_info info;
    assert_true(info_of(client, &info));
    *may_cache = (info.voi_state & VOI_STATE_CAN_PERSIST) != 0;
    *strategy = info.voi_copy_strategy;
}

/* ---- Touching ---- */

int mapped_touch(volatile unsigned char *where, enum mapped_touch how, unsigned char *byte)
{
    static volatile unsigned char nothing;      /* so that the compiler does not see that it is nothing */
    struct bare_recovery recovery = { .start = { (uintptr_t) where }, .size = { 1 } };
    struct bare_recovery *volatile outer = NULL;
    volatile int caught = 0;
    if (setjmp(recovery.back) == 0) {
        outer = bare_recover(&recovery);
        if (how == TOUCH_WRITE)
            __atomic_store_n(where, *byte, __ATOMIC_RELAXED);
        else if (how == TOUCH_CLAIM)
            __atomic_fetch_or(where, nothing, __ATOMIC_SEQ_CST);
        else
            *byte = __atomic_load_n(where, __ATOMIC_RELAXED);
    } else {
        caught = recovery.fault.code;
    }
    bare_recover(outer);
    return caught;
}

int mapped_error(struct client *client, size_t page, int caught)
{
    if (caught == 0)
        return 0;
    int error = mapped_page(client, page).last_error;
    return caught == KERN_MEMORY_ERROR && error != 0 ? error : -caught;
}

struct told {
    struct client *client;
    struct fault *fault;
};

static bool is_told(void *argument)
{
    struct told *told = argument;
    struct mapped_page page = mapped_page(told->client, told->fault->page);
    return page.state == SK_PAGE_REQUESTED || page.unlocking || task_done(&told->fault->task);
}

void mapped_begin_fault(struct client *client, struct fault *fault)
{
    struct told told = { client, fault };
    task_begin(&fault->task, mapped_run_fault, fault);
    wait_for(is_told, &told);
}

mach_port_t mapped_control(struct client *client) { return client->mapped->control; }

int mapped_evict(struct client *client, size_t page)
{
    struct mapped_page info = mapped_page(client, page);
    if (client->memory == NULL)
        return EINVAL;
    if (info.state == SK_PAGE_ABSENT)
        return ENOENT;
    if (info.state == SK_PAGE_REQUESTED || info.unlocking)
        return EBUSY;
    return memory_object_lock_request(client->mapped->control, page_offset(page), vm_page_size, MEMORY_OBJECT_RETURN_ALL, TRUE,
                                      VM_PROT_NO_CHANGE, MACH_PORT_NULL);
}
