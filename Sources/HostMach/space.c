/* space.c: a task's names.

   An entry stays at its address for life; a hash table by name finds it, so that names may lie anywhere in 32 bits.
   Names that we choose are the lowest free ones from IPC_NAME_FIRST on. The bitmap of taken names is a hint that saves
   looking; the table decides. All under the IPC lock. */

#include "internal.h"

#include <string.h>

#define FIRST_BUCKETS 64

static size_t
bucket_of (const struct hostmach_task *task, mach_port_name_t name)
{
    return ((uint64_t) name * UINT64_C (0x9e3779b97f4a7c15) >> 32) & (task->bucket_count - 1);
}

bool
ipc_space_init (struct hostmach_task *task)
{
    task->buckets = ipc_alloc_for (task, FIRST_BUCKETS * sizeof *task->buckets);
    if (task->buckets == NULL)
        return false;
    memset (task->buckets, 0, FIRST_BUCKETS * sizeof *task->buckets);
    task->bucket_count = FIRST_BUCKETS;
    return true;
}

void
ipc_space_free (struct hostmach_task *task)
{
    assert (task->entry_count == 0);
    ipc_free (task->buckets);
    ipc_free (task->used);
    task->buckets = NULL;
    task->used = NULL;
    task->bucket_count = task->used_words = 0;
}

struct ipc_entry *
ipc_entry_lookup (const struct hostmach_task *task, mach_port_name_t name)
{
    struct ipc_entry *entry = task->buckets[bucket_of (task, name)];
    while (entry != NULL && entry->name != name)
        entry = entry->hash_next;
    return entry;
}

static void
hash_insert (struct hostmach_task *task, struct ipc_entry *entry)
{
    struct ipc_entry **bucket = &task->buckets[bucket_of (task, entry->name)];
    entry->hash_next = *bucket;
    *bucket = entry;
}

static void
hash_remove (struct hostmach_task *task, struct ipc_entry *entry)
{
    struct ipc_entry **at = &task->buckets[bucket_of (task, entry->name)];
    while (*at != entry)
        at = &(*at)->hash_next;
    *at = entry->hash_next;
}

/* Longer chains are the only consequence of a failure. */
static void
hash_grow (struct hostmach_task *task)
{
    size_t old_count = task->bucket_count, count = old_count * 4;
    struct ipc_entry **old = task->buckets;
    struct ipc_entry **buckets = ipc_alloc_for (task, count * sizeof *buckets);
    if (buckets == NULL)
        return;
    memset (buckets, 0, count * sizeof *buckets);
    task->buckets = buckets;
    task->bucket_count = count;
    for (size_t i = 0; i < old_count; i++)
        for (struct ipc_entry *entry = old[i], *next; entry != NULL; entry = next) {
            next = entry->hash_next;
            hash_insert (task, entry);
        }
    ipc_free (old);
}

static void
mark (struct hostmach_task *task, mach_port_name_t name, bool taken)
{
    if (name < IPC_NAME_FIRST)
        return;
    size_t index = name - IPC_NAME_FIRST;
    if (index / 64 >= task->used_words)
        return;
    uint64_t bit = UINT64_C (1) << (index % 64);
    if (taken) {
        task->used[index / 64] |= bit;
    } else {
        task->used[index / 64] &= ~bit;
        if (index / 64 < task->used_first_free)
            task->used_first_free = index / 64;
    }
}

static kern_return_t
choose_name (struct hostmach_task *task, mach_port_name_t *name)
{
    for (size_t word = task->used_first_free;; word++) {
        if (word == task->used_words) {
            size_t words = task->used_words == 0 ? 4 : task->used_words * 2;
            if (words * 64 > IPC_NAMES_MAX)
                return KERN_NO_SPACE;
            uint64_t *used = ipc_alloc_for (task, words * sizeof *used);
            if (used == NULL)
                return KERN_RESOURCE_SHORTAGE;
            memset (used, 0, words * sizeof *used);
            if (task->used != NULL)
                memcpy (used, task->used, task->used_words * sizeof *used);
            ipc_free (task->used);
            task->used = used;
            task->used_words = words;
        }
        task->used_first_free = word;
        while (task->used[word] != UINT64_MAX) {
            size_t bit = (size_t) __builtin_ctzll (~task->used[word]);
            mach_port_name_t candidate = IPC_NAME_FIRST + (mach_port_name_t) (word * 64 + bit);
            if (ipc_entry_lookup (task, candidate) == NULL) {
                *name = candidate;
                return KERN_SUCCESS;
            }
            task->used[word] |= UINT64_C (1) << bit; /* taken by name, before the bitmap reached it */
        }
    }
}

static kern_return_t
entry_new (struct hostmach_task *task, mach_port_name_t name, struct ipc_entry **out)
{
    struct ipc_entry *entry = ipc_alloc_for (task, sizeof *entry);
    if (entry == NULL)
        return KERN_RESOURCE_SHORTAGE;
    memset (entry, 0, sizeof *entry);
    entry->name = name;
    entry->task = task;
    if (task->entry_count >= task->bucket_count * 2)
        hash_grow (task);
    hash_insert (task, entry);
    task->entry_count++;
    mark (task, name, true);
    *out = entry;
    return KERN_SUCCESS;
}

kern_return_t
ipc_entry_alloc (struct hostmach_task *task, struct ipc_entry **entry)
{
    mach_port_name_t name;
    kern_return_t kr = choose_name (task, &name);
    return kr != KERN_SUCCESS ? kr : entry_new (task, name, entry);
}

static bool
name_taken (const struct hostmach_task *task, mach_port_name_t name)
{
    return name == IPC_NAME_TASK_SELF || name == IPC_NAME_HOST_SELF || ipc_entry_lookup (task, name) != NULL;
}

kern_return_t
ipc_entry_alloc_name (struct hostmach_task *task, mach_port_name_t name, struct ipc_entry **entry)
{
    return name_taken (task, name) ? KERN_NAME_EXISTS : entry_new (task, name, entry);
}

kern_return_t
ipc_entry_rename (struct ipc_entry *entry, mach_port_name_t name)
{
    struct hostmach_task *task = entry->task;
    if (name_taken (task, name))
        return KERN_NAME_EXISTS;
    hash_remove (task, entry);
    mark (task, entry->name, false);
    entry->name = name;
    hash_insert (task, entry);
    mark (task, name, true);
    return KERN_SUCCESS;
}

void
ipc_entry_dealloc (struct ipc_entry *entry)
{
    struct hostmach_task *task = entry->task;
    assert (entry->dnrequest == NULL);
    hash_remove (task, entry);
    mark (task, entry->name, false);
    task->entry_count--;
    ipc_free (entry);
}
