/* test_model.c - what the model of the pages expects (model.h), step by step. A failure that it reports comes back here. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "model.h"
#include "report.h"
#include "totals.h"

bool report_traced;
static jmp_buf failed;

void report_failure(const char *format, ...)
{
    (void) format;
    longjmp(failed, 1);
}

void report_line(const char *format, ...) { (void) format; }
void report_trace(const char *format, ...) { (void) format; }
void totals_add(enum total total, unsigned long long count) { (void) total, (void) count; }

static _Alignas(4096) char bytes[4096];

static const void *page_with(uint32_t first_cell)
{
    model_fill(0, (struct content) { { first_cell, 1, 1, 1 } }, bytes);
    return bytes;
}

/* A kernel, alone with the page, writes it. */
static void write_page(uint32_t value)
{
    assert_int_equal(model_next_value(0), value);
    model_touched(0, page_with(value), 0, value, "kernel");
}

static bool store_may_have(uint32_t first_cell)
{
    if (setjmp(failed) != 0)
        return false;
    model_check_store(0, page_with(first_cell));
    return true;
}

static void open(void) { model_open(1); }

/* Found by seed 4135823: the writing of an older version fails while a kernel has changed the page again and looks at it; then a
   pager_flush takes that change. What is left is what the pager was given last. */
static void own_change_is_no_fallback(void **state)
{
    (void) state;
    open();
    write_page(2);
    model_returned(0, page_with(2), true, false, "kernel");
    write_page(3);
    model_returned(0, page_with(3), true, false, "kernel");
    write_page(4);
    model_store_failed(0, &bytes);                      /* of 2 */
    model_touched(0, page_with(4), -1, 0, "kernel");
    model_stored(0, page_with(3));
    model_lost(0);
    assert_true(store_may_have(3));
    assert_false(store_may_have(4));
    assert_false(store_may_have(1));
}

/* The one who looks first after a failed write says which of the versions it is. */
static void look_decides(void **state)
{
    (void) state;
    open();
    write_page(2);
    model_returned(0, page_with(2), true, false, "kernel");
    model_store_failed(0, &bytes);
    assert_true(store_may_have(1));
    assert_true(store_may_have(2));
    model_touched(0, page_with(2), -1, 0, "kernel");
    assert_false(store_may_have(1));
    assert_true(store_may_have(2));
}

/* Found by seed 8244295: the store fails, somebody looks at his copy, and gives it back before the pager knows of the failure. Once it
   knows, a copy that comes back is written. */
static void copy_comes_back_beside_the_failure(void **state)
{
    (void) state;
    for (int knows = 0; knows < 2; knows++) {
        open();
        write_page(2);
        model_returned(0, page_with(2), true, false, "kernel");
        model_store_failed(0, &bytes);
        model_touched(0, page_with(2), -1, 0, "another kernel");
        if (knows)
            model_goes_on(&bytes);
        model_returned(0, page_with(2), false, false, "another kernel");
        assert_true(store_may_have(2));
        assert_true(store_may_have(1) == !knows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_change_is_no_fallback),
        cmocka_unit_test(look_decides),
        cmocka_unit_test(copy_comes_back_beside_the_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
