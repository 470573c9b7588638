/* What the test's store, its world and its tasks wait with.  */

#ifndef TESTS_WAITS_H
#define TESTS_WAITS_H

#include "store.h"

/* Milliseconds after which a wait counts as a hang.  */
extern long hang_ms;
/* The time of day so much later.  */
struct timespec time_in(long milliseconds);
/* Ends the program: WHAT does not happen.  */
void hang(const char *what);
/* Until something of the store changes.  Locked.  */
void wait_changed(struct user_pager_info *, const char *what);

#endif
