/* Calls of the library that tests make: who is inside one, and what it answers.

   The linker sends what the test's objects call of <hurd/pager.h> here first.  A call is where a thread of a case that is over stops; and while
   one is under way its thread is the library's.  What it returns must be among what the header says.  */

#include "made.h"

#include <errno.h>
#include <stdatomic.h>

_Thread_local int entries_inside;

enum { RUNNING = 256 };
static const char *_Atomic running[RUNNING];

static int enter(const char *name)
{
    watch_point();
    entries_inside++;
    if (!each_on || watch_exempt)
        return -1;
    for (int i = 0; i < RUNNING; i++) {
        const char *none = NULL;
        if (atomic_compare_exchange_strong(&running[i], &none, name))
            return i;
    }
    return -1;
}

static void leave(int place)
{
    int error = errno;
    entries_inside--;
    if (place >= 0)
        atomic_store(&running[place], NULL);
    watch_point();
    errno = error;
}

const char *entries_running(void)
{
    for (int i = 0; i < RUNNING; i++) {
        const char *name = atomic_load(&running[i]);
        if (name)
            return name;
    }
    return NULL;
}

/* The call said this error, which must be one of the list (ends with 0).  */
static void answered(const char *name, int error, const int *allowed)
{
    if (!each_on || error == 0 || each_note(ANSWER_CALL, error))
        return;
    while (*allowed && *allowed != error)
        allowed++;
    if (!*allowed)
        each_fail("%s says error %d (%#x), which is not documented", name, error, (unsigned) error);
}
#define ALLOWED(...) ((const int[]) { __VA_ARGS__, 0 })

#define REAL(name) __real_##name
#define VOID_CALL(name, parameters, arguments) \
    void __real_##name parameters; \
    void __wrap_##name parameters; \
    void __wrap_##name parameters \
    { \
        int place = enter(#name); \
        __real_##name arguments; \
        leave(place); \
    }
#define CALL(type, name, parameters, arguments, error, allowed) \
    type __real_##name parameters; \
    type __wrap_##name parameters; \
    type __wrap_##name parameters \
    { \
        int place = enter(#name); \
        type result = __real_##name arguments; \
        answered(#name, error, allowed); \
        leave(place); \
        return result; \
    }

VOID_CALL(pager_sync, (struct pager *p, int wait), (p, wait))
VOID_CALL(pager_sync_some, (struct pager *p, vm_address_t start, vm_size_t length, int wait), (p, start, length, wait))
VOID_CALL(pager_return, (struct pager *p, int wait), (p, wait))
VOID_CALL(pager_return_some, (struct pager *p, vm_address_t start, vm_size_t length, int wait), (p, start, length, wait))
VOID_CALL(pager_offer_page, (struct pager *p, int precious, int lock, vm_offset_t page, vm_address_t buffer),
          (p, precious, lock, page, buffer))
VOID_CALL(pager_change_attributes, (struct pager *p, boolean_t may_cache, memory_object_copy_strategy_t strategy, int wait),
          (p, may_cache, strategy, wait))
VOID_CALL(pager_resume_workers, (struct pager_requests *r), (r))

CALL(error_t, pager_inhibit_workers, (struct pager_requests *r), (r), result, ALLOWED(EBUSY, EDEADLK))
CALL(error_t, pager_set_concurrent_reads, (struct pager *p, unsigned count), (p, count), result, ALLOWED(EINVAL))
CALL(mach_port_t, pager_create_ro_port, (struct pager *p), (p), result == MACH_PORT_NULL ? errno : 0, ALLOWED(ENOMEM, EINVAL))
CALL(error_t, pager_memcpy,
     (struct pager *p, memory_object_t object, vm_offset_t offset, void *other, size_t *size, vm_prot_t access),
     (p, object, offset, other, size, access), result, ALLOWED(EIO, EFAULT, EACCES, EINVAL, ENOMEM, EOPNOTSUPP))

void __real_pager_flush(struct pager *, int), __wrap_pager_flush(struct pager *, int);
void __wrap_pager_flush(struct pager *p, int wait)
{
    int place = enter("pager_flush");
    witness_flushed_all(p);
    __real_pager_flush(p, wait);
    leave(place);
}

void __real_pager_flush_some(struct pager *, vm_address_t, vm_size_t, int);
void __wrap_pager_flush_some(struct pager *, vm_address_t, vm_size_t, int);
void __wrap_pager_flush_some(struct pager *p, vm_address_t start, vm_size_t length, int wait)
{
    int place = enter("pager_flush_some");
    witness_flushed(p, start, length);
    __real_pager_flush_some(p, start, length, wait);
    leave(place);
}

/* ---- What there is ---- */

struct pager *__real_pager_create(struct user_pager_info *, struct port_bucket *, boolean_t, memory_object_copy_strategy_t, boolean_t);
struct pager *__wrap_pager_create(struct user_pager_info *, struct port_bucket *, boolean_t, memory_object_copy_strategy_t, boolean_t);
struct pager *__wrap_pager_create(struct user_pager_info *user, struct port_bucket *bucket, boolean_t may_cache,
                                  memory_object_copy_strategy_t strategy, boolean_t notify)
{
    int place = enter("pager_create");
    struct pager *pager = __real_pager_create(user, bucket, may_cache, strategy, notify);
    answered("pager_create", pager ? 0 : errno, ALLOWED(ENOMEM, EINVAL));
    if (pager)
        made_pager(pager, bucket);
    leave(place);
    return pager;
}

struct pager *__real_pager_create_alloc(size_t, struct port_bucket *, boolean_t, memory_object_copy_strategy_t, boolean_t);
struct pager *__wrap_pager_create_alloc(size_t, struct port_bucket *, boolean_t, memory_object_copy_strategy_t, boolean_t);
struct pager *__wrap_pager_create_alloc(size_t size, struct port_bucket *bucket, boolean_t may_cache,
                                        memory_object_copy_strategy_t strategy, boolean_t notify)
{
    int place = enter("pager_create_alloc");
    struct pager *pager = __real_pager_create_alloc(size, bucket, may_cache, strategy, notify);
    answered("pager_create_alloc", pager ? 0 : errno, ALLOWED(ENOMEM, EINVAL));
    if (pager)
        made_pager(pager, bucket);
    leave(place);
    return pager;
}

void __real_pager_shutdown(struct pager *), __wrap_pager_shutdown(struct pager *);
void __wrap_pager_shutdown(struct pager *pager)
{
    int place = enter("pager_shutdown");
    made_shut_down(pager);
    __real_pager_shutdown(pager);
    leave(place);
}

error_t __real_pager_start_workers(struct port_bucket *, struct pager_requests **);
error_t __wrap_pager_start_workers(struct port_bucket *, struct pager_requests **);
error_t __wrap_pager_start_workers(struct port_bucket *bucket, struct pager_requests **requests)
{
    int place = enter("pager_start_workers");
    error_t error = __real_pager_start_workers(bucket, requests);
    answered("pager_start_workers", error, ALLOWED(ENOMEM, EAGAIN));
    if (!error)
        made_workers(*requests, bucket, true);
    leave(place);
    return error;
}

void __real_pager_stop_workers(struct pager_requests *), __wrap_pager_stop_workers(struct pager_requests *);
void __wrap_pager_stop_workers(struct pager_requests *requests)
{
    int place = enter("pager_stop_workers");
    made_workers(requests, NULL, false);
    __real_pager_stop_workers(requests);
    leave(place);
}
