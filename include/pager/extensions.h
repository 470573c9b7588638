/* pager/extensions.h - what this libpager offers beyond <hurd/pager.h>.

   A translator that is to run with the Hurd's libpager as well must not need any of it.
   Every call may be made from any thread.  */

#ifndef _PAGER_EXTENSIONS_
#define _PAGER_EXTENSIONS_ 1

#include <stdint.h>

#include <hurd/pager.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Several page-ins of one object at a time: for a store that takes long for a page and can read several at once, as a disk does.

   Opting in.  Without this call, and with COUNT 1, callbacks of a pager run one at a time, in the order of the requests.  With a larger COUNT
   up to COUNT reads of PAGER run at the same time (calls of pager_read_page, or of pager_read_pages, each of which counts as one
   however many pages it reads), and beside them one other callback of the same pager (pager_write_page, pager_write_pages,
   pager_unlock_page, pager_notify_evict).  That goes for pages that a client asks for in one message, too, unless pager_read_pages reads them
   together.  To be called before the first request; later, it holds for callbacks that begin after it.

   The limit.  COUNT is 1 to 64, else the call returns EINVAL and changes nothing.  The workers of a bucket are at most 64 for all its pagers,
   and one of them always receives: so 63 callbacks run in them at once at the most.  (A callback that waits in a call of the library,
   pager_sync_some of other pages, say, is not counted while it waits, neither here nor for COUNT; that is so without opting in, too.)

   What the translator guarantees by the call.  pager_read_page and pager_read_pages may run in several threads at the same time, for
   different pages, also beside one other callback for another page.  It relies on no order among reads, nor between a read and the
   other callbacks, but for one page: they begin and end in any order.

   What the library guarantees still.  There are never two callbacks for the same page at the same time; callbacks for one page come in their
   order; and those that are no reads run one at a time, in the order of the requests.  */
error_t pager_set_concurrent_reads(struct pager *pager, unsigned int count);

/* Optional, defined by the translator (the library has a weak one that returns EOPNOTSUPP; then pages are read one by one by
   pager_read_page, which must be there in any case).  Called where a client asked for neighbouring pages at once: read LENGTH bytes,
   whole pages, at OFFSET, in one piece.  *BUF: a page-aligned buffer from vm_allocate or mmap, which the library takes over.  *READ: how many
   bytes from the start were read, whole pages, the length of *BUF; on success and on failure alike.  The page behind them gets the error,
   the rest is read by pager_read_page.  *WRITE_LOCK: as for pager_read_page, for all of them: where pages differ, read fewer.
   Pages that are read together are supplied together, in one message.  */
error_t pager_read_pages(struct user_pager_info *pager, vm_offset_t offset, vm_size_t length, vm_address_t *buf,
                         vm_size_t *read, int *write_lock);

/* How long pager_shutdown waits for clients that do not answer, in milliseconds (10,000).  They are then given up
   as if dead: what they had not returned is lost.  */
void pager_set_shutdown_patience(struct pager *pager, unsigned int milliseconds);

/* End the workers and free REQUESTS.  Returns when all threads have let go.  Requests that are received but not done
   are done first; what waits in the ports stays there.  Not from a callback.  */
void pager_stop_workers(struct pager_requests *requests);

/* Counters of one pager since its creation.  (What is counted wraps at the size of the machine's word.)  */
struct pager_statistics {
    uint64_t messages;              /* received for this pager */
    uint64_t page_ins;              /* calls of pager_read_page */
    uint64_t page_outs;             /* pages written */
    uint64_t supplies;              /* data_supply sent */
    uint64_t errors;                /* data_error sent */
    uint64_t hand_offs;             /* supplies of data that one client returned and another, or the same, asked for,
                                       without the store */
    uint64_t flushes;               /* lock requests sent to take a page from a client for another */
    uint64_t downgrades;            /* lock requests sent to make a writer a reader */
    uint64_t unlocks;               /* grants of writing to a client that had the page */
    uint64_t evictions;             /* calls of pager_notify_evict */
    uint64_t refused;               /* messages refused, see the log */
    uint64_t stale_unlocks;         /* of these, data_unlock for a page that the client does not have.  A kernel in order may
                                       send some: an unlock that leaves it late comes behind the flush that answers it */
    uint64_t skipped_writes;        /* returned versions that a newer one replaced before they were written */
    uint64_t clients;               /* attached now */
    uint64_t descriptors;           /* shared page descriptors now */
    uint64_t descriptor_bytes;
    uint64_t map_bytes;             /* of the page map, without descriptors */
};
void pager_get_statistics(struct pager *pager, struct pager_statistics *statistics);

/* Pages in each condition now (a snapshot while nothing moves; else each page is counted once or not at all).  */
struct pager_page_census {
    uint64_t touched;               /* asked for at least once */
    uint64_t unused;                /* no client has it */
    uint64_t readers;               /* one or more clients may read */
    uint64_t writers;               /* one client may write */
    uint64_t busy;                  /* being read, written, handed over */
    uint64_t held;                  /* a returned version waits to be written */
    uint64_t in_error;              /* the last operation failed */
    uint64_t described;             /* kept in a shared descriptor rather than in the word */
};
void pager_take_census(struct pager *pager, struct pager_page_census *census);

/* The access of one page, for tests and debuggers: for client number CLIENT 0 none, 1 read, 2 being taken back, 3 write;
   -1: no such client.  Client numbers are given in order of attachment, from 0, and reused.  */
int pager_page_access(struct pager *pager, vm_offset_t page, unsigned int client);

/* The page map's word for PAGE (docs/design.md), 0 if the page was never touched.  For tests and debuggers.  */
uint32_t pager_page_word(struct pager *pager, vm_offset_t page);

#ifdef __cplusplus
}
#endif

#endif
