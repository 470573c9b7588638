/* What went in and came out: changed pages that kernels returned, what the store was given, what kernels were told.

   For each page of each store (../pager/store.h): the content that a client returned last, changed, in the order of the messages' numbers, which
   the library took.  When all is written, the store must have it; unless the store failed to write just that, the test threw it away
   (pager_flush) or wrote the store's page itself, or the library refused the message.

   Locks: `lock' is innermost.  */

#include "each.h"

#include <stdatomic.h>
#include <stdio.h>

#include "engine.h"

struct version {
    uint64_t content;               /* a hash of the page */
    mach_port_seqno_t number;       /* of the message */
    unsigned char first;
    bool known, excused;
    bool flushed;                   /* nothing is said of it any more */
};

struct record {
    struct user_pager_info *store;
    struct version *pages;
    size_t count;
    struct record *next;
    bool has_failed;                /* a write */
};

static struct record *records;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local mach_port_seqno_t message_number;

_Atomic int witness_hostile, witness_destroyed;

static uint64_t hash_page(const void *data)
{
    const uint64_t *words = data;
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < vm_page_size / sizeof *words; i++)
        hash = (hash ^ words[i]) * 1099511628211u;
    return hash;
}

static struct record *find(struct user_pager_info *store)
{
    for (struct record *record = records; record; record = record->next)
        if (record->store == store)
            return record;
    return NULL;
}

/* Locked.  The page, or NULL where it is not known.  */
static struct version *version_of(struct user_pager_info *store, size_t page)
{
    struct record *record = find(store);
    return record && page < record->count ? &record->pages[page] : NULL;
}

/* ---- The store ---- */

void each_store_opened(struct user_pager_info *store)
{
    if (!each_on)
        return;
    struct record *record = calloc(1, sizeof *record);
    *record = (struct record) { .store = store, .count = store->pages, .pages = calloc(store->pages, sizeof *record->pages) };
    pthread_mutex_lock(&lock);
    record->next = records;
    records = record;
    pthread_mutex_unlock(&lock);
}

void each_store_closes(struct user_pager_info *store)
{
    if (!each_on)
        return;
    witness_check(store);
    pthread_mutex_lock(&lock);
    struct record **link = &records;
    while (*link && (*link)->store != store)
        link = &(*link)->next;
    struct record *record = *link;
    if (record) {
        *link = record->next;
        free(record->pages);
        free(record);
    }
    pthread_mutex_unlock(&lock);
}

void witness_check(struct user_pager_info *store)
{
    pthread_mutex_lock(&lock);
    struct record *record = find(store);
    for (size_t i = 0; record && i < record->count; i++) {
        const struct version *version = &record->pages[i];
        const unsigned char *data = store->data + i * vm_page_size;
        if (version->known && !version->excused && !version->flushed && hash_page(data) != version->content)
            each_fail("page %zu is lost: a client returned one that begins with %#x, the store has one that begins with %#x", i,
                      version->first, data[0]);
    }
    pthread_mutex_unlock(&lock);
}

/* What failed writes said: a client that asks for such a page may be told.  */
enum { WRITE_CODES = 8 };
static int write_codes[WRITE_CODES];
static int write_code_count;

static bool store_said(int code)
{
    pthread_mutex_lock(&lock);
    bool said = false;
    for (int i = 0; i < write_code_count; i++)
        said |= write_codes[i] == code;
    pthread_mutex_unlock(&lock);
    return said;
}

void each_wrote(struct user_pager_info *store, vm_offset_t offset, const void *data, int error)
{
    if (!each_on || error == 0)
        return;
    pthread_mutex_lock(&lock);
    struct version *version = version_of(store, offset / vm_page_size);
    if (version && version->content == hash_page(data))
        version->excused = true;
    struct record *record = find(store);
    if (record)
        record->has_failed = true;
    if (write_code_count < WRITE_CODES)
        write_codes[write_code_count++] = error;
    pthread_mutex_unlock(&lock);
}

void each_filled(struct user_pager_info *store, size_t page)
{
    if (!each_on)
        return;
    pthread_mutex_lock(&lock);
    struct version *version = version_of(store, page);
    if (version)
        version->excused = true;
    pthread_mutex_unlock(&lock);
}

bool witness_knows(struct user_pager_info *store)
{
    pthread_mutex_lock(&lock);
    bool known = find(store) != NULL;
    pthread_mutex_unlock(&lock);
    return known;
}

bool witness_has_failed(struct user_pager_info *store)
{
    pthread_mutex_lock(&lock);
    struct record *record = find(store);
    bool failed = !record || record->has_failed;
    pthread_mutex_unlock(&lock);
    return failed;
}

void witness_release(void)
{
    tasks_wake();
    for (struct record *record = records; record; record = record->next) {
        struct user_pager_info *store = record->store;
        pthread_mutex_lock(&store->lock);
        for (int call = 0; call < CALL_COUNT; call++)
            store->closed[call] = store->error_count[call] = 0;
        store->hook = NULL;
        store->bad_buffer = 0;
        pthread_cond_broadcast(&store->changed);
        pthread_mutex_unlock(&store->lock);
    }
}

void each_left(const char *what, size_t now, size_t before)
{
    if (each_on && now != before)
        each_fail("%zu %s, %zu when the world was made", now, what, before);
}

/* ---- Messages of clients ---- */

int __real_pager_serve_message(mach_msg_header_t *, mach_msg_header_t *);
int __wrap_pager_serve_message(mach_msg_header_t *, mach_msg_header_t *);
int __wrap_pager_serve_message(mach_msg_header_t *message, mach_msg_header_t *reply)
{
    message_number = message->msgh_seqno;
    return __real_pager_serve_message(message, reply);
}

static uint64_t refused(struct pager *pager)
{
    struct pager_statistics figures;
    pager_get_statistics(pager, &figures);
    return figures.refused;
}

/* The first refusal of each kind is logged.  */
void __real_platform_log(const char *, unsigned long, unsigned long);
void __wrap_platform_log(const char *, unsigned long, unsigned long);
void __wrap_platform_log(const char *format, unsigned long a, unsigned long b)
{
    static const char *const reasons[] = {
        "refused: return at", "refused: changed page at", "refused: message for offset", "refused: message at", "refused: message with",
        "refused: range at"
    };
    enum { WITHOUT_PAGE = 2 };      /* the first ones: who sends that does not have the page */
    for (size_t i = 0; each_on && i < sizeof reasons / sizeof *reasons; i++)
        if (strncmp(format, reasons[i], strlen(reasons[i])) == 0) {
            each_result->refused_returns = 1;
            if (i < WITHOUT_PAGE)
                each_result->returns_without_page = 1;
        }
    __real_platform_log(format, a, b);
}

kern_return_t __real__pager_S_memory_object_data_return(pager_t, mach_port_t, vm_offset_t, vm_offset_t, mach_msg_type_number_t, boolean_t,
                                                        boolean_t);
kern_return_t __wrap__pager_S_memory_object_data_return(pager_t, mach_port_t, vm_offset_t, vm_offset_t, mach_msg_type_number_t, boolean_t,
                                                        boolean_t);
kern_return_t __wrap__pager_S_memory_object_data_return(pager_t pager, mach_port_t control, vm_offset_t offset, vm_offset_t data,
                                                        mach_msg_type_number_t count, boolean_t dirty, boolean_t kernel_copy)
{
    if (!each_on || !dirty || count == 0 || data == 0 || (offset | data | count) % vm_page_size != 0)
        return __real__pager_S_memory_object_data_return(pager, control, offset, data, count, dirty, kernel_copy);
    struct user_pager_info *store = pager_get_upi(pager);
    size_t first = offset / vm_page_size, pages = count / vm_page_size;
    uint64_t before = refused(pager);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < pages; i++) {
        struct version *version = version_of(store, first + i);
        const unsigned char *bytes = (const unsigned char *) data + i * vm_page_size;
        if (version && (!version->known || message_number - version->number < ~(mach_port_seqno_t) 0 / 2))
            *version = (struct version) { hash_page(bytes), message_number, bytes[0], true, false, version->flushed };
    }
    pthread_mutex_unlock(&lock);
    mach_port_seqno_t number = message_number;
    kern_return_t result = __real__pager_S_memory_object_data_return(pager, control, offset, data, count, dirty, kernel_copy);
    if (refused(pager) != before && each_result->refused_returns) {
        /* This one, or another one at the same time.  */
        pthread_mutex_lock(&lock);
        for (size_t i = 0; i < pages; i++) {
            struct version *version = version_of(store, first + i);
            if (version && version->number == number)
                version->excused = true;
        }
        pthread_mutex_unlock(&lock);
    }
    return result;
}

void witness_flushed(struct pager *pager, vm_offset_t start, vm_size_t length)
{
    if (!each_on)
        return;
    pthread_mutex_lock(&lock);
    struct record *record = find(pager_get_upi(pager));
    for (size_t i = start / vm_page_size; record && i < record->count && i * vm_page_size - start < length; i++)
        record->pages[i].flushed = true;
    pthread_mutex_unlock(&lock);
}

void witness_flushed_all(struct pager *pager) { witness_flushed(pager, 0, (vm_size_t) -1); }

/* ---- Answers to clients ---- */

kern_return_t __real_pager_control_memory_object_data_error(mach_port_t, vm_offset_t, vm_size_t, kern_return_t);
kern_return_t __wrap_pager_control_memory_object_data_error(mach_port_t, vm_offset_t, vm_size_t, kern_return_t);
kern_return_t __wrap_pager_control_memory_object_data_error(mach_port_t control, vm_offset_t offset, vm_size_t size, kern_return_t error)
{
    if (each_on && !each_note(ANSWER_ERROR, error) && error != platform_ENOMEM && error != platform_EIO && each_usual
        && !store_said(error))
        each_fail("data_error with code %d, which is nobody's", error);
    return __real_pager_control_memory_object_data_error(control, offset, size, error);
}

kern_return_t __real_pager_control_memory_object_destroy(mach_port_t, kern_return_t);
kern_return_t __wrap_pager_control_memory_object_destroy(mach_port_t, kern_return_t);
kern_return_t __wrap_pager_control_memory_object_destroy(mach_port_t control, kern_return_t reason)
{
    if (each_on) {
        atomic_fetch_add(&witness_destroyed, 1);
        each_note(ANSWER_DESTROY, reason);
    }
    return __real_pager_control_memory_object_destroy(control, reason);
}
