/* page.c - the table of an object's pages: a radix tree over page numbers, as high as the highest number needs.

   Leaves of 64 records are made on first touch and freed with the object, so a record's address never changes while
   the object lives.  All functions: object->lock held. */

#include <stdlib.h>

#include "internal.h"

_Static_assert(sizeof(struct mk_page) <= 40, "one for every page ever touched");

struct node {
    void *children[MK_LEAF_PAGES];
};

/* How many pages a tree of this height spans, as a shift. */
static unsigned span_bits(unsigned height)
{
    return MK_LEAF_BITS * (height + 1);
}

static bool spans(const struct mk_object *object, mk_index index)
{
    unsigned bits = span_bits(object->height);
    return bits >= 64 || index >> bits == 0;
}

struct mk_page *mk_page_find(struct mk_object *object, mk_index index)
{
    void *at = object->root;

    if (at == NULL || !spans(object, index))
        return NULL;
    for (unsigned height = object->height; height != 0 && at != NULL; height--)
        at = ((struct node *)at)->children[index >> span_bits(height - 1) & (MK_LEAF_PAGES - 1)];
    return at != NULL ? &((struct mk_leaf *)at)->pages[index & (MK_LEAF_PAGES - 1)] : NULL;
}

static struct mk_leaf *new_leaf(struct mk_object *object, mk_index index)
{
    struct mk_leaf *leaf = calloc(1, sizeof *leaf);

    if (leaf == NULL)
        return NULL;
    leaf->object = object;
    leaf->first = index & ~(mk_index)(MK_LEAF_PAGES - 1);
    for (unsigned i = 0; i < MK_LEAF_PAGES; i++) {
        leaf->pages[i].number = (uint8_t)i;
        leaf->pages[i].waiter = MK_NOBODY;
    }
    return leaf;
}

struct mk_page *mk_page_get(struct mk_object *object, mk_index index)
{
    struct mk_page *page = mk_page_find(object, index);

    if (page != NULL)
        return page;
    if (object->root == NULL) {
        while (!spans(object, index))
            object->height++;
    }
    while (!spans(object, index)) {
        struct node *node = calloc(1, sizeof *node);
        if (node == NULL)
            return NULL;
        node->children[0] = object->root;
        object->root = node;
        object->height++;
    }
    void **at = &object->root;
    for (unsigned height = object->height; height != 0; height--) {
        if (*at == NULL && (*at = calloc(1, sizeof(struct node))) == NULL)
            return NULL;
        at = &((struct node *)*at)->children[index >> span_bits(height - 1) & (MK_LEAF_PAGES - 1)];
    }
    struct mk_leaf *leaf = new_leaf(object, index);
    *at = leaf;
    return leaf != NULL ? &leaf->pages[index & (MK_LEAF_PAGES - 1)] : NULL;
}

/* Within the subtree AT, which begins at page BASE. */
static struct mk_page *next_in(void *at, unsigned height, mk_index base, mk_index index, mk_index end)
{
    unsigned bits = MK_LEAF_BITS * height;
    unsigned child = index > base ? (unsigned)((index - base) >> bits) : 0;

    for (; child < MK_LEAF_PAGES && base + ((mk_index)child << bits) < end; child++) {
        if (height == 0) {
            struct mk_page *page = &((struct mk_leaf *)at)->pages[child];
            if (page->state != MK_PAGE_ABSENT || page->busy)
                return page;
            continue;
        }
        void *below = ((struct node *)at)->children[child];
        if (below == NULL)
            continue;
        struct mk_page *page = next_in(below, height - 1, base + ((mk_index)child << bits), index, end);
        if (page != NULL)
            return page;
    }
    return NULL;
}

struct mk_page *mk_page_next(struct mk_object *object, mk_index index, mk_index end)
{
    if (object->root == NULL || index >= end || !spans(object, index))
        return NULL;
    return next_in(object->root, object->height, 0, index, end);
}

static void free_below(void *at, unsigned height)
{
    if (at == NULL)
        return;
    for (unsigned i = 0; height != 0 && i < MK_LEAF_PAGES; i++)
        free_below(((struct node *)at)->children[i], height - 1);
    free(at);
}

void mk_pages_free(struct mk_object *object)
{
    free_below(object->root, object->height);
    object->root = NULL;
    object->height = 0;
}

void mk_page_drop(struct mk_object *object, struct mk_page *page)
{
    if (page->state == MK_PAGE_PRESENT)
        mk_cache_remove(object, page);
    page->state = MK_PAGE_ABSENT;
    page->lock = page->requested = page->unlocking = 0;
    page->dirty = page->precious = page->wants_write = page->others = page->used = false;
    page->waiter = MK_NOBODY;
    mk_object_signal(object);
}
