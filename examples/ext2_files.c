/* ext2_files.c - the few calls of libext2fs that it takes to use a file by path.

   No handle on a file outlives a call: libext2fs keeps a file's current block in the handle, and would not
   look again what others have made of it.  */

#include "ext2_files.h"

#include <string.h>
#include <time.h>

#include "mapped_io.h"

/* Most bytes that one call of libext2fs is asked for.  */
#define CHUNK_BYTES (1u << 20)

errcode_t ext2_open(const char *name, int allocate, ext2_filsys *fs)
{
    errcode_t error = ext2fs_open(name, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, mapped_io_manager, fs);
    if (!error && allocate) {
        error = ext2fs_read_bitmaps(*fs);
        if (error)
            ext2fs_free(*fs);
    }
    if (error)
        *fs = NULL;
    return error;
}

errcode_t ext2_close(ext2_filsys fs)
{
    errcode_t error = ext2fs_close(fs);
    if (error)
        ext2fs_free(fs);
    return error;
}

errcode_t ext2_find(ext2_filsys fs, const char *path, ext2_ino_t *inode)
{
    return ext2fs_namei(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, *path ? path : ".", inode);
}

errcode_t ext2_pread(ext2_filsys fs, ext2_ino_t inode, void *data, size_t length, size_t offset, size_t *got)
{
    ext2_file_t file;
    errcode_t error = ext2fs_file_open(fs, inode, 0, &file);
    *got = 0;
    if (error)
        return error;
    error = ext2fs_file_llseek(file, offset, EXT2_SEEK_SET, NULL);
    while (!error && *got < length) {
        unsigned part = 0;
        size_t wanted = length - *got < CHUNK_BYTES ? length - *got : CHUNK_BYTES;
        error = ext2fs_file_read(file, (char *) data + *got, (unsigned) wanted, &part);
        *got += part;
        if (part == 0)
            break;
    }
    ext2fs_file_close(file);
    return error;
}

errcode_t ext2_pwrite(ext2_filsys fs, ext2_ino_t inode, const void *data, size_t length, size_t offset)
{
    ext2_file_t file;
    errcode_t error = ext2fs_file_open(fs, inode, EXT2_FILE_WRITE, &file);
    if (error)
        return error;
    error = ext2fs_file_llseek(file, offset, EXT2_SEEK_SET, NULL);
    for (size_t done = 0; !error && done < length;) {
        unsigned part = 0;
        size_t wanted = length - done < CHUNK_BYTES ? length - done : CHUNK_BYTES;
        error = ext2fs_file_write(file, (const char *) data + done, (unsigned) wanted, &part);
        done += part;
    }
    errcode_t close_error = ext2fs_file_close(file);
    return error ? error : close_error;
}


/* ---- Names ---- */

errcode_t ext2_make_folder(ext2_filsys fs, const char *directory, const char *name)
{
    ext2_ino_t parent;
    errcode_t error = ext2_find(fs, directory, &parent);
    if (error)
        return error;
    error = ext2fs_mkdir(fs, parent, 0, name);
    if (error == EXT2_ET_DIR_NO_SPACE) {
        error = ext2fs_expand_dir(fs, parent);
        if (!error)
            error = ext2fs_mkdir(fs, parent, 0, name);
    }
    return error;
}

errcode_t ext2_make_file(ext2_filsys fs, const char *directory, const char *name, ext2_ino_t *inode)
{
    ext2_ino_t parent;
    errcode_t error = ext2_find(fs, directory, &parent);
    if (!error)
        error = ext2fs_new_inode(fs, parent, LINUX_S_IFREG | 0644, NULL, inode);
    if (error)
        return error;
    error = ext2fs_link(fs, parent, name, *inode, EXT2_FT_REG_FILE);
    if (error == EXT2_ET_DIR_NO_SPACE) {
        error = ext2fs_expand_dir(fs, parent);
        if (!error)
            error = ext2fs_link(fs, parent, name, *inode, EXT2_FT_REG_FILE);
    }
    if (error)
        return error;
    ext2fs_inode_alloc_stats2(fs, *inode, +1, 0);

    struct ext2_inode contents;
    memset(&contents, 0, sizeof contents);
    contents.i_mode = LINUX_S_IFREG | 0644;
    contents.i_links_count = 1;
    contents.i_atime = contents.i_ctime = contents.i_mtime = (__u32) time(NULL);
    return ext2fs_write_new_inode(fs, *inode, &contents);
}

errcode_t ext2_remove(ext2_filsys fs, const char *directory, const char *name)
{
    ext2_ino_t parent, inode;
    struct ext2_inode contents;
    errcode_t error = ext2_find(fs, directory, &parent);
    if (!error)
        error = ext2fs_namei(fs, EXT2_ROOT_INO, parent, name, &inode);
    if (!error)
        error = ext2fs_read_inode(fs, inode, &contents);
    if (!error)
        error = ext2fs_unlink(fs, parent, name, inode, 0);
    if (error)
        return error;
    contents.i_links_count = 0;
    contents.i_dtime = (__u32) time(NULL);
    error = ext2fs_write_inode(fs, inode, &contents);
    if (!error)
        error = ext2fs_punch(fs, inode, &contents, NULL, 0, ~0ULL);
    if (!error)
        ext2fs_inode_alloc_stats2(fs, inode, -1, 0);
    return error;
}
