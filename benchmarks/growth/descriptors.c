/* 100 to 1,000,000 descriptors: as many pages, each with another set of four readers out of 80. (There are 1,581,580 such sets; none fits a
   word, since these clients have the numbers from 4 on.)  */

#include <stdlib.h>

#include "growth.h"

enum { FIRST = 4, READERS = 80, OF_A_PAGE = 4, AT_MOST = 10000 };

static struct land land;
static unsigned long pages;

/* The readers of a page, rising: the set's number in the combinatorial number system.  */
struct set {
    unsigned char reader[OF_A_PAGE];
};

static struct set *sets;

static void make_sets(unsigned long count)
{
    sets = malloc(count * sizeof *sets);
    struct set set = { { 0, 1, 2, 3 } };
    for (unsigned long i = 0; i < count; i++) {
        sets[i] = set;
        /* The next one: the first reader that has room goes up by one, those below it begin anew.  */
        int k = 0;
        while (k + 1 < OF_A_PAGE && set.reader[k] + 1 == set.reader[k + 1]) {
            set.reader[k] = (unsigned char)k;
            k++;
        }
        set.reader[k]++;
    }
    expect("too many sets", count > 0 && sets[count - 1].reader[OF_A_PAGE - 1] >= READERS, 0);
}

static struct sender reader(unsigned long page, unsigned which)
{
    return sender_of(&land, FIRST + sets[page].reader[which]);
}

static size_t open_descriptors(unsigned long size, bool sparse)
{
    (void)sparse;
    make_sets(size);
    land_open(&land, FIRST + READERS);
    translator_write_lock = 0;
    pages = size;
    size_t before = allocated();
    for (unsigned long page = 0; page < size; page++)
        for (unsigned which = 0; which < OF_A_PAGE; which++)
            request(reader(page, which), page * vm_page_size, VM_PROT_READ);
    struct pager_statistics statistics;
    pager_get_statistics(land.pager, &statistics);
    expect("descriptors", statistics.descriptors, size);
    return allocated() - before;
}

static void close_descriptors(void)
{
    expect_nothing_refused(&land);
    land_close(&land);
    free(sets);
}

static unsigned long some(unsigned long size)
{
    return size < AT_MOST ? size : AT_MOST;
}

/* ---- A page whose readers are like no other page's ---- */

static void prepare_own(unsigned long operations, bool first)
{
    (void)first;
    for (unsigned long i = 0; i < operations; i++) {
        unsigned long page = scattered(i, pages);
        give_back(reader(page, OF_A_PAGE - 1), page * vm_page_size, 0);
    }
}

static void run_own(unsigned long operations)
{
    for (unsigned long i = 0; i < operations; i++) {
        unsigned long page = scattered(i, pages);
        request(reader(page, OF_A_PAGE - 1), page * vm_page_size, VM_PROT_READ);
    }
}

/* ---- A page that comes to have the readers of another ---- */

static vm_offset_t twin(unsigned long i)
{
    return (pages + i) * vm_page_size;
}

static void prepare_shared(unsigned long operations, bool first)
{
    for (unsigned long i = 0; i < operations; i++) {
        unsigned long page = scattered(i, pages);
        for (unsigned which = 0; first && which < OF_A_PAGE; which++)
            request(reader(page, which), twin(i), VM_PROT_READ);
        give_back(reader(page, OF_A_PAGE - 1), twin(i), 0);
    }
}

static void run_shared(unsigned long operations)
{
    for (unsigned long i = 0; i < operations; i++)
        request(reader(scattered(i, pages), OF_A_PAGE - 1), twin(i), VM_PROT_READ);
}

const struct series descriptors_series = {
    "descriptors", open_descriptors, close_descriptors,
    { { "own", prepare_own, run_own, some }, { "shared", prepare_shared, run_shared, some } },
};
