/* input.h - the fuzzer's bytes, taken one after the other. Behind the last one all are 0: an input may end anywhere. */

#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct input { const uint8_t *next, *end; };

static inline bool input_ends(const struct input *input) { return input->next >= input->end; }
static inline size_t input_left(const struct input *input) { return (size_t) (input->end - input->next); }

static inline uint8_t input_byte(struct input *input) { return input_ends(input) ? 0 : *input->next++; }

/* COUNT bytes, the lowest first. */
static inline uint64_t input_number(struct input *input, unsigned count)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < count; i++)
        number |= (uint64_t) input_byte(input) << 8 * i;
    return number;
}

/* Below LIMIT, which is 1 to 256. */
static inline unsigned input_below(struct input *input, unsigned limit) { return input_byte(input) % limit; }

#endif
