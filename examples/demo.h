/* demo.h - what the demo's parts share.

   imagepager_demo IMAGE TREE: IMAGE is an ext2 file system made of the folder TREE.  Five kernels map the image,
   read it and write into it, by page faults.  What they write into the image is written into TREE as well, straight from memory, so
   that afterwards the two must be equal.  */

#ifndef DEMO_H
#define DEMO_H

#include <stdatomic.h>
#include <stdint.h>

#include "ext2_files.h"
#include "imagepager.h"
#include "mapped_io.h"

#define MACHINES 5

/* TREE must have these: a file of at least STRIPED_BLOCKS blocks without holes, one that is mostly holes, and a folder to
   put files into.  */
#define LARGE_FILE "generated/large"
#define STRIPED_BLOCKS 4096u
#define SPARSE_FILE "generated/sparse"
#define NEW_FOLDER "generated"

/* Of the file system, in bytes: several blocks share a page, so machines meet in pages even where they do not in blocks.  */
#define BLOCK_SIZE 1024u

/* One computer: a kernel that has mapped the image, and the file system code that runs on it.  */
struct machine {
    unsigned number;                /* from 0 */
    char name[16];
    mk_kernel *kernel;
    struct mapped image;            /* the image, as the kernel maps it */
    ext2_filsys fs;                 /* open between steps, or NULL */
    uint64_t random;                /* state of its random numbers */
};

struct tree_file {
    char *path;                     /* below TREE */
    size_t size;
};

struct demo {
    const char *tree;
    struct pager *pager;
    struct machine machines[MACHINES];
    struct tree_file *files;        /* what TREE had at the start */
    size_t file_count;
    atomic_ulong done, total;       /* how far the present phase is */
    atomic_ulong checked_bytes;     /* compared with what they must be */
    atomic_int failures;
};
extern struct demo demo;

/* Say what went wrong on MACHINE (NULL: in general) and count it.  */
__attribute__((format(printf, 2, 3)))
void complain(const struct machine *machine, const char *format, ...);

/* Count and say an error of libext2fs; returns whether there was one.  */
int failed(const struct machine *machine, const char *what, const char *path, errcode_t error);

/* Run STEP on every machine side by side, or on one, and wait for it.  */
void run_on_all(void (*step)(struct machine *));
void run_on_one(unsigned number, void (*step)(struct machine *));


/* ---- demo_tree.c: the folder on the host ---- */

/* Make the list of TREE's files.  0 or an errno.  */
int list_tree(void);
void free_tree(void);

/* Open or write a file of TREE; PATH is relative to it.  Complain about errors; open_host then returns -1.  */
int open_host(const char *path, int flags);
void write_host(const char *path, const void *data, size_t length, size_t offset);

/* Open and close MACHINE's file system, without bitmaps.  MACHINE->fs is NULL if that fails.  */
void machine_open(struct machine *machine);
void machine_close(struct machine *machine);

/* Read the file PATH through MACHINE's kernel and compare it, to its end, with TREE's.  */
void compare_file(struct machine *machine, const char *path);


/* ---- The phases ---- */

/* demo_tree.c.  Read every file and compare it with TREE's.  */
void phase_reading(void);

/* demo_records.c.  Side by side: rewrite records and stripes in place, read what the others write, never see anything old.  */
void phase_rewriting(void);

/* demo_turns.c.  In turns: make, grow, remove files; the others read at once what is new.  */
void phase_creating(void);


/* ---- demo_report.c: what the people see ---- */

void report_start(void);                /* the progress line begins */
void report_phase(const char *name);    /* a phase begins; the one before it ends */
void report_end(void);                  /* the last one ends, and the progress line; the pager is still there */
void report_table(double seconds);      /* the kernels are still there */

#endif
