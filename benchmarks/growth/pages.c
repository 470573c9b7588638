/* Pages of one client: 10,000 to 100,000,000 in the map.  */

#include "growth.h"

enum { LEAF = 1024, AT_MOST = 100000, FIRST_TOUCHES = 4096 };

static struct land land;
static unsigned long pages, next_page;

/* Sparse: one page of each leaf, which makes the whole leaf.  */
static size_t open_pages(unsigned long size, bool sparse)
{
    land_open(&land, 1);
    translator_write_lock = 0;
    pages = next_page = size;
    size_t before = allocated();
    struct sender client = sender_of(&land, 0);
    for (unsigned long page = 0; page < size; page += sparse ? LEAF : 1)
        request(client, page * client.page_size, VM_PROT_READ);
    return allocated() - before;
}

static void close_pages(void)
{
    expect_nothing_refused(&land);
    land_close(&land);
}

static unsigned long some(unsigned long size)
{
    return size < AT_MOST ? size : AT_MOST;
}

/* ---- One after the other, from the middle on ---- */

static unsigned long in_a_row(unsigned long i)
{
    unsigned long page = pages / 2 + i;
    return page < pages ? page : page - pages;
}

static void prepare_row(unsigned long operations, bool first)
{
    (void)first;
    struct sender client = sender_of(&land, 0);
    for (unsigned long i = 0; i < operations; i++)
        rest(client, in_a_row(i) * client.page_size);
}

static void run_row(unsigned long operations)
{
    struct sender client = sender_of(&land, 0);
    for (unsigned long i = 0; i < operations; i++)
        request(client, in_a_row(i) * client.page_size, VM_PROT_READ);
}

/* ---- Here and there ---- */

static void prepare_scattered(unsigned long operations, bool first)
{
    (void)first;
    struct sender client = sender_of(&land, 0);
    for (unsigned long i = 0; i < operations; i++)
        rest(client, scattered(i, pages) * client.page_size);
}

static void run_scattered(unsigned long operations)
{
    struct sender client = sender_of(&land, 0);
    for (unsigned long i = 0; i < operations; i++)
        request(client, scattered(i, pages) * client.page_size, VM_PROT_READ);
}

/* ---- Beyond the end: the map grows ---- */

static void prepare_beyond(unsigned long operations, bool first)
{
    if (!first)
        next_page += operations;
}

static void run_beyond(unsigned long operations)
{
    struct sender client = sender_of(&land, 0);
    vm_offset_t offset = next_page * client.page_size;
    for (unsigned long i = 0; i < operations; i++, offset += client.page_size)
        request(client, offset, VM_PROT_READ);
}

static unsigned long few(unsigned long size)
{
    (void)size;
    return FIRST_TOUCHES;
}

const struct series pages_series = {
    "pages", open_pages, close_pages,
    { { "in-a-row", prepare_row, run_row, some },
      { "scattered", prepare_scattered, run_scattered, some },
      { "first-touch", prepare_beyond, run_beyond, few } },
};
