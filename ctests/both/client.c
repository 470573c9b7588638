#include "client.h"

#include <stdio.h>

#include <mach/memory_object_user.h>

#include "mapped.h"

/* ---- The cast ---- */

static struct client *make(struct party *party, size_t pages)
{
    struct client *client = calloc(1, sizeof *client);
    assert_non_null(client);
    client->party = party;
    client->pages = pages;
    if (scripted(party) || party->mapped == mapped_kernels_max) {
        client->scripted = sk_kernel_create("client");
    } else {
        party->mapped++;
        mapped_make(client);
    }
    return client;
}

struct client *client_of(struct party *party, mach_port_t port, size_t pages)
{
    struct client *client = make(party, pages);
    if (client->scripted)
        client->object = sk_map(client->scripted, port);
    else
        assert_int_equal(mapped_map(client, port), KERN_SUCCESS);
    return client;
}

int party_visit(struct party *party)
{
    struct client *client = make(party, 1);
    int error = client->scripted ? sk_wait_ready(sk_map_async(client->scripted, party->world.port), 0)
                                 : mapped_map(client, party->world.port);
    client_free(client);
    return error;
}

void client_free(struct client *client)
{
    for (int i = 0; i < FAULTS; i++)
        assert_false(client->faults[i].used);
    if (client->object)
        assert_int_equal(sk_violations(client->object), 0);
    if (client->scripted) {
        sk_kernel_destroy(client->scripted);
    } else {
        mapped_destroy(client);
        client->party->mapped--;
    }
    free(client);
}

struct client *party_join(struct party *party)
{
    struct client *client = client_of(party, party->world.port, party->world.store->pages);
    party->clients[party->count++] = client;
    return client;
}

void party_open_with(struct party *party, void **state, int clients, size_t pages, boolean_t may_cache,
                     memory_object_copy_strategy_t strategy, boolean_t notify)
{
    *party = (struct party) { .mode = *(enum mode *) *state };
    if (!scripted(party))
        assert_int_equal(mapped_start(), 0);
    world_open_with(&party->world, pages, may_cache, strategy, notify);
    if (!scripted(party))
        mapped_begin();
    while (party->count < clients)
        party_join(party);
}

void party_open(struct party *party, void **state, int clients, size_t pages, boolean_t notify)
{
    party_open_with(party, state, clients, pages, 0, MEMORY_OBJECT_COPY_DELAY, notify);
}

static void all_go(struct party *party)
{
    for (int i = 0; i < party->count; i++)
        client_free(party->clients[i]);
}

void party_close(struct party *party)
{
    all_go(party);
    world_close(&party->world);
}

void party_close_ended(struct party *party)
{
    all_go(party);
    world_close_ended(&party->world);
}

/* ---- Touching ---- */

int try_read(struct client *client, size_t page, unsigned char *byte)
{
    if (client->object)
        return kernel_read(client->object, page, byte);
    return mapped_error(client, page, mapped_touch(client->memory + page_offset(page), TOUCH_READ, byte));
}

int try_write(struct client *client, size_t page, unsigned char byte)
{
    if (client->object)
        return kernel_write(client->object, page, byte);
    return mapped_error(client, page, mapped_touch(client->memory + page_offset(page), TOUCH_WRITE, &byte));
}

unsigned char byte_of(struct client *client, size_t page)
{
    if (client->object)
        return kernel_byte(client->object, page);
    assert_int_equal(state_of(client, page), SK_PAGE_PRESENT);
    return get(client, page);
}

void rewrite(struct client *client, size_t page, unsigned char byte)
{
    if (client->object) {
        assert_int_equal(sk_poke(client->object, page_offset(page), &byte, 1), 0);
    } else {
        assert_true(is_writable(client, page));
        put(client, page, byte);
    }
}

int mapped_run_fault(void *argument)
{
    struct fault *fault = argument;
    unsigned char byte;
    return mapped_touch(fault->where, fault->access & VM_PROT_WRITE ? TOUCH_CLAIM : TOUCH_READ, &byte);
}

static struct fault *find_fault(struct client *client, size_t page)
{
    for (int i = 0; i < FAULTS; i++)
        if (client->faults[i].used && client->faults[i].page == page)
            return &client->faults[i];
    return NULL;
}

static struct fault *begin_fault(struct client *client, size_t page, vm_prot_t access)
{
    assert_null(find_fault(client, page));
    struct fault *fault = client->faults;
    while (fault->used)
        fault++;
    assert_true(fault < client->faults + FAULTS);
    *fault = (struct fault) { .where = client->memory + page_offset(page), .access = access, .page = page, .used = 1 };
    mapped_begin_fault(client, fault);
    return fault;
}

void ask(struct client *client, size_t page, vm_prot_t access)
{
    if (client->object) {
        assert_int_equal(sk_request(client->object, page_offset(page), access), 0);
    } else {
        assert_int_equal(state_of(client, page), SK_PAGE_ABSENT);
        begin_fault(client, page, access);
    }
}

void ask_unlock(struct client *client, size_t page)
{
    if (client->object) {
        assert_int_equal(sk_unlock(client->object, page_offset(page), RW), 0);
    } else {
        assert_int_equal(state_of(client, page), SK_PAGE_PRESENT);
        assert_false(is_writable(client, page));
        begin_fault(client, page, RW);
    }
}

int end_ask(struct client *client, size_t page)
{
    if (client->object) {
        int error = sk_wait_page(client->object, page_offset(page), SK_WANT_SETTLED, 0);
        struct sk_page_info info = sk_page_state(client->object, page_offset(page));
        return error ? error : info.state == SK_PAGE_ABSENT ? info.last_error : 0;
    }
    struct fault *fault = find_fault(client, page);
    assert_non_null(fault);
    int caught = task_end(&fault->task);
    fault->used = 0;
    return mapped_error(client, page, caught);
}

void end_all(struct client *client)
{
    for (int i = 0; i < FAULTS; i++)
        if (client->faults[i].used)
            end_ask(client, client->faults[i].page);
}

int still_waits(struct client *client, size_t page)
{
    if (client->object)
        return sk_wait_page(client->object, page_offset(page), SK_WANT_PRESENT, 30) == ETIMEDOUT;
    struct fault *fault = find_fault(client, page);
    assert_non_null(fault);
    return task_waits(&fault->task) && state_of(client, page) == SK_PAGE_REQUESTED;
}

struct wish {
    struct client *client;
    size_t page;
    enum sk_want want;
};

static bool has_come(void *argument)
{
    struct wish *wish = argument;
    struct mapped_page page = mapped_page(wish->client, wish->page);
    switch (wish->want) {
    case SK_WANT_PRESENT: return page.state == SK_PAGE_PRESENT;
    case SK_WANT_ABSENT: return page.state == SK_PAGE_ABSENT;
    case SK_WANT_READABLE: return page.state == SK_PAGE_PRESENT && !(page.lock & VM_PROT_READ);
    case SK_WANT_WRITABLE: return page.state == SK_PAGE_PRESENT && !(page.lock & VM_PROT_WRITE);
    default: return page.state != SK_PAGE_REQUESTED && !page.unlocking;
    }
}

void wait_page(struct client *client, size_t page, enum sk_want want)
{
    if (client->object) {
        assert_int_equal(sk_wait_page(client->object, page_offset(page), want, 0), 0);
    } else if (find_fault(client, page)) {
        assert_int_equal(end_ask(client, page), 0);
    } else {
        struct wish wish = { client, page, want };
        wait_for(has_come, &wish);
    }
}

/* ---- Leaving ---- */

int try_evict(struct client *client, size_t page)
{
    if (client->object)
        return sk_evict(client->object, page_offset(page));
    return mapped_evict(client, page);
}

void evict(struct client *client, size_t page) { assert_int_equal(try_evict(client, page), 0); }

void terminate(struct client *client)
{
    if (client->object) {
        assert_int_equal(sk_terminate(client->object), 0);
        return;
    }
    mapped_unmap(client);
}

void come_back(struct client *client)
{
    mach_port_t port = client->party->world.port;
    if (client->scripted) {
        assert_int_equal(sk_violations(client->object), 0);
        client->object = sk_map(client->scripted, port);
    } else {
        assert_int_equal(mapped_map(client, port), KERN_SUCCESS);
    }
}

void die(struct client *client)
{
    if (client->object)
        sk_kernel_kill(client->scripted);
    else
        mapped_kill(client);
    client->dead = 1;
}

/* ---- Looking ---- */

enum sk_page_state state_of(struct client *client, size_t page)
{
    if (client->object)
        return sk_page_state(client->object, page_offset(page)).state;
    return mapped_page(client, page).state;
}

int is_writable(struct client *client, size_t page)
{
    if (client->object) {
        struct sk_page_info info = sk_page_state(client->object, page_offset(page));
        return info.state == SK_PAGE_PRESENT && !(info.lock & VM_PROT_WRITE);
    }
    struct mapped_page info = mapped_page(client, page);
    return info.state == SK_PAGE_PRESENT && !(info.lock & VM_PROT_WRITE);
}

int is_dirty(struct client *client, size_t page)
{
    return client->object ? sk_page_state(client->object, page_offset(page)).dirty : mapped_page(client, page).dirty;
}

int is_precious(struct client *client, size_t page)
{
    return client->object ? sk_page_state(client->object, page_offset(page)).precious : mapped_page(client, page).precious;
}

unsigned resident(struct client *client)
{
    return client->object ? sk_resident(client->object) : mapped_figures(client).resident;
}

unsigned supplies(struct client *client)
{
    return client->object ? sk_count(client->object, SK_DATA_SUPPLY) : mapped_figures(client).supplied;
}

unsigned refusals(struct client *client)
{
    return client->object ? sk_count(client->object, SK_DATA_ERROR) : mapped_figures(client).refused;
}

unsigned locks(struct client *client)
{
    return client->object ? sk_count(client->object, SK_LOCK_REQUEST) : mapped_figures(client).locks;
}

unsigned returns(struct client *client)
{
    return client->object ? sk_count(client->object, SK_DATA_RETURN) : mapped_figures(client).returns;
}

struct enough {
    struct client *client;
    unsigned count;
};

static bool has_locks(void *argument)
{
    struct enough *enough = argument;
    return locks(enough->client) >= enough->count;
}

void wait_answers(struct client *client, unsigned count)
{
    struct enough enough = { client, count };
    if (client->object) {
        assert_int_equal(sk_wait_message(client->object, SK_LOCK_COMPLETED, count, 0), 0);
        return;
    }
    wait_for(has_locks, &enough);
    /* It counts when a request comes.  */
    (void) mapped_page(client, 0);
}

void attributes_of(struct client *client, boolean_t *may_cache, memory_object_copy_strategy_t *strategy)
{
    boolean_t ready = TRUE;
    if (client->object)
        sk_attributes(client->object, &ready, may_cache, strategy);
    else
        mapped_attributes(client, may_cache, strategy);
    assert_true(ready);
}

/* ---- The pager ---- */

struct refusal {
    struct world *world;
    uint64_t before;
};

static bool has_refused(void *argument)
{
    struct refusal *refusal = argument;
    return world_statistics(refusal->world).refused > refusal->before;
}

void fence(struct party *party)
{
    struct refusal refusal = { &party->world, world_statistics(&party->world).refused };
    /* Nobody waits for a change of attributes.  */
    assert_int_equal(memory_object_change_completed(party->world.port, MACH_MSG_TYPE_COPY_SEND, FALSE, MEMORY_OBJECT_COPY_NONE), 0);
    wait_for(has_refused, &refusal);
}

void assert_calls(struct world *world, const char *expected)
{
    char text[256] = "", *end = text;
    pthread_mutex_lock(&world->store->lock);
    for (unsigned i = 0; i < world->store->logged && end - text < 200; i++)
        end += sprintf(end, "%s%c%u", i ? " " : "", "rwueW"[world->store->log[i].call],
                       (unsigned) (world->store->log[i].page / vm_page_size));
    pthread_mutex_unlock(&world->store->lock);
    assert_string_equal(text, expected);
}

void forget_calls(struct world *world)
{
    pthread_mutex_lock(&world->store->lock);
    world->store->logged = 0;
    memset(world->store->counts, 0, sizeof world->store->counts);
    pthread_mutex_unlock(&world->store->lock);
}
