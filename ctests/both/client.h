/* Clients of either kind for one test: scripted kernels, whose messages the test can look at, and mapping kernels, whose faults
   are real.

   A case says what its clients do in the words below, which mean the same in both modes, and runs once in each: BOTH(test_name)
   in the list of tests makes test_name_scripted and test_name_mapped.  What only a scripted kernel can tell (a message's fields)
   is asserted behind `if (scripted(...))', beside what both can.

   Where they differ by nature:
     - A mapped thread that faults retries until it has had its way, or gets SIGBUS; a scripted fault (ask) is one message.  So a
       mapped page that somebody else waits for may be asked for twice; and a fault ends only with the thread, so it must be
       waited for (wait_page).
     - A mapped write fault writes: the page is dirty afterwards.  ask(..., RW) writes what was there.
     - A signal has no error code: it is the one that pager_get_error tells, as for any program that maps.  */

#ifndef TESTS_CLIENT_H
#define TESTS_CLIENT_H

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>

#include "store.h"

enum mode { SCRIPTED, MAPPED };
enum { RW = VM_PROT_READ | VM_PROT_WRITE };
enum { FAULTS = 16, CLIENTS = 16 };

/* A fault of a mapped client under way, in a thread of its own.  */
struct fault {
    volatile unsigned char *where;
    vm_prot_t access;
    size_t page;
    int used;
    struct task task;
};

struct client {
    struct party *party;
    sk_kernel *scripted;
    sk_object *object;
    struct mk_kernel *mapped;               /* or how else kernels that map are known (mapped.h) */
    volatile unsigned char *_Atomic memory; /* NULL: not mapped any more */
    size_t pages;
    _Atomic int dead;
    struct fault faults[FAULTS];
};

/* A world and its clients: client i is number i of the pager.  */
struct party {
    enum mode mode;
    struct world world;
    int count, mapped;                      /* of them, those that map */
    struct client *clients[CLIENTS];
};

/* STATE is what cmocka gives to the case: it says which mode.  */
void party_open(struct party *, void **state, int clients, size_t pages, boolean_t notify);
void party_open_with(struct party *, void **state, int clients, size_t pages, boolean_t may_cache, memory_object_copy_strategy_t,
                     boolean_t notify);
/* No kernel saw what no pager may do, no fault is left; everybody goes; world_close.  */
void party_close(struct party *);
/* The same for a pager that ends by itself: world_close_ended.  */
void party_close_ended(struct party *);
/* One more maps the pager.  */
struct client *party_join(struct party *);
/* One that is no member tries to map the pager: 0, or why it is turned away; then it is gone.  */
int party_visit(struct party *);
/* A client of another pager: of PORT's first PAGES pages.  It is not the party's, and goes with client_free.  */
struct client *client_of(struct party *, mach_port_t port, size_t pages);
void client_free(struct client *);

static inline int scripted(struct party *party) { return party->mode == SCRIPTED; }

/* ---- Touching ---- */

/* A fault, from beginning to end: 0 or the pager's error.  */
int try_read(struct client *, size_t page, unsigned char *byte);
int try_write(struct client *, size_t page, unsigned char byte);

static inline void put(struct client *client, size_t page, unsigned char byte)
{
    assert_int_equal(try_write(client, page, byte), 0);
}

static inline unsigned char get(struct client *client, size_t page)
{
    unsigned char byte = 0;
    assert_int_equal(try_read(client, page, &byte), 0);
    return byte;
}

/* The same without asking the pager: the page must be there (to be written).  */
unsigned char byte_of(struct client *, size_t page);
void rewrite(struct client *, size_t page, unsigned char byte);

/* Begin a fault on a page that is not there, or that must not be written.  Returns when the pager has been asked: the message
   is in its queue.  */
void ask(struct client *, size_t page, vm_prot_t access);
void ask_unlock(struct client *, size_t page);
/* Wait for the page; ends the fault, if one was begun on it, which must succeed.  */
void wait_page(struct client *, size_t page, enum sk_want want);
/* Wait until the fault has ended, either way: 0 or the pager's error.  */
int end_ask(struct client *, size_t page);
/* The client has gone, or lost all: its faults end somehow.  */
void end_all(struct client *);
/* The fault is not answered, and is not for some 30 ms: a chance for what is wrong to show itself; nothing depends on the time.  */
int still_waits(struct client *, size_t page);

/* ---- Leaving ---- */

/* The page is pushed out, unasked, as under memory pressure.  */
void evict(struct client *, size_t page);
int try_evict(struct client *, size_t page);
/* The last mapping goes; it comes again (the client is new to the pager); the kernel dies.  A fault under way must still be ended.  */
void terminate(struct client *);
void come_back(struct client *);
void die(struct client *);

/* ---- Looking ---- */

enum sk_page_state state_of(struct client *, size_t page);
int is_writable(struct client *, size_t page);      /* there, and its lock permits writing */
int is_dirty(struct client *, size_t page);
int is_precious(struct client *, size_t page);
unsigned resident(struct client *);
/* How many pages the pager has supplied; refused with an error; how many lock requests it has sent; how many messages with returned
   pages the client sent.  Since it mapped the object.  */
unsigned supplies(struct client *);
unsigned refusals(struct client *);
unsigned locks(struct client *);
unsigned returns(struct client *);
/* Wait until the client has answered so many lock requests.  */
void wait_answers(struct client *, unsigned count);
void attributes_of(struct client *, boolean_t *may_cache, memory_object_copy_strategy_t *);

static inline void assert_attributes(struct client *client, boolean_t cache, memory_object_copy_strategy_t strategy)
{
    boolean_t may_cache;
    memory_object_copy_strategy_t copy;
    attributes_of(client, &may_cache, &copy);
    assert_int_equal(may_cache, cache);
    assert_int_equal(copy, strategy);
}

static inline int access_of(struct party *party, size_t page, unsigned client)
{
    return pager_page_access(party->world.pager, page_offset(page), client);
}

static inline int error_of(struct party *party, size_t page) { return pager_get_error(party->world.pager, page_offset(page)); }

static inline void wait_clients(struct party *party, unsigned count)
{
    while (world_statistics(&party->world).clients != count)
        sched_yield();
}

/* Nothing is with a client, on its way, or waits to be written.  */
static inline void assert_at_rest(struct party *party)
{
    struct pager_page_census census;
    pager_take_census(party->world.pager, &census);
    assert_int_equal(census.readers + census.writers + census.busy + census.held, 0);
}

/* What was sent to the pager before is taken in, even while callbacks stand at gates: behind it comes a message that is refused,
   and that is counted.  */
void fence(struct party *);

/* The calls in the order in which they began, as letters: r w u e W; with page numbers.  */
void assert_calls(struct world *, const char *expected);
/* ... from here on.  */
void forget_calls(struct world *);

/* A party of one or two.  */
struct scene {
    struct party party;
    struct client *x, *y;
};

static inline void scene_open(struct scene *scene, void **state, size_t pages, int clients, boolean_t notify)
{
    party_open(&scene->party, state, clients, pages, notify);
    scene->x = scene->party.clients[0];
    scene->y = scene->party.clients[1];
}

static inline void scene_close(struct scene *scene) { party_close(&scene->party); }

/* A call with a range, for a thread; tells what the store had when it returned.  */
struct ranged {
    void (*function)(struct pager *, vm_address_t, vm_size_t, int);
    struct world *world;
    size_t first, count;
    atomic_int flag;                        /* set by the test before it lets the call return */
};

static inline int run_ranged(void *argument)
{
    struct ranged *ranged = argument;
    ranged->function(ranged->world->pager, page_offset(ranged->first), page_offset(ranged->count), 1);
    return ranged->flag;
}

/* Another platform has another list.  */
#ifndef BOTH
#define BOTH(test) \
    { .name = #test "_scripted", .test_func = test, .initial_state = (void *) &(enum mode) { SCRIPTED } }, \
    { .name = #test "_mapped", .test_func = test, .initial_state = (void *) &(enum mode) { MAPPED } }
#endif

#endif
