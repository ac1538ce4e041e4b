/* expect: information
 * A thread locks a new object in the other order,
 * before other threads can use the object. */
#include "common.h"

static _Atomic(pthread_mutex_t *) shared;

static void *makes(void *unused) {
    pthread_mutex_t *own = malloc(sizeof *own);
    pthread_mutex_init(own, NULL);
    pthread_mutex_lock(own);
    pthread_mutex_lock(&a);
    atomic_store(&shared, own);
    pthread_mutex_unlock(&a);
    pthread_mutex_unlock(own);
    return unused;
}

static void *uses(void *unused) {
    while (!atomic_load(&shared)) usleep(200);
    both(&a, atomic_load(&shared));
    return unused;
}

int main(void) {
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, uses, NULL);
    pthread_create(&threads[1], NULL, makes, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return 0;
}
