/* Rules about clients as such: numbers and names that are used again, ports that are not a kernel's, attributes that change while a client
   attaches, and a client whose end could not be learnt of.  */

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>

#include <mach/notify.h>

#include "engine.h"
#include "raw.h"

/* ---- Numbers ---- */

/* So that the next client gets a number that had a bearer: the first four are new ones.  */
static void use_up_numbers(struct cast *c)
{
    cast_open(c, 4, 4, 0);
    assert_int_equal(world_statistics(&c->world).clients, 4);
}

/* A new client that gets the number of one that has just gone. That is free a moment after the client counts as gone, so the
   new one may come too early, and try again.  */
static void open_with_number(struct cast *c, struct raw *next, unsigned number)
{
    for (;;) {
        raw_open(next, &c->world, 1, 0);
        raw_wait_for(next, SK_READY);
        if (pager_page_access(c->world.pager, 0, number) >= 0)
            return;
        raw_close(next);
        sched_yield();
    }
}

/* Two readers are answered by one thread; while it is still at the first, the second dies and a new client gets its number.  What
   was meant for the dead one does not reach the new one, who never asked.  */
static void test_supply_is_not_sent_to_the_next_bearer_of_a_number(void **state)
{
    (void) state;
    for (int beyond = 0; beyond < 2; beyond++) {
        struct cast c;
        use_up_numbers(&c);
        /* Client numbers: `slow' 4, or, after two have gone, 2 and 3 again.  */
        struct raw slow, next;
        if (!beyond) {
            cast_kill(&c, 2);
            wait_clients(&c, 3);
        }
        raw_open(&slow, &c.world, 1, SK_DATA_SUPPLY);
        raw_wait_for(&slow, SK_READY);
        store_close_gate(&c.world, CALL_READ);
        raw_request(&slow, 0, VM_PROT_READ);
        store_wait_gate(&c.world, CALL_READ, 1);
        ask(c.objects[1], 0, VM_PROT_READ);
        fence_by_refusal(&c, c.objects[1]);
        store_open_gate(&c.world, CALL_READ);
        raw_wait_stopped(&slow);
        cast_kill(&c, 1);
        wait_clients(&c, 3 + (beyond != 0));
        open_with_number(&c, &next, 1);
        assert_int_equal(pager_page_access(c.world.pager, 0, 1), 0);
        raw_go(&slow);
        world_settle(&c.world);
        assert_int_equal(raw_has(&next, SK_DATA_SUPPLY), 0);
        assert_int_equal(raw_has(&slow, SK_DATA_SUPPLY), 1);
        raw_close(&slow);
        raw_close(&next);
        cast_close(&c);
    }
}

/* The same for the flush of two readers: the new client is asked nothing, and its own page stays.  */
static void test_flush_is_not_sent_to_the_next_bearer_of_a_number(void **state)
{
    (void) state;
    struct cast c;
    use_up_numbers(&c);
    cast_kill(&c, 0);
    wait_clients(&c, 3);
    struct raw slow, next;
    open_with_number(&c, &slow, 0);         /* asked first */
    raw_stop_at(&slow, SK_LOCK_REQUEST);
    raw_request(&slow, 0, VM_PROT_READ);
    raw_wait_for(&slow, SK_DATA_SUPPLY);
    get(c.objects[1], 0);
    world_settle(&c.world);
    assert_int_equal(access_of(&c, 0, 0), 1);
    assert_int_equal(access_of(&c, 0, 1), 1);
    ask(c.objects[3], 0, RW);
    raw_wait_stopped(&slow);
    cast_kill(&c, 1);
    wait_clients(&c, 3);
    raw_open(&next, &c.world, 1, 0);        /* number 1, unless that is kept while the others are asked */
    raw_wait_for(&next, SK_READY);
    raw_go(&slow);
    /* The slow one never answers: it goes, and the writer gets the page.  */
    raw_close(&slow);
    wait_page(c.objects[3], 0, SK_WANT_WRITABLE);
    world_settle(&c.world);
    assert_int_equal(raw_has(&next, SK_LOCK_REQUEST), 0);
    raw_close(&next);
    cast_close(&c);
}

/* ---- Control ports that are no kernel's ---- */

/* A client whose control port is an ordinary port that nobody empties is given up when its queue is full; whoever was served after it in
   the same object is served, and other objects meanwhile.  */
static void test_full_control_port_is_given_up(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 2, 64, 0);
    struct world other;
    world_join(&other, &c.world, 4, 0);
    sk_kernel *kernel = sk_kernel_create("other");
    sk_object *object = sk_map(kernel, other.port);
    struct raw full;
    raw_open(&full, &c.world, 0, 0);
    wait_clients(&c, 3);
    for (size_t page = 0; page < 32; page++)
        raw_request(&full, page, RW);
    assert_int_equal(get(object, 3), 4);
    for (size_t page = 0; page < 64; page++)
        put(c.objects[page & 1], page, (unsigned char) (page + 100));
    wait_clients(&c, 2);
    pager_return(c.world.pager, 1);
    for (size_t page = 0; page < 64; page++)
        assert_int_equal(store_byte(&c.world, page), page + 100);
    raw_close(&full);
    sk_kernel_destroy(kernel);
    world_close(&other);
    cast_close(&c);
}

static void hook_syncs_page_0(struct user_pager_info *store, enum call call, vm_offset_t page)
{
    if (call == CALL_READ && page == page_offset(5))
        pager_sync_some(store->pager, 0, vm_page_size, 1);
}

/* A client is given up by a thread that has the executor for what preceded, here a pager_unlock_page that failed. The read that its page needs next is
   not a part of that: it may wait for a write. (Simulation, seed 10260975. Several times, since another worker may come first.)  */
static void what_follows_a_given_up_client_may_wait(vm_prot_t access)
{
    for (int round = 0; round < 5; round++) {
        struct cast c;
        cast_open(&c, 1, 8, 0);
        sk_object *y = c.objects[0];
        assert_int_equal(pager_set_concurrent_reads(c.world.pager, 2), 0);
        put(y, 0, 60);
        store_write_lock(&c.world, 1);
        struct raw full;
        raw_open(&full, &c.world, 0, 0);
        hostmach_task_t before = hostmach_task_enter(full.task);
        /* (memory_object_ready and data_supply.)  */
        assert_int_equal(mach_port_set_qlimit(mach_task_self(), full.control, 2), 0);
        hostmach_task_enter(before);
        wait_clients(&c, 2);
        raw_request(&full, 5, VM_PROT_READ);
        world_wait_access(&c.world, 5, 1, 1);
        store_fail(&c.world, CALL_UNLOCK, ENOSPC, 1);
        store_close_gate(&c.world, CALL_UNLOCK);
        raw_unlock(&full, 5);
        store_wait_gate(&c.world, CALL_UNLOCK, 1);
        ask(y, 5, access);
        fence_by_refusal(&c, y);
        c.world.store->hook = hook_syncs_page_0;
        store_open_gate(&c.world, CALL_UNLOCK);
        wait_page(y, 5, SK_WANT_READABLE);
        assert_int_equal(store_byte(&c.world, 0), 60);
        wait_clients(&c, 1);
        c.world.store->hook = NULL;
        raw_close(&full);
        cast_close(&c);
    }
}

static void test_what_follows_a_given_up_client_may_wait(void **state)
{
    (void) state;
    what_follows_a_given_up_client_may_wait(VM_PROT_READ);
}

static void test_what_follows_for_a_writer_may_wait(void **state)
{
    (void) state;
    what_follows_a_given_up_client_may_wait(RW);
}

/* ---- Attributes ---- */

/* Attributes change while `memory_object_ready' with the old ones is on its way: the last that the client hears is the new ones.  */
static void test_attributes_change_while_a_client_attaches(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    struct raw raw;
    raw_open(&raw, &c.world, 1, SK_READY);
    raw_wait_stopped(&raw);
    pager_change_attributes(c.world.pager, 1, MEMORY_OBJECT_COPY_NONE, 0);
    /* (This one overtook `ready'; a kernel executes it in that order.)  */
    int before = raw_has(&raw, SK_CHANGE_ATTRIBUTES);
    raw_go(&raw);
    raw_wait_count(&raw, before + 2);
    pthread_mutex_lock(&raw.lock);
    assert_int_equal(raw.got[raw.count - 1], SK_CHANGE_ATTRIBUTES);
    pthread_mutex_unlock(&raw.lock);
    world_settle(&c.world);
    raw_close(&raw);
    cast_close(&c);
}

/* ---- Death ---- */

static atomic_int crossing;                 /* below: two messages meet */
static __thread int stops_next;
static __thread bool passes_turn;
enum { IDLE, WANTED, TURN_AWAITED, TURN_PASSED, DEATH_ASKED_FOR, THROUGH };

static atomic_int refuse_dead_name;         /* the next requests for news of a death fail */

kern_return_t __real_pager_request_dead_name(mach_port_t name, mach_port_t notify);
kern_return_t __wrap_pager_request_dead_name(mach_port_t name, mach_port_t notify);

kern_return_t __wrap_pager_request_dead_name(mach_port_t name, mach_port_t notify)
{
    if (!each_over() && notify != MACH_PORT_NULL && atomic_load(&refuse_dead_name) > 0 && atomic_fetch_sub(&refuse_dead_name, 1) > 0)
        return KERN_RESOURCE_SHORTAGE;
    if (atomic_load(&crossing) == TURN_PASSED)
        stops_next = DEATH_ASKED_FOR;
    return __real_pager_request_dead_name(name, notify);
}

/* Mach cannot register for the news of the client's death: the client is turned away rather than waited for some day; when it tries
   again, it is served.  */
static void test_client_whose_death_cannot_be_learnt_of_is_turned_away(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    for (int renamed = 0; renamed < 2; renamed++) {
        sk_kernel *kernel = sk_kernel_create("V");
        if (!renamed)
            while (c.count < 4)
                cast_join(&c);              /* the next is looked up, not renamed */
        else
            cast_kill(&c, 3), wait_clients(&c, 3);
        unsigned clients = (unsigned) world_statistics(&c.world).clients;
        atomic_store(&refuse_dead_name, 1);
        assert_int_not_equal(sk_wait_ready(sk_map_async(kernel, c.world.port), 0), 0);
        assert_int_equal(atomic_load(&refuse_dead_name), 0);
        assert_int_equal(world_statistics(&c.world).clients, clients);
        sk_object *again = sk_map(kernel, c.world.port);
        put(again, 0, 9);
        assert_int_equal(get(c.objects[0], 0), 9);
        sk_kernel_destroy(kernel);
        wait_clients(&c, clients);
    }
    cast_close(&c);
}

static atomic_int hold_cancel, cancelling, let_go, bogus;

int __real_pager_cancel_dead_name(mach_port_t name);
int __wrap_pager_cancel_dead_name(mach_port_t name);

int __wrap_pager_cancel_dead_name(mach_port_t name)
{
    if (atomic_exchange(&hold_cancel, 0)) {
        atomic_store(&cancelling, 1);
        while (!atomic_load(&let_go) && !each_over())
            sched_yield();
    }
    return __real_pager_cancel_dead_name(name);
}

kern_return_t __real_mach_port_destroy(mach_port_t task, mach_port_t name);
kern_return_t __wrap_mach_port_destroy(mach_port_t task, mach_port_t name);

kern_return_t __wrap_mach_port_destroy(mach_port_t task, mach_port_t name)
{
    kern_return_t result = __real_mach_port_destroy(task, name);
    if (result != KERN_SUCCESS)
        atomic_fetch_add(&bogus, 1);
    return result;
}

/* "0: nothing was to be announced, or it has been" (engine.h): not so where the port that was to be told is gone.  */
static void test_cancel_where_nobody_would_be_told(void **state)
{
    (void) state;
    mach_port_t port, told;
    assert_int_equal(mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &port), 0);
    assert_int_equal(mach_port_insert_right(mach_task_self(), port, port, MACH_MSG_TYPE_MAKE_SEND), 0);
    for (int gone = 0; gone < 2; gone++) {
        assert_int_equal(mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &told), 0);
        assert_int_equal(pager_request_dead_name(port, told), 0);
        if (gone)
            pager_drop_receive_right(told);
        assert_true(pager_cancel_dead_name(port));
        assert_false(pager_cancel_dead_name(port));
        if (!gone)
            pager_drop_receive_right(told);
    }
    assert_int_equal(mach_port_destroy(mach_task_self(), port), 0);
}

/* A kernel ends, and before it has been taken back that its port's death would be announced, the pager's port, which was to be told, goes:
   the control port's name still has the client's own reference, which is given up once.  (GNU Mach complains of a second time.)  */
static void test_client_ends_while_the_pager_ends(void **state)
{
    (void) state;
    struct cast c;
    cast_open(&c, 1, 4, 0);
    put(c.objects[0], 0, 9);
    atomic_store(&hold_cancel, 1);
    assert_int_equal(sk_terminate(c.objects[0]), 0);
    while (!atomic_load(&cancelling))
        sched_yield();
    pager_shutdown(c.world.pager);
    atomic_store(&let_go, 1);
    cast_close(&c);
    assert_int_equal(atomic_load(&bogus), 0);
}

/* ---- Messages without a control port ---- */

/* One thread serves memory_object_terminate, another attaches a client: the first waits until the other waits for its turn, passes it, and stops there; the
   other goes on, has asked for news of the client's death, and stops before its next lock, until the first is through.  */
static void cross_to(int state) { atomic_store(&crossing, state); }

static void wait_crossing(int state)
{
    while (atomic_load(&crossing) < state && !each_over())
        sched_yield();
    /* (A case that is over stops here; a thread of the library's goes on.)  */
    each_point();
}

int __real_pager_is_dead_name(const mach_msg_header_t *message, mach_port_t *name);
int __wrap_pager_is_dead_name(const mach_msg_header_t *message, mach_port_t *name);
int __wrap_pager_is_dead_name(const mach_msg_header_t *message, mach_port_t *name)
{
    int now = atomic_load(&crossing);
    if (message->msgh_id == SK_TERMINATE && (now == WANTED || now == TURN_AWAITED)) {
        wait_crossing(TURN_AWAITED);
        passes_turn = true;
    }
    return __real_pager_is_dead_name(message, name);
}

/* (Only a turn is waited for so long.)  */
int __real_platform_condition_wait(platform_condition_t *condition, platform_mutex_t *mutex, long milliseconds);
int __wrap_platform_condition_wait(platform_condition_t *condition, platform_mutex_t *mutex, long milliseconds);
int __wrap_platform_condition_wait(platform_condition_t *condition, platform_mutex_t *mutex, long milliseconds)
{
    if (milliseconds == 100 && atomic_load(&crossing) == WANTED)
        cross_to(TURN_AWAITED);
    return __real_platform_condition_wait(condition, mutex, milliseconds);
}

/* Passing the turn wakes who waits for it.  */
void __real_platform_condition_wake_all(platform_condition_t *condition);
void __wrap_platform_condition_wake_all(platform_condition_t *condition);
void __wrap_platform_condition_wake_all(platform_condition_t *condition)
{
    if (passes_turn) {
        stops_next = TURN_PASSED;
        /* (The pager's lock is held: who waits goes on only when it is let go.)  */
        cross_to(TURN_PASSED);
    }
    passes_turn = false;
    __real_platform_condition_wake_all(condition);
}

void __real_platform_mutex_unlock(platform_mutex_t *mutex);
void __wrap_platform_mutex_unlock(platform_mutex_t *mutex);
void __wrap_platform_mutex_unlock(platform_mutex_t *mutex)
{
    __real_platform_mutex_unlock(mutex);
    if (stops_next == TURN_PASSED) {
        stops_next = IDLE;
        wait_crossing(DEATH_ASKED_FOR);
    }
}

void __real_platform_mutex_lock(platform_mutex_t *mutex);
void __wrap_platform_mutex_lock(platform_mutex_t *mutex);
void __wrap_platform_mutex_lock(platform_mutex_t *mutex)
{
    if (stops_next == DEATH_ASKED_FOR) {
        stops_next = IDLE;
        cross_to(DEATH_ASKED_FOR);
        wait_crossing(THROUGH);
    }
    __real_platform_mutex_lock(mutex);
}

static bool is_refused(void *cast) { return world_statistics(&((struct cast *) cast)->world).refused > 0; }

/* Who says that he unmaps, and gives no port, is not the client that attaches at that moment: its death is taken in whole, later.  */
static void test_terminate_without_a_port_while_a_client_attaches(void **state)
{
    (void) state;
    struct cast c;
    struct raw raw;
    cast_open(&c, 0, 4, 0);
    hostmach_task_t task = hostmach_task_create("nobody"), before;
    mach_port_t pager;
    assert_int_equal(hostmach_copy_send(hostmach_task_main(), c.world.port, task, &pager), 0);
    cross_to(WANTED);
    before = hostmach_task_enter(task);
    assert_int_equal(memory_object_terminate(pager, MACH_PORT_NULL, MACH_PORT_NULL), 0);
    hostmach_task_enter(before);
    raw_open(&raw, &c.world, 1, 0);
    wait_crossing(DEATH_ASKED_FOR);
    wait_for(is_refused, &c);
    cross_to(THROUGH);
    raw_wait_for(&raw, SK_READY);
    cross_to(IDLE);
    raw_close(&raw);
    wait_clients(&c, 0);
    hostmach_task_destroy(task);
    /* (This looks for rights that are left.)  */
    cast_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_supply_is_not_sent_to_the_next_bearer_of_a_number),
        cmocka_unit_test(test_flush_is_not_sent_to_the_next_bearer_of_a_number),
        cmocka_unit_test(test_full_control_port_is_given_up),
        cmocka_unit_test(test_what_follows_a_given_up_client_may_wait),
        cmocka_unit_test(test_what_follows_for_a_writer_may_wait),
        cmocka_unit_test(test_attributes_change_while_a_client_attaches),
        cmocka_unit_test(test_client_whose_death_cannot_be_learnt_of_is_turned_away),
        cmocka_unit_test(test_cancel_where_nobody_would_be_told),
        cmocka_unit_test(test_client_ends_while_the_pager_ends),
        cmocka_unit_test(test_terminate_without_a_port_while_a_client_attaches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
