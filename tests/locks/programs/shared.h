/* Locks in memory that processes share, and processes that do one thing each, at the same time. */
#include "common.h"

#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

struct shared {
    pthread_mutex_t a, b;
    pthread_mutex_t ring[32];
    pthread_barrier_t together;
    atomic_int turn;
};
static struct shared *shared;

__attribute__((unused)) static void share_mutex(pthread_mutex_t *mutex, int robust) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (robust) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &attributes);
}

__attribute__((unused)) static void share(int processes) {
    pthread_barrierattr_t attributes;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    share_mutex(&shared->a, 0);
    share_mutex(&shared->b, 0);
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->together, &attributes, processes);
}

__attribute__((unused)) static pid_t start(void (*body)(long), long number) {
    pid_t child = fork();
    if (child == 0) {
        body(number);
        exit(0);
    }
    return child;
}

/* Processes that live at the same time, but do their work one after the other. */
__attribute__((unused)) static void in_turn(void (*body)(void), int number) {
    pthread_barrier_wait(&shared->together);
    while (atomic_load(&shared->turn) != number) usleep(200);
    body();
    atomic_fetch_add(&shared->turn, 1);
}
