/* The races R1 to R13 of the protocol, each in an order that the test sets.  */

#include "store.h"

#define WITH(n, notify) struct world w; world_open(&w, n, notify)
static sk_kernel *ka, *kb, *kc;
static sk_object *a, *b, *c;
static void two(struct world *w) { ka = sk_kernel_create("A"); kb = sk_kernel_create("B"); a = sk_map(ka, w->port); b = sk_map(kb, w->port); }
static void three(struct world *w) { two(w); kc = sk_kernel_create("C"); c = sk_map(kc, w->port); }
static void end(struct world *w, int n)
{
    assert_int_equal(sk_violations(a), 0);
    sk_kernel_destroy(ka);
    if (n > 1) { assert_int_equal(sk_violations(b), 0); sk_kernel_destroy(kb); }
    if (n > 2) { assert_int_equal(sk_violations(c), 0); sk_kernel_destroy(kc); }
    world_close(w);
}
#define RW (VM_PROT_READ | VM_PROT_WRITE)

/* R2: a synced copy, not yet written, is not handed on while its holder may have written again.  */
static void test_R2(void **s)
{
    (void) s; WITH(4, 0); two(&w);
    kernel_write(a, 0, 20);
    store_close_gate(&w, CALL_WRITE);
    pager_sync_some(w.pager, 0, vm_page_size, 0);
    store_wait_gate(&w, CALL_WRITE, 1);
    kernel_write(a, 0, 21);
    sk_hold(a, SK_HOLD_LOCK);
    sk_request(b, 0, VM_PROT_READ);
    sk_wait_pending(a, 1, 0);
    assert_int_equal(sk_page_state(b, 0).state, SK_PAGE_REQUESTED);
    sk_release_all(a);
    assert_int_equal(sk_wait_page(b, 0, SK_WANT_READABLE, 0), 0);
    assert_int_equal(kernel_byte(b, 0), 21);
    store_open_gate(&w, CALL_WRITE);
    pager_sync(w.pager, 1);
    assert_int_equal(store_byte(&w, 0), 21);
    end(&w, 2);
}

/* R3: an unlock that crosses our flush is answered by it.  */
static void test_R3(void **s)
{
    (void) s; WITH(4, 0); two(&w);
    unsigned char x;
    kernel_read(a, 0, &x); kernel_read(b, 0, &x);
    world_settle(&w);
    sk_hold(a, SK_HOLD_LOCK);
    sk_unlock(b, 0, RW);                /* B wants to write: A is to be flushed */
    sk_wait_pending(a, 1, 0);
    sk_unlock(a, 0, RW);                /* crosses */
    world_settle(&w);
    sk_release_all(a);
    assert_int_equal(sk_wait_page(b, 0, SK_WANT_WRITABLE, 0), 0);
    assert_int_equal(sk_page_state(a, 0).state, SK_PAGE_ABSENT);
    world_settle(&w);
    assert_int_equal(sk_count(a, SK_LOCK_REQUEST), 1 + (sk_count(a, SK_DATA_SUPPLY) > 1));
    end(&w, 2);
}

/* R4: all readers ask to write at once: one set of flushes.  */
static void test_R4(void **s)
{
    (void) s; WITH(4, 0); three(&w);
    unsigned char x;
    kernel_read(a, 0, &x); kernel_read(b, 0, &x); kernel_read(c, 0, &x);
    world_settle(&w);
    uint64_t before = world_statistics(&w).flushes;
    sk_hold(a, SK_HOLD_LOCK); sk_hold(b, SK_HOLD_LOCK); sk_hold(c, SK_HOLD_LOCK);
    sk_unlock(a, 0, RW);
    sk_wait_pending(b, 1, 0); sk_wait_pending(c, 1, 0);
    sk_unlock(b, 0, RW); sk_unlock(c, 0, RW);
    world_settle(&w);
    assert_int_equal(world_statistics(&w).flushes - before, 2);
    sk_release_all(b); sk_release_all(c);
    sk_wait_pending(a, 1, 0);
    sk_release_all(a);
    assert_int_equal(sk_wait_page(a, 0, SK_WANT_WRITABLE, 0), 0);
    end(&w, 3);
}

/* R5: a flushed client asks again before its lock_completed: neither served from nor removed from stale state.  */
static void test_R5(void **s)
{
    (void) s; WITH(4, 0); two(&w);
    kernel_write(a, 0, 50);
    sk_hold(a, SK_HOLD_COMPLETED);
    sk_request(b, 0, RW);
    sk_wait_pending(a, 1, 0);
    sk_request(a, 0, VM_PROT_READ);
    world_settle(&w);
    assert_int_equal(sk_page_state(a, 0).state, SK_PAGE_REQUESTED);
    assert_int_equal(sk_page_state(b, 0).state, SK_PAGE_REQUESTED);
    sk_release_all(a);
    assert_int_equal(sk_wait_page(b, 0, SK_WANT_PRESENT, 0), 0);
    assert_int_equal(sk_wait_page(a, 0, SK_WANT_READABLE, 0), 0);
    world_settle(&w);
    assert_int_equal(pager_page_access(w.pager, 0, 0), 1);
    assert_int_equal(pager_page_access(w.pager, 0, 1), 1);
    assert_int_equal(kernel_byte(a, 0), 50);
    end(&w, 2);
}

/* R6: the answer to a user's sync of one page and the answer to an internal lock request are told apart by order.  */
static void test_R6(void **s)
{
    (void) s; WITH(4, 0); two(&w);
    kernel_write(a, 0, 60);
    world_settle(&w);
    sk_hold(a, SK_HOLD_COMPLETED);
    pager_sync_some(w.pager, 0, vm_page_size, 0);
    sk_wait_pending(a, 1, 0);
    sk_request(b, 0, RW);
    sk_wait_pending(a, 2, 0);
    sk_release_one(a, 0);               /* the sync's */
    world_settle(&w);
    assert_int_equal(sk_page_state(b, 0).state, SK_PAGE_REQUESTED);
    sk_release_one(a, 0);               /* the flush's */
    assert_int_equal(sk_wait_page(b, 0, SK_WANT_WRITABLE, 0), 0);
    assert_int_equal(kernel_byte(b, 0), 60);
    end(&w, 2);
}

/* R7: the dead client is the reason for the flush.  */
static void test_R7b(void **s)
{
    (void) s; WITH(4, 0); two(&w);
    kernel_write(a, 0, 71);
    sk_hold(a, SK_HOLD_COMPLETED);
    sk_request(b, 0, RW);
    sk_wait_pending(a, 1, 0);
    sk_kernel_kill(kb);
    world_settle(&w);
    sk_release_all(a);
    world_settle(&w);
    pager_sync(w.pager, 1);
    assert_int_equal(store_byte(&w, 0), 71);
    unsigned char x;
    assert_int_equal(kernel_read(a, 0, &x), 0);
    assert_int_equal(x, 71);
    end(&w, 2);
}

/* R8: a multi-page return while one page is given out again half-way.  */
static void test_R8(void **s)
{
    (void) s; WITH(8, 0); two(&w);
    for (int i = 0; i < 8; i++) kernel_write(a, i, 80 + i);
    world_settle(&w);
    sk_hold(a, SK_HOLD_COMPLETED);
    pager_return_some(w.pager, 0, 8 * vm_page_size, 0);
    sk_wait_pending(a, 1, 0);
    unsigned char x;
    assert_int_equal(kernel_read(a, 5, &x), 0);
    assert_int_equal(x, 85);
    sk_release_all(a);
    world_settle(&w);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pager_page_access(w.pager, page_offset(i), 0) != 0, i == 5);
    end(&w, 2);
}

/* R9: the reader asks to write while another client's read is paging in.  */
static void test_R9(void **s)
{
    (void) s; WITH(4, 0); two(&w);
    unsigned char x;
    kernel_read(a, 0, &x);
    world_settle(&w);
    store_close_gate(&w, CALL_READ);
    sk_request(b, 0, VM_PROT_READ);
    store_wait_gate(&w, CALL_READ, 1);
    sk_unlock(a, 0, RW);
    store_open_gate(&w, CALL_READ);
    assert_int_equal(sk_wait_page(a, 0, SK_WANT_WRITABLE, 0), 0);
    assert_int_equal(sk_page_state(b, 0).state, SK_PAGE_ABSENT);
    end(&w, 2);
}

/* R10: a write error with a reader waiting: the data are handed on.  */
static void test_R10(void **s)
{
    (void) s; WITH(4, 0); two(&w);
    kernel_write(a, 0, 100);
    world_settle(&w);
    store_fail(&w, CALL_WRITE, EIO, -1);
    sk_hold(a, SK_HOLD_COMPLETED);
    sk_request(b, 0, RW);
    sk_wait_pending(a, 1, 0);
    store_wait_count(&w, CALL_WRITE, 1);
    world_settle(&w);
    sk_release_all(a);
    assert_int_equal(sk_wait_page(b, 0, SK_WANT_WRITABLE, 0), 0);
    assert_int_equal(kernel_byte(b, 0), 100);
    assert_true(sk_page_state(b, 0).precious);
    assert_int_equal(pager_get_error(w.pager, 0), EIO);
    store_fail(&w, CALL_WRITE, 0, 0);
    sk_evict(b, 0);
    world_settle(&w);
    assert_int_equal(store_byte(&w, 0), 100);
    assert_int_equal(pager_get_error(w.pager, 0), 0);
    end(&w, 2);
}

static void *shut(void *p) { pager_shutdown(p); return 0; }
/* R11: shutdown while a read, a write and a lock are under way.  */
static void test_R11(void **s)
{
    (void) s; WITH(4, 0); two(&w);
    kernel_write(a, 0, 110); kernel_write(b, 1, 111);
    store_close_gate(&w, CALL_READ); store_close_gate(&w, CALL_WRITE);
    sk_hold(b, SK_HOLD_COMPLETED);
    sk_request(a, page_offset(1), VM_PROT_READ);
    sk_request(a, page_offset(2), VM_PROT_READ);
    pthread_t t = spawn(shut, w.pager);
    sk_wait_pending(b, 1, 0);
    store_open_gate(&w, CALL_READ); store_open_gate(&w, CALL_WRITE);
    sk_release_all(b);
    join(t);
    assert_int_equal(store_byte(&w, 0), 110);
    assert_int_equal(store_byte(&w, 1), 111);
    end(&w, 2);
}

/* R13: multi-page messages.  */
static void test_R13(void **s)
{
    (void) s; WITH(40, 0); two(&w);
    struct sk_message m = { .id = SK_DATA_REQUEST, .offset = page_offset(2), .length = 8 * vm_page_size, .access = VM_PROT_READ };
    sk_send_raw(a, &m, NULL, 0);
    for (int i = 2; i < 10; i++) {
        assert_int_equal(sk_wait_page(a, page_offset(i), SK_WANT_READABLE, 0), 0);
        assert_int_equal(kernel_byte(a, i), i + 1);
    }
    for (int i = 0; i < 40; i++) kernel_write(b, i, 130 + i);
    pager_return(w.pager, 1);
    for (int i = 0; i < 40; i++) assert_int_equal(store_byte(&w, i), 130 + i);
    end(&w, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_R2), cmocka_unit_test(test_R3), cmocka_unit_test(test_R4),
        cmocka_unit_test(test_R5), cmocka_unit_test(test_R6), cmocka_unit_test(test_R7b),
        cmocka_unit_test(test_R8), cmocka_unit_test(test_R9), cmocka_unit_test(test_R10),
        cmocka_unit_test(test_R11), cmocka_unit_test(test_R13),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
