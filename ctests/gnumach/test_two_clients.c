/* Two kernels share an object: the real one, which is client 0 and maps the object into our task, and a scripted one, client 1, which speaks
   the kernel's side of the protocol by MIG's stubs and can hold its answers back.  ctests/both has the rules one by one; here are whole
   pages, several threads, and what only two sorts of kernel show: what the scripted one was asked while the real one waits, in
   a real page fault.  */

#include "client.h"

#include <string.h>

enum { PAGES = 8 };

static void fill(struct client *y, size_t page, unsigned value)
{
    uint32_t words[1024];
    assert_int_equal(sizeof words, vm_page_size);
    for (uint32_t i = 0; i < 1024; i++)
        words[i] = value * 2654435761u + i;
    put(y, page, 0);
    assert_int_equal(sk_poke(y->object, page_offset(page), words, sizeof words), 0);
}

static void fill_mapped(struct client *x, size_t page, unsigned value)
{
    volatile uint32_t *words = (volatile uint32_t *) (x->memory + page_offset(page));
    put(x, page, 0);
    for (uint32_t i = 0; i < 1024; i++)
        words[i] = value * 2654435761u + i;
}

static void check_mapped(struct client *x, size_t page, unsigned value)
{
    volatile uint32_t *words = (volatile uint32_t *) (x->memory + page_offset(page));
    get(x, page);
    for (uint32_t i = 0; i < 1024; i++)
        assert_int_equal(words[i], value * 2654435761u + i);
}

static void check(struct client *y, size_t page, unsigned value)
{
    uint32_t words[1024];
    get(y, page);
    assert_int_equal(sk_peek(y->object, page_offset(page), words, sizeof words), 0);
    for (uint32_t i = 0; i < 1024; i++)
        assert_int_equal(words[i], value * 2654435761u + i);
}

static struct sk_message last_lock(struct client *y)
{
    struct sk_message message = { 0 };
    assert_int_equal(sk_last_message(y->object, SK_LOCK_REQUEST, &message), 0);
    return message;
}

/* ---- Coherence ---- */

/* Every word of every page that one writes the other reads, either way, over and over; the store is read once for each page.  */
static void test_whole_pages_both_ways(void **state)
{
    struct scene s;
    scene_open(&s, state, PAGES, 2, 0);
    for (unsigned round = 1; round <= 12; round++)
        for (size_t page = 0; page < PAGES; page++) {
            if ((round + page) % 2) {
                fill_mapped(s.x, page, round);
                check(s.y, page, round);
            } else {
                fill(s.y, page, round);
                check_mapped(s.x, page, round);
            }
        }
    assert_int_equal(store_count(&s.party.world, CALL_READ), PAGES);
    assert_int_equal(world_statistics(&s.party.world).refused, 0);
    scene_close(&s);
}

/* Both add to one number, the real kernel by three threads: no addition is lost.  */
enum { THREADS = 3, EACH = 60 };

static int add_mapped(void *argument)
{
    uint32_t *number = argument;
    for (int i = 0; i < EACH; i++) {
        __atomic_fetch_add(number, 1, __ATOMIC_SEQ_CST);
        sched_yield();
    }
    return 0;
}

static void add(struct client *y, size_t page)
{
    uint32_t number;
    for (;;) {
        /* Should the page go between the two it is not there for the second.  */
        if (sk_peek(y->object, page_offset(page), &number, sizeof number) == 0
            && (number++, sk_poke(y->object, page_offset(page), &number, sizeof number) == 0))
            return;
        sk_request(y->object, page_offset(page), RW);
        sk_unlock(y->object, page_offset(page), RW);
        sk_wait_page(y->object, page_offset(page), SK_WANT_SETTLED, 0);
    }
}

static void test_no_addition_is_lost(void **state)
{
    struct scene s;
    scene_open(&s, state, 1, 2, 0);
    volatile uint32_t *number = (volatile uint32_t *) s.x->memory;
    struct task tasks[THREADS];
    put(s.x, 0, 0);
    *number = 0;
    for (int i = 0; i < THREADS; i++)
        task_begin(&tasks[i], add_mapped, (void *) number);
    for (int i = 0; i < EACH; i++)
        add(s.y, 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(task_end(&tasks[i]), 0);
    assert_int_equal(*number, (THREADS + 1) * EACH);
    assert_true(world_statistics(&s.party.world).hand_offs > 0);
    scene_close(&s);
}

/* ---- Hand-over ---- */

/* The real kernel's dirty page goes to the second one while the store still waits for an older version of it.  */
static void test_dirty_page_of_the_real_kernel_is_handed_over(void **state)
{
    struct scene s;
    scene_open(&s, state, PAGES, 2, 0);
    fill_mapped(s.x, 2, 1);
    store_close_gate(&s.party.world, CALL_WRITE);
    pager_sync_some(s.party.world.pager, page_offset(2), vm_page_size, 0);
    store_wait_gate(&s.party.world, CALL_WRITE, 1);
    fill_mapped(s.x, 2, 2);
    check(s.y, 2, 2);
    /* The newest is in the store at the end.  */
    store_open_gate(&s.party.world, CALL_WRITE);
    pager_return(s.party.world.pager, 1);
    check(s.y, 2, 2);
    assert_int_equal(store_count(&s.party.world, CALL_READ), 2);
    scene_close(&s);
}

/* ... and the other way: what the second one has written is there when the real kernel's thread goes on.  */
static void test_dirty_page_of_the_second_is_handed_over(void **state)
{
    struct scene s;
    scene_open(&s, state, PAGES, 2, 0);
    fill(s.y, 3, 7);
    store_close_gate(&s.party.world, CALL_WRITE);
    check_mapped(s.x, 3, 7);
    fill_mapped(s.x, 3, 8);
    check(s.y, 3, 8);
    store_open_gate(&s.party.world, CALL_WRITE);
    assert_int_equal(store_count(&s.party.world, CALL_READ), 1);
    scene_close(&s);
}

/* The real kernel's fault waits as long as the second one has not given the page up.  */
static void test_fault_waits_for_the_second(void **state)
{
    struct scene s;
    scene_open(&s, state, PAGES, 2, 0);
    put(s.y, 1, 31);
    sk_hold(s.y->object, SK_HOLD_LOCK);
    ask(s.x, 1, RW);
    assert_int_equal(sk_wait_pending(s.y->object, 1, 0), 0);
    assert_true(still_waits(s.x, 1));
    /* It may go on writing until then.  */
    rewrite(s.y, 1, 32);
    sk_release_all(s.y->object);
    wait_page(s.x, 1, SK_WANT_WRITABLE);
    assert_int_equal(get(s.x, 1), 32);
    assert_int_equal(state_of(s.y, 1), SK_PAGE_ABSENT);
    scene_close(&s);
}

/* The second one has returned the page but not said that it has done so: the real kernel is not served before.  */
static void test_fault_waits_for_lock_completed(void **state)
{
    struct scene s;
    scene_open(&s, state, PAGES, 2, 0);
    put(s.y, 1, 33);
    sk_hold(s.y->object, SK_HOLD_COMPLETED);
    ask(s.x, 1, VM_PROT_READ);
    assert_int_equal(sk_wait_pending(s.y->object, 1, 0), 0);
    assert_true(still_waits(s.x, 1));
    sk_release_all(s.y->object);
    wait_page(s.x, 1, SK_WANT_READABLE);
    assert_int_equal(get(s.x, 1), 33);
    scene_close(&s);
}

/* The real kernel pushes its dirty page out while the second one asks for it: there is one newest version.  */
static void test_pushed_out_while_the_second_asks(void **state)
{
    struct scene s;
    scene_open(&s, state, PAGES, 2, 0);
    for (unsigned round = 1; round <= 20; round++) {
        size_t page = round % PAGES;
        fill_mapped(s.x, page, round);
        if (round % 2) {
            ask(s.y, page, round % 4 == 1 ? RW : VM_PROT_READ);
            (void) try_evict(s.x, page);
        } else {
            evict(s.x, page);
            ask(s.y, page, RW);
        }
        wait_page(s.y, page, SK_WANT_READABLE);
        check(s.y, page, round);
    }
    scene_close(&s);
}

/* ---- Access ---- */

/* A second reader makes the real kernel's writer a reader: it keeps its page, its next write asks, and takes the second one's copy.  */
static void test_real_writer_is_downgraded(void **state)
{
    struct scene s;
    scene_open(&s, state, PAGES, 2, 0);
    put(s.x, 4, 41);
    assert_true(is_writable(s.x, 4));
    assert_int_equal(get(s.y, 4), 41);
    world_settle(&s.party.world);
    assert_int_equal(state_of(s.x, 4), SK_PAGE_PRESENT);
    assert_false(is_writable(s.x, 4));
    assert_int_equal(access_of(&s.party, 4, 0), 1);
    assert_int_equal(access_of(&s.party, 4, 1), 1);
    put(s.x, 4, 42);
    assert_int_equal(state_of(s.y, 4), SK_PAGE_ABSENT);
    assert_true(last_lock(s.y).should_flush);
    assert_int_equal(get(s.y, 4), 42);
    scene_close(&s);
}

/* The second one, writing, is asked for what is dirty and for no more than its right to write.  */
static void test_second_writer_is_downgraded(void **state)
{
    struct scene s;
    scene_open(&s, state, PAGES, 2, 0);
    put(s.y, 4, 43);
    assert_int_equal(get(s.x, 4), 43);
    world_settle(&s.party.world);
    struct sk_message lock = last_lock(s.y);
    assert_false(lock.should_flush);
    assert_int_equal(lock.should_return, MEMORY_OBJECT_RETURN_DIRTY);
    assert_int_equal(lock.access, VM_PROT_WRITE);
    assert_int_equal(state_of(s.y, 4), SK_PAGE_PRESENT);
    assert_false(is_writable(s.y, 4));
    assert_false(is_writable(s.x, 4));
    scene_close(&s);
}

/* Both read, both want to write at once: both get their way, one after the other, and agree on the last.  */
static int write_mapped(void *argument)
{
    *(volatile unsigned char *) argument = 201;
    return 0;
}

static void test_both_readers_write_at_once(void **state)
{
    struct scene s;
    scene_open(&s, state, PAGES, 2, 0);
    for (int round = 0; round < 20; round++) {
        struct task task;
        get(s.x, 5);
        get(s.y, 5);
        task_begin(&task, write_mapped, (void *) (s.x->memory + page_offset(5)));
        put(s.y, 5, 202);
        assert_int_equal(task_end(&task), 0);
        unsigned char last = get(s.x, 5);
        assert_true(last == 201 || last == 202);
        assert_int_equal(get(s.y, 5), last);
    }
    scene_close(&s);
}

/* ---- Death ---- */

/* The second one dies with dirty pages: what it had not returned is lost, what it had is there; the real kernel goes on with that.  */
static void test_second_dies_with_dirty_pages(void **state)
{
    struct scene s;
    scene_open(&s, state, PAGES, 2, 0);
    for (size_t page = 0; page < PAGES; page++)
        put(s.y, page, (unsigned char) (50 + page));
    pager_sync_some(s.party.world.pager, page_offset(0), page_offset(PAGES / 2), 1);
    for (size_t page = 0; page < PAGES; page++)
        rewrite(s.y, page, 99);
    die(s.y);
    for (size_t page = 0; page < PAGES; page++)
        assert_int_equal(get(s.x, page), page < PAGES / 2 ? 50 + page : page + 1);
    put(s.x, 0, 77);
    assert_int_equal(get(s.x, 0), 77);
    wait_clients(&s.party, 1);
    scene_close(&s);
}

/* It dies while the real kernel's thread waits for its page: the fault ends, with the store's data.  */
static void die_while_awaited(void **state, vm_prot_t access, unsigned held)
{
    struct scene s;
    scene_open(&s, state, PAGES, 2, 0);
    put(s.y, 6, 61);
    sk_hold(s.y->object, held);
    ask(s.x, 6, access);
    assert_int_equal(sk_wait_pending(s.y->object, 1, 0), 0);
    assert_true(still_waits(s.x, 6));
    die(s.y);
    wait_page(s.x, 6, access == RW ? SK_WANT_WRITABLE : SK_WANT_READABLE);
    /* Returned before it died (and not yet said so), or never.  */
    assert_int_equal(get(s.x, 6), held == SK_HOLD_COMPLETED ? 61 : 7);
    scene_close(&s);
}

static void test_second_dies_and_a_reader_waits(void **state) { die_while_awaited(state, VM_PROT_READ, SK_HOLD_LOCK); }
static void test_second_dies_and_a_writer_waits(void **state) { die_while_awaited(state, RW, SK_HOLD_LOCK); }
static void test_second_dies_after_its_return(void **state) { die_while_awaited(state, RW, SK_HOLD_COMPLETED); }

/* It dies while the real kernel's thread waits for leave to write a page that both have: granted.  */
static void test_second_dies_and_an_unlock_waits(void **state)
{
    struct scene s;
    scene_open(&s, state, PAGES, 2, 0);
    put(s.x, 6, 62);
    assert_int_equal(get(s.y, 6), 62);
    world_settle(&s.party.world);
    sk_hold(s.y->object, SK_HOLD_LOCK);
    ask_unlock(s.x, 6);
    assert_int_equal(sk_wait_pending(s.y->object, 1, 0), 0);
    assert_true(task_waits(&s.x->faults[0].task));
    assert_false(is_writable(s.x, 6));
    die(s.y);
    wait_page(s.x, 6, SK_WANT_WRITABLE);
    put(s.x, 6, 63);
    assert_int_equal(get(s.x, 6), 63);
    scene_close(&s);
}

/* Second ones come, share, and die, many times: the real kernel notices nothing; numbers are used again, nothing is left.  */
static void test_many_seconds_come_and_die(void **state)
{
    struct scene s;
    scene_open(&s, state, PAGES, 1, 0);
    for (int round = 0; round < 8; round++) {
        struct client *y = client_of(&s.party, s.party.world.port, PAGES);
        put(s.x, 0, (unsigned char) round);
        assert_int_equal(get(y, 0), (unsigned char) round);
        put(y, 1, 1);
        assert_int_equal(get(s.x, 1), 1);
        client_free(y);
        wait_clients(&s.party, 1);
    }
    world_settle(&s.party.world);
    assert_int_equal(world_statistics(&s.party.world).descriptors, 0);
    scene_close(&s);
}

/* Client 0 is always the real kernel.  */
#define REAL(test) { .name = #test, .test_func = test, .initial_state = (void *) &(enum mode) { MAPPED } }

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL(test_whole_pages_both_ways),
        REAL(test_no_addition_is_lost),
        REAL(test_dirty_page_of_the_real_kernel_is_handed_over),
        REAL(test_dirty_page_of_the_second_is_handed_over),
        REAL(test_fault_waits_for_the_second),
        REAL(test_fault_waits_for_lock_completed),
        REAL(test_pushed_out_while_the_second_asks),
        REAL(test_real_writer_is_downgraded),
        REAL(test_second_writer_is_downgraded),
        REAL(test_both_readers_write_at_once),
        REAL(test_second_dies_with_dirty_pages),
        REAL(test_second_dies_and_a_reader_waits),
        REAL(test_second_dies_and_a_writer_waits),
        REAL(test_second_dies_after_its_return),
        REAL(test_second_dies_and_an_unlock_waits),
        REAL(test_many_seconds_come_and_die),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
