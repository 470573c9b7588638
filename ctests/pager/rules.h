/* What the programs rules_* share.  They hold the points of the protocol for which scripts/break-it found that one test case, or none, notices a
   fault: a second look at each, from another side than the programs that the points belong to.  */

#ifndef TESTS_RULES_H
#define TESTS_RULES_H

#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <mach/memory_object_user.h>

#include "cast.h"
#include "platform.h"

/* A message that is made by hand.  */
static inline void send_raw(sk_object *object, struct sk_message message, const void *data)
{
    assert_int_equal(sk_send_raw(object, &message, data, 0), 0);
}

static inline void request_pages(sk_object *object, size_t first, size_t count, vm_prot_t access)
{
    send_raw(object, (struct sk_message) { .id = SK_DATA_REQUEST, .offset = page_offset(first),
                                           .length = page_offset(count), .access = access }, NULL);
}

static inline int is_touched(struct cast *c, size_t page)
{
    return pager_page_word(c->world.pager, page_offset(page)) != 0;
}

#endif
