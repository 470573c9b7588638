/* Bad input: what clients, callbacks and callers do wrong.  Each gets a defined answer (an error reply, or a refusal that is
   counted, and logged once); nothing is lost; nobody else notices.  */

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "store.h"

/* A client that misbehaves, one that must not notice, and a page of each: the bad one has page 0, the good one page 1,
   both may read page 2.  */
struct pair {
    struct world world;
    sk_kernel *a, *b;
    sk_object *bad, *good;
    uint64_t refused;
};

static const vm_offset_t top = -4096;

static uint64_t refused(struct pair *p) { return world_statistics(&p->world).refused; }

static void pair_open(struct pair *p)
{
    world_open(&p->world, 16, 0);
    p->a = sk_kernel_create("bad");
    p->b = sk_kernel_create("good");
    p->bad = sk_map(p->a, p->world.port);
    p->good = sk_map(p->b, p->world.port);
    unsigned char byte;
    assert_int_equal(kernel_write(p->bad, 0, 100), 0);
    assert_int_equal(kernel_write(p->good, 1, 101), 0);
    assert_int_equal(kernel_read(p->bad, 2, &byte), 0);
    assert_int_equal(kernel_read(p->good, 2, &byte), 0);
    world_settle(&p->world);
    p->refused = refused(p);
    assert_int_equal(p->refused, 0);
}

/* TIMES messages were refused since the last look, and both clients can do all they could before.  */
static void check_refused(struct pair *p, unsigned times)
{
    world_settle(&p->world);
    assert_int_equal(refused(p), p->refused + times);
    p->refused += times;
    assert_int_equal(kernel_byte(p->bad, 0), 100);
    assert_int_equal(kernel_byte(p->good, 1), 101);
    assert_int_equal(kernel_byte(p->good, 2), 3);
    assert_int_equal(pager_page_access(p->world.pager, 0, 0), 3);
    assert_int_equal(pager_page_access(p->world.pager, page_offset(1), 1), 3);
    assert_int_equal(pager_page_access(p->world.pager, page_offset(2), 1), 1);
    assert_int_equal(store_byte(&p->world, 2), 3);
}

/* Afterwards both are served as ever, and what they wrote is there.  */
static void pair_close(struct pair *p)
{
    unsigned char byte;
    assert_int_equal(kernel_read(p->bad, 3, &byte), 0);
    assert_int_equal(byte, 4);
    assert_int_equal(kernel_write(p->good, 3, 103), 0);
    assert_int_equal(kernel_read(p->bad, 1, &byte), 0);
    assert_int_equal(byte, 101);
    assert_int_equal(kernel_read(p->good, 0, &byte), 0);
    assert_int_equal(byte, 100);
    pager_return(p->world.pager, 1);
    assert_int_equal(store_byte(&p->world, 0), 100);
    assert_int_equal(store_byte(&p->world, 1), 101);
    assert_int_equal(store_byte(&p->world, 3), 103);
    assert_int_equal(refused(p), p->refused);
    assert_int_equal(sk_violations(p->good), 0);
    assert_int_equal(sk_violations(p->bad), 0);
    sk_kernel_destroy(p->a);
    sk_kernel_destroy(p->b);
    world_settle(&p->world);
    assert_int_equal(world_statistics(&p->world).clients, 0);
    assert_int_equal(hostmach_message_count(), 0);
    world_close(&p->world);
}

static void send(struct pair *p, struct sk_message message, unsigned flags)
{
    static unsigned char data[64 * 4096];
    memset(data, 0xee, sizeof data);
    assert_true(message.length <= sizeof data || message.id != SK_DATA_RETURN);
    assert_int_equal(sk_send_raw(p->bad, &message, data, flags), 0);
}

#define SEND(...) send(&p, (struct sk_message) { __VA_ARGS__ }, 0)
#define SEND_FOREIGN(...) send(&p, (struct sk_message) { __VA_ARGS__ }, SK_RAW_FOREIGN_CONTROL)

/* "Unknown control port": in every message that has one.  */
static void test_unknown_control_port(void **state)
{
    (void) state;
    struct pair p;
    pair_open(&p);
    SEND_FOREIGN(.id = SK_DATA_REQUEST, .length = 4096, .access = VM_PROT_READ);
    check_refused(&p, 1);
    SEND_FOREIGN(.id = SK_DATA_UNLOCK, .offset = page_offset(2), .length = 4096, .access = VM_PROT_WRITE);
    check_refused(&p, 1);
    SEND_FOREIGN(.id = SK_DATA_RETURN, .offset = page_offset(1), .length = 4096, .dirty = 1);
    check_refused(&p, 1);
    SEND_FOREIGN(.id = SK_LOCK_COMPLETED, .offset = page_offset(1), .length = 4096);
    check_refused(&p, 1);
    SEND(.id = SK_TERMINATE);               /* carries two receive rights of its own */
    check_refused(&p, 1);
    assert_int_equal(world_statistics(&p.world).clients, 2);
    pair_close(&p);
}

/* The same while the others have only just attached: the name that a port had before the library renamed it is nobody's.  */
static void test_unknown_control_port_before_a_word(void **state)
{
    (void) state;
    static const mach_msg_id_t ids[] = { SK_TERMINATE, SK_DATA_REQUEST, SK_DATA_RETURN, SK_DATA_UNLOCK, SK_LOCK_COMPLETED };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct world world;
        world_open(&world, 4, 0);
        sk_kernel *kernels[3];
        sk_object *objects[3];
        for (int k = 0; k < 3; k++) {
            kernels[k] = sk_kernel_create("K");
            objects[k] = sk_map(kernels[k], world.port);
        }
        world_settle(&world);
        struct sk_message message = { .id = ids[i], .length = 4096, .access = VM_PROT_READ, .dirty = 1 };
        for (int times = 0; times < 4; times++)
            assert_int_equal(sk_send_raw(objects[0], &message, NULL, SK_RAW_FOREIGN_CONTROL), 0);
        world_settle(&world);
        assert_int_equal(world_statistics(&world).clients, 3);
        assert_int_equal(world_statistics(&world).refused, 4);
        assert_int_equal(store_count(&world, CALL_READ), 0);
        unsigned char byte = 0;
        for (int k = 0; k < 3; k++)
            assert_int_equal(sk_count(objects[k], SK_DATA_SUPPLY), 0);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(kernel_write(objects[k], 1, (unsigned char) (60 + k)), 0);
            assert_int_equal(kernel_read(objects[(k + 1) % 3], 1, &byte), 0);
            assert_int_equal(byte, 60 + k);
        }
        for (int k = 0; k < 3; k++)
            sk_kernel_destroy(kernels[k]);
        world_close(&world);
    }
}

/* "Misaligned or over-long range, zero length": a request is answered with an error for the pages that it touches.  */
static void test_bad_ranges_of_requests(void **state)
{
    (void) state;
    struct pair p;
    pair_open(&p);
    static const struct { vm_offset_t offset; vm_size_t length; } ranges[] = {
        { 5 * 4096 + 1, 4096 }, { 5 * 4096, 100 }, { 5 * 4096 + 8, 4096 - 8 }, { 5 * 4096, 0 }, { -1, 1 }, { 0, -1 },
        { -4096, 8192 }, { 4096, -4096 }, { 0, 1025 * 4096 }, { 0, (vm_size_t) 1 << 62 }, { -4096, -4096 },
    };
    unsigned count = sizeof ranges / sizeof *ranges;
    for (unsigned i = 0; i < count; i++) {
        SEND(.id = SK_DATA_REQUEST, .offset = ranges[i].offset, .length = ranges[i].length, .access = VM_PROT_READ);
        check_refused(&p, 1);
        assert_int_equal(sk_count(p.bad, SK_DATA_ERROR), i + 1);
        struct sk_message error;
        assert_int_equal(sk_last_message(p.bad, SK_DATA_ERROR, &error), 0);
        assert_int_equal(error.error, EINVAL);
        assert_int_equal(error.offset, ranges[i].offset & -(vm_offset_t) 4096);
        assert_true(error.length != 0 && error.length % 4096 == 0);
    }
    assert_int_equal(sk_count(p.good, SK_DATA_ERROR), 0);
    assert_int_equal(store_count(&p.world, CALL_READ), 4);
    pair_close(&p);
}

/* The same, for messages that nobody waits for.  */
static void test_bad_ranges_of_others(void **state)
{
    (void) state;
    struct pair p;
    pair_open(&p);
    static const struct { vm_offset_t offset; vm_size_t length; } ranges[] = {
        { 1, 4096 }, { 0, 100 }, { 0, 0 }, { -4096, 8192 }, { 4097, 4095 },
    };
    for (unsigned i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        SEND(.id = SK_DATA_UNLOCK, .offset = ranges[i].offset, .length = ranges[i].length, .access = VM_PROT_WRITE);
        check_refused(&p, 1);
        SEND(.id = SK_DATA_RETURN, .offset = ranges[i].offset, .length = ranges[i].length, .dirty = 1);
        check_refused(&p, 1);
    }
    SEND(.id = SK_DATA_UNLOCK, .length = (vm_size_t) 1 << 62, .access = VM_PROT_WRITE);
    check_refused(&p, 1);
    assert_int_equal(store_count(&p.world, CALL_WRITE) + store_count(&p.world, CALL_UNLOCK), 0);
    pair_close(&p);
}

/* "Second init": of a client that is attached already, and one with another page size.  */
static void test_second_init(void **state)
{
    (void) state;
    struct pair p;
    pair_open(&p);
    SEND(.id = SK_INIT, .length = 4096);
    check_refused(&p, 1);
    assert_int_equal(sk_count(p.bad, SK_READY), 1);
    assert_int_equal(sk_count(p.bad, SK_DESTROY), 0);
    SEND_FOREIGN(.id = SK_INIT, .length = 8192);
    check_refused(&p, 1);
    SEND_FOREIGN(.id = SK_INIT, .length = 0);
    check_refused(&p, 1);
    assert_int_equal(world_statistics(&p.world).clients, 2);
    pair_close(&p);
}

/* "Stray lock_completed": and the other completions that were not asked for; and memory_object_copy.  */
static void test_stray_completions(void **state)
{
    (void) state;
    struct pair p;
    pair_open(&p);
    SEND(.id = SK_LOCK_COMPLETED, .offset = 0, .length = 4096);
    check_refused(&p, 1);
    SEND(.id = SK_LOCK_COMPLETED, .offset = 3, .length = 0);
    check_refused(&p, 1);
    SEND(.id = SK_CHANGE_COMPLETED, .may_cache = 1, .copy_strategy = 77);
    check_refused(&p, 1);
    SEND(.id = SK_SUPPLY_COMPLETED, .length = 4096, .error = KERN_MEMORY_PRESENT);
    check_refused(&p, 1);
    SEND(.id = SK_COPY, .length = 4096);
    check_refused(&p, 1);
    pair_close(&p);
}

/* A stray lock_completed while one is waited for, with another length: the wait goes on.  */
static void test_stray_completion_ends_no_wait(void **state)
{
    (void) state;
    struct pair p;
    pair_open(&p);
    sk_hold(p.bad, SK_HOLD_LOCK);
    assert_int_equal(sk_request(p.good, 0, VM_PROT_READ), 0);
    assert_int_equal(sk_wait_pending(p.bad, 1, 0), 0);
    SEND(.id = SK_LOCK_COMPLETED, .offset = 0, .length = 8192);
    world_settle(&p.world);
    assert_int_equal(refused(&p), ++p.refused);
    assert_int_equal(sk_page_state(p.good, 0).state, SK_PAGE_REQUESTED);
    sk_release_all(p.bad);
    assert_int_equal(sk_wait_page(p.good, 0, SK_WANT_READABLE, 0), 0);
    assert_int_equal(kernel_byte(p.good, 0), 100);
    pair_close(&p);
}

/* "Unlock or return by a client that holds nothing", or holds it for reading only: its data are not believed.  */
static void test_messages_of_a_client_that_holds_nothing(void **state)
{
    (void) state;
    struct pair p;
    pair_open(&p);
    SEND(.id = SK_DATA_UNLOCK, .offset = page_offset(1), .length = 4096, .access = VM_PROT_WRITE);
    check_refused(&p, 1);
    SEND(.id = SK_DATA_UNLOCK, .offset = page_offset(9), .length = 4096, .access = VM_PROT_WRITE);
    check_refused(&p, 1);
    SEND(.id = SK_DATA_RETURN, .offset = page_offset(1), .length = 4096, .dirty = 1);
    check_refused(&p, 1);
    SEND(.id = SK_DATA_RETURN, .offset = page_offset(9), .length = 4096, .dirty = 1, .kernel_copy = 1);
    check_refused(&p, 1);
    SEND(.id = SK_DATA_RETURN, .offset = page_offset(2), .length = 4096, .dirty = 1, .kernel_copy = 1);
    check_refused(&p, 1);                   /* it may only read */
    SEND(.id = SK_DATA_RETURN, .offset = (vm_offset_t) 1 << 50, .length = 4096);
    check_refused(&p, 1);
    SEND(.id = SK_DATA_RETURN, .offset = page_offset(5), .length = 40 * 4096, .dirty = 1);
    check_refused(&p, 40);
    assert_int_equal(store_count(&p.world, CALL_WRITE), 0);
    pair_close(&p);
}

/* A return of many pages of which only some are its own: those are taken, the others refused.  */
static void test_return_of_pages_some_of_which_are_held(void **state)
{
    (void) state;
    struct pair p;
    pair_open(&p);
    SEND(.id = SK_DATA_RETURN, .offset = 0, .length = 3 * 4096, .dirty = 1, .kernel_copy = 1);
    check_refused(&p, 2);
    assert_int_equal(store_byte(&p.world, 0), 0xee);
    assert_int_equal(store_byte(&p.world, 1), 2);
    assert_int_equal(store_count(&p.world, CALL_WRITE), 1);
    pair_close(&p);
}

/* "Counted and logged once": the log is standard error.  */
static void test_refusals_are_logged_once(void **state)
{
    (void) state;
    struct pair p;
    pair_open(&p);
    int saved = dup(STDERR_FILENO), ends[2];
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    for (int i = 0; i < 5; i++)
        SEND(.id = SK_DATA_RETURN, .offset = page_offset(9), .length = 4096, .dirty = 1);
    for (int i = 0; i < 5; i++)
        SEND(.id = SK_DATA_UNLOCK, .offset = page_offset(9), .length = 4096);
    world_settle(&p.world);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    char log[4096] = "";
    ssize_t length = read(ends[0], log, sizeof log - 1);
    close(ends[0]);
    assert_true(length > 0);
    assert_string_equal(log, "libpager: refused: return at 0x9000 by client 0, which does not have the page\n"
                             "libpager: refused: unlock at 0x9000 by client 0, which does not have the page\n");
    check_refused(&p, 10);
    pair_close(&p);
}

/* "Offsets at the top of the range": the very last page works like any other.  */
static void test_last_page_of_all(void **state)
{
    (void) state;
    struct pair p;
    pair_open(&p);
    unsigned char byte = 1;
    assert_int_equal(sk_read(p.bad, top, &byte, 1), 0);
    assert_int_equal(byte, 0);
    byte = 7;
    assert_int_equal(sk_write(p.bad, -1, &byte, 1), 0);
    assert_int_equal(sk_read(p.good, -1, &byte, 1), 0);
    assert_int_equal(byte, 7);
    byte = 8;
    assert_int_equal(sk_write(p.good, -1, &byte, 1), 0);
    assert_int_equal(pager_page_access(p.world.pager, top, 1), 3);
    assert_int_equal(pager_page_access(p.world.pager, top, 0), 0);
    assert_int_equal(pager_get_error(p.world.pager, -1), 0);
    world_settle(&p.world);     /* (What was handed over before is written.)  */
    unsigned writes = store_count(&p.world, CALL_WRITE);
    pager_sync_some(p.world.pager, top, 4096, 1);
    assert_int_equal(store_count(&p.world, CALL_WRITE), writes + 1);
    assert_int_equal(store_call(&p.world, CALL_WRITE, writes).page, top);
    assert_int_equal(sk_write(p.good, -1, &byte, 1), 0);
    pager_return_some(p.world.pager, -1, 1, 1);
    assert_int_equal(store_count(&p.world, CALL_WRITE), writes + 2);
    assert_int_equal(pager_page_access(p.world.pager, top, 1), 0);
    assert_int_equal(sk_request(p.bad, top, VM_PROT_READ), 0);
    assert_int_equal(sk_wait_page(p.bad, top, SK_WANT_READABLE, 0), 0);
    /* Two pages that end at the end of everything.  */
    assert_int_equal(sk_evict(p.bad, top), 0);
    SEND(.id = SK_DATA_REQUEST, .offset = -8192, .length = 8192, .access = VM_PROT_READ);
    assert_int_equal(sk_wait_page(p.bad, top, SK_WANT_READABLE, 0), 0);
    assert_int_equal(sk_wait_page(p.bad, -8192, SK_WANT_READABLE, 0), 0);
    check_refused(&p, 0);
    pair_close(&p);
}

/* "A callback that returns success without a buffer or an unaligned one": all who wait get an error, the next read counts.  */
static void test_callback_without_a_buffer(void **state)
{
    (void) state;
    for (int kind = 1; kind <= 2; kind++) {
        struct pair p;
        pair_open(&p);
        store_close_gate(&p.world, CALL_READ);
        p.world.store->bad_buffer = kind;
        assert_int_equal(sk_request(p.bad, page_offset(5), VM_PROT_READ), 0);
        assert_int_equal(sk_request(p.good, page_offset(5), VM_PROT_READ), 0);
        world_fence(&p.world);
        store_open_gate(&p.world, CALL_READ);
        assert_int_equal(sk_wait_page(p.bad, page_offset(5), SK_WANT_SETTLED, 0), 0);
        assert_int_equal(sk_wait_page(p.good, page_offset(5), SK_WANT_SETTLED, 0), 0);
        assert_int_equal(sk_page_state(p.bad, page_offset(5)).last_error, EIO);
        assert_int_equal(sk_page_state(p.good, page_offset(5)).last_error, EIO);
        assert_int_equal(pager_get_error(p.world.pager, page_offset(5)), EIO);
        check_refused(&p, 1);
        unsigned char byte;
        assert_int_equal(kernel_read(p.good, 5, &byte), 0);
        assert_int_equal(byte, 6);
        assert_int_equal(pager_get_error(p.world.pager, page_offset(5)), 0);
        pair_close(&p);
    }
}

/* "An unknown error code" survives as it is, from each callback.  */
static void test_unknown_error_codes(void **state)
{
    (void) state;
    static const int codes[] = { 1, 12345, -1, INT_MIN, INT_MAX, 0x40000005, EIO, ENOSPC, EDQUOT };
    struct pair p;
    pair_open(&p);
    unsigned char byte;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        store_fail(&p.world, CALL_READ, codes[i], 1);
        assert_int_equal(kernel_read(p.bad, 6, &byte), codes[i]);
        assert_int_equal(pager_get_error(p.world.pager, page_offset(6)), codes[i]);
        assert_int_equal(kernel_read(p.good, 6, &byte), 0);
        assert_int_equal(pager_get_error(p.world.pager, page_offset(6)), 0);
        pager_flush_some(p.world.pager, page_offset(6), 4096, 1);

        size_t page = 100 + i;
        assert_int_equal(kernel_write(p.bad, page, 70), 0);
        store_fail(&p.world, CALL_WRITE, codes[i], 1);
        pager_return_some(p.world.pager, page_offset(page), 4096, 1);
        assert_int_equal(pager_get_error(p.world.pager, page_offset(page)), codes[i]);
        assert_int_equal(kernel_read(p.good, page, &byte), codes[i]);
        assert_int_equal(kernel_write(p.bad, page, 70), codes[i]);
        check_refused(&p, 0);

        store_write_lock(&p.world, 1);
        assert_int_equal(kernel_read(p.bad, 8, &byte), 0);
        store_write_lock(&p.world, 0);
        store_fail(&p.world, CALL_UNLOCK, codes[i], 1);
        assert_int_equal(kernel_write(p.bad, 8, 80), codes[i]);
        assert_int_equal(kernel_write(p.bad, 8, 80), 0);
        pager_flush_some(p.world.pager, page_offset(8), 4096, 1);
    }
    /* The word has room for three codes, the others are in a descriptor each.  */
    assert_int_equal(world_statistics(&p.world).descriptors, 6);
    pair_close(&p);
}

/* "A kernel that never answers": others go on with other pages; pager_shutdown gives it up.  */
static void test_kernel_that_never_answers(void **state)
{
    (void) state;
    struct pair p;
    pair_open(&p);
    sk_hold(p.bad, SK_HOLD_LOCK | SK_HOLD_COMPLETED);
    assert_int_equal(sk_request(p.good, 0, VM_PROT_READ), 0);
    assert_int_equal(sk_wait_pending(p.bad, 1, 0), 0);
    unsigned char byte;
    for (size_t i = 3; i < 16; i++) {
        assert_int_equal(kernel_read(p.good, i, &byte), 0);
        assert_int_equal(kernel_write(p.good, i, (unsigned char) (200 + i)), 0);
    }
    pager_sync_some(p.world.pager, page_offset(3), page_offset(13), 0);
    assert_int_equal(sk_page_state(p.good, 0).state, SK_PAGE_REQUESTED);
    pager_set_shutdown_patience(p.world.pager, 50);
    pager_shutdown(p.world.pager);
    for (size_t i = 3; i < 16; i++)
        assert_int_equal(store_byte(&p.world, i), 200 + i);
    assert_int_equal(store_byte(&p.world, 1), 101);
    assert_int_equal(store_byte(&p.world, 0), 1);               /* it had that one: lost */
    assert_int_equal(sk_count(p.bad, SK_DESTROY), 1);
    assert_int_equal(sk_wait_page(p.good, 0, SK_WANT_SETTLED, 0), 0);
    assert_int_equal(world_statistics(&p.world).clients, 0);
    sk_release_all(p.bad);
    sk_kernel_destroy(p.a);
    sk_kernel_destroy(p.b);
    world_close(&p.world);
}

/* A client that was given up while the object lives on (nothing can be sent to it): its later messages are refused.  */
static void test_given_up_client_is_refused(void **state)
{
    (void) state;
    struct pair p;
    pair_open(&p);
    sk_hold(p.bad, SK_HOLD_DESTROY);
    const struct hostmach_fault fault = { hostmach_task_main(), SK_DATA_ERROR, 0, ~0u, MACH_SEND_NO_BUFFER };
    hostmach_fail_send(&fault);
    store_fail(&p.world, CALL_READ, EIO, 1);
    assert_int_equal(sk_request(p.bad, page_offset(5), VM_PROT_READ), 0);
    assert_int_equal(sk_wait_message(p.bad, SK_DESTROY, 1, 0), 0);
    hostmach_fail_send(NULL);
    world_settle(&p.world);
    assert_int_equal(world_statistics(&p.world).clients, 1);
    p.refused = refused(&p);
    SEND(.id = SK_DATA_REQUEST, .offset = page_offset(6), .length = 4096, .access = VM_PROT_READ);
    SEND(.id = SK_DATA_RETURN, .offset = 0, .length = 4096, .dirty = 1);
    SEND(.id = SK_DATA_UNLOCK, .offset = page_offset(2), .length = 4096);
    SEND(.id = SK_LOCK_COMPLETED, .offset = 0, .length = 4096);
    world_settle(&p.world);
    assert_int_equal(refused(&p), p.refused + 4);
    assert_int_equal(store_count(&p.world, CALL_WRITE), 0);
    /* What it had can be had by others, as the store has it.  */
    unsigned char byte;
    assert_int_equal(kernel_write(p.good, 2, 102), 0);
    assert_int_equal(kernel_read(p.good, 0, &byte), 0);
    assert_int_equal(byte, 1);
    assert_int_equal(kernel_byte(p.good, 1), 101);
    sk_release_all(p.bad);
    sk_kernel_destroy(p.a);
    sk_kernel_destroy(p.b);
    world_close(&p.world);
}

/* "Through entry points": offers and attributes that make no sense, ranges, an object without clients, after its end.  */
static void test_bad_calls(void **state)
{
    (void) state;
    struct world world;
    world_open(&world, 4, 0);
    vm_address_t buffer;
    assert_int_equal(vm_allocate(mach_task_self(), &buffer, 8192, 1), 0);
    errno = 0;
    assert_null(pager_create(world.store, NULL, 0, 0, 0));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(pager_create_alloc((size_t) -1, world.bucket, 0, 0, 0));
    assert_int_equal(errno, ENOMEM);
    pager_offer_page(world.pager, 0, 0, 0, buffer);             /* to nobody */
    sk_kernel *kernel = sk_kernel_create("A");
    sk_object *object = sk_map(kernel, world.port);
    pager_offer_page(world.pager, 0, 0, 100, buffer);
    pager_offer_page(world.pager, 0, 0, 0, buffer + 8);
    pager_offer_page(world.pager, 0, 0, 0, 0);
    pager_sync_some(world.pager, 0, 0, 1);
    pager_flush_some(world.pager, -1, 0, 1);
    pager_resume_workers(world.requests);                       /* nobody has inhibited them */
    assert_int_equal(pager_inhibit_workers(world.requests), 0);
    assert_int_equal(pager_inhibit_workers(world.requests), EBUSY);
    pager_resume_workers(world.requests);
    pager_resume_workers(world.requests);
    assert_int_equal(sk_count(object, SK_DATA_SUPPLY), 0);
    size_t size = 5;
    assert_int_equal(pager_memcpy(world.pager, world.port, 0, (void *) buffer, &size, VM_PROT_READ), EOPNOTSUPP);
    assert_int_equal(size, 0);
    assert_int_equal(kernel_write(object, 0, 9), 0);
    pager_shutdown(world.pager);
    assert_int_equal(store_byte(&world, 0), 9);
    /* All is void now, and returns.  */
    assert_int_equal(pager_get_port(world.pager), MACH_PORT_NULL);
    assert_int_equal(pager_create_ro_port(world.pager), MACH_PORT_NULL);
    pager_offer_page(world.pager, 0, 0, 0, buffer);
    pager_sync(world.pager, 1);
    pager_return(world.pager, 1);
    pager_flush(world.pager, 1);
    sk_kernel_destroy(kernel);
    pager_change_attributes(world.pager, 1, MEMORY_OBJECT_COPY_NONE, 1);
    pager_shutdown(world.pager);
    assert_int_equal(pager_get_error(world.pager, 0), 0);
    assert_int_equal(vm_deallocate(mach_task_self(), buffer, 8192), 0);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_control_port),
        cmocka_unit_test(test_unknown_control_port_before_a_word),
        cmocka_unit_test(test_bad_ranges_of_requests),
        cmocka_unit_test(test_bad_ranges_of_others),
        cmocka_unit_test(test_second_init),
        cmocka_unit_test(test_stray_completions),
        cmocka_unit_test(test_stray_completion_ends_no_wait),
        cmocka_unit_test(test_messages_of_a_client_that_holds_nothing),
        cmocka_unit_test(test_return_of_pages_some_of_which_are_held),
        cmocka_unit_test(test_refusals_are_logged_once),
        cmocka_unit_test(test_last_page_of_all),
        cmocka_unit_test(test_callback_without_a_buffer),
        cmocka_unit_test(test_unknown_error_codes),
        cmocka_unit_test(test_kernel_that_never_answers),
        cmocka_unit_test(test_given_up_client_is_refused),
        cmocka_unit_test(test_bad_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
