/* demo_records.c - rewriting in place, side by side, and knowing at every moment what must be read.

   What is in which block is known here, in plain memory, never by reading it back.  Records have one writer each and are
   read without any lock; counters are written by all, in turns; stripes only cross each other within pages.  */

#include "demo.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define RECORDS 320u                /* of one block each; record r is written by machine r % MACHINES alone */
#define COUNTERS 40u                /* of one block each; written by all, in turns */
#define RECORD_OPERATIONS 4000u     /* by each machine */
#define COUNTER_INCREMENTS 800u     /* by each machine */

#define RECORDS_FILE "records"
#define COUNTERS_FILE "counters"

/* A block that says whose it is; every word of it depends on all three numbers.  */
struct record {
    uint32_t index, version, writer;
    uint32_t fill[BLOCK_SIZE / 4 - 3];
};
_Static_assert(sizeof(struct record) == BLOCK_SIZE, "a record is a block");

static uint32_t fill_word(uint32_t index, uint32_t version, uint32_t writer, uint32_t i)
{
    uint32_t x = index * 2654435761u ^ version * 2246822519u ^ writer * 3266489917u ^ i * 668265263u;
    return (x ^ x >> 15) * 2654435761u;
}

static void record_make(struct record *record, uint32_t index, uint32_t version, uint32_t writer)
{
    record->index = index;
    record->version = version;
    record->writer = writer;
    for (uint32_t i = 0; i < BLOCK_SIZE / 4 - 3; i++)
        record->fill[i] = fill_word(index, version, writer, i);
}

static int record_is_whole(const struct record *record, uint32_t index)
{
    struct record expected;
    record_make(&expected, index, record->version, record->writer);
    return memcmp(record, &expected, sizeof expected) == 0;
}

static uint32_t random_below(struct machine *machine, uint32_t bound)
{
    machine->random ^= machine->random << 13;
    machine->random ^= machine->random >> 7;
    machine->random ^= machine->random << 17;
    return (uint32_t) (machine->random >> 33) % bound;
}


/* ---- Records and counters ---- */

/* The version that a writer was about to write when it began, and the one it had written when it was done.  A read must
   see at least what was published before it began, and at most what was started before it ended.  */
static atomic_uint started[RECORDS], published[RECORDS];

static uint32_t counters[COUNTERS];
static uint32_t counter_writers[COUNTERS];
static pthread_mutex_t counter_turns[COUNTERS];

static void step_make_records(struct machine *machine)
{
    static struct record record;
    ext2_ino_t inode;
    if (failed(machine, "open", "the file system", ext2_open(machine->name, 1, &machine->fs)))
        return;
    if (!failed(machine, "make", RECORDS_FILE, ext2_make_file(machine->fs, NEW_FOLDER, RECORDS_FILE, &inode)))
        for (uint32_t i = 0; i < RECORDS; i++) {
            record_make(&record, i, 0, i % MACHINES);
            failed(machine, "write", RECORDS_FILE,
                   ext2_pwrite(machine->fs, inode, &record, BLOCK_SIZE, (size_t) i * BLOCK_SIZE));
        }
    if (!failed(machine, "make", COUNTERS_FILE, ext2_make_file(machine->fs, NEW_FOLDER, COUNTERS_FILE, &inode)))
        for (uint32_t i = 0; i < COUNTERS; i++) {
            record_make(&record, i, 0, 0);
            failed(machine, "write", COUNTERS_FILE,
                   ext2_pwrite(machine->fs, inode, &record, BLOCK_SIZE, (size_t) i * BLOCK_SIZE));
        }
    machine_close(machine);
}

static int read_record(struct machine *machine, ext2_ino_t inode, const char *path, uint32_t index,
                       struct record *record)
{
    size_t got;
    if (failed(machine, "read", path,
               ext2_pread(machine->fs, inode, record, BLOCK_SIZE, (size_t) index * BLOCK_SIZE, &got)))
        return 0;
    atomic_fetch_add(&demo.checked_bytes, got);
    if (got == BLOCK_SIZE && record_is_whole(record, index))
        return 1;
    complain(machine, "%s: record %u is torn: says index %u, version %u, writer %u", path, index, record->index,
             record->version, record->writer);
    return 0;
}

static void check_record(struct machine *machine, ext2_ino_t inode, uint32_t index)
{
    struct record record;
    uint32_t oldest = atomic_load(&published[index]);
    if (!read_record(machine, inode, RECORDS_FILE, index, &record))
        return;
    uint32_t newest = atomic_load(&started[index]);
    if (record.version < oldest || record.version > newest)
        complain(machine, "record %u is at version %u; it must be %u to %u", index, record.version, oldest, newest);
}

static void write_record(struct machine *machine, ext2_ino_t inode, uint32_t index)
{
    struct record record;
    uint32_t version = atomic_fetch_add(&started[index], 1) + 1;
    record_make(&record, index, version, machine->number);
    failed(machine, "write", RECORDS_FILE,
           ext2_pwrite(machine->fs, inode, &record, BLOCK_SIZE, (size_t) index * BLOCK_SIZE));
    atomic_store(&published[index], version);
}

static void increment_counter(struct machine *machine, ext2_ino_t inode, uint32_t index)
{
    struct record record;
    pthread_mutex_lock(&counter_turns[index]);
    if (read_record(machine, inode, COUNTERS_FILE, index, &record)) {
        if (record.version != counters[index] || record.writer != counter_writers[index])
            complain(machine, "counter %u is at %u, by %u; it must be %u, by %u", index, record.version,
                     record.writer, counters[index], counter_writers[index]);
        record_make(&record, index, ++counters[index], counter_writers[index] = machine->number);
        failed(machine, "write", COUNTERS_FILE,
               ext2_pwrite(machine->fs, inode, &record, BLOCK_SIZE, (size_t) index * BLOCK_SIZE));
    }
    pthread_mutex_unlock(&counter_turns[index]);
}

/* Rewrite this machine's next stripe of the large file: every fifth block, so that most pages have several writers.  */
static void write_stripe(struct machine *machine, ext2_ino_t inode, uint32_t block)
{
    struct record record;
    record_make(&record, block, 1, machine->number);
    failed(machine, "write", LARGE_FILE,
           ext2_pwrite(machine->fs, inode, &record, BLOCK_SIZE, (size_t) block * BLOCK_SIZE));
}

static void step_rewrite(struct machine *machine)
{
    ext2_ino_t records_inode, counters_inode, large_inode;
    uint32_t block = machine->number;
    machine_open(machine);
    if (machine->fs == NULL
        || failed(machine, "find", RECORDS_FILE, ext2_find(machine->fs, NEW_FOLDER "/" RECORDS_FILE, &records_inode))
        || failed(machine, "find", COUNTERS_FILE, ext2_find(machine->fs, NEW_FOLDER "/" COUNTERS_FILE, &counters_inode))
        || failed(machine, "find", LARGE_FILE, ext2_find(machine->fs, LARGE_FILE, &large_inode)))
        return;
    for (uint32_t i = 0; i < RECORD_OPERATIONS && !demo.failures; i++) {
        if (random_below(machine, 3) == 0)
            write_record(machine, records_inode,
                         random_below(machine, RECORDS / MACHINES) * MACHINES + machine->number);
        else
            check_record(machine, records_inode, random_below(machine, RECORDS));
        if (i % (RECORD_OPERATIONS / COUNTER_INCREMENTS) == 0)
            increment_counter(machine, counters_inode, random_below(machine, COUNTERS));
        for (; block < STRIPED_BLOCKS && block <= (uint64_t) STRIPED_BLOCKS * (i + 1) / RECORD_OPERATIONS;
             block += MACHINES)
            write_stripe(machine, large_inode, block);
        atomic_fetch_add(&demo.done, 1);
    }
    for (; block < STRIPED_BLOCKS && !demo.failures; block += MACHINES)
        write_stripe(machine, large_inode, block);
    machine_close(machine);
}

static void step_compare_rewritten(struct machine *machine)
{
    machine_open(machine);
    if (machine->fs == NULL)
        return;
    compare_file(machine, NEW_FOLDER "/" RECORDS_FILE);
    compare_file(machine, NEW_FOLDER "/" COUNTERS_FILE);
    compare_file(machine, LARGE_FILE);
    machine_close(machine);
}

void phase_rewriting(void)
{
    struct record record;
    demo.total = RECORD_OPERATIONS * MACHINES;
    for (uint32_t i = 0; i < COUNTERS; i++)
        pthread_mutex_init(&counter_turns[i], NULL);
    run_on_one(0, step_make_records);
    run_on_all(step_rewrite);

    for (uint32_t i = 0; i < RECORDS; i++) {
        record_make(&record, i, published[i], i % MACHINES);
        write_host(NEW_FOLDER "/" RECORDS_FILE, &record, BLOCK_SIZE, (size_t) i * BLOCK_SIZE);
    }
    for (uint32_t i = 0; i < COUNTERS; i++) {
        record_make(&record, i, counters[i], counter_writers[i]);
        write_host(NEW_FOLDER "/" COUNTERS_FILE, &record, BLOCK_SIZE, (size_t) i * BLOCK_SIZE);
        pthread_mutex_destroy(&counter_turns[i]);
    }
    for (uint32_t i = 0; i < STRIPED_BLOCKS; i++) {
        record_make(&record, i, 1, i % MACHINES);
        write_host(LARGE_FILE, &record, BLOCK_SIZE, (size_t) i * BLOCK_SIZE);
    }
    run_on_all(step_compare_rewritten);
}
