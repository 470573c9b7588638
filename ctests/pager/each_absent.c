/* What ../each defines where it is linked with a program (store.h), for programs without it.  */

#include "store.h"

#define NOTHING __attribute__((weak))
NOTHING int each_over(void) { return 0; }
NOTHING void each_point(void) { }
NOTHING void each_test_thread(void) { }
NOTHING int each_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *end)
{
    return pthread_cond_timedwait(condition, mutex, end);
}
NOTHING void each_hook(struct user_pager_info *store, enum call call, vm_offset_t page) { store->hook(store, call, page); }
NOTHING void each_store_opened(struct user_pager_info *store) { (void) store; }
NOTHING void each_store_closes(struct user_pager_info *store) { (void) store; }
NOTHING void each_wrote(struct user_pager_info *store, vm_offset_t offset, const void *data, int error)
{
    (void) store, (void) offset, (void) data, (void) error;
}
NOTHING void each_filled(struct user_pager_info *store, size_t page) { (void) store, (void) page; }
NOTHING void each_left(const char *what, size_t now, size_t before) { (void) what, (void) now, (void) before; }
