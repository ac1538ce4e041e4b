/* expect: deadlock
 * A deadlock of adaptive mutexes, which spin for a while before they wait. */
#define _GNU_SOURCE
#include "common.h"

static pthread_mutex_t one = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t other = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
static pthread_barrier_t both_hold;

static void take(pthread_mutex_t *first, pthread_mutex_t *second) {
    pthread_mutex_lock(first);
    pthread_barrier_wait(&both_hold);
    both(second, first);
    pthread_mutex_unlock(first);
}

static void *forth(void *unused) { take(&one, &other); return unused; }
static void *back(void *unused) { take(&other, &one); return unused; }

int main(void) {
    pthread_t threads[2];
    pthread_barrier_init(&both_hold, NULL, 2);
    pthread_create(&threads[0], NULL, forth, NULL);
    pthread_create(&threads[1], NULL, back, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return 0;
}
