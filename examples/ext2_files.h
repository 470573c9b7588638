/* ext2_files.h - files of an ext2 file system by path, with libext2fs.

   Paths are relative to the root, without a leading slash.  Offsets and lengths are in bytes.  A file system handle
   belongs to one thread at a time; it caches inodes and bitmaps, so after somebody else changed these, open again.
   All functions return 0 or an error of libext2fs (error_message, <com_err.h>).  */

#ifndef EXT2_FILES_H
#define EXT2_FILES_H

#include <stddef.h>

#include <ext2fs/ext2fs.h>

/* Open the file system behind NAME, which is a mapping (mapped_open).  ALLOCATE: bitmaps are read too, for the functions that
   create, grow or remove.  */
errcode_t ext2_open(const char *name, int allocate, ext2_filsys *fs);

/* Write what has changed of the superblock, bitmaps and inodes; free FS, also on error.  */
errcode_t ext2_close(ext2_filsys fs);

errcode_t ext2_find(ext2_filsys fs, const char *path, ext2_ino_t *inode);

/* Read or write at OFFSET.  *GOT is less than LENGTH only at the end of the file.  Writing in place, within blocks that
   the file has, changes nothing else; writing elsewhere allocates.  */
errcode_t ext2_pread(ext2_filsys fs, ext2_ino_t inode, void *data, size_t length, size_t offset, size_t *got);
errcode_t ext2_pwrite(ext2_filsys fs, ext2_ino_t inode, const void *data, size_t length, size_t offset);

/* Make the folder or the empty file NAME in the folder DIRECTORY ("": the root).  */
errcode_t ext2_make_folder(ext2_filsys fs, const char *directory, const char *name);
errcode_t ext2_make_file(ext2_filsys fs, const char *directory, const char *name, ext2_ino_t *inode);

/* Remove the file NAME, with its blocks.  */
errcode_t ext2_remove(ext2_filsys fs, const char *directory, const char *name);

#endif
