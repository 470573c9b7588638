/* cache.c - the limit on a kernel's pages, and what is pushed out.

   As in Mach, resident pages are in two queues, each in order.  *Active* pages may be touched without our knowing.  *Inactive* ones are on
   their way out: each was taken out of the page tables when it came there, so that a touch is a fault that is resolved here (a
   minor fault) and marks it as used.  Whoever is first among the inactive is looked at when room is needed: used, it becomes active again (its
   second chance); else it is evicted: returned if dirty or precious (data_return, kernel_copy 0), or dropped without a word.

   C1  When the limit is reached a quarter of it is inactive, taken from the active ones that came first; that begins when three quarters are
       there.  So a page is evicted only if as many others came or went since it was last touched: a page that is used now
       and then stays, whatever else comes and goes.
   C2  Whoever brings the kernel over its limit evicts, after his own message is done with and without locks.  He waits for nobody: sends to
       pagers do not block, and busy pages become active again.
   C3  One call looks at each page a few times at most, so it ends, even if all are used all the time. */

#include "internal.h"

#define LOOKS_AT_EACH 4

void mk_kernel_set_cache(mk_kernel *kernel, size_t cache_pages)
{
    if (cache_pages != 0 && cache_pages < MK_CACHE_PAGES_MIN)
        cache_pages = MK_CACHE_PAGES_MIN;
    atomic_store(&kernel->limit, cache_pages);
}

/* ---- The queues; cache_lock held ---- */

void mk_cache_init(struct mk_kernel *kernel)
{
    kernel->active.newer = kernel->active.older = &kernel->active;
    kernel->inactive.newer = kernel->inactive.older = &kernel->inactive;
}

/* The first is the head's newer, the last its older. */
static void append(struct mk_kernel *kernel, struct mk_page *page, bool is_inactive)
{
    struct mk_page *queue = is_inactive ? &kernel->inactive : &kernel->active;

    page->newer = queue;
    page->older = queue->older;
    page->older->newer = page;
    queue->older = page;
    page->is_inactive = is_inactive;
    kernel->inactive_count += is_inactive;
}

static void take_out(struct mk_kernel *kernel, struct mk_page *page)
{
    page->older->newer = page->newer;
    page->newer->older = page->older;
    page->newer = page->older = NULL;
    kernel->inactive_count -= page->is_inactive;
}

/* ---- Pages come and go ---- */

void mk_cache_add(struct mk_object *object, struct mk_page *page)
{
    struct mk_kernel *kernel = object->kernel;

    pthread_mutex_lock(&kernel->cache_lock);
    append(kernel, page, false);
    pthread_mutex_unlock(&kernel->cache_lock);
    atomic_fetch_add_explicit(&kernel->resident, 1, memory_order_relaxed);
}

void mk_cache_remove(struct mk_object *object, struct mk_page *page)
{
    struct mk_kernel *kernel = object->kernel;

    pthread_mutex_lock(&kernel->cache_lock);
    take_out(kernel, page);
    pthread_mutex_unlock(&kernel->cache_lock);
    atomic_fetch_sub_explicit(&kernel->resident, 1, memory_order_relaxed);
}

/* ---- Making room ---- */

enum step { STEP_NONE, STEP_DEACTIVATE, STEP_EVICT };

/* What to do next, and with which page of which object.  The page is in its new queue already (one to be evicted counts as active until
   it is gone), so another thread that makes room takes another one. */
static enum step next_step(struct mk_kernel *kernel, size_t limit, struct mk_object **object, mk_index *index)
{
    size_t resident = atomic_load_explicit(&kernel->resident, memory_order_relaxed), most = limit / 4, few = limit - most;
    size_t wanted = resident < few ? 0 : resident - few < most ? resident - few : most;
    enum step step = STEP_NONE;

    pthread_mutex_lock(&kernel->cache_lock);
    struct mk_page *page = kernel->active.newer;
    if (kernel->inactive_count < wanted && page != &kernel->active)
        step = STEP_DEACTIVATE;
    else if (resident > limit && (page = kernel->inactive.newer) != &kernel->inactive)
        step = STEP_EVICT;
    if (step != STEP_NONE) {
        take_out(kernel, page);
        append(kernel, page, step == STEP_DEACTIVATE);
        /* The object exists while its page is in a queue; afterwards its memory does, and the page is looked up anew. */
        *object = mk_page_leaf(page)->object;
        *index = mk_page_index(page);
    }
    pthread_mutex_unlock(&kernel->cache_lock);
    return step;
}

/* The page's object is locked.  True: it is to be evicted, and the object will not end before. */
static bool look(struct mk_object *object, struct mk_page *page, mk_index index, enum step step)
{
    struct mk_kernel *kernel = object->kernel;

    if (step == STEP_DEACTIVATE) {
        page->used = false;
        mk_zap(object, index, 1);
        return false;
    }
    if (page->used) {
        mk_count(kernel, second_chances, 1);
        return false;
    }
    bool out = mk_begin(object);
    mk_count(kernel, evictions, out);
    mk_count(kernel, evicted_dirty, out && (page->dirty || page->precious));
    return out;
}

static void evict(struct mk_object *object, mk_index index)
{
    static const struct mk_lock how = {
        .should_return = MEMORY_OBJECT_RETURN_ALL,
        .flush = true,
        .value = VM_PROT_NO_CHANGE,
        .run_max = 1,
        .is_optional = true,
    };
    mk_lock_pages(object, index, index + 1, &how);
}

void mk_cache_shrink(struct mk_kernel *kernel)
{
    size_t limit = atomic_load_explicit(&kernel->limit, memory_order_relaxed);
    size_t looks = LOOKS_AT_EACH * (atomic_load_explicit(&kernel->resident, memory_order_relaxed) + 1);
    struct mk_object *object;
    mk_index index;
    enum step step;

    while (limit != 0 && looks-- != 0 && (step = next_step(kernel, limit, &object, &index)) != STEP_NONE) {
        pthread_mutex_lock(&object->lock);
        struct mk_page *page = mk_page_find(object, index);
        bool is_there = page != NULL && page->state == MK_PAGE_PRESENT && !page->busy && page->unlocking == 0;
        bool out = is_there && look(object, page, index, step);
        pthread_mutex_unlock(&object->lock);
        if (!out)
            continue;
        evict(object, index);
        pthread_mutex_lock(&object->lock);
        mk_end(object);
        pthread_mutex_unlock(&object->lock);
    }
}
