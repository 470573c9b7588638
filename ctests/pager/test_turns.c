/* Messages of one object are taken in in turn; who passes the turn wakes the next worker and no other.  */

#include <unistd.h>

#include "../../Sources/CPlatform/include/platform.h"
#include "cast.h"

enum { SLOW = 2, WAITERS = 6, ALL = SLOW + WAITERS, CONDITIONS = 64 };

/* ---- Workers that are slow to look at their message ---- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_changed = PTHREAD_COND_INITIALIZER;
static mach_port_t watched;                 /* the first SLOW workers that look it up stop ... */
static int stopped, released;               /* ... so many have; these may go on, the first first */

void *__real_ports_lookup_port(struct port_bucket *, mach_port_t, struct port_class *);
void *__wrap_ports_lookup_port(struct port_bucket *, mach_port_t, struct port_class *);

static void wait_gate(void)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 30;
    if (each_timedwait(&gate_changed, &gate, &end) != 0)
        abort();
}

void *__wrap_ports_lookup_port(struct port_bucket *bucket, mach_port_t name, struct port_class *class)
{
    pthread_mutex_lock(&gate);
    if (class && watched && name == watched && stopped < SLOW) {
        int number = stopped++;
        pthread_cond_broadcast(&gate_changed);
        while (number >= released && !each_over())
            wait_gate();
    }
    pthread_mutex_unlock(&gate);
    return __real_ports_lookup_port(bucket, name, class);
}

static void wait_stopped(int count)
{
    pthread_mutex_lock(&gate);
    while (stopped < count)
        wait_gate();
    pthread_mutex_unlock(&gate);
}

static void release_one(void)
{
    pthread_mutex_lock(&gate);
    released++;
    pthread_cond_broadcast(&gate_changed);
    pthread_mutex_unlock(&gate);
}

/* ---- Who sleeps in the engine, and who is woken ---- */

/* Both are called with the engine's lock held, and a thread that sleeps again does not let it go between: so who sleeps at a condition is
   known to whoever wakes.  */
static struct { platform_condition_t *condition; int sleepers; } table[CONDITIONS];
static int sleeping, woken;

int __real_platform_condition_wait(platform_condition_t *, platform_mutex_t *, long);
int __wrap_platform_condition_wait(platform_condition_t *, platform_mutex_t *, long);
void __real_platform_condition_wake_all(platform_condition_t *);
void __wrap_platform_condition_wake_all(platform_condition_t *);

/* With the gate's lock.  */
static int *sleepers_at(platform_condition_t *condition)
{
    int i = 0;
    while (i < CONDITIONS && table[i].condition && table[i].condition != condition)
        i++;
    if (i == CONDITIONS)
        abort();
    table[i].condition = condition;
    return &table[i].sleepers;
}

static void count_sleeper(platform_condition_t *condition, int more)
{
    pthread_mutex_lock(&gate);
    *sleepers_at(condition) += more;
    sleeping += more;
    pthread_cond_broadcast(&gate_changed);
    pthread_mutex_unlock(&gate);
}

int __wrap_platform_condition_wait(platform_condition_t *condition, platform_mutex_t *mutex, long milliseconds)
{
    count_sleeper(condition, 1);
    int result = __real_platform_condition_wait(condition, mutex, milliseconds);
    count_sleeper(condition, -1);
    return result;
}

void __wrap_platform_condition_wake_all(platform_condition_t *condition)
{
    pthread_mutex_lock(&gate);
    woken += *sleepers_at(condition);
    pthread_mutex_unlock(&gate);
    __real_platform_condition_wake_all(condition);
}

static int woken_now(void)
{
    pthread_mutex_lock(&gate);
    int count = woken;
    pthread_mutex_unlock(&gate);
    return count;
}

/* ---- The test ---- */

/* Two workers are slow with the first two messages, six others have the next ones and wait. The first message's end concerns the second alone,
   which nobody waits with; then each message's end wakes one worker.  */
static void test_a_turn_wakes_one_worker(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 2 * ALL, 0);
    /* More than enough workers.  */
    assert_int_equal(pager_set_concurrent_reads(c.world.pager, ALL + 2), 0);
    store_close_gate(&c.world, CALL_READ);
    for (size_t page = ALL; page < 2 * ALL; page++)
        ask(c.objects[0], page, VM_PROT_READ);
    store_wait_gate(&c.world, CALL_READ, ALL);
    store_open_gate(&c.world, CALL_READ);
    for (size_t page = ALL; page < 2 * ALL; page++)
        wait_page(c.objects[0], page, SK_WANT_PRESENT);
    world_settle(&c.world);

    pthread_mutex_lock(&gate);
    watched = ((struct port_info *) c.world.pager)->port_right;
    pthread_mutex_unlock(&gate);
    for (size_t page = 0; page < ALL; page++) {
        ask(c.objects[0], page, VM_PROT_READ);
        if (page < SLOW)
            wait_stopped((int) page + 1);
    }
    pthread_mutex_lock(&gate);
    while (sleeping < WAITERS)
        wait_gate();
    woken = 0;
    pthread_mutex_unlock(&gate);

    release_one();
    wait_page(c.objects[0], 0, SK_WANT_PRESENT);
    assert_int_equal(woken_now(), 0);
    release_one();
    for (size_t page = 0; page < ALL; page++)
        wait_page(c.objects[0], page, SK_WANT_PRESENT);
    /* (One whose wait is cut short by its limit may see its turn by itself.)  */
    assert_in_range(woken_now(), 0, WAITERS);
    world_settle(&c.world);
    pthread_mutex_lock(&gate);
    watched = MACH_PORT_NULL;
    pthread_mutex_unlock(&gate);
    cast_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_wakes_one_worker),
    };
    return cmocka_run_group_tests_name("turns", tests, NULL, NULL);
}
