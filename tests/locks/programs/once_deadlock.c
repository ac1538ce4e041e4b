/* expect: deadlock
 * A pthread_once routine wants a mutex, and the owner of the mutex waits for the routine. */
#include "common.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_int is_held, has_begun;

static void routine(void) {
    atomic_store(&has_begun, 1);
    while (!atomic_load(&is_held)) usleep(200);
    pthread_mutex_lock(&a);
    pthread_mutex_unlock(&a);
}

static void *does(void *unused) {
    pthread_once(&once, routine);
    return unused;
}

static void *holds(void *unused) {
    pthread_mutex_lock(&a);
    while (!atomic_load(&has_begun)) usleep(200);
    atomic_store(&is_held, 1);
    pthread_once(&once, routine);
    pthread_mutex_unlock(&a);
    return unused;
}

int main(void) {
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, does, NULL);
    pthread_create(&threads[1], NULL, holds, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return 0;
}
