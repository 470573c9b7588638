/* demo_tree.c - the folder on the host, and the comparing of the kernels' files with it.  */

#define _XOPEN_SOURCE 700

#include "demo.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES 65536u

/* ---- The folder on the host ---- */

int open_host(const char *path, int flags)
{
    char full[4096];
    snprintf(full, sizeof full, "%s/%s", demo.tree, path);
    int file = open(full, flags | O_CLOEXEC, 0644);
    if (file < 0)
        complain(NULL, "%s: %s", full, strerror(errno));
    return file;
}

void write_host(const char *path, const void *data, size_t length, size_t offset)
{
    int file = open_host(path, O_WRONLY | O_CREAT);
    if (file >= 0 && pwrite(file, data, length, (off_t) offset) != (ssize_t) length)
        complain(NULL, "%s: cannot write", path);
    if (file >= 0)
        close(file);
}

static int add_file(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void) place;
    if (type != FTW_F || !S_ISREG(status->st_mode))
        return 0;
    if (demo.file_count % 256 == 0) {
        void *files = realloc(demo.files, (demo.file_count + 256) * sizeof *demo.files);
        if (files == NULL)
            return ENOMEM;
        demo.files = files;
    }
    struct tree_file *file = &demo.files[demo.file_count];
    file->path = strdup(path + strlen(demo.tree) + 1);
    file->size = (size_t) status->st_size;
    if (file->path == NULL)
        return ENOMEM;
    demo.file_count++;
    return 0;
}

int list_tree(void)
{
    int error = nftw(demo.tree, add_file, 16, FTW_PHYS);
    return error < 0 ? errno : error;
}

void free_tree(void)
{
    for (size_t i = 0; i < demo.file_count; i++)
        free(demo.files[i].path);
    free(demo.files);
}


/* ---- Opening and reading, on each machine ---- */

void machine_open(struct machine *machine)
{
    failed(machine, "open", "the file system", ext2_open(machine->name, 0, &machine->fs));
}

void machine_close(struct machine *machine)
{
    if (machine->fs != NULL)
        failed(machine, "close", "the file system", ext2_close(machine->fs));
    machine->fs = NULL;
}

void compare_file(struct machine *machine, const char *path)
{
    static _Thread_local char ours[READ_BYTES], theirs[READ_BYTES];
    ext2_ino_t inode;
    if (failed(machine, "find", path, ext2_find(machine->fs, path, &inode)))
        return;
    int file = open_host(path, O_RDONLY);
    size_t offset = 0, got = READ_BYTES;
    while (file >= 0 && got == READ_BYTES) {
        if (failed(machine, "read", path, ext2_pread(machine->fs, inode, ours, READ_BYTES, offset, &got)))
            break;
        ssize_t count = pread(file, theirs, READ_BYTES, (off_t) offset);
        if (count != (ssize_t) got || memcmp(ours, theirs, got) != 0) {
            complain(machine, "%s differs between %zu and %zu", path, offset, offset + READ_BYTES);
            break;
        }
        offset += got;
        atomic_fetch_add(&demo.checked_bytes, got);
    }
    if (file >= 0)
        close(file);
}

/* Each machine begins somewhere else, so that some ask for pages that others have and some for new ones.  */
static void step_read_tree(struct machine *machine)
{
    machine_open(machine);
    for (size_t i = 0; i < demo.file_count && machine->fs != NULL && !demo.failures; i++) {
        size_t index = (i + demo.file_count * machine->number / MACHINES) % demo.file_count;
        compare_file(machine, demo.files[index].path);
        atomic_fetch_add(&demo.done, demo.files[index].size);
    }
    machine_close(machine);
}

void phase_reading(void)
{
    size_t bytes = 0;
    for (size_t i = 0; i < demo.file_count; i++)
        bytes += demo.files[i].size;
    demo.total = bytes * MACHINES;
    run_on_all(step_read_tree);
}
