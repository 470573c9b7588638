/* What a case has made and not ended, known from the calls that do it (their wrappers are in made.c and entries.c). Lists change under a lock of made.c's; the judge, alone
   by then, looks at them without.  */

#ifndef TESTS_EACH_MADE_H
#define TESTS_EACH_MADE_H

#include "each.h"

enum { MOST = 1024 };

/* SHUT: pager_shutdown was called. ALIVE: the judge has a reference.  */
struct pager_entry { struct pager *pager; struct port_bucket *bucket; bool shut, alive; };
struct workers_entry { struct pager_requests *requests; struct port_bucket *bucket; };

extern struct pager_entry pagers[MOST];
extern struct workers_entry workers[MOST];
extern struct sk_kernel *kernels[MOST];
/* Those that are no kernels': clients that tests make by hand.  */
extern hostmach_task_t tasks[MOST];
extern int pager_count, workers_count, kernel_count, task_count;

void made_pager(struct pager *, struct port_bucket *);
void made_shut_down(struct pager *);
/* LIVE: they have been started; else they have been stopped.  */
void made_workers(struct pager_requests *, struct port_bucket *, bool live);
/* Nothing is held back by libports any more.  */
void made_let_go(void);

#endif
