/* expect: nothing
 * One order ends before the other begins, after a notification, in all ways that are known. */
#include <semaphore.h>

#include "common.h"

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static pthread_barrier_t barrier;
static int is_told;
static atomic_int has_told, waits;

static void notifies(void) {
    pthread_mutex_lock(&guard);
    is_told = 1;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&guard);
}

static void is_notified(void) {
    pthread_mutex_lock(&guard);
    while (!is_told) {
        atomic_store(&waits, 1);
        pthread_cond_wait(&condition, &guard);
    }
    pthread_mutex_unlock(&guard);
}

/* The notice comes after the mutex; who does not wait by then knows by the mutex alone. */
static void notifies_behind(void) {
    while (!atomic_load(&waits)) usleep(200);
    pthread_mutex_lock(&guard);
    is_told = 1;
    pthread_mutex_unlock(&guard);
    pthread_cond_signal(&condition);
}

static void posts(void) { sem_post(&semaphore); }
static void waits_for_post(void) { sem_wait(&semaphore); }
static void comes(void) { pthread_barrier_wait(&barrier); }

struct way { void (*tells)(void), (*hears)(void); int is_late; };
static struct way way;

static void *first(void *unused) {
    both(&a, &b);
    way.tells();
    atomic_store(&has_told, 1);
    return unused;
}

static void *second(void *unused) {
    while (way.is_late && !atomic_load(&has_told)) usleep(200);
    way.hears();
    both(&b, &a);
    return unused;
}

int main(void) {
    struct way ways[] = {
        {notifies, is_notified, 0}, {notifies, is_notified, 1}, {notifies_behind, is_notified, 0},
        {posts, waits_for_post, 0}, {posts, waits_for_post, 1}, {comes, comes, 0},
    };
    sem_init(&semaphore, 0, 0);
    pthread_barrier_init(&barrier, NULL, 2);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        pthread_t threads[2];
        way = ways[i];
        is_told = 0;
        atomic_store(&has_told, 0);
        atomic_store(&waits, 0);
        pthread_mutex_init(&a, NULL);
        pthread_mutex_init(&b, NULL);
        pthread_create(&threads[0], NULL, second, NULL);
        pthread_create(&threads[1], NULL, first, NULL);
        for (int t = 0; t < 2; t++) pthread_join(threads[t], NULL);
    }
    return 0;
}
