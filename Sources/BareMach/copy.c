/* copy.c: platform_copy on Mach's exceptions: memory that may not be there.

   A fault in one of the two ranges ends the copy; any other is nobody's and ends the run. A piece of a copy never crosses a page
   boundary on either side, so of the piece that faults nothing was copied: the count is exact.  */

#include "platform.h"

#include <mach.h>
#include <string.h>

#include <bare/bare.h>

static size_t to_page_end(uintptr_t address)
{
    return vm_page_size - (address & (vm_page_size - 1));
}

size_t platform_copy(void *to, const void *from, size_t size, struct platform_fault *fault)
{
    struct bare_recovery recovery = { .start = { (uintptr_t) to, (uintptr_t) from } };
    struct bare_recovery *volatile outer = NULL;
    volatile size_t done = 0;

    if (setjmp(recovery.back) == 0) {
        outer = bare_recover(&recovery);
        while (done < size) {
            size_t piece = size - done;
            if (piece > to_page_end(recovery.start[0]))
                piece = to_page_end(recovery.start[0]);
            if (piece > to_page_end(recovery.start[1]))
                piece = to_page_end(recovery.start[1]);
            recovery.size[0] = recovery.size[1] = piece;
            memcpy((void *) recovery.start[0], (const void *) recovery.start[1], piece);
            recovery.start[0] += piece;
            recovery.start[1] += piece;
            done += piece;
        }
    } else {
        *fault = (struct platform_fault) {
            .address = recovery.fault.address,
            .is_protection = recovery.fault.code == KERN_INVALID_ADDRESS || recovery.fault.code == KERN_PROTECTION_FAILURE,
        };
    }
    bare_recover(outer);
    return done;
}
