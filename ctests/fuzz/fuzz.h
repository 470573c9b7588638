/* fuzz.h - what the two targets have in common.

   An input is a scenario of the simulation (ctests/simulation): its configuration, its steps, and the first choices of the scheduler are
   the input's bytes. So all that the simulation checks holds for it: the bytes of every page against a model, every answer, the rules
   of the callbacks, and that in the end no block, page, right, message or thread is left. A failure ends in abort(). */

#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include "input.h"
#include "scenario.h"

/* ---- Each target has ---- */

/* From the bytes. False: there are too few, and nothing is to be run. */
bool target_read(struct scenario *scenario, struct input *input);

/* ---- run.c ---- */

/* Before anything else. With FUZZ_TRACE in the environment every event is shown. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

/* ---- scenario.c ---- */

enum { CONFIGURATION_BYTES = 20, STEP_BYTES = 8 };

/* The configuration, the actors, and what the rest of the scheduler's choices follow from; CONFIGURATION_BYTES long. */
void fuzz_configure(struct scenario *scenario, struct input *input);
/* A step of what its actor may do; STEP_BYTES long. It is added, unless there are too many or it may not be. */
void fuzz_add_step(struct scenario *scenario, struct input *input);
/* The last bytes, as many as the last of all says, are the scheduler's choices; they are taken off. */
struct input fuzz_take_choices(struct input *input);

/* ---- locals.c ---- */

void fuzz_add_hostmach_local(void);

/* ---- entry.c ---- */

/* Does one of the calls that no step of the simulation's makes. */
void entry_call(const struct step *step);

#endif
