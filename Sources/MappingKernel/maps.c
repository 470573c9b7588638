/* maps.c - the process's mappings by address: a sorted table, searched by halving.

   A fault looks up once under the reader's lock; inserting and removing move the entries behind.  Mappings never overlap. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Readers never nest, and faults never end: writers first. */
pthread_rwlock_t mk_maps_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

static struct mk_mapping **table;
static size_t count, room;

size_t mk_maps_index(vm_address_t address)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table[middle]->end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct mk_mapping *mk_maps_at(size_t index)
{
    return index < count ? table[index] : NULL;
}

struct mk_mapping *mk_maps_find(vm_address_t address)
{
    struct mk_mapping *mapping = mk_maps_at(mk_maps_index(address));
    return mapping != NULL && mapping->start <= address ? mapping : NULL;
}

bool mk_maps_reserve(size_t more)
{
    if (count + more <= room)
        return true;
    size_t wanted = room == 0 ? 64 : room * 2;
    struct mk_mapping **larger = realloc(table, wanted * sizeof *larger);
    if (larger == NULL)
        return false;
    table = larger;
    room = wanted;
    return true;
}

bool mk_maps_insert(struct mk_mapping *mapping)
{
    if (!mk_maps_reserve(1))
        return false;
    size_t index = mk_maps_index(mapping->start);
    memmove(&table[index + 1], &table[index], (count - index) * sizeof *table);
    table[index] = mapping;
    count++;
    return true;
}

void mk_maps_remove(size_t index)
{
    count--;
    memmove(&table[index], &table[index + 1], (count - index) * sizeof *table);
}

bool mk_maps_lock_object(vm_address_t address, struct mk_object **object, mk_index *index)
{
    pthread_rwlock_rdlock(&mk_maps_lock);
    struct mk_mapping *mapping = mk_maps_find(address);
    if (mapping != NULL) {
        *object = mapping->object;
        pthread_mutex_lock(&(*object)->lock);
        *index = mapping->first + ((address - mapping->start) >> MK_PAGE_SHIFT);
    }
    pthread_rwlock_unlock(&mk_maps_lock);
    return mapping != NULL;
}
