/* A thread waits at each kind of thing; all are held by the first thread, which says when they do. */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t robust, inheriting, recursive, checking, of_condition, timed;
static pthread_mutex_t orphan = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t by_reader = PTHREAD_RWLOCK_INITIALIZER;
static pthread_rwlock_t by_writer = PTHREAD_RWLOCK_INITIALIZER;
static sem_t semaphore;
static pthread_t waiter;

static void *in_mutex(void *lock) { pthread_mutex_lock(lock); return NULL; }
static void *in_timed(void *lock) {
    struct timespec end = {time(NULL) + 3600, 0};
    pthread_mutex_timedlock(lock, &end);
    return NULL;
}
static void *in_condition(void *unused) {
    pthread_mutex_lock(&of_condition);
    pthread_cond_wait(&condition, &of_condition);
    return unused;
}
static void *in_semaphore(void *unused) { sem_wait(&semaphore); return unused; }
static void *in_join(void *unused) { pthread_join(waiter, NULL); return unused; }
static void *in_write(void *lock) { pthread_rwlock_wrlock(lock); return NULL; }
static void *in_read(void *lock) { pthread_rwlock_rdlock(lock); return NULL; }
static void *ends_with_it(void *lock) { pthread_mutex_lock(lock); return NULL; }

int main(int count, char **words) {
    pthread_mutexattr_t attributes;
    pthread_t thread;
    (void)words;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attributes);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&inheriting, &attributes);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&recursive, &attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checking, &attributes);
    sem_init(&semaphore, 0, 0);
    pthread_rwlock_rdlock(&by_reader);
    pthread_rwlock_wrlock(&by_writer);

    pthread_mutex_t *held[] = {&robust, &inheriting, &recursive, &checking};
    for (int i = 0; i < 4; i++) {
        pthread_mutex_lock(held[i]);
        pthread_create(&thread, NULL, in_mutex, held[i]);
    }
    pthread_mutex_lock(&timed);
    pthread_create(&thread, NULL, in_timed, &timed);
    pthread_create(&waiter, NULL, in_condition, NULL);
    pthread_create(&thread, NULL, in_semaphore, NULL);
    pthread_create(&thread, NULL, in_join, NULL);
    pthread_create(&thread, NULL, in_write, &by_reader);
    pthread_create(&thread, NULL, in_read, &by_writer);
    if (count > 1) {
        pthread_create(&thread, NULL, ends_with_it, &orphan);
        pthread_join(thread, NULL);
        pthread_create(&thread, NULL, in_mutex, &orphan);
    }
    pause();
}
