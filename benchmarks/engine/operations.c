/* What is measured by the piece: one operation a page. Every round begins in the same state; the page map is ready (each page was asked for
   before).  */

#include "engine_benchmark.h"

static const vm_prot_t reading = VM_PROT_READ, writing = VM_PROT_READ | VM_PROT_WRITE;

/* The first page that is not used any more.  */
static vm_offset_t
end_of(unsigned long pages)
{
    return pages * vm_page_size;
}

/* ---- One client ---- */

static void
prepare_unused(struct land *land, unsigned long pages, unsigned round)
{
    struct sender client = sender_of(land, 0);
    translator_write_lock = 0;
    for (vm_offset_t at = 0; at < end_of(pages); at += vm_page_size) {
        if (round == 0)
            request(client, at, reading);
        give_back(client, at, 0);
    }
}

static void
run_page_in(struct land *land, unsigned long pages, unsigned round)
{
    (void) round;
    struct sender client = sender_of(land, 0);
    for (vm_offset_t at = 0, end = end_of(pages); at < end; at += client.page_size)
        request(client, at, reading);
}

static void
prepare_pair(struct land *land, unsigned long pages, unsigned round)
{
    if (round == 0)
        prepare_unused(land, pages, round);
}

static void
run_pair(struct land *land, unsigned long pages, unsigned round)
{
    (void) round;
    struct sender client = sender_of(land, 0);
    for (vm_offset_t at = 0, end = end_of(pages); at < end; at += client.page_size) {
        request(client, at, writing);
        give_back(client, at, 1);
    }
}

static void
prepare_locked(struct land *land, unsigned long pages, unsigned round)
{
    struct sender client = sender_of(land, 0);
    translator_write_lock = 1;
    for (vm_offset_t at = 0; at < end_of(pages); at += vm_page_size) {
        if (round > 0)
            give_back(client, at, 0);
        request(client, at, reading);
    }
}

static void
run_unlock(struct land *land, unsigned long pages, unsigned round)
{
    (void) round;
    struct sender client = sender_of(land, 0);
    for (vm_offset_t at = 0, end = end_of(pages); at < end; at += client.page_size)
        unlock(client, at);
}

/* ---- Many ---- */

static void
all_but_last_read(struct land *land, vm_offset_t at)
{
    for (unsigned client = 0; client < land->clients - 1; client++)
        request(sender_of(land, client), at, reading);
}

static void
prepare_readers(struct land *land, unsigned long pages, unsigned round)
{
    translator_write_lock = 0;
    for (vm_offset_t at = 0; at < end_of(pages); at += vm_page_size)
        if (round == 0)
            all_but_last_read(land, at);
        else
            give_back(sender_of(land, land->clients - 1), at, 0);
}

static void
run_join(struct land *land, unsigned long pages, unsigned round)
{
    (void) round;
    struct sender last = sender_of(land, land->clients - 1);
    for (vm_offset_t at = 0, end = end_of(pages); at < end; at += last.page_size)
        request(last, at, reading);
}

static void
prepare_writer(struct land *land, unsigned long pages, unsigned round)
{
    translator_write_lock = 0;
    for (vm_offset_t at = 0; at < end_of(pages) && round == 0; at += vm_page_size)
        request(sender_of(land, 0), at, writing);
}

/* From one client to the other, in the next round back again.  */
static void
run_hand_over(struct land *land, unsigned long pages, unsigned round)
{
    struct sender from = sender_of(land, round & 1), to = sender_of(land, !(round & 1));
    for (vm_offset_t at = 0, end = end_of(pages); at < end; at += to.page_size) {
        request(to, at, writing);
        give_back(from, at, 1);
        completed(from, at);
    }
}

static void
prepare_all_but_one(struct land *land, unsigned long pages, unsigned round)
{
    translator_write_lock = 0;
    for (vm_offset_t at = 0; at < end_of(pages); at += vm_page_size) {
        if (round > 0)
            give_back(sender_of(land, land->clients - 1), at, 0);
        all_but_last_read(land, at);
    }
}

static void
run_flush(struct land *land, unsigned long pages, unsigned round)
{
    (void) round;
    struct sender last = sender_of(land, land->clients - 1);
    for (vm_offset_t at = 0, end = end_of(pages); at < end; at += last.page_size) {
        request(last, at, writing);
        for (unsigned client = 0; client < land->clients - 1; client++)
            completed(sender_of(land, client), at);
    }
}

const struct operation operations[] = {
    { "page-in", 1, 50000, prepare_unused, run_page_in, { .sends = 1, .reads = 1 } },
    { "pair", 1, 50000, prepare_pair, run_pair, { .sends = 1, .reads = 1, .writes = 1 } },
    { "unlock", 1, 50000, prepare_locked, run_unlock, { .sends = 1, .unlocks = 1 } },
    { "join-2", 3, 20000, prepare_readers, run_join, { .sends = 1, .reads = 1 } },
    { "join-16", 17, 10000, prepare_readers, run_join, { .sends = 1, .reads = 1 } },
    { "join-64", 64 + 1, 5000, prepare_readers, run_join, { .sends = 1, .reads = 1 } },
    { "hand-over", 2, 20000, prepare_writer, run_hand_over, { .sends = 2, .writes = 1 } },
    { "flush-64", 64, 500, prepare_all_but_one, run_flush, { .sends = 64, .reads = 1 } },
};

const size_t operation_count = sizeof operations / sizeof *operations;
