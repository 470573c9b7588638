/* console.c: the kernel's console as standard output and error; formatting is musl's.

   A line of printf and its like leaves whole: formatted first, written under one lock.  Nothing is read.  */

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#include <device/device.h>

enum { line_size = 1024 };

static mach_port_t console;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Never looked into: whichever stream is given, it is the console.  */
static char stream;
#undef stdout
#undef stderr
FILE *const stdout = (FILE *) &stream;
FILE *const stderr = (FILE *) &stream;

void bare_console_init(void)
{
    device_open(bare_device_port, D_READ | D_WRITE, "console", &console);
}

static void put(const char *text, size_t length)
{
    while (length > 0) {
        int written = 0;
        size_t piece = length < IO_INBAND_MAX ? length : IO_INBAND_MAX;
        if (device_write_inband(console, 0, 0, (char *) text, (mach_msg_type_number_t) piece, &written) != KERN_SUCCESS || written <= 0)
            return;
        text += written;
        length -= (size_t) written;
    }
}

void bare_write(const char *text, size_t length)
{
    pthread_mutex_lock(&lock);
    put(text, length);
    pthread_mutex_unlock(&lock);
}

ssize_t write(int file, const void *text, size_t length)
{
    (void) file;
    bare_write(text, length);
    return (ssize_t) length;
}

static int print(const char *format, va_list arguments)
{
    char line[line_size];
    int length = vsnprintf(line, sizeof line, format, arguments);
    if (length > 0)
        bare_write(line, (size_t) length < sizeof line ? (size_t) length : sizeof line - 1);
    return length;
}

int printf(const char *restrict format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = print(format, arguments);
    va_end(arguments);
    return length;
}

int fprintf(FILE *restrict file, const char *restrict format, ...)
{
    va_list arguments;
    (void) file;
    va_start(arguments, format);
    int length = print(format, arguments);
    va_end(arguments);
    return length;
}

int puts(const char *text)
{
    return printf("%s\n", text);
}

int fputs(const char *restrict text, FILE *restrict file)
{
    (void) file;
    bare_write(text, strlen(text));
    return 0;
}

int fputc(int byte, FILE *file)
{
    char text = (char) byte;
    (void) file;
    bare_write(&text, 1);
    return byte;
}

int putchar(int byte)
{
    return fputc(byte, stdout);
}

int fflush(FILE *file)
{
    (void) file;
    return 0;
}

/* musl's looks into the stream.  */
_Noreturn void __assert_fail(const char *condition, const char *file, int line, const char *function)
{
    printf("%s:%d: %s: assertion failed: %s\n", file, line, function, condition);
    abort();
}
