/* The protocol, message by message: the test itself is the pager (../scripted/mini_pager.h) of one mapping kernel.  */

#include "land.h"

#include "../scripted/mini_pager.h"

#include <sys/mman.h>

static mk_kernel *k;
static memory m;

#define PAGES 100

static int map_it(void *copy)
{
    vm_address_t address = 0;
    mk_enter(k);
    kern_return_t kr = vm_map(mach_task_self(), &address, PAGES * PAGE, 0, TRUE, pager, 0, copy != NULL, RW, VM_PROT_ALL,
                              VM_INHERIT_NONE);
    m = (memory) address;
    return kr;
}

static int begin(void **state)
{
    setup_unmapped(state);
    assert_int_equal(mk_start(), 0);
    mk_set_error_hold(10000);
    k = mk_kernel_create("hand", 0);
    return k == NULL;
}

static void begin_mapped(void)
{
    struct task task;
    catch_signals();
    task_begin(&task, map_it, NULL);
    assert_int_equal(next(SK_INIT).length, PAGE);
    assert_int_equal(task_waits(&task), 1);     /* until the pager is ready */
    assert_int_equal(memory_object_ready(control, FALSE, MEMORY_OBJECT_COPY_NONE), 0);
    assert_int_equal(task_end(&task), KERN_SUCCESS);
}

static int end(void **state)
{
    nothing();
    mk_kernel_destroy(k);
    return teardown(state);
}

/* Page N is asked for by a touch, and supplied.  */
static void bring(size_t n, bool write, unsigned char byte, vm_prot_t lock_value, boolean_t precious)
{
    struct touch t;
    touch_begin(&t, at(m, n), write, byte);
    struct event e = next(SK_DATA_REQUEST);
    assert_int_equal(e.offset, n * PAGE);
    assert_int_equal(e.length, PAGE);
    assert_int_equal(e.access, write ? RW : RO);
    supply(n * PAGE, 1, byte, lock_value, precious, MACH_PORT_NULL);
    assert_int_equal(touch_end(&t), 0);
    assert_int_equal(t.byte, byte);
    mk_page_info((const void *) at(m, n), &(struct mk_page_info) { 0 });       /* settled */
}

/* A lock request for one page, without lock_completed: a thread that it wakes may send before that.  */
static void answer(size_t n, boolean_t flush, vm_prot_t lock_value)
{
    assert_int_equal(memory_object_lock_request(control, n * PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, flush, lock_value,
                                                MACH_PORT_NULL), 0);
}

static void finish(void)
{
    unmap(m, PAGES);
    assert_int_equal(next(SK_TERMINATE).id, SK_TERMINATE);
    mach_port_deallocate(mach_task_self(), control);
    control = MACH_PORT_NULL;
}

/* More than was asked for: kept, without another request, clean and write-protected.  */
static void test_read_ahead(void **state)
{
    (void) state;
    begin_mapped();
    struct touch t;
    touch_begin(&t, at(m, 2), true, 77);
    next(SK_DATA_REQUEST);
    supply(0, 40, 1, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    assert_int_equal(touch_end(&t), 0);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(peek(at(m, i)), i == 2 ? 77 : i + 1);
    assert_true(page_info(at(m, 2)).dirty);
    assert_false(page_info(at(m, 3)).dirty);
    poke(at(m, 3), 50);
    assert_true(page_info(at(m, 3)).dirty);
    nothing();
    unmap(m, PAGES);
    for (int i = 2; i < 4; i++) {
        struct event e = next(SK_DATA_RETURN);
        assert_int_equal(e.offset, i * PAGE);
        assert_true(e.dirty);
        assert_false(e.kernel_copy);
        assert_int_equal(e.length, PAGE);
        assert_int_equal(e.first[0], i == 2 ? 77 : 50);
    }
    next(SK_TERMINATE);
    mach_port_deallocate(mach_task_self(), control);
    control = MACH_PORT_NULL;
}

/* A supply stops at a page that is there, which keeps its data; who asked for it is told where.  */
static void test_supply_stops(void **state)
{
    (void) state;
    begin_mapped();
    bring(3, false, 30, VM_PROT_NONE, FALSE);
    supply(1 * PAGE, 5, 90, VM_PROT_NONE, FALSE, pager);
    struct event e = next(SK_SUPPLY_COMPLETED);
    assert_int_equal(e.result, KERN_MEMORY_PRESENT);
    assert_int_equal(e.error_offset, 3 * PAGE);
    assert_int_equal(peek(at(m, 1)), 90);
    assert_int_equal(peek(at(m, 2)), 91);
    assert_int_equal(peek(at(m, 3)), 30);
    assert_int_equal(page_info(at(m, 4)).state, MK_PAGE_ABSENT);
    supply(10 * PAGE, 2, 60, VM_PROT_NONE, FALSE, pager);
    assert_int_equal(next(SK_SUPPLY_COMPLETED).result, KERN_SUCCESS);
    assert_int_equal(peek(at(m, 11)), 61);
    finish();
}

/* data_error ends what waits, and only that; data_unavailable gives zeros.  */
static void test_error_and_unavailable(void **state)
{
    (void) state;
    begin_mapped();
    bring(1, false, 10, VM_PROT_NONE, FALSE);
    struct touch a, b;
    touch_begin(&a, at(m, 2), false, 0);
    next(SK_DATA_REQUEST);
    touch_begin(&b, at(m, 4) + 17, true, 5);
    next(SK_DATA_REQUEST);
    assert_int_equal(memory_object_data_error(control, 0, 5 * PAGE, KERN_FAILURE), 0);
    assert_int_equal(touch_end(&a), SIGBUS);
    assert_int_equal(touch_end(&b), SIGBUS);
    assert_ptr_equal(b.address, at(m, 4) + 17);
    assert_int_equal(peek(at(m, 1)), 10);
    touch_begin(&a, at(m, 2), false, 9);
    next(SK_DATA_REQUEST);
    touch_begin(&b, at(m, 4), true, 5);
    next(SK_DATA_REQUEST);
    assert_int_equal(memory_object_data_unavailable(control, 0, 8 * PAGE), 0);
    assert_int_equal(touch_end(&a), 0);
    assert_int_equal(touch_end(&b), 0);
    assert_int_equal(a.byte, 0);
    assert_int_equal(peek(at(m, 4)), 5);
    assert_int_equal(peek(at(m, 4) + 1), 0);
    assert_int_equal(peek(at(m, 1)), 10);
    assert_int_equal(page_info(at(m, 5)).state, MK_PAGE_ABSENT);
    assert_int_equal(memory_object_lock_request(control, 0, PAGES * PAGE, MEMORY_OBJECT_RETURN_NONE, TRUE, VM_PROT_NO_CHANGE,
                                                MACH_PORT_NULL), 0);
    finish();
}

/* Returns: runs of neighbours alike in being dirty, at most 32, all before lock_completed; cleaned but kept.  */
static void test_returns(void **state)
{
    (void) state;
    begin_mapped();
    supply(0, 80, 1, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    for (size_t i = 0; i < 70; i++)
        if (i != 40)
            poke(at(m, i), (unsigned char) (i + 100));
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_DIRTY, FALSE, VM_PROT_NO_CHANGE);
    static const struct { size_t first, count; } runs[] = { { 0, 32 }, { 32, 8 }, { 41, 29 } };
    for (size_t i = 0; i < 3; i++) {
        struct event e = next(SK_DATA_RETURN);
        assert_int_equal(e.offset, runs[i].first * PAGE);
        assert_int_equal(e.length, runs[i].count * PAGE);
        assert_true(e.dirty && e.kernel_copy);
        for (size_t j = 0; j < runs[i].count; j++)
            assert_int_equal(e.first[j], runs[i].first + j + 100);
    }
    struct event e = next(SK_LOCK_COMPLETED);
    assert_int_equal(e.offset, 0);
    assert_int_equal(e.length, PAGES * PAGE);
    for (size_t i = 0; i < 80; i++)
        assert_false(page_info(at(m, i)).dirty);
    poke(at(m, 69), 1);                 /* write-protected again: this is seen */
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_DIRTY, TRUE, VM_PROT_NO_CHANGE);
    e = next(SK_DATA_RETURN);
    assert_int_equal(e.offset, 69 * PAGE);
    assert_false(e.kernel_copy);
    next(SK_LOCK_COMPLETED);
    for (size_t i = 0; i < 80; i++)
        assert_int_equal(page_info(at(m, i)).state, MK_PAGE_ABSENT);
    struct mk_statistics figures;
    mk_get_statistics(k, &figures);
    assert_int_equal(figures.resident_pages, 0);
    lock(0, 0, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);
    finish();
}

/* Precious pages come back though clean, and stay precious if they stay.  */
static void test_precious(void **state)
{
    (void) state;
    begin_mapped();
    supply(0, 4, 1, VM_PROT_NONE, TRUE, MACH_PORT_NULL);
    poke(at(m, 1), 50);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_ALL, FALSE, VM_PROT_NO_CHANGE);
    static const struct { size_t first, count; bool dirty; } runs[] = { { 0, 1, false }, { 1, 1, true }, { 2, 2, false } };
    for (size_t i = 0; i < 3; i++) {
        struct event e = next(SK_DATA_RETURN);
        assert_int_equal(e.offset, runs[i].first * PAGE);
        assert_int_equal(e.length, runs[i].count * PAGE);
        assert_int_equal(e.dirty != 0, runs[i].dirty);
    }
    next(SK_LOCK_COMPLETED);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_DIRTY, TRUE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);            /* clean: not returned, flushed */
    assert_int_equal(page_info(m).state, MK_PAGE_ABSENT);
    supply(0, 2, 7, VM_PROT_NONE, TRUE, MACH_PORT_NULL);
    unmap(m, PAGES);
    for (int i = 0; i < 2; i++) {
        struct event e = next(SK_DATA_RETURN);
        assert_int_equal(e.offset, i * PAGE);
        assert_int_equal(e.length, PAGE);
        assert_false(e.dirty);
    }
    next(SK_TERMINATE);
    mach_port_deallocate(mach_task_self(), control);
    control = MACH_PORT_NULL;
}

/* Taking writing away from a dirty page: it stays dirty, and the next write asks.  Taking reading away: the next touch asks.  */
static void test_locks(void **state)
{
    (void) state;
    begin_mapped();
    bring(1, true, 10, VM_PROT_NONE, FALSE);
    lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_WRITE);
    next(SK_LOCK_COMPLETED);
    assert_true(page_info(at(m, 1)).dirty);
    assert_int_equal(peek(at(m, 1)), 10);
    nothing();
    struct touch t;
    touch_begin(&t, at(m, 1), true, 11);
    struct event e = next(SK_DATA_UNLOCK);
    assert_int_equal(e.offset, PAGE);
    assert_int_equal(e.length, PAGE);
    assert_int_equal(e.access, RW);
    answer(1, FALSE, VM_PROT_NO_CHANGE);        /* no answer */
    assert_int_equal(task_waits(&t.task), 1);
    nothing();
    answer(1, FALSE, VM_PROT_WRITE);            /* an answer: asks again */
    next(SK_DATA_UNLOCK);
    answer(1, TRUE, VM_PROT_NO_CHANGE);         /* a flush is an answer too */
    assert_int_equal(next(SK_DATA_REQUEST).access, RW);
    supply(PAGE, 1, 20, VM_PROT_WRITE, FALSE, MACH_PORT_NULL);
    next(SK_DATA_UNLOCK);               /* supplied locked though asked for to write */
    lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_NONE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(touch_end(&t), 0);
    assert_int_equal(peek(at(m, 1)), 11);
    assert_int_equal(peek(at(m, 1) + 1), 20);

    lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_READ | VM_PROT_WRITE);
    next(SK_LOCK_COMPLETED);
    touch_begin(&t, at(m, 1), false, 0);
    assert_int_equal(next(SK_DATA_UNLOCK).access, RO);
    lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_WRITE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(touch_end(&t), 0);
    assert_int_equal(t.byte, 11);
    lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_DIRTY, FALSE, VM_PROT_READ | VM_PROT_WRITE);
    e = next(SK_DATA_RETURN);
    assert_int_equal(e.first[0], 11);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(page_info(at(m, 1)).lock, RW);
    touch_begin(&t, at(m, 1), false, 0);
    next(SK_DATA_UNLOCK);
    lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_NONE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(touch_end(&t), 0);

    supply(5 * PAGE, 1, 33, VM_PROT_READ | VM_PROT_WRITE, FALSE, MACH_PORT_NULL);       /* comes locked for everything */
    touch_begin(&t, at(m, 5), true, 34);
    assert_int_equal(next(SK_DATA_UNLOCK).access, RW);
    lock(5 * PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_NONE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(touch_end(&t), 0);
    assert_int_equal(peek(at(m, 5) + 1), 33);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_NONE, TRUE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);
    finish();
}

/* A lock request passes a page that is still owed; the page may come later, or never.  */
static void test_requested_is_skipped(void **state)
{
    (void) state;
    begin_mapped();
    struct touch t;
    touch_begin(&t, at(m, 1), false, 0);
    next(SK_DATA_REQUEST);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_WRITE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(task_waits(&t.task), 1);
    assert_int_equal(page_info(at(m, 1)).state, MK_PAGE_REQUESTED);
    supply(PAGE, 1, 8, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    assert_int_equal(touch_end(&t), 0);
    assert_int_equal(page_info(at(m, 1)).lock, 0);
    /* One that is never answered does not keep the object from ending.  */
    touch_begin(&t, at(m, 2), false, 0);
    next(SK_DATA_REQUEST);
    unmap(m, PAGES);
    next(SK_TERMINATE);
    assert_int_equal(touch_end(&t), SIGSEGV);
    mach_port_deallocate(mach_task_self(), control);
    control = MACH_PORT_NULL;
}

struct attributes {
    boolean_t ready, may_cache;
    memory_object_copy_strategy_t strategy;
};

/* In a thread of its own, with which the reply port goes.  */
static int get_attributes(void *argument)
{
    struct attributes *a = argument;
    return memory_object_get_attributes(control, &a->ready, &a->may_cache, &a->strategy);
}

/* Cached by the pager's leave, and no longer when that is taken back.  */
static void test_attributes(void **state)
{
    (void) state;
    begin_mapped();
    struct attributes got;
    struct task task;
    task_begin(&task, get_attributes, &got);
    assert_int_equal(task_end(&task), 0);
    assert_true(got.ready && !got.may_cache);
    assert_int_equal(got.strategy, MEMORY_OBJECT_COPY_NONE);
    assert_int_equal(memory_object_change_attributes(control, TRUE, MEMORY_OBJECT_COPY_DELAY, pager), 0);
    struct event e = next(SK_CHANGE_COMPLETED);
    assert_true(e.may_cache);
    assert_int_equal(e.copy_strategy, MEMORY_OBJECT_COPY_DELAY);
    bring(1, true, 10, VM_PROT_NONE, FALSE);
    unmap(m, PAGES);
    nothing();                          /* cached */
    assert_int_equal(map_it(NULL), KERN_SUCCESS);
    assert_int_equal(peek(at(m, 1)), 10);
    nothing();                          /* no init, no request */
    unmap(m, PAGES);
    /* Not to be cached any more, and not used: it ends.  */
    assert_int_equal(memory_object_change_attributes(control, FALSE, MEMORY_OBJECT_COPY_DELAY, MACH_PORT_NULL), 0);
    assert_int_equal(next(SK_DATA_RETURN).offset, PAGE);
    next(SK_TERMINATE);
    mach_port_deallocate(mach_task_self(), control);
    begin_mapped();                     /* a new init */
    finish();
}

static void test_destroy_before_ready(void **state)
{
    (void) state;
    struct task task;
    task_begin(&task, map_it, NULL);
    next(SK_INIT);
    assert_int_equal(memory_object_destroy(control, KERN_NO_SPACE), 0);
    assert_int_equal(task_end(&task), KERN_MEMORY_ERROR);
    next(SK_TERMINATE);
    mach_port_deallocate(mach_task_self(), control);
    begin_mapped();
    finish();
}

/* Destroyed, or without a pager: what waits and what comes later is SIGBUS, until unmapped.  */
static void test_destroy(void **state)
{
    (void) state;
    begin_mapped();
    bring(1, true, 10, VM_PROT_NONE, FALSE);
    bring(3, false, 10, VM_PROT_WRITE, FALSE);
    struct touch a, b;
    touch_begin(&a, at(m, 2) + 5, false, 0);
    next(SK_DATA_REQUEST);
    touch_begin(&b, at(m, 3) + 6, true, 0);
    next(SK_DATA_UNLOCK);
    assert_int_equal(memory_object_destroy(control, 0), 0);
    assert_int_equal(touch_end(&a), SIGBUS);
    assert_ptr_equal(a.address, at(m, 2) + 5);
    assert_int_equal(touch_end(&b), SIGBUS);
    assert_ptr_equal(b.address, at(m, 3) + 6);
    unsigned char byte;
    assert_int_equal(touch_read(at(m, 1), &byte), SIGBUS);
    finish();
}

static void test_pager_dies(void **state)
{
    (void) state;
    begin_mapped();
    bring(1, true, 10, VM_PROT_NONE, FALSE);
    struct touch a;
    touch_begin(&a, at(m, 2) + 5, false, 0);
    next(SK_DATA_REQUEST);
    mach_port_mod_refs(mach_task_self(), pager, MACH_PORT_RIGHT_RECEIVE, -1);
    assert_int_equal(touch_end(&a), SIGBUS);
    unsigned char byte;
    assert_int_equal(touch_read(at(m, 1), &byte), SIGBUS);
    unmap(m, PAGES);
    assert_int_equal(map_it(NULL), KERN_INVALID_ARGUMENT);
    struct mk_statistics figures;
    mk_get_statistics(k, &figures);
    assert_int_equal(figures.objects, 0);
    /* For the teardown: a pager again.  */
    mach_port_deallocate(mach_task_self(), pager);
    mach_port_deallocate(mach_task_self(), control);
    control = MACH_PORT_NULL;
    mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &pager);
    mach_port_insert_right(mach_task_self(), pager, pager, MACH_MSG_TYPE_MAKE_SEND);
}

static int kill_it(void *unused)
{
    (void) unused;
    mk_kernel_kill(k);
    return 0;
}

/* A kernel that dies says nothing; its threads and its memory are lost.  */
static void test_kernel_dies(void **state)
{
    (void) state;
    begin_mapped();
    bring(1, true, 10, VM_PROT_NONE, FALSE);
    struct touch a;
    struct task task;
    touch_begin(&a, at(m, 2) + 5, false, 0);
    next(SK_DATA_REQUEST);
    task_begin(&task, kill_it, NULL);
    assert_int_equal(task_end(&task), 0);
    assert_int_equal(touch_end(&a), SIGBUS);
    nothing();
    mach_port_type_t type;
    assert_int_equal(mach_port_type(mach_task_self(), control, &type), KERN_SUCCESS);
    assert_int_equal(type, MACH_PORT_TYPE_DEAD_NAME);
    unsigned char byte;
    assert_int_equal(touch_read(at(m, 1), &byte), SIGBUS);
    mk_kernel_kill(k);
    vm_address_t address = 0;
    mk_enter(k);
    assert_int_equal(vm_map(mach_task_self(), &address, PAGE, 0, TRUE, pager, 0, FALSE, RW, RW, VM_INHERIT_NONE), KERN_TERMINATED);
    mk_enter(NULL);
    unmap(m, PAGES / 2);
    assert_int_equal(touch_read(at(m, 1), &byte), SIGSEGV);
    assert_int_equal(touch_read(at(m, PAGES - 1), &byte), SIGBUS);
}

/* A copy is what the pages hold at that time: apart from the object, and the object's pages unchanged.  */
static void test_copy(void **state)
{
    (void) state;
    begin_mapped();
    supply(0, PAGES, 1, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    lock(7 * PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, TRUE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);
    lock(8 * PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_ALL);
    next(SK_LOCK_COMPLETED);
    poke(at(m, 3), 99);
    memory original = m;
    struct task task;
    task_begin(&task, map_it, (void *) 1);
    assert_int_equal(next(SK_DATA_REQUEST).offset, 7 * PAGE);
    supply(7 * PAGE, 1, 70, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    assert_int_equal(next(SK_DATA_UNLOCK).offset, 8 * PAGE);
    lock(8 * PAGE, PAGE, MEMORY_OBJECT_RETURN_NONE, FALSE, VM_PROT_NONE);
    next(SK_LOCK_COMPLETED);
    assert_int_equal(task_end(&task), KERN_SUCCESS);
    memory copy = m;
    m = original;
    for (size_t i = 0; i < PAGES; i++)
        assert_int_equal(peek(at(copy, i)), i == 3 ? 99 : i == 7 ? 70 : i + 1);
    poke(at(copy, 4), 1);
    poke(at(m, 5), 1);
    assert_int_equal(peek(at(m, 4)), 5);
    assert_int_equal(peek(at(copy, 5)), 6);
    unmap(copy, PAGES);
    assert_int_equal(memory_object_change_attributes(control, FALSE, MEMORY_OBJECT_COPY_CALL, MACH_PORT_NULL), 0);
    assert_int_equal(map_it((void *) 1), KERN_FAILURE);
    m = original;
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_NONE, TRUE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);
    /* A page that cannot be had is not copied.  */
    assert_int_equal(memory_object_change_attributes(control, FALSE, MEMORY_OBJECT_COPY_NONE, MACH_PORT_NULL), 0);
    task_begin(&task, map_it, (void *) 1);
    next(SK_DATA_REQUEST);
    assert_int_equal(memory_object_data_error(control, 0, PAGE, KERN_FAILURE), 0);
    assert_int_equal(task_end(&task), KERN_MEMORY_ERROR);
    m = original;
    finish();
}

/* Without UFFDIO_POISON, errors are another mapping.  */
static void test_without_poison(void **state)
{
    (void) state;
    mk_kernel_destroy(k);
    mk_pretend(MK_WITHOUT_POISON);
    k = mk_kernel_create("no poison", 0);
    mk_pretend(0);
    begin_mapped();
    for (int i = 0; i < 3; i++) {
        struct touch a;
        touch_begin(&a, at(m, 2) + 5, i == 1, 0);
        next(SK_DATA_REQUEST);
        assert_int_equal(memory_object_data_error(control, 2 * PAGE, PAGE, KERN_FAILURE), 0);
        assert_int_equal(touch_end(&a), SIGBUS);
        assert_ptr_equal(a.address, at(m, 2) + 5);
    }
    bring(2, true, 10, VM_PROT_NONE, FALSE);
    assert_int_equal(peek(at(m, 2)), 10);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_ALL, FALSE, VM_PROT_NO_CHANGE);
    next(SK_DATA_RETURN);
    next(SK_LOCK_COMPLETED);
    poke(at(m, 2), 11);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_NO_CHANGE);
    assert_int_equal(next(SK_DATA_RETURN).first[0], 11);
    next(SK_LOCK_COMPLETED);
    finish();
}

/* Messages that cannot be sent: the thread that wanted one gets SIGBUS, and may try again; what is dirty is never lost.  */
static void fail_sends(mach_msg_id_t id, unsigned count)
{
    struct hostmach_fault fault = { .task = mk_kernel_task(k), .id = id, .count = count, .error = MACH_SEND_NO_BUFFER };
    hostmach_fail_send(&fault);
}

static void test_send_fails(void **state)
{
    (void) state;
    begin_mapped();
    fail_sends(SK_DATA_REQUEST, 1);
    unsigned char byte;
    assert_int_equal(touch_read(at(m, 1), &byte), SIGBUS);
    assert_ptr_equal(touch_address, at(m, 1));
    bring(1, false, 10, VM_PROT_WRITE, FALSE);
    fail_sends(SK_DATA_UNLOCK, 1);
    assert_int_equal(touch_write(at(m, 1) + 9, 1), SIGBUS);
    assert_ptr_equal(touch_address, at(m, 1) + 9);
    assert_int_equal(peek(at(m, 1) + 9), 10);
    struct touch t;
    touch_begin(&t, at(m, 1), true, 11);
    next(SK_DATA_UNLOCK);
    answer(1, FALSE, VM_PROT_NONE);
    assert_int_equal(touch_end(&t), 0);
    /* A return is tried again, until it goes.  */
    supply(2 * PAGE, 3, 30, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    poke(at(m, 2), 31);
    fail_sends(SK_DATA_RETURN, 4);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_DIRTY, TRUE, VM_PROT_NO_CHANGE);
    for (int i = 1; i <= 2; i++) {
        struct event e = next(SK_DATA_RETURN);
        assert_int_equal(e.offset, i * PAGE);
        assert_int_equal(e.length, PAGE);
        assert_int_equal(e.first[0], i == 1 ? 11 : 31);
    }
    next(SK_LOCK_COMPLETED);
    assert_int_equal(page_info(at(m, 3)).state, MK_PAGE_ABSENT);
    /* So are the answer to a lock request, and the end.  */
    fail_sends(SK_LOCK_COMPLETED, 2);
    lock(0, PAGE, MEMORY_OBJECT_RETURN_NONE, TRUE, VM_PROT_NO_CHANGE);
    next(SK_LOCK_COMPLETED);
    fail_sends(SK_TERMINATE, 2);
    finish();
    fail_sends(SK_INIT, 1);
    assert_int_equal(map_it(NULL), KERN_MEMORY_ERROR);
    hostmach_fail_send(NULL);
}

/* HostMach's own injection passes over kernels; so the kernel's vm_allocate goes through the test.  */
static _Atomic int pages_to_pass, pages_to_fail;

kern_return_t __real_vm_allocate(mach_port_t, vm_address_t *, vm_size_t, boolean_t);
kern_return_t __wrap_vm_allocate(mach_port_t, vm_address_t *, vm_size_t, boolean_t);
kern_return_t __wrap_vm_allocate(mach_port_t task, vm_address_t *address, vm_size_t size, boolean_t anywhere)
{
    if (k != NULL && hostmach_task_current() == mk_kernel_task(k) && pages_to_fail != 0 && pages_to_pass-- <= 0) {
        pages_to_fail--;
        return KERN_RESOURCE_SHORTAGE;
    }
    return __real_vm_allocate(task, address, size, anywhere);
}

static void fail_pages(int pass, int fail)
{
    pages_to_pass = pass;
    pages_to_fail = fail;
}

/* Memory that is short in HostMach: the same.  */
static void test_memory_fails(void **state)
{
    (void) state;
    begin_mapped();
    bring(1, true, 10, VM_PROT_NONE, FALSE);
    fail_pages(0, 3);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_NO_CHANGE);
    fail_pages(0, 0);
    assert_int_equal(next(SK_DATA_RETURN).first[0], 10);
    next(SK_LOCK_COMPLETED);
    /* Eviction does not wait: the page stays, dirty.  */
    bring(1, true, 11, VM_PROT_NONE, FALSE);
    supply(2 * PAGE, 20, 60, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    mk_kernel_set_cache(k, 16);
    fail_pages(0, 1000000);
    supply(31 * PAGE, 1, 90, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
    fail_pages(0, 0);
    nothing();
    assert_int_equal(page_info(at(m, 1)).state, MK_PAGE_PRESENT);
    assert_true(page_info(at(m, 1)).dirty);
    lock(0, PAGES * PAGE, MEMORY_OBJECT_RETURN_ALL, TRUE, VM_PROT_NO_CHANGE);
    assert_int_equal(next(SK_DATA_RETURN).first[0], 11);
    next(SK_LOCK_COMPLETED);
    finish();
}

/* Memory that is short for the kernel itself, at a fault: SIGBUS, and the next touch tries again.  (This program is linked with
   --wrap=calloc.)  */
static _Atomic size_t fail_above = SIZE_MAX;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return size > fail_above ? NULL : __real_calloc(count, size);
}

static void test_no_records(void **state)
{
    (void) state;
    begin_mapped();
    unsigned char byte;
    for (int i = 0; i < 2; i++) {
        fail_above = 1000;
        int result = touch_read(at(m, 66) + 5, &byte);
        fail_above = SIZE_MAX;
        assert_int_equal(result, SIGBUS);
        assert_ptr_equal(touch_address, at(m, 66) + 5);
    }
    bring(66, true, 12, VM_PROT_NONE, FALSE);
    fail_above = 1000;
    supply(0, 1, 1, VM_PROT_NONE, FALSE, pager);
    fail_above = SIZE_MAX;
    assert_int_equal(next(SK_SUPPLY_COMPLETED).result, KERN_RESOURCE_SHORTAGE);
    answer(66, TRUE, VM_PROT_NO_CHANGE);
    finish();
}

/* Memory that the program has locked is taken back like any other.  */
static void test_mlock(void **state)
{
    (void) state;
    begin_mapped();
    bring(1, true, 10, VM_PROT_NONE, FALSE);
    if (mlock((void *) at(m, 1), PAGE) == 0) {
        lock(PAGE, PAGE, MEMORY_OBJECT_RETURN_DIRTY, FALSE, VM_PROT_ALL);
        next(SK_DATA_RETURN);
        next(SK_LOCK_COMPLETED);
        struct touch t;
        touch_begin(&t, at(m, 1), false, 0);
        next(SK_DATA_UNLOCK);
        answer(1, TRUE, VM_PROT_NO_CHANGE);
        next(SK_DATA_REQUEST);
        supply(PAGE, 1, 20, VM_PROT_NONE, FALSE, MACH_PORT_NULL);
        assert_int_equal(touch_end(&t), 0);
        assert_int_equal(t.byte, 20);
        munlock((void *) at(m, 1), PAGE);
    }
    answer(1, TRUE, VM_PROT_NO_CHANGE);
    finish();
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_read_ahead),
        CASE(test_supply_stops),
        CASE(test_error_and_unavailable),
        CASE(test_returns),
        CASE(test_precious),
        CASE(test_locks),
        CASE(test_requested_is_skipped),
        CASE(test_attributes),
        CASE(test_destroy_before_ready),
        CASE(test_destroy),
        CASE(test_pager_dies),
        CASE(test_kernel_dies),
        CASE(test_copy),
        CASE(test_without_poison),
        CASE(test_send_fails),
        CASE(test_memory_fails),
        CASE(test_no_records),
        CASE(test_mlock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
