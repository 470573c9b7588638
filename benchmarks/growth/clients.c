/* 1 to 10,000 clients of one object. Each has pages of its own, but where one joins all others.  */

#include "growth.h"

enum { AT_MOST = 10000, OWN = 1000 };

static struct land land;

static size_t open_clients(unsigned long size, bool sparse)
{
    (void)sparse;
    size_t before = allocated();
    land_open(&land, (unsigned)size);
    translator_write_lock = 0;
    return allocated() - before;
}

/* (What look-up measures is refused, so that much may be.)  */
static void close_clients(void)
{
    land_close(&land);
}

/* ---- One client's page-in, the last one's ---- */

static unsigned long own(unsigned long size)
{
    (void)size;
    return OWN;
}

static struct sender last(void)
{
    return sender_of(&land, land.clients - 1);
}

static void prepare_one(unsigned long operations, bool first)
{
    (void)first;
    struct sender client = last();
    for (unsigned long page = 0; page < operations; page++)
        rest(client, page * client.page_size);
}

static void run_one(unsigned long operations)
{
    struct sender client = last();
    for (unsigned long page = 0; page < operations; page++)
        request(client, page * client.page_size, VM_PROT_READ);
}

/* ---- Page-ins of many clients ---- */

static unsigned long each(unsigned long size)
{
    return size < OWN ? OWN : AT_MOST;
}

/* Operation I: client and page.  */
static struct sender any(unsigned long i)
{
    return sender_of(&land, (unsigned)scattered(i % land.clients, land.clients));
}

static vm_offset_t page_of(unsigned long i)
{
    return (OWN + i) * vm_page_size;
}

static void prepare_any(unsigned long operations, bool first)
{
    (void)first;
    for (unsigned long i = 0; i < operations; i++)
        rest(any(i), page_of(i));
}

static void run_any(unsigned long operations)
{
    for (unsigned long i = 0; i < operations; i++)
        request(any(i), page_of(i), VM_PROT_READ);
}

/* ---- Nothing but the look-up: a message of many clients that is refused as soon as they are known ---- */

static void prepare_look_up(unsigned long operations, bool first)
{
    (void)operations;
    /* What a refusal does the first time.  */
    if (first)
        unlock(any(0), (vm_offset_t)1 << 40);
}

static void run_look_up(unsigned long operations)
{
    for (unsigned long i = 0; i < operations; i++)
        unlock(any(i), (vm_offset_t)1 << 40);
}

/* ---- The last one joins all others as a reader ---- */

static unsigned long joined(unsigned long size)
{
    return size < 200 ? OWN : OWN * 200 / size;
}

static vm_offset_t shared_page(unsigned long i)
{
    return (OWN + AT_MOST + i) * vm_page_size;
}

static void prepare_join(unsigned long operations, bool first)
{
    for (unsigned long i = 0; i < operations; i++) {
        for (unsigned client = 0; first && client + 1 < land.clients; client++)
            request(sender_of(&land, client), shared_page(i), VM_PROT_READ);
        if (first)
            request(last(), shared_page(i), VM_PROT_READ);
        give_back(last(), shared_page(i), 0);
    }
}

static void run_join(unsigned long operations)
{
    struct sender client = last();
    for (unsigned long i = 0; i < operations; i++)
        request(client, shared_page(i), VM_PROT_READ);
}

const struct series clients_series = {
    "clients", open_clients, close_clients,
    { { "page-in", prepare_one, run_one, own },
      { "any-page-in", prepare_any, run_any, each },
      { "look-up", prepare_look_up, run_look_up, each },
      { "join", prepare_join, run_join, joined } },
};
