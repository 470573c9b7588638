/* hostile.c - messages that no kernel sends.

   A hostile kernel has pages by rights: it may ask for those that are *tainted* (the last ones), and whatever it does to these
   concerns nobody who checks. Requests and unlocks name no other pages. Everything else, returns and completions above all,
   may name any page, whole pages or not: the pager must refuse it. */

#include <stdlib.h>
#include <string.h>

#include <mach/memory_object_user.h>

#include "internal.h"           /* of the scripted kernel: sk_enter */
#include "random.h"
#include "report.h"
#include "totals.h"
#include "world.h"

static vm_offset_t some_offset(struct random *random)
{
    const struct configuration *c = world.configuration;
    switch (random_below(random, 8)) {
    case 0: return random_next(random);
    case 1: return page_offset(random_below(random, c->pages)) + random_below(random, 4096);
    case 2: return (vm_offset_t) -vm_page_size * random_below(random, 3);
    case 3: return page_offset(c->pages + random_below(random, 1000));
    default: return page_offset(random_below(random, c->pages));
    }
}

static vm_size_t some_length(struct random *random)
{
    switch (random_below(random, 6)) {
    case 0: return random_next(random);
    case 1: return 0;
    case 2: return random_below(random, 3 * 4096);
    default: return vm_page_size * random_range(random, 1, 3);
    }
}

/* A range that reaches no page of the others. */
static void tainted_range(struct random *random, unsigned page, struct sk_message *message)
{
    message->offset = page_offset(page);
    if (random_chance(random, 150))
        message->offset += random_below(random, 4096);
    if (random_chance(random, 100))
        message->offset = page_offset(world.configuration->pages) + (random_next(random) >> random_range(random, 2, 50)) / 4096 * 4096;
    message->length = random_chance(random, 600) ? vm_page_size : some_length(random);
    if (message->length > vm_page_size * 64)
        message->length = vm_page_size * 64;
}

/* Without any control port: that may name any page. */
static void send_nameless(sk_object *object, struct random *random)
{
    hostmach_task_t previous;
    mach_port_t pager = sk_pager_port(object);
    if (!sk_enter(object->kernel, &previous))
        return;
    vm_offset_t offset = some_offset(random);
    switch (random_below(random, 4)) {
    case 0: memory_object_data_request(pager, MACH_PORT_NULL, offset, vm_page_size, VM_PROT_READ); break;
    case 1: memory_object_data_unlock(pager, MACH_PORT_NULL, offset, vm_page_size, VM_PROT_WRITE); break;
    case 2: memory_object_lock_completed(pager, MACH_MSG_TYPE_COPY_SEND, MACH_PORT_NULL, offset, vm_page_size); break;
    default:
        /* (It takes the right that it is sent to.) */
        if (mach_port_mod_refs(mach_task_self(), pager, MACH_PORT_RIGHT_SEND, 1) == KERN_SUCCESS
            && memory_object_terminate(pager, MACH_PORT_NULL, MACH_PORT_NULL) != KERN_SUCCESS)
            mach_port_mod_refs(mach_task_self(), pager, MACH_PORT_RIGHT_SEND, -1);
    }
    sk_leave(object->kernel, previous);
}

void hostile_send(unsigned index, unsigned page, uint32_t chance, unsigned more)
{
    static const mach_msg_id_t ids[] = {
        SK_INIT, SK_TERMINATE, SK_COPY, SK_DATA_REQUEST, SK_DATA_REQUEST, SK_DATA_REQUEST, SK_DATA_UNLOCK, SK_DATA_UNLOCK,
        SK_LOCK_COMPLETED, SK_LOCK_COMPLETED, SK_SUPPLY_COMPLETED, SK_DATA_RETURN, SK_DATA_RETURN, SK_DATA_RETURN, SK_DATA_RETURN,
        SK_CHANGE_COMPLETED,
    };
    struct random random = random_seeded(chance, more);
    char *data = NULL;
    if (random_chance(&random, 100))
        return send_nameless(world.machines[index].object, &random);
    struct sk_message message = {
        .id = ids[random_below(&random, sizeof ids / sizeof *ids)],
        .offset = some_offset(&random),
        .length = some_length(&random),
        .access = (vm_prot_t) random_below(&random, 5),
        .dirty = (boolean_t) random_below(&random, 2),
        .kernel_copy = (boolean_t) random_below(&random, 2),
        .may_cache = (boolean_t) random_below(&random, 2),
        .copy_strategy = (memory_object_copy_strategy_t) random_below(&random, 4),
        .error = (kern_return_t) random_below(&random, 3),
    };
    if (message.id == SK_DATA_REQUEST || message.id == SK_DATA_UNLOCK)
        tainted_range(&random, page, &message);
    if (message.id == SK_INIT && random_chance(&random, 700))
        message.length = vm_page_size;
    if (message.id == SK_DATA_RETURN) {
        message.length %= 3 * vm_page_size + 1;
        data = malloc(message.length + 1);
        memset(data, 0xee, message.length + 1);
    }
    unsigned flags = random_chance(&random, 150) ? SK_RAW_FOREIGN_CONTROL : 0;
    /* A return from a port that is dead by now says nothing of who sent it: it is taken for the last word of a writer that has died and is not
       known to have (deadWriter in Service/ClientEnd.swift). So here is a hole, where writers die. */
    if (world.configuration->kills && message.id == SK_DATA_RETURN)
        flags = 0;
    totals_add(TOTAL_HOSTILE, 1);
    TRACE("hostile message %d, offset %#lx, length %#lx", message.id, (unsigned long) message.offset, (unsigned long) message.length);
    sk_send_raw(world.machines[index].object, &message, data, flags);
    free(data);
}

/* It says nothing more, and dies after a while: what it has nobody else gets before that. */
void hostile_clog(unsigned page, uint32_t chance)
{
    mach_port_t pager, control, name;
    hostmach_fail_memory(0, 0);     /* its task is to be */
    hostmach_task_t task = hostmach_task_create("clog");
    hostmach_task_set_kernel(task, TRUE);
    if (hostmach_copy_send(hostmach_task_main(), world.port, task, &pager) == KERN_SUCCESS) {
        hostmach_task_t before = hostmach_task_enter(task);
        mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &control);
        mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &name);
        mach_port_set_qlimit(mach_task_self(), control, 1 + chance % 3);
        memory_object_init(pager, control, name, vm_page_size);
        for (unsigned i = 0; i < 1 + chance / 3 % 4; i++)
            memory_object_data_request(pager, control, page_offset(page), vm_page_size, VM_PROT_READ | VM_PROT_WRITE);
        hostmach_task_enter(before);
        sim_sleep_ns(chance % 3000000000u);
    }
    hostmach_task_destroy(task);
}

void hostile_touch(unsigned index, unsigned page, bool write)
{
    static const char bytes[64] = "hostile";
    sk_object *object = world.machines[index].object;
    sk_request(object, page_offset(page), write ? VM_PROT_READ | VM_PROT_WRITE : VM_PROT_READ);
    if (write)
        sk_poke(object, page_offset(page), bytes, sizeof bytes);
}
