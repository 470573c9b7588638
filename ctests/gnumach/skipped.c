/* skipped.c: tests of ctests/both that make no sense on the real kernel, by name, with the reason.  */

#include <stddef.h>

#include "runner.h"

const struct skipped skipped[] = {
    { NULL, NULL }
};
