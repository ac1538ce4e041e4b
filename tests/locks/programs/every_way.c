/* expect: nothing
 * Locks are taken in all ways, a known number of times, to check the figures of --full. */
#include "common.h"
#include <errno.h>
#include <time.h>

enum { THREADS = 3, TIMES = 20 };

static pthread_rwlock_t shared = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

static struct timespec in_milliseconds(int milliseconds) {
    struct timespec moment;
    clock_gettime(CLOCK_REALTIME, &moment);
    long nanoseconds = moment.tv_nsec + milliseconds * 1000000L;
    moment.tv_sec += nanoseconds / 1000000000L;
    moment.tv_nsec = nanoseconds % 1000000000L;
    return moment;
}

static atomic_int come;

/* The convoy: each holds it a millisecond, so that the others queue. They begin together, and pause
 * between, so that one does not take all its turns before another had one. */
static void *queues(void *unused) {
    atomic_fetch_add(&come, 1);
    while (atomic_load(&come) < THREADS) usleep(100);
    for (int i = 0; i < TIMES; i++) {
        pthread_mutex_lock(&a);
        usleep(1000);
        pthread_mutex_unlock(&a);
        usleep(100);
    }
    return unused;
}

/* Comes while `b` is held: tries it, waits thirty milliseconds for it, and gives up. */
static void *gives_up(void *unused) {
    struct timespec moment = in_milliseconds(30);
    if (pthread_mutex_trylock(&b) != EBUSY) abort();
    if (pthread_mutex_timedlock(&b, &moment) != ETIMEDOUT) abort();
    return unused;
}

int main(void) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, queues, NULL);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);

    pthread_mutex_lock(&b);
    pthread_create(&threads[0], NULL, gives_up, NULL);
    pthread_join(threads[0], NULL);
    pthread_mutex_unlock(&b);

    /* Taken twice, by the call and by the end of the wait; the wait itself is no hold. */
    struct timespec moment = in_milliseconds(50);
    pthread_mutex_lock(&c);
    if (pthread_cond_timedwait(&never, &c, &moment) != ETIMEDOUT) abort();
    pthread_mutex_unlock(&c);

    pthread_mutexattr_t attributes;
    pthread_mutex_t again;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&again, &attributes);
    for (int i = 0; i < 3; i++) pthread_mutex_lock(&again);
    for (int i = 0; i < 3; i++) pthread_mutex_unlock(&again);
    pthread_mutex_destroy(&again);

    pthread_rwlock_rdlock(&shared);
    pthread_rwlock_rdlock(&shared);
    pthread_rwlock_unlock(&shared);
    pthread_rwlock_unlock(&shared);
    pthread_rwlock_wrlock(&shared);
    usleep(5000);
    return 0;
}
