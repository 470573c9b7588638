/* vm_pages.c: which pages HostMach has given out.

   Two bits a page, in leaves that are made on first use and stay: "given out" and "protection was changed since".
   No lock: setting and clearing are atomic, and of two threads that release the same page one sees it set and unmaps it. Thus only
   what HostMach mapped is ever unmapped, each page once. */

#include "internal.h"

#include <string.h>
#include <unistd.h>

#define WORDS 512
#define LEAF_PAGES ((size_t) WORDS * 64)
#define ADDRESS_BITS 47
#define LEAVES ((size_t) 1 << (ADDRESS_BITS - 12 - 15))

struct leaf {
    _Atomic uint64_t given[WORDS];
    _Atomic uint64_t changed[WORDS];
};

_Static_assert (LEAF_PAGES == (size_t) 1 << 15, "LEAVES counts on it");

static _Atomic (struct leaf *) leaves[LEAVES];

vm_size_t vm_page_size = 4096;

__attribute__ ((constructor (101))) static void
start (void)
{
    vm_page_size = (vm_size_t) sysconf (_SC_PAGESIZE);
}

static struct leaf *
leaf_of (size_t page)
{
    return page / LEAF_PAGES < LEAVES ? atomic_load_explicit (&leaves[page / LEAF_PAGES], memory_order_acquire) : NULL;
}

bool
vm_map_reserve (vm_address_t first, size_t pages)
{
    size_t page = first / vm_page_size, last = page + pages - 1;
    if (last / LEAF_PAGES >= LEAVES)
        return false;
    for (size_t i = page / LEAF_PAGES; i <= last / LEAF_PAGES; i++) {
        if (atomic_load (&leaves[i]) != NULL)
            continue;
        struct leaf *leaf = ipc_alloc (sizeof *leaf), *expected = NULL;
        if (leaf == NULL)
            return false;
        memset (leaf, 0, sizeof *leaf);
        if (!atomic_compare_exchange_strong (&leaves[i], &expected, leaf))
            ipc_free (leaf);
    }
    return true;
}

/* The bits of one word that lie in [page, page + *pages), and how many pages that is. */
static uint64_t
word_mask (size_t page, size_t pages, size_t *taken)
{
    size_t bit = page % 64, count = 64 - bit < pages ? 64 - bit : pages;
    *taken = count;
    return (count == 64 ? UINT64_MAX : (UINT64_C (1) << count) - 1) << bit;
}

static void
set_bits (vm_address_t first, size_t pages, bool changed)
{
    size_t taken;
    for (size_t page = first / vm_page_size; pages != 0; page += taken, pages -= taken) {
        uint64_t mask = word_mask (page, pages, &taken);
        struct leaf *leaf = leaf_of (page);
        size_t word = page % LEAF_PAGES / 64;
        if (leaf != NULL)
            atomic_fetch_or (changed ? &leaf->changed[word] : &leaf->given[word], mask);
    }
}

void
vm_map_set (vm_address_t first, size_t pages)
{
    set_bits (first, pages, false);
}

void
vm_map_mark_changed (vm_address_t first, size_t pages)
{
    set_bits (first, pages, true);
}

bool
vm_map_all_set (vm_address_t first, size_t pages, bool unchanged)
{
    size_t taken;
    for (size_t page = first / vm_page_size; pages != 0; page += taken, pages -= taken) {
        uint64_t mask = word_mask (page, pages, &taken);
        struct leaf *leaf = leaf_of (page);
        size_t word = page % LEAF_PAGES / 64;
        if (leaf == NULL || (~atomic_load (&leaf->given[word]) & mask) != 0)
            return false;
        if (unchanged && (atomic_load (&leaf->changed[word]) & mask) != 0)
            return false;
    }
    return true;
}

static void
walk (vm_address_t first, size_t pages, bool clear, vm_map_run_t run, void *context)
{
    size_t taken, run_page = 0, run_pages = 0;
    int run_kind = 0;
    for (size_t page = first / vm_page_size; pages != 0; page += taken, pages -= taken) {
        uint64_t mask = word_mask (page, pages, &taken), given = 0, changed = 0;
        struct leaf *leaf = leaf_of (page);
        size_t word = page % LEAF_PAGES / 64;
        if (leaf != NULL) {
            /* Whoever clears "given" owns the page, and with it the other bit. */
            given = clear ? atomic_fetch_and (&leaf->given[word], ~mask) : atomic_load (&leaf->given[word]);
            given &= mask;
            changed = atomic_load (&leaf->changed[word]) & given;
            if (clear && changed != 0)
                atomic_fetch_and (&leaf->changed[word], ~changed);
        }
        for (size_t i = 0; i < taken; i++) {
            uint64_t bit = UINT64_C (1) << (page % 64 + i);
            int kind = (given & bit) == 0 ? 0 : (changed & bit) == 0 ? 1 : 2;
            if (run_pages != 0 && kind != run_kind) {
                run (run_page * vm_page_size, run_pages, run_kind, context);
                run_pages = 0;
            }
            if (run_pages == 0) {
                run_page = page + i;
                run_kind = kind;
            }
            run_pages++;
        }
    }
    if (run_pages != 0)
        run (run_page * vm_page_size, run_pages, run_kind, context);
}

void
vm_map_clear (vm_address_t first, size_t pages, vm_map_run_t run, void *context)
{
    walk (first, pages, true, run, context);
}

void
vm_map_scan (vm_address_t first, size_t pages, vm_map_run_t run, void *context)
{
    walk (first, pages, false, run, context);
}
