/* kernels.c - the kernels of the world: they are scripted kernels, whose memory is compared with the model at every touch.

   sk_read, sk_write and sk_peek end with letting go a lock, where no other thread gets to run (threads.c): so what they did happens at
   the moment at which they return.

   What leaves a kernel's memory is seen by two functions of the scripted kernel that are wrapped: sk_send (a data_return: the pager is
   given the page) and sk_page_drop (a dirty page that was not returned is lost). */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"           /* of the scripted kernel: struct sk_object */
#include "model.h"
#include "report.h"
#include "totals.h"
#include "world.h"

enum { RETURNS_MAX = 512 };

/* data_returns that are being sent, and pages that were returned and are not dropped yet. */
static struct returning {
    const struct sk_object *object;
    unsigned page;
    struct candidates before;
} returning[RETURNS_MAX];
static struct { const struct sk_object *object; vm_offset_t offset; } returned[RETURNS_MAX];
static unsigned returned_count;

static struct machine *machine_of(const struct sk_kernel *kernel)
{
    for (unsigned i = 0; i < world.configuration->kernels; i++)
        if (world.machines[i].kernel == kernel)
            return &world.machines[i];
    return NULL;
}

static bool is_dying(const struct sk_kernel *kernel)
{
    const struct machine *machine = machine_of(kernel);
    return machine == NULL || machine->dying;
}

static bool is_hostile(const struct sk_kernel *kernel)
{
    const struct machine *machine = machine_of(kernel);
    return machine != NULL && machine->hostile;
}

/* ---- What leaves a kernel ---- */

int __real_sk_send(struct sk_object *object, struct sk_message *message, const void *data, mach_port_t reply,
                   mach_msg_type_name_t reply_type);
int __wrap_sk_send(struct sk_object *object, struct sk_message *message, const void *data, mach_port_t reply,
                   mach_msg_type_name_t reply_type);
void __real_sk_page_drop(struct sk_object *object, struct sk_page *page);
void __wrap_sk_page_drop(struct sk_object *object, struct sk_page *page);

static struct returning *note_return(const struct sk_object *object, unsigned page)
{
    for (unsigned i = 0; i < RETURNS_MAX; i++)
        if (returning[i].object == NULL) {
            returning[i] = (struct returning) { object, page, model_page(page)->fallback };
            return &returning[i];
        }
    report_failure("simulation: too many returns at once");
}

int __wrap_sk_send(struct sk_object *object, struct sk_message *message, const void *data, mach_port_t reply,
                   mach_msg_type_name_t reply_type)
{
    if (message->id != SK_DATA_RETURN || is_hostile(object->kernel))
        return __real_sk_send(object, message, data, reply, reply_type);
    struct returning *notes[SK_RUN_PAGES_MAX];
    unsigned count = 0;
    for (vm_size_t at = 0; at < message->length; at += vm_page_size) {
        int page = page_at(message->offset + at);
        if (page < 0)
            continue;
        notes[count++] = note_return(object, (unsigned) page);
        model_returned((unsigned) page, (const char *) data + at, message->dirty, is_dying(object->kernel), object->kernel->name);
        if (!message->kernel_copy && returned_count < RETURNS_MAX) {
            returned[returned_count].object = object;
            returned[returned_count++].offset = message->offset + at;
        }
    }
    bool dirty = message->dirty;
    int error = __real_sk_send(object, message, data, reply, reply_type);
    while (count > 0)
        notes[--count]->object = NULL;
    if (error && dirty && !is_dying(object->kernel) && !world.lossy)
        report_failure("dirty data come back when nobody takes them: error %#x", (unsigned) error);
    return error;
}

void __wrap_sk_page_drop(struct sk_object *object, struct sk_page *page)
{
    int index = page_at(page->offset);
    bool is_returned = false;
    for (unsigned i = 0; i < returned_count && !is_returned; i++)
        if (returned[i].object == object && returned[i].offset == page->offset) {
            is_returned = true;
            returned[i] = returned[--returned_count];
        }
    if (index >= 0 && page->state == SK_PAGE_PRESENT && !is_returned) {
        if (page->dirty)
            model_lost((unsigned) index);
        else
            model_dropped((unsigned) index);
    }
    __real_sk_page_drop(object, page);
}

/* Every message that a kernel sends or gets. */
void __real_sk_log_add(struct sk_object *object, struct sk_message *message);
void __wrap_sk_log_add(struct sk_object *object, struct sk_message *message);
void __wrap_sk_log_add(struct sk_object *object, struct sk_message *message)
{
    static const char *const names[] = {
        [SK_INIT - SK_INIT] = "init", [SK_TERMINATE - SK_INIT] = "terminate", [SK_COPY - SK_INIT] = "copy",
        [SK_DATA_REQUEST - SK_INIT] = "data_request", [SK_DATA_UNLOCK - SK_INIT] = "data_unlock",
        [SK_LOCK_COMPLETED - SK_INIT] = "lock_completed", [SK_SUPPLY_COMPLETED - SK_INIT] = "supply_completed",
        [SK_DATA_RETURN - SK_INIT] = "data_return", [SK_CHANGE_COMPLETED - SK_INIT] = "change_completed",
    };
    mach_msg_id_t id = message->id;
    const char *name = id >= SK_INIT && id <= SK_CHANGE_COMPLETED ? names[id - SK_INIT] : NULL;
    name = name ? name : id == SK_LOCK_REQUEST ? "lock_request" : id == SK_DATA_ERROR ? "data_error" : id == SK_DESTROY ? "destroy"
        : id == SK_DATA_SUPPLY ? "data_supply" : id == SK_READY ? "ready" : id == SK_CHANGE_ATTRIBUTES ? "change_attributes" : "?";
    TRACE("%s %s %s, offset %#lx, length %#lx, access %d, return %d%s%s%s%s, error %d", object->kernel->name,
          id >= SK_INIT ? "->" : "<-", name, (unsigned long) message->offset, (unsigned long) message->length, message->access,
          message->should_return, message->should_flush ? ", flush" : "", message->dirty ? ", dirty" : "",
          message->kernel_copy ? ", kept" : "", message->precious ? ", precious" : "", message->error);
    model_goes_on(sim_self());
    __real_sk_log_add(object, message);
}

/* ---- Touching ---- */

static bool has_page(const struct sk_object *object, unsigned page)
{
    for (size_t i = 0; i < object->page_count; i++)
        if (object->pages[i]->offset == page_offset(page))
            return object->pages[i]->state == SK_PAGE_PRESENT && !object->pages[i]->busy;
    return false;
}

/* (A hostile kernel, which an offer may give any page, can say that it has given a page back and keep it.)  */
bool is_page_resident(unsigned page)
{
    for (unsigned i = 0; i < world.configuration->kernels; i++)
        if (!world.machines[i].hostile && world.machines[i].object && has_page(world.machines[i].object, page))
            return true;
    return false;
}

void check_error(unsigned page, int error, const char *what)
{
    totals_add(TOTAL_ERRORS, 1);
    TRACE("%s of page %u fails: %#x", what, page, (unsigned) error);
    if (world.closing || world.configuration->shortage || model_page(page)->may_fail)
        return;
    report_failure("%s of a page fails, though nothing failed: %#x", what, (unsigned) error);
}

/* The pager refused the object, or ended it: map it again. */
static void remap_if_dead(unsigned index, const struct sk_object *object)
{
    struct machine *machine = &world.machines[index];
    if (machine->object != object || machine->changing || machine->dying || world.closing)
        return;
    if (!world.configuration->shortage && !machine->hostile)
        report_failure("the pager gives a client up that did nothing wrong");
    machine->changing = true;
    sk_terminate(machine->object);
    machine_start(index);
    machine->changing = false;
}

static bool has_failed(unsigned index, sk_object *object, unsigned page, int error, const char *what)
{
    if (!error)
        return false;
    if (object->dead != 0)
        remap_if_dead(index, object);
    else if (!object->terminating && !object->kernel->dead)
        check_error(page, error, what);
    return true;
}

/* Mach lets nobody touch an object before its pager is ready. (Where memory is short a kernel may wait in vain.) */
static int await_ready(sk_object *object) { return sk_wait_ready(object, 60000); }

void machine_read(unsigned index, unsigned page)
{
    char bytes[4096];
    sk_object *object = world.machines[index].object;
    int error = await_ready(object);
    if (!error)
        error = sk_read(object, page_offset(page), bytes, sizeof bytes);
    if (!has_failed(index, object, page, error, "a read"))
        model_touched(page, bytes, -1, 0, object->kernel->name);
}

void machine_write(unsigned index, unsigned page, uint32_t chance)
{
    char bytes[4096];
    enum { CELL_BYTES = sizeof bytes / CELLS };
    struct machine *machine = &world.machines[index];
    sk_object *object = machine->object;
    unsigned cell = chance % CELLS;
    if (page < world.configuration->quiet_pages)
        return machine_read(index, page);
    memset(bytes, 0x55, sizeof bytes);
    /* This gets the right to write; what is written is decided at the moment at which it is there. */
    int error = await_ready(object);
    if (!error)
        error = sk_write(object, page_offset(page) + cell * CELL_BYTES, bytes, CELL_BYTES);
    if (has_failed(index, object, page, error, "a write"))
        return;
    sim_begin_atomic();
    uint32_t value = model_next_value(page);
    model_fill_cell(page, cell, value, bytes);
    if (sk_poke(object, page_offset(page) + cell * CELL_BYTES, bytes, CELL_BYTES) != 0
        || sk_peek(object, page_offset(page), bytes, sizeof bytes) != 0)
        report_failure("simulation: a page is gone at the moment at which it was written");
    model_touched(page, bytes, (int) cell, value, object->kernel->name);
    for (unsigned i = 0; i < world.configuration->kernels; i++)
        /* (A client that was given up keeps what it has until it is told.) */
        if (i != index && !world.lossy && !model_page(page)->tainted && world.machines[i].object && has_page(world.machines[i].object, page))
            report_failure("a kernel writes a page that another kernel has");
    sim_end_atomic();
}

/* How many absent pages from PAGE on are requested from now on. */
static unsigned mark_requested(sk_object *object, unsigned page, unsigned count, vm_prot_t access)
{
    unsigned marked = 0;
    while (marked < count && page + marked < world.configuration->pages) {
        struct sk_page *found = sk_page_get(object, page_offset(page + marked));
        if (found->state != SK_PAGE_ABSENT || found->busy)
            break;
        found->state = SK_PAGE_REQUESTED;
        found->requested = access;
        marked++;
    }
    return marked;
}

/* (The kernel is not in the middle of anything where no thread has its lock.) */
void machine_request(unsigned index, unsigned page, unsigned count, vm_prot_t access)
{
    sk_object *object = world.machines[index].object;
    if (await_ready(object) != 0)
        return;
    if (world.configuration->stride != 1)
        count = 1;
    pthread_mutex_lock(&object->lock);
    unsigned marked = object->dead || object->terminating ? 0 : mark_requested(object, page, count, access);
    pthread_mutex_unlock(&object->lock);
    if (marked == 0)
        return;
    const struct sk_message request = {
        .id = SK_DATA_REQUEST, .offset = page_offset(page), .length = marked * vm_page_size, .access = access,
    };
    if (sk_send_raw(object, &request, NULL, 0) == 0)
        return;
    pthread_mutex_lock(&object->lock);
    for (unsigned i = 0; i < marked; i++) {
        struct sk_page *found = sk_page_get(object, page_offset(page + i));
        if (found->state == SK_PAGE_REQUESTED)
            sk_page_fail(object, found, KERN_TERMINATED);
    }
    pthread_mutex_unlock(&object->lock);
}

void machine_ask(unsigned index, unsigned page, vm_prot_t access)
{
    sk_object *object = world.machines[index].object;
    if (await_ready(object) == 0)
        sk_request(object, page_offset(page), access);
}

/* ---- Life ---- */

void machines_open(void)
{
    memset(returning, 0, sizeof returning);
    returned_count = 0;
}

void machine_start(unsigned index)
{
    struct machine *machine = &world.machines[index];
    if (machine->kernel == NULL) {
        char name[16];
        snprintf(name, sizeof name, "k%u.%u", index, world.kernels_made);
        hostmach_fail_memory(0, 0);     /* a machine that cannot start is none */
        machine->kernel = sk_kernel_create(name);
        world.kernels[world.kernels_made++] = machine->kernel;
        machine->hostile = index >= world.configuration->kernels - world.configuration->hostile;
    }
    machine->stalled = false;
    sk_object *object = machine->object = sk_map_async(machine->kernel, world.port);
    TRACE("%s maps", machine->kernel->name);
    int error = await_ready(object);
    if (error && !world.closing && !world.configuration->shortage && object == machine->object && !machine->dying && !machine->hostile)
        report_failure("a kernel cannot map: %#x", (unsigned) error);
    if (error == ETIMEDOUT)
        sk_terminate(object);
}

void machine_remap(unsigned index)
{
    struct machine *machine = &world.machines[index];
    if (machine->changing || machine->dying || machine->stalled)
        return;
    machine->changing = true;
    totals_add(TOTAL_TERMINATIONS, 1);
    world.unmapped = true;
    TRACE("%s unmaps", machine->kernel->name);
    sk_terminate(machine->object);
    if (!machine->dying)
        machine_start(index);
    machine->changing = false;
}

void machine_kill(unsigned index)
{
    struct machine *machine = &world.machines[index];
    if (machine->changing || machine->dying)
        return;
    totals_add(TOTAL_DEATHS, 1);
    TRACE("%s dies", machine->kernel->name);
    machine->dying = true;
    for (unsigned i = 0; i < RETURNS_MAX; i++)
        if (returning[i].object && returning[i].object->kernel == machine->kernel)
            model_return_in_doubt(returning[i].page, &returning[i].before);
    sk_kernel_kill(machine->kernel);
    machine->kernel = NULL;
    machine->dying = false;
    machine->changing = true;
    machine_start(index);
    machine->changing = false;
}

void machine_stall(unsigned index, unsigned mask)
{
    struct machine *machine = &world.machines[index];
    /* (What is held back already must not be overtaken.) */
    if (machine->changing || machine->dying || world.lossy || machine->object->hold_mask != 0)
        return;
    totals_add(TOTAL_STALLS, 1);
    machine->stalled = true;
    sk_hold(machine->object, mask);
}

/* In order, as a kernel does what it did not get to; what comes meanwhile queues up behind. */
void machine_go_on(unsigned index)
{
    struct machine *machine = &world.machines[index];
    sk_object *object = machine->object;
    while (object->held_count > 0)
        sk_release_one(object, 0);
    object->hold_mask = 0;
    if (machine->object == object)
        machine->stalled = false;
}
