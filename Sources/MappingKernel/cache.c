/* cache.c - the limit on a kernel's pages, and what is pushed out.

   All resident pages of all objects are in one ring, in the order in which they came.  A hand goes round: a page that was used since it
   came by last gets a second chance: its mark is cleared, and it is taken out of the page tables, so that the next
   touch is a fault that is resolved here (a minor fault) and marks it again.  A page that was not used is evicted: returned if dirty
   or precious (data_return, kernel_copy 0), else dropped without a word.

   Whoever brings the kernel over its limit evicts, after his own message is done with and without locks.  He waits for nobody: sends to pagers do
   not block, and busy pages are passed over.  One call looks at each page at most twice, so it ends. */

#include "internal.h"

void mk_kernel_set_cache(mk_kernel *kernel, size_t cache_pages)
{
    if (cache_pages != 0 && cache_pages < MK_CACHE_PAGES_MIN)
        cache_pages = MK_CACHE_PAGES_MIN;
    atomic_store(&kernel->limit, cache_pages);
}

void mk_cache_add(struct mk_object *object, struct mk_page *page)
{
    struct mk_kernel *kernel = object->kernel;

    pthread_mutex_lock(&kernel->cache_lock);
    page->newer = &kernel->clock;
    page->older = kernel->clock.older;
    page->older->newer = page;
    kernel->clock.older = page;
    pthread_mutex_unlock(&kernel->cache_lock);
    atomic_fetch_add_explicit(&kernel->resident, 1, memory_order_relaxed);
}

void mk_cache_remove(struct mk_object *object, struct mk_page *page)
{
    struct mk_kernel *kernel = object->kernel;

    pthread_mutex_lock(&kernel->cache_lock);
    if (kernel->hand == page)
        kernel->hand = page->newer;
    page->older->newer = page->newer;
    page->newer->older = page->older;
    page->newer = page->older = NULL;
    pthread_mutex_unlock(&kernel->cache_lock);
    atomic_fetch_sub_explicit(&kernel->resident, 1, memory_order_relaxed);
}

/* The page under the hand, which moves on, as its object and index; the object is kept from ending.  False: no pages. */
static bool next_page(struct mk_kernel *kernel, struct mk_object **object, mk_index *index)
{
    pthread_mutex_lock(&kernel->cache_lock);
    if (kernel->hand == &kernel->clock)
        kernel->hand = kernel->clock.newer;
    struct mk_page *page = kernel->hand;
    bool found = page != &kernel->clock;
    if (found) {
        kernel->hand = page->newer;
        /* The object exists while its page is in the ring; afterwards its memory does, and the page is looked up anew. */
        *object = mk_page_leaf(page)->object;
        *index = mk_page_index(page);
    }
    pthread_mutex_unlock(&kernel->cache_lock);
    return found;
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
    size_t looks = 2 * atomic_load_explicit(&kernel->resident, memory_order_relaxed) + 2;

    while (limit != 0 && atomic_load_explicit(&kernel->resident, memory_order_relaxed) > limit && looks-- != 0) {
        struct mk_object *object;
        mk_index index;
        if (!next_page(kernel, &object, &index))
            return;
        pthread_mutex_lock(&object->lock);
        struct mk_page *page = mk_page_find(object, index);
        bool out = false;
        if (page != NULL && page->state == MK_PAGE_PRESENT && !page->busy && page->unlocking == 0) {
            if (page->used) {
                page->used = false;
                mk_zap(object, index, 1);
                mk_count(kernel, second_chances, 1);
            } else {
                out = mk_begin(object);
                mk_count(kernel, evictions, out);
                mk_count(kernel, evicted_dirty, out && (page->dirty || page->precious));
            }
        }
        pthread_mutex_unlock(&object->lock);
        if (!out)
            continue;
        evict(object, index);
        pthread_mutex_lock(&object->lock);
        mk_end(object);
        pthread_mutex_unlock(&object->lock);
    }
}
