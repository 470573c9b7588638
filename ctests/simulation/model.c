#include "model.h"

#include <stdio.h>
#include <string.h>

#include "random.h"
#include "report.h"
#include "totals.h"

enum { CELL_BYTES = 4096 / CELLS, CELL_WORDS = CELL_BYTES / 8 };

static struct model_page pages[PAGES_MAX];
static bool is_relaxed;

void model_relax(void) { is_relaxed = true; }

struct model_page *model_page(unsigned page) { return &pages[page]; }

/* ---- Bytes ---- */

static uint64_t first_word(unsigned page, unsigned cell, uint32_t value)
{
    return (uint64_t) value << 32 | (uint64_t) (page + 1) << 8 | cell;
}

static uint64_t word(uint64_t first, unsigned index)
{
    return first ^ (uint64_t) index * 0x9e3779b97f4a7c15u;
}

void model_fill_cell(unsigned page, unsigned cell, uint32_t value, void *bytes)
{
    uint64_t *words = bytes, first = first_word(page, cell, value);
    for (unsigned i = 0; i < CELL_WORDS; i++)
        words[i] = word(first, i);
}

void model_fill(unsigned page, struct content content, void *bytes)
{
    for (unsigned cell = 0; cell < CELLS; cell++)
        model_fill_cell(page, cell, content.value[cell], (char *) bytes + cell * CELL_BYTES);
}

bool model_parse(unsigned page, const void *bytes, struct content *content)
{
    for (unsigned cell = 0; cell < CELLS; cell++) {
        const uint64_t *words = (const uint64_t *) bytes + cell * CELL_WORDS;
        uint64_t first = words[0];
        content->value[cell] = (uint32_t) (first >> 32);
        if (first != first_word(page, cell, content->value[cell]) || content->value[cell] > pages[page].last)
            return false;
        for (unsigned i = 1; i < CELL_WORDS; i++)
            if (words[i] != word(first, i))
                return false;
    }
    return true;
}

/* ---- Candidates ---- */

static bool is_equal(struct content a, struct content b) { return memcmp(&a, &b, sizeof a) == 0; }

static bool contains(const struct candidates *candidates, struct content content)
{
    for (unsigned i = 0; i < candidates->count; i++)
        if (is_equal(candidates->content[i], content))
            return true;
    return false;
}

static void add(struct candidates *candidates, struct content content)
{
    if (contains(candidates, content))
        return;
    if (candidates->count == CANDIDATES)
        report_failure("simulation: too many candidates for a page");
    candidates->content[candidates->count++] = content;
}

static void add_all(struct candidates *candidates, const struct candidates *others)
{
    for (unsigned i = 0; i < others->count; i++)
        add(candidates, others->content[i]);
}

static void set(struct candidates *candidates, struct content content)
{
    candidates->count = 1;
    candidates->content[0] = content;
}

/* The store has CONTENT: what is older cannot come back. */
static void settle(struct candidates *candidates, struct content content)
{
    for (unsigned i = 0; i < candidates->count; i++)
        for (unsigned cell = 0; cell < CELLS; cell++)
            if (candidates->content[i].value[cell] > content.value[cell])
                return;
    set(candidates, content);
}

static const char *text(struct content content)
{
    static char texts[4][48];
    static unsigned next;
    char *line = texts[next++ % 4];
    snprintf(line, sizeof texts[0], "%u.%u.%u.%u", content.value[0], content.value[1], content.value[2], content.value[3]);
    return line;
}

static struct content parsed(unsigned page, const void *bytes, const char *who, const char *where)
{
    struct content content;
    if (!model_parse(page, bytes, &content)) {
        report_line("%s: page %u", who, page);
        report_failure("%s: bytes that nobody wrote", where);
    }
    return content;
}

/* ---- Events ---- */

void model_open(unsigned count)
{
    is_relaxed = false;
    for (unsigned page = 0; page < count; page++) {
        pages[page] = (struct model_page) { .last = 1, .stored = { { 1, 1, 1, 1 } } };
        set(&pages[page].current, pages[page].stored);
        set(&pages[page].fallback, pages[page].stored);
    }
}

uint32_t model_next_value(unsigned page) { return ++pages[page].last; }

void model_touched(unsigned page, const void *bytes, int cell, uint32_t value, const char *who)
{
    struct model_page *model = &pages[page];
    if (model->tainted)
        return;
    struct content content = parsed(page, bytes, who, "a kernel finds");
    struct candidates before = model->current;
    totals_add(TOTAL_ACCESSES, 1);
    if (cell >= 0) {
        /* What the write left alone must be what was there. */
        if (content.value[cell] != value)
            report_failure("a kernel's write is not there");
        for (unsigned i = 0; i < before.count; i++)
            before.content[i].value[cell] = value;
    }
    TRACE("%s %s page %u: %s", who, cell < 0 ? "reads" : "writes", page, text(content));
    if (!contains(&before, content) && !is_relaxed) {
        for (unsigned i = 0; i < before.count; i++)
            report_line("page %u of %s: expected %s%s", page, who, text(before.content[i]), cell < 0 ? "" : " after its write");
        report_line("page %u of %s: has %s", page, who, text(content));
        report_failure("a kernel finds stale data");
    }
    bool decides = model->current.count > 1;
    set(&model->current, content);
    /* (What the pager was never given, the kernel having written it itself, is no fallback.) */
    if (cell < 0 && decides && contains(&model->fallback, content)) {
        set(&model->fallback, content);
        add(&model->fallback, model->stored);
    }
}

void model_returned(unsigned page, const void *bytes, bool dirty, bool unsure, const char *who)
{
    struct model_page *model = &pages[page];
    if (model->tainted)
        return;
    struct content content = parsed(page, bytes, who, "a kernel returns");
    TRACE("%s returns page %u: %s%s", who, page, text(content), dirty ? ", dirty" : "");
    if (!contains(&model->current, content) && !is_relaxed) {
        report_line("page %u of %s: has %s, expected %s", page, who, text(content), text(model->current.content[0]));
        report_failure("a kernel returns stale data");
    }
    if (unsure) {
        add_all(&model->current, &model->fallback);
        add(&model->fallback, content);
        model->losses++;
    } else if (dirty) {
        set(&model->fallback, content);
    } else {
        add(&model->fallback, content);
        if (model->failing)
            add_all(&model->current, &model->fallback);
    }
}

void model_return_in_doubt(unsigned page, const struct candidates *before)
{
    struct model_page *model = &pages[page];
    add_all(&model->current, before);
    add_all(&model->fallback, before);
    model->losses++;
}

void model_dropped(unsigned page)
{
    struct model_page *model = &pages[page];
    if (model->fallback.count > 1)
        add_all(&model->current, &model->fallback);
}

void model_lost(unsigned page)
{
    struct model_page *model = &pages[page];
    TRACE("page %u: what a kernel had is lost, now it is %s%s", page, text(model->fallback.content[0]),
          model->fallback.count > 1 ? ", or another" : "");
    totals_add(TOTAL_LOSSES, 1);
    model->current = model->fallback;
    model->losses++;
}

void model_stored(unsigned page, const void *bytes)
{
    struct model_page *model = &pages[page];
    if (model->tainted)
        return;
    struct content content = parsed(page, bytes, "store", "the store gets");
    TRACE("the store gets page %u: %s", page, text(content));
    for (unsigned cell = 0; cell < CELLS; cell++)
        if (content.value[cell] < model->stored.value[cell]) {
            report_line("page %u: %s after %s", page, text(content), text(model->stored));
            report_failure("the store gets an older version after a newer one");
        }
    model->stored = content;
    settle(&model->fallback, content);
    settle(&model->current, content);
}

void model_store_failed(unsigned page, const void *thread)
{
    struct model_page *model = &pages[page];
    model->may_fail = true;
    model->failing = thread;
    TRACE("the store fails to write page %u", page);
    if (model->tainted)
        return;
    add(&model->current, model->stored);
    add(&model->fallback, model->stored);
    model->losses++;
}

void model_goes_on(const void *thread)
{
    for (unsigned page = 0; page < PAGES_MAX; page++)
        if (pages[page].failing == thread)
            pages[page].failing = NULL;
}

void model_check_store(unsigned page, const void *bytes)
{
    struct model_page *model = &pages[page];
    if (model->tainted)
        return;
    struct content content = parsed(page, bytes, "store", "in the end the store has");
    if (!contains(&model->current, content)) {
        report_line("page %u: the store has %s, expected %s", page, text(content), text(model->current.content[0]));
        report_failure("in the end the store has stale data");
    }
}
