/* Bad input that needs no bad client: callbacks that answer what makes no sense.  Nothing is lost, nobody else notices.  */

#include <limits.h>

#include "client.h"

struct pair {
    struct party party;
    struct client *bad, *good;
    uint64_t refused;
};

static uint64_t refused(struct pair *p) { return world_statistics(&p->party.world).refused; }

static void pair_open(struct pair *p, void **state)
{
    party_open(&p->party, state, 2, 120, 0);
    p->bad = p->party.clients[0];
    p->good = p->party.clients[1];
    put(p->bad, 0, 100);
    put(p->good, 1, 101);
    get(p->bad, 2);
    get(p->good, 2);
    world_settle(&p->party.world);
    p->refused = refused(p);
    assert_int_equal(p->refused, 0);
}

/* TIMES messages were refused since the last look, and both clients can do all they could before.  */
static void check_refused(struct pair *p, unsigned times)
{
    world_settle(&p->party.world);
    assert_int_equal(refused(p), p->refused + times);
    p->refused += times;
    assert_int_equal(byte_of(p->bad, 0), 100);
    assert_int_equal(byte_of(p->good, 1), 101);
    assert_int_equal(byte_of(p->good, 2), 3);
    assert_int_equal(access_of(&p->party, 0, 0), 3);
    assert_int_equal(access_of(&p->party, 1, 1), 3);
    assert_int_equal(access_of(&p->party, 2, 1), 1);
    assert_int_equal(store_byte(&p->party.world, 2), 3);
}

/* Afterwards both are served as ever, and what they wrote is there.  */
static void pair_close(struct pair *p)
{
    assert_int_equal(get(p->bad, 3), 4);
    put(p->good, 3, 103);
    assert_int_equal(get(p->bad, 1), 101);
    assert_int_equal(get(p->good, 0), 100);
    pager_return(p->party.world.pager, 1);
    assert_int_equal(store_byte(&p->party.world, 0), 100);
    assert_int_equal(store_byte(&p->party.world, 1), 101);
    assert_int_equal(store_byte(&p->party.world, 3), 103);
    assert_int_equal(refused(p), p->refused);
    die(p->bad);
    die(p->good);
    world_settle(&p->party.world);
    assert_int_equal(world_statistics(&p->party.world).clients, 0);
    assert_int_equal(hostmach_message_count(), 0);
    party_close(&p->party);
}

/* "A callback that returns success without a buffer or an unaligned one": all who wait get an error, the next read counts.  */
static void test_callback_without_a_buffer(void **state)
{
    for (int kind = 1; kind <= 2; kind++) {
        struct pair p;
        pair_open(&p, state);
        store_close_gate(&p.party.world, CALL_READ);
        p.party.world.store->bad_buffer = kind;
        ask(p.bad, 5, VM_PROT_READ);
        ask(p.good, 5, VM_PROT_READ);
        world_fence(&p.party.world);
        store_open_gate(&p.party.world, CALL_READ);
        assert_int_equal(end_ask(p.bad, 5), EIO);
        assert_int_equal(end_ask(p.good, 5), EIO);
        assert_int_equal(pager_get_error(p.party.world.pager, page_offset(5)), EIO);
        check_refused(&p, 1);
        unsigned char byte;
        assert_int_equal(try_read(p.good, 5, &byte), 0);
        assert_int_equal(byte, 6);
        assert_int_equal(pager_get_error(p.party.world.pager, page_offset(5)), 0);
        pair_close(&p);
    }
}

/* "An unknown error code" survives as it is, from each callback.  */
static void test_unknown_error_codes(void **state)
{
    static const int codes[] = { 1, 12345, -1, INT_MIN, INT_MAX, 0x40000005, EIO, ENOSPC, EDQUOT };
    struct pair p;
    pair_open(&p, state);
    unsigned char byte;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        store_fail(&p.party.world, CALL_READ, codes[i], 1);
        assert_int_equal(try_read(p.bad, 6, &byte), codes[i]);
        assert_int_equal(pager_get_error(p.party.world.pager, page_offset(6)), codes[i]);
        assert_int_equal(try_read(p.good, 6, &byte), 0);
        assert_int_equal(pager_get_error(p.party.world.pager, page_offset(6)), 0);
        pager_flush_some(p.party.world.pager, page_offset(6), 4096, 1);

        size_t page = 100 + i;
        assert_int_equal(try_write(p.bad, page, 70), 0);
        store_fail(&p.party.world, CALL_WRITE, codes[i], 1);
        pager_return_some(p.party.world.pager, page_offset(page), 4096, 1);
        assert_int_equal(pager_get_error(p.party.world.pager, page_offset(page)), codes[i]);
        assert_int_equal(try_read(p.good, page, &byte), codes[i]);
        assert_int_equal(try_write(p.bad, page, 70), codes[i]);
        check_refused(&p, 0);

        store_write_lock(&p.party.world, 1);
        assert_int_equal(try_read(p.bad, 8, &byte), 0);
        store_write_lock(&p.party.world, 0);
        store_fail(&p.party.world, CALL_UNLOCK, codes[i], 1);
        assert_int_equal(try_write(p.bad, 8, 80), codes[i]);
        assert_int_equal(try_write(p.bad, 8, 80), 0);
        pager_flush_some(p.party.world.pager, page_offset(8), 4096, 1);
    }
    /* The word has room for three codes, the others are in a descriptor each.  */
    assert_int_equal(world_statistics(&p.party.world).descriptors, 6);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_callback_without_a_buffer),
        BOTH(test_unknown_error_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
