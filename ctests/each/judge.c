/* Whether anything is lost, after a case that did not come to its end, and after one that did.

   What there is (pagers, workers, kernels, tasks) made.c knows.  After a case that broke off, in this order:
     1  nothing fails any more; gates are open, kernels let go on, what was inhibited goes on; clients made by hand die
     2  every call of the library's that was under way returns
     3  all messages are dealt with; no kernel waits for an answer
     4  pager_return; then the store has every page as it was returned last (witness.c)
     5  a new kernel can read every page, and gets what the store has
     6  kernels go, the pager is shut down, its data are cleared; no block of the engine's memory and no name of a client's port is left
   Where the case had ended something itself (workers, the pager) what needs it is left out.  After a case that passed: 4 as far as its world was
   closed, and the blocks.  */

#include "made.h"

#include <stdio.h>
#include <time.h>

#include "../../Sources/ScriptedKernel/internal.h"
#include "platform.h"

enum { PATIENCE_s = 15, PROBED = 64 };

static long blocks_before;

void judge_begin(void) { blocks_before = platform_allocated_blocks(); }

static int each_pager(int (*function)(struct pager_entry *))
{
    int result = 0;
    for (int i = 0; i < pager_count; i++)
        if (pagers[i].alive)
            result |= function(&pagers[i]);
    return result;
}

static bool is_served(const struct pager_entry *entry)
{
    for (int i = 0; i < workers_count; i++)
        if (workers[i].bucket == entry->bucket)
            return !entry->shut;
    return false;
}

/* The pagers that still have a reference: they get one more, which nobody drops.  */
static error_t see_port(void *port)
{
    for (int i = 0; i < pager_count; i++)
        if ((void *) pagers[i].pager == port && !pagers[i].alive) {
            ports_port_ref(port);
            pagers[i].alive = true;
        }
    return 0;
}

static void find_pagers(void)
{
    for (int i = 0; i < pager_count; i++)
        pagers[i].alive = false;
    /* (All pagers are of one class, and one has told it.)  */
    for (int i = 0; i < workers_count; i++)
        ports_bucket_iterate(workers[i].bucket, see_port);
}

#define FOR_EACH_OBJECT(object) \
    for (int k_ = 0; k_ < kernel_count; k_++) \
        for (struct sk_object *object = kernels[k_]->objects; object; object = object->next)

void judge_release(void)
{
    witness_release();
    watch_wake_gates();
    made_let_go();
    FOR_EACH_OBJECT(object) {
        pthread_mutex_lock(&object->lock);
        pthread_cond_broadcast(&object->changed);
        pthread_mutex_unlock(&object->lock);
        if (!kernels[k_]->dead)
            sk_release_all(object);
    }
    for (int i = 0; i < workers_count; i++)
        pager_resume_workers(workers[i].requests);
}

static void pause_ms(long milliseconds)
{
    nanosleep(&(struct timespec) { .tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000 }, NULL);
}

static void await_calls(void)
{
    const char *name;
    static char text[100];
    for (int round = 0; (name = entries_running()) != NULL; round++) {
        if (round % 50 == 0) {
            snprintf(text, sizeof text, "a call that was under way does not return: %s", name);
            if (round == 0)
                watch_judging(text, PATIENCE_s);
            judge_release();
        }
        pause_ms(1);
    }
}

static void settle(void)
{
    watch_judging("messages are not dealt with", PATIENCE_s);
    for (int i = 0; i < workers_count; i++) {
        /* (Two sets of workers on one bucket take each other's markers, and that may last.)  */
        bool is_alone = true;
        for (int j = 0; j < workers_count; j++)
            is_alone &= i == j || workers[i].bucket != workers[j].bucket;
        if (!is_alone) {
            pause_ms(200);
            continue;
        }
        error_t error;
        /* (A call of the test's may have come to its end only now.)  */
        for (int tries = 0; (error = pager_inhibit_workers(workers[i].requests)) == EBUSY && tries < 100; tries++) {
            pager_resume_workers(workers[i].requests);
            pause_ms(10);
        }
        if (error)
            each_fail("pager_inhibit_workers: %d, when nobody else inhibits", error);
        pager_resume_workers(workers[i].requests);
    }
}

static bool all_served(void)
{
    for (int i = 0; i < pager_count; i++)
        if (!pagers[i].alive || !is_served(&pagers[i]))
            return false;
    return true;
}

/* A kernel may wait for an answer for a moment longer: what a message caused goes on when it is taken in.  */
static bool find_unanswered(bool tell)
{
    bool found = false;
    FOR_EACH_OBJECT(object) {
        pthread_mutex_lock(&object->lock);
        for (size_t i = 0; i < object->page_count && !kernels[k_]->dead && !object->dead && object->ready && !object->send_failures; i++) {
            const struct sk_page *page = object->pages[i];
            if (page->state != SK_PAGE_REQUESTED && page->unlocking == 0)
                continue;
            found = true;
            if (tell)
                each_fail("kernel %s waits for page %#lx (%s) and is not answered", kernels[k_]->name, (unsigned long) page->offset,
                          page->state == SK_PAGE_REQUESTED ? "requested" : "unlock");
        }
        pthread_mutex_unlock(&object->lock);
    }
    return found;
}

static void check_answered(void)
{
    if (!all_served())
        return;
    for (int round = 0; find_unanswered(round == 100); round++) {
        if (round == 100)
            break;
        pause_ms(10);
    }
}

static int take_back(struct pager_entry *entry)
{
    if (is_served(entry)) {
        watch_judging("pager_return does not return", PATIENCE_s);
        pager_return(entry->pager, 1);
    }
    return 0;
}

static int check_store(struct pager_entry *entry)
{
    witness_check(pager_get_upi(entry->pager));
    return 0;
}

static int probe(struct pager_entry *entry)
{
    struct user_pager_info *store = pager_get_upi(entry->pager);
    if (!is_served(entry) || !witness_knows(store))
        return 0;
    watch_judging("a new kernel is not served", PATIENCE_s);
    mach_port_t port = ports_get_send_right(entry->pager);
    sk_kernel *kernel = sk_kernel_create("judge");
    sk_object *object = sk_map_async(kernel, port);
    int error = sk_wait_ready(object, 0);
    if (error)
        each_fail("a new kernel is not served: %#x", error);
    for (size_t page = 0; page < store->pages && page < PROBED && !error; page++) {
        unsigned char bytes[2];
        int read = sk_read(object, page_offset(page), bytes, 1);
        /* (A thread of the test that was in a write to mapped memory has written since: its page passed on ahead of the store.)  */
        if (!read && bytes[0] != store->data[page_offset(page)]) {
            pager_sync(entry->pager, 1);
            read = sk_read(object, page_offset(page), bytes, 1);
        }
        if (read && !witness_has_failed(store))
            each_fail("page %zu cannot be read afterwards: %#x", page, read);
        else if (!read && bytes[0] != store->data[page_offset(page)])
            each_fail("page %zu is read as %#x afterwards, the store has %#x", page, bytes[0], store->data[page_offset(page)]);
    }
    sk_kernel_destroy(kernel);
    mach_port_deallocate(mach_task_self(), port);
    return 0;
}

static int shut_down(struct pager_entry *entry)
{
    watch_judging("pager_shutdown does not return", PATIENCE_s);
    pager_set_shutdown_patience(entry->pager, 200);
    pager_shutdown(entry->pager);
    return 0;
}

/* The test's references, and ours, are dropped until none is left.  */
static int end_pager(struct pager_entry *entry)
{
    struct user_pager_info *store = pager_get_upi(entry->pager);
    struct port_info *port = (struct port_info *) entry->pager;
    if (!witness_knows(store))
        return 1;
    unsigned long long counts = port->refcounts.counts;
    if (counts >> 32)
        return 1;               /* weak ones, too */
    /* (A test may have had others of the same store.)  */
    int cleared = store->cleared;
    for (unsigned hard = (unsigned) counts; hard-- > 0;)
        ports_port_deref(entry->pager);
    if (store->cleared != cleared + 1)
        each_fail("pager_clear_user_data was called %d times", store->cleared - cleared);
    return 0;
}

static void check_left(void)
{
    if (platform_allocated_blocks() != blocks_before)
        each_fail("%ld blocks of the engine's are left, %ld before", platform_allocated_blocks(), blocks_before);
    static struct hostmach_right rights[512];
    size_t count = hostmach_list_rights(hostmach_task_main(), rights, 512);
    for (size_t i = 0; i < count && i < 512; i++)
        if (rights[i].name >= 0x80000000u)
            each_fail("the name of a client's port is left: %#x, type %#x", rights[i].name, rights[i].type);
}

/* Kernels that are in order and were told of no end have what they return taken.  (But for one whose control port got no name: the library
   cannot know whom it has not heard of.)  */
static void check_refusals(void)
{
    if (each_usual && each_result->returns_without_page && !each_usual->returns_without_page && !witness_hostile && !witness_destroyed
        && hostmach_rights_lost() == 0)
        each_fail("a page that a kernel in order returned was refused");
}

void judge_broken(void)
{
    watch_exempt = true;
    each_disarm();
    watch_judging("letting everybody go on", PATIENCE_s);
    judge_release();
    while (task_count > 0)
        hostmach_task_destroy(tasks[0]);
    await_calls();
    settle();
    /* What was being begun when the case ended has come meanwhile.  */
    judge_release();
    settle();
    find_pagers();
    check_answered();
    each_pager(take_back);
    settle();
    check_refusals();
    each_pager(check_store);
    each_pager(probe);
    watch_judging("kernels do not die", PATIENCE_s);
    while (kernel_count > 0)
        sk_kernel_destroy(kernels[0]);
    each_pager(shut_down);
    watch_judging("pager_stop_workers does not return", PATIENCE_s);
    bool all_seen = true;
    for (int i = 0; i < pager_count; i++)
        all_seen &= pagers[i].alive;
    while (workers_count > 0)
        pager_stop_workers(workers[0].requests);
    if (all_seen && each_pager(end_pager) == 0)
        check_left();
    each_end(VERDICT_OTHERWISE);
}

void judge_passed(void)
{
    watch_exempt = true;
    if (platform_allocated_blocks() != blocks_before && kernel_count + workers_count == 0)
        each_fail("%ld blocks of the engine's are left, %ld before", platform_allocated_blocks(), blocks_before);
    check_refusals();
    each_end(VERDICT_PASSED);
}
