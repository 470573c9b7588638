/* <cmocka.h> for tests on the real GNU Mach kernel: cmocka's names for assertions and groups, over bare/bare.h.

   Debian has cmocka for Linux alone: it wants signals, files and a process that may exit; built from its sources for a bare task it would need all that made up. The
   tests need its assertions only. What is printed is cmocka's, but one line a test, with the area's name, and a reason behind "SKIPPED"; the end is
   one line of counts (runner.c), which scripts/test-gnumach looks for.

   Differences: an assertion that fails in another thread than the test's ends the run. An exception that nobody expects does, too.  */

#ifndef GNUMACH_CMOCKA_H
#define GNUMACH_CMOCKA_H

#include <stddef.h>
#include <stdint.h>

typedef void (*CMUnitTestFunction)(void **state);
typedef int (*CMFixtureFunction)(void **state);

struct CMUnitTest {
    const char *name;
    CMUnitTestFunction test_func;
    CMFixtureFunction setup_func, teardown_func;
    void *initial_state;
};

#define cmocka_unit_test(f) { #f, f, NULL, NULL, NULL }
#define cmocka_unit_test_setup_teardown(f, setup, teardown) { #f, f, setup, teardown, NULL }
#define cmocka_run_group_tests(tests, setup, teardown) \
    _cmocka_run_group_tests(#tests, tests, sizeof(tests) / sizeof *(tests), setup, teardown)

int _cmocka_run_group_tests(const char *group, const struct CMUnitTest *tests, size_t count, CMFixtureFunction setup,
                            CMFixtureFunction teardown);
/* Only the test of this name.  */
void cmocka_set_test_filter(const char *name);

void print_message(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* End the test: it has failed, or makes no sense here.  */
_Noreturn void _cmocka_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void _cmocka_skip(const char *reason);

#define fail_msg(...) _cmocka_fail(__FILE__, __LINE__, __VA_ARGS__)
#define fail() fail_msg("failed")
#define skip() _cmocka_skip("the test says so")

#define _cmocka_compare(a, operator, b) do { \
        const uintmax_t left_ = (uintmax_t) (a), right_ = (uintmax_t) (b); \
        if (!(left_ operator right_)) \
            fail_msg("%s " #operator " %s: 0x%llx, 0x%llx", #a, #b, (unsigned long long) left_, (unsigned long long) right_); \
    } while (0)
#define assert_true(c) do { if (!(c)) fail_msg("not true: %s", #c); } while (0)
#define assert_false(c) do { if (c) fail_msg("not false: %s", #c); } while (0)
#define assert_int_equal(a, b) _cmocka_compare(a, ==, b)
#define assert_int_not_equal(a, b) _cmocka_compare(a, !=, b)
#define assert_ptr_equal(a, b) _cmocka_compare((uintptr_t) (a), ==, (uintptr_t) (b))
#define assert_ptr_not_equal(a, b) _cmocka_compare((uintptr_t) (a), !=, (uintptr_t) (b))
#define assert_null(p) assert_ptr_equal(p, NULL)
#define assert_non_null(p) assert_ptr_not_equal(p, NULL)
#define assert_in_range(v, low, high) do { _cmocka_compare(v, >=, low); _cmocka_compare(v, <=, high); } while (0)
#define assert_memory_equal(a, b, n) assert_int_equal(__builtin_memcmp(a, b, n), 0)
#define assert_string_equal(a, b) do { \
        const char *left_ = (a), *right_ = (b); \
        if (__builtin_strcmp(left_, right_) != 0) \
            fail_msg("%s == %s: \"%s\", \"%s\"", #a, #b, left_, right_); \
    } while (0)

#endif
