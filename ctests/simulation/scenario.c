#include "scenario.h"

#include <stdio.h>
#include <string.h>

#include "random.h"

/* ---- Configuration ---- */

static unsigned kernels(struct random *random)
{
    switch (random_below(random, 10)) {
    case 0: case 1: return 1;
    case 2: case 3: return 2;
    case 4: case 5: case 6: return random_range(random, 3, 5);
    case 7: case 8: return random_range(random, 4, 12);
    default: return random_range(random, 6, KERNELS_MAX);
    }
}

static void configure(struct configuration *c, struct random *random)
{
    c->kernels = kernels(random);
    c->pages = random_chance(random, 400) ? random_range(random, 1, 4) : random_range(random, 2, 48);
    c->stride = random_chance(random, 700) ? 1 : random_chance(random, 500) ? 3 : 5000;
    c->notify = random_chance(random, 500);
    c->write_lock = random_chance(random, 300);
    c->multi_write = random_chance(random, 600);
    c->multi_read = random_chance(random, 300);
    c->callbacks_wait = random_chance(random, 150);
    c->reads = random_chance(random, 500) ? 1 : random_range(random, 2, 8);
    c->error_rate = random_chance(random, 600) ? 0 : random_range(random, 5, 150);
    c->slow_rate = random_chance(random, 300) ? 0 : random_range(random, 50, 700);
    c->kills = random_chance(random, 350);
    c->stalls = random_chance(random, 400);
    c->shortage = random_chance(random, 200);
    c->shuts_down = random_chance(random, 200);
    c->patience_ms = c->shuts_down && random_chance(random, 200) ? random_range(random, 1, 50) : 0;
    c->quiet_pages = random_chance(random, 250) ? random_range(random, 1, (c->pages + 1) / 2) : 0;
    if (c->kernels < KERNELS_MAX && random_chance(random, 250)) {
        c->hostile = 1 + random_below(random, 2);
        if (c->kernels + c->hostile > KERNELS_MAX)
            c->hostile = 1;
        c->kernels += c->hostile;
        c->tainted = random_range(random, 1, 4);
        c->pages += c->tainted;
    }
}

/* ---- Steps ---- */

struct weight { uint8_t op; uint8_t weight; };

static enum op pick(struct random *random, const struct weight *weights)
{
    unsigned sum = 0;
    for (unsigned i = 0; weights[i].weight; i++)
        sum += weights[i].weight;
    unsigned left = random_below(random, sum);
    while (left >= weights->weight)
        left -= (weights++)->weight;
    return weights->op;
}

static unsigned page(const struct configuration *c, struct random *random)
{
    /* Half of the touches meet on few pages. */
    return random_chance(random, 500) ? random_below(random, c->pages < 3 ? c->pages : 3) : random_below(random, c->pages);
}

static struct step user_step(const struct configuration *c, struct random *random)
{
    static const struct weight weights[] = {
        { OP_READ, 36 }, { OP_WRITE, 36 }, { OP_REQUEST, 5 }, { OP_REQUEST_SEVERAL, 3 }, { OP_UNLOCK, 2 }, { OP_EVICT, 9 }, { OP_DROP_CLEAN, 2 },
        { OP_EVICT_ALL, 1 }, { OP_TERMINATE, 1 }, { OP_PAUSE, 7 }, { 0, 0 },
    };
    return (struct step) { .op = pick(random, weights), .page = page(c, random), .argument = (uint32_t) random_next(random) };
}

static struct step translator_step(const struct configuration *c, struct random *random)
{
    static const struct weight weights[] = {
        { OP_SYNC, 20 }, { OP_FLUSH, 10 }, { OP_RETURN, 20 }, { OP_OFFER, 8 }, { OP_ATTRIBUTES, 6 }, { OP_LOOK, 6 },
        { OP_INHIBIT, 5 }, { OP_PAUSE, 20 }, { 0, 0 },
    };
    struct step step = { .op = pick(random, weights), .page = page(c, random), .argument = (uint32_t) random_next(random) };
    step.count = random_chance(random, 250) ? 0 : random_range(random, 1, c->pages);
    return step;
}

static struct step fate_step(const struct configuration *c, struct random *random)
{
    struct step step = { .op = OP_PAUSE, .kernel = random_below(random, c->kernels), .argument = (uint32_t) random_next(random) };
    unsigned what = random_below(random, 10);
    if (what < 2 && c->kills)
        step.op = OP_KILL;
    else if (what < 4 && c->stalls)
        step.op = random_chance(random, 500) ? OP_STALL : OP_STALL_ANSWERS;
    else if (what < 6 && c->stalls)
        step.op = OP_GO_ON;
    else if (what < 8 && c->shortage)
        step.op = OP_FAIL_ALLOCATION + random_below(random, 4);
    return step;
}

static struct step hostile_step(const struct configuration *c, struct random *random)
{
    struct step step = { .op = random_chance(random, 800) ? OP_HOSTILE : OP_READ, .argument = (uint32_t) random_next(random) };
    step.page = c->pages - 1 - random_below(random, c->tainted);
    step.count = (uint16_t) random_next(random);
    if (random_chance(random, 100))
        step.op = OP_WRITE;
    if (random_chance(random, 100))
        step.op = OP_PAUSE;
    if (random_chance(random, 15))
        step.op = OP_CLOG;
    return step;
}

static void add_actor(struct scenario *s, enum role role, unsigned kernel, unsigned steps, struct random *random)
{
    if (s->actors == ACTORS_MAX)
        return;
    unsigned actor = s->actors++;
    s->actor[actor] = (struct actor) { role, (uint8_t) kernel };
    for (unsigned i = 0; i < steps && s->steps < STEPS_MAX; i++) {
        struct step step = role == ROLE_USER ? user_step(&s->configuration, random)
            : role == ROLE_TRANSLATOR ? translator_step(&s->configuration, random)
            : role == ROLE_FATE ? fate_step(&s->configuration, random) : hostile_step(&s->configuration, random);
        step.actor = (uint8_t) actor;
        if (role != ROLE_FATE)
            step.kernel = (uint8_t) kernel;
        s->step[s->steps++] = step;
    }
}

void scenario_reschedule(struct scenario *scenario, uint64_t schedule)
{
    struct random random = random_seeded(schedule, 3);
    scenario->schedule = schedule;
    scenario->policy = random_below(&random, POLICIES);
}

void scenario_make(struct scenario *s, uint64_t seed)
{
    struct random random = random_seeded(seed, 2);
    memset(s, 0, sizeof *s);
    s->seed = seed;
    struct configuration *c = &s->configuration;
    configure(c, &random);
    unsigned honest = c->kernels - c->hostile;
    unsigned users = honest == 1 ? random_range(&random, 1, 6) : honest < 6 ? honest * random_range(&random, 1, 2) : honest;
    unsigned steps = random_range(&random, 20, 160) / users + 2;
    for (unsigned i = 0; i < users; i++)
        add_actor(s, ROLE_USER, i % honest, steps, &random);
    for (unsigned i = 0; i < c->hostile; i++)
        add_actor(s, ROLE_HOSTILE, honest + i, random_range(&random, 5, 30), &random);
    unsigned translators = random_below(&random, 4);
    for (unsigned i = 0; i < translators; i++)
        add_actor(s, ROLE_TRANSLATOR, 0, random_range(&random, 2, 12), &random);
    if (c->kills || c->stalls || c->shortage)
        add_actor(s, ROLE_FATE, 0, random_range(&random, 3, 16), &random);
    if (c->shuts_down) {
        add_actor(s, ROLE_TRANSLATOR, 0, random_range(&random, 1, 4), &random);
        s->step[s->steps - 1].op = OP_SHUTDOWN;
    }
    scenario_reschedule(s, seed);
}

/* ---- Text ---- */

const char *step_text(const struct step *step)
{
    static const char *const names[OPS] = {
        "read", "write", "request", "request-several", "unlock", "evict", "drop-clean", "evict-all", "terminate", "pause", "sync", "flush", "return",
        "offer", "attributes", "look", "inhibit", "shutdown", "kill", "stall", "stall-answers", "go-on", "fail-allocation",
        "fail-mach", "fail-pages", "fail-thread", "hostile", "clog", "more",
    };
    static char text[80];
    snprintf(text, sizeof text, "%s, kernel %u, page %u, count %u, argument %#x", names[step->op], step->kernel, step->page,
             step->count, step->argument);
    return text;
}

void scenario_print(const struct scenario *s, FILE *file)
{
    static const char *const policies[POLICIES] = { "random", "sticky", "priority", "slow" };
    const struct configuration *c = &s->configuration;
    fprintf(file, "# %u pages (%u tainted, %u quiet) at every %u, %u kernels (%u hostile), order: %s\n", c->pages, c->tainted,
                c->quiet_pages, c->stride, c->kernels, c->hostile, policies[s->policy]);
    fprintf(file, "# reads %u%s%s%s%s%s, errors %u and slow %u of 1000, patience %u ms%s\n", c->reads, c->notify ? ", notify" : "",
                c->write_lock ? ", write lock" : "", c->multi_write ? ", writes several" : "", c->multi_read ? ", reads several" : "",
                c->callbacks_wait ? ", callbacks wait" : "", c->error_rate, c->slow_rate, c->patience_ms,
                c->shortage ? ", shortage" : "");
}
