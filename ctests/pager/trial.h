/* One run of a scenario of test_exhaustion.c, in which the n-th allocation, page or message fails: arming the failure, kernels that try again, and
   what must hold in the end.  */

#ifndef TESTS_TRIAL_H
#define TESTS_TRIAL_H

#include "store.h"

/* ---- Faults ---- */

/* What fails: the engine's allocations (by the linker's --wrap), or HostMach in the pager's task.  */
enum source { ENGINE, MACH_MEMORY, MACH_PAGES, SENDS };
extern const char *const source_names[];

void arm(enum source, long n);
void disarm(void);
/* Failures so far, of all sources.  */
unsigned struck(void);

/* What the engine logs is kept and not printed.  */
void forget_log(void);
/* Each reason was logged once.  */
void check_log(void);

/* ---- A trial ---- */

enum { KERNELS = 5, PAGES = 24 };

struct trial {
    struct world world;
    sk_kernel *kernels[KERNELS];
    sk_object *objects[KERNELS];
    unsigned char expected[PAGES];      /* what was written last */
    unsigned errors;
};

/* Of the trial that runs: what is printed if it goes wrong, and how many failures there had been.  */
struct now { const char *scenario; enum source source; long n; unsigned struck_before; };
extern struct now now;

void on_alarm(int signal);

void trial_open(struct trial *, boolean_t notify);
void trial_close(struct trial *);

/* Some error, once: a fault strikes once.  */
void note_error(struct trial *, int error);
/* 0 or an error: the pager's answer to the init of a new client (why there may be none: trial.c). RIGHTS_LOST: hostmach_rights_lost () before it.  */
int await_ready(struct pager *, sk_object *, unsigned rights_lost);

/* Kernel number I. All of these try again once if they fail.  */
void map_pager(struct trial *, int i, struct pager *, mach_port_t port);
void map(struct trial *, int i);
void read_page(struct trial *, int i, size_t page);
void write_page(struct trial *, int i, size_t page, unsigned char byte);
void evict(struct trial *, int i, size_t page);

#endif
