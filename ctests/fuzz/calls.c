/* calls.c - target: sequences of calls of all entry points, by several threads, while kernels use the object.

   Who calls what, when, and what the kernels, the store and the memory do meanwhile are the input's bytes. An input is
     CONFIGURATION_BYTES    the world: kernels, pages, what may go wrong, threads
     STEP_BYTES each        a step: whose, what, page, count, argument
     any                    the first choices of the scheduler, one byte each; the last byte says how many there are */

#include "fuzz.h"
#include "world.h"

bool target_read(struct scenario *s, struct input *input)
{
    if (input_left(input) < CONFIGURATION_BYTES)
        return false;
    actors_more = entry_call;
    fuzz_configure(s, input);
    while (!input_ends(input))
        fuzz_add_step(s, input);
    if (s->configuration.shuts_down)
        s->step[s->steps++] = (struct step) { .op = OP_SHUTDOWN, .actor = (uint8_t) (s->actors - 1) };
    return true;
}
