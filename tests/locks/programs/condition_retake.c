/* expect: deadlock
 * A wait ends and retakes its mutex, whose owner wants a lock of the waiting thread. */
#include "common.h"

static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static atomic_int waits;

static void *is_waiting(void *unused) {
    pthread_mutex_lock(&a);
    pthread_mutex_lock(&b);
    atomic_store(&waits, 1);
    pthread_cond_wait(&condition, &b);
    pthread_mutex_unlock(&b);
    pthread_mutex_unlock(&a);
    return unused;
}

static void *signals(void *unused) {
    while (!atomic_load(&waits)) usleep(200);
    pthread_mutex_lock(&b);
    pthread_cond_signal(&condition);
    pthread_mutex_lock(&a);
    pthread_mutex_unlock(&a);
    pthread_mutex_unlock(&b);
    return unused;
}

int main(void) {
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, is_waiting, NULL);
    pthread_create(&threads[1], NULL, signals, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return 0;
}
