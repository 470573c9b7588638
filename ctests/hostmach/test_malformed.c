/* Malformed bodies: a defined error, nothing taken, no crash. */

#include "hm_test.h"

#include <stdlib.h>

static mach_port_t port;

#pragma pack(push, 4)
struct long_msg {
    mach_msg_header_t head;
    mach_msg_type_long_t type;
    uint32_t room[8];
};
#pragma pack(pop)

static mach_msg_return_t
send_long (mach_msg_type_long_t type, mach_msg_size_t body)
{
    struct long_msg msg = { header_to (port, MACH_MSG_TYPE_COPY_SEND, 1, sizeof msg), type, { 0 } };
    msg.head.msgh_bits |= MACH_MSGH_BITS_COMPLEX;
    return send_msg (&msg, (mach_msg_size_t) sizeof msg.head + body);
}

static void
setup_port (void)
{
    port = new_port ();
    make_send (port);
}

static void
lengths_are_checked_against_the_message (void **state)
{
    (void) state;
    setup_port ();
    mach_msg_type_long_t type = memory_type (MACH_MSG_TYPE_BYTE, 8, 64, false);
    gives (MACH_SEND_MSG_TOO_SMALL, send_long (type, 4));  /* half a descriptor */
    gives (MACH_SEND_MSG_TOO_SMALL, send_long (type, 12)); /* no address */
    gives (MACH_SEND_MSG_TOO_SMALL, send_long (type, 16)); /* half an address */
    type.msgtl_header.msgt_inline = TRUE;
    gives (MACH_SEND_MSG_TOO_SMALL, send_long (type, 12 + 32)); /* 64 bytes announced */
    type.msgtl_number = 33;
    gives (MACH_SEND_MSG_TOO_SMALL, send_long (type, 12 + 32));
    type.msgtl_number = UINT32_MAX;
    type.msgtl_size = UINT16_MAX;
    gives (MACH_SEND_MSG_TOO_SMALL, send_long (type, 12 + 32)); /* 2^48 bits */
    type = memory_type (MACH_MSG_TYPE_MAKE_SEND, 32, UINT32_MAX, false);
    type.msgtl_header.msgt_inline = TRUE;
    gives (MACH_SEND_MSG_TOO_SMALL, send_long (type, 12 + 32));
    ok (mach_port_destroy (self, port));
}

static void
descriptors_are_checked (void **state)
{
    (void) state;
    setup_port ();
    mach_msg_type_long_t type = memory_type (MACH_MSG_TYPE_COPY_SEND, 64, 1, false);
    gives (MACH_SEND_INVALID_TYPE, send_long (type, 20)); /* a port of 64 bits */
    type = memory_type (MACH_MSG_TYPE_BYTE, 8, 4, true);
    type.msgtl_header.msgt_inline = TRUE;
    gives (MACH_SEND_INVALID_TYPE, send_long (type, 20)); /* in-line data cannot be given away */
    type = memory_type (MACH_MSG_TYPE_BYTE, 8, 4, false);
    type.msgtl_header.msgt_unused = 1;
    gives (MACH_SEND_INVALID_TYPE, send_long (type, 20));
    type = memory_type (MACH_MSG_TYPE_BYTE, 8, 4, false);
    type.msgtl_header.msgt_number = 1; /* the short fields of a long descriptor must be zero */
    gives (MACH_SEND_INVALID_TYPE, send_long (type, 20));
    type = memory_type (MACH_MSG_TYPE_BYTE, 8, UINT32_MAX, false);
    gives (MACH_SEND_INVALID_MEMORY, send_long (type, 20)); /* 4 GiB from address 0 */
    type = memory_type (MACH_MSG_TYPE_MAKE_SEND, 32, UINT32_MAX, true);
    assert_int_not_equal (send_long (type, 20), MACH_MSG_SUCCESS);
    assert_int_equal (status_of (port).mps_msgcount, 0);
    ok (mach_port_destroy (self, port));
}

/* A message that does not say COMPLEX is bytes, whatever they look like. */
static void
simple_bodies_are_not_looked_at (void **state)
{
    (void) state;
    setup_port ();
    struct long_msg msg = { header_to (port, MACH_MSG_TYPE_COPY_SEND, 1, sizeof msg),
                            memory_type (MACH_MSG_TYPE_MOVE_RECEIVE, 64, 1, true), { 0 } };
    ok (send_msg (&msg, sizeof msg));
    union any_msg got;
    ok (receive (port, &got));
    assert_memory_equal (&got.bytes[sizeof msg.head], (char *) &msg + sizeof msg.head, sizeof msg - sizeof msg.head);
    ok (mach_port_destroy (self, port));
}

/* Random bodies, sometimes near to correct ones. Whatever happens, nothing is left. */
static void
random_bodies_do_no_harm (void **state)
{
    (void) state;
    srand (20240229);
    setup_port ();
    mach_port_t carried = new_port ();
    make_send (carried);
    int accepted = 0;
    for (int round = 0; round < 30000; round++) {
        union {
            mach_msg_header_t head;
            uint32_t words[40];
            unsigned char bytes[160];
        } msg;
        for (size_t i = 0; i < 40; i++)
            msg.words[i] = (uint32_t) rand () << 16 ^ (uint32_t) rand ();
        size_t at = sizeof msg.head;
        while (at + 32 < sizeof msg && rand () % 4 != 0) {
            mach_msg_type_long_t type = memory_type ((unsigned) rand () % 24, rand () % 2 ? 32 : (unsigned) rand () % 70,
                                                     (unsigned) rand () % 6, rand () % 4 == 0);
            type.msgtl_header.msgt_inline = rand () % 2;
            type.msgtl_header.msgt_longform = rand () % 2;
            if (!type.msgtl_header.msgt_longform) {
                type.msgtl_header.msgt_name = type.msgtl_name & 0xff;
                type.msgtl_header.msgt_size = type.msgtl_size & 0xff;
                type.msgtl_header.msgt_number = type.msgtl_number & 0xfff;
            }
            size_t size = type.msgtl_header.msgt_longform ? sizeof type : sizeof type.msgtl_header;
            memcpy (msg.bytes + at, &type, size);
            at += size;
            for (int i = 0; i < 2; i++, at += 4)
                memcpy (msg.bytes + at, &(uint32_t) { rand () % 2 ? carried : (uint32_t) rand () % 5 }, 4);
        }
        mach_msg_size_t size = (mach_msg_size_t) (sizeof msg.head + (unsigned) rand () % 32 * 4);
        msg.head = header_to (port, MACH_MSG_TYPE_COPY_SEND, 1, size);
        msg.head.msgh_bits |= MACH_MSGH_BITS_COMPLEX;
        if (send_msg (&msg, size) == MACH_MSG_SUCCESS) {
            accepted++;
            union any_msg got;
            if (rand () % 2 && receive (port, &got) == MACH_MSG_SUCCESS)
                mach_msg_destroy (&got.head);
        }
        if (type_of (carried) != MACH_PORT_TYPE_SEND_RECEIVE || refs (carried, MACH_PORT_RIGHT_SEND) < 5) {
            mach_port_destroy (self, carried);
            carried = new_port ();
            make_send (carried);
            ok (mach_port_mod_refs (self, carried, MACH_PORT_RIGHT_SEND, 50));
        }
        if (status_of (port).mps_msgcount == MACH_PORT_QLIMIT_DEFAULT) {
            ok (mach_port_destroy (self, port));
            setup_port ();
        }
    }
    assert_in_range (accepted, 100, 30000);
    ok (mach_port_destroy (self, carried));
    ok (mach_port_destroy (self, port));
    /* Names of rights that were received and not destroyed by the body walk would show in the fixture. */
}

int
main (void)
{
    const struct CMUnitTest tests[] = {
        rule (lengths_are_checked_against_the_message), rule (descriptors_are_checked),
        rule (simple_bodies_are_not_looked_at), rule (random_bodies_do_no_harm),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
