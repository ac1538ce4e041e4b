/* expect: deadlock
 * Several threads wait for each other in a cycle. The argument is their number. */
#include "common.h"

static int count;
static pthread_mutex_t ring[32];
static void take_next(long i) { pthread_mutex_lock(&ring[(i + 1) % count]); }
static pthread_barrier_t all;
static void *waits(void *given) {
    long i = (long)given;
    pthread_mutex_lock(&ring[i]);
    pthread_barrier_wait(&all);
    take_next(i);
    return NULL;
}
int main(int arguments, char **words) {
    pthread_t threads[32];
    count = arguments > 1 ? atoi(words[1]) : 2;
    pthread_barrier_init(&all, NULL, count);
    for (int i = 0; i < count; i++) pthread_mutex_init(&ring[i], NULL);
    for (long i = 0; i < count; i++) pthread_create(&threads[i], NULL, waits, (void *)i);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    return 0;
}
