/* scenario.c - bytes as a scenario.

   What may be together is what the simulation's own generator (ctests/simulation/scenario.c) puts together: the checks count on it. Everything is
   of a fixed length, so that cutting, exchanging and repeating bytes gives other scenarios of the same steps. */

#include <string.h>

#include "fuzz.h"

/* Small, or a run takes too long; 6 and 9 clients are more than fit into a page's word. */
static const uint8_t kernel_counts[] = { 1, 1, 2, 2, 3, 4, 6, 9 };
static const uint8_t page_counts[] = { 1, 2, 3, 4, 6, 8, 12, 20 };
static const uint16_t strides[] = { 1, 1, 3, 5000 };
enum { FUZZ_STEPS_MAX = 160 };

static void add_actor(struct scenario *s, enum role role, unsigned kernel)
{
    s->actor[s->actors++] = (struct actor) { role, (uint8_t) kernel };
}

void fuzz_configure(struct scenario *s, struct input *input)
{
    memset(s, 0, sizeof *s);
    struct configuration *c = &s->configuration;
    unsigned flags = input_byte(input), more = input_byte(input);
    c->kernels = kernel_counts[input_below(input, 8)];
    c->pages = page_counts[input_below(input, 8)];
    c->stride = strides[input_below(input, 4)];
    c->notify = flags & 1;
    c->write_lock = flags & 2;
    c->multi_write = flags & 4;
    c->multi_read = flags & 8;
    c->callbacks_wait = flags & 16;
    c->kills = flags & 32;
    c->stalls = flags & 64;
    c->shortage = flags & 128;
    c->shuts_down = more & 1;
    c->hostile = more & 2 ? 1 + (more >> 2 & 1) : 0;
    c->tainted = c->hostile ? 1 + (more >> 3 & 3) : 0;
    c->kernels += c->hostile;
    c->pages += c->tainted;
    c->reads = 1 + input_below(input, 8);
    c->error_rate = input_byte(input);
    c->slow_rate = input_byte(input) * 3u;
    unsigned patience = input_byte(input);
    c->patience_ms = c->shuts_down && patience < 50 ? patience : 0;
    c->quiet_pages = input_byte(input) % ((c->pages - c->tainted + 1) / 2 + 1);
    unsigned honest = c->kernels - c->hostile, users = 1 + input_below(input, 2 * honest + 2), translators = input_below(input, 4);
    s->policy = input_below(input, POLICIES);
    s->seed = input_number(input, 3);
    s->schedule = input_number(input, 4);
    for (unsigned i = 0; i < users; i++)
        add_actor(s, ROLE_USER, i % honest);
    for (unsigned i = 0; i < c->hostile; i++)
        add_actor(s, ROLE_HOSTILE, honest + i);
    for (unsigned i = 0; i < translators; i++)
        add_actor(s, ROLE_TRANSLATOR, 0);
    if (c->kills || c->stalls || c->shortage)
        add_actor(s, ROLE_FATE, 0);
    if (c->shuts_down)
        add_actor(s, ROLE_TRANSLATOR, 0);
}

static enum op pick(const struct configuration *c, enum role role, unsigned byte)
{
    static const uint8_t user[] = {
        OP_READ, OP_WRITE, OP_READ, OP_WRITE, OP_READ, OP_WRITE, OP_REQUEST, OP_REQUEST_SEVERAL, OP_UNLOCK, OP_EVICT, OP_EVICT, OP_DROP_CLEAN,
        OP_EVICT_ALL, OP_TERMINATE, OP_PAUSE,
    };
    static const uint8_t translator[] = {
        OP_SYNC, OP_FLUSH, OP_RETURN, OP_OFFER, OP_ATTRIBUTES, OP_LOOK, OP_INHIBIT, OP_PAUSE, OP_MORE, OP_MORE, OP_MORE,
    };
    static const uint8_t fate[] = {
        OP_PAUSE, OP_KILL, OP_STALL, OP_STALL_ANSWERS, OP_GO_ON, OP_FAIL_ALLOCATION, OP_FAIL_MACH, OP_FAIL_PAGES, OP_FAIL_THREAD,
    };
    static const uint8_t hostile[] = { OP_HOSTILE, OP_HOSTILE, OP_HOSTILE, OP_READ, OP_WRITE, OP_PAUSE, OP_CLOG };
    enum op op = OP_PAUSE;
    switch (role) {
    case ROLE_USER: return user[byte % sizeof user];
    case ROLE_TRANSLATOR: return translator[byte % sizeof translator];
    case ROLE_HOSTILE: return hostile[byte % sizeof hostile];
    case ROLE_FATE: op = fate[byte % sizeof fate];
    }
    bool may = op == OP_KILL ? c->kills : op >= OP_FAIL_ALLOCATION ? c->shortage : op != OP_PAUSE ? c->stalls : true;
    return may ? op : OP_PAUSE;
}

void fuzz_add_step(struct scenario *s, struct input *input)
{
    const struct configuration *c = &s->configuration;
    struct step step = { .actor = (uint8_t) input_below(input, s->actors) };
    const struct actor *actor = &s->actor[step.actor];
    step.op = pick(c, actor->role, input_byte(input));
    unsigned page = input_byte(input);
    step.page = (uint16_t) (actor->role == ROLE_HOSTILE ? c->pages - 1 - page % c->tainted : page % c->pages);
    step.count = input_byte(input);
    step.argument = (uint32_t) input_number(input, 4);
    step.kernel = actor->role == ROLE_FATE ? step.argument % c->kernels : actor->kernel;
    if (step.op == OP_SYNC || step.op == OP_FLUSH || step.op == OP_RETURN)
        step.count %= c->pages + 1;
    if (s->steps < FUZZ_STEPS_MAX)
        s->step[s->steps++] = step;
}

struct input fuzz_take_choices(struct input *input)
{
    if (input_ends(input))
        return *input;
    size_t count = *--input->end;
    count = count < input_left(input) / 2 ? count : input_left(input) / 2;
    input->end -= count;
    return (struct input) { input->end, input->end + count };
}
