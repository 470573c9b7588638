/* demo_turns.c - what needs the file system's metadata: machines take turns, and the others look at once.  */

#include "demo.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TURNS 15u
#define NEW_FILE_BYTES 100000u

static unsigned turn;

static void new_path(char *path, size_t size, unsigned of_turn)
{
    snprintf(path, size, "%s/kernels/from-%u-turn-%u", NEW_FOLDER, of_turn % MACHINES, of_turn);
}

/* Make a file, fill a hole in the sparse one, and remove the file that this machine made in its last turn but one.  The file
   system is opened for the turn alone: the superblock, bitmaps and inodes come from whoever had the turn before.  */
static void step_turn(struct machine *machine)
{
    static char data[NEW_FILE_BYTES];
    char path[256];
    ext2_ino_t inode;
    new_path(path, sizeof path, turn);
    if (failed(machine, "open", "the file system", ext2_open(machine->name, 1, &machine->fs)))
        return;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char) (((turn + 1) * 2654435761u + (uint32_t) i * 2246822519u) >> 24);
    const char *name = strrchr(path, '/') + 1;
    if (turn == 0)
        failed(machine, "make", "kernels", ext2_make_folder(machine->fs, NEW_FOLDER, "kernels"));
    if (!failed(machine, "make", path, ext2_make_file(machine->fs, NEW_FOLDER "/kernels", name, &inode))
        && !failed(machine, "write", path, ext2_pwrite(machine->fs, inode, data, sizeof data, 0)))
        write_host(path, data, sizeof data, 0);

    size_t hole = (size_t) turn * 300000 + 12345;
    if (!failed(machine, "find", SPARSE_FILE, ext2_find(machine->fs, SPARSE_FILE, &inode))
        && !failed(machine, "write", SPARSE_FILE, ext2_pwrite(machine->fs, inode, data, 3000, hole)))
        write_host(SPARSE_FILE, data, 3000, hole);

    if (turn >= 2 * MACHINES) {
        char full[4096];
        new_path(path, sizeof path, turn - 2 * MACHINES);
        failed(machine, "remove", path, ext2_remove(machine->fs, NEW_FOLDER "/kernels", strrchr(path, '/') + 1));
        snprintf(full, sizeof full, "%s/%s", demo.tree, path);
        if (unlink(full) != 0)
            complain(machine, "%s: %s", full, strerror(errno));
    }
    machine_close(machine);
}

static void step_compare_new(struct machine *machine)
{
    char path[256];
    machine_open(machine);
    if (machine->fs == NULL)
        return;
    new_path(path, sizeof path, turn);
    compare_file(machine, path);
    compare_file(machine, SPARSE_FILE);
    machine_close(machine);
}

void phase_creating(void)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/%s/kernels", demo.tree, NEW_FOLDER);
    if (mkdir(folder, 0755) != 0)
        complain(NULL, "%s: %s", folder, strerror(errno));
    demo.total = TURNS;
    for (turn = 0; turn < TURNS && !demo.failures; turn++) {
        run_on_one(turn % MACHINES, step_turn);
        run_on_all(step_compare_new);
        atomic_fetch_add(&demo.done, 1);
    }
}
