/* inspect.c - looking at an object, and waiting for a page without touching it. */

#include "internal.h"

mach_port_t sk_control_port(sk_object *object)
{
    pthread_mutex_lock(&object->lock);
    mach_port_t port = object->control;
    pthread_mutex_unlock(&object->lock);
    return port;
}

mach_port_t sk_name_port(sk_object *object)
{
    pthread_mutex_lock(&object->lock);
    mach_port_t port = object->name;
    pthread_mutex_unlock(&object->lock);
    return port;
}

mach_port_t sk_pager_port(sk_object *object)
{
    pthread_mutex_lock(&object->lock);
    mach_port_t port = object->pager;
    pthread_mutex_unlock(&object->lock);
    return port;
}

struct sk_page_info sk_page_state(sk_object *object, vm_offset_t offset)
{
    struct sk_page_info info = { .state = SK_PAGE_ABSENT };

    pthread_mutex_lock(&object->lock);
    const struct sk_page *page = sk_page_find(object, offset);
    if (page != NULL)
        info = (struct sk_page_info){
            .state = page->state,
            .lock = page->lock,
            .requested = page->requested,
            .unlocking = page->unlocking,
            .dirty = page->dirty,
            .precious = page->precious,
            .busy = page->busy,
            .errors = page->errors,
            .last_error = page->last_error,
        };
    pthread_mutex_unlock(&object->lock);
    return info;
}

unsigned sk_resident(sk_object *object)
{
    unsigned count = 0;

    pthread_mutex_lock(&object->lock);
    for (size_t i = 0; i < object->page_count; i++)
        count += object->pages[i]->state == SK_PAGE_PRESENT;
    pthread_mutex_unlock(&object->lock);
    return count;
}

void sk_attributes(sk_object *object, boolean_t *ready, boolean_t *may_cache,
                   memory_object_copy_strategy_t *copy_strategy)
{
    pthread_mutex_lock(&object->lock);
    *ready = object->ready;
    *may_cache = object->may_cache;
    *copy_strategy = object->copy_strategy;
    pthread_mutex_unlock(&object->lock);
}

static bool is_as_wanted(const struct sk_page *page, enum sk_want want)
{
    bool present = page->state == SK_PAGE_PRESENT && !page->busy;

    switch (want) {
    case SK_WANT_PRESENT:
        return present;
    case SK_WANT_ABSENT:
        return page->state == SK_PAGE_ABSENT && !page->busy;
    case SK_WANT_READABLE:
        return present && !(page->lock & VM_PROT_READ);
    case SK_WANT_WRITABLE:
        return present && !(page->lock & (VM_PROT_READ | VM_PROT_WRITE));
    case SK_WANT_SETTLED:
        return page->state != SK_PAGE_REQUESTED && page->unlocking == 0 && !page->busy;
    }
    return false;
}

int sk_wait_page(sk_object *object, vm_offset_t offset, enum sk_want want,
                 unsigned timeout_ms)
{
    struct sk_wait wait;
    int err = 0;

    sk_wait_begin(&wait, timeout_ms, "sk_wait_page", offset);
    pthread_mutex_lock(&object->lock);
    struct sk_page *page = sk_page_get(object, offset);
    unsigned errors = page->errors;
    bool wants_errors = want != SK_WANT_ABSENT && want != SK_WANT_SETTLED;
    while (!is_as_wanted(page, want)) {
        if (object->dead != 0)
            err = object->dead;
        else if (wants_errors && page->errors != errors)
            err = page->last_error;
        if (err != 0)
            break;
        err = sk_wait_step(object, &wait);
    }
    if (is_as_wanted(page, want))
        err = 0;
    pthread_mutex_unlock(&object->lock);
    return err;
}
