/* replay.c - instead of libFuzzer: runs each file that is named, and all files of each folder, once.

   FUZZ_NAMES in the environment: each file's name is printed before it is run. */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

static unsigned runs;

static void replay_file(const char *path)
{
    static uint8_t bytes[1 << 16];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    if (getenv("FUZZ_NAMES"))
        printf("%s\n", path), fflush(stdout);
    /* A copy of its very size, so that what reads beyond it is seen by whoever looks. */
    uint8_t *copy = malloc(count + 1);
    memcpy(copy, bytes, count);
    LLVMFuzzerTestOneInput(copy, count);
    free(copy);
    runs++;
}

static void replay(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode))
        return replay_file(path);
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            replay(name);
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv)
{
    LLVMFuzzerInitialize(&argc, &argv);
    /* What is refused is logged, by the thousand. */
    if (!getenv("FUZZ_TRACE"))
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%u inputs, 0 failed\n", runs);
    return runs == 0;
}
