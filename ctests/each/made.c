/* What a case has made and not ended: pagers, workers, kernels, tasks, and what it holds back. See made.h.  */

#include "made.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct pager_entry pagers[MOST];
struct workers_entry workers[MOST];
struct sk_kernel *kernels[MOST];
hostmach_task_t tasks[MOST];
int pager_count, workers_count, kernel_count, task_count;

/* ---- Pagers and workers, by the calls that make and end them (entries.c) ---- */

void made_pager(struct pager *pager, struct port_bucket *bucket)
{
    pthread_mutex_lock(&lock);
    int place = 0;
    while (place < pager_count && pagers[place].pager != pager)
        place++;
    if (place < MOST) {
        pagers[place] = (struct pager_entry) { .pager = pager, .bucket = bucket };
        if (place == pager_count)
            pager_count++;
    }
    pthread_mutex_unlock(&lock);
}

void made_shut_down(struct pager *pager)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < pager_count; i++)
        if (pagers[i].pager == pager)
            pagers[i].shut = true;
    pthread_mutex_unlock(&lock);
}

void made_workers(struct pager_requests *requests, struct port_bucket *bucket, bool live)
{
    pthread_mutex_lock(&lock);
    if (live && workers_count < MOST) {
        workers[workers_count++] = (struct workers_entry) { requests, bucket };
    } else {
        for (int i = 0; i < workers_count; i++)
            if (workers[i].requests == requests) {
                workers[i] = workers[--workers_count];
                break;
            }
    }
    pthread_mutex_unlock(&lock);
}

/* ---- Kernels and tasks ---- */

#define LIST(name, type, array, count) \
    static void add_##name(type *item) \
    { \
        pthread_mutex_lock(&lock); \
        if (count < MOST) \
            array[count++] = item; \
        pthread_mutex_unlock(&lock); \
    } \
    static void drop_##name(type *item) \
    { \
        pthread_mutex_lock(&lock); \
        for (int i = 0; i < count; i++) \
            if (array[i] == item) { \
                array[i] = array[--count]; \
                break; \
            } \
        pthread_mutex_unlock(&lock); \
    }
LIST(kernel, struct sk_kernel, kernels, kernel_count)
LIST(task, struct hostmach_task, tasks, task_count)

sk_kernel *__real_sk_kernel_create(const char *), *__wrap_sk_kernel_create(const char *);
sk_kernel *__wrap_sk_kernel_create(const char *name)
{
    sk_kernel *kernel = __real_sk_kernel_create(name);
    add_kernel(kernel);
    return kernel;
}

void __real_sk_kernel_destroy(sk_kernel *), __wrap_sk_kernel_destroy(sk_kernel *);
void __wrap_sk_kernel_destroy(sk_kernel *kernel)
{
    watch_point();
    drop_kernel(kernel);
    __real_sk_kernel_destroy(kernel);
}

/* Tasks that are no kernels': clients that tests make by hand.  */
hostmach_task_t __real_hostmach_task_create(const char *), __wrap_hostmach_task_create(const char *);
hostmach_task_t __wrap_hostmach_task_create(const char *name)
{
    hostmach_task_t task = __real_hostmach_task_create(name);
    /* A kernel that cannot be made is not what is tried.  (A failure strikes once.)  */
    if (!task && each_on)
        task = __real_hostmach_task_create(name);
    if (task)
        add_task(task);
    return task;
}

void __real_hostmach_task_destroy(hostmach_task_t), __wrap_hostmach_task_destroy(hostmach_task_t);
void __wrap_hostmach_task_destroy(hostmach_task_t task)
{
    drop_task(task);
    __real_hostmach_task_destroy(task);
}

void __real_hostmach_task_set_kernel(hostmach_task_t, boolean_t), __wrap_hostmach_task_set_kernel(hostmach_task_t, boolean_t);
void __wrap_hostmach_task_set_kernel(hostmach_task_t task, boolean_t is_kernel)
{
    if (is_kernel)
        drop_task(task);
    __real_hostmach_task_set_kernel(task, is_kernel);
}

/* ---- What libports holds back for a test ---- */

enum held_kind { HELD_PORT, HELD_CLASS, HELD_BUCKET, HELD_ALL };
static struct { enum held_kind kind; void *what; } held[64];
static int held_count;

static void note_held(enum held_kind kind, void *what, bool on)
{
    pthread_mutex_lock(&lock);
    int place = 0;
    while (place < held_count && (held[place].kind != kind || held[place].what != what))
        place++;
    if (!on && place < held_count)
        held[place] = held[--held_count];
    else if (on && held_count < 64)
        held[held_count].kind = kind, held[held_count++].what = what;
    pthread_mutex_unlock(&lock);
}

#define HELD(name, kind, parameters, arguments, what) \
    error_t __real_ports_inhibit_##name parameters, __wrap_ports_inhibit_##name parameters; \
    error_t __wrap_ports_inhibit_##name parameters \
    { \
        error_t error = __real_ports_inhibit_##name arguments; \
        if (!error) \
            note_held(kind, what, true); \
        return error; \
    } \
    void __real_ports_resume_##name parameters, __wrap_ports_resume_##name parameters; \
    void __wrap_ports_resume_##name parameters \
    { \
        note_held(kind, what, false); \
        __real_ports_resume_##name arguments; \
    }
HELD(port_rpcs, HELD_PORT, (void *port), (port), port)
HELD(class_rpcs, HELD_CLASS, (struct port_class *class), (class), class)
HELD(bucket_rpcs, HELD_BUCKET, (struct port_bucket *bucket), (bucket), bucket)
HELD(all_rpcs, HELD_ALL, (void), (), NULL)

void made_let_go(void)
{
    while (held_count > 0) {
        void *what = held[0].what;
        switch (held[0].kind) {
        case HELD_PORT: ports_resume_port_rpcs(what); break;
        case HELD_CLASS: ports_resume_class_rpcs(what); break;
        case HELD_BUCKET: ports_resume_bucket_rpcs(what); break;
        case HELD_ALL: ports_resume_all_rpcs(); break;
        }
    }
}
