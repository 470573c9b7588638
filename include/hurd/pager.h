/* hurd/pager.h - serve page faults on memory objects.

   A *pager* is a memory object: kernels map it (they are its *clients*) and ask by message for its pages.
   The library answers, and calls the functions at the end of this header, which the translator defines.
   Names, types and meaning are those of the Hurd's libpager.  New here: several kernels may map one object,
   the library keeps them coherent; and errors are any errno.

   Offsets and lengths are in bytes; a *page* argument is the offset of a page, a multiple of vm_page_size.
   Every call may be made from any thread, also from within a callback, except where a comment says otherwise.
   A `struct pager *' is a port of libports: it begins with struct port_info, and ports_port_ref,
   ports_port_deref, their weak forms and ports_get_send_right work on it.  The caller of every function here
   must hold a reference to the pager that it passes.

   What goes beyond the Hurd's interface is in <pager/extensions.h>.  */

#ifndef _HURD_PAGER_
#define _HURD_PAGER_ 1

#include <errno.h>
#include <stddef.h>

#include <mach/mach_types.h>
#include <hurd/ports.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef __error_t_defined
#define __error_t_defined 1
typedef int error_t;
#endif

/* A memory object.  */
struct pager;

/* The translator's own data of one pager; defined by the translator.  */
struct user_pager_info;

/* The threads that serve a bucket.  */
struct pager_requests;


/* ---- Serving ---- */

/* Start threads that receive on BUCKET and serve the pagers in it.  Threads are added while all are busy in
   callbacks.  *REQUESTS, for the two calls below, lives until pager_stop_workers (<pager/extensions.h>).
   Errors: ENOMEM, or the errno of a thread that could not be made.  */
error_t pager_start_workers(struct port_bucket *bucket, struct pager_requests **requests);

/* Let the workers finish every request that was sent before this call, then hold them; returns when no
   callback runs and none will until pager_resume_workers.  Messages wait in the ports meanwhile, also the
   answers that a waiting pager_sync waits for.  Callbacks that other calls here make in their callers' threads are not
   held.  Not to be called from a callback (EDEADLK).  EBUSY: somebody
   else has inhibited them.  */
error_t pager_inhibit_workers(struct pager_requests *requests);

/* End the inhibition.  */
void pager_resume_workers(struct pager_requests *requests);


/* ---- Pagers ---- */

/* A new memory object for U_PAGER, in BUCKET.  The caller gets one reference.  MAY_CACHE: kernels may keep pages
   after the last unmapping.  COPY_STRATEGY: how kernels are to copy it.  NOTIFY_ON_EVICT: pages are supplied
   precious, and pager_notify_evict tells when the last copy of a page has gone.
   NULL with errno set on failure.  */
struct pager *pager_create(struct user_pager_info *u_pager, struct port_bucket *bucket, boolean_t may_cache,
                           memory_object_copy_strategy_t copy_strategy, boolean_t notify_on_evict);

/* The same, with U_PAGER_SIZE bytes, zeroed, for the translator's data, which live and die with the pager
   (pager_clear_user_data must not free them).  */
struct pager *pager_create_alloc(size_t u_pager_size, struct port_bucket *bucket, boolean_t may_cache,
                                 memory_object_copy_strategy_t copy_strategy, boolean_t notify_on_evict);

/* The translator's data of PAGER.  */
struct user_pager_info *pager_get_upi(struct pager *pager);

/* The name of PAGER's receive right.  The caller makes a send right of it (MACH_MSG_TYPE_MAKE_SEND), as with
   ports_get_right.  MACH_PORT_NULL after pager_shutdown.  */
mach_port_t pager_get_port(struct pager *pager);

/* A send right to an object that maps as PAGER does, but never for writing.  The caller owns the right.
   MACH_PORT_NULL with errno set on failure.  */
mach_port_t pager_create_ro_port(struct pager *pager);

/* Tell every client new attributes.  WAIT: return when each has answered or is gone.  */
void pager_change_attributes(struct pager *pager, boolean_t may_cache,
                             memory_object_copy_strategy_t copy_strategy, int wait);

/* Write everything back and take every page from every client; refuse new requests (data_error with EIO);
   destroy the receive right; wake everybody who waits.  The caller's reference stays.
   A client that does not answer within a time limit (pager_set_shutdown_patience, 10 s) is given up.
   Not from a callback of the same PAGER, which it would wait for.  */
void pager_shutdown(struct pager *pager);

/* The last error of the page that holds ADDRESS (an offset in the object): an errno, or 0.  */
error_t pager_get_error(struct pager *pager, vm_address_t address);


/* ---- Pages ----

   The forms without a range take pager_report_extent's.  The forms with a range widen it to whole pages.
   WAIT: return only when every client has answered (or is gone), and every write that this caused, or that
   was already under way in the range, is done.  */

/* Clients return what is dirty, which is written; they keep their copies.  */
void pager_sync(struct pager *pager, int wait);
void pager_sync_some(struct pager *pager, vm_address_t start, vm_size_t len, int wait);

/* Clients drop their copies, *dirty data with them*.  */
void pager_flush(struct pager *pager, int wait);
void pager_flush_some(struct pager *pager, vm_address_t start, vm_size_t len, int wait);

/* Clients return what is dirty, which is written, and drop their copies.  */
void pager_return(struct pager *pager, int wait);
void pager_return_some(struct pager *pager, vm_address_t start, vm_size_t len, int wait);

/* Give the client the page at offset PAGE without having been asked.  BUF: its data, page-aligned, which stay the
   caller's.  WRITELOCK: a write must ask pager_unlock_page first.  PRECIOUS: it comes back when it is
   evicted, also unchanged (always so with notify_on_evict, which alone makes pager_notify_evict be called).  Ignored where the client has the page or waits for it, and while the object has several
   clients or none: a page that nobody asked for cannot be given out coherently then (docs/design.md).  */
void pager_offer_page(struct pager *pager, int precious, int writelock, vm_offset_t page, vm_address_t buf);

/* Copy *SIZE bytes between OTHER and the object MEMOBJ (a send right to PAGER's port, or to a read-only one) at OFFSET, through a
   mapping: from the object if PROT is VM_PROT_READ, to it if PROT contains VM_PROT_WRITE.  *SIZE is set to what was copied, from the
   start.  Errors: a page of the object that cannot be had: what pager_get_error says of it, or EIO; EFAULT: OTHER cannot be accessed;
   EACCES: MEMOBJ forbids writing; EINVAL: MEMOBJ is no such right; ENOMEM; EOPNOTSUPP: no kernel here maps objects (on Linux:
   <mapping/mapping_kernel.h>).  While it runs SIGSEGV and SIGBUS have a handler of the library's, which passes on what is not its own.  */
error_t pager_memcpy(struct pager *pager, memory_object_t memobj, vm_offset_t offset, void *other,
                     size_t *size, vm_prot_t prot);


/* ---- Defined by the translator ----

   The library calls these from its workers, or from a thread that is in one of the calls above.  Unless the
   translator has opted in to more (<pager/extensions.h>), the calls for one pager come one at a time, in the
   order of the requests.  No lock of the library is held.  They may call the functions above, for any pager;
   a call that waits must not depend on the very request that it serves (the pages of one data_return are one
   request).  While a callback is in a call that waits, other callbacks of the pager may run, but none for the same
   page; so a translator must not hold a lock there that its other callbacks take.  */

/* Read the page at offset PAGE.  *BUF: a page-aligned buffer of one page, from vm_allocate or mmap, which the
   library takes over.  *WRITE_LOCK: non-zero if a write must ask pager_unlock_page first; that may follow at once, before
   anybody has been given the page.
   An errno other than 0 goes to whoever asked; pager_get_error will tell it.  */
error_t pager_read_page(struct user_pager_info *pager, vm_offset_t page, vm_address_t *buf, int *write_lock);

/* Write the page at offset PAGE from BUF, which stays the library's and is valid during the call.  */
error_t pager_write_page(struct user_pager_info *pager, vm_offset_t page, vm_address_t buf);

/* Optional (the library has a weak one that returns EOPNOTSUPP; then pages are written one by one).  Write LENGTH
   bytes, whole pages, from DATA at OFFSET.  *WRITTEN: how many bytes from the start were written, on success and on
   failure alike; the page behind them gets the error, the rest is tried again.  */
error_t pager_write_pages(struct user_pager_info *pager, vm_offset_t offset, vm_address_t data, vm_size_t length,
                          vm_size_t *written);

/* A client wants to write the page at offset ADDRESS, of which pager_read_page said *WRITE_LOCK.  It has it read-only; or, new here, it is
   one of several clients, has asked to write the page, and gets it when this has returned.  (Got locked, the page could be
   taken from it for the next writer before it comes to ask, over and over.  A lone client always has the page.)
   0: it may.  An errno: that request gets the error; who has the page loses it, and its next request to write it gets the error.  */
error_t pager_unlock_page(struct user_pager_info *pager, vm_offset_t address);

/* With notify_on_evict: the last copy of the page at offset PAGE has gone, after it was written if it was dirty.
   Clears the page's errors.  */
void pager_notify_evict(struct user_pager_info *pager, vm_offset_t page);

/* The range of offsets that the object spans now.  */
error_t pager_report_extent(struct user_pager_info *pager, vm_address_t *offset, vm_size_t *size);

/* The pager is gone: free what belongs to it.  Called exactly once, after the last reference went.  */
void pager_clear_user_data(struct user_pager_info *pager);

/* Only weak references are left: drop those that the translator holds.  */
void pager_dropweak(struct user_pager_info *pager);

#ifdef __cplusplus
}
#endif

#endif
