/* imagemount.c - mapped memory as files: programs that know nothing of kernels and pagers read and write a paged image.

   usage: imagemount [-k KERNELS] [-c CACHE_PAGES] IMAGE FOLDER

   IMAGE is a memory object (imagepager.c); KERNELS kernels (2) map it, each with at most CACHE_PAGES pages in memory (0: no limit).
   FOLDER/kernel-1, FOLDER/kernel-2 ... are the image as each kernel has it, by FUSE: reading such a file is a copy out of
   that kernel's mapping, with page faults, and writing is a copy into it.  So `e2fsck FOLDER/kernel-1' checks and
   repairs through one kernel, and what it writes is at once in FOLDER/kernel-2.  fsync is pager_sync.  Runs until FOLDER is unmounted
   (umount, fusermount3 -u) or a signal ends it; then everything is written back.  Exit status 0: nothing was lost.  */

#define FUSE_USE_VERSION 31

#include <errno.h>
#include <fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pager/extensions.h>

#include "imagepager.h"
#include "mapped_io.h"

#define KERNELS_MAX 8

static struct pager *pager;
static struct mapped mappings[KERNELS_MAX];
static mk_kernel *kernels[KERNELS_MAX];
static unsigned kernel_count = 2;
static size_t cache_pages;


/* ---- What FUSE asks; a negative errno is an error ---- */

/* The names of mappings are the names of files.  */
static struct mapped *file_at(const char *path)
{
    for (unsigned i = 0; i < kernel_count; i++)
        if (path[0] == '/' && strcmp(path + 1, mappings[i].name) == 0)
            return &mappings[i];
    return NULL;
}

static int get_attributes(const char *path, struct stat *status, struct fuse_file_info *info)
{
    (void) info;
    memset(status, 0, sizeof *status);
    status->st_uid = getuid();
    status->st_gid = getgid();
    if (strcmp(path, "/") == 0) {
        status->st_mode = S_IFDIR | 0555;
        status->st_nlink = 2;
        return 0;
    }
    struct mapped *file = file_at(path);
    if (file == NULL)
        return -ENOENT;
    status->st_mode = S_IFREG | 0600;
    status->st_nlink = 1;
    status->st_size = (off_t) file->size;
    status->st_blocks = (blkcnt_t) (file->size / 512);
    return 0;
}

static int read_folder(const char *path, void *entries, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *info,
                       enum fuse_readdir_flags flags)
{
    (void) offset, (void) info, (void) flags;
    if (strcmp(path, "/") != 0)
        return -ENOTDIR;
    fill(entries, ".", NULL, 0, 0);
    fill(entries, "..", NULL, 0, 0);
    for (unsigned i = 0; i < kernel_count; i++)
        fill(entries, mappings[i].name, NULL, 0, 0);
    return 0;
}

/* Linux is not to keep pages of its own: other kernels write into the image.  */
static int open_file(const char *path, struct fuse_file_info *info)
{
    struct mapped *file = file_at(path);
    if (file == NULL)
        return -ENOENT;
    info->fh = (uint64_t) (uintptr_t) file;
    info->direct_io = 1;
    return 0;
}

/* How many of LENGTH bytes at OFFSET there are.  */
static size_t available(struct mapped *file, size_t length, off_t offset)
{
    if (offset < 0 || (size_t) offset >= file->size)
        return 0;
    return file->size - (size_t) offset < length ? file->size - (size_t) offset : length;
}

static int read_some(const char *path, char *data, size_t length, off_t offset, struct fuse_file_info *info)
{
    (void) path;
    struct mapped *file = (struct mapped *) (uintptr_t) info->fh;
    size_t count = available(file, length, offset);
    error_t error = count ? mapped_read(file, (size_t) offset, data, count) : 0;
    return error ? -error : (int) count;
}

static int write_some(const char *path, const char *data, size_t length, off_t offset, struct fuse_file_info *info)
{
    (void) path;
    struct mapped *file = (struct mapped *) (uintptr_t) info->fh;
    size_t count = available(file, length, offset);
    error_t error = count ? mapped_write(file, (size_t) offset, data, count) : length ? ENOSPC : 0;
    return error ? -error : (int) count;
}

static int synchronize(const char *path, int data_only, struct fuse_file_info *info)
{
    (void) path, (void) data_only, (void) info;
    return -image_sync(pager);
}

/* A disk has the size that it has.  */
static int truncate_file(const char *path, off_t size, struct fuse_file_info *info)
{
    (void) info;
    struct mapped *file = file_at(path);
    return file == NULL ? -ENOENT : (size_t) size == file->size ? 0 : -EPERM;
}

static const struct fuse_operations operations = {
    .getattr = get_attributes,
    .readdir = read_folder,
    .open = open_file,
    .read = read_some,
    .write = write_some,
    .fsync = synchronize,
    .truncate = truncate_file,
};


/* ---- Starting and stopping ---- */

static int give_up(const char *what, int error)
{
    fprintf(stderr, "imagemount: %s: %s\n", what, strerror(error));
    return 1;
}

static int map_kernel(unsigned i, size_t size)
{
    char name[32];
    snprintf(name, sizeof name, "kernel-%u", i + 1);
    kernels[i] = mk_kernel_create(name, cache_pages);
    if (kernels[i] == NULL) {
        fprintf(stderr, "imagemount: no page faults here: %s\n", mk_explain(errno));
        return 1;
    }
    error_t error = mapped_open(&mappings[i], name, kernels[i], pager, size, image_sync);
    return error ? give_up("vm_map", error) : 0;
}

/* Unmapping returns what is dirty; closing waits until all of it is written.  */
static int stop(struct pager_requests *requests, struct port_bucket *bucket)
{
    for (unsigned i = 0; i < kernel_count; i++) {
        struct mk_statistics figures;
        mk_get_statistics(kernels[i], &figures);
        printf("%s: %llu page faults, %llu pages supplied, %llu unlocks, %llu returned, %llu evictions\n", mappings[i].name,
               (unsigned long long) figures.faults, (unsigned long long) figures.supplied_pages,
               (unsigned long long) figures.unlocks, (unsigned long long) figures.returned_pages,
               (unsigned long long) figures.evictions);
        mapped_close(&mappings[i]);
    }
    error_t error = image_close(pager);
    for (unsigned i = 0; i < kernel_count; i++)
        mk_kernel_destroy(kernels[i]);
    pager_stop_workers(requests);
    ports_destroy_bucket(bucket);
    return error ? give_up("the image could not be written", error) : 0;
}

/* Until FOLDER is unmounted or a signal comes.  In this process: threads and mappings would not survive a fork.  */
static int serve(char *folder)
{
    char *words[] = { "imagemount", "-o", "fsname=imagemount", NULL };
    struct fuse_args arguments = FUSE_ARGS_INIT(3, words);
    struct fuse *fuse = fuse_new(&arguments, &operations, sizeof operations, NULL);
    int failed = 1;
    if (fuse == NULL)
        return 1;
    if (fuse_mount(fuse, folder) == 0) {
        fuse_set_signal_handlers(fuse_get_session(fuse));
        failed = fuse_loop_mt(fuse, 0) < 0;
        fuse_remove_signal_handlers(fuse_get_session(fuse));
        fuse_unmount(fuse);
    }
    fuse_destroy(fuse);
    fuse_opt_free_args(&arguments);
    return failed;
}

static int usage(void)
{
    fprintf(stderr, "usage: imagemount [-k KERNELS] [-c CACHE_PAGES] IMAGE FOLDER\n");
    return 2;
}

int main(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "k:c:")) != -1)
        switch (option) {
        case 'k': kernel_count = (unsigned) strtoul(optarg, NULL, 10); break;
        case 'c': cache_pages = strtoul(optarg, NULL, 10); break;
        default: return usage();
        }
    if (argc - optind != 2 || kernel_count < 1 || kernel_count > KERNELS_MAX)
        return usage();

    int error;
    struct pager_requests *requests;
    struct image_counts counts;
    struct port_bucket *bucket = ports_create_bucket();
    if (bucket == NULL)
        return give_up("ports_create_bucket", errno);
    if ((error = pager_start_workers(bucket, &requests)) != 0)
        return give_up("pager_start_workers", error);
    if ((error = image_create(argv[optind], bucket, &pager)) != 0)
        return give_up(argv[optind], error);
    pager_set_concurrent_reads(pager, 4);
    image_get_counts(pager, &counts);
    for (unsigned i = 0; i < kernel_count; i++)
        if (map_kernel(i, counts.size) != 0)
            return 1;

    int failed = serve(argv[optind + 1]);
    return stop(requests, bucket) || failed ? 1 : 0;
}
