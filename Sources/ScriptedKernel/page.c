/* page.c - the table of an object's pages, and the changes of a page's state.

   The table is a sorted array: objects in tests are small, and lock requests visit pages by
   rising offset.  All functions: object->lock held. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

size_t sk_page_index(struct sk_object *object, vm_offset_t offset)
{
    size_t low = 0;
    size_t high = object->page_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (object->pages[middle]->offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct sk_page *sk_page_find(struct sk_object *object, vm_offset_t offset)
{
    size_t index = sk_page_index(object, offset);

    if (index < object->page_count && object->pages[index]->offset == offset)
        return object->pages[index];
    return NULL;
}

struct sk_page *sk_page_get(struct sk_object *object, vm_offset_t offset)
{
    size_t index = sk_page_index(object, offset);

    if (index < object->page_count && object->pages[index]->offset == offset)
        return object->pages[index];
    if (object->page_count == object->page_room) {
        size_t room = object->page_room == 0 ? 16 : object->page_room * 2;
        struct sk_page **pages = sk_alloc(room * sizeof *pages);
        if (object->page_count != 0)
            memcpy(pages, object->pages, object->page_count * sizeof *pages);
        free(object->pages);
        object->pages = pages;
        object->page_room = room;
    }
    memmove(&object->pages[index + 1], &object->pages[index],
            (object->page_count - index) * sizeof *object->pages);
    object->page_count++;
    struct sk_page *page = sk_alloc(sizeof *page);
    page->offset = offset;
    object->pages[index] = page;
    return page;
}

void sk_page_fill(struct sk_object *object, struct sk_page *page, const void *data,
                  vm_prot_t lock, bool precious)
{
    page->data = sk_alloc(vm_page_size);
    if (data != NULL)
        memcpy(page->data, data, vm_page_size);
    page->state = SK_PAGE_PRESENT;
    page->lock = lock == VM_PROT_NO_CHANGE ? VM_PROT_NONE : lock;
    page->precious = precious;
    page->requested = 0;
    pthread_cond_broadcast(&object->changed);
}

void sk_page_drop(struct sk_object *object, struct sk_page *page)
{
    free(page->data);
    page->data = NULL;
    page->state = SK_PAGE_ABSENT;
    page->lock = page->requested = page->unlocking = 0;
    page->dirty = page->precious = false;
    pthread_cond_broadcast(&object->changed);
}

void sk_page_fail(struct sk_object *object, struct sk_page *page, kern_return_t error)
{
    page->errors++;
    page->last_error = error;
    page->state = SK_PAGE_ABSENT;
    page->requested = 0;
    pthread_cond_broadcast(&object->changed);
}
