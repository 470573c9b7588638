/* Seeded random numbers: splitmix64. Each purpose has a generator of its own, so that drawing more for one changes nothing of the others. */

#ifndef SIMULATION_RANDOM_H
#define SIMULATION_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random { uint64_t state; };

static inline uint64_t random_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline struct random random_seeded(uint64_t seed, uint64_t purpose)
{
    return (struct random) { random_mix(seed * 0x9e3779b97f4a7c15u + purpose) };
}

static inline uint64_t random_next(struct random *random)
{
    return random_mix(random->state += 0x9e3779b97f4a7c15u);
}

/* Below LIMIT, which is not 0. */
static inline unsigned random_below(struct random *random, unsigned limit)
{
    return (unsigned) ((random_next(random) >> 32) * limit >> 32);
}

/* From LOW to HIGH, both included. */
static inline unsigned random_range(struct random *random, unsigned low, unsigned high)
{
    return low + random_below(random, high - low + 1);
}

/* True N times in a thousand. */
static inline bool random_chance(struct random *random, unsigned n)
{
    return random_below(random, 1000) < n;
}

#endif
