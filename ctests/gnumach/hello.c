#include <stdio.h>
#include <pthread.h>
#include <string.h>
#include <stdlib.h>
#include <time.h>
#include <mach.h>
#include <bare/bare.h>
#include <errno.h>
#include "../../Sources/CPlatform/include/platform.h"
static _Thread_local int mine = 5;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turns;
static void *body(void *a) { mine += (int)(long)a; for (int i = 0; i < 200; i++) { pthread_mutex_lock(&lock); turns++; pthread_cond_broadcast(&cond); pthread_mutex_unlock(&lock); if (i % 50 == 0) sched_yield(); } return (void*)(long)mine; }
int main(int argc, char **argv)
{
    printf("hello %d %s page %lu\n", argc, argv[1] ? argv[1] : "-", (unsigned long) vm_page_size);
    struct bare_holdings h = bare_count();
    pthread_t t[4];
    for (long i = 0; i < 4; i++) printf("create %d\n", pthread_create(&t[i], 0, body, (void*)i));
    pthread_mutex_lock(&lock);
    while (turns < 800) pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
    for (long i = 0; i < 4; i++) { void *r; pthread_join(t[i], &r); printf("join %ld\n", (long)r); }
    struct timespec until; clock_gettime(CLOCK_MONOTONIC, &until); long s = until.tv_sec; until.tv_sec++;
    pthread_mutex_lock(&lock); printf("timed %d\n", pthread_cond_timedwait(&cond, &lock, &until) == ETIMEDOUT); pthread_mutex_unlock(&lock);
    clock_gettime(CLOCK_MONOTONIC, &until); printf("%ld s\n", (long)until.tv_sec - s);
    char buffer[100]; struct platform_fault f; memset(&f, 0, sizeof f);
    size_t n = platform_copy(buffer, (void*)0x40000000, 50, &f);
    printf("copied %u at %lx prot %d\n", (unsigned)n, (unsigned long)f.address, f.is_protection);
    nanosleep(&(struct timespec){0, 50000000}, 0);
    struct bare_holdings g = bare_count(); printf("names %d %d bytes %d\n", (int)(g.names - h.names), (int) (g.receive-h.receive), (int)(g.bytes-h.bytes));
    *(volatile int*)0x50000000 = 1;
    return 0;
}
