/* What the pages of test_soak.c hold: a block for each thread, each word of which says its page, its place, and the block's version.  */

#ifndef TESTS_SOAK_H
#define TESTS_SOAK_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum {
    THREADS = 16,
    WORDS = 4096 / 8 / THREADS,         /* of a block */
};

typedef uint64_t block[WORDS];

static inline uint64_t word_of(size_t page, unsigned thread, unsigned place, uint64_t version)
{
    return (uint64_t) page << 56 | (uint64_t) (thread * WORDS + place) << 44 | version;
}

static inline uint64_t version_in(uint64_t word) { return word & 0xfffffffffffull; }

static inline void fill(block *block, size_t page, unsigned thread, uint64_t version)
{
    for (unsigned i = 0; i < WORDS; i++)
        (*block)[i] = word_of(page, thread, i, version);
}

static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state >> 11;
}

static inline uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

static inline void raise_to(atomic_uint_least64_t *value, uint64_t to)
{
    uint64_t now = atomic_load(value);
    while (now < to && !atomic_compare_exchange_weak(value, &now, to))
        ;
}

#endif
