/* skipped.c: tests of ctests/both that make no sense on the real kernel, by name, with the reason.  */

#include <stddef.h>

#include "runner.h"

#define CANNOT_DIE "the real kernel cannot die alone"
#define SCHEDULER "how many of eight lose the page before they have touched it depends on who runs: here one at a time (two_writers runs)"

const struct skipped skipped[] = {
    { "bad_input.callback_without_a_buffer_real", CANNOT_DIE },
    { "bad_input.unknown_error_codes_real", CANNOT_DIE },
    { "entry_callbacks.no_notice_while_somebody_has_or_gets_the_page_real", CANNOT_DIE },
    { "entry_create.no_senders_after_a_crash_ends_the_pager_real", CANNOT_DIE },
    { "races.R7_read_of_the_dead_serves_the_next_real", CANNOT_DIE },
    { "races.R7_read_completes_for_a_client_just_gone_real",
      "a thread that faults holds the mapping: this kernel does not end an object before the fault has ended" },
    { "races.R11_shutdown_while_reading_real",
      "this kernel panics now and then: it asserts that no page is fictitious that a lock_request asks for, and one that was refused "
      "with data_error is, until the thread that waits for it has run" },
    { "entry_shutdown.shutdown_is_patient_with_the_store_scripted",
      "a scripted kernel answers from a thread of its own here, not within the millisecond that the test gives" },
    { "write_lock.eight_writers_need_few_page_ins_real", SCHEDULER },
    { "write_lock.eight_writers_need_few_page_ins_scripted", SCHEDULER },
    { NULL, NULL }
};
